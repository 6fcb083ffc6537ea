#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "fake_disk.h"
#include "fake_loop.h"
#include "store_format.h"

#define SEGMENT (64u << 10)
#define MAX 2000

/* A store on a disk in memory, driven by hand. */
static struct box {
	struct loop *loop;
	struct task_runner *writer, *reader;
	struct store *store;
	uint64_t segment;
	struct store_found found[MAX];
	size_t n;
	unsigned n_damaged;
	char damage[200], why[200];
	enum store_state state;
	uint64_t synced;
} box;

static void
told_queue(void *arg, uint32_t queue, uint64_t last_seq, uint64_t offered, struct store_bytes definition)
{
	(void)arg, (void)queue, (void)last_seq, (void)offered, (void)definition;
}

static void
told_flow(void *arg, uint32_t flow, uint64_t mark, struct store_bytes definition)
{
	(void)arg, (void)flow, (void)mark, (void)definition;
}

static void
told_message(void *arg, const struct store_found *m)
{
	(void)arg;
	ck_assert_uint_lt(box.n, MAX);
	box.found[box.n++] = *m;
}

static void
told_synced(void *arg, uint64_t ticket)
{
	(void)arg;
	box.synced = ticket;
}

static void
told_state(void *arg, enum store_state st, const char *why)
{
	(void)arg, (void)why;
	box.state = st;
}

static void
told_damaged(void *arg, const char *what)
{
	(void)arg;
	box.n_damaged++;
	snprintf(box.damage, sizeof(box.damage), "%s", what);
}

static int
try_open(void)
{
	struct store_config cfg = { .loop = box.loop, .disk = fake_disk.disk, .segment = box.segment, .max_disk = 64 * box.segment };
	struct store_recovery found = { .queue = told_queue, .flow = told_flow, .message = told_message };
	struct store_events ev = { .synced = told_synced, .state = told_state, .damaged = told_damaged };
	int r;

	box.n = 0;
	box.n_damaged = 0;
	box.state = STORE_OPEN;
	box.synced = 0;
	cfg.writer = box.writer = task_runner_new(box.loop);
	cfg.reader = box.reader = task_runner_new(box.loop);
	r = store_open(&cfg, &found, &ev, &box.store, box.why);
	if (r < 0) {
		task_runner_free(box.writer);
		task_runner_free(box.reader);
		box.store = NULL;
	}
	return r;
}

static void
opened(void)
{
	int r = try_open();

	ck_assert_msg(r == 0, "%d: %s", r, box.why);
}

static void
closed(void)
{
	task_runner_free(box.writer);
	task_runner_free(box.reader);
	store_free(box.store);
	box.store = NULL;
}

static void
work(void)
{
	for (int i = 0; i < 60; i++) {
		fake_task_run(box.writer);
		fake_task_run(box.reader);
		fake_loop_pass(box.loop);
		fake_loop_advance(box.loop, 5);
	}
}

static store_ref
put(uint64_t seq, size_t len)
{
	static char data[20000];
	struct store_message m = { .queue = 1, .seq = seq, .flow = 1, .number = seq };
	store_ref ref = 0;

	m.parts[4] = (struct store_bytes){ data, len };
	ck_assert_int_eq(store_put(box.store, &m, &ref), 0);
	return ref;
}

static void
setup(void)
{
	memset(&box, 0, sizeof(box));
	fake_disk_new(1);
	box.loop = loop_new();
	box.segment = SEGMENT;
	opened();
	store_define_queue(box.store, store_new_queue(box.store), (struct store_bytes){ "q", 1 });
	store_define_flow(box.store, store_new_flow(box.store), (struct store_bytes){ "f", 1 });
	work();
}

static void
teardown(void)
{
	if (box.store)
		closed();
	loop_free(box.loop);
	fake_disk_free();
}

/* n messages, one batch each. */
static void
put_batches(uint64_t first, unsigned n, size_t len)
{
	for (unsigned i = 0; i < n; i++) {
		put(first + i, len);
		while (store_synced(box.store) < store_ticket(box.store)) {
			fake_task_run(box.writer);
			fake_loop_pass(box.loop);
		}
	}
}

