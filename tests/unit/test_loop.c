/* loop: passes, deferred calls, timers, descriptors. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "loop.h"

/* What ran, in order, one letter each. */
struct diary {
	struct loop *loop;
	char text[64];
};

struct note {
	struct diary *diary;
	char letter;
	struct loop_call call, *then; /* deferred from inside */
	struct loop_timer timer;
	struct loop_timer *stop; /* stopped from inside */
	bool ends;
};

static void
write_note(void *arg)
{
	struct note *n = arg;
	size_t len = strlen(n->diary->text);

	ck_assert_uint_lt(len, sizeof(n->diary->text) - 1);
	n->diary->text[len] = n->letter;
	if (n->then)
		loop_defer(n->diary->loop, n->then);
	if (n->stop)
		loop_timer_stop(n->stop);
	if (n->ends)
		loop_stop(n->diary->loop);
}

static void
note_init(struct note *n, struct diary *d, char letter)
{
	*n = (struct note){ .diary = d, .letter = letter };
	loop_call_init(&n->call, write_note, n);
	loop_timer_init(&n->timer, d->loop, write_note, n);
}

static struct diary
diary_new(void)
{
	struct diary d = { .loop = loop_new() };

	ck_assert_ptr_nonnull(d.loop);
	return d;
}

START_TEST(deferred_in_order_and_to_the_end)
{
	struct diary d = diary_new();
	struct note a, b, c;

	note_init(&a, &d, 'a');
	note_init(&b, &d, 'b');
	note_init(&c, &d, 'c');
	a.then = &c.call;
	loop_defer(d.loop, &a.call);
	loop_defer(d.loop, &b.call);
	loop_defer(d.loop, &a.call); /* pending already */
	ck_assert_str_eq(d.text, "");
	/* Must not sleep although told to wait. */
	ck_assert_int_eq(loop_step(d.loop, true), 0);
	ck_assert_str_eq(d.text, "abc");
	loop_defer(d.loop, &a.call);
	loop_defer(d.loop, &b.call);
	loop_call_cancel(&a.call);
	loop_call_cancel(&a.call);
	loop_step(d.loop, false);
	ck_assert_str_eq(d.text, "abcb");
	loop_free(d.loop);
}
END_TEST

/* Dead objects wait among the deferred: they must not leak with the loop. */
START_TEST(free_runs_the_deferred)
{
	struct diary d = diary_new();
	struct note a;

	note_init(&a, &d, 'a');
	loop_defer(d.loop, &a.call);
	loop_free(d.loop);
	ck_assert_str_eq(d.text, "a");
	loop_free(NULL);
}
END_TEST

/*
 * Timers that start in one call-back of the loop, where all clocks stand still:
 * they are as far apart as they were told, however slow the machine is.
 */
struct starts {
	struct loop_timer timer;
	struct {
		struct loop_timer *timer;
		uint64_t ms;
	} all[3];
	size_t n;
	uint64_t at; /* loop_now */
};

static void
start_all(void *arg)
{
	struct starts *s = arg;

	s->at = loop_now(s->timer.loop);
	for (size_t i = 0; i < s->n; i++)
		loop_timer_start(s->all[i].timer, s->all[i].ms);
}

static void
start_together(struct starts *s, struct loop *l)
{
	loop_timer_init(&s->timer, l, start_all, s);
	loop_timer_start(&s->timer, 0);
	while (s->timer.armed)
		loop_step(l, true);
}

START_TEST(timers_in_order_and_not_early)
{
	struct diary d = diary_new();
	struct note a, b, c;
	struct starts s = { .all = { { &a.timer, 30 }, { &b.timer, 10 }, { &c.timer, 20 } }, .n = 3 };

	note_init(&a, &d, 'a');
	note_init(&b, &d, 'b');
	note_init(&c, &d, 'c');
	start_together(&s, d.loop);
	while (d.text[0] == '\0') {
		loop_step(d.loop, true);
		if (d.text[0])
			ck_assert_uint_ge(loop_now(d.loop) - s.at, 10000000);
	}
	while (strlen(d.text) < 3)
		loop_step(d.loop, true);
	ck_assert_uint_ge(loop_now(d.loop) - s.at, 30000000);
	ck_assert_str_eq(d.text, "bca");
	ck_assert(!a.timer.armed);
	loop_free(d.loop);
}
END_TEST

