/* libconnectd, sending over a broken session: same numbers, honest outcomes. */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "fake_sender.h"

static struct fake d;
static uint32_t flow;

/* One session with a flow to `orders` whose messages a, b, c (numbers 1 to 3) were sent. */
static struct told t[4];

static void
setup(void)
{
	fake_start(&d);
	memset(t, 0, sizeof(t));
	fake_open(&d, NULL);
	fake_greet(&d);
	send_one(&d, 'a', ACCEPTED, &t[1]);
	flow = open_flow(&d, 0);
	fake_expect(&d, WIRE_DEFINE);
	expect_letter(&d, 1, 'a', 0);
	send_one(&d, 'b', ACCEPTED | ARRIVED, &t[2]);
	expect_letter(&d, 2, 'b', 0);
	send_one(&d, 'c', ARRIVED, &t[3]);
	expect_letter(&d, 3, 'c', 0);
}

static void
teardown(void)
{
	connectd_close(d.c);
	fake_stop(&d);
}

/* The daemon goes, perhaps comes back as another boot, and is asked for the flow again. */
static struct wire_open_flow
again(uint64_t boot)
{
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_DRAIN }); /* so that it comes back without delay */
	fake_hang_up(&d);
	fake_await_up(&d, false);
	d.boot = boot;
	fake_greet(&d);
	return fake_expect(&d, WIRE_OPEN_FLOW).u.open_flow;
}

static void
state(const struct wire_open_flow *o, const struct wire_flow_state *s)
{
	struct wire_frame f = { .kind = WIRE_FLOW_STATE, .u.flow_state = *s };

	f.u.flow_state.flow = o->flow;
	f.u.flow_state.credit_messages = 100;
	f.u.flow_state.credit_bytes = 1 << 20;
	fake_send(&d, &f);
}

START_TEST(same_boot)
{
	struct wire_open_flow o, first;
	uint8_t producer[16];

	/* The same producer asks, and names what it knows. */
	o = first = again(FAKE_BOOT);
	memcpy(producer, o.producer.data, sizeof(producer));
	ck_assert_uint_eq(o.oldest_unsettled, 1);
	ck_assert_uint_eq(o.highest_used, 3);
	ck_assert_uint_ge(o.away_ms, 1);
	ck_assert_uint_lt(o.away_ms, 60000);
	ck_assert_uint_eq(o.known_boot, FAKE_BOOT);
	state(&o, &(struct wire_flow_state){ .accepted = 1, .confirmed = 1, .confirm_level = WIRE_LEVEL_ACCEPTED });
	await_calls(&d, &t[1], 1);
	ck_assert_int_eq(t[1].result, 0);
	/* The type is defined anew; what was not accepted comes under its number, unflagged. */
	fake_expect(&d, WIRE_DEFINE);
	{
		struct wire_run run = fake_expect(&d, WIRE_TRANSFER).u.run;

		ck_assert_uint_eq(run.first, 2);
		ck_assert_uint_eq(run.n_items, 2);
	}
	o = again(FAKE_BOOT);
	ck_assert_mem_eq(o.producer.data, producer, sizeof(producer));
	ck_assert_uint_eq(o.instance, first.instance);
	ck_assert_uint_eq(o.oldest_unsettled, 2);
	state(&o, &(struct wire_flow_state){ .accepted = 2, .confirmed = 2, .confirm_level = WIRE_LEVEL_ACCEPTED });
	fake_expect(&d, WIRE_DEFINE);
	expect_letter(&d, 3, 'c', 0);
}
END_TEST

START_TEST(another_boot_flags_what_it_may_have_seen)
{
	struct wire_open_flow o = again(0x2222);
	struct wire_bytes items;
	struct wire_item item;

	ck_assert_uint_eq(o.known_boot, FAKE_BOOT);
	send_one(&d, 'd', ACCEPTED, NULL); /* was never sent: not flagged */
	state(&o, &(struct wire_flow_state){ .confirm_level = WIRE_LEVEL_ACCEPTED });
	fake_expect(&d, WIRE_DEFINE);
	items = fake_expect(&d, WIRE_TRANSFER).u.run.items;
	for (int n = 1; n <= 4; n++) {
		ck_assert(wire_item_next(&items, &item));
		ck_assert_int_eq(item.body.data[0], 'a' + n - 1);
		ck_assert_uint_eq(item.flags, n <= 3 ? WIRE_ITEM_MAYBE_DUPLICATE : 0);
	}
	/* Back at the same boot the flag stays with those, and only those. */
	o = again(0x2222);
	state(&o, &(struct wire_flow_state){ .accepted = 2, .confirmed = 2, .confirm_level = WIRE_LEVEL_ACCEPTED });
	fake_expect(&d, WIRE_DEFINE);
	items = fake_expect(&d, WIRE_TRANSFER).u.run.items;
	ck_assert(wire_item_next(&items, &item));
	ck_assert_uint_eq(item.flags, WIRE_ITEM_MAYBE_DUPLICATE);
	ck_assert(wire_item_next(&items, &item));
	ck_assert_uint_eq(item.flags, 0);
}
END_TEST

