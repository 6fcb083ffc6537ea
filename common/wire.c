#include "wire.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "wire_coding.h"
#include "wire_run.h"
#include "wire_table.h"

#define KIND_IGNORABLE 100 /* unknown fields of Frame from here up may be skipped */

static const uint8_t wire_types[] = {
	[WIRE_FIELD_UINT32] = WIRE_VARINT,
	[WIRE_FIELD_UINT64] = WIRE_VARINT,
	[WIRE_FIELD_INT32] = WIRE_VARINT,
	[WIRE_FIELD_BOOL] = WIRE_VARINT,
	[WIRE_FIELD_FIXED32] = WIRE_FIXED32,
	[WIRE_FIELD_FIXED64] = WIRE_FIXED64,
	[WIRE_FIELD_BYTES] = WIRE_LENGTH,
	[WIRE_FIELD_NUMBERS] = WIRE_LENGTH,
	[WIRE_FIELD_MESSAGE] = WIRE_LENGTH,
};

/* Where a field lives in a struct of wire.h. */
union place {
	void *any;
	uint32_t *u32;
	uint64_t *u64;
	bool *boolean;
	struct wire_bytes *bytes;
	struct wire_numbers *numbers;
};

union const_place {
	const void *any;
	const uint32_t *u32;
	const uint64_t *u64;
	const bool *boolean;
	const struct wire_bytes *bytes;
	const struct wire_numbers *numbers;
};

/* ----------------------------------------------------------- unpacking -- */

static bool message_unpack(const struct wire_message *m, const uint8_t *p, const uint8_t *end, void *ret);

/* Senders keep to the order of numbers: look behind the field found last first. */
static const struct wire_field *
field_find(const struct wire_message *m, uint32_t number, size_t *hint)
{
	for (size_t i = 0, at = *hint; i < m->n_fields; i++, at++) {
		if (at >= m->n_fields)
			at = 0;
		if (m->fields[at].number == number) {
			*hint = at + 1;
			return &m->fields[at];
		}
	}
	return NULL;
}

static void
choice_clear(const struct wire_message *m, void *base)
{
	for (size_t i = 0; i < m->n_fields; i++) {
		const struct wire_field *f = &m->fields[i];
		union place at = { (char *)base + f->offset };

		if (!f->oneof)
			continue;
		if (f->kind == WIRE_FIELD_BOOL)
			*at.boolean = false;
		else
			*at.u32 = 0;
	}
}

/* Read the value of a known field, whose wire type is right. */
static const uint8_t *
field_unpack(const struct wire_field *f, const uint8_t *p, const uint8_t *end, union place ret)
{
	const uint8_t *start = p;
	uint64_t v = 0;
	size_t len = 0;

	if (wire_types[f->kind] == WIRE_VARINT)
		p = wire_get_varint(p, end, &v);
	else if (wire_types[f->kind] == WIRE_LENGTH)
		p = wire_get_length(p, end, &len);
	if (p == NULL)
		return NULL;
	switch ((enum wire_field_kind)f->kind) {
	case WIRE_FIELD_UINT32:
	case WIRE_FIELD_INT32:
		*ret.u32 = (uint32_t)v;
		return p;
	case WIRE_FIELD_UINT64:
		*ret.u64 = v;
		return p;
	case WIRE_FIELD_BOOL:
		/* True by any bit set, those beyond the 64th included. */
		*ret.boolean = v != 0 || (p - start == WIRE_VARINT_MAX && p[-1] != 0);
		return p;
	case WIRE_FIELD_FIXED32:
		return wire_get_fixed32(p, end, ret.u32);
	case WIRE_FIELD_FIXED64:
		return wire_get_fixed64(p, end, ret.u64);
	case WIRE_FIELD_BYTES:
		*ret.bytes = (struct wire_bytes){ p, len };
		return p + len;
	case WIRE_FIELD_NUMBERS:
		return wire_numbers_take(ret.numbers, p, len) ? p + len : NULL;
	case WIRE_FIELD_MESSAGE:
		/* Onto what an earlier occurrence left: they merge. */
		return message_unpack(f->message, p, p + len, ret.any) ? p + len : NULL;
	}
	return NULL;
}

/* Read fields onto *ret, which starts as zeroes. */
static bool
message_unpack(const struct wire_message *m, const uint8_t *p, const uint8_t *end, void *ret)
{
	size_t hint = 0;

	while (p < end) {
		const struct wire_field *f;
		uint32_t key;

		p = wire_get_key(p, end, &key);
		if (p == NULL)
			return false;
		f = field_find(m, key >> 3, &hint);
		if (f == NULL) {
			p = wire_skip(p, end, key & 7);
		} else {
			if ((key & 7) != wire_types[f->kind])
				return false;
			if (f->oneof)
				choice_clear(m, ret);
			p = field_unpack(f, p, end, (union place){ (char *)ret + f->offset });
		}
		if (p == NULL)
			return false;
	}
	return true;
}

