/*
 * The sending half of a link: each outbound queue at each priority is a flow,
 * and this its only consumer. What was taken from the queue is held until the
 * peer confirms it, over any number of sessions; it never goes back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_internal.h"
#include "store.h"

#define TURN_MESSAGES 64
#define TURN_BYTES (64 * 1024)

enum turn { TURN_MORE, TURN_DRY, TURN_BLOCKED, TURN_NO_WINDOW };

static struct list *
held(struct outflow *of)
{
	return &of->from->consumer.held[of->priority];
}

static struct entry *
entry_of(struct list *n)
{
	return list_entry(n, struct entry, node);
}

/* The entry behind e among those held, or NULL. */
static struct entry *
next_held(struct outflow *of, struct entry *e)
{
	return e->node.next == held(of) ? NULL : entry_of(e->node.next);
}

static void
make_ready(struct outflow *of)
{
	struct link *l = of->from->link;

	if (!l->live)
		return;
	list_remove(&of->ready);
	list_append(&l->ready[of->priority], &of->ready);
	loop_defer(l->core->loop, &l->pump);
}

/* Try again in a while: its reason is not ours to mend. */
static void
park(struct outflow *of)
{
	struct link *l = of->from->link;

	list_remove(&of->ready);
	list_append(&l->parked, &of->ready);
	if (!l->retry.armed)
		loop_timer_start(&l->retry, LINK_RETRY_MS);
}

static void
retry(void *arg)
{
	struct link *l = arg;
	struct list *n;

	while ((n = list_first(&l->parked)) != NULL) {
		struct outflow *of = list_entry(n, struct outflow, ready);

		list_remove(n);
		if (of->out.state == FLOW_OUT_REFUSED && of->verdict == WIRE_VERDICT_LIMIT)
			flow_out_close(&of->out);
		make_ready(of);
	}
}

/* ------------------------------------------------------------------- ids -- */

static bool
take_id(struct outflow *of)
{
	struct link *l = of->from->link;

	for (uint32_t id = 1; id < l->cap_ids && id < l->max_ids; id++)
		if (!l->by_id[id]) {
			l->by_id[id] = of;
			of->id = id;
			return true;
		}
	if (l->cap_ids < l->max_ids && l->max_ids > 1) {
		uint32_t cap = l->cap_ids ? 2 * l->cap_ids : 16;
		struct outflow **ids = realloc(l->by_id, cap * sizeof(*ids));

		if (ids) {
			memset(ids + l->cap_ids, 0, (cap - l->cap_ids) * sizeof(*ids));
			l->by_id = ids;
			of->id = l->cap_ids ? l->cap_ids : 1;
			l->cap_ids = cap;
			ids[of->id] = of;
			return true;
		}
	}
	return false;
}

static void
give_id(struct outflow *of)
{
	if (of->id)
		of->from->link->by_id[of->id] = NULL;
	of->id = 0;
}

static void
say_closed(struct link *l, uint32_t id, uint64_t number)
{
	struct wire_frame f = { .kind = WIRE_SETTLED };

	f.u.settled.flow = id;
	f.u.settled.number = number;
	f.u.settled.close = true;
	session_send(l->live->session, &f);
}

/* Its queue goes: the other end need not keep it open, and its id is free once the other end knows. */
static void
close_flow(struct outflow *of)
{
	struct link *l = of->from->link;

	if (of->id == 0)
		return;
	if (of->out.state == FLOW_OUT_OPENING) {
		l->by_id[of->id] = &l->gone; /* until FlowState tells whether there is anything to close */
		of->id = 0;
		return;
	}
	if (of->out.state == FLOW_OUT_OPEN && list_empty(held(of)))
		say_closed(l, of->id, queue_last_seq(of->from->queue));
	give_id(of);
}

/* --------------------------------------------------------------- sending -- */

