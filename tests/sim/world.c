#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
	uint64_t now, order, steps, rng;
	struct world_event **heap; /* from 1 */
	size_t n, cap;
	bool trace;
	void (*behind)(void);
	char violation[512];
} world;

void
world_start(uint64_t seed, bool trace)
{
	struct world_event **heap = world.heap;
	size_t cap = world.cap;

	memset(&world, 0, sizeof(world));
	world.heap = heap;
	world.cap = cap;
	world.rng = seed * 0x9e3779b97f4a7c15u + 0x1234567;
	world.now = 1000000000000;
	world.trace = trace;
}

void
world_end(void)
{
	for (size_t i = 1; i <= world.n; i++)
		world.heap[i]->index = 0;
	world.n = 0;
}

uint64_t
world_now(void)
{
	return world.now;
}

uint64_t
world_steps(void)
{
	return world.steps;
}

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t
world_random(void)
{
	uint64_t z = world.rng += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t
world_below(uint64_t bound)
{
	return bound ? world_random() % bound : 0;
}

bool
world_chance(unsigned percent)
{
	return world_below(100) < percent;
}

/* ------------------------------------------------------------------- heap -- */

static bool
before(const struct world_event *a, const struct world_event *b)
{
	return a->time != b->time ? a->time < b->time : a->order < b->order;
}

static void
put(size_t i, struct world_event *e)
{
	world.heap[i] = e;
	e->index = i;
}

static void
up(size_t i, struct world_event *e)
{
	for (; i > 1 && before(e, world.heap[i / 2]); i /= 2)
		put(i, world.heap[i / 2]);
	put(i, e);
}

static void
sink(size_t i, struct world_event *e)
{
	for (size_t k; (k = 2 * i) <= world.n; i = k) {
		if (k < world.n && before(world.heap[k + 1], world.heap[k]))
			k++;
		if (!before(world.heap[k], e))
			break;
		put(i, world.heap[k]);
	}
	put(i, e);
}

void
world_cancel(struct world_event *e)
{
	size_t i = e->index;
	struct world_event *last;

	if (i == 0)
		return;
	e->index = 0;
	last = world.heap[world.n--];
	if (last == e)
		return;
	if (i > 1 && before(last, world.heap[i / 2]))
		up(i, last);
	else
		sink(i, last);
}

void
world_schedule(struct world_event *e, uint64_t ns)
{
	world_cancel(e);
	e->time = ns > UINT64_MAX - world.now ? UINT64_MAX : world.now + ns;
	e->order = world.order++;
	if (world.n + 2 > world.cap) {
		world.cap = world.cap ? 2 * world.cap : 256;
		world.heap = realloc(world.heap, world.cap * sizeof(*world.heap));
		if (!world.heap)
			abort();
	}
	world.n++;
	up(world.n, e);
}

void
world_shift(struct loop *l, uint64_t ns)
{
	size_t n = 0;
	struct world_event **mine = calloc(world.n + 1, sizeof(*mine));

	if (!mine)
		abort();
	for (size_t i = 1; i <= world.n; i++)
		if (world.heap[i]->loop == l)
			mine[n++] = world.heap[i];
	for (size_t i = 0; i < n; i++) {
		uint64_t left = mine[i]->time - world.now;

		world_schedule(mine[i], left > ns ? left - ns : 0);
	}
	free(mine);
}

void sim_loop_settle(struct loop *l);

bool
world_step(uint64_t until)
{
	struct world_event *e;
	struct loop *l;

	if (world.n == 0 || world.heap[1]->time > until) {
		if (until > world.now && until != UINT64_MAX)
			world.now = until;
		return false;
	}
	e = world.heap[1];
	world_cancel(e);
	if (e->time > world.now)
		world.now = e->time;
	world.steps++;
	l = e->loop;
	e->fn(e->arg);
	if (l)
		sim_loop_settle(l);
	if (world.behind)
		world.behind();
	return true;
}

void
world_behind(void (*fn)(void))
{
	world.behind = fn;
}

/* ------------------------------------------------------------------ words -- */

bool
world_tracing(void)
{
	return world.trace;
}

void
world_trace(const char *fmt, ...)
{
	va_list ap;

	if (!world.trace)
		return;
	printf("%12.6f  ", (double)(world.now - 1000000000000) / 1e9);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void
world_violation(const char *fmt, ...)
{
	va_list ap;

	if (world.violation[0])
		return;
	va_start(ap, fmt);
	vsnprintf(world.violation, sizeof(world.violation), fmt, ap);
	va_end(ap);
	world_trace("VIOLATION: %s", world.violation);
}

const char *
world_violated(void)
{
	return world.violation[0] ? world.violation : NULL;
}
