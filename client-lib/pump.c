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
	    .producer = wire_bytes(f->producer, sizeof(f->producer)),
	    .instance = p->instance,
	    .oldest_unsettled = sendq_oldest(&f->queue),
	    .highest_used = f->queue.next - 1,
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

static uint64_t
window_left(const struct producers *p)
{
	return p->window.granted_bytes > p->window.used_bytes ? p->window.granted_bytes - p->window.used_bytes : 0;
}

/* What a message counts in the session's window with its first item, beside the body. */
static uint64_t
window_head(const struct connectd_msg *m)
{
	return m->packed_len + WIRE_MESSAGE_COST;
}

/*
 * Bytes that a body is sure to send at once count as a whole when it starts, so
 * that bodies half sent never wait for each other. While one waits for room no
 * other starts: what it asked for must be there for it.
 */
static bool
window_fits(const struct producers *p, uint64_t bytes)
{
	return !p->window_wanted && bytes <= window_left(p);
}

/* Of a large body only the first chunk is on the window: the rest is reserved. */
static uint64_t
window_body(const struct connectd_msg *m, uint64_t offset)
{
	uint64_t rest = m->body_len - offset;

	return m->body_len > WIRE_LARGE && rest > WIRE_CHUNK_MAX ? WIRE_CHUNK_MAX : rest;
}

/*
 * The next message needs so many bytes, or (0) nothing waits to be sent. What
 * was lent goes back either way: sessions that keep a part while they wait for
 * the rest would wait for each other.
 */
static void
want(struct connectd *c, uint64_t bytes)
{
	struct producers *p = &c->producers;
	struct wire_frame f = { .kind = WIRE_WANT };

	if (p->window_lent)
		f.u.want.returned = window_left(p);
	p->window_lent = false;
	p->window.used_bytes += f.u.want.returned;
	if (bytes > 0) {
		p->window_wanted = true;
		f.u.want.bytes = p->window.used_bytes + bytes;
	}
	if (bytes > 0 || f.u.want.returned > 0)
		conn_put(c, &f);
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
	const struct sendq_entry *e = sendq_at(&f->queue, f->out.partial);
	struct wire_item item = make_item(c, f, e);
	uint64_t offset = f->out.partial_sent, rest = f->out.partial_total - offset;
	size_t n = rest < WIRE_CHUNK_MAX ? (size_t)rest : WIRE_CHUNK_MAX, size, head;
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
	struct producers *p = &c->producers;
	uint64_t total = e->msg->body_len, offset = flow_out_start(&f->out, e->number, total, WIRE_LARGE);

	f->promised = window_body(e->msg, offset);
	p->window.used_bytes += f->promised + (offset == 0 ? window_head(e->msg) : 0);
	started(f, e->number);
	put_chunk(c, f);
}

/* May this small message follow in the run being made, whose items take `size` bytes? */
static bool
may_follow(struct connectd *c, const struct producer_flow *f, const struct sendq_entry *e, size_t size)
{
	const struct connectd_msg *m = e->msg;

	return m->body_len <= PUMP_COPY && size + m->body_len + m->packed_len + 128 <= PUMP_RUN &&
	    flow_out_may_start(&f->out) && window_fits(&c->producers, m->body_len + window_head(m)) &&
	    (m->type_len == 0 || type_id(c, m, false) != 0) && !is_expired(c, f, e);
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
		flow_out_start(&f->out, e->number, item.body.len, WIRE_LARGE);
		flow_out_sent(&f->out, item.body.len);
		c->producers.window.used_bytes += item.body.len + window_head(e->msg);
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
	uint64_t window, offset;

	if (sendq_empty(&f->queue) || f->out.state == FLOW_OUT_CLOSED) {
		if (sendq_empty(&f->queue))
			producer_move(c, f, PRODUCER_IDLE);
		else
			open_flow(c, f);
		return;
	}
	if (flow_out_may_continue(&f->out)) {
		put_chunk(c, f);
	} else if (flow_out_may_start(&f->out) && (e = sendq_at(&f->queue, sendq_after(&f->queue, f->out.sent))) != NULL) {
		offset = flow_out_offset(&f->out, e->number, e->msg->body_len);
		window = window_body(e->msg, offset) + (offset == 0 ? window_head(e->msg) : 0);
		if (is_expired(c, f, e)) {
			/* Its final call comes from connectd_process. */
			p->expire_at = 0;
			conn_wake(c, 0);
			producer_move(c, f, PRODUCER_ALONE);
			return;
		}
		if (!window_fits(p, window)) {
			if (!p->window_wanted)
				want(c, window);
			producer_move(c, f, PRODUCER_BLOCKED);
			return;
		}
		if (e->msg->body_len > PUMP_COPY || offset > 0)
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
	if (p->window_lent && !p->window_wanted && nothing_ready(p) && list_empty(&p->blocked) && c->failing == 0)
		want(c, 0);
	return out_pending(&c->out) > before;
}
