/*
 * Garbage from strangers and from programs: it ends the session it came on,
 * for a reason that is counted, and nothing else.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raw.h"
#include "witness.h"

static struct witness w;

static void
begin(void)
{
	witness_begin(&w, "", "[peer \"rome\"]\nplaintext = yes\nfrom = 127.0.0.0/8\n"
	    "[peer \"oslo\"]\nplaintext = yes\nfrom = 10.0.0.0/8\n"
	    "[queue \"small\"]\nmax_messages = 4\n");
}

/* The session ends with this, and it is counted. */
static void
expect_end(struct raw *r, enum witness_kind kind, enum wire_close_code code, const char *what)
{
	int told = raw_end(r);

	ck_assert_msg(told == (int)code, "%s: closed with %d %s, not %s", what, told, told < 0 ? "no word" : wire_close_name((uint32_t)told),
	    wire_close_name(code));
	raw_close(r);
	witness_closed(&w, kind, code);
}

/* ---------------------------------------------------------- before any Hello */

/* Both sockets, in turn. */
static struct raw *
stranger(int at, enum witness_kind *ret_kind)
{
	*ret_kind = at == 0 ? WITNESS_CLIENT : WITNESS_STRANGER;
	return at == 0 ? raw_client(&w.paris) : raw_peer(&w.paris);
}

START_TEST(first_bytes)
{
	static const struct {
		const char *what, *bytes;
		size_t len;
		enum wire_close_code code;
	} cases[] = {
#define BYTES(s) s, sizeof(s) - 1
		{ "another protocol", BYTES("GET / HTTP/1.1\r\nHost: paris.example.org\r\nUser-Agent: a browser\r\nAccept: */*\r\n\r\n"),
		    WIRE_CLOSE_PROTOCOL },
		{ "TLS", BYTES("\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03 these are random bytes of a client"), WIRE_CLOSE_PROTOCOL },
		{ "a length that is too long", BYTES("\x80\x00"), WIRE_CLOSE_PROTOCOL },
		{ "a length that is too long still", BYTES("\x85\x80\x00"), WIRE_CLOSE_PROTOCOL },
		{ "a length without end", BYTES("\xff\xff\xff\xff\xff"), WIRE_CLOSE_PROTOCOL },
		{ "a length above 32 bits", BYTES("\xff\xff\xff\xff\x7f"), WIRE_CLOSE_PROTOCOL },
		{ "a claim of 4 GiB", BYTES("\xff\xff\xff\xff\x0f"), WIRE_CLOSE_TOO_LARGE },
		{ "a claim of 128 KiB", BYTES("\x80\x80\x08"), WIRE_CLOSE_TOO_LARGE },
		{ "a claim of 4097 bytes", BYTES("\x81\x20"), WIRE_CLOSE_TOO_LARGE },
		{ "an empty frame", BYTES("\x00"), WIRE_CLOSE_PROTOCOL },
		{ "Ping", BYTES("\x04\x22\x02\x08\x01"), WIRE_CLOSE_PROTOCOL },
		{ "a cut field", BYTES("\x02\x0a\x05"), WIRE_CLOSE_PROTOCOL },
		{ "an empty Hello", BYTES("\x02\x0a\x00"), WIRE_CLOSE_PROTOCOL },
		{ "an unknown frame", BYTES("\x02\x4a\x00"), WIRE_CLOSE_PROTOCOL },
	};

	begin();
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(*cases); i++) {
		enum witness_kind kind;
		struct raw *r = stranger(i % 2, &kind);

		raw_bytes(r, cases[i / 2].bytes, cases[i / 2].len);
		expect_end(r, kind, cases[i / 2].code, cases[i / 2].what);
	}
	witness_end(&w);
}
END_TEST

