/* The loop and task doors on virtual time. */
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "task.h"
#include "world.h"

struct loop {
	struct list deferred;
	struct list attached;
	uint64_t boot_ahead; /* ns */
	int64_t wall_ahead;  /* ms */
	struct world_event pass;
	bool settling;
};

void sim_loop_settle(struct loop *l);

static void
nothing(void *arg)
{
	(void)arg; /* the deferred calls behind it are the point */
}

struct loop *
loop_new(void)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	list_init(&l->deferred);
	list_init(&l->attached);
	l->pass = (struct world_event){ .fn = nothing, .loop = l };
	return l;
}

void
sim_loop_settle(struct loop *l)
{
	struct list *n;

	l->settling = true;
	while ((n = list_first(&l->deferred)) != NULL) {
		struct loop_call *c = list_entry(n, struct loop_call, node);

		list_remove(n);
		c->fn(c->arg);
	}
	l->settling = false;
}

void
loop_free(struct loop *l)
{
	struct list *n;

	if (!l)
		return;
	sim_loop_settle(l);
	while ((n = list_first(&l->attached)) != NULL) {
		struct loop_attached *a = list_entry(n, struct loop_attached, node);

		list_remove(n);
		a->free_fn(a);
	}
	world_cancel(&l->pass);
	free(l);
}

int
loop_run(struct loop *l)
{
	(void)l;
	abort(); /* the world runs */
}

int
loop_step(struct loop *l, bool wait)
{
	(void)l, (void)wait;
	abort();
}

void
loop_stop(struct loop *l)
{
	(void)l;
}

uint64_t
loop_now(const struct loop *l)
{
	return world_now() + l->boot_ahead;
}

uint64_t
loop_wall_ms(const struct loop *l)
{
	return (uint64_t)(1790000000000 + (int64_t)world_ms() + l->wall_ahead);
}

void
sim_loop_jump(struct loop *l, uint64_t boot_ms, int64_t wall_ms)
{
	l->boot_ahead += boot_ms * 1000000;
	l->wall_ahead += wall_ms;
	world_shift(l, boot_ms * 1000000);
}

void
loop_random(struct loop *l, void *buf, size_t len)
{
	(void)l;
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)(world_random() >> 24);
}

uint64_t
loop_random_below(struct loop *l, uint64_t bound)
{
	(void)l;
	return world_below(bound);
}

/* ----------------------------------------------------------------- timers -- */

_Static_assert(sizeof(struct world_event) <= sizeof(((struct loop_timer *)0)->impl), "an event fits a timer");

static struct world_event *
event_of(struct loop_timer *t)
{
	return (struct world_event *)(void *)t->impl;
}

static void
fired(void *arg)
{
	struct loop_timer *t = arg;

	t->armed = false;
	t->fn(t->arg);
}

void
loop_timer_init(struct loop_timer *t, struct loop *l, void (*fn)(void *arg), void *arg)
{
	*t = (struct loop_timer){ .loop = l, .fn = fn, .arg = arg };
	*event_of(t) = (struct world_event){ .fn = fired, .arg = t, .loop = l };
}

void
loop_timer_start(struct loop_timer *t, uint64_t ms)
{
	t->armed = true;
	world_schedule(event_of(t), ms > UINT64_MAX / 1000000 ? UINT64_MAX : ms * 1000000);
}

void
loop_timer_stop(struct loop_timer *t)
{
	t->armed = false;
	world_cancel(event_of(t));
}

/* --------------------------------------------------------------- deferred -- */

void
loop_call_init(struct loop_call *c, void (*fn)(void *arg), void *arg)
{
	list_init(&c->node);
	c->fn = fn;
	c->arg = arg;
}

void
loop_defer(struct loop *l, struct loop_call *c)
{
	if (!list_empty(&c->node))
		return;
	list_append(&l->deferred, &c->node);
	/* From outside an event of this loop: it gets a pass of its own. */
	if (!l->settling && l->pass.index == 0)
		world_schedule(&l->pass, 0);
}

void
loop_call_cancel(struct loop_call *c)
{
	list_remove(&c->node);
}

void
loop_attach(struct loop *l, struct loop_attached *a, const void *key, void (*free_fn)(struct loop_attached *a))
{
	a->key = key;
	a->free_fn = free_fn;
	list_append(&l->attached, &a->node);
}

struct loop_attached *
loop_attached(struct loop *l, const void *key)
{
	LIST_FOREACH (n, &l->attached)
		if (list_entry(n, struct loop_attached, node)->key == key)
			return list_entry(n, struct loop_attached, node);
	return NULL;
}

void *
loop_base(struct loop *l)
{
	(void)l;
	return NULL;
}

/* ------------------------------------------------------------------- task -- */

struct task {
	struct list node;
	struct world_event event;
	struct task_runner *runner;
	void (*fn)(void *arg);
	void (*done)(void *arg);
	void *arg;
	bool ran;
};

struct task_runner {
	struct loop *loop;
	struct list tasks;
	/* Tasks run in order, and are told in order. */
	uint64_t last_run, last_told;
};

struct task_runner *
task_runner_new(struct loop *l)
{
	struct task_runner *r = calloc(1, sizeof(*r));

	if (!r)
		abort();
	r->loop = l;
	list_init(&r->tasks);
	return r;
}

void
task_runner_free(struct task_runner *r)
{
	struct list *n;

	if (!r)
		return;
	while ((n = list_first(&r->tasks)) != NULL) {
		struct task *t = list_entry(n, struct task, node);

		list_remove(n);
		world_cancel(&t->event);
		free(t);
	}
	free(r);
}

/* The work and the word of it are events apart: the loop goes on meanwhile, and the process may end in between. */
static void
task_step(void *arg)
{
	struct task *t = arg;
	void (*done)(void *) = t->done;
	void *done_arg = t->arg;

	if (!t->ran) {
		uint64_t at = world_now() + world_below(2000000);

		t->ran = true;
		if (at <= t->runner->last_told)
			at = t->runner->last_told + 1;
		t->runner->last_told = at;
		world_schedule(&t->event, at - world_now());
		t->fn(t->arg);
		return;
	}
	list_remove(&t->node);
	free(t);
	done(done_arg);
}

int
task_run(struct task_runner *r, void (*fn)(void *arg), void (*done)(void *arg), void *arg)
{
	struct task *t = calloc(1, sizeof(*t));
	uint64_t at = world_now() + 100000 + world_below(6000000);

	if (!t)
		abort();
	if (at <= r->last_run)
		at = r->last_run + 1;
	r->last_run = at;
	*t = (struct task){ .runner = r, .fn = fn, .done = done, .arg = arg };
	t->event = (struct world_event){ .fn = task_step, .arg = t, .loop = r->loop };
	list_append(&r->tasks, &t->node);
	world_schedule(&t->event, at - world_now());
	return 0;
}
