/* What a destination never takes: the sender hears why, the message is kept at its source, and what follows gets through. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program.h"
#include "proxy.h"
#include "wire.h"

#define LISTENER "[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n"
#define FROM_PARIS "[peer \"paris\"]\nplaintext = yes\nfrom = 127.0.0.0/8\nbackoff_min = 10ms\nbackoff_max = 50ms\n"
/* What nobody takes is not waited for at a stop. */
#define TO_BERLIN \
	"drain_timeout = 100ms\n[queue \"answers\"]\n[queue \"local\"]\ndurable = no\n" \
	"[queue \"berlin/plain\"]\ndurable = no\n" \
	"[peer \"berlin\"]\naddress = %s\nplaintext = yes\nbackoff_min = 10ms\nbackoff_max = 50ms\n"
#define NOBODY 65534

static struct node paris, berlin;
static struct connectd *from, *to;

/* paris sends to berlin; the keys and sections of berlin. */
static void
begin(const char *keys, const char *sections)
{
	node_init(&berlin, "berlin", "%s" LISTENER FROM_PARIS "%s", keys, sections);
	node_start(&berlin);
	node_init(&paris, "paris", TO_BERLIN, berlin.url);
	node_start(&paris);
	from = program_open(&paris, "sender");
	to = program_open(&berlin, "receiver");
}

static void
end(void)
{
	connectd_close(to);
	connectd_close(from);
	node_check_books(&paris);
	node_check_books(&berlin);
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}

/* At the node, the dead letters of this queue are these, in order, with this reason and a body this large. */
static void
check_letters(struct node *n, const char *queue, size_t count, const char *reason, size_t size)
{
	struct answer a;

	node_await_queue(n, queue, queue_holds, count);
	node_ask(n, WIRE_ADMIN_PEEK, queue, 0, &connectd__v1__peeked__descriptor, &a);
	ck_assert_uint_eq(a.n, count);
	for (size_t i = 0; i < count; i++) {
		const Connectd__V1__Peeked *p = (const Connectd__V1__Peeked *)a.items[i];

		ck_assert_str_eq(p->reason, reason);
		ck_assert_str_eq(p->origin_node, "paris");
		ck_assert(size == 0 || p->size == size);
	}
	answer_free(&a);
}

static void
send_durable(const char *dest, struct told *told)
{
	struct connectd_msg *m = program_message(dest, "safe", 0);

	ck_assert_int_eq(connectd_msg_set_durability(m, CONNECTD_DURABLE), 0);
	program_send(from, m, told);
}

/* Refused before it is taken at all: here, and at the queue in which it would wait for the other node. */
START_TEST(durable_demanded)
{
	struct told told = { 0 };

	begin("", "[queue \"plain\"]\ndurable = no\n");
	send_durable("local", &told);
	send_durable("berlin/plain", &told);
	program_flush(from);
	ck_assert_uint_eq(told.rejected, 2);
	ck_assert_ptr_nonnull(strstr(told.reason, "durable"));
	program_send_numbers(from, "local", 1, 1, &told);
	program_send_numbers(from, "berlin/plain", 1, 1, &told);
	program_flush(from);
	ck_assert_uint_eq(told.arrived, 2);
	end();
}
END_TEST

/*
 * One that was stored here and is refused there is among the dead letters for
 * good before anything behind it is accepted: else the mark there would be
 * above it, and after a crash here it would pass for delivered.
 */
START_TEST(refused_and_killed)
{
	begin("", "[queue \"fleeting\"]\ndurable = no\n");
	for (uint64_t i = 1; i <= 12; i++) {
		struct told durable = { 0 }, behind = { 0 };
		struct connectd_msg *m = program_message("berlin/fleeting", "x", 0);

		send_durable("berlin/fleeting", &durable);
		ck_assert_int_eq(connectd_msg_set_durability(m, CONNECTD_MEMORY), 0);
		program_send(from, m, &behind);
		program_flush(from);
		ck_assert_uint_eq(behind.arrived, 1);
		node_kill(&paris);
		node_start(&paris);
		node_await_queue(&paris, "berlin.fleeting.dead", queue_holds, i);
	}
	end();
}
END_TEST

/* Whole, in chunks, and one that would have been reserved for. */
static const size_t sizes[] = { 2000, 200000, 3000000 };

