/* libconnectd, sending: flows, levels, credit, rejects, large bodies. */
#include <errno.h>
#include <stdio.h>

#include "fake_sender.h"

static struct fake d;

static void
setup(void)
{
	fake_start(&d);
}

static void
teardown(void)
{
	connectd_close(d.c);
	fake_stop(&d);
}

static void
up(struct connectd_options *o)
{
	fake_open(&d, o);
	fake_greet(&d);
}

START_TEST(a_message_is_opened_defined_sent_confirmed)
{
	struct told t = { 0 };
	struct wire_open_flow o;
	struct wire_define def;
	struct fake_item i;
	struct connectd_msg *m = connectd_msg_new("berlin/orders");

	up(NULL);
	ck_assert_int_eq(connectd_msg_set_type_body(m, "shop.OrderPaid", "hello", 5), 0);
	ck_assert_int_eq(connectd_msg_set_priority(m, CONNECTD_HIGH), 0);
	ck_assert_int_eq(connectd_msg_set_durability(m, CONNECTD_MEMORY), 0);
	ck_assert_int_eq(connectd_msg_set_correlation_id(m, "id", 2), 0);
	ck_assert_int_eq(connectd_send(d.c, m, ACCEPTED | ARRIVED, tell, &t), 0);
	ck_assert_int_eq(connectd_msg_set_ttl(m, 5), -EBUSY);
	connectd_msg_unref(m);

	o = fake_expect(&d, WIRE_OPEN_FLOW).u.open_flow;
	ck_assert_uint_ne(o.flow, 0);
	ck_assert_uint_lt(o.flow, d.limits.max_flows);
	ck_assert(wire_bytes_equal(o.address, wire_string("berlin/orders")));
	ck_assert_uint_eq(o.priority, WIRE_PRIORITY_HIGH);
	ck_assert_uint_eq(o.producer.len, 16);
	ck_assert(!o.named);
	ck_assert_uint_ne(o.instance, 0);
	ck_assert_uint_eq(o.oldest_unsettled, 1);
	ck_assert_uint_eq(o.highest_used, 1);
	ck_assert_uint_eq(o.away_ms, 0);
	ck_assert_uint_eq(o.known_boot, 0);
	fake_expect_silence(&d); /* nothing goes before FlowState */

	fake_flow_ok(&d, o.flow, 0);
	def = fake_expect(&d, WIRE_DEFINE).u.define;
	ck_assert_uint_eq(def.kind, WIRE_DEFINE_TYPE);
	ck_assert(wire_bytes_equal(def.value, wire_string("type.googleapis.com/shop.OrderPaid")));
	i = fake_expect_item(&d);
	ck_assert_uint_eq(i.flow, o.flow);
	ck_assert_uint_eq(i.number, 1);
	ck_assert_uint_eq(i.item.type, 1);
	ck_assert_uint_eq(i.item.flags, WIRE_ITEM_MEMORY);
	ck_assert_uint_eq(i.item.total, 0);
	ck_assert(wire_bytes_equal(i.item.body, wire_string("hello")));
	ck_assert_uint_eq(i.item.packed.len, 4);
	ck_assert_int_eq(t.calls, 0);

	ck_assert_uint_eq(connectd_unconfirmed(d.c), 1);
	fake_confirm(&d, o.flow, 1, WIRE_LEVEL_ACCEPTED);
	await_calls(&d, &t, 1);
	ck_assert_int_eq(t.level, CONNECTD_ACCEPTED);
	ck_assert_int_eq(t.finals, 0);
	ck_assert_uint_eq(connectd_unconfirmed(d.c), 1);
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_PROGRESS, .u.progress = {
	    .flow = o.flow, .level = WIRE_LEVEL_ARRIVED, .ranges = { (const uint8_t *)"\1\1", 2 } } });
	await_calls(&d, &t, 2);
	ck_assert_int_eq(t.level, CONNECTD_ARRIVED);
	ck_assert_int_eq(t.finals, 1);
	ck_assert_int_eq(t.result, 0);
	ck_assert_uint_eq(t.number, 1);
	ck_assert_uint_eq(connectd_unconfirmed(d.c), 0);
	ck_assert_int_eq(connectd_flush(d.c, 0), 0);
}
END_TEST

