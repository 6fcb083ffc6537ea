/* Who takes messages out: waking, weights between priorities, exclusive consumers. */
#include "queue_internal.h"

#include <assert.h>

static const enum wire_priority by_rank[WIRE_PRIORITIES] = { WIRE_PRIORITY_HIGH, WIRE_PRIORITY_NORMAL, WIRE_PRIORITY_LOW };
static const uint8_t weights[WIRE_PRIORITIES] = {
	[WIRE_PRIORITY_HIGH] = 16, [WIRE_PRIORITY_NORMAL] = 4, [WIRE_PRIORITY_LOW] = 1
};

uint64_t
queue_waiting(const struct queue *q, int prio)
{
	uint64_t n = 0;

	if (prio >= 0)
		return q->n_waiting[prio];
	for (unsigned p = 0; p < WIRE_PRIORITIES; p++)
		n += q->n_waiting[p];
	return n;
}

/* ------------------------------------------------------------------ waking -- */

static void
call(void *arg)
{
	struct consumer *c = arg;

	if (c->standby != c->standby_told) {
		c->standby_told = c->standby;
		if (c->ops->standby)
			c->ops->standby(c, c->standby);
	}
	if (!c->queue || !c->woken)
		return;
	c->woken = false;
	c->ops->wake(c);
}

/* A link looks at priorities one by one, and takes of some when of others it cannot: it never counts as busy. */
static void
set_idle(struct consumer *c, bool idle)
{
	if (c->idle == idle || (!idle && c->link && !c->paused))
		return;
	c->idle = idle;
	if (idle)
		list_append(&c->queue->idle, &c->node);
	else
		list_remove(&c->node);
}

static void
wake(struct consumer *c)
{
	if (c->woken)
		return;
	c->woken = true;
	loop_defer(c->queue->qs->loop, &c->call);
}

void
queue_wake(struct queue *q, uint64_t n)
{
	LIST_FOREACH_SAFE (node, &q->idle) {
		struct consumer *c = list_entry(node, struct consumer, node);

		if (n-- == 0)
			return;
		set_idle(c, false);
		wake(c);
	}
}

/* It can take: idle, and woken if there is something. */
static void
ready(struct consumer *c)
{
	set_idle(c, true);
	if (queue_waiting(c->queue, -1) == 0)
		return;
	set_idle(c, false);
	wake(c);
}

void
queue_pause(struct consumer *c)
{
	if (!c->queue || c->paused)
		return;
	c->paused = true;
	c->woken = false;
	set_idle(c, false);
	queue_wake(c->queue, queue_waiting(c->queue, -1) > 0);
}

void
queue_ready(struct consumer *c)
{
	if (!c->queue)
		return;
	c->paused = false;
	if (!c->standby)
		ready(c);
}

/* --------------------------------------------------------------- exclusive -- */

static void
set_standby(struct consumer *c, bool standby)
{
	if (c->standby == standby)
		return;
	c->standby = standby;
	if (standby) {
		c->idle = c->woken = false;
		list_remove(&c->node);
	} else if (!c->paused) {
		ready(c);
	}
	loop_defer(c->queue->qs->loop, &c->call);
}

/*
 * No exclusive one has its turn: the first may have it now, and all others
 * stand by. Of the exclusive ones that wait none holds anything.
 */
static void
elect(struct queue *q)
{
	struct list *first = list_first(&q->rivals);

	if (!first || q->n_held > 0)
		return;
	q->active = list_entry(first, struct consumer, rivals);
	set_standby(q->active, false);
	if (q->all_stand_by)
		return;
	q->all_stand_by = true;
	LIST_FOREACH (node, &q->consumers)
		if (list_entry(node, struct consumer, all) != q->active)
			set_standby(list_entry(node, struct consumer, all), true);
}

/* The active one is gone. */
static void
succeed(struct queue *q)
{
	q->active = NULL;
	elect(q);
	if (q->active || !q->all_stand_by)
		return;
	q->all_stand_by = false;
	LIST_FOREACH (node, &q->consumers)
		if (!list_entry(node, struct consumer, all)->exclusive)
			set_standby(list_entry(node, struct consumer, all), false);
}

void
queue_attach(struct queue *q, struct consumer *c)
{
	*c = (struct consumer){ .ops = c->ops, .exclusive = c->exclusive, .link = c->link, .queue = q };
	for (unsigned p = 0; p < WIRE_PRIORITIES; p++)
		list_init(&c->held[p]);
	list_init(&c->node);
	list_init(&c->rivals);
	loop_call_init(&c->call, call, c);
	list_append(&q->consumers, &c->all);
	if (!c->link && q->n_consumers++ == 0)
		q->offer_up_to = q->n > 0 ? queue_last_seq(q) : 0;
	c->standby = q->active || c->exclusive;
	if (c->exclusive)
		list_append(&q->rivals, &c->rivals);
	if (!c->standby)
		ready(c);
	else if (!q->active)
		elect(q);
	c->standby_told = c->standby; /* the caller sees it now */
	queue_check_unused(q);
}

