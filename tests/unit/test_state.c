#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop.h"
#include "state.h"
#include "task.h"

#define AHEAD (64 << 10) /* bytes of a file of starts */

static char folder[64];
static struct loop *loop;
static struct task_runner *runner;
static char why[200];

static void
setup(void)
{
	snprintf(folder, sizeof(folder), "/tmp/cstXXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	loop = loop_new();
	runner = task_runner_new(loop);
	ck_assert(loop && runner);
}

static void
teardown(void)
{
	char command[128];

	task_runner_free(runner);
	loop_free(loop);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static struct state *
open_ok(void)
{
	struct state *s = NULL;
	int r = state_open(loop, runner, folder, "paris", &s, why);

	ck_assert_msg(r == 0, "%d: %s", r, why);
	return s;
}

static void
open_fails(const char *node, int expected, const char *text)
{
	struct state *s = NULL;
	int r;

	why[0] = '\0';
	r = state_open(loop, runner, folder, node, &s, why);
	ck_assert_int_eq(r, expected);
	ck_assert_ptr_null(s);
	ck_assert_msg(strstr(why, text) != NULL, "'%s' is not in '%s'", text, why);
}

static const char *
path_of(const char *file)
{
	static char path[160];

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	return path;
}

static void
write_at(const char *file, long offset, const void *data, size_t len)
{
	int fd = open(path_of(file), O_WRONLY | O_CREAT, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, data, len, offset), (ssize_t)len);
	close(fd);
}

static long
size_of(const char *file)
{
	struct stat st;

	return stat(path_of(file), &st) < 0 ? -1 : (long)st.st_size;
}

START_TEST(starts_are_counted)
{
	uint64_t boots[3];
	uint8_t id[STATE_ID];

	for (uint32_t i = 0; i < 3; i++) {
		struct state *s = open_ok();

		ck_assert_uint_eq(state_start_count(s), i + 1);
		boots[i] = state_boot_id(s);
		if (i == 0)
			memcpy(id, state_store_id(s), STATE_ID);
		ck_assert_mem_eq(id, state_store_id(s), STATE_ID);
		for (uint32_t k = 0; k <= i; k++)
			ck_assert(state_had_start(s, k + 1, boots[k]));
		ck_assert(state_had_start(s, 0, 0));
		ck_assert(!state_had_start(s, 0, 1));
		ck_assert(!state_had_start(s, i + 2, boots[i]));
		ck_assert(!state_had_start(s, 1, boots[0] + 1));
		state_close(s);
		ck_assert(size_of("starts") == AHEAD && size_of("starts.2") == AHEAD);
	}
	ck_assert(boots[0] != boots[1] && boots[1] != boots[2]);
}
END_TEST

START_TEST(one_daemon_at_a_time)
{
	struct state *s = open_ok();

	open_fails("paris", -EBUSY, "another daemon");
	state_close(s);
	s = open_ok();
	ck_assert_uint_eq(state_start_count(s), 2);
	state_close(s);
}
END_TEST

START_TEST(folder_of_another_node)
{
	struct state *s;

	state_close(open_ok());
	open_fails("berlin", -EINVAL, "belongs to the node paris");
	s = open_ok();
	ck_assert_uint_eq(state_start_count(s), 2); /* that was no start */
	state_close(s);
}
END_TEST

START_TEST(folder_open_to_others)
{
	ck_assert_int_eq(chmod(folder, 0755), 0);
	open_fails("paris", -EPERM, "closed to others");
}
END_TEST

/* What was being written when the power went is no start, wherever it is torn. */
START_TEST(torn_record_is_no_start)
{
	static const uint8_t junk[16] = { 1, 2, 3 };
	static const size_t tails[] = { 1, 15, 16 };

	for (size_t i = 0; i < sizeof(tails) / sizeof(*tails); i++) {
		struct state *s = open_ok();
		uint32_t count = state_start_count(s);
		uint64_t boot = state_boot_id(s);

		state_close(s);
		write_at(i % 2 ? "starts" : "starts.2", 16 * (long)count, junk, tails[i]);
		s = open_ok();
		ck_assert_uint_eq(state_start_count(s), count + 1);
		ck_assert(state_had_start(s, count, boot));
		state_close(s);
	}
}
END_TEST

/* A power cut may spoil all of the file that is written: the other one has all starts. */
START_TEST(either_file_is_enough)
{
	static const char *const files[] = { "starts", "starts.2" };
	static const uint8_t junk[64];

	state_close(open_ok());
	for (uint32_t i = 0; i < 6; i++) {
		struct state *s;

		if (i < 4)
			write_at(files[i % 2], 0, junk, sizeof(junk));
		else
			ck_assert_int_eq(unlink(path_of(files[i % 2])), 0);
		s = open_ok();
		ck_assert_uint_eq(state_start_count(s), i + 2);
		state_close(s);
	}
}
END_TEST

START_TEST(record_bad_in_both_is_damage)
{
	for (int i = 0; i < 3; i++)
		state_close(open_ok());
	write_at("starts", 20, "\1\2\3", 3);
	state_close(open_ok());
	write_at("starts", 20, "\1\2\3", 3);
	write_at("starts.2", 24, "\1\2\3", 3);
	open_fails("paris", -EINVAL, "damaged at record 2");
}
END_TEST

START_TEST(records_belong_to_their_place_and_folder)
{
	uint8_t rec[16];
	int fd;

	for (int i = 0; i < 3; i++)
		state_close(open_ok());
	fd = open(path_of("starts"), O_RDONLY);
	ck_assert_int_eq(pread(fd, rec, 16, 0), 16);
	close(fd);
	write_at("starts", 16, rec, 16);
	write_at("starts.2", 16, rec, 16);
	open_fails("paris", -EINVAL, "damaged at record 2");
}
END_TEST

/* The newest start with a journal, over starts without; what is written for it takes no new space. */
START_TEST(starts_with_a_journal)
{
	struct state *s = open_ok();

	ck_assert_uint_eq(state_journal_start(s), 0);
	state_close(s);
	s = open_ok();
	ck_assert_int_eq(state_mark_journal(s), 0);
	ck_assert_uint_eq(state_journal_start(s), 2);
	ck_assert(size_of("starts") == AHEAD && size_of("starts.2") == AHEAD);
	state_close(s);
	for (uint32_t i = 3; i <= 6; i++) {
		uint64_t boot;

		s = open_ok();
		ck_assert_uint_eq(state_start_count(s), i);
		ck_assert_uint_eq(state_journal_start(s), i == 6 ? 5 : 2);
		boot = state_boot_id(s);
		if (i == 5)
			ck_assert_int_eq(state_mark_journal(s), 0);
		ck_assert(state_had_start(s, i, boot));
		state_close(s);
	}
}
END_TEST

/* Of the two files either is enough for that, too; and a mark that was only half written may be there or not. */
START_TEST(either_file_tells_of_the_journal)
{
	static const char *const files[] = { "starts", "starts.2" };
	static const uint8_t junk[64];

	for (uint32_t i = 0; i < 6; i++) {
		struct state *s = open_ok();

		ck_assert_uint_eq(state_start_count(s), i + 1);
		ck_assert_uint_eq(state_journal_start(s), i);
		ck_assert_int_eq(state_mark_journal(s), 0);
		state_close(s);
		if (i < 4)
			write_at(files[i % 2], 16 * (long)i, junk, 16);
		else
			ck_assert_int_eq(unlink(path_of(files[i % 2])), 0);
	}
}
END_TEST

START_TEST(missing_node_file_is_damage)
{
	state_close(open_ok());
	ck_assert_int_eq(unlink(path_of("node")), 0);
	open_fails("paris", -EINVAL, "node is missing");
	ck_assert_int_eq(size_of("node"), -1);
}
END_TEST

START_TEST(damaged_node_files)
{
	static const char *const texts[] = { "", "format 1\n", "format 1\nnode paris\nstore 12\n",
		"format 1\nnode PARIS\nstore 00112233445566778899aabbccddeeff\n",
		"format 1\nnode paris\nstore 00112233445566778899aabbccddeeff\nfirst 12\n",
		"format 1\nnode paris\nstore 00112233445566778899aabbccddeeff\nfirst 00112233445566778899aabbccddeeff\nmore\n" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		unlink(path_of("node"));
		write_at("node", 0, texts[i], strlen(texts[i]));
		open_fails("paris", -EINVAL, "node is damaged");
	}
	unlink(path_of("node"));
	write_at("node", 0, "format 2\n", 9);
	open_fails("paris", -EINVAL, "newer version");
}
END_TEST

/* ----------------------------------------------------------------- meeting */

struct told {
	int calls, error;
};

static void
tell(void *arg, int error)
{
	struct told *t = arg;

	t->calls++;
	t->error = error;
}

static void
wait_for(struct told *t, int calls)
{
	while (t->calls < calls)
		ck_assert_int_ge(loop_step(loop, true), 0);
	ck_assert_int_eq(t->error, 0);
}

static struct state_peer
peer_of(uint8_t id, uint32_t start, uint64_t boot)
{
	struct state_peer p = { .start_count = start, .boot_id = boot };

	memset(p.store_id, id, STATE_ID);
	return p;
}

static void
met_is(struct state *s, const char *name, const struct state_peer *p)
{
	const struct state_peer *met = state_met(s, name);

	ck_assert_ptr_nonnull(met);
	ck_assert_mem_eq(met->store_id, p->store_id, STATE_ID);
	ck_assert_uint_eq(met->start_count, p->start_count);
	ck_assert_uint_eq(met->boot_id, p->boot_id);
}

START_TEST(meetings_are_kept)
{
	struct state_peer first = peer_of(7, 1, 0xfedcba9876543210u), second = peer_of(7, STATE_START_MAX, 3);
	struct told told = { 0 };
	struct state *s = open_ok();

	ck_assert_ptr_null(state_met(s, "berlin"));
	ck_assert_ptr_null(state_name_of(s, first.store_id));
	ck_assert_int_eq(state_meet(s, "berlin", &first, tell, &told), 0);
	/* Not before it is on disk, and never from inside the call. */
	ck_assert_int_eq(told.calls, 0);
	ck_assert_ptr_null(state_met(s, "berlin"));
	wait_for(&told, 1);
	met_is(s, "berlin", &first);
	ck_assert_str_eq(state_name_of(s, first.store_id), "berlin");
	ck_assert_int_eq(state_meet(s, "berlin", &first, tell, &told), 1);

	ck_assert_int_eq(state_meet(s, "berlin", &second, tell, &told), 0);
	wait_for(&told, 2);
	state_close(s);

	s = open_ok();
	met_is(s, "berlin", &second);
	ck_assert_str_eq(state_name_of(s, second.store_id), "berlin");
	ck_assert_ptr_null(state_met(s, "rome"));
	ck_assert_int_eq(state_meet(s, "berlin", &second, tell, &told), 1);
	ck_assert_int_eq(told.calls, 2);
	state_close(s);
}
END_TEST

START_TEST(a_meeting_is_forgotten)
{
	struct state_peer p = peer_of(7, 1, 2);
	struct told told = { 0 };
	struct state *s = open_ok();

	ck_assert_int_eq(state_forget(s, "berlin", tell, &told), 1);
	ck_assert_int_eq(state_meet(s, "berlin", &p, tell, &told), 0);
	/* Also one that is being written. */
	ck_assert_int_eq(state_forget(s, "berlin", tell, &told), 0);
	wait_for(&told, 2);
	ck_assert_ptr_null(state_met(s, "berlin"));
	ck_assert_ptr_null(state_name_of(s, p.store_id));
	ck_assert_int_eq(state_forget(s, "berlin", tell, &told), 1);
	state_close(s);
	s = open_ok();
	ck_assert_ptr_null(state_met(s, "berlin"));
	ck_assert_int_eq(state_meet(s, "berlin", &p, tell, &told), 0);
	wait_for(&told, 3);
	met_is(s, "berlin", &p);
	state_close(s);
}
END_TEST

/* Another store id, and the same history, over restarts and again. */
START_TEST(another_identity)
{
	uint8_t ids[3][STATE_ID];
	struct told told = { 0 };
	struct state *s = open_ok();
	uint64_t boot = state_boot_id(s);

	memcpy(ids[0], state_store_id(s), STATE_ID);
	for (int i = 1; i <= 2; i++) {
		ck_assert_int_eq(state_renew(s, tell, &told), 0);
		ck_assert_mem_eq(state_store_id(s), ids[i - 1], STATE_ID);
		wait_for(&told, i);
		memcpy(ids[i], state_store_id(s), STATE_ID);
		ck_assert_mem_ne(ids[i], ids[i - 1], STATE_ID);
		state_close(s);
		s = open_ok();
		ck_assert_mem_eq(state_store_id(s), ids[i], STATE_ID);
		ck_assert_uint_eq(state_start_count(s), (uint32_t)i + 1);
		ck_assert(state_had_start(s, 1, boot));
	}
	state_close(s);
}
END_TEST

START_TEST(the_first_journal_of_a_folder)
{
	struct told told = { 0 };
	struct state *s = open_ok();

	ck_assert_int_eq(state_mark_journal_soon(s, tell, &told), 0);
	ck_assert_uint_eq(state_journal_start(s), 0);
	wait_for(&told, 1);
	ck_assert_uint_eq(state_journal_start(s), 1);
	state_close(s);
	s = open_ok();
	ck_assert_uint_eq(state_journal_start(s), 1);
	state_close(s);
}
END_TEST

START_TEST(the_last_meeting_wins)
{
	struct state_peer a = peer_of(1, 1, 10), b = peer_of(1, 2, 20);
	struct told told = { 0 };
	struct state *s = open_ok();

	ck_assert_int_eq(state_meet(s, "berlin", &a, tell, &told), 0);
	wait_for(&told, 1);
	ck_assert_int_eq(state_meet(s, "berlin", &b, tell, &told), 0);
	/* What is on disk now will not be there in a moment. */
	ck_assert_int_eq(state_meet(s, "berlin", &a, tell, &told), 0);
	wait_for(&told, 3);
	met_is(s, "berlin", &a);
	state_close(s);
	s = open_ok();
	met_is(s, "berlin", &a);
	state_close(s);
}
END_TEST

START_TEST(names_that_look_like_temporary_files)
{
	struct state_peer a = peer_of(1, 1, 10), b = peer_of(2, 2, 20);
	struct told told = { 0 };
	struct state *s = open_ok();

	ck_assert_int_eq(state_meet(s, "a.peer.tmp", &a, tell, &told), 0);
	ck_assert_int_eq(state_meet(s, "a", &b, tell, &told), 0);
	wait_for(&told, 2);
	state_close(s);
	write_at("peers/a.peer.tmp", 0, "half", 4); /* a crash while writing */
	s = open_ok();
	met_is(s, "a.peer.tmp", &a);
	met_is(s, "a", &b);
	state_close(s);
}
END_TEST

START_TEST(damaged_peer_files)
{
	static const char *const texts[] = { "", "format 1\nstore 00112233445566778899aabbccddeeff\nstart 1\n",
		"format 1\nstore 00112233445566778899aabbccddeeff\nstart 16777216\nboot 0000000000000001\n",
		"format 1\nstore 00112233445566778899aabbccddeeff\nstart -1\nboot 0000000000000001\n",
		"format 1\nstore 00112233445566778899aabbccddeefg\nstart 1\nboot 0000000000000001\n",
		"format 1\nstore 00112233445566778899aabbccddeeff\nstart 1\nboot 0000000000000001\nmore\n" };

	state_close(open_ok());
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		unlink(path_of("peers/berlin.peer"));
		write_at("peers/berlin.peer", 0, texts[i], strlen(texts[i]));
		open_fails("paris", -EINVAL, "peers/berlin.peer is damaged");
	}
	ck_assert_int_eq(size_of("starts"), AHEAD);
}
END_TEST

