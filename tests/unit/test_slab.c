/* slab: sizes, counting, reuse, and that a burst leaves nothing behind. */
#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "slab.h"

/* Every size gets memory of its own, all of it usable, and is counted by its class. */
START_TEST(all_sizes)
{
	struct slab s;
	size_t classes = 0, before = 0;

	slab_init(&s);
	for (size_t size = 0; size <= SLAB_LARGEST + 100; size++) {
		char *a = slab_alloc(&s, size), *b;
		size_t used = slab_used(&s);

		ck_assert_ptr_nonnull(a);
		b = slab_alloc(&s, size);
		ck_assert_ptr_nonnull(b);
		memset(a, 1, size);
		memset(b, 2, size);
		if (size > 0 && (a[0] != 1 || a[size - 1] != 1))
			ck_abort_msg("overlap at %zu", size);
		ck_assert_uint_eq((uintptr_t)a % 16, 0);
		ck_assert_uint_ge(used, size);
		if (size > 64)
			ck_assert_uint_le(used, size + size / 2);
		if (size <= SLAB_LARGEST && used != before)
			classes++;
		before = used;
		slab_free(&s, a, size);
		slab_free(&s, b, size);
		ck_assert_uint_eq(slab_used(&s), 0);
	}
	ck_assert_uint_eq(classes, SLAB_CLASSES);
	slab_free(&s, NULL, 10);
	slab_done(&s);
}
END_TEST

#if !SLAB_WATCHED /* which keeps nothing */
START_TEST(reuses)
{
	struct slab s;
	void *a, *b;

	slab_init(&s);
	a = slab_alloc(&s, 200);
	slab_free(&s, a, 200);
	b = slab_alloc(&s, 250); /* the same class */
	ck_assert_ptr_eq(a, b);
	ck_assert_uint_eq(s.cached, 0);
	slab_free(&s, b, 250);
	ck_assert_uint_eq(s.cached, 256);
	slab_done(&s);
}
END_TEST

START_TEST(keeps_only_so_much)
{
	enum { N = 3 * SLAB_CACHED_MAX / 4096 };
	static void *p[N];
	struct slab s;

	slab_init(&s);
	for (int i = 0; i < N; i++)
		p[i] = slab_alloc(&s, 4000);
	ck_assert_uint_eq(slab_used(&s), (size_t)N * 4096);
	for (int i = 0; i < N; i++)
		slab_free(&s, p[i], 4000);
	ck_assert_uint_eq(slab_used(&s), 0);
	ck_assert_uint_eq(s.cached, SLAB_CACHED_MAX);
	/* What is kept serves again. */
	for (int i = 0; i < 10; i++)
		p[i] = slab_alloc(&s, 4000);
	ck_assert_uint_eq(s.cached, SLAB_CACHED_MAX - 10 * 4096);
	for (int i = 0; i < 10; i++)
		slab_free(&s, p[i], 4000);
	slab_done(&s);
	ck_assert_uint_eq(s.cached, 0);
}
END_TEST
#endif

int
main(void)
{
	Suite *s = suite_create("slab");
	TCase *t = tcase_create("slab");
	SRunner *sr;
	int failed;

	tcase_add_test(t, all_sizes);
#if !SLAB_WATCHED /* which keeps nothing */
	tcase_add_test(t, reuses);
	tcase_add_test(t, keeps_only_so_much);
#endif
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
