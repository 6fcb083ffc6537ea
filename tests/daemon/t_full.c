/*
 * Full disks and failing ones. While there is no space, everything else goes
 * on, and when there is again nothing has to be restarted. After a write or a
 * sync that failed nothing more is confirmed, and what was confirmed is there
 * after a restart. The control arm has calls that only say they went well, and
 * must lose.
 *
 *	FULL_FAULTS=n     faults at the first to n-th call (10, soak 80)
 *	FULL_CRASHES=n    crashes of recovery on a full disk (24, soak 200)
 */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program.h"
#include "smallfs.h"
#include "soak.h"

#define NUMBERS 200000
#define SIZE 4000
#define WINDOW 64
#define STANDS_MS 1000 /* so long nothing is told: it stands still */
#define QUEUES "[queue \"full\"]\ndurable = yes\n[queue \"other\"]\ndurable = yes\nmin_bytes = 1M\n[queue \"memory\"]\ndurable = no\n"

static struct node paris;
static bool stored[NUMBERS + 1], refused[NUMBERS + 1];
static uint64_t n_stored, n_refused;

/* ----------------------------------------------------------------- programs */

static void
outcome(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	(void)c, (void)m, (void)userdata;
	/* A flow that is opened when the journal has failed already is refused, and its sender told. */
	if (o->result == -EBADMSG && !refused[o->number]) {
		ck_assert_msg(strstr(o->reason, "the store has failed") != NULL, "%s", o->reason);
		ck_assert(!stored[o->number]);
		refused[o->number] = true;
		n_refused++;
	}
	if (o->result != 0 || o->level != CONNECTD_STORED || stored[o->number])
		return;
	stored[o->number] = true;
	n_stored++;
}

static struct connectd *
open_sender(void)
{
	struct connectd_options o = { .size = sizeof(o), .socket = paris.socket, .application = "sender", .keep_trying = 1,
		.window_messages = WINDOW };
	struct connectd *c = NULL;

	ck_assert_int_eq(connectd_open(&o, &c), 0);
	return c;
}

/* One, if the window has room for it. */
static bool
try_send(struct connectd *c, uint64_t number)
{
	char text[32];
	struct connectd_msg *m;
	int r;

	ck_assert_uint_le(number, NUMBERS);
	snprintf(text, sizeof(text), "%" PRIu64, number);
	m = program_message("full", text, SIZE);
	r = connectd_send(c, m, CONNECTD_TELL(CONNECTD_STORED), outcome, NULL);
	connectd_msg_unref(m);
	ck_assert_msg(r == 0 || r == -EAGAIN, "%d %s", r, connectd_last_error(c));
	return r == 0;
}

/* Until nothing is told any more. The last number sent. */
static uint64_t
send_until_it_stands(struct connectd *c, uint64_t last)
{
	uint64_t before, until;

	do {
		before = n_stored;
		until = program_clock_ms() + STANDS_MS;
		do {
			while (try_send(c, last + 1))
				last++;
			ck_assert_int_ge(connectd_wait(c, 20), 0);
		} while (n_stored == before && program_clock_ms() < until);
	} while (n_stored > before);
	return last;
}

static struct connectd *
open_receiver(void)
{
	struct connectd *c = program_open(&paris, "receiver");

	program_consume(c, "full", 32);
	return c;
}

/* Numbers first to last come in order, each once; the sender is kept going. */
static void
receive(struct connectd *c, struct connectd *sender, uint64_t first, uint64_t last)
{
	for (uint64_t i = first; i <= last; i++) {
		uint64_t until = program_clock_ms() + PROGRAM_PATIENCE_MS;
		struct connectd_msg *m;
		int r;

		while (!refused[i] && (r = connectd_recv(c, &m, sender != NULL ? 1 : PROGRAM_PATIENCE_MS)) == -ETIMEDOUT) {
			if (sender != NULL)
				ck_assert_int_ge(connectd_process(sender), 0);
			ck_assert_msg(program_clock_ms() < until, "%" PRIu64 " does not come; %" PRIu64 " were stored", i, n_stored);
		}
		if (refused[i])
			continue;
		ck_assert_msg(r == 0, "%d %s", r, connectd_last_error(c));
		ck_assert_uint_eq(strtoull(program_text(m), NULL, 10), i);
		program_ack(c, m);
	}
}

