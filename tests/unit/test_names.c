/* names: node and queue names, destinations, URLs, patterns, networks. */
#include "names.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool
node_ok(const char *s)
{
	return names_node_ok(s, strlen(s));
}

static bool
queue_ok(const char *s)
{
	return names_queue_ok(s, strlen(s));
}

START_TEST(node_names)
{
	char name[NAMES_NODE_MAX + 2];

	ck_assert(node_ok("berlin"));
	ck_assert(node_ok("a"));
	ck_assert(node_ok("7"));
	ck_assert(node_ok("till-3.shop.example"));
	ck_assert(!node_ok(""));
	ck_assert(!node_ok("Berlin"));
	ck_assert(!node_ok("-berlin"));
	ck_assert(!node_ok(".berlin"));
	ck_assert(!node_ok("ber_lin"));
	ck_assert(!node_ok("ber/lin"));
	ck_assert(!node_ok("ber lin"));
	ck_assert(!node_ok("b\xc3\xa9"));
	ck_assert(!names_node_ok("a\0b", 3));
	memset(name, 'x', sizeof(name));
	ck_assert(names_node_ok(name, NAMES_NODE_MAX));
	ck_assert(!names_node_ok(name, NAMES_NODE_MAX + 1));
}
END_TEST

START_TEST(queue_names)
{
	char name[NAMES_QUEUE_MAX + 1];

	ck_assert(queue_ok("orders"));
	ck_assert(queue_ok("Orders_2.dead-x"));
	ck_assert(!queue_ok(""));
	ck_assert(!queue_ok("_x"));
	ck_assert(!queue_ok(".x"));
	ck_assert(!queue_ok("-x"));
	ck_assert(!queue_ok("a/b"));
	ck_assert(!queue_ok("a*"));
	ck_assert(!queue_ok("a:b"));
	ck_assert(!names_queue_ok("a\0b", 3));
	memset(name, 'x', sizeof(name));
	ck_assert(names_queue_ok(name, NAMES_QUEUE_MAX));
	ck_assert(!names_queue_ok(name, NAMES_QUEUE_MAX + 1));
}
END_TEST

static int
dest(const char *s, struct names_dest *d)
{
	return names_dest_parse(s, strlen(s), d);
}

