/* Links break again and again under load, in every way: nothing is lost, doubled, or out of order. */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy.h"
#include "traffic.h"

#define BERLIN \
	"keepalive = %s\n[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n[queue \"orders\"]\n" \
	"[peer \"paris\"]\nplaintext = yes\nfrom = 127.0.0.0/8\nbackoff_min = 10ms\nbackoff_max = 50ms\n"
#define PARIS \
	"keepalive = %s\n[peer \"berlin\"]\naddress = %s\nplaintext = yes\nbackoff_min = 10ms\nbackoff_max = 50ms\n"
#define RESETS 20
#define MESSAGES 40000
#define SIZE 200

static struct node paris, berlin;
static struct proxy proxy;
static struct connectd *from, *to;
static struct checker k;
static struct traffic_told told;
static uint64_t sent;

static void
begin(const char *keepalive, uint64_t messages)
{
	node_init(&berlin, "berlin", BERLIN, keepalive);
	node_start(&berlin);
	proxy_start(&proxy, berlin.url);
	node_init(&paris, "paris", PARIS, keepalive, proxy.url);
	node_start(&paris);
	from = traffic_open(&paris);
	to = traffic_open(&berlin);
	traffic_consume(to, "orders");
	checker_init(&k, messages);
	sent = 0;
	told = (struct traffic_told){ 0 };
	node_await_peer(&paris, "berlin", "up");
}

static void
send_some(uint64_t n)
{
	for (; n > 0 && sent < k.n; n--)
		traffic_send(from, "berlin/orders", ++sent, SIZE, CONNECTD_ARRIVED, &told);
}

static uint64_t
count_unconfirmed(void)
{
	uint64_t n;

	traffic_peer(&paris, "berlin", NULL, &n);
	return n;
}

static uint64_t
count_connects(void)
{
	uint64_t n;

	traffic_peer(&paris, "berlin", &n, NULL);
	return n;
}

/* A message sent from now on has come: the session there is now carries messages. */
static void
get_going(uint64_t n)
{
	uint64_t before = sent;

	send_some(n);
	traffic_receive(to, from, &k, before + n / 2);
}

/* With the hole open: until some messages are on their way. How many; 0: the credit was just used up. */
static uint64_t
await_unconfirmed(void)
{
	uint64_t n = 0;

	for (int i = 0; i < 500 && (n = count_unconfirmed()) == 0; i++)
		ck_assert_int_ge(connectd_wait(from, 10), 0);
	return n;
}

/* Everything is through, once and in order; the books of both ends agree. */
static void
end(const char *what)
{
	traffic_receive(to, from, &k, k.n);
	ck_assert_int_eq(connectd_flush(from, 20000), 0);
	ck_assert_uint_eq(told.reached, k.n);
	checker_assert(&k, what);
	ck_assert_uint_eq(k.redelivered, 0);
	connectd_close(to);
	connectd_close(from);
	node_await_queue(&berlin, "orders", queue_consumed, k.n);
	ck_assert_uint_eq(count_unconfirmed(), 0);
	node_check_books(&paris);
	node_check_books(&berlin);
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
	ck_assert(!node_logged(&paris, "lost") && !node_logged(&berlin, "lost"));
	proxy_stop(&proxy);
	checker_done(&k);
}

/*
 * What stands in the proxy when it cuts is gone: every second time somewhere
 * in the stream, every other time with messages that are on their way for sure.
 */
START_TEST(resets_under_load)
{
	uint64_t in_doubt = 0, hit = 0, n;

	begin("1s", MESSAGES);
	for (uint64_t i = 1; i <= RESETS; i++) {
		get_going(MESSAGES / RESETS / 2);
		if (i % 2 == 0)
			proxy_hole(&proxy, true);
		send_some(MESSAGES / RESETS / 2);
		n = i % 2 == 0 ? await_unconfirmed() : count_unconfirmed();
		hit += n > 0;
		in_doubt += n;
		ck_assert_uint_eq(proxy_cut(&proxy), 1);
		proxy_hole(&proxy, false);
	}
	ck_assert_uint_eq(sent, MESSAGES);
	/* Each was the end of a session. */
	for (int i = 0; i < 2000 && count_connects() < RESETS + 1; i++)
		ck_assert_int_ge(connectd_wait(from, 10), 0);
	ck_assert_uint_ge(count_connects(), RESETS + 1);
	end("resets");
	/* What a test of resets that met nothing would have shown, too. */
	ck_assert_msg(hit >= RESETS / 2, "only %" PRIu64 " resets met a message on its way", hit);
	printf("resets: %d, %" PRIu64 " with messages on their way, %" PRIu64 " of those in all\n", RESETS, hit, in_doubt);
}
END_TEST

