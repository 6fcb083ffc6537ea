/* What a queue promises to programs: bounds, consumers, redelivery, dead letters, times and priorities. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"
#include "wire.h"

static struct node paris;
static struct connectd *from, *to;

/* One node with these sections, and two programs at it. */
static void
begin(const char *sections)
{
	node_init(&paris, "paris", "%s", sections);
	node_start(&paris);
	from = program_open(&paris, "sender");
	to = program_open(&paris, "receiver");
}

static void
end(void)
{
	connectd_close(to);
	connectd_close(from);
	node_check_books(&paris);
	ck_assert_int_eq(node_stop(&paris), 0);
}

static bool
in_flight(const Connectd__V1__Queue *q, uint64_t messages)
{
	return q != NULL && q->in_flight == messages;
}

static bool
has_expired(const Connectd__V1__Queue *q, uint64_t messages)
{
	return q != NULL && q->counters->expired == messages;
}

static Connectd__V1__Counters
counters(const char *queue)
{
	Connectd__V1__Counters c;
	struct answer a;

	node_ask(&paris, WIRE_ADMIN_QUEUES, queue, 0, &connectd__v1__queue__descriptor, &a);
	ck_assert_uint_eq(a.n, 1);
	c = *((const Connectd__V1__Queue *)a.items[0])->counters;
	answer_free(&a);
	return c;
}

/* The only message of a queue is in this state, with this reason. */
static void
check_peeked(const char *queue, const char *state, const char *reason)
{
	const Connectd__V1__Peeked *p;
	struct answer a;

	node_ask(&paris, WIRE_ADMIN_PEEK, queue, 0, &connectd__v1__peeked__descriptor, &a);
	ck_assert_uint_eq(a.n, 1);
	p = (const Connectd__V1__Peeked *)a.items[0];
	ck_assert_str_eq(p->state, state);
	ck_assert_str_eq(p->reason, reason);
	ck_assert_str_eq(p->origin_proof, "local");
	answer_free(&a);
}

/* ------------------------------------------------------------------- full */

START_TEST(slow_stops_the_sender)
{
	struct told told = { 0 };

	begin("[queue \"orders\"]\nmax_messages = 10\n");
	program_send_numbers(from, "orders", 1, 100, &told);
	while (told.arrived < 10)
		ck_assert_int_eq(connectd_wait(from, PROGRAM_PATIENCE_MS), 1);
	/* It goes on asking for room and gets none; one message a flow may lie above the bound. */
	ck_assert_int_eq(connectd_flush(from, 100), -ETIMEDOUT);
	ck_assert_uint_le(told.arrived, 11);
	node_await_queue(&paris, "orders", queue_holds, told.arrived);
	program_consume(to, "orders", 0);
	for (uint64_t i = 1; i <= 100; i++) {
		while (told.arrived < i)
			ck_assert_int_eq(connectd_wait(from, PROGRAM_PATIENCE_MS), 1);
		program_expect_numbers(to, i, i);
	}
	program_flush(from);
	ck_assert_uint_eq(told.arrived, 100);
	ck_assert_uint_eq(counters("orders").rejected, 0);
	end();
}
END_TEST

START_TEST(reject_tells_the_sender)
{
	struct told told = { 0 };

	begin("[queue \"orders\"]\nmax_messages = 5\noverflow = reject\n");
	program_send_numbers(from, "orders", 1, 8, &told);
	program_flush(from);
	ck_assert_uint_eq(told.arrived, 5);
	ck_assert_uint_eq(told.rejected, 3);
	ck_assert_str_eq(told.reason, "the queue is full");
	program_consume(to, "orders", 0);
	program_expect_numbers(to, 1, 5);
	node_await_queue(&paris, "orders", queue_holds, 0);
	program_send_numbers(from, "orders", 9, 9, &told);
	program_flush(from);
	ck_assert_uint_eq(told.arrived, 6);
	program_expect_numbers(to, 9, 9);
	ck_assert_uint_eq(counters("orders").rejected, 3);
	end();
}
END_TEST

START_TEST(drop_oldest_keeps_the_newest)
{
	struct told told = { 0 };

	begin("[queue \"orders\"]\ndurable = no\nmax_messages = 5\noverflow = drop-oldest\n");
	program_send_numbers(from, "orders", 1, 12, &told);
	program_flush(from);
	ck_assert_uint_eq(told.arrived, 12);
	program_consume(to, "orders", 0);
	program_expect_numbers(to, 8, 12);
	ck_assert_uint_eq(counters("orders").dropped, 7);
	end();
}
END_TEST

