/* Credit is room reserved beforehand: grants, windows, overflow, who waits for room. */
#include <check.h>
#include <errno.h>

#include "queue_box.h"

static struct box b;
static struct heard h;
static struct taker t;

static void
setup(void)
{
	box_init(&b);
	heard_init(&h);
}

static void
teardown(void)
{
	box_balance(b.q);
	queue_detach(&t.consumer);
	box_done(&b);
}

static uint64_t
used(void)
{
	uint64_t bytes, messages, partial;

	queues_memory(b.qs, &bytes, &messages, &partial);
	return bytes;
}

static struct message *
body(uint64_t bytes)
{
	return box_message(&b, bytes, WIRE_PRIORITY_NORMAL, 0, 0);
}

START_TEST(window_grows_while_busy)
{
	uint64_t messages, bytes, window = 32;
	struct flow f;

	b.conf.max_messages = 10000000;
	b.conf.max_bytes = 1u << 30;
	b.cfg.max_memory = UINT64_C(1) << 34;
	b.cfg.max_messages = 100000000;
	box_make(&b, NULL, "orders");
	flow_open(&f, b.q, true);
	queue_grant(&f.inlet, &messages, &bytes);
	ck_assert(messages == 32 && bytes == 64 << 10);
	queue_grant(&f.inlet, &messages, &bytes);
	ck_assert(messages == 0 && bytes == 0); /* not used yet */
	for (unsigned i = 0; i < 12; i++) {
		while (2 * f.inlet.reserved_messages >= window) {
			queue_started(&f.inlet, 0);
			ck_assert_int_eq(queue_put(&f.inlet, body(0), NULL, 1), 0);
		}
		fake_loop_jump(b.loop, 100);
		queue_grant(&f.inlet, &messages, &bytes);
		window = window < QUEUE_WINDOW_MESSAGES ? 2 * window : window;
		ck_assert_uint_eq(f.inlet.reserved_messages, window);
	}
	ck_assert_uint_eq(window, QUEUE_WINDOW_MESSAGES);
	/* What is not used does not grow. */
	ck_assert_uint_eq(f.inlet.reserved_bytes, 64 << 10);
	/* Slower: it stays as it is. */
	while (2 * f.inlet.reserved_messages >= window) {
		queue_started(&f.inlet, 0);
		ck_assert_int_eq(queue_put(&f.inlet, body(0), NULL, 1), 0);
	}
	fake_loop_jump(b.loop, 201);
	queue_grant(&f.inlet, &messages, &bytes);
	ck_assert_uint_eq(f.inlet.reserved_messages, window);
	/* Bytes likewise. */
	for (window = 64 << 10; window < QUEUE_WINDOW_BYTES; window *= 2) {
		uint64_t size = f.inlet.reserved_bytes / 2 + 1;

		queue_started(&f.inlet, size);
		ck_assert_int_eq(queue_put(&f.inlet, body(size), NULL, 1), 0);
		queue_grant(&f.inlet, &messages, &bytes);
		ck_assert_uint_eq(f.inlet.reserved_bytes, 2 * window);
	}
	queue_inlet_close(&f.inlet);
	ck_assert_uint_eq(box_stats(b.q).reserved_messages, 0);
	ck_assert_uint_eq(box_stats(b.q).reserved_bytes, 0);
}
END_TEST

START_TEST(grants_shrink_with_the_room)
{
	struct flow f[40];
	uint64_t sum = 0;

	b.conf.max_messages = 100;
	b.conf.max_bytes = 100000;
	box_make(&b, NULL, "orders");
	for (unsigned i = 0; i < 40; i++) {
		flow_open(&f[i], b.q, true);
		flow_grant(&f[i]);
		sum += f[i].messages;
		ck_assert_uint_le(f[i].messages, i == 0 ? 25 : 19);
		ck_assert_uint_le(f[i].bytes, i == 0 ? 25000 : 18750);
	}
	ck_assert_uint_eq(f[0].messages, 25);
	ck_assert_uint_eq(f[1].messages, 18);
	ck_assert_uint_eq(f[1].bytes, 18750);
	/* One each at the end, even when all is reserved: what others do not use must not stop a flow. */
	for (unsigned i = 12; i < 40; i++)
		ck_assert(f[i].messages == 1 && f[i].bytes >= QUEUE_GRANT_MIN);
	ck_assert_uint_le(sum, 100 + 40);
	ck_assert_uint_eq(box_stats(b.q).reserved_messages, sum);
	for (unsigned i = 0; i < 40; i++)
		queue_inlet_close(&f[i].inlet);
	ck_assert_uint_eq(used(), 0);
}
END_TEST

