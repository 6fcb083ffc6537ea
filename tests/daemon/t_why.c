/* `connectctl why`: each thing that can hold a queue, a link or a message is brought about, and must be named, alone. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "operator.h"
#include "program.h"
#include "raw.h"
#include "wire.h"

#define LISTEN "[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n"
#define ACCEPTS(name) "[peer \"" name "\"]\nplaintext = yes\nfrom = 127.0.0.0/8\n"
#define DIALS(name) "[peer \"" name "\"]\nplaintext = yes\nbackoff_min = 1ms\nbackoff_max = 2s\naddress = "
#define NOWHERE "tcp://127.0.0.1:9\n"
#define NOBODY 65534

static struct node paris, berlin;
static struct connectd *from, *to;

static void
begin(const char *rest)
{
	node_init(&paris, "paris", "%s", rest);
	node_start(&paris);
	from = program_open(&paris, "sender");
}

static void
end(void)
{
	connectd_close(from);
	node_check_books(&paris);
	ck_assert_int_eq(node_stop(&paris), 0);
}

/* Without waiting for what becomes of them. */
static void
put(const char *dest, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		program_send_text(from, dest, "text", NULL);
	connectd_flush(from, 50);
}

/* ---------------------------------------------------------- queues of this node */

START_TEST(nothing_waits)
{
	begin("[queue \"orders\"]\n");
	node_await_why(&paris, "orders", "empty", "nothing waits");
	end();
}
END_TEST

START_TEST(nobody_consumes)
{
	begin("[queue \"orders\"]\n");
	put("orders", 3);
	node_await_why(&paris, "orders", "no-consumer", "3 messages wait: nobody consumes it");
	end();
}
END_TEST

START_TEST(held_by_an_operator)
{
	begin("[queue \"orders\"]\n");
	put("orders", 1);
	operator_does(&paris, "is held", "hold orders");
	node_await_why(&paris, "orders", "held", "1 message waits: an operator holds it: connectctl release orders");
	/* With a consumer, too. */
	to = program_open(&paris, "receiver");
	program_consume(to, "orders", 0);
	node_await_queue(&paris, "orders", queue_has_consumers, 1);
	node_await_why(&paris, "orders", "held", "");
	operator_does(&paris, "is released", "release orders");
	program_ack(to, program_take(to));
	node_await_why(&paris, "orders", "empty", "");
	connectd_close(to);
	end();
}
END_TEST

START_TEST(a_consumer_does_not_ack)
{
	struct connectd_msg *m;
	char text[80];

	begin("[queue \"orders\"]\n");
	put("orders", 5);
	to = program_open(&paris, "receiver");
	program_consume(to, "orders", 2);
	m = program_take(to);
	snprintf(text, sizeof(text), "5 messages wait: the consumer of uid %u holds 2 unacked, the oldest for ", geteuid());
	node_await_why(&paris, "orders", "unacked", text);
	/* All are with it: the same. */
	program_ack(to, m);
	for (unsigned i = 2; i < 5; i++)
		program_ack(to, program_take(to));
	m = program_take(to);
	node_await_why(&paris, "orders", "unacked", "holds 1 unacked");
	program_ack(to, m);
	node_await_why(&paris, "orders", "empty", "");
	connectd_close(to);
	end();
}
END_TEST

/* Of several the one that holds something longest. */
START_TEST(the_slowest_consumer)
{
	struct connectd *other;
	struct connectd_msg *m;

	begin("[queue \"orders\"]\n");
	put("orders", 3);
	to = program_open(&paris, "slow");
	program_consume(to, "orders", 1);
	m = program_take(to);
	node_await_why(&paris, "orders", "unacked", "holds 1 unacked");
	other = program_open(&paris, "slow as well");
	program_consume(other, "orders", 2);
	connectd_msg_unref(program_take(other));
	connectd_msg_unref(program_take(other));
	node_await_why(&paris, "orders", "unacked", "holds 1 unacked");
	program_ack(to, m);
	program_flush(to);
	connectd_close(to);
	node_await_why(&paris, "orders", "unacked", "holds 2 unacked");
	connectd_close(other);
	end();
}
END_TEST

