/* socket: see socket.h. */
#include "socket.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DISCARD_BYTES 16384
#define DISCARD_ROUNDS 16 /* reads before others get their turn */

static struct socket *
of(struct transport *t)
{
	return (struct socket *)(void *)t;
}

const char *
socket_error_text(int error, char buf[static TRANSPORT_TEXT_MAX])
{
	char words[TRANSPORT_TEXT_MAX];

	snprintf(buf, TRANSPORT_TEXT_MAX, "%s", strerror_r(-error, words, sizeof(words)));
	/* A fragment of somebody's sentence; but "RPC" stays. */
	if (isupper((unsigned char)buf[0]) && islower((unsigned char)buf[1]))
		buf[0] = (char)tolower((unsigned char)buf[0]);
	return buf;
}

static void
release(void *arg)
{
	free(arg);
}

static void
update_watch(struct socket *s)
{
	loop_watch_want(&s->watch, s->reading, s->short_write);
}

/* ------------------------------------------------------- state, call-backs */

/* Input is left that the owner wants, and takes: the last call-back brought it forward. */
static bool
has_last_words(struct socket *s)
{
	int n = 0;

	if (!s->reading || ioctl(s->fd, FIONREAD, &n) < 0 || n <= 0 || n >= s->left)
		return false;
	s->left = n;
	return true;
}

/* Deferred: everything that is not a plain readiness event is told here. */
static void
tell(void *arg)
{
	struct socket *s = arg;

	if (s->state == SOCKET_RISING) {
		s->state = SOCKET_UP;
		update_watch(s);
		s->t.ev->up(s->t.arg);
		return;
	}
	if (s->state == SOCKET_BROKEN) {
		if (has_last_words(s)) {
			loop_defer(s->loop, &s->call);
			s->t.ev->readable(s->t.arg);
			return;
		}
		s->state = SOCKET_DOWN;
	}
	/* Once: nothing that is down fails again. */
	if (s->state == SOCKET_DOWN)
		s->t.ev->down(s->t.arg, s->error, s->text);
}

static void
settle(struct socket *s)
{
	if (s->state != SOCKET_CONNECTING)
		return;
	loop_timer_stop(&s->timer);
	s->kind->settled(s);
}

void
socket_up(struct socket *s)
{
	settle(s);
	s->state = SOCKET_RISING;
	loop_watch_want(&s->watch, false, false);
	loop_defer(s->loop, &s->call);
}

static void
fail_as(struct socket *s, enum socket_state state, int error, const char *text)
{
	settle(s);
	s->state = state;
	s->error = error;
	if (text)
		snprintf(s->text, sizeof(s->text), "%s", text);
	else
		socket_error_text(error, s->text);
	if (s->fd >= 0)
		loop_watch_want(&s->watch, false, false);
	loop_defer(s->loop, &s->call);
}

void
socket_fail(struct socket *s, int error, const char *text)
{
	fail_as(s, SOCKET_DOWN, error, text);
}

static void cut(struct socket *s);
static void send_tail(struct socket *s);
static void discard(struct socket *s);

static void
ready(void *arg, bool readable, bool writable)
{
	struct socket *s = arg;

	if (s->state == SOCKET_CONNECTING) {
		s->kind->writable(s);
		return;
	}
	if (s->state == SOCKET_DRAINING) {
		if (s->tail && writable)
			send_tail(s);
		if (s->state == SOCKET_DRAINING && readable)
			discard(s);
		return;
	}
	/* The first call-back may end the stream; its memory outlasts this. */
	if (readable && s->state == SOCKET_UP && s->reading)
		s->t.ev->readable(s->t.arg);
	if (writable && s->state == SOCKET_UP && s->short_write) {
		s->short_write = false;
		update_watch(s);
		s->t.ev->writable(s->t.arg);
	}
}

static void
late(void *arg)
{
	struct socket *s = arg;

	if (s->state == SOCKET_DRAINING)
		cut(s);
	else
		s->kind->late(s);
}

static void
cut_draining(struct drain *d)
{
	cut(list_entry(d, struct socket, draining));
}

