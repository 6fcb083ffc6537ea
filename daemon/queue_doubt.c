/*
 * What a start found in an outbound queue may be at the peer already. If it
 * expires or is purged before that is known, its body goes at once; who asked
 * for it hears the outcome when the peer tells what it has.
 */
#include "queue_internal.h"

#include <stdlib.h>
#include <string.h>

static const char *
reason_of(enum wire_level level)
{
	return level == WIRE_LEVEL_ARRIVED ? NULL : level == WIRE_LEVEL_PURGED ? "purged" : "its time to live is over";
}

static void
keep(struct queue *q, struct entry *e, enum wire_level level)
{
	queue_count_left(q, level);
	e->doomed = (uint8_t)level;
	queue_heap_add(&q->ended[e->priority], e);
	list_append(&q->all_ended, &e->node);
}

/* How it ended, if it ends so here: the peer may have said already that it has it. */
static enum wire_level
end_of(const struct queue *q, unsigned prio, uint64_t seq, enum wire_level level)
{
	return q->node_name[0] != '\0' && seq <= q->arrived[prio] ? WIRE_LEVEL_ARRIVED : level;
}

/* Known now: told, gone. In the books of the queue it left when it ended here. */
static void
tell(struct entry *e, enum wire_level level)
{
	struct queue *q = e->queue;

	queue_heap_remove(&q->ended[e->priority], e);
	list_remove(&e->node);
	entry_tell(e, level, WIRE_REJECT_UNKNOWN, reason_of(level));
	slab_free(&q->qs->messages->slab, e, sizeof(*e));
	queue_check_unused(q);
}

void
entry_end(struct entry *e, enum wire_level level)
{
	struct queue *q = e->queue;

	level = end_of(q, e->priority, e->seq, level);
	if (!e->sender || !queue_in_doubt(q, e->priority, e->seq)) {
		entry_finish(e, level, WIRE_REJECT_UNKNOWN, reason_of(level));
		return;
	}
	entry_unstore(e);
	entry_unlink(e);
	entry_count_out(e);
	entry_forget_sync(e);
	message_unref(e->msg);
	free(e->reason);
	e->msg = NULL;
	e->reason = NULL;
	keep(q, e, level);
}

bool
cold_end(struct queue *q, struct cold *c, enum wire_level level)
{
	bool waits = c->sender && queue_in_doubt(q, c->priority, c->seq);
	struct slab *slab = &q->qs->messages->slab;
	struct entry *e = waits ? slab_alloc(slab, sizeof(*e)) : NULL;
	struct cold gone;

	level = end_of(q, c->priority, c->seq, level);
	if (waits && !e)
		return false;
	cold_leave(q, c, &gone);
	if (e) {
		*e = (struct entry){ .queue = q, .seq = gone.seq, .number = gone.number, .sender = gone.sender, .priority = gone.priority };
		list_init(&e->node);
		keep(q, e, level);
		return true;
	}
	queue_count_left(q, level);
	if (gone.sender) {
		gone.sender->open--;
		gone.sender->told(gone.sender, gone.number, level, WIRE_REJECT_UNKNOWN, reason_of(level));
	}
	return true;
}

bool
queue_awaits_outcome(const struct queue *q, int prio)
{
	return q->ended[prio] != NULL;
}

void
queue_arrived(struct queue *q, enum wire_priority prio, uint64_t confirmed)
{
	/* What is not taken from the queue yet is settled when it is, or when it ends before that. */
	q->arrived[prio] = confirmed;
	while (q->ended[prio] && q->ended[prio]->seq <= confirmed)
		tell(q->ended[prio], WIRE_LEVEL_ARRIVED);
}

void
queue_doubt_over(struct queue *q, enum wire_priority prio, uint64_t accepted)
{
	struct entry *there = NULL, *e;

	q->in_doubt[prio] = accepted;
	/* What is there, but not confirmed, may yet be lost there. */
	while ((e = q->ended[prio]) != NULL) {
		if (e->seq > accepted) {
			tell(e, (enum wire_level)e->doomed);
			continue;
		}
		queue_heap_remove(&q->ended[prio], e);
		queue_heap_add(&there, e);
	}
	q->ended[prio] = there;
}

void
queue_doubt_never_over(struct queue *q)
{
	struct list *node;

	memset(q->in_doubt, 0, sizeof(q->in_doubt));
	memset(q->arrived, 0, sizeof(q->arrived));
	while ((node = list_first(&q->all_ended)) != NULL) {
		struct entry *e = list_entry(node, struct entry, node);

		tell(e, (enum wire_level)e->doomed);
	}
}

void
queue_doubt_forget(struct queue *q, const struct sender *s)
{
	LIST_FOREACH_SAFE (node, &q->all_ended) {
		struct entry *e = list_entry(node, struct entry, node);

		if (s && e->sender != s)
			continue;
		queue_heap_remove(&q->ended[e->priority], e);
		list_remove(node);
		e->sender->open--;
		slab_free(&q->qs->messages->slab, e, sizeof(*e));
	}
}
