/* The end: in order, or cut; told once. */
#include <errno.h>
#include <string.h>

#include "socket.h"
#include "suite.h"

START_TEST(orderly_end)
{
	struct world *w = world_new(_i);
	struct end *d, *a;

	world_pair(w, &d, &a);
	d->to_write = 3000;
	end_pump(d);
	end_close(d, true);
	UNTIL(w, a->downs);
	ck_assert_uint_eq(a->in, 3000);
	ck_assert(a->eof);
	ck_assert_int_eq(a->error, 0);
	ck_assert_str_eq(a->text, "closed by the other side");
	world_settle(w);
	ck_assert_int_eq(a->downs, 1);
	ck_assert_int_eq(d->downs, 0);
	world_free(w);
}
END_TEST

START_TEST(cut)
{
	struct world *w = world_new(_i);
	struct end *d, *a;
	char c = 'x';
	struct iovec iov = { &c, 1 };
	ssize_t r;

	world_pair(w, &d, &a);
	end_close(d, false);
	UNTIL(w, a->downs);
	/* A Unix socket has no reset. */
	ck_assert_int_eq(a->error, _i == KIND_UNIX ? 0 : -ECONNRESET);
	if (_i != KIND_UNIX)
		ck_assert_str_eq(a->text, "connection reset by peer");
	/* Whatever its owner still tries, it stays down and is not told again. */
	r = a->t->ops->read(a->t, &c, 1);
	ck_assert_int_eq(r, a->error);
	r = a->t->ops->writev(a->t, &iov, 1);
	ck_assert_int_lt(r, 0);
	a->t->ops->want_read(a->t, false);
	a->t->ops->want_read(a->t, true);
	ck_assert_uint_eq(a->t->ops->out_pending(a->t), 0);
	world_settle(w);
	ck_assert_int_eq(a->downs, 1);
	world_free(w);
}
END_TEST

/* Both ends give up at once, each with input unread. */
START_TEST(both_cut)
{
	struct world *w = world_new(_i);
	struct end *d, *a;

	world_pair(w, &d, &a);
	d->to_write = a->to_write = 1000;
	end_pump(d);
	end_pump(a);
	end_close(d, false);
	end_close(a, false);
	world_settle(w);
	ck_assert_int_eq(d->downs + a->downs, 0);
	world_free(w);
}
END_TEST

/*
 * Everything taken is delivered, although the closing end has unread input,
 * more still comes (a plain close would then cut the stream) and the other
 * reads late.
 */
START_TEST(drain_delivers)
{
	struct world *w = world_new(_i);
	struct end *d, *a;

	world_pair(w, &d, &a);
	a->hold = true;
	d->hold = true;
	a->to_write = 5000;
	end_pump(a);
	UNTIL(w, d->readables);
	d->to_write = 64 << 20;
	end_pump(d);
	ck_assert_uint_gt(d->short_writes, 0);
	end_close(d, true);
	world_settle(w);
	a->to_write += 5000;
	end_pump(a);
	ck_assert_uint_eq(a->out, 10000);
	world_settle(w);
	ck_assert_int_eq(a->downs, 0);
	a->hold = false;
	a->t->ops->want_read(a->t, true);
	UNTIL(w, a->downs);
	ck_assert_uint_eq(a->in, d->out);
	ck_assert_int_eq(a->error, 0);
	world_free(w);
}
END_TEST

/* The other side ended in order; what was written before is on its way all the same. */
START_TEST(drain_after_the_other_end)
{
	struct world *w = world_new(_i);
	struct end *d, *a;

	world_pair(w, &d, &a);
	a->hold = true;
	d->to_write = 5000;
	end_pump(d);
	UNTIL(w, a->readables);
	end_close(a, true);
	UNTIL(w, d->downs);
	ck_assert_int_eq(d->error, 0);
	end_close(d, true);
	world_settle(w);
	ck_assert_int_eq(d->downs, 1);
	world_free(w);
}
END_TEST

/* The loop goes while streams drain to an end that never reads. */
START_TEST(loop_ends_while_draining)
{
	struct world *w = world_new(_i);
	struct end *d, *a;

	world_pair(w, &d, &a);
	a->hold = true;
	d->to_write = 64 << 20;
	end_pump(d);
	end_close(d, true);
	UNTIL(w, a->readables);
	world_free(w);
}
END_TEST

