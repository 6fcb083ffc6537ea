/* libconnectd, named producers: numbers of one's own, over crashes of the program and of the daemon; take-over. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "fake_sender.h"
#include "frame.h"

static struct fake d;
static struct wire_open_flow opened; /* its pointers are stale */
static char opened_name[64], opened_address[64];
static uint32_t flow;

/*
 * connectd_producer_open waits for the daemon, and there is one thread: so a
 * second one is the daemon for the time of one question. It only reads and
 * writes the daemon's end of the socket.
 */
struct answer {
	struct wire_flow_state state;
	pthread_t thread;
};

static void *
answer(void *arg)
{
	struct answer *a = arg;
	struct pollfd p = { d.fd, POLLIN, 0 };
	struct wire_frame w;
	struct frame f;

	memmove(d.in, d.in + d.used, d.in_len - d.used);
	d.in_len -= d.used;
	d.used = 0;
	while (frame_decode(d.in, d.in_len, WIRE_FRAME_MAX, &f) != 1) {
		ssize_t n;

		ck_assert_int_eq(poll(&p, 1, 5000), 1);
		n = read(d.fd, d.in + d.in_len, sizeof(d.in) - d.in_len);
		ck_assert_int_gt(n, 0);
		d.in_len += (size_t)n;
	}
	ck_assert_int_eq(wire_unpack(f.data, f.len, &w), 0);
	ck_assert_int_eq(w.kind, WIRE_OPEN_FLOW);
	opened = w.u.open_flow;
	snprintf(opened_name, sizeof(opened_name), "%.*s", (int)opened.producer.len, (const char *)opened.producer.data);
	snprintf(opened_address, sizeof(opened_address), "%.*s", (int)opened.address.len, (const char *)opened.address.data);
	d.used = f.used;
	flow = a->state.flow = opened.flow;
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_FLOW_STATE, .u.flow_state = a->state });
	return NULL;
}

static struct wire_flow_state
durable(uint64_t accepted, uint64_t confirmed, uint64_t epoch)
{
	return (struct wire_flow_state){ .accepted = accepted, .confirmed = confirmed, .epoch = epoch, .durable = true,
		.confirm_level = WIRE_LEVEL_STORED, .credit_messages = 1000, .credit_bytes = 1 << 20 };
}

static int
open_named(const char *name, const char *queue, struct wire_flow_state state, uint64_t *ret_last)
{
	struct answer a = { .state = state };
	int r;

	ck_assert_int_eq(pthread_create(&a.thread, NULL, answer, &a), 0);
	r = connectd_producer_open(d.c, name, queue, ret_last);
	pthread_join(a.thread, NULL);
	return r;
}

static void
must_open(uint64_t accepted, uint64_t confirmed, uint64_t epoch)
{
	uint64_t last = 12345;

	ck_assert_int_eq(open_named("till-7", "orders", durable(accepted, confirmed, epoch), &last), 0);
	ck_assert_uint_eq(last, confirmed);
}

static int
send_numbered(uint64_t number, unsigned levels, struct told *t)
{
	struct connectd_msg *m = connectd_msg_new("orders");
	int r;

	if (number > 0)
		ck_assert_int_eq(connectd_msg_set_number(m, number), 0);
	r = connectd_send(d.c, m, levels, t != NULL ? tell : NULL, t);
	connectd_msg_unref(m);
	return r;
}

static void
must_send(uint64_t number, unsigned levels, struct told *t)
{
	ck_assert_int_eq(send_numbered(number, levels, t), 0);
	ck_assert_uint_eq(fake_expect_item(&d).number, number);
}

/* The daemon goes and comes back, perhaps as another boot, and is asked for the flow again. */
static struct wire_open_flow
again(bool restarted)
{
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_DRAIN }); /* so that it comes back without delay */
	fake_hang_up(&d);
	fake_await_up(&d, false);
	d.boot += restarted;
	fake_greet(&d);
	return fake_expect(&d, WIRE_OPEN_FLOW).u.open_flow;
}

static void
say_state(uint32_t id, struct wire_flow_state s)
{
	struct wire_frame f = { .kind = WIRE_FLOW_STATE, .u.flow_state = s };

	flow = f.u.flow_state.flow = id;
	fake_send(&d, &f);
}

static void
setup(void)
{
	fake_start(&d);
	fake_open(&d, NULL);
	fake_greet(&d);
}

static void
teardown(void)
{
	connectd_close(d.c);
	fake_stop(&d);
}

/* ---------------------------------------------------------------- numbers */

