/* tls_internal: what the files of tls share. */
#ifndef TLS_INTERNAL_H
#define TLS_INTERNAL_H

#include "tls.h"
#include "tls_compat.h"

struct tls_random {
	mbedtls_entropy_context entropy;
	mbedtls_ctr_drbg_context drbg;
};

struct tls_context {
	size_t refs; /* counted by the loop alone */
	struct tls_random random;
	mbedtls_pk_context key;
	mbedtls_x509_crt own; /* and the chain that is shown with it */
	mbedtls_x509_crt ca;
	mbedtls_x509_crl crl;
	bool has_ca, has_crl;
	struct tls_certificate certificate;
	mbedtls_ssl_config accepting, dialling; /* read by handshakes in another thread */
	mbedtls_ssl_config accepting_datagrams, dialling_datagrams;
	mbedtls_ssl_cookie_ctx cookies; /* the loop's alone */
	uint8_t stage[16384]; /* where small pieces become a record: one stream at a time, all of one loop */
};

struct tls {
	struct tls_context *context;
	mbedtls_ssl_context ssl;
	bool dialling, done, ended;
	bool is_datagrams; /* the output is datagrams, each behind its length in two bytes */
	bool is_wait_new, has_waited;
	uint32_t wait_ms, mtu;
	bool is_shown, is_kept, is_judged, is_checked; /* its certificate: was there; and is in `shown`; check was asked; and said yes */
	bool is_again; /* only to judge again what was shown */
	tls_check *check;
	void *arg;
	struct tls_peer peer;
	uint32_t chain_flags; /* all that mbedTLS has against the chain */
	mbedtls_x509_crt shown; /* what the other side showed, to be judged again when whom we trust has changed */
	unsigned late_alert;  /* refused: to be sent when the handshake is over */
	/* The caller's input, while it is lent to us. */
	const uint8_t *in;
	size_t in_len, in_used;
	size_t fed;        /* of the handshake */
	uint8_t last[7];   /* of it; an alert in the clear has as many */
	bool has_answered; /* something was written since the last byte was read */
	uint8_t *out;
	size_t out_head, out_len, out_cap;
	size_t payload_max;
	uint64_t sealed, opened, tired; /* records; how many are enough */
	int error;
	enum tls_result over; /* TLS_ALERT, TLS_FAILED: why and error say how */
	char why[TLS_TEXT_MAX];
};

#define TLS_HEADER 5 /* of a record */

/* ---- tls.c: the stream */
/* Either kind; what is told to mbedTLS of input and output is its maker's. */
struct tls *tls_make(struct tls_context *c, const mbedtls_ssl_config *conf, bool dialling, tls_check *check, void *arg);
/* Room for so many more bytes of output. 0 or -ENOMEM. */
int tls_reserve(struct tls *t, size_t len);
/* Lend the input to mbedTLS for one call; how much it used. */
void tls_lend(struct tls *t, const uint8_t *in, size_t len);
size_t tls_take_back(struct tls *t);
/* Length of the record at the front, 0 if its header is not whole yet, SIZE_MAX if it can be none. */
size_t tls_record_length(const uint8_t *in, size_t len);

/* ---- tls_datagram.c */
/* Bytes that a record of one datagram holds. */
int tls_datagram_payload(const struct tls *t);

/* ---- tls_fault.c: it ends before its time */
enum tls_result tls_over(struct tls *t, enum tls_result how, int error, const char *why);
/* The other side gave up, and said so. */
enum tls_result tls_take_alert(struct tls *t, unsigned alert);
/* This side gives up: mbedTLS has failed. What was written before of why stays. */
enum tls_result tls_fail(struct tls *t, int e);

/* ---- tls_judge.c: who the other side is */
/* mbedTLS's call-back, of a struct tls. */
int tls_verify(void *arg, mbedtls_x509_crt *crt, int depth, uint32_t *flags);
static inline bool
tls_is_to_be_judged(const struct tls *t)
{
	return t->is_shown && !t->is_judged;
}

/* ---- tls_context.c, tls_identity.c: keys, certificates, randomness */
/* What certificates of a chain must be like. */
extern const mbedtls_x509_crt_profile tls_profile;

/* 0 or a negative errno. */
int tls_random_init(struct tls_random *r);
void tls_random_done(struct tls_random *r);

/* How mbedTLS calls an error: "X509 - The CRT is corrupt". */
const char *tls_words(int error, char buf[static TLS_TEXT_MAX]);
/* What is wrong with a key, as a fragment; false: nothing. */
bool tls_key_fault(const mbedtls_pk_context *key, char why[static TLS_TEXT_MAX]);
/* 0 or a negative errno. */
int tls_certificate_of(const mbedtls_x509_crt *crt, struct tls_certificate *ret);
int64_t tls_seconds(const mbedtls_x509_time *t);

/* Copy with a NUL behind it, which PEM texts need and DER must not count. NULL: no memory. */
struct tls_copy {
	unsigned char *data;
	size_t len;   /* as mbedTLS wants it */
	size_t bytes; /* to be wiped */
};
int tls_copy(struct tls_blob b, struct tls_copy *ret);
void tls_copy_done(struct tls_copy *c);

#endif
