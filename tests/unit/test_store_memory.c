/*
 * The store without memory: each allocation fails once. Nothing that was
 * confirmed is lost, nothing that came back was done, and nothing crashes.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_box.h"
#include "fake_disk.h"
#include "fake_loop.h"
#include "no_memory.h"

#define MESSAGES 150
#define BODY 30000

/* ----------------------------------------------------------------- the work -- */

static struct known {
	store_ref ref;
	uint64_t put, done; /* tickets; 0: not */
	uint32_t queue;
	uint64_t seq;
	bool moved;
} known[MESSAGES + 1];

static unsigned n_read, n_begun;

static void
read_done(struct store_read *r, int error)
{
	n_read++;
	if (error == 0)
		free(r->memory);
}

static void
put_one(uint64_t i)
{
	static char data[BODY];
	struct known *k = &known[i];
	struct store_message m = { .queue = 1, .seq = i, .flow = 1, .number = i, .counter = i };
	struct store_body *b = NULL;

	m.parts[4] = (struct store_bytes){ data, i % 7 * 500 };
	if (i % 10 == 0) {
		b = store_body_new(fake_box.store);
		if (!b || store_body_append(b, data, BODY) < 0) {
			store_body_drop(b);
			return;
		}
		m.body = b;
		m.parts[4].data = NULL;
	}
	if (store_put(fake_box.store, &m, &k->ref) < 0) {
		store_body_drop(b);
		return;
	}
	k->put = store_ticket(fake_box.store);
	k->queue = 1;
	k->seq = i;
}

static void
take(struct known *k)
{
	store_done(fake_box.store, k->ref, k->queue, k->seq);
	k->done = store_ticket(fake_box.store);
}

static void
move_one(uint64_t i)
{
	struct known *k = &known[i];

	if (!k->put || k->done)
		return;
	if (store_move(fake_box.store, k->ref, k->queue, k->seq, 2, i, 1, (struct store_bytes){ "note", i % 2 ? 4 : 0 }) == 0) {
		k->queue = 2;
		k->moved = true;
	}
}

static void
some_work(void)
{
	static struct store_read reads[MESSAGES + 1];

	memset(known, 0, sizeof(known));
	n_read = n_begun = 0;
	store_define_queue(fake_box.store, store_new_queue(fake_box.store), (struct store_bytes){ "second", 6 });
	for (uint64_t i = 1; i <= MESSAGES; i++) {
		put_one(i);
		if (i % 4 == 0)
			fake_box_work();
		if (i % 9 == 0)
			move_one(i - 3);
		if (i % 5 > 0 && i > 20 && known[i - 20].put && !known[i - 20].done)
			take(&known[i - 20]);
		if (i % 11 == 0 && known[i - 4].put && !known[i - 4].done) {
			reads[i] = (struct store_read){ .done = read_done };
			n_begun += store_read(fake_box.store, known[i - 4].ref, &reads[i]) == 0;
		}
		store_mark(fake_box.store, 1, i);
		store_offered(fake_box.store, 1, i);
	}
	for (int i = 0; i < 30; i++)
		fake_box_work();
}

/* What was synced is there; what was done and synced is not. */
static void
check_found(uint64_t synced)
{
	unsigned seen[MESSAGES + 1] = { 0 };

	ck_assert_uint_eq(fake_box.n_damaged, 0);
	for (size_t f = 0; f < fake_box.n; f++)
		if (fake_box.found[f].counter <= MESSAGES)
			seen[fake_box.found[f].counter]++;
	for (uint64_t i = 1; i <= MESSAGES; i++) {
		const struct known *k = &known[i];
		bool is_known = k->put && k->put <= synced && !(k->done && k->done > synced);

		if (seen[i] > 1 || (is_known && seen[i] != (k->done ? 0 : 1)))
			ck_abort_msg("message %lu: put %lu, done %lu, synced %lu: %u", i, k->put, k->done, synced, seen[i]);
	}
}