/* Whatever they are: refused, as the one or the other. */
START_TEST(random_bytes)
{
	uint8_t bytes[8192];
	uint32_t x = 2463534242;
	uint64_t ended = 0;

	begin();
	for (size_t round = 0; round < 60; round++) {
		enum witness_kind kind;
		struct raw *r = stranger(round % 2, &kind);
		uint64_t all = 0;

		for (size_t i = 0; i < sizeof(bytes); i++) {
			x ^= x << 13;
			x ^= x >> 17;
			x ^= x << 5;
			bytes[i] = (uint8_t)x;
		}
		raw_bytes(r, bytes, sizeof(bytes));
		raw_end(r);
		raw_close(r);
		ended++;
		/* Only these two grow. */
		for (int i = 0; i < 2000 && all < ended; i++) {
			struct answer a;
			const Connectd__V1__Status *s;

			node_ask(&w.paris, WIRE_ADMIN_STATUS, "", 0, &connectd__v1__status__descriptor, &a);
			s = (const Connectd__V1__Status *)a.items[0];
			all = 0;
			for (size_t k = 0; k < s->n_closed; k++) {
				ck_assert(strcmp(s->closed[k]->reason, "protocol") == 0 || strcmp(s->closed[k]->reason, "too-large") == 0);
				all += s->closed[k]->count;
			}
			answer_free(&a);
		}
		ck_assert_uint_eq(all, ended);
	}
	witness_end(&w);
}
END_TEST

/* -------------------------------------------------------------------- Hello */

START_TEST(hellos_of_programs)
{
	static char long_name[66];
	const struct wire_hello good = { .magic = WIRE_MAGIC, .version_min = 1, .version_max = 1, .role = WIRE_ROLE_CLIENT };
	struct {
		const char *what;
		struct wire_hello h;
		enum wire_close_code code;
	} cases[] = {
		{ "magic", good, WIRE_CLOSE_PROTOCOL },
		{ "a version to come", good, WIRE_CLOSE_UNSUPPORTED },
		{ "no version", good, WIRE_CLOSE_UNSUPPORTED },
		{ "a peer's role", good, WIRE_CLOSE_PROTOCOL },
		{ "a daemon's role", good, WIRE_CLOSE_PROTOCOL },
		{ "no role", good, WIRE_CLOSE_PROTOCOL },
		{ "a role to come", good, WIRE_CLOSE_PROTOCOL },
		{ "a long name", good, WIRE_CLOSE_PROTOCOL },
		{ "a name with NUL", good, WIRE_CLOSE_PROTOCOL },
	};

	cases[0].h.magic++;
	cases[1].h.version_min = cases[1].h.version_max = 2;
	cases[2].h.version_max = 0;
	cases[3].h.role = WIRE_ROLE_PEER;
	cases[4].h.role = WIRE_ROLE_DAEMON;
	cases[5].h.role = WIRE_ROLE_UNKNOWN;
	cases[6].h.role = 77;
	memset(long_name, 'n', 65);
	cases[7].h.name = wire_string(long_name);
	cases[8].h.name = wire_bytes("a\0b", 3);
	begin();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct raw *r = raw_client(&w.paris);

		raw_frame(r, &(struct wire_frame){ .kind = WIRE_HELLO, .u.hello = cases[i].h });
		expect_end(r, WITNESS_CLIENT, cases[i].code, cases[i].what);
	}
	witness_end(&w);
}
END_TEST

START_TEST(hellos_of_strangers)
{
	static const struct {
		const char *what, *name, *to;
		enum wire_role role;
		enum wire_close_code code;
	} cases[] = {
		{ "a program", "rome", "paris", WIRE_ROLE_CLIENT, WIRE_CLOSE_PROTOCOL },
		{ "a daemon for programs", "rome", "paris", WIRE_ROLE_DAEMON, WIRE_CLOSE_PROTOCOL },
		{ "no role", "rome", "paris", WIRE_ROLE_UNKNOWN, WIRE_CLOSE_PROTOCOL },
		{ "a name not known", "tokio", "paris", WIRE_ROLE_PEER, WIRE_CLOSE_WRONG_NAME },
		{ "no name", "", "paris", WIRE_ROLE_PEER, WIRE_CLOSE_WRONG_NAME },
		{ "our name", "paris", "paris", WIRE_ROLE_PEER, WIRE_CLOSE_WRONG_NAME },
		{ "a name that is a path", "../rome", "paris", WIRE_ROLE_PEER, WIRE_CLOSE_WRONG_NAME },
		{ "a name that moves the cursor", "ro\033[2Jme\n", "paris", WIRE_ROLE_PEER, WIRE_CLOSE_WRONG_NAME },
		{ "for another", "rome", "london", WIRE_ROLE_PEER, WIRE_CLOSE_WRONG_NAME },
		{ "for nobody", "rome", "", WIRE_ROLE_PEER, WIRE_CLOSE_WRONG_NAME },
		{ "from elsewhere", "oslo", "paris", WIRE_ROLE_PEER, WIRE_CLOSE_DENIED },
	};

	begin();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct raw *r = raw_peer(&w.paris);
		struct wire_frame f = raw_hello_peer(cases[i].name, cases[i].to);

		f.u.hello.role = cases[i].role;
		raw_frame(r, &f);
		expect_end(r, WITNESS_STRANGER, cases[i].code, cases[i].what);
	}
	ck_assert(!node_logged(&w.paris, "\033"));
	witness_end(&w);
}
END_TEST

