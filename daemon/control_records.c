/* control_records: what the daemon knows, as records of admin.proto. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.pb-c.h"
#include "control_internal.h"
#include "control_journal.h"
#include "frame.h"

#define LISTENERS_MAX 128 /* named in a status */

char *
records_string(const char *s)
{
	return (char *)(uintptr_t)s;
}

bool
page_add(struct page *pg, const ProtobufCMessage *m)
{
	uint8_t head[FRAME_HEADER_MAX];
	size_t len = protobuf_c_message_get_packed_size(m), n = frame_header(head, (uint32_t)len);

	if (pg->len > 0 && pg->len + n + len > PAGE_TARGET)
		return false;
	if (pg->len + n + len > PAGE_ROOM)
		return true; /* cannot be shown; no record comes near */
	memcpy(pg->data + pg->len, head, n);
	protobuf_c_message_pack(m, pg->data + pg->len + n);
	pg->len += n + len;
	return true;
}

/* ------------------------------------------------------------------ status -- */

struct listeners {
	char text[LISTENERS_MAX][NAMES_NODE_MAX + 1 + TRANSPORT_TEXT_MAX];
	char *items[LISTENERS_MAX];
	size_t n;
};

static void
add_listener(void *arg, const char *name, const char *url)
{
	struct listeners *ls = arg;

	if (ls->n == LISTENERS_MAX)
		return;
	snprintf(ls->text[ls->n], sizeof(ls->text[0]), "%s %s", name, url);
	ls->items[ls->n] = ls->text[ls->n];
	ls->n++;
}

#define LIMITS_MAX 19

struct limits {
	Connectd__V1__Limit records[LIMITS_MAX];
	Connectd__V1__Limit *items[LIMITS_MAX];
	size_t n;
};

/* Of each message, each user: nothing adds up. */
static Connectd__V1__Limit *
add_limit_of_each(struct limits *l, const char *name, uint64_t max)
{
	Connectd__V1__Limit *r = &l->records[l->n];

	connectd__v1__limit__init(r);
	r->name = records_string(name);
	r->max = max;
	l->items[l->n++] = r;
	return r;
}

static void
add_limit(struct limits *l, const char *name, uint64_t used, uint64_t max)
{
	Connectd__V1__Limit *r = add_limit_of_each(l, name, max);

	r->sum_case = CONNECTD__V1__LIMIT__SUM_USED;
	r->used = used;
}

static void
fill_limits(const struct control_sources *src, struct limits *l)
{
	const struct conf_node *node = src->core->node;
	uint64_t memory, messages, partial;
	struct control_connections connections;
	struct store_stats journal;

	queues_memory(router_queues(src->core->router), &memory, &messages, &partial);
	src->connections(src->arg, &connections);
	add_limit(l, "max_memory", memory, node->max_memory);
	add_limit(l, "max_messages", messages, node->max_messages);
	add_limit(l, "max_partial", partial, node->max_partial);
	store_stats(src->core->store, &journal);
	add_limit(l, "max_disk", journal.disk_bytes, node->max_disk);
	add_limit(l, "max_queues", router_n_queues(src->core->router), node->max_queues);
	add_limit(l, "max_queues_per_user", router_most_made(src->core->router, false), node->max_queues_per_user);
	add_limit(l, "max_queues_per_peer", router_most_made(src->core->router, true), node->max_queues_per_peer);
	add_limit(l, "max_clients", clients_count(src->clients), node->max_clients);
	add_limit(l, "max_clients_per_user", clients_of_busiest_user(src->clients), node->max_clients_per_user);
	add_limit(l, "max_connections", connections.all, node->max_connections);
	add_limit(l, "max_pending", connections.pending, node->max_pending);
	add_limit(l, "max_pending_per_address", connections.per_address, node->max_pending_per_address);
	if (node->max_strangers)
		add_limit(l, "max_strangers", connections.strangers, node->max_strangers);
	if (node->max_strangers_per_address)
		add_limit_of_each(l, "max_strangers_per_address", node->max_strangers_per_address);
	if (node->handshake_budget)
		add_limit(l, "handshake_budget", connections.handshake_ms, node->handshake_budget);
	add_limit_of_each(l, "max_producers", node->max_producers);
	add_limit_of_each(l, "max_message", node->max_message);
}

