/* What an operator does with a queue: holding it, and moving what waits in it to another one. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "queue_internal.h"

/* ----------------------------------------------------------------- holding -- */

bool
queue_is_held(const struct queue *q)
{
	return q->held;
}

void
queue_set_held(struct queue *q, bool held)
{
	if (q->held == held)
		return;
	q->held = held;
	queue_check_unused(q);
	if (!held)
		queue_wake(q, queue_waiting(q, -1));
}

int
queue_hold(struct queue *q, bool held)
{
	int r;

	if (q->held == held)
		return 0;
	queue_set_held(q, held);
	r = queue_define_anew(q);
	if (r < 0)
		queue_set_held(q, !held);
	return r;
}

/* ------------------------------------------------------------------ moving -- */

/* When it expires at its new place: as before, or earlier by that queue's own rule. */
static uint64_t
expiry(const struct queue *to, uint64_t before)
{
	uint64_t by_queue = loop_now_ms(to->qs->loop) + to->conf.ttl;

	return to->conf.ttl != 0 && (before == 0 || by_queue < before) ? by_queue : before;
}

/* Can it be there, and as safe as it was? The store moves it first of all. */
static int
move_stored(struct queue *from, struct queue *to, store_ref ref, uint64_t bytes, uint64_t seq, bool redelivered, bool undated,
    uint64_t *ret_seq)
{
	if (!queue_has_free(to, bytes))
		return -ENOSPC;
	if (ref != 0 && !queue_keeps(to, MESSAGE_AS_QUEUE))
		return -ENOTSUP;
	*ret_seq = queue_next_seq(to);
	return ref != 0 ? queue_store_move(from, to, ref, seq, *ret_seq, redelivered, undated) : 0;
}

static void
count_moved(struct queue *from, struct queue *to, store_ref ref, uint64_t bytes, struct queue_moved *ret)
{
	if (ref != 0) {
		from->n_stored--;
		to->n_stored++;
		queue_disk_left(from, bytes);
		queue_disk_stored(to, bytes);
	}
	from->counters.moved_out++;
	to->counters.moved_in++;
	ret->messages++;
	ret->bytes += bytes;
}

/* One of which only the store has the body; c is a copy. There is room for it in the list. */
static void
enter_cold(struct queue *to, struct cold *c, uint64_t seq)
{
	c->seq = seq;
	c->expires_ms = expiry(to, c->expires_ms);
	c->entered_s = (uint32_t)(loop_now_ms(to->qs->loop) / 1000);
	if (!cold_push(&to->cold[c->priority], c))
		assert(!"there was room");
	to->n++;
	to->qs->n++;
	to->bytes += c->bytes;
	to->n_waiting[c->priority]++;
	if (c->expires_ms != 0)
		queue_sweep_soon(to->qs);
	queue_check_unused(to);
	queue_wake(to, 1);
}

static int
move_cold(struct queue *from, struct queue *to, unsigned prio, struct queue_moved *ret)
{
	struct cold c = *cold_first(&from->cold[prio]);
	bool undated = c.undated || from->dead_letter;
	uint64_t seq;
	int r = cold_reserve(&to->cold[prio]) ? move_stored(from, to, c.ref, c.bytes, c.seq, c.redelivered, undated, &seq) : -ENOMEM;

	if (r < 0)
		return r;
	cold_pop(&from->cold[prio], &c);
	c.undated = undated;
	from->n_waiting[prio]--;
	from->n--;
	from->qs->n--;
	from->bytes -= c.bytes;
	count_moved(from, to, c.ref, c.bytes, ret);
	enter_cold(to, &c, seq);
	queue_room_back(from);
	queue_check_unused(from);
	return 0;
}

