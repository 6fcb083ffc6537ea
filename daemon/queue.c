/* Whole queues, and what all of a daemon share. */
#include "queue_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct queues *
queues_new(struct loop *l, struct message_store *ms, const struct queues_config *cfg)
{
	struct queues *qs = calloc(1, sizeof(*qs));

	if (!qs)
		return NULL;
	qs->loop = l;
	qs->messages = ms;
	qs->cfg = *cfg;
	for (int peer = 0; peer < 2; peer++) {
		list_init(&qs->starved[peer]);
		list_init(&qs->starved_partial[peer]);
	}
	list_init(&qs->roomy);
	list_init(&qs->all);
	list_init(&qs->unsynced);
	list_init(&qs->offering);
	list_init(&qs->backlog_list);
	list_init(&qs->disk_waiting);
	queue_loads_init(qs);
	loop_call_init(&qs->serve, queue_room_serve, qs);
	queue_timers_init(qs);
	return qs;
}

void
queues_set_limits(struct queues *qs, const struct queues_config *cfg)
{
	qs->cfg.max_memory = cfg->max_memory;
	qs->cfg.peer_room = cfg->peer_room;
	qs->cfg.max_messages = cfg->max_messages;
	qs->cfg.peer_messages = cfg->peer_messages;
	qs->cfg.max_partial = cfg->max_partial;
	loop_defer(qs->loop, &qs->serve);
}

void
queues_free(struct queues *qs)
{
	if (!qs)
		return;
	queue_unsynced_done(qs);
	queue_loads_done(qs);
	/* Whatever was reserved, started or put must have been given back by now. */
	assert(qs->n_queues == 0 && qs->n == 0 && qs->claimed_messages == 0 && qs->partial == 0 && qs->used == 0 &&
	       qs->disk_claimed == 0 && qs->disk_owed == 0);
	queue_timers_done(qs);
	loop_call_cancel(&qs->serve);
	free(qs);
}

void
queues_memory(const struct queues *qs, uint64_t *ret_used, uint64_t *ret_messages, uint64_t *ret_partial)
{
	*ret_used = qs->used;
	*ret_messages = qs->n;
	*ret_partial = qs->partial;
}

/* ------------------------------------------------------------------- unused -- */

bool
queue_is_unused(const struct queue *q)
{
	return q->n == 0 && q->n_consumers == 0 && list_empty(&q->inlets) && list_empty(&q->all_ended) && !q->held;
}

void
queue_check_unused(struct queue *q)
{
	if (queue_is_unused(q) != q->unused_told)
		loop_defer(q->qs->loop, &q->unused);
}

static void
tell_unused(void *arg)
{
	struct queue *q = arg;
	struct queues *qs = q->qs;

	if (queue_is_unused(q) == q->unused_told)
		return;
	q->unused_told = !q->unused_told;
	if (qs->cfg.unused)
		qs->cfg.unused(qs->cfg.arg, q, q->unused_told);
}

/* --------------------------------------------------------------- life, death -- */

struct queue *
queue_new(struct queues *qs, const char *node, const char *name, const struct conf_queue *conf, bool dead_letter)
{
	struct queue *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	assert((!node || strlen(node) <= NAMES_NODE_MAX) && strlen(name) <= NAMES_QUEUE_MAX);
	q->qs = qs;
	snprintf(q->full, sizeof(q->full), "%s%s%s", node ? node : "", node ? "/" : "", name);
	snprintf(q->node_name, sizeof(q->node_name), "%s", node ? node : "");
	q->name = q->full + (node ? strlen(node) + 1 : 0);
	q->conf = *conf;
	q->dead_letter = dead_letter;
	q->counter = qs->retired;
	for (unsigned p = 0; p < WIRE_PRIORITIES; p++) {
		list_init(&q->waiting[p]);
		list_init(&q->loading[p]);
		cold_init(&q->cold[p]);
	}
	list_init(&q->delayed);
	list_init(&q->parked);
	list_init(&q->all_ended);
	list_init(&q->syncing);
	list_init(&q->offering_node);
	list_init(&q->hungry_node);
	list_init(&q->consumers);
	list_init(&q->rivals);
	list_init(&q->idle);
	list_init(&q->inlets);
	list_init(&q->starved);
	list_init(&q->roomy_node);
	list_init(&q->parked_node);
	list_init(&q->disk.node);
	loop_call_init(&q->unused, tell_unused, q);
	qs->n_queues++;
	list_append(&qs->all, &q->all_node);
	queue_check_unused(q);
	return q;
}

