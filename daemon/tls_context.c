/* tls_context: a node's own key and certificate, whom it trusts, and the policy of its streams. */
#include "tls_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The wait for an answer in a handshake of datagrams: it doubles. */
#define RESEND_MIN_MS 400
#define RESEND_MAX_MS 60000

static const int suites[] = { TLS_COMPAT_SUITES_13 MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, 0 };

/* What signatures of certificates are made with. */
const mbedtls_x509_crt_profile tls_profile = {
	.allowed_mds = MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA256) | MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA384) |
	    MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA512),
	.allowed_pks = 0xfffffff,
	.allowed_curves = MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP256R1) | MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP384R1),
	.rsa_min_bitlen = 2048,
};

static int __attribute__((format(printf, 3, 4)))
fault(char why[static TLS_TEXT_MAX], int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, TLS_TEXT_MAX, format, ap);
	va_end(ap);
	return r;
}

/* What mbedTLS says of a text that it cannot read. */
static int
unreadable(char why[static TLS_TEXT_MAX], const char *what, int e)
{
	char words[TLS_TEXT_MAX];

	if (e == MBEDTLS_ERR_PK_ALLOC_FAILED || e == MBEDTLS_ERR_X509_ALLOC_FAILED)
		return fault(why, -ENOMEM, "%s: out of memory", what);
	if (e == MBEDTLS_ERR_PK_PASSWORD_REQUIRED || e == MBEDTLS_ERR_PK_PASSWORD_MISMATCH)
		return fault(why, -EINVAL, "%s: is encrypted, and there is nobody to ask for the password", what);
	return fault(why, -EINVAL, "%s: cannot be read (%.100s)", what, tls_words(e, words));
}

/* --------------------------------------------------------------------- load */

static int
load_key(struct tls_context *c, struct tls_blob b, char why[static TLS_TEXT_MAX])
{
	struct tls_copy copy;
	char weak[TLS_TEXT_MAX];
	int e;

	if (!b.data || b.len == 0)
		return fault(why, -EINVAL, "key: there is none");
	if (tls_copy(b, &copy) < 0)
		return fault(why, -ENOMEM, "key: out of memory");
	e = tls_compat_parse_key(&c->key, copy.data, copy.len, &c->random.drbg);
	tls_copy_done(&copy);
	if (e != 0)
		return unreadable(why, "key", e);
	if (tls_key_fault(&c->key, weak))
		return fault(why, -EINVAL, "key: %.140s", weak);
	return 0;
}

static int
load_certificates(struct tls_blob b, const char *what, char why[static TLS_TEXT_MAX], mbedtls_x509_crt *ret)
{
	struct tls_copy copy;
	int e;

	if (!b.data || b.len == 0)
		return fault(why, -EINVAL, "%s: there is none", what);
	if (tls_copy(b, &copy) < 0)
		return fault(why, -ENOMEM, "%s: out of memory", what);
	e = mbedtls_x509_crt_parse(ret, copy.data, copy.len);
	tls_copy_done(&copy);
	if (e < 0)
		return unreadable(why, what, e);
	if (e > 0)
		return fault(why, -EINVAL, "%s: %d of its certificates cannot be read", what, e);
	return 0;
}

/* Both ends of a link are client at one time and server at another. */
static bool
fits_both_roles(const mbedtls_x509_crt *crt)
{
	return mbedtls_x509_crt_check_key_usage(crt, MBEDTLS_X509_KU_DIGITAL_SIGNATURE) == 0 &&
	    mbedtls_x509_crt_check_extended_key_usage(crt, MBEDTLS_OID_SERVER_AUTH, MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH)) == 0 &&
	    mbedtls_x509_crt_check_extended_key_usage(crt, MBEDTLS_OID_CLIENT_AUTH, MBEDTLS_OID_SIZE(MBEDTLS_OID_CLIENT_AUTH)) == 0;
}

static int
load_own(struct tls_context *c, struct tls_blob b, char why[static TLS_TEXT_MAX])
{
	char weak[TLS_TEXT_MAX];
	int r = load_certificates(b, "certificate", why, &c->own);

	if (r < 0)
		return r;
	if (tls_key_fault(&c->own.pk, weak))
		return fault(why, -EINVAL, "certificate: %.140s", weak);
	if (tls_compat_check_pair(&c->own.pk, &c->key, &c->random.drbg) != 0)
		return fault(why, -EINVAL, "key: does not belong to the certificate");
	if (!fits_both_roles(&c->own))
		return fault(why, -EINVAL, "certificate: its key usage must allow signatures, and servers and clients");
	if (tls_certificate_of(&c->own, &c->certificate) < 0)
		return fault(why, -EIO, "certificate: SHA-256 failed");
	return 0;
}

