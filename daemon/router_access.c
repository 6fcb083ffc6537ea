/* Who may do what with which queue, and the names that only the daemon makes. */
#include "router_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool
has_group(const struct subject *who, uint32_t gid)
{
	if (who->gid == gid)
		return true;
	for (size_t i = 0; i < who->n_groups; i++)
		if (who->groups[i] == gid)
			return true;
	return false;
}

static bool
matches(const struct subject *who, const struct conf_access_entry *e)
{
	if (who->peer)
		return e->kind == CONF_ACCESS_PEER && strcmp(e->name, who->peer) == 0;
	switch (e->kind) {
	case CONF_ACCESS_USER:
		return who->uid == e->id;
	case CONF_ACCESS_GROUP:
		return has_group(who, e->id);
	case CONF_ACCESS_UNIT:
		return who->unit && who->unit[0] != '\0' && strcmp(e->name, who->unit) == 0;
	case CONF_ACCESS_PEER:
		break;
	}
	return false;
}

bool
router_allowed(const struct subject *who, enum router_right right, const struct conf_access *list)
{
	if (who->is_admin && !who->peer)
		return true;
	/* Consuming and looking are for programs on this host. */
	if (who->peer && right != ROUTER_SEND)
		return false;
	/* Whoever asks may open the socket, or is a configured peer. */
	if (!list || !list->set)
		return true;
	for (size_t i = 0; i < list->n; i++)
		if (matches(who, &list->items[i]))
			return true;
	return false;
}

const struct conf_access *
router_list(struct queue *q, enum router_right right)
{
	switch (right) {
	case ROUTER_SEND:
		return queue_conf(q)->send;
	case ROUTER_RECEIVE:
		return queue_is_dead_letter(q) ? owned_of(q)->receive : queue_conf(q)->receive;
	case ROUTER_BROWSE:
		return queue_is_dead_letter(q) ? owned_of(q)->browse : queue_conf(q)->browse;
	}
	return NULL;
}

bool
router_may(const struct subject *who, enum router_right right, struct queue *q)
{
	return router_allowed(who, right, router_list(q, right));
}

static bool
same_entry(const struct conf_access_entry *a, const struct conf_access_entry *b)
{
	return a->kind == b->kind && strcmp(a->name, b->name) == 0;
}

static bool
same_list(const struct conf_access *a, const struct conf_access *b)
{
	bool a_set = a && a->set, b_set = b && b->set;

	if (!a_set || !b_set)
		return a_set == b_set;
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!same_entry(&a->items[i], &b->items[i]))
			return false;
	return true;
}

const struct conf_access router_nobody = { .set = true };

static const struct conf_access *
shared_list(const struct conf_access *now, const struct conf_access *own, const struct conf_access *from, bool named,
    bool first)
{
	if (named && own && own->set)
		return own;
	if (first)
		return from;
	return same_list(now, from) ? now : &router_nobody;
}

void
router_share_letters(struct queue *dead, struct queue *from, bool named, bool first)
{
	const struct conf_queue *own = queue_conf(dead), *other = queue_conf(from);
	struct owned *o = owned_of(dead);

	o->receive = shared_list(o->receive, own->receive, other->receive, named, first);
	o->browse = shared_list(o->browse, own->browse, other->browse, named, first);
}

bool
router_is_reserved(const char *name)
{
	size_t len = strlen(name), suffix = strlen(ROUTER_DEAD_SUFFIX);

	return name[0] == '$' || (len >= suffix && strcmp(name + len - suffix, ROUTER_DEAD_SUFFIX) == 0);
}

void
router_dead_name(const struct queue *q, char ret[static NAMES_QUEUE_MAX + 1])
{
	const char *node = queue_node(q);
	char whole[NAMES_DEST_MAX + sizeof(ROUTER_DEAD_SUFFIX)];
	int len = snprintf(whole, sizeof(whole), "%s%s%s" ROUTER_DEAD_SUFFIX, node ? node : "", node ? "." : "",
	    queue_remote_name(q));

	if (len <= NAMES_QUEUE_MAX) {
		memcpy(ret, whole, (size_t)len + 1);
		return;
	}
	/* Too long for a queue: as much of it as fits, and 64 bits that tell it from others cut the same. */
	snprintf(ret, NAMES_QUEUE_MAX + 1, "%.*s-%016" PRIx64 ROUTER_DEAD_SUFFIX,
	    NAMES_QUEUE_MAX - 17 - (int)strlen(ROUTER_DEAD_SUFFIX), whole, hmap_hash(whole, (size_t)len, 0));
}
