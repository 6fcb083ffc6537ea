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
	q->base = q->next = first;
}

void
sendq_done(struct sendq *q)
{
	free(q->ring);
	free(q->waiting);
	sendq_init(q, q->next);
}

static int
ring_grow(struct sendq *q)
{
	size_t cap = q->cap > 0 ? q->cap * 2 : SENDQ_START;
	struct sendq_entry *ring = malloc(cap * sizeof(*ring));

	if (ring == NULL)
		return -ENOMEM;
	for (uint64_t n = q->base; n < q->next; n++)
		ring[n & (cap - 1)] = q->ring[n & (q->cap - 1)];
	free(q->ring);
	q->ring = ring;
	q->cap = cap;
	return 0;
}

int
sendq_push(struct sendq *q, const struct sendq_entry *e)
{
	struct sendq_entry *slot;

	if (q->next - q->base == q->cap && ring_grow(q) < 0)
		return -ENOMEM;
	slot = &q->ring[q->next & (q->cap - 1)];
	*slot = *e;
	slot->number = q->next++;
	return 0;
}

uint64_t
sendq_after(const struct sendq *q, uint64_t after)
{
	for (uint64_t n = after < q->base ? q->base : after + 1; n < q->next; n++)
		if (q->ring[n & (q->cap - 1)].msg != NULL)
			return n;
	return 0;
}

/* Step over what ended at the front, and give back the memory of a burst. */
static void
ring_trim(struct sendq *q)
{
	while (q->base < q->next && q->ring[q->base & (q->cap - 1)].msg == NULL)
		q->base++;
	if (q->base == q->next && q->cap > SENDQ_KEEP) {
		free(q->ring);
		q->ring = NULL;
		q->cap = 0;
	}
}

bool
sendq_pop(struct sendq *q, uint64_t up_to, struct sendq_entry *ret)
{
	return q->base <= up_to && sendq_take(q, q->base, ret); /* the first never ended: ring_trim */
}

bool
sendq_take(struct sendq *q, uint64_t number, struct sendq_entry *ret)
{
	struct sendq_entry *e = sendq_at(q, number);

	if (e == NULL)
		return false;
	*ret = *e;
	e->msg = NULL;
	if (number == q->base)
		ring_trim(q);
	return true;
}

/* ---------------------------------------------------------------- waiting */

/* Room for one more at the tail: close the gaps if half of it is gaps, else grow. */
static int
waiting_room(struct sendq *q)
{
	size_t cap = q->waiting_cap > 0 ? q->waiting_cap : SENDQ_START;
	struct sendq_entry *to = q->waiting;
	size_t n = 0;

	if (q->waiting_tail < q->waiting_cap)
		return 0;
	if (q->n_waiting > cap / 2 || q->waiting == NULL) {
		cap = q->waiting != NULL ? cap * 2 : cap;
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

int
sendq_wait(struct sendq *q, const struct sendq_entry *e)
{
	if (waiting_room(q) < 0)
		return -ENOMEM;
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
	if (q->waiting_cap > SENDQ_KEEP) {
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

uint64_t
sendq_oldest(const struct sendq *q)
{
	return q->n_waiting > 0 ? q->waiting[q->waiting_head].number : q->base;
}
