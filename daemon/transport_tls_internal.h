/* transport_tls_internal: what the files of transport_tls share. */
#ifndef TRANSPORT_TLS_INTERNAL_H
#define TRANSPORT_TLS_INTERNAL_H

#include "socket.h"
#include "tls.h"

#define IN_BYTES 32768 /* a record, and what came with it in one read */

_Static_assert(IN_BYTES >= TLS_RECORD_MAX, "the input buffer must hold a record");

enum state {
	CONNECTING, /* TCP is at work */
	SHAKING,    /* the handshake */
	UP,
	BROKEN, /* TCP is gone; what it brought may be left to be read, then `down` */
	DOWN,   /* `down` is to be told, or was */
	CLOSED  /* waits for its free */
};

struct shaker_job;

struct stream {
	struct transport t;
	struct loop *loop;
	struct transport *tcp;
	/* Made with the first bytes: a stranger that says nothing costs little. NULL while the worker has it. */
	struct tls *tls;
	struct shaker_job *job; /* of the handshake, with the first bytes */
	struct transport_security security; /* holds a reference of the context until the handshake is over */
	enum state state;
	uint64_t deadline_ms;
	struct loop_timer timer; /* shaking: the deadline; up: what is buffered is offered again */
	struct loop_call call;   /* what is to be told; at last the free */
	bool goes_on;  /* shaking: there is more to be done, without a byte more from TCP */
	bool is_cut;   /* shaking: TCP is gone; error and text say why, unless its last words say more */
	bool dialled, reading, short_write, is_over /* the next read says how it ended */;
	uint8_t *in; /* IN_BYTES; whole records are opened where they lie. NULL while the worker has it */
	size_t in_at, in_len;
	uint8_t *plain; /* inside in, before in_at: opened and not yet read */
	size_t plain_len;
	size_t left; /* broken: what was buffered before the last `readable` */
	int error;
	char text[TRANSPORT_TEXT_MAX];
};

/* ---- transport_tls.c */
/* tls.h's check, of a stream. */
bool tls_stream_check(void *arg, const struct tls_peer *peer, char why[static TLS_TEXT_MAX]);
/* Write what is sealed. A negative errno: TCP is gone, and will say so. */
int tls_stream_flush(struct stream *s);
/* More input: bytes, 0 at its end, or a negative errno; -EAGAIN also if there is no room for more. All plaintext is read. */
ssize_t tls_stream_fill(struct stream *s);
void tls_stream_eat(struct stream *s, size_t n);
/* Offer what is buffered in the next pass: TCP's readiness knows nothing of it. */
void tls_stream_offer(struct stream *s);
/* `down` follows. */
void tls_stream_fail(struct stream *s, int error, const char *text);
/* TLS is over: an alert of ours goes out, if the other side still listens; `down` follows. */
void tls_stream_over(struct stream *s);
/* Of TCP's, before the handshake. NULL: out of memory, and the caller keeps tcp. */
struct transport *tls_stream_accept(struct loop *l, const struct transport_security *security, struct transport *tcp);
/* A copy that references the context. */
void tls_security_set(struct transport_security *to, const struct transport_security *from);
void tls_security_drop(struct transport_security *s);
/* "tls://…" for "tcp://…". */
void tls_rename_scheme(char address[static TRANSPORT_TEXT_MAX]);

/* ---- transport_tls_listen.c: entries of the table */
int tls_listen(struct loop *l, const struct names_url *url, const struct transport_security *security, int fd,
    void (*accepted)(void *arg, struct transport *t), void (*failed)(void *arg, int error, const char *text), void *arg,
    struct transport_listener **ret);
void tls_listen_pause(struct transport_listener *tl, bool paused);
void tls_listen_security(struct transport_listener *tl, const struct transport_security *security);
void tls_listen_url(struct transport_listener *tl, char buf[static TRANSPORT_TEXT_MAX]);
void tls_listen_close(struct transport_listener *tl);

/* ---- transport_tls_shake.c: from SHAKING to UP or DOWN */
/* The dialling end says the first word. */
void tls_shake_begin(struct stream *s);
/* TCP has something. */
void tls_shake(struct stream *s);
/* A pass of the loop for what needs nothing from TCP. */
void tls_shake_on(struct stream *s);
/* s->reading has changed. */
void tls_shake_wanted(struct stream *s);
/* TCP is gone. */
void tls_shake_cut(struct stream *s, int error, const char *text);
/* The stream is closed: what the worker has of it goes when it is given back. */
void tls_shake_end(struct stream *s);

#endif
