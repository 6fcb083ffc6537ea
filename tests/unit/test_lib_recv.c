/* libconnectd, consuming: deliveries, credit, acks, and what a break means for them. */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_daemon.h"

static struct fake d;
static struct connectd_consumer *k;
static uint32_t id;

static void
setup(void)
{
	fake_start(&d);
	fake_open(&d, NULL);
	fake_greet(&d);
}

static void
teardown(void)
{
	fake_hang_up(&d); /* else the library waits for that */
	connectd_close(d.c);
	fake_stop(&d);
}

static void
consume(const struct connectd_consume_options *o, connectd_message_fn fn, void *userdata)
{
	ck_assert_int_eq(connectd_consume(d.c, "orders", o, fn, userdata, &k), 0);
	id = fake_expect(&d, WIRE_SUBSCRIBE).u.subscribe.subscription;
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_SUBSCRIBED, .u.subscribed = { .subscription = id } });
}

static void
deliver(uint64_t tag, const char *body)
{
	fake_deliver(&d, id, tag, &(struct wire_item){ .body = wire_string(body), .attempt = 1 });
}

static struct connectd_msg *
take(const char *body)
{
	struct connectd_msg *m;
	size_t len;
	const void *data;

	ck_assert_int_eq(connectd_recv(d.c, &m, 5000), 0);
	data = connectd_msg_get_body(m, &len);
	ck_assert_uint_eq(len, strlen(body));
	ck_assert_mem_eq(data, body, len);
	return m;
}

static void
expect_ranges(const uint64_t *want, size_t n, struct wire_numbers ranges)
{
	uint64_t number;

	for (size_t i = 0; i < n; i++) {
		ck_assert(wire_number_next(&ranges, &number));
		ck_assert_uint_eq(number, want[i]);
	}
	ck_assert(!wire_number_next(&ranges, &number));
}
#define RANGES(...) (const uint64_t[]){ __VA_ARGS__ }, sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t)

START_TEST(subscribe_receive_ack)
{
	struct connectd_consume_options o = { .size = sizeof(o), .credit_messages = 10, .credit_bytes = 1000, .exclusive = 1 };
	struct wire_origin origin = { .node = wire_string("berlin"), .uid = 7, .proof = WIRE_PROOF_TLS };
	struct wire_subscribe s;
	struct connectd_msg *m;
	uint8_t packed[64];

	ck_assert_int_eq(connectd_consume(d.c, "orders", &o, NULL, NULL, &k), 0);
	s = fake_expect(&d, WIRE_SUBSCRIBE).u.subscribe;
	ck_assert_uint_ne(s.subscription, 0);
	ck_assert(wire_bytes_equal(s.queue, wire_string("orders")));
	ck_assert_uint_eq(s.credit_messages, 10);
	ck_assert_uint_eq(s.credit_bytes, 1000);
	ck_assert(s.exclusive);
	id = s.subscription;
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_SUBSCRIBED, .u.subscribed = { .subscription = id, .standby = true } });
	ck_assert_int_eq(connectd_recv(d.c, &m, 0), -ETIMEDOUT);

	fake_define_type(&d, 3, "type.googleapis.com/shop.X");
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_DEFINE, .u.define = { WIRE_DEFINE_ORIGIN, 1,
	    wire_bytes(packed, wire_pack_origin(&origin, packed)) } });
	fake_deliver(&d, id, 1, &(struct wire_item){ .type = 3, .origin = 1, .body = wire_string("one"), .attempt = 2,
	    .flags = WIRE_ITEM_REDELIVERED, .counter = 5 });
	m = take("one");
	ck_assert_str_eq(connectd_msg_get_type(m), "type.googleapis.com/shop.X");
	ck_assert_str_eq(connectd_msg_get_origin_node(m), "berlin");
	ck_assert_uint_eq(connectd_msg_get_attempt(m), 2);
	ck_assert_uint_eq(connectd_msg_get_flags(m), CONNECTD_REDELIVERED);
	fake_expect_silence(&d); /* nothing is acked by itself */
	/* A type defined anew does not change what was received. */
	fake_define_type(&d, 3, "type.googleapis.com/shop.Y");
	fake_settle(&d);
	ck_assert_str_eq(connectd_msg_get_type(m), "type.googleapis.com/shop.X");
	ck_assert_int_eq(connectd_ack(d.c, m), 0);
	expect_ranges(RANGES(1, 1), fake_expect(&d, WIRE_ACK).u.ack.ranges);
	ck_assert_int_eq(connectd_ack(d.c, m), -EALREADY);
	ck_assert_int_eq(connectd_nack(d.c, m, CONNECTD_RETURN, 0, NULL), -EALREADY);
	connectd_msg_unref(m);

	m = connectd_msg_new("orders");
	ck_assert_int_eq(connectd_ack(d.c, m), -EINVAL);
	connectd_msg_unref(m);
}
END_TEST

