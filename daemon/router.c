#include "router_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct router {
	struct loop *loop;
	const struct conf *conf;
	const struct conf_node *node;
	struct queues *queues;
	struct router_events events;
	uint64_t seed;
	struct hmap map;    /* queues by name */
	size_t n_dead;      /* of them for dead letters */
	struct hmap peers;  /* struct router_peer by name */
	struct hmap makers; /* those with queues */
	struct list unused; /* queues that go after a while, the first to go in front */
	struct loop_timer linger;
	char reason[WIRE_REASON_MAX + 1];
};

/* An address as it was understood. */
struct place {
	char node[NAMES_NODE_MAX + 1]; /* "": here */
	char name[NAMES_QUEUE_MAX + 1];
	char full[NAMES_DEST_MAX + 1];
};

static uint64_t
hash(const struct router *r, const char *s)
{
	return hmap_hash(s, strlen(s), r->seed);
}

static struct queue *
find(const struct router *r, const char *full)
{
	for (struct hmap_node *n = hmap_find(&r->map, hash(r, full)); n; n = hmap_find_next(n))
		if (strcmp(queue_name(queue_from_map(n)), full) == 0)
			return queue_from_map(n);
	return NULL;
}

static struct router_peer *
find_peer(const struct router *r, const char *name)
{
	for (struct hmap_node *n = hmap_find(&r->peers, hash(r, name)); n; n = hmap_find_next(n)) {
		struct router_peer *p = hmap_entry(n, struct router_peer, node);

		if (strcmp(p->name, name) == 0)
			return p;
	}
	return NULL;
}

/* ------------------------------------------------------------------- makers -- */

static uint64_t
maker_hash(const struct router *r, const struct subject *who)
{
	return who->peer ? hash(r, who->peer) : hmap_hash(&who->uid, sizeof(who->uid), r->seed);
}

static struct maker *
find_maker(const struct router *r, const struct subject *who)
{
	for (struct hmap_node *n = hmap_find(&r->makers, maker_hash(r, who)); n; n = hmap_find_next(n)) {
		struct maker *m = hmap_entry(n, struct maker, node);

		if (who->peer ? strcmp(m->peer, who->peer) == 0 : m->peer[0] == '\0' && m->uid == who->uid)
			return m;
	}
	return NULL;
}

static struct maker *
add_maker(struct router *r, const struct subject *who)
{
	struct maker *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->uid = who->uid;
	snprintf(m->peer, sizeof(m->peer), "%s", who->peer ? who->peer : "");
	if (hmap_add(&r->makers, &m->node, maker_hash(r, who)) < 0) {
		free(m);
		return NULL;
	}
	return m;
}

static void
drop_maker(struct router *r, struct maker *m)
{
	if (!m || m->n > 0)
		return;
	hmap_remove(&r->makers, &m->node);
	free(m);
}

/* ------------------------------------------------------------ life and death -- */

static struct queue *
make(struct router *r, const char *node, const char *name, bool dead_letter, bool stays)
{
	struct conf_queue cq;
	struct router_peer *p;
	struct queue *q;

	conf_queue(r->conf, node, name, &cq);
	q = queue_new(r->queues, node, name, &cq, dead_letter);
	if (!q)
		return NULL;
	if (hmap_add(&r->map, queue_map_node(q), hash(r, queue_name(q))) < 0) {
		queue_free(q);
		return NULL;
	}
	list_init(&owned_of(q)->unused);
	owned_of(q)->stays = stays;
	r->n_dead += dead_letter;
	if (r->events.queue)
		r->events.queue(r->events.arg, queue_name(q), true);
	p = node ? find_peer(r, node) : NULL;
	if (p)
		p->attach(p, q);
	return q;
}

static void
drop(struct router *r, struct queue *q)
{
	struct owned *o = owned_of(q);
	struct router_peer *p = queue_node(q) ? find_peer(r, queue_node(q)) : NULL;

	if (r->events.queue)
		r->events.queue(r->events.arg, queue_name(q), false);
	if (p)
		p->detach(p, q);
	hmap_remove(&r->map, queue_map_node(q));
	list_remove(&o->unused);
	r->n_dead -= queue_is_dead_letter(q);
	if (o->maker) {
		o->maker->n--;
		drop_maker(r, o->maker);
	}
	queue_free(q);
}

static void
arm_linger(struct router *r)
{
	struct list *first = list_first(&r->unused);
	uint64_t now = loop_now_ms(r->loop), until;

	if (!first) {
		loop_timer_stop(&r->linger);
		return;
	}
	until = list_entry(first, struct owned, unused)->unused_since_ms + r->node->queue_linger;
	loop_timer_start(&r->linger, until > now ? until - now : 0);
}

