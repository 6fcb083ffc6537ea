/*
 * Journals that no store writes: sums are right, and what they cover is not.
 * A start sets aside what cannot be, tells it, and finds everything else.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fake_box.h"
#include "fake_disk.h"
#include "fake_loop.h"
#include "forge.h"
#include "hmap.h"

static struct forge one, two;

static const struct store_found *
find(uint32_t queue, uint64_t seq)
{
	for (size_t i = 0; i < fake_box.n; i++)
		if (fake_box.found[i].queue == queue && fake_box.found[i].seq == seq)
			return &fake_box.found[i];
	return NULL;
}

/* A batch of one message. */
static void
add_batch(struct forge *f, uint64_t number, uint64_t seq)
{
	forge_batch(f);
	forge_message(f, 1, seq, seq);
	forge_end(f, number);
}

/* Segment 1 with queue 1, as batch 1. */
static void
begin_one(void)
{
	forge_begin(&one, 1, 1, NULL);
	forge_batch(&one);
	forge_queue(&one, 1, false);
	forge_end(&one, 1);
}

/* Whatever was found, it works, and the next start finds the same. */
static void
goes_on(void)
{
	size_t n = fake_box.n;

	fake_box_put(1000, 100);
	fake_box_work();
	ck_assert_uint_eq(store_synced(fake_box.store), store_ticket(fake_box.store));
	fake_box_close();
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, n + 1);
}

START_TEST(names_of_files)
{
	static const char *const strange[] = { "x.journal", "1234567.journal", "1234567:.journal", "1234567 .journal", "00000001.journal.old",
		"000000001.journal", "4294967296.journal", "12345678901.journal", "00000000.journal" };
	char name[60];
	size_t len;

	begin_one();
	add_batch(&one, 2, 1);
	forge_done(&one, FORGE_SIZE);
	for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
		snprintf(name, sizeof(name), "journal/%s", strange[i]);
		fake_disk_put(name, one.data, 9000);
	}
	/* More than eight digits only if they are needed: this one is ours. */
	fake_disk_put("journal/123456789.journal", "not a header", 12);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 1);
	ck_assert_uint_eq(fake_box.n_damaged, 0);
	goes_on();
	for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
		snprintf(name, sizeof(name), "journal/%s", strange[i]);
		ck_assert_msg(fake_disk_data(name, &len) && len == 9000, "%s", name);
	}
	ck_assert_msg(!fake_disk_data("journal/123456789.journal", &len) || len > 12, "it was neither used nor removed");
}
END_TEST

START_TEST(a_size_cannot_be_read)
{
	begin_one();
	add_batch(&one, 2, 1);
	forge_done(&one, FORGE_SIZE);
	fake_disk.fail_size = 1;
	ck_assert_int_eq(fake_box_try_open(), -EIO);
	ck_assert_ptr_nonnull(strstr(fake_box.why, "00000001.journal cannot be read"));
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 1);
}
END_TEST

/* An error that passes is called by its name. */
START_TEST(no_memory_to_open_a_file)
{
	begin_one();
	forge_done(&one, FORGE_SIZE);
	fake_disk.fail_open = 1;
	fake_disk.error = -ENOMEM;
	ck_assert_int_eq(fake_box_try_open(), -ENOMEM);
	fake_disk.error = 0;
	fake_box_open();
}
END_TEST

