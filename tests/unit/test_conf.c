/* conf: reading, its traps, values, cross checks, lookup. */
#include "conf.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define NODE "[node]\nname = paris\n"
#define BERLIN "[peer \"berlin\"]\nplaintext = yes\naddress = tcp://berlin:7140\n"

/* Faults as "FILE:LINE: text" lines. */
struct told {
	size_t len;
	char text[65536];
};

static void
tell(void *arg, const char *file, unsigned line, const char *text)
{
	struct told *t = arg;

	t->len += (size_t)snprintf(t->text + t->len, sizeof(t->text) - t->len, "%s:%u: %s\n", file, line, text);
	ck_assert_uint_lt(t->len, sizeof(t->text));
}

static struct conf *
read_len(const char *text, size_t len)
{
	static struct told told;
	struct conf *c = NULL;
	int r;

	told.len = 0;
	told.text[0] = '\0';
	r = conf_read_text("f", text, len, tell, &told, &c);
	ck_assert_msg(r == 0, "%s", told.text);
	ck_assert_str_eq(told.text, "");
	return c;
}

static struct conf *
read_ok(const char *text)
{
	return read_len(text, strlen(text));
}

/* The text must give exactly these faults, a line each; of each fault only the beginning is compared. */
static void
refused_len(const char *text, size_t len, const char *expected)
{
	static struct told told;
	struct conf *c = NULL;
	const char *got = told.text;
	int r;

	told.len = 0;
	told.text[0] = '\0';
	r = conf_read_text("f", text, len, tell, &told, &c);
	ck_assert_msg(r == -EINVAL, "no fault in: %s", text);
	ck_assert_ptr_null(c);
	for (; *expected; expected++) {
		size_t n = strcspn(expected, "\n");

		ck_assert_msg(strncmp(got, expected, n) == 0, "in %s\nexpected: %s\ngot: %s", text, expected, told.text);
		got += strcspn(got, "\n") + 1;
		expected += n;
		if (*expected == '\0')
			break;
	}
	ck_assert_msg(*got == '\0', "in %s\nalso told: %s", text, got);
}

static void
refused(const char *text, const char *expected)
{
	refused_len(text, strlen(text), expected);
}

/* ------------------------------------------------------ inih's traps -- */

START_TEST(indented_lines_are_settings)
{
	struct conf *c = read_ok("[node]\n name = paris\n\tstate = /x\n   [queue \"q\"]\n  ttl = 5s\n");

	ck_assert_str_eq(conf_node(c)->name, "paris");
	ck_assert_str_eq(conf_node(c)->state, "/x");
	ck_assert_uint_eq(conf_n_queue_sections(c), 1);
	conf_free(c);
	/* Below a key without value, where inih continues it. */
	refused("[node]\nname =\n\tstate = /x\n", "f:2: name: there is no value\n");
}
END_TEST

START_TEST(long_section_names)
{
	static const char node[] = "a123456789012345678901234567890123456789";
	char queue[64], text[512];
	struct conf *c;
	struct conf_queue q;

	memset(queue, 'q', 63);
	queue[63] = '\0';
	snprintf(text, sizeof(text), NODE "[queue \"%s/%s\"]\nmax_messages = 7\n[queue \"%s/%.62s\"]\nmax_messages = 8\n", node, queue,
	    node, queue);
	c = read_ok(text);
	conf_queue(c, node, queue, &q);
	ck_assert_uint_eq(q.max_messages, 7);
	queue[62] = '\0';
	conf_queue(c, node, queue, &q);
	ck_assert_uint_eq(q.max_messages, 8);
	conf_free(c);
}
END_TEST

START_TEST(long_lists)
{
	char text[8192] = NODE "[peer \"berlin\"]\nplaintext = yes\naddress = ";
	char first[64], host[64];
	struct conf *c;
	const struct conf_peer *p;

	for (int i = 0; i < 50; i++) {
		snprintf(host, sizeof(host), "%stcp://host-%d.example.net:7140", i ? (i % 2 ? "," : " , ") : "", i);
		strcat(text, host);
	}
	strcat(text, " # comment\nbackoff_min = 1s");
	c = read_ok(text);
	p = conf_peer_find(c, "berlin");
	ck_assert_uint_eq(p->address.n, 50);
	for (size_t i = 0; i < 50; i++) {
		snprintf(first, sizeof(first), "tcp://host-%zu.example.net:7140", i);
		ck_assert_str_eq(p->address.items[i], first);
	}
	ck_assert_uint_eq(p->backoff_min, 1000);
	conf_free(c);
}
END_TEST

