/*
 * The transport door and the library's io on a virtual network: byte streams
 * that split and delay whatever they carry, and can be cut at any byte, frozen
 * (half-open) or made to vanish.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "sim_doors.h"
#include "transport.h"
#include "world.h"

#define NAME_LEN 128

struct conn;

/* One end. Bytes to it lie in `in`: the first `here` of them have arrived. */
struct end {
	struct transport t; /* of a daemon's end */
	struct conn *conn;
	int side;
	struct loop *loop; /* NULL: the library's */
	struct io *io;
	bool open;      /* its owner has not closed it */
	bool up;        /* it may be used */
	bool want_read;
	bool short_write;
	bool told_down;
	uint8_t *in;
	size_t len, cap, here;
	bool fin;       /* the other end is done writing */
	int error;      /* after what is here */
	struct world_event arrive, readable, writable, down, timeout;
};

struct conn {
	struct list node;
	struct end end[2];
	bool link;
	bool frozen;
	bool dead;      /* cut: nothing more is written */
	size_t window;
	uint64_t delay; /* ns, at most */
	char address[NAME_LEN];
	struct world_event establish;
	struct listener *to;
};

struct listener {
	struct transport_listener tl;
	struct list node;
	char name[NAME_LEN]; /* "host:port" or path */
	struct loop *loop;
	void (*accepted)(void *arg, struct transport *t);
	void *arg;
	bool paused, unix_kind;
};

static struct {
	struct list conns, listeners;
	uint64_t partition_until, slow_ns;
	bool started;
} net;

static const struct transport_ops ops;

static void ready_io(struct end *e);

/* ------------------------------------------------------------------ bytes -- */

static struct end *
other(struct end *e)
{
	return &e->conn->end[!e->side];
}

static void
readable(void *arg)
{
	struct end *e = arg;

	if (!e->open || !e->up)
		return;
	if (e->io) {
		ready_io(e);
		return;
	}
	if (!e->want_read || (e->here == 0 && !(e->fin && e->len == 0)))
		return;
	e->t.ev->readable(e->t.arg);
	/* Level-triggered: again while there is something, the end too (e may be closed by now, but not freed). */
	if (e->open && e->want_read && (e->here > 0 || (e->fin && e->len == 0)))
		world_schedule(&e->readable, 1000);
}

static void
down(void *arg)
{
	struct end *e = arg;

	if (!e->open || e->told_down)
		return;
	e->told_down = true;
	if (e->io)
		ready_io(e);
	else
		e->t.ev->down(e->t.arg, e->error, e->error ? strerror(-e->error) : "closed");
}

static void
writable(void *arg)
{
	struct end *e = arg;

	if (!e->open || !e->short_write)
		return;
	e->short_write = false;
	if (e->io)
		ready_io(e);
	else
		e->t.ev->writable(e->t.arg);
}

static uint64_t
delay(const struct conn *c)
{
	uint64_t max = c->link && net.slow_ns > c->delay ? net.slow_ns : c->delay;

	return 1000 + world_below(max);
}

/* Something, at times not everything, of what is on its way is there. */
static void
arrive(void *arg)
{
	struct end *e = arg;

	if (e->conn->frozen && e->conn->link)
		return;
	if (e->len > e->here) {
		size_t more = e->len - e->here;

		if (world_chance(20))
			more = 1 + world_below(more);
		e->here += more;
	}
	if (e->here < e->len)
		world_schedule(&e->arrive, delay(e->conn));
	if (e->open)
		readable(e);
}

static ssize_t
take(struct end *e, void *buf, size_t len)
{
	struct end *o = other(e);

	if (e->told_down && e->error)
		return e->error;
	if (e->here == 0) {
		if (e->fin && e->len == 0)
			return 0;
		return -EAGAIN;
	}
	if (len > e->here)
		len = e->here;
	if (len > 1 && world_chance(10))
		len = 1 + world_below(len);
	memcpy(buf, e->in, len);
	memmove(e->in, e->in + len, e->len - len);
	e->len -= len;
	e->here -= len;
	if (o->open && o->short_write)
		world_schedule(&o->writable, 1000 + world_below(100000));
	return (ssize_t)len;
}

