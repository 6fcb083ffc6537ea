/*
 * task: one of the four doors. Run something off the loop and be told, on the
 * loop, when it is done. Tasks of one runner run one after another, in order.
 * The function must touch only what its argument owns.
 */
#ifndef TASK_H
#define TASK_H

#include <stdint.h>

struct loop;
struct task_runner;

/* One worker thread (started at the first task), or NULL. */
struct task_runner *task_runner_new(struct loop *l);
/*
 * Before the first task: where a CPU is short, the worker gives way to the loop.
 * (As far as the system lets it; it is not told if not.)
 */
void task_runner_give_way(struct task_runner *r);
/*
 * Waits for what runs. What has not begun is not run; `done` of what has not
 * been told yet is never called. May be called from a `done`.
 */
void task_runner_free(struct task_runner *r);

#define TASK_PENDING_MAX 1024

/*
 * Queue fn(arg); then done(arg) from the loop. 0, or nothing was queued:
 * -ENOMEM, -EAGAIN (no thread to be had, TASK_PENDING_MAX not told yet). Does
 * not block.
 */
int task_run(struct task_runner *r, void (*fn)(void *arg), void (*done)(void *arg), void *arg);

/* Nanoseconds of CPU time that the calling thread has used, read at each call: for what something costs. */
uint64_t task_cpu(void);

#endif
