/* Holding a queue, and moving what waits in it to another: order, books, and what the store is told. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "fake_store.h"
#include "queue_box.h"

static struct box b;
static struct taker t;
static struct flow f;
static struct store store;
static struct queue *to;

static size_t
definition(void *arg, struct queue *q, uint8_t *ret, size_t max)
{
	(void)arg, (void)max;
	ret[0] = queue_is_held(q);
	return 1;
}

static void
setup(void)
{
	box_init(&b);
	fake_store_init(&store);
	memset(&t, 0, sizeof(t));
	b.cfg.definition = definition;
	b.conf.durable = true;
}

static void
begin(void)
{
	box_make(&b, NULL, "from");
	to = queue_new(b.qs, NULL, "to", &b.conf, false);
	ck_assert_int_eq(queues_set_store(b.qs, &store), 0);
	flow_open(&f, b.q, false);
	f.inlet.flow = 7;
}

static void
teardown(void)
{
	queue_inlet_close(&f.inlet);
	queue_detach(&t.consumer);
	queues_set_store(b.qs, NULL);
	queue_free(to);
	box_done(&b);
	fake_store_done(&store);
}

static void
sync_all(void)
{
	queues_synced(b.qs, store_ticket(&store));
	fake_loop_run(b.loop);
}

/* n messages of this priority, of so many bytes, which say their number. */
static void
put(uint64_t n, uint64_t bytes, enum wire_priority priority, uint64_t ttl)
{
	for (uint64_t i = 1; i <= n; i++)
		ck_assert_int_eq(flow_put(&f, box_message(&b, bytes, priority, ttl, 0), NULL, i), 0);
	sync_all();
}

/* The first consumer waits until it is written down that it may see what is there. */
static void
attach(struct queue *q)
{
	taker_attach(&t, q);
	ck_assert_ptr_null(queue_take(&t.consumer, -1));
	sync_all();
}

/* n of them, in order; bodies are read meanwhile. */
static void
take_in_order(struct queue *q, uint64_t n)
{
	uint64_t last[WIRE_PRIORITIES] = { 0 }, got = 0;

	attach(q);
	while (got < n) {
		struct entry *e = queue_take(&t.consumer, -1);

		if (!e) {
			fake_store_serve(&store);
			sync_all();
			continue;
		}
		ck_assert_uint_gt(e->seq, last[e->priority]);
		last[e->priority] = e->seq;
		queue_done(e, WIRE_LEVEL_CONSUMED);
		got++;
	}
	ck_assert_ptr_null(queue_take(&t.consumer, -1));
	queue_detach(&t.consumer);
}

START_TEST(in_slices)
{
	struct queue_moved m;
	uint64_t up_to;

	begin();
	put(10, 10, WIRE_PRIORITY_NORMAL, 0);
	put(5, 10, WIRE_PRIORITY_HIGH, 0);
	up_to = queue_last_seq(b.q);
	put(3, 10, WIRE_PRIORITY_NORMAL, 0);
	ck_assert_int_eq(queue_move(b.q, to, up_to, 7, &m), 1);
	ck_assert_uint_eq(m.messages, 7);
	ck_assert_uint_eq(m.bytes, 70);
	ck_assert_uint_eq(box_stats(to).messages, 7);
	ck_assert_int_eq(queue_move(b.q, to, up_to, 100, &m), 0);
	ck_assert_uint_eq(m.messages, 8);
	ck_assert_uint_eq(box_stats(to).messages, 15);
	ck_assert_uint_eq(box_stats(b.q).messages, 3); /* those that came since */
	ck_assert_uint_eq(store.n_moved, 15);
	box_balance(b.q);
	box_balance(to);
	take_in_order(to, 15);
	ck_assert_uint_eq(fake_store_kept(&store), 3);
}
END_TEST

