/*
 * Snapshots that take many batches, while what they tell of changes. A start
 * from any of these states finds what is there.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fake_box.h"
#include "fake_disk.h"
#include "fake_loop.h"
#include "store_internal.h"

#define QUEUES 60
#define PER_BATCH 6 /* of them are told in a batch */
#define MOVED 120
#define MANY 20000

static store_ref refs[MANY + 1];
static uint8_t data[STORE_DEFINITION_MAX];

static uint64_t
snapshots(void)
{
	struct store_stats st;

	store_stats(fake_box.store, &st);
	return st.snapshots;
}

/* One task of the writer, and what follows. */
static void
step(void)
{
	fake_loop_pass(fake_box.loop);
	fake_task_run(fake_box.writer);
	fake_task_run(fake_box.reader);
	fake_loop_pass(fake_box.loop);
}

/* Has one begun since? What fits into one batch is not seen to wait for the next. */
static bool
has_begun(uint64_t before)
{
	return store_snapshot_waiting(fake_box.store) || snapshots() > before;
}

/* Messages that come and go until a snapshot begins. */
static void
until_it_begins(uint64_t seq)
{
	uint64_t before = snapshots();

	for (int i = 0; !has_begun(before); i++) {
		store_ref ref = fake_box_put(seq + (uint64_t)i, 10000);

		ck_assert_int_lt(i, 3000);
		for (int k = 0; k < 8 && !has_begun(before); k++)
			step();
		store_done(fake_box.store, ref, 1, seq + (uint64_t)i);
	}
}

/* Queues and moves, more than a batch takes of them; some go while it is written. */
START_TEST(in_many_batches)
{
	uint64_t before, batches = 0;
	uint32_t queues[QUEUES];
	struct store_bytes note = { data, STORE_NOTE_MAX };
	unsigned removed = 0;

	memset(data, 'd', sizeof(data));
	for (int i = 0; i < QUEUES; i++) {
		queues[i] = store_new_queue(fake_box.store);
		ck_assert_int_eq(store_define_queue(fake_box.store, queues[i], (struct store_bytes){ data, sizeof(data) }), 0);
		ck_assert_int_eq(store_define_flow(fake_box.store, store_new_flow(fake_box.store), (struct store_bytes){ data, sizeof(data) }), 0);
		fake_box_work();
	}
	for (uint64_t i = 1; i <= MOVED; i++)
		refs[i] = fake_box_put(i, 50);
	fake_box_work();
	for (uint64_t i = 1; i <= MOVED; i++)
		ck_assert_int_eq(store_move(fake_box.store, refs[i], 1, i, 1, 1000 + i, 0, note), 0);
	fake_box_work();
	until_it_begins(10000);
	before = snapshots();
	for (; snapshots() == before && batches < 200; batches++) {
		struct store *s = fake_box.store;


		if (batches % 3 == 1 && removed < QUEUES / 2) {
			/* First where the snapshot is by then: one of the runs meets the one that is told next. */
			store_remove_queue(s, queues[removed == 0 ? QUEUES - 2 * PER_BATCH + (size_t)_i - 1 : removed - 1]);
			removed++;
			store_done(s, refs[removed], 1, 1000 + removed);
		}
		fake_box_put(20000 + batches, 100);
		step();
		fake_loop_advance(fake_box.loop, 5);
	}
	ck_assert_uint_gt(batches, 10);
	ck_assert_uint_eq(snapshots(), before + 1);
	for (int i = 0; i < 20; i++)
		fake_box_work();
	ck_assert(fake_box_is_synced());
	fake_box_close();
	fake_box_open();
	ck_assert_uint_eq(fake_box.n_damaged, 0);
	ck_assert_uint_eq(fake_box.n_queues, 1 + QUEUES - removed);
	ck_assert_uint_eq(fake_box.n, MOVED - removed + batches);
	for (size_t i = 0; i < MOVED - removed; i++)
		ck_assert_uint_eq(fake_box.found[i].seq, 1000 + removed + 1 + i);
}
END_TEST

/* A crash at each step of it. */
START_TEST(ends_on_the_way)
{
	unsigned steps = 3 + 4 * (unsigned)_i, n;

	memset(data, 'd', sizeof(data));
	for (int i = 0; i < QUEUES; i++) {
		ck_assert_int_eq(store_define_queue(fake_box.store, store_new_queue(fake_box.store), (struct store_bytes){ data, sizeof(data) }), 0);
		fake_box_work();
	}
	for (uint64_t i = 1; i <= MOVED; i++)
		refs[i] = fake_box_put(i, 50);
	fake_box_work();
	for (uint64_t i = 1; i <= MOVED; i++)
		if (i % 2)
			store_done(fake_box.store, refs[i], 1, i);
	fake_box_work();
	ck_assert(fake_box_is_synced());
	until_it_begins(10000);
	for (n = 0; n < steps; n++)
		step();
	fake_box_close();
	fake_disk_power_failure(0);
	fake_box_open();
	ck_assert_uint_eq(fake_box.n_damaged, 0);
	ck_assert_uint_eq(fake_box.n_queues, 1 + QUEUES);
	n = 0;
	for (size_t i = 0; i < fake_box.n; i++) {
		if (fake_box.found[i].seq > MOVED)
			continue;
		ck_assert_uint_eq(fake_box.found[i].seq % 2, 0);
		n++;
	}
	ck_assert_uint_eq(n, MOVED / 2);
}
END_TEST

