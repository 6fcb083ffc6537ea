/*
 * loop: the door to clocks, timers and readiness, on libevent. One pass is one
 * poll, the call-backs of what was ready, then the deferred calls until none
 * is left; the clock is read once in between.
 */
#include "loop.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000u
#define NS_PER_MS 1000000u
#define SLEEP_MAX_NS (86400ull * NS_PER_S) /* longer timers wake once a day to look again */

struct loop {
	struct event_base *base;
	struct list calls;    /* struct loop_call */
	struct list attached; /* struct loop_attached */
	uint64_t now;
	bool is_now_old; /* polled since the clock was read, or outside of a pass */
	bool stopped;
};

_Static_assert(sizeof(struct event) <= sizeof(((struct loop_timer *)0)->impl), "an event fits into a timer");

static uint64_t
clock_ns(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) < 0)
		abort();
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* Every call-back from libevent starts here. */
static void
refresh(struct loop *l)
{
	if (!l->is_now_old)
		return;
	l->is_now_old = false;
	l->now = clock_ns(CLOCK_BOOTTIME);
}

/*
 * libevent adds only fail for lack of memory, its own or epoll's. Whoever waits
 * for the event would wait for ever: the process ends, as by a crash, which
 * loses nothing that was confirmed, and is started again.
 */
static void
add(struct event *ev, const struct timeval *tv)
{
	if (event_add(ev, tv) == 0)
		return;
#ifdef PLANT_EVENT_LOST
	return;
#endif
	fputs("connectd: out of memory for an event: ending\n", stderr);
	_exit(EXIT_FAILURE);
}

struct loop *
loop_new(void)
{
	struct loop *l = calloc(1, sizeof(*l));
	struct event_config *config = event_config_new();

	if (!l || !config)
		goto fail;
	/* One thread, no surprises from the environment, and no timerfd to re-arm in every pass. */
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
	l->base = event_base_new_with_config(config);
	if (!l->base)
		goto fail;
	event_config_free(config);
	list_init(&l->calls);
	list_init(&l->attached);
	l->is_now_old = true;
	return l;
fail:
	if (config)
		event_config_free(config);
	free(l);
	return NULL;
}

static void
run_calls(struct loop *l)
{
	struct list *n;

	while ((n = list_first(&l->calls))) {
		struct loop_call *c = list_entry(n, struct loop_call, node);

		list_remove(n);
		c->fn(c->arg);
	}
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
	event_base_free(l->base);
	free(l);
}

int
loop_step(struct loop *l, bool wait)
{
	int flags = EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY;

	/* What was deferred outside of a pass must not sleep. */
	if (!wait || !list_empty(&l->calls))
		flags = EVLOOP_NONBLOCK;
	l->is_now_old = true;
	if (event_base_loop(l->base, flags) < 0)
		return errno ? -errno : -EIO;
	refresh(l);
	run_calls(l);
	l->is_now_old = true;
	return 0;
}

int
loop_run(struct loop *l)
{
	int r = 0;

	while (!l->stopped && r == 0)
		r = loop_step(l, true);
	l->stopped = false;
	return r;
}

void
loop_stop(struct loop *l)
{
	l->stopped = true;
}

uint64_t
loop_now(const struct loop *l)
{
	return l->is_now_old ? clock_ns(CLOCK_BOOTTIME) : l->now;
}

uint64_t
loop_wall_ms(const struct loop *l)
{
	(void)l;
	return clock_ns(CLOCK_REALTIME) / NS_PER_MS;
}

void
loop_random(struct loop *l, void *buf, size_t len)
{
	uint8_t *p = buf;

	(void)l;
	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			abort();
		p += n;
		len -= (size_t)n;
	}
}

uint64_t
loop_random_below(struct loop *l, uint64_t bound)
{
	uint64_t r, skip;

	if (bound == 0)
		return 0;
	/* 2^64 mod bound: below it, some results would come up once more often than others. */
	skip = -bound % bound;
	do
		loop_random(l, &r, sizeof(r));
	while (r < skip);
	return r % bound;
}