/* libevent's clock ticks every few milliseconds: often enough it would be early. */
START_TEST(never_early)
{
	struct diary d = diary_new();
	struct note a;

	note_init(&a, &d, 'a');
	for (uint64_t i = 0; i < 60; i++) {
		uint64_t start = loop_now(d.loop), ms = i % 6;

		loop_timer_start(&a.timer, ms);
		while (a.timer.armed)
			loop_step(d.loop, true);
		ck_assert_uint_ge(loop_now(d.loop) - start, ms * 1000000);
		d.text[0] = '\0';
	}
	loop_free(d.loop);
}
END_TEST

START_TEST(moving_a_timer)
{
	struct diary d = diary_new();
	struct note a, b;

	note_init(&a, &d, 'a');
	note_init(&b, &d, 'b');
	/* Back: does not fire when it was to at first; an hour, which no machine is late. */
	loop_timer_start(&a.timer, 5);
	loop_timer_start(&a.timer, 3600000);
	loop_timer_start(&b.timer, 20);
	while (!d.text[0])
		loop_step(d.loop, true);
	ck_assert_str_eq(d.text, "b");
	/* Forward: at once. */
	loop_timer_start(&a.timer, 0);
	while (strlen(d.text) < 2)
		loop_step(d.loop, true);
	ck_assert_str_eq(d.text, "ba");
	/* Back, and when that is over it fires once. */
	loop_timer_start(&a.timer, 1);
	loop_timer_start(&a.timer, 20);
	while (strlen(d.text) < 3)
		loop_step(d.loop, true);
	ck_assert_str_eq(d.text, "baa");
	/* Back, then stopped. */
	loop_timer_start(&a.timer, 1);
	loop_timer_start(&a.timer, 10);
	loop_timer_stop(&a.timer);
	loop_timer_start(&b.timer, 30);
	while (strlen(d.text) < 4)
		loop_step(d.loop, true);
	ck_assert_str_eq(d.text, "baab");
	/* Longer than any clock. */
	loop_timer_start(&a.timer, UINT64_MAX);
	loop_step(d.loop, false);
	ck_assert(a.timer.armed);
	loop_timer_stop(&a.timer);
	loop_free(d.loop);
}
END_TEST

START_TEST(stopped_by_one_that_fires_with_it)
{
	struct diary d = diary_new();
	struct note a, b, c;
	struct starts s = { .all = { { &a.timer, 1 }, { &b.timer, 1 }, { &c.timer, 20 } }, .n = 3 };

	note_init(&a, &d, 'a');
	note_init(&b, &d, 'b');
	note_init(&c, &d, 'c'); /* by then it would have */
	a.stop = &b.timer;
	b.stop = &a.timer;
	start_together(&s, d.loop);
	while (c.timer.armed)
		loop_step(d.loop, true);
	ck_assert_uint_eq(strlen(d.text), 2);
	ck_assert_int_eq(d.text[1], 'c');
	loop_free(d.loop);
}
END_TEST

/* Inside one pass the clock stands still; the next has a new one. */
static void
look_twice(void *arg)
{
	struct loop *l = arg;
	uint64_t now = loop_now(l);

	for (volatile int i = 0; i < 200000; i++)
		;
	ck_assert_uint_eq(loop_now(l), now);
}

START_TEST(clock_is_read_once_a_pass)
{
	struct loop *l = loop_new();
	struct loop_call c;
	uint64_t before = loop_now(l);

	loop_call_init(&c, look_twice, l);
	loop_defer(l, &c);
	loop_step(l, false);
	ck_assert_uint_gt(loop_now(l), before);
	ck_assert_uint_gt(loop_wall_ms(l), 1600000000000);
	loop_free(l);
}
END_TEST

START_TEST(run_until_stopped)
{
	struct diary d = diary_new();
	struct note a, b, c;

	note_init(&a, &d, 'a');
	note_init(&b, &d, 'b');
	note_init(&c, &d, 'c');
	loop_timer_start(&a.timer, 1);
	a.then = &b.call;
	b.then = &c.call;
	b.ends = true;
	ck_assert_int_eq(loop_run(d.loop), 0);
	/* The pass is finished first. */
	ck_assert_str_eq(d.text, "abc");
	/* Stopped before it began. */
	loop_stop(d.loop);
	ck_assert_int_eq(loop_run(d.loop), 0);
	loop_free(d.loop);
}
END_TEST

