/* tls: the stream; see tls.h. */
#include "tls_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER 5
#define RECORD_HANDSHAKE MBEDTLS_SSL_MSG_HANDSHAKE
/* Of AES-GCM one key should not see more (RFC 8446, 5.5: 2^24.5); of ChaCha20-Poly1305 it is far away. */
#define TIRED_GCM (UINT64_C(1) << 24)
#define TIRED_CHACHA (UINT64_C(1) << 40)
#define OUT_FIRST 2048

/* ------------------------------------------------------------------- output */

static int
reserve(struct tls *t, size_t len)
{
	size_t need = t->out_len + len, cap = 2 * t->out_cap;
	uint8_t *out;

	if (t->out_head > 0) {
		memmove(t->out, t->out + t->out_head, t->out_len);
		t->out_head = 0;
	}
	if (need <= t->out_cap)
		return 0;
	if (cap < OUT_FIRST)
		cap = OUT_FIRST;
	if (cap < need)
		cap = need;
	out = realloc(t->out, cap);
	if (!out)
		return -ENOMEM;
	t->out = out;
	t->out_cap = cap;
	return 0;
}

/* Always takes all, so that mbedTLS never has to ask again. */
static int
bio_send(void *arg, const unsigned char *data, size_t len)
{
	struct tls *t = arg;
	uint8_t *to;

	if (t->out_head + t->out_len + len > t->out_cap && reserve(t, len) < 0)
		return MBEDTLS_ERR_SSL_ALLOC_FAILED;
	to = t->out + t->out_head + t->out_len;
	memcpy(to, data, len);
	/* An alert before a version was agreed on has none in 2.28, and nobody would know it for one. */
	if (!t->done && len > HEADER && to[1] == 0)
		to[1] = to[2] = 3;
	t->out_len += len;
	t->has_answered = true;
	return (int)len;
}

static int
bio_recv(void *arg, unsigned char *buf, size_t len)
{
	struct tls *t = arg;
	size_t n = t->in_len - t->in_used;

	if (n == 0)
		return MBEDTLS_ERR_SSL_WANT_READ;
	if (n > len)
		n = len;
	if (!t->done && t->fed + t->in_used + n > TLS_HANDSHAKE_MAX)
		return MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL;
	memcpy(buf, t->in + t->in_used, n);
	t->in_used += n;
	t->has_answered = false;
	if (n >= sizeof(t->last)) {
		memcpy(t->last, buf + n - sizeof(t->last), sizeof(t->last));
	} else {
		memmove(t->last, t->last + n, sizeof(t->last) - n);
		memcpy(t->last + sizeof(t->last) - n, buf, n);
	}
	return (int)n;
}

static void
drop_out(struct tls *t)
{
	free(t->out);
	t->out = NULL;
	t->out_head = t->out_len = t->out_cap = 0;
}

const uint8_t *
tls_out(const struct tls *t, size_t *ret_len)
{
	*ret_len = t->out_len;
	return t->out_len > 0 ? t->out + t->out_head : NULL;
}

void
tls_sent(struct tls *t, size_t n)
{
	assert(n <= t->out_len);
	t->out_head += n;
	t->out_len -= n;
	if (t->out_len == 0)
		drop_out(t); /* an idle stream holds none */
}

uint8_t *
tls_take_out(struct tls *t, size_t *ret_len)
{
	uint8_t *out = t->out;

	*ret_len = t->out_len;
	if (t->out_len == 0)
		return NULL;
	if (t->out_head > 0)
		memmove(out, out + t->out_head, t->out_len);
	t->out = NULL;
	drop_out(t);
	return out;
}

/* ------------------------------------------------------------- what went wrong */

static enum tls_result
over(struct tls *t, enum tls_result how, int error, const char *why)
{
	t->over = how;
	t->error = error;
	snprintf(t->why, sizeof(t->why), "%s", why);
	return how;
}

