/* Dead letters: into the queue that keeps them, or parked while that has no room. */
#include "queue_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Only for people: without memory it goes without. */
static void
set_reason(struct entry *e, const char *reason)
{
	if (reason == e->reason)
		return;
	free(e->reason);
	e->reason = reason ? strndup(reason, WIRE_REASON_MAX) : NULL;
}

bool
queue_has_free(const struct queue *q, uint64_t bytes)
{
	return q->n + q->claimed_messages < q->conf.max_messages &&
	       q->bytes + q->claimed_bytes + bytes <= q->conf.max_bytes && q->counter < QUEUE_COUNTER_MAX;
}

int
entry_bury(struct entry *e, enum wire_level level, enum wire_reject_code code, const char *reason)
{
	struct queue *q = e->queue;
	struct queue *dead;

	if (q->dead_letter) {
		entry_finish(e, WIRE_LEVEL_DROPPED, code, reason);
		return 0;
	}
	dead = q->qs->cfg.dead_letter ? q->qs->cfg.dead_letter(q->qs->cfg.arg, q) : NULL;
	if (!dead || dead == q || !queue_has_free(dead, e->bytes))
		return -ENOSPC;
	set_reason(e, reason);
	entry_tell(e, level, code, e->reason);
	entry_move(e, dead);
	return 0;
}

void
entry_park(struct entry *e, const char *reason)
{
	struct queue *q = e->queue;

	entry_unlink(e);
	set_reason(e, reason);
	e->state = ENTRY_PARKED;
	list_append(&q->parked, &e->node);
	q->n_parked++;
	queue_timer_parked(q);
}

int
queue_bury(struct entry *e, enum wire_level level, enum wire_reject_code code, const char *reason)
{
	assert(e->state == ENTRY_HELD && (level == WIRE_LEVEL_REJECTED || level == WIRE_LEVEL_DEAD));
	if (e->doomed) {
		queue_doomed(e);
		return 0;
	}
	if (entry_bury(e, level, code, reason) == 0)
		return 0;
	if (e->holder->link)
		return -ENOSPC;
	entry_park(e, reason);
	return 0;
}
