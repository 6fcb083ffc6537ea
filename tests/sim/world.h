/*
 * world: virtual time, one seed, one queue of events. Everything that happens
 * in a simulated cluster is an event here; a seed replays exactly. One world a
 * process, so it is a global: the simulator is a test, not the product.
 */
#ifndef WORLD_H
#define WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"

struct world_event {
	uint64_t time; /* ns */
	uint64_t order;
	size_t index; /* in the heap, from 1; 0: not scheduled */
	void (*fn)(void *arg);
	void *arg;
	struct loop *loop; /* whose deferred calls run behind it; NULL: none */
};

void world_start(uint64_t seed, bool trace);
void world_end(void);
uint64_t world_now(void); /* ns */
static inline uint64_t
world_ms(void)
{
	return world_now() / 1000000;
}

uint64_t world_random(void);
uint64_t world_below(uint64_t bound); /* [0, bound) */
bool world_chance(unsigned percent);

/* (Re)schedule after `ns` from now. */
void world_schedule(struct world_event *e, uint64_t ns);
void world_cancel(struct world_event *e);
/* Run the next event, but none later than `until`. False: there is none (time is `until` then). */
bool world_step(uint64_t until);
uint64_t world_steps(void);
/* Call fn behind each event; NULL: nobody. */
void world_behind(void (*fn)(void));

/* Call fn for every event scheduled for a loop. */
void world_shift(struct loop *l, uint64_t ns); /* they come that much earlier: its clock jumped */

void world_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool world_tracing(void);

/* A promise was broken. The first one is kept. */
void world_violation(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
const char *world_violated(void); /* NULL: none */

/* sim_loop.c: clocks jump. */
void sim_loop_jump(struct loop *l, uint64_t boot_ms, int64_t wall_ms);

#endif
