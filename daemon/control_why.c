/*
 * control_why: what holds a queue, a peer or a message, in one sentence. What
 * it is, queue, link and outlet say; here it is found whom to ask, and how that
 * reads. A message is looked for in one queue after the other, first in memory,
 * then in the journal.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.pb-c.h"
#include "control_internal.h"
#include "units.h"

#define TEXT_MAX 1000
#define BOOT_DIGITS 16
#define READS_A_STEP 32 /* messages that were read, before others have their turn */

struct finding {
	uint64_t boot, counter;
	char at[NAMES_DEST_MAX + 1]; /* the queue it has come to; "": none yet */
	bool is_reading;             /* what only the journal has of it */
};

/* -------------------------------------------------------------- the answer */

/* What is told of, beside the cause. */
struct about {
	const char *kind, *name, *queue, *state;
	uint64_t waiting, oldest_ms;
};

/* "12 messages wait, the first for 31 s: " in front of what holds them. */
static void
put_waiting(const struct about *ab, char ret[static 80])
{
	char text[UNITS_TEXT_MAX];

	ret[0] = '\0';
	if (ab->waiting == 0 || strcmp(ab->kind, "message") == 0)
		return;
	snprintf(ret, 80, "%" PRIu64 " message%s wait%s", ab->waiting, ab->waiting > 1 ? "s" : "", ab->waiting > 1 ? "" : "s");
	if (ab->oldest_ms >= 1000)
		snprintf(ret + strlen(ret), 80 - strlen(ret), ", the first for %s", units_duration_human(ab->oldest_ms, text));
	snprintf(ret + strlen(ret), 80 - strlen(ret), ": ");
}

static enum progress
tell(struct control *c, const struct asker *a, const struct request *rq, const struct about *ab, const struct cause *cause)
{
	const struct core *core = c->src->core;
	char text[TEXT_MAX], waiting[80], place[NAMES_DEST_MAX + 80] = "", since[UNITS_TEXT_MAX + 8] = "", retry[UNITS_TEXT_MAX + 16] = "";
	char buf[UNITS_TEXT_MAX];
	Connectd__V1__Why r;

	connectd__v1__why__init(&r);
	r.kind = records_string(ab->kind);
	r.name = records_string(ab->name);
	r.cause = records_string(cause->word);
	r.queue = records_string(ab->queue);
	r.peer = records_string(cause->peer);
	r.waiting = ab->waiting;
	r.state = records_string(ab->state);
	r.retry_in_ms = cause->retry_in_ms;
	if (cause->since_ms != 0) {
		r.since_unix_ms = records_unix_ms(core, cause->since_ms);
		snprintf(since, sizeof(since), " since %s", units_time_text(r.since_unix_ms, buf));
	}
	if (cause->retry_in_ms != 0 && strcmp(cause->word, "not-due") != 0)
		snprintf(retry, sizeof(retry), ", retry in %s", units_duration_human(cause->retry_in_ms, buf));
	put_waiting(ab, waiting);
	if (strcmp(ab->kind, "message") == 0)
		snprintf(place, sizeof(place), "in %s, %s: ", ab->queue, ab->state);
	snprintf(text, sizeof(text), "%s%s%s%s%s%s%s", place, waiting, cause->what, since, cause->why[0] ? ": " : "", cause->why, retry);
	r.text = text;
	page_add(&c->page, &r.base);
	control_respond(a->client, rq->id, true, wire_bytes(c->page.data, c->page.len));
	return OVER;
}

static enum progress
refuse(const struct asker *a, const struct request *rq, int error, const char *reason)
{
	control_respond_error(a->client, rq->id, error, reason);
	return OVER;
}

/* ---------------------------------------------------------- queue and peer */

static enum progress
why_queue(struct control *c, struct asker *a, struct request *rq, struct queue *q)
{
	struct about ab = { .kind = "queue", .name = queue_name(q), .queue = queue_name(q), .state = "" };
	struct queue_stats st;
	struct cause cause;

	queue_stats(q, loop_now_ms(c->src->core->loop), &st);
	ab.waiting = st.messages;
	ab.oldest_ms = st.oldest_ms;
	queue_why(q, &cause);
	return tell(c, a, rq, &ab, &cause);
}

