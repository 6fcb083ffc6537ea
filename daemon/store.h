/*
 * store: the journal. Keeps messages, marks and definitions on disk and tells
 * when they are safe. Knows queues and flows as numbers, messages as parts of
 * bytes; knows no sessions, no names, and not what a message means. The format
 * and the argument why it survives crashes are in docs/internals.md.
 *
 * One thread: every function is called on the loop and none blocks, except
 * store_open. A writer and a reader run beside it as tasks; they touch only
 * what was handed to them.
 *
 * What is appended is durable in the order appended, without gaps: a crash
 * keeps a prefix (and, when messages had to wait for space, dones and offers
 * from behind them that belong to no group). Each append raises the *ticket*; `synced(ticket)` says that
 * everything up to it is on disk.
 */
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;
struct loop;
struct store;
struct task_runner;

#define STORE_PARTS 5                 /* what a message consists of; only the last may be large */
#define STORE_PART_MAX 8192           /* bytes of every part but the last */
#define STORE_DEFINITION_MAX 1024     /* bytes */
#define STORE_PIECE_MAX (256u << 10)  /* larger last parts are written in pieces */
#define STORE_BATCH_MAX (4u << 20)
#define STORE_SEGMENT_MIN (64u << 10) /* for tests; the configuration asks for 1 MiB */
#define STORE_HELD_BACK 4             /* segments that new messages cannot have */

/* A message in the store, wherever it lies now. 0: none. */
typedef uint32_t store_ref;

/* A large last part that is being written ahead of its message. */
struct store_body;

struct store_bytes {
	const void *data;
	size_t len;
};

enum store_state {
	STORE_OPEN,
	STORE_FULL,  /* the file system has no space: what was appended waits, and is tried again */
	STORE_FENCED /* a sync or a write failed: nothing more is confirmed until restart */
};

struct store_message {
	uint32_t queue;
	uint64_t seq;
	uint32_t flow;           /* 0: none; else accepting it raises that flow's mark to number */
	uint64_t number;
	uint8_t priority;
	uint8_t flags;           /* the caller's */
	uint64_t counter;        /* the caller's */
	uint64_t expires_ms;     /* loop_now_ms; 0: never. What remains is kept, together with the time of day */
	uint64_t not_before_ms;  /* the same */
	struct store_bytes parts[STORE_PARTS];
	struct store_body *body; /* not NULL: is the last part, whose data is then NULL and whose len is the whole size */
};

/* -------------------------------------------------------------- opening -- */

struct store_events {
	/* Everything appended up to ticket is on disk. */
	void (*synced)(void *arg, uint64_t ticket);
	/*
	 * That messages of this queue up to seq were offered is on disk: told before
	 * synced is, when messages ahead of it wait for space. May be NULL.
	 */
	void (*offered)(void *arg, uint32_t queue, uint64_t seq);
	void (*state)(void *arg, enum store_state st, const char *why);
	/* store_room has grown, after it was below what store_want_room asked for. */
	void (*room)(void *arg);
	/* For the log: something was damaged and set aside. One sentence. */
	void (*damaged)(void *arg, const char *what);
	void *arg;
};

/* A message found by store_open; parts are read later (store_read). */
struct store_found {
	store_ref ref;
	uint32_t queue;
	uint64_t seq;
	uint32_t flow;
	uint64_t number;
	uint8_t priority, flags;
	uint64_t counter;
	uint64_t expires_ms, not_before_ms; /* loop_now_ms, time of day taken into account; 0: none */
	uint64_t bytes;                     /* of all its parts */
};

/*
 * Told by store_open: definitions first, then messages by rising (queue, seq).
 * A queue that holds messages but whose definition was lost to damage is told
 * with an empty one. Members may be NULL.
 */