/* It ends in another batch than the one it begins in: reading back starts there. */
START_TEST(a_snapshot_of_several_batches)
{
	begin_one();
	add_batch(&one, 2, 1);
	forge_batch(&one);
	forge_snapshot_begin(&one, 7);
	forge_dead(&one, &(struct store_dead){ .snapshot = 7, .segment = 1, .n = 1, .total = 1 });
	forge_end(&one, 3);
	add_batch(&one, 4, 2);
	forge_batch(&one);
	/* Even if the end bears another name: then it is none. */
	forge_snapshot_end(&one, _i == 2 ? 8 : 7, 1, 3, 3);
	forge_end(&one, 5);
	if (_i == 1) {
		/* And a later one, which has no end: what it says is dead is. */
		forge_batch(&one);
		forge_snapshot_begin(&one, 8);
		forge_dead(&one, &(struct store_dead){ .snapshot = 8, .segment = 1, .n = 2, .total = 2 });
		forge_end(&one, 6);
	}
	forge_done(&one, FORGE_SIZE);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 2);
	ck_assert_uint_eq(fake_box.n_damaged, 0);
	/* Definitions before it count no more: those that count are in the snapshot. */
	ck_assert_uint_eq(fake_box.n_queues, 1);
	goes_on();
}
END_TEST

START_TEST(the_highest_numbers)
{
	struct store_definition d = { .number = UINT32_MAX, .bytes = { "f", 1 } };

	begin_one();
	forge_batch(&one);
	forge_queue(&one, UINT32_MAX, false);
	forge_seal(&one, STORE_FLOW, store_define_flow_encode(forge_here(&one), &d));
	forge_message(&one, UINT32_MAX, UINT64_MAX, 1);
	forge_message(&one, 40, 1, 1);
	forge_end(&one, 2);
	forge_done(&one, FORGE_SIZE);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 2);
	ck_assert_ptr_nonnull(find(UINT32_MAX, UINT64_MAX));
	ck_assert_uint_eq(fake_box.n_queues, 3);
	ck_assert_uint_gt(store_new_queue(fake_box.store), 40);
	ck_assert_uint_gt(store_new_flow(fake_box.store), 1);
}
END_TEST

/* Batches with right sums that are not what follows. */
START_TEST(batches_that_are_too_old)
{
	forge_begin(&one, 1, 5, NULL);
	forge_batch(&one);
	forge_queue(&one, 1, false);
	forge_end(&one, 5);
	add_batch(&one, 3, 1);
	add_batch(&one, 6, 2);
	add_batch(&one, 5, 3);
	forge_done(&one, FORGE_SIZE);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 1);
	ck_assert_ptr_nonnull(find(1, 2));
	ck_assert_uint_eq(fake_box.n_damaged, 1);
	ck_assert_ptr_nonnull(strstr(fake_box.damage, "a batch that is too old"));
}
END_TEST

/* Headers that say where the journal before ends. */
START_TEST(the_journal_before)
{
	unsigned found = 2, told = 1;

	begin_one();
	add_batch(&one, 2, 1);
	forge_begin(&two, 2, 3, &one);
	add_batch(&two, 3, 2);
	add_batch(&two, 4, 3);
	if (_i == 0) {
		/* Behind itself: what is there is taken for what it is. */
		two.h.before.segment = 2;
	} else if (_i == 1) {
		/* Behind the end of its file: all of that is read. */
		two.h.before.block = 1000;
	} else if (_i == 2) {
		/* Whatever the last batch was. */
		two.h.before.batch = 0;
		told = 0;
	} else {
		/* Nothing of it is there. */
		memset(one.data + STORE_HEADER, 0, FORGE_SIZE - STORE_HEADER);
		found = 1;
	}
	forge_done(&one, FORGE_SIZE);
	forge_done(&two, FORGE_SIZE);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, found + 1);
	ck_assert_msg(told ? fake_box.n_damaged > 0 : fake_box.n_damaged == 0, "%u", fake_box.n_damaged);
	goes_on();
}
END_TEST

/* Of what is missing the next older one is sought; what came in between belongs to nobody. */
START_TEST(a_segment_between)
{
	static struct forge between;

	begin_one();
	add_batch(&one, 2, 1);
	forge_begin(&between, 3, 3, &one);
	add_batch(&between, 3, 2);
	forge_begin(&two, 4, 9, &between);
	two.h.before.segment = 2;
	add_batch(&two, 9, 3);
	forge_done(&one, FORGE_SIZE);
	forge_done(&between, FORGE_SIZE);
	forge_done(&two, FORGE_SIZE);
	fake_box_open();
	ck_assert_ptr_nonnull(find(1, 1));
	ck_assert_ptr_nonnull(find(1, 3));
	ck_assert_uint_ge(fake_box.n_damaged, 1);
	goes_on();
}
END_TEST

