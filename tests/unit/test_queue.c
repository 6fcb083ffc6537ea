/* What queue.h promises of messages and their outcomes, case by case. Others: test_queue_*.c. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue_box.h"

static struct box b;
static struct flow f;
static struct heard h;
static struct taker t;

static void
start(const char *node)
{
	box_make(&b, node, "orders");
	flow_open(&f, b.q, node == NULL);
	heard_init(&h);
}

static void
setup(void)
{
	box_init(&b);
}

static void
teardown(void)
{
	if (b.q)
		box_balance(b.q);
	if (b.dead)
		box_balance(b.dead);
	queue_detach(&t.consumer);
	queue_inlet_close(&f.inlet);
	box_done(&b);
}

static int
put(enum wire_priority priority, uint64_t number)
{
	return flow_put(&f, box_message(&b, 10, priority, 0, 0), &h.sender, number);
}

static struct entry *
take(void)
{
	return queue_take(&t.consumer, -1);
}

/* ------------------------------------------------------------------- order -- */

START_TEST(first_in_first_out)
{
	struct entry *e;

	start(NULL);
	taker_attach(&t, b.q);
	for (uint64_t i = 1; i <= 100; i++)
		ck_assert_int_eq(put(WIRE_PRIORITY_NORMAL, i), 0);
	for (uint64_t i = 1; i <= 100; i++) {
		e = take();
		ck_assert_uint_eq(e->number, i);
		ck_assert_uint_eq(e->seq, UINT64_C(7) << 40 | i);
		ck_assert_uint_eq(e->attempt, 1);
		ck_assert(!e->redelivered);
		queue_done(e, WIRE_LEVEL_CONSUMED);
		ck_assert(h.number == i && h.level == WIRE_LEVEL_CONSUMED);
	}
	ck_assert_ptr_null(take());
	ck_assert_uint_eq(queue_last_seq(b.q), UINT64_C(7) << 40 | 100);
	ck_assert_uint_eq(h.sender.open, 0);
	ck_assert_uint_eq(box_stats(b.q).counters.consumed, 100);
	ck_assert_uint_eq(box_stats(b.q).bytes, 0);
}
END_TEST

START_TEST(priorities_share_16_4_1)
{
	unsigned got[WIRE_PRIORITIES] = { 0 };

	start(NULL);
	taker_attach(&t, b.q);
	for (uint64_t i = 0; i < 100; i++)
		for (unsigned p = 0; p < WIRE_PRIORITIES; p++)
			put((enum wire_priority)p, i);
	for (unsigned i = 0; i < 21 * 3; i++) {
		struct entry *e = take();

		/* High goes first, always. */
		if (i % 21 < 16)
			ck_assert_uint_eq(e->msg->priority, WIRE_PRIORITY_HIGH);
		got[e->msg->priority]++;
	}
	ck_assert_uint_eq(got[WIRE_PRIORITY_HIGH], 48);
	ck_assert_uint_eq(got[WIRE_PRIORITY_NORMAL], 12);
	ck_assert_uint_eq(got[WIRE_PRIORITY_LOW], 3);
	/* One alone has every turn; and one can ask for it. */
	ck_assert_uint_eq(queue_take(&t.consumer, WIRE_PRIORITY_LOW)->msg->priority, WIRE_PRIORITY_LOW);
	ck_assert_uint_eq(queue_waiting(b.q, WIRE_PRIORITY_LOW), 96);
	ck_assert_uint_eq(queue_waiting(b.q, -1), 300 - 64);
}
END_TEST

START_TEST(returned_goes_back_to_its_place)
{
	struct entry *held[20];
	static const unsigned order[] = { 7, 3, 19, 0, 11, 1, 2, 18, 4, 17, 5, 6, 8, 9, 10, 12, 16, 13, 15, 14 };

	start(NULL);
	taker_attach(&t, b.q);
	for (uint64_t i = 0; i < 40; i++)
		put(WIRE_PRIORITY_NORMAL, i);
	for (unsigned i = 0; i < 20; i++)
		held[i] = take();
	for (unsigned i = 0; i < 20; i++)
		queue_return(held[order[i]], 0, NULL);
	for (uint64_t i = 0; i < 40; i++) {
		struct entry *e = take();

		ck_assert_uint_eq(e->number, i);
		ck_assert(e->redelivered == (i < 20));
		ck_assert_uint_eq(e->attempt, i < 20 ? 2 : 1);
	}
	ck_assert_uint_eq(box_stats(b.q).counters.redelivered, 20);
}
END_TEST