START_TEST(opened_and_sent)
{
	static struct told t[3];
	struct wire_open_flow first;

	must_open(0, 0, 1);
	first = opened;
	ck_assert(first.named);
	ck_assert_str_eq(opened_name, "till-7");
	ck_assert_str_eq(opened_address, "orders");
	ck_assert_uint_eq(first.epoch, 0);
	ck_assert_uint_eq(first.priority, WIRE_PRIORITY_NORMAL);
	ck_assert_uint_ne(first.instance, 0);
	ck_assert_uint_eq(first.highest_used, UINT64_MAX); /* who knows */
	ck_assert_uint_eq(first.away_ms, 0);
	must_send(1, STORED, &t[0]);
	must_send(2, 0, &t[1]);
	must_send(1000000000000, STORED, &t[2]); /* a gap costs nothing */
	fake_confirm(&d, flow, 2, WIRE_LEVEL_STORED);
	await_calls(&d, &t[1], 1);
	ck_assert_int_eq(t[0].finals, 1);
	ck_assert_uint_eq(t[1].number, 2);
	ck_assert_int_eq(t[2].calls, 0);
	fake_confirm(&d, flow, 1000000000000, WIRE_LEVEL_STORED);
	ck_assert_int_eq(connectd_flush(d.c, 5000), 0);
	ck_assert_uint_eq(t[2].number, 1000000000000);
}
END_TEST

START_TEST(goes_on_behind_the_last)
{
	uint64_t last = 0;

	must_open(41, 41, 7);
	ck_assert_int_eq(send_numbered(41, 0, NULL), -EINVAL);
	ck_assert_ptr_nonnull(strstr(connectd_last_error(d.c), "41"));
	ck_assert_int_eq(send_numbered(0, 0, NULL), -EINVAL);
	must_send(42, 0, NULL);
	ck_assert_int_eq(send_numbered(42, 0, NULL), -EINVAL);
	fake_confirm(&d, flow, 42, WIRE_LEVEL_STORED);
	ck_assert_int_eq(connectd_flush(d.c, 5000), 0);
	/* Asking again is no second instance. */
	ck_assert_int_eq(connectd_producer_open(d.c, "till-7", "orders", &last), 0);
	ck_assert_uint_eq(last, 42);
	fake_expect_silence(&d);
}
END_TEST

/* The instance before left more than is on disk yet: what is there is not sent, and settles with the sync. */
START_TEST(accepted_above_the_last)
{
	static struct told t[3];

	must_open(12, 10, 7);
	ck_assert_int_eq(send_numbered(11, 0, &t[0]), 0);
	ck_assert_int_eq(send_numbered(12, 0, &t[1]), 0);
	fake_expect_silence(&d);
	must_send(13, 0, &t[2]);
	fake_confirm(&d, flow, 12, WIRE_LEVEL_STORED);
	await_calls(&d, &t[1], 1);
	ck_assert_int_eq(t[0].finals + t[1].finals, 2);
	ck_assert_int_eq(t[1].level, CONNECTD_STORED);
	ck_assert_int_eq(t[2].calls, 0);
}
END_TEST

START_TEST(what_does_not_fit)
{
	struct connectd_msg *m = connectd_msg_new("orders"), *other = connectd_msg_new("other");
	char name[40];
	uint64_t last = 7;

	ck_assert_int_eq(connectd_msg_set_number(m, 0), -EINVAL);
	ck_assert_int_eq(connectd_msg_set_number(m, UINT64_MAX), -EINVAL);
	ck_assert_int_eq(connectd_msg_set_number(other, 1), 0);
	ck_assert_int_eq(connectd_send(d.c, other, 0, NULL, NULL), -EINVAL); /* nobody's number */
	ck_assert_int_eq(connectd_producer_open(d.c, "", "orders", &last), -EINVAL);
	ck_assert_int_eq(connectd_producer_open(d.c, "a b", "orders", &last), -EINVAL);
	memset(name, 'n', sizeof(name));
	name[33] = '\0';
	ck_assert_int_eq(connectd_producer_open(d.c, name, "orders", &last), -EINVAL);
	ck_assert_int_eq(connectd_producer_open(d.c, "till-7", "or ders", &last), -EINVAL);
	ck_assert_uint_eq(last, 7);
	fake_expect_silence(&d);
	must_open(0, 0, 1);
	ck_assert_int_eq(connectd_producer_open(d.c, "till-8", "orders", &last), -EEXIST);
	ck_assert_int_eq(connectd_msg_set_number(m, 1), 0);
	ck_assert_int_eq(connectd_msg_set_priority(m, CONNECTD_HIGH), 0);
	ck_assert_int_eq(connectd_send(d.c, m, 0, NULL, NULL), -EINVAL);
	ck_assert_int_eq(connectd_msg_set_priority(m, CONNECTD_NORMAL), 0);
	ck_assert_int_eq(connectd_send(d.c, m, 0, NULL, NULL), 0);
	ck_assert_int_eq(connectd_msg_set_number(m, 2), -EBUSY);
	/* Another queue is nobody's. */
	fake_expect_item(&d);
	send_body(&d, "other", 'x', 1, 0, NULL);
	ck_assert(!fake_expect(&d, WIRE_OPEN_FLOW).u.open_flow.named);
	connectd_msg_unref(m);
	connectd_msg_unref(other);
}
END_TEST

