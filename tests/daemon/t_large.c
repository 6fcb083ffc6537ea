/* Large messages between nodes: in chunks, reserved for, resumed where the link broke; small ones go on meanwhile. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"
#include "proxy.h"
#include "traffic.h"
#include "wire.h"

#define BERLIN \
	"[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n[queue \"orders\"]\n[queue \"small\"]\n" \
	"[peer \"paris\"]\nplaintext = yes\nfrom = 127.0.0.0/8\nbackoff_min = 10ms\nbackoff_max = 50ms\n"
#define PARIS "[queue \"answers\"]\n[peer \"berlin\"]\naddress = %s\nplaintext = yes\nbackoff_min = 10ms\nbackoff_max = 50ms\n"
#define LARGE 3000000

static struct node paris, berlin;
static struct proxy proxy;
static struct connectd *from, *to;
static enum connectd_durability durability; /* of what send_body sends */

static void
begin(void)
{
	node_init(&berlin, "berlin", "%s", BERLIN);
	node_start(&berlin);
	proxy_start(&proxy, berlin.url);
	node_init(&paris, "paris", PARIS, proxy.url);
	node_start(&paris);
	node_await_peer(&paris, "berlin", "up");
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
	ck_assert_uint_eq(node_used(&paris, "max_partial"), 0);
	ck_assert_uint_eq(node_used(&berlin, "max_partial"), 0);
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
	proxy_stop(&proxy);
}

/* ------------------------------------------------------------------ bodies */

static uint8_t
pattern(size_t i, unsigned seed)
{
	return (uint8_t)(i * 2654435761u >> 13 ^ i ^ seed);
}

static void
send_body(struct connectd *c, const char *dest, size_t size, unsigned seed, struct told *told)
{
	struct connectd_msg *m = connectd_msg_new(dest);
	uint8_t *body = malloc(size);

	ck_assert(m != NULL && body != NULL);
	for (size_t i = 0; i < size; i++)
		body[i] = pattern(i, seed);
	ck_assert_int_eq(connectd_msg_set_type_body(m, "test.Large", body, size), 0);
	ck_assert_int_eq(connectd_msg_set_durability(m, durability), 0);
	program_send(c, m, told);
	free(body);
}

static void
check_body(const struct connectd_msg *m, size_t size, unsigned seed)
{
	size_t len, i = 0;
	const uint8_t *body = connectd_msg_get_body(m, &len);

	ck_assert_uint_eq(len, size);
	while (i < len && body[i] == pattern(i, seed))
		i++;
	ck_assert_msg(i == len, "byte %zu of %zu is wrong", i, len);
}

static void
take_body(struct connectd *c, size_t size, unsigned seed)
{
	struct connectd_msg *m = program_take(c);

	check_body(m, size, seed);
	program_ack(c, m);
}

/* ------------------------------------------------------------------- tests */

static const size_t sizes[] = { 200 << 10, LARGE };

