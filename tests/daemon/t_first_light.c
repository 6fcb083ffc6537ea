/* Two daemons pass messages between programs: in order, once, whatever happens to the link. */
#include <check.h>
#include <connectd.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker.h"
#include "node.h"
#include "proxy.h"
#include "wire.h"

#define LISTENER "[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n"
/* Peers may only make queues that are named. */
#define QUEUE "[queue \"orders\"]\n"
#define FROM_PARIS "[peer \"paris\"]\nplaintext = yes\nfrom = 127.0.0.0/8\nbackoff_min = 10ms\nbackoff_max = 50ms\n"
#define TO_BERLIN "[peer \"berlin\"]\naddress = %s\nplaintext = yes\nbackoff_min = 10ms\nbackoff_max = 50ms\n"
#define TYPE "test.Number"

static struct node paris, berlin;
static struct proxy proxy;

/* ----------------------------------------------------------------- programs */

static struct connectd *
open_at(const struct node *n)
{
	struct connectd_options o = { .size = sizeof(o), .socket = n->socket, .application = "test" };
	struct connectd *c = NULL;
	int r = connectd_open(&o, &c);

	ck_assert_msg(r == 0, "%s: %s", n->name, connectd_last_error(c));
	return c;
}

static void
count_final(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	uint64_t *arrived = userdata;

	(void)c, (void)m;
	if (o->final) {
		ck_assert_msg(o->result == 0, "message %" PRIu64 ": %d %s", o->number, o->result, o->reason);
		++*arrived;
	}
}

/* A body of `size` bytes that begins with the number. */
static void
send_number(struct connectd *c, const char *dest, uint64_t number, size_t size, uint64_t *arrived)
{
	struct connectd_msg *m = connectd_msg_new(dest);
	uint8_t *body = calloc(1, size);
	int r;

	ck_assert(m != NULL && body != NULL && size >= sizeof(number));
	memcpy(body, &number, sizeof(number));
	ck_assert_int_eq(connectd_msg_set_type_body(m, TYPE, body, size), 0);
	ck_assert_int_eq(connectd_msg_set_durability(m, CONNECTD_MEMORY), 0);
	while ((r = connectd_send(c, m, CONNECTD_TELL(CONNECTD_ARRIVED), count_final, arrived)) == -EAGAIN)
		ck_assert_int_ge(connectd_wait(c, 20000), 0);
	ck_assert_msg(r == 0, "%d: %s", r, connectd_last_error(c));
	connectd_msg_unref(m);
	free(body);
}

static void
check_message(struct connectd *c, struct connectd_msg *m, struct checker *k)
{
	uint64_t number = 0;
	const void *body;
	size_t len;

	ck_assert_str_eq(connectd_msg_get_type(m), "type.googleapis.com/" TYPE);
	ck_assert_str_eq(connectd_msg_get_origin_node(m), "paris");
	ck_assert_int_eq(connectd_msg_get_origin_proof(m), CONNECTD_PROOF_PLAINTEXT);
	body = connectd_msg_get_body(m, &len);
	ck_assert_uint_ge(len, sizeof(number));
	memcpy(&number, body, sizeof(number));
	checker_got(k, number, (connectd_msg_get_flags(m) & CONNECTD_REDELIVERED) != 0);
	ck_assert_int_eq(connectd_ack(c, m), 0);
	connectd_msg_unref(m);
}

/* Receive until so many have come, while the sender is kept going. */
static void
receive_until(struct connectd *to, struct connectd *from, struct checker *k, uint64_t got)
{
	while (k->got < got) {
		struct connectd_msg *m;
		int r = connectd_recv(to, &m, 0);

		if (r == -ETIMEDOUT) {
			struct pollfd fds[] = { { .fd = connectd_get_fd(to), .events = POLLIN },
				{ .fd = from != NULL ? connectd_get_fd(from) : -1, .events = POLLIN } };

			ck_assert_msg(poll(fds, 2, 20000) > 0, "after %" PRIu64 " of %" PRIu64 " nothing more comes", k->got, k->n);
			ck_assert(from == NULL || connectd_process(from) >= 0);
			continue;
		}
		ck_assert_msg(r == 0, "%d %s", r, connectd_last_error(to));
		check_message(to, m, k);
	}
}

