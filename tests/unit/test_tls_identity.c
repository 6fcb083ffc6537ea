/* Keys and certificates: made, read, and what is said of those that will not do. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs.h"
#include "tls_internal.h"

#define NEVER INT64_C(253402300799)

START_TEST(made_for_a_node)
{
	struct tls_made made, other;
	struct tls_certificate c, again;
	struct tls_material m;
	struct tls_context *context;
	char why[TLS_TEXT_MAX] = "";

	ck_assert_int_eq(tls_make_identity("till-7.example", why, &made), 0);
	ck_assert_int_eq(tls_make_identity("till-7.example", why, &other), 0);
	ck_assert_int_eq(tls_certificate_read(cert_text(made.certificate), why, &c), 0);
	ck_assert_uint_eq(c.n_names, 1);
	ck_assert_str_eq(c.names[0], "till-7.example");
	ck_assert(tls_certificate_names(&c, "till-7.example"));
	ck_assert(!tls_certificate_names(&c, "till-7.exampl") && !tls_certificate_names(&c, "till-7.example."));
	ck_assert(!c.more_names);
	ck_assert_int_eq(c.not_after, NEVER);
	ck_assert_int_eq(c.not_before, 946684800);
	/* Each is a key of its own. */
	ck_assert_int_eq(tls_certificate_read(cert_text(other.certificate), why, &again), 0);
	ck_assert_mem_ne(c.key, again.key, PIN_BYTES);
	ck_assert_str_ne(made.key, other.key);
	/* It serves. */
	m = (struct tls_material){ .key = cert_text(made.key), .certificate = cert_text(made.certificate) };
	ck_assert_msg(tls_context_new(&m, why, &context) == 0, "%s", why);
	ck_assert_mem_eq(tls_context_own(context)->key, c.key, PIN_BYTES);
	ck_assert(!tls_context_has_ca(context));
	tls_context_unref(context);
}
END_TEST

START_TEST(made_for_no_name)
{
	static const char *const bad[] = { "", "Paris", "-x", "a,b", "a=b", "0123456789012345678901234567890123456789x" };
	struct tls_made made;
	char why[TLS_TEXT_MAX];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ck_assert_int_eq(tls_make_identity(bad[i], why, &made), -EINVAL);
	ck_assert_int_eq(tls_make_identity("0123456789012345678901234567890123456789", why, &made), 0);
}
END_TEST

/* RFC 7469: the hash of the SubjectPublicKeyInfo, as `openssl pkey -pubout -outform DER | openssl sha256` says. */
START_TEST(fingerprint)
{
	static const char pem[] = "-----BEGIN CERTIFICATE-----\n"
				  "MIIB3DCCAYGgAwIBAgIUQ0Jlg+tAtA3JAepq+wpXoFo9cIowCgYIKoZIzj0EAwIw\n"
				  "HzEdMBsGA1UEAwwUYW55dGhpbmcuZXhhbXBsZS5vcmcwHhcNMjYxMTI4MDYwNjA5\n"
				  "WhcNMzYxMTI1MDYwNjA5WjAfMR0wGwYDVQQDDBRhbnl0aGluZy5leGFtcGxlLm9y\n"
				  "ZzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABOkcEIPu2x8YbX6TxDfFx6rv3Xvi\n"
				  "30GGROjIVGYeBFSZy3BnXTr6bp2ZmQ3kDrYGwKy6HHF8uHh0Cg0OoI3AW7ujgZow\n"
				  "gZcwHQYDVR0OBBYEFPZHos6QvGmecR6ymawNHhjXIYMFMB8GA1UdIwQYMBaAFPZH\n"
				  "os6QvGmecR6ymawNHhjXIYMFMA8GA1UdEwEB/wQFMAMBAf8wRAYDVR0RBD0wO4IF\n"
				  "cGFyaXOCEXBhcmlzLmV4YW1wbGUub3Jngg0qLmV4YW1wbGUub3JnggVVcHBlcocE\n"
				  "fwAAAYEDYUBiMAoGCCqGSM49BAMCA0kAMEYCIQCzu8ynGzGdwwBkkayk4TgDm1X5\n"
				  "kmkettqO7Ehmd+RfBwIhAPsbzGkhI1R4oQ0h6s23oYlmHpaJtBrr9soyDINsz9S5\n"
				  "-----END CERTIFICATE-----\n";
	struct tls_certificate c;
	char why[TLS_TEXT_MAX], text[PIN_TEXT_MAX];

	ck_assert_int_eq(tls_certificate_read(cert_text(pem), why, &c), 0);
	ck_assert_str_eq(pin_text(c.key, text), "sha256:qYlwyND0wJ1cFSYrnUd5QBrHPJwuOHD49JebnSvD3c0=");
	ck_assert_int_eq(c.not_after, INT64_C(2111205969));
	/* Names that no node can have are none here; nor is the CN one. */
	ck_assert_uint_eq(c.n_names, 2);
	ck_assert(tls_certificate_names(&c, "paris") && tls_certificate_names(&c, "paris.example.org"));
	ck_assert(!tls_certificate_names(&c, "anything.example.org") && !tls_certificate_names(&c, "*.example.org"));
}
END_TEST

