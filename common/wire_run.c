#include "wire_run.h"

#include <errno.h>
#include <string.h>

#include "wire_coding.h"

#define RUN_ID WIRE_KEY(1, WIRE_VARINT)
#define RUN_FIRST WIRE_KEY(2, WIRE_VARINT)
#define RUN_ITEM WIRE_KEY(3, WIRE_LENGTH)
#define RUN_FIELDS 3

#define ITEM_FLAGS WIRE_KEY(1, WIRE_VARINT)
#define ITEM_TYPE WIRE_KEY(2, WIRE_VARINT)
#define ITEM_ORIGIN WIRE_KEY(3, WIRE_VARINT)
#define ITEM_TTL WIRE_KEY(4, WIRE_VARINT)
#define ITEM_NOT_BEFORE WIRE_KEY(5, WIRE_VARINT)
#define ITEM_ATTEMPT WIRE_KEY(6, WIRE_VARINT)
#define ITEM_SUB WIRE_KEY(7, WIRE_LENGTH)
#define ITEM_PACKED WIRE_KEY(8, WIRE_LENGTH)
#define ITEM_BODY WIRE_KEY(9, WIRE_LENGTH)
#define ITEM_OFFSET WIRE_KEY(10, WIRE_VARINT)
#define ITEM_TOTAL WIRE_KEY(11, WIRE_VARINT)
#define ITEM_COUNTER WIRE_KEY(12, WIRE_VARINT)
#define ITEM_REPORT_TO WIRE_KEY(13, WIRE_LENGTH)
#define ITEM_FEATURES WIRE_KEY(14, WIRE_LENGTH)
#define ITEM_FIELDS 14
#define ITEM_LENGTHS (1u << 7 | 1u << 8 | 1u << 9 | 1u << 13 | 1u << 14) /* by number; the others are varints */

/* ------------------------------------------------------------ checking -- */

/* Is this a well-formed Item? What wire_item_next may rely on. */
static bool
item_ok(const uint8_t *p, const uint8_t *end)
{
	struct wire_numbers features = { NULL, 0 };

	while (p < end) {
		uint32_t key, number;
		uint64_t v;
		size_t n;

		p = wire_get_key(p, end, &key);
		if (p == NULL)
			return false;
		number = key >> 3;
		if (number <= ITEM_FIELDS && (key & 7) != (ITEM_LENGTHS >> number & 1 ? WIRE_LENGTH : WIRE_VARINT))
			return false;
		if ((key & 7) == WIRE_VARINT) {
			p = wire_get_varint(p, end, &v);
		} else if ((key & 7) == WIRE_LENGTH) {
			p = wire_get_length(p, end, &n);
			if (p == NULL || (key == ITEM_FEATURES && !wire_numbers_take(&features, p, n)))
				return false;
			p += n;
		} else {
			p = wire_skip(p, end, key & 7);
		}
		if (p == NULL)
			return false;
	}
	return true;
}

int
wire_run_unpack(const uint8_t *p, const uint8_t *end, struct wire_run *ret)
{
	const uint8_t *items = NULL, *items_end = NULL;

	while (p < end) {
		const uint8_t *start = p;
		uint64_t v = 0;
		uint32_t key;
		size_t n;

		p = wire_get_key(p, end, &key);
		if (p == NULL)
			return -EBADMSG;
		switch (key) {
		case RUN_ITEM:
			p = wire_get_length(p, end, &n);
			if (p == NULL)
				return -EBADMSG;
			if (++ret->n_items > WIRE_ITEMS_MAX)
				return -EMSGSIZE;
			if (!item_ok(p, p + n))
				return -EBADMSG;
			p += n;
			if (items == NULL)
				items = start;
			items_end = p;
			break;
		case RUN_ID:
			p = wire_get_varint(p, end, &v);
			ret->id = (uint32_t)v;
			break;
		case RUN_FIRST:
			p = wire_get_varint(p, end, &ret->first);
			break;
		default:
			p = key >> 3 > RUN_FIELDS ? wire_skip(p, end, key & 7) : NULL;
		}
		if (p == NULL)
			return -EBADMSG;
	}
	if (items != NULL)
		ret->items = (struct wire_bytes){ items, (size_t)(items_end - items) };
	return 0;
}

/* ------------------------------------------------------------- walking -- */

static const uint8_t *
get_u32(const uint8_t *p, const uint8_t *end, uint32_t *ret)
{
	uint64_t v;

	p = wire_get_varint(p, end, &v);
	if (p != NULL)
		*ret = (uint32_t)v;
	return p;
}

static const uint8_t *
get_bytes(const uint8_t *p, const uint8_t *end, struct wire_bytes *ret)
{
	p = wire_get_length(p, end, &ret->len);
	if (p == NULL)
		return NULL;
	ret->data = p;
	return p + ret->len;
}

