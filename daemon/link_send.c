/*
 * What a link puts on its session, and when: whose turn it is, within ids,
 * credit and window; what must come before a message may follow a refused one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_internal.h"
#include "store.h"

#define TURN_MESSAGES 64
#define TURN_BYTES (64 * 1024)
#define IDLE_LOOKS 64      /* at flows that may give their id up; at those that wait for one */
#define LOOK_FOR_IDS_MS 20
#define RETRIES_A_TIME 256 /* of refused flows: of many, each is asked for again less often */

enum turn { TURN_MORE, TURN_DRY, TURN_BLOCKED, TURN_NO_WINDOW };

/* ------------------------------------------------------------------- turns -- */

struct entry *
outflow_next_held(struct outflow *of, struct entry *e)
{
	return e->node.next == outflow_held(of) ? NULL : outflow_entry(e->node.next);
}

void
outflow_ready(struct outflow *of)
{
	struct link *l = of->from->link;

	if (!l->live)
		return;
	list_remove(&of->ready);
	list_append(&l->ready[of->priority], &of->ready);
	loop_defer(l->core->loop, &l->pump);
}

void
outflow_park(struct outflow *of)
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

	for (unsigned i = 0; i < RETRIES_A_TIME && (n = list_first(&l->parked)) != NULL; i++) {
		struct outflow *of = list_entry(n, struct outflow, ready);

		list_remove(n);
		if (of->out.state == FLOW_OUT_REFUSED && of->verdict == WIRE_VERDICT_LIMIT)
			flow_out_close(&of->out);
		outflow_ready(of);
	}
	if (!list_empty(&l->parked))
		loop_timer_start(&l->retry, LINK_RETRY_MS);
}

/* ------------------------------------------------------------------- ids -- */

/* Nothing of it is on its way, or could come back after a crash: the other end may forget it. */
static bool
is_idle(const struct outflow *of)
{
	const struct queue *q = of->from->queue;

	return of->out.state == FLOW_OUT_OPEN && of->out.partial == 0 && list_empty(&of->from->consumer.held[of->priority]) &&
	    queue_waiting(q, (int)of->priority) == 0 && !queue_awaits_outcome(q, (int)of->priority) && queue_is_settled(q);
}

/* More queues have messages than a session has flows: one that has none gives its id up. Opened again, it begins anew. */
static bool
close_an_idle_one(struct link *l)
{
	for (unsigned n = 0; n < IDLE_LOOKS && n < l->top_id; n++) {
		struct outflow *of;

		l->hand = l->hand + 1 < l->top_id ? l->hand + 1 : 1;
		of = l->hand < l->top_id ? l->by_id[l->hand] : NULL;
		if (!of || of == &l->gone || !is_idle(of))
			continue;
		outflow_close(of);
		flow_out_close(&of->out);
		list_remove(&of->ready);
		of->accepted = of->kept_there = 0;
		return true;
	}
	return false;
}

static bool
reserve_ids(struct link *l)
{
	uint32_t cap = l->cap_ids ? 2 * l->cap_ids : 16, *free_ids;
	struct outflow **ids;

	if (l->top_id < l->cap_ids)
		return true;
	ids = realloc(l->by_id, cap * sizeof(*ids));
	if (!ids)
		return false;
	l->by_id = ids;
	free_ids = realloc(l->free_ids, cap * sizeof(*free_ids));
	if (!free_ids)
		return false;
	l->free_ids = free_ids;
	memset(ids + l->cap_ids, 0, (cap - l->cap_ids) * sizeof(*ids));
	l->cap_ids = cap;
	return true;
}

static bool
take_id(struct outflow *of)
{
	struct link *l = of->from->link;

	if (l->n_free_ids == 0 && l->top_id >= l->max_ids && !close_an_idle_one(l))
		return false;
	if (l->n_free_ids > 0)
		of->id = l->free_ids[--l->n_free_ids];
	else if (reserve_ids(l))
		of->id = l->top_id++;
	else
		return false;
	l->by_id[of->id] = of;
	return true;
}

void
outflow_id_back(struct link *l, uint32_t id)
{
	l->by_id[id] = NULL;
	l->free_ids[l->n_free_ids++] = id;
}

void
outflow_give_id(struct outflow *of)
{
	if (of->id)
		outflow_id_back(of->from->link, of->id);
	of->id = 0;
}

void
outflows_forget_ids(struct link *l)
{
	if (l->cap_ids > 0)
		memset(l->by_id, 0, l->cap_ids * sizeof(*l->by_id));
	l->n_free_ids = 0;
	l->top_id = 1;
}

static void
wait_for_id(struct outflow *of)
{
	struct link *l = of->from->link;

	list_remove(&of->ready);
	list_append(&l->no_id, &of->ready);
	if (!l->look_for_ids.armed)
		loop_timer_start(&l->look_for_ids, LOOK_FOR_IDS_MS);
}

/* Some of those that wait try again; who finds none waits on. */
static void
look_for_ids(void *arg)
{
	struct link *l = arg;
	struct list *n;

	for (unsigned i = 0; i < IDLE_LOOKS && (n = list_first(&l->no_id)) != NULL; i++)
		outflow_ready(list_entry(n, struct outflow, ready));
	if (!list_empty(&l->no_id))
		loop_timer_start(&l->look_for_ids, LOOK_FOR_IDS_MS);
}

