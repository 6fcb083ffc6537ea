/* hmap: the intrusive hash table. */
#include "hmap.h"

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct thing {
	struct hmap_node node;
	unsigned number;
	bool seen;
};

static struct thing *
find(const struct hmap *m, unsigned number, uint64_t hash)
{
	for (struct hmap_node *n = hmap_find(m, hash); n; n = hmap_find_next(n)) {
		struct thing *t = hmap_entry(n, struct thing, node);

		if (t->number == number)
			return t;
	}
	return NULL;
}

START_TEST(empty_table_finds_nothing)
{
	struct hmap m;

	hmap_init(&m);
	ck_assert_ptr_null(hmap_find(&m, 0));
	ck_assert_ptr_null(hmap_walk(&m, NULL));
	hmap_done(&m);
}
END_TEST

START_TEST(reserved_tables_have_room)
{
	struct thing t = { .number = 1 };
	struct hmap m;
	size_t buckets;

	hmap_init(&m);
	ck_assert_int_eq(hmap_reserve(&m), 0);
	buckets = m.n_buckets;
	ck_assert_uint_gt(buckets, 0);
	ck_assert_int_eq(hmap_add(&m, &t.node, 1), 0);
	ck_assert_int_eq(hmap_reserve(&m), 0);
	hmap_remove(&m, &t.node);
	ck_assert_int_eq(hmap_reserve(&m), 0);
	ck_assert_uint_eq(m.n_buckets, buckets);
	hmap_done(&m);
}
END_TEST

START_TEST(add_find_walk_remove)
{
	enum { N = 1000 };
	static struct thing things[N];
	struct hmap m;
	size_t walked = 0;

	hmap_init(&m);
	for (unsigned i = 0; i < N; i++) {
		things[i].number = i;
		ck_assert_int_eq(hmap_add(&m, &things[i].node, hmap_hash_number(i)), 0);
	}
	ck_assert_uint_eq(m.n, N);
	ck_assert_uint_ge(m.n_buckets, N);
	for (unsigned i = 0; i < N; i++)
		ck_assert_ptr_eq(find(&m, i, hmap_hash_number(i)), &things[i]);
	ck_assert_ptr_null(find(&m, N, hmap_hash_number(N)));

	for (struct hmap_node *n = hmap_walk(&m, NULL); n; n = hmap_walk(&m, n)) {
		struct thing *t = hmap_entry(n, struct thing, node);

		ck_assert(!t->seen);
		t->seen = true;
		walked++;
	}
	ck_assert_uint_eq(walked, N);

	for (unsigned i = 0; i < N; i += 2)
		hmap_remove(&m, &things[i].node);
	ck_assert_uint_eq(m.n, N / 2);
	for (unsigned i = 0; i < N; i++)
		ck_assert_ptr_eq(find(&m, i, hmap_hash_number(i)), i % 2 ? &things[i] : NULL);
	for (unsigned i = 1; i < N; i += 2)
		hmap_remove(&m, &things[i].node);
	ck_assert_ptr_null(hmap_walk(&m, NULL));
	hmap_done(&m);
}
END_TEST

/* Equal hashes share a chain with others; find_next must yield exactly them. */
START_TEST(equal_hashes)
{
	struct thing a = { .number = 1 }, b = { .number = 2 }, other = { .number = 3 };
	struct hmap m;
	struct hmap_node *n;

	hmap_init(&m);
	ck_assert_int_eq(hmap_add(&m, &a.node, 5), 0);
	ck_assert_int_eq(hmap_add(&m, &other.node, 5 + (UINT64_C(1) << 40)), 0);
	ck_assert_int_eq(hmap_add(&m, &b.node, 5), 0);
	ck_assert_ptr_eq(find(&m, 1, 5), &a);
	ck_assert_ptr_eq(find(&m, 2, 5), &b);
	ck_assert_ptr_null(find(&m, 3, 5));
	n = hmap_find_next(hmap_find(&m, 5));
	ck_assert_ptr_nonnull(n);
	ck_assert_ptr_null(hmap_find_next(n));
	hmap_remove(&m, &a.node);
	ck_assert_ptr_null(find(&m, 1, 5));
	ck_assert_ptr_eq(find(&m, 2, 5), &b);
	hmap_done(&m);
}
END_TEST

START_TEST(hash_depends_on_every_byte_and_the_seed)
{
	char buf[40];
	uint64_t hashes[2 * sizeof(buf)];
	size_t n = 0;

	memset(buf, 0, sizeof(buf));
	/* Zeros of every length, and one bit set at every place. */
	for (size_t i = 0; i < sizeof(buf); i++)
		hashes[n++] = hmap_hash(buf, i, 7);
	for (size_t i = 0; i < sizeof(buf); i++) {
		buf[i] = 1;
		hashes[n++] = hmap_hash(buf, sizeof(buf), 7);
		buf[i] = 0;
	}
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++)
			ck_assert_uint_ne(hashes[i], hashes[j]);
	ck_assert_uint_ne(hmap_hash("orders", 6, 1), hmap_hash("orders", 6, 2));
	ck_assert_uint_eq(hmap_hash("orders", 6, 1), hmap_hash("orders", 6, 1));
}
END_TEST

/* Similar names must not end up in few buckets. */
START_TEST(hash_spreads_over_buckets)
{
	unsigned used[256] = { 0 }, most = 0;
	char name[16];

	for (int i = 0; i < 2560; i++) {
		int len = snprintf(name, sizeof(name), "queue%d", i);
		unsigned *u = &used[hmap_hash(name, (size_t)len, 0) & 255];

		if (++*u > most)
			most = *u;
	}
	ck_assert_uint_lt(most, 30);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("hmap");
	TCase *t = tcase_create("hmap");
	SRunner *r;
	int failed;

	tcase_add_test(t, empty_table_finds_nothing);
	tcase_add_test(t, reserved_tables_have_room);
	tcase_add_test(t, add_find_walk_remove);
	tcase_add_test(t, equal_hashes);
	tcase_add_test(t, hash_depends_on_every_byte_and_the_seed);
	tcase_add_test(t, hash_spreads_over_buckets);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
