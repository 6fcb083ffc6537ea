/* One entry's way through a queue: its place, out, and back. */
#include "queue_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t
now_ms(const struct queue *q)
{
	return loop_now_ms(q->qs->loop);
}

static unsigned
priority(const struct entry *e)
{
	return e->priority;
}

/* ----------------------------------------------------------------- places -- */

void
entry_arm(struct entry *e)
{
	struct queue *q = e->queue;
	uint64_t deadline = e->expires_ms;

	switch ((enum entry_state)e->state) {
	case ENTRY_WAITING:
		break;
	case ENTRY_DELAYED:
		if (deadline == 0 || e->delayed_until_ms < deadline)
			deadline = e->delayed_until_ms;
		break;
	case ENTRY_HELD:
		/* What a client holds does not expire; what a link holds is never asked back. */
		if (!e->holder->link)
			deadline = q->conf.ack_timeout ? e->held_since_ms + q->conf.ack_timeout : 0;
		break;
	case ENTRY_SYNCING:
	case ENTRY_LOADING:
		break;
	case ENTRY_PARKED:
		deadline = 0; /* dead already */
		break;
	}
	wheel_remove(&q->qs->wheel, &e->timer);
	if (deadline != 0)
		queue_timer_set(q->qs, &e->timer, deadline);
}

void
entry_wait(struct entry *e, bool came_back)
{
	struct queue *q = e->queue;
	unsigned p = priority(e);

	e->state = ENTRY_WAITING;
	if (came_back)
		queue_heap_add(&q->returned[p], e);
	else
		list_append(&q->waiting[p], &e->node);
	q->n_waiting[p]++;
	entry_arm(e);
}

void
entry_delay(struct entry *e, uint64_t until_ms)
{
	e->state = ENTRY_DELAYED;
	e->delayed_until_ms = until_ms;
	list_append(&e->queue->delayed, &e->node);
	e->queue->n_delayed++;
	entry_arm(e);
}

void
entry_unlink(struct entry *e)
{
	struct queue *q = e->queue;

	wheel_remove(&q->qs->wheel, &e->timer);
	switch ((enum entry_state)e->state) {
	case ENTRY_WAITING:
		q->n_waiting[priority(e)]--;
		if (list_empty(&e->node))
			queue_heap_remove(&q->returned[priority(e)], e);
		break;
	case ENTRY_DELAYED:
		q->n_delayed--;
		break;
	case ENTRY_HELD:
		e->holder->n_held--;
		e->holder = NULL;
		q->n_held--;
		break;
	case ENTRY_SYNCING:
		q->n_syncing--;
		break;
	case ENTRY_LOADING:
		if (e->load)
			entry_unload(e);
		q->n_loading[priority(e)]--;
		q->n_waiting[priority(e)]--;
		break;
	case ENTRY_PARKED:
		q->n_parked--;
		break;
	}
	list_remove(&e->node);
}

void
queue_settle(struct queue *q)
{
	for (unsigned p = 0; p < WIRE_PRIORITIES; p++) {
		struct list *at = q->waiting[p].next;
		struct entry *e;

		while ((e = q->returned[p])) {
			queue_heap_remove(&q->returned[p], e);
			while (at != &q->waiting[p] && list_entry(at, struct entry, node)->seq < e->seq)
				at = at->next;
			list_insert_before(at, &e->node);
		}
	}
}

/* -------------------------------------------------------------------- out -- */

void
entry_count_out(struct entry *e)
{
	struct queue *q = e->queue;

	q->n--;
	q->bytes -= e->bytes;
	q->qs->n--;
	if (e->msg || e->state != ENTRY_DELAYED)
		entry_count_resident(e, false);
	queue_room_back(q);
	queue_check_unused(q);
}

void
entry_tell(struct entry *e, enum wire_level level, enum wire_reject_code code, const char *reason)
{
	struct sender *s = e->sender;

	if (!s)
		return;
	e->sender = NULL;
	s->open--;
	s->told(s, e->number, level, code, reason);
}

