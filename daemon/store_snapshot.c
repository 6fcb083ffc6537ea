/*
 * Snapshots: what reading back would otherwise need the whole journal for,
 * told again in pieces between batches. While it is written the journal goes
 * on: what changes meanwhile stands behind its beginning, and is replayed.
 *
 * The order of pieces matters in one place: moves come before dead records. A
 * message that is moved, and copied or done while the snapshot is written, is
 * then either dead where it was, or known to have moved.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

#define BITS_MAX 2048 /* bytes of a bitmap in one record */

enum phase { PHASE_IDLE, PHASE_BEGIN, PHASE_QUEUES, PHASE_FLOWS, PHASE_MOVED, PHASE_DEAD, PHASE_END, PHASE_WAIT };

struct snapshot {
	enum phase phase;
	uint64_t id;
	struct store_place start;
	uint64_t start_bytes; /* replay_bytes then */
	struct list *at;      /* what comes next: queue, flow, moved */
	uint32_t segment, record;
};

int
store_snapshot_new(struct store *s)
{
	s->snapshot = calloc(1, sizeof(*s->snapshot));
	return s->snapshot ? 0 : -ENOMEM;
}

void
store_snapshot_free(struct store *s)
{
	free(s->snapshot);
}

void
store_snapshot_forget(struct store *s, const struct list *n)
{
	if (s->snapshot->at == n)
		s->snapshot->at = n->next;
}

/* ------------------------------------------------------------------- when -- */

uint64_t
store_snapshot_bytes(const struct store *s)
{
	uint64_t bytes = s->queues.bytes + s->flows.bytes + s->moved.n * STORE_MOVE_HEAD + STORE_BATCH_HEAD + 80;

	for (uint32_t i = 0; i < s->n_segments; i++)
		if (s->segments[i] && s->segments[i]->live > 0)
			bytes += STORE_DEAD_HEAD + s->segments[i]->n_records / 8;
	return bytes;
}

/* Does only the last snapshot keep a segment from being free? */
static bool
keeps_dead(const struct store *s)
{
	for (uint32_t i = 0; i < s->n_segments; i++) {
		const struct segment *g = s->segments[i];

		if (g && g->state == SEGMENT_SEALED && g->live == 0 && store_segment_is_needed(s, g))
			return true;
	}
	return false;
}

static bool
is_due(const struct store *s)
{
	/* Not for a few bytes: replaying two segments takes no time. */
	if (s->replay_bytes > 2 * s->cfg.segment && s->replay_bytes > 8 * store_snapshot_bytes(s))
		return true;
	return (store_is_short(s) || store_used(s) > 2 * s->live_bytes + STORE_SLACK * s->cfg.segment) && keeps_dead(s);
}

void
store_snapshot(struct store *s)
{
	struct snapshot *p = s->snapshot;

	if (p->phase == PHASE_IDLE && s->current && is_due(s))
		p->phase = PHASE_BEGIN;
}

bool
store_snapshot_waiting(const struct store *s)
{
	return s->snapshot->phase != PHASE_IDLE && s->snapshot->phase != PHASE_WAIT;
}

void
store_snapshot_synced(struct store *s)
{
	struct snapshot *p = s->snapshot;

	if (p->phase != PHASE_WAIT)
		return;
	p->phase = PHASE_IDLE;
	s->look = true;
	s->replay = p->start;
	for (uint32_t i = 0; i < s->n_segments; i++)
		if (s->segments[i])
			s->segments[i]->is_told = s->segments[i]->will_be;
	s->replay_bytes -= p->start_bytes;
	s->stats.snapshots++;
}

/* ----------------------------------------------------------------- pieces -- */

static bool
add_definition(struct store *s, struct builder *b, bool is_queue, uint64_t limit)
{
	const struct defined *d = list_entry(s->snapshot->at, struct defined, list);
	size_t head = is_queue ? STORE_DEFINE_QUEUE_HEAD : STORE_DEFINE_FLOW_HEAD;
	uint8_t *p = store_builder_at(b);

	if (store_padded(head + d->d.bytes.len) > limit)
		return false;
	/* What is defined by an item that waits comes with that. */
	if (d->is_defined && is_queue)
		store_builder_seal(b, STORE_QUEUE, store_define_queue_encode(p, &d->d));
	else if (d->is_defined)
		store_builder_seal(b, STORE_FLOW, store_define_flow_encode(p, &d->d));
	return true;
}

static bool
add_moved(struct store *s, struct builder *b, uint64_t limit)
{
	const struct moved *m = list_entry(s->snapshot->at, struct moved, list);

	if (store_padded(STORE_MOVE_HEAD + m->m.note.len) > limit)
		return false;
	if (m->is_closed)
		store_builder_seal(b, STORE_MOVE, store_move_encode(store_builder_at(b), &m->m));
	return true;
}

