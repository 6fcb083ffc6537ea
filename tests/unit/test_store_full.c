/*
 * Space that is short, in all its forms: what may go on does, what has to wait
 * goes on when there is space again, and errors that pass are no end.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_box.h"
#include "fake_disk.h"
#include "fake_loop.h"
#include "store_internal.h"

static void
work(int n)
{
	while (n-- > 0)
		fake_box_work();
}

static void
retries(void)
{
	fake_loop_advance(fake_box.loop, STORE_RETRY_MS);
	work(2);
}

/* Messages wait; dones and offers from behind them go ahead, as many as fit a batch, but not those of a group. */
START_TEST(what_goes_ahead)
{
	static store_ref small[1600], waiting[600];
	uint64_t n = 0, offered, live;
	uint32_t fresh;

	fake_box_open_with(FAKE_BOX_SEGMENT, 12);
	for (uint64_t i = 0; i < 1600; i++) {
		small[i] = fake_box_put(i + 1, 10);
		if (i % 100 == 0)
			fake_box_work();
	}
	work(2);
	ck_assert(fake_box_is_synced());
	for (; n < 200 || fake_box_is_synced(); n++) {
		ck_assert_uint_lt(n, 600);
		waiting[n] = fake_box_put(5000 + n, 2000);
		if (n % 10 == 9)
			fake_box_work();
	}
	work(3);
	ck_assert(!fake_box_is_synced());
	offered = fake_box.offered;
	/* Of no queue, and of one that is not there before what waits is. */
	fresh = store_new_queue(fake_box.store);
	store_define_queue(fake_box.store, fresh, (struct store_bytes){ "fresh", 5 });
	store_offered(fake_box.store, fresh, 9);
	store_offered(fake_box.store, 77, 9);
	work(2);
	ck_assert_uint_eq(fake_box.offered, offered);
	store_offered(fake_box.store, 1, 1234);
	work(2);
	ck_assert_uint_eq(fake_box.offered, 1234);
	/* A group, while it is open and afterwards; but not what is ahead of it. */
	live = fake_box.store->live_bytes;
	store_done(fake_box.store, small[2], 1, 3);
	store_group_begin(fake_box.store);
	store_done(fake_box.store, small[0], 1, 1);
	store_done(fake_box.store, small[1], 1, 2);
	work(2);
	ck_assert_uint_lt(fake_box.store->live_bytes, live);
	ck_assert_uint_gt(fake_box.store->live_bytes, live - 2 * store_cost(fake_box.store, 10));
	live = fake_box.store->live_bytes;
	store_group_end(fake_box.store);
	work(2);
	ck_assert_uint_eq(fake_box.store->live_bytes, live);
	/* More than a batch holds. */
	for (uint64_t i = 3; i < 1600; i++)
		store_done(fake_box.store, small[i], 1, i + 1);
	for (int i = 0; i < 3; i++) {
		fake_loop_pass(fake_box.loop);
		fake_task_run(fake_box.writer);
	}
	work(20);
	ck_assert_uint_lt(fake_box.store->live_bytes, live);
	for (uint64_t i = 0; i < n; i++)
		store_done(fake_box.store, waiting[i], 1, 5000 + i);
	work(40);
	ck_assert(fake_box_is_synced());
	ck_assert_uint_eq(fake_box.store->live_bytes, 0);
}
END_TEST

static const int passing[] = { -ENOSPC, -EDQUOT, -ENOMEM, -EMFILE, -ENFILE, -EAGAIN };

START_TEST(errors_that_pass)
{
	ck_assert(store_is_passing(passing[_i]));
	ck_assert_int_eq(store_is_no_space(passing[_i]), _i < 2);
	fake_box_put_batches(1, 3, 100);
	fake_disk.fail_write = 1;
	fake_disk.error = passing[_i];
	fake_box_put(4, 100);
	fake_box_work();
	ck_assert_int_eq(fake_box.state, STORE_FULL);
	ck_assert_uint_eq(store_room(fake_box.store), 0);
	ck_assert(!fake_box_is_synced());
	retries();
	ck_assert_int_eq(fake_box.state, STORE_OPEN);
	ck_assert(fake_box_is_synced());
}
END_TEST

