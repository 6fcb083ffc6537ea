/* How nodes find each other: addresses, crossed dials, restarts, and links that freeze. */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"
#include "proxy.h"
#include "wire.h"

#define LISTENER(address) "[listen \"lan\"]\naddress = " address "\nplaintext = yes\n"
#define QUEUE "[queue \"orders\"]\n"
#define QUICK "backoff_min = 1ms\nbackoff_max = 5ms\n"
#define FROM(name) "[peer \"" name "\"]\nplaintext = yes\nfrom = 127.0.0.0/8, ::1\n" QUICK
#define TO(name) "[peer \"" name "\"]\naddress = %s\nplaintext = yes\nfrom = 127.0.0.0/8\n" QUICK

static struct node paris, berlin;

static void
begin(const char *listener, const char *addresses)
{
	char to[128];

	node_init(&berlin, "berlin", "%s" QUEUE FROM("paris"), listener);
	node_start(&berlin);
	/* The port that it got. */
	snprintf(to, sizeof(to), "%s%s", addresses, strrchr(berlin.url, ':'));
	node_init(&paris, "paris", QUEUE TO("berlin"), to);
	node_start(&paris);
}

static void
end(void)
{
	node_check_books(&paris);
	node_check_books(&berlin);
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}

/* A few messages each way. */
static void
exchange(struct node *a, struct node *b)
{
	struct connectd *ca = program_open(a, "a"), *cb = program_open(b, "b");
	struct told told = { 0 };
	char dest[64];

	snprintf(dest, sizeof(dest), "%s/orders", b->name);
	program_send_numbers(ca, dest, 1, 50, &told);
	snprintf(dest, sizeof(dest), "%s/orders", a->name);
	program_send_numbers(cb, dest, 1, 50, &told);
	program_flush(ca);
	program_flush(cb);
	ck_assert_uint_eq(told.arrived, 100);
	program_consume(ca, "orders", 0);
	program_consume(cb, "orders", 0);
	program_expect_numbers(ca, 1, 50);
	program_expect_numbers(cb, 1, 50);
	connectd_close(ca);
	connectd_close(cb);
}

struct seen {
	char state[16], last_error[200], address[128];
	bool dialled_by_me;
	uint64_t connects;
	uint32_t start_count;
};

static struct seen
look(struct node *n, const char *peer)
{
	struct seen s = { .connects = 0 };
	const Connectd__V1__Peer *p;
	struct answer a;

	node_ask(n, WIRE_ADMIN_PEERS, peer, 0, &connectd__v1__peer__descriptor, &a);
	ck_assert_uint_eq(a.n, 1);
	p = (const Connectd__V1__Peer *)a.items[0];
	snprintf(s.state, sizeof(s.state), "%s", p->state);
	snprintf(s.last_error, sizeof(s.last_error), "%s", p->last_error);
	snprintf(s.address, sizeof(s.address), "%s", p->address);
	s.dialled_by_me = p->dialled_by_me;
	s.connects = p->connects;
	s.start_count = p->start_count;
	answer_free(&a);
	return s;
}

/* Sessions that this node ended, by kind and reason. */
static uint64_t
count_closed(struct node *n, const char *kind, const char *reason)
{
	const Connectd__V1__Status *s;
	uint64_t count = 0;
	struct answer a;

	node_ask(n, WIRE_ADMIN_STATUS, "", 0, &connectd__v1__status__descriptor, &a);
	s = (const Connectd__V1__Status *)a.items[0];
	for (size_t i = 0; i < s->n_closed; i++)
		if (strcmp(s->closed[i]->kind, kind) == 0 && strcmp(s->closed[i]->reason, reason) == 0)
			count = s->closed[i]->count;
	answer_free(&a);
	return count;
}

/* -------------------------------------------------------------- addresses */

static const struct {
	const char *listener, *addresses, *used;
} ways[] = {
	{ LISTENER("tcp://127.0.0.1:0"), "tcp://127.0.0.1", "127.0.0.1" },
	{ LISTENER("tcp://[::1]:0"), "tcp://[::1]", "[::1]" },
	{ LISTENER("tcp://127.0.0.1:0"), "tcp://localhost", "127.0.0.1" },
	/* Nobody listens at the first. */
	{ LISTENER("tcp://127.0.0.1:0"), "tcp://127.0.0.1:1, tcp://127.0.0.1", "127.0.0.1" },
	{ LISTENER("tcp://127.0.0.1:0"), "tcp://nobody.invalid:7140, tcp://localhost", "127.0.0.1" },
};

START_TEST(addresses)
{
	struct seen s;

	begin(ways[_i].listener, ways[_i].addresses);
	node_await_peer(&paris, "berlin", "up");
	node_await_peer(&berlin, "paris", "up");
	s = look(&paris, "berlin");
	ck_assert(s.dialled_by_me);
	ck_assert_ptr_nonnull(strstr(s.address, ways[_i].used));
	ck_assert_uint_eq(s.connects, 1);
	/* The other end never dials, and sends all the same. */
	ck_assert(!look(&berlin, "paris").dialled_by_me);
	exchange(&paris, &berlin);
	end();
}
END_TEST