void
queue_count_left(struct queue *q, enum wire_level level)
{
	struct queue_counters *c = &q->counters;

	switch (level) {
	case WIRE_LEVEL_CONSUMED:
		c->consumed++;
		return;
	case WIRE_LEVEL_ARRIVED:
		c->forwarded++;
		return;
	case WIRE_LEVEL_EXPIRED:
		c->expired++;
		return;
	case WIRE_LEVEL_PURGED:
		c->purged++;
		return;
	case WIRE_LEVEL_DROPPED:
		c->dropped++;
		return;
	case WIRE_LEVEL_NONE:
	case WIRE_LEVEL_ACCEPTED:
	case WIRE_LEVEL_STORED:
	case WIRE_LEVEL_REJECTED:
	case WIRE_LEVEL_DEAD:
		break;
	}
	assert(!"a level at which a message leaves its queue");
}

void
entry_discard(struct entry *e)
{
	struct slab *slab = &e->queue->qs->messages->slab;

	entry_unlink(e);
	entry_count_out(e);
	entry_forget_sync(e);
	if (e->sender)
		e->sender->open--;
	message_unref(e->msg);
	free(e->reason);
	slab_free(slab, e, sizeof(*e));
}

void
entry_finish(struct entry *e, enum wire_level level, enum wire_reject_code code, const char *reason)
{
	queue_count_left(e->queue, level);
	entry_unstore(e);
	entry_tell(e, level, code, reason);
	entry_discard(e);
}

/* A link has sent it: whether it got through is known later. Its body goes now. */
static void
doom(struct entry *e, enum wire_level level)
{
	struct queue *q = e->queue;

	wheel_remove(&q->qs->wheel, &e->timer);
	entry_unstore(e);
	q->bytes -= e->bytes;
	q->resident -= e->bytes;
	q->qs->used -= e->bytes;
	e->bytes = 0;
	message_unref(e->msg);
	e->msg = NULL;
	e->doomed = (uint8_t)level;
	queue_room_back(q);
}

void
queue_doomed(struct entry *e)
{
	bool purged = e->doomed == WIRE_LEVEL_PURGED;

	assert(e->state == ENTRY_HELD && e->doomed);
	entry_finish(e, (enum wire_level)e->doomed, WIRE_REJECT_UNKNOWN, purged ? "purged" : "its time to live is over");
}

void
queue_done(struct entry *e, enum wire_level level)
{
	assert(e->state == ENTRY_HELD && (level == WIRE_LEVEL_CONSUMED || level == WIRE_LEVEL_ARRIVED));
	entry_finish(e, level, WIRE_REJECT_UNKNOWN, NULL);
}

/* A held entry is taken from its holder, or doomed. Returns false if doomed. */
static bool
take_away(struct entry *e, enum wire_level level)
{
	if (e->holder->link && e->sent) {
		doom(e, level);
		return false;
	}
	e->holder->ops->lost(e->holder, e);
	return true;
}

void
entry_due(struct entry *e)
{
	bool expired = e->expires_ms != 0 && e->expires_ms <= now_ms(e->queue);
	struct queue *q = e->queue;

	if (e->state == ENTRY_HELD && !e->holder->link) {
		e->holder->ops->lost(e->holder, e);
		queue_wake(q, entry_back(e, 0, "ack_timeout"));
	} else if (e->state == ENTRY_HELD) {
		if (take_away(e, WIRE_LEVEL_EXPIRED))
			entry_end(e, WIRE_LEVEL_EXPIRED);
	} else if (expired) {
		entry_end(e, WIRE_LEVEL_EXPIRED);
	} else if (!e->msg) {
		entry_unlink(e);
		entry_load(e);
	} else {
		entry_unlink(e);
		entry_wait(e, true);
		queue_wake(q, 1);
	}
}

static void
purge_one(struct entry *e, struct queue_purged *purged)
{
	purged->messages++;
	purged->bytes += e->bytes;
	purged->in_doubt += queue_in_doubt(e->queue, e->priority, e->seq);
	entry_end(e, WIRE_LEVEL_PURGED);
}

