/*
 * store_format: header, batches and records. The index is in
 * store_format_index.c.
 */
#include "store_format.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "store_bytes.h"

#define HEADER_LEN 112
#define BATCH_SUM 32  /* where in the head of a batch its sum is */
#define RECORD_SUM 8  /* the same of a record */

static const uint8_t header_magic[8] = "CNDJRNL1", batch_magic[4] = "CNDB";

/* ----------------------------------------------------------------- header -- */

static void
put_place(uint8_t *p, const struct store_place *place)
{
	put32(p, place->segment);
	put32(p + 4, place->block);
	put64(p + 8, place->batch);
}

static struct store_place
get_place(const uint8_t *p)
{
	return (struct store_place){ .segment = get32(p), .block = get32(p + 4), .batch = get64(p + 8) };
}

void
store_header_encode(uint8_t buf[static STORE_HEADER], const struct store_header *h)
{
	memset(buf, 0, STORE_HEADER);
	memcpy(buf, header_magic, 8);
	put32(buf + 8, STORE_VERSION);
	put32(buf + 12, h->segment);
	put64(buf + 16, h->seed);
	put64(buf + 24, h->size);
	put32(buf + 32, h->start_count);
	put32(buf + 36, h->flags);
	put64(buf + 40, h->first_batch);
	put_place(buf + 48, &h->before);
	put_place(buf + 64, &h->replay);
	put32(buf + 80, h->next_queue);
	put32(buf + 84, h->next_flow);
	put64(buf + 88, h->next_body);
	put64(buf + 96, h->wall_ms);
	put64(buf + 104, XXH3_64bits_withSeed(buf, 104, 0));
}

int
store_header_decode(const uint8_t *buf, size_t len, struct store_header *ret)
{
	struct store_header h;

	if (len < HEADER_LEN || memcmp(buf, header_magic, 8) != 0 || get64(buf + 104) != XXH3_64bits_withSeed(buf, 104, 0))
		return -EBADMSG;
	if (get32(buf + 8) != STORE_VERSION)
		return -EPROTONOSUPPORT;
	h = (struct store_header){
		.segment = get32(buf + 12),
		.seed = get64(buf + 16),
		.size = get64(buf + 24),
		.start_count = get32(buf + 32),
		.flags = get32(buf + 36),
		.first_batch = get64(buf + 40),
		.before = get_place(buf + 48),
		.replay = get_place(buf + 64),
		.next_queue = get32(buf + 80),
		.next_flow = get32(buf + 84),
		.next_body = get64(buf + 88),
		.wall_ms = get64(buf + 96),
	};
	/* Places are counted in blocks with 32 bits, records in units of 8 bytes with 32 bits. */
	if (h.segment == 0 || h.size < STORE_HEADER + STORE_FOOTER || h.size % 4096 != 0 || h.size >> 34 != 0)
		return -EBADMSG;
	*ret = h;
	return 0;
}

/* ------------------------------------------------------------------ batch -- */

void
store_batch_seal(uint8_t *buf, const struct store_batch *b, uint64_t seed, uint64_t offset)
{
	uint64_t sum;
	uint32_t at = STORE_BATCH_HEAD;

	memcpy(buf, batch_magic, 4);
	put32(buf + 4, b->len);
	put64(buf + 8, b->number);
	put32(buf + 16, b->records);
	put32(buf + 20, b->flags);
	put64(buf + 24, b->wall_ms);
	sum = XXH3_64bits_withSeed(buf, BATCH_SUM, seed + offset);
	for (uint32_t i = 0; i < b->records; i++) {
		sum = XXH3_64bits_withSeed(buf + at, STORE_RECORD_HEAD, sum);
		at += (uint32_t)store_padded(get32(buf + at));
	}
	put64(buf + BATCH_SUM, sum);
}

