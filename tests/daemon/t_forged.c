/*
 * A peer that lies: about who it is, what it has, what it may send. The session
 * ends, counted by its reason; messages for it stay, and nobody else notices.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raw.h"
#include "witness.h"

/* paris decides about rome, and aachen decides about paris. */
#define SECTIONS \
	"[peer \"rome\"]\nplaintext = yes\nfrom = 127.0.0.0/8\n[peer \"aachen\"]\nplaintext = yes\nfrom = 127.0.0.0/8\n" \
	"[queue \"inbox\"]\n[queue \"small\"]\nmax_messages = 4\n"

#define N 3 /* messages that wait for rome */

static struct witness w;

static void
expect_end(struct raw *r, enum wire_close_code code, const char *what)
{
	int told = raw_end(r);

	ck_assert_msg(told == (int)code, "%s: closed with %d %s, not %s", what, told, told < 0 ? "no word" : wire_close_name((uint32_t)told),
	    wire_close_name(code));
	raw_close(r);
	witness_closed(&w, WITNESS_PEER, code);
}

/* One of two that race: it may have been the one for a moment, and what was replaced is not counted. */
static void
expect_overtaken(struct raw *r, enum wire_close_code code)
{
	int told = raw_end(r);

	ck_assert_msg(told == (int)code, "closed with %d", told);
	raw_close(r);
}

static struct raw *
met(const char *name)
{
	struct raw *r = raw_peer(&w.paris);

	raw_meet(r, name, &w.paris);
	return r;
}

/* -------------------------------------------------------------- who it is */

START_TEST(hellos)
{
	static uint8_t copied[16];
	struct wire_frame cases[6];
	struct answer a;
	const char *own;

	witness_begin(&w, "", SECTIONS);
	node_ask(&w.paris, WIRE_ADMIN_STATUS, "", 0, &connectd__v1__status__descriptor, &a);
	own = ((const Connectd__V1__Status *)a.items[0])->store_id;
	ck_assert_uint_eq(strlen(own), 32);
	for (size_t i = 0; i < 16; i++) {
		unsigned byte;

		ck_assert_int_eq(sscanf(own + 2 * i, "%2x", &byte), 1);
		copied[i] = (uint8_t)byte;
	}
	answer_free(&a);
	for (size_t i = 0; i < 6; i++) {
		struct wire_hello *h = &cases[i].u.hello;
		struct raw *r = raw_peer(&w.paris);

		cases[i] = raw_hello_peer("rome", "paris");
		if (i == 0)
			h->store_id.len = 15;
		else if (i == 1)
			h->store_id.len = 0;
		else if (i == 2)
			h->start_count = 0;
		else if (i == 3)
			h->start_count = 1 << 24;
		else if (i == 4)
			h->version_min = h->version_max = 9;
		else
			h->store_id = wire_bytes(copied, 16);
		raw_frame(r, &cases[i]);
		if (i == 4) {
			ck_assert_int_eq(raw_end(r), WIRE_CLOSE_UNSUPPORTED);
			raw_close(r);
			witness_closed(&w, WITNESS_STRANGER, WIRE_CLOSE_UNSUPPORTED);
		} else {
			expect_end(r, i == 5 ? WIRE_CLOSE_STATE_CONFLICT : WIRE_CLOSE_PROTOCOL, "a Hello");
		}
	}
	/* One that knows a start of ours that never was. */
	for (int i = 0; i < 2; i++) {
		const char *name = i == 0 ? "rome" : "aachen";
		struct wire_frame f = raw_hello_peer(name, "paris");
		struct raw *r = raw_peer(&w.paris);

		raw_frame(r, &f);
		raw_until(r, WIRE_HELLO);
		raw_frame(r, &(struct wire_frame){ .kind = WIRE_KNOWN, .u.known = { 1, 4711 } });
		if (i == 0)
			raw_until(r, WIRE_KNOWN);
		expect_end(r, WIRE_CLOSE_STATE_CONFLICT, name);
	}
	witness_end(&w);
}
END_TEST

