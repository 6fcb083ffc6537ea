/*
 * Where peers come from: what the configuration says, and where they have
 * proven themselves since our start, a few places each. Finding one takes no
 * walk over peers: a table of addresses, and one of networks, asked once for
 * each length that there is.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "gate_internal.h"

struct place {
	struct hmap_node node;
	struct gate_from from;
};

struct network {
	struct hmap_node node;
	bool v6;
	uint8_t ip[8];
	unsigned bits;
};

struct proven_peer {
	struct hmap_node node;
	char name[NAMES_NODE_MAX + 1];
	struct place places[GATE_ADDRESSES_MAX];
	unsigned n, oldest;
};

struct gate_from
gate_from(bool v6, const uint8_t ip[static 16])
{
	struct gate_from from = { .v6 = v6 };

	memcpy(from.ip, ip, v6 ? 8 : 4);
	return from;
}

/* ----------------------------------------------------------- configuration -- */

/* The first bits of it. */
static void
cut(uint8_t ip[static 8], unsigned bits)
{
	for (unsigned i = 0; i < 8; i++)
		if (bits < 8 * (i + 1))
			ip[i] &= (uint8_t)(bits <= 8 * i ? 0 : 0xff << (8 * (i + 1) - bits));
}

static uint64_t
network_hash(const struct gate *g, bool v6, const uint8_t ip[static 8], unsigned bits)
{
	return hmap_hash(ip, 8, g->seed + 2 * bits + v6);
}

static bool
has_network(const struct gate *g, const struct fixed *f, struct gate_from from, unsigned bits)
{
	cut(from.ip, bits);
	for (struct hmap_node *n = hmap_find(&f->by_network, network_hash(g, from.v6, from.ip, bits)); n; n = hmap_find_next(n)) {
		const struct network *net = hmap_entry(n, struct network, node);

		if (net->v6 == from.v6 && net->bits == bits && memcmp(net->ip, from.ip, sizeof(net->ip)) == 0)
			return true;
	}
	return false;
}

static bool
has_place(const struct gate *g, const struct hmap *m, struct gate_from from)
{
	for (struct hmap_node *n = hmap_find(m, gate_hash(g, from)); n; n = hmap_find_next(n))
		if (gate_same(hmap_entry(n, struct place, node)->from, from))
			return true;
	return false;
}

static void
fixed_done(struct fixed *f)
{
	hmap_done(&f->by_address);
	hmap_done(&f->by_network);
	free(f->places);
	free(f->networks);
}

/* A network of more than 64 bits counts as that of 64 it lies in. */
static int
add_network(const struct gate *g, struct fixed *f, const struct names_cidr *c, struct network *net)
{
	unsigned bits = c->prefix > 64 ? 64 : c->prefix;
	struct gate_from from = gate_from(c->v6, c->addr);

	if (f->has[c->v6][bits] && has_network(g, f, from, bits))
		return 0;
	*net = (struct network){ .v6 = c->v6, .bits = bits };
	memcpy(net->ip, from.ip, sizeof(net->ip));
	f->has[c->v6][bits] = true;
	return hmap_add(&f->by_network, &net->node, network_hash(g, c->v6, net->ip, bits));
}

/* A name is not asked for: what it stands for is known once the peer has come. */
static int
add_address(const struct gate *g, struct fixed *f, const char *address, struct place *place)
{
	struct names_url url;
	struct names_cidr c;
	struct gate_from from;

	if (names_url_parse(address, &url, NULL) != 0 || names_cidr_parse(url.host, &c) != 0)
		return 0;
	from = gate_from(c.v6, c.addr);
	if (has_place(g, &f->by_address, from))
		return 0;
	place->from = from;
	return hmap_add(&f->by_address, &place->node, gate_hash(g, from));
}

static int
add_peer(const struct gate *g, struct fixed *f, const struct conf_peer *peer, size_t *n_places, size_t *n_networks)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < peer->address.n; i++)
		r = add_address(g, f, peer->address.items[i], &f->places[(*n_places)++]);
	for (size_t i = 0; r == 0 && i < peer->from_text.n; i++)
		r = add_network(g, f, &peer->from[i], &f->networks[(*n_networks)++]);
	return r;
}

