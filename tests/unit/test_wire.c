/*
 * wire: packing, unpacking and checking frames. For runs see test_wire_run, for
 * protobuf-c's opinion test_wire_differential.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define B(text) { (const uint8_t *)(text), sizeof(text) - 1 }

/* Ranges 1-5, 300-100000. */
#define RANGES B("\x01\x05\xac\x02\xa0\x8d\x06")

static const struct wire_frame full[] = {
	{ WIRE_HELLO, .u.hello = { WIRE_MAGIC, 1, 300, 1ull << 63, WIRE_ROLE_DAEMON, B("berlin"), B("paris"),
	    B("0123456789abcdef"), 77, 0x1122334455667788, 5, B("connectd 1"), { 1ull << 40, 8, 9, 1024, 1 << 20 }, 60000, 4,
	    true, 1795478400000 } },
	{ WIRE_KNOWN, .u.known = { 16777215, 0xffffffffffffffff } },
	{ WIRE_ACCEPT, .u.accept = { 3 } },
	{ WIRE_PING, .u.ping = { 128 } },
	{ WIRE_PONG, .u.ping = { 0xffffffffffffffff } },
	{ WIRE_DRAIN, .u.ping = { 0 } },
	{ WIRE_CLOSE, .u.close = { WIRE_CLOSE_INTERNAL, B("why") } },
	{ WIRE_OPEN_FLOW, .u.open_flow = { 1, B("paris/orders"), WIRE_PRIORITY_LOW, B("producer"), true, 2, 3, 4, 5, 6, 7 } },
	{ WIRE_FLOW_STATE, .u.flow_state = { 1, WIRE_VERDICT_LIMIT, B("full"), 2, 3, 4, true, 5, 6, 7, 8, WIRE_LEVEL_DROPPED,
	    RANGES } },
	{ WIRE_SETTLED, .u.settled = { 1, 2, true } },
	{ WIRE_CONFIRM, .u.confirm = { 1, 2, WIRE_LEVEL_ARRIVED } },
	{ WIRE_REJECT, .u.reject = { 1, 2, WIRE_REJECT_FULL, B("no") } },
	{ WIRE_RESUME, .u.resume = { 1, 2 } },
	{ WIRE_ABORT, .u.abort = { 1, 2 } },
	{ WIRE_PROGRESS, .u.progress = { 1, WIRE_LEVEL_DEAD, RANGES, WIRE_REJECT_DENIED, B("no") } },
	{ WIRE_SUBSCRIBE, .u.subscribe = { 1, B("orders"), 2, 3, true, B("a\0b") } },
	{ WIRE_SUBSCRIBED, .u.subscribed = { 1, WIRE_VERDICT_DENIED, B("no"), true } },
	{ WIRE_ACK, .u.ack = { RANGES } },
	{ WIRE_NACK, .u.nack = { RANGES, WIRE_NACK_DEAD, 2, B("no") } },
	{ WIRE_UNSUBSCRIBE, .u.unsubscribe = { 1, WIRE_VERDICT_NO_QUEUE, B("gone") } },
	{ WIRE_CREDIT, .u.credit = { .subscription = 9, .messages = 1, .bytes = 2, .number = 3 } },
	{ WIRE_DEFINE, .u.define = { WIRE_DEFINE_ORIGIN, 1024, B("value") } },
	{ WIRE_ADMIN_REQUEST, .u.admin_request = { 1, WIRE_ADMIN_PURGE, B("orders"), 2, true, B("more"), 3, true } },
	{ WIRE_ADMIN_RESPONSE, .u.admin_response = { 1, true, -13, B("no"), B("records") } },
};

/* Pack into a buffer of exactly the size promised; the payload is what follows the length. */
static uint8_t *
pack(const struct wire_frame *f, const uint8_t **ret_payload, size_t *ret_len)
{
	size_t size = wire_size(f), header = 1, len;
	uint8_t *buf = malloc(size);

	ck_assert_uint_eq(wire_pack(f, buf), size);
	len = buf[0] & 0x7f;
	if (buf[0] & 0x80) {
		len |= (size_t)buf[1] << 7;
		header++;
	}
	ck_assert_uint_eq(header + len, size);
	*ret_payload = buf + header;
	*ret_len = len;
	return buf;
}

