/*
 * The tables: segments and their records, slots, definitions, what was moved.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "store_internal.h"

int
store_grow(void *p, size_t *room, size_t n, size_t size)
{
	void *old, *more;
	size_t want = *room ? *room : 16;

	if (n <= *room)
		return 0;
	while (want < n)
		want *= 2;
	memcpy(&old, p, sizeof(old));
	more = realloc(old, want * size);
	if (!more)
		return -ENOMEM;
	memcpy(p, &more, sizeof(more));
	*room = want;
	return 0;
}

/* ---------------------------------------------------------------- segments -- */

void
store_name(char ret[static STORE_NAME_MAX], uint32_t number)
{
	snprintf(ret, STORE_NAME_MAX, STORE_FOLDER "/%08" PRIu32 ".journal", number);
}

struct segment *
store_segment_new(struct store *s, uint32_t number, uint64_t size)
{
	struct segment *g;
	uint32_t i = 0;

	while (i < s->n_segments && s->segments[i])
		i++;
	if (i == SLOT_SEGMENT_MAX)
		return NULL;
	if (i == s->n_segments) {
		/* Few and rare: one more each time. */
		struct segment **more = realloc(s->segments, (i + 1) * sizeof(struct segment *));

		if (!more)
			return NULL;
		s->segments = more;
		s->segments[i] = NULL;
		s->n_segments++;
	}
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->index = i;
	g->number = number;
	g->size = size;
	s->segments[i] = g;
	s->n_files++;
	s->n_free++;
	s->n_bare++;
	s->file_bytes += size;
	return g;
}

void
store_segment_allocated(struct store *s, struct segment *g)
{
	if (!g->allocated)
		s->n_bare--;
	g->allocated = true;
}

void
store_segment_remove(struct store *s, struct segment *g)
{
	s->n_files--;
	if (!g->allocated)
		s->n_bare--;
	if (g->state == SEGMENT_FREE)
		s->n_free--;
	s->file_bytes -= g->size;
	s->segments[g->index] = NULL;
	disk_file_close(g->reading);
	disk_file_close(g->writing);
	free(g->records);
	free(g);
}

int
store_segment_reserve(struct segment *g, size_t n)
{
	size_t room = g->records_room;
	int r;

	if (n > UINT32_MAX / 2 - g->n_records)
		return -ENOMEM;
	r = store_grow(&g->records, &room, g->n_records + n, sizeof(*g->records));
	g->records_room = (uint32_t)room;
	return r;
}

void
store_segment_shrink(struct segment *g)
{
	struct record *fit = g->n_records > 0 ? realloc(g->records, g->n_records * sizeof(*fit)) : NULL;

	if (!fit)
		return;
	g->records = fit;
	g->records_room = g->n_records;
}

uint32_t
store_segment_add(struct store *s, struct segment *g, store_ref ref, uint64_t offset, uint32_t len)
{
	(void)s;
	g->records[g->n_records] = (struct record){ .ref = ref, .at = (uint32_t)(offset / 8), .len = len };
	g->live++;
	g->live_bytes += store_record_cost(s, len);
	return g->n_records++;
}

void
store_segment_release(struct store *s, struct segment *g, uint32_t record)
{
	uint64_t cost = store_record_cost(s, g->records[record].len);

	g->records[record].ref = 0;
	s->died += cost;
	if (--g->live == 0 || s->died >= s->cfg.segment / 4)
		s->look = true;
	g->live_bytes -= cost;
}

void
store_segment_set_free(struct store *s, struct segment *g)
{
	s->n_free++;
	g->state = SEGMENT_FREE;
	g->is_copied = g->is_told = g->will_be = false;
	g->zeroed = g->size;
	g->live = g->damaged = g->n_records = g->records_room = 0;
	g->live_bytes = 0;
	free(g->records);
	g->records = NULL;
}

bool
store_segment_is_needed(const struct store *s, const struct segment *g)
{
	return g->is_told || g->number >= s->replay.segment;
}

void
store_segment_sweep(struct store *s)
{
	for (uint32_t i = 0; i < s->n_segments; i++) {
		struct segment *g = s->segments[i];

		if (g && g->state == SEGMENT_SEALED && g->live == 0 && g->pins == 0 && !store_segment_is_needed(s, g))
			store_segment_set_free(s, g);
	}
}

struct segment *
store_segment_numbered(const struct store *s, uint32_t number)
{
	for (uint32_t i = 0; i < s->n_segments; i++)
		if (s->segments[i] && s->segments[i]->number == number)
			return s->segments[i];
	return NULL;
}

uint64_t
store_record_cost(const struct store *s, uint64_t len)
{
	uint64_t blocks = store_align(len + STORE_BATCH_HEAD, 4096);

	/*
	 * Of large records only so many fit a segment, and what is left over
	 * helps nobody. Small ones are packed.
	 */
	if (len > s->usable / 16 && blocks <= s->usable)
		return s->usable / (s->usable / blocks);
	return store_padded(len) + STORE_INDEX_TYPICAL;
}