static void
receive_all(struct connectd *to, struct checker *k)
{
	struct connectd_consumer *consumer;

	ck_assert_int_eq(connectd_consume(to, "orders", NULL, NULL, NULL, &consumer), 0);
	receive_until(to, NULL, k, k->n);
}

/* ---------------------------------------------------------------- two nodes */

static void
start_berlin(void)
{
	node_init(&berlin, "berlin", "keepalive = 1s\n" LISTENER QUEUE FROM_PARIS);
	node_start(&berlin);
}

static void
start_paris(const char *url)
{
	node_init(&paris, "paris", "keepalive = 1s\n" TO_BERLIN, url);
	node_start(&paris);
}

static void
stop_both(void)
{
	node_check_books(&paris);
	node_check_books(&berlin);
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
	ck_assert(!node_logged(&paris, "lost"));
	ck_assert(!node_logged(&berlin, "lost"));
}

START_TEST(a_thousand_messages)
{
	struct connectd *from, *to;
	struct checker k;
	uint64_t arrived = 0;

	start_berlin();
	start_paris(berlin.url);
	from = open_at(&paris);
	to = open_at(&berlin);
	checker_init(&k, 1000);
	for (uint64_t i = 1; i <= k.n; i++)
		send_number(from, "berlin/orders", i, 100, &arrived);
	ck_assert_int_eq(connectd_flush(from, 20000), 0);
	ck_assert_uint_eq(arrived, k.n);
	receive_all(to, &k);
	checker_assert(&k, "a thousand");
	ck_assert_uint_eq(k.redelivered, 0);
	connectd_close(to);
	connectd_close(from);
	node_await_queue(&berlin, "orders", queue_consumed, k.n);
	checker_done(&k);
	stop_both();
}
END_TEST

/* Bodies around every bound that cuts or joins them. */
START_TEST(bodies_of_all_sizes)
{
	static const size_t sizes[] = { 8, 4095, 4096, 65535, 65536, 65537, 262143, 262144, 262145, 1 << 20, 5000000, 16 << 20 };
	struct connectd *from, *to;
	struct checker k;
	uint64_t arrived = 0;

	start_berlin();
	start_paris(berlin.url);
	from = open_at(&paris);
	to = open_at(&berlin);
	checker_init(&k, sizeof(sizes) / sizeof(*sizes));
	for (uint64_t i = 1; i <= k.n; i++)
		send_number(from, "berlin/orders", i, sizes[i - 1], &arrived);
	ck_assert_int_eq(connectd_flush(from, 20000), 0);
	ck_assert_uint_eq(arrived, k.n);
	receive_all(to, &k);
	checker_assert(&k, "sizes");
	connectd_close(to);
	connectd_close(from);
	node_await_queue(&berlin, "orders", queue_holds, 0);
	checker_done(&k);
	stop_both();
}
END_TEST

/* What was sent before the other node could be reached waits here. */
START_TEST(sent_before_the_peer_is_there)
{
	struct connectd *from, *to;
	struct checker k;
	uint64_t arrived = 0;
	char url[64];

	start_berlin();
	snprintf(url, sizeof(url), "%s", berlin.url);
	proxy_start(&proxy, url);
	proxy_hole(&proxy, true);
	start_paris(proxy.url);
	from = open_at(&paris);
	checker_init(&k, 500);
	for (uint64_t i = 1; i <= k.n; i++)
		send_number(from, "berlin/orders", i, 50, &arrived);
	/* The program must go on for its messages to leave it. */
	ck_assert_int_eq(connectd_flush(from, 100), -ETIMEDOUT);
	node_await_queue(&paris, "berlin/orders", queue_holds, k.n);
	ck_assert_uint_eq(arrived, 0);
	proxy_hole(&proxy, false);
	ck_assert_int_eq(connectd_flush(from, 20000), 0);
	to = open_at(&berlin);
	receive_all(to, &k);
	checker_assert(&k, "sent before");
	connectd_close(to);
	connectd_close(from);
	node_await_queue(&berlin, "orders", queue_holds, 0);
	checker_done(&k);
	stop_both();
	proxy_stop(&proxy);
}
END_TEST