static uint64_t
count_files(void)
{
	return fake_disk_used() / SEGMENT;
}

/* Where the batch with that number is: its file's bytes, or NULL. */
static uint8_t *
find_batch(uint64_t number, const char **ret_name)
{
	static char name[40];

	for (unsigned i = 1; i < 100; i++) {
		struct store_header h;
		size_t len;
		uint8_t *p;

		snprintf(name, sizeof(name), "journal/%08u.journal", i);
		p = fake_disk_data(name, &len);
		if (!p || store_header_decode(p, len, &h) < 0 || h.segment != i)
			continue;
		for (size_t at = 4096; at + 4096 <= len; at += 4096) {
			struct store_batch b;
			size_t need;

			if (store_batch_decode(p + at, len - at, h.seed, at, &b, &need) == 0 && b.number == number) {
				*ret_name = name;
				return p + at;
			}
		}
	}
	return NULL;
}

START_TEST(last_batch_is_rewritten)
{
	const char *first, *second;
	uint8_t *old, *new;

	put_batches(1, 5, 100);
	closed();
	old = find_batch(6, &first);
	ck_assert_ptr_nonnull(old);
	old[0] ^= 1; /* it reads well, and is gone later */
	ck_assert_ptr_null(find_batch(6, &first));
	old[0] ^= 1;
	opened();
	ck_assert_uint_eq(box.n, 5);
	old[0] ^= 1;
	new = find_batch(6, &second);
	ck_assert_ptr_nonnull(new);
	ck_assert_uint_eq(new[20], 1);
	closed();
	opened();
	ck_assert_uint_eq(box.n, 5);
	ck_assert_uint_eq(box.n_damaged, 0);
}
END_TEST

/* Each start takes a fresh segment and lets go of the one before. */
START_TEST(crash_loop_keeps_the_disk)
{
	uint64_t files;

	put_batches(1, 5, 100);
	closed();
	opened();
	work();
	files = count_files();
	for (int i = 0; i < 40; i++) {
		closed();
		opened();
		work();
		ck_assert_uint_eq(box.n, 5);
	}
	ck_assert_uint_le(count_files(), files + 1);
}
END_TEST

START_TEST(torn_tail_is_no_damage)
{
	const char *name;
	uint8_t *p;

	put_batches(1, 5, 100);
	put_batches(6, 1, 9000);
	closed();
	p = find_batch(7, &name);
	ck_assert_ptr_nonnull(p);
	p[5000] ^= 1;
	opened();
	ck_assert_uint_eq(box.n, 5);
	ck_assert_uint_eq(box.n_damaged, 0);
}
END_TEST

START_TEST(a_lost_batch_is_damage)
{
	const char *name;
	uint8_t *p;

	put_batches(1, 5, 100);
	closed();
	p = find_batch(3, &name);
	ck_assert_ptr_nonnull(p);
	memset(p, 0, 4096);
	opened();
	ck_assert_uint_eq(box.n, 4);
	ck_assert_uint_ge(box.n_damaged, 1);
}
END_TEST

/* One record of a batch that is damaged does not take the others with it. */
START_TEST(a_bad_record_is_set_aside)
{
	const char *name;
	uint8_t *p;

	for (int i = 1; i <= 10; i++)
		put((uint64_t)i, 1000);
	work();
	put_batches(11, 1, 100);
	closed();
	p = find_batch(2, &name);
	ck_assert_ptr_nonnull(p);
	p[3000] ^= 1;
	opened();
	ck_assert_uint_eq(box.n, 10);
	ck_assert_uint_eq(box.n_damaged, 1);
}
END_TEST

