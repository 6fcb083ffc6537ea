/*
 * session: one protocol session with a peer or a client, over one transport.
 * Greets, keeps alive, carries frames in and out; knows no queues and no
 * policy. Its owner (a pending connection, a link, a client) decides what a
 * Hello or a frame means.
 *
 *   CONNECTING -> GREETING -> GREETED -> OPEN -> CLOSING -> DEAD
 *
 * A dialler's Hello goes out when the transport is up; an accepting end's when
 * the owner calls session_greet. The owner calls session_open when every frame
 * may flow (a client's at once, a peer's after Accept); until then only Known,
 * Accept, Ping, Pong and Close pass, anything else ends the session.
 *
 * Output is gathered and written at the end of the loop pass: one system call
 * for all frames of the pass.
 */
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "loop.h"
#include "message.h"
#include "transport.h"
#include "wire.h"

struct session;

enum session_state {
	SESSION_CONNECTING, /* the transport is not up */
	SESSION_GREETING,   /* waiting for the other's Hello */
	SESSION_GREETED,    /* both Hellos seen; not open yet */
	SESSION_OPEN,
	SESSION_CLOSING, /* Close sent: flushing */
	SESSION_DEAD
};

/* What the sessions of one daemon share. */
struct session_env {
	struct loop *loop;
	struct message_store *messages;
	uint8_t *read_buffer; /* SESSION_READ_BUFFER bytes, one for all: nothing stays in it between calls */
	uint64_t handshake_ms, keepalive_ms;
	struct session *first; /* of all sessions that are not freed */
	size_t n_busy;         /* of them: with whole frames left over from their last turn */
	uint64_t pass_ns, pass_frames; /* the loop's pass, and what all sessions have handled in it */
};
#define SESSION_READ_BUFFER (256 * 1024)
#define SESSION_PASS_FRAMES 4096  /* items and frames handled in a pass of the loop, before others get their turn */
#define SESSION_BUSY_FRAMES 512  /* by those that have more than their turn takes, together */
/* By each at least. */
#define SESSION_LEAST_FRAMES 8

struct session_events {
	/* Fill in what this end says; magic, versions, limits.dictionary are set. Called when our Hello goes out. */
	void (*greeting)(void *arg, struct wire_hello *hello);
	/*
	 * The other end's Hello; version is common. The owner may session_greet,
	 * session_set_owner, session_close. h dies with the call.
	 */
	void (*hello)(void *arg, const struct wire_hello *h);
	/* Any frame after Hello but Ping, Pong, Close, Define. f dies with the call. The owner may close or free s. */
	void (*frame)(void *arg, const struct wire_frame *f);
	/* session_room was 0 and is not any more. */
	void (*writable)(void *arg);
	/*
	 * The session is over: exactly once, from the loop, unless session_free
	 * came first. by_peer: the other end said so in its Close. error: 0 if
	 * the protocol ended it; else of the transport, -ECONNRESET for an end
	 * without Close, -ENOMEM: then code says nothing more (NORMAL, or
	 * INTERNAL for memory). The owner must session_free.
	 */
	void (*down)(void *arg, enum wire_close_code code, bool by_peer, int error, const char *reason);
	/* As in transport.h, of one that was accepted and awaits its handshake; session_shake when it may go on. May be NULL. */
	bool (*may_shake)(void *arg);
	void (*shaken)(void *arg, uint64_t ns);
};

/*
 * Takes over t (its events are set). dialled: this end connected it. One that
 * was accepted and awaits its handshake is CONNECTING until it is over. NULL:
 * out of memory, t is closed.
 */
struct session *session_new(struct session_env *env, struct transport *t, bool dialled, const struct session_events *ev,
    void *arg);
/* For a transport whose `connect` needs its events before it exists: make the session first, then give it the transport. */
struct session *session_new_dialling(struct session_env *env, const struct transport_ops *ops, const struct names_url *url,
    const struct transport_security *security, const struct session_events *ev, void *arg, int *ret_error);
