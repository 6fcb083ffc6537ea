/* transport_mem: see transport_mem.h. */
#include "transport_mem.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"

enum mem_state { MEM_CONNECTING, MEM_RISING, MEM_UP, MEM_DOWN, MEM_CLOSED };

/* Per loop: who listens. */
struct net {
	struct loop_attached attached;
	struct list listeners;
	uint16_t next_port;
};

struct mem_listener {
	struct transport_listener tl;
	struct net *net;
	struct loop *loop;
	struct list node;
	struct list waiting; /* struct mem.waiting: connecting to this */
	struct loop_call call;
	char name[TRANSPORT_TEXT_MAX];
	bool paused, closed;
	void (*accepted)(void *arg, struct transport *t);
	void *arg;
};

struct mem {
	struct transport t;
	struct loop *loop;
	enum mem_state state;
	struct mem *peer; /* NULL: not yet, or closed */
	struct list waiting;
	struct loop_call call;
	struct loop_timer timer; /* connecting: the deadline; up: level-triggered events come again */
	bool reading, short_write, told;
	bool ended; /* the other end closed in order: 0 behind what is in the pipe */
	int error;
	char text[TRANSPORT_TEXT_MAX], far[TRANSPORT_TEXT_MAX];
	size_t head, len;
	uint8_t in[MEM_PIPE_BYTES];
};

static const char net_key;

static struct mem *
of(struct transport *t)
{
	return (struct mem *)(void *)t;
}

static void
release(void *arg)
{
	free(arg);
}

static void
net_free(struct loop_attached *a)
{
	struct net *net = list_entry(a, struct net, attached);

	assert(list_empty(&net->listeners));
	free(net);
}

static struct net *
net_of(struct loop *l)
{
	struct loop_attached *a = loop_attached(l, &net_key);
	struct net *net;

	if (a)
		return list_entry(a, struct net, attached);
	net = calloc(1, sizeof(*net));
	if (!net)
		return NULL;
	net->next_port = 40000;
	list_init(&net->listeners);
	loop_attach(l, &net->attached, &net_key, net_free);
	return net;
}

static struct mem_listener *
find(struct net *net, const char *name)
{
	LIST_FOREACH (n, &net->listeners) {
		struct mem_listener *ml = list_entry(n, struct mem_listener, node);

		if (strcmp(ml->name, name) == 0)
			return ml;
	}
	return NULL;
}

/* ------------------------------------------------------------------ stream */

static void
fail(struct mem *m, int error, const char *text)
{
	m->state = MEM_DOWN;
	m->error = error;
	snprintf(m->text, sizeof(m->text), "%s", text);
	loop_timer_stop(&m->timer);
	list_remove(&m->waiting);
	loop_defer(m->loop, &m->call);
}

static bool
can_read(const struct mem *m)
{
	return m->state == MEM_UP && m->reading && (m->len > 0 || m->ended);
}

static bool
can_write(const struct mem *m)
{
	return m->state == MEM_UP && m->short_write && (!m->peer || m->peer->len < MEM_PIPE_BYTES);
}

/* One call-back a turn; what is still ready comes again in the next pass, as from a poll. */
static void
turn(void *arg)
{
	struct mem *m = arg;

	if (m->state == MEM_RISING) {
		m->state = MEM_UP;
		loop_timer_start(&m->timer, 0);
		m->t.ev->up(m->t.arg);
	} else if (m->state == MEM_DOWN) {
		if (m->told)
			return;
		m->told = true;
		m->t.ev->down(m->t.arg, m->error, m->text);
	} else if (can_write(m)) {
		m->short_write = false;
		loop_timer_start(&m->timer, 0);
		m->t.ev->writable(m->t.arg);
	} else if (can_read(m)) {
		loop_timer_start(&m->timer, 0);
		m->t.ev->readable(m->t.arg);
	}
}

static void
timer_fired(void *arg)
{
	struct mem *m = arg;

	if (m->state == MEM_CONNECTING)
		fail(m, -ETIMEDOUT, "connection timed out");
	else
		turn(m);
}

