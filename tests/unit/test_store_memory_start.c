/*
 * The store without memory, where a long run seldom gets to: starts from
 * journals in all states, and calls that need memory at once.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_box.h"
#include "fake_disk.h"
#include "fake_loop.h"
#include "forge.h"
#include "no_memory.h"
#include "store_internal.h"

#define OLD 40

static struct forge one, two;
static uint8_t data[20000];

/* ------------------------------------------------------------------- starts -- */

/* All kinds of records, of queues and flows that nobody has defined. */
static void
make_undefined(void)
{
	forge_begin(&one, 1, 1, NULL);
	forge_batch(&one);
	forge_seal(&one, STORE_MARK, store_mark_encode(forge_here(&one), 3, 9));
	forge_seal(&one, STORE_OFFERED, store_offered_encode(forge_here(&one), 4, 9));
	forge_message(&one, 5, 1, 1);
	forge_move(&one, 5, 1, 6, 1);
	forge_queue(&one, 7, false);
	forge_end(&one, 1);
	forge_done(&one, FORGE_SIZE);
}

/* A snapshot that tells of the segment before, whose messages are of a queue that nobody defined. */
static void
make_old(bool has_index)
{
	struct store_entry entries[OLD];
	struct store_batch b;
	struct store_record r;
	uint32_t at = 0;
	size_t n = 0, need;

	forge_begin(&one, 1, 1, NULL);
	forge_batch(&one);
	for (uint64_t seq = 1; seq <= OLD; seq++)
		forge_message(&one, 9, seq, seq);
	forge_end(&one, 1);
	ck_assert_int_eq(store_batch_decode(one.data + STORE_HEADER, FORGE_SIZE - STORE_HEADER, one.h.seed, STORE_HEADER, &b, &need), 0);
	while (store_batch_next(one.data + STORE_HEADER, &b, STORE_HEADER, &at, &r))
		ck_assert_int_eq(store_message_decode(&r, &entries[n++], NULL), 0);
	if (has_index)
		forge_index(&one, entries, OLD);
	forge_begin(&two, 2, 2, &one);
	forge_batch(&two);
	forge_snapshot_begin(&two, 7);
	forge_dead(&two, &(struct store_dead){ .snapshot = 7, .segment = 1, .n = OLD, .total = OLD, .bits = { "\x01", 1 } });
	forge_snapshot_end(&two, 7, 2, 1, 2);
	forge_end(&two, 2);
	forge_batch(&two);
	forge_queue(&two, 1, false);
	forge_end(&two, 3);
	forge_done(&one, FORGE_SIZE);
	forge_done(&two, FORGE_SIZE);
}

/* Each allocation of a start fails once: it is refused, or finds everything, and the next one does. */
START_TEST(starts)
{
	size_t expected = _i == 0 ? 1 : OLD - 1;
	unsigned refused = 0;

	for (unsigned long n = 1;; n++) {
		bool failed;
		int r;

		fake_box_setup_empty();
		if (_i == 0)
			make_undefined();
		else
			make_old(_i == 1);
		no_memory_in = n;
		r = fake_box_try_open();
		failed = no_memory_in == 0;
		no_memory_in = 0;
		ck_assert(r == 0 || (failed && r == -ENOMEM));
		if (r < 0) {
			ck_assert_str_ne(fake_box.why, "");
			refused++;
			fake_box_open();
		}
		ck_assert_uint_eq(fake_box.n, expected);
		ck_assert_uint_eq(fake_box.n_damaged, 0);
		fake_box_teardown();
		if (!failed)
			break;
	}
	ck_assert_uint_gt(refused, 20);
}
END_TEST

/* ------------------------------------------------------------------- calls -- */

static void
setup_full_ring(void)
{
	fake_box_setup();
	while (fake_box.store->tail - fake_box.store->head < fake_box.store->room_items)
		store_offered(fake_box.store, 1, 1);
}