static void
open_flow(struct outflow *of)
{
	struct wire_frame f = { .kind = WIRE_OPEN_FLOW };
	struct list *first = list_first(held(of));

	if (of->id == 0 && !take_id(of)) {
		park(of);
		return;
	}
	flow_out_open(&of->out);
	f.u.open_flow.flow = of->id;
	f.u.open_flow.address = wire_string(queue_remote_name(of->from->queue));
	f.u.open_flow.priority = of->priority;
	f.u.open_flow.highest_used = queue_last_seq(of->from->queue);
	f.u.open_flow.oldest_unsettled = first ? entry_of(first)->seq : queue_last_seq(of->from->queue) + 1;
	session_send(of->from->link->live->session, &f);
}

/*
 * What a body is sure to send counts in the session's window as a whole when it
 * starts, or goes on after a wait, so that bodies half sent never wait for each
 * other; of a large one each chunk, as its room at the other end is its own. One
 * larger than what is ever left may start when half is free.
 */
static bool
window_fits(const struct link *l, uint64_t bytes)
{
	uint64_t left = l->window_granted > l->window_used ? l->window_granted - l->window_used : 0;

	return bytes <= left || (left > 0 && left >= l->window / 2);
}

static bool
window_promise(struct outflow *of)
{
	struct link *l = of->from->link;
	uint64_t rest = of->out.partial_total - of->out.partial_sent, bytes = rest;

	if (of->promised > 0)
		return true;
	if (of->out.partial_large || of->out.partial_total > WIRE_LARGE)
		bytes = flow_out_chunk(&of->out, session_chunk(l->live->session));
	if (!window_fits(l, bytes))
		return false;
	of->promised = bytes;
	l->window_used += bytes;
	return true;
}

static void
window_wake(struct link *l)
{
	struct list *n;

	while ((n = list_first(&l->no_window)) != NULL)
		make_ready(list_entry(n, struct outflow, ready));
}

/* The rest of the body under way will not be sent. */
static void
window_give_back(struct outflow *of)
{
	if (of->promised == 0)
		return;
	of->from->link->window_used -= of->promised;
	of->promised = 0;
	window_wake(of->from->link);
}

/* A (chunk of a) message goes out. */
static void
send_chunk(struct outflow *of, struct entry *e, uint64_t offset)
{
	struct link *l = of->from->link;
	struct session *s = l->live->session;
	struct wire_item item;

	message_item(e->msg, loop_now_ms(l->core->loop), offset, flow_out_chunk(&of->out, session_chunk(s)), &item);
	/* Once another boot of the peer may have it, it stays so, on every later session. */
	if (e->sent_boot != 0 && e->sent_boot != l->live->peer.boot_id)
		e->redelivered = true;
	/* So may it be by a number that this node gave under another identity, or another state folder of the peer. */
	if (e->seq <= queue_may_be_known(of->from->queue))
		e->redelivered = true;
	if (e->redelivered)
		item.flags |= WIRE_ITEM_MAYBE_DUPLICATE;
	/* What was told to be on disk here must not be in memory alone there. */
	if (e->ref != 0)
		item.flags = (item.flags & ~(uint32_t)WIRE_ITEM_MEMORY) | WIRE_ITEM_DURABLE;
	session_send_item(s, WIRE_TRANSFER, of->id, e->seq, &item, e->msg->type, e->msg->origin, e->msg);
	of->promised -= item.body.len < of->promised ? item.body.len : of->promised;
	flow_out_sent(&of->out, item.body.len);
	if (of->out.partial != 0) {
		of->current = e;
		return;
	}
	of->current = NULL;
	/* Whole at the other end, or lost with it: only now may a resend to another boot be a second one. */
	e->sent_boot = l->live->peer.boot_id;
	l->sent_here++;
}

static void
say_abort(const struct outflow *of, uint64_t number)
{
	struct wire_frame f = { .kind = WIRE_ABORT };

	f.u.abort.flow = of->id;
	f.u.abort.number = number;
	session_send(of->from->link->live->session, &f);
}

static void
give_up_current(struct outflow *of)
{
	say_abort(of, of->out.partial);
	flow_out_abort(&of->out);
	window_give_back(of);
	queue_doomed(of->current);
	of->current = NULL;
}

