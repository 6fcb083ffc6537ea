/* gate_internal: what the files of gate share. */
#ifndef GATE_INTERNAL_H
#define GATE_INTERNAL_H

#include <string.h>

#include "gate.h"
#include "hmap.h"

/* What was counted in the slot of time before this one. */
struct meter {
	uint64_t slot_ns, slot, now, before;
};

struct bucket {
	struct hmap_node node;
	struct list used;
	struct gate_from from;
	uint64_t full_ns;
};

/* From the configuration: numeric addresses of peers, and networks that they may come from. */
struct fixed {
	struct place *places;
	struct network *networks;
	struct hmap by_address, by_network;
	bool has[2][65]; /* networks of this family and length */
};

struct gate {
	struct loop *loop;
	const struct conf *conf;
	void (*go_on)(struct gate_guest *g);
	uint64_t seed;

	struct list guests[GATE_RANKS], waiting[GATE_RANKS];
	struct gate_guest *turn; /* whose step it is */
	uint64_t turns, free_ns; /* no step before */
	struct loop_timer timer;

	struct hmap buckets;
	struct list by_use; /* longest unused first */
	size_t n_buckets;
	uint64_t full_ns; /* of strangers together, as in a bucket */

	struct fixed fixed;
	struct hmap proven; /* struct place */
	struct hmap peers;  /* struct proven_peer */

	struct meter spent, let_in;
};

static inline bool
gate_same(struct gate_from a, struct gate_from b)
{
	return a.v6 == b.v6 && memcmp(a.ip, b.ip, sizeof(a.ip)) == 0;
}

static inline uint64_t
gate_hash(const struct gate *g, struct gate_from from)
{
	return hmap_hash(from.ip, sizeof(from.ip), g->seed + from.v6);
}

/* ---- gate_places.c: who is known */
void gate_places_init(struct gate *g);
void gate_places_done(struct gate *g);

#endif
