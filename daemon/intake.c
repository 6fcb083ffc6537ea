/* The frames of the producing side: what they mean for flows and queues. */
#include "intake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "intake_internal.h"

#define ENTRIES_A_FRAME 16 /* entries of a queue looked at are as much work as a frame */

void
intake_env_init(struct intake_env *env, struct loop *l, struct message_store *ms, struct router *r)
{
	*env = (struct intake_env){ .loop = l, .messages = ms, .router = r };
	list_init(&env->orphans);
	list_init(&env->answering);
	loop_random(l, &env->seed, sizeof(env->seed));
}

/* At the end of a loop pass: confirms, outcomes and credit of every flow that was touched. */
static void
flush(void *arg)
{
	struct intake *in = arg;
	struct list *n;
	uint64_t window;

	while ((n = list_first(&in->dirty)) != NULL) {
		list_remove(n);
		intake_flow_say(list_entry(n, struct intake_flow, dirty));
	}
	window = in->window + in->window_used - in->window_open;
	/* Worth a frame once a quarter is used up. */
	if (window - in->window_granted >= in->window / 4 && !in->env->stopping) {
		struct wire_frame f = { .kind = WIRE_CREDIT };

		in->window_granted = window;
		f.u.credit.session = true;
		f.u.credit.bytes = window;
		session_send(in->session, &f);
	}
}

void
intake_init(struct intake *in, struct intake_env *env, struct intake_book *book, struct session *s,
    const struct subject *who, struct intern_entry *origin, uint64_t window, struct log_limit *denied)
{
	*in = (struct intake){
		.env = env,
		.book = book,
		.session = s,
		.who = *who,
		.origin = origin,
		.window = window,
		.window_granted = window,
		.denied = denied,
	};
	list_init(&in->dirty);
	loop_call_init(&in->flush, flush, in);
}

void
intake_flush(struct intake *in)
{
	loop_call_cancel(&in->flush);
	flush(in);
}

static struct intake_flow *
flow_by_id(const struct intake *in, uint32_t id)
{
	return id < in->cap ? in->flows[id].flow : NULL;
}

static bool
is_taken_over(const struct intake *in, uint32_t id)
{
	return id < in->cap && in->flows[id].taken_over;
}

void
intake_done(struct intake *in)
{
	for (uint32_t id = 0; id < in->cap; id++)
		if (flow_by_id(in, id))
			intake_flow_detach(in->flows[id].flow);
	free(in->flows);
	in->flows = NULL;
	in->cap = 0;
	loop_call_cancel(&in->flush);
}

/* -------------------------------------------------------------- OpenFlow -- */

static bool
reserve_id(struct intake *in, uint32_t id)
{
	uint32_t cap = in->cap ? in->cap : 16;
	struct intake_slot *flows;

	if (id < in->cap)
		return true;
	while (cap <= id)
		cap *= 2;
	flows = realloc(in->flows, cap * sizeof(*flows));
	if (!flows)
		return false;
	memset(flows + in->cap, 0, (cap - in->cap) * sizeof(*flows));
	in->flows = flows;
	in->cap = cap;
	return true;
}

static void
refuse(struct intake *in, uint32_t id, enum wire_verdict verdict, const char *reason)
{
	struct wire_frame f = { .kind = WIRE_FLOW_STATE };

	f.u.flow_state.flow = id;
	f.u.flow_state.verdict = verdict;
	f.u.flow_state.reason = wire_string(reason);
	session_send(in->session, &f);
}

