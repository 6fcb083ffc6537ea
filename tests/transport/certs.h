/*
 * certs: keys, certificates and revocation lists for tests, of every kind that
 * openssl's command line needs a folder of files for. Made by mbedTLS.
 */
#ifndef CERTS_H
#define CERTS_H

#include "tls.h"

enum cert_key { CERT_P256, CERT_P384, CERT_P521, CERT_P192, CERT_RSA1024, CERT_RSA2048 };

struct cert {
	char key[4096], pem[4096]; /* PEM texts */
	uint8_t serial;
};

struct cert_wish {
	const char *name;          /* CN, and the DNS name unless names are given */
	const char *const *names;  /* DNS names, NULL behind the last */
	enum cert_key key;
	const struct cert *issuer; /* NULL: self-signed */
	bool is_ca;
	const char *from, *to;     /* "20260101000000"; NULL: from 2000, for ever */
	bool sha1;                 /* signed with a weak hash */
	uint8_t serial;
	bool only_servers;         /* extended key usage: TLS servers, and no clients */
};

void cert_make(const struct cert_wish *w, struct cert *ret);
/* DER of an issuer's CRL that revokes one serial, good until a date like "491231235959Z". Returns its length. */
size_t cert_revoke(const struct cert *issuer, uint8_t serial, const char *until, uint8_t *buf, size_t size);

struct tls_blob cert_text(const char *text);
/* Self-signed, and nobody to trust; or with a CA. Aborts the test with the reason if it cannot be. */
struct tls_context *cert_context(const struct cert *own, const struct cert *ca);
/* The same of a new key. */
struct tls_context *cert_node(const char *name);

#endif
