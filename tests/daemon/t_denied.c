/*
 * Whom a node does not let in, and what one may not do who is in: each row of
 * these tables is a refusal that must be told, exactly, at both ends.
 */
#include <check.h>
#include <errno.h>
#include <mbedtls/version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certs.h"
#include "ossl.h"
#include "program.h"
#include "raw.h"
#include "wire.h"

#define QUICK "backoff_min = 1ms\nbackoff_max = 50ms\n"
#define TLS "[listen \"wan\"]\naddress = tls://127.0.0.1:0\n"
#define PLAIN "[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n"
#define NOBODY 65534

static struct cert ca, other_ca, old_ca;
/* The node that does not let others in, and its certificate; two that it knows by their keys. */
static struct node berlin;
static struct cert berlin_cert, rome, oslo;

static void
make_authorities(void)
{
	cert_make(&(struct cert_wish){ .name = "CA", .is_ca = true }, &ca);
	cert_make(&(struct cert_wish){ .name = "CA", .is_ca = true }, &other_ca);
	cert_make(&(struct cert_wish){ .name = "old CA", .is_ca = true, .to = "20250101000000" }, &old_ca);
}

static const char *
fingerprint(const struct cert *c, char buf[static PIN_TEXT_MAX])
{
	struct tls_certificate read;
	char why[TLS_TEXT_MAX];

	ck_assert_msg(tls_certificate_read(cert_text(c->pem), why, &read) == 0, "%s", why);
	return pin_text(read.key, buf);
}

static char *
file_of(const char *name, const void *data, size_t len, char path[static NODES_PATH_MAX])
{
	nodes_file(path, name, data, len);
	return path;
}

/* The keys of [node] that let a daemon be this one. */
static const char *
own(const char *name, const struct cert *c, char buf[static 300])
{
	char file[40], key[NODES_PATH_MAX], pem[NODES_PATH_MAX];

	snprintf(file, sizeof(file), "%s.key", name);
	file_of(file, c->key, strlen(c->key), key);
	snprintf(file, sizeof(file), "%s.pem", name);
	file_of(file, c->pem, strlen(c->pem), pem);
	snprintf(buf, 300, "key = %s\ncertificate = %s\n", key, pem);
	return buf;
}

/* What `peers` shows as the last error of one gets to hold this text, and so does what `why` says of it. */
static void
await_error(struct node *n, const char *peer, const char *text)
{
	uint64_t until = program_clock_ms() + PROGRAM_PATIENCE_MS;
	bool found = false;

	while (!found) {
		const Connectd__V1__Peer *p;
		struct answer a;

		node_ask(n, WIRE_ADMIN_PEERS, peer, 0, &connectd__v1__peer__descriptor, &a);
		ck_assert_uint_eq(a.n, 1);
		p = (const Connectd__V1__Peer *)a.items[0];
		found = strstr(p->last_error, text) != NULL;
		ck_assert_msg(found || program_clock_ms() < until, "%s at %s: %s, not: %s", peer, n->name, p->last_error, text);
		ck_assert_uint_eq(p->connects, 0);
		answer_free(&a);
	}
	node_await_why(n, peer, NULL, text);
}

/* ------------------------------------------- two daemons, one certificate -- */

static const char *const nameless[] = { NULL }, *const wild[] = { "*", "p*", "paris.*", NULL };

enum pinned { NO_PIN, ITS_PIN, OTHER_PIN };

