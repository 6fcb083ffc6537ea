/*
 * conf_check: names of sections, and what one value cannot know alone.
 */
#include <string.h>
#include <strings.h>

#include "conf_impl.h"

/* ----------------------------------------------------------------- names -- */

/* NODE/NAME or NAME, either with `*` anywhere, which may stand for a letter. */
static bool
queue_pattern_ok(const char *name)
{
	char letters[NAMES_DEST_MAX + 1];
	struct names_dest dest;
	size_t len = strlen(name);

	if (len > NAMES_DEST_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		letters[i] = name[i] == '*' ? 'x' : name[i];
	return names_dest_parse(letters, len, &dest) == 0;
}

/* A node's name, or many: `*` may stand for a letter. */
static bool
peer_pattern_ok(const char *name)
{
	char letters[NAMES_NODE_MAX + 1];
	size_t len = strlen(name);

	if (len > NAMES_NODE_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		letters[i] = name[i] == '*' ? 'x' : name[i];
	return names_node_ok(letters, len);
}

const char *
conf_check_name(enum conf_kind kind, const char *name)
{
	switch (kind) {
	case CONF_LISTEN:
		if (strcmp(name, "client") == 0)
			return "client is the name of the Unix socket: choose another";
		return names_queue_ok(name, strlen(name)) ? NULL : "the name may hold A-Z, a-z, 0-9, . _ and -";
	case CONF_PEER:
		return peer_pattern_ok(name) ? NULL : "no node name: a-z, 0-9, . and -, at most 40 bytes (for a family: with *)";
	case CONF_QUEUE:
		return queue_pattern_ok(name) ? NULL : "neither NAME nor NODE/NAME (each may hold *)";
	default:
		return NULL;
	}
}

/* ------------------------------------------------------------- the kinds -- */

static unsigned
key_line(const struct conf_section *s, const char *key)
{
	return s->lines[conf_key_index(conf_key_find(s->kind, key))];
}

/* Where to point: at the key, or at its section if it is not written there. */
static unsigned
line_of(const struct conf_section *s, const char *key)
{
	unsigned line = key_line(s, key);

	return line ? line : s->line;
}

static void
check_node(const struct conf_section *s, struct conf_faults *faults)
{
	const struct conf_node *node = &s->u.node;

	if (!node->name && !key_line(s, "name"))
		conf_fault(faults, s->file, s->line, "[node] has no name");
	if (!s->faulty && node->max_partial < node->max_message)
		conf_fault(faults, s->file, key_line(s, "max_partial") ? key_line(s, "max_partial") : line_of(s, "max_message"),
		    "max_partial must be at least max_message");
	if (!s->faulty && node->max_memory < node->max_message)
		conf_fault(faults, s->file, key_line(s, "max_memory") ? key_line(s, "max_memory") : line_of(s, "max_message"),
		    "max_memory must be at least max_message");
	if (!s->faulty && node->max_disk < CONF_SEGMENTS_MIN * node->segment)
		conf_fault(faults, s->file, key_line(s, "max_disk") ? key_line(s, "max_disk") : line_of(s, "segment"),
		    "max_disk must be at least %d times segment", CONF_SEGMENTS_MIN);
	if (!s->faulty && node->sctp_rto_max < node->sctp_rto_min)
		conf_fault(faults, s->file, key_line(s, "sctp_rto_max") ? key_line(s, "sctp_rto_max") : line_of(s, "sctp_rto_min"),
		    "sctp_rto_max must be at least sctp_rto_min");
	if (node->crl && !node->ca)
		conf_fault(faults, s->file, line_of(s, "crl"), "crl is what a CA has revoked, and there is no ca");
}

static bool
has_scheme(const struct conf_list *address, enum names_scheme scheme)
{
	struct names_url url;

	for (size_t i = 0; i < address->n; i++)
		if (names_url_parse(address->items[i], &url, NULL) == 0 && url.scheme == scheme)
			return true;
	return false;
}

/* The first of its schemes that protects nothing; NULL: there is none. */
static const char *
open_scheme(const struct conf_list *address)
{
	return has_scheme(address, NAMES_TCP) ? "tcp" : has_scheme(address, NAMES_SCTP) ? "sctp" : NULL;
}

/* The first that proves who is there; NULL: there is none. */
static const char *
proving_scheme(const struct conf_list *address)
{
	return has_scheme(address, NAMES_TLS) ? "tls" : has_scheme(address, NAMES_DTLS_SCTP) ? "dtls-sctp" : NULL;
}

static void
check_listen(const struct conf_section *s, struct conf_faults *faults)
{
	const char *scheme = open_scheme(&s->u.listen.address);

	if (s->u.listen.address.n == 0)
		conf_fault(faults, s->file, s->line, "[listen \"%s\"] has no address", s->name);
	else if (!s->u.listen.plaintext && scheme)
		conf_fault(faults, s->file, line_of(s, "address"),
		    "%s:// is neither encrypted nor authenticated: it needs plaintext = yes in [listen \"%s\"]", scheme, s->name);
}

static bool
same_host(const struct names_url *a, const struct names_url *b)
{
	struct names_cidr x, y;

	/* [::1] can be written in many ways. */
	if (names_cidr_parse(a->host, &x) == 0 && names_cidr_parse(b->host, &y) == 0)
		return x.v6 == y.v6 && memcmp(x.addr, y.addr, sizeof(x.addr)) == 0;
	return strcasecmp(a->host, b->host) == 0;
}

/* Ports of UDP are others than those of TCP. */
static bool
is_over_udp(const struct names_url *url)
{
	return url->scheme == NAMES_SCTP || url->scheme == NAMES_DTLS_SCTP;
}

/* Does section s, before its address n, listen on what that says? Port 0 is never the same twice. */
static bool
listens_on(const struct conf_section *s, size_t n, const struct names_url *url)
{
	struct names_url other;

	for (size_t i = 0; i < n; i++)
		if (names_url_parse(s->u.listen.address.items[i], &other, NULL) == 0 && url->port != 0 && other.port == url->port &&
		    is_over_udp(url) == is_over_udp(&other) && same_host(url, &other))
			return true;
	return false;
}

static void
check_listen_twice(const struct conf *c, size_t at, struct conf_faults *faults)
{
	struct conf_section **all = c->sections[CONF_LISTEN];
	const struct conf_list *address = &all[at]->u.listen.address;

	for (size_t i = 0; i < address->n; i++) {
		struct names_url url;

		if (names_url_parse(address->items[i], &url, NULL) < 0)
			continue;
		for (size_t j = 0; j <= at; j++)
			if (listens_on(all[j], j == at ? i : all[j]->u.listen.address.n, &url)) {
				conf_fault(faults, all[at]->file, line_of(all[at], "address"),
				    "%.100s is already an address of [listen \"%s\"]", address->items[i], all[j]->name);
				break;
			}
	}
}

/* How it proves who it is: by a key, a CA, or not at all, which must be said. */
static void
check_proof(const struct conf_section *s, bool has_ca, struct conf_faults *faults)
{
	const struct conf_peer *p = &s->u.peer;
	const char *scheme = open_scheme(&p->address), *proving = proving_scheme(&p->address);

	if (p->plaintext && p->fingerprint_text.n > 0)
		conf_fault(faults, s->file, line_of(s, "plaintext"),
		    "plaintext = yes and a fingerprint: without encryption nobody can prove a key; remove one of the two");
	else if (p->plaintext && has_ca)
		conf_fault(faults, s->file, line_of(s, "plaintext"),
		    "plaintext = yes, and [node] has a ca: its peers prove who they are; remove one of the two");
	else if (p->plaintext && proving)
		conf_fault(faults, s->file, line_of(s, "address"),
		    "%s:// and plaintext = yes: TLS needs a fingerprint of [peer \"%s\"], or a ca in [node]", proving, s->name);
	else if (!p->plaintext && scheme)
		conf_fault(faults, s->file, line_of(s, "address"),
		    "%s:// is neither encrypted nor authenticated: it needs plaintext = yes in [peer \"%s\"], or take %s://", scheme,
		    s->name, strcmp(scheme, "sctp") == 0 ? "dtls-sctp" : "tls");
	else if (!p->plaintext && p->fingerprint_text.n == 0 && !has_ca)
		conf_fault(faults, s->file, s->line,
		    "nothing proves that a node is [peer \"%s\"]: give the fingerprint that connectctl key prints there, or a ca in [node]",
		    s->name);
	else if (p->plaintext && p->address.n == 0 && p->from_text.n == 0)
		conf_fault(faults, s->file, s->line,
		    "[peer \"%s\"] has no address, so it dials in: with plaintext = yes it needs from, the networks it may come from",
		    s->name);
}

static void
check_family(const struct conf_section *s, bool has_ca, struct conf_faults *faults)
{
	if (!has_ca)
		conf_fault(faults, s->file, s->line, "[peer \"%s\"] is for many nodes: only a ca in [node] can tell them apart", s->name);
	if (s->u.peer.plaintext)
		conf_fault(faults, s->file, line_of(s, "plaintext"),
		    "[peer \"%s\"] is for many nodes, and plaintext = yes lets nobody prove which one it is", s->name);
	if (s->u.peer.address.n > 0)
		conf_fault(faults, s->file, line_of(s, "address"), "[peer \"%s\"] is for many nodes, which dial in: it has no address",
		    s->name);
	if (s->u.peer.fingerprint_text.n > 0)
		conf_fault(faults, s->file, line_of(s, "fingerprint"), "[peer \"%s\"] is for many nodes, each with a key of its own",
		    s->name);
}

static void
check_peer(const struct conf_section *s, const struct conf_section *node, struct conf_faults *faults)
{
	const struct conf_peer *p = &s->u.peer;
	bool has_ca = node && node->u.node.ca;

	if (node && node->u.node.name && strcmp(s->name, node->u.node.name) == 0)
		conf_fault(faults, s->file, s->line, "[peer \"%s\"] is this node itself", s->name);
	if (s->faulty || (node && node->faulty))
		return;
	if (conf_peer_is_family(p))
		check_family(s, has_ca, faults);
	else
		check_proof(s, has_ca, faults);
	if (p->backoff_max < p->backoff_min)
		conf_fault(faults, s->file, key_line(s, "backoff_max") ? key_line(s, "backoff_max") : line_of(s, "backoff_min"),
		    "backoff_max must be at least backoff_min");
}

static void
check_access(const struct conf *c, const struct conf_section *s, const char *key, const struct conf_access *a,
    struct conf_faults *faults)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->items[i].kind == CONF_ACCESS_PEER && !conf_peer_find(c, a->items[i].name))
			conf_fault(faults, s->file, key_line(s, key), "%s: there is no [peer \"%s\"]", key, a->items[i].name);
}

