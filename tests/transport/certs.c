/* certs: see certs.h. */
#include "certs.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls_internal.h"

/* For tests only: to make them takes seconds under valgrind. */
static const char rsa1024[] =
    "-----BEGIN RSA PRIVATE KEY-----\n"
    "MIICXAIBAAKBgQCoH//Gm6YIUj5/V8Z4s5PseLYFN+2D4yU3ku5qkOAL42jaIL8H\n"
    "i7j1nLI5oTuTFFytqpuB+1Lz+x+fDS/9Pwp4g8pV0Yj7RNi/Yjryr0LkFA/M3HT9\n"
    "1QshyVD1DztOxv91Lh6EJ3PIU7EFVL7w1hlu63/zbkPJNFxtQrDrKX1QxQIDAQAB\n"
    "AoGAVyHGYHsYUGW3aC3oeXOwLTTeONQkb17QUf3/PBF7XA3usGWaO2HpaLleEMoD\n"
    "4xUBdyvdTj8fXbz/RWIDRf9fAADUxBY44x2BMuUXjXKRDToCxwJMw31vXkvePJej\n"
    "z5WhTTwEt9gvVX+5rYmwQJ5M6MqgQscYF2hQB0EvSaBojSECQQDee4GDfffN7LaX\n"
    "BUL1OMugz4EypHDgZsw9Z+cJ0ceTLtCuoRC4GumKaMgWzFyBfysh35idr546xrZJ\n"
    "h7h4M7q5AkEAwXQWDykdTIuw9BKoOfEDa8gjSUAI09lI6ZX6AslHVi2GLlw8Uupk\n"
    "jjZIoL0lZtqIlyRbksZkTLOSnrIax4VQbQJAQKj2eCfZKGEeo/+keS6bh84nB3fh\n"
    "Umat/z6+WA0/Cpi1j7tB56/ypgZT+MRGMmCqQXsBmPqcawqrme03AMBQCQJAWjIh\n"
    "xtfIjVPkIShBvyIcEjiyGwj8FKoOULpYYswtsoRvN1ZR2ebnE1dD7Y3Czn29iZqu\n"
    "B3TwdsKS7eLkkXoa0QJBAKjk+yFUBWVoRIW6pacTIZeWLFKxHjbjAQkt24KHUon3\n"
    "SAU7C6MsPHpuSg9rjiqKb+Kvk/ybacBehsjiLFYwpq8=\n"
    "-----END RSA PRIVATE KEY-----\n";