#define WARNINGS_MAX 32 /* shown in a status */

struct warnings {
	int64_t now_s;
	char text[WARNINGS_MAX][NAMES_NODE_MAX + 8 + EXPIRY_TEXT_MAX];
	char *items[WARNINGS_MAX];
	size_t n;
};

static void
add_warning(void *arg, const struct expiry_item *it)
{
	struct warnings *w = arg;
	char text[EXPIRY_TEXT_MAX];

	if (w->n == WARNINGS_MAX || expiry_judge(&it->dates, w->now_s, text) == EXPIRY_NONE)
		return;
	snprintf(w->text[w->n], sizeof(w->text[0]), "%s%s%s%s", it->peer ? "peer " : "", it->peer ? it->peer : "", it->peer ? ": " : "", text);
	w->items[w->n] = w->text[w->n];
	w->n++;
}

#define CLOSED_MAX (CORE_CLOSED_KINDS * WIRE_CLOSE_CODES)

struct closed {
	Connectd__V1__Closed records[CLOSED_MAX];
	Connectd__V1__Closed *items[CLOSED_MAX];
	size_t n;
};

static void
fill_closed(const struct core *core, struct closed *c)
{
	static const char *const kinds[] = { "peer", "client", "stranger" };

	for (unsigned kind = 0; kind < CORE_CLOSED_KINDS; kind++) {
		for (unsigned code = 0; code < WIRE_CLOSE_CODES; code++) {
			Connectd__V1__Closed *r = &c->records[c->n];

			if (core->closed[kind][code] == 0)
				continue;
			connectd__v1__closed__init(r);
			r->kind = records_string(kinds[kind]);
			r->reason = records_string(wire_close_name(code));
			r->count = core->closed[kind][code];
			c->items[c->n++] = r;
		}
	}
}

/* Of the end of a certificate; what never ends, or is not there, is 0. */
static uint64_t
unix_ms(int64_t seconds)
{
	return seconds > 0 && seconds < TLS_NEVER ? (uint64_t)seconds * 1000 : 0;
}

static uint64_t
count_up(const struct control_sources *src)
{
	uint64_t up = 0;

	for (size_t i = 0; i < src->n_links; i++) {
		struct link_stats st;

		link_stats(src->links[i], &st);
		up += st.state == LINK_UP;
	}
	return up;
}

bool
records_status(const struct control_sources *src, struct cursor *at, struct page *pg)
{
	const struct core *core = src->core;
	Connectd__V1__Status s;
	struct listeners listeners = { .n = 0 };
	struct limits limits = { .n = 0 };
	struct closed closed = { .n = 0 };
	struct warnings warnings = { .now_s = (int64_t)(loop_wall_ms(core->loop) / 1000) };
	char store[2 * STATE_ID + 1], boot[17], key[PIN_TEXT_MAX];
	uint64_t partial;
	struct journal_record journal;

	connectd__v1__status__init(&s);
	(void)at;
	for (size_t i = 0; i < STATE_ID; i++)
		snprintf(store + 2 * i, 3, "%02x", state_store_id(core->state)[i]);
	snprintf(boot, sizeof(boot), "%016" PRIx64, state_boot_id(core->state));
	src->listeners(src->arg, add_listener, &listeners);
	fill_limits(src, &limits);
	fill_closed(core, &closed);
	s.node = core->node->name;
	s.version = records_string(CONNECTD_VERSION);
	s.store_id = store;
	s.start_count = state_start_count(core->state);
	s.boot_id = boot;
	s.started_unix_ms = src->started_unix_ms;
	s.uptime_ms = loop_now_ms(core->loop) - src->started_ms;
	s.state_folder = core->node->state;
	s.socket = core->node->socket;
	s.peers_up = count_up(src);
	s.peers = src->n_links;
	s.clients = clients_count(src->clients);
	s.queues = router_n_queues(core->router);
	queues_memory(router_queues(core->router), &s.bytes, &s.messages, &partial);
	s.n_limits = limits.n;
	s.limits = limits.items;
	s.n_listeners = listeners.n;
	s.listeners = listeners.items;
	s.n_closed = closed.n;
	s.closed = closed.items;
	src->expiry(src->arg, add_warning, &warnings);
	s.n_warnings = warnings.n;
	s.warnings = warnings.items;
	s.state = records_string(core->stopping ? "stopping" : "running");
	if (core->tls) {
		const struct tls_certificate *own = tls_context_own(core->tls);

		s.key = records_string(pin_text(own->key, key));
		s.certificate_until_unix_ms = unix_ms(own->not_after);
	}
	records_journal(core->store, &journal);
	s.journal = &journal.record;
	return page_add(pg, &s.base);
}

