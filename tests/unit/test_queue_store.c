/* Durable queues: what the store is told, when a message may be seen, and how little of a backlog stays in memory. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "fake_store.h"
#include "queue_box.h"

static struct box b;
static struct heard h;
static struct taker t;
static struct flow f;
static struct store store;
static struct {
	unsigned n;
	uint64_t number;
} stored;

static size_t
definition(void *arg, struct queue *q, uint8_t *ret, size_t max)
{
	(void)arg, (void)max;
	memcpy(ret, queue_name(q), 4);
	return 4;
}

static void
on_stored(struct sender *s, uint64_t number)
{
	(void)s;
	stored.n++;
	stored.number = number;
}

static void
setup(void)
{
	box_init(&b);
	heard_init(&h);
	fake_store_init(&store);
	memset(&t, 0, sizeof(t));
	memset(&stored, 0, sizeof(stored));
	h.sender.stored = on_stored;
	b.cfg.definition = definition;
	b.conf.durable = true;
}

static void
begin(const char *node, bool peer)
{
	box_make(&b, node, "orders");
	ck_assert_int_eq(queues_set_store(b.qs, &store), 0);
	ck_assert_uint_eq(queue_number(b.q), 1);
	flow_open(&f, b.q, peer);
	f.inlet.flow = 7;
	f.inlet.confirms = &h.sender;
}

static void
teardown(void)
{
	queue_inlet_close(&f.inlet);
	queue_detach(&t.consumer);
	queues_set_store(b.qs, NULL);
	box_done(&b);
	fake_store_done(&store);
}

static struct message *
body(uint64_t bytes)
{
	return box_message(&b, bytes, WIRE_PRIORITY_NORMAL, 0, 0);
}

static void
sync_all(void)
{
	queues_synced(b.qs, store_ticket(&store));
	fake_loop_run(b.loop);
}

START_TEST(local_ones_are_offered_once_synced)
{
	begin(NULL, false);
	taker_attach(&t, b.q);
	flow_fill(&b, &f, 3, NULL);
	fake_loop_run(b.loop);
	ck_assert_ptr_null(queue_take(&t.consumer, -1));
	ck_assert(stored.n == 0 && h.sender.unsynced == 3);
	ck_assert_uint_eq(box_stats(b.q).syncing, 3);
	/* The journal is synced up to the second. */
	queues_synced(b.qs, store_ticket(&store) - 1);
	ck_assert(stored.n == 2 && stored.number == 2 && h.sender.unsynced == 1);
	queue_done(queue_take(&t.consumer, -1), WIRE_LEVEL_CONSUMED);
	queue_done(queue_take(&t.consumer, -1), WIRE_LEVEL_CONSUMED);
	ck_assert_ptr_null(queue_take(&t.consumer, -1));
	ck_assert(store.n_done == 2 && fake_store_kept(&store) == 1);
	sync_all();
	ck_assert_uint_eq(queue_take(&t.consumer, -1)->number, 3);
	box_balance(b.q);
}
END_TEST

START_TEST(what_came_over_a_link_is_offered_at_once)
{
	begin(NULL, true);
	taker_attach(&t, b.q);
	flow_fill(&b, &f, 2, NULL);
	queue_done(queue_take(&t.consumer, -1), WIRE_LEVEL_CONSUMED);
	/* Consumed before it was written: its confirm still waits for the mark. */
	ck_assert(stored.n == 0 && store.n_done == 1);
	sync_all();
	ck_assert(stored.n == 2 && stored.number == 2);
}
END_TEST

START_TEST(what_was_there_is_written_down_before_it_is_offered)
{
	begin(NULL, false);
	flow_fill(&b, &f, 2, NULL);
	sync_all();
	taker_attach(&t, b.q);
	ck_assert_ptr_null(queue_take(&t.consumer, -1));
	ck_assert_uint_eq(store.offered, queue_last_seq(b.q));
	ck_assert_uint_eq(store.hurried, store.ticket);
	sync_all();
	ck_assert_uint_gt(t.wakes, 0);
	ck_assert_ptr_nonnull(queue_take(&t.consumer, -1));
}
END_TEST

