/* vdisk: what the simulated disk may lose it does lose at times, and what it must keep it keeps always. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vdisk.h"

#define TRIES 2000

static struct vdisk *v;

static void
setup(void)
{
	v = vdisk_new();
	vdisk_seed(v, 1);
}

static void
teardown(void)
{
	vdisk_free(v);
	v = NULL;
}

static int
make(const char *name)
{
	int f = vdisk_find(v, name, true);

	ck_assert_int_ge(f, 0);
	return f;
}

/* n blocks from block `at`, each byte of which is c. */
static void
fill(int f, char c, size_t at, size_t n)
{
	static char buf[16 * VDISK_BLOCK];

	memset(buf, c, n * VDISK_BLOCK);
	ck_assert_int_eq(vdisk_write(v, f, buf, n * VDISK_BLOCK, at * VDISK_BLOCK), 0);
}

/* What a block holds: its character, or 0 if sectors differ. */
static char
holds(int f, size_t block)
{
	char buf[VDISK_BLOCK];
	size_t len = vdisk_read(v, f, buf, sizeof(buf), block * VDISK_BLOCK);

	if (len == 0)
		return '-';
	for (size_t i = 0; i < len; i++)
		if (buf[i] != buf[0])
			return 0;
	return buf[0] ? buf[0] : '.';
}

/* A synced file of four blocks `a` under the name f. */
static int
synced_file(void)
{
	int f = make("f");

	fill(f, 'a', 0, 4);
	vdisk_sync(v, f);
	vdisk_sync_folder(v, "");
	return f;
}

START_TEST(a_process_crash_loses_nothing)
{
	int f = make("f");

	fill(f, 'a', 0, 3);
	vdisk_process_crash(v);
	ck_assert_int_eq(vdisk_find(v, "f", false), f);
	ck_assert_uint_eq(vdisk_size(v, f), 3 * VDISK_BLOCK);
	ck_assert_int_eq(holds(f, 2), 'a');
}
END_TEST

START_TEST(what_was_synced_stays)
{
	int f = synced_file();

	for (uint64_t seed = 0; seed < TRIES; seed++) {
		vdisk_power_cut(v, seed);
		ck_assert_int_eq(vdisk_find(v, "f", false), f);
		ck_assert_uint_eq(vdisk_size(v, f), 4 * VDISK_BLOCK);
		for (size_t k = 0; k < 4; k++)
			ck_assert_int_eq(holds(f, k), 'a');
	}
}
END_TEST

START_TEST(unsynced_writes_are_lost_torn_and_reordered)
{
	unsigned all = 0, none = 0, torn = 0, spoilt = 0, first_only = 0, last_only = 0, older = 0;
	struct vdisk *before;
	int f = synced_file();

	fill(f, 'b', 0, 1);
	fill(f, 'b', 1, 1);
	fill(f, 'c', 1, 1);
	before = v;
	for (uint64_t seed = 0; seed < TRIES; seed++) {
		char one, two;

		v = vdisk_clone(before);
		vdisk_power_cut(v, seed);
		one = holds(f, 0);
		two = holds(f, 1);
		all += one == 'b' && two == 'c';
		none += one == 'a' && two == 'a';
		first_only += one == 'b' && two == 'a';
		last_only += one == 'a' && two == 'c';
		older += two == 'b';
		torn += one == 0;
		/* A block that was being written may hold anything. */
		spoilt += one != 'a' && one != 'b' && one != 0;
		/* Blocks that were not written since the sync do not change. */
		ck_assert_int_eq(holds(f, 2), 'a');
		ck_assert_int_eq(holds(f, 3), 'a');
		vdisk_free(v);
	}
	v = before;
	ck_assert_uint_gt(all, TRIES / 20);
	ck_assert_uint_gt(none, TRIES / 20);
	ck_assert_uint_gt(first_only, TRIES / 50);
	ck_assert_uint_gt(last_only, TRIES / 50);
	ck_assert_uint_gt(older, TRIES / 50);
	ck_assert_uint_gt(torn, TRIES / 50);
	ck_assert_uint_gt(spoilt, TRIES / 50);
	ck_assert_uint_lt(spoilt, TRIES / 5);
	/* The disk that was cloned knows nothing of all that. */
	ck_assert_int_eq(holds(f, 0), 'b');
	ck_assert_int_eq(holds(f, 1), 'c');
}
END_TEST