int
store_batch_decode(const uint8_t *buf, size_t len, uint64_t seed, uint64_t offset, struct store_batch *ret,
    size_t *ret_need)
{
	struct store_batch b;
	uint64_t sum;
	size_t at = STORE_BATCH_HEAD;

	if (len < STORE_BATCH_HEAD) {
		*ret_need = STORE_BATCH_HEAD;
		return -EAGAIN;
	}
	if (memcmp(buf, batch_magic, 4) != 0)
		return -EBADMSG;
	b = (struct store_batch){
		.len = get32(buf + 4),
		.number = get64(buf + 8),
		.records = get32(buf + 16),
		.flags = get32(buf + 20),
		.wall_ms = get64(buf + 24),
	};
	/* A record has a head at least. */
	if (b.len < STORE_BATCH_HEAD || b.len % 8 != 0 || (b.len - STORE_BATCH_HEAD) / STORE_RECORD_HEAD < b.records)
		return -EBADMSG;
	if (len < b.len) {
		*ret_need = b.len;
		return -EAGAIN;
	}
	sum = XXH3_64bits_withSeed(buf, BATCH_SUM, seed + offset);
	for (uint32_t i = 0; i < b.records; i++) {
		size_t record;

		if (b.len - at < STORE_RECORD_HEAD)
			return -EBADMSG;
		record = get32(buf + at);
		if (record < STORE_RECORD_HEAD || store_padded(record) > b.len - at)
			return -EBADMSG;
		sum = XXH3_64bits_withSeed(buf + at, STORE_RECORD_HEAD, sum);
		at += store_padded(record);
	}
#ifdef PLANT_BODY_BELIEVED
	sum = get64(buf + BATCH_SUM);
#endif
	if (at != b.len || sum != get64(buf + BATCH_SUM))
		return -EBADMSG;
	*ret = b;
	return 0;
}

bool
store_batch_next(const uint8_t *buf, const struct store_batch *b, uint64_t offset, uint32_t *at,
    struct store_record *ret)
{
	if (*at == 0)
		*at = STORE_BATCH_HEAD;
	if (*at >= b->len)
		return false;
	*ret = (struct store_record){
		.kind = buf[*at + 4],
		.data = buf + *at,
		.len = get32(buf + *at),
		.offset = offset + *at,
	};
	*at += (uint32_t)store_padded(ret->len);
	return true;
}

/* ---------------------------------------------------------------- records -- */

static uint64_t
record_sum(const uint8_t *buf, size_t len, uint64_t seed, uint64_t offset)
{
	return XXH3_64bits_withSeed(buf + STORE_RECORD_HEAD, len - STORE_RECORD_HEAD,
	    XXH3_64bits_withSeed(buf, RECORD_SUM, seed + offset));
}

size_t
store_record_seal(uint8_t *buf, enum store_kind kind, size_t len, uint64_t seed, uint64_t offset)
{
	size_t padded = store_padded(len);

	put32(buf, (uint32_t)len);
	put32(buf + 4, kind);
	put64(buf + RECORD_SUM, record_sum(buf, len, seed, offset));
	memset(buf + len, 0, padded - len);
	return padded;
}

bool
store_record_check(const uint8_t *buf, size_t len, uint64_t seed, uint64_t offset)
{
#ifdef PLANT_BODY_BELIEVED
	return true;
#endif
	return get64(buf + RECORD_SUM) == record_sum(buf, len, seed, offset);
}

bool
store_record_is(const uint8_t *buf, size_t len, enum store_kind *ret_kind, uint64_t seed, uint64_t offset)
{
	if (len < STORE_RECORD_HEAD || get32(buf) != len || !store_record_check(buf, len, seed, offset))
		return false;
	*ret_kind = buf[4];
	return true;
}

void
store_message_encode(uint8_t *buf, const struct store_entry *e, const uint16_t lens[static STORE_PARTS - 1])
{
	put32(buf + 16, e->queue);
	put32(buf + 20, e->flow);
	put64(buf + 24, e->seq);
	put64(buf + 32, e->number);
	put64(buf + 40, e->counter);
	put64(buf + 48, e->expires);
	put64(buf + 56, e->not_before);
	put64(buf + 64, e->body);
	put64(buf + 72, e->last_len);
	put32(buf + 80, (uint32_t)(e->priority | e->flags << 8));
	for (size_t i = 0; i < STORE_PARTS - 1; i++)
		put16(buf + 84 + 2 * i, lens[i]);
}

int
store_message_decode(const struct store_record *r, struct store_entry *ret, struct store_bytes parts[STORE_PARTS])
{
	const uint8_t *p = r->data;
	size_t at = STORE_MESSAGE_HEAD;
	uint64_t bytes = 0, here;
	uint64_t last_len;

	if (r->kind != STORE_MESSAGE || r->len < STORE_MESSAGE_HEAD)
		return -EBADMSG;
	for (size_t i = 0; i < STORE_PARTS - 1; i++) {
		size_t n = get16(p + 84 + 2 * i);

		if (n > STORE_PART_MAX || n > r->len - at)
			return -EBADMSG;
		if (parts)
			parts[i] = (struct store_bytes){ p + at, n };
		at += n;
		bytes += n;
	}
	last_len = get64(p + 72);
	here = get64(p + 64) ? 0 : last_len;
	if (here != r->len - at || last_len > UINT64_MAX - bytes)
		return -EBADMSG;
	if (parts)
		parts[STORE_PARTS - 1] = (struct store_bytes){ get64(p + 64) ? NULL : p + at, (size_t)last_len };
	*ret = (struct store_entry){
		.kind = STORE_MESSAGE,
		.offset = r->offset,
		.len = r->len,
		.queue = get32(p + 16),
		.flow = get32(p + 20),
		.seq = get64(p + 24),
		.number = get64(p + 32),
		.counter = get64(p + 40),
		.expires = get64(p + 48),
		.not_before = get64(p + 56),
		.body = get64(p + 64),
		.last_len = last_len,
		.bytes = bytes + last_len,
		.note_len = get16(p + 84 + 2 * STORE_NOTE),
		.priority = p[80],
		.flags = p[81],
	};
	return 0;
}