/* Also when other appends wait for space in front of it. */
START_TEST(an_offer_may_be_known_early)
{
	begin(NULL, false);
	flow_fill(&b, &f, 2, NULL);
	sync_all();
	taker_attach(&t, b.q);
	ck_assert_ptr_null(queue_take(&t.consumer, -1));
	fake_loop_run(b.loop);
	t.wakes = 0;
	queues_offered(b.qs, queue_number(b.q) + 1, store.offered);
	queues_offered(b.qs, queue_number(b.q), store.offered - 1);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(t.wakes, 0);
	queues_offered(b.qs, queue_number(b.q), store.offered);
	fake_loop_run(b.loop);
	ck_assert_uint_gt(t.wakes, 0);
	ck_assert_ptr_nonnull(queue_take(&t.consumer, -1));
}
END_TEST

START_TEST(memory_messages_are_not_stored)
{
	struct message *m = body(10);

	begin(NULL, false);
	m->durability = MESSAGE_MEMORY;
	ck_assert_int_eq(flow_put(&f, m, NULL, 1), 0);
	ck_assert(fake_store_kept(&store) == 0 && queue_waiting(b.q, -1) == 1);
	/* A store that has failed refuses the others, rather than keep them in memory without a word. */
	store.error = -EIO;
	ck_assert_int_eq(flow_put(&f, body(10), NULL, 2), -EIO);
	ck_assert_uint_eq(queue_waiting(b.q, -1), 1);
}
END_TEST

static void
put_memory(struct flow *to, uint64_t number)
{
	struct message *m = body(10);

	m->durability = MESSAGE_MEMORY;
	ck_assert_int_eq(flow_put(to, m, NULL, number), 0);
}

START_TEST(memory_messages_do_not_overtake_in_their_flow)
{
	struct flow other;

	begin(NULL, false);
	taker_attach(&t, b.q);
	flow_open(&other, b.q, false);
	ck_assert_int_eq(flow_put(&f, body(10), NULL, 1), 0);
	put_memory(&f, 2);
	put_memory(&other, 1);
	/* That of another producer need not wait, nor be confirmed in that order. */
	ck_assert_uint_eq(queue_waiting(b.q, -1), 1);
	ck_assert_uint_eq(queue_take(&t.consumer, -1)->seq, queue_last_seq(b.q));
	ck_assert(stored.n == 0 && h.sender.unsynced == 2);
	sync_all();
	ck_assert(stored.n == 2 && stored.number == 2 && h.sender.unsynced == 0);
	ck_assert_uint_eq(queue_take(&t.consumer, -1)->number, 1);
	ck_assert_uint_eq(queue_take(&t.consumer, -1)->number, 2);
	queue_inlet_close(&other.inlet);
}
END_TEST

/* Its numbers are one order on the link, whoever sent the messages: the peer takes what comes late for a duplicate. */
START_TEST(nothing_overtakes_on_a_link)
{
	struct flow other;

	begin("berlin", false);
	flow_open(&other, b.q, false);
	ck_assert_int_eq(flow_put(&f, body(10), NULL, 1), 0);
	put_memory(&other, 1);
	ck_assert_uint_eq(queue_waiting(b.q, -1), 0);
	sync_all();
	ck_assert_uint_eq(queue_waiting(b.q, -1), 2);
	put_memory(&other, 2);
	ck_assert_uint_eq(queue_waiting(b.q, -1), 3);
	queue_inlet_close(&other.inlet);
}
END_TEST

START_TEST(credit_and_messages_outlive_the_store)
{
	b.conf.ttl = 1000;
	begin(NULL, false);
	taker_attach(&t, b.q);
	ck_assert_int_eq(flow_put(&f, body(10), NULL, 1), 0);
	ck_assert_uint_gt(f.inlet.reserved_messages, 0);
	sync_all();
	ck_assert_ptr_nonnull(queue_take(&t.consumer, -1));
	fake_loop_jump(b.loop, 2000);
	ck_assert_int_eq(queues_set_store(b.qs, NULL), 0);
	/* It expires, and nobody writes that down. */
	queue_detach(&t.consumer);
	ck_assert_uint_eq(box_stats(b.q).messages, 0);
	ck_assert_uint_eq(store.n_done, 0);
	queue_inlet_close(&f.inlet);
}
END_TEST