/* Everything of a list, as far as the batch has room. True: done. */
static bool
add_list(struct store *s, struct builder *b, struct list *head, enum phase phase, uint64_t limit)
{
	struct snapshot *p = s->snapshot;
	uint64_t end = b->at + limit;

	for (; p->at != head; p->at = p->at->next) {
		uint64_t left = end - b->at;
		bool fits = phase == PHASE_MOVED ? add_moved(s, b, left) : add_definition(s, b, phase == PHASE_QUEUES, left);

		if (!fits)
			return false;
	}
	return true;
}

/* The next part of the bitmap of g; false: no room. */
static bool
add_bits(struct store *s, struct builder *b, const struct segment *g, uint64_t limit)
{
	struct snapshot *p = s->snapshot;
	uint8_t *buf = store_builder_at(b), *bits = buf + STORE_DEAD_HEAD;
	struct store_dead d = { .snapshot = p->id, .segment = g->number, .first = p->record, .total = g->n_records };
	size_t max = BITS_MAX, len = 0;

	if (limit < STORE_DEAD_HEAD + 8)
		return false;
	if (limit - STORE_DEAD_HEAD < max)
		max = (limit - STORE_DEAD_HEAD) / 8 * 8;
	d.n = g->n_records - p->record < max * 8 ? g->n_records - p->record : (uint32_t)(max * 8);
	memset(bits, 0, (d.n + 7) / 8);
	for (uint32_t i = 0; i < d.n; i++) {
		if (g->records[p->record + i].ref)
			continue;
		bits[i / 8] |= (uint8_t)(1 << i % 8);
		len = i / 8 + 1;
	}
	store_builder_seal(b, STORE_SNAPSHOT_DEAD, store_snapshot_dead_encode(buf, &d) + len);
	p->record += d.n;
	return true;
}

/* Every segment that has something living before or at the start. */
static bool
add_dead(struct store *s, struct builder *b, uint64_t limit)
{
	struct snapshot *p = s->snapshot;
	uint64_t end = b->at + limit;

	for (; p->segment < s->n_segments; p->segment++, p->record = 0) {
		struct segment *g = s->segments[p->segment];

		if (!g || (g->state != SEGMENT_SEALED && g->state != SEGMENT_CURRENT) || g->number > p->start.segment)
			continue;
		/* What is not told of is free; but the segment of the start is read in any case. */
		if (g->live == 0 && g->number != p->start.segment)
			continue;
		while (p->record < g->n_records) {
			if (!add_bits(s, b, g, end - b->at))
				return false;
			g->will_be = true;
		}
	}
	return true;
}

static void
begin(struct store *s, struct builder *b)
{
	struct snapshot *p = s->snapshot;

	loop_random(s->cfg.loop, &p->id, sizeof(p->id));
	p->start = (struct store_place){ b->segment->number, (uint32_t)(b->offset / STORE_BLOCK), s->batch_number + 1 };
	p->start_bytes = s->replay_bytes;
	for (uint32_t i = 0; i < s->n_segments; i++)
		if (s->segments[i])
			s->segments[i]->will_be = false;
	store_builder_seal(b, STORE_SNAPSHOT_BEGIN, store_snapshot_begin_encode(store_builder_at(b), p->id));
}

void
store_snapshot_add(struct store *s, struct builder *b, uint64_t limit)
{
	struct snapshot *p = s->snapshot;
	uint64_t end = b->at + limit;

	if (p->phase == PHASE_BEGIN) { /* a share is never that small */
		begin(s, b);
		p->phase = PHASE_QUEUES;
		p->at = s->queues.list.next;
	}
	if (p->phase == PHASE_QUEUES && add_list(s, b, &s->queues.list, PHASE_QUEUES, end - b->at)) {
		p->phase = PHASE_FLOWS;
		p->at = s->flows.list.next;
	}
	if (p->phase == PHASE_FLOWS && add_list(s, b, &s->flows.list, PHASE_FLOWS, end - b->at)) {
		p->phase = PHASE_MOVED;
		p->at = s->moved_list.next;
	}
	if (p->phase == PHASE_MOVED && add_list(s, b, &s->moved_list, PHASE_MOVED, end - b->at)) {
		p->phase = PHASE_DEAD;
		p->at = NULL;
		p->segment = p->record = 0;
	}
	if (p->phase == PHASE_DEAD && add_dead(s, b, end - b->at))
		p->phase = PHASE_END;
	if (p->phase == PHASE_END && end - b->at >= 40) {
		store_builder_seal(b, STORE_SNAPSHOT_END, store_snapshot_end_encode(store_builder_at(b), p->id, &p->start));
		p->phase = PHASE_WAIT;
	}
}