START_TEST(refused_at_once)
{
	static const struct { uint32_t verdict; int result; } refusals[] = {
		{ WIRE_VERDICT_DENIED, -EACCES }, { WIRE_VERDICT_NO_QUEUE, -ENOENT }, { WIRE_VERDICT_LIMIT, -EUSERS },
		{ WIRE_VERDICT_TAKEN_OVER, -ESTALE }, { WIRE_VERDICT_BAD_ADDRESS, -EINVAL }
	};
	uint64_t last = 7;

	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		struct wire_flow_state s = { .verdict = refusals[i].verdict, .reason = wire_string("because") };

		ck_assert_int_eq(open_named("till-7", "orders", s, &last), refusals[i].result);
		ck_assert_ptr_nonnull(strstr(connectd_last_error(d.c), "because"));
	}
	ck_assert_uint_eq(last, 7);
	fake_expect_silence(&d);
	send_body(&d, "orders", 'x', 1, 0, NULL); /* nobody's any more */
	ck_assert(!fake_expect(&d, WIRE_OPEN_FLOW).u.open_flow.named);
}
END_TEST

START_TEST(a_daemon_that_takes_its_time)
{
	struct connectd_options o = { .size = sizeof(o), .timeout_ms = 50 };
	uint64_t last = 7;

	connectd_close(d.c);
	fake_down(&d);
	fake_open(&d, &o); /* nobody is there */
	ck_assert_int_eq(connectd_producer_open(d.c, "till-7", "orders", &last), -ETIMEDOUT);
	ck_assert_int_eq(send_numbered(1, 0, NULL), -EAGAIN);
	fake_listen(&d);
	fake_greet(&d);
	say_state(fake_expect(&d, WIRE_OPEN_FLOW).u.open_flow.flow, durable(3, 3, 1));
	fake_settle(&d);
	ck_assert_int_eq(connectd_producer_open(d.c, "till-7", "orders", &last), 0);
	ck_assert_uint_eq(last, 3);
	must_send(4, 0, NULL);
}
END_TEST

/* --------------------------------------------------------------- restarts */

START_TEST(the_same_numbers_after_a_restart)
{
	static struct told t[4];
	struct wire_open_flow o;
	struct wire_run run;
	uint64_t instance;

	must_open(0, 0, 5);
	instance = opened.instance;
	must_send(10, ACCEPTED | STORED, &t[0]);
	must_send(20, STORED, &t[1]);
	must_send(21, STORED, &t[2]);
	must_send(30, ACCEPTED, &t[3]);
	fake_confirm(&d, flow, 30, WIRE_LEVEL_ACCEPTED);
	await_calls(&d, &t[3], 1);
	o = again(true);
	ck_assert(o.named);
	ck_assert(wire_bytes_equal(o.producer, wire_string("till-7")));
	ck_assert_uint_eq(o.epoch, 5);
	ck_assert_uint_eq(o.instance, instance);
	ck_assert_uint_eq(o.oldest_unsettled, 10);
	ck_assert_uint_eq(o.highest_used, 30);
	ck_assert_uint_ge(o.away_ms, 1);
	say_state(o.flow, durable(10, 10, 5));
	run = fake_expect(&d, WIRE_TRANSFER).u.run;
	ck_assert_uint_eq(run.first, 20);
	ck_assert_uint_eq(run.n_items, 2);
	ck_assert_uint_eq(fake_expect_item(&d).number, 30);
	await_calls(&d, &t[0], 2);
	ck_assert_int_eq(t[0].finals, 1);
	fake_confirm(&d, flow, 30, WIRE_LEVEL_STORED);
	ck_assert_int_eq(connectd_flush(d.c, 5000), 0);
	ck_assert_int_eq(t[2].result, 0);
	/* Open again although nothing is to be sent: a newer instance would be heard of. */
	o = again(false);
	ck_assert_uint_eq(o.oldest_unsettled, 31);
	say_state(o.flow, durable(30, 30, 5));
	fake_settle(&d);
	must_send(31, 0, NULL);
}
END_TEST

