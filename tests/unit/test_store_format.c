#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store_format.h"

#define SEED 0x1234567890abcdefu
#define OFFSET 8192

static uint8_t buf[1 << 16];

/* A copy that ends where the memory ends, so that sanitizers see every byte read behind it. */
static uint8_t *
exact(const void *data, size_t len)
{
	uint8_t *p = malloc(len ? len : 1);

	ck_assert_ptr_nonnull(p);
	memcpy(p, data, len);
	return p;
}

START_TEST(header)
{
	struct store_header h = { .segment = 7, .seed = SEED, .size = 1 << 20, .start_count = 3, .flags = 1, .first_batch = 99,
		.before = { 6, 12, 98 }, .replay = { 2, 1, 40 }, .next_queue = 5, .next_flow = 6, .next_body = 7, .wall_ms = 8 };
	struct store_header d;

	store_header_encode(buf, &h);
	ck_assert_int_eq(store_header_decode(buf, 4096, &d), 0);
	ck_assert_uint_eq(d.segment, 7);
	ck_assert_uint_eq(d.seed, SEED);
	ck_assert_uint_eq(d.size, 1 << 20);
	ck_assert_uint_eq(d.before.segment, 6);
	ck_assert_uint_eq(d.before.block, 12);
	ck_assert_uint_eq(d.before.batch, 98);
	ck_assert_uint_eq(d.replay.batch, 40);
	ck_assert_uint_eq(d.next_body, 7);
	for (size_t len = 0; len < 112; len++) {
		uint8_t *p = exact(buf, len);

		ck_assert_int_eq(store_header_decode(p, len, &d), -EBADMSG);
		free(p);
	}
	for (size_t i = 0; i < 112; i++) {
		buf[i] ^= 1;
		ck_assert_int_eq(store_header_decode(buf, 4096, &d), -EBADMSG);
		buf[i] ^= 1;
	}
	h.size = 4096;
	store_header_encode(buf, &h);
	ck_assert_int_eq(store_header_decode(buf, 4096, &d), -EBADMSG);
	h.size = 1 << 20;
	h.segment = 0;
	store_header_encode(buf, &h);
	ck_assert_int_eq(store_header_decode(buf, 4096, &d), -EBADMSG);
}
END_TEST

/* A batch with one record of each kind; its length. */
static uint32_t
make_batch(void)
{
	struct store_entry e = { .queue = 1, .flow = 2, .seq = 3, .number = 4, .counter = 5, .expires = 6, .not_before = 7, .last_len = 9,
		.priority = 8, .flags = 9 };
	uint16_t lens[4] = { 1, 2, 0, 3 };
	struct store_definition def = { .number = 3, .last_seq = 4, .offered = 2, .mark = 6, .bytes = { "def", 3 } };
	struct store_moved m = { 1, 2, 3, 4, 5, true, { "note", 4 } };
	struct store_dead dead = { 77, 3, 8, 16, 40, { "\x03", 1 } };
	uint32_t at = STORE_BATCH_HEAD, n = 0;
	uint64_t range[2] = { 10, 12 };
	size_t len;

	memset(buf, 0, sizeof(buf));
#define ADD(kind, l) (len = (l), at += (uint32_t)store_record_seal(buf + at, kind, len, SEED, OFFSET + at), n++)
	memcpy(buf + at + STORE_MESSAGE_HEAD, "abbdddlastbytes", 15);
	store_message_encode(buf + at, &e, lens);
	ADD(STORE_MESSAGE, STORE_MESSAGE_HEAD + 15);
	store_piece_encode(buf + at, 44, 3);
	ADD(STORE_PIECE, STORE_PIECE_HEAD + 5);
	len = store_done_encode(buf + at, 1);
	len += store_done_range_encode(buf + at, 0, range);
	ADD(STORE_DONE, len);
	ADD(STORE_MARK, store_mark_encode(buf + at, 2, 8));
	ADD(STORE_OFFERED, store_offered_encode(buf + at, 2, 9));
	ADD(STORE_QUEUE, store_define_queue_encode(buf + at, &def));
	ADD(STORE_FLOW, store_define_flow_encode(buf + at, &def));
	ADD(STORE_MOVE, store_move_encode(buf + at, &m));
	ADD(STORE_SNAPSHOT_BEGIN, store_snapshot_begin_encode(buf + at, 77));
	ADD(STORE_SNAPSHOT_DEAD, store_snapshot_dead_encode(buf + at, &dead));
	ADD(STORE_SNAPSHOT_END, store_snapshot_end_encode(buf + at, 77, &(struct store_place){ 1, 2, 3 }));
	/* The last part is nine bytes, and one and two and three before it. */
	store_batch_seal(buf, &(struct store_batch){ .len = at, .records = n, .number = 55, .wall_ms = 66 }, SEED, OFFSET);
	return at;
}