void
intake_flow_answer(struct intake_flow *fl)
{
	struct wire_frame f = { .kind = WIRE_FLOW_STATE };
	struct wire_flow_state *st = &f.u.flow_state;
	uint8_t *waiting = NULL;

	intake_flow_grant(fl);
	st->flow = fl->id;
	st->accepted = fl->in.mark;
	st->confirmed = fl->in.confirmed = intake_flow_confirmed(fl);
	st->epoch = fl->epoch;
	st->durable = queue_conf(fl->inlet.queue)->durable;
	st->partial_number = fl->in.partial;
	st->partial_bytes = fl->in.partial_have;
	st->credit_messages = fl->in.credit.granted_messages;
	st->credit_bytes = fl->in.credit.granted_bytes;
	st->confirm_level = intake_flow_level(fl);
	if (fl->sender.open > 0) {
		struct queue_stats stats;
		uint64_t(*ranges)[2] = malloc(sizeof(*ranges) * WIRE_RANGES_MAX);
		size_t n = ranges ? queue_ranges_of(fl->inlet.queue, &fl->sender, ranges, WIRE_RANGES_MAX) : 0;
		size_t len = 0;

		/* The whole queue was looked through. */
		queue_stats(fl->inlet.queue, 0, &stats);
		session_charge(fl->intake->session, stats.messages / ENTRIES_A_FRAME);
		waiting = ranges ? malloc(WIRE_RANGES_MAX * 2 * 10) : NULL;
		for (size_t i = 0; waiting && i < n; i++) {
			len += wire_put_number(waiting + len, ranges[i][0]);
			len += wire_put_number(waiting + len, ranges[i][1]);
		}
		st->waiting = (struct wire_numbers){ waiting, len };
		free(ranges);
	}
	session_send(fl->intake->session, &f);
	free(waiting);
}

/*
 * Each new instance of a name gets the next epoch; the same one comes back with
 * the epoch it was given. One with a lower epoch has been taken over.
 */
static enum wire_verdict
named_may_open(const struct intake *in, const struct intake_flow *fl, const struct wire_open_flow *o, const char **ret_reason)
{
	uint64_t epoch = fl ? fl->epoch : 0;

	*ret_reason = "a newer instance of this producer was open";
	if (o->epoch != 0 && o->epoch < epoch)
		return WIRE_VERDICT_TAKEN_OVER;
	if (!fl && in->book->n_named >= in->env->max_named) {
		*ret_reason = "max_producers is reached";
		return WIRE_VERDICT_LIMIT;
	}
	*ret_reason = "the producer has an epoch that this daemon never gave: an operator made it forget the producer, or its "
	              "state folder was restored; open the producer anew";
	if (o->epoch > epoch)
		return WIRE_VERDICT_STATE_CONFLICT;
	return WIRE_VERDICT_OK;
}

/* What must be known after a crash, before the opener is told anything. */
static bool
open_in_store(struct intake_flow *fl, const struct wire_open_flow *o, const struct queue *q)
{
	bool new_epoch = o->named && o->epoch == 0;
	int err = -EIO;

	intake_flow_name(fl, o->named);
	fl->instance = o->instance;
	fl->epoch += new_epoch;
	if (!queue_conf(q)->durable || !fl->env->store || (fl->number != 0 && !new_epoch))
		return true;
	/* A durable queue without a number was made when the store had failed. */
	if (queue_number(q) != 0)
		err = intake_flow_define(fl);
	/* A store that has failed takes nothing before the next start: that of a name is told then, no other gets far. */
	if (err < 0 && err != -EIO)
		return false;
	if (new_epoch) {
		store_hurry(fl->env->store);
		fl->answer_at = err == 0 ? store_ticket(fl->env->store) : UINT64_MAX;
	}
	return true;
}

void
intake_synced(struct intake_env *env, uint64_t ticket)
{
	LIST_FOREACH_SAFE (n, &env->answering) {
		struct intake_flow *fl = list_entry(n, struct intake_flow, answering);

		if (fl->answer_at > ticket)
			continue;
		list_remove(n);
		fl->answer_at = 0;
		intake_flow_answer(fl);
	}
}

/* As much of an address as a line bears. */
static int
address_len(struct wire_bytes address)
{
	return (int)(address.len < NAMES_DEST_MAX ? address.len : NAMES_DEST_MAX);
}