/* ------------------------------------------------------------------- slots -- */

int
store_slot_new(struct store *s, store_ref *ret)
{
	store_ref ref = s->unused;

	if (ref) {
		s->unused = s->slots[ref].record;
	} else {
		if (s->n_slots == UINT32_MAX || store_grow(&s->slots, &s->room_slots, (size_t)s->n_slots + 1, sizeof(*s->slots)) < 0)
			return -ENOMEM;
		ref = s->n_slots++;
	}
	s->slots[ref] = (struct slot){ .state = SLOT_PENDING };
	*ret = ref;
	return 0;
}

void
store_slot_free(struct store *s, store_ref ref)
{
	if (s->slots[ref].moved)
		store_moved_drop(s, ref);
	s->slots[ref] = (struct slot){ .state = SLOT_UNUSED, .record = s->unused };
	s->unused = ref;
}

struct record *
store_slot_record(const struct store *s, store_ref ref)
{
	const struct slot *t = &s->slots[ref];

	return &s->segments[t->segment]->records[t->record];
}

/* ------------------------------------------------------- moved, large ones -- */

/* No two numbers have one hash: what is found by it needs no comparison. */

struct moved *
store_moved_find(const struct store *s, store_ref ref)
{
	struct hmap_node *n = hmap_find(&s->moved, hmap_hash_number(ref));

	return n ? hmap_entry(n, struct moved, node) : NULL;
}

struct moved *
store_moved_get(struct store *s, store_ref ref)
{
	struct moved *m = store_moved_find(s, ref);

	if (m)
		return m;
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->ref = ref;
	if (hmap_add(&s->moved, &m->node, hmap_hash_number(ref)) < 0) {
		free(m);
		return NULL;
	}
	list_append(&s->moved_list, &m->list);
	s->slots[ref].moved = true;
	return m;
}

void
store_moved_drop_note(struct moved *m)
{
	void *note;

	memcpy(&note, &m->m.note.data, sizeof(note));
	if (m->latest.data == note)
		m->latest = (struct store_bytes){ 0 };
	m->m.note = (struct store_bytes){ 0 };
	m->m.has_note = false;
	free(note);
}

static void
moved_free(struct store *s, struct moved *m)
{
	store_moved_drop_note(m);
	hmap_remove(&s->moved, &m->node);
	list_remove(&m->list);
	free(m);
}

void
store_moved_drop(struct store *s, store_ref ref)
{
	struct moved *m = store_moved_find(s, ref);

	s->slots[ref].moved = false;
	if (s->snapshot)
		store_snapshot_forget(s, &m->list);
	moved_free(s, m);
}

struct store_body *
store_body_find(const struct store *s, store_ref ref)
{
	return hmap_entry(hmap_find(&s->bodies, hmap_hash_number(ref)), struct store_body, node);
}

void
store_body_free(struct store_body *b)
{
	if (!b)
		return;
	if (b->ref)
		hmap_remove(&b->store->bodies, &b->node);
	list_remove(&b->unput);
	free(b->pieces);
	free(b->buf);
	free(b);
}

/* ------------------------------------------------------------- definitions -- */

struct defined *
store_defined_find(const struct defined_table *t, uint32_t number)
{
	struct hmap_node *n = hmap_find(&t->map, hmap_hash_number(number));

	return n ? hmap_entry(n, struct defined, node) : NULL;
}

struct defined *
store_defined_get(struct defined_table *t, uint32_t number)
{
	struct defined *d = store_defined_find(t, number);

	if (d)
		return d;
	d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	d->d.number = number;
	if (hmap_add(&t->map, &d->node, hmap_hash_number(number)) < 0) {
		free(d);
		return NULL;
	}
	list_append(&t->list, &d->list);
	t->bytes += STORE_DEFINE_QUEUE_HEAD;
	return d;
}

void
store_defined_set(struct defined_table *t, struct defined *d, uint8_t *bytes, size_t len)
{
	void *old;

	memcpy(&old, &d->d.bytes.data, sizeof(old));
	free(old);
	t->bytes += store_padded(len) - store_padded(d->d.bytes.len);
	d->d.bytes = (struct store_bytes){ bytes, len };
	d->is_defined = true;
}

static void
defined_free(struct defined_table *t, struct defined *d)
{
	store_defined_set(t, d, NULL, 0);
	t->bytes -= STORE_DEFINE_QUEUE_HEAD;
	hmap_remove(&t->map, &d->node);
	list_remove(&d->list);
	free(d);
}

void
store_defined_drop(struct store *s, struct defined_table *t, struct defined *d)
{
	store_snapshot_forget(s, &d->list);
	defined_free(t, d);
}

void
store_defined_done(struct defined_table *t)
{
	LIST_FOREACH_SAFE (n, &t->list)
		defined_free(t, list_entry(n, struct defined, list));
	hmap_done(&t->map);
}