/* By the index or by reading everything: the same. */
START_TEST(index_or_scan)
{
	static struct store_found with[MAX];
	size_t n;

	for (uint64_t seq = 1; seq <= 900; seq++) {
		store_ref ref = put(seq, 500);

		if (seq % 3)
			store_done(box.store, ref, 1, seq);
		if (seq % 20 == 0)
			work();
	}
	work();
	put_batches(901, 300, 300);
	work();
	closed();
	opened();
	n = box.n;
	ck_assert_uint_eq(n, 600);
	memcpy(with, box.found, sizeof(with));
	closed();
	for (unsigned i = 1; i < 100; i++) {
		char name[40];
		size_t len;
		uint8_t *p;

		snprintf(name, sizeof(name), "journal/%08u.journal", i);
		p = fake_disk_data(name, &len);
		if (p && len >= 4096)
			memset(p + len - 4096, 0, 4096);
	}
	opened();
	ck_assert_uint_eq(box.n_damaged, 0);
	ck_assert_uint_eq(box.n, n);
	for (size_t i = 0; i < n; i++) {
		ck_assert_uint_eq(box.found[i].seq, with[i].seq);
		ck_assert_uint_eq(box.found[i].number, with[i].number);
		ck_assert_uint_eq(box.found[i].bytes, with[i].bytes);
	}
}
END_TEST

START_TEST(another_version_is_refused)
{
	struct store_header h;
	const char *name;
	uint8_t *p, before[4096];
	uint64_t sum; /* tests run on little-endian machines */
	size_t len;

	put_batches(1, 2, 100);
	closed();
	ck_assert_ptr_nonnull(find_batch(1, &name));
	p = fake_disk_data(name, &len);
	ck_assert_int_eq(store_header_decode(p, len, &h), 0);
	memcpy(before, p, sizeof(before));
	p[8] = 2;
	sum = XXH3_64bits_withSeed(p, 104, 0);
	memcpy(p + 104, &sum, 8);
	ck_assert_int_eq(try_open(), -EINVAL);
	ck_assert(strstr(box.why, "version"));
	memcpy(p, before, sizeof(before));
	opened();
	ck_assert_uint_eq(box.n, 2);
}
END_TEST

START_TEST(network_file_systems_are_refused)
{
	closed();
	fake_disk.is_remote = true;
	ck_assert_int_eq(try_open(), -EINVAL);
	ck_assert(strstr(box.why, "network"));
}
END_TEST

START_TEST(another_size_is_accepted)
{
	put_batches(1, 100, 500);
	closed();
	box.segment = 2 * SEGMENT;
	opened();
	ck_assert_uint_eq(box.n, 100);
	put_batches(101, 100, 500);
	closed();
	box.segment = SEGMENT;
	opened();
	ck_assert_uint_eq(box.n, 200);
	put_batches(201, 100, 500);
	closed();
	opened();
	ck_assert_uint_eq(box.n, 300);
	ck_assert_uint_eq(box.n_damaged, 0);
}
END_TEST

START_TEST(no_space_for_recovery)
{
	put_batches(1, 5, 100);
	closed();
	/* Nothing is free, and nothing can be made. */
	for (unsigned i = 2; i < 20; i++) {
		char name[40];

		snprintf(name, sizeof(name), "journal/%08u.journal", i);
		disk_remove(fake_disk.disk, name);
	}
	fake_disk.capacity = fake_disk_used();
	ck_assert_int_eq(try_open(), -ENOSPC);
	fake_disk.capacity += SEGMENT;
	opened();
	ck_assert_uint_eq(box.n, 5);
}
END_TEST

START_TEST(a_full_disk_passes)
{
	put_batches(1, 5, 100);
	fake_disk.capacity = 0;
	/* Blocks that are there can be written; the test's disk only refuses to grow. So take what is held back, too. */
	for (uint64_t seq = 6; seq < 200; seq++) {
		put(seq, 3000);
		if (seq % 5 == 0)
			work();
	}
	ck_assert_int_eq(box.state, STORE_FULL);
	ck_assert_uint_eq(store_room(box.store), 0);
	ck_assert_uint_lt(store_synced(box.store), store_ticket(box.store));
	fake_disk.capacity = UINT64_MAX;
	fake_loop_advance(box.loop, 1100);
	for (int i = 0; i < 20; i++)
		work();
	ck_assert_int_eq(box.state, STORE_OPEN);
	ck_assert_uint_eq(store_synced(box.store), store_ticket(box.store));
}
END_TEST

