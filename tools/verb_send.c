/*
 * verb_send: a file, a text, or lines as messages; done when every one got as
 * far as asked.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "connectd.h"
#include "ctl.h"
#include "input.h"
#include "names.h"
#include "progress.h"
#include "text.h"

enum content { CONTENT_BYTES, CONTENT_TYPE, CONTENT_TEXT, CONTENT_LINES };

struct send {
	struct ctl *ctl;
	struct connectd *c;
	struct progress progress;
	/* Asked for. */
	const char *dest, *type, *text;
	enum content content;
	enum connectd_durability durability;
	uint64_t ttl, timeout;
	enum connectd_priority priority;
	enum connectd_level level; /* NONE: not asked for; the best that the queue offers */
	/* What became of it. */
	uint64_t messages, accepted, stored, arrived, failed;
	uint64_t in_memory; /* of those accepted: their queue stores nothing */
	uint64_t moved; /* when something last got further */
	char reason[256];
};

enum { OPT_TYPE = 1, OPT_TEXT, OPT_LINES, OPT_MEMORY, OPT_DURABLE, OPT_TTL, OPT_PRIORITY, OPT_WAIT, OPT_TIMEOUT };

static const struct option own[] = {
	{ "type", required_argument, NULL, OPT_TYPE },
	{ "text", required_argument, NULL, OPT_TEXT },
	{ "lines", no_argument, NULL, OPT_LINES },
	{ "memory", no_argument, NULL, OPT_MEMORY },
	{ "durable", no_argument, NULL, OPT_DURABLE },
	{ "ttl", required_argument, NULL, OPT_TTL },
	{ "priority", required_argument, NULL, OPT_PRIORITY },
	{ "wait", required_argument, NULL, OPT_WAIT },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ NULL, 0, NULL, 0 },
};

/* ---------------------------------------------------------------- options */

static void
set_content(struct send *s, enum content content)
{
	if (s->content != CONTENT_BYTES && s->content != content)
		ctl_usage(s->ctl, "--type, --text and --lines exclude each other");
	s->content = content;
}

static void
set_durability(struct send *s, enum connectd_durability durability)
{
	if (s->durability != CONNECTD_AS_QUEUE && s->durability != durability)
		ctl_usage(s->ctl, "--memory and --durable exclude each other");
	s->durability = durability;
}

static enum connectd_priority
parse_priority(struct ctl *ctl, const char *arg)
{
	if (strcmp(arg, "high") == 0)
		return CONNECTD_HIGH;
	if (strcmp(arg, "normal") == 0)
		return CONNECTD_NORMAL;
	if (strcmp(arg, "low") == 0)
		return CONNECTD_LOW;
	ctl_usage(ctl, "--priority %s: high, normal or low", arg);
}

static enum connectd_level
parse_level(struct ctl *ctl, const char *arg)
{
	if (strcmp(arg, "accepted") == 0)
		return CONNECTD_ACCEPTED;
	if (strcmp(arg, "arrived") == 0)
		return CONNECTD_ARRIVED;
	if (strcmp(arg, "stored") == 0)
		return CONNECTD_STORED;
	ctl_usage(ctl, "--wait %s: accepted, stored or arrived", arg);
}