static enum wire_close_code
open_flow(struct intake *in, const struct wire_open_flow *o, const char **ret_reason)
{
	struct intake_flow *fl;
	struct queue *q;
	const char *reason = NULL;
	enum wire_verdict verdict;
	int err;

	if (o->flow == 0 || o->flow >= INTAKE_FLOWS_MAX || flow_by_id(in, o->flow)) {
		*ret_reason = "a flow id out of range or in use";
		return WIRE_CLOSE_PROTOCOL;
	}
	if (o->priority >= WIRE_PRIORITIES || o->producer.len > INTAKE_PRODUCER_MAX ||
	    (in->who.peer && (o->producer.len > 0 || o->named)) || (!in->who.peer && o->producer.len == 0)) {
		*ret_reason = "a flow with a bad priority or producer";
		return WIRE_CLOSE_PROTOCOL;
	}
	if (!reserve_id(in, o->flow)) {
		refuse(in, o->flow, WIRE_VERDICT_LIMIT, "out of memory");
		return WIRE_CLOSE_NORMAL;
	}
	verdict = router_send(in->env->router, &in->who, o->address, &q, &reason);
	if (verdict != WIRE_VERDICT_OK) {
		/* Of limits the sender asks again and again. */
		if (verdict != WIRE_VERDICT_LIMIT)
			log_limited(in->denied, "may not send to %.*s: %s (%s)", address_len(o->address), (const char *)o->address.data, reason,
			    wire_verdict_name(verdict));
		refuse(in, o->flow, verdict, reason);
		return WIRE_CLOSE_NORMAL;
	}
	fl = intake_flow_find(in->env, in->book, o->producer, queue_name(q), o->priority);
	if (fl && fl->intake == in && !o->named) {
		*ret_reason = "a flow opened twice";
		return WIRE_CLOSE_PROTOCOL;
	}
	if (fl && fl->named != o->named) {
		refuse(in, o->flow, WIRE_VERDICT_DENIED, "a named and an unnamed producer with the same id");
		return WIRE_CLOSE_NORMAL;
	}
	if (o->named) {
		verdict = named_may_open(in, fl, o, &reason);
		if (verdict != WIRE_VERDICT_OK) {
			refuse(in, o->flow, verdict, reason);
			return WIRE_CLOSE_NORMAL;
		}
	}
	if (fl && !o->named && fl->in.mark > o->highest_used) {
		refuse(in, o->flow, WIRE_VERDICT_STATE_CONFLICT, "a number was accepted here that the sender never used");
		return WIRE_CLOSE_NORMAL;
	}
	if (!fl && !in->who.peer && !o->named && o->away_ms > in->env->linger_ms / 2) {
		refuse(in, o->flow, WIRE_VERDICT_FORGOTTEN, "away for longer than marks of unnamed producers are kept for sure");
		return WIRE_CLOSE_NORMAL;
	}
	if (!queue_inlet_fits(q) && !(fl && fl->intake)) {
		refuse(in, o->flow, WIRE_VERDICT_LIMIT, "as many flows are open as max_memory or max_disk have room for");
		return WIRE_CLOSE_NORMAL;
	}
	err = fl ? 0 : intake_flow_new(in->env, in->book, o->producer, queue_name(q), o->priority, &fl);
	if (err < 0) {
		refuse(in, o->flow, WIRE_VERDICT_LIMIT, err == -ENOMEM ? "out of memory" : "too many flows whose messages are still on their way");
		return WIRE_CLOSE_NORMAL;
	}
	/* The same producer on a session that is not known to be dead yet: the newer one has it. */
	if (fl->intake) {
		struct intake *before = fl->intake;
		uint32_t id = fl->id;

		fl->closed = false;
		intake_flow_detach(fl);
		if (o->named) {
			refuse(before, id, WIRE_VERDICT_TAKEN_OVER, "a newer instance of this producer is open");
			before->flows[id].taken_over = true;
		}
	}
	if (!open_in_store(fl, o, q)) {
		refuse(in, o->flow, WIRE_VERDICT_LIMIT, "out of memory");
		if (fl->number == 0)
			intake_flow_free(fl);
		return WIRE_CLOSE_NORMAL;
	}
	intake_flow_attach(fl, in, o->flow, q);
	if (fl->answer_at == 0)
		intake_flow_answer(fl);
	else
		list_append(&in->env->answering, &fl->answering);
	return WIRE_CLOSE_NORMAL;
}

/* -------------------------------------------------------------- Transfer -- */

static void
reject(struct intake_flow *fl, uint64_t number, enum wire_reject_code code, const char *reason)
{
	struct wire_frame f = { .kind = WIRE_REJECT };

	flow_in_reject(&fl->in, number);
	intake_flow_drop_partial(fl);
	queue_counters(fl->inlet.queue)->rejected++;
	f.u.reject.flow = fl->id;
	f.u.reject.number = number;
	f.u.reject.code = code;
	f.u.reject.reason = wire_string(reason);
	session_send(fl->intake->session, &f);
	intake_flow_dirty(fl);
#ifdef PLANT_REJECT_LOST
	fl->in.mark = number;
#endif
}