START_TEST(a_size_that_was_not_synced_may_be_anything_between)
{
	unsigned seen[9] = { 0 };
	struct vdisk *before;
	int f = synced_file();

	ck_assert_int_eq(vdisk_allocate(v, f, 8 * VDISK_BLOCK), 0);
	before = v;
	for (uint64_t seed = 0; seed < TRIES; seed++) {
		uint64_t blocks;

		v = vdisk_clone(before);
		vdisk_power_cut(v, seed);
		blocks = vdisk_size(v, f) / VDISK_BLOCK;
		ck_assert_uint_ge(blocks, 4);
		ck_assert_uint_le(blocks, 8);
		seen[blocks]++;
		vdisk_free(v);
	}
	v = before;
	for (size_t k = 4; k <= 8; k++)
		ck_assert_uint_gt(seen[k], 0);
	vdisk_sync(v, f);
	vdisk_power_cut(v, 1);
	ck_assert_uint_eq(vdisk_size(v, f), 8 * VDISK_BLOCK);
	ck_assert_int_eq(holds(f, 7), '.');
}
END_TEST

START_TEST(a_failed_sync_reads_well_and_loses)
{
	unsigned lost = 0, kept = 0;
	struct vdisk *before;
	int f = synced_file();

	fill(f, 'b', 0, 2);
	before = v;
	for (uint64_t seed = 0; seed < TRIES; seed++) {
		v = vdisk_clone(before);
		vdisk_seed(v, seed);
		vdisk_sync_fail(v, f);
		ck_assert_int_eq(holds(f, 0), 'b');
		/* The next sync succeeds, and changes nothing. */
		vdisk_sync(v, f);
		ck_assert_int_eq(holds(f, 0), 'b');
		vdisk_process_crash(v);
		ck_assert_int_eq(holds(f, 0), 'b');
		if (seed % 2)
			vdisk_power_cut(v, seed);
		else
			vdisk_evict(v);
		lost += holds(f, 0) == 'a';
		kept += holds(f, 0) == 'b';
		vdisk_free(v);
	}
	v = before;
	ck_assert_uint_gt(lost, TRIES / 4);
	ck_assert_uint_gt(kept, TRIES / 20);
	/* Written again and synced, it is there. */
	vdisk_sync_fail(v, f);
	fill(f, 'b', 0, 2);
	vdisk_sync(v, f);
	vdisk_power_cut(v, 3);
	ck_assert_int_eq(holds(f, 0), 'b');
	ck_assert_int_eq(holds(f, 1), 'b');
}
END_TEST

START_TEST(folder_operations_are_kept_as_a_prefix)
{
	unsigned seen[4] = { 0 };
	struct vdisk *before;
	int f = synced_file();

	make("g");
	ck_assert_int_eq(vdisk_rename(v, "f", "h"), 0);
	ck_assert_int_eq(vdisk_remove(v, "g"), 0);
	ck_assert_int_eq(vdisk_find(v, "f", false), -ENOENT);
	before = v;
	for (uint64_t seed = 0; seed < TRIES; seed++) {
		bool has_f, has_g, has_h;

		v = vdisk_clone(before);
		vdisk_power_cut(v, seed);
		has_f = vdisk_find(v, "f", false) >= 0;
		has_g = vdisk_find(v, "g", false) >= 0;
		has_h = vdisk_find(v, "h", false) == f;
		ck_assert(has_f != has_h);
		ck_assert(!(has_f && has_g) || !has_h);
		seen[has_h ? has_g ? 2 : 3 : has_g ? 1 : 0]++;
		vdisk_free(v);
	}
	v = before;
	for (size_t k = 0; k < 4; k++)
		ck_assert_uint_gt(seen[k], TRIES / 50);
	vdisk_sync_folder(v, "");
	vdisk_power_cut(v, 5);
	ck_assert_int_eq(vdisk_find(v, "h", false), f);
	ck_assert_int_eq(vdisk_find(v, "g", false), -ENOENT);
}
END_TEST

