/*
 * wire: whatever a frame holds, unpacking stays inside it, and what is taken
 * packs to bytes that unpack to the same again. As packing leaves nothing open,
 * values are equal when their bytes are.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
inside(struct wire_bytes inner, struct wire_bytes outer)
{
	assert(inner.len == 0 || (inner.data >= outer.data && inner.data + inner.len <= outer.data + outer.len));
}

static void
walk_numbers(struct wire_numbers numbers)
{
	struct wire_numbers n = numbers;
	uint64_t v, first, last;
	size_t count = 0, pairs = 0;
	int r;

	while (wire_number_next(&n, &v))
		count++;
	assert(n.len == 0); /* checked before, so nothing stops half-way */
	while ((r = wire_range_next(&numbers, &first, &last)) == 1) {
		assert(first <= last);
		pairs++;
	}
	assert(r == 0 ? pairs * 2 == count : r == -EBADMSG);
}

static void
walk_frame(const struct wire_frame *f)
{
	if (f->kind == WIRE_FLOW_STATE)
		walk_numbers(f->u.flow_state.waiting);
	else if (f->kind == WIRE_PROGRESS)
		walk_numbers(f->u.progress.ranges);
	else if (f->kind == WIRE_ACK)
		walk_numbers(f->u.ack.ranges);
	else if (f->kind == WIRE_NACK)
		walk_numbers(f->u.nack.ranges);
}

static uint8_t *
put_run(const struct wire_frame *f, size_t *ret_size)
{
	struct wire_bytes walk = f->u.run.items;
	struct wire_item item;
	size_t n = 0, sum = 0;
	uint8_t *buf, *p;

	while (wire_item_next(&walk, &item)) {
		inside(item.sub, f->u.run.items);
		inside(item.packed, f->u.run.items);
		inside(item.body, f->u.run.items);
		inside(item.report_to, f->u.run.items);
		walk_numbers(item.features);
		sum += wire_item_size(&item);
		n++;
	}
	assert(n == f->u.run.n_items && n <= WIRE_ITEMS_MAX);

	buf = malloc(WIRE_RUN_HEAD_MAX + sum);
	p = buf + wire_put_run(f->kind, f->u.run.id, f->u.run.first, sum, buf);
	assert(p <= buf + WIRE_RUN_HEAD_MAX);
	for (walk = f->u.run.items; wire_item_next(&walk, &item);) {
		size_t head = wire_put_item(&item, p);

		assert(head + item.body.len == wire_item_size(&item));
		p += head;
		if (item.body.len > 0)
			memcpy(p, item.body.data, item.body.len);
		p += item.body.len;
	}
	*ret_size = (size_t)(p - buf);
	return buf;
}

static uint8_t *
put(const struct wire_frame *f, size_t *ret_size)
{
	uint8_t *buf;

	if (f->kind == WIRE_TRANSFER || f->kind == WIRE_DELIVER)
		return put_run(f, ret_size);
	*ret_size = wire_size(f);
	buf = malloc(*ret_size);
	assert(wire_pack(f, buf) == *ret_size);
	return buf;
}

static void
frame(const uint8_t *data, size_t size)
{
	struct wire_frame f, g;
	uint8_t *a, *b;
	size_t a_size, b_size, head = 1;
	int r = wire_unpack(data, size, &f);

	assert(r == 0 || r == -EBADMSG || r == -EMSGSIZE || r == -EOPNOTSUPP);
	if (r < 0 || f.kind == WIRE_NONE)
		return;
	assert(strcmp(wire_kind_name(f.kind), "unknown") != 0);
	walk_frame(&f);
	a = put(&f, &a_size);
	while (a[head - 1] & 0x80)
		head++;
	r = wire_unpack(a + head, a_size - head, &g);
	assert(r == 0 && g.kind == f.kind);
	b = put(&g, &b_size);
	assert(a_size == b_size && memcmp(a, b, a_size) == 0);
	free(a);
	free(b);
}

static void
contents(const uint8_t *data, size_t size)
{
	struct wire_bytes in = wire_bytes(data, size);
	struct wire_origin origin;
	struct wire_packed packed;
	struct wire_header header;
	uint8_t *buf = malloc(2 * size + 32);
	size_t n;

	if (wire_unpack_origin(in, &origin) == 0) {
		n = wire_pack_origin(&origin, buf);
		assert(n == wire_size_origin(&origin));
		assert(wire_unpack_origin(wire_bytes(buf, n), &origin) == 0 && wire_size_origin(&origin) == n);
	}
	if (wire_unpack_packed(in, &packed) == 0) {
		inside(packed.headers, in);
		n = wire_pack_packed(&packed, buf);
		assert(n == wire_size_packed(&packed) && n <= size);
	}
	if (wire_unpack_header(in, &header) == 0) {
		inside(header.name, in);
		inside(header.value, in);
		n = wire_pack_header(&header, buf);
		assert(n == wire_size_header(&header));
	}
	free(buf);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	frame(data, size);
	contents(data, size);
	return 0;
}
