/* What queues tell the store, and what it tells them. */
#include "queue_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FLAG_MAYBE_DUPLICATE 1
#define FLAG_OFFERED 2 /* a consumer may see it as soon as it is synced */
#define FLAG_UNDATED 4 /* was a dead letter: the time to live in its record is over with */
#define FLAG_AGES 8    /* was moved by an operator: its queue's time to live counts beside that in its record */
#define DEFINITION_MAX 512

struct store *
queues_store(const struct queues *qs)
{
	return qs->store;
}

uint32_t
queue_number(const struct queue *q)
{
	return q->number;
}

bool
queue_keeps(const struct queue *q, enum message_durability durability)
{
	return q->qs->store && q->number != 0 && q->conf.durable && durability != MESSAGE_MEMORY;
}

/* ------------------------------------------------------------------ definition -- */

/* Under this number. 1: it is not to be kept. */
static int
define(struct queue *q, uint32_t number)
{
	const struct queues_config *cfg = &q->qs->cfg;
	uint8_t definition[DEFINITION_MAX];
	size_t len = cfg->definition(cfg->arg, q, definition, sizeof(definition));

	return len == 0 ? 1 : store_define_queue(q->qs->store, number, (struct store_bytes){ definition, len });
}

int
queues_define(struct queues *qs, struct queue *q)
{
	uint32_t number;
	int r;

	if (!qs->store || q->number != 0 || !q->conf.durable || !qs->cfg.definition)
		return 0;
	r = queue_disk_open(q, true);
	if (r < 0)
		return r;
	number = store_new_queue(qs->store);
	r = define(q, number);
	if (r == 0)
		q->number = number;
	else
		queue_disk_close(q);
	return r < 0 ? r : 0;
}

int
queue_make_durable(struct queue *q)
{
	int r;

	if (q->conf.durable || !q->qs->store)
		return 0;
	if (!list_empty(&q->inlets))
		return -EBUSY;
	q->conf.durable = true;
	r = queues_define(q->qs, q);
	if (r < 0)
		q->conf.durable = false;
	return r;
}

int
queue_define_anew(struct queue *q)
{
	int r = q->qs->store && q->number != 0 ? define(q, q->number) : 0;

	return r < 0 ? r : 0;
}

int
queues_set_store(struct queues *qs, struct store *store)
{
	qs->store = store;
	if (store)
		qs->disk_unit = store_cost(store, 0);
	/* Those that are there already come before the others, whatever min_bytes are by now. */
	LIST_FOREACH (node, &qs->all) {
		struct queue *q = list_entry(node, struct queue, all_node);
		int r = store && q->number != 0 ? queue_disk_open(q, false) : 0;

		if (r < 0)
			return r;
	}
	LIST_FOREACH (node, &qs->all) {
		int r = queues_define(qs, list_entry(node, struct queue, all_node));

		if (r < 0)
			return r;
	}
	return 0;
}

/* --------------------------------------------------------------------- entries -- */

/* A large body that has not been written ahead yet. 0 or a negative errno. */
static int
put_body(struct store *s, const struct message *m, struct store_message *sm)
{
	int r;

	if (m->body_len <= store_piece_max(s))
		return 0;
	sm->body = store_body_new(s);
	if (!sm->body)
		return -ENOMEM;
	r = store_body_append(sm->body, m->body, (size_t)m->body_len);
	if (r < 0)
		store_body_drop(sm->body);
	return r;
}

