/*
 * Room in the journal, shared out: a queue has its min_bytes whatever others
 * do, what waits for one peer stays within its max_backlog, and what waits for
 * all peers leaves a quarter to what comes in. Queues that find none wait in a
 * list, and look again when something has left.
 */
#include "queue_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What waits for one peer, in all its queues. */
struct backlog {
	struct list node;
	char peer[NAMES_NODE_MAX + 1];
	uint64_t n_queues;
	uint64_t taken; /* stored or claimed */
};

static uint64_t
below(uint64_t limit, uint64_t used)
{
	return limit > used ? limit - used : 0;
}

static uint64_t
smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Does what comes here need room on disk? */
static bool
is_kept(const struct queue *q)
{
	return q->number != 0 && q->conf.durable && q->qs->store;
}

/* Linear, so that sums are; what it leaves out of large bodies is little beside them. */
static uint64_t
cost_of(const struct queues *qs, uint64_t messages, uint64_t bytes)
{
	return messages * store_cost(qs->store, 0) + bytes;
}

uint64_t
queue_disk_cost(const struct queue *q, uint64_t messages, uint64_t bytes)
{
	return is_kept(q) ? cost_of(q->qs, messages, bytes) : 0;
}

/* ------------------------------------------------------------------- shares -- */

static uint64_t
backlog_max(const struct queue *q)
{
	const struct queues_config *cfg = &q->qs->cfg;
	uint64_t set = cfg->max_backlog ? cfg->max_backlog(cfg->arg, q->node_name) : 0;

	return set != 0 ? set : store_capacity(q->qs->store) / 2;
}

static uint64_t
backlogs_max(const struct queues *qs)
{
	return store_capacity(qs->store) / 4 * 3;
}

/* Of its min_bytes what it has not taken yet. */
static uint64_t
owed(const struct queue *q)
{
	return below(q->disk.guaranteed, q->disk.stored + q->disk.claimed);
}

static void
change(struct queue *q, int64_t stored, int64_t claimed)
{
	struct queues *qs = q->qs;
	uint64_t before = owed(q);

	q->disk.stored += (uint64_t)stored;
	q->disk.claimed += (uint64_t)claimed;
	qs->disk_claimed += (uint64_t)claimed;
	qs->disk_owed += owed(q) - before;
	if (q->disk.backlog) {
		q->disk.backlog->taken += (uint64_t)(stored + claimed);
		qs->backlogs += (uint64_t)(stored + claimed);
	}
	if (stored + claimed < 0 && !list_empty(&qs->disk_waiting))
		queues_disk_back(qs);
}

void
queue_disk_stored(struct queue *q, uint64_t bytes)
{
	change(q, (int64_t)cost_of(q->qs, 1, bytes), 0);
}

void
queue_disk_left(struct queue *q, uint64_t bytes)
{
	change(q, -(int64_t)cost_of(q->qs, 1, bytes), 0);
}

void
queue_disk_claim(struct inlet *in, uint64_t messages, uint64_t bytes)
{
	uint64_t cost = in->regardless ? 0 : queue_disk_cost(in->queue, messages, bytes);

	in->disk_claimed += cost;
	change(in->queue, 0, (int64_t)cost);
}

void
queue_disk_unclaim(struct inlet *in, uint64_t messages, uint64_t bytes)
{
	uint64_t cost = smaller(queue_disk_cost(in->queue, messages, bytes), in->disk_claimed);

	in->disk_claimed -= cost;
	change(in->queue, 0, -(int64_t)cost);
}

void
queue_disk_claim_body(struct inlet *in, uint64_t bytes)
{
	uint64_t cost = queue_disk_cost(in->queue, 1, bytes);

	in->disk_claimed += cost;
	in->disk_claimed_body += cost;
	change(in->queue, 0, (int64_t)cost);
}

void
queue_body_written(struct inlet *in, uint64_t bytes)
{
	uint64_t cost = smaller(bytes, in->disk_claimed_body);

	in->disk_claimed -= cost;
	in->disk_claimed_body -= cost;
	change(in->queue, 0, -(int64_t)cost);
}

void
queue_disk_unclaim_all(struct inlet *in)
{
	change(in->queue, 0, -(int64_t)in->disk_claimed);
	in->disk_claimed = in->disk_claimed_body = 0;
}