START_TEST(destinations)
{
	struct names_dest d = { "old", 3, "old", 3 };
	static const char *const bad[] = { "", "/", "/q", "n/", "N/q", "n/q/r", "n//q", "q*", "topicx:a", " q" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ck_assert_msg(dest(bad[i], &d) == -EINVAL, "'%s'", bad[i]);
	ck_assert_int_eq(dest("topic:news", &d), -EOPNOTSUPP);
	ck_assert_str_eq(d.queue, "old");

	ck_assert_int_eq(dest("orders", &d), 0);
	ck_assert_ptr_null(d.node);
	ck_assert_uint_eq(d.queue_len, 6);
	ck_assert_int_eq(names_dest_parse("berlin/ordersX", 13, &d), 0);
	ck_assert_uint_eq(d.node_len, 6);
	ck_assert_int_eq(memcmp(d.node, "berlin", 6), 0);
	ck_assert_uint_eq(d.queue_len, 6);
	ck_assert_int_eq(memcmp(d.queue, "orders", 6), 0);
	ck_assert_int_eq(dest("topic", &d), 0);
}
END_TEST

START_TEST(urls)
{
	struct names_url u;

	ck_assert_int_eq(names_url_parse("tcp://host.example:7000", &u, NULL), 0);
	ck_assert_int_eq(u.scheme, NAMES_TCP);
	ck_assert_str_eq(u.host, "host.example");
	ck_assert(!u.host_is_v6);
	ck_assert_uint_eq(u.port, 7000);
	ck_assert_int_eq(names_url_parse("tcp://[::1]:0", &u, NULL), 0);
	ck_assert_str_eq(u.host, "::1");
	ck_assert(u.host_is_v6);
	ck_assert_uint_eq(u.port, 0);
	ck_assert_int_eq(names_url_parse("dtls-sctp://10.0.0.1:65535", &u, NULL), 0);
	ck_assert_int_eq(u.scheme, NAMES_DTLS_SCTP);
	ck_assert_uint_eq(u.port, 65535);
	ck_assert_int_eq(names_url_parse("unix:///run/x:y", &u, NULL), 0);
	ck_assert_int_eq(u.scheme, NAMES_UNIX);
	ck_assert_str_eq(u.path, "/run/x:y");
	ck_assert_str_eq(u.host, "");
	ck_assert_int_eq(names_url_parse("mem://berlin:1", &u, NULL), 0);
	ck_assert_str_eq(names_scheme_name(u.scheme), "mem");
}
END_TEST

START_TEST(bad_urls_say_why)
{
	static const struct {
		const char *url, *why;
	} bad[] = {
		{ "berlin:7000", "no scheme" }, { "http://x:1", "unknown scheme" }, { "tcpx://x:1", "unknown scheme" },
		{ "tc://x:1", "unknown scheme" }, { "TCP://x:1", "unknown scheme" }, { "tcp://", "no host" }, { "tcp://:1", "no host" },
		{ "tcp://x", "no port" }, { "tcp://x/", "no port" }, { "tcp://x:", "the port" }, { "tcp://x:65536", "the port" },
		{ "tcp://x:-1", "the port" }, { "tcp://x:1/", "the port" }, { "tcp://x:1 ", "the port" }, { "tcp://x:000001", "the port" },
		{ "tcp://::1:1", "an IPv6 address needs brackets" }, { "tcp://[::1:1", "no ]" }, { "tcp://[::1]", "no port" },
		{ "tcp://[berlin]:1", "no IPv6 address" }, { "tcp://[]:1", "no host" }, { "tcp://a b:1", "no host name" },
		{ "tcp://*:1", "no host name" }, { "tcp://-x:1", "no host name" }, { "unix://x", "no absolute path" }, { "unix://", "no absolute path" },
	};
	char longest[400] = "tcp://";

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct names_url u = { .port = 17 };
		const char *why = NULL;

		ck_assert_msg(names_url_parse(bad[i].url, &u, &why) == -EINVAL, "'%s'", bad[i].url);
		ck_assert_msg(strncmp(why, bad[i].why, strlen(bad[i].why)) == 0, "'%s': %s", bad[i].url, why);
		ck_assert_uint_eq(u.port, 17);
		ck_assert_int_eq(names_url_parse(bad[i].url, &u, NULL), -EINVAL);
	}
	memset(longest + 6, 'x', NAMES_HOST_MAX);
	strcpy(longest + 6 + NAMES_HOST_MAX, ":1");
	ck_assert_int_eq(names_url_parse(longest, &(struct names_url){ 0 }, NULL), 0);
	strcpy(longest + 6 + NAMES_HOST_MAX, "x:1");
	ck_assert_int_eq(names_url_parse(longest, &(struct names_url){ 0 }, NULL), -EINVAL);
}
END_TEST

START_TEST(patterns)
{
	ck_assert(names_match("orders", "orders"));
	ck_assert(!names_match("orders", "order"));
	ck_assert(!names_match("order", "orders"));
	ck_assert(names_match("*", ""));
	ck_assert(names_match("*", "x/y"));
	ck_assert(names_match("till-*", "till-"));
	ck_assert(names_match("till-*", "till-3"));
	ck_assert(!names_match("till-*", "till"));
	ck_assert(names_match("*.dead", "a.dead.dead"));
	ck_assert(!names_match("*.dead", "a.dead.b"));
	ck_assert(names_match("a*b*c", "aXbYbZc"));
	ck_assert(!names_match("a*b*c", "aXbYbZ"));
	ck_assert(names_match("a**c", "abc"));
	ck_assert(names_match("*ab*", "aaab"));
	ck_assert(!names_match("", "x"));
	ck_assert(names_match("", ""));
	ck_assert_uint_eq(names_literal_len("*"), 0);
	ck_assert_uint_eq(names_literal_len("a*b**"), 2);
}
END_TEST

