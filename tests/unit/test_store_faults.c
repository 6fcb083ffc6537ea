#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_box.h"
#include "fake_disk.h"
#include "fake_loop.h"
#include "store_format.h"

START_TEST(no_space_for_recovery)
{
	fake_box_put_batches(1, 5, 100);
	fake_box_close();
	/* Nothing is free, and nothing can be made. */
	for (unsigned i = 2; i < 20; i++) {
		char name[40];

		snprintf(name, sizeof(name), "journal/%08u.journal", i);
		disk_remove(fake_disk.disk, name);
	}
	fake_disk.capacity = fake_disk_used();
	ck_assert_int_eq(fake_box_try_open(), -ENOSPC);
	fake_disk.capacity += FAKE_BOX_SEGMENT;
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 5);
}
END_TEST

START_TEST(a_full_disk_passes)
{
	fake_box_put_batches(1, 5, 100);
	fake_disk.capacity = 0;
	/* Blocks that are there can be written; the test's disk only refuses to grow. So take what is held back, too. */
	for (uint64_t seq = 6; seq < 200; seq++) {
		fake_box_put(seq, 3000);
		if (seq % 5 == 0)
			fake_box_work();
	}
	ck_assert_int_eq(fake_box.state, STORE_FULL);
	ck_assert_uint_eq(store_room(fake_box.store), 0);
	ck_assert_uint_lt(store_synced(fake_box.store), store_ticket(fake_box.store));
	fake_disk.capacity = UINT64_MAX;
	fake_loop_advance(fake_box.loop, 1100);
	for (int i = 0; i < 20; i++)
		fake_box_work();
	ck_assert_int_eq(fake_box.state, STORE_OPEN);
	ck_assert_uint_eq(store_synced(fake_box.store), store_ticket(fake_box.store));
}
END_TEST

START_TEST(fenced_for_good)
{
	store_ref ref;
	struct store_message m = { .queue = 1, .seq = 99 };
	uint64_t synced;

	fake_box_put_batches(1, 5, 100);
	synced = fake_box.synced;
	if (_i == 0)
		fake_disk.fail_sync = 1;
	else
		fake_disk.fail_write = 1;
	fake_box_put(6, 100);
	fake_box_work();
	ck_assert_int_eq(fake_box.state, STORE_FENCED);
	ck_assert_int_eq(store_put(fake_box.store, &m, &ref), -EIO);
	ck_assert_uint_eq(store_room(fake_box.store), 0);
	store_mark(fake_box.store, 1, 1000);
	store_hurry(fake_box.store);
	fake_box_work();
	ck_assert_uint_eq(fake_box.synced, synced);
	ck_assert_uint_gt(store_ticket(fake_box.store), store_synced(fake_box.store));
	fake_box_close();
	fake_box_open();
	ck_assert_uint_ge(fake_box.n, 5);
}
END_TEST

/* A file that got a new name may have its old one after a crash: nothing is written into it before that is synced. */
START_TEST(names_before_contents)
{
	for (int i = 0; i < 30; i++) {
		fake_box_put_batches(1 + (uint64_t)i * 10, 10, 3000);
		fake_box_close();
		fake_box_open();
		if (i % 3)
			fake_box_work();
		ck_assert_uint_eq(fake_box.n, 10 * ((unsigned)i + 1));
	}
	ck_assert_uint_gt(fake_disk.writes, 300);
	ck_assert_uint_eq(fake_disk.early_writes, 0);
}
END_TEST

