/*
 * outlet: the consuming half of a client's session: its subscriptions, what it
 * was delivered and has not acked.
 */
#ifndef OUTLET_H
#define OUTLET_H

#include <stdint.h>

#include "hmap.h"
#include "list.h"
#include "log.h"
#include "loop.h"
#include "router.h"
#include "session.h"
#include "wire.h"

#define OUTLET_SUBSCRIPTIONS_MAX 256 /* a session: Hello.limits.max_subscriptions */

/* Embedded in a client. */
struct outlet {
	struct loop *loop;
	struct router *router;
	struct session *session;
	const struct subject *who;
	struct hmap subscriptions; /* by id */
	struct hmap unacked;       /* entries by tag */
	struct list ready;         /* subscriptions that may have something to take */
	struct list blocked;       /* those that wait for room on the session */
	struct loop_call pump;
	uint64_t last_tag;
	uint64_t lost;      /* tags taken away that may still be acked */
	uint64_t delivered; /* messages */
	struct log_limit *denied;
};

/* denied is borrowed: where refusals are told. */
void outlet_init(struct outlet *o, struct loop *l, struct router *r, struct session *s, const struct subject *who,
    struct log_limit *denied);
/* The session is gone: what it holds goes back to the queues. */
void outlet_done(struct outlet *o);

/* A frame of the consuming side: Subscribe, Credit of a subscription, Ack, Nack, Unsubscribe. As intake_frame. */
enum wire_close_code outlet_frame(struct outlet *o, const struct wire_frame *f, const char **ret_reason);
/* Access has changed: subscriptions that may not any more are cancelled. */
void outlet_recheck(struct outlet *o);
/* The session has room again. */
void outlet_writable(struct outlet *o);

#endif
