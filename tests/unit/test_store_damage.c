/*
 * The store on a disk that does not keep what it was given: files that are
 * missing, bytes that are others. What is lost is told, and whatever is not
 * damaged is there.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_box.h"
#include "fake_disk.h"
#include "fake_loop.h"
#include "store_format.h"

#define MESSAGES 240
#define LEN 2500
#define FLIPS 40 /* in a journal, one after another, each with a start of its own */

static struct {
	bool live;
	uint32_t queue;
	uint64_t seq;
} known[MESSAGES + 1];

static uint64_t random_state;
static bool is_damaged; /* was, at some start */

static uint64_t
draw(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 11) % below;
}

/* A journal with several segments, snapshots, what was moved, what is large, what is done. */
static void
fill(void)
{
	static char data[LEN * 10];
	store_ref refs[MESSAGES + 1];

	store_define_queue(fake_box.store, store_new_queue(fake_box.store), (struct store_bytes){ "second", 6 });
	for (uint64_t i = 1; i <= MESSAGES; i++) {
		struct store_message m = { .queue = 1, .seq = i, .flow = 1, .number = i, .counter = i };

		m.parts[4] = (struct store_bytes){ data, LEN };
		if (i % 20 == 0) {
			m.body = store_body_new(fake_box.store);
			ck_assert_ptr_nonnull(m.body);
			ck_assert_int_eq(store_body_append(m.body, data, sizeof(data)), 0);
			m.parts[4].data = NULL;
		}
		if (store_put(fake_box.store, &m, &refs[i]) != 0)
			ck_abort_msg("message %lu is not taken", i);
		known[i].live = true;
		known[i].queue = 1;
		known[i].seq = i;
		fake_box_work();
		if (i % 7 == 0) {
			ck_assert_int_eq(store_move(fake_box.store, refs[i], 1, i, 2, i, 1, (struct store_bytes){ "note", 4 }), 0);
			known[i].queue = 2;
		}
		if (i > 30 && i % 6 > 0 && known[i - 30].live) {
			store_done(fake_box.store, refs[i - 30], known[i - 30].queue, known[i - 30].seq);
			known[i - 30].live = false;
		}
	}
	for (int i = 0; i < 10; i++)
		fake_box_work();
}

/* How many of those that should be there are missing. Twice is better than never, if something was damaged. */
static unsigned
count_missing(void)
{
	unsigned missing = 0, seen[MESSAGES + 1] = { 0 };

	is_damaged |= fake_box.n_damaged > 0;
	for (size_t f = 0; f < fake_box.n; f++)
		if (fake_box.found[f].counter <= MESSAGES)
			seen[fake_box.found[f].counter]++;
	for (uint64_t i = 1; i <= MESSAGES; i++) {
		if (seen[i] > 1 && !is_damaged)
			ck_abort_msg("message %lu is there %u times", i, seen[i]);
		missing += known[i].live && seen[i] == 0;
	}
	return missing;
}

/* Behind the newest segment nothing tells that there was one. */
static bool
is_newest(int number)
{
	int newest = 0;

	for (int i = 1; i < 100; i++) {
		struct store_header h;
		char name[40];
		size_t len;
		uint8_t *p;

		snprintf(name, sizeof(name), "journal/%08d.journal", i);
		p = fake_disk_data(name, &len);
		if (p && store_header_decode(p, len, &h) == 0 && h.segment == (uint32_t)i)
			newest = i;
	}
	return number == newest;
}

START_TEST(a_file_is_missing)
{
	unsigned live = 0, missing;
	bool newest;
	char name[40];
	size_t len;

	fill();
	fake_box_close();
	for (uint64_t i = 1; i <= MESSAGES; i++)
		live += known[i].live;
	snprintf(name, sizeof(name), "journal/%08d.journal", _i);
	if (!fake_disk_data(name, &len))
		return;
	newest = is_newest(_i);
	disk_remove(fake_disk.disk, name);
	fake_box_open();
	missing = count_missing();
	ck_assert_msg(missing == 0 || fake_box.n_damaged > 0 || newest, "%u messages are missing, and nothing is told", missing);
	ck_assert_uint_lt(missing, live / 2);
	/* It goes on. */
	fake_box_put(1000, 100);
	fake_box_work();
	ck_assert_uint_eq(store_synced(fake_box.store), store_ticket(fake_box.store));
}
END_TEST