/* What fails once may pass: the start is refused, and says why; the next one finds everything. */
START_TEST(unreadable_is_no_damage)
{
	unsigned *fault = _i == 0 ? &fake_disk.fail_read : &fake_disk.fail_open, refused = 0;
	uint64_t n = 0;

	/* Some segments before the start of replay, of which one has no index. */
	for (; n < 120; n += 20) {
		fake_box_put_batches(1 + n, 20, 3000);
		fake_box_work();
	}
	for (unsigned i = 1;; i++) {
		const char *name;
		uint8_t *first = fake_box_find_batch(2, &name);
		int r;

		if (first) {
			size_t len;

			first = fake_disk_data(name, &len);
			memset(first + len - 4096, 0, 4096);
		}
		fake_box_close();
		*fault = i;
		r = fake_box_try_open();
		if (*fault > 0) {
			ck_assert_int_eq(r, 0);
			break;
		}
		*fault = 0;
		if (r < 0) {
			ck_assert_int_eq(r, -EIO);
			ck_assert_msg(strstr(fake_box.why, "Input/output error") != NULL, "%s", fake_box.why);
			refused++;
			fake_box_open();
		}
		ck_assert_uint_eq(fake_box.n, n);
		ck_assert_uint_eq(fake_box.n_damaged, 0);
	}
	ck_assert_uint_gt(refused, 15);
	ck_assert_uint_eq(fake_box.n, n);
	ck_assert_uint_eq(fake_box.n_damaged, 0);
}
END_TEST

/* A file may have its length and not its blocks: then another is taken, at a start and later. */
START_TEST(free_files_without_blocks)
{
	fake_box_put_batches(1, 5, 100);
	fake_box_work();
	fake_box_close();
	fake_disk.no_blocks = 2;
	fake_box_open();
	ck_assert_uint_eq(fake_disk.no_blocks, 0);
	ck_assert_uint_eq(fake_box.n, 5);
	fake_disk.no_blocks = 2;
	for (uint64_t seq = 6; seq < 100; seq++) {
		fake_box_put(seq, 3000);
		for (int i = 0; i < 10 && fake_box.synced < store_ticket(fake_box.store); i++)
			fake_box_work();
		ck_assert_uint_eq(fake_box.synced, store_ticket(fake_box.store));
	}
	ck_assert_uint_eq(fake_disk.no_blocks, 0);
	ck_assert_int_eq(fake_box.state, STORE_OPEN);
}
END_TEST

/* Those held back get their blocks again one after the other, not one each time the timer fires. */
START_TEST(blocks_come_back_at_once)
{
	struct store_stats st;

	fake_box_put_batches(1, 5, 100);
	fake_box_work();
	fake_box_close();
	fake_disk.no_blocks = 5;
	fake_box_open();
	/* The next segment is made, and then there is no space for a while. */
	ck_assert(fake_task_run(fake_box.writer));
	fake_disk.no_blocks = 1;
	fake_loop_run(fake_box.loop);
	while (fake_task_run(fake_box.writer))
		fake_loop_run(fake_box.loop);
	ck_assert_uint_eq(fake_disk.no_blocks, 0);
	store_stats(fake_box.store, &st);
	ck_assert_int_eq(st.state, STORE_FULL);
	fake_loop_advance(fake_box.loop, 1000);
	for (int i = 0; i < 20; i++)
		while (fake_task_run(fake_box.writer))
			fake_loop_run(fake_box.loop);
	store_stats(fake_box.store, &st);
	ck_assert_int_eq(st.state, STORE_OPEN);
	ck_assert_uint_ge(store_room(fake_box.store), st.capacity / 2);
}
END_TEST

static unsigned n_read;
static int read_error;

static void
read_done(struct store_read *r, int error)
{
	n_read++;
	read_error = error;
	if (error == 0)
		free(r->memory);
}

/* A read that waits for a batch ends when no batch comes any more. */
START_TEST(reads_end_at_a_fence)
{
	struct store_read waiting = { .done = read_done }, late = { .done = read_done };
	store_ref old, ref;

	n_read = 0;
	old = fake_box_put(1, 100);
	fake_box_work();
	ref = fake_box_put(2, 100);
	fake_loop_pass(fake_box.loop);
	ck_assert_int_eq(store_read(fake_box.store, ref, &waiting), 0);
	fake_disk.fail_sync = 1;
	fake_box_work();
	ck_assert_int_eq(fake_box.state, STORE_FENCED);
	ck_assert_uint_eq(n_read, 1);
	ck_assert_int_eq(read_error, -ESHUTDOWN);
	ck_assert_int_eq(store_read(fake_box.store, ref, &late), -ESHUTDOWN);
	/* What is on disk can be read. */
	ck_assert_int_eq(store_read(fake_box.store, old, &late), 0);
	fake_box_work();
	ck_assert_uint_eq(n_read, 2);
	ck_assert_int_eq(read_error, 0);
}
END_TEST

