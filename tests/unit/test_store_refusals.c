/*
 * What the decoders of the journal refuse: bytes whose sums are right and whose
 * claims are not, as only a mistake of ours or somebody who forges writes them.
 */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "store_format.h"

#define SEED 0x1234567890abcdefu
#define OFFSET 8192

static uint8_t buf[1 << 16];

static void
put32(uint8_t *p, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(n >> 8 * i);
}

static struct store_record
record(enum store_kind kind, size_t len)
{
	return (struct store_record){ .kind = kind, .data = buf, .len = (uint32_t)len };
}

static int
decode_header(const struct store_header *h)
{
	struct store_header d;

	store_header_encode(buf, h);
	return store_header_decode(buf, STORE_HEADER, &d);
}

/* Places in a segment are counted in blocks, and with 32 bits. */
START_TEST(sizes_of_segments)
{
	struct store_header h = { .segment = 1, .size = STORE_HEADER + STORE_FOOTER };

	ck_assert_int_eq(decode_header(&h), 0);
	h.size -= 4096;
	ck_assert_int_eq(decode_header(&h), -EBADMSG);
	h.size = (64 << 10) + 8;
	ck_assert_int_eq(decode_header(&h), -EBADMSG);
	h.size = (1ull << 34) - 4096;
	ck_assert_int_eq(decode_header(&h), 0);
	h.size = 1ull << 34;
	ck_assert_int_eq(decode_header(&h), -EBADMSG);
}
END_TEST

START_TEST(a_batch_shorter_than_its_head)
{
	struct store_batch b = { .len = STORE_BATCH_HEAD, .number = 1 };
	size_t need;

	memset(buf, 0, sizeof(buf));
	store_batch_seal(buf, &b, SEED, OFFSET);
	ck_assert_int_eq(store_batch_decode(buf, 4096, SEED, OFFSET, &b, &need), 0);
	b.len = STORE_BATCH_HEAD - 8;
	store_batch_seal(buf, &b, SEED, OFFSET);
	ck_assert_int_eq(store_batch_decode(buf, 4096, SEED, OFFSET, &b, &need), -EBADMSG);
	b.len = STORE_BATCH_HEAD + 4;
	store_batch_seal(buf, &b, SEED, OFFSET);
	ck_assert_int_eq(store_batch_decode(buf, 4096, SEED, OFFSET, &b, &need), -EBADMSG);
}
END_TEST

/* One that is read alone must be what is looked for. */
START_TEST(a_record_that_is_another)
{
	enum store_kind kind = STORE_DONE;
	size_t len = store_mark_encode(buf, 1, 2);

	store_record_seal(buf, STORE_MARK, len, SEED, OFFSET);
	ck_assert(!store_record_is(buf, STORE_RECORD_HEAD - 1, &kind, SEED, OFFSET));
	ck_assert(!store_record_is(buf, len + 8, &kind, SEED, OFFSET));
	ck_assert(!store_record_is(buf, len, &kind, SEED, OFFSET + 8));
	ck_assert_int_eq(kind, STORE_DONE);
	ck_assert(store_record_is(buf, len, &kind, SEED, OFFSET));
	ck_assert_int_eq(kind, STORE_MARK);
}
END_TEST

START_TEST(messages)
{
	struct store_entry e = { .queue = 1, .last_len = 0 }, d;
	uint16_t lens[STORE_PARTS - 1] = { STORE_PART_MAX };
	struct store_record r = record(STORE_MESSAGE, STORE_MESSAGE_HEAD + STORE_PART_MAX);

	memset(buf, 0, sizeof(buf));
	store_message_encode(buf, &e, lens);
	ck_assert_int_eq(store_message_decode(&r, &d, NULL), 0);
	/* A part longer than any may be. */
	lens[0]++;
	r.len++;
	store_message_encode(buf, &e, lens);
	ck_assert_int_eq(store_message_decode(&r, &d, NULL), -EBADMSG);
	/* Bytes in all that no number holds. */
	lens[0] = 10;
	r.len = STORE_MESSAGE_HEAD + 10;
	e.body = 7;
	e.last_len = UINT64_MAX - 10;
	store_message_encode(buf, &e, lens);
	ck_assert_int_eq(store_message_decode(&r, &d, NULL), 0);
	ck_assert_uint_eq(d.bytes, UINT64_MAX);
	e.last_len++;
	store_message_encode(buf, &e, lens);
	ck_assert_int_eq(store_message_decode(&r, &d, NULL), -EBADMSG);
}
END_TEST

START_TEST(a_piece_of_no_body)
{
	struct store_record r = record(STORE_PIECE, STORE_PIECE_HEAD + 1);
	struct store_entry e;

	store_piece_encode(buf, 1, 0);
	ck_assert_int_eq(store_piece_decode(&r, &e), 0);
	store_piece_encode(buf, 0, 0);
	ck_assert_int_eq(store_piece_decode(&r, &e), -EBADMSG);
}
END_TEST

