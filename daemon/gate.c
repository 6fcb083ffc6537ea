#include "gate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gate_internal.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)
#define LATE_NS (10 * NS_PER_MS) /* turns come as late as this: the share is had nevertheless */
#define HONEST_STEPS 12 /* a handshake is half as many, and perhaps cut up a little */
#define BURST_S 2         /* a bucket holds so many seconds' worth */

/* ------------------------------------------------------------------ meters -- */

static void
meter_turn(const struct meter *m, uint64_t now_ns, struct meter *ret)
{
	uint64_t slot = now_ns / m->slot_ns;

	*ret = *m;
	if (slot == m->slot)
		return;
	ret->before = slot == m->slot + 1 ? m->now : 0;
	ret->now = 0;
	ret->slot = slot;
}

static void
meter_add(struct meter *m, uint64_t now_ns, uint64_t value)
{
	struct meter turned;

	meter_turn(m, now_ns, &turned);
	*m = turned;
	m->now += value;
}

static uint64_t
meter_before(const struct meter *m, uint64_t now_ns)
{
	struct meter turned;

	meter_turn(m, now_ns, &turned);
	return turned.before;
}

void
gate_used(const struct gate *g, uint64_t *ret_budget_ms, uint64_t *ret_strangers)
{
	uint64_t now = loop_now(g->loop);

	*ret_budget_ms = (meter_before(&g->spent, now) + NS_PER_MS / 2) / NS_PER_MS;
	*ret_strangers = meter_before(&g->let_in, now);
}

/* ----------------------------------------------------------------- buckets -- */

/*
 * A bucket is one time: when it will be full again. Each token taken moves it
 * on by what a token takes to come back; above BURST_S from now it is empty.
 */
static bool
has_token(uint64_t full_ns, uint64_t now, uint64_t rate)
{
	return (full_ns > now ? full_ns - now : 0) + NS_PER_S / rate <= BURST_S * NS_PER_S;
}

static void
take_token(uint64_t *full_ns, uint64_t now, uint64_t rate)
{
	*full_ns = (*full_ns > now ? *full_ns : now) + NS_PER_S / rate;
}

static struct bucket *
find_bucket(const struct gate *g, struct gate_from from, uint64_t hash)
{
	for (struct hmap_node *n = hmap_find(&g->buckets, hash); n; n = hmap_find_next(n)) {
		struct bucket *b = hmap_entry(n, struct bucket, node);

		if (gate_same(b->from, from))
			return b;
	}
	return NULL;
}

static void
bucket_free(struct gate *g, struct bucket *b)
{
	list_remove(&b->used);
	hmap_remove(&g->buckets, &b->node);
	g->n_buckets--;
	free(b);
}

/* NULL: out of memory. The one longest unused goes for it. */
static struct bucket *
bucket_of(struct gate *g, struct gate_from from)
{
	uint64_t hash = gate_hash(g, from);
	struct bucket *b = find_bucket(g, from, hash);

	if (b) {
		list_remove(&b->used);
		list_append(&g->by_use, &b->used);
		return b;
	}
	if (g->n_buckets == GATE_BUCKETS_MAX)
		bucket_free(g, list_entry(list_first(&g->by_use), struct bucket, used));
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	b->from = from;
	if (hmap_add(&g->buckets, &b->node, hash) < 0) {
		free(b);
		return NULL;
	}
	list_append(&g->by_use, &b->used);
	g->n_buckets++;
	return b;
}

const char *
gate_refuses(struct gate *g, enum gate_rank rank, struct gate_from from)
{
	uint64_t all = conf_node(g->conf)->max_strangers, each = conf_node(g->conf)->max_strangers_per_address;
	uint64_t now = loop_now(g->loop);
	struct bucket *b = NULL;

	if (rank == GATE_KNOWN)
		return NULL;
	if (each)
		b = bucket_of(g, from);
	if (b && !has_token(b->full_ns, now, each))
		return "max_strangers_per_address";
	if (rank == GATE_STRANGER && all) {
		if (!has_token(g->full_ns, now, all))
			return "max_strangers";
		take_token(&g->full_ns, now, all);
	}
	if (b)
		take_token(&b->full_ns, now, each);
	if (rank == GATE_STRANGER)
		meter_add(&g->let_in, now, 1);
	return NULL;
}

/* ------------------------------------------------------------------- turns -- */

/*
 * One step at a time, and after one that took t nothing until t is the share
 * of the time that has passed. So in any period the steps together take no more
 * than the budget and the last of them; and between two, everybody else has had
 * a pass of the loop.
 */