/* The next entry to send, from those held or a new one. */
static struct entry *
next_entry(struct outflow *of)
{
	struct entry *e = of->cursor;

	if (e) {
		of->cursor = next_held(of, e);
		return e;
	}
	/* What an earlier start of this daemon has sent, and the peer has: confirmed already, or its confirm is on its way. */
	while ((e = queue_take(&of->from->consumer, (int)of->priority)) != NULL && e->seq <= of->accepted)
		if (e->seq <= of->out.confirmed)
			queue_done(e, WIRE_LEVEL_ARRIVED);
	return e;
}

/* Nothing of this flow can ever be taken: each message goes where rejected ones go. */
static enum turn
bury_some(struct outflow *of)
{
	static const enum wire_reject_code codes[] = {
		[WIRE_VERDICT_DENIED] = WIRE_REJECT_DENIED,
		[WIRE_VERDICT_NO_QUEUE] = WIRE_REJECT_NO_QUEUE,
		[WIRE_VERDICT_BAD_ADDRESS] = WIRE_REJECT_NO_QUEUE,
	};
	bool stored;

	for (int i = 0; i < TURN_MESSAGES; i++) {
		struct list *first = list_first(held(of));
		struct entry *e = first ? entry_of(first) : queue_take(&of->from->consumer, (int)of->priority);

		if (!e) {
			/* The next message asks again: the other end may have changed its mind. */
			flow_out_close(&of->out);
			give_id(of);
			return TURN_DRY;
		}
		of->cursor = NULL;
		stored = e->ref != 0;
		if (!e->msg)
			queue_doomed(e);
		else if (queue_bury(e, WIRE_LEVEL_REJECTED, codes[of->verdict], of->reason) != 0) {
			park(of);
			return TURN_BLOCKED;
		}
		if (stored)
			of->recorded = store_ticket(of->from->link->core->store);
	}
	return TURN_MORE;
}

/*
 * While a crash could undo the move of what was refused, nothing behind it may
 * be accepted there: the mark would be above it, and the peer would take it for
 * one that it has.
 */
static bool
waits_for_record(struct outflow *of)
{
	struct link *l = of->from->link;

	if (of->recorded == 0 || of->recorded <= store_synced(l->core->store))
		return false;
	list_remove(&of->ready);
	list_append(&l->recording, &of->ready);
	return true;
}

void
outflows_synced(struct link *l)
{
	struct list waiting, *n;

	if (list_empty(&l->recording))
		return;
	list_init(&waiting);
	list_splice(&waiting, &l->recording);
	while ((n = list_first(&waiting)) != NULL) {
		list_remove(n);
		make_ready(list_entry(n, struct outflow, ready));
	}
}

/* The verdict on the message the flow is halted at is recorded, then the flow goes on. */
static enum turn
settle_reject(struct outflow *of)
{
	struct wire_frame f = { .kind = WIRE_RESUME };
	struct entry *e = NULL, *behind = NULL;
	bool stored;

	LIST_FOREACH (n, held(of))
		if (entry_of(n)->seq == of->reject_number) {
			e = entry_of(n);
		} else if (entry_of(n)->seq > of->reject_number) {
			behind = entry_of(n);
			break;
		}
	stored = e && e->ref != 0;
	if (e && !e->msg) {
		queue_doomed(e);
	} else if (e && queue_bury(e, WIRE_LEVEL_REJECTED, of->reject_code, of->reason) != 0) {
		park(of);
		return TURN_BLOCKED;
	}
	if (stored) {
		store_hurry(of->from->link->core->store);
		of->recorded = store_ticket(of->from->link->core->store);
	}
	if (waits_for_record(of))
		return TURN_BLOCKED;
	/* Whatever was sent behind it was discarded, also if it was given up meanwhile itself. */
	of->cursor = behind;
	f.u.resume.flow = of->id;
	f.u.resume.after = of->reject_number;
	session_send(of->from->link->live->session, &f);
	flow_out_resume(&of->out, of->reject_number);
	of->reject_number = 0;
	return TURN_MORE;
}

