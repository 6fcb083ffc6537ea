/* libconnectd, sending to durable queues: accepted, stored, arrived; what a daemon that restarts still has. */
#include <errno.h>

#include "fake_sender.h"

#define ALL (ACCEPTED | STORED | ARRIVED)

static struct fake d;
static uint32_t flow;

static void
state_of(uint32_t id, uint64_t accepted, uint64_t confirmed, uint32_t level, bool durable, const char *waiting)
{
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_FLOW_STATE, .u.flow_state = {
	    .flow = id, .accepted = accepted, .confirmed = confirmed, .durable = durable, .confirm_level = level,
	    .credit_messages = 1000, .credit_bytes = 1 << 20, .waiting = { (const uint8_t *)waiting, strlen(waiting) } } });
}

/* A session with a flow whose first n messages are sent, asking for these levels. */
static void
begin(uint32_t confirm_level, bool durable, int n, const unsigned *levels, struct told *t)
{
	for (int i = 0; i < n; i++)
		send_one(&d, (char)('a' + i), levels[i], &t[i]);
	flow = fake_expect(&d, WIRE_OPEN_FLOW).u.open_flow.flow;
	state_of(flow, 0, 0, confirm_level, durable, "");
	fake_expect(&d, WIRE_DEFINE);
	ck_assert_uint_eq(fake_expect(&d, WIRE_TRANSFER).u.run.n_items, (size_t)n);
}

static void
outbound(int n, const unsigned *levels, struct told *t)
{
	begin(WIRE_LEVEL_STORED, true, n, levels, t);
}

/* The daemon is killed and starts again; what it says of the flow. */
static struct wire_open_flow
restart(uint64_t accepted, uint64_t confirmed, const char *waiting)
{
	struct wire_open_flow o;

	fake_send(&d, &(struct wire_frame){ .kind = WIRE_DRAIN }); /* so that it comes back without delay */
	fake_hang_up(&d);
	fake_await_up(&d, false);
	d.boot++;
	fake_greet(&d);
	o = fake_expect(&d, WIRE_OPEN_FLOW).u.open_flow;
	flow = o.flow;
	state_of(flow, accepted, confirmed, WIRE_LEVEL_STORED, true, waiting);
	return o;
}

static void
progress(uint32_t level, const char *ranges)
{
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_PROGRESS, .u.progress = {
	    .flow = flow, .level = level, .ranges = { (const uint8_t *)ranges, strlen(ranges) } } });
}

