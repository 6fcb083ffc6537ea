/* connectctl send at a real daemon: how far messages got, as its exit status and what it says. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "node.h"

static struct node paris;
static char said[4096];

/* Exit status; `said` is what it wrote, to either output. */
static int
send_text(const char *options)
{
	const char *b = getenv("B");
	char command[512];
	size_t n;
	FILE *f;

	snprintf(command, sizeof(command), "%s/connectctl -s %s send orders --text hello %s 2>&1", b != NULL ? b : "build", paris.socket,
	    options);
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	n = fread(said, 1, sizeof(said) - 1, f);
	said[n] = '\0';
	return WEXITSTATUS(pclose(f));
}

static void
expect(int status, const char *text, const char *options)
{
	ck_assert_msg(send_text(options) == status && strstr(said, text) != NULL, "send %s said: %s", options, said);
}

static void
setup(void)
{
	node_init(&paris, "paris", "[queue \"orders\"]\ndurable = no\n");
	node_start(&paris);
}

static void
teardown(void)
{
	node_done(&paris);
}

START_TEST(a_queue_in_memory)
{
	/* What nobody insisted on is no failure, but it is said. */
	expect(0, "orders keeps messages in memory: 1 accepted, not stored", "");
	expect(0, "\"level\":\"accepted\"", "--json");
	ck_assert_ptr_null(strstr(said, "keeps messages"));
	ck_assert_ptr_nonnull(strstr(said, "\"stored\":0"));
	/* What was asked for, it is silent about. */
	for (size_t i = 0; i < 4; i++) {
		static const char *const options[] = { "--memory", "--wait accepted", "--wait arrived", "--memory --wait arrived" };

		ck_assert_int_eq(send_text(options[i]), 0);
		ck_assert_str_eq(said, "");
	}
	expect(1, "in memory", "--wait stored");
	ck_assert_ptr_nonnull(strstr(said, "1 accepted, 0 stored, 1 arrived, 1 failed"));
	node_await_queue(&paris, "orders", queue_holds, 7);
	expect(1, "durable", "--durable");
	node_await_queue(&paris, "orders", queue_holds, 7);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("send");
	TCase *t = tcase_create("send");
	SRunner *sr;
	int failed;

	nodes_begin();
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_queue_in_memory);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	nodes_end(failed != 0);
	return failed != 0;
}
