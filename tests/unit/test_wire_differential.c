/*
 * wire against protobuf-c, generated from the same connectd.proto: frames
 * packed by one are unpacked by the other to equal values, and both give the
 * same verdict on damaged and on odd ones, but for the differences that wire.h
 * names.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "connectd.pb-c.h"
#include "wire.h"
#include "wire_reference.h"

#define CASES 60000 /* of each test, unless WIRE_CASES in the environment says otherwise */

/* ---------------------------------------------------------- generating -- */

static ProtobufCMessage *random_message(const ProtobufCMessageDescriptor *d);

static void
random_field(const ProtobufCFieldDescriptor *f, ProtobufCMessage *msg)
{
	size_t n = below(8) == 0 ? below(300) : below(20);
	void *p = AT(char, msg, f->offset);

	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		*AT(uint32_t, msg, f->quantifier_offset) = f->id;
	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		uint64_t *array = calloc(n + 1, sizeof(uint64_t));

		*AT(size_t, msg, f->quantifier_offset) = n;
		*(void **)p = array;
		for (size_t i = 0; i < n; i++) {
			if (f->type == PROTOBUF_C_TYPE_MESSAGE)
				AT(ProtobufCMessage *, array, 0)[i] = random_message(f->descriptor);
			else if (f->type == PROTOBUF_C_TYPE_UINT32)
				AT(uint32_t, array, 0)[i] = (uint32_t)number();
			else
				array[i] = number();
		}
		return;
	}
	switch (f->type) {
	case PROTOBUF_C_TYPE_BOOL:
		*AT(protobuf_c_boolean, p, 0) = (protobuf_c_boolean)below(2);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		*AT(uint64_t, p, 0) = number();
		break;
	case PROTOBUF_C_TYPE_BYTES:
		*AT(ProtobufCBinaryData, p, 0) = (ProtobufCBinaryData){ n, n > 0 ? calloc(1, n) : NULL };
		for (size_t i = 0; i < n; i++)
			AT(ProtobufCBinaryData, p, 0)->data[i] = (uint8_t)rnd();
		break;
	case PROTOBUF_C_TYPE_STRING:
		*(char **)p = calloc(1, n + 1);
		for (size_t i = 0; i < n; i++)
			(*(char **)p)[i] = (char)('a' + below(26));
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		*(ProtobufCMessage **)p = random_message(f->descriptor);
		break;
	default:
		*AT(uint32_t, p, 0) = (uint32_t)number();
	}
}

static ProtobufCMessage *
random_message(const ProtobufCMessageDescriptor *d)
{
	ProtobufCMessage *msg = calloc(1, d->sizeof_message);

	d->message_init(msg);
	if (d == FRAME) {
		random_field(&d->fields[below(d->n_fields)], msg);
		return msg;
	}
	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];

		if (below(3) > 0 && !((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && READ(uint32_t, msg, f->quantifier_offset) != 0))
			random_field(f, msg);
	}
	return msg;
}

static size_t
pack_random_frame(uint8_t *buf)
{
	ProtobufCMessage *msg = random_message(FRAME);
	size_t n = protobuf_c_message_get_packed_size(msg);

	require(n <= BUFFER, "a frame too large for this test");
	protobuf_c_message_pack(msg, buf);
	protobuf_c_message_free_unpacked(msg, NULL);
	return n;
}

/* Pack as wire does, without the length in front, which must be right. */
static size_t
wire_repack(const struct wire_frame *f, uint8_t *buf)
{
	uint8_t *p = buf;
	size_t len = 0, head = 0;

	if (f->kind == WIRE_TRANSFER || f->kind == WIRE_DELIVER) {
		struct wire_bytes walk = f->u.run.items;
		struct wire_item item;
		size_t sum = 0;

		while (wire_item_next(&walk, &item))
			sum += wire_item_size(&item);
		p += wire_put_run(f->kind, f->u.run.id, f->u.run.first, sum, p);
		for (walk = f->u.run.items; wire_item_next(&walk, &item);) {
			p += wire_put_item(&item, p);
			if (item.body.len > 0)
				memcpy(p, item.body.data, item.body.len);
			p += item.body.len;
		}
	} else {
		require(wire_size(f) <= BUFFER, "a frame too large for this test");
		p += wire_pack(f, p);
		require((size_t)(p - buf) == wire_size(f), "wire_size is no size");
	}
	do
		len |= (size_t)(buf[head] & 0x7f) << 7 * head;
	while (buf[head++] & 0x80);
	require(len == (size_t)(p - buf) - head, "the length in front is wrong");
	memmove(buf, buf + head, len);
	return len;
}