static enum turn
send_one(struct outflow *of)
{
	struct link *l = of->from->link;
	struct entry *e;
	uint64_t chunk, offset;

	if (of->out.partial != 0) {
		if (of->current && !of->current->msg) {
			give_up_current(of);
			return TURN_MORE;
		}
		if (!flow_out_may_continue(&of->out))
			return TURN_BLOCKED;
		if (!window_promise(of))
			return TURN_NO_WINDOW;
		send_chunk(of, of->current, of->out.partial_sent);
		return TURN_MORE;
	}
	if (!flow_out_may_start(&of->out, 0))
		return TURN_BLOCKED;
	e = next_entry(of);
	if (!e)
		return TURN_DRY;
	if (!e->msg) { /* expired or purged, and the peer does not have it */
		queue_doomed(e);
		return TURN_MORE;
	}
	if (!flow_out_may_start(&of->out, e->msg->packed_len)) {
		of->cursor = e;
		return TURN_BLOCKED;
	}
	chunk = session_chunk(l->live->session);
	if (!window_fits(l, e->msg->body_len > WIRE_LARGE ? chunk : e->msg->body_len)) {
		of->cursor = e;
		return TURN_NO_WINDOW;
	}
	e->sent = true;
	/* What goes on with what is there sends no packed part again. */
	if (of->out.resume_number != e->seq || of->out.resume_bytes == 0)
		credit_use(&of->out.credit, 0, e->msg->packed_len);
	offset = flow_out_start(&of->out, e->seq, e->msg->body_len, WIRE_LARGE);
	window_promise(of);
	send_chunk(of, e, offset);
	return TURN_MORE;
}

static enum turn
turn(struct outflow *of)
{
	struct session *s = of->from->link->live->session;
	size_t room = session_room(s), stop = room > TURN_BYTES ? room - TURN_BYTES : 0;

	if (waits_for_record(of))
		return TURN_BLOCKED;
	switch (of->out.state) {
	case FLOW_OUT_CLOSED:
		open_flow(of);
		return TURN_BLOCKED;
	case FLOW_OUT_OPENING:
		return TURN_BLOCKED;
	case FLOW_OUT_REFUSED:
		if (of->verdict != WIRE_VERDICT_LIMIT)
			return bury_some(of);
		/* Woken before its time. */
		park(of);
		return TURN_BLOCKED;
	case FLOW_OUT_HALTED:
		return settle_reject(of);
	case FLOW_OUT_OPEN:
		break;
	}
	for (int i = 0; i < TURN_MESSAGES && (room = session_room(s)) > stop; i++) {
		enum turn t = send_one(of);

		if (t != TURN_MORE)
			return t;
	}
	return TURN_MORE;
}

/* Rounds over the priorities, 16 turns to 4 to 1, while the session takes bytes. */
static void
pump(void *arg)
{
	static const struct {
		enum wire_priority priority;
		int turns;
	} weights[] = { { WIRE_PRIORITY_HIGH, 16 }, { WIRE_PRIORITY_NORMAL, 4 }, { WIRE_PRIORITY_LOW, 1 } };
	struct link *l = arg;
	bool more = true;

	while (more) {
		more = false;
		for (size_t w = 0; w < sizeof(weights) / sizeof(weights[0]); w++) {
			struct list *ready = &l->ready[weights[w].priority];

			for (int i = 0; i < weights[w].turns && !list_empty(ready); i++) {
				struct outflow *of = list_entry(list_first(ready), struct outflow, ready);
				enum turn t;

				if (!l->live || session_room(l->live->session) == 0)
					return; /* `writable` comes back here */
				list_remove(&of->ready);
				t = turn(of);
				if (t == TURN_MORE)
					list_append(ready, &of->ready);
				else if (t == TURN_NO_WINDOW)
					list_append(&l->no_window, &of->ready);
			}
			/* Also those whose turn did not come, whatever became of the others. */
			more |= !list_empty(ready);
		}
	}
}

void
outflows_writable(struct link *l)
{
	loop_defer(l->core->loop, &l->pump);
}

/* ---------------------------------------------------------------- frames -- */

/* Everything up to number is at the peer. */
static void
settle(struct outflow *of, uint64_t number)
{
	struct list *n;

	while ((n = list_first(held(of))) != NULL && entry_of(n)->seq <= number) {
		if (of->cursor == entry_of(n))
			of->cursor = next_held(of, of->cursor);
		if (of->durable && entry_of(n)->ref != 0)
			of->kept_there = entry_of(n)->seq;
		queue_done(entry_of(n), WIRE_LEVEL_ARRIVED);
	}
}