static void
parse_options(struct send *s, int argc, char **argv)
{
	struct names_dest dest;
	int c;

	while ((c = ctl_option(s->ctl, argc, argv, own)) != -1) {
		switch (c) {
		case OPT_TYPE:
			set_content(s, CONTENT_TYPE);
			s->type = optarg;
			break;
		case OPT_TEXT:
			set_content(s, CONTENT_TEXT);
			s->text = optarg;
			break;
		case OPT_LINES:
			set_content(s, CONTENT_LINES);
			break;
		case OPT_MEMORY:
			set_durability(s, CONNECTD_MEMORY);
			break;
		case OPT_DURABLE:
			set_durability(s, CONNECTD_DURABLE);
			break;
		case OPT_TTL:
			s->ttl = ctl_duration(s->ctl, "ttl", optarg);
			break;
		case OPT_PRIORITY:
			s->priority = parse_priority(s->ctl, optarg);
			break;
		case OPT_WAIT:
			s->level = parse_level(s->ctl, optarg);
			break;
		case OPT_TIMEOUT:
			s->timeout = ctl_duration(s->ctl, "timeout", optarg);
			break;
		}
	}
	if (s->durability == CONNECTD_MEMORY && s->level == CONNECTD_STORED)
		ctl_usage(s->ctl, "--wait stored: a memory message is never stored; say accepted or arrived");
	if (s->durability == CONNECTD_MEMORY && s->level == CONNECTD_NONE)
		s->level = CONNECTD_ACCEPTED;
	/* With --text there is no input to name. */
	ctl_arguments(s->ctl, argc, 1, s->content == CONTENT_TEXT ? 1 : 2);
	s->dest = argv[optind];
	if (names_dest_parse(s->dest, strlen(s->dest), &dest) < 0)
		ctl_usage(s->ctl, "%s: no name of a queue; `queue' or `node/queue'", s->dest);
	if (s->text != NULL && !text_utf8_ok(s->text, strlen(s->text)))
		ctl_usage(s->ctl, "--text: not UTF-8");
	if (s->type != NULL && *s->type == '\0')
		ctl_usage(s->ctl, "--type: empty");
}

/* ---------------------------------------------------------------- sending */

static void
outcome(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	struct send *s = userdata;

	(void)c;
	(void)m;
	s->moved = clock_ms();
	if (o->result == 0 && o->level == CONNECTD_ACCEPTED)
		s->accepted++;
	if (o->result == 0 && o->level == CONNECTD_STORED)
		s->stored++;
	if (o->level == CONNECTD_ARRIVED)
		s->arrived++;
	if (o->result == -ENOTSUP && s->level == CONNECTD_NONE)
		s->in_memory++;
	else if (o->result != 0 && s->failed++ == 0)
		snprintf(s->reason, sizeof(s->reason), "%s", *o->reason != '\0' ? o->reason : strerror(-o->result));
}

/* What is waited for; where that is what the queue offers: as far as is known. */
static enum connectd_level
wanted(const struct send *s)
{
	if (s->level != CONNECTD_NONE)
		return s->level;
	return s->in_memory > s->stored ? CONNECTD_ACCEPTED : CONNECTD_STORED;
}

static uint64_t
reached(const struct send *s)
{
	switch (s->level) {
	case CONNECTD_ACCEPTED:
		return s->accepted;
	case CONNECTD_ARRIVED:
		return s->arrived;
	case CONNECTD_STORED:
		return s->stored;
	default:
		return s->stored + s->in_memory;
	}
}

static const char *
level_name(const struct send *s)
{
	switch (wanted(s)) {
	case CONNECTD_ACCEPTED:
		return "accepted";
	case CONNECTD_STORED:
		return "stored";
	default:
		return "arrived";
	}
}

/* Let the daemon get on. 0; -ETIMEDOUT when nothing got further for --timeout; another negative errno. */
static int
wait_step(struct send *s)
{
	uint64_t deadline = s->timeout > 0 ? s->moved + s->timeout : UINT64_MAX;
	int r;

	progress_show(&s->progress, "%" PRIu64 " sent, %" PRIu64 " %s", s->messages, reached(s), level_name(s));
	if (clock_ms() >= deadline)
		return -ETIMEDOUT;
	r = connectd_wait(s->c, progress_step(&s->progress, deadline));
	return r < 0 ? r : 0;
}

