/*
 * transport_tls: TLS on top of transport_tcp, which dials, listens, reads and
 * writes for it. Sealing and opening is tls.h's; here is when. The handshake is
 * transport_tls_shake.c's.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport_judge.h"
#include "transport_tls_internal.h"

static struct stream *
of(struct transport *t)
{
	return (struct stream *)(void *)t;
}

static void
release(void *arg)
{
	free(arg);
}

/* ------------------------------------------------------------ what is secure */

void
tls_security_set(struct transport_security *to, const struct transport_security *from)
{
	struct tls_context *before = to->context;

	*to = *from;
	tls_context_ref(to->context);
	tls_context_unref(before);
}

void
tls_security_drop(struct transport_security *s)
{
	tls_context_unref(s->context);
	s->context = NULL;
}

void
tls_rename_scheme(char address[static TRANSPORT_TEXT_MAX])
{
	if (strncmp(address, "tcp", 3) == 0)
		memcpy(address, "tls", 3);
}

static void
tls_identity(struct transport *t, struct transport_identity *ret)
{
	struct stream *s = of(t);

	s->tcp->ops->identity(s->tcp, ret);
	tls_rename_scheme(ret->address);
	if (!s->tls)
		return;
	ret->tls = *tls_peer(s->tls);
	ret->tired = tls_tired(s->tls);
}

bool
tls_stream_check(void *arg, const struct tls_peer *peer, char why[static TLS_TEXT_MAX])
{
	struct stream *s = arg;

	return transport_judge(&(struct transport_judging){ &s->t, &s->security }, peer, why);
}

static bool
tls_again(struct transport *t, const struct transport_security *security, char why[static TRANSPORT_TEXT_MAX])
{
	struct stream *s = of(t);

	return s->tls && tls_recheck(s->tls, security->context, transport_judge, &(struct transport_judging){ t, security }, why);
}

/* -------------------------------------------------------------------- states */

static size_t
buffered(const struct stream *s)
{
	return s->plain_len + s->in_len + s->is_over;
}

/* Would a read say something, without a byte more from TCP? */
static bool
has_news(const struct stream *s)
{
	return s->is_over || s->plain_len > 0 || tls_has_record(s->in + s->in_at, s->in_len);
}

void
tls_stream_offer(struct stream *s)
{
	if (s->state == UP && s->reading && has_news(s))
		loop_timer_start(&s->timer, 0);
}

void
tls_stream_fail(struct stream *s, int error, const char *text)
{
	s->state = DOWN;
	s->error = error;
	snprintf(s->text, sizeof(s->text), "%s", text);
	loop_timer_stop(&s->timer);
	s->tcp->ops->want_read(s->tcp, false);
	tls_security_drop(&s->security);
	loop_defer(s->loop, &s->call);
}

static void
tell(void *arg)
{
	struct stream *s = arg;

	if (s->state == SHAKING) {
		if (s->reading)
			tls_shake_on(s);
		return;
	}
	if (s->state == BROKEN) {
		if (s->reading && has_news(s) && buffered(s) < s->left) {
			s->left = buffered(s);
			loop_defer(s->loop, &s->call);
			s->t.ev->readable(s->t.arg);
			return;
		}
		s->state = DOWN;
	}
	if (s->state == DOWN)
		s->t.ev->down(s->t.arg, s->error, s->text);
}

int
tls_stream_flush(struct stream *s)
{
	struct iovec out;
	ssize_t n;

	for (;;) {
		out.iov_base = (uint8_t *)(uintptr_t)tls_out(s->tls, &out.iov_len);
		if (out.iov_len == 0)
			return 0;
		n = s->tcp->ops->writev(s->tcp, &out, 1);
		if (n < 0)
			return (int)n;
		tls_sent(s->tls, (size_t)n);
		if ((size_t)n < out.iov_len)
			return 0;
	}
}

static bool
has_output(const struct stream *s)
{
	size_t len;

	tls_out(s->tls, &len);
	return len > 0;
}

void
tls_stream_over(struct stream *s)
{
	(void)tls_stream_flush(s);
	tls_stream_fail(s, tls_error(s->tls), tls_why(s->tls));
}

/* --------------------------------------------------------------------- input */

void
tls_stream_eat(struct stream *s, size_t n)
{
	s->in_at += n;
	s->in_len -= n;
}

