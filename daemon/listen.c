#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "identity.h"
#include "listen_internal.h"
#include "names.h"

/* A connection that has not said who it is. */
struct stranger {
	struct list node;
	struct hmap_node by_address;
	struct gate_guest guest;
	struct listen *listen;
	const struct port *port; /* NULL: it was closed since */
	struct session *session;
	bool v6;
	bool told; /* why it is refused */
	bool is_outdated; /* what it showed may have been judged by other settings */
	uint8_t ip[16];
};

/* --------------------------------------------------------------- counting -- */

/* Anyone can make us write these lines: not more than the log can bear. */
static void
log_stranger(struct listen *ls, const char *address, const char *text)
{
	struct core *core = ls->env.core;
	uint64_t untold;
	bool may = log_window_open(&ls->told, loop_now_ms(core->loop), &untold);

	if (untold > 0)
		log_warning(core->log, NULL, "%llu more connections came to nothing", (unsigned long long)untold);
	if (may)
		log_warning(core->log, address, "%s", text);
}

static void
count(struct listen *ls, enum wire_close_code code)
{
	ls->env.core->closed[CORE_CLOSED_STRANGER][code]++;
}

static uint64_t
address_hash(const struct listen *ls, bool v6, const uint8_t ip[static 16])
{
	return hmap_hash(ip, v6 ? 16 : 4, ls->seed + v6);
}

/* Strangers from one address: bounded by max_pending_per_address. */
static uint64_t
count_address(const struct listen *ls, bool v6, const uint8_t ip[static 16])
{
	uint64_t n = 0;

	for (struct hmap_node *h = hmap_find(&ls->by_address, address_hash(ls, v6, ip)); h; h = hmap_find_next(h)) {
		const struct stranger *st = hmap_entry(h, struct stranger, by_address);

		n += st->v6 == v6 && memcmp(st->ip, ip, v6 ? 16 : 4) == 0;
	}
	return n;
}

void
listen_pending(const struct listen *ls, uint64_t *ret_all, uint64_t *ret_per_address)
{
	*ret_all = ls->n_strangers;
	*ret_per_address = 0;
	LIST_FOREACH (n, &ls->strangers) {
		const struct stranger *st = list_entry(n, struct stranger, node);
		uint64_t same = count_address(ls, st->v6, st->ip);

		if (same > *ret_per_address)
			*ret_per_address = same;
	}
}

void
listen_used(const struct listen *ls, uint64_t *ret_strangers, uint64_t *ret_handshake_ms)
{
	gate_used(ls->gate, ret_handshake_ms, ret_strangers);
}

/* -------------------------------------------------------------- strangers -- */

/* The session is somebody else's, or gone. */
static void
stranger_free(struct stranger *st)
{
	struct listen *ls = st->listen;

	list_remove(&st->node);
	hmap_remove(&ls->by_address, &st->by_address);
	gate_leave(ls->gate, &st->guest);
	ls->n_strangers--;
	free(st);
}

/* The name in a Hello; "" if it is no node's. */
static const char *
hello_name(const struct wire_hello *h, char buf[static NAMES_NODE_MAX + 1])
{
	buf[0] = '\0';
	if (names_node_ok((const char *)h->name.data, h->name.len)) {
		memcpy(buf, h->name.data, h->name.len);
		buf[h->name.len] = '\0';
	}
	return buf;
}

/*
 * Is what it showed good enough by the settings of today? They may have come
 * between its handshake and its Hello, for which it may take its time.
 */
static bool
holds_still(const struct stranger *st, char why[static TRANSPORT_TEXT_MAX])
{
	struct transport_security security;

	return !st->is_outdated || session_recheck(st->session, listen_security(st->listen->env.core, &security), why);
}

/*
 * May it be the peer it says it is, and come this way? NORMAL, or the code to
 * refuse it with, the reason for the other side, and in why for this one.
 */
