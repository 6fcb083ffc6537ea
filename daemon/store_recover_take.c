/* Recovery: what the records of a batch say. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store_recover.h"

int
recover_find_deads(struct recovery *rc, const struct journal_file *f)
{
	rc->n_mine = 0;
	for (size_t i = 0; i < rc->n_deads; i++) {
		if (rc->deads[i].segment != f->h.segment)
			continue;
		if (store_grow(&rc->mine, &rc->mine_room, rc->n_mine + 1, sizeof(*rc->mine)) < 0)
			return -ENOMEM;
		rc->mine[rc->n_mine++] = &rc->deads[i];
	}
	return 0;
}

bool
recover_is_dead(const struct recovery *rc, uint32_t record)
{
	for (size_t i = 0; i < rc->n_mine; i++) {
		const struct found_dead *d = rc->mine[i];
		uint32_t bit = record - d->first;

		if (record >= d->first && bit < d->n && bit / 8 < d->len && rc->bits[d->bits + bit / 8] >> bit % 8 & 1)
			return true;
	}
	return false;
}

int
recover_collect(struct recovery *rc, struct journal_file *f, const struct store_entry *e, bool dead)
{
	struct segment *g = f->segment;
	struct found *n;

	if (store_segment_reserve(g, 1) < 0 ||
	    store_grow(&rc->found, &rc->found_room, rc->n_found + 1, sizeof(*rc->found)) < 0)
		return -ENOMEM;
	/* For now ref says where it was remembered. */
	g->records[g->n_records] = (struct record){ .at = (uint32_t)(e->offset / 8), .len = e->len };
	if (!dead) {
		n = &rc->found[rc->n_found++];
		*n = (struct found){
			.seq = e->seq, .number = e->number, .counter = e->counter, .expires = e->expires,
			.not_before = e->not_before, .body = e->body, .last_len = e->last_len, .bytes = e->bytes,
			.queue = e->queue, .flow = e->flow, .index = e->index, .note_len = e->note_len,
			.segment = g->index, .record = g->n_records, .kind = (uint8_t)e->kind,
			.priority = e->priority, .flags = e->flags,
		};
		g->records[g->n_records].ref = (store_ref)rc->n_found;
	}
	g->n_records++;
	if (f == rc->newest)
		store_index_append(rc->s, e);
	return 0;
}

void
recover_bad(struct recovery *rc, const struct journal_file *f, const char *what, uint64_t offset)
{
	rc->damaged = true;
	store_damaged(rc->s, "segment %" PRIu32 ": %s at %" PRIu64 " set aside", f->h.segment, what, offset);
}

/* ------------------------------------------------------------ the records -- */

static int
take_message(struct recovery *rc, struct journal_file *f, const struct store_record *r)
{
	struct store *s = rc->s;
	struct store_entry e;
	struct defined *d;
	int error = r->kind == STORE_MESSAGE ? store_message_decode(r, &e, NULL) : store_piece_decode(r, &e);

	if (error < 0)
		return error;
	if (e.kind == STORE_PIECE)
		recover_raise(&s->next_body, e.body + 1);
	if (e.kind == STORE_MESSAGE && e.flow) {
		d = store_defined_get(&s->flows, e.flow);
		if (!d)
			return -ENOMEM;
		recover_raise(&d->d.mark, e.number);
	}
	if (e.kind == STORE_MESSAGE) {
		d = store_defined_get(&s->queues, e.queue);
		if (!d)
			return -ENOMEM;
		recover_raise(&d->d.last_seq, e.seq);
	}
	return recover_collect(rc, f, &e, false);
}

static int
take_done(struct recovery *rc, const struct store_record *r)
{
	uint32_t queue, n;

	if (store_done_decode(r, &queue, &n) < 0)
		return -EBADMSG;
	if (store_grow(&rc->dones, &rc->dones_room, rc->n_dones + n, sizeof(*rc->dones)) < 0)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t range[2];

		store_done_range(r, i, range);
		rc->dones[rc->n_dones++] = (struct found_done){ queue, range[0], range[1] };
	}
	return 0;
}

static int
take_definition(struct recovery *rc, const struct store_record *r)
{
	struct store *s = rc->s;
	struct defined_table *t = r->kind == STORE_QUEUE ? &s->queues : &s->flows;
	struct store_definition now;
	struct defined *d;
	uint8_t *copy;

	if (store_define_decode(r, &now) < 0)
		return -EBADMSG;
	d = store_defined_get(t, now.number);
	copy = malloc(now.bytes.len + 1);
	if (!d || !copy) {
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, now.bytes.data, now.bytes.len);
	store_defined_set(t, d, copy, now.bytes.len);
	d->is_defined = !now.removed;
	d->d.removed = now.removed;
	recover_raise(&d->d.last_seq, now.last_seq);
	recover_raise(&d->d.offered, now.offered);
	recover_raise(&d->d.mark, now.mark);
	return 0;
}

