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

#define RUNS_MAX 64   /* that are read at once */
#define RUN_GAP 8192u /* dead bytes that cost less to read than to leave out */

struct cleaner {
	struct segment *victim; /* pinned */
	uint32_t next;        /* its first record that was not looked at yet */
	bool is_reading;
	struct read_job *job; /* what is, or was, read of it: runs of records, one behind the other in its memory */
	uint32_t at, end;     /* records in there */
	uint32_t run;         /* in which the record at `at` is, or one before */
	uint64_t run_at;      /* where that begins in memory */
};

/* One goes on at its own pace; when much died at once, all of them. */
struct cleaners {
	struct cleaner c[STORE_CLEANERS];
};

int
store_cleaners_new(struct store *s)
{
	s->cleaners = calloc(1, sizeof(*s->cleaners));
	return s->cleaners ? 0 : -ENOMEM;
}

void
store_cleaners_free(struct store *s)
{
	for (size_t i = 0; s->cleaners && i < STORE_CLEANERS; i++)
		store_read_job_free(s->cleaners->c[i].job);
	free(s->cleaners);
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
			used += g->is_victim ? g->live_bytes : g->size;
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
		if (!g || g->state != SEGMENT_SEALED || g->is_victim || g->is_copied || g->live <= g->damaged ||
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
	c->victim->is_victim = false;
	c->victim = NULL;
}

/* Runs of the next living records, at most max bytes, or one record; returns their bytes. */
static uint64_t
find_runs(const struct store *s, struct cleaner *c, struct read_job *j, uint64_t max)
{
	struct segment *g = c->victim;
	struct read_place *p = NULL;
	uint64_t total = 0;

	for (uint32_t i = c->next; i < g->n_records; i++) {
		const struct record *r = &g->records[i];
		uint64_t from = (uint64_t)r->at * 8, more = r->len;

		if (!is_copied(s, r))
			continue;
		if (p && from - (p->offset + p->len) <= RUN_GAP)
			more += from - (p->offset + p->len);
		else
			p = NULL;
		if (total > 0 && (total + more > max || (!p && j->n_places == RUNS_MAX)))
			break;
		if (!p) {
			p = &j->places[j->n_places++];
			*p = (struct read_place){ .segment = g, .seed = g->seed, .offset = from };
			store_name(p->name, g->number);
		}
		p->len += (uint32_t)more;
		total += more;
		c->end = i + 1;
	}
	return total;
}

/* Read the next living records of the victim: as many as one batch may take. */
static void
read_on(struct store *s, struct cleaner *c)
{
	struct segment *g = c->victim;
	uint64_t max = store_is_pressing(s) ? store_copy_max(s) : store_copy_max(s) / 2;
	struct read_job *j;

	while (c->next < g->n_records && !is_copied(s, &g->records[c->next]))
		c->next++;
	if (c->next == g->n_records) {
		/* While a batch is under way what it copies still counts where it was. */
		g->is_copied = true;
		let_go(c);
		s->look = true;
		return;
	}
	j = store_read_job_new(s, RUNS_MAX);
	if (!j)
		return;
	j->is_runs = true;
	j->n_places = 0;
	j->memory = malloc(find_runs(s, c, j, max));
	if (!j->memory || store_reader_submit(s, j) < 0) {
		store_read_job_free(j);
		return;
	}
	c->is_reading = true;
	c->job = j;
	c->at = c->next;
	c->next = c->end;
	c->run = 0;
	c->run_at = 0;
}

static void
begin(struct store *s, struct cleaner *c)
{
	c->victim = pick_victim(s);
	c->next = 0;
	if (!c->victim)
		return;
	c->victim->is_victim = true;
	/* It stays what it is even if all of it dies. */
	c->victim->pins++;
}

static bool
has_copies(const struct store *s, const struct cleaner *c)
{
	for (uint32_t i = c->at; c->job && i < c->end; i++)
		if (is_copied(s, &c->victim->records[i]))
			return true;
	return false;
}

static void
go_on(struct store *s, struct cleaner *c, bool may_begin)
{
	if (c->is_reading || has_copies(s, c))
		return;
	/* All of it is copied, or died meanwhile. */
	store_read_job_free(c->job);
	c->job = NULL;
	for (uint32_t i = 0; i < s->n_segments; i++) {
		if (!c->victim && may_begin && (store_is_short(s) || is_wasteful(s)))
			begin(s, c);
		if (!c->victim)
			return;
		read_on(s, c);
		if (c->victim)
			return;
		/* Nothing was left of it: another one. */
	}
}

void
store_clean(struct store *s, bool look)
{
	for (size_t i = 0; i < STORE_CLEANERS; i++)
		go_on(s, &s->cleaners->c[i], look && (i == 0 || store_is_pressing(s)));
}

void
store_clean_read(struct store *s, struct read_job *j)
{
	struct cleaner *c = s->cleaners->c;

	while (c->job != j)
		c++;
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
	for (size_t i = 0; i < STORE_CLEANERS; i++)
		if (s->cleaners->c[i].victim)
			return true;
	return false;
}

/* Bytes of copies of c that wait, as far as they fit behind so many of others; whole: all do. */
static uint64_t
waiting(const struct store *s, const struct cleaner *c, uint64_t before, uint64_t limit, bool *whole)
{
	uint64_t bytes = 0;

	for (uint32_t i = c->at; c->job && !c->is_reading && i < c->end; i++) {
		const struct record *r = &c->victim->records[i];

		if (!is_copied(s, r))
			continue;
		/* One at least: what is large waits for a share that it fits into, for ever. */
		if (before + bytes > 0 && before + bytes + copy_bytes(s, r) > limit) {
			*whole = false;
			break;
		}
		bytes += copy_bytes(s, r);
	}
	return bytes;
}

uint64_t
store_clean_waiting(const struct store *s, uint64_t limit)
{
	uint64_t bytes = 0;
	bool whole = true;

	for (size_t i = 0; whole && i < STORE_CLEANERS; i++)
		bytes += waiting(s, &s->cleaners->c[i], bytes, limit, &whole);
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

/* Records come in the order of their places. */
static const uint8_t *
where_read(struct cleaner *c, const struct record *r)
{
	const struct read_place *p = &c->job->places[c->run];

	while ((uint64_t)r->at * 8 >= p->offset + p->len) {
		c->run_at += p->len;
		p = &c->job->places[++c->run];
	}
	return c->job->memory + c->run_at + ((uint64_t)r->at * 8 - p->offset);
}

/* What is read of c into the batch, up to end; false: not all of it fits. */
static bool
add(struct builder *b, struct cleaner *c, uint64_t end)
{
	for (; c->job && !c->is_reading && c->at < c->end; c->at++) {
		struct record *r = &c->victim->records[c->at];

		if (!is_copied(b->s, r))
			continue;
		if (b->at + copy_bytes(b->s, r) > end)
			return false;
		copy(b, c->victim, c->at, where_read(c, r));
	}
	return true;
}

void
store_clean_add(struct store *s, struct builder *b, uint64_t limit)
{
	uint64_t end = b->at + limit;

	for (size_t i = 0; i < STORE_CLEANERS && add(b, &s->cleaners->c[i], end); i++)
		;
	/* The next ones are read while this batch is written. */
	store_clean(s, true);
}