/* Its mark went to disk with each message: if it is below what was confirmed, messages are gone with it. */
static void
check_mark(struct outflow *of, const struct wire_flow_state *st)
{
	const struct link *l = of->from->link;
	char text[200];

	of->durable = st->durable;
	if (!st->durable || st->accepted >= of->kept_there)
		return;
	snprintf(text, sizeof(text),
	    "%s: it has lost messages that it had confirmed, those behind number %llu up to %llu: its journal is older than that",
	    queue_name(of->from->queue), (unsigned long long)st->accepted, (unsigned long long)of->kept_there);
	log_error(l->core->log, l->context, "%s", text);
	if (l->core->event)
		l->core->event(l->core->event_arg, "peer", l->peer->name, "lost", text);
	of->kept_there = st->accepted; /* said once */
}

static enum wire_close_code
flow_state(struct outflow *of, const struct wire_flow_state *st, const char **ret_reason)
{
	bool resumes;

	if (of->out.state != FLOW_OUT_OPENING) {
		*ret_reason = "a FlowState that was not asked for";
		return WIRE_CLOSE_PROTOCOL;
	}
	if (st->verdict == WIRE_VERDICT_STATE_CONFLICT || st->accepted > queue_last_seq(of->from->queue)) {
		const struct link *l = of->from->link;

		*ret_reason = of->reason;
		snprintf(of->reason, sizeof(of->reason), "a message was accepted there that %s never sent: its state folder was restored or "
		         "cloned; connectctl renew on %s, then connectctl peer adopt %s on %s", l->core->node->name, l->core->node->name,
		    l->core->node->name, l->peer->name);
		return WIRE_CLOSE_STATE_CONFLICT;
	}
	if (st->verdict != WIRE_VERDICT_OK) {
		/* What is asked again each second is news once. */
		bool told = of->verdict == WIRE_VERDICT_LIMIT && wire_bytes_equal(st->reason, wire_string(of->reason));

		wire_text(st->reason, of->reason, sizeof(of->reason));
		of->verdict = st->verdict;
		of->out.state = FLOW_OUT_REFUSED;
		log_write(of->from->link->core->log, told ? LOG_DEBUG : LOG_WARNING, of->from->link->context, "%s refused: %s (%s)",
		    queue_name(of->from->queue), of->reason, wire_verdict_name(st->verdict));
		if (st->verdict == WIRE_VERDICT_LIMIT || st->verdict > WIRE_VERDICT_BAD_ADDRESS) {
			of->verdict = WIRE_VERDICT_LIMIT;
			park(of);
		} else {
			make_ready(of);
		}
		return WIRE_CLOSE_NORMAL;
	}
	if (st->confirmed > st->accepted) {
		*ret_reason = "a FlowState that confirms what was not accepted";
		return WIRE_CLOSE_PROTOCOL;
	}
	of->verdict = WIRE_VERDICT_OK;
	of->accepted = st->accepted;
	check_mark(of, st);
	settle(of, st->confirmed);
	queue_doubt_over(of->from->queue, of->priority, st->accepted);
	of->cursor = NULL;
	LIST_FOREACH (n, held(of))
		if (entry_of(n)->seq > st->accepted) {
			of->cursor = entry_of(n);
			break;
		}
	resumes = of->cursor && of->cursor->seq == st->partial_number && of->cursor->msg;
	flow_out_state(&of->out, st->accepted, st->confirmed, resumes ? st->partial_number : 0, st->partial_bytes,
	    st->credit_messages, st->credit_bytes);
	/* Half of a message that has ended meanwhile need not be kept there. */
	if (st->partial_number != 0 && !resumes)
		say_abort(of, st->partial_number);
	make_ready(of);
	return WIRE_CLOSE_NORMAL;
}

