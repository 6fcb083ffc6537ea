/*
 * router: name -> queue. Makes queues on demand within limits and access, lets
 * unused ones go, and knows which nodes there are to send to. Links register
 * here and are handed the outbound queues of their node; the router knows
 * nothing else of them.
 *
 * Dead letters of NAME go to NAME.dead, of NODE/NAME to NODE.NAME.dead, made
 * when the first one comes or somebody subscribes; where that is longer than a
 * queue's name may be, the part that fits and 16 hexadecimal digits stand for
 * it. Whoever may receive from (browse) NAME may do so with its dead letters;
 * one queue for those of several with different lists is for administrators,
 * unless it has lists under its own name. There may be max_queues of them
 * beside the max_queues others.
 */
#ifndef ROUTER_H
#define ROUTER_H

#include <stdbool.h>
#include <stdint.h>

#include "conf.h"
#include "hmap.h"
#include "loop.h"
#include "queue.h"

struct router;

/* Who asks: a local program, or a peer. */
struct subject {
	const char *peer; /* NULL: a local program */
	uint32_t uid, gid;
	const uint32_t *groups; /* all groups of a local program */
	size_t n_groups;
	const char *unit;  /* "" if not known for sure */
	bool is_admin;
};

enum router_right { ROUTER_SEND, ROUTER_RECEIVE, ROUTER_BROWSE };

/* A node one can send to. Embedded in the link. */
struct router_peer {
	struct hmap_node node;
	const char *name;
	/* An outbound queue for this node came to be: attach a consumer. From inside a router call. 0 or -ENOMEM. */
	int (*attach)(struct router_peer *p, struct queue *q);
	/* It goes away: detach the consumer and forget it. */
	void (*detach)(struct router_peer *p, struct queue *q);
};

struct router_events {
	void (*queue)(void *arg, const char *name, bool created); /* for `connectctl events` */
	/*
	 * A queue was made for a node that is no router_peer yet, perhaps one of a family: router_peer_add it. 0, also
	 * if it is nobody's; -ENOMEM. May be NULL.
	 */
	int (*wanted)(void *arg, const char *node);
	void *arg;
};

/* conf must outlive the router. Queues named in the configuration are made at once. NULL: out of memory. */
struct router *router_new(struct loop *l, const struct conf *conf, struct message_store *ms, uint32_t start_count,
    const struct router_events *ev);
void router_free(struct router *r);
/*
 * Another configuration from now on, which must outlive the router as the one
 * before must not any more. What is in queues stays. Consumers and senders that
 * may not any more are their owners' to find (router_may). NULL, or which new
 * queue is not there and why, good until the next call here.
 */
const char *router_reconfigure(struct router *r, const struct conf *conf);

/* Before queues of the node are asked for. Attaches those that exist. 0 or -ENOMEM. */
int router_peer_add(struct router *r, struct router_peer *p);
/* The queues stay; p has detached from them. */
void router_peer_remove(struct router *r, struct router_peer *p);

/*
 * The queue to put messages for `address` in ("queue", "node/queue", where
 * this node's own name means here), made if missing. VERDICT_OK and *ret; or
 * the verdict and *ret_reason (a sentence, good until the next call here). A
 * peer may only name queues of this node. Nobody may send to a dead-letter
 * queue, nor make one: names ending in .dead are the daemon's, as are those
 * starting with $.
 */
enum wire_verdict router_send(struct router *r, const struct subject *who, struct wire_bytes address, struct queue **ret,
    const char **ret_reason);
/* The queue to consume from; only of this node, made if missing. */
enum wire_verdict router_receive(struct router *r, const struct subject *who, struct wire_bytes name, struct queue **ret,
    const char **ret_reason);
/* An existing queue by name, outbound ones too, for peek and purge. ROUTER_BROWSE or admin. */
enum wire_verdict router_find(struct router *r, const struct subject *who, struct wire_bytes name, struct queue **ret,
    const char **ret_reason);

/* May they, by the lists that count now? */
bool router_may(const struct subject *who, enum router_right right, struct queue *q);

/* Has this node anything for, or a queue to, that peer? (messages waiting in its outbound queues) */
uint64_t router_peer_waiting(struct router *r, const char *peer);

/* Every queue, in bytewise order of names, until fn returns false; fn must not make or remove queues. */
void router_each(struct router *r, bool (*fn)(void *arg, struct queue *q), void *arg);
/* The same of those whose names come behind that one, found without a look at the others. */
void router_each_behind(struct router *r, const char *name, bool (*fn)(void *arg, struct queue *q), void *arg);
/* By full name, or NULL: nobody is asking. */
struct queue *router_lookup(const struct router *r, const char *full);
size_t router_n_queues(const struct router *r);
/* The most queues that exist and were made on demand by one user, or by one peer. */
uint64_t router_most_made(const struct router *r, bool peers);
struct queues *router_queues(struct router *r);

/*
 * A queue found in the store: made again, or the configured one of that name.
 * 0; -EBADMSG: the definition makes no sense; -ENOMEM. Makers and limits count
 * it, but do not keep it out.
 */
int router_restore(struct router *r, struct store_bytes definition, struct queue **ret);
/* All that is restored is: dead-letter queues get the access lists of those whose letters they keep. */
void router_restored(struct router *r);

#endif