/* Headers that say where reading back starts. */
START_TEST(the_start_of_replay)
{
	bool tells = true;

	begin_one();
	add_batch(&one, 2, 1);
	if (_i == 0) {
		one.h.replay = (struct store_place){ 1, 1, 99 };
	} else if (_i == 1) {
		one.h.replay = (struct store_place){ 2, 1, 1 };
		forge_begin(&two, 2, 3, &one);
		forge_done(&two, FORGE_SIZE);
	} else if (_i == 2) {
		one.h.replay = (struct store_place){ 9, 1, 1 };
	} else {
		/* In a copy of the last batch that an earlier start made. */
		forge_begin(&one, 1, 7, NULL);
		forge_batch(&one);
		forge_queue(&one, 1, false);
		forge_message(&one, 1, 1, 1);
		forge_end(&one, 7);
		forge_begin(&two, 2, 7, NULL);
		forge_batch(&two);
		forge_queue(&two, 1, false);
		forge_message(&two, 1, 1, 1);
		forge_end(&two, 7);
		two.h.replay = (struct store_place){ 1, 1, 7 };
		forge_done(&two, FORGE_SIZE);
		tells = false;
	}
	forge_done(&one, FORGE_SIZE);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 1);
	ck_assert_uint_eq(fake_box.n_damaged, tells);
	ck_assert(!tells || strstr(fake_box.damage, "where reading back should start, is missing"));
	goes_on();
}
END_TEST

START_TEST(dones_in_any_order)
{
	begin_one();
	forge_batch(&one);
	for (uint64_t seq = 1; seq <= 5; seq++) {
		forge_message(&one, 1, seq, seq);
		forge_message(&one, 3, seq, seq);
	}
	forge_range(&one, 2, 1, 9);
	forge_range(&one, 1, 1, 4);
	forge_range(&one, 1, 2, 2);
	forge_range(&one, 3, 9, 20);
	forge_range(&one, 4, 1, 9);
	forge_end(&one, 2);
	forge_done(&one, FORGE_SIZE);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 6);
	ck_assert_ptr_nonnull(find(1, 5));
	ck_assert_uint_eq(fake_box.n_damaged, 0);
}
END_TEST

/* Bytes belong to one message. */
START_TEST(a_body_with_two_messages)
{
	begin_one();
	forge_batch(&one);
	forge_piece(&one, 7, 0, 100);
	forge_piece(&one, 7, 1, 50);
	forge_large(&one, 1, 1, 7, 150);
	forge_large(&one, 1, 2, 7, 150);
	forge_end(&one, 2);
	forge_done(&one, FORGE_SIZE);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 1);
	ck_assert_ptr_nonnull(find(1, 1));
	ck_assert_uint_eq(fake_box.n_damaged, 1);
	ck_assert_ptr_nonnull(strstr(fake_box.damage, "whose bytes are not all there"));
}
END_TEST

START_TEST(a_queue_that_was_removed_with_a_message)
{
	begin_one();
	add_batch(&one, 2, 1);
	forge_batch(&one);
	forge_queue(&one, 1, true);
	forge_end(&one, 3);
	forge_done(&one, FORGE_SIZE);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 0);
	ck_assert_uint_eq(fake_box.n_queues, 0);
	ck_assert_uint_eq(fake_box.n_damaged, 0);
}
END_TEST

START_TEST(of_two_the_later_one)
{
	begin_one();
	forge_batch(&one);
	forge_message(&one, 1, 1, 10);
	forge_message(&one, 1, 1, 20);
	forge_end(&one, 2);
	forge_done(&one, FORGE_SIZE);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 1);
	ck_assert_uint_eq(fake_box.found[0].counter, 20);
}
END_TEST

