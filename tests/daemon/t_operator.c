/* What operators have done to queues and producers, with connectctl. */
#include <check.h>
#include <connectd.h>
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "operator.h"
#include "program.h"
#include "wire.h"

#define QUEUES                                                                                                 \
	"[queue \"*\"]\ndurable = yes\n"                                                                          \
	"[queue \"orders\"]\ndurable = yes\n[queue \"other\"]\ndurable = yes\n[queue \"fleeting\"]\ndurable = no\n"

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

/* ------------------------------------------------------------ hold, release */

START_TEST(hold)
{
	struct connectd *c, *taker;
	struct connectd_msg *m;

	begin("");
	c = program_open(&paris, "sender");
	taker = program_open(&paris, "taker");
	program_consume(taker, "orders", 0);
	program_send_numbers(c, "orders", 1, 3, NULL);
	program_flush(c);
	program_expect_numbers(taker, 1, 3);
	node_await_queue(&paris, "orders", queue_consumed, 3);
	operator_does(&paris, "orders is held: `connectctl release orders` lets it go on", "hold orders");
	operator_does(&paris, "orders is held already", "hold paris/orders");
	ck_assert(operator_sees(&paris, "\"held\":true", "queues orders --json"));
	program_send_numbers(c, "orders", 4, 20, NULL);
	program_flush(c);
	/* What goes through another queue behind it shows that nothing came. */
	program_consume(taker, "other", 0);
	program_send_text(c, "other", "first", NULL);
	program_flush(c);
	program_ack(taker, program_expect(taker, "first", 1));
	node_await_queue(&paris, "orders", queue_holds, 17);
	connectd_close(taker);
	connectd_close(c);

	/* It stays so. */
	node_kill(&paris);
	node_start(&paris);
	ck_assert(operator_sees(&paris, "\"held\":true", "queues orders --json"));
	taker = program_open(&paris, "taker");
	program_consume(taker, "orders", 0);
	node_await_queue(&paris, "orders", queue_has_consumers, 1);
	ck_assert_int_eq(connectd_recv(taker, &m, 50), -ETIMEDOUT);
	operator_does(&paris, "orders is released", "release orders");
	for (int i = 4; i <= 20; i++) {
		m = program_take(taker);
		ck_assert_int_eq(atoi(program_text(m)), i);
		program_ack(taker, m);
	}
	operator_does(&paris, "orders was not held", "release orders");
	connectd_close(taker);
	again();
	ck_assert(operator_sees(&paris, "\"held\":false", "queues orders --json"));
	operator_fails(&paris, "no such queue", "hold nowhere");

	/* One that would go away when nobody uses it is kept. */
	operator_does(&paris, "fleeting is held, until the daemon ends", "hold fleeting");
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

/* Of a queue for another node nothing goes out. */
START_TEST(hold_of_a_link)
{
	static struct node rome;
	struct told told = { 0 };
	struct connectd *c, *other;

	begin("[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n[peer \"rome\"]\nplaintext = yes\nfrom = 127.0.0.0/8\n"
	      "[queue \"rome/orders\"]\ndurable = yes\n");
	node_init(&rome, "rome", QUEUES "[peer \"paris\"]\naddress = %s\nplaintext = yes\nbackoff_max = 100ms\n", paris.url);
	node_start(&rome);
	node_await_peer(&paris, "rome", "up");
	operator_does(&paris, "rome/orders is held", "hold rome/orders");
	c = program_open(&paris, "sender");
	program_send_numbers(c, "rome/orders", 1, 10, &told);
	ck_assert_int_ge(connectd_flush(c, 100), -ETIMEDOUT);
	other = program_open(&paris, "other");
	program_send_text(other, "rome/other", "through", NULL);
	program_flush(other);
	connectd_close(other);
	node_await_queue(&rome, "other", queue_holds, 1);
	node_await_queue(&rome, "orders", queue_holds, 0);
	operator_does(&paris, "rome/orders is released", "release rome/orders");
	program_flush(c);
	ck_assert_uint_eq(told.arrived, 10);
	connectd_close(c);
	ck_assert_int_eq(node_stop(&rome), 0);
	end();
}
END_TEST

/* --------------------------------------------------------------------- move */

static void
fill(const char *queue, uint64_t n)
{
	struct connectd *c = program_open(&paris, "sender");

	program_send_numbers(c, queue, 1, n, NULL);
	program_flush(c);
	connectd_close(c);
}

/* They come in order, whatever they are flagged. */
static void
take_all(const char *queue, uint64_t first, uint64_t last)
{
	struct connectd *c = program_open(&paris, "taker");

	program_consume(c, queue, 0);
	for (uint64_t i = first; i <= last; i++) {
		struct connectd_msg *m = program_take(c);

		ck_assert_uint_eq(strtoull(program_text(m), NULL, 10), i);
		program_ack(c, m);
	}
	connectd_close(c);
	node_await_queue(&paris, queue, queue_holds, 0);
}

START_TEST(move)
{
	struct operated r;

	begin("");
	fill("orders", 1000);
	operator_does(&paris, "\"messages\":100,", "move orders other --count 100 --json");
	node_await_queue(&paris, "orders", queue_holds, 900);
	node_await_queue(&paris, "other", queue_holds, 100);
	operator_does(&paris, "900", "move orders other");
	node_await_queue(&paris, "orders", queue_holds, 0);
	node_check_books(&paris);
	node_kill(&paris);
	node_start(&paris);
	node_await_queue(&paris, "orders", queue_holds, 0);
	node_await_queue(&paris, "other", queue_holds, 1000);
	/* Found on disk, and moved without having been in memory; into a queue that is made for it. */
	operator_does(&paris, "{\"messages\":1000,\"bytes\":", "move other third --json");
	take_all("third", 1, 1000);

	operator_fails(&paris, "no such queue", "move nowhere orders");
	operator_fails(&paris, "orders is both", "move orders paris/orders");
	operator_fails(&paris, "a queue of another node", "move orders rome/orders");
	operator_fails(&paris, "only the daemon puts messages into a dead-letter queue", "move orders orders.dead");
	fill("orders", 3);
	operator_fails(&paris, "keeps messages in memory, where durable ones would not be safe", "move orders fleeting");
	node_await_queue(&paris, "orders", queue_holds, 3);
	operator_runs(&paris, &r, "move orders other --count 0");
	ck_assert_int_eq(r.code, 2);
	/* Memory messages stay what they are. */
	fill("fleeting", 500);
	operator_does(&paris, "\"messages\":500", "move fleeting other --json");
	operator_does(&paris, "\"messages\":3,", "move orders other --json");
	again();
	node_await_queue(&paris, "other", queue_holds, 3);
	take_all("other", 1, 3);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

/* It stops where there is no room, says so, and what waits is in one of the two. */
START_TEST(move_into_a_small_queue)
{
	struct operated r;

	begin("[queue \"small\"]\ndurable = yes\nmax_messages = 10\n");
	fill("orders", 25);
	operator_runs(&paris, &r, "move orders small --json");
	ck_assert_int_eq(r.code, 1);
	ck_assert_ptr_nonnull(strstr(r.out, "{\"messages\":10,"));
	ck_assert_ptr_nonnull(strstr(r.out, "\"left\":15,"));
	ck_assert_ptr_nonnull(strstr(r.err, "small is full: its max_messages or max_bytes are reached"));
	take_all("small", 1, 10);
	take_all("orders", 11, 25);
	end();
}
END_TEST

static bool
holds_some(const Connectd__V1__Queue *q, uint64_t messages)
{
	return q != NULL && q->waiting >= messages;
}

static uint64_t
waiting_in(const char *queue)
{
	struct answer a;
	uint64_t n;

	node_ask(&paris, WIRE_ADMIN_QUEUES, queue, 0, &connectd__v1__queue__descriptor, &a);
	ck_assert_uint_eq(a.n, 1);
	n = ((const Connectd__V1__Queue *)a.items[0])->waiting;
	answer_free(&a);
	return n;
}

/* A daemon that is killed meanwhile: each message is in one of the two, and in order. */
START_TEST(move_and_kill)
{
	enum { N = 100000 };
	uint64_t moved;
	pid_t pid;
	int status;

	begin("");
	fill("orders", N);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct operated r;

		operator_runs(&paris, &r, "move orders other");
		_exit(0);
	}
	node_await_queue(&paris, "other", holds_some, 1);
	node_kill(&paris);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	node_start(&paris);
	moved = waiting_in("other");
	ck_assert_uint_lt(moved, N); /* else it was killed too late to prove anything */
	ck_assert_uint_eq(waiting_in("orders"), N - moved);
	if (moved > 0)
		take_all("other", 1, moved);
	take_all("orders", moved + 1, N);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

/* Dead letters are tried again by moving them back. */
/* What was said to be done survives a crash right behind it. */
START_TEST(purge_and_kill)
{
	begin("");
	for (int i = 0; i < 5; i++) {
		fill("orders", 5);
		operator_does(&paris, "\"messages\":5,", "purge orders --yes --json");
		node_kill(&paris);
		node_start(&paris);
		ck_assert_uint_eq(waiting_in("orders"), 0);
	}
	end();
}
END_TEST

START_TEST(move_dead_letters)
{
	struct connectd *c;

	begin("[queue \"tried\"]\ndurable = yes\nmax_attempts = 1\n");
	fill("tried", 5);
	c = program_open(&paris, "rejecter");
	program_consume(c, "tried", 1);
	for (int i = 0; i < 5; i++) {
		struct connectd_msg *m = program_take(c);

		ck_assert_int_eq(connectd_nack(c, m, CONNECTD_TO_DEAD, 0, "no good"), 0);
		connectd_msg_unref(m);
	}
	node_await_queue(&paris, "tried.dead", queue_holds, 5);
	connectd_close(c);
	again();
	operator_does(&paris, "\"messages\":5,", "move tried.dead tried --json");
	ck_assert(!operator_sees(&paris, "no good", "peek tried"));
	take_all("tried", 1, 5);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

/* ---------------------------------------------------------------- orphans, purge */

#define BERLIN "[peer \"berlin\"]\naddress = tcp://127.0.0.1:1\nplaintext = yes\n"

/*
 * What waits for a node that may have it goes at a purge, and is counted as in
 * doubt; once that node is no peer any more its queue takes nothing, and can be
 * purged, for good.
 */
START_TEST(orphans)
{
	begin(BERLIN);
	operator_does(&paris, "", "send berlin/orders --text crumb");
	again();
	operator_does(&paris, "\"in_doubt\":1", "purge berlin/orders --yes --json");
	again();
	operator_does(&paris, "\"waiting\":0,", "queues berlin/orders --json");
	for (int i = 0; i < 3; i++)
		operator_does(&paris, "", "send berlin/orders --text loaf");
	operator_does(&paris, "\"orphan\":false", "queues berlin/orders --json");
	ck_assert_int_eq(node_stop(&paris), 0);
	node_configure(&paris, "%s", QUEUES);
	node_start(&paris);
	operator_does(&paris, "\"orphan\":true", "queues berlin/orders --json");
	operator_fails(&paris, "no peer berlin is configured", "send berlin/orders --text more");
	/* Configured again it would go on. */
	again();
	node_await_queue(&paris, "berlin/orders", queue_holds, 3);
	operator_does(&paris, "\"messages\":3,", "purge berlin/orders --yes --json");
	node_kill(&paris);
	node_start(&paris);
	operator_does(&paris, "\"waiting\":0,", "queues berlin/orders --json");
	end();
}
END_TEST

/* Where queues keep messages in memory unless they say otherwise: what was stored is, dead, too. */
START_TEST(dead_letters_of_a_durable_queue)
{
	struct connectd *c;

	node_init(&paris, "paris", "[queue \"*\"]\ndurable = no\n[queue \"tried\"]\ndurable = yes\n");
	node_start(&paris);
	for (int i = 1; i <= 2; i++) {
		struct connectd_msg *m;

		fill("tried", 1);
		c = program_open(&paris, "rejecter");
		program_consume(c, "tried", 1);
		m = program_take(c);
		ck_assert_int_eq(connectd_nack(c, m, CONNECTD_TO_DEAD, 0, "no good"), 0);
		connectd_msg_unref(m);
		node_await_queue(&paris, "tried.dead", queue_holds, (uint64_t)i);
		connectd_close(c);
		again();
		ck_assert_uint_eq(waiting_in("tried.dead"), i);
	}
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
	tcase_add_test(tc, hold);
	tcase_add_test(tc, hold_of_a_link);
	tcase_add_test(tc, move);
	tcase_add_test(tc, move_into_a_small_queue);
	tcase_add_test(tc, move_and_kill);
	tcase_add_test(tc, purge_and_kill);
	tcase_add_test(tc, move_dead_letters);
	tcase_add_test(tc, orphans);
	tcase_add_test(tc, dead_letters_of_a_durable_queue);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