/* A certificate of paris, and what berlin wants to see. */
static const struct fault {
	const char *label;
	struct cert_wish wish;         /* name NULL: paris */
	const struct cert *issuer;
	enum pinned pin;
	bool needs_ca;
	const char *crl_until;         /* berlin has a CRL, good until then, that revokes serial 9 */
	const char *as;                /* whom berlin takes it for when it dials in */
	const char *accepting;         /* what berlin says then */
	const char *dialling;          /* what it says when it dials; NULL: the same */
	const char *alert;             /* what paris makes of it */
} faults[] = {
	{ .label = "another key", .pin = OTHER_PIN, .as = "paris", .accepting = " is no fingerprint of any peer",
	    .dialling = " is no fingerprint of paris", .alert = "access denied): its key or name is no peer's there; the log there says more" },
	{ .label = "certificate of another node", .wish.name = "oslo", .issuer = &ca, .needs_ca = true, .as = "oslo",
	    .accepting = "its certificate is for oslo, which is no peer here", .dialling = "its certificate is for oslo, not for paris",
	    .alert = "access denied): its key or name is no peer's there; the log there says more" },
	{ .label = "no DNS name, the right CN", .wish.names = nameless, .issuer = &ca, .needs_ca = true, .as = "nobody",
	    .accepting = "its certificate has no DNS name that can be a node's (a CN or a wildcard is none)",
	    .alert = "access denied): its key or name is no peer's there; the log there says more" },
	{ .label = "wildcards", .wish.names = wild, .issuer = &ca, .needs_ca = true, .as = "nobody",
	    .accepting = "its certificate has no DNS name that can be a node's (a CN or a wildcard is none)",
	    .alert = "access denied): its key or name is no peer's there; the log there says more" },
	{ .label = "expired", .wish.to = "20251101000000", .issuer = &ca, .needs_ca = true, .as = "paris",
	    .accepting = "its certificate: expired 2025-11-01", .alert = "certificate expired): by the clock there" },
	{ .label = "not valid yet", .wish.from = "20960101000000", .issuer = &ca, .needs_ca = true, .as = "paris",
	    .accepting = "its certificate: is valid only from 2096-01-01",
	    .alert = "certificate unknown): not valid yet, or weakly signed; the log there says more" },
	{ .label = "revoked", .wish.serial = 9, .issuer = &ca, .needs_ca = true, .crl_until = "491231235959Z", .as = "paris",
	    .accepting = "its certificate: revoked", .alert = "certificate revoked): it is on the CRL there" },
	{ .label = "an old CRL", .issuer = &ca, .needs_ca = true, .crl_until = "250101000000Z", .as = "paris",
	    .accepting = "its certificate: the CRL should have been renewed",
	    .alert = "access denied): its key or name is no peer's there; the log there says more" },
	{ .label = "another CA", .issuer = &other_ca, .needs_ca = true, .as = "paris",
	    .accepting = "its certificate: not signed by a CA of ours", .alert = "unknown CA): no CA known there has signed it" },
	{ .label = "self-signed", .needs_ca = true, .as = "paris", .accepting = "its certificate: not signed by a CA of ours",
	    .alert = "unknown CA): no CA known there has signed it" },
	{ .label = "the CA itself expired", .issuer = &old_ca, .needs_ca = true, .as = "paris",
	    .accepting = "its certificate: its CA expired 2025-01-01", .alert = "certificate expired): by the clock there" },
	{ .label = "the right key, no CA", .pin = ITS_PIN, .needs_ca = true, .as = "paris",
	    .accepting = "its certificate: not signed by a CA of ours", .alert = "unknown CA): no CA known there has signed it" },
	{ .label = "the right key, another CA", .issuer = &other_ca, .pin = ITS_PIN, .needs_ca = true, .as = "paris",
	    .accepting = "its certificate: not signed by a CA of ours", .alert = "unknown CA): no CA known there has signed it" },
	{ .label = "the right CA, another key", .issuer = &ca, .pin = OTHER_PIN, .needs_ca = true, .as = "paris",
	    .accepting = " is no fingerprint of paris", .alert = "access denied): its key or name is no peer's there; the log there says more" },
	{ .label = "the right key and CA, another name", .wish.name = "oslo", .issuer = &ca, .pin = ITS_PIN, .needs_ca = true, .as = "oslo",
	    .accepting = "its certificate is for oslo, which is no peer here", .dialling = "its certificate is for oslo, not for paris",
	    .alert = "access denied): its key or name is no peer's there; the log there says more" },
	{ .label = "SHA-1", .wish.sha1 = true, .issuer = &ca, .needs_ca = true, .as = "paris",
	    .accepting = "its certificate: signed with a weak hash",
	    .alert = "certificate unknown): not valid yet, or weakly signed; the log there says more" },
};