ssize_t
tls_stream_fill(struct stream *s)
{
	ssize_t n;

	if (s->in_len == 0) {
		s->in_at = 0;
	} else if (s->in_at + s->in_len + TLS_RECORD_MAX > IN_BYTES) {
		memmove(s->in, s->in + s->in_at, s->in_len);
		s->in_at = 0;
	}
	if (s->in_len == IN_BYTES)
		return -EAGAIN;
	n = s->tcp->ops->read(s->tcp, s->in + s->in_at + s->in_len, IN_BYTES - s->in_at - s->in_len);
	if (n > 0)
		s->in_len += (size_t)n;
	return n;
}

/* The next piece of plaintext: 1; 0: none now; -1: the end, which tls knows; a negative errno of TCP is in *ret. */
static int
next_plain(struct stream *s, ssize_t *ret)
{
	size_t used;
	ssize_t n;

	for (;;) {
		enum tls_result r = tls_open(s->tls, s->in + s->in_at, s->in_len, &used, &s->plain, &s->plain_len);

		if (r == TLS_READY) {
			tls_stream_eat(s, used);
			if (s->plain_len > 0)
				return 1;
			continue;
		}
		if (r != TLS_MORE) {
			tls_stream_eat(s, used);
			return -1;
		}
		n = tls_stream_fill(s);
		if (n < 0) {
			*ret = n;
			return 0;
		}
		if (n == 0) {
			tls_input_ended(s->tls);
			return -1;
		}
	}
}

static ssize_t
tls_read(struct transport *t, void *buf, size_t len)
{
	struct stream *s = of(t);
	size_t done = 0;
	ssize_t none = -EAGAIN;

	assert(len > 0);
	if (s->state == DOWN)
		return s->error;
	if (s->state != UP && s->state != BROKEN)
		return -ENOTCONN;
	while (done < len) {
		size_t n = s->plain_len < len - done ? s->plain_len : len - done;

		if (n > 0) {
			memcpy((uint8_t *)buf + done, s->plain, n);
			s->plain += n;
			s->plain_len -= n;
			done += n;
			continue;
		}
		switch (next_plain(s, &none)) {
		case 1:
			continue;
		case 0:
			return done > 0 ? (ssize_t)done : none;
		}
		s->is_over = true;
		if (done > 0) {
			tls_stream_offer(s);
			break;
		}
		if (tls_error(s->tls))
			tls_stream_over(s);
		else
			tls_stream_fail(s, 0, "closed by the other side");
		return s->error;
	}
	return (ssize_t)done;
}

static void
tls_want_read(struct transport *t, bool on)
{
	struct stream *s = of(t);

	s->reading = on;
	if (s->state == DOWN)
		return;
	if (s->state == SHAKING) {
		tls_shake_wanted(s);
		return;
	}
	s->tcp->ops->want_read(s->tcp, on);
	tls_stream_offer(s);
}

/* -------------------------------------------------------------------- output */

static ssize_t
tls_writev(struct transport *t, const struct iovec *iov, int n)
{
	struct stream *s = of(t);
	size_t all = 0, done = 0;

	if (s->state == DOWN || s->state == BROKEN)
		return s->error ? s->error : -EPIPE;
	if (s->state != UP)
		return -ENOTCONN;
	for (int i = 0; i < n; i++)
		all += iov[i].iov_len;
	/* What the kernel did not take yet is enough for now. */
	while (done < all && !has_output(s)) {
		ssize_t r = tls_seal(s->tls, iov, n, done);

		if (r < 0) {
			tls_stream_over(s);
			return s->error;
		}
		done += (size_t)r;
		r = tls_stream_flush(s);
		if (r < 0)
			return r;
	}
	if (done < all)
		s->short_write = true;
	return (ssize_t)done;
}

static size_t
tls_out_pending(struct transport *t)
{
	struct stream *s = of(t);
	size_t sealed = 0;

	if (s->state != UP)
		return 0;
	tls_out(s->tls, &sealed);
	return sealed + s->tcp->ops->out_pending(s->tcp);
}

/* -------------------------------------------------------------- from the loop */

static void
on_up(void *arg)
{
	struct stream *s = arg;
	uint64_t now = loop_now_ms(s->loop);

	s->state = SHAKING;
	loop_timer_start(&s->timer, s->deadline_ms > now ? s->deadline_ms - now : 0);
	tls_shake_begin(s);
}

static void
on_readable(void *arg)
{
	struct stream *s = arg;

	if (s->state == SHAKING) {
		tls_shake(s);
	} else if (s->state == UP && s->reading) {
		s->t.ev->readable(s->t.arg);
		tls_stream_offer(s);
	}
}

