#include "consumer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "connection.h"

/* ---------------------------------------------------------- subscriptions */

static void
subscribe(struct connectd *c, struct connectd_consumer *k)
{
	k->done_messages = k->done_bytes = k->told_messages = k->told_bytes = 0;
	conn_put(c, &(struct wire_frame){ .kind = WIRE_SUBSCRIBE, .u.subscribe = {
	    .subscription = k->id,
	    .queue = wire_string(k->queue),
	    .credit_messages = k->credit_messages,
	    .credit_bytes = k->credit_bytes,
	    .exclusive = k->exclusive } });
}

static struct connectd_consumer *
consumer_find(struct connectd *c, uint32_t id)
{
	struct consumers *s = &c->consumers;

	if (s->last != NULL && s->last->id == id)
		return s->last;
	for (struct hmap_node *n = hmap_find(&s->by_id, hmap_hash_number(id)); n != NULL; n = hmap_find_next(n)) {
		struct connectd_consumer *k = hmap_entry(n, struct connectd_consumer, by_id);

		if (k->id == id)
			return s->last = k;
	}
	return NULL;
}

int
connectd_consume(struct connectd *c, const char *queue, const struct connectd_consume_options *opt, connectd_message_fn fn,
    void *userdata, struct connectd_consumer **ret)
{
	struct connectd_consume_options o = { 0 };
	struct connectd_consumer *k;
	struct names_dest parts;

	if (c->state == CONN_DEAD || c->closing)
		return conn_fail(c, -ENOTCONN, "not connected, and not coming back");
	if (names_dest_parse(queue, strlen(queue), &parts) < 0)
		return conn_fail(c, -EINVAL, "%s is no name of a queue", queue);
	if (opt != NULL)
		memcpy(&o, opt, opt->size < sizeof(o) ? opt->size : sizeof(o));
	k = calloc(1, sizeof(*k));
	if (k == NULL)
		return conn_fail(c, -ENOMEM, "out of memory");
	k->id = ++c->consumers.next_id;
	if (hmap_add(&c->consumers.by_id, &k->by_id, hmap_hash_number(k->id)) < 0) {
		free(k);
		return conn_fail(c, -ENOMEM, "out of memory");
	}
	k->refs = 1;
	k->conn = c;
	memcpy(k->queue, queue, strlen(queue) + 1); /* a parsed destination fits */
	k->exclusive = o.exclusive != 0;
	k->credit_messages = o.credit_messages > 0 ? o.credit_messages : CONSUMER_CREDIT;
	k->credit_bytes = o.credit_bytes > 0 ? o.credit_bytes : CONSUMER_CREDIT_BYTES;
	k->fn = fn;
	k->userdata = userdata;
	list_append(&c->consumers.all, &k->all);
	*ret = k;
	if (c->state == CONN_UP) {
		subscribe(c, k);
		if (!c->entered && c->corked == 0)
			conn_output(c);
	}
	return 0;
}

void
consumer_unref(struct connectd_consumer *k)
{
	if (k != NULL && --k->refs == 0)
		free(k);
}

/* What it holds comes again, to it or to another: forget it here. */
static void
drop_deliveries(struct connectd *c, struct connectd_consumer *k)
{
	connectd_msg_unref(k->partial);
	k->partial = NULL;
	LIST_FOREACH_SAFE(node, &c->consumers.inbox) {
		struct connectd_msg *m = list_entry(node, struct connectd_msg, inbox);

		if (m->consumer == k) {
			list_remove(&m->inbox);
			connectd_msg_unref(m);
		}
	}
}

/* No frame reaches it any more. */
static void
detach(struct connectd *c, struct connectd_consumer *k)
{
	if (c->consumers.last == k)
		c->consumers.last = NULL;
	hmap_remove(&c->consumers.by_id, &k->by_id);
	drop_deliveries(c, k);
}

