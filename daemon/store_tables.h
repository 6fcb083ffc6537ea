/*
 * store_tables: what the store knows of its segments and what lies in them,
 * of messages, definitions and moves. Belongs to the loop's thread.
 */
#ifndef STORE_TABLES_H
#define STORE_TABLES_H

#include "hmap.h"
#include "list.h"
#include "store.h"
#include "store_format.h"

#define STORE_NAME_MAX 40 /* bytes of a path below the state folder */

struct disk_file;

/* ---------------------------------------------------------------- segments -- */

/* A message or piece record in a segment. */
struct record {
	store_ref ref; /* 0: dead, as closed */
	uint32_t at;   /* offset in units of 8 bytes */
	uint32_t len;
};

enum segment_state {
	SEGMENT_FREE,    /* a file, nothing in it */
	SEGMENT_NEXT,    /* free, and has the name of the segment that comes next */
	SEGMENT_CURRENT, /* is appended to */
	SEGMENT_SEALED
};

/* A file. Its place in store.segments does not change. */
struct segment {
	uint32_t index; /* that place */
	uint32_t number;
	enum segment_state state;
	uint64_t seed, size;
	uint64_t end;    /* behind its last batch */
	bool allocated;  /* its blocks are */
	bool is_victim;  /* is being copied */
	bool is_copied;  /* what lives in it is at the front of a batch that was closed */
	bool is_told;    /* the last complete snapshot tells of it: until the next one it must not go */
	bool will_be;    /* the same of the snapshot that is being written */
	uint64_t zeroed; /* free, next: bytes that were written before, so that writing them again allocates nothing */
	struct record *records;
	uint32_t n_records, records_room;
	uint32_t live, damaged; /* records not yet free on disk; those of them that cannot be read */
	uint64_t live_bytes;
	uint32_t pins;             /* reads under way */
	bool is_read;              /* the reader may have it open */
	uint64_t read_at;          /* when it was last read, in reads */
	struct disk_file *reading; /* the reader's; the loop's only while pins is 0 */
	struct disk_file *writing; /* next, current: the writer's */
};

/* ------------------------------------------------------------------- slots -- */

#define SLOT_SEGMENT_MAX (1u << 24)

enum slot_state { SLOT_UNUSED, SLOT_PENDING, SLOT_INFLIGHT, SLOT_WRITTEN };

/* Where a message or piece is; store_ref is the index. Small: there is one for every message. */
struct slot {
	uint32_t segment : 24; /* index; unused: part of the list of unused ones */
	uint32_t state : 2;
	uint32_t dying : 1;   /* store_done came; it is not closed yet */
	uint32_t moved : 1;   /* has a struct moved */
	uint32_t large : 1;   /* has a struct store_body */
	uint32_t damaged : 1; /* cannot be read */
	uint32_t reading : 1; /* a read is under way */
	uint32_t record;      /* in its segment; pending: low bits of its item; unused: next unused */
};

/* A message whose record does not tell its home: it was moved since that was written. */
struct moved {
	struct hmap_node node; /* by ref */
	struct list list;
	store_ref ref;
	uint32_t waiting; /* moves of it that are not closed */
	bool is_closed;   /* at least one is: m holds */
	struct store_moved m;      /* from: as in the record; note: own memory */
	struct store_bytes latest; /* note, closed or not; owned by m or an item */
};

struct store_body {
	struct hmap_node node; /* by ref of the message; not in the table before store_put */
	struct list unput;     /* among those that are no message yet */
	struct store *store;
	store_ref ref;
	uint64_t id;
	uint64_t len;
	store_ref *pieces;
	uint32_t n, room;
	uint8_t *buf; /* bytes of the piece that is not whole yet */
	uint32_t used;
	bool failed;
};

/* ------------------------------------------------------------- definitions -- */

/* A queue or a flow. */
struct defined {
	struct hmap_node node; /* by number */
	struct list list;
	struct store_definition d; /* bytes: own memory */
	bool is_defined;
};

struct defined_table {
	struct hmap map;
	struct list list;
	uint64_t bytes; /* of their records in a snapshot */
};

/* ------------------------------------------------------- store_segment.c -- */

void store_name(char ret[static STORE_NAME_MAX], uint32_t number);
/* A new one in the table, free; NULL: out of memory, or too many. */
struct segment *store_segment_new(struct store *s, uint32_t number, uint64_t size);
void store_segment_remove(struct store *s, struct segment *g); /* from the table */
/* Room for n more records. */
int store_segment_reserve(struct segment *g, size_t n);
/* It has its blocks. */
void store_segment_allocated(struct store *s, struct segment *g);
/* No more come. */
void store_segment_shrink(struct segment *g);
/* A record of the current batch, or one found; counts as live. */
uint32_t store_segment_add(struct store *s, struct segment *g, store_ref ref, uint64_t offset, uint32_t len);
/* It was dead, and that is on disk. */
void store_segment_release(struct store *s, struct segment *g, uint32_t record);
/* By replay, or by the snapshot: whatever lives in it. */
bool store_segment_is_needed(const struct store *s, const struct segment *g);
/* Free what holds nothing that is needed. */
void store_segment_sweep(struct store *s);
void store_segment_set_free(struct store *s, struct segment *g);
struct segment *store_segment_numbered(const struct store *s, uint32_t number);
/* What a record takes of a segment, its part of the index and the like counted. */
uint64_t store_record_cost(const struct store *s, uint64_t len);

int store_slot_new(struct store *s, store_ref *ret);
void store_slot_free(struct store *s, store_ref ref);
struct record *store_slot_record(const struct store *s, store_ref ref);

struct moved *store_moved_find(const struct store *s, store_ref ref);
struct moved *store_moved_get(struct store *s, store_ref ref); /* made if missing; NULL: out of memory */
void store_moved_drop(struct store *s, store_ref ref);
/* Its record has the note now. */
void store_moved_drop_note(struct moved *m);
/* Of a slot that is large. */
struct store_body *store_body_find(const struct store *s, store_ref ref);
void store_body_free(struct store_body *b);

struct defined *store_defined_find(const struct defined_table *t, uint32_t number);
struct defined *store_defined_get(struct defined_table *t, uint32_t number); /* made if missing */
void store_defined_drop(struct store *s, struct defined_table *t, struct defined *d);
/* Takes bytes (malloc'ed). */
void store_defined_set(struct defined_table *t, struct defined *d, uint8_t *bytes, size_t len);
void store_defined_done(struct defined_table *t);

/* Make *p hold at least n elements. */
int store_grow(void *p, size_t *room, size_t n, size_t size);

#endif
