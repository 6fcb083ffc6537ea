/*
 * fake_loop: the loop door on a clock that the test moves. Link it instead of
 * daemon/loop: loop.h works as documented, timers fire in the order they are
 * due (then in the order they were armed), deferred calls run at the end of
 * each pass. Time stands still except in fake_loop_advance and loop_step with
 * wait. Descriptors are not watched: loop_watch_init gives -ENOSYS.
 */
#ifndef FAKE_LOOP_H
#define FAKE_LOOP_H

#include "loop.h"

#define FAKE_LOOP_START_MS 1000000 /* loop_now_ms of a new loop */

/* Passes until nothing is ready at the present time. Aborts if that never comes. */
void fake_loop_run(struct loop *l);
/* One pass: the timers due when it starts, then deferred calls until none is left. False if there was nothing. */
bool fake_loop_pass(struct loop *l);
/* Move the clock, firing every timer on the way at its own time. */
void fake_loop_advance(struct loop *l, uint64_t ms);
/* Move the clock as if the process had been stopped: nothing fires until the next pass. */
void fake_loop_jump(struct loop *l, uint64_t ms);

size_t fake_loop_timers(const struct loop *l); /* armed */
uint64_t fake_loop_passes(const struct loop *l);
/* Milliseconds until the next timer; UINT64_MAX: none armed. */
uint64_t fake_loop_next(const struct loop *l);
/* Only before anything was armed. */
void fake_loop_set_now(struct loop *l, uint64_t ms);
void fake_loop_set_wall(struct loop *l, uint64_t wall_ms);

#endif