static void
wait_unused(struct router *r, struct queue *q)
{
	struct owned *o = owned_of(q);

	list_remove(&o->unused);
	o->unused_since_ms = loop_now_ms(r->loop);
	list_append(&r->unused, &o->unused);
}

static void
linger_over(void *arg)
{
	struct router *r = arg;
	uint64_t now = loop_now_ms(r->loop);

	LIST_FOREACH_SAFE (node, &r->unused) {
		struct owned *o = list_entry(node, struct owned, unused);

		if (now - o->unused_since_ms < r->node->queue_linger)
			break;
		/* Taken into use in this very pass: asked again later. */
		if (queue_is_unused(queue_of_owner_data(o)))
			drop(r, queue_of_owner_data(o));
		else
			wait_unused(r, queue_of_owner_data(o));
	}
	arm_linger(r);
}

static void
unused(void *arg, struct queue *q, bool is_unused)
{
	struct router *r = arg;

	if (owned_of(q)->stays)
		return;
	if (is_unused)
		wait_unused(r, q);
	else
		list_remove(&owned_of(q)->unused);
	arm_linger(r);
}

static struct queue *
dead_letter(void *arg, struct queue *q)
{
	struct router *r = arg;
	const char *named = queue_conf(q)->dead_letter;
	char name[NAMES_QUEUE_MAX + 1];
	struct queue *dead;
	bool first = true;

	/* A queue cannot keep its own. */
	if (named && strcmp(named, queue_name(q)) == 0)
		named = NULL;
	if (named)
		snprintf(name, sizeof(name), "%s", named);
	else
		router_dead_name(q, name);
	dead = find(r, name);
	if (!dead) {
		dead = r->n_dead < r->node->max_queues ? make(r, NULL, name, true, false) : NULL;
	} else if (!queue_is_dead_letter(dead)) {
		/* Named for this later than it was made. */
		queue_make_dead_letter(dead);
		r->n_dead++;
	} else {
		first = false;
	}
	if (dead)
		router_share_letters(dead, q, named != NULL, first);
	return dead;
}

/* ----------------------------------------------------------------- new, free -- */

static void
add_configured(struct router *r)
{
	for (size_t i = 0; i < conf_n_queue_sections(r->conf); i++) {
		const char *section = conf_queue_section(r->conf, i);
		const char *slash = strchr(section, '/');
		char node[NAMES_NODE_MAX + 1];

		/* Of what the daemon makes itself a section only gives the settings. */
		if (router_is_reserved(slash ? slash + 1 : section))
			continue;
		snprintf(node, sizeof(node), "%.*s", slash ? (int)(slash - section) : 0, section);
		if (!slash || strcmp(node, r->node->name) == 0)
			slash = NULL;
		else if (!conf_peer_find(r->conf, node))
			continue;
		if (!find(r, section))
			make(r, slash ? node : NULL, strrchr(section, '/') ? strrchr(section, '/') + 1 : section, false, true);
	}
}

struct router *
router_new(struct loop *l, const struct conf *conf, struct message_store *ms, uint32_t start_count,
    const struct router_events *ev)
{
	struct router *r = calloc(1, sizeof(*r));
	struct queues_config cfg;

	if (!r)
		return NULL;
	r->loop = l;
	r->conf = conf;
	r->node = conf_node(conf);
	if (ev)
		r->events = *ev;
	loop_random(l, &r->seed, sizeof(r->seed));
	hmap_init(&r->map);
	hmap_init(&r->peers);
	hmap_init(&r->makers);
	list_init(&r->unused);
	loop_timer_init(&r->linger, l, linger_over, r);
	cfg = (struct queues_config){
		.start_count = start_count,
		.max_memory = r->node->max_memory,
		.max_messages = r->node->max_messages,
		.max_partial = r->node->max_partial,
		.dead_letter = dead_letter,
		.unused = unused,
		.arg = r,
	};
	r->queues = queues_new(l, ms, &cfg);
	if (!r->queues) {
		router_free(r);
		return NULL;
	}
	add_configured(r);
	return r;
}

void
router_free(struct router *r)
{
	struct hmap_node *n;

	if (!r)
		return;
	while ((n = hmap_walk(&r->map, NULL)))
		drop(r, queue_from_map(n));
	loop_timer_stop(&r->linger);
	queues_free(r->queues);
	assert(r->makers.n == 0);
	hmap_done(&r->makers);
	hmap_done(&r->peers);
	hmap_done(&r->map);
	free(r);
}

static bool
is_of_peer(struct queue *q, const char *peer)
{
	return queue_node(q) && strcmp(queue_node(q), peer) == 0;
}

