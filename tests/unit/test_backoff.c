/* backoff: doubles, jitters, forgets only what stayed up. */
#include <check.h>

#include "backoff.h"

START_TEST(doubles_to_the_maximum)
{
	static const uint64_t ceilings[] = { 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000 };
	struct backoff b;

	backoff_init(&b, 100, 30000);
	for (unsigned i = 0; i < sizeof(ceilings) / sizeof(ceilings[0]); i++) {
		struct backoff low = b, high = b;

		/* Both ends of the range are reached and not passed. */
		ck_assert_uint_eq(backoff_next(&low, 0), 50);
		ck_assert_uint_eq(backoff_next(&high, ceilings[i] - 50), ceilings[i]);
		for (uint64_t r = 1; r != 0; r <<= 1) {
			struct backoff c = b;
			uint64_t ms = backoff_next(&c, r * 0x9e3779b97f4a7c15u);

			ck_assert_uint_ge(ms, 50);
			ck_assert_uint_le(ms, ceilings[i]);
		}
		b = low;
	}
}
END_TEST

START_TEST(forgets_only_what_stayed_up)
{
	struct backoff b;

	backoff_init(&b, 100, 30000);
	for (int i = 0; i < 5; i++)
		backoff_next(&b, 1);
	ck_assert_uint_eq(b.ceiling_ms, 3200);
	backoff_up(&b, 5000);
	backoff_down(&b, 5000 + BACKOFF_STABLE_MS - 1);
	ck_assert_uint_eq(b.ceiling_ms, 3200);
	/* Down without having been up, long after. */
	backoff_down(&b, 1000000);
	ck_assert_uint_eq(b.ceiling_ms, 3200);
	backoff_up(&b, 1000000);
	ck_assert_uint_eq(b.ceiling_ms, 3200);
	backoff_down(&b, 1000000 + BACKOFF_STABLE_MS);
	ck_assert_uint_eq(b.ceiling_ms, 100);
	backoff_next(&b, 1);
	backoff_reset(&b);
	ck_assert_uint_eq(b.ceiling_ms, 100);
}
END_TEST

START_TEST(strange_bounds)
{
	struct backoff b;

	backoff_init(&b, 0, 0);
	for (int i = 0; i < 5; i++)
		ck_assert_uint_eq(backoff_next(&b, 12345), 0);
	backoff_init(&b, 500, 100);
	for (int i = 0; i < 5; i++)
		ck_assert_uint_le(backoff_next(&b, UINT64_MAX), 500);
	backoff_init(&b, 1, UINT64_MAX);
	for (int i = 0; i < 100; i++)
		backoff_next(&b, 0);
	ck_assert_uint_eq(b.ceiling_ms, UINT64_MAX);
	ck_assert_uint_eq(backoff_next(&b, 7), 7);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("backoff");
	TCase *t = tcase_create("backoff");
	SRunner *sr;
	int failed;

	tcase_add_test(t, doubles_to_the_maximum);
	tcase_add_test(t, forgets_only_what_stayed_up);
	tcase_add_test(t, strange_bounds);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
