/* conf: reading files and what they include. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"

/* Faults as "FILE:LINE: text" lines. */
struct told {
	size_t len;
	char text[65536];
};

static void
tell(void *arg, const char *file, unsigned line, const char *text)
{
	struct told *t = arg;

	t->len += (size_t)snprintf(t->text + t->len, sizeof(t->text) - t->len, "%s:%u: %s\n", file, line, text);
	ck_assert_uint_lt(t->len, sizeof(t->text));
}

static char folder[64];

static void
make_folder(void)
{
	strcpy(folder, "/tmp/test_conf.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void
remove_folder(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static void
write_file(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static int
read_file(struct told *told, struct conf **ret)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/main.conf", folder);
	told->len = 0;
	told->text[0] = '\0';
	return conf_read(path, tell, told, ret);
}

START_TEST(includes)
{
	static struct told told;
	struct conf *c = NULL;
	char path[128], expected[1024];

	snprintf(path, sizeof(path), "%s/conf.d", folder);
	write_file("main.conf", "[node]\ninclude = conf.d/*.conf\nname = paris\n[queue \"m\"]\n");
	/* No such folder, then an empty one: a pattern may match nothing. */
	ck_assert_int_eq(read_file(&told, &c), 0);
	conf_free(c);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(read_file(&told, &c), 0);
	conf_free(c);
	write_file("conf.d/b.conf", "[queue \"b\"]\n");
	write_file("conf.d/a.conf", "[queue \"a\"]\n");
	write_file("conf.d/.hidden.conf", "nonsense\n");
	write_file("conf.d/a.conf~", "nonsense\n");
	ck_assert_int_eq(read_file(&told, &c), 0);
	ck_assert_uint_eq(conf_n_queue_sections(c), 3);
	ck_assert_str_eq(conf_queue_section(c, 0), "m");
	ck_assert_str_eq(conf_queue_section(c, 1), "a");
	ck_assert_str_eq(conf_queue_section(c, 2), "b");
	conf_free(c);

	write_file("conf.d/a.conf", "\n[queue \"m\"]\n[node]\ninclude = x\n");
	write_file("conf.d/b.conf", "bad\n");
	c = NULL;
	ck_assert_int_eq(read_file(&told, &c), -EINVAL);
	ck_assert_ptr_null(c);
	snprintf(expected, sizeof(expected),
	    "%s/a.conf:2: this section is there twice, first in %s/main.conf:4\n"
	    "%s/a.conf:3: this section is there twice, first in %s/main.conf:1\n"
	    "%s/a.conf:4: include works only in the main file of a configuration\n"
	    "%s/b.conf:1: neither a [section] nor a key = value nor a comment\n",
	    path, folder, path, folder, path, path);
	ck_assert_str_eq(told.text, expected);
}
END_TEST

START_TEST(bad_includes)
{
	static struct told told;
	struct conf *c = NULL;
	char text[128];

	ck_assert_int_eq(read_file(&told, &c), -ENOENT);
	ck_assert_ptr_nonnull(strstr(told.text, "main.conf:0: cannot read the configuration: No such file"));
	write_file("main.conf", "[node]\nname = paris\ninclude = x*\n");
	ck_assert_int_eq(read_file(&told, &c), -EINVAL);
	ck_assert_ptr_nonnull(strstr(told.text, "main.conf:3: include must be the first key of [node]"));
	write_file("main.conf", "[node]\ninclude = missing.conf\nname = paris\n");
	ck_assert_int_eq(read_file(&told, &c), -EINVAL);
	ck_assert_ptr_nonnull(strstr(told.text, "main.conf:2: cannot read "));
	write_file("main.conf", "[node]\ninclude = */x.conf\nname = paris\n");
	ck_assert_int_eq(read_file(&told, &c), -EINVAL);
	ck_assert_ptr_nonnull(strstr(told.text, "main.conf:2: include: only the last part"));
	write_file("main.conf", "[queue \"q\"]\ninclude = x\n[node]\ninclude =\nname = paris\n");
	ck_assert_int_eq(read_file(&told, &c), -EINVAL);
	ck_assert_ptr_nonnull(strstr(told.text, "main.conf:2: include belongs into [node]"));
	ck_assert_ptr_nonnull(strstr(told.text, "main.conf:4: include: there is no value"));
	/* One file by its name; a path from the root; not from memory. */
	write_file("other.conf", "[queue \"o\"]\n");
	write_file("main.conf", "[node]\ninclude = other.conf\nname = paris\n");
	ck_assert_int_eq(read_file(&told, &c), 0);
	ck_assert_str_eq(conf_queue_section(c, 0), "o");
	conf_free(c);
	snprintf(text, sizeof(text), "[node]\ninclude = %s/oth*\nname = paris\n", folder);
	write_file("main.conf", text);
	ck_assert_int_eq(read_file(&told, &c), 0);
	ck_assert_uint_eq(conf_n_queue_sections(c), 1);
	conf_free(c);
	told.len = 0;
	ck_assert_int_eq(conf_read_text("f", "[node]\ninclude = x\nname = a\n", 27, tell, &told, &c), -EINVAL);
	ck_assert_str_eq(told.text, "f:2: include works only in the main file of a configuration\n");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("conf_file");
	TCase *t = tcase_create("conf_file");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, make_folder, remove_folder);
	tcase_add_test(t, includes);
	tcase_add_test(t, bad_includes);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