START_TEST(a_folder_is_synced_with_what_came_before)
{
	int f = make("one/f");

	make("two/g");
	make("one/h");
	vdisk_sync_folder(v, "two/");
	for (uint64_t seed = 0; seed < 100; seed++) {
		struct vdisk *before = v;

		v = vdisk_clone(before);
		vdisk_power_cut(v, seed);
		ck_assert_int_eq(vdisk_find(v, "one/f", false), f);
		ck_assert_int_ge(vdisk_find(v, "two/g", false), 0);
		vdisk_free(v);
		v = before;
	}
	vdisk_power_cut(v, 7);
	ck_assert_str_eq(vdisk_next(v, "one/", NULL), "one/f");
	ck_assert_ptr_null(vdisk_next(v, "", NULL));
}
END_TEST

START_TEST(a_full_disk_takes_what_has_blocks)
{
	int f = make("f");

	vdisk_set_limit(v, 6 * VDISK_BLOCK);
	ck_assert_int_eq(vdisk_allocate(v, f, 4 * VDISK_BLOCK), 0);
	ck_assert_uint_eq(vdisk_used(v, NULL), 4 * VDISK_BLOCK);
	ck_assert_int_eq(vdisk_allocate(v, make("g"), 4 * VDISK_BLOCK), -ENOSPC);
	ck_assert_uint_eq(vdisk_used(v, "g"), 2 * VDISK_BLOCK);
	ck_assert_uint_eq(vdisk_size(v, make("g")), 0);
	fill(f, 'a', 0, 4);
	ck_assert_int_eq(vdisk_write(v, f, "x", 1, 4 * VDISK_BLOCK), -ENOSPC);
	ck_assert_uint_eq(vdisk_size(v, f), 4 * VDISK_BLOCK);
	ck_assert_int_eq(vdisk_remove(v, "g"), 0);
	ck_assert_int_eq(vdisk_write(v, f, "x", 1, 4 * VDISK_BLOCK), 0);
	ck_assert_uint_eq(vdisk_used(v, NULL), 5 * VDISK_BLOCK);
}
END_TEST

START_TEST(parts_of_blocks_and_holes)
{
	char buf[10] = "";
	int f = make("f");

	ck_assert_int_eq(vdisk_write(v, f, "abcdef", 6, VDISK_BLOCK - 3), 0);
	ck_assert_uint_eq(vdisk_read(v, f, buf, 10, VDISK_BLOCK - 4), 7);
	ck_assert_mem_eq(buf, "\0abcdef", 7);
	vdisk_truncate(v, f, VDISK_BLOCK - 1);
	vdisk_truncate(v, f, 2 * VDISK_BLOCK);
	ck_assert_uint_eq(vdisk_read(v, f, buf, 6, VDISK_BLOCK - 3), 6);
	ck_assert_mem_eq(buf, "ab\0\0\0\0", 6);
	ck_assert_uint_eq(vdisk_used(v, NULL), VDISK_BLOCK);
}
END_TEST

START_TEST(an_open_file_outlives_its_name)
{
	int f = make("f"), g;

	vdisk_hold(v, f);
	fill(f, 'a', 0, 1);
	ck_assert_int_eq(vdisk_remove(v, "f"), 0);
	vdisk_sync_folder(v, "");
	g = make("f");
	ck_assert_int_ne(f, g);
	ck_assert_int_eq(holds(f, 0), 'a');
	vdisk_release(v, f);
	ck_assert_uint_eq(vdisk_size(v, g), 0);
}
END_TEST

START_TEST(damage_hits_what_was_synced)
{
	int f = make("f");

	fill(f, 'a', 0, 1);
	ck_assert(!vdisk_damage(v, f, 1));
	vdisk_sync(v, f);
	ck_assert(vdisk_damage(v, f, 1));
	ck_assert_int_eq(holds(f, 0), 0);
}
END_TEST

int
main(void)
{
	const TTest *const tests[] = { a_process_crash_loses_nothing, what_was_synced_stays,
		unsynced_writes_are_lost_torn_and_reordered, a_size_that_was_not_synced_may_be_anything_between,
		a_failed_sync_reads_well_and_loses, folder_operations_are_kept_as_a_prefix, a_folder_is_synced_with_what_came_before,
		a_full_disk_takes_what_has_blocks, parts_of_blocks_and_holes, an_open_file_outlives_its_name,
		damage_hits_what_was_synced };
	Suite *s = suite_create("vdisk");
	TCase *tc = tcase_create("vdisk");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
