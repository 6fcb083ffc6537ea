/*
 * Putting a batch together, and the segment that it begins. At its front stand copies and pieces of a snapshot, which describe the
 * journal as it was closed before; then the items, in their order; at its end
 * the marks, dones and offered records, of which one stands for many.
 */
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

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
	return store_segment_reserve(g, n) == 0 &&
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

/* They are in a batch. */
static void
take_items(struct store *s, const struct plan *p)
{
	s->head = s->closed = p->end;
	if (s->head == s->tail)
		s->hurry = false;
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
		store_add_item(b, store_item(s, n));
	if (p->cut)
		store_add_behind(b, p->end, p->behind);
#ifdef PLANT_MARK_AHEAD
	for (uint64_t n = p->end; n < s->tail && 32 * s->n_marks + 64 < s->batch_max; n++)
		if (store_item(s, n)->flow && (store_item(s, n)->kind == ITEM_MARK || store_item(s, n)->kind == ITEM_MESSAGE))
			store_add_pair(s->marks, &s->n_marks, store_item(s, n)->flow, store_item(s, n)->number);
#endif
	store_write_coalesced(b);
#ifdef PLANT_MARK_APART
	for (uint64_t n = s->head; n < p->end; n++)
		if (store_item(s, n)->kind == ITEM_MESSAGE && store_item(s, n)->flow)
			store_mark(s, store_item(s, n)->flow, store_item(s, n)->number);
#endif
	take_items(s, p);
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
	s->wants_next = p.begin && !s->next;
	if (s->wants_next) {
		store_writer_ahead(s);
		return;
	}
	b.segment = p.begin ? s->next : s->current;
	if (!b.segment) {
		/* All of it was cancelled, before anything was ever written. */
		take_items(s, &p);
		store_batch_synced(s);
		return;
	}
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
