/*
 * Large last parts: written in pieces ahead of their message. A piece without
 * message is nothing, so that a body which is given up needs no record.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

uint64_t
store_piece_max(const struct store *s)
{
	return s->piece_max;
}

struct store_body *
store_body_new(struct store *s)
{
	struct store_body *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->store = s;
	b->id = s->next_body++;
	list_append(&s->unput, &b->unput);
	return b;
}

/* The bytes gathered become a piece. */
static int
flush(struct store_body *b)
{
	struct store *s = b->store;
	size_t room = b->room;
	struct item *it;
	store_ref ref;

	if (s->state == STORE_FENCED)
		return -EIO;
	if (s->in_group && s->group_bytes + store_padded(STORE_PIECE_HEAD + b->used) > store_group_max(s))
		return -EFBIG;
	if (store_grow(&b->pieces, &room, (size_t)b->n + 1, sizeof(*b->pieces)) < 0)
		return -ENOMEM;
	b->room = (uint32_t)room;
	if (store_slot_new(s, &ref) < 0)
		return -ENOMEM;
	it = store_append(s, ITEM_PIECE);
	if (!it) {
		store_slot_free(s, ref);
		return -EIO;
	}
	s->slots[ref].record = (uint32_t)(s->tail - 1);
	it->ref = ref;
	it->counter = b->id;
	it->index = b->n;
	it->last_len = b->used;
	it->parts[STORE_PARTS - 1] = b->buf;
	store_join(s, it);
	s->live_bytes += store_record_cost(s, STORE_PIECE_HEAD + (uint64_t)b->used);
	s->stats.payload_bytes += b->used;
	b->pieces[b->n++] = ref;
	b->buf = NULL;
	b->used = 0;
	return 0;
}

int
store_body_append(struct store_body *b, const void *data, size_t len)
{
	const uint8_t *p = data;

	if (b->failed)
		return -ENOMEM;
	while (len > 0) {
		size_t n = b->store->piece_max - b->used;
		int r = 0;

		if (n > len)
			n = len;
		if (!b->buf && !(b->buf = malloc(b->store->piece_max))) {
			b->failed = true;
			return -ENOMEM;
		}
		memcpy(b->buf + b->used, p, n);
		b->used += (uint32_t)n;
		b->len += n;
		p += n;
		len -= n;
		if (b->used == b->store->piece_max)
			r = flush(b);
		if (r < 0) {
			b->failed = true;
			return r;
		}
	}
	return 0;
}

uint64_t
store_body_rest(const struct store_body *b)
{
	return b->used > 0 ? store_padded(STORE_PIECE_HEAD + (uint64_t)b->used) : 0;
}

int
store_body_finish(struct store_body *b)
{
	if (b->failed)
		return -ENOMEM;
	return b->used > 0 ? flush(b) : 0;
}

void
store_body_release(struct store *s, struct store_body *b)
{
	for (uint32_t i = 0; i < b->n; i++) {
		struct slot *t = &s->slots[b->pieces[i]];

		if (t->state == SLOT_PENDING) {
			struct item *it = store_pending_item(s, t);

			s->live_bytes -= store_record_cost(s, store_item_len(it));
			store_item_done(it);
		} else {
			if (t->damaged)
				s->segments[t->segment]->damaged--;
			s->live_bytes -= store_record_cost(s, store_slot_record(s, b->pieces[i])->len);
			store_segment_release(s, s->segments[t->segment], t->record);
		}
		store_slot_free(s, b->pieces[i]);
	}
	b->n = 0;
}

void
store_body_drop(struct store_body *b)
{
	if (!b)
		return;
	store_body_release(b->store, b);
	store_room_grown(b->store);
	store_body_free(b);
}