/* In a table of 16. */
static uint64_t
slot(uint32_t queue, uint64_t seq)
{
	return hmap_hash_number(seq ^ (uint64_t)queue << 40 ^ queue) & 15;
}

/*
 * What died on its way, as a later record has its new home, is still met by
 * those who look for that: they pass it by.
 */
START_TEST(moved_and_dead)
{
	uint64_t to = 1, a = 1, c;

	while (slot(1, a) != slot(2, to))
		a++;
	c = a + 1;
	begin_one();
	forge_batch(&one);
	forge_message(&one, 1, a, 1);
	forge_message(&one, 1, c, 3);
	forge_message(&one, 2, to, 2);
	forge_move(&one, 1, a, 2, to); /* the later record there stays: dead */
	forge_move(&one, 1, c, 2, to); /* the same */
	forge_move(&one, 2, to, 3, 1);
	forge_end(&one, 2);
	forge_done(&one, FORGE_SIZE);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 1);
	ck_assert_uint_eq(fake_box.found[0].queue, 3);
	ck_assert_uint_eq(fake_box.found[0].counter, 2);
}
END_TEST

static void
bad_record(enum store_kind kind, size_t len)
{
	memset(forge_here(&one) + STORE_RECORD_HEAD, 0xff, len - STORE_RECORD_HEAD);
	forge_seal(&one, kind, len);
}

START_TEST(records_that_say_nothing)
{
	static const enum store_kind kinds[] = { STORE_MESSAGE, STORE_DONE, STORE_MARK, STORE_QUEUE, STORE_FLOW, STORE_PIECE, STORE_MOVE,
		STORE_OFFERED, STORE_SNAPSHOT_BEGIN, STORE_SNAPSHOT_DEAD, STORE_SNAPSHOT_END, (enum store_kind)99 };
	const unsigned n = sizeof(kinds) / sizeof(kinds[0]);

	begin_one();
	forge_batch(&one);
	forge_message(&one, 1, 1, 1);
	for (unsigned i = 0; i < n; i++)
		bad_record(kinds[i], kinds[i] == STORE_MESSAGE ? STORE_MESSAGE_HEAD : STORE_RECORD_HEAD + 1);
	forge_message(&one, 1, 2, 2);
	forge_end(&one, 2);
	add_batch(&one, 3, 3);
	forge_done(&one, FORGE_SIZE);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 3);
	ck_assert_uint_eq(fake_box.n_damaged, n);
	ck_assert_ptr_nonnull(strstr(fake_box.damage, "a record at"));
	goes_on();
}
END_TEST

/* A file that ends where no batch would. */
START_TEST(a_short_file)
{
	begin_one();
	add_batch(&one, 2, 1);
	forge_done(&one, 3 * 4096 + 8);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 1);
	ck_assert_uint_eq(fake_box.n_damaged, 0);
	goes_on();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_forged");
	TCase *tc = tcase_create("store_forged");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, fake_box_setup_empty, fake_box_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, names_of_files);
	tcase_add_test(tc, a_size_cannot_be_read);
	tcase_add_test(tc, no_memory_to_open_a_file);
	tcase_add_loop_test(tc, a_snapshot_of_several_batches, 0, 3);
	tcase_add_test(tc, the_highest_numbers);
	tcase_add_test(tc, batches_that_are_too_old);
	tcase_add_test(tc, a_segment_between);
	tcase_add_loop_test(tc, the_journal_before, 0, 4);
	tcase_add_loop_test(tc, the_start_of_replay, 0, 4);
	tcase_add_test(tc, dones_in_any_order);
	tcase_add_test(tc, a_body_with_two_messages);
	tcase_add_test(tc, a_queue_that_was_removed_with_a_message);
	tcase_add_test(tc, of_two_the_later_one);
	tcase_add_test(tc, moved_and_dead);
	tcase_add_test(tc, records_that_say_nothing);
	tcase_add_test(tc, a_short_file);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
