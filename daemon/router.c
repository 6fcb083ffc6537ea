#include "router_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINGER_PASS 64  /* unused queues that go before others than those who wait for that have their turn */
#define UNSETTLED_MS 10 /* what has left a queue is written by then, or looked at again */

#define PEER_FLOWS 32 /* of peers, for which there is room whatever programs send */

uint64_t
router_hash(const struct router *r, const char *s)
{
	return hmap_hash(s, strlen(s), r->seed);
}

struct queue *
router_lookup(const struct router *r, const char *full)
{
	for (struct hmap_node *n = hmap_find(&r->map, router_hash(r, full)); n; n = hmap_find_next(n))
		if (strcmp(queue_name(queue_from_map(n)), full) == 0)
			return queue_from_map(n);
	return NULL;
}

struct router_peer *
router_find_peer(const struct router *r, const char *name)
{
	for (struct hmap_node *n = hmap_find(&r->peers, router_hash(r, name)); n; n = hmap_find_next(n)) {
		struct router_peer *p = hmap_entry(n, struct router_peer, node);

		if (strcmp(p->name, name) == 0)
			return p;
	}
	return NULL;
}

/* ------------------------------------------------------- the order of names -- */

/* The first that does not come before that name. */
static size_t
sorted_place(const struct router *r, const char *name)
{
	size_t low = 0, high = r->map.n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(queue_name(r->sorted[mid]), name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool
sorted_reserve(struct router *r)
{
	size_t cap = r->cap_sorted ? 2 * r->cap_sorted : 64;
	struct queue **more;

	if (r->map.n < r->cap_sorted)
		return true;
	more = realloc(r->sorted, cap * sizeof(*more));
	if (!more)
		return false;
	r->sorted = more;
	r->cap_sorted = cap;
	return true;
}

/* While it is in the map. */
static void
sorted_remove(struct router *r, struct queue *q)
{
	size_t i = sorted_place(r, queue_name(q));

	memmove(r->sorted + i, r->sorted + i + 1, (r->map.n - i - 1) * sizeof(*r->sorted));
}

/* ------------------------------------------------------------ life and death -- */

/* What is in it goes to that node; without somebody to see to that it would wait for ever. */
static int
forward(struct router *r, struct queue *q, const char *node)
{
	struct router_peer *p = router_find_peer(r, node);

	if (p)
		return p->attach(p, q);
	return r->events.wanted ? r->events.wanted(r->events.arg, node) : 0;
}

struct queue *
router_make(struct router *r, const char *node, const char *name, bool dead_letter, struct maker *maker, bool stays)
{
	struct conf_queue cq;
	struct queue *q;
	size_t i;

	conf_queue(r->conf, node, name, &cq);
	q = queue_new(r->queues, node, name, &cq, dead_letter);
	if (!q)
		return NULL;
	list_init(&owned_of(q)->unused);
	if (!sorted_reserve(r)) {
		queue_free(q);
		return NULL;
	}
	i = sorted_place(r, queue_name(q));
	if (hmap_add(&r->map, queue_map_node(q), router_hash(r, queue_name(q))) < 0) {
		queue_free(q);
		return NULL;
	}
	memmove(r->sorted + i + 1, r->sorted + i, (r->map.n - 1 - i) * sizeof(*r->sorted));
	r->sorted[i] = q;
	if (node && forward(r, q, node) < 0) {
		sorted_remove(r, q);
		hmap_remove(&r->map, queue_map_node(q));
		queue_free(q);
		return NULL;
	}
	owned_of(q)->stays = stays;
	owned_of(q)->maker = maker;
	if (maker)
		maker->n++;
	r->n_dead += dead_letter;
	if (r->events.queue)
		r->events.queue(r->events.arg, queue_name(q), true);
	return q;
}

static void
drop(struct router *r, struct queue *q)
{
	struct owned *o = owned_of(q);
	struct router_peer *p = queue_node(q) ? router_find_peer(r, queue_node(q)) : NULL;

	if (r->events.queue)
		r->events.queue(r->events.arg, queue_name(q), false);
	if (p)
		p->detach(p, q);
	sorted_remove(r, q);
	hmap_remove(&r->map, queue_map_node(q));
	list_remove(&o->unused);
	r->n_dead -= queue_is_dead_letter(q);
	if (o->maker) {
		o->maker->n--;
		router_drop_maker(r, o->maker);
	}
	queue_free(q);
}

struct queue *
router_keep(struct router *r, struct queue *q, const char **ret_reason)
{
	int err = q ? queues_define(r->queues, q) : 0;

	/* If the store has failed it takes nothing before the next start, like all others. */
	if (err == 0 || err == -EIO)
		return q;
	*ret_reason = err == -ENOSPC ? "its min_bytes do not fit beside those of the other queues: lower them or raise max_disk" :
	                               "out of memory";
	drop(r, q);
	return NULL;
}

static void
arm_linger(struct router *r, uint64_t at_least_ms)
{
	struct list *first = list_first(&r->unused);
	uint64_t now = loop_now_ms(r->loop), until;

	if (!first) {
		loop_timer_stop(&r->linger);
		return;
	}
	until = list_entry(first, struct owned, unused)->unused_since_ms + r->node->queue_linger;
	until = until > now ? until - now : 0;
	loop_timer_start(&r->linger, until > at_least_ms ? until : at_least_ms);
}

static void
wait_unused(struct router *r, struct queue *q)
{
	struct owned *o = owned_of(q);

	list_remove(&o->unused);
	o->unused_since_ms = loop_now_ms(r->loop);
	list_append(&r->unused, &o->unused);
}

static void
linger_over(void *arg)
{
	struct router *r = arg;
	uint64_t now = loop_now_ms(r->loop), again = 0;
	unsigned n = 0;

	LIST_FOREACH_SAFE (node, &r->unused) {
		struct owned *o = list_entry(node, struct owned, unused);

		if (n++ == LINGER_PASS || now - o->unused_since_ms < r->node->queue_linger)
			break;
		if (!queue_is_settled(queue_of_owner_data(o))) {
			again = UNSETTLED_MS;
			continue;
		}
		/* Taken into use in this very pass: asked again later. */
		if (queue_is_unused(queue_of_owner_data(o)))
			drop(r, queue_of_owner_data(o));
		else
			wait_unused(r, queue_of_owner_data(o));
	}
	arm_linger(r, again);
}

static void
unused(void *arg, struct queue *q, bool is_unused)
{
	struct router *r = arg;

	if (owned_of(q)->stays)
		return;
	if (is_unused)
		wait_unused(r, q);
	else
		list_remove(&owned_of(q)->unused);
	arm_linger(r, 0);
}

struct queue *
router_dead_letter(void *arg, struct queue *q)
{
	struct router *r = arg;
	const char *named = queue_conf(q)->dead_letter;
	char name[NAMES_QUEUE_MAX + 1];
	struct queue *dead;
	const char *reason;
	bool first = true;

	/* A queue cannot keep its own. */
	if (named && strcmp(named, queue_name(q)) == 0)
		named = NULL;
	if (named)
		snprintf(name, sizeof(name), "%s", named);
	else
		router_dead_name(q, name);
	dead = router_lookup(r, name);
	if (!dead) {
		dead = r->n_dead < r->node->max_queues ? router_keep(r, router_make(r, NULL, name, true, NULL, false), &reason) : NULL;
	} else if (!queue_is_dead_letter(dead)) {
		/* Named for this later than it was made. */
		queue_make_dead_letter(dead);
		r->n_dead++;
	} else {
		first = false;
	}
	if (!dead)
		return NULL;
	router_share_letters(dead, q, named != NULL, first);
	/* What was confirmed as stored stays so when it dies. */
	return queue_conf(q)->durable && queue_make_durable(dead) < 0 ? NULL : dead;
}

/* ----------------------------------------------------------------- new, free -- */

/* Returns why one could not be made, NULL if all are there: what is left out is made by its use. */
static const char *
add_configured(struct router *r)
{
	const char *failed = NULL;

	for (size_t i = 0; i < conf_n_queue_sections(r->conf); i++) {
		const char *reason;
		struct place at;

		if (router_parse(r, wire_string(conf_queue_section(r->conf, i)), &at, &reason) != WIRE_VERDICT_OK)
			continue;
		/* Of what the daemon makes itself a section only gives the settings. */
		if (router_is_reserved(at.name) || (at.node[0] != '\0' && !conf_peer_find(r->conf, at.node)))
			continue;
		if (router_lookup(r, at.full))
			continue;
		reason = "out of memory";
		if (!router_keep(r, router_make(r, at.node[0] ? at.node : NULL, at.name, false, NULL, true), &reason)) {
			snprintf(r->reason, sizeof(r->reason), "queue %s: %s", at.full, reason);
			failed = r->reason;
		}
	}
	return failed;
}

/* The largest message, and what a few flows must have beside it; of a small memory a quarter. */
static uint64_t
peer_room(const struct conf_node *node)
{
	uint64_t most = node->max_message + WIRE_PACKED_MAX + PEER_FLOWS * (QUEUE_GRANT_MIN + QUEUE_OVERHEAD);

	return most < node->max_memory / 4 ? most : node->max_memory / 4;
}

static uint64_t
max_backlog(void *arg, const char *peer)
{
	const struct router *r = arg;
	const struct conf_peer *p = conf_peer_find(r->conf, peer);

	return p ? p->max_backlog : 0;
}

/* The bounds that the configuration gives to all queues together. */
static void
set_bounds(const struct conf_node *node, struct queues_config *cfg)
{
	cfg->max_memory = node->max_memory;
	cfg->peer_room = peer_room(node);
	cfg->max_messages = node->max_messages;
	cfg->peer_messages = PEER_FLOWS < node->max_messages / 4 ? PEER_FLOWS : node->max_messages / 4;
	cfg->max_partial = node->max_partial;
}

/* Its settings, and whether it stays when it is unused, by the configuration that counts now. */
static void
reconfigure(struct router *r, struct queue *q)
{
	struct owned *o = owned_of(q);
	bool stays = conf_has_queue(r->conf, queue_node(q), queue_remote_name(q));
	struct conf_queue cq;

	conf_queue(r->conf, queue_node(q), queue_remote_name(q), &cq);
	queue_set_conf(q, &cq);
	/* While flows are open that were told otherwise it stays in memory. */
	if (cq.durable)
		(void)queue_make_durable(q);
	if (queue_is_dead_letter(q) || stays == o->stays)
		return;
	o->stays = stays;
	list_remove(&o->unused);
	if (!stays && queue_is_unused(q))
		wait_unused(r, q);
}

const char *
router_reconfigure(struct router *r, const struct conf *conf)
{
	struct queues_config cfg;
	const char *failed;

	r->conf = conf;
	r->node = conf_node(conf);
	set_bounds(r->node, &cfg);
	queues_set_limits(r->queues, &cfg);
	for (struct hmap_node *n = hmap_walk(&r->map, NULL); n; n = hmap_walk(&r->map, n))
		reconfigure(r, queue_from_map(n));
	failed = add_configured(r);
	/* Whose letters they are is found anew. */
	for (struct hmap_node *n = hmap_walk(&r->map, NULL); n; n = hmap_walk(&r->map, n))
		owned_of(queue_from_map(n))->receive = owned_of(queue_from_map(n))->browse = NULL;
	router_restored(r);
	arm_linger(r, 0);
	return failed;
}

struct router *
router_new(struct loop *l, const struct conf *conf, struct message_store *ms, uint32_t start_count,
    const struct router_events *ev)
{
	struct router *r = calloc(1, sizeof(*r));
	struct queues_config cfg;

	if (!r)
		return NULL;
	r->loop = l;
	r->conf = conf;
	r->node = conf_node(conf);
	if (ev)
		r->events = *ev;
	loop_random(l, &r->seed, sizeof(r->seed));
	hmap_init(&r->map);
	hmap_init(&r->peers);
	hmap_init(&r->makers);
	list_init(&r->unused);
	loop_timer_init(&r->linger, l, linger_over, r);
	cfg = (struct queues_config){
		.start_count = start_count,
		.max_backlog = max_backlog,
		.dead_letter = router_dead_letter,
		.definition = router_definition,
		.unused = unused,
		.arg = r,
	};
	set_bounds(r->node, &cfg);
	r->queues = queues_new(l, ms, &cfg);
	if (!r->queues) {
		router_free(r);
		return NULL;
	}
	add_configured(r);
	return r;
}

void
router_free(struct router *r)
{
	if (!r)
		return;
	while (r->map.n > 0)
		drop(r, r->sorted[r->map.n - 1]);
	loop_timer_stop(&r->linger);
	queues_free(r->queues);
	assert(r->makers.n == 0);
	hmap_done(&r->makers);
	hmap_done(&r->peers);
	hmap_done(&r->map);
	free(r->sorted);
	free(r);
}

static bool
is_of_peer(struct queue *q, const char *peer)
{
	return queue_node(q) && strcmp(queue_node(q), peer) == 0;
}

/* It had them in part. */
static void
leave(struct router *r, struct router_peer *p)
{
	for (struct hmap_node *n = hmap_walk(&r->map, NULL); n; n = hmap_walk(&r->map, n))
		if (is_of_peer(queue_from_map(n), p->name))
			p->detach(p, queue_from_map(n));
	hmap_remove(&r->peers, &p->node);
}

int
router_peer_add(struct router *r, struct router_peer *p)
{
	int err = hmap_add(&r->peers, &p->node, router_hash(r, p->name));

	if (err < 0)
		return err;
	for (struct hmap_node *n = hmap_walk(&r->map, NULL); n && err == 0; n = hmap_walk(&r->map, n))
		if (is_of_peer(queue_from_map(n), p->name))
			err = p->attach(p, queue_from_map(n));
	if (err < 0)
		leave(r, p);
	return err;
}

void
router_peer_remove(struct router *r, struct router_peer *p)
{
	hmap_remove(&r->peers, &p->node);
}

uint64_t
router_peer_waiting(struct router *r, const char *peer)
{
	uint64_t waiting = 0;

	for (struct hmap_node *n = hmap_walk(&r->map, NULL); n; n = hmap_walk(&r->map, n)) {
		struct queue *q = queue_from_map(n);
		struct queue_stats st;

		if (!is_of_peer(q, peer))
			continue;
		queue_stats(q, loop_now_ms(r->loop), &st);
		waiting += st.messages;
	}
	return waiting;
}

/* ------------------------------------------------------------------ questions -- */

void
router_each_behind(struct router *r, const char *name, bool (*fn)(void *arg, struct queue *q), void *arg)
{
	size_t i = sorted_place(r, name);

	if (i < r->map.n && strcmp(queue_name(r->sorted[i]), name) == 0)
		i++;
	while (i < r->map.n && fn(arg, r->sorted[i]))
		i++;
}

void
router_each(struct router *r, bool (*fn)(void *arg, struct queue *q), void *arg)
{
	router_each_behind(r, "", fn, arg);
}

size_t
router_n_queues(const struct router *r)
{
	return r->map.n;
}

struct queues *
router_queues(struct router *r)
{
	return r->queues;
}