/* A long backlog leaves memory, and comes back in order, a few ahead of who takes it. */
START_TEST(backlog_cools_and_comes_back)
{
	uint64_t used, messages, partial;
	struct entry *e;

	b.cfg.max_memory = 4u << 20; /* a quarter of it, and a share, are 1 MiB */
	begin(NULL, false);
	for (uint64_t i = 1; i <= 600; i++) {
		ck_assert_int_eq(flow_put(&f, body(10000), NULL, i), 0);
		sync_all();
	}
	ck_assert_uint_ge(box_stats(b.q).on_disk, 490);
	queues_memory(b.qs, &used, &messages, &partial);
	ck_assert_uint_lt(used, 3u << 20);
	ck_assert(messages == 600 && queue_waiting(b.q, -1) == 600);
	taker_attach(&t, b.q);
	ck_assert_ptr_null(queue_take(&t.consumer, -1));
	sync_all();
	for (uint64_t i = 1; i <= 600; i++) {
		e = queue_take(&t.consumer, -1);
		if (!e) {
			ck_assert_uint_gt(store.n_reads, 0);
			fake_store_serve(&store);
			fake_loop_run(b.loop);
			e = queue_take(&t.consumer, -1);
		}
		ck_assert(e && e->number == i && e->msg->body_len == 10000 && e->redelivered == false);
		queue_done(e, WIRE_LEVEL_CONSUMED);
	}
	ck_assert_ptr_null(queue_take(&t.consumer, -1));
	ck_assert(fake_store_kept(&store) == 0 && store.n_done == 600);
	box_balance(b.q);
}
END_TEST

/* Much comes behind what is only on disk, and becomes cold itself: what is in front is read all the same. */
START_TEST(cold_ones_are_read_whatever_comes_behind)
{
	struct entry *e;

	b.cfg.max_memory = 4u << 20; /* a quarter of it, and a share, are 1 MiB */
	begin(NULL, true);
	for (uint64_t i = 1; i <= 200; i++) {
		ck_assert_int_eq(flow_put(&f, body(10000), NULL, i), 0);
		sync_all();
	}
	taker_attach(&t, b.q);
	ck_assert_ptr_null(queue_take(&t.consumer, -1));
	sync_all();
	for (uint64_t i = 201; i <= 300; i++)
		ck_assert_int_eq(flow_put(&f, body(10000), NULL, i), 0);
	for (uint64_t i = 1; i <= 300; i++) {
		e = queue_take(&t.consumer, -1);
		if (!e) {
			sync_all();
			ck_assert_uint_gt(store.n_reads, 0);
			fake_store_serve(&store);
			fake_loop_run(b.loop);
			e = queue_take(&t.consumer, -1);
		}
		ck_assert(e && e->number == i);
		queue_done(e, WIRE_LEVEL_CONSUMED);
	}
	box_balance(b.q);
}
END_TEST

START_TEST(damaged_ones_are_dead_letters)
{
	b.cfg.max_memory = 4u << 20;
	begin("berlin", false);
	box_make_dead(&b, 1000);
	ck_assert_int_eq(queues_define(b.qs, b.dead), 0);
	for (uint64_t i = 1; i <= 300; i++) {
		ck_assert_int_eq(flow_put(&f, body(10000), &h.sender, i), 0);
		sync_all();
	}
	taker_attach(&t, b.q);
	store.read_error = -EIO;
	while (queue_waiting(b.q, -1) > 0) {
		struct entry *e = queue_take(&t.consumer, -1);

		if (e)
			queue_done(e, WIRE_LEVEL_ARRIVED);
		fake_store_serve(&store);
		fake_loop_run(b.loop);
	}
	ck_assert_uint_gt(h.by_level[WIRE_LEVEL_DEAD], 150);
	ck_assert_uint_eq(box_stats(b.q).counters.damaged, h.by_level[WIRE_LEVEL_DEAD]);
	/* What is left of them is kept: where they came from, and why they are dead. */
	ck_assert(h.sender.open == 0 && fake_store_kept(&store) == h.by_level[WIRE_LEVEL_DEAD]);
	ck_assert_uint_eq(box_stats(b.dead).messages, h.by_level[WIRE_LEVEL_DEAD]);
	ck_assert_uint_eq(box_stats(b.dead).bytes, 0);
	box_balance(b.q);
}
END_TEST