/* Cut without a word, now; no call-backs after. Safe inside any call-back: memory goes later. NULL is fine. */
void session_free(struct session *s);
/* Cut all that are left: those whose owner only waits for their end. */
void session_env_end(struct session_env *env);
/* Hand to another owner (a pending connection becomes a link's or a client's). The origin filter is unset. */
void session_set_owner(struct session *s, const struct session_events *ev, void *arg);

void session_shake(struct session *s);
void session_greet(struct session *s);
void session_open(struct session *s);
/* Send Close with code and reason, flush for a while, then `down` (by_peer false). Later frames are ignored. */
void session_close(struct session *s, enum wire_close_code code, const char *reason);
/* Stop and go on reading; frames already read wait. The idle clock stands still meanwhile. */
void session_pause(struct session *s, bool paused);
/* The frame being handled was as much work as so many ordinary ones: others get their turn sooner. */
void session_charge(struct session *s, size_t frames);
/* Throw away what was read and not handled, and read no more: this session is about to end. */
void session_discard_input(struct session *s);

enum session_state session_state(const struct session *s);
const char *session_state_name(enum session_state st);
bool session_dialled(const struct session *s);
const struct transport_identity *session_identity(const struct session *s);
/* The way it takes, by the transport; zeroes if that is not known. */
void session_path(const struct session *s, struct transport_path *ret);
/* Has its key done as much as one should? Another session is due. */
bool session_is_tired(const struct session *s);
/* Of a session that is up: is the other side still who it should be? As transport.h's recheck; true for kinds without. */
bool session_recheck(struct session *s, const struct transport_security *security, char why[static TRANSPORT_TEXT_MAX]);
/* Of the other end's Hello; strings are kept. Zeroes before. */
const struct wire_hello *session_hello(const struct session *s);

/* ------------------------------------------------------------- sending */

/* Queue a control frame (any but a run). Strings are copied. */
void session_send(struct session *s, const struct wire_frame *f);
/* Bytes of bulk that may be queued now; 0: wait for `writable`. Control frames always go. */
size_t session_room(const struct session *s);
/* Body bytes an item should carry at most on this session: 250 ms of the measured rate, WIRE_CHUNK_MIN to WIRE_CHUNK_MAX. */
size_t session_chunk(const struct session *s);
/*
 * Queue one item of a run: kind WIRE_TRANSFER or WIRE_DELIVER, id flow or
 * subscription, number or tag. Consecutive numbers join into one frame; chunks
 * stand alone. type and origin are put into the dictionary (Define) as needed
 * and item->type, item->origin are set here. body_owner: keeps item->body
 * alive if it is sent from where it lies (a reference is taken); NULL: copied.
 */
void session_send_item(struct session *s, enum wire_kind kind, uint32_t id, uint64_t number, struct wire_item *item,
    struct intern_entry *type, struct intern_entry *origin, struct message *body_owner);
/* Bytes queued and not yet taken by the transport. */
size_t session_queued(const struct session *s);

/* ----------------------------------------------------------- receiving */

/* What the other end defined: NULL for an id it never defined. No reference is given. */
struct intern_entry *session_type(const struct session *s, uint32_t id);
struct intern_entry *session_origin(const struct session *s, uint32_t id);
/*
 * Origins are checked and rewritten by the owner when they are defined: 0 and
 * the entry to keep (a reference is taken over); or the session ends, for lack
 * of memory if -ENOMEM, else because it may not say that. Unset: origins end it.
 */
void session_set_origin_filter(struct session *s, int (*filter)(void *arg, struct wire_bytes value, struct intern_entry **ret));

/*
 * Ask for a sign of life: done(arg, true) at the next byte, or if bytes still wait
 * for their turn after ms; done(arg, false) after ms without one or when the session ends (before `down`; not after
 * session_free). One at a time: -EBUSY while another waits, else 0.
 */
int session_probe(struct session *s, uint64_t ms, void (*done)(void *arg, bool alive), void *arg);
/* Whoever asked with this arg is gone: done is not called any more. */
void session_probe_cancel(struct session *s, const void *arg);

struct session_stats {
	uint64_t bytes_in, bytes_out, frames_in, frames_out, items_in, items_out;
	uint64_t rate; /* bytes a second the transport took lately, 0: unknown */
	uint64_t opened_ms;
};
void session_stats(const struct session *s, struct session_stats *ret);

#endif
