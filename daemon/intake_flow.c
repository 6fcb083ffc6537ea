/* One flow's receiving end: its life in the book, and what it has to say. */
#include "intake_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A Credit frame says at least so much more, unless nothing is left. */
#define CREDIT_WORTH 16
#define CREDIT_WORTH_BYTES (16 * 1024)

static uint64_t
key_hash(const struct intake_env *env, struct wire_bytes producer, const char *queue, uint32_t priority)
{
	return hmap_hash(producer.data, producer.len, env->seed) ^ hmap_hash(queue, strlen(queue), env->seed + 1 + priority);
}

/* ------------------------------------------------------------------ book -- */

void
intake_book_init(struct intake_book *b, const struct intake_owner *owner, uint32_t max_lingering)
{
	b->owner = *owner;
	hmap_init(&b->flows);
	list_init(&b->lingering);
	b->n_lingering = 0;
	b->n_named = 0;
	b->max_lingering = max_lingering;
}

void
intake_book_done(struct intake_env *env, struct intake_book *b)
{
	struct hmap_node *n;

	(void)env;
	while ((n = hmap_walk(&b->flows, NULL)) != NULL)
		intake_flow_free(hmap_entry(n, struct intake_flow, node));
	hmap_done(&b->flows);
}

bool
intake_book_has_marks(const struct intake_book *b)
{
	for (struct hmap_node *n = hmap_walk(&b->flows, NULL); n; n = hmap_walk(&b->flows, n))
		if (hmap_entry(n, struct intake_flow, node)->in.mark > 0)
			return true;
	return false;
}

bool
intake_flow_is_free(const struct intake_flow *fl)
{
	return fl->sender.open == 0 && fl->sender.unsynced == 0;
}

#define ROOM_LOOKS 32 /* at flows that may go */

/* Forget the oldest marks: those past their time, and one more if the book is full. */
static bool
make_room(struct intake_env *env, struct intake_book *b)
{
	uint64_t now = loop_now_ms(env->loop);
	struct list waiting;
	unsigned looks = 0;

	if (b->max_lingering == 0)
		return true;
	list_init(&waiting);
	LIST_FOREACH_SAFE (n, &b->lingering) {
		struct intake_flow *fl = list_entry(n, struct intake_flow, lingering);

		if (looks++ == ROOM_LOOKS)
			break;
		if (b->n_lingering < b->max_lingering && now - fl->away_since_ms < env->linger_ms && !fl->closed)
			break;
		if (intake_flow_is_free(fl) && !fl->named) {
			intake_flow_free(fl);
			continue;
		}
		/* Whose messages are on their way still: looked at again behind the others. */
		list_remove(n);
		list_append(&waiting, n);
	}
	list_splice(&b->lingering, &waiting);
	return b->n_lingering < b->max_lingering;
}

struct intake_flow *
intake_flow_find(const struct intake_env *env, const struct intake_book *b, struct wire_bytes producer, const char *queue,
    uint32_t priority)
{
	struct hmap_node *n = hmap_find(&b->flows, key_hash(env, producer, queue, priority));

	for (; n; n = hmap_find_next(n)) {
		struct intake_flow *fl = hmap_entry(n, struct intake_flow, node);

		if (fl->priority == priority && strcmp(fl->queue, queue) == 0 &&
		    wire_bytes_equal(wire_bytes(fl->producer, fl->producer_len), producer))
			return fl;
	}
	return NULL;
}

/* ------------------------------------------------------------------ flow -- */

/* Outcomes are gathered as ranges; a full or different batch goes out first. */
static void
told(struct sender *s, uint64_t number, enum wire_level level, enum wire_reject_code code, const char *reason)
{
	struct intake_flow *fl = list_entry(s, struct intake_flow, sender);

	if (!fl->intake)
		return;
	if (!reason)
		reason = "";
	if (fl->n_told > 0) {
		uint64_t *last = fl->told[fl->n_told - 1];
		bool same = fl->told_level == level && fl->told_code == code && strcmp(fl->told_reason, reason) == 0;

		if (same && number == last[1] + 1) {
			last[1] = number;
			return;
		}
		if (!same || number <= last[1] || fl->n_told == INTAKE_TOLD_MAX)
			intake_flow_say(fl);
	}
	fl->told_level = level;
	fl->told_code = code;
	strncpy(fl->told_reason, reason, sizeof(fl->told_reason) - 1);
	fl->told[fl->n_told][0] = fl->told[fl->n_told][1] = number;
	fl->n_told++;
	intake_flow_dirty(fl);
}

