/*
 * What the journal uses of the disk: below twice what lives in it and four
 * segments, after every step of its own and of those who use it. What dies at
 * once can only be given back by the batches that follow; they do so at once.
 */
#include <check.h>
#include <stdlib.h>

#include "fake_box.h"
#include "fake_disk.h"
#include "fake_loop.h"
#include "loop.h"

#define SEGMENT (UINT64_C(1) << 20)
#define SEGMENTS 64
#define SIZE 4000

static struct store_stats
stats(void)
{
	struct store_stats st;

	store_stats(fake_box.store, &st);
	return st;
}

/* Segments used beyond twice what lives. */
static uint64_t
beside(void)
{
	struct store_stats st = stats();

	return st.used_bytes <= 2 * st.live_bytes ? 0 : (st.used_bytes - 2 * st.live_bytes + SEGMENT - 1) / SEGMENT;
}

static uint64_t worst;

static void
step(void)
{
	fake_task_run(fake_box.writer);
	fake_task_run(fake_box.reader);
	fake_loop_pass(fake_box.loop);
	if (worst < beside())
		worst = beside();
}

static void
sync_all(void)
{
	store_hurry(fake_box.store);
	while (!fake_box_is_synced())
		step();
}

struct put {
	store_ref ref;
	uint64_t seq;
};

static struct put
put(size_t len)
{
	static const char body[SIZE];
	static uint64_t seq;
	struct store_message m = fake_box_message(++seq, body, len);
	struct put p = { .seq = seq };

	ck_assert_int_eq(store_put(fake_box.store, &m, &p.ref), 0);
	return p;
}

static void
take(struct put p)
{
	store_done(fake_box.store, p.ref, 1, p.seq);
}

#define WINDOW 200 /* messages of the flow that wait */
#define FLOW 40000
#define STILL 1500 /* of those that nobody reads; to the journal all are alike */

START_TEST(one_queue_that_nobody_reads)
{
	static const unsigned at_once[] = { 1, 20, 100 };
	static struct put flow[WINDOW];
	uint64_t n = 0, done = 0, still = 0;

	fake_box_open_with(SEGMENT, SEGMENTS);
	worst = 0;
	while (n < FLOW) {
		for (unsigned i = 0; i < at_once[_i]; i++) {
			if (n % 8 == 0 && still < STILL && still++ < STILL)
				put(SIZE);
			if (n == done + WINDOW)
				take(flow[done++ % WINDOW]);
			flow[n++ % WINDOW] = put(SIZE);
		}
		step();
	}
	sync_all();
	ck_assert_uint_le(worst, 4);
	/* And not at any price: one message a batch, each of which leaves half a block empty, is the worst. */
	ck_assert_uint_gt(stats().payload_bytes, 2 * SEGMENTS * SEGMENT);
	ck_assert_uint_lt(stats().copied_bytes, stats().payload_bytes);
}
END_TEST

#define BURST 60000

/* It leaves a little in every segment, which has to be copied first; also if that is in many places. */
START_TEST(much_dies_at_once)
{
	static const struct {
		size_t size;
		unsigned n, keep; /* one of so many */
	} bursts[] = { { SIZE, 8000, 10 }, { 400, 60000, 30 } };
	unsigned count = bursts[_i].n, keep = bursts[_i].keep;
	static struct put all[BURST];
	uint64_t from, n;

	fake_box_open_with(SEGMENT, SEGMENTS);
	for (unsigned i = 0; i < count; i++)
		all[i] = put(bursts[_i].size);
	sync_all();
	ck_assert_uint_gt(stats().used_bytes, 24 * SEGMENT);
	for (unsigned i = 0; i < count; i++)
		if (i % keep > 0)
			take(all[i]);
	sync_all();
	from = stats().batches;
	n = beside();
	ck_assert_uint_gt(n, 4); /* else this shows nothing */
	while (beside() > 4)
		step();
	/* One segment a batch at least. */
	ck_assert_uint_le(stats().batches - from, n);
	fake_box_work();
	ck_assert_uint_le(beside(), 4);
	ck_assert_uint_eq(stats().messages, count / keep);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_bound");
	TCase *tc = tcase_create("store_bound");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, fake_box_setup, fake_box_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, one_queue_that_nobody_reads, 0, 3);
	tcase_add_loop_test(tc, much_dies_at_once, 0, 2);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
