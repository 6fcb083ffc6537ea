/* One wheel for the deadlines of all queues, and one timer that turns it. */
#include "queue_internal.h"

static void
arm(struct queues *qs)
{
	uint64_t now = loop_now_ms(qs->loop);
	uint64_t wait = list_empty(&qs->due) ? wheel_next(&qs->wheel, now) : 0;

	if (wait == UINT64_MAX) {
		loop_timer_stop(&qs->timer);
		qs->timer_at_ms = UINT64_MAX;
		return;
	}
	qs->timer_at_ms = now + wait;
	loop_timer_start(&qs->timer, wait);
}

static void
turn(void *arg)
{
	struct queues *qs = arg;
	struct list *node;
	unsigned n = 0;

	wheel_advance(&qs->wheel, loop_now_ms(qs->loop), &qs->due);
	while (n++ < QUEUE_PASS && (node = list_first(&qs->due))) {
		struct wheel_node *w = list_entry(node, struct wheel_node, node);

		wheel_remove(&qs->wheel, w);
		entry_due(list_entry(w, struct entry, timer));
	}
	arm(qs);
}

void
queue_timer_set(struct queues *qs, struct wheel_node *n, uint64_t deadline_ms)
{
	/* The wheel stands still while it is empty. */
	if (qs->wheel.n == 0)
		wheel_advance(&qs->wheel, loop_now_ms(qs->loop), &qs->due);
	wheel_add(&qs->wheel, n, deadline_ms);
	/* Of many deadlines within one tick only the first arms. */
	if (deadline_ms < qs->timer_at_ms &&
	    (deadline_ms + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS * WHEEL_TICK_MS < qs->timer_at_ms)
		arm(qs);
}

/* The dead-letter queues may have room now. */
static void
retry_parked(void *arg)
{
	struct queues *qs = arg;
	unsigned n = 0;

	LIST_FOREACH_SAFE (node, &qs->parked) {
		struct queue *q = list_entry(node, struct queue, parked_node);
		struct list *first;

		while (n < QUEUE_PASS && (first = list_first(&q->parked))) {
			struct entry *e = list_entry(first, struct entry, node);

			n++;
			if (entry_bury(e, WIRE_LEVEL_DEAD, WIRE_REJECT_UNKNOWN, e->reason) < 0)
				break;
		}
		if (list_empty(&q->parked))
			list_remove(&q->parked_node);
	}
	if (!list_empty(&qs->parked))
		loop_timer_start(&qs->parked_timer, n < QUEUE_PASS ? QUEUE_PARKED_RETRY_MS : 0);
}

void
queue_timer_parked(struct queue *q)
{
	struct queues *qs = q->qs;

	if (list_empty(&q->parked_node))
		list_append(&qs->parked, &q->parked_node);
	if (!qs->parked_timer.armed)
		loop_timer_start(&qs->parked_timer, QUEUE_PARKED_RETRY_MS);
}

void
queue_timers_init(struct queues *qs)
{
	wheel_init(&qs->wheel, loop_now_ms(qs->loop));
	list_init(&qs->due);
	list_init(&qs->parked);
	qs->timer_at_ms = UINT64_MAX;
	loop_timer_init(&qs->timer, qs->loop, turn, qs);
	loop_timer_init(&qs->parked_timer, qs->loop, retry_parked, qs);
}

void
queue_timers_done(struct queues *qs)
{
	loop_timer_stop(&qs->timer);
	loop_timer_stop(&qs->parked_timer);
}
