/* Links over SCTP: durable messages, while daemons are killed and the path between them is bad, moves, or is not there. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "operator.h"
#include "proc.h"
#include "program.h"
#include "relay.h"
#include "traffic.h"

#define QUICK "plaintext = yes\nbackoff_min = 10ms\nbackoff_max = 50ms\n"
#define LISTEN "[listen \"lan\"]\naddress = %s\nplaintext = yes\n"
#define BERLIN "keepalive = 500ms\n" LISTEN "[queue \"orders\"]\n[peer \"paris\"]\nfrom = 127.0.0.0/8, ::1\n" QUICK
#define PARIS "keepalive = 500ms\n[peer \"berlin\"]\naddress = %s\n" QUICK

static struct node paris, berlin;
static struct relay relay;

static void
begin(void)
{
	node_init(&berlin, "berlin", BERLIN, "sctp://127.0.0.1:0");
	node_start(&berlin);
	relay_start(&relay, berlin.url);
	node_init(&paris, "paris", PARIS, relay.url);
	node_start(&paris);
	node_await_peer(&paris, "berlin", "up");
}

static void
end(void)
{
	node_check_books(&paris);
	node_check_books(&berlin);
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
	relay_stop(&relay);
}

static void
count(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	(void)c, (void)m;
	ck_assert_msg(o->result == 0 || o->result == -ECANCELED, "message %" PRIu64 ": %d %s", o->number, o->result, o->reason);
	*(uint64_t *)userdata += o->final && o->result == 0;
}

/* Durable messages with the numbers first to last; when this returns all are on disk at paris. */
static void
store(uint64_t first, uint64_t last)
{
	struct connectd *c = program_open(&paris, "shop");
	uint64_t stored = 0;

	for (uint64_t i = first; i <= last; i++) {
		struct connectd_msg *m = connectd_msg_new("berlin/orders");
		uint8_t body[200] = { 0 };
		int r;

		memcpy(body, &i, sizeof(i));
		ck_assert_int_eq(connectd_msg_set_type_body(m, "test.Number", body, sizeof(body)), 0);
		ck_assert_int_eq(connectd_msg_set_durability(m, CONNECTD_DURABLE), 0);
		while ((r = connectd_send(c, m, CONNECTD_TELL(CONNECTD_STORED), count, &stored)) == -EAGAIN)
			ck_assert_int_gt(connectd_wait(c, PROGRAM_PATIENCE_MS), 0);
		ck_assert_int_eq(r, 0);
		connectd_msg_unref(m);
	}
	program_flush(c);
	ck_assert_uint_eq(stored, last - first + 1);
	connectd_close(c);
}

/* 1 to last are there, once and in order. */
static void
take_all(uint64_t last)
{
	struct connectd *c = program_open(&berlin, "stock");
	struct checker k;

	checker_init(&k, last);
	traffic_consume(c, "orders");
	traffic_receive(c, NULL, &k, last);
	checker_assert(&k, "sctp");
	ck_assert_uint_eq(k.redelivered, 0);
	checker_done(&k);
	connectd_close(c);
	node_await_queue(&berlin, "orders", queue_holds, 0);
}

static uint64_t
connects(void)
{
	uint64_t n;

	traffic_peer(&paris, "berlin", &n, NULL);
	return n;
}

/* Each is killed while messages are on their way, and once while they cannot be. */
START_TEST(killed)
{
	begin();
	store(1, 500);
	node_kill(&berlin);
	store(501, 600);
	node_start(&berlin);
	relay_target(&relay, berlin.url);
	node_await_peer(&paris, "berlin", "up");
	store(601, 1000);
	node_kill(&paris);
	node_start(&paris);
	node_await_peer(&paris, "berlin", "up");
	relay_hole(&relay, true);
	store(1001, 1200);
	node_kill(&paris);
	node_kill(&berlin);
	relay_hole(&relay, false);
	node_start(&berlin);
	relay_target(&relay, berlin.url);
	node_start(&paris);
	node_await_queue(&berlin, "orders", queue_holds, 1200);
	take_all(1200);
	end();
}
END_TEST

/* The path is another one again and again, each time the end of a session, and now and then it is none for a while. */
START_TEST(cut)
{
	uint64_t n = 0;

	begin();
	for (int i = 0; i < 10; i++) {
		store(n + 1, n + 200);
		n += 200;
		relay_move(&relay);
		if (i % 4 == 1) {
			relay_hole(&relay, true);
			node_await_peer(&paris, "berlin", "dialling");
			relay_hole(&relay, false);
		}
		node_await_queue(&berlin, "orders", queue_holds, n);
	}
	ck_assert_uint_ge(connects(), 6);
	take_all(n);
	end();
}
END_TEST