START_TEST(every_record)
{
	uint32_t len = make_batch(), at = 0, n;
	struct store_bytes parts[STORE_PARTS];
	struct store_definition def;
	struct store_place place;
	struct store_moved m;
	struct store_dead dead;
	struct store_batch b;
	struct store_record r;
	struct store_entry e;
	uint64_t x, range[2];
	size_t need;
	uint32_t q;

	ck_assert_int_eq(store_batch_decode(buf, len, SEED, OFFSET, &b, &need), 0);
	ck_assert_uint_eq(b.number, 55);
	ck_assert_uint_eq(b.records, 11);
#define NEXT(k)                                                                  \
	ck_assert(store_batch_next(buf, &b, OFFSET, &at, &r));                       \
	ck_assert_int_eq(r.kind, k);                                                 \
	ck_assert(store_record_check(r.data, r.len, SEED, r.offset));                \
	ck_assert(!store_record_check(r.data, r.len, SEED + 1, r.offset));           \
	ck_assert(!store_record_check(r.data, r.len, SEED, r.offset + 8))
	NEXT(STORE_MESSAGE);
	ck_assert_int_eq(store_message_decode(&r, &e, parts), 0);
	ck_assert_uint_eq(e.queue, 1);
	ck_assert_uint_eq(e.counter, 5);
	ck_assert_uint_eq(e.not_before, 7);
	ck_assert_uint_eq(e.priority, 8);
	ck_assert_uint_eq(e.flags, 9);
	ck_assert_uint_eq(e.bytes, 15);
	ck_assert_uint_eq(e.note_len, 3);
	ck_assert_mem_eq(parts[1].data, "bb", 2);
	ck_assert_mem_eq(parts[4].data, "lastbytes", 9);
	NEXT(STORE_PIECE);
	ck_assert_int_eq(store_piece_decode(&r, &e), 0);
	ck_assert_uint_eq(e.body, 44);
	ck_assert_uint_eq(e.index, 3);
	NEXT(STORE_DONE);
	ck_assert_int_eq(store_done_decode(&r, &q, &n), 0);
	ck_assert_uint_eq(n, 1);
	store_done_range(&r, 0, range);
	ck_assert_uint_eq(range[1], 12);
	NEXT(STORE_MARK);
	ck_assert_int_eq(store_mark_decode(&r, &q, &x), 0);
	ck_assert_uint_eq(x, 8);
	NEXT(STORE_OFFERED);
	ck_assert_int_eq(store_offered_decode(&r, &q, &x), 0);
	NEXT(STORE_QUEUE);
	ck_assert_int_eq(store_define_decode(&r, &def), 0);
	ck_assert_uint_eq(def.last_seq, 4);
	ck_assert_uint_eq(def.bytes.len, 3);
	NEXT(STORE_FLOW);
	ck_assert_int_eq(store_define_decode(&r, &def), 0);
	ck_assert_uint_eq(def.mark, 6);
	NEXT(STORE_MOVE);
	ck_assert_int_eq(store_move_decode(&r, &m), 0);
	ck_assert_uint_eq(m.to_seq, 4);
	ck_assert(m.has_note);
	NEXT(STORE_SNAPSHOT_BEGIN);
	ck_assert_int_eq(store_snapshot_begin_decode(&r, &x), 0);
	NEXT(STORE_SNAPSHOT_DEAD);
	ck_assert_int_eq(store_snapshot_dead_decode(&r, &dead), 0);
	ck_assert_uint_eq(dead.total, 40);
	ck_assert_uint_eq(dead.bits.len, 1);
	NEXT(STORE_SNAPSHOT_END);
	ck_assert_int_eq(store_snapshot_end_decode(&r, &x, &place), 0);
	ck_assert_uint_eq(place.batch, 3);
	ck_assert(!store_batch_next(buf, &b, OFFSET, &at, &r));
}
END_TEST

