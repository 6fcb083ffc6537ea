/*
 * link: a configured peer. Dials and backs off, decides with the other end
 * which session is the one for the pair (link_meet.c), sends what waits in the
 * outbound queues (link_flow.c) and takes in what the peer sends (intake).
 */
#ifndef LINK_H
#define LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "cause.h"
#include "core.h"

struct link;

enum link_state {
	LINK_IDLE,     /* no address: waits to be dialled */
	LINK_WAITING,  /* for the next dial */
	LINK_DIALLING, /* connecting, greeting, meeting */
	LINK_UP,
	LINK_CONFLICT, /* state folders disagree: needs an operator; tried again now and then */
	LINK_STOPPED
};

/*
 * peer is borrowed from the configuration; name is that of the node, which peer
 * is or whose family it is. NULL: out of memory. Starts dialling with
 * link_start.
 */
struct link *link_new(struct core *core, const struct conf_peer *peer, const char *name);
void link_start(struct link *l);
/* Cut at once; what waits in outbound queues is left there. */
void link_free(struct link *l);

/*
 * The peer's section, or its family's, by the configuration that counts from
 * now on; NULL: it is no peer any more, and has no session and no dials until it
 * is one again. The settings before must still be there. A session is judged
 * again; if it does not hold it is cut, and if they differ another is dialled.
 */
void link_reconfigure(struct link *l, const struct conf_peer *peer);
/* Our own certificate is another: a new session takes over from the one that was dialled with the old. */
void link_remake(struct link *l);

/* The flows of the peer. */
struct intake_book *link_book(struct link *l);
const char *link_name(const struct link *l);

/* A connection that may have been the peer's was refused before it could say its name: for operators. */
void link_note_refused(struct link *l, const char *why);

/*
 * A session accepted by a listener whose Hello named this peer; the listener
 * has checked its proof, from and the name. Takes over s (owner, or closed
 * with the reason). hello dies with the call.
 */
void link_accept(struct link *l, struct session *s, const struct wire_hello *hello);

/* Orderly stop: Drain, no dialling. Messages still go out until link_close. */
void link_drain(struct link *l);
/* Nothing more is on its way that would be lost: every memory message confirmed or none can go. */
/* More of what was appended to the store is synced. */
void link_synced(struct link *l);
bool link_is_drained(const struct link *l);
void link_close(struct link *l, enum wire_close_code code, const char *reason);

/* ------------------------------------------------------ for operators -- */

/*
 * Forget all that is remembered of the peer: whom was met, and the marks of its
 * flows. What waits for it stays, and may reach it a second time. 0: done is
 * told later, from the loop or from inside; or a negative errno and why:
 * -EISCONN. What of it is in the store counts once its ticket is synced.
 */
int link_forget(struct link *l, void (*done)(void *arg, int error), void *arg, char why[static 200]);
/*
 * The state folder that was refused last (STATE_CONFLICT, NAME_IN_USE) is the
 * peer's from now on; a session with another one is cut. As link_forget.
 */
int link_adopt_folder(struct link *l, void (*done)(void *arg, int error), void *arg, char why[static 200]);
/* No session and no dials until link_resume; they nest. */
void link_pause(struct link *l, const char *why);
void link_resume(struct link *l);
/* This node has another identity: the peer may know what waits for it by the one before. */
void link_renewed(struct link *l);

struct link_stats {
	enum link_state state;
	char address[TRANSPORT_TEXT_MAX];
	const char *transport; /* "tcp" */
	struct transport_path path;
	const char *proof;     /* "plaintext", "fingerprint", "ca" */
	char version[12], cipher[64]; /* of TLS */
	char key[PIN_TEXT_MAX];      /* the fingerprint of the peer's; "": it has shown none */
	int64_t not_after;           /* of its certificate, seconds since 1970; 0: it has shown none */
	bool dialled_by_me;
	uint64_t since_ms;     /* loop_now_ms of the last state change */
	char last_error[200];
	uint64_t retry_in_ms;
	uint64_t waiting, unconfirmed, sent_messages, received_messages, sent_bytes, received_bytes;
	char software[64];
	uint32_t start_count;
	uint64_t connects;
};
/* What holds what is for it, or from it; `up` if nothing does. */
void link_why(const struct link *l, struct cause *ret);
void link_stats(const struct link *l, struct link_stats *ret);
const char *link_state_name(enum link_state st);

#endif
