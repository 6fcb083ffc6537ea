/*
 * Out of memory and back. What is synced, waits, and is not near the front of
 * its queue is kept by the store alone; consumers have some of it read ahead.
 * Whatever is being read keeps its place: nothing behind it is offered before.
 */
#include "queue_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AHEAD_MESSAGES 128        /* read ahead of a consumer */
#define AHEAD_BYTES (4u << 20)
#define AHEAD_LOW 64              /* so few ready: read more */
#define SHARE_MIN (1u << 20)      /* what a queue may keep in memory of what waits, whatever max_memory */
#define SHARE_MAX (16u << 20)
#define SWEEP_MS 1000
#define TRIES 2                   /* a body that cannot be read so often is damaged */

struct load {
	struct store_read read;
	struct list node; /* in stalled: it could not even be asked for */
	struct entry *e;
	unsigned tries;
};

/* ------------------------------------------------------------------ cooling -- */

static uint64_t
share(const struct queues *qs)
{
	uint64_t s = qs->cfg.max_memory / 16;

	return s < SHARE_MIN ? SHARE_MIN : s > SHARE_MAX ? SHARE_MAX : s;
}

void
entry_maybe_cool(struct entry *e)
{
	struct queue *q = e->queue;
	struct queues *qs = q->qs;
	struct cold_list *l = &q->cold[e->priority];
	struct cold c;

	if (e->state != ENTRY_WAITING || e->ref == 0 || e->unsynced || e->attempt > 0 || e->seq <= l->last_seq || e->reason ||
	    e->bytes > UINT32_MAX)
		return;
	/* Reading back costs more than keeping: as long as memory is mostly free all stays. */
	if (l->n == 0 && (qs->used <= qs->cfg.max_memory / 4 || (q->resident <= share(qs) && qs->used <= qs->cfg.max_memory / 2)))
		return;
	c = (struct cold){ .seq = e->seq, .number = e->number, .sender = e->sender, .expires_ms = e->expires_ms, .ref = e->ref,
		.bytes = (uint32_t)e->bytes, .entered_s = (uint32_t)(e->entered_ms / 1000), .priority = e->priority,
		.redelivered = e->redelivered, .undated = e->undated };
	if (!cold_push(l, &c))
		return;
	if (c.expires_ms != 0)
		queue_sweep_soon(qs);
	/* It waits on, as it was; only the entry goes. */
	entry_unlink(e);
	q->n_waiting[e->priority]++;
	entry_count_resident(e, false);
	queue_room_back(q);
	message_unref(e->msg);
	slab_free(&qs->messages->slab, e, sizeof(*e));
}

/* ------------------------------------------------------------------ loading -- */

static void
load_free(struct load *ld)
{
	struct queues *qs = ld->e->queue->qs;

	list_remove(&ld->node);
	qs->loading--;
	qs->loading_bytes -= ld->e->bytes;
	free(ld);
}

/* The message as the store has it. NULL: out of memory. */
static struct message *
build(struct entry *e, const struct store_read *r)
{
	struct message_store *ms = e->queue->qs->messages;
	const struct store_bytes *parts = r->parts;
	struct wire_item item = { .packed = wire_bytes(parts[PART_PACKED].data, parts[PART_PACKED].len),
		.body = wire_bytes(parts[PART_BODY].data, parts[PART_BODY].len), .counter = r->counter };
	struct intern_entry *origin = intern_get(&ms->origins, wire_bytes(parts[PART_ORIGIN].data, parts[PART_ORIGIN].len));
	struct intern_entry *type = NULL;
	struct message *m;

	if (parts[PART_TYPE].len > 0)
		type = intern_get(&ms->types, wire_bytes(parts[PART_TYPE].data, parts[PART_TYPE].len));
	m = origin ? message_new(ms, &item, item.body.len, e->priority, type, origin, 0) : NULL;
	intern_unref(&ms->types, type);
	intern_unref(&ms->origins, origin);
	if (!m)
		return NULL;
	m->durability = MESSAGE_DURABLE;
	m->deadline_ms = e->expires_ms;
	m->maybe_duplicate = e->redelivered;
	return m;
}

/* Why it is a dead letter. Only for people: without memory it goes without. */
static void
take_note(struct entry *e, const struct store_bytes *note)
{
	if (note->len > 0)
		e->reason = strndup(note->data, note->len);
}

/* Its bytes are lost: what is left is a dead letter without a body, so that somebody hears of it. */
static void
damaged(struct entry *e)
{
	static const char reason[] = "damaged: it could not be read back from the journal";
	struct message_store *ms = e->queue->qs->messages;
	struct intern_entry *origin = intern_get(&ms->origins, wire_bytes(NULL, 0));
	struct wire_item nothing = { .body = wire_bytes(NULL, 0) };

	e->queue->counters.damaged++;
	e->msg = origin ? message_new(ms, &nothing, 0, e->priority, NULL, origin, 0) : NULL;
	intern_unref(&ms->origins, origin);
	if (!e->msg) {
		/* Found again, and buried, after the next start. */
		entry_tell(e, WIRE_LEVEL_DEAD, WIRE_REJECT_UNKNOWN, reason);
		entry_discard(e);
		return;
	}
	e->msg->durability = MESSAGE_DURABLE;
	entry_unstore(e);
	entry_count_resident(e, false);
	e->queue->bytes -= e->bytes;
	e->bytes = 0;
	entry_count_resident(e, true);
	if (entry_bury(e, WIRE_LEVEL_DEAD, WIRE_REJECT_UNKNOWN, reason) < 0)
		entry_park(e, reason);
}