/* Heads are covered by the batch's sum, bodies by their records'. */
START_TEST(every_byte_is_covered)
{
	uint32_t len = make_batch();
	struct store_batch b;
	size_t need;

	ck_assert_int_eq(store_batch_decode(buf, len, SEED + 1, OFFSET, &b, &need), -EBADMSG);
	ck_assert_int_eq(store_batch_decode(buf, len, SEED, OFFSET + 4096, &b, &need), -EBADMSG);
	for (size_t i = 0; i < len; i++) {
		bool found = false;
		int e;

		buf[i] ^= 0x10;
		e = store_batch_decode(buf, len, SEED, OFFSET, &b, &need);
		if (e != 0) {
			found = true;
		} else {
			struct store_record r;
			uint32_t at = 0;

			while (store_batch_next(buf, &b, OFFSET, &at, &r)) {
				/* Padding is nobody's. */
				if (!store_record_check(r.data, r.len, SEED, r.offset) ||
				    (i >= (size_t)(r.data - buf) + r.len && i < (size_t)(r.data - buf) + store_padded(r.len)))
					found = true;
			}
		}
		ck_assert_msg(found, "byte %zu is covered by nothing", i);
		buf[i] ^= 0x10;
	}
}
END_TEST

START_TEST(cut_batches)
{
	uint32_t len = make_batch();
	struct store_batch b;
	size_t need;

	for (uint32_t n = 0; n < len; n++) {
		uint8_t *p = exact(buf, n);

		ck_assert_int_eq(store_batch_decode(p, n, SEED, OFFSET, &b, &need), -EAGAIN);
		ck_assert_uint_eq(need, n < STORE_BATCH_HEAD ? STORE_BATCH_HEAD : len);
		free(p);
	}
}
END_TEST

/* Records that are shorter or longer than what they claim are damage, never read. */
START_TEST(lengths_of_records)
{
	uint32_t len = make_batch(), at = 0;
	struct store_batch b;
	struct store_record r;
	size_t need;

	ck_assert_int_eq(store_batch_decode(buf, len, SEED, OFFSET, &b, &need), 0);
	while (store_batch_next(buf, &b, OFFSET, &at, &r)) {
		for (uint32_t n = STORE_RECORD_HEAD; n < r.len + 9; n++) {
			struct store_record cut = { r.kind, NULL, n, r.offset };
			struct store_bytes parts[STORE_PARTS];
			struct store_definition def;
			struct store_place place;
			struct store_moved m;
			struct store_dead dead;
			struct store_entry e;
			uint32_t q, k;
			uint64_t x;
			uint8_t *p;

			if (n == r.len)
				continue;
			p = calloc(1, n);
			ck_assert_ptr_nonnull(p);
			memcpy(p, r.data, n < r.len ? n : r.len);
			cut.data = p;
			ck_assert_int_eq(store_message_decode(&cut, &e, parts), -EBADMSG);
			if (r.kind != STORE_PIECE || n <= STORE_PIECE_HEAD)
				ck_assert_int_eq(store_piece_decode(&cut, &e), -EBADMSG);
			store_done_decode(&cut, &q, &k);
			ck_assert_int_eq(store_mark_decode(&cut, &q, &x), -EBADMSG);
			ck_assert_int_eq(store_offered_decode(&cut, &q, &x), -EBADMSG);
			store_define_decode(&cut, &def);
			ck_assert_int_eq(store_move_decode(&cut, &m), -EBADMSG);
			ck_assert_int_eq(store_snapshot_begin_decode(&cut, &x), -EBADMSG);
			store_snapshot_dead_decode(&cut, &dead);
			ck_assert_int_eq(store_snapshot_end_decode(&cut, &x, &place), -EBADMSG);
			free(p);
		}
	}
}
END_TEST

