/*
 * transport: one of the four doors. A reliable byte stream to a peer or a
 * client, of any kind: connect, accept, read, write, close as one table of
 * functions. Handshakes finish before `up`. Call-backs come only from the
 * loop, never from inside a transport call. One suite of tests
 * (tests/transport) runs over every kind.
 */
#ifndef TRANSPORT_H
#define TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "names.h"
#include "tls.h"

struct loop;
struct transport;
struct transport_listener;

#define TRANSPORT_TEXT_MAX 160
#define TRANSPORT_GROUPS_MAX 64

/* Who is at the other end, as far as the transport can prove it. */
struct transport_identity {
	char address[TRANSPORT_TEXT_MAX]; /* "tcp://127.0.0.1:4711", "unix" */
	bool is_local;                    /* uid, gid, pid come from the kernel */
	uint32_t uid, gid, pid;
	uint32_t groups[TRANSPORT_GROUPS_MAX]; /* supplementary groups, as far as they fit */
	size_t n_groups;
	bool has_ip;                      /* v6, ip: for `from = CIDR` */
	bool v6;
	uint8_t ip[16];
	struct tls_peer tls; /* of kinds with certificates, once the other side's is known */
	bool tired;          /* its key has done enough: a new stream is due */
};

/*
 * What kinds with certificates need to know; NULL for the others. It is
 * copied, and the context referenced.
 */
struct transport_security {
	struct tls_context *context;
	/*
	 * Is this the one it should be? Called once per stream, from the loop,
	 * before `up`; what is known of the other side is in id->tls. False:
	 * the other side gets an alert, and `down` says why. Must not close or
	 * touch the stream. arg must live as long as the stream (or until `up`,
	 * `down` or its close).
	 */
	bool (*check)(void *arg, const struct transport_identity *id, char why[static TRANSPORT_TEXT_MAX]);
	void *arg;
	uint64_t handshake_ms; /* listening: bounds the handshake of each accepted stream */
};

/* For kinds that bring a protocol of their own and not the kernel's: SCTP. */
struct transport_tuning {
	uint32_t mtu;             /* bytes of a datagram at most */
	uint32_t buffer;          /* bytes that wait, each way, of one stream */
	uint32_t heartbeat_ms;    /* of an idle stream; 0: none */
	uint32_t rto_min_ms, rto_max_ms; /* the wait for an acknowledgement */
	uint32_t retransmissions; /* of one packet; then the other end is gone */
	uint32_t answers;         /* packets of strangers answered a second, of one listener */
};

/* The way that a stream takes; 0: not known. */
struct transport_path {
	uint32_t mtu;
	uint64_t rtt_us;
	uint64_t retransmissions; /* so far */
};

struct transport_events {
	/* The stream can carry bytes. Exactly once, before any other but down. */
	void (*up)(void *arg);
	/* Bytes can be read. Level-triggered while reading is wanted. */
	void (*readable)(void *arg);
	/* After a write took less than all: there may be room again. */
	void (*writable)(void *arg);
	/*
	 * The stream is gone. Exactly once, unless transport_close came first.
	 * error: 0 for an orderly end by the other side, else a negative errno;
	 * text is a fragment for the log ("connection refused"). The transport
	 * must still be closed.
	 */
	void (*down)(void *arg, int error, const char *text);
	/*
	 * Only of an accepted stream whose handshake is still to come, and may be
	 * NULL. The other side has sent something that has to be worked on: now?
	 * False: it waits, and costs nothing, until want_read is switched on.
	 * Must not close the stream.
	 */
	bool (*may_shake)(void *arg);
	/* That work was done, before `up` or `down`: the CPU time it took. Must not close the stream. */
	void (*shaken)(void *arg, uint64_t ns);
};