/* Numbers behind `sent` up to `last` are sent, come and are stored. */
static void
pass(struct connectd *from, struct connectd *to, uint64_t sent, uint64_t last)
{
	for (uint64_t next = sent + 1; sent < last;) {
		while (sent < last && try_send(from, sent + 1))
			sent++;
		if (next <= sent)
			receive(to, from, next, next);
		next += next <= sent;
		if (sent == last) {
			receive(to, from, next, last);
			break;
		}
		ck_assert_int_ge(connectd_process(from), 0);
	}
	program_flush(from);
}

/* Queues in memory do not care. */
static void
memory_passes(void)
{
	struct connectd *c = program_open(&paris, "memory");
	struct told told = { 0 };

	program_send_numbers(c, "memory", 1, 50, &told);
	program_flush(c);
	ck_assert_uint_eq(told.arrived, 50);
	program_consume(c, "memory", 0);
	program_expect_numbers(c, 1, 50);
	connectd_close(c);
}

/* A queue on disk has its min_bytes, whatever another has taken; and takes no more. */
static void
guaranteed_passes(void)
{
	struct connectd *c = program_open(&paris, "other");
	struct told told = { 0 };

	for (int i = 1; i <= 200; i++) {
		char text[32];

		snprintf(text, sizeof(text), "%d", i);
		program_send(c, program_message("other", text, SIZE), &told);
	}
	program_flush(c);
	ck_assert_uint_eq(told.arrived, 200);
	program_consume(c, "other", 0);
	program_expect_numbers(c, 1, 200);
	connectd_close(c);
}

/* --------------------------------------------------------------------- full */

enum cause { MAX_DISK, TMPFS, EXT4 };
#define MIB 48

/* Whether there is a small file system, which can be eaten; with max_disk alone there is not. */
static bool
begin(enum cause cause)
{
	bool is_small = false;

	node_init(&paris, "paris", "segment = 1M\nmax_disk = %s\n" QUEUES, cause == MAX_DISK ? "12M" : "46M");
	if (cause != MAX_DISK)
		is_small = smallfs_mount(&paris, cause == TMPFS ? SMALLFS_TMPFS : SMALLFS_EXT4, MIB);
	if (cause != MAX_DISK && !is_small) {
		printf("t_full: no small file system can be mounted here: max_disk alone\n");
		node_configure(&paris, "segment = 1M\nmax_disk = 12M\n" QUEUES);
	}
	node_start(&paris);
	return is_small;
}

