/* Who is woken, who stands by. */
#include <check.h>

#include "queue_box.h"

static struct box b;
static struct flow f;

static void
setup(void)
{
	box_init(&b);
	box_make(&b, NULL, "orders");
	flow_open(&f, b.q, true);
}

static void
teardown(void)
{
	box_balance(b.q);
	queue_inlet_close(&f.inlet);
	box_done(&b);
}

static void
put(uint64_t n)
{
	flow_fill(&b, &f, n, NULL);
}

START_TEST(each_message_wakes_the_next)
{
	struct taker t[3];

	for (unsigned i = 0; i < 3; i++)
		taker_attach(&t[i], b.q);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(t[0].wakes + t[1].wakes + t[2].wakes, 0);
	put(1);
	ck_assert_uint_eq(t[0].wakes, 0); /* not from inside queue_put */
	fake_loop_run(b.loop);
	ck_assert(t[0].wakes == 1 && t[1].wakes == 0);
	put(1);
	fake_loop_run(b.loop);
	ck_assert(t[0].wakes == 1 && t[1].wakes == 1 && t[2].wakes == 0);
	/* Idle again at the end of the line. */
	ck_assert(queue_take(&t[0].consumer, -1) && queue_take(&t[0].consumer, -1) && !queue_take(&t[0].consumer, -1));
	put(2);
	fake_loop_run(b.loop);
	ck_assert(t[0].wakes == 2 && t[1].wakes == 1 && t[2].wakes == 1);
	for (unsigned i = 0; i < 3; i++)
		queue_detach(&t[i].consumer);
}
END_TEST

START_TEST(one_wake_for_many_messages)
{
	struct taker t;

	taker_attach(&t, b.q);
	t.greedy = true;
	put(30);
	fake_loop_run(b.loop);
	ck_assert(t.wakes == 1 && t.took == 30);
	put(1);
	fake_loop_run(b.loop);
	ck_assert(t.wakes == 2 && t.took == 31);
	queue_detach(&t.consumer);
}
END_TEST

START_TEST(attach_finds_what_waits)
{
	struct taker t;

	put(3);
	taker_attach(&t, b.q);
	t.greedy = true;
	fake_loop_run(b.loop);
	ck_assert_uint_eq(t.took, 3);
	queue_detach(&t.consumer);
}
END_TEST

START_TEST(pause_hands_on)
{
	struct taker t[2];

	taker_attach(&t[0], b.q);
	taker_attach(&t[1], b.q);
	put(1);
	fake_loop_run(b.loop);
	ck_assert(t[0].wakes == 1 && t[1].wakes == 0);
	queue_pause(&t[0].consumer);
	queue_pause(&t[0].consumer);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(t[1].wakes, 1);
	queue_pause(&t[1].consumer);
	put(1);
	fake_loop_run(b.loop);
	ck_assert(t[0].wakes == 1 && t[1].wakes == 1);
	queue_ready(&t[0].consumer);
	fake_loop_run(b.loop);
	ck_assert(t[0].wakes == 2 && t[1].wakes == 1);
	ck_assert(queue_take(&t[0].consumer, -1) && queue_take(&t[0].consumer, -1));
	/* Nothing there: ready, but not woken before something comes. */
	queue_ready(&t[1].consumer);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(t[1].wakes, 1);
	put(1);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(t[1].wakes, 2);
	queue_detach(&t[0].consumer);
	queue_detach(&t[1].consumer);
}
END_TEST

START_TEST(a_wake_is_not_lost_with_its_consumer)
{
	struct taker t[2];

	taker_attach(&t[0], b.q);
	taker_attach(&t[1], b.q);
	put(1);
	queue_detach(&t[0].consumer); /* woken, and gone before it heard of it */
	fake_loop_run(b.loop);
	ck_assert(t[0].wakes == 0 && t[1].wakes == 1);
	ck_assert(queue_take(&t[1].consumer, -1));
	taker_attach(&t[0], b.q);
	t[0].greedy = true;
	queue_detach(&t[1].consumer); /* what it held is for the other */
	fake_loop_run(b.loop);
	ck_assert_uint_eq(t[0].took, 1);
	queue_detach(&t[0].consumer);
	queue_detach(&t[0].consumer); /* twice is fine */
}
END_TEST

/* A link that found one priority dry, and cannot take of another, hears of the first all the same. */
START_TEST(link_hears_of_every_message)
{
	struct taker t;

	taker_link(&t, b.q);
	put(2);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(t.wakes, 1);
	ck_assert(!queue_take(&t.consumer, WIRE_PRIORITY_HIGH) && queue_take(&t.consumer, WIRE_PRIORITY_NORMAL));
	ck_assert_int_eq(flow_put(&f, box_message(&b, 0, WIRE_PRIORITY_HIGH, 0, 0), NULL, 1), 0);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(t.wakes, 2);
	put(1);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(t.wakes, 3);
	queue_detach(&t.consumer);
}
END_TEST

