/*
 * histogram: counts of numbers in buckets less than 1 % wide, in fixed memory.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 7 /* 128 buckets from one power of two to the next */
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram { /* all 0: empty */
	uint64_t n, max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t v);

/* The number that `permille` of 1000 do not exceed, rounded up by less than 1 %; 0 if empty. */
uint64_t histogram_at(const struct histogram *h, unsigned permille);

#endif
