/* The configuration read again while everything goes on: what changes, what stays, and what refuses it. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "certs.h"
#include "operator.h"
#include "ossl.h"
#include "program.h"
#include "raw.h"
#include "wire.h"

#define LISTENER "[listen \"lan\"]\naddress = tls://127.0.0.1:%d\n"
#define QUEUE "[queue \"orders\"]\n"
#define QUICK "backoff_min = 1ms\nbackoff_max = 20ms\n"
#define FROM "[peer \"%s\"]\nfingerprint = %s\n" QUICK
#define TO "[peer \"berlin\"]\naddress = %s\nfingerprint = %s\n" QUICK

static struct node paris, berlin;

static const char *
key(const struct node *n, char buf[static 64])
{
	const char *const args[] = { "-k", "-c", n->conf, NULL };
	char err[256];

	ck_assert_msg(node_run(args, buf, 64, err, sizeof(err)) == 0, "%s", err);
	buf[strcspn(buf, "\n")] = '\0';
	return buf;
}

/* paris dials berlin; each is known to the other by its key. */
static void
begin(void)
{
	char paris_key[64], berlin_key[64];

	node_init(&paris, "paris", "%s", "");
	node_init(&berlin, "berlin", LISTENER QUEUE FROM, 0, "paris", key(&paris, paris_key));
	node_start(&berlin);
	node_configure(&paris, QUEUE TO, berlin.url, key(&berlin, berlin_key));
	node_start(&paris);
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

/* Texts first to last from paris arrive, and are taken, once and in order. */
static void
passes(uint64_t first, uint64_t last)
{
	struct connectd *from = program_open(&paris, "from"), *to = program_open(&berlin, "to");
	struct told told = { 0 };

	program_send_numbers(from, "berlin/orders", first, last, &told);
	program_flush(from);
	ck_assert_uint_eq(told.arrived, last - first + 1);
	program_consume(to, "orders", 0);
	program_expect_numbers(to, first, last);
	connectd_close(from);
	connectd_close(to);
}

static uint64_t
connects(struct node *n, const char *peer)
{
	struct answer a;
	uint64_t count;

	node_ask(n, WIRE_ADMIN_PEERS, peer, 0, &connectd__v1__peer__descriptor, &a);
	ck_assert_uint_eq(a.n, 1);
	count = ((const Connectd__V1__Peer *)a.items[0])->connects;
	answer_free(&a);
	return count;
}

/* ------------------------------------------------------------------- the file */

START_TEST(what_is_wrong_changes_nothing)
{
	char expected[128];

	begin();
	node_configure(&berlin, "nonsense = 1\n");
	snprintf(expected, sizeof(expected), "nothing has changed: %s:8: unknown key nonsense", berlin.conf);
	operator_fails(&berlin, expected, "reload");
	ck_assert_int_eq(kill(berlin.pid, SIGHUP), 0);
	node_await_logged(&berlin, "was not read again, nothing has changed");
	/* Good in itself, but there is no such key; and a port that is taken. */
	node_configure(&berlin, "ca = /nowhere/ca.pem\n" LISTENER, 0);
	operator_fails(&berlin, "ca /nowhere/ca.pem: there is no such file", "reload");
	node_configure(&paris, LISTENER, atoi(strrchr(berlin.url, ':') + 1));
	operator_fails(&paris, "Address already in use", "reload");
	passes(1, 20);
	ck_assert(connects(&paris, "berlin") == 1 && connects(&berlin, "paris") == 1);
	end();
}
END_TEST

START_TEST(the_same_again_disturbs_nobody)
{
	begin();
	passes(1, 10);
	operator_does(&berlin, "read again", "reload");
	operator_does(&paris, "read again", "reload");
	ck_assert_int_eq(kill(paris.pid, SIGHUP), 0);
	passes(11, 20);
	ck_assert(connects(&paris, "berlin") == 1 && connects(&berlin, "paris") == 1);
	end();
}
END_TEST

START_TEST(some_keys_count_from_a_restart_on)
{
	begin();
	node_configure(&paris, "max_disk = 128M\nsegment = 1M\nmax_message = 1M\n[queue \"orders\"]\n");
	operator_does(&paris, "max_disk counts from the next start on", "reload");
	ck_assert(operator_sees(&paris, "268435456", "status --json"));
	ck_assert_int_eq(node_stop(&paris), 0);
	node_start(&paris);
	ck_assert(operator_sees(&paris, "134217728", "status --json"));
	end();
}
END_TEST

/* ------------------------------------------------------------- peers, listeners */

/* A peer that is taken away is cut, and nothing goes to it; put back, it goes on where it was. */
START_TEST(a_peer_goes_and_comes_back)
{
	struct told told = { 0 };
	char berlin_key[64];
	struct connectd *c;

	begin();
	passes(1, 10);
	operator_does(&paris, "", "hold berlin/orders");
	c = program_open(&paris, "sender");
	program_send_numbers(c, "berlin/orders", 11, 15, &told);
	ck_assert_int_eq(connectd_flush(c, 200), -ETIMEDOUT);
	node_await_queue(&paris, "berlin/orders", queue_holds, 5);
	node_configure(&paris, "%s", QUEUE);
	operator_does(&paris, "read again", "reload");
	operator_does(&paris, "\"orphan\":true", "queues berlin/orders --json");
	operator_fails(&paris, "no peer berlin is configured", "send berlin/orders --text no");
	node_await_logged(&berlin, "it is no peer of this node any more");
	node_configure(&paris, QUEUE TO, berlin.url, key(&berlin, berlin_key));
	operator_does(&paris, "read again", "reload");
	operator_does(&paris, "", "release berlin/orders");
	node_await_peer(&paris, "berlin", "up");
	program_flush(c);
	ck_assert_uint_eq(told.arrived, 5);
	connectd_close(c);
	c = program_open(&berlin, "to");
	program_consume(c, "orders", 0);
	program_expect_numbers(c, 11, 15);
	connectd_close(c);
	passes(16, 20);
	end();
}
END_TEST

/* One that was never there; and a port that moves: what is connected stays. */
START_TEST(listeners_and_peers_are_added)
{
	char paris_key[64], berlin_key[64], url[64];
	struct node rome;

	begin();
	node_init(&rome, "rome", QUEUE TO, berlin.url, key(&berlin, berlin_key));
	node_start(&rome);
	node_await_logged(&rome, "refused our certificate");
	node_configure(&berlin, "[listen \"lan\"]\naddress = tls://127.0.0.1:0, tls://127.0.0.2:0\n" QUEUE FROM FROM, "paris",
	    key(&paris, paris_key), "rome", key(&rome, url));
	operator_does(&berlin, "read again", "reload");
	node_await_peer(&rome, "berlin", "up");
	passes(1, 10);
	ck_assert_uint_eq(connects(&paris, "berlin"), 1);
	ck_assert(operator_sees(&berlin, "tls://127.0.0.2:", "status"));
	/* The first is not there any more. */
	node_configure(&berlin, "[listen \"lan\"]\naddress = tls://127.0.0.2:0\n" QUEUE FROM, "paris", paris_key);
	operator_does(&berlin, "read again", "reload");
	ck_assert(!operator_sees(&berlin, "tls://127.0.0.1:", "status"));
	node_await_logged(&rome, "it is no peer of this node any more");
	passes(11, 20);
	ck_assert_uint_eq(connects(&paris, "berlin"), 1);
	ck_assert_int_eq(node_stop(&rome), 0);
	end();
}
END_TEST

/* ------------------------------------------------------------------------ keys */

/* Two keys while one replaces the other; a key that is taken away ends its session. */
START_TEST(fingerprints_change)
{
	char paris_key[64], other[64] = "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

	begin();
	key(&paris, paris_key);
	node_configure(&berlin, LISTENER QUEUE "[peer \"paris\"]\nfingerprint = %s, %s\n" QUICK, 0, other, paris_key);
	operator_does(&berlin, "read again", "reload");
	passes(1, 10);
	ck_assert_uint_eq(connects(&berlin, "paris"), 1);
	node_configure(&berlin, LISTENER QUEUE FROM, 0, "paris", other);
	operator_does(&berlin, "read again", "reload");
	node_await_logged(&paris, "is no fingerprint of paris");
	node_await_peer(&paris, "berlin", "waiting");
	ck_assert(operator_sees(&berlin, "is no fingerprint", "peers --json"));
	node_configure(&berlin, LISTENER QUEUE FROM, 0, "paris", paris_key);
	operator_does(&berlin, "read again", "reload");
	node_await_peer(&paris, "berlin", "up");
	passes(11, 20);
	end();
}
END_TEST

/* The node's own key: the link is made anew before the old one ends. */
START_TEST(a_new_key_of_our_own)
{
	char old[64], new[64], berlin_key[64], path[128];

	begin();
	key(&paris, old);
	snprintf(path, sizeof(path), "%s/state/key.pem", paris.dir);
	ck_assert_int_eq(remove(path), 0);
	snprintf(path, sizeof(path), "%s/state/certificate.pem", paris.dir);
	ck_assert_int_eq(remove(path), 0);
	/* Not while it is unknown which it is: the daemon makes it. */
	operator_does(&paris, "read again", "reload");
	key(&paris, new);
	ck_assert_str_ne(old, new);
	ck_assert(operator_sees(&paris, new, "key"));
	/* berlin does not know it: the old session stays meanwhile. */
	passes(1, 10);
	node_configure(&berlin, LISTENER QUEUE "[peer \"paris\"]\nfingerprint = %s, %s\n" QUICK, 0, old, new);
	operator_does(&berlin, "read again", "reload");
	operator_does(&paris, "read again", "reload");
	key(&berlin, berlin_key);
	passes(11, 20);
	end();
}
END_TEST

/* ---------------------------------------------------------------------- the CA */

static struct cert ca, other_ca;

static void
put_crl(uint8_t serial)
{
	char path[NODES_PATH_MAX];
	uint8_t der[4096];

	nodes_file(path, "crl", der, cert_revoke(&ca, serial, "491231235959Z", der, sizeof(der)));
}

/* Files for a node whose certificate has this serial, and its keys of [node]. */
static const char *
signed_by_ca(const char *name, uint8_t serial, char buf[static 400])
{
	char file[40], key_path[NODES_PATH_MAX], pem[NODES_PATH_MAX], trust[NODES_PATH_MAX];
	struct cert c;

	cert_make(&(struct cert_wish){ .name = name, .issuer = &ca, .serial = serial }, &c);
	snprintf(file, sizeof(file), "%s.key", name);
	nodes_file(key_path, file, c.key, strlen(c.key));
	snprintf(file, sizeof(file), "%s.pem", name);
	nodes_file(pem, file, c.pem, strlen(c.pem));
	nodes_file(trust, "ca.pem", ca.pem, strlen(ca.pem));
	snprintf(buf, 400, "key = %s\ncertificate = %s\nca = %s\ncrl = %s/crl\n", key_path, pem, trust, nodes_folder());
	return buf;
}

/* One of the two is revoked, and put right again; then nobody trusts its CA any more. Whoever dialled, it is off at once. */
START_TEST(whom_the_ca_has_signed)
{
	char own[400], path[NODES_PATH_MAX];
	uint64_t before;

	cert_make(&(struct cert_wish){ .name = "the CA", .is_ca = true }, &ca);
	cert_make(&(struct cert_wish){ .name = "another CA", .is_ca = true }, &other_ca);
	put_crl(9);
	node_init(&berlin, "berlin", "%s" LISTENER QUEUE "[peer \"paris\"]\n" QUICK, signed_by_ca("berlin", 3, own), 0);
	node_start(&berlin);
	node_init(&paris, "paris", "%s" QUEUE "[peer \"berlin\"]\naddress = %s\n" QUICK, signed_by_ca("paris", 2, own), berlin.url);
	node_start(&paris);
	node_await_peer(&paris, "berlin", "up");
	passes(1, 10);
	/* Who dialled judges who was dialled, and the other way round. */
	for (int i = 0; i < 2; i++) {
		struct node *judge = i == 0 ? &paris : &berlin;
		const char *judged = i == 0 ? "berlin" : "paris";

		put_crl(i == 0 ? 3 : 2);
		before = program_clock_ms();
		operator_does(judge, "read again", "reload");
		ck_assert(!operator_sees(judge, "\"state\":\"up\"", "peers --json"));
		ck_assert_msg(program_clock_ms() - before < PROGRAM_PATIENCE_MS, "%s was off after %" PRIu64 " ms", judged, program_clock_ms() - before);
		ck_assert(operator_sees(judge, "revoked", "peers --json"));
		put_crl(9);
		operator_does(judge, "read again", "reload");
		node_await_peer(judge, judged, "up");
		passes(11 + 10 * (uint64_t)i, 20 + 10 * (uint64_t)i);
	}
	/* Nothing of it holds any more. */
	nodes_file(path, "ca.pem", other_ca.pem, strlen(other_ca.pem));
	put_crl(9);
	operator_does(&paris, "read again", "reload");
	ck_assert(!operator_sees(&paris, "\"state\":\"up\"", "peers --json"));
	ck_assert(operator_sees(&paris, "not signed by a CA", "peers --json"));
	nodes_file(path, "ca.pem", ca.pem, strlen(ca.pem));
	operator_does(&paris, "read again", "reload");
	node_await_peer(&paris, "berlin", "up");
	end();
}
END_TEST

/*
 * Who has shown its certificate and takes its time with the rest is judged by
 * what is configured when it comes. i / 2: it has been silent, or has said Hello;
 * i % 2: it is revoked meanwhile, or another is.
 */
START_TEST(who_is_not_in_yet)
{
	bool has_greeted = _i / 2, is_revoked = _i % 2;
	const struct wire_frame hello = raw_hello_peer("paris", "berlin"), known = { .kind = WIRE_KNOWN };
	char own[400], paris_own[400], key_path[200];
	struct ossl *o;

	cert_make(&(struct cert_wish){ .name = "the CA", .is_ca = true }, &ca);
	put_crl(9);
	node_init(&berlin, "berlin", "%s" LISTENER QUEUE "[peer \"paris\"]\n" QUICK, signed_by_ca("berlin", 3, own), 0);
	node_start(&berlin);
	signed_by_ca("paris", 2, paris_own);
	snprintf(key_path, sizeof(key_path), "-cert %.80s/paris.pem -key %.80s/paris.key", nodes_folder(), nodes_folder());
	o = ossl_client(&berlin, "%s -tls1_2 -state", key_path);
	ck_assert_msg(ossl_await(o, "read finished"), "%s", o->said);
	if (has_greeted) {
		raw_frame(o->raw, &hello);
		raw_until(o->raw, WIRE_KNOWN);
	}
	put_crl(is_revoked ? 2 : 8);
	operator_does(&berlin, "read again", "reload");
	if (!has_greeted)
		raw_frame(o->raw, &hello);
	if (is_revoked) {
		ck_assert_int_eq(raw_end(o->raw), WIRE_CLOSE_DENIED);
		ck_assert(operator_sees(&berlin, has_greeted ? "\"state\":\"idle\"" : "revoked", "peers --json"));
	} else {
		if (!has_greeted)
			raw_until(o->raw, WIRE_KNOWN);
		raw_frame(o->raw, &known);
		raw_until(o->raw, WIRE_ACCEPT);
		raw_alive(o->raw);
	}
	ossl_done(o);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

/* Waits for the next that dials. */
static int
next_dial(int listener)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };

	ck_assert_int_eq(poll(&p, 1, PROGRAM_PATIENCE_MS), 1);
	return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

/* What is being dialled, and has not shown yet who it is, is dialled anew: the handshake begun would go by the CA of before. */
START_TEST(who_is_being_dialled)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), first, second;
	socklen_t len = sizeof(at);
	char own[400], rest[4096];
	uint64_t before;

	ck_assert(bind(listener, (struct sockaddr *)&at, len) == 0 && listen(listener, 8) == 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	cert_make(&(struct cert_wish){ .name = "the CA", .is_ca = true }, &ca);
	put_crl(9);
	node_init(&berlin, "berlin", "handshake_timeout = 1h\n%s[peer \"paris\"]\naddress = tls://127.0.0.1:%u\n" QUICK,
	    signed_by_ca("berlin", 3, own), ntohs(at.sin_port));
	node_start(&berlin);
	before = program_clock_ms();
	first = next_dial(listener);
	operator_does(&berlin, "read again", "reload");
	second = next_dial(listener);
	ck_assert_uint_lt(program_clock_ms() - before, PROGRAM_PATIENCE_MS);
	/* Its first words, and its end. */
	while (recv(first, rest, sizeof(rest), 0) > 0)
		;
	close(first);
	close(second);
	close(listener);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

/* ---------------------------------------------------------------------- queues */

START_TEST(queues_have_new_settings)
{
	struct connectd *c;
	struct told told = { 0 };

	begin();
	c = program_open(&paris, "local");
	node_configure(&paris, "[queue \"few\"]\nmax_messages = 2\noverflow = reject\n[queue \"orders\"]\nttl = 1h\n");
	operator_does(&paris, "read again", "reload");
	ck_assert(operator_sees(&paris, "few", "queues"));
	for (int i = 0; i < 3; i++)
		program_send_text(c, "few", "x", &told);
	program_flush(c);
	ck_assert_uint_eq(told.rejected, 1);
	node_configure(&paris, "[queue \"few\"]\nmax_messages = 5\noverflow = reject\n");
	operator_does(&paris, "read again", "reload");
	for (int i = 0; i < 3; i++)
		program_send_text(c, "few", "x", &told);
	program_flush(c);
	ck_assert_uint_eq(told.rejected, 1);
	node_await_queue(&paris, "few", queue_holds, 5);
	connectd_close(c);
	end();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("reload");
	TCase *t = tcase_create("reload");
	SRunner *sr;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, what_is_wrong_changes_nothing);
	tcase_add_test(t, the_same_again_disturbs_nobody);
	tcase_add_test(t, some_keys_count_from_a_restart_on);
	tcase_add_test(t, a_peer_goes_and_comes_back);
	tcase_add_test(t, listeners_and_peers_are_added);
	tcase_add_test(t, fingerprints_change);
	tcase_add_test(t, a_new_key_of_our_own);
	tcase_add_test(t, whom_the_ca_has_signed);
	tcase_add_loop_test(t, who_is_not_in_yet, 0, 4);
	tcase_add_test(t, who_is_being_dialled);
	tcase_add_test(t, queues_have_new_settings);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed > 0);
	srunner_free(sr);
	return failed ? 1 : 0;
}
