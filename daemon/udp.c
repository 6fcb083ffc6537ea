/* udp: see udp.h. */
#include "udp.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop.h"

#define OUT_MAX 64              /* datagrams that wait for the end of the pass */
#define OUT_BYTES (256 * 1024)  /* of them */
#define ROUNDS 4                /* batches read before others get their turn */
#define KERNEL_BYTES (4 << 20)  /* asked for; the kernel gives what its limits allow */

struct out {
	struct udp *u;
	union resolve_address to; /* family 0: connected */
	size_t at, len;
};

/* Per loop: what all its sockets use by turns. */
struct shared {
	struct loop_attached attached;
	struct loop *loop; /* NULL: it is gone */
	size_t n_sockets;
	struct loop_call flush;
	struct out out[OUT_MAX];
	size_t n_out, out_bytes;
	uint8_t out_data[OUT_BYTES];
	uint8_t in[UDP_BATCH][UDP_DATAGRAM_MAX];
};

struct udp {
	struct shared *shared;
	int fd;
	bool is_connected, is_closed;
	struct loop_watch watch;
	struct loop_call call; /* tells of error; at last the free */
	int error;
	const struct udp_events *ev;
	void *arg;
};

static const char shared_key;

_Static_assert(OUT_BYTES >= UDP_DATAGRAM_MAX, "a datagram must fit");

/* ------------------------------------------------------------------ output */

static void
note_error(struct udp *u, int error)
{
	if (!u->shared->loop || !u->is_connected || u->is_closed || error == EAGAIN || error == ENOBUFS || error == EINTR)
		return;
	u->error = -error;
	loop_defer(u->shared->loop, &u->call);
}

/* Send those of the n that the kernel takes; what it does not take is lost, as it may be on any path. */
static void
send_batch(struct udp *u, struct mmsghdr *m, unsigned n)
{
	unsigned done = 0;

	while (done < n) {
		int r = sendmmsg(u->fd, m + done, n - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (r > 0) {
			done += (unsigned)r;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN)
			return;
		/* What an earlier one met may be told now, or this one alone cannot be sent. */
		note_error(u, errno);
		done++;
	}
}

static void
flush(void *arg)
{
	struct shared *sh = arg;
	struct mmsghdr m[OUT_MAX];
	struct iovec iov[OUT_MAX];

	memset(m, 0, sizeof(m[0]) * sh->n_out);
	for (size_t i = 0, n; i < sh->n_out; i += n) {
		struct udp *u = sh->out[i].u;

		for (n = 0; i + n < sh->n_out && sh->out[i + n].u == u; n++) {
			struct out *o = &sh->out[i + n];

			iov[n] = (struct iovec){ sh->out_data + o->at, o->len };
			m[n].msg_hdr = (struct msghdr){ .msg_iov = &iov[n], .msg_iovlen = 1 };
			if (o->to.sa.sa_family) {
				m[n].msg_hdr.msg_name = &o->to;
				m[n].msg_hdr.msg_namelen = resolve_address_len(&o->to);
			}
		}
		send_batch(u, m, (unsigned)n);
	}
	sh->n_out = sh->out_bytes = 0;
}

void
udp_send(struct udp *u, const union resolve_address *to, const void *data, size_t len)
{
	struct shared *sh = u->shared;
	struct out *o;

	assert(!u->is_closed);
	if (len > UDP_DATAGRAM_MAX)
		return;
	if (sh->n_out == OUT_MAX || sh->out_bytes + len > OUT_BYTES)
		flush(sh);
	o = &sh->out[sh->n_out++];
	o->u = u;
	memset(&o->to, 0, sizeof(o->to));
	if (!u->is_connected)
		o->to = *to;
	o->at = sh->out_bytes;
	o->len = len;
	memcpy(sh->out_data + o->at, data, len);
	sh->out_bytes += len;
	if (sh->loop)
		loop_defer(sh->loop, &sh->flush);
	else
		flush(sh);
}

/* ------------------------------------------------------------------- input */

/* An IPv4 address mapped into IPv6 counts as one of its own: it is answered as it came. */
static bool
is_ours(const struct mmsghdr *m)
{
	const struct sockaddr *from = m->msg_hdr.msg_name;

	return !(m->msg_hdr.msg_flags & MSG_TRUNC) && (from->sa_family == AF_INET || from->sa_family == AF_INET6);
}

static void
incoming(void *arg, bool readable, bool writable)
{
	struct udp *u = arg;
	struct shared *sh = u->shared;
	struct mmsghdr m[UDP_BATCH];
	struct iovec iov[UDP_BATCH];
	union resolve_address from[UDP_BATCH];

	(void)readable, (void)writable;
	for (int round = 0; round < ROUNDS && !u->is_closed; round++) {
		int n;

		memset(m, 0, sizeof(m));
		memset(from, 0, sizeof(from));
		for (int i = 0; i < UDP_BATCH; i++) {
			iov[i] = (struct iovec){ sh->in[i], UDP_DATAGRAM_MAX };
			m[i].msg_hdr = (struct msghdr){ .msg_name = &from[i], .msg_namelen = sizeof(from[i]), .msg_iov = &iov[i], .msg_iovlen = 1 };
		}
		n = recvmmsg(u->fd, m, UDP_BATCH, MSG_DONTWAIT, NULL);
		if (n < 0)
			note_error(u, errno);
		for (int i = 0; i < n && !u->is_closed; i++)
			if (is_ours(&m[i]))
				u->ev->input(u->arg, &from[i], sh->in[i], m[i].msg_len);
		if (n < UDP_BATCH)
			return;
	}
}

static void
tell(void *arg)
{
	struct udp *u = arg;

	if (u->is_closed)
		return;
	u->ev->failed(u->arg, u->error);
}

/* --------------------------------------------------------------- come and go */

static void
unshare(struct shared *sh)
{
	if (--sh->n_sockets == 0 && !sh->loop)
		free(sh);
}

static void
loop_is_gone(struct loop_attached *a)
{
	struct shared *sh = list_entry(a, struct shared, attached);

	loop_call_cancel(&sh->flush);
	flush(sh);
	sh->loop = NULL;
	if (sh->n_sockets == 0)
		free(sh);
}

static struct shared *
shared_of(struct loop *l)
{
	struct loop_attached *a = loop_attached(l, &shared_key);
	struct shared *sh;

	if (a)
		return list_entry(a, struct shared, attached);
	sh = calloc(1, sizeof(*sh));
	if (!sh)
		return NULL;
	sh->loop = l;
	loop_call_init(&sh->flush, flush, sh);
	loop_attach(l, &sh->attached, &shared_key, loop_is_gone);
	return sh;
}

static void
release(void *arg)
{
	struct udp *u = arg;

	unshare(u->shared);
	free(u);
}

/* More than the usual 200 KB, or a burst of one window is lost. Without the right to it, as much as is allowed. */
static void
set_buffers(int fd)
{
	int bytes = KERNEL_BYTES;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

static int
udp_new(struct loop *l, int fd, bool is_connected, const struct udp_events *ev, void *arg, struct udp **ret)
{
	struct shared *sh = shared_of(l);
	struct udp *u = calloc(1, sizeof(*u));

	if (!sh || !u || loop_watch_init(&u->watch, l, fd, incoming, u) < 0) {
		free(u);
		return -ENOMEM;
	}
	u->shared = sh;
	sh->n_sockets++;
	u->fd = fd;
	u->is_connected = is_connected;
	u->ev = ev;
	u->arg = arg;
	loop_call_init(&u->call, tell, u);
	set_buffers(fd);
	loop_watch_want(&u->watch, true, false);
	*ret = u;
	return 0;
}

static int
check_passed(int fd)
{
	union resolve_address a;
	socklen_t len = sizeof(a);
	int type = -1, flags;
	socklen_t type_len = sizeof(type);

	memset(&a, 0, sizeof(a));
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) < 0 || getsockname(fd, &a.sa, &len) < 0)
		return -errno;
	if (type != SOCK_DGRAM || (a.sa.sa_family != AF_INET && a.sa.sa_family != AF_INET6) || a.v4.sin_port == 0)
		return -EINVAL;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return 0;
}

