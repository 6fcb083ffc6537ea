/* What sessions ask the router for: a queue to send to, to receive from, to look at. */
#include "router_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------- makers -- */

static uint64_t
maker_hash(const struct router *r, const struct subject *who)
{
	return who->peer ? router_hash(r, who->peer) : hmap_hash(&who->uid, sizeof(who->uid), r->seed);
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

uint64_t
router_most_made(const struct router *r, bool peers)
{
	uint64_t most = 0;

	for (struct hmap_node *n = hmap_walk(&r->makers, NULL); n; n = hmap_walk(&r->makers, n)) {
		const struct maker *m = hmap_entry(n, struct maker, node);

		if ((m->peer[0] != '\0') == peers && m->n > most)
			most = m->n;
	}
	return most;
}

struct maker *
router_maker(struct router *r, const struct subject *who)
{
	struct maker *m = find_maker(r, who);

	if (m)
		return m;
	m = calloc(1, sizeof(*m));
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

void
router_drop_maker(struct router *r, struct maker *m)
{
	if (!m || m->n > 0)
		return;
	hmap_remove(&r->makers, &m->node);
	free(m);
}

/* ------------------------------------------------------------------ requests -- */

enum wire_verdict
router_parse(struct router *r, struct wire_bytes address, struct place *ret, const char **ret_reason)
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
	m = router_maker(r, who);
	q = m ? router_make(r, at->node[0] ? at->node : NULL, at->name, false, m, false) : NULL;
	if (!q) {
		router_drop_maker(r, m);
		return WIRE_VERDICT_LIMIT;
	}
	q = router_keep(r, q, ret_reason);
	if (!q)
		return WIRE_VERDICT_LIMIT;
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
	enum wire_verdict verdict = router_parse(r, address, &at, ret_reason);

	if (verdict != WIRE_VERDICT_OK)
		return verdict;
	*ret_reason = "a peer may only send to queues of this node";
	if (who->peer && at.node[0] != '\0')
		return WIRE_VERDICT_DENIED;
	if (at.node[0] != '\0' && !conf_peer_find(r->conf, at.node)) {
		snprintf(r->reason, sizeof(r->reason), "no peer %s is configured", at.node);
		*ret_reason = r->reason;
		return WIRE_VERDICT_BAD_ADDRESS;
	}
	q = router_lookup(r, at.full);
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
	q = router_lookup(r, base);
	/* NODE.NAME: both may have dots. */
	for (char *dot = strchr(base, '.'); !q && dot; dot = strchr(dot + 1, '.')) {
		*dot = '/';
		q = router_lookup(r, base);
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
	enum wire_verdict verdict = router_parse(r, name, &at, ret_reason);
	const struct conf_access *list;

	if (verdict != WIRE_VERDICT_OK)
		return verdict;
	*ret_reason = "one can only receive from a queue of this node";
	if (at.node[0] != '\0')
		return WIRE_VERDICT_BAD_ADDRESS;
	q = router_lookup(r, at.full);
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
		q = router_dead_letter(r, from);
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
	enum wire_verdict verdict = router_parse(r, name, &at, ret_reason);

	if (verdict != WIRE_VERDICT_OK)
		return verdict;
	q = router_lookup(r, at.full);
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
