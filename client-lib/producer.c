#include "producer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "msg.h"

#define LEVELS_KNOWN (CONNECTD_TELL(CONNECTD_ACCEPTED) | CONNECTD_TELL(CONNECTD_STORED) | CONNECTD_TELL(CONNECTD_ARRIVED))

/* ------------------------------------------------------------------ flows */

static uint64_t
flow_hash(const char *dest, size_t len, bool named, unsigned priority)
{
	return hmap_hash(dest, len, named ? WIRE_PRIORITIES : priority);
}

static bool
flow_is(const struct producer_flow *f, const char *dest, size_t len, bool named, unsigned priority)
{
	return f->named == named && f->priority == priority && f->dest_len == len && memcmp(f->dest, dest, len) == 0;
}

struct producer_flow *
producer_find(struct producers *p, const char *dest, size_t len, bool named, unsigned priority)
{
	struct hmap_node *n;

	if (p->last != NULL && flow_is(p->last, dest, len, named, priority))
		return p->last;
	for (n = hmap_find(&p->by_name, flow_hash(dest, len, named, priority)); n != NULL; n = hmap_find_next(n)) {
		struct producer_flow *f = hmap_entry(n, struct producer_flow, by_name);

		if (flow_is(f, dest, len, named, priority))
			return p->last = f;
	}
	return NULL;
}

struct producer_flow *
producer_new(struct connectd *c, const char *dest, size_t len, bool named, unsigned priority)
{
	struct producers *p = &c->producers;
	struct producer_flow *f = calloc(1, sizeof(*f));

	if (f == NULL || hmap_add(&p->by_name, &f->by_name, flow_hash(dest, len, named, priority)) < 0) {
		free(f);
		return NULL;
	}
	memcpy(f->dest, dest, len);
	f->dest_len = len;
	f->named = named;
	f->priority = priority;
	sendq_init(&f->queue, 1);
	list_init(&f->turn);
	list_append(&p->flows, &f->all);
	p->n_flows++;
	p->n_named += named;
	return p->last = f;
}

/*
 * The flow of messages without a named producer. It is a producer of its own:
 * two names of one queue (`orders`, and `paris/orders` on paris) must not number
 * into each other, nor into what an earlier flow to the same place left behind.
 */
static struct producer_flow *
unnamed_new(struct connectd *c, const struct connectd_msg *m)
{
	struct producer_flow *f = producer_new(c, m->dest, m->dest_len, false, m->priority);

	if (f == NULL)
		return NULL;
	f->producer_len = PRODUCER_ID;
	io_random(c->io, f->producer, PRODUCER_ID);
	return f;
}

/* An id is free, or its flow idle: one that had to wait for that tries again. */
static void
next_unopened(struct connectd *c)
{
	if (c->state == CONN_UP && !list_empty(&c->producers.unopened))
		producer_move(c, list_entry(c->producers.unopened.next, struct producer_flow, turn), PRODUCER_READY);
}

void
producer_free(struct connectd *c, struct producer_flow *f)
{
	struct producers *p = &c->producers;

	producer_drop_id(c, f);
	producer_move(c, f, PRODUCER_ALONE);
	if (p->last == f)
		p->last = NULL;
	list_remove(&f->all);
	hmap_remove(&p->by_name, &f->by_name);
	p->n_flows--;
	p->n_named -= f->named;
	sendq_done(&f->queue);
	free(f);
}

void
producer_drop_id(struct connectd *c, struct producer_flow *f)
{
	if (f->id == 0)
		return;
	c->producers.by_id[f->id] = NULL;
	c->producers.n_ids--;
	f->id = 0;
	next_unopened(c);
}

void
producer_move(struct connectd *c, struct producer_flow *f, enum producer_where where)
{
	struct producers *p = &c->producers;

	list_remove(&f->turn);
	f->where = where;
	if (where == PRODUCER_READY)
		list_append(&p->ready[f->priority], &f->turn);
	else if (where == PRODUCER_BLOCKED)
		list_append(&p->blocked, &f->turn);
	else if (where == PRODUCER_UNOPENED)
		list_append(&p->unopened, &f->turn);
	else if (where == PRODUCER_IDLE)
		list_append(&p->idle, &f->turn);
}