START_TEST(errors_that_stay)
{
	ck_assert(!store_is_passing(-EIO) && !store_is_passing(-EACCES) && !store_is_no_space(-EIO));
}
END_TEST

/* Two calls fail before the first is told: what is told is the first. */
START_TEST(fenced_twice)
{
	struct store_stats st;

	fake_box_teardown();
	fake_box_setup_empty();
	fake_box_open();
	store_mark(fake_box.store, 1, 1);
	store_hurry(fake_box.store);
	/* Until a batch is with the writer, and a segment behind it. */
	for (int i = 0; i < 10 && !(fake_box.store->inflight && fake_box.store->ahead.what != AHEAD_NOTHING); i++) {
		fake_loop_pass(fake_box.loop);
		if (!fake_box.store->inflight)
			fake_task_run(fake_box.writer);
	}
	ck_assert(fake_box.store->inflight);
	/* The one that is before it. */
	ck_assert(fake_task_run(fake_box.writer));
	fake_loop_pass(fake_box.loop);
	ck_assert(fake_box.store->inflight && fake_box.store->ahead.what != AHEAD_NOTHING);
	fake_disk.fail_sync = 1;
	ck_assert(fake_task_run(fake_box.writer));
	fake_disk.fail_open = 1;
	ck_assert(fake_task_run(fake_box.writer));
	ck_assert_uint_eq(fake_disk.fail_sync + fake_disk.fail_open, 0);
	work(1);
	store_stats(fake_box.store, &st);
	ck_assert_int_eq(st.state, STORE_FENCED);
	ck_assert_ptr_nonnull(strstr(st.why, "sync of the journal"));
}
END_TEST

/* Now and then a file cannot be opened ahead: it is not lost, and no message is. */
START_TEST(openings_ahead_that_fail)
{
	store_ref refs[3] = { 0 };
	unsigned failed = 0;

	fake_box_open_with(FAKE_BOX_SEGMENT, 8);
	for (uint64_t i = 0; i < 600; i++) {
		if (refs[i % 3])
			store_done(fake_box.store, refs[i % 3], 1, i - 2);
		refs[i % 3] = fake_box_put(i + 1, 8000);
		for (int k = 0; k < 6; k++) {
			fake_loop_pass(fake_box.loop);
			fake_disk.fail_open = i % 2 == 0;
			fake_disk.error = -EMFILE;
			if (fake_task_run(fake_box.writer) && i % 2 == 0 && fake_disk.fail_open == 0)
				failed++;
			fake_disk.fail_open = 0;
			fake_task_run(fake_box.reader);
		}
		if (i % 2 == 0)
			retries();
		fake_box_work();
	}
	ck_assert_uint_gt(failed, 8);
	retries();
	ck_assert(fake_box_is_synced());
	ck_assert_int_eq(fake_box.state, STORE_OPEN);
	ck_assert_uint_le(fake_box.store->file_bytes, fake_box.max_disk);
	fake_box_close();
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 3);
	ck_assert_uint_eq(fake_box.n_damaged, 0);
}
END_TEST

/* All there may be is of a size that is not configured any more: it goes, and what waits goes on. */
START_TEST(files_of_another_size)
{
	fake_box_close();
	fake_disk_free();
	fake_disk_new(1);
	fake_box.segment = 2 * FAKE_BOX_SEGMENT;
	fake_box.max_disk = 16 * fake_box.segment;
	fake_box_open();
	store_define_queue(fake_box.store, 1, (struct store_bytes){ "q", 1 });
	for (uint64_t i = 1; i <= 100; i++) {
		store_ref ref = fake_box_put(i, 15000);

		fake_box_work();
		if (i > 1)
			store_done(fake_box.store, ref, 1, i);
	}
	work(3);
	fake_box_close();
	fake_box.segment = FAKE_BOX_SEGMENT;
	fake_box.max_disk = 8 * FAKE_BOX_SEGMENT;
	fake_box_open();
	ck_assert_uint_gt(fake_box.store->file_bytes, fake_box.max_disk);
	/* More than the segment in which the last batch was written again holds. */
	for (uint64_t i = 1; i <= 4; i++)
		fake_box_put(1000 + i, 20000);
	work(20);
	ck_assert(fake_box_is_synced());
	ck_assert_uint_le(fake_box.store->file_bytes, fake_box.max_disk);
	fake_box_close();
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 5);
}
END_TEST