/* Between Hello and Accept nothing but Known and Accept may come, each at its place. */
START_TEST(while_meeting)
{
	static const struct wire_frame cases[] = {
		{ .kind = WIRE_HELLO, .u.hello.magic = WIRE_MAGIC },
		{ .kind = WIRE_ACCEPT, .u.accept = { 1 } },
		{ .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = 1, .address = { (const uint8_t *)"inbox", 5 } } },
		{ .kind = WIRE_DEFINE, .u.define = { WIRE_DEFINE_TYPE, 1, { (const uint8_t *)"t", 1 } } },
		{ .kind = WIRE_CONFIRM, .u.confirm = { 1, 1, 1 } },
		{ .kind = WIRE_CREDIT, .u.credit.session = true },
		{ .kind = WIRE_DRAIN },
		{ .kind = WIRE_SUBSCRIBE, .u.subscribe.subscription = 1 },
		{ .kind = WIRE_ADMIN_REQUEST, .u.admin_request.id = 1 },
	};
	struct wire_frame f;
	struct raw *r;

	witness_begin(&w, "", SECTIONS);
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(*cases); i++) {
		const char *name = i % 2 ? "rome" : "aachen";

		f = raw_hello_peer(name, "paris");
		r = raw_peer(&w.paris);
		raw_frame(r, &f);
		raw_until(r, WIRE_HELLO);
		if (i % 2)
			raw_until(r, WIRE_KNOWN);
		raw_frame(r, &cases[i / 2]);
		expect_end(r, WIRE_CLOSE_PROTOCOL, wire_kind_name(cases[i / 2].kind));
	}
	/* Known twice; a frame above what a stranger may send. */
	f = raw_hello_peer("aachen", "paris");
	r = raw_peer(&w.paris);
	raw_frame(r, &f);
	raw_until(r, WIRE_HELLO);
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_KNOWN });
	raw_until(r, WIRE_KNOWN);
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_KNOWN });
	expect_end(r, WIRE_CLOSE_PROTOCOL, "Known twice");
	f = raw_hello_peer("rome", "paris");
	r = raw_peer(&w.paris);
	raw_frame(r, &f);
	raw_until(r, WIRE_KNOWN);
	raw_bytes(r, "\x81\x20", 2);
	expect_end(r, WIRE_CLOSE_TOO_LARGE, "4097 bytes");
	/* A decision that is not newer than the one before. */
	r = met("aachen");
	raw_close(r);
	f = raw_hello_peer("aachen", "paris");
	r = raw_peer(&w.paris);
	raw_frame(r, &f);
	raw_until(r, WIRE_HELLO);
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_KNOWN });
	raw_until(r, WIRE_KNOWN);
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_ACCEPT, .u.accept = { 1 } });
	expect_end(r, WIRE_CLOSE_DUPLICATE, "an old decision");
	witness_end(&w);
}
END_TEST

/* As far as its Accept, which is not said. */
static struct raw *
almost_met(const char *name)
{
	const struct wire_frame hello = raw_hello_peer(name, "paris");
	struct raw *r = raw_peer(&w.paris);

	raw_frame(r, &hello);
	raw_until(r, WIRE_HELLO);
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_KNOWN });
	raw_until(r, WIRE_KNOWN);
	return r;
}

/*
 * Two connections, whose Accepts overtake each other: the higher is followed,
 * though its meeting is not written down yet when the lower comes.
 */
START_TEST(decisions_overtake)
{
	struct raw *first, *second;

	witness_begin(&w, "", SECTIONS);
	for (uint64_t i = 1; i <= 20; i += 2) {
		first = almost_met("aachen");
		second = almost_met("aachen");
		raw_frame(second, &(struct wire_frame){ .kind = WIRE_ACCEPT, .u.accept = { i + 1 } });
		raw_frame(first, &(struct wire_frame){ .kind = WIRE_ACCEPT, .u.accept = { i } });
		expect_overtaken(first, WIRE_CLOSE_DUPLICATE);
		raw_alive(second);
		raw_close(second);
	}
	witness_end(&w);
}
END_TEST

