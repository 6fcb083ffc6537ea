#include "outlet.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "flow.h"
#include "units.h"

#define TURN 64            /* messages of one subscription before others get their turn */
#define CONSUMERS_A_FRAME 4 /* as many of them told to stand by are as much work as a frame */
#define FULL_RETRY_MS 1000 /* a dead-letter queue that is full is tried again */

struct subscription {
	struct consumer consumer;
	struct hmap_node node;
	struct outlet *outlet;
	uint32_t id;
	struct credit credit;
	struct list ready;     /* in the outlet's ready or blocked list */
	/*
	 * A large body being delivered. It goes on to its end whatever becomes of
	 * its entry: the other end has counted it, and cannot be told otherwise.
	 */
	struct message *partial; /* NULL: none */
	uint64_t partial_tag, partial_sent;
	uint32_t partial_attempt;
	bool partial_again;
};

static struct subscription *
subscription_find(const struct outlet *o, uint32_t id)
{
	struct hmap_node *n = hmap_find(&o->subscriptions, hmap_hash_number(id));

	for (; n; n = hmap_find_next(n))
		if (hmap_entry(n, struct subscription, node)->id == id)
			return hmap_entry(n, struct subscription, node);
	return NULL;
}

static struct entry *
entry_by_tag(const struct outlet *o, uint64_t tag)
{
	struct hmap_node *n = hmap_find(&o->unacked, hmap_hash_number(tag));

	for (; n; n = hmap_find_next(n))
		if (hmap_entry(n, struct entry, by_tag)->tag == tag)
			return hmap_entry(n, struct entry, by_tag);
	return NULL;
}

/* ------------------------------------------------------------ delivering -- */

/* Deliver (a chunk of) a message. Returns the bytes of its body that are through. */
static uint64_t
deliver(struct subscription *sub, struct message *m, uint64_t tag, uint32_t attempt, bool again, uint64_t offset)
{
	struct outlet *o = sub->outlet;
	struct wire_item item;

	message_item(m, loop_now_ms(o->loop), offset, session_chunk(o->session), &item);
	item.attempt = attempt;
	if (again)
		item.flags |= WIRE_ITEM_REDELIVERED;
	session_send_item(o->session, WIRE_DELIVER, sub->id, tag, &item, m->type, m->origin, m);
	offset += item.body.len;
	o->delivered += offset == m->body_len;
	return offset;
}

static void
deliver_entry(struct subscription *sub, struct entry *e)
{
	bool again = e->redelivered || e->msg->maybe_duplicate;
	uint64_t sent = deliver(sub, e->msg, e->tag, e->attempt, again, 0);

	if (sent == e->msg->body_len)
		return;
	sub->partial = message_ref(e->msg);
	sub->partial_tag = e->tag;
	sub->partial_sent = sent;
	sub->partial_attempt = e->attempt;
	sub->partial_again = again;
}

static void
deliver_rest(struct subscription *sub)
{
	struct entry *e = entry_by_tag(sub->outlet, sub->partial_tag);

	sub->partial_sent =
	    deliver(sub, sub->partial, sub->partial_tag, sub->partial_attempt, sub->partial_again, sub->partial_sent);
	if (e)
		queue_delivered(e);
	if (sub->partial_sent < sub->partial->body_len)
		return;
	message_unref(sub->partial);
	sub->partial = NULL;
}

/* Up to TURN messages. True if there may be more to do for it now. */
static bool
turn(struct subscription *sub)
{
	struct outlet *o = sub->outlet;

	for (int i = 0; i < TURN; i++) {
		struct entry *e;

		if (session_room(o->session) == 0)
			return true;
		if (sub->partial) {
			deliver_rest(sub);
			continue;
		}
		if (!credit_left(&sub->credit)) {
			queue_pause(&sub->consumer);
			return false;
		}
		e = queue_take(&sub->consumer, -1);
		if (!e)
			return false;
		e->tag = ++o->last_tag;
		hmap_add(&o->unacked, &e->by_tag, hmap_hash_number(e->tag)); /* there is room since it subscribed */
		credit_use(&sub->credit, 1, e->msg->body_len);
		deliver_entry(sub, e);
	}
	return true;
}

