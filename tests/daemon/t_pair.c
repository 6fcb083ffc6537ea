/* Two operators introduce their nodes to each other, as connectctl pair tells them. */
#include <check.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "operator.h"

#define LISTENER "[listen \"lan\"]\naddress = tls://127.0.0.1:0\n"
#define OTHER "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
#define OTHER_CHECK "e3b0 c442 98fc 1c14 9afb"

static struct node paris, berlin;

static void
begin(const char *at_paris, const char *at_berlin)
{
	node_init(&paris, "paris", "%s", at_paris);
	node_init(&berlin, "berlin", "%s", at_berlin);
	node_start(&paris);
	node_start(&berlin);
}

static void
end(void)
{
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}

/* The section for a node in what was printed, as it stands there. */
static const char *
section(const char *text, const char *name)
{
	static char found[600];
	char head[64];
	const char *at;

	snprintf(head, sizeof(head), "    [peer \"%s\"]\n", name);
	at = strstr(text, head);
	ck_assert_msg(at != NULL, "%s", text);
	snprintf(found, sizeof(found), "%.*s\n", (int)(strstr(at, "\n\n") - at), at);
	return found;
}

/* The value behind this in a section. */
static const char *
value(const char *text, const char *key, char buf[static 128])
{
	const char *at = strstr(text, key);

	ck_assert_msg(at != NULL, "no %s: %s", key, text);
	at += strlen(key);
	snprintf(buf, 128, "%.*s", (int)strcspn(at, ",\n"), at);
	return buf;
}

/* The two lines that are read out. */
static const char *
check_lines(const char *text)
{
	static char lines[2][200];
	static unsigned turn;
	char *ret = lines[turn++ % 2];
	const char *at = strstr(text, "\n    berlin  ");

	ck_assert_msg(at != NULL, "%s", text);
	snprintf(ret, sizeof(lines[0]), "%.*s", (int)(strstr(at, "\n\n") - at), at);
	ck_assert_msg(strstr(ret, "\n    paris   ") != NULL, "%s", text);
	return ret;
}

START_TEST(two_nodes_meet)
{
	char key[128], address[128];
	struct operated at_paris, at_berlin;

	begin(LISTENER, LISTENER);
	/* What each sends the other. */
	operator_runs(&paris, &at_paris, "pair berlin");
	ck_assert_int_eq(at_paris.code, 0);
	ck_assert_ptr_nonnull(strstr(at_paris.out, "go on: connectctl pair berlin FINGERPRINT"));
	value(section(at_paris.out, "paris"), "fingerprint = ", key);
	ck_assert(operator_sees(&paris, key, "key"));
	value(section(at_paris.out, "paris"), "address = ", address);
	ck_assert_str_eq(address, paris.url);
	/* berlin puts in what it got: that of the other's screen, or that of its own. */
	operator_runs(&berlin, &at_berlin, "pair paris %s %s", key, address);
	ck_assert_msg(at_berlin.code == 0, "%s", at_berlin.err);
	ck_assert_ptr_nonnull(strstr(at_berlin.out, "connectctl reload"));
	ck_assert_str_eq(section(strstr(at_berlin.out, "configuration of this node"), "paris"), section(at_paris.out, "paris"));
	value(section(at_berlin.out, "berlin"), "fingerprint = ", key);
	operator_runs(&paris, &at_paris, "pair berlin 'fingerprint = %s'", key);
	ck_assert_msg(at_paris.code == 0, "%s", at_paris.err);
	ck_assert_str_eq(check_lines(at_paris.out), check_lines(at_berlin.out));
	/* Nothing was changed. */
	ck_assert(!operator_sees(&paris, "berlin", "peers"));
	node_configure(&paris, "%s%s", LISTENER, section(strstr(at_paris.out, "configuration of this node"), "berlin"));
	operator_does(&paris, "read again", "reload");
	node_configure(&berlin, "%s%s", LISTENER, section(strstr(at_berlin.out, "configuration of this node"), "paris"));
	operator_does(&berlin, "read again", "reload");
	operator_awaits(&paris, "up", "peers");
	operator_awaits(&berlin, "up", "peers");
	ck_assert(operator_sees(&paris, "fingerprint", "peers"));
	/* Once more, when a key is replaced. */
	operator_does(&paris, "both may stand there", "pair berlin " OTHER);
	operator_does(&paris, "\"known\":true", "pair berlin --json");
	end();
}
END_TEST