START_TEST(nacks)
{
	struct connectd_msg *m[4];
	struct wire_nack n;

	consume(NULL, NULL, NULL);
	for (uint64_t tag = 1; tag <= 4; tag++)
		deliver(tag, "x");
	for (int i = 0; i < 4; i++)
		m[i] = take("x");
	ck_assert_int_eq(connectd_nack(d.c, m[0], CONNECTD_DELAY, 5000, NULL), 0);
	n = fake_expect(&d, WIRE_NACK).u.nack;
	expect_ranges(RANGES(1, 1), n.ranges);
	ck_assert_uint_eq(n.action, WIRE_NACK_DELAY);
	ck_assert_uint_eq(n.delay_ms, 5000);
	ck_assert_int_eq(connectd_nack(d.c, m[1], CONNECTD_TO_DEAD, 99, "no such order"), 0);
	n = fake_expect(&d, WIRE_NACK).u.nack;
	expect_ranges(RANGES(2, 2), n.ranges);
	ck_assert_uint_eq(n.action, WIRE_NACK_DEAD);
	ck_assert_uint_eq(n.delay_ms, 0);
	ck_assert(wire_bytes_equal(n.reason, wire_string("no such order")));
	/* Corked: gathered by kind, in order. */
	connectd_cork(d.c);
	ck_assert_int_eq(connectd_ack(d.c, m[2]), 0);
	ck_assert_int_eq(connectd_nack(d.c, m[3], CONNECTD_RETURN, 0, NULL), 0);
	connectd_uncork(d.c);
	expect_ranges(RANGES(3, 3), fake_expect(&d, WIRE_ACK).u.ack.ranges);
	n = fake_expect(&d, WIRE_NACK).u.nack;
	expect_ranges(RANGES(4, 4), n.ranges);
	ck_assert_uint_eq(n.action, WIRE_NACK_RETURN);
	for (int i = 0; i < 4; i++)
		connectd_msg_unref(m[i]);
}
END_TEST

START_TEST(acks_are_gathered_into_ranges)
{
	struct connectd_msg *m[9];

	consume(NULL, NULL, NULL);
	for (uint64_t tag = 1; tag <= 9; tag++)
		deliver(tag, "x");
	for (int i = 0; i < 9; i++)
		m[i] = take("x");
	connectd_cork(d.c);
	for (int i = 0; i < 9; i++)
		if (i != 3 && i != 6)
			ck_assert_int_eq(connectd_ack(d.c, m[i]), 0);
	ck_assert_int_eq(connectd_ack(d.c, m[3]), 0); /* behind: in a frame of its own */
	connectd_uncork(d.c);
	expect_ranges(RANGES(1, 3, 5, 6, 8, 9), fake_expect(&d, WIRE_ACK).u.ack.ranges);
	expect_ranges(RANGES(4, 4), fake_expect(&d, WIRE_ACK).u.ack.ranges);
	for (int i = 0; i < 9; i++)
		connectd_msg_unref(m[i]);
}
END_TEST

START_TEST(credit_is_given_again_at_half)
{
	struct connectd_consume_options o = { .size = sizeof(o), .credit_messages = 10, .credit_bytes = 100 };
	struct wire_credit credit;
	struct connectd_msg *m;

	consume(&o, NULL, NULL);
	for (uint64_t tag = 1; tag <= 5; tag++) {
		deliver(tag, "x");
		m = take("x");
		ck_assert_int_eq(connectd_ack(d.c, m), 0);
		connectd_msg_unref(m);
		expect_ranges(RANGES(tag, tag), fake_expect(&d, WIRE_ACK).u.ack.ranges);
	}
	credit = fake_expect(&d, WIRE_CREDIT).u.credit;
	ck_assert_uint_eq(credit.subscription, id);
	ck_assert_uint_eq(credit.messages, 15);
	ck_assert_uint_eq(credit.bytes, 105);
	deliver(6, "0123456789012345678901234567890123456789012345678901");
	m = take("0123456789012345678901234567890123456789012345678901");
	fake_expect_silence(&d); /* not before it is settled */
	ck_assert_int_eq(connectd_nack(d.c, m, CONNECTD_RETURN, 0, NULL), 0);
	connectd_msg_unref(m);
	fake_expect(&d, WIRE_NACK);
	credit = fake_expect(&d, WIRE_CREDIT).u.credit; /* half of the bytes */
	ck_assert_uint_eq(credit.messages, 16);
	ck_assert_uint_eq(credit.bytes, 157);
}
END_TEST

