/* conf: values, cross checks, lookup. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "conf.h"
#include "conf_told.h"
#include "log.h"

/* --------------------------------------------------------------- values -- */

START_TEST(defaults)
{
	struct conf *c = conf_told_ok(NODE BERLIN "[queue \"q\"]\n");
	const struct conf_node *n = conf_node(c);
	const struct conf_peer *p = conf_peer(c, 0);
	struct conf_queue q;

	ck_assert_str_eq(n->state, "/var/lib/connectd");
	ck_assert_str_eq(n->socket, "/run/connectd/connectd.sock");
	ck_assert_uint_eq(n->socket_mode, 0660);
	ck_assert_ptr_null(n->socket_group);
	ck_assert_ptr_null(n->admin_group);
	ck_assert(n->create_queues);
	ck_assert_uint_eq(n->log_level, LOG_INFO);
	ck_assert_uint_eq(n->max_message, 16 << 20);
	ck_assert_uint_eq(n->max_memory, 256 << 20);
	ck_assert_uint_eq(n->max_messages, 10000000);
	ck_assert_uint_eq(n->max_queues, 10000);
	ck_assert_uint_eq(n->max_queues_per_user, 100);
	ck_assert_uint_eq(n->max_queues_per_peer, 100);
	ck_assert_uint_eq(n->max_clients, 1000);
	ck_assert_uint_eq(n->max_clients_per_user, 100);
	ck_assert_uint_eq(n->max_connections, 4096);
	ck_assert_uint_eq(n->max_pending, 256);
	ck_assert_uint_eq(n->max_pending_per_address, 16);
	ck_assert_uint_eq(n->handshake_timeout, 10000);
	ck_assert_uint_eq(n->keepalive, 30000);
	ck_assert_uint_eq(n->drain_timeout, 10000);
	ck_assert_uint_eq(n->sctp_buffer, 1 << 20);
	ck_assert_uint_eq(n->sctp_heartbeat, 30000);
	ck_assert_uint_eq(n->sctp_rto_min, 50);
	ck_assert_uint_eq(n->sctp_rto_max, 10000);
	ck_assert_uint_eq(n->sctp_retransmissions, 10);
	ck_assert_uint_eq(n->sctp_answers, 1000);
	ck_assert_uint_eq(n->max_producers, 1000);
	ck_assert_uint_eq(n->producer_linger, 86400000);
	ck_assert_uint_eq(n->queue_linger, 3600000);
	ck_assert_uint_eq(n->max_partial, 256 << 20);
	ck_assert_uint_eq(conf_n_listens(c), 0);
	ck_assert_uint_eq(conf_n_peers(c), 1);
	ck_assert_str_eq(p->name, "berlin");
	ck_assert_uint_eq(p->mtu, 1200);
	ck_assert_uint_eq(p->backoff_min, 100);
	ck_assert_uint_eq(p->backoff_max, 30000);
	ck_assert_uint_eq(p->from_text.n, 0);
	conf_queue(c, NULL, "q", &q);
	ck_assert(q.durable);
	ck_assert_uint_eq(q.min_bytes, 1 << 20);
	ck_assert_uint_eq(q.max_messages, 1000000);
	ck_assert_uint_eq(q.max_bytes, 1 << 30);
	ck_assert_int_eq(q.overflow, CONF_OVERFLOW_SLOW);
	ck_assert_uint_eq(q.ttl, 0);
	ck_assert_uint_eq(q.max_attempts, 0);
	ck_assert_uint_eq(q.ack_timeout, 0);
	ck_assert_ptr_null(q.dead_letter);
	ck_assert(!q.send->set && !q.receive->set && !q.browse->set);
	conf_free(c);
}
END_TEST

