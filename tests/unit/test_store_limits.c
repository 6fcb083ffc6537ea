/*
 * What the store refuses, and where its limits are: sizes, groups, large parts.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake_box.h"
#include "fake_disk.h"
#include "fake_loop.h"
#include "store_format.h"

static uint8_t data[1 << 18];

static struct store_message
large(uint64_t seq, struct store_body *b)
{
	struct store_message m = { .queue = 1, .seq = seq, .body = b };

	return m;
}

START_TEST(sizes_that_do_not_fit)
{
	static const struct {
		uint64_t segment, max_disk;
	} bad[] = { { STORE_SEGMENT_MIN - 4096, 1 << 30 }, { STORE_SEGMENT_MIN + 8, 1 << 30 }, { (1ull << 33) + 4096, 1ull << 50 },
		{ STORE_SEGMENT_MIN, (STORE_HELD_BACK + 4) * STORE_SEGMENT_MIN - 1 }, { STORE_SEGMENT_MIN, (1ull << 24) * STORE_SEGMENT_MIN } };

	fake_box_close();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fake_box.segment = bad[i].segment;
		fake_box.max_disk = bad[i].max_disk;
		ck_assert_int_eq(fake_box_try_open(), -EINVAL);
		ck_assert_ptr_nonnull(strstr(fake_box.why, "do not fit"));
	}
	fake_box.segment = STORE_SEGMENT_MIN;
	fake_box.max_disk = (STORE_HELD_BACK + 4) * STORE_SEGMENT_MIN;
	fake_box_open();
}
END_TEST

/* Who opens may want to know nothing. */
START_TEST(nobody_is_told)
{
	struct store_stats st;
	const char *name;
	uint8_t *p;

	fake_box_put_batches(1, 5, 100);
	fake_box_close();
	ck_assert_uint_gt(fake_box.synced, 0);
	p = fake_box_find_batch(3, &name);
	ck_assert_ptr_nonnull(p);
	memset(p, 0, 4096);
	fake_box.is_mute = true;
	fake_box_open();
	store_stats(fake_box.store, &st);
	ck_assert_uint_eq(st.recovered_messages, 4);
	ck_assert_uint_ge(st.damaged, 1);
	store_want_room(fake_box.store, 1);
	store_offered(fake_box.store, 1, 3);
	fake_box_put(10, 100);
	fake_box_work();
	ck_assert(fake_box_is_synced());
	fake_disk.fail_sync = 1;
	fake_box_put(11, 100);
	fake_box_work();
	store_stats(fake_box.store, &st);
	ck_assert_int_eq(st.state, STORE_FENCED);
	ck_assert_uint_eq(fake_box.n + fake_box.synced + fake_box.progress + fake_box.n_damaged + fake_box.n_room, 0);
	ck_assert_int_eq(fake_box.state, STORE_OPEN);
}
END_TEST

START_TEST(progress_is_told)
{
	fake_box_put_batches(1, 40, 3000);
	fake_box_reopen();
	ck_assert_uint_gt(fake_box.progress_total, FAKE_BOX_SEGMENT);
	ck_assert_uint_ge(fake_box.progress, fake_box.progress_total);
}
END_TEST

START_TEST(offers_are_told)
{
	store_offered(fake_box.store, 1, 77);
	store_offered(fake_box.store, 99, 5); /* of a queue that is none */
	fake_box_work();
	ck_assert_uint_eq(fake_box.offered_queue, 99);
	ck_assert_uint_eq(fake_box.offered, 5);
	fake_box_reopen();
	ck_assert_uint_eq(fake_box.n_queues, 1);
}
END_TEST

/* What cannot be refused makes a group too large to be whole: then it is written in parts. */
START_TEST(a_group_too_large)
{
	store_group_begin(fake_box.store);
	for (uint32_t i = 1; i <= 2000; i++)
		store_mark(fake_box.store, i, i);
	store_group_end(fake_box.store);
	ck_assert_uint_gt(2000 * 32, store_group_max(fake_box.store));
	fake_box_work();
	ck_assert(fake_box_is_synced());
}
END_TEST

