/*
 * Entries that came back to a queue, smallest seq first: a pairing heap, so
 * that returning any number in any order costs O(1) each and taking them again
 * O(log n). An entry's prev is its left sibling, or the parent of the leftmost.
 */
#include "queue_internal.h"

/* Two heaps become one; either may be NULL. Roots have no siblings. */
static struct entry *
meld(struct entry *a, struct entry *b)
{
	if (!a || !b)
		return a ? a : b;
	if (b->seq < a->seq) {
		struct entry *swap = a;

		a = b;
		b = swap;
	}
	b->heap.prev = a;
	b->heap.next = a->heap.child;
	if (b->heap.next)
		b->heap.next->heap.prev = b;
	a->heap.child = b;
	return a;
}

/* A list of siblings becomes one heap: in pairs, then all together. */
static struct entry *
meld_siblings(struct entry *first)
{
	struct entry *pairs = NULL, *root = NULL;

	while (first) {
		struct entry *a = first, *b = a->heap.next;

		first = b ? b->heap.next : NULL;
		a->heap.next = NULL;
		if (b)
			b->heap.next = NULL;
		a = meld(a, b);
		a->heap.next = pairs;
		pairs = a;
	}
	while (pairs) {
		struct entry *a = pairs;

		pairs = a->heap.next;
		a->heap.next = NULL;
		root = meld(root, a);
	}
	if (root)
		root->heap.prev = NULL;
	return root;
}

void
queue_heap_add(struct entry **root, struct entry *e)
{
	e->heap.child = e->heap.next = e->heap.prev = NULL;
	*root = meld(*root, e);
}

void
queue_heap_remove(struct entry **root, struct entry *e)
{
	struct entry *below = meld_siblings(e->heap.child);

	if (e == *root) {
		*root = below;
	} else {
		if (e->heap.prev->heap.child == e)
			e->heap.prev->heap.child = e->heap.next;
		else
			e->heap.prev->heap.next = e->heap.next;
		if (e->heap.next)
			e->heap.next->heap.prev = e->heap.prev;
		*root = meld(*root, below);
	}
	e->heap.child = e->heap.next = e->heap.prev = NULL;
}
