/* One flow's receiving end: its life in the book, and what it has to say. */
#include "intake_internal.h"

#include <assert.h>
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
intake_book_init(struct intake_book *b, uint32_t max_lingering)
{
	hmap_init(&b->flows);
	list_init(&b->lingering);
	b->n_lingering = 0;
	b->max_lingering = max_lingering;
	b->had_marks = false;
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

static struct queue *
find_queue(const struct intake_flow *fl)
{
	static const struct subject daemon = { .is_admin = true };
	struct queue *q;
	const char *reason;

	return router_find(fl->env->router, &daemon, wire_string(fl->queue), &q, &reason) == WIRE_VERDICT_OK ? q : NULL;
}

void
intake_book_restarted(struct intake_book *b, uint32_t start_count)
{
	struct list gone;

	assert(b->max_lingering == 0);
	list_init(&gone);
	for (struct hmap_node *n = hmap_walk(&b->flows, NULL); n; n = hmap_walk(&b->flows, n)) {
		struct intake_flow *fl = hmap_entry(n, struct intake_flow, node);

		if (!fl->intake && fl->in.mark >> QUEUE_COUNTER_BITS < start_count && !find_queue(fl))
			list_append(&gone, &fl->lingering);
	}
	LIST_FOREACH_SAFE (n, &gone) {
		struct intake_flow *fl = list_entry(n, struct intake_flow, lingering);

		b->had_marks |= fl->in.mark > 0;
		list_remove(n);
		intake_flow_free(fl);
	}
}

bool
intake_book_has_marks(const struct intake_book *b)
{
	if (b->had_marks)
		return true;
	for (struct hmap_node *n = hmap_walk(&b->flows, NULL); n; n = hmap_walk(&b->flows, n))
		if (hmap_entry(n, struct intake_flow, node)->in.mark > 0)
			return true;
	return false;
}

/* Forget the oldest marks: those past their time, and one more if the book is full. */
static bool
make_room(struct intake_env *env, struct intake_book *b)
{
	uint64_t now = loop_now_ms(env->loop);

	if (b->max_lingering == 0)
		return true;
	LIST_FOREACH_SAFE (n, &b->lingering) {
		struct intake_flow *fl = list_entry(n, struct intake_flow, lingering);

		if (b->n_lingering < b->max_lingering && now - fl->away_since_ms < env->linger_ms && !fl->closed)
			break;
		if (fl->sender.open == 0)
			intake_flow_free(fl);
	}
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

struct intake_flow *
intake_flow_new(struct intake_env *env, struct intake_book *b, struct wire_bytes producer, const char *queue,
    uint32_t priority)
{
	struct intake_flow *fl;

	if (producer.len > INTAKE_PRODUCER_MAX || !make_room(env, b))
		return NULL;
	fl = calloc(1, sizeof(*fl));
	if (!fl)
		return NULL;
	fl->env = env;
	fl->book = b;
	if (producer.len > 0)
		memcpy(fl->producer, producer.data, producer.len);
	fl->producer_len = producer.len;
	strncpy(fl->queue, queue, sizeof(fl->queue) - 1);
	fl->priority = priority;
	fl->sender.told = told;
	list_init(&fl->dirty);
	list_init(&fl->lingering);
	list_init(&fl->orphan);
	list_init(&fl->fed);
	if (hmap_add(&b->flows, &fl->node, key_hash(env, producer, queue, priority)) != 0) {
		free(fl);
		return NULL;
	}
	return fl;
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
intake_flow_free(struct intake_flow *fl)
{
	struct queue *q;

	fl->closed = false; /* detach leaves it to us */
	if (fl->intake)
		intake_flow_detach(fl);
	intake_flow_drop_partial(fl);
	if (fl->sender.open > 0 && (q = find_queue(fl)) != NULL)
		queue_forget(q, &fl->sender);
	assert(fl->sender.open == 0);
	unlinger(fl);
	hmap_remove(&fl->book->flows, &fl->node);
	free(fl);
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

void
intake_flow_attach(struct intake_flow *fl, struct intake *in, uint32_t id, struct queue *q)
{
	unlinger(fl);
	list_remove(&fl->orphan);
	fl->intake = in;
	fl->id = id;
	fl->closed = false;
	fl->is_outbound = queue_node(q) != NULL;
	fl->confirm_due = false;
	fl->n_told = 0;
	in->flows[id] = fl;
	in->n_flows++;
	queue_inlet_open(q, &fl->inlet, in->who.peer != NULL, room, gone);
	flow_in_open(&fl->in);
	if (fl->in.partial == 0)
		intake_flow_drop_partial(fl);
}

/*
 * What is here of a body outlives the session, in the pool of partial bodies;
 * the oldest there makes room for others.
 */
static void
orphan_partial(struct intake_flow *fl)
{
	uint64_t total = fl->in.partial_total;

	queue_window_settle(&fl->intake->window, fl->partial_window);
	fl->partial_window = 0;
	fl->partial_wants = fl->partial_granted = false;
	list_remove(&fl->fed);
	fl->in.partial_live = false;
	/* What was swallowed, or never got here, cannot be gone on with. */
	if (!fl->partial) {
		flow_in_forget_partial(&fl->in);
		return;
	}
	if (fl->partial_started) {
		queue_abandoned(&fl->inlet, total);
		fl->partial_started = false;
	}
	/* Whoever waits for room found no orphan to put out, and is not told of new ones. */
	if (queue_partial_starved(router_queues(fl->env->router))) {
		intake_flow_drop_partial(fl);
		return;
	}
	if (fl->partial_reserved == 0) {
		if (!intake_flow_reserve(fl, total)) {
			intake_flow_drop_partial(fl);
			return;
		}
		fl->partial_reserved = total;
	}
	list_append(&fl->env->orphans, &fl->orphan);
}

void
intake_flow_detach(struct intake_flow *fl)
{
	struct intake *in = fl->intake;

	orphan_partial(fl);
	list_remove(&fl->dirty);
	in->flows[fl->id] = NULL;
	in->n_flows--;
	fl->intake = NULL;
	fl->id = 0;
	fl->n_told = 0;
	if (fl->inlet.queue)
		queue_inlet_close(&fl->inlet);
	fl->away_since_ms = loop_now_ms(fl->env->loop);
	if (fl->closed && fl->sender.open == 0) {
		intake_flow_free(fl);
		return;
	}
	if (fl->book->max_lingering > 0) {
		if (fl->closed)
			list_prepend(&fl->book->lingering, &fl->lingering);
		else
			list_append(&fl->book->lingering, &fl->lingering);
		fl->book->n_lingering++;
	}
}

/* --------------------------------------------------------------- partial -- */

void
intake_flow_drop_partial(struct intake_flow *fl)
{
	if (fl->partial) {
		if (fl->partial_started && fl->inlet.queue)
			queue_abandoned(&fl->inlet, fl->partial->body_len);
		message_unref(fl->partial);
		fl->partial = NULL;
	}
	if (fl->partial_reserved > 0)
		queue_release_partial(router_queues(fl->env->router), fl->partial_reserved);
	if (fl->intake)
		queue_window_settle(&fl->intake->window, fl->partial_window);
	fl->partial_window = 0;
	fl->partial_reserved = 0;
	fl->partial_started = fl->partial_wants = fl->partial_granted = false;
	list_remove(&fl->fed);
	list_remove(&fl->orphan);
	/* What is swallowed without being kept goes on being swallowed. */
	if (!fl->in.partial_live)
		flow_in_forget_partial(&fl->in);
}

/* Somebody waits: the one that has stood still longest is looked at when its time is up. */
static void
watch_stall(struct intake_env *env)
{
	struct list *first = list_first(&env->fed);
	uint64_t gone;

	if (!first || env->stall.armed)
		return;
	gone = loop_now_ms(env->loop) - list_entry(first, struct intake_flow, fed)->fed_ms;
	loop_timer_start(&env->stall, gone < env->partial_timeout_ms ? env->partial_timeout_ms - gone : 0);
}

void
intake_flow_stalled(void *arg)
{
	struct intake_env *env = arg;
	uint64_t now = loop_now_ms(env->loop);

	if (!queue_partial_starved(router_queues(env->router)))
		return;
	LIST_FOREACH_SAFE (n, &env->fed) {
		struct intake_flow *fl = list_entry(n, struct intake_flow, fed);

		if (now - fl->fed_ms < env->partial_timeout_ms)
			break;
		list_remove(&fl->fed);
		session_close(fl->intake->session, WIRE_CLOSE_TIMEOUT, "a large body stood still while others wait for memory");
	}
	watch_stall(env);
}

void
intake_flow_fed(struct intake_flow *fl)
{
	fl->fed_ms = loop_now_ms(fl->env->loop);
	list_remove(&fl->fed);
	list_append(&fl->env->fed, &fl->fed);
	/* Others may wait since before this one was granted. */
	if (queue_partial_starved(router_queues(fl->env->router)))
		watch_stall(fl->env);
}

bool
intake_flow_reserve(struct intake_flow *fl, uint64_t bytes)
{
	struct queues *qs = router_queues(fl->env->router);

	while (!queue_reserve_partial(qs, fl->inlet.queue ? &fl->inlet : NULL, bytes)) {
		struct list *oldest = list_first(&fl->env->orphans);

		if (!oldest) {
			watch_stall(fl->env);
			return false;
		}
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

	if (!fl->inlet.queue)
		return false;
	if (!fl->env->stopping)
		queue_grant(&fl->inlet, &messages, &bytes);
	/* What is reserved may be used: also again, what was used by something not accepted. */
	messages = c->used_messages + fl->inlet.reserved_messages;
	bytes = c->used_bytes + fl->inlet.reserved_bytes;
	if (messages - c->granted_messages < CREDIT_WORTH && bytes - c->granted_bytes < CREDIT_WORTH_BYTES &&
	    credit_left(c))
		return false;
	return (messages > c->granted_messages || bytes > c->granted_bytes) &&
	       credit_grant(c, messages > c->granted_messages ? messages : c->granted_messages,
		   bytes > c->granted_bytes ? bytes : c->granted_bytes);
}

static void
say_confirm(struct intake_flow *fl)
{
	struct wire_frame f = { .kind = WIRE_CONFIRM };

	f.u.confirm.flow = fl->id;
	f.u.confirm.number = fl->in.confirmed = fl->in.mark;
	f.u.confirm.level = fl->is_outbound || fl->intake->who.peer ? WIRE_LEVEL_ACCEPTED : WIRE_LEVEL_ARRIVED;
	session_send(fl->intake->session, &f);
	fl->confirm_due = false;
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

	if (fl->partial_wants && (fl->partial_reserved > 0 || intake_flow_reserve(fl, fl->in.partial_total))) {
		fl->partial_wants = false;
		fl->partial_granted = true;
		intake_flow_fed(fl);
		fl->partial_reserved = fl->in.partial_total;
		f.u.credit.number = fl->in.partial;
		/* Reserved bodies do not count in the session's window. */
		queue_window_settle(&fl->intake->window, fl->partial_window);
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
