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
	store_put_place(buf + 48, &h->before);
	store_put_place(buf + 64, &h->replay);
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
		.before = store_get_place(buf + 48),
		.replay = store_get_place(buf + 64),
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

#ifndef PLANT_LENGTH_BELIEVED
		if (n > STORE_PART_MAX || n > r->len - at)
			return -EBADMSG;
#endif
		if (parts)
			parts[i] = (struct store_bytes){ p + at, n };
		at += n;
		bytes += n;
	}
	last_len = get64(p + 72);
	here = get64(p + 64) ? 0 : last_len;
#ifdef PLANT_LENGTH_BELIEVED
	here = r->len - at;
#endif
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