/* Dials of rome, about which paris decides: the later one is the one, and the other hears so. */
START_TEST(dials_overtake)
{
	struct raw *older, *newer;
	struct wire_frame f[2] = { raw_hello_peer("rome", "paris"), raw_hello_peer("rome", "paris") };

	witness_begin(&w, "", SECTIONS);
	newer = raw_peer(&w.paris);
	raw_frame(newer, &f[1]);
	raw_until(newer, WIRE_KNOWN);
	older = raw_peer(&w.paris);
	raw_frame(older, &f[0]);
	raw_until(older, WIRE_KNOWN);
	/* The first is being written down when the second comes. */
	raw_frame(newer, &(struct wire_frame){ .kind = WIRE_KNOWN });
	raw_frame(older, &(struct wire_frame){ .kind = WIRE_KNOWN });
	expect_overtaken(older, WIRE_CLOSE_DUPLICATE);
	raw_until(newer, WIRE_ACCEPT);
	raw_alive(newer);
	raw_close(newer);
	witness_end(&w);
}
END_TEST

/* The last word of a start that has died comes behind its next one, and is not what is remembered. */
START_TEST(starts_overtake)
{
	struct raw *older, *newer;
	struct wire_frame f[2] = { raw_hello_peer("rome", "paris"), raw_hello_peer("rome", "paris") };

	witness_begin(&w, "", SECTIONS);
	f[1].u.hello.start_count = f[1].u.hello.boot_id = 2;
	older = raw_peer(&w.paris);
	raw_frame(older, &f[0]);
	raw_until(older, WIRE_KNOWN);
	newer = raw_peer(&w.paris);
	raw_frame(newer, &f[1]);
	raw_until(newer, WIRE_KNOWN);
	raw_frame(newer, &(struct wire_frame){ .kind = WIRE_KNOWN });
	raw_frame(older, &(struct wire_frame){ .kind = WIRE_KNOWN });
	expect_overtaken(older, WIRE_CLOSE_DUPLICATE);
	raw_until(newer, WIRE_ACCEPT);
	raw_alive(newer);
	raw_close(newer);
	older = raw_peer(&w.paris);
	raw_frame(older, &f[0]);
	expect_overtaken(older, WIRE_CLOSE_STATE_CONFLICT);
	witness_end(&w);
}
END_TEST

/* -------------------------------------------------------------- what it sends */

static struct wire_frame
origin_of(const char *node, uint8_t buf[static 256])
{
	const struct wire_origin o = { .node = wire_string(node), .uid = 0, .proof = WIRE_PROOF_LOCAL, .boot_id = 5 };

	ck_assert_uint_le(wire_size_origin(&o), 256);
	return (struct wire_frame){ .kind = WIRE_DEFINE, .u.define = { WIRE_DEFINE_ORIGIN, 1, wire_bytes(buf, wire_pack_origin(&o, buf)) } };
}

static const uint8_t one_one[] = { 1, 1 };

