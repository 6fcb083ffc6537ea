/*
 * transport_tcp: plain TCP over IPv4 and IPv6. Dials every address of a name
 * in turn, within one deadline.
 */
#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "socket.h"
#include "transport_dial.h"

#define NOTSENT_BYTES (64 * 1024) /* unsent bytes in the kernel: what is urgent must not wait behind more */

struct tcp {
	struct socket s;
	struct dial *dial;         /* NULL once connected, or accepted */
	union resolve_address far; /* the other end; family 0: not known yet */
};

static struct tcp *
of(struct socket *s)
{
	return (struct tcp *)s;
}

static void
set_options(int fd)
{
	int on = 1, lowat = NOTSENT_BYTES;

	/* Both only make it better: a kernel that refuses them still carries the stream. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof(lowat));
}

/* ------------------------------------------------------------------- dial */

static void
connected(struct tcp *c)
{
	c->far = *dial_address(c->dial);
	set_options(c->s.fd);
	socket_up(&c->s);
}

static int
start(void *arg, const union resolve_address *a)
{
	struct tcp *c = arg;
	int fd = socket_new(a->sa.sa_family), r;

	if (fd < 0)
		return fd;
	r = socket_take(&c->s, fd);
	if (r < 0)
		return r;
	if (connect(fd, &a->sa, resolve_address_len(a)) == 0) {
		connected(c);
		return 0;
	}
	if (errno != EINPROGRESS && errno != EINTR)
		return -errno;
	socket_await(&c->s);
	return 0;
}

static void
drop(void *arg)
{
	socket_drop(&((struct tcp *)arg)->s);
}

static void
no_answer(void *arg, int error, const char *text)
{
	socket_fail(&((struct tcp *)arg)->s, error, text);
}

static const struct dial_ops dial_ops = { .start = start, .drop = drop, .failed = no_answer };

static void
writable(struct socket *s)
{
	struct tcp *c = of(s);
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error)
		dial_failed(c->dial, -error);
	else
		connected(c);
}

static void
settled(struct socket *s)
{
	struct tcp *c = of(s);

	dial_free(c->dial);
	c->dial = NULL;
}

/* The dial has its own deadline. */
static const struct socket_kind kind = { .writable = writable, .settled = settled };

static int
tcp_connect(struct loop *l, const struct names_url *url, const struct transport_security *security, uint64_t timeout_ms,
    const struct transport_events *ev, void *arg, struct transport **ret)
{
	struct tcp *c = calloc(1, sizeof(*c));

	(void)security;
	if (!c)
		return -ENOMEM;
	socket_init(&c->s, &transport_tcp, &kind, l, ev, arg);
	if (dial_new(l, url, timeout_ms, &dial_ops, c, &c->dial) < 0) {
		free(c);
		return -ENOMEM;
	}
	*ret = &c->s.t;
	return 0;
}

static size_t
tcp_out_pending(struct transport *t)
{
	struct socket *s = (struct socket *)(void *)t;
	int n = 0;

	return s->state == SOCKET_UP && ioctl(s->fd, SIOCOUTQ, &n) == 0 && n > 0 ? (size_t)n : 0;
}

static void
tcp_identity(struct transport *t, struct transport_identity *ret)
{
	resolve_identity(&of((struct socket *)(void *)t)->far, "tcp", ret);
}

static void
tcp_path(struct transport *t, struct transport_path *ret)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	*ret = (struct transport_path){ 0 };
	if (getsockopt(((struct socket *)(void *)t)->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return;
	*ret = (struct transport_path){ .mtu = info.tcpi_pmtu, .rtt_us = info.tcpi_rtt, .retransmissions = info.tcpi_total_retrans };
}

/* --------------------------------------------------------------- listener */

static struct socket *
adopt(struct socket_listener *sl, int fd)
{
	struct tcp *c = calloc(1, sizeof(*c));
	socklen_t len = sizeof(c->far);

	if (!c) {
		close(fd);
		return NULL;
	}
	socket_init(&c->s, &transport_tcp, &kind, sl->loop, NULL, NULL);
	/* Fails when it was reset already: reading will say so. */
	if (getpeername(fd, &c->far.sa, &len) == 0)
		resolve_unmap(&c->far);
	set_options(fd);
	if (socket_take(&c->s, fd) < 0) {
		free(c);
		return NULL;
	}
	return &c->s;
}

static int
bind_new(const struct names_url *url)
{
	union resolve_address a;
	int r = resolve_numeric(url->host, url->port, &a), fd, on = 1;

	if (r < 0)
		return r;
	fd = socket_new(a.sa.sa_family);
	if (fd < 0)
		return fd;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    (a.sa.sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
	    bind(fd, &a.sa, resolve_address_len(&a)) < 0 || listen(fd, SOCKET_BACKLOG) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

static int
tcp_listen(struct loop *l, const struct names_url *url, const struct transport_security *security, int fd,
    void (*accepted)(void *arg, struct transport *t), void (*failed)(void *arg, int error, const char *text), void *arg,
    struct transport_listener **ret)
{
	struct socket_listener *sl = calloc(1, sizeof(*sl));
	int r;

	(void)security;
	if (!sl)
		return -ENOMEM;
	r = fd >= 0 ? socket_check_passed(fd, AF_INET, AF_INET6) : bind_new(url);
	if (r < 0)
		goto fail;
	*sl = (struct socket_listener){ .tl = { &transport_tcp },
		.loop = l,
		.fd = fd >= 0 ? fd : r,
		.adopt = adopt,
		.accepted = accepted,
		.failed = failed,
		.arg = arg };
	r = socket_listen(sl);
	if (r < 0) {
		if (fd < 0)
			close(sl->fd);
		goto fail;
	}
	*ret = &sl->tl;
	return 0;
fail:
	free(sl);
	return r;
}

static void
tcp_listen_url(struct transport_listener *tl, char buf[static TRANSPORT_TEXT_MAX])
{
	union resolve_address a;
	socklen_t len = sizeof(a);
	char text[RESOLVE_TEXT_MAX];

	memset(&a, 0, sizeof(a));
	/* Our own listening socket has a name; but the kernel may have no memory to tell it. */
	if (getsockname(((struct socket_listener *)(void *)tl)->fd, &a.sa, &len) < 0) {
		snprintf(buf, TRANSPORT_TEXT_MAX, "tcp://?");
		return;
	}
	resolve_text(&a, true, text);
	snprintf(buf, TRANSPORT_TEXT_MAX, "tcp://%s", text);
}

static void
tcp_listen_close(struct transport_listener *tl)
{
	socket_listen_close((struct socket_listener *)(void *)tl);
}

const struct transport_ops transport_tcp = {
	.connect = tcp_connect,
	.listen = tcp_listen,
	.read = socket_read,
	.writev = socket_writev,
	.want_read = socket_want_read,
	.out_pending = tcp_out_pending,
	.identity = tcp_identity,
	.path = tcp_path,
	.close = socket_close,
	.listen_pause = socket_listen_pause,
	.listen_url = tcp_listen_url,
	.listen_close = tcp_listen_close,
};
