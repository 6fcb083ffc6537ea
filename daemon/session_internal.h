/*
 * session_internal: what session.c (states, calls), session_clock.c (deadlines),
 * session_in.c (bytes to frames), session_frame.c (frames to what they mean),
 * session_out.c (frames to bytes) and session_dictionary.c share. Private to
 * session*.c.
 */
#ifndef SESSION_INTERNAL_H
#define SESSION_INTERNAL_H

#include "session.h"

#define SESSION_REASON_MAX (WIRE_REASON_MAX + 1)
#define SESSION_CLOSE_MS 1000                  /* a Close and what stands before it may take that long to leave */
#define SESSION_QUEUE_MAX (16 * 1024 * 1024)   /* control frames waiting for an end that does not read: it is cut */
#define SESSION_CHOKE (512 * 1024)             /* waits for a program to read it, bulk and more: nothing it asks is heard until it does */
#define SESSION_MARK_MIN 4096                  /* bulk that may wait: 250 ms of the measured rate within these */
#define SESSION_MARK_MAX (256 * 1024)
#define SESSION_PACE_START (16 * 1024)         /* off this host, before the rate is known; doubles while all is taken */
#define SESSION_COPY_MAX 4096                  /* bodies below are copied, others sent from where they lie */
#define SESSION_RUN_BYTES (64 * 1024)          /* a run is closed before it grows beyond */

/* ------------------------------------------------------------- dictionary */

#define DICTIONARY_PAGE 32
#define DICTIONARY_PAGES (WIRE_DICTIONARY / DICTIONARY_PAGE)

/* Ids 1 to WIRE_DICTIONARY, in pages made when first used. */
struct dictionary {
	struct intern_entry ***pages; /* NULL while empty */
};

struct intern_entry *dictionary_get(const struct dictionary *d, uint32_t id); /* NULL: none, or no such id */
/* Takes over the reference to e. 0, or -ENOMEM (then e is released). */
int dictionary_set(struct dictionary *d, struct intern *t, uint32_t id, struct intern_entry *e);
void dictionary_clear(struct dictionary *d, struct intern *t);

/* ----------------------------------------------------------------- output */

struct out_block;

/* Bytes to write, in order. They lie in a block of ours or in a message. */
struct out_segment {
	const uint8_t *data;
	size_t len;
	struct out_block *block; /* a reference to one of these */
	struct message *owner;
};

struct session_out {
	struct out_segment *segments; /* a ring; NULL while nothing waits */
	size_t first, n, cap;         /* cap: a power of two */
	struct out_block *block;      /* being filled; NULL: none */
	size_t queued;                /* bytes of all segments */
	bool blocked;                 /* the transport took less than all: wait for its `writable` */
	bool full;                    /* room was 0: the owner waits for `writable` */

	/* The open run: its first segment begins with room for the head. */
	enum wire_kind run_kind; /* WIRE_NONE: none is open */
	uint32_t run_id;
	uint64_t run_first;
	size_t run_items, run_bytes;
	size_t run_segment; /* counted from ring position `first` */
	uint8_t *run_head;

	uint64_t pace; /* bytes the link takes in 250 ms, as far as known */
	uint64_t rate; /* measured, bytes a second; 0: never */
	uint64_t blocked_since, blocked_bytes; /* the measurement under way */

	bool pong_waits; /* a Ping came while the other end was not reading */
	uint64_t pong_token;
};

void session_out_init(struct session *s, bool local);
void session_out_clear(struct session *s);
/* Queue a frame, whatever the state. */
void session_out_frame(struct session *s, const struct wire_frame *f);
void session_out_pong(struct session *s, uint64_t token);
/* Write what the transport takes. Bytes written. */
size_t session_out_flush(struct session *s);
/* The owner found no room and there is some now; tells it so once. */
bool session_out_relieved(struct session *s);

/* ------------------------------------------------------------------ input */

struct session_in {
	uint8_t *held; /* read and not handled: the start of a frame, or what waits for its turn */
	size_t held_from, held_len, held_cap; /* bytes held_from to held_len */
	size_t charged; /* work of the present frame beyond its own, by the owner's word */
	bool paused;  /* by the owner */
	bool choked;  /* until the other end has read more of what it was sent */
	bool busy;    /* counted in the env's n_busy */
	bool deaf;    /* nothing is wanted any more */
};

/* What is held, then one read. */
void session_in_ready(struct session *s);
void session_in_clear(struct session *s);
/* It takes no more turns. */
void session_in_rest(struct session *s);
/* Nothing more is read, or handled, for now; or again. */
void session_in_choke(struct session *s, bool choked);
/* Frames that are held and may be handled? */
bool session_in_pending(const struct session *s);

/* ---------------------------------------------------------------- session */

struct session {
	struct session_env *env;
	struct session *next, **link; /* in env->first; link: what points here */
	struct transport *t; /* NULL once closed */
	const struct session_events *ev;
	void *arg;
	int (*origin_filter)(void *arg, struct wire_bytes value, struct intern_entry **ret);
	enum session_state state;
	bool dialled;
	bool has_hello; /* the other end's */
	bool is_freed;  /* by the owner: no call-backs */
	bool is_told;   /* down was called */
	bool pinged;    /* since the other end was heard */
	uint64_t heard_ms, pinged_ms, paused_ms, deadline_ms;
	struct loop_timer timer;  /* whatever is due first: deadline, keepalive, probe */
	struct loop_timer turn;   /* goes on with what was interrupted to let others have their turn */
	struct loop_call flush;   /* once at the end of the pass */
	struct loop_call over;    /* delivers `down` */
	struct loop_call bury;    /* frees the memory */
	struct session_out out;
	struct session_in in;
	struct dictionary types_in, origins_in, types_out, origins_out;
	struct wire_hello hello;
	uint8_t *hello_bytes; /* its strings */
	void (*probe_done)(void *arg, bool alive);
	void *probe_arg;
	uint64_t probe_due_ms;
	struct session_stats stats;
	struct transport_identity identity;

	/* How it ended. */
	enum wire_close_code code;
	bool by_peer;
	int error;
	char reason[SESSION_REASON_MAX];
};

/* Frames and calls of the owner may go on. */
static inline bool
session_is_live(const struct session *s)
{
	return !s->is_freed && s->state < SESSION_CLOSING;
}

/* (Re)arm the timer for what is due first. */
void session_arm(struct session *s);
/* Keepalive and probe, when the timer fired. */
void session_clock(struct session *s);
/* The link made progress. */
void session_alive(struct session *s);
/* Bytes were read: progress, and what a probe waits for. May end s (the probe's owner is told). */
void session_heard(struct session *s);
void session_answer_probe(struct session *s, bool is_alive);

/* A frame whose length was found good. Returns the work it was, in frames and items. */
size_t session_take_frame(struct session *s, struct wire_bytes payload);
/* The other end's Hello is kept and good. */
void session_greeted(struct session *s);
/* The other end's Close. */
void session_ended(struct session *s, enum wire_close_code code, struct wire_bytes reason);
/* What the other end did ends the session: tell it so. */
void session_refuse(struct session *s, enum wire_close_code code, const char *reason, ...)
    __attribute__((format(printf, 3, 4)));
/* Over, without a word to the other end. */
void session_lost(struct session *s, enum wire_close_code code, int error, const char *reason);

#define SESSION_NO_CLOSE "the other end closed the connection without a word"

#endif