/* Row i / 2; paris dials if i is even, else berlin. */
START_TEST(certificates)
{
	const struct fault *f = &faults[_i / 2];
	bool paris_dials = _i % 2 == 0;
	struct cert_wish wish = f->wish;
	struct cert paris_cert, other;
	struct node paris;
	char paris_own[300], berlin_own[300], trust[400] = "", pin[200] = "", key[PIN_TEXT_MAX], refusal[200], text[200], path[NODES_PATH_MAX];
	const char *why = !paris_dials && f->dialling ? f->dialling : f->accepting;

	make_authorities();
	wish.name = wish.name ? wish.name : "paris";
	wish.issuer = f->issuer;
	cert_make(&wish, &paris_cert);
	cert_make(&(struct cert_wish){ .name = "berlin", .issuer = f->needs_ca ? &ca : NULL }, &berlin_cert);
	cert_make(&(struct cert_wish){ .name = "paris" }, &other);
	if (f->needs_ca) {
		const struct cert *trusted = f->issuer == &old_ca ? &old_ca : &ca;

		snprintf(trust, sizeof(trust), "ca = %s\n", file_of("ca", trusted->pem, strlen(trusted->pem), path));
	}
	if (f->crl_until) {
		uint8_t crl[2000];
		size_t len = cert_revoke(&ca, 9, f->crl_until, crl, sizeof(crl)), at = strlen(trust);

		snprintf(trust + at, sizeof(trust) - at, "crl = %s\n", file_of("crl", crl, len, path));
	}
	if (f->pin != NO_PIN)
		snprintf(pin, sizeof(pin), "fingerprint = %s\n", fingerprint(f->pin == ITS_PIN ? &paris_cert : &other, key));
	snprintf(refusal, sizeof(refusal), "the other side refused our certificate (alert: %s", f->alert);
	own("paris", &paris_cert, paris_own);
	own("berlin", &berlin_cert, berlin_own);
	fingerprint(&berlin_cert, key);
	if (paris_dials) {
		node_init(&berlin, "berlin", "%s%s" TLS "[peer \"paris\"]\n%s", berlin_own, trust, pin);
		node_start(&berlin);
		node_init(&paris, "paris", "%s[peer \"berlin\"]\naddress = %s\nfingerprint = %s\n" QUICK, paris_own, berlin.url, key);
		node_start(&paris);
		snprintf(text, sizeof(text), "refused: denied (as %s): ", f->as);
		node_await_logged(&berlin, text);
		node_await_logged(&berlin, why);
		if (strcmp(f->as, "paris") == 0)
			await_error(&berlin, "paris", why);
		await_error(&paris, "berlin", refusal);
		node_await_why(&paris, "berlin", "refused", refusal);
		if (strcmp(f->as, "paris") == 0)
			node_await_why(&berlin, "paris", "denied", why);
		snprintf(text, sizeof(text), "peer berlin: %.180s", refusal);
		node_await_logged(&paris, text);
	} else {
		node_init(&paris, "paris", "%s" TLS "[peer \"berlin\"]\nfingerprint = %s\n", paris_own, key);
		node_start(&paris);
		node_init(&berlin, "berlin", "%s%s[peer \"paris\"]\naddress = %s\n%s" QUICK, berlin_own, trust, paris.url, pin);
		node_start(&berlin);
		await_error(&berlin, "paris", why);
		node_await_why(&berlin, "paris", "denied", why);
		node_await_logged(&berlin, why);
		node_await_logged(&berlin, "(denied), retrying in");
		node_await_logged(&paris, refusal);
		await_error(&paris, "berlin", "");
	}
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

/* ---------------------------------------------- openssl at the other end -- */

/* rome is configured by the certificate wished for. */
static void
begin_with(const struct cert_wish *wish, const char *listener, const char *rest)
{
	char berlin_own[300], rome_key[PIN_TEXT_MAX], oslo_key[PIN_TEXT_MAX];

	cert_make(wish, &rome);
	cert_make(&(struct cert_wish){ .name = "oslo" }, &oslo);
	cert_make(&(struct cert_wish){ .name = "berlin" }, &berlin_cert);
	node_init(&berlin, "berlin", "%s%s[peer \"oslo\"]\nfingerprint = %s\n[peer \"rome\"]\nfingerprint = %s\n%s",
	    own("berlin", &berlin_cert, berlin_own), listener, fingerprint(&oslo, oslo_key), fingerprint(&rome, rome_key), rest);
	node_start(&berlin);
}

static void
begin(const char *listener, const char *rest)
{
	begin_with(&(struct cert_wish){ .name = "rome" }, listener, rest);
}

static void
end(void)
{
	node_check_books(&berlin);
	ck_assert_int_eq(node_stop(&berlin), 0);
}

/* s_client's options for a certificate. */
static const char *
with(const char *name, const struct cert *c, char buf[static 200])
{
	char file[40], key[NODES_PATH_MAX], pem[NODES_PATH_MAX];

	snprintf(file, sizeof(file), "%s.key", name);
	file_of(file, c->key, strlen(c->key), key);
	snprintf(file, sizeof(file), "%s.pem", name);
	file_of(file, c->pem, strlen(c->pem), pem);
	snprintf(buf, 200, "-cert %s -key %s", pem, key);
	return buf;
}

#define WEAKEST "@SECLEVEL=0"

/* Dialled by something that is refused in the handshake: the alert it gets, and what the daemon says. */
static const struct handshake {
	const char *label;
	struct cert_wish wish; /* name NULL: it shows no certificate */
	const char *options;
	int alert;
	const char *why;
} handshakes[] = {
	{ .label = "no certificate", .options = "-tls1_2", .alert = 40, .why = "refused: denied (as nobody): the other side shows no certificate" },
	{ .label = "P-192", .wish = { .name = "rome", .key = CERT_P192 },
	    .options = "-tls1_2 -cipher ALL" WEAKEST " -curves P-256:P-192 -sigalgs ECDSA+SHA256", .alert = 43,
	    .why = "refused: denied (as rome): the other side's certificate: weak curve secp192r1, not P-256 or P-384" },
	{ .label = "P-521", .wish = { .name = "rome", .key = CERT_P521 }, .options = "-tls1_2", .alert = 43,
	    .why = "refused: denied (as rome): the other side's certificate: curve secp521r1, not P-256 or P-384" },
	{ .label = "RSA of 1024 bits", .wish = { .name = "rome", .key = CERT_RSA1024 }, .options = "-tls1_2 -cipher ALL" WEAKEST,
	    .alert = 43,
	    .why = "refused: denied (as rome): the other side's certificate: weak key: RSA of 1024 bits, not of 2048 or more" },
	{ .label = "for servers only", .wish = { .name = "rome", .only_servers = true }, .options = "-tls1_2", .alert = 43,
	    .why = "refused: denied (as rome): the other side's certificate may not be used by a client (key usage)" },
	{ .label = "TLS 1.0", .wish.name = "rome", .options = "-tls1 -cipher ALL" WEAKEST, .alert = 70,
	    .why = "refused: protocol: the other side speaks no TLS 1.2 or newer" },
	{ .label = "TLS 1.1", .wish.name = "rome", .options = "-tls1_1 -cipher ALL" WEAKEST, .alert = 70,
	    .why = "refused: protocol: the other side speaks no TLS 1.2 or newer" },
	{ .label = "CBC only", .wish.name = "rome", .options = "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA256", .alert = 40,
	    .why = "refused: protocol: no cipher suite, group or signature in common" },
	{ .label = "CCM only", .wish.name = "rome", .options = "-tls1_2 -cipher ECDHE-ECDSA-AES128-CCM", .alert = 40,
	    .why = "refused: protocol: no cipher suite, group or signature in common" },
	{ .label = "exchange by RSA only", .wish.name = "rome", .options = "-tls1_2 -cipher AES128-GCM-SHA256", .alert = 40,
	    .why = "refused: protocol: no cipher suite, group or signature in common" },
	{ .label = "finite fields only", .wish.name = "rome", .options = "-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256", .alert = 40,
	    .why = "refused: protocol: no cipher suite, group or signature in common" },
	{ .label = "no encryption", .wish.name = "rome", .options = "-tls1_2 -cipher eNULL" WEAKEST, .alert = 40,
	    .why = "refused: protocol: no cipher suite, group or signature in common" },
	{ .label = "P-521 only", .wish.name = "rome", .options = "-tls1_2 -groups P-521", .alert = 40,
	    .why = "refused: protocol: no cipher suite, group or signature in common" },
	{ .label = "key of nobody", .wish.name = "rome", .options = "-tls1_2", .alert = 49,
	    .why = "refused: denied (as rome): its key sha256:" },
};

START_TEST(in_the_handshake)
{
	const struct handshake *h = &handshakes[_i];
	char options[200] = "", text[60];
	struct cert shown;
	struct ossl *o;

	/* The key it shows is the one that is expected, and no good all the same. */
	begin_with(h->wish.name ? &h->wish : &(struct cert_wish){ .name = "rome" }, TLS, "");
	if (h->wish.name) {
		shown = rome;
		if (h->alert == 49)
			cert_make(&h->wish, &shown);
		with("shown", &shown, options);
	}
	o = ossl_client(&berlin, "%s %s", options, h->options);
	snprintf(text, sizeof(text), "SSL alert number %d", h->alert);
	ck_assert_msg(ossl_await(o, text), "%s: %.2000s", h->label, o->said);
	node_await_logged(&berlin, h->why);
	if (strstr(h->why, "(as rome)"))
		await_error(&berlin, "rome", strstr(h->why, "): ") + 3);
	ossl_done(o);
	end();
}
END_TEST

/* What openssl says to a list of versions, as who speaks 1.3 sends it, and to the first suites of 1.2 where there is none. */
#if MBEDTLS_VERSION_NUMBER >= 0x03060000
#define TOO_OLD "the other side gave up (alert: protocol version): no version of TLS in common", "unsupported protocol"
#else
#define TOO_OLD \
	"the other side gave up (alert: handshake failure): no cipher suite, group or signature in common, or it wants a certificate", \
	    "no shared cipher"
#endif

/* We dial what is no peer as it should be. Its options; what we say. */
static const struct server {
	const char *label;
	struct cert_wish wish;
	const char *options, *why, *said; /* by s_server; NULL: it depends */
} servers[] = {
	{ "RSA of 1024 bits", { .name = "rome", .key = CERT_RSA1024 }, "-tls1_2 -cipher ALL" WEAKEST,
	    "the other side's certificate: weak key: RSA of 1024 bits, not of 2048 or more (denied)", "SSL alert number 43" },
	{ "another key", { .name = "rome" }, "-tls1_2", " is no fingerprint of rome (denied)", "SSL alert number 49" },
	{ "no certificate", { .name = NULL }, "-tls1_2 -nocert -cipher ALL:aNULL" WEAKEST,
	    "the other side gave up (alert: handshake failure): no cipher suite, group or signature in common, or it wants a certificate",
	    "no shared cipher" },
	{ "CBC only", { .name = "rome" }, "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA256",
	    "the other side gave up (alert: handshake failure): no cipher suite, group or signature in common, or it wants a certificate",
	    "no shared cipher" },
	{ "TLS 1.1", { .name = "rome" }, "-tls1_1 -cipher ALL" WEAKEST, TOO_OLD },
	/* It wants a certificate of its CAs, of which it has none. */
	{ "it does not want us", { .name = "rome" }, "-tls1_2 -Verify 3 -verify_return_error",
	    "the other side refused our certificate (alert: unknown CA): no CA known there has signed it", "verify" },
};

START_TEST(by_the_dialler)
{
	const struct server *v = &servers[_i];
	bool denied = strstr(v->why, " (denied)") != NULL;
	char options[200] = "", key[PIN_TEXT_MAX], why[300];
	struct cert shown, pinned;
	struct node n;
	struct ossl *o;

	cert_make(&(struct cert_wish){ .name = "rome" }, &pinned);
	if (v->wish.name) {
		cert_make(&v->wish, &shown);
		with("shown", &shown, options);
		if (strcmp(v->label, "another key") != 0)
			pinned = shown;
	}
	o = ossl_server("%s %s", options, v->options);
	node_init(&n, "berlin", "[peer \"rome\"]\naddress = %s\nfingerprint = %s\n" QUICK, o->url, fingerprint(&pinned, key));
	node_start(&n);
	node_await_logged(&n, v->why);
	snprintf(why, sizeof(why), "%.*s", (int)(strlen(v->why) - (denied ? strlen(" (denied)") : 0)), v->why);
	node_await_why(&n, "rome", denied ? "denied" : strstr(v->why, "refused our certificate") ? "refused" : "unreachable", why);
	ck_assert_msg(ossl_await(o, v->said), "%s: %.2000s", v->label, o->said);
	ck_assert_int_eq(node_stop(&n), 0);
	ossl_done(o);
}
END_TEST

/* ------------------------------------------------------- before it is in -- */

/* Close, with this code and reason. */
static void
expect_close(struct raw *r, const char *label, enum wire_close_code code, const char *reason)
{
	raw_until(r, WIRE_CLOSE);
	ck_assert_msg(r->f.u.close.code == code && wire_bytes_equal(r->f.u.close.reason, wire_string(reason)), "%s: closed (%s): %.*s", label,
	    wire_close_name(r->f.u.close.code), (int)r->f.u.close.reason.len, (const char *)r->f.u.close.reason.data);
}

#define LIMA "[peer \"lima\"]\nplaintext = yes\nfrom = 192.0.2.0/24, 127.0.0.2\n"

/* A Hello that is refused. berlin is told to dial `to`, or whoever greets is no node. */
static const struct greeting {
	const char *label, *listener, *rest; /* rest: of rome's section, and further ones */
	bool tls;                            /* with the key of rome */
	const char *name, *to;
	enum wire_role role;
	enum wire_close_code code;
	const char *reason, *why; /* in Close; in the log, NULL: the same */
	const char *at;           /* the peer at which it is shown */
} greetings[] = {
	{ "the key of rome, the name of oslo", TLS, "", true, "oslo", "berlin", WIRE_ROLE_PEER, WIRE_CLOSE_DENIED,
	    "the certificate is not that of the node it says it is", " is no fingerprint of oslo", "oslo" },
	{ "no configured peer", TLS, "", true, "madrid", "berlin", WIRE_ROLE_PEER, WIRE_CLOSE_WRONG_NAME, "not known here", NULL, NULL },
	{ "no name", TLS, "", true, "No Name", "berlin", WIRE_ROLE_PEER, WIRE_CLOSE_WRONG_NAME, "not known here", NULL, NULL },
	{ "the name of this node", TLS, "", true, "berlin", "berlin", WIRE_ROLE_PEER, WIRE_CLOSE_WRONG_NAME, "not known here", NULL, NULL },
	{ "another node dialled", TLS, "", true, "rome", "paris", WIRE_ROLE_PEER, WIRE_CLOSE_WRONG_NAME,
	    "this is another node than the one dialled", NULL, "rome" },
	{ "a client on the port for nodes", TLS, "", true, "shop", "", WIRE_ROLE_CLIENT, WIRE_CLOSE_PROTOCOL,
	    "this listener is for other nodes", NULL, NULL },
	{ "a client on the port for nodes, in plaintext", PLAIN, "", false, "shop", "", WIRE_ROLE_CLIENT, WIRE_CLOSE_PROTOCOL,
	    "this listener is for other nodes", NULL, NULL },
	{ "from elsewhere, with TLS", TLS, "from = 192.0.2.0/24, ::1\n", true, "rome", "berlin", WIRE_ROLE_PEER, WIRE_CLOSE_DENIED,
	    "this peer may not come from this address", NULL, "rome" },
	{ "from elsewhere, in plaintext", PLAIN, LIMA, false, "lima", "berlin", WIRE_ROLE_PEER, WIRE_CLOSE_DENIED,
	    "this peer may not come from this address", NULL, "lima" },
	{ "in plaintext, though it has a fingerprint", PLAIN, "", false, "rome", "berlin", WIRE_ROLE_PEER, WIRE_CLOSE_DENIED,
	    "plaintext is not allowed here for this peer", "plaintext is not allowed for rome", "rome" },
	{ "with the key of rome, the name of one that may come in plaintext", TLS, LIMA, true, "lima", "berlin", WIRE_ROLE_PEER,
	    WIRE_CLOSE_DENIED, "the certificate is not that of the node it says it is", "lima has neither fingerprint nor CA here", "lima" },
};

START_TEST(by_its_greeting)
{
	const struct greeting *g = &greetings[_i];
	struct wire_frame hello = raw_hello_peer(g->name, g->to);
	char options[200], text[300], name[80];
	struct ossl *o = NULL;
	struct raw *r;

	begin(g->listener, g->rest);
	if (g->tls)
		o = ossl_client(&berlin, "%s", with("rome", &rome, options));
	r = g->tls ? o->raw : raw_peer(&berlin);
	hello.u.hello.role = g->role;
	raw_frame(r, &hello);
	expect_close(r, g->label, g->code, g->reason);
	snprintf(name, sizeof(name), "%s", names_node_ok(g->name, strlen(g->name)) ? g->name : "nobody");
	snprintf(text, sizeof(text), "refused: %s (as %s): %s", wire_close_name(g->code), name, g->why ? "" : g->reason);
	node_await_logged(&berlin, text);
	if (g->why)
		node_await_logged(&berlin, g->why);
	if (g->at)
		await_error(&berlin, g->at, g->why ? g->why : g->reason);
	if (o)
		ossl_done(o);
	else
		raw_close(r);
	end();
}
END_TEST

/* Bytes that are no greeting, and what comes back: the first two, or Close. */
static const struct noise {
	const char *label, *listener, *bytes, *back, *why;
} noises[] = {
	{ "a Hello onto TLS", TLS, NULL, "\x15\x03", "refused: protocol: the other side does not speak TLS" },
	{ "HTTP onto TLS", TLS, "GET / HTTP/1.1\r\n\r\n", "\x15\x03", "refused: protocol: the other side does not speak TLS" },
	{ "SSL 2 onto TLS", TLS, "\x80\x2e\x01\x03\x01", "\x15\x03", "refused: protocol: the other side does not speak TLS" },
	{ "HTTP onto TCP", PLAIN, "GET / HTTP/1.1\r\nHost: berlin\r\nUser-Agent: something of more bytes than a G says that follow\r\n\r\n", NULL,
	    "refused: protocol: the first frame is not a Hello: this is not connectd's protocol" },
	{ "TLS onto TCP", PLAIN, "\x16\x03\x01\x02", NULL,
	    "refused: protocol: TLS is not spoken here: the address to dial begins with tcp://, or the listener's should with tls://" },
};

START_TEST(by_its_first_bytes)
{
	const struct noise *w = &noises[_i];
	const struct wire_frame hello = raw_hello_peer("rome", "berlin");
	char back[2];
	struct raw *r;

	begin(w->listener, "");
	r = raw_peer(&berlin);
	if (w->bytes)
		raw_bytes(r, w->bytes, strlen(w->bytes));
	else
		raw_frame(r, &hello);
	if (w->back) {
		ck_assert_msg(recv(r->fd, back, 2, MSG_WAITALL) == 2 && memcmp(back, w->back, 2) == 0, "%s: no alert", w->label);
		raw_close(r);
	} else {
		expect_close(r, w->label, WIRE_CLOSE_PROTOCOL, strstr(w->why, "protocol: ") + strlen("protocol: "));
		raw_close(r);
	}
	node_await_logged(&berlin, w->why);
	end();
}
END_TEST

/* One end takes the address for one with TLS, the other does not. */
START_TEST(by_the_scheme)
{
	char key[PIN_TEXT_MAX], address[80], peer[200];
	struct cert paris_cert;
	struct node paris;
	bool tls = _i == 0; /* the dialler's opinion */

	cert_make(&(struct cert_wish){ .name = "paris" }, &paris_cert);
	begin(tls ? PLAIN : TLS, "");
	snprintf(address, sizeof(address), "%s%.60s", tls ? "tls" : "tcp", berlin.url + 3);
	snprintf(peer, sizeof(peer), tls ? "fingerprint = %s\n" : "plaintext = yes\n", fingerprint(&paris_cert, key));
	node_init(&paris, "paris", "[peer \"berlin\"]\naddress = %s\n%s" QUICK, address, peer);
	node_start(&paris);
	await_error(&paris, "berlin", tls ? "the other side does not speak TLS" : "the other side speaks TLS: its address begins with tls://");
	node_await_logged(&berlin,
	    tls ? "refused: protocol: TLS is not spoken here: the address to dial begins with tcp://, or the listener's should with tls://" :
		  "refused: protocol: the other side does not speak TLS");
	ck_assert_int_eq(node_stop(&paris), 0);
	end();
}
END_TEST

/* What would let somebody in without a proof is no configuration to start with. */
static const struct {
	const char *rest, *why;
} configurations[] = {
	{ "[listen \"lan\"]\naddress = tcp://127.0.0.1:0\n", "it needs plaintext = yes in [listen \"lan\"]" },
	{ "[peer \"rome\"]\naddress = tcp://127.0.0.1:1\n", "it needs plaintext = yes in [peer \"rome\"], or take tls://" },
	{ "[peer \"rome\"]\n", "nothing proves that a node is [peer \"rome\"]: give the fingerprint" },
	{ "[peer \"rome\"]\nplaintext = yes\n", "with plaintext = yes it needs from, the networks it may come from" },
	{ "[peer \"rome\"]\naddress = tls://127.0.0.1:1\nplaintext = yes\n", "TLS needs a fingerprint of [peer \"rome\"], or a ca in [node]" },
	{ "[peer \"till-*\"]\n", "is for many nodes: only a ca in [node] can tell them apart" },
	{ "[peer \"rome\"]\naddress = tcp://127.0.0.1:1, tls://127.0.0.1:2\nfingerprint = "
	  "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", "it needs plaintext = yes in [peer \"rome\"], or take tls://" },
	{ "[peer \"rome\"]\naddress = tcp://127.0.0.1:1, tls://127.0.0.1:2\nplaintext = yes\n",
	    "TLS needs a fingerprint of [peer \"rome\"], or a ca in [node]" },
	{ "[peer \"rome\"]\naddress = tcp://127.0.0.1:1\nplaintext = yes\nfingerprint = "
	  "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", "without encryption nobody can prove a key; remove one of the two" },
	{ "ca = ca.pem\n[peer \"rome\"]\naddress = tcp://127.0.0.1:1\nplaintext = yes\n", "its peers prove who they are; remove one of the two" },
	{ "crl = crl.pem\n", "crl is what a CA has revoked, and there is no ca" },
};

START_TEST(by_the_configuration)
{
	struct node n;

	node_init(&n, "berlin", "%s", configurations[_i].rest);
	ck_assert_int_eq(node_refuses(&n), 78);
	ck_assert_msg(node_logged(&n, configurations[_i].why), "%s", configurations[_i].rest);
}
END_TEST

/* --------------------------------------------------------- when it is in -- */

#define QUEUES \
	"[queue \"*\"]\nmax_messages = 100\n[queue \"orders-*\"]\n[queue \"inbox\"]\n[queue \"closed\"]\nsend = peer:oslo\n" \
	"receive = user:1\nbrowse = none\n"

static struct ossl *
met(char options[static 200])
{
	struct ossl *o = ossl_client(&berlin, "%s", with("rome", &rome, options));

	raw_meet(o->raw, "rome", &berlin);
	return o;
}

static void
open_flow(struct raw *r, const char *address, const char *producer)
{
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = 1, .address = wire_string(address),
	    .producer = wire_string(producer), .highest_used = UINT64_MAX } });
}