static const struct link *
find_link(const struct control *c, const char *name)
{
	for (size_t i = 0; i < c->src->n_links; i++)
		if (strcmp(link_name(c->src->links[i]), name) == 0)
			return c->src->links[i];
	return NULL;
}

static enum progress
why_peer(struct control *c, struct asker *a, struct request *rq, const struct link *l)
{
	struct about ab = { .kind = "peer", .name = link_name(l), .queue = "", .state = "" };
	struct link_stats st;
	struct cause cause;

	link_stats(l, &st);
	ab.waiting = st.waiting;
	link_why(l, &cause);
	return tell(c, a, rq, &ab, &cause);
}

/* -------------------------------------------------------------- a message */

/* As peek shows it: the boot id of the node it comes from, and a number. */
static bool
parse_id(const char *s, struct finding *ret)
{
	char boot[BOOT_DIGITS + 1], *end;

	for (size_t i = 0; i < BOOT_DIGITS; i++)
		if (!isxdigit((unsigned char)s[i]))
			return false;
	if ((s[BOOT_DIGITS] != '-' && s[BOOT_DIGITS] != ':') || !isdigit((unsigned char)s[BOOT_DIGITS + 1]))
		return false;
	memcpy(boot, s, BOOT_DIGITS);
	boot[BOOT_DIGITS] = '\0';
	ret->boot = strtoull(boot, NULL, 16);
	errno = 0;
	ret->counter = strtoull(s + BOOT_DIGITS + 1, &end, 10);
	return *end == '\0' && errno == 0;
}

static bool
is_from(const struct finding *s, struct wire_bytes packed)
{
	struct wire_origin o = { 0 };

	return wire_unpack_origin(packed, &o) == 0 && o.boot_id == s->boot;
}

struct match {
	const struct finding *search;
	const struct entry *found;
};

static bool
match(void *arg, const struct entry *e)
{
	struct match *m = arg;

	if (e->msg && e->msg->counter == m->search->counter && is_from(m->search, intern_bytes(e->msg->origin)))
		m->found = e;
	return !m->found;
}

static enum progress
tell_message(struct control *c, struct asker *a, struct request *rq, struct queue *q, const char *state, const struct cause *cause)
{
	struct about ab = { .kind = "message", .name = rq->at.name, .queue = queue_name(q), .state = state, .waiting = 1 };

	return tell(c, a, rq, &ab, cause);
}

/* It is in memory: told. */
static bool
is_in_memory(struct control *c, struct asker *a, struct request *rq, struct queue *q)
{
	struct match m = { rq->finding, NULL };
	struct cause cause;

	queue_each(q, match, &m);
	if (!m.found)
		return false;
	queue_why_entry(m.found, &cause);
	tell_message(c, a, rq, q, control_state_name((enum entry_state)m.found->state, false), &cause);
	return true;
}

/* The first queue behind the one it was at, in the order of names. */
struct next {
	const char *after;
	struct queue *found;
};

static bool
is_behind(void *arg, struct queue *q)
{
	struct next *n = arg;

	if (strcmp(queue_name(q), n->after) <= 0)
		return true;
	n->found = q;
	return false;
}

static void
on_read(void *arg)
{
	control_wake(arg);
}

static bool
begin_reading(struct control *c, struct request *rq)
{
	rq->peek = queue_peek_new(router_queues(c->src->core->router), on_read, c);
	if (rq->peek)
		queue_peek_stored(rq->peek);
	rq->finding->is_reading = rq->peek != NULL;
	return rq->finding->is_reading;
}

