/* disk: files below one folder, whatever lies in their place. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"

static char base[32], state[64];
static struct disk *d;

static void
setup(void)
{
	strcpy(base, "/tmp/disk.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(base));
	snprintf(state, sizeof(state), "%s/state", base);
	ck_assert_int_eq(disk_open(state, true, &d), 0);
}

static void
teardown(void)
{
	char command[64];

	disk_close(d);
	snprintf(command, sizeof(command), "rm -r %s", base);
	ck_assert_int_eq(system(command), 0);
}

/* The full path of a file in the state folder. */
static const char *
in_state(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", state, name);
	return path;
}

static void
put(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(allocated_blocks_read_as_zero)
{
	struct disk_file *f;
	char buf[16] = "x";

	ck_assert_int_eq(disk_file_open(d, "a", true, &f), 0);
	ck_assert_int_eq(disk_pwrite(f, "abc", 3, 0), 3);
	ck_assert_int_eq(disk_allocate(f, 8192), 0);
	ck_assert_int_eq(disk_file_size(f), 8192);
	ck_assert_int_eq(disk_pread(f, buf, 6, 0), 6);
	ck_assert_mem_eq(buf, "abc\0\0\0", 6);
	ck_assert_int_eq(disk_allocate(f, 4096), 0);
	ck_assert_int_eq(disk_file_size(f), 8192);
	disk_file_close(f);
}
END_TEST

START_TEST(rename_replaces)
{
	char *text;

	put(in_state("a"), "one");
	put(in_state("b"), "two");
	ck_assert_int_eq(disk_rename(d, "a", "b"), 0);
	ck_assert_int_eq(disk_slurp(d, "b", 10, &text), 3);
	ck_assert_str_eq(text, "one");
	free(text);
	ck_assert_int_eq(disk_rename(d, "a", "b"), -ENOENT);
	ck_assert_int_eq(disk_rename(d, "b", "../b"), -EINVAL);
	ck_assert(!disk_is_remote(d));
}
END_TEST

START_TEST(folder_is_made_private)
{
	struct stat st;
	struct disk *e = NULL;
	char path[128];

	ck_assert_int_eq(stat(state, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0700);
	snprintf(path, sizeof(path), "%s/other", base);
	ck_assert_int_eq(disk_open(path, false, &e), -ENOENT);
	snprintf(path, sizeof(path), "%s/a/b", base);
	ck_assert_int_eq(disk_open(path, true, &e), -ENOENT);
	ck_assert_ptr_null(e);
	/* Again, also with slashes. */
	snprintf(path, sizeof(path), "%s//", state);
	ck_assert_int_eq(disk_open(path, true, &e), 0);
	disk_close(e);
	disk_close(NULL);
}
END_TEST

START_TEST(folder_of_others_is_refused)
{
	static const mode_t bad[] = { 0710, 0701, 0770, 0750, 0704 };
	struct disk *e = NULL;
	char path[128];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(chmod(state, bad[i]), 0);
		ck_assert_int_eq(disk_open(state, true, &e), -EPERM);
	}
	ck_assert_int_eq(chmod(state, 0700), 0);
	if (geteuid() == 0) {
		ck_assert_int_eq(chown(state, 65534, 65534), 0);
		ck_assert_int_eq(disk_open(state, true, &e), -EPERM);
	}
	/* A link to a good one is none; neither with a slash behind. */
	snprintf(path, sizeof(path), "%s/link/", base);
	path[strlen(path) - 1] = '\0';
	ck_assert_int_eq(symlink(state, path), 0);
	ck_assert_int_eq(disk_open(path, true, &e), -ENOTDIR);
	strcat(path, "/");
	ck_assert_int_eq(disk_open(path, true, &e), -ENOTDIR);
	ck_assert_ptr_null(e);
}
END_TEST

START_TEST(lock_is_exclusive)
{
	struct disk *e;

	ck_assert_int_eq(disk_open(state, false, &e), 0);
	ck_assert_int_eq(disk_lock(d, "lock"), 0);
	ck_assert_int_eq(disk_lock(e, "lock"), -EWOULDBLOCK);
	disk_close(d);
	ck_assert_int_eq(disk_lock(e, "lock"), 0);
	d = e;
}
END_TEST

START_TEST(read_and_write)
{
	struct disk_file *f;
	char buf[32] = "";
	struct stat st;

	ck_assert_int_eq(disk_file_open(d, "f", false, &f), -ENOENT);
	ck_assert_int_eq(disk_file_open(d, "f", true, &f), 0);
	ck_assert_int_eq(stat(in_state("f"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(disk_pwrite(f, "hello", 5, 3), 5);
	ck_assert_int_eq(disk_file_size(f), 8);
	ck_assert_int_eq(disk_pread(f, buf, sizeof(buf), 0), 8);
	ck_assert_mem_eq(buf, "\0\0\0hello", 8);
	ck_assert_int_eq(disk_pread(f, buf, 2, 4), 2);
	ck_assert_mem_eq(buf, "el", 2);
	ck_assert_int_eq(disk_pread(f, buf, 2, 100), 0);
	ck_assert_int_eq(disk_sync(f), 0);
	ck_assert_int_eq(disk_truncate(f, 4), 0);
	ck_assert_int_eq(disk_file_size(f), 4);
	disk_file_close(f);
	disk_file_close(NULL);
	ck_assert_int_eq(disk_sync_folder(d, NULL), 0);
	ck_assert_int_eq(disk_remove(d, "f"), 0);
	ck_assert_int_eq(disk_remove(d, "f"), -ENOENT);
}
END_TEST

START_TEST(folders_below)
{
	struct disk_file *f;

	ck_assert_int_eq(disk_mkdir(d, "journal"), 0);
	ck_assert_int_eq(disk_mkdir(d, "journal"), 0);
	ck_assert_int_eq(disk_file_open(d, "journal/1", true, &f), 0);
	disk_file_close(f);
	ck_assert_int_eq(access(in_state("journal/1"), F_OK), 0);
	ck_assert_int_eq(disk_sync_folder(d, "journal"), 0);
	ck_assert_int_eq(disk_sync_folder(d, "none"), -ENOENT);
	ck_assert_int_eq(disk_mkdir(d, "none/x"), -ENOENT);
	put(in_state("plain"), "");
	ck_assert_int_eq(disk_mkdir(d, "plain"), -ENOTDIR);
	ck_assert_int_eq(disk_remove(d, "journal/1"), 0);
}
END_TEST

START_TEST(names_stay_below)
{
	static const char *const bad[] = { "", "/etc/passwd", "..", "../x", "a//b", "journal/../x", "journal/", "journal/.." };
	struct disk_file *f = NULL;
	char *text = NULL, longer[300];

	ck_assert_int_eq(disk_mkdir(d, "journal"), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(disk_file_open(d, bad[i], true, &f) < 0, "%s", bad[i]);
		ck_assert_msg(disk_replace(d, bad[i], "x", 1) < 0, "%s", bad[i]);
		ck_assert_msg(disk_slurp(d, bad[i], 100, &text) < 0, "%s", bad[i]);
	}
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_int_eq(disk_file_open(d, longer, true, &f), -ENAMETOOLONG);
	longer[252] = '\0'; /* a name, but not with .tmp behind it */
	ck_assert_int_eq(disk_replace(d, longer, "x", 1), -ENAMETOOLONG);
	ck_assert_ptr_null(f);
}
END_TEST

/* Whoever could write into the folder once must not turn us against other files. */
START_TEST(links_are_not_followed)
{
	struct disk_file *f = NULL;
	char target[64], *text = NULL;

	snprintf(target, sizeof(target), "%s/target", base);
	put(target, "theirs");
	ck_assert_int_eq(symlink(target, in_state("link")), 0);
	ck_assert_int_eq(symlink(base, in_state("away")), 0);
	ck_assert_int_eq(symlink(target, in_state("f.tmp")), 0);
	ck_assert_int_eq(disk_file_open(d, "link", true, &f), -ELOOP);
	ck_assert_int_eq(disk_lock(d, "link"), -ELOOP);
	ck_assert_int_eq(disk_slurp(d, "link", 100, &text), -ELOOP);
	ck_assert_int_eq(disk_file_open(d, "away/target", true, &f), -ENOTDIR);
	ck_assert_int_eq(disk_slurp(d, "away/target", 100, &text), -ENOTDIR);
	ck_assert_int_eq(disk_remove(d, "away/target"), -ENOTDIR);
	ck_assert_int_eq(disk_mkdir(d, "away"), -ENOTDIR);
	ck_assert_int_eq(disk_sync_folder(d, "away"), -ENOTDIR);
	ck_assert_int_eq(disk_replace(d, "f", "ours", 4), 0);
	ck_assert_int_eq(disk_replace(d, "link", "ours", 4), 0); /* replaces the link */
	ck_assert_ptr_null(text);
	ck_assert_int_eq(disk_slurp_path(target, 100, &text), 6);
	ck_assert_str_eq(text, "theirs");
	free(text);
}
END_TEST

START_TEST(only_regular_files)
{
	struct disk_file *f = NULL;
	char *text = NULL;

	ck_assert_int_eq(mkfifo(in_state("fifo"), 0600), 0);
	ck_assert_int_eq(disk_file_open(d, "fifo", true, &f), -EINVAL);
	ck_assert_int_lt(disk_slurp(d, "fifo", 100, &text), 0);
	ck_assert_int_eq(disk_mkdir(d, "folder"), 0);
	ck_assert_int_lt(disk_file_open(d, "folder", false, &f), 0);
	ck_assert_int_lt(disk_slurp(d, "folder", 100, &text), 0);
	ck_assert_int_lt(disk_replace(d, "folder", "x", 1), 0);
	ck_assert_int_lt(access(in_state("folder.tmp"), F_OK), 0);
}
END_TEST

START_TEST(replace_and_slurp)
{
	char *text, big[9000];

	ck_assert_int_eq(disk_replace(d, "f", "one", 3), 0);
	ck_assert_int_eq(disk_slurp(d, "f", 3, &text), 3);
	ck_assert_str_eq(text, "one");
	free(text);
	put(in_state("f.tmp"), "left over from a crash, and longer");
	ck_assert_int_eq(disk_replace(d, "f", "", 0), 0);
	ck_assert_int_eq(disk_slurp(d, "f", 0, &text), 0);
	ck_assert_str_eq(text, "");
	free(text);
	ck_assert_int_lt(access(in_state("f.tmp"), F_OK), 0);
	/* The bound, below, at and above a step of the buffer. */
	memset(big, 'b', sizeof(big));
	for (size_t len = 4094; len < 9000; len = len == 4098 ? 8999 : len + 1) {
		ck_assert_int_eq(disk_replace(d, "f", big, len), 0);
		ck_assert_int_eq(disk_slurp(d, "f", len - 1, &text), -EFBIG);
		ck_assert_int_eq(disk_slurp(d, "f", len, &text), (ssize_t)len);
		ck_assert_uint_eq(strlen(text), len);
		free(text);
	}
	ck_assert_int_eq(disk_slurp(d, "none", 10, &text), -ENOENT);
}
END_TEST

START_TEST(slurp_anywhere)
{
	char *text;

	/* A file whose size says nothing. */
	ck_assert_int_gt(disk_slurp_path("/proc/self/status", 1 << 20, &text), 100);
	ck_assert_ptr_nonnull(strstr(text, "\nUid:"));
	free(text);
	ck_assert_int_eq(disk_slurp_path("/proc/self/status", 10, &text), -EFBIG);
	ck_assert_int_eq(disk_slurp_path("/nonexistent", 10, &text), -ENOENT);
	ck_assert_int_eq(disk_slurp_path("/tmp", 10, &text), -EISDIR);
}
END_TEST

START_TEST(slurp_secret)
{
	static const struct {
		mode_t mode;
		int here, elsewhere;
	} table[] = { { 0600, 1, 1 }, { 0400, 1, 1 }, { 0640, -EPERM, 1 }, { 0440, -EPERM, 1 }, { 0660, -EPERM, -EPERM },
		{ 0604, -EPERM, -EPERM }, { 0601, -EPERM, -EPERM }, { 0610, -EPERM, -EPERM } };
	const char *path = in_state("key");
	char *text;

	ck_assert_int_eq(disk_replace(d, "key", "k", 1), 0);
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		ck_assert_int_eq(chmod(path, table[i].mode), 0);
		ck_assert_int_eq(disk_slurp_secret(d, "key", 10, &text), table[i].here);
		if (table[i].here > 0)
			free(text);
		ck_assert_int_eq(disk_slurp_secret(NULL, path, 10, &text), table[i].elsewhere);
		if (table[i].elsewhere > 0)
			free(text);
	}
	ck_assert_int_eq(disk_slurp_secret(d, "none", 10, &text), -ENOENT);
	ck_assert_int_eq(disk_slurp_secret(NULL, "/nonexistent", 10, &text), -ENOENT);
}
END_TEST

struct found {
	char names[128];
	const char *until;
};

static int
find(void *arg, const char *file)
{
	struct found *f = arg;

	strcat(strcat(f->names, file), " ");
	return f->until && strcmp(file, f->until) == 0 ? 42 : 0;
}

START_TEST(list_in_bytewise_order)
{
	static const char *const names[] = { "b", "a10", "a9", "B", "\xc3\xa4", ".hidden", "a" };
	struct found f = { .names = "" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		put(in_state(names[i]), "");
	ck_assert_int_eq(disk_mkdir(d, "folder"), 0);
	ck_assert_int_eq(symlink("b", in_state("link")), 0);
	ck_assert_int_eq(disk_list(d, NULL, find, &f), 0);
	ck_assert_str_eq(f.names, ".hidden B a a10 a9 b \xc3\xa4 ");
	f = (struct found){ .until = "a10" };
	ck_assert_int_eq(disk_list(d, NULL, find, &f), 42);
	ck_assert_str_eq(f.names, ".hidden B a a10 ");
	f = (struct found){ .until = NULL };
	ck_assert_int_eq(disk_list(d, "folder", find, &f), 0);
	ck_assert_str_eq(f.names, "");
	ck_assert_int_eq(disk_list(d, "none", find, &f), -ENOENT);
	/* An administrator's folder: links count. */
	ck_assert_int_eq(disk_list_path(state, find, &f), 0);
	ck_assert_str_eq(f.names, ".hidden B a a10 a9 b link \xc3\xa4 ");
	ck_assert_int_eq(disk_list_path("/nonexistent", find, &f), -ENOENT);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("disk");
	TCase *t = tcase_create("disk");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, allocated_blocks_read_as_zero);
	tcase_add_test(t, rename_replaces);
	tcase_add_test(t, folder_is_made_private);
	tcase_add_test(t, folder_of_others_is_refused);
	tcase_add_test(t, lock_is_exclusive);
	tcase_add_test(t, read_and_write);
	tcase_add_test(t, folders_below);
	tcase_add_test(t, names_stay_below);
	tcase_add_test(t, links_are_not_followed);
	tcase_add_test(t, only_regular_files);
	tcase_add_test(t, replace_and_slurp);
	tcase_add_test(t, slurp_anywhere);
	tcase_add_test(t, slurp_secret);
	tcase_add_test(t, list_in_bytewise_order);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
