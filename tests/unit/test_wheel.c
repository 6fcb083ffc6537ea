#include <check.h>
#include <stdlib.h>

#include "wheel.h"

/* Half a round of the whole wheel is 49 days; deadlines beyond 99 days go around. */
#define DAY (UINT64_C(24) * 3600 * 1000)

static uint64_t
random_below(uint64_t *state, uint64_t bound)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*state >> 20) % bound;
}

static bool
pop(struct wheel *w, struct list *due, struct wheel_node **ret)
{
	struct list *first = list_first(due);

	if (!first)
		return false;
	*ret = list_entry(first, struct wheel_node, node);
	wheel_remove(w, *ret);
	return true;
}

START_TEST(fires_once_and_in_time)
{
	static const uint64_t starts[] = { 0, 1, 511, 512, 64 * 64 * 8 - 1, UINT64_C(1) << 40, 99 * DAY };
	static const uint64_t delays[] = { 0, 1, 7, 8, 9, 504, 511, 512, 513, 32768, 32767, 3600000, DAY, 30 * DAY, 98 * DAY, 100 * DAY, 250 * DAY };
	struct wheel w;
	struct list due;

	list_init(&due);
	for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++) {
		for (size_t k = 0; k < sizeof(delays) / sizeof(*delays); k++) {
			struct wheel_node n, *got;
			uint64_t now = starts[i], deadline = now + delays[k];
			unsigned calls = 0;

			wheel_init(&w, now);
			wheel_node_init(&n);
			ck_assert(!wheel_armed(&n));
			wheel_add(&w, &n, deadline);
			ck_assert(wheel_armed(&n));
			/* Follow wheel_next alone: it must lead there, in few calls. */
			while (list_empty(&due)) {
				uint64_t wait = wheel_next(&w, now);

				ck_assert_uint_ne(wait, UINT64_MAX);
				ck_assert_uint_lt(calls++, 16);
				now += wait;
				ck_assert_uint_lt(now, deadline + WHEEL_TICK_MS);
				wheel_advance(&w, now, &due);
			}
			ck_assert_uint_ge(now, deadline);
			ck_assert_uint_eq(w.n, 0);
			ck_assert(pop(&w, &due, &got) && got == &n && !wheel_armed(&n));
			ck_assert(list_empty(&due));
			ck_assert_uint_eq(wheel_next(&w, now), UINT64_MAX);
		}
	}
}
END_TEST

START_TEST(late_deadline_fires_at_next_tick)
{
	struct wheel w;
	struct wheel_node n;
	struct list due;

	list_init(&due);
	wheel_init(&w, 10000);
	wheel_node_init(&n);
	wheel_advance(&w, 20000, &due);
	wheel_add(&w, &n, 5);
	ck_assert_uint_le(wheel_next(&w, 20000), WHEEL_TICK_MS);
	wheel_advance(&w, 20000 + WHEEL_TICK_MS, &due);
	ck_assert(!list_empty(&due));
	ck_assert_uint_eq(w.n, 0);
}
END_TEST

START_TEST(remove_forgets)
{
	struct wheel w;
	struct wheel_node a, b;
	struct list due;

	list_init(&due);
	wheel_init(&w, 0);
	wheel_node_init(&a);
	wheel_node_init(&b);
	wheel_add(&w, &a, 1000);
	wheel_add(&w, &b, 1000);
	wheel_remove(&w, &a);
	wheel_remove(&w, &a);
	ck_assert_uint_eq(w.n, 1);
	wheel_advance(&w, 2000, &due);
	ck_assert(list_first(&due) == &b.node && due.next->next == &due);
	/* Off the list of those due, before its turn. */
	wheel_remove(&w, &b);
	ck_assert(list_empty(&due) && !wheel_armed(&b));
	ck_assert_uint_eq(w.n, 0);
	/* Alone in its slot: nothing is left to wake up for. */
	wheel_add(&w, &a, 1000000);
	wheel_remove(&w, &a);
	ck_assert_uint_eq(wheel_next(&w, 2000), UINT64_MAX);
}
END_TEST

/* Thousands of nodes, added, removed and added again, against an array of deadlines. */
START_TEST(agrees_with_array)
{
	enum { N = 3000 };
	static const uint64_t spans[] = { 10, 500, 600, 40000, 3000000, 20 * DAY, 300 * DAY };
	struct wheel_node *nodes = calloc(N, sizeof(*nodes));
	uint64_t *deadlines = calloc(N, sizeof(*deadlines)); /* 0: not armed */
	uint64_t now = 123456789, state = 42, armed = 0, fired = 0;
	struct wheel w;
	struct list due;

	list_init(&due);
	wheel_init(&w, now);
	for (unsigned i = 0; i < N; i++)
		wheel_node_init(&nodes[i]);
	for (unsigned step = 0; step < 20000; step++) {
		struct wheel_node *n;

		for (unsigned k = 0; k < 8; k++) {
			size_t i = random_below(&state, N);

			if (deadlines[i] != 0) {
				if (random_below(&state, 4) != 0)
					continue;
				wheel_remove(&w, &nodes[i]);
				deadlines[i] = 0;
				armed--;
			} else {
				deadlines[i] = now + random_below(&state, spans[random_below(&state, 7)]);
				wheel_add(&w, &nodes[i], deadlines[i]);
				armed++;
			}
		}
		ck_assert_uint_eq(w.n, armed);
		now += random_below(&state, spans[random_below(&state, 100) == 0 ? 6 : random_below(&state, 4)]);
		wheel_advance(&w, now, &due);
		while (pop(&w, &due, &n)) {
			size_t i = (size_t)(n - nodes);

			if (deadlines[i] == 0 || deadlines[i] > now)
				ck_abort_msg("node %zu fired early or twice", i);
			deadlines[i] = 0;
			armed--;
			fired++;
		}
		if (step % 16 == 0)
			for (unsigned i = 0; i < N; i++) /* nothing is forgotten for longer than a tick */
				if (deadlines[i] != 0 && deadlines[i] + WHEEL_TICK_MS <= now)
					ck_abort_msg("node %u forgotten", i);
	}
	ck_assert_uint_gt(fired, 10000);
	free(nodes);
	free(deadlines);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("wheel");
	TCase *tc = tcase_create("wheel");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, fires_once_and_in_time);
	tcase_add_test(tc, late_deadline_fires_at_next_tick);
	tcase_add_test(tc, remove_forgets);
	tcase_add_test(tc, agrees_with_array);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