START_TEST(frames)
{
	static const struct wire_frame cases[] = {
		{ .kind = WIRE_HELLO, .u.hello.magic = WIRE_MAGIC },
		{ .kind = WIRE_KNOWN },
		{ .kind = WIRE_ACCEPT, .u.accept = { UINT64_MAX } },
		{ .kind = WIRE_SUBSCRIBE, .u.subscribe = { .subscription = 1, .queue = { (const uint8_t *)"inbox", 5 } } },
		{ .kind = WIRE_SUBSCRIBED, .u.subscribed.subscription = 1 },
		{ .kind = WIRE_ACK, .u.ack.ranges = { one_one, 2 } },
		{ .kind = WIRE_NACK, .u.nack.ranges = { one_one, 2 } },
		{ .kind = WIRE_UNSUBSCRIBE, .u.unsubscribe.subscription = 1 },
		{ .kind = WIRE_ADMIN_REQUEST, .u.admin_request = { .id = 1, .verb = WIRE_ADMIN_PURGE } },
		{ .kind = WIRE_ADMIN_RESPONSE, .u.admin_response.id = 1 },
		{ .kind = WIRE_SETTLED, .u.settled = { 1, 1, true } },
		{ .kind = WIRE_RESUME, .u.resume = { 1, 1 } },
		{ .kind = WIRE_ABORT, .u.abort = { 1, 1 } },
		{ .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = 1, .address = { (const uint8_t *)"inbox", 5 }, .producer = { one_one, 2 } } },
		{ .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = 0, .address = { (const uint8_t *)"inbox", 5 } } },
		{ .kind = WIRE_DEFINE, .u.define = { WIRE_DEFINE_ORIGIN, 1, { one_one, 2 } } },
		{ .kind = WIRE_CREDIT, .u.credit = { .session = true, .bytes = 0 } },
	};
	struct raw *r;

	witness_begin(&w, "", SECTIONS);
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(*cases); i++) {
		r = met(i % 2 ? "rome" : "aachen");
		raw_frame(r, &cases[i / 2]);
		expect_end(r, WIRE_CLOSE_PROTOCOL, wire_kind_name(cases[i / 2].kind));
	}
	r = met("rome");
	raw_run(r, WIRE_DELIVER, 1, 1, &(struct wire_item){ .type = 0 }, 1);
	expect_end(r, WIRE_CLOSE_PROTOCOL, "Deliver");
	r = met("rome");
	raw_payload(r, "\x92\x03\x00", 3);
	expect_end(r, WIRE_CLOSE_UNSUPPORTED, "frame 50");
	r = met("rome");
	raw_bytes(r, "\x81\x80\x08", 3);
	expect_end(r, WIRE_CLOSE_TOO_LARGE, "a claim above 128 KiB");
	/* About flows that are over one may still hear; frames from 100 up are nobody's business. */
	r = met("rome");
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_FLOW_STATE, .u.flow_state = { .flow = 9, .accepted = 7 } });
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_CONFIRM, .u.confirm = { 9, UINT64_MAX, WIRE_LEVEL_ARRIVED } });
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_REJECT, .u.reject = { .flow = UINT32_MAX, .number = 1 } });
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_CREDIT, .u.credit = { .flow = 9, .messages = 7 } });
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_PROGRESS, .u.progress = { .flow = 9, .level = WIRE_LEVEL_PURGED } });
	raw_payload(r, "\xa2\x06\x03xyz", 6);
	raw_alive(r);
	raw_close(r);
	witness_none_closed(&w);
	witness_end(&w);
}
END_TEST

static void
open_flow(struct raw *r, const char *queue, enum wire_verdict verdict)
{
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = 1, .address = wire_string(queue),
	    .highest_used = UINT64_MAX } });
	raw_until(r, WIRE_FLOW_STATE);
	ck_assert_uint_eq(r->f.u.flow_state.verdict, verdict);
}