START_TEST(confirm_is_cumulative_and_may_say_arrived)
{
	struct told t[3] = { 0 };
	uint32_t flow;

	up(NULL);
	send_one(&d, 'a', ACCEPTED, &t[0]);
	flow = open_flow(&d, 0);
	fake_expect(&d, WIRE_DEFINE);
	expect_letter(&d, 1, 'a', 0);
	send_one(&d, 'b', ARRIVED, &t[1]);
	expect_letter(&d, 2, 'b', 0);
	send_one(&d, 'c', ACCEPTED | ARRIVED, &t[2]);
	expect_letter(&d, 3, 'c', 0);
	fake_confirm(&d, flow, 2, WIRE_LEVEL_ACCEPTED);
	await_calls(&d, &t[0], 1);
	ck_assert_int_eq(t[0].finals, 1);
	ck_assert_int_eq(t[1].calls, 0); /* asked for more than that */
	fake_confirm(&d, flow, 3, WIRE_LEVEL_ARRIVED);
	await_calls(&d, &t[1], 1);
	await_calls(&d, &t[2], 2);
	ck_assert_int_eq(t[1].finals + t[2].finals, 2);
	ck_assert_int_eq(t[2].level, CONNECTD_ARRIVED);
	/* A number never sent. */
	fake_confirm(&d, flow, 4, WIRE_LEVEL_ACCEPTED);
	fake_await_up(&d, false);
}
END_TEST

START_TEST(outcomes)
{
	struct told t[4] = { 0 };
	uint32_t flow;

	up(NULL);
	connectd_cork(d.c);
	for (int i = 0; i < 4; i++)
		send_one(&d, 'a', ARRIVED, &t[i]);
	ck_assert_int_eq(connectd_uncork(d.c), 0);
	flow = open_flow(&d, 0);
	fake_expect(&d, WIRE_DEFINE);
	ck_assert_uint_eq(fake_expect(&d, WIRE_TRANSFER).u.run.n_items, 4); /* gathered: one run */
	fake_confirm(&d, flow, 4, WIRE_LEVEL_ACCEPTED);
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_PROGRESS, .u.progress = { .flow = flow, .level = WIRE_LEVEL_EXPIRED,
	    .ranges = { (const uint8_t *)"\2\2", 2 }, .reason = wire_string("too\nlate") } });
	/* Ranges may name numbers that nobody asks about any more, or ever. */
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_PROGRESS, .u.progress = { .flow = flow, .level = WIRE_LEVEL_ARRIVED,
	    .ranges = { (const uint8_t *)"\1\3\7\x7f", 4 } } });
	await_calls(&d, &t[1], 1);
	ck_assert_int_eq(t[1].level, CONNECTD_EXPIRED);
	ck_assert_int_eq(t[1].result, -EBADMSG);
	ck_assert_str_eq(t[1].reason, "too?late");
	await_calls(&d, &t[0], 1);
	await_calls(&d, &t[2], 1);
	ck_assert_int_eq(t[2].level, CONNECTD_ARRIVED);
	ck_assert_int_eq(t[3].calls, 0);
	ck_assert_uint_eq(connectd_unconfirmed(d.c), 1);
	connectd_close(d.c); /* the last word */
	d.c = NULL;
	ck_assert_int_eq(t[3].finals, 1);
	ck_assert_int_eq(t[3].result, -ECANCELED);
	ck_assert_int_eq(t[3].level, CONNECTD_ACCEPTED);
}
END_TEST

