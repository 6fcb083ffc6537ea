/*
 * gate: how much of us strangers get. Whoever connects is a guest until it has
 * proven to be a peer: how likely that is goes by where it comes from, how many
 * are let in a second by token buckets, and when the work on a guest's handshake
 * is done by turns, which take no more than a share of the CPU. Decides; counts,
 * refuses and closes nothing.
 */
#ifndef GATE_H
#define GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf.h"
#include "list.h"
#include "loop.h"

#define GATE_PERIOD_MS 100    /* of handshake_budget */
#define GATE_BUCKETS_MAX 4096 /* addresses whose rate is remembered */
#define GATE_ADDRESSES_MAX 4  /* remembered of one peer */
#define GATE_STRANGERS_TURN 16 /* of the turns that are wanted, each so many'th is for the least known first */

struct gate;

enum gate_rank {
	GATE_STRANGER,
	GATE_EXPECTED, /* inside a peer's `from` */
	GATE_KNOWN,    /* a peer's `address`, or one where a peer has proven itself since our start */
	GATE_RANKS
};

/* Where from: an IPv4 address, or an IPv6 network of 64 bits, which one host may have to itself. */
struct gate_from {
	bool v6;
	uint8_t ip[8];
};
struct gate_from gate_from(bool v6, const uint8_t ip[static 16]);

/* Embedded in its owner's object. */
struct gate_guest {
	struct list arrived; /* those of its rank */
	struct list waits;   /* for its turn; or is in no list */
	enum gate_rank rank;
	unsigned steps; /* of its handshake, done */
};

/* go_on: the guest that was told to wait has its turn. Called from the loop. 0 or -ENOMEM. */
int gate_new(struct loop *l, const struct conf *c, void (*go_on)(struct gate_guest *g), struct gate **ret);
void gate_free(struct gate *g); /* guests have left */
/* Other settings. On -ENOMEM what was known before stays in force. c must live until the next call. */
int gate_configure(struct gate *g, const struct conf *c);

enum gate_rank gate_rank(const struct gate *g, struct gate_from from);
/* A peer has proven itself there. */
void gate_proven(struct gate *g, const char *peer, struct gate_from from);

/* May one more handshake from there begin, by the rates of strangers? NULL: yes, and it counts; else the limit's name. */
const char *gate_refuses(struct gate *g, enum gate_rank rank, struct gate_from from);

void gate_enter(struct gate *g, struct gate_guest *guest, enum gate_rank rank);
void gate_leave(struct gate *g, struct gate_guest *guest);
/* Whose place a guest of this rank may have: the least known, and of these who came first. NULL: nobody's. */
struct gate_guest *gate_gives_way(const struct gate *g, enum gate_rank rank);

/* A step of its handshake is due: now? False: go_on says when. */
bool gate_may_shake(struct gate *g, struct gate_guest *guest);
/* It was done, and took so much CPU time. */
void gate_shaken(struct gate *g, struct gate_guest *guest, uint64_t ns);

/* In the last whole period, and second: CPU time for handshakes in ms, and strangers let in. */
void gate_used(const struct gate *g, uint64_t *ret_budget_ms, uint64_t *ret_strangers);

#endif
