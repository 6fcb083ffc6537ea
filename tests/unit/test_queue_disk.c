/* Room in the journal: each queue's min_bytes, and what may wait for a peer and for all peers. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "fake_store.h"
#include "queue_box.h"

#define KIB 1024
#define MIB (KIB * KIB)
#define BODY (16 * KIB)

static struct box b;
static struct store store;
static struct heard h;
static struct queue *made[4];
static struct flow flows[4];
static unsigned n_made;
static uint64_t backlog;

static size_t
definition(void *arg, struct queue *q, uint8_t *ret, size_t max)
{
	(void)arg, (void)max, (void)q;
	ret[0] = 1;
	return 1;
}

static uint64_t
max_backlog(void *arg, const char *peer)
{
	(void)arg;
	ck_assert_str_eq(peer, "berlin");
	return backlog;
}

static void
setup(void)
{
	box_init(&b);
	heard_init(&h);
	fake_store_init(&store);
	store.capacity = store.room = 8 * MIB;
	memset(flows, 0, sizeof(flows));
	n_made = 0;
	backlog = 0;
	b.cfg.definition = definition;
	b.cfg.max_backlog = max_backlog;
	b.conf.durable = true;
	b.conf.min_bytes = MIB;
}

/* One more queue of b.conf with a flow of a peer, or of a program, into it. */
static struct queue *
more(const char *node, const char *name, bool peer)
{
	struct queue *q;

	if (n_made == 0) {
		box_make(&b, node, name);
		ck_assert_int_eq(queues_set_store(b.qs, &store), 0);
		q = b.q;
	} else {
		q = queue_new(b.qs, node, name, &b.conf, false);
		ck_assert_int_eq(queues_define(b.qs, q), 0);
	}
	flow_open(&flows[n_made], q, peer);
	made[n_made++] = q;
	return q;
}

static void
teardown(void)
{
	for (unsigned i = 0; i < n_made; i++) {
		queue_inlet_close(&flows[i].inlet);
		ck_assert_uint_eq(flows[i].inlet.disk_claimed, 0);
	}
	queues_set_store(b.qs, NULL);
	for (unsigned i = 1; i < n_made; i++)
		queue_free(made[i]);
	box_done(&b); /* asserts that no claim is left */
	fake_store_done(&store);
}

/* Fill through flow i with messages of BODY bytes, or less at last, until there is no credit. Returns the bytes. */
static uint64_t
fill(unsigned i)
{
	uint64_t sum = 0, n = 0;

	for (;;) {
		struct message *m;
		uint64_t bytes;

		flow_grant(&flows[i]);
		bytes = flows[i].bytes < BODY ? flows[i].bytes : BODY;
		if (flows[i].messages == 0 || bytes == 0)
			return sum;
		m = box_message(&b, bytes, WIRE_PRIORITY_NORMAL, 0, 0);
		ck_assert_int_eq(flow_put(&flows[i], m, &h.sender, ++n), 0);
		store.room -= store_cost(&store, bytes);
		sum += bytes;
	}
}

/* ----------------------------------------------------------------- min_bytes -- */

START_TEST(each_has_its_min_bytes)
{
	more(NULL, "greedy", true);
	more(NULL, "modest", true);
	/* Far below the room that others leave, above what is owed to modest. */
	ck_assert_uint_gt(fill(0), 4 * MIB);
	ck_assert_uint_ge(store.room, MIB);
	ck_assert_uint_ge(fill(1), MIB / 2);
}
END_TEST

/* What a queue with a guarantee has taken of it is not kept free a second time. */
START_TEST(what_is_taken_is_not_owed)
{
	uint64_t before;

	more(NULL, "modest", true);
	more(NULL, "greedy", true);
	fill(0);
	before = store.room;
	fill(1);
	ck_assert_uint_lt(store.room, before);
	ck_assert_uint_lt(store.room, MIB / 2);
}
END_TEST

START_TEST(what_does_not_fit_is_refused)
{
	struct queue *q;

	b.conf.min_bytes = 5 * MIB;
	more(NULL, "first", true);
	q = queue_new(b.qs, NULL, "second", &b.conf, false);
	ck_assert_int_eq(queues_define(b.qs, q), -ENOSPC);
	queue_free(q);
	b.conf.min_bytes = 3 * MIB;
	q = queue_new(b.qs, NULL, "third", &b.conf, false);
	ck_assert_int_eq(queues_define(b.qs, q), 0);
	queue_free(q);
	/* Its share is free again. */
	more(NULL, "fourth", true);
}
END_TEST

START_TEST(memory_queues_have_no_share)
{
	b.conf.min_bytes = 5 * MIB;
	more(NULL, "first", true);
	b.conf.durable = false;
	more(NULL, "second", true);
	store.room = 0;
	ck_assert_uint_gt(fill(1), 0);
	ck_assert_uint_eq(flows[1].inlet.disk_claimed, 0);
}
END_TEST

/* --------------------------------------------------------------- max_backlog -- */