START_TEST(reject_and_resume)
{
	struct told t[4] = { 0 };
	struct wire_resume resume;
	uint32_t flow;

	up(NULL);
	send_one(&d, 'a', ACCEPTED, &t[0]);
	flow = open_flow(&d, 0);
	fake_expect(&d, WIRE_DEFINE);
	expect_letter(&d, 1, 'a', 0);
	for (int i = 1; i < 4; i++) {
		send_one(&d, (char)('a' + i), ACCEPTED, &t[i]);
		expect_letter(&d, (uint64_t)i + 1, (char)('a' + i), 0);
	}
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_REJECT,
	    .u.reject = { flow, 2, WIRE_REJECT_WRONG_TYPE, wire_string("not here") } });
	await_calls(&d, &t[1], 1);
	ck_assert_int_eq(t[1].level, CONNECTD_REJECTED);
	ck_assert_int_eq(t[1].finals, 1);
	ck_assert_int_eq(t[1].result, -EBADMSG);
	ck_assert_str_eq(t[1].reason, "not here");
	resume = fake_expect(&d, WIRE_RESUME).u.resume;
	ck_assert_uint_eq(resume.flow, flow);
	ck_assert_uint_eq(resume.after, 2);
	/* What was behind comes again, one at a time until one is accepted. */
	expect_letter(&d, 3, 'c', 0);
	fake_expect_silence(&d);
	fake_confirm(&d, flow, 1, WIRE_LEVEL_ACCEPTED); /* was under way, and is about one before */
	await_calls(&d, &t[0], 1);
	fake_expect_silence(&d);
	fake_confirm(&d, flow, 3, WIRE_LEVEL_ACCEPTED);
	expect_letter(&d, 4, 'd', 0);
	await_calls(&d, &t[2], 1);
	/* Once more, without a reason. */
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_REJECT, .u.reject = { flow, 4, WIRE_REJECT_FULL, { 0 } } });
	await_calls(&d, &t[3], 1);
	ck_assert_str_ne(t[3].reason, "");
	fake_expect(&d, WIRE_RESUME);
	/* Nothing of that number is open now. */
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_REJECT, .u.reject = { flow, 4, WIRE_REJECT_FULL, { 0 } } });
	fake_await_up(&d, false);
}
END_TEST

START_TEST(refused_destination_is_tried_again_later)
{
	struct told t[3] = { 0 };
	uint32_t flow;

	up(NULL);
	send_one(&d, 'a', ACCEPTED, &t[0]);
	send_one(&d, 'b', ACCEPTED, &t[1]);
	flow = fake_expect(&d, WIRE_OPEN_FLOW).u.open_flow.flow;
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_FLOW_STATE,
	    .u.flow_state = { .flow = flow, .verdict = WIRE_VERDICT_DENIED, .reason = wire_string("uid 5 may not") } });
	await_calls(&d, &t[0], 1);
	await_calls(&d, &t[1], 1);
	ck_assert_int_eq(t[1].level, CONNECTD_REJECTED);
	ck_assert_int_eq(t[1].result, -EBADMSG);
	ck_assert_str_eq(t[1].reason, "uid 5 may not");
	fake_expect_silence(&d);
	send_one(&d, 'c', ACCEPTED, &t[2]);
	flow = open_flow(&d, 0);
	fake_expect(&d, WIRE_DEFINE);
	expect_letter(&d, 3, 'c', 0);
	fake_confirm(&d, flow, 3, WIRE_LEVEL_ACCEPTED);
	await_calls(&d, &t[2], 1);
	ck_assert_int_eq(t[2].result, 0);
}
END_TEST

START_TEST(credit_holds_back)
{
	struct wire_frame state = { .kind = WIRE_FLOW_STATE, .u.flow_state = { .credit_messages = 2, .credit_bytes = 100 } };
	struct wire_frame more = { .kind = WIRE_CREDIT, .u.credit = { .messages = 10, .bytes = 100 } };
	struct fake_item i;
	uint32_t flow;

	up(NULL);
	for (char l = 'a'; l < 'g'; l++)
		send_body(&d, "orders", l, 60, ACCEPTED, NULL);
	flow = fake_expect(&d, WIRE_OPEN_FLOW).u.open_flow.flow;
	state.u.flow_state.flow = more.u.credit.flow = flow;
	fake_send(&d, &state);
	fake_expect(&d, WIRE_DEFINE);
	ck_assert_uint_eq(fake_expect(&d, WIRE_TRANSFER).u.run.n_items, 1);
	/* Of what the credit does not cover as much as it does. */
	i = fake_expect_item(&d);
	ck_assert(i.number == 2 && i.item.offset == 0 && i.item.body.len == 40 && i.item.total == 60);
	fake_expect_silence(&d);
	fake_send(&d, &more); /* messages alone do not help */
	fake_expect_silence(&d);
	more.u.credit.number = 2;
	fake_send(&d, &more);
	i = fake_expect_item(&d);
	ck_assert(i.number == 2 && i.item.offset == 40 && i.item.body.len == 20);
	fake_expect_silence(&d); /* all of it was counted */
	more.u.credit.number = 0;
	more.u.credit.bytes = 180;
	fake_send(&d, &more);
	ck_assert_uint_eq(fake_expect_item(&d).number, 3);
	fake_expect_silence(&d);
	more.u.credit.messages = 9; /* counters never fall */
	fake_send(&d, &more);
	fake_await_up(&d, false);
}
END_TEST