static int
kind_unpack(const struct wire_message *m, const uint8_t *p, const uint8_t *end, struct wire_frame *f)
{
	if (f->kind == WIRE_TRANSFER || f->kind == WIRE_DELIVER)
		return wire_run_unpack(p, end, &f->u.run);
	return message_unpack(m, p, end, &f->u) ? 0 : -EBADMSG;
}

int
wire_unpack(const uint8_t *buf, size_t len, struct wire_frame *ret)
{
	const uint8_t *p = buf, *end = len == 0 ? buf : buf + len;
	struct wire_frame f;
	bool unsupported = false;

	if (len > WIRE_FRAME_MAX)
		return -EMSGSIZE;
	memset(&f, 0, sizeof(f));
	while (p < end) {
		const struct wire_message *m;
		uint32_t key;
		size_t n;
		int r;

		p = wire_get_key(p, end, &key);
		if (p == NULL)
			return -EBADMSG;
		m = wire_table_frame(key >> 3);
		if (m == NULL) {
			p = wire_skip(p, end, key & 7);
			if (p == NULL)
				return -EBADMSG;
			unsupported |= key >> 3 < KIND_IGNORABLE;
			continue;
		}
		if ((key & 7) != WIRE_LENGTH || (p = wire_get_length(p, end, &n)) == NULL)
			return -EBADMSG;
		/* Of several kinds the last one counts, and nothing is left of the others. */
		if (f.kind != WIRE_NONE)
			memset(&f, 0, sizeof(f));
		f.kind = (enum wire_kind)(key >> 3);
		if (len > WIRE_CONTROL_MAX && f.kind != WIRE_TRANSFER && f.kind != WIRE_DELIVER)
			return -EMSGSIZE;
		r = kind_unpack(m, p, p + n, &f);
		if (r < 0)
			return r;
		p += n;
	}
	if (unsupported)
		return -EOPNOTSUPP;
	if (f.kind == WIRE_NONE && len > WIRE_CONTROL_MAX)
		return -EMSGSIZE;
	*ret = f;
	return 0;
}

static bool
content_unpack(const struct wire_message *m, struct wire_bytes in, void *ret)
{
	return in.len == 0 || message_unpack(m, in.data, in.data + in.len, ret);
}

int
wire_unpack_origin(struct wire_bytes in, struct wire_origin *ret)
{
	struct wire_origin o = { .uid = 0 };

	if (!content_unpack(&wire_table_origin, in, &o))
		return -EBADMSG;
	*ret = o;
	return 0;
}

int
wire_unpack_packed(struct wire_bytes in, struct wire_packed *ret)
{
	struct wire_packed p = { .headers = { NULL, 0 } };

	if (!content_unpack(&wire_table_packed, in, &p))
		return -EBADMSG;
	*ret = p;
	return 0;
}

int
wire_unpack_header(struct wire_bytes in, struct wire_header *ret)
{
	struct wire_header h = { .value = { NULL, 0 } };

	if (!content_unpack(&wire_table_header, in, &h))
		return -EBADMSG;
	*ret = h;
	return 0;
}

/* ------------------------------------------------------------- packing -- */

static size_t message_size(const struct wire_message *m, const void *base);

/* Bytes of the value, its length in front included; 0: the default, which is left out. */
static size_t
field_size(const struct wire_field *f, union const_place at)
{
	size_t n = 0;

	switch ((enum wire_field_kind)f->kind) {
	case WIRE_FIELD_UINT32:
		return *at.u32 == 0 ? 0 : wire_varint_size(*at.u32);
	case WIRE_FIELD_INT32:
		return *at.u32 == 0 ? 0 : wire_varint_size((uint64_t)(int32_t)*at.u32);
	case WIRE_FIELD_UINT64:
		return *at.u64 == 0 ? 0 : wire_varint_size(*at.u64);
	case WIRE_FIELD_BOOL:
		return *at.boolean;
	case WIRE_FIELD_FIXED32:
		return *at.u32 == 0 ? 0 : 4;
	case WIRE_FIELD_FIXED64:
		return *at.u64 == 0 ? 0 : 8;
	case WIRE_FIELD_BYTES:
		n = at.bytes->len;
		break;
	case WIRE_FIELD_NUMBERS:
		n = at.numbers->len;
		break;
	case WIRE_FIELD_MESSAGE:
		n = message_size(f->message, at.any);
		break;
	}
	return n == 0 ? 0 : wire_varint_size(n) + n;
}

static size_t
message_size(const struct wire_message *m, const void *base)
{
	size_t sum = 0;

	for (size_t i = 0; i < m->n_fields; i++) {
		const struct wire_field *f = &m->fields[i];
		size_t n = field_size(f, (union const_place){ (const char *)base + f->offset });

		if (n > 0)
			sum += wire_varint_size(WIRE_KEY(f->number, 0)) + n;
	}
	return sum;
}

