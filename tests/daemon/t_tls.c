/* Links over TLS, by fingerprint, by CA and by both; families; and what openssl makes of a node. */
#include <check.h>
#include <mbedtls/version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs.h"
#include "operator.h"
#include "ossl.h"
#include "program.h"
#include "raw.h"
#include "wire.h"

#define QUICK "backoff_min = 1ms\nbackoff_max = 50ms\n"
#define TLS "[listen \"wan\"]\naddress = tls://127.0.0.1:0\n"
#define QUEUE "[queue \"orders\"]\n"
#define KEY_MAX 80
#define SAYS_13 (MBEDTLS_VERSION_NUMBER >= 0x03060000)

static struct node paris, berlin;

/* ----------------------------------------------------------------- helpers */

/* The key of a node, made on its first use. */
static void
key_of(const struct node *n, char ret[static KEY_MAX])
{
	const char *const args[] = { "-k", "-c", n->conf, NULL };
	char err[1000];

	ck_assert_msg(node_run(args, ret, KEY_MAX, err, sizeof(err)) == 0, "%s", err);
	ret[strcspn(ret, "\n")] = '\0';
	ck_assert_uint_eq(strlen(ret), strlen("sha256:") + 44);
}

/* Keys of [node] for a certificate of our own making. */
static const char *
own(const char *name, const struct cert *c, const struct cert *ca, char buf[static 400])
{
	char file[40], key[NODES_PATH_MAX], pem[NODES_PATH_MAX], trust[NODES_PATH_MAX];

	snprintf(file, sizeof(file), "%s.key", name);
	nodes_file(key, file, c->key, strlen(c->key));
	snprintf(file, sizeof(file), "%s.pem", name);
	nodes_file(pem, file, c->pem, strlen(c->pem));
	nodes_file(trust, "ca.pem", ca ? ca->pem : "", ca ? strlen(ca->pem) : 0);
	snprintf(buf, 400, "key = %s\ncertificate = %s\n%s%s\n", key, pem, ca ? "ca = " : "", ca ? trust : "");
	return buf;
}

static const char *
fingerprint(const struct cert *c, char buf[static PIN_TEXT_MAX])
{
	struct tls_certificate read;
	char why[TLS_TEXT_MAX];

	ck_assert_msg(tls_certificate_read(cert_text(c->pem), why, &read) == 0, "%s", why);
	return pin_text(read.key, buf);
}

/* Each sends to the other; what arrives says how its origin is known. */
static void
exchange(struct node *a, struct node *b)
{
	struct node *ends[2] = { a, b };
	struct connectd *c[2] = { program_open(a, "a"), program_open(b, "b") };
	struct told told = { 0 };
	char dest[64];

	for (int i = 0; i < 2; i++) {
		snprintf(dest, sizeof(dest), "%s/orders", ends[!i]->name);
		program_send_numbers(c[i], dest, 1, 20, &told);
		program_flush(c[i]);
	}
	ck_assert_uint_eq(told.arrived, 40);
	for (int i = 0; i < 2; i++) {
		struct connectd_msg *m;

		program_consume(c[i], "orders", 0);
		m = program_expect(c[i], "1", 1);
		ck_assert_str_eq(connectd_msg_get_origin_node(m), ends[!i]->name);
		ck_assert_int_eq(connectd_msg_get_origin_proof(m), CONNECTD_PROOF_TLS);
		program_ack(c[i], m);
		program_expect_numbers(c[i], 2, 20);
	}
	connectd_close(c[0]);
	connectd_close(c[1]);
}

/* What an operator sees of a link that is up; until: as JSON, null for ever. */
static void
expect_shown(const struct node *n, const char *peer, const char *proof, const char *key, const char *until)
{
	struct operated r;
	char text[200];
	const char *at;

	operator_runs(n, &r, "peers --json");
	ck_assert_int_eq(r.code, 0);
	snprintf(text, sizeof(text), "\"name\":\"%s\"", peer);
	at = strstr(r.out, text);
	ck_assert_msg(at != NULL, "%s", r.out);
	for (int i = 0; i < 6; i++) {
		const char *const keys[] = { "state", "transport", "proof", "key", "tls_version", "cipher" };
		const char *const values[] = { "up", "tls", proof, key, SAYS_13 ? "TLSv1.3" : "TLSv1.2",
			SAYS_13 ? "TLS1-3-CHACHA20-POLY1305-SHA256" : "TLS-ECDHE-ECDSA-WITH-CHACHA20-POLY1305-SHA256" };

		snprintf(text, sizeof(text), "\"%s\":\"%s\"", keys[i], values[i]);
		ck_assert_msg(strstr(at, text) != NULL, "%s is not in %s", text, r.out);
	}
	snprintf(text, sizeof(text), "\"certificate_until\":%s", until);
	ck_assert_msg(strstr(at, text) != NULL, "%s is not in %s", text, r.out);
}