/* Also those of which only the store has the body, and those on their way from there. */
START_TEST(from_disk)
{
	struct queue_moved m;

	b.cfg.max_memory = 4 << 20;
	begin();
	put(400, 10000, WIRE_PRIORITY_NORMAL, 0);
	ck_assert_uint_gt(box_stats(b.q).on_disk, 100);
	/* Some are being read. */
	attach(b.q);
	while (store.n_reads == 0) {
		struct entry *e = queue_take(&t.consumer, -1);

		ck_assert(e || store.n_reads > 0);
		if (e)
			queue_done(e, WIRE_LEVEL_CONSUMED);
	}
	queue_detach(&t.consumer);
	ck_assert_uint_gt(store.n_reads, 0);
	ck_assert_int_eq(queue_move(b.q, to, UINT64_MAX, UINT64_MAX, &m), 0);
	ck_assert_uint_eq(box_stats(b.q).messages, 0);
	ck_assert_uint_eq(box_stats(to).messages, m.messages);
	box_balance(b.q);
	box_balance(to);
	fake_store_serve(&store);
	sync_all();
	take_in_order(to, m.messages);
	ck_assert_uint_eq(fake_store_kept(&store), 0);
}
END_TEST

/* What consumers hold stays; what they gave back goes, at its place. */
START_TEST(held_and_returned)
{
	struct queue_moved m;
	struct entry *held[4];

	begin();
	put(6, 10, WIRE_PRIORITY_NORMAL, 0);
	attach(b.q);
	for (int i = 0; i < 4; i++) {
		held[i] = queue_take(&t.consumer, -1);
		ck_assert_ptr_nonnull(held[i]);
	}
	queue_return(held[2], 0, NULL);
	queue_return(held[1], 1000, "later");
	ck_assert_int_eq(queue_move(b.q, to, UINT64_MAX, UINT64_MAX, &m), 0);
	ck_assert_uint_eq(m.messages, 4);
	ck_assert_uint_eq(box_stats(b.q).messages, 2);
	ck_assert_uint_eq(box_stats(to).delayed, 1);
	ck_assert_uint_eq(store.messages[3].m.flags & 1, 1); /* may be a duplicate: it was seen */
	ck_assert_uint_eq(store.messages[5].m.flags & 1, 0);
	queue_done(held[0], WIRE_LEVEL_CONSUMED);
	queue_done(held[3], WIRE_LEVEL_CONSUMED);
	queue_detach(&t.consumer);
	fake_loop_advance(b.loop, 1000);
	box_balance(b.q);
	box_balance(to);
	take_in_order(to, 4);
}
END_TEST

START_TEST(no_room)
{
	struct conf_queue small;
	struct queue_moved m;

	begin();
	small = b.conf;
	small.max_messages = 3;
	queue_free(to);
	to = queue_new(b.qs, NULL, "to", &small, false);
	ck_assert_int_eq(queues_define(b.qs, to), 0);
	put(5, 10, WIRE_PRIORITY_NORMAL, 0);
	ck_assert_int_eq(queue_move(b.q, to, UINT64_MAX, UINT64_MAX, &m), -ENOSPC);
	ck_assert_uint_eq(m.messages, 3);
	ck_assert_uint_eq(box_stats(b.q).messages, 2);
	box_balance(b.q);
	box_balance(to);
}
END_TEST

/* A durable message does not become one of memory. */
START_TEST(not_into_memory)
{
	struct conf_queue memory;
	struct queue_moved m;

	begin();
	memory = b.conf;
	memory.durable = false;
	queue_free(to);
	to = queue_new(b.qs, NULL, "to", &memory, false);
	put(2, 10, WIRE_PRIORITY_NORMAL, 0);
	ck_assert_int_eq(queue_move(b.q, to, UINT64_MAX, UINT64_MAX, &m), -ENOTSUP);
	ck_assert_uint_eq(m.messages, 0);
	ck_assert_uint_eq(fake_store_kept(&store), 2);
	ck_assert_int_eq(queue_move(to, b.q, UINT64_MAX, UINT64_MAX, &m), 0);
}
END_TEST

