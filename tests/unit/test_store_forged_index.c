/*
 * Segments before the start of replay, of which a snapshot tells and which have
 * an index: what becomes of messages if one of these claims what is not so.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake_box.h"
#include "fake_disk.h"
#include "fake_loop.h"
#include "forge.h"

#define OLD 9 /* messages in the segment before; the first of them is dead */

static struct forge one, two;
static struct store_entry entries[OLD + 1];
static uint32_t total; /* that count, says the snapshot */

static struct store_dead
dead(uint32_t segment, uint32_t first, uint32_t n, const char *bits)
{
	return (struct store_dead){ .snapshot = 7, .segment = segment, .first = first, .n = n, .total = total, .bits = { bits, strlen(bits) } };
}

/* Of what lies in the first batch of segment 1. */
static size_t
read_entries(void)
{
	struct store_batch b;
	struct store_record r;
	uint32_t at = 0;
	size_t n = 0, need;

	ck_assert_int_eq(store_batch_decode(one.data + STORE_HEADER, FORGE_SIZE - STORE_HEADER, one.h.seed, STORE_HEADER, &b, &need), 0);
	while (store_batch_next(one.data + STORE_HEADER, &b, STORE_HEADER, &at, &r))
		if (store_message_decode(&r, &entries[n], NULL) == 0 || store_piece_decode(&r, &entries[n]) == 0)
			n++;
	return n;
}

/* Segment 1 as it was sealed, but for its index. */
static void
begin(void)
{
	total = OLD;
	forge_begin(&one, 1, 1, NULL);
	forge_batch(&one);
	forge_queue(&one, 1, false);
	for (uint64_t seq = 1; seq <= OLD; seq++)
		forge_message(&one, 1, seq, seq);
	forge_end(&one, 1);
	ck_assert_uint_eq(read_entries(), OLD);
}

/* And the segment behind it, in which the snapshot is; another one was begun. */
static void
begin_two(void)
{
	struct store_dead d[] = { dead(1, 0, 8, "\x01"), dead(1, 8, 1, "") };

	if (total < OLD)
		d[0].n = total;
	forge_begin(&two, 2, 2, &one);
	forge_batch(&two);
	forge_snapshot_begin(&two, 7);
	forge_queue(&two, 1, false);
	forge_dead(&two, &d[0]);
	if (total == OLD)
		forge_dead(&two, &d[1]);
	forge_snapshot_end(&two, 7, 2, 1, 2);
	forge_end(&two, 2);
	forge_batch(&two);
	forge_snapshot_begin(&two, 8);
	forge_message(&two, 1, 20, 20);
	forge_end(&two, 3);
}

static void
both(void)
{
	forge_done(&one, FORGE_SIZE);
	forge_done(&two, FORGE_SIZE);
}

static bool
is_there(uint64_t seq)
{
	for (size_t i = 0; i < fake_box.n; i++)
		if (fake_box.found[i].seq == seq)
			return true;
	return false;
}

START_TEST(by_its_index)
{
	begin();
	forge_index(&one, entries, OLD);
	begin_two();
	both();
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, OLD);
	ck_assert(!is_there(1));
	ck_assert_uint_eq(fake_box.n_damaged, 0);
}
END_TEST

/* What it claims is beyond the file, or is none: it is told. */
START_TEST(entries_that_cannot_be)
{
	begin();
	if (_i == 0)
		entries[5].offset = 8;
	else if (_i == 1)
		entries[5].offset = FORGE_SIZE + 8;
	else if (_i == 2)
		entries[5].len = FORGE_SIZE;
	else
		entries[5].kind = STORE_MARK;
	forge_index(&one, entries, OLD);
	begin_two();
	both();
	fake_box_open();
	/* Those before it are believed, and what comes later is. */
	ck_assert(is_there(5) && is_there(20) && !is_there(1));
	ck_assert_uint_ge(fake_box.n_damaged, 1);
	fake_box_put(1000, 100);
	fake_box_work();
	ck_assert_uint_eq(store_synced(fake_box.store), store_ticket(fake_box.store));
}
END_TEST

