/*
 * store_internal: what the store's files share. Everything here belongs to the
 * loop's thread, except a job while its task runs: the task touches the job,
 * and the files it names, and nothing else.
 *
 * Memory tells the state of the journal *as closed*: of the batches that were
 * put together, the last of which may still be on its way to the disk. What
 * waits to be appended (struct item) changes it when its batch is closed, so
 * that what is written on the way (copies, snapshots) is true at its place.
 */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include "hmap.h"
#include "list.h"
#include "loop.h"
#include "store.h"
#include "store_format.h"
#include "store_tables.h"

#define STORE_LINGER_MS 5            /* what nobody waits for is written within that */
#define STORE_RETRY_MS 1000          /* when there was no space */
#define STORE_AHEAD_STEP (1u << 20)  /* bytes zeroed at once */
#define STORE_LOOK_BATCHES 64        /* look at the segments after that many at the latest */
#define STORE_SLACK 1                /* segments used beyond twice what lives before making space comes first */
#define STORE_YOUNG 6                /* segments that were begun since: what lives on then is not young any more */
#define STORE_CLEANERS 4             /* segments copied at once when space is wanted */
#define STORE_COPY_MAX (1u << 20)    /* bytes copied in one batch */
#define STORE_READS_MAX 1000         /* under way; less than a runner takes, as the cleaner reads too */
#define STORE_READ_FILES 64          /* kept open for reading */

/* ----------------------------------------------------------------- pending -- */

enum item_kind { ITEM_NONE, ITEM_MESSAGE, ITEM_PIECE, ITEM_DONE, ITEM_MARK, ITEM_QUEUE, ITEM_FLOW, ITEM_MOVE, ITEM_OFFERED };

/* Something appended whose batch is not closed. */
struct item {
	uint8_t kind;
	bool joined; /* in the same group as the item before */
	bool removed, has_note;
	bool is_kept; /* message: the parts are a copy, which begins with the first */
	uint8_t priority, flags;
	uint16_t lens[STORE_PARTS - 1];
	store_ref ref;
	uint32_t queue, flow; /* move: from, to */
	uint32_t index;       /* of a piece */
	uint64_t seq, number; /* move: from, to */
	uint64_t counter;     /* piece: body */
	uint64_t expires, not_before;
	uint64_t last_len;              /* of the last part; bytes of a definition or note, too */
	const void *parts[STORE_PARTS]; /* the last one: own memory, except of a message */
};

/* -------------------------------------------------------------------- jobs -- */

/* A batch on its way. */
struct write_job {
	struct disk_file *file;
	const uint8_t *data;
	size_t len;
	uint64_t offset;
	/* The segment before, which is full: its index, and its file to be closed. */
	struct disk_file *sealed;
	const uint8_t *index;
	size_t index_len;
	uint64_t index_at, footer_at;
	uint8_t footer[STORE_FOOTER_LEN];
	int error;
	bool was_sync; /* the error came from a sync */
};

enum ahead_what { AHEAD_NOTHING, AHEAD_NEXT, AHEAD_ZERO, AHEAD_SPARE, AHEAD_REMOVE };

/* A step ahead of the batches. */
struct ahead_job {
	enum ahead_what what;
	struct disk *disk;
	struct segment *segment;
	char from[STORE_NAME_MAX], to[STORE_NAME_MAX]; /* from "": make it */
	struct disk_file *close; /* the reader's, of a file that gets another content */
	struct disk_file *file;
	uint64_t size, at, len;
	uint32_t number; /* the one in `to` */
	bool renamed, removed;
	int error;
	bool was_sync;
};

/* What a batch lets go of once it is synced: the record, and the slot if it is not 0. */
struct release {
	uint32_t segment, record;
	store_ref ref;
};

struct done_pair {
	uint32_t queue;
	uint64_t seq;
};

/* Used for marks and offered, too. */
struct number_pair {
	uint32_t number;
	uint64_t value;
};

struct read_job;
struct cleaners;
struct snapshot;

