/*
 * wire_coding: the encodings that protobuf is made of, inline because every
 * byte of a frame passes through here. Private to wire*.c.
 *
 * A reader takes the place to read at and the end of what may be read, and
 * returns the place behind, or NULL if the bytes there are no such thing.
 */
#ifndef WIRE_CODING_H
#define WIRE_CODING_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "wire.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LENGTH = 2, WIRE_FIXED32 = 5 };

#define WIRE_KEY(number, type) ((uint32_t)(number) << 3 | (type))
#define WIRE_VARINT_MAX 10 /* bytes of a varint */
#define WIRE_LENGTH_MAX 5  /* bytes of a key, or of a length */

/* ------------------------------------------------------------- reading -- */

/* Bits above the 64th are dropped, as every decoder does. */
static inline const uint8_t *
wire_get_varint_long(const uint8_t *p, const uint8_t *end, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 7 * WIRE_VARINT_MAX && p < end; shift += 7) {
		uint8_t b = *p++;

		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80) {
			*ret = v;
			return p;
		}
	}
	return NULL;
}

static inline const uint8_t *
wire_get_varint(const uint8_t *p, const uint8_t *end, uint64_t *ret)
{
	if (p < end && *p < 0x80) {
		*ret = *p;
		return p + 1;
	}
	return wire_get_varint_long(p, end, ret);
}

/* A key: field number and wire type. Number 0 and more than 32 bits are none. */
static inline const uint8_t *
wire_get_key(const uint8_t *p, const uint8_t *end, uint32_t *ret)
{
	uint64_t v;
	const uint8_t *next = wire_get_varint(p, end, &v);

	if (next == NULL || next - p > WIRE_LENGTH_MAX || v > UINT32_MAX || v < 8)
		return NULL;
	*ret = (uint32_t)v;
	return next;
}

/* The length of a field and, behind the place returned, that many bytes. */
static inline const uint8_t *
wire_get_length(const uint8_t *p, const uint8_t *end, size_t *ret)
{
	uint64_t v;
	const uint8_t *next = wire_get_varint(p, end, &v);

	if (next == NULL || next - p > WIRE_LENGTH_MAX || v > (uint64_t)(end - next))
		return NULL;
	*ret = (size_t)v;
	return next;
}

static inline const uint8_t *
wire_get_fixed32(const uint8_t *p, const uint8_t *end, uint32_t *ret)
{
	uint32_t v;

	if (end - p < 4)
		return NULL;
	memcpy(&v, p, sizeof(v));
	*ret = le32toh(v);
	return p + 4;
}

static inline const uint8_t *
wire_get_fixed64(const uint8_t *p, const uint8_t *end, uint64_t *ret)
{
	uint64_t v;

	if (end - p < 8)
		return NULL;
	memcpy(&v, p, sizeof(v));
	*ret = le64toh(v);
	return p + 8;
}

/* Pass over the value of a field nobody here knows. Groups are no such thing. */
static inline const uint8_t *
wire_skip(const uint8_t *p, const uint8_t *end, unsigned type)
{
	uint64_t v;
	uint32_t v32;
	size_t n;

	switch (type) {
	case WIRE_VARINT:
		return wire_get_varint(p, end, &v);
	case WIRE_FIXED64:
		return wire_get_fixed64(p, end, &v);
	case WIRE_LENGTH:
		p = wire_get_length(p, end, &n);
		return p == NULL ? NULL : p + n;
	case WIRE_FIXED32:
		return wire_get_fixed32(p, end, &v32);
	default:
		return NULL;
	}
}

/* Is this a sequence of whole varints? */
static inline bool
wire_numbers_ok(const uint8_t *p, size_t len)
{
	unsigned more = 0; /* bytes so far that say another follows */

	for (size_t i = 0; i < len; i++) {
		more = p[i] & 0x80 ? more + 1 : 0;
		if (more == WIRE_VARINT_MAX)
			return false;
	}
	return more == 0;
}

/*
 * A packed field was read: keep it. It must lie in one piece, because a struct
 * wire_numbers can name no more; an empty one adds nothing.
 */
static inline bool
wire_numbers_take(struct wire_numbers *numbers, const uint8_t *p, size_t len)
{
	if (len == 0)
		return true;
	if (numbers->len > 0 || !wire_numbers_ok(p, len))
		return false;
	*numbers = (struct wire_numbers){ p, len };
	return true;
}

/* ------------------------------------------------------------- writing -- */

static inline size_t
wire_varint_size(uint64_t v)
{
	unsigned bits = 64 - (unsigned)__builtin_clzll(v | 1);

	return (bits * 9 + 64) / 64; /* bits / 7 rounded up, for 1 to 64 */
}

static inline uint8_t *
wire_put_varint(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

static inline uint8_t *
wire_put_bytes(uint8_t *p, const uint8_t *data, size_t len)
{
	p = wire_put_varint(p, len);
	if (len > 0)
		memcpy(p, data, len);
	return p + len;
}

#endif
