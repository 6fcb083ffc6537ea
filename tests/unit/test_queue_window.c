/* Windows of sessions: memory set aside for what comes, lent, asked for and returned; max_memory holds. */
#include <check.h>
#include <string.h>

#include "queue_box.h"

#define SESSIONS 64
#define NEED_MAX (WIRE_LARGE + WIRE_PACKED_MAX + WIRE_MESSAGE_COST)

/* The two ends of one session's window. */
struct pair {
	struct window window;
	uint64_t granted, used; /* at the sender */
	bool lent, waits;
	unsigned rooms;
	uint64_t next; /* cost of the message it wants to send; 0: none */
};

static struct box b;
static struct pair pairs[SESSIONS];

static void
room(struct window *w)
{
	list_entry(w, struct pair, window)->rooms++;
}

static void
setup(void)
{
	box_init(&b);
	b.cfg.max_memory = 4 << 20;
	b.cfg.max_message = 1 << 20;
	memset(pairs, 0, sizeof(pairs));
}

static void
open_pair(struct pair *p, bool peer)
{
	queue_window_open(b.qs, &p->window, peer, room);
}

static void
teardown(void)
{
	for (unsigned i = 0; i < SESSIONS; i++)
		queue_window_close(&pairs[i].window);
	box_done(&b);
}

static uint64_t
used(void)
{
	uint64_t bytes, messages, partial;

	queues_memory(b.qs, &bytes, &messages, &partial);
	return bytes;
}

static uint64_t
left(const struct window *w)
{
	return w->granted - w->used;
}

START_TEST(shares_get_smaller)
{
	uint64_t sum = 0, before = UINT64_MAX;

	box_make(&b, NULL, "orders");
	for (unsigned i = 0; i < SESSIONS; i++) {
		struct window *w = &pairs[i].window;

		open_pair(&pairs[i], i % 2);
		queue_window_grant(w);
		ck_assert_uint_le(w->granted, before);
		ck_assert(!w->lent);
		before = w->granted;
		sum += w->granted;
		queue_window_grant(w);
		ck_assert_uint_eq(w->granted, before); /* asking again gives no more */
	}
	ck_assert_uint_gt(pairs[0].window.granted, 16 << 10);
	ck_assert_uint_eq(before, 0);
	ck_assert_uint_eq(used(), sum);
	/* Idle as all of them are, one that asks gets the largest that may come, at once. */
	queue_window_want(&pairs[SESSIONS - 2].window, NEED_MAX);
	ck_assert_uint_eq(left(&pairs[SESSIONS - 2].window), NEED_MAX);
	ck_assert(pairs[SESSIONS - 2].window.lent && pairs[SESSIONS - 2].rooms == 1);
	queue_window_want(&pairs[SESSIONS - 1].window, NEED_MAX);
	ck_assert_uint_eq(left(&pairs[SESSIONS - 1].window), NEED_MAX);
}
END_TEST

START_TEST(what_came_is_held_until_it_is_settled)
{
	struct window *w = &pairs[0].window;
	uint64_t granted;

	box_make(&b, NULL, "orders");
	open_pair(&pairs[0], false);
	ck_assert(!queue_window_use(w, 1));
	queue_window_grant(w);
	granted = w->granted;
	ck_assert(!queue_window_use(w, granted + 1));
	ck_assert(queue_window_use(w, granted));
	ck_assert(!queue_window_use(w, 1));
	ck_assert_uint_eq(used(), granted);
	queue_window_grant(w);
	ck_assert_uint_eq(w->granted, granted); /* as much as its share is on its way still */
	queue_window_settle(w, granted);
	ck_assert_uint_eq(used(), 0);
	queue_window_grant(w);
	ck_assert_uint_eq(left(w), granted);
	ck_assert(!queue_window_return(w, granted + 1));
	ck_assert(queue_window_return(w, 10));
	ck_assert_uint_eq(left(w), granted - 10);
	ck_assert_uint_eq(used(), granted - 10);
	queue_window_close(w);
	ck_assert_uint_eq(used(), 0);
}
END_TEST

/* Who waits longest is served first, and nobody else before; what is not needed any more waits for nothing. */
START_TEST(first_come_first_served)
{
	unsigned n = 0;

	box_make(&b, NULL, "orders");
	for (unsigned i = 0; i < SESSIONS; i++)
		open_pair(&pairs[i], false);
	for (; n < SESSIONS; n++) {
		queue_window_want(&pairs[n].window, NEED_MAX);
		if (pairs[n].rooms == 0)
			break;
	}
	ck_assert(n > 1 && n < SESSIONS - 3);
	ck_assert_uint_le(used(), b.cfg.max_memory);
	queue_window_want(&pairs[n + 1].window, 1);
	queue_window_want(&pairs[n + 2].window, 100);
	queue_window_grant(&pairs[n + 3].window);
	ck_assert_uint_eq(pairs[n + 1].rooms + pairs[n + 3].window.granted, 0);
	queue_window_want(&pairs[n + 1].window, 0);
	ck_assert(queue_window_return(&pairs[0].window, NEED_MAX));
	fake_loop_run(b.loop);
	ck_assert(pairs[n].rooms == 1 && pairs[n + 1].rooms == 0);
	ck_assert_uint_ge(left(&pairs[n].window), NEED_MAX);
	/* One that goes makes room as well. */
	queue_window_close(&pairs[1].window);
	fake_loop_run(b.loop);
	ck_assert(pairs[n + 1].rooms == 0 && pairs[n + 2].rooms == 1);
	/* A Want that crossed a Credit is void. */
	queue_window_want(&pairs[n].window, pairs[n].window.granted);
	ck_assert_uint_eq(pairs[n].window.wanted, 0);
	/* More than any message can need is not given at once. */
	queue_window_want(&pairs[n].window, UINT64_MAX);
	ck_assert_uint_le(used(), b.cfg.max_memory);
}
END_TEST

