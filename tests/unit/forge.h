/*
 * forge: segments of a journal, byte by byte and with right sums, on the disk
 * in memory (fake_disk): what no store writes, or only when much comes together.
 */
#ifndef FORGE_H
#define FORGE_H

#include "store_format.h"

#define FORGE_SIZE (64u << 10)

/* A segment being made. Zero what is not wanted; h may be changed until forge_done. */
struct forge {
	struct store_header h;
	uint8_t data[FORGE_SIZE];
	size_t batch, at; /* where the batch begins; where its next record does */
	uint32_t records;
};

/* One whose journal before it ends in the segment before, if that is given. */
void forge_begin(struct forge *f, uint32_t number, uint64_t first_batch, const struct forge *before);
void forge_batch(struct forge *f);
/* Where the next record goes; then its contents are sealed. */
uint8_t *forge_here(struct forge *f);
void forge_seal(struct forge *f, enum store_kind kind, size_t len);
/* The end of the batch, which gets this number. */
void forge_end(struct forge *f, uint64_t number);
/* Behind the last batch: an index of these, as whatever they claim. */
void forge_index(struct forge *f, const struct store_entry *entries, size_t n);
void forge_footer(struct forge *f, const struct store_footer *footer);
/* Its file; of len bytes, FORGE_SIZE: all. */
void forge_done(struct forge *f, size_t len);

/* Records. */
void forge_message(struct forge *f, uint32_t queue, uint64_t seq, uint64_t counter);
/* A message without parts whose last part is in pieces. */
void forge_large(struct forge *f, uint32_t queue, uint64_t seq, uint64_t body, uint64_t len);
void forge_piece(struct forge *f, uint64_t body, uint32_t index, size_t len);
void forge_queue(struct forge *f, uint32_t queue, bool removed);
void forge_range(struct forge *f, uint32_t queue, uint64_t first, uint64_t last);
void forge_move(struct forge *f, uint32_t from, uint64_t from_seq, uint32_t to, uint64_t to_seq);
void forge_snapshot_begin(struct forge *f, uint64_t id);
void forge_snapshot_end(struct forge *f, uint64_t id, uint32_t segment, uint32_t block, uint64_t batch);
void forge_dead(struct forge *f, const struct store_dead *d);

#endif