static const struct destination {
	const char *address;
	enum wire_verdict verdict;
	const char *reason;
} destinations[] = {
	{ "$events", WIRE_VERDICT_DENIED, "only the daemon uses names that start with $" },
	{ "$producers/x", WIRE_VERDICT_DENIED, "only the daemon uses names that start with $" },
	{ "inbox.dead", WIRE_VERDICT_DENIED, "only the daemon puts messages into a dead-letter queue" },
	{ "orders-1.dead", WIRE_VERDICT_DENIED, "only the daemon puts messages into a dead-letter queue" },
	{ "anything", WIRE_VERDICT_NO_QUEUE, "no such queue, and no section of the configuration lets peers make it" },
	{ "closed", WIRE_VERDICT_DENIED, "not in the queue's send list" },
	{ "oslo/inbox", WIRE_VERDICT_DENIED, "a peer may only send to queues of this node" },
	{ "../inbox", WIRE_VERDICT_BAD_ADDRESS, "not a queue or node/queue" },
	{ "inbox", WIRE_VERDICT_OK, "" },
	{ "orders-1", WIRE_VERDICT_OK, "" },
};

START_TEST(by_the_destination)
{
	const struct destination *d = &destinations[_i];
	char options[200], text[300];
	struct ossl *o;

	begin(TLS, QUEUES);
	o = met(options);
	open_flow(o->raw, d->address, "");
	raw_until(o->raw, WIRE_FLOW_STATE);
	ck_assert_msg(o->raw->f.u.flow_state.verdict == d->verdict && wire_bytes_equal(o->raw->f.u.flow_state.reason, wire_string(d->reason)),
	    "%s: %s, %.*s", d->address, wire_verdict_name(o->raw->f.u.flow_state.verdict), (int)o->raw->f.u.flow_state.reason.len,
	    (const char *)o->raw->f.u.flow_state.reason.data);
	snprintf(text, sizeof(text), "info berlin: peer rome: may not send to %s: %s (%s)", d->address, d->reason,
	    wire_verdict_name(d->verdict));
	if (d->verdict != WIRE_VERDICT_OK)
		node_await_logged(&berlin, text);
	raw_alive(o->raw);
	ossl_done(o);
	end();
}
END_TEST