/* What the other side says when it gives up, and, where one can know, what that means to whoever has to mend it. */
static const struct alert {
	unsigned alert;
	bool refuses; /* our certificate, or that we have shown none */
	const char *name, *means;
} alert_kinds[] = {
	{ 10, false, "unexpected message", NULL },
	{ 20, false, "bad record MAC", NULL },
	{ 22, false, "record overflow", NULL },
	{ 40, false, "handshake failure", "no cipher suite, group or signature in common, or it wants a certificate" },
	{ 41, true, "no certificate", "it wants one" },
	{ 42, true, "bad certificate", "it cannot use it" },
	{ 43, true, "unsupported certificate", "its kind, strength or usage of key is not allowed there" },
	{ 44, true, "certificate revoked", "it is on the CRL there" },
	{ 45, true, "certificate expired", "by the clock there" },
	{ 46, true, "certificate unknown", "not valid yet, or weakly signed; the log there says more" },
	{ 47, false, "illegal parameter", NULL },
	{ 48, true, "unknown CA", "no CA known there has signed it" },
	{ 49, true, "access denied", "its key or name is no peer's there; the log there says more" },
	{ 50, false, "decode error", NULL },
	{ 51, false, "decrypt error", NULL },
	{ 70, false, "protocol version", "no version of TLS in common" },
	{ 71, false, "insufficient security", "it wants stronger ciphers" },
	{ 80, false, "internal error", NULL },
	{ 90, false, "user canceled", NULL },
	{ 100, false, "no renegotiation", NULL },
	{ 109, false, "missing extension", NULL },
	{ 110, false, "unsupported extension", NULL },
	{ 112, false, "unrecognized name", NULL },
	{ 116, true, "certificate required", "it wants one" },
	{ 120, false, "no application protocol", NULL },
};

static enum tls_result
take_alert(struct tls *t, unsigned alert)
{
	const struct alert *a = NULL;
	char why[TLS_TEXT_MAX], text[16];
	bool refuses, means;

	for (size_t i = 0; !a && i < sizeof(alert_kinds) / sizeof(*alert_kinds); i++)
		if (alert_kinds[i].alert == alert)
			a = &alert_kinds[i];
	refuses = a && a->refuses;
	means = a && a->means;
	snprintf(text, sizeof(text), "%u", alert);
	snprintf(why, sizeof(why), "the other side %s (alert: %s)%s%s", refuses ? "refused our certificate" : "gave up", a ? a->name : text,
	    means ? ": " : "", means ? a->means : "");
	return over(t, TLS_ALERT, refuses ? -EKEYREJECTED : -EPROTO, why);
}

/* What verify has not said a word about: what a certificate may be used for, and its key. */
static void
certificate_text(const struct tls *t, char why[static TLS_TEXT_MAX])
{
	uint32_t flags = mbedtls_ssl_get_verify_result(&t->ssl);
	const char *text = "the other side's certificate is not acceptable";

	if (flags != UINT32_MAX &&
	    flags & (MBEDTLS_X509_BADCERT_KEY_USAGE | MBEDTLS_X509_BADCERT_EXT_KEY_USAGE | MBEDTLS_X509_BADCERT_NS_CERT_TYPE))
		text = t->dialling ? "the other side's certificate may not be used by a server (key usage)"
				   : "the other side's certificate may not be used by a client (key usage)";
	snprintf(why, TLS_TEXT_MAX, "%s", text);
}

/* A failure of mbedTLS as a text for people, the errno, and the alert that is sent if mbedTLS sent none. */
static unsigned
explain(const struct tls *t, int e, char why[static TLS_TEXT_MAX], int *ret_error)
{
	char words[TLS_TEXT_MAX];
	const char *text = NULL;
	unsigned alert = MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE;

	*ret_error = -EPROTO;
	switch (e) {
	case MBEDTLS_ERR_SSL_ALLOC_FAILED:
		*ret_error = -ENOMEM;
		text = "out of memory";
		alert = MBEDTLS_SSL_ALERT_MSG_INTERNAL_ERROR;
		break;
	case MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL:
		text = "the other side's part of the handshake is too large";
		break;
	case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
	case TLS_COMPAT_BAD_CERTIFICATE:
		*ret_error = -EACCES;
		certificate_text(t, why);
		return MBEDTLS_SSL_ALERT_MSG_BAD_CERT;
	case MBEDTLS_ERR_X509_FATAL_ERROR:
		*ret_error = -EACCES;
		text = "the other side's chain of certificates is too long";
		alert = MBEDTLS_SSL_ALERT_MSG_BAD_CERT;
		break;
	case MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE:
		*ret_error = -EACCES;
		text = "the other side shows no certificate";
		break;
	case TLS_COMPAT_BAD_VERSION:
		text = "the other side speaks no TLS 1.2 or newer";
		alert = MBEDTLS_SSL_ALERT_MSG_PROTOCOL_VERSION;
		break;
	case TLS_COMPAT_NO_CIPHER:
#if MBEDTLS_VERSION_NUMBER < 0x03000000
	case MBEDTLS_ERR_SSL_NO_USABLE_CIPHERSUITE:
#endif
		text = "no cipher suite, group or signature in common";
		break;
	case MBEDTLS_ERR_SSL_INVALID_MAC:
		text = "a record was damaged or forged (bad MAC)";
		alert = MBEDTLS_SSL_ALERT_MSG_BAD_RECORD_MAC;
		break;
	case MBEDTLS_ERR_SSL_INVALID_RECORD:
	case MBEDTLS_ERR_SSL_UNEXPECTED_RECORD:
		text = "what came is no TLS record";
		alert = MBEDTLS_SSL_ALERT_MSG_DECODE_ERROR;
		break;
	case MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE:
		text = "a TLS message that has no place here";
		alert = MBEDTLS_SSL_ALERT_MSG_UNEXPECTED_MESSAGE;
		break;
	default:
		snprintf(why, TLS_TEXT_MAX, "TLS failed: %.120s", tls_words(e, words));
		return alert;
	}
	snprintf(why, TLS_TEXT_MAX, "%s", text);
	return alert;
}