/* A place that cannot be is none: the segment is scanned. */
START_TEST(an_index_that_is_elsewhere)
{
	struct store_footer f = { .index_block = 2, .index_len = 4096, .end_block = 2 };

	if (_i == 0)
		f.index_block = 17;
	else if (_i == 1)
		f.index_len = FORGE_SIZE;
	else if (_i == 2)
		f.index_len = STORE_INDEX_HEAD;
	begin();
	forge_footer(&one, &f);
	begin_two();
	both();
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, OLD);
	ck_assert(!is_there(1));
	ck_assert_uint_eq(fake_box.n_damaged, 0);
}
END_TEST

/* The file ends before its footer. */
START_TEST(a_segment_cut_short)
{
	begin();
	begin_two();
	forge_done(&one, 8192);
	forge_done(&two, FORGE_SIZE);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, OLD);
	ck_assert_uint_eq(fake_box.n_damaged, 0);
}
END_TEST

/* Behind those that count there may be others: of a batch that was cut off. */
START_TEST(records_that_do_not_count)
{
	begin();
	if (_i == 1)
		forge_index(&one, entries, OLD);
	total = 4;
	begin_two();
	both();
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 4);
	ck_assert(is_there(2) && is_there(4) && is_there(20) && !is_there(5));
	ck_assert_uint_eq(fake_box.n_damaged, 0);
}
END_TEST

/* It is told once, however many records tell of it. */
START_TEST(a_segment_that_is_missing)
{
	begin();
	begin_two();
	forge_done(&two, FORGE_SIZE);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 1);
	ck_assert_ptr_nonnull(strstr(fake_box.damage, "segment 1 is missing"));
	ck_assert_uint_eq(fake_box.n_damaged, 1);
}
END_TEST

/* Whatever call gives less than it should: what is found is right, and what is missing was told, or comes last. */
START_TEST(short_reads)
{
	for (unsigned i = 1;; i++) {
		int r;

		begin();
		forge_index(&one, entries, OLD);
		begin_two();
		both();
		fake_disk.short_read = i;
		r = fake_box_try_open();
		ck_assert(r == 0 || r == -EIO);
		ck_assert(r < 0 || (is_there(2) && is_there(9)) || fake_box.n_damaged > 0);
		ck_assert(r < 0 || !is_there(1));
		if (r == 0)
			fake_box_close();
		if (fake_disk.short_read > 0)
			break;
		fake_disk_free();
		fake_disk_new(1);
	}
	ck_assert_uint_eq(fake_box.n, OLD);
}
END_TEST

/* ---------------------------------------------------------------- reading -- */

static int read_error;
static unsigned n_read;

static void
read_done(struct store_read *r, int error)
{
	read_error = error;
	n_read++;
	if (error == 0)
		free(r->memory);
}

static int
read_one(uint64_t seq, bool is_start)
{
	struct store_read r = { .done = read_done };
	size_t i = 0;

	while (fake_box.found[i].seq != seq)
		ck_assert_uint_lt(++i, fake_box.n);
	n_read = 0;
	ck_assert_int_eq((is_start ? store_read_start : store_read)(fake_box.store, fake_box.found[i].ref, &r), 0);
	fake_box_work();
	ck_assert_uint_eq(n_read, 1);
	return read_error;
}

/* Told once, as often as it is tried. */
static void
is_damaged(uint64_t seq, bool is_start)
{
	ck_assert_int_eq(read_one(seq, is_start), -EIO);
	ck_assert_uint_eq(fake_box.n_damaged, 1);
	ck_assert_ptr_nonnull(strstr(fake_box.damage, "cannot be read"));
	ck_assert_int_eq(read_one(seq, is_start), -EIO);
	ck_assert_uint_eq(fake_box.n_damaged, 1);
}

