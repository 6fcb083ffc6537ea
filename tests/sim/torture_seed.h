/*
 * torture_seed: one seed: a run of a store through faults and restarts, and,
 * from every moment of it at which it could have crashed, what comes after
 * that crash.
 */
#ifndef TORTURE_SEED_H
#define TORTURE_SEED_H

#include <stdbool.h>
#include <stdint.h>

struct seed_results {
	uint64_t seeds, messages, appends, calls;
	uint64_t moments; /* at which it could have crashed */
	uint64_t states;  /* crash states that were recovered and checked */
	uint64_t unsynced; /* of these, with something appended and not told to be synced */
	uint64_t starts;  /* of stores */
	uint64_t refused; /* starts that a fault made fail */
	uint64_t crash;   /* 1 + index of what is under way; 0: the run itself */
};

/*
 * Run a seed. True: every promise was kept; false: world_violated says which
 * was not, r->crash where. With only_crash, just that one is tried (and traced
 * with trace); 0 stands for the run itself, UINT64_MAX for all.
 */
bool seed_run(uint64_t seed, uint64_t only_crash, bool trace, struct seed_results *r);

#endif