/* The time to live goes on, and that of the queue it goes to counts. */
START_TEST(expiry)
{
	struct conf_queue quick;
	struct queue_moved m;

	begin();
	quick = b.conf;
	quick.ttl = 500;
	queue_free(to);
	to = queue_new(b.qs, NULL, "to", &quick, false);
	ck_assert_int_eq(queues_define(b.qs, to), 0);
	put(1, 10, WIRE_PRIORITY_NORMAL, 0);
	put(1, 10, WIRE_PRIORITY_NORMAL, 100);
	ck_assert_int_eq(queue_move(b.q, to, UINT64_MAX, UINT64_MAX, &m), 0);
	fake_loop_advance(b.loop, 200);
	ck_assert_uint_eq(box_stats(to).counters.expired, 1);
	fake_loop_advance(b.loop, 500);
	ck_assert_uint_eq(box_stats(to).counters.expired, 2);
	box_balance(to);
}
END_TEST

START_TEST(hold)
{
	begin();
	taker_attach(&t, b.q);
	ck_assert_int_eq(queue_hold(b.q, true), 0);
	ck_assert(queue_is_held(b.q));
	put(2, 10, WIRE_PRIORITY_NORMAL, 0);
	ck_assert_ptr_null(queue_take(&t.consumer, -1));
	t.wakes = 0;
	ck_assert_int_eq(queue_hold(b.q, false), 0);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(t.wakes, 1);
	queue_detach(&t.consumer);
	take_in_order(b.q, 2);
	/* What the store does not take has not happened. */
	store.error = -EIO;
	ck_assert_int_eq(queue_hold(b.q, true), -EIO);
	ck_assert(!queue_is_held(b.q));
	store.error = 0;
	/* Held it is in use. */
	queue_inlet_close(&f.inlet);
	ck_assert(queue_is_unused(b.q));
	ck_assert_int_eq(queue_hold(b.q, true), 0);
	ck_assert(!queue_is_unused(b.q));
}
END_TEST

/* The queue it comes to has a time to live, which counts after a restart, too. */
START_TEST(moved_ones_age_by_their_new_queue)
{
	struct store_message m = { .queue = 3, .seq = 100 };
	struct store_found found = { .queue = 3, .seq = 100, .bytes = 10 };
	struct queue_moved moved;
	store_ref ref;

	begin();
	put(1, 10, WIRE_PRIORITY_NORMAL, 0);
	queue_free(to);
	b.conf.ttl = 1000;
	to = queue_new(b.qs, NULL, "to", &b.conf, false);
	ck_assert_int_eq(queues_define(b.qs, to), 0);
	ck_assert_int_eq(queue_move(b.q, to, UINT64_MAX, UINT64_MAX, &moved), 0);
	ref = store.last;
	ck_assert(moved.messages == 1 && store.messages[ref].m.queue == queue_number(to));
	/* As a start would find it; and one that was not moved. */
	found.flags = store.messages[ref].m.flags;
	ck_assert_int_eq(store_put(&store, &m, &found.ref), 0);
	ck_assert_int_eq(queue_restore_message(to, &found, NULL), 0);
	m.seq = ++found.seq;
	found.flags = 0;
	ck_assert_int_eq(store_put(&store, &m, &found.ref), 0);
	ck_assert_int_eq(queue_restore_message(to, &found, NULL), 0);
	ck_assert_uint_eq(box_stats(to).messages, 3);
	fake_loop_advance(b.loop, 5000);
	ck_assert_uint_eq(box_stats(to).messages, 1);
	ck_assert_uint_eq(box_stats(to).counters.expired, 2);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("queue_move");
	TCase *tc = tcase_create("move");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, in_slices);
	tcase_add_test(tc, from_disk);
	tcase_add_test(tc, held_and_returned);
	tcase_add_test(tc, no_room);
	tcase_add_test(tc, not_into_memory);
	tcase_add_test(tc, expiry);
	tcase_add_test(tc, hold);
	tcase_add_test(tc, moved_ones_age_by_their_new_queue);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
