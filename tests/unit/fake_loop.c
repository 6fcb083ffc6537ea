#include "fake_loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PASSES_MAX 1000000 /* that many without rest: something defers itself for ever */

struct loop {
	uint64_t now; /* ns */
	uint64_t wall_ms;
	uint64_t seq, passes;
	uint64_t random;
	struct list timers; /* by due, then seq */
	struct list calls;
	struct list attached;
	size_t n_timers;
	bool stopped;
};

struct node {
	struct list list;
	uint64_t due, seq;
	struct loop_timer *timer;
};

_Static_assert(sizeof(struct node) <= sizeof((struct loop_timer *)0)->impl, "a node fits into the door's part of a timer");

static struct node *
node_of(struct loop_timer *t)
{
	return (struct node *)(void *)t->impl;
}

static struct node *
first_timer(const struct loop *l)
{
	struct list *n = list_first(&l->timers);

	return n ? list_entry(n, struct node, list) : NULL;
}

struct loop *
loop_new(void)
{
	struct loop *l = calloc(1, sizeof *l);

	if (!l)
		abort();
	l->now = (uint64_t)FAKE_LOOP_START_MS * 1000000;
	l->wall_ms = 1700000000000;
	l->random = 0x9e3779b97f4a7c15;
	list_init(&l->timers);
	list_init(&l->calls);
	list_init(&l->attached);
	return l;
}

static size_t
run_calls(struct loop *l)
{
	size_t n = 0;
	struct list *node;

	while ((node = list_first(&l->calls))) {
		struct loop_call *c = list_entry(node, struct loop_call, node);

		if (++n > PASSES_MAX) {
			fprintf(stderr, "fake_loop: a deferred call defers itself for ever\n");
			abort();
		}
		list_remove(node);
		c->fn(c->arg);
	}
	return n;
}

void
loop_free(struct loop *l)
{
	struct list *n;

	if (!l)
		return;
	run_calls(l);
	while ((n = list_first(&l->attached))) {
		struct loop_attached *a = list_entry(n, struct loop_attached, node);

		list_remove(n);
		a->free_fn(a);
		run_calls(l);
	}
	free(l);
}

bool
fake_loop_pass(struct loop *l)
{
	uint64_t before = l->seq;
	bool ran = !list_empty(&l->calls);
	struct node *n;

	l->passes++;
	/* What is armed in this pass is for the next one, however short. */
	for (;;) {
		n = first_timer(l);
		while (n && n->due <= l->now && n->seq > before)
			n = n->list.next == &l->timers ? NULL : list_entry(n->list.next, struct node, list);
		if (!n || n->due > l->now)
			break;
		ran = true;
		loop_timer_stop(n->timer);
		n->timer->fn(n->timer->arg);
	}
	run_calls(l);
	return ran;
}

void
fake_loop_run(struct loop *l)
{
	for (size_t n = 0; fake_loop_pass(l); n++) {
		if (n > PASSES_MAX) {
			fprintf(stderr, "fake_loop: never at rest\n");
			abort();
		}
	}
}

void
fake_loop_jump(struct loop *l, uint64_t ms)
{
	l->now += ms * 1000000;
	l->wall_ms += ms;
}

void
fake_loop_advance(struct loop *l, uint64_t ms)
{
	uint64_t end = l->now + ms * 1000000;
	struct node *n;

	fake_loop_run(l);
	while ((n = first_timer(l)) && n->due <= end) {
		l->wall_ms += (n->due - l->now) / 1000000;
		l->now = n->due;
		fake_loop_run(l);
	}
	l->wall_ms += (end - l->now) / 1000000;
	l->now = end;
}

size_t
fake_loop_timers(const struct loop *l)
{
	return l->n_timers;
}

uint64_t
fake_loop_passes(const struct loop *l)
{
	return l->passes;
}

uint64_t
fake_loop_next(const struct loop *l)
{
	const struct node *n = first_timer(l);

	if (!n)
		return UINT64_MAX;
	return n->due > l->now ? (n->due - l->now) / 1000000 : 0;
}

void
fake_loop_set_now(struct loop *l, uint64_t ms)
{
	l->now = ms * 1000000;
}

void
fake_loop_set_wall(struct loop *l, uint64_t wall_ms)
{
	l->wall_ms = wall_ms;
}

int
loop_run(struct loop *l)
{
	l->stopped = false;
	while (!l->stopped)
		loop_step(l, true);
	return 0;
}

int
loop_step(struct loop *l, bool wait)
{
	uint64_t ms = fake_loop_next(l);

	if (wait && list_empty(&l->calls) && ms != UINT64_MAX)
		fake_loop_jump(l, ms);
	fake_loop_pass(l);
	return 0;
}

void
loop_stop(struct loop *l)
{
	l->stopped = true;
}

uint64_t
loop_now(const struct loop *l)
{
	return l->now;
}

uint64_t
loop_wall_ms(const struct loop *l)
{
	return l->wall_ms;
}

void
loop_random(struct loop *l, void *buf, size_t len)
{
	uint8_t *p = buf;

	for (size_t i = 0; i < len; i++) {
		l->random ^= l->random << 13;
		l->random ^= l->random >> 7;
		l->random ^= l->random << 17;
		p[i] = (uint8_t)(l->random >> 24);
	}
}

uint64_t
loop_random_below(struct loop *l, uint64_t bound)
{
	uint64_t n;

	loop_random(l, &n, sizeof n);
	return bound ? n % bound : 0;
}

void
loop_timer_init(struct loop_timer *t, struct loop *l, void (*fn)(void *arg), void *arg)
{
	*t = (struct loop_timer){ .loop = l, .fn = fn, .arg = arg };
	list_init(&node_of(t)->list);
	node_of(t)->timer = t;
}

void
loop_timer_start(struct loop_timer *t, uint64_t ms)
{
	struct loop *l = t->loop;
	struct node *n = node_of(t);
	struct list *at;

	loop_timer_stop(t);
	n->due = t->due_ns = t->wake_ns = ms > (UINT64_MAX - l->now) / 1000000 ? UINT64_MAX : l->now + ms * 1000000;
	n->seq = ++l->seq;
	for (at = l->timers.prev; at != &l->timers; at = at->prev)
		if (list_entry(at, struct node, list)->due <= n->due)
			break;
	list_insert_before(at->next, &n->list);
	t->armed = true;
	l->n_timers++;
}

void
loop_timer_stop(struct loop_timer *t)
{
	if (!t->armed)
		return;
	list_remove(&node_of(t)->list);
	t->armed = false;
	t->loop->n_timers--;
}

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
	if (list_empty(&c->node))
		list_append(&l->calls, &c->node);
}

void
loop_call_cancel(struct loop_call *c)
{
	list_remove(&c->node);
}

int
loop_watch_init(struct loop_watch *w, struct loop *l, int fd, void (*fn)(void *arg, bool readable, bool writable),
    void *arg)
{
	*w = (struct loop_watch){ .loop = l, .fd = fd, .fn = fn, .arg = arg };
	return -ENOSYS;
}

void
loop_watch_want(struct loop_watch *w, bool read, bool write)
{
	w->want_read = read;
	w->want_write = write;
}

void
loop_watch_done(struct loop_watch *w)
{
	w->fd = -1;
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
	LIST_FOREACH (n, &l->attached) {
		struct loop_attached *a = list_entry(n, struct loop_attached, node);

		if (a->key == key)
			return a;
	}
	return NULL;
}

void *
loop_base(struct loop *l)
{
	(void)l;
	return NULL;
}
