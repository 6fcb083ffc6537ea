/* Bytes: all of them, in order, and no faster than they are read. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

/* Reads a few times, then wants no more until a timer says so. */
struct slow {
	struct end *e;
	struct loop_timer timer;
	int reads;
};

static void
go_on(void *arg)
{
	struct slow *s = arg;

	s->e->t->ops->want_read(s->e->t, true);
}

static bool
read_slowly(struct end *e, char what)
{
	struct slow *s = e->hook_arg;

	if (what == 'r' && ++s->reads % 64 == 0) {
		e->t->ops->want_read(e->t, false);
		loop_timer_start(&s->timer, 1);
	}
	return false;
}

START_TEST(big_both_ways)
{
	const uint64_t bytes = _i == KIND_MEM ? 2 << 20 : 16 << 20;
	struct world *w = world_new(_i);
	struct end *e[2];
	struct slow slow[2];

	world_pair(w, &e[0], &e[1]);
	for (int i = 0; i < 2; i++) {
		slow[i].e = e[i];
		slow[i].reads = i * 32;
		loop_timer_init(&slow[i].timer, w->loop, go_on, &slow[i]);
		e[i]->hook = read_slowly;
		e[i]->hook_arg = &slow[i];
		e[i]->to_write = bytes;
		end_pump(e[i]);
	}
	UNTIL(w, e[0]->in == bytes && e[1]->in == bytes);
	for (int i = 0; i < 2; i++) {
		/* It did meet back-pressure, or this proves little. */
		ck_assert_uint_gt(e[i]->short_writes, 0);
		ck_assert_int_gt(e[i]->writables, 0);
		ck_assert_int_eq(e[i]->downs, 0);
		loop_timer_stop(&slow[i].timer);
	}
	world_free(w);
}
END_TEST

START_TEST(reading_off_and_on)
{
	struct world *w = world_new(_i);
	struct end *d, *a;

	world_pair(w, &d, &a);
	a->t->ops->want_read(a->t, false);
	d->to_write = 5000;
	end_pump(d);
	world_settle(w);
	ck_assert_int_eq(a->readables, 0);
	/* Nothing new arrives: what is there is told again. */
	a->t->ops->want_read(a->t, true);
	ck_assert_int_eq(a->readables, 0);
	UNTIL(w, a->in == 5000);
	/* Offered until it is taken. */
	a->hold = true;
	d->to_write = 6000;
	end_pump(d);
	UNTIL(w, a->readables >= 2);
	a->hold = false;
	a->t->ops->want_read(a->t, true);
	UNTIL(w, a->in == 6000);
	world_free(w);
}
END_TEST

START_TEST(nothing_to_read_or_write)
{
	struct world *w = world_new(_i);
	struct end *d, *a;
	struct iovec none = { NULL, 0 };
	char c;

	world_pair(w, &d, &a);
	ck_assert_int_eq(d->t->ops->read(d->t, &c, 1), -EAGAIN);
	ck_assert_int_eq(d->t->ops->writev(d->t, &none, 1), 0);
	ck_assert_int_eq(d->t->ops->writev(d->t, NULL, 0), 0);
	world_settle(w);
	ck_assert_int_eq(d->writables + d->readables + d->downs, 0);
	world_free(w);
}
END_TEST

/* Fill it; what was taken is a prefix, and nothing more is said until there is room. */
START_TEST(prefixes)
{
	struct world *w = world_new(_i);
	struct end *d, *a;
	uint64_t taken;

	world_pair(w, &d, &a);
	a->hold = true;
	d->to_write = 64 << 20;
	end_pump(d);
	ck_assert_uint_gt(d->out, 0);
	ck_assert_uint_lt(d->out, d->to_write);
	UNTIL(w, a->readables);
	/* A kernel may move some from the sender's buffer into the receiver's. */
	do {
		taken = d->out;
		world_settle(w);
	} while (d->out != taken);
	d->writables = 0;
	world_settle(w);
	ck_assert_int_eq(d->writables, 0);
	d->to_write = d->out;
	a->hold = false;
	a->t->ops->want_read(a->t, true);
	UNTIL(w, a->in == d->out);
	world_settle(w);
	ck_assert_int_gt(d->writables, 0);
	/* The last acknowledgement may take its time. */
	world_tick(w);
	UNTIL(w, d->t->ops->out_pending(d->t) == 0);
	world_free(w);
}
END_TEST

/* More pieces than one system call takes. */
START_TEST(many_pieces)
{
	enum { N = 3000 };
	struct world *w = world_new(_i);
	struct end *d, *a;
	struct iovec iov[N];
	char bytes[N], got[N];
	size_t done = 0, have = 0;

	world_pair(w, &d, &a);
	a->hold = true;
	for (size_t i = 0; i < N; i++) {
		bytes[i] = (char)(i * 7);
		iov[i] = (struct iovec){ bytes + i, 1 };
	}
	while (done < N) {
		ssize_t n = d->t->ops->writev(d->t, iov + done, (int)(N - done));

		ck_assert_int_ge(n, 0);
		done += (size_t)n;
		loop_step(w->loop, false);
	}
	while (have < N) {
		ssize_t n = a->t->ops->read(a->t, got + have, N - have);

		ck_assert(n > 0 || n == -EAGAIN);
		if (n > 0)
			have += (size_t)n;
		else
			loop_step(w->loop, false);
	}
	ck_assert_mem_eq(got, bytes, N);
	world_free(w);
}
END_TEST

START_TEST(out_pending_falls)
{
	struct world *w = world_new(_i);
	struct end *d, *a;

	world_pair(w, &d, &a);
	a->hold = true;
	d->to_write = 64 << 20;
	end_pump(d);
	UNTIL(w, a->readables);
	/* Both kernels are this one for a Unix socket. */
	if (_i == KIND_UNIX)
		ck_assert_uint_eq(d->t->ops->out_pending(d->t), 0);
	else
		ck_assert_uint_gt(d->t->ops->out_pending(d->t), 0);
	d->to_write = 0;
	a->hold = false;
	a->t->ops->want_read(a->t, true);
	UNTIL(w, a->in == d->out);
	world_tick(w);
	UNTIL(w, d->t->ops->out_pending(d->t) == 0);
	world_free(w);
}
END_TEST

TCase *
bytes_tests(void)
{
	TCase *t = tcase_create("bytes");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, big_both_ways, 0, KINDS);
	tcase_add_loop_test(t, reading_off_and_on, 0, KINDS);
	tcase_add_loop_test(t, nothing_to_read_or_write, 0, KINDS);
	tcase_add_loop_test(t, prefixes, 0, KINDS);
	tcase_add_loop_test(t, many_pieces, 0, KINDS);
	tcase_add_loop_test(t, out_pending_falls, 0, KINDS);
	return t;
}
