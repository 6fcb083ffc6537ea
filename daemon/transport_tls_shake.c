/*
 * transport_tls_shake: handshakes. What takes CPU time, milliseconds of it, is
 * done by a worker, one for each loop: it gets the TLS object and the input, and
 * nobody else touches them until it gives them back. All the rest is the loop's:
 * the bytes, whose turn it is, who the other side is (tls_judge), and the end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "task.h"
#include "transport_tls_internal.h"

#define PIECE_NS 2000000 /* CPU time of one turn of a handshake, and the last step */

/* Per loop. */
struct shaker {
	struct loop_attached attached;
	struct task_runner *runner;
	struct list lent; /* struct shake_job */
};

struct shake_job {
	struct list lent;
	struct stream *s; /* NULL: it was closed meanwhile */
	/* The worker's, while it has them; else NULL. */
	struct tls *tls;
	uint8_t *in;
	/* For the worker, and from it. */
	size_t at, len, used;
	enum tls_result result;
	uint64_t ns;
};

static const char shaker_key;

/* ------------------------------------------------------------------- shaker */

static void
job_free(struct shake_job *j)
{
	tls_free(j->tls);
	free(j->in);
	free(j);
}

static void
shaker_free(struct loop_attached *a)
{
	struct shaker *sh = list_entry(a, struct shaker, attached);

	task_runner_free(sh->runner);
	/* Nobody is told of these any more. */
	LIST_FOREACH_SAFE (n, &sh->lent)
		job_free(list_entry(n, struct shake_job, lent));
	free(sh);
}

/* NULL: there is none, and the loop has to do it. */
static struct shaker *
shaker_of(struct loop *l)
{
	struct loop_attached *a = loop_attached(l, &shaker_key);
	struct shaker *sh;

	if (a)
		return list_entry(a, struct shaker, attached);
	sh = tls_may_leave_the_loop() ? calloc(1, sizeof(*sh)) : NULL;
	if (!sh)
		return NULL;
	sh->runner = task_runner_new(l);
	if (!sh->runner) {
		free(sh);
		return NULL;
	}
	task_runner_give_way(sh->runner);
	list_init(&sh->lent);
	loop_attach(l, &sh->attached, &shaker_key, shaker_free);
	return sh;
}

/* ------------------------------------------------------------- in the worker */

static void
work(void *arg)
{
	struct shake_job *j = arg;
	uint64_t before = task_cpu();
	size_t used;

	j->used = 0;
	do {
		j->result = tls_step(j->tls, j->in + j->at + j->used, j->len - j->used, &used);
		j->used += used;
		j->ns = task_cpu() - before;
	} while (j->result == TLS_AGAIN && j->ns < PIECE_NS);
}

/* -------------------------------------------------------------- on the loop */

static bool
is_lent(const struct stream *s)
{
	return s->job && s->job->tls;
}

static void
tell_cost(struct stream *s, uint64_t ns)
{
	if (!s->dialled && s->t.ev->shaken)
		s->t.ev->shaken(s->t.arg, ns);
}

static void
rise(struct stream *s)
{
	s->state = UP;
	s->t.awaits_up = false;
	loop_timer_stop(&s->timer);
	tls_security_drop(&s->security);
	free(s->job);
	s->job = NULL;
	s->tcp->ops->want_read(s->tcp, s->reading);
	/* What came behind the handshake is here already, and TCP will not speak of it again. */
	tls_stream_offer(s);
	s->t.ev->up(s->t.arg);
}

static void
fail_cut(struct stream *s)
{
	char why[TRANSPORT_TEXT_MAX];

	memcpy(why, s->text, sizeof(why));
	tls_stream_fail(s, s->error, why);
}

/* What we have to say goes out. If nobody hears it, what was said before may tell why. */
static void
say(struct stream *s)
{
	if (tls_stream_flush(s) < 0)
		while (tls_stream_fill(s) > 0)
			;
}

