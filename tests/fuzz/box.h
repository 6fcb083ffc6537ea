/*
 * box: one whole daemon, berlin, on the simulator's doors, and connections to
 * it that speak for whoever a fuzzer wants to be: programs on its socket, peers
 * that dial it, a peer that it dials. Each run begins with a fresh daemon on a
 * fresh disk; what was drawn comes from its seed. A daemon whose books are out
 * of balance, that never comes to rest, says what is no frame or logs what is
 * no text, ends the process.
 */
#ifndef BOX_H
#define BOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

#define BOX_LINES 6

enum box_kind {
	BOX_PROGRAM, /* on the Unix socket */
	BOX_STRANGER, /* dials the listener for peers */
	BOX_DIALLED  /* where the daemon dials the peer it has an address of */
};

/* One connection, or none just now. */
struct box_line {
	enum box_kind kind;
	bool up;
	bool deaf; /* does not read */
	struct wire_hello hello; /* the daemon's, as far as numbers go */
	bool greeted;
	void *arg;
	/* Each frame of the daemon. Must not touch the line but by box_say and box_frame. */
	void (*heard)(struct box_line *l, const struct wire_frame *f);
};

/* kind of configuration: 0 to BOX_CONFS - 1. */
#define BOX_CONFS 3
void box_start(uint64_t seed, unsigned conf);
/* The daemon is killed, or stops in order, and starts again on what is on its disk. */
void box_restart(bool in_order);
/* The books, all of them. Aborts. */
void box_check(void);
/* Everything ends and is freed. */
void box_end(void);

struct box_line *box_line(size_t i);
/* (Re)connect; DIALLED: a connection that the daemon made is taken, if there is one. */
void box_connect(struct box_line *l, enum box_kind kind);
void box_cut(struct box_line *l, bool in_order);
/* Bytes; what there is no room for is lost. */
void box_say(struct box_line *l, const void *data, size_t len);
void box_frame(struct box_line *l, const struct wire_frame *f);
/* Virtual time passes, and what comes is read. */
void box_run(uint64_t us);

/* A Hello that will do: role of a program, or of the peer of that name. */
void box_greet(struct box_line *l, const char *name);
/* More flows are open, each of which may have a message more than fits. */
void box_flows(size_t n);

#endif
