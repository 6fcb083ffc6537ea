/* wire: runs, the frames that carry messages, packed and walked item by item. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define B(text) { (const uint8_t *)(text), sizeof(text) - 1 }

static const enum wire_kind runs[] = { WIRE_TRANSFER, WIRE_DELIVER };

static const struct wire_item items[] = {
	{ .body = B("first") },
	{ .flags = 0 },
	{ WIRE_ITEM_DURABLE | WIRE_ITEM_REDELIVERED, 1024, UINT32_MAX, 1ull << 40, 3, 4, B("sub"), B("packed"), B("body"), 5,
	    1ull << 50, UINT64_MAX, B("report"), B("\x01\xac\x02") },
	{ .type = 1, .total = 1 << 20, .offset = 1 << 19, .packed = B("x") },
};

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

static void
assert_item(const struct wire_item *a, const struct wire_item *b)
{
	ck_assert_uint_eq(a->flags, b->flags);
	ck_assert_uint_eq(a->type, b->type);
	ck_assert_uint_eq(a->origin, b->origin);
	ck_assert_uint_eq(a->ttl_ms, b->ttl_ms);
	ck_assert_uint_eq(a->not_before_ms, b->not_before_ms);
	ck_assert_uint_eq(a->attempt, b->attempt);
	ck_assert(wire_bytes_equal(a->sub, b->sub));
	ck_assert(wire_bytes_equal(a->packed, b->packed));
	ck_assert(wire_bytes_equal(a->body, b->body));
	ck_assert_uint_eq(a->offset, b->offset);
	ck_assert_uint_eq(a->total, b->total);
	ck_assert_uint_eq(a->counter, b->counter);
	ck_assert(wire_bytes_equal(a->report_to, b->report_to));
	ck_assert(wire_bytes_equal(wire_bytes(a->features.data, a->features.len), wire_bytes(b->features.data, b->features.len)));
}

/* Pack a run of `n` items, taken in turn from items[]; returns the payload's offset in *ret_buf. */
static size_t
pack_run(enum wire_kind kind, size_t n, uint8_t **ret_buf, size_t *ret_len)
{
	uint8_t head[WIRE_RUN_HEAD_MAX], *buf;
	size_t sum = 0, at, skip = 1;

	for (size_t i = 0; i < n; i++)
		sum += wire_item_size(&items[i % N(items)]);
	at = wire_put_run(kind, 70000, 1ull << 40, sum, head);
	ck_assert_uint_le(at, WIRE_RUN_HEAD_MAX);
	buf = malloc(at + sum);
	memcpy(buf, head, at);
	for (size_t i = 0; i < n; i++) {
		const struct wire_item *item = &items[i % N(items)];
		size_t put = wire_put_item(item, buf + at);

		ck_assert_uint_eq(put + item->body.len, wire_item_size(item));
		at += put;
		if (item->body.len > 0)
			memcpy(buf + at, item->body.data, item->body.len);
		at += item->body.len;
	}
	while (buf[skip - 1] & 0x80)
		skip++;
	*ret_buf = buf;
	*ret_len = at - skip;
	return skip;
}

START_TEST(runs_come_back)
{
	for (size_t k = 0; k < N(runs); k++) {
		for (size_t n = 0; n <= 2 * N(items); n++) {
			struct wire_frame f;
			struct wire_item item;
			struct wire_bytes walk;
			uint8_t *buf;
			size_t len, skip = pack_run(runs[k], n, &buf, &len);

			ck_assert_int_eq(wire_unpack(buf + skip, len, &f), 0);
			ck_assert_int_eq(f.kind, runs[k]);
			ck_assert_uint_eq(f.u.run.id, 70000);
			ck_assert_uint_eq(f.u.run.first, 1ull << 40);
			ck_assert_uint_eq(f.u.run.n_items, n);
			walk = f.u.run.items;
			for (size_t i = 0; i < n; i++) {
				memset(&item, 0xff, sizeof(item));
				ck_assert(wire_item_next(&walk, &item));
				assert_item(&item, &items[i % N(items)]);
			}
			ck_assert(!wire_item_next(&walk, &item));
			ck_assert(!wire_item_next(&walk, &item));
			for (size_t cut = 1; cut < len; cut++)
				ck_assert_int_eq(unpack(buf + skip, cut, &f), -EBADMSG);
			free(buf);
		}
	}
}
END_TEST

