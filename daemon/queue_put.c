/* Into a queue: numbers, times to live, and what a full one does. */
#include "queue_internal.h"

#include <assert.h>
#include <errno.h>

static uint64_t
now_ms(const struct queue *q)
{
	return loop_now_ms(q->qs->loop);
}

void
entry_count_resident(struct entry *e, bool resident)
{
	uint64_t bytes = e->bytes + QUEUE_OVERHEAD;
	struct queue *q = e->queue;

	q->resident += resident ? bytes : -bytes;
	q->qs->used += resident ? bytes : -bytes;
}

void
entry_count_in(struct entry *e, struct queue *q, bool resident)
{
	e->queue = q;
	q->n++;
	q->bytes += e->bytes;
	q->qs->n++;
	if (resident)
		entry_count_resident(e, true);
	queue_check_unused(q);
}

uint64_t
queue_next_seq(struct queue *q)
{
	uint64_t seq = ++q->counter;

#if !defined(PLANT_NUMBER_REUSED) && !defined(PLANT_SEQ_REUSED)
	seq |= (uint64_t)q->qs->cfg.start_count << QUEUE_COUNTER_BITS;
#endif
	return seq;
}

uint64_t
queue_last_seq(const struct queue *q)
{
	uint64_t seq = q->counter;

#if !defined(PLANT_NUMBER_REUSED) && !defined(PLANT_SEQ_REUSED)
	seq |= (uint64_t)q->qs->cfg.start_count << QUEUE_COUNTER_BITS;
#endif
	return seq;
}

static uint64_t
expiry(const struct queue *q, const struct message *m)
{
	uint64_t at = m->deadline_ms;

	if (q->dead_letter)
		return 0;
	if (q->conf.ttl != 0 && (at == 0 || now_ms(q) + q->conf.ttl < at))
		at = now_ms(q) + q->conf.ttl;
	return at;
}

void
entry_begin(struct entry *e)
{
	struct queue *q = e->queue;
	uint64_t not_before = e->msg->not_before_ms;
	struct list *waiting = &q->waiting[e->priority];

	/* A delay is waited out at the destination, never on a link. */
	if (not_before > now_ms(q) && q->node_name[0] == '\0' && !q->dead_letter) {
		entry_delay(e, not_before);
		return;
	}
	/* What waited for its sync or its body may have been overtaken. */
	entry_wait(e, !list_empty(waiting) && list_entry(waiting->prev, struct entry, node)->seq > e->seq);
	queue_wake(q, 1);
}

void
entry_enter(struct entry *e, struct queue *q, uint64_t seq)
{
	entry_count_in(e, q, true);
	e->seq = seq;
	e->entered_ms = now_ms(q);
	e->expires_ms = expiry(q, e->msg);
	entry_begin(e);
}

/*
 * A new message. One that a program here sent is not offered before it is
 * synced: nobody would send it again if it were lost; and what is in memory
 * alone not before the stored ones that it must not overtake. What came over a
 * link can be.
 */
static int
begin_new(struct entry *e, struct inlet *in, uint64_t number)
{
	struct queue *q = in->queue;
	bool waits = !in->peer;
	int r;

	e->seq = queue_next_seq(q);
	e->entered_ms = now_ms(q);
	e->expires_ms = expiry(q, e->msg);
	if (queue_keeps(q, (enum message_durability)e->msg->durability)) {
		r = entry_store(e, q, in, number);
	} else {
#ifdef PLANT_OVERTAKES_ON_LINK
		waits = false;
#endif
		r = waits ? entry_wait_turn(e, q, in, number) : 0;
		waits = r > 0;
	}
	if (r < 0)
		return r;
	entry_count_in(e, q, true);
#ifndef PLANT_SEND_BEFORE_SYNC
	if (waits) {
		e->state = ENTRY_SYNCING;
		list_append(&q->syncing, &e->node);
		q->n_syncing++;
		return 0;
	}
#endif
	entry_begin(e);
	return 0;
}

