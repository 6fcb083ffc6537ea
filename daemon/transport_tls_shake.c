/*
 * transport_tls_shake: handshakes. What takes CPU time is transport_shaker's. All
 * the rest is the loop's: the bytes, whose turn it is, who the other side is
 * (tls_judge), and the end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport_shaker.h"
#include "transport_tls_internal.h"

/* -------------------------------------------------------------- on the loop */

static bool
is_lent(const struct stream *s)
{
	return shaker_has(s->job);
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
told(struct shaker_job *j)
{
	struct stream *s = j->owner;
	enum tls_result r = j->result;

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
	struct shaker_job *j = s->job;

	*j = (struct shaker_job){ .owner = s, .tls = s->tls, .in = s->in, .at = s->in_at, .len = s->in_len, .told = told };
	s->tls = NULL;
	s->in = NULL;
	s->goes_on = false;
	s->tcp->ops->want_read(s->tcp, false);
	shaker_lend(s->loop, j);
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
	shaker_forget(s->job);
	s->job = NULL;
}