/* Unpack from an allocation of exactly that length, so that a sanitizer sees each byte read too many. */
static int
unpack(const void *data, size_t len, struct wire_frame *ret)
{
	uint8_t *copy = malloc(len);
	int r;

	memcpy(copy, data, len);
	r = wire_unpack(copy, len, ret);
	free(copy);
	return r;
}

#define UNPACK(text, ret) unpack(text, sizeof(text) - 1, ret)

static bool
same_bytes(struct wire_bytes a, const char *b)
{
	return wire_bytes_equal(a, wire_string(b));
}

START_TEST(every_kind_comes_back)
{
	for (size_t i = 0; i < N(full); i++) {
		const uint8_t *payload, *again;
		size_t len, again_len;
		uint8_t *a = pack(&full[i], &payload, &len), *b;
		struct wire_frame f;

		ck_assert_int_eq(wire_unpack(payload, len, &f), 0);
		ck_assert_int_eq(f.kind, full[i].kind);
		b = pack(&f, &again, &again_len);
		ck_assert_uint_eq(again_len, len);
		ck_assert_mem_eq(again, payload, len);
		free(a);
		free(b);
	}
}
END_TEST

START_TEST(defaults_take_no_bytes)
{
	for (size_t i = 0; i < N(full); i++) {
		struct wire_frame f = { .kind = full[i].kind };
		const uint8_t *payload;
		size_t len;
		uint8_t *buf = pack(&f, &payload, &len);

		ck_assert_uint_eq(len, f.kind < 16 ? 2 : 3); /* a key, and the length 0 */
		memset(&f, 0xff, sizeof(f));
		ck_assert_int_eq(wire_unpack(payload, len, &f), 0);
		ck_assert_int_eq(f.kind, full[i].kind);
		free(buf);
		buf = pack(&f, &payload, &len);
		ck_assert_uint_eq(len, f.kind < 16 ? 2 : 3);
		free(buf);
	}
}
END_TEST

START_TEST(values_land_where_they_belong)
{
	const uint8_t *payload;
	size_t len;
	struct wire_frame f;
	uint8_t *buf = pack(&full[0], &payload, &len);

	ck_assert_int_eq(wire_unpack(payload, len, &f), 0);
	ck_assert_uint_eq(f.u.hello.magic, WIRE_MAGIC);
	ck_assert_uint_eq(f.u.hello.version_min, 1);
	ck_assert_uint_eq(f.u.hello.version_max, 300);
	ck_assert_uint_eq(f.u.hello.features, 1ull << 63);
	ck_assert_uint_eq(f.u.hello.role, WIRE_ROLE_DAEMON);
	ck_assert(same_bytes(f.u.hello.name, "berlin"));
	ck_assert(same_bytes(f.u.hello.dialled, "paris"));
	ck_assert(same_bytes(f.u.hello.store_id, "0123456789abcdef"));
	ck_assert_uint_eq(f.u.hello.limits.max_message, 1ull << 40);
	ck_assert_uint_eq(f.u.hello.limits.window, 1 << 20);
	ck_assert(f.u.hello.held_dialled_by_me);
	ck_assert_uint_eq(f.u.hello.wall_clock_ms, 1795478400000);
	/* Results point into the frame. */
	ck_assert(f.u.hello.name.data > payload && f.u.hello.name.data < payload + len);
	free(buf);

	/* The bytes of the specification, by hand. */
	ck_assert_int_eq(UNPACK("\x3a\x05\x08\x05\x12\x01!", &f), 0);
	ck_assert_int_eq(f.kind, WIRE_CLOSE);
	ck_assert_uint_eq(f.u.close.code, WIRE_CLOSE_FLOW_CONTROL);
	ck_assert_uint_eq(f.u.close.reason.len, 1);
	ck_assert_int_eq(UNPACK("\xca\x02\x0b\x18\xf3\xff\xff\xff\xff\xff\xff\xff\xff\x01", &f), 0);
	ck_assert_int_eq(f.u.admin_response.error, -13);
}
END_TEST

