#include "histogram.h"

#define SUB (1u << HISTOGRAM_SUB_BITS)

static unsigned
bucket_of(uint64_t v)
{
	unsigned shift;

	if (v < SUB)
		return (unsigned)v;
	shift = 63 - HISTOGRAM_SUB_BITS - (unsigned)__builtin_clzll(v);
	return (shift + 1) * SUB + (unsigned)(v >> shift) - SUB;
}

/* The largest number that falls into it. */
static uint64_t
bucket_top(unsigned b)
{
	unsigned shift;

	if (b < SUB)
		return b;
	shift = b / SUB - 1;
	return (((uint64_t)(b % SUB) + SUB + 1) << shift) - 1;
}

void
histogram_add(struct histogram *h, uint64_t v)
{
	h->buckets[bucket_of(v)]++;
	h->n++;
	if (v > h->max)
		h->max = v;
}

uint64_t
histogram_at(const struct histogram *h, unsigned permille)
{
	uint64_t want = h->n / 1000 * permille + (h->n % 1000 * permille + 999) / 1000, seen = 0;

	if (h->n == 0)
		return 0;
	for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
		seen += h->buckets[b];
		if (seen >= want && seen > 0)
			return bucket_top(b) < h->max ? bucket_top(b) : h->max;
	}
	return h->max;
}