static int
socket_for(const union resolve_address *a)
{
	int fd = socket(a->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static int
bind_new(const union resolve_address *local)
{
	int fd = socket_for(local), on = 1, r;

	if (fd < 0)
		return fd;
	if ((local->sa.sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
	    bind(fd, &local->sa, resolve_address_len(local)) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

int
udp_bind(struct loop *l, const union resolve_address *local, int fd, const struct udp_events *ev, void *arg, struct udp **ret)
{
	int own = fd >= 0 ? check_passed(fd) : bind_new(local), r;

	if (own < 0)
		return own;
	r = udp_new(l, fd >= 0 ? fd : own, false, ev, arg, ret);
	if (r < 0 && fd < 0)
		close(own);
	return r;
}

int
udp_connect(struct loop *l, const union resolve_address *far, const struct udp_events *ev, void *arg, struct udp **ret)
{
	int fd = socket_for(far), r;

	if (fd < 0)
		return fd;
	r = connect(fd, &far->sa, resolve_address_len(far)) < 0 ? -errno : udp_new(l, fd, true, ev, arg, ret);
	if (r < 0)
		close(fd);
	return r;
}

bool
udp_local(const struct udp *u, union resolve_address *ret)
{
	socklen_t len = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return getsockname(u->fd, &ret->sa, &len) == 0;
}

void
udp_close(struct udp *u)
{
	struct loop *l = u->shared->loop;

	flush(u->shared);
	u->is_closed = true;
	loop_watch_done(&u->watch);
	close(u->fd);
	loop_call_cancel(&u->call);
	loop_call_init(&u->call, release, u);
	if (l)
		loop_defer(l, &u->call);
	else
		release(u);
}