void
store_message_rehome(uint8_t *buf, uint32_t queue, uint64_t seq, uint8_t flags)
{
	put32(buf + 16, queue);
	put64(buf + 24, seq);
	buf[81] = flags;
}

void
store_piece_encode(uint8_t *buf, uint64_t body, uint32_t index)
{
	put64(buf + 16, body);
	put32(buf + 24, index);
	put32(buf + 28, 0);
}

int
store_piece_decode(const struct store_record *r, struct store_entry *ret)
{
	if (r->kind != STORE_PIECE || r->len <= STORE_PIECE_HEAD)
		return -EBADMSG;
	*ret = (struct store_entry){
		.kind = STORE_PIECE,
		.offset = r->offset,
		.len = r->len,
		.body = get64(r->data + 16),
		.index = get32(r->data + 24),
	};
	return ret->body ? 0 : -EBADMSG;
}

/* ------------------------------------------------------------ small records -- */

size_t
store_done_encode(uint8_t *buf, uint32_t queue)
{
	put32(buf + 16, queue);
	put32(buf + 20, 0);
	return 24;
}

size_t
store_done_range_encode(uint8_t *buf, size_t i, const uint64_t range[static 2])
{
	put64(buf + 24 + 16 * i, range[0]);
	put64(buf + 32 + 16 * i, range[1]);
	return 16;
}

int
store_done_decode(const struct store_record *r, uint32_t *ret_queue, uint32_t *ret_n)
{
	if (r->kind != STORE_DONE || r->len < 24 || (r->len - 24) % 16 != 0)
		return -EBADMSG;
	*ret_queue = get32(r->data + 16);
	*ret_n = (r->len - 24) / 16;
	return 0;
}

void
store_done_range(const struct store_record *r, uint32_t i, uint64_t ret[static 2])
{
	ret[0] = get64(r->data + 24 + 16 * (size_t)i);
	ret[1] = get64(r->data + 32 + 16 * (size_t)i);
}

/* u32, zero, u64: marks and offered records. */
static size_t
pair_encode(uint8_t *buf, uint32_t a, uint64_t b)
{
	put32(buf + 16, a);
	put32(buf + 20, 0);
	put64(buf + 24, b);
	return 32;
}

static int
pair_decode(const struct store_record *r, enum store_kind kind, uint32_t *ret_a, uint64_t *ret_b)
{
	if (r->kind != kind || r->len != 32)
		return -EBADMSG;
	*ret_a = get32(r->data + 16);
	*ret_b = get64(r->data + 24);
	return 0;
}

size_t
store_mark_encode(uint8_t *buf, uint32_t flow, uint64_t number)
{
	return pair_encode(buf, flow, number);
}

int
store_mark_decode(const struct store_record *r, uint32_t *ret_flow, uint64_t *ret_number)
{
	return pair_decode(r, STORE_MARK, ret_flow, ret_number);
}

size_t
store_offered_encode(uint8_t *buf, uint32_t queue, uint64_t seq)
{
	return pair_encode(buf, queue, seq);
}

int
store_offered_decode(const struct store_record *r, uint32_t *ret_queue, uint64_t *ret_seq)
{
	return pair_decode(r, STORE_OFFERED, ret_queue, ret_seq);
}

static size_t
put_bytes(uint8_t *buf, size_t at, const struct store_bytes *b)
{
	if (b->len > 0)
		memcpy(buf + at, b->data, b->len);
	return at + b->len;
}

size_t
store_define_queue_encode(uint8_t *buf, const struct store_definition *d)
{
	put32(buf + 16, d->number);
	put32(buf + 20, d->removed);
	put64(buf + 24, d->last_seq);
	put64(buf + 32, d->offered);
	return put_bytes(buf, STORE_DEFINE_QUEUE_HEAD, &d->bytes);
}