/* What was dropped on its way to another node is told. */
START_TEST(drop_oldest_tells_senders)
{
	struct told told = { 0 };

	begin("[peer \"berlin\"]\nplaintext = yes\nfrom = 127.0.0.0/8\n"
	      "[queue \"berlin/orders\"]\ndurable = no\nmax_messages = 5\noverflow = drop-oldest\n");
	program_send_numbers(from, "berlin/orders", 1, 12, &told);
	while (told.dropped < 7)
		ck_assert_int_eq(connectd_wait(from, PROGRAM_PATIENCE_MS), 1);
	ck_assert_str_eq(told.reason, "the queue is full");
	ck_assert_uint_eq(connectd_unconfirmed(from), 5);
	node_await_queue(&paris, "berlin/orders", queue_holds, 5);
	ck_assert_uint_eq(told.arrived + told.other + told.rejected, 0);
	end();
}
END_TEST

/* -------------------------------------------------------------- consumers */

START_TEST(competing_consumers_share)
{
	struct connectd *second;

	begin("[queue \"orders\"]\n");
	second = program_open(&paris, "second");
	program_consume(to, "orders", 5);
	program_consume(second, "orders", 5);
	node_await_queue(&paris, "orders", queue_has_consumers, 2);
	program_send_numbers(from, "orders", 1, 10, NULL);
	program_flush(from);
	node_await_queue(&paris, "orders", in_flight, 10);
	/* Each message to one of them, each gets its share. */
	for (int i = 0; i < 5; i++) {
		program_ack(to, program_take(to));
		program_ack(second, program_take(second));
	}
	node_await_queue(&paris, "orders", queue_consumed, 10);
	ck_assert_uint_eq(counters("orders").redelivered, 0);
	connectd_close(second);
	end();
}
END_TEST

START_TEST(exclusive_consumer_and_standby)
{
	struct connectd *second;
	struct connectd_msg *m;

	begin("[queue \"orders\"]\n");
	second = program_open(&paris, "second");
	program_consume_alone(to, "orders");
	node_await_queue(&paris, "orders", queue_has_consumers, 1);
	program_consume_alone(second, "orders");
	node_await_queue(&paris, "orders", queue_has_consumers, 2);
	program_send_numbers(from, "orders", 1, 20, NULL);
	program_flush(from);
	program_expect_numbers(to, 1, 10);
	node_await_queue(&paris, "orders", in_flight, 10);
	ck_assert_int_eq(connectd_recv(second, &m, 0), -ETIMEDOUT);
	/* What the first one held comes to the other, in order, flagged. */
	connectd_close(to);
	for (int i = 11; i <= 20; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%d", i);
		program_ack(second, program_expect(second, text, 2));
	}
	node_await_queue(&paris, "orders", queue_consumed, 20);
	to = second;
	end();
}
END_TEST

START_TEST(credit_of_a_consumer)
{
	struct connectd_msg *m[3], *none;

	begin("[queue \"orders\"]\n");
	program_send_numbers(from, "orders", 1, 10, NULL);
	program_flush(from);
	program_consume(to, "orders", 2);
	m[0] = program_expect(to, "1", 1);
	m[1] = program_expect(to, "2", 1);
	node_await_queue(&paris, "orders", in_flight, 2);
	ck_assert_int_eq(connectd_recv(to, &none, 20), -ETIMEDOUT);
	program_ack(to, m[1]);
	m[2] = program_expect(to, "3", 1);
	ck_assert_int_eq(connectd_recv(to, &none, 20), -ETIMEDOUT);
	node_await_queue(&paris, "orders", queue_consumed, 1);
	program_ack(to, m[0]);
	program_ack(to, m[2]);
	program_expect_numbers(to, 4, 10);
	end();
}
END_TEST

/* A program that is killed with messages in its hands. */
START_TEST(consumer_dies)
{
	int status;
	pid_t pid;

	begin("[queue \"orders\"]\n");
	program_send_numbers(from, "orders", 1, 5, NULL);
	program_flush(from);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct connectd *victim = program_open(&paris, "victim");

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		program_consume(victim, "orders", 0);
		program_expect_numbers(victim, 1, 2);
		program_expect(victim, "3", 1);
		/* Until the acks are through. */
		connectd_wait(victim, 0);
		for (;;)
			pause();
	}
	node_await_queue(&paris, "orders", queue_consumed, 2);
	node_await_queue(&paris, "orders", in_flight, 3);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	program_consume(to, "orders", 0);
	program_ack(to, program_expect(to, "3", 2));
	program_ack(to, program_expect(to, "4", 2));
	program_ack(to, program_expect(to, "5", 2));
	node_await_queue(&paris, "orders", queue_consumed, 5);
	ck_assert_uint_eq(counters("orders").redelivered, 3);
	end();
}
END_TEST

