/*
 * sendq: the messages of one flow that are still open, by number. Two parts:
 * a ring of what the daemon has not confirmed yet, in which a number finds its
 * place at once where there are no gaps; and a sorted array of what it confirmed
 * but whose sender waits for more. Only numbers and memory:
 * no credit, no call-backs, no I/O.
 */
#ifndef SENDQ_H
#define SENDQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "connectd.h"

struct sendq_entry {
	struct connectd_msg *msg; /* NULL: it ended already */
	connectd_outcome_fn fn;
	void *userdata;
	uint64_t number;
	uint64_t since;    /* when it was given to us, if it has a time to live or a delay */
	uint64_t deadline; /* of its time to live; 0: none */
	uint16_t levels;   /* bits of CONNECTD_TELL; 0: as safe as its durability says */
	uint8_t reached;   /* what its sender could have been told so far: a level */
	bool finished;     /* its final call was made; kept only to be sent again */
};

struct sendq {
	struct sendq_entry *ring;
	size_t cap;          /* a power of two, or 0 */
	uint64_t head, tail; /* places in the ring: [head, tail); the number at head did not end */
	uint64_t next;       /* above every number used */
	struct sendq_entry *waiting;
	size_t waiting_cap, waiting_head, waiting_tail;
	size_t n_waiting; /* of those that did not end */
};

/* Numbers start at `first`, which is not 0. */
void sendq_init(struct sendq *q, uint64_t first);
/* Free the memory; the messages must be gone. */
void sendq_done(struct sendq *q);

/* Nothing is open. */
static inline bool
sendq_empty(const struct sendq *q)
{
	return q->head == q->tail && q->n_waiting == 0;
}

/* Append to the ring under a number that is `next` or above. 0 or -ENOMEM. */
int sendq_push(struct sendq *q, const struct sendq_entry *e, uint64_t number);

/* The entry of a number that is in the ring and did not end, or NULL. */
struct sendq_entry *sendq_at(const struct sendq *q, uint64_t number);

/* The first number above `after` whose entry did not end; 0: none. */
uint64_t sendq_after(const struct sendq *q, uint64_t after);

/* Take the first entry out of the ring if its number is at most up_to. */
bool sendq_pop(struct sendq *q, uint64_t up_to, struct sendq_entry *ret);

/* Take one entry out of the ring, wherever it is. */
bool sendq_take(struct sendq *q, uint64_t number, struct sendq_entry *ret);

/* Before an entry is pushed for which sendq_wait may not fail: makes room for it. 0 or -ENOMEM. */
int sendq_promise(struct sendq *q);

/* Keep a confirmed entry; its number is above all kept before. 0; -ENOMEM if it was not promised. */
int sendq_wait(struct sendq *q, const struct sendq_entry *e);

/* Take the first waiting entry with first <= number <= last. */
bool sendq_waited(struct sendq *q, uint64_t first, uint64_t last, struct sendq_entry *ret);

/* The lowest number that is still open, or next. */
uint64_t sendq_oldest(const struct sendq *q);

#endif
