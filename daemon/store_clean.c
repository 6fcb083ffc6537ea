/*
 * Copying: a sealed segment that is mostly dead gives its space back by having
 * its living records appended again. They are read in ranges by the reader's
 * task; what still lives when a batch is closed stands at its front, at its
 * present home. The record it replaces is let go of when that batch is synced.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

struct cleaner {
	struct segment *victim; /* pinned */
	uint32_t next;        /* its first record that was not looked at yet */
	bool is_reading;
	struct read_job *job; /* what is, or was, read of it */
	uint32_t at, end;     /* records in there */
};

int
store_cleaner_new(struct store *s)
{
	s->cleaner = calloc(1, sizeof(*s->cleaner));
	return s->cleaner ? 0 : -ENOMEM;
}

void
store_cleaner_free(struct store *s)
{
	if (s->cleaner)
		store_read_job_free(s->cleaner->job);
	free(s->cleaner);
}

/* ------------------------------------------------------------------- when -- */

bool
store_is_short(const struct store *s)
{
	return store_segments_left(s) < STORE_HELD_BACK + 2 + s->n_files / 16;
}

bool
store_is_pressing(const struct store *s)
{
	return store_is_short(s) || store_used(s) > 2 * s->live_bytes + STORE_SLACK * s->cfg.segment;
}

/*
 * Do files in which something lives hold more than that? With the current
 * segment, the next one and one on its way to be free it must stay below four.
 */
static bool
is_wasteful(const struct store *s)
{
	uint64_t used = 0;

	for (uint32_t i = 0; i < s->n_segments; i++) {
		const struct segment *g = s->segments[i];

		if (g && g->state == SEGMENT_SEALED && g->live > 0 && !g->is_copied)
			used += g->size;
	}
	return used > 2 * s->live_bytes + s->cfg.segment / 2;
}

/*
 * What copying g is worth: the space it gives, for what is read and written.
 * What has lived for some time will go on living, and is best put together; of
 * a young segment much will soon die by itself. When space is short only the
 * space counts.
 */
static uint64_t
worth(const struct store *s, const struct segment *g)
{
	uint64_t dead = (g->size - g->live_bytes) / 512, cost = (g->size + g->live_bytes) / 512;
	uint32_t age = s->last_number - g->number;

	return store_is_short(s) ? dead : dead * (age < STORE_YOUNG ? age : STORE_YOUNG) * 1024 / cost;
}

static struct segment *
pick_victim(const struct store *s)
{
	struct segment *best = NULL;
	uint64_t most = 0;

	for (uint32_t i = 0; i < s->n_segments; i++) {
		struct segment *g = s->segments[i];

		/* What cannot be read stays until its owner lets go of it. */
		if (!g || g->state != SEGMENT_SEALED || g->is_copied || g->live <= g->damaged ||
		    g->live_bytes > store_packed(s, g->size / 5 * 4))
			continue;
		if (best && worth(s, g) <= most)
			continue;
		best = g;
		most = worth(s, g);
	}
	return best;
}

/* ------------------------------------------------------------------- read -- */

static bool
is_copied(const struct store *s, const struct record *r)
{
#ifdef PLANT_COPY_REVIVES_DONE
	(void)s;
	return r->len > 0;
#endif
	return r->ref && !s->slots[r->ref].damaged;
}

static void
let_go(struct cleaner *c)
{
	c->victim->pins--;
	c->victim = NULL;
}

/* Read the next living records of the victim: as many as one batch may take. */
static void
read_on(struct store *s)
{
	struct cleaner *c = s->cleaner;
	struct segment *g = c->victim;
	uint64_t max = store_is_pressing(s) ? store_copy_max(s) : store_copy_max(s) / 2, from;
	struct read_job *j;
	uint32_t i = c->next, end;

	while (i < g->n_records && !is_copied(s, &g->records[i]))
		i++;
	if (i == g->n_records) {
		/* While a batch is under way what it copies still counts where it was. */
		g->is_copied = true;
		let_go(c);
		s->look = true;
		return;
	}
	from = (uint64_t)g->records[i].at * 8;
	for (end = i + 1; end < g->n_records; end++)
		if ((uint64_t)g->records[end].at * 8 + g->records[end].len - from > max)
			break;
	j = store_read_job_new(s, 1);
	if (!j)
		return;
	j->is_range = true;
	j->places[0] = (struct read_place){ .segment = g, .seed = g->seed, .offset = from,
		.len = (uint32_t)((uint64_t)g->records[end - 1].at * 8 + g->records[end - 1].len - from) };
	store_name(j->places[0].name, g->number);
	j->memory = malloc(j->places[0].len);
	if (!j->memory || store_reader_submit(s, j) < 0) {
		store_read_job_free(j);
		return;
	}
	c->is_reading = true;
	c->job = j;
	c->at = i;
	c->end = c->next = end;
}

static void
begin(struct store *s)
{
	struct cleaner *c = s->cleaner;

	c->victim = pick_victim(s);
	c->next = 0;
	/* It stays what it is even if all of it dies. */
	if (c->victim)
		c->victim->pins++;
}

void
store_clean(struct store *s, bool look)
{
	struct cleaner *c = s->cleaner;

	if (c->is_reading)
		return;
	if (c->job && store_clean_waiting(s, 1) > 0)
		return;
	/* All of it died meanwhile. */
	store_read_job_free(c->job);
	c->job = NULL;
	for (uint32_t i = 0; i < s->n_segments; i++) {
		if (!c->victim && look && (store_is_short(s) || is_wasteful(s)))
			begin(s);
		if (!c->victim)
			return;
		read_on(s);
		if (c->victim)
			return;
		/* Nothing was left of it: another one. */
	}
}