/* It is refused, and nothing else has changed: everything goes on. */
static void
goes_on(void)
{
	fake_box_work();
	ck_assert_int_eq(fake_box.state, STORE_OPEN);
	ck_assert_uint_eq(store_synced(fake_box.store), store_ticket(fake_box.store));
	fake_box_close();
	fake_box_open();
}

START_TEST(no_place_for_another_item)
{
	struct store_message m = { .queue = 1, .seq = 5 };
	struct store_bytes none = { NULL, 0 }, text = { "x", 1 };
	store_ref ref = 0, old;
	uint64_t ticket;

	fake_box_setup();
	old = fake_box_put(1, 10);
	fake_box_work();
	while (fake_box.store->tail - fake_box.store->head < fake_box.store->room_items)
		store_offered(fake_box.store, 1, 1);
	ticket = store_ticket(fake_box.store);
	no_memory_in = 1;
	ck_assert_int_eq(store_put(fake_box.store, &m, &ref), -ENOMEM);
	no_memory_in = 1;
	ck_assert_int_eq(store_move(fake_box.store, old, 1, 1, 1, 2, 0, none), -ENOMEM);
	for (unsigned long n = 1; n <= 2; n++) {
		no_memory_in = n;
		ck_assert_int_eq(store_define_queue(fake_box.store, 1, text), -ENOMEM);
		no_memory_in = n;
		ck_assert_int_eq(store_move(fake_box.store, old, 1, 1, 1, 2, 0, text), -ENOMEM);
	}
	ck_assert_uint_eq(no_memory_in, 0);
	ck_assert_uint_eq(ref, 0);
	ck_assert_uint_eq(store_ticket(fake_box.store), ticket);
	goes_on();
	ck_assert_uint_eq(fake_box.n, 1);
	ck_assert_uint_eq(fake_box.found[0].seq, 1);
	fake_box_teardown();
}
END_TEST

/* What of a piece has no memory: the body is lost, or, when the piece could not be appended any more, the store fenced. */
START_TEST(no_memory_for_a_piece)
{
	unsigned refused = 0, fenced = 0;
	bool failed = true;

	for (unsigned long n = 1; failed; n++) {
		struct store_body *b;
		int r;

		setup_full_ring();
		b = store_body_new(fake_box.store);
		no_memory_in = n;
		r = store_body_append(b, data, store_piece_max(fake_box.store));
		failed = no_memory_in == 0;
		no_memory_in = 0;
		ck_assert(failed ? r == -ENOMEM || r == -EIO : r == 0);
		if (r == -EIO) {
			fenced++;
			ck_assert_uint_eq(fake_box.store->slots[fake_box.store->unused].state, SLOT_UNUSED);
		} else {
			refused += r < 0;
		}
		store_body_drop(b);
		if (r != -EIO) {
			goes_on();
		} else {
			fake_box_work();
			ck_assert_int_eq(fake_box.state, STORE_FENCED);
		}
		fake_box_teardown();
	}
	ck_assert_uint_eq(fenced, 1);
	ck_assert_uint_ge(refused, 2);
}
END_TEST

static bool
on(void *arg, uint64_t bytes)
{
	(void)arg, (void)bytes;
	return true;
}

START_TEST(backups)
{
	struct disk *to;
	struct store_backup *b = NULL;

	fake_box_setup();
	to = fake_disk_other();
	no_memory_in = 1;
	ck_assert_int_eq(store_backup_begin(fake_box.store, &b), -ENOMEM);
	ck_assert_ptr_null(b);
	ck_assert_int_eq(store_backup_begin(fake_box.store, &b), 0);
	no_memory_in = 1;
	ck_assert_int_eq(store_backup_copy(b, to, on, NULL), -ENOMEM);
	ck_assert_int_eq(store_backup_copy(b, to, on, NULL), 0);
	store_backup_end(fake_box.store, b);
	fake_disk_other_free(to);
	goes_on();
	fake_box_teardown();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_memory_start");
	TCase *tc = tcase_create("store_memory_start");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, starts, 0, 3);
	tcase_add_test(tc, no_place_for_another_item);
	tcase_add_test(tc, no_memory_for_a_piece);
	tcase_add_test(tc, backups);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