#define JOURNAL_FULL "the queue is full: the journal has no room for it"

/* Can it be taken at all? Judged at its first bytes. */
static bool
acceptable(struct intake_flow *fl, const struct wire_item *item, uint64_t total, enum wire_reject_code *ret_code,
    const char **ret_reason)
{
	if (item->features.len > 0) {
		*ret_code = WIRE_REJECT_UNSUPPORTED;
		*ret_reason = "it needs a feature that this daemon does not have";
	} else if (total > fl->env->max_message) {
		*ret_code = WIRE_REJECT_TOO_LARGE;
		*ret_reason = "above max_message";
	} else if (item->packed.len > WIRE_PACKED_MAX || item->sub.len > 0 || item->report_to.len > 0) {
		*ret_code = WIRE_REJECT_BAD_ITEM;
		*ret_reason = "headers above 4 KiB, or a field of a later version";
	} else if ((item->flags & WIRE_ITEM_DURABLE) && !queue_conf(fl->inlet.queue)->durable) {
		*ret_code = WIRE_REJECT_NOT_DURABLE;
		*ret_reason = "it demands a durable queue, and this one keeps messages in memory";
	} else if (!(item->flags & WIRE_ITEM_MEMORY) && queue_disk_never_fits(fl->inlet.queue, total + item->packed.len)) {
		*ret_code = WIRE_REJECT_TOO_LARGE;
		*ret_reason = "above max_backlog, or a quarter of what the journal can hold";
	} else if (!(item->flags & WIRE_ITEM_MEMORY) && fl->inlet.regardless && !queue_disk_fits(&fl->inlet, total)) {
		*ret_code = WIRE_REJECT_FULL;
		*ret_reason = JOURNAL_FULL;
	} else {
		return true;
	}
	return false;
}

/* A new message, whole or its first chunk. NULL: *ret_code says how the session must end. */
static struct message *
begin(struct intake_flow *fl, struct wire_item *item, uint64_t total, enum wire_close_code *ret_code)
{
	struct intake *in = fl->intake;
	struct intern_entry *type = item->type ? session_type(in->session, item->type) : NULL;
	struct intern_entry *origin = in->origin ? in->origin : session_origin(in->session, item->origin);
	struct message *m;

	*ret_code = WIRE_CLOSE_PROTOCOL;
	if ((item->type && !type) || !origin)
		return NULL;
	if (in->origin)
		item->counter = ++*fl->env->next_counter;
	m = message_new(fl->env->messages, item, total, (uint8_t)fl->priority, type, origin, loop_now_ms(fl->env->loop));
	*ret_code = WIRE_CLOSE_INTERNAL;
	return m;
}

/*
 * The store has failed. Neither can the message be taken, nor is anything wrong
 * with it: its sender keeps it, and sends it again after the next start. What
 * comes behind it in this session is swallowed, too.
 */
static void
swallow(struct intake_flow *fl, uint64_t number)
{
	flow_in_reject(&fl->in, number);
	fl->store_failed = true;
}

/* A complete message enters the queue. */
static enum wire_close_code
put(struct intake_flow *fl, struct message *m, uint64_t number, bool has_own_room)
{
	int err = queue_put(&fl->inlet, m, fl->is_outbound ? &fl->sender : NULL, number);

	if (fl->inlet.body)
		store_body_drop(fl->inlet.body);
	fl->inlet.body = NULL;
	if (err == 0) {
		flow_in_accept(&fl->in, number);
		fl->intake->received++;
		fl->confirm_due = true;
		intake_flow_dirty(fl);
		return WIRE_CLOSE_NORMAL;
	}
	if (has_own_room)
		queue_abandoned_reserved(&fl->inlet, message_bytes(m));
	else
		queue_abandoned(&fl->inlet, message_bytes(m));
	message_unref(m);
	if (err == -EXFULL)
		reject(fl, number, WIRE_REJECT_FULL, "the queue is full");
	else if (err == -ENOSPC)
		reject(fl, number, WIRE_REJECT_FULL, JOURNAL_FULL);
	else if (err == -ENOTSUP)
		reject(fl, number, WIRE_REJECT_NOT_DURABLE, "it demands a durable queue");
	else if (err == -EFBIG)
		reject(fl, number, WIRE_REJECT_TOO_LARGE, "its headers are too large for the journal");
	else if (err == -EIO)
		swallow(fl, number);
	else
		return WIRE_CLOSE_INTERNAL;
	return WIRE_CLOSE_NORMAL;
}

