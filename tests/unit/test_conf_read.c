/* conf: reading text: inih's traps, sections, keys. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "conf_told.h"

/* ------------------------------------------------------ inih's traps -- */

START_TEST(indented_lines_are_settings)
{
	struct conf *c = conf_told_ok("[node]\n name = paris\n\tstate = /x\n   [queue \"q\"]\n  ttl = 5s\n");

	ck_assert_str_eq(conf_node(c)->name, "paris");
	ck_assert_str_eq(conf_node(c)->state, "/x");
	ck_assert_uint_eq(conf_n_queue_sections(c), 1);
	conf_free(c);
	/* Below a key without value, where inih continues it. */
	conf_told_refused("[node]\nname =\n\tstate = /x\n", "f:2: name: there is no value\n");
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
	c = conf_told_ok(text);
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
	c = conf_told_ok(text);
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

	/* 198 bytes of `key=value` fit, 199 do not; an element of a list as well. */
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[192] = '\0';
	snprintf(text, sizeof(text), NODE "state = %s\n", path);
	conf_free(conf_told_ok(text));
	path[192] = 'x';
	path[193] = '\0';
	snprintf(text, sizeof(text), NODE "state = %s\nmax_queues = 0\n", path);
	conf_told_refused(text, "f:3: the line is too long\nf:4: max_queues: 0 is out of range (1 to 1M)\n");
	snprintf(text, sizeof(text), NODE "[queue \"q\"]\nsend = user:0, unit:%s,user:0\nttl = x\n", path + 1);
	conf_told_refused(text, "f:4: the line is too long\nf:5: ttl: x is no duration\n");
	/* The comment behind does not count. */
	snprintf(text, sizeof(text), NODE "ttl # %s\nlog_level = info # %s\n", path, path);
	conf_told_refused(text, "f:3: neither a [section] nor\n");
	snprintf(text, sizeof(text), NODE "%s\n", path);
	conf_told_refused(text, "f:3: neither a [section] nor\n");
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
	c = conf_told_ok(text);
	conf_queue(c, NULL, "q", &q);
	ck_assert_uint_eq(q.send->n, N);
	conf_free(c);
	free(text);
}
END_TEST

START_TEST(nul_bytes)
{
	static const char text[] = "[node]\nname = paris\0x\n# \0\nmax_queues = \0" "5\n";

	conf_told_refused_len(text, sizeof(text) - 1, "f:2: the line contains a NUL\nf:3: the line contains a NUL\n"
	    "f:4: the line contains a NUL\nf:1: [node] has no name\n");
}
END_TEST

START_TEST(sections_without_keys)
{
	struct conf *c = conf_told_ok(NODE "[queue \"a\"]\n[queue \"b*\"]\n[queue \"c\"]");

	ck_assert_uint_eq(conf_n_queue_sections(c), 2);
	ck_assert_str_eq(conf_queue_section(c, 0), "a");
	ck_assert_str_eq(conf_queue_section(c, 1), "c");
	conf_free(c);
	conf_told_refused(NODE "[listen \"lan\"]\n[nod]\n", "f:4: unknown section [nod]: did you mean [node]?\n"
	    "f:3: [listen \"lan\"] has no address\n");
}
END_TEST

START_TEST(every_fault_with_its_line)
{
	conf_told_refused("name = x\n\n[node]\nname = Paris\n# comment\nnonsense\nmax_mesage = 1M\nmax_message = 5X\n= 3\nlog_level = loud\r\n"
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
	struct conf *c = conf_told_ok("\xef\xbb\xbf[node] # here\r\n; comment\r\nname =paris ; comment\r\n"
	                         "state = /a#b;c # d ; e\n\n\tsocket:/run/x\t;y\n   # x = y\ncreate_queues   =   no");

	ck_assert_str_eq(conf_node(c)->name, "paris");
	ck_assert_str_eq(conf_node(c)->state, "/a#b;c");
	ck_assert_str_eq(conf_node(c)->socket, "/run/x");
	ck_assert(!conf_node(c)->create_queues);
	conf_free(c);
	conf_told_refused("[node]\nname = # nothing\n", "f:2: name: there is no value\n");
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
		conf_told_refused(text, "f:3: a section is [node]");
	}
	conf_told_refused(NODE "[queue]\n[listen \"x\"] ; a\n[peer]\nttl = 5\n",
	    "f:3: [queue] needs a name\nf:5: [peer] needs a name\nf:6: ttl belongs into [queue], not into [peer]\n"
	    "f:4: [listen \"x\"] has no address\n");
	conf_told_refused("[node \"x\"]\nname = x\n", "f:1: [node] takes no name here\nf:1: there is no [node] section\n");
	conf_told_refused("", "f:1: there is no [node] section\n");
}
END_TEST

START_TEST(section_names)
{
	conf_told_refused(NODE "[listen \"client\"]\n[listen \"a b\"]\n[listen \"\"]\n",
	    "f:3: [listen \"client\"]: client is the name of the Unix socket\nf:4: [listen \"a b\"]: the name\n"
	    "f:5: [listen \"\"]: the name\n");
	conf_told_refused(NODE "[peer \"Berlin\"]\n[peer \"Till-*\"]\n[peer \"\"]\n",
	    "f:3: [peer \"Berlin\"]: no node name\nf:4: [peer \"Till-*\"]: no node name\nf:5: [peer \"\"]: no node\n");
	conf_told_refused(NODE "[queue \"a b\"]\n[queue \"\"]\n[queue \"Node/q\"]\n[queue \"a/b/c\"]\n[queue \"/q\"]\n[queue \".*\"]\n[queue \"topic:x\"]\n",
	    "f:3: [queue \"a b\"]: neither\nf:4: [queue \"\"]: neither\nf:5: [queue \"Node/q\"]: neither\nf:6: [queue \"a/b/c\"]: neither\n"
	    "f:7: [queue \"/q\"]: neither\nf:8: [queue \".*\"]: neither\nf:9: [queue \"topic:x\"]: neither\n");
	conf_free(conf_told_ok(NODE "[queue \"*\"]\n[queue \"*.dead\"]\n[queue \"*/q\"]\n[queue \"berlin/*\"]\n[queue \"a*b*\"]\n"));
}
END_TEST

START_TEST(the_same_twice)
{
	conf_told_refused(NODE "[queue \"q\"]\nttl = 1s\n[node]\nname = berlin\n[queue \"q\"]\nttl = 1\n",
	    "f:5: this section is there twice, first in f:1\nf:7: this section is there twice, first in f:3\nf:8: ttl: 1 is no duration\n");
	/* The same name in another kind of section is another section. */
	conf_free(conf_told_ok(NODE BERLIN "[queue \"berlin\"]\n"));
}
END_TEST

START_TEST(unknown_and_later_keys)
{
	conf_told_refused(NODE "nmae = x\ndurable = no\nzzzzzz = 1\n",
	    "f:3: unknown key nmae in [node]: did you mean name?\n"
	    "f:4: durable belongs into [queue]\nf:5: unknown key zzzzzz in [node]\n");
	conf_told_refused(NODE BERLIN "rate = 5\n[queue \"q\"]\ndurabel = no\n",
	    "f:6: rate comes\n"
	    "f:8: unknown key durabel in [queue]: did you mean durable?\n");
	conf_told_refused(NODE "[peer \"x\"]\nrate = 1M\n", "f:4: rate comes with a later version\n");
	conf_told_refused(NODE "bad\001key\x7f = 1\n", "f:3: unknown key bad?key?\n");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("conf_read");
	TCase *t = tcase_create("conf_read");
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
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
