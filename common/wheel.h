/*
 * wheel: a hierarchical timing wheel for very many deadlines, intrusive:
 * adding and removing are O(1) and allocate nothing. Pure: the caller brings
 * the clock, which never runs backwards. Deadlines fire up to WHEEL_TICK_MS
 * late, never early.
 */
#ifndef WHEEL_H
#define WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "list.h"

#define WHEEL_TICK_MS 8
#define WHEEL_LEVELS 5
#define WHEEL_SLOTS 64 /* a level; 64^5 ticks are 99 days, what is later goes around */

struct wheel_node {
	struct list node;
	uint64_t deadline_ms; /* as given; what was over already: that of the next tick */
};

struct wheel {
	struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
	uint64_t used[WHEEL_LEVELS]; /* bit per slot that may hold something */
	uint64_t tick;               /* everything before is fired */
	uint64_t n;                  /* nodes in the slots; those moved to `due` no more */
};

void wheel_init(struct wheel *w, uint64_t now_ms);
/* The node must not be in the wheel (list_init'ed or removed). */
void wheel_add(struct wheel *w, struct wheel_node *n, uint64_t deadline_ms);
/* Also takes a node off the list that wheel_advance moved it to; one that is in neither is fine. */
void wheel_remove(struct wheel *w, struct wheel_node *n);
static inline bool
wheel_armed(const struct wheel_node *n)
{
	return !list_empty(&n->node);
}
void wheel_node_init(struct wheel_node *n);
/* Append all that are due to the list `due` (of wheel_node.node), earliest tick first. */
void wheel_advance(struct wheel *w, uint64_t now_ms, struct list *due);
/*
 * When to call wheel_advance next, in ms from now: exact for what is due within
 * half a second, else a lower bound; each such call moves nearer. UINT64_MAX:
 * nothing armed.
 */
uint64_t wheel_next(const struct wheel *w, uint64_t now_ms);

#endif
