#include "pipe_transport.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pipe_dial pipe_dial;

static struct pipe_end *
end_of(struct transport *t)
{
	return (struct pipe_end *)(void *)t;
}

static void
kick(struct pipe_end *e)
{
	if (!e->is_closed && e->t.ev)
		loop_timer_start(&e->kick, 0);
}

static void
on_kick(void *arg)
{
	struct pipe_end *e = arg;

	if (e->is_closed || !e->t.ev)
		return;
	if (e->up_waits) {
		e->up_waits = false;
		kick(e);
		e->t.ev->up(e->t.arg);
		return;
	}
	if (e->want_read && (e->in_len > 0 || e->is_eof)) {
		kick(e);
		e->t.ev->readable(e->t.arg);
	}
	if (!e->is_closed && e->is_full && e->takes > 0) {
		e->is_full = false;
		kick(e);
		e->t.ev->writable(e->t.arg);
	}
	if (!e->is_closed && e->down) {
		int error = e->down;

		e->down = 0;
		e->t.ev->down(e->t.arg, error, "connection reset by peer");
	}
}

static void
append(struct pipe_end *e, const void *data, size_t len)
{
	if (e->in_len + len > e->in_cap) {
		e->in_cap = 2 * (e->in_len + len);
		e->in = realloc(e->in, e->in_cap);
		if (!e->in)
			abort();
	}
	if (len > 0)
		memcpy(e->in + e->in_len, data, len);
	e->in_len += len;
	kick(e);
}

static int
op_connect(struct loop *l, const struct names_url *url, const struct transport_security *security, uint64_t timeout_ms,
    const struct transport_events *ev, void *arg, struct transport **ret)
{
	(void)l, (void)url, (void)security, (void)timeout_ms;
	if (pipe_dial.error)
		return pipe_dial.error;
	transport_set_events(&pipe_dial.end->t, ev, arg);
	kick(pipe_dial.end);
	*ret = &pipe_dial.end->t;
	return 0;
}

static ssize_t
op_read(struct transport *t, void *buf, size_t len)
{
	struct pipe_end *e = end_of(t);

	if (e->in_len == 0)
		return e->is_eof ? 0 : -EAGAIN;
	if (len > e->in_len)
		len = e->in_len;
	memcpy(buf, e->in, len);
	memmove(e->in, e->in + len, e->in_len - len);
	e->in_len -= len;
	return (ssize_t)len;
}

static ssize_t
op_writev(struct transport *t, const struct iovec *iov, int n)
{
	struct pipe_end *e = end_of(t);
	ssize_t total = 0;

	e->writes++;
	e->direct = 0;
	if (e->other->is_closed) {
		pipe_break(e, -EPIPE);
		return -EPIPE;
	}
	for (int i = 0; i < n; i++) {
		const uint8_t *data = iov[i].iov_base;
		size_t len = iov[i].iov_len;

		if (e->watch && data >= e->watch && data < e->watch + e->watch_len)
			e->direct++;
		if (len > e->takes)
			len = e->takes;
		append(e->other, data, len);
		total += (ssize_t)len;
		if (e->takes != SIZE_MAX)
			e->takes -= len;
		if (len < iov[i].iov_len) {
			e->is_full = true;
			break;
		}
	}
	return total;
}

static void
op_want_read(struct transport *t, bool on)
{
	end_of(t)->want_read = on;
	kick(end_of(t));
}

static size_t
op_out_pending(struct transport *t)
{
	return end_of(t)->other->in_len;
}

static void
op_identity(struct transport *t, struct transport_identity *ret)
{
	*ret = (struct transport_identity){ .is_local = end_of(t)->is_local, .uid = 1000 };
	snprintf(ret->address, sizeof(ret->address), "pipe");
}

static void
op_close(struct transport *t, bool drain)
{
	struct pipe_end *e = end_of(t);

	e->is_closed = true;
	e->closes++;
	e->drained = drain;
	loop_timer_stop(&e->kick);
	e->other->is_eof = true;
	kick(e->other);
}

const struct transport_ops pipe_ops = {
	.connect = op_connect,
	.read = op_read,
	.writev = op_writev,
	.want_read = op_want_read,
	.out_pending = op_out_pending,
	.identity = op_identity,
	.close = op_close,
};

void
pipe_init(struct loop *l, struct pipe_end *a, struct pipe_end *b, bool up)
{
	struct pipe_end *ends[] = { a, b };

	for (size_t i = 0; i < 2; i++) {
		*ends[i] = (struct pipe_end){
			.t.ops = &pipe_ops, .loop = l, .other = ends[1 - i], .takes = SIZE_MAX, .want_read = true
		};
		loop_timer_init(&ends[i]->kick, l, on_kick, ends[i]);
	}
	a->up_waits = up;
	if (up)
		loop_timer_start(&a->kick, 0);
}

void
pipe_done(struct pipe_end *a, struct pipe_end *b)
{
	loop_timer_stop(&a->kick);
	loop_timer_stop(&b->kick);
	free(a->in);
	free(b->in);
}

void
pipe_feed(struct pipe_end *e, const void *data, size_t len)
{
	append(e, data, len);
}

void
pipe_eof(struct pipe_end *e)
{
	e->is_eof = true;
	kick(e);
}

void
pipe_break(struct pipe_end *e, int error)
{
	e->down = error;
	kick(e);
}

void
pipe_take(struct pipe_end *e, size_t n)
{
	e->takes = n;
	kick(e);
}