/* Read one field of an item. */
static inline const uint8_t *
item_field(uint32_t key, const uint8_t *p, const uint8_t *end, struct wire_item *ret)
{
	struct wire_bytes b;

	switch (key) {
	case ITEM_FLAGS:
		return get_u32(p, end, &ret->flags);
	case ITEM_TYPE:
		return get_u32(p, end, &ret->type);
	case ITEM_ORIGIN:
		return get_u32(p, end, &ret->origin);
	case ITEM_TTL:
		return wire_get_varint(p, end, &ret->ttl_ms);
	case ITEM_NOT_BEFORE:
		return wire_get_varint(p, end, &ret->not_before_ms);
	case ITEM_ATTEMPT:
		return get_u32(p, end, &ret->attempt);
	case ITEM_SUB:
		return get_bytes(p, end, &ret->sub);
	case ITEM_PACKED:
		return get_bytes(p, end, &ret->packed);
	case ITEM_BODY:
		return get_bytes(p, end, &ret->body);
	case ITEM_OFFSET:
		return wire_get_varint(p, end, &ret->offset);
	case ITEM_TOTAL:
		return wire_get_varint(p, end, &ret->total);
	case ITEM_COUNTER:
		return wire_get_varint(p, end, &ret->counter);
	case ITEM_REPORT_TO:
		return get_bytes(p, end, &ret->report_to);
	case ITEM_FEATURES:
		p = get_bytes(p, end, &b);
		if (p != NULL && b.len > 0)
			ret->features = (struct wire_numbers){ b.data, b.len };
		return p;
	default:
		return wire_skip(p, end, key & 7);
	}
}

bool
wire_item_next(struct wire_bytes *items, struct wire_item *ret)
{
	const uint8_t *p, *end, *item_end;
	uint32_t key;
	size_t n;

	if (items->len == 0)
		return false;
	p = items->data;
	end = p + items->len;
	/* Fields of the run that came between its items were read by wire_unpack. */
	for (;;) {
		if (p == end || (p = wire_get_key(p, end, &key)) == NULL)
			goto none;
		if (key == RUN_ITEM)
			break;
		if ((p = wire_skip(p, end, key & 7)) == NULL)
			goto none;
	}
	if ((p = wire_get_length(p, end, &n)) == NULL)
		goto none;
	item_end = p + n;
	*ret = (struct wire_item){ .flags = 0 };
	while (p < item_end) {
		if ((p = wire_get_key(p, item_end, &key)) == NULL || (p = item_field(key, p, item_end, ret)) == NULL)
			goto none;
	}
	*items = (struct wire_bytes){ item_end, (size_t)(end - item_end) };
	return true;

none:
	/* The end. Bytes that wire_unpack did not check end a walk too. */
	items->len = 0;
	return false;
}

/* ------------------------------------------------------------- packing -- */

static inline size_t
size_number(uint64_t v)
{
	return v == 0 ? 0 : 1 + wire_varint_size(v);
}

static inline size_t
size_bytes(size_t len)
{
	return len == 0 ? 0 : 1 + wire_varint_size(len) + len;
}

/* Bytes of the item without its key and length. */
static inline size_t
item_inner_size(const struct wire_item *i)
{
	return size_number(i->flags) + size_number(i->type) + size_number(i->origin) + size_number(i->ttl_ms) +
	    size_number(i->not_before_ms) + size_number(i->attempt) + size_bytes(i->sub.len) + size_bytes(i->packed.len) +
	    size_bytes(i->body.len) + size_number(i->offset) + size_number(i->total) + size_number(i->counter) +
	    size_bytes(i->report_to.len) + size_bytes(i->features.len);
}

size_t
wire_item_size(const struct wire_item *item)
{
	size_t n = item_inner_size(item);

	return 1 + wire_varint_size(n) + n;
}

static inline uint8_t *
put_number(uint8_t *p, uint8_t key, uint64_t v)
{
	if (v == 0)
		return p;
	*p++ = key;
	return wire_put_varint(p, v);
}

static inline uint8_t *
put_bytes(uint8_t *p, uint8_t key, const uint8_t *data, size_t len)
{
	if (len == 0)
		return p;
	*p++ = key;
	return wire_put_bytes(p, data, len);
}

size_t
wire_put_item(const struct wire_item *item, uint8_t *buf)
{
	uint8_t *p = buf;

	*p++ = RUN_ITEM;
	p = wire_put_varint(p, item_inner_size(item));
	p = put_number(p, ITEM_FLAGS, item->flags);
	p = put_number(p, ITEM_TYPE, item->type);
	p = put_number(p, ITEM_ORIGIN, item->origin);
	p = put_number(p, ITEM_TTL, item->ttl_ms);
	p = put_number(p, ITEM_NOT_BEFORE, item->not_before_ms);
	p = put_number(p, ITEM_ATTEMPT, item->attempt);
	p = put_bytes(p, ITEM_SUB, item->sub.data, item->sub.len);
	p = put_bytes(p, ITEM_PACKED, item->packed.data, item->packed.len);
	p = put_number(p, ITEM_OFFSET, item->offset);
	p = put_number(p, ITEM_TOTAL, item->total);
	p = put_number(p, ITEM_COUNTER, item->counter);
	p = put_bytes(p, ITEM_REPORT_TO, item->report_to.data, item->report_to.len);
	p = put_bytes(p, ITEM_FEATURES, item->features.data, item->features.len);
	if (item->body.len > 0) {
		*p++ = ITEM_BODY;
		p = wire_put_varint(p, item->body.len);
	}
	return (size_t)(p - buf);
}

size_t
wire_put_run(enum wire_kind kind, uint32_t id, uint64_t first, size_t items_size, uint8_t *buf)
{
	uint32_t key = WIRE_KEY(kind, WIRE_LENGTH);
	size_t n = size_number(id) + size_number(first) + items_size;
	uint8_t *p = buf;

	p = wire_put_varint(p, wire_varint_size(key) + wire_varint_size(n) + n);
	p = wire_put_varint(p, key);
	p = wire_put_varint(p, n);
	p = put_number(p, RUN_ID, id);
	p = put_number(p, RUN_FIRST, first);
	return (size_t)(p - buf);
}