static const char rsa2048[] =
    "-----BEGIN RSA PRIVATE KEY-----\n"
    "MIIEowIBAAKCAQEA5FiH8npwyVO/rz98YjOk5cHPDZjMdYn68/jg7GqWJhQIRHxh\n"
    "PVFU+admkoZF9E6oMTwZQPrCgdJrJpYjCfH2yRzqAcG2g36E4y8Fk6ksZovYxajq\n"
    "7STNv9MsjqIJOMh8MtUu3SN1n9FwIWu3VBjefU9LfbEQNtjCShsMqWLD6CHWpDTD\n"
    "4iucks6OlSzkA2NLiF8Jna7V7EMSzGeFIP+Xg2Vxuq1/GG4/g26dm8RucmOliLFs\n"
    "u6Ko2RzxY0CjL82VaF1sRnPB4D/mLZePXWaBADw0N3FehkSWxUb5+RNkE4ACSB9t\n"
    "OVXYxIeegwYcquKH3yODWip9TzwuUmh8i1+JAQIDAQABAoIBAAiHaYGEMwMEFKpv\n"
    "Lr5Mw0WdKvaNLOLdheD3vG/8LbJLqIDlW+zyRSAjkWxa5VFCIFxhbCiODTaT5VJu\n"
    "RG4GSoNZyABLi92Gu+Av9Q9+P8UvR0gfvnGf4Kr/8F+9++Xx8Bimd48FOGshI6Tt\n"
    "7O2wVZwc2nseAlboGv6xWrRXdu2MRu2gCpBfIpc2cyfOQAIav0amBEykmxD1mfAb\n"
    "F8P4iW9HqU80JbQVC2WcK3r15dtZUW6Hkv6TBb+pSB1f7mjweezEb7Oh2XaYUb/y\n"
    "5XS0t8rBvtbFflcbrL+XICYXcBC3xOt0OPqacuk/Zapuy1sALbWDhiU4QvM8bKex\n"
    "rBycxSECgYEA/w66H/FaWyvgrLcoVYkegEfODv+QT44A0uyQoB7ez/PK8q6hP1Pp\n"
    "XmSVxXGH4mdYjGZiFAyfd6vGUmQk9bDDoMDrHQu1cfTSGqkq3dkJ89w/qNLDY9YZ\n"
    "OzKfKTp7KP6TYChA4C3DJNQShrxJJJ7JbA+2CzBdLDdZVcRRtNmcQDECgYEA5TCJ\n"
    "Mk9dDrJJzyxEWA8FVtNn7GrOaEtkACMU2+CDVJStvimVUxqnhhsxXMJp9D6wFXNO\n"
    "kpe3JDCdzGhFpmyoXsBt/Fedh3819xlsZxjpvDeu1MfnoXG4XDzs/x3HrkzTrSxx\n"
    "fltWGNNqyaV1p3NAB6U0e4YJ50Vq+14yM1Ex8dECgYBy7dTqrdu0N2pPCV0wZdAL\n"
    "p89vLLN/VZKDeLuWmzJ1a/poLk5UdeAze4mNZaIAX+cjpMLPG/0DdLCx0ZRh7VvJ\n"
    "ZQTMmskQ52uBPfcl7jWw3+8DiK0ooIHQDfhwIHz8tPH9o0XQfm5veuw6MD+ZM7+5\n"
    "ZL73/bwOP4aOwh67Kk9hEQKBgQDaDSN6yicvJFE02ljrrt7VjK0DMVrPv2qU9suR\n"
    "pjlM72ed1NJNDr7zyEtehVlpF3tP7TSEI/QKana3Uz1w6VAHVe1Od81YbJ9bSMTq\n"
    "EbnPaOrdZpPp9dgBabXRwvOH0XBTAkW4gg2X8Q1YbCNT/UKeA3+7RfuGHXV7UlNQ\n"
    "n591AQKBgHOWGxa1dhTIPZaUvRflj2nGXMVt9svu4zfTiCFOz4u32nm6Kwit1Amv\n"
    "Rp0Kf++i416tjdRVC5irjteCnIRtr4gt7bYVk+YQwjm9HNdIrPpqsTTbnHW3g2do\n"
    "NwyGS+uOEVnVtXqyKjBIoNHw8WfqT2N+cr4eshlfkwLPdKAGQPpR\n"
    "-----END RSA PRIVATE KEY-----\n";

#define OK(call)                                                                            \
	do {                                                                                \
		int error_ = (call);                                                        \
		char words_[TLS_TEXT_MAX];                                                  \
		ck_assert_msg(error_ == 0, "%s: %s", #call, tls_words(error_, words_)); \
	} while (0)

static struct tls_random *
randomness(void)
{
	static struct tls_random random;
	static bool is_there;

	if (!is_there)
		ck_assert_int_eq(tls_random_init(&random), 0);
	is_there = true;
	return &random;
}

static void
make_key(enum cert_key kind, mbedtls_pk_context *key)
{
	static const mbedtls_ecp_group_id curves[] = { [CERT_P256] = MBEDTLS_ECP_DP_SECP256R1,
		[CERT_P384] = MBEDTLS_ECP_DP_SECP384R1, [CERT_P521] = MBEDTLS_ECP_DP_SECP521R1, [CERT_P192] = MBEDTLS_ECP_DP_SECP192R1 };
	mbedtls_ctr_drbg_context *drbg = &randomness()->drbg;

	if (kind == CERT_RSA1024 || kind == CERT_RSA2048) {
		const char *text = kind == CERT_RSA1024 ? rsa1024 : rsa2048;

		OK(tls_compat_parse_key(key, (const unsigned char *)text, strlen(text) + 1, drbg));
		return;
	}
	OK(mbedtls_pk_setup(key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)));
	OK(mbedtls_ecp_gen_key(curves[kind], mbedtls_pk_ec(*key), mbedtls_ctr_drbg_random, drbg));
}

