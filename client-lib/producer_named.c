/*
 * The part of producer.h about producers with a name, whose numbers the program
 * chooses, so that it can go on behind its last message after a crash of its
 * own. Each is a flow that is open as long as there is a session, whether it
 * has messages or not: who takes over is heard of at once.
 */
#include <errno.h>
#include <string.h>

#include "connection.h"
#include "producer.h"

static int
over_errno(uint32_t verdict)
{
	switch (verdict) {
	case WIRE_VERDICT_DENIED:
		return -EACCES;
	case WIRE_VERDICT_NO_QUEUE:
		return -ENOENT;
	case WIRE_VERDICT_BAD_ADDRESS:
		return -EINVAL;
	case WIRE_VERDICT_LIMIT:
		return -EUSERS;
	default: /* taken over, or forgotten: its numbers mean nothing any more */
		return -ESTALE;
	}
}

void
producer_over(struct connectd *c, struct producer_flow *f, uint32_t verdict, const char *reason)
{
	uint64_t until = f->queue.next - 1; /* a call-back cannot add to it: it is over */
	struct sendq_entry e;

	f->over = over_errno(verdict);
	conn_fail(c, f->over, "producer %.*s of %s: %s", (int)f->producer_len, (const char *)f->producer, f->dest, reason);
	while (!c->closing && sendq_pop(&f->queue, until, &e)) {
		if (f->over == -ESTALE)
			producer_final(c, &e, (enum connectd_level)e.reached, -ESTALE, reason);
		else if (e.reached >= CONNECTD_ACCEPTED)
			producer_final(c, &e, (enum connectd_level)e.reached, -EINPROGRESS, reason);
		else
			producer_final(c, &e, CONNECTD_REJECTED, -EBADMSG, reason);
	}
}

static bool
answered(void *arg)
{
	const struct producer_flow *f = arg;

	return f->known || f->over != 0;
}

/* One more named producer on this handle. NULL with a sentence recorded: *ret_error. */
static struct producer_flow *
named_new(struct connectd *c, const char *name, const char *queue, int *ret_error)
{
	struct producers *p = &c->producers;
	struct producer_flow *f;

	if (p->n_named >= PRODUCER_NAMED || p->n_flows >= PRODUCER_FLOWS_MAX) {
		*ret_error = conn_fail(c, -EUSERS, "%zu named producers are open already", p->n_named);
		return NULL;
	}
	f = producer_new(c, queue, strlen(queue), true, WIRE_PRIORITY_NORMAL);
	if (f == NULL) {
		*ret_error = conn_fail(c, -ENOMEM, "out of memory");
		return NULL;
	}
	f->producer_len = strlen(name);
	memcpy(f->producer, name, f->producer_len);
	return f;
}

int
connectd_producer_open(struct connectd *c, const char *name, const char *queue, uint64_t *ret_last)
{
	struct names_dest parts;
	struct producer_flow *f;
	int r = 0;

	if (c->entered)
		return conn_fail(c, -EDEADLK, "a call-back cannot wait");
	if (c->state == CONN_DEAD)
		return conn_fail(c, -ENOTCONN, "not connected, and not coming back");
	if (strlen(name) > PRODUCER_NAME_MAX || !names_queue_ok(name, strlen(name)))
		return conn_fail(c, -EINVAL, "no name of a producer: letters, digits, `.', `_' and `-', at most %d", PRODUCER_NAME_MAX);
	if (names_dest_parse(queue, strlen(queue), &parts) < 0)
		return conn_fail(c, -EINVAL, "%s is no name of a queue", queue);
	f = producer_find(&c->producers, queue, strlen(queue), true, WIRE_PRIORITY_NORMAL);
	if (f != NULL && f->over != 0) {
		producer_free(c, f); /* the program wants it back */
		f = NULL;
	}
	if (f != NULL && (f->producer_len != strlen(name) || memcmp(f->producer, name, f->producer_len) != 0))
		return conn_fail(c, -EEXIST, "%s: another named producer of this handle sends there", queue);
	if (f == NULL)
		f = named_new(c, name, queue, &r);
	if (f == NULL)
		return r;
	producer_ready(c, f);
	r = conn_until(c, (int)c->timeout_ms, answered, f);
	if (r == -ETIMEDOUT)
		return conn_fail(c, r, "the daemon did not answer in time; ask again");
	if (r < 0)
		return r;
	r = f->over;
	if (r == 0)
		*ret_last = f->settled;
	else
		producer_free(c, f);
	return r;
}