struct store_recovery {
	/* last_seq: the highest ever used; offered: as store_offered. */
	void (*queue)(void *arg, uint32_t queue, uint64_t last_seq, uint64_t offered, struct store_bytes definition);
	void (*flow)(void *arg, uint32_t flow, uint64_t mark, struct store_bytes definition);
	void (*message)(void *arg, const struct store_found *m);
	/* Now and then on the way: bytes looked at so far, and in all. May be NULL. */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

struct store_config {
	struct loop *loop;
	struct disk *disk;          /* borrowed; the folder STORE_FOLDER is made in it */
	struct task_runner *writer; /* borrowed, for this store alone; freed by the caller before the store */
	struct task_runner *reader; /* the same, another one */
	uint64_t segment;           /* bytes of a new segment: a multiple of 4096, at least STORE_SEGMENT_MIN */
	uint64_t max_disk;          /* bytes of all segments; at least STORE_HELD_BACK + 4 of them */
	uint32_t start_count;
	uint32_t least_start;       /* the journal must be of this start or a later one; 0: any will do, or none */
};

#define STORE_FOLDER "journal"

/*
 * Recover what is there, rewrite and sync the last batch, be ready to append.
 * Blocks. 0 and *ret; or a negative errno and a sentence in why: -ENOSPC (no
 * room for the one segment that recovery needs), -EIO, -EINVAL (not a journal
 * of this version, older than least_start, or on a network file system), -ENOMEM. A refused start changes
 * nothing that is there.
 */
int store_open(const struct store_config *cfg, const struct store_recovery *found, const struct store_events *ev,
    struct store **ret, char why[static 200]);
/*
 * At once: what was not synced may or may not be there. For an orderly end
 * wait until store_ticket is synced. Call-backs of reads are not called. Bodies
 * that did not become messages are freed with it. NULL is fine.
 */
void store_free(struct store *s);

/* ------------------------------------------------------------- appending -- */

/* The ticket of what was appended last. */
uint64_t store_ticket(const struct store *s);
/* What is on disk. */
uint64_t store_synced(const struct store *s);
/*
 * Somebody waits for what was appended: write and sync it at the end of this
 * loop pass, or as soon as the batch before is synced. Messages ask for this
 * themselves; everything else rides along, or goes after a few milliseconds.
 */
void store_hurry(struct store *s);

/*
 * What is appended between the two is wholly there after a crash, or not at
 * all. At most store_group_max bytes (STORE_GROUP_MAX, less with small
 * segments); does not nest. Large parts are appended before: of a body only
 * what store_put still has to write belongs to the group.
 */
#define STORE_GROUP_MAX (2u << 20)
void store_group_begin(struct store *s);
void store_group_end(struct store *s);
uint64_t store_group_max(const struct store *s);

/*
 * Append a message. What m points to must stay until the ticket is synced or
 * store_done was called. 0 and *ret; or -ENOMEM, -EIO (fenced), -EFBIG (a part
 * too large). Does not ask for room: the caller has reserved it (store_room).
 * Takes over m->body if it succeeds.
 */
int store_put(struct store *s, const struct store_message *m, store_ref *ret);
/*
 * The message has left for good. If it was not written yet only its mark is.
 * (queue, seq) are where it was last. The ref dies. Outstanding reads are told
 * -ECANCELED.
 */
void store_done(struct store *s, store_ref ref, uint32_t queue, uint64_t seq);
/*
 * A new home for the same bytes, in the same step as it leaves the old one. flags
 * replace its flags; note, if any, takes the place of the part STORE_NOTE.
 */
#define STORE_NOTE 3 /* which part may be replaced by a note of at most 256 bytes */
int store_move(struct store *s, store_ref ref, uint32_t from, uint64_t from_seq, uint32_t to, uint64_t to_seq,
    uint8_t flags, struct store_bytes note);
/* An explicit mark: `number` on that flow is accepted, or passed, without a message. */
void store_mark(struct store *s, uint32_t flow, uint64_t number);
/* Messages of this queue up to seq may have been seen by a consumer. */
void store_offered(struct store *s, uint32_t queue, uint64_t seq);

/* Numbers of queues and flows, never used before (0 is none). */
uint32_t store_new_queue(struct store *s);
uint32_t store_new_flow(struct store *s);
/* Define, or define anew. -ENOMEM, -EIO, -EFBIG. */
int store_define_queue(struct store *s, uint32_t queue, struct store_bytes definition);
int store_define_flow(struct store *s, uint32_t flow, struct store_bytes definition);
/* Forget it and everything of it: a queue must hold no message. */
void store_remove_queue(struct store *s, uint32_t queue);
void store_remove_flow(struct store *s, uint32_t flow);

/* ----------------------------------------------------------- large parts -- */

/* What is larger has to be written so; at most STORE_PIECE_MAX, less with small segments. */
uint64_t store_piece_max(const struct store *s);
/*
 * The last part of a message above store_piece_max is written ahead, in pieces.
 * NULL: out of memory.
 */
struct store_body *store_body_new(struct store *s);
/* The next bytes; copied. 0, or -ENOMEM, -EIO. Any length; cut into pieces here. */
int store_body_append(struct store_body *b, const void *data, size_t len);
/* It will not become a message. NULL is fine. */
void store_body_drop(struct store_body *b);

/* --------------------------------------------------------------- reading -- */

/* One read under way. Embedded in the caller's object. */
struct store_read {
	/*
	 * 0, and parts point into one allocation at `memory`, which is the
	 * caller's to free; or -EIO: damaged, for good; -ENOMEM; -ECANCELED:
	 * store_done came before; -ESHUTDOWN: it was on its way to the disk when
	 * the store was fenced. From the loop, never from store_read.
	 */
	void (*done)(struct store_read *r, int error);
	void *memory;
	uint64_t counter; /* the message's */
	uint64_t last_len; /* of the whole last part */
	struct store_bytes parts[STORE_PARTS];
	void *impl[4];
};

/*
 * Read a message's parts (verified). 0, or -ENOMEM, -EAGAIN (too many under
 * way: after the next done), -ESHUTDOWN (fenced, as above: not before a restart).
 */
int store_read(struct store *s, store_ref ref, struct store_read *r);
/* The same; but of a last part that was written in pieces only the first is read, and its len is that. */
int store_read_start(struct store *s, store_ref ref, struct store_read *r);
/* done will not be called. */
void store_read_cancel(struct store *s, struct store_read *r);

/* ------------------------------------------------------------------ room -- */

/* Bytes that a message with parts of `bytes` in all takes, everything counted. */
uint64_t store_cost(const struct store *s, uint64_t bytes);
/* Bytes of messages (as store_cost counts) that new messages may take now; 0 while full or fenced. */
uint64_t store_room(const struct store *s);
/* Bytes that messages may take in all, with nothing in the store. */
uint64_t store_capacity(const struct store *s);
/* Tell `room` once store_room is at least that. */
void store_want_room(struct store *s, uint64_t bytes);

/* ----------------------------------------------------------------- backup -- */

/* What is synced now, held on the disk as it is. */
struct store_backup;
/* 0, -ENOMEM; -EAGAIN while a batch is under way: from inside `synced` there is none. */
int store_backup_begin(struct store *s, struct store_backup **ret);
/* Bytes to be copied. */
uint64_t store_backup_bytes(const struct store_backup *b);
/*
 * For a task: copy it into STORE_FOLDER of another folder, and sync that. on is
 * called as it goes; false there ends it with -ECANCELED.
 */
int store_backup_copy(const struct store_backup *b, struct disk *to, bool (*on)(void *arg, uint64_t bytes), void *arg);
/* Not while it is copied; before store_free. NULL is fine. */
void store_backup_end(struct store *s, struct store_backup *b);

struct store_stats {
	enum store_state state;
	char why[160];             /* of FULL and FENCED */
	uint64_t messages, live_bytes, capacity;
	uint64_t disk_bytes;       /* of all segment files */
	uint64_t used_bytes;       /* of what stands in them, dead or not; of a segment that is full all of it */
	uint32_t segments, free_segments;
	uint64_t batches, records, syncs, written_bytes, payload_bytes; /* since start */
	uint64_t copied_bytes, snapshots;
	uint64_t damaged;          /* records and batches set aside, at recovery and since */
	uint64_t sync_us_last, sync_us_max;
	uint64_t recovered_messages, recovery_ms;
	uint32_t newest_start;     /* the newest that would be found in the journal, if it is this one; else 0 */
};
void store_stats(const struct store *s, struct store_stats *ret);

#endif
