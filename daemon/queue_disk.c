/*
 * Room on disk: what inlets of durable queues may still send is reserved in the
 * store as well. Nothing granted can be taken back, so what flows have and do
 * not use is bounded; and a part is kept for what peers send.
 */
#include "queue_internal.h"

/* Of what the store can hold in all: */
#define FLOWS_SHARE 4   /* what every flow must have, of all flows together */
#define IDLE_SHARE 8    /* windows that are only reserved */
#define PEERS_SHARE 4   /* what programs cannot fill */
#define MESSAGE_SHARE 4 /* one message */

/* At the end of a daemon the store goes first. */
static bool
is_kept(const struct queue *q)
{
	return q->qs->store && q->number != 0 && q->conf.durable;
}

/* Everything counted. */
static uint64_t
cost(const struct queue *q, uint64_t messages, uint64_t bytes)
{
	return is_kept(q) ? messages * store_cost(q->qs->store, 0) + bytes : 0;
}

static uint64_t
below(uint64_t limit, uint64_t used)
{
	return limit > used ? limit - used : 0;
}

/* The queue may have become durable, or not durable, since. */
static void
subtract(uint64_t *from, uint64_t n)
{
	*from = below(*from, n);
}

void
queue_disk_claim(struct queue *q, uint64_t messages, uint64_t bytes)
{
	q->qs->disk_claimed += cost(q, messages, bytes);
}

void
queue_disk_unclaim(struct queue *q, uint64_t messages, uint64_t bytes)
{
	subtract(&q->qs->disk_claimed, cost(q, messages, bytes));
}

void
queue_disk_idle(struct queue *q, int64_t messages, int64_t bytes)
{
	if (messages > 0)
		q->qs->disk_idle += cost(q, (uint64_t)messages, 0);
	else
		subtract(&q->qs->disk_idle, cost(q, (uint64_t)-messages, 0));
	if (bytes > 0)
		q->qs->disk_idle += cost(q, 0, (uint64_t)bytes);
	else
		subtract(&q->qs->disk_idle, cost(q, 0, (uint64_t)-bytes));
}

/*
 * Else two daemons, the journal of each full of messages for the other, would
 * wait for each other for ever.
 */
static uint64_t
kept_for_peers(const struct queues *qs, bool peer)
{
	return peer || qs->cfg.peer_room == 0 ? 0 : store_capacity(qs->store) / PEERS_SHARE;
}

/* Bytes that are neither used, nor claimed, nor kept for others. */
static uint64_t
free_disk(const struct queues *qs, bool peer)
{
	return below(store_room(qs->store), qs->disk_claimed + kept_for_peers(qs, peer));
}

bool
queue_disk_has_room(const struct queue *q, bool peer, uint64_t bytes)
{
	struct queues *qs = q->qs;
	uint64_t wanted = cost(q, 1, bytes);

	if (!is_kept(q) || free_disk(qs, peer) >= wanted)
		return true;
	/* Of all that wait, the one that asks for least is told first. */
	wanted += qs->disk_claimed + kept_for_peers(qs, peer);
	if (qs->disk_wanted == 0 || wanted < qs->disk_wanted) {
		qs->disk_wanted = wanted;
		store_want_room(qs->store, wanted);
	}
	return false;
}

void
queue_disk_limit(const struct queue *q, bool peer, uint64_t *messages, uint64_t *bytes)
{
	const struct queues *qs = q->qs;
	uint64_t share, idle, each;

	if (!is_kept(q))
		return;
	each = store_cost(qs->store, 0);
	share = free_disk(qs, peer) / 8;
	idle = below(store_capacity(qs->store) / IDLE_SHARE, qs->disk_idle) / 2;
	if (share > idle)
		share = idle;
	if (*messages > share / each)
		*messages = share / each;
	if (*bytes > share)
		*bytes = share;
}

bool
queue_disk_fits(const struct queue *q)
{
	const struct queues *qs = q->qs;

	return !is_kept(q) || (qs->n_inlets + 1) * cost(q, 1, QUEUE_GRANT_MIN) <= store_capacity(qs->store) / FLOWS_SHARE;
}

bool
queue_may_ever_hold(const struct queue *q, uint64_t bytes)
{
	return !is_kept(q) || store_cost(q->qs->store, bytes) <= store_capacity(q->qs->store) / MESSAGE_SHARE;
}

void
queues_disk_back(struct queues *qs)
{
	qs->disk_wanted = 0;
	queue_memory_back(qs);
}