static void
check_queue(const struct conf *c, const struct conf_section *s, const char *node, struct conf_faults *faults)
{
	const struct conf_queue_settings *q = &s->u.queue;
	const char *slash = strchr(s->name, '/');

	if (node && slash && strlen(node) == (size_t)(slash - s->name) && memcmp(node, s->name, strlen(node)) == 0)
		conf_fault(faults, s->file, s->line, "%s is this node: write [queue \"%s\"]", node, slash + 1);
	/* Both as they are in force where this section rules. */
	if (conf_queue_source(c, s, conf_key_find(CONF_QUEUE, "durable"))->u.queue.durable &&
	    conf_queue_source(c, s, conf_key_find(CONF_QUEUE, "overflow"))->u.queue.overflow == CONF_OVERFLOW_DROP_OLDEST)
		conf_fault(faults, s->file, key_line(s, "overflow") ? key_line(s, "overflow") : line_of(s, "durable"),
		    "overflow = drop-oldest loses messages that were confirmed: it needs durable = no in [queue \"%s\"]", s->name);
	if (q->dead_letter && strcmp(q->dead_letter, s->name) == 0)
		conf_fault(faults, s->file, line_of(s, "dead_letter"), "a queue cannot be its own dead_letter");
	check_access(c, s, "send", &q->send, faults);
	check_access(c, s, "receive", &q->receive, faults);
	check_access(c, s, "browse", &q->browse, faults);
}