/* Bad patterns must not take exponential time: this would not end. */
START_TEST(patterns_with_many_stars)
{
	char pattern[201], s[2001];

	for (int i = 0; i < 100; i++)
		memcpy(pattern + 2 * i, "*a", 2);
	pattern[200] = '\0';
	pattern[199] = 'b';
	memset(s, 'a', 2000);
	s[2000] = '\0';
	ck_assert(!names_match(pattern, s));
}
END_TEST

static bool
inside(const char *cidr, const char *addr)
{
	struct names_cidr net, a;

	ck_assert_int_eq(names_cidr_parse(cidr, &net), 0);
	ck_assert_int_eq(names_cidr_parse(addr, &a), 0);
	return names_cidr_match(&net, a.v6, a.addr);
}

START_TEST(networks)
{
	static const char *const bad[] = {
		"", "10.0.0.0/33", "10.0.0.1/8", "10.0.0", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/x", "/8", "fd00::1/8", "::/129", "berlin",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc", "10.0.0.0/8 ", "010.0.0.0/8x",
	};
	struct names_cidr c = { .prefix = 99 };
	uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff, [12] = 10, [15] = 9 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ck_assert_msg(names_cidr_parse(bad[i], &c) == -EINVAL, "'%s'", bad[i]);
	ck_assert_uint_eq(c.prefix, 99);
	ck_assert(inside("10.0.0.0/8", "10.255.3.4"));
	ck_assert(!inside("10.0.0.0/8", "11.0.0.0"));
	ck_assert(inside("10.128.0.0/9", "10.128.0.1"));
	ck_assert(!inside("10.128.0.0/9", "10.127.255.255"));
	ck_assert(inside("192.168.1.7", "192.168.1.7"));
	ck_assert(!inside("192.168.1.7", "192.168.1.6"));
	ck_assert(inside("0.0.0.0/0", "1.2.3.4"));
	ck_assert(!inside("::/0", "1.2.3.4"));
	ck_assert(!inside("0.0.0.0/0", "::1"));
	ck_assert(inside("fd00::/8", "fdff::1"));
	ck_assert(!inside("fd00::/8", "fe00::1"));
	ck_assert(inside("::1", "::1"));
	ck_assert(!inside("::1", "::2"));
	/* An IPv4 address is one, whichever kind of socket it arrived on, and however it was written. */
	ck_assert_int_eq(names_cidr_parse("10.0.0.0/24", &c), 0);
	ck_assert(names_cidr_match(&c, true, mapped));
	ck_assert(inside("::ffff:10.0.0.0/104", "10.1.2.3"));
	ck_assert(!inside("::ffff:10.0.0.0/104", "11.1.2.3"));
}
END_TEST

START_TEST(nearest)
{
	static const char *const known[] = { "name", "state", "socket", "socket_mode", "max_message", "max_messages", NULL };
	char longest[100];

	ck_assert_str_eq(names_nearest("nmae", known), "name");
	ck_assert_str_eq(names_nearest("sokcet", known), "socket");
	ck_assert_str_eq(names_nearest("max-messages", known), "max_messages");
	ck_assert_str_eq(names_nearest("max_mesage", known), "max_message");
	ck_assert_str_eq(names_nearest("stat", known), "state");
	ck_assert_ptr_null(names_nearest("fingerprint", known));
	ck_assert_ptr_null(names_nearest("x", known));
	ck_assert_ptr_null(names_nearest("", known));
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	ck_assert_ptr_null(names_nearest(longest, known));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("names");
	TCase *t = tcase_create("names");
	SRunner *r;
	int failed;

	tcase_add_test(t, node_names);
	tcase_add_test(t, queue_names);
	tcase_add_test(t, destinations);
	tcase_add_test(t, urls);
	tcase_add_test(t, bad_urls_say_why);
	tcase_add_test(t, patterns);
	tcase_add_test(t, patterns_with_many_stars);
	tcase_add_test(t, networks);
	tcase_add_test(t, nearest);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
