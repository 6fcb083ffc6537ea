/*
 * Putting a batch together: its bytes, and what they change in memory.
 *
 * At its front stand copies and pieces of a snapshot, which describe the
 * journal as it was closed before; then the items, in their order; at its end
 * the marks, dones and offered records, of which one stands for many.
 */
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

#define DONE_RANGES_MAX 4096 /* in one record */

/* ---------------------------------------------------------------- builder -- */

void
store_builder_seal(struct builder *b, enum store_kind kind, size_t len)
{
	b->at += store_record_seal(store_builder_at(b), kind, len, b->segment->seed, b->offset + b->at);
	b->records++;
}

void
store_index_append(struct store *s, const struct store_entry *e)
{
	size_t room = STORE_INDEX_HEAD + s->index_len + STORE_INDEX_ENTRY_MAX + STORE_INDEX_SUM;

	/* Without an index the segment is scanned one day. */
	if (s->index_failed || store_grow(&s->index, &s->index_room, room, 1) < 0) {
		s->index_failed = true;
		return;
	}
	s->index_len += store_index_add(s->index + STORE_INDEX_HEAD + s->index_len, &s->index_state, e);
	s->index_entries++;
}

void
store_builder_record(struct builder *b, store_ref ref, const struct store_entry *e)
{
	struct store *s = b->s;
	struct slot *t = &s->slots[ref];

	t->segment = b->segment->index;
	t->state = SLOT_INFLIGHT;
	t->record = store_segment_add(s, b->segment, ref, e->offset, e->len);
	store_index_append(s, e);
}

void
store_builder_release(struct builder *b, store_ref slot, uint32_t segment, uint32_t record)
{
	struct store *s = b->s;

	s->segments[segment]->records[record].ref = 0;
	s->releases[s->n_releases++] = (struct release){ .segment = segment, .record = record, .ref = slot };
}

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
static void
add_pair(struct number_pair *pairs, size_t *n, uint32_t number, uint64_t value)
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

static void
add_item(struct builder *b, struct item *it)
{
	struct store *s = b->s;

	raise_marks(s, it);
	switch ((enum item_kind)it->kind) {
	case ITEM_NONE:
		break;
	case ITEM_MESSAGE:
		add_message(b, it);
		break;
	case ITEM_PIECE:
		add_piece(b, it);
		break;
	case ITEM_DONE:
		add_done(b, it);
		break;
	case ITEM_MARK:
		add_pair(s->marks, &s->n_marks, it->flow, it->number);
		break;
	case ITEM_OFFERED:
		add_pair(s->offers, &s->n_offers, it->queue, it->seq);
		break;
	case ITEM_QUEUE:
	case ITEM_FLOW:
		add_definition(b, it);
		break;
	case ITEM_MOVE:
		add_move(b, it);
		break;
	}
}

/*
 * Messages wait for space, and what makes some waits behind them: a done that
 * belongs to no group may go ahead. Nothing that was confirmed depends on it.
 */