/* A consumer that holds very many goes: each back to its place, without a search for it. */
START_TEST(detach_of_many_is_cheap)
{
	enum { N = 50000 };
	static unsigned seen[N];

	memset(seen, 0, sizeof(seen));
	b.conf.max_messages = 2 * N;
	b.cfg.max_memory = 1u << 30;
	start(NULL);
	taker_attach(&t, b.q);
	for (uint64_t i = 0; i < N; i++) {
		while (f.messages == 0)
			flow_grant(&f);
		put(WIRE_PRIORITY_NORMAL, i);
	}
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < N; i++)
			seen[take()->number]++;
		ck_assert_ptr_null(take());
		queue_detach(&t.consumer);
		ck_assert_uint_eq(box_stats(b.q).in_flight, 0);
		taker_attach(&t, b.q);
	}
	for (unsigned i = 0; i < N; i++)
		if (seen[i] != 3 || take()->number != i)
			ck_abort_msg("message %u", i);
}
END_TEST

START_TEST(numbers_go_on_when_a_queue_is_made_again)
{
	uint64_t last;

	start("berlin");
	put(WIRE_PRIORITY_NORMAL, 1);
	put(WIRE_PRIORITY_NORMAL, 2);
	last = queue_last_seq(b.q);
	queue_inlet_close(&f.inlet);
	queue_free(b.q);
	ck_assert_uint_eq(h.n, 0);
	ck_assert_uint_eq(h.sender.open, 0);
	start("berlin");
	taker_link(&t, b.q);
	put(WIRE_PRIORITY_NORMAL, 3);
	ck_assert_uint_gt(take()->seq, last);
}
END_TEST

/* ------------------------------------------------------- times to live, delays -- */

START_TEST(expires_by_the_smaller_limit)
{
	b.conf.ttl = 5000;
	start(NULL);
	taker_attach(&t, b.q);
	flow_put(&f, box_message(&b, 10, WIRE_PRIORITY_NORMAL, 1000, 0), &h.sender, 1);
	flow_put(&f, box_message(&b, 10, WIRE_PRIORITY_NORMAL, 90000, 0), &h.sender, 2);
	flow_put(&f, box_message(&b, 10, WIRE_PRIORITY_NORMAL, 0, 0), &h.sender, 3);
	fake_loop_advance(b.loop, 999);
	ck_assert_uint_eq(h.n, 0);
	fake_loop_advance(b.loop, 1 + WHEEL_TICK_MS);
	ck_assert_uint_eq(h.n, 1);
	ck_assert(h.number == 1 && h.level == WIRE_LEVEL_EXPIRED);
	fake_loop_advance(b.loop, 3990);
	ck_assert_uint_eq(h.n, 1);
	fake_loop_advance(b.loop, 20);
	ck_assert_uint_eq(h.by_level[WIRE_LEVEL_EXPIRED], 3);
	ck_assert_uint_eq(box_stats(b.q).counters.expired, 3);
	ck_assert_uint_eq(box_stats(b.q).messages, 0);
}
END_TEST

START_TEST(expired_is_not_offered_before_the_timer_fires)
{
	start(NULL);
	taker_attach(&t, b.q);
	flow_put(&f, box_message(&b, 10, WIRE_PRIORITY_NORMAL, 1000, 0), &h.sender, 1);
	fake_loop_jump(b.loop, 1000);
	ck_assert_ptr_null(take());
	ck_assert(h.level == WIRE_LEVEL_EXPIRED && h.n == 1);
}
END_TEST

START_TEST(held_does_not_expire_until_returned)
{
	struct entry *e;

	start(NULL);
	taker_attach(&t, b.q);
	flow_put(&f, box_message(&b, 10, WIRE_PRIORITY_NORMAL, 1000, 0), &h.sender, 1);
	e = take();
	fake_loop_advance(b.loop, 60000);
	ck_assert_uint_eq(h.n, 0);
	ck_assert_uint_eq(t.lost, 0);
	queue_return(e, 0, NULL);
	ck_assert(h.level == WIRE_LEVEL_EXPIRED && h.n == 1);
	ck_assert_uint_eq(box_stats(b.q).messages, 0);
}
END_TEST

