/* max_memory is kept whatever many flows send at once, and nobody is kept out for ever. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proc.h"
#include "program.h"

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

	node_init(&paris, "paris", "max_memory = 8M\nmax_message = 2M\nmax_partial = 4M\nmax_queues_per_user = 1000\n");
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
	while (node_used(&paris, "max_memory") < LIMIT - 2 * SIZE)
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

int
main(void)
{
	Suite *s = suite_create("memory");
	TCase *tc = tcase_create("memory");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, very_many_flows);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
