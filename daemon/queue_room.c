/*
 * Room: what inlets may still send is reserved beforehand, in the queue and in
 * the memory of all, so that nothing granted can ever be refused. Inlets that
 * get nothing wait in a list, first come, first served.
 */
#include "queue_internal.h"

#include <assert.h>

#define WINDOW_MESSAGES_START 32
#define WINDOW_BYTES_START (64u << 10)
/* Where room in the queue does not count there is nothing to feel one's way to. */
#define WINDOW_MESSAGES_FIXED 1024
#define WINDOW_BYTES_FIXED (1u << 20)
#define WINDOW_GROWS_MS 200
#define WINDOW_IDLE_MS 10000 /* after that a window starts over */

/* What every flow must have. */
#define FLOW_MIN (QUEUE_GRANT_MIN + QUEUE_OVERHEAD)

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

/* ------------------------------------------------------------------- claims -- */

static void
claim(struct inlet *in, uint64_t messages, uint64_t bytes)
{
	struct queue *q = in->queue;

	queue_disk_claim(in, messages, bytes);
	q->qs->claimed_messages += messages;
	q->qs->used += bytes + messages * QUEUE_OVERHEAD;
	if (!in->regardless) {
		q->claimed_messages += messages;
		q->claimed_bytes += bytes;
	}
}

static void
unclaim(struct inlet *in, uint64_t messages, uint64_t bytes)
{
	struct queue *q = in->queue;

	queue_disk_unclaim(in, messages, bytes);
	q->qs->claimed_messages -= messages;
	q->qs->used -= bytes + messages * QUEUE_OVERHEAD;
	if (!in->regardless) {
		q->claimed_messages -= messages;
		q->claimed_bytes -= bytes;
	}
	queue_room_back(q);
}

/* What an inlet has reserved and not used rises, or (negative) falls. */
static void
reserve(struct inlet *in, int64_t messages, int64_t bytes)
{
	struct queues *qs = in->queue->qs;

	in->reserved_messages += (uint64_t)messages;
	in->reserved_bytes += (uint64_t)bytes;
	qs->idle_messages += (uint64_t)messages;
	qs->idle += (uint64_t)(bytes + messages * QUEUE_OVERHEAD);
	queue_disk_idle(in, messages, bytes);
}

static void
memory_back(struct queues *qs)
{
	if (!list_empty(&qs->starved[0]) || !list_empty(&qs->starved[1]) || queue_partial_starved(qs))
		loop_defer(qs->loop, &qs->serve);
}

/* --------------------------------------------------------------------- room -- */

/*
 * What programs cannot fill, and windows cannot hold idle: room for what peers
 * send. Else two daemons, each full of messages for the other, would wait for
 * each other for ever.
 */
static uint64_t
kept_for_peers(const struct queues *qs, bool peer)
{
	return peer ? 0 : qs->cfg.peer_room;
}

/* The same of max_messages. */
static uint64_t
messages_kept_for_peers(const struct queues *qs, bool peer)
{
	return peer ? 0 : qs->cfg.peer_messages;
}

static uint64_t
free_memory(const struct queues *qs)
{
	/* A message without a body still takes its overhead. */
	return below(qs->cfg.max_messages, qs->n + qs->claimed_messages + messages_kept_for_peers(qs, false)) > 0 ?
	    below(qs->cfg.max_memory, qs->used + kept_for_peers(qs, false)) :
	    0;
}

/* Messages that there is room for. */
static uint64_t
memory_messages(const struct queues *qs, bool peer)
{
	return below(qs->cfg.max_messages, qs->n + qs->claimed_messages - qs->idle_messages + messages_kept_for_peers(qs, peer));
}

static bool
memory_has_room(const struct queues *qs, bool peer)
{
	return memory_messages(qs, peer) > 0 &&
	       below(qs->cfg.max_memory, qs->used + kept_for_peers(qs, peer)) >= FLOW_MIN;
}

static bool
queue_has_room(const struct queue *q)
{
	return q->n < q->conf.max_messages && q->bytes < q->conf.max_bytes;
}

static bool
partial_has_room(const struct queues *qs, bool peer, uint64_t bytes)
{
	uint64_t used = qs->used + kept_for_peers(qs, peer);

	if (below(qs->cfg.max_partial, qs->partial) < bytes && qs->partial > 0)
		return false;
	if (below(qs->cfg.max_memory, used) >= bytes)
		return true;
	/*
	 * A quarter of the memory is never only reserved. What is larger would wait
	 * for ever behind flows that are idle: one such goes beyond the bound.
	 */
	return bytes > qs->cfg.max_memory / 4 && qs->partial == 0 &&
	       (below(qs->cfg.max_memory, used - qs->idle) >= bytes || qs->used == qs->idle);
}

