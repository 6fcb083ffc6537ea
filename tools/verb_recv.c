/*
 * verb_recv: take messages and print them. A message is acked after its line
 * was written; what could not be written goes back to the queue.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "connectd.h"
#include "ctl.h"
#include "names.h"
#include "progress.h"
#include "text.h"
#include "wire.h"

#define BATCH 256       /* messages written together */
#define CREDIT_MAX 1024 /* unacked at most */

enum format { FORMAT_TEXT, FORMAT_RAW, FORMAT_JSON };

struct receive {
	struct ctl *ctl;
	struct connectd *c;
	struct connectd_consumer *k;
	const char *queue;
	uint64_t count, timeout; /* UINT64_MAX: none */
	enum format format;
	bool exclusive;
	struct out *json;
	uint64_t received;
};

enum { OPT_COUNT = 1, OPT_TIMEOUT, OPT_FORMAT, OPT_EXCLUSIVE };

static const struct option own[] = {
	{ "count", required_argument, NULL, OPT_COUNT },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "format", required_argument, NULL, OPT_FORMAT },
	{ "exclusive", no_argument, NULL, OPT_EXCLUSIVE },
	{ NULL, 0, NULL, 0 },
};

static enum format
parse_format(struct ctl *ctl, const char *arg)
{
	if (strcmp(arg, "text") == 0)
		return FORMAT_TEXT;
	if (strcmp(arg, "raw") == 0)
		return FORMAT_RAW;
	if (strcmp(arg, "json") == 0)
		return FORMAT_JSON;
	ctl_usage(ctl, "--format %s: text, raw or json", arg);
}

static void
parse_options(struct receive *r, int argc, char **argv)
{
	struct names_dest dest;
	bool chosen = false;
	int c;

	while ((c = ctl_option(r->ctl, argc, argv, own)) != -1) {
		switch (c) {
		case OPT_COUNT:
			r->count = ctl_count(r->ctl, "count", optarg);
			if (r->count == 0)
				ctl_usage(r->ctl, "--count 0: nothing to do");
			break;
		case OPT_TIMEOUT:
			r->timeout = ctl_duration(r->ctl, "timeout", optarg);
			break;
		case OPT_FORMAT:
			r->format = parse_format(r->ctl, optarg);
			chosen = true;
			break;
		case OPT_EXCLUSIVE:
			r->exclusive = true;
			break;
		}
	}
	ctl_arguments(r->ctl, argc, 1, 1);
	r->queue = argv[optind];
	if (names_dest_parse(r->queue, strlen(r->queue), &dest) < 0)
		ctl_usage(r->ctl, "%s: no name of a queue", r->queue);
	if (r->ctl->json && !chosen)
		r->format = FORMAT_JSON;
	if (r->format == FORMAT_RAW && r->count != 1)
		ctl_usage(r->ctl, "--format raw has no edges between messages: say --count 1");
}

/* --------------------------------------------------------------- printing */

static bool
unwrap(const struct connectd_msg *m, const char *type, const void **ret, size_t *ret_len)
{
	size_t len;
	const void *body = connectd_msg_get_body(m, &len);

	return strcmp(connectd_msg_get_type(m), type) == 0 && text_unwrap(body, len, ret, ret_len);
}

static bool
unwrap_text(const struct connectd_msg *m, const void **ret, size_t *ret_len)
{
	return unwrap(m, TEXT_TYPE_STRING, ret, ret_len) && text_utf8_ok(*ret, *ret_len);
}

static void
print_text(const struct connectd_msg *m)
{
	const void *data;
	size_t len;

	if (unwrap_text(m, &data, &len)) {
		text_line(stdout, data, len);
	} else {
		const char *type = connectd_msg_get_type(m);

		/* As `send --type` takes it; a type is a stranger's bytes, and the line must stay one. */
		if (strncmp(type, TEXT_TYPE_PREFIX, strlen(TEXT_TYPE_PREFIX)) == 0)
			type += strlen(TEXT_TYPE_PREFIX);
		text_safe(stdout, type, strlen(type), SIZE_MAX);
		putchar(' ');
		data = connectd_msg_get_body(m, &len);
		text_base64(stdout, data, len);
	}
	putchar('\n');
}

