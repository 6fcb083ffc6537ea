/*
 * The index at the end of a full segment: its messages and pieces as varints.
 */
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "store_bytes.h"
#include "store_format.h"

#define FOOTER_SUM 32 /* where in the footer its sum is */

static const uint8_t index_magic[4] = "CNDX", footer_magic[4] = "CNDF";

static uint8_t *
put_varint(uint8_t *p, uint64_t n)
{
	for (; n >= 0x80; n >>= 7)
		*p++ = (uint8_t)(n | 0x80);
	*p++ = (uint8_t)n;
	return p;
}

/* The difference to *last, small if it is near it on either side. */
static uint8_t *
put_step(uint8_t *p, uint64_t n, uint64_t *last)
{
	uint64_t d = n - *last;

	*last = n;
	return put_varint(p, d << 1 ^ (d >> 63 ? UINT64_MAX : 0));
}

struct cursor {
	const uint8_t *p, *end;
	bool bad;
};

static uint64_t
get_varint(struct cursor *c)
{
	uint64_t n = 0;

	for (unsigned shift = 0; shift < 64 && c->p < c->end; shift += 7) {
		uint8_t b = *c->p++;

		n |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return n;
	}
	c->bad = true;
	return 0;
}

static uint32_t
get_varint32(struct cursor *c)
{
	uint64_t n = get_varint(c);

	if (n > UINT32_MAX)
		c->bad = true;
	return (uint32_t)n;
}

static uint64_t
get_step(struct cursor *c, uint64_t *last)
{
	uint64_t z = get_varint(c);

	*last += z >> 1 ^ (z & 1 ? UINT64_MAX : 0);
	return *last;
}

size_t
store_index_add(uint8_t buf[static STORE_INDEX_ENTRY_MAX], struct store_index_state *st, const struct store_entry *e)
{
	uint8_t *p = buf;

	p = put_varint(p, e->kind);
	p = put_varint(p, (e->offset - st->offset) / 8);
	st->offset = e->offset;
	p = put_varint(p, e->len);
	p = put_varint(p, e->body);
	if (e->kind == STORE_PIECE)
		return (size_t)(put_varint(p, e->index) - buf);
	p = put_varint(p, e->queue);
	p = put_step(p, e->seq, &st->seq);
	p = put_varint(p, e->flow);
	p = put_step(p, e->number, &st->number);
	p = put_step(p, e->counter, &st->counter);
	p = put_step(p, e->expires, &st->expires);
	p = put_step(p, e->not_before, &st->not_before);
	p = put_varint(p, e->last_len);
	p = put_varint(p, e->bytes);
	p = put_varint(p, e->note_len);
	p = put_varint(p, e->priority);
	return (size_t)(put_varint(p, e->flags) - buf);
}

bool
store_index_next(const uint8_t *buf, size_t len, size_t *at, struct store_index_state *st, struct store_entry *ret)
{
	struct cursor c = { .p = buf + *at, .end = buf + len - STORE_INDEX_SUM };
	struct store_entry e = { .kind = (enum store_kind)get_varint32(&c) };

	st->offset += get_varint(&c) * 8;
	e.offset = st->offset;
	e.len = get_varint32(&c);
	e.body = get_varint(&c);
	if (e.kind == STORE_PIECE) {
		e.index = get_varint32(&c);
	} else {
		e.queue = get_varint32(&c);
		e.seq = get_step(&c, &st->seq);
		e.flow = get_varint32(&c);
		e.number = get_step(&c, &st->number);
		e.counter = get_step(&c, &st->counter);
		e.expires = get_step(&c, &st->expires);
		e.not_before = get_step(&c, &st->not_before);
		e.last_len = get_varint(&c);
		e.bytes = get_varint(&c);
		e.note_len = get_varint32(&c);
		e.priority = (uint8_t)get_varint(&c);
		e.flags = (uint8_t)get_varint(&c);
	}
	if (c.bad || (e.kind != STORE_PIECE && e.kind != STORE_MESSAGE))
		return false;
	if (e.len < (e.kind == STORE_PIECE ? STORE_PIECE_HEAD + 1 : STORE_MESSAGE_HEAD) ||
	    e.note_len > e.bytes || (e.kind == STORE_PIECE && e.body == 0))
		return false;
	*at = (size_t)(c.p - buf);
	*ret = e;
	return true;
}

size_t
store_index_seal(uint8_t *buf, size_t len, uint32_t entries, uint64_t seed)
{
	size_t whole = STORE_INDEX_HEAD + len + STORE_INDEX_SUM;

	memcpy(buf, index_magic, 4);
	put32(buf + 4, (uint32_t)whole);
	put32(buf + 8, entries);
	put32(buf + 12, 0);
	put64(buf + STORE_INDEX_HEAD + len, XXH3_64bits_withSeed(buf, STORE_INDEX_HEAD + len, seed));
	return whole;
}

int
store_index_check(const uint8_t *buf, size_t len, uint64_t seed, uint32_t *ret_entries)
{
	if (len < STORE_INDEX_HEAD + STORE_INDEX_SUM || memcmp(buf, index_magic, 4) != 0 || get32(buf + 4) != len ||
	    get64(buf + len - STORE_INDEX_SUM) != XXH3_64bits_withSeed(buf, len - STORE_INDEX_SUM, seed))
		return -EBADMSG;
	*ret_entries = get32(buf + 8);
	return 0;
}

void
store_footer_encode(uint8_t buf[static STORE_FOOTER_LEN], const struct store_footer *f, uint64_t seed)
{
	memset(buf, 0, STORE_FOOTER_LEN);
	memcpy(buf, footer_magic, 4);
	put32(buf + 4, f->index_block);
	put32(buf + 8, f->index_len);
	put64(buf + 16, f->last_batch);
	put32(buf + 24, f->end_block);
	put64(buf + FOOTER_SUM, XXH3_64bits_withSeed(buf, FOOTER_SUM, seed));
}

int
store_footer_decode(const uint8_t *buf, size_t len, uint64_t seed, struct store_footer *ret)
{
	if (len < STORE_FOOTER_LEN || memcmp(buf, footer_magic, 4) != 0 ||
	    get64(buf + FOOTER_SUM) != XXH3_64bits_withSeed(buf, FOOTER_SUM, seed))
		return -EBADMSG;
	*ret = (struct store_footer){
		.index_block = get32(buf + 4),
		.index_len = get32(buf + 8),
		.last_batch = get64(buf + 16),
		.end_block = get32(buf + 24),
	};
	return 0;
}
