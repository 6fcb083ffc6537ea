/* router_internal: what router.c and router_access.c share. */
#ifndef ROUTER_INTERNAL_H
#define ROUTER_INTERNAL_H

#include "list.h"
#include "router.h"

/* Who made queues on demand, and how many of them there still are. */
struct maker {
	struct hmap_node node;
	uint32_t uid;                    /* of a local program */
	char peer[NAMES_NODE_MAX + 1];   /* "": a local program */
	uint64_t n;
};

/* The router's part of a queue. */
struct owned {
	struct list unused; /* in the router's list, while it is unused and may go */
	uint64_t unused_since_ms;
	struct maker *maker; /* NULL: the daemon itself */
	const struct conf_access *receive, *browse; /* a dead-letter queue's: those of the queue whose letters they are */
	bool stays;          /* named in the configuration */
};

static inline struct owned *
owned_of(struct queue *q)
{
	return queue_owner_data(q);
}

struct router {
	struct loop *loop;
	const struct conf *conf;
	const struct conf_node *node;
	struct queues *queues;
	struct router_events events;
	uint64_t seed;
	struct hmap map;    /* queues by name */
	struct queue **sorted; /* the same, in the order of names */
	size_t cap_sorted;
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

/* ---- router.c */
uint64_t router_hash(const struct router *r, const char *s);
struct router_peer *router_find_peer(const struct router *r, const char *name);
/*
 * node NULL: here. maker NULL: the daemon itself. stays: named in the
 * configuration. Not in the store yet (router_keep). NULL: out of memory.
 */
struct queue *router_make(struct router *r, const char *node, const char *name, bool dead_letter, struct maker *maker,
    bool stays);
/* What came to be is kept in the store, if it is durable: q; or NULL, it is gone again, and *ret_reason says why. */
struct queue *router_keep(struct router *r, struct queue *q, const char **ret_reason);
/* Of struct queues_config: the queue for q's dead letters; arg is the router. */
struct queue *router_dead_letter(void *arg, struct queue *q);

/* ---- router_request.c */
/* Split an address; VERDICT_OK or the verdict. */
enum wire_verdict router_parse(struct router *r, struct wire_bytes address, struct place *ret, const char **ret_reason);
/* Who makes queues: found or added; NULL: out of memory. */
struct maker *router_maker(struct router *r, const struct subject *who);
/* Forget a maker without queues. */
void router_drop_maker(struct router *r, struct maker *m);

/* ---- router_store.c */
/* Of struct queues_config: what the store keeps of a queue. */
size_t router_definition(void *arg, struct queue *q, uint8_t *ret, size_t max);

/* ---- router_access.c */

/* A list that lets nobody in but administrators. */
extern const struct conf_access router_nobody;
/* May they? Judged by the lists of the queue, or without lists by the default rule. */
bool router_allowed(const struct subject *who, enum router_right right, const struct conf_access *list);
/* The list of an existing queue for this right. */
const struct conf_access *router_list(struct queue *q, enum router_right right);
/*
 * `dead` keeps the letters of `from`, and is read by whom `from` lets. With a
 * name of its own (named) and lists for that it goes by those. Shared by queues
 * whose lists differ it is for administrators alone.
 */
void router_share_letters(struct queue *dead, struct queue *from, bool named, bool first);
/* Is it a name that only the daemon makes queues with? */
bool router_is_reserved(const char *name);

#define ROUTER_DEAD_SUFFIX ".dead"

/* The default name of the queue for q's dead letters. */
void router_dead_name(const struct queue *q, char ret[static NAMES_QUEUE_MAX + 1]);

_Static_assert(sizeof(struct owned) <= QUEUE_OWNER_DATA, "the router's part fits");

#endif