START_TEST(both_ways)
{
	struct told there = { 0 }, back = { 0 };

	begin();
	for (unsigned i = 0; i < 4; i++) {
		send_body(from, "berlin/orders", sizes[_i], i, &there);
		send_body(to, "paris/answers", sizes[_i], 100 + i, &back);
	}
	program_consume(from, "answers", 0);
	program_consume(to, "orders", 0);
	while (there.arrived < 4 || back.arrived < 4) {
		/* Each goes on while the other waits. */
		ck_assert_int_ge(connectd_wait(from, 5), 0);
		ck_assert_int_ge(connectd_wait(to, 5), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		take_body(to, sizes[_i], i);
		take_body(from, sizes[_i], 100 + i);
	}
	end();
}
END_TEST

/* Until the proxy has passed so many bytes. */
static void
await_passed(uint64_t bytes)
{
	uint64_t until = program_clock_ms() + PROGRAM_PATIENCE_MS;

	while (proxy_passed(&proxy) < bytes) {
		ck_assert_int_ge(connectd_process(from), 0);
		ck_assert_uint_lt(program_clock_ms(), until);
	}
}

/* Cut three times on the way: nothing that was there already is sent again. */
START_TEST(resumed_where_it_broke)
{
	struct told told = { 0 };
	uint64_t before = proxy_passed(&proxy);

	proxy_split(&proxy, 200);
	send_body(from, "berlin/orders", LARGE, 7, &told);
	for (unsigned i = 0; i < 3; i++) {
		await_passed(proxy_passed(&proxy) + LARGE / 6);
		ck_assert_uint_eq(proxy_cut(&proxy), 1);
		ck_assert_uint_eq(told.arrived, 0);
	}
	program_flush(from);
	ck_assert_uint_eq(told.arrived, 1);
	/* What was on its way at each cut is lost, and no more than that. */
	ck_assert_uint_lt(proxy_passed(&proxy) - before, LARGE + LARGE / 2);
	program_consume(to, "orders", 0);
	take_body(to, LARGE, 7);
	end();
}
END_TEST

/* Memory messages die with their daemon; what is here of one makes way for what comes next. */
START_TEST(sender_dies_in_the_middle)
{
	struct told told = { 0 };
	uint64_t before = proxy_passed(&proxy);

	durability = CONNECTD_MEMORY;
	proxy_split(&proxy, 1000);
	send_body(from, "berlin/orders", LARGE, 7, &told);
	await_passed(before + LARGE / 2);
	node_kill(&paris);
	proxy_cut(&proxy);
	proxy_split(&proxy, 0);
	ck_assert_uint_ge(node_used(&berlin, "max_partial"), LARGE);
	node_start(&paris);
	program_flush(from);
	ck_assert_uint_eq(told.other, 1);
	send_body(from, "berlin/orders", LARGE, 8, &told);
	program_flush(from);
	ck_assert_uint_eq(told.arrived, 1);
	program_consume(to, "orders", 0);
	take_body(to, LARGE, 8);
	end();
}
END_TEST

START_TEST(receiver_dies_in_the_middle)
{
	struct told told = { 0 };
	uint64_t before = proxy_passed(&proxy);

	proxy_split(&proxy, 1000);
	send_body(from, "berlin/orders", LARGE, 7, &told);
	await_passed(before + LARGE / 2);
	node_kill(&berlin);
	proxy_cut(&proxy);
	proxy_split(&proxy, 0);
	connectd_close(to);
	node_start(&berlin);
	proxy_target(&proxy, berlin.url);
	program_flush(from);
	ck_assert_uint_eq(told.arrived, 1);
	to = program_open(&berlin, "receiver");
	program_consume(to, "orders", 0);
	take_body(to, LARGE, 7);
	end();
}
END_TEST

/* Small messages of another queue do not wait for the large one, on a slow link. */
START_TEST(small_ones_keep_flowing)
{
	struct told told = { 0 };
	struct traffic_told small = { 0 };
	uint64_t longest = 0, begun;
	struct checker k;

	checker_init(&k, 100000);
	proxy_split(&proxy, 50);
	traffic_consume(to, "small");
	begun = program_clock_ms();
	send_body(from, "berlin/orders", LARGE, 7, &told);
	for (uint64_t i = 1; told.arrived == 0; i++) {
		uint64_t start = program_clock_ms(), took;

		traffic_send(from, "berlin/small", i, 100, CONNECTD_ARRIVED, &small);
		traffic_receive(to, from, &k, i);
		took = program_clock_ms() - start;
		longest = took > longest ? took : longest;
	}
	ck_assert_uint_ge(k.got, 5);
	ck_assert_uint_eq(k.duplicates + k.redelivered + k.disorder, 0);
	/* A slow machine needs longer, but for the large one as well. */
	begun = program_clock_ms() - begun;
	ck_assert_msg(longest < 1000 || longest < begun / 2, "one took %" PRIu64 " of %" PRIu64 " ms", longest, begun);
	program_flush(from);
	checker_done(&k);
	connectd_close(to);
	to = program_open(&berlin, "receiver");
	program_consume(to, "orders", 0);
	take_body(to, LARGE, 7);
	end();
}
END_TEST

/* Send one that lives so long, and stop the link when a part of it is there. False: its time was over before. */
static bool
stop_in_the_middle(uint32_t ttl_ms, struct told *told)
{
	struct connectd_msg *m = program_message("berlin/orders", "late", LARGE);
	uint64_t before = proxy_passed(&proxy);

	*told = (struct told){ 0 };
	ck_assert_int_eq(connectd_msg_set_ttl(m, ttl_ms), 0);
	program_send(from, m, told);
	while (told->expired == 0 && proxy_passed(&proxy) < before + LARGE / 10)
		ck_assert_int_ge(connectd_wait(from, 1), 0);
	proxy_hole(&proxy, true);
	ck_assert_int_ge(connectd_process(from), 0);
	return told->expired == 0;
}

/* Given up by its sender while half of it is there. */
START_TEST(expires_in_the_middle)
{
	struct told told = { 0 };
	uint32_t ttl_ms = 300;

	proxy_split(&proxy, 1000);
	/* What becomes of it is known when the link goes on. A slow machine may need more time to come that far. */
	while (!stop_in_the_middle(ttl_ms, &told) || connectd_flush(from, (int)ttl_ms + 100) != -ETIMEDOUT) {
		ck_assert_uint_eq(told.expired, 1);
		proxy_hole(&proxy, false);
		ttl_ms *= 2;
		ck_assert_uint_lt(ttl_ms, PROGRAM_PATIENCE_MS);
	}
	node_await_queue(&paris, "berlin/orders", queue_holds, 1);
	proxy_hole(&proxy, false);
	proxy_split(&proxy, 0);
	program_flush(from);
	ck_assert_uint_eq(told.expired, 1);
	program_send_numbers(from, "berlin/orders", 1, 10, &told);
	program_flush(from);
	program_consume(to, "orders", 0);
	program_expect_numbers(to, 1, 10);
	end();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("large");
	TCase *tc = tcase_create("large"), *one = tcase_create("one");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, both_ways, 0, sizeof(sizes) / sizeof(*sizes));
	suite_add_tcase(s, tc);
	tcase_set_timeout(one, 60);
	tcase_add_checked_fixture(one, begin, NULL);
	tcase_add_test(one, resumed_where_it_broke);
	tcase_add_test(one, sender_dies_in_the_middle);
	tcase_add_test(one, receiver_dies_in_the_middle);
	tcase_add_test(one, small_ones_keep_flowing);
	tcase_add_test(one, expires_in_the_middle);
	suite_add_tcase(s, one);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