/*
 * In the handshake of TLS 1.3 mbedTLS's client says in the clear that it
 * refuses, and its server expects a sealed record. (That is never that short,
 * and who can forge this can cut the stream as well.)
 */
static bool
was_clear_alert(const struct tls *t)
{
	static const uint8_t header[] = { MBEDTLS_SSL_MSG_ALERT, 3, 3, 0, 2, MBEDTLS_SSL_ALERT_LEVEL_FATAL };

	return !t->done && !t->dialling && memcmp(t->last, header, sizeof(header)) == 0;
}

/* This side gives up. What verify has written stays. */
static enum tls_result
fail(struct tls *t, int e)
{
	char why[TLS_TEXT_MAX];
	int error;
	unsigned alert = explain(t, e, why, &error);

	/* The first record was none: somebody else's protocol. */
	if (!t->done && t->fed <= HEADER && error == -EPROTO && e != TLS_COMPAT_BAD_VERSION)
		snprintf(why, sizeof(why), "the other side does not speak TLS");
	if (!t->has_answered)
		(void)mbedtls_ssl_send_alert_message(&t->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, (unsigned char)alert);
	if (e == MBEDTLS_ERR_SSL_INVALID_MAC && was_clear_alert(t))
		return take_alert(t, t->last[6]);
	/* It was refused already, and that counts. */
	if (t->over == TLS_FAILED || t->late_alert)
		return t->over = TLS_FAILED;
	/* Where refusals are late, mbedTLS itself still has some that nobody can read. */
	if (e == MBEDTLS_ERR_SSL_INVALID_MAC && t->dialling && t->opened <= 1 && tls_compat_refuses_late(&t->ssl))
		snprintf(why, sizeof(why), "the other side gave up behind the handshake, for a reason that cannot be read (bad MAC)");
	return over(t, TLS_FAILED, error, why);
}

const char *
tls_why(const struct tls *t)
{
	return t->why;
}

int
tls_error(const struct tls *t)
{
	return t->error;
}

/* ------------------------------------------------------------------ who it is */

static void
add(struct tls *t, const char *text)
{
	char *to = t->peer.chain_text;
	size_t len = strlen(to);

	snprintf(to + len, TLS_TEXT_MAX - len, "%s%s", len > 0 ? ", " : "", text);
}

static void
add_date(struct tls *t, const char *whose, const char *what, const mbedtls_x509_time *date)
{
	char text[64];

	snprintf(text, sizeof(text), "%s%s %04d-%02d-%02d", whose, what, date->year, date->mon, date->day);
	add(t, text);
}

