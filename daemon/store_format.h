/*
 * store_format: the bytes of the journal, as docs/internals.md lists them.
 * Encodes into memory and decodes from memory that may hold anything: no
 * claim is believed before it is checked against the bytes that are there.
 * Knows no files.
 */
#ifndef STORE_FORMAT_H
#define STORE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"

#define STORE_VERSION 1
#define STORE_HEADER 4096 /* bytes before the first batch */
#ifdef PLANT_SHARED_BLOCK
#define STORE_BLOCK 8
#else
#define STORE_BLOCK 4096 /* batches begin at multiples of this */
#endif
#define STORE_FOOTER 4096      /* at the end of the file */
#define STORE_BATCH_HEAD 40    /* bytes */
#define STORE_RECORD_HEAD 16   /* bytes */
#define STORE_MESSAGE_HEAD 92  /* bytes of a message record before its parts, record head included */
#define STORE_PIECE_HEAD 32    /* the same of a piece */
#define STORE_DEFINE_QUEUE_HEAD 40
#define STORE_DEFINE_FLOW_HEAD 32
#define STORE_MOVE_HEAD 48
#define STORE_DEAD_HEAD 40
#define STORE_NOTE_MAX 256     /* bytes */
#define STORE_INDEX_TYPICAL 32 /* bytes of an entry of the index, to plan with */
#define STORE_PLACE_NONE ((struct store_place){ 0 })

enum store_kind {
	STORE_MESSAGE = 1,
	STORE_DONE,
	STORE_MARK,
	STORE_QUEUE,
	STORE_FLOW,
	STORE_PIECE,
	STORE_MOVE,
	STORE_OFFERED,
	STORE_SNAPSHOT_BEGIN,
	STORE_SNAPSHOT_DEAD,
	STORE_SNAPSHOT_END
};

/* Where something of the journal begins or ends, and the batch there. */
struct store_place {
	uint32_t segment; /* 0: nowhere */
	uint32_t block;
	uint64_t batch;
};

#define STORE_FIRST_REWRITTEN 1 /* flag of a header */

struct store_header {
	uint32_t segment; /* its number */
	uint64_t seed;
	uint64_t size;
	uint32_t start_count;
	uint32_t flags;
	uint64_t first_batch;
	struct store_place before; /* where the journal before this segment ends; batch: its last one */
	struct store_place replay; /* where reading back starts */
	uint32_t next_queue, next_flow;
	uint64_t next_body;
	uint64_t wall_ms;
};

struct store_batch {
	uint32_t len; /* header and records; not the rest of the last block */
	uint32_t records;
	uint32_t flags; /* 1: rewritten by recovery */
	uint64_t number;
	uint64_t wall_ms;
};

/* A record as it lies in a batch. */
struct store_record {
	enum store_kind kind;
	const uint8_t *data; /* with its head */
	uint32_t len;        /* with its head, without padding */
	uint64_t offset;     /* in the segment */
};

/* A message or piece: what recovery wants to know of it. */
struct store_entry {
	enum store_kind kind;
	uint64_t offset;
	uint32_t len;
	/* Of a message. Times are milliseconds since 1970, 0 none. */
	uint32_t queue, flow;
	uint64_t seq, number, counter;
	uint64_t expires, not_before;
	uint64_t last_len; /* of the last part */
	uint64_t bytes;    /* of all parts */
	uint32_t note_len; /* of the part STORE_NOTE */
	uint8_t priority, flags;
	/* Of both: the large body; 0: none */
	uint64_t body;
	uint32_t index; /* of a piece */
};

struct store_definition {
	uint32_t number; /* of the queue or flow */
	bool removed;
	uint64_t last_seq, offered, mark;
	struct store_bytes bytes;
};

struct store_moved {
	uint32_t from_queue, to_queue;
	uint64_t from_seq, to_seq;
	uint8_t flags;
	bool has_note;
	struct store_bytes note;
};

/* Dead records of one segment, in a snapshot. */
struct store_dead {
	uint64_t snapshot;
	uint32_t segment;
	uint32_t first; /* of the records that are told here */
	uint32_t n;     /* how many are; bits that are not there are 0: alive */
	uint32_t total; /* records of the segment that count */
	struct store_bytes bits;
};

