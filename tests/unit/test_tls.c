/* Two ends in memory: what they prove to each other, and what they do with what should not come. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs.h"
#include "tls_internal.h"

#define IN_BYTES 65536

struct end {
	struct tls *tls;
	enum tls_result r;   /* of the last step */
	bool is_up;
	uint8_t in[IN_BYTES];
	size_t in_len;
	/* The check. */
	int checks;
	const char *refusal; /* NULL: welcome; "chain": what chain_text says, if it is bad */
	struct tls_peer seen;
};

struct pair {
	struct end dial, wait;
	size_t step; /* bytes that pass at once */
};

static bool
check(void *arg, const struct tls_peer *peer, char why[static TLS_TEXT_MAX])
{
	struct end *e = arg;

	e->checks++;
	e->seen = *peer;
	ck_assert(peer->has_certificate);
	ck_assert_str_eq(peer->version, "");
	if (!e->refusal)
		return true;
	if (strcmp(e->refusal, "chain") == 0) {
		snprintf(why, TLS_TEXT_MAX, "%s", peer->chain_text);
		return peer->chain == TLS_CHAIN_GOOD;
	}
	snprintf(why, TLS_TEXT_MAX, "%s", e->refusal);
	return false;
}

static struct pair *
pair_new(struct tls_context *dialling, struct tls_context *waiting)
{
	struct pair *p = calloc(1, sizeof(*p));

	ck_assert_ptr_nonnull(p);
	p->step = SIZE_MAX;
	p->dial.tls = tls_new(dialling, true, check, &p->dial);
	p->wait.tls = tls_new(waiting, false, check, &p->wait);
	ck_assert(p->dial.tls && p->wait.tls);
	tls_context_unref(dialling);
	tls_context_unref(waiting);
	return p;
}

static void
pair_free(struct pair *p)
{
	tls_free(p->dial.tls);
	tls_free(p->wait.tls);
	free(p);
}

static void
eat(struct end *e, size_t n)
{
	ck_assert_uint_le(n, e->in_len);
	memmove(e->in, e->in + n, e->in_len - n);
	e->in_len -= n;
}

static void
shake(struct end *e)
{
	size_t used;

	if (e->is_up || e->r == TLS_FAILED || e->r == TLS_ALERT)
		return;
	e->r = tls_feed(e->tls, e->in, e->in_len, &used);
	eat(e, used);
	e->is_up = e->r == TLS_READY;
}

/* Bytes of output that pass from one end to the other. */
static size_t
pass(struct end *from, struct end *to, size_t step)
{
	size_t n;
	const uint8_t *out = tls_out(from->tls, &n);

	if (n > step)
		n = step;
	if (n > IN_BYTES - to->in_len)
		n = IN_BYTES - to->in_len;
	if (n == 0)
		return 0;
	memcpy(to->in + to->in_len, out, n);
	to->in_len += n;
	tls_sent(from->tls, n);
	return n;
}

static void
handshake(struct pair *p)
{
	size_t moved;

	shake(&p->dial);
	do {
		moved = pass(&p->dial, &p->wait, p->step);
		shake(&p->wait);
		moved += pass(&p->wait, &p->dial, p->step);
		shake(&p->dial);
	} while (moved > 0);
}

static struct pair *
up(struct tls_context *dialling, struct tls_context *waiting)
{
	struct pair *p = pair_new(dialling, waiting);

	handshake(p);
	ck_assert_msg(p->dial.is_up, "%s", tls_why(p->dial.tls));
	ck_assert_msg(p->wait.is_up, "%s", tls_why(p->wait.tls));
	return p;
}

static struct pair *
usual(void)
{
	return up(cert_node("paris"), cert_node("berlin"));
}

/* The next plaintext: its length, or 0 with e->r. */
static size_t
opened(struct end *e, uint8_t *buf, size_t size)
{
	size_t used, len = 0;
	uint8_t *plain;

	do {
		e->r = tls_open(e->tls, e->in, e->in_len, &used, &plain, &len);
		if (e->r == TLS_READY && len > 0) {
			ck_assert_uint_le(len, size);
			ck_assert(plain >= e->in && plain + len <= e->in + used);
			memcpy(buf, plain, len);
		}
		eat(e, used);
	} while (e->r == TLS_READY && len == 0);
	return e->r == TLS_READY ? len : 0;
}

static void
say(struct end *e, const void *data, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)data, len };

	ck_assert_int_eq(tls_seal(e->tls, &iov, 1, 0), (ssize_t)len);
}

static void
say_and_hear(struct end *a, struct end *b, const char *text)
{
	uint8_t buf[100];

	say(a, text, strlen(text));
	while (pass(a, b, SIZE_MAX) > 0)
		;
	ck_assert_uint_eq(opened(b, buf, sizeof(buf)), strlen(text));
	ck_assert_mem_eq(buf, text, strlen(text));
}

/* Whatever the version: what an end says that was refused. */
static void
refused_as(struct end *e, const char *alert)
{
	uint8_t buf[100];
	char why[TLS_TEXT_MAX];

	/* In TLS 1.3 the dialling end is up before the other has judged it. */
	if (e->is_up)
		ck_assert_uint_eq(opened(e, buf, sizeof(buf)), 0);
	ck_assert_int_eq(e->r, TLS_ALERT);
	/* Behind it stands what it means. */
	snprintf(why, sizeof(why), "the other side refused our certificate (alert: %s): ", alert);
	ck_assert_msg(strncmp(tls_why(e->tls), why, strlen(why)) == 0, "%s", tls_why(e->tls));
	ck_assert_uint_gt(strlen(tls_why(e->tls)), strlen(why));
	ck_assert_int_eq(tls_error(e->tls), -EKEYREJECTED);
}