START_TEST(every_cut_is_noticed)
{
	for (size_t i = 0; i < N(full); i++) {
		const uint8_t *payload;
		size_t len;
		uint8_t *buf = pack(&full[i], &payload, &len);
		struct wire_frame f = { .kind = WIRE_NONE };
		size_t head = payload[0] & 0x80 ? 2 : 1, inner = len - head - 1;

		for (size_t n = 1; n < len; n++)
			ck_assert_int_eq(unpack(payload, n, &f), -EBADMSG);
		ck_assert_int_eq(f.kind, WIRE_NONE);

		/* Cut inside, with a length that agrees: never a byte too far. */
		for (size_t n = 0; len < 128 && n < inner; n++) {
			uint8_t *cut = malloc(head + 1 + n);
			int r;

			memcpy(cut, payload, head + 1 + n);
			cut[head] = (uint8_t)n;
			r = wire_unpack(cut, head + 1 + n, &f);
			ck_assert(r == 0 || r == -EBADMSG);
			free(cut);
		}
		free(buf);
	}
}
END_TEST

START_TEST(unknown_fields_are_skipped)
{
	struct wire_frame f;

	/* Settled: flow 7, then unknown fields of each wire type, then number 9. */
	ck_assert_int_eq(UNPACK("\x62\x1e\x08\x07\x78\xff\xff\x7f\x79" "12345678" "\x7a\x03" "abc" "\x7d" "1234" "\xa2\x06\x00"
				"\x10\x09", &f), 0);
	ck_assert_uint_eq(f.u.settled.flow, 7);
	ck_assert_uint_eq(f.u.settled.number, 9);

	ck_assert_int_eq(UNPACK("\x62\x02\x7b\x7c", &f), -EBADMSG); /* a group */
	ck_assert_int_eq(UNPACK("\x62\x01\x7e", &f), -EBADMSG);     /* no wire type */
	ck_assert_int_eq(UNPACK("\x62\x02\x00\x01", &f), -EBADMSG); /* field number 0 */
	ck_assert_int_eq(UNPACK("\x62\x06\xff\xff\xff\xff\x1f\x01", &f), -EBADMSG); /* above 2^29 - 1 */
	ck_assert_int_eq(UNPACK("\x62\x02\x79\x01", &f), -EBADMSG); /* short of 8 bytes */
	ck_assert_int_eq(UNPACK("\x62\x02\x7d\x01", &f), -EBADMSG); /* short of 4 bytes */
	ck_assert_int_eq(UNPACK("\x62\x02\x09\x01", &f), -EBADMSG); /* flow is no fixed64 */
	ck_assert_int_eq(UNPACK("\x62\x03\x1a\x01\x01", &f), -EBADMSG); /* close is no string */
	ck_assert_int_eq(UNPACK("\x60\x01", &f), -EBADMSG);         /* Settled is no number */
}
END_TEST

START_TEST(unknown_kinds)
{
	struct wire_frame f = { .kind = WIRE_PING };

	ck_assert_int_eq(UNPACK("\x42\x00", &f), -EOPNOTSUPP);             /* 8 */
	ck_assert_int_eq(UNPACK("\x9a\x06\x01x", &f), -EOPNOTSUPP);        /* 99 */
	ck_assert_int_eq(UNPACK("\x98\x06\x01", &f), -EOPNOTSUPP);         /* whatever it holds */
	ck_assert_int_eq(UNPACK("\x42\x00\x22\x00", &f), -EOPNOTSUPP);     /* beside a known one */
	ck_assert_int_eq(UNPACK("\x22\x00\x42\x00", &f), -EOPNOTSUPP);
	ck_assert_int_eq(UNPACK("\x42\x00\x22", &f), -EBADMSG);
	ck_assert_int_eq(UNPACK("\x42\x02\x00", &f), -EBADMSG);
	ck_assert_int_eq(f.kind, WIRE_PING);
	ck_assert_int_eq(UNPACK("\xa2\x06\x01x", &f), 0);                  /* 100 */
	ck_assert_int_eq(f.kind, WIRE_NONE);
	ck_assert_int_eq(UNPACK("\xa2\x06\x01x\x2a\x02\x08\x05", &f), 0);  /* beside a known one */
	ck_assert_int_eq(f.kind, WIRE_PONG);
	ck_assert_uint_eq(f.u.ping.token, 5);
	ck_assert_int_eq(wire_unpack(NULL, 0, &f), 0);
	ck_assert_int_eq(f.kind, WIRE_NONE);
}
END_TEST