struct transport_ops {
	/*
	 * Start connecting. 0 and *ret, or a negative errno (our own fault: no
	 * memory, no descriptors, a path too long); later `up` or `down`. A
	 * name is resolved without blocking; its addresses are tried in order.
	 * timeout_ms bounds everything before `up`. -EINVAL: a kind with
	 * certificates, and no security.
	 */
	int (*connect)(struct loop *l, const struct names_url *url, const struct transport_security *security,
	    uint64_t timeout_ms, const struct transport_events *ev, void *arg, struct transport **ret);
	/*
	 * Bind and listen; fd >= 0 is a listening socket passed in instead (the
	 * caller keeps it if this fails). The host is a numeric address. A unix
	 * socket is made with mode 0600: widening it is the caller's.
	 * `accepted` hands over each new stream; its events are set with
	 * transport_set_events before returning, or it is closed. It is up
	 * already and `up` is not called, unless it says awaits_up: then a
	 * handshake is still to come, that of a stranger, and `up` or `down`
	 * ends it. `failed` says that accepting does not work now (descriptors
	 * or memory ran out) and will be tried again at once: the caller
	 * pauses for a while.
	 */
	int (*listen)(struct loop *l, const struct names_url *url, const struct transport_security *security, int fd,
	    void (*accepted)(void *arg, struct transport *t), void (*failed)(void *arg, int error, const char *text),
	    void *arg, struct transport_listener **ret);

	/* Bytes read (len is not 0); -EAGAIN: none now; 0: orderly end; another negative errno: gone (down follows). */
	ssize_t (*read)(struct transport *t, void *buf, size_t len);
	/*
	 * Bytes taken, a prefix, perhaps 0; `writable` follows if it was not
	 * all. A negative errno: gone (down follows; before it `readable`, if
	 * the other side's last words are still there to be read).
	 */
	ssize_t (*writev)(struct transport *t, const struct iovec *iov, int n);
	/*
	 * Back-pressure. Switching on delivers `readable` again if anything is
	 * there. On at first. Off, a handshake does not go on either (but its
	 * deadline does): who accepted it says when there is time for it.
	 */
	void (*want_read)(struct transport *t, bool on);
	/* Bytes accepted by writev that the other end's kernel has not acknowledged, as far as known; with what a kind adds. */
	size_t (*out_pending)(struct transport *t);
	void (*identity)(struct transport *t, struct transport_identity *ret);
	/* Of a stream that is up. Kinds that cannot say have no such function: NULL. */
	void (*path)(struct transport *t, struct transport_path *ret);
	/*
	 * Whom we trust has changed: is the other side still who it should be, by
	 * what it showed when it came up? False: why says why not, and closing is
	 * the caller's. Kinds without certificates have no such function: NULL.
	 */
	bool (*recheck)(struct transport *t, const struct transport_security *security, char why[static TRANSPORT_TEXT_MAX]);
	/*
	 * No call-back after this. drain: what was written is still delivered
	 * (in the background, at most a few seconds), then the stream ends in
	 * order; else it is cut. t is gone for the caller.
	 */
	void (*close)(struct transport *t, bool drain);

	/* Stop (no longer accept) and resume accepting: limits, descriptors run out. */
	void (*listen_pause)(struct transport_listener *tl, bool paused);
	/* For streams accepted from now on, as after a reload. Kinds without certificates have no such function: NULL. */
	void (*listen_security)(struct transport_listener *tl, const struct transport_security *security);
	/* The same of tuning; and of streams and listeners made in this loop from now on. NULL as well. 0 or -ENOMEM. */
	void (*listen_tune)(struct transport_listener *tl, const struct transport_tuning *tuning);
	int (*tune)(struct loop *l, const struct transport_tuning *tuning);
	/* The URL in force, with the port that was given for port 0; "unix:" and the path, perhaps cut. */
	void (*listen_url)(struct transport_listener *tl, char buf[static TRANSPORT_TEXT_MAX]);
	void (*listen_close)(struct transport_listener *tl);
};

/* Every implementation's object begins with this. */
struct transport {
	const struct transport_ops *ops;
	const struct transport_events *ev;
	void *arg;
	bool awaits_up; /* accepted, and a handshake is still to come */
	/* Accepted, and its owner does not know yet who it is: how many of these drain is bounded apart. The owner's to set. */
	bool is_stranger;
};

struct transport_listener {
	const struct transport_ops *ops;
};

static inline void
transport_set_events(struct transport *t, const struct transport_events *ev, void *arg)
{
	t->ev = ev;
	t->arg = arg;
}

/*
 * The table for a URL's scheme, or NULL if this build has none. The simulator
 * supplies its own.
 */
const struct transport_ops *transport_for(enum names_scheme scheme);

#endif