/* ------------------------------------------------------- an open session */

static struct raw *
client(void)
{
	struct raw *r = raw_client(&w.paris);

	raw_greet_client(r);
	return r;
}

START_TEST(payloads_of_programs)
{
	static uint8_t large[WIRE_CONTROL_MAX + 64];
	static const struct {
		const char *what, *bytes;
		size_t len;
		enum wire_close_code code;
	} cases[] = {
		{ "a field number of 0", BYTES("\x02\x00"), WIRE_CLOSE_PROTOCOL },
		{ "a group", BYTES("\x23\x24"), WIRE_CLOSE_PROTOCOL },
		{ "a cut field", BYTES("\x22\x10\x08\x01"), WIRE_CLOSE_PROTOCOL },
		{ "a varint without end", BYTES("\x22\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), WIRE_CLOSE_PROTOCOL },
		{ "numbers one by one", BYTES("\xba\x01\x04\x08\x01\x08\x01"), WIRE_CLOSE_PROTOCOL },
		{ "frame 8", BYTES("\x42\x00"), WIRE_CLOSE_UNSUPPORTED },
		{ "frame 50", BYTES("\x92\x03\x00"), WIRE_CLOSE_UNSUPPORTED },
		{ "frame 99", BYTES("\x9a\x06\x00"), WIRE_CLOSE_UNSUPPORTED },
	};
	struct raw *r;

	begin();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		r = client();
		raw_payload(r, cases[i].bytes, cases[i].len);
		expect_end(r, WITNESS_CLIENT, cases[i].code, cases[i].what);
	}
	/* A control frame may be large, but not that large. Field 31 is Define, 9 in it not known. */
	memcpy(large, "\xfa\x01\x80\x80\x04\x4a\xfc\xff\x03", 9);
	r = client();
	raw_payload(r, large, 5 + WIRE_CONTROL_MAX);
	expect_end(r, WITNESS_CLIENT, WIRE_CLOSE_TOO_LARGE, "a large control frame");
	r = client();
	raw_bytes(r, "\x81\x80\x08", 3);
	expect_end(r, WITNESS_CLIENT, WIRE_CLOSE_TOO_LARGE, "a claim above 128 KiB");
	/* From 100 up nobody minds; nor an empty frame, nor fields not known in a known one. */
	r = client();
	raw_payload(r, "\xa2\x06\x03xyz", 6);
	raw_payload(r, "", 0);
	raw_payload(r, "\x22\x07\x08\x05\xfa\x7f\x02xy", 9);
	raw_alive(r);
	raw_close(r);
	witness_none_closed(&w);
	witness_end(&w);
}
END_TEST

static const uint8_t one_one[] = { 1, 1 }, three[] = { 1, 2, 3 }, falling[] = { 5, 2 }, zero[] = { 0, 0 };
static const uint8_t everything[] = { 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1 };
static uint8_t long_type[WIRE_TYPE_MAX + 1], long_producer[33];
#define NUMBERS(a) { a, sizeof(a) }
#define PRODUCER { (const uint8_t *)"p", 1 }
#define ADDRESS { (const uint8_t *)"inbox", 5 }

/* Frames that no program in its senses sends, on a session without flows and subscriptions. */
static const struct {
	const char *what;
	struct wire_frame f;
	enum wire_close_code code;
} bad_frames[] = {
	{ "a second Hello", { .kind = WIRE_HELLO, .u.hello.magic = WIRE_MAGIC }, WIRE_CLOSE_PROTOCOL },
	{ "Known", { .kind = WIRE_KNOWN }, WIRE_CLOSE_PROTOCOL },
	{ "Accept", { .kind = WIRE_ACCEPT, .u.accept = { 7 } }, WIRE_CLOSE_PROTOCOL },
	{ "FlowState", { .kind = WIRE_FLOW_STATE, .u.flow_state = { .flow = 1, .accepted = UINT64_MAX } }, WIRE_CLOSE_PROTOCOL },
	{ "Confirm", { .kind = WIRE_CONFIRM, .u.confirm = { 1, UINT64_MAX, WIRE_LEVEL_ARRIVED } }, WIRE_CLOSE_PROTOCOL },
	{ "Reject", { .kind = WIRE_REJECT, .u.reject = { .flow = 1, .number = 1 } }, WIRE_CLOSE_PROTOCOL },
	{ "Progress", { .kind = WIRE_PROGRESS, .u.progress = { .flow = 1, .ranges = NUMBERS(one_one) } }, WIRE_CLOSE_PROTOCOL },
	{ "Subscribed", { .kind = WIRE_SUBSCRIBED, .u.subscribed.subscription = 1 }, WIRE_CLOSE_PROTOCOL },
	{ "AdminResponse", { .kind = WIRE_ADMIN_RESPONSE, .u.admin_response.id = 1 }, WIRE_CLOSE_PROTOCOL },
	{ "Settled of nothing", { .kind = WIRE_SETTLED, .u.settled = { 1, 1, true } }, WIRE_CLOSE_PROTOCOL },
	{ "Resume of nothing", { .kind = WIRE_RESUME, .u.resume = { 1, 1 } }, WIRE_CLOSE_PROTOCOL },
	{ "Resume of a flow far off", { .kind = WIRE_RESUME, .u.resume = { UINT32_MAX, 1 } }, WIRE_CLOSE_PROTOCOL },
	{ "Abort of nothing", { .kind = WIRE_ABORT, .u.abort = { 1, 1 } }, WIRE_CLOSE_PROTOCOL },
	{ "flow 0", { .kind = WIRE_OPEN_FLOW, .u.open_flow = { .address = ADDRESS, .producer = PRODUCER } }, WIRE_CLOSE_PROTOCOL },
	{ "a flow above all", { .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = UINT32_MAX, .address = ADDRESS, .producer = PRODUCER } },
	    WIRE_CLOSE_PROTOCOL },
	{ "no producer", { .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = 1, .address = ADDRESS } }, WIRE_CLOSE_PROTOCOL },
	{ "a long producer", { .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = 1, .address = ADDRESS,
	    .producer = NUMBERS(long_producer) } }, WIRE_CLOSE_PROTOCOL },
	{ "priority 3", { .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = 1, .address = ADDRESS, .producer = PRODUCER,
	    .priority = 3 } }, WIRE_CLOSE_PROTOCOL },
	{ "subscription 0", { .kind = WIRE_SUBSCRIBE, .u.subscribe.queue = ADDRESS }, WIRE_CLOSE_PROTOCOL },
	{ "Ack of nothing", { .kind = WIRE_ACK, .u.ack.ranges = NUMBERS(one_one) }, WIRE_CLOSE_PROTOCOL },
	{ "Ack of everything", { .kind = WIRE_ACK, .u.ack.ranges = NUMBERS(everything) }, WIRE_CLOSE_PROTOCOL },
	{ "Ack of zero", { .kind = WIRE_ACK, .u.ack.ranges = NUMBERS(zero) }, WIRE_CLOSE_PROTOCOL },
	{ "half a range", { .kind = WIRE_ACK, .u.ack.ranges = NUMBERS(three) }, WIRE_CLOSE_PROTOCOL },
	{ "a falling range", { .kind = WIRE_NACK, .u.nack.ranges = NUMBERS(falling) }, WIRE_CLOSE_PROTOCOL },
	{ "an unknown nack", { .kind = WIRE_NACK, .u.nack = { .action = 3 } }, WIRE_CLOSE_PROTOCOL },
	{ "a program's origin", { .kind = WIRE_DEFINE, .u.define = { WIRE_DEFINE_ORIGIN, 1, ADDRESS } }, WIRE_CLOSE_PROTOCOL },
	{ "id 0", { .kind = WIRE_DEFINE, .u.define = { WIRE_DEFINE_TYPE, 0, ADDRESS } }, WIRE_CLOSE_PROTOCOL },
	{ "id 1025", { .kind = WIRE_DEFINE, .u.define = { WIRE_DEFINE_TYPE, 1025, ADDRESS } }, WIRE_CLOSE_PROTOCOL },
	{ "an unknown dictionary", { .kind = WIRE_DEFINE, .u.define = { 3, 1, ADDRESS } }, WIRE_CLOSE_PROTOCOL },
	{ "a long type", { .kind = WIRE_DEFINE, .u.define = { WIRE_DEFINE_TYPE, 1, NUMBERS(long_type) } }, WIRE_CLOSE_PROTOCOL },
};