/* Something of it is synced: a confirm may be due. */
static void
stored(struct sender *s, uint64_t number)
{
	struct intake_flow *fl = list_entry(s, struct intake_flow, sender);

#ifdef PLANT_MARK_APART_QUEUE
	store_mark(fl->env->store, fl->number, number);
#endif
	fl->stored = number;
	fl->confirm_due = true;
	intake_flow_dirty(fl);
}

uint64_t
intake_flow_confirmed(const struct intake_flow *fl)
{
#ifdef PLANT_CONFIRM_BEFORE_SYNC
	return fl->in.mark;
#endif
	/* In order, the memory messages between the durable ones included. */
	return fl->sender.unsynced == 0 || fl->stored > fl->in.mark ? fl->in.mark : fl->stored;
}

enum wire_level
intake_flow_level(const struct intake_flow *fl)
{
	if (!fl->is_outbound && !fl->intake->who.peer)
		return WIRE_LEVEL_ARRIVED;
	if (!fl->inlet.queue)
		return WIRE_LEVEL_ACCEPTED;
	/* It has no number if it was made when the store had failed: what is confirmed there is of an earlier one of that name. */
	return queue_number(fl->inlet.queue) != 0 || (queue_conf(fl->inlet.queue)->durable && fl->env->store) ?
	    WIRE_LEVEL_STORED : WIRE_LEVEL_ACCEPTED;
}

int
intake_flow_new(struct intake_env *env, struct intake_book *b, struct wire_bytes producer, const char *queue,
    uint32_t priority, struct intake_flow **ret)
{
	struct intake_flow *fl;

	if (producer.len > INTAKE_PRODUCER_MAX || !make_room(env, b))
		return -ENOBUFS;
	fl = calloc(1, sizeof(*fl));
	if (!fl)
		return -ENOMEM;
	fl->env = env;
	fl->book = b;
	if (producer.len > 0)
		memcpy(fl->producer, producer.data, producer.len);
	fl->producer_len = producer.len;
	strncpy(fl->queue, queue, sizeof(fl->queue) - 1);
	fl->priority = priority;
	fl->sender.told = told;
	fl->sender.stored = stored;
	list_init(&fl->answering);
	list_init(&fl->dirty);
	list_init(&fl->lingering);
	list_init(&fl->orphan);
	if (hmap_add(&b->flows, &fl->node, key_hash(env, producer, queue, priority)) != 0) {
		free(fl);
		return -ENOMEM;
	}
	*ret = fl;
	return 0;
}

static void
unlinger(struct intake_flow *fl)
{
	if (list_empty(&fl->lingering))
		return;
	list_remove(&fl->lingering);
	fl->book->n_lingering--;
}

void
intake_flow_name(struct intake_flow *fl, bool named)
{
	fl->book->n_named += named;
	fl->book->n_named -= fl->named;
	fl->named = named;
}

void
intake_flow_free(struct intake_flow *fl)
{
	static const struct subject daemon = { .is_admin = true };
	struct queue *q;
	const char *reason;

	fl->closed = false; /* detach leaves it to us */
	if (fl->intake)
		intake_flow_detach(fl);
	intake_flow_drop_partial(fl);
	if (fl->sender.open > 0 &&
	    router_find(fl->env->router, &daemon, wire_string(fl->queue), &q, &reason) == WIRE_VERDICT_OK)
		queue_forget(q, &fl->sender);
	if (fl->sender.unsynced > 0)
		queues_forget(router_queues(fl->env->router), &fl->sender);
	assert(intake_flow_is_free(fl));
	if (fl->number != 0 && fl->env->store)
		store_remove_flow(fl->env->store, fl->number);
	unlinger(fl);
	intake_flow_name(fl, false);
	hmap_remove(&fl->book->flows, &fl->node);
	free(fl);
}

void
intake_flow_forget(struct intake_flow *fl)
{
	struct hmap *flows = &fl->book->flows;
	int r;

	assert(!fl->intake);
	if (intake_flow_is_free(fl)) {
		intake_flow_free(fl);
		return;
	}
	/* Outcomes of its messages still come here. */
	hmap_remove(flows, &fl->node);
	fl->producer_len = sizeof(fl->producer);
	loop_random(fl->env->loop, fl->producer, fl->producer_len);
	r = hmap_add(flows, &fl->node, key_hash(fl->env, wire_bytes(fl->producer, fl->producer_len), fl->queue, fl->priority));
	assert(r == 0); /* it was in the table a moment ago */
	(void)r;
	if (fl->number != 0 && fl->env->store)
		store_remove_flow(fl->env->store, fl->number);
	fl->number = 0;
	unlinger(fl);
	intake_flow_name(fl, false);
	fl->closed = true;
	intake_flow_linger(fl);
}

static void
room(struct inlet *inlet)
{
	struct intake_flow *fl = list_entry(inlet, struct intake_flow, inlet);

	intake_flow_dirty(fl);
}