static ssize_t
give(struct end *e, const struct iovec *iov, int n)
{
	struct end *o = other(e);
	size_t total = 0;

	if (e->told_down && e->error)
		return e->error;
	for (int i = 0; i < n; i++) {
		size_t len = iov[i].iov_len, room = o->len < e->conn->window ? e->conn->window - o->len : 0;

		if (len > room)
			len = room;
		if (e->conn->dead || (e->conn->frozen && e->conn->link) || !o->open) {
			total += len; /* nobody will ever read it; the window stays open */
			continue;
		}
		if (o->len + len > o->cap) {
			o->cap = o->len + len + 4096;
			o->in = realloc(o->in, o->cap);
			if (!o->in)
				abort();
		}
		memcpy(o->in + o->len, iov[i].iov_base, len);
		o->len += len;
		total += len;
		if (len < iov[i].iov_len) {
			e->short_write = true;
			break;
		}
	}
	if (o->len > o->here && o->up && o->arrive.index == 0)
		world_schedule(&o->arrive, delay(e->conn));
	return (ssize_t)total;
}

/* ------------------------------------------------------------ connections -- */

static void
end_init(struct conn *c, int side, struct loop *l)
{
	struct end *e = &c->end[side];

	e->conn = c;
	e->side = side;
	e->loop = l;
	e->want_read = true;
	e->t.ops = &ops;
	e->arrive = (struct world_event){ .fn = arrive, .arg = e, .loop = l };
	e->readable = (struct world_event){ .fn = readable, .arg = e, .loop = l };
	e->writable = (struct world_event){ .fn = writable, .arg = e, .loop = l };
	e->down = (struct world_event){ .fn = down, .arg = e, .loop = l };
}

static void
forget_events(struct end *e)
{
	world_cancel(&e->arrive);
	world_cancel(&e->readable);
	world_cancel(&e->writable);
	world_cancel(&e->down);
}

static void
conn_free(struct conn *c)
{
	for (int i = 0; i < 2; i++) {
		forget_events(&c->end[i]);
		free(c->end[i].in);
	}
	world_cancel(&c->establish);
	list_remove(&c->node);
	free(c);
}

static struct world_event reaper;

/* Memory goes when no call-back of the connection is on the stack. */
static void
reap(void *arg)
{
	(void)arg;
	LIST_FOREACH_SAFE (n, &net.conns) {
		struct conn *c = list_entry(n, struct conn, node);

		if (!c->end[0].open && !c->end[1].open && c->establish.index == 0)
			conn_free(c);
	}
}

static struct conn *
conn_new(bool link)
{
	struct conn *c = calloc(1, sizeof(*c));
	static const size_t windows[] = { 256, 4096, 65536, 262144 };

	if (!c)
		abort();
	c->link = link;
	c->window = windows[1 + world_below(3)];
	if (world_chance(5))
		c->window = windows[0];
	c->delay = link ? 20000 + world_below(3000000) : 10000 + world_below(200000);
	list_append(&net.conns, &c->node);
	return c;
}

/* An end's owner lets go. */
static void
end_close(struct end *e, bool drain)
{
	struct end *o = other(e);

	if (!e->open)
		return;
	e->open = false;
	forget_events(e);
	e->len = e->here = 0;
	if (o->open && !e->conn->frozen) {
		o->fin = true;
		if (!drain) {
			/* A prefix of what is on its way still arrives, or nothing. */
			o->len = o->here + world_below(o->len - o->here + 1);
			o->error = -ECONNRESET;
			world_schedule(&o->down, delay(e->conn) + 5000000);
		}
		if (o->arrive.index == 0)
			world_schedule(&o->arrive, delay(e->conn));
	} else if (!o->open) {
		world_schedule(&reaper, 0);
	}
}

static struct listener *
listener_find(const char *name)
{
	LIST_FOREACH (n, &net.listeners)
		if (strcmp(list_entry(n, struct listener, node)->name, name) == 0)
			return list_entry(n, struct listener, node);
	return NULL;
}