START_TEST(link_holds_what_expires)
{
	struct entry *sent, *done, *unsent;
	uint64_t before;

	start("berlin");
	taker_link(&t, b.q);
	for (uint64_t i = 1; i <= 3; i++)
		flow_put(&f, box_message(&b, 1000, WIRE_PRIORITY_NORMAL, 1000, 0), &h.sender, i);
	sent = take();
	done = take();
	unsent = take();
	sent->sent = done->sent = true;
	before = box_stats(b.q).bytes;
	ck_assert_uint_eq(before, 3000);
	fake_loop_advance(b.loop, 1000 + WHEEL_TICK_MS);
	/* Not sent: gone, link and sender know. Sent: only the body is gone. */
	ck_assert(t.lost == 1 && t.last_lost == unsent);
	ck_assert(h.n == 1 && h.number == 3 && h.level == WIRE_LEVEL_EXPIRED);
	ck_assert(!sent->msg && sent->doomed == WIRE_LEVEL_EXPIRED);
	ck_assert_uint_eq(box_stats(b.q).bytes, 0);
	ck_assert_uint_eq(box_stats(b.q).messages, 2);
	ck_assert_uint_eq(t.consumer.n_held, 2);
	box_balance(b.q);
	queue_doomed(sent);
	ck_assert(h.n == 2 && h.number == 1 && h.level == WIRE_LEVEL_EXPIRED);
	/* It did get through. */
	queue_done(done, WIRE_LEVEL_ARRIVED);
	ck_assert(h.n == 3 && h.number == 2 && h.level == WIRE_LEVEL_ARRIVED);
	ck_assert_uint_eq(box_stats(b.q).counters.expired, 2);
	ck_assert_uint_eq(box_stats(b.q).counters.forwarded, 1);
}
END_TEST

START_TEST(not_before_is_waited_out_here_only)
{
	start(NULL);
	taker_attach(&t, b.q);
	flow_put(&f, box_message(&b, 10, WIRE_PRIORITY_NORMAL, 0, 500), &h.sender, 1);
	put(WIRE_PRIORITY_NORMAL, 2);
	ck_assert_uint_eq(box_stats(b.q).delayed, 1);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(t.wakes, 1);
	ck_assert_uint_eq(take()->number, 2);
	ck_assert_ptr_null(take());
	fake_loop_advance(b.loop, 499);
	ck_assert_ptr_null(take());
	fake_loop_advance(b.loop, 1 + WHEEL_TICK_MS);
	ck_assert_uint_eq(t.wakes, 2);
	ck_assert_uint_eq(take()->number, 1);
}
END_TEST

START_TEST(not_before_does_not_hold_an_outbound_queue)
{
	start("berlin");
	taker_link(&t, b.q);
	flow_put(&f, box_message(&b, 10, WIRE_PRIORITY_NORMAL, 0, 500), &h.sender, 1);
	ck_assert_uint_eq(take()->number, 1);
}
END_TEST

START_TEST(delayed_expires_too)
{
	start(NULL);
	taker_attach(&t, b.q);
	flow_put(&f, box_message(&b, 10, WIRE_PRIORITY_NORMAL, 300, 500), &h.sender, 1);
	fake_loop_advance(b.loop, 320);
	ck_assert(h.n == 1 && h.level == WIRE_LEVEL_EXPIRED);
	fake_loop_advance(b.loop, 1000);
	ck_assert_ptr_null(take());
}
END_TEST

START_TEST(returned_after_a_delay)
{
	start(NULL);
	taker_attach(&t, b.q);
	put(WIRE_PRIORITY_NORMAL, 1);
	put(WIRE_PRIORITY_NORMAL, 2);
	queue_return(take(), 1000, "later");
	fake_loop_run(b.loop);
	fake_loop_advance(b.loop, 990);
	ck_assert_uint_eq(box_stats(b.q).delayed, 1);
	fake_loop_advance(b.loop, 20);
	/* Before the one that came after it. */
	ck_assert_uint_eq(take()->number, 1);
	queue_return(list_entry(t.consumer.held[0].next, struct entry, node), UINT64_MAX, NULL);
	ck_assert_uint_eq(box_stats(b.q).delayed, 1);
}
END_TEST

