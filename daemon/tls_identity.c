/* tls_identity: keys and certificates: read, judged, made. */
#include "tls_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RSA_BITS_MIN 2048
#define DNS_NAME_TAG (MBEDTLS_ASN1_CONTEXT_SPECIFIC | 2)
/* Before any clock that a host without a battery wakes up with is asked; RFC 5280: has no well-defined end. */
#define NOT_BEFORE "20000101000000"
#define NOT_AFTER "99991231235959"

const char *
tls_words(int error, char buf[static TLS_TEXT_MAX])
{
	mbedtls_strerror(error, buf, TLS_TEXT_MAX);
	return buf;
}

int
tls_random_init(struct tls_random *r)
{
	mbedtls_entropy_init(&r->entropy);
	mbedtls_ctr_drbg_init(&r->drbg);
	if (tls_compat_init() < 0 || mbedtls_ctr_drbg_seed(&r->drbg, mbedtls_entropy_func, &r->entropy, NULL, 0) != 0)
		return -EIO;
	return 0;
}

void
tls_random_done(struct tls_random *r)
{
	mbedtls_ctr_drbg_free(&r->drbg);
	mbedtls_entropy_free(&r->entropy);
}

int
tls_copy(struct tls_blob b, struct tls_copy *ret)
{
	unsigned char *data = malloc(b.len + 1);

	if (!data)
		return -ENOMEM;
	if (b.len > 0)
		memcpy(data, b.data, b.len);
	data[b.len] = '\0';
	*ret = (struct tls_copy){ data, b.len, b.len };
	if (memmem(data, b.len, "-----BEGIN ", 11))
		ret->len++;
	return 0;
}

void
tls_copy_done(struct tls_copy *c)
{
	if (!c->data)
		return;
	explicit_bzero(c->data, c->bytes);
	free(c->data);
	c->data = NULL;
}

/* ------------------------------------------------------------------ judged */

bool
tls_key_fault(const mbedtls_pk_context *key, char why[static TLS_TEXT_MAX])
{
	mbedtls_ecp_group_id curve;
	const mbedtls_ecp_curve_info *info;
	size_t bits = mbedtls_pk_get_bitlen(key);

	switch (mbedtls_pk_get_type(key)) {
	case MBEDTLS_PK_RSA:
		if (bits >= RSA_BITS_MIN)
			return false;
		snprintf(why, TLS_TEXT_MAX, "weak key: RSA of %zu bits, not of %d or more", bits, RSA_BITS_MIN);
		return true;
	case MBEDTLS_PK_ECKEY:
	case MBEDTLS_PK_ECDSA:
		curve = tls_compat_curve(key);
		if (curve == MBEDTLS_ECP_DP_SECP256R1 || curve == MBEDTLS_ECP_DP_SECP384R1)
			return false;
		info = mbedtls_ecp_curve_info_from_grp_id(curve);
		snprintf(why, TLS_TEXT_MAX, "%scurve %s, not P-256 or P-384", bits < 256 ? "weak " : "", info ? info->name : "of an unknown kind");
		return true;
	default:
		snprintf(why, TLS_TEXT_MAX, "a key of another kind than ECDSA or RSA");
		return true;
	}
}

int64_t
tls_seconds(const mbedtls_x509_time *t)
{
	struct tm tm = { .tm_year = t->year - 1900,
		.tm_mon = t->mon - 1,
		.tm_mday = t->day,
		.tm_hour = t->hour,
		.tm_min = t->min,
		.tm_sec = t->sec };

	return timegm(&tm);
}

int
tls_certificate_of(const mbedtls_x509_crt *crt, struct tls_certificate *ret)
{
	const mbedtls_md_info_t *sha256 = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);

	*ret = (struct tls_certificate){ .not_before = tls_seconds(&crt->valid_from), .not_after = tls_seconds(&crt->valid_to) };
	if (!sha256 || mbedtls_md(sha256, crt->pk_raw.p, crt->pk_raw.len, ret->key) != 0)
		return -EIO;
	for (const mbedtls_x509_sequence *n = &crt->subject_alt_names; n; n = n->next) {
		const char *name = (const char *)n->buf.p;

		/* Kinds of names are told apart by what is left of the tag in 2.28, too. */
		if (!name || (n->buf.tag & (MBEDTLS_ASN1_TAG_CLASS_MASK | MBEDTLS_ASN1_TAG_VALUE_MASK)) != DNS_NAME_TAG ||
#ifdef PLANT_NAME_BELIEVED
		    n->buf.len > NAMES_NODE_MAX)
#else
		    !names_node_ok(name, n->buf.len))
#endif
			continue;
		if (ret->n_names == TLS_NAMES_MAX) {
			ret->more_names = true;
			break;
		}
		memcpy(ret->names[ret->n_names++], name, n->buf.len);
	}
	return 0;
}

bool
tls_certificate_names(const struct tls_certificate *c, const char *name)
{
	for (size_t i = 0; i < c->n_names; i++)
		if (strcmp(c->names[i], name) == 0)
			return true;
	return false;
}