static struct mem *
mem_new(struct loop *l)
{
	struct mem *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->t.ops = &transport_mem;
	m->loop = l;
	m->reading = true;
	list_init(&m->waiting);
	loop_call_init(&m->call, turn, m);
	loop_timer_init(&m->timer, l, timer_fired, m);
	return m;
}

static int
mem_connect(struct loop *l, const struct names_url *url, const struct transport_security *security, uint64_t timeout_ms,
    const struct transport_events *ev, void *arg, struct transport **ret)
{
	struct net *net = net_of(l);
	struct mem *m = mem_new(l);
	struct mem_listener *ml;

	(void)security;
	if (!net || !m) {
		free(m);
		return -ENOMEM;
	}
	transport_set_events(&m->t, ev, arg);
	snprintf(m->far, sizeof(m->far), "mem://%.100s:%u", url->host, url->port);
	ml = find(net, m->far);
	if (ml) {
		loop_timer_start(&m->timer, timeout_ms);
		list_append(&ml->waiting, &m->waiting);
		loop_defer(l, &ml->call);
	} else {
		fail(m, -ECONNREFUSED, "connection refused");
	}
	*ret = &m->t;
	return 0;
}

static ssize_t
mem_read(struct transport *t, void *buf, size_t len)
{
	struct mem *m = of(t);
	size_t n = m->len < len ? m->len : len, first;

	assert(len > 0);
	if (m->state == MEM_DOWN)
		return m->error;
	if (m->state != MEM_UP)
		return -ENOTCONN;
	if (m->len == 0 && m->ended) {
		fail(m, 0, "closed by the other side");
		return 0;
	}
	if (n == 0)
		return -EAGAIN;
	first = MEM_PIPE_BYTES - m->head < n ? MEM_PIPE_BYTES - m->head : n;
	memcpy(buf, m->in + m->head, first);
	memcpy((uint8_t *)buf + first, m->in, n - first);
	m->head = (m->head + n) % MEM_PIPE_BYTES;
	m->len -= n;
	if (m->peer && m->peer->short_write)
		loop_timer_start(&m->peer->timer, 0);
	return (ssize_t)n;
}

static size_t
put(struct mem *m, const uint8_t *p, size_t len)
{
	size_t room = MEM_PIPE_BYTES - m->len, n = room < len ? room : len, tail = (m->head + m->len) % MEM_PIPE_BYTES;
	size_t first = MEM_PIPE_BYTES - tail < n ? MEM_PIPE_BYTES - tail : n;

	if (n == 0)
		return 0;
	memcpy(m->in + tail, p, first);
	memcpy(m->in, p + first, n - first);
	m->len += n;
	return n;
}

static ssize_t
mem_writev(struct transport *t, const struct iovec *iov, int n)
{
	struct mem *m = of(t);
	size_t all = 0, done = 0;

	if (m->state == MEM_DOWN)
		return m->error ? m->error : -EPIPE;
	if (m->state != MEM_UP)
		return -ENOTCONN;
	for (int i = 0; i < n; i++) {
		/* The other end closed in order: it throws away what still comes. */
		done += m->peer ? put(m->peer, iov[i].iov_base, iov[i].iov_len) : iov[i].iov_len;
		all += iov[i].iov_len;
	}
	if (m->peer)
		loop_timer_start(&m->peer->timer, 0);
	m->short_write = done < all;
	return (ssize_t)done;
}

static void
mem_want_read(struct transport *t, bool on)
{
	struct mem *m = of(t);

	m->reading = on;
	if (can_read(m))
		loop_timer_start(&m->timer, 0);
}

static size_t
mem_out_pending(struct transport *t)
{
	struct mem *m = of(t);

	return m->state == MEM_UP && m->peer ? m->peer->len : 0;
}

static void
mem_identity(struct transport *t, struct transport_identity *ret)
{
	*ret = (struct transport_identity){ .is_local = false };
	snprintf(ret->address, sizeof(ret->address), "%s", of(t)->far);
}