static void loaded(struct store_read *r, int error);

void
queue_sweep_soon(struct queues *qs)
{
	if (!qs->sweep.armed)
		loop_timer_start(&qs->sweep, SWEEP_MS);
}

/* Ask again for what could not be asked for; it has kept its place. */
static void
retry_stalled(struct queues *qs)
{
	struct list *node;

	while ((node = list_first(&qs->stalled)) != NULL) {
		struct load *ld = list_entry(node, struct load, node);

		if (store_read(qs->store, ld->e->ref, &ld->read) != 0) {
			queue_sweep_soon(qs);
			return;
		}
		list_remove(node);
	}
}

static void
load_more(struct queues *qs)
{
	struct list *node;

	retry_stalled(qs);
	while ((node = list_first(&qs->hungry)) != NULL) {
		struct queue *q = list_entry(node, struct queue, hungry_node);

		list_remove(node);
		for (unsigned p = 0; p < WIRE_PRIORITIES; p++)
			queue_load_ahead(q, p);
		if (!list_empty(&q->hungry_node))
			return;
	}
}

static void
loaded(struct store_read *r, int error)
{
	struct load *ld = list_entry(r, struct load, read);
	struct entry *e = ld->e;
	struct queue *q = e->queue;
	struct queues *qs = q->qs;
	struct message *m = error == 0 ? build(e, r) : NULL;

	/* Not enough memory, a failed store, or an error that may pass. */
	if (!m && (error == 0 || error == -ENOMEM || error == -ESHUTDOWN || ++ld->tries < TRIES)) {
		free(r->memory);
		r->memory = NULL;
		list_append(&qs->stalled, &ld->node);
		if (error == -ESHUTDOWN)
			queue_sweep_soon(qs); /* in vain until the next start */
		else
			retry_stalled(qs);
		return;
	}
	if (m)
		take_note(e, &r->parts[PART_NOTE]);
	free(r->memory);
	load_free(ld);
	e->load = NULL;
	if (m) {
		e->msg = m;
		entry_unlink(e);
		entry_begin(e);
	} else {
		damaged(e);
	}
	load_more(qs);
}

/* Read e, which is in no list, at the end of those that are being read. false: not now. */
static bool
load(struct entry *e)
{
	struct queue *q = e->queue;
	struct load *ld = calloc(1, sizeof(*ld));

	if (!ld)
		return false;
	ld->e = e;
	list_init(&ld->node);
	ld->read.done = loaded;
	if (!q->qs->store || store_read(q->qs->store, e->ref, &ld->read) != 0) {
		free(ld);
		return false;
	}
	e->load = ld;
	e->state = ENTRY_LOADING;
	entry_count_resident(e, true);
	q->qs->loading++;
	q->qs->loading_bytes += e->bytes;
	list_append(&q->loading[e->priority], &e->node);
	q->n_loading[e->priority]++;
	q->n_waiting[e->priority]++;
	return true;
}

/* Though memory is full, whoever finds nothing ready gets one: else nothing might leave. */
static bool
may_load(const struct queue *q, unsigned prio, uint64_t bytes)
{
	const struct queues *qs = q->qs;

	if (qs->loading == 0 && q->n_waiting[prio] == q->cold[prio].n)
		return true;
	return q->n_loading[prio] < AHEAD_MESSAGES && qs->loading_bytes + bytes <= AHEAD_BYTES &&
	       qs->used + bytes + QUEUE_OVERHEAD <= qs->cfg.max_memory;
}

/* The first of the cold becomes an entry that is being read. */
static bool
warm_first(struct queue *q, unsigned prio)
{
	struct slab *slab = &q->qs->messages->slab;
	struct cold c = *cold_first(&q->cold[prio]);
	struct entry *e = slab_alloc(slab, sizeof(*e));

	if (!e)
		return false;
	*e = (struct entry){ .queue = q, .seq = c.seq, .number = c.number, .sender = c.sender, .expires_ms = c.expires_ms,
		.ref = c.ref, .bytes = c.bytes, .entered_ms = (uint64_t)c.entered_s * 1000, .priority = (uint8_t)prio,
		.redelivered = c.redelivered, .undated = c.undated };
	/* What an earlier start had may have been sent by it. */
	e->sent = q->node_name[0] != '\0' && c.seq >> QUEUE_COUNTER_BITS != q->qs->cfg.start_count;
	list_init(&e->node);
	wheel_node_init(&e->timer);
	if (!load(e)) {
		slab_free(slab, e, sizeof(*e));
		return false;
	}
	cold_pop(&q->cold[prio], &c);
	q->n_waiting[prio]--; /* counted by load again */
	return true;
}

