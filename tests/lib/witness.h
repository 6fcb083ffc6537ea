/*
 * witness: a daemon that is being mistreated, and those that must not notice: a
 * program at it, a link from it to another node. Sessions that end are looked
 * up in the daemon's own books.
 */
#ifndef WITNESS_H
#define WITNESS_H

#include "node.h"
#include "traffic.h"
#include "wire.h"

struct witness {
	struct node paris, berlin; /* paris is the one */
	struct connectd *from;     /* at paris: sends to berlin; does not come back if it is cut */
	struct connectd *to;       /* at berlin */
	struct checker checker;
	struct traffic_told told;
	uint64_t sent;
	uint64_t closed[3][WIRE_CLOSE_CODES];
};

enum witness_kind { WITNESS_PEER, WITNESS_CLIENT, WITNESS_STRANGER };

/* More of paris's configuration: keys of [node], and sections. Its first listener takes peers on TCP. */
void witness_begin(struct witness *w, const char *node_keys, const char *sections);
/* Exactly one session of the kind has ended for that reason since the last call, and no other. */
void witness_closed(struct witness *w, enum witness_kind kind, enum wire_close_code code);
/* No session has ended for a reason that is counted. */
void witness_none_closed(struct witness *w);
/* A message passes. */
void witness_serves(struct witness *w);
/* It serves, on the sessions it had from the beginning; then both daemons stop in order. */
void witness_end(struct witness *w);

#endif