/* Marks and offered records. */
static int
take_number(struct recovery *rc, const struct store_record *r)
{
	bool is_mark = r->kind == STORE_MARK;
	uint32_t number;
	uint64_t value;
	struct defined *d;

	if (is_mark ? store_mark_decode(r, &number, &value) < 0 : store_offered_decode(r, &number, &value) < 0)
		return -EBADMSG;
	d = store_defined_get(is_mark ? &rc->s->flows : &rc->s->queues, number);
	if (!d)
		return -ENOMEM;
	recover_raise(is_mark ? &d->d.mark : &d->d.offered, value);
	return 0;
}

static int
take_move(struct recovery *rc, const struct store_record *r)
{
	struct store_moved m;
	struct defined *d;
	uint8_t *note;

	if (store_move_decode(r, &m) < 0)
		return -EBADMSG;
	d = store_defined_get(&rc->s->queues, m.to_queue);
	if (!d || store_grow(&rc->moves, &rc->moves_room, rc->n_moves + 1, sizeof(*rc->moves)) < 0)
		return -ENOMEM;
	note = malloc(m.note.len + 1);
	if (!note)
		return -ENOMEM;
	recover_raise(&d->d.last_seq, m.to_seq);
	memcpy(note, m.note.data, m.note.len);
	m.note.data = note;
	rc->moves[rc->n_moves++] = m;
	return 0;
}

static int
take_dead(struct recovery *rc, const struct store_record *r)
{
	struct journal_file *f;
	struct store_dead d;

	if (store_snapshot_dead_decode(r, &d) < 0)
		return -EBADMSG;
	if (store_grow(&rc->deads, &rc->deads_room, rc->n_deads + 1, sizeof(*rc->deads)) < 0 ||
	    store_grow(&rc->bits, &rc->bits_room, rc->n_bits + d.bits.len, 1) < 0)
		return -ENOMEM;
	/* Whatever snapshot tells it, complete or not: what was dead stays so. */
	rc->deads[rc->n_deads++] = (struct found_dead){ d.segment, d.first, d.n, rc->n_bits, d.bits.len };
	if (d.bits.len > 0)
		memcpy(rc->bits + rc->n_bits, d.bits.data, d.bits.len);
	rc->n_bits += d.bits.len;
	if (!rc->has_snapshot || d.snapshot != rc->snapshot)
		return 0;
	f = recover_file(rc, d.segment);
	if (f) {
		f->listed = f->segment->is_told = true;
		f->total = d.total;
	} else if (d.first == 0) {
		/* It goes only when a later snapshot does not tell of it. */
		store_damaged(rc->s, "segment %" PRIu32 " is missing", d.segment);
	}
	return 0;
}

static int
take_begin(struct recovery *rc, const struct scan *sc, const struct store_record *r)
{
	uint64_t id;

	if (store_snapshot_begin_decode(r, &id) < 0)
		return -EBADMSG;
	if (rc->replay.segment && sc->batch.number == rc->replay.batch) {
		rc->snapshot = id;
		rc->has_snapshot = true;
	}
	return 0;
}

static int
take(struct recovery *rc, const struct scan *sc, const struct store_record *r)
{
	uint64_t id;
	struct store_place start;

	switch (r->kind) {
	case STORE_DONE:
#ifdef PLANT_ACK_LOST
		if (sc->f == rc->newest)
			return 0;
#endif
		return take_done(rc, r);
	case STORE_MARK:
	case STORE_OFFERED:
		return take_number(rc, r);
	case STORE_QUEUE:
	case STORE_FLOW:
		return take_definition(rc, r);
	case STORE_MOVE:
		return take_move(rc, r);
	case STORE_SNAPSHOT_BEGIN:
		return take_begin(rc, sc, r);
	case STORE_SNAPSHOT_DEAD:
		return take_dead(rc, r);
	case STORE_SNAPSHOT_END:
		if (store_snapshot_end_decode(r, &id, &start) < 0)
			return -EBADMSG;
		rc->is_snapshot_whole |= rc->has_snapshot && id == rc->snapshot && !rc->damaged;
		return 0;
	default:
		return -EBADMSG;
	}
}

int
recover_take_batch(struct recovery *rc, const struct scan *sc, bool only_messages)
{
	struct store_record r;
	uint32_t at = 0;
	int e = 0;

	while (e == 0 && store_batch_next(sc->data, &sc->batch, sc->offset, &at, &r)) {
		bool is_message = r.kind == STORE_MESSAGE || r.kind == STORE_PIECE;

		if (only_messages && !is_message)
			continue;
		if (!store_record_check(r.data, r.len, sc->f->h.seed, r.offset))
			e = -EBADMSG;
		else
			e = is_message ? take_message(rc, sc->f, &r) : take(rc, sc, &r);
		if (e != -EBADMSG)
			continue;
		recover_bad(rc, sc->f, "a record", r.offset);
		/* Records are known by their number in the segment: it takes part in that. */
		e = is_message ? recover_collect(rc, sc->f, &(struct store_entry){ .offset = r.offset, .len = r.len }, true) : 0;
	}
	recover_raise(&rc->s->wall_floor, sc->batch.wall_ms);
	return e;
}
