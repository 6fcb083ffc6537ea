/* queue_box: a queue on a virtual loop, with senders, takers and flows that write down what they hear. */
#ifndef QUEUE_BOX_H
#define QUEUE_BOX_H

#include "fake_loop.h"
#include "queue.h"

struct box {
	struct loop *loop;
	struct message_store store;
	struct queues *qs;
	struct queues_config cfg;
	struct conf_queue conf;
	struct queue *q;    /* made from conf */
	struct queue *dead; /* for dead letters; NULL: none can be had */
	unsigned unused, used;
};

/* Set conf and cfg in between. */
void box_init(struct box *b);
void box_make(struct box *b, const char *node, const char *name);
void box_make_dead(struct box *b, uint64_t max_messages);
/* Frees everything left, and with it checks that nothing leaked. */
void box_done(struct box *b);

/* The books must balance: what came in is what went out and what is there. */
void box_balance(struct queue *q);
struct queue_stats box_stats(struct queue *q);

struct message *box_message(struct box *b, uint64_t bytes, enum wire_priority priority, uint64_t ttl, uint64_t not_before);

struct heard {
	struct sender sender;
	unsigned n;
	uint64_t number;
	enum wire_level level;
	enum wire_reject_code code;
	char reason[64];
	unsigned by_level[WIRE_LEVEL_DROPPED + 1];
};
void heard_init(struct heard *h);

struct flow {
	struct inlet inlet;
	uint64_t messages, bytes; /* credit left */
	unsigned rooms, gone;
	bool own_room; /* what was started last has room of its own */
};
void flow_open(struct flow *f, struct queue *q, bool peer);
void flow_grant(struct flow *f);
/* Start and put a message, after a grant if need be. The result of queue_put (the message is freed if it fails). */
/* A message starts: by the flow's credit, or by room of its own. false: there is none. */
bool flow_start(struct flow *f, uint64_t bytes);
int flow_put(struct flow *f, struct message *m, struct sender *s, uint64_t number);
/* Fill: n messages of no bytes, numbers 1 to n. */
void flow_fill(struct box *b, struct flow *f, uint64_t n, struct sender *s);

struct taker {
	struct consumer consumer;
	unsigned wakes, standbys, lost, cancelled;
	bool greedy; /* on wake takes all there is, and acks it */
	unsigned took;
	struct entry *last_lost;
};
void taker_attach(struct taker *t, struct queue *q);
void taker_exclusive(struct taker *t, struct queue *q);
void taker_link(struct taker *t, struct queue *q);

#endif