static bool
has_something_to_do(const struct producer_flow *f)
{
	if (f->out.state == FLOW_OUT_CLOSED)
		return true;
	if (f->out.partial != 0)
		return flow_out_may_continue(&f->out);
	return flow_out_may_start(&f->out, 0) && sendq_after(&f->queue, f->out.sent) != 0;
}

void
producer_ready(struct connectd *c, struct producer_flow *f)
{
	if (!producer_wants(f)) {
		enum producer_where where = f->named ? PRODUCER_ALONE : PRODUCER_IDLE; /* idle ones may be closed */

		if (f->where == where)
			return;
		producer_move(c, f, where);
		next_unopened(c);
		return;
	}
	if (f->where == PRODUCER_READY || f->where == PRODUCER_BLOCKED || f->where == PRODUCER_UNOPENED)
		return;
	if (c->state == CONN_UP && has_something_to_do(f))
		producer_move(c, f, PRODUCER_READY);
	else if (f->where != PRODUCER_ALONE)
		producer_move(c, f, PRODUCER_ALONE);
}

void
producers_trim(struct connectd *c, bool need_id)
{
	struct producers *p = &c->producers;

	LIST_FOREACH_SAFE(node, &p->idle) {
		struct producer_flow *f = list_entry(node, struct producer_flow, turn);

		if (p->n_flows <= PRODUCER_FLOWS && !(need_id && f->id != 0))
			continue;
		if (f->out.state != FLOW_OUT_OPEN && f->out.state != FLOW_OUT_CLOSED)
			continue; /* asked to open: its answer is under way */
		if (f->out.state == FLOW_OUT_OPEN)
			conn_put(c, &(struct wire_frame){ .kind = WIRE_SETTLED,
			    .u.settled = { .flow = f->id, .number = f->queue.next - 1, .close = true } });
		if (f->id != 0)
			need_id = false;
		producer_free(c, f);
		if (p->n_flows <= PRODUCER_FLOWS && !need_id)
			return;
	}
}

/* --------------------------------------------------------------- outcomes */

void
producer_tell(struct connectd *c, const struct sendq_entry *e, enum connectd_level level)
{
	struct connectd_outcome o = { .level = level, .reason = "", .number = e->number };

	if (e->fn != NULL && (e->levels & CONNECTD_TELL(level)) != 0)
		e->fn(c, e->msg, &o, e->userdata);
}

void
producer_finish(struct connectd *c, const struct sendq_entry *e, enum connectd_level level, int result, const char *reason)
{
	struct connectd_outcome o = { .level = level, .final = 1, .result = result, .reason = reason, .number = e->number };

	c->producers.unconfirmed--;
	if (e->fn != NULL)
		e->fn(c, e->msg, &o, e->userdata);
}

void
producer_final(struct connectd *c, const struct sendq_entry *e, enum connectd_level level, int result, const char *reason)
{
	c->producers.held--;
	c->producers.held_bytes -= e->msg->body_len;
	if (!e->finished)
		producer_finish(c, e, level, result, reason);
	connectd_msg_unref(e->msg);
}

void
producers_expire(struct connectd *c, uint64_t now)
{
	struct producers *p = &c->producers;
	uint64_t next = UINT64_MAX;

	if (p->expire_at > now)
		return;
	p->expire_at = UINT64_MAX;
	LIST_FOREACH(node, &p->flows) {
		struct producer_flow *f = list_entry(node, struct producer_flow, all);

		for (uint64_t n = sendq_after(&f->queue, f->sent_max); n != 0; n = sendq_after(&f->queue, n)) {
			struct sendq_entry e = *sendq_at(&f->queue, n);

			if (e.deadline > now && e.deadline < next)
				next = e.deadline;
			if (e.deadline == 0 || e.deadline > now)
				continue;
			sendq_take(&f->queue, n, &e);
			producer_final(c, &e, CONNECTD_EXPIRED, -EBADMSG, "time to live passed before it could be sent");
			if (c->closing)
				return;
		}
		producer_ready(c, f);
	}
	if (next != UINT64_MAX && next < now + PRODUCER_EXPIRE_MS)
		next = now + PRODUCER_EXPIRE_MS;
	if (next < p->expire_at)
		p->expire_at = next;
}