void
socket_init(struct socket *s, const struct transport_ops *ops, const struct socket_kind *kind, struct loop *l,
    const struct transport_events *ev, void *arg)
{
	s->t = (struct transport){ .ops = ops, .ev = ev, .arg = arg };
	s->kind = kind;
	s->loop = l;
	s->state = SOCKET_CONNECTING;
	s->fd = -1;
	s->reading = true;
	s->left = INT_MAX;
	loop_call_init(&s->call, tell, s);
	loop_timer_init(&s->timer, l, late, s);
	drain_init(&s->draining, cut_draining);
}

int
socket_take(struct socket *s, int fd)
{
	int r = loop_watch_init(&s->watch, s->loop, fd, ready, s);

	if (r < 0) {
		close(fd);
		return r;
	}
	s->fd = fd;
	return 0;
}

void
socket_drop(struct socket *s)
{
	if (s->fd < 0)
		return;
	loop_watch_done(&s->watch);
	close(s->fd);
	s->fd = -1;
}

void
socket_await(struct socket *s)
{
	loop_watch_want(&s->watch, false, true);
}

void
socket_deadline(struct socket *s, uint64_t ms)
{
	loop_timer_start(&s->timer, ms);
}

/* ------------------------------------------------------------------- bytes */

ssize_t
socket_read(struct transport *t, void *buf, size_t len)
{
	struct socket *s = of(t);
	ssize_t n;

	assert(len > 0);
	if (s->state == SOCKET_DOWN)
		return s->error;
	if (s->state != SOCKET_UP && s->state != SOCKET_BROKEN)
		return -ENOTCONN;
	do
		n = recv(s->fd, buf, len, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	if (n == 0) {
		socket_fail(s, 0, "closed by the other side");
		return 0;
	}
	if (errno == EAGAIN)
		return -EAGAIN;
	socket_fail(s, -errno, NULL);
	return s->error;
}

ssize_t
socket_writev(struct transport *t, const struct iovec *iov, int n)
{
	struct socket *s = of(t);
	struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)(n < IOV_MAX ? n : IOV_MAX) };
	size_t all = 0;
	ssize_t done;

	if (s->state == SOCKET_DOWN || s->state == SOCKET_BROKEN)
		return s->error ? s->error : -EPIPE;
	if (s->state != SOCKET_UP)
		return -ENOTCONN;
	for (int i = 0; i < n; i++)
		all += iov[i].iov_len;
	if (all == 0)
		return 0;
	do
		done = sendmsg(s->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (done < 0 && errno == EINTR);
	if (done < 0 && errno != EAGAIN) {
		fail_as(s, SOCKET_BROKEN, -errno, NULL);
		return s->error;
	}
	if (done < 0)
		done = 0;
	if ((size_t)done < all && !s->short_write) {
		s->short_write = true;
		update_watch(s);
	}
	return done;
}

void
socket_want_read(struct transport *t, bool on)
{
	struct socket *s = of(t);

	s->reading = on;
	if (s->state == SOCKET_UP)
		update_watch(s);
}

/* ------------------------------------------------------------------- close */

static void
finish(struct socket *s)
{
	drain_end(&s->draining, s->loop);
	loop_timer_stop(&s->timer);
	socket_drop(s);
	free(s->tail);
	s->tail = NULL;
	s->state = SOCKET_CLOSED;
	loop_call_cancel(&s->call);
	loop_call_init(&s->call, release, s);
	loop_defer(s->loop, &s->call);
}

/* End at once: the other side sees a reset where the kind has such a thing. */
static void
cut(struct socket *s)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	if (s->fd >= 0)
		setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	finish(s);
}

/* A close with input unread would cut what we wrote last: read until the other side is done, too. */
static void
discard(struct socket *s)
{
	char buf[DISCARD_BYTES];

	for (int i = 0; i < DISCARD_ROUNDS; i++) {
		ssize_t n = recv(s->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0 && s->tail) {
			loop_watch_want(&s->watch, false, true); /* it is done, we are not */
			return;
		}
		if (n <= 0) {
			finish(s);
			return;
		}
	}
}

