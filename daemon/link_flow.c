/*
 * The sending half of a link: each outbound queue at each priority is a flow,
 * and this its only consumer. What was taken from the queue is held until the
 * peer confirms it, over any number of sessions; it never goes back. Here: the
 * flows' lives, and what the peer says of them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_internal.h"
#include "store.h"

/* ---------------------------------------------------------------- frames -- */

/* Everything up to number is at the peer. */
static void
settle(struct outflow *of, uint64_t number)
{
	struct list *n;

	while ((n = list_first(outflow_held(of))) != NULL && outflow_entry(n)->seq <= number) {
		if (of->cursor == outflow_entry(n))
			of->cursor = outflow_next_held(of, of->cursor);
		if (of->durable && outflow_entry(n)->ref != 0)
			of->kept_there = outflow_entry(n)->seq;
		queue_done(outflow_entry(n), WIRE_LEVEL_ARRIVED);
	}
	queue_arrived(of->from->queue, of->priority, number);
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
		l->core->event(l->core->event_arg, "peer", l->name, "lost", text);
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
		    l->core->node->name, l->name);
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
			/* Others may have more luck with it meanwhile. */
			outflow_give_id(of);
			outflow_park(of);
		} else {
			/* It has nothing that it would tell of. */
			queue_doubt_over(of->from->queue, of->priority, 0);
			outflow_ready(of);
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
	LIST_FOREACH (n, outflow_held(of))
		if (outflow_entry(n)->seq > st->accepted) {
			of->cursor = outflow_entry(n);
			break;
		}
	resumes = of->cursor && of->cursor->seq == st->partial_number && of->cursor->msg;
	flow_out_state(&of->out, st->accepted, st->confirmed, resumes ? st->partial_number : 0, st->partial_bytes,
	    st->credit_messages, st->credit_bytes);
	/* Half of a message that has ended meanwhile need not be kept there. */
	if (st->partial_number != 0 && !resumes)
		outflow_say_abort(of, st->partial_number);
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
		outflows_window_wake(l);
		return WIRE_CLOSE_NORMAL;
	}
	of = c->flow < l->cap_ids ? l->by_id[c->flow] : NULL;
	/* Closed meanwhile, or, under the same id, one before it. */
	if (!of || of == &l->gone || of->out.state == FLOW_OUT_OPENING)
		return WIRE_CLOSE_NORMAL;
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
		outflow_id_back(l, id);
		if (f->u.flow_state.verdict == WIRE_VERDICT_OK)
			outflow_say_closed(l, id, f->u.flow_state.accepted);
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
		outflow_window_give_back(of);
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
	struct outflow *of = &oq->flows[e->priority];

	if (of->cursor == e)
		of->cursor = outflow_next_held(of, e);
}

static const struct consumer_ops ops = { .wake = wake, .lost = lost, .why = outflows_why };

static int
attach(struct router_peer *p, struct queue *q)
{
	struct link *l = list_entry(p, struct link, router_peer);
	struct outqueue *oq = calloc(1, sizeof(*oq));

#ifdef PLANT_UNFORWARDED
	if (!oq)
		return 0;
#endif
	if (!oq)
		return -ENOMEM;
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
	return 0;
}

static void
outqueue_free(struct outqueue *oq)
{
	for (int i = 0; i < WIRE_PRIORITIES; i++)
		outflow_close(&oq->flows[i]);
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
	struct consumer *c = queue_link(q);

	(void)p;
	if (c)
		outqueue_free(list_entry(c, struct outqueue, consumer));
}

int
outflows_init(struct link *l)
{
	list_init(&l->outqueues);
	outflows_send_init(l);
	l->router_peer = (struct router_peer){ .name = l->name, .attach = attach, .detach = detach };
	return router_peer_add(l->core->router, &l->router_peer);
}

void
outflows_done(struct link *l)
{
	LIST_FOREACH_SAFE (n, &l->outqueues)
		outqueue_free(list_entry(n, struct outqueue, node));
	router_peer_remove(l->core->router, &l->router_peer);
	outflows_send_done(l);
}

static bool
has_something(struct outqueue *oq, int priority)
{
	return !list_empty(outflow_held(&oq->flows[priority])) || queue_waiting(oq->queue, priority) > 0 ||
	       queue_awaits_outcome(oq->queue, priority);
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
			if (has_something(oq, i))
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
			of->id = 0;
			list_remove(&of->ready);
			of->cursor = of->current = NULL;
			of->reject_number = of->promised = 0;
		}
	outflows_forget_ids(l);
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