/* ---------------------------------------------------------- crossed dials */

#define ROUNDS 100

/* Up at both ends, which agree on who dialled. */
static void
await_pair(void)
{
	uint64_t until = program_clock_ms() + PROGRAM_PATIENCE_MS;

	for (;;) {
		struct seen a, b;

		node_await_peer(&paris, "berlin", "up");
		node_await_peer(&berlin, "paris", "up");
		a = look(&paris, "berlin");
		b = look(&berlin, "paris");
		if (strcmp(a.state, "up") == 0 && strcmp(b.state, "up") == 0 && a.dialled_by_me != b.dialled_by_me)
			return;
		ck_assert_uint_lt(program_clock_ms(), until);
	}
}

/* Nothing is under way any more that could still take over from the session there is. */
static void
await_one(struct proxy *a, struct proxy *b)
{
	uint64_t until = program_clock_ms() + PROGRAM_PATIENCE_MS;

	/* Up, so that nobody dials any more; then the last of the dials ends; whichever stayed is up. */
	await_pair();
	while (proxy_pairs(a) + proxy_pairs(b) != 1)
		ck_assert_uint_lt(program_clock_ms(), until);
	await_pair();
}

/*
 * Each dials the other as soon as it can; one is started again and again. The
 * dials cross at all stages, and one session remains.
 *
 * No more than two are accepted in one start while nothing breaks or times out.
 * Say D decides and F follows. D has one dial at a time, d, and dials no more
 * once it has a session. F has one at a time, f, and dials no more while that is
 * under way or it has a session; a dial it gives up has not said Hello. F ends
 * what D accepted only for what D accepted later, so D, once up, stays up.
 * - D accepts f first. d has been given up, or F's Hello on it came before: then
 *   D ends it. Nothing is left that could take over from f: one session.
 * - D accepts d first, and f's Hello came before: D ends f. F dials again only if
 *   it does not have d yet (Close overtook Accept), and goes on as follows.
 * - D accepts d first, and f's Hello came behind. If it says that F holds d, D
 *   ends f, and F keeps d. Else f takes over, and again nothing is left: two.
 */
START_TEST(both_dial)
{
	struct proxy to_paris, to_berlin;
	uint64_t most = 0, total = 0, before[2];

	/* The proxies keep their addresses while the nodes change theirs. */
	proxy_start(&to_paris, "tcp://127.0.0.1:1");
	proxy_start(&to_berlin, "tcp://127.0.0.1:1");
	node_init(&berlin, "berlin", LISTENER("tcp://127.0.0.1:0") QUEUE TO("paris"), to_paris.url);
	node_init(&paris, "paris", LISTENER("tcp://127.0.0.1:0") QUEUE TO("berlin"), to_berlin.url);
	node_start(&berlin);
	proxy_target(&to_berlin, berlin.url);
	for (int i = 0; i < ROUNDS; i++) {
		/* Whoever starts was always or never the one with the smaller name. */
		struct node *n = i % 2 == 0 ? &paris : &berlin, *other = n == &paris ? &berlin : &paris;
		struct proxy *p = n == &paris ? &to_paris : &to_berlin;
		uint64_t had;

		if (n->pid > 0)
			node_kill(n);
		had = look(other, n->name).connects;
		node_start(n);
		proxy_target(p, n->url);
		await_one(&to_paris, &to_berlin);
		had = look(other, n->name).connects - had;
		most = had > most ? had : most;
		had = look(n, other->name).connects;
		most = had > most ? had : most;
		total += had;
	}
	ck_assert_msg(most <= 2, "%" PRIu64 " in one start, %" PRIu64 " in %d", most, total, ROUNDS);
	before[0] = look(&paris, "berlin").connects;
	before[1] = look(&berlin, "paris").connects;
	exchange(&paris, &berlin);
	ck_assert_uint_eq(look(&paris, "berlin").connects, before[0]);
	ck_assert_uint_eq(look(&berlin, "paris").connects, before[1]);
	end();
	proxy_stop(&to_berlin); /* holds what the other one listens to for its end */
	proxy_stop(&to_paris);
}
END_TEST

/* -------------------------------------------------------- restarts, freezes */

/*
 * It died, and nothing of it came through: its next start takes over at once,
 * not when silence was long enough. Either end may be the one that decides.
 */