START_TEST(frames_of_programs)
{
	struct raw *r;

	begin();
	for (size_t i = 0; i < sizeof(bad_frames) / sizeof(*bad_frames); i++) {
		r = client();
		raw_frame(r, &bad_frames[i].f);
		expect_end(r, WITNESS_CLIENT, bad_frames[i].code, bad_frames[i].what);
	}
	/* Of what ended meanwhile one may still speak. */
	r = client();
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_CREDIT, .u.credit = { .subscription = 77, .messages = 1 } });
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_UNSUBSCRIBE, .u.unsubscribe.subscription = 77 });
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_PONG, .u.ping.token = 9 });
	raw_alive(r);
	raw_close(r);
	witness_none_closed(&w);
	witness_end(&w);
}
END_TEST

/* -------------------------------------------------------------- its flows */

/* Open flow `id` into the queue; type 1 is defined. */
static void
open_flow(struct raw *r, uint32_t id, const char *queue, enum wire_verdict verdict)
{
	static uint64_t producer;
	struct wire_frame f = { .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = id, .address = wire_string(queue),
		.highest_used = UINT64_MAX, .oldest_unsettled = 1 } };

	producer++;
	f.u.open_flow.producer = wire_bytes(&producer, sizeof(producer));
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_DEFINE, .u.define = { WIRE_DEFINE_TYPE, 1, wire_string("test.Raw") } });
	raw_frame(r, &f);
	raw_until(r, WIRE_FLOW_STATE);
	ck_assert_uint_eq(r->f.u.flow_state.verdict, verdict);
}