struct seen {
	struct loop_watch watch;
	int reads, writes;
	bool done;
};

static void
see(void *arg, bool readable, bool writable)
{
	struct seen *s = arg;

	s->reads += readable;
	s->writes += writable;
	if (s->done)
		loop_watch_done(&s->watch);
}

START_TEST(descriptors)
{
	struct loop *l = loop_new();
	struct seen s = { .reads = 0 };
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	uint64_t one = 1;

	ck_assert_int_eq(loop_watch_init(&s.watch, l, fd, see, &s), 0);
	loop_step(l, false);
	ck_assert_int_eq(s.reads + s.writes, 0); /* wants nothing yet */
	loop_watch_want(&s.watch, true, false);
	loop_step(l, false);
	ck_assert_int_eq(s.reads, 0);
	ck_assert_int_eq(write(fd, &one, sizeof(one)), 8);
	loop_step(l, true);
	loop_step(l, true);
	ck_assert_int_eq(s.reads, 2); /* level-triggered */
	loop_watch_want(&s.watch, false, true);
	loop_step(l, true);
	ck_assert_int_eq(s.reads, 2);
	ck_assert_int_eq(s.writes, 1);
	/* Both are ready; the first ends it. */
	s.done = true;
	loop_watch_want(&s.watch, true, true);
	loop_step(l, true);
	loop_step(l, false);
	ck_assert_int_eq(s.reads + s.writes, 4);
	loop_watch_done(&s.watch);
	close(fd);
	loop_free(l);
}
END_TEST

START_TEST(random_numbers)
{
	struct loop *l = loop_new();
	uint64_t a = 0, b = 0;
	unsigned counts[3] = { 0 };

	loop_random(l, &a, sizeof(a));
	loop_random(l, &b, sizeof(b));
	ck_assert_uint_ne(a, b);
	ck_assert_uint_eq(loop_random_below(l, 0), 0);
	ck_assert_uint_eq(loop_random_below(l, 1), 0);
	for (int i = 0; i < 3000; i++) {
		uint64_t n = loop_random_below(l, 3);

		ck_assert_uint_lt(n, 3);
		counts[n]++;
	}
	for (int i = 0; i < 3; i++)
		ck_assert_uint_gt(counts[i], 700);
	ck_assert_uint_lt(loop_random_below(l, UINT64_MAX), UINT64_MAX);
	loop_free(l);
}
END_TEST

struct thing {
	struct loop_attached attached;
	int *freed;
};

static void
free_thing(struct loop_attached *a)
{
	struct thing *t = list_entry(a, struct thing, attached);

	++*t->freed;
	free(t);
}

START_TEST(attached_things)
{
	static const char keys[2];
	struct loop *l = loop_new();
	struct thing *t = calloc(1, sizeof(*t));
	int freed = 0;

	t->freed = &freed;
	ck_assert_ptr_null(loop_attached(l, &keys[0]));
	loop_attach(l, &t->attached, &keys[0], free_thing);
	ck_assert_ptr_eq(loop_attached(l, &keys[0]), &t->attached);
	ck_assert_ptr_null(loop_attached(l, &keys[1]));
	loop_free(l);
	ck_assert_int_eq(freed, 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("loop");
	TCase *t = tcase_create("loop");
	SRunner *sr;
	int failed;

	tcase_add_test(t, deferred_in_order_and_to_the_end);
	tcase_add_test(t, free_runs_the_deferred);
	tcase_add_test(t, timers_in_order_and_not_early);
	tcase_add_test(t, never_early);
	tcase_add_test(t, moving_a_timer);
	tcase_add_test(t, stopped_by_one_that_fires_with_it);
	tcase_add_test(t, clock_is_read_once_a_pass);
	tcase_add_test(t, run_until_stopped);
	tcase_add_test(t, descriptors);
	tcase_add_test(t, random_numbers);
	tcase_add_test(t, attached_things);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