static enum wire_close_code
judge(const struct stranger *st, const struct wire_hello *h, const char *name, const char **ret_reason,
    char why[static TRANSPORT_TEXT_MAX])
{
	const struct core *core = st->listen->env.core;
	const struct transport_identity *id = session_identity(st->session);
	const struct conf_peer *peer = name[0] ? conf_peer_find(core->conf, name) : NULL;

	why[0] = '\0';

	if (h->role != WIRE_ROLE_PEER) {
		*ret_reason = "this listener is for other nodes";
		return WIRE_CLOSE_PROTOCOL;
	}
	if (!wire_bytes_equal(h->dialled, wire_string(core->node->name))) {
		*ret_reason = "this is another node than the one dialled";
		return WIRE_CLOSE_WRONG_NAME;
	}
	if (!peer) {
		*ret_reason = "not known here";
		return WIRE_CLOSE_WRONG_NAME;
	}
	*ret_reason = "plaintext is not allowed here for this peer";
	if (!id->tls.has_certificate && !(st->port && st->port->plaintext))
		return WIRE_CLOSE_DENIED;
	if (id->tls.has_certificate)
		*ret_reason = "the certificate is not that of the node it says it is";
	if (!holds_still(st, why) || !identity_is_peer(peer, core->node->ca != NULL, name, id, why))
		return WIRE_CLOSE_DENIED;
	*ret_reason = "this peer may not come from this address";
	return identity_may_come_from(peer, id) ? WIRE_CLOSE_NORMAL : WIRE_CLOSE_DENIED;
}

/* For the log, for `events`, and, if it may have been a peer, for what is shown of that. */
static void
tell_refused(struct stranger *st, const char *name, enum wire_close_code code, const char *why)
{
	struct listen *ls = st->listen;
	struct core *core = ls->env.core;
	const char *address = session_identity(st->session)->address;
	const struct conf_peer *peer = name[0] ? conf_peer_find(core->conf, name) : NULL;
	struct link *l;
	char text[400];

	st->told = true;
	snprintf(text, sizeof(text), "refused: %s (as %s): %s", wire_close_name(code), name[0] ? name : "nobody", why);
	log_stranger(ls, address, text);
	snprintf(text, sizeof(text), "refused %s: %s", address, why);
	if (core->event)
		core->event(core->event_arg, "peer", name, "refused", text);
	/* Not for a name of a family that nobody has proven: that would cost memory. */
	l = peer && !conf_peer_is_family(peer) ? ls->env.find(ls->env.arg, name) : NULL;
	if (l)
		link_note_refused(l, text);
}

static void
refuse(struct stranger *st, const char *name, enum wire_close_code code, const char *reason, const char *why)
{
	tell_refused(st, name, code, why[0] ? why : reason);
	session_close(st->session, code, reason);
}

static void
hello(void *arg, const struct wire_hello *h)
{
	struct stranger *st = arg;
	struct listen *ls = st->listen;
	struct session *s = st->session;
	char name[NAMES_NODE_MAX + 1], why[TRANSPORT_TEXT_MAX];
	const char *reason;
	enum wire_close_code code = judge(st, h, hello_name(h, name), &reason, why);
	struct link *l;

	if (code != WIRE_CLOSE_NORMAL) {
		refuse(st, name, code, reason, why);
		return;
	}
	l = ls->env.find(ls->env.arg, name);
	if (!l) { /* of a family, and there is no memory for it */
		session_close(s, WIRE_CLOSE_INTERNAL, "out of memory");
		return;
	}
	gate_proven(ls->gate, name, gate_from(st->v6, st->ip));
	stranger_free(st);
	link_accept(l, s, h);
}

static void
frame(void *arg, const struct wire_frame *f)
{
	struct stranger *st = arg;

	(void)f;
	session_close(st->session, WIRE_CLOSE_PROTOCOL, "a frame before the greeting was over");
}

/* Whom its certificate names, proven or not. */
static const char *
claimed_name(const struct transport_identity *id)
{
	return id->tls.certificate.n_names > 0 ? id->tls.certificate.names[0] : "";
}

/* The dialler does not want this node: who it is it has not said. */
static void
tell_unwanted(struct stranger *st, const char *why)
{
	struct core *core = st->listen->env.core;
	const char *address = session_identity(st->session)->address;
	char text[400];

	log_stranger(st->listen, address, why);
	snprintf(text, sizeof(text), "by %s: %s", address, why);
	if (core->event)
		core->event(core->event_arg, "peer", "", "refused", text);
}