START_TEST(bytes_are_others)
{
	random_state = 88172645463325252 + (uint64_t)_i * 2654435761;
	fill();
	for (unsigned k = 0; k < FLIPS; k++) {
		unsigned before = count_missing(), told, missing;
		char name[40];
		uint8_t *p;
		size_t len;

		fake_box_close();
		do
			snprintf(name, sizeof(name), "journal/%08lu.journal", 1 + draw(200));
		while (!(p = fake_disk_data(name, &len)));
		/* Mostly where something is. */
		for (size_t at = (size_t)draw(len), n = 0; n < 3; n++)
			p[draw(2) ? at : at / 4096 * 4096 + draw(64)] ^= (uint8_t)(1 + draw(255));
		fake_box_open();
		told = fake_box.n_damaged;
		missing = count_missing();
		/* The last batch may look as if it had never been synced; what is behind it cannot be known. */
		if (k == 0)
			ck_assert_msg(missing <= 1 || told > 0, "%s: %u messages are missing, %u before, and nothing is told", name, missing, before);
		ck_assert_uint_le(missing, MESSAGES);
	}
}
END_TEST

/* The record of a message becomes that of a piece, with sums that are good. False: it is nowhere. */
static bool
make_piece(uint64_t seq)
{
	char name[40];
	size_t len;
	bool made = false;

	for (unsigned i = 1; i < 100; i++) {
		struct store_header h;
		struct store_batch b;
		struct store_record r;
		uint8_t *p;
		size_t need;

		snprintf(name, sizeof(name), "journal/%08u.journal", i);
		p = fake_disk_data(name, &len);
		if (!p || store_header_decode(p, len, &h) < 0 || h.segment != i)
			continue;
		for (size_t at = STORE_HEADER; at < len; at += 4096) {
			if (store_batch_decode(p + at, len - at, h.seed, at, &b, &need) < 0)
				continue;
			for (uint32_t k = 0; store_batch_next(p + at, &b, at, &k, &r);) {
				struct store_entry e;

				if (r.kind != STORE_MESSAGE || store_message_decode(&r, &e, NULL) < 0 || e.seq != seq)
					continue;
				store_piece_encode(p + r.offset, 99, 0);
				store_record_seal(p + r.offset, STORE_PIECE, r.len, h.seed, r.offset);
				made = true;
			}
			store_batch_seal(p + at, &b, h.seed, at);
		}
	}
	return made;
}

/* As where an index, or a snapshot, says that a piece of a body is a message: copied, it was taken for one. */
START_TEST(a_moved_message_is_a_piece)
{
	store_ref refs[MESSAGES + 1];

	store_define_queue(fake_box.store, store_new_queue(fake_box.store), (struct store_bytes){ "second", 6 });
	for (uint64_t i = 1; i <= MESSAGES; i++) {
		refs[i] = fake_box_put(i, 300);
		fake_box_work();
		if (i % 5 == 0)
			ck_assert_int_eq(store_move(fake_box.store, refs[i], 1, i, 2, i, 1, (struct store_bytes){ "note", 4 }), 0);
	}
	fake_box_work();
	for (uint64_t i = 5; i <= MESSAGES; i += 10)
		ck_assert(make_piece(i));
	for (uint64_t i = 1; i <= MESSAGES; i++)
		if (i % 5 != 0)
			store_done(fake_box.store, refs[i], 1, i);
	for (int i = 0; i < 30; i++)
		fake_box_work();
	ck_assert_uint_gt(fake_box.n_damaged, 0);
	ck_assert_uint_eq(store_synced(fake_box.store), store_ticket(fake_box.store));
	fake_box_close();
	fake_box_open();
	for (uint64_t i = 10; i <= MESSAGES; i += 10) {
		bool is_there = false;

		for (size_t f = 0; f < fake_box.n; f++)
			is_there = is_there || (fake_box.found[f].queue == 2 && fake_box.found[f].seq == i);
		ck_assert_msg(is_there, "message %lu is missing", i);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_damage");
	TCase *tc = tcase_create("store_damage");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, fake_box_setup, fake_box_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_file_is_missing, 1, 60);
	tcase_add_loop_test(tc, bytes_are_others, 0, 40);
	tcase_add_test(tc, a_moved_message_is_a_piece);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