START_TEST(bad_meetings_are_refused)
{
	struct state_peer never = peer_of(1, 0, 1), many = peer_of(1, STATE_START_MAX + 1, 1), fine = peer_of(1, 1, 1);
	struct told told = { 0 };
	struct state *s = open_ok();

	ck_assert_int_eq(state_meet(s, "berlin", &never, tell, &told), -EINVAL);
	ck_assert_int_eq(state_meet(s, "berlin", &many, tell, &told), -EINVAL);
	ck_assert_int_eq(state_meet(s, "../up", &fine, tell, &told), -EINVAL);
	state_close(s);
}
END_TEST

START_TEST(failed_write_is_told)
{
	struct state_peer p = peer_of(1, 1, 1);
	struct told told = { 0 };
	struct state *s = open_ok();

	/* Where the new file should be made there is a folder. */
	ck_assert_int_eq(mkdir(path_of("peers/berlin.peer.tmp"), 0700), 0);
	ck_assert_int_eq(state_meet(s, "berlin", &p, tell, &told), 0);
	while (told.calls == 0)
		loop_step(loop, true);
	ck_assert_int_lt(told.error, 0);
	ck_assert_ptr_null(state_met(s, "berlin"));
	state_close(s);
}
END_TEST

START_TEST(closing_with_a_write_under_way)
{
	struct state_peer p = peer_of(1, 1, 1);
	struct told told = { 0 };
	struct state *s = open_ok();

	ck_assert_int_eq(state_meet(s, "berlin", &p, tell, &told), 0);
	task_runner_free(runner);
	state_close(s);
	runner = task_runner_new(loop);
	loop_step(loop, false);
	ck_assert_int_eq(told.calls, 1);
	ck_assert_int_eq(told.error, -ECANCELED);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("state");
	TCase *tc = tcase_create("state");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, starts_are_counted);
	tcase_add_test(tc, one_daemon_at_a_time);
	tcase_add_test(tc, folder_of_another_node);
	tcase_add_test(tc, folder_open_to_others);
	tcase_add_test(tc, torn_record_is_no_start);
	tcase_add_test(tc, either_file_is_enough);
	tcase_add_test(tc, record_bad_in_both_is_damage);
	tcase_add_test(tc, records_belong_to_their_place_and_folder);
	tcase_add_test(tc, starts_with_a_journal);
	tcase_add_test(tc, either_file_tells_of_the_journal);
	tcase_add_test(tc, the_first_journal_of_a_folder);
	tcase_add_test(tc, missing_node_file_is_damage);
	tcase_add_test(tc, damaged_node_files);
	tcase_add_test(tc, meetings_are_kept);
	tcase_add_test(tc, a_meeting_is_forgotten);
	tcase_add_test(tc, another_identity);
	tcase_add_test(tc, the_last_meeting_wins);
	tcase_add_test(tc, names_that_look_like_temporary_files);
	tcase_add_test(tc, damaged_peer_files);
	tcase_add_test(tc, bad_meetings_are_refused);
	tcase_add_test(tc, failed_write_is_told);
	tcase_add_test(tc, closing_with_a_write_under_way);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