START_TEST(exclusive_first_is_the_one)
{
	struct taker x, y, n;

	taker_attach(&n, b.q);
	taker_exclusive(&x, b.q);
	taker_exclusive(&y, b.q);
	ck_assert(!x.consumer.standby && y.consumer.standby && n.consumer.standby);
	ck_assert(x.standbys == 0 && y.standbys == 0 && n.standbys == 0);
	put(2);
	fake_loop_run(b.loop);
	ck_assert(n.standbys == 1 && y.standbys == 0 && x.standbys == 0);
	ck_assert(x.wakes == 1 && y.wakes == 0 && n.wakes == 0);
	ck_assert(!queue_take(&y.consumer, -1) && !queue_take(&n.consumer, -1));
	ck_assert_ptr_nonnull(queue_take(&x.consumer, -1));
	/* The next in line, and it gets the same message again. */
	queue_detach(&x.consumer);
	ck_assert(!y.consumer.standby && n.consumer.standby);
	fake_loop_run(b.loop);
	ck_assert(y.standbys == 1 && y.wakes == 1);
	ck_assert(queue_take(&y.consumer, -1)->redelivered);
	queue_detach(&y.consumer);
	fake_loop_run(b.loop);
	ck_assert(!n.consumer.standby && n.standbys == 2 && n.wakes == 1);
	ck_assert_ptr_nonnull(queue_take(&n.consumer, -1));
	queue_detach(&n.consumer);
}
END_TEST

START_TEST(exclusive_waits_for_holders)
{
	struct taker x, n[2];
	struct entry *e;

	taker_attach(&n[0], b.q);
	taker_attach(&n[1], b.q);
	put(3);
	e = queue_take(&n[0].consumer, -1);
	taker_exclusive(&x, b.q);
	ck_assert(x.consumer.standby && !n[0].consumer.standby && !n[1].consumer.standby);
	ck_assert_ptr_null(queue_take(&x.consumer, -1));
	/* The others go on meanwhile. */
	ck_assert_ptr_nonnull(queue_take(&n[1].consumer, -1));
	queue_detach(&n[1].consumer);
	ck_assert(x.consumer.standby);
	queue_done(e, WIRE_LEVEL_CONSUMED);
	ck_assert(x.consumer.standby);
	queue_detach(&n[0].consumer);
	ck_assert(!x.consumer.standby);
	fake_loop_run(b.loop);
	ck_assert(x.standbys == 1 && x.wakes == 1);
	queue_detach(&x.consumer);
}
END_TEST

START_TEST(paused_stays_paused_over_a_standby)
{
	struct taker x, n;

	taker_attach(&n, b.q);
	queue_pause(&n.consumer);
	taker_exclusive(&x, b.q);
	put(1);
	queue_detach(&x.consumer);
	fake_loop_run(b.loop);
	ck_assert(!n.consumer.standby && n.wakes == 0);
	queue_ready(&n.consumer);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(n.wakes, 1);
	queue_detach(&n.consumer);
}
END_TEST

START_TEST(queue_goes_away)
{
	struct taker t, l;
	struct heard h;

	heard_init(&h);
	taker_attach(&t, b.q);
	taker_link(&l, b.q);
	flow_fill(&b, &f, 3, &h.sender);
	queue_take(&t.consumer, -1);
	queue_take(&l.consumer, -1);
	queue_free(b.q);
	ck_assert(t.lost == 1 && t.cancelled == 1 && l.lost == 1 && l.cancelled == 0);
	ck_assert(!t.consumer.queue && !l.consumer.queue && !f.inlet.queue && f.gone == 1);
	ck_assert(h.n == 0 && h.sender.open == 0);
	fake_loop_run(b.loop);
	ck_assert(t.wakes == 0 && l.wakes == 0);
	/* What its users still do does no harm. */
	queue_detach(&t.consumer);
	queue_detach(&l.consumer);
	queue_inlet_close(&f.inlet);
	ck_assert_ptr_null(queue_take(&t.consumer, -1));
	ck_assert_int_lt(flow_put(&f, box_message(&b, 0, WIRE_PRIORITY_NORMAL, 0, 0), NULL, 1), 0);
	box_make(&b, NULL, "orders");
	flow_open(&f, b.q, true);
}
END_TEST

START_TEST(unused_is_told)
{
	struct taker t, l;

	queue_inlet_close(&f.inlet);
	ck_assert_uint_eq(b.unused, 0); /* from the loop only */
	fake_loop_run(b.loop);
	ck_assert(b.unused == 1 && queue_is_unused(b.q));
	taker_link(&l, b.q);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(b.used, 0);
	taker_attach(&t, b.q);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(b.used, 1);
	flow_open(&f, b.q, true);
	put(1);
	queue_detach(&t.consumer);
	queue_inlet_close(&f.inlet);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(b.unused, 1);
	queue_done(queue_take(&l.consumer, -1), WIRE_LEVEL_ARRIVED);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(b.unused, 2);
	/* Back and forth within one pass is nothing. */
	flow_open(&f, b.q, true);
	queue_inlet_close(&f.inlet);
	fake_loop_run(b.loop);
	ck_assert(b.unused == 2 && b.used == 1);
	queue_detach(&l.consumer);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("queue_consumers");
	TCase *tc = tcase_create("queue_consumers");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, each_message_wakes_the_next);
	tcase_add_test(tc, one_wake_for_many_messages);
	tcase_add_test(tc, attach_finds_what_waits);
	tcase_add_test(tc, pause_hands_on);
	tcase_add_test(tc, a_wake_is_not_lost_with_its_consumer);
	tcase_add_test(tc, link_hears_of_every_message);
	tcase_add_test(tc, exclusive_first_is_the_one);
	tcase_add_test(tc, exclusive_waits_for_holders);
	tcase_add_test(tc, paused_stays_paused_over_a_standby);
	tcase_add_test(tc, queue_goes_away);
	tcase_add_test(tc, unused_is_told);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
