#include "crowd.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"
#include "raw.h"
#include "tls.h"

#define IN_BYTES 32768
#define PLAIN_BYTES 65536
#define STRANGERS 600 /* connections that they hold; then the oldest ends */
#define BACKOFF_MS 100
#define BACKOFF_MAX_MS 2000

/* One connection with TLS. */
struct stream {
	int fd; /* -1: none */
	struct tls *tls;
	bool is_ready;
	size_t in_len;
	uint8_t *in; /* IN_BYTES */
};

struct one {
	struct stream s;
	unsigned i;
	char name[16];
	bool is_up;
	uint64_t dial_at_ms, backoff_ms;
	size_t plain_len;
	uint8_t *plain; /* PLAIN_BYTES */
};

static uint64_t
clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static bool
anyone(void *arg, const struct tls_peer *peer, char why[static TLS_TEXT_MAX])
{
	(void)arg, (void)peer, (void)why;
	return true;
}

static void
more_descriptors(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max;
		(void)!setrlimit(RLIMIT_NOFILE, &rl);
	}
}

/* ----------------------------------------------------------------- streams -- */

/* From a loopback address of our choice. -1: not now. */
static int
dial(uint32_t from, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(from) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		goto fail;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.sin_port = htons((uint16_t)port);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 || errno == EINPROGRESS)
		return fd;
fail:
	close(fd);
	return -1;
}

static void
stream_end(struct stream *s)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	if (s->fd < 0)
		return;
	setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(s->fd);
	tls_free(s->tls);
	*s = (struct stream){ .fd = -1, .in = s->in };
}

static void
watch(int epoll, struct stream *s, uint32_t events, void *ptr, int how)
{
	struct epoll_event ev = { .events = events, .data.ptr = ptr };

	epoll_ctl(epoll, how, s->fd, &ev);
}

/* What is sealed goes out. Little is said here: what a socket does not take at once is an end. */
static bool
flush(struct stream *s)
{
	size_t len;
	const uint8_t *out = tls_out(s->tls, &len);

	if (len == 0)
		return true;
	if (send(s->fd, out, len, MSG_NOSIGNAL) != (ssize_t)len)
		return false;
	tls_sent(s->tls, len);
	return true;
}

static void
eat(struct stream *s, size_t used)
{
	memmove(s->in, s->in + used, s->in_len - used);
	s->in_len -= used;
}

/* False: it is over. Ready or not, it has gone on. */
static bool
shake(struct stream *s)
{
	size_t used;
	enum tls_result r = tls_feed(s->tls, s->in, s->in_len, &used);

	eat(s, used);
	s->is_ready = r == TLS_READY;
	return flush(s) && (r == TLS_READY || r == TLS_MORE);
}

static bool
fill(struct stream *s)
{
	ssize_t n = recv(s->fd, s->in + s->in_len, IN_BYTES - s->in_len, 0);

	if (n > 0)
		s->in_len += (size_t)n;
	return n > 0 || (n < 0 && errno == EAGAIN);
}

/* ------------------------------------------------------------------- nodes -- */

struct nodes {
	struct crowd *c;
	const char *to;
	int port, epoll;
	struct one *all;
	unsigned cuts;
};

static bool
say(struct one *o, const struct wire_frame *f)
{
	uint8_t buf[4096];
	struct iovec iov = { buf, wire_pack(f, buf) };

	return tls_seal(o->s.tls, &iov, 1, 0) == (ssize_t)iov.iov_len && flush(&o->s);
}

static bool
heard(struct nodes *ns, struct one *o, struct wire_frame *f)
{
	switch (f->kind) {
	case WIRE_KNOWN:
		return say(o, &(struct wire_frame){ .kind = WIRE_KNOWN });
	case WIRE_ACCEPT:
		o->is_up = true;
		o->backoff_ms = BACKOFF_MS;
		atomic_fetch_add(&ns->c->shared->up, 1);
		return true;
	case WIRE_PING:
		f->kind = WIRE_PONG;
		return say(o, f);
	case WIRE_CLOSE:
		return false;
	default:
		return true;
	}
}

static bool
take_frames(struct nodes *ns, struct one *o)
{
	struct frame fr;
	struct wire_frame f;

	while (frame_decode(o->plain, o->plain_len, WIRE_FRAME_MAX, &fr) == 1) {
		if (wire_unpack(fr.data, fr.len, &f) != 0 || !heard(ns, o, &f))
			return false;
		memmove(o->plain, o->plain + fr.used, o->plain_len - fr.used);
		o->plain_len -= fr.used;
	}
	return true;
}

