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
#include "loop.h"
#include "queue.h"
#include "router.h"
#include "session.h"
#include "wire.h"

#define INTAKE_FLOWS_MAX 4096 /* open flows a session: Hello.limits.max_flows */

struct intake_flow;

/* Daemon-wide. */
struct intake_env {
	struct loop *loop;
	struct message_store *messages;
	struct router *router;
	struct list orphans; /* partial bodies without a session, least recently fed first */
	struct list fed;     /* reserved bodies that are on their way, least recently fed first */
	struct loop_timer stall; /* runs while others wait for the memory of those */
	uint64_t partial_timeout_ms;
	uint64_t max_message;
	uint64_t linger_ms;
	uint64_t *next_counter; /* message ids */
	uint64_t seed;          /* of the books' tables */
	bool stopping;          /* no more credit */
};
/* Fills loop, messages, router, seed; the limits are the caller's. */
void intake_env_init(struct intake_env *env, struct loop *l, struct message_store *ms, struct router *r);

void intake_env_done(struct intake_env *env);

/* Every flow of one peer or one local user, open or not. */
struct intake_book {
	struct hmap flows;
	struct list lingering; /* flows without a session, oldest first */
	uint32_t n_lingering, max_lingering;
	bool had_marks; /* some were forgotten by intake_book_restarted */
};
/* max_lingering 0: marks never age and are not counted (a peer's). */
void intake_book_init(struct intake_book *b, uint32_t max_lingering);
void intake_book_done(struct intake_env *env, struct intake_book *b);
/*
 * The peer is at this start now: flows of earlier ones into queues that are
 * gone are forgotten. No number of theirs comes again (in this version, where
 * a message ends with its daemon's start), and they may be many.
 */
void intake_book_restarted(struct intake_book *b, uint32_t start_count);
/* Was a mark above 0 ever kept here? */
bool intake_book_has_marks(const struct intake_book *b);

/* One session's half. Embedded in its owner. */
struct intake {
	struct intake_env *env;
	struct intake_book *book;
	struct session *session;
	struct subject who;
	struct intern_entry *origin; /* stamped on everything; NULL (a peer): what the item names */
	struct intake_flow **flows;  /* by id */
	uint32_t cap, n_flows;
	struct list dirty; /* flows with something to say */
	struct loop_call flush;
	struct window window;
	uint64_t window_told; /* of window.granted */
	uint64_t received; /* messages accepted */
};

/* who is copied (what it points to must live as long); origin is borrowed. */
void intake_init(struct intake *in, struct intake_env *env, struct intake_book *book, struct session *s,
    const struct subject *who, struct intern_entry *origin);
/* The session is gone: flows stay in the book. */
void intake_done(struct intake *in);
/* Say now what waits for the end of the pass: the session is about to close. */
void intake_flush(struct intake *in);

/*
 * A frame of the producing side: OpenFlow, Settled, Transfer, Resume, Abort, Want.
 * Returns 0, or the close code (and *ret_reason, static) with which the
 * session must end.
 */
enum wire_close_code intake_frame(struct intake *in, const struct wire_frame *f, const char **ret_reason);

#endif