START_TEST(too_large_for_the_destination)
{
	struct told told = { 0 };

	begin("max_message = 1K\n", "[queue \"orders\"]\n");
	program_send_text(from, "berlin/orders", "1", &told);
	program_send(from, program_message("berlin/orders", "large", sizes[_i]), &told);
	program_send(from, program_message("berlin/orders", "large", sizes[_i]), &told);
	program_send_numbers(from, "berlin/orders", 2, 50, &told);
	program_flush(from);
	ck_assert_uint_eq(told.rejected, 2);
	ck_assert_str_eq(told.reason, "above max_message");
	ck_assert_uint_eq(told.arrived, 50);
	program_consume(to, "orders", 0);
	program_expect_numbers(to, 1, 50);
	check_letters(&paris, "berlin.orders.dead", 2, "above max_message", sizes[_i]);
	end();
}
END_TEST

START_TEST(unknown_node)
{
	struct told told = { 0 };

	begin("", "");
	program_send_text(from, "oslo/orders", "lost", &told);
	program_flush(from);
	ck_assert_uint_eq(told.rejected, 1);
	ck_assert_str_eq(told.reason, "no peer oslo is configured");
	/* Never taken, so nothing is kept. */
	node_await_queue(&paris, "oslo/orders", queue_holds, 0);
	node_await_queue(&paris, "oslo.orders.dead", queue_holds, 0);
	end();
}
END_TEST

/* A peer may only make queues that a section names, and only so many. */
START_TEST(queues_a_peer_may_not_make)
{
	static const char unnamed[] = "no such queue, and no section of the configuration lets peers make it";
	struct told told = { 0 };

	begin("max_queues_per_peer = 1\n", "[queue \"jobs-*\"]\n");
	program_send_numbers(from, "berlin/orders", 1, 10, &told);
	program_flush(from);
	ck_assert_uint_eq(told.rejected, 10);
	ck_assert_str_eq(told.reason, unnamed);
	check_letters(&paris, "berlin.orders.dead", 10, unnamed, 0);
	/* Asked again with the next message, and refused again. */
	program_send_numbers(from, "berlin/orders", 11, 11, &told);
	program_flush(from);
	ck_assert_uint_eq(told.rejected, 11);
	check_letters(&paris, "berlin.orders.dead", 11, unnamed, 0);
	program_send_numbers(from, "berlin/jobs-1", 1, 3, &told);
	program_flush(from);
	ck_assert_uint_eq(told.arrived, 3);
	/* Beyond the limit it waits: that may pass. */
	program_send_numbers(from, "berlin/jobs-2", 1, 3, &told);
	ck_assert_int_eq(connectd_flush(from, 100), -ETIMEDOUT);
	node_await_queue(&paris, "berlin/jobs-2", queue_holds, 3);
	ck_assert(node_logged(&paris, "max_queues_per_peer is reached"));
	ck_assert_uint_eq(told.rejected, 11);
	program_consume(to, "jobs-1", 0);
	program_expect_numbers(to, 1, 3);
	end();
}
END_TEST

/* ----------------------------------------------------------------- access */

/* As another user, without groups, as far as sockets see. */
static struct connectd *
open_as_nobody(const struct node *n)
{
	struct connectd *c;

	ck_assert_int_eq(setegid(NOBODY), 0);
	ck_assert_int_eq(seteuid(NOBODY), 0);
	c = program_open(n, "nobody");
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(setegid(0), 0);
	return c;
}

static void
let_others_in(const struct node *n)
{
	ck_assert_int_eq(chmod(nodes_folder(), 0755), 0);
	ck_assert_int_eq(chmod(n->dir, 0755), 0);
	ck_assert_int_eq(chmod(n->socket, 0666), 0);
}

static void
check_refused(struct connectd *c, const char *queue, const char *reason)
{
	struct connectd_consumer *k = program_consume(c, queue, 0);
	struct connectd_msg *m;

	ck_assert_int_eq(connectd_recv(c, &m, PROGRAM_PATIENCE_MS), -EACCES);
	ck_assert_msg(strstr(connectd_last_error(c), reason) != NULL, "%s", connectd_last_error(c));
	connectd_consumer_close(k);
}

START_TEST(lists_of_users)
{
	struct connectd *nobody;
	struct told told = { 0 };
	struct connectd_msg *m;

	begin("", "[queue \"inbox\"]\nsend = user:65534\nreceive = user:1\n"
		  "[queue \"outbox\"]\nsend = user:1, peer:paris\nreceive = user:1, user:65534\n");
	let_others_in(&berlin);
	nobody = open_as_nobody(&berlin);
	program_send_text(nobody, "inbox", "mine", &told);
	program_flush(nobody);
	ck_assert_uint_eq(told.arrived, 1);
	program_send_text(nobody, "outbox", "not mine", &told);
	program_flush(nobody);
	ck_assert_uint_eq(told.rejected, 1);
	ck_assert_str_eq(told.reason, "not in the queue's send list");
	check_refused(nobody, "inbox", "not in the queue's receive list");
	program_consume(nobody, "outbox", 0);

	/* A peer is none of the users. */
	program_send_text(from, "berlin/inbox", "not from here", &told);
	program_send_text(from, "berlin/outbox", "from paris", &told);
	program_flush(from);
	ck_assert_uint_eq(told.arrived, 2);
	ck_assert_uint_eq(told.rejected, 2);
	check_letters(&paris, "berlin.inbox.dead", 1, "not in the queue's send list", 0);
	program_ack(nobody, program_expect(nobody, "from paris", 1));

	/* The daemon's own user may always; what it gets tells who sent it. */
	program_consume(to, "inbox", 0);
	m = program_expect(to, "mine", 1);
	ck_assert_uint_eq(connectd_msg_get_origin_uid(m), NOBODY);
	ck_assert_str_eq(connectd_msg_get_origin_application(m), "nobody");
	ck_assert_int_eq(connectd_msg_get_origin_proof(m), CONNECTD_PROOF_LOCAL);
	program_ack(to, m);
	connectd_close(nobody);
	end();
}
END_TEST