static bool
take_plain(struct nodes *ns, struct one *o)
{
	for (;;) {
		uint8_t *plain;
		size_t used, len;
		enum tls_result r = tls_open(o->s.tls, o->s.in, o->s.in_len, &used, &plain, &len);

		if (r == TLS_MORE)
			return take_frames(ns, o);
		if (r != TLS_READY || o->plain_len + len > PLAIN_BYTES)
			return false;
		memcpy(o->plain + o->plain_len, plain, len);
		o->plain_len += len;
		eat(&o->s, used);
	}
}

static bool
goes_on(struct nodes *ns, struct one *o)
{
	struct wire_frame hello;

	if (!fill(&o->s))
		return false;
	if (!o->s.is_ready) {
		if (!shake(&o->s))
			return false;
		if (!o->s.is_ready)
			return true;
		atomic_fetch_add(&ns->c->shared->handshakes, 1);
		hello = raw_hello_peer(o->name, ns->to);
		if (!say(o, &hello))
			return false;
	}
	return take_plain(ns, o);
}

static void
ended(struct nodes *ns, struct one *o)
{
	stream_end(&o->s);
	o->plain_len = 0;
	if (o->is_up)
		atomic_fetch_sub(&ns->c->shared->up, 1);
	o->is_up = false;
	o->dial_at_ms = clock_ms() + o->backoff_ms / 2 + (uint64_t)rand() % o->backoff_ms;
	o->backoff_ms = 2 * o->backoff_ms < BACKOFF_MAX_MS ? 2 * o->backoff_ms : BACKOFF_MAX_MS;
}

static void
begin(struct nodes *ns, struct one *o)
{
	o->s.fd = dial(0x7f010001 + (o->i / 250 << 8) + o->i % 250, ns->port);
	o->s.tls = tls_new(ns->c->keys[o->i], true, anyone, NULL);
	atomic_fetch_add(&ns->c->shared->dials, 1);
	if (o->s.fd < 0 || !o->s.tls) {
		ended(ns, o);
		return;
	}
	watch(ns->epoll, &o->s, EPOLLOUT, o, EPOLL_CTL_ADD);
}

static void
cut_all(struct nodes *ns)
{
	for (unsigned i = 0; i < ns->c->n; i++) {
		struct one *o = &ns->all[i];

		if (o->s.fd >= 0)
			ended(ns, o);
		o->dial_at_ms = 0;
		o->backoff_ms = BACKOFF_MS;
	}
}

static void
be_nodes(struct nodes *ns)
{
	struct epoll_event ev[64];

	for (;;) {
		uint64_t now = clock_ms();
		int n;

		if (ns->cuts != atomic_load(&ns->c->shared->cuts)) {
			ns->cuts = atomic_load(&ns->c->shared->cuts);
			cut_all(ns);
		}
		for (unsigned i = 0; i < ns->c->n; i++)
			if (ns->all[i].s.fd < 0 && ns->all[i].dial_at_ms <= now)
				begin(ns, &ns->all[i]);
		n = epoll_wait(ns->epoll, ev, 64, 10);
		for (int i = 0; i < n; i++) {
			struct one *o = ev[i].data.ptr;

			if (ev[i].events & EPOLLOUT) {
				watch(ns->epoll, &o->s, EPOLLIN, o, EPOLL_CTL_MOD);
				if (!shake(&o->s))
					ended(ns, o);
			} else if (!goes_on(ns, o)) {
				ended(ns, o);
			}
		}
	}
}

/* --------------------------------------------------------------- strangers -- */

struct strangers {
	struct crowd_shared *shared;
	struct tls_context *key;
	uint8_t hello[4096]; /* the beginning of a handshake, said again and again */
	size_t hello_len;
	int port, epoll;
	struct stream all[STRANGERS];
	unsigned next;
};

static void
knock(struct strangers *st)
{
	struct stream *s = &st->all[st->next++ % STRANGERS];
	unsigned kind = (unsigned)rand() % 100;

	stream_end(s);
	s->fd = dial(0x7f400001 + (uint32_t)rand() % 0x3ffffe, st->port);
	if (s->fd < 0)
		return;
	atomic_fetch_add(&st->shared->knocks, 1);
	if (kind >= 85)
		s->tls = tls_new(st->key, true, anyone, NULL);
	watch(st->epoll, s, kind >= 50 ? EPOLLOUT | EPOLLIN : EPOLLIN, s, EPOLL_CTL_ADD);
}

static void
stranger_goes_on(struct strangers *st, struct stream *s, uint32_t events)
{
	bool goes = true;

	if (events & EPOLLOUT) {
		watch(st->epoll, s, EPOLLIN, s, EPOLL_CTL_MOD);
		goes = s->tls ? shake(s) : send(s->fd, st->hello, st->hello_len, MSG_NOSIGNAL) > 0;
	} else if (s->tls) {
		goes = fill(s) && shake(s);
	} else {
		uint8_t buf[8192];
		ssize_t n = recv(s->fd, buf, sizeof(buf), 0);

		goes = n > 0 || (n < 0 && errno == EAGAIN);
	}
	if (goes)
		return;
	atomic_fetch_add(&st->shared->turned, 1);
	stream_end(s);
}

