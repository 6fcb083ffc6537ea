#include "wheel.h"

#define SLOT_BITS 6
#define LEVEL_SHIFT(level) (SLOT_BITS * (level))
#define TOP (WHEEL_LEVELS - 1)

/* The first tick at which a deadline is over: rounded up, so that nothing fires early. */
static uint64_t
tick_of(uint64_t ms)
{
	return ms / WHEEL_TICK_MS + (ms % WHEEL_TICK_MS != 0);
}

void
wheel_init(struct wheel *w, uint64_t now_ms)
{
	for (unsigned l = 0; l < WHEEL_LEVELS; l++) {
		for (unsigned s = 0; s < WHEEL_SLOTS; s++)
			list_init(&w->slots[l][s]);
		w->used[l] = 0;
	}
	w->tick = now_ms / WHEEL_TICK_MS;
	w->n = 0;
}

void
wheel_node_init(struct wheel_node *n)
{
	list_init(&n->node);
	n->deadline_ms = 0;
}

/*
 * A node lies in the lowest level at which its tick and the wheel's differ, so
 * that it is looked at again exactly when the wheel comes to its slot.
 */
static void
place(struct wheel *w, struct wheel_node *n)
{
	uint64_t t = tick_of(n->deadline_ms);
	uint64_t differ = t ^ w->tick;
	unsigned level = differ == 0 ? 0 : (63u - (unsigned)__builtin_clzll(differ)) / SLOT_BITS;
	unsigned slot;

	if (level > TOP)
		level = TOP;
	slot = (unsigned)(t >> LEVEL_SHIFT(level)) % WHEEL_SLOTS;
	list_append(&w->slots[level][slot], &n->node);
	w->used[level] |= UINT64_C(1) << slot;
}

void
wheel_add(struct wheel *w, struct wheel_node *n, uint64_t deadline_ms)
{
	/* What is over already fires at the next tick; wheel_remove relies on no node in a slot lying behind. */
	n->deadline_ms = tick_of(deadline_ms) < w->tick ? w->tick * WHEEL_TICK_MS : deadline_ms;
	place(w, n);
	w->n++;
}

void
wheel_remove(struct wheel *w, struct wheel_node *n)
{
	struct list *neighbour = n->node.prev;

	if (!wheel_armed(n))
		return;
	if (tick_of(n->deadline_ms) >= w->tick) {
		w->n--;
		if (neighbour == n->node.next) { /* it was alone: that is the slot */
			size_t i = (size_t)(neighbour - &w->slots[0][0]);

			w->used[i / WHEEL_SLOTS] &= ~(UINT64_C(1) << i % WHEEL_SLOTS);
		}
	}
	list_remove(&n->node);
}

/* The next tick at which there is something to fire or to spread over lower levels. */
static bool
next_tick(const struct wheel *w, uint64_t *ret)
{
	for (unsigned l = 0; l < WHEEL_LEVELS; l++) {
		uint64_t at = w->tick >> LEVEL_SHIFT(l);
		unsigned slot = (unsigned)at % WHEEL_SLOTS;
		uint64_t ahead = UINT64_MAX << slot;

		if (l > 0)
			ahead &= ahead - 1; /* the slot the wheel is in was spread already */
		ahead &= w->used[l];
		if (ahead != 0) {
			*ret = (at - slot + (unsigned)__builtin_ctzll(ahead)) << LEVEL_SHIFT(l);
			return true;
		}
	}
	if (w->used[TOP] != 0) { /* goes around */
		uint64_t round = (w->tick >> LEVEL_SHIFT(WHEEL_LEVELS)) + 1;

		*ret = (round * WHEEL_SLOTS + (unsigned)__builtin_ctzll(w->used[TOP])) << LEVEL_SHIFT(TOP);
		return true;
	}
	return false;
}

/* Come to a tick: spread the slots that begin here over the levels below, from the top. */
static void
enter(struct wheel *w, uint64_t tick)
{
	w->tick = tick;
	for (unsigned l = TOP; l > 0; l--) {
		unsigned slot = (unsigned)(tick >> LEVEL_SHIFT(l)) % WHEEL_SLOTS;
		struct list moved;

		if (tick % (UINT64_C(1) << LEVEL_SHIFT(l)) != 0 || !(w->used[l] & UINT64_C(1) << slot))
			continue;
		list_init(&moved);
		list_splice(&moved, &w->slots[l][slot]);
		w->used[l] &= ~(UINT64_C(1) << slot);
		LIST_FOREACH_SAFE (node, &moved) {
			list_remove(node);
			place(w, list_entry(node, struct wheel_node, node));
		}
	}
}

void
wheel_advance(struct wheel *w, uint64_t now_ms, struct list *due)
{
	uint64_t last = now_ms / WHEEL_TICK_MS;

	while (w->tick <= last) {
		uint64_t tick;
		unsigned slot;

		if (!next_tick(w, &tick) || tick > last + 1) {
			w->tick = last + 1;
			return;
		}
		enter(w, tick);
		if (tick > last)
			return;
		slot = (unsigned)tick % WHEEL_SLOTS;
		LIST_FOREACH (node, &w->slots[0][slot])
			w->n--;
		list_splice(due, &w->slots[0][slot]);
		w->used[0] &= ~(UINT64_C(1) << slot);
		enter(w, tick + 1);
	}
}

uint64_t
wheel_next(const struct wheel *w, uint64_t now_ms)
{
	uint64_t tick;

	if (!next_tick(w, &tick))
		return UINT64_MAX;
	return tick * WHEEL_TICK_MS > now_ms ? tick * WHEEL_TICK_MS - now_ms : 0;
}