START_TEST(ranges)
{
	conf_told_refused(NODE "max_message = 1025M\nkeepalive = 30\nmax_clients = 0\nsocket_mode = 0888\ncreate_queues = true\nmax_queues = -1\n"
	             "state = var\nsocket_mode = 0660\n",
	    "f:3: max_message: 1025M is out of range (1K to 1G)\nf:4: keepalive: 30 is no duration\n"
	    "f:5: max_clients: 0 is out of range\nf:6: socket_mode: 0888 is no octal mode\n"
	    "f:7: create_queues: true is neither yes nor no\nf:8: max_queues: -1 is no number\nf:9: state: var is no absolute path\n"
	    "f:10: socket_mode is set twice, first in line 6\n");
	conf_told_refused(NODE "socket_mode = 1777\nmax_queues = 99999999999999999999999\n",
	    "f:3: socket_mode: 1777 is out of range (0000 to 0777)\nf:4: max_queues: 99999999999999999999999 is out of range\n");
	conf_told_refused(NODE "[queue \"q\"]\noverflow = drop\ndead_letter = a/b\nmax_attempts = 0\n[queue \"r\"]\ndead_letter = r\n",
	    "f:4: overflow: drop is not slow, reject or drop-oldest\nf:5: dead_letter: a/b is neither a queue name nor *.dead\n"
	    "f:6: max_attempts: 0 is out of range\nf:8: a queue cannot be its own dead_letter\n");
}
END_TEST

START_TEST(socket_paths_have_107_bytes)
{
	char text[256], path[109];
	struct conf *c;

	memset(path, 's', sizeof(path));
	path[0] = '/';
	path[108] = '\0';
	snprintf(text, sizeof(text), NODE "socket = %s\n", path);
	conf_told_refused(text, "f:3: socket: the path is longer than 107 bytes\n");
	path[107] = '\0';
	snprintf(text, sizeof(text), NODE "socket = %s\n", path);
	c = conf_told_ok(text);
	ck_assert_str_eq(conf_node(c)->socket, path);
	conf_free(c);
}
END_TEST

START_TEST(groups)
{
	struct conf *c = conf_told_ok(NODE "socket_group = root\nadmin_group = 4711\n");

	ck_assert_str_eq(conf_node(c)->socket_group, "root");
	ck_assert_uint_eq(conf_node(c)->socket_group_id, 0);
	ck_assert_uint_eq(conf_node(c)->admin_group_id, 4711);
	conf_free(c);
	conf_told_refused(NODE "socket_group = no-such-group\nadmin_group = 4294967295\n",
	    "f:3: socket_group: there is no group no-such-group\nf:4: admin_group: there is no group 4294967295\n");
}
END_TEST

START_TEST(access_lists)
{
	struct conf *c = conf_told_ok(NODE BERLIN "[queue \"q\"]\nsend = user:root, group:0 ,unit:a\\x2db@1.service,peer:berlin\nreceive = none\n"
	                                     "browse = default\n");
	struct conf_queue q;

	conf_queue(c, NULL, "q", &q);
	ck_assert(q.send->set);
	ck_assert_uint_eq(q.send->n, 4);
	ck_assert_int_eq(q.send->items[0].kind, CONF_ACCESS_USER);
	ck_assert_uint_eq(q.send->items[0].id, 0);
	ck_assert_str_eq(q.send->items[0].name, "root");
	ck_assert_int_eq(q.send->items[1].kind, CONF_ACCESS_GROUP);
	ck_assert_int_eq(q.send->items[2].kind, CONF_ACCESS_UNIT);
	ck_assert_str_eq(q.send->items[2].name, "a\\x2db@1.service");
	ck_assert_int_eq(q.send->items[3].kind, CONF_ACCESS_PEER);
	ck_assert_str_eq(q.send->items[3].name, "berlin");
	/* Nobody, which is not the same as no list. */
	ck_assert(q.receive->set);
	ck_assert_uint_eq(q.receive->n, 0);
	ck_assert(!q.browse->set);
	conf_free(c);

	conf_told_refused(NODE "[queue \"a\"]\nsend = user:no-such-user\nreceive = root\nbrowse = user:\n"
	             "[queue \"b\"]\nsend = users:root\nreceive = unit:a/b\nbrowse = user:0,,user:1\n"
	             "[queue \"c\"]\nsend = peer:Berlin\nreceive = group:x y\nbrowse = user:0,\n[queue \"d\"]\nsend = peer:rome\nreceive =\n",
	    "f:4: send: there is no user no-such-user\nf:5: receive: root is none of user:NAME\nf:6: browse: user: names nobody\n"
	    "f:8: send: users:root is none of\nf:9: receive: unit:a/b names no systemd unit\nf:10: browse: the list has an empty element\n"
	    "f:12: send: peer:Berlin names no node\nf:13: receive: there is no group x y\nf:14: browse: the list has an empty element\n"
	    "f:17: receive: there is no value\nf:16: send: there is no [peer \"rome\"]\n");
}
END_TEST

