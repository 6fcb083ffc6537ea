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
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