static void
mem_close(struct transport *t, bool drain)
{
	struct mem *m = of(t), *peer = m->peer;

	assert(m->state != MEM_CLOSED);
	if (peer) {
		peer->peer = NULL;
		if (drain && m->state != MEM_DOWN) {
			peer->ended = true;
			loop_timer_start(&peer->timer, 0);
		} else if (peer->state != MEM_DOWN) {
			fail(peer, -ECONNRESET, "connection reset by peer");
		}
	}
	m->state = MEM_CLOSED;
	loop_timer_stop(&m->timer);
	list_remove(&m->waiting);
	loop_call_cancel(&m->call);
	loop_call_init(&m->call, release, m);
	loop_defer(m->loop, &m->call);
}

/* --------------------------------------------------------------- listener */

static void
accept_all(void *arg)
{
	struct mem_listener *ml = arg;
	struct list *n;

	while (!ml->paused && !ml->closed && (n = list_first(&ml->waiting))) {
		struct mem *far = list_entry(n, struct mem, waiting), *m = mem_new(ml->loop);

		if (!m)
			abort();
		list_remove(n);
		loop_timer_stop(&far->timer);
		m->peer = far;
		far->peer = m;
		far->state = MEM_RISING;
		loop_defer(ml->loop, &far->call);
		m->state = MEM_UP;
		snprintf(m->far, sizeof(m->far), "mem://client:0");
		ml->accepted(ml->arg, &m->t);
		assert(m->t.ev || m->state == MEM_CLOSED);
	}
}

static int
mem_listen(struct loop *l, const struct names_url *url, const struct transport_security *security, int fd,
    void (*accepted)(void *arg, struct transport *t), void (*failed)(void *arg, int error, const char *text), void *arg,
    struct transport_listener **ret)
{
	struct net *net = net_of(l);
	struct mem_listener *ml = calloc(1, sizeof(*ml));

	(void)security;
	(void)failed; /* nothing can run out here */
	if (!net || !ml || fd >= 0) {
		free(ml);
		return fd >= 0 ? -EINVAL : -ENOMEM;
	}
	snprintf(ml->name, sizeof(ml->name), "mem://%.100s:%u", url->host, url->port ? url->port : net->next_port++);
	if (find(net, ml->name)) {
		free(ml);
		return -EADDRINUSE;
	}
	ml->tl.ops = &transport_mem;
	ml->net = net;
	ml->loop = l;
	ml->accepted = accepted;
	ml->arg = arg;
	list_init(&ml->waiting);
	list_append(&net->listeners, &ml->node);
	loop_call_init(&ml->call, accept_all, ml);
	*ret = &ml->tl;
	return 0;
}

static void
mem_listen_pause(struct transport_listener *tl, bool paused)
{
	struct mem_listener *ml = (struct mem_listener *)(void *)tl;

	ml->paused = paused;
	loop_defer(ml->loop, &ml->call);
}

static void
mem_listen_url(struct transport_listener *tl, char buf[static TRANSPORT_TEXT_MAX])
{
	snprintf(buf, TRANSPORT_TEXT_MAX, "%s", ((struct mem_listener *)(void *)tl)->name);
}

static void
mem_listen_close(struct transport_listener *tl)
{
	struct mem_listener *ml = (struct mem_listener *)(void *)tl;
	struct list *n;

	while ((n = list_first(&ml->waiting)))
		fail(list_entry(n, struct mem, waiting), -ECONNREFUSED, "connection refused");
	ml->closed = true;
	list_remove(&ml->node);
	loop_call_cancel(&ml->call);
	loop_call_init(&ml->call, release, ml);
	loop_defer(ml->loop, &ml->call);
}

const struct transport_ops transport_mem = {
	.connect = mem_connect,
	.listen = mem_listen,
	.read = mem_read,
	.writev = mem_writev,
	.want_read = mem_want_read,
	.out_pending = mem_out_pending,
	.identity = mem_identity,
	.close = mem_close,
	.listen_pause = mem_listen_pause,
	.listen_url = mem_listen_url,
	.listen_close = mem_listen_close,
};
