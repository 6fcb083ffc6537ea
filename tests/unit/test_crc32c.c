/* crc32c: the CPU's instruction against the table of the SCTP library, which stands in where there is none. */
#include "crc32c.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <usrsctp.h>

START_TEST(known)
{
	/* RFC 3720, appendix B.4. */
	uint8_t zeros[32] = { 0 }, ones[32], rising[32];

	memset(ones, 0xff, sizeof(ones));
	for (int i = 0; i < 32; i++)
		rising[i] = (uint8_t)i;
	ck_assert_uint_eq(usrsctp_crc32c(zeros, 32), 0x8a9136aa);
	ck_assert_uint_eq(usrsctp_crc32c(ones, 32), 0x62a8ab43);
	ck_assert_uint_eq(usrsctp_crc32c(rising, 32), 0x46dd794e);
	if (!crc32c_has_instruction())
		return;
	ck_assert_uint_eq(crc32c_by_instruction(zeros, 32), 0x8a9136aa);
	ck_assert_uint_eq(crc32c_by_instruction(ones, 32), 0x62a8ab43);
	ck_assert_uint_eq(crc32c_by_instruction(rising, 32), 0x46dd794e);
}
END_TEST

/* Of any length, from any place. */
START_TEST(the_same)
{
	uint8_t data[300];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)rand();
	for (size_t at = 0; at < 9; at++)
		for (size_t len = 0; at + len <= sizeof(data) && crc32c_has_instruction(); len++)
			ck_assert_uint_eq(crc32c_by_instruction(data + at, len), usrsctp_crc32c(data + at, len));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("crc32c");
	TCase *t = tcase_create("crc32c");
	SRunner *sr;
	int failed;

	tcase_add_test(t, known);
	tcase_add_test(t, the_same);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
