/* Dead letters, parking, purge. */
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

/* ------------------------------------------------------------- dead letters -- */

START_TEST(max_attempts_buries)
{
	struct taker undertaker;
	struct entry *e;

	b.conf.max_attempts = 3;
	b.conf.ttl = 60000;
	start(NULL);
	box_make_dead(&b, 10);
	taker_attach(&t, b.q);
	put(WIRE_PRIORITY_NORMAL, 1);
	for (unsigned i = 1; i < 3; i++) {
		queue_return(take(), 0, NULL);
		ck_assert_uint_eq(h.n, 0);
	}
	queue_return(take(), 0, NULL);
	ck_assert(h.n == 1 && h.level == WIRE_LEVEL_DEAD && h.sender.open == 0);
	ck_assert_str_eq(h.reason, "max_attempts");
	ck_assert_uint_eq(box_stats(b.q).counters.dead, 1);
	ck_assert_uint_eq(box_stats(b.dead).counters.moved_in, 1);
	/* There it stays, whatever its time to live was. */
	fake_loop_advance(b.loop, 3600 * 1000);
	taker_attach(&undertaker, b.dead);
	e = queue_take(&undertaker.consumer, -1);
	ck_assert_str_eq(e->reason, "max_attempts");
	ck_assert_uint_eq(e->attempt, 1);
	/* And has no dead letters of its own. */
	for (unsigned i = 0; i < 10; i++) {
		queue_return(e, 0, NULL);
		ck_assert_ptr_eq(queue_take(&undertaker.consumer, -1), e);
	}
	ck_assert_int_eq(queue_bury(e, WIRE_LEVEL_DEAD, WIRE_REJECT_UNKNOWN, "no"), 0);
	ck_assert_uint_eq(box_stats(b.dead).counters.dropped, 1);
	ck_assert_uint_eq(box_stats(b.dead).messages, 0);
	queue_detach(&undertaker.consumer);
}
END_TEST

START_TEST(max_attempts_counts_consumers_that_go)
{
	b.conf.max_attempts = 2;
	start(NULL);
	box_make_dead(&b, 10);
	for (unsigned i = 0; i < 2; i++) {
		put(WIRE_PRIORITY_NORMAL, i);
		taker_attach(&t, b.q);
		take();
		queue_detach(&t.consumer);
	}
	ck_assert_uint_eq(box_stats(b.q).counters.dead, 1);
	ck_assert_uint_eq(box_stats(b.q).messages, 1);
}
END_TEST

START_TEST(dead_letter_ignores_times_of_the_message)
{
	struct taker undertaker;
	struct entry *e;

	start(NULL);
	box_make_dead(&b, 10);
	taker_attach(&t, b.q);
	flow_put(&f, box_message(&b, 10, WIRE_PRIORITY_HIGH, 1000, 0), &h.sender, 1);
	ck_assert_int_eq(queue_bury(take(), WIRE_LEVEL_REJECTED, WIRE_REJECT_WRONG_TYPE, "not mine"), 0);
	ck_assert(h.level == WIRE_LEVEL_REJECTED && h.code == WIRE_REJECT_WRONG_TYPE);
	ck_assert_str_eq(h.reason, "not mine");
	fake_loop_advance(b.loop, 5000);
	taker_attach(&undertaker, b.dead);
	e = queue_take(&undertaker.consumer, -1);
	ck_assert(e && e->msg->priority == WIRE_PRIORITY_HIGH && !e->sender);
	queue_detach(&undertaker.consumer);
}
END_TEST

START_TEST(full_dead_letter_queue_parks)
{
	struct taker undertaker;

	b.conf.max_attempts = 1;
	start(NULL);
	box_make_dead(&b, 1);
	taker_attach(&t, b.q);
	for (uint64_t i = 1; i <= 3; i++)
		put(WIRE_PRIORITY_NORMAL, i);
	queue_return(take(), 0, NULL);
	queue_return(take(), 0, "broken");
	ck_assert_int_eq(queue_bury(take(), WIRE_LEVEL_DEAD, WIRE_REJECT_UNKNOWN, "poison"), 0);
	ck_assert_uint_eq(h.n, 1);
	ck_assert_uint_eq(box_stats(b.q).parked, 2);
	ck_assert_uint_eq(box_stats(b.q).messages, 2);
	box_balance(b.q);
	ck_assert_ptr_null(take());
	fake_loop_advance(b.loop, 5000);
	ck_assert_uint_eq(box_stats(b.q).parked, 2);
	/* Room for one: the first that died. */
	taker_attach(&undertaker, b.dead);
	queue_done(queue_take(&undertaker.consumer, -1), WIRE_LEVEL_CONSUMED);
	fake_loop_advance(b.loop, 1000);
	ck_assert_uint_eq(box_stats(b.q).parked, 1);
	ck_assert(h.n == 2 && h.number == 2 && h.level == WIRE_LEVEL_DEAD);
	ck_assert_str_eq(h.reason, "max_attempts: broken");
	queue_done(queue_take(&undertaker.consumer, -1), WIRE_LEVEL_CONSUMED);
	fake_loop_advance(b.loop, 1000);
	ck_assert_uint_eq(box_stats(b.q).messages, 0);
	ck_assert_str_eq(h.reason, "poison");
	ck_assert_uint_eq(fake_loop_timers(b.loop), 0);
	queue_detach(&undertaker.consumer);
}
END_TEST