/* It speaks for itself only, and of what it defined. */
START_TEST(origins)
{
	static const char *const others[] = { "paris", "berlin", "aachen", "", "rome2", "Rome" };
	const struct wire_item item = { .origin = 1 }, plain = { .type = 0 }, typed = { .origin = 1, .type = 3 };
	struct wire_item many[20];
	uint8_t buf[256];
	struct wire_frame f;
	struct answer a;
	struct raw *r;

	witness_begin(&w, "", SECTIONS);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		r = met("rome");
		f = origin_of(others[i], buf);
		raw_frame(r, &f);
		expect_end(r, WIRE_CLOSE_PROTOCOL, others[i]);
	}
	r = met("rome");
	open_flow(r, "inbox", WIRE_VERDICT_OK);
	raw_run(r, WIRE_TRANSFER, 1, 1, &item, 1);
	expect_end(r, WIRE_CLOSE_PROTOCOL, "an origin not defined");
	r = met("rome");
	open_flow(r, "inbox", WIRE_VERDICT_OK);
	raw_run(r, WIRE_TRANSFER, 1, 1, &plain, 1);
	expect_end(r, WIRE_CLOSE_PROTOCOL, "no origin");
	r = met("rome");
	f = origin_of("rome", buf);
	raw_frame(r, &f);
	open_flow(r, "inbox", WIRE_VERDICT_OK);
	raw_run(r, WIRE_TRANSFER, 1, 1, &typed, 1);
	expect_end(r, WIRE_CLOSE_PROTOCOL, "a type not defined");
	/* More than the credit. */
	for (size_t i = 0; i < 20; i++)
		many[i] = item;
	r = met("rome");
	raw_frame(r, &f);
	open_flow(r, "small", WIRE_VERDICT_OK);
	raw_run(r, WIRE_TRANSFER, 1, 1, many, 20);
	expect_end(r, WIRE_CLOSE_FLOW_CONTROL, "too many messages");
	/* Where it may not send: told, and the session goes on. */
	r = met("rome");
	raw_frame(r, &f);
	open_flow(r, "undeclared", WIRE_VERDICT_NO_QUEUE);
	open_flow(r, "berlin/orders", WIRE_VERDICT_DENIED);
	open_flow(r, "../inbox", WIRE_VERDICT_BAD_ADDRESS);
	/* That it is root there, and proven, is its own opinion: ours stands in the message. */
	open_flow(r, "inbox", WIRE_VERDICT_OK);
	raw_run(r, WIRE_TRANSFER, 1, 9, &item, 1);
	raw_until(r, WIRE_CONFIRM);
	ck_assert_uint_eq(r->f.u.confirm.number, 9);
	node_ask(&w.paris, WIRE_ADMIN_PEEK, "inbox", 0, &connectd__v1__peeked__descriptor, &a);
	ck_assert_uint_eq(a.n, 1);
	ck_assert_str_eq(((const Connectd__V1__Peeked *)a.items[0])->origin_node, "rome");
	ck_assert_str_eq(((const Connectd__V1__Peeked *)a.items[0])->origin_proof, "plaintext");
	answer_free(&a);
	/* A resend is not a second message. */
	raw_run(r, WIRE_TRANSFER, 1, 9, &item, 1);
	raw_until(r, WIRE_CONFIRM);
	node_await_queue(&w.paris, "inbox", queue_holds, 1);
	raw_close(r);
	witness_none_closed(&w);
	/* What it accepted, and says now it never sent: it was restored from a copy. */
	r = met("rome");
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = 1, .address = wire_string("inbox"),
	    .highest_used = 8 } });
	raw_until(r, WIRE_FLOW_STATE);
	ck_assert_uint_eq(r->f.u.flow_state.verdict, WIRE_VERDICT_STATE_CONFLICT);
	raw_close(r);
	witness_end(&w);
}
END_TEST

/* ---------------------------------------------------- what it says it has */

/* Rome up to paris's OpenFlow: what it says of itself goes to *ret. */
static struct raw *
asked(struct wire_open_flow *ret)
{
	struct raw *r = met("rome");

	raw_until(r, WIRE_OPEN_FLOW);
	*ret = r->f.u.open_flow;
	return r;
}

/* And further, until all messages have come. Returns the number of the last. */
static struct raw *
given(struct wire_open_flow *ret, uint64_t *ret_last)
{
	struct raw *r = asked(ret);
	size_t n = 0;

	raw_frame(r, &(struct wire_frame){ .kind = WIRE_FLOW_STATE, .u.flow_state = { .flow = ret->flow, .credit_messages = 100,
	    .credit_bytes = 100000 } });
	while (n < N) {
		raw_until(r, WIRE_TRANSFER);
		n += r->f.u.run.n_items;
		*ret_last = r->f.u.run.first + r->f.u.run.n_items - 1;
	}
	return r;
}