static void
send_tail(struct socket *s)
{
	while (s->tail_at < s->tail_len) {
		ssize_t n = send(s->fd, s->tail + s->tail_at, s->tail_len - s->tail_at, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			cut(s);
			return;
		}
		s->tail_at += (size_t)n;
	}
	free(s->tail);
	s->tail = NULL;
	if (shutdown(s->fd, SHUT_WR) < 0)
		cut(s);
	else
		loop_watch_want(&s->watch, true, false);
}

/* False if it cannot be: then it is cut. */
static bool
start_draining(struct socket *s)
{
	/* ENOTCONN: reset meanwhile. */
	if ((!s->tail && shutdown(s->fd, SHUT_WR) < 0) || drain_begin(&s->draining, s->loop, s->t.is_stranger) < 0)
		return false;
	s->state = SOCKET_DRAINING;
	loop_call_cancel(&s->call);
	loop_watch_want(&s->watch, true, s->tail != NULL);
	loop_timer_start(&s->timer, DRAIN_MS);
	return true;
}

void
socket_close_tail(struct transport *t, uint8_t *tail, size_t len)
{
	struct socket *s = of(t);

	s->tail = tail;
	s->tail_len = len;
	socket_close(t, true);
}

void
socket_close(struct transport *t, bool drain)
{
	struct socket *s = of(t);

	assert(s->state < SOCKET_DRAINING);
	settle(s);
	/* After an orderly end of the other side there may still be something on its way there. */
	if (drain && (s->state == SOCKET_RISING || s->state == SOCKET_UP || (s->state == SOCKET_DOWN && s->error == 0)) &&
	    start_draining(s))
		return;
	cut(s);
}

/* --------------------------------------------------------------- listener */

int
socket_new(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static int
option(int fd, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	return getsockopt(fd, SOL_SOCKET, name, &v, &len) < 0 ? -1 : v;
}

int
socket_check_passed(int fd, int family, int or_family)
{
	int domain = option(fd, SO_DOMAIN), flags;

	if (domain < 0)
		return -errno;
	if ((domain != family && domain != or_family) || option(fd, SO_TYPE) != SOCK_STREAM || option(fd, SO_ACCEPTCONN) != 1)
		return -EINVAL;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return 0;
}

/* False when there is nothing more to accept now. */
static bool
accept_one(struct socket_listener *sl)
{
	char text[TRANSPORT_TEXT_MAX];
	struct socket *s;
	int fd = accept4(sl->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		switch (errno) {
		case EAGAIN:
			return false;
		case EMFILE:
		case ENFILE:
		case ENOBUFS:
		case ENOMEM:
			sl->failed(sl->arg, -errno, socket_error_text(-errno, text));
			return false;
		default:
			return true; /* that one went away again: accept(2) lists what comes up here */
		}
	}
	s = sl->adopt(sl, fd);
	if (!s) {
		sl->failed(sl->arg, -ENOMEM, socket_error_text(-ENOMEM, text));
		return false;
	}
	s->state = SOCKET_UP;
	update_watch(s);
	sl->accepted(sl->arg, &s->t);
	assert(s->t.ev || s->state >= SOCKET_DRAINING);
	return true;
}

static void
incoming(void *arg, bool readable, bool writable)
{
	struct socket_listener *sl = arg;

	(void)readable, (void)writable;
	for (int i = 0; i < SOCKET_ACCEPT_MAX && !sl->closed && sl->watch.want_read; i++)
		if (!accept_one(sl))
			return;
}

int
socket_listen(struct socket_listener *sl)
{
	int r = loop_watch_init(&sl->watch, sl->loop, sl->fd, incoming, sl);

	if (r < 0)
		return r;
	loop_call_init(&sl->call, release, sl);
	loop_watch_want(&sl->watch, true, false);
	return 0;
}

void
socket_listen_pause(struct transport_listener *tl, bool paused)
{
	struct socket_listener *sl = (struct socket_listener *)(void *)tl;

	loop_watch_want(&sl->watch, !paused, false);
}

void
socket_listen_close(struct socket_listener *sl)
{
	loop_watch_done(&sl->watch);
	close(sl->fd);
	sl->closed = true;
	loop_defer(sl->loop, &sl->call);
}
