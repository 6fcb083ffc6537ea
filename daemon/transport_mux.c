/* transport_mux: see transport_mux.h. */
#include "transport_mux.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "udp.h"

#define SECOND_MS 1000

/* Until there is another. */
static const struct transport_tuning usual = { .mtu = 1200, .buffer = 1024 * 1024, .heartbeat_ms = 30000, .rto_min_ms = 50,
	.rto_max_ms = 10000, .retransmissions = 10, .answers = 1000 };

struct mux {
	struct loop *loop;
	const struct mux_kind *kind;
	struct udp *udp;
	struct transport_tuning tuning;
	size_t refs;
	void *listener; /* NULL: strangers are not heard */
	bool paused;
	struct list deaf;      /* without a listener, in its loop's */
	struct mux_node *only; /* the one that was dialled */
	struct hmap nodes;     /* or those who came */
	uint64_t seed;
	uint64_t answers_ms; /* since when strangers are counted, and how many got an answer */
	unsigned answers;
};

/* Per loop. */
struct shared {
	struct loop_attached attached;
	struct transport_tuning tuning;
	struct list deaf; /* struct mux.deaf */
};

static const char shared_key;

/* ---------------------------------------------------------------- of the loop */

static void
free_shared(struct loop_attached *a)
{
	struct shared *sh = list_entry(a, struct shared, attached);

	LIST_FOREACH_SAFE (n, &sh->deaf)
		list_remove(n);
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
	sh->tuning = usual;
	list_init(&sh->deaf);
	loop_attach(l, &sh->attached, &shared_key, free_shared);
	return sh;
}

int
mux_tune(struct loop *l, const struct transport_tuning *tuning)
{
	struct shared *sh = shared_of(l);

	if (!sh)
		return -ENOMEM;
	sh->tuning = *tuning;
	return 0;
}

/* -------------------------------------------------------------- who it is from */

static bool
same_address(const union resolve_address *a, const union resolve_address *b)
{
	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	if (a->sa.sa_family == AF_INET)
		return a->v4.sin_port == b->v4.sin_port && a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	return a->v6.sin6_port == b->v6.sin6_port && a->v6.sin6_scope_id == b->v6.sin6_scope_id &&
	    memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, 16) == 0;
}

static uint64_t
far_hash(const struct mux *m, const struct mux_far *f)
{
	struct {
		uint8_t ip[16];
		uint32_t scope;
		uint16_t family, udp, port, zero;
	} key;

	memset(&key, 0, sizeof(key));
	key.family = f->address.sa.sa_family;
	key.port = f->port;
	if (key.family == AF_INET) {
		memcpy(key.ip, &f->address.v4.sin_addr, 4);
		key.udp = f->address.v4.sin_port;
	} else {
		memcpy(key.ip, &f->address.v6.sin6_addr, 16);
		key.scope = f->address.v6.sin6_scope_id;
		key.udp = f->address.v6.sin6_port;
	}
	return hmap_hash(&key, sizeof(key), m->seed);
}

struct mux_node *
mux_find(const struct mux *m, const struct mux_far *f, uint64_t hash)
{
	for (struct hmap_node *n = m->nodes.n > 0 ? hmap_find(&m->nodes, hash) : NULL; n; n = hmap_find_next(n)) {
		struct mux_node *node = hmap_entry(n, struct mux_node, by_far);

		if (node->far.port == f->port && same_address(&node->far.address, &f->address))
			return node;
	}
	return NULL;
}

static void
input(void *arg, const union resolve_address *from, uint8_t *data, size_t len)
{
	struct mux *m = arg;
	struct mux_far f = { .address = *from };
	struct mux_node *n = m->only;
	uint64_t hash = 0;

	if (!m->kind->sort(data, len, &f.port))
		return;
	if (!n) {
		hash = far_hash(m, &f);
		n = mux_find(m, &f, hash);
	}
	if (n)
		m->kind->input(n, data, len);
	else if (m->listener && !m->paused)
		m->kind->stranger(m, m->listener, &f, hash, data, len);
}

void
mux_again(struct mux_node *n, uint8_t *data, size_t len)
{
	struct mux *m = n->mux;

	if (m->listener && !m->paused)
		m->kind->stranger(m, m->listener, &n->far, n->by_far.hash, data, len);
}

static void
unreachable(void *arg, int error)
{
	struct mux *m = arg;

	m->kind->unreachable(m->only, error);
}

static const struct udp_events udp_events = { .input = input, .failed = unreachable };