/* A connection ended that nobody here had judged: what is worth a line? Not who only knocks. */
static void
tell_ended(struct stranger *st, enum wire_close_code code, const char *why)
{
	char text[400];

	count(st->listen, code);
	if (st->told)
		return;
	snprintf(text, sizeof(text), "refused: %s: %s", wire_close_name(code), why);
	log_stranger(st->listen, session_identity(st->session)->address, text);
}

static void
down(void *arg, enum wire_close_code code, bool by_peer, int error, const char *reason)
{
	struct stranger *st = arg;
	struct listen *ls = st->listen;
	bool by_transport = code == WIRE_CLOSE_NORMAL && !by_peer;

	/* The handshake has found out that it is nobody. */
	if (by_transport && error == -EACCES) {
		count(ls, WIRE_CLOSE_DENIED);
		tell_refused(st, claimed_name(session_identity(st->session)), WIRE_CLOSE_DENIED, reason);
	} else if (by_transport && error == -EKEYREJECTED)
		tell_unwanted(st, reason);
	else if (by_transport && error == -EPROTO)
		tell_ended(st, WIRE_CLOSE_PROTOCOL, reason);
	else if (by_transport && error == -ETIMEDOUT)
		tell_ended(st, WIRE_CLOSE_TIMEOUT, reason);
	else if (!by_peer && code != WIRE_CLOSE_NORMAL && code != WIRE_CLOSE_SHUTDOWN)
		tell_ended(st, code, reason);
	log_debug(ls->env.core->log, session_identity(st->session)->address, "closed (%s): %s", wire_close_name(code), reason);
	session_free(st->session);
	stranger_free(st);
}

static bool
may_shake(void *arg)
{
	struct stranger *st = arg;

	return gate_may_shake(st->listen->gate, &st->guest);
}

static void
shaken(void *arg, uint64_t ns)
{
	struct stranger *st = arg;

	gate_shaken(st->listen->gate, &st->guest, ns);
}

static struct stranger *
of_guest(struct gate_guest *g)
{
	return list_entry(g, struct stranger, guest);
}

static void
go_on(struct gate_guest *g)
{
	session_shake(of_guest(g)->session);
}

/* Our Hello is the link's to send, and nothing is sent for which there could be too little room. */
static const struct session_events events = { .hello = hello, .frame = frame, .down = down, .may_shake = may_shake, .shaken = shaken };

/* --------------------------------------------------------------- accepting -- */

/* Not a byte is spent on it. */
static void
refuse_at_once(struct listen *ls, struct transport *t, const char *address, const char *limit)
{
	char text[80];

	snprintf(text, sizeof(text), "refused: %s is reached", limit);
	count(ls, WIRE_CLOSE_LIMIT);
	log_stranger(ls, address, text);
	t->ops->close(t, false);
}

/* Somebody more likely to be a peer has come. */
static void
send_away(struct stranger *st)
{
	struct listen *ls = st->listen;

	count(ls, WIRE_CLOSE_LIMIT);
	log_stranger(ls, session_identity(st->session)->address, "refused: its place was given to a known address");
	session_free(st->session);
	stranger_free(st);
}

/* The limit that it meets, or NULL, and whose place it gets then. */
static const char *
limit_met(struct listen *ls, const struct transport_identity *id, bool shakes, enum gate_rank rank, struct stranger **ret_instead)
{
	const struct conf_node *node = ls->env.core->node;
	struct gate_guest *least = gate_gives_way(ls->gate, rank);
	const char *limit = NULL;

	*ret_instead = NULL;
	if (count_address(ls, id->v6, id->ip) >= node->max_pending_per_address)
		return "max_pending_per_address";
	if (ls->n_strangers >= node->max_pending)
		limit = "max_pending";
	else if (ls->n_strangers + ls->env.connected(ls->env.arg) >= node->max_connections)
		limit = "max_connections";
	if (limit && !least)
		return limit;
	if (limit)
		*ret_instead = of_guest(least);
	return shakes ? gate_refuses(ls->gate, rank, gate_from(id->v6, id->ip)) : NULL;
}