static struct connectd_msg *
make_message(struct send *s, const void *data, size_t len)
{
	struct connectd_msg *m = connectd_msg_new(s->dest);
	uint8_t head[TEXT_WRAP_MAX];
	int r;

	if (m == NULL)
		return NULL;
	if (s->content == CONTENT_TYPE) {
		r = connectd_msg_set_type_body(m, s->type, data, len);
	} else {
		size_t n = text_wrap(len, head);
		uint8_t *body = malloc(n + len + 1);

		if (body == NULL) {
			connectd_msg_unref(m);
			return NULL;
		}
		memcpy(body, head, n);
		memcpy(body + n, data, len);
		r = connectd_msg_set_type_body(m, s->content == CONTENT_BYTES ? TEXT_TYPE_BYTES : TEXT_TYPE_STRING, body, n + len);
		free(body);
	}
	if (r == 0)
		r = connectd_msg_set_durability(m, s->durability);
	if (r == 0)
		r = connectd_msg_set_ttl(m, s->ttl);
	if (r == 0)
		r = connectd_msg_set_priority(m, s->priority);
	if (r == 0)
		return m;
	connectd_msg_unref(m);
	errno = -r;
	return NULL;
}

/* Send one message, waiting for room. 0 or a negative errno. Called corked. */
static int
send_one(struct send *s, const void *data, size_t len)
{
	unsigned levels = CONNECTD_TELL(CONNECTD_ACCEPTED);
	struct connectd_msg *m = make_message(s, data, len);
	int r;

	if (s->level != CONNECTD_ACCEPTED && s->durability != CONNECTD_MEMORY)
		levels |= CONNECTD_TELL(CONNECTD_STORED);
	if (s->level == CONNECTD_ARRIVED)
		levels |= CONNECTD_TELL(CONNECTD_ARRIVED);
	if (m == NULL) {
		ctl_fail(s->ctl, "no message for %s can be made: %s", s->dest, strerror(errno));
		return -errno;
	}
	while ((r = connectd_send(s->c, m, levels, outcome, s)) == -EAGAIN) {
		r = connectd_uncork(s->c);
		if (r == 0)
			r = wait_step(s);
		connectd_cork(s->c);
		if (r < 0)
			break;
	}
	connectd_msg_unref(m);
	if (r == 0) {
		s->messages++;
		s->moved = clock_ms();
	} else if (r != -ETIMEDOUT) {
		ctl_fail(s->ctl, "message %" PRIu64 ": %s", s->messages + 1, connectd_last_error(s->c));
	}
	return r;
}

/* Every whole line that was read. 0 or a negative errno. */
static int
send_lines(struct send *s, struct input *in)
{
	const uint8_t *line;
	size_t len;
	int r = 0, u;

	connectd_cork(s->c);
	while (r == 0 && input_line(in, &line, &len)) {
		if (text_utf8_ok(line, len)) {
			r = send_one(s, line, len);
		} else {
			ctl_fail(s->ctl, "line %" PRIu64 " is not UTF-8; it and what follows was not sent", in->lines);
			r = -EILSEQ;
		}
	}
	u = connectd_uncork(s->c);
	if (u < 0 && r == 0) {
		ctl_fail(s->ctl, "%s", connectd_last_error(s->c));
		r = u;
	}
	return r;
}

/* Read, and meanwhile let the daemon get on. 0 when there is something new or the end; a negative errno. */
static int
read_some(struct send *s, struct input *in)
{
	struct pollfd p[2] = { { .fd = in->fd, .events = POLLIN }, { .fd = connectd_get_fd(s->c), .events = POLLIN } };
	int r;

	for (;;) {
		progress_show(&s->progress, "%" PRIu64 " sent, %" PRIu64 " %s", s->messages, reached(s), level_name(s));
		if (poll(p, 2, progress_step(&s->progress, UINT64_MAX)) < 0 && errno != EINTR)
			return ctl_fail(s->ctl, "poll: %s", strerror(errno)), -EIO;
		if (p[1].revents != 0 && (r = connectd_process(s->c)) < 0)
			return ctl_fail(s->ctl, "%s", connectd_last_error(s->c)), r;
		if (p[0].revents == 0)
			continue;
		r = input_read(in);
		if (r < 0)
			ctl_fail(s->ctl, "the input cannot be read: %s", strerror(-r));
		return r < 0 ? r : 0;
	}
}

static int
send_input(struct send *s, struct input *in)
{
	int r = 0;

	while (!in->end && r == 0) {
		r = read_some(s, in);
		if (r == 0 && s->content == CONTENT_LINES)
			r = send_lines(s, in);
	}
	if (r < 0 || s->content == CONTENT_LINES)
		return r;
	connectd_cork(s->c);
	r = send_one(s, in->buf, in->have);
	return r < 0 ? (connectd_uncork(s->c), r) : connectd_uncork(s->c);
}