/* A node that only dials has no key before it knows whom. */
START_TEST(one_that_only_dials)
{
	char key[128], address[128];
	struct operated r;

	begin("", "[listen \"lan\"]\naddress = tls://0.0.0.0:0, tls://127.0.0.1:0\n");
	operator_fails(&paris, "this node has no key yet", "pair berlin");
	operator_runs(&berlin, &r, "pair paris");
	ck_assert_ptr_nonnull(strstr(r.out, "(or another name or address of this host, by which paris can reach it)"));
	value(section(r.out, "berlin"), "fingerprint = ", key);
	value(strchr(section(r.out, "berlin"), ','), ", ", address);
	operator_runs(&paris, &r, "pair berlin %s %s", key, address);
	ck_assert_msg(r.code == 0, "%s", r.err);
	ck_assert_ptr_nonnull(strstr(r.out, "makes its own key when it reads that"));
	node_configure(&paris, "%s", section(r.out, "berlin"));
	operator_does(&paris, "read again", "reload");
	operator_does(&paris, "it has to dial berlin", "pair berlin %s %s", key, address);
	end();
}
END_TEST

START_TEST(what_is_wrong_is_said)
{
	char key[128];
	struct operated r;

	begin(LISTENER, "[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n");
	operator_fails(&paris, "no fingerprint of berlin: no sha256: in front. `connectctl key' prints it there", "pair berlin 47DEQ");
	operator_fails(&paris, "not 43 characters", "pair berlin sha256:47DEQ");
	operator_fails(&paris, "paris is this node: name the other one", "pair paris");
	operator_fails(&berlin, "Give it a [listen] section with a tls:// address", "pair paris");
	operator_runs(&paris, &r, "key");
	snprintf(key, sizeof(key), "%.*s", (int)strcspn(r.out, "\n"), r.out);
	operator_fails(&paris, "that is this node's own key", "pair berlin %s", key);
	operator_runs(&paris, &r, "pair 'till-*'");
	ck_assert(r.code == 2 && strstr(r.err, "known by a CA"));
	operator_runs(&paris, &r, "pair Berlin");
	ck_assert(r.code == 2 && strstr(r.err, "no name of a node"));
	operator_runs(&paris, &r, "pair berlin " OTHER " tcp://berlin:7000");
	ck_assert(r.code == 2 && strstr(r.err, "not with TLS"));
	operator_runs(&paris, &r, "pair berlin " OTHER " nowhere");
	ck_assert_int_eq(r.code, 2);
	operator_runs(&paris, &r, "pair");
	ck_assert_int_eq(r.code, 2);
	operator_does(&paris, "\"section_here\":\"[peer \\\"berlin\\\"]\\naddress = tls://b:7\\nfingerprint = " OTHER "\\n\"",
	    "pair berlin " OTHER " tls://b:7 --json");
	operator_does(&paris, "\"peer_check\":\"" OTHER_CHECK "\"", "pair berlin " OTHER " --json");
	/* Without a listener with TLS, and without the other's address, nobody would dial. */
	node_configure(&berlin, "[peer \"rome\"]\nfingerprint = " OTHER "\n");
	operator_does(&berlin, "read again", "reload");
	operator_does(&berlin, "one of the two must dial", "pair paris %s", key);
	end();
}
END_TEST

/* At a terminal, with these lines typed; what stood on it is in text. */
static int
at_terminal(const char *typed, char *text, size_t size)
{
	const char *b = getenv("B");
	char program[200];
	size_t len = 0;
	int fd, status;
	ssize_t n;
	pid_t pid = forkpty(&fd, NULL, NULL, NULL);

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		snprintf(program, sizeof(program), "%s/connectctl", b ? b : "build");
		execl(program, program, "-s", paris.socket, "pair", "berlin", (char *)NULL);
		_exit(127);
	}
	ck_assert_int_eq(write(fd, typed, strlen(typed)), (ssize_t)strlen(typed));
	/* The other end is gone when that fails. */
	while (len < size - 1 && (n = read(fd, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(fd);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

START_TEST(asked_at_a_terminal)
{
	char text[8000];

	begin(LISTENER, LISTENER);
	ck_assert_int_eq(at_terminal("nonsense\n  fingerprint = " OTHER "\ntcp://a:1\ntls://berlin.example:7000\n", text, sizeof(text)), 0);
	ck_assert_msg(strstr(text, "That is no fingerprint: no sha256: in front.") != NULL, "%s", text);
	ck_assert_msg(strstr(text, "That is no address: not with TLS") != NULL, "%s", text);
	ck_assert_msg(strstr(text, "    address = tls://berlin.example:7000\r\n    fingerprint = " OTHER "\r\n") != NULL, "%s", text);
	ck_assert_msg(strstr(text, "    berlin  " OTHER_CHECK "\r\n    paris   ") != NULL, "%s", text);
	/* Not yet. */
	ck_assert_int_eq(at_terminal("\n", text, sizeof(text)), 0);
	ck_assert_msg(strstr(text, "go on: connectctl pair berlin FINGERPRINT") != NULL, "%s", text);
	end();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("pair");
	TCase *t = tcase_create("pair");
	SRunner *sr;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, two_nodes_meet);
	tcase_add_test(t, one_that_only_dials);
	tcase_add_test(t, what_is_wrong_is_said);
	tcase_add_test(t, asked_at_a_terminal);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed > 0);
	srunner_free(sr);
	return failed ? 1 : 0;
}