const char *
queue_room_lacks(const struct inlet *in)
{
	const struct queue *q = in->queue;
	const struct queues *qs = q->qs;

	if (!in->regardless && !queue_disk_fits(in, in->partial_wanted > 0 ? in->partial_wanted : QUEUE_GRANT_MIN))
		return q->node_name[0] ? "max_backlog or max_disk" : "max_disk";
	if (!in->regardless && q->n >= q->conf.max_messages)
		return "the queue's max_messages";
	if (!in->regardless && q->bytes >= q->conf.max_bytes)
		return "the queue's max_bytes";
	if (in->partial_wanted > below(qs->cfg.max_partial, qs->partial))
		return "max_partial";
	return memory_messages(qs, in->peer) == 0 ? "max_messages" : "max_memory";
}

/* ------------------------------------------------------------------- grants -- */

/*
 * Top up one of the two, messages or bytes: the window for it, and what is
 * wanted. The window doubles while one grant follows soon on the other; what
 * is not used does not grow, as nothing granted can be taken back.
 */
static uint64_t
wanted(const struct inlet *in, uint64_t now, uint64_t reserved, uint64_t start, uint64_t max, uint64_t *window)
{
	if (2 * reserved >= *window)
		return 0;
	if (!in->regardless && in->last_grant_ms != 0) {
		if (now - in->last_grant_ms <= WINDOW_GROWS_MS)
			*window = smaller(2 * *window, max);
		else if (now - in->last_grant_ms > WINDOW_IDLE_MS)
			*window = start;
	}
	return below(*window, reserved);
}

/* A window that there was no room for does not grow; it is felt out anew. */
static uint64_t
window_now(uint64_t window, uint64_t reserved, uint64_t start)
{
	return smaller(window, reserved > start ? reserved : start);
}

/* Cut what is wanted to this flow's share of the room there is. */
static void
limit(const struct inlet *in, uint64_t *messages, uint64_t *bytes)
{
	const struct queue *q = in->queue;
	const struct queues *qs = q->qs;
	uint64_t memory = free_memory(qs), most_messages, most_bytes;

	/* When it gets tight everybody gets one message at a time. */
	if (memory < qs->cfg.max_memory / 8) {
		*messages = smaller(*messages, below(1, in->reserved_messages));
		*bytes = smaller(*bytes, below(WINDOW_BYTES_START, in->reserved_bytes));
	}
	/* All that is only reserved stays below a quarter, so that whoever is busy finds room. */
	*bytes = smaller(*bytes, below(qs->cfg.max_memory / 4, qs->idle));
	*messages = smaller(*messages, below(qs->cfg.max_memory / 4, qs->idle) / QUEUE_OVERHEAD);
	/* Shares of what would be free without its own reservation, so that asking often gives no more. */
	memory += in->reserved_bytes + in->reserved_messages * QUEUE_OVERHEAD;
	most_messages = smaller(memory / 8 / QUEUE_OVERHEAD,
	    (below(qs->cfg.max_messages, qs->n + qs->claimed_messages + messages_kept_for_peers(qs, false)) + in->reserved_messages) / 8);
	most_bytes = memory / 8;
	if (!in->regardless) {
		uint64_t queue_messages = below(q->conf.max_messages, q->n + q->claimed_messages) + in->reserved_messages;
		uint64_t queue_bytes = below(q->conf.max_bytes, q->bytes + q->claimed_bytes) + in->reserved_bytes;

		most_messages = smaller(most_messages, queue_messages / 4);
		most_bytes = smaller(most_bytes, queue_bytes / 4);
	}
	*messages = smaller(*messages, below(most_messages, in->reserved_messages));
	*bytes = smaller(*bytes, below(most_bytes, in->reserved_bytes));
	queue_disk_limit(in, messages, bytes);
}

static void
starve(struct inlet *in, struct list *among)
{
	if (list_empty(&in->starved))
		list_append(among, &in->starved);
}

/* In the list of what it lacks first. */
static void
starve_for(struct inlet *in, uint64_t bytes)
{
	struct queue *q = in->queue;
	bool no_disk = !in->regardless && !queue_disk_fits(in, bytes);

	if (no_disk)
		queue_disk_wait(q, in->peer, bytes);
	if (no_disk || (!in->regardless && !queue_has_room(q)))
		starve(in, &q->starved);
	else
		starve(in, in->partial_wanted > 0 ? &q->qs->starved_partial[in->peer] : &q->qs->starved[in->peer]);
}

