/*
 * What was appended, in a batch: its bytes, and what they change in memory.
 * Marks, dones and offered records wait for the end of the batch, where one
 * stands for many.
 */
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

#define DONE_RANGES_MAX 4096 /* in one record */

static uint64_t
wall_of(const struct builder *b, uint64_t ms)
{
	uint64_t past;

	if (ms == 0)
		return 0;
	if (ms >= b->now_ms)
		return ms - b->now_ms > UINT64_MAX - b->wall_ms ? UINT64_MAX : b->wall_ms + (ms - b->now_ms);
	past = b->now_ms - ms;
	return past < b->wall_ms ? b->wall_ms - past : 1;
}

static void
add_message(struct builder *b, const struct item *it)
{
	struct store *s = b->s;
	struct store_body *body = s->slots[it->ref].large ? store_body_find(s, it->ref) : NULL;
	struct store_entry e = {
		.kind = STORE_MESSAGE,
		.offset = b->offset + b->at,
		.len = (uint32_t)store_item_len(it),
		.queue = it->queue,
		.flow = it->flow,
		.seq = it->seq,
		.number = it->number,
		.counter = it->counter,
		.expires = wall_of(b, it->expires),
		.not_before = wall_of(b, it->not_before),
		.last_len = it->last_len,
		.bytes = it->last_len,
		.note_len = it->lens[STORE_NOTE],
		.priority = it->priority,
		.flags = it->flags,
		.body = body ? body->id : 0,
	};
	uint8_t *p = store_builder_at(b) + STORE_MESSAGE_HEAD;

#ifdef PLANT_MARK_APART
	e.flow = 0;
#endif
	for (size_t i = 0; i < STORE_PARTS; i++) {
		size_t n = i < STORE_PARTS - 1 ? it->lens[i] : body ? 0 : (size_t)it->last_len;

		if (n > 0)
			memcpy(p, it->parts[i], n);
		p += n;
		if (i < STORE_PARTS - 1)
			e.bytes += n;
	}
	store_message_encode(store_builder_at(b), &e, it->lens);
	store_builder_seal(b, STORE_MESSAGE, e.len);
	store_builder_record(b, it->ref, &e);
}

static void
add_piece(struct builder *b, struct item *it)
{
	struct store_entry e = {
		.kind = STORE_PIECE,
		.offset = b->offset + b->at,
		.len = (uint32_t)store_item_len(it),
		.body = it->counter,
		.index = it->index,
	};

	store_piece_encode(store_builder_at(b), it->counter, it->index);
	memcpy(store_builder_at(b) + STORE_PIECE_HEAD, it->parts[STORE_PARTS - 1], it->last_len);
	store_builder_seal(b, STORE_PIECE, e.len);
	store_builder_record(b, it->ref, &e);
	store_item_done(it);
}

/* Raise the last pair if it is of the same number, or add one. */
void
store_add_pair(struct number_pair *pairs, size_t *n, uint32_t number, uint64_t value)
{
	if (*n > 0 && pairs[*n - 1].number == number) {
		if (pairs[*n - 1].value < value)
			pairs[*n - 1].value = value;
		return;
	}
	pairs[(*n)++] = (struct number_pair){ number, value };
}

static void
add_done(struct builder *b, struct item *it)
{
	struct store *s = b->s;
	struct slot *t = &s->slots[it->ref];

	s->dones[s->n_dones++] = (struct done_pair){ it->queue, it->seq };
	store_builder_release(b, it->ref, t->segment, t->record);
	it->kind = ITEM_NONE;
}

static void
add_move(struct builder *b, struct item *it)
{
	struct moved *m = store_moved_find(b->s, it->ref);
	struct store_moved now = {
		.from_queue = it->queue,
		.from_seq = it->seq,
		.to_queue = it->flow,
		.to_seq = it->number,
		.flags = it->flags,
		.has_note = it->has_note,
		.note = { it->parts[STORE_PARTS - 1], it->last_len },
	};

	store_builder_seal(b, STORE_MOVE, store_move_encode(store_builder_at(b), &now));
	m->waiting--;
	if (m->is_closed) {
		now.from_queue = m->m.from_queue;
		now.from_seq = m->m.from_seq;
		if (!now.has_note) {
			now.has_note = m->m.has_note;
			now.note = m->m.note;
		} else {
			store_moved_drop_note(m);
		}
	}
	m->m = now;
	m->is_closed = true;
	it->kind = ITEM_NONE; /* the note is m's now */
}

static void
add_definition(struct builder *b, struct item *it)
{
	struct store *s = b->s;
	bool is_queue = it->kind == ITEM_QUEUE;
	struct defined_table *t = is_queue ? &s->queues : &s->flows;
	struct defined *d = store_defined_find(t, it->queue); /* made when the definition was appended */
	struct store_definition now = d ? d->d : (struct store_definition){ .number = it->queue };
	uint8_t *own;

	now.removed = it->removed;
	now.bytes = (struct store_bytes){ it->parts[STORE_PARTS - 1], (size_t)it->last_len };
	if (is_queue)
		store_builder_seal(b, STORE_QUEUE, store_define_queue_encode(store_builder_at(b), &now));
	else
		store_builder_seal(b, STORE_FLOW, store_define_flow_encode(store_builder_at(b), &now));
	if (it->removed) {
		store_item_done(it);
		if (d)
			store_defined_drop(s, t, d);
		return;
	}
	memcpy(&own, &it->parts[STORE_PARTS - 1], sizeof(own));
	it->kind = ITEM_NONE;
	store_defined_set(t, d, own, now.bytes.len);
}