struct store {
	struct store_config cfg;
	struct store_events ev;
	uint64_t batch_max;   /* bytes of a batch, whole blocks */
	uint32_t piece_max;
	uint64_t usable;      /* bytes of a segment for batches */
	enum store_state state, state_told;
	char why[160];
	bool wants_next;      /* a batch waits for the next segment */
	bool no_space;        /* the last file could not be allocated */
	bool try_space;       /* try again */
	bool look;            /* a segment was sealed, or has nothing living any more: see what is to do */
	unsigned looked;      /* batches since */
	uint64_t died;        /* bytes since */
	bool resubmit;        /* the batch under way is not with the writer, but goes there again */
	bool batch_full;      /* the batch under way found no space */
	bool front_alone;     /* the last batch took none of the items */
	bool copies_first;    /* the next one takes few items, so that copies are packed */

	/* Pending: items [head, tail) of a ring; the ticket of item n is n + 1. */
	struct item *items;
	uint64_t head, tail, room_items;
	uint64_t synced, told; /* tickets */
	uint64_t closed;      /* ticket of the batch under way */
	uint64_t dropped;     /* tickets given while fenced */
	bool in_group;
	uint64_t group_start, group_bytes;
	bool hurry;
	struct loop_call close_call, tell_call;
	struct loop_timer linger, retry;

	struct slot *slots;
	uint32_t n_slots;
	size_t room_slots;
	store_ref unused;     /* list */
	struct hmap moved;    /* struct moved */
	struct list moved_list;
	struct hmap bodies;   /* struct store_body */
	struct list unput;    /* struct store_body that are no message yet */
	struct defined_table queues, flows;
	uint32_t next_queue, next_flow;
	uint64_t next_body;

	struct segment **segments;
	uint32_t n_segments;  /* places; some may be NULL */
	struct segment *current, *next;
	uint32_t last_number; /* of segments that were begun */
	uint32_t n_files, n_free, n_bare; /* bare: free, but without blocks */
	uint64_t file_bytes;
	uint64_t live_bytes, messages;
	uint64_t batch_number; /* of the last closed one */
	struct store_place before; /* where the journal before the current segment ends */
	struct store_place replay; /* of the last complete snapshot */
	uint64_t wall_floor;  /* the newest time in the journal */
	uint64_t replay_bytes; /* written since */

	/* The batch under way. */
	bool inflight;
	uint8_t *buf;         /* room for a header, then the batch */
	size_t buf_room;
	struct write_job job;
	struct ahead_job ahead;
	uint64_t handed_ns;
	uint32_t first_inflight; /* record of the current segment */
	struct release *releases;
	size_t n_releases, releases_room;
	struct done_pair *dones;
	size_t n_dones, dones_room;
	struct number_pair *marks, *offers;
	size_t n_marks, marks_room, n_offers, offers_room;
	struct store_index_state index_state;
	uint8_t *index, *sealed_index; /* of the current segment; of the one before while it is written */
	size_t index_len, index_room;
	uint32_t index_entries;
	bool index_failed;

	struct list reads;    /* struct read_job */
	uint32_t n_reads, n_read_files;
	uint64_t read_count;
	uint64_t wanted_room;
	struct cleaners *cleaners;
	struct snapshot *snapshot;
	struct store_stats stats;
};

/* --------------------------------------------------------------- store.c -- */

static inline struct item *
store_item(const struct store *s, uint64_t n)
{
	return &s->items[n & (s->room_items - 1)];
}

