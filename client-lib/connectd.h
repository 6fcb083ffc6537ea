/*
 * connectd.h: hand messages to the connectd daemon of this host and take
 * messages from it (libconnectd, see libconnectd(3)).
 *
 * Handles are opaque. Functions return 0 (or a count) or a negative errno, and
 * leave a sentence in connectd_last_error. Nothing here starts threads, prints,
 * touches signals, or exits; one handle, with its messages, belongs to one
 * thread at a time; after fork the child may only close it. Times are
 * milliseconds; a timeout of -1 waits for ever, 0 does not wait. Call-backs run
 * only inside connectd_process, connectd_wait, connectd_flush, connectd_send_wait,
 * connectd_producer_open, connectd_recv and connectd_close; inside one, those that
 * wait or process return -EDEADLK, and connectd_close takes effect when it has
 * returned. Those that wait return -EINTR when a signal handler ran.
 */
#ifndef CONNECTD_H
#define CONNECTD_H

#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

struct connectd;          /* a connection to the daemon, kept up by itself */
struct connectd_msg;      /* one message, reference-counted */
struct connectd_consumer; /* a subscription to one queue */

#define CONNECTD_DEFAULT_SOCKET "/run/connectd/connectd.sock"

/* How far a message got, and what else can become of it. Values of the protocol. */
enum connectd_level {
	CONNECTD_NONE = 0,
	CONNECTD_ACCEPTED = 1,  /* in memory at the local daemon */
	CONNECTD_STORED = 2,    /* synced to disk there (durable messages only) */
	CONNECTD_ARRIVED = 3,   /* accepted by the destination daemon, synced there if durable */
	CONNECTD_CONSUMED = 4,  /* acked there (not in this version) */
	CONNECTD_REJECTED = 16, /* can never be taken; see the reason */
	CONNECTD_EXPIRED = 17,
	CONNECTD_PURGED = 18,
	CONNECTD_DEAD = 19,
	CONNECTD_DROPPED = 20
};

enum connectd_durability { CONNECTD_AS_QUEUE = 0, CONNECTD_DURABLE = 1, CONNECTD_MEMORY = 2 };
enum connectd_priority { CONNECTD_NORMAL = 0, CONNECTD_HIGH = 1, CONNECTD_LOW = 2 };

/* Bits of connectd_msg_get_flags of a received message. */
enum { CONNECTD_REDELIVERED = 8 /* may have been seen before */ };

/* How the origin of a message was proven. */
enum connectd_proof { CONNECTD_PROOF_NONE = 0, CONNECTD_PROOF_LOCAL = 1, CONNECTD_PROOF_TLS = 2, CONNECTD_PROOF_PLAINTEXT = 3 };

/* ------------------------------------------------------------ connection */

struct connectd_options {
	size_t size;             /* sizeof(struct connectd_options) */
	const char *socket;      /* NULL: $CONNECTD_SOCKET, else CONNECTD_DEFAULT_SOCKET */
	const char *application; /* name shown to operators, at most 64 bytes; a claim; NULL: none */
	int timeout_ms;          /* to connect and greet; 0: 5000 */
	int keep_trying;         /* do not wait for the daemon, nor fail without it: go on trying in the background */
	int no_reconnect;        /* end with -ENOTCONN when the daemon goes, instead of coming back */
	uint32_t window_messages; /* not yet safe, or not at the level asked for, at most; 0: 65536 */
	uint64_t window_bytes;    /* 0: 16 MiB */
};

/*
 * Connect and greet. opt may be NULL. Blocks up to the time-out.
 * -ECONNREFUSED: nobody listens; -ENOENT: no such socket; -EACCES; -ETIMEDOUT;
 * -EPROTO: not a connectd, or no common version; -EUSERS: it serves no more
 * programs; -ENAMETOOLONG: the path or the application's name.
 * *ret is the handle also on failure if it could be made, so that
 * connectd_last_error can be asked; close it in either case.
 */
int connectd_open(const struct connectd_options *opt, struct connectd **ret);

/*
 * End in order. Every message still open gets its final call with -ECANCELED.
 * A handle with consumers waits up to a second until the daemon has read what
 * was acked. NULL is fine.
 */