static void
failed_as(struct end *e, int error, const char *why)
{
	ck_assert_int_eq(e->r, TLS_FAILED);
	ck_assert_str_eq(tls_why(e->tls), why);
	ck_assert_int_eq(tls_error(e->tls), error);
}

/* -------------------------------------------------------------- both ends -- */

START_TEST(both_prove_themselves)
{
	struct tls_context *paris = cert_node("paris"), *berlin = cert_node("berlin");
	struct tls_certificate p_own = *tls_context_own(paris), b_own = *tls_context_own(berlin);
	struct pair *p = up(paris, berlin);
	const struct tls_peer *far = tls_peer(p->dial.tls);

	ck_assert_int_eq(p->dial.checks, 1);
	ck_assert_int_eq(p->wait.checks, 1);
	ck_assert_mem_eq(far->certificate.key, b_own.key, PIN_BYTES);
	ck_assert_mem_eq(tls_peer(p->wait.tls)->certificate.key, p_own.key, PIN_BYTES);
	ck_assert_str_eq(far->certificate.names[0], "berlin");
	ck_assert_int_eq(far->chain, TLS_CHAIN_UNCHECKED);
	ck_assert_str_eq(far->chain_text, "");
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
	ck_assert_str_eq(far->version, "TLSv1.3");
	ck_assert_str_eq(far->cipher, "TLS1-3-CHACHA20-POLY1305-SHA256");
#else
	ck_assert_str_eq(far->version, "TLSv1.2");
	ck_assert_str_eq(far->cipher, "TLS-ECDHE-ECDSA-WITH-CHACHA20-POLY1305-SHA256");
#endif
	say_and_hear(&p->dial, &p->wait, "bonjour");
	say_and_hear(&p->wait, &p->dial, "hallo");
	pair_free(p);
}
END_TEST

START_TEST(byte_by_byte)
{
	struct pair *p = pair_new(cert_node("paris"), cert_node("berlin"));
	uint8_t buf[100];

	p->step = 1;
	handshake(p);
	ck_assert(p->dial.is_up && p->wait.is_up);
	say(&p->dial, "bonjour", 7);
	for (;;) {
		size_t n = opened(&p->wait, buf, sizeof(buf));

		if (n > 0) {
			ck_assert_uint_eq(n, 7);
			break;
		}
		ck_assert_int_eq(p->wait.r, TLS_MORE);
		ck_assert_uint_eq(pass(&p->dial, &p->wait, 1), 1);
	}
	ck_assert_mem_eq(buf, "bonjour", 7);
	pair_free(p);
}
END_TEST

/* What comes in the same segment as the end of the handshake is left for tls_open. */
START_TEST(data_behind_the_handshake)
{
	struct pair *p = pair_new(cert_node("paris"), cert_node("berlin"));
	struct end *first = &p->dial, *second = &p->wait;
	uint8_t buf[100];

	/* In TLS 1.2 the waiting end has the last word, in 1.3 the dialling one. */
	while (!first->is_up && !second->is_up) {
		shake(&p->dial);
		if (p->dial.is_up)
			break;
		pass(&p->dial, &p->wait, SIZE_MAX);
		shake(&p->wait);
		if (p->wait.is_up)
			break;
		pass(&p->wait, &p->dial, SIZE_MAX);
	}
	if (second->is_up)
		first = &p->wait, second = &p->dial;
	say(first, "at once", 7);
	say(first, "and more", 8);
	pass(first, second, SIZE_MAX);
	shake(second);
	ck_assert(second->is_up);
	ck_assert_uint_gt(second->in_len, 0);
	ck_assert(tls_has_record(second->in, second->in_len));
	ck_assert_uint_eq(opened(second, buf, sizeof(buf)), 7);
	ck_assert_uint_eq(opened(second, buf, sizeof(buf)), 8);
	ck_assert_mem_eq(buf, "and more", 8);
	pair_free(p);
}
END_TEST

START_TEST(rsa_and_p384)
{
	static const enum cert_key keys[] = { CERT_P384, CERT_RSA2048 };

	for (size_t i = 0; i < 2; i++) {
		struct cert own;
		struct pair *p;

		cert_make(&(struct cert_wish){ .name = "berlin", .key = keys[i] }, &own);
		p = up(cert_node("paris"), cert_context(&own, NULL));
		say_and_hear(&p->dial, &p->wait, "bonjour");
		pair_free(p);
		p = up(cert_context(&own, NULL), cert_node("paris"));
		say_and_hear(&p->wait, &p->dial, "bonjour");
		pair_free(p);
	}
}
END_TEST

/* A stream keeps its context, whatever becomes of it elsewhere; and none is resumed: each proves itself anew. */
START_TEST(nothing_is_resumed)
{
	struct tls_context *paris = cert_node("paris"), *berlin = cert_node("berlin");

	for (int i = 0; i < 3; i++) {
		struct pair *p = up(tls_context_ref(paris), tls_context_ref(berlin));

		ck_assert_int_eq(p->dial.checks, 1);
		ck_assert_int_eq(p->wait.checks, 1);
		say_and_hear(&p->dial, &p->wait, "bonjour");
		pair_free(p);
	}
	tls_context_unref(paris);
	tls_context_unref(berlin);
}
END_TEST

