#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "fake_box.h"
#include "fake_disk.h"
#include "fake_loop.h"
#include "store_format.h"

START_TEST(last_batch_is_rewritten)
{
	const char *first, *second;
	uint8_t *old, *new;

	fake_box_put_batches(1, 5, 100);
	fake_box_close();
	old = fake_box_find_batch(6, &first);
	ck_assert_ptr_nonnull(old);
	old[0] ^= 1; /* it reads well, and is gone later */
	ck_assert_ptr_null(fake_box_find_batch(6, &first));
	old[0] ^= 1;
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 5);
	old[0] ^= 1;
	new = fake_box_find_batch(6, &second);
	ck_assert_ptr_nonnull(new);
	ck_assert_uint_eq(new[20], 1);
	fake_box_close();
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 5);
	ck_assert_uint_eq(fake_box.n_damaged, 0);
}
END_TEST

/* Each start takes a fresh segment and lets go of the one before. */
START_TEST(crash_loop_keeps_the_disk)
{
	uint64_t files;

	fake_box_put_batches(1, 5, 100);
	fake_box_close();
	fake_box_open();
	fake_box_work();
	files = fake_box_count_files();
	for (int i = 0; i < 40; i++) {
		fake_box_close();
		fake_box_open();
		fake_box_work();
		ck_assert_uint_eq(fake_box.n, 5);
	}
	ck_assert_uint_le(fake_box_count_files(), files + 1);
}
END_TEST

static uint32_t
newest_start(void)
{
	struct store_stats st;

	store_stats(fake_box.store, &st);
	return st.newest_start;
}

static void
is_refused(const char *text)
{
	ck_assert_int_eq(fake_box_try_open(), -EINVAL);
	ck_assert_msg(strstr(fake_box.why, text) != NULL, "%s", fake_box.why);
	ck_assert_ptr_nonnull(strstr(fake_box.why, "; restore all of the folder, or remove all of it, then connectctl peer adopt NAME at the peers"));
}

/* It was restored alone. Being asked again does not help, and nothing has changed. */
START_TEST(journal_of_an_earlier_start)
{
	fake_box_put_batches(1, 5, 100);
	ck_assert_uint_eq(newest_start(), 1);
	fake_box_close();
	fake_box.least_start = 1;
	fake_box_open();
	ck_assert_uint_eq(newest_start(), 2);
	fake_box_close();
	fake_box.least_start = 3;
	is_refused("the journal is of start 2, the state folder of start 3: it was restored alone, or lost");
	is_refused("the journal is of start 2, the state folder of start 3");
	fake_box.least_start = 2;
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 5);
	ck_assert_uint_eq(fake_box.n_damaged, 0);
	ck_assert_uint_eq(newest_start(), fake_box.starts);
}
END_TEST

START_TEST(missing_journal)
{
	fake_box_close();
	fake_disk_free();
	fake_disk_new(1);
	fake_box.least_start = UINT32_MAX;
	is_refused("the journal is missing, and start 4294967295 had one: it was lost");
	/* It never had one: that is the first start, or one after a start that wrote nothing. */
	fake_box.least_start = 0;
	fake_box_open();
	ck_assert_uint_eq(newest_start(), 0);
	fake_box_work();
	ck_assert_uint_eq(newest_start(), 0);
	store_define_queue(fake_box.store, store_new_queue(fake_box.store), (struct store_bytes){ "q", 1 });
	fake_box_work();
	ck_assert_uint_eq(newest_start(), fake_box.starts);
}
END_TEST

START_TEST(torn_tail_is_no_damage)
{
	const char *name;
	uint8_t *p;

	fake_box_put_batches(1, 5, 100);
	fake_box_put_batches(6, 1, 9000);
	fake_box_close();
	p = fake_box_find_batch(7, &name);
	ck_assert_ptr_nonnull(p);
	p[5000] ^= 1;
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 5);
	ck_assert_uint_eq(fake_box.n_damaged, 0);
}
END_TEST

START_TEST(a_lost_batch_is_damage)
{
	const char *name;
	uint8_t *p;

	fake_box_put_batches(1, 5, 100);
	fake_box_close();
	p = fake_box_find_batch(3, &name);
	ck_assert_ptr_nonnull(p);
	memset(p, 0, 4096);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 4);
	ck_assert_uint_ge(fake_box.n_damaged, 1);
}
END_TEST

/* One record of a batch that is damaged does not take the others with it. */
START_TEST(a_bad_record_is_set_aside)
{
	const char *name;
	uint8_t *p;

	for (int i = 1; i <= 10; i++)
		fake_box_put((uint64_t)i, 1000);
	fake_box_work();
	fake_box_put_batches(11, 1, 100);
	fake_box_close();
	p = fake_box_find_batch(2, &name);
	ck_assert_ptr_nonnull(p);
	p[3000] ^= 1;
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 10);
	ck_assert_uint_eq(fake_box.n_damaged, 1);
}
END_TEST