/* Nothing of it is written before it ends, however long that takes; nor does the rest stop. */
START_TEST(a_group_that_stays_open)
{
	static store_ref refs[400];
	struct store_stats before, after;
	uint64_t synced;

	for (uint64_t i = 0; i < 400; i++) {
		refs[i] = fake_box_put(i + 1, 2000);
		if (i % 8 == 0)
			fake_box_work();
	}
	fake_box_work();
	for (uint64_t i = 0; i < 400; i++)
		if (i % 4)
			store_done(fake_box.store, refs[i], 1, i + 1);
	while (!fake_box_is_synced()) {
		fake_task_run(fake_box.writer);
		fake_loop_advance(fake_box.loop, 5);
	}
	store_stats(fake_box.store, &before);
	synced = store_synced(fake_box.store);
	store_group_begin(fake_box.store);
	fake_box_put(1000, 100);
	fake_box_put(1001, 100);
	for (int i = 0; i < 10; i++)
		fake_box_work();
	ck_assert_uint_eq(store_synced(fake_box.store), synced);
	store_stats(fake_box.store, &after);
	ck_assert_uint_gt(after.copied_bytes, before.copied_bytes + store_group_max(fake_box.store));
	store_group_end(fake_box.store);
	fake_box_put(1002, 100);
	for (int i = 0; i < 10; i++)
		fake_box_work();
	ck_assert(fake_box_is_synced());
	fake_box_reopen();
	ck_assert_uint_eq(fake_box.n, 103);
	ck_assert_uint_eq(fake_box.n_damaged, 0);
}
END_TEST

START_TEST(a_large_part_in_a_group)
{
	struct store_body *b = store_body_new(fake_box.store);
	size_t piece = store_piece_max(fake_box.store);
	struct store_message m;
	store_ref ref;

	/* What is left of it belongs to the record, and together they must fit a batch. */
	ck_assert_int_eq(store_body_append(b, data, piece - 1), 0);
	m = large(1, b);
	for (int i = 0; i < 3; i++)
		m.parts[i] = (struct store_bytes){ data, STORE_PART_MAX };
	ck_assert_int_eq(store_put(fake_box.store, &m, &ref), -EFBIG);
	m = large(1, b);
	store_group_begin(fake_box.store);
	ck_assert_int_eq(store_put(fake_box.store, &m, &ref), 0);
	fake_box_put(2, 15000);
	/* No piece more than the group may hold; the body is lost then. */
	b = store_body_new(fake_box.store);
	ck_assert_int_eq(store_body_append(b, data, 3 * piece), -EFBIG);
	ck_assert_int_eq(store_body_append(b, data, 1), -ENOMEM);
	m = large(3, b);
	ck_assert_int_eq(store_put(fake_box.store, &m, &ref), -EFBIG);
	store_group_end(fake_box.store);
	ck_assert_int_eq(store_put(fake_box.store, &m, &ref), -ENOMEM);
	store_body_drop(b);
	fake_box_work();
	ck_assert(fake_box_is_synced());
	fake_box_reopen();
	ck_assert_uint_eq(fake_box.n, 2);
}
END_TEST

static size_t read_len;
static int read_error;

static void
read_done(struct store_read *r, int error)
{
	read_error = error;
	if (error < 0)
		return;
	read_len = r->parts[STORE_PARTS - 1].len;
	ck_assert(read_len == 0 || memcmp(r->parts[STORE_PARTS - 1].data, data, read_len) == 0);
	free(r->memory);
}

static size_t
length(store_ref ref, bool is_start)
{
	struct store_read r = { .done = read_done };

	read_error = 1;
	ck_assert_int_eq((is_start ? store_read_start : store_read)(fake_box.store, ref, &r), 0);
	fake_box_work();
	ck_assert_int_eq(read_error, 0);
	return read_len;
}