static struct raw *
subscribed(uint64_t messages)
{
	struct raw *r = raw_client(&paris);

	raw_greet_client(r);
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_SUBSCRIBE, .u.subscribe = { .subscription = 1, .queue = wire_string("orders"),
		.credit_messages = messages, .credit_bytes = messages * (1 << 20) } });
	raw_until(r, WIRE_SUBSCRIBED);
	return r;
}

START_TEST(a_consumer_gives_no_credit)
{
	struct raw *r;

	begin("[queue \"orders\"]\n");
	r = subscribed(0);
	put("orders", 1);
	node_await_why(&paris, "orders", "no-credit", "has given no credit, and holds nothing");
	raw_close(r);
	node_await_why(&paris, "orders", "no-consumer", "");
	end();
}
END_TEST

START_TEST(a_consumer_does_not_read)
{
	struct connectd_msg *m;
	struct raw *r;

	begin("[queue \"orders\"]\ndurable = no\n");
	r = subscribed(1000);
	for (unsigned i = 0; i < 40; i++) {
		m = program_message("orders", "large", 60000);
		program_send(from, m, NULL);
	}
	program_flush(from);
	node_await_why(&paris, "orders", "not-reading", "does not read what it is sent");
	raw_close(r);
	node_await_why(&paris, "orders", "no-consumer", "40 messages wait");
	end();
}
END_TEST

START_TEST(not_due)
{
	struct connectd_msg *m;

	begin("[queue \"orders\"]\n");
	m = program_message("orders", "late", 0);
	ck_assert_int_eq(connectd_msg_set_not_before(m, 3600 * 1000), 0);
	program_send(from, m, NULL);
	program_flush(from);
	node_await_why(&paris, "orders", "not-due", "all are delayed, the next one for 59 min");
	/* What is not delayed is what matters. */
	put("orders", 1);
	node_await_why(&paris, "orders", "no-consumer", "");
	end();
}
END_TEST

START_TEST(dead_letters_are_full)
{
	begin("[queue \"orders\"]\nmax_attempts = 1\ndead_letter = graves\n[queue \"graves\"]\nmax_messages = 1\n");
	put("orders", 2);
	to = program_open(&paris, "receiver");
	program_consume(to, "orders", 2);
	for (unsigned i = 0; i < 2; i++) {
		struct connectd_msg *m = program_take(to);

		ck_assert_int_eq(connectd_nack(to, m, CONNECTD_RETURN, 0, "tired"), 0);
		connectd_msg_unref(m);
	}
	node_await_queue(&paris, "graves", queue_holds, 1);
	node_await_why(&paris, "orders", "dead-letters-full", "the queue for dead letters has no room");
	node_await_why(&paris, "graves", "no-consumer", "1 message waits");
	connectd_close(to);
	end();
}
END_TEST