/* ------------------------------------------------------------------ timers */

static struct event *
timer_event(struct loop_timer *t)
{
	return (struct event *)(void *)t->impl;
}

static void
timer_sleep(struct loop_timer *t)
{
	uint64_t now = loop_now(t->loop);
	uint64_t ns = t->due_ns > now ? t->due_ns - now : 0;
	struct timeval tv;

	if (ns > SLEEP_MAX_NS)
		ns = SLEEP_MAX_NS;
	t->wake_ns = now + ns;
	ns += 999; /* a timeval is coarser: round up */
	tv = (struct timeval){ .tv_sec = (time_t)(ns / NS_PER_S), .tv_usec = (suseconds_t)(ns % NS_PER_S / 1000) };
	add(timer_event(t), &tv);
}

static void
timer_fired(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *t = arg;

	(void)fd, (void)what;
	refresh(t->loop);
	/* libevent's own clock is coarse and may be ahead of ours; and the timer may have been moved back. */
	if (t->loop->now < t->due_ns) {
		timer_sleep(t);
		return;
	}
	t->armed = false;
	t->fn(t->arg);
}

void
loop_timer_init(struct loop_timer *t, struct loop *l, void (*fn)(void *arg), void *arg)
{
	*t = (struct loop_timer){ .loop = l, .fn = fn, .arg = arg };
	evtimer_assign(timer_event(t), l->base, timer_fired, t);
}

void
loop_timer_start(struct loop_timer *t, uint64_t ms)
{
	uint64_t now = loop_now(t->loop);

	t->due_ns = ms > (UINT64_MAX - now) / NS_PER_MS ? UINT64_MAX : now + ms * NS_PER_MS;
	/* Moving a timer back is what keepalives do all day: let it fire early and sleep on. */
	if (t->armed && t->wake_ns <= t->due_ns)
		return;
	t->armed = true;
	timer_sleep(t);
}

void
loop_timer_stop(struct loop_timer *t)
{
	if (!t->armed)
		return;
	t->armed = false;
	event_del(timer_event(t));
}

/* --------------------------------------------------------- deferred calls */

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

/* ------------------------------------------------------------- descriptors */

static void
watch_ready(evutil_socket_t fd, short what, void *arg)
{
	struct loop_watch *w = arg;

	(void)fd;
	refresh(w->loop);
	/* Nothing of w may be touched after this. */
	w->fn(w->arg, what & EV_READ, what & EV_WRITE);
}

int
loop_watch_init(struct loop_watch *w, struct loop *l, int fd, void (*fn)(void *arg, bool readable, bool writable),
    void *arg)
{
	struct event *in, *out;

	*w = (struct loop_watch){ .loop = l, .fd = fd, .fn = fn, .arg = arg };
	in = event_new(l->base, fd, EV_READ | EV_PERSIST, watch_ready, w);
	out = event_new(l->base, fd, EV_WRITE | EV_PERSIST, watch_ready, w);
	if (!in || !out) {
		if (in)
			event_free(in);
		if (out)
			event_free(out);
		return -ENOMEM;
	}
	w->impl[0] = in;
	w->impl[1] = out;
	return 0;
}

static void
watch_set(struct event *ev, bool *is, bool want)
{
	if (*is == want)
		return;
	*is = want;
	if (want)
		add(ev, NULL);
	else
		event_del(ev);
}

void
loop_watch_want(struct loop_watch *w, bool read, bool write)
{
	watch_set(w->impl[0], &w->want_read, read);
	watch_set(w->impl[1], &w->want_write, write);
}

void
loop_watch_done(struct loop_watch *w)
{
	for (size_t i = 0; i < 2; i++) {
		if (w->impl[i])
			event_free(w->impl[i]);
		w->impl[i] = NULL;
	}
	w->want_read = w->want_write = false;
}

/* --------------------------------------------------------------- attached */

void
loop_attach(struct loop *l, struct loop_attached *a, const void *key, void (*free_fn)(struct loop_attached *a))
{
	assert(!loop_attached(l, key));
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
	return l->base;
}