/* What mbedTLS has against one certificate of the chain; depth 0 is the other side's own. */
static void
note_faults(struct tls *t, const mbedtls_x509_crt *crt, int depth, uint32_t flags)
{
	static const struct {
		uint32_t flag;
		const char *text;
	} faults[] = {
		{ MBEDTLS_X509_BADCERT_REVOKED, "revoked" },
		{ MBEDTLS_X509_BADCERT_NOT_TRUSTED, "not signed by a CA of ours" },
		{ MBEDTLS_X509_BADCERT_BAD_MD, "signed with a weak hash" },
		{ MBEDTLS_X509_BADCERT_BAD_PK, "signed with another kind of key than ours" },
		{ MBEDTLS_X509_BADCERT_BAD_KEY, "with a weak key" },
		{ MBEDTLS_X509_BADCRL_NOT_TRUSTED, "the CRL is not signed by its CA" },
		{ MBEDTLS_X509_BADCRL_EXPIRED, "the CRL should have been renewed" },
		{ MBEDTLS_X509_BADCRL_FUTURE, "the CRL is from the future" },
		{ MBEDTLS_X509_BADCRL_BAD_MD, "the CRL is signed with a weak hash" },
		{ MBEDTLS_X509_BADCRL_BAD_PK, "the CRL is signed with another kind of key" },
		{ MBEDTLS_X509_BADCRL_BAD_KEY, "the CRL is signed with a weak key" },
	};
	uint32_t known = MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE;
	const char *whose = depth > 0 ? "its CA " : "";
	char text[64];

	if (flags & MBEDTLS_X509_BADCERT_EXPIRED)
		add_date(t, whose, "expired", &crt->valid_to);
	if (flags & MBEDTLS_X509_BADCERT_FUTURE)
		add_date(t, whose, "is valid only from", &crt->valid_from);
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
		known |= faults[i].flag;
		if (!(flags & faults[i].flag))
			continue;
		snprintf(text, sizeof(text), "%s%s", whose, faults[i].text);
		add(t, text);
	}
	if (flags & ~known) {
		snprintf(text, sizeof(text), "%sfault %#x", whose, (unsigned)(flags & ~known));
		add(t, text);
	}
}

/* As mbedTLS picks it. */
static unsigned
alert_of(uint32_t flags)
{
	static const struct {
		uint32_t flags;
		unsigned alert;
	} alerts[] = {
		{ MBEDTLS_X509_BADCERT_OTHER, MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED },
		{ MBEDTLS_X509_BADCERT_BAD_PK | MBEDTLS_X509_BADCERT_BAD_KEY, MBEDTLS_SSL_ALERT_MSG_UNSUPPORTED_CERT },
		{ MBEDTLS_X509_BADCERT_EXPIRED, MBEDTLS_SSL_ALERT_MSG_CERT_EXPIRED },
		{ MBEDTLS_X509_BADCERT_REVOKED, MBEDTLS_SSL_ALERT_MSG_CERT_REVOKED },
		{ MBEDTLS_X509_BADCERT_NOT_TRUSTED, MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA },
	};

	for (size_t i = 0; i < sizeof(alerts) / sizeof(*alerts); i++)
		if (alerts[i].flags & flags)
			return alerts[i].alert;
	return MBEDTLS_SSL_ALERT_MSG_CERT_UNKNOWN;
}

/*
 * The refusal of the other side's certificate. mbedTLS picks the alert by the
 * flag and sends it; where the other side could not read that, the handshake
 * is ended first (it is up by then in any case: TLS 1.3).
 */
static int
refuse(struct tls *t, uint32_t flag, const char *why, uint32_t *flags)
{
	if (!t->dialling && !t->is_again && tls_compat_refuses_late(&t->ssl)) {
		t->late_alert = alert_of(flag);
		t->error = -EACCES;
		snprintf(t->why, sizeof(t->why), "%s", why);
		return 0;
	}
	*flags = flag;
	over(t, TLS_FAILED, -EACCES, why);
	return 0;
}

/* A copy of all that was shown, which mbedTLS forgets in parts; at most TLS_HANDSHAKE_MAX. */
static bool
keep_shown(struct tls *t, const mbedtls_x509_crt *crt)
{
	for (; crt && !t->is_again; crt = crt->next)
		if (mbedtls_x509_crt_parse_der(&t->shown, crt->raw.p, crt->raw.len) != 0)
			return false;
	return true;
}

/*
 * mbedTLS hands over the chain from its root down, with what it has against
 * each. That is written down, and the caller decides: with a pin nobody asks
 * for chain and dates. Only the strength of the key is decided here.
 */
