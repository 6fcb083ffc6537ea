/*
 * task: one worker thread; a mutex guards two lists, an eventfd wakes the
 * loop. The worker touches only the lists and what a task owns.
 */
#include "task.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "list.h"
#include "loop.h"

#define NICE 10 /* of a worker that gives way: a tenth of the loop's weight */

struct task {
	struct list node;
	void (*fn)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

struct task_runner {
	/* The loop's. */
	struct loop_watch watch;
	int fd;
	unsigned n_pending;
	bool gives_way;
	bool is_running; /* there is a thread */
	bool is_telling, is_gone; /* a done is being called; it freed the runner */
	pthread_t thread;
	/* Under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct list waiting, finished; /* struct task */
	bool stop;
};

static void *
work(void *arg)
{
	struct task_runner *r = arg;
	const uint64_t one = 1;

	/* Of this thread alone, on Linux; never back up, if we were started lower. */
	if (r->gives_way && getpriority(PRIO_PROCESS, 0) < NICE)
		(void)!setpriority(PRIO_PROCESS, 0, NICE);
	pthread_mutex_lock(&r->lock);
	while (!r->stop) {
		struct list *n = list_first(&r->waiting);
		struct task *t;

		if (!n) {
			pthread_cond_wait(&r->more, &r->lock);
			continue;
		}
		t = list_entry(n, struct task, node);
		list_remove(n);
		pthread_mutex_unlock(&r->lock);
		t->fn(t->arg);
		pthread_mutex_lock(&r->lock);
		list_append(&r->finished, &t->node);
		/* Fails only when the counter is full, and then it is readable. */
		(void)!write(r->fd, &one, sizeof(one));
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

static void
free_tasks(struct list *tasks)
{
	LIST_FOREACH_SAFE (n, tasks)
		free(list_entry(n, struct task, node));
}

static void
destroy(struct task_runner *r)
{
	free_tasks(&r->waiting);
	free_tasks(&r->finished);
	loop_watch_done(&r->watch);
	close(r->fd);
	pthread_cond_destroy(&r->more);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static void
tell(void *arg, bool readable, bool writable)
{
	struct task_runner *r = arg;
	struct list finished, *n;
	uint64_t count;

	(void)readable, (void)writable;
	list_init(&finished);
	pthread_mutex_lock(&r->lock);
	(void)!read(r->fd, &count, sizeof(count));
	list_splice(&finished, &r->finished);
	pthread_mutex_unlock(&r->lock);

	r->is_telling = true;
	while (!r->is_gone && (n = list_first(&finished))) {
		struct task t = *list_entry(n, struct task, node);

		list_remove(n);
		free(list_entry(n, struct task, node));
		r->n_pending--;
		t.done(t.arg);
	}
	r->is_telling = false;
	free_tasks(&finished);
	if (r->is_gone)
		destroy(r);
}

struct task_runner *
task_runner_new(struct loop *l)
{
	struct task_runner *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (r->fd < 0 || loop_watch_init(&r->watch, l, r->fd, tell, r) < 0)
		goto fail;
	loop_watch_want(&r->watch, true, false);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->more, NULL);
	list_init(&r->waiting);
	list_init(&r->finished);
	return r;
fail:
	if (r->fd >= 0)
		close(r->fd);
	free(r);
	return NULL;
}

void
task_runner_give_way(struct task_runner *r)
{
	r->gives_way = true;
}

void
task_runner_free(struct task_runner *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_signal(&r->more);
	pthread_mutex_unlock(&r->lock);
	if (r->is_running)
		pthread_join(r->thread, NULL);
	r->is_gone = true;
	if (!r->is_telling)
		destroy(r);
}

static int
start(struct task_runner *r)
{
	sigset_t all, before;
	int e;

	if (r->is_running)
		return 0;
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	e = pthread_create(&r->thread, NULL, work, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	r->is_running = e == 0;
	return -e;
}

int
task_run(struct task_runner *r, void (*fn)(void *arg), void (*done)(void *arg), void *arg)
{
	struct task *t;
	int e;

	if (r->n_pending == TASK_PENDING_MAX)
		return -EAGAIN;
	e = start(r);
	if (e < 0)
		return e;
	t = malloc(sizeof(*t));
	if (!t)
		return -ENOMEM;
	*t = (struct task){ .fn = fn, .done = done, .arg = arg };
	r->n_pending++;
	pthread_mutex_lock(&r->lock);
	list_append(&r->waiting, &t->node);
	pthread_cond_signal(&r->more);
	pthread_mutex_unlock(&r->lock);
	return 0;
}

uint64_t
task_cpu(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}