static void
discard_all(struct list *head)
{
	LIST_FOREACH_SAFE (node, head)
		entry_discard(list_entry(node, struct entry, node));
}

void
queue_free(struct queue *q)
{
	struct queues *qs;

	if (!q)
		return;
	qs = q->qs;
	queue_consumers_close(q);
	queue_room_close(q);
	queue_settle(q);
	for (unsigned p = 0; p < WIRE_PRIORITIES; p++)
		discard_all(&q->waiting[p]);
	discard_all(&q->delayed);
	discard_all(&q->parked);
	discard_all(&q->syncing);
	queue_load_close(q);
	queue_doubt_forget(q, NULL);
	queue_disk_close(q);
	assert(q->n == 0 && q->bytes == 0 && q->claimed_messages == 0 && q->claimed_bytes == 0);
	list_remove(&q->roomy_node);
	list_remove(&q->parked_node);
	list_remove(&q->offering_node);
	list_remove(&q->all_node);
	if (qs->store && q->number != 0)
		store_remove_queue(qs->store, q->number);
	loop_call_cancel(&q->unused);
	if (q->counter > qs->retired)
		qs->retired = q->counter;
	qs->n_queues--;
	free(q);
}

void
queue_make_dead_letter(struct queue *q)
{
	q->dead_letter = true;
}

/* ----------------------------------------------------------------- questions -- */

const char *
queue_name(const struct queue *q)
{
	return q->full;
}

const char *
queue_node(const struct queue *q)
{
	return q->node_name[0] ? q->node_name : NULL;
}

const char *
queue_remote_name(const struct queue *q)
{
	return q->name;
}

void
queue_set_conf(struct queue *q, const struct conf_queue *conf)
{
	bool durable = q->conf.durable;

	q->conf = *conf;
	q->conf.durable = durable;
	queue_room_back(q);
}

const struct conf_queue *
queue_conf(const struct queue *q)
{
	return &q->conf;
}

bool
queue_is_dead_letter(const struct queue *q)
{
	return q->dead_letter;
}

struct queue_counters *
queue_counters(struct queue *q)
{
	return &q->counters;
}

struct hmap_node *
queue_map_node(struct queue *q)
{
	return &q->map_node;
}

struct queue *
queue_from_map(struct hmap_node *n)
{
	return hmap_entry(n, struct queue, map_node);
}

void *
queue_owner_data(struct queue *q)
{
	return q->owner_data;
}

struct queue *
queue_of_owner_data(void *data)
{
	return list_entry(data, struct queue, owner_data);
}

/* When the first of those that wait came; UINT64_MAX: none waits. */
static uint64_t
oldest_since(const struct queue *q)
{
	uint64_t since = UINT64_MAX;

	for (unsigned p = 0; p < WIRE_PRIORITIES; p++) {
		const struct entry *e = list_empty(&q->waiting[p]) ? NULL : list_entry(q->waiting[p].next, struct entry, node);
		const struct cold *c = cold_peek(&q->cold[p]);

		if (c && (uint64_t)c->entered_s * 1000 < since)
			since = (uint64_t)c->entered_s * 1000;

		if (e && e->entered_ms < since)
			since = e->entered_ms;
		e = q->returned[p];
		if (e && e->entered_ms < since)
			since = e->entered_ms;
	}
	return since;
}

void
queue_stats(const struct queue *q, uint64_t now_ms, struct queue_stats *ret)
{
	uint64_t since = oldest_since(q);

	*ret = (struct queue_stats){
		.messages = q->n,
		.in_flight = q->n_held,
		.delayed = q->n_delayed,
		.parked = q->n_parked,
		.stored = q->n_stored,
		.syncing = q->n_syncing,
		.on_disk = q->cold[0].n + q->cold[1].n + q->cold[2].n,
		.bytes = q->bytes,
		.consumers = q->n_consumers,
		.reserved_messages = q->claimed_messages,
		.reserved_bytes = q->claimed_bytes,
		.oldest_ms = since < now_ms ? now_ms - since : 0,
		.counters = q->counters,
	};
}

