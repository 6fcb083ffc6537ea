#include "queue_box.h"

#include "queue_internal.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static struct queue *
dead_letter(void *arg, struct queue *q)
{
	(void)q;
	return ((struct box *)arg)->dead;
}

static void
unused(void *arg, struct queue *q, bool is_unused)
{
	struct box *b = arg;

	if (q == b->q)
		*(is_unused ? &b->unused : &b->used) += 1;
}

void
box_init(struct box *b)
{
	*b = (struct box){
		.cfg = { .start_count = 7, .max_memory = 64u << 20, .max_messages = 1000000, .max_partial = 8u << 20,
		    .dead_letter = dead_letter, .unused = unused, .arg = b },
		.conf = { .max_messages = 100000, .max_bytes = 16u << 20 },
	};
	b->loop = loop_new();
	message_store_init(&b->store, 1);
}

void
box_make(struct box *b, const char *node, const char *name)
{
	if (!b->qs)
		b->qs = queues_new(b->loop, &b->store, &b->cfg);
	b->q = queue_new(b->qs, node, name, &b->conf, false);
}

void
box_make_dead(struct box *b, uint64_t max_messages)
{
	struct conf_queue conf = b->conf;

	conf.max_messages = max_messages;
	b->dead = queue_new(b->qs, NULL, "orders.dead", &conf, true);
}

void
box_done(struct box *b)
{
	uint64_t used, messages, partial;

	queue_free(b->q);
	queue_free(b->dead);
	queues_memory(b->qs, &used, &messages, &partial);
	ck_assert_uint_eq(used, 0);
	ck_assert_uint_eq(messages, 0);
	queues_free(b->qs);
	fake_loop_run(b->loop);
	ck_assert_uint_eq(fake_loop_timers(b->loop), 0);
	ck_assert_uint_eq(slab_used(&b->store.slab), 0);
	message_store_done(&b->store);
	loop_free(b->loop);
}

struct queue_stats
box_stats(struct queue *q)
{
	struct queue_stats st;

	queue_stats(q, FAKE_LOOP_START_MS, &st);
	return st;
}

void
box_balance(struct queue *q)
{
	struct queue_stats st = box_stats(q);
	const struct queue_counters *c = &st.counters;

	if (c->accepted + c->moved_in !=
	    c->consumed + c->forwarded + c->expired + c->dead + c->dropped + c->purged + c->moved_out + st.messages)
		ck_abort_msg("the books of %s do not balance", queue_name(q));
}

struct message *
box_message(struct box *b, uint64_t bytes, enum wire_priority priority, uint64_t ttl, uint64_t not_before)
{
	struct wire_item item = { .ttl_ms = ttl, .not_before_ms = not_before };
	struct message *m = message_new(&b->store, &item, bytes, (uint8_t)priority, NULL, NULL, loop_now_ms(b->loop));

	m->body_have = bytes; /* what is in it does not matter here */
	return m;
}

static void
told(struct sender *s, uint64_t number, enum wire_level level, enum wire_reject_code code, const char *reason)
{
	struct heard *h = list_entry(s, struct heard, sender);

	h->n++;
	h->number = number;
	h->level = level;
	h->code = code;
	h->by_level[level]++;
	snprintf(h->reason, sizeof(h->reason), "%s", reason ? reason : "");
}

void
heard_init(struct heard *h)
{
	*h = (struct heard){ .sender.told = told };
}

static void
room(struct inlet *in)
{
	struct flow *f = list_entry(in, struct flow, inlet);

	f->rooms++;
	flow_grant(f);
}

static void
gone(struct inlet *in)
{
	list_entry(in, struct flow, inlet)->gone++;
}

void
flow_open(struct flow *f, struct queue *q, bool peer)
{
	*f = (struct flow){ 0 };
	queue_inlet_open(q, &f->inlet, peer, room, gone);
}

void
flow_grant(struct flow *f)
{
	uint64_t messages, bytes;

	queue_grant(&f->inlet, &messages, &bytes);
	f->messages += messages;
	f->bytes += bytes;
}

bool
flow_start(struct flow *f, uint64_t bytes)
{
	struct queues *qs;

	if (!f->inlet.queue) /* gone: queue_put will say so */
		return true;
	qs = f->inlet.queue->qs;
	if (f->inlet.reserved_messages > 0 && f->inlet.reserved_bytes >= bytes) {
		queue_started(&f->inlet, bytes);
		f->own_room = false;
		return true;
	}
	if (!queue_reserve_partial(qs, NULL, bytes + QUEUE_OVERHEAD))
		return false;
	queue_release_partial(qs, NULL, bytes + QUEUE_OVERHEAD);
	queue_started_reserved(&f->inlet, bytes);
	f->own_room = true;
	return true;
}

int
flow_put(struct flow *f, struct message *m, struct sender *s, uint64_t number)
{
	int err;

	if (f->messages == 0 || f->bytes == 0)
		flow_grant(f);
	f->messages -= f->messages > 0;
	f->bytes -= m->body_len < f->bytes ? m->body_len : f->bytes;
	ck_assert(flow_start(f, message_bytes(m)));
	err = queue_put(&f->inlet, m, s, number);
	if (err < 0) {
		if (f->own_room)
			queue_abandoned_reserved(&f->inlet, message_bytes(m));
		else
			queue_abandoned(&f->inlet, message_bytes(m));
		message_unref(m);
	}
	return err;
}

void
flow_fill(struct box *b, struct flow *f, uint64_t n, struct sender *s)
{
	for (uint64_t i = 1; i <= n; i++)
		ck_assert_int_eq(flow_put(f, box_message(b, 0, WIRE_PRIORITY_NORMAL, 0, 0), s, i), 0);
}

static void
wake(struct consumer *c)
{
	struct taker *t = list_entry(c, struct taker, consumer);
	struct entry *e;

	t->wakes++;
	while (t->greedy && (e = queue_take(c, -1))) {
		t->took++;
		queue_done(e, WIRE_LEVEL_CONSUMED);
	}
}

static void
standby(struct consumer *c, bool is_standby)
{
	(void)is_standby;
	list_entry(c, struct taker, consumer)->standbys++;
}

static void
cancelled(struct consumer *c, enum wire_verdict verdict, const char *reason)
{
	ck_assert(verdict == WIRE_VERDICT_NO_QUEUE && reason && !c->queue);
	list_entry(c, struct taker, consumer)->cancelled++;
}

static void
lost(struct consumer *c, struct entry *e)
{
	struct taker *t = list_entry(c, struct taker, consumer);

	ck_assert(e->holder == c);
	t->lost++;
	t->last_lost = e;
}

static void
why(const struct consumer *c, struct cause *ret)
{
	cause_set(ret, "taker", "holds %u", (unsigned)c->n_held);
}

static void
attach(struct taker *t, struct queue *q, bool exclusive, bool link)
{
	static const struct consumer_ops ops = { wake, standby, cancelled, lost, why };

	*t = (struct taker){ .consumer = { .ops = &ops, .exclusive = exclusive, .link = link } };
	queue_attach(q, &t->consumer);
}

void
taker_attach(struct taker *t, struct queue *q)
{
	attach(t, q, false, false);
}

void
taker_exclusive(struct taker *t, struct queue *q)
{
	attach(t, q, true, false);
}

void
taker_link(struct taker *t, struct queue *q)
{
	attach(t, q, false, true);
}
