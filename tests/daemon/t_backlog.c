/*
 * A large backlog: after a crash the daemon is ready soon, and what waits is on
 * disk, not in memory. Then all of it comes, once and in order.
 *
 *	BACKLOG_MESSAGES=n   of 1 KiB each (100000, soak 1000000)
 */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proc.h"
#include "program.h"
#include "soak.h"

#define READY_MS 2000
#define RESIDENT (UINT64_C(256) << 20)
#define SIZE 1024

static struct node paris;

static void
send_all(uint64_t n)
{
	struct connectd *c = program_open(&paris, "sender");
	char text[32];

	connectd_cork(c);
	for (uint64_t i = 1; i <= n; i++) {
		snprintf(text, sizeof(text), "%" PRIu64, i);
		program_send(c, program_message("orders", text, SIZE), NULL);
	}
	connectd_uncork(c);
	ck_assert_int_eq(connectd_flush(c, 120000), 0);
	connectd_close(c);
}

static void
receive_all(uint64_t n)
{
	struct connectd *c = program_open(&paris, "receiver");

	program_consume(c, "orders", 0);
	for (uint64_t i = 1; i <= n; i++) {
		struct connectd_msg *m = program_take(c);

		ck_assert_uint_eq(strtoull(program_text(m), NULL, 10), i);
		program_ack(c, m);
	}
	connectd_close(c);
}

START_TEST(ready_soon)
{
	uint64_t n = soak_value("BACKLOG_MESSAGES", 100000, 1000000), start, ready, starved, resident, took;

	node_init(&paris, "paris", "segment = 64M\nmax_disk = 8G\n[queue \"orders\"]\ndurable = yes\nmax_messages = 10M\nmax_bytes = 16G\n");
	node_start(&paris);
	start = program_clock_ms();
	send_all(n);
	took = program_clock_ms() - start;
	node_kill(&paris);
	start = program_clock_ms();
	node_launch(&paris);
	ck_assert(node_await_ready(&paris));
	ready = program_clock_ms() - start;
	starved = proc_starved_ms(paris.pid);
	resident = proc_memory(paris.pid);
	node_await_queue(&paris, "orders", queue_holds, n);
	start = program_clock_ms();
	receive_all(n);
	printf("t_backlog: %" PRIu64 " messages of %d bytes stored in %" PRIu64 " ms; ready after %" PRIu64 " ms with %" PRIu64
	       " KiB resident; all taken in %" PRIu64 " ms, %" PRIu64 " KiB resident then\n",
	    n, SIZE, took, ready, resident / 1024, program_clock_ms() - start, proc_memory(paris.pid) / 1024);
	node_await_queue(&paris, "orders", queue_holds, 0);
	if (PROC_MEMORY_COUNTS) {
		/* Without what others took of the machine. */
		ck_assert_msg(ready <= READY_MS + starved, "ready after %" PRIu64 " ms, of which it could not run for %" PRIu64, ready, starved);
		ck_assert_uint_lt(resident, RESIDENT);
	}
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("backlog");
	TCase *tc = tcase_create("backlog");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, soak_timeout(soak_value("BACKLOG_MESSAGES", 100000, 1000000) / 5000));
	tcase_add_test(tc, ready_soon);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	setvbuf(stdout, NULL, _IOLBF, 0);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