/* The link is cut again and again while messages flow: once between daemons. */
START_TEST(cut_links)
{
	struct connectd_consumer *consumer;
	struct connectd *from, *to;
	struct checker k;
	uint64_t arrived = 0, sent = 0;
	size_t cuts = 0;

	start_berlin();
	proxy_start(&proxy, berlin.url);
	start_paris(proxy.url);
	from = open_at(&paris);
	to = open_at(&berlin);
	ck_assert_int_eq(connectd_consume(to, "orders", NULL, NULL, NULL, &consumer), 0);
	checker_init(&k, 6000);
	while (k.got < k.n) {
		for (int i = 0; i < 300 && sent < k.n; i++)
			send_number(from, "berlin/orders", ++sent, 1000, &arrived);
		/* Somewhere within what is on its way. */
		receive_until(to, from, &k, k.got + 1);
		cuts += proxy_cut(&proxy);
		receive_until(to, from, &k, sent < k.n ? sent - 100 : k.n);
	}
	ck_assert_int_eq(connectd_flush(from, 20000), 0);
	ck_assert_uint_eq(arrived, k.n);
	ck_assert_uint_ge(cuts, 10);
	checker_assert(&k, "cut links");
	ck_assert_uint_eq(k.redelivered, 0);
	connectd_close(to);
	connectd_close(from);
	node_await_queue(&berlin, "orders", queue_consumed, k.n);
	checker_done(&k);
	stop_both();
	proxy_stop(&proxy);
}
END_TEST

/* The other end sees frames come in pieces of a few bytes. */
START_TEST(bytes_in_pieces)
{
	struct connectd *from, *to;
	struct checker k;
	uint64_t arrived = 0;

	start_berlin();
	proxy_start(&proxy, berlin.url);
	proxy_split(&proxy, (uint32_t)_i);
	start_paris(proxy.url);
	from = open_at(&paris);
	to = open_at(&berlin);
	checker_init(&k, 100);
	for (uint64_t i = 1; i <= k.n; i++)
		send_number(from, "berlin/orders", i, 60, &arrived);
	ck_assert_int_eq(connectd_flush(from, 20000), 0);
	receive_all(to, &k);
	checker_assert(&k, "pieces");
	connectd_close(to);
	connectd_close(from);
	node_await_queue(&berlin, "orders", queue_holds, 0);
	checker_done(&k);
	stop_both();
	proxy_stop(&proxy);
}
END_TEST

/* Nothing comes through and nobody says so: the keepalive notices, and the link comes back. */
START_TEST(black_hole)
{
	struct connectd *from, *to;
	struct checker k;
	uint64_t arrived = 0;

	start_berlin();
	proxy_start(&proxy, berlin.url);
	start_paris(proxy.url);
	node_await_peer(&paris, "berlin", "up");
	proxy_hole(&proxy, true);
	from = open_at(&paris);
	checker_init(&k, 50);
	for (uint64_t i = 1; i <= k.n; i++)
		send_number(from, "berlin/orders", i, 50, &arrived);
	node_await_peer(&paris, "berlin", "dialling");
	proxy_cut(&proxy);
	proxy_hole(&proxy, false);
	ck_assert_int_eq(connectd_flush(from, 20000), 0);
	to = open_at(&berlin);
	receive_all(to, &k);
	checker_assert(&k, "black hole");
	connectd_close(to);
	connectd_close(from);
	node_await_queue(&berlin, "orders", queue_holds, 0);
	checker_done(&k);
	stop_both();
	proxy_stop(&proxy);
}
END_TEST