/* ------------------------------------------------------------------ calls */

/*
 * Does the message belong to a named producer, and fit it? 0 and *ret, NULL if
 * there is none for its destination; or a negative errno.
 */
static int
of_named(struct connectd *c, const struct connectd_msg *m, struct producer_flow **ret)
{
	struct producers *p = &c->producers;
	struct producer_flow *f = NULL;

	if (p->n_named > 0)
		f = producer_find(p, m->dest, m->dest_len, true, WIRE_PRIORITY_NORMAL);
	*ret = f;
	if (f == NULL)
		return m->number == 0 ? 0 : conn_fail(c, -EINVAL, "%s: a number, and no named producer is open for it", m->dest);
	if (f->over != 0)
		return conn_fail(c, f->over, "%s: the named producer is over", m->dest);
	if (m->number == 0 || m->priority != WIRE_PRIORITY_NORMAL)
		return conn_fail(c, -EINVAL, "%s: messages of a named producer have a number and normal priority", m->dest);
	if (!f->known)
		return conn_fail(c, -EAGAIN, "%s: the named producer is not open yet", m->dest);
	if (m->number < f->queue.next)
		return conn_fail(c, -EINVAL, "number %llu is not above %llu, the last", (unsigned long long)m->number,
		    (unsigned long long)f->queue.next - 1);
	return 0;
}

/* May this message be sent in this way at all? 0 and the flow of its named producer, or a negative errno. */
static int
check(struct connectd *c, const struct connectd_msg *m, unsigned levels, struct producer_flow **ret)
{
	if (c->state == CONN_DEAD || c->closing)
		return conn_fail(c, -ENOTCONN, "not connected, and not coming back");
	if ((levels & ~LEVELS_KNOWN) != 0)
		return conn_fail(c, -ENOTSUP, "only the levels ACCEPTED, STORED and ARRIVED can be asked for");
	if (m->dest == NULL)
		return conn_fail(c, -EINVAL, "a received message has no destination: make a new one");
	if ((levels & CONNECTD_TELL(CONNECTD_STORED)) != 0 && m->durability == CONNECTD_MEMORY)
		return conn_fail(c, -EINVAL, "a memory message is never stored");
	if (c->limits.max_message > 0 && m->body_len > c->limits.max_message)
		return conn_fail(c, -EMSGSIZE, "body of %zu bytes, and the daemon takes at most %llu", m->body_len,
		    (unsigned long long)c->limits.max_message);
	return of_named(c, m, ret);
}