START_TEST(ack_timeout_takes_back)
{
	struct entry *e;
	struct taker other;

	b.conf.ack_timeout = 2000;
	start(NULL);
	taker_attach(&t, b.q);
	put(WIRE_PRIORITY_NORMAL, 1);
	e = take();
	taker_attach(&other, b.q);
	fake_loop_advance(b.loop, 1999);
	ck_assert_uint_eq(t.lost, 0);
	fake_loop_advance(b.loop, 1 + WHEEL_TICK_MS);
	ck_assert(t.lost == 1 && t.last_lost == e && t.consumer.n_held == 0);
	ck_assert_uint_eq(other.wakes, 1);
	e = queue_take(&other.consumer, -1);
	ck_assert(e->number == 1 && e->redelivered && e->attempt == 2);
	ck_assert_uint_eq(h.n, 0);
	queue_detach(&other.consumer);
}
END_TEST

/* ------------------------------------------------------------------ questions -- */

struct seen {
	uint64_t numbers[64];
	size_t n, stop;
};

static bool
see(void *arg, const struct entry *e)
{
	struct seen *s = arg;

	s->numbers[s->n++] = e->number;
	return s->n < s->stop;
}

START_TEST(each_in_order)
{
	static const uint64_t want[] = { 2, 4, 1, 3, 5, 6, 7 };
	struct seen s = { .stop = 64 };
	struct entry *one, *held;

	start(NULL);
	taker_attach(&t, b.q);
	put(WIRE_PRIORITY_NORMAL, 1);
	put(WIRE_PRIORITY_HIGH, 2);
	put(WIRE_PRIORITY_NORMAL, 3);
	put(WIRE_PRIORITY_HIGH, 4);
	put(WIRE_PRIORITY_LOW, 5);
	put(WIRE_PRIORITY_LOW, 6);
	flow_put(&f, box_message(&b, 10, WIRE_PRIORITY_HIGH, 0, 500), &h.sender, 7);
	one = queue_take(&t.consumer, WIRE_PRIORITY_NORMAL);
	queue_return(queue_take(&t.consumer, WIRE_PRIORITY_LOW), 0, NULL);
	held = queue_take(&t.consumer, WIRE_PRIORITY_HIGH);
	queue_return(one, 0, NULL);
	queue_return(held, 0, NULL);
	queue_take(&t.consumer, WIRE_PRIORITY_LOW);
	queue_return(queue_take(&t.consumer, WIRE_PRIORITY_LOW), 0, NULL);
	/* 5 is held: after all that waits, before what is delayed. */
	queue_each(b.q, see, &s);
	ck_assert_uint_eq(s.n, 7);
	ck_assert(s.numbers[4] == 6 && s.numbers[5] == 5 && s.numbers[6] == 7);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(s.numbers[i], want[i]);
	s = (struct seen){ .stop = 3 };
	queue_each(b.q, see, &s);
	ck_assert_uint_eq(s.n, 3);
	/* Looking changes nothing. */
	ck_assert_uint_eq(queue_take(&t.consumer, WIRE_PRIORITY_HIGH)->number, 2);
	ck_assert_uint_eq(queue_take(&t.consumer, WIRE_PRIORITY_NORMAL)->number, 1);
}
END_TEST

START_TEST(ranges_of_a_sender)
{
	struct heard other;
	uint64_t ranges[8][2];
	struct entry *e;

	start(NULL);
	heard_init(&other);
	taker_attach(&t, b.q);
	ck_assert_uint_eq(queue_ranges_of(b.q, &h.sender, ranges, 8), 0);
	for (uint64_t i = 1; i <= 10; i++)
		put(WIRE_PRIORITY_NORMAL, i < 6 ? i : i + 10);
	flow_put(&f, box_message(&b, 10, WIRE_PRIORITY_NORMAL, 0, 0), &other.sender, 6);
	queue_done(take(), WIRE_LEVEL_CONSUMED);
	e = take();
	queue_done(take(), WIRE_LEVEL_CONSUMED);
	queue_return(e, 0, NULL);
	take();
	ck_assert_uint_eq(queue_ranges_of(b.q, &h.sender, ranges, 8), 3);
	ck_assert(ranges[0][0] == 2 && ranges[0][1] == 2);
	ck_assert(ranges[1][0] == 4 && ranges[1][1] == 5);
	ck_assert(ranges[2][0] == 16 && ranges[2][1] == 20);
	ck_assert_uint_eq(queue_ranges_of(b.q, &h.sender, ranges, 1), 1);
	ck_assert(ranges[0][0] == 2 && ranges[0][1] == 2);
	queue_forget(b.q, &h.sender);
	ck_assert_uint_eq(h.sender.open, 0);
	ck_assert_uint_eq(other.sender.open, 1);
	while ((e = take()))
		queue_done(e, WIRE_LEVEL_CONSUMED);
	ck_assert_uint_eq(h.n, 2);
}
END_TEST