START_TEST(the_last_one_counts)
{
	struct wire_frame f;

	ck_assert_int_eq(UNPACK("\x62\x06\x08\x01\x10\x02\x08\x03", &f), 0); /* a field twice */
	ck_assert_uint_eq(f.u.settled.flow, 3);
	ck_assert_uint_eq(f.u.settled.number, 2);
	ck_assert_int_eq(UNPACK("\x3a\x05\x12\x01!\x12\x00", &f), 0); /* the last one empty */
	ck_assert_uint_eq(f.u.close.reason.len, 0);

	/* Of several kinds nothing is left but the last; a kind twice is not merged. */
	ck_assert_int_eq(UNPACK("\x62\x04\x08\x01\x10\x02\x62\x02\x08\x03", &f), 0);
	ck_assert_uint_eq(f.u.settled.flow, 3);
	ck_assert_uint_eq(f.u.settled.number, 0);
	ck_assert_int_eq(UNPACK("\x62\x04\x08\x01\x10\x02\x22\x00", &f), 0);
	ck_assert_int_eq(f.kind, WIRE_PING);
	ck_assert_uint_eq(f.u.ping.token, 0);
	ck_assert_int_eq(UNPACK("\x62\x01\x08\x22\x00", &f), -EBADMSG); /* but each must be well-formed */

	/* Hello.limits twice: merged. */
	ck_assert_int_eq(UNPACK("\x0a\x0a\x6a\x02\x08\x05\x6a\x04\x10\x06\x28\x07", &f), 0);
	ck_assert_uint_eq(f.u.hello.limits.max_message, 5);
	ck_assert_uint_eq(f.u.hello.limits.max_flows, 6);
	ck_assert_uint_eq(f.u.hello.limits.window, 7);

	/* Credit: one scope. */
	ck_assert_int_eq(UNPACK("\xf2\x01\x08\x08\x05\x20\x01\x10\x06\x28\x02", &f), 0);
	ck_assert_uint_eq(f.u.credit.flow, 0);
	ck_assert_uint_eq(f.u.credit.subscription, 6);
	ck_assert_uint_eq(f.u.credit.messages, 1);
	ck_assert_uint_eq(f.u.credit.bytes, 2);
	ck_assert_int_eq(UNPACK("\xf2\x01\x04\x18\x01\x08\x05", &f), 0);
	ck_assert(!f.u.credit.session);
	ck_assert_uint_eq(f.u.credit.flow, 5);
}
END_TEST

