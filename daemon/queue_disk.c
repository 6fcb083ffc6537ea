/*
 * Room in the journal, shared out: a queue has its min_bytes whatever others
 * do, what waits for one peer stays within its max_backlog, and programs leave
 * a quarter to what peers send. What flows have been granted and do not use is
 * bounded, as nothing granted can be taken back. Queues that find no room wait
 * in a list, and look again when something has left.
 */
#include "queue_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of what the store can hold in all: */
#define FLOWS_SHARE 4   /* what every flow must have, of all flows together */
#define IDLE_SHARE 8    /* windows that are only reserved */
#define PEERS_SHARE 4   /* what programs cannot fill */
#define MESSAGE_SHARE 4 /* one message */

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
	return messages * qs->disk_unit + bytes;
}

static uint64_t
cost_in(const struct queue *q, uint64_t messages, uint64_t bytes)
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
	if (q->disk.backlog)
		q->disk.backlog->taken += (uint64_t)(stored + claimed);
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
	uint64_t cost = in->regardless ? 0 : cost_in(in->queue, messages, bytes);

	in->disk_claimed += cost;
	change(in->queue, 0, (int64_t)cost);
}

void
queue_disk_unclaim(struct inlet *in, uint64_t messages, uint64_t bytes)
{
	uint64_t cost = smaller(cost_in(in->queue, messages, bytes), in->disk_claimed);

	in->disk_claimed -= cost;
	change(in->queue, 0, -(int64_t)cost);
}

void
queue_disk_claim_body(struct inlet *in, uint64_t bytes)
{
	uint64_t cost = cost_in(in->queue, 1, bytes);

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

void
queue_disk_idle(struct inlet *in, int64_t messages, int64_t bytes)
{
	int64_t n = in->regardless ? 0 : messages * (int64_t)cost_in(in->queue, 1, 0) + (is_kept(in->queue) ? bytes : 0);

	/* The queue may have come to be kept since. */
	if (n < 0 && (uint64_t)-n > in->disk_idle)
		n = -(int64_t)in->disk_idle;
	in->disk_idle += (uint64_t)n;
	in->queue->qs->disk_idle += (uint64_t)n;
}

/* --------------------------------------------------------------------- room -- */

/*
 * Programs cannot fill the last part: else two daemons, the journal of each
 * full of messages for the other, would wait for each other for ever.
 */
static uint64_t
kept_for_peers(const struct queues *qs, bool peer)
{
	return peer ? 0 : store_capacity(qs->store) / PEERS_SHARE;
}

/* What is not for q whatever room there is. */
static uint64_t
others(const struct queue *q)
{
	return q->qs->disk_claimed + q->qs->disk_owed - owed(q);
}

/* Bytes that q may claim now. */
static uint64_t
free_disk(const struct queue *q, bool peer)
{
	const struct queues *qs = q->qs;
	uint64_t room = store_room(qs->store), free_bytes = below(room, others(q) + kept_for_peers(qs, peer));
	uint64_t guaranteed = smaller(owed(q), below(room, others(q)));

	if (free_bytes < guaranteed)
		free_bytes = guaranteed;
	return q->disk.backlog ? smaller(free_bytes, below(backlog_max(q), q->disk.backlog->taken)) : free_bytes;
}

bool
queue_disk_fits(const struct inlet *in, uint64_t bytes)
{
	return !is_kept(in->queue) || free_disk(in->queue, in->peer) >= cost_in(in->queue, 1, bytes);
}

bool
queue_disk_never_fits(const struct queue *q, uint64_t bytes)
{
	uint64_t most;

	if (!is_kept(q))
		return false;
	most = store_capacity(q->qs->store) / MESSAGE_SHARE;
	if (q->disk.backlog)
		most = smaller(most, backlog_max(q));
	return cost_in(q, 1, bytes) > most;
}

bool
queue_disk_fits_flow(const struct queue *q)
{
	const struct queues *qs = q->qs;

	return !is_kept(q) || (qs->n_inlets + 1) * cost_in(q, 1, QUEUE_GRANT_MIN) <= store_capacity(qs->store) / FLOWS_SHARE;
}

void
queue_disk_limit(const struct inlet *in, uint64_t *messages, uint64_t *bytes)
{
	const struct queue *q = in->queue;
	const struct queues *qs = q->qs;
	uint64_t share, idle;

	if (!is_kept(q) || in->regardless)
		return;
	/* Half of it for what each message costs there, half for bytes. */
	idle = below(store_capacity(qs->store) / IDLE_SHARE, qs->disk_idle) / 2;
	share = smaller(free_disk(q, in->peer) / 8, idle);
	*messages = smaller(*messages, share / qs->disk_unit);
	*bytes = smaller(*bytes, share);
}

void
queue_disk_wait(struct queue *q, bool peer, uint64_t bytes)
{
	struct queues *qs = q->qs;
	uint64_t cost = cost_in(q, 1, bytes), wanted = others(q) + cost;

	if (cost > owed(q))
		wanted += kept_for_peers(qs, peer);
	if (list_empty(&q->disk.node))
		list_append(&qs->disk_waiting, &q->disk.node);
	/* The store has no say in that. */
	if (q->disk.backlog && below(backlog_max(q), q->disk.backlog->taken) < cost)
		return;
	/* One wish at a time, the smallest: when it comes true all look again, and may wish for more. */
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
	q->disk.guaranteed = 0;
	if (q->disk.backlog && --q->disk.backlog->n_queues == 0) {
		list_remove(&q->disk.backlog->node);
		free(q->disk.backlog);
	}
	q->disk.backlog = NULL;
	q->disk.open = false;
}
