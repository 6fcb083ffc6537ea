/* log: what a line looks like, and that nobody else's bytes can forge one. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

static char last[2048];
static enum log_level last_level;
static int n_lines;

static void
sink(void *arg, enum log_level level, const char *line)
{
	ck_assert_ptr_eq(arg, last);
	snprintf(last, sizeof(last), "%s", line);
	last_level = level;
	n_lines++;
}

static struct log
sunk(void)
{
	struct log lg;

	log_init(&lg);
	lg.sink = sink;
	lg.sink_arg = last;
	return lg;
}

START_TEST(levels)
{
	struct log lg = sunk();
	enum log_level level = LOG_ERROR;

	log_debug(&lg, NULL, "no");
	ck_assert_int_eq(n_lines, 0);
	log_info(&lg, NULL, "number %d", 7);
	ck_assert_str_eq(last, "number 7");
	ck_assert_int_eq(last_level, LOG_INFO);
	lg.level = LOG_WARNING;
	log_info(&lg, NULL, "no");
	ck_assert_int_eq(n_lines, 1);
	log_warning(&lg, "peer berlin", "handshake failed: %s", "expired");
	ck_assert_str_eq(last, "peer berlin: handshake failed: expired");
	log_error(&lg, NULL, "yes");
	ck_assert_int_eq(n_lines, 3);
	ck_assert_int_eq(log_level_parse("debug", &level), 0);
	ck_assert_int_eq(level, LOG_DEBUG);
	lg.level = level;
	log_debug(&lg, NULL, "yes");
	ck_assert_int_eq(n_lines, 4);
	ck_assert_int_eq(log_level_parse("Debug", &level), -EINVAL);
	ck_assert_int_eq(log_level_parse("", &level), -EINVAL);
	ck_assert_int_eq(level, LOG_DEBUG);
	for (int i = 0; i < 8; i++)
		if (log_level_parse(log_level_name((enum log_level)i), &level) == 0)
			ck_assert_int_eq(level, i);
}
END_TEST

START_TEST(nothing_can_be_forged)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "a\nb\r\tc\x1b[31m\x7f", "a?b??c?[31m?" },
		{ "Z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x98\x80", "Z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "\xc3", "?" },                     /* cut off */
		{ "\xc3(", "?(" },                   /* no continuation */
		{ "\x80\xbf", "??" },                /* only continuation */
		{ "\xc0\x8a", "??" },                /* a newline, too long */
		{ "\xe0\x80\x8a", "???" },           /* and longer */
		{ "\xc2\x85", "??" },                /* a control character: next line */
		{ "\xed\xa0\x80", "???" },           /* a surrogate */
		{ "\xe2\x80\xa8", "???" },           /* line separator */
		{ "\xe2\x80\xae", "???" },           /* turns the line around */
		{ "\xf4\x90\x80\x80\xff", "?????" }, /* beyond Unicode */
	};
	struct log lg = sunk();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		log_info(&lg, cases[i].in, "%s", cases[i].in);
		ck_assert_uint_eq(strlen(last), 2 * strlen(cases[i].out) + 2);
		ck_assert_str_eq(last + strlen(cases[i].out) + 2, cases[i].out);
		ck_assert_int_eq(strncmp(last, cases[i].out, strlen(cases[i].out)), 0);
	}
}
END_TEST

START_TEST(so_many_a_minute)
{
	struct log_window w = { 0 };
	uint64_t untold;

	for (unsigned i = 0; i < 2 * LOG_LIMIT_MAX; i++) {
		ck_assert_int_eq(log_window_open(&w, 1000 + i, &untold), i < LOG_LIMIT_MAX);
		ck_assert_uint_eq(untold, 0);
	}
	ck_assert(!log_window_open(&w, 60999, &untold));
	ck_assert(log_window_open(&w, 61000, &untold));
	ck_assert_uint_eq(untold, LOG_LIMIT_MAX + 1);
	ck_assert(log_window_open(&w, 61001, &untold));
	ck_assert_uint_eq(untold, 0);
}
END_TEST

START_TEST(long_lines_are_cut)
{
	struct log lg = sunk();
	char longer[3000];

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	log_info(&lg, longer, "end");
	ck_assert_str_eq(last + strlen(last) - 5, ": end");
	log_info(&lg, "peer", "%s", longer);
	ck_assert_uint_lt(strlen(last), 1100);
	ck_assert_str_eq(last + strlen(last) - 4, "x...");
}
END_TEST

/* What reaches standard error, and whether the journal is recognised. */
static void
capture(bool journal, char *buf, size_t size)
{
	char path[] = "/tmp/log.XXXXXX", stream[64];
	int fd = mkstemp(path), before = dup(STDERR_FILENO);
	struct stat st;
	struct log lg;
	ssize_t n;

	ck_assert_int_ge(fd, 0);
	unlink(path);
	ck_assert_int_eq(fstat(fd, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
	    (unsigned long long)st.st_ino + !journal);
	setenv("JOURNAL_STREAM", stream, 1);
	dup2(fd, STDERR_FILENO);
	log_init(&lg);
	lg.node = "paris";
	log_warning(&lg, "peer berlin", "down");
	dup2(before, STDERR_FILENO);
	unsetenv("JOURNAL_STREAM");
	ck_assert_int_eq(lg.journal, journal);
	n = pread(fd, buf, size - 1, 0);
	ck_assert_int_gt(n, 0);
	buf[n] = '\0';
	close(fd);
	close(before);
}

START_TEST(standard_error)
{
	char buf[200];

	capture(true, buf, sizeof(buf));
	ck_assert_str_eq(buf, "<4>peer berlin: down\n");
	capture(false, buf, sizeof(buf));
	ck_assert_ptr_nonnull(strchr(buf, 'Z'));
	ck_assert_int_eq(buf[4], '-');
	ck_assert_str_eq(strchr(buf, 'Z'), "Z warning paris: peer berlin: down\n");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("log");
	TCase *t = tcase_create("log");
	SRunner *sr;
	int failed;

	tcase_add_test(t, levels);
	tcase_add_test(t, nothing_can_be_forged);
	tcase_add_test(t, so_many_a_minute);
	tcase_add_test(t, long_lines_are_cut);
	tcase_add_test(t, standard_error);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