/* A turn is over; the next one begins in the loop's own time. */
static void
turn_over(struct stream *s, enum tls_result r)
{
	say(s);
	s->goes_on = r == TLS_AGAIN || s->in_len > 0;
	if (s->goes_on)
		loop_defer(s->loop, &s->call);
	else if (s->is_cut)
		fail_cut(s);
	else
		s->tcp->ops->want_read(s->tcp, s->reading);
}

static void
told(void *arg)
{
	struct shake_job *j = arg;
	struct stream *s = j->s;
	enum tls_result r = j->result;

	list_remove(&j->lent);
	if (!s) {
		job_free(j);
		return;
	}
	s->tls = j->tls;
	s->in = j->in;
	j->tls = NULL;
	j->in = NULL;
	tls_stream_eat(s, j->used);
	/* It came too late: `down` has been told, or will be. */
	if (s->state != SHAKING)
		return;
	if (r == TLS_JUDGE)
		r = tls_judge(s->tls);
	switch (r) {
	case TLS_READY:
		(void)tls_stream_flush(s);
		tell_cost(s, j->ns);
		if (s->is_cut)
			fail_cut(s);
		else
			rise(s);
		return;
	case TLS_AGAIN:
	case TLS_MORE:
		turn_over(s, r);
		break;
	default:
		tls_stream_over(s);
	}
	tell_cost(s, j->ns);
}

static bool
prepare(struct stream *s)
{
	if (s->job)
		return true;
	s->job = calloc(1, sizeof(*s->job));
	s->in = s->job ? malloc(IN_BYTES) : NULL;
	s->tls = s->in ? tls_new(s->security.context, s->dialled, tls_stream_check, s) : NULL;
	if (s->tls)
		return true;
	tls_stream_fail(s, -ENOMEM, "out of memory");
	return false;
}

static void
lend(struct stream *s)
{
	struct shaker *sh = shaker_of(s->loop);
	struct shake_job *j = s->job;

	*j = (struct shake_job){ .s = s, .tls = s->tls, .in = s->in, .at = s->in_at, .len = s->in_len };
	list_init(&j->lent);
	s->tls = NULL;
	s->in = NULL;
	s->goes_on = false;
	s->tcp->ops->want_read(s->tcp, false);
	if (sh && task_run(sh->runner, work, told, j) == 0) {
		list_append(&sh->lent, &j->lent);
		return;
	}
	/* No thread, no memory, too much to do: better late than not at all. */
	work(j);
	told(j);
}

void
tls_shake(struct stream *s)
{
	ssize_t n;

	if (is_lent(s))
		return;
	if (!s->dialled && s->t.ev->may_shake && !s->t.ev->may_shake(s->t.arg)) {
		if (s->is_cut)
			fail_cut(s);
		else
			s->tcp->ops->want_read(s->tcp, false);
		return;
	}
	if (!prepare(s)) {
		tell_cost(s, 0);
		return;
	}
	n = s->goes_on ? 1 : tls_stream_fill(s);
	if (n > 0) {
		lend(s);
		return;
	}
	if (n == 0) {
		tls_input_ended(s->tls);
		tls_stream_over(s);
	}
	tell_cost(s, 0);
}

void
tls_shake_begin(struct stream *s)
{
	s->goes_on = true;
	tls_shake(s);
}

void
tls_shake_on(struct stream *s)
{
	if (s->goes_on)
		tls_shake(s);
}

void
tls_shake_wanted(struct stream *s)
{
	if (is_lent(s))
		return;
	if (!s->goes_on)
		s->tcp->ops->want_read(s->tcp, s->reading);
	else if (s->reading)
		loop_defer(s->loop, &s->call);
}

void
tls_shake_cut(struct stream *s, int error, const char *text)
{
	if (!is_lent(s) && !(s->reading && s->goes_on && s->in_len > 0)) {
		tls_stream_fail(s, error, text);
		return;
	}
	s->is_cut = true;
	s->error = error;
	snprintf(s->text, sizeof(s->text), "%s", text);
}

void
tls_shake_end(struct stream *s)
{
	if (is_lent(s))
		s->job->s = NULL;
	else
		free(s->job);
	s->job = NULL;
}
