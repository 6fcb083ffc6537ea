/*
 * socket: what the kinds of transport over a kernel stream socket share:
 * reading, writing, back-pressure, telling `up` and `down` from the loop,
 * closing, listening. A kind adds how it connects and whom it finds there.
 */
#ifndef SOCKET_H
#define SOCKET_H

#include <sys/socket.h>

#include "drain.h"
#include "loop.h"
#include "transport.h"

#define SOCKET_ACCEPT_MAX 4     /* streams accepted before others get their turn: one costs 0.1 ms */
#define SOCKET_BACKLOG 512

extern const struct transport_ops transport_unix, transport_tcp, transport_tls, transport_sctp, transport_dtls;

enum socket_state {
	SOCKET_CONNECTING, /* the kind is at work */
	SOCKET_RISING,     /* connected: `up` is to be told */
	SOCKET_UP,
	SOCKET_BROKEN,   /* writing failed: input may be left, then `down` */
	SOCKET_DOWN,     /* `down` is to be told, or was */
	SOCKET_DRAINING, /* closed by its owner */
	SOCKET_CLOSED    /* waits for its free */
};

struct socket;

struct socket_kind {
	/* The descriptor is writable while connecting. */
	void (*writable)(struct socket *s);
	/* What socket_deadline set has passed while connecting. */
	void (*late)(struct socket *s);
	/* No longer connecting, whichever way it went: let go of what only that needed. */
	void (*settled)(struct socket *s);
};

/* A kind's own object begins with this. It is freed with free(). */
struct socket {
	struct transport t;
	const struct socket_kind *kind;
	struct loop *loop;
	enum socket_state state;
	int fd; /* -1: none yet */
	struct loop_watch watch;
	struct loop_call call;   /* what is to be told; at last the free */
	struct loop_timer timer; /* connecting: the deadline; draining: its bound */
	struct drain draining;
	bool reading, short_write; /* wanted; `writable` is owed */
	int error;                 /* why it is down */
	int left;                  /* broken: input seen before the last `readable` */
	uint8_t *tail;             /* draining: what is still to be written, or NULL */
	size_t tail_at, tail_len;
	char text[TRANSPORT_TEXT_MAX];
};

/* s is zeroed memory of the kind. Connecting, without a descriptor. */
void socket_init(struct socket *s, const struct transport_ops *ops, const struct socket_kind *kind, struct loop *l,
    const struct transport_events *ev, void *arg);
/* Take over fd, non-blocking. 0, or -ENOMEM and fd is closed. */
int socket_take(struct socket *s, int fd);
/* Close the descriptor of an attempt. */
void socket_drop(struct socket *s);
/* Connecting: wait for `writable`; call `late` in ms. */
void socket_await(struct socket *s);
void socket_deadline(struct socket *s, uint64_t ms);
/* Connected: `up` follows. */
void socket_up(struct socket *s);
/* Gone: `down` follows. text NULL: in the system's words. */
void socket_fail(struct socket *s, int error, const char *text);
/* "connection refused" for -ECONNREFUSED. */
const char *socket_error_text(int error, char buf[static TRANSPORT_TEXT_MAX]);

/* Entries of a kind's table. */
ssize_t socket_read(struct transport *t, void *buf, size_t len);
ssize_t socket_writev(struct transport *t, const struct iovec *iov, int n);
void socket_want_read(struct transport *t, bool on);
void socket_close(struct transport *t, bool drain);
/* For a kind on top: close and drain, once the tail is written. It was allocated, and is taken over; NULL: nothing. */
void socket_close_tail(struct transport *t, uint8_t *tail, size_t len);

/* --------------------------------------------------------------- listener */

/* A kind's own object begins with this. It is freed with free(). */
struct socket_listener {
	struct transport_listener tl;
	struct loop *loop;
	int fd;
	struct loop_watch watch;
	struct loop_call call; /* the free */
	bool closed;
	/* Make the kind's object for an accepted fd; NULL and fd closed when out of memory. */
	struct socket *(*adopt)(struct socket_listener *sl, int fd);
	void (*accepted)(void *arg, struct transport *t);
	void (*failed)(void *arg, int error, const char *text);
	void *arg;
};

/* A new socket of this address family, listening sockets' options set where they are the same for all. fd or -errno. */
int socket_new(int family);
/* Is fd a listening stream socket of one of two families? Makes it non-blocking. 0 or a negative errno. */
int socket_check_passed(int fd, int family, int or_family);
/* fd listens: accept from it. The other fields are set. 0, or -ENOMEM and the caller keeps all. */
int socket_listen(struct socket_listener *sl);
void socket_listen_pause(struct transport_listener *tl, bool paused);
/* Closes and frees; to be called last. */
void socket_listen_close(struct socket_listener *sl);

#endif
