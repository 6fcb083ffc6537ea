/*
 * The windows of sessions: memory set aside for what is on its way to the
 * queues, so that max_memory holds whatever comes. Half of what all windows
 * together may take is granted unasked and stays with whoever got it; the rest
 * is lent to sessions that say what they need, first come, first served.
 */
#include "queue_internal.h"

#include <assert.h>

#define WINDOW_LEAST 4096 /* less is not worth granting unasked */
/* The most that one message needs of a window. */
#define NEED_MAX ((uint64_t)WIRE_LARGE + WIRE_PACKED_MAX + WIRE_MESSAGE_COST)

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

static uint64_t
larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/*
 * What programs leave of the memory to peers: room for one message of any
 * size. Else two daemons whose memory is full of messages for each other could
 * never take one.
 */
static uint64_t
for_peers(const struct queues *qs)
{
	return qs->cfg.max_message + QUEUE_PARTIAL_OVERHEAD + NEED_MAX;
}

/*
 * All windows together. Beside them (and what is for peers) the largest message
 * has room, or large ones that wait for theirs with their first chunks in the
 * windows would wait for each other.
 */
static uint64_t
most(const struct queues *qs)
{
	return smaller(larger(qs->cfg.max_memory / 2, 2 * NEED_MAX),
	    below(qs->cfg.max_memory, for_peers(qs) + qs->cfg.max_message + QUEUE_PARTIAL_OVERHEAD));
}

/* Of those, what is granted unasked. Beside it one program and one peer can have any one message. */
static uint64_t
most_unasked(const struct queues *qs)
{
	return smaller(most(qs) / 2, below(most(qs), 2 * NEED_MAX));
}

uint64_t
queue_memory_left(const struct queues *qs, bool peer)
{
	return below(qs->cfg.max_memory, qs->used + (peer ? 0 : for_peers(qs)));
}

/* What this one may have of a limit for all. */
static uint64_t
room(const struct window *w, uint64_t limit)
{
	return smaller(below(limit, w->qs->windows), queue_memory_left(w->qs, w->peer));
}

/* For one that asked. */
static uint64_t
room_asked(const struct window *w)
{
	return room(w, w->peer ? most(w->qs) : below(most(w->qs), NEED_MAX));
}

static void
hold(struct queues *qs, uint64_t bytes)
{
	qs->windows += bytes;
	qs->used += bytes;
}

static void
release(struct queues *qs, uint64_t bytes)
{
	assert(qs->windows >= bytes);
	qs->windows -= bytes;
	qs->used -= bytes;
	queue_memory_back(qs);
}

void
queue_window_open(struct queues *qs, struct window *w, bool peer, void (*room_back)(struct window *))
{
	*w = (struct window){ .qs = qs, .peer = peer, .room = room_back };
	list_init(&w->starved);
}

void
queue_window_close(struct window *w)
{
	if (!w->qs)
		return;
	list_remove(&w->starved);
	release(w->qs, w->granted - w->used + w->open);
	w->qs = NULL;
}

static void
extend(struct window *w, uint64_t bytes)
{
	hold(w->qs, bytes);
	w->granted += bytes;
	if (w->qs->windows > most_unasked(w->qs))
		w->lent = true;
}

/* Up to an even share of what there is. */
static uint64_t
share(const struct window *w)
{
	uint64_t left = w->granted - w->used + w->open;
	uint64_t free = w->lent || w->wanted > 0 ? room_asked(w) : room(w, most_unasked(w->qs));
	uint64_t target = smaller((free + left) / 8, QUEUE_WINDOW_SESSION);

	/* Worth a frame once a quarter is used up. */
	return target >= WINDOW_LEAST && left <= target - target / 4 ? target - left : 0;
}

/* What the next message needs, and a share if there is more. False: no room. */
static bool
serve(struct window *w)
{
	uint64_t need = w->wanted - w->granted, more = share(w);

	if (need > room_asked(w))
		return false;
	list_remove(&w->starved);
	w->wanted = 0;
	extend(w, need > more ? need : more);
	return true;
}

void
queue_window_grant(struct window *w)
{
	uint64_t more;

	/* Whoever waits comes first. */
	if (!w->qs || w->wanted > 0 || !list_empty(&w->qs->starved_windows[w->peer]))
		return;
	more = share(w);
	if (more > 0)
		extend(w, more);
}

void
queue_window_want(struct window *w, uint64_t granted)
{
	if (granted <= w->granted) {
		/* Nothing waits any more, or the Credit that lets it go on is on its way. */
		w->wanted = 0;
		list_remove(&w->starved);
		return;
	}
	w->wanted = smaller(granted, w->granted + NEED_MAX);
	if (list_empty(&w->starved))
		list_append(&w->qs->starved_windows[w->peer], &w->starved);
	queue_window_serve(w->qs);
}

bool
queue_window_return(struct window *w, uint64_t bytes)
{
	if (bytes > w->granted - w->used)
		return false;
	w->used += bytes;
	w->lent = false;
	release(w->qs, bytes);
	return true;
}

bool
queue_window_use(struct window *w, uint64_t bytes)
{
	if (bytes > w->granted - w->used)
		return false;
	w->used += bytes;
	w->open += bytes;
	return true;
}

void
queue_window_settle(struct window *w, uint64_t bytes)
{
	assert(w->open >= bytes);
	w->open -= bytes;
	if (bytes > 0)
		release(w->qs, bytes);
}

static void
serve_all(struct list *starved)
{
	struct list *first;

	while ((first = list_first(starved)) != NULL) {
		struct window *w = list_entry(first, struct window, starved);

		if (!serve(w))
			return;
		w->room(w);
	}
}

void
queue_window_serve(struct queues *qs)
{
	serve_all(&qs->starved_windows[true]);
	serve_all(&qs->starved_windows[false]);
}