/* The same as a daemon hears it, and the program behind that. */
START_TEST(by_the_destination_told)
{
	static const char *const queues[] = { "closed", "anything" };
	char keys[300], key[PIN_TEXT_MAX], dest[80], text[300];
	struct told told = { 0 };
	struct node paris;
	struct connectd *c;

	begin(TLS, QUEUES);
	/* It is rome, by its key. */
	fingerprint(&berlin_cert, key);
	node_init(&paris, "rome", "%s[peer \"berlin\"]\naddress = %s\nfingerprint = %s\n" QUICK, own("rome", &rome, keys), berlin.url, key);
	node_start(&paris);
	c = program_open(&paris, "sender");
	for (size_t i = 0; i < 2; i++) {
		const char *reason = strcmp(queues[i], "closed") == 0 ? "not in the queue's send list" :
		                                                        "no such queue, and no section of the configuration lets peers make it";

		snprintf(dest, sizeof(dest), "berlin/%s", queues[i]);
		program_send_text(c, dest, "text", &told);
		program_flush(c);
		ck_assert_uint_eq(told.rejected, i + 1);
		ck_assert_str_eq(told.reason, reason);
		snprintf(text, sizeof(text), "warning rome: peer berlin: %s refused: %s", dest, reason);
		node_await_logged(&paris, text);
		snprintf(text, sizeof(text), "info berlin: peer rome: may not send to %s: %s", queues[i], reason);
		node_await_logged(&berlin, text);
	}
	connectd_close(c);
	ck_assert_int_eq(node_stop(&paris), 0);
	end();
}
END_TEST

