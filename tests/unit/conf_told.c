#include "conf_told.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

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

struct conf *
conf_told_ok(const char *text)
{
	static struct told told;
	struct conf *c = NULL;
	int r;

	told.len = 0;
	told.text[0] = '\0';
	r = conf_read_text("f", text, strlen(text), tell, &told, &c);
	ck_assert_msg(r == 0, "%s", told.text);
	ck_assert_str_eq(told.text, "");
	return c;
}

void
conf_told_refused_len(const char *text, size_t len, const char *expected)
{
	static struct told told;
	struct conf *c = NULL;
	const char *got = told.text;
	int r;

	told.len = 0;
	told.text[0] = '\0';
	r = conf_read_text("f", text, len, tell, &told, &c);
	ck_assert_msg(r == -EINVAL, "no fault in: %s", text);
	ck_assert_ptr_null(c);
	for (; *expected; expected++) {
		size_t n = strcspn(expected, "\n");

		ck_assert_msg(strncmp(got, expected, n) == 0, "in %s\nexpected: %s\ngot: %s", text, expected, told.text);
		got += strcspn(got, "\n") + 1;
		expected += n;
		if (*expected == '\0')
			break;
	}
	ck_assert_msg(*got == '\0', "in %s\nalso told: %s", text, got);
}

void
conf_told_refused(const char *text, const char *expected)
{
	conf_told_refused_len(text, strlen(text), expected);
}