START_TEST(flow_state_names_what_still_waits)
{
	struct wire_open_flow o = again(FAKE_BOOT);

	/* 1 to 3 are accepted; of those only 3 still waits. */
	state(&o, &(struct wire_flow_state){ .accepted = 3, .confirmed = 3, .confirm_level = WIRE_LEVEL_ACCEPTED,
	    .waiting = { (const uint8_t *)"\3\3", 2 } });
	await_calls(&d, &t[1], 1);
	ck_assert_int_eq(t[1].result, 0); /* that was all it asked for */
	await_calls(&d, &t[2], 2);        /* accepted, then nobody can say more */
	ck_assert_int_eq(t[2].finals, 1);
	ck_assert_int_eq(t[2].level, CONNECTD_ACCEPTED);
	ck_assert_int_eq(t[2].result, -ENODATA);
	ck_assert_int_eq(t[3].calls, 0);
	fake_expect_silence(&d);
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_PROGRESS, .u.progress = {
	    .flow = o.flow, .level = WIRE_LEVEL_ARRIVED, .ranges = { (const uint8_t *)"\3\3", 2 } } });
	await_calls(&d, &t[3], 1);
	ck_assert_int_eq(t[3].level, CONNECTD_ARRIVED);
	ck_assert_int_eq(t[3].result, 0);
}
END_TEST

START_TEST(accepted_before_the_break)
{
	struct wire_open_flow o;

	fake_confirm(&d, flow, 3, WIRE_LEVEL_ACCEPTED);
	await_calls(&d, &t[2], 1);
	ck_assert_int_eq(t[2].finals, 0);
	o = again(0x3333);
	ck_assert_uint_eq(o.oldest_unsettled, 2);
	/* A new boot that knows nothing: memory messages are not sent again once accepted. */
	state(&o, &(struct wire_flow_state){ .confirm_level = WIRE_LEVEL_ACCEPTED });
	await_calls(&d, &t[3], 1);
	ck_assert_int_eq(t[3].result, -ENODATA);
	ck_assert_int_eq(t[3].level, CONNECTD_ACCEPTED);
	await_calls(&d, &t[2], 2);
	fake_expect_silence(&d);
	send_one(&d, 'd', ACCEPTED, NULL);
	fake_expect(&d, WIRE_DEFINE);
	expect_letter(&d, 4, 'd', 0);
}
END_TEST

START_TEST(confirm_level_arrived)
{
	struct wire_open_flow o = again(FAKE_BOOT);

	state(&o, &(struct wire_flow_state){ .accepted = 3, .confirmed = 2, .confirm_level = WIRE_LEVEL_ARRIVED });
	await_calls(&d, &t[2], 2);
	ck_assert_int_eq(t[2].level, CONNECTD_ARRIVED);
	ck_assert_int_eq(t[2].result, 0);
	fake_settle(&d);
	ck_assert_int_eq(t[3].calls, 0); /* accepted; its Confirm is still to come */
	fake_confirm(&d, o.flow, 3, WIRE_LEVEL_ARRIVED);
	await_calls(&d, &t[3], 1);
	ck_assert_int_eq(t[3].result, 0);
}
END_TEST

START_TEST(forgotten_is_in_doubt)
{
	struct wire_open_flow o = again(0x4444), fresh;
	struct told last = { 0 };
	uint8_t producer[16];

	memcpy(producer, o.producer.data, sizeof(producer));
	send_one(&d, 'd', ACCEPTED, &last); /* not sent yet: not in doubt */
	state(&o, &(struct wire_flow_state){ .verdict = WIRE_VERDICT_FORGOTTEN });
	for (int n = 1; n <= 3; n++) {
		await_calls(&d, &t[n], 1);
		ck_assert_int_eq(t[n].result, -EINPROGRESS);
		ck_assert_int_eq(t[n].level, CONNECTD_NONE);
	}
	fresh = fake_expect(&d, WIRE_OPEN_FLOW).u.open_flow;
	ck_assert_mem_ne(fresh.producer.data, producer, sizeof(producer));
	ck_assert_uint_eq(fresh.away_ms, 0);
	ck_assert_uint_eq(fresh.known_boot, 0);
	fake_flow_ok(&d, fresh.flow, 0);
	fake_expect(&d, WIRE_DEFINE);
	expect_letter(&d, 4, 'd', 0);
	fake_confirm(&d, fresh.flow, 4, WIRE_LEVEL_ACCEPTED);
	await_calls(&d, &last, 1);
	ck_assert_int_eq(last.result, 0);
}
END_TEST