static void
gone(struct inlet *inlet)
{
	/* The inlet is detached: items that still come find no queue and end the session. */
	(void)inlet;
}

/* Of the partial body what is not here yet. */
static uint64_t
left_of(const struct intake_flow *fl)
{
	return fl->partial->body_len - fl->partial->body_have;
}

void
intake_flow_attach(struct intake_flow *fl, struct intake *in, uint32_t id, struct queue *q)
{
	unlinger(fl);
	list_remove(&fl->orphan);
	fl->intake = in;
	fl->id = id;
	fl->away_since_ms = loop_now_ms(fl->env->loop);
	fl->closed = false;
	fl->is_outbound = queue_node(q) != NULL;
	fl->confirm_due = fl->store_failed = false;
	fl->n_told = 0;
	in->flows[id] = (struct intake_slot){ .flow = fl };
	in->n_flows++;
	queue_inlet_open(q, &fl->inlet, in->who.peer != NULL, room, gone);
#ifndef PLANT_MARK_APART_QUEUE
	fl->inlet.flow = fl->number;
#endif
	fl->inlet.confirms = &fl->sender;
	flow_in_open(&fl->in);
	if (fl->in.partial == 0 || (fl->partial_reserved > 0 && !queue_resume_partial(&fl->inlet, left_of(fl))))
		intake_flow_drop_partial(fl);
}

/* What the partial body needs if the flow's credit does not cover it. */
static uint64_t
own_room(const struct intake_flow *fl)
{
	return message_bytes(fl->partial) + QUEUE_OVERHEAD;
}

void
intake_flow_linger(struct intake_flow *fl)
{
	fl->away_since_ms = loop_now_ms(fl->env->loop);
	if (fl->book->max_lingering == 0 || fl->named)
		return;
	if (fl->closed)
		list_prepend(&fl->book->lingering, &fl->lingering);
	else
		list_append(&fl->book->lingering, &fl->lingering);
	fl->book->n_lingering++;
}

/*
 * What is here of a body outlives the session, in the pool of partial bodies;
 * the oldest there makes room for others.
 */
static void
orphan_partial(struct intake_flow *fl)
{
	fl->intake->window_open -= fl->partial_window;
	fl->partial_window = 0;
	fl->partial_wants = fl->partial_granted = false;
	fl->in.partial_live = false;
	/* What was swallowed, or never got here, cannot be gone on with. */
	if (!fl->partial) {
		flow_in_forget_partial(&fl->in);
		return;
	}
	if (fl->partial_started) {
		queue_abandoned(&fl->inlet, message_bytes(fl->partial));
		fl->partial_started = false;
	}
	/* Whoever waits for room found no orphan to put out, and is not told of new ones. */
	if (queue_partial_starved(router_queues(fl->env->router))) {
		intake_flow_drop_partial(fl);
		return;
	}
	if (fl->partial_reserved == 0) {
		if (!intake_flow_reserve(fl, own_room(fl))) {
			intake_flow_drop_partial(fl);
			return;
		}
		fl->partial_reserved = own_room(fl);
	}
	list_append(&fl->env->orphans, &fl->orphan);
}

void
intake_flow_detach(struct intake_flow *fl)
{
	struct intake *in = fl->intake;

	orphan_partial(fl);
	list_remove(&fl->dirty);
	list_remove(&fl->answering);
	fl->answer_at = 0;
	in->flows[fl->id].flow = NULL;
	in->n_flows--;
	fl->intake = NULL;
	fl->id = 0;
	fl->n_told = 0;
	if (fl->inlet.queue)
		queue_inlet_close(&fl->inlet);
	/* A name outlives its handles. */
	fl->closed &= !fl->named;
	if (fl->closed && intake_flow_is_free(fl))
		intake_flow_free(fl);
	else
		intake_flow_linger(fl);
}

/* --------------------------------------------------------------- partial -- */

void
intake_flow_drop_partial(struct intake_flow *fl)
{
	if (fl->partial) {
		if (fl->partial_started && fl->inlet.queue)
			queue_abandoned(&fl->inlet, message_bytes(fl->partial));
		intake_flow_drop_ahead(fl);
		message_unref(fl->partial);
		fl->partial = NULL;
	}
	if (fl->partial_reserved > 0)
		queue_release_partial(router_queues(fl->env->router), &fl->inlet, fl->partial_reserved);
	if (fl->intake)
		fl->intake->window_open -= fl->partial_window;
	fl->partial_window = 0;
	fl->partial_reserved = 0;
	fl->partial_started = fl->partial_large = fl->partial_wants = fl->partial_granted = false;
	list_remove(&fl->orphan);
	/* What is swallowed without being kept goes on being swallowed. */
	if (!fl->in.partial_live)
		flow_in_forget_partial(&fl->in);
}