static inline uint64_t
store_align(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* What a record of len takes in a batch. */
static inline uint64_t
store_padded(uint64_t len)
{
	return store_align(len, 8);
}

/* ----------------------------------------------------------------- header -- */

void store_header_encode(uint8_t buf[static STORE_HEADER], const struct store_header *h);
/* 0; -EBADMSG: none; -EPROTONOSUPPORT: of another version of the format. */
int store_header_decode(const uint8_t *buf, size_t len, struct store_header *ret);

/* ------------------------------------------------------------------ batch -- */

/*
 * Write the head of a batch whose records, with their sums, stand behind it.
 * offset is the batch's in the segment.
 */
void store_batch_seal(uint8_t *buf, const struct store_batch *b, uint64_t seed, uint64_t offset);
/*
 * Is there a batch at buf? Checks its head and that its records lie in it, not
 * what they contain (store_record_check). 0; -EAGAIN: *ret_need bytes would
 * tell; -EBADMSG.
 */
int store_batch_decode(const uint8_t *buf, size_t len, uint64_t seed, uint64_t offset, struct store_batch *ret,
    size_t *ret_need);
/*
 * The record behind the one at *at (start with 0) of a batch that was decoded
 * well. False at the end.
 */
bool store_batch_next(const uint8_t *buf, const struct store_batch *b, uint64_t offset, uint32_t *at,
    struct store_record *ret);

/* ---------------------------------------------------------------- records -- */

/* Write the head of a record whose contents stand behind it, and zero its padding. Returns its padded length. */
size_t store_record_seal(uint8_t *buf, enum store_kind kind, size_t len, uint64_t seed, uint64_t offset);
/* Do its bytes have the sum they were written with? */
bool store_record_check(const uint8_t *buf, size_t len, uint64_t seed, uint64_t offset);
/* For a record that is read alone: its length and kind are what they should be, and so is its sum. */
bool store_record_is(const uint8_t *buf, size_t len, enum store_kind *ret_kind, uint64_t seed, uint64_t offset);

/* Contents of a message up to its parts; lens are of parts 0 to 3. */
void store_message_encode(uint8_t *buf, const struct store_entry *e, const uint16_t lens[static STORE_PARTS - 1]);
/* 0 or -EBADMSG; parts of a large body's last one: data NULL. parts may be NULL. */
int store_message_decode(const struct store_record *r, struct store_entry *ret, struct store_bytes parts[STORE_PARTS]);
/* The record's own place in the order of queues is changed: for copies of what was moved. */
void store_message_rehome(uint8_t *buf, uint32_t queue, uint64_t seq, uint8_t flags);

void store_piece_encode(uint8_t *buf, uint64_t body, uint32_t index);
int store_piece_decode(const struct store_record *r, struct store_entry *ret);

/* The others: write contents at buf, return the record's length (without padding). Seal it then. */
size_t store_done_encode(uint8_t *buf, uint32_t queue); /* without ranges */
size_t store_done_range_encode(uint8_t *buf, size_t i, const uint64_t range[static 2]); /* how much longer it is */
size_t store_mark_encode(uint8_t *buf, uint32_t flow, uint64_t number);
size_t store_offered_encode(uint8_t *buf, uint32_t queue, uint64_t seq);
size_t store_define_queue_encode(uint8_t *buf, const struct store_definition *d);
size_t store_define_flow_encode(uint8_t *buf, const struct store_definition *d);
size_t store_move_encode(uint8_t *buf, const struct store_moved *m);
size_t store_snapshot_begin_encode(uint8_t *buf, uint64_t id);
size_t store_snapshot_dead_encode(uint8_t *buf, const struct store_dead *d);
size_t store_snapshot_end_encode(uint8_t *buf, uint64_t id, const struct store_place *start);

/* 0 or -EBADMSG. */
int store_done_decode(const struct store_record *r, uint32_t *ret_queue, uint32_t *ret_n);
void store_done_range(const struct store_record *r, uint32_t i, uint64_t ret[static 2]);
int store_mark_decode(const struct store_record *r, uint32_t *ret_flow, uint64_t *ret_number);
int store_offered_decode(const struct store_record *r, uint32_t *ret_queue, uint64_t *ret_seq);
int store_define_decode(const struct store_record *r, struct store_definition *ret); /* of queues and flows */
int store_move_decode(const struct store_record *r, struct store_moved *ret);
int store_snapshot_begin_decode(const struct store_record *r, uint64_t *ret_id);
int store_snapshot_dead_decode(const struct store_record *r, struct store_dead *ret);
int store_snapshot_end_decode(const struct store_record *r, uint64_t *ret_id, struct store_place *ret_start);

/* ------------------------------------------------------------------ index -- */

#define STORE_INDEX_HEAD 16      /* bytes */
#define STORE_INDEX_ENTRY_MAX 128 /* bytes */
#define STORE_INDEX_SUM 8

/* What entries are told relative to; zero to begin. */
struct store_index_state {
	uint64_t offset, seq, number, counter, expires, not_before;
};

struct store_footer {
	uint32_t index_block, index_len; /* head and sum included */
	uint64_t last_batch;
	uint32_t end_block; /* behind the last batch */
};

/* Append an entry; returns its length. */
size_t store_index_add(uint8_t buf[static STORE_INDEX_ENTRY_MAX], struct store_index_state *st, const struct store_entry *e);
/* Write the head before, and the sum behind, len bytes of entries; returns the whole length. */
size_t store_index_seal(uint8_t *buf, size_t len, uint32_t entries, uint64_t seed);
/* 0 or -EBADMSG; the number of entries. */
int store_index_check(const uint8_t *buf, size_t len, uint64_t seed, uint32_t *ret_entries);
/* The next entry at *at (start with STORE_INDEX_HEAD); false when it is none. */
bool store_index_next(const uint8_t *buf, size_t len, size_t *at, struct store_index_state *st, struct store_entry *ret);

#define STORE_FOOTER_LEN 48
void store_footer_encode(uint8_t buf[static STORE_FOOTER_LEN], const struct store_footer *f, uint64_t seed);
int store_footer_decode(const uint8_t *buf, size_t len, uint64_t seed, struct store_footer *ret);

#endif