START_TEST(lines_that_would_be_cut)
{
	char text[1024], path[300];

	/* 199 bytes of `key=value` fit, 200 do not; an element of a list as well. */
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[193] = '\0';
	snprintf(text, sizeof(text), NODE "state = %s\n", path);
	conf_free(read_ok(text));
	path[193] = 'x';
	path[194] = '\0';
	snprintf(text, sizeof(text), NODE "state = %s\nmax_queues = 0\n", path);
	refused(text, "f:3: the line is too long\nf:4: max_queues: 0 is out of range (1 to 1M)\n");
	snprintf(text, sizeof(text), NODE "[queue \"q\"]\nsend = user:0, unit:%s,user:0\nttl = x\n", path + 1);
	refused(text, "f:4: the line is too long\nf:5: ttl: x is no duration\n");
	/* The comment behind does not count. */
	snprintf(text, sizeof(text), NODE "ttl # %s\nlog_level = info # %s\n", path, path);
	refused(text, "f:3: neither a [section] nor\n");
	snprintf(text, sizeof(text), NODE "%s\n", path);
	refused(text, "f:3: neither a [section] nor\n");
}
END_TEST

START_TEST(a_list_of_very_many_elements)
{
	enum { N = 100000 };
	char *text = malloc(200 + N * 7), *end = text;
	struct conf *c;
	struct conf_queue q;

	end += sprintf(end, "%s", NODE "[queue \"q\"]\nsend = user:0");
	for (int i = 1; i < N; i++)
		end += sprintf(end, ",user:0");
	c = read_ok(text);
	conf_queue(c, NULL, "q", &q);
	ck_assert_uint_eq(q.send->n, N);
	conf_free(c);
	free(text);
}
END_TEST

START_TEST(nul_bytes)
{
	static const char text[] = "[node]\nname = paris\0x\n# \0\nmax_queues = \0" "5\n";

	refused_len(text, sizeof(text) - 1, "f:2: the line contains a NUL\nf:3: the line contains a NUL\n"
	    "f:4: the line contains a NUL\nf:1: [node] has no name\n");
}
END_TEST

START_TEST(sections_without_keys)
{
	struct conf *c = read_ok(NODE "[queue \"a\"]\n[queue \"b*\"]\n[queue \"c\"]");

	ck_assert_uint_eq(conf_n_queue_sections(c), 2);
	ck_assert_str_eq(conf_queue_section(c, 0), "a");
	ck_assert_str_eq(conf_queue_section(c, 1), "c");
	conf_free(c);
	refused(NODE "[listen \"lan\"]\n[nod]\n", "f:4: unknown section [nod]: did you mean [node]?\n"
	    "f:3: [listen \"lan\"] has no address\n");
}
END_TEST

START_TEST(every_fault_with_its_line)
{
	refused("name = x\n\n[node]\nname = Paris\n# comment\nnonsense\nmax_mesage = 1M\nmax_message = 5X\n= 3\nlog_level = loud\r\n"
	        "[quue \"x\"]\nwhat = ever\n[queue \"x\"]\nttl: 0\nttl=1s\nttl=2s\n",
	    "f:1: name stands before the first section\n"
	    "f:4: name: Paris is no node name\n"
	    "f:6: neither a [section] nor a key = value nor a comment\n"
	    "f:7: unknown key max_mesage in [node]: did you mean max_message?\n"
	    "f:8: max_message: 5X is no size\n"
	    "f:9: neither a [section] nor\n"
	    "f:10: log_level: loud is not error, warning, info or debug\n"
	    "f:11: unknown section [quue]: did you mean [queue]?\n"
	    "f:14: ttl: 0 is out of range (1ms to 3650d, or none)\n"
	    "f:15: ttl is set twice, first in line 14\n"
	    "f:16: ttl is set twice, first in line 14\n");
}
END_TEST

START_TEST(comments_blanks_and_line_ends)
{
	struct conf *c = read_ok("\xef\xbb\xbf[node] # here\r\n; comment\r\nname =paris ; comment\r\n"
	                         "state = /a#b;c # d ; e\n\n\tsocket:/run/x\t;y\n   # x = y\ncreate_queues   =   no");

	ck_assert_str_eq(conf_node(c)->name, "paris");
	ck_assert_str_eq(conf_node(c)->state, "/a#b;c");
	ck_assert_str_eq(conf_node(c)->socket, "/run/x");
	ck_assert(!conf_node(c)->create_queues);
	conf_free(c);
	refused("[node]\nname = # nothing\n", "f:2: name: there is no value\n");
}
END_TEST

