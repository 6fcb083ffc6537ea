/*
 * What the next batch takes, and where it goes. New messages leave the last
 * segments to what makes space: docs/internals.md, Room.
 */
#include "store_internal.h"

static bool
is_large(const struct item *it)
{
	return it->last_len > 0 && !it->parts[STORE_PARTS - 1];
}

uint64_t
store_item_len(const struct item *it)
{
	uint64_t len = STORE_MESSAGE_HEAD;

	if (it->kind == ITEM_PIECE)
		return STORE_PIECE_HEAD + it->last_len;
	for (size_t i = 0; i < STORE_PARTS - 1; i++)
		len += it->lens[i];
	return is_large(it) ? len : len + it->last_len;
}

uint64_t
store_item_bytes(const struct item *it)
{
	switch (it->kind) {
	case ITEM_MESSAGE:
	case ITEM_PIECE:
		return store_padded(store_item_len(it));
	case ITEM_DONE:
		return 40; /* a record of its own */
	case ITEM_MARK:
	case ITEM_OFFERED:
		return 32;
	case ITEM_QUEUE:
		return store_padded(STORE_DEFINE_QUEUE_HEAD + it->last_len);
	case ITEM_FLOW:
		return store_padded(STORE_DEFINE_FLOW_HEAD + it->last_len);
	case ITEM_MOVE:
		return store_padded(STORE_MOVE_HEAD + it->last_len);
	default: /* it was cancelled */
		return 0;
	}
}

/*
 * As many of the items as fit into limit, groups whole; without messages if
 * they may not. When space is wanted, only few: copies that are spread among
 * many messages are left alone when those are done, and must be copied again.
 */
static void
plan_items(const struct store *s, uint64_t limit, bool may_messages, struct plan *p)
{
	uint64_t wish = s->copies_first ? store_copy_max(s) / 4 : limit;
	uint64_t tail = s->in_group ? s->group_start : s->tail, n = s->head;

	*p = (struct plan){ .end = s->head };
	while (n < tail) {
		uint64_t bytes = 0;
		bool messages = false;

		do {
			const struct item *it = store_item(s, n++);

			bytes += store_item_bytes(it);
			messages |= it->kind == ITEM_MESSAGE || it->kind == ITEM_PIECE;
		} while (n < tail && store_item(s, n)->joined);
		if (messages && !may_messages) {
			p->cut = true;
			return;
		}
		if (p->bytes + bytes > limit || (p->bytes > 0 && p->bytes + bytes > wish))
			return;
		p->bytes += bytes;
		p->messages |= messages;
		p->end = n;
	}
}

/* Bytes of records that still fit behind the last batch. */
static uint64_t
room_in(const struct store *s, const struct segment *g)
{
	uint64_t index = store_align(STORE_INDEX_HEAD + STORE_INDEX_SUM + s->index_len, 4096) + 4096;
	uint64_t taken = g->end + STORE_FOOTER + STORE_BATCH_HEAD + index;

	/* A batch is at most half of a segment: with all this an empty one takes it. */
	return taken < g->size ? (g->size - taken) / 4096 * 4096 : 0;
}

/* A done or an offer that may go ahead of messages that wait for space. */
bool
store_may_overtake(const struct store *s, uint64_t n, uint64_t tail)
{
	const struct item *it = store_item(s, n);
	const struct defined *d;
	const struct moved *m;

	if (it->joined || (n + 1 < tail && store_item(s, n + 1)->joined))
		return false;
	if (it->kind == ITEM_OFFERED) {
		d = store_defined_find(&s->queues, it->queue);
		return d && d->is_defined;
	}
	if (it->kind != ITEM_DONE)
		return false;
	m = s->slots[it->ref].moved ? store_moved_find(s, it->ref) : NULL;
	return s->slots[it->ref].state == SLOT_WRITTEN && !(m && m->waiting > 0);
}

static bool
any_overtakes(const struct store *s, uint64_t from)
{
	uint64_t tail = s->in_group ? s->group_start : s->tail;

	for (uint64_t n = from; n < tail; n++)
		if (store_may_overtake(s, n, tail))
			return true;
	return false;
}

/* Of a snapshot a batch takes no more than a quarter. */
uint64_t
store_snapshot_share(const struct store *s, uint64_t limit)
{
	uint64_t quarter = s->batch_max / 4;

	return !store_snapshot_waiting(s) ? 0 : quarter < limit ? quarter : limit;
}

/* Bytes of copies and of a snapshot, of which at least a record is taken: may be more than limit. */
static uint64_t
plan_front(struct store *s, uint64_t limit)
{
	bool is_pressing = store_is_pressing(s);

	s->copies_first = is_pressing && store_clean_is_busy(s);
	return store_clean_waiting(s, is_pressing ? limit / 3 * 2 : limit / 4) + store_snapshot_share(s, limit);
}

/* Decide what the batch takes, and whether it begins a segment. False: there is nothing to write. */
bool
store_plan(struct store *s, struct plan *p)
{
	uint64_t most = s->batch_max - STORE_BATCH_HEAD, here = s->current ? room_in(s, s->current) : 0;
	uint64_t limit = here < most ? here : most, front = plan_front(s, limit);
	uint32_t left = store_segments_left(s);
	bool begin = here < s->batch_max / 16 || front > limit, dropped = false, may;

	if (begin) {
		limit = most;
		front = plan_front(s, limit);
		front = front < limit ? front : limit;
	}
	plan_items(s, limit - front, true, p);
	/* What is large must not wait for ever for what is put in front of it. */
	if (p->end == s->head && s->head < s->tail && s->front_alone) {
		dropped = front > 0;
		front = 0;
		plan_items(s, limit, true, p);
	}
	/* Not even what comes first fits here. */
	if (front == 0 && p->end == s->head && !begin) {
		begin = true;
		limit = most;
		plan_items(s, limit, true, p);
	}
	if (front == 0 && p->end == s->head && !dropped)
		return false;
	/* New messages leave the last segments to what makes space. */
	begin = begin && front + p->bytes > here;
	may = left >= STORE_HELD_BACK + (begin ? 1u : 0u);
#ifdef PLANT_RESERVE_EATEN
	may = true;
#endif
	if (p->messages && !may)
		plan_items(s, limit - front, false, p);
	/* It must wait for space: then what makes space goes on. */
	if (dropped && p->end == s->head) {
		s->front_alone = false;
		return store_plan(s, p);
	}
	if (begin && front + p->bytes + 40 <= here)
		begin = false;
	if (!begin && limit > here)
		limit = here;
	p->front = front;
	p->begin = begin;
	p->behind = p->cut ? limit - front - p->bytes : 0;
	s->front_alone = p->end == s->head;
	/* If nothing else is taken, messages wait, and there is room for what is behind them. */
	return front > 0 || p->end > s->head || any_overtakes(s, p->end);
}