START_TEST(session_window_holds_back_whole_bodies)
{
	uint32_t flow;

	d.limits.window = 400000;
	up(NULL);
	for (int i = 0; i < 3; i++)
		send_body(&d, "orders", 'a', 150000, ACCEPTED, NULL);
	flow = open_flow(&d, 0);
	fake_expect(&d, WIRE_DEFINE);
	for (uint64_t sent = 0; sent < 300000;) {
		struct fake_item i = fake_expect_item(&d);

		ck_assert_uint_eq(i.number, sent / 150000 + 1);
		ck_assert_uint_eq(i.item.offset, sent % 150000);
		ck_assert_uint_eq(i.item.total, 150000);
		ck_assert_uint_le(i.item.body.len, WIRE_CHUNK_MAX);
		sent += i.item.body.len;
	}
	fake_expect_silence(&d); /* the third would not fit */
	fake_confirm(&d, flow, 1, WIRE_LEVEL_ACCEPTED);
	fake_expect_silence(&d);
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_CREDIT, .u.credit = { .session = true, .bytes = 550000 } });
	ck_assert_uint_eq(fake_expect_item(&d).number, 3);
	fake_expect_item(&d);
	fake_expect_item(&d);
	send_body(&d, "orders", 'a', 150000, ACCEPTED, NULL); /* held back when the session ends */
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_CLOSE });
	fake_await_up(&d, false);
	fake_greet(&d);
	flow = open_flow(&d, 1);
	fake_expect(&d, WIRE_DEFINE);
	for (uint64_t number = 2; number < 4;) {
		struct fake_item i = fake_expect_item(&d);

		ck_assert_uint_eq(i.number, number);
		number += i.item.offset + i.item.body.len == i.item.total;
	}
}
END_TEST

/* How many bytes are as the first. A check for each byte of a large body takes most of this program's time under valgrind. */
static size_t
same_letters(struct wire_bytes b)
{
	size_t n = 0;

	while (n < b.len && b.data[n] == b.data[0])
		n++;
	return n;
}

START_TEST(large_body_waits_to_be_reserved)
{
	static const size_t size = 1000000;
	struct told t = { 0 };
	struct fake_item i;
	uint32_t flow;
	size_t got;

	d.limits.window = 400000;
	up(NULL);
	send_body(&d, "orders", 'L', size, ACCEPTED, &t);
	flow = open_flow(&d, 0);
	fake_expect(&d, WIRE_DEFINE);
	i = fake_expect_item(&d);
	ck_assert_uint_eq(i.item.total, size);
	got = i.item.body.len;
	ck_assert_uint_le(got, WIRE_CHUNK_MAX);
	send_one(&d, 's', ACCEPTED, NULL); /* same flow: behind it */
	fake_expect_silence(&d);
	send_body(&d, "other", 'o', 1, ACCEPTED, NULL); /* another flow: not held back */
	ck_assert_uint_ne(open_flow(&d, 0), flow);
	ck_assert_uint_eq(fake_expect_item(&d).item.body.len, 1);
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_CREDIT, .u.credit = { .flow = flow, .number = 1 } });
	while (got < size) {
		i = fake_expect_item(&d);
		ck_assert_uint_eq(i.number, 1);
		ck_assert_uint_eq(i.item.offset, got);
		ck_assert_uint_eq(i.item.total, size);
		ck_assert_uint_eq(same_letters(i.item.body), i.item.body.len);
		ck_assert_int_eq(i.item.body.data[0], 'L');
		got += i.item.body.len;
		/* What is reserved counts as all bytes do, and does so again at once. */
		fake_send(&d, &(struct wire_frame){ .kind = WIRE_CREDIT, .u.credit = { .session = true, .bytes = 400000 + got } });
	}
	ck_assert_uint_eq(got, size);
	expect_letter(&d, 2, 's', 0);
	fake_confirm(&d, flow, 2, WIRE_LEVEL_ACCEPTED);
	await_calls(&d, &t, 1);
	ck_assert_int_eq(t.result, 0);
}
END_TEST