/* --------------------------------------------------- sections and keys -- */

START_TEST(malformed_sections)
{
	static const char *const bad[] = {
		"[queue \"x\"", "[queue \"x]", "[queue x]", "[queue\"x\"]", "[queue \"x\"] y", "[]", "[", "[queue \"x\" \"y\"]", "[ \"x\"]",
		"[queue \"x\"]y = 1",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[128];

		snprintf(text, sizeof(text), NODE "%s\n", bad[i]);
		refused(text, "f:3: a section is [node]");
	}
	refused(NODE "[queue]\n[listen \"x\"] ; a\n[peer]\nttl = 5\n",
	    "f:3: [queue] needs a name\nf:5: [peer] needs a name\nf:6: ttl belongs into [queue], not into [peer]\n"
	    "f:4: [listen \"x\"] has no address\n");
	refused("[node \"x\"]\nname = x\n", "f:1: [node] takes no name here\nf:1: there is no [node] section\n");
	refused("", "f:1: there is no [node] section\n");
}
END_TEST

START_TEST(section_names)
{
	refused(NODE "[listen \"client\"]\n[listen \"a b\"]\n[listen \"\"]\n",
	    "f:3: [listen \"client\"]: client is the name of the Unix socket\nf:4: [listen \"a b\"]: the name\n"
	    "f:5: [listen \"\"]: the name\n");
	refused(NODE "[peer \"Berlin\"]\n[peer \"till-*\"]\n[peer \"\"]\n",
	    "f:3: [peer \"Berlin\"]: no node name\nf:4: [peer \"till-*\"]: a family of peers needs a CA\nf:5: [peer \"\"]: no node\n");
	refused(NODE "[queue \"a b\"]\n[queue \"\"]\n[queue \"Node/q\"]\n[queue \"a/b/c\"]\n[queue \"/q\"]\n[queue \".*\"]\n[queue \"topic:x\"]\n",
	    "f:3: [queue \"a b\"]: neither\nf:4: [queue \"\"]: neither\nf:5: [queue \"Node/q\"]: neither\nf:6: [queue \"a/b/c\"]: neither\n"
	    "f:7: [queue \"/q\"]: neither\nf:8: [queue \".*\"]: neither\nf:9: [queue \"topic:x\"]: neither\n");
	conf_free(read_ok(NODE "[queue \"*\"]\n[queue \"*.dead\"]\n[queue \"*/q\"]\n[queue \"berlin/*\"]\n[queue \"a*b*\"]\n"));
}
END_TEST

START_TEST(the_same_twice)
{
	refused(NODE "[queue \"q\"]\nttl = 1s\n[node]\nname = berlin\n[queue \"q\"]\nttl = 1\n",
	    "f:5: this section is there twice, first in f:1\nf:7: this section is there twice, first in f:3\nf:8: ttl: 1 is no duration\n");
	/* The same name in another kind of section is another section. */
	conf_free(read_ok(NODE BERLIN "[queue \"berlin\"]\n"));
}
END_TEST

START_TEST(unknown_and_later_keys)
{
	refused(NODE "nmae = x\nkey = /x\nmax_disk = 1G\ndurable = no\nzzzzzz = 1\n",
	    "f:3: unknown key nmae in [node]: did you mean name?\nf:4: key comes with a later version\n"
	    "f:5: max_disk comes with a later version\nf:6: durable belongs into [queue]\nf:7: unknown key zzzzzz in [node]\n");
	refused(NODE BERLIN "fingerprint = sha256:x\nrate = 5\nmax_backlog = 5\n[queue \"q\"]\nmin_bytes = 1M\ndurabel = no\n",
	    "f:6: fingerprint comes\nf:7: rate comes\nf:8: max_backlog comes\nf:10: min_bytes comes\n"
	    "f:11: unknown key durabel in [queue]: did you mean durable?\n");
	refused(NODE "[listen \"x\"]\nmtu = 1200\n", "f:4: mtu comes with a later version\n");
	refused(NODE "bad\001key\x7f = 1\n", "f:3: unknown key bad?key?\n");
}
END_TEST

/* --------------------------------------------------------------- values -- */

