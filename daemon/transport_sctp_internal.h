/*
 * transport_sctp_internal: what plain SCTP and that in DTLS share. Of another
 * kind than transport_tls's `struct stream`. (Nothing here may be named sctp_*: see
 * assoc.h.)
 */
#ifndef TRANSPORT_SCTP_INTERNAL_H
#define TRANSPORT_SCTP_INTERNAL_H

#include "assoc.h"
#include "drain.h"
#include "loop.h"
#include "transport_dial.h"
#include "transport_mux.h"

enum state {
	CONNECTING,
	SHAKING, /* accepted, by DTLS: its handshake, and the association's */
	UP,
	BROKEN, /* writing failed: input may be left, then `down` */
	DOWN,   /* `down` is to be told, or was */
	DRAINING,
	CLOSED /* waits for its free */
};

struct dtls;

struct stream {
	struct transport t;
	struct loop *loop;
	enum state state;
	struct mux_node node;
	struct assoc *assoc;
	struct dtls *dtls;    /* NULL: plain. Its memory lasts as long as the stream's */
	struct dial *dial;    /* NULL once connected, or accepted */
	uint32_t tag;         /* of an accepted one: of its proof */
	uint64_t accepted_ms; /* 0: not accepted */
	bool reading, short_write;
	unsigned refusals;
	uint64_t in, in_told; /* bytes read; how many when `readable` was told last */
	struct loop_call call;   /* what is to be told; at last the free */
	struct loop_timer timer; /* draining: its bound; up: what is left is offered again */
	struct drain draining;
	int error;
	char text[TRANSPORT_TEXT_MAX];
};

struct listener {
	struct transport_listener tl;
	struct mux *mux;
	void (*accepted)(void *arg, struct transport *t);
	void (*failed)(void *arg, int error, const char *text);
	void *arg;
	struct loop_call call; /* the free */
	/* Of DTLS. */
	struct transport_security security; /* holds a reference of the context */
	struct tls *spare; /* answers strangers, until it becomes one's; or NULL */
};

/* ---- transport_sctp.c */
extern const struct assoc_events stream_assoc_events; /* arg is the stream */
/* NULL: no memory. */
struct stream *stream_make(struct loop *l, const struct transport_ops *ops);
/* 0 or -ENOMEM. */
int stream_dial(struct stream *s, const struct names_url *url, uint64_t timeout_ms);
void stream_settings(const struct mux *m, struct assoc_settings *ret);
/* `down` follows; text NULL: that of the error. */
void stream_fail(struct stream *s, enum state state, int error, const char *text);
/* It is closed, now. */
void stream_cut(struct stream *s);
/* Of a mux_kind. */
void stream_unreachable(struct mux_node *n, int error);
/* What tl has is set by its maker, the rest here. 0 or a negative errno. */
int listener_make(struct loop *l, const struct transport_ops *ops, const struct mux_kind *kind, const struct names_url *url,
    int fd, struct listener *tl);

/* Entries of the table. */
ssize_t stream_read(struct transport *t, void *buf, size_t len);
ssize_t stream_writev(struct transport *t, const struct iovec *iov, int n);
void stream_want_read(struct transport *t, bool on);
size_t stream_out_pending(struct transport *t);
void stream_path(struct transport *t, struct transport_path *ret);
void stream_close(struct transport *t, bool drain);
void listener_pause(struct transport_listener *tl, bool paused);
void listener_tune(struct transport_listener *tl, const struct transport_tuning *tuning);
void listener_url(struct transport_listener *tl, char buf[static TRANSPORT_TEXT_MAX]);
void listener_close(struct transport_listener *tl);

/* ---- transport_sctp_spent.c */
/* Was this proof used, by a stream that is over? */
bool stream_is_spent(struct loop *l, uint64_t hash, uint32_t tag);
void stream_note_spent(const struct stream *s);

/* ---- transport_dtls.c; of streams that have it */
extern const struct mux_kind dtls_kind;
/* The first word to whom it is dialled. 0 or a negative errno. */
int dtls_begin(struct stream *s);
/* A packet of its association. */
void dtls_output(struct stream *s, const uint8_t *packet, size_t len);
/* Of one that shakes hands: s->reading has changed. */
void dtls_wanted(struct stream *s);
/* The association is gone, and so is DTLS; but s->dtls stays, and may begin again. */
void dtls_end(struct stream *s);

#endif