/* One that cannot be asked for keeps its place and is asked for again. */
START_TEST(reads_that_are_refused_are_tried_again)
{
	uint64_t last = 0;

	b.cfg.max_memory = 4u << 20;
	begin(NULL, false);
	for (uint64_t i = 1; i <= 300; i++) {
		ck_assert_int_eq(flow_put(&f, body(10000), &h.sender, i), 0);
		sync_all();
	}
	ck_assert_uint_gt(box_stats(b.q).on_disk, 100);
	taker_attach(&t, b.q);
	sync_all();
	for (int round = 0; queue_waiting(b.q, -1) > 0; round++) {
		struct entry *e = queue_take(&t.consumer, -1);

		ck_assert_int_lt(round, 10000);
		if (e) {
			ck_assert_uint_eq(e->number, ++last);
			queue_done(e, WIRE_LEVEL_CONSUMED);
		}
		store.read_error = round % 3 == 0 ? -ENOMEM : 0;
		store.refuse_reads = round % 4 < 2;
		fake_store_serve(&store);
		if (!e)
			fake_loop_advance(b.loop, 1000);
		sync_all();
	}
	ck_assert_uint_eq(last, 300);
	ck_assert_uint_eq(box_stats(b.q).counters.damaged, 0);
}
END_TEST

START_TEST(what_waits_to_be_read_again_can_be_purged)
{
	struct queue_purged purged;

	b.cfg.max_memory = 4u << 20;
	begin(NULL, false);
	for (uint64_t i = 1; i <= 300; i++) {
		ck_assert_int_eq(flow_put(&f, body(10000), &h.sender, i), 0);
		sync_all();
	}
	taker_attach(&t, b.q);
	sync_all();
	for (int i = 0; i < 300 && store.n_reads == 0; i++) {
		struct entry *e = queue_take(&t.consumer, -1);

		if (e)
			queue_done(e, WIRE_LEVEL_CONSUMED);
		fake_loop_advance(b.loop, 1000);
		sync_all();
	}
	/* Each is read, in vain, and not read again for the time being. */
	ck_assert_uint_gt(store.n_reads, 0);
	store.read_error = -ENOMEM;
	store.refuse_reads = true;
	fake_store_serve(&store);
	ck_assert_uint_eq(store.n_reads, 0);
	queue_purge(b.q, &purged);
	ck_assert_uint_gt(purged.messages, 0);
	sync_all();
	ck_assert_uint_eq(box_stats(b.q).messages, 0);
}
END_TEST

/* Its message had a time to live once: a dead letter has none, after a restart either. */
START_TEST(restored_dead_letters_stay)
{
	struct store_message m = { .queue = 2, .seq = 1 };
	struct store_found found = { .queue = 2, .seq = 1, .bytes = 10, .expires_ms = 1 };

	begin(NULL, false);
	box_make_dead(&b, 10);
	ck_assert_int_eq(queues_define(b.qs, b.dead), 0);
	ck_assert_int_eq(store_put(&store, &m, &found.ref), 0);
	ck_assert_int_eq(queue_restore_message(b.dead, &found, NULL), 0);
	fake_loop_advance(b.loop, 10000);
	ck_assert_uint_eq(box_stats(b.dead).messages, 1);
	ck_assert_uint_eq(box_stats(b.dead).counters.expired, 0);
}
END_TEST

/* Moved back it has no time to live but that of its queue, after a restart either. */
START_TEST(tried_again_they_stay)
{
	struct store_message m = { .queue = 1, .seq = 100 };
	struct store_found found = { .queue = 1, .seq = 100, .bytes = 10, .expires_ms = 1 };
	struct queue_moved moved;

	begin(NULL, true);
	box_make_dead(&b, 100);
	ck_assert_int_eq(queues_define(b.qs, b.dead), 0);
	taker_attach(&t, b.q);
	flow_fill(&b, &f, 1, NULL);
	sync_all();
	ck_assert_int_eq(queue_bury(queue_take(&t.consumer, -1), WIRE_LEVEL_DEAD, WIRE_REJECT_UNKNOWN, "why"), 0);
	sync_all();
	ck_assert_int_eq(queue_move(b.dead, b.q, UINT64_MAX, UINT64_MAX, &moved), 0);
	ck_assert_uint_eq(moved.messages, 1);
	ck_assert(store.messages[1].m.queue == queue_number(b.q));
	found.flags = store.messages[1].m.flags;
	ck_assert_int_eq(store_put(&store, &m, &found.ref), 0);
	ck_assert_int_eq(queue_restore_message(b.q, &found, NULL), 0);
	fake_loop_advance(b.loop, 10000);
	ck_assert_uint_eq(box_stats(b.q).messages, 2);
	ck_assert_uint_eq(box_stats(b.q).counters.expired, 0);
	/* It is the flags that say so. */
	m.seq = ++found.seq;
	found.flags = 0;
	ck_assert_int_eq(store_put(&store, &m, &found.ref), 0);
	ck_assert_int_eq(queue_restore_message(b.q, &found, NULL), 0);
	fake_loop_advance(b.loop, 10000);
	ck_assert_uint_eq(box_stats(b.q).counters.expired, 1);
}
END_TEST

