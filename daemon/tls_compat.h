/*
 * tls_compat: what mbedTLS 2.28 and 3.x do differently. For tls alone.
 */
#ifndef TLS_COMPAT_H
#define TLS_COMPAT_H

#include <stdbool.h>

#include <mbedtls/version.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecp.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/md.h>
#include <mbedtls/oid.h>
#include <mbedtls/pem.h>
#include <mbedtls/pk.h>
#include <mbedtls/rsa.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_cookie.h>
#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>

/*
 * May two threads be at work with one key and one source of random numbers? It
 * takes their locks; and those of PSA's keys, which there are since 3.6.
 */
#if defined(MBEDTLS_THREADING_C) && (MBEDTLS_VERSION_NUMBER < 0x03000000 || MBEDTLS_VERSION_NUMBER >= 0x03060000)
#define TLS_COMPAT_HAS_LOCKS true
#else
#define TLS_COMPAT_HAS_LOCKS false
#endif

#if MBEDTLS_VERSION_NUMBER >= 0x03000000
#include <psa/crypto.h>

/* Once per process, and again at no cost: TLS 1.3 keeps its keys there. 0 or -1. */
static inline int
tls_compat_init(void)
{
	return psa_crypto_init() == PSA_SUCCESS ? 0 : -1;
}

static inline int
tls_compat_parse_key(mbedtls_pk_context *pk, const unsigned char *data, size_t len, mbedtls_ctr_drbg_context *drbg)
{
	return mbedtls_pk_parse_key(pk, data, len, NULL, 0, mbedtls_ctr_drbg_random, drbg);
}

static inline int
tls_compat_check_pair(mbedtls_pk_context *pub, mbedtls_pk_context *prv, mbedtls_ctr_drbg_context *drbg)
{
	return mbedtls_pk_check_pair(pub, prv, mbedtls_ctr_drbg_random, drbg);
}

static inline mbedtls_ecp_group_id
tls_compat_curve(const mbedtls_pk_context *pk)
{
	return mbedtls_ecp_keypair_get_group_id(mbedtls_pk_ec(*pk));
}

static inline int
tls_compat_set_serial(mbedtls_x509write_cert *crt, unsigned char *serial, size_t len)
{
	return mbedtls_x509write_crt_set_serial_raw(crt, serial, len);
}

/* The alert that MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE stands for: there is no call that tells. */
static inline unsigned
tls_compat_alert(const mbedtls_ssl_context *ssl)
{
	return ssl->MBEDTLS_PRIVATE(in_msg)[1];
}

/*
 * Whoever accepts a stream of TLS 1.3 and refuses in the middle of the handshake
 * seals its alert with a key that the other side does not use any more.
 */
static inline bool
tls_compat_refuses_late(const mbedtls_ssl_context *ssl)
{
#ifdef MBEDTLS_SSL_PROTO_TLS1_3
	return mbedtls_ssl_get_version_number(ssl) == MBEDTLS_SSL_VERSION_TLS1_3;
#else
	(void)ssl;
	return false;
#endif
}

/* Versions, groups, signatures; no tickets, no sessions of before. */
static inline void
tls_compat_configure(mbedtls_ssl_config *conf)
{
	static const uint16_t groups[] = { MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1, MBEDTLS_SSL_IANA_TLS_GROUP_X25519,
		MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1, MBEDTLS_SSL_IANA_TLS_GROUP_NONE };
	/* PKCS 1 in front of PSS: a server of TLS 1.2 takes the first, and mbedTLS cannot check PSS there; 1.3 knows only PSS. */
	static const uint16_t signatures[] = { MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256, MBEDTLS_TLS1_3_SIG_ECDSA_SECP384R1_SHA384,
		MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256, MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA384, MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA512,
		MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256, MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA384,
		MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA512, MBEDTLS_TLS1_3_SIG_NONE };

	mbedtls_ssl_conf_min_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
#ifdef MBEDTLS_SSL_PROTO_TLS1_3
	mbedtls_ssl_conf_max_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_3);
	mbedtls_ssl_conf_tls13_key_exchange_modes(conf, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL);
	mbedtls_ssl_conf_new_session_tickets(conf, 0);
#else
	mbedtls_ssl_conf_max_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