/* Its body is on its way from the store: it is one of those again of which only that has it. */
static int
move_loading(struct entry *e, struct queue *to, struct queue_moved *ret)
{
	struct queue *from = e->queue;
	struct cold c = { .number = e->number, .sender = e->sender, .expires_ms = e->expires_ms, .ref = e->ref,
		.bytes = (uint32_t)e->bytes, .priority = e->priority, .redelivered = e->redelivered,
		.undated = e->undated || from->dead_letter };
	uint64_t seq;
	int r = cold_reserve(&to->cold[e->priority]) ?
			move_stored(from, to, e->ref, e->bytes, e->seq, e->redelivered, c.undated, &seq) :
			-ENOMEM;

	if (r < 0)
		return r;
	count_moved(from, to, e->ref, e->bytes, ret);
	e->sender = NULL; /* still open, there */
	entry_discard(e);
	enter_cold(to, &c, seq);
	return 0;
}

static int
move_entry(struct entry *e, struct queue *to, struct queue_moved *ret)
{
	struct queue *from = e->queue;
	bool delayed = e->state == ENTRY_DELAYED, undated = e->undated || from->dead_letter;
	uint64_t until = e->delayed_until_ms, seq;
	int r = move_stored(from, to, e->ref, e->bytes, e->seq, e->redelivered, undated, &seq);

	if (r < 0)
		return r;
	entry_unlink(e);
	entry_count_out(e);
	count_moved(from, to, e->ref, e->bytes, ret);
	free(e->reason);
	e->reason = NULL;
	e->attempt = 0;
	e->undated = undated;
	e->seq = seq;
	e->entered_ms = loop_now_ms(to->qs->loop);
	e->expires_ms = expiry(to, e->expires_ms);
	if (e->msg)
		e->msg->deadline_ms = e->expires_ms;
	entry_count_in(e, to, e->msg != NULL);
	if (delayed)
		entry_delay(e, until);
	else
		entry_begin(e);
	return 0;
}

static uint64_t
first_seq(struct list *head)
{
	struct list *first = list_first(head);

	return first ? list_entry(first, struct entry, node)->seq : UINT64_MAX;
}

/* The next in order of those that wait at this priority. 1: there is none up to that number. */
static int
move_first(struct queue *from, struct queue *to, unsigned prio, uint64_t up_to, struct queue_moved *ret)
{
	struct entry *back = from->returned[prio];
	const struct cold *c = cold_first(&from->cold[prio]);
	uint64_t waiting = first_seq(&from->waiting[prio]), loading = first_seq(&from->loading[prio]);
	uint64_t returned = back ? back->seq : UINT64_MAX, cold = c ? c->seq : UINT64_MAX, least = waiting;

	least = loading < least ? loading : least;
	least = returned < least ? returned : least;
	least = cold < least ? cold : least;
	if (least == UINT64_MAX || least > up_to)
		return 1;
	if (least == cold)
		return move_cold(from, to, prio, ret);
	if (least == loading)
		return move_loading(list_entry(list_first(&from->loading[prio]), struct entry, node), to, ret);
	if (least == returned)
		return move_entry(back, to, ret);
	return move_entry(list_entry(list_first(&from->waiting[prio]), struct entry, node), to, ret);
}

int
queue_move(struct queue *from, struct queue *to, uint64_t up_to, uint64_t max, struct queue_moved *ret)
{
	static const enum wire_priority by_rank[] = { WIRE_PRIORITY_HIGH, WIRE_PRIORITY_NORMAL, WIRE_PRIORITY_LOW };
	int r = 0;

	assert(from != to && from->node_name[0] == '\0' && to->node_name[0] == '\0');
	*ret = (struct queue_moved){ 0 };
	for (unsigned i = 0; i < WIRE_PRIORITIES; i++)
		for (r = 0; r == 0;) {
			if (ret->messages == max)
				return 1;
			r = move_first(from, to, by_rank[i], up_to, ret);
			if (r < 0)
				return r;
		}
	LIST_FOREACH_SAFE (node, &from->delayed) {
		struct entry *e = list_entry(node, struct entry, node);

		if (e->seq > up_to)
			continue;
		if (ret->messages == max)
			return 1;
		r = move_entry(e, to, ret);
		if (r < 0)
			return r;
	}
	return 0;
}