void
queue_grant(struct inlet *in, uint64_t *ret_messages, uint64_t *ret_bytes)
{
	struct queue *q = in->queue;
	uint64_t now, window_messages, window_bytes, messages, bytes;
	struct queues *qs;

	*ret_messages = *ret_bytes = 0;
	if (!q)
		return;
	qs = q->qs;
	now = loop_now_ms(qs->loop);
	window_messages = in->window_messages;
	window_bytes = in->window_bytes;
	messages = wanted(in, now, in->reserved_messages, WINDOW_MESSAGES_START, QUEUE_WINDOW_MESSAGES, &window_messages);
	bytes = wanted(in, now, in->reserved_bytes, WINDOW_BYTES_START, QUEUE_WINDOW_BYTES, &window_bytes);
	if (messages == 0 && bytes == 0)
		return;
	limit(in, &messages, &bytes);
	/* But never less than one message while there is any room at all. */
	if (memory_has_room(qs, in->peer) && (in->regardless || (queue_has_room(q) && queue_disk_fits(in, QUEUE_GRANT_MIN)))) {
		if (in->reserved_messages + messages == 0)
			messages = 1;
		if (in->reserved_bytes + bytes < QUEUE_GRANT_MIN)
			bytes = QUEUE_GRANT_MIN - in->reserved_bytes;
	}
	/* One is of no use without the other. */
	if (in->reserved_messages + messages == 0 || in->reserved_bytes + bytes < QUEUE_GRANT_MIN)
		messages = bytes = 0;
	if (messages > 0 || bytes > 0) {
		claim(in, messages, bytes);
		reserve(in, (int64_t)messages, (int64_t)bytes);
		if (!in->regardless && messages > 0)
			in->window_messages = window_now(window_messages, in->reserved_messages, WINDOW_MESSAGES_START);
		if (!in->regardless && bytes > 0)
			in->window_bytes = window_now(window_bytes, in->reserved_bytes, WINDOW_BYTES_START);
		in->last_grant_ms = now;
		*ret_messages = messages;
		*ret_bytes = bytes;
	}
	if (in->reserved_messages == 0 || in->reserved_bytes < QUEUE_GRANT_MIN)
		starve_for(in, QUEUE_GRANT_MIN);
	else if (in->partial_wanted == 0)
		list_remove(&in->starved);
}

void
queue_started(struct inlet *in, uint64_t bytes)
{
	if (!in->queue)
		return;
	assert(in->reserved_messages > 0 && in->reserved_bytes >= bytes);
	reserve(in, -1, -(int64_t)bytes);
	in->started_messages++;
	in->started_bytes += bytes;
}

void
queue_started_reserved(struct inlet *in, uint64_t bytes)
{
	if (!in->queue)
		return;
	claim(in, 1, bytes);
	in->started_messages++;
	in->started_bytes += bytes;
	if (bytes <= QUEUE_WINDOW_BYTES / 2 && in->window_bytes < 2 * bytes && !in->regardless)
		in->window_bytes = 2 * bytes;
}

void
queue_abandoned(struct inlet *in, uint64_t bytes)
{
	if (!in->queue)
		return;
	assert(in->started_messages > 0 && in->started_bytes >= bytes);
	in->started_messages--;
	in->started_bytes -= bytes;
	reserve(in, 1, (int64_t)bytes);
}

void
queue_abandoned_reserved(struct inlet *in, uint64_t bytes)
{
	if (!in->queue)
		return;
	assert(in->started_messages > 0 && in->started_bytes >= bytes);
	in->started_messages--;
	in->started_bytes -= bytes;
	unclaim(in, 1, bytes);
}

bool
queue_reserve_partial(struct queues *qs, struct inlet *in, uint64_t bytes)
{
	bool disk = !in || !in->queue || in->regardless || queue_disk_fits(in, bytes);

	if (disk && partial_has_room(qs, in && in->peer, bytes)) {
		qs->partial += bytes;
		qs->used += bytes;
		if (in && in->queue)
			queue_disk_claim_body(in, bytes);
		if (in && in->partial_wanted > 0) {
			in->partial_wanted = 0;
			list_remove(&in->starved);
		}
		return true;
	}
	if (in && in->queue) {
		/* A flow with a body under way starts no other: this is the only room it waits for. */
		list_remove(&in->starved);
		in->partial_wanted = bytes;
		if (disk)
			starve(in, &qs->starved_partial[in->peer]);
		else
			starve_for(in, bytes);
	}
	return false;
}

void
queue_release_partial(struct queues *qs, struct inlet *in, uint64_t bytes)
{
	assert(qs->partial >= bytes);
	if (in && in->queue)
		queue_body_written(in, in->disk_claimed_body);
	qs->partial -= bytes;
	qs->used -= bytes;
	memory_back(qs);
}

bool
queue_resume_partial(struct inlet *in, uint64_t bytes)
{
	if (!queue_disk_fits(in, bytes))
		return false;
	queue_disk_claim_body(in, bytes);
	return true;
}