static int
fixed_init(const struct gate *g, struct fixed *f, const struct conf *c)
{
	size_t n_places = 1, n_networks = 1;
	int r = 0;

	*f = (struct fixed){ .places = NULL };
	hmap_init(&f->by_address);
	hmap_init(&f->by_network);
	for (size_t i = 0; i < conf_n_peers(c); i++) {
		n_places += conf_peer(c, i)->address.n;
		n_networks += conf_peer(c, i)->from_text.n;
	}
	f->places = calloc(n_places, sizeof(*f->places));
	f->networks = calloc(n_networks, sizeof(*f->networks));
	if (!f->places || !f->networks)
		r = -ENOMEM;
	n_places = n_networks = 0;
	for (size_t i = 0; r == 0 && i < conf_n_peers(c); i++)
		r = add_peer(g, f, conf_peer(c, i), &n_places, &n_networks);
	if (r < 0)
		fixed_done(f);
	return r;
}

/* ------------------------------------------------------------------ proven -- */

static struct proven_peer *
find_peer(const struct gate *g, const char *name)
{
	for (struct hmap_node *n = hmap_find(&g->peers, hmap_hash(name, strlen(name), g->seed)); n; n = hmap_find_next(n)) {
		struct proven_peer *p = hmap_entry(n, struct proven_peer, node);

		if (strcmp(p->name, name) == 0)
			return p;
	}
	return NULL;
}

static void
peer_free(struct gate *g, struct proven_peer *p)
{
	for (unsigned i = 0; i < p->n; i++)
		hmap_remove(&g->proven, &p->places[i].node);
	hmap_remove(&g->peers, &p->node);
	free(p);
}

static struct proven_peer *
add_proven(struct gate *g, const char *name)
{
	struct proven_peer *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	snprintf(p->name, sizeof(p->name), "%s", name);
	if (hmap_add(&g->peers, &p->node, hmap_hash(name, strlen(name), g->seed)) < 0) {
		free(p);
		return NULL;
	}
	return p;
}

void
gate_proven(struct gate *g, const char *peer, struct gate_from from)
{
	struct proven_peer *p = find_peer(g, peer);
	struct place *place;

	for (unsigned i = 0; p && i < p->n; i++)
		if (gate_same(p->places[i].from, from))
			return;
	if (!p)
		p = add_proven(g, peer);
	if (!p)
		return; /* it is as it was before */
	if (p->n < GATE_ADDRESSES_MAX) {
		place = &p->places[p->n];
		place->from = from;
		if (hmap_add(&g->proven, &place->node, gate_hash(g, from)) == 0)
			p->n++;
		return;
	}
	place = &p->places[p->oldest];
	p->oldest = (p->oldest + 1) % GATE_ADDRESSES_MAX;
	hmap_remove(&g->proven, &place->node);
	place->from = from;
	(void)!hmap_add(&g->proven, &place->node, gate_hash(g, from)); /* there is room for it */
}

/* All, or whoever is no peer any more. */
static void
forget(struct gate *g, bool all)
{
	struct hmap_node *n = hmap_walk(&g->peers, NULL);

	while (n) {
		struct proven_peer *p = hmap_entry(n, struct proven_peer, node);

		n = hmap_walk(&g->peers, n);
		if (all || !conf_peer_find(g->conf, p->name))
			peer_free(g, p);
	}
}

/* ------------------------------------------------------------------- whole -- */

enum gate_rank
gate_rank(const struct gate *g, struct gate_from from)
{
	const struct fixed *f = &g->fixed;

	if (has_place(g, &g->proven, from) || has_place(g, &f->by_address, from))
		return GATE_KNOWN;
	for (unsigned bits = 0; bits <= 64; bits++)
		if (f->has[from.v6][bits] && has_network(g, f, from, bits))
			return GATE_EXPECTED;
	return GATE_STRANGER;
}

int
gate_configure(struct gate *g, const struct conf *c)
{
	struct fixed fresh;
	int r = fixed_init(g, &fresh, c);

	g->conf = c;
	if (r < 0)
		return r;
	fixed_done(&g->fixed);
	g->fixed = fresh;
	forget(g, false);
	return 0;
}

void
gate_places_init(struct gate *g)
{
	hmap_init(&g->proven);
	hmap_init(&g->peers);
	hmap_init(&g->fixed.by_address);
	hmap_init(&g->fixed.by_network);
}

void
gate_places_done(struct gate *g)
{
	forget(g, true);
	hmap_done(&g->peers);
	hmap_done(&g->proven);
	fixed_done(&g->fixed);
}