/* ---------------------------------------------------------------- refusals -- */

START_TEST(refused_by_either)
{
	struct pair *p = pair_new(cert_node("paris"), cert_node("berlin"));

	p->wait.refusal = "no peer has this key";
	handshake(p);
	failed_as(&p->wait, -EACCES, "no peer has this key");
	refused_as(&p->dial, "access denied");
	pair_free(p);

	p = pair_new(cert_node("paris"), cert_node("berlin"));
	p->dial.refusal = "not the key of berlin";
	handshake(p);
	failed_as(&p->dial, -EACCES, "not the key of berlin");
	ck_assert(!p->wait.is_up);
	refused_as(&p->wait, "access denied");
	pair_free(p);
}
END_TEST

/* Our own contexts are never weak: this one's insides are exchanged. */
static struct tls_context *
weak_context(enum cert_key key)
{
	struct tls_context *c = cert_node("weak");
	struct cert own;

	cert_make(&(struct cert_wish){ .name = "weak", .key = key }, &own);
	mbedtls_pk_free(&c->key);
	mbedtls_x509_crt_free(&c->own);
	mbedtls_pk_init(&c->key);
	mbedtls_x509_crt_init(&c->own);
	ck_assert_int_eq(tls_compat_parse_key(&c->key, (unsigned char *)own.key, strlen(own.key) + 1, &c->random.drbg), 0);
	ck_assert_int_eq(mbedtls_x509_crt_parse(&c->own, (unsigned char *)own.pem, strlen(own.pem) + 1), 0);
	return c;
}

START_TEST(weak_peers)
{
	static const struct {
		enum cert_key key;
		const char *why;
	} cases[] = {
		{ CERT_RSA1024, "the other side's certificate: weak key: RSA of 1024 bits, not of 2048 or more" },
		{ CERT_P192, "the other side's certificate: weak curve secp192r1, not P-256 or P-384" },
		{ CERT_P521, "the other side's certificate: curve secp521r1, not P-256 or P-384" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct pair *p = pair_new(weak_context(cases[i].key), cert_node("berlin"));

		handshake(p);
		ck_assert_int_eq(p->wait.checks, 0);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
		/* TLS 1.3 has no signature of ours for some of them: the other side cannot go on. */
		if (p->wait.r == TLS_ALERT) {
			ck_assert_int_ne(cases[i].key, CERT_RSA1024);
			ck_assert(!p->wait.is_up);
			pair_free(p);
			continue;
		}
#endif
		failed_as(&p->wait, -EACCES, cases[i].why);
		refused_as(&p->dial, "unsupported certificate");
		pair_free(p);
	}
}
END_TEST

/* The chain is judged, told, and left to the caller. */
START_TEST(chains)
{
	struct cert ca, other, middle, old_middle;
	struct {
		const char *label;
		struct cert_wish wish;
		const struct cert *above; /* shown behind it */
		uint8_t revoked;
		const char *crl_until;
		const char *text, *alert;
	} cases[] = {
		{ "good", { .name = "paris", .issuer = &ca }, NULL, 9, "491231235959Z", "", NULL },
		{ "good, with a chain", { .name = "paris", .issuer = &middle }, &middle, 0, NULL, "", NULL },
		{ "expired", { .name = "paris", .issuer = &ca, .to = "20251101000000" }, NULL, 0, NULL, "expired 2025-11-01",
		    "certificate expired" },
		{ "future", { .name = "paris", .issuer = &ca, .from = "20900102000000" }, NULL, 0, NULL, "is valid only from 2090-01-02",
		    "certificate unknown" },
		{ "revoked", { .name = "paris", .issuer = &ca, .serial = 9 }, NULL, 9, "491231235959Z", "revoked", "certificate revoked" },
		{ "old CRL", { .name = "paris", .issuer = &ca }, NULL, 9, "250101000000Z", "the CRL should have been renewed",
		    "access denied" },
		{ "self-signed", { .name = "paris" }, NULL, 0, NULL, "not signed by a CA of ours", "unknown CA" },
		{ "another CA of the same name", { .name = "paris", .issuer = &other }, NULL, 0, NULL, "not signed by a CA of ours",
		    "unknown CA" },
		{ "no chain", { .name = "paris", .issuer = &middle }, NULL, 0, NULL, "not signed by a CA of ours", "unknown CA" },
		{ "old chain", { .name = "paris", .issuer = &old_middle }, &old_middle, 0, NULL, "its CA expired 2025-01-01",
		    "certificate expired" },
		{ "weak hash", { .name = "paris", .issuer = &ca, .sha1 = true }, NULL, 0, NULL, "signed with a weak hash",
		    NULL /* kinds of alert differ */ },
		{ "two faults", { .name = "paris", .to = "20251101000000" }, NULL, 0, NULL,
		    "expired 2025-11-01, not signed by a CA of ours", "certificate expired" },
	};

	cert_make(&(struct cert_wish){ .name = "CA", .is_ca = true }, &ca);
	cert_make(&(struct cert_wish){ .name = "CA", .is_ca = true }, &other);
	cert_make(&(struct cert_wish){ .name = "middle", .issuer = &ca, .is_ca = true, .serial = 3 }, &middle);
	cert_make(&(struct cert_wish){ .name = "old", .issuer = &ca, .is_ca = true, .to = "20250101000000" }, &old_middle);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct cert own, berlin;
		struct tls_material m;
		struct tls_context *c;
		struct pair *p;
		char why[TLS_TEXT_MAX] = "", chain[8200];
		uint8_t crl[2000];
		bool good = *cases[i].text == '\0';

		cert_make(&cases[i].wish, &own);
		cert_make(&(struct cert_wish){ .name = "berlin", .issuer = &ca }, &berlin);
		snprintf(chain, sizeof(chain), "%s%s", own.pem, cases[i].above ? cases[i].above->pem : "");
		snprintf(own.pem, sizeof(own.pem), "%.4095s", chain);
		m = (struct tls_material){ .key = cert_text(berlin.key), .certificate = cert_text(berlin.pem), .ca = cert_text(ca.pem) };
		if (cases[i].crl_until)
			m.crl = (struct tls_blob){ crl, cert_revoke(&ca, cases[i].revoked, cases[i].crl_until, crl, sizeof(crl)) };
		ck_assert_msg(tls_context_new(&m, why, &c) == 0, "%s: %s", cases[i].label, why);

		/* Consulted. */
		p = pair_new(cert_context(&own, NULL), tls_context_ref(c));
		p->wait.refusal = "chain";
		handshake(p);
		ck_assert_int_eq(p->wait.seen.chain, good ? TLS_CHAIN_GOOD : TLS_CHAIN_BAD);
		ck_assert_msg(strcmp(p->wait.seen.chain_text, cases[i].text) == 0, "%s: %s", cases[i].label, p->wait.seen.chain_text);
		if (good) {
			ck_assert(p->dial.is_up && p->wait.is_up);
		} else {
			failed_as(&p->wait, -EACCES, cases[i].text);
			if (cases[i].alert)
				refused_as(&p->dial, cases[i].alert);
		}
		pair_free(p);

		/* Not consulted: a pin is enough. */
		p = up(cert_context(&own, NULL), c);
		ck_assert_int_eq(tls_peer(p->wait.tls)->chain, good ? TLS_CHAIN_GOOD : TLS_CHAIN_BAD);
		pair_free(p);
	}
}
END_TEST

