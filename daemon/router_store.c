/* What the store keeps of a queue, so that it can be made again. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "definition.h"
#include "router_internal.h"

/*
 * version u8, flags u8 (1 dead letters, 2 held), maker u8 (0 the daemon, 1 a local
 * user, 2 a peer), zero u8, uid u32; then three strings, each with its length
 * in one byte: the peer that made it, node, name.
 */
#define VERSION 1
#define FIXED 8
#define DEFINITION_MAX (FIXED + 3 + 2 * NAMES_NODE_MAX + NAMES_QUEUE_MAX)

size_t
router_definition(void *arg, struct queue *q, uint8_t *ret, size_t max)
{
	const struct maker *m = owned_of(q)->maker;
	const char *peer = m ? m->peer : "", *node = queue_node(q) ? queue_node(q) : "";
	size_t len = FIXED;

	(void)arg;
	if (max < DEFINITION_MAX)
		return 0;
	memset(ret, 0, FIXED);
	ret[0] = VERSION;
	ret[1] = (uint8_t)(queue_is_dead_letter(q) | queue_is_held(q) << 1);
	ret[2] = !m ? 0 : peer[0] == '\0' ? 1 : 2;
	definition_put_number(ret + 4, m ? m->uid : 0, 4);
	len += definition_put_string(ret + len, peer, strlen(peer));
	len += definition_put_string(ret + len, node, strlen(node));
	len += definition_put_string(ret + len, queue_remote_name(q), strlen(queue_remote_name(q)));
	return len;
}

int
router_restore(struct router *r, struct store_bytes definition, struct queue **ret)
{
	const uint8_t *p = definition.data;
	char peer[NAMES_NODE_MAX + 1], node[NAMES_NODE_MAX + 1], name[NAMES_QUEUE_MAX + 1], full[NAMES_DEST_MAX + 1];
	struct store_bytes rest;
	struct subject who = { .unit = "" };
	struct maker *m = NULL;
	struct queue *q;

	if (definition.len < FIXED || p[0] != VERSION || p[2] > 2)
		return -EBADMSG;
	rest = (struct store_bytes){ p + FIXED, definition.len - FIXED };
	if (definition_string(&rest, NAMES_NODE_MAX, peer) < 0 || definition_string(&rest, NAMES_NODE_MAX, node) < 0 ||
	    definition_string(&rest, NAMES_QUEUE_MAX, name) < 0 || !names_queue_ok(name, strlen(name)) ||
	    (node[0] != '\0' && !names_node_ok(node, strlen(node))))
		return -EBADMSG;
	snprintf(full, sizeof(full), "%s%s%s", node, node[0] ? "/" : "", name);
	q = router_lookup(r, full);
	if (q) {
		if ((p[1] & 1) && !queue_is_dead_letter(q)) {
			queue_make_dead_letter(q);
			r->n_dead++;
		}
		queue_set_held(q, p[1] & 2);
		*ret = q;
		return 0;
	}
	who.uid = (uint32_t)definition_number(p + 4, 4);
	if (p[2] == 2)
		who.peer = peer;
	if (p[2] != 0) {
		m = router_maker(r, &who);
		if (!m)
			return -ENOMEM;
	}
	q = router_make(r, node[0] ? node : NULL, name, p[1] & 1, m, false);
	if (!q) {
		router_drop_maker(r, m);
		return -ENOMEM;
	}
	queue_set_held(q, p[1] & 2);
	*ret = q;
	return 0;
}

void
router_restored(struct router *r)
{
	for (struct hmap_node *n = hmap_walk(&r->map, NULL); n; n = hmap_walk(&r->map, n)) {
		struct queue *q = queue_from_map(n), *dead;
		const char *named = queue_conf(q)->dead_letter;
		char name[NAMES_QUEUE_MAX + 1];

		if (queue_is_dead_letter(q))
			continue;
		if (!named)
			router_dead_name(q, name);
		dead = router_lookup(r, named ? named : name);
		if (dead && dead != q && queue_is_dead_letter(dead)) {
			struct owned *o = owned_of(dead);

			router_share_letters(dead, q, named != NULL, !o->receive && !o->browse);
		}
	}
	/* Whose letters they are is not known any more. */
	for (struct hmap_node *n = hmap_walk(&r->map, NULL); n; n = hmap_walk(&r->map, n)) {
		struct owned *o = owned_of(queue_from_map(n));

		if (queue_is_dead_letter(queue_from_map(n)) && !o->receive)
			o->receive = o->browse = &router_nobody;
	}
}
