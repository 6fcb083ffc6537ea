/* The task door without a thread: see fake_disk.h. */
#include <errno.h>
#include <stdlib.h>

#include "fake_disk.h"
#include "list.h"
#include "loop.h"

struct fake_task fake_task;

struct task {
	struct list node;
	struct loop_call call;
	void (*fn)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

struct task_runner {
	struct loop *loop;
	struct list waiting, finished;
};

struct task_runner *
task_runner_new(struct loop *l)
{
	struct task_runner *r = calloc(1, sizeof(*r));

	/* A test may let an allocation fail: one of the store. */
	if (!r)
		r = calloc(1, sizeof(*r));
	if (!r)
		abort();
	r->loop = l;
	list_init(&r->waiting);
	list_init(&r->finished);
	fake_task.last = r;
	return r;
}

void
task_runner_give_way(struct task_runner *r)
{
	(void)r;
}

uint64_t
task_cpu(void)
{
	return fake_task.cpu += fake_task.cpu_step;
}

static void
free_tasks(struct list *tasks)
{
	LIST_FOREACH_SAFE (n, tasks) {
		struct task *t = list_entry(n, struct task, node);

		loop_call_cancel(&t->call);
		free(t);
	}
}

void
task_runner_free(struct task_runner *r)
{
	if (!r)
		return;
	free_tasks(&r->waiting);
	free_tasks(&r->finished);
	free(r);
}

static void
tell(void *arg)
{
	struct task t = *(struct task *)arg;

	list_remove(&((struct task *)arg)->node);
	free(arg);
	t.done(t.arg);
}

int
task_run(struct task_runner *r, void (*fn)(void *arg), void (*done)(void *arg), void *arg)
{
	struct task *t;

	if (fake_task.fail > 0 && --fake_task.fail == 0) {
		if (fake_task.again > 0) {
			fake_task.again--;
			fake_task.fail = 1;
		}
		return fake_task.error ? fake_task.error : -ENOMEM;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->fn = fn;
	t->done = done;
	t->arg = arg;
	loop_call_init(&t->call, tell, t);
	list_append(&r->waiting, &t->node);
	return 0;
}

bool
fake_task_run(struct task_runner *r)
{
	struct list *n = list_first(&r->waiting);
	struct task *t;

	if (!n)
		return false;
	t = list_entry(n, struct task, node);
	t->fn(t->arg);
	list_remove(n);
	list_append(&r->finished, n);
	loop_defer(r->loop, &t->call);
	return true;
}