static void
print_raw(const struct connectd_msg *m)
{
	const void *data;
	size_t len;

	if (!unwrap(m, TEXT_TYPE_BYTES, &data, &len) && !unwrap(m, TEXT_TYPE_STRING, &data, &len))
		data = connectd_msg_get_body(m, &len);
	fwrite(data, 1, len, stdout);
}

static void
print_json_headers(struct out *o, const struct connectd_msg *m)
{
	const char *name;
	const void *value;
	size_t len;

	o->format->begin_list(o, "headers", "Header");
	for (size_t i = 0; connectd_msg_get_header(m, i, &name, &value, &len) == 0; i++) {
		o->format->begin(o, NULL);
		out_string(o, "name", name);
		out_bytes(o, "value", value, len);
		o->format->end(o);
	}
	o->format->end_list(o);
}

static void
print_json(struct out *o, const struct connectd_msg *m)
{
	uint64_t boot, counter;
	const void *data;
	size_t len;
	char id[40];

	o->format->begin(o, NULL);
	out_string(o, "type", connectd_msg_get_type(m));
	if (unwrap_text(m, &data, &len)) {
		struct out_value v = { .kind = OUT_TEXT, .data = data, .len = len };

		o->format->value(o, "text", &v);
	}
	data = connectd_msg_get_body(m, &len);
	out_bytes(o, "body", data, len);
	out_number(o, "size", OUT_SIZE, len);
	out_string(o, "priority", wire_priority_name(connectd_msg_get_priority(m)));
	out_number(o, "ttl", OUT_DURATION, connectd_msg_get_ttl(m));
	out_number(o, "attempt", OUT_NUMBER, connectd_msg_get_attempt(m));
	out_bool(o, "redelivered", (connectd_msg_get_flags(m) & CONNECTD_REDELIVERED) != 0);
	o->format->begin(o, "origin");
	out_string(o, "node", connectd_msg_get_origin_node(m));
	out_number(o, "uid", OUT_NUMBER, connectd_msg_get_origin_uid(m));
	out_string(o, "unit", connectd_msg_get_origin_unit(m));
	out_string(o, "application", connectd_msg_get_origin_application(m));
	out_string(o, "proof", wire_proof_name(connectd_msg_get_origin_proof(m)));
	o->format->end(o);
	connectd_msg_get_id(m, &boot, &counter);
	snprintf(id, sizeof(id), "%016" PRIx64 "-%" PRIu64, boot, counter);
	out_string(o, "id", id);
	out_string(o, "reply_to", connectd_msg_get_reply_to(m));
	data = connectd_msg_get_correlation_id(m, &len);
	out_bytes(o, "correlation_id", data, len);
	print_json_headers(o, m);
	o->format->end(o);
}

/* -------------------------------------------------------------- receiving */

/*
 * Write a batch out, then ack it; if it could not be written, give it back.
 * 0 or a negative errno.
 */
static int
finish_batch(struct receive *r, struct connectd_msg **batch, size_t n)
{
	bool written;
	int saved, u;

	errno = EPIPE; /* should the failure have been earlier */
	written = fflush(stdout) == 0 && !ferror(stdout);
	saved = errno;

	connectd_cork(r->c);
	for (size_t i = 0; i < n; i++) {
		/* -ESTALE: the daemon restarted meanwhile, and the message comes again. */
		if (written)
			connectd_ack(r->c, batch[i]);
		else
			connectd_nack(r->c, batch[i], CONNECTD_RETURN, 0, NULL);
		connectd_msg_unref(batch[i]);
	}
	/* Done: leave the queue together with the acks, so that they make no room for what we would only give back. */
	if (!written || r->received + n == r->count) {
		connectd_consumer_close(r->k);
		r->k = NULL;
	}
	u = connectd_uncork(r->c);
	if (!written)
		return -saved;
	r->received += n;
	return u;
}