static int stride = 1; /* of all that may be left so many are tried: fewer where fewer seeds are, too */

/*
 * What it tells ends anywhere in the share of a batch: so much is left for the
 * last bitmap, for a part of one, for the end, or nothing.
 */
START_TEST(whatever_is_left_of_a_share)
{
	static struct store_message m = { .queue = 1 };
	uint64_t before, live = 0;

	memset(data, 'd', sizeof(data));
	for (int i = 0; i < 7; i++) {
		struct store_bytes definition = { data, i < 6 ? sizeof(data) : 8 * (size_t)(_i * stride) };

		ck_assert_int_eq(store_define_queue(fake_box.store, store_new_queue(fake_box.store), definition), 0);
	}
	for (uint64_t i = 1; i <= 3000; i++) {
		m.seq = i;
		m.counter = i;
		ck_assert_int_eq(store_put(fake_box.store, &m, &refs[i]), 0);
		if (i % 100 == 0)
			fake_box_work();
	}
	for (uint64_t i = 1; i <= 3000; i++) {
		if (i % 3 == 0)
			live++;
		else
			store_done(fake_box.store, refs[i], 1, i);
	}
	fake_box_work();
	ck_assert(fake_box_is_synced());
	for (int k = 0; k < 3; k++) {
		before = snapshots();
		until_it_begins(10000 + 10000 * (uint64_t)k);
		for (int i = 0; i < 200 && snapshots() == before; i++)
			fake_box_work();
		ck_assert_uint_gt(snapshots(), before);
	}
	fake_box_work();
	ck_assert(fake_box_is_synced());
	fake_box_close();
	fake_box_open();
	ck_assert_uint_eq(fake_box.n_damaged, 0);
	ck_assert_uint_eq(fake_box.n_queues, 8);
	ck_assert_uint_eq(fake_box.n, live);
	for (size_t i = 0; i < live; i++)
		ck_assert_uint_eq(fake_box.found[i].counter, 3 * (i + 1));
}
END_TEST

/* Bitmaps of more records than one may tell of. */
START_TEST(a_bitmap_in_parts)
{
	static struct store_message m = { .queue = 1 };
	uint64_t before;

	fake_box_close();
	fake_disk_free();
	fake_disk_new(1);
	fake_box.segment = 4 << 20;
	fake_box.max_disk = 12 * fake_box.segment;
	fake_box_open();
	ck_assert_int_eq(store_define_queue(fake_box.store, 1, (struct store_bytes){ "q", 1 }), 0);
	for (uint64_t i = 1; i <= MANY; i++) {
		m.seq = i;
		ck_assert_int_eq(store_put(fake_box.store, &m, &refs[i]), 0);
	}
	fake_box_work();
	ck_assert(fake_box_is_synced());
	for (uint64_t i = 1; i <= MANY; i++)
		if (i % 20)
			store_done(fake_box.store, refs[i], 1, i);
	fake_box_work();
	before = snapshots();
	for (uint64_t i = 0; i < 2000 && snapshots() == before; i++) {
		store_ref ref = fake_box_put(100000 + i, 20000);

		fake_box_work();
		store_done(fake_box.store, ref, 1, 100000 + i);
	}
	ck_assert_uint_gt(snapshots(), before);
	for (int i = 0; i < 10; i++)
		fake_box_work();
	fake_box_close();
	fake_box_open();
	ck_assert_uint_eq(fake_box.n, MANY / 20);
	for (size_t i = 0; i < fake_box.n; i++)
		ck_assert_uint_eq(fake_box.found[i].seq, 20 * (i + 1));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_snapshot");
	TCase *tc = tcase_create("store_snapshot");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, fake_box_setup, fake_box_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, in_many_batches, 0, PER_BATCH);
	tcase_add_loop_test(tc, ends_on_the_way, 0, 12);
	stride = getenv("STORE_SEEDS") ? 5 : 1;
	tcase_add_loop_test(tc, whatever_is_left_of_a_share, 0, 100 / stride);
	tcase_add_test(tc, a_bitmap_in_parts);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
