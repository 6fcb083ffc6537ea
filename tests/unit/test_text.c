/* text, input, histogram: the tool's small parts. */
#include <check.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../tools/histogram.h"
#include "../../tools/input.h"
#include "../../tools/text.h"

START_TEST(utf8)
{
	static const char *good[] = { "", "abc", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf" };
	static const char *bad[] = { "\x80", "\xc3", "\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
		"\xf8\x88\x80\x80\x80", "a\xff", "\xe2\x82" };

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ck_assert_msg(text_utf8_ok(good[i], strlen(good[i])), "good %zu", i);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!text_utf8_ok(bad[i], strlen(bad[i])), "bad %zu", i);
	ck_assert(text_utf8_ok("a\0b", 3));
}
END_TEST

START_TEST(wrap_unwrap)
{
	static const size_t lens[] = { 0, 1, 127, 128, 16384, 100000 };
	const void *value;
	size_t len;

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		uint8_t *buf = calloc(1, lens[i] + TEXT_WRAP_MAX + 1);
		size_t n = text_wrap(lens[i], buf);

		memset(buf + n, 'x', lens[i]);
		ck_assert(text_unwrap(buf, n + lens[i], &value, &len));
		ck_assert_uint_eq(len, lens[i]);
		ck_assert(len == 0 || value == buf + n);
		ck_assert(lens[i] == 0 || !text_unwrap(buf, n + lens[i] - 1, &value, &len));
		free(buf);
	}
	/* Unknown fields are skipped, the last value wins. */
	ck_assert(text_unwrap("\x10\x05\x0a\x01" "a\x0a\x01" "b\x1d....\x21........", 22, &value, &len));
	ck_assert_mem_eq(value, "b", 1);
	ck_assert(!text_unwrap("\x0b\x0c", 2, &value, &len));
	ck_assert(!text_unwrap("\x02\x00", 2, &value, &len));
	ck_assert(!text_unwrap("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, &value, &len));
}
END_TEST

static void
lines_of(const char *const *expected, size_t n, const char *bytes, size_t len)
{
	const uint8_t *line;
	size_t line_len, i = 0;
	struct input in;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	input_init(&in, fds[0]);
	/* Byte by byte: a line is there as soon as its newline is. */
	for (size_t k = 0; k < len; k++) {
		ck_assert_int_eq(write(fds[1], bytes + k, 1), 1);
		ck_assert_int_eq(input_read(&in), 1);
		if (!input_line(&in, &line, &line_len))
			continue;
		ck_assert_int_eq(bytes[k], '\n');
		ck_assert_uint_eq(line_len, strlen(expected[i]));
		ck_assert(memcmp(line, expected[i], line_len) == 0);
		i++;
	}
	close(fds[1]);
	ck_assert_int_eq(input_read(&in), 0);
	while (input_line(&in, &line, &line_len)) {
		ck_assert_uint_lt(i, n);
		ck_assert_uint_eq(line_len, strlen(expected[i]));
		ck_assert(memcmp(line, expected[i], line_len) == 0);
		i++;
	}
	ck_assert_uint_eq(i, n);
	ck_assert_uint_eq(in.lines, n);
	input_done(&in);
	close(fds[0]);
}

static void __attribute__((format(printf, 2, 3)))
tell(FILE *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	text_safe_format(f, fmt, ap);
	va_end(ap);
}

/* A reason that a daemon gave, shown on a terminal. */
START_TEST(nothing_steers_a_terminal)
{
	char *shown;
	size_t len;
	FILE *f = open_memstream(&shown, &len);

	ck_assert_ptr_nonnull(f);
	tell(f, "%s: %s|%s|%s", "refused", "\033[2J\r\n\x7f", "\xc2\x9bm\xff\xc3", "\xc3\xa4\xe2\x80\xae\xe2\x81\xa6\xe2\x80\xa7");
	fclose(f);
	ck_assert_str_eq(shown, "refused: ?[2J???|?m??|\xc3\xa4??\xe2\x80\xa7");
	free(shown);
}
END_TEST

START_TEST(lines)
{
	lines_of((const char *[]){ "a", "", "bc", "d" }, 4, "a\n\nbc\nd", 7);
	lines_of((const char *[]){ "a" }, 1, "a\n", 2);
	lines_of(NULL, 0, "", 0);
}
END_TEST

START_TEST(many_lines_in_one_read)
{
	const uint8_t *line;
	struct input in;
	size_t len, n = 0;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(write(fds[1], "1\n2\n3\n4", 7), 7);
	input_init(&in, fds[0]);
	ck_assert_int_eq(input_read(&in), 1);
	while (input_line(&in, &line, &len))
		ck_assert_int_eq(line[0], '1' + (int)n++);
	ck_assert_uint_eq(n, 3);
	input_done(&in);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(percentiles)
{
	struct histogram *h = calloc(1, sizeof(*h));

	ck_assert_uint_eq(histogram_at(h, 500), 0);
	for (uint64_t v = 1; v <= 100000; v++)
		histogram_add(h, v * 1000);
	for (unsigned permille = 1; permille <= 1000; permille += 37) {
		double want = permille * 100000.0, got = (double)histogram_at(h, permille);

		ck_assert_msg(got >= want && got <= want * 1.01, "%u: %f for %f", permille, got, want);
	}
	ck_assert_uint_eq(histogram_at(h, 1000), 100000000);
	histogram_add(h, UINT64_MAX);
	histogram_add(h, 0);
	ck_assert_uint_eq(histogram_at(h, 1000), UINT64_MAX);
	free(h);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("text");
	TCase *t = tcase_create("text");
	SRunner *sr;
	int failed;

	tcase_add_test(t, utf8);
	tcase_add_test(t, wrap_unwrap);
	tcase_add_test(t, nothing_steers_a_terminal);
	tcase_add_test(t, lines);
	tcase_add_test(t, many_lines_in_one_read);
	tcase_add_test(t, percentiles);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