START_TEST(definitions)
{
	struct store_definition def = { .number = 1, .bytes = { buf + 8192, STORE_DEFINITION_MAX + 1 } }, d;
	struct store_record r = record(STORE_FLOW, store_define_flow_encode(buf, &def));

	ck_assert_int_eq(store_define_decode(&r, &d), -EBADMSG);
	def.bytes.len--;
	r.len = (uint32_t)store_define_flow_encode(buf, &def);
	ck_assert_int_eq(store_define_decode(&r, &d), 0);
	def.number = 0;
	r.len = (uint32_t)store_define_flow_encode(buf, &def);
	ck_assert_int_eq(store_define_decode(&r, &d), -EBADMSG);
}
END_TEST

START_TEST(notes)
{
	struct store_moved m = { 1, 2, 3, 4, 5, true, { buf + 8192, STORE_NOTE_MAX + 1 } }, d;
	struct store_record r = record(STORE_MOVE, store_move_encode(buf, &m));

	ck_assert_int_eq(store_move_decode(&r, &d), -EBADMSG);
	m.note.len--;
	r.len = (uint32_t)store_move_encode(buf, &m);
	ck_assert_int_eq(store_move_decode(&r, &d), 0);
	put32(buf + 44, STORE_NOTE_MAX - 1);
	ck_assert_int_eq(store_move_decode(&r, &d), -EBADMSG);
}
END_TEST

START_TEST(bitmaps)
{
	static const struct store_dead good = { 77, 3, 8, 16, 24, { "\x03\x01", 2 } };
	struct store_dead bad[] = { good, good, good, good }, d;
	struct store_record r = record(STORE_SNAPSHOT_DEAD, store_snapshot_dead_encode(buf, &good));

	ck_assert_int_eq(store_snapshot_dead_decode(&r, &d), 0);
	bad[0].first = 9;
	bad[1].first = 32;
	bad[2].n = 17;
	bad[3].n = 8; /* one byte of bits would tell all */
	for (int i = 0; i < 4; i++) {
		store_snapshot_dead_encode(buf, &bad[i]);
		ck_assert_msg(store_snapshot_dead_decode(&r, &d) == -EBADMSG, "%d", i);
	}
}
END_TEST

START_TEST(a_snapshot_that_begins_nowhere)
{
	struct store_place place = { 1, 2, 3 };
	struct store_record r = record(STORE_SNAPSHOT_END, store_snapshot_end_encode(buf, 1, &place));
	uint64_t id;

	ck_assert_int_eq(store_snapshot_end_decode(&r, &id, &place), 0);
	store_snapshot_end_encode(buf, 1, &STORE_PLACE_NONE);
	ck_assert_int_eq(store_snapshot_end_decode(&r, &id, &place), -EBADMSG);
}
END_TEST

/* An index with one entry, as it is written; whether the entry is believed. */
static bool
believes(const struct store_entry *e)
{
	struct store_index_state st = { 0 };
	size_t at = STORE_INDEX_HEAD, len = store_index_add(buf + at, &st, e);
	struct store_entry d;

	len = store_index_seal(buf, len, 1, SEED);
	st = (struct store_index_state){ 0 };
	return store_index_next(buf, len, &at, &st, &d);
}

START_TEST(entries_of_an_index)
{
	const struct store_entry message = { .kind = STORE_MESSAGE, .offset = 4136, .len = STORE_MESSAGE_HEAD, .bytes = 9, .note_len = 9 };
	const struct store_entry piece = { .kind = STORE_PIECE, .offset = 4136, .len = STORE_PIECE_HEAD + 1, .body = 1 };
	struct store_entry bad[] = { message, message, message, piece, piece };

	ck_assert(believes(&message));
	ck_assert(believes(&piece));
	bad[0].kind = STORE_DONE;
	bad[1].len--;
	bad[2].note_len++;
	bad[3].len--;
	bad[4].body = 0;
	for (int i = 0; i < 5; i++)
		ck_assert_msg(!believes(&bad[i]), "%d", i);
}
END_TEST

/* Numbers that are longer than 64 bits, or larger than what they stand for. */
START_TEST(numbers_of_an_index)
{
	struct store_index_state st = { 0 };
	size_t at = STORE_INDEX_HEAD, len;
	struct store_entry e;

	memset(buf + at, 0x80, 100);
	len = store_index_seal(buf, 100, 1, SEED);
	ck_assert(!store_index_next(buf, len, &at, &st, &e));
	/* A piece whose length is 2^32: as varints kind, offset, length, body, index. */
	at = STORE_INDEX_HEAD;
	memcpy(buf + at, "\x06\x01\x80\x80\x80\x80\x10\x01\x00", 9);
	len = store_index_seal(buf, 9, 1, SEED);
	ck_assert(!store_index_next(buf, len, &at, &st, &e));
	buf[at + 6] = 0x0f;
	ck_assert(store_index_next(buf, len, &at, &st, &e));
	ck_assert_uint_eq(e.len, 0xf0000000);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_refusals");
	TCase *tc = tcase_create("store_refusals");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, sizes_of_segments);
	tcase_add_test(tc, a_batch_shorter_than_its_head);
	tcase_add_test(tc, a_record_that_is_another);
	tcase_add_test(tc, messages);
	tcase_add_test(tc, a_piece_of_no_body);
	tcase_add_test(tc, definitions);
	tcase_add_test(tc, notes);
	tcase_add_test(tc, bitmaps);
	tcase_add_test(tc, a_snapshot_that_begins_nowhere);
	tcase_add_test(tc, entries_of_an_index);
	tcase_add_test(tc, numbers_of_an_index);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