/* Nothing, one piece, and pieces without a rest. */
START_TEST(large_parts_of_any_length)
{
	size_t piece = store_piece_max(fake_box.store), lens[] = { 0, 1, piece, 2 * piece, 2 * piece + 1 };

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	for (uint64_t i = 0; i < 5; i++) {
		struct store_body *b = store_body_new(fake_box.store);
		struct store_message m = large(i + 1, b);
		store_ref ref;

		ck_assert_int_eq(store_body_append(b, data, lens[i]), 0);
		ck_assert_int_eq(store_put(fake_box.store, &m, &ref), 0);
		fake_box_work();
		ck_assert_uint_eq(length(ref, false), lens[i]);
		ck_assert_uint_eq(length(ref, true), lens[i] < piece ? lens[i] : piece);
	}
	/* What is no message yet goes with the store. */
	ck_assert_int_eq(store_body_append(store_body_new(fake_box.store), data, 10), 0);
	fake_box_reopen();
	ck_assert_uint_eq(fake_box.n, 5);
	for (size_t i = 0; i < 5; i++)
		ck_assert_uint_eq(length(fake_box.found[i].ref, false), lens[i]);
}
END_TEST

START_TEST(what_large_segments_allow)
{
	uint64_t piece = store_piece_max(fake_box.store), bytes;

	ck_assert_uint_lt(piece, STORE_PIECE_MAX);
	ck_assert_uint_eq(store_cost(fake_box.store, 2 * piece + 1) - store_cost(fake_box.store, 2 * piece), STORE_PIECE_HEAD + 8 + 32);
	fake_box_open_with(3 << 20, 16);
	ck_assert_uint_eq(store_piece_max(fake_box.store), STORE_PIECE_MAX);
	/* Many batches in one segment, and nothing that calls for a look at it. */
	fake_box_put_batches(1, 150, 10);
	fake_box_reopen();
	ck_assert_uint_eq(fake_box.n, 150);
	/* A batch copies 1 MiB at most, however large it may be. */
	fake_box_open_with(10 << 20, 16);
	bytes = (16ull - STORE_HELD_BACK - 2) * ((10 << 20) - STORE_HEADER - STORE_FOOTER) / 4 * 3;
	ck_assert_uint_eq(store_capacity(fake_box.store), bytes / (1 << 20) * ((1 << 20) - 4096) + bytes % (1 << 20) / 2);
}
END_TEST

/* A record larger than what a segment holds now. */
START_TEST(segments_were_larger)
{
	struct store_message m = fake_box_message(1, data, 200000);
	struct store_stats st;
	store_ref ref;

	fake_box_open_with(1 << 20, 16);
	ck_assert_int_eq(store_put(fake_box.store, &m, &ref), 0);
	fake_box_work();
	fake_box_close();
	fake_box.segment = STORE_SEGMENT_MIN;
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, 1);
	ck_assert_uint_gt(store_room(fake_box.store), 0);
	ck_assert_uint_eq(length(fake_box.found[0].ref, false), 200000);
	ck_assert_uint_gt(store_room(fake_box.store), 0);
	store_done(fake_box.store, fake_box.found[0].ref, 1, 1);
	fake_box_work();
	store_stats(fake_box.store, &st);
	ck_assert_uint_eq(st.live_bytes, 0);
	fake_box_put_batches(2, 40, 3000);
	fake_box_reopen();
	ck_assert_uint_eq(fake_box.n, 40);
}
END_TEST

START_TEST(done_is_done)
{
	store_ref ref = fake_box_put(1, 100);
	uint64_t ticket;

	fake_box_work();
	store_done(fake_box.store, ref, 1, 1);
	ticket = store_ticket(fake_box.store);
	store_done(fake_box.store, ref, 1, 1);
	ck_assert_uint_eq(store_ticket(fake_box.store), ticket);
	fake_box_work();
	store_done(fake_box.store, ref, 1, 1);
	ck_assert_uint_eq(store_ticket(fake_box.store), ticket);
	ck_assert(fake_box_is_synced());
}
END_TEST