/* Four of an earlier start, for a peer that is configured. */
static void
restore_four(uint64_t expires_ms)
{
	begin("berlin", false);
	for (uint64_t i = 1; i <= 4; i++) {
		struct store_message m = { .queue = 1, .seq = i, .number = i };
		struct store_found found = { .queue = 1, .seq = i, .number = i, .bytes = 10, .expires_ms = expires_ms };

		ck_assert_int_eq(store_put(&store, &m, &found.ref), 0);
		ck_assert_int_eq(queue_restore_message(b.q, &found, &h.sender), 0);
	}
	ck_assert(h.sender.open == 4 && box_stats(b.q).counters.present == 4);
	taker_attach(&t, b.q);
}

/* Of four that ended in doubt the peer has confirmed the first, and only accepted the second. */
static void
peer_tells(enum wire_level ended)
{
	uint64_t count = ended == WIRE_LEVEL_PURGED ? 1 : 0;

	ck_assert_uint_eq(fake_store_kept(&store), 0);
	ck_assert(box_stats(b.q).messages == 0 && box_stats(b.q).bytes == 0);
	ck_assert(h.n == 0 && h.sender.open == 4 && !queue_is_unused(b.q));
	queue_arrived(b.q, WIRE_PRIORITY_NORMAL, 1);
	ck_assert(h.n == 1 && h.level == WIRE_LEVEL_ARRIVED && h.number == 1);
	queue_doubt_over(b.q, WIRE_PRIORITY_NORMAL, 2);
	ck_assert(h.by_level[ended] == 2 && h.number == 4 && h.sender.open == 1);
	/* The peer was restarted, and has lost it with its mark. */
	queue_doubt_over(b.q, WIRE_PRIORITY_NORMAL, 1);
	ck_assert(h.by_level[ended] == 3 && h.number == 2 && h.sender.open == 0);
	ck_assert_uint_eq(box_stats(b.q).counters.purged, 4 * count);
	ck_assert_uint_eq(box_stats(b.q).counters.expired, 4 - 4 * count);
}

START_TEST(purged_in_doubt_is_gone_and_told_when_the_peer_tells)
{
	struct queue_purged purged;

	restore_four(0);
	queue_purge(b.q, &purged);
	ck_assert(purged.messages == 4 && purged.bytes == 40 && purged.in_doubt == 4);
	peer_tells(WIRE_LEVEL_PURGED);
}
END_TEST

START_TEST(expired_in_doubt_is_gone_and_told_when_the_peer_tells)
{
	restore_four(loop_now_ms(b.loop) + 500);
	fake_loop_advance(b.loop, 5000);
	peer_tells(WIRE_LEVEL_EXPIRED);
}
END_TEST

/* What the peer told that it does not have ends as usual. */
START_TEST(purged_without_doubt_is_told_at_once)
{
	struct queue_purged purged;

	restore_four(0);
	queue_doubt_over(b.q, WIRE_PRIORITY_NORMAL, 1);
	queue_purge(b.q, &purged);
	ck_assert(purged.messages == 4 && purged.in_doubt == 1);
	ck_assert(h.by_level[WIRE_LEVEL_PURGED] == 3 && h.sender.open == 1);
	/* Its sender goes away, or the daemon ends. */
	queue_forget(b.q, &h.sender);
	ck_assert_uint_eq(h.sender.open, 0);
}
END_TEST

