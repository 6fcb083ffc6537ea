/* units: durations, sizes and times as text. */
#include "units.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct sample {
	const char *text;
	int result;
	uint64_t value;
};

static void
check_samples(int (*parse)(const char *, uint64_t *), const struct sample *samples, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t v = 4711;
		int r = parse(samples[i].text, &v);

		ck_assert_msg(r == samples[i].result, "'%s' gave %d", samples[i].text, r);
		/* Untouched on failure. */
		ck_assert_msg(v == (r < 0 ? 4711 : samples[i].value), "'%s' is %llu", samples[i].text, (unsigned long long)v);
	}
}

#define CHECK_SAMPLES(parse, samples) check_samples(parse, samples, sizeof(samples) / sizeof(*(samples)))

START_TEST(durations)
{
	static const struct sample samples[] = {
		{ "250ms", 0, 250 }, { "10s", 0, 10000 }, { "5m", 0, 300000 }, { "1h", 0, 3600000 }, { "7d", 0, 604800000 },
		{ "0", 0, 0 }, { "0s", 0, 0 }, { "9223372036854775807ms", 0, INT64_MAX }, { "106751991167d", 0, 9223372036828800000u },
		{ "9223372036854775808ms", -ERANGE, 0 }, { "106751991168d", -ERANGE, 0 },
		{ "99999999999999999999999s", -ERANGE, 0 }, { "99999999999999999999999x", -EINVAL, 0 },
		{ "", -EINVAL, 0 }, { "10", -EINVAL, 0 }, { "s", -EINVAL, 0 }, { "-1s", -EINVAL, 0 }, { "+1s", -EINVAL, 0 },
		{ " 1s", -EINVAL, 0 }, { "1s ", -EINVAL, 0 }, { "1 s", -EINVAL, 0 }, { "1.5s", -EINVAL, 0 }, { "1S", -EINVAL, 0 },
		{ "1h30m", -EINVAL, 0 }, { "00", -EINVAL, 0 }, { "1w", -EINVAL, 0 },
	};

	CHECK_SAMPLES(units_duration_parse, samples);
}
END_TEST

START_TEST(sizes)
{
	static const struct sample samples[] = {
		{ "4096", 0, 4096 }, { "64K", 0, 65536 }, { "16M", 0, 16777216 }, { "1G", 0, 1073741824 }, { "2T", 0, 2199023255552 },
		{ "0", 0, 0 }, { "18446744073709551615", 0, UINT64_MAX }, { "16777215T", 0, 18446742974197923840u },
		{ "18446744073709551616", -ERANGE, 0 }, { "16777216T", -ERANGE, 0 },
		{ "", -EINVAL, 0 }, { "K", -EINVAL, 0 }, { "1k", -EINVAL, 0 }, { "1KB", -EINVAL, 0 }, { "1 K", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 }, { "0x10", -EINVAL, 0 }, { "1e6", -EINVAL, 0 },
	};

	CHECK_SAMPLES(units_size_parse, samples);
}
END_TEST

START_TEST(counts)
{
	static const struct sample samples[] = {
		{ "1000", 0, 1000 }, { "10M", 0, 10000000 }, { "3K", 0, 3000 }, { "1G", 0, 1000000000 }, { "0", 0, 0 },
		{ "18446744073709551615", 0, UINT64_MAX }, { "18446744074G", -ERANGE, 0 }, { "1T", -EINVAL, 0 }, { "1m", -EINVAL, 0 },
	};

	CHECK_SAMPLES(units_count_parse, samples);
}
END_TEST

