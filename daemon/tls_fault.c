/* tls_fault: how a stream ends before its time: what the other side said, what is said to it, and in which words it is told here. */
#include "tls_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum tls_result
tls_over(struct tls *t, enum tls_result how, int error, const char *why)
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

enum tls_result
tls_take_alert(struct tls *t, unsigned alert)
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
	return tls_over(t, TLS_ALERT, refuses ? -EKEYREJECTED : -EPROTO, why);
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
	case MBEDTLS_ERR_SSL_TIMEOUT:
		*ret_error = -ETIMEDOUT;
		text = "no answer during the handshake";
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

enum tls_result
tls_fail(struct tls *t, int e)
{
	char why[TLS_TEXT_MAX];
	int error;
	unsigned alert = explain(t, e, why, &error);

	/* The first record was none: somebody else's protocol. */
	if (!t->done && t->fed <= TLS_HEADER && error == -EPROTO && e != TLS_COMPAT_BAD_VERSION)
		snprintf(why, sizeof(why), "the other side does not speak TLS");
	if (!t->has_answered)
		(void)mbedtls_ssl_send_alert_message(&t->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, (unsigned char)alert);
	if (e == MBEDTLS_ERR_SSL_INVALID_MAC && was_clear_alert(t))
		return tls_take_alert(t, t->last[6]);
	/* It was refused already, and that counts. */
	if (t->over == TLS_FAILED || t->late_alert)
		return t->over = TLS_FAILED;
	/* Where refusals are late, mbedTLS itself still has some that nobody can read. */
	if (e == MBEDTLS_ERR_SSL_INVALID_MAC && t->dialling && t->opened <= 1 && tls_compat_refuses_late(&t->ssl))
		snprintf(why, sizeof(why), "the other side gave up behind the handshake, for a reason that cannot be read (bad MAC)");
	return tls_over(t, TLS_FAILED, error, why);
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
