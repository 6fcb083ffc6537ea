/* The command line of connectd, its exit codes, and what refuses a start. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "operator.h"
#include "wire.h"

static char out[65536], err[65536];

static int
run(const char *a, const char *b, const char *c, const char *d)
{
	const char *const args[] = { a, b, c, d, NULL };

	return node_run(args, out, sizeof(out), err, sizeof(err));
}

START_TEST(version_and_help)
{
	ck_assert_int_eq(run("-V", NULL, NULL, NULL), 0);
	ck_assert_str_eq(out, "connectd " CONNECTD_VERSION "\n");
	ck_assert_int_eq(run("-h", NULL, NULL, NULL), 0);
	ck_assert_ptr_nonnull(strstr(out, "usage: connectd"));
	ck_assert_str_eq(err, "");
}
END_TEST

START_TEST(usage)
{
	static const char *const bad[][4] = { { "-x" }, { "-c" }, { "-v" }, { "-n", "-k" }, { "stray" }, { "-n", "stray" } };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ck_assert_int_eq(run(bad[i][0], bad[i][1], bad[i][2], bad[i][3]), 2);
		ck_assert_ptr_nonnull(strstr(err, "usage: connectd"));
		ck_assert_str_eq(out, "");
	}
}
END_TEST

/* Made on first use, for its owner alone; the same from then on, also beside a daemon that uses it. */
START_TEST(key)
{
	char first[128], path[128];
	struct stat st;
	struct node n;

	node_init(&n, "paris", "[listen \"lan\"]\naddress = tls://127.0.0.1:0\n");
	ck_assert_msg(run("-k", "-c", n.conf, NULL) == 0, "%s", err);
	ck_assert_uint_eq(strlen(out), strlen("sha256:") + 44 + 1);
	snprintf(first, sizeof(first), "%.100s", out);
	snprintf(path, sizeof(path), "%s/state/key.pem", n.dir);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	node_start(&n);
	ck_assert_msg(run("-k", "-c", n.conf, NULL) == 0, "%s", err);
	ck_assert_str_eq(out, first);
	ck_assert_int_eq(node_stop(&n), 0);
	/* A key alone was never used, or its certificate is lost. */
	snprintf(path, sizeof(path), "%s/state/certificate.pem", n.dir);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(run("-k", "-c", n.conf, NULL), 78);
	ck_assert_ptr_nonnull(strstr(err, "put the certificate beside its key, or remove the key"));
	ck_assert_int_eq(node_refuses(&n), 78);
}
END_TEST

/* Is the key refused, with what to do, by -k, at a start and at a reload? */
static void
check_key_refused(struct node *n, const char *path, const char *mode)
{
	char expected[200];

	snprintf(expected, sizeof(expected), "others may read it, or own it: chmod %s %s", mode, path);
	ck_assert_int_eq(run("-k", "-c", n->conf, NULL), 78);
	ck_assert_msg(strstr(err, expected) != NULL, "%s", err);
	ck_assert_str_eq(out, "");
	ck_assert_int_eq(node_refuses(n), 78);
	ck_assert(node_logged(n, expected));
}

START_TEST(key_that_others_may_read)
{
	static const mode_t wrong[] = { 0640, 0604, 0620, 0644 };
	char path[128], elsewhere[128];
	struct stat st;
	struct node n;

	node_init(&n, "paris", "[listen \"lan\"]\naddress = tls://127.0.0.1:0\n");
	ck_assert_int_eq(run("-k", "-c", n.conf, NULL), 0);
	snprintf(path, sizeof(path), "%s/state/key.pem", n.dir);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		ck_assert_int_eq(chmod(path, wrong[i]), 0);
		check_key_refused(&n, path, "0600");
	}
	ck_assert_int_eq(chmod(path, 0600), 0);
	node_start(&n);
	/* What a running daemon has it keeps. */
	ck_assert_int_eq(chmod(path, 0644), 0);
	operator_fails(&n, "chmod 0600", "reload");
	ck_assert_int_eq(chmod(path, 0600), 0);
	operator_does(&n, "read again", "reload");
	ck_assert_int_eq(node_stop(&n), 0);

	/* Elsewhere a group may be given it, others not. A link is the administrator's, and is followed. */
	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere.pem", n.dir);
	ck_assert_int_eq(rename(path, elsewhere), 0);
	ck_assert_int_eq(symlink(elsewhere, path), 0);
	node_configure(&n, "key = %s\n[listen \"lan\"]\naddress = tls://127.0.0.1:0\n", path);
	ck_assert_int_eq(chmod(elsewhere, 0640), 0);
	ck_assert_msg(run("-k", "-c", n.conf, NULL) == 0, "%s", err);
	ck_assert_int_eq(chmod(elsewhere, 0660), 0);
	check_key_refused(&n, path, "0640");
	ck_assert_int_eq(chmod(elsewhere, 0644), 0);
	check_key_refused(&n, path, "0640");
	if (geteuid() == 0) {
		ck_assert_int_eq(chmod(elsewhere, 0640), 0);
		ck_assert_int_eq(chown(elsewhere, 65534, 0), 0);
		check_key_refused(&n, path, "0640");
	}
	/* In the state folder none is followed. */
	node_configure(&n, "[listen \"lan\"]\naddress = tls://127.0.0.1:0\n");
	ck_assert_int_eq(run("-k", "-c", n.conf, NULL), 78);
	ck_assert_ptr_nonnull(strstr(err, "key.pem"));
	ck_assert_int_eq(lstat(path, &st), 0);
	ck_assert(S_ISLNK(st.st_mode));
}
END_TEST