/* Whatever programs have sent, a peer can send a message. */
START_TEST(peers_have_the_last_of_it)
{
	struct message *m;
	struct flow f;
	uint64_t n = 0;

	box_make(&b, NULL, "orders");
	flow_open(&f, b.q, false);
	open_pair(&pairs[0], false);
	open_pair(&pairs[1], true);
	for (;; n++) {
		struct window *w = &pairs[0].window;

		queue_window_want(w, w->used + 10000 + WIRE_MESSAGE_COST);
		if (left(w) < 10000 + WIRE_MESSAGE_COST)
			break;
		ck_assert(queue_window_use(w, 10000 + WIRE_MESSAGE_COST));
		flow_grant(&f);
		m = box_message(&b, 10000, WIRE_PRIORITY_NORMAL, 0, 0);
		queue_window_settle(w, 10000 + WIRE_MESSAGE_COST);
		ck_assert_int_eq(flow_put(&f, m, NULL, n + 1), 0);
		ck_assert_uint_le(used(), b.cfg.max_memory);
	}
	ck_assert_uint_gt(n, 100);
	queue_window_want(&pairs[1].window, NEED_MAX);
	ck_assert_uint_eq(left(&pairs[1].window), NEED_MAX);
	ck_assert_uint_le(used() + b.cfg.max_message + QUEUE_PARTIAL_OVERHEAD, b.cfg.max_memory);
	queue_window_close(&pairs[0].window);
	queue_inlet_close(&f.inlet);
}
END_TEST

/* ------------------------------------------------------------ many senders */

static uint64_t state;

static uint64_t
below(uint64_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (state >> 33) % n;
}

/* What the sender hears. */
static void
credit(struct pair *p)
{
	if (p->granted == p->window.granted)
		return;
	p->granted = p->window.granted;
	p->lent = p->window.lent;
	p->waits = false;
}

/* As client-lib and link do it. */
static void
want(struct pair *p, uint64_t bytes)
{
	uint64_t returned = p->lent ? p->granted - p->used : 0;

	p->used += returned;
	p->lent = false;
	p->waits = bytes > 0;
	ck_assert(queue_window_return(&p->window, returned));
	queue_window_want(&p->window, bytes > 0 ? p->used + bytes : 0);
}

/* A step of one sender. True if a message got through. */
static bool
step(struct pair *p)
{
	uint64_t bytes = p->next;

	if (below(2))
		queue_window_grant(&p->window);
	credit(p);
	if (p->waits || bytes == 0)
		return false;
	if (bytes > p->granted - p->used) {
		want(p, bytes);
		return false;
	}
	p->used += bytes;
	ck_assert(queue_window_use(&p->window, bytes));
	queue_window_settle(&p->window, bytes);
	p->next = 0;
	if (p->lent)
		want(p, 0);
	return true;
}

/* The smallest memory allowed, many senders, each of which gets its messages through in the end. */
START_TEST(nobody_starves)
{
	state = (uint64_t)_i + 1;
	b.cfg.max_message = 512 << 10;
	b.cfg.max_memory = 2 * b.cfg.max_message + (1 << 20);
	box_make(&b, NULL, "orders");
	for (unsigned i = 0; i < SESSIONS; i++)
		open_pair(&pairs[i], i % 4 == 0);
	for (unsigned round = 0; round < 200; round++) {
		unsigned open = 0, tries = 0;

		for (unsigned i = 0; i < SESSIONS; i++)
			if (below(3) == 0) {
				pairs[i].next = below(4) == 0 ? NEED_MAX - below(1000) : WIRE_MESSAGE_COST + below(20000);
				open++;
			}
		while (open > 0) {
			open -= step(&pairs[below(SESSIONS)]);
			fake_loop_run(b.loop);
			ck_assert_uint_le(used(), b.cfg.max_memory);
			ck_assert_msg(tries++ < 100000, "round %u: %u wait for ever", round, open);
		}
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("queue_window");
	TCase *tc = tcase_create("queue_window");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, shares_get_smaller);
	tcase_add_test(tc, what_came_is_held_until_it_is_settled);
	tcase_add_test(tc, first_come_first_served);
	tcase_add_test(tc, peers_have_the_last_of_it);
	tcase_add_loop_test(tc, nobody_starves, 0, 8);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
