/*
 * consumer: the receiving half of a handle. Subscriptions, deliveries, credit,
 * and what was acked but not written yet.
 */
#ifndef CONSUMER_H
#define CONSUMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "connectd.h"
#include "hmap.h"
#include "list.h"
#include "msg.h"
#include "names.h"
#include "wire.h"

#define CONSUMER_CREDIT 1024
#define CONSUMER_CREDIT_BYTES (4u << 20)
#define CONSUMER_RANGES WIRE_RANGES_MAX /* of acks gathered in one frame */

struct connectd_consumer {
	unsigned refs; /* its user's, and one of each message not settled */
	struct connectd *conn; /* NULL: closed */
	struct list all;
	struct hmap_node by_id;
	uint32_t id;
	char queue[NAMES_DEST_MAX + 1];
	bool exclusive;
	bool refused;          /* by the daemon, for good */
	connectd_message_fn fn;
	void *userdata;
	uint64_t credit_messages, credit_bytes; /* held at most */
	uint64_t done_messages, done_bytes;     /* settled in this session */
	uint64_t told_messages, told_bytes;     /* of those the daemon has credit again */
	struct connectd_msg *partial;           /* a body under way */
	uint64_t partial_tag;
	size_t partial_have;
};

struct consumers {
	struct list all;
	struct hmap by_id;
	uint32_t next_id;
	struct connectd_consumer *last;
	struct list inbox;  /* messages for connectd_recv */
	int refusal;        /* of a consumer without call-back, for connectd_recv; 0: none */
	/* Settled, not written yet: all of one kind. */
	bool nack;
	enum connectd_nack_action action;
	uint64_t delay_ms;
	uint64_t ranges[2 * CONSUMER_RANGES];
	size_t n_ranges;
};

void consumers_init(struct connectd *c);
void consumers_done(struct connectd *c);

/* A session is there, or gone. */
void consumers_up(struct connectd *c);
void consumers_down(struct connectd *c);

/* Write the acks gathered. */
void consumers_flush(struct connectd *c);

void consumer_unref(struct connectd_consumer *k);

/* Frames from the daemon. 0, or a negative errno with a sentence recorded. */
int consumer_subscribed(struct connectd *c, const struct wire_subscribed *s);
int consumer_unsubscribe(struct connectd *c, const struct wire_unsubscribe *u);
int consumer_deliver(struct connectd *c, const struct wire_run *run);

#endif