START_TEST(chunks_make_one_message)
{
	static const size_t size = 300000;
	uint8_t *body = malloc(size);
	struct connectd_msg *m;
	struct wire_item item = { .total = size, .packed = wire_bytes("\x12\1a", 3) };
	const uint8_t *data;
	size_t len;

	for (size_t i = 0; i < size; i++)
		body[i] = (uint8_t)(i * 7 >> 3);
	consume(NULL, NULL, NULL);
	for (item.offset = 0; item.offset < size; item.offset += item.body.len) {
		item.body = wire_bytes(body + item.offset, size - item.offset < 50000 ? size - item.offset : 50000);
		if (item.offset > 0)
			item.packed.len = 0;
		fake_deliver(&d, id, 1, &item);
		if (item.offset == 100000) /* something for another subscription in between does not matter */
			fake_deliver(&d, id + 1, 2, &(struct wire_item){ .body = wire_string("x") });
	}
	ck_assert_int_eq(connectd_recv(d.c, &m, 5000), 0);
	data = connectd_msg_get_body(m, &len);
	ck_assert_uint_eq(len, size);
	ck_assert_mem_eq(data, body, size);
	ck_assert_str_eq(connectd_msg_get_reply_to(m), "a");
	ck_assert_int_eq(connectd_ack(d.c, m), 0);
	expect_ranges(RANGES(1, 1), fake_expect(&d, WIRE_ACK).u.ack.ranges);
	connectd_msg_unref(m);
	free(body);
}
END_TEST

START_TEST(bad_chunks)
{
	static const struct wire_item bad[] = {
		{ .offset = 5, .total = 100, .body = { (const uint8_t *)"12345", 5 } },   /* does not begin */
		{ .offset = 0, .total = 3, .body = { (const uint8_t *)"12345", 5 } },     /* more than announced */
		{ .offset = 0, .total = 1ull << 40, .body = { (const uint8_t *)"1", 1 } }, /* larger than anything */
		{ .offset = 0, .total = 100 },                                            /* no bytes */
		{ .type = 9 },                                                            /* never defined */
		{ .origin = 2000 },                                                       /* no id */
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		consume(NULL, NULL, NULL);
		fake_deliver(&d, id, 1, &bad[i]);
		fake_await_up(&d, false);
		fake_expect(&d, WIRE_CLOSE);
		fake_hang_up(&d);
		connectd_close(d.c);
		fake_open(&d, NULL);
		fake_greet(&d);
	}
}
END_TEST

START_TEST(a_break_makes_deliveries_stale)
{
	struct connectd_msg *held, *m;
	uint32_t before;

	consume(NULL, NULL, NULL);
	before = id;
	fake_define_type(&d, 1, "type.googleapis.com/shop.X");
	deliver(1, "held");
	deliver(2, "acked in vain");
	deliver(3, "in line");
	held = take("held");
	m = take("acked in vain");
	connectd_cork(d.c);
	ck_assert_int_eq(connectd_ack(d.c, m), 0); /* gathered, and never written: the tag is another message's then */
	connectd_msg_unref(m);
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_CLOSE });
	fake_await_up(&d, false);
	ck_assert_int_eq(connectd_ack(d.c, held), -ESTALE);
	fake_greet(&d);
	connectd_uncork(d.c);
	ck_assert_int_eq(connectd_ack(d.c, held), -ESTALE);
	ck_assert_uint_eq(fake_expect(&d, WIRE_SUBSCRIBE).u.subscribe.subscription, before); /* by itself */
	ck_assert_int_eq(connectd_recv(d.c, &m, 0), -ETIMEDOUT); /* what was in line comes again */
	deliver(1, "again");
	m = take("again");
	ck_assert_int_eq(connectd_ack(d.c, m), 0);
	expect_ranges(RANGES(1, 1), fake_expect(&d, WIRE_ACK).u.ack.ranges);
	connectd_msg_unref(m);
	connectd_msg_unref(held);
	/* What was defined in the old session is not in the new one. */
	fake_deliver(&d, id, 2, &(struct wire_item){ .type = 1 });
	fake_await_up(&d, false);
}
END_TEST

