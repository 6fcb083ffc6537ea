/*
 * tls: TLS 1.2 and 1.3, and DTLS 1.2, between nodes, both of which show a
 * certificate. The only module that includes mbedTLS (2.28 and 3.6), and no
 * type of it is seen here. Does no I/O: bytes come from the caller and wait for
 * the caller.
 *
 * Policy: ECDHE and AEAD only; certificates of both sides, always; keys of
 * ECDSA P-256, P-384, or RSA of 2048 bits and more; no renegotiation, no
 * tickets, no resumption. Whether a peer is the one it should be is for the
 * caller's `check` to say, while the handshake can still tell the other side.
 */
#ifndef TLS_H
#define TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "names.h"
#include "pin.h"

#define TLS_TEXT_MAX 160
#define TLS_PEM_MAX 2048
#define TLS_NAMES_MAX 8
#define TLS_SUBJECT_MAX 64
#define TLS_NEVER INT64_C(253402300799)
#define TLS_HANDSHAKE_MAX 12288           /* bytes a peer may send in a handshake: its certificates, above all */
#define TLS_RECORD_MAX (5 + 16384 + 2048) /* an input buffer holds one, at least */
#define TLS_OUT_MARK 65536                /* with that much output waiting nothing more is sealed */

/* What a certificate says of itself. */
struct tls_certificate {
	uint8_t key[PIN_BYTES]; /* SHA-256 of the DER SubjectPublicKeyInfo */
	/* Its DNS names that can be a node's name, as they are written; others say nothing here. */
	char names[TLS_NAMES_MAX][NAMES_NODE_MAX + 1];
	size_t n_names;
	bool more_names;               /* there were more than fit */
	int64_t not_before, not_after; /* seconds since 1970; TLS_NEVER: without end (RFC 5280, 4.1.2.5) */
};

enum tls_chain {
	TLS_CHAIN_UNCHECKED, /* no CA is configured: nothing is known but the key */
	TLS_CHAIN_GOOD,      /* signed by a CA of ours, valid today, not revoked */
	TLS_CHAIN_BAD        /* chain_text says why not */
};

/* Who is at the other end. has_certificate false: nothing is proven (and all is zero). */
struct tls_peer {
	bool has_certificate;
	struct tls_certificate certificate;
	enum tls_chain chain;
	char chain_text[TLS_TEXT_MAX]; /* "expired 2026-11-01, not signed by a CA of ours" */
	/* After the handshake. */
	char version[12]; /* "TLSv1.3", "DTLSv1.2" */
	char cipher[64];  /* "TLS1-3-CHACHA20-POLY1305-SHA256" */
};

/* Is the name exactly one of the certificate's? No wildcards. */
bool tls_certificate_names(const struct tls_certificate *c, const char *name);

/* ------------------------------------------------------------------ context */

/*
 * A node's own key and certificate, and whom it trusts. Never changes: a
 * reload makes a new one, and streams keep theirs.
 */
struct tls_context;

/* PEM text or DER; len without a closing NUL. data NULL: there is none. */
struct tls_blob {
	const void *data;
	size_t len;
};

/* key and certificate are required; a certificate's file may hold the chain up to the CA behind it. */
struct tls_material {
	struct tls_blob key, certificate, ca, crl;
};

/*
 * 0 and *ret, or a negative errno and in why a text for people: "key: does
 * not belong to the certificate", "certificate: weak curve secp192r1". May run
 * off the loop. A CRL without a CA is a fault.
 */
int tls_context_new(const struct tls_material *m, char why[static TLS_TEXT_MAX], struct tls_context **ret);
/* References are counted by one thread, though streams of it may shake hands in another. */
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c); /* NULL is fine */

/* Our own certificate. */
const struct tls_certificate *tls_context_own(const struct tls_context *c);
bool tls_context_same_own(const struct tls_context *a, const struct tls_context *b);
bool tls_context_has_ca(const struct tls_context *c);

/* What ends, or begins only later. */
struct tls_dates {
	const char *what;           /* "certificate", "intermediate certificate", "CA certificate", "CRL" */
	char of[TLS_SUBJECT_MAX];   /* whose, of what is not our own: "CN=Shop CA"; "" if that is too long */
	int64_t not_before, not_after; /* as in a certificate; of a CRL, when there must be another */
};
/* The i-th of what this context has: our certificate, which is the first, those behind it, the CAs, the CRLs. False: no more. */
bool tls_context_dates(const struct tls_context *c, size_t i, struct tls_dates *ret);