bool
intake_flow_reserve(struct intake_flow *fl, uint64_t bytes)
{
	struct queues *qs = router_queues(fl->env->router);

	while (!queue_reserve_partial(qs, fl->inlet.queue ? &fl->inlet : NULL, bytes)) {
		struct list *oldest = list_first(&fl->env->orphans);

		if (!oldest)
			return false;
		intake_flow_drop_partial(list_entry(oldest, struct intake_flow, orphan));
	}
	return true;
}

/* ---------------------------------------------------------------- saying -- */

void
intake_flow_dirty(struct intake_flow *fl)
{
	if (!fl->intake || !list_empty(&fl->dirty))
		return;
	list_append(&fl->intake->dirty, &fl->dirty);
	loop_defer(fl->env->loop, &fl->intake->flush);
}

bool
intake_flow_grant(struct intake_flow *fl)
{
	struct credit *c = &fl->in.credit;
	uint64_t messages, bytes;

	if (!fl->inlet.queue || fl->store_failed)
		return false;
	if (!fl->env->stopping)
		queue_grant(&fl->inlet, &messages, &bytes);
	/* What is reserved may be used: also again, what was used by something not accepted. */
	messages = c->used_messages + fl->inlet.reserved_messages;
	bytes = c->used_bytes + fl->inlet.reserved_bytes;
	if (messages - c->granted_messages < CREDIT_WORTH && bytes - c->granted_bytes < CREDIT_WORTH_BYTES &&
	    credit_left(c) && credit_bytes_left(c) >= QUEUE_GRANT_MIN)
		return false;
	return (messages > c->granted_messages || bytes > c->granted_bytes) &&
	       credit_grant(c, messages > c->granted_messages ? messages : c->granted_messages,
		   bytes > c->granted_bytes ? bytes : c->granted_bytes);
}

static void
say_confirm(struct intake_flow *fl)
{
	struct wire_frame f = { .kind = WIRE_CONFIRM };

	fl->confirm_due = false;
	if (intake_flow_confirmed(fl) == 0)
		return;
	f.u.confirm.flow = fl->id;
	f.u.confirm.number = fl->in.confirmed = intake_flow_confirmed(fl);
	f.u.confirm.level = intake_flow_level(fl);
	session_send(fl->intake->session, &f);
}

static void
say_progress(struct intake_flow *fl)
{
	struct wire_frame f = { .kind = WIRE_PROGRESS };
	uint8_t ranges[INTAKE_TOLD_MAX * 2 * 10];
	size_t len = 0;

	for (size_t i = 0; i < fl->n_told; i++) {
		len += wire_put_number(ranges + len, fl->told[i][0]);
		len += wire_put_number(ranges + len, fl->told[i][1]);
	}
	f.u.progress.flow = fl->id;
	f.u.progress.level = fl->told_level;
	f.u.progress.ranges = (struct wire_numbers){ ranges, len };
	f.u.progress.code = fl->told_code;
	f.u.progress.reason = wire_string(fl->told_reason);
	session_send(fl->intake->session, &f);
	fl->n_told = 0;
}

static void
say_credit(struct intake_flow *fl)
{
	struct wire_frame f = { .kind = WIRE_CREDIT };

	if (fl->partial_wants && !fl->partial_large) {
		fl->partial_wants = false;
		f.u.credit.number = fl->in.partial;
	} else if (fl->partial_wants &&
		   (fl->partial_reserved > 0 || intake_flow_reserve(fl, own_room(fl)))) {
		fl->partial_wants = false;
		fl->partial_granted = true;
		fl->partial_reserved = own_room(fl);
		f.u.credit.number = fl->in.partial;
		/* Reserved bodies do not count in the session's window. */
		fl->intake->window_open -= fl->partial_window;
		fl->partial_window = 0;
	}
	if (!intake_flow_grant(fl) && f.u.credit.number == 0)
		return;
	f.u.credit.flow = fl->id;
	f.u.credit.messages = fl->in.credit.granted_messages;
	f.u.credit.bytes = fl->in.credit.granted_bytes;
	session_send(fl->intake->session, &f);
}

void
intake_flow_say(struct intake_flow *fl)
{
	if (fl->confirm_due)
		say_confirm(fl);
	if (fl->n_told > 0)
		say_progress(fl);
	say_credit(fl);
}

bool
intake_recheck(struct intake *in, bool is_admin)
{
	in->who.is_admin = is_admin;
	for (uint32_t id = 0; id < in->cap; id++) {
		const struct intake_flow *fl = in->flows[id].flow;

		if (fl && fl->inlet.queue && !router_may(&in->who, ROUTER_SEND, fl->inlet.queue))
			return false;
	}
	return true;
}
