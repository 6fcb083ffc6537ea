/* What strangers get: who is known, how many are let in, whose place goes, and whose turn it is. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_loop.h"
#include "gate.h"

#define MS UINT64_C(1000000)

static struct loop *loop;
static struct conf *conf;
static struct gate *gate;
static struct gate_guest *went[64]; /* whose turn came, in order */
static unsigned n_went;

static void
fault(void *arg, const char *file, unsigned line, const char *text)
{
	(void)arg;
	ck_abort_msg("%s:%u: %s", file, line, text);
}

static struct conf *
read_conf(const char *text)
{
	char whole[2048];
	struct conf *c;

	snprintf(whole, sizeof(whole), "[node]\nname = paris\n%s", text);
	ck_assert_int_eq(conf_read_text("test.conf", whole, strlen(whole), fault, NULL, &c), 0);
	return c;
}

static void
go_on(struct gate_guest *g)
{
	went[n_went++] = g;
}

static void
begin(const char *text)
{
	loop = loop_new();
	conf = read_conf(text);
	n_went = 0;
	ck_assert_int_eq(gate_new(loop, conf, go_on, &gate), 0);
}

static void
end(void)
{
	gate_free(gate);
	conf_free(conf);
	loop_free(loop);
}

static struct gate_from
v4(unsigned a, unsigned b, unsigned c, unsigned d)
{
	const uint8_t ip[16] = { (uint8_t)a, (uint8_t)b, (uint8_t)c, (uint8_t)d };

	return gate_from(false, ip);
}

static struct gate_from
v6(unsigned net, unsigned host)
{
	const uint8_t ip[16] = { 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, (uint8_t)net, [15] = (uint8_t)host };

	return gate_from(true, ip);
}

#define PEERS \
	"[peer \"berlin\"]\nplaintext = yes\naddress = tcp://192.0.2.1:1, tcp://[2001:db8:0:1::5]:1, tcp://berlin.example:1\n" \
	"from = 10.1.0.0/16, 10.2.3.4, 2001:db8:0:2::/64\n"

START_TEST(who_is_known)
{
	struct conf *other;

	begin(PEERS "[peer \"oslo\"]\nplaintext = yes\nfrom = 10.1.0.0/16\n");
	ck_assert_int_eq(gate_rank(gate, v4(192, 0, 2, 1)), GATE_KNOWN);
	ck_assert_int_eq(gate_rank(gate, v4(192, 0, 2, 2)), GATE_STRANGER);
	ck_assert_int_eq(gate_rank(gate, v6(1, 77)), GATE_KNOWN); /* the network that a host has to itself */
	ck_assert_int_eq(gate_rank(gate, v6(2, 77)), GATE_EXPECTED);
	ck_assert_int_eq(gate_rank(gate, v6(3, 77)), GATE_STRANGER);
	ck_assert_int_eq(gate_rank(gate, v4(10, 1, 255, 255)), GATE_EXPECTED);
	ck_assert_int_eq(gate_rank(gate, v4(10, 2, 3, 4)), GATE_EXPECTED);
	ck_assert_int_eq(gate_rank(gate, v4(10, 2, 3, 5)), GATE_STRANGER);
	/* Where it has proven itself; the last few places of each. */
	for (unsigned i = 0; i <= GATE_ADDRESSES_MAX; i++)
		gate_proven(gate, "oslo", v4(172, 16, 0, i));
	gate_proven(gate, "oslo", v4(172, 16, 0, 1));
	gate_proven(gate, "berlin", v4(172, 16, 0, 1));
	ck_assert_int_eq(gate_rank(gate, v4(172, 16, 0, 0)), GATE_STRANGER);
	for (unsigned i = 1; i <= GATE_ADDRESSES_MAX; i++)
		ck_assert_int_eq(gate_rank(gate, v4(172, 16, 0, i)), GATE_KNOWN);
	/* Another configuration: oslo is no peer any more, and what only it had is nobody's. */
	other = read_conf(PEERS);
	ck_assert_int_eq(gate_configure(gate, other), 0);
	conf_free(conf);
	conf = other;
	ck_assert_int_eq(gate_rank(gate, v4(172, 16, 0, 2)), GATE_STRANGER);
	ck_assert_int_eq(gate_rank(gate, v4(172, 16, 0, 1)), GATE_KNOWN);
	ck_assert_int_eq(gate_rank(gate, v4(10, 1, 0, 0)), GATE_EXPECTED);
	end();
}
END_TEST

static unsigned
let_in(enum gate_rank rank, struct gate_from from, unsigned tries)
{
	unsigned n = 0;

	while (tries-- > 0)
		n += gate_refuses(gate, rank, from) == NULL;
	return n;
}