/* ------------------------------------------------------- peers and clients -- */

uint64_t
records_unix_ms(const struct core *core, uint64_t at_ms)
{
	return loop_wall_ms(core->loop) - (loop_now_ms(core->loop) - at_ms);
}

static bool
add_peer(const struct control_sources *src, const struct link *l, struct page *pg)
{
	Connectd__V1__Peer r;
	struct link_stats st;
	struct tls_dates dates = { .what = "certificate" };
	char warning[EXPIRY_TEXT_MAX] = "";

	connectd__v1__peer__init(&r);
	link_stats(l, &st);
	r.name = records_string(link_name(l));
	r.state = records_string(link_state_name(st.state));
	r.address = st.address;
	r.dialled_by_me = st.dialled_by_me;
	r.transport = records_string(st.transport ? st.transport : "");
	r.proof = records_string(st.proof ? st.proof : "");
	r.since_unix_ms = records_unix_ms(src->core, st.since_ms);
	r.last_error = st.last_error;
	r.retry_in_ms = st.retry_in_ms;
	r.waiting = st.waiting;
	r.unconfirmed = st.unconfirmed;
	r.sent_messages = st.sent_messages;
	r.received_messages = st.received_messages;
	r.sent_bytes = st.sent_bytes;
	r.received_bytes = st.received_bytes;
	r.software = st.software;
	r.start_count = st.start_count;
	r.connects = st.connects;
	r.key = st.key;
	r.certificate_until_unix_ms = unix_ms(st.not_after);
	r.tls_version = st.version;
	r.cipher = st.cipher;
	r.path_mtu = st.path.mtu;
	r.rtt_us = st.path.rtt_us;
	r.retransmissions = st.path.retransmissions;
	dates.not_after = st.not_after;
	if (st.not_after != 0 && src->core->tls && tls_context_has_ca(src->core->tls))
		expiry_judge(&dates, (int64_t)(loop_wall_ms(src->core->loop) / 1000), warning);
	r.warning = warning;
	return page_add(pg, &r.base);
}

bool
records_peers(const struct control_sources *src, struct cursor *at, struct page *pg)
{
	for (; at->done < src->n_links && at->left > 0; at->done++) {
		const struct link *l = src->links[at->done];

		if (at->name[0] && strcmp(link_name(l), at->name) != 0)
			continue;
		if (!add_peer(src, l, pg))
			return false;
		at->left--;
	}
	return true;
}

struct walk {
	const struct control_sources *src;
	struct cursor *at;
	struct page *pg;
	uint64_t i;
	bool full;
};

static bool
add_client(void *arg, struct client *c)
{
	struct walk *w = arg;
	Connectd__V1__Client r;
	struct client_stats st;

	connectd__v1__client__init(&r);
	if (w->i++ < w->at->done)
		return true;
	if (w->at->left == 0)
		return false;
	client_stats(c, &st);
	r.uid = st.uid;
	r.gid = st.gid;
	r.pid = st.pid;
	r.unit = records_string(st.unit);
	r.application = records_string(st.application);
	r.since_unix_ms = records_unix_ms(w->src->core, st.since_ms);
	r.flows = st.flows;
	r.subscriptions = st.subscriptions;
	r.unacked = st.unacked;
	r.sent_messages = st.sent_messages;
	r.received_messages = st.received_messages;
	w->full = !page_add(w->pg, &r.base);
	if (w->full)
		return false;
	w->at->done++;
	w->at->left--;
	return true;
}