static int
verify(void *arg, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
	struct tls *t = arg;
	const uint32_t alerts = MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_REVOKED | MBEDTLS_X509_BADCERT_NOT_TRUSTED |
	    MBEDTLS_X509_BADCERT_FUTURE | MBEDTLS_X509_BADCERT_BAD_MD | MBEDTLS_X509_BADCERT_BAD_PK | MBEDTLS_X509_BADCERT_BAD_KEY;
	char weak[TLS_TEXT_MAX], why[TLS_TEXT_MAX];

	if (t->context->has_ca && *flags) {
		t->chain_flags |= *flags;
		note_faults(t, crt, depth, *flags);
	}
	*flags = 0;
	if (depth > 0)
		return 0;
	if (tls_certificate_of(crt, &t->peer.certificate) < 0)
		return refuse(t, MBEDTLS_X509_BADCERT_OTHER, "SHA-256 failed", flags);
	t->peer.has_certificate = true;
	if (t->context->has_ca)
		t->peer.chain = t->chain_flags ? TLS_CHAIN_BAD : TLS_CHAIN_GOOD;
	if (tls_key_fault(&crt->pk, weak)) {
		snprintf(why, sizeof(why), "the other side's certificate: %.120s", weak);
		return refuse(t, MBEDTLS_X509_BADCERT_BAD_KEY, why, flags);
	}
	*why = '\0';
	if (!t->check(t->arg, &t->peer, why))
		return refuse(t, t->chain_flags & alerts ? t->chain_flags & alerts : MBEDTLS_X509_BADCERT_OTHER,
		    *why ? why : "refused", flags);
	if (!keep_shown(t, crt)) {
		/* No word against the other side. */
		*flags = MBEDTLS_X509_BADCERT_OTHER;
		over(t, TLS_FAILED, -ENOMEM, "out of memory");
		return 0;
	}
	t->is_checked = true;
	return 0;
}

bool
tls_recheck(struct tls *t, struct tls_context *c, tls_check *check, void *arg, char why[static TLS_TEXT_MAX])
{
	struct tls again = { .context = c, .check = check, .arg = arg, .is_again = true };
	uint32_t flags = 0;

	if (!t->is_checked) {
		snprintf(why, TLS_TEXT_MAX, "its certificate is not known yet");
		return false;
	}
	mbedtls_x509_crt_verify_with_profile(&t->shown, c->has_ca ? &c->ca : NULL, c->has_crl ? &c->crl : NULL, &tls_profile, NULL,
	    &flags, verify, &again);
	if (!again.is_checked) {
		snprintf(why, TLS_TEXT_MAX, "%s", again.why[0] ? again.why : "its certificate cannot be judged again");
		return false;
	}
	memcpy(again.peer.version, t->peer.version, sizeof(again.peer.version));
	memcpy(again.peer.cipher, t->peer.cipher, sizeof(again.peer.cipher));
	t->peer = again.peer;
	return true;
}

const struct tls_peer *
tls_peer(const struct tls *t)
{
	return &t->peer;
}

/* ------------------------------------------------------------------- stream */

struct tls *
tls_new(struct tls_context *c, bool dialling, tls_check *check, void *arg)
{
	struct tls *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->context = tls_context_ref(c);
	t->dialling = dialling;
	t->check = check;
	t->arg = arg;
	mbedtls_ssl_init(&t->ssl);
	mbedtls_x509_crt_init(&t->shown);
	if (mbedtls_ssl_setup(&t->ssl, dialling ? &c->dialling : &c->accepting) != 0)
		goto fail;
	/* No name is checked here, but by the caller; a client of 3.6 must say that it means it. */
	if (dialling && mbedtls_ssl_set_hostname(&t->ssl, NULL) != 0)
		goto fail;
	mbedtls_ssl_set_bio(&t->ssl, t, bio_send, bio_recv, NULL);
	mbedtls_ssl_set_verify(&t->ssl, verify, t);
	return t;
fail:
	tls_free(t);
	return NULL;
}

void
tls_free(struct tls *t)
{
	if (!t)
		return;
	mbedtls_ssl_free(&t->ssl);
	mbedtls_x509_crt_free(&t->shown);
	tls_context_unref(t->context);
	free(t->out);
	free(t);
}

/* Lend the input to mbedTLS for one call. */
static void
lend(struct tls *t, const uint8_t *in, size_t len)
{
	t->in = in;
	t->in_len = len;
	t->in_used = 0;
}