void connectd_close(struct connectd *c);

/* The sentence for the last failure on this handle; "" if none. Valid until the next call. */
const char *connectd_last_error(const struct connectd *c);

/* One descriptor for life, readable when connectd_process has something to do. For poll, epoll, an event loop. */
int connectd_get_fd(const struct connectd *c);

/*
 * Do what is ready, without blocking: read, run call-backs, write, reconnect.
 * Returns 1 if something was done, 0 if not; -ENOTCONN if the daemon is gone
 * and no_reconnect was asked, or connectd_open failed; -ECANCELED if a call-back
 * closed the handle, which is gone then.
 */
int connectd_process(struct connectd *c);

/* Wait until there is something to process, then process it. 1, 0 on time-out, or as connectd_process. */
int connectd_wait(struct connectd *c, int timeout_ms);

/* Wait until every message sent has reached the levels it asked for. 0, -ETIMEDOUT, or as connectd_process. */
int connectd_flush(struct connectd *c, int timeout_ms);

/* Is there a greeted session now? The daemon's node name, "" before the first. */
int connectd_is_up(const struct connectd *c);
const char *connectd_node(const struct connectd *c);

/* --------------------------------------------------------------- messages */

/* A new message for `dest` ("queue" or "node/queue"). NULL: out of memory or a malformed destination (errno EINVAL). */
struct connectd_msg *connectd_msg_new(const char *dest);
struct connectd_msg *connectd_msg_ref(struct connectd_msg *m);
void connectd_msg_unref(struct connectd_msg *m);

/*
 * Content. Once given to connectd_send a message may not be changed: -EBUSY.
 * pack: serialize into the Any, type URL "type.googleapis.com/" + full name.
 * set_type_body: bytes as they are; copies. A type without '/' gets the prefix
 * "type.googleapis.com/", an empty one stays empty. -EMSGSIZE: type above 512 bytes.
 */
int connectd_msg_pack(struct connectd_msg *m, const ProtobufCMessage *content);
int connectd_msg_set_type_body(struct connectd_msg *m, const char *type, const void *body, size_t len);

const char *connectd_msg_get_type(const struct connectd_msg *m); /* the whole type URL */
const void *connectd_msg_get_body(const struct connectd_msg *m, size_t *ret_len);
/* Does the type URL name this type (by what follows its last '/')? */
int connectd_msg_is_type(const struct connectd_msg *m, const ProtobufCMessageDescriptor *type);
/* Unpack; NULL if it is of another type (errno ENOMSG) or malformed (EBADMSG). Free with protobuf_c_message_free_unpacked. */
ProtobufCMessage *connectd_msg_unpack(const struct connectd_msg *m, const ProtobufCMessageDescriptor *type,
    ProtobufCAllocator *allocator);

int connectd_msg_set_durability(struct connectd_msg *m, enum connectd_durability d);
int connectd_msg_set_ttl(struct connectd_msg *m, uint64_t ms);        /* 0: none */
int connectd_msg_set_not_before(struct connectd_msg *m, uint64_t ms); /* delay, waited out at the destination queue */
int connectd_msg_set_priority(struct connectd_msg *m, enum connectd_priority p);
/* For a named producer alone, see connectd_producer_open. -EINVAL: 0 or UINT64_MAX. */
int connectd_msg_set_number(struct connectd_msg *m, uint64_t number);
int connectd_msg_set_reply_to(struct connectd_msg *m, const char *dest);
int connectd_msg_set_correlation_id(struct connectd_msg *m, const void *id, size_t len);
int connectd_msg_add_header(struct connectd_msg *m, const char *name, const void *value, size_t len);