/* The index says message where the sum is right, and something else is. */
START_TEST(a_message_that_is_none)
{
	static const char text[100];
	struct store_definition d = { .number = 1, .bytes = { text, sizeof(text) } };

	begin();
	forge_batch(&one);
	if (_i % 2 == 0) {
		entries[OLD].len = (uint32_t)store_define_queue_encode(forge_here(&one), &d);
		entries[OLD].offset = one.batch + one.at;
		forge_seal(&one, STORE_QUEUE, entries[OLD].len);
	} else {
		/* Its parts are longer than it. */
		memset(forge_here(&one) + STORE_RECORD_HEAD, 0xff, STORE_MESSAGE_HEAD);
		entries[OLD].len = STORE_MESSAGE_HEAD;
		entries[OLD].offset = one.batch + one.at;
		forge_seal(&one, STORE_MESSAGE, STORE_MESSAGE_HEAD);
	}
	forge_end(&one, 2);
	entries[OLD].kind = STORE_MESSAGE;
	entries[OLD].queue = 1;
	entries[OLD].seq = 15;
	forge_index(&one, entries, OLD + 1);
	total = OLD + 1;
	forge_begin(&two, 2, 3, &one);
	forge_batch(&two);
	forge_snapshot_begin(&two, 7);
	forge_queue(&two, 1, false);
	forge_dead(&two, &(struct store_dead){ .snapshot = 7, .segment = 1, .n = total, .total = total });
	forge_snapshot_end(&two, 7, 2, 1, 3);
	forge_end(&two, 3);
	both();
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, OLD + 1);
	ck_assert_uint_eq(fake_box.n_damaged, 0);
	/* Found by who reads it, or by who copies it. */
	if (_i >= 2) {
		fake_box_work();
		ck_assert_uint_eq(fake_box.n_damaged, 1);
	}
	is_damaged(15, false);
	ck_assert_int_eq(read_one(2, false), 0);
}
END_TEST

/* The index says how long a body is, its record says something else. */
START_TEST(a_body_of_another_length)
{
	forge_begin(&one, 1, 1, NULL);
	forge_batch(&one);
	forge_queue(&one, 1, false);
	forge_piece(&one, 7, 0, 200);
	forge_piece(&one, 7, 1, 200);
	forge_large(&one, 1, 5, 7, _i < 2 ? 100 : 400);
	forge_end(&one, 1);
	ck_assert_uint_eq(read_entries(), 3);
	entries[2].last_len = 400;
	forge_index(&one, entries, 3);
	forge_begin(&two, 2, 2, &one);
	forge_batch(&two);
	forge_snapshot_begin(&two, 7);
	forge_queue(&two, 1, false);
	forge_dead(&two, &(struct store_dead){ .snapshot = 7, .segment = 1, .n = 3, .total = 3 });
	forge_snapshot_end(&two, 7, 2, 1, 2);
	forge_end(&two, 2);
	both();
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 1);
	if (_i == 2) {
		ck_assert_int_eq(read_one(5, true), 0);
		ck_assert_int_eq(read_one(5, false), 0);
	} else {
		is_damaged(5, _i == 1);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_forged_index");
	TCase *tc = tcase_create("store_forged_index");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, fake_box_setup_empty, fake_box_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, by_its_index);
	tcase_add_loop_test(tc, entries_that_cannot_be, 0, 4);
	tcase_add_loop_test(tc, an_index_that_is_elsewhere, 0, 4);
	tcase_add_test(tc, a_segment_cut_short);
	tcase_add_loop_test(tc, records_that_do_not_count, 0, 2);
	tcase_add_test(tc, a_segment_that_is_missing);
	tcase_add_test(tc, short_reads);
	tcase_add_loop_test(tc, a_message_that_is_none, 0, 4);
	tcase_add_loop_test(tc, a_body_of_another_length, 0, 3);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