/* --------------------------------------------------------------- identities */

/* A new P-256 key and its self-signed certificate for a node's name, that never expires; PEM texts. */
struct tls_made {
	char key[TLS_PEM_MAX]; /* the caller wipes it (explicit_bzero) */
	char certificate[TLS_PEM_MAX];
};
/* 0, or a negative errno and why. */
int tls_make_identity(const char *name, char why[static TLS_TEXT_MAX], struct tls_made *ret);

/* Of the first certificate in PEM text or DER. 0, or -EBADMSG, -ENOMEM and why. */
int tls_certificate_read(struct tls_blob certificate, char why[static TLS_TEXT_MAX], struct tls_certificate *ret);

/* ------------------------------------------------------------------- stream */

struct tls;

enum tls_result {
	TLS_MORE,   /* the input at hand says nothing yet: more is needed */
	TLS_READY,  /* tls_feed: the handshake is over; tls_open: there is plaintext */
	TLS_END,    /* the other side closed in order */
	TLS_ALERT,  /* the other side gave up, and tls_why says what it said */
	TLS_FAILED, /* this side gave up, tls_why says why; an alert may wait in the output */
	TLS_AGAIN,  /* tls_step, tls_judge: there is more to be done */
	TLS_JUDGE   /* tls_step: tls_judge is next, before anything else */
};

/*
 * Called once per stream, inside tls_feed or tls_judge, as soon as the other side's
 * certificate is there; version and cipher are still empty, and that it holds
 * the key is proven only when the handshake is over. True: it is who it should
 * be. False: why says why not (for this side's log), and the other side gets
 * an alert that fits peer->chain, else "access denied". Must not touch the
 * stream.
 */
typedef bool tls_check(void *arg, const struct tls_peer *peer, char why[static TLS_TEXT_MAX]);

/* One end. Takes a reference of the context. NULL: out of memory. */
struct tls *tls_new(struct tls_context *c, bool dialling, tls_check *check, void *arg);
void tls_free(struct tls *t); /* NULL is fine */

/*
 * The handshake. *ret_used bytes of the input were eaten; what is left belongs
 * to tls_open. Look at the output after each call, also after TLS_FAILED. The
 * first call of the dialling end has no input.
 */
enum tls_result tls_feed(struct tls *t, const uint8_t *in, size_t len, size_t *ret_used);

/*
 * The same in pieces. TLS_AGAIN: the next step may follow, with whatever input is
 * left. A step calls nothing of the caller's: it may run in another thread, if
 * nobody else touches t meanwhile and tls_may_leave_the_loop says so. `check` is
 * asked by tls_judge, and without its yes no handshake is over well.
 */
enum tls_result tls_step(struct tls *t, const uint8_t *in, size_t len, size_t *ret_used);
enum tls_result tls_judge(struct tls *t);
/* Was mbedTLS built with the locks that takes? */
bool tls_may_leave_the_loop(void);

/*
 * Open the record at the front of the input, one contiguous buffer that is
 * written over. *ret_used bytes were eaten (0 with TLS_MORE: a record is eaten
 * whole, so there must be room for TLS_RECORD_MAX). TLS_READY: *ret_plain and
 * *ret_len, perhaps 0 bytes, inside the input, until the next call.
 */
enum tls_result tls_open(struct tls *t, uint8_t *in, size_t len, size_t *ret_used, uint8_t **ret_plain, size_t *ret_len);

/* Is there at least one whole record, or what can be none? Then tls_open has something to say. */
bool tls_has_record(const uint8_t *in, size_t len);

/*
 * Seal bytes into the output, behind the first `skip`, records as full as they
 * can be. Returns bytes taken: a prefix, perhaps nothing with the output at
 * its mark; a negative errno (tls_why says more).
 */
ssize_t tls_seal(struct tls *t, const struct iovec *iov, int n, size_t skip);

/* We are done: close_notify goes into the output, behind what was sealed. */
void tls_close(struct tls *t);
/* The input ended. TLS_END if that was in order; else TLS_FAILED: it was cut short. */
enum tls_result tls_input_ended(struct tls *t);