START_TEST(the_window_is_full)
{
	struct connectd_options o = { .size = sizeof(o), .window_messages = 3 };
	struct connectd_msg *m = connectd_msg_new("orders");
	uint32_t flow;

	up(&o);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(connectd_send(d.c, m, 0, NULL, NULL), 0);
	ck_assert_int_eq(connectd_send(d.c, m, 0, NULL, NULL), -EAGAIN);
	ck_assert_int_eq(connectd_send_wait(d.c, m, CONNECTD_ACCEPTED, 0), -EAGAIN);
	ck_assert_int_eq(connectd_flush(d.c, 0), -ETIMEDOUT);
	flow = open_flow(&d, 0);
	ck_assert_uint_eq(fake_expect(&d, WIRE_TRANSFER).u.run.n_items, 3);
	fake_confirm(&d, flow, 1, WIRE_LEVEL_ACCEPTED);
	ck_assert_int_eq(connectd_wait(d.c, 5000), 1); /* the descriptor wakes when there is room */
	ck_assert_int_eq(connectd_send(d.c, m, 0, NULL, NULL), 0);
	ck_assert_int_eq(connectd_send(d.c, m, 0, NULL, NULL), -EAGAIN);
	connectd_msg_unref(m);
}
END_TEST

START_TEST(what_cannot_be_sent)
{
	struct connectd_msg *m = connectd_msg_new("orders");
	void *big = calloc(1, 2000);

	d.limits.max_message = 1000;
	up(NULL);
	ck_assert_int_eq(connectd_send(d.c, m, CONNECTD_TELL(CONNECTD_CONSUMED), NULL, NULL), -ENOTSUP);
	ck_assert_int_eq(connectd_msg_set_durability(m, CONNECTD_MEMORY), 0);
	ck_assert_int_eq(connectd_send(d.c, m, STORED | ARRIVED, NULL, NULL), -EINVAL);
	ck_assert_int_eq(connectd_send_wait(d.c, m, CONNECTD_STORED, 0), -EINVAL);
	ck_assert_int_eq(connectd_send_wait(d.c, m, CONNECTD_CONSUMED, 0), -ENOTSUP);
	ck_assert_int_eq(connectd_msg_set_type_body(m, "", big, 1001), 0);
	ck_assert_int_eq(connectd_send(d.c, m, 0, NULL, NULL), -EMSGSIZE);
	ck_assert_int_eq(connectd_msg_set_type_body(m, "", big, 1000), 0); /* not given away yet */
	ck_assert_int_eq(connectd_send(d.c, m, 0, NULL, NULL), 0);
	open_flow(&d, 0);
	ck_assert_uint_eq(fake_expect_item(&d).item.type, 0); /* no type: nothing to define */
	connectd_msg_unref(m);
	free(big);
}
END_TEST

