#include "sendq.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SENDQ_START 16
#define SENDQ_KEEP 1024 /* entries that an empty flow keeps room for */

void
sendq_init(struct sendq *q, uint64_t first)
{
	memset(q, 0, sizeof(*q));
	q->next = first;
}

void
sendq_done(struct sendq *q)
{
	free(q->ring);
	free(q->waiting);
	sendq_init(q, q->next);
}

/* ------------------------------------------------------------------- ring */

static struct sendq_entry *
slot(const struct sendq *q, uint64_t at)
{
	return &q->ring[at & (q->cap - 1)];
}

/*
 * The place of the first entry numbered `number` or above, ended or not. Where
 * numbers have no gaps this is found at once, else by halving.
 */
static uint64_t
place(const struct sendq *q, uint64_t number)
{
	uint64_t low = q->head, high = q->tail, far;

	if (low == high || number <= slot(q, low)->number)
		return low;
	/* Numbers rise by at least one from place to place. */
	far = number - slot(q, low)->number;
	if (far < high - low) {
		high = low + far;
		if (slot(q, high - 1)->number == number - 1)
			return high;
	} else if (slot(q, high - 1)->number < number) {
		return high;
	}
	while (low < high) {
		uint64_t mid = low + (high - low) / 2;

		if (slot(q, mid)->number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int
ring_grow(struct sendq *q)
{
	size_t cap = q->cap > 0 ? q->cap * 2 : SENDQ_START;
	struct sendq_entry *ring = malloc(cap * sizeof(*ring));

	if (ring == NULL)
		return -ENOMEM;
	for (uint64_t at = q->head; at < q->tail; at++)
		ring[at & (cap - 1)] = *slot(q, at);
	free(q->ring);
	q->ring = ring;
	q->cap = cap;
	return 0;
}

int
sendq_push(struct sendq *q, const struct sendq_entry *e, uint64_t number)
{
	struct sendq_entry *to;

	if (q->tail - q->head == q->cap && ring_grow(q) < 0)
		return -ENOMEM;
	to = slot(q, q->tail++);
	*to = *e;
	to->number = number;
	q->next = number + 1;
	return 0;
}

struct sendq_entry *
sendq_at(const struct sendq *q, uint64_t number)
{
	uint64_t at = place(q, number);
	struct sendq_entry *e;

	if (at == q->tail)
		return NULL;
	e = slot(q, at);
	return e->number == number && e->msg != NULL ? e : NULL;
}

uint64_t
sendq_after(const struct sendq *q, uint64_t after)
{
	if (after == UINT64_MAX)
		return 0;
	for (uint64_t at = place(q, after + 1); at < q->tail; at++)
		if (slot(q, at)->msg != NULL)
			return slot(q, at)->number;
	return 0;
}

/* Step over what ended at the front, and give back the memory of a burst. */
static void
ring_trim(struct sendq *q)
{
	while (q->head < q->tail && slot(q, q->head)->msg == NULL)
		q->head++;
	if (q->head == q->tail && q->cap > SENDQ_KEEP) {
		free(q->ring);
		q->ring = NULL;
		q->cap = 0;
	}
}

static void
take(struct sendq *q, uint64_t at, struct sendq_entry *ret)
{
	*ret = *slot(q, at);
	slot(q, at)->msg = NULL;
	if (at == q->head)
		ring_trim(q);
}

bool
sendq_pop(struct sendq *q, uint64_t up_to, struct sendq_entry *ret)
{
	if (q->head == q->tail || slot(q, q->head)->number > up_to)
		return false;
	take(q, q->head, ret); /* the first never ended: ring_trim */
	return true;
}

bool
sendq_take(struct sendq *q, uint64_t number, struct sendq_entry *ret)
{
	uint64_t at = place(q, number);

	if (at == q->tail || slot(q, at)->number != number || slot(q, at)->msg == NULL)
		return false;
	take(q, at, ret);
	return true;
}

uint64_t
sendq_oldest(const struct sendq *q)
{
	if (q->n_waiting > 0)
		return q->waiting[q->waiting_head].number;
	return q->head < q->tail ? slot(q, q->head)->number : q->next;
}

/* ---------------------------------------------------------------- waiting */

/* Close the gaps, in so many places. */
static int
waiting_move(struct sendq *q, size_t cap)
{
	struct sendq_entry *to = q->waiting;
	size_t n = 0;

	if (cap != q->waiting_cap) {
		to = malloc(cap * sizeof(*to));
		if (to == NULL)
			return -ENOMEM;
	}
	for (size_t i = q->waiting_head; i < q->waiting_tail; i++)
		if (q->waiting[i].msg != NULL)
			to[n++] = q->waiting[i];
	if (to != q->waiting)
		free(q->waiting);
	q->waiting = to;
	q->waiting_cap = cap;
	q->waiting_head = 0;
	q->waiting_tail = n;
	return 0;
}

/* Twice what may wait, so that gaps are closed seldom, and that is always enough. */
int
sendq_promise(struct sendq *q)
{
	size_t cap = q->waiting_cap > 0 ? q->waiting_cap : SENDQ_START, most = q->n_waiting + (size_t)(q->tail - q->head) + 1;

	while (cap < 2 * most)
		cap *= 2;
	return cap > q->waiting_cap ? waiting_move(q, cap) : 0;
}

int
sendq_wait(struct sendq *q, const struct sendq_entry *e)
{
	if (q->waiting_tail == q->waiting_cap) {
		size_t cap = q->waiting_cap > 0 ? q->waiting_cap : SENDQ_START;

		if (waiting_move(q, q->n_waiting > cap / 2 ? 2 * cap : cap) < 0)
			return -ENOMEM;
	}
	q->waiting[q->waiting_tail++] = *e;
	q->n_waiting++;
	return 0;
}

static void
waiting_trim(struct sendq *q)
{
	while (q->waiting_head < q->waiting_tail && q->waiting[q->waiting_head].msg == NULL)
		q->waiting_head++;
	if (q->waiting_head < q->waiting_tail)
		return;
	q->waiting_head = q->waiting_tail = 0;
	/* What is in the ring may have been promised a place. */
	if (q->waiting_cap > SENDQ_KEEP && q->head == q->tail) {
		free(q->waiting);
		q->waiting = NULL;
		q->waiting_cap = 0;
	}
}

bool
sendq_waited(struct sendq *q, uint64_t first, uint64_t last, struct sendq_entry *ret)
{
	size_t low = q->waiting_head, high = q->waiting_tail;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (q->waiting[mid].number < first)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < q->waiting_tail && q->waiting[low].number <= last; low++)
		if (q->waiting[low].msg != NULL) {
			*ret = q->waiting[low];
			q->waiting[low].msg = NULL;
			q->n_waiting--;
			if (low == q->waiting_head)
				waiting_trim(q);
			return true;
		}
	return false;
}
