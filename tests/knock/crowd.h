/*
 * crowd: many nodes that are no daemons, and many strangers, in two processes.
 * Each node has a key of its own and an address of its own in 127.1.0.0/16, meets
 * the daemon as a peer, and dials again when it was cut. Strangers knock from
 * all over 127.64.0.0/10: some say nothing, some begin a handshake, some finish
 * one with a key that nobody knows.
 */
#ifndef CROWD_H
#define CROWD_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

/* Seen by all processes. */
struct crowd_shared {
	atomic_uint up;              /* nodes whose session was accepted, since the last cut */
	atomic_uint cuts;            /* raised by the test: all nodes end, and dial at once */
	atomic_ulong handshakes;     /* of nodes, done */
	atomic_ulong dials;          /* of nodes */
	atomic_ulong knocks, turned; /* strangers, and those whose connection was ended */
};

struct crowd {
	struct crowd_shared *shared;
	unsigned n;
	struct tls_context **keys;
	pid_t nodes, strangers; /* 0: not running */
};

/* Makes n keys. */
void crowd_init(struct crowd *c, unsigned n);
/* [peer] sections for them; the caller frees. */
char *crowd_sections(const struct crowd *c, const char *keys);
/* The nodes dial the daemon `to` at this port. */
void crowd_start(struct crowd *c, const char *to, int port);
/* So many strangers a second, until crowd_quiet. */
void crowd_knock(struct crowd *c, int port, unsigned a_second);
void crowd_quiet(struct crowd *c);
void crowd_done(struct crowd *c);

#endif