/* What ends the session of a peer that is in. */
static const struct {
	const char *label, *reason;
} forgeries[] = {
	{ "the origin of another node", "an origin that is malformed or not its to tell" },
	{ "the origin of this node", "an origin that is malformed or not its to tell" },
	{ "a producer of somebody else", "a flow with a bad priority or producer" },
	{ "a subscription", "a frame out of place" },
	{ "administration", "a frame out of place" },
};

START_TEST(by_what_it_says)
{
	const struct wire_origin origin = { .node = wire_string(_i == 0 ? "oslo" : "berlin"), .proof = WIRE_PROOF_LOCAL, .boot_id = 5 };
	char options[200], text[300];
	uint8_t packed[256];
	struct wire_frame f;
	struct ossl *o;
	struct answer a;

	begin(TLS, QUEUES);
	o = met(options);
	switch (_i) {
	case 0:
	case 1:
		f = (struct wire_frame){ .kind = WIRE_DEFINE,
			.u.define = { WIRE_DEFINE_ORIGIN, 1, wire_bytes(packed, wire_pack_origin(&origin, packed)) } };
		raw_frame(o->raw, &f);
		break;
	case 2:
		open_flow(o->raw, "inbox", "a producer");
		break;
	case 3:
		raw_frame(o->raw, &(struct wire_frame){ .kind = WIRE_SUBSCRIBE, .u.subscribe = { .subscription = 1, .queue = wire_string("inbox") } });
		break;
	default:
		raw_frame(o->raw, &(struct wire_frame){ .kind = WIRE_ADMIN_REQUEST, .u.admin_request = { .id = 1, .verb = WIRE_ADMIN_STATUS } });
		break;
	}
	expect_close(o->raw, forgeries[_i].label, WIRE_CLOSE_PROTOCOL, forgeries[_i].reason);
	snprintf(text, sizeof(text), "peer rome: %s (protocol), waiting to be dialled", forgeries[_i].reason);
	node_await_logged(&berlin, text);
	node_ask(&berlin, WIRE_ADMIN_PEERS, "rome", 0, &connectd__v1__peer__descriptor, &a);
	ck_assert_str_eq(((const Connectd__V1__Peer *)a.items[0])->last_error, forgeries[_i].reason);
	answer_free(&a);
	node_await_why(&berlin, "rome", "protocol", forgeries[_i].reason);
	ossl_done(o);
	end();
}
END_TEST