static void
pump(void *arg)
{
	struct outlet *o = arg;
	struct list *n;

	while ((n = list_first(&o->ready)) != NULL) {
		struct subscription *sub = list_entry(n, struct subscription, ready);

		list_remove(n);
		if (!turn(sub))
			continue;
		if (session_room(o->session) > 0) {
			list_append(&o->ready, n);
			continue;
		}
		/* Slower than the queue: others may have it meanwhile. */
		list_append(&o->blocked, n);
		queue_pause(&sub->consumer);
	}
}

void
outlet_writable(struct outlet *o)
{
	struct list *n;

	while ((n = list_first(&o->blocked)) != NULL) {
		struct subscription *sub = list_entry(n, struct subscription, ready);

		list_remove(n);
		if (sub->partial) {
			list_append(&o->ready, n);
			loop_defer(o->loop, &o->pump);
		}
		queue_ready(&sub->consumer);
	}
}

/* --------------------------------------------------- what the queue says -- */

static void
wake(struct consumer *c)
{
	struct subscription *sub = list_entry(c, struct subscription, consumer);

	if (list_empty(&sub->ready))
		list_append(&sub->outlet->ready, &sub->ready);
	loop_defer(sub->outlet->loop, &sub->outlet->pump);
}

static void
standby(struct consumer *c, bool is_standby)
{
	struct subscription *sub = list_entry(c, struct subscription, consumer);
	struct wire_frame f = { .kind = WIRE_SUBSCRIBED };

	f.u.subscribed.subscription = sub->id;
	f.u.subscribed.standby = is_standby;
	session_send(sub->outlet->session, &f);
}

static void
lost(struct consumer *c, struct entry *e)
{
	struct outlet *o = list_entry(c, struct subscription, consumer)->outlet;

	hmap_remove(&o->unacked, &e->by_tag);
	o->lost++;
}

static void
subscription_free(struct subscription *sub)
{
	for (int p = 0; p < WIRE_PRIORITIES && sub->consumer.queue; p++)
		LIST_FOREACH (n, &sub->consumer.held[p])
			lost(&sub->consumer, list_entry(n, struct entry, node));
	queue_detach(&sub->consumer);
	list_remove(&sub->ready);
	hmap_remove(&sub->outlet->subscriptions, &sub->node);
	message_unref(sub->partial);
	free(sub);
}

static void
cancelled(struct consumer *c, enum wire_verdict verdict, const char *reason)
{
	struct subscription *sub = list_entry(c, struct subscription, consumer);
	struct wire_frame f = { .kind = WIRE_UNSUBSCRIBE };

	f.u.unsubscribe.subscription = sub->id;
	f.u.unsubscribe.verdict = verdict;
	f.u.unsubscribe.reason = wire_string(reason);
	session_send(sub->outlet->session, &f);
	subscription_free(sub);
}

/* Who it is, as an operator looks for it in `clients`. */
static void
describe(const struct outlet *o, char ret[static 160])
{
	const char *unit = o->who->unit;

	snprintf(ret, 160, "the consumer of uid %" PRIu32 "%s%.100s", o->who->uid, unit[0] ? " unit " : "", unit);
}

static void
why(const struct consumer *c, struct cause *ret)
{
	const struct subscription *sub = (const struct subscription *)(const void *)((const char *)c - offsetof(struct subscription, consumer));
	const struct outlet *o = sub->outlet;
	uint64_t since = queue_held_since(c), now = loop_now_ms(o->loop);
	char who[160], text[UNITS_TEXT_MAX];

	describe(o, who);
	if (session_room(o->session) == 0) {
		cause_set(ret, "not-reading", "%s does not read what it is sent", who);
	} else if (c->n_held > 0) {
		cause_set(ret, "unacked", "%s holds %" PRIu64 " unacked, the oldest for %s", who, c->n_held,
		    units_duration_human(now > since ? now - since : 0, text));
		ret->since_ms = since;
	} else if (!credit_left(&sub->credit)) {
		cause_set(ret, "no-credit", "%s has given no credit, and holds nothing", who);
	} else {
		cause_set(ret, "moving", "nothing: %s is taking", who);
	}
}