START_TEST(fenced_for_good)
{
	store_ref ref;
	struct store_message m = { .queue = 1, .seq = 99 };
	uint64_t synced;

	put_batches(1, 5, 100);
	synced = box.synced;
	if (_i == 0)
		fake_disk.fail_sync = 1;
	else
		fake_disk.fail_write = 1;
	put(6, 100);
	work();
	ck_assert_int_eq(box.state, STORE_FENCED);
	ck_assert_int_eq(store_put(box.store, &m, &ref), -EIO);
	ck_assert_uint_eq(store_room(box.store), 0);
	store_mark(box.store, 1, 1000);
	store_hurry(box.store);
	work();
	ck_assert_uint_eq(box.synced, synced);
	ck_assert_uint_gt(store_ticket(box.store), store_synced(box.store));
	closed();
	opened();
	ck_assert_uint_ge(box.n, 5);
}
END_TEST

/* A file that got a new name may have its old one after a crash: nothing is written into it before that is synced. */
START_TEST(names_before_contents)
{
	for (int i = 0; i < 30; i++) {
		put_batches(1 + (uint64_t)i * 10, 10, 3000);
		closed();
		opened();
		if (i % 3)
			work();
		ck_assert_uint_eq(box.n, 10 * ((unsigned)i + 1));
	}
	ck_assert_uint_gt(fake_disk.writes, 300);
	ck_assert_uint_eq(fake_disk.early_writes, 0);
}
END_TEST

/* What fails once may pass: the start is refused, and says why; the next one finds everything. */
START_TEST(unreadable_is_no_damage)
{
	unsigned *fault = _i == 0 ? &fake_disk.fail_read : &fake_disk.fail_open, refused = 0;
	uint64_t n = 0;

	/* Some segments before the start of replay, of which one has no index. */
	for (; n < 120; n += 20) {
		put_batches(1 + n, 20, 3000);
		work();
	}
	for (unsigned i = 1;; i++) {
		const char *name;
		uint8_t *first = find_batch(2, &name);
		int r;

		if (first) {
			size_t len;

			first = fake_disk_data(name, &len);
			memset(first + len - 4096, 0, 4096);
		}
		closed();
		*fault = i;
		r = try_open();
		if (*fault > 0) {
			ck_assert_int_eq(r, 0);
			break;
		}
		*fault = 0;
		if (r < 0) {
			ck_assert_int_eq(r, -EIO);
			ck_assert_msg(strstr(box.why, "Input/output error") != NULL, "%s", box.why);
			refused++;
			opened();
		}
		ck_assert_uint_eq(box.n, n);
		ck_assert_uint_eq(box.n_damaged, 0);
	}
	ck_assert_uint_gt(refused, 15);
	ck_assert_uint_eq(box.n, n);
	ck_assert_uint_eq(box.n_damaged, 0);
}
END_TEST

/* A file may have its length and not its blocks: then another is taken, at a start and later. */
START_TEST(free_files_without_blocks)
{
	put_batches(1, 5, 100);
	work();
	closed();
	fake_disk.no_blocks = 2;
	opened();
	ck_assert_uint_eq(fake_disk.no_blocks, 0);
	ck_assert_uint_eq(box.n, 5);
	fake_disk.no_blocks = 2;
	for (uint64_t seq = 6; seq < 100; seq++) {
		put(seq, 3000);
		for (int i = 0; i < 10 && box.synced < store_ticket(box.store); i++)
			work();
		ck_assert_uint_eq(box.synced, store_ticket(box.store));
	}
	ck_assert_uint_eq(fake_disk.no_blocks, 0);
	ck_assert_int_eq(box.state, STORE_OPEN);
}
END_TEST

static unsigned n_read;
static int read_error;

static void
read_done(struct store_read *r, int error)
{
	n_read++;
	read_error = error;
	if (error == 0)
		free(r->memory);
}

