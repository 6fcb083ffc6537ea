/* Links over SCTP, plain and in DTLS: durable messages, while daemons are killed and the path between them is bad, moves, or is not there. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs.h"
#include "operator.h"
#include "proc.h"
#include "program.h"
#include "relay.h"
#include "traffic.h"

#define BACKOFF "backoff_min = 10ms\nbackoff_max = 50ms\n"
#define QUICK "plaintext = yes\n" BACKOFF
#define LISTEN "[listen \"lan\"]\naddress = %s\nplaintext = yes\n"
#define BERLIN "keepalive = 500ms\n" LISTEN "[queue \"orders\"]\n[peer \"paris\"]\nfrom = 127.0.0.0/8, ::1\n" QUICK
#define PARIS "keepalive = 500ms\n[peer \"berlin\"]\naddress = %s\n" QUICK

enum { PLAIN, BY_FINGERPRINT, BY_CA, WAYS };

static struct node paris, berlin;
static struct relay relay;
static const char *scheme;
static struct proof {
	char own[400];   /* of [node] */
	char other[200]; /* of the other's section */
	char key[PIN_TEXT_MAX];
} of_paris, of_berlin;

/* ------------------------------------------------------------ what is proven */

static void
own(const char *name, const struct cert *ca, struct proof *ret)
{
	struct tls_certificate read;
	struct cert c;
	char file[40], key[NODES_PATH_MAX], pem[NODES_PATH_MAX], trust[NODES_PATH_MAX], why[TLS_TEXT_MAX];

	cert_make(&(struct cert_wish){ .name = name, .issuer = ca, .serial = 2 }, &c);
	ck_assert_msg(tls_certificate_read(cert_text(c.pem), why, &read) == 0, "%s", why);
	pin_text(read.key, ret->key);
	snprintf(file, sizeof(file), "%s.key", name);
	nodes_file(key, file, c.key, strlen(c.key));
	snprintf(file, sizeof(file), "%s.pem", name);
	nodes_file(pem, file, c.pem, strlen(c.pem));
	nodes_file(trust, "ca.pem", ca ? ca->pem : "", ca ? strlen(ca->pem) : 0);
	snprintf(ret->own, sizeof(ret->own), "key = %s\ncertificate = %s\n%s%s\n", key, pem, ca ? "ca = " : "", ca ? trust : "");
}

static void
prove(int way)
{
	struct cert ca;

	scheme = way == PLAIN ? "sctp" : "dtls-sctp";
	of_paris = of_berlin = (struct proof){ .other = "plaintext = yes\n" };
	if (way == PLAIN)
		return;
	cert_make(&(struct cert_wish){ .name = "CA", .is_ca = true }, &ca);
	own("paris", way == BY_CA ? &ca : NULL, &of_paris);
	own("berlin", way == BY_CA ? &ca : NULL, &of_berlin);
	of_paris.other[0] = of_berlin.other[0] = '\0';
	if (way == BY_CA)
		return;
	snprintf(of_paris.other, sizeof(of_paris.other), "fingerprint = %s\n", of_berlin.key);
	snprintf(of_berlin.other, sizeof(of_berlin.other), "fingerprint = %s\n", of_paris.key);
}

/* ------------------------------------------------------------------ the nodes */

#define EITHER_LISTENS "[listen \"lan\"]\naddress = %s\n%s"

static const char *
berlin_conf(const char *keepalive, const char *url, char buf[static 1500])
{
	snprintf(buf, 1500, "%s%s" EITHER_LISTENS "[queue \"orders\"]\n[peer \"paris\"]\nfrom = 127.0.0.0/8, ::1\n" BACKOFF "%s", keepalive,
	    of_berlin.own, url, strcmp(scheme, "sctp") == 0 ? "plaintext = yes\n" : "", of_berlin.other);
	return buf;
}

static const char *
paris_conf(const char *keepalive, char buf[static 1500])
{
	snprintf(buf, 1500, "%s%s[peer \"berlin\"]\naddress = %s\n" BACKOFF "%s", keepalive, of_paris.own, relay.url, of_paris.other);
	return buf;
}

#define SHORT "keepalive = 500ms\n"

