/*
 * traffic: programs of a test that send and receive numbered messages through
 * the library. A body begins with its number; a checker gets what comes.
 */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include <connectd.h>
#include <stddef.h>
#include <stdint.h>

#include "checker.h"
#include "node.h"

/* Fails the test if the daemon does not take it. keep_trying: also without a daemon. */
struct connectd *traffic_open(const struct node *n);
struct connectd *traffic_open_trying(const struct node *n);

/* What was told of messages, finally. */
struct traffic_told {
	uint64_t reached; /* the level asked for */
	uint64_t untold;  /* accepted, and then the daemon that could have told more ended */
	uint8_t *how;     /* by the number in the flow: 'r' or 'u'; NULL: not wanted */
};

/* A memory message, sent when the window has room. Any other outcome fails the test. */
void traffic_send(struct connectd *c, const char *dest, uint64_t number, size_t size, enum connectd_level level,
    struct traffic_told *told);

void traffic_consume(struct connectd *c, const char *queue);
/* Take and ack until k has got so many, while `from` (NULL: nobody) is kept going. */
void traffic_receive(struct connectd *to, struct connectd *from, struct checker *k, uint64_t got);
/* Keep c going until *value is at least this; fails the test after 20 s without. */
void traffic_await(struct connectd *c, const uint64_t *value, uint64_t at_least);
/* The number in a message. */
uint64_t traffic_number(const struct connectd_msg *m);

/* What the daemon's books say of a peer: sessions so far, messages that it has not confirmed. */
void traffic_peer(struct node *n, const char *peer, uint64_t *ret_connects, uint64_t *ret_unconfirmed);

#endif