int
connectd_send(struct connectd *c, struct connectd_msg *m, unsigned levels, connectd_outcome_fn fn, void *userdata)
{
	struct producers *p = &c->producers;
	struct sendq_entry e = { .msg = m, .fn = fn, .userdata = userdata, .levels = (uint16_t)levels };
	struct producer_flow *f = NULL;
	int r = check(c, m, levels, &f);

	if (r < 0)
		return r;
	if (!producers_have_room(p))
		return conn_fail(c, -EAGAIN, "%zu messages are not confirmed yet", p->held);
	if (f == NULL)
		f = producer_find(p, m->dest, m->dest_len, false, m->priority);
	if (f == NULL && p->n_flows >= PRODUCER_FLOWS_MAX)
		return conn_fail(c, -EAGAIN, "%zu destinations have messages that are not confirmed yet", p->n_flows);
	r = msg_freeze(m);
	if (r < 0)
		return conn_fail(c, r, r == -EMSGSIZE ? "reply-to, correlation id and headers above %d bytes" : "out of memory",
		    WIRE_PACKED_MAX);
	if (f == NULL)
		f = unnamed_new(c, m);
	if (f == NULL)
		return conn_fail(c, -ENOMEM, "out of memory");

	if (m->ttl > 0 || m->not_before > 0)
		e.since = conn_now(c);
	if (m->ttl > 0)
		e.deadline = m->ttl < UINT64_MAX - e.since ? e.since + m->ttl : UINT64_MAX;
	/* Later there is nobody to be told that its end cannot be waited for. */
	if (((levels & CONNECTD_TELL(CONNECTD_ARRIVED)) && sendq_promise(&f->queue) < 0) ||
	    sendq_push(&f->queue, &e, f->named ? m->number : f->queue.next) < 0) {
		producer_ready(c, f);
		return conn_fail(c, -ENOMEM, "out of memory");
	}
	connectd_msg_ref(m);
	p->unconfirmed++;
	p->held++;
	p->held_bytes += m->body_len;
	if (e.deadline != 0 && e.deadline < p->expire_at) {
		p->expire_at = e.deadline;
		conn_wake(c, e.deadline);
	}
	producer_ready(c, f);
	/* From here on the message is taken: a broken session is no failure. */
	if (!c->entered && (c->corked == 0 || ++c->gathered >= CONN_CORK))
		conn_output(c);
	return 0;
}

/* --------------------------------------------------------------- sessions */

void
producers_init(struct connectd *c)
{
	struct producers *p = &c->producers;

	list_init(&p->flows);
	hmap_init(&p->by_name);
	for (int i = 0; i < WIRE_PRIORITIES; i++)
		list_init(&p->ready[i]);
	list_init(&p->blocked);
	list_init(&p->unopened);
	list_init(&p->idle);
	io_random(c->io, &p->instance, sizeof(p->instance));
	p->expire_at = UINT64_MAX;
	dict_out_init(&p->types);
}

void
producers_cancel(struct connectd *c, bool quiet)
{
	LIST_FOREACH(node, &c->producers.flows) {
		struct producer_flow *f = list_entry(node, struct producer_flow, all);
		struct sendq_entry e;

		while (sendq_waited(&f->queue, 0, UINT64_MAX, &e) || sendq_pop(&f->queue, UINT64_MAX, &e)) {
			if (quiet)
				e.fn = NULL;
			producer_final(c, &e, (enum connectd_level)e.reached, -ECANCELED, "closed");
		}
	}
}

void
producers_done(struct connectd *c)
{
	struct producers *p = &c->producers;

	LIST_FOREACH_SAFE(node, &p->flows)
		producer_free(c, list_entry(node, struct producer_flow, all));
	hmap_done(&p->by_name);
	dict_out_done(&p->types);
}

void
producers_up(struct connectd *c)
{
	struct producers *p = &c->producers;

	p->max_ids = (c->limits.max_flows < PRODUCER_IDS ? c->limits.max_flows : PRODUCER_IDS) - 1;
	p->window = (struct credit){ .granted_bytes = c->limits.window };
	p->chunk = c->limits.window / 4 < WIRE_CHUNK_MAX ? (uint32_t)(c->limits.window / 4) : WIRE_CHUNK_MAX;
	if (p->chunk < WIRE_CHUNK_MIN)
		p->chunk = WIRE_CHUNK_MIN;
	dict_out_reset(&p->types, c->limits.dictionary);
	LIST_FOREACH(node, &p->flows)
		producer_ready(c, list_entry(node, struct producer_flow, all));
}

void
producers_down(struct connectd *c)
{
	uint64_t now = conn_now(c);

	LIST_FOREACH(node, &c->producers.flows) {
		struct producer_flow *f = list_entry(node, struct producer_flow, all);

		if (f->out.state == FLOW_OUT_OPEN || f->out.state == FLOW_OUT_HALTED)
			f->left_at = now;
		flow_out_close(&f->out);
		producer_drop_id(c, f);
		f->promised = 0;
		if (f->where != PRODUCER_IDLE)
			producer_move(c, f, PRODUCER_ALONE);
	}
}