enum connectd_durability connectd_msg_get_durability(const struct connectd_msg *m);
uint64_t connectd_msg_get_ttl(const struct connectd_msg *m);
/* What was set; of a received message NORMAL: the priority ends with the queue. */
enum connectd_priority connectd_msg_get_priority(const struct connectd_msg *m);
/* NULL: none. Of a received message with the node in front, so that it can be sent to as it is. */
const char *connectd_msg_get_reply_to(const struct connectd_msg *m);
const void *connectd_msg_get_correlation_id(const struct connectd_msg *m, size_t *ret_len);
size_t connectd_msg_n_headers(const struct connectd_msg *m);
/* The i-th header; -ENOENT. */
int connectd_msg_get_header(const struct connectd_msg *m, size_t i, const char **ret_name, const void **ret_value, size_t *ret_len);

/* Of a received message. */
const char *connectd_msg_get_origin_node(const struct connectd_msg *m); /* "" if unknown */
uint32_t connectd_msg_get_origin_uid(const struct connectd_msg *m); /* UINT32_MAX if unknown */
const char *connectd_msg_get_origin_unit(const struct connectd_msg *m);
const char *connectd_msg_get_origin_application(const struct connectd_msg *m); /* a claim */
enum connectd_proof connectd_msg_get_origin_proof(const struct connectd_msg *m);
uint32_t connectd_msg_get_attempt(const struct connectd_msg *m); /* 1: the first delivery */
uint32_t connectd_msg_get_flags(const struct connectd_msg *m);
/* The id stamped by the first daemon: its boot id and a counter. */
void connectd_msg_get_id(const struct connectd_msg *m, uint64_t *ret_boot, uint64_t *ret_counter);

/* ---------------------------------------------------------------- sending */

/* Bits of `levels`: which steps the call-back wants to hear of. */
#define CONNECTD_TELL(level) (1u << (level))

/*
 * What became of a message. Called for each level asked for as it is reached
 * and exactly once with final set: the highest level asked for was reached
 * (result 0), or it will not get there: level tells what is known, result is
 * -ECANCELED (closed), -ENODATA (the session that could have told is gone and
 * the message is no longer waiting at the daemon), -EBADMSG with REJECTED,
 * EXPIRED, PURGED, DEAD or DROPPED and a reason, -EINPROGRESS (in doubt: sent,
 * and the daemon has forgotten this sender or refuses it since), -ENOTSUP
 * (STORED was asked for, and the queue keeps messages in memory: the message is
 * there), -ESTALE (another instance of the named producer has taken over, which
 * learns whether the message is there).
 */
struct connectd_outcome {
	enum connectd_level level;
	int final;
	int result;
	const char *reason; /* "" or a sentence, valid during the call */
	uint64_t number;    /* the message's number in its flow */
};
typedef void (*connectd_outcome_fn)(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o,
    void *userdata);

/*
 * Send. Never blocks; takes its own reference. levels is an OR of
 * CONNECTD_TELL(CONNECTD_ACCEPTED), CONNECTD_TELL(CONNECTD_STORED),
 * CONNECTD_TELL(CONNECTD_ARRIVED); 0 asks for what makes the message as safe as
 * its durability says, STORED on a durable queue, else ACCEPTED. fn may be NULL.
 * Until it is as safe the message is sent again when the daemon restarts, and
 * counts in the window, whatever was asked for. The bytes are written before it
 * returns, except inside a call-back or while corked. -EAGAIN: the window is
 * full, the descriptor wakes when there is room; -EMSGSIZE: above the daemon's
 * max_message, or reply-to, correlation id and headers above 4096 bytes;
 * -ENOTSUP: CONSUMED asked for; -EINVAL: a received message, STORED asked for a
 * memory message, or a number that does not fit (connectd_producer_open);
 * -ESTALE and others: the named producer is over; -ENOTCONN; -ENOMEM. After a
 * failure the message is not taken, and no call-back comes.
 */
int connectd_send(struct connectd *c, struct connectd_msg *m, unsigned levels, connectd_outcome_fn fn, void *userdata);

/*
 * Send and wait for one level: ACCEPTED, STORED, ARRIVED, or NONE for as safe
 * as its durability says. 0 when reached; -ETIMEDOUT: the message stays on its
 * way; -EBADMSG: rejected, expired...; the sentence says which; -EAGAIN: the
 * window stayed full all the time, it was not sent; or as an outcome's result,
 * or as connectd_send.
 */
int connectd_send_wait(struct connectd *c, struct connectd_msg *m, enum connectd_level level, int timeout_ms);