START_TEST(a_mark_above_everything_is_a_conflict)
{
	struct wire_open_flow o = again(0x5555);

	state(&o, &(struct wire_flow_state){ .accepted = 4, .confirmed = 4 });
	for (int n = 1; n <= 3; n++) {
		await_calls(&d, &t[n], 1);
		ck_assert_int_eq(t[n].result, -EBADMSG);
	}
	ck_assert_int_eq(connectd_flush(d.c, 0), 0);
}
END_TEST

START_TEST(a_large_body_goes_on_where_it_was_cut)
{
	static const size_t size = 600000;
	struct told big = { 0 };
	struct wire_open_flow o;
	struct fake_item i;
	size_t got = 100000;

	fake_confirm(&d, flow, 3, WIRE_LEVEL_ARRIVED);
	send_body(&d, "orders", 'L', size, ACCEPTED, &big);
	fake_expect_item(&d);
	o = again(FAKE_BOOT);
	state(&o, &(struct wire_flow_state){ .accepted = 3, .confirmed = 3, .partial_number = 4, .partial_bytes = got });
	fake_expect(&d, WIRE_DEFINE);
	i = fake_expect_item(&d);
	ck_assert_uint_eq(i.number, 4);
	ck_assert_uint_eq(i.item.offset, got);
	ck_assert_uint_eq(i.item.total, size);
	got += i.item.body.len;
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_CREDIT, .u.credit = { .flow = o.flow, .number = 4 } });
	while (got < size) {
		i = fake_expect_item(&d);
		ck_assert_uint_eq(i.item.offset, got);
		got += i.item.body.len;
	}
	fake_confirm(&d, o.flow, 4, WIRE_LEVEL_ACCEPTED);
	await_calls(&d, &big, 1);
	ck_assert_int_eq(big.result, 0);
}
END_TEST

START_TEST(sent_while_down)
{
	struct told later = { 0 };
	struct wire_run run;
	struct wire_open_flow o;

	fake_down(&d);
	fake_await_up(&d, false);
	send_one(&d, 'd', ACCEPTED, &later);
	fake_listen(&d);
	fake_greet(&d);
	o = fake_expect(&d, WIRE_OPEN_FLOW).u.open_flow;
	state(&o, &(struct wire_flow_state){ .accepted = 3, .confirmed = 3, .waiting = { (const uint8_t *)"\2\3", 2 } });
	fake_expect(&d, WIRE_DEFINE);
	run = fake_expect(&d, WIRE_TRANSFER).u.run;
	ck_assert_uint_eq(run.first, 4);
	fake_confirm(&d, o.flow, 4, WIRE_LEVEL_ARRIVED);
	ck_assert_int_eq(connectd_flush(d.c, 5000), 0);
	ck_assert_int_eq(t[3].level, CONNECTD_ARRIVED);
}
END_TEST

/* Cut the session after every number of bytes of a burst: nothing is skipped or sent out of turn. */
START_TEST(cut_anywhere)
{
	uint64_t accepted = 3;

	fake_confirm(&d, flow, 3, WIRE_LEVEL_ARRIVED);
	ck_assert_int_eq(connectd_flush(d.c, 5000), 0);
	for (int round = 0; round < 5; round++) {
		struct wire_open_flow o;
		uint64_t upto = accepted + 7, taken = 3 + (uint64_t)round;

		for (int n = 0; n < 7; n++)
			send_body(&d, "orders", 'x', (size_t)round * 9000 + 1, ACCEPTED, NULL);
		o = again(FAKE_BOOT + (uint64_t)round);
		state(&o, &(struct wire_flow_state){ .accepted = accepted, .confirmed = accepted });
		fake_expect(&d, WIRE_DEFINE);
		for (uint64_t number = accepted + 1; number <= upto;) {
			struct wire_run run = fake_expect(&d, WIRE_TRANSFER).u.run;

			ck_assert_uint_eq(run.first, number);
			number += run.n_items;
		}
		/* Some were taken before the next break; those do not come again. */
		accepted += taken;
		o = again(FAKE_BOOT + (uint64_t)round);
		state(&o, &(struct wire_flow_state){ .accepted = accepted, .confirmed = accepted });
		if (accepted < upto) {
			fake_expect(&d, WIRE_DEFINE);
			for (uint64_t number = accepted + 1; number <= upto;) {
				struct wire_run run = fake_expect(&d, WIRE_TRANSFER).u.run;

				ck_assert_uint_eq(run.first, number);
				number += run.n_items;
			}
		}
		accepted = upto;
		fake_confirm(&d, o.flow, upto, WIRE_LEVEL_ACCEPTED);
		ck_assert_int_eq(connectd_flush(d.c, 5000), 0);
	}
}
END_TEST

