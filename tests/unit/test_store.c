#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "store_box.h"

static uint32_t
new_queue(const char *definition)
{
	uint32_t q = store_new_queue(box.store);

	ck_assert_int_eq(store_define_queue(box.store, q, (struct store_bytes){ definition, strlen(definition) }), 0);
	return q;
}

static uint32_t
new_flow(const char *definition)
{
	uint32_t f = store_new_flow(box.store);

	ck_assert_int_eq(store_define_flow(box.store, f, (struct store_bytes){ definition, strlen(definition) }), 0);
	return f;
}

START_TEST(empty_journal)
{
	for (int i = 0; i < 3; i++) {
		box_open();
		ck_assert_uint_eq(box.n_messages + box.n_queues + box.n_flows, 0);
		ck_assert_uint_eq(store_ticket(box.store), 0);
		box_settle();
		box_crash();
	}
	ck_assert_uint_eq(box.n_damaged, 0);
}
END_TEST

START_TEST(put_sync_read)
{
	store_ref refs[100];
	uint32_t q;

	box_open();
	q = new_queue("orders");
	for (uint64_t i = 0; i < 100; i++)
		refs[i] = box_put(q, i + 1, 0, 0, (size_t)i * 37);
	ck_assert_uint_eq(store_ticket(box.store), 101);
	ck_assert_uint_eq(store_synced(box.store), 0);
	box_wait(101);
	ck_assert_uint_eq(box.synced, 101);
	for (uint64_t i = 0; i < 100; i++)
		box_check(refs[i], i + 1, (size_t)i * 37);
	ck_assert_uint_eq(box.n_damaged, 0);
}
END_TEST

START_TEST(everything_comes_back)
{
	uint32_t q, q2, f;
	store_ref refs[50];
	struct store_found *m;

	box_open();
	q = new_queue("orders");
	q2 = new_queue("more");
	f = new_flow("a flow");
	for (uint64_t i = 0; i < 50; i++)
		refs[i] = box_put(i % 2 ? q : q2, i + 1, f, i + 100, 500);
	box_sync();
	store_done(box.store, refs[7], q, 8);
	store_offered(box.store, q, 20);
	store_mark(box.store, f, 200);
	box_close();
	for (int k = 0; k < 4; k++) {
		box_open();
		ck_assert_uint_eq(box.n_queues, 2);
		ck_assert_uint_eq(box.n_flows, 1);
		ck_assert_str_eq(box.queues[0].definition, "orders");
		ck_assert_uint_eq(box.queues[0].offered, 20);
		ck_assert_uint_eq(box.queues[0].last_seq, 50);
		ck_assert_str_eq(box.flows[0].definition, "a flow");
		ck_assert_uint_eq(box.flows[0].mark, 200);
		ck_assert_uint_eq(box.n_messages, 49);
		ck_assert_ptr_null(box_find(q, 8));
		for (uint64_t i = 0; i < 50; i++) {
			if (i == 7)
				continue;
			m = box_find(i % 2 ? q : q2, i + 1);
			ck_assert_ptr_nonnull(m);
			ck_assert_uint_eq(m->flow, f);
			ck_assert_uint_eq(m->number, i + 100);
			ck_assert_uint_eq(m->counter, (i + 1) * 10);
			ck_assert_uint_eq(m->priority, 4);
			ck_assert_uint_eq(m->flags, 1);
			ck_assert_uint_eq(m->bytes, 4 + 1 + (i + 1) % 7 + 4 + 500);
			box_check(m->ref, i + 1, 500);
		}
		ck_assert_uint_eq(store_new_queue(box.store), q2 + 1);
		ck_assert_uint_eq(box.n_damaged, 0);
		box_crash();
	}
}
END_TEST

/* What was never written leaves its mark and nothing else. */
START_TEST(taken_before_it_was_written)
{
	struct store_stats st;
	uint32_t q, f;
	uint64_t t;

	box_open();
	q = new_queue("q");
	f = new_flow("f");
	box_sync();
	t = store_ticket(box.store);
	store_done(box.store, box_put(q, 1, f, 7, 100000 % 20000), q, 1);
	ck_assert_uint_eq(store_ticket(box.store), t + 1);
	box_sync();
	store_stats(box.store, &st);
	ck_assert_uint_eq(st.messages, 0);
	ck_assert_uint_eq(st.live_bytes, 0);
	ck_assert_uint_lt(st.written_bytes, 3 * 4096 + 1);
	/* Without a flow nothing is written at all, and that is synced at once. */
	store_done(box.store, box_put(q, 2, 0, 0, 100), q, 2);
	box_sync();
	box_crash();
	box_open();
	ck_assert_uint_eq(box.n_messages, 0);
	ck_assert_uint_eq(box.flows[0].mark, 7);
}
END_TEST