void
outflow_say_closed(struct link *l, uint32_t id, uint64_t number)
{
	struct wire_frame f = { .kind = WIRE_SETTLED };

	f.u.settled.flow = id;
	f.u.settled.number = number;
	f.u.settled.close = true;
	session_send(l->live->session, &f);
}

void
outflow_close(struct outflow *of)
{
	struct link *l = of->from->link;

	if (of->id == 0)
		return;
	if (of->out.state == FLOW_OUT_OPENING) {
		l->by_id[of->id] = &l->gone; /* until FlowState tells whether there is anything to close */
		of->id = 0;
		return;
	}
	if (of->out.state == FLOW_OUT_OPEN && list_empty(outflow_held(of)))
		outflow_say_closed(l, of->id, queue_last_seq(of->from->queue));
	outflow_give_id(of);
}

/* --------------------------------------------------------------- sending -- */

static void
open_flow(struct outflow *of)
{
	struct wire_frame f = { .kind = WIRE_OPEN_FLOW };
	struct list *first = list_first(outflow_held(of));

	if (of->id == 0 && !take_id(of)) {
		wait_for_id(of);
		return;
	}
	flow_out_open(&of->out);
	f.u.open_flow.flow = of->id;
	f.u.open_flow.address = wire_string(queue_remote_name(of->from->queue));
	f.u.open_flow.priority = of->priority;
	f.u.open_flow.highest_used = queue_last_seq(of->from->queue);
	f.u.open_flow.oldest_unsettled = first ? outflow_entry(first)->seq : queue_last_seq(of->from->queue) + 1;
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

void
outflows_window_wake(struct link *l)
{
	struct list *n;

	while ((n = list_first(&l->no_window)) != NULL)
		outflow_ready(list_entry(n, struct outflow, ready));
}

void
outflow_window_give_back(struct outflow *of)
{
	if (of->promised == 0)
		return;
	of->from->link->window_used -= of->promised;
	of->promised = 0;
	outflows_window_wake(of->from->link);
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

void
outflow_say_abort(const struct outflow *of, uint64_t number)
{
	struct wire_frame f = { .kind = WIRE_ABORT };

	f.u.abort.flow = of->id;
	f.u.abort.number = number;
	session_send(of->from->link->live->session, &f);
}

static void
give_up_current(struct outflow *of)
{
	outflow_say_abort(of, of->out.partial);
	flow_out_abort(&of->out);
	outflow_window_give_back(of);
	queue_doomed(of->current);
	of->current = NULL;
}

/* The next entry to send, from those held or a new one. */
static struct entry *
next_entry(struct outflow *of)
{
	struct entry *e = of->cursor;

	if (e) {
		of->cursor = outflow_next_held(of, e);
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
		struct list *first = list_first(outflow_held(of));
		struct entry *e = first ? outflow_entry(first) : queue_take(&of->from->consumer, (int)of->priority);

		if (!e) {
			/* The next message asks again: the other end may have changed its mind. */
			flow_out_close(&of->out);
			outflow_give_id(of);
			return TURN_DRY;
		}
		of->cursor = NULL;
		stored = e->ref != 0;
		if (!e->msg)
			queue_doomed(e);
		else if (queue_bury(e, WIRE_LEVEL_REJECTED, codes[of->verdict], of->reason) != 0) {
			outflow_park(of);
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
		outflow_ready(list_entry(n, struct outflow, ready));
	}
}

/* The verdict on the message the flow is halted at is recorded, then the flow goes on. */
static enum turn
settle_reject(struct outflow *of)
{
	struct wire_frame f = { .kind = WIRE_RESUME };
	struct entry *e = NULL, *behind = NULL;
	bool stored;

	LIST_FOREACH (n, outflow_held(of))
		if (outflow_entry(n)->seq == of->reject_number) {
			e = outflow_entry(n);
		} else if (outflow_entry(n)->seq > of->reject_number) {
			behind = outflow_entry(n);
			break;
		}
	stored = e && e->ref != 0;
	if (e && !e->msg) {
		queue_doomed(e);
	} else if (e && queue_bury(e, WIRE_LEVEL_REJECTED, of->reject_code, of->reason) != 0) {
		outflow_park(of);
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
		outflow_park(of);
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

void
outflows_send_init(struct link *l)
{
	for (int p = 0; p < WIRE_PRIORITIES; p++)
		list_init(&l->ready[p]);
	list_init(&l->no_window);
	list_init(&l->parked);
	list_init(&l->recording);
	loop_call_init(&l->pump, pump, l);
	loop_timer_init(&l->retry, l->core->loop, retry, l);
	list_init(&l->no_id);
	loop_timer_init(&l->look_for_ids, l->core->loop, look_for_ids, l);
	outflows_forget_ids(l);
}

void
outflows_send_done(struct link *l)
{
	loop_call_cancel(&l->pump);
	loop_timer_stop(&l->retry);
	loop_timer_stop(&l->look_for_ids);
	free(l->by_id);
	free(l->free_ids);
	l->by_id = NULL;
	l->free_ids = NULL;
	l->cap_ids = 0;
}
