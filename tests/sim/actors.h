/*
 * actors: daemons and programs of a simulated cluster, and what can happen to
 * them. Real core, real library; only the doors are virtual.
 */
#ifndef ACTORS_H
#define ACTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACTORS_DAEMONS 3
#define ACTORS_CLIENTS 8

/* Draw a cluster from the world's seed and start it. */
void actors_start(void);
/* Take everything down; nothing may be left. */
void actors_end(void);

/* One fault, drawn at random. */
void actors_fault(void);
/* From here on nothing goes wrong any more: everybody who is down comes back, consumers take all, producers stop. */
void actors_heal(void);
/* Is everything said and delivered? */
bool actors_at_rest(void);
/* When that has been so for a while: nothing has leaked. */
void actors_check_drained(void);
/* Trace what everybody still holds. */
void actors_trace(void);
/* Limits hold now. */
void actors_check_limits(void);
/* Nothing has gone wrong yet: no pair met more often than crossed dials make it (the argument is in t_peers). */
void actors_check_calm(void);

/* What was there to be survived. */
struct actors_counts {
	uint64_t power_cuts, full, fenced, failed_starts;
	uint64_t cold; /* messages seen that only the store had */
};
const struct actors_counts *actors_counts(void);
size_t actors_n_daemons(void);
size_t actors_n_clients(void);

#endif
