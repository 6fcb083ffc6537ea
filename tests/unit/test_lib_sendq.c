/* sendq: open messages of one flow by number. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "no_memory.h"
#include "sendq.h"

/* Any address that is not NULL will do: sendq never looks inside. */
static struct connectd_msg *const some = (struct connectd_msg *)&(char){ 0 };

static void
push(struct sendq *q, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(sendq_push(q, &(struct sendq_entry){ .msg = some }, q->next), 0);
}

START_TEST(numbers_and_order)
{
	struct sendq q;
	struct sendq_entry e;

	sendq_init(&q, 100);
	ck_assert(sendq_empty(&q));
	push(&q, 3000); /* grows many times over */
	for (uint64_t n = 100; n < 3100; n++)
		ck_assert_uint_eq(sendq_at(&q, n)->number, n);
	ck_assert_ptr_null(sendq_at(&q, 99));
	ck_assert_ptr_null(sendq_at(&q, 3100));
	for (uint64_t n = 100; n < 1000; n++) {
		ck_assert(sendq_pop(&q, 999, &e));
		ck_assert_uint_eq(e.number, n);
	}
	ck_assert(!sendq_pop(&q, 999, &e));
	ck_assert_uint_eq(sendq_oldest(&q), 1000);
	while (sendq_pop(&q, UINT64_MAX, &e))
		;
	ck_assert_uint_eq(e.number, 3099);
	ck_assert(sendq_empty(&q));
	push(&q, 1);
	ck_assert_uint_eq(sendq_after(&q, 0), 3100);
	sendq_done(&q);
}
END_TEST

START_TEST(holes_are_stepped_over)
{
	struct sendq q;
	struct sendq_entry e;

	sendq_init(&q, 1);
	push(&q, 10);
	ck_assert(sendq_take(&q, 2, &e));
	ck_assert(!sendq_take(&q, 2, &e));
	ck_assert(sendq_take(&q, 3, &e));
	ck_assert_uint_eq(sendq_after(&q, 1), 4);
	ck_assert_uint_eq(sendq_after(&q, 0), 1);
	ck_assert_uint_eq(sendq_after(&q, 10), 0);
	ck_assert(sendq_pop(&q, 9, &e));
	ck_assert_uint_eq(e.number, 1);
	ck_assert(sendq_pop(&q, 9, &e));
	ck_assert_uint_eq(e.number, 4);
	for (uint64_t n = 5; n <= 10; n++)
		ck_assert(sendq_take(&q, n, &e));
	ck_assert(sendq_empty(&q));
	sendq_done(&q);
}
END_TEST

/* Against the plainest list of numbers there is. */
START_TEST(numbers_with_gaps)
{
	static const uint64_t gaps[] = { 1, 1, 7, 1, 1, 1, 1000000007, 2, 1, 3, UINT64_C(1) << 40, 1 };
	uint64_t numbers[600], number = 5;
	struct sendq_entry e;
	struct sendq q;
	size_t first = 0;

	sendq_init(&q, 6);
	for (size_t i = 0; i < 600; i++) {
		number += gaps[i % 12];
		numbers[i] = number;
		ck_assert_int_eq(sendq_push(&q, &(struct sendq_entry){ .msg = some }, number), 0);
		ck_assert_uint_eq(q.next, number + 1);
		if (i % 3 == 2) { /* the ring wraps */
			ck_assert(sendq_pop(&q, numbers[first], &e));
			ck_assert_uint_eq(e.number, numbers[first++]);
		}
	}
	ck_assert_uint_eq(sendq_oldest(&q), numbers[first]);
	for (size_t i = first; i < 600; i++) {
		ck_assert_uint_eq(sendq_at(&q, numbers[i])->number, numbers[i]);
		ck_assert_uint_eq(sendq_after(&q, numbers[i] - 1), numbers[i]);
		ck_assert_uint_eq(sendq_after(&q, numbers[i]), i < 599 ? numbers[i + 1] : 0);
		if (i < 599 && numbers[i + 1] > numbers[i] + 1) {
			ck_assert_ptr_null(sendq_at(&q, numbers[i] + 1));
			ck_assert(!sendq_take(&q, numbers[i] + 1, &e));
		}
	}
	ck_assert_ptr_null(sendq_at(&q, numbers[first] - 1));
	ck_assert_uint_eq(sendq_after(&q, UINT64_MAX), 0);
	for (size_t i = first; i < 600; i += 2)
		ck_assert(sendq_take(&q, numbers[i], &e));
	for (size_t i = first + 1; i < 600; i += 2) {
		ck_assert_uint_eq(sendq_after(&q, numbers[i - 1]), numbers[i]);
		ck_assert(!sendq_pop(&q, numbers[i] - 1, &e));
		ck_assert(sendq_pop(&q, numbers[i], &e));
		ck_assert_uint_eq(e.number, numbers[i]);
	}
	ck_assert(sendq_empty(&q));
	ck_assert_uint_eq(sendq_oldest(&q), numbers[599] + 1);
	sendq_done(&q);
}
END_TEST