START_TEST(defaults)
{
	struct conf *c = read_ok(NODE BERLIN "[queue \"q\"]\n");
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
	ck_assert_uint_eq(n->max_producers, 1000);
	ck_assert_uint_eq(n->producer_linger, 86400000);
	ck_assert_uint_eq(n->queue_linger, 3600000);
	ck_assert_uint_eq(n->max_partial, 256 << 20);
	ck_assert_uint_eq(conf_n_listens(c), 0);
	ck_assert_uint_eq(conf_n_peers(c), 1);
	ck_assert_str_eq(p->name, "berlin");
	ck_assert_uint_eq(p->backoff_min, 100);
	ck_assert_uint_eq(p->backoff_max, 30000);
	ck_assert_uint_eq(p->from_text.n, 0);
	conf_queue(c, NULL, "q", &q);
	ck_assert(!q.durable);
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
	refused(NODE "max_message = 1025M\nkeepalive = 30\nmax_clients = 0\nsocket_mode = 0888\ncreate_queues = true\nmax_queues = -1\n"
	             "state = var\nsocket_mode = 0660\n",
	    "f:3: max_message: 1025M is out of range (1K to 1G)\nf:4: keepalive: 30 is no duration\n"
	    "f:5: max_clients: 0 is out of range\nf:6: socket_mode: 0888 is no octal mode\n"
	    "f:7: create_queues: true is neither yes nor no\nf:8: max_queues: -1 is no number\nf:9: state: var is no absolute path\n"
	    "f:10: socket_mode is set twice, first in line 6\n");
	refused(NODE "socket_mode = 1777\nmax_queues = 99999999999999999999999\n",
	    "f:3: socket_mode: 1777 is out of range (0000 to 0777)\nf:4: max_queues: 99999999999999999999999 is out of range\n");
	refused(NODE "[queue \"q\"]\noverflow = drop\ndead_letter = a/b\nmax_attempts = 0\n[queue \"r\"]\ndead_letter = r\n",
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
	refused(text, "f:3: socket: the path is longer than 107 bytes\n");
	path[107] = '\0';
	snprintf(text, sizeof(text), NODE "socket = %s\n", path);
	c = read_ok(text);
	ck_assert_str_eq(conf_node(c)->socket, path);
	conf_free(c);
}
END_TEST

START_TEST(groups)
{
	struct conf *c = read_ok(NODE "socket_group = root\nadmin_group = 4711\n");

	ck_assert_str_eq(conf_node(c)->socket_group, "root");
	ck_assert_uint_eq(conf_node(c)->socket_group_id, 0);
	ck_assert_uint_eq(conf_node(c)->admin_group_id, 4711);
	conf_free(c);
	refused(NODE "socket_group = no-such-group\nadmin_group = 4294967295\n",
	    "f:3: socket_group: there is no group no-such-group\nf:4: admin_group: there is no group 4294967295\n");
}
END_TEST

START_TEST(access_lists)
{
	struct conf *c = read_ok(NODE BERLIN "[queue \"q\"]\nsend = user:root, group:0 ,unit:a\\x2db@1.service,peer:berlin\nreceive = none\n"
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

	refused(NODE "[queue \"a\"]\nsend = user:no-such-user\nreceive = root\nbrowse = user:\n"
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
	static const char *const later[] = { "tls://x:1", "sctp://x:1", "dtls-sctp://x:1", "unix:///x", "mem://x:1" };

	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
		char text[256], fault[256];

		snprintf(text, sizeof(text), NODE "[listen \"l\"]\naddress = tcp://a:1,%s\n[peer \"p\"]\naddress = %s\n", later[i], later[i]);
		snprintf(fault, sizeof(fault), "f:4: address: %s: this version carries tcp:// only\nf:6: address: %s: this version", later[i],
		    later[i]);
		refused(text, fault);
	}
	refused(NODE "[listen \"l\"]\naddress = tcp://x, foo\n", "f:4: address: tcp://x: no port after the host\n");
}
END_TEST

START_TEST(plaintext_must_be_asked_for)
{
	struct conf *c;

	refused(NODE "[listen \"l\"]\nplaintext = no\naddress = tcp://[::]:1\n",
	    "f:5: tcp:// is neither encrypted nor authenticated: it needs plaintext = yes in [listen \"l\"]\n");
	refused(NODE "[peer \"p\"]\naddress = tcp://x:1\n[peer \"q\"]\nfrom = 10.0.0.0/8\nplaintext = no\n",
	    "f:3: this version carries tcp:// only, which is neither encrypted nor authenticated: it needs plaintext = yes in [peer \"p\"]\n"
	    "f:7: this version carries tcp:// only\n");
	refused(NODE "[peer \"p\"]\nplaintext = yes\n", "f:3: [peer \"p\"] has no address, so it dials in\n");
	c = read_ok(NODE "[peer \"p\"]\nplaintext = yes\nfrom = 10.0.0.0/8, ::1\naddress = none\n[peer \"q\"]\nplaintext = yes\naddress = tcp://q:1\n");
	ck_assert_uint_eq(conf_peer(c, 0)->from_text.n, 2);
	ck_assert_uint_eq(conf_peer(c, 0)->from[0].prefix, 8);
	ck_assert(conf_peer(c, 0)->from[1].v6);
	ck_assert_uint_eq(conf_peer(c, 0)->address.n, 0);
	ck_assert_ptr_eq(conf_peer_find(c, "q"), conf_peer(c, 1));
	ck_assert_ptr_null(conf_peer_find(c, "r"));
	conf_free(c);
	refused(NODE "[peer \"p\"]\nplaintext = yes\nfrom = 10.0.0.1/8\n", "f:5: from: 10.0.0.1/8 is no address or network\n");
}
END_TEST

START_TEST(listening_twice)
{
	struct conf *c;

	refused(NODE "[listen \"a\"]\nplaintext = yes\naddress = tcp://h:1, tcp://H:1\n[listen \"b\"]\naddress = tcp://[0::1]:2\nplaintext = yes\n"
	             "[listen \"c\"]\naddress = tcp://[::1]:2\nplaintext = yes\n",
	    "f:5: tcp://H:1 is already an address of [listen \"a\"]\nf:10: tcp://[::1]:2 is already an address of [listen \"b\"]\n");
	c = read_ok(NODE "[listen \"a\"]\nplaintext = yes\naddress = tcp://h:0, tcp://h:0, tcp://h:1, tcp://h:2, tcp://g:1\n");
	ck_assert_uint_eq(conf_listen(c, 0)->address.n, 5);
	conf_free(c);
}
END_TEST

START_TEST(cross_checks)
{
	refused(NODE "max_message = 300M\n", "f:3: max_partial must be at least max_message\n");
	refused(NODE "max_partial = 1M\n", "f:3: max_partial must be at least max_message\n");
	conf_free(read_ok(NODE "max_partial = 1M\nmax_message = 1M\n"));
	refused("[peer \"paris\"]\nplaintext = yes\naddress = tcp://x:1\n" NODE, "f:1: [peer \"paris\"] is this node itself\n");
	refused(NODE BERLIN "backoff_min = 31s\n", "f:6: backoff_max must be at least backoff_min\n");
	refused("[node]\nsocket = /x\n", "f:1: [node] has no name\n");
	refused(NODE "[queue \"paris/orders\"]\n", "f:3: paris is this node: write [queue \"orders\"]\n");
	refused(NODE "[queue \"*\"]\ndurable = yes\n[queue \"q\"]\nttl = 1s\ndurable = yes\n",
	    "f:4: durable = yes needs the journal, which comes with a later version\nf:7: durable = yes needs\n");
	conf_free(read_ok(NODE "[queue \"q\"]\ndurable = no\noverflow = drop-oldest\n"));
}
END_TEST

/* --------------------------------------------------------------- lookup -- */

START_TEST(queue_settings)
{
	struct conf *c = read_ok(NODE "[queue \"*\"]\nttl = 1s\nmax_messages = 1\nsend = user:7\n"
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
	TCase *t = tcase_create("text");
	SRunner *sr;
	int failed;

	tcase_add_test(t, indented_lines_are_settings);
	tcase_add_test(t, long_section_names);
	tcase_add_test(t, long_lists);
	tcase_add_test(t, lines_that_would_be_cut);
	tcase_add_test(t, a_list_of_very_many_elements);
	tcase_add_test(t, nul_bytes);
	tcase_add_test(t, sections_without_keys);
	tcase_add_test(t, every_fault_with_its_line);
	tcase_add_test(t, comments_blanks_and_line_ends);
	tcase_add_test(t, malformed_sections);
	tcase_add_test(t, section_names);
	tcase_add_test(t, the_same_twice);
	tcase_add_test(t, unknown_and_later_keys);
	tcase_add_test(t, defaults);
	tcase_add_test(t, ranges);
	tcase_add_test(t, socket_paths_have_107_bytes);
	tcase_add_test(t, groups);
	tcase_add_test(t, access_lists);
	tcase_add_test(t, addresses);
	tcase_add_test(t, plaintext_must_be_asked_for);
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
