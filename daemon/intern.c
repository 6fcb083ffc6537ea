#include "intern.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/*
 * Free numbers form a heap, smallest first, so that the numbers in use stay
 * dense and a dictionary indexed by them stays small. The array always has
 * room for every number handed out: giving one back cannot fail.
 */
static uint32_t
take_index(struct intern *t)
{
	uint32_t *heap = t->free_index;
	uint32_t taken, last, i = 0;

	if (t->n_free == 0)
		return t->next_index++;
	taken = heap[0];
	last = heap[--t->n_free];
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= t->n_free)
			break;
		if (child + 1 < t->n_free && heap[child + 1] < heap[child])
			child++;
		if (last <= heap[child])
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = last;
	return taken;
}

static void
give_index(struct intern *t, uint32_t index)
{
	uint32_t *heap = t->free_index;
	uint32_t i = t->n_free++;

	while (i > 0 && heap[(i - 1) / 2] > index) {
		heap[i] = heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	heap[i] = index;
}

static int
reserve_index(struct intern *t)
{
	uint32_t cap = t->cap_free ? 2 * t->cap_free : 16;
	uint32_t *heap;

	if (t->n_free > 0 || t->next_index < t->cap_free)
		return 0;
	if (cap <= t->cap_free)
		return -1;
	heap = realloc(t->free_index, cap * sizeof *heap);
	if (!heap)
		return -1;
	t->free_index = heap;
	t->cap_free = cap;
	return 0;
}

void
intern_init(struct intern *t, uint64_t seed)
{
	*t = (struct intern){ .seed = seed };
	hmap_init(&t->map);
}

void
intern_done(struct intern *t)
{
	assert(t->map.n == 0);
	hmap_done(&t->map);
	free(t->free_index);
	*t = (struct intern){ 0 };
}

struct intern_entry *
intern_get(struct intern *t, struct wire_bytes value)
{
	uint64_t hash = hmap_hash(value.data, value.len, t->seed);
	struct intern_entry *e;

	for (struct hmap_node *n = hmap_find(&t->map, hash); n; n = hmap_find_next(n)) {
		e = hmap_entry(n, struct intern_entry, node);
		if (e->len == value.len && (value.len == 0 || memcmp(e->data, value.data, value.len) == 0))
			return intern_ref(e);
	}
	if (reserve_index(t) < 0)
		return NULL;
	e = malloc(sizeof *e + value.len + 1);
	if (!e)
		return NULL;
	e->refs = 1;
	e->len = value.len;
	if (value.len > 0)
		memcpy(e->data, value.data, value.len);
	e->data[value.len] = '\0';
	if (hmap_add(&t->map, &e->node, hash) < 0) {
		free(e);
		return NULL;
	}
	e->index = take_index(t);
	return e;
}

struct intern_entry *
intern_ref(struct intern_entry *e)
{
	assert(e->refs < UINT32_MAX);
	e->refs++;
	return e;
}

void
intern_unref(struct intern *t, struct intern_entry *e)
{
	if (!e || --e->refs > 0)
		return;
	hmap_remove(&t->map, &e->node);
	give_index(t, e->index);
	free(e);
}