START_TEST(index_and_footer)
{
	struct store_entry in[3] = {
		{ .kind = STORE_MESSAGE, .offset = 4136, .len = 200, .queue = 7, .flow = 8, .seq = UINT64_MAX, .number = 5, .counter = 1ull << 63,
		    .expires = 1700000000000, .not_before = 0, .last_len = 20, .bytes = 60, .note_len = 3, .priority = 255, .flags = 254 },
		{ .kind = STORE_PIECE, .offset = 4336, .len = 1000, .body = 9, .index = 2 },
		{ .kind = STORE_MESSAGE, .offset = 70000, .len = 92, .queue = 1, .seq = 1 },
	};
	struct store_index_state st = { 0 };
	struct store_footer f = { 17, 100, 1ull << 40, 99 }, g;
	size_t len = 0, at, whole;
	struct store_entry e;
	uint32_t n;
	uint8_t *p;

	for (int i = 0; i < 3; i++)
		len += store_index_add(buf + STORE_INDEX_HEAD + len, &st, &in[i]);
	whole = store_index_seal(buf, len, 3, SEED);
	p = exact(buf, whole);
	ck_assert_int_eq(store_index_check(p, whole, SEED, &n), 0);
	ck_assert_uint_eq(n, 3);
	st = (struct store_index_state){ 0 };
	at = STORE_INDEX_HEAD;
	for (int i = 0; i < 3; i++) {
		ck_assert(store_index_next(p, whole, &at, &st, &e));
		ck_assert_int_eq(e.kind, in[i].kind);
		ck_assert_uint_eq(e.offset, in[i].offset);
		ck_assert_uint_eq(e.seq, in[i].seq);
		ck_assert_uint_eq(e.counter, in[i].counter);
		ck_assert_uint_eq(e.expires, in[i].expires);
		ck_assert_uint_eq(e.body, in[i].body);
		ck_assert_uint_eq(e.index, in[i].index);
		ck_assert_uint_eq(e.priority, in[i].priority);
	}
	ck_assert(!store_index_next(p, whole, &at, &st, &e));
	free(p);
	for (size_t i = 0; i < whole; i++) {
		buf[i] ^= 1;
		ck_assert_int_eq(store_index_check(buf, whole, SEED, &n), -EBADMSG);
		buf[i] ^= 1;
		ck_assert_int_eq(store_index_check(buf, i, SEED, &n), -EBADMSG);
	}
	store_footer_encode(buf, &f, SEED);
	ck_assert_int_eq(store_footer_decode(buf, STORE_FOOTER_LEN, SEED, &g), 0);
	ck_assert_uint_eq(g.last_batch, 1ull << 40);
	ck_assert_uint_eq(g.end_block, 99);
	ck_assert_int_eq(store_footer_decode(buf, STORE_FOOTER_LEN, SEED + 1, &g), -EBADMSG);
	ck_assert_int_eq(store_footer_decode(buf, STORE_FOOTER_LEN - 1, SEED, &g), -EBADMSG);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_format");
	TCase *tc = tcase_create("store_format");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, header);
	tcase_add_test(tc, every_record);
	tcase_add_test(tc, every_byte_is_covered);
	tcase_add_test(tc, cut_batches);
	tcase_add_test(tc, lengths_of_records);
	tcase_add_test(tc, index_and_footer);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