START_TEST(strangers_a_second)
{
	uint64_t budget, strangers;

	begin("max_strangers = 10\nmax_strangers_per_address = 4\n");
	/* Two seconds' worth at once, then as many as come back. */
	ck_assert_uint_eq(let_in(GATE_STRANGER, v4(10, 0, 0, 1), 20), 8);
	ck_assert_str_eq(gate_refuses(gate, GATE_STRANGER, v4(10, 0, 0, 1)), "max_strangers_per_address");
	fake_loop_advance(loop, 1000);
	ck_assert_uint_eq(let_in(GATE_STRANGER, v4(10, 0, 0, 1), 20), 4);
	/* All together. */
	fake_loop_advance(loop, 5000);
	for (unsigned i = 0; i < 20; i++)
		ck_assert_uint_eq(let_in(GATE_STRANGER, v4(10, 0, 1, i), 1), 1);
	ck_assert_str_eq(gate_refuses(gate, GATE_STRANGER, v4(10, 0, 2, 0)), "max_strangers");
	/* Others do not pay for that. */
	ck_assert_uint_eq(let_in(GATE_EXPECTED, v4(10, 0, 3, 0), 20), 8);
	ck_assert_uint_eq(let_in(GATE_KNOWN, v4(10, 0, 4, 0), 100), 100);
	fake_loop_advance(loop, 1000);
	gate_used(gate, &budget, &strangers);
	ck_assert_uint_eq(strangers, 20);
	/* Nor is there more for those who have many addresses in one network. */
	fake_loop_advance(loop, 5000);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_uint_eq(let_in(GATE_STRANGER, v6(9, i), 1), 1);
	ck_assert_uint_eq(let_in(GATE_STRANGER, v6(9, 200), 1), 0);
	end();
}
END_TEST

/* However many addresses there are, few are remembered. */
START_TEST(buckets_are_bounded)
{
	begin("max_strangers = none\nmax_strangers_per_address = 1\n");
	ck_assert_uint_eq(let_in(GATE_STRANGER, v4(9, 0, 0, 0), 9), 2);
	for (unsigned i = 0; i < GATE_BUCKETS_MAX - 1; i++)
		ck_assert_uint_eq(let_in(GATE_STRANGER, v4(10, 0, i >> 8, i & 255), 9), 2);
	ck_assert_uint_eq(let_in(GATE_STRANGER, v4(9, 0, 0, 0), 9), 0);
	ck_assert_uint_eq(let_in(GATE_STRANGER, v4(11, 0, 0, 0), 9), 2);
	/* The longest unused was forgotten for it. */
	ck_assert_uint_eq(let_in(GATE_STRANGER, v4(9, 0, 0, 0), 9), 0);
	ck_assert_uint_eq(let_in(GATE_STRANGER, v4(10, 0, 0, 0), 9), 2);
	end();
}
END_TEST

START_TEST(whose_place_goes)
{
	struct gate_guest g[5];

	begin("");
	ck_assert_ptr_null(gate_gives_way(gate, GATE_KNOWN));
	gate_enter(gate, &g[0], GATE_KNOWN);
	gate_enter(gate, &g[1], GATE_EXPECTED);
	gate_enter(gate, &g[2], GATE_STRANGER);
	gate_enter(gate, &g[3], GATE_STRANGER);
	ck_assert_ptr_null(gate_gives_way(gate, GATE_STRANGER));
	ck_assert_ptr_eq(gate_gives_way(gate, GATE_EXPECTED), &g[2]);
	ck_assert_ptr_eq(gate_gives_way(gate, GATE_KNOWN), &g[2]);
	gate_leave(gate, &g[2]);
	ck_assert_ptr_eq(gate_gives_way(gate, GATE_KNOWN), &g[3]);
	gate_leave(gate, &g[3]);
	ck_assert_ptr_null(gate_gives_way(gate, GATE_EXPECTED));
	ck_assert_ptr_eq(gate_gives_way(gate, GATE_KNOWN), &g[1]);
	gate_leave(gate, &g[1]);
	ck_assert_ptr_null(gate_gives_way(gate, GATE_KNOWN));
	gate_leave(gate, &g[0]);
	end();
}
END_TEST

/* One at a time; after 4 ms of work, 20 ms are over before the next, but for the 10 by which it may be late. */
START_TEST(a_share_of_the_time)
{
	struct gate_guest g[3];
	uint64_t budget, strangers;

	begin("handshake_budget = 20ms\n");
	for (int i = 0; i < 3; i++)
		gate_enter(gate, &g[i], GATE_STRANGER);
	fake_loop_advance(loop, 100);
	ck_assert(gate_may_shake(gate, &g[0]));
	ck_assert(!gate_may_shake(gate, &g[1]));
	ck_assert(!gate_may_shake(gate, &g[2]));
	fake_loop_advance(loop, 50);
	ck_assert_uint_eq(n_went, 0); /* it is somebody's */
	gate_shaken(gate, &g[0], 4 * MS);
	fake_loop_advance(loop, 9);
	ck_assert_uint_eq(n_went, 0);
	fake_loop_advance(loop, 2);
	ck_assert_uint_eq(n_went, 1);
	ck_assert_ptr_eq(went[0], &g[1]);
	ck_assert(gate_may_shake(gate, &g[1]));
	/* Whoever goes with its turn has not cost anything. */
	gate_leave(gate, &g[1]);
	fake_loop_advance(loop, 1);
	ck_assert_ptr_eq(went[1], &g[2]);
	gate_shaken(gate, &g[2], 30 * MS);
	gate_leave(gate, &g[2]);
	/* Whoever has begun goes before those who have not. */
	ck_assert(!gate_may_shake(gate, &g[0]));
	fake_loop_advance(loop, 138);
	ck_assert_uint_eq(n_went, 2);
	fake_loop_advance(loop, 14);
	ck_assert_uint_eq(n_went, 3);
	gate_leave(gate, &g[0]);
	/* What is told of it. */
	fake_loop_advance(loop, 1000 - loop_now_ms(loop) % 100);
	gate_enter(gate, &g[0], GATE_STRANGER);
	ck_assert(gate_may_shake(gate, &g[0]));
	gate_shaken(gate, &g[0], 7 * MS);
	fake_loop_advance(loop, 100);
	gate_used(gate, &budget, &strangers);
	ck_assert_uint_eq(budget, 7);
	gate_leave(gate, &g[0]);
	end();
}
END_TEST