/* The letter at a place of the n-th body: chunks that are mixed up show. */
static char
letter(uint64_t number, size_t at)
{
	return (char)(at * 31 + (at >> 9) + number * 7);
}

#define BULK_SIZE 200000
#define BULK_BODIES 30

static void
expect_bulk(uint64_t first, size_t chunks)
{
	uint64_t number = first;
	size_t got = 0;

	while (chunks-- > 0 && number < first + BULK_BODIES) {
		struct fake_item i = fake_expect_item(&d);

		ck_assert_uint_eq(i.number, number);
		ck_assert_uint_eq(i.item.offset, got);
		ck_assert_uint_eq(i.item.packed.len, got == 0 ? 4 : 0); /* goes once */
		for (size_t n = 0; n < i.item.body.len; n++, got++)
			if ((char)i.item.body.data[n] != letter(number, got)) /* an assertion a byte takes seconds */
				ck_abort_msg("byte %zu of %d is wrong", got, (int)number);
		if (got == BULK_SIZE) {
			number++;
			got = 0;
		}
	}
}

/* More than the socket takes: it goes on when there is room, also after a break in the middle of that. */
START_TEST(through_a_full_socket)
{
	struct wire_flow_state s = { .accepted = 3, .confirmed = 3 };
	struct wire_frame f = { .kind = WIRE_FLOW_STATE };
	char *body = malloc(BULK_SIZE);

	d.limits.window = 64 << 20;
	for (int round = 0; round < 3; round++) {
		struct wire_open_flow o = again(FAKE_BOOT);

		f.u.flow_state = s;
		f.u.flow_state.flow = o.flow;
		f.u.flow_state.credit_messages = 1000;
		f.u.flow_state.credit_bytes = 1 << 30;
		fake_send(&d, &f);
		if (round == 0) {
			ck_assert_int_eq(connectd_flush(d.c, 5000), 0); /* those of the set-up */
			for (uint64_t n = 4; n < 4 + BULK_BODIES; n++) {
				struct connectd_msg *m = connectd_msg_new("orders");

				for (size_t at = 0; at < BULK_SIZE; at++)
					body[at] = letter(n, at);
				ck_assert_int_eq(connectd_msg_set_type_body(m, "shop.X", body, BULK_SIZE), 0);
				ck_assert_int_eq(connectd_msg_set_correlation_id(m, "id", 2), 0);
				ck_assert_int_eq(connectd_send(d.c, m, 0, NULL, NULL), 0);
				connectd_msg_unref(m);
			}
		}
		fake_settle(&d); /* as far as it goes */
		if (round == 1) {
			/* When the socket has room again the descriptor wakes. */
			struct pollfd p = { connectd_get_fd(d.c), POLLIN, 0 };

			ck_assert_int_eq(poll(&p, 1, 0), 0);
			while (read(d.fd, d.in, sizeof(d.in)) > 0)
				;
			ck_assert_int_eq(poll(&p, 1, 5000), 1);
			fake_settle(&d);
			continue;
		}
		fake_expect(&d, WIRE_DEFINE);
		expect_bulk(4, round == 0 ? 5 : SIZE_MAX);
	}
	free(body);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_resend");
	TCase *t_case = tcase_create("lib_resend");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t_case, setup, teardown);
	tcase_set_timeout(t_case, 30);
	tcase_add_test(t_case, same_boot);
	tcase_add_test(t_case, another_boot_flags_what_it_may_have_seen);
	tcase_add_test(t_case, flow_state_names_what_still_waits);
	tcase_add_test(t_case, accepted_before_the_break);
	tcase_add_test(t_case, confirm_level_arrived);
	tcase_add_test(t_case, forgotten_is_in_doubt);
	tcase_add_test(t_case, a_mark_above_everything_is_a_conflict);
	tcase_add_test(t_case, a_large_body_goes_on_where_it_was_cut);
	tcase_add_test(t_case, sent_while_down);
	tcase_add_test(t_case, cut_anywhere);
	tcase_add_test(t_case, through_a_full_socket);
	suite_add_tcase(s, t_case);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