static void
set_names(mbedtls_x509write_cert *x, const struct cert_wish *w)
{
	const char *const one[] = { w->name, NULL }, *const *names = w->names ? w->names : one;
	unsigned char der[1024], *p = der + 4;
	size_t len;

	for (; *names; names++) {
		*p++ = 0x82;
		*p++ = (unsigned char)strlen(*names);
		memcpy(p, *names, strlen(*names));
		p += strlen(*names);
	}
	len = (size_t)(p - der - 4);
	memcpy(der, (unsigned char[]){ 0x30, 0x82, (unsigned char)(len >> 8), (unsigned char)len }, 4);
	OK(mbedtls_x509write_crt_set_extension(
	    x, MBEDTLS_OID_SUBJECT_ALT_NAME, MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME), 0, der, len + 4));
}

static void
set_only_servers(mbedtls_x509write_cert *x)
{
	static const unsigned char der[] = { 0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01 };

	OK(mbedtls_x509write_crt_set_extension(
	    x, MBEDTLS_OID_EXTENDED_KEY_USAGE, MBEDTLS_OID_SIZE(MBEDTLS_OID_EXTENDED_KEY_USAGE), 0, der, sizeof(der)));
}

void
cert_make(const struct cert_wish *w, struct cert *ret)
{
	mbedtls_ctr_drbg_context *drbg = &randomness()->drbg;
	mbedtls_x509write_cert x;
	mbedtls_pk_context key, issuer_key;
	mbedtls_x509_crt issuer;
	char subject[100], issuer_name[200];
	unsigned char serial[1] = { w->serial ? w->serial : 1 };

	memset(ret, 0, sizeof(*ret));
	ret->serial = serial[0];
	mbedtls_x509write_crt_init(&x);
	mbedtls_pk_init(&key);
	mbedtls_pk_init(&issuer_key);
	mbedtls_x509_crt_init(&issuer);
	make_key(w->key, &key);
	snprintf(subject, sizeof(subject), "CN=%s", w->name);
	snprintf(issuer_name, sizeof(issuer_name), "%s", subject);
	if (w->issuer) {
		OK(mbedtls_x509_crt_parse(&issuer, (const unsigned char *)w->issuer->pem, strlen(w->issuer->pem) + 1));
		ck_assert_int_gt(mbedtls_x509_dn_gets(issuer_name, sizeof(issuer_name), &issuer.subject), 0);
		OK(tls_compat_parse_key(&issuer_key, (const unsigned char *)w->issuer->key, strlen(w->issuer->key) + 1, drbg));
	}
	mbedtls_x509write_crt_set_version(&x, MBEDTLS_X509_CRT_VERSION_3);
	mbedtls_x509write_crt_set_md_alg(&x, w->sha1 ? MBEDTLS_MD_SHA1 : MBEDTLS_MD_SHA256);
	mbedtls_x509write_crt_set_subject_key(&x, &key);
	mbedtls_x509write_crt_set_issuer_key(&x, w->issuer ? &issuer_key : &key);
	OK(tls_compat_set_serial(&x, serial, 1));
	OK(mbedtls_x509write_crt_set_subject_name(&x, subject));
	OK(mbedtls_x509write_crt_set_issuer_name(&x, issuer_name));
	OK(mbedtls_x509write_crt_set_validity(&x, w->from ? w->from : "20000101000000", w->to ? w->to : "99991231235959"));
	OK(mbedtls_x509write_crt_set_basic_constraints(&x, w->is_ca, -1));
	if (!w->is_ca)
		set_names(&x, w);
	if (w->only_servers)
		set_only_servers(&x);
	OK(mbedtls_x509write_crt_pem(&x, (unsigned char *)ret->pem, sizeof(ret->pem), mbedtls_ctr_drbg_random, drbg));
	OK(mbedtls_pk_write_key_pem(&key, (unsigned char *)ret->key, sizeof(ret->key)));
	mbedtls_x509write_crt_free(&x);
	mbedtls_pk_free(&key);
	mbedtls_pk_free(&issuer_key);
	mbedtls_x509_crt_free(&issuer);
}