static size_t
take_back(struct tls *t)
{
	size_t used = t->in_used;

	lend(t, NULL, 0);
	return used;
}

static enum tls_result
finish_handshake(struct tls *t)
{
	const char *cipher = mbedtls_ssl_get_ciphersuite(&t->ssl);
	int payload = mbedtls_ssl_get_max_out_record_payload(&t->ssl);

	t->done = true;
	if (t->late_alert) {
		(void)mbedtls_ssl_send_alert_message(&t->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, (unsigned char)t->late_alert);
		t->over = TLS_FAILED;
		return TLS_FAILED;
	}
	/* Not to be reached: nothing is resumed, and a certificate is required. */
	if (!t->is_checked || payload <= 0)
		return over(t, TLS_FAILED, -EPROTO, "the handshake ended without a certificate");
	t->payload_max = (size_t)payload < sizeof(t->context->stage) ? (size_t)payload : sizeof(t->context->stage);
	snprintf(t->peer.version, sizeof(t->peer.version), "%s", mbedtls_ssl_get_version(&t->ssl));
	snprintf(t->peer.cipher, sizeof(t->peer.cipher), "%s", cipher ? cipher : "unknown");
	t->tired = strstr(t->peer.cipher, "CHACHA20") ? TIRED_CHACHA : TIRED_GCM;
	return TLS_READY;
}

/* Length of the record at the front, 0 if its header is not whole yet, SIZE_MAX if it can be none. */
static size_t
record_length(const uint8_t *in, size_t len)
{
	size_t n;

	if ((len > 0 && (in[0] < MBEDTLS_SSL_MSG_CHANGE_CIPHER_SPEC || in[0] > MBEDTLS_SSL_MSG_APPLICATION_DATA)) ||
	    (len > 1 && in[1] != 3))
		return SIZE_MAX;
	if (len < HEADER)
		return 0;
	n = HEADER + ((size_t)in[3] << 8 | in[4]);
	return n > TLS_RECORD_MAX ? SIZE_MAX : n;
}

bool
tls_has_record(const uint8_t *in, size_t len)
{
	size_t n = record_length(in, len);

	return n == SIZE_MAX || (n > 0 && n <= len);
}

enum tls_result
tls_feed(struct tls *t, const uint8_t *in, size_t len, size_t *ret_used)
{
	enum tls_result r;
	size_t used;

	*ret_used = 0;
	do {
		r = tls_feed_piece(t, in ? in + *ret_used : NULL, len - *ret_used, &used);
		*ret_used += used;
	} while (r == TLS_AGAIN);
	return r;
}

enum tls_result
tls_feed_piece(struct tls *t, const uint8_t *in, size_t len, size_t *ret_used)
{
	int e;

	*ret_used = 0;
	if (t->over)
		return t->over;
	assert(!t->done);
	/* Whoever sends five bytes of something else, or fewer, need not be waited for. */
	if (t->fed == 0 && record_length(in, len) == SIZE_MAX) {
		t->has_answered = false;
		return fail(t, MBEDTLS_ERR_SSL_INVALID_RECORD);
	}
	lend(t, in, len);
	do
		e = mbedtls_ssl_handshake_step(&t->ssl);
	while (e == TLS_COMPAT_TICKET);
	*ret_used = take_back(t);
	t->fed += *ret_used;
	switch (e) {
	case 0:
		return tls_compat_is_shaken(&t->ssl) ? finish_handshake(t) : TLS_AGAIN;
	case MBEDTLS_ERR_SSL_WANT_READ:
		return TLS_MORE;
	case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
		return take_alert(t, tls_compat_alert(&t->ssl));
	case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
		return over(t, TLS_FAILED, -ECONNRESET, "the other side closed during the TLS handshake");
	default:
		return fail(t, e);
	}
}