START_TEST(state_folder_that_others_may_enter)
{
	char path[128], away[128];
	struct node n;

	node_init(&n, "paris", "%s", "");
	node_start(&n);
	ck_assert_int_eq(node_stop(&n), 0);
	snprintf(path, sizeof(path), "%s/state", n.dir);
	ck_assert_int_eq(chmod(path, 0750), 0);
	ck_assert_int_eq(node_refuses(&n), 78);
	ck_assert(node_logged(&n, "it must be the daemon's own user's, and closed to others: chmod 0700"));
	ck_assert_int_eq(run("-k", "-c", n.conf, NULL), 78);
	ck_assert_int_eq(chmod(path, 0700), 0);
	/* Nor is it reached through a link. */
	snprintf(away, sizeof(away), "%s/away", n.dir);
	ck_assert_int_eq(rename(path, away), 0);
	ck_assert_int_eq(symlink(away, path), 0);
	ck_assert_int_eq(node_refuses(&n), 78);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(rename(away, path), 0);
	node_start(&n);
	ck_assert_int_eq(node_stop(&n), 0);
}
END_TEST

/* Beside a daemon that does without nothing is made: it would not know. */
START_TEST(no_key_beside_a_daemon_without)
{
	struct node n;

	node_init(&n, "paris", "%s", "");
	node_start(&n);
	ck_assert_int_eq(run("-k", "-c", n.conf, NULL), 78);
	ck_assert_ptr_nonnull(strstr(err, "there is no such file"));
	ck_assert_str_eq(out, "");
	ck_assert_int_eq(node_stop(&n), 0);
	ck_assert_int_eq(run("-k", "-c", n.conf, NULL), 0);
}
END_TEST

START_TEST(check_names_every_fault)
{
	struct node n;
	char expected[128];

	node_init(&n, "paris", "nonsense = 1\n[peer \"berlin\"]\naddress = tcp://127.0.0.1\n");
	ck_assert_int_eq(run("-n", "-c", n.conf, NULL), 1);
	snprintf(expected, sizeof(expected), "%s:8: ", n.conf);
	ck_assert_msg(strstr(err, expected) != NULL, "%s", err);
	snprintf(expected, sizeof(expected), "%s:10: ", n.conf);
	ck_assert_msg(strstr(err, expected) != NULL, "%s", err);
	ck_assert_str_eq(out, "");
	/* It is not a start. */
	ck_assert_int_eq(node_refuses(&n), 78);
	ck_assert(node_logged(&n, expected));
}
END_TEST

START_TEST(check_of_a_good_file_makes_nothing)
{
	struct node n;
	char state[64];

	node_init(&n, "paris", "%s", "");
	ck_assert_int_eq(run("-n", "-c", n.conf, NULL), 0);
	ck_assert_str_eq(out, "");
	ck_assert_str_eq(err, "");
	snprintf(state, sizeof(state), "%s/state", n.dir);
	ck_assert_int_ne(access(state, F_OK), 0);
}
END_TEST

START_TEST(settings_read_back_to_the_same)
{
	static char first[sizeof(out)];
	struct node n;
	char path[64];
	FILE *f;

	node_init(&n, "paris", "max_memory = 48M\nkeepalive = 12s\n[listen \"lan\"]\naddress = tcp://127.0.0.1:0, tcp://[::1]:0\n"
	    "plaintext = yes\n[peer \"berlin\"]\nplaintext = yes\nfrom = 10.0.0.0/8\n[queue \"orders\"]\nmax_messages = 77\nttl = 90s\n");
	ck_assert_int_eq(run("-nv", "-c", n.conf, NULL), 0);
	ck_assert_ptr_nonnull(strstr(out, "max_memory = 48M\n"));
	ck_assert_ptr_nonnull(strstr(out, "max_messages = 77\n"));
	strcpy(first, out);
	snprintf(path, sizeof(path), "%s/again", n.dir);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(first, f);
	fclose(f);
	ck_assert_int_eq(run("-nv", "-c", path, NULL), 0);
	ck_assert_str_eq(err, "");
	ck_assert_str_eq(out, first);
}
END_TEST