static void
add_dones_behind(struct builder *b, uint64_t from, uint64_t limit)
{
	struct store *s = b->s;
	uint64_t tail = s->in_group ? s->group_start : s->tail;

	for (uint64_t n = from; n < tail && limit >= 40; n++) {
		if (!store_may_overtake(s, n, tail))
			continue;
		add_done(b, store_item(s, n));
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

/* ------------------------------------------------------------------ close -- */

/* Memory for all that the batch needs, so that nothing can fail on the way. */
static bool
reserve(struct store *s, struct segment *g, const struct plan *p)
{
	/* Of copies there are no more than fit with the smallest head. */
	size_t n = (size_t)((p->cut ? s->tail : p->end) - s->head + p->front / STORE_PIECE_HEAD + 1);
	size_t bytes = store_align(STORE_BATCH_HEAD + p->front + p->bytes + p->behind + 64, 4096);

#ifdef PLANT_MARK_AHEAD
	bytes += s->batch_max;
	n += s->tail - s->head;
#endif
	if (n > UINT32_MAX / 4)
		return false;
	return store_segment_reserve(g, (uint32_t)n) == 0 &&
	    store_grow(&s->releases, &s->releases_room, n, sizeof(*s->releases)) == 0 &&
	    store_grow(&s->dones, &s->dones_room, n, sizeof(*s->dones)) == 0 &&
	    store_grow(&s->marks, &s->marks_room, n, sizeof(*s->marks)) == 0 &&
	    store_grow(&s->offers, &s->offers_room, n, sizeof(*s->offers)) == 0 &&
	    store_grow(&s->buf, &s->buf_room, STORE_HEADER + bytes, 1) == 0;
}

/* The index of the segment that is full, if there is place for it. */
static void
seal_current(struct store *s)
{
	struct segment *g = s->current;
	struct store_footer f = {
		.index_block = (uint32_t)(g->end / STORE_BLOCK),
		.last_batch = s->batch_number,
		.end_block = (uint32_t)(g->end / STORE_BLOCK),
	};

	s->job.sealed = g->writing;
	s->job.index_len = 0;
	g->writing = NULL;
	g->state = SEGMENT_SEALED;
	store_segment_shrink(g);
	if (!s->index_failed && s->index && g->end + store_align(s->index_len + STORE_INDEX_HEAD + STORE_INDEX_SUM, 4096) + STORE_FOOTER <= g->size) {
		f.index_len = (uint32_t)store_index_seal(s->index, s->index_len, s->index_entries, g->seed);
		free(s->sealed_index);
		s->job.index = s->sealed_index = s->index;
		s->job.index_len = f.index_len;
		s->job.index_at = g->end;
		s->job.footer_at = g->size - STORE_FOOTER;
		store_footer_encode(s->job.footer, &f, g->seed);
		s->index = NULL;
		s->index_room = 0;
	}
	s->index_len = 0;
	s->index_entries = 0;
	s->index_failed = false;
	s->index_state = (struct store_index_state){ 0 };
}

/* The next segment becomes the one that is appended to. Its header goes with its first batch. */
static void
begin_segment(struct store *s)
{
	struct segment *g = s->next;

	if (s->current) {
		s->before = (struct store_place){ s->current->number, (uint32_t)(s->current->end / STORE_BLOCK), s->batch_number };
		seal_current(s);
	}
	s->look = true;
	s->last_number = g->number;
	s->current = g;
	s->next = NULL;
	g->state = SEGMENT_CURRENT;
	g->end = STORE_HEADER;
}

void
store_header_fill(const struct store *s, const struct segment *g, struct store_header *ret)
{
	*ret = (struct store_header){
		.segment = g->number,
		.seed = g->seed,
		.size = g->size,
		.start_count = s->cfg.start_count,
		.first_batch = s->batch_number + 1,
		.before = s->before,
		.replay = s->replay,
		.next_queue = s->next_queue,
		.next_flow = s->next_flow,
		.next_body = s->next_body,
		.wall_ms = s->wall_floor,
	};
}

static void
hand_over(struct store *s, struct builder *b)
{
	struct segment *g = b->segment;
	size_t padded = store_align(b->at, STORE_BLOCK);
	struct store_header h;

	s->job.file = g->writing;
	s->job.data = b->buf;
	s->job.len = padded;
	s->job.offset = g->end;
	if (g->end == STORE_HEADER) {
		store_header_fill(s, g, &h);
		store_header_encode(s->buf, &h);
		s->job.data = s->buf;
		s->job.len += STORE_HEADER;
		s->job.offset = 0;
	}
	store_batch_seal(b->buf, &(struct store_batch){ .len = (uint32_t)b->at, .records = b->records,
	    .number = ++s->batch_number, .wall_ms = b->wall_ms }, g->seed, b->offset);
	memset(b->buf + b->at, 0, padded - b->at);
	g->end += padded;
	s->inflight = true;
	s->handed_ns = loop_now(s->cfg.loop);
	s->stats.batches++;
	s->stats.records += b->records;
	s->stats.written_bytes += s->job.len;
	s->replay_bytes += padded;
	store_writer_submit(s);
#ifdef PLANT_CONFIRM_EARLY
	s->ev.synced(s->ev.arg, s->closed);
#endif
}

static void
build(struct store *s, struct builder *b, const struct plan *p)
{
	s->n_releases = s->n_dones = s->n_marks = s->n_offers = 0;
	s->first_inflight = b->segment->n_records;
	if (p->front > 0) {
		store_snapshot_add(s, b, store_snapshot_share(s, p->front));
		store_clean_add(s, b, p->front - (b->at - STORE_BATCH_HEAD));
	}
	for (uint64_t n = s->head; n < p->end; n++)
		add_item(b, store_item(s, n));
	if (p->cut)
		add_dones_behind(b, p->end, p->behind);
#ifdef PLANT_MARK_AHEAD
	for (uint64_t n = p->end; n < s->tail && 32 * s->n_marks + 64 < s->batch_max; n++)
		if (store_item(s, n)->flow && (store_item(s, n)->kind == ITEM_MARK || store_item(s, n)->kind == ITEM_MESSAGE))
			add_pair(s->marks, &s->n_marks, store_item(s, n)->flow, store_item(s, n)->number);
#endif
	write_dones(b);
	write_pairs(b, s->marks, s->n_marks, STORE_MARK);
	write_pairs(b, s->offers, s->n_offers, STORE_OFFERED);
#ifdef PLANT_MARK_APART
	for (uint64_t n = s->head; n < p->end; n++)
		if (store_item(s, n)->kind == ITEM_MESSAGE && store_item(s, n)->flow)
			store_mark(s, store_item(s, n)->flow, store_item(s, n)->number);
#endif
	s->head = s->closed = p->end;
	if (s->head == s->tail)
		s->hurry = false;
}

void
store_batch_close(struct store *s)
{
	struct builder b = { .s = s, .at = STORE_BATCH_HEAD, .now_ms = loop_now_ms(s->cfg.loop), .wall_ms = store_now_wall(s) };
	struct plan p;

	if (s->inflight || s->state == STORE_FENCED)
		return;
	if (!store_plan(s, &p)) {
		/* What waits for space is looked at again, whatever becomes of that. */
		if (s->head < s->tail && !s->retry.armed)
			loop_timer_start(&s->retry, STORE_RETRY_MS);
		return;
	}
	s->wants_next = p.begin && !(s->next && s->next->writing);
	if (s->wants_next) {
		store_writer_ahead(s);
		return;
	}
	b.segment = p.begin ? s->next : s->current;
	if (!reserve(s, b.segment, &p)) {
		loop_timer_start(&s->retry, STORE_RETRY_MS);
		return;
	}
	if (p.begin)
		begin_segment(s);
	b.buf = s->buf + STORE_HEADER;
	b.offset = b.segment->end;
	s->wall_floor = b.wall_ms;
	build(s, &b, &p);
	if (b.records > 0)
		hand_over(s, &b);
	else
		store_batch_synced(s); /* all of it was cancelled */
}