/* -------------------------------------------------------------- revocation */

static int
sign(mbedtls_pk_context *key, const uint8_t hash[static 32], uint8_t *sig, size_t size, size_t *ret_len)
{
	mbedtls_ctr_drbg_context *drbg = &randomness()->drbg;

#if MBEDTLS_VERSION_NUMBER >= 0x03000000
	return mbedtls_pk_sign(key, MBEDTLS_MD_SHA256, hash, 32, sig, size, ret_len, mbedtls_ctr_drbg_random, drbg);
#else
	(void)size;
	return mbedtls_pk_sign(key, MBEDTLS_MD_SHA256, hash, 32, sig, ret_len, mbedtls_ctr_drbg_random, drbg);
#endif
}

/* Tag, length and contents in front of what is there; everything fits two bytes of length. */
static size_t
wrap(uint8_t *buf, uint8_t tag, size_t len)
{
	memmove(buf + 4, buf, len);
	memcpy(buf, (uint8_t[]){ tag, 0x82, (uint8_t)(len >> 8), (uint8_t)len }, 4);
	return len + 4;
}

static size_t
put(uint8_t *buf, const void *data, size_t len)
{
	memcpy(buf, data, len);
	return len;
}

size_t
cert_revoke(const struct cert *issuer, uint8_t serial, const char *until, uint8_t *buf, size_t size)
{
	static const uint8_t algorithm[] = { 0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02 };
	static const uint8_t since[] = "\x17\x0d" "200101000000Z";
	mbedtls_ctr_drbg_context *drbg = &randomness()->drbg;
	mbedtls_x509_crt crt;
	mbedtls_pk_context key;
	uint8_t hash[32], signature[256] = { 0 };
	size_t n = 0, at, len = 0;

	mbedtls_x509_crt_init(&crt);
	mbedtls_pk_init(&key);
	OK(mbedtls_x509_crt_parse(&crt, (const unsigned char *)issuer->pem, strlen(issuer->pem) + 1));
	OK(tls_compat_parse_key(&key, (const unsigned char *)issuer->key, strlen(issuer->key) + 1, drbg));
	ck_assert_uint_gt(size, crt.subject_raw.len + 400);
	n += put(buf + n, algorithm, sizeof(algorithm));
	n += put(buf + n, crt.subject_raw.p, crt.subject_raw.len);
	n += put(buf + n, since, sizeof(since) - 1);
	n += put(buf + n, "\x17\x0d", 2);
	n += put(buf + n, until, 13);
	at = n;
	n += put(buf + n, (uint8_t[]){ 0x02, 1, serial }, 3);
	n += put(buf + n, since, sizeof(since) - 1);
	n = at + wrap(buf + at, 0x30, n - at);
	n = at + wrap(buf + at, 0x30, n - at);
	n = wrap(buf, 0x30, n);
	OK(mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), buf, n, hash));
	OK(sign(&key, hash, signature + 1, sizeof(signature) - 1, &len));
	n += put(buf + n, algorithm, sizeof(algorithm));
	at = n;
	n += put(buf + n, signature, len + 1);
	n = at + wrap(buf + at, 0x03, n - at);
	n = wrap(buf, 0x30, n);
	mbedtls_x509_crt_free(&crt);
	mbedtls_pk_free(&key);
	return n;
}

/* ----------------------------------------------------------------- contexts */

struct tls_blob
cert_text(const char *text)
{
	return (struct tls_blob){ text, strlen(text) };
}

struct tls_context *
cert_context(const struct cert *own, const struct cert *ca)
{
	struct tls_material m = { .key = cert_text(own->key), .certificate = cert_text(own->pem) };
	struct tls_context *c = NULL;
	char why[TLS_TEXT_MAX] = "";

	if (ca)
		m.ca = cert_text(ca->pem);
	ck_assert_msg(tls_context_new(&m, why, &c) == 0, "%s", why);
	return c;
}

struct tls_context *
cert_node(const char *name)
{
	struct cert own;

	cert_make(&(struct cert_wish){ .name = name }, &own);
	return cert_context(&own, NULL);
}
