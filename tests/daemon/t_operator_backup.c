/* A backup of a daemon at work, and what comes of restoring it. */
#include <check.h>
#include <connectd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "operator.h"
#include "program.h"

#define QUEUES "[queue \"*\"]\ndurable = yes\n[queue \"orders\"]\ndurable = yes\n"

static struct node paris, copy;

static void
begin(void)
{
	node_init(&paris, "paris", QUEUES);
	node_init(&copy, "paris", QUEUES);
	node_start(&paris);
}

static void
run(const char *command)
{
	ck_assert_msg(system(command) == 0, "%s", command);
}

/* The backup that was made into the folder `backup` of the node becomes the state of the other. */
static void
restore(void)
{
	char command[200];

	snprintf(command, sizeof(command), "cp -a %s/backup %s/state", paris.dir, copy.dir);
	run(command);
}

static void
fill(uint64_t first, uint64_t last)
{
	struct connectd *c = program_open(&paris, "sender");

	program_send_numbers(c, "orders", first, last, NULL);
	program_flush(c);
	connectd_close(c);
}

/* What waits at the copy is 1 to n, in order; returns n. */
static uint64_t
count_copy(void)
{
	struct connectd *c = program_open(&copy, "taker");
	struct connectd_msg *m;
	uint64_t n = 0;

	program_consume(c, "orders", 0);
	while (connectd_recv(c, &m, n == 0 ? PROGRAM_PATIENCE_MS : 300) == 0) {
		ck_assert_uint_eq(strtoull(program_text(m), NULL, 10), ++n);
		program_ack(c, m);
	}
	connectd_close(c);
	return n;
}

/* A program that sends for as long as it lives. */
static pid_t
send_for_ever(uint64_t first)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		fill(first, first + 99), first += 100;
}

START_TEST(of_a_daemon_at_work)
{
	struct operated r;
	uint64_t n;
	pid_t pid;
	int status;

	begin();
	fill(1, 500);
	pid = send_for_ever(501);
	operator_runs(&paris, &r, "backup %s/backup --json", paris.dir);
	ck_assert_msg(r.code == 0, "%s", r.err);
	ck_assert_ptr_nonnull(strstr(r.out, "{\"bytes\":"));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	restore();
	node_start(&copy);
	ck_assert(!node_logged(&copy, "damage"));
	n = count_copy();
	ck_assert_uint_ge(n, 500);
	/* And it goes on. */
	ck_assert_int_eq(node_stop(&copy), 0);
	node_start(&copy);
	ck_assert_int_eq(node_stop(&copy), 0);
	node_kill(&paris);
	node_start(&paris);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

START_TEST(refusals)
{
	char path[100];

	begin();
	fill(1, 10);
	operator_does(&paris, "folder", "backup %s/backup", paris.dir);
	operator_fails(&paris, "is not empty, and nothing is overwritten: name a new folder", "backup %s/backup", paris.dir);
	operator_fails(&paris, "is not empty, and nothing is overwritten", "backup %s/state", paris.dir);
	operator_fails(&paris, "the folder that it is to be made in does not exist", "backup %s/no/where", paris.dir);
	snprintf(path, sizeof(path), "%s/open", paris.dir);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	operator_fails(&paris, "closed to others (mode 0700)", "backup %s", path);
	ck_assert_int_eq(chmod(path, 0700), 0);
	operator_does(&paris, "folder", "backup %s", path);
	/* Held and moved, all is in it. */
	restore();
	node_start(&copy);
	ck_assert_uint_eq(count_copy(), 10);
	ck_assert_int_eq(node_stop(&copy), 0);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

/* Whom it met, its starts and its identity are in it. */
START_TEST(state_is_in_it)
{
	struct operated before, after;

	begin();
	operator_does(&paris, "another identity", "renew");
	operator_does(&paris, "orders is held", "hold orders");
	operator_does(&paris, "folder", "backup %s/backup", paris.dir);
	operator_runs(&paris, &before, "status --json");
	ck_assert_int_eq(node_stop(&paris), 0);
	restore();
	node_start(&copy);
	operator_runs(&copy, &after, "status --json");
	/* "node", "version", "store_id": the same; the start is another one. */
	ck_assert_int_eq(strncmp(before.out, after.out, (size_t)(strstr(before.out, "\"start_count\"") - before.out)), 0);
	ck_assert_ptr_nonnull(strstr(after.out, "\"start_count\":2"));
	ck_assert(operator_sees(&copy, "\"held\":true", "queues orders --json"));
	ck_assert_int_eq(node_stop(&copy), 0);
}
END_TEST

/* disktest needs no daemon, and leaves nothing. */
START_TEST(disk)
{
	struct operated r;

	begin();
	operator_runs(&paris, &r, "disktest %s --seconds 1 --json", paris.dir);
	ck_assert_msg(r.code == 0, "%s", r.err);
	ck_assert_ptr_nonnull(strstr(r.out, "\"verdict\":\""));
	ck_assert_ptr_nonnull(strstr(r.out, "\"writes\":[{\"size\":1024,\"syncs\":"));
	operator_fails(&paris, "No such file or directory", "disktest %s/nowhere --seconds 1", paris.dir);
	operator_runs(&paris, &r, "disktest %s --seconds 0", paris.dir);
	ck_assert_int_eq(r.code, 2);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("operator_backup");
	TCase *tc = tcase_create("operator_backup");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, of_a_daemon_at_work);
	tcase_add_test(tc, refusals);
	tcase_add_test(tc, state_is_in_it);
	tcase_add_test(tc, disk);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