START_TEST(odd_varints)
{
	struct wire_frame f;

	/* 2^64 - 1 into 64 and into 32 bits. */
	ck_assert_int_eq(UNPACK("\x62\x16\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
				"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", &f), 0);
	ck_assert_uint_eq(f.u.settled.flow, UINT32_MAX);
	ck_assert_uint_eq(f.u.settled.number, UINT64_MAX);
	/* Longer than need be, and with bits beyond the 64th. */
	ck_assert_int_eq(UNPACK("\x22\x05\x08\x81\x80\x80\x00", &f), 0);
	ck_assert_uint_eq(f.u.ping.token, 1);
	ck_assert_int_eq(UNPACK("\x22\x0b\x08\x81\x80\x80\x80\x80\x80\x80\x80\x80\x7e", &f), 0);
	ck_assert_uint_eq(f.u.ping.token, 1);
	ck_assert_int_eq(UNPACK("\x22\x0c\x08\x81\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", &f), -EBADMSG);
	/* A bool is true by any bit. */
	ck_assert_int_eq(UNPACK("\x62\x03\x18\x80\x00", &f), 0);
	ck_assert(!f.u.settled.close);
	ck_assert_int_eq(UNPACK("\x62\x03\x18\x80\x02", &f), 0);
	ck_assert(f.u.settled.close);
	ck_assert_int_eq(UNPACK("\x62\x0b\x18\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", &f), 0);
	ck_assert(f.u.settled.close);
	/* A key and a length may be long too, but not above 5 bytes. */
	ck_assert_int_eq(UNPACK("\xa2\x80\x80\x80\x00\x82\x80\x80\x80\x00\x08\x05", &f), 0);
	ck_assert_uint_eq(f.u.ping.token, 5);
	ck_assert_int_eq(UNPACK("\xa2\x80\x80\x80\x80\x00\x02\x08\x05", &f), -EBADMSG);
	ck_assert_int_eq(UNPACK("\x22\x82\x80\x80\x80\x80\x00\x08\x05", &f), -EBADMSG);
	ck_assert_int_eq(UNPACK("\x22\xff\xff\xff\xff\x0f\x08\x05", &f), -EBADMSG);
	ck_assert_int_eq(UNPACK("\x22\x82\x80\x80\x80\x10\x08\x05", &f), -EBADMSG);
}
END_TEST