START_TEST(moved_with_a_note)
{
	uint32_t q, dead;
	store_ref ref;
	struct store_read r;

	box_open();
	q = new_queue("q");
	dead = new_queue("q.dead");
	ref = box_put(q, 1, 0, 0, 300);
	box_put(q, 2, 0, 0, 300);
	box_sync();
	ck_assert_int_eq(store_move(box.store, ref, q, 1, dead, 5, 9, (struct store_bytes){ "expired", 7 }), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(box_read(ref, &r), 0);
		ck_assert_uint_eq(r.parts[STORE_NOTE].len, 7);
		ck_assert_mem_eq(r.parts[STORE_NOTE].data, "expired", 7);
		ck_assert_uint_eq(r.parts[4].len, 300);
		free(r.memory);
		box_close();
		box_open();
		ck_assert_uint_eq(box.n_messages, 2);
		ck_assert_ptr_null(box_find(q, 1));
		ck_assert_uint_eq(box_find(dead, 5)->flags, 9);
		ck_assert_uint_eq(box_find(dead, 5)->bytes, 4 + 1 + 1 + 7 + 300);
		ref = box_find(dead, 5)->ref;
	}
	/* Once more, without a note: that stays. And away. */
	ck_assert_int_eq(store_move(box.store, ref, dead, 5, q, 9, 1, (struct store_bytes){ NULL, 0 }), 0);
	box_close();
	box_open();
	ck_assert_int_eq(box_read(box_find(q, 9)->ref, &r), 0);
	ck_assert_uint_eq(r.parts[STORE_NOTE].len, 7);
	free(r.memory);
	store_done(box.store, box_find(q, 9)->ref, q, 9);
	box_close();
	box_open();
	ck_assert_uint_eq(box.n_messages, 1);
}
END_TEST

static void
put_large(uint32_t q, uint64_t seq, size_t len, store_ref *ret)
{
	struct store_message m = box_message(q, seq, 0, 0, len);
	struct store_body *b = store_body_new(box.store);
	const uint8_t *p = m.parts[4].data;

	ck_assert_ptr_nonnull(b);
	for (size_t at = 0; at < len; at += 3333)
		ck_assert_int_eq(store_body_append(b, p + at, len - at < 3333 ? len - at : 3333), 0);
	m.parts[4].data = NULL;
	m.body = b;
	ck_assert_int_eq(store_put(box.store, &m, ret), 0);
}

START_TEST(large_bodies)
{
	struct store_body *b;
	store_ref refs[3];
	struct store_stats st;
	uint32_t q;

	box_open();
	q = new_queue("q");
	for (uint64_t i = 0; i < 3; i++)
		put_large(q, i + 1, 100000 + i * 77777, &refs[i]);
	/* Given up half-way. */
	b = store_body_new(box.store);
	ck_assert_int_eq(store_body_append(b, refs, sizeof(refs)), 0);
	box_sync();
	ck_assert_int_eq(store_body_append(b, box.folder, sizeof(box.folder)), 0);
	store_body_drop(b);
	for (int k = 0; k < 2; k++) {
		for (uint64_t i = 0; i < 3; i++)
			box_check(refs[i], i + 1, 100000 + i * 77777);
		box_close();
		box_open();
		ck_assert_uint_eq(box.n_messages, 3);
		ck_assert_uint_eq(box.n_damaged, 0);
		for (uint64_t i = 0; i < 3; i++)
			refs[i] = box_find(q, i + 1)->ref;
	}
	for (uint64_t i = 0; i < 3; i++)
		store_done(box.store, refs[i], q, i + 1);
	box_sync();
	store_stats(box.store, &st);
	ck_assert_uint_eq(st.live_bytes, 0);
	/* Not written yet, and taken. */
	put_large(q, 10, 50000, &refs[0]);
	store_done(box.store, refs[0], q, 10);
	box_sync();
	store_stats(box.store, &st);
	ck_assert_uint_eq(st.live_bytes, 0);
	box_close();
	box_open();
	ck_assert_uint_eq(box.n_messages, 0);
}
END_TEST

/* Of a body in pieces only the first is read; of any other all. */
START_TEST(the_start_of_a_body)
{
	static const size_t lens[] = { 0, 300, 50000, 200000 };
	struct store_read r;
	uint32_t q;

	box_open();
	q = new_queue("q");
	for (uint64_t i = 0; i < 4; i++) {
		struct store_message m = box_message(q, i + 1, 0, 0, lens[i]);
		store_ref ref;

		if (lens[i] > 300)
			put_large(q, i + 1, lens[i], &ref);
		else
			ck_assert_int_eq(store_put(box.store, &m, &ref), 0);
		box_sync();
		ck_assert_int_eq(box_read_start(ref, &r), 0);
		ck_assert_uint_eq(r.last_len, lens[i]);
		ck_assert_uint_eq(r.parts[4].len, lens[i] < store_piece_max(box.store) ? lens[i] : store_piece_max(box.store));
		m = box_message(q, i + 1, 0, 0, lens[i]);
		ck_assert(r.parts[4].len == 0 || memcmp(r.parts[4].data, m.parts[4].data, r.parts[4].len) == 0);
		ck_assert_uint_eq(r.parts[0].len, m.parts[0].len);
		free(r.memory);
		box_check(ref, i + 1, lens[i]);
	}
}
END_TEST