/* kill -9 of the receiving daemon: what it had not confirmed comes again, and what is new gets through. */
START_TEST(receiver_killed)
{
	struct connectd *from, *to;
	struct checker k;
	uint64_t arrived = 0;

	start_berlin();
	proxy_start(&proxy, berlin.url);
	start_paris(proxy.url);
	node_await_peer(&paris, "berlin", "up");
	node_kill(&berlin);
	from = open_at(&paris);
	checker_init(&k, 200);
	for (uint64_t i = 1; i <= k.n; i++)
		send_number(from, "berlin/orders", i, 50, &arrived);
	node_start(&berlin);
	proxy_target(&proxy, berlin.url);
	ck_assert_int_eq(connectd_flush(from, 20000), 0);
	to = open_at(&berlin);
	receive_all(to, &k);
	checker_assert(&k, "receiver killed");
	connectd_close(to);
	connectd_close(from);
	node_await_queue(&berlin, "orders", queue_holds, 0);
	checker_done(&k);
	stop_both();
	proxy_stop(&proxy);
}
END_TEST

/* An orderly stop passes on what waits, as far as drain_timeout allows, and says what it could not. */
START_TEST(stop_drains_the_links)
{
	struct connectd *from;
	uint64_t arrived = 0;

	start_berlin();
	start_paris(berlin.url);
	node_await_peer(&paris, "berlin", "up");
	from = open_at(&paris);
	connectd_cork(from);
	for (uint64_t i = 1; i <= 5000; i++)
		send_number(from, "berlin/orders", i, 1000, &arrived);
	connectd_uncork(from);
	ck_assert_int_eq(connectd_flush(from, 20000), 0);
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert(!node_logged(&paris, "lost"));
	node_await_queue(&berlin, "orders", queue_holds, 5000);
	connectd_close(from);
	ck_assert_int_eq(node_stop(&berlin), 0);
	ck_assert(node_logged(&berlin, "queue orders: 5000 memory messages are lost"));
}
END_TEST

START_TEST(strangers_are_refused)
{
	struct node rome;
	struct answer a;
	bool counted = false;

	start_berlin();
	/* A name that berlin does not know, and the right name of the wrong node. */
	node_init(&rome, "rome", TO_BERLIN, berlin.url);
	node_start(&rome);
	node_await_peer(&rome, "berlin", "waiting");
	ck_assert(node_logged(&rome, "not known here"));
	node_done(&rome);
	node_init(&rome, "paris", "[peer \"oslo\"]\naddress = %s\nplaintext = yes\nbackoff_max = 100ms\n", berlin.url);
	node_start(&rome);
	node_await_peer(&rome, "oslo", "waiting");
	ck_assert(node_logged(&rome, "another node than the one dialled"));
	node_done(&rome);

	node_ask(&berlin, WIRE_ADMIN_STATUS, "", 0, &connectd__v1__status__descriptor, &a);
	for (size_t i = 0; i < ((const Connectd__V1__Status *)a.items[0])->n_closed; i++) {
		const Connectd__V1__Closed *c = ((const Connectd__V1__Status *)a.items[0])->closed[i];

		counted |= strcmp(c->kind, "stranger") == 0 && strcmp(c->reason, "wrong-name") == 0 && c->count >= 2;
	}
	answer_free(&a);
	ck_assert(counted);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("first_light");
	TCase *tc = tcase_create("first_light");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_thousand_messages);
	tcase_add_test(tc, bodies_of_all_sizes);
	tcase_add_test(tc, sent_before_the_peer_is_there);
	tcase_add_test(tc, cut_links);
	tcase_add_loop_test(tc, bytes_in_pieces, 1, 4);
	tcase_add_test(tc, black_hole);
	tcase_add_test(tc, receiver_killed);
	tcase_add_test(tc, stop_drains_the_links);
	tcase_add_test(tc, strangers_are_refused);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