static enum wire_close_code
take_chunk(struct intake_flow *fl, uint64_t number, struct wire_item *item, uint64_t total, bool starts, bool complete)
{
	enum wire_close_code code = WIRE_CLOSE_NORMAL;
	struct message *m;
	bool large;

	if (!fl->partial) {
		fl->partial = begin(fl, item, total, &code);
		if (!fl->partial)
			return code;
	} else {
		message_grow(fl->partial, item->body);
	}
	if (intake_flow_write_ahead(fl, item->body) < 0) {
#ifndef PLANT_HOLE_KEPT
		/* It must not be gone on with in another session: what is written of it has a hole. */
		fl->in.partial_live = false;
		intake_flow_drop_partial(fl);
#endif
		return WIRE_CLOSE_INTERNAL;
	}
	/* What is kept from an earlier session has its room already. */
	if (starts)
		fl->partial_large = total > WIRE_LARGE || !fl->in.fits || fl->partial_reserved > 0;
	if (starts && !fl->partial_large) {
		queue_started(&fl->inlet, message_bytes(fl->partial));
		fl->partial_started = true;
	}
	if (!complete) {
		/* Also what is covered by credit that its sender may not have heard of yet. */
		fl->partial_wants |= starts;
		intake_flow_dirty(fl);
		return WIRE_CLOSE_NORMAL;
	}
	if (fl->partial_large) {
		queue_release_partial(router_queues(fl->env->router), &fl->inlet, fl->partial_reserved);
		queue_started_reserved(&fl->inlet, message_bytes(fl->partial));
	}
	m = fl->partial;
	large = fl->partial_large;
	fl->inlet.body = fl->partial_body;
	fl->partial_body = NULL;
	fl->partial = NULL;
	fl->partial_reserved = 0;
	fl->partial_started = fl->partial_large = fl->partial_wants = fl->partial_granted = false;
	fl->intake->window_open -= fl->partial_window;
	fl->partial_window = 0;
	return put(fl, m, number, large);
}

/* Count a body's bytes in the session's window; those of a reserved body hold no other back. */
static bool
window_ok(struct intake_flow *fl, const struct wire_item *item, enum flow_verdict verdict)
{
	struct intake *in = fl->intake;
	bool unfinished = verdict == FLOW_PART || (verdict == FLOW_ACCEPT && item->total > 0);

	in->window_used += item->body.len;
	if (unfinished && !fl->partial_granted) {
		fl->partial_window += item->body.len;
		in->window_open += item->body.len;
	}
	if (in->window_used > in->window_granted)
		return false;
	loop_defer(in->env->loop, &in->flush);
	return true;
}

