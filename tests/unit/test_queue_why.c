/* What holds a queue: one thing, the one that would have to change first. */
#include <check.h>
#include <string.h>

#include "queue_box.h"

static struct box b;
static struct flow f;

static void
begin(const char *node)
{
	box_init(&b);
	box_make(&b, node, "orders");
	flow_open(&f, b.q, true);
}

static void
end(void)
{
	box_balance(b.q);
	queue_inlet_close(&f.inlet);
	box_done(&b);
}

static void
expect(const char *word)
{
	struct cause c;

	queue_why(b.q, &c);
	ck_assert_str_eq(c.word, word);
	ck_assert_uint_gt(strlen(c.what), 0);
}

START_TEST(one_after_the_other)
{
	struct taker t;
	struct entry *e;

	begin(NULL);
	expect("empty");
	flow_fill(&b, &f, 2, NULL);
	expect("no-consumer");
	ck_assert_int_eq(queue_hold(b.q, true), 0);
	expect("held");
	taker_attach(&t, b.q);
	expect("held");
	ck_assert_int_eq(queue_hold(b.q, false), 0);
	/* It was woken, and has not looked yet. */
	expect("moving");
	fake_loop_run(b.loop);
	e = queue_take(&t.consumer, -1);
	expect("moving");
	queue_pause(&t.consumer);
	expect("taker");
	queue_done(e, WIRE_LEVEL_CONSUMED);
	queue_ready(&t.consumer);
	e = queue_take(&t.consumer, -1);
	/* All is with it. */
	expect("taker");
	queue_return(e, 1000, NULL);
	expect("not-due");
	queue_detach(&t.consumer);
	end();
}
END_TEST

START_TEST(the_exclusive_one)
{
	struct taker t[2];
	struct cause c;
	struct entry *e;

	begin(NULL);
	taker_exclusive(&t[0], b.q);
	taker_attach(&t[1], b.q);
	fake_loop_run(b.loop);
	flow_fill(&b, &f, 2, NULL);
	e = queue_take(&t[0].consumer, -1);
	queue_pause(&t[0].consumer);
	/* Not the one that stands by. */
	queue_why(b.q, &c);
	ck_assert_str_eq(c.what, "holds 1");
	queue_done(e, WIRE_LEVEL_CONSUMED);
	queue_detach(&t[0].consumer);
	expect("moving");
	queue_detach(&t[1].consumer);
	end();
}
END_TEST

START_TEST(one_that_is_dead)
{
	struct taker t;

	begin(NULL);
	box_make_dead(&b, 1);
	taker_attach(&t, b.q);
	flow_fill(&b, &f, 2, NULL);
	fake_loop_run(b.loop);
	ck_assert_int_eq(queue_bury(queue_take(&t.consumer, -1), WIRE_LEVEL_DEAD, WIRE_REJECT_UNKNOWN, "no"), 0);
	ck_assert_int_eq(queue_bury(queue_take(&t.consumer, -1), WIRE_LEVEL_DEAD, WIRE_REJECT_UNKNOWN, "no"), 0);
	expect("dead-letters-full");
	queue_detach(&t.consumer);
	end();
}
END_TEST

START_TEST(for_nobody)
{
	begin("rome");
	flow_fill(&b, &f, 1, NULL);
	expect("not-configured");
	end();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("queue_why");
	TCase *t = tcase_create("queue_why");
	SRunner *sr;
	int failed;

	tcase_add_test(t, one_after_the_other);
	tcase_add_test(t, the_exclusive_one);
	tcase_add_test(t, one_that_is_dead);
	tcase_add_test(t, for_nobody);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
