/* max_memory is kept whatever many flows send at once, and nobody is kept out for ever. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proc.h"
#include "program.h"
#include "proxy.h"

#define MB (UINT64_C(1) << 20)
#define LIMIT (8 * MB)
#define HANDLES 12
#define RECEIVERS 4
#define FLOWS 900
#define SIZE 200000

static struct node paris;
static struct connectd *senders[HANDLES], *receivers[RECEIVERS];

static void
process_all(void)
{
	for (int i = 0; i < HANDLES; i++)
		ck_assert_int_ge(connectd_wait(senders[i], 0), 0);
}

/* 180 MB from 900 flows into 8 MB that nobody empties; then somebody does. */
START_TEST(very_many_flows)
{
	struct told told = { 0 };
	uint64_t before, peak = 0, got = 0;
	char name[32], text[32];

	node_init(&paris, "paris", "max_memory = 8M\nmax_message = 2M\nmax_partial = 4M\nmax_queues_per_user = 1000\n"
	    "[queue \"*\"]\ndurable = no\n");
	node_start(&paris);
	for (int i = 0; i < HANDLES; i++)
		senders[i] = program_open(&paris, "sender");
	for (int i = 0; i < RECEIVERS; i++)
		receivers[i] = program_open(&paris, "receiver");
	before = proc_memory(paris.pid);
	for (int i = 0; i < FLOWS; i++) {
		struct connectd_msg *m;

		snprintf(name, sizeof(name), "q%d", i);
		snprintf(text, sizeof(text), "%d", i);
		m = program_message(name, text, SIZE);
		program_send(senders[i % HANDLES], m, &told);
	}
	/* Full but for what is kept for peers. */
	while (node_used(&paris, "max_memory") < LIMIT / 4 * 3 - 2 * SIZE)
		process_all();
	/* It is full, and stays as it is. */
	for (int i = 0; i < 200; i++) {
		uint64_t now = proc_memory(paris.pid);

		process_all();
		ck_assert_uint_le(node_used(&paris, "max_memory"), LIMIT);
		peak = now > peak ? now : peak;
	}
	/* Beside the messages: sessions, flows, queues, buffers. */
	if (PROC_MEMORY_COUNTS)
		ck_assert_msg(peak - before <= 3 * LIMIT, "%" PRIu64 " KiB for %" PRIu64, (peak - before) / 1024, LIMIT / 1024);
	ck_assert_uint_le(told.arrived, LIMIT / SIZE);
	for (int i = 0; i < FLOWS; i++) {
		snprintf(name, sizeof(name), "q%d", i);
		program_consume(receivers[i % RECEIVERS], name, 1);
	}
	while (got < FLOWS) {
		process_all();
		for (int i = 0; i < RECEIVERS; i++) {
			struct connectd_msg *m;

			while (connectd_recv(receivers[i], &m, 0) == 0) {
				program_ack(receivers[i], m);
				got++;
			}
		}
		if (got % 50 == 0)
			ck_assert_uint_le(node_used(&paris, "max_memory"), LIMIT);
	}
	for (int i = 0; i < HANDLES; i++)
		program_flush(senders[i]);
	ck_assert_uint_eq(got, FLOWS);
	ck_assert_uint_eq(told.arrived, FLOWS);
	node_check_books(&paris);
	for (int i = 0; i < RECEIVERS; i++)
		connectd_close(receivers[i]);
	for (int i = 0; i < HANDLES; i++)
		connectd_close(senders[i]);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

/* ----------------------------------------------------- two that are full */

#define SMALL_LIMIT "max_memory = 1M\nmax_message = 64K\nmax_partial = 128K\n[queue \"*\"]\ndurable = no\n[queue \"in\"]\n"
#define FIRST 15      /* bodies of BIG bytes in front */
#define BIG 64000
#define BEHIND 300    /* of 1000 bytes, more than there is room for */

static struct connectd *
fill(struct node *n, const char *dest, struct told *told)
{
	struct connectd *c = program_open(n, "sender");
	uint64_t used, before;

	for (int i = 0; i < FIRST + BEHIND; i++)
		program_send(c, program_message(dest, "x", i < FIRST ? BIG : 1000), told);
	/* Full: round after round changes nothing. */
	do {
		before = node_used(n, "max_memory");
		for (int i = 0; i < 100; i++)
			ck_assert_int_ge(connectd_wait(c, 0), 0);
		used = node_used(n, "max_memory");
	} while (used != before || used < (1 << 20) / 2);
	return c;
}

/*
 * Both are full of messages for each other before they meet, the largest in
 * front: each must find room for what the other has.
 */
START_TEST(two_full_daemons)
{
	struct told from_paris = { 0 }, from_berlin = { 0 };
	struct node berlin;
	struct proxy p;
	struct connectd *to_berlin, *to_paris, *at[2];
	uint64_t until, got = 0;

	proxy_start(&p, "tcp://127.0.0.1:1");
	node_init(&berlin, "berlin", SMALL_LIMIT
	    "[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n[peer \"paris\"]\nplaintext = yes\nfrom = 127.0.0.0/8\n");
	node_init(&paris, "paris", SMALL_LIMIT
	    "[peer \"berlin\"]\naddress = %s\nplaintext = yes\nbackoff_min = 10ms\nbackoff_max = 50ms\n", p.url);
	node_start(&berlin);
	node_start(&paris);
	to_berlin = fill(&paris, "berlin/in", &from_paris);
	to_paris = fill(&berlin, "paris/in", &from_berlin);
	ck_assert_uint_eq(from_paris.arrived + from_berlin.arrived, 0);
	proxy_target(&p, berlin.url);
	node_await_peer(&paris, "berlin", "up");
	at[0] = program_open(&paris, "receiver");
	at[1] = program_open(&berlin, "receiver");
	for (int i = 0; i < 2; i++)
		program_consume(at[i], "in", 16);
	until = program_clock_ms() + PROGRAM_PATIENCE_MS;
	while (got < 2 * (FIRST + BEHIND)) {
		ck_assert_msg(program_clock_ms() < until, "%" PRIu64 " of %d came, then nothing", got, 2 * (FIRST + BEHIND));
		ck_assert_int_ge(connectd_wait(to_berlin, 1), 0);
		ck_assert_int_ge(connectd_wait(to_paris, 0), 0);
		for (int i = 0; i < 2; i++) {
			struct connectd_msg *m;

			while (connectd_recv(at[i], &m, 0) == 0) {
				program_ack(at[i], m);
				got++;
			}
		}
		ck_assert_uint_le(node_used(&paris, "max_memory"), 1 << 20);
		ck_assert_uint_le(node_used(&berlin, "max_memory"), 1 << 20);
	}
	program_flush(to_berlin);
	program_flush(to_paris);
	ck_assert(from_paris.arrived == FIRST + BEHIND && from_berlin.arrived == FIRST + BEHIND);
	node_check_books(&paris);
	node_check_books(&berlin);
	connectd_close(to_berlin);
	connectd_close(to_paris);
	for (int i = 0; i < 2; i++)
		connectd_close(at[i]);
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
	proxy_stop(&p);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("memory");
	TCase *tc = tcase_create("memory");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, very_many_flows);
	tcase_add_test(tc, two_full_daemons);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