static void
purge_all(struct list *head, struct queue_purged *purged)
{
	LIST_FOREACH_SAFE (node, head)
		purge_one(list_entry(node, struct entry, node), purged);
}

static void
purge_held(struct list *head, struct queue_purged *purged)
{
	LIST_FOREACH_SAFE (node, head) {
		struct entry *e = list_entry(node, struct entry, node);

		if (e->doomed)
			continue;
		purged->messages++;
		purged->bytes += e->bytes;
		if (take_away(e, WIRE_LEVEL_PURGED))
			entry_end(e, WIRE_LEVEL_PURGED);
		else
			purged->in_doubt++;
	}
}

static bool
purge_cold(void *arg, struct queue *q, struct cold *c)
{
	struct queue_purged *purged = arg;
	bool in_doubt = queue_in_doubt(q, c->priority, c->seq);
	uint64_t bytes = c->bytes;

	if (!cold_end(q, c, WIRE_LEVEL_PURGED))
		return true;
	purged->messages++;
	purged->bytes += bytes;
	purged->in_doubt += in_doubt;
	return true;
}

void
queue_purge(struct queue *q, struct queue_purged *ret)
{
	*ret = (struct queue_purged){ 0 };
	queue_settle(q);
	/* Without a link, as its peer is not configured any more, nobody will ever tell what that has. */
	if (list_empty(&q->consumers))
		queue_doubt_never_over(q);
	for (unsigned p = 0; p < WIRE_PRIORITIES; p++) {
		cold_each(&q->cold[p], purge_cold, ret, q);
		purge_all(&q->loading[p], ret);
		LIST_FOREACH (node, &q->consumers)
			purge_held(&list_entry(node, struct consumer, all)->held[p], ret);
		purge_all(&q->waiting[p], ret);
	}
	purge_all(&q->delayed, ret);
	purge_all(&q->syncing, ret);
	purge_all(&q->parked, ret);
}

/* ------------------------------------------------------------------- back -- */

bool
entry_back(struct entry *e, uint64_t delay_ms, const char *reason)
{
	struct queue *q = e->queue;
	bool link = e->holder->link;

	if (e->doomed) {
		queue_doomed(e);
		return false;
	}
	if (!link && !q->dead_letter && q->conf.max_attempts != 0 && e->attempt >= q->conf.max_attempts) {
		char text[WIRE_REASON_MAX + 1];

		snprintf(text, sizeof(text), "max_attempts%s%s", reason ? ": " : "", reason ? reason : "");
		if (entry_bury(e, WIRE_LEVEL_DEAD, WIRE_REJECT_UNKNOWN, text) < 0)
			entry_park(e, text);
		return false;
	}
	if (e->expires_ms != 0 && e->expires_ms <= now_ms(q)) {
		entry_end(e, WIRE_LEVEL_EXPIRED);
		return false;
	}
	entry_unlink(e);
	e->redelivered |= !link || e->sent;
	if (delay_ms > 0) {
		entry_delay(e, delay_ms < UINT64_MAX - now_ms(q) ? now_ms(q) + delay_ms : UINT64_MAX);
		return false;
	}
	entry_wait(e, true);
	return true;
}

void
queue_return(struct entry *e, uint64_t delay_ms, const char *reason)
{
	struct queue *q = e->queue;

	assert(e->state == ENTRY_HELD && !e->holder->link);
	queue_wake(q, entry_back(e, delay_ms, reason));
}

void
entry_move(struct entry *e, struct queue *to)
{
	uint64_t seq = queue_next_seq(to);

	e->queue->counters.dead++;
	entry_unlink(e);
	entry_count_out(e);
	entry_store_move(e, to, seq);
	e->attempt = 0;
	e->sent = false;
	e->sent_boot = 0;
	to->counters.moved_in++;
	if (e->ref == 0 && e->msg->durability == MESSAGE_DURABLE) {
		e->seq = seq;
		entry_store_anew(e, to);
	}
	entry_enter(e, to, seq);
}