/* On with the queue that is being read; GOES_ON: it is not there. */
static enum progress
read_on(struct control *c, struct asker *a, struct request *rq, struct queue *q)
{
	const struct queue_seen *seen;
	struct cause cause;
	int r = 0;

	for (unsigned n = 0; q && (r = queue_peek_get(rq->peek, q, UINT64_MAX, &seen)) == 1; n++) {
		if (n == READS_A_STEP)
			return GOES_ON;
		if (!seen->is_unread && seen->counter == rq->finding->counter && is_from(rq->finding, seen->origin)) {
			queue_why(q, &cause);
			return tell_message(c, a, rq, q, control_state_name((enum entry_state)seen->state, true), &cause);
		}
		queue_peek_next(rq->peek);
	}
	if (q && r == -EAGAIN)
		return WAITS;
	if (q && r == -EBUSY)
		return BLOCKED;
	queue_peek_free(rq->peek);
	rq->peek = NULL;
	rq->finding->is_reading = false;
	/* What was read back meanwhile for a consumer is in memory by now. */
	return q && is_in_memory(c, a, rq, q) ? OVER : GOES_ON;
}

static enum progress
why_message(struct control *c, struct asker *a, struct request *rq)
{
	struct router *r = c->src->core->router;
	struct finding *s = rq->finding;
	struct next next = { s->at, NULL };
	struct queue_stats st;
	const char *reason;
	struct queue *q;

	if (s->is_reading) {
		if (router_find(r, client_subject(a->client), wire_string(s->at), &q, &reason) != WIRE_VERDICT_OK)
			q = NULL; /* it has gone */
		return read_on(c, a, rq, q);
	}
	router_each_behind(r, s->at, is_behind, &next);
	if (!next.found)
		return refuse(a, rq, ENOENT, "no message of that id is here: it was consumed, forwarded, has expired, or never came");
	snprintf(s->at, sizeof(s->at), "%s", queue_name(next.found));
	if (is_in_memory(c, a, rq, next.found))
		return OVER;
	queue_stats(next.found, 0, &st);
	if (st.on_disk > 0 && !begin_reading(c, rq))
		return refuse(a, rq, ENOMEM, "out of memory");
	return GOES_ON;
}

/* ------------------------------------------------------------------ which */

static enum progress
begin_search(struct control *c, struct asker *a, struct request *rq, const struct finding *wanted)
{
	if (!client_is_admin(a->client))
		return refuse(a, rq, EACCES, "only administrators may look for a message in all queues");
	rq->finding = malloc(sizeof(*rq->finding));
	if (!rq->finding)
		return refuse(a, rq, ENOMEM, "out of memory");
	*rq->finding = *wanted;
	return why_message(c, a, rq);
}

/* A name alone is a queue's, if there is one; then a peer's, then an id. */
enum progress
control_why(struct control *c, struct asker *a, struct request *rq)
{
	const char *name = rq->at.name, *kind = rq->argument ? rq->argument : "", *reason;
	bool any = kind[0] == '\0', is_queue = strcmp(kind, "queue") == 0, is_peer = strcmp(kind, "peer") == 0;
	enum wire_verdict verdict = WIRE_VERDICT_NO_QUEUE;
	struct finding wanted = { .at = "" };
	const struct link *l = NULL;
	struct queue *q = NULL;

	if (rq->finding)
		return why_message(c, a, rq);
	if (any || is_queue)
		verdict = router_find(c->src->core->router, client_subject(a->client), wire_string(name), &q, &reason);
	if (verdict == WIRE_VERDICT_OK)
		return why_queue(c, a, rq, q);
	if (verdict == WIRE_VERDICT_DENIED) {
		control_find_queue(c, a, rq, name); /* says so, here and there */
		return OVER;
	}
	if (any || is_peer)
		l = find_link(c, name);
	if (l)
		return why_peer(c, a, rq, l);
	if (any && parse_id(name, &wanted))
		return begin_search(c, a, rq, &wanted);
	return refuse(a, rq, ENOENT,
	    is_queue      ? "there is no such queue"
	    : is_peer     ? "there is no such peer in the configuration"
	    : any         ? "there is no queue and no peer of that name, and it is no id of a message"
	                  : "that is neither queue nor peer");
}