static void
up(void)
{
	node_await_peer(&paris, "berlin", "up");
	node_await_peer(&berlin, "paris", "up");
}

static void
end(void)
{
	node_check_books(&paris);
	node_check_books(&berlin);
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}

/* ------------------------------------------------------------ by their keys */

/* Both make their keys, each is told the other's; in a list of several it may stand anywhere. */
START_TEST(by_fingerprint)
{
#define ANOTHER "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	const char *before = _i == 2 ? ANOTHER ", " : "", *behind = _i == 1 ? ", " ANOTHER : "";
	char paris_key[KEY_MAX], berlin_key[KEY_MAX], at_paris[250], at_berlin[250];

	node_init(&paris, "paris", "%s", "");
	node_init(&berlin, "berlin", "%s", "");
	key_of(&paris, paris_key);
	key_of(&berlin, berlin_key);
	ck_assert_str_ne(paris_key, berlin_key);
	snprintf(at_paris, sizeof(at_paris), "%s%s%s", before, berlin_key, behind);
	snprintf(at_berlin, sizeof(at_berlin), "%s%s%s", before, paris_key, behind);
	node_configure(&berlin, TLS QUEUE "[peer \"paris\"]\nfingerprint = %s\n", at_berlin);
	node_start(&berlin);
	node_configure(&paris, QUEUE "[peer \"berlin\"]\naddress = %s\nfingerprint = %s\n" QUICK, berlin.url, at_paris);
	node_start(&paris);
	up();
	exchange(&paris, &berlin);
	expect_shown(&paris, "berlin", "fingerprint", berlin_key, "null");
	expect_shown(&berlin, "paris", "fingerprint", paris_key, "null");
	operator_does(&paris, paris_key, "key");
	/* The key is that of the node, not of a start. */
	node_kill(&paris);
	node_start(&paris);
	up();
	exchange(&paris, &berlin);
	end();
}
END_TEST

/* The first addresses are dead, one way or another. */
START_TEST(the_last_address)
{
	char paris_key[KEY_MAX], berlin_key[KEY_MAX];
	struct cert other;
	struct ossl *o;
	char key[NODES_PATH_MAX], pem[NODES_PATH_MAX];

	cert_make(&(struct cert_wish){ .name = "berlin" }, &other);
	nodes_file(key, "other.key", other.key, strlen(other.key));
	nodes_file(pem, "other.pem", other.pem, strlen(other.pem));
	/* Somebody with another key is not who we look for, and the next address is tried. */
	o = ossl_server("-cert %s -key %s", pem, key);
	node_init(&paris, "paris", "%s", "");
	node_init(&berlin, "berlin", "%s", "");
	key_of(&paris, paris_key);
	key_of(&berlin, berlin_key);
	node_configure(&berlin, "[listen \"wan\"]\naddress = tls://[::1]:0\n" QUEUE "[peer \"paris\"]\nfingerprint = %s\n", paris_key);
	node_start(&berlin);
	node_configure(&paris, QUEUE "[peer \"berlin\"]\naddress = tls://127.0.0.1:1, tls://nobody.invalid:7140, %s, %s\nfingerprint = %s\n" QUICK,
	    o->url, berlin.url, berlin_key);
	node_start(&paris);
	up();
	ck_assert(node_logged(&paris, "connection refused"));
	ck_assert(node_logged(&paris, "is no fingerprint of berlin"));
	exchange(&paris, &berlin);
	end();
	ossl_done(o);
}
END_TEST

/* --------------------------------------------------------------- by a CA -- */