/* Each answer is work done for nobody knows whom, and may be sent to somebody who did not ask. */
bool
mux_may_answer(struct mux *m)
{
	uint64_t now = loop_now_ms(m->loop);

	if (now - m->answers_ms >= SECOND_MS) {
		m->answers_ms = now;
		m->answers = 0;
	}
	if (m->answers >= m->tuning.answers)
		return false;
	m->answers++;
	return true;
}

/* ---------------------------------------------------------------- come and go */

static struct mux *
mux_new(struct loop *l, const struct mux_kind *kind)
{
	struct shared *sh = shared_of(l);
	struct mux *m = sh ? calloc(1, sizeof(*m)) : NULL;

	if (!m)
		return NULL;
	m->loop = l;
	m->kind = kind;
	m->refs = 1;
	m->tuning = sh->tuning;
	list_init(&m->deaf);
	hmap_init(&m->nodes);
	loop_random(l, &m->seed, sizeof(m->seed));
	return m;
}

static void
mux_unref(struct mux *m)
{
	if (--m->refs > 0)
		return;
	if (m->udp)
		udp_close(m->udp);
	list_remove(&m->deaf);
	hmap_done(&m->nodes);
	free(m);
}

int
mux_dial(struct loop *l, const struct mux_kind *kind, const union resolve_address *far, struct mux_node *n)
{
	struct mux *m = mux_new(l, kind);
	int r;

	if (!m)
		return -ENOMEM;
	m->only = n;
	r = udp_connect(l, far, &udp_events, m, &m->udp);
	if (r < 0) {
		mux_unref(m);
		return r;
	}
	n->mux = m;
	n->far = (struct mux_far){ .address = *far };
	return 0;
}

/* One that had a listener on this address, and still has streams: it cannot be bound twice. */
static struct mux *
find_deaf(struct loop *l, const struct mux_kind *kind, const union resolve_address *a)
{
	struct shared *sh = shared_of(l);

	if (!sh)
		return NULL;
	LIST_FOREACH (n, &sh->deaf) {
		struct mux *m = list_entry(n, struct mux, deaf);
		union resolve_address local;

		if (m->kind != kind || !udp_local(m->udp, &local) || !same_address(&local, a))
			continue;
		m->refs++;
		m->tuning = sh->tuning;
		m->paused = false;
		list_remove(&m->deaf);
		return m;
	}
	return NULL;
}

int
mux_listen(struct loop *l, const struct mux_kind *kind, const struct names_url *url, int fd, void *listener, struct mux **ret)
{
	union resolve_address a;
	struct mux *m;
	int r = fd >= 0 ? 0 : resolve_numeric(url->host, url->port, &a);

	if (r < 0)
		return r;
	m = fd >= 0 ? NULL : find_deaf(l, kind, &a);
	if (!m) {
		m = mux_new(l, kind);
		if (!m)
			return -ENOMEM;
		r = udp_bind(l, &a, fd, &udp_events, m, &m->udp);
		if (r < 0) {
			mux_unref(m);
			return r;
		}
	}
	m->listener = listener;
	*ret = m;
	return 0;
}

void
mux_end(struct mux *m)
{
	struct loop_attached *a = loop_attached(m->loop, &shared_key);

	m->listener = NULL;
	if (a)
		list_append(&list_entry(a, struct shared, attached)->deaf, &m->deaf);
	mux_unref(m);
}

int
mux_enter(struct mux *m, struct mux_node *n, const struct mux_far *far, uint64_t hash)
{
	int r = hmap_add(&m->nodes, &n->by_far, hash);

	if (r < 0)
		return r;
	n->mux = m;
	n->far = *far;
	m->refs++;
	return 0;
}

void
mux_leave(struct mux_node *n)
{
	struct mux *m = n->mux;

	if (!m)
		return;
	if (m->only != n)
		hmap_remove(&m->nodes, &n->by_far);
	n->mux = NULL;
	mux_unref(m);
}

void
mux_send(struct mux *m, const union resolve_address *to, const void *data, size_t len)
{
	udp_send(m->udp, to, data, len);
}

void
mux_pause(struct mux *m, bool paused)
{
	m->paused = paused;
}

void
mux_retune(struct mux *m, const struct transport_tuning *tuning)
{
	m->tuning = *tuning;
}

const struct transport_tuning *
mux_tuning(const struct mux *m)
{
	return &m->tuning;
}

struct loop *
mux_loop(const struct mux *m)
{
	return m->loop;
}

bool
mux_local(const struct mux *m, union resolve_address *ret)
{
	return udp_local(m->udp, ret);
}
