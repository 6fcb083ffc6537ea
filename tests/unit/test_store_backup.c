/* A copy of the journal as of one point, made while it goes on. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "loop.h"
#include "store_box.h"

#define KEPT 150
#define WAITING 20

static struct store_backup *backup;
static struct disk *copy;
static store_ref kept[KEPT];
static uint64_t copied;
static unsigned calls;

static void
define(uint32_t q)
{
	char name[16];

	snprintf(name, sizeof(name), "queue %u", q);
	ck_assert_int_eq(store_define_queue(box.store, q, (struct store_bytes){ name, strlen(name) }), 0);
}

/* n messages of queue 2 come and go. */
static void
flow_through(uint64_t first, uint64_t n)
{
	store_ref refs[WAITING] = { 0 };

	for (uint64_t i = 0; i < n + WAITING; i++) {
		if (i >= WAITING)
			store_done(box.store, refs[i % WAITING], 2, first + i - WAITING);
		if (i < n)
			refs[i % WAITING] = box_put(2, first + i, 0, 0, 1000);
		if (i % WAITING == WAITING - 1)
			box_wait(store_ticket(box.store));
	}
	box_sync();
}

static void
begin(void)
{
	char path[100];
	int r;

	copied = calls = 0;
	box_open();
	store_new_queue(box.store);
	store_new_queue(box.store);
	define(1);
	define(2);
	for (uint64_t i = 0; i < KEPT; i++) {
		kept[i] = box_put(1, i + 1, 0, 0, 1000);
		if (i % 3 == 0)
			flow_through(1 + i * 100, 30);
	}
	for (uint64_t i = 0; i < 10; i++)
		store_done(box.store, kept[i], 1, i + 1);
	box_sync();
	box_settle();
	snprintf(path, sizeof(path), "%s/copy", box.folder);
	ck_assert_int_eq(disk_open(path, true, &copy), 0);
	/* A batch of its own may still be on the way, if the disk is busy. */
	while ((r = store_backup_begin(box.store, &backup)) == -EAGAIN)
		loop_step(box.loop, true);
	ck_assert_int_eq(r, 0);
}

/* Much happens behind the point: segments are sealed, and would be used anew. */
static void
go_on(void)
{
	for (uint64_t i = 0; i < 60; i++)
		flow_through(100000 + i * 100, 90);
	for (uint64_t i = 10; i < 100; i++)
		store_done(box.store, kept[i], 1, i + 1);
	box_put(1, 1000, 0, 0, 1000);
	box_sync();
}

static bool
on_copied(void *arg, uint64_t bytes)
{
	(void)arg;
	copied += bytes;
	calls++;
	return true;
}

/* In the place of the journal. */
static void
use_copy(void)
{
	char command[300];

	disk_close(copy);
	snprintf(command, sizeof(command), "rm -rf %s/journal && mv %s/copy/journal %s/", box.folder, box.folder, box.folder);
	ck_assert_int_eq(system(command), 0);
}

static void
check_copy(void)
{
	box_open();
	ck_assert_uint_eq(box.n_damaged, 0);
	ck_assert_uint_eq(box.n_messages, KEPT - 10);
	for (uint64_t i = 10; i < KEPT; i++) {
		struct store_found *m = box_find(1, i + 1);

		ck_assert_ptr_nonnull(m);
		box_check(m->ref, i + 1, 1000);
	}
	flow_through(1000000, 50);
	box_close();
}

START_TEST(copied_late)
{
	struct store_stats st;

	begin();
	go_on();
	ck_assert_int_eq(store_backup_copy(backup, copy, on_copied, NULL), 0);
	ck_assert_uint_eq(copied, store_backup_bytes(backup));
	store_backup_end(box.store, backup);
	/* What was held is used again. */
	for (uint64_t i = 0; i < 20; i++)
		flow_through(200000 + i * 100, 90);
	box_settle();
	store_stats(box.store, &st);
	ck_assert_uint_le(st.disk_bytes - st.free_segments * box.segment, 2 * st.live_bytes + 8 * box.segment);
	box_close();
	use_copy();
	check_copy();
	/* And once more: what was written there is a journal like any other. */
	check_copy();
}
END_TEST

START_TEST(copied_at_once)
{
	begin();
	ck_assert_int_eq(store_backup_copy(backup, copy, on_copied, NULL), 0);
	store_backup_end(box.store, backup);
	go_on();
	box_close();
	use_copy();
	check_copy();
}
END_TEST

static bool
on_no_more(void *arg, uint64_t bytes)
{
	(void)arg, (void)bytes;
	return ++calls < 3;
}

START_TEST(given_up)
{
	begin();
	ck_assert_int_eq(store_backup_copy(backup, copy, on_no_more, NULL), -ECANCELED);
	ck_assert_uint_eq(calls, 3);
	store_backup_end(box.store, backup);
	go_on();
	disk_close(copy);
	box_close();
}
END_TEST

START_TEST(not_while_a_batch_is_under_way)
{
	struct store_backup *b = NULL;

	box_open();
	store_new_queue(box.store);
	define(1);
	box_put(1, 1, 0, 0, 10);
	while (store_backup_begin(box.store, &b) == 0) {
		store_backup_end(box.store, b);
		ck_assert_int_ge(loop_step(box.loop, false), 0);
	}
	ck_assert_int_eq(store_backup_begin(box.store, &b), -EAGAIN);
	box_sync();
	box_close();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("store_backup");
	TCase *tc = tcase_create("backup");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, box_setup, box_teardown);
	tcase_add_test(tc, copied_late);
	tcase_add_test(tc, copied_at_once);
	tcase_add_test(tc, given_up);
	tcase_add_test(tc, not_while_a_batch_is_under_way);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