static enum wire_close_code
credit(struct link *l, const struct wire_credit *c, const char **ret_reason)
{
	struct outflow *of;

	*ret_reason = "credit that falls, or for nothing";
	if (c->session) {
		if (c->bytes < l->window_granted)
			return WIRE_CLOSE_PROTOCOL;
		l->window_granted = c->bytes;
		window_wake(l);
		return WIRE_CLOSE_NORMAL;
	}
	of = c->flow < l->cap_ids ? l->by_id[c->flow] : NULL;
	if (!of || of == &l->gone)
		return WIRE_CLOSE_NORMAL; /* closed meanwhile */
	if (!credit_grant(&of->out.credit, c->messages, c->bytes))
		return WIRE_CLOSE_PROTOCOL;
	if (c->number)
		flow_out_reserved(&of->out, c->number);
	make_ready(of);
	return WIRE_CLOSE_NORMAL;
}

enum wire_close_code
outflows_frame(struct link *l, const struct wire_frame *f, const char **ret_reason)
{
	uint32_t id = f->kind == WIRE_FLOW_STATE ? f->u.flow_state.flow :
	    f->kind == WIRE_CONFIRM		 ? f->u.confirm.flow :
						   f->u.reject.flow;
	struct outflow *of;
	bool is_open;

	if (f->kind == WIRE_CREDIT)
		return credit(l, &f->u.credit, ret_reason);
	of = id < l->cap_ids ? l->by_id[id] : NULL;
	if (of == &l->gone && f->kind == WIRE_FLOW_STATE) {
		l->by_id[id] = NULL;
		if (f->u.flow_state.verdict == WIRE_VERDICT_OK)
			say_closed(l, id, f->u.flow_state.accepted);
		return WIRE_CLOSE_NORMAL;
	}
	if (!of || of == &l->gone)
		return WIRE_CLOSE_NORMAL; /* closed meanwhile */
	/* Numbers of earlier sessions mean nothing before the FlowState of this one. */
	is_open = of->out.state == FLOW_OUT_OPEN || of->out.state == FLOW_OUT_HALTED;
	switch (f->kind) {
	case WIRE_FLOW_STATE:
		return flow_state(of, &f->u.flow_state, ret_reason);
	case WIRE_CONFIRM:
		if (!is_open || flow_out_confirm(&of->out, f->u.confirm.number) != 0)
			break;
		settle(of, f->u.confirm.number);
		if (of->out.state == FLOW_OUT_OPEN)
			make_ready(of);
		return WIRE_CLOSE_NORMAL;
	case WIRE_REJECT:
		if (flow_out_reject(&of->out, f->u.reject.number) != 0)
			break;
		of->current = NULL;
		window_give_back(of);
		of->reject_number = f->u.reject.number;
		of->reject_code = f->u.reject.code;
		wire_text(f->u.reject.reason, of->reason, sizeof(of->reason));
		make_ready(of);
		return WIRE_CLOSE_NORMAL;
	default:
		break;
	}
	*ret_reason = "a verdict on something never sent";
	return WIRE_CLOSE_PROTOCOL;
}

/* --------------------------------------------------- queues come and go -- */

static void
wake(struct consumer *c)
{
	struct outqueue *oq = list_entry(c, struct outqueue, consumer);

	for (int p = 0; p < WIRE_PRIORITIES; p++)
		if (queue_waiting(oq->queue, p) > 0)
			make_ready(&oq->flows[p]);
}

/* A held entry that no bytes were sent of expired or was purged. */
static void
lost(struct consumer *c, struct entry *e)
{
	struct outqueue *oq = list_entry(c, struct outqueue, consumer);
	struct outflow *of = &oq->flows[e->priority];

	if (of->cursor == e)
		of->cursor = next_held(of, e);
}

static const struct consumer_ops ops = { .wake = wake, .lost = lost };

static void
attach(struct router_peer *p, struct queue *q)
{
	struct link *l = list_entry(p, struct link, router_peer);
	struct outqueue *oq = calloc(1, sizeof(*oq));

	if (!oq) {
		log_error(l->core->log, l->context, "out of memory: %s is not forwarded", queue_name(q));
		return;
	}
	oq->link = l;
	oq->queue = q;
	for (int i = 0; i < WIRE_PRIORITIES; i++) {
		oq->flows[i].from = oq;
		oq->flows[i].priority = (enum wire_priority)i;
		list_init(&oq->flows[i].ready);
	}
	list_append(&l->outqueues, &oq->node);
	oq->consumer.ops = &ops;
	oq->consumer.link = true;
	queue_attach(q, &oq->consumer);
}