/* Tests run in no system unit, and a unit of that name would be the manager's. */
START_TEST(lists_of_units)
{
	struct connectd *nobody;
	struct told told = { 0 };

	begin("", "[queue \"inbox\"]\nsend = unit:shop.service\nreceive = unit:shop.service, unit:session-1.scope\n");
	let_others_in(&berlin);
	nobody = open_as_nobody(&berlin);
	program_send_text(nobody, "inbox", "not from a unit", &told);
	program_flush(nobody);
	ck_assert_uint_eq(told.rejected, 1);
	ck_assert_str_eq(told.reason, "not in the queue's send list");
	check_refused(nobody, "inbox", "not in the queue's receive list");
	/* The daemon's own user may always. */
	program_send_text(to, "inbox", "mine", &told);
	program_flush(to);
	ck_assert_uint_eq(told.arrived, 1);
	connectd_close(nobody);
	end();
}
END_TEST

/* ----------------------------------------------------------------- origin */

static void
check_origin(struct connectd_msg *m, const char *node, const char *application, enum connectd_proof proof)
{
	uint64_t boot, counter;

	ck_assert_str_eq(connectd_msg_get_origin_node(m), node);
	ck_assert_uint_eq(connectd_msg_get_origin_uid(m), geteuid());
	ck_assert_str_eq(connectd_msg_get_origin_application(m), application);
	ck_assert_int_eq(connectd_msg_get_origin_proof(m), proof);
	connectd_msg_get_id(m, &boot, &counter);
	ck_assert_uint_ne(boot, 0);
	ck_assert_uint_ne(counter, 0);
}

/* The whole message as it was made, and who made it, here and at another node. */
START_TEST(what_arrives_with_a_message)
{
	static const uint8_t id[] = { 0, 1, 2 };
	struct connectd_msg *m, *got;
	uint64_t boot[2], counter[2];

	begin("", "[queue \"orders\"]\n");
	m = program_message("berlin/orders", "order", 0);
	ck_assert_int_eq(connectd_msg_set_reply_to(m, "answers"), 0);
	ck_assert_int_eq(connectd_msg_set_correlation_id(m, id, sizeof(id)), 0);
	ck_assert_int_eq(connectd_msg_add_header(m, "trace", "abc", 3), 0);
	ck_assert_int_eq(connectd_msg_set_ttl(m, 3600000), 0);
	program_send(from, m, NULL);
	program_send_text(from, "berlin/orders", "next", NULL);
	program_flush(from);
	program_consume(to, "orders", 0);
	for (int i = 0; i < 2; i++) {
		const char *name;
		const void *value;
		size_t len;

		got = program_take(to);
		check_origin(got, "paris", "sender", CONNECTD_PROOF_PLAINTEXT);
		connectd_msg_get_id(got, &boot[i], &counter[i]);
		if (strcmp(program_text(got), "order") == 0) {
			ck_assert_str_eq(connectd_msg_get_reply_to(got), "paris/answers");
			value = connectd_msg_get_correlation_id(got, &len);
			ck_assert_uint_eq(len, sizeof(id));
			ck_assert_mem_eq(value, id, sizeof(id));
			ck_assert_int_eq(connectd_msg_get_header(got, 0, &name, &value, &len), 0);
			ck_assert_str_eq(name, "trace");
			ck_assert_mem_eq(value, "abc", 3);
			ck_assert(connectd_msg_get_ttl(got) > 3500000 && connectd_msg_get_ttl(got) <= 3600000);
		}
		program_ack(to, got);
	}
	ck_assert_uint_eq(boot[0], boot[1]);
	ck_assert_uint_ne(counter[0], counter[1]);
	/* The answer goes where reply-to says, with what the other node says of itself. */
	program_consume(from, "answers", 0);
	program_send_text(to, "paris/answers", "answer", NULL);
	program_flush(to);
	got = program_expect(from, "answer", 1);
	check_origin(got, "berlin", "receiver", CONNECTD_PROOF_PLAINTEXT);
	program_ack(from, got);
	/* One's own name in front means here. */
	program_send_text(from, "paris/answers", "local", NULL);
	program_flush(from);
	got = program_expect(from, "local", 1);
	check_origin(got, "paris", "sender", CONNECTD_PROOF_LOCAL);
	program_ack(from, got);
	end();
}
END_TEST