/* A lot of work, in steps of a ms: in no 100 ms is more of it done than 20, what came late, and the last. */
START_TEST(never_more_than_the_budget)
{
	struct gate_guest g[40];
	uint64_t done[1000] = { 0 };
	unsigned at = 0;

	begin("handshake_budget = 20ms\n");
	for (int i = 0; i < 40; i++) {
		gate_enter(gate, &g[i], i % 3 ? GATE_STRANGER : GATE_KNOWN);
		if (gate_may_shake(gate, &g[i]))
			gate_shaken(gate, &g[i], MS);
	}
	for (int ms = 0; ms < 1000; ms++) {
		n_went = 0;
		fake_loop_advance(loop, 1);
		ck_assert_uint_le(n_went, 1);
		for (unsigned i = 0; i < n_went; i++) {
			ck_assert(gate_may_shake(gate, went[i]));
			gate_shaken(gate, went[i], MS);
			done[ms]++;
			ck_assert(!gate_may_shake(gate, went[i]));
		}
	}
	for (at = 0; at + 100 <= 1000; at++) {
		uint64_t sum = 0;

		for (unsigned i = 0; i < 100; i++)
			sum += done[at + i];
		ck_assert_uint_le(sum, 23);
		ck_assert_uint_ge(sum, 15);
	}
	for (int i = 0; i < 40; i++)
		gate_leave(gate, &g[i]);
	end();
}
END_TEST

/* Known ones first, but not for ever. */
START_TEST(known_ones_first)
{
	struct gate_guest busy, stranger, known[20];
	unsigned strangers = 0;

	begin("");
	gate_enter(gate, &busy, GATE_STRANGER);
	gate_enter(gate, &stranger, GATE_STRANGER);
	ck_assert(gate_may_shake(gate, &busy));
	ck_assert(!gate_may_shake(gate, &stranger));
	for (int i = 0; i < 20; i++) {
		gate_enter(gate, &known[i], GATE_KNOWN);
		ck_assert(!gate_may_shake(gate, &known[i]));
	}
	gate_shaken(gate, &busy, MS);
	for (int i = 0; i < 16; i++) {
		fake_loop_advance(loop, 10);
		ck_assert_uint_eq(n_went, (unsigned)i + 1);
		strangers += went[i] == &stranger;
		gate_shaken(gate, went[i], MS);
		if (went[i] == &stranger)
			ck_assert(!gate_may_shake(gate, &stranger));
	}
	ck_assert_ptr_eq(went[0], &known[0]);
	ck_assert_ptr_eq(went[1], &known[1]);
	ck_assert_uint_eq(strangers, 1);
	for (int i = 0; i < 20; i++)
		gate_leave(gate, &known[i]);
	gate_leave(gate, &stranger);
	gate_leave(gate, &busy);
	end();
}
END_TEST

START_TEST(without_a_budget)
{
	struct gate_guest g[2];
	struct conf *other;

	begin("");
	gate_enter(gate, &g[0], GATE_STRANGER);
	gate_enter(gate, &g[1], GATE_STRANGER);
	ck_assert(gate_may_shake(gate, &g[0]));
	ck_assert(!gate_may_shake(gate, &g[1]));
	other = read_conf("handshake_budget = none\n");
	ck_assert_int_eq(gate_configure(gate, other), 0);
	conf_free(conf);
	conf = other;
	/* Whoever waits is not forgotten. */
	gate_shaken(gate, &g[0], 50 * MS);
	fake_loop_advance(loop, 1);
	ck_assert_uint_eq(n_went, 1);
	ck_assert(gate_may_shake(gate, &g[0]));
	ck_assert(gate_may_shake(gate, &g[1]));
	gate_leave(gate, &g[0]);
	gate_leave(gate, &g[1]);
	end();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gate");
	TCase *t = tcase_create("gate");
	SRunner *sr;
	int failed;

	tcase_add_test(t, who_is_known);
	tcase_add_test(t, strangers_a_second);
	tcase_add_test(t, buckets_are_bounded);
	tcase_add_test(t, whose_place_goes);
	tcase_add_test(t, a_share_of_the_time);
	tcase_add_test(t, never_more_than_the_budget);
	tcase_add_test(t, known_ones_first);
	tcase_add_test(t, without_a_budget);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
