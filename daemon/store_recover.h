/*
 * store_recover: what the files of recovery share. Memory here is for the time
 * of store_open only.
 */
#ifndef STORE_RECOVER_H
#define STORE_RECOVER_H

#include "store_internal.h"

/* A file of the journal's folder. */
struct journal_file {
	struct segment *segment;
	struct store_header h;
	uint64_t bytes; /* its size, whatever the header says */
	bool valid;     /* its header is, and names it */
	bool sound;     /* its header was written once, by whatever name */
	bool counts;    /* belongs to the journal */
	bool is_bare;   /* there is no space for its blocks */
	uint64_t end;   /* where that ends in it; 0: not known */
	uint64_t last;  /* batch there */
	/* Of a segment before the start of replay: what the snapshot says. */
	bool listed;
	uint32_t total; /* records that count */
};

/* A message or piece that was found. */
struct found {
	uint64_t seq, number, counter, expires, not_before, body, last_len, bytes;
	uint32_t queue, flow, index, note_len;
	uint32_t segment, record; /* index of the segment; of the record in it */
	uint32_t moved;           /* 1 + index of what moved it last; 0: nothing did */
	uint8_t kind, priority, flags;
	bool dead;
};

struct found_done {
	uint32_t queue;
	uint64_t first, last;
};

struct found_dead {
	uint32_t segment, first, n; /* number of the segment */
	size_t bits, len;           /* in recovery.bits */
};

/* What was found in the segment in which replay starts, before that and behind it. */
struct found_head {
	struct journal_file *f; /* NULL: nothing */
	size_t first, end;
};

struct recovery {
	struct store *s;
	char *why;
	const struct store_recovery *tell;
	struct journal_file *files; /* by rising number */
	size_t n_files, files_room;
	struct journal_file *newest; /* at first the newest found; then the one that holds the rewritten batch */
	struct store_place replay;
	uint64_t snapshot; /* its id, once it is known */
	bool has_snapshot, is_snapshot_whole; /* its beginning was read; all of it, and nothing was damaged up to there */
	uint64_t expected; /* number of the batch that comes next; 0: any */
	uint64_t bytes_done, bytes_all;
	bool damaged; /* in what was replayed */

	/* A window on one file. */
	struct journal_file *open_file;
	struct disk_file *handle;
	uint8_t *window;
	size_t window_room, window_len;
	uint64_t window_at;

	struct found *found;
	size_t n_found, found_room;
	struct store_moved *moves; /* notes: own memory */
	size_t n_moves, moves_room;
	struct found_done *dones;
	size_t n_dones, dones_room;
	struct found_dead *deads;
	size_t n_deads, deads_room;
	uint8_t *bits;
	size_t n_bits, bits_room;
	const struct found_dead **mine; /* of the segment that is being read */
	size_t n_mine, mine_room;
	struct found_head head;
};

/* ------------------------------------------------------- store_recover.c -- */

/* The last batch that was found. */
struct last {
	struct store_place place;
	uint8_t *data; /* malloc'ed */
	bool is_first; /* in its segment */
	/* The last end of a snapshot in this segment. */
	struct store_place replay;
	uint32_t next_queue, next_flow;
	uint64_t next_body;
	uint64_t wall_ms;
	struct store_batch batch;
	uint64_t end; /* behind it */
};

/* The file of that segment, or NULL. */
struct journal_file *recover_file(struct recovery *rc, uint32_t number);
/* By rising number; pointers to files move. */
void recover_sort(struct recovery *rc);

/* ----------------------------------------------- store_recover_rewrite.c -- */

/*
 * The last batch is written again and synced before it counts: that it can be
 * read does not mean that it is on disk, if its sync failed. From here on the
 * journal ends in the new segment, which says where it ends in the old one.
 */
int recover_rewrite(struct recovery *rc, struct last *l);

/* -------------------------------------------------- store_recover_scan.c -- */

struct scan {
	struct journal_file *f;
	uint64_t at, limit; /* where the next batch should be; where it ends at the latest */
	uint64_t bad_at;    /* something that is no batch was skipped there; 0: nothing */
	/* The batch found. */
	struct store_batch batch;
	const uint8_t *data; /* until the next call */
	uint64_t offset;
};

/*
 * A file that cannot be opened or read is no damage: the error may pass, and
 * what is in the file is still there. The start is refused, and says which
 * file. Gives -EIO or -ENOMEM.
 */
int recover_unreadable(struct recovery *rc, const struct journal_file *f, int error);
/* 0, -EIO, -ENOMEM. */
int recover_use(struct recovery *rc, struct journal_file *f);
/* Bytes of a file, as many of len as there are; valid until the next call. */
int recover_bytes(struct recovery *rc, struct journal_file *f, uint64_t at, size_t len, const uint8_t **ret, size_t *ret_len);
void scan_begin(struct scan *sc, struct journal_file *f, uint64_t limit);
/* The next batch whose head is sound: 1; 0: there is none; or a negative errno. */
int scan_next(struct recovery *rc, struct scan *sc);
/* Are all of its records what was written? */
bool scan_is_whole(const struct scan *sc);
/* Read everything of f from the start of replay on; messages of what is before. */
int recover_replay(struct recovery *rc, struct journal_file *f);
/* What was dead before the start of replay in its segment. */
int recover_head(struct recovery *rc);
/* Messages and pieces of f, by its index if it has one. */
int recover_load(struct recovery *rc, struct journal_file *f);

/* -------------------------------------------------- store_recover_take.c -- */

/* Which of the snapshot's records tell of this segment: for recover_is_dead. */
int recover_find_deads(struct recovery *rc, const struct journal_file *f);
bool recover_is_dead(const struct recovery *rc, uint32_t record);
/* A message or piece record takes its place in its segment, and is remembered unless it is known to be dead. */
int recover_collect(struct recovery *rc, struct journal_file *f, const struct store_entry *e, bool dead);
/* Something was damaged. */
void recover_bad(struct recovery *rc, const struct journal_file *f, const char *what, uint64_t offset);
/* Of what lies before the start of replay only messages and pieces are wanted. */
int recover_take_batch(struct recovery *rc, const struct scan *sc, bool only_messages);

/* ------------------------------------------------- store_recover_moves.c -- */

/* Of two records for one message the one at the later place counts. */
bool recover_is_later(const struct store *s, const struct found *a, const struct found *b);
/* What was moved is at its new home; of two at one place the later one stays. */
int recover_apply_moves(struct recovery *rc);

/* ------------------------------------------------- store_recover_apply.c -- */

/* Put together what was found, into the store's tables, and tell it. */
int recover_apply(struct recovery *rc);
void recover_raise(uint64_t *p, uint64_t n);

#endif