/* Bytes to be sent now, until the next call for this stream; tls_sent says how many were. */
const uint8_t *tls_out(const struct tls *t, size_t *ret_len);
void tls_sent(struct tls *t, size_t n);
/* Take all output away, to be sent later; the caller frees it. NULL and 0: there is none. */
uint8_t *tls_take_out(struct tls *t, size_t *ret_len);

/* After TLS_ALERT, TLS_FAILED: a fragment for the log, "the other side refused our certificate (alert: unknown CA): no CA known there has signed it". */
const char *tls_why(const struct tls *t);
/*
 * After those: a negative errno; -EACCES: its certificate was refused here,
 * -EKEYREJECTED: ours was there, -EPROTO: no TLS as it should be, -ECONNRESET:
 * cut short.
 */
int tls_error(const struct tls *t);
/* What is known of the other side. */
const struct tls_peer *tls_peer(const struct tls *t);
/*
 * Whom we trust has changed: is the other side, by what it showed, still who it
 * should be, under this context? True, and tls_peer says what is known now; or
 * false and why. The stream goes on either way. Not before the handshake is over.
 */
bool tls_recheck(struct tls *t, struct tls_context *c, tls_check *check, void *arg, char why[static TLS_TEXT_MAX]);
/* This key has sealed or opened as much as one should: a new stream is due. */
bool tls_tired(const struct tls *t);

/* ---------------------------------------------------------------- datagrams */

/*
 * DTLS 1.2: one end whose records are in datagrams, which come in any order, or
 * twice, or not at all. tls_step, tls_judge, tls_recheck and what tells of the
 * other side are the same. In the handshake a step is given one whole datagram,
 * and only when a step without any has said TLS_MORE; what is damaged is passed
 * over. mtu: bytes of a datagram at most. NULL: out of memory.
 */
struct tls *tls_new_datagrams(struct tls_context *c, bool dialling, uint32_t mtu, tls_check *check, void *arg);

#define TLS_COOKIE_S 10  /* a stranger's proof that it gets our answers is good for as long */
#define TLS_RANDOM 32

/* Does it begin a handshake? Then *ret_random is what its sender has made up for it, the same in every copy. */
bool tls_is_hello(const uint8_t *datagram, size_t len, uint8_t ret_random[static TLS_RANDOM]);
/* Does it hold a packet, of a handshake that is over? */
bool tls_is_sealed(const uint8_t *datagram, size_t len);
/* Can it be one at all? */
bool tls_is_datagram(const uint8_t *datagram, size_t len);

/*
 * A hello, for an accepting end that is nobody's yet. `who` stands for whom it
 * comes from, and must not be guessed: TLS_MORE: it has to show first that it
 * gets our answer, which is in the output; nothing is kept. (So
 * it is of a hello that is no good.) TLS_READY: it has, and the end is its from
 * here on (tls_set_owner, then tls_step). TLS_FAILED: out of memory, and the end is of no use any more.
 */
enum tls_result tls_hello(struct tls *t, const void *who, size_t len, const uint8_t *datagram, size_t datagram_len);
void tls_set_owner(struct tls *t, tls_check *check, void *arg);
/* What opens nothing and belongs to nobody here: a word in the clear that it arrived in vain. Returns its length. */
size_t tls_in_vain(uint8_t ret[static 32]);
bool tls_is_in_vain(const uint8_t *datagram, size_t len);

/* The next datagram of the output, until the next call for this stream; NULL: no more. */
const uint8_t *tls_next(struct tls *t, size_t *ret_len);
/* Has the wait for an answer changed? Then it is *ret_ms from now; 0: there is none. */
bool tls_wait_changed(struct tls *t, uint64_t *ret_ms);
/* It is over; the next step sends again what has to be. */
void tls_waited(struct tls *t);

/* So much fits into a record. */
size_t tls_packet_max(const struct tls *t);
/* Seal one packet, which is a datagram of the output then; or it is lost, as it may be on any path. */
void tls_seal_packet(struct tls *t, const uint8_t *packet, size_t len);
/*
 * Open what is in a datagram: TLS_READY: *ret_packet and *ret_len until the next
 * call for any stream of this context, and there may be more: again, with no datagram.
 * TLS_MORE: no more. TLS_END and TLS_ALERT as of a stream; what is forged is passed over.
 */
enum tls_result tls_open_packet(struct tls *t, const uint8_t *datagram, size_t len, uint8_t **ret_packet, size_t *ret_len);

#endif
