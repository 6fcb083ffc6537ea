/*
 * The part of producer.h that waits until messages got as far as asked.
 */
#include <errno.h>
#include <stdlib.h>

#include "connection.h"
#include "producer.h"

size_t
connectd_unconfirmed(const struct connectd *c)
{
	return c->producers.unconfirmed;
}

static bool
all_confirmed(void *arg)
{
	return ((struct connectd *)arg)->producers.unconfirmed == 0;
}

int
connectd_flush(struct connectd *c, int timeout_ms)
{
	int r = conn_until(c, timeout_ms, all_confirmed, c);

	if (r == -ETIMEDOUT)
		conn_fail(c, r, "%zu messages are not confirmed yet", c->producers.unconfirmed);
	return r;
}

/* One message waited for. Outlives the wait when that ends first. */
struct send_wait {
	bool abandoned, ended;
	struct connectd_outcome outcome;
};

static void
send_waited(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	struct send_wait *w = userdata;

	(void)m;
	if (!o->final)
		return;
	if (w->abandoned) {
		free(w);
		return;
	}
	w->ended = true;
	w->outcome = *o;
	if (o->result < 0)
		conn_fail(c, o->result, "%s%s%s", o->level > CONNECTD_CONSUMED ? wire_level_name(o->level) : "not confirmed",
		    o->reason[0] != '\0' ? ": " : "", o->reason);
}

static bool
send_ended(void *arg)
{
	return ((struct send_wait *)arg)->ended;
}

static bool
has_room(void *arg)
{
	const struct producers *p = &((struct connectd *)arg)->producers;

	return producers_have_room(p) && p->n_flows < PRODUCER_FLOWS_MAX;
}

int
connectd_send_wait(struct connectd *c, struct connectd_msg *m, enum connectd_level level, int timeout_ms)
{
	uint64_t start = conn_now(c);
	struct send_wait *w;
	int r;

	if (c->entered)
		return conn_fail(c, -EDEADLK, "a call-back cannot wait");
	if ((unsigned)level > CONNECTD_ARRIVED)
		return conn_fail(c, -ENOTSUP, "only the levels ACCEPTED, STORED and ARRIVED can be waited for");
	r = conn_until(c, timeout_ms, has_room, c);
	if (r == -ETIMEDOUT)
		return conn_fail(c, -EAGAIN, "%zu messages are not confirmed yet; this one was not sent", c->producers.held);
	if (r < 0)
		return r;
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return conn_fail(c, -ENOMEM, "out of memory");
	r = connectd_send(c, m, level != CONNECTD_NONE ? CONNECTD_TELL(level) : 0, send_waited, w);
	if (r < 0) {
		free(w);
		return r;
	}
	if (c->corked > 0)
		conn_output(c);
	if (timeout_ms > 0) {
		uint64_t gone = conn_now(c) - start;

		timeout_ms = gone < (uint64_t)timeout_ms ? timeout_ms - (int)gone : 0;
	}
	r = conn_until(c, timeout_ms, send_ended, w);
	if (r < 0 && !w->ended) {
		w->abandoned = true; /* its final call frees it */
		if (r == -ETIMEDOUT)
			conn_fail(c, r, "not %s in time; the message stays on its way",
			    level != CONNECTD_NONE ? wire_level_name(level) : "confirmed");
		return r;
	}
	r = w->outcome.result;
	free(w);
	return r;
}