#define BODY(s) { (const uint8_t *)s, sizeof(s) - 1 }

START_TEST(transfers_of_programs)
{
	static const struct {
		const char *what;
		uint32_t flow;
		uint64_t first;
		size_t n;
		struct wire_item items[3];
		enum wire_close_code code;
	} cases[] = {
		{ "no flow", 2, 1, 1, { { .type = 1 } }, WIRE_CLOSE_PROTOCOL },
		{ "a flow far off", UINT32_MAX, 1, 1, { { .type = 1 } }, WIRE_CLOSE_PROTOCOL },
		{ "number 0", 1, 0, 1, { { .type = 1 } }, WIRE_CLOSE_PROTOCOL },
		{ "numbers that wrap", 1, UINT64_MAX, 2, { { .type = 1 }, { .type = 1 } }, WIRE_CLOSE_PROTOCOL },
		{ "a type not defined", 1, 1, 1, { { .type = 2 } }, WIRE_CLOSE_PROTOCOL },
		{ "a type that cannot be", 1, 1, 1, { { .type = UINT32_MAX } }, WIRE_CLOSE_PROTOCOL },
		{ "an offset first", 1, 1, 1, { { .type = 1, .body = BODY("abc"), .offset = 3, .total = 6 } }, WIRE_CLOSE_PROTOCOL },
		{ "an offset and no total", 1, 1, 1, { { .type = 1, .body = BODY("abc"), .offset = 3 } }, WIRE_CLOSE_PROTOCOL },
		{ "more than the total", 1, 1, 1, { { .type = 1, .body = BODY("abc"), .total = 2 } }, WIRE_CLOSE_PROTOCOL },
		{ "an offset that wraps", 1, 1, 1, { { .type = 1, .body = BODY("abc"), .offset = UINT64_MAX - 1, .total = UINT64_MAX } },
		    WIRE_CLOSE_PROTOCOL },
		{ "an empty chunk", 1, 1, 1, { { .type = 1, .total = 9 } }, WIRE_CLOSE_PROTOCOL },
		{ "another number before the end", 1, 1, 2,
		    { { .type = 1, .body = BODY("abc"), .total = 9 }, { .type = 1, .body = BODY("def") } }, WIRE_CLOSE_PROTOCOL },
	};
	const struct wire_item chunk = { .type = 1, .body = BODY("abc"), .total = 9 };
	struct wire_item next[] = { { .type = 1, .body = BODY("def"), .offset = 2, .total = 9 },
		{ .type = 1, .body = BODY("def"), .offset = 3, .total = 10 }, { .type = 1, .offset = 3, .total = 9 },
		{ .type = 1, .body = BODY("def and more than that"), .offset = 3, .total = 9 } };
	struct raw *r;

	begin();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		r = client();
		open_flow(r, 1, "inbox", WIRE_VERDICT_OK);
		raw_run(r, WIRE_TRANSFER, cases[i].flow, cases[i].first, cases[i].items, cases[i].n);
		expect_end(r, WITNESS_CLIENT, cases[i].code, cases[i].what);
	}
	for (size_t i = 0; i < sizeof(next) / sizeof(*next); i++) {
		r = client();
		open_flow(r, 1, "chunks", WIRE_VERDICT_OK);
		raw_run(r, WIRE_TRANSFER, 1, 1, &chunk, 1);
		raw_alive(r);
		raw_run(r, WIRE_TRANSFER, 1, 1, &next[i], 1);
		expect_end(r, WITNESS_CLIENT, WIRE_CLOSE_PROTOCOL, "a chunk that does not fit");
	}
	/* Of the one message that was good before the number wrapped, that is all. */
	node_await_queue(&w.paris, "inbox", queue_holds, 1);
	node_await_queue(&w.paris, "chunks", queue_holds, 0);
	witness_end(&w);
}
END_TEST

