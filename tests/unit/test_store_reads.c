/*
 * Reading back when it does not go well: many files, no files, records that are
 * others, messages that go meanwhile. And the cleaner, which reads as well.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake_box.h"
#include "fake_disk.h"
#include "fake_loop.h"
#include "store_internal.h"

#define READS 400

static struct one {
	struct store_read r;
	int error; /* 1: not told */
} reads[READS + 1100];

static void
read_done(struct store_read *r, int error)
{
	struct one *o = (struct one *)r;

	ck_assert_int_eq(o->error, 1);
	o->error = error;
	if (error == 0)
		free(r->memory);
}

static int
begin(struct one *o, store_ref ref)
{
	o->error = 1;
	o->r = (struct store_read){ .done = read_done };
	return store_read(fake_box.store, ref, &o->r);
}

static int
read_one(store_ref ref)
{
	ck_assert_int_eq(begin(&reads[0], ref), 0);
	fake_box_work();
	ck_assert_int_ne(reads[0].error, 1);
	return reads[0].error;
}

static store_ref
put_large(uint64_t seq, size_t len)
{
	static uint8_t data[1 << 17];
	struct store_message m = { .queue = 1, .seq = seq, .body = store_body_new(fake_box.store) };
	store_ref ref;

	ck_assert_int_eq(store_body_append(m.body, data, len), 0);
	ck_assert_int_eq(store_put(fake_box.store, &m, &ref), 0);
	return ref;
}

/* Of more segments than there may be open files. */
START_TEST(many_files)
{
	static store_ref refs[READS];
	struct store_backup *backup;
	store_ref large;

	fake_box_close();
	fake_box.max_disk = 200 * FAKE_BOX_SEGMENT;
	/* Files that go, as they are of no size that is wanted: their places in the table are empty then. */
	for (int i = 0; i < 150; i++) {
		static const uint8_t zeros[FAKE_BOX_SEGMENT + 4096];
		char name[STORE_NAME_MAX];

		store_name(name, 1000 + (uint32_t)i);
		fake_disk_put(name, zeros, sizeof(zeros));
	}
	fake_box_open();
	for (int i = 0; i < 6; i++)
		fake_box_work();
	large = put_large(1000, 130000);
	for (uint64_t i = 0; i < READS; i++) {
		refs[i] = fake_box_put(i + 1, 12000);
		if (i % 4 == 3)
			fake_box_work();
	}
	fake_box_work();
	ck_assert(fake_box_is_synced());
	for (size_t i = 0; i < READS; i++) {
		ck_assert_int_eq(read_one(refs[i]), 0);
		ck_assert_uint_le(fake_box.store->n_read_files, STORE_READ_FILES);
	}
	ck_assert_uint_eq(fake_box.store->n_read_files, STORE_READ_FILES);
	/* A backup is of what there is. */
	ck_assert_int_eq(store_backup_begin(fake_box.store, &backup), 0);
	ck_assert_uint_gt(store_backup_bytes(backup), READS * 12000);
	store_backup_end(fake_box.store, backup);
	/* One read that needs several: it closes one of the others. */
	ck_assert_int_eq(read_one(large), 0);
	/* All at once: none of them can be closed. */
	for (size_t i = 0; i < READS; i++)
		ck_assert_int_eq(begin(&reads[i], refs[i]), 0);
	for (int i = 0; i < 10; i++)
		fake_box_work();
	for (size_t i = 0; i < READS; i++)
		ck_assert_int_eq(reads[i].error, 0);
	ck_assert_uint_gt(fake_box.store->n_read_files, STORE_READ_FILES);
}
END_TEST

START_TEST(a_record_that_is_another)
{
	store_ref ref = fake_box_put(1, 100), other = fake_box_put(2, 100);
	const char *name;
	uint8_t *p;

	fake_box_work();
	p = fake_box_find_batch(2, &name);
	ck_assert_ptr_nonnull(p);
	p[STORE_BATCH_HEAD + 100] ^= 1;
	ck_assert_int_eq(read_one(ref), -EIO);
	ck_assert_uint_eq(fake_box.n_damaged, 1);
	ck_assert_int_eq(read_one(ref), -EIO);
	ck_assert_uint_eq(fake_box.n_damaged, 1);
	ck_assert_int_eq(read_one(other), 0);
	store_done(fake_box.store, ref, 1, 1);
	fake_box_work();
	ck_assert(fake_box_is_synced());
}
END_TEST

/* Too many open files pass, and are no damage; the same error twice is. */
START_TEST(a_file_cannot_be_opened)
{
	static const int errors[] = { -EMFILE, -ENFILE, -ENOMEM, -EACCES };
	store_ref ref = fake_box_put(1, 100);

	fake_box_work();
	for (int i = 0; i < 4; i++) {
		fake_disk.fail_open = 1;
		fake_disk.again = 1;
		fake_disk.error = errors[i];
		ck_assert_int_eq(read_one(ref), i < 3 ? -ENOMEM : -EIO);
		ck_assert_uint_eq(fake_disk.fail_open, 0);
		ck_assert_uint_eq(fake_box.n_damaged, i < 3 ? 0 : 1);
	}
	ck_assert_int_eq(read_one(ref), -EIO);
	store_done(fake_box.store, ref, 1, 1);
	fake_box_work();
	ck_assert(fake_box_is_synced());
}
END_TEST