/* --------------------------------------------------------- cross checks -- */

START_TEST(addresses)
{
	static const char *const later[] = { "unix:///x", "mem://x:1" };

	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
		char text[256], fault[256];

		snprintf(text, sizeof(text), NODE "[listen \"l\"]\naddress = tcp://a:1,%s\n[peer \"p\"]\naddress = %s\n", later[i], later[i]);
		snprintf(fault, sizeof(fault),
		    "f:4: address: %s: this version carries tls://, dtls-sctp://, tcp:// and sctp:// only\nf:6: address: %s: this version", later[i],
		    later[i]);
		conf_told_refused(text, fault);
	}
	conf_told_refused(NODE "[listen \"l\"]\naddress = tcp://x, foo\n", "f:4: address: tcp://x: no port after the host\n");
}
END_TEST

START_TEST(plaintext_must_be_asked_for)
{
	struct conf *c;

	conf_told_refused(NODE "[listen \"l\"]\nplaintext = no\naddress = tcp://[::]:1\n",
	    "f:5: tcp:// is neither encrypted nor authenticated: it needs plaintext = yes in [listen \"l\"]\n");
	conf_told_refused(NODE "[peer \"p\"]\naddress = tcp://x:1\n[peer \"q\"]\nfrom = 10.0.0.0/8\nplaintext = no\n",
	    "f:4: tcp:// is neither encrypted nor authenticated: it needs plaintext = yes in [peer \"p\"], or take tls://\n"
	    "f:5: nothing proves that a node is [peer \"q\"]: give the fingerprint\n");
	conf_told_refused(NODE "[peer \"p\"]\nplaintext = yes\n", "f:3: [peer \"p\"] has no address, so it dials in\n");
	conf_told_refused(NODE "[peer \"p\"]\naddress = dtls-sctp://p:1\nplaintext = yes\n", "f:4: dtls-sctp:// and plaintext = yes\n");
	conf_told_refused(NODE "[listen \"l\"]\nplaintext = yes\naddress = sctp://[::]:1, dtls-sctp://[::]:1\n",
	    "f:5: dtls-sctp://[::]:1 is already an address");
	conf_told_refused(NODE "[listen \"l\"]\naddress = sctp://[::]:1\n[peer \"p\"]\naddress = tls://p:1, sctp://p:1\n",
	    "f:4: sctp:// is neither encrypted nor authenticated: it needs plaintext = yes in [listen \"l\"]\n"
	    "f:6: sctp:// is neither encrypted nor authenticated: it needs plaintext = yes in [peer \"p\"], or take dtls-sctp://\n");
	c = conf_told_ok(NODE "[listen \"l\"]\nplaintext = yes\naddress = sctp://[::]:1, tcp://[::]:1\n[peer \"p\"]\nplaintext = yes\n"
	    "address = tcp://p:1, sctp://p:1\n");
	conf_free(c);
	conf_told_refused(NODE "[listen \"l\"]\nplaintext = yes\naddress = sctp://[::]:1, sctp://[::]:1\n", "f:5: sctp://[::]:1 is already an address");
	c = conf_told_ok(NODE "[peer \"p\"]\nplaintext = yes\nfrom = 10.0.0.0/8, ::1\naddress = none\n[peer \"q\"]\nplaintext = yes\naddress = tcp://q:1\n");
	ck_assert_uint_eq(conf_peer(c, 0)->from_text.n, 2);
	ck_assert_uint_eq(conf_peer(c, 0)->from[0].prefix, 8);
	ck_assert(conf_peer(c, 0)->from[1].v6);
	ck_assert_uint_eq(conf_peer(c, 0)->address.n, 0);
	ck_assert_ptr_eq(conf_peer_find(c, "q"), conf_peer(c, 1));
	ck_assert_ptr_null(conf_peer_find(c, "r"));
	conf_free(c);
	conf_told_refused(NODE "[peer \"p\"]\nplaintext = yes\nfrom = 10.0.0.1/8\n", "f:5: from: 10.0.0.1/8 is no address or network\n");
}
END_TEST

