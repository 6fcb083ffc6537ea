/* frame: edges of length-delimited messages. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"

START_TEST(round_trip)
{
	static const uint32_t lens[] = { 0, 1, 127, 128, 300, 16383, 16384, 131072 };

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		uint8_t *buf = calloc(1, lens[i] + FRAME_HEADER_MAX);
		size_t h = frame_header(buf, lens[i]);
		struct frame f;

		/* Every shorter prefix asks for more and leaves *ret alone. */
		for (size_t n = 0; n < h + lens[i]; n += n < h + 2 ? 1 : 4097)
			ck_assert_int_eq(frame_decode(buf, n, 1 << 20, &f), 0);
		ck_assert_int_eq(frame_decode(buf, h + lens[i] + 0, 1 << 20, &f), 1);
		ck_assert_ptr_eq(f.data, buf + h);
		ck_assert_uint_eq(f.len, lens[i]);
		ck_assert_uint_eq(f.used, h + lens[i]);
		free(buf);
	}
}
END_TEST

START_TEST(bad_headers)
{
	struct frame f = { NULL, 7, 7 };

	ck_assert_int_eq(frame_decode((const uint8_t *)"\x80\x00", 2, 100, &f), -EBADMSG); /* not minimal */
	ck_assert_int_eq(frame_decode((const uint8_t *)"\x81\x80\x00", 3, 100, &f), -EBADMSG);
	ck_assert_int_eq(frame_decode((const uint8_t *)"\xff\xff\xff\xff\xff", 5, 100, &f), -EBADMSG);
	ck_assert_int_eq(frame_decode((const uint8_t *)"\xff\xff\xff\xff\x7f", 5, 100, &f), -EBADMSG); /* > 32 bits */
	ck_assert_uint_eq(f.len, 7);
}
END_TEST

START_TEST(claim_is_judged_before_its_bytes)
{
	struct frame f;

	ck_assert_int_eq(frame_decode((const uint8_t *)"\x65", 1, 100, &f), -EMSGSIZE);
	ck_assert_int_eq(frame_decode((const uint8_t *)"\x64", 1, 100, &f), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("frame");
	TCase *t = tcase_create("frame");
	SRunner *sr;
	int failed;

	tcase_add_test(t, round_trip);
	tcase_add_test(t, bad_headers);
	tcase_add_test(t, claim_is_judged_before_its_bytes);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