START_TEST(time_to_live_runs_while_waiting_here)
{
	struct told t = { 0 };
	struct connectd_msg *m = connectd_msg_new("orders");
	struct fake_item i;
	uint32_t flow;

	up(NULL);
	ck_assert_int_eq(connectd_msg_set_ttl(m, 30), 0);
	ck_assert_int_eq(connectd_send(d.c, m, ARRIVED, tell, &t), 0);
	connectd_msg_unref(m);
	m = connectd_msg_new("orders");
	ck_assert_int_eq(connectd_msg_set_ttl(m, 1000000), 0);
	ck_assert_int_eq(connectd_msg_set_not_before(m, 2000000), 0);
	ck_assert_int_eq(connectd_send(d.c, m, ARRIVED, NULL, NULL), 0);
	connectd_msg_unref(m);
	flow = fake_expect(&d, WIRE_OPEN_FLOW).u.open_flow.flow;
	await_calls(&d, &t, 1); /* the daemon does not answer */
	ck_assert_int_eq(t.level, CONNECTD_EXPIRED);
	ck_assert_int_eq(t.result, -EBADMSG);
	fake_flow_ok(&d, flow, 0);
	i = fake_expect_item(&d);
	ck_assert_uint_eq(i.number, 2);
	ck_assert_uint_le(i.item.ttl_ms, 1000000 - 20);
	ck_assert_uint_ge(i.item.ttl_ms, 900000);
	ck_assert_uint_le(i.item.not_before_ms, 2000000 - 20);
	ck_assert_uint_ge(i.item.not_before_ms, 1900000);
}
END_TEST

START_TEST(dictionary_replaces_the_oldest)
{
	struct connectd_msg *m;
	char type[20];

	d.limits.dictionary = 4;
	up(NULL);
	connectd_cork(d.c);
	for (int i = 0; i < 12; i++) {
		m = connectd_msg_new("orders");
		snprintf(type, sizeof(type), "shop.T%d", i % 6);
		ck_assert_int_eq(connectd_msg_set_type_body(m, type, type, strlen(type)), 0);
		ck_assert_int_eq(connectd_send(d.c, m, 0, NULL, NULL), 0);
		connectd_msg_unref(m);
	}
	connectd_uncork(d.c);
	open_flow(&d, 0);
	for (int i = 0; i < 12; i++) {
		struct wire_define def = fake_expect(&d, WIRE_DEFINE).u.define;
		struct fake_item item;

		ck_assert_uint_eq(def.id, i % 4 + 1u);
		snprintf(type, sizeof(type), "shop.T%d", i % 6);
		ck_assert_mem_eq(def.value.data + def.value.len - strlen(type), type, strlen(type));
		item = fake_expect_item(&d);
		ck_assert_uint_eq(item.item.type, i % 4 + 1u);
		ck_assert(wire_bytes_equal(item.item.body, wire_string(type)));
	}
}
END_TEST

START_TEST(more_destinations_than_the_daemon_allows)
{
	struct told t[10] = { 0 };
	uint32_t open = 0, settled = 0;
	uint8_t producer[16];
	char dest[20];
	int done = 0;

	d.limits.max_flows = 4; /* ids 1 to 3 */
	up(NULL);
	for (int i = 0; i < 10; i++) {
		snprintf(dest, sizeof(dest), "q%d", i);
		send_body(&d, dest, 'x', 1, ACCEPTED, &t[i]);
	}
	while (done < 10) {
		struct wire_frame f = fake_next(&d);

		if (f.kind == WIRE_OPEN_FLOW) {
			if (settled == 0 && open == 0)
				memcpy(producer, f.u.open_flow.producer.data, sizeof(producer));
			ck_assert_uint_lt(f.u.open_flow.flow, 4);
			ck_assert_uint_eq(open & 1u << f.u.open_flow.flow, 0);
			open |= 1u << f.u.open_flow.flow;
			fake_flow_ok(&d, f.u.open_flow.flow, 0);
		} else if (f.kind == WIRE_SETTLED) { /* one that is idle makes room */
			ck_assert(f.u.settled.close);
			open &= ~(1u << f.u.settled.flow);
			settled++;
		} else if (f.kind == WIRE_TRANSFER) {
			fake_confirm(&d, f.u.run.id, f.u.run.first, WIRE_LEVEL_ACCEPTED);
			done++;
		}
	}
	ck_assert_int_eq(connectd_flush(d.c, 5000), 0);
	ck_assert_uint_eq(settled, 7);
	/* A destination used before starts over as another producer: a mark left behind does not matter. */
	send_body(&d, "q0", 'x', 1, ACCEPTED, NULL);
	fake_expect(&d, WIRE_SETTLED);
	ck_assert_mem_ne(fake_expect(&d, WIRE_OPEN_FLOW).u.open_flow.producer.data, producer, sizeof(producer));
}
END_TEST