int
tls_certificate_read(struct tls_blob certificate, char why[static TLS_TEXT_MAX], struct tls_certificate *ret)
{
	mbedtls_x509_crt crt;
	struct tls_copy copy;
	struct tls_certificate c;
	char words[TLS_TEXT_MAX];
	int r = -ENOMEM, e;

	mbedtls_x509_crt_init(&crt);
	if (tls_compat_init() < 0 || tls_copy(certificate, &copy) < 0) {
		snprintf(why, TLS_TEXT_MAX, "out of memory");
		goto done;
	}
	/* Several in one text, of which a later one is broken, still begin with a good one. */
	e = mbedtls_x509_crt_parse(&crt, copy.data, copy.len);
	tls_copy_done(&copy);
	if (!crt.raw.p) {
		r = e == MBEDTLS_ERR_X509_ALLOC_FAILED ? -ENOMEM : -EBADMSG;
		snprintf(why, TLS_TEXT_MAX, "no certificate that can be read (%.100s)", tls_words(e < 0 ? e : MBEDTLS_ERR_X509_INVALID_FORMAT, words));
		goto done;
	}
	r = tls_certificate_of(&crt, &c);
	if (r < 0)
		snprintf(why, TLS_TEXT_MAX, "SHA-256 failed");
	else
		*ret = c;
done:
	mbedtls_x509_crt_free(&crt);
	return r;
}

/* -------------------------------------------------------------------- made */

/* The extension that says the DNS name: SEQUENCE { [2] name }. */
static int
set_dns_name(mbedtls_x509write_cert *w, const char *name)
{
	unsigned char der[4 + NAMES_NODE_MAX];
	size_t len = strlen(name);

	der[0] = MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE;
	der[1] = (unsigned char)(2 + len);
	der[2] = DNS_NAME_TAG;
	der[3] = (unsigned char)len;
	memcpy(der + 4, name, len);
	return mbedtls_x509write_crt_set_extension(
	    w, MBEDTLS_OID_SUBJECT_ALT_NAME, MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME), 0, der, 4 + len);
}

static int
self_sign(mbedtls_pk_context *key, const char *name, struct tls_random *random, char pem[static TLS_PEM_MAX])
{
	mbedtls_x509write_cert w;
	char subject[3 + NAMES_NODE_MAX + 1];
	unsigned char serial[16];
	int e;

	snprintf(subject, sizeof(subject), "CN=%s", name);
	mbedtls_x509write_crt_init(&w);
	mbedtls_x509write_crt_set_version(&w, MBEDTLS_X509_CRT_VERSION_3);
	mbedtls_x509write_crt_set_md_alg(&w, MBEDTLS_MD_SHA256);
	mbedtls_x509write_crt_set_subject_key(&w, key);
	mbedtls_x509write_crt_set_issuer_key(&w, key);
	if ((e = mbedtls_ctr_drbg_random(&random->drbg, serial, sizeof(serial))) != 0)
		goto done;
	serial[0] = (serial[0] & 0x7f) | 0x40; /* positive, and of one length */
	if ((e = tls_compat_set_serial(&w, serial, sizeof(serial))) != 0 ||
	    (e = mbedtls_x509write_crt_set_subject_name(&w, subject)) != 0 ||
	    (e = mbedtls_x509write_crt_set_issuer_name(&w, subject)) != 0 ||
	    (e = mbedtls_x509write_crt_set_validity(&w, NOT_BEFORE, NOT_AFTER)) != 0 ||
	    (e = mbedtls_x509write_crt_set_basic_constraints(&w, 0, -1)) != 0 || (e = set_dns_name(&w, name)) != 0)
		goto done;
	e = mbedtls_x509write_crt_pem(&w, (unsigned char *)pem, TLS_PEM_MAX, mbedtls_ctr_drbg_random, &random->drbg);
done:
	mbedtls_x509write_crt_free(&w);
	return e;
}

int
tls_make_identity(const char *name, char why[static TLS_TEXT_MAX], struct tls_made *ret)
{
	struct tls_random random;
	mbedtls_pk_context key;
	struct tls_made made = { .key = "" };
	char words[TLS_TEXT_MAX];
	int r, e = 0;

	if (!names_node_ok(name, strlen(name))) {
		snprintf(why, TLS_TEXT_MAX, "no name of a node");
		return -EINVAL;
	}
	mbedtls_pk_init(&key);
	r = tls_random_init(&random);
	if (r < 0) {
		snprintf(why, TLS_TEXT_MAX, "no random numbers are to be had");
		goto done;
	}
	if ((e = mbedtls_pk_setup(&key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY))) != 0 ||
	    (e = mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(key), mbedtls_ctr_drbg_random, &random.drbg)) != 0 ||
	    (e = self_sign(&key, name, &random, made.certificate)) != 0 ||
	    (e = mbedtls_pk_write_key_pem(&key, (unsigned char *)made.key, sizeof(made.key))) != 0) {
		r = -EIO;
		snprintf(why, TLS_TEXT_MAX, "cannot make a key (%.120s)", tls_words(e, words));
		goto done;
	}
	*ret = made;
done:
	explicit_bzero(&made, sizeof(made));
	mbedtls_pk_free(&key);
	tls_random_done(&random);
	return r;
}