/* The other direction, and two that know each other's CA. */
START_TEST(chain_of_who_waits)
{
	struct cert ca, paris, berlin;
	struct pair *p;

	cert_make(&(struct cert_wish){ .name = "CA", .is_ca = true }, &ca);
	cert_make(&(struct cert_wish){ .name = "paris", .issuer = &ca }, &paris);
	cert_make(&(struct cert_wish){ .name = "berlin", .issuer = &ca, .to = "20251101000000" }, &berlin);
	p = pair_new(cert_context(&paris, &ca), cert_context(&berlin, &ca));
	p->dial.refusal = "chain";
	handshake(p);
	failed_as(&p->dial, -EACCES, "expired 2025-11-01");
	refused_as(&p->wait, "certificate expired");
	pair_free(p);
	cert_make(&(struct cert_wish){ .name = "berlin", .issuer = &ca }, &berlin);
	p = pair_new(cert_context(&paris, &ca), cert_context(&berlin, &ca));
	p->dial.refusal = p->wait.refusal = "chain";
	handshake(p);
	ck_assert(p->dial.is_up && p->wait.is_up);
	ck_assert_int_eq(p->wait.seen.chain, TLS_CHAIN_GOOD);
	pair_free(p);
}
END_TEST

/* Certificates that a server may show, and a client not. */
START_TEST(wrong_usage)
{
	struct tls_context *c = cert_node("paris");
	struct cert own;
	struct pair *p;

	cert_make(&(struct cert_wish){ .name = "paris", .only_servers = true }, &own);
	mbedtls_pk_free(&c->key);
	mbedtls_x509_crt_free(&c->own);
	mbedtls_pk_init(&c->key);
	mbedtls_x509_crt_init(&c->own);
	ck_assert_int_eq(tls_compat_parse_key(&c->key, (unsigned char *)own.key, strlen(own.key) + 1, &c->random.drbg), 0);
	ck_assert_int_eq(mbedtls_x509_crt_parse(&c->own, (unsigned char *)own.pem, strlen(own.pem) + 1), 0);
	p = pair_new(c, cert_node("berlin"));
	handshake(p);
	failed_as(&p->wait, -EACCES, "the other side's certificate may not be used by a client (key usage)");
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
	/* mbedTLS seals this alert of TLS 1.3 with a key of before: all that can be said is that there was one. */
	ck_assert(p->dial.is_up);
	opened(&p->dial, (uint8_t[100]){ 0 }, 100);
	failed_as(&p->dial, -EPROTO, "the other side gave up behind the handshake, for a reason that cannot be read (bad MAC)");
#else
	refused_as(&p->dial, "unsupported certificate");
#endif
	pair_free(p);
}
END_TEST

START_TEST(too_many_certificates)
{
	struct cert own;
	struct tls_material m;
	struct tls_context *c;
	struct pair *p;
	char why[TLS_TEXT_MAX], *text = calloc(1, 40 * sizeof(own.pem));

	cert_make(&(struct cert_wish){ .name = "paris", .key = CERT_RSA2048 }, &own);
	for (int i = 0; i < 18; i++)
		strcat(text, own.pem);
	m = (struct tls_material){ .key = cert_text(own.key), .certificate = cert_text(text) };
	ck_assert_msg(tls_context_new(&m, why, &c) == 0, "%s", why);
	p = pair_new(c, cert_node("berlin"));
	handshake(p);
	failed_as(&p->wait, -EPROTO, "the other side's part of the handshake is too large");
	ck_assert_int_eq(p->wait.checks, 0);
	pair_free(p);
	free(text);
}
END_TEST