int
router_peer_add(struct router *r, struct router_peer *p)
{
	int err = hmap_add(&r->peers, &p->node, hash(r, p->name));

	if (err < 0)
		return err;
	for (struct hmap_node *n = hmap_walk(&r->map, NULL); n; n = hmap_walk(&r->map, n))
		if (is_of_peer(queue_from_map(n), p->name))
			p->attach(p, queue_from_map(n));
	return 0;
}

void
router_peer_remove(struct router *r, struct router_peer *p)
{
	hmap_remove(&r->peers, &p->node);
}

uint64_t
router_peer_waiting(struct router *r, const char *peer)
{
	uint64_t waiting = 0;

	for (struct hmap_node *n = hmap_walk(&r->map, NULL); n; n = hmap_walk(&r->map, n)) {
		struct queue *q = queue_from_map(n);
		struct queue_stats st;

		if (!is_of_peer(q, peer))
			continue;
		queue_stats(q, loop_now_ms(r->loop), &st);
		waiting += st.messages;
	}
	return waiting;
}

/* ------------------------------------------------------------------ requests -- */

/* Split an address; VERDICT_OK or the verdict. */
static enum wire_verdict
parse(struct router *r, struct wire_bytes address, struct place *ret, const char **ret_reason)
{
	struct names_dest d;
	int err;

	*ret_reason = "only the daemon uses names that start with $";
	if (address.len > 0 && address.data[0] == '$')
		return WIRE_VERDICT_DENIED;
	err = names_dest_parse((const char *)address.data, address.len, &d);
	*ret_reason = err == -EOPNOTSUPP ? "topics are not known to this version" : "not a queue or node/queue";
	if (err < 0)
		return WIRE_VERDICT_BAD_ADDRESS;
	snprintf(ret->node, sizeof(ret->node), "%.*s", d.node ? (int)d.node_len : 0, d.node ? d.node : "");
	snprintf(ret->name, sizeof(ret->name), "%.*s", (int)d.queue_len, d.queue);
	if (strcmp(ret->node, r->node->name) == 0)
		ret->node[0] = '\0';
	snprintf(ret->full, sizeof(ret->full), "%s%s%s", ret->node, ret->node[0] ? "/" : "", ret->name);
	return WIRE_VERDICT_OK;
}

/* A missing queue, made for them if they may. */
static enum wire_verdict
make_for(struct router *r, const struct subject *who, const struct place *at, const struct conf_queue *cq,
    struct queue **ret, const char **ret_reason)
{
	uint64_t limit = who->peer ? r->node->max_queues_per_peer : r->node->max_queues_per_user;
	struct maker *m = find_maker(r, who);
	struct queue *q;

	*ret_reason = "no such queue, and create_queues is off";
	if (!r->node->create_queues)
		return WIRE_VERDICT_NO_QUEUE;
	*ret_reason = "no such queue, and no section of the configuration lets peers make it";
	if (who->peer && !cq->by_pattern)
		return WIRE_VERDICT_NO_QUEUE;
	*ret_reason = "max_queues is reached";
	if (r->map.n - r->n_dead >= r->node->max_queues)
		return WIRE_VERDICT_LIMIT;
	*ret_reason = who->peer ? "max_queues_per_peer is reached" : "max_queues_per_user is reached";
	if ((m ? m->n : 0) >= limit)
		return WIRE_VERDICT_LIMIT;
	*ret_reason = "out of memory";
	if (!m)
		m = add_maker(r, who);
	q = m ? make(r, at->node[0] ? at->node : NULL, at->name, false, false) : NULL;
	if (!q) {
		drop_maker(r, m);
		return WIRE_VERDICT_LIMIT;
	}
	owned_of(q)->maker = m;
	m->n++;
	*ret = q;
	*ret_reason = "";
	return WIRE_VERDICT_OK;
}

enum wire_verdict
router_send(struct router *r, const struct subject *who, struct wire_bytes address, struct queue **ret,
    const char **ret_reason)
{
	struct conf_queue cq;
	struct place at;
	struct queue *q;
	enum wire_verdict verdict = parse(r, address, &at, ret_reason);

	if (verdict != WIRE_VERDICT_OK)
		return verdict;
	*ret_reason = "a peer may only send to queues of this node";
	if (who->peer && at.node[0] != '\0')
		return WIRE_VERDICT_DENIED;
	if (at.node[0] != '\0' && !find_peer(r, at.node)) {
		snprintf(r->reason, sizeof(r->reason), "no peer %s is configured", at.node);
		*ret_reason = r->reason;
		return WIRE_VERDICT_BAD_ADDRESS;
	}
	q = find(r, at.full);
	*ret_reason = "only the daemon puts messages into a dead-letter queue";
	if (router_is_reserved(at.name) || (q && queue_is_dead_letter(q)))
		return WIRE_VERDICT_DENIED;
	conf_queue(r->conf, at.node[0] ? at.node : NULL, at.name, &cq);
	*ret_reason = "not in the queue's send list";
	if (!router_allowed(who, ROUTER_SEND, cq.send))
		return WIRE_VERDICT_DENIED;
	if (!q)
		return make_for(r, who, &at, &cq, ret, ret_reason);
	*ret = q;
	*ret_reason = "";
	return WIRE_VERDICT_OK;
}