/* The item of a slot that is pending. */
struct item *store_pending_item(const struct store *s, const struct slot *t);
/* Length of the record of a message or piece. */
uint64_t store_item_len(const struct item *it);
/* Close a batch at the end of this pass. */
void store_kick(struct store *s);
void store_set_state(struct store *s, enum store_state st, const char *why);
void store_fence(struct store *s, const char *what, int error);
void store_damaged(struct store *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void store_item_done(struct item *it); /* its own memory */
/* A new item, not filled in; NULL: out of memory or fenced. */
struct item *store_append(struct store *s, enum item_kind kind);
/* It is filled in: a group that is open takes it. */
void store_join(struct store *s, struct item *it);
uint64_t store_now_wall(const struct store *s);

/* --------------------------------------------------- store_space.c, _body.c -- */

/* Room may have grown. */
void store_room_grown(struct store *s);
/* Its pieces need not be kept. */
void store_body_release(struct store *s, struct store_body *b);
/* Bytes of records that store_body_finish will append. */
uint64_t store_body_rest(const struct store_body *b);
/* What was gathered becomes the last piece. */
int store_body_finish(struct store_body *b);

/* ---------------------------------------------------------- store_plan.c -- */

/* Upper bound of what an item takes in a batch. */
uint64_t store_item_bytes(const struct item *it);

/* What the next batch is to be. */
struct plan {
	uint64_t end;   /* behind the last item it takes */
	uint64_t bytes; /* upper bound of its records */
	bool messages;  /* there are some among the items */
	bool cut;       /* messages must wait for space */
	bool begin;     /* a segment */
	uint64_t front; /* bytes for copies and a snapshot */
	uint64_t behind; /* bytes for dones from behind the messages that wait */
};

/* Decide. False: there is nothing to write, or it has to wait. */
bool store_plan(struct store *s, struct plan *p);
/* A done that may go ahead of messages that wait for space; items end at tail. */
bool store_may_overtake(const struct store *s, uint64_t n, uint64_t tail);
/* Bytes of a batch for a snapshot, at most limit. */
uint64_t store_snapshot_share(const struct store *s, uint64_t limit);

/* --------------------------------------------------------- store_batch.c -- */

/* Put together what waits and hand it to the writer, if both are possible. */
void store_batch_close(struct store *s);
/* The header of a segment whose first batch comes next. */
void store_header_fill(const struct store *s, const struct segment *g, struct store_header *ret);

/* A batch being put together. */
struct builder {
	struct store *s;
	struct segment *segment;
	uint8_t *buf;
	size_t at;
	uint64_t offset; /* of the batch in the segment */
	uint32_t records;
	uint64_t wall_ms, now_ms;
};

static inline uint8_t *
store_builder_at(const struct builder *b)
{
	return b->buf + b->at;
}
void store_builder_seal(struct builder *b, enum store_kind kind, size_t len);
/* A message or piece that was just sealed: into the segment and its index; its slot is there now. */
void store_builder_record(struct builder *b, store_ref ref, const struct store_entry *e);
void store_index_append(struct store *s, const struct store_entry *e);
void store_builder_release(struct builder *b, store_ref slot, uint32_t segment, uint32_t record);

/* --------------------------------------------------------- store_items.c -- */

void store_add_item(struct builder *b, struct item *it);
/*
 * Messages wait for space, and what makes some waits behind them, from that
 * item on: a done that belongs to no group may go ahead, within limit bytes.
 */
void store_add_behind(struct builder *b, uint64_t from, uint64_t limit);
/* For the end of the batch: the last pair is raised if it is of the same number, or one is added. */
void store_add_pair(struct number_pair *pairs, size_t *n, uint32_t number, uint64_t value);
/* The end of the batch: dones, marks, offered. */
void store_write_coalesced(struct builder *b);

/* -------------------------------------------------------- store_writer.c -- */

/* s->job */
void store_writer_submit(struct store *s);
/* The batch is on disk: what it changed holds now. May end the store. */
void store_batch_synced(struct store *s);
void store_writer_retry(struct store *s);
/* Is there something to free, to copy, to snapshot? */
void store_look(struct store *s);
bool store_is_no_space(int error);
/* May go away by itself, and nothing was written. */
bool store_is_passing(int error);
/* Full: a batch finds no space, or messages would take the last segments. */
void store_update_state(struct store *s);

/* --------------------------------------------------------- store_ahead.c -- */

/* Do the next step ahead, if there is one. */
void store_writer_ahead(struct store *s);
/* Segments that can still be begun; messages may take what is above STORE_HELD_BACK. */
uint32_t store_segments_left(const struct store *s);

/* -------------------------------------------------------- store_reader.c -- */

/* A record to be read. */
struct read_place {
	struct segment *segment; /* pinned; the task uses only its file for reading */
	uint64_t seed, offset;
	uint32_t len;
	char name[STORE_NAME_MAX];
};

/* A message and its pieces (parts are told), or runs of records of one segment (for the cleaner). */
struct read_job {
	struct list node;
	struct store *store;
	struct disk *disk;
	struct store_read *r; /* NULL: nobody wants to know any more */
	store_ref ref;
	bool is_runs, is_running, is_dead;
	bool is_start; /* of the pieces only the first */
	struct disk_file *close;
	/* Record; note; pieces without their heads. */
	uint8_t *memory;
	size_t body_at;
	uint64_t body_len;
	bool has_note;
	uint32_t note_len;
	int error;
	uint32_t n_places; /* 0: nothing is read, error is told */
	struct read_place places[];
};

struct read_job *store_read_job_new(struct store *s, uint32_t places);
void store_read_job_free(struct read_job *j);
void store_read_place(const struct store *s, store_ref ref, struct read_place *ret);
int store_reader_submit(struct store *s, struct read_job *j);
/* The file kept open for reading, to be closed by whoever asks. Only of a segment that is not pinned. */
struct disk_file *store_reader_take(struct store *s, struct segment *g);
/* Tell reads of a slot that dies. */
void store_reader_dead(struct store *s, store_ref ref);
/* Reads that waited for the batch. */
void store_reader_synced(struct store *s);
/* Reads that waited for a batch that will not come. */
void store_reader_fenced(struct store *s);
void store_reader_free(struct store *s);

/* ------------------------------------------------------- store_clean.c -- */

int store_cleaners_new(struct store *s);
void store_cleaners_free(struct store *s);
/* Go on; with look, see whether a segment should be copied, and begin. */
void store_clean(struct store *s, bool look);
/* Runs were read. */
void store_clean_read(struct store *s, struct read_job *j);
/* Is a segment being copied? */
bool store_clean_is_busy(const struct store *s);
/* Bytes of copies that wait for a batch, at most limit. */
uint64_t store_clean_waiting(const struct store *s, uint64_t limit);
/* Put copies into a batch, at most limit bytes. */
void store_clean_add(struct store *s, struct builder *b, uint64_t limit);
/* Should there be more free segments? */
bool store_is_short(const struct store *s);
/* So much that copying may take half of a batch? */
bool store_is_pressing(const struct store *s);

/* Bytes that are copied in one batch at most. */
static inline uint64_t
store_copy_max(const struct store *s)
{
	return s->batch_max / 2 < STORE_COPY_MAX ? s->batch_max / 2 : STORE_COPY_MAX;
}

/* What fits into bytes for sure when it is copied there: each batch may leave a block nearly empty. */
static inline uint64_t
store_packed(const struct store *s, uint64_t bytes)
{
	return bytes / store_copy_max(s) * (store_copy_max(s) - 4096) + bytes % store_copy_max(s) / 2;
}

/* Bytes of segments in which something stands, dead or not; of the current one only what is written. */
static inline uint64_t
store_used(const struct store *s)
{
	uint64_t unused = (uint64_t)s->n_free * s->cfg.segment;

	if (s->next)
		unused += s->next->size;
	if (s->current)
		unused += s->current->size - s->current->end;
	return s->file_bytes > unused ? s->file_bytes - unused : 0;
}

/* ------------------------------------------------------ store_snapshot.c -- */

int store_snapshot_new(struct store *s);
void store_snapshot_free(struct store *s);
/* Begin one if it is time. */
void store_snapshot(struct store *s);
bool store_snapshot_waiting(const struct store *s);
/* Put pieces into a batch, at most limit bytes. */
void store_snapshot_add(struct store *s, struct builder *b, uint64_t limit);
void store_snapshot_synced(struct store *s);
/* What is at n goes away. */
void store_snapshot_forget(struct store *s, const struct list *n);
/* Bytes one would take now. */
uint64_t store_snapshot_bytes(const struct store *s);

/* ------------------------------------------------------- store_recover.c -- */

/* Reads what is there into the tables; all of it on this thread. */
int store_recover(struct store *s, const struct store_recovery *found, char why[static 200]);

#endif
