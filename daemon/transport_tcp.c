/*
 * transport_tcp: plain TCP over IPv4 and IPv6. Dials every address of a name
 * in turn, within one deadline.
 */
#include <arpa/inet.h>
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
#include "transport_resolve.h"

#define NOTSENT_BYTES (64 * 1024) /* unsent bytes in the kernel: what is urgent must not wait behind more */

/* What only dialling needs. */
struct dial {
	struct resolve *lookup; /* NULL: answered, or not needed */
	uint64_t deadline_ms;
	bool by_name;
	unsigned n, next;
	union resolve_address addresses[RESOLVE_MAX];
};

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

/* "127.0.0.1:4711", "[::1]:4711"; an IPv4 address mapped into IPv6 counts as IPv4. */
static void
address_text(const union resolve_address *a, bool port, char *buf, size_t size)
{
	char ip[INET6_ADDRSTRLEN];

	if (a->sa.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &a->v6.sin6_addr, ip, sizeof(ip));
		snprintf(buf, size, port ? "[%s]:%u" : "%s", ip, ntohs(a->v6.sin6_port));
	} else {
		inet_ntop(AF_INET, &a->v4.sin_addr, ip, sizeof(ip));
		snprintf(buf, size, port ? "%s:%u" : "%s", ip, ntohs(a->v4.sin_port));
	}
}

static void
unmap(union resolve_address *a)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };

	if (a->sa.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
		return;
	v4.sin_port = a->v6.sin6_port;
	memcpy(&v4.sin_addr, a->v6.sin6_addr.s6_addr + 12, 4);
	a->v4 = v4;
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

static void try_next(struct tcp *c, int error);

static void
connected(struct tcp *c)
{
	c->far = c->dial->addresses[c->dial->next - 1];
	set_options(c->s.fd);
	socket_up(&c->s);
}

/* Every address failed: say how the last one did, and which it was if only the resolver knew. */
static void
give_up(struct tcp *c, int error)
{
	char text[TRANSPORT_TEXT_MAX], why[TRANSPORT_TEXT_MAX], ip[INET6_ADDRSTRLEN];

	socket_error_text(error, why);
	if (!c->dial->by_name) {
		socket_fail(&c->s, error, why);
		return;
	}
	address_text(&c->dial->addresses[c->dial->next - 1], false, ip, sizeof(ip));
	snprintf(text, sizeof(text), "%s: %.100s", ip, why);
	socket_fail(&c->s, error, text);
}

/* Start with the next address: 1 when it is under way, else a negative errno. */
static int
start(struct tcp *c)
{
	const union resolve_address *a = &c->dial->addresses[c->dial->next++];
	int fd = socket_new(a->sa.sa_family), r;

	if (fd < 0)
		return fd;
	r = socket_take(&c->s, fd);
	if (r < 0)
		return r;
	if (connect(fd, &a->sa, resolve_address_len(a)) == 0) {
		connected(c);
		return 1;
	}
	return errno == EINPROGRESS || errno == EINTR ? 1 : -errno;
}

/* The address tried last failed with error. Each of those left gets an equal share of the time left. */
static void
try_next(struct tcp *c, int error)
{
	struct dial *d = c->dial;

	for (;;) {
		uint64_t now = loop_now_ms(c->s.loop), left = d->deadline_ms > now ? d->deadline_ms - now : 0;
		int r;

		socket_drop(&c->s);
		if (d->next == d->n || (left == 0 && error)) {
			give_up(c, error);
			return;
		}
		socket_deadline(&c->s, left / (d->n - d->next));
		r = start(c);
		if (r > 0)
			break;
		error = r;
	}
	if (c->s.state == SOCKET_CONNECTING)
		socket_await(&c->s);
}

static void
writable(struct socket *s)
{
	struct tcp *c = of(s);
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error)
		try_next(c, -error);
	else
		connected(c);
}

static void
late(struct socket *s)
{
	struct tcp *c = of(s);

	if (c->dial->lookup)
		socket_fail(s, -ETIMEDOUT, "no answer from the name server in time");
	else
		try_next(c, -ETIMEDOUT);
}

static void
settled(struct socket *s)
{
	struct tcp *c = of(s);

	if (c->dial->lookup)
		resolve_cancel(c->dial->lookup);
	free(c->dial);
	c->dial = NULL;
}

static void
resolved(void *arg, int error, const char *text, const union resolve_address *addresses, unsigned n)
{
	struct tcp *c = arg;

	c->dial->lookup = NULL;
	if (error) {
		socket_fail(&c->s, error, text);
		return;
	}
	memcpy(c->dial->addresses, addresses, n * sizeof(*addresses));
	c->dial->n = n;
	try_next(c, 0);
}

static const struct socket_kind kind = { .writable = writable, .late = late, .settled = settled };

static int
tcp_connect(struct loop *l, const struct names_url *url, const struct transport_security *security, uint64_t timeout_ms,
    const struct transport_events *ev, void *arg, struct transport **ret)
{
	struct tcp *c = calloc(1, sizeof(*c));
	struct dial *d = calloc(1, sizeof(*d));
	uint64_t now = loop_now_ms(l);

	(void)security;
	if (!c || !d)
		goto fail;
	c->dial = d;
	socket_init(&c->s, &transport_tcp, &kind, l, ev, arg);
	d->deadline_ms = timeout_ms > UINT64_MAX - now ? UINT64_MAX : now + timeout_ms;
	if (resolve_numeric(url->host, url->port, &d->addresses[0]) == 0) {
		d->n = 1;
		try_next(c, 0);
	} else {
		d->by_name = true;
		if (resolve_name(l, url->host, url->port, resolved, c, &d->lookup) < 0)
			goto fail;
		socket_deadline(&c->s, timeout_ms);
	}
	*ret = &c->s.t;
	return 0;
fail:
	free(c);
	free(d);
	return -ENOMEM;
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
	const union resolve_address *a = &of((struct socket *)(void *)t)->far;
	char text[INET6_ADDRSTRLEN + 8];

	*ret = (struct transport_identity){ .address = "tcp" };
	if (a->sa.sa_family != AF_INET && a->sa.sa_family != AF_INET6)
		return;
	address_text(a, true, text, sizeof(text));
	snprintf(ret->address, sizeof(ret->address), "tcp://%s", text);
	ret->has_ip = true;
	ret->v6 = a->sa.sa_family == AF_INET6;
	if (ret->v6)
		memcpy(ret->ip, &a->v6.sin6_addr, 16);
	else
		memcpy(ret->ip, &a->v4.sin_addr, 4);
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
		unmap(&c->far);
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
	char text[INET6_ADDRSTRLEN + 8];

	memset(&a, 0, sizeof(a));
	/* Our own listening socket has a name; but the kernel may have no memory to tell it. */
	if (getsockname(((struct socket_listener *)(void *)tl)->fd, &a.sa, &len) < 0) {
		snprintf(buf, TRANSPORT_TEXT_MAX, "tcp://?");
		return;
	}
	address_text(&a, true, text, sizeof(text));
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
	.close = socket_close,
	.listen_pause = socket_listen_pause,
	.listen_url = tcp_listen_url,
	.listen_close = tcp_listen_close,
};