/* The control for it: each reset was a new session, at both ends. */
START_TEST(resets_are_sessions)
{
	uint64_t there;

	begin("1s", 1000);
	for (uint64_t i = 1; i <= RESETS; i++) {
		send_some(20);
		traffic_receive(to, from, &k, k.got + 1);
		ck_assert_uint_eq(proxy_cut(&proxy), 1);
		get_going(1000 / RESETS - 20);
		ck_assert_uint_eq(count_connects(), i + 1);
	}
	traffic_peer(&berlin, "paris", &there, NULL);
	ck_assert_uint_ge(there, RESETS + 1);
	end("sessions");
}
END_TEST

/* Nothing passes for a while, shorter than it takes to call the other end dead: the session stays. */
START_TEST(short_holes)
{
	int hit = 0;

	begin("5s", 8000);
	proxy_split(&proxy, 1021);
	for (int i = 0; i < RESETS; i++) {
		uint64_t held;

		get_going(200);
		proxy_hole(&proxy, true);
		held = proxy_passed(&proxy);
		send_some(200);
		hit += await_unconfirmed() > 0;
		ck_assert_uint_eq(proxy_passed(&proxy), held);
		proxy_hole(&proxy, false);
		traffic_receive(to, from, &k, sent - 100);
	}
	ck_assert_int_ge(hit, RESETS / 2);
	ck_assert_uint_eq(count_connects(), 1);
	end("short holes");
}
END_TEST

/* Holes, pieces and resets together, and once a hole that the keepalive has to find. */
START_TEST(everything_at_once)
{
	begin("250ms", 8000);
	for (uint32_t i = 0; i < RESETS; i++) {
		proxy_split(&proxy, i % 3 == 0 ? 0 : 7 + 100 * i);
		get_going(200);
		proxy_hole(&proxy, true);
		send_some(200);
		await_unconfirmed();
		if (i == RESETS / 2)
			node_await_peer(&paris, "berlin", "dialling");
		if (i % 4 == 3 || i == RESETS / 2)
			proxy_cut(&proxy);
		proxy_hole(&proxy, false);
		traffic_receive(to, from, &k, sent - 100);
	}
	ck_assert_uint_ge(count_connects(), 1 + RESETS / 4 + 1);
	end("everything at once");
}
END_TEST

/* A body of megabytes goes on where it was cut off: it is one message, and whole. */
START_TEST(large_bodies_cut)
{
	enum { LARGE = 8 << 20 };
	uint64_t before, passed;

	begin("1s", 5);
	before = proxy_passed(&proxy);
	for (uint64_t i = 1; i <= k.n; i++) {
		uint64_t start = proxy_passed(&proxy);

		traffic_send(from, "berlin/orders", ++sent, LARGE, CONNECTD_ARRIVED, &told);
		/* Somewhere in its second half. */
		while ((passed = proxy_passed(&proxy)) < start + LARGE / 2 && told.reached < i)
			ck_assert_int_ge(connectd_wait(from, 1), 0);
		proxy_cut(&proxy);
		traffic_receive(to, from, &k, i);
	}
	passed = proxy_passed(&proxy) - before;
	ck_assert_uint_ge(count_connects(), 4);
	end("large bodies");
	/* From the start each time would have been half as much again. */
	ck_assert_msg(passed < (k.n * LARGE) / 4 * 5, "%" PRIu64 " bytes passed for bodies of %" PRIu64, passed, k.n * LARGE);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("resets");
	TCase *tc = tcase_create("resets");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, resets_under_load);
	tcase_add_test(tc, resets_are_sessions);
	tcase_add_test(tc, short_holes);
	tcase_add_test(tc, everything_at_once);
	tcase_add_test(tc, large_bodies_cut);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