/*
 * Open a named producer: one whose messages bear numbers of the program's own,
 * so that it knows after its own crash where to go on. From here on messages
 * sent by this handle to `queue`, spelled like this, belong to it: each must have
 * a number above that of the one before (connectd_msg_set_number; gaps are fine)
 * and normal priority, else connectd_send says -EINVAL. They are one order.
 *
 * *ret_last is the highest number that any instance of this name (of this user,
 * to this queue) got to safety, 0 if none: what is above is to be sent, again
 * with the same numbers; what was sent before and is there all the same is not
 * taken twice. Blocks up to the time-out of connectd_open. -ETIMEDOUT: the daemon
 * did not answer yet; call again to go on waiting. -EINVAL: the name (as of a
 * queue, at most 32 bytes) or the queue; -EEXIST: this handle has another name
 * for that queue; -EUSERS: more than 64 names on this handle, or the daemon's
 * limit; -EACCES, -ENOENT: may not send there, no such queue.
 *
 * Who opens a name takes it over from an earlier instance, which is over then:
 * its open messages end with -ESTALE, as does connectd_send, and the library
 * does not open it again. So it is when the daemon refuses or has forgotten it
 * after a restart, with the errno for that. Calling this again takes it back.
 * Named producers end with the handle; the daemon keeps the number.
 */
int connectd_producer_open(struct connectd *c, const char *name, const char *queue, uint64_t *ret_last);

/* Gather what is sent and acked until uncork; nests. For bulk: much of it is written earlier. */
void connectd_cork(struct connectd *c);
int connectd_uncork(struct connectd *c); /* 0 or -ENOTCONN */

/* Messages sent that had no final call yet. */
size_t connectd_unconfirmed(const struct connectd *c);

/* -------------------------------------------------------------- consuming */

struct connectd_consume_options {
	size_t size;              /* sizeof(struct connectd_consume_options) */
	uint32_t credit_messages; /* unacked at most; 0: 1024 */
	uint64_t credit_bytes;    /* 0: 4 MiB */
	int exclusive;            /* alone on the queue; else stand by until the other goes */
};

/* m is the call-back's during the call (ref it to keep it). Ack it now or later. */
typedef void (*connectd_message_fn)(struct connectd *c, struct connectd_consumer *k, struct connectd_msg *m, void *userdata);

/*
 * Consume from a queue of this node. opt may be NULL. With fn NULL messages
 * are taken by connectd_recv. Does not block; a refusal comes as a last call
 * with m NULL (connectd_last_error says why), or from connectd_recv: such a
 * consumer does not come back, and is still to be closed.
 */
int connectd_consume(struct connectd *c, const char *queue, const struct connectd_consume_options *opt,
    connectd_message_fn fn, void *userdata, struct connectd_consumer **ret);

/* Stop: what was not acked goes back to the queue. NULL is fine. connectd_close does it for all, also those refused. */
void connectd_consumer_close(struct connectd_consumer *k);

/*
 * The next message of any consumer without call-back; the caller owns the
 * reference. 0; -ETIMEDOUT; -EACCES, -ENOENT, -EUSERS or another: a consumer
 * was refused or cancelled (told once); or as connectd_process. Survives a
 * restart of the daemon.
 */
int connectd_recv(struct connectd *c, struct connectd_msg **ret, int timeout_ms);

/*
 * Done with a received message; or not: back to its place for anyone, back
 * after delay_ms, or to the dead-letter queue. Never blocks. -ESTALE: it was
 * delivered in an earlier session, or its consumer closed, and comes again;
 * -EALREADY: twice; -EINVAL: not received by this handle.
 */
enum connectd_nack_action { CONNECTD_RETURN = 0, CONNECTD_DELAY = 1, CONNECTD_TO_DEAD = 2 };
int connectd_ack(struct connectd *c, struct connectd_msg *m);
int connectd_nack(struct connectd *c, struct connectd_msg *m, enum connectd_nack_action action, uint64_t delay_ms,
    const char *reason);

/* "0.1.0" */
const char *connectd_version(void);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