void
connectd_consumer_close(struct connectd_consumer *k)
{
	struct connectd *c = k != NULL ? k->conn : NULL;

	if (c == NULL)
		return;
	if (!k->refused) {
		if (c->state == CONN_UP) {
			consumers_flush(c);
			conn_put(c, &(struct wire_frame){ .kind = WIRE_UNSUBSCRIBE, .u.unsubscribe = { .subscription = k->id } });
		}
		detach(c, k);
	}
	list_remove(&k->all);
	k->conn = NULL;
	consumer_unref(k);
	if (!c->entered && c->corked == 0)
		conn_output(c);
}

/* ------------------------------------------------------- from the daemon */

static int
verdict_errno(uint32_t verdict)
{
	switch (verdict) {
	case WIRE_VERDICT_DENIED:
		return -EACCES;
	case WIRE_VERDICT_NO_QUEUE:
		return -ENOENT;
	case WIRE_VERDICT_BAD_ADDRESS:
		return -EINVAL;
	case WIRE_VERDICT_LIMIT:
		return -EUSERS;
	default:
		return -ECANCELED;
	}
}

static void
cancelled(struct connectd *c, struct connectd_consumer *k, uint32_t verdict, struct wire_bytes reason)
{
	char text[CONN_TEXT];
	int code = verdict_errno(verdict);

	k->refused = true;
	detach(c, k);
	conn_fail(c, code, "queue %s: %s", k->queue, conn_text(text, reason, wire_verdict_name(verdict)));
	if (k->fn == NULL) {
		c->consumers.refusal = code;
		return;
	}
	k->refs++;
	k->fn(c, k, NULL, k->userdata);
	consumer_unref(k);
}

int
consumer_subscribed(struct connectd *c, const struct wire_subscribed *s)
{
	struct connectd_consumer *k = consumer_find(c, s->subscription);

	if (k != NULL && s->verdict != WIRE_VERDICT_OK)
		cancelled(c, k, s->verdict, s->reason);
	return 0;
}

int
consumer_unsubscribe(struct connectd *c, const struct wire_unsubscribe *u)
{
	struct connectd_consumer *k = consumer_find(c, u->subscription);

	if (k != NULL)
		cancelled(c, k, u->verdict, u->reason);
	return 0;
}

/* The whole message is here. */
static void
offer(struct connectd *c, struct connectd_consumer *k, struct connectd_msg *m, uint64_t tag)
{
	m->tag = tag;
	m->session = c->session;
	m->consumer = k;
	k->refs++;
	if (k->fn == NULL) {
		list_append(&c->consumers.inbox, &m->inbox);
		return;
	}
	k->fn(c, k, m, k->userdata);
	connectd_msg_unref(m); /* with it may go the last reference to the consumer */
}

/* A message whose body has `total` bytes begins. */
static int
begin(struct connectd *c, const struct wire_item *item, uint64_t total, struct connectd_msg **ret)
{
	struct dict_origin *origin = NULL;
	struct dict_type *type = NULL;

	if (total > CONN_MAX_MESSAGE || item->features.len > 0)
		return conn_fail(c, -EPROTO, "the daemon delivered a message that this library cannot take");
	if (dict_in_type(&c->dict_in, item->type, &type) < 0 || dict_in_origin(&c->dict_in, item->origin, &origin) < 0) {
		dict_type_unref(type);
		return conn_fail(c, -EPROTO, "the daemon named a type or origin that it never defined");
	}
	*ret = msg_received(item, (size_t)total, type, origin);
	if (*ret != NULL)
		return 0;
	dict_type_unref(type);
	dict_origin_unref(origin);
	return conn_fail(c, -ENOMEM, "out of memory for a message of %llu bytes", (unsigned long long)total);
}

