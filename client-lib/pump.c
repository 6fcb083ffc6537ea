/*
 * The part of producer.h that puts messages on the wire: opens flows, gathers
 * small messages into runs, cuts large bodies into chunks, and stops where
 * credit, the session window or the output buffer end.
 */
#include <errno.h>
#include <string.h>

#include "connection.h"
#include "msg.h"
#include "producer.h"

#define PUMP_COPY 4096          /* bodies up to here are copied into runs; larger ones are written from where they lie */
#define PUMP_RUN (32 * 1024)    /* bytes of the items of one run */
#define PUMP_RUN_ITEMS 512      /* below WIRE_ITEMS_MAX */

/* Turns of each priority in one round. */
static const struct { unsigned priority, turns; } pump_order[] = {
	{ WIRE_PRIORITY_HIGH, 16 }, { WIRE_PRIORITY_NORMAL, 4 }, { WIRE_PRIORITY_LOW, 1 }
};

static void
open_flow(struct connectd *c, struct producer_flow *f)
{
	struct producers *p = &c->producers;
	uint64_t now = conn_now(c);

	if (p->n_ids == p->max_ids)
		producers_trim(c, true);
	if (p->n_ids == p->max_ids) {
		producer_move(c, f, PRODUCER_UNOPENED);
		return;
	}
	do
		p->next_id = p->next_id % p->max_ids + 1;
	while (p->by_id[p->next_id] != NULL);
	f->id = p->next_id;
	p->by_id[f->id] = f;
	p->n_ids++;
	flow_out_open(&f->out);
	producer_move(c, f, PRODUCER_ALONE);
	conn_put(c, &(struct wire_frame){ .kind = WIRE_OPEN_FLOW, .u.open_flow = {
	    .flow = f->id,
	    .address = wire_bytes(f->dest, f->dest_len),
	    .priority = f->priority,
	    .producer = wire_bytes(f->producer, f->producer_len),
	    .named = f->named,
	    .instance = p->instance,
	    .epoch = f->epoch,
	    .oldest_unsettled = sendq_oldest(&f->queue),
	    /* What earlier instances of a named producer used is what we ask. */
	    .highest_used = f->named && !f->known ? UINT64_MAX : f->queue.next - 1,
	    .away_ms = f->boot == 0 ? 0 : now > f->left_at ? now - f->left_at : 1,
	    .known_boot = f->boot } });
}

/*
 * The dictionary id of a message's type; with `define` one the daemon does not
 * know is made known first. 0 if that is not allowed now.
 */
static uint32_t
type_id(struct connectd *c, const struct connectd_msg *m, bool define)
{
	struct dict_out *d = &c->producers.types;
	uint32_t id = dict_out_find(d, m->type, m->type_len);

	if (id != 0 || !define)
		return id;
	if (dict_out_add(d, m->type, m->type_len, &id) < 0) {
		conn_give_up(c, -ENOMEM);
		return 0;
	}
	conn_put(c, &(struct wire_frame){ .kind = WIRE_DEFINE,
	    .u.define = { WIRE_DEFINE_TYPE, id, wire_bytes(m->type, m->type_len) } });
	return id;
}

static bool
is_expired(struct connectd *c, const struct producer_flow *f, const struct sendq_entry *e)
{
	return e->deadline != 0 && e->number > f->sent_max && e->deadline <= conn_now(c);
}

/* Everything of an item but its type and body. */
static struct wire_item
make_item(struct connectd *c, const struct producer_flow *f, const struct sendq_entry *e)
{
	const struct connectd_msg *m = e->msg;
	struct wire_item item = { .packed = wire_bytes(m->packed, m->packed_len) };

	if (m->durability == CONNECTD_DURABLE)
		item.flags |= WIRE_ITEM_DURABLE;
	else if (m->durability == CONNECTD_MEMORY)
		item.flags |= WIRE_ITEM_MEMORY;
	if (e->number <= f->maybe_max)
		item.flags |= WIRE_ITEM_MAYBE_DUPLICATE;
	if (m->ttl > 0 || m->not_before > 0) {
		uint64_t now = conn_now(c), gone = now - e->since;

		/* 0 would mean none: one that was sent before and has run out goes with the least. */
		if (m->ttl > 0)
			item.ttl_ms = e->deadline > now ? e->deadline - now : 1;
		item.not_before_ms = m->not_before > gone ? m->not_before - gone : 0;
	}
	return item;
}