static enum wire_close_code
take_item(struct intake_flow *fl, uint64_t number, struct wire_item *item, const char **ret_reason)
{
	uint64_t total = item->total ? item->total : item->body.len;
	bool starts = !fl->in.partial_live;
	enum wire_reject_code reject_code = WIRE_REJECT_UNKNOWN;
	enum wire_close_code code;
	const char *reason = NULL;
	enum flow_verdict verdict;
	struct message *m;

	if (fl->in.partial != 0 && !fl->in.partial_live && !flow_in_continues(&fl->in, number, item->offset))
		intake_flow_drop_partial(fl);
	if (starts && item->offset == 0)
		credit_use(&fl->in.credit, 0, item->packed.len);
	verdict = flow_in_item(&fl->in, number, total, item->offset, item->body.len);
	if (verdict == FLOW_OVERRUN || !window_ok(fl, item, verdict)) {
		*ret_reason = "more than the credit granted";
		return WIRE_CLOSE_FLOW_CONTROL;
	}
	switch (verdict) {
	case FLOW_DUPLICATE:
	case FLOW_DISCARD:
		if (verdict == FLOW_DUPLICATE) {
			queue_counters(fl->inlet.queue)->duplicates++;
			fl->confirm_due = true;
		}
#ifdef PLANT_CREDIT_LEAK
		if (item->offset == 0)
			fl->in.credit.used_messages--; /* the sender counts it: never granted again */
#endif
		intake_flow_dirty(fl); /* its credit is granted again */
		return WIRE_CLOSE_NORMAL;
	case FLOW_ACCEPT:
	case FLOW_PART:
		break;
	case FLOW_OVERRUN:
	case FLOW_BROKEN:
		*ret_reason = "numbers or offsets of a flow out of order";
		return WIRE_CLOSE_PROTOCOL;
	}
	if (!fl->partial && !acceptable(fl, item, total, &reject_code, &reason)) {
		reject(fl, number, reject_code, reason);
		return WIRE_CLOSE_NORMAL;
	}
	*ret_reason = "a type or origin that was never defined";
	if (item->total > 0)
		return take_chunk(fl, number, item, total, starts, verdict == FLOW_ACCEPT);
	m = begin(fl, item, total, &code);
	if (!m)
		return code;
	queue_started(&fl->inlet, message_bytes(m));
	return put(fl, m, number, false);
}

static enum wire_close_code
transfer(struct intake *in, const struct wire_run *run, const char **ret_reason)
{
	struct intake_flow *fl = flow_by_id(in, run->id);
	struct wire_bytes items = run->items;
	uint64_t number = run->first;
	struct wire_item item;

	if (!fl || !fl->inlet.queue || fl->answer_at != 0) {
		*ret_reason = "a transfer on a flow that is not open";
		return WIRE_CLOSE_PROTOCOL;
	}
	while (wire_item_next(&items, &item)) {
		enum wire_close_code code = take_item(fl, number++, &item, ret_reason);

		if (code != WIRE_CLOSE_NORMAL)
			return code;
	}
	return WIRE_CLOSE_NORMAL;
}

static uint32_t
flow_id(const struct wire_frame *f)
{
	switch (f->kind) {
	case WIRE_TRANSFER:
		return f->u.run.id;
	case WIRE_RESUME:
		return f->u.resume.flow;
	case WIRE_ABORT:
		return f->u.abort.flow;
	case WIRE_SETTLED:
		return f->u.settled.flow;
	default:
		return 0;
	}
}

enum wire_close_code
intake_frame(struct intake *in, const struct wire_frame *f, const char **ret_reason)
{
	struct intake_flow *fl;

	if (in->book->n_named > 0 && is_taken_over(in, flow_id(f)) && f->kind != WIRE_OPEN_FLOW)
		return WIRE_CLOSE_NORMAL;
	switch (f->kind) {
	case WIRE_TRANSFER:
		return transfer(in, &f->u.run, ret_reason);
	case WIRE_OPEN_FLOW:
		return open_flow(in, &f->u.open_flow, ret_reason);
	case WIRE_RESUME:
		fl = flow_by_id(in, f->u.resume.flow);
		if (!fl || flow_in_resume(&fl->in, f->u.resume.after) != 0) {
			*ret_reason = "a Resume without a Reject";
			return WIRE_CLOSE_PROTOCOL;
		}
		intake_flow_drop_partial(fl);
		intake_flow_dirty(fl);
		return WIRE_CLOSE_NORMAL;
	case WIRE_ABORT:
		fl = flow_by_id(in, f->u.abort.flow);
		if (!fl || flow_in_abort(&fl->in, f->u.abort.number) != 0) {
			*ret_reason = "an Abort of nothing";
			return WIRE_CLOSE_PROTOCOL;
		}
		intake_flow_drop_partial(fl);
		intake_flow_dirty(fl);
		return WIRE_CLOSE_NORMAL;
	case WIRE_SETTLED:
		fl = flow_by_id(in, f->u.settled.flow);
		if (!fl) {
			*ret_reason = "Settled for a flow that is not open";
			return WIRE_CLOSE_PROTOCOL;
		}
		if (f->u.settled.close) {
			fl->closed = true;
			intake_flow_detach(fl);
		}
		return WIRE_CLOSE_NORMAL;
	default:
		*ret_reason = "a frame out of place";
		return WIRE_CLOSE_PROTOCOL;
	}
}