/* One error is no damage. */
START_TEST(a_read_is_tried_twice)
{
	struct store_read r = { .done = read_done };
	store_ref ref = fake_box_put(1, 100);

	fake_box_work();
	n_read = 0;
	fake_disk.fail_open = 1;
	fake_disk.fail_read = 1;
	ck_assert_int_eq(store_read(fake_box.store, ref, &r), 0);
	fake_box_work();
	ck_assert_uint_eq(fake_disk.fail_open + fake_disk.fail_read, 0);
	ck_assert_uint_eq(n_read, 1);
	ck_assert_int_eq(read_error, 0);
	ck_assert_uint_eq(fake_box.n_damaged, 0);
}
END_TEST

/* Messages wait when only what is held back is left; what makes space does not. */
START_TEST(held_back)
{
	static store_ref refs[FAKE_BOX_MAX];
	uint64_t n = 0;
	struct store_stats st;

	fake_box_teardown();
	memset(&fake_box, 0, sizeof(fake_box));
	fake_disk_new(2);
	fake_box.loop = loop_new();
	fake_box.segment = FAKE_BOX_SEGMENT;
	fake_disk.capacity = 12 * FAKE_BOX_SEGMENT;
	fake_box_open();
	store_define_queue(fake_box.store, store_new_queue(fake_box.store), (struct store_bytes){ "q", 1 });
	fake_box_work();
	for (; n < 600; n++) {
		refs[n] = fake_box_put(n + 1, 2000);
		if (n % 10 == 0)
			fake_box_work();
	}
	fake_box_work();
	store_stats(fake_box.store, &st);
	ck_assert_uint_lt(store_synced(fake_box.store), store_ticket(fake_box.store));
	/* One may be in use by then, for a snapshot. */
	ck_assert_uint_ge(st.free_segments + 1, STORE_HELD_BACK - 1);
	/* The first half is done: that is written ahead of what waits, and makes room for it. */
	for (uint64_t i = 0; i < 300; i++)
		store_done(fake_box.store, refs[i], 1, i + 1);
	for (int i = 0; i < 100 && store_synced(fake_box.store) < store_ticket(fake_box.store); i++)
		fake_box_work();
	ck_assert_uint_gt(store_synced(fake_box.store), 300);
	for (uint64_t i = 300; i < n; i++)
		store_done(fake_box.store, refs[i], 1, i + 1);
	for (int i = 0; i < 100 && store_synced(fake_box.store) < store_ticket(fake_box.store); i++)
		fake_box_work();
	ck_assert_uint_eq(store_synced(fake_box.store), store_ticket(fake_box.store));
	store_stats(fake_box.store, &st);
	ck_assert_uint_eq(st.messages, 0);
	ck_assert_uint_eq(st.live_bytes, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_faults");
	TCase *tc = tcase_create("store_faults");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, fake_box_setup, fake_box_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, no_space_for_recovery);
	tcase_add_test(tc, a_full_disk_passes);
	tcase_add_loop_test(tc, fenced_for_good, 0, 2);
	tcase_add_test(tc, held_back);
	tcase_add_test(tc, names_before_contents);
	tcase_add_loop_test(tc, unreadable_is_no_damage, 0, 2);
	tcase_add_test(tc, free_files_without_blocks);
	tcase_add_test(tc, blocks_come_back_at_once);
	tcase_add_test(tc, reads_end_at_a_fence);
	tcase_add_test(tc, a_read_is_tried_twice);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