static void
expect_told(const struct told *t, int calls, int finals, enum connectd_level level, int result)
{
	await_calls(&d, t, calls);
	ck_assert_int_eq(t->finals, finals);
	ck_assert_int_eq(t->level, level);
	ck_assert_int_eq(t->result, result);
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

/* ----------------------------------------------------------------- levels */

START_TEST(accepted_stored_arrived)
{
	static const unsigned levels[] = { ALL, STORED, ARRIVED, ACCEPTED, 0 };
	static struct told t[5];

	outbound(5, levels, t);
	fake_confirm(&d, flow, 5, WIRE_LEVEL_ACCEPTED);
	expect_told(&t[0], 1, 0, CONNECTD_ACCEPTED, 0);
	expect_told(&t[3], 1, 1, CONNECTD_ACCEPTED, 0);
	ck_assert_int_eq(t[1].calls + t[2].calls + t[4].calls, 0);
	fake_confirm(&d, flow, 5, WIRE_LEVEL_ACCEPTED); /* again, and harmless */
	fake_confirm(&d, flow, 2, WIRE_LEVEL_STORED);
	expect_told(&t[0], 2, 0, CONNECTD_STORED, 0);
	expect_told(&t[1], 1, 1, CONNECTD_STORED, 0);
	fake_confirm(&d, flow, 5, WIRE_LEVEL_STORED);
	expect_told(&t[4], 1, 1, CONNECTD_STORED, 0);
	ck_assert_int_eq(t[2].calls, 0);
	ck_assert_uint_eq(connectd_unconfirmed(d.c), 2);
	progress(WIRE_LEVEL_ARRIVED, "\1\3");
	expect_told(&t[0], 3, 1, CONNECTD_ARRIVED, 0);
	expect_told(&t[2], 1, 1, CONNECTD_ARRIVED, 0);
	ck_assert_int_eq(connectd_flush(d.c, 0), 0);
}
END_TEST

START_TEST(stored_without_a_word_before)
{
	static const unsigned levels[] = { ALL, ACCEPTED, STORED };
	static struct told t[3];

	outbound(3, levels, t);
	fake_confirm(&d, flow, 3, WIRE_LEVEL_STORED);
	expect_told(&t[0], 2, 0, CONNECTD_STORED, 0);
	expect_told(&t[1], 1, 1, CONNECTD_ACCEPTED, 0);
	expect_told(&t[2], 1, 1, CONNECTD_STORED, 0);
}
END_TEST

/* A queue here confirms ARRIVED, after the sync. */
START_TEST(arrived_here)
{
	static const unsigned levels[] = { ALL, STORED, 0 };
	static struct told t[3];

	begin(WIRE_LEVEL_ARRIVED, true, 3, levels, t);
	fake_confirm(&d, flow, 3, WIRE_LEVEL_ACCEPTED);
	expect_told(&t[0], 1, 0, CONNECTD_ACCEPTED, 0);
	fake_confirm(&d, flow, 3, WIRE_LEVEL_ARRIVED);
	expect_told(&t[0], 3, 1, CONNECTD_ARRIVED, 0);
	expect_told(&t[1], 1, 1, CONNECTD_STORED, 0);
	expect_told(&t[2], 1, 1, CONNECTD_STORED, 0);
}
END_TEST

START_TEST(a_queue_in_memory_stores_nothing)
{
	static const unsigned levels[] = { ALL, STORED, ACCEPTED | STORED, 0 };
	static struct told t[4];
	struct connectd_msg *m = connectd_msg_new("orders");

	begin(WIRE_LEVEL_ACCEPTED, false, 4, levels, t);
	fake_confirm(&d, flow, 4, WIRE_LEVEL_ACCEPTED);
	expect_told(&t[0], 1, 0, CONNECTD_ACCEPTED, 0);
	expect_told(&t[1], 1, 1, CONNECTD_ACCEPTED, -ENOTSUP);
	ck_assert_str_ne(t[1].reason, "");
	expect_told(&t[2], 2, 1, CONNECTD_ACCEPTED, -ENOTSUP);
	expect_told(&t[3], 1, 1, CONNECTD_ACCEPTED, 0);
	progress(WIRE_LEVEL_ARRIVED, "\1\1");
	expect_told(&t[0], 2, 1, CONNECTD_ARRIVED, 0);
	/* The same for who waits; the Confirm is read when the message was sent. */
	fake_confirm(&d, flow, 5, WIRE_LEVEL_ACCEPTED);
	ck_assert_int_eq(connectd_send_wait(d.c, m, CONNECTD_STORED, 5000), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(connectd_last_error(d.c), "memory"));
	fake_confirm(&d, flow, 6, WIRE_LEVEL_ACCEPTED);
	ck_assert_int_eq(connectd_send_wait(d.c, m, CONNECTD_NONE, 5000), 0);
	ck_assert_int_eq(connectd_send_wait(d.c, m, CONNECTD_NONE, 0), -ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(connectd_last_error(d.c), "confirmed"));
	connectd_msg_unref(m);
}
END_TEST

START_TEST(a_memory_queue_here)
{
	static const unsigned levels[] = { ALL, STORED, 0 };
	static struct told t[3];

	begin(WIRE_LEVEL_ARRIVED, false, 3, levels, t);
	fake_confirm(&d, flow, 3, WIRE_LEVEL_ARRIVED);
	expect_told(&t[0], 2, 1, CONNECTD_ARRIVED, 0);
	expect_told(&t[1], 1, 1, CONNECTD_ARRIVED, -ENOTSUP);
	expect_told(&t[2], 1, 1, CONNECTD_ACCEPTED, 0);
}
END_TEST

static void
send_memory(unsigned levels, struct told *t)
{
	struct connectd_msg *m = connectd_msg_new("orders");

	ck_assert_int_eq(connectd_msg_set_durability(m, CONNECTD_MEMORY), 0);
	ck_assert_int_eq(connectd_send(d.c, m, levels, tell, t), 0);
	connectd_msg_unref(m);
	fake_expect_item(&d);
}

/* One order: a Confirm at STORED says of it that it is as safe as it asked. */
START_TEST(memory_messages_among_durable_ones)
{
	static const unsigned levels[] = { STORED };
	static struct told t[4];

	outbound(1, levels, t);
	send_memory(0, &t[1]);
	send_memory(ACCEPTED | ARRIVED, &t[2]);
	send_memory(ARRIVED, &t[3]);
	fake_confirm(&d, flow, 4, WIRE_LEVEL_ACCEPTED);
	expect_told(&t[1], 1, 1, CONNECTD_ACCEPTED, 0);
	expect_told(&t[2], 1, 0, CONNECTD_ACCEPTED, 0);
	ck_assert_int_eq(t[0].calls, 0);
	progress(WIRE_LEVEL_ARRIVED, "\3\3"); /* before the Confirm that settles it */
	expect_told(&t[2], 2, 1, CONNECTD_ARRIVED, 0);
	fake_confirm(&d, flow, 4, WIRE_LEVEL_STORED);
	expect_told(&t[0], 1, 1, CONNECTD_STORED, 0);
	ck_assert_int_eq(t[3].calls, 0);
	progress(WIRE_LEVEL_ARRIVED, "\4\4");
	expect_told(&t[3], 1, 1, CONNECTD_ARRIVED, 0);
}
END_TEST

START_TEST(outcomes_before_the_confirm)
{
	static const unsigned levels[] = { ALL, STORED, ACCEPTED };
	static struct told t[3];

	outbound(3, levels, t);
	fake_confirm(&d, flow, 3, WIRE_LEVEL_ACCEPTED);
	progress(WIRE_LEVEL_PURGED, "\2\3");
	expect_told(&t[1], 1, 1, CONNECTD_PURGED, -EBADMSG);
	expect_told(&t[2], 1, 1, CONNECTD_ACCEPTED, 0); /* had its final call before */
	progress(WIRE_LEVEL_ARRIVED, "\1\1"); /* implies STORED */
	expect_told(&t[0], 3, 1, CONNECTD_ARRIVED, 0);
	ck_assert_int_eq(connectd_flush(d.c, 0), 0);
	fake_confirm(&d, flow, 3, WIRE_LEVEL_STORED);
	fake_expect_silence(&d);
}
END_TEST

START_TEST(the_window_counts_what_is_not_safe_yet)
{
	struct connectd_options o = { .size = sizeof(o), .window_messages = 2 };
	struct connectd_msg *m = connectd_msg_new("orders");
	static struct told t[2];

	connectd_close(d.c);
	fake_open(&d, &o);
	fake_greet(&d);
	outbound(2, (const unsigned[]){ ACCEPTED, ACCEPTED }, t);
	fake_confirm(&d, flow, 2, WIRE_LEVEL_ACCEPTED);
	expect_told(&t[1], 1, 1, CONNECTD_ACCEPTED, 0);
	ck_assert_uint_eq(connectd_unconfirmed(d.c), 0);
	ck_assert_int_eq(connectd_flush(d.c, 0), 0);
	ck_assert_int_eq(connectd_send(d.c, m, 0, NULL, NULL), -EAGAIN);
	fake_confirm(&d, flow, 2, WIRE_LEVEL_STORED);
	ck_assert_int_eq(connectd_wait(d.c, 5000), 1);
	ck_assert_int_eq(connectd_send(d.c, m, 0, NULL, NULL), 0);
	connectd_msg_unref(m);
}
END_TEST

static int sent_on;

static void
send_on(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	(void)o;
	(void)userdata;
	if (sent_on++ < 40)
		ck_assert_int_eq(connectd_send(c, m, ACCEPTED, send_on, NULL), 0);
}

/* The queue grows under the feet of who goes through it. */
START_TEST(sent_by_a_call_back_between_accepted_and_stored)
{
	struct connectd_msg *m = connectd_msg_new("orders");

	ck_assert_int_eq(connectd_send(d.c, m, ACCEPTED, send_on, NULL), 0);
	connectd_msg_unref(m);
	flow = fake_expect(&d, WIRE_OPEN_FLOW).u.open_flow.flow;
	state_of(flow, 0, 0, WIRE_LEVEL_STORED, true, "");
	for (uint64_t n = 1; n <= 41; n++) {
		ck_assert_uint_eq(fake_expect_item(&d).number, n);
		fake_confirm(&d, flow, n, WIRE_LEVEL_ACCEPTED);
	}
	ck_assert_int_eq(connectd_flush(d.c, 5000), 0);
	ck_assert_int_eq(sent_on, 41);
	fake_confirm(&d, flow, 41, WIRE_LEVEL_STORED);
	fake_expect_silence(&d);
}
END_TEST

START_TEST(closed_between_accepted_and_stored)
{
	static const unsigned levels[] = { STORED, ACCEPTED, STORED };
	static struct told t[3];

	outbound(3, levels, t);
	fake_confirm(&d, flow, 2, WIRE_LEVEL_ACCEPTED);
	expect_told(&t[1], 1, 1, CONNECTD_ACCEPTED, 0);
	connectd_close(d.c);
	d.c = NULL;
	ck_assert_int_eq(t[0].result, -ECANCELED);
	ck_assert_int_eq(t[0].level, CONNECTD_ACCEPTED);
	ck_assert_int_eq(t[1].calls, 1);
	ck_assert_int_eq(t[2].result, -ECANCELED);
	ck_assert_int_eq(t[2].level, CONNECTD_NONE);
}
END_TEST

/* --------------------------------------------------------------- restarts */

/*
 * Three messages, told ACCEPTED up to `told`; then the daemon is killed and has
 * `confirmed` of them safe and `accepted` at all. What is not there comes again,
 * only `confirmed` settles, and each sender hears everything once.
 */
static void
killed_daemon(int told, uint64_t confirmed, uint64_t accepted)
{
	static const unsigned levels[] = { ACCEPTED | STORED, ACCEPTED | STORED, ACCEPTED | STORED };
	struct told t[3] = { 0 };
	struct wire_open_flow o;

	setup();
	outbound(3, levels, t);
	if (told > 0) {
		fake_confirm(&d, flow, (uint64_t)told, WIRE_LEVEL_ACCEPTED);
		await_calls(&d, &t[told - 1], 1);
	}
	o = restart(accepted, confirmed, "");
	ck_assert_uint_eq(o.oldest_unsettled, 1);
	ck_assert_uint_eq(o.highest_used, 3);
	if (accepted < 3) {
		struct wire_run run;

		fake_expect(&d, WIRE_DEFINE);
		run = fake_expect(&d, WIRE_TRANSFER).u.run;
		ck_assert_uint_eq(run.first, accepted + 1);
		ck_assert_uint_eq(run.n_items, 3 - accepted);
	} else {
		fake_expect_silence(&d);
	}
	for (uint64_t n = 1; n <= 3; n++)
		if (n <= confirmed)
			expect_told(&t[n - 1], 2, 1, CONNECTD_STORED, 0);
		else
			ck_assert_int_eq(t[n - 1].calls, n <= accepted || n <= (uint64_t)told);
	/* Killed once more before the rest is safe: that is there no longer, and comes again. */
	if (confirmed < 3) {
		restart(confirmed, confirmed, "");
		fake_expect(&d, WIRE_DEFINE);
		ck_assert_uint_eq(fake_expect(&d, WIRE_TRANSFER).u.run.first, confirmed + 1);
		fake_confirm(&d, flow, 3, WIRE_LEVEL_STORED);
	}
	for (int n = 0; n < 3; n++)
		expect_told(&t[n], 2, 1, CONNECTD_STORED, 0);
	ck_assert_int_eq(connectd_flush(d.c, 0), 0);
	teardown();
}

START_TEST(only_confirmed_settles)
{
	teardown();
	for (int told = 0; told <= 3; told++)
		for (uint64_t accepted = 0; accepted <= 3; accepted++)
			for (uint64_t confirmed = 0; confirmed <= accepted; confirmed++)
				killed_daemon(told, confirmed, accepted);
	setup();
}
END_TEST

/* Nobody waits any more for one that was told ACCEPTED; it is sent again nevertheless. */
START_TEST(told_accepted_and_lost)
{
	static const unsigned levels[] = { ACCEPTED, ACCEPTED };
	static struct told t[2];
	struct wire_open_flow o;

	outbound(2, levels, t);
	fake_confirm(&d, flow, 2, WIRE_LEVEL_ACCEPTED);
	expect_told(&t[1], 1, 1, CONNECTD_ACCEPTED, 0);
	o = restart(1, 1, "");
	ck_assert_uint_eq(o.oldest_unsettled, 1);
	fake_expect(&d, WIRE_DEFINE);
	expect_letter(&d, 2, 'b', WIRE_ITEM_MAYBE_DUPLICATE);
	fake_confirm(&d, flow, 2, WIRE_LEVEL_STORED);
	fake_settle(&d);
	send_one(&d, 'c', ACCEPTED, NULL);
	expect_letter(&d, 3, 'c', 0);
	ck_assert_uint_eq(restart(2, 2, "").oldest_unsettled, 3);
}
END_TEST

/* The session breaks, the daemon lives: what it accepted it need not be sent. */
START_TEST(a_broken_session_between_accepted_and_stored)
{
	static const unsigned levels[] = { STORED, ALL };
	static struct told t[2];

	outbound(2, levels, t);
	restart(2, 1, "\1\2");
	expect_told(&t[0], 1, 1, CONNECTD_STORED, 0);
	expect_told(&t[1], 1, 0, CONNECTD_ACCEPTED, 0);
	fake_expect_silence(&d);
	fake_confirm(&d, flow, 2, WIRE_LEVEL_STORED);
	expect_told(&t[1], 2, 0, CONNECTD_STORED, 0);
	progress(WIRE_LEVEL_ARRIVED, "\1\2");
	expect_told(&t[1], 3, 1, CONNECTD_ARRIVED, 0);
}
END_TEST

START_TEST(killed_between_stored_and_arrived)
{
	static const unsigned levels[] = { ALL, ARRIVED, ALL };
	static struct told t[3];

	outbound(3, levels, t);
	fake_confirm(&d, flow, 3, WIRE_LEVEL_STORED);
	expect_told(&t[0], 2, 0, CONNECTD_STORED, 0);
	/* Marks and messages are on disk: it knows which of them still wait. */
	restart(3, 3, "\2\3");
	expect_told(&t[0], 3, 1, CONNECTD_STORED, -ENODATA);
	fake_expect_silence(&d);
	ck_assert_int_eq(t[1].calls, 0);
	restart(3, 3, "\2\2\3\3");
	progress(WIRE_LEVEL_ARRIVED, "\2\2");
	expect_told(&t[1], 1, 1, CONNECTD_ARRIVED, 0);
	/* Gone on while no session was there. */
	restart(3, 3, "");
	expect_told(&t[2], 3, 1, CONNECTD_STORED, -ENODATA);
	ck_assert_int_eq(connectd_flush(d.c, 0), 0);
}
END_TEST

/* A memory message that was passed on before the Confirm that settles it: nothing more can be told of it. */
START_TEST(a_memory_message_passed_on_unsettled)
{
	static const unsigned levels[] = { STORED };
	static struct told t[3];

	outbound(1, levels, t);
	send_memory(ARRIVED, &t[1]);
	send_memory(ARRIVED, &t[2]);
	restart(3, 0, "\1\1\3\3");
	expect_told(&t[1], 1, 1, CONNECTD_ACCEPTED, -ENODATA);
	ck_assert_int_eq(t[0].calls + t[2].calls, 0);
	fake_confirm(&d, flow, 3, WIRE_LEVEL_STORED);
	expect_told(&t[0], 1, 1, CONNECTD_STORED, 0);
	progress(WIRE_LEVEL_ARRIVED, "\3\3");
	expect_told(&t[2], 1, 1, CONNECTD_ARRIVED, 0);
}
END_TEST

START_TEST(refused_after_it_was_accepted)
{
	static const unsigned levels[] = { STORED, STORED };
	static struct told t[2];

	outbound(2, levels, t);
	fake_confirm(&d, flow, 1, WIRE_LEVEL_ACCEPTED);
	fake_settle(&d);
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_CLOSE });
	fake_await_up(&d, false);
	fake_greet(&d);
	flow = fake_expect(&d, WIRE_OPEN_FLOW).u.open_flow.flow;
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_FLOW_STATE,
	    .u.flow_state = { .flow = flow, .verdict = WIRE_VERDICT_DENIED } });
	expect_told(&t[0], 1, 1, CONNECTD_ACCEPTED, -EINPROGRESS);
	expect_told(&t[1], 1, 1, CONNECTD_REJECTED, -EBADMSG);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_stored");
	TCase *t = tcase_create("lib_stored");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, accepted_stored_arrived);
	tcase_add_test(t, stored_without_a_word_before);
	tcase_add_test(t, arrived_here);
	tcase_add_test(t, a_queue_in_memory_stores_nothing);
	tcase_add_test(t, a_memory_queue_here);
	tcase_add_test(t, memory_messages_among_durable_ones);
	tcase_add_test(t, outcomes_before_the_confirm);
	tcase_add_test(t, the_window_counts_what_is_not_safe_yet);
	tcase_add_test(t, sent_by_a_call_back_between_accepted_and_stored);
	tcase_add_test(t, closed_between_accepted_and_stored);
	tcase_add_test(t, only_confirmed_settles);
	tcase_add_test(t, told_accepted_and_lost);
	tcase_add_test(t, a_broken_session_between_accepted_and_stored);
	tcase_add_test(t, killed_between_stored_and_arrived);
	tcase_add_test(t, a_memory_message_passed_on_unsettled);
	tcase_add_test(t, refused_after_it_was_accepted);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