/* Few bytes, but more links than anybody follows. */
START_TEST(too_long_a_chain)
{
	enum { N = 12 };
	static struct cert chain[N];
	struct tls_material m;
	struct tls_context *c;
	struct pair *p;
	char why[TLS_TEXT_MAX], *text = calloc(N, sizeof(chain[0].pem));

	for (int i = 0; i < N; i++) {
		char name[20];

		snprintf(name, sizeof(name), "c%d", i);
		cert_make(&(struct cert_wish){ .name = name, .issuer = i ? &chain[i - 1] : NULL, .is_ca = i < N - 1 }, &chain[i]);
	}
	for (int i = N - 1; i >= 0; i--)
		strcat(text, chain[i].pem);
	m = (struct tls_material){ .key = cert_text(chain[N - 1].key), .certificate = cert_text(text) };
	ck_assert_msg(tls_context_new(&m, why, &c) == 0, "%s", why);
	p = pair_new(c, cert_node("berlin"));
	handshake(p);
	failed_as(&p->wait, -EACCES, "the other side's chain of certificates is too long");
	ck_assert_int_eq(p->wait.checks, 0);
	pair_free(p);
	free(text);
}
END_TEST

/* ----------------------------------------------------------------- garbage -- */

static void
garbage_to(struct end *e, const char *data, size_t len)
{
	memcpy(e->in + e->in_len, data, len);
	e->in_len += len;
}

START_TEST(no_tls_at_all)
{
	static const char *const texts[] = { "GET / HTTP/1.1\r\n\r\n", "\x12\x0a\x05paris\x10\x01 and more",
		"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", "SSH-2.0-OpenSSH\r\n", "\xff\xff\xff\xff\xff\xff\xff\xff" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct pair *p = pair_new(cert_node("paris"), cert_node("berlin"));
		const uint8_t *alert;
		size_t n;

		garbage_to(&p->wait, texts[i], strlen(texts[i]));
		shake(&p->wait);
		failed_as(&p->wait, -EPROTO, "the other side does not speak TLS");
		alert = tls_out(p->wait.tls, &n);
		ck_assert_ptr_nonnull(alert);
		ck_assert_uint_eq(n, 7);
		ck_assert_mem_eq(alert, "\x15\x03\x03\x00\x02\x02", 6);
		shake(&p->dial);
		garbage_to(&p->dial, texts[i], strlen(texts[i]));
		shake(&p->dial);
		failed_as(&p->dial, -EPROTO, "the other side does not speak TLS");
		/* And it stays so. */
		p->dial.r = TLS_MORE;
		shake(&p->dial);
		ck_assert_int_eq(p->dial.r, TLS_FAILED);
		pair_free(p);
	}
}
END_TEST

/* A ClientHello of TLS 1.1, which offers nothing newer. */
START_TEST(only_old_versions)
{
	static const char hello[] = "\x16\x03\x01\x00\x31\x01\x00\x00\x2d\x03\x02"
				    "0123456789abcdef0123456789abcdef"
				    "\x00\x00\x04\xc0\x09\xc0\x0a\x01\x00\x00\x00";
	struct pair *p = pair_new(cert_node("paris"), cert_node("berlin"));
	const uint8_t *out;
	size_t n;

	garbage_to(&p->wait, hello, sizeof(hello) - 1);
	shake(&p->wait);
	failed_as(&p->wait, -EPROTO, "the other side speaks no TLS 1.2 or newer");
	out = tls_out(p->wait.tls, &n);
	ck_assert_uint_eq(n, 7);
	ck_assert_uint_eq(out[0], 21);
	ck_assert_uint_eq(out[5], 2);
	ck_assert_uint_eq(out[6], 70);
	pass(&p->wait, &p->dial, SIZE_MAX);
	shake(&p->dial);
	ck_assert_int_eq(p->dial.r, TLS_ALERT);
	ck_assert_str_eq(tls_why(p->dial.tls), "the other side gave up (alert: protocol version): no version of TLS in common");
	ck_assert_int_eq(tls_error(p->dial.tls), -EPROTO);
	pair_free(p);
}
END_TEST

START_TEST(garbage_after_the_handshake)
{
	static const char *const texts[] = { "GET / HTTP/1.1\r\n\r\n", "\x17\x02\x03", "\x17\x03\x03\xff\xff", "\x18" };
	uint8_t buf[100];

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct pair *p = usual();

		garbage_to(&p->wait, texts[i], i == 3 ? 1 : strlen(texts[i]));
		ck_assert(tls_has_record(p->wait.in, p->wait.in_len));
		ck_assert_uint_eq(opened(&p->wait, buf, sizeof(buf)), 0);
		failed_as(&p->wait, -EPROTO, "what came is no TLS record");
		pass(&p->wait, &p->dial, SIZE_MAX);
		ck_assert_uint_eq(opened(&p->dial, buf, sizeof(buf)), 0);
		ck_assert_int_eq(p->dial.r, TLS_ALERT);
		ck_assert_str_eq(tls_why(p->dial.tls), "the other side gave up (alert: decode error)");
		/* It is over: nothing is sealed or opened any more. */
		ck_assert_int_eq(tls_seal(p->wait.tls, &(struct iovec){ buf, 1 }, 1, 0), -EPROTO);
		pair_free(p);
	}
}
END_TEST

