/* Fingerprints as text, and back. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "pin.h"

START_TEST(both_ways)
{
	uint8_t pin[PIN_BYTES], back[PIN_BYTES];
	char text[PIN_TEXT_MAX];

	for (unsigned seed = 0; seed < 300; seed++) {
		for (unsigned i = 0; i < PIN_BYTES; i++)
			pin[i] = seed < 256 ? (uint8_t)seed : (uint8_t)(i * seed);
		ck_assert_ptr_eq(pin_text(pin, text), text);
		ck_assert_uint_eq(strlen(text), PIN_TEXT_MAX - 1);
		ck_assert_int_eq(pin_parse(text, back, NULL), 0);
		ck_assert_mem_eq(back, pin, PIN_BYTES);
	}
}
END_TEST

/* The SHA-256 of nothing, as openssl and base64 write it. */
START_TEST(as_others_write_it)
{
	static const uint8_t pin[PIN_BYTES] = { 0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9,
		0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55 };
	char text[PIN_TEXT_MAX];

	ck_assert_str_eq(pin_text(pin, text), "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
}
END_TEST

START_TEST(refused)
{
	static const char *const bad[] = { "", "sha256", "sha256:", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
		"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "sha1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
		"sha256: 7DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
		"sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU= ", "sha256:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=",
		"sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=", "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuF==",
		"sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFUA" };
	uint8_t pin[PIN_BYTES] = { 7 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const char *why = NULL;

		ck_assert_msg(pin_parse(bad[i], pin, &why) == -EINVAL, "%s", bad[i]);
		ck_assert_ptr_nonnull(why);
		ck_assert_int_eq(pin_parse(bad[i], pin, NULL), -EINVAL);
		ck_assert_uint_eq(pin[0], 7);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("pin");
	TCase *t = tcase_create("pin");
	SRunner *sr;
	int failed;

	tcase_add_test(t, both_ways);
	tcase_add_test(t, as_others_write_it);
	tcase_add_test(t, refused);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