/* -------------------------------------------------------------- take-over */

static void
over(const struct told *t, enum connectd_level level, int result)
{
	await_calls(&d, t, t->calls > 0 ? t->calls : 1);
	ck_assert_int_eq(t->finals, 1);
	ck_assert_int_eq(t->level, level);
	ck_assert_int_eq(t->result, result);
}

START_TEST(taken_over_in_a_session)
{
	static struct told t[4], plain;
	uint64_t last = 0;

	must_open(0, 0, 5);
	must_send(1, STORED | ARRIVED, &t[0]);
	must_send(2, STORED, &t[1]);
	must_send(3, STORED, &t[2]);
	send_body(&d, "other", 'x', 1, 0, &plain);
	open_flow(&d, 0);
	fake_expect(&d, WIRE_DEFINE);
	fake_expect_item(&d);
	fake_confirm(&d, flow, 1, WIRE_LEVEL_STORED);
	fake_confirm(&d, flow, 2, WIRE_LEVEL_ACCEPTED);
	await_calls(&d, &t[0], 1);
	say_state(flow, (struct wire_flow_state){ .verdict = WIRE_VERDICT_TAKEN_OVER, .reason = wire_string("newer") });
	while (!t[2].finals)
		ck_assert_int_eq(connectd_wait(d.c, 5000), 1);
	ck_assert_int_eq(t[0].finals, 1);
	ck_assert_int_eq(t[0].result, -ENODATA); /* stored, and what comes then is told to nobody */
	ck_assert_int_eq(t[0].level, CONNECTD_STORED);
	over(&t[1], CONNECTD_ACCEPTED, -ESTALE);
	over(&t[2], CONNECTD_NONE, -ESTALE);
	ck_assert_str_eq(t[2].reason, "newer");
	ck_assert_int_eq(plain.calls, 0);
	/* It does not come back, neither by sending nor by a new session. */
	ck_assert_int_eq(send_numbered(4, 0, NULL), -ESTALE);
	fake_expect_silence(&d);
	ck_assert(!again(true).named); /* the other flow */
	fake_expect_silence(&d);
	ck_assert_int_eq(send_numbered(4, 0, NULL), -ESTALE);
	/* Unless the program says so. */
	ck_assert_int_eq(open_named("till-7", "orders", durable(3, 3, 9), &last), 0);
	ck_assert_uint_eq(opened.epoch, 0);
	ck_assert_uint_eq(last, 3);
	must_send(4, 0, NULL);
}
END_TEST

START_TEST(taken_over_while_away)
{
	static struct told t[2];
	struct wire_open_flow o;

	must_open(0, 0, 5);
	must_send(1, STORED, &t[0]);
	o = again(true);
	ck_assert_int_eq(send_numbered(2, STORED, &t[1]), 0);
	say_state(o.flow, (struct wire_flow_state){ .verdict = WIRE_VERDICT_TAKEN_OVER });
	over(&t[0], CONNECTD_NONE, -ESTALE);
	over(&t[1], CONNECTD_NONE, -ESTALE);
	fake_expect_silence(&d);
	ck_assert_int_eq(send_numbered(3, 0, NULL), -ESTALE);
	ck_assert_int_eq(connectd_flush(d.c, 0), 0);
}
END_TEST

/* In the middle of a large body; what the window held for it is free again. */
START_TEST(taken_over_in_a_body)
{
	struct connectd_msg *m = connectd_msg_new("orders");
	uint8_t *body = calloc(1, 600000);

	must_open(0, 0, 5);
	ck_assert_int_eq(connectd_msg_set_type_body(m, "", body, 600000), 0);
	ck_assert_int_eq(connectd_msg_set_number(m, 1), 0);
	ck_assert_int_eq(connectd_send(d.c, m, 0, NULL, NULL), 0);
	ck_assert_uint_eq(fake_expect_item(&d).item.total, 600000);
	say_state(flow, (struct wire_flow_state){ .verdict = WIRE_VERDICT_TAKEN_OVER });
	ck_assert_int_eq(connectd_flush(d.c, 5000), 0);
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_CREDIT, .u.credit = { .flow = flow, .number = 1 } });
	fake_expect_silence(&d);
	connectd_msg_unref(m);
	free(body);
}
END_TEST