static void
establish(void *arg)
{
	struct conn *c = arg;
	struct end *a = &c->end[0], *b = &c->end[1];
	struct listener *l = listener_find(c->address);

	b->open = false;
	if (!a->open) {
		world_schedule(&reaper, 0);
		return;
	}
	if (c->link && world_now() < net.partition_until)
		a->error = -ETIMEDOUT;
	else if (!l || l->paused)
		a->error = -ECONNREFUSED;
	if (a->error) {
		world_schedule(&a->down, 1000);
		return;
	}
	end_init(c, 1, l->loop);
	b->open = b->up = true;
	a->up = true;
	l->accepted(l->arg, &b->t);
	if (b->open && b->len > 0)
		world_schedule(&b->arrive, delay(c));
	if (a->open && a->loop)
		a->t.ev->up(a->t.arg);
}

/* --------------------------------------------------------- transport door -- */

static void
url_name(const struct names_url *url, char buf[static NAME_LEN])
{
	if (url->scheme == NAMES_UNIX)
		snprintf(buf, NAME_LEN, "%s", url->path);
	else
		snprintf(buf, NAME_LEN, "%.100s:%u", url->host, url->port);
}

static int
net_connect(struct loop *l, const struct names_url *url, const struct transport_security *security, uint64_t timeout_ms,
    const struct transport_events *ev, void *arg, struct transport **ret)
{
	struct conn *c = conn_new(true);

	(void)security, (void)timeout_ms;
	url_name(url, c->address);
	end_init(c, 0, l);
	c->end[0].open = true;
	transport_set_events(&c->end[0].t, ev, arg);
	c->establish = (struct world_event){ .fn = establish, .arg = c };
	world_schedule(&c->establish, 10000 + world_below(5000000));
	*ret = &c->end[0].t;
	return 0;
}

static int
net_listen(struct loop *l, const struct names_url *url, const struct transport_security *security, int fd,
    void (*accepted)(void *arg, struct transport *t), void (*failed)(void *arg, int error, const char *text), void *arg,
    struct transport_listener **ret)
{
	struct listener *li = calloc(1, sizeof(*li));

	(void)security, (void)fd, (void)failed;
	if (!li)
		abort();
	li->tl.ops = &ops;
	url_name(url, li->name);
	if (listener_find(li->name)) {
		free(li);
		return -EADDRINUSE;
	}
	li->loop = l;
	li->accepted = accepted;
	li->arg = arg;
	li->unix_kind = url->scheme == NAMES_UNIX;
	list_append(&net.listeners, &li->node);
	*ret = &li->tl;
	return 0;
}

static ssize_t
net_read(struct transport *t, void *buf, size_t len)
{
	return take((struct end *)t, buf, len);
}

static ssize_t
net_writev(struct transport *t, const struct iovec *iov, int n)
{
	return give((struct end *)t, iov, n);
}

static void
net_want_read(struct transport *t, bool on)
{
	struct end *e = (struct end *)t;

	e->want_read = on;
	if (on && (e->here > 0 || e->fin))
		world_schedule(&e->readable, 0);
}

static size_t
net_out_pending(struct transport *t)
{
	return other((struct end *)t)->len;
}

static void
net_identity(struct transport *t, struct transport_identity *ret)
{
	struct end *e = (struct end *)t;

	*ret = (struct transport_identity){ .is_local = !e->conn->link };
	if (e->conn->link) {
		static const uint8_t ip[16] = { 10, 0, 0, 9 };

		ret->has_ip = true;
		memcpy(ret->ip, ip, sizeof(ip));
	} else {
		ret->uid = ret->gid = 1000;
		ret->pid = 1;
	}
	snprintf(ret->address, sizeof(ret->address), "%.*s", TRANSPORT_TEXT_MAX - 1, e->conn->address);
}

static void
net_close(struct transport *t, bool drain)
{
	end_close((struct end *)t, drain);
}

static void
net_listen_pause(struct transport_listener *tl, bool paused)
{
	((struct listener *)tl)->paused = paused;
}

static void
net_listen_url(struct transport_listener *tl, char buf[static TRANSPORT_TEXT_MAX])
{
	const struct listener *l = (const struct listener *)tl;

	snprintf(buf, TRANSPORT_TEXT_MAX, "%s%s", l->unix_kind ? "unix:" : "tcp://", l->name);
}