START_TEST(waiting_is_found_in_ranges)
{
	struct sendq q;
	struct sendq_entry e;
	uint64_t next = 3;
	size_t n = 0;

	sendq_init(&q, 1);
	for (uint64_t i = 1; i <= 5000; i++)
		ck_assert_int_eq(sendq_wait(&q, &(struct sendq_entry){ .msg = some, .number = i * 2 }), 0);
	ck_assert(!sendq_waited(&q, 3, 3, &e));
	while (sendq_waited(&q, next, 9999, &e)) { /* all but 2 and 10000 */
		ck_assert_uint_eq(e.number, n * 2 + 4);
		next = e.number + 1;
		n++;
	}
	ck_assert_uint_eq(n, 4998);
	ck_assert_uint_eq(sendq_oldest(&q), 2);
	/* The gaps are used again: a long-lived first one costs no memory. */
	for (uint64_t i = 10001; i < 60000; i++)
		if (sendq_wait(&q, &(struct sendq_entry){ .msg = some, .number = i }) != 0 || !sendq_waited(&q, i, i, &e))
			ck_abort_msg("number %" PRIu64, i);
	ck_assert_uint_le(q.waiting_cap, 8192);
	ck_assert(sendq_waited(&q, 0, UINT64_MAX, &e));
	ck_assert_uint_eq(e.number, 2);
	ck_assert(sendq_waited(&q, 0, UINT64_MAX, &e));
	ck_assert_uint_eq(e.number, 10000);
	ck_assert(!sendq_waited(&q, 0, UINT64_MAX, &e));
	ck_assert(sendq_empty(&q));
	sendq_done(&q);
}
END_TEST

/* With the next allocation failing: was there one? */
static bool
allocates(struct sendq *q, int (*fn)(struct sendq *q, const struct sendq_entry *e), const struct sendq_entry *e)
{
	bool did;
	int r;

	no_memory_in = 1;
	r = fn(q, e);
	did = no_memory_in == 0;
	no_memory_in = 0;
	ck_assert_int_eq(r, did ? -ENOMEM : 0);
	return did;
}

static int
promise(struct sendq *q, const struct sendq_entry *e)
{
	(void)e;
	return sendq_promise(q);
}

/* What was promised a place while it was in the ring has it, whatever else waits, and without memory. */
START_TEST(promised_places_need_no_memory)
{
	struct sendq q;
	struct sendq_entry e;

	sendq_init(&q, 1);
	for (uint64_t i = 1; i <= 9000; i++) {
		ck_assert_int_eq(sendq_promise(&q), 0);
		ck_assert_int_eq(sendq_push(&q, &(struct sendq_entry){ .msg = some }, i), 0);
	}
	for (uint64_t i = 1; i <= 9000; i++) {
		ck_assert(sendq_pop(&q, i, &e));
		ck_assert(!allocates(&q, sendq_wait, &e));
		/* At times nothing waits, and its memory could go. */
		if (i % 3000 < 1000)
			ck_assert(sendq_waited(&q, i, i, &e));
	}
	ck_assert_uint_gt(q.n_waiting, 5000);
	while (!allocates(&q, promise, NULL))
		ck_assert_int_eq(sendq_push(&q, &(struct sendq_entry){ .msg = some }, q.next), 0);
	while (sendq_pop(&q, UINT64_MAX, &e) || sendq_waited(&q, 0, UINT64_MAX, &e))
		;
	ck_assert_uint_eq(q.waiting_cap, 0);
	sendq_done(&q);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_sendq");
	TCase *t = tcase_create("lib_sendq");
	SRunner *sr;
	int failed;

	tcase_add_test(t, numbers_and_order);
	tcase_add_test(t, holes_are_stepped_over);
	tcase_add_test(t, numbers_with_gaps);
	tcase_add_test(t, waiting_is_found_in_ranges);
	tcase_add_test(t, promised_places_need_no_memory);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