START_TEST(refused_after_a_restart)
{
	static struct told t[2];
	uint64_t last = 0;

	must_open(0, 0, 5);
	must_send(1, STORED, &t[0]);
	fake_confirm(&d, flow, 1, WIRE_LEVEL_ACCEPTED);
	must_send(2, STORED, &t[1]);
	fake_settle(&d);
	say_state(again(true).flow, (struct wire_flow_state){ .verdict = WIRE_VERDICT_DENIED });
	over(&t[0], CONNECTD_ACCEPTED, -EINPROGRESS);
	over(&t[1], CONNECTD_REJECTED, -EBADMSG);
	ck_assert_int_eq(send_numbered(3, 0, NULL), -EACCES);
	fake_expect_silence(&d);
	ck_assert_int_eq(open_named("till-7", "orders", durable(0, 0, 6), &last), 0);
}
END_TEST

/* A mark above anything sent, or one that was forgotten: the numbers mean nothing any more. */
START_TEST(marks_that_do_not_fit)
{
	static struct told t[2];
	uint64_t last = 0;

	must_open(0, 0, 5);
	must_send(1, STORED, &t[0]);
	say_state(again(true).flow, durable(2, 2, 5));
	over(&t[0], CONNECTD_NONE, -ESTALE);
	ck_assert_int_eq(open_named("till-7", "orders", durable(2, 2, 6), &last), 0);
	must_send(3, STORED, &t[1]);
	say_state(again(true).flow, (struct wire_flow_state){ .verdict = WIRE_VERDICT_FORGOTTEN });
	over(&t[1], CONNECTD_NONE, -ESTALE);
	ck_assert_int_eq(send_numbered(4, 0, NULL), -ESTALE);
	ck_assert_int_eq(open_named("till-7", "orders", durable(UINT64_MAX, UINT64_MAX, 7), &last), -ESTALE);
}
END_TEST

START_TEST(only_a_named_flow_is_taken_over)
{
	send_body(&d, "orders", 'x', 1, 0, NULL);
	flow = open_flow(&d, 0);
	fake_expect(&d, WIRE_DEFINE);
	fake_expect_item(&d);
	say_state(flow, (struct wire_flow_state){ .verdict = WIRE_VERDICT_TAKEN_OVER });
	fake_await_up(&d, false);
}
END_TEST

static void
open_inside(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	uint64_t last;

	(void)m;
	(void)o;
	(void)userdata;
	ck_assert_int_eq(connectd_producer_open(c, "till-8", "orders", &last), -EDEADLK);
}

START_TEST(limits)
{
	struct connectd_msg *m = connectd_msg_new("other");
	uint64_t last;
	char queue[20];

	ck_assert_int_eq(connectd_send(d.c, m, 0, open_inside, NULL), 0);
	connectd_msg_unref(m);
	flow = open_flow(&d, 0);
	fake_expect_item(&d);
	fake_confirm(&d, flow, 1, WIRE_LEVEL_ACCEPTED);
	ck_assert_int_eq(connectd_flush(d.c, 5000), 0);
	d.limits.max_flows = 128;
	fake_hang_up(&d);
	fake_await_up(&d, false);
	fake_greet(&d);
	for (int i = 0; i < 64; i++) {
		snprintf(queue, sizeof(queue), "q%d", i);
		ck_assert_int_eq(open_named("n", queue, durable(0, 0, 1), &last), 0);
	}
	ck_assert_int_eq(connectd_producer_open(d.c, "n", "q64", &last), -EUSERS);
	ck_assert_int_eq(connectd_producer_open(d.c, "n", "q0", &last), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_named");
	TCase *t = tcase_create("lib_named");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, opened_and_sent);
	tcase_add_test(t, goes_on_behind_the_last);
	tcase_add_test(t, accepted_above_the_last);
	tcase_add_test(t, what_does_not_fit);
	tcase_add_test(t, refused_at_once);
	tcase_add_test(t, a_daemon_that_takes_its_time);
	tcase_add_test(t, the_same_numbers_after_a_restart);
	tcase_add_test(t, taken_over_in_a_session);
	tcase_add_test(t, taken_over_while_away);
	tcase_add_test(t, taken_over_in_a_body);
	tcase_add_test(t, refused_after_a_restart);
	tcase_add_test(t, marks_that_do_not_fit);
	tcase_add_test(t, only_a_named_flow_is_taken_over);
	tcase_add_test(t, limits);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
