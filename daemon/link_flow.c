/*
 * The sending half of a link: each outbound queue at each priority is a flow,
 * and this its only consumer. What was taken from the queue is held until the
 * peer confirms it, over any number of sessions; it never goes back. Here flows
 * open and close, and hear what the peer says of them; link_send.c sends.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "link_internal.h"

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

void
outflow_give_id(struct outflow *of)
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
	if (of->out.state == FLOW_OUT_OPEN && list_empty(outflow_held(of)))
		say_closed(l, of->id, queue_last_seq(of->from->queue));
	outflow_give_id(of);
}

/* --------------------------------------------------------------- opening -- */

void
outflow_open(struct outflow *of)
{
	struct wire_frame f = { .kind = WIRE_OPEN_FLOW };
	struct list *first = list_first(outflow_held(of));

	if (of->id == 0 && !take_id(of)) {
		outflow_park(of);
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

void
outflow_abort(const struct outflow *of, uint64_t number)
{
	struct wire_frame f = { .kind = WIRE_ABORT };

	f.u.abort.flow = of->id;
	f.u.abort.number = number;
	session_send(of->from->link->live->session, &f);
}

/* ---------------------------------------------------------------- frames -- */

/* Everything up to number is at the peer. */
static void
settle(struct outflow *of, uint64_t number)
{
	struct list *n;

	while ((n = list_first(outflow_held(of))) != NULL && entry_of(n)->seq <= number) {
		if (of->cursor == entry_of(n))
			of->cursor = outflow_next(of, of->cursor);
		queue_done(entry_of(n), WIRE_LEVEL_ARRIVED);
	}
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
		*ret_reason = "a message was accepted there that this node never sent: its state folder was restored or cloned";
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
			outflow_park(of);
		} else {
			outflow_ready(of);
		}
		return WIRE_CLOSE_NORMAL;
	}
	if (st->confirmed > st->accepted) {
		*ret_reason = "a FlowState that confirms what was not accepted";
		return WIRE_CLOSE_PROTOCOL;
	}
	of->verdict = WIRE_VERDICT_OK;
	settle(of, st->confirmed);
	of->cursor = NULL;
	LIST_FOREACH (n, outflow_held(of))
		if (entry_of(n)->seq > st->accepted) {
			of->cursor = entry_of(n);
			break;
		}
	resumes = of->cursor && of->cursor->seq == st->partial_number && of->cursor->msg;
	flow_out_state(&of->out, st->accepted, st->confirmed, resumes ? st->partial_number : 0, st->partial_bytes,
	    st->credit_messages, st->credit_bytes);
	/* Half of a message that has ended meanwhile need not be kept there. */
	if (st->partial_number != 0 && !resumes)
		outflow_abort(of, st->partial_number);
	outflow_ready(of);
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
		turns_window(l);
		return WIRE_CLOSE_NORMAL;
	}
	of = c->flow < l->cap_ids ? l->by_id[c->flow] : NULL;
	if (!of || of == &l->gone)
		return WIRE_CLOSE_NORMAL; /* closed meanwhile */
	if (!credit_grant(&of->out.credit, c->messages, c->bytes))
		return WIRE_CLOSE_PROTOCOL;
	if (c->number)
		flow_out_reserved(&of->out, c->number);
	outflow_ready(of);
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
			outflow_ready(of);
		return WIRE_CLOSE_NORMAL;
	case WIRE_REJECT:
		if (flow_out_reject(&of->out, f->u.reject.number) != 0)
			break;
		of->current = NULL;
		outflow_give_back(of);
		of->reject_number = f->u.reject.number;
		of->reject_code = f->u.reject.code;
		wire_text(f->u.reject.reason, of->reason, sizeof(of->reason));
		outflow_ready(of);
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
			outflow_ready(&oq->flows[p]);
}

/* A held entry that no bytes were sent of expired or was purged. */
static void
lost(struct consumer *c, struct entry *e)
{
	struct outqueue *oq = list_entry(c, struct outqueue, consumer);
	struct outflow *of = &oq->flows[e->msg ? e->msg->priority : WIRE_PRIORITY_NORMAL];

	if (of->cursor == e)
		of->cursor = outflow_next(of, e);
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
	turns_init(l);
	l->router_peer = (struct router_peer){ .name = l->peer->name, .attach = attach, .detach = detach };
	router_peer_add(l->core->router, &l->router_peer);
}

void
outflows_done(struct link *l)
{
	LIST_FOREACH_SAFE (n, &l->outqueues)
		outqueue_free(list_entry(n, struct outqueue, node));
	router_peer_remove(l->core->router, &l->router_peer);
	turns_done(l);
	free(l->by_id);
	l->by_id = NULL;
	l->cap_ids = 0;
}

/* The session is open: whatever has something to send, or to settle, opens its flow. */
void
outflows_up(struct link *l, const struct wire_limits *limits)
{
	turns_up(l, limits->window);
	l->max_ids = limits->max_flows < INTAKE_FLOWS_MAX ? limits->max_flows : INTAKE_FLOWS_MAX;
	LIST_FOREACH (n, &l->outqueues) {
		struct outqueue *oq = list_entry(n, struct outqueue, node);

		for (int i = 0; i < WIRE_PRIORITIES; i++)
			if (!list_empty(outflow_held(&oq->flows[i])) || queue_waiting(oq->queue, i) > 0)
				outflow_ready(&oq->flows[i]);
	}
}

void
outflows_down(struct link *l)
{
	LIST_FOREACH (n, &l->outqueues)
		for (int i = 0; i < WIRE_PRIORITIES; i++) {
			struct outflow *of = &list_entry(n, struct outqueue, node)->flows[i];

			flow_out_close(&of->out);
			outflow_give_id(of);
			list_remove(&of->ready);
			of->cursor = of->current = NULL;
			of->reject_number = of->promised = 0;
		}
	for (uint32_t id = 0; id < l->cap_ids; id++)
		l->by_id[id] = NULL;
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