START_TEST(reads_that_are_cancelled)
{
	store_ref ref = fake_box_put(1, 100), late;

	fake_box_work();
	ck_assert_int_eq(begin(&reads[0], ref), 0);
	store_read_cancel(fake_box.store, &reads[0].r);
	/* One that waits for its batch. */
	late = fake_box_put(2, 100);
	ck_assert_int_eq(begin(&reads[1], late), 0);
	store_read_cancel(fake_box.store, &reads[1].r);
	fake_box_work();
	ck_assert_int_eq(reads[0].error, 1);
	ck_assert_int_eq(reads[1].error, 1);
	ck_assert_uint_eq(fake_box.store->n_reads, 0);
	ck_assert_int_eq(read_one(late), 0);
}
END_TEST

START_TEST(too_many_reads)
{
	store_ref ref = fake_box_put(1, 100);

	fake_box_work();
	for (size_t i = 0; i < STORE_READS_MAX; i++)
		ck_assert_int_eq(begin(&reads[i], ref), 0);
	ck_assert_int_eq(begin(&reads[STORE_READS_MAX], ref), -EAGAIN);
	for (int i = 0; i < 30; i++)
		fake_box_work();
	for (size_t i = 0; i < STORE_READS_MAX; i++)
		ck_assert_int_eq(reads[i].error, 0);
	fake_task.fail = 1;
	fake_task.error = -EAGAIN;
	ck_assert_int_eq(begin(&reads[0], ref), -EAGAIN);
	fake_task.fail = 1;
	fake_task.error = -ENOMEM;
	ck_assert_int_eq(begin(&reads[0], ref), -ENOMEM);
	ck_assert_int_eq(read_one(ref), 0);
}
END_TEST

/* The writer's next task, and what follows; a submission from in there fails. */
static void
write_and_fail(void)
{
	while (fake_task_run(fake_box.writer)) {
		fake_task.fail = 1;
		fake_loop_pass(fake_box.loop);
		fake_task.fail = 0;
	}
	fake_loop_advance(fake_box.loop, 5);
}

/* A read of what went is not told, as there is no memory; meanwhile its place is another message's. */
START_TEST(a_read_that_outlives_its_message)
{
	store_ref old, ref;

	old = fake_box_put(1, 100);
	fake_loop_pass(fake_box.loop);
	ck_assert_int_eq(begin(&reads[0], old), 0);
	fake_task.fail = 1;
	store_done(fake_box.store, old, 1, 1);
	ck_assert_uint_eq(fake_task.fail, 0);
	for (int i = 0; i < 4 && !fake_box_is_synced(); i++)
		write_and_fail();
	ck_assert(fake_box_is_synced());
	ref = fake_box_put(2, 100);
	ck_assert_uint_eq(ref, old);
	fake_loop_pass(fake_box.loop);
	write_and_fail();
	ck_assert(fake_box_is_synced());
	ck_assert_int_eq(reads[0].error, 1);
	ck_assert_int_eq(begin(&reads[1], ref), 0);
	ck_assert(fake_task_run(fake_box.reader));
	fake_loop_pass(fake_box.loop);
	ck_assert_int_eq(reads[1].error, 0);
	ck_assert_int_eq(reads[0].error, 1);
	ck_assert_int_eq(begin(&reads[2], ref), 0);
	store_done(fake_box.store, ref, 1, 2);
	fake_box_work();
	ck_assert_int_eq(reads[0].error, -ECANCELED);
	ck_assert_int_eq(reads[2].error, -ECANCELED);
}
END_TEST

/* What cannot be told at the fence is told later. */
START_TEST(a_fence_without_memory)
{
	store_ref ref = fake_box_put(1, 100);

	fake_loop_pass(fake_box.loop);
	ck_assert_int_eq(begin(&reads[0], ref), 0);
	fake_disk.fail_sync = 1;
	ck_assert(fake_task_run(fake_box.writer));
	fake_task.fail = 1;
	fake_loop_pass(fake_box.loop);
	ck_assert_uint_eq(fake_task.fail, 0);
	ck_assert_int_eq(fake_box.state, STORE_FENCED);
	fake_box_work();
	ck_assert_int_eq(reads[0].error, 1);
	fake_loop_advance(fake_box.loop, STORE_RETRY_MS);
	fake_box_work();
	ck_assert_int_eq(reads[0].error, -ESHUTDOWN);
}
END_TEST

/* ----------------------------------------------------------------- cleaning -- */

#define MESSAGES 120

static store_ref refs[MESSAGES + 1];