/* A read that waits for a batch ends when no batch comes any more. */
START_TEST(reads_end_at_a_fence)
{
	struct store_read waiting = { .done = read_done }, late = { .done = read_done };
	store_ref old, ref;

	n_read = 0;
	old = put(1, 100);
	work();
	ref = put(2, 100);
	fake_loop_pass(box.loop);
	ck_assert_int_eq(store_read(box.store, ref, &waiting), 0);
	fake_disk.fail_sync = 1;
	work();
	ck_assert_int_eq(box.state, STORE_FENCED);
	ck_assert_uint_eq(n_read, 1);
	ck_assert_int_eq(read_error, -ESHUTDOWN);
	ck_assert_int_eq(store_read(box.store, ref, &late), -ESHUTDOWN);
	/* What is on disk can be read. */
	ck_assert_int_eq(store_read(box.store, old, &late), 0);
	work();
	ck_assert_uint_eq(n_read, 2);
	ck_assert_int_eq(read_error, 0);
}
END_TEST

/* One error is no damage. */
START_TEST(a_read_is_tried_twice)
{
	struct store_read r = { .done = read_done };
	store_ref ref = put(1, 100);

	work();
	n_read = 0;
	fake_disk.fail_open = 1;
	fake_disk.fail_read = 1;
	ck_assert_int_eq(store_read(box.store, ref, &r), 0);
	work();
	ck_assert_uint_eq(fake_disk.fail_open + fake_disk.fail_read, 0);
	ck_assert_uint_eq(n_read, 1);
	ck_assert_int_eq(read_error, 0);
	ck_assert_uint_eq(box.n_damaged, 0);
}
END_TEST

/* Messages wait when only what is held back is left; what makes space does not. */
START_TEST(held_back)
{
	static store_ref refs[MAX];
	uint64_t n = 0;
	struct store_stats st;

	teardown();
	memset(&box, 0, sizeof(box));
	fake_disk_new(2);
	box.loop = loop_new();
	box.segment = SEGMENT;
	fake_disk.capacity = 12 * SEGMENT;
	opened();
	store_define_queue(box.store, store_new_queue(box.store), (struct store_bytes){ "q", 1 });
	work();
	for (; n < 600; n++) {
		refs[n] = put(n + 1, 2000);
		if (n % 10 == 0)
			work();
	}
	work();
	store_stats(box.store, &st);
	ck_assert_uint_lt(store_synced(box.store), store_ticket(box.store));
	/* One may be in use by then, for a snapshot. */
	ck_assert_uint_ge(st.free_segments + 1, STORE_HELD_BACK - 1);
	/* The first half is done: that is written ahead of what waits, and makes room for it. */
	for (uint64_t i = 0; i < 300; i++)
		store_done(box.store, refs[i], 1, i + 1);
	for (int i = 0; i < 100 && store_synced(box.store) < store_ticket(box.store); i++)
		work();
	ck_assert_uint_gt(store_synced(box.store), 300);
	for (uint64_t i = 300; i < n; i++)
		store_done(box.store, refs[i], 1, i + 1);
	for (int i = 0; i < 100 && store_synced(box.store) < store_ticket(box.store); i++)
		work();
	ck_assert_uint_eq(store_synced(box.store), store_ticket(box.store));
	store_stats(box.store, &st);
	ck_assert_uint_eq(st.messages, 0);
	ck_assert_uint_eq(st.live_bytes, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_recover");
	TCase *tc = tcase_create("store_recover");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, last_batch_is_rewritten);
	tcase_add_test(tc, crash_loop_keeps_the_disk);
	tcase_add_test(tc, torn_tail_is_no_damage);
	tcase_add_test(tc, a_lost_batch_is_damage);
	tcase_add_test(tc, a_bad_record_is_set_aside);
	tcase_add_test(tc, index_or_scan);
	tcase_add_test(tc, another_version_is_refused);
	tcase_add_test(tc, network_file_systems_are_refused);
	tcase_add_test(tc, another_size_is_accepted);
	tcase_add_test(tc, no_space_for_recovery);
	tcase_add_test(tc, a_full_disk_passes);
	tcase_add_loop_test(tc, fenced_for_good, 0, 2);
	tcase_add_test(tc, held_back);
	tcase_add_test(tc, names_before_contents);
	tcase_add_loop_test(tc, unreadable_is_no_damage, 0, 2);
	tcase_add_test(tc, free_files_without_blocks);
	tcase_add_test(tc, reads_end_at_a_fence);
	tcase_add_test(tc, a_read_is_tried_twice);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