static void
net_listen_close(struct transport_listener *tl)
{
	struct listener *l = (struct listener *)tl;

	list_remove(&l->node);
	free(l);
}

static const struct transport_ops ops = {
	.connect = net_connect,
	.listen = net_listen,
	.read = net_read,
	.writev = net_writev,
	.want_read = net_want_read,
	.out_pending = net_out_pending,
	.identity = net_identity,
	.close = net_close,
	.listen_pause = net_listen_pause,
	.listen_url = net_listen_url,
	.listen_close = net_listen_close,
};

const struct transport_ops *
transport_for(enum names_scheme scheme)
{
	return scheme == NAMES_TCP || scheme == NAMES_UNIX ? &ops : NULL;
}

/* ----------------------------------------------------------------- io door -- */

struct io {
	struct conn *conn; /* NULL: not connected */
	struct world_event timer, ready;
	bool is_ready, killed, timer_fired, want_write;
	void (*fn)(void *arg);
	void *arg;
};

static struct {
	void (*fn)(void *arg);
	void *arg;
	struct io *last;
} io_owner;

void
sim_io_owner(void (*ready)(void *arg), void *arg)
{
	io_owner.fn = ready;
	io_owner.arg = arg;
}

struct io *
sim_io_last(void)
{
	return io_owner.last;
}

static void
tell_owner(void *arg)
{
	struct io *io = arg;

	io->fn(io->arg);
}

static void
wake(struct io *io)
{
	io->is_ready = true;
	if (io->ready.index == 0)
		world_schedule(&io->ready, 1000 + world_below(50000));
}

static void
ready_io(struct end *e)
{
	wake(e->io);
}

static void
timer_fired(void *arg)
{
	struct io *io = arg;

	io->timer_fired = true;
	wake(io);
}

struct io *
io_new(void)
{
	struct io *io = calloc(1, sizeof(*io));

	if (!io)
		abort();
	io->fn = io_owner.fn;
	io->arg = io_owner.arg;
	io->timer = (struct world_event){ .fn = timer_fired, .arg = io };
	io->ready = (struct world_event){ .fn = tell_owner, .arg = io };
	io_owner.last = io;
	return io;
}

void
io_free(struct io *io)
{
	if (!io)
		return;
	io_disconnect(io);
	world_cancel(&io->timer);
	world_cancel(&io->ready);
	free(io);
}

bool
io_forked(const struct io *io)
{
	(void)io;
	return false;
}

int
io_fd(const struct io *io)
{
	(void)io;
	return 0;
}

int
io_connect(struct io *io, const char *path)
{
	struct listener *l = listener_find(path);
	struct conn *c;

	if (io->killed)
		return -EIO;
	io_disconnect(io);
	if (!l || l->paused)
		return -ECONNREFUSED;
	c = conn_new(false);
	snprintf(c->address, sizeof(c->address), "%s", path);
	end_init(c, 0, NULL);
	c->end[0].open = c->end[0].up = true;
	c->end[0].io = io;
	io->conn = c;
	/* The daemon accepts in a pass of its own; what is written before waits. */
	end_init(c, 1, NULL);
	c->end[1].open = true;
	c->establish = (struct world_event){ .fn = establish, .arg = c };
	world_schedule(&c->establish, 1000 + world_below(200000));
	return 0;
}

void
io_disconnect(struct io *io)
{
	struct conn *c = io->conn;

	if (!c)
		return;
	io->conn = NULL;
	if (!c->end[1].up) /* not accepted yet */
		c->end[1].open = false;
	end_close(&c->end[0], true);
	c->end[0].io = NULL;
}

ssize_t
io_read(struct io *io, void *buf, size_t len)
{
	if (io->killed || !io->conn)
		return -EIO;
	return take(&io->conn->end[0], buf, len);
}

ssize_t
io_writev(struct io *io, const struct iovec *iov, int n)
{
	ssize_t r;

	if (io->killed || !io->conn)
		return -EIO;
	r = give(&io->conn->end[0], iov, n);
	return r == 0 ? -EAGAIN : r;
}

