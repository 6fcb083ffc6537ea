/*
 * A queue and its dead-letter queue under a random load, against a model that
 * is an array and looks at all of it each time. After every step the books
 * must balance, and what the queue says must be what the model says.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue_box.h"

enum { TAKERS = 4, FLOWS = 3, KEEP = 4096 };
/* All times are whole ticks of the wheel, so that the model knows them exactly. */
#define TICK WHEEL_TICK_MS
#define TTL 60000
#define ACK_TIMEOUT 5000

enum where { NOWHERE, WAITS, DELAYED, HELD, PARKED, BURIED };

struct copy {
	enum where where;
	uint64_t number; /* unique, rising in the order put */
	unsigned priority, holder, attempt;
	uint64_t bytes, expires, delayed_until, held_since;
	struct entry *entry;
};

struct model {
	struct box box;
	struct sender sender;
	struct copy all[KEEP];
	struct flow flows[FLOWS];
	bool open[FLOWS];
	struct taker takers[TAKERS];
	bool attached[TAKERS];
	bool purging;
	uint64_t next, random, step;
	uint64_t taken, dead, expired, returned, full;
};

static struct model m;

static uint64_t
below(uint64_t bound)
{
	m.random = m.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (m.random >> 24) % bound;
}

#define REQUIRE(what)                                                                       \
	do {                                                                                \
		if (!(what))                                                                \
			ck_abort_msg("step %llu: %s", (unsigned long long)m.step, #what); \
	} while (0)

static uint64_t
now(void)
{
	return loop_now_ms(m.box.loop);
}

static struct copy *
copy_of(uint64_t number)
{
	for (size_t i = 0; i < KEEP; i++)
		if (m.all[i].where != NOWHERE && m.all[i].number == number)
			return &m.all[i];
	return NULL;
}

/* What the queue tells must be what the model would have done, or is about to do. */
static void
told(struct sender *s, uint64_t number, enum wire_level level, enum wire_reject_code code, const char *reason)
{
	struct copy *c = copy_of(number);

	(void)s, (void)code, (void)reason;
	REQUIRE(c);
	switch (level) {
	case WIRE_LEVEL_EXPIRED:
		REQUIRE(c->expires <= now());
		REQUIRE(c->where == WAITS || c->where == DELAYED || c->where == HELD);
		m.expired++;
		c->where = NOWHERE;
		break;
	case WIRE_LEVEL_DEAD:
		REQUIRE(c->where == HELD || c->where == PARKED);
		c->where = BURIED;
		m.dead++;
		break;
	case WIRE_LEVEL_DROPPED:
	case WIRE_LEVEL_PURGED:
	case WIRE_LEVEL_CONSUMED:
	case WIRE_LEVEL_ARRIVED:
		c->where = NOWHERE;
		break;
	case WIRE_LEVEL_NONE:
	case WIRE_LEVEL_ACCEPTED:
	case WIRE_LEVEL_STORED:
	case WIRE_LEVEL_REJECTED:
		REQUIRE(!"a level that nobody asked for");
	}
}

/* A lost entry comes back when its ack_timeout is over, or goes when purged. */
static void
lost(struct consumer *consumer, struct entry *e)
{
	struct copy *c = copy_of(e->number);

	(void)consumer;
	REQUIRE(c && c->where == HELD && c->entry == e);
	if (m.purging)
		return;
	REQUIRE(now() >= c->held_since + ACK_TIMEOUT);
	c->where = WAITS;
	if (c->attempt >= m.box.conf.max_attempts)
		c->where = PARKED; /* or buried, when it is told */
}

static void
ignore(struct consumer *c)
{
	(void)c;
}

static const struct consumer_ops ops = { .wake = ignore, .lost = lost };

static void
put(void)
{
	unsigned i = (unsigned)below(FLOWS);
	struct flow *f = &m.flows[i];
	uint64_t ttl = below(3) ? 0 : (1 + below(2500)) * TICK, not_before = below(4) ? 0 : (1 + below(400)) * TICK;
	uint64_t messages, bytes, size = below(50) ? below(200) : below(100000);
	struct copy *c = NULL;
	struct message *msg;

	for (size_t k = 0; k < KEEP && !c; k++)
		if (m.all[k].where == NOWHERE)
			c = &m.all[k];
	if (!c || !m.open[i])
		return;
	queue_grant(&f->inlet, &messages, &bytes);
	if (f->inlet.reserved_messages == 0 || f->inlet.reserved_bytes == 0 || !flow_start(f, size)) {
		m.full++;
		return;
	}
	if (below(10) == 0) {
		if (f->own_room)
			queue_abandoned_reserved(&f->inlet, size);
		else
			queue_abandoned(&f->inlet, size);
		return;
	}
	*c = (struct copy){ .where = WAITS, .number = ++m.next, .priority = (unsigned)below(WIRE_PRIORITIES), .bytes = size };
	c->expires = now() + (ttl && ttl < TTL ? ttl : TTL);
	if (not_before) {
		c->where = DELAYED;
		c->delayed_until = now() + not_before;
	}
	msg = box_message(&m.box, size, (enum wire_priority)c->priority, ttl, not_before);
	REQUIRE(queue_put(&f->inlet, msg, &m.sender, c->number) == 0);
}

/* What queue_take of this priority must give: the first in order that is there and good. */
static struct copy *
first_of(unsigned priority)
{
	struct copy *best = NULL;

	for (size_t i = 0; i < KEEP; i++) {
		struct copy *c = &m.all[i];

		if (c->where == WAITS && c->priority == priority && c->expires > now() && (!best || c->number < best->number))
			best = c;
	}
	return best;
}

static void
take(void)
{
	unsigned i = (unsigned)below(TAKERS);
	int prio = below(3) ? -1 : (int)below(WIRE_PRIORITIES);
	struct copy *best[WIRE_PRIORITIES], *c;
	struct entry *e;

	if (!m.attached[i])
		return;
	for (unsigned p = 0; p < WIRE_PRIORITIES; p++)
		best[p] = first_of(p);
	e = queue_take(&m.takers[i].consumer, prio);
	if (!e) {
		for (int p = 0; p < WIRE_PRIORITIES; p++)
			REQUIRE(!best[p] || (prio >= 0 && p != prio));
		return;
	}
	REQUIRE(prio < 0 || e->msg->priority == prio);
	c = best[e->msg->priority];
	REQUIRE(c && c->number == e->number && message_bytes(e->msg) == c->bytes);
	REQUIRE(e->attempt == ++c->attempt && e->redelivered == (c->attempt > 1));
	c->where = HELD;
	c->holder = i;
	c->entry = e;
	c->held_since = now();
	m.taken++;
}

static struct copy *
some_held(void)
{
	size_t start = (size_t)below(KEEP);

	for (size_t i = 0; i < KEEP; i++)
		if (m.all[(start + i) % KEEP].where == HELD)
			return &m.all[(start + i) % KEEP];
	return NULL;
}

/* Held, and comes back: what must become of it. `told` may have been heard meanwhile. */
static void
comes_back(struct copy *c, uint64_t delay)
{
	if (c->attempt >= m.box.conf.max_attempts) {
		if (c->where == HELD)
			c->where = PARKED;
		REQUIRE(c->where == PARKED || c->where == BURIED);
	} else if (c->expires <= now()) {
		REQUIRE(c->where == NOWHERE);
	} else {
		REQUIRE(c->where == HELD);
		c->where = delay ? DELAYED : WAITS;
		c->delayed_until = now() + delay;
	}
	m.returned++;
}

static void
finish(void)
{
	struct copy *c = some_held();
	uint64_t delay = below(3) ? 0 : below(500) * TICK;
	struct entry *e;

	if (!c)
		return;
	e = c->entry;
	switch (below(8)) {
	default:
		queue_done(e, WIRE_LEVEL_CONSUMED);
		REQUIRE(c->where == NOWHERE);
		break;
	case 0:
	case 1:
	case 2:
		queue_return(e, delay, below(2) ? "why not" : NULL);
		comes_back(c, delay);
		break;
	case 3:
		REQUIRE(queue_bury(e, WIRE_LEVEL_DEAD, WIRE_REJECT_UNKNOWN, "dead") == 0);
		if (c->where == HELD)
			c->where = PARKED;
		break;
	}
}

static void
come_or_go(void)
{
	unsigned i = (unsigned)below(TAKERS);
	struct taker *t = &m.takers[i];

	if (!m.attached[i]) {
		*t = (struct taker){ .consumer = { .ops = &ops } };
		queue_attach(m.box.q, &t->consumer);
		m.attached[i] = true;
		return;
	}
	queue_detach(&t->consumer);
	m.attached[i] = false;
	/* Those told meanwhile are not held any more. */
	for (size_t k = 0; k < KEEP; k++)
		if (m.all[k].where == HELD && m.all[k].holder == i)
			comes_back(&m.all[k], 0);
}

static void
flow_or_dead(void)
{
	unsigned i = (unsigned)below(FLOWS);
	struct taker undertaker = { .consumer = { .ops = &ops } };
	struct entry *e;

	if (below(2)) {
		if (m.open[i])
			queue_inlet_close(&m.flows[i].inlet);
		else
			flow_open(&m.flows[i], m.box.q, true);
		m.open[i] = !m.open[i];
		return;
	}
	queue_attach(m.box.dead, &undertaker.consumer);
	for (unsigned k = 0; k < 5 && (e = queue_take(&undertaker.consumer, -1)); k++) {
		struct copy *c = copy_of(e->number);

		REQUIRE(c && c->where == BURIED && e->reason);
		c->where = NOWHERE;
		queue_done(e, WIRE_LEVEL_CONSUMED);
	}
	queue_detach(&undertaker.consumer);
}

/* Time passes: what is due now happens in the queue, by timers, and in the model. */
static void
wait(void)
{
	fake_loop_advance(m.box.loop, (below(20) ? below(12) : below(600)) * TICK);
	for (size_t i = 0; i < KEEP; i++) {
		struct copy *c = &m.all[i];

		if (c->where == DELAYED && c->delayed_until <= now())
			c->where = WAITS;
		/* Nothing is overdue. */
		if (c->where == WAITS || c->where == DELAYED)
			REQUIRE(c->expires > now());
		if (c->where == HELD)
			REQUIRE(c->held_since + ACK_TIMEOUT > now());
	}
}

static void
purge(void)
{
	struct queue_purged purged;
	uint64_t want = box_stats(m.box.q).messages;

	m.purging = true;
	queue_purge(m.box.q, &purged);
	m.purging = false;
	REQUIRE(purged.messages == want && box_stats(m.box.q).messages == 0);
}

static void
compare(void)
{
	struct queue_stats st = box_stats(m.box.q);
	uint64_t n[BURIED + 1] = { 0 }, bytes = 0, used, messages, partial;

	box_balance(m.box.q);
	box_balance(m.box.dead);
	for (size_t i = 0; i < KEEP; i++) {
		n[m.all[i].where]++;
		if (m.all[i].where != NOWHERE && m.all[i].where != BURIED)
			bytes += m.all[i].bytes;
	}
	REQUIRE(st.messages == n[WAITS] + n[DELAYED] + n[HELD] + n[PARKED]);
	REQUIRE(st.in_flight == n[HELD]);
	REQUIRE(st.parked == n[PARKED]);
	REQUIRE(st.bytes == bytes);
	REQUIRE(queue_waiting(m.box.q, -1) + st.delayed == n[WAITS] + n[DELAYED]);
	REQUIRE(box_stats(m.box.dead).messages == n[BURIED]);
	REQUIRE(m.sender.open == st.messages);
	queues_memory(m.box.qs, &used, &messages, &partial);
	REQUIRE(messages == st.messages + n[BURIED]);
	REQUIRE(used >= bytes + messages * QUEUE_OVERHEAD + st.reserved_bytes + st.reserved_messages * QUEUE_OVERHEAD);
	REQUIRE(st.messages + st.reserved_messages <= m.box.conf.max_messages + FLOWS);
}

START_TEST(agrees_with_model)
{
	memset(&m, 0, sizeof(m));
	m.random = (uint64_t)_i + 1;
	m.sender.told = told;
	box_init(&m.box);
	m.box.conf.max_messages = 300;
	m.box.conf.max_bytes = 200000;
	m.box.conf.ttl = TTL;
	m.box.conf.max_attempts = 4;
	m.box.conf.ack_timeout = ACK_TIMEOUT;
	box_make(&m.box, NULL, "orders");
	box_make_dead(&m.box, 20);
	for (m.step = 0; m.step < 25000; m.step++) {
		unsigned what = (unsigned)below(1000);

		if (what < 380)
			put();
		else if (what < 680)
			take();
		else if (what < 930)
			finish();
		else if (what < 970)
			wait();
		else if (what < 980)
			come_or_go();
		else if (what < 998)
			flow_or_dead();
		else
			purge();
		compare();
	}
	/* It all was exercised. */
	ck_assert_uint_gt(m.taken, 2000);
	ck_assert_uint_gt(m.dead, 100);
	ck_assert_uint_gt(m.expired, 50);
	ck_assert_uint_gt(m.returned, 1000);
	for (unsigned i = 0; i < TAKERS; i++)
		queue_detach(&m.takers[i].consumer);
	for (unsigned i = 0; i < FLOWS; i++)
		if (m.open[i])
			queue_inlet_close(&m.flows[i].inlet);
	ck_assert_uint_eq(box_stats(m.box.q).reserved_bytes, 0);
	box_done(&m.box);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("queue_model");
	TCase *tc = tcase_create("queue_model");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, agrees_with_model, 0, 4);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