#endif
	mbedtls_ssl_conf_groups(conf, groups);
	mbedtls_ssl_conf_sig_algs(conf, signatures);
}

/* There is no DTLS 1.3. */
static inline void
tls_compat_configure_datagrams(mbedtls_ssl_config *conf)
{
	mbedtls_ssl_conf_max_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
}

#define TLS_COMPAT_SUITES_13 \
	MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS1_3_AES_128_GCM_SHA256, MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
#define TLS_COMPAT_NO_CIPHER MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE
#define TLS_COMPAT_BAD_VERSION MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION
#define TLS_COMPAT_BAD_CERTIFICATE MBEDTLS_ERR_SSL_BAD_CERTIFICATE
#define TLS_COMPAT_TICKET MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET

#else

#define MBEDTLS_PRIVATE(member) member

static inline int
tls_compat_init(void)
{
	return 0;
}

static inline int
tls_compat_parse_key(mbedtls_pk_context *pk, const unsigned char *data, size_t len, mbedtls_ctr_drbg_context *drbg)
{
	(void)drbg;
	return mbedtls_pk_parse_key(pk, data, len, NULL, 0);
}

static inline int
tls_compat_check_pair(mbedtls_pk_context *pub, mbedtls_pk_context *prv, mbedtls_ctr_drbg_context *drbg)
{
	(void)drbg;
	return mbedtls_pk_check_pair(pub, prv);
}

static inline mbedtls_ecp_group_id
tls_compat_curve(const mbedtls_pk_context *pk)
{
	return mbedtls_pk_ec(*pk)->grp.id;
}

static inline int
tls_compat_set_serial(mbedtls_x509write_cert *crt, unsigned char *serial, size_t len)
{
	mbedtls_mpi n;
	int r;

	mbedtls_mpi_init(&n);
	r = mbedtls_mpi_read_binary(&n, serial, len);
	if (r == 0)
		r = mbedtls_x509write_crt_set_serial(crt, &n);
	mbedtls_mpi_free(&n);
	return r;
}

static inline unsigned
tls_compat_alert(const mbedtls_ssl_context *ssl)
{
	return ssl->in_msg[1];
}

static inline bool
tls_compat_refuses_late(const mbedtls_ssl_context *ssl)
{
	(void)ssl;
	return false;
}

static inline void
tls_compat_configure(mbedtls_ssl_config *conf)
{
	static const mbedtls_ecp_group_id curves[] = { MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_CURVE25519,
		MBEDTLS_ECP_DP_SECP384R1, MBEDTLS_ECP_DP_NONE };
	static const int hashes[] = { MBEDTLS_MD_SHA256, MBEDTLS_MD_SHA384, MBEDTLS_MD_SHA512, MBEDTLS_MD_NONE };

	mbedtls_ssl_conf_min_version(conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
	mbedtls_ssl_conf_max_version(conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
	mbedtls_ssl_conf_curves(conf, curves);
	mbedtls_ssl_conf_sig_hashes(conf, hashes);
}

static inline void
tls_compat_configure_datagrams(mbedtls_ssl_config *conf)
{
	(void)conf;
}

#define TLS_COMPAT_SUITES_13
#define TLS_COMPAT_NO_CIPHER MBEDTLS_ERR_SSL_NO_CIPHER_CHOSEN
#define TLS_COMPAT_BAD_VERSION MBEDTLS_ERR_SSL_BAD_HS_PROTOCOL_VERSION
#define TLS_COMPAT_BAD_CERTIFICATE MBEDTLS_ERR_SSL_BAD_HS_CERTIFICATE
#define TLS_COMPAT_TICKET 1 /* no error: 2.28 never says so */

#endif
/* How far is who accepts: its hello is written, or the wish for another one? */
static inline int
tls_compat_state(const mbedtls_ssl_context *ssl)
{
	return ssl->MBEDTLS_PRIVATE(state);
}

/* Is the handshake over? */
static inline bool
tls_compat_is_shaken(const mbedtls_ssl_context *ssl)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
	return mbedtls_ssl_is_handshake_over((mbedtls_ssl_context *)(uintptr_t)ssl) != 0;
#else
	return ssl->state == MBEDTLS_SSL_HANDSHAKE_OVER;
#endif
}

#endif