/* Files without blocks, and no more may be made: they are tried again and again. */
START_TEST(files_without_blocks)
{
	unsigned failed = 0;
	bool is_busy = false;

	fake_box_teardown();
	fake_box_setup_empty();
	fake_box.max_disk = 8 * FAKE_BOX_SEGMENT;
	for (int i = 1; i <= 8; i++) {
		char name[40];

		snprintf(name, sizeof(name), "journal/%08d.journal", i);
		fake_disk_put(name, "", 1);
	}
	fake_box_open();
	store_define_queue(fake_box.store, store_new_queue(fake_box.store), (struct store_bytes){ "q", 1 });
	for (int i = 0; i < 14; i++) {
		fake_loop_pass(fake_box.loop);
		/* Every second opening, so that one goes well and the next one is tried. */
		fake_disk.fail_open = i % 2 == 0;
		fake_disk.error = -EMFILE;
		fake_task_run(fake_box.writer);
		failed += i % 2 == 0 && fake_disk.fail_open == 0;
		fake_disk.fail_open = 0;
		fake_loop_pass(fake_box.loop);
		/* Nor can the task be run at once. */
		if (fake_box.store->no_space && !is_busy) {
			is_busy = true;
			fake_task.fail = 1;
		}
		fake_loop_advance(fake_box.loop, STORE_RETRY_MS);
	}
	ck_assert(is_busy);
	ck_assert_uint_gt(failed, 3);
	retries();
	ck_assert(fake_box_is_synced());
	ck_assert_int_eq(fake_box.state, STORE_OPEN);
	ck_assert_uint_eq(fake_box.store->n_bare, 0);
	ck_assert_uint_eq(fake_box.store->file_bytes, fake_box.max_disk);
	fake_box_put_batches(1, 20, 3000);
	fake_box_close();
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 20);
}
END_TEST

/* ----------------------------------------------------------------- numbers -- */

START_TEST(no_more_slots)
{
	store_ref ref = fake_box_put(1, 100);
	struct store_message m = { .queue = 1, .seq = 2 };
	uint32_t n = fake_box.store->n_slots;

	fake_box_work();
	fake_box.store->n_slots = UINT32_MAX;
	ck_assert_int_eq(store_put(fake_box.store, &m, &ref), -ENOMEM);
	fake_box.store->n_slots = n;
	ck_assert_int_eq(store_put(fake_box.store, &m, &ref), 0);
	fake_box_work();
	ck_assert(fake_box_is_synced());
}
END_TEST

/* A segment has so many records, and there are so many segments, as numbers in memory can name. */
START_TEST(no_more_records_or_segments)
{
	static struct segment g;
	struct segment **full = malloc(SLOT_SEGMENT_MAX * sizeof(struct segment *)); /* of that many bytes, untouched if possible */
	struct segment **segments = fake_box.store->segments;
	uint32_t n = fake_box.store->n_segments;

	g.n_records = 10;
	ck_assert_int_eq(store_segment_reserve(&g, UINT32_MAX / 2 - 9), -ENOMEM);
	ck_assert_ptr_null(g.records);
	ck_assert_ptr_nonnull(full);
	for (uint32_t i = 0; i < SLOT_SEGMENT_MAX; i++)
		full[i] = &g;
	fake_box.store->segments = full;
	fake_box.store->n_segments = SLOT_SEGMENT_MAX;
	ck_assert_ptr_null(store_segment_new(fake_box.store, 1000, FAKE_BOX_SEGMENT));
	fake_box.store->segments = segments;
	fake_box.store->n_segments = n;
	free(full);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_full");
	TCase *tc = tcase_create("store_full");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, fake_box_setup, fake_box_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, what_goes_ahead);
	tcase_add_loop_test(tc, errors_that_pass, 0, 6);
	tcase_add_test(tc, errors_that_stay);
	tcase_add_test(tc, fenced_twice);
	tcase_add_test(tc, openings_ahead_that_fail);
	tcase_add_test(tc, files_of_another_size);
	tcase_add_test(tc, files_without_blocks);
	tcase_add_test(tc, no_more_slots);
	tcase_add_test(tc, no_more_records_or_segments);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
