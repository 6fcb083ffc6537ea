#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../tools/disktest.h"

/* Files in the folder, . and .. not counted. */
static int
files_in(const char *folder)
{
	DIR *d = opendir(folder);
	int n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n - 2;
}

START_TEST(measures_and_leaves_nothing)
{
	static struct histogram h;
	char folder[] = "/tmp/cdtXXXXXX", why[200] = "";
	struct disktest t;
	uint64_t ns;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_msg(disktest_open(&t, folder, why) == 0, "%s", why);
	ck_assert_int_eq(files_in(folder), 0);
	ck_assert_int_eq(disktest_run(&t, 1000, 20000000, &h, &ns), 0);
	ck_assert_uint_ge(ns, 20000000);
	ck_assert_uint_gt(h.n, 0);
	ck_assert_uint_eq(t.at % DISKTEST_BLOCK, 0);
	ck_assert_uint_gt(t.at, 0);
	/* Round and round in the same file. */
	t.at = DISKTEST_FILE - DISKTEST_BLOCK;
	ck_assert_int_eq(disktest_run(&t, 3 * DISKTEST_BLOCK, 0, &h, &ns), 0);
	ck_assert_uint_eq(t.at, 3 * DISKTEST_BLOCK);
	disktest_close(&t);
	ck_assert_int_eq(files_in(folder), 0);
	ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(says_why_not)
{
	char why[200] = "";
	struct disktest t;

	ck_assert_int_eq(disktest_open(&t, "/nowhere/at/all", why), -ENOENT);
	ck_assert_str_eq(why, "/nowhere/at/all: No such file or directory");
	ck_assert_int_lt(disktest_open(&t, "/proc", why), 0);
}
END_TEST

START_TEST(judges)
{
	ck_assert_int_eq(disktest_judge(false, 100000), DISKTEST_OK);
	ck_assert_int_eq(disktest_judge(false, DISKTEST_LIE_NS), DISKTEST_OK);
	ck_assert_int_eq(disktest_judge(false, DISKTEST_LIE_NS - 1), DISKTEST_LIES);
	ck_assert_int_eq(disktest_judge(true, 500), DISKTEST_IN_MEMORY);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("disktest");
	TCase *tc = tcase_create("disktest");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, measures_and_leaves_nothing);
	tcase_add_test(tc, says_why_not);
	tcase_add_test(tc, judges);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