static int
deliver_chunk(struct connectd *c, struct connectd_consumer *k, uint64_t tag, const struct wire_item *item)
{
	struct connectd_msg *m;
	int r;

	if (item->offset == 0) {
		if (k->partial != NULL) {
			/* Given up by the daemon half-way; it used credit. */
			k->done_messages++;
			k->done_bytes += k->partial->body_len;
			connectd_msg_unref(k->partial);
			k->partial = NULL;
		}
		r = begin(c, item, item->total, &k->partial);
		if (r < 0)
			return r;
		k->partial_tag = tag;
		k->partial_have = 0;
	}
	m = k->partial;
	if (m == NULL || tag != k->partial_tag || item->offset != k->partial_have || item->body.len == 0 ||
	    item->body.len > m->body_len - k->partial_have)
		return conn_fail(c, -EPROTO, "the daemon sent a chunk that does not fit");
	memcpy(m->body + k->partial_have, item->body.data, item->body.len);
	k->partial_have += item->body.len;
	if (k->partial_have == m->body_len) {
		k->partial = NULL;
		offer(c, k, m, tag);
	}
	return 0;
}

int
consumer_deliver(struct connectd *c, const struct wire_run *run)
{
	struct connectd_consumer *k = consumer_find(c, run->id);
	struct wire_bytes items = run->items;
	struct wire_item item;
	uint64_t tag = run->first;
	int r = 0;

	if (k == NULL)
		return 0; /* closed meanwhile: the daemon takes them back */
	if (tag == 0)
		return conn_fail(c, -EPROTO, "the daemon delivered without a tag");
	k->refs++; /* a call-back may close it */
	while (r == 0 && k->conn != NULL && !k->refused && !c->closing && wire_item_next(&items, &item)) {
		struct connectd_msg *m;

		if (item.total > 0) {
			r = run->n_items == 1 ? deliver_chunk(c, k, tag, &item)
			                      : conn_fail(c, -EPROTO, "the daemon sent a chunk among whole messages");
			continue;
		}
		r = begin(c, &item, item.body.len, &m);
		if (r < 0)
			break;
		if (item.body.len > 0)
			memcpy(m->body, item.body.data, item.body.len);
		offer(c, k, m, tag++);
	}
	consumer_unref(k);
	return r;
}

/* --------------------------------------------------------- taking, acking */

static bool
recv_ready(void *arg)
{
	const struct consumers *s = &((struct connectd *)arg)->consumers;

	return !list_empty(&s->inbox) || s->refusal != 0;
}

int
connectd_recv(struct connectd *c, struct connectd_msg **ret, int timeout_ms)
{
	struct consumers *s = &c->consumers;
	int r = recv_ready(c) ? 0 : conn_until(c, timeout_ms, recv_ready, c);

	if (r < 0)
		return r;
	if (list_empty(&s->inbox)) {
		r = s->refusal;
		s->refusal = 0;
		return r;
	}
	*ret = list_entry(s->inbox.next, struct connectd_msg, inbox);
	list_remove(&(*ret)->inbox);
	return 0;
}

void
consumers_flush(struct connectd *c)
{
	struct consumers *s = &c->consumers;
	uint8_t packed[2 * CONSUMER_RANGES * 10];
	struct wire_numbers ranges = { packed, 0 };

	if (s->n_ranges == 0)
		return;
	for (size_t i = 0; i < 2 * s->n_ranges; i++)
		ranges.len += wire_put_number(packed + ranges.len, s->ranges[i]);
	s->n_ranges = 0;
	if (s->nack)
		conn_put(c, &(struct wire_frame){ .kind = WIRE_NACK,
		    .u.nack = { .ranges = ranges, .action = (uint32_t)s->action, .delay_ms = s->delay_ms } });
	else
		conn_put(c, &(struct wire_frame){ .kind = WIRE_ACK, .u.ack = { ranges } });
}

/* Gather one tag with those before it. */
static void
gather(struct connectd *c, uint64_t tag, bool nack, enum connectd_nack_action action, uint64_t delay_ms)
{
	struct consumers *s = &c->consumers;
	uint64_t *last = s->n_ranges > 0 ? &s->ranges[2 * s->n_ranges - 1] : NULL;

	if (last != NULL && (s->nack != nack || s->action != action || s->delay_ms != delay_ms || tag <= *last ||
	    (s->n_ranges == CONSUMER_RANGES && tag != *last + 1))) {
		consumers_flush(c);
		last = NULL;
	}
	if (last != NULL && tag == *last + 1) {
		*last = tag;
		return;
	}
	s->nack = nack;
	s->action = action;
	s->delay_ms = delay_ms;
	s->ranges[2 * s->n_ranges] = s->ranges[2 * s->n_ranges + 1] = tag;
	s->n_ranges++;
}