/* The one that came first, of those that may be dropped. */
static struct entry *
oldest(const struct queue *q)
{
	struct entry *found = NULL;

	for (unsigned p = 0; p < WIRE_PRIORITIES; p++) {
		struct list *first = list_first(&q->waiting[p]);

		if (first && (!found || list_entry(first, struct entry, node)->seq < found->seq))
			found = list_entry(first, struct entry, node);
		if (q->returned[p] && (!found || q->returned[p]->seq < found->seq))
			found = q->returned[p];
	}
	if (!found && !list_empty(&q->delayed))
		found = list_entry(q->delayed.next, struct entry, node);
	return found;
}

static bool
fits(const struct queue *q, uint64_t bytes)
{
	return q->n + q->claimed_messages < q->conf.max_messages && q->bytes + q->claimed_bytes + bytes <= q->conf.max_bytes;
}

/* By the queue's overflow: 0; 1: the newcomer is to be dropped; -EXFULL. */
static int
make_room(struct queue *q, uint64_t bytes)
{
	if (q->conf.overflow == CONF_OVERFLOW_REJECT)
		return fits(q, bytes) ? 0 : -EXFULL;
	if (bytes > q->conf.max_bytes)
		return 1;
	while (!fits(q, bytes)) {
		struct entry *e = oldest(q);

		if (!e)
			return 1;
		entry_finish(e, WIRE_LEVEL_DROPPED, WIRE_REJECT_FULL, "the queue is full");
	}
	return 0;
}

/* What queue_started counted for the message that is put now. */
static void
settle_started(struct inlet *in, uint64_t bytes)
{
	struct queue *q = in->queue;

	if (in->started_messages == 0)
		return;
	assert(in->started_bytes >= bytes);
	in->started_messages--;
	in->started_bytes -= bytes;
	queue_disk_unclaim(in, 1, bytes);
	q->qs->claimed_messages--;
	q->qs->used -= bytes + QUEUE_OVERHEAD;
	if (!in->regardless) {
		q->claimed_messages--;
		q->claimed_bytes -= bytes;
	}
	queue_room_back(q);
}

int
queue_put(struct inlet *in, struct message *m, struct sender *sender, uint64_t number)
{
	struct queue *q = in->queue;
	struct entry *e;
	int room = 0, err;

	assert(m->body_have == m->body_len && m->priority < WIRE_PRIORITIES);
	if (!q)
		return -ESHUTDOWN;
	if (m->durability == MESSAGE_DURABLE && !q->conf.durable)
		return -ENOTSUP;
	if (q->conf.durable && m->durability != MESSAGE_MEMORY && q->number == 0)
		return -EIO; /* rather than kept in memory without a word */
	if (q->counter == QUEUE_COUNTER_MAX)
		return -EOVERFLOW;
	e = slab_alloc(&q->qs->messages->slab, sizeof(*e));
	if (!e)
		return -ENOMEM;
	if (in->regardless && queue_keeps(q, (enum message_durability)m->durability) && !queue_disk_fits(in, message_bytes(m)))
		room = -ENOSPC;
	else if (in->regardless)
		room = make_room(q, message_bytes(m));
	if (room < 0) {
		slab_free(&q->qs->messages->slab, e, sizeof(*e));
		return room;
	}
	*e = (struct entry){ .msg = m, .bytes = message_bytes(m), .priority = m->priority, .sender = sender, .number = number,
		.redelivered = m->maybe_duplicate };
	list_init(&e->node);
	wheel_node_init(&e->timer);
	err = begin_new(e, in, number);
	if (err < 0) {
		slab_free(&q->qs->messages->slab, e, sizeof(*e));
		return err;
	}
	if (sender)
		sender->open++;
	settle_started(in, message_bytes(m));
	q->counters.accepted++;
	if (room > 0)
		entry_finish(e, WIRE_LEVEL_DROPPED, WIRE_REJECT_FULL, "the queue is full");
	return 0;
}