START_TEST(full)
{
	struct connectd *from, *to = NULL;
	uint64_t last = 0;
	bool is_small;
	pid_t pid;

	is_small = begin((enum cause)_i);
	pid = paris.pid;
	from = open_sender();
	for (; last < 200; last++)
		while (!try_send(from, last + 1))
			ck_assert_int_eq(connectd_wait(from, PROGRAM_PATIENCE_MS), 1);
	if (is_small)
		smallfs_eat(&paris, 0);
	last = send_until_it_stands(from, last);
	ck_assert_uint_gt(n_stored, 200);
	ck_assert_uint_lt(n_stored, last);
	if (is_small)
		node_await_logged(&paris, "the journal is full");
	ck_assert_uint_le(node_journal_bytes(&paris), 46u << 20);
	memory_passes();
	if (_i == MAX_DISK)
		guaranteed_passes();
	/* Acks go on, and make room. */
	to = open_receiver();
	receive(to, NULL, 1, 100);
	node_await_queue(&paris, "full", queue_consumed, 100);
	printf("t_full: %d: stood still with %" PRIu64 " stored, %" PRIu64 " KiB of journal\n", _i, n_stored,
	    node_journal_bytes(&paris) / 1024);
	receive(to, from, 101, last);
	if (is_small)
		smallfs_give_back(&paris);
	pass(from, to, last, last + 3000);
	ck_assert_uint_eq(n_stored, last + 3000);
	connectd_close(to);
	connectd_close(from);
	ck_assert_int_eq(paris.pid, pid);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

/* ------------------------------------------------------------------- faults */

/* Calls fail from now on, when the daemon starts again. */
static void
plan_fault(const char *call, uint64_t at, uint64_t how_many, const char *what)
{
	static char preload[300], calls[40], from[40], count[40], act[40];
	const char *b = getenv("B");

	snprintf(preload, sizeof(preload), "LD_PRELOAD=%s/tests/fault.so", b != NULL ? b : "build");
	snprintf(calls, sizeof(calls), "FAULT_CALL=%s", call);
	snprintf(from, sizeof(from), "FAULT_AT=%" PRIu64, at);
	snprintf(count, sizeof(count), "FAULT_FOR=%" PRIu64, how_many);
	snprintf(act, sizeof(act), "FAULT_DO=%s", what);
	paris.environment[0] = preload;
	paris.environment[1] = calls;
	paris.environment[2] = from;
	paris.environment[3] = count;
	paris.environment[4] = act;
	paris.environment[5] = "ASAN_OPTIONS=verify_asan_link_order=0";
	paris.environment[6] = NULL;
}

static void
no_fault(void)
{
	paris.environment[0] = NULL;
}

/*
 * From the fault on nothing is confirmed, whatever is sent. Where just one write
 * fails it may be one that nothing depends on (zeros ahead of the journal, an
 * index): false when a thousand messages behind it are safe.
 */
static bool
send_until_fenced(struct connectd *c, uint64_t *last_sent, bool once)
{
	uint64_t until = program_clock_ms() + PROGRAM_PATIENCE_MS, before, last = *last_sent, at_fault = 0;

	while (!node_logged(&paris, "the journal has failed")) {
		for (int i = 0; i < 8 && try_send(c, last + 1); i++)
			last++;
		ck_assert_int_ge(connectd_wait(c, 5), 0);
		if (once && at_fault == 0 && node_logged(&paris, "fault: "))
			at_fault = n_stored + 1;
		if (at_fault > 0 && n_stored > at_fault + 1000) {
			*last_sent = last;
			return false;
		}
		ck_assert_msg(program_clock_ms() < until, "the fault does not come: %" PRIu64 " stored", n_stored);
	}
	while (connectd_wait(c, 50) > 0)
		; /* what was confirmed before is read */
	before = n_stored;
	last += try_send(c, last + 1);
	connectd_flush(c, 200);
	ck_assert_uint_eq(n_stored, before);
	*last_sent = last;
	return true;
}

static const char *const calls[] = { "write", "sync" };

/* The n-th write or sync fails, once or from then on; also those of the start. */
START_TEST(failing_disk)
{
	uint64_t faults = soak_value("FULL_FAULTS", 10, 80), last = 0, received = 0, at_start = 0, harmless = 0;
	struct connectd *from, *to;

	node_init(&paris, "paris", "segment = 1M\nmax_disk = 64M\n" QUEUES);
	node_start(&paris);
	from = open_sender();
	for (uint64_t at = 1; at <= faults; at++) {
		uint64_t n = at <= 6 ? at : 3 * at - 12;
		int code;

		program_flush(from);
		ck_assert_int_eq(node_stop(&paris), 0);
		ck_assert_int_eq(unlink(paris.log), 0);
		plan_fault(calls[_i % 2], n, _i / 2, "EIO");
		code = node_try_start(&paris);
		ck_assert_msg(node_logged(&paris, "fault: ") || code == 0, "exit %d", code);
		if (code != 0) {
			/* It did not even start, and says why. */
			ck_assert(node_logged(&paris, "error"));
			ck_assert_int_ne(code, 128 + SIGSEGV);
			ck_assert_int_ne(code, 128 + SIGABRT);
			at_start++;
		} else {
			harmless += !send_until_fenced(from, &last, _i / 2 == 1 && _i % 2 == 0);
			memory_passes();
			/* Either way. */
			if (at % 2 == 0)
				node_kill(&paris);
			else
				node_stop(&paris);
		}
		no_fault();
		node_start(&paris);
		to = open_receiver();
		receive(to, from, received + 1, last);
		program_flush(from);
		ck_assert_uint_eq(n_stored, last - n_refused);
		/* Nothing else is there. */
		node_await_queue(&paris, "full", queue_holds, 0);
		received = last;
		connectd_close(to);
	}
	printf("t_full: %s fails %s: %" PRIu64 " faults, %" PRIu64 " of them at a start, %" PRIu64 " of no matter; %" PRIu64
	       " messages, none lost or doubled\n",
	    calls[_i % 2], _i / 2 == 0 ? "from then on" : "once", faults, at_start, harmless, last);
	ck_assert_uint_lt(at_start + harmless, faults);
	connectd_close(from);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

/* The control arm: writes that only say they went well. What was confirmed must be missing. */
START_TEST(lying_disk_is_noticed)
{
	uint64_t last = 0, got = 0;
	struct connectd *from, *to;
	struct connectd_msg *m;
	int code;

	node_init(&paris, "paris", "segment = 1M\nmax_disk = 64M\n" QUEUES);
	plan_fault("write", 40, 0, "lie");
	node_start(&paris);
	from = open_sender();
	while (n_stored < 3000) {
		while (last < 3000 && try_send(from, last + 1))
			last++;
		ck_assert_int_eq(connectd_wait(from, PROGRAM_PATIENCE_MS), 1);
	}
	connectd_close(from);
	node_kill(&paris);
	no_fault();
	code = node_try_start(&paris);
	if (code == 0) {
		to = open_receiver();
		while (connectd_recv(to, &m, STANDS_MS) == 0) {
			program_ack(to, m);
			got++;
		}
		ck_assert_uint_lt(got, n_stored);
		connectd_close(to);
		ck_assert_int_eq(node_stop(&paris), 0);
	}
	printf("t_full: a disk that lies (control): %" PRIu64 " of %" PRIu64 " confirmed messages are there\n", got, n_stored);
}
END_TEST

/* -------------------------------------------------------------- crash loops */

/* A full disk, and a start that is ended again and again, at one call after the other. */
START_TEST(crash_loop_on_a_full_disk)
{
	static const char *const ends[] = { "kill", "torn" };
	uint64_t crashes = soak_value("FULL_CRASHES", 24, 200), last = 0, died = 0;
	struct connectd *from, *to;
	bool is_small;

	is_small = begin((enum cause)_i);
	from = open_sender();
	for (; last < 200; last++)
		while (!try_send(from, last + 1))
			ck_assert_int_eq(connectd_wait(from, PROGRAM_PATIENCE_MS), 1);
	if (is_small)
		smallfs_eat(&paris, 0);
	last = send_until_it_stands(from, last);
	node_kill(&paris);
	for (uint64_t i = 0; i < crashes; i++) {
		plan_fault("any", 1 + i % 12, 1, ends[i / 12 % 2]);
		node_launch(&paris);
		if (node_await_ready(&paris))
			node_kill(&paris);
		else
			died += node_await_end(&paris) == 128 + SIGKILL;
		ck_assert_uint_le(node_journal_bytes(&paris), 46u << 20);
	}
	no_fault();
	node_start(&paris);
	printf("t_full: %d: %" PRIu64 " starts, %" PRIu64 " of them ended on the way\n", _i, crashes, died);
	ck_assert_uint_gt(died, crashes / 4);
	to = open_receiver();
	receive(to, from, 1, last);
	program_flush(from);
	if (is_small)
		smallfs_give_back(&paris);
	pass(from, to, last, last + 1000);
	node_await_queue(&paris, "full", queue_holds, 0);
	connectd_close(to);
	connectd_close(from);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("full");
	TCase *tc = tcase_create("full");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, soak_timeout(60));
	tcase_add_loop_test(tc, full, 0, 3);
	tcase_add_loop_test(tc, failing_disk, 0, 4);
	tcase_add_test(tc, lying_disk_is_noticed);
	tcase_add_loop_test(tc, crash_loop_on_a_full_disk, 0, 3);
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