/* Everything it consists of lives as long as the entry, and the store lets go when told that that has left. */
static int
put(struct entry *e, struct queue *q, struct inlet *in, uint64_t number)
{
	const struct message *m = e->msg;
	struct wire_bytes type = intern_bytes(m->type), origin = intern_bytes(m->origin);
	struct store_message sm = {
		.queue = q->number,
		.seq = e->seq,
		.flow = in->flow,
		.number = number,
		.priority = e->priority,
		.flags = (e->redelivered ? FLAG_MAYBE_DUPLICATE : 0) | (q->n_consumers > 0 ? FLAG_OFFERED : 0),
		.counter = m->counter,
		.expires_ms = e->expires_ms,
		.not_before_ms = m->not_before_ms,
		.parts = {
			[PART_TYPE] = { type.data, type.len },
			[PART_ORIGIN] = { origin.data, origin.len },
			[PART_PACKED] = { m->data, m->packed_len },
			[PART_NOTE] = { e->reason, e->reason ? strlen(e->reason) : 0 },
			[PART_BODY] = { m->body, (size_t)m->body_len },
		},
		.body = in->body,
	};
	int r = in->body ? 0 : put_body(q->qs->store, m, &sm);

	if (r < 0)
		return r;
	if (sm.body)
		sm.parts[PART_BODY].data = NULL;
	r = store_put(q->qs->store, &sm, &e->ref);
	if (r == 0)
		in->body = NULL;
	else if (!in->body)
		store_body_drop(sm.body);
	return r;
}

/* e, and the confirm of its number, wait until everything up to ticket is synced. */
static void
wait_for(struct unsynced *u, uint64_t ticket, struct entry *e, const struct queue *q, const struct inlet *in, uint64_t number)
{
	*u = (struct unsynced){ .ticket = ticket, .sender = in->confirms, .number = number, .entry = e };
	if (u->sender)
		u->sender->unsynced++;
	list_append(&q->qs->unsynced, &u->node);
	e->unsynced = u;
}