bool
records_clients(const struct control_sources *src, struct cursor *at, struct page *pg)
{
	struct walk w = { .src = src, .at = at, .pg = pg };

	clients_each(src->clients, add_client, &w);
	return !w.full;
}

/* ----------------------------------------------------------------- queues -- */

/* It is for a node that is no peer any more. */
static bool
is_orphan(const struct core *core, const struct queue *q)
{
	return queue_node(q) && !conf_peer_find(core->conf, queue_node(q));
}

static bool
add_queue(void *arg, struct queue *q)
{
	struct walk *w = arg;
	Connectd__V1__Queue r;
	Connectd__V1__Counters counters;
	struct queue_stats st;

	connectd__v1__queue__init(&r);
	connectd__v1__counters__init(&counters);
	if (w->at->left == 0)
		return false;
	queue_stats(q, loop_now_ms(w->src->core->loop), &st);
	r.name = records_string(queue_name(q));
	r.waiting = st.messages;
	r.in_flight = st.in_flight;
	r.bytes = st.bytes;
	r.max_messages = queue_conf(q)->max_messages;
	r.max_bytes = queue_conf(q)->max_bytes;
	r.consumers = st.consumers;
	r.durable = queue_conf(q)->durable;
	r.reserved_messages = st.reserved_messages;
	r.oldest_ms = st.oldest_ms;
	r.outbound = queue_node(q) != NULL;
	r.dead_letter = queue_is_dead_letter(q);
	r.stored = st.stored;
	r.syncing = st.syncing;
	r.on_disk = st.on_disk;
	r.min_bytes = queue_number(q) != 0 ? queue_conf(q)->min_bytes : 0;
	r.held = queue_is_held(q);
	r.orphan = st.messages > 0 && is_orphan(w->src->core, q);
	counters.accepted = st.counters.accepted;
	counters.moved_in = st.counters.moved_in;
	counters.consumed = st.counters.consumed;
	counters.forwarded = st.counters.forwarded;
	counters.expired = st.counters.expired;
	counters.dead = st.counters.dead;
	counters.dropped = st.counters.dropped;
	counters.purged = st.counters.purged;
	counters.moved_out = st.counters.moved_out;
	counters.rejected = st.counters.rejected;
	counters.duplicates = st.counters.duplicates;
	counters.redelivered = st.counters.redelivered;
	counters.present = st.counters.present;
	counters.damaged = st.counters.damaged;
	r.counters = &counters;
	w->full = !page_add(w->pg, &r.base);
	if (w->full)
		return false;
	snprintf(w->at->after, sizeof(w->at->after), "%s", queue_name(q));
	w->at->left--;
	return true;
}

bool
records_queues(const struct control_sources *src, struct cursor *at, struct page *pg)
{
	struct walk w = { .src = src, .at = at, .pg = pg };

	struct queue *q = at->name[0] ? router_lookup(src->core->router, at->name) : NULL;

	if (q)
		add_queue(&w, q);
	else if (!at->name[0])
		router_each_behind(src->core->router, at->after, add_queue, &w);
	return !w.full;
}

/* ---------------------------------------------------------- what was done -- */

void
records_done(const char *text, struct page *pg)
{
	Connectd__V1__Done r;

	connectd__v1__done__init(&r);
	r.text = records_string(text);
	page_add(pg, &r.base);
}

/* ----------------------------------------------------------------- events -- */

uint8_t *
records_event(uint64_t at_unix_ms, const char *kind, const char *name, const char *change, const char *text, size_t *ret_len)
{
	Connectd__V1__Event r;
	uint8_t head[FRAME_HEADER_MAX], *p;
	size_t len, n;

	connectd__v1__event__init(&r);
	r.unix_ms = at_unix_ms;
	r.kind = records_string(kind);
	r.name = records_string(name);
	r.change = records_string(change);
	r.text = records_string(text);
	len = connectd__v1__event__get_packed_size(&r);
	n = frame_header(head, (uint32_t)len);
	p = malloc(n + len);
	if (!p)
		return NULL;
	memcpy(p, head, n);
	connectd__v1__event__pack(&r, p + n);
	*ret_len = n + len;
	return p;
}
