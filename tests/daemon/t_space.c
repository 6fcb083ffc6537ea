/*
 * One queue that nobody reads, and much that flows through another: the journal
 * does not grow with what has passed, and what is left alone is there at the
 * end. The control: what has passed is many times what the journal ever had.
 *
 *	SPACE_MB=n   how much flows (400, soak 20000)
 */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"
#include "soak.h"
#include "wire.h"

/*
 * Beside twice what is live: what is used, and the folder, which also has those
 * held back for what makes space, those that are ready for a burst, the next
 * one, and what is left of the current one.
 */
#define IN_USE 4
#define HELD_BACK 4
#define READY 4
#define SEGMENT (UINT64_C(1) << 20)

#define WINDOW 128 /* messages on their way; what they are when they die at once is a matter of test_store_bound */
#define STILL 1500
#define STILL_SIZE 4000
#define SIZE 8000

static struct node paris;

/* Segments that the journal has beside twice what is live in it, at most. */
struct beside {
	uint64_t in_use, folder; /* segments */
};

static uint64_t
beyond(uint64_t bytes, uint64_t live)
{
	return bytes > 2 * live ? (bytes - 2 * live + SEGMENT - 1) / SEGMENT : 0;
}

/* What is live now, and what that takes; worst is raised where this is worse. */
static uint64_t
look(struct beside *worst, uint64_t *folder)
{
	const Connectd__V1__Journal *j;
	uint64_t live, in_use, all;
	struct answer a;

	node_ask(&paris, WIRE_ADMIN_STATUS, "", 0, &connectd__v1__status__descriptor, &a);
	j = ((const Connectd__V1__Status *)a.items[0])->journal;
	live = j->live_bytes;
	in_use = beyond(j->used_bytes, live);
	answer_free(&a);
	*folder = node_journal_bytes(&paris);
	all = beyond(*folder, live);
	worst->in_use = in_use > worst->in_use ? in_use : worst->in_use;
	worst->folder = all > worst->folder ? all : worst->folder;
	return live;
}

static void
send_one(struct connectd *c, const char *dest, uint64_t number, size_t size)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	program_send(c, program_message(dest, text, size), NULL);
}

/* Numbers so far received, all that is there now. */
static uint64_t
take(struct connectd *c, uint64_t received)
{
	struct connectd_msg *m;
	int r;

	while ((r = connectd_recv(c, &m, 0)) == 0) {
		ck_assert_uint_eq(strtoull(program_text(m), NULL, 10), ++received);
		program_ack(c, m);
	}
	ck_assert_msg(r == -ETIMEDOUT, "%d %s", r, connectd_last_error(c));
	return received;
}

START_TEST(nobody_reads_one_queue)
{
	uint64_t until, total = soak_value("SPACE_MB", 400, 20000) * 1000000 / SIZE, received = 0, still = 0, most = 0, live, folder, start;
	struct beside worst = { 0 }, rest;
	struct connectd *from, *to;

	node_init(&paris, "paris", "segment = 1M\nmax_disk = 256M\n[queue \"still\"]\ndurable = yes\n[queue \"flow\"]\ndurable = yes\n");
	node_start(&paris);
	from = program_open(&paris, "sender");
	to = program_open(&paris, "receiver");
	program_consume(to, "flow", 0);
	start = program_clock_ms();
	for (uint64_t i = 1; i <= total; i++) {
		send_one(from, "flow", i, SIZE);
		/* In between, so that every segment of the first while has some of it. */
		if (i % 8 == 0 && still < STILL)
			send_one(from, "still", ++still, STILL_SIZE);
		while (i > received + WINDOW) {
			received = take(to, received);
			ck_assert_int_ge(connectd_wait(from, i > received + WINDOW ? 1 : 0), 0);
		}
		if (i % 50 == 0) {
			look(&worst, &folder);
			most = folder > most ? folder : most;
		}
	}
	while (received < total) {
		received = take(to, received);
		ck_assert_int_ge(connectd_wait(from, 1), 0);
	}
	program_flush(from);
	until = program_clock_ms() + 3000;
	start = program_clock_ms() - start;
	do {
		connectd_wait(to, 50);
		rest = (struct beside){ 0 };
		live = look(&rest, &folder);
	} while (rest.folder > IN_USE + HELD_BACK + READY && program_clock_ms() < until);
	printf("t_space: %" PRIu64 " MB in %" PRIu64 " ms past %d messages that nobody reads: the journal had %" PRIu64
	       " KiB at most; beside twice the live bytes %" PRIu64 " segments used, %" PRIu64
	       " with those held back and ready; at rest %" PRIu64 " KiB for %" PRIu64 " KiB live, %" PRIu64 " used beside, %" PRIu64 " in all\n",
	    total * SIZE / 1000000, start, STILL, most / 1024, worst.in_use, worst.folder, folder / 1024, live / 1024,
	    rest.in_use, rest.folder);
	ck_assert_uint_le(worst.in_use, IN_USE);
	ck_assert_uint_le(worst.folder, IN_USE + HELD_BACK + READY);
	ck_assert_uint_le(rest.in_use, IN_USE);
	ck_assert_uint_le(rest.folder, IN_USE + HELD_BACK + READY);
	ck_assert_uint_gt(total * SIZE, 3 * most); /* else this shows nothing */
	/* What was left alone is whole, also for the next start. */
	node_kill(&paris);
	node_start(&paris);
	node_await_queue(&paris, "still", queue_holds, STILL);
	connectd_close(to);
	to = program_open(&paris, "receiver");
	program_consume(to, "still", 0);
	for (still = 0; still < STILL;) {
		uint64_t had = still;

		still = take(to, still);
		ck_assert_msg(still > had || connectd_wait(to, PROGRAM_PATIENCE_MS) > 0, "%" PRIu64 " of %d came", still, STILL);
	}
	connectd_close(to);
	connectd_close(from);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("space");
	TCase *tc = tcase_create("space");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, soak_timeout(soak_value("SPACE_MB", 400, 20000) / 20));
	tcase_add_test(tc, nobody_reads_one_queue);
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
