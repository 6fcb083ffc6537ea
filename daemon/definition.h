/*
 * definition: the few bytes by which the store remembers a queue or a flow:
 * numbers at fixed places, then strings with their length in one byte.
 */
#ifndef DEFINITION_H
#define DEFINITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"

/* The `bytes` lowest bytes of n, little-endian. */
void definition_put_number(uint8_t *to, uint64_t n, unsigned bytes);
uint64_t definition_number(const uint8_t *from, unsigned bytes);

/* A string of at most 255 bytes; returns how many bytes it takes, one more than its own. */
size_t definition_put_string(uint8_t *to, const void *from, size_t len);
/*
 * The next string is taken off the front of `from`, and a NUL put behind it.
 * Its length, or -1: there is none, or it is longer than max.
 */
int definition_string(struct store_bytes *from, size_t max, void *ret);

#endif