START_TEST(many_names)
{
	const char *names[] = { "a", "b", "c", "d", "e", "f", "g", "h", "i", NULL };
	struct cert own;
	struct tls_certificate c;
	char why[TLS_TEXT_MAX];

	cert_make(&(struct cert_wish){ .name = "x", .names = names }, &own);
	ck_assert_int_eq(tls_certificate_read(cert_text(own.pem), why, &c), 0);
	ck_assert_uint_eq(c.n_names, TLS_NAMES_MAX);
	ck_assert(c.more_names);
	ck_assert(tls_certificate_names(&c, "h") && !tls_certificate_names(&c, "i"));
}
END_TEST

START_TEST(der_and_pem)
{
	struct cert own;
	struct tls_certificate a, b;
	struct tls_material m;
	struct tls_context *context;
	mbedtls_x509_crt crt;
	mbedtls_pk_context key;
	struct tls_random random;
	unsigned char der[2000];
	char why[TLS_TEXT_MAX] = "";
	int len;

	cert_make(&(struct cert_wish){ .name = "x" }, &own);
	mbedtls_x509_crt_init(&crt);
	mbedtls_pk_init(&key);
	ck_assert_int_eq(tls_random_init(&random), 0);
	ck_assert_int_eq(mbedtls_x509_crt_parse(&crt, (unsigned char *)own.pem, strlen(own.pem) + 1), 0);
	ck_assert_int_eq(tls_compat_parse_key(&key, (unsigned char *)own.key, strlen(own.key) + 1, &random.drbg), 0);
	ck_assert_int_eq(tls_certificate_read(cert_text(own.pem), why, &a), 0);
	ck_assert_int_eq(tls_certificate_read((struct tls_blob){ crt.raw.p, crt.raw.len }, why, &b), 0);
	ck_assert_mem_eq(a.key, b.key, PIN_BYTES);
	len = mbedtls_pk_write_key_der(&key, der, sizeof(der));
	ck_assert_int_gt(len, 0);
	m = (struct tls_material){ .key = { der + sizeof(der) - len, (size_t)len }, .certificate = { crt.raw.p, crt.raw.len } };
	ck_assert_msg(tls_context_new(&m, why, &context) == 0, "%s", why);
	tls_context_unref(context);
	mbedtls_x509_crt_free(&crt);
	mbedtls_pk_free(&key);
	tls_random_done(&random);
}
END_TEST

START_TEST(unreadable)
{
	static const char *const bad[] = { "", "x", "-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"\x30\x82\x01" };
	struct tls_certificate c;
	char why[TLS_TEXT_MAX];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ck_assert_int_eq(tls_certificate_read(cert_text(bad[i]), why, &c), -EBADMSG);
		ck_assert_int_eq(strncmp(why, "no certificate that can be read (", 33), 0);
	}
}
END_TEST

/* ----------------------------------------------------------------- faults -- */

static const char *
fault_of(const struct tls_material *m)
{
	static char why[TLS_TEXT_MAX];
	struct tls_context *c = NULL;

	memset(why, 0, sizeof(why));
	if (tls_context_new(m, why, &c) == 0) {
		tls_context_unref(c);
		return "none";
	}
	ck_assert_ptr_null(c);
	return why;
}

static struct tls_material
material(const struct cert *own)
{
	return (struct tls_material){ .key = cert_text(own->key), .certificate = cert_text(own->pem) };
}