void
io_want_write(struct io *io, bool on)
{
	io->want_write = on;
	if (on && io->conn) {
		struct end *e = &io->conn->end[0];

		if (!e->short_write)
			world_schedule(&e->readable, 1000);
	}
}

void
io_timer(struct io *io, uint64_t ms)
{
	io->timer_fired = false;
	if (ms == UINT64_MAX)
		world_cancel(&io->timer);
	else
		world_schedule(&io->timer, ms * 1000000);
}

uint64_t
io_now(const struct io *io)
{
	(void)io;
	return world_ms();
}

int
io_wait(struct io *io, int timeout_ms)
{
	uint64_t until = timeout_ms < 0 ? UINT64_MAX - 1 : world_now() + (uint64_t)timeout_ms * 1000000;

	/* The rest of the world goes on meanwhile. */
	while (!io->is_ready && !io->killed)
		if (!world_step(until))
			break;
	if (io->killed)
		return -EIO;
	if (!io->is_ready)
		return 0;
	io->is_ready = io->timer_fired = false;
	return 1;
}

void
io_random(struct io *io, void *buf, size_t len)
{
	(void)io;
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)(world_random() >> 24);
}

void
sim_io_kill(struct io *io)
{
	struct conn *c = io->conn;

	io->killed = true;
	world_cancel(&io->timer);
	world_cancel(&io->ready);
	if (!c)
		return;
	io->conn = NULL;
	if (!c->end[1].up)
		c->end[1].open = false;
	end_close(&c->end[0], world_chance(50));
	c->end[0].io = NULL;
}

/* ------------------------------------------------------------------ faults -- */

static bool
is_up(const struct conn *c, bool links)
{
	return c->link == links && !c->dead && !c->frozen && c->end[0].open && c->end[1].open && c->end[0].up;
}

static struct conn *
nth(bool links, size_t i)
{
	LIST_FOREACH (n, &net.conns)
		if (is_up(list_entry(n, struct conn, node), links) && i-- == 0)
			return list_entry(n, struct conn, node);
	return NULL;
}

size_t
sim_net_count(bool links)
{
	size_t n = 0;

	while (nth(links, n))
		n++;
	return n;
}

static void
cut(struct conn *c)
{
	c->dead = true;
	for (int i = 0; i < 2; i++) {
		struct end *e = &c->end[i];

		e->len = e->here + world_below(e->len - e->here + 1);
		e->here = e->len;
		e->error = -ECONNRESET;
		if (!e->open)
			continue;
		if (e->here > 0)
			world_schedule(&e->readable, world_below(1000000));
		world_schedule(&e->down, 2000000 + world_below(300000000));
	}
}

void
sim_net_cut(bool links, size_t i)
{
	struct conn *c = nth(links, i);

	if (c)
		cut(c);
}

void
sim_net_freeze(bool links, size_t i)
{
	struct conn *c = nth(links, i);

	if (c)
		c->frozen = true;
}

void
sim_net_vanish(struct loop *l)
{
	LIST_FOREACH (n, &net.conns) {
		struct conn *c = list_entry(n, struct conn, node);

		if (c->link && (c->end[0].loop == l || c->end[1].loop == l))
			c->frozen = true;
	}
}

void
sim_net_partition(uint64_t until_ns)
{
	net.partition_until = until_ns;
}

void
sim_net_slow(uint64_t max_ns)
{
	net.slow_ns = max_ns;
}

void
sim_net_heal(void)
{
	net.partition_until = net.slow_ns = 0;
	LIST_FOREACH (n, &net.conns) {
		struct conn *c = list_entry(n, struct conn, node);

		if (c->frozen)
			cut(c);
	}
}

void
sim_net_reset(void)
{
	struct list *n;

	if (!net.started) {
		list_init(&net.conns);
		list_init(&net.listeners);
		net.started = true;
	}
	while ((n = list_first(&net.conns)) != NULL)
		conn_free(list_entry(n, struct conn, node));
	while ((n = list_first(&net.listeners)) != NULL)
		net_listen_close(&list_entry(n, struct listener, node)->tl);
	net.partition_until = net.slow_ns = 0;
	reaper = (struct world_event){ .fn = reap };
}