static void
begin(int way)
{
	char conf[1500], any[40];

	prove(way);
	snprintf(any, sizeof(any), "%s://127.0.0.1:0", scheme);
	node_init(&berlin, "berlin", "%s", berlin_conf(SHORT, any, conf));
	node_start(&berlin);
	relay_start(&relay, berlin.url);
	node_init(&paris, "paris", "%s", paris_conf(SHORT, conf));
	node_start(&paris);
	node_await_peer(&paris, "berlin", "up");
}

static void
end(void)
{
	node_check_books(&paris);
	node_check_books(&berlin);
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
	relay_stop(&relay);
}

static void
count(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	(void)c, (void)m;
	ck_assert_msg(o->result == 0 || o->result == -ECANCELED, "message %" PRIu64 ": %d %s", o->number, o->result, o->reason);
	*(uint64_t *)userdata += o->final && o->result == 0;
}

/* Durable messages with the numbers first to last; when this returns all are on disk at paris. */
static void
store(uint64_t first, uint64_t last)
{
	struct connectd *c = program_open(&paris, "shop");
	uint64_t stored = 0;

	for (uint64_t i = first; i <= last; i++) {
		struct connectd_msg *m = connectd_msg_new("berlin/orders");
		uint8_t body[200] = { 0 };
		int r;

		memcpy(body, &i, sizeof(i));
		ck_assert_int_eq(connectd_msg_set_type_body(m, "test.Number", body, sizeof(body)), 0);
		ck_assert_int_eq(connectd_msg_set_durability(m, CONNECTD_DURABLE), 0);
		while ((r = connectd_send(c, m, CONNECTD_TELL(CONNECTD_STORED), count, &stored)) == -EAGAIN)
			ck_assert_int_gt(connectd_wait(c, PROGRAM_PATIENCE_MS), 0);
		ck_assert_int_eq(r, 0);
		connectd_msg_unref(m);
	}
	program_flush(c);
	ck_assert_uint_eq(stored, last - first + 1);
	connectd_close(c);
}

/* 1 to last are there, once and in order. */
static void
take_all(uint64_t last)
{
	struct connectd *c = program_open(&berlin, "stock");
	struct checker k;

	checker_init(&k, last);
	traffic_consume(c, "orders");
	traffic_receive(c, NULL, &k, last);
	checker_assert(&k, scheme);
	ck_assert_uint_eq(k.redelivered, 0);
	checker_done(&k);
	connectd_close(c);
	node_await_queue(&berlin, "orders", queue_holds, 0);
}

static uint64_t
connects(void)
{
	uint64_t n;

	traffic_peer(&paris, "berlin", &n, NULL);
	return n;
}

/* Each is killed while messages are on their way, and once while they cannot be. */
START_TEST(killed)
{
	begin(_i);
	store(1, 500);
	node_kill(&berlin);
	store(501, 600);
	node_start(&berlin);
	relay_target(&relay, berlin.url);
	node_await_peer(&paris, "berlin", "up");
	store(601, 1000);
	node_kill(&paris);
	node_start(&paris);
	node_await_peer(&paris, "berlin", "up");
	relay_hole(&relay, true);
	store(1001, 1200);
	node_kill(&paris);
	node_kill(&berlin);
	relay_hole(&relay, false);
	node_start(&berlin);
	relay_target(&relay, berlin.url);
	node_start(&paris);
	node_await_queue(&berlin, "orders", queue_holds, 1200);
	take_all(1200);
	end();
}
END_TEST

/* The path is another one again and again, each time the end of a session, and now and then it is none for a while. */
START_TEST(cut)
{
	uint64_t n = 0;

	begin(_i);
	for (int i = 0; i < 10; i++) {
		store(n + 1, n + 200);
		n += 200;
		relay_move(&relay);
		if (i % 4 == 1) {
			relay_hole(&relay, true);
			node_await_peer(&paris, "berlin", "dialling");
			relay_hole(&relay, false);
		}
		node_await_queue(&berlin, "orders", queue_holds, n);
	}
	ck_assert_uint_ge(connects(), 6);
	take_all(n);
	end();
}
END_TEST