static uint64_t
n_cases(void)
{
	const char *n = getenv("WIRE_CASES");

	return n ? strtoull(n, NULL, 10) : CASES;
}

START_TEST(frames_of_either_are_read_by_the_other)
{
	uint8_t *buf = malloc(BUFFER), *again = malloc(BUFFER + 64);

	for (uint64_t i = 0; i < n_cases(); i++) {
		struct wire_frame f;
		ProtobufCMessage *msg;
		size_t len, again_len;

		start(i);
		shown = buf;
		shown_len = len = pack_random_frame(buf);
		require(wire_unpack(buf, len, &f) == 0, "protobuf-c's is refused");
		msg = protobuf_c_message_unpack(FRAME, NULL, len, buf);
		compare_frame(msg, &f);
		protobuf_c_message_free_unpacked(msg, NULL);

		again_len = wire_repack(&f, again);
		/* The same bytes even, but for bodies being last and empty limits left out. */
		if (f.kind != WIRE_TRANSFER && f.kind != WIRE_DELIVER && f.kind != WIRE_HELLO && f.kind != WIRE_CREDIT)
			require(again_len == len && memcmp(again, buf, len) == 0, "packed otherwise");
		msg = protobuf_c_message_unpack(FRAME, NULL, again_len, again);
		require(msg != NULL, "wire's is refused");
		/* A scope of Credit that is 0 is none here. */
		if (f.kind == WIRE_CREDIT)
			require(again_len <= len, "packed otherwise");
		compare_frame(msg, &f);
		protobuf_c_message_free_unpacked(msg, NULL);
	}
	free(buf);
	free(again);
}
END_TEST

/* What is inside other frames' bytes: unpacked and packed by functions of their own. */
START_TEST(contents)
{
	uint8_t buf[4096], again[4096];

	for (uint64_t i = 0; i < n_cases(); i++) {
		static const ProtobufCMessageDescriptor *const kinds[] = { &connectd__v1__origin__descriptor,
			&connectd__v1__packed__descriptor, &connectd__v1__header__descriptor };
		const ProtobufCMessageDescriptor *d = kinds[i % N(kinds)];
		union {
			struct wire_origin origin;
			struct wire_packed packed;
			struct wire_header header;
		} u;
		ProtobufCMessage *msg;
		size_t len, n, head = 0;
		int r;

		start(i);
		msg = random_message(d);
		shown = buf;
		shown_len = len = protobuf_c_message_pack(msg, buf);
		if (i % N(kinds) == 0) {
			r = wire_unpack_origin(wire_bytes(buf, len), &u.origin);
			require(wire_size_origin(&u.origin) == len, "wire_size_origin");
			n = wire_pack_origin(&u.origin, again);
		} else if (i % N(kinds) == 1) {
			r = wire_unpack_packed(wire_bytes(buf, len), &u.packed);
			require(wire_size_packed(&u.packed) == len, "wire_size_packed");
			n = wire_pack_packed(&u.packed, again);
		} else {
			r = wire_unpack_header(wire_bytes(buf, len), &u.header);
			head = len < 128 ? 1 : 2;
			require(wire_size_header(&u.header) == head + len, "wire_size_header");
			n = wire_pack_header(&u.header, again);
		}
		require(r == 0, "protobuf-c's is refused");
		compare(d, msg, &u);
		require(n == head + len && memcmp(again + head, buf, len) == 0, "packed otherwise");
		protobuf_c_message_free_unpacked(msg, NULL);
	}
}
END_TEST

/* ------------------------------------------------------------- verdicts -- */

/* Why wire may refuse what protobuf-c takes. */
enum difference {
	UNSUPPORTED = 1, /* an unknown field of Frame below 100 */
	KEY = 2,         /* a field number that is none */
	BOOL = 4,        /* of another wire type */
	PIECES = 8,      /* numbers not packed, or in several pieces */
	MERGED = 16,     /* taken, but with other values: limits given twice */
	ALL = 31
};