void
queue_detach(struct consumer *c)
{
	struct queue *q = c->queue;
	uint64_t back = 0;

	if (!q)
		return;
	for (unsigned p = 0; p < WIRE_PRIORITIES; p++) {
		LIST_FOREACH_SAFE (node, &c->held[p])
			back += entry_back(list_entry(node, struct entry, node), 0, "its consumer has gone");
	}
	assert(c->n_held == 0);
	loop_call_cancel(&c->call);
	list_remove(&c->node);
	list_remove(&c->all);
	list_remove(&c->rivals);
	q->n_consumers -= !c->link;
	c->queue = NULL;
	c->idle = false;
	if (q->active == c)
		succeed(q);
	else if (!q->active)
		elect(q);
	/* A wake that was on its way must reach another. */
	if (c->woken)
		back += queue_waiting(q, -1) > back;
	c->woken = false;
	queue_wake(q, back);
	queue_check_unused(q);
}

struct consumer *
queue_link(const struct queue *q)
{
	struct list *first = list_first(&q->consumers);

	return first && list_entry(first, struct consumer, all)->link ? list_entry(first, struct consumer, all) : NULL;
}

void
queue_consumers_close(struct queue *q)
{
	struct list *node;

	while ((node = list_first(&q->consumers))) {
		struct consumer *c = list_entry(node, struct consumer, all);

		for (unsigned p = 0; p < WIRE_PRIORITIES; p++) {
			LIST_FOREACH_SAFE (held, &c->held[p]) {
				struct entry *e = list_entry(held, struct entry, node);

				c->ops->lost(c, e);
				entry_discard(e);
			}
		}
		loop_call_cancel(&c->call);
		list_remove(&c->node);
		list_remove(&c->all);
		list_remove(&c->rivals);
		c->queue = NULL;
		c->idle = c->woken = false;
		if (!c->link && c->ops->cancelled)
			c->ops->cancelled(c, WIRE_VERDICT_NO_QUEUE, "the queue is gone");
	}
	q->active = NULL;
	q->all_stand_by = false;
	q->n_consumers = 0;
}

/* ------------------------------------------------------------------ taking -- */

/* Whose turn it is by the weights, among those that have something; -1: nobody. */
static int
next_priority(struct queue *q, unsigned without)
{
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned r = 0; r < WIRE_PRIORITIES; r++) {
			unsigned p = by_rank[r];

			if (q->n_waiting[p] > 0 && q->turns[p] > 0 && !(without & 1u << p))
				return (int)p;
		}
		for (unsigned p = 0; p < WIRE_PRIORITIES; p++)
			q->turns[p] = weights[p];
	}
	return -1;
}

/* The first in order that is still good, of one priority or by turns. */
static struct entry *
next_entry(struct queue *q, int prio)
{
	unsigned tried = 0; /* priorities whose first is not in memory */

	for (;;) {
		int p = prio < 0 ? next_priority(q, tried) : prio;
		struct entry *e;

		if (p < 0 || q->n_waiting[p] == 0)
			return NULL;
		e = entry_front(q, (unsigned)p);
		if (!e) { /* on its way from the disk; others are not kept waiting by it */
			if (prio >= 0 || (tried |= 1u << p) == (1u << WIRE_PRIORITIES) - 1)
				return NULL;
			continue;
		}
		if (e->expires_ms == 0 || e->expires_ms > loop_now_ms(q->qs->loop)) {
			if (prio < 0)
				q->turns[p]--;
			return e;
		}
		entry_end(e, WIRE_LEVEL_EXPIRED);
	}
}

struct entry *
queue_take(struct consumer *c, int prio)
{
	struct queue *q = c->queue;
	struct entry *e;

	assert(prio < WIRE_PRIORITIES);
	if (!q || c->standby)
		return NULL;
	e = !q->held && (c->link || queue_may_offer(q)) ? next_entry(q, prio) : NULL;
	if (!e) {
		c->paused = false;
		set_idle(c, true);
		return NULL;
	}
	entry_unlink(e);
	if (e->attempt++ > 0 && !c->link)
		q->counters.redelivered++;
	e->state = ENTRY_HELD;
	e->holder = c;
	e->held_since_ms = loop_now_ms(q->qs->loop);
	list_append(&c->held[e->priority], &e->node);
	c->n_held++;
	q->n_held++;
	entry_arm(e);
	return e;
}

void
queue_delivered(struct entry *e)
{
	assert(e->state == ENTRY_HELD);
	e->held_since_ms = loop_now_ms(e->queue->qs->loop);
	entry_arm(e);
}