/* The peer has confirmed two before the link came to take them: that is how they end, whatever ends them here. */
START_TEST(what_has_arrived_does_not_expire)
{
	struct queue_purged purged;

	restore_four(_i == 1 ? loop_now_ms(b.loop) + 500 : 0);
	queue_arrived(b.q, WIRE_PRIORITY_NORMAL, 2);
	queue_doubt_over(b.q, WIRE_PRIORITY_NORMAL, 3);
	if (_i == 2) {
		ck_assert_ptr_null(queue_take(&t.consumer, -1));
		fake_store_serve(&store);
	}
	if (_i == 1) {
		fake_loop_advance(b.loop, 5000);
	} else {
		queue_purge(b.q, &purged);
		ck_assert(purged.messages == 4 && purged.in_doubt == 1);
	}
	ck_assert_uint_eq(h.by_level[WIRE_LEVEL_ARRIVED], 2);
	ck_assert_uint_eq(h.by_level[_i == 1 ? WIRE_LEVEL_EXPIRED : WIRE_LEVEL_PURGED], 1);
	ck_assert_uint_eq(h.sender.open, 1);
	queue_arrived(b.q, WIRE_PRIORITY_NORMAL, 3);
	ck_assert(h.by_level[WIRE_LEVEL_ARRIVED] == 3 && h.sender.open == 0);
	ck_assert_uint_eq(box_stats(b.q).counters.forwarded, 2);
}
END_TEST

/* It has been read into memory, and was not taken. */
START_TEST(read_in_doubt_ends_the_same_way)
{
	struct queue_purged purged;

	restore_four(0);
	ck_assert_ptr_null(queue_take(&t.consumer, -1));
	fake_store_serve(&store);
	fake_loop_run(b.loop);
	queue_purge(b.q, &purged);
	ck_assert(purged.messages == 4 && purged.in_doubt == 4);
	peer_tells(WIRE_LEVEL_PURGED);
}
END_TEST

/* The peer is not configured any more: what waits for it can be purged all the same. */
START_TEST(restored_orphans_can_be_purged)
{
	struct store_message m = { .queue = 1, .seq = 1 };
	struct store_found found = { .queue = 1, .seq = 1, .bytes = 10 };
	struct queue_purged purged;

	begin("berlin", false);
	ck_assert_int_eq(store_put(&store, &m, &found.ref), 0);
	ck_assert_int_eq(queue_restore_message(b.q, &found, NULL), 0);
	queue_purge(b.q, &purged);
	ck_assert_uint_eq(purged.messages, 1);
	ck_assert_uint_eq(fake_store_kept(&store), 0);
}
END_TEST

/* A peer forgets its mark with the queue: not before nothing of it can come back. */
/* Nobody wrote down whether an earlier start had sent it, and to which boot of the peer. */
START_TEST(restored_ones_may_be_second_at_the_peer)
{
	struct store_message m = { .queue = 1, .seq = 1, .number = 1, .parts[STORE_PARTS - 1] = { "x", 1 } };
	struct store_found found = { .queue = 1, .seq = 1, .number = 1, .bytes = 1 };
	struct entry *e;

	m.parts[1] = (struct store_bytes){ "origin", 6 };
	begin("berlin", false);
	ck_assert_int_eq(store_put(&store, &m, &found.ref), 0);
	ck_assert_int_eq(queue_restore_message(b.q, &found, NULL), 0);
	taker_attach(&t, b.q);
	ck_assert_ptr_null(queue_take(&t.consumer, -1));
	fake_store_serve(&store);
	fake_loop_run(b.loop);
	e = queue_take(&t.consumer, -1);
	ck_assert(e != NULL && e->redelivered);
	queue_done(e, WIRE_LEVEL_ARRIVED);
}
END_TEST

START_TEST(a_queue_is_settled_when_its_end_is_synced)
{
	begin("berlin", false);
	ck_assert(queue_is_settled(b.q));
	ck_assert_int_eq(flow_put(&f, body(10), NULL, 1), 0);
	sync_all();
	taker_attach(&t, b.q);
	fake_loop_run(b.loop);
	queue_done(queue_take(&t.consumer, -1), WIRE_LEVEL_ARRIVED);
	ck_assert(!queue_is_settled(b.q));
	store.synced = store.ticket;
	ck_assert(queue_is_settled(b.q));
}
END_TEST

START_TEST(no_room_on_disk_is_no_credit)
{
	begin(NULL, true);
	store.room = 0;
	flow_grant(&f);
	ck_assert_uint_eq(f.messages, 0);
	ck_assert_uint_gt(store.wanted_room, 0);
	store.room = 1 << 30;
	queues_disk_back(b.qs);
	fake_loop_run(b.loop);
	ck_assert(f.rooms == 1 && f.messages > 0);
}
END_TEST

