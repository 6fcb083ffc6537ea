/*
 * no_memory: allocations that fail. Link with -Wl,--wrap=malloc, calloc, realloc.
 */
#ifndef NO_MEMORY_H
#define NO_MEMORY_H

extern unsigned long no_memory_in; /* that many allocations from now one fails; 0: none does */

#endif