/* ----------------------------------------------------- nack, dead letters */

static void
nack(struct connectd_msg *m, enum connectd_nack_action action, uint64_t delay_ms, const char *reason)
{
	ck_assert_int_eq(connectd_nack(to, m, action, delay_ms, reason), 0);
	connectd_msg_unref(m);
}

START_TEST(nack_returns)
{
	begin("[queue \"orders\"]\n");
	program_send_numbers(from, "orders", 1, 2, NULL);
	program_flush(from);
	program_consume(to, "orders", 1);
	/* Back to its place: before the other one. */
	nack(program_expect(to, "1", 1), CONNECTD_RETURN, 0, "not now");
	nack(program_expect(to, "1", 2), CONNECTD_RETURN, 0, "not now");
	program_ack(to, program_expect(to, "1", 3));
	program_ack(to, program_expect(to, "2", 1));
	end();
}
END_TEST

START_TEST(nack_delays)
{
	uint64_t start;

	begin("[queue \"orders\"]\n");
	program_send_numbers(from, "orders", 1, 2, NULL);
	program_flush(from);
	program_consume(to, "orders", 1);
	start = program_clock_ms();
	nack(program_expect(to, "1", 1), CONNECTD_DELAY, 300, "later");
	program_ack(to, program_expect(to, "2", 1));
	node_await_queue(&paris, "orders", queue_consumed, 1);
	check_peeked("orders", "delayed", "");
	program_ack(to, program_expect(to, "1", 2));
	ck_assert_uint_ge(program_clock_ms() - start, 300);
	end();
}
END_TEST

START_TEST(nack_to_dead_letters)
{
	begin("[queue \"orders\"]\n");
	program_send_numbers(from, "orders", 1, 2, NULL);
	program_flush(from);
	program_consume(to, "orders", 0);
	nack(program_expect(to, "1", 1), CONNECTD_TO_DEAD, 0, "no such customer");
	program_ack(to, program_expect(to, "2", 1));
	node_await_queue(&paris, "orders.dead", queue_holds, 1);
	check_peeked("orders.dead", "waiting", "no such customer");
	ck_assert_uint_eq(counters("orders").dead, 1);
	ck_assert_uint_eq(counters("orders.dead").moved_in, 1);
	/* A program takes it from there as from any queue. */
	program_consume(to, "orders.dead", 0);
	program_ack(to, program_expect(to, "1", 1));
	node_await_queue(&paris, "orders.dead", queue_holds, 0);
	end();
}
END_TEST

START_TEST(max_attempts)
{
	begin("[queue \"orders\"]\nmax_attempts = 2\ndead_letter = graves\n[queue \"graves\"]\n");
	program_send_numbers(from, "orders", 1, 1, NULL);
	program_flush(from);
	program_consume(to, "orders", 0);
	nack(program_expect(to, "1", 1), CONNECTD_RETURN, 0, "tired");
	nack(program_expect(to, "1", 2), CONNECTD_RETURN, 0, "very tired");
	node_await_queue(&paris, "graves", queue_holds, 1);
	check_peeked("graves", "waiting", "max_attempts: very tired");
	ck_assert_uint_eq(counters("orders").dead, 1);
	end();
}
END_TEST

START_TEST(ack_timeout)
{
	struct connectd_msg *m;

	begin("[queue \"orders\"]\nack_timeout = 1s\n"); /* more than an ack takes on a loaded machine */
	program_send_numbers(from, "orders", 1, 2, NULL);
	program_flush(from);
	program_consume(to, "orders", 1);
	m = program_expect(to, "1", 1);
	/* Its credit is used up by what it never acked: another one gets it. */
	program_consume(from, "orders", 0);
	program_ack(from, program_expect(from, "2", 1));
	program_ack(from, program_expect(from, "1", 2));
	node_await_queue(&paris, "orders", queue_consumed, 2);
	/* Too late, and no harm. */
	ck_assert_int_eq(connectd_ack(to, m), 0);
	connectd_msg_unref(m);
	program_send_numbers(from, "orders", 3, 3, NULL);
	program_flush(from);
	ck_assert_uint_eq(counters("orders").consumed, 2);
	connectd_close(from);
	from = program_open(&paris, "sender");
	node_await_queue(&paris, "orders", queue_has_consumers, 1);
	m = program_take(to);
	ck_assert_str_eq(program_text(m), "3");
	program_ack(to, m);
	end();
}
END_TEST

/* ------------------------------------------------------- times, priorities */