START_TEST(refused)
{
	struct connectd_msg *m;

	consume(NULL, NULL, NULL);
	deliver(1, "x");
	deliver(2, "x");
	m = take("x");
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_UNSUBSCRIBE,
	    .u.unsubscribe = { id, WIRE_VERDICT_DENIED, wire_string("access was taken away") } });
	fake_settle(&d);
	ck_assert_int_eq(connectd_ack(d.c, m), -ESTALE);
	connectd_msg_unref(m);
	ck_assert_int_eq(connectd_recv(d.c, &m, 1000), -EACCES);
	ck_assert_int_eq(connectd_recv(d.c, &m, 0), -ETIMEDOUT); /* told once */
	connectd_consumer_close(k);
	fake_expect_silence(&d);
	/* It is not tried again by itself. */
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_CLOSE });
	fake_await_up(&d, false);
	fake_greet(&d);
	fake_expect_silence(&d);

	ck_assert_int_eq(connectd_consume(d.c, "nowhere", NULL, NULL, NULL, &k), 0);
	id = fake_expect(&d, WIRE_SUBSCRIBE).u.subscribe.subscription;
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_SUBSCRIBED,
	    .u.subscribed = { .subscription = id, .verdict = WIRE_VERDICT_NO_QUEUE } });
	ck_assert_int_eq(connectd_recv(d.c, &m, 1000), -ENOENT);
	ck_assert_int_eq(connectd_consume(d.c, "no queue", NULL, NULL, NULL, &k), -EINVAL);
}
END_TEST

START_TEST(closed_consumer)
{
	struct connectd_msg *m, *none;

	consume(NULL, NULL, NULL);
	deliver(1, "x");
	deliver(2, "x");
	m = take("x");
	connectd_consumer_close(k);
	fake_expect(&d, WIRE_UNSUBSCRIBE);
	ck_assert_int_eq(connectd_ack(d.c, m), -ESTALE);
	deliver(3, "x"); /* was on its way */
	ck_assert_int_eq(connectd_recv(d.c, &none, 0), -ETIMEDOUT);
	ck_assert_int_eq(connectd_is_up(d.c), 1);
	fake_hang_up(&d);
	connectd_close(d.c);
	connectd_msg_unref(m); /* outlives them all */
	d.c = NULL;
}
END_TEST

struct seen {
	int messages, refusals, close_at, close_handle_at;
};

static void
see(struct connectd *c, struct connectd_consumer *consumer, struct connectd_msg *m, void *userdata)
{
	struct seen *s = userdata;
	struct connectd_msg *none;

	if (m == NULL) {
		s->refusals++;
		return;
	}
	ck_assert_int_eq(connectd_recv(c, &none, -1), -EDEADLK);
	ck_assert_int_eq(connectd_ack(c, m), 0);
	if (++s->messages == s->close_at)
		connectd_consumer_close(consumer);
	if (s->messages == s->close_handle_at)
		connectd_close(c);
}

/* Several deliveries in the socket at once. */
static void
deliver_together(uint64_t first, int n)
{
	for (int i = 0; i < n; i++)
		deliver(first + (uint64_t)i, "x");
}

START_TEST(call_backs)
{
	struct seen s = { .close_at = 7 };

	consume(NULL, see, &s);
	deliver_together(1, 5);
	fake_settle(&d);
	ck_assert_int_eq(s.messages, 5);
	expect_ranges(RANGES(1, 5), fake_expect(&d, WIRE_ACK).u.ack.ranges); /* one frame, at the end */
	deliver_together(6, 5);
	fake_settle(&d);
	ck_assert_int_eq(s.messages, 7);
	expect_ranges(RANGES(6, 7), fake_expect(&d, WIRE_ACK).u.ack.ranges);
	fake_expect(&d, WIRE_UNSUBSCRIBE);
	fake_expect_silence(&d);

	s = (struct seen){ 0 };
	consume(NULL, see, &s);
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_UNSUBSCRIBE, .u.unsubscribe = { id, WIRE_VERDICT_DENIED, { 0 } } });
	fake_settle(&d);
	ck_assert_int_eq(s.refusals, 1);
	connectd_consumer_close(k);

	s = (struct seen){ .close_handle_at = 2 };
	consume(NULL, see, &s);
	deliver_together(20, 4);
	while (connectd_process(d.c) != -ECANCELED)
		;
	ck_assert_int_eq(s.messages, 2);
	expect_ranges(RANGES(20, 21), fake_expect(&d, WIRE_ACK).u.ack.ranges);
	fake_expect(&d, WIRE_CLOSE);
	d.c = NULL;
}
END_TEST

