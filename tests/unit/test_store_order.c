/*
 * What stands for many in a batch, and times: the highest mark, ranges of
 * dones, clocks that differ.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fake_box.h"
#include "fake_disk.h"
#include "fake_loop.h"
#include "store_format.h"

static uint8_t data[100];

/* Of marks in one batch the highest counts, in whatever order they come. */
START_TEST(marks_only_rise)
{
	static const uint64_t order[] = { 5, 9, 7, 3, 8 };

	for (int i = 0; i < 5; i++) {
		store_mark(fake_box.store, 1, order[i]);
		if (i % 2)
			store_mark(fake_box.store, 2, order[4 - i]);
	}
	fake_box_work();
	ck_assert(fake_box_is_synced());
	fake_box_reopen();
	ck_assert_uint_eq(fake_box.mark, 9);
}
END_TEST

/* Times that no clock reaches, and such before 1970, when that is not long ago. */
START_TEST(times_beyond_all)
{
	struct store_message m = fake_box_message(1, data, 10);
	store_ref ref;

	fake_box_teardown();
	fake_box_setup_empty();
	fake_loop_set_wall(fake_box.loop, 1000);
	fake_box_open();
	store_define_queue(fake_box.store, store_new_queue(fake_box.store), (struct store_bytes){ "q", 1 });
	m.expires_ms = UINT64_MAX;
	m.not_before_ms = 1;
	ck_assert_int_eq(store_put(fake_box.store, &m, &ref), 0);
	m.seq = 2;
	m.expires_ms = UINT64_MAX - 1;
	m.not_before_ms = loop_now_ms(fake_box.loop) + 500;
	ck_assert_int_eq(store_put(fake_box.store, &m, &ref), 0);
	fake_box_work();
	fake_box_reopen();
	ck_assert_uint_eq(fake_box.n, 2);
	ck_assert_uint_eq(fake_box.found[0].expires_ms, UINT64_MAX);
	ck_assert_uint_eq(fake_box.found[0].not_before_ms, loop_now_ms(fake_box.loop));
	ck_assert_uint_ge(fake_box.found[1].expires_ms, UINT64_MAX - 1);
	/* A clock that is ahead of the time of day: no number holds the sum. */
	fake_box_close();
	loop_free(fake_box.loop);
	fake_box.loop = loop_new();
	fake_loop_set_wall(fake_box.loop, 1000);
	fake_loop_set_now(fake_box.loop, 3000000000);
	fake_box_open();
	ck_assert_uint_eq(fake_box.found[1].expires_ms, UINT64_MAX);
	/* One that begins with 0, which stands for none. */
	fake_box_close();
	loop_free(fake_box.loop);
	fake_box.loop = loop_new();
	fake_loop_set_wall(fake_box.loop, 1000000);
	fake_loop_set_now(fake_box.loop, 0);
	fake_box_open();
	ck_assert_uint_eq(fake_box.found[0].not_before_ms, 1);
	ck_assert_uint_gt(fake_box.found[1].not_before_ms, 0);
}
END_TEST

START_TEST(never_is_never)
{
	struct store_message m = fake_box_message(1, data, 10);
	store_ref ref;

	/* Beyond what the time of day can tell. */
	m.expires_ms = UINT64_MAX - 5;
	ck_assert_int_eq(store_put(fake_box.store, &m, &ref), 0);
	fake_box_work();
	fake_box_reopen();
	ck_assert_uint_eq(fake_box.n, 1);
	ck_assert_uint_gt(fake_box.found[0].expires_ms, UINT64_MAX / 2);
}
END_TEST

/* A record tells of so many ranges, the next one of the rest. */
START_TEST(dones_in_many_ranges)
{
	static store_ref refs[9001];

	fake_box_open_with(1 << 20, 32);
	for (uint64_t i = 1; i <= 9000; i++) {
		struct store_message m = fake_box_message(i, data, 1);

		ck_assert_int_eq(store_put(fake_box.store, &m, &refs[i]), 0);
	}
	fake_box_work();
	for (uint64_t i = 1; i <= 9000; i += 2)
		store_done(fake_box.store, refs[i], 1, i);
	fake_box_work();
	for (uint64_t i = 2; i <= 8000; i += 2)
		store_done(fake_box.store, refs[i], 1, i);
	fake_box_work();
	ck_assert(fake_box_is_synced());
	fake_box_reopen();
	ck_assert_uint_eq(fake_box.n, 500);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_order");
	TCase *tc = tcase_create("store_order");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, fake_box_setup, fake_box_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, marks_only_rise);
	tcase_add_test(tc, times_beyond_all);
	tcase_add_test(tc, never_is_never);
	tcase_add_test(tc, dones_in_many_ranges);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
