#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "store_box.h"

static struct store_stats
stats(void)
{
	struct store_stats st;

	store_stats(box.store, &st);
	return st;
}

static void
define(uint32_t q)
{
	char name[16];

	snprintf(name, sizeof(name), "queue %u", q);
	ck_assert_int_eq(store_define_queue(box.store, q, (struct store_bytes){ name, strlen(name) }), 0);
}

#define WAITING 200 /* messages in the queue that flows */
#define KEPT 3000

/* Put and take n messages of a queue, some waiting at a time. */
static void
flow_through(uint32_t q, uint64_t first, uint64_t n, size_t len)
{
	store_ref refs[WAITING] = { 0 };

	for (uint64_t i = 0; i < n + WAITING; i++) {
		if (i >= WAITING)
			store_done(box.store, refs[i % WAITING], q, first + i - WAITING);
		if (i < n)
			refs[i % WAITING] = box_put(q, first + i, 0, 0, len);
		if (i % WAITING == WAITING - 1)
			box_wait(store_ticket(box.store));
	}
	box_sync();
}

/* One queue that nobody reads must not keep the rest of the disk. */
START_TEST(space_comes_back)
{
	struct store_stats st;
	static store_ref kept[KEPT];
	uint64_t most = 0, live;

	/* The smallest that may be configured. */
	box.segment = 1 << 20;
	box.max_disk = 64 * box.segment;
	box_open();
	store_new_queue(box.store);
	store_new_queue(box.store);
	define(1);
	define(2);
	for (uint64_t i = 0; i < KEPT; i++) {
		kept[i] = box_put(1, i + 1, 0, 0, 1000);
		if (i % 30 == 0)
			flow_through(2, i * 100, 200, 900);
	}
	for (uint64_t i = 0; i < 100; i++) {
		flow_through(2, 1000000 + i * 1000, 1000, 1000);
		st = stats();
		if (most < st.used_bytes)
			most = st.used_bytes;
	}
	st = stats();
	live = st.live_bytes;
	ck_assert_uint_eq(st.messages, KEPT);
	ck_assert_uint_gt(st.payload_bytes, 25 * live);
	ck_assert_uint_gt(st.copied_bytes, 0);
	ck_assert_uint_gt(st.snapshots, 0);
	ck_assert_uint_le(most, 2 * live + 4 * box.segment);
	/* And not at any price. */
	ck_assert_uint_lt(st.copied_bytes, st.payload_bytes);
	for (uint64_t i = 0; i < KEPT; i++)
		box_check(kept[i], i + 1, 1000);
	for (int k = 0; k < 3; k++) {
		box_crash();
		box_open();
		ck_assert_uint_eq(box.n_messages, KEPT);
		ck_assert_uint_eq(box.n_queues, 2);
		ck_assert_str_eq(box.queues[box.queues[1].number == 2].definition, "queue 2");
		for (uint64_t i = 0; i < KEPT; i++)
			box_check(box_find(1, i + 1)->ref, i + 1, 1000);
		ck_assert_uint_eq(box.n_damaged, 0);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_space");
	TCase *tc = tcase_create("store_space");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, box_setup, box_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, space_comes_back);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