START_TEST(flows_of_programs)
{
	static const struct wire_item item = { .type = 1 };
	static const char *const addresses[] = { "", "$dead", "a/b/c", "nobody/inbox", "in box", "/inbox", "inbox/" };
	struct wire_item many[20];
	struct raw *r;

	for (size_t i = 0; i < 20; i++)
		many[i] = item;
	begin();
	/* More than the credit, in messages and in bytes. */
	r = client();
	open_flow(r, 1, "small", WIRE_VERDICT_OK);
	ck_assert_uint_lt(r->f.u.flow_state.credit_messages, 20);
	raw_run(r, WIRE_TRANSFER, 1, 1, many, 20);
	expect_end(r, WITNESS_CLIENT, WIRE_CLOSE_FLOW_CONTROL, "too many messages");
	/* The same id, the same producer, twice. */
	r = client();
	open_flow(r, 1, "inbox", WIRE_VERDICT_OK);
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = 1, .address = ADDRESS, .producer = PRODUCER } });
	expect_end(r, WITNESS_CLIENT, WIRE_CLOSE_PROTOCOL, "an id in use");
	r = client();
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = 1, .address = ADDRESS, .producer = PRODUCER } });
	raw_until(r, WIRE_FLOW_STATE);
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = 2, .address = ADDRESS, .producer = PRODUCER } });
	expect_end(r, WITNESS_CLIENT, WIRE_CLOSE_PROTOCOL, "a producer twice");
	/* Resume and Abort where there is nothing to resume or to give up. */
	r = client();
	open_flow(r, 1, "inbox", WIRE_VERDICT_OK);
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_RESUME, .u.resume = { 1, 5 } });
	expect_end(r, WITNESS_CLIENT, WIRE_CLOSE_PROTOCOL, "Resume without Reject");
	r = client();
	open_flow(r, 1, "inbox", WIRE_VERDICT_OK);
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_ABORT, .u.abort = { 1, 5 } });
	expect_end(r, WITNESS_CLIENT, WIRE_CLOSE_PROTOCOL, "Abort without a body");
	/* Where it can never go it is told so, and the session goes on. */
	r = client();
	for (uint32_t i = 0; i < sizeof(addresses) / sizeof(*addresses); i++) {
		raw_frame(r, &(struct wire_frame){ .kind = WIRE_OPEN_FLOW,
		    .u.open_flow = { .flow = i + 1, .address = wire_string(addresses[i]), .producer = PRODUCER } });
		raw_until(r, WIRE_FLOW_STATE);
		ck_assert_msg(r->f.u.flow_state.verdict != WIRE_VERDICT_OK, "%s is an address", addresses[i]);
	}
	raw_run(r, WIRE_TRANSFER, 1, 1, &item, 1);
	expect_end(r, WITNESS_CLIENT, WIRE_CLOSE_PROTOCOL, "a transfer on a refused flow");
	witness_end(&w);
}
END_TEST