/* One of a hundred is lost, another doubled, late, damaged: slower, but it is one session. */
START_TEST(bad_path)
{
	begin(_i);
	relay_harm(&relay, 10);
	store(1, 3000);
	node_await_queue(&berlin, "orders", queue_holds, 3000);
	ck_assert_uint_ge(relay_harmed(&relay), 5);
	ck_assert_uint_eq(connects(), 1);
	relay_harm(&relay, 0);
	take_all(3000);
	end();
}
END_TEST

/* When nothing is outstanding, neither daemon wakes but for heartbeats: every 7.5 s at most. */
START_TEST(idle)
{
	uint64_t p, b;
	char conf[1500], any[40];

	begin(_i);
	node_stop(&paris);
	node_stop(&berlin);
	snprintf(any, sizeof(any), "%s://127.0.0.1:0", scheme);
	node_configure(&berlin, "%s", berlin_conf("", any, conf));
	node_start(&berlin);
	relay_target(&relay, berlin.url);
	node_configure(&paris, "%s", paris_conf("", conf));
	node_start(&paris);
	node_await_peer(&paris, "berlin", "up");
	store(1, 100);
	node_await_queue(&berlin, "orders", queue_holds, 100);
	take_all(100);
	/* What follows from the last of it; a link with a handshake is up later, and what is timed from there ends later. */
	ck_assert_int_eq(poll(NULL, 0, _i == PLAIN ? 500 : 1500), 0);
	p = proc_waits(paris.pid);
	b = proc_waits(berlin.pid);
	/* Time passing is what is measured here, so there is nothing else to wait for. */
	ck_assert_int_eq(poll(NULL, 0, 3000), 0);
	p = proc_waits(paris.pid) - p;
	b = proc_waits(berlin.pid) - b;
	ck_assert_msg(p <= 1 && b <= 1, "paris woke %" PRIu64 " times in 3 s, berlin %" PRIu64, p, b);
	end();
}
END_TEST

/* The daemon that is dialled is killed, and there again at once, on the same port. */
START_TEST(same_port)
{
	char conf[1500];

	prove(_i);
	node_init(&berlin, "berlin", "%s", berlin_conf("", _i ? "dtls-sctp://127.0.0.1:0" : "sctp://127.0.0.1:0", conf));
	node_start(&berlin);
	node_configure(&berlin, "%s", berlin_conf("", berlin.url, conf));
	snprintf(relay.url, sizeof(relay.url), "%s", berlin.url);
	node_init(&paris, "paris", "%s", paris_conf("", conf));
	node_start(&paris);
	node_await_peer(&paris, "berlin", "up");
	for (uint64_t i = 0; i < 5; i++) {
		store(i * 100 + 1, i * 100 + 50);
		node_kill(&berlin);
		node_start(&berlin);
		/* It is noticed by sending, keepalive is 30 s. */
		store(i * 100 + 51, i * 100 + 100);
		node_await_queue(&berlin, "orders", queue_holds, (i + 1) * 100);
	}
	node_kill(&paris);
	node_start(&paris);
	node_await_peer(&paris, "berlin", "up");
	store(501, 600);
	node_await_queue(&berlin, "orders", queue_holds, 600);
	take_all(600);
	node_check_books(&paris);
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

/* What an operator sees of DTLS. */
START_TEST(shown)
{
	static const char *const lines[] = { "\"transport\":\"dtls-sctp\"", "\"tls_version\":\"DTLSv1.2\"",
		"\"cipher\":\"TLS-ECDHE-ECDSA-WITH-CHACHA20-POLY1305-SHA256\"", "\"path_mtu\":1200", "\"rtt_us\":", "\"retransmissions\":" };

	begin(_i);
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		ck_assert_msg(operator_sees(&paris, lines[i], "peers --json"), "%s", lines[i]);
		ck_assert_msg(operator_sees(&berlin, lines[i], "peers --json"), "%s", lines[i]);
	}
	ck_assert(operator_sees(&paris, _i == BY_CA ? "\"proof\":\"ca\"" : "\"proof\":\"fingerprint\"", "peers --json"));
	ck_assert(operator_sees(&berlin, of_paris.key, "peers --json"));
	end();
}
END_TEST