bool
queue_partial_starved(const struct queues *qs)
{
	return !list_empty(&qs->starved_partial[0]) || !list_empty(&qs->starved_partial[1]);
}

/* ------------------------------------------------------------------- inlets -- */

bool
queue_inlet_fits(const struct queue *q)
{
	const struct queues *qs = q->qs;

	return (qs->n_inlets + 1) * FLOW_MIN <= qs->cfg.max_memory / 2 && queue_disk_fits_flow(q);
}

void
queue_inlet_open(struct queue *q, struct inlet *in, bool peer, void (*room)(struct inlet *), void (*gone)(struct inlet *))
{
	enum conf_overflow overflow = q->conf.overflow;
	bool regardless = overflow == CONF_OVERFLOW_DROP_OLDEST || (overflow == CONF_OVERFLOW_REJECT && !peer);

	*in = (struct inlet){
		.queue = q,
		.peer = peer,
		.regardless = regardless,
		.window_messages = regardless ? WINDOW_MESSAGES_FIXED : WINDOW_MESSAGES_START,
		.window_bytes = regardless ? WINDOW_BYTES_FIXED : WINDOW_BYTES_START,
		.room = room,
		.gone = gone,
	};
	list_init(&in->starved);
	list_append(&q->inlets, &in->all);
	q->qs->n_inlets++;
	queue_check_unused(q);
}

void
queue_inlet_close(struct inlet *in)
{
	struct queue *q = in->queue;

	if (!q)
		return;
	unclaim(in, in->reserved_messages + in->started_messages, in->reserved_bytes + in->started_bytes);
	queue_disk_unclaim_all(in);
	reserve(in, -(int64_t)in->reserved_messages, -(int64_t)in->reserved_bytes);
	in->started_messages = in->started_bytes = in->partial_wanted = 0;
	q->qs->n_inlets--;
	list_remove(&in->starved);
	list_remove(&in->all);
	in->queue = NULL;
	queue_check_unused(q);
}

void
queue_room_close(struct queue *q)
{
	struct list *node;

	while ((node = list_first(&q->inlets))) {
		struct inlet *in = list_entry(node, struct inlet, all);

		queue_inlet_close(in);
		if (in->gone)
			in->gone(in);
	}
}

/* ----------------------------------------------------------------- starving -- */

void
queue_room_back(struct queue *q)
{
	struct queues *qs = q->qs;

	if (!list_empty(&q->starved)) {
		if (list_empty(&q->roomy_node))
			list_append(&qs->roomy, &q->roomy_node);
		loop_defer(qs->loop, &qs->serve);
	}
	memory_back(qs);
}

/* The one that has waited longest looks again; if it gets nothing it is the last now. */
static void
serve_first(const struct list *starved)
{
	struct inlet *in = list_entry(starved->next, struct inlet, starved);

	list_remove(&in->starved);
	in->partial_wanted = 0;
	in->room(in);
}

/* Those of `line` whose turn did not come stay in front of those that have come since. */
static void
back_in_line(struct list *starved, struct list *line)
{
	list_splice(line, starved);
	list_splice(starved, line);
}

static void
serve_queue(struct queue *q)
{
	struct list line;

	list_init(&line);
	list_splice(&line, &q->starved);
	while (!list_empty(&line) && queue_has_room(q)) {
		struct list *first = line.next;
		struct inlet *in = list_entry(first, struct inlet, starved);
		uint64_t bytes = in->partial_wanted > 0 ? in->partial_wanted : QUEUE_GRANT_MIN;

		if (!queue_disk_fits(in, bytes)) {
			queue_disk_wait(q, in->peer, bytes);
			break;
		}
		if (in->partial_wanted > 0 || memory_has_room(q->qs, in->peer)) {
			serve_first(&line);
			continue;
		}
		list_remove(first);
		list_append(&q->qs->starved[in->peer], first);
	}
	back_in_line(&q->starved, &line);
}

void
queue_room_serve(void *arg)
{
	struct queues *qs = arg;
	struct list *node, line;

	list_init(&line);
	while ((node = list_first(&qs->roomy))) {
		struct queue *q = list_entry(node, struct queue, roomy_node);

		list_remove(node);
		serve_queue(q);
	}
	/* Peers first: what they send leaves room at the other end. */
	for (int peer = 1; peer >= 0; peer--) {
		struct list *starved = &qs->starved_partial[peer];

		list_splice(&line, starved);
		while (!list_empty(&line) && partial_has_room(qs, peer, list_entry(line.next, struct inlet, starved)->partial_wanted))
			serve_first(&line);
		back_in_line(starved, &line);
		starved = &qs->starved[peer];
		list_splice(&line, starved);
		while (!list_empty(&line) && memory_has_room(qs, peer))
			serve_first(&line);
		back_in_line(starved, &line);
	}
}