/* What the queues named here are to have whatever happens must be there. */
static void
check_min_bytes(const struct conf *c, struct conf_faults *faults)
{
	const struct conf_section *node = c->n[CONF_NODE] > 0 ? c->sections[CONF_NODE][0] : NULL, *last = NULL;
	uint64_t room, sum = 0;

	if (!node || node->faulty || node->u.node.max_disk < CONF_SEGMENTS_MIN * node->u.node.segment)
		return;
	room = (node->u.node.max_disk - CONF_SEGMENTS_KEPT * node->u.node.segment) / 4 * 3;
	for (size_t i = 0; i < c->n[CONF_QUEUE]; i++) {
		const struct conf_section *s = c->sections[CONF_QUEUE][i];

		if (strchr(s->name, '*') || !conf_queue_source(c, s, conf_key_find(CONF_QUEUE, "durable"))->u.queue.durable)
			continue;
		sum += conf_queue_source(c, s, conf_key_find(CONF_QUEUE, "min_bytes"))->u.queue.min_bytes;
		last = s;
	}
	if (last && sum > room)
		conf_fault(faults, last->file, key_line(last, "min_bytes") ? key_line(last, "min_bytes") : last->line,
		    "the min_bytes of all queues named here are %llu bytes, and max_disk has room for %llu: "
		    "lower them, raise max_disk, or take smaller segments",
		    (unsigned long long)sum, (unsigned long long)room);
}

void
conf_check(const struct conf *c, const char *file, struct conf_faults *faults)
{
	const char *node = NULL;

	if (c->n[CONF_NODE] == 0) {
		conf_fault(faults, file, 1, "there is no [node] section, which must give the node's name");
	} else {
		check_node(c->sections[CONF_NODE][0], faults);
		node = c->sections[CONF_NODE][0]->u.node.name;
	}
	for (size_t i = 0; i < c->n[CONF_LISTEN]; i++) {
		if (!c->sections[CONF_LISTEN][i]->faulty)
			check_listen(c->sections[CONF_LISTEN][i], faults);
		check_listen_twice(c, i, faults);
	}
	for (size_t i = 0; i < c->n[CONF_PEER]; i++)
		check_peer(c->sections[CONF_PEER][i], c->n[CONF_NODE] > 0 ? c->sections[CONF_NODE][0] : NULL, faults);
	for (size_t i = 0; i < c->n[CONF_QUEUE]; i++)
		check_queue(c, c->sections[CONF_QUEUE][i], node, faults);
	check_min_bytes(c, faults);
}