static uint8_t *
message_pack(const struct wire_message *m, const void *base, uint8_t *p)
{
	for (size_t i = 0; i < m->n_fields; i++) {
		const struct wire_field *f = &m->fields[i];
		union const_place at = { (const char *)base + f->offset };
		uint32_t v32;
		uint64_t v64;

		if (field_size(f, at) == 0)
			continue;
		p = wire_put_varint(p, WIRE_KEY(f->number, wire_types[f->kind]));
		switch ((enum wire_field_kind)f->kind) {
		case WIRE_FIELD_UINT32:
			p = wire_put_varint(p, *at.u32);
			break;
		case WIRE_FIELD_INT32:
			p = wire_put_varint(p, (uint64_t)(int32_t)*at.u32);
			break;
		case WIRE_FIELD_UINT64:
			p = wire_put_varint(p, *at.u64);
			break;
		case WIRE_FIELD_BOOL:
			*p++ = 1;
			break;
		case WIRE_FIELD_FIXED32:
			v32 = htole32(*at.u32);
			memcpy(p, &v32, sizeof(v32));
			p += sizeof(v32);
			break;
		case WIRE_FIELD_FIXED64:
			v64 = htole64(*at.u64);
			memcpy(p, &v64, sizeof(v64));
			p += sizeof(v64);
			break;
		case WIRE_FIELD_BYTES:
			p = wire_put_bytes(p, at.bytes->data, at.bytes->len);
			break;
		case WIRE_FIELD_NUMBERS:
			p = wire_put_bytes(p, at.numbers->data, at.numbers->len);
			break;
		case WIRE_FIELD_MESSAGE:
			p = wire_put_varint(p, message_size(f->message, at.any));
			p = message_pack(f->message, at.any, p);
			break;
		}
	}
	return p;
}

size_t
wire_size(const struct wire_frame *f)
{
	const struct wire_message *m = wire_table_frame(f->kind);
	size_t n, payload;

	assert(m != NULL);
	n = message_size(m, &f->u);
	payload = wire_varint_size(WIRE_KEY(f->kind, WIRE_LENGTH)) + wire_varint_size(n) + n;
	return wire_varint_size(payload) + payload;
}

size_t
wire_pack(const struct wire_frame *f, uint8_t *buf)
{
	const struct wire_message *m = wire_table_frame(f->kind);
	uint32_t key = WIRE_KEY(f->kind, WIRE_LENGTH);
	uint8_t *p = buf;
	size_t n;

	assert(m != NULL && f->kind != WIRE_TRANSFER && f->kind != WIRE_DELIVER);
	n = message_size(m, &f->u);
	p = wire_put_varint(p, wire_varint_size(key) + wire_varint_size(n) + n);
	p = wire_put_varint(p, key);
	p = wire_put_varint(p, n);
	return (size_t)(message_pack(m, &f->u, p) - buf);
}

size_t
wire_size_origin(const struct wire_origin *o)
{
	return message_size(&wire_table_origin, o);
}

size_t
wire_pack_origin(const struct wire_origin *o, uint8_t *buf)
{
	return (size_t)(message_pack(&wire_table_origin, o, buf) - buf);
}

size_t
wire_size_packed(const struct wire_packed *p)
{
	return message_size(&wire_table_packed, p);
}

size_t
wire_pack_packed(const struct wire_packed *p, uint8_t *buf)
{
	return (size_t)(message_pack(&wire_table_packed, p, buf) - buf);
}

size_t
wire_size_header(const struct wire_header *h)
{
	size_t n = message_size(&wire_table_header, h);

	return wire_varint_size(n) + n;
}

size_t
wire_pack_header(const struct wire_header *h, uint8_t *buf)
{
	uint8_t *p = wire_put_varint(buf, message_size(&wire_table_header, h));

	return (size_t)(message_pack(&wire_table_header, h, p) - buf);
}

/* ------------------------------------------------------------- numbers -- */

size_t
wire_put_number(uint8_t *buf, uint64_t n)
{
	return (size_t)(wire_put_varint(buf, n) - buf);
}

bool
wire_number_next(struct wire_numbers *numbers, uint64_t *ret)
{
	const uint8_t *p, *end;

	if (numbers->len == 0)
		return false;
	end = numbers->data + numbers->len;
	p = wire_get_varint(numbers->data, end, ret);
	if (p == NULL)
		return false;
	*numbers = (struct wire_numbers){ p, (size_t)(end - p) };
	return true;
}

int
wire_range_next(struct wire_numbers *ranges, uint64_t *ret_first, uint64_t *ret_last)
{
	uint64_t first, last;

	if (!wire_number_next(ranges, &first))
		return 0;
	if (!wire_number_next(ranges, &last) || first > last)
		return -EBADMSG;
	*ret_first = first;
	*ret_last = last;
	return 1;
}

/* --------------------------------------------------------------- bytes -- */

struct wire_bytes
wire_string(const char *s)
{
	return wire_bytes(s, s == NULL ? 0 : strlen(s));
}

bool
wire_bytes_equal(struct wire_bytes a, struct wire_bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

void
wire_text(struct wire_bytes b, char *buf, size_t size)
{
	size_t len = b.len < size ? b.len : size - 1;

	if (len > 0)
		memcpy(buf, b.data, len);
	buf[len] = '\0';
}