size_t
store_define_flow_encode(uint8_t *buf, const struct store_definition *d)
{
	put32(buf + 16, d->number);
	put32(buf + 20, d->removed);
	put64(buf + 24, d->mark);
	return put_bytes(buf, STORE_DEFINE_FLOW_HEAD, &d->bytes);
}

int
store_define_decode(const struct store_record *r, struct store_definition *ret)
{
	uint32_t head = r->kind == STORE_QUEUE ? STORE_DEFINE_QUEUE_HEAD : STORE_DEFINE_FLOW_HEAD;

	if ((r->kind != STORE_QUEUE && r->kind != STORE_FLOW) || r->len < head || r->len - head > STORE_DEFINITION_MAX ||
	    get32(r->data + 16) == 0)
		return -EBADMSG;
	*ret = (struct store_definition){
		.number = get32(r->data + 16),
		.removed = get32(r->data + 20) & 1,
		.bytes = { r->data + head, r->len - head },
	};
	if (r->kind == STORE_FLOW) {
		ret->mark = get64(r->data + 24);
	} else {
		ret->last_seq = get64(r->data + 24);
		ret->offered = get64(r->data + 32);
	}
	return 0;
}

size_t
store_move_encode(uint8_t *buf, const struct store_moved *m)
{
	put32(buf + 16, m->from_queue);
	put32(buf + 20, m->to_queue);
	put64(buf + 24, m->from_seq);
	put64(buf + 32, m->to_seq);
	buf[40] = m->flags;
	buf[41] = m->has_note;
	put16(buf + 42, 0);
	put32(buf + 44, (uint32_t)m->note.len);
	return put_bytes(buf, STORE_MOVE_HEAD, &m->note);
}

int
store_move_decode(const struct store_record *r, struct store_moved *ret)
{
	if (r->kind != STORE_MOVE || r->len < STORE_MOVE_HEAD || r->len - STORE_MOVE_HEAD > STORE_NOTE_MAX ||
	    get32(r->data + 44) != r->len - STORE_MOVE_HEAD)
		return -EBADMSG;
	*ret = (struct store_moved){
		.from_queue = get32(r->data + 16),
		.to_queue = get32(r->data + 20),
		.from_seq = get64(r->data + 24),
		.to_seq = get64(r->data + 32),
		.flags = r->data[40],
		.has_note = r->data[41],
		.note = { r->data + STORE_MOVE_HEAD, r->len - STORE_MOVE_HEAD },
	};
	return 0;
}

size_t
store_snapshot_begin_encode(uint8_t *buf, uint64_t id)
{
	put64(buf + 16, id);
	return 24;
}

int
store_snapshot_begin_decode(const struct store_record *r, uint64_t *ret_id)
{
	if (r->kind != STORE_SNAPSHOT_BEGIN || r->len != 24)
		return -EBADMSG;
	*ret_id = get64(r->data + 16);
	return 0;
}

size_t
store_snapshot_dead_encode(uint8_t *buf, const struct store_dead *d)
{
	put64(buf + 16, d->snapshot);
	put32(buf + 24, d->segment);
	put32(buf + 28, d->first);
	put32(buf + 32, d->n);
	put32(buf + 36, d->total);
	return put_bytes(buf, STORE_DEAD_HEAD, &d->bits);
}

int
store_snapshot_dead_decode(const struct store_record *r, struct store_dead *ret)
{
	if (r->kind != STORE_SNAPSHOT_DEAD || r->len < STORE_DEAD_HEAD)
		return -EBADMSG;
	*ret = (struct store_dead){
		.snapshot = get64(r->data + 16),
		.segment = get32(r->data + 24),
		.first = get32(r->data + 28),
		.n = get32(r->data + 32),
		.total = get32(r->data + 36),
		.bits = { r->data + STORE_DEAD_HEAD, r->len - STORE_DEAD_HEAD },
	};
	if (ret->first % 8 != 0 || ret->first > ret->total || ret->n > ret->total - ret->first ||
	    ret->bits.len > ((uint64_t)ret->n + 7) / 8)
		return -EBADMSG;
	return 0;
}

size_t
store_snapshot_end_encode(uint8_t *buf, uint64_t id, const struct store_place *start)
{
	put64(buf + 16, id);
	put_place(buf + 24, start);
	return 40;
}

int
store_snapshot_end_decode(const struct store_record *r, uint64_t *ret_id, struct store_place *ret_start)
{
	if (r->kind != STORE_SNAPSHOT_END || r->len != 40)
		return -EBADMSG;
	*ret_id = get64(r->data + 16);
	*ret_start = get_place(r->data + 24);
	return ret_start->segment ? 0 : -EBADMSG;
}