START_TEST(verdicts)
{
	struct traffic_told told = { 0 };
	struct wire_open_flow o;
	uint64_t last = 0;
	struct connectd *c;
	struct raw *r;

	witness_begin(&w, "", SECTIONS);
	c = traffic_open(&w.paris);
	for (uint64_t i = 1; i <= N; i++)
		traffic_send(c, "rome/x", i, 100, CONNECTD_ACCEPTED, &told);
	ck_assert_int_eq(connectd_flush(c, 20000), 0);
	connectd_close(c);

	for (int i = 0; i < 13; i++) {
		struct wire_frame f = { .kind = WIRE_FLOW_STATE, .u.flow_state = { .flow = 1, .credit_messages = 9, .credit_bytes = 9 } };
		enum wire_close_code code = WIRE_CLOSE_PROTOCOL;

		/* The first six instead of a FlowState, or as one; the others when all is sent. */
		r = i < 6 ? asked(&o) : given(&o, &last);
		f.u.flow_state.flow = o.flow;
		switch (i) {
		case 0: /* accepted what was never sent */
			f.u.flow_state.accepted = o.highest_used + 1;
			code = WIRE_CLOSE_STATE_CONFLICT;
			break;
		case 1:
			f.u.flow_state.verdict = WIRE_VERDICT_STATE_CONFLICT;
			code = WIRE_CLOSE_STATE_CONFLICT;
			break;
		case 2: /* safe, but not accepted */
			f.u.flow_state.confirmed = o.highest_used;
			break;
		case 3:
			f.u.flow_state.confirmed = UINT64_MAX;
			break;
		case 4: /* before FlowState */
			f = (struct wire_frame){ .kind = WIRE_CONFIRM, .u.confirm = { o.flow, o.highest_used, WIRE_LEVEL_ACCEPTED } };
			break;
		case 5:
			f = (struct wire_frame){ .kind = WIRE_REJECT, .u.reject = { .flow = o.flow, .number = o.highest_used } };
			break;
		case 6: /* not asked for */
			break;
		case 7:
			f = (struct wire_frame){ .kind = WIRE_CONFIRM, .u.confirm = { o.flow, last + 1, WIRE_LEVEL_ACCEPTED } };
			break;
		case 8:
			f = (struct wire_frame){ .kind = WIRE_CONFIRM, .u.confirm = { o.flow, UINT64_MAX, WIRE_LEVEL_CONSUMED } };
			break;
		case 9:
			f = (struct wire_frame){ .kind = WIRE_REJECT, .u.reject = { .flow = o.flow, .number = last + 1 } };
			break;
		case 10:
			f = (struct wire_frame){ .kind = WIRE_REJECT, .u.reject = { .flow = o.flow, .number = 0 } };
			break;
		case 11: /* falls */
			f = (struct wire_frame){ .kind = WIRE_CREDIT, .u.credit = { .flow = o.flow, .messages = 99, .bytes = UINT64_MAX } };
			break;
		case 12:
			f = (struct wire_frame){ .kind = WIRE_CREDIT, .u.credit = { .session = true, .bytes = 1 } };
			break;
		}
		raw_frame(r, &f);
		if (i == 6 || i < 4)
			ck_assert_uint_eq(f.kind, WIRE_FLOW_STATE);
		expect_end(r, code, wire_kind_name(f.kind));
		/* Whatever it said, what it did not take is still here. */
		node_await_queue(&w.paris, "rome/x", queue_holds, N);
	}
	/* A rest of something that it says it has, and cannot have: sent from its beginning. */
	r = asked(&o);
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_FLOW_STATE, .u.flow_state = { .flow = o.flow, .credit_messages = 100,
	    .credit_bytes = 100000, .partial_number = o.oldest_unsettled, .partial_bytes = UINT64_MAX } });
	raw_until(r, WIRE_TRANSFER);
	ck_assert_uint_eq(r->f.u.run.first, o.oldest_unsettled);
	while (last > r->f.u.run.first + r->f.u.run.n_items - 1)
		raw_until(r, WIRE_TRANSFER);
	/* Confirmed at last: that it is believed. */
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_CONFIRM, .u.confirm = { o.flow, last, WIRE_LEVEL_ACCEPTED } });
	node_await_queue(&w.paris, "rome/x", queue_holds, 0);
	raw_close(r);
	witness_end(&w);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("forged");
	TCase *tc = tcase_create("forged");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, hellos);
	tcase_add_test(tc, while_meeting);
	tcase_add_test(tc, decisions_overtake);
	tcase_add_test(tc, dials_overtake);
	tcase_add_test(tc, starts_overtake);
	tcase_add_test(tc, frames);
	tcase_add_test(tc, origins);
	tcase_add_test(tc, verdicts);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
