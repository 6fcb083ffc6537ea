#include "forge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_disk.h"

void
forge_begin(struct forge *f, uint32_t number, uint64_t first_batch, const struct forge *before)
{
	memset(f, 0, sizeof(*f));
	f->h = (struct store_header){ .segment = number, .seed = 0x5eed0000u + number, .size = FORGE_SIZE, .start_count = 1,
		.first_batch = first_batch, .next_queue = 2, .next_flow = 2, .next_body = 100 };
	if (before)
		f->h.before = (struct store_place){ before->h.segment, (uint32_t)(before->batch / STORE_BLOCK), first_batch - 1 };
	f->batch = STORE_HEADER;
}

void
forge_batch(struct forge *f)
{
	f->at = STORE_BATCH_HEAD;
	f->records = 0;
}

uint8_t *
forge_here(struct forge *f)
{
	if (f->batch + f->at + 8192 > FORGE_SIZE)
		abort();
	return f->data + f->batch + f->at;
}

void
forge_seal(struct forge *f, enum store_kind kind, size_t len)
{
	f->at += store_record_seal(forge_here(f), kind, len, f->h.seed, f->batch + f->at);
	f->records++;
}

void
forge_end(struct forge *f, uint64_t number)
{
	store_batch_seal(f->data + f->batch, &(struct store_batch){ .len = (uint32_t)f->at, .records = f->records, .number = number },
	    f->h.seed, f->batch);
	f->batch += store_align(f->at, STORE_BLOCK);
}

void
forge_index(struct forge *f, const struct store_entry *entries, size_t n)
{
	struct store_index_state st = { 0 };
	uint8_t *p = f->data + f->batch;
	size_t len = 0;

	for (size_t i = 0; i < n; i++)
		len += store_index_add(p + STORE_INDEX_HEAD + len, &st, &entries[i]);
	forge_footer(f, &(struct store_footer){ .index_block = (uint32_t)(f->batch / STORE_BLOCK),
	    .index_len = (uint32_t)store_index_seal(p, len, (uint32_t)n, f->h.seed), .end_block = (uint32_t)(f->batch / STORE_BLOCK) });
}

void
forge_footer(struct forge *f, const struct store_footer *footer)
{
	store_footer_encode(f->data + FORGE_SIZE - STORE_FOOTER, footer, f->h.seed);
}

void
forge_done(struct forge *f, size_t len)
{
	char name[40];

	store_header_encode(f->data, &f->h);
	snprintf(name, sizeof(name), "journal/%08u.journal", f->h.segment);
	fake_disk_put(name, f->data, len);
}

/* ----------------------------------------------------------------- records -- */

void
forge_message(struct forge *f, uint32_t queue, uint64_t seq, uint64_t counter)
{
	static const uint16_t lens[STORE_PARTS - 1] = { 4 };

	memcpy(forge_here(f) + STORE_MESSAGE_HEAD, "head", 4);
	store_message_encode(forge_here(f), &(struct store_entry){ .queue = queue, .seq = seq, .counter = counter }, lens);
	forge_seal(f, STORE_MESSAGE, STORE_MESSAGE_HEAD + 4);
}

void
forge_large(struct forge *f, uint32_t queue, uint64_t seq, uint64_t body, uint64_t len)
{
	static const uint16_t lens[STORE_PARTS - 1] = { 0 };

	store_message_encode(forge_here(f), &(struct store_entry){ .queue = queue, .seq = seq, .counter = seq, .body = body, .last_len = len }, lens);
	forge_seal(f, STORE_MESSAGE, STORE_MESSAGE_HEAD);
}

void
forge_piece(struct forge *f, uint64_t body, uint32_t index, size_t len)
{
	store_piece_encode(forge_here(f), body, index);
	memset(forge_here(f) + STORE_PIECE_HEAD, (int)('a' + index), len);
	forge_seal(f, STORE_PIECE, STORE_PIECE_HEAD + len);
}

void
forge_queue(struct forge *f, uint32_t queue, bool removed)
{
	struct store_definition d = { .number = queue, .removed = removed, .bytes = { "q", 1 } };

	forge_seal(f, STORE_QUEUE, store_define_queue_encode(forge_here(f), &d));
}

void
forge_range(struct forge *f, uint32_t queue, uint64_t first, uint64_t last)
{
	size_t len = store_done_encode(forge_here(f), queue);

	len += store_done_range_encode(forge_here(f), 0, (uint64_t[2]){ first, last });
	forge_seal(f, STORE_DONE, len);
}

void
forge_move(struct forge *f, uint32_t from, uint64_t from_seq, uint32_t to, uint64_t to_seq)
{
	struct store_moved m = { .from_queue = from, .from_seq = from_seq, .to_queue = to, .to_seq = to_seq };

	forge_seal(f, STORE_MOVE, store_move_encode(forge_here(f), &m));
}

void
forge_snapshot_begin(struct forge *f, uint64_t id)
{
	forge_seal(f, STORE_SNAPSHOT_BEGIN, store_snapshot_begin_encode(forge_here(f), id));
}

void
forge_snapshot_end(struct forge *f, uint64_t id, uint32_t segment, uint32_t block, uint64_t batch)
{
	struct store_place start = { segment, block, batch };

	forge_seal(f, STORE_SNAPSHOT_END, store_snapshot_end_encode(forge_here(f), id, &start));
}

void
forge_dead(struct forge *f, const struct store_dead *d)
{
	size_t len = store_snapshot_dead_encode(forge_here(f), d);

	forge_seal(f, STORE_SNAPSHOT_DEAD, len);
}