START_TEST(damaged_record)
{
	struct pair *p = usual();
	uint8_t buf[100];

	say(&p->dial, "bonjour", 7);
	pass(&p->dial, &p->wait, SIZE_MAX);
	p->wait.in[p->wait.in_len - 1] ^= 1;
	ck_assert_uint_eq(opened(&p->wait, buf, sizeof(buf)), 0);
	failed_as(&p->wait, -EPROTO, "a record was damaged or forged (bad MAC)");
	pass(&p->wait, &p->dial, SIZE_MAX);
	ck_assert_uint_eq(opened(&p->dial, buf, sizeof(buf)), 0);
	ck_assert_int_eq(p->dial.r, TLS_ALERT);
	ck_assert_str_eq(tls_why(p->dial.tls), "the other side gave up (alert: bad record MAC)");
	pair_free(p);
}
END_TEST

/* Records that are right, but not now. */
START_TEST(out_of_turn)
{
	struct pair *p = pair_new(cert_node("paris"), cert_node("berlin"));

	shake(&p->dial);
	pass(&p->dial, &p->wait, SIZE_MAX);
	shake(&p->wait);
	ck_assert_int_eq(p->wait.r, TLS_MORE);
	garbage_to(&p->wait, "\x17\x03\x03\x00\x03" "abc", 8);
	shake(&p->wait);
	ck_assert_int_eq(p->wait.r, TLS_FAILED);
	ck_assert_int_eq(tls_error(p->wait.tls), -EPROTO);
	pair_free(p);

	/* A close_notify instead of the server's first word. */
	p = pair_new(cert_node("paris"), cert_node("berlin"));
	shake(&p->dial);
	garbage_to(&p->dial, "\x15\x03\x03\x00\x02\x01\x00", 7);
	shake(&p->dial);
	failed_as(&p->dial, -ECONNRESET, "the other side closed during the TLS handshake");
	pair_free(p);
}
END_TEST

#if MBEDTLS_VERSION_NUMBER < 0x03000000
/* A warning is no data and no end. (TLS 1.3 has none.) */
START_TEST(warnings)
{
	struct pair *p = usual();
	uint8_t buf[100];
	size_t used, len;
	uint8_t *plain;

	ck_assert_int_eq(mbedtls_ssl_send_alert_message(&p->dial.tls->ssl, 1, MBEDTLS_SSL_ALERT_MSG_USER_CANCELED), 0);
	say(&p->dial, "bonjour", 7);
	pass(&p->dial, &p->wait, SIZE_MAX);
	ck_assert_int_eq(tls_open(p->wait.tls, p->wait.in, p->wait.in_len, &used, &plain, &len), TLS_READY);
	ck_assert_uint_eq(len, 0);
	ck_assert_uint_gt(used, 0);
	eat(&p->wait, used);
	ck_assert_uint_eq(opened(&p->wait, buf, sizeof(buf)), 7);
	pair_free(p);
}
END_TEST
#endif

/* A replayed record is as good as a damaged one. */
START_TEST(replayed_record)
{
	struct pair *p = usual();
	uint8_t buf[100], copy[200];
	size_t n;

	say(&p->dial, "bonjour", 7);
	n = pass(&p->dial, &p->wait, SIZE_MAX);
	memcpy(copy, p->wait.in, n);
	ck_assert_uint_eq(opened(&p->wait, buf, sizeof(buf)), 7);
	garbage_to(&p->wait, (char *)copy, n);
	ck_assert_uint_eq(opened(&p->wait, buf, sizeof(buf)), 0);
	ck_assert_int_eq(p->wait.r, TLS_FAILED);
	pair_free(p);
}
END_TEST

/* A handshake message in the clear behind the handshake: TLS 1.2 would begin anew with it. */
START_TEST(another_handshake)
{
	struct pair *p = usual();
	uint8_t buf[100];

	garbage_to(&p->wait, "\x16\x03\x03\x00\x04\x00\x00\x00\x00", 9);
	ck_assert_uint_eq(opened(&p->wait, buf, sizeof(buf)), 0);
	failed_as(&p->wait, -EPROTO, "the other side wants to negotiate again");
	pass(&p->wait, &p->dial, SIZE_MAX);
	ck_assert_uint_eq(opened(&p->dial, buf, sizeof(buf)), 0);
	ck_assert_str_eq(tls_why(p->dial.tls), "the other side gave up (alert: no renegotiation)");
	pair_free(p);
}
END_TEST