/*
 * Bytes that a body is sure to send at once count against the session window
 * as a whole when it starts, or goes on after a wait, so that bodies half sent
 * never wait for each other. One larger than what is ever left may start when
 * half is free.
 */
static bool
window_fits(const struct connectd *c, uint64_t bytes)
{
	const struct credit *w = &c->producers.window;
	uint64_t left = w->granted_bytes > w->used_bytes ? w->granted_bytes - w->used_bytes : 0;

	return bytes <= left || left >= c->limits.window / 2;
}

/* Count what is sure to be sent now: of a large body the next chunk, as its room there is its own. false: not now. */
static bool
promise(struct connectd *c, struct producer_flow *f)
{
	uint64_t bytes = f->out.partial_total - f->out.partial_sent;

	if (f->promised > 0)
		return true;
	if (f->out.partial_large || f->out.partial_total > WIRE_LARGE)
		bytes = flow_out_chunk(&f->out, c->producers.chunk);
	if (!window_fits(c, bytes))
		return false;
	f->promised = bytes;
	c->producers.window.used_bytes += bytes;
	return true;
}

static void
started(struct producer_flow *f, uint64_t number)
{
	if (number > f->sent_max)
		f->sent_max = number;
}

/* Another chunk of the body under way, or all of it. */
static void
put_chunk(struct connectd *c, struct producer_flow *f)
{
	struct producers *p = &c->producers;
	const struct sendq_entry *e = sendq_at(&f->queue, f->out.partial);
	struct wire_item item = make_item(c, f, e);
	uint64_t offset = f->out.partial_sent;
	size_t n = (size_t)flow_out_chunk(&f->out, p->chunk), size, head;
	uint8_t *at;

	item.type = e->msg->type_len > 0 ? type_id(c, e->msg, true) : 0;
	item.body = wire_bytes(e->msg->body + offset, n);
	if (n < f->out.partial_total) {
		item.offset = offset;
		item.total = f->out.partial_total;
	}
	if (offset > 0)
		item.packed.len = 0;
	size = wire_item_size(&item);
	at = out_reserve(&c->out, WIRE_RUN_HEAD_MAX + size - n);
	if (at == NULL) {
		conn_give_up(c, -ENOMEM);
		return;
	}
	head = wire_put_run(WIRE_TRANSFER, f->id, e->number, size, at);
	out_commit(&c->out, head + wire_put_item(&item, at + head));
	out_body(&c->out, e->msg, item.body.data, n);
	f->promised -= n < f->promised ? n : f->promised;
	flow_out_sent(&f->out, n);
}

/* A body that is cut, or written from where it lies. */
static void
start_body(struct connectd *c, struct producer_flow *f, const struct sendq_entry *e)
{
	/* What goes on with what is there sends no packed part again. */
	if (f->out.resume_number != e->number || f->out.resume_bytes == 0)
		credit_use(&f->out.credit, 0, e->msg->packed_len);
	flow_out_start(&f->out, e->number, e->msg->body_len, WIRE_LARGE);
	promise(c, f);
	started(f, e->number);
	put_chunk(c, f);
}

/* May this small message follow in the run being made, whose items take `size` bytes? */
static bool
may_follow(struct connectd *c, const struct producer_flow *f, const struct sendq_entry *e, size_t size)
{
	const struct connectd_msg *m = e->msg;

	return m->body_len <= PUMP_COPY && m->body_len <= c->producers.chunk &&
	    size + m->body_len + m->packed_len + 128 <= PUMP_RUN && flow_out_may_start(&f->out, m->packed_len + m->body_len) &&
	    window_fits(c, m->body_len) && (m->type_len == 0 || type_id(c, m, false) != 0) && !is_expired(c, f, e);
}