#define PIN "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
#define CA "ca = /ca.pem\n"

START_TEST(who_a_peer_is_must_be_provable)
{
	struct conf *c;

	c = conf_told_ok(NODE "[listen \"l\"]\naddress = dtls-sctp://[::]:1, tls://[::]:1\n[peer \"p\"]\nfingerprint = " PIN
	                      "\naddress = tls://p:1, dtls-sctp://p:1\n");
	ck_assert(conf_needs_identity(c));
	conf_free(c);
	c = conf_told_ok(NODE "[peer \"p\"]\naddress = dtls-sctp://p:1\nfingerprint = " PIN "\n");
	ck_assert(conf_needs_identity(c));
	conf_free(c);
	c = conf_told_ok(NODE "[peer \"p\"]\naddress = tls://p:1\nfingerprint = " PIN ", " PIN "\n[peer \"q\"]\nfingerprint = " PIN "\n");
	ck_assert_uint_eq(conf_peer(c, 0)->fingerprint_text.n, 2);
	ck_assert_uint_eq(conf_peer(c, 0)->fingerprint[1][0], 0xe3);
	ck_assert(conf_needs_identity(c));
	conf_free(c);
	c = conf_told_ok(NODE "[listen \"l\"]\naddress = tls://[::]:1\n");
	ck_assert(conf_needs_identity(c));
	conf_free(c);
	c = conf_told_ok(NODE "[peer \"p\"]\nplaintext = yes\naddress = tcp://p:1\n");
	ck_assert(!conf_needs_identity(c));
	conf_free(c);
	conf_told_refused(NODE "[peer \"p\"]\nfingerprint = sha256:short\n",
	    "f:4: fingerprint: sha256:short:\n");
	conf_told_refused(NODE "[peer \"p\"]\naddress = tls://p:1\n", "f:3: nothing proves that a node is [peer \"p\"]\n");
	conf_told_refused(NODE "[peer \"p\"]\naddress = tls://p:1\nplaintext = yes\n", "f:4: tls:// and plaintext = yes\n");
	conf_told_refused(NODE "[peer \"p\"]\naddress = tcp://p:1\nplaintext = yes\nfingerprint = " PIN "\n",
	    "f:5: plaintext = yes and a fingerprint\n");
	conf_told_refused(NODE CA "[peer \"p\"]\naddress = tcp://p:1\nplaintext = yes\n", "f:6: plaintext = yes, and [node] has a ca\n");
	conf_told_refused(NODE "crl = /crl.pem\n", "f:3: crl is what a CA has revoked\n");
	conf_told_refused(NODE "key = sub/key.pem\ncertificate = .x\n", "f:3: key: sub/key.pem is neither\nf:4: certificate: .x is neither\n");
	conf_free(conf_told_ok(NODE CA "crl = crl.pem\n[peer \"p\"]\naddress = tls://p:1\n"));
}
END_TEST

