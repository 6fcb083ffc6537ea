/* store_format: the records that are neither message nor piece. */
#include <errno.h>
#include <string.h>

#include "store_bytes.h"
#include "store_format.h"

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
	store_put_place(buf + 24, start);
	return 40;
}

int
store_snapshot_end_decode(const struct store_record *r, uint64_t *ret_id, struct store_place *ret_start)
{
	if (r->kind != STORE_SNAPSHOT_END || r->len != 40)
		return -EBADMSG;
	*ret_id = get64(r->data + 16);
	*ret_start = store_get_place(r->data + 24);
	return ret_start->segment ? 0 : -EBADMSG;
}