static void
raise_number(uint64_t *p, uint64_t n)
{
	if (*p < n)
		*p = n;
}

/* What a message or mark says about its queue and flow. */
static void
raise_marks(struct store *s, const struct item *it)
{
	struct defined *d;

	if (it->flow && (it->kind == ITEM_MESSAGE || it->kind == ITEM_MARK) && (d = store_defined_find(&s->flows, it->flow)))
		raise_number(&d->d.mark, it->number);
	if (it->kind == ITEM_MESSAGE && (d = store_defined_find(&s->queues, it->queue)))
		raise_number(&d->d.last_seq, it->seq);
	if (it->kind == ITEM_MOVE && (d = store_defined_find(&s->queues, it->flow)))
		raise_number(&d->d.last_seq, it->number);
	if (it->kind == ITEM_OFFERED && (d = store_defined_find(&s->queues, it->queue)))
		raise_number(&d->d.offered, it->seq);
}

void
store_add_item(struct builder *b, struct item *it)
{
	struct store *s = b->s;

	raise_marks(s, it);
	switch (it->kind) {
	case ITEM_MESSAGE:
		add_message(b, it);
		if (it->is_kept)
			store_item_done(it);
		break;
	case ITEM_PIECE:
		add_piece(b, it);
		break;
	case ITEM_DONE:
		add_done(b, it);
		break;
	case ITEM_MARK:
		store_add_pair(s->marks, &s->n_marks, it->flow, it->number);
		break;
	case ITEM_OFFERED:
		store_add_pair(s->offers, &s->n_offers, it->queue, it->seq);
		break;
	case ITEM_QUEUE:
	case ITEM_FLOW:
		add_definition(b, it);
		break;
	case ITEM_MOVE:
		add_move(b, it);
		break;
	default: /* it was cancelled */
		break;
	}
}

/*
 * Messages wait for space, and what makes some waits behind them: a done that
 * belongs to no group may go ahead. Nothing that was confirmed depends on it. So
 * may an offer, or a consumer that comes now would get nothing until then.
 */
void
store_add_behind(struct builder *b, uint64_t from, uint64_t limit)
{
	struct store *s = b->s;
	uint64_t tail = s->in_group ? s->group_start : s->tail;

	for (uint64_t n = from; n < tail && limit >= 40; n++) {
		if (!store_may_overtake(s, n, tail))
			continue;
		store_add_item(b, store_item(s, n));
		if (store_item(s, n)->kind == ITEM_OFFERED)
			store_item(s, n)->kind = ITEM_NONE;
		limit -= 40;
	}
}

/* ---------------------------------------------------------------- coalesce -- */

static int
by_queue_seq(const void *a, const void *b)
{
	const struct done_pair *x = a, *y = b;

	if (x->queue != y->queue)
		return x->queue < y->queue ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static int
by_number(const void *a, const void *b)
{
	const struct number_pair *x = a, *y = b;

	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return x->value < y->value ? -1 : x->value > y->value;
}

/* Sequences that follow one another become a range. */
static void
write_dones(struct builder *b)
{
	struct store *s = b->s;
	size_t i = 0;

	qsort(s->dones, s->n_dones, sizeof(*s->dones), by_queue_seq);
	while (i < s->n_dones) {
		uint32_t queue = s->dones[i].queue;
		uint8_t *p = store_builder_at(b);
		size_t len = store_done_encode(p, queue), n = 0;

		while (i < s->n_dones && s->dones[i].queue == queue && n < DONE_RANGES_MAX) {
			uint64_t range[2] = { s->dones[i].seq, s->dones[i].seq };

			for (i++; i < s->n_dones && s->dones[i].queue == queue && s->dones[i].seq - range[1] <= 1; i++)
				range[1] = s->dones[i].seq;
			len += store_done_range_encode(p, n++, range);
		}
		store_builder_seal(b, STORE_DONE, len);
	}
}

static void
write_pairs(struct builder *b, struct number_pair *pairs, size_t n, enum store_kind kind)
{
	qsort(pairs, n, sizeof(*pairs), by_number);
	for (size_t i = 0; i < n; i++) {
		if (i + 1 < n && pairs[i + 1].number == pairs[i].number)
			continue;
		if (kind == STORE_MARK)
			store_builder_seal(b, kind, store_mark_encode(store_builder_at(b), pairs[i].number, pairs[i].value));
		else
			store_builder_seal(b, kind, store_offered_encode(store_builder_at(b), pairs[i].number, pairs[i].value));
	}
}

void
store_write_coalesced(struct builder *b)
{
	struct store *s = b->s;

	write_dones(b);
	write_pairs(b, s->marks, s->n_marks, STORE_MARK);
	write_pairs(b, s->offers, s->n_offers, STORE_OFFERED);
}