START_TEST(time_to_live)
{
	struct told told = { 0 };
	struct connectd_msg *m;

	begin("[queue \"orders\"]\n[queue \"news\"]\nttl = 100ms\n[peer \"berlin\"]\nplaintext = yes\nfrom = 127.0.0.0/8\n");
	/* Nobody takes them: by the message's time, and by the queue's. */
	m = program_message("orders", "short-lived", 0);
	ck_assert_int_eq(connectd_msg_set_ttl(m, 100), 0);
	program_send(from, m, NULL);
	program_send_text(from, "orders", "long-lived", NULL);
	program_send_text(from, "news", "short-lived", NULL);
	/* Its sender hears of one that waits for another node. */
	m = program_message("berlin/orders", "short-lived", 0);
	ck_assert_int_eq(connectd_msg_set_ttl(m, 100), 0);
	program_send(from, m, &told);
	program_flush(from);
	ck_assert_uint_eq(told.expired, 1);
	ck_assert_str_eq(told.reason, "its time to live is over");
	node_await_queue(&paris, "orders", has_expired, 1);
	node_await_queue(&paris, "news", has_expired, 1);
	node_await_queue(&paris, "berlin/orders", has_expired, 1);
	program_consume(to, "orders", 0);
	program_ack(to, program_expect(to, "long-lived", 1));
	end();
}
END_TEST

START_TEST(not_before)
{
	uint64_t start = program_clock_ms();
	struct connectd_msg *m;

	begin("[queue \"orders\"]\n");
	m = program_message("orders", "late", 0);
	ck_assert_int_eq(connectd_msg_set_not_before(m, 300), 0);
	program_send(from, m, NULL);
	program_flush(from);
	check_peeked("orders", "delayed", "");
	program_send_text(from, "orders", "soon", NULL);
	program_consume(to, "orders", 0);
	program_ack(to, program_expect(to, "soon", 1));
	program_ack(to, program_expect(to, "late", 1));
	ck_assert_uint_ge(program_clock_ms() - start, 300);
	end();
}
END_TEST

static void
send_at(enum connectd_priority priority, const char *text)
{
	struct connectd_msg *m = program_message("orders", text, 0);

	ck_assert_int_eq(connectd_msg_set_priority(m, priority), 0);
	program_send(from, m, NULL);
}

START_TEST(priorities)
{
	char order[32] = "";

	begin("[queue \"orders\"]\n");
	for (int i = 0; i < 10; i++) {
		send_at(CONNECTD_LOW, "l");
		send_at(CONNECTD_NORMAL, "n");
	}
	send_at(CONNECTD_HIGH, "h");
	program_flush(from);
	program_consume(to, "orders", 0);
	for (int i = 0; i < 21; i++) {
		struct connectd_msg *m = program_take(to);

		strcat(order, program_text(m));
		program_ack(to, m);
	}
	/* High first; then four to one, so that low is not starved. */
	ck_assert_str_eq(order, "hnnnnlnnnnlnnllllllll");
	end();
}
END_TEST

START_TEST(purge)
{
	struct told told = { 0 };
	struct answer a;

	begin("[peer \"berlin\"]\nplaintext = yes\nfrom = 127.0.0.0/8\n");
	program_send_numbers(from, "berlin/orders", 1, 20, &told);
	while (connectd_flush(from, 20) == -ETIMEDOUT && counters("berlin/orders").accepted < 20)
		;
	node_ask(&paris, WIRE_ADMIN_PURGE, "berlin/orders", 0, &connectd__v1__purged__descriptor, &a);
	ck_assert_uint_eq(a.n, 1);
	ck_assert_uint_eq(((const Connectd__V1__Purged *)a.items[0])->messages, 20);
	answer_free(&a);
	program_flush(from);
	ck_assert_uint_eq(told.purged, 20);
	ck_assert_str_eq(told.reason, "purged");
	node_await_queue(&paris, "berlin/orders", queue_holds, 0);
	end();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("queues");
	TCase *tc = tcase_create("queues");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, slow_stops_the_sender);
	tcase_add_test(tc, reject_tells_the_sender);
	tcase_add_test(tc, drop_oldest_keeps_the_newest);
	tcase_add_test(tc, drop_oldest_tells_senders);
	tcase_add_test(tc, competing_consumers_share);
	tcase_add_test(tc, exclusive_consumer_and_standby);
	tcase_add_test(tc, credit_of_a_consumer);
	tcase_add_test(tc, consumer_dies);
	tcase_add_test(tc, nack_returns);
	tcase_add_test(tc, nack_delays);
	tcase_add_test(tc, nack_to_dead_letters);
	tcase_add_test(tc, max_attempts);
	tcase_add_test(tc, ack_timeout);
	tcase_add_test(tc, time_to_live);
	tcase_add_test(tc, not_before);
	tcase_add_test(tc, priorities);
	tcase_add_test(tc, purge);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