static void
outqueue_free(struct outqueue *oq)
{
	for (int i = 0; i < WIRE_PRIORITIES; i++)
		close_flow(&oq->flows[i]);
	queue_detach(&oq->consumer);
	for (int i = 0; i < WIRE_PRIORITIES; i++) {
		list_remove(&oq->flows[i].ready);
	}
	list_remove(&oq->node);
	free(oq);
}

static void
detach(struct router_peer *p, struct queue *q)
{
	struct link *l = list_entry(p, struct link, router_peer);

	LIST_FOREACH_SAFE (n, &l->outqueues) {
		struct outqueue *oq = list_entry(n, struct outqueue, node);

		if (oq->queue == q)
			outqueue_free(oq);
	}
}

void
outflows_init(struct link *l)
{
	list_init(&l->outqueues);
	for (int p = 0; p < WIRE_PRIORITIES; p++)
		list_init(&l->ready[p]);
	list_init(&l->no_window);
	list_init(&l->parked);
	list_init(&l->recording);
	loop_call_init(&l->pump, pump, l);
	loop_timer_init(&l->retry, l->core->loop, retry, l);
	l->router_peer = (struct router_peer){ .name = l->peer->name, .attach = attach, .detach = detach };
	router_peer_add(l->core->router, &l->router_peer);
}

void
outflows_done(struct link *l)
{
	LIST_FOREACH_SAFE (n, &l->outqueues)
		outqueue_free(list_entry(n, struct outqueue, node));
	router_peer_remove(l->core->router, &l->router_peer);
	loop_call_cancel(&l->pump);
	loop_timer_stop(&l->retry);
	free(l->by_id);
	l->by_id = NULL;
	l->cap_ids = 0;
}

/* The session is open: whatever has something to send, or to settle, opens its flow. */
void
outflows_up(struct link *l, const struct wire_limits *limits)
{
	l->window = l->window_granted = limits->window;
	l->window_used = 0;
	l->max_ids = limits->max_flows < INTAKE_FLOWS_MAX ? limits->max_flows : INTAKE_FLOWS_MAX;
	LIST_FOREACH (n, &l->outqueues) {
		struct outqueue *oq = list_entry(n, struct outqueue, node);

		for (int i = 0; i < WIRE_PRIORITIES; i++)
			if (!list_empty(held(&oq->flows[i])) || queue_waiting(oq->queue, i) > 0)
				make_ready(&oq->flows[i]);
	}
}

void
outflows_down(struct link *l)
{
	LIST_FOREACH (n, &l->outqueues)
		for (int i = 0; i < WIRE_PRIORITIES; i++) {
			struct outflow *of = &list_entry(n, struct outqueue, node)->flows[i];

			flow_out_close(&of->out);
			give_id(of);
			list_remove(&of->ready);
			of->cursor = of->current = NULL;
			of->reject_number = of->promised = 0;
		}
	for (uint32_t id = 0; id < l->cap_ids; id++)
		l->by_id[id] = NULL;
}

void
outflows_may_be_known(struct link *l)
{
	LIST_FOREACH (n, &l->outqueues) {
		struct queue *q = list_entry(n, struct outqueue, node)->queue;

		queue_set_may_be_known(q, queue_last_seq(q));
	}
}

uint64_t
outflows_memory(const struct link *l)
{
	uint64_t n = 0;

	LIST_FOREACH (node, &l->outqueues) {
		struct queue_stats st;

		queue_stats(list_entry(node, struct outqueue, node)->queue, 0, &st);
		n += st.messages - st.stored;
	}
	return n;
}

void
outflows_stats(const struct link *l, uint64_t *ret_waiting, uint64_t *ret_unconfirmed)
{
	*ret_waiting = *ret_unconfirmed = 0;
	LIST_FOREACH (n, &l->outqueues) {
		const struct outqueue *oq = list_entry(n, struct outqueue, node);

		*ret_waiting += queue_waiting(oq->queue, -1) + oq->consumer.n_held;
		*ret_unconfirmed += oq->consumer.n_held;
	}
}