/* ------------------------------------------------------- programs here -- */

START_TEST(a_peer_on_the_local_socket)
{
	const struct wire_frame hello = raw_hello_peer("rome", "berlin");
	struct raw *r;

	begin(TLS, "");
	r = raw_client(&berlin);
	raw_frame(r, &hello);
	expect_close(r, "Hello", WIRE_CLOSE_PROTOCOL, "the local socket is for clients");
	node_await_logged(&berlin, "closed (protocol): the local socket is for clients");
	raw_close(r);
	end();
}
END_TEST

/* As a user without rights. */
static struct raw *
nobody(void)
{
	struct raw *r;

	ck_assert_int_eq(chmod(nodes_folder(), 0755), 0);
	ck_assert_int_eq(chmod(berlin.dir, 0755), 0);
	ck_assert_int_eq(chmod(berlin.socket, 0666), 0);
	ck_assert_int_eq(setegid(NOBODY), 0);
	ck_assert_int_eq(seteuid(NOBODY), 0);
	r = raw_client(&berlin);
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(setegid(0), 0);
	raw_greet_client(r);
	return r;
}

static void
expect_denied(uint32_t verdict, struct wire_bytes reason, const char *expected, const char *what)
{
	char text[300];

	ck_assert_msg(verdict == WIRE_VERDICT_DENIED && wire_bytes_equal(reason, wire_string(expected)), "%s: %s, %.*s", what,
	    wire_verdict_name(verdict), (int)reason.len, (const char *)reason.data);
	snprintf(text, sizeof(text), "raw: may not %s: %s", what, expected);
	node_await_logged(&berlin, text);
	node_await_logged(&berlin, "client 65534/");
}

