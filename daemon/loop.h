/*
 * loop: one of the four doors. Clocks, timers, deferred calls, randomness, and
 * (for the other doors only) readiness of descriptors. One thread; every
 * call-back runs from loop_run and never from inside one of these functions.
 * Backed by libevent (loop.c), or by the simulator's virtual time.
 *
 * Timers and deferred calls are embedded in their owner's object and allocate
 * nothing.
 */
#ifndef LOOP_H
#define LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "list.h"

struct loop;

/* A new loop, or NULL (out of memory, no epoll). */
struct loop *loop_new(void);
/* Runs what is still deferred (dead objects wait there), then frees what was attached. */
void loop_free(struct loop *l);

/* Run until loop_stop. 0, or a negative errno. */
int loop_run(struct loop *l);
/* Run what is ready (or, with wait, sleep for it once); for tests. */
int loop_step(struct loop *l, bool wait);
void loop_stop(struct loop *l);

/* Nanoseconds of CLOCK_BOOTTIME, read once per loop pass. */
uint64_t loop_now(const struct loop *l);
static inline uint64_t
loop_now_ms(const struct loop *l)
{
	return loop_now(l) / 1000000;
}
/* Milliseconds since 1970 UTC, for people and logs only; may jump. */
uint64_t loop_wall_ms(const struct loop *l);

/* Fill buf with random bytes (getrandom). Aborts if the kernel cannot. */
void loop_random(struct loop *l, void *buf, size_t len);
/* Uniform in [0, bound); 0 for bound 0. */
uint64_t loop_random_below(struct loop *l, uint64_t bound);

/* ------------------------------------------------------------------ timers */

struct loop_timer {
	struct loop *loop;
	void (*fn)(void *arg);
	void *arg;
	bool armed;
	uint64_t due_ns;  /* not before this */
	uint64_t wake_ns; /* the door's own, as impl: when it looks at the clock again, at most due_ns */
	void *impl[16];   /* an event, or the simulator's node */
};

/* The timer is disarmed; it must be stopped before its memory goes. */
void loop_timer_init(struct loop_timer *t, struct loop *l, void (*fn)(void *arg), void *arg);
/* (Re)arm to fire once, not before `ms` have passed. */
void loop_timer_start(struct loop_timer *t, uint64_t ms);
void loop_timer_stop(struct loop_timer *t);

/* --------------------------------------------------------- deferred calls */

/*
 * A call made in this loop pass, when no other call-back is on the stack.
 * Dead objects wait here for their free. Deferring one that is already
 * pending does nothing; calls deferred from a deferred call run in the same
 * pass, after those pending, so that work flows to its end before the loop
 * sleeps; a call that keeps deferring itself must give way with a timer.
 */
struct loop_call {
	struct list node;
	void (*fn)(void *arg);
	void *arg;
};

void loop_call_init(struct loop_call *c, void (*fn)(void *arg), void *arg);
void loop_defer(struct loop *l, struct loop_call *c);
void loop_call_cancel(struct loop_call *c);

/* ---------------------------------------------------- descriptors, signals */

/* For transports, task and service only. */
struct loop_watch {
	struct loop *loop;
	int fd;
	void (*fn)(void *arg, bool readable, bool writable);
	void *arg;
	bool want_read, want_write;
	void *impl[2];
};

/* 0 or -ENOMEM. Wants nothing yet. */
int loop_watch_init(struct loop_watch *w, struct loop *l, int fd, void (*fn)(void *arg, bool readable, bool writable),
    void *arg);
/* Level-triggered. */
void loop_watch_want(struct loop_watch *w, bool read, bool write);
void loop_watch_done(struct loop_watch *w); /* does not close fd */

/*
 * Something a door keeps per loop (a resolver, connections that still drain):
 * embedded in its owner's object, found by its key (any address the owner has
 * for itself alone), and freed with the loop.
 */
struct loop_attached {
	struct list node;
	const void *key;
	void (*free_fn)(struct loop_attached *a);
};

void loop_attach(struct loop *l, struct loop_attached *a, const void *key, void (*free_fn)(struct loop_attached *a));
struct loop_attached *loop_attached(struct loop *l, const void *key); /* NULL if there is none */

/* The event_base, for evdns in transport_resolve.c only; NULL in the simulator. */
void *loop_base(struct loop *l);

#endif