/* ------------------------------------------------- what a link does with it */

/* A full queue is no refusal between daemons: what has no room there waits here. */
START_TEST(full_queues_hold_back)
{
	struct told told = { 0 };

	begin("", "[queue \"orders\"]\nmax_messages = 10\noverflow = reject\n");
	program_send_numbers(from, "berlin/orders", 1, 100, &told);
	while (told.arrived < 10)
		ck_assert_int_eq(connectd_wait(from, PROGRAM_PATIENCE_MS), 1);
	ck_assert_int_eq(connectd_flush(from, 100), -ETIMEDOUT);
	ck_assert_uint_le(told.arrived, 11);
	node_await_queue(&berlin, "orders", queue_holds, told.arrived);
	node_await_queue(&paris, "berlin/orders", queue_holds, 100 - told.arrived);
	program_consume(to, "orders", 0);
	program_expect_numbers(to, 1, 100);
	program_flush(from);
	ck_assert_uint_eq(told.arrived, 100);
	ck_assert_uint_eq(told.rejected, 0);
	end();
}
END_TEST

/* What is delayed waits at its destination, and what is urgent leaves first; both while the link was away. */
START_TEST(priorities_and_delays_over_a_link)
{
	uint64_t start = program_clock_ms();
	struct connectd_msg *m;
	struct proxy proxy;
	struct answer a;

	begin("", "[queue \"orders\"]\n");
	ck_assert_int_eq(node_stop(&paris), 0);
	proxy_start(&proxy, berlin.url);
	proxy_hole(&proxy, true);
	node_configure(&paris, TO_BERLIN, proxy.url);
	node_start(&paris);
	connectd_close(from);
	from = program_open(&paris, "sender");
	m = program_message("berlin/orders", "late", 0);
	ck_assert_int_eq(connectd_msg_set_not_before(m, 700), 0);
	program_send(from, m, NULL);
	program_send_numbers(from, "berlin/orders", 1, 500, NULL);
	m = program_message("berlin/orders", "urgent", 0);
	ck_assert_int_eq(connectd_msg_set_priority(m, CONNECTD_HIGH), 0);
	program_send(from, m, NULL);
	program_flush(from);
	node_await_queue(&paris, "berlin/orders", queue_holds, 502);
	proxy_hole(&proxy, false);
	node_await_queue(&paris, "berlin/orders", queue_holds, 0);
	node_ask(&berlin, WIRE_ADMIN_PEEK, "orders", 0, &connectd__v1__peeked__descriptor, &a);
	ck_assert_uint_eq(a.n, 502);
	ck_assert_str_eq(((const Connectd__V1__Peeked *)a.items[501])->state, "delayed");
	/* It came before nearly all that were sent before it. */
	for (size_t i = 0; i < a.n; i++)
		if (strcmp(((const Connectd__V1__Peeked *)a.items[i])->priority, "high") == 0)
			ck_assert_uint_lt(((const Connectd__V1__Peeked *)a.items[i])->sequence & 0xffffffffff, 200);
	answer_free(&a);
	program_consume(to, "orders", 0);
	program_ack(to, program_expect(to, "urgent", 1));
	program_expect_numbers(to, 1, 500);
	program_ack(to, program_expect(to, "late", 1));
	ck_assert_uint_ge(program_clock_ms() - start, 700);
	end();
	proxy_stop(&proxy);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("refusals");
	TCase *tc = tcase_create("refusals");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, durable_demanded);
	tcase_add_test(tc, refused_and_killed);
	tcase_add_loop_test(tc, too_large_for_the_destination, 0, sizeof(sizes) / sizeof(*sizes));
	tcase_add_test(tc, unknown_node);
	tcase_add_test(tc, queues_a_peer_may_not_make);
	tcase_add_test(tc, what_arrives_with_a_message);
	tcase_add_test(tc, full_queues_hold_back);
	tcase_add_test(tc, priorities_and_delays_over_a_link);
	/* Only root can open a socket as somebody else; and the user who asks, if the daemon's own, may do everything. */
	if (geteuid() == 0) {
		tcase_add_test(tc, lists_of_users);
		tcase_add_test(tc, lists_of_units);
	}
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