/* However many flows are idle, whoever is busy finds room; and peers do when programs have filled what they may. */
START_TEST(idle_credit_leaves_room_on_disk)
{
	struct flow idle[20], peer;
	uint64_t reserved = 0;

	b.cfg.peer_room = 1 << 20;
	store.room = store.capacity = 1 << 20;
	begin(NULL, false);
	for (unsigned i = 0; i < 20; i++) {
		flow_open(&idle[i], b.q, false);
		for (unsigned k = 0; k < 20; k++) {
			flow_grant(&idle[i]);
			fake_loop_jump(b.loop, 100);
		}
		reserved += idle[i].inlet.reserved_bytes + idle[i].inlet.reserved_messages * store_cost(&store, 0);
		ck_assert_uint_gt(idle[i].inlet.reserved_messages, 0);
	}
	ck_assert_uint_lt(reserved, store.capacity / 2);
	/* As many as have room for what each must have. */
	ck_assert(queue_inlet_fits(b.q));
	store.capacity /= 4;
	ck_assert(!queue_inlet_fits(b.q));
	store.capacity = 1 << 20;
	/* The journal fills. */
	store.room = reserved + store.capacity / 4;
	flow_grant(&f);
	ck_assert_uint_eq(f.messages, 0);
	flow_open(&peer, b.q, true);
	flow_grant(&peer);
	ck_assert_uint_gt(peer.messages, 0);
	/* A message that would be most of it is never taken. */
	ck_assert(!queue_disk_never_fits(b.q, 100000) && queue_disk_never_fits(b.q, 300000));
	for (unsigned i = 0; i < 20; i++)
		queue_inlet_close(&idle[i].inlet);
	queue_inlet_close(&peer.inlet);
}
END_TEST

START_TEST(dead_letters_move)
{
	struct entry *e;

	begin(NULL, true);
	box_make_dead(&b, 100);
	ck_assert_int_eq(queues_define(b.qs, b.dead), 0);
	taker_attach(&t, b.q);
	flow_fill(&b, &f, 1, NULL);
	sync_all();
	e = queue_take(&t.consumer, -1);
	ck_assert_int_eq(queue_bury(e, WIRE_LEVEL_DEAD, WIRE_REJECT_UNKNOWN, "why"), 0);
	ck_assert(store.n_moved == 1 && store.n_done == 0 && store.messages[1].m.queue == queue_number(b.dead));
	ck_assert_uint_eq(box_stats(b.dead).stored, 1);
	ck_assert_uint_eq(box_stats(b.q).stored, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("queue_store");
	TCase *tc = tcase_create("queue_store");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, local_ones_are_offered_once_synced);
	tcase_add_test(tc, what_came_over_a_link_is_offered_at_once);
	tcase_add_test(tc, what_was_there_is_written_down_before_it_is_offered);
	tcase_add_test(tc, an_offer_may_be_known_early);
	tcase_add_test(tc, memory_messages_are_not_stored);
	tcase_add_test(tc, memory_messages_do_not_overtake_in_their_flow);
	tcase_add_test(tc, nothing_overtakes_on_a_link);
	tcase_add_test(tc, credit_and_messages_outlive_the_store);
	tcase_add_test(tc, backlog_cools_and_comes_back);
	tcase_add_test(tc, cold_ones_are_read_whatever_comes_behind);
	tcase_add_test(tc, damaged_ones_are_dead_letters);
	tcase_add_test(tc, reads_that_are_refused_are_tried_again);
	tcase_add_test(tc, what_waits_to_be_read_again_can_be_purged);
	tcase_add_test(tc, purged_in_doubt_is_gone_and_told_when_the_peer_tells);
	tcase_add_test(tc, expired_in_doubt_is_gone_and_told_when_the_peer_tells);
	tcase_add_test(tc, purged_without_doubt_is_told_at_once);
	tcase_add_loop_test(tc, what_has_arrived_does_not_expire, 0, 3);
	tcase_add_test(tc, read_in_doubt_ends_the_same_way);
	tcase_add_test(tc, restored_orphans_can_be_purged);
	tcase_add_test(tc, restored_ones_may_be_second_at_the_peer);
	tcase_add_test(tc, a_queue_is_settled_when_its_end_is_synced);
	tcase_add_test(tc, no_room_on_disk_is_no_credit);
	tcase_add_test(tc, idle_credit_leaves_room_on_disk);
	tcase_add_test(tc, dead_letters_move);
	tcase_add_test(tc, restored_dead_letters_stay);
	tcase_add_test(tc, tried_again_they_stay);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