/* Segments of which a quarter lives; every tenth is large. */
static void
fill(void)
{
	for (uint64_t i = 1; i <= MESSAGES; i++) {
		refs[i] = i % 20 == 0 ? put_large(i, 9000) : fake_box_put(i, 3000);
		if (i % 6 == 0)
			fake_box_work();
	}
	fake_box_work();
	ck_assert(fake_box_is_synced());
}

static void
empty(void)
{
	for (uint64_t i = 1; i <= MESSAGES; i++)
		if (i % 4)
			store_done(fake_box.store, refs[i], 1, i);
}

/* One more reader's task, in which opening fails. */
static bool
fail_next_open(int error)
{
	bool ran;

	for (int i = 0; i < 60; i++) {
		fake_task_run(fake_box.writer);
		fake_disk.fail_open = 1;
		fake_disk.again = 1;
		fake_disk.error = error;
		ran = fake_task_run(fake_box.reader);
		if (ran && fake_disk.fail_open == 0)
			return true;
		fake_disk.fail_open = fake_disk.again = 0;
		fake_loop_pass(fake_box.loop);
		fake_loop_advance(fake_box.loop, 5);
	}
	return false;
}

static void
copies_all(unsigned most_damaged)
{
	struct store_stats st;

	for (int i = 0; i < 30; i++)
		fake_box_work();
	store_stats(fake_box.store, &st);
	ck_assert_uint_gt(st.copied_bytes, 0);
	ck_assert_uint_le(fake_box.n_damaged, most_damaged);
	for (uint64_t i = 4; i <= MESSAGES; i += 4)
		store_done(fake_box.store, refs[i], 1, i);
	for (int i = 0; i < 30; i++)
		fake_box_work();
	ck_assert(fake_box_is_synced());
	store_stats(fake_box.store, &st);
	ck_assert_uint_eq(st.live_bytes, 0);
	for (uint32_t i = 0; i < fake_box.store->n_segments; i++)
		if (fake_box.store->segments[i]) {
			ck_assert_uint_eq(fake_box.store->segments[i]->live, 0);
			ck_assert_uint_eq(fake_box.store->segments[i]->damaged, 0);
		}
}

START_TEST(a_range_cannot_be_opened)
{
	fill();
	fake_box_close();
	fake_box_open();
	for (size_t i = 0; i < fake_box.n; i++)
		refs[fake_box.found[i].seq] = fake_box.found[i].ref;
	empty();
	ck_assert(fail_next_open(_i == 0 ? -EMFILE : -EIO));
	/* What passes is tried again; else what is there is damaged, and told. */
	if (_i == 0) {
		copies_all(0);
	} else {
		fake_box_work();
		ck_assert_uint_gt(fake_box.n_damaged, 0);
		copies_all(MESSAGES);
	}
}
END_TEST

/* Records with wrong sums are not copied: they stay where they are until they are done. */
START_TEST(damaged_records_stay)
{
	store_ref bad = 0;

	fill();
	for (uint32_t i = 0; i < fake_box.store->n_segments; i++) {
		struct segment *g = fake_box.store->segments[i];
		char name[STORE_NAME_MAX];
		uint8_t *p;
		size_t len;

		if (!g || g->state != SEGMENT_SEALED)
			continue;
		store_name(name, g->number);
		p = fake_disk_data(name, &len);
		/* Of what stays: messages and pieces. */
		for (uint64_t k = 4; k <= MESSAGES; k += 4) {
			struct store_body *b = fake_box.store->slots[refs[k]].large ? store_body_find(fake_box.store, refs[k]) : NULL;
			struct record *r = store_slot_record(fake_box.store, b ? b->pieces[0] : refs[k]);
			store_ref ref = b ? b->pieces[0] : refs[k];

			if (fake_box.store->slots[ref].segment != i || !(b || k % 12 == 0))
				continue;
			p[(size_t)r->at * 8 + 40] ^= 1;
			bad = refs[k];
		}
	}
	/* One of them is known to be damaged before that. */
	ck_assert_uint_ne(bad, 0);
	ck_assert_int_eq(read_one(bad), -EIO);
	empty();
	/* A segment is full, which is when the others are looked at. */
	for (uint64_t i = 0; i < 30; i++) {
		store_ref ref = fake_box_put(1000 + i, 3000);

		fake_box_work();
		store_done(fake_box.store, ref, 1, 1000 + i);
	}
	ck_assert_uint_gt(fake_box.n_damaged, 1);
	ck_assert_int_eq(read_one(refs[4]), 0);
	copies_all(MESSAGES);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_reads");
	TCase *tc = tcase_create("store_reads");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, fake_box_setup, fake_box_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, many_files);
	tcase_add_test(tc, a_record_that_is_another);
	tcase_add_test(tc, a_file_cannot_be_opened);
	tcase_add_test(tc, reads_that_are_cancelled);
	tcase_add_test(tc, too_many_reads);
	tcase_add_test(tc, a_read_that_outlives_its_message);
	tcase_add_test(tc, a_fence_without_memory);
	tcase_add_loop_test(tc, a_range_cannot_be_opened, 0, 2);
	tcase_add_test(tc, damaged_records_stay);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