/* The queue whose dead letters would be in `name`, by the default rule. */
static struct queue *
letters_of(const struct router *r, const char *name)
{
	char base[NAMES_QUEUE_MAX + 1];
	struct queue *q;

	if (!router_is_reserved(name))
		return NULL;
	snprintf(base, sizeof(base), "%.*s", (int)(strlen(name) - strlen(ROUTER_DEAD_SUFFIX)), name);
	q = find(r, base);
	/* NODE.NAME: both may have dots. */
	for (char *dot = strchr(base, '.'); !q && dot; dot = strchr(dot + 1, '.')) {
		*dot = '/';
		q = find(r, base);
		*dot = '.';
	}
	return q && !queue_is_dead_letter(q) && !queue_conf(q)->dead_letter ? q : NULL;
}

enum wire_verdict
router_receive(struct router *r, const struct subject *who, struct wire_bytes name, struct queue **ret,
    const char **ret_reason)
{
	struct conf_queue cq;
	struct place at;
	struct queue *q, *from = NULL;
	enum wire_verdict verdict = parse(r, name, &at, ret_reason);
	const struct conf_access *list;

	if (verdict != WIRE_VERDICT_OK)
		return verdict;
	*ret_reason = "one can only receive from a queue of this node";
	if (at.node[0] != '\0')
		return WIRE_VERDICT_BAD_ADDRESS;
	q = find(r, at.full);
	if (!q && router_is_reserved(at.name)) {
		from = letters_of(r, at.name);
		*ret_reason = "no such queue; only the daemon makes those for dead letters";
		if (!from)
			return WIRE_VERDICT_NO_QUEUE;
	}
	conf_queue(r->conf, NULL, at.name, &cq);
	list = q ? router_list(q, ROUTER_RECEIVE) : from ? queue_conf(from)->receive : cq.receive;
	*ret_reason = "not in the queue's receive list";
	if (!router_allowed(who, ROUTER_RECEIVE, list))
		return WIRE_VERDICT_DENIED;
	if (from) {
		*ret_reason = "max_queues is reached";
		q = dead_letter(r, from);
		if (!q)
			return WIRE_VERDICT_LIMIT;
	}
	if (!q)
		return make_for(r, who, &at, &cq, ret, ret_reason);
	*ret = q;
	*ret_reason = "";
	return WIRE_VERDICT_OK;
}

enum wire_verdict
router_find(struct router *r, const struct subject *who, struct wire_bytes name, struct queue **ret,
    const char **ret_reason)
{
	struct place at;
	struct queue *q;
	enum wire_verdict verdict = parse(r, name, &at, ret_reason);

	if (verdict != WIRE_VERDICT_OK)
		return verdict;
	q = find(r, at.full);
	*ret_reason = "no such queue";
	if (!q)
		return WIRE_VERDICT_NO_QUEUE;
	*ret_reason = "not in the queue's browse list";
	if (!router_allowed(who, ROUTER_BROWSE, router_list(q, ROUTER_BROWSE)))
		return WIRE_VERDICT_DENIED;
	*ret = q;
	*ret_reason = "";
	return WIRE_VERDICT_OK;
}

/* ------------------------------------------------------------------ questions -- */

static int
by_name(const void *a, const void *b)
{
	struct queue *x, *y;

	memcpy(&x, a, sizeof(struct queue *));
	memcpy(&y, b, sizeof(struct queue *));
	return strcmp(queue_name(x), queue_name(y));
}

void
router_each(struct router *r, bool (*fn)(void *arg, struct queue *q), void *arg)
{
	struct queue **all = calloc(r->map.n + 1, sizeof(struct queue *));
	size_t n = 0;

	if (!all)
		return;
	for (struct hmap_node *node = hmap_walk(&r->map, NULL); node; node = hmap_walk(&r->map, node))
		all[n++] = queue_from_map(node);
	qsort(all, n, sizeof(struct queue *), by_name);
	for (size_t i = 0; i < n && fn(arg, all[i]); i++)
		;
	free(all);
}

size_t
router_n_queues(const struct router *r)
{
	return r->map.n;
}

struct queues *
router_queues(struct router *r)
{
	return r->queues;
}