void
store_clean_read(struct store *s, struct read_job *j)
{
	struct cleaner *c = s->cleaner;

	c->is_reading = false;
	/* Out of memory or of files: later. */
	if (j->error < 0 && j->error != -EIO) {
		store_read_job_free(j);
		c->job = NULL;
		let_go(c);
		return;
	}
	store_kick(s);
}

/* ------------------------------------------------------------------- copy -- */

/* At most what a copy takes in a batch. */
static uint64_t
copy_bytes(const struct store *s, const struct record *r)
{
	return store_padded(r->len) + (s->slots[r->ref].moved ? STORE_NOTE_MAX : 0);
}

bool
store_clean_is_busy(const struct store *s)
{
	return s->cleaner->victim != NULL;
}

uint64_t
store_clean_waiting(const struct store *s, uint64_t limit)
{
	const struct cleaner *c = s->cleaner;
	uint64_t bytes = 0;

	for (uint32_t i = c->at; c->job && !c->is_reading && i < c->end; i++) {
		const struct record *r = &c->victim->records[i];

		if (!is_copied(s, r))
			continue;
		/* One at least: what is large waits for a share that it fits into, for ever. */
		if (bytes > 0 && bytes + copy_bytes(s, r) > limit)
			break;
		bytes += copy_bytes(s, r);
	}
	return bytes;
}

/* Its present home, and its note in the place of the part; returns the length. */
static size_t
encode_moved(uint8_t *p, const struct moved *m, const struct store_record *r, struct store_entry *e)
{
	struct store_bytes parts[STORE_PARTS];
	uint16_t lens[STORE_PARTS - 1];
	size_t at = STORE_MESSAGE_HEAD;

	store_message_decode(r, e, parts);
	e->queue = m->m.to_queue;
	e->seq = m->m.to_seq;
	e->flags = m->m.flags;
	if (m->m.has_note) {
		e->bytes += m->m.note.len - e->note_len;
		e->note_len = (uint32_t)m->m.note.len;
		parts[STORE_NOTE] = m->m.note;
	}
	for (size_t i = 0; i < STORE_PARTS; i++) {
		size_t n = parts[i].data ? parts[i].len : 0;

		if (i < STORE_PARTS - 1)
			lens[i] = (uint16_t)n;
		if (n > 0)
			memcpy(p + at, parts[i].data, n);
		at += n;
	}
	store_message_encode(p, e, lens);
	return at;
}

static void
forget_moved(struct store *s, struct moved *m)
{
	m->is_closed = false;
	store_moved_drop_note(m);
	if (m->waiting == 0)
		store_moved_drop(s, m->ref);
}

static void
set_damaged(struct store *s, struct segment *g, const struct record *r)
{
	s->slots[r->ref].damaged = true;
	g->damaged++;
	store_damaged(s, "segment %" PRIu32 ": a record at %" PRIu64 " cannot be read", g->number, (uint64_t)r->at * 8);
}

static void
copy(struct builder *b, struct segment *g, uint32_t record, const uint8_t *data)
{
	struct store *s = b->s;
	struct record *old = &g->records[record];
	struct store_record r = { .data = data, .len = old->len, .offset = (uint64_t)old->at * 8 };
	struct moved *m = s->slots[old->ref].moved ? store_moved_find(s, old->ref) : NULL;
	uint8_t *p = store_builder_at(b);
	store_ref ref = old->ref;
	struct store_entry e;
	size_t len = r.len;

	if (!store_record_is(data, r.len, &r.kind, g->seed, r.offset) ||
	    (r.kind == STORE_MESSAGE ? store_message_decode(&r, &e, NULL) : store_piece_decode(&r, &e)) < 0 ||
	    (m && r.kind != STORE_MESSAGE)) { /* an index, or a snapshot, said so */
		set_damaged(s, g, old);
		return;
	}
	if (m && m->is_closed)
		len = encode_moved(p, m, &r, &e);
	else
		memcpy(p, data, len);
	e.offset = b->offset + b->at;
	e.len = (uint32_t)len;
	s->stats.copied_bytes += len;
	store_builder_seal(b, r.kind, len);
#ifdef PLANT_COPY_REVIVES_DONE
	if (!ref) {
		store_segment_release(s, b->segment, store_segment_add(s, b->segment, 0, e.offset, e.len));
		store_index_append(s, &e);
		return;
	}
#endif
	s->live_bytes += store_record_cost(s, len) - store_record_cost(s, old->len);
	store_builder_release(b, 0, g->index, record);
	store_builder_record(b, ref, &e);
	if (m && m->is_closed)
		forget_moved(s, m);
}

void
store_clean_add(struct store *s, struct builder *b, uint64_t limit)
{
	struct cleaner *c = s->cleaner;
	struct read_job *j = c->job;
	uint64_t first = b->at;

	if (!j || c->is_reading)
		return;
	for (; c->at < c->end; c->at++) {
		struct record *r = &c->victim->records[c->at];

		if (!is_copied(s, r))
			continue;
		if (b->at - first + copy_bytes(s, r) > limit)
			return;
		copy(b, c->victim, c->at, j->memory + ((uint64_t)r->at * 8 - j->places[0].offset));
	}
	c->job = NULL;
	store_read_job_free(j);
	/* The next ones are read while this batch is written. */
	store_clean(s, true);
}