static const struct consumer_ops ops = { wake, standby, cancelled, lost, why };

/* The first that may not any more, or NULL. */
static struct subscription *
find_denied(const struct outlet *o)
{
	for (struct hmap_node *n = hmap_walk(&o->subscriptions, NULL); n; n = hmap_walk(&o->subscriptions, n)) {
		struct subscription *sub = hmap_entry(n, struct subscription, node);

		if (!router_may(o->who, ROUTER_RECEIVE, sub->consumer.queue))
			return sub;
	}
	return NULL;
}

void
outlet_recheck(struct outlet *o)
{
	struct subscription *sub;

	while ((sub = find_denied(o)) != NULL)
		cancelled(&sub->consumer, WIRE_VERDICT_DENIED, "the queue's receive list has changed");
}

/* ---------------------------------------------------------------- frames -- */

/* When an exclusive consumer comes or goes all others of the queue may have to be told. */
static void
charge(const struct outlet *o, const struct consumer *c)
{
	struct queue_stats st;

	if (!c->exclusive || !c->queue)
		return;
	queue_stats(c->queue, 0, &st);
	session_charge(o->session, st.consumers / CONSUMERS_A_FRAME);
}

static enum wire_close_code
subscribe(struct outlet *o, const struct wire_subscribe *w, const char **ret_reason)
{
	struct wire_frame f = { .kind = WIRE_SUBSCRIBED };
	struct subscription *sub;
	struct queue *q;
	const char *reason = "";
	enum wire_verdict verdict;

	if (w->subscription == 0 || subscription_find(o, w->subscription)) {
		*ret_reason = "a subscription id of 0 or in use";
		return WIRE_CLOSE_PROTOCOL;
	}
	f.u.subscribed.subscription = w->subscription;
	if (o->subscriptions.n >= OUTLET_SUBSCRIPTIONS_MAX) {
		verdict = WIRE_VERDICT_LIMIT;
		reason = "too many subscriptions on this session";
	} else {
		verdict = router_receive(o->router, o->who, w->queue, &q, &reason);
		if (verdict != WIRE_VERDICT_OK && verdict != WIRE_VERDICT_LIMIT)
			log_limited(o->denied, "may not receive from %.*s: %s (%s)",
			    (int)(w->queue.len < NAMES_DEST_MAX ? w->queue.len : NAMES_DEST_MAX), (const char *)w->queue.data, reason,
			    wire_verdict_name(verdict));
	}
	sub = verdict == WIRE_VERDICT_OK ? calloc(1, sizeof(*sub)) : NULL;
	if (!sub || hmap_reserve(&o->unacked) < 0 || hmap_add(&o->subscriptions, &sub->node, hmap_hash_number(w->subscription)) < 0) {
		free(sub);
		if (verdict == WIRE_VERDICT_OK) {
			verdict = WIRE_VERDICT_LIMIT;
			reason = "out of memory";
		}
		f.u.subscribed.verdict = verdict;
		f.u.subscribed.reason = wire_string(reason);
		session_send(o->session, &f);
		return WIRE_CLOSE_NORMAL;
	}
	sub->outlet = o;
	sub->id = w->subscription;
	list_init(&sub->ready);
	sub->consumer.ops = &ops;
	sub->consumer.exclusive = w->exclusive;
	credit_grant(&sub->credit, w->credit_messages, w->credit_bytes);
	queue_attach(q, &sub->consumer);
	charge(o, &sub->consumer);
	f.u.subscribed.standby = sub->consumer.standby;
	session_send(o->session, &f);
	return WIRE_CLOSE_NORMAL;
}

/*
 * Call fn for each unacked entry in the ranges. What was taken away may still
 * be named, once; anything else never delivered ends the session, which also
 * bounds the work by what is unacked.
 */