static unsigned met; /* differences that a test came across */

/* A varint, as far as it goes; returns its bytes. */
static size_t
get(const uint8_t *p, uint64_t *ret)
{
	size_t n = 0;

	*ret = 0;
	do
		*ret |= (uint64_t)(p[n] & 0x7f) << 7 * n;
	while (p[n++] & 0x80);
	return n;
}

/* The differences in a message that protobuf-c took. */
static unsigned
differences(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t len)
{
	const uint8_t *end = p + len;
	const ProtobufCFieldDescriptor *pieces = NULL, *inner = NULL;
	unsigned found = 0;

	while (p < end) {
		const ProtobufCFieldDescriptor *f;
		uint64_t key, v = 0;
		unsigned type = *p & 7;

		p += get(p, &key);
		if (key > UINT32_MAX || key < 8)
			found |= KEY;
		f = protobuf_c_message_descriptor_get_field(d, (uint32_t)(key >> 3));
		if (type == 0 || type == 2)
			p += get(p, &v);
		v = type == 0 ? 0 : type == 1 ? 8 : type == 5 ? 4 : v;
		if (f == NULL) {
			if (d == FRAME && (uint32_t)(key >> 3) - 1 < 99)
				found |= UNSUPPORTED;
		} else if (f->type == PROTOBUF_C_TYPE_BOOL && type != 0) {
			found |= BOOL;
		} else if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
			if (d != FRAME && !is_items(f) && inner == f)
				found |= MERGED;
			inner = f;
			found |= differences(f->descriptor, p, v);
		} else if (is_numbers(f)) {
			if (type == 0 || (pieces == f && v > 0))
				found |= PIECES;
			if (v > 0)
				pieces = f;
		}
		p += v;
	}
	return found;
}

/* Did both judge alike? Returns whether both took it. */
static bool
judge(const uint8_t *data, size_t len)
{
	uint8_t *buf = malloc(len + (len == 0)); /* of its own, for the sanitizers */
	struct wire_frame f;
	ProtobufCMessage *msg;
	unsigned found;
	int r;

	memcpy(buf, data, len);
	shown = buf;
	shown_len = len;
	r = wire_unpack(buf, len, &f);
	msg = protobuf_c_message_unpack(FRAME, NULL, len, buf);
	if (msg == NULL) {
		require(r < 0, "protobuf-c refuses what wire takes");
	} else {
		found = differences(FRAME, buf, len);
		met |= found;
		if (found & ~(unsigned)(UNSUPPORTED | MERGED))
			require(r == -EBADMSG, "a documented difference that is none");
		else if (found & UNSUPPORTED)
			require(r == -EOPNOTSUPP, "an unknown kind below 100");
		else
			require(r == 0, "wire refuses what protobuf-c takes");
		if (r == 0 && !(found & MERGED))
			compare_frame(msg, &f);
		protobuf_c_message_free_unpacked(msg, NULL);
	}
	free(buf);
	return msg != NULL && r == 0;
}

/* One small damage; there is room for it. Returns the new length. */
static size_t
damage(uint8_t *buf, size_t len)
{
	size_t at = len == 0 ? 0 : below(len), n = len - at;

	switch (len == 0 ? 4 : below(7)) {
	case 0:
		buf[at] = (uint8_t)rnd();
		return len;
	case 1:
		buf[at] ^= (uint8_t)(1u << below(8));
		return len;
	case 2:
		return at;
	case 3:
		memmove(buf + at, buf + at + 1, n - 1);
		return len - 1;
	case 4:
		memmove(buf + at + 1, buf + at, n);
		buf[at] = (uint8_t)(below(2) ? rnd() : below(32));
		return len + 1;
	case 5:
		if (len > 2000)
			return len;
		n = 1 + below(n);
		memmove(buf + len, buf + at, n);
		return len + n;
	default:
		return len > 2000 ? len : len + pack_random_frame(buf + len);
	}
}