typedef bool (*entry_fn)(void *arg, struct entry *e);

static bool
each_of(struct list *head, entry_fn fn, void *arg)
{
	LIST_FOREACH (node, head)
		if (!fn(arg, list_entry(node, struct entry, node)))
			return false;
	return true;
}

static bool
each_held(struct queue *q, entry_fn fn, void *arg)
{
	LIST_FOREACH (node, &q->consumers) {
		struct consumer *c = list_entry(node, struct consumer, all);

		for (unsigned p = 0; p < WIRE_PRIORITIES; p++)
			if (!each_of(&c->held[p], fn, arg))
				return false;
	}
	return true;
}

static bool
each_loading(struct queue *q, entry_fn fn, void *arg)
{
	for (unsigned p = 0; p < WIRE_PRIORITIES; p++)
		if (!each_of(&q->loading[p], fn, arg))
			return false;
	return true;
}

static void
each(struct queue *q, entry_fn fn, void *arg)
{
	queue_settle(q);
	if (each_of(&q->waiting[WIRE_PRIORITY_HIGH], fn, arg) && each_of(&q->waiting[WIRE_PRIORITY_NORMAL], fn, arg) &&
	    each_of(&q->waiting[WIRE_PRIORITY_LOW], fn, arg) && each_loading(q, fn, arg) && each_held(q, fn, arg) &&
	    each_of(&q->delayed, fn, arg) && each_of(&q->syncing, fn, arg))
		each_of(&q->parked, fn, arg);
}

struct visit {
	bool (*fn)(void *arg, const struct entry *e);
	void *arg;
};

static bool
visit(void *arg, struct entry *e)
{
	const struct visit *v = arg;

	return v->fn(v->arg, e);
}

void
queue_each(struct queue *q, bool (*fn)(void *arg, const struct entry *e), void *arg)
{
	struct visit v = { fn, arg };

	each(q, visit, &v);
}

/* ------------------------------------------------------------------- senders -- */

struct numbers {
	const struct sender *sender;
	uint64_t *all;
	size_t n;
};

static bool
collect(void *arg, struct entry *e)
{
	struct numbers *found = arg;

	if (e->sender == found->sender)
		found->all[found->n++] = e->number;
	return true;
}

static bool
collect_cold(void *arg, struct queue *q, struct cold *c)
{
	struct numbers *found = arg;

	(void)q;
	if (c->sender == found->sender)
		found->all[found->n++] = c->number;
	return true;
}

static int
compare(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return (x > y) - (x < y);
}

size_t
queue_ranges_of(struct queue *q, const struct sender *s, uint64_t (*ret)[2], size_t max)
{
	struct numbers found = { .sender = s };
	size_t pairs = 0;

	if (s->open == 0)
		return 0;
	found.all = calloc(s->open, sizeof(*found.all));
	if (!found.all)
		return 0;
	each(q, collect, &found);
	for (unsigned p = 0; p < WIRE_PRIORITIES; p++)
		cold_each(&q->cold[p], collect_cold, &found, q);
	qsort(found.all, found.n, sizeof(*found.all), compare);
	for (size_t i = 0; i < found.n; i++) {
		if (pairs > 0 && found.all[i] == ret[pairs - 1][1] + 1) {
			ret[pairs - 1][1]++;
		} else {
			if (pairs == max)
				break;
			ret[pairs][0] = ret[pairs][1] = found.all[i];
			pairs++;
		}
	}
	free(found.all);
	return pairs;
}

static bool
forget(void *arg, struct entry *e)
{
	struct sender *s = arg;

	if (e->sender == s) {
		e->sender = NULL;
		s->open--;
	}
	return s->open > 0;
}

static bool
forget_cold(void *arg, struct queue *q, struct cold *c)
{
	struct sender *s = arg;

	(void)q;
	if (c->sender == s) {
		c->sender = NULL;
		s->open--;
	}
	return s->open > 0;
}

void
queue_forget(struct queue *q, struct sender *s)
{
	if (s->open > 0)
		each(q, forget, s);
	for (unsigned p = 0; p < WIRE_PRIORITIES && s->open > 0; p++)
		cold_each(&q->cold[p], forget_cold, s, q);
	queue_doubt_forget(q, s);
}