static int
stranger_new(struct port *p, struct transport *t, const struct transport_identity *id, enum gate_rank rank)
{
	struct listen *ls = p->listen;
	struct stranger *st = calloc(1, sizeof(*st));

	if (!st) {
		t->ops->close(t, false);
		return -ENOMEM;
	}
	st->listen = ls;
	st->port = p;
	st->v6 = id->v6;
	memcpy(st->ip, id->ip, sizeof(st->ip));
	st->session = session_new(&ls->env.core->sessions, t, false, &events, st);
	if (!st->session) {
		free(st);
		return -ENOMEM;
	}
	if (hmap_add(&ls->by_address, &st->by_address, address_hash(ls, st->v6, st->ip)) < 0) {
		session_free(st->session);
		free(st);
		return -ENOMEM;
	}
	gate_enter(ls->gate, &st->guest, rank);
	list_append(&ls->strangers, &st->node);
	ls->n_strangers++;
	return 0;
}

void
listen_accept_peer(struct port *p, struct transport *t)
{
	struct listen *ls = p->listen;
	struct transport_identity id;
	struct stranger *instead;
	enum gate_rank rank;
	const char *limit;

	t->ops->identity(t, &id);
	rank = gate_rank(ls->gate, gate_from(id.v6, id.ip));
	limit = limit_met(ls, &id, t->awaits_up, rank, &instead);
	if (limit) {
		refuse_at_once(ls, t, id.address, limit);
		return;
	}
	if (stranger_new(p, t, &id, rank) == 0 && instead)
		send_away(instead);
}

/* ----------------------------------------------------------------- whole -- */

int
listen_new(const struct listen_env *env, struct listen **ret, char why[static LISTEN_WHY_MAX])
{
	struct listen *ls = calloc(1, sizeof(*ls));
	int r;

	if (!ls) {
		snprintf(why, LISTEN_WHY_MAX, "out of memory");
		return -ENOMEM;
	}
	ls->env = *env;
	list_init(&ls->ports);
	list_init(&ls->strangers);
	hmap_init(&ls->by_address);
	loop_random(env->core->loop, &ls->seed, sizeof(ls->seed));
	loop_timer_init(&ls->retry, env->core->loop, listen_retry_ports, ls);
	snprintf(why, LISTEN_WHY_MAX, "out of memory");
	r = gate_new(env->core->loop, env->core->conf, go_on, &ls->gate);
	if (r == 0)
		r = listen_open_ports(ls, why);
	if (r < 0) {
		listen_free(ls);
		return r;
	}
	*ret = ls;
	return 0;
}

void
listen_start(struct listen *ls)
{
	ls->starts = true;
	listen_pause_ports(ls, false);
}

void
listen_stop(struct listen *ls)
{
	listen_close_ports(ls);
	LIST_FOREACH (n, &ls->strangers)
		session_close(list_entry(n, struct stranger, node)->session, WIRE_CLOSE_SHUTDOWN, "the daemon is stopping");
}

void
listen_free(struct listen *ls)
{
	if (!ls)
		return;
	listen_close_ports(ls);
	LIST_FOREACH_SAFE (n, &ls->strangers) {
		struct stranger *st = list_entry(n, struct stranger, node);

		session_free(st->session);
		stranger_free(st);
	}
	hmap_done(&ls->by_address);
	gate_free(ls->gate);
	free(ls);
}

void
listen_port_goes(struct listen *ls, const struct port *p)
{
	LIST_FOREACH (n, &ls->strangers) {
		struct stranger *st = list_entry(n, struct stranger, node);

		if (st->port == p)
			st->port = NULL;
	}
}

void
listen_outdate(struct listen *ls)
{
	LIST_FOREACH (n, &ls->strangers)
		list_entry(n, struct stranger, node)->is_outdated = true;
}

void
listen_each(struct listen *ls, void (*fn)(void *arg, const char *name, const char *url), void *arg)
{
	LIST_FOREACH (n, &ls->ports) {
		struct port *p = list_entry(n, struct port, node);
		char url[TRANSPORT_TEXT_MAX];

		p->tl->ops->listen_url(p->tl, url);
		fn(arg, p->name, url);
	}
}