START_TEST(notes_and_definitions)
{
	struct store_bytes note = { data, STORE_NOTE_MAX + 1 }, none = { "", 0 };
	store_ref ref = fake_box_put(1, 100);
	uint64_t ticket;

	ck_assert_int_eq(store_move(fake_box.store, ref, 1, 1, 1, 2, 0, note), -EFBIG);
	note.len--;
	ck_assert_int_eq(store_move(fake_box.store, ref, 1, 1, 1, 2, 0, note), 0);
	fake_box_work();
	/* One that is there, and empty. */
	ck_assert_int_eq(store_move(fake_box.store, ref, 1, 2, 1, 3, 0, none), 0);
	ck_assert_uint_eq(length(ref, false), 100);
	ck_assert_int_eq(store_define_queue(fake_box.store, 1, (struct store_bytes){ data, STORE_DEFINITION_MAX + 1 }), -EFBIG);
	ck_assert_int_eq(store_define_queue(fake_box.store, store_new_queue(fake_box.store), none), 0);
	/* To remove what never was does no harm. */
	store_remove_queue(fake_box.store, 55);
	store_remove_flow(fake_box.store, 55);
	fake_box_work();
	fake_box_reopen();
	ck_assert_uint_eq(fake_box.n, 1);
	ck_assert_uint_eq(fake_box.found[0].seq, 3);
	ck_assert_uint_eq(fake_box.n_queues, 2);
	fake_disk.fail_sync = 1;
	store_mark(fake_box.store, 1, 1);
	fake_box_work();
	ck_assert_int_eq(fake_box.state, STORE_FENCED);
	ticket = store_ticket(fake_box.store);
	ck_assert_int_eq(store_define_queue(fake_box.store, 1, none), -EIO);
	store_remove_queue(fake_box.store, 1);
	ck_assert_uint_eq(store_ticket(fake_box.store), ticket + 1);
}
END_TEST

/* Nothing is left to write: that is synced, and no file was begun for it. */
START_TEST(all_of_it_was_cancelled)
{
	struct store_message m = fake_box_message(1, data, 10);
	struct store_stats st;
	store_ref ref;

	fake_box_teardown();
	fake_box_setup_empty();
	fake_box_open();
	ck_assert_int_eq(store_put(fake_box.store, &m, &ref), 0);
	store_done(fake_box.store, ref, 1, 1);
	fake_box_work();
	ck_assert(fake_box_is_synced());
	store_stats(fake_box.store, &st);
	ck_assert_uint_eq(st.batches, 0);
	ck_assert_uint_eq(st.newest_start, 0);
}
END_TEST

/* A segment without messages has no index; one whose messages leave no place for it has none either. */
START_TEST(segments_without_index)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < 150; i++) {
		uint32_t queue = _i == 0 ? store_new_queue(fake_box.store) : 1;

		if (_i == 0)
			ck_assert_int_eq(store_define_queue(fake_box.store, queue, (struct store_bytes){ data, STORE_DEFINITION_MAX }), 0);
		for (int k = 0; _i == 1 && k < 10; k++, n++) {
			struct store_message m = fake_box_message(n + 1, data, 0);
			store_ref ref;

			m.counter = n % 2 ? UINT64_MAX / 2 : n;
			m.number = n % 2 ? n : UINT64_MAX / 2;
			m.expires_ms = n % 2 ? 1ull << 60 : 0;
			m.not_before_ms = n % 2 ? 0 : 1ull << 61;
			ck_assert_int_eq(store_put(fake_box.store, &m, &ref), 0);
		}
		if (i % 30 == 29)
			fake_box_work();
	}
	fake_box_work();
	ck_assert(fake_box_is_synced());
	fake_box_reopen();
	ck_assert_uint_eq(fake_box.n, n);
	ck_assert_uint_eq(fake_box.n_queues, _i == 0 ? 151 : 1);
	ck_assert_uint_eq(fake_box.n_damaged, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_limits");
	TCase *tc = tcase_create("store_limits");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, fake_box_setup, fake_box_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, sizes_that_do_not_fit);
	tcase_add_test(tc, nobody_is_told);
	tcase_add_test(tc, progress_is_told);
	tcase_add_test(tc, offers_are_told);
	tcase_add_test(tc, a_group_too_large);
	tcase_add_test(tc, a_group_that_stays_open);
	tcase_add_test(tc, a_large_part_in_a_group);
	tcase_add_test(tc, large_parts_of_any_length);
	tcase_add_test(tc, what_large_segments_allow);
	tcase_add_test(tc, segments_were_larger);
	tcase_add_test(tc, done_is_done);
	tcase_add_test(tc, notes_and_definitions);
	tcase_add_test(tc, all_of_it_was_cancelled);
	tcase_add_loop_test(tc, segments_without_index, 0, 2);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