/* One byte of a handshake is wrong: whatever it is, nobody is up that should not be, and each end has an end. */
START_TEST(spoiled_handshakes)
{
	struct tls_context *paris = cert_node("paris"), *berlin = cert_node("berlin");
	unsigned failures = 0;

	srand((unsigned)_i);
	for (int i = 0; i < 40; i++) {
		struct pair *p = pair_new(tls_context_ref(paris), tls_context_ref(berlin));
		int at = rand() % 1200, bit = rand() % 8, passed = 0;
		bool from_dial = rand() % 2;
		size_t moved = 1;
		uint8_t buf[100];

		shake(&p->dial);
		while (moved > 0) {
			size_t a = pass(&p->dial, &p->wait, SIZE_MAX), b;

			if (from_dial && passed <= at && passed + (int)a > at)
				p->wait.in[p->wait.in_len - a + (size_t)(at - passed)] ^= (uint8_t)(1 << bit);
			passed += from_dial ? (int)a : 0;
			shake(&p->wait);
			b = pass(&p->wait, &p->dial, SIZE_MAX);
			if (!from_dial && passed <= at && passed + (int)b > at)
				p->dial.in[p->dial.in_len - b + (size_t)(at - passed)] ^= (uint8_t)(1 << bit);
			passed += from_dial ? 0 : (int)b;
			shake(&p->dial);
			moved = a + b;
		}
		if (p->dial.is_up && p->dial.in_len > 0)
			opened(&p->dial, buf, sizeof(buf));
		if (p->wait.is_up && p->wait.in_len > 0)
			opened(&p->wait, buf, sizeof(buf));
		for (struct end *e = &p->dial; e; e = e == &p->dial ? &p->wait : NULL) {
			if (e->r != TLS_FAILED && e->r != TLS_ALERT)
				continue;
			ck_assert(*tls_why(e->tls) && tls_error(e->tls) < 0);
			failures++;
		}
		/* The version in front of the first record means nothing: then all is well. */
		if (p->dial.is_up && p->wait.is_up && !tls_error(p->dial.tls) && !tls_error(p->wait.tls)) {
			p->dial.in_len = p->wait.in_len = 0;
			say_and_hear(&p->dial, &p->wait, "bonjour");
			say_and_hear(&p->wait, &p->dial, "hallo");
		}
		pair_free(p);
	}
	ck_assert_uint_gt(failures, 10);
	tls_context_unref(paris);
	tls_context_unref(berlin);
}
END_TEST

/* ------------------------------------------------------------------ the end -- */

START_TEST(end_in_order)
{
	struct pair *p = usual();
	uint8_t buf[100];

	say(&p->dial, "au revoir", 9);
	tls_close(p->dial.tls);
	pass(&p->dial, &p->wait, SIZE_MAX);
	ck_assert_uint_eq(opened(&p->wait, buf, sizeof(buf)), 9);
	ck_assert_uint_eq(opened(&p->wait, buf, sizeof(buf)), 0);
	ck_assert_int_eq(p->wait.r, TLS_END);
	ck_assert_uint_eq(opened(&p->wait, buf, sizeof(buf)), 0);
	ck_assert_int_eq(p->wait.r, TLS_END);
	ck_assert_int_eq(tls_input_ended(p->wait.tls), TLS_END);
	ck_assert_int_eq(tls_error(p->wait.tls), 0);
	/* The other direction goes on. */
	say_and_hear(&p->wait, &p->dial, "bis bald");
	pair_free(p);
}
END_TEST

START_TEST(cut_short)
{
	struct pair *p = usual();
	uint8_t buf[100];

	say(&p->dial, "au rev", 6);
	pass(&p->dial, &p->wait, SIZE_MAX);
	ck_assert_uint_eq(opened(&p->wait, buf, sizeof(buf)), 6);
	ck_assert_int_eq(tls_input_ended(p->wait.tls), TLS_FAILED);
	ck_assert_int_eq(tls_error(p->wait.tls), -ECONNRESET);
	ck_assert_str_eq(tls_why(p->wait.tls), "cut short: the stream ended without the other side's close_notify");
	pair_free(p);
	p = pair_new(cert_node("paris"), cert_node("berlin"));
	shake(&p->dial);
	ck_assert_int_eq(tls_input_ended(p->dial.tls), TLS_FAILED);
	ck_assert_str_eq(tls_why(p->dial.tls), "closed during the TLS handshake");
	tls_close(p->dial.tls); /* there is nothing to close yet */
	pair_free(p);
}
END_TEST

START_TEST(output_taken_away)
{
	struct pair *p = usual();
	uint8_t buf[100], *out;
	size_t n;

	ck_assert_ptr_null(tls_take_out(p->dial.tls, &n));
	ck_assert_uint_eq(n, 0);
	say(&p->dial, "au revoir", 9);
	tls_close(p->dial.tls);
	pass(&p->dial, &p->wait, 3);
	out = tls_take_out(p->dial.tls, &n);
	ck_assert_ptr_nonnull(out);
	garbage_to(&p->wait, (char *)out, n);
	free(out);
	ck_assert_ptr_null(tls_out(p->dial.tls, &n));
	ck_assert_uint_eq(opened(&p->wait, buf, sizeof(buf)), 9);
	ck_assert_uint_eq(opened(&p->wait, buf, sizeof(buf)), 0);
	ck_assert_int_eq(p->wait.r, TLS_END);
	pair_free(p);
}
END_TEST

/* ------------------------------------------------------------------ records -- */

static size_t
count_records(const uint8_t *out, size_t len)
{
	size_t n = 0;

	for (size_t at = 0; at < len; n++) {
		ck_assert_uint_le(at + 5, len);
		at += 5 + ((size_t)out[at + 3] << 8 | out[at + 4]);
		ck_assert_uint_le(at, len);
	}
	return n;
}