START_TEST(runs)
{
	uint8_t buf[512];
	size_t n, size = 0;
	struct wire_item items[3];
	struct connectd_msg *m;

	consume(NULL, NULL, NULL);
	for (int i = 0; i < 3; i++) {
		items[i] = (struct wire_item){ .body = wire_bytes(&"abc"[i], 1) };
		size += wire_item_size(&items[i]);
	}
	n = wire_put_run(WIRE_DELIVER, id, 40, size, buf);
	for (int i = 0; i < 3; i++) {
		n += wire_put_item(&items[i], buf + n);
		buf[n++] = items[i].body.data[0];
	}
	for (size_t i = 0; i < n; i++) { /* byte by byte */
		fake_send_bytes(&d, buf + i, 1);
		fake_settle(&d);
	}
	for (int i = 0; i < 3; i++) {
		m = take((const char[2]){ "abc"[i], '\0' });
		ck_assert_int_eq(connectd_ack(d.c, m), 0);
		expect_ranges(RANGES(40 + (uint64_t)i, 40 + (uint64_t)i), fake_expect(&d, WIRE_ACK).u.ack.ranges);
		connectd_msg_unref(m);
	}
}
END_TEST

/* More acks than the socket takes at once, then the end: a child closes, the daemon reads on. */
START_TEST(close_leaves_no_ack_behind)
{
	enum { N = 3000 };
	struct connectd_consume_options o = { .size = sizeof(o), .credit_messages = N };
	uint64_t acked = 0, first, last;
	struct wire_frame f;
	int said[2], status;
	struct pollfd p;
	pid_t child;
	char byte;

	ck_assert_int_eq(pipe(said), 0);
	p = (struct pollfd){ said[0], POLLIN, 0 };
	child = fork();
	if (child == 0) { /* a program of its own, so that close may block */
		struct connectd_options open = { .size = sizeof(open), .socket = d.path };
		struct connectd_msg *m;
		struct connectd *c;
		int bad = connectd_open(&open, &c) < 0 || connectd_consume(c, "orders", &o, NULL, NULL, &k) < 0;

		for (int i = 0; !bad && i < N; i++) {
			bad = connectd_recv(c, &m, 5000) < 0 || connectd_ack(c, m) < 0;
			connectd_msg_unref(m);
		}
		bad |= write(said[1], "a", 1) != 1;
		connectd_close(c);
		bad |= write(said[1], "b", 1) != 1;
		_exit(bad);
	}
	fake_hang_up(&d);
	while ((d.fd = accept4(d.listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
		;
	fake_expect(&d, WIRE_HELLO);
	fake_say_hello(&d);
	id = fake_expect(&d, WIRE_SUBSCRIBE).u.subscribe.subscription;
	for (uint64_t tag = 1; tag <= N; tag++)
		deliver(tag, "x");
	ck_assert_int_eq(read(said[0], &byte, 1), 1); /* everything is acked over there */
	while ((f = fake_next(&d)).kind != WIRE_CLOSE)
		while (f.kind == WIRE_ACK && wire_range_next(&f.u.ack.ranges, &first, &last) == 1)
			acked += last - first + 1;
	ck_assert_uint_eq(acked, N);
	ck_assert_int_eq(poll(&p, 1, 0), 0); /* and close returns when that was read */
	fake_hang_up(&d);
	ck_assert_int_eq(read(said[0], &byte, 1), 1);
	close(said[0]);
	close(said[1]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_recv");
	TCase *t = tcase_create("lib_recv");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, subscribe_receive_ack);
	tcase_add_test(t, nacks);
	tcase_add_test(t, acks_are_gathered_into_ranges);
	tcase_add_test(t, credit_is_given_again_at_half);
	tcase_add_test(t, chunks_make_one_message);
	tcase_add_test(t, bad_chunks);
	tcase_add_test(t, a_break_makes_deliveries_stale);
	tcase_add_test(t, refused);
	tcase_add_test(t, closed_consumer);
	tcase_add_test(t, call_backs);
	tcase_add_test(t, runs);
	tcase_add_test(t, close_leaves_no_ack_behind);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
