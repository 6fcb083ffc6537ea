/*
 * Room: what new messages may take. docs/internals.md, Space.
 */
#include <string.h>

#include "store_internal.h"

uint64_t
store_cost(const struct store *s, uint64_t bytes)
{
	uint64_t cost = 0;

	if (bytes <= s->piece_max)
		return store_record_cost(s, STORE_MESSAGE_HEAD + bytes);
	/* As if every byte were in pieces, and one more record for the parts before. */
	cost = bytes / s->piece_max * store_record_cost(s, STORE_PIECE_HEAD + (uint64_t)s->piece_max);
	if (bytes % s->piece_max > 0)
		cost += store_record_cost(s, STORE_PIECE_HEAD + bytes % s->piece_max);
	return cost + store_record_cost(s, STORE_MESSAGE_HEAD);
}

uint64_t
store_capacity(const struct store *s)
{
	return store_packed(s, (s->cfg.max_disk / s->cfg.segment - STORE_HELD_BACK - 2) * s->usable / 4 * 3);
}

uint64_t
store_room(const struct store *s)
{
	uint64_t capacity = store_capacity(s), left = store_segments_left(s), place = 0;

	if (s->state != STORE_OPEN || s->live_bytes >= capacity)
		return 0;
	if (left > STORE_HELD_BACK)
		place = (left - STORE_HELD_BACK) * s->usable;
	if (left >= STORE_HELD_BACK && s->current && s->current->size > s->current->end + STORE_FOOTER)
		place += s->current->size - s->current->end - STORE_FOOTER;
	capacity -= s->live_bytes;
	return capacity < place ? capacity : place;
}

void
store_want_room(struct store *s, uint64_t bytes)
{
	s->wanted_room = bytes;
	store_room_grown(s);
}

void
store_room_grown(struct store *s)
{
	if (s->wanted_room > 0 && store_room(s) >= s->wanted_room)
		loop_defer(s->cfg.loop, &s->tell_call);
}

void
store_stats(const struct store *s, struct store_stats *ret)
{
	*ret = s->stats;
	ret->state = s->state;
	memcpy(ret->why, s->why, sizeof(ret->why));
	ret->messages = s->messages;
	ret->live_bytes = s->live_bytes;
	ret->capacity = store_capacity(s);
	ret->disk_bytes = s->file_bytes;
	ret->used_bytes = store_used(s);
	ret->segments = s->n_files;
	ret->free_segments = s->n_free;
}
