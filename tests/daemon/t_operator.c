/* What operators have done to queues and producers, with connectctl. */
#include <check.h>
#include <connectd.h>
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "operator.h"
#include "program.h"

#define QUEUES "[queue \"orders\"]\ndurable = yes\n[queue \"other\"]\ndurable = yes\n[queue \"fleeting\"]\ndurable = no\n"

static struct node paris;

static void
begin(const char *rest)
{
	node_init(&paris, "paris", "%s" QUEUES, rest);
	node_start(&paris);
}

static void
again(void)
{
	ck_assert_int_eq(node_stop(&paris), 0);
	node_start(&paris);
}

static void
end(void)
{
	node_check_books(&paris);
	ck_assert_int_eq(node_stop(&paris), 0);
}

/* ---------------------------------------------------------------- producers */

/* Open the producer till1 and send the numbers behind what the daemon has, up to last. */
static struct connectd *
till(const char *queue, uint64_t has, uint64_t last)
{
	struct connectd *c = program_open(&paris, "till");
	uint64_t number;

	ck_assert_int_eq(connectd_producer_open(c, "till1", queue, &number), 0);
	ck_assert_uint_eq(number, has);
	while (number++ < last) {
		struct connectd_msg *m = program_message(queue, "x", 0);

		ck_assert_int_eq(connectd_msg_set_number(m, number), 0);
		program_send(c, m, NULL);
	}
	program_flush(c);
	return c;
}

START_TEST(producers)
{
	const char *user = getpwuid(geteuid())->pw_name;
	struct operated r;
	struct connectd *c;
	char text[100];

	begin("");
	operator_does(&paris, "PRODUCER", "producers");
	operator_does(&paris, "{\"producers\":[]}", "producers --json");
	c = till("orders", 0, 5);
	operator_runs(&paris, &r, "producers --json");
	ck_assert_int_eq(r.code, 0);
	ck_assert_ptr_nonnull(strstr(r.out, "\"name\":\"till1\",\"queue\":\"orders\""));
	ck_assert_ptr_nonnull(strstr(r.out, "\"epoch\":1,\"mark\":5,\"open\":true,\"since\":\"20"));
	snprintf(text, sizeof(text), "\"user\":\"%s\"", user);
	ck_assert_ptr_nonnull(strstr(r.out, text));
	operator_fails(&paris, "the producer till1 is open at orders: end the program", "producers forget till1 orders");
	operator_fails(&paris, "there is no producer till2 at orders: `connectctl producers` lists them", "producers forget till2 orders");
	operator_fails(&paris, "there is no producer", "producers forget till1 orders --uid 12345");
	connectd_close(c);
	operator_awaits(&paris, "\"open\":false", "producers --json");

	/* It is known after a restart; forgotten it stays forgotten. */
	again();
	ck_assert(operator_sees(&paris, "\"epoch\":1,\"mark\":5,\"open\":false", "producers --json"));
	operator_does(&paris, "the producer till1 at orders is forgotten: opened again it begins at 0", "producers forget till1 paris/orders");
	operator_does(&paris, "{\"producers\":[]}", "producers --json");
	node_kill(&paris);
	node_start(&paris);
	operator_does(&paris, "{\"producers\":[]}", "producers --json");
	node_await_queue(&paris, "orders", queue_holds, 5);
	connectd_close(till("orders", 0, 2));
	node_await_queue(&paris, "orders", queue_holds, 7);
	operator_runs(&paris, &r, "producers forget till1");
	ck_assert_int_eq(r.code, 2);
	operator_runs(&paris, &r, "producers drop till1 orders");
	ck_assert_int_eq(r.code, 2);
	ck_assert_int_eq(node_stop(&paris), 0); /* books without what was there at the start */
}
END_TEST

/* What waits for another node keeps its producer's outcomes going while it is forgotten. */
START_TEST(producer_of_a_waiting_backlog)
{
	begin("[peer \"rome\"]\nplaintext = yes\nfrom = 127.0.0.0/8\n[queue \"rome/orders\"]\ndurable = yes\n");
	connectd_close(till("rome/orders", 0, 100));
	operator_awaits(&paris, "\"open\":false", "producers --json");
	ck_assert(operator_sees(&paris, "\"waiting\":100", "producers --json"));
	operator_does(&paris, "is forgotten", "producers forget till1 rome/orders");
	operator_does(&paris, "{\"producers\":[]}", "producers --json");
	node_await_queue(&paris, "rome/orders", queue_holds, 100);
	connectd_close(till("rome/orders", 0, 3));
	operator_does(&paris, "messages", "purge rome/orders --yes");
	node_await_queue(&paris, "rome/orders", queue_holds, 0);
	end();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("operator");
	TCase *tc = tcase_create("operator");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, producers);
	tcase_add_test(tc, producer_of_a_waiting_backlog);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