/* As many small messages in one frame as there are, and may go. */
static void
put_run(struct connectd *c, struct producer_flow *f, const struct sendq_entry *e)
{
	uint8_t head[WIRE_RUN_HEAD_MAX];
	uint64_t first = e->number;
	size_t size = 0, count = 0, head_len;
	uint8_t *at;

	if (e->msg->type_len > 0)
		type_id(c, e->msg, true);
	at = out_reserve(&c->out, WIRE_RUN_HEAD_MAX + PUMP_RUN);
	if (at == NULL) {
		conn_give_up(c, -ENOMEM);
		return;
	}
	do {
		struct wire_item item = make_item(c, f, e);
		uint8_t *to = at + WIRE_RUN_HEAD_MAX + size;

		item.type = e->msg->type_len > 0 ? type_id(c, e->msg, false) : 0;
		item.body = wire_bytes(e->msg->body, e->msg->body_len);
		to += wire_put_item(&item, to);
		if (item.body.len > 0)
			memcpy(to, item.body.data, item.body.len);
		size = (size_t)(to - at) - WIRE_RUN_HEAD_MAX + item.body.len;
		credit_use(&f->out.credit, 0, item.packed.len);
		flow_out_start(&f->out, e->number, item.body.len, WIRE_LARGE);
		flow_out_sent(&f->out, item.body.len);
		c->producers.window.used_bytes += item.body.len;
		started(f, e->number);
		e = sendq_at(&f->queue, e->number + 1);
	} while (e != NULL && ++count < PUMP_RUN_ITEMS && may_follow(c, f, e, size));
	head_len = wire_put_run(WIRE_TRANSFER, f->id, first, size, head);
	memcpy(at, head, head_len);
	memmove(at + head_len, at + WIRE_RUN_HEAD_MAX, size);
	out_commit(&c->out, head_len + size);
}

/* The next step of one flow. Emits something, or takes it out of line. */
static void
pump_flow(struct connectd *c, struct producer_flow *f)
{
	struct producers *p = &c->producers;
	const struct sendq_entry *e;
	uint64_t window;

	if (!producer_wants(f)) {
		producer_move(c, f, PRODUCER_ALONE);
		producer_ready(c, f);
		return;
	}
	if (f->out.state == FLOW_OUT_CLOSED) {
		open_flow(c, f);
		return;
	}
	if (flow_out_may_continue(&f->out)) {
		if (!promise(c, f)) {
			producer_move(c, f, PRODUCER_BLOCKED);
			return;
		}
		put_chunk(c, f);
	} else if (flow_out_may_start(&f->out, 0) && (e = sendq_at(&f->queue, sendq_after(&f->queue, f->out.sent))) != NULL) {
		window = e->msg->body_len > WIRE_LARGE ? p->chunk : e->msg->body_len;
		if (is_expired(c, f, e)) {
			/* Its final call comes from connectd_process. */
			p->expire_at = 0;
			conn_wake(c, 0);
			producer_move(c, f, PRODUCER_ALONE);
			return;
		}
		if (!window_fits(c, window)) {
			producer_move(c, f, PRODUCER_BLOCKED);
			return;
		}
		if (!flow_out_may_start(&f->out, e->msg->packed_len)) {
			producer_move(c, f, PRODUCER_ALONE); /* until more credit comes */
			return;
		}
		if (e->msg->body_len > PUMP_COPY || e->msg->body_len > p->chunk ||
		    !flow_out_may_start(&f->out, e->msg->packed_len + e->msg->body_len) || (e->msg->body_len > 0 && f->out.resume_number == e->number))
			start_body(c, f, e);
		else
			put_run(c, f, e);
	}
	producer_move(c, f, PRODUCER_ALONE);
	producer_ready(c, f); /* to the end of the line */
}

static bool
nothing_ready(const struct producers *p)
{
	return list_empty(&p->ready[WIRE_PRIORITY_HIGH]) && list_empty(&p->ready[WIRE_PRIORITY_NORMAL]) &&
	    list_empty(&p->ready[WIRE_PRIORITY_LOW]);
}

bool
producers_pump(struct connectd *c)
{
	struct producers *p = &c->producers;
	size_t before = out_pending(&c->out);

	if (p->n_flows > PRODUCER_FLOWS)
		producers_trim(c, false);
	while (!nothing_ready(p) && out_has_room(&c->out) && c->failing == 0)
		for (size_t i = 0; i < sizeof(pump_order) / sizeof(pump_order[0]); i++) {
			struct list *line = &p->ready[pump_order[i].priority];

			for (unsigned n = 0; n < pump_order[i].turns && !list_empty(line) && out_has_room(&c->out) && c->failing == 0; n++)
				pump_flow(c, list_entry(line->next, struct producer_flow, turn));
		}
	return out_pending(&c->out) > before;
}