START_TEST(damaged_frames_get_the_same_verdict)
{
	uint8_t *buf = malloc(2 * BUFFER);
	unsigned taken = 0;

	for (uint64_t i = 0; i < n_cases(); i++) {
		size_t len;

		start(i);
		len = pack_random_frame(buf);
		for (size_t n = 1 + below(4); n > 0; n--) {
			len = damage(buf, len);
			taken += judge(buf, len);
		}
	}
	free(buf);
	ck_assert_uint_gt(taken, n_cases() / 20); /* not all hopeless */
}
END_TEST

/* ------------------------------------------------- odd but well-formed -- */

struct out {
	size_t len;
	uint8_t data[32 * 1024];
};

/* A varint, now and then longer than need be, or than may be. */
static void
out_varint(struct out *o, uint64_t v)
{
	size_t pad = below(20) == 0 ? below(6) : 0;

	for (; v >= 0x80; v >>= 7)
		o->data[o->len++] = (uint8_t)(v | 0x80);
	o->data[o->len++] = (uint8_t)(pad > 0 ? v | 0x80 : v);
	for (; pad > 0; pad--)
		o->data[o->len++] = (uint8_t)(pad > 1 ? 0x80 : below(4) == 0 ? below(8) << 4 : 0);
}

static unsigned
right_type(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_FIXED64:
		return 1;
	case PROTOBUF_C_TYPE_FIXED32:
		return 5;
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return 2;
	default:
		return f->label == PROTOBUF_C_LABEL_REPEATED ? 2 : 0;
	}
}

/* Fields of a message in any order, any number of times, now and then of a wrong wire type, unknown, or cut. */
static void
out_message(struct out *o, const ProtobufCMessageDescriptor *d)
{
	for (size_t n = d == FRAME ? 1 + (below(4) == 0) * below(3) : below(7); n > 0; n--) {
		bool known = d->n_fields > 0 && below(d == FRAME ? 40 : 15) > 0;
		const ProtobufCFieldDescriptor *f = known ? &d->fields[below(d->n_fields)] : NULL;
		uint32_t id = known ? f->id : (uint32_t)(below(3) == 0 ? rnd() >> 32 : below(130));
		unsigned type = known && below(60) > 0 ? right_type(f) : (unsigned)below(below(20) ? 3 : 8);
		struct out *inner;

		out_varint(o, (uint64_t)id << 3 | type);
		if (type == 0) {
			out_varint(o, number());
			continue;
		}
		inner = malloc(sizeof(*inner));
		inner->len = 0;
		if (type == 2 && known && f->type == PROTOBUF_C_TYPE_MESSAGE)
			out_message(inner, f->descriptor);
		else if (type == 2 && known && is_numbers(f))
			for (size_t k = below(4); k > 0; k--)
				out_varint(inner, number());
		else
			for (size_t k = type == 1 ? 8 : type == 5 ? 4 : type == 2 ? below(12) : 0; k > 0; k--)
				inner->data[inner->len++] = (uint8_t)rnd();
		if (inner->len > 0 && below(200) == 0)
			inner->len--;
		if (type == 2)
			out_varint(o, inner->len);
		require(o->len + inner->len + 100 < sizeof(o->data), "a frame too large for this test");
		memcpy(o->data + o->len, inner->data, inner->len);
		o->len += inner->len;
		free(inner);
	}
}

START_TEST(odd_frames_get_the_same_verdict)
{
	struct out *o = malloc(sizeof(*o));
	unsigned taken = 0;

	for (uint64_t i = 0; i < 2 * n_cases(); i++) {
		start(i);
		o->len = 0;
		out_message(o, FRAME);
		taken += judge(o->data, o->len);
	}
	free(o);
	ck_assert_uint_gt(taken, n_cases() / 2);
	ck_assert_uint_eq(met, ALL); /* or the judging of one is untested */
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("wire_differential");
	TCase *t = tcase_create("wire_differential");
	SRunner *sr;
	int failed;

	tcase_set_timeout(t, 600); /* for valgrind */
	tcase_add_test(t, frames_of_either_are_read_by_the_other);
	tcase_add_test(t, contents);
	tcase_add_test(t, damaged_frames_get_the_same_verdict);
	tcase_add_test(t, odd_frames_get_the_same_verdict);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