START_TEST(too_large)
{
	static char large[STORE_PART_MAX + 1];
	struct store_message m = { .queue = 1, .seq = 1 };
	store_ref ref;

	box_open();
	m.parts[1] = (struct store_bytes){ large, STORE_PART_MAX + 1 };
	ck_assert_int_eq(store_put(box.store, &m, &ref), -EFBIG);
	m.parts[1].len = 10;
	m.parts[4] = (struct store_bytes){ box.messages, 1 << 20 };
	ck_assert_int_eq(store_put(box.store, &m, &ref), -EFBIG);
	ck_assert_int_eq(store_define_queue(box.store, 1, (struct store_bytes){ large, STORE_DEFINITION_MAX + 1 }), -EFBIG);
	ck_assert_uint_eq(store_ticket(box.store), 0);
	/* A group that does not fit a batch. */
	store_group_begin(box.store);
	m.parts[4].len = 20000;
	ck_assert_int_eq(store_put(box.store, &m, &ref), 0);
	m.seq = 2;
	ck_assert_int_eq(store_put(box.store, &m, &ref), -EFBIG);
	store_group_end(box.store);
	ck_assert_int_eq(store_put(box.store, &m, &ref), 0);
	box_sync();
}
END_TEST

static unsigned n_cancelled;

static void
cancelled(struct store_read *r, int error)
{
	(void)r;
	ck_assert_int_eq(error, -ECANCELED);
	n_cancelled++;
}

static void
never(struct store_read *r, int error)
{
	(void)r, (void)error;
	ck_abort_msg("told though it was cancelled");
}

START_TEST(reads_end)
{
	struct store_read r = { .done = cancelled }, r2 = { .done = never }, r3;
	store_ref ref;
	uint32_t q;

	box_open();
	q = new_queue("q");
	/* Before it was written a read waits for that. */
	ref = box_put(q, 1, 0, 0, 100);
	box_check(ref, 1, 100);
	n_cancelled = 0;
	ck_assert_int_eq(store_read(box.store, ref, &r), 0);
	ck_assert_int_eq(store_read(box.store, ref, &r2), 0);
	store_read_cancel(box.store, &r2);
	store_done(box.store, ref, q, 1);
	ck_assert_uint_eq(n_cancelled, 0);
	while (n_cancelled == 0)
		loop_step(box.loop, true);
	box_sync();
	/* A crash with a read under way. */
	ref = box_put(q, 2, 0, 0, 100);
	r3.done = never;
	ck_assert_int_eq(store_read(box.store, ref, &r3), 0);
	box_crash();
}
END_TEST

START_TEST(times_are_kept)
{
	struct store_message m;
	uint64_t now;
	store_ref ref;
	uint32_t q;

	box_open();
	q = new_queue("q");
	now = loop_now_ms(box.loop);
	m = box_message(q, 1, 0, 0, 10);
	m.expires_ms = now + 3600000;
	m.not_before_ms = now + 1800000;
	ck_assert_int_eq(store_put(box.store, &m, &ref), 0);
	m.seq = 2;
	m.expires_ms = now - 5;
	ck_assert_int_eq(store_put(box.store, &m, &ref), 0);
	box_close();
	box_open();
	now = loop_now_ms(box.loop);
	ck_assert_uint_le(box_find(q, 1)->expires_ms, now + 3600000);
	ck_assert_uint_ge(box_find(q, 1)->expires_ms, now + 3590000);
	ck_assert_uint_ge(box_find(q, 1)->not_before_ms, now + 1790000);
	ck_assert_uint_ne(box_find(q, 2)->expires_ms, 0);
	ck_assert_uint_le(box_find(q, 2)->expires_ms, now);
}
END_TEST

START_TEST(removed_with_its_messages)
{
	uint32_t q, f;

	box_open();
	q = new_queue("q");
	f = new_flow("f");
	new_queue("stays");
	box_sync();
	store_remove_queue(box.store, q);
	store_remove_flow(box.store, f);
	box_close();
	box_open();
	ck_assert_uint_eq(box.n_queues, 1);
	ck_assert_str_eq(box.queues[0].definition, "stays");
	ck_assert_uint_eq(box.n_flows, 0);
	ck_assert_uint_eq(store_new_queue(box.store), 3);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store");
	TCase *tc = tcase_create("store");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, box_setup, box_teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, empty_journal);
	tcase_add_test(tc, put_sync_read);
	tcase_add_test(tc, everything_comes_back);
	tcase_add_test(tc, taken_before_it_was_written);
	tcase_add_test(tc, moved_with_a_note);
	tcase_add_test(tc, large_bodies);
	tcase_add_test(tc, the_start_of_a_body);
	tcase_add_test(tc, too_large);
	tcase_add_test(tc, reads_end);
	tcase_add_test(tc, times_are_kept);
	tcase_add_test(tc, removed_with_its_messages);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