START_TEST(newer_start_takes_over)
{
	static const char *const names[] = { "amsterdam", "zurich" };
	struct connectd *from, *to;
	struct told told = { 0 };
	struct proxy proxy;
	struct node n;
	uint64_t start;

	node_init(&berlin, "berlin", "keepalive = 1h\n" LISTENER("tcp://127.0.0.1:0") QUEUE FROM("amsterdam") FROM("zurich"));
	node_start(&berlin);
	proxy_start(&proxy, berlin.url);
	node_init(&n, names[_i], "keepalive = 1h\n" TO("berlin"), proxy.url);
	node_start(&n);
	node_await_peer(&berlin, n.name, "up");
	from = program_open(&n, "sender");
	program_send_numbers(from, "berlin/orders", 1, 10, &told);
	program_flush(from);
	proxy_hole(&proxy, true);
	node_kill(&n);
	ck_assert_str_eq(look(&berlin, n.name).state, "up");
	start = program_clock_ms();
	node_configure(&n, "keepalive = 1h\n" TO("berlin"), berlin.url);
	node_start(&n);
	connectd_close(from);
	from = program_open(&n, "sender");
	program_send_numbers(from, "berlin/orders", 11, 20, &told);
	program_flush(from);
	/* Silence would take three hours; a slow machine is not held against it. */
	ck_assert_uint_lt(program_clock_ms() - start, PROGRAM_PATIENCE_MS);
	ck_assert_uint_eq(look(&berlin, n.name).start_count, 2);
	ck_assert_uint_eq(look(&berlin, n.name).connects, 2);
	ck_assert_uint_eq(told.arrived, 20);
	to = program_open(&berlin, "receiver");
	program_consume(to, "orders", 0);
	program_expect_numbers(to, 1, 20);
	connectd_close(from);
	connectd_close(to);
	ck_assert_int_eq(node_stop(&n), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
	proxy_stop(&proxy);
}
END_TEST

/* Dead after three times keepalive without a byte, at both ends; then it comes back by itself. */
START_TEST(frozen_link)
{
	struct proxy proxy;
	uint64_t start, took;

	/* Long enough that a loaded machine does not end the link before it is frozen. */
	node_init(&berlin, "berlin", "keepalive = 500ms\n" LISTENER("tcp://127.0.0.1:0") QUEUE FROM("paris"));
	node_start(&berlin);
	proxy_start(&proxy, berlin.url);
	node_init(&paris, "paris", "keepalive = 500ms\n" QUEUE TO("berlin"), proxy.url);
	node_start(&paris);
	await_pair();
	proxy_hole(&proxy, true);
	start = program_clock_ms();
	node_await_peer(&paris, "berlin", "dialling");
	node_await_peer(&berlin, "paris", "idle");
	took = program_clock_ms() - start;
	/* The last byte came up to one keepalive before. */
	ck_assert_msg(took >= 990 && took < PROGRAM_PATIENCE_MS, "%" PRIu64 " ms", took);
	ck_assert_uint_eq(count_closed(&berlin, "peer", "timeout"), 1);
	ck_assert_uint_eq(count_closed(&paris, "peer", "timeout"), 1);
	ck_assert_ptr_nonnull(strstr(look(&paris, "berlin").last_error, "nothing was heard"));
	ck_assert_ptr_nonnull(strstr(look(&berlin, "paris").last_error, "nothing was heard"));
	proxy_hole(&proxy, false);
	await_pair();
	exchange(&paris, &berlin);
	ck_assert_uint_eq(look(&paris, "berlin").connects, 2);
	end();
	proxy_stop(&proxy);
}
END_TEST

/* ---------------------------------------------------------------- refusals */

static const struct {
	const char *berlin, *dials, *code, *why;
} refused[] = {
	{ FROM("oslo"), "berlin", "wrong-name", "not known here" },
	{ FROM("paris"), "oslo", "wrong-name", "another node than the one dialled" },
	{ "[peer \"paris\"]\nplaintext = yes\nfrom = 192.0.2.0/24, ::1\n", "berlin", "denied", "may not come from this address" },
	{ "[peer \"paris\"]\naddress = tcp://127.0.0.1:1\nplaintext = yes\n", "berlin", "denied", "may not come from this address" },
};

START_TEST(refusals)
{
	struct seen s;

	node_init(&berlin, "berlin", LISTENER("tcp://127.0.0.1:0") "%s", refused[_i].berlin);
	node_start(&berlin);
	node_init(&paris, "paris", "[peer \"%s\"]\naddress = %s\nplaintext = yes\nbackoff_max = 100ms\n", refused[_i].dials,
	    berlin.url);
	node_start(&paris);
	node_await_peer(&paris, refused[_i].dials, "waiting");
	s = look(&paris, refused[_i].dials);
	ck_assert_msg(strstr(s.last_error, refused[_i].why) != NULL, "%s", s.last_error);
	ck_assert_uint_eq(s.connects, 0);
	ck_assert_uint_ge(count_closed(&berlin, "stranger", refused[_i].code), 1);
	ck_assert(node_logged(&berlin, refused[_i].why));
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("peers");
	TCase *tc = tcase_create("peers");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, addresses, 0, sizeof(ways) / sizeof(*ways));
	tcase_add_test(tc, both_dial);
	tcase_add_loop_test(tc, newer_start_takes_over, 0, 2);
	tcase_add_test(tc, frozen_link);
	tcase_add_loop_test(tc, refusals, 0, sizeof(refused) / sizeof(*refused));
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