START_TEST(families)
{
	struct conf *c = conf_told_ok(NODE CA "[peer \"t*\"]\n[peer \"till-*\"]\nfrom = 10.0.0.0/8\n[peer \"till-7\"]\n"
	                              "[queue \"q\"]\nsend = peer:till-12\n");

	ck_assert_str_eq(conf_peer_find(c, "till-7")->name, "till-7");
	ck_assert_str_eq(conf_peer_find(c, "till-70")->name, "till-*");
	ck_assert_str_eq(conf_peer_find(c, "tall")->name, "t*");
	ck_assert_ptr_null(conf_peer_find(c, "berlin"));
	ck_assert_ptr_null(conf_peer_find(c, "till-*"));
	ck_assert(conf_peer_is_family(conf_peer_find(c, "tall")) && !conf_peer_is_family(conf_peer_find(c, "till-7")));
	conf_free(c);
	conf_told_refused(NODE "[peer \"till-*\"]\n", "f:3: [peer \"till-*\"] is for many nodes: only a ca\n");
	conf_told_refused(NODE CA "[peer \"till-*\"]\naddress = tls://x:1\nfingerprint = " PIN "\nplaintext = yes\n",
	    "f:7: [peer \"till-*\"] is for many nodes, and plaintext\nf:5: [peer \"till-*\"] is for many nodes, which dial in\n"
	    "f:6: [peer \"till-*\"] is for many nodes, each\n");
	conf_told_refused(NODE CA "[queue \"q\"]\nsend = peer:berlin\n", "f:5: send: there is no [peer \"berlin\"]\n");
}
END_TEST

START_TEST(listening_twice)
{
	struct conf *c;

	conf_told_refused(NODE "[listen \"a\"]\nplaintext = yes\naddress = tcp://h:1, tcp://H:1\n[listen \"b\"]\naddress = tcp://[0::1]:2\nplaintext = yes\n"
	             "[listen \"c\"]\naddress = tcp://[::1]:2\nplaintext = yes\n",
	    "f:5: tcp://H:1 is already an address of [listen \"a\"]\nf:10: tcp://[::1]:2 is already an address of [listen \"b\"]\n");
	c = conf_told_ok(NODE "[listen \"a\"]\nplaintext = yes\naddress = tcp://h:0, tcp://h:0, tcp://h:1, tcp://h:2, tcp://g:1\n");
	ck_assert_uint_eq(conf_listen(c, 0)->address.n, 5);
	conf_free(c);
}
END_TEST

START_TEST(cross_checks)
{
	conf_told_refused(NODE "max_message = 300M\n",
	    "f:3: max_partial must be at least max_message\nf:3: max_memory must be at least max_message\n");
	conf_told_refused(NODE "max_memory = 1M\n", "f:3: max_memory must be at least max_message\n");
	conf_told_refused(NODE "max_partial = 1M\n", "f:3: max_partial must be at least max_message\n");
	conf_free(conf_told_ok(NODE "max_partial = 1M\nmax_message = 1M\n"));
	conf_told_refused("[peer \"paris\"]\nplaintext = yes\naddress = tcp://x:1\n" NODE, "f:1: [peer \"paris\"] is this node itself\n");
	conf_told_refused(NODE BERLIN "backoff_min = 31s\n", "f:6: backoff_max must be at least backoff_min\n");
	conf_told_refused(NODE "sctp_rto_min = 2s\nsctp_rto_max = 1s\n", "f:4: sctp_rto_max must be at least sctp_rto_min\n");
	conf_told_refused(NODE "[listen \"l\"]\naddress = tls://[::]:1\nmtu = 500\n", "f:5: mtu: ");
	conf_told_refused("[node]\nsocket = /x\n", "f:1: [node] has no name\n");
	conf_told_refused(NODE "[queue \"paris/orders\"]\n", "f:3: paris is this node: write [queue \"orders\"]\n");
	conf_told_refused(NODE "[queue \"q\"]\noverflow = drop-oldest\ndurable = yes\n",
	    "f:4: overflow = drop-oldest loses messages that were confirmed: it needs durable = no in [queue \"q\"]\n");
	conf_told_refused(NODE "[queue \"*\"]\noverflow = drop-oldest\ndurable = no\n[queue \"q\"]\ndurable = yes\n",
	    "f:7: overflow = drop-oldest loses\n");
	conf_free(conf_told_ok(NODE "[queue \"*\"]\ndurable = no\n[queue \"q\"]\noverflow = drop-oldest\n"));
	conf_told_refused(NODE "segment = 1G\nmax_disk = 7G\n", "f:4: max_disk must be at least 8 times segment\n");
	conf_free(conf_told_ok(NODE "[queue \"q\"]\ndurable = no\noverflow = drop-oldest\n"));
	conf_told_refused(NODE "segment = 1M\nmax_disk = 10M\n[queue \"p\"]\n[queue \"m\"]\ndurable = no\nmin_bytes = 1G\n"
	                       "[queue \"q\"]\nmin_bytes = 3M\n",
	    "f:10: the min_bytes of all queues named here are 4194304 bytes, and max_disk has room for 3145728: "
	    "lower them, raise max_disk, or take smaller segments\n");
	conf_free(conf_told_ok(NODE "segment = 1M\nmax_disk = 10M\n[queue \"p*\"]\nmin_bytes = 1G\n[queue \"q\"]\nmin_bytes = 3M\n"));
}
END_TEST