static int ended;

static void
close_it(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	(void)m;
	(void)userdata;
	ck_assert(o->final);
	ended++;
	ck_assert_int_eq(connectd_process(c), -EDEADLK);
	ck_assert_int_eq(connectd_flush(c, 10), -EDEADLK);
	connectd_close(c);
	ck_assert_int_eq(connectd_send(c, m, 0, NULL, NULL), -ENOTCONN);
}

START_TEST(closed_by_a_call_back)
{
	struct connectd_msg *m = connectd_msg_new("orders");
	uint32_t flow;
	int r;

	up(NULL);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(connectd_send(d.c, m, 0, close_it, NULL), 0);
	connectd_msg_unref(m);
	flow = open_flow(&d, 0);
	ck_assert_uint_eq(fake_expect(&d, WIRE_TRANSFER).u.run.n_items, 5);
	fake_confirm(&d, flow, 5, WIRE_LEVEL_ACCEPTED);
	while ((r = connectd_wait(d.c, 5000)) == 1)
		;
	ck_assert_int_eq(r, -ECANCELED);
	ck_assert_int_eq(ended, 5); /* each once, the others at the close */
	d.c = NULL;
}
END_TEST

static void
send_another(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	int *left = userdata;

	(void)o;
	if (--*left > 0)
		ck_assert_int_eq(connectd_send(c, m, 0, send_another, left), 0);
}

START_TEST(sent_by_a_call_back)
{
	struct connectd_msg *m = connectd_msg_new("orders");
	uint32_t flow;
	int left = 100;

	up(NULL);
	ck_assert_int_eq(connectd_send(d.c, m, 0, send_another, &left), 0);
	connectd_msg_unref(m);
	flow = open_flow(&d, 0);
	for (uint64_t n = 1; n <= 100; n++) {
		ck_assert_uint_eq(fake_expect_item(&d).number, n);
		fake_confirm(&d, flow, n, WIRE_LEVEL_ACCEPTED);
	}
	ck_assert_int_eq(connectd_flush(d.c, 5000), 0);
	ck_assert_int_eq(left, 0);
}
END_TEST

START_TEST(send_wait_times_out_and_the_message_goes_on)
{
	struct connectd_msg *m = connectd_msg_new("orders");
	uint32_t flow;

	up(NULL);
	ck_assert_int_eq(connectd_send_wait(d.c, m, CONNECTD_ACCEPTED, 20), -ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(connectd_last_error(d.c), "on its way"));
	connectd_msg_unref(m);
	flow = open_flow(&d, 0);
	fake_expect_item(&d);
	fake_confirm(&d, flow, 1, WIRE_LEVEL_ACCEPTED);
	ck_assert_int_eq(connectd_flush(d.c, 5000), 0);
	m = connectd_msg_new("orders");
	fake_confirm(&d, flow, 1, WIRE_LEVEL_ACCEPTED); /* again, and harmless */
	ck_assert_int_eq(connectd_send_wait(d.c, m, CONNECTD_ACCEPTED, 1), -ETIMEDOUT);
	connectd_msg_unref(m);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_send");
	TCase *t = tcase_create("lib_send");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, a_message_is_opened_defined_sent_confirmed);
	tcase_add_test(t, confirm_is_cumulative_and_may_say_arrived);
	tcase_add_test(t, outcomes);
	tcase_add_test(t, reject_and_resume);
	tcase_add_test(t, refused_destination_is_tried_again_later);
	tcase_add_test(t, credit_holds_back);
	tcase_add_test(t, session_window_holds_back_whole_bodies);
	tcase_add_test(t, large_body_waits_to_be_reserved);
	tcase_add_test(t, the_window_is_full);
	tcase_add_test(t, what_cannot_be_sent);
	tcase_add_test(t, time_to_live_runs_while_waiting_here);
	tcase_add_test(t, dictionary_replaces_the_oldest);
	tcase_add_test(t, more_destinations_than_the_daemon_allows);
	tcase_add_test(t, closed_by_a_call_back);
	tcase_add_test(t, sent_by_a_call_back);
	tcase_add_test(t, send_wait_times_out_and_the_message_goes_on);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