/* Somebody with another key, at either end: the same words as over TLS. */
START_TEST(denied)
{
	char conf[1500];

	prove(BY_FINGERPRINT);
	snprintf((_i ? &of_paris : &of_berlin)->other, sizeof(of_paris.other),
	    "fingerprint = sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
	node_init(&berlin, "berlin", "%s", berlin_conf("", "dtls-sctp://127.0.0.1:0", conf));
	node_start(&berlin);
	snprintf(relay.url, sizeof(relay.url), "%s", berlin.url);
	node_init(&paris, "paris", "%s", paris_conf("", conf));
	node_start(&paris);
	if (_i) {
		node_await_logged(&paris, "is no fingerprint of berlin (denied), retrying in");
		node_await_logged(&berlin, "the other side refused our certificate (alert: access denied)");
	} else {
		node_await_logged(&berlin, "refused: denied (as paris): its key sha256:");
		node_await_logged(&paris, "peer berlin: the other side refused our certificate (alert: access denied)");
		node_await_why(&paris, "berlin", "refused", "the other side refused our certificate (alert: access denied");
	}
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

/* Addresses are tried in order, of whatever kind. */
START_TEST(in_order)
{
	char addresses[200];

	node_init(&berlin, "berlin", BERLIN, "sctp://[::1]:0");
	node_start(&berlin);
	snprintf(addresses, sizeof(addresses), "tcp://127.0.0.1:1, sctp://127.0.0.1:1, %s", berlin.url);
	node_init(&paris, "paris", PARIS, addresses);
	node_start(&paris);
	node_await_peer(&paris, "berlin", "up");
	ck_assert(operator_sees(&paris, berlin.url, "peers --json"));
	ck_assert(operator_sees(&berlin, "\"transport\":\"sctp\"", "peers --json"));
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

/* What is set counts for the connections from then on, and is shown; who dials makes a new one for it. */
START_TEST(settings)
{
	const char *const peer = "[peer \"paris\"]\nfrom = 127.0.0.0/8\n" QUICK;

	node_init(&berlin, "berlin", LISTEN "mtu = 1400\n%s", "sctp://127.0.0.1:0", peer);
	node_start(&berlin);
	relay_start(&relay, berlin.url);
	node_init(&paris, "paris", PARIS "mtu = 1300\n", relay.url);
	node_start(&paris);
	operator_awaits(&paris, "\"path_mtu\":1300", "peers --json");
	operator_awaits(&berlin, "\"path_mtu\":1400", "peers --json");
	ck_assert(operator_sees(&paris, "\"rtt_us\":", "peers --json"));
	node_configure(&paris, PARIS "mtu = 600\n", relay.url);
	operator_does(&paris, "read again", "reload");
	operator_awaits(&paris, "\"path_mtu\":600", "peers --json");
	node_configure(&berlin, LISTEN "mtu = 700\n%s", "sctp://127.0.0.1:0", peer);
	operator_does(&berlin, "read again", "reload");
	ck_assert(operator_sees(&berlin, "\"path_mtu\":1400", "peers --json"));
	ck_assert_uint_eq(connects(), 2);
	relay_move(&relay);
	operator_awaits(&berlin, "\"path_mtu\":700", "peers --json");
	end();
}
END_TEST

/* Nothing is proven: only from where it is said. */
START_TEST(from_elsewhere)
{
	node_init(&berlin, "berlin", LISTEN "[peer \"paris\"]\nfrom = 10.0.0.0/8\n" QUICK, "sctp://127.0.0.1:0");
	node_start(&berlin);
	node_init(&paris, "paris", PARIS, berlin.url);
	node_start(&paris);
	node_await_logged(&paris, "this peer may not come from this address");
	node_await_logged(&berlin, "refused: denied (as paris)");
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sctp");
	TCase *tc = tcase_create("sctp");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, killed, 0, WAYS);
	tcase_add_loop_test(tc, cut, 0, WAYS);
	tcase_add_loop_test(tc, bad_path, 0, WAYS);
	tcase_add_loop_test(tc, idle, 0, BY_CA);
	tcase_add_loop_test(tc, same_port, 0, WAYS);
	tcase_add_loop_test(tc, shown, BY_FINGERPRINT, WAYS);
	tcase_add_loop_test(tc, denied, 0, 2);
	tcase_add_test(tc, in_order);
	tcase_add_test(tc, settings);
	tcase_add_test(tc, from_elsewhere);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