static void
be_strangers(struct strangers *st, unsigned a_second)
{
	uint64_t start = clock_ms(), knocks = 0;
	struct epoll_event ev[64];

	for (;;) {
		int n;

		for (; knocks * 1000 < (clock_ms() - start) * a_second; knocks++)
			knock(st);
		n = epoll_wait(st->epoll, ev, 64, 2);
		for (int i = 0; i < n; i++) {
			struct stream *s = ev[i].data.ptr;

			if (s->fd >= 0)
				stranger_goes_on(st, s, ev[i].events);
		}
	}
}

/* --------------------------------------------------------------- processes -- */

static struct tls_context *
new_key(const char *name)
{
	struct tls_made made;
	struct tls_context *ret;
	char why[TLS_TEXT_MAX];

	ck_assert_msg(tls_make_identity(name, why, &made) == 0, "%s", why);
	ck_assert_msg(tls_context_new(&(struct tls_material){ .key = { made.key, strlen(made.key) },
	    .certificate = { made.certificate, strlen(made.certificate) } }, why, &ret) == 0, "%s", why);
	return ret;
}

void
crowd_init(struct crowd *c, unsigned n)
{
	char name[16];

	*c = (struct crowd){ .n = n };
	c->shared = mmap(NULL, sizeof(*c->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(c->shared != MAP_FAILED);
	c->keys = calloc(n, sizeof(struct tls_context *));
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "node-%u", i);
		c->keys[i] = new_key(name);
	}
}

char *
crowd_sections(const struct crowd *c, const char *keys)
{
	char *text = NULL, pin[PIN_TEXT_MAX];
	size_t size;
	FILE *f = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(f);
	for (unsigned i = 0; i < c->n; i++)
		fprintf(f, "[peer \"node-%u\"]\nfingerprint = %s\n%s", i, pin_text(tls_context_own(c->keys[i])->key, pin), keys);
	ck_assert_int_eq(fclose(f), 0);
	return text;
}

/* In the child: 0. */
static pid_t
become(pid_t *ret)
{
	*ret = fork();
	ck_assert_int_ge(*ret, 0);
	if (*ret == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* They stand for other hosts, which would not want our CPUs. */
		(void)!nice(15);
		more_descriptors();
		srand((unsigned)getpid());
	}
	return *ret;
}

void
crowd_start(struct crowd *c, const char *to, int port)
{
	struct nodes ns = { .c = c, .to = to, .port = port };

	if (become(&c->nodes) != 0)
		return;
	ns.epoll = epoll_create1(EPOLL_CLOEXEC);
	ns.all = calloc(c->n, sizeof(*ns.all));
	for (unsigned i = 0; i < c->n; i++) {
		struct one *o = &ns.all[i];

		*o = (struct one){ .i = i, .backoff_ms = BACKOFF_MS, .s = { .fd = -1, .in = malloc(IN_BYTES) }, .plain = malloc(PLAIN_BYTES) };
		snprintf(o->name, sizeof(o->name), "node-%u", i);
	}
	be_nodes(&ns);
}

void
crowd_knock(struct crowd *c, int port, unsigned a_second)
{
	struct strangers st = { .shared = c->shared, .port = port };
	struct tls *tls;
	size_t used;
	const uint8_t *out;

	if (become(&c->strangers) != 0)
		return;
	st.key = new_key("nobody");
	st.epoll = epoll_create1(EPOLL_CLOEXEC);
	tls = tls_new(st.key, true, anyone, NULL);
	tls_feed(tls, NULL, 0, &used);
	out = tls_out(tls, &st.hello_len);
	memcpy(st.hello, out, st.hello_len);
	tls_free(tls);
	for (unsigned i = 0; i < STRANGERS; i++)
		st.all[i] = (struct stream){ .fd = -1, .in = malloc(IN_BYTES) };
	be_strangers(&st, a_second);
}

static void
end(pid_t *pid)
{
	if (*pid == 0)
		return;
	kill(*pid, SIGKILL);
	waitpid(*pid, NULL, 0);
	*pid = 0;
}

void
crowd_quiet(struct crowd *c)
{
	end(&c->strangers);
}

void
crowd_done(struct crowd *c)
{
	end(&c->strangers);
	end(&c->nodes);
	for (unsigned i = 0; i < c->n; i++)
		tls_context_unref(c->keys[i]);
	free(c->keys);
	munmap(c->shared, sizeof(*c->shared));
}