START_TEST(a_peer_has_half)
{
	b.conf.min_bytes = 0;
	more("berlin", "orders", false);
	more("berlin", "bills", false);
	fill(0);
	fill(1);
	ck_assert_uint_le(8 * MIB - store.room, 4 * MIB);
	ck_assert_uint_gt(8 * MIB - store.room, 3 * MIB);
	/* There is room for others. */
	more(NULL, "here", true);
	ck_assert_uint_gt(fill(2), 0);
}
END_TEST

START_TEST(max_backlog_says_how_much)
{
	backlog = MIB;
	b.conf.min_bytes = 0;
	more("berlin", "orders", false);
	fill(0);
	ck_assert_uint_le(8 * MIB - store.room, MIB);
	ck_assert_uint_gt(8 * MIB - store.room, MIB / 2);
}
END_TEST

START_TEST(all_peers_leave_a_quarter)
{
	backlog = 100 * MIB;
	b.conf.min_bytes = 0;
	more("berlin", "orders", false);
	fill(0);
	ck_assert_uint_ge(store.room, 2 * MIB);
	ck_assert_uint_lt(store.room, 3 * MIB);
}
END_TEST

/* Who found the peer's share used up goes on when some of it has left, though the store says nothing. */
START_TEST(what_leaves_makes_room)
{
	struct taker t = { 0 };

	backlog = MIB;
	b.conf.min_bytes = 0;
	more("berlin", "orders", true);
	more("berlin", "bills", true);
	fill(0);
	fill(1);
	fake_loop_run(b.loop);
	flows[1].rooms = 0;
	taker_link(&t, made[0]);
	queues_synced(b.qs, store_ticket(&store));
	fake_loop_run(b.loop);
	ck_assert_uint_eq(flows[1].rooms, 0);
	for (int i = 0; i < 16; i++)
		queue_done(queue_take(&t.consumer, -1), WIRE_LEVEL_ARRIVED);
	fake_loop_run(b.loop);
	ck_assert_uint_gt(flows[1].rooms, 0);
	queue_detach(&t.consumer);
}
END_TEST

/* -------------------------------------------------------------- what is refused -- */

/* overflow = reject: no credit is held back, the message is refused. */
START_TEST(reject_says_so)
{
	b.conf.overflow = CONF_OVERFLOW_REJECT;
	more(NULL, "orders", false);
	ck_assert_int_eq(flow_put(&flows[0], box_message(&b, 1000, WIRE_PRIORITY_NORMAL, 0, 0), &h.sender, 1), 0);
	store.room = 500;
	ck_assert_int_eq(flow_put(&flows[0], box_message(&b, 1000, WIRE_PRIORITY_NORMAL, 0, 0), &h.sender, 2), -ENOSPC);
	store.room = 5000;
	ck_assert_int_eq(flow_put(&flows[0], box_message(&b, 1000, WIRE_PRIORITY_NORMAL, 0, 0), &h.sender, 3), 0);
}
END_TEST

START_TEST(what_can_never_fit)
{
	more(NULL, "orders", true);
	more(NULL, "bills", true);
	ck_assert(!queue_disk_never_fits(made[0], 2 * MIB - 200));
	ck_assert(queue_disk_never_fits(made[0], 2 * MIB));
	ck_assert(queue_disk_fits(&flows[0].inlet, 6 * MIB));
	ck_assert(!queue_disk_fits(&flows[0].inlet, 7 * MIB)); /* a MiB is the other's */
}
END_TEST

/* A large body has its room before it is written, once. */
START_TEST(large_bodies_claim_beforehand)
{
	struct inlet *in = &flows[0].inlet;

	b.conf.min_bytes = 0;
	more(NULL, "orders", true);
	ck_assert(queue_reserve_partial(b.qs, in, 5 * MIB));
	ck_assert_uint_ge(in->disk_claimed, 5 * MIB);
	more(NULL, "bills", true);
	ck_assert(!queue_reserve_partial(b.qs, &flows[1].inlet, 5 * MIB));
	queue_body_written(in, 4 * MIB);
	store.room -= 4 * MIB;
	ck_assert(!queue_reserve_partial(b.qs, &flows[1].inlet, 5 * MIB));
	queue_release_partial(b.qs, in, 5 * MIB);
	ck_assert_uint_eq(in->disk_claimed_body, 0);
	store.room += 4 * MIB;
	fake_loop_run(b.loop);
	ck_assert_uint_eq(flows[1].rooms, 1);
	ck_assert(queue_reserve_partial(b.qs, &flows[1].inlet, 5 * MIB));
	queue_release_partial(b.qs, &flows[1].inlet, 5 * MIB);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("queue_disk");
	TCase *tc = tcase_create("all");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, each_has_its_min_bytes);
	tcase_add_test(tc, what_is_taken_is_not_owed);
	tcase_add_test(tc, what_does_not_fit_is_refused);
	tcase_add_test(tc, memory_queues_have_no_share);
	tcase_add_test(tc, a_peer_has_half);
	tcase_add_test(tc, max_backlog_says_how_much);
	tcase_add_test(tc, all_peers_leave_a_quarter);
	tcase_add_test(tc, what_leaves_makes_room);
	tcase_add_test(tc, reject_says_so);
	tcase_add_test(tc, what_can_never_fit);
	tcase_add_test(tc, large_bodies_claim_beforehand);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