static struct gate_guest *
next_guest(struct gate *g)
{
	bool is_reversed = ++g->turns % GATE_STRANGERS_TURN == 0;

	for (int i = 0; i < GATE_RANKS; i++) {
		struct list *first = list_first(&g->waiting[is_reversed ? i : GATE_RANKS - 1 - i]);

		if (first)
			return list_entry(first, struct gate_guest, waits);
	}
	return NULL;
}

static bool
is_anyone_waiting(const struct gate *g)
{
	for (int i = 0; i < GATE_RANKS; i++)
		if (!list_empty(&g->waiting[i]))
			return true;
	return false;
}

static void
arm(struct gate *g)
{
	uint64_t now = loop_now(g->loop);

	if (g->turn || g->timer.armed || !is_anyone_waiting(g))
		return;
	loop_timer_start(&g->timer, g->free_ns > now ? (g->free_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0);
}

static void
on_timer(void *arg)
{
	struct gate *g = arg;

	if (g->turn)
		return;
	g->turn = next_guest(g);
	if (!g->turn)
		return;
	list_remove(&g->turn->waits);
	g->go_on(g->turn);
}

bool
gate_may_shake(struct gate *g, struct gate_guest *guest)
{
	if (g->turn == guest || conf_node(g->conf)->handshake_budget == 0)
		return true;
	if (!g->turn && loop_now(g->loop) >= g->free_ns && !is_anyone_waiting(g)) {
		g->turn = guest;
		return true;
	}
	if (list_empty(&guest->waits)) {
		/* Whoever has begun costs memory, and should be done; who takes ever more steps is no honest one. */
		if (guest->steps > 0 && guest->steps < HONEST_STEPS)
			list_prepend(&g->waiting[guest->rank], &guest->waits);
		else
			list_append(&g->waiting[guest->rank], &guest->waits);
	}
	arm(g);
	return false;
}

void
gate_shaken(struct gate *g, struct gate_guest *guest, uint64_t ns)
{
	uint64_t budget = conf_node(g->conf)->handshake_budget, now = loop_now(g->loop), from = now > LATE_NS ? now - LATE_NS : 0;

	guest->steps++;
	meter_add(&g->spent, now, ns);
	if (g->turn == guest)
		g->turn = NULL;
	if (budget)
		g->free_ns = (g->free_ns > from ? g->free_ns : from) + ns * GATE_PERIOD_MS / budget + 1;
	arm(g);
}

/* ------------------------------------------------------------------ guests -- */

void
gate_enter(struct gate *g, struct gate_guest *guest, enum gate_rank rank)
{
	guest->rank = rank;
	guest->steps = 0;
	list_init(&guest->waits);
	list_init(&guest->arrived);
	list_append(&g->guests[rank], &guest->arrived);
}

void
gate_leave(struct gate *g, struct gate_guest *guest)
{
	list_remove(&guest->arrived);
	list_remove(&guest->waits);
	if (g->turn == guest)
		g->turn = NULL;
	arm(g);
}

struct gate_guest *
gate_gives_way(const struct gate *g, enum gate_rank rank)
{
	for (unsigned i = 0; i < (unsigned)rank; i++) {
		struct list *first = list_first(&g->guests[i]);

		if (first)
			return list_entry(first, struct gate_guest, arrived);
	}
	return NULL;
}

/* ------------------------------------------------------------------- whole -- */

int
gate_new(struct loop *l, const struct conf *c, void (*go_on)(struct gate_guest *g), struct gate **ret)
{
	struct gate *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return -ENOMEM;
	g->loop = l;
	g->go_on = go_on;
	loop_random(l, &g->seed, sizeof(g->seed));
	loop_timer_init(&g->timer, l, on_timer, g);
	g->spent.slot_ns = GATE_PERIOD_MS * NS_PER_MS;
	g->let_in.slot_ns = NS_PER_S;
	hmap_init(&g->buckets);
	list_init(&g->by_use);
	for (int i = 0; i < GATE_RANKS; i++) {
		list_init(&g->guests[i]);
		list_init(&g->waiting[i]);
	}
	gate_places_init(g);
	r = gate_configure(g, c);
	if (r < 0) {
		gate_free(g);
		return r;
	}
	*ret = g;
	return 0;
}

void
gate_free(struct gate *g)
{
	struct list *n;

	if (!g)
		return;
	loop_timer_stop(&g->timer);
	while ((n = list_first(&g->by_use)))
		bucket_free(g, list_entry(n, struct bucket, used));
	hmap_done(&g->buckets);
	gate_places_done(g);
	free(g);
}