/* Half of the credit was used: give it again. */
static void
replenish(struct connectd *c, struct connectd_consumer *k)
{
	if ((k->done_messages - k->told_messages) * 2 < k->credit_messages &&
	    (k->done_bytes - k->told_bytes) * 2 < k->credit_bytes)
		return;
	k->told_messages = k->done_messages;
	k->told_bytes = k->done_bytes;
	consumers_flush(c); /* what makes the room goes first */
	conn_put(c, &(struct wire_frame){ .kind = WIRE_CREDIT, .u.credit = {
	    .subscription = k->id,
	    .messages = k->told_messages + k->credit_messages,
	    .bytes = k->told_bytes + k->credit_bytes } });
}

static int
settle(struct connectd *c, struct connectd_msg *m, bool nack, enum connectd_nack_action action, uint64_t delay_ms,
    const char *reason)
{
	struct connectd_consumer *k = m->consumer;
	struct wire_numbers one;
	uint8_t packed[20];

	if (k == NULL || (k->conn != NULL && k->conn != c))
		return conn_fail(c, -EINVAL, "not a message received here");
	if (m->settled)
		return conn_fail(c, -EALREADY, "acked or nacked before");
	if (k->conn == NULL || k->refused || c->state != CONN_UP || m->session != c->session)
		return conn_fail(c, -ESTALE, "delivered in an earlier session: it comes again");
	m->settled = true;
	if (reason != NULL && reason[0] != '\0') {
		/* One with a reason goes alone. */
		consumers_flush(c);
		one = (struct wire_numbers){ packed, wire_put_number(packed, m->tag) };
		one.len += wire_put_number(packed + one.len, m->tag);
		conn_put(c, &(struct wire_frame){ .kind = WIRE_NACK, .u.nack = { one, (uint32_t)action, delay_ms,
		    wire_bytes(reason, strnlen(reason, WIRE_REASON_MAX)) } });
	} else {
		gather(c, m->tag, nack, action, delay_ms);
	}
	k->done_messages++;
	k->done_bytes += m->body_len;
	replenish(c, k);
	if (!c->entered && (c->corked == 0 || ++c->gathered >= CONN_CORK))
		conn_output(c);
	return 0;
}

int
connectd_ack(struct connectd *c, struct connectd_msg *m)
{
	return settle(c, m, false, CONNECTD_RETURN, 0, NULL);
}

int
connectd_nack(struct connectd *c, struct connectd_msg *m, enum connectd_nack_action action, uint64_t delay_ms,
    const char *reason)
{
	if ((unsigned)action > CONNECTD_TO_DEAD)
		return conn_fail(c, -EINVAL, "no such way to return a message");
	return settle(c, m, true, action, action == CONNECTD_DELAY ? delay_ms : 0, reason);
}

/* --------------------------------------------------------------- sessions */

void
consumers_init(struct connectd *c)
{
	list_init(&c->consumers.all);
	list_init(&c->consumers.inbox);
	hmap_init(&c->consumers.by_id);
}

void
consumers_done(struct connectd *c)
{
	LIST_FOREACH_SAFE(node, &c->consumers.all)
		connectd_consumer_close(list_entry(node, struct connectd_consumer, all));
	hmap_done(&c->consumers.by_id);
}

void
consumers_up(struct connectd *c)
{
	LIST_FOREACH(node, &c->consumers.all) {
		struct connectd_consumer *k = list_entry(node, struct connectd_consumer, all);

		if (!k->refused)
			subscribe(c, k);
	}
}

void
consumers_down(struct connectd *c)
{
	c->consumers.n_ranges = 0;
	LIST_FOREACH(node, &c->consumers.all)
		drop_deliveries(c, list_entry(node, struct connectd_consumer, all));
}
