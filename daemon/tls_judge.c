/* tls_judge: who the other side is: what it showed is written down, and its owner decides. */
#include "tls_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

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
 * The refusal of the other side's certificate, with the alert that mbedTLS would
 * send. Where the other side could not read that, the handshake is ended first (it
 * is up by then in any case: TLS 1.3).
 */
static void
refuse(struct tls *t, uint32_t flags, const char *why)
{
	if (!t->dialling && !t->is_again && !t->over && tls_compat_refuses_late(&t->ssl)) {
		t->late_alert = alert_of(flags);
		t->error = -EACCES;
		snprintf(t->why, sizeof(t->why), "%s", why);
		return;
	}
	if (!t->is_again && !t->over)
		(void)mbedtls_ssl_send_alert_message(&t->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, (unsigned char)alert_of(flags));
	tls_over(t, TLS_FAILED, -EACCES, why);
}

/* A copy of all that was shown, which mbedTLS forgets in parts; at most TLS_HANDSHAKE_MAX. */
static bool
keep_shown(struct tls *t, const mbedtls_x509_crt *crt)
{
	for (; crt; crt = crt->next)
		if (mbedtls_x509_crt_parse_der(&t->shown, crt->raw.p, crt->raw.len) != 0)
			return false;
	return true;
}

/*
 * mbedTLS hands over the chain from its root down, with what it has against
 * each. That is written down and taken away from it: with a pin nobody asks for
 * chain and dates. May be in another thread than its owner's, who decides behind
 * this step.
 */
int
tls_verify(void *arg, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
	struct tls *t = arg;

	if (t->context->has_ca && *flags) {
		t->chain_flags |= *flags;
		note_faults(t, crt, depth, *flags);
	}
	*flags = 0;
	if (depth > 0)
		return 0;
	t->peer.has_certificate = tls_certificate_of(crt, &t->peer.certificate) == 0;
	if (t->context->has_ca)
		t->peer.chain = t->chain_flags ? TLS_CHAIN_BAD : TLS_CHAIN_GOOD;
	t->is_kept = t->is_again || keep_shown(t, crt);
	t->is_shown = true;
	return 0;
}

/* What verify has written down, and the certificate. */
static void
judge(struct tls *t, const mbedtls_x509_crt *shown)
{
	const uint32_t alerts = MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_REVOKED | MBEDTLS_X509_BADCERT_NOT_TRUSTED |
	    MBEDTLS_X509_BADCERT_FUTURE | MBEDTLS_X509_BADCERT_BAD_MD | MBEDTLS_X509_BADCERT_BAD_PK | MBEDTLS_X509_BADCERT_BAD_KEY;
	char weak[TLS_TEXT_MAX], why[TLS_TEXT_MAX] = "";

	if (!t->is_kept) {
		/* No word against the other side. */
		if (!t->over)
			(void)mbedtls_ssl_send_alert_message(
			    &t->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, MBEDTLS_SSL_ALERT_MSG_INTERNAL_ERROR);
		tls_over(t, TLS_FAILED, -ENOMEM, "out of memory");
	} else if (!t->peer.has_certificate) {
		refuse(t, MBEDTLS_X509_BADCERT_OTHER, "SHA-256 failed");
	} else if (tls_key_fault(&shown->pk, weak)) {
		snprintf(why, sizeof(why), "the other side's certificate: %.120s", weak);
		refuse(t, MBEDTLS_X509_BADCERT_BAD_KEY, why);
	} else if (!t->check(t->arg, &t->peer, why)) {
		refuse(t, t->chain_flags & alerts ? t->chain_flags & alerts : MBEDTLS_X509_BADCERT_OTHER, *why ? why : "refused");
	} else {
		t->is_checked = true;
	}
}

enum tls_result
tls_judge(struct tls *t)
{
	assert(tls_is_to_be_judged(t));
	t->is_judged = true;
	judge(t, &t->shown);
	return t->over ? t->over : TLS_AGAIN;
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
	    &flags, tls_verify, &again);
	if (again.is_shown)
		judge(&again, &t->shown);
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