/* By the index or by reading everything: the same. */
START_TEST(index_or_scan)
{
	static struct store_found with[FAKE_BOX_MAX];
	size_t n;

	for (uint64_t seq = 1; seq <= 900; seq++) {
		store_ref ref = fake_box_put(seq, 500);

		if (seq % 3)
			store_done(fake_box.store, ref, 1, seq);
		if (seq % 20 == 0)
			fake_box_work();
	}
	fake_box_work();
	fake_box_put_batches(901, 300, 300);
	fake_box_work();
	fake_box_close();
	fake_box_open();
	n = fake_box.n;
	ck_assert_uint_eq(n, 600);
	memcpy(with, fake_box.found, sizeof(with));
	fake_box_close();
	for (unsigned i = 1; i < 100; i++) {
		char name[40];
		size_t len;
		uint8_t *p;

		snprintf(name, sizeof(name), "journal/%08u.journal", i);
		p = fake_disk_data(name, &len);
		if (p && len >= 4096)
			memset(p + len - 4096, 0, 4096);
	}
	fake_box_open();
	ck_assert_uint_eq(fake_box.n_damaged, 0);
	ck_assert_uint_eq(fake_box.n, n);
	for (size_t i = 0; i < n; i++) {
		ck_assert_uint_eq(fake_box.found[i].seq, with[i].seq);
		ck_assert_uint_eq(fake_box.found[i].number, with[i].number);
		ck_assert_uint_eq(fake_box.found[i].bytes, with[i].bytes);
	}
}
END_TEST

/*
 * The last batch lies in front of much that is empty, and is read again when
 * all of that was looked at. Whatever of these reads fails, or gives less than
 * it should: the start is refused, or what was found is right.
 */
START_TEST(a_last_batch_that_is_large)
{
	unsigned *fault = _i == 0 ? &fake_disk.fail_read : &fake_disk.short_read, refused = 0;
	static char data[3 << 20];
	struct store_message m = { .queue = 1, .seq = 1, .parts = { [4] = { data, sizeof(data) } } };
	store_ref ref;

	for (unsigned i = 1;; i++) {
		int r;

		fake_box_teardown();
		fake_box_setup_empty();
		fake_box.segment = 10 << 20;
		fake_box_open();
		store_define_queue(fake_box.store, store_new_queue(fake_box.store), (struct store_bytes){ "q", 1 });
		fake_box_work();
		ck_assert_int_eq(store_put(fake_box.store, &m, &ref), 0);
		fake_box_work();
		ck_assert_uint_eq(store_synced(fake_box.store), store_ticket(fake_box.store));
		fake_box_close();
		*fault = i;
		fake_disk.again = _i == 2;
		r = fake_box_try_open();
		fake_disk.again = 0;
		if (*fault > 1 || (*fault == 1 && _i < 2)) {
			ck_assert_int_eq(r, 0);
			break;
		}
		*fault = 0;
		ck_assert(r == 0 || r == -EIO);
		/* What reads as if its file had ended is not there. */
		ck_assert(r == -EIO || _i > 0);
		if (r == 0)
			continue;
		refused++;
		fake_box_open();
		ck_assert_uint_eq(fake_box.n, 1);
	}
	ck_assert_uint_eq(fake_box.n, 1);
	ck_assert_uint_gt(refused, _i == 0 ? 5 : 0);
}
END_TEST

START_TEST(another_version_is_refused)
{
	struct store_header h;
	const char *name;
	uint8_t *p, before[4096];
	uint64_t sum; /* tests run on little-endian machines */
	size_t len;

	fake_box_put_batches(1, 2, 100);
	fake_box_close();
	ck_assert_ptr_nonnull(fake_box_find_batch(1, &name));
	p = fake_disk_data(name, &len);
	ck_assert_int_eq(store_header_decode(p, len, &h), 0);
	memcpy(before, p, sizeof(before));
	p[8] = 2;
	sum = XXH3_64bits_withSeed(p, 104, 0);
	memcpy(p + 104, &sum, 8);
	ck_assert_int_eq(fake_box_try_open(), -EINVAL);
	ck_assert(strstr(fake_box.why, "version"));
	memcpy(p, before, sizeof(before));
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 2);
}
END_TEST

START_TEST(network_file_systems_are_refused)
{
	fake_box_close();
	fake_disk.is_remote = true;
	ck_assert_int_eq(fake_box_try_open(), -EINVAL);
	ck_assert(strstr(fake_box.why, "network"));
}
END_TEST

START_TEST(another_size_is_accepted)
{
	fake_box_put_batches(1, 100, 500);
	fake_box_close();
	fake_box.segment = 2 * FAKE_BOX_SEGMENT;
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 100);
	fake_box_put_batches(101, 100, 500);
	fake_box_close();
	fake_box.segment = FAKE_BOX_SEGMENT;
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 200);
	fake_box_put_batches(201, 100, 500);
	fake_box_close();
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 300);
	ck_assert_uint_eq(fake_box.n_damaged, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_recover");
	TCase *tc = tcase_create("store_recover");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, fake_box_setup, fake_box_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, last_batch_is_rewritten);
	tcase_add_test(tc, crash_loop_keeps_the_disk);
	tcase_add_test(tc, journal_of_an_earlier_start);
	tcase_add_test(tc, missing_journal);
	tcase_add_test(tc, torn_tail_is_no_damage);
	tcase_add_test(tc, a_lost_batch_is_damage);
	tcase_add_test(tc, a_bad_record_is_set_aside);
	tcase_add_test(tc, index_or_scan);
	tcase_add_loop_test(tc, a_last_batch_that_is_large, 0, 3);
	tcase_add_test(tc, another_version_is_refused);
	tcase_add_test(tc, network_file_systems_are_refused);
	tcase_add_test(tc, another_size_is_accepted);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
