/*
 * raw: the other end of a session as no well-behaved program would be it. It
 * sends any bytes, and reads frames one by one.
 */
#ifndef RAW_H
#define RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node.h"
#include "wire.h"

struct raw {
	int fd;
	struct wire_frame f; /* the last one read; points into buf until the next call */
	size_t used, have;
	uint8_t buf[WIRE_FRAME_MAX + 16];
};

/* Connect to the Unix socket, or to the first TCP listener. Nothing is said yet. */
struct raw *raw_client(const struct node *n);
struct raw *raw_peer(const struct node *n);
/* Over a stream socket of one's own, which it closes. */
struct raw *raw_of(int fd);
void raw_close(struct raw *r);

/* Bytes as they are. What the other end does not take any more is dropped: false. */
bool raw_bytes(struct raw *r, const void *data, size_t len);
bool raw_frame(struct raw *r, const struct wire_frame *f);
/* One frame with these bytes inside. */
bool raw_payload(struct raw *r, const void *data, size_t len);
/* A run: n items with consecutive numbers. */
bool raw_run(struct raw *r, enum wire_kind kind, uint32_t id, uint64_t first, const struct wire_item *items, size_t n);

/* The next frame but Ping (answered) into r->f: its kind, or WIRE_NONE when the session is over. 20 s without one fails the test. */
enum wire_kind raw_next(struct raw *r);
/* Read on until a frame of this kind; anything before is dropped. Fails the test if the session ends before. */
void raw_until(struct raw *r, enum wire_kind kind);
/* Read to the end of the session: the code of its Close, -1: it ended without one. */
int raw_end(struct raw *r);
/* The session lives: a Ping of ours is answered. */
void raw_alive(struct raw *r);

/* Hello as a good client sends it, and the daemon's is read. */
void raw_greet_client(struct raw *r);
/* Hello as the node `name` with a store id made of it, towards node `to`. Nonces rise by themselves. */
struct wire_frame raw_hello_peer(const char *name, const char *to);
/* Everything up to Accept, at a daemon with a smaller name, or with a larger one. */
void raw_meet(struct raw *r, const char *name, const struct node *n);

#endif