enum tls_result
tls_open(struct tls *t, uint8_t *in, size_t len, size_t *ret_used, uint8_t **ret_plain, size_t *ret_len)
{
	size_t n = record_length(in, len);
	int e;

	*ret_used = 0;
	if (t->over)
		return t->over;
	if (t->ended)
		return TLS_END;
	if (n == SIZE_MAX) {
		t->has_answered = false;
		return fail(t, MBEDTLS_ERR_SSL_INVALID_RECORD);
	}
	if (n == 0 || n > len)
		return TLS_MORE;
	/* Of TLS 1.2: every answer to it costs output, and nobody of ours asks for it. (Those of 1.3 look like data.) */
	if (in[0] == RECORD_HANDSHAKE) {
		(void)mbedtls_ssl_send_alert_message(
		    &t->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, MBEDTLS_SSL_ALERT_MSG_NO_RENEGOTIATION);
		return over(t, TLS_FAILED, -EPROTO, "the other side wants to negotiate again");
	}
	/* Plaintext goes where its record was: mbedTLS has a copy by then. */
	lend(t, in, n);
	e = mbedtls_ssl_read(&t->ssl, in, n);
	*ret_used = take_back(t);
	t->opened++;
	if (e > 0) {
		*ret_plain = in;
		*ret_len = (size_t)e;
		return TLS_READY;
	}
	switch (e) {
	case 0:
	case MBEDTLS_ERR_SSL_WANT_READ:
	case TLS_COMPAT_TICKET:
		/* It was about something else. What eats nothing would come again for ever. */
		if (*ret_used == 0)
			return fail(t, MBEDTLS_ERR_SSL_INVALID_RECORD);
		*ret_plain = in;
		*ret_len = 0;
		return TLS_READY;
	case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
		t->ended = true;
		return TLS_END;
	case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
		return take_alert(t, tls_compat_alert(&t->ssl));
	default:
		return fail(t, e);
	}
}

enum tls_result
tls_input_ended(struct tls *t)
{
	if (t->over)
		return t->over;
	if (t->ended)
		return TLS_END;
#ifdef PLANT_CUT_IS_END
	if (t->done)
		return TLS_END;
#endif
	return over(t, TLS_FAILED, -ECONNRESET,
	    t->done ? "cut short: the stream ended without the other side's close_notify" : "closed during the TLS handshake");
}

/* The next record's payload: of one piece where it lies, else gathered. */
static const uint8_t *
gather(struct tls *t, const struct iovec *iov, int n, size_t skip, size_t *ret_len)
{
	size_t len = 0;

	if (iov->iov_len - skip >= t->payload_max) {
		*ret_len = t->payload_max;
		return (const uint8_t *)iov->iov_base + skip;
	}
	for (int i = 0; i < n && len < t->payload_max; i++, skip = 0) {
		size_t piece = iov[i].iov_len - skip;

		if (piece > t->payload_max - len)
			piece = t->payload_max - len;
		if (piece > 0)
			memcpy(t->context->stage + len, (const uint8_t *)iov[i].iov_base + skip, piece);
		len += piece;
	}
	*ret_len = len;
	return t->context->stage;
}

ssize_t
tls_seal(struct tls *t, const struct iovec *iov, int n, size_t skip)
{
	size_t all = 0, done = 0;

	assert(t->done);
	if (t->over)
		return t->error;
	for (; n > 0 && skip >= iov->iov_len; iov++, n--)
		skip -= iov->iov_len;
	for (int i = 0; i < n && all < TLS_OUT_MARK; i++)
		all += iov[i].iov_len;
	/* Once, instead of growing step by step. */
	if (all > 0 && t->out_len < TLS_OUT_MARK)
		(void)reserve(t, (all < TLS_OUT_MARK ? all : TLS_OUT_MARK + t->payload_max) + 256);
	while (n > 0 && t->out_len < TLS_OUT_MARK) {
		size_t len;
		const uint8_t *data;
		int e;

		if (skip == iov->iov_len) {
			iov++, n--, skip = 0;
			continue;
		}
		data = gather(t, iov, n, skip, &len);
		e = mbedtls_ssl_write(&t->ssl, data, len);
		if (e != (int)len) {
			fail(t, e < 0 ? e : MBEDTLS_ERR_SSL_INTERNAL_ERROR);
			return t->error;
		}
		t->sealed++;
		done += len;
		for (size_t left = len; left > 0;) {
			size_t piece = iov->iov_len - skip < left ? iov->iov_len - skip : left;

			skip += piece;
			left -= piece;
			if (skip == iov->iov_len)
				iov++, n--, skip = 0;
		}
	}
	return (ssize_t)done;
}

void
tls_close(struct tls *t)
{
	if (t->done && !t->over)
		(void)mbedtls_ssl_close_notify(&t->ssl);
}

bool
tls_tired(const struct tls *t)
{
	return t->done && (t->sealed >= t->tired || t->opened >= t->tired);
}