static void
on_writable(void *arg)
{
	struct stream *s = arg;

	if (!s->tls || tls_stream_flush(s) < 0 || has_output(s))
		return;
	if (s->state == UP && s->short_write) {
		s->short_write = false;
		s->t.ev->writable(s->t.arg);
	}
}

static void
on_down(void *arg, int error, const char *text)
{
	struct stream *s = arg;
	char why[TRANSPORT_TEXT_MAX];

	switch (s->state) {
	case CONNECTING:
		tls_stream_fail(s, error, text);
		return;
	case SHAKING:
		snprintf(why, sizeof(why), "%.120s during the TLS handshake", text);
		tls_shake_cut(s, error, why);
		return;
	case UP:
		/* The end of the input is noticed by reading. */
		if (error == 0) {
			tls_stream_offer(s);
			return;
		}
		tls_stream_fail(s, error, text);
		s->state = BROKEN;
		s->left = SIZE_MAX;
		return;
	default:
		return;
	}
}

static const struct transport_events tcp_events = { .up = on_up, .readable = on_readable, .writable = on_writable, .down = on_down };

static void
on_timer(void *arg)
{
	struct stream *s = arg;

	if (s->state == SHAKING) {
		tls_stream_fail(s, -ETIMEDOUT, "TLS handshake timed out");
	} else if (s->state == UP && s->reading && has_news(s)) {
		s->t.ev->readable(s->t.arg);
		tls_stream_offer(s);
	}
}

/* -------------------------------------------------------------- come and go */

static struct stream *
stream_new(struct loop *l, const struct transport_security *security, bool dialled)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->t.ops = &transport_tls;
	s->loop = l;
	tls_security_set(&s->security, security);
	s->dialled = dialled;
	s->reading = true;
	loop_timer_init(&s->timer, l, on_timer, s);
	loop_call_init(&s->call, tell, s);
	return s;
}

static int
tls_connect(struct loop *l, const struct names_url *url, const struct transport_security *security, uint64_t timeout_ms,
    const struct transport_events *ev, void *arg, struct transport **ret)
{
	uint64_t now = loop_now_ms(l);
	struct stream *s;
	int r;

	if (!security || !security->context)
		return -EINVAL;
	s = stream_new(l, security, true);
	if (!s)
		return -ENOMEM;
	transport_set_events(&s->t, ev, arg);
	s->deadline_ms = timeout_ms > UINT64_MAX - now ? UINT64_MAX : now + timeout_ms;
	r = transport_tcp.connect(l, url, NULL, timeout_ms, &tcp_events, s, &s->tcp);
	if (r < 0) {
		tls_security_drop(&s->security);
		free(s);
		return r;
	}
	*ret = &s->t;
	return 0;
}

struct transport *
tls_stream_accept(struct loop *l, const struct transport_security *security, struct transport *tcp)
{
	struct stream *s = stream_new(l, security, false);

	if (!s)
		return NULL;
	s->tcp = tcp;
	transport_set_events(tcp, &tcp_events, s);
	s->state = SHAKING;
	s->t.awaits_up = true;
	loop_timer_start(&s->timer, security->handshake_ms);
	return &s->t;
}

static void
tls_stream_close(struct transport *t, bool drain)
{
	struct stream *s = of(t);
	/* An alert of ours is always let through: it says why. */
	bool says_why = s->state == DOWN && s->tls && tls_error(s->tls) != 0;

	assert(s->state != CLOSED);
	s->tcp->is_stranger = t->is_stranger;
	if (says_why || (drain && (s->state == UP || (s->state == DOWN && s->error == 0 && s->tls)))) {
		size_t len;
		uint8_t *tail;

		tls_close(s->tls);
		tail = tls_take_out(s->tls, &len);
		socket_close_tail(s->tcp, tail, len);
	} else {
		s->tcp->ops->close(s->tcp, false);
	}
	s->state = CLOSED;
	loop_timer_stop(&s->timer);
	loop_call_cancel(&s->call);
	tls_security_drop(&s->security);
	tls_shake_end(s);
	tls_free(s->tls);
	free(s->in);
	loop_call_init(&s->call, release, s);
	loop_defer(s->loop, &s->call);
}

const struct transport_ops transport_tls = {
	.connect = tls_connect,
	.listen = tls_listen,
	.read = tls_read,
	.writev = tls_writev,
	.want_read = tls_want_read,
	.out_pending = tls_out_pending,
	.identity = tls_identity,
	.recheck = tls_again,
	.close = tls_stream_close,
	.listen_pause = tls_listen_pause,
	.listen_security = tls_listen_security,
	.listen_url = tls_listen_url,
	.listen_close = tls_listen_close,
};