START_TEST(link_is_told_of_a_full_dead_letter_queue)
{
	struct entry *e;

	start("berlin");
	box_make_dead(&b, 0);
	taker_link(&t, b.q);
	put(WIRE_PRIORITY_NORMAL, 1);
	e = take();
	ck_assert_int_eq(queue_bury(e, WIRE_LEVEL_REJECTED, WIRE_REJECT_DENIED, "no"), -ENOSPC);
	ck_assert(h.n == 0 && e->state == ENTRY_HELD && e->holder == &t.consumer);
	queue_free(b.dead);
	box_make_dead(&b, 1);
	ck_assert_int_eq(queue_bury(e, WIRE_LEVEL_REJECTED, WIRE_REJECT_DENIED, "no"), 0);
	ck_assert_uint_eq(h.n, 1);
}
END_TEST

/* ---------------------------------------------------------------------- purge -- */

START_TEST(purge_takes_everything_a_client_could_get)
{
	struct queue_purged purged;
	struct entry *e;

	start(NULL);
	taker_attach(&t, b.q);
	for (uint64_t i = 1; i <= 6; i++)
		put(i % 2 ? WIRE_PRIORITY_NORMAL : WIRE_PRIORITY_LOW, i);
	flow_put(&f, box_message(&b, 10, WIRE_PRIORITY_NORMAL, 0, 500), &h.sender, 7);
	e = take();
	take();
	queue_return(e, 0, NULL);
	queue_purge(b.q, &purged);
	ck_assert(purged.messages == 7 && purged.bytes == 70);
	ck_assert_uint_eq(t.lost, 1);
	ck_assert_uint_eq(h.by_level[WIRE_LEVEL_PURGED], 7);
	ck_assert_uint_eq(box_stats(b.q).counters.purged, 7);
	ck_assert_uint_eq(box_stats(b.q).messages, 0);
	ck_assert_uint_eq(t.consumer.n_held, 0);
}
END_TEST

START_TEST(purge_dooms_what_a_link_has_sent)
{
	struct queue_purged purged;
	struct entry *e;

	start("berlin");
	taker_link(&t, b.q);
	put(WIRE_PRIORITY_NORMAL, 1);
	put(WIRE_PRIORITY_NORMAL, 2);
	put(WIRE_PRIORITY_NORMAL, 3);
	e = take();
	e->sent = true;
	take();
	queue_purge(b.q, &purged);
	ck_assert(purged.messages == 3 && purged.bytes == 30);
	ck_assert_uint_eq(h.by_level[WIRE_LEVEL_PURGED], 2);
	ck_assert(t.lost == 1 && t.last_lost != e);
	ck_assert(!e->msg && e->doomed == WIRE_LEVEL_PURGED);
	queue_purge(b.q, &purged);
	ck_assert(purged.messages == 0 && purged.bytes == 0);
	box_balance(b.q);
	/* Rejected there: it meets its doom instead of being buried. */
	ck_assert_int_eq(queue_bury(e, WIRE_LEVEL_REJECTED, WIRE_REJECT_DENIED, "no"), 0);
	ck_assert(h.by_level[WIRE_LEVEL_PURGED] == 3 && h.number == 1);
	ck_assert_uint_eq(box_stats(b.q).counters.purged, 3);
}
END_TEST

START_TEST(link_that_goes_leaves_the_doomed_behind)
{
	struct queue_purged purged;

	start("berlin");
	taker_link(&t, b.q);
	put(WIRE_PRIORITY_NORMAL, 1);
	take()->sent = true;
	queue_purge(b.q, &purged);
	put(WIRE_PRIORITY_NORMAL, 2);
	take();
	queue_detach(&t.consumer);
	ck_assert(h.n == 1 && h.level == WIRE_LEVEL_PURGED && h.number == 1);
	taker_link(&t, b.q);
	/* Never sent: nobody can have seen it. */
	ck_assert(take()->number == 2);
	ck_assert(!list_entry(t.consumer.held[0].next, struct entry, node)->redelivered);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("queue_dead");
	TCase *tc = tcase_create("queue_dead");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, max_attempts_buries);
	tcase_add_test(tc, max_attempts_counts_consumers_that_go);
	tcase_add_test(tc, dead_letter_ignores_times_of_the_message);
	tcase_add_test(tc, full_dead_letter_queue_parks);
	tcase_add_test(tc, link_is_told_of_a_full_dead_letter_queue);
	tcase_add_test(tc, purge_takes_everything_a_client_could_get);
	tcase_add_test(tc, purge_dooms_what_a_link_has_sent);
	tcase_add_test(tc, link_that_goes_leaves_the_doomed_behind);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
