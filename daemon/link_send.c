/*
 * What a link sends, and when: flows that have something to send take turns
 * while the session takes bytes and its window is not used up; what the peer
 * will never take is buried here.
 */
#include "link_internal.h"

#define TURN_MESSAGES 64
#define TURN_BYTES (64 * 1024)

enum turn { TURN_MORE, TURN_DRY, TURN_BLOCKED, TURN_NO_WINDOW };

/* ------------------------------------------------------------ who is ready -- */

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

	while ((n = list_first(&l->parked)) != NULL) {
		struct outflow *of = list_entry(n, struct outflow, ready);

		list_remove(n);
		if (of->out.state == FLOW_OUT_REFUSED && of->verdict == WIRE_VERDICT_LIMIT)
			flow_out_close(&of->out);
		outflow_ready(of);
	}
}

/* --------------------------------------------------------------- sending -- */

/*
 * What a body is sure to send counts in the session's window as a whole when it
 * starts (of a large one the first chunk: the rest is reserved), so that bodies
 * half sent never wait for each other. One larger than what is ever left may
 * start when half is free.
 */
static bool
window_fits(const struct link *l, uint64_t bytes)
{
	uint64_t left = l->window_granted > l->window_used ? l->window_granted - l->window_used : 0;

	return bytes <= left || (left > 0 && left >= l->window / 2);
}

static void
window_promise(struct outflow *of, uint64_t total, uint64_t offset, uint64_t chunk)
{
	uint64_t rest = total - offset;

	of->promised = total > WIRE_LARGE && rest > chunk ? chunk : rest;
	of->from->link->window_used += of->promised;
}

void
turns_window(struct link *l)
{
	struct list *n;

	while ((n = list_first(&l->no_window)) != NULL)
		outflow_ready(list_entry(n, struct outflow, ready));
}

void
outflow_give_back(struct outflow *of)
{
	if (of->promised == 0)
		return;
	of->from->link->window_used -= of->promised;
	of->promised = 0;
	turns_window(of->from->link);
}

/* A (chunk of a) message goes out. */
static void
send_chunk(struct outflow *of, struct entry *e, uint64_t offset)
{
	struct link *l = of->from->link;
	struct session *s = l->live->session;
	struct wire_item item;

	message_item(e->msg, loop_now_ms(l->core->loop), offset, session_chunk(s), &item);
	/* Once another boot of the peer may have it, it stays so, on every later session. */
	if (e->sent_boot != 0 && e->sent_boot != l->live->peer.boot_id)
		e->redelivered = true;
	if (e->redelivered)
		item.flags |= WIRE_ITEM_MAYBE_DUPLICATE;
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
give_up_current(struct outflow *of)
{
	outflow_abort(of, of->out.partial);
	flow_out_abort(&of->out);
	outflow_give_back(of);
	queue_doomed(of->current);
	of->current = NULL;
}

/* The next entry to send, from those held or a new one. */
static struct entry *
next_entry(struct outflow *of)
{
	struct entry *e = of->cursor;

	if (!e)
		return queue_take(&of->from->consumer, (int)of->priority);
	of->cursor = outflow_next(of, e);
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

	for (int i = 0; i < TURN_MESSAGES; i++) {
		struct list *first = list_first(outflow_held(of));
		struct entry *e = first ? entry_of(first) : queue_take(&of->from->consumer, (int)of->priority);

		if (!e) {
			/* The next message asks again: the other end may have changed its mind. */
			flow_out_close(&of->out);
			outflow_give_id(of);
			return TURN_DRY;
		}
		of->cursor = NULL;
		if (!e->msg)
			queue_doomed(e);
		else if (queue_bury(e, WIRE_LEVEL_REJECTED, codes[of->verdict], of->reason) != 0) {
			outflow_park(of);
			return TURN_BLOCKED;
		}
	}
	return TURN_MORE;
}

/* The verdict on the message the flow is halted at is recorded, then the flow goes on. */
static enum turn
settle_reject(struct outflow *of)
{
	struct wire_frame f = { .kind = WIRE_RESUME };
	struct entry *e = NULL, *behind = NULL;

	LIST_FOREACH (n, outflow_held(of))
		if (entry_of(n)->seq == of->reject_number) {
			e = entry_of(n);
		} else if (entry_of(n)->seq > of->reject_number) {
			behind = entry_of(n);
			break;
		}
	if (e && !e->msg) {
		queue_doomed(e);
	} else if (e && queue_bury(e, WIRE_LEVEL_REJECTED, of->reject_code, of->reason) != 0) {
		outflow_park(of);
		return TURN_BLOCKED;
	}
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
		send_chunk(of, of->current, of->out.partial_sent);
		return TURN_MORE;
	}
	if (!flow_out_may_start(&of->out))
		return TURN_BLOCKED;
	e = next_entry(of);
	if (!e)
		return TURN_DRY;
	if (!e->msg) { /* expired or purged, and the peer does not have it */
		queue_doomed(e);
		return TURN_MORE;
	}
	chunk = session_chunk(l->live->session);
	if (!window_fits(l, e->msg->body_len > WIRE_LARGE ? chunk : e->msg->body_len)) {
		of->cursor = e;
		return TURN_NO_WINDOW;
	}
	e->sent = true;
	offset = flow_out_start(&of->out, e->seq, e->msg->body_len, WIRE_LARGE);
	window_promise(of, e->msg->body_len, offset, chunk);
	send_chunk(of, e, offset);
	return TURN_MORE;
}

static enum turn
turn(struct outflow *of)
{
	struct session *s = of->from->link->live->session;
	size_t room = session_room(s), stop = room > TURN_BYTES ? room - TURN_BYTES : 0;

	switch (of->out.state) {
	case FLOW_OUT_CLOSED:
		outflow_open(of);
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

/* -------------------------------------------------------------------- link -- */

void
turns_up(struct link *l, uint64_t window)
{
	l->window = l->window_granted = window;
	l->window_used = 0;
}

void
turns_init(struct link *l)
{
	for (int p = 0; p < WIRE_PRIORITIES; p++)
		list_init(&l->ready[p]);
	list_init(&l->no_window);
	list_init(&l->parked);
	loop_call_init(&l->pump, pump, l);
	loop_timer_init(&l->retry, l->core->loop, retry, l);
}

void
turns_done(struct link *l)
{
	loop_call_cancel(&l->pump);
	loop_timer_stop(&l->retry);
}