static int
load_trust(struct tls_context *c, const struct tls_material *m, char why[static TLS_TEXT_MAX])
{
	struct tls_copy copy;
	int r, e;

	if (m->crl.data && !m->ca.data)
		return fault(why, -EINVAL, "crl: there is no CA that it could be of");
	if (!m->ca.data)
		return 0;
	r = load_certificates(m->ca, "ca", why, &c->ca);
	if (r < 0)
		return r;
	c->has_ca = true;
	if (!m->crl.data)
		return 0;
	if (m->crl.len == 0)
		return fault(why, -EINVAL, "crl: there is none");
	if (tls_copy(m->crl, &copy) < 0)
		return fault(why, -ENOMEM, "crl: out of memory");
	e = mbedtls_x509_crl_parse(&c->crl, copy.data, copy.len);
	tls_copy_done(&copy);
	if (e != 0)
		return unreadable(why, "crl", e);
	c->has_crl = true;
	return 0;
}

/* ------------------------------------------------------------------- policy */

static int
configure(struct tls_context *c, mbedtls_ssl_config *conf, int endpoint, int transport)
{
	int e = mbedtls_ssl_config_defaults(conf, endpoint, transport, MBEDTLS_SSL_PRESET_DEFAULT);

	if (e != 0)
		return e;
	mbedtls_ssl_conf_rng(conf, mbedtls_ctr_drbg_random, &c->random.drbg);
	tls_compat_configure(conf);
	mbedtls_ssl_conf_ciphersuites(conf, suites);
	mbedtls_ssl_conf_cert_profile(conf, &tls_profile);
	/*
	 * REQUIRED makes a missing certificate an error, but wants a chain of
	 * CAs. Who has none gives it our own certificate, which makes nobody
	 * trusted: what becomes of the verdict is decided in tls.c (verify).
	 */
	mbedtls_ssl_conf_authmode(conf, MBEDTLS_SSL_VERIFY_REQUIRED);
	mbedtls_ssl_conf_ca_chain(conf, c->has_ca ? &c->ca : &c->own, c->has_crl ? &c->crl : NULL);
	if (endpoint == MBEDTLS_SSL_IS_SERVER)
		mbedtls_ssl_conf_cert_req_ca_list(conf, MBEDTLS_SSL_CERT_REQ_CA_LIST_DISABLED);
#ifdef MBEDTLS_SSL_RENEGOTIATION
	mbedtls_ssl_conf_renegotiation(conf, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
#endif
#ifdef MBEDTLS_SSL_SESSION_TICKETS
	if (endpoint == MBEDTLS_SSL_IS_CLIENT)
		mbedtls_ssl_conf_session_tickets(conf, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
#endif
	return mbedtls_ssl_conf_own_cert(conf, &c->own, &c->key);
}

/* DTLS 1.2. Damaged and forged records are passed over, and old ones that come again. */
static int
configure_datagrams(struct tls_context *c, mbedtls_ssl_config *conf, int endpoint)
{
	int e = configure(c, conf, endpoint, MBEDTLS_SSL_TRANSPORT_DATAGRAM);

	tls_compat_configure_datagrams(conf);
	mbedtls_ssl_conf_handshake_timeout(conf, RESEND_MIN_MS, RESEND_MAX_MS);
	mbedtls_ssl_conf_dtls_anti_replay(conf, MBEDTLS_SSL_ANTI_REPLAY_ENABLED);
	if (endpoint == MBEDTLS_SSL_IS_SERVER)
		mbedtls_ssl_conf_dtls_cookies(conf, mbedtls_ssl_cookie_write, mbedtls_ssl_cookie_check, &c->cookies);
	return e;
}

static bool
configure_all(struct tls_context *c)
{
	mbedtls_ssl_cookie_set_timeout(&c->cookies, TLS_COOKIE_S);
	return configure(c, &c->accepting, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM) == 0 &&
	    configure(c, &c->dialling, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM) == 0 &&
	    mbedtls_ssl_cookie_setup(&c->cookies, mbedtls_ctr_drbg_random, &c->random.drbg) == 0 &&
	    configure_datagrams(c, &c->accepting_datagrams, MBEDTLS_SSL_IS_SERVER) == 0 &&
	    configure_datagrams(c, &c->dialling_datagrams, MBEDTLS_SSL_IS_CLIENT) == 0;
}

int
tls_context_new(const struct tls_material *m, char why[static TLS_TEXT_MAX], struct tls_context **ret)
{
	struct tls_context *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return fault(why, -ENOMEM, "out of memory");
	c->refs = 1;
	mbedtls_pk_init(&c->key);
	mbedtls_x509_crt_init(&c->own);
	mbedtls_x509_crt_init(&c->ca);
	mbedtls_x509_crl_init(&c->crl);
	mbedtls_ssl_config_init(&c->accepting);
	mbedtls_ssl_config_init(&c->dialling);
	mbedtls_ssl_config_init(&c->accepting_datagrams);
	mbedtls_ssl_config_init(&c->dialling_datagrams);
	mbedtls_ssl_cookie_init(&c->cookies);
	r = tls_random_init(&c->random);
	if (r < 0)
		fault(why, r, "no random numbers are to be had");
	if (r == 0)
		r = load_key(c, m->key, why);
	if (r == 0)
		r = load_own(c, m->certificate, why);
	if (r == 0)
		r = load_trust(c, m, why);
	if (r == 0 && !configure_all(c))
		r = fault(why, -ENOMEM, "out of memory");
	if (r < 0)
		tls_context_unref(c);
	else
		*ret = c;
	return r;
}

struct tls_context *
tls_context_ref(struct tls_context *c)
{
	c->refs++;
	return c;
}

void
tls_context_unref(struct tls_context *c)
{
	if (!c || --c->refs > 0)
		return;
	mbedtls_ssl_config_free(&c->accepting);
	mbedtls_ssl_config_free(&c->dialling);
	mbedtls_ssl_config_free(&c->accepting_datagrams);
	mbedtls_ssl_config_free(&c->dialling_datagrams);
	mbedtls_ssl_cookie_free(&c->cookies);
	mbedtls_x509_crl_free(&c->crl);
	mbedtls_x509_crt_free(&c->ca);
	mbedtls_x509_crt_free(&c->own);
	mbedtls_pk_free(&c->key);
	tls_random_done(&c->random);
	free(c);
}

bool
tls_context_same_own(const struct tls_context *a, const struct tls_context *b)
{
	return a->own.raw.len == b->own.raw.len && memcmp(a->own.raw.p, b->own.raw.p, a->own.raw.len) == 0;
}

const struct tls_certificate *
tls_context_own(const struct tls_context *c)
{
	return &c->certificate;
}

bool
tls_context_has_ca(const struct tls_context *c)
{
	return c->has_ca;
}

/* --------------------------------------------------------------------- dates */

static void
subject_of(const mbedtls_x509_name *name, char ret[static TLS_SUBJECT_MAX])
{
	if (mbedtls_x509_dn_gets(ret, TLS_SUBJECT_MAX, name) < 0)
		ret[0] = '\0';
}

/* The i-th of a list; *i is counted down by those in front. */
static const mbedtls_x509_crt *
nth(const mbedtls_x509_crt *crt, size_t *i)
{
	for (; crt && crt->raw.p && *i > 0; crt = crt->next)
		--*i;
	return crt && crt->raw.p ? crt : NULL;
}

bool
tls_context_dates(const struct tls_context *c, size_t i, struct tls_dates *ret)
{
	const mbedtls_x509_crt *own = nth(&c->own, &i), *crt = own ? own : c->has_ca ? nth(&c->ca, &i) : NULL;
	const mbedtls_x509_crl *crl = !crt && c->has_crl ? &c->crl : NULL;

	if (crt) {
		*ret = (struct tls_dates){ .what = own == &c->own ? "certificate" : own ? "intermediate certificate" : "CA certificate",
			.not_before = tls_seconds(&crt->valid_from), .not_after = tls_seconds(&crt->valid_to) };
		if (own != &c->own)
			subject_of(&crt->subject, ret->of);
		return true;
	}
	for (; crl && i > 0; i--)
		crl = crl->next;
	if (!crl)
		return false;
	*ret = (struct tls_dates){ .what = "CRL", .not_before = tls_seconds(&crl->this_update),
		.not_after = crl->next_update.year != 0 ? tls_seconds(&crl->next_update) : TLS_NEVER };
	subject_of(&crl->issuer, ret->of);
	return true;
}