START_TEST(durable_is_refused_by_memory)
{
	struct wire_item item = { .flags = WIRE_ITEM_DURABLE };

	start(NULL);
	ck_assert_int_eq(flow_put(&f, message_new(&b.store, &item, 0, 0, NULL, NULL, 1), &h.sender, 1), -ENOTSUP);
	ck_assert_uint_eq(h.sender.open, 0);
	ck_assert_uint_eq(box_stats(b.q).counters.accepted, 0);
}
END_TEST

START_TEST(names)
{
	start("berlin");
	ck_assert_str_eq(queue_name(b.q), "berlin/orders");
	ck_assert_str_eq(queue_node(b.q), "berlin");
	ck_assert_str_eq(queue_remote_name(b.q), "orders");
	queue_inlet_close(&f.inlet);
	queue_free(b.q);
	start(NULL);
	ck_assert_str_eq(queue_name(b.q), "orders");
	ck_assert_ptr_null(queue_node(b.q));
}
END_TEST

START_TEST(age_of_the_oldest)
{
	struct queue_stats st;

	start(NULL);
	taker_attach(&t, b.q);
	put(WIRE_PRIORITY_LOW, 1);
	fake_loop_advance(b.loop, 300);
	put(WIRE_PRIORITY_HIGH, 2);
	fake_loop_advance(b.loop, 100);
	queue_stats(b.q, loop_now_ms(b.loop), &st);
	ck_assert_uint_eq(st.oldest_ms, 400);
	ck_assert_uint_eq(st.consumers, 1);
	queue_take(&t.consumer, WIRE_PRIORITY_LOW);
	queue_stats(b.q, loop_now_ms(b.loop), &st);
	ck_assert_uint_eq(st.oldest_ms, 100);
	ck_assert_uint_eq(st.in_flight, 1);
}
END_TEST

/* Very many deadlines at once do not keep the loop from others. */
START_TEST(mass_expiry_gives_way)
{
	enum { N = 10000 };

	start(NULL);
	for (uint64_t i = 0; i < N; i++) {
		while (f.messages == 0)
			flow_grant(&f);
		flow_put(&f, box_message(&b, 0, WIRE_PRIORITY_NORMAL, 1000, 0), &h.sender, i);
	}
	fake_loop_jump(b.loop, 2000);
	fake_loop_pass(b.loop);
	ck_assert_uint_gt(h.n, 0);
	ck_assert_uint_lt(h.n, N);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(h.n, N);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("queue");
	TCase *tc = tcase_create("queue");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, first_in_first_out);
	tcase_add_test(tc, priorities_share_16_4_1);
	tcase_add_test(tc, returned_goes_back_to_its_place);
	tcase_add_test(tc, detach_of_many_is_cheap);
	tcase_add_test(tc, numbers_go_on_when_a_queue_is_made_again);
	tcase_add_test(tc, expires_by_the_smaller_limit);
	tcase_add_test(tc, expired_is_not_offered_before_the_timer_fires);
	tcase_add_test(tc, held_does_not_expire_until_returned);
	tcase_add_test(tc, link_holds_what_expires);
	tcase_add_test(tc, not_before_is_waited_out_here_only);
	tcase_add_test(tc, not_before_does_not_hold_an_outbound_queue);
	tcase_add_test(tc, delayed_expires_too);
	tcase_add_test(tc, returned_after_a_delay);
	tcase_add_test(tc, ack_timeout_takes_back);
	tcase_add_test(tc, each_in_order);
	tcase_add_test(tc, ranges_of_a_sender);
	tcase_add_test(tc, durable_is_refused_by_memory);
	tcase_add_test(tc, names);
	tcase_add_test(tc, age_of_the_oldest);
	tcase_add_test(tc, mass_expiry_gives_way);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