static void
expect_errno(struct raw *r, uint32_t id, const char *expected, const char *what)
{
	char text[300];

	raw_until(r, WIRE_ADMIN_RESPONSE);
	ck_assert_uint_eq(r->f.u.admin_response.id, id);
	ck_assert_int_eq(r->f.u.admin_response.error, EACCES);
	ck_assert_msg(wire_bytes_equal(r->f.u.admin_response.reason, wire_string(expected)), "%s: %.*s", what,
	    (int)r->f.u.admin_response.reason.len, (const char *)r->f.u.admin_response.reason.data);
	snprintf(text, sizeof(text), "raw: may not %s: %s", what, expected);
	node_await_logged(&berlin, text);
}

START_TEST(a_user_without_rights)
{
	static const char only[] = "only administrators may do that: root, the daemon's user, and members of its admin_group";
	static const enum wire_admin_verb verbs[] = { WIRE_ADMIN_PURGE, WIRE_ADMIN_BACKUP, WIRE_ADMIN_RENEW };
	char text[40];
	struct raw *r;

	begin(TLS, QUEUES);
	r = nobody();
	open_flow(r, "closed", "me");
	raw_until(r, WIRE_FLOW_STATE);
	expect_denied(r->f.u.flow_state.verdict, r->f.u.flow_state.reason, "not in the queue's send list", "send to closed");
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_SUBSCRIBE, .u.subscribe = { .subscription = 1, .queue = wire_string("closed") } });
	raw_until(r, WIRE_SUBSCRIBED);
	expect_denied(r->f.u.subscribed.verdict, r->f.u.subscribed.reason, "not in the queue's receive list", "receive from closed");
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_ADMIN_REQUEST,
	    .u.admin_request = { .id = 1, .verb = WIRE_ADMIN_PEEK, .name = wire_string("closed") } });
	expect_errno(r, 1, "not in the queue's browse list", "look at closed");
	for (uint32_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
		raw_frame(r, &(struct wire_frame){ .kind = WIRE_ADMIN_REQUEST,
		    .u.admin_request = { .id = 2 + i, .verb = verbs[i], .name = wire_string("closed") } });
		snprintf(text, sizeof(text), "administer (verb %u)", verbs[i]);
		expect_errno(r, 2 + i, only, text);
	}
	raw_alive(r);
	raw_close(r);
	end();
}
END_TEST

static TCase *
case_of(Suite *s, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 60);
	suite_add_tcase(s, tc);
	return tc;
}

#define COUNT(table) ((int)(sizeof(table) / sizeof(*(table))))

int
main(void)
{
	Suite *s = suite_create("denied");
	TCase *tc;
	SRunner *sr;
	int failed;

	tcase_add_loop_test(case_of(s, "certificates"), certificates, 0, 2 * COUNT(faults));
	tcase_add_loop_test(case_of(s, "handshake"), in_the_handshake, 0, COUNT(handshakes));
	tcase_add_loop_test(case_of(s, "dialler"), by_the_dialler, 0, COUNT(servers));
	tcase_add_loop_test(case_of(s, "greeting"), by_its_greeting, 0, COUNT(greetings));
	tcase_add_loop_test(case_of(s, "bytes"), by_its_first_bytes, 0, COUNT(noises));
	tcase_add_loop_test(case_of(s, "scheme"), by_the_scheme, 0, 2);
	tcase_add_loop_test(case_of(s, "configuration"), by_the_configuration, 0, COUNT(configurations));
	tc = case_of(s, "destination");
	tcase_add_loop_test(tc, by_the_destination, 0, COUNT(destinations));
	tcase_add_test(tc, by_the_destination_told);
	tcase_add_loop_test(case_of(s, "forgeries"), by_what_it_says, 0, COUNT(forgeries));
	tc = case_of(s, "local");
	tcase_add_test(tc, a_peer_on_the_local_socket);
	if (geteuid() == 0)
		tcase_add_test(tc, a_user_without_rights);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
