/* A daemon with nothing to do does nothing, and is small. */
#include <check.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "proc.h"
#include "program.h"
#include "traffic.h"

#define MB (1024 * 1024)

static struct node paris, berlin;

static void
start_pair(const char *keepalive)
{
	node_init(&berlin, "berlin", "keepalive = %s\n[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n"
	    "[queue \"orders\"]\n[peer \"paris\"]\nplaintext = yes\nfrom = 127.0.0.0/8\n", keepalive);
	node_start(&berlin);
	node_init(&paris, "paris", "keepalive = %s\n[peer \"berlin\"]\naddress = %s\nplaintext = yes\n", keepalive, berlin.url);
	node_start(&paris);
	node_await_peer(&paris, "berlin", "up");
}

/* How often each wakes within so long. Time passing is what is measured here, so there is nothing else to wait for. */
static void
wakes(int ms, uint64_t *ret_paris, uint64_t *ret_berlin)
{
	uint64_t p = proc_waits(paris.pid), b = proc_waits(berlin.pid);

	ck_assert_int_eq(poll(NULL, 0, ms), 0);
	*ret_paris = proc_waits(paris.pid) - p;
	*ret_berlin = proc_waits(berlin.pid) - b;
}

/* What follows from the last of the work is over: neither wakes for a while. */
static void
await_rest(void)
{
	uint64_t until = program_clock_ms() + PROGRAM_PATIENCE_MS, p, b;

	do {
		ck_assert_msg(program_clock_ms() < until, "they do not come to rest");
		wakes(500, &p, &b);
	} while (p + b > 0);
}

START_TEST(idle)
{
	struct traffic_told told = { 0 };
	struct connectd *from, *to;
	struct checker k;
	uint64_t p, b;

	start_pair("30s");
	from = traffic_open(&paris);
	to = traffic_open(&berlin);
	traffic_consume(to, "orders");
	checker_init(&k, 100);
	for (uint64_t i = 1; i <= k.n; i++)
		traffic_send(from, "berlin/orders", i, 100, CONNECTD_ARRIVED, &told);
	traffic_receive(to, from, &k, k.n);
	ck_assert_int_eq(connectd_flush(from, 20000), 0);
	node_await_queue(&berlin, "orders", queue_consumed, k.n);
	node_await_peer(&paris, "berlin", "up");
	await_rest();
	wakes(5000, &p, &b);
	ck_assert_msg(p == 0 && b == 0, "paris woke %" PRIu64 " times in 5 s, berlin %" PRIu64, p, b);
	connectd_close(from);
	connectd_close(to);
	checker_done(&k);
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

/* The control for it: keepalives are seen. */
START_TEST(keepalive_wakes)
{
	uint64_t until = program_clock_ms() + PROGRAM_PATIENCE_MS, p = 0, b = 0;

	start_pair("200ms");
	/* Not more often than that takes: ping, pong, and the timer of each. What the start left to do is over at some time. */
	do {
		ck_assert_msg(program_clock_ms() < until, "%" PRIu64 " wakings in a second", p + b);
		wakes(1000, &p, &b);
		ck_assert_uint_ge(p + b, 4);
	} while (p + b > 40);
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

START_TEST(small)
{
	uint64_t size;

	start_pair("30s");
	size = proc_memory(paris.pid);
	printf("idle: %" PRIu64 " KiB\n", size / 1024);
	if (PROC_MEMORY_COUNTS)
		ck_assert_uint_lt(size, 12 * MB);
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("idle");
	TCase *tc = tcase_create("idle");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, idle);
	tcase_add_test(tc, keepalive_wakes);
	tcase_add_test(tc, small);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