int
entry_store(struct entry *e, struct queue *q, struct inlet *in, uint64_t number)
{
	struct queues *qs = q->qs;
	struct unsynced *u = slab_alloc(&qs->messages->slab, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	r = put(e, q, in, number);
	if (r < 0) {
		slab_free(&qs->messages->slab, u, sizeof(*u));
		return r;
	}
	wait_for(u, store_ticket(qs->store), e, q, in, number);
	queue_disk_stored(q, e->bytes);
	q->n_stored++;
	return 0;
}

int
entry_wait_turn(struct entry *e, struct queue *q, const struct inlet *in, uint64_t number)
{
	struct queues *qs = q->qs;
	struct unsynced *u;

	/* Whatever overtakes on a link makes duplicates of what it overtook. */
	if (q->node_name[0] != '\0' ? q->n_syncing == 0 : !in->confirms || in->confirms->unsynced == 0)
		return 0;
	u = slab_alloc(&qs->messages->slab, sizeof(*u));
	if (!u)
		return -ENOMEM;
	wait_for(u, list_entry(qs->unsynced.prev, struct unsynced, node)->ticket, e, q, in, number);
	return 1;
}

void
entry_store_anew(struct entry *e, struct queue *q)
{
	struct inlet nobody = { .queue = q };

	if (queue_keeps(q, MESSAGE_DURABLE))
		(void)entry_store(e, q, &nobody, 0);
}

void
entry_forget_sync(struct entry *e)
{
	if (e->unsynced)
		e->unsynced->entry = NULL;
	e->unsynced = NULL;
}

void
queue_unstore(struct queue *q, store_ref ref, uint64_t seq)
{
	struct store *s = q->qs->store;

	q->n_stored--;
	/* At the end of a daemon the store goes first: what is there is found again. */
	if (!s)
		return;
	store_done(s, ref, q->number, seq);
	q->done_ticket = store_ticket(s);
}

bool
queue_is_settled(const struct queue *q)
{
	return !q->qs->store || q->done_ticket <= store_synced(q->qs->store);
}

void
entry_unstore(struct entry *e)
{
	if (e->ref == 0)
		return;
	queue_unstore(e->queue, e->ref, e->seq);
	e->ref = 0;
	queue_disk_left(e->queue, e->bytes);
	entry_forget_sync(e);
}

void
entry_store_move(struct entry *e, struct queue *to, uint64_t to_seq)
{
	struct queue *q = e->queue;
	struct store_bytes note = { e->reason, e->reason ? strlen(e->reason) : 0 };

	if (e->ref == 0)
		return;
	/* What the queue it goes to does not keep is a memory message from now on. */
	if (!q->qs->store || !queue_keeps(to, MESSAGE_AS_QUEUE) ||
	    store_move(q->qs->store, e->ref, q->number, e->seq, to->number, to_seq,
		FLAG_UNDATED | (to->n_consumers > 0 ? FLAG_OFFERED : 0), note) < 0) {
		entry_unstore(e);
		return;
	}
	e->undated = true;
	queue_disk_left(q, e->bytes);
	queue_disk_stored(to, e->bytes);
	q->done_ticket = store_ticket(q->qs->store);
	q->n_stored--;
	to->n_stored++;
}

int
queue_store_move(struct queue *from, struct queue *to, store_ref ref, uint64_t from_seq, uint64_t to_seq, bool redelivered,
    bool undated)
{
	/* Why it was a dead letter is no news any more. */
	struct store_bytes note = { from->dead_letter ? "" : NULL, 0 };
	int r = store_move(from->qs->store, ref, from->number, from_seq, to->number, to_seq,
	    (redelivered ? FLAG_MAYBE_DUPLICATE : 0) | (undated ? FLAG_UNDATED : FLAG_AGES) | (to->n_consumers > 0 ? FLAG_OFFERED : 0), note);

	if (r == 0)
		from->done_ticket = store_ticket(from->qs->store);
	return r;
}

/* ------------------------------------------------------------------ what is synced -- */

/* It may be offered, if it waited for that; or go from memory. */
static void
entry_synced(struct entry *e)
{
	e->unsynced = NULL;
	if (e->state == ENTRY_SYNCING) {
		entry_unlink(e);
		entry_begin(e);
	}
	entry_maybe_cool(e);
}

/* Consumers may see what is there. */
static void
offer(struct queue *q)
{
	list_remove(&q->offering_node);
	q->offer_ticket = 0;
	queue_wake(q, queue_waiting(q, -1));
}

void
queues_offered(struct queues *qs, uint32_t number, uint64_t seq)
{
	LIST_FOREACH_SAFE (node, &qs->offering) {
		struct queue *q = list_entry(node, struct queue, offering_node);

		if (q->number == number && q->offered <= seq)
			offer(q);
	}
}

static void
offered(struct queues *qs, uint64_t ticket)
{
	LIST_FOREACH_SAFE (node, &qs->offering) {
		struct queue *q = list_entry(node, struct queue, offering_node);

		if (q->offer_ticket > ticket)
			continue;
		offer(q);
	}
}

void
queues_synced(struct queues *qs, uint64_t ticket)
{
	struct list *node;

	while ((node = list_first(&qs->unsynced)) != NULL) {
		struct unsynced *u = list_entry(node, struct unsynced, node);

		if (u->ticket > ticket)
			break;
		list_remove(node);
		if (u->entry)
			entry_synced(u->entry);
		if (u->sender) {
			u->sender->unsynced--;
			u->sender->stored(u->sender, u->number);
		}
		slab_free(&qs->messages->slab, u, sizeof(*u));
	}
	offered(qs, ticket);
}

void
queues_forget(struct queues *qs, struct sender *s)
{
	LIST_FOREACH (node, &qs->unsynced) {
		struct unsynced *u = list_entry(node, struct unsynced, node);

		if (u->sender != s)
			continue;
		u->sender = NULL;
		if (--s->unsynced == 0)
			return;
	}
}

void
queue_unsynced_done(struct queues *qs)
{
	LIST_FOREACH_SAFE (node, &qs->unsynced) {
		struct unsynced *u = list_entry(node, struct unsynced, node);

		list_remove(node);
		if (u->sender)
			u->sender->unsynced--;
		slab_free(&qs->messages->slab, u, sizeof(*u));
	}
}

/*
 * That a message may have been seen must be known after a crash. What comes
 * while a consumer is there says so itself; for what is there when the first
 * one looks it is written down before it sees anything.
 */
bool
queue_may_offer(struct queue *q)
{
	struct queues *qs = q->qs;

	if (!qs->store || q->number == 0 || q->node_name[0] != '\0')
		return true;
	if (q->offer_ticket != 0)
		return false;
	if (q->offered >= q->offer_up_to || q->n == 0)
		return true;
	q->offered = q->offer_up_to;
	store_offered(qs->store, q->number, q->offered);
	store_hurry(qs->store);
	q->offer_ticket = store_ticket(qs->store);
	list_append(&qs->offering, &q->offering_node);
	return false;
}

/* --------------------------------------------------------------------- restoring -- */

void
queue_restore(struct queue *q, uint32_t number, uint64_t offered_to)
{
	q->number = number;
	q->offered = offered_to;
}

/* It waits for its time: an entry without its body. */
static int
restore_delayed(struct queue *q, const struct store_found *f, const struct cold *c)
{
	struct entry *e = slab_alloc(&q->qs->messages->slab, sizeof(*e));

	if (!e)
		return -ENOMEM;
	*e = (struct entry){ .queue = q, .seq = c->seq, .number = c->number, .sender = c->sender, .expires_ms = c->expires_ms,
		.ref = c->ref, .bytes = f->bytes, .entered_ms = loop_now_ms(q->qs->loop), .priority = c->priority,
		.redelivered = c->redelivered, .undated = c->undated };
	list_init(&e->node);
	wheel_node_init(&e->timer);
	entry_count_in(e, q, false);
	entry_delay(e, f->not_before_ms);
	return 0;
}

int
queue_restore_message(struct queue *q, const struct store_found *f, struct sender *sender)
{
	struct queues *qs = q->qs;
	uint64_t now = loop_now_ms(qs->loop);
	bool here = q->node_name[0] == '\0';
	struct cold c = { .seq = f->seq, .number = f->number, .sender = here ? NULL : sender, .expires_ms = f->expires_ms,
		.ref = f->ref, .bytes = (uint32_t)f->bytes, .entered_s = (uint32_t)(now / 1000),
		.priority = f->priority < WIRE_PRIORITIES ? f->priority : WIRE_PRIORITY_NORMAL };

	/* Once a dead letter it has no time to live but that of the queue it was moved to. */
	c.undated = q->dead_letter || (f->flags & FLAG_UNDATED);
	if (c.undated)
		c.expires_ms = 0;
	/* When it was moved here nobody knows any more: its queue's time to live counts anew. */
	if ((c.undated || (f->flags & FLAG_AGES)) && !q->dead_letter && q->conf.ttl != 0 &&
	    (c.expires_ms == 0 || now + q->conf.ttl < c.expires_ms))
		c.expires_ms = now + q->conf.ttl;
#ifdef PLANT_SEQ_REUSED
	if (q->counter < f->seq)
		q->counter = f->seq;
#endif
	/*
	 * Of an outbound queue nobody wrote down what was sent, and to which boots of
	 * the peer: one that is gone may have offered it, and lost it with its mark.
	 */
	c.redelivered = !here || (f->flags & (FLAG_MAYBE_DUPLICATE | FLAG_OFFERED)) || f->seq <= q->offered;
	if (here && !q->dead_letter && f->not_before_ms > now) {
		int r = restore_delayed(q, f, &c);

		if (r < 0)
			return r;
	} else {
		if (!cold_push(&q->cold[c.priority], &c))
			return -ENOMEM;
		q->n++;
		qs->n++;
		q->bytes += f->bytes;
		q->n_waiting[c.priority]++;
		if (c.expires_ms != 0 && !qs->sweep.armed)
			loop_timer_start(&qs->sweep, 0);
	}
	q->counters.present++;
	q->n_stored++;
	if (!here && q->in_doubt[c.priority] < f->seq)
		q->in_doubt[c.priority] = f->seq;
	if (c.sender)
		c.sender->open++;
	queue_wake(q, 1);
	queue_check_unused(q);
	return 0;
}

void
queue_set_may_be_known(struct queue *q, uint64_t up_to)
{
	q->may_be_known = up_to;
}

uint64_t
queue_may_be_known(const struct queue *q)
{
	return q->may_be_known;
}