START_TEST(largest_head_fits)
{
	uint8_t head[WIRE_RUN_HEAD_MAX];

	ck_assert_uint_le(wire_put_run(WIRE_DELIVER, UINT32_MAX, UINT64_MAX, UINT32_MAX, head), WIRE_RUN_HEAD_MAX);
}
END_TEST

START_TEST(items_in_any_form)
{
	/* An empty item, flow, an unknown field, an item with long keys and an unknown field, first, an item, another unknown. */
	static const char run[] =
	    "\x6a\x2c" "\x1a\x00" "\x08\x03" "\x22\x02xx" "\x9a\x80\x00\x8a\x00" "\x88\x80\x00\x07" "\x7a\x01x" "\x4a\x01y"
	    "\x10\x09" "\x1a\x0c" "\x4a\x01z" "\x08\x01" "\x08\x02" "\x72\x00" "\x4a\x01w" "\x25" "1234";
	struct wire_frame f;
	struct wire_item item;

	ck_assert_uint_eq(sizeof(run) - 1, 2 + (unsigned char)run[1]);
	ck_assert_int_eq(wire_unpack((const uint8_t *)run, sizeof(run) - 1, &f), 0);
	ck_assert_uint_eq(f.u.run.id, 3);
	ck_assert_uint_eq(f.u.run.first, 9);
	ck_assert_uint_eq(f.u.run.n_items, 3);
	ck_assert(wire_item_next(&f.u.run.items, &item));
	assert_item(&item, &(struct wire_item){ .flags = 0 });
	ck_assert(wire_item_next(&f.u.run.items, &item));
	assert_item(&item, &(struct wire_item){ .flags = 7, .body = B("y") });
	ck_assert(wire_item_next(&f.u.run.items, &item));
	assert_item(&item, &(struct wire_item){ .flags = 2, .body = B("w") });
	ck_assert(!wire_item_next(&f.u.run.items, &item));
}
END_TEST

START_TEST(bad_items)
{
	struct wire_frame f;

	ck_assert_int_eq(UNPACK("\x6a\x02\x18\x01", &f), -EBADMSG);                 /* an item is no number */
	ck_assert_int_eq(UNPACK("\x6a\x03\x0a\x01x", &f), -EBADMSG);                /* nor the flow a string */
	ck_assert_int_eq(UNPACK("\x6a\x03\x1a\x02\x08", &f), -EBADMSG);             /* longer than the run */
	ck_assert_int_eq(UNPACK("\x6a\x03\x1a\x01\x08", &f), -EBADMSG);             /* cut inside */
	ck_assert_int_eq(UNPACK("\x6a\x05\x1a\x03\x0a\x01x", &f), -EBADMSG);        /* flags are no string */
	ck_assert_int_eq(UNPACK("\x6a\x04\x1a\x02\x48\x01", &f), -EBADMSG);         /* a body is no number */
	ck_assert_int_eq(UNPACK("\x6a\x04\x1a\x02\x00\x01", &f), -EBADMSG);         /* field number 0 */
	ck_assert_int_eq(UNPACK("\x6a\x03\x1a\x01\x7b", &f), -EBADMSG);             /* a group */
	ck_assert_int_eq(UNPACK("\x6a\x04\x1a\x02\x70\x01", &f), -EBADMSG);         /* features not packed */
	ck_assert_int_eq(UNPACK("\x6a\x05\x1a\x03\x72\x01\x80", &f), -EBADMSG);     /* features cut */
	ck_assert_int_eq(UNPACK("\x6a\x08\x1a\x06\x72\x01\x01\x72\x01\x01", &f), -EBADMSG); /* in two pieces */
	ck_assert_int_eq(UNPACK("\x6a\x05\x1a\x03\x72\x01\x01", &f), 0);
}
END_TEST

START_TEST(item_count_is_bounded)
{
	for (size_t n = WIRE_ITEMS_MAX; n <= WIRE_ITEMS_MAX + 1; n++) {
		struct wire_frame f;
		uint8_t *buf;
		size_t len, skip = pack_run(WIRE_DELIVER, n, &buf, &len);

		ck_assert_int_eq(wire_unpack(buf + skip, len, &f), n > WIRE_ITEMS_MAX ? -EMSGSIZE : 0);
		free(buf);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("wire_run");
	TCase *t = tcase_create("wire_run");
	SRunner *sr;
	int failed;

	tcase_add_test(t, runs_come_back);
	tcase_add_test(t, largest_head_fits);
	tcase_add_test(t, items_in_any_form);
	tcase_add_test(t, bad_items);
	tcase_add_test(t, item_count_is_bounded);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