START_TEST(packed_fields_lie_in_one_piece)
{
	struct wire_frame f;
	struct wire_numbers n;
	uint64_t v;

	ck_assert_int_eq(UNPACK("\xba\x01\x05\x0a\x03\x01\xac\x02", &f), 0);
	n = f.u.ack.ranges;
	f.kind = WIRE_NONE;
	ck_assert_uint_eq(n.len, 3);
	ck_assert_int_eq(UNPACK("\xba\x01\x07\x0a\x00\x0a\x01\x05\x0a\x00", &f), 0); /* empty ones add nothing */
	ck_assert_uint_eq(f.u.ack.ranges.len, 1);
	ck_assert_int_eq(UNPACK("\xba\x01\x06\x0a\x01\x05\x0a\x01\x06", &f), -EBADMSG); /* two pieces */
	ck_assert_int_eq(UNPACK("\xba\x01\x02\x08\x05", &f), -EBADMSG);                 /* not packed */
	ck_assert_int_eq(UNPACK("\xba\x01\x03\x0a\x01\x85", &f), -EBADMSG);             /* cut */
	ck_assert_int_eq(UNPACK("\xba\x01\x0d\x0a\x0b\x85\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", &f), -EBADMSG);
	ck_assert_int_eq(UNPACK("\xba\x01\x0c\x0a\x0a\x85\x80\x80\x80\x80\x80\x80\x80\x80\x00", &f), 0);

	n = (struct wire_numbers)B("\x01\xac\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
	ck_assert(wire_number_next(&n, &v) && v == 1);
	ck_assert(wire_number_next(&n, &v) && v == 300);
	ck_assert(wire_number_next(&n, &v) && v == UINT64_MAX);
	ck_assert(!wire_number_next(&n, &v));
	n = (struct wire_numbers){ NULL, 0 };
	ck_assert(!wire_number_next(&n, &v));
}
END_TEST

START_TEST(ranges)
{
	struct wire_numbers n = RANGES;
	uint64_t first = 0, last = 0;
	uint8_t buf[40];
	size_t len = 0;

	ck_assert_int_eq(wire_range_next(&n, &first, &last), 1);
	ck_assert(first == 1 && last == 5);
	ck_assert_int_eq(wire_range_next(&n, &first, &last), 1);
	ck_assert(first == 300 && last == 100000);
	ck_assert_int_eq(wire_range_next(&n, &first, &last), 0);

	n = (struct wire_numbers)B("\x07\x07\x09"); /* odd */
	ck_assert_int_eq(wire_range_next(&n, &first, &last), 1);
	ck_assert(first == 7 && last == 7);
	ck_assert_int_eq(wire_range_next(&n, &first, &last), -EBADMSG);
	n = (struct wire_numbers)B("\x08\x07"); /* backwards */
	ck_assert_int_eq(wire_range_next(&n, &first, &last), -EBADMSG);

	len += wire_put_number(buf + len, 0);
	len += wire_put_number(buf + len, UINT64_MAX);
	ck_assert_uint_eq(len, 11);
	n = (struct wire_numbers){ buf, len };
	ck_assert_int_eq(wire_range_next(&n, &first, &last), 1);
	ck_assert(first == 0 && last == UINT64_MAX);
}
END_TEST

/* A frame of the kind whose key is `head`, filled up with an unknown field to a payload of `total` bytes. */
static size_t
padded(uint8_t *buf, const char *head, size_t total)
{
	size_t n = strlen(head), inner = total - n - 3;

	/* Lengths take three bytes each. */
	memcpy(buf, head, n);
	buf[n] = (uint8_t)(inner | 0x80);
	buf[n + 1] = (uint8_t)(inner >> 7 | 0x80);
	buf[n + 2] = (uint8_t)(inner >> 14);
	inner -= 4;
	buf[n + 3] = 0x7a; /* field 15, unknown to all but Hello */
	buf[n + 4] = (uint8_t)(inner | 0x80);
	buf[n + 5] = (uint8_t)(inner >> 7 | 0x80);
	buf[n + 6] = (uint8_t)(inner >> 14);
	memset(buf + n + 7, 0, inner);
	return total;
}

START_TEST(bounds)
{
	uint8_t *buf = malloc(WIRE_FRAME_MAX + 1);
	struct wire_frame f;

	ck_assert_int_eq(wire_unpack(buf, padded(buf, "\x62", WIRE_CONTROL_MAX), &f), 0);
	ck_assert_int_eq(wire_unpack(buf, padded(buf, "\x62", WIRE_CONTROL_MAX + 1), &f), -EMSGSIZE);
	ck_assert_int_eq(wire_unpack(buf, padded(buf, "\xa2\x06", WIRE_CONTROL_MAX), &f), 0);
	ck_assert_int_eq(wire_unpack(buf, padded(buf, "\xa2\x06", WIRE_CONTROL_MAX + 1), &f), -EMSGSIZE);
	ck_assert_int_eq(wire_unpack(buf, padded(buf, "\x6a", WIRE_FRAME_MAX), &f), 0);
	ck_assert_int_eq(wire_unpack(buf, padded(buf, "\x6a", WIRE_FRAME_MAX + 1), &f), -EMSGSIZE);
	ck_assert_int_eq(wire_unpack(buf, padded(buf, "\xb2\x01", WIRE_FRAME_MAX), &f), 0);
	free(buf);
}
END_TEST

/* -------------------------------------------------------- the contents -- */

START_TEST(contents_come_back)
{
	struct wire_origin o = { B("berlin"), 1000, B("shop.service"), B("shop"), WIRE_PROOF_TLS, 99 }, o2;
	struct wire_packed p = { B("id"), B("replies"), B("headers") }, p2;
	struct wire_header h = { B("name"), B("value") }, h2;
	uint8_t *buf = malloc(wire_size_origin(&o));
	size_t n = wire_pack_origin(&o, buf);

	ck_assert_uint_eq(n, wire_size_origin(&o));
	ck_assert_int_eq(wire_unpack_origin(wire_bytes(buf, n), &o2), 0);
	ck_assert(same_bytes(o2.node, "berlin") && same_bytes(o2.unit, "shop.service") && same_bytes(o2.application, "shop"));
	ck_assert(o2.uid == 1000 && o2.proof == WIRE_PROOF_TLS && o2.boot_id == 99);
	ck_assert_int_eq(wire_unpack_origin(wire_bytes(buf, n - 1), &o2), -EBADMSG);
	free(buf);

	buf = malloc(wire_size_packed(&p));
	n = wire_pack_packed(&p, buf);
	ck_assert_uint_eq(n, wire_size_packed(&p));
	ck_assert_int_eq(wire_unpack_packed(wire_bytes(buf, n), &p2), 0);
	ck_assert(same_bytes(p2.correlation_id, "id") && same_bytes(p2.reply_to, "replies") && same_bytes(p2.headers, "headers"));
	ck_assert_int_eq(wire_unpack_packed(wire_bytes(buf, n - 1), &p2), -EBADMSG);
	free(buf);

	buf = malloc(wire_size_header(&h));
	n = wire_pack_header(&h, buf);
	ck_assert_uint_eq(n, wire_size_header(&h));
	ck_assert_uint_eq(buf[0], n - 1);
	ck_assert_int_eq(wire_unpack_header(wire_bytes(buf + 1, n - 1), &h2), 0);
	ck_assert(same_bytes(h2.name, "name") && same_bytes(h2.value, "value"));
	ck_assert_int_eq(wire_unpack_header(wire_bytes(buf + 1, n - 2), &h2), -EBADMSG);
	free(buf);

	ck_assert_int_eq(wire_unpack_origin(wire_bytes(NULL, 0), &o2), 0);
	ck_assert(o2.node.len == 0 && o2.uid == 0 && o2.boot_id == 0);
}
END_TEST

START_TEST(helpers_and_names)
{
	ck_assert_uint_eq(wire_string(NULL).len, 0);
	ck_assert(wire_bytes_equal(wire_string("abc"), wire_bytes("abcd", 3)));
	ck_assert(!wire_bytes_equal(wire_string("abc"), wire_string("abd")));
	ck_assert(!wire_bytes_equal(wire_string("abc"), wire_string("abcd")));
	ck_assert(wire_bytes_equal(wire_string(NULL), wire_string("")));

	ck_assert_str_eq(wire_kind_name(WIRE_OPEN_FLOW), "open-flow");
	ck_assert_str_eq(wire_kind_name(WIRE_NONE), "none");
	ck_assert_str_eq(wire_kind_name((enum wire_kind)8), "unknown");
	ck_assert_str_eq(wire_kind_name((enum wire_kind)1000), "unknown");
	ck_assert_str_eq(wire_close_name(WIRE_CLOSE_STATE_CONFLICT), "state-conflict");
	ck_assert_str_eq(wire_close_name(WIRE_CLOSE_CODES), "unknown");
	ck_assert_str_eq(wire_close_name(UINT32_MAX), "unknown");
	ck_assert_str_eq(wire_level_name(WIRE_LEVEL_ARRIVED), "arrived");
	ck_assert_str_eq(wire_level_name(5), "unknown");
	ck_assert_str_eq(wire_verdict_name(WIRE_VERDICT_LIMIT), "limit");
	ck_assert_str_eq(wire_reject_name(WIRE_REJECT_UNKNOWN), "unknown");
	ck_assert_str_eq(wire_reject_name(WIRE_REJECT_BAD_ITEM), "bad-item");
	ck_assert_str_eq(wire_priority_name(WIRE_PRIORITY_HIGH), "high");
	ck_assert_str_eq(wire_proof_name(WIRE_PROOF_PLAINTEXT), "plaintext");
	for (uint32_t i = 0; i < WIRE_CLOSE_CODES; i++)
		ck_assert_str_ne(wire_close_name(i), "unknown");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("wire");
	TCase *t = tcase_create("wire");
	SRunner *sr;
	int failed;

	tcase_add_test(t, every_kind_comes_back);
	tcase_add_test(t, defaults_take_no_bytes);
	tcase_add_test(t, values_land_where_they_belong);
	tcase_add_test(t, every_cut_is_noticed);
	tcase_add_test(t, unknown_fields_are_skipped);
	tcase_add_test(t, unknown_kinds);
	tcase_add_test(t, the_last_one_counts);
	tcase_add_test(t, odd_varints);
	tcase_add_test(t, packed_fields_lie_in_one_piece);
	tcase_add_test(t, ranges);
	tcase_add_test(t, bounds);
	tcase_add_test(t, contents_come_back);
	tcase_add_test(t, helpers_and_names);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