static enum wire_close_code
each_acked(struct outlet *o, struct wire_numbers ranges, const struct wire_nack *nack,
    void (*fn)(struct entry *e, const struct wire_nack *nack), const char **ret_reason)
{
	uint64_t first, last;
	int r;

	*ret_reason = "an ack of something not delivered, or acked before";
	while ((r = wire_range_next(&ranges, &first, &last)) > 0) {
#ifndef PLANT_ACK_BELIEVED
		if (first == 0 || last > o->last_tag)
			return WIRE_CLOSE_PROTOCOL;
#endif
		for (uint64_t tag = first; tag <= last; tag++) {
			struct entry *e = entry_by_tag(o, tag);

			if (e) {
				struct subscription *sub = list_entry(e->holder, struct subscription, consumer);

				if (sub->partial && sub->partial_tag == tag)
					return WIRE_CLOSE_PROTOCOL;
				hmap_remove(&o->unacked, &e->by_tag);
				fn(e, nack);
			} else if (o->lost > 0) {
				o->lost--;
			} else {
#ifndef PLANT_ACK_BELIEVED
				return WIRE_CLOSE_PROTOCOL;
#endif
			}
		}
	}
	return r == 0 ? WIRE_CLOSE_NORMAL : WIRE_CLOSE_PROTOCOL;
}

static void
ack(struct entry *e, const struct wire_nack *nack)
{
	(void)nack;
	queue_done(e, WIRE_LEVEL_CONSUMED);
}

static void
nacked(struct entry *e, const struct wire_nack *nack)
{
	char reason[WIRE_REASON_MAX + 1];

	wire_text(nack->reason, reason, sizeof(reason));
	if (nack->action == WIRE_NACK_DEAD) {
		if (queue_bury(e, WIRE_LEVEL_DEAD, WIRE_REJECT_UNKNOWN, reason) != 0)
			queue_return(e, FULL_RETRY_MS, reason);
	} else {
		queue_return(e, nack->action == WIRE_NACK_DELAY ? nack->delay_ms : 0, reason);
	}
}

enum wire_close_code
outlet_frame(struct outlet *o, const struct wire_frame *f, const char **ret_reason)
{
	struct subscription *sub;

	switch (f->kind) {
	case WIRE_SUBSCRIBE:
		return subscribe(o, &f->u.subscribe, ret_reason);
	case WIRE_CREDIT:
		/* Of a subscription cancelled meanwhile: nothing to do. */
		sub = subscription_find(o, f->u.credit.subscription);
		if (!sub)
			return WIRE_CLOSE_NORMAL;
		if (!credit_grant(&sub->credit, f->u.credit.messages, f->u.credit.bytes)) {
			*ret_reason = "credit that falls";
			return WIRE_CLOSE_PROTOCOL;
		}
		if (sub->consumer.queue && list_empty(&sub->ready))
			queue_ready(&sub->consumer);
		return WIRE_CLOSE_NORMAL;
	case WIRE_ACK:
		return each_acked(o, f->u.ack.ranges, NULL, ack, ret_reason);
	case WIRE_NACK:
		if (f->u.nack.action > WIRE_NACK_DEAD) {
			*ret_reason = "an unknown kind of nack";
			return WIRE_CLOSE_PROTOCOL;
		}
		return each_acked(o, f->u.nack.ranges, &f->u.nack, nacked, ret_reason);
	case WIRE_UNSUBSCRIBE:
		sub = subscription_find(o, f->u.unsubscribe.subscription);
		if (sub) {
			charge(o, &sub->consumer);
			subscription_free(sub);
		}
		return WIRE_CLOSE_NORMAL;
	default:
		*ret_reason = "a frame out of place";
		return WIRE_CLOSE_PROTOCOL;
	}
}

void
outlet_init(struct outlet *o, struct loop *l, struct router *r, struct session *s, const struct subject *who, struct log_limit *denied)
{
	*o = (struct outlet){ .loop = l, .router = r, .session = s, .who = who, .denied = denied };
	hmap_init(&o->subscriptions);
	hmap_init(&o->unacked);
	list_init(&o->ready);
	list_init(&o->blocked);
	loop_call_init(&o->pump, pump, o);
}

void
outlet_done(struct outlet *o)
{
	struct hmap_node *n;

	while ((n = hmap_walk(&o->subscriptions, NULL)) != NULL)
		subscription_free(hmap_entry(n, struct subscription, node));
	hmap_done(&o->subscriptions);
	hmap_done(&o->unacked);
	loop_call_cancel(&o->pump);
}