/* By the CA alone, and by that and the key. */
START_TEST(by_ca)
{
	struct cert ca, paris_cert, berlin_cert;
	char paris_own[400], berlin_own[400], pins[2][PIN_TEXT_MAX], lines[2][200] = { "", "" };
	static const char *const names[] = { "www.example.net", "berlin", NULL };
	bool both = _i == 1;

	cert_make(&(struct cert_wish){ .name = "CA", .is_ca = true }, &ca);
	cert_make(&(struct cert_wish){ .name = "paris", .issuer = &ca, .to = "20400101000000", .serial = 2 }, &paris_cert);
	cert_make(&(struct cert_wish){ .name = "somebody", .names = names, .issuer = &ca, .serial = 3, .key = CERT_P384 }, &berlin_cert);
	fingerprint(&paris_cert, pins[0]);
	fingerprint(&berlin_cert, pins[1]);
	for (int i = 0; both && i < 2; i++)
		snprintf(lines[i], sizeof(lines[i]), "fingerprint = %s\n", pins[i]);
	node_init(&berlin, "berlin", "%s" TLS QUEUE "[peer \"paris\"]\n%s", own("berlin", &berlin_cert, &ca, berlin_own), lines[0]);
	node_start(&berlin);
	node_init(&paris, "paris", "%s" QUEUE "[peer \"berlin\"]\naddress = %s\n%s" QUICK, own("paris", &paris_cert, &ca, paris_own), berlin.url,
	    lines[1]);
	node_start(&paris);
	up();
	exchange(&paris, &berlin);
	expect_shown(&paris, "berlin", both ? "fingerprint and ca" : "ca", pins[1], "null");
	expect_shown(&berlin, "paris", both ? "fingerprint and ca" : "ca", pins[0], "\"2040-01-01T00:00:00.000Z\"");
	end();
}
END_TEST

/* ------------------------------------------------------------- a family -- */

static struct cert family_ca;

static void
till_start(struct node *n, const char *name, const char *hall_url)
{
	struct cert c;
	char keys[400];

	cert_make(&(struct cert_wish){ .name = name, .issuer = &family_ca }, &c);
	node_init(n, name, "%s" QUEUE "[peer \"hall\"]\naddress = %s\n" QUICK, own(name, &c, &family_ca, keys), hall_url);
	node_start(n);
	node_await_peer(n, "hall", "up");
}

static void
take_one(const struct node *n, const char *text)
{
	struct connectd *c = program_open(n, "till");
	struct connectd_msg *m;

	program_consume(c, "orders", 0);
	m = program_take(c);
	ck_assert_str_eq(program_text(m), text);
	ck_assert_str_eq(connectd_msg_get_origin_node(m), "hall");
	ck_assert_int_eq(connectd_msg_get_origin_proof(m), CONNECTD_PROOF_TLS);
	program_ack(c, m);
	connectd_close(c);
}

START_TEST(family)
{
	struct node hall, tills[4];
	struct cert c;
	struct connectd *p;
	struct told told = { 0 };
	struct raw *r;
	struct ossl *o;
	struct wire_frame hello = raw_hello_peer("till-1", "hall");
	char keys[400], key[NODES_PATH_MAX], pem[NODES_PATH_MAX], address[64];

	cert_make(&(struct cert_wish){ .name = "CA", .is_ca = true }, &family_ca);
	cert_make(&(struct cert_wish){ .name = "hall", .issuer = &family_ca }, &c);
	own("hall", &c, &family_ca, keys);
	node_init(&hall, "hall", "%s" TLS QUEUE "[peer \"till-*\"]\n", keys);
	node_start(&hall);
	till_start(&tills[0], "till-1", hall.url);
	till_start(&tills[1], "till-2", hall.url);
	exchange(&tills[0], &hall);
	exchange(&hall, &tills[1]);
	/* For two that never were here; one of them comes before the restart, the other behind it. */
	p = program_open(&hall, "hall");
	program_send_text(p, "till-3/orders", "for three", NULL);
	program_send_text(p, "till-4/orders", "for four", NULL);
	program_send_text(p, "shop-1/orders", "for nobody", &told);
	program_flush(p);
	ck_assert_uint_eq(told.rejected, 1);
	ck_assert_str_eq(told.reason, "no peer shop-1 is configured");
	node_await_queue(&hall, "till-4/orders", queue_holds, 1);
	till_start(&tills[2], "till-3", hall.url);
	take_one(&tills[2], "for three");
	connectd_close(p);
	ck_assert_int_eq(node_stop(&tills[2]), 0);
	snprintf(address, sizeof(address), "%s", hall.url);
	node_kill(&hall);
	node_configure(&hall, "%s[listen \"wan\"]\naddress = %s\n" QUEUE "[peer \"till-*\"]\n", keys, address);
	node_start(&hall);
	node_await_queue(&hall, "till-4/orders", queue_holds, 1);
	node_await_peer(&hall, "till-1", "up");
	node_await_peer(&hall, "till-2", "up");
	exchange(&tills[0], &hall);
	till_start(&tills[3], "till-4", hall.url);
	take_one(&tills[3], "for four");
	/* One member cannot be another one. */
	cert_make(&(struct cert_wish){ .name = "till-2", .issuer = &family_ca }, &c);
	nodes_file(key, "two.key", c.key, strlen(c.key));
	nodes_file(pem, "two.pem", c.pem, strlen(c.pem));
	o = ossl_client(&hall, "-cert %s -key %s", pem, key);
	r = o->raw;
	raw_frame(r, &hello);
	raw_until(r, WIRE_CLOSE);
	ck_assert_uint_eq(r->f.u.close.code, WIRE_CLOSE_DENIED);
	ck_assert(node_logged(&hall, "refused: denied (as till-1): its certificate is for till-2, not for till-1"));
	ossl_done(o);
	for (int i = 0; i < 4; i++)
		if (i != 2)
			ck_assert_int_eq(node_stop(&tills[i]), 0);
	node_check_books(&hall);
	ck_assert_int_eq(node_stop(&hall), 0);
}
END_TEST