START_TEST(while_it_works)
{
	uint64_t fenced = 0, n = 1 + (uint64_t)_i;
	bool failed;

	/* Each test takes every 20th allocation. */
	for (;; n += 20) {
		uint64_t synced;

		no_memory_in = n;
		some_work();
		failed = no_memory_in == 0;
		no_memory_in = 0;
		ck_assert_uint_eq(n_read, n_begun);
		synced = store_synced(fake_box.store);
		if (fake_box.state == STORE_FENCED)
			fenced++;
		else
			ck_assert_uint_eq(synced, store_ticket(fake_box.store));
		fake_box_close();
		fake_box_open();
		check_found(synced);
		fake_box_teardown();
		fake_box_setup();
		if (!failed)
			break;
	}
	ck_assert_uint_gt(n, 200);
}
END_TEST

/* Is a text in the journal? */
static bool
is_written(const char *text)
{
	char name[40];
	size_t len;

	for (unsigned i = 1; i < 10; i++) {
		snprintf(name, sizeof(name), "journal/%08u.journal", i);
		for (const uint8_t *p = fake_disk_data(name, &len); p && len > 0; p++, len--)
			if (len >= strlen(text) && memcmp(p, text, strlen(text)) == 0)
				return true;
	}
	return false;
}

/*
 * Moved and done before it is written, it is written all the same, and what it
 * pointed to is its owner's again: the store has a copy, or can go on no more.
 */
START_TEST(what_waits_is_let_go_of)
{
	static const char text[] = "a body that its owner lets go of";
	static const size_t large[] = { 0, 20000 };
	char note[] = "a note", *body = strdup(text);
	struct store_message m = fake_box_message(1, body, strlen(body));
	store_ref ref;

	if (large[_i / 2] > 0) {
		m.parts[STORE_PARTS - 1].data = NULL;
		m.body = store_body_new(fake_box.store);
		ck_assert_ptr_nonnull(m.body);
		for (size_t i = 0; i < large[_i / 2]; i += sizeof(note))
			ck_assert_int_eq(store_body_append(m.body, note, sizeof(note)), 0);
		m.parts[0] = (struct store_bytes){ body, strlen(body) };
	}
	ck_assert_int_eq(store_put(fake_box.store, &m, &ref), 0);
	ck_assert_int_eq(store_move(fake_box.store, ref, 1, 1, 1, 2, 0, (struct store_bytes){ note, sizeof(note) }), 0);
	no_memory_in = _i % 2;
	store_done(fake_box.store, ref, 1, 2);
	no_memory_in = 0;
	memset(body, 'x', strlen(body));
	free(body);
	fake_box_work();
	if (_i % 2) {
		ck_assert_int_eq(fake_box.state, STORE_FENCED);
		return;
	}
	ck_assert(fake_box_is_synced());
	ck_assert(is_written(text));
	fake_box_reopen();
	ck_assert_uint_eq(fake_box.n, 0);
	ck_assert_uint_eq(fake_box.n_damaged, 0);
}
END_TEST

START_TEST(while_it_starts)
{
	uint64_t n = 1, refused = 0;
	bool failed = true;

	some_work();
	for (; failed; n++) {
		int r;

		fake_box_close();
		no_memory_in = n;
		r = fake_box_try_open();
		failed = no_memory_in == 0;
		no_memory_in = 0;
		if (r < 0) {
			ck_assert_int_eq(r, -ENOMEM);
			ck_assert_str_ne(fake_box.why, "");
			refused++;
			fake_box_open();
		}
		check_found(UINT64_MAX - 1);
	}
	ck_assert_uint_gt(refused, 30);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_memory");
	TCase *tc = tcase_create("store_memory");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, fake_box_setup, fake_box_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, while_it_works, 0, 20);
	tcase_add_loop_test(tc, what_waits_is_let_go_of, 0, 4);
	tcase_add_test(tc, while_it_starts);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