void
queue_load_ahead(struct queue *q, unsigned prio)
{
	struct cold *c;

	while ((c = cold_first(&q->cold[prio])) != NULL && q->n_loading[prio] < AHEAD_MESSAGES) {
		if (c->expires_ms != 0 && c->expires_ms <= loop_now_ms(q->qs->loop) && cold_end(q, c, WIRE_LEVEL_EXPIRED))
			continue;
		if (!may_load(q, prio, c->bytes) || !warm_first(q, prio)) {
			if (list_empty(&q->hungry_node))
				list_append(&q->qs->hungry, &q->hungry_node);
			/* Else whoever is being read looks again when it is here. */
			if (q->qs->loading == 0)
				queue_sweep_soon(q->qs);
			return;
		}
	}
}

void
entry_load(struct entry *e)
{
	if (load(e))
		return;
	/* Again in a while. */
	entry_delay(e, loop_now_ms(e->queue->qs->loop) + SWEEP_MS);
}

struct entry *
entry_front(struct queue *q, unsigned prio)
{
	struct list *first = list_first(&q->waiting[prio]);
	struct entry *e = first ? list_entry(first, struct entry, node) : NULL;
	struct entry *back = q->returned[prio];
	struct cold *c;

	if (!e || (back && back->seq < e->seq))
		e = back;
	c = cold_first(&q->cold[prio]);
	/* What waits in memory behind the cold is nothing to go on with, and may become cold itself. */
	if (c && (!e || c->seq < e->seq || q->n_waiting[prio] - q->cold[prio].n - q->n_loading[prio] < AHEAD_LOW))
		queue_load_ahead(q, prio);
	first = list_first(&q->loading[prio]);
	if (first && (!e || list_entry(first, struct entry, node)->seq < e->seq))
		return NULL;
	c = cold_first(&q->cold[prio]);
	return c && (!e || c->seq < e->seq) ? NULL : e;
}

/* ----------------------------------------------------------- leaving, the end -- */

void
entry_unload(struct entry *e)
{
	/* One that is stalled reads nothing now. */
	if (e->queue->qs->store && list_empty(&e->load->node))
		store_read_cancel(e->queue->qs->store, &e->load->read);
	load_free(e->load);
	e->load = NULL;
}

void
cold_leave(struct queue *q, struct cold *c, struct cold *ret)
{
	*ret = *c;
	cold_remove(&q->cold[ret->priority], c);
	q->n_waiting[ret->priority]--;
	q->n--;
	q->bytes -= ret->bytes;
	q->qs->n--;
	queue_disk_left(q, ret->bytes);
	queue_unstore(q, ret->ref, ret->seq);
	queue_room_back(q);
	queue_check_unused(q);
}

static bool
expire(void *arg, struct queue *q, struct cold *c)
{
	uint64_t now = loop_now_ms(q->qs->loop);
	uint64_t *left = arg;

	/* Without the memory for it: at the next sweep. */
	if (c->expires_ms == 0 || c->expires_ms > now || !cold_end(q, c, WIRE_LEVEL_EXPIRED))
		return true;
	return --*left > 0;
}

/* Those near the front are looked at when they are taken; the others now and then. */
static void
sweep(void *arg)
{
	struct queues *qs = arg;
	uint64_t left = QUEUE_PASS;
	bool more = false;

	load_more(qs);
	LIST_FOREACH (node, &qs->all) {
		struct queue *q = list_entry(node, struct queue, all_node);

		for (unsigned p = 0; p < WIRE_PRIORITIES && left > 0; p++) {
			cold_each_expired(&q->cold[p], loop_now_ms(qs->loop), expire, &left, q);
			more |= q->cold[p].n > 0;
		}
	}
	if (more || left == 0)
		loop_timer_start(&qs->sweep, left == 0 ? 0 : SWEEP_MS);
}

void
queue_loads_init(struct queues *qs)
{
	list_init(&qs->hungry);
	list_init(&qs->stalled);
	loop_timer_init(&qs->sweep, qs->loop, sweep, qs);
}

void
queue_loads_done(struct queues *qs)
{
	loop_timer_stop(&qs->sweep);
}

static bool
forget(void *arg, struct queue *q, struct cold *c)
{
	(void)arg;
	if (c->sender)
		c->sender->open--;
	cold_remove(&q->cold[c->priority], c);
	q->n_waiting[c->priority]--;
	q->n--;
	q->bytes -= c->bytes;
	q->qs->n--;
	return true;
}

void
queue_load_close(struct queue *q)
{
	list_remove(&q->hungry_node);
	for (unsigned p = 0; p < WIRE_PRIORITIES; p++) {
		cold_each(&q->cold[p], forget, NULL, q);
		cold_done(&q->cold[p]);
		LIST_FOREACH_SAFE (node, &q->loading[p])
			entry_discard(list_entry(node, struct entry, node));
	}
}