START_TEST(texts_are_short_and_exact)
{
	char buf[UNITS_TEXT_MAX];

	ck_assert_str_eq(units_duration_text(1500, buf), "1500ms");
	ck_assert_str_eq(units_duration_text(60000, buf), "1m");
	ck_assert_str_eq(units_duration_text(90000, buf), "90s");
	ck_assert_str_eq(units_duration_text(86400000, buf), "1d");
	ck_assert_str_eq(units_duration_text(0, buf), "0");
	ck_assert_str_eq(units_size_text(0, buf), "0");
	ck_assert_str_eq(units_size_text(1025, buf), "1025");
	ck_assert_str_eq(units_size_text(1536 << 10, buf), "1536K");
	ck_assert_str_eq(units_size_text(UINT64_C(1) << 42, buf), "4T");
	ck_assert_str_eq(units_count_text(1000000, buf), "1M");
	ck_assert_str_eq(units_count_text(1024, buf), "1024");
}
END_TEST

START_TEST(texts_read_back)
{
	static const uint64_t values[] = { 0, 1, 999, 1000, 1024, 65535, 65536, 86400000, 123456789, 1000000000, INT64_MAX };
	char buf[UNITS_TEXT_MAX];

	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		uint64_t v;

		ck_assert_int_eq(units_duration_parse(units_duration_text(values[i], buf), &v), 0);
		ck_assert_uint_eq(v, values[i]);
		ck_assert_int_eq(units_size_parse(units_size_text(values[i], buf), &v), 0);
		ck_assert_uint_eq(v, values[i]);
		ck_assert_int_eq(units_count_parse(units_count_text(values[i], buf), &v), 0);
		ck_assert_uint_eq(v, values[i]);
	}
}
END_TEST

START_TEST(for_people)
{
	char buf[UNITS_TEXT_MAX];

	ck_assert_str_eq(units_duration_human(0, buf), "0 ms");
	ck_assert_str_eq(units_duration_human(999, buf), "999 ms");
	ck_assert_str_eq(units_duration_human(3250, buf), "3.2 s");
	ck_assert_str_eq(units_duration_human(59999, buf), "59.9 s");
	ck_assert_str_eq(units_duration_human(125000, buf), "2 min 5 s");
	ck_assert_str_eq(units_duration_human(120999, buf), "2 min");
	ck_assert_str_eq(units_duration_human(3600000 * 3 + 60000 * 7, buf), "3 h 7 min");
	ck_assert_str_eq(units_duration_human(86400000u * 2, buf), "2 d");
	ck_assert_str_eq(units_size_human(1023, buf), "1023 B");
	ck_assert_str_eq(units_size_human(1024, buf), "1.0 KiB");
	ck_assert_str_eq(units_size_human(1024 * 1024 - 1, buf), "1023.9 KiB");
	ck_assert_str_eq(units_size_human(4300000, buf), "4.1 MiB");
	ck_assert_str_eq(units_size_human(UINT64_MAX, buf), "15.9 EiB");
}
END_TEST

START_TEST(times)
{
	char buf[UNITS_TEXT_MAX];

	ck_assert_str_eq(units_time_text(0, buf), "1970-01-01T00:00:00.000Z");
	ck_assert_str_eq(units_time_text(951782400000, buf), "2000-02-29T00:00:00.000Z");
	ck_assert_str_eq(units_time_text(951868799999, buf), "2000-02-29T23:59:59.999Z");
	ck_assert_str_eq(units_time_text(951868800000, buf), "2000-03-01T00:00:00.000Z");
	ck_assert_str_eq(units_time_text(1795515330250, buf), "2026-11-24T10:15:30.250Z");
	ck_assert_str_eq(units_time_text(4107542400000, buf), "2100-03-01T00:00:00.000Z");
	ck_assert_str_eq(units_time_text(253402300799999, buf), "9999-12-31T23:59:59.999Z");
	ck_assert_str_eq(units_time_text(UINT64_MAX, buf), "9999-12-31T23:59:59.999Z");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("units");
	TCase *t = tcase_create("units");
	SRunner *r;
	int failed;

	tcase_add_test(t, durations);
	tcase_add_test(t, sizes);
	tcase_add_test(t, counts);
	tcase_add_test(t, texts_are_short_and_exact);
	tcase_add_test(t, texts_read_back);
	tcase_add_test(t, for_people);
	tcase_add_test(t, times);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