START_TEST(missing_file)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/none", nodes_folder());
	ck_assert_int_eq(run("-c", path, NULL, NULL), 78);
	ck_assert_ptr_nonnull(strstr(err, path));
	ck_assert_int_eq(run("-n", "-c", path, NULL), 1);
	ck_assert_ptr_nonnull(strstr(err, path));
}
END_TEST

START_TEST(state_of_another_node)
{
	struct node n;

	node_init(&n, "paris", "%s", "");
	node_start(&n);
	ck_assert_int_eq(node_stop(&n), 0);
	snprintf(n.name, sizeof(n.name), "rome");
	node_configure(&n, "%s", "");
	ck_assert_int_eq(node_refuses(&n), 78);
	ck_assert(node_logged(&n, "belongs to the node paris"));
	/* Nothing was changed. */
	snprintf(n.name, sizeof(n.name), "paris");
	node_configure(&n, "%s", "");
	node_start(&n);
	ck_assert_int_eq(node_stop(&n), 0);
}
END_TEST

START_TEST(state_in_use)
{
	struct node a, b;

	node_init(&a, "paris", "%s", "");
	node_start(&a);
	b = a;
	b.asking = b.hearing = NULL;
	snprintf(b.notify, sizeof(b.notify), "%s/other", a.dir);
	ck_assert_int_eq(node_refuses(&b), 78);
	ck_assert(node_logged(&a, "another daemon uses it"));
	ck_assert_int_eq(node_stop(&a), 0);
}
END_TEST

START_TEST(address_in_use)
{
	struct node a, b;

	node_init(&a, "paris", "[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n");
	node_start(&a);
	/* That may pass: systemd shall try again. */
	node_init(&b, "rome", "[listen \"lan\"]\naddress = %s\nplaintext = yes\n", a.url);
	ck_assert_int_eq(node_refuses(&b), 1);
	ck_assert(node_logged(&b, a.url));
	ck_assert_int_eq(node_stop(&a), 0);
}
END_TEST

START_TEST(rights_of_the_socket)
{
	struct node n;
	struct stat st;

	node_init(&n, "paris", "socket_mode = 0620\nsocket_group = 1\n");
	node_start(&n);
	ck_assert_int_eq(stat(n.socket, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0620);
	ck_assert_uint_eq(st.st_gid, 1);
	ck_assert_int_eq(node_stop(&n), 0);
	ck_assert_int_ne(stat(n.socket, &st), 0);
	/* One left over from a crash is in nobody's way. */
	node_start(&n);
	node_kill(&n);
	ck_assert_int_eq(stat(n.socket, &st), 0);
	node_start(&n);
	ck_assert_int_eq(node_stop(&n), 0);
}
END_TEST

START_TEST(starts_are_counted)
{
	struct node n;

	node_init(&n, "paris", "%s", "");
	for (uint32_t i = 1; i <= 3; i++) {
		struct answer a;

		node_start(&n);
		node_ask(&n, WIRE_ADMIN_STATUS, "", 0, &connectd__v1__status__descriptor, &a);
		ck_assert_uint_eq(((const Connectd__V1__Status *)a.items[0])->start_count, i);
		answer_free(&a);
		node_kill(&n);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("options");
	TCase *tc = tcase_create("options");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, version_and_help);
	tcase_add_test(tc, usage);
	tcase_add_test(tc, key);
	tcase_add_test(tc, key_that_others_may_read);
	tcase_add_test(tc, state_folder_that_others_may_enter);
	tcase_add_test(tc, no_key_beside_a_daemon_without);
	tcase_add_test(tc, check_names_every_fault);
	tcase_add_test(tc, check_of_a_good_file_makes_nothing);
	tcase_add_test(tc, settings_read_back_to_the_same);
	tcase_add_test(tc, missing_file);
	tcase_add_test(tc, state_of_another_node);
	tcase_add_test(tc, state_in_use);
	tcase_add_test(tc, address_in_use);
	if (geteuid() == 0)
		tcase_add_test(tc, rights_of_the_socket);
	tcase_add_test(tc, starts_are_counted);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