/* What was granted can be put, whatever others do; a full queue gives nothing. */
START_TEST(full_queue_starves_in_turn)
{
	struct flow f, g[3];
	struct entry *e;

	b.conf.max_messages = 10;
	box_make(&b, NULL, "orders");
	flow_open(&f, b.q, true);
	taker_attach(&t, b.q);
	for (unsigned i = 1; i <= 10; i++) {
		flow_grant(&f);
		ck_assert_uint_gt(f.messages, 0);
		ck_assert_int_eq(flow_put(&f, body(1), &h.sender, i), 0);
	}
	flow_grant(&f);
	ck_assert_uint_eq(f.messages, 0);
	for (unsigned i = 0; i < 3; i++) {
		flow_open(&g[i], b.q, true);
		flow_grant(&g[i]);
		flow_grant(&g[i]);
		ck_assert(g[i].messages == 0 && g[i].bytes == 0);
	}
	fake_loop_run(b.loop);
	ck_assert_uint_eq(f.rooms + g[0].rooms, 0);
	/* Room again: one message for each, the one that has waited longest first. */
	e = queue_take(&t.consumer, -1);
	queue_done(e, WIRE_LEVEL_CONSUMED);
	ck_assert_uint_eq(f.rooms, 0); /* from the loop only */
	fake_loop_run(b.loop);
	ck_assert(f.rooms == 1 && f.messages == 1);
	for (unsigned i = 0; i < 3; i++)
		ck_assert(g[i].rooms == 1 && g[i].messages == 1);
	/* Nobody waits for room any more. */
	queue_done(queue_take(&t.consumer, -1), WIRE_LEVEL_CONSUMED);
	fake_loop_run(b.loop);
	ck_assert(f.rooms == 1 && g[0].rooms == 1);
	/* Above its bound by no more than a message a flow; then nobody gets anything. */
	ck_assert_int_eq(flow_put(&f, body(1), NULL, 11), 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(flow_put(&g[i], body(1), NULL, 1), 0);
	ck_assert_uint_eq(box_stats(b.q).messages, 12);
	for (unsigned i = 3; i-- > 0;) {
		flow_grant(&g[i]);
		ck_assert_uint_eq(g[i].messages, 0);
	}
	queue_done(queue_take(&t.consumer, -1), WIRE_LEVEL_CONSUMED);
	queue_done(queue_take(&t.consumer, -1), WIRE_LEVEL_CONSUMED);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(g[0].rooms + g[1].rooms + g[2].rooms, 3);
	/* A starving one that goes is forgotten. */
	queue_inlet_close(&g[2].inlet);
	queue_done(queue_take(&t.consumer, -1), WIRE_LEVEL_CONSUMED);
	fake_loop_run(b.loop);
	ck_assert(g[0].rooms == 2 && g[1].rooms == 2 && g[2].rooms == 1);
	queue_inlet_close(&g[0].inlet);
	queue_inlet_close(&f.inlet);
	queue_inlet_close(&g[1].inlet);
}
END_TEST

START_TEST(memory_starves_over_queues)
{
	struct queue *other;
	struct flow f, g, late;
	uint64_t n = 0, n_tight = 0;

	b.cfg.max_memory = 64 * (QUEUE_OVERHEAD + 3000);
	box_make(&b, NULL, "orders");
	other = queue_new(b.qs, NULL, "other", &b.conf, false);
	flow_open(&f, b.q, true);
	flow_open(&g, other, true);
	taker_attach(&t, b.q);
	for (;;) {
		/* Close to the end: one message a flow. */
		if (n_tight == 0 && used() > b.cfg.max_memory * 7 / 8 && used() + QUEUE_GRANT_MIN + QUEUE_OVERHEAD <= b.cfg.max_memory) {
			flow_open(&late, b.q, true);
			flow_grant(&late);
			n_tight = late.messages;
			queue_inlet_close(&late.inlet);
		}
		flow_grant(&f);
		if (f.messages == 0 || f.bytes == 0)
			break;
		ck_assert_int_eq(flow_put(&f, body(3000), NULL, ++n), 0);
		ck_assert_uint_le(used(), b.cfg.max_memory);
	}
	ck_assert_uint_eq(n_tight, 1);
	ck_assert_uint_ge(n, 50);
	ck_assert_uint_le(n, 64);
	flow_grant(&g);
	ck_assert_uint_eq(g.messages, 0);
	for (unsigned i = 0; i < 3; i++)
		queue_done(queue_take(&t.consumer, -1), WIRE_LEVEL_CONSUMED);
	fake_loop_run(b.loop);
	ck_assert(f.rooms == 1 && g.rooms == 1 && f.messages + g.messages > 0);
	queue_inlet_close(&f.inlet);
	queue_inlet_close(&g.inlet);
	queue_free(other);
}
END_TEST

START_TEST(messages_of_all_are_bounded)
{
	struct flow f;
	uint64_t n = 0;

	b.cfg.max_messages = 20;
	box_make(&b, NULL, "orders");
	flow_open(&f, b.q, true);
	for (;;) {
		flow_grant(&f);
		if (f.messages == 0)
			break;
		ck_assert_int_eq(flow_put(&f, body(1), NULL, ++n), 0);
	}
	ck_assert_uint_eq(n, 20);
	queue_inlet_close(&f.inlet);
}
END_TEST

START_TEST(abandoned_is_reserved_again)
{
	uint64_t messages, bytes, before;
	struct flow f;

	box_make(&b, NULL, "orders");
	flow_open(&f, b.q, true);
	queue_grant(&f.inlet, &messages, &bytes);
	before = used();
	queue_started(&f.inlet, 1000);
	ck_assert_uint_eq(used(), before);
	ck_assert_uint_eq(f.inlet.reserved_messages, messages - 1);
	queue_abandoned(&f.inlet, 1000);
	ck_assert(f.inlet.reserved_messages == messages && f.inlet.reserved_bytes == bytes);
	ck_assert_uint_eq(used(), before);
	ck_assert_uint_eq(box_stats(b.q).reserved_messages, messages);
	queue_inlet_close(&f.inlet);
	ck_assert_uint_eq(used(), 0);
}
END_TEST

START_TEST(what_does_not_fit_has_room_of_its_own)
{
	uint64_t messages, bytes, granted, sent;
	struct flow f;

	box_make(&b, NULL, "orders");
	flow_open(&f, b.q, true);
	queue_grant(&f.inlet, &messages, &granted);
	sent = granted + 5000;
	ck_assert(flow_start(&f, sent));
	ck_assert_int_eq(queue_put(&f.inlet, body(sent), NULL, 1), 0);
	/* The credit is still the sender's, for what comes behind. */
	ck_assert(f.inlet.reserved_messages == messages && f.inlet.reserved_bytes == granted);
	ck_assert_uint_eq(used(), sent + QUEUE_OVERHEAD + granted + messages * QUEUE_OVERHEAD);
	/* And the window is widened, so that the next one fits. */
	queue_grant(&f.inlet, &messages, &bytes);
	ck_assert_uint_gt(granted + bytes, sent);
	queue_inlet_close(&f.inlet);
}
END_TEST

/* Whatever many flows do, the memory is kept: bodies of all sizes, nobody takes anything. */
START_TEST(memory_is_kept)
{
	static struct flow f[4000];
	uint64_t n = 0, put = 0;

	b.cfg.max_memory = 8 << 20;
	b.cfg.max_partial = 8 << 20;
	b.conf.max_bytes = UINT64_C(1) << 40;
	box_make(&b, NULL, "orders");
	while (n < 4000 && queue_inlet_fits(b.q))
		flow_open(&f[n++], b.q, true);
	ck_assert_uint_gt(n, 900);
	ck_assert_uint_lt(n, 1000);
	for (unsigned round = 0; round < 50; round++)
		for (unsigned i = 0; i < n; i++) {
			uint64_t bytes = (round * 7919u + i * 104729u) % (i % 3 == 0 ? 262144 : 5000);

			flow_grant(&f[i]);
			if (f[i].inlet.reserved_messages > 0 && f[i].inlet.reserved_bytes >= QUEUE_GRANT_MIN && flow_start(&f[i], bytes))
				ck_assert_int_eq(queue_put(&f[i].inlet, body(bytes), NULL, ++put), 0);
			ck_assert_uint_le(used(), b.cfg.max_memory);
		}
	ck_assert_uint_gt(put, 100);
	for (unsigned i = 0; i < n; i++)
		queue_inlet_close(&f[i].inlet);
}
END_TEST

START_TEST(started_is_given_back_at_close)
{
	struct flow f;

	box_make(&b, NULL, "orders");
	flow_open(&f, b.q, true);
	flow_grant(&f);
	ck_assert(flow_start(&f, 1000000));
	ck_assert(flow_start(&f, 1000));
	queue_inlet_close(&f.inlet);
	ck_assert_uint_eq(used(), 0);
	ck_assert_uint_eq(box_stats(b.q).reserved_bytes, 0);
}
END_TEST

START_TEST(reject_tells)
{
	struct flow f, peer;

	b.conf.max_messages = 3;
	b.conf.max_bytes = 100;
	b.conf.overflow = CONF_OVERFLOW_REJECT;
	box_make(&b, NULL, "orders");
	flow_open(&f, b.q, false);
	flow_grant(&f);
	ck_assert_uint_gt(f.messages, 3); /* credit whatever room there is */
	ck_assert_uint_eq(box_stats(b.q).reserved_messages, 0);
	ck_assert_int_eq(flow_put(&f, body(101), &h.sender, 1), -EXFULL);
	ck_assert_int_eq(flow_put(&f, body(90), &h.sender, 2), 0);
	ck_assert_int_eq(flow_put(&f, body(11), &h.sender, 3), -EXFULL);
	ck_assert_int_eq(flow_put(&f, body(1), &h.sender, 4), 0);
	ck_assert_int_eq(flow_put(&f, body(1), &h.sender, 5), 0);
	ck_assert_int_eq(flow_put(&f, body(1), &h.sender, 6), -EXFULL);
	ck_assert(h.n == 0 && h.sender.open == 3);
	ck_assert_uint_eq(box_stats(b.q).counters.accepted, 3);
	/* A peer gets no credit instead. */
	flow_open(&peer, b.q, true);
	flow_grant(&peer);
	ck_assert_uint_eq(peer.messages, 0);
	queue_inlet_close(&f.inlet);
	queue_inlet_close(&peer.inlet);
}
END_TEST

/* Room that a peer was granted is not given to clients. */
START_TEST(reject_respects_reservations)
{
	struct flow f, peer;
	unsigned taken = 0;

	b.conf.max_messages = 12;
	b.conf.overflow = CONF_OVERFLOW_REJECT;
	box_make(&b, NULL, "orders");
	flow_open(&peer, b.q, true);
	flow_grant(&peer);
	ck_assert_uint_eq(peer.messages, 3);
	flow_open(&f, b.q, false);
	while (flow_put(&f, body(1), NULL, 1) == 0)
		taken++;
	ck_assert_uint_eq(taken, 9);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(flow_put(&peer, body(1), NULL, 1), 0);
	ck_assert_uint_eq(box_stats(b.q).messages, 12);
	queue_inlet_close(&f.inlet);
	queue_inlet_close(&peer.inlet);
}
END_TEST

START_TEST(drop_oldest_makes_room)
{
	struct flow f;
	struct entry *held;

	b.conf.max_messages = 4;
	b.conf.max_bytes = 100;
	b.conf.overflow = CONF_OVERFLOW_DROP_OLDEST;
	box_make(&b, NULL, "orders");
	flow_open(&f, b.q, true);
	taker_attach(&t, b.q);
	ck_assert_int_eq(flow_put(&f, box_message(&b, 10, WIRE_PRIORITY_HIGH, 0, 0), &h.sender, 1), 0);
	ck_assert_int_eq(flow_put(&f, body(10), &h.sender, 2), 0);
	ck_assert_int_eq(flow_put(&f, box_message(&b, 10, WIRE_PRIORITY_LOW, 0, 0), &h.sender, 3), 0);
	ck_assert_int_eq(flow_put(&f, body(10), &h.sender, 4), 0);
	held = queue_take(&t.consumer, WIRE_PRIORITY_NORMAL);
	queue_return(held, 0, NULL);
	ck_assert_int_eq(flow_put(&f, body(10), &h.sender, 5), 0);
	ck_assert(h.n == 1 && h.number == 1 && h.level == WIRE_LEVEL_DROPPED);
	/* One that came back is as old as it is. */
	ck_assert_int_eq(flow_put(&f, body(10), &h.sender, 6), 0);
	ck_assert(h.n == 2 && h.number == 2);
	/* By bytes: several go. */
	ck_assert_int_eq(flow_put(&f, body(85), &h.sender, 7), 0);
	ck_assert_uint_eq(h.n, 5);
	ck_assert_uint_eq(box_stats(b.q).messages, 2);
	/* More than would ever fit: nothing else suffers. */
	ck_assert_int_eq(flow_put(&f, body(101), &h.sender, 8), 0);
	ck_assert(h.n == 6 && h.number == 8 && h.level == WIRE_LEVEL_DROPPED);
	/* What consumers hold is not dropped: the new one is. */
	ck_assert(queue_take(&t.consumer, -1) && queue_take(&t.consumer, -1));
	ck_assert_int_eq(flow_put(&f, body(50), &h.sender, 9), 0);
	ck_assert(h.n == 7 && h.number == 9);
	ck_assert_uint_eq(box_stats(b.q).messages, 2);
	ck_assert_uint_eq(box_stats(b.q).counters.dropped, 7);
	queue_inlet_close(&f.inlet);
}
END_TEST

START_TEST(partial_bodies_are_bounded)
{
	struct flow f, g;
	uint64_t bytes, messages, partial;

	box_make(&b, NULL, "orders");
	flow_open(&f, b.q, true);
	flow_open(&g, b.q, true);
	ck_assert(queue_reserve_partial(b.qs, &f.inlet, 5 << 20));
	ck_assert(!queue_reserve_partial(b.qs, &g.inlet, 4 << 20));
	ck_assert(!queue_reserve_partial(b.qs, NULL, 4 << 20));
	ck_assert(queue_reserve_partial(b.qs, NULL, 3 << 20));
	queues_memory(b.qs, &bytes, &messages, &partial);
	ck_assert(partial == 8 << 20 && bytes == 8 << 20);
	queue_release_partial(b.qs, NULL, 3 << 20);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(g.rooms, 0); /* not enough yet */
	queue_release_partial(b.qs, NULL, 5 << 20);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(g.rooms, 1);
	ck_assert(queue_reserve_partial(b.qs, &g.inlet, 4 << 20));
	queue_release_partial(b.qs, NULL, 4 << 20);
	queue_inlet_close(&f.inlet);
	queue_inlet_close(&g.inlet);
}
END_TEST

/* Room for a large body comes when messages go; what others have reserved and do not use does not keep it out. */
START_TEST(partial_bodies_wait_for_memory)
{
	struct flow f, g;
	struct entry *e;

	b.cfg.max_memory = 1 << 20;
	box_make(&b, NULL, "orders");
	flow_open(&f, b.q, true);
	flow_open(&g, b.q, true);
	taker_attach(&t, b.q);
	flow_grant(&f);
	ck_assert_int_eq(flow_put(&f, body(100), NULL, 1), 0);
	ck_assert(!queue_reserve_partial(b.qs, &g.inlet, 1 << 20));
	ck_assert(queue_partial_starved(b.qs));
	fake_loop_run(b.loop);
	ck_assert_uint_eq(g.rooms, 0);
	e = queue_take(&t.consumer, -1);
	queue_done(e, WIRE_LEVEL_CONSUMED);
	fake_loop_run(b.loop);
	ck_assert_uint_eq(g.rooms, 1);
	ck_assert(f.inlet.reserved_bytes > 0);
	ck_assert(queue_reserve_partial(b.qs, &g.inlet, 1 << 20));
	ck_assert(!queue_partial_starved(b.qs));
	queue_release_partial(b.qs, NULL, 1 << 20);
	queue_inlet_close(&f.inlet);
	queue_inlet_close(&g.inlet);
}
END_TEST

/* A doomed message has left its room. */
START_TEST(doom_frees_room)
{
	struct flow f;
	struct queue_purged purged;

	b.conf.max_bytes = 1000;
	box_make(&b, "berlin", "orders");
	flow_open(&f, b.q, true);
	taker_link(&t, b.q);
	while (f.inlet.starved.next == &f.inlet.starved) {
		flow_grant(&f);
		if (f.bytes > 0)
			ck_assert_int_eq(flow_put(&f, body(100), NULL, 1), 0);
	}
	for (struct entry *e; (e = queue_take(&t.consumer, -1));)
		e->sent = true;
	queue_purge(b.q, &purged);
	ck_assert_uint_ge(purged.bytes, 900);
	fake_loop_run(b.loop);
	ck_assert(f.rooms == 1 && f.bytes > 0);
	queue_inlet_close(&f.inlet);
}
END_TEST

/* The same of the messages of all queues. */
START_TEST(places_are_kept_for_peers)
{
	struct flow program, peer;
	uint64_t n = 0;

	b.cfg.max_messages = 40;
	b.cfg.peer_messages = 10;
	box_make(&b, NULL, "orders");
	flow_open(&program, b.q, false);
	flow_grant(&program);
	while (program.inlet.reserved_messages > 0) {
		ck_assert_int_eq(flow_put(&program, body(1), NULL, ++n), 0);
		flow_grant(&program);
	}
	ck_assert_uint_eq(n, 30);
	flow_open(&peer, b.q, true);
	flow_grant(&peer);
	ck_assert_uint_gt(peer.messages, 0);
	queue_inlet_close(&program.inlet);
	queue_inlet_close(&peer.inlet);
}
END_TEST

/* A large body that is refused leaves nothing behind, however often. */
START_TEST(refused_with_own_room_leaves_nothing)
{
	uint64_t before;
	struct flow f;

	b.conf.max_bytes = 1000;
	b.conf.overflow = CONF_OVERFLOW_REJECT;
	box_make(&b, NULL, "orders");
	flow_open(&f, b.q, false);
	flow_grant(&f);
	before = used();
	for (unsigned i = 1; i <= 100; i++)
		ck_assert_int_eq(flow_put(&f, body(2 << 20), &h.sender, i), -EXFULL);
	ck_assert_uint_eq(used(), before);
	queue_inlet_close(&f.inlet);
}
END_TEST

/* Whatever programs send, a peer finds room for the largest message; and it is given to them only. */
START_TEST(room_is_kept_for_peers)
{
	struct flow program, peer;
	uint64_t n = 0;

	b.cfg.max_memory = 4 << 20;
	b.cfg.peer_room = 1 << 20;
	box_make(&b, NULL, "orders");
	flow_open(&program, b.q, false);
	flow_open(&peer, b.q, true);
	do
		flow_grant(&program);
	while (program.inlet.reserved_messages > 0 && flow_start(&program, 20000) &&
	       queue_put(&program.inlet, body(20000), NULL, ++n) == 0);
	ck_assert_uint_gt(n, 100);
	ck_assert_uint_le(used(), b.cfg.max_memory - b.cfg.peer_room);
	ck_assert(!queue_reserve_partial(b.qs, &program.inlet, 900000));
	flow_grant(&peer);
	ck_assert(peer.messages > 0 && peer.bytes >= QUEUE_GRANT_MIN);
	ck_assert(queue_reserve_partial(b.qs, &peer.inlet, 900000));
	ck_assert_uint_le(used(), b.cfg.max_memory);
	queue_release_partial(b.qs, NULL, 900000);
	queue_inlet_close(&program.inlet);
	queue_inlet_close(&peer.inlet);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("queue_room");
	TCase *tc = tcase_create("queue_room");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, window_grows_while_busy);
	tcase_add_test(tc, grants_shrink_with_the_room);
	tcase_add_test(tc, full_queue_starves_in_turn);
	tcase_add_test(tc, memory_starves_over_queues);
	tcase_add_test(tc, messages_of_all_are_bounded);
	tcase_add_test(tc, abandoned_is_reserved_again);
	tcase_add_test(tc, what_does_not_fit_has_room_of_its_own);
	tcase_add_test(tc, memory_is_kept);
	tcase_add_test(tc, room_is_kept_for_peers);
	tcase_add_test(tc, places_are_kept_for_peers);
	tcase_add_test(tc, refused_with_own_room_leaves_nothing);
	tcase_add_test(tc, started_is_given_back_at_close);
	tcase_add_test(tc, reject_tells);
	tcase_add_test(tc, reject_respects_reservations);
	tcase_add_test(tc, drop_oldest_makes_room);
	tcase_add_test(tc, partial_bodies_are_bounded);
	tcase_add_test(tc, partial_bodies_wait_for_memory);
	tcase_add_test(tc, doom_frees_room);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