/*
 * a says something and cuts the stream; d has all of it, and has not looked.
 * Without a kernel that takes them, the bytes must have arrived before the cut.
 */
static void
say_and_cut(struct world *w, struct end *d, struct end *a)
{
	bool is_sctp = kind_is_sctp((int)(w->kind - kinds));

	d->t->ops->want_read(d->t, false);
	a->to_write = 9000; /* two call-backs' worth */
	end_pump(a);
	world_tick(w);
	UNTIL(w, !is_sctp || a->t->ops->out_pending(a->t) == 0);
	end_close(a, false);
	for (int i = 0; is_sctp && i < 20; i++)
		loop_step(w->loop, false);
}

/* Writing fails, but the reason that the other side gave before is still read. */
START_TEST(last_words)
{
	struct world *w = world_new(_i);
	struct end *d, *a;
	char c = 'x';
	struct iovec iov = { &c, 1 };
	ssize_t r;

	world_pair(w, &d, &a);
	say_and_cut(w, d, a);
	d->t->ops->want_read(d->t, true);
	r = d->t->ops->writev(d->t, &iov, 1);
	ck_assert_int_lt(r, 0);
	ck_assert_int_eq(d->readables + d->downs, 0);
	UNTIL(w, d->downs);
	ck_assert_uint_eq(d->in, 9000);
	world_settle(w);
	ck_assert_int_eq(d->downs, 1);
	world_free(w);
}
END_TEST

/* An owner that does not take them, or does not want them, is told of the end all the same. */
static bool
ignore(struct end *e, char what)
{
	(void)e;
	return what == 'r';
}

START_TEST(last_words_ignored)
{
	for (int i = 0; i < 2; i++) {
		struct world *w = world_new(_i);
		struct end *d, *a;
		char c = 'x';
		struct iovec iov = { &c, 1 };

		world_pair(w, &d, &a);
		say_and_cut(w, d, a);
		d->hook = ignore;
		d->t->ops->want_read(d->t, i == 0);
		ck_assert_int_lt(d->t->ops->writev(d->t, &iov, 1), 0);
		UNTIL(w, d->downs);
		ck_assert_int_lt(d->error, 0);
		ck_assert_int_eq(d->readables, i == 0);
		world_free(w);
	}
}
END_TEST

/* Streams that drain are bounded: the oldest is cut, the newest still delivers. */
START_TEST(draining_is_bounded)
{
	enum { N = DRAIN_MAX + 4 };
	struct world *w = world_new(KIND_TCP4);

	for (int i = 0; i < N; i++) {
		struct end *d, *a;

		world_pair(w, &d, &a);
		a->hold = true;
		d->to_write = 100;
		end_pump(d);
		end_close(d, true);
	}
	world_settle(w);
	for (int i = 0; i < N; i++) {
		struct end *a = &w->accepted[i];
		char c = 'x';
		struct iovec iov = { &c, 1 };

		a->hold = false;
		a->t->ops->want_read(a->t, true);
		/* One that drains still takes input, and throws it away. */
		ck_assert_int_eq(a->t->ops->writev(a->t, &iov, 1) < 0, i < N - DRAIN_MAX);
	}
	/* The rest ends when the other side does. */
	for (int i = 0; i < N; i++) {
		struct end *a = &w->accepted[i];

		UNTIL(w, a->downs);
		ck_assert_uint_eq(a->in, 100);
		ck_assert_int_eq(a->error < 0, i < N - DRAIN_MAX);
	}
	world_free(w);
}
END_TEST

TCase *
close_tests(void)
{
	TCase *t = tcase_create("close");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, orderly_end, 0, KINDS);
	tcase_add_loop_test(t, cut, 0, KINDS);
	tcase_add_loop_test(t, both_cut, 0, KINDS);
	tcase_add_loop_test(t, drain_delivers, 0, KINDS);
	tcase_add_loop_test(t, drain_after_the_other_end, 0, KINDS);
	tcase_add_loop_test(t, loop_ends_while_draining, 0, KINDS);
	tcase_add_loop_test(t, last_words, 0, KERNEL_KINDS);
	tcase_add_loop_test(t, last_words_ignored, 0, KERNEL_KINDS);
	tcase_add_test(t, draining_is_bounded);
	return t;
}
