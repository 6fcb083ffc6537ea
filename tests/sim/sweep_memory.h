/*
 * sweep_memory: what daemons and library allocate in the simulator, so that it
 * can be made to fail and be missed. Their objects are linked with malloc and
 * its like renamed to these (see the Makefile); the simulator's own are not.
 */
#ifndef SWEEP_MEMORY_H
#define SWEEP_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* Count from here on; the first-th allocation (from 1) fails, and `many` in a row. first 0: none does. What is held is forgotten. */
void sweep_memory_start(uint64_t first, uint64_t many, bool trace);
/* Nothing more fails. */
void sweep_memory_heal(void);
uint64_t sweep_memory_count(void);
/* That failed. */
uint64_t sweep_memory_failed(void);
/* Blocks that nobody has freed, and which allocation the first of them was. */
uint64_t sweep_memory_held(uint64_t *ret_first);

#endif
