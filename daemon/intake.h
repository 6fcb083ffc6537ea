/*
 * intake: the receiving half of a session's flows: ties struct flow_in to the
 * queues. Shared by link and client, which differ in who they speak for. The
 * flows themselves outlive sessions; their owner (a peer, a local user) keeps
 * them in a book.
 */
#ifndef INTAKE_H
#define INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "flow.h"
#include "hmap.h"
#include "list.h"
#include "log.h"
#include "loop.h"
#include "queue.h"
#include "router.h"
#include "session.h"
#include "wire.h"

#define INTAKE_FLOWS_MAX 4096 /* open flows a session: Hello.limits.max_flows */

#define INTAKE_PRODUCER_MAX 32 /* bytes of OpenFlow.producer */

struct intake_flow;
struct store;

/* Daemon-wide. */
struct intake_env {
	struct loop *loop;
	struct message_store *messages;
	struct router *router;
	struct list orphans; /* partial bodies without a session, least recently fed first */
	uint64_t max_message;
	uint64_t linger_ms;
	uint64_t max_named;     /* named producers of one user */
	uint64_t *next_counter; /* message ids */
	uint64_t seed;          /* of the books' tables */
	bool stopping;          /* no more credit */
	struct store *store;    /* NULL: none (yet, any more) */
	struct list answering;  /* flows whose FlowState waits for a sync */
};
/* Fills loop, messages, router, seed; the limits are the caller's. */
void intake_env_init(struct intake_env *env, struct loop *l, struct message_store *ms, struct router *r);

/* Whose flows: what the store knows them by. */
struct intake_owner {
	bool is_peer;
	uint32_t uid;                  /* of a local user */
	char peer[NAMES_NODE_MAX + 1]; /* "": a local user */
	uint8_t store_id[16];          /* of the peer's state folder */
};

/* Every flow of one peer or one local user, open or not. */
struct intake_book {
	struct intake_owner owner;
	struct hmap flows;
	struct list lingering; /* flows without a session, oldest first */
	uint32_t n_lingering, max_lingering;
	uint64_t n_named;
};
/* max_lingering 0: marks never age and are not counted (a peer's). */
void intake_book_init(struct intake_book *b, const struct intake_owner *owner, uint32_t max_lingering);
/* Flows go from memory, and, as long as env has a store, from there. */
void intake_book_done(struct intake_env *env, struct intake_book *b);
/* Is a mark above 0 kept here? */
bool intake_book_has_marks(const struct intake_book *b);

struct intake_slot {
	struct intake_flow *flow;
	bool taken_over; /* by another handle: what was on its way to it is swallowed */
};

/* One session's half. Embedded in its owner. */
struct intake {
	struct intake_env *env;
	struct intake_book *book;
	struct session *session;
	struct subject who;
	struct intern_entry *origin; /* stamped on everything; NULL (a peer): what the item names */
	struct intake_slot *flows;   /* by id */
	uint32_t cap, n_flows;
	struct list dirty; /* flows with something to say */
	struct loop_call flush;
	/* Body bytes: at most open at a time, allowed so far, received, of those in unfinished bodies. */
	uint64_t window, window_granted, window_used, window_open;
	uint64_t received; /* messages accepted */
	struct log_limit *denied;
};

/* who is copied (what it points to must live as long); origin is borrowed; so is denied, where refusals are told. */
void intake_init(struct intake *in, struct intake_env *env, struct intake_book *book, struct session *s,
    const struct subject *who, struct intern_entry *origin, uint64_t window, struct log_limit *denied);
/* The session is gone: flows stay in the book. */
void intake_done(struct intake *in);
/* Say now what waits for the end of the pass: the session is about to close. */
void intake_flush(struct intake *in);

/* Access has changed. False: a flow is open that would be refused now. */
bool intake_recheck(struct intake *in, bool is_admin);

/*
 * A frame of the producing side: OpenFlow, Settled, Transfer, Resume, Abort.
 * Returns 0, or the close code (and *ret_reason, static) with which the
 * session must end.
 */
enum wire_close_code intake_frame(struct intake *in, const struct wire_frame *f, const char **ret_reason);

/* ------------------------------------------------------ named producers -- */

/* A named producer's flow into one queue at one priority. */
struct intake_producer {
	uint32_t uid;
	struct wire_bytes name;
	const char *queue;
	uint8_t priority;
	uint64_t epoch;    /* counts its instances */
	uint64_t mark;     /* the last number accepted */
	uint64_t waiting;  /* messages of it that wait for another node */
	bool is_open;
	bool is_kept;      /* its mark survives a restart */
	uint64_t since_ms; /* open, or closed, since; the start of the daemon at the earliest */
};
/* Of one user, in no order, until fn returns false. What is told is good until fn returns. */
void intake_each_producer(const struct intake_book *b, bool (*fn)(void *arg, const struct intake_producer *p), void *arg);
/*
 * Forget the producer's numbers at this queue, of every priority; what it sent
 * goes its way. 0; -ENOENT; -EBUSY: it is open; -EAGAIN: not all it sent is
 * synced, try again in a moment. Counts once the store's ticket is synced.
 */
int intake_forget_producer(struct intake_env *env, struct intake_book *b, struct wire_bytes name, const char *queue);

/* ----------------------------------------------------------- the store -- */

/* A flow as the store keeps it. */
struct intake_definition {
	struct intake_owner owner;
	bool named;
	uint8_t priority;
	uint64_t epoch;
	uint8_t producer[INTAKE_PRODUCER_MAX + 1];
	size_t producer_len;
	char queue[NAMES_DEST_MAX + 1];
};
/* 0, or -EINVAL. */
int intake_definition_decode(struct store_bytes definition, struct intake_definition *ret);
/*
 * A flow found in the store; the book is that of its owner. 0 and the sender
 * that outcomes of its messages are told to; -ENOBUFS: the book is full; -ENOMEM.
 */
int intake_restore(struct intake_env *env, struct intake_book *b, const struct intake_definition *d, uint32_t number,
    uint64_t mark, struct sender **ret);
/* Everything up to ticket is synced: after queues_synced. */
void intake_synced(struct intake_env *env, uint64_t ticket);

#endif