/* --------------------------------------------------------------- lookup -- */

START_TEST(queue_settings)
{
	struct conf *c = conf_told_ok(NODE "[queue \"*\"]\nttl = 1s\nmax_messages = 1\nsend = user:7\n"
	                              "[queue \"or*\"]\nmax_messages = 2\n"
	                              "[queue \"orders*\"]\nmax_messages = 3\n"
	                              "[queue \"*rders2\"]\nmax_messages = 4\n"
	                              "[queue \"orders\"]\nmax_messages = 5\nttl = none\nsend = default\ndead_letter = graves\n"
	                              "[queue \"berlin/*\"]\nmax_messages = 6\n"
	                              "[queue \"*/orders\"]\nmax_messages = 7\n"
	                              "[queue \"berlin/orders\"]\nttl = 9s\n"
	                              "[queue \"b*\"]\nmax_messages = 8\n");
	static const struct {
		const char *node, *name;
		uint64_t max_messages, ttl;
		bool by_pattern;
	} expected[] = {
		{ NULL, "x", 1, 1000, false },        { NULL, "orphan", 2, 1000, true },       { NULL, "orders", 5, 0, true },
		{ NULL, "orders9", 3, 1000, true },   { NULL, "orders2", 4, 1000, true },      { NULL, "b", 8, 1000, true },
		{ "berlin", "x", 6, 1000, true },     { "rome", "orders", 7, 1000, true },     { "berlin", "orders", 1, 9000, true },
		{ "rome", "x", 1, 1000, false },      { "orders", "x", 1, 1000, false },
	};
	struct conf_queue q;

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		conf_queue(c, expected[i].node, expected[i].name, &q);
		ck_assert_msg(q.max_messages == expected[i].max_messages && q.ttl == expected[i].ttl &&
		        q.by_pattern == expected[i].by_pattern,
		    "%s got %d", expected[i].name, (int)q.max_messages);
	}
	conf_queue(c, NULL, "orders", &q);
	ck_assert(!q.send->set);
	ck_assert_str_eq(q.dead_letter, "graves");
	conf_queue(c, NULL, "orders9", &q);
	ck_assert(q.send->set);
	ck_assert_uint_eq(conf_n_queue_sections(c), 2);
	ck_assert_str_eq(conf_queue_section(c, 1), "berlin/orders");
	conf_free(c);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("conf");
	TCase *t = tcase_create("conf");
	SRunner *sr;
	int failed;

	tcase_add_test(t, defaults);
	tcase_add_test(t, ranges);
	tcase_add_test(t, socket_paths_have_107_bytes);
	tcase_add_test(t, groups);
	tcase_add_test(t, access_lists);
	tcase_add_test(t, addresses);
	tcase_add_test(t, plaintext_must_be_asked_for);
	tcase_add_test(t, who_a_peer_is_must_be_provable);
	tcase_add_test(t, families);
	tcase_add_test(t, listening_twice);
	tcase_add_test(t, cross_checks);
	tcase_add_test(t, queue_settings);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