START_TEST(subscriptions_of_programs)
{
	const struct wire_frame subscribe = { .kind = WIRE_SUBSCRIBE, .u.subscribe = { .subscription = 1, .queue = ADDRESS,
		.credit_messages = 10, .credit_bytes = 1000 } };
	const struct wire_item item = { .type = 1, .body = BODY("abc") };
	struct raw *r;

	begin();
	r = client();
	raw_frame(r, &subscribe);
	raw_until(r, WIRE_SUBSCRIBED);
	raw_frame(r, &subscribe);
	expect_end(r, WITNESS_CLIENT, WIRE_CLOSE_PROTOCOL, "a subscription twice");
	r = client();
	raw_frame(r, &subscribe);
	raw_until(r, WIRE_SUBSCRIBED);
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_CREDIT, .u.credit = { .subscription = 1, .messages = 9, .bytes = 1000 } });
	expect_end(r, WITNESS_CLIENT, WIRE_CLOSE_PROTOCOL, "credit that falls");
	/* One ack is good, the second one of the same is not; the message is gone by the first. */
	r = client();
	raw_frame(r, &subscribe);
	raw_until(r, WIRE_SUBSCRIBED);
	open_flow(r, 1, "inbox", WIRE_VERDICT_OK);
	raw_run(r, WIRE_TRANSFER, 1, 1, &item, 1);
	raw_until(r, WIRE_DELIVER);
	ck_assert_uint_eq(r->f.u.run.first, 1);
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_ACK, .u.ack.ranges = NUMBERS(one_one) });
	raw_alive(r);
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_ACK, .u.ack.ranges = NUMBERS(one_one) });
	expect_end(r, WITNESS_CLIENT, WIRE_CLOSE_PROTOCOL, "an ack twice");
	node_await_queue(&w.paris, "inbox", queue_consumed, 1);
	/* A consumer that takes no dictionary cannot be told types; its message stays. */
	r = raw_client(&w.paris);
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_HELLO, .u.hello = { .magic = WIRE_MAGIC, .version_min = 1, .version_max = 1,
	    .role = WIRE_ROLE_CLIENT } });
	raw_until(r, WIRE_HELLO);
	raw_frame(r, &subscribe);
	raw_until(r, WIRE_SUBSCRIBED);
	open_flow(r, 1, "inbox", WIRE_VERDICT_OK);
	raw_run(r, WIRE_TRANSFER, 1, 1, &item, 1);
	expect_end(r, WITNESS_CLIENT, WIRE_CLOSE_UNSUPPORTED, "no dictionary");
	node_await_queue(&w.paris, "inbox", queue_holds, 1);
	witness_end(&w);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("garbage");
	TCase *tc = tcase_create("garbage");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, first_bytes);
	tcase_add_test(tc, random_bytes);
	tcase_add_test(tc, hellos_of_programs);
	tcase_add_test(tc, hellos_of_strangers);
	tcase_add_test(tc, payloads_of_programs);
	tcase_add_test(tc, frames_of_programs);
	tcase_add_test(tc, transfers_of_programs);
	tcase_add_test(tc, flows_of_programs);
	tcase_add_test(tc, subscriptions_of_programs);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