/* One of a hundred is lost, another doubled, late, damaged: slower, but it is one session. */
START_TEST(bad_path)
{
	begin();
	relay_harm(&relay, 10);
	store(1, 3000);
	node_await_queue(&berlin, "orders", queue_holds, 3000);
	ck_assert_uint_ge(relay_harmed(&relay), 5);
	ck_assert_uint_eq(connects(), 1);
	relay_harm(&relay, 0);
	take_all(3000);
	end();
}
END_TEST

/* When nothing is outstanding, neither daemon wakes but for heartbeats: every 7.5 s at most. */
START_TEST(idle)
{
	uint64_t p, b;

	begin();
	node_stop(&paris);
	node_stop(&berlin);
	node_configure(&berlin, LISTEN "[queue \"orders\"]\n[peer \"paris\"]\nfrom = 127.0.0.0/8\n" QUICK, "sctp://127.0.0.1:0");
	node_start(&berlin);
	relay_target(&relay, berlin.url);
	node_configure(&paris, "[peer \"berlin\"]\naddress = %s\n" QUICK, relay.url);
	node_start(&paris);
	node_await_peer(&paris, "berlin", "up");
	store(1, 100);
	node_await_queue(&berlin, "orders", queue_holds, 100);
	take_all(100);
	/* What follows from the last of it. */
	ck_assert_int_eq(poll(NULL, 0, 500), 0);
	p = proc_waits(paris.pid);
	b = proc_waits(berlin.pid);
	/* Time passing is what is measured here, so there is nothing else to wait for. */
	ck_assert_int_eq(poll(NULL, 0, 3000), 0);
	p = proc_waits(paris.pid) - p;
	b = proc_waits(berlin.pid) - b;
	ck_assert_msg(p <= 1 && b <= 1, "paris woke %" PRIu64 " times in 3 s, berlin %" PRIu64, p, b);
	end();
}
END_TEST

/* Addresses are tried in order, of whatever kind. */
START_TEST(in_order)
{
	char addresses[200];

	node_init(&berlin, "berlin", BERLIN, "sctp://[::1]:0");
	node_start(&berlin);
	snprintf(addresses, sizeof(addresses), "tcp://127.0.0.1:1, sctp://127.0.0.1:1, %s", berlin.url);
	node_init(&paris, "paris", PARIS, addresses);
	node_start(&paris);
	node_await_peer(&paris, "berlin", "up");
	ck_assert(operator_sees(&paris, berlin.url, "peers --json"));
	ck_assert(operator_sees(&berlin, "\"transport\":\"sctp\"", "peers --json"));
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

/* What is set counts for the connections from then on, and is shown; who dials makes a new one for it. */
START_TEST(settings)
{
	const char *const peer = "[peer \"paris\"]\nfrom = 127.0.0.0/8\n" QUICK;

	node_init(&berlin, "berlin", LISTEN "mtu = 1400\n%s", "sctp://127.0.0.1:0", peer);
	node_start(&berlin);
	relay_start(&relay, berlin.url);
	node_init(&paris, "paris", PARIS "mtu = 1300\n", relay.url);
	node_start(&paris);
	operator_awaits(&paris, "\"path_mtu\":1300", "peers --json");
	operator_awaits(&berlin, "\"path_mtu\":1400", "peers --json");
	ck_assert(operator_sees(&paris, "\"rtt_us\":", "peers --json"));
	node_configure(&paris, PARIS "mtu = 600\n", relay.url);
	operator_does(&paris, "read again", "reload");
	operator_awaits(&paris, "\"path_mtu\":600", "peers --json");
	node_configure(&berlin, LISTEN "mtu = 700\n%s", "sctp://127.0.0.1:0", peer);
	operator_does(&berlin, "read again", "reload");
	ck_assert(operator_sees(&berlin, "\"path_mtu\":1400", "peers --json"));
	ck_assert_uint_eq(connects(), 2);
	relay_move(&relay);
	operator_awaits(&berlin, "\"path_mtu\":700", "peers --json");
	end();
}
END_TEST

/* Nothing is proven: only from where it is said. */
START_TEST(from_elsewhere)
{
	node_init(&berlin, "berlin", LISTEN "[peer \"paris\"]\nfrom = 10.0.0.0/8\n" QUICK, "sctp://127.0.0.1:0");
	node_start(&berlin);
	node_init(&paris, "paris", PARIS, berlin.url);
	node_start(&paris);
	node_await_logged(&paris, "this peer may not come from this address");
	node_await_logged(&berlin, "refused: denied (as paris)");
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sctp");
	TCase *tc = tcase_create("sctp");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, killed);
	tcase_add_test(tc, cut);
	tcase_add_test(tc, bad_path);
	tcase_add_test(tc, idle);
	tcase_add_test(tc, in_order);
	tcase_add_test(tc, settings);
	tcase_add_test(tc, from_elsewhere);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