/* --------------------------------------------------------------------- room -- */

uint64_t
queue_disk_free(const struct queue *q)
{
	const struct queues *qs = q->qs;
	uint64_t free_bytes;

	if (!is_kept(q))
		return UINT64_MAX;
	free_bytes = below(store_room(qs->store), qs->disk_claimed + qs->disk_owed - owed(q));
	if (!q->disk.backlog)
		return free_bytes;
	free_bytes = smaller(free_bytes, below(backlog_max(q), q->disk.backlog->taken));
	return smaller(free_bytes, below(backlogs_max(qs), qs->backlogs));
}

bool
queue_disk_fits(const struct queue *q, uint64_t bytes)
{
	return queue_disk_free(q) >= queue_disk_cost(q, 1, bytes);
}

bool
queue_disk_never_fits(const struct queue *q, uint64_t bytes)
{
	uint64_t cost = queue_disk_cost(q, 1, bytes), most;

	if (cost == 0)
		return false;
	most = store_capacity(q->qs->store);
	if (q->disk.backlog)
		most = smaller(most, smaller(backlog_max(q), backlogs_max(q->qs)));
	return cost > below(most, q->qs->disk_guaranteed - q->disk.guaranteed);
}

void
queue_disk_wait(struct queue *q, uint64_t bytes)
{
	struct queues *qs = q->qs;
	uint64_t wanted;

	if (list_empty(&q->disk.node))
		list_append(&qs->disk_waiting, &q->disk.node);
	/* One wish at a time, the smallest: when it comes true all look again, and may wish for more. */
	wanted = qs->disk_claimed + qs->disk_owed - owed(q) + queue_disk_cost(q, 1, bytes);
	if (qs->disk_wanted != 0 && qs->disk_wanted <= wanted)
		return;
	qs->disk_wanted = wanted;
	store_want_room(qs->store, wanted);
}

void
queues_disk_back(struct queues *qs)
{
	struct list *node;

	qs->disk_wanted = 0;
	while ((node = list_first(&qs->disk_waiting))) {
		list_remove(node);
		queue_room_back(list_entry(node, struct queue, disk.node));
	}
}

/* --------------------------------------------------------------- life and death -- */

static struct backlog *
backlog_of(struct queues *qs, const char *peer)
{
	struct backlog *b;

	LIST_FOREACH (node, &qs->backlog_list)
		if (strcmp(list_entry(node, struct backlog, node)->peer, peer) == 0)
			return list_entry(node, struct backlog, node);
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	snprintf(b->peer, sizeof(b->peer), "%s", peer);
	list_append(&qs->backlog_list, &b->node);
	return b;
}

int
queue_disk_open(struct queue *q, bool is_new)
{
	struct queues *qs = q->qs;
	uint64_t left = below(store_capacity(qs->store), qs->disk_guaranteed);

	/* Of dead letters the bytes are there already. */
	q->disk.guaranteed = q->dead_letter ? 0 : q->conf.min_bytes;
	if (q->disk.guaranteed > left) {
		if (is_new)
			return -ENOSPC;
		q->disk.guaranteed = left;
	}
	if (q->node_name[0] != '\0') {
		q->disk.backlog = backlog_of(qs, q->node_name);
		if (!q->disk.backlog)
			return -ENOMEM;
		q->disk.backlog->n_queues++;
	}
	qs->disk_guaranteed += q->disk.guaranteed;
	qs->disk_owed += q->disk.guaranteed;
	q->disk.open = true;
	if (q->n_stored > 0)
		change(q, (int64_t)cost_of(qs, q->n_stored, q->bytes), 0);
	return 0;
}

void
queue_disk_close(struct queue *q)
{
	struct queues *qs = q->qs;

	list_remove(&q->disk.node);
	if (!q->disk.open)
		return;
	assert(q->disk.claimed == 0);
	/* What is discarded at the end of a daemon stays in the store. */
	change(q, -(int64_t)q->disk.stored, 0);
	qs->disk_owed -= q->disk.guaranteed;
	qs->disk_guaranteed -= q->disk.guaranteed;
	if (q->disk.backlog && --q->disk.backlog->n_queues == 0) {
		list_remove(&q->disk.backlog->node);
		free(q->disk.backlog);
	}
	q->disk.open = false;
}