/* Senders wait though their queue is empty. */
START_TEST(memory_is_full)
{
	enum { N = 4000 };
	struct connectd_msg *m;
	struct connectd *other;

	begin("max_memory = 4M\nmax_message = 512K\nmax_partial = 1M\n[queue \"full\"]\ndurable = no\n[queue \"orders\"]\ndurable = no\n");
	for (unsigned i = 0; i < N; i++)
		program_send(from, program_message("full", "x", 1000), NULL);
	ck_assert_int_eq(connectd_flush(from, 500), -ETIMEDOUT);
	to = program_open(&paris, "receiver");
	program_consume(to, "orders", 0);
	other = program_open(&paris, "other");
	/* There may be room for one more. */
	for (unsigned i = 0; i < 3; i++)
		program_send(other, program_message("orders", "x", 3000), NULL);
	connectd_flush(other, 50);
	while (connectd_recv(to, &m, 50) == 0)
		program_ack(to, m);
	node_await_why(&paris, "orders", "no-room", "it is empty, and its senders wait: max_memory is reached");
	node_await_why(&paris, "full", "no-consumer", "");
	connectd_close(other);
	connectd_close(to);
	connectd_close(from);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

START_TEST(the_journal_has_failed)
{
	static char preload[200];
	const char *b = getenv("B");

	node_init(&paris, "paris", "%s", "[queue \"orders\"]\n");
	snprintf(preload, sizeof(preload), "LD_PRELOAD=%s/tests/fault.so", b != NULL ? b : "build");
	paris.environment[0] = preload;
	paris.environment[1] = "FAULT_CALL=sync";
	paris.environment[2] = "FAULT_AT=20";
	paris.environment[3] = "FAULT_DO=EIO";
	paris.environment[4] = "ASAN_OPTIONS=verify_asan_link_order=0";
	node_start(&paris);
	from = program_open(&paris, "sender");
	for (unsigned i = 0; i < 1000 && !node_logged(&paris, "fault: "); i++)
		put("orders", 1);
	to = program_open(&paris, "receiver");
	program_consume(to, "orders", 0);
	node_await_why(&paris, "orders", "journal-failed", "the journal has failed: mend the disk, restart connectd: ");
	connectd_close(to);
	connectd_close(from);
	node_kill(&paris);
}
END_TEST

/* ------------------------------------------------------------------- messages */

static void
id_of(const char *queue, unsigned i, char ret[static 48])
{
	const Connectd__V1__Peeked *p;
	struct answer a;

	node_ask(&paris, WIRE_ADMIN_PEEK, queue, 0, &connectd__v1__peeked__descriptor, &a);
	ck_assert_uint_gt(a.n, i);
	p = (const Connectd__V1__Peeked *)a.items[i];
	snprintf(ret, 48, "%s", p->id);
	answer_free(&a);
}

START_TEST(one_message)
{
	char waiting[48], held[48], delayed[48], colon[48];
	struct connectd_msg *m;

	begin("[queue \"orders\"]\n[queue \"a\"]\n[queue \"z\"]\n");
	put("orders", 2);
	m = program_message("z", "late", 0);
	ck_assert_int_eq(connectd_msg_set_not_before(m, 3600 * 1000), 0);
	program_send(from, m, NULL);
	program_flush(from);
	id_of("orders", 0, held);
	id_of("orders", 1, waiting);
	id_of("z", 0, delayed);
	node_await_why(&paris, waiting, "no-consumer", "in orders, waiting: nobody consumes it");
	node_await_why(&paris, delayed, "not-due", "in z, delayed: it is delayed for 59 min");
	snprintf(colon, sizeof(colon), "%s", waiting);
	*strchr(colon, '-') = ':';
	node_await_why(&paris, colon, "no-consumer", "in orders");
	to = program_open(&paris, "receiver");
	program_consume(to, "orders", 1);
	m = program_take(to);
	node_await_why(&paris, held, "unacked", "in orders, in flight: the consumer of uid ");
	node_await_why(&paris, waiting, "unacked", "in orders, waiting: the consumer of uid ");
	program_ack(to, m);
	program_ack(to, program_take(to));
	node_await_why(&paris, "orders", "empty", "");
	operator_fails(&paris, "no message of that id is here", "why %s", held);
	operator_fails(&paris, "no message of that id is here", "why 0123456789abcdef-1");
	connectd_close(to);
	end();
}
END_TEST

/* Of which only the journal has the body. */
START_TEST(one_message_on_disk)
{
	enum { N = 3000 };
	char id[48];
	struct answer a;

	begin("max_memory = 8M\nmax_message = 512K\nmax_partial = 1M\n[queue \"orders\"]\n[queue \"a\"]\n");
	for (unsigned i = 0; i < N; i++)
		program_send(from, program_message("orders", "x", 4000), NULL);
	program_flush(from);
	id_of("orders", 0, id);
	node_ask(&paris, WIRE_ADMIN_QUEUES, "orders", 0, &connectd__v1__queue__descriptor, &a);
	ck_assert_uint_gt(((const Connectd__V1__Queue *)a.items[0])->on_disk, N / 2);
	answer_free(&a);
	/* The last one: numbers rise by one each. */
	snprintf(strchr(id, '-') + 1, 24, "%llu", strtoull(strchr(id, '-') + 1, NULL, 10) + N - 1);
	node_await_why(&paris, id, "no-consumer", "in orders, on disk: nobody consumes it");
	snprintf(strchr(id, '-') + 1, 20, "%d", N + 1000000);
	operator_fails(&paris, "no message of that id is here", "why %s", id);
	end();
}
END_TEST

/* ----------------------------------------------------------------------- links */

static void
begin_pair(const char *paris_queues, const char *berlin_rest)
{
	node_init(&berlin, "berlin", "%s" LISTEN ACCEPTS("paris"), berlin_rest);
	node_start(&berlin);
	node_init(&paris, "paris", "%s" DIALS("berlin") "%s\n", paris_queues, berlin.url);
	node_start(&paris);
	from = program_open(&paris, "sender");
	node_await_peer(&paris, "berlin", "up");
}

static void
end_pair(void)
{
	end();
	ck_assert_int_eq(node_stop(&berlin), 0);
}

START_TEST(up_and_down)
{
	begin_pair("", "[queue \"orders\"]\n");
	node_await_why(&paris, "berlin", "up", "the link to berlin is up since 20");
	node_await_why(&berlin, "paris", "up", "");
	put("berlin/orders", 1);
	program_flush(from);
	node_await_why(&paris, "berlin/orders", "empty", "");
	node_kill(&berlin);
	node_await_peer(&paris, "berlin", "waiting");
	put("berlin/orders", 2);
	node_await_why(&paris, "berlin", "unreachable", "2 messages wait");
	node_await_why(&paris, "berlin", "unreachable", "the link to berlin is down");
	node_await_why(&paris, "berlin", "unreachable", ", retry in ");
	node_await_why(&paris, "berlin/orders", "unreachable", "2 messages wait: the link to berlin is down");
	node_start(&berlin);
	/* It listens elsewhere now. */
	node_configure(&paris, DIALS("berlin") "%s\n", berlin.url);
	operator_does(&paris, "read again", "reload");
	program_flush(from);
	node_await_why(&paris, "berlin/orders", "empty", "");
	end_pair();
}
END_TEST

START_TEST(never_up)
{
	begin(DIALS("berlin") NOWHERE ACCEPTS("rome"));
	put("berlin/orders", 1);
	node_await_why(&paris, "berlin", "unreachable", "the link to berlin has not been up yet since 20");
	node_await_why(&paris, "berlin", "unreachable", "connection refused");
	node_await_why(&paris, "berlin/orders", "unreachable", "1 message waits: the link to berlin has not been up yet");
	node_await_why(&paris, "rome", "not-dialled", "waits to be dialled by it");
	operator_fails(&paris, "there is no queue and no peer of that name", "why madrid");
	operator_fails(&paris, "there is no such peer", "why --peer berlin/orders");
	operator_fails(&paris, "there is no such queue", "why --queue berlin");
	/* No peer any more. */
	node_configure(&paris, "%s", LISTEN);
	operator_does(&paris, "read again", "reload");
	node_await_why(&paris, "berlin/orders", "not-configured", "berlin is no peer in the configuration");
	end();
}
END_TEST

/* What the other end says when it refuses, and what it says of that itself. */
START_TEST(refused_there)
{
	node_init(&berlin, "berlin", LISTEN "%s", "[peer \"oslo\"]\nplaintext = yes\nfrom = 192.0.2.0/24\n");
	node_start(&berlin);
	node_init(&paris, "paris", DIALS("berlin") "%s\n", berlin.url);
	node_start(&paris);
	node_await_why(&paris, "berlin", "refused", "closed by the peer: not known here");
	ck_assert_int_eq(node_stop(&paris), 0);
	node_init(&paris, "oslo", DIALS("berlin") "%s\n", berlin.url);
	node_start(&paris);
	node_await_why(&paris, "berlin", "refused", "closed by the peer: this peer may not come from this address");
	node_await_why(&berlin, "oslo", "denied", "this peer may not come from this address");
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

START_TEST(another_node_answers)
{
	node_init(&berlin, "berlin", LISTEN ACCEPTS("paris") "%s", "");
	node_start(&berlin);
	node_init(&paris, "paris", DIALS("rome") "%s\n", berlin.url);
	node_start(&paris);
	node_await_why(&paris, "rome", "refused", "this is another node than the one dialled");
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

/* Met, wiped, and there is something for the one before. */
START_TEST(state_conflict)
{
	char command[200];

	begin_pair("", "");
	put("berlin/orders", 1);
	program_flush(from);
	ck_assert_int_eq(node_stop(&berlin), 0);
	put("berlin/orders", 1);
	snprintf(command, sizeof(command), "rm -rf %s/state", berlin.dir);
	ck_assert_int_eq(system(command), 0);
	node_start(&berlin);
	node_configure(&paris, DIALS("berlin") "%s\n", berlin.url);
	operator_does(&paris, "read again", "reload");
	node_await_why(&paris, "berlin", "state-conflict", "connectctl peer adopt berlin on paris");
	node_await_why(&paris, "berlin/orders", "state-conflict", "it has a new state folder");
	/* The one that is refused knows as well. */
	node_await_why(&berlin, "paris", "state-conflict", "closed by the peer: it has a new state folder");
	connectd_close(from);
	node_kill(&paris);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

START_TEST(the_queue_there_is_full)
{
	begin_pair("", "[queue \"orders\"]\nmax_messages = 2\n");
	put("berlin/orders", 10);
	node_await_queue(&berlin, "orders", queue_holds, 2);
	node_await_why(&paris, "berlin/orders", "no-credit", "the queue orders at berlin has no room: connectctl why orders, there");
	node_await_why(&berlin, "orders", "no-consumer", "nobody consumes it");
	node_await_why(&paris, "berlin", "up", "");
	to = program_open(&berlin, "receiver");
	program_consume(to, "orders", 0);
	for (unsigned i = 0; i < 10; i++) {
		connectd_process(from);
		program_ack(to, program_take(to));
	}
	connectd_close(to);
	end_pair();
}
END_TEST

START_TEST(refused_by_a_limit_there)
{
	begin_pair("", "max_queues_per_peer = 1\n[queue \"o-*\"]\n");
	put("berlin/o-1", 1);
	program_flush(from);
	put("berlin/o-2", 1);
	node_await_why(&paris, "berlin/o-2", "refused", "berlin takes nothing for o-2 now: max_queues_per_peer is reached, retry in 1.0 s");
	connectd_close(from);
	node_kill(&paris);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

START_TEST(refused_and_no_room_for_dead_letters)
{
	begin_pair("[queue \"berlin/orders\"]\ndead_letter = graves\n[queue \"graves\"]\nmax_messages = 1\n", "[queue \"orders\"]\nsend = none\n");
	put("berlin/orders", 2);
	node_await_queue(&paris, "graves", queue_holds, 1);
	node_await_why(&paris, "berlin/orders", "dead-letters-full",
	    "berlin refuses what is for orders, and the queue for dead letters has no room: not in the queue's send list");
	connectd_close(from);
	node_kill(&paris);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

/* It stands still, and whoever looks cannot know that yet. */
START_TEST(the_peer_stands_still)
{
	begin_pair("", "[queue \"orders\"]\n");
	put("berlin/orders", 1);
	node_await_queue(&berlin, "orders", queue_holds, 1);
	node_await_why(&paris, "berlin/orders", "empty", "");
	ck_assert_int_eq(kill(berlin.pid, SIGSTOP), 0);
	put("berlin/orders", 1);
	node_await_why(&paris, "berlin/orders", "unconfirmed", "1 message waits: berlin has not confirmed 1 that it was sent since 20");
	put("berlin/other", 1);
	node_await_why(&paris, "berlin/other", "opening", "berlin was asked for room, and has not answered");
	ck_assert_int_eq(kill(berlin.pid, SIGCONT), 0);
	program_flush(from);
	node_await_why(&paris, "berlin/orders", "empty", "");
	end_pair();
}
END_TEST

START_TEST(held_for_another_node)
{
	begin_pair("", "[queue \"orders\"]\n");
	put("berlin/orders", 1);
	program_flush(from);
	operator_does(&paris, "is held", "hold berlin/orders");
	put("berlin/orders", 1);
	node_await_why(&paris, "berlin/orders", "held", "connectctl release berlin/orders");
	operator_does(&paris, "is released", "release berlin/orders");
	program_flush(from);
	end_pair();
}
END_TEST

/* ------------------------------------------------------------ how it is told */

START_TEST(text_and_json)
{
	begin(ACCEPTS("orders") "[queue \"orders\"]\n");
	operator_does(&paris, "nothing waits\n", "why orders");
	operator_does(&paris, "{\"kind\":\"queue\",\"name\":\"orders\",\"cause\":\"empty\",\"text\":\"nothing waits\",\"queue\":\"orders\",\"peer\":\"\","
	                      "\"since\":null,\"retry_in\":0,\"waiting\":0,\"state\":\"\"}\n", "--json why orders");
	/* A queue and a peer of one name. */
	operator_does(&paris, "nothing waits", "why --queue orders");
	operator_does(&paris, "waits to be dialled by it", "why --peer orders");
	operator_does(&paris, "\"cause\":\"not-dialled\"", "--json why --peer orders");
	end();
}
END_TEST

static int
asks(const char *name)
{
	struct answer a;
	int error;

	paris.asking = NULL;
	ck_assert_int_eq(setegid(NOBODY), 0);
	ck_assert_int_eq(seteuid(NOBODY), 0);
	node_ask(&paris, WIRE_ADMIN_WHY, name, 0, &connectd__v1__why__descriptor, &a);
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(setegid(0), 0);
	error = a.error;
	answer_free(&a);
	node_forget_sessions(&paris);
	return error;
}

START_TEST(a_user_without_rights)
{
	begin(DIALS("berlin") NOWHERE "[queue \"orders\"]\nbrowse = none\n[queue \"open\"]\nbrowse = user:65534\n");
	ck_assert_int_eq(chmod(nodes_folder(), 0755), 0);
	ck_assert_int_eq(chmod(paris.dir, 0755), 0);
	ck_assert_int_eq(chmod(paris.socket, 0666), 0);
	node_forget_sessions(&paris);
	ck_assert_int_eq(asks("orders"), EACCES);
	ck_assert_int_eq(asks("open"), 0);
	ck_assert_int_eq(asks("berlin"), 0);
	ck_assert_int_eq(asks("0123456789abcdef-1"), EACCES);
	end();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("why");
	TCase *tc = tcase_create("why");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 90);
	tcase_add_test(tc, nothing_waits);
	tcase_add_test(tc, nobody_consumes);
	tcase_add_test(tc, held_by_an_operator);
	tcase_add_test(tc, a_consumer_does_not_ack);
	tcase_add_test(tc, the_slowest_consumer);
	tcase_add_test(tc, a_consumer_gives_no_credit);
	tcase_add_test(tc, a_consumer_does_not_read);
	tcase_add_test(tc, not_due);
	tcase_add_test(tc, dead_letters_are_full);
	tcase_add_test(tc, memory_is_full);
	tcase_add_test(tc, the_journal_has_failed);
	tcase_add_test(tc, one_message);
	tcase_add_test(tc, one_message_on_disk);
	tcase_add_test(tc, up_and_down);
	tcase_add_test(tc, never_up);
	tcase_add_test(tc, refused_there);
	tcase_add_test(tc, another_node_answers);
	tcase_add_test(tc, state_conflict);
	tcase_add_test(tc, the_queue_there_is_full);
	tcase_add_test(tc, refused_by_a_limit_there);
	tcase_add_test(tc, refused_and_no_room_for_dead_letters);
	tcase_add_test(tc, the_peer_stands_still);
	tcase_add_test(tc, held_for_another_node);
	tcase_add_test(tc, text_and_json);
	if (geteuid() == 0)
		tcase_add_test(tc, a_user_without_rights);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