START_TEST(weak_keys)
{
	static const struct {
		enum cert_key key;
		const char *fault;
	} cases[] = {
		{ CERT_P256, "none" },
		{ CERT_P384, "none" },
		{ CERT_RSA2048, "none" },
		{ CERT_RSA1024, "key: weak key: RSA of 1024 bits, not of 2048 or more" },
		{ CERT_P192, "key: weak curve secp192r1, not P-256 or P-384" },
		{ CERT_P521, "key: curve secp521r1, not P-256 or P-384" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct cert own;
		struct tls_material m;

		cert_make(&(struct cert_wish){ .name = "x", .key = cases[i].key }, &own);
		m = material(&own);
		ck_assert_str_eq(fault_of(&m), cases[i].fault);
	}
}
END_TEST

START_TEST(what_does_not_fit)
{
	struct cert a, b, ca, servers;
	struct tls_material m;
	char text[8200];
	uint8_t crl[2000];
	size_t crl_len;

	cert_make(&(struct cert_wish){ .name = "a" }, &a);
	cert_make(&(struct cert_wish){ .name = "b" }, &b);
	cert_make(&(struct cert_wish){ .name = "CA", .is_ca = true }, &ca);
	cert_make(&(struct cert_wish){ .name = "s", .only_servers = true }, &servers);
	crl_len = cert_revoke(&ca, 9, "491231235959Z", crl, sizeof(crl));

	m = material(&a);
	m.key = cert_text(b.key);
	ck_assert_str_eq(fault_of(&m), "key: does not belong to the certificate");
	m = material(&servers);
	ck_assert_str_eq(fault_of(&m), "certificate: its key usage must allow signatures, and servers and clients");

	m = material(&a);
	m.key = (struct tls_blob){ NULL, 0 };
	ck_assert_str_eq(fault_of(&m), "key: there is none");
	m.key = cert_text("");
	ck_assert_str_eq(fault_of(&m), "key: there is none");
	m.key = cert_text("garbage");
	ck_assert_int_eq(strncmp(fault_of(&m), "key: cannot be read (", 21), 0);
	m.key = cert_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAi+\n"
			  "-----END ENCRYPTED PRIVATE KEY-----\n");
	ck_assert_str_eq(fault_of(&m), "key: is encrypted, and there is nobody to ask for the password");

	m = material(&a);
	m.certificate = cert_text(a.key);
	ck_assert_int_eq(strncmp(fault_of(&m), "certificate: cannot be read (", 29), 0);
	m.certificate = (struct tls_blob){ NULL, 0 };
	ck_assert_str_eq(fault_of(&m), "certificate: there is none");

	/* A chain of which a part is broken is not shown to anybody. */
	m = material(&a);
	snprintf(text, sizeof(text), "%s-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", a.pem);
	m.certificate = cert_text(text);
	ck_assert_str_eq(fault_of(&m), "certificate: 1 of its certificates cannot be read");
	m = material(&a);
	m.ca = cert_text(text);
	ck_assert_str_eq(fault_of(&m), "ca: 1 of its certificates cannot be read");
	m.ca = cert_text("x");
	ck_assert_int_eq(strncmp(fault_of(&m), "ca: cannot be read (", 20), 0);
	m.ca = cert_text("");
	ck_assert_str_eq(fault_of(&m), "ca: there is none");

	m.ca = cert_text(ca.pem);
	ck_assert_str_eq(fault_of(&m), "none");
	m.crl = (struct tls_blob){ crl, crl_len };
	ck_assert_str_eq(fault_of(&m), "none");
	m.crl.len--;
	ck_assert_int_eq(strncmp(fault_of(&m), "crl: cannot be read (", 21), 0);
	m.crl.len = 0;
	ck_assert_str_eq(fault_of(&m), "crl: there is none");
	m.crl.len = crl_len;
	m.ca = (struct tls_blob){ NULL, 0 };
	ck_assert_str_eq(fault_of(&m), "crl: there is no CA that it could be of");
}
END_TEST

/* "what of until" of each, with blanks between. */
static const char *
dates_of(const struct cert *own, const struct cert *ca, const char *until)
{
	static char all[600];
	struct tls_material m = material(own);
	struct tls_context *c;
	struct tls_dates d;
	char why[TLS_TEXT_MAX];
	uint8_t crl[2000];

	if (ca)
		m.ca = cert_text(ca->pem);
	if (until)
		m.crl = (struct tls_blob){ crl, cert_revoke(ca, 9, until, crl, sizeof(crl)) };
	ck_assert_msg(tls_context_new(&m, why, &c) == 0, "%s", why);
	all[0] = '\0';
	for (size_t i = 0; tls_context_dates(c, i, &d); i++)
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "[%s %s %lld %lld]", d.what, d.of, (long long)d.not_before,
		    d.not_after == TLS_NEVER ? -1 : (long long)d.not_after);
	tls_context_unref(c);
	return all;
}

START_TEST(dates)
{
	struct cert year, ca;

	cert_make(&(struct cert_wish){ .name = "a", .from = "20260101000000", .to = "20261101120000" }, &year);
	cert_make(&(struct cert_wish){ .name = "CA", .is_ca = true, .to = "20260401000000" }, &ca);
	ck_assert_str_eq(dates_of(&year, NULL, NULL), "[certificate  1767225600 1793534400]");
	ck_assert_str_eq(dates_of(&year, &ca, NULL), "[certificate  1767225600 1793534400][CA certificate CN=CA 946684800 1775001600]");
	ck_assert_ptr_nonnull(strstr(dates_of(&year, &ca, "260301000000Z"), "1775001600][CRL CN=CA "));
	ck_assert_ptr_nonnull(strstr(dates_of(&year, &ca, "260301000000Z"), " 1772323200]"));
	/* What is shown with it. */
	strcat(year.pem, ca.pem);
	ck_assert_ptr_nonnull(strstr(dates_of(&year, NULL, NULL), "][intermediate certificate CN=CA 946684800 1775001600]"));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tls_identity");
	TCase *t = tcase_create("identity");
	SRunner *sr;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, made_for_a_node);
	tcase_add_test(t, made_for_no_name);
	tcase_add_test(t, fingerprint);
	tcase_add_test(t, many_names);
	tcase_add_test(t, der_and_pem);
	tcase_add_test(t, unreadable);
	tcase_add_test(t, weak_keys);
	tcase_add_test(t, what_does_not_fit);
	tcase_add_test(t, dates);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