START_TEST(records_are_filled)
{
	enum { N = 384, SIZE = 128 };
	struct pair *p = usual();
	static uint8_t bytes[N * SIZE], got[N * SIZE];
	struct iovec iov[N];
	const uint8_t *out;
	size_t n, have = 0;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + (i >> 8));
	for (size_t i = 0; i < N; i++)
		iov[i] = (struct iovec){ bytes + i * SIZE, SIZE };
	ck_assert_int_eq(tls_seal(p->dial.tls, iov, N, 0), N * SIZE);
	/* 48 KiB: three records, and one more where a record of TLS 1.3 is a byte short of 16 KiB. */
	out = tls_out(p->dial.tls, &n);
	ck_assert_uint_ge(count_records(out, n), 3);
	ck_assert_uint_le(count_records(out, n), (sizeof(bytes) + p->dial.tls->payload_max - 1) / p->dial.tls->payload_max);
	while (pass(&p->dial, &p->wait, SIZE_MAX) > 0)
		;
	while (have < sizeof(bytes)) {
		size_t len = opened(&p->wait, got + have, sizeof(got) - have);

		ck_assert_uint_gt(len, 0);
		have += len;
	}
	ck_assert_mem_eq(got, bytes, sizeof(bytes));
	pair_free(p);
}
END_TEST

/* Pieces of all sizes, empty ones among them, from any place on. */
START_TEST(sealed_from_a_place_on)
{
	static const size_t sizes[] = { 0, 1, 0, 0, 17000, 5, 0, 16384, 100, 16383, 1, 0 };
	enum { N = sizeof(sizes) / sizeof(*sizes) };
	static uint8_t bytes[60000], got[60000];
	static const size_t skips[] = { 0, 1, 2, 9000, 17000, 17001, 17006, 33390, 49873, 49874 };

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + (i >> 8));
	for (size_t s = 0; s < sizeof(skips) / sizeof(*skips); s++) {
		struct pair *p = usual();
		struct iovec iov[N];
		size_t all = 0, have = 0;

		for (size_t i = 0; i < N; i++) {
			iov[i] = (struct iovec){ sizes[i] ? bytes + all : NULL, sizes[i] };
			all += sizes[i];
		}
		ck_assert_uint_eq(all, 49874);
		ck_assert_int_eq(tls_seal(p->dial.tls, iov, N, skips[s]), (ssize_t)(all - skips[s]));
		while (pass(&p->dial, &p->wait, SIZE_MAX) > 0)
			;
		while (have < all - skips[s])
			have += opened(&p->wait, got + have, sizeof(got) - have);
		ck_assert_mem_eq(got, bytes + skips[s], all - skips[s]);
		pair_free(p);
	}
}
END_TEST

START_TEST(output_is_bounded)
{
	struct pair *p = usual();
	uint8_t *bytes = calloc(1, 1 << 20);
	struct iovec iov = { bytes, 1 << 20 };
	ssize_t taken = tls_seal(p->dial.tls, &iov, 1, 0);
	size_t n;

	ck_assert_int_ge(taken, TLS_OUT_MARK - 16384);
	ck_assert_int_le(taken, TLS_OUT_MARK + 16384);
	tls_out(p->dial.tls, &n);
	ck_assert_uint_lt(n, TLS_OUT_MARK + TLS_RECORD_MAX);
	ck_assert_int_eq(tls_seal(p->dial.tls, &iov, 1, 0), 0);
	tls_sent(p->dial.tls, n - 100);
	ck_assert_int_gt(tls_seal(p->dial.tls, &iov, 1, (size_t)taken), 0);
	free(bytes);
	pair_free(p);
}
END_TEST

START_TEST(tired)
{
	struct pair *p = usual();

	say_and_hear(&p->dial, &p->wait, "bonjour");
	ck_assert(!tls_tired(p->dial.tls) && !tls_tired(p->wait.tls));
	ck_assert_uint_ge(p->dial.tls->tired, 1 << 24);
	p->dial.tls->tired = 2;
	p->wait.tls->tired = 2;
	ck_assert(!tls_tired(p->dial.tls) && !tls_tired(p->wait.tls));
	say_and_hear(&p->dial, &p->wait, "bonjour");
	ck_assert(tls_tired(p->dial.tls) && tls_tired(p->wait.tls));
	say_and_hear(&p->dial, &p->wait, "it goes on all the same");
	pair_free(p);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tls");
	TCase *t = tcase_create("tls");
	SRunner *sr;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, both_prove_themselves);
	tcase_add_test(t, byte_by_byte);
	tcase_add_test(t, data_behind_the_handshake);
	tcase_add_test(t, rsa_and_p384);
	tcase_add_test(t, nothing_is_resumed);
	tcase_add_test(t, refused_by_either);
	tcase_add_test(t, weak_peers);
	tcase_add_test(t, chains);
	tcase_add_test(t, chain_of_who_waits);
	tcase_add_test(t, wrong_usage);
	tcase_add_test(t, too_many_certificates);
	tcase_add_test(t, too_long_a_chain);
	tcase_add_test(t, no_tls_at_all);
	tcase_add_test(t, only_old_versions);
	tcase_add_test(t, garbage_after_the_handshake);
	tcase_add_test(t, damaged_record);
	tcase_add_test(t, replayed_record);
	tcase_add_test(t, out_of_turn);
#if MBEDTLS_VERSION_NUMBER < 0x03000000
	tcase_add_test(t, warnings);
#endif
	tcase_add_test(t, another_handshake);
	tcase_add_loop_test(t, spoiled_handshakes, 0, 2);
	tcase_add_test(t, end_in_order);
	tcase_add_test(t, cut_short);
	tcase_add_test(t, output_taken_away);
	tcase_add_test(t, records_are_filled);
	tcase_add_test(t, sealed_from_a_place_on);
	tcase_add_test(t, output_is_bounded);
	tcase_add_test(t, tired);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