/* Wait until every message has its outcome. */
static int
settle(struct send *s)
{
	int r = 0;

	s->moved = clock_ms();
	while (r == 0 && reached(s) + s->failed < s->messages)
		r = wait_step(s);
	if (r < 0 && r != -ETIMEDOUT)
		ctl_fail(s->ctl, "%s", connectd_last_error(s->c));
	return r;
}

/* ----------------------------------------------------------------- report */

static int
report(struct send *s, int r)
{
	bool all = r == 0 && reached(s) == s->messages;
	int code = all ? CTL_DONE : r == -ETIMEDOUT ? CTL_TIMEOUT : CTL_FAILED;
	struct out *o;

	progress_clear(&s->progress);
	if (s->ctl->json) {
		o = ctl_output(s->ctl);
		o->format->begin(o, NULL);
		out_number(o, "messages", OUT_NUMBER, s->messages);
		out_string(o, "level", level_name(s));
		out_number(o, "accepted", OUT_NUMBER, s->accepted);
		out_number(o, "stored", OUT_NUMBER, s->stored);
		out_number(o, "arrived", OUT_NUMBER, s->arrived);
		out_number(o, "failed", OUT_NUMBER, s->failed);
		out_bool(o, "timed_out", r == -ETIMEDOUT);
		out_string(o, "reason", s->reason);
		o->format->end(o);
		if (ctl_output_end(s->ctl, o) != CTL_DONE && code == CTL_DONE)
			code = CTL_FAILED;
	}
	if (all && s->in_memory > 0 && !s->ctl->json)
		ctl_fail(s->ctl, "%s keeps messages in memory: %" PRIu64 " accepted, not stored", s->dest, s->in_memory);
	if (all)
		return code;
	if (s->failed > 0)
		ctl_fail(s->ctl, "%s: %s", s->dest, s->reason);
	if (r == -ETIMEDOUT)
		ctl_fail(s->ctl, "timed out; what was sent stays on its way");
	if (s->messages > 0)
		ctl_fail(s->ctl, "sent %" PRIu64 ": %" PRIu64 " accepted, %" PRIu64 " stored, %" PRIu64 " arrived, %" PRIu64 " failed",
		    s->messages, s->accepted, s->stored, s->arrived, s->failed);
	return code;
}

static int
run(struct send *s, const char *file)
{
	struct connectd_options opt = { .size = sizeof(opt), .socket = s->ctl->socket, .application = "connectctl" };
	struct input in;
	int r, settled, fd = STDIN_FILENO;

	if (file != NULL && (fd = open(file, O_RDONLY | O_CLOEXEC)) < 0)
		return ctl_fail(s->ctl, "%s: %s", file, strerror(errno));
	input_init(&in, fd);
	r = connectd_open(&opt, &s->c);
	if (r < 0) {
		r = ctl_fail(s->ctl, "the daemon does not answer: %s", s->c != NULL ? connectd_last_error(s->c) : strerror(-r));
	} else {
		if (s->content == CONTENT_TEXT) {
			connectd_cork(s->c);
			r = send_one(s, s->text, strlen(s->text));
			settled = connectd_uncork(s->c);
			r = r < 0 ? r : settled;
		} else {
			r = send_input(s, &in);
		}
		/* What was sent before something went wrong still gets its outcome. */
		settled = r == -ETIMEDOUT ? r : settle(s);
		r = report(s, r < 0 ? r : settled);
	}
	connectd_close(s->c);
	input_done(&in);
	if (file != NULL)
		close(fd);
	return r;
}

int
verb_send(struct ctl *ctl, int argc, char **argv)
{
	struct send s = { .ctl = ctl, .moved = clock_ms() };

	parse_options(&s, argc, argv);
	progress_init(&s.progress);
	return run(&s, optind + 1 < argc ? argv[optind + 1] : NULL);
}