/* Print what has come, at most a batch. The number of messages, 0 if none has come, or a negative errno. */
static int
take_batch(struct receive *r)
{
	struct connectd_msg *batch[BATCH];
	uint64_t want = r->count - r->received;
	size_t n = 0;
	int e = 0, w;

	while (n < BATCH && n < want && (e = connectd_recv(r->c, &batch[n], 0)) == 0) {
		if (r->format == FORMAT_TEXT)
			print_text(batch[n]);
		else if (r->format == FORMAT_RAW)
			print_raw(batch[n]);
		else
			print_json(r->json, batch[n]);
		n++;
	}
	if (n == 0)
		return e == -ETIMEDOUT ? 0 : e;
	w = finish_batch(r, batch, n);
	if (w < 0)
		return w;
	return e < 0 && e != -ETIMEDOUT ? e : (int)n;
}

/* Until there is something to read, the reader of our output goes, or the time is over. */
static int
wait_for_more(struct receive *r, uint64_t deadline, struct progress *p)
{
	struct pollfd fds[2] = { { .fd = connectd_get_fd(r->c), .events = POLLIN }, { .fd = STDOUT_FILENO } };
	int e;

	progress_show(p, "waiting for messages in %s", r->queue);
	if (poll(fds, 2, progress_step(p, deadline)) < 0 && errno != EINTR)
		return -errno;
	if (fds[1].revents & POLLERR)
		return -EPIPE;
	e = connectd_process(r->c);
	if (e < 0)
		return e;
	return clock_ms() >= deadline ? -ETIMEDOUT : 0;
}

static int
receive_all(struct receive *r)
{
	struct progress p;
	uint64_t since = clock_ms();
	int e = 0;

	progress_init(&p);
	if (isatty(STDOUT_FILENO)) /* the messages themselves show that it goes on */
		p.on = false;
	while (r->received < r->count && e >= 0) {
		e = take_batch(r);
		if (e > 0) {
			since = clock_ms();
			progress_clear(&p);
			continue;
		}
		if (e == 0)
			e = wait_for_more(r, r->timeout == UINT64_MAX ? UINT64_MAX : since + r->timeout, &p);
	}
	progress_clear(&p);
	return e < 0 ? e : 0;
}

static int
result(struct receive *r, int e)
{
	if (e == 0)
		return CTL_DONE;
	if (e == -ETIMEDOUT) {
		if (r->count == UINT64_MAX && r->received > 0)
			return CTL_DONE;
		if (r->count != UINT64_MAX && r->count > 1)
			ctl_fail(r->ctl, "timed out: %" PRIu64 " of %" PRIu64 " messages came", r->received, r->count);
		return CTL_TIMEOUT;
	}
	if (e == -EPIPE) /* whoever closed the pipe knows */
		return CTL_FAILED;
	return ctl_fail(r->ctl, "%s: %s", r->queue, *connectd_last_error(r->c) != '\0' ? connectd_last_error(r->c) : strerror(-e));
}

int
verb_recv(struct ctl *ctl, int argc, char **argv)
{
	struct receive r = { .ctl = ctl, .count = UINT64_MAX, .timeout = UINT64_MAX };
	struct connectd_options opt = { .size = sizeof(opt), .application = "connectctl" };
	struct connectd_consume_options consume = { .size = sizeof(consume) };
	int e;

	parse_options(&r, argc, argv);
	opt.socket = ctl->socket;
	e = connectd_open(&opt, &r.c);
	if (e < 0) {
		ctl_fail(ctl, "the daemon does not answer: %s", r.c != NULL ? connectd_last_error(r.c) : strerror(-e));
		connectd_close(r.c);
		return CTL_FAILED;
	}
	if (r.format == FORMAT_JSON) {
		r.json = out_json_new(stdout);
		if (r.json == NULL)
			return ctl_fail(ctl, "out of memory");
		r.json->format->begin_stream(r.json, "Message");
	}
	/* No more than we shall take: the rest stays where others can have it. */
	consume.credit_messages = (uint32_t)(r.count < CREDIT_MAX ? r.count : CREDIT_MAX);
	consume.exclusive = r.exclusive;
	e = connectd_consume(r.c, r.queue, &consume, NULL, NULL, &r.k);
	if (e == 0)
		e = receive_all(&r);
	e = result(&r, e);
	connectd_consumer_close(r.k);
	connectd_close(r.c);
	out_free(r.json);
	return e;
}
