/*
 * Backups when calls fail, at either end: that is told, the journal goes on,
 * and what was copied well is a journal.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake_box.h"
#include "fake_disk.h"
#include "fake_loop.h"

static unsigned told;
static uint64_t bytes;

static bool
on(void *arg, uint64_t n)
{
	(void)arg;
	told++;
	bytes += n;
	return true;
}

/* More than is written without a sync on the way. */
static void
setup(void)
{
	fake_box_setup_empty();
	fake_box.segment = 5 << 20;
	fake_box.max_disk = 12 * fake_box.segment;
	fake_box_open();
	store_define_queue(fake_box.store, store_new_queue(fake_box.store), (struct store_bytes){ "q", 1 });
	for (uint64_t seq = 1; seq <= 300; seq++) {
		fake_box_put(seq, 20000);
		if (seq % 50 == 0)
			fake_box_work();
	}
	fake_box_work();
	ck_assert_uint_eq(store_synced(fake_box.store), store_ticket(fake_box.store));
}

static int
copy(struct disk *to)
{
	struct store_backup *b;
	int r;

	ck_assert_int_eq(store_backup_begin(fake_box.store, &b), 0);
	told = 0;
	bytes = 0;
	r = store_backup_copy(b, to, on, NULL);
	ck_assert(r < 0 || bytes == store_backup_bytes(b));
	store_backup_end(fake_box.store, b);
	return r;
}

START_TEST(calls_that_fail)
{
	unsigned *const faults[] = { &fake_disk.fail_read, &fake_disk.fail_write, &fake_disk.fail_open, &fake_disk.fail_sync, &fake_disk.short_read };
	struct disk *to = fake_disk_other(), *from = fake_disk.disk;
	unsigned failed = 0;

	fake_disk.no_blocks = 1;
	ck_assert_int_eq(copy(to), -ENOSPC);
	for (unsigned n = 1;; n++) {
		int r;

		*faults[_i] = n;
		r = copy(to);
		if (*faults[_i] > 0) {
			*faults[_i] = 0;
			ck_assert_int_eq(r, 0);
			break;
		}
		ck_assert_int_eq(r, -EIO);
		failed++;
	}
	/* Two files, one of them with a sync on the way. */
	ck_assert_uint_gt(failed, 2);
	ck_assert_int_eq(fake_box.state, STORE_OPEN);
	fake_box_put(1000, 10);
	fake_box_work();
	ck_assert_uint_eq(store_synced(fake_box.store), store_ticket(fake_box.store));
	fake_box_close();
	fake_disk.disk = to;
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 300);
	ck_assert_uint_eq(fake_box.n_damaged, 0);
	fake_box_close();
	fake_disk.disk = from;
	fake_disk_other_free(to);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 301);
}
END_TEST

START_TEST(none_that_was_begun)
{
	store_backup_end(fake_box.store, NULL);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_backup_faults");
	TCase *tc = tcase_create("store_backup_faults");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, fake_box_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, calls_that_fail, 0, 5);
	tcase_add_test(tc, none_that_was_begun);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