/* --------------------------------------------------------------- openssl -- */

/* We dial it; whether it wants a certificate of ours is its business. */
START_TEST(openssl_waits)
{
	static const char *const options[] = { "-Verify 3", "" };
	struct wire_frame f = raw_hello_peer("rome", "");
	struct cert rome;
	struct ossl *o;
	char key[NODES_PATH_MAX], pem[NODES_PATH_MAX], pin[PIN_TEXT_MAX];

	cert_make(&(struct cert_wish){ .name = "rome" }, &rome);
	nodes_file(key, "rome.key", rome.key, strlen(rome.key));
	nodes_file(pem, "rome.pem", rome.pem, strlen(rome.pem));
	o = ossl_listener("-cert %s -key %s %s", pem, key, options[_i]);
	node_init(&berlin, "berlin", QUEUE "[peer \"rome\"]\naddress = %s\nfingerprint = %s\n" QUICK, o->url, fingerprint(&rome, pin));
	node_start(&berlin);
	raw_until(o->raw, WIRE_HELLO);
	ck_assert(wire_bytes_equal(o->raw->f.u.hello.dialled, wire_string("rome")));
	raw_frame(o->raw, &f);
	raw_until(o->raw, WIRE_KNOWN);
	raw_frame(o->raw, &(struct wire_frame){ .kind = WIRE_KNOWN });
	raw_until(o->raw, WIRE_ACCEPT);
	raw_alive(o->raw);
	node_await_peer(&berlin, "rome", "up");
	expect_shown(&berlin, "rome", "fingerprint", pin, "null");
	ossl_done(o);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

/* A daemon with a key of this kind, that lets rome in by its key; rome's files. */
static void
begin_scan(enum cert_key kind, char options[static 200])
{
	struct cert rome, mine;
	char keys[400], key[NODES_PATH_MAX], pem[NODES_PATH_MAX], pin[PIN_TEXT_MAX];

	cert_make(&(struct cert_wish){ .name = "rome" }, &rome);
	cert_make(&(struct cert_wish){ .name = "berlin", .key = kind }, &mine);
	nodes_file(key, "rome.key", rome.key, strlen(rome.key));
	nodes_file(pem, "rome.pem", rome.pem, strlen(rome.pem));
	node_init(&berlin, "berlin", "%s" TLS "[peer \"rome\"]\nfingerprint = %s\n", own("berlin", &mine, NULL, keys), fingerprint(&rome, pin));
	node_start(&berlin);
	snprintf(options, 200, "-cert %s -key %s", pem, key);
}

static struct ossl *
try(const char *key, const char *options)
{
	const struct wire_frame hello = raw_hello_peer("rome", "berlin");
	struct ossl *o = ossl_client(&berlin, "%s %s", key, options);

	raw_frame(o->raw, &hello);
	return o;
}

/* Does it get as far as the daemon's own Hello? */
static bool
is_in(struct ossl *o)
{
	bool in = raw_next(o->raw) == WIRE_HELLO;

	ossl_done(o);
	return in;
}

static bool
gets_in(const char *key, const char *options)
{
	return is_in(try(key, options));
}

#define AT_ONCE 4

/* Are exactly those of three let in? How many were. */
static int
scan(const char *key, const char *prefix, char *const names[], size_t n)
{
	static const char *const good[] = { "CHACHA20-POLY1305", "AES128-GCM-SHA256", "AES256-GCM-SHA384" };
	struct ossl *o[AT_ONCE];
	char options[200];
	int n_good = 0;

	for (size_t i = 0; i < n; i++) {
		snprintf(options, sizeof(options), "-tls1_2 -cipher %s@SECLEVEL=0", names[i]);
		o[i] = try(key, options);
	}
	for (size_t i = 0; i < n; i++) {
		bool is_good = false, in = is_in(o[i]);

		for (size_t j = 0; j < 3; j++)
			is_good |= strncmp(names[i], prefix, strlen(prefix)) == 0 && strcmp(names[i] + strlen(prefix), good[j]) == 0;
		ck_assert_msg(in == is_good, "%s %s", names[i], in ? "is accepted" : "is refused");
		n_good += in;
	}
	return n_good;
}

/* All suites of TLS 1.2 and before that openssl has, one by one: six are spoken, each with the kind of key that it is for. */
START_TEST(suites)
{
	char key[200], line[16384], *save = NULL, *names[AT_ONCE];
	int n_good = 0, n_all = 0;
	size_t n = 0;
	FILE *f;

	begin_scan(_i ? CERT_RSA2048 : CERT_P256, key);
	f = popen("openssl ciphers -s -tls1_2 ALL:eNULL@SECLEVEL=0", "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
	ck_assert_int_eq(pclose(f), 0);
	for (char *name = strtok_r(line, ":\n", &save); name; name = strtok_r(NULL, ":\n", &save), n_all++) {
		names[n++] = name;
		if (n < AT_ONCE)
			continue;
		n_good += scan(key, _i ? "ECDHE-RSA-" : "ECDHE-ECDSA-", names, n);
		n = 0;
	}
	n_good += scan(key, _i ? "ECDHE-RSA-" : "ECDHE-ECDSA-", names, n);
	ck_assert_int_eq(n_good, 3);
	ck_assert_int_ge(n_all, 60);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

/* And all versions, with whatever suite; of 1.3 the suites, where mbedTLS speaks it. */
START_TEST(versions)
{
	static const struct {
		const char *options;
		bool good;
	} cases[] = {
		{ "-tls1 -cipher ALL:eNULL@SECLEVEL=0", false },
		{ "-tls1_1 -cipher ALL:eNULL@SECLEVEL=0", false },
		{ "-tls1_2 -cipher ALL:eNULL@SECLEVEL=0", true },
		{ "-tls1_2", true },
		{ "", true },
		{ "-tls1_3", SAYS_13 },
		{ "-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256", SAYS_13 },
		{ "-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384", SAYS_13 },
		{ "-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256", SAYS_13 },
		{ "-tls1_3 -ciphersuites TLS_AES_128_CCM_SHA256", false },
		{ "-tls1_3 -ciphersuites TLS_AES_128_CCM_8_SHA256", false },
		{ "-groups P-256", true },
		{ "-tls1_2 -groups P-384:P-256", true },
		{ "-tls1_2 -groups X25519:P-256", true },
		{ "-tls1_2 -groups P-521", false },
		{ "-tls1_2 -groups X448", false },
	};
	char key[200];

	begin_scan(CERT_P256, key);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		ck_assert_msg(gets_in(key, cases[i].options) == cases[i].good, "s_client %s %s", cases[i].options,
		    cases[i].good ? "is refused" : "is accepted");
	/* Nor is anybody let in without a certificate. */
	ck_assert(!gets_in("", ""));
	ck_assert(!gets_in("", "-tls1_2"));
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tls");
	TCase *tc = tcase_create("tls");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, by_fingerprint, 0, 3);
	tcase_add_test(tc, the_last_address);
	tcase_add_loop_test(tc, by_ca, 0, 2);
	tcase_add_test(tc, family);
	tcase_add_loop_test(tc, openssl_waits, 0, 2);
	suite_add_tcase(s, tc);
	tc = tcase_create("scan");
	tcase_set_timeout(tc, 300); /* almost two hundred processes */
	tcase_add_loop_test(tc, suites, 0, 2);
	tcase_add_test(tc, versions);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
