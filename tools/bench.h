/*
 * bench: the two processes of a measurement, a producer and a consumer, and
 * what they count. The first 8 bytes of a body are its sequence number; the
 * type names the run, so that nothing else is taken for a part of it.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "histogram.h"
#include "names.h"

#define BENCH_SIZE_MIN 8 /* the sequence number */

struct bench_plan {
	const char *from, *to;               /* sockets */
	const char *dest;                    /* as the producer's daemon calls the queue */
	char queue[NAMES_QUEUE_MAX + 1];     /* as the consumer's calls it */
	char replies[NAMES_DEST_MAX + 1];    /* latency: the queue at the producer's node, as the consumer's calls it */
	char type[64];                       /* of this run */
	size_t size;
	uint64_t duration_ns;
	bool memory, latency;
};

/* What the two report, in memory that they share with whoever started them. */
struct bench_shared {
	_Atomic uint64_t sent;     /* by the producer so far */
	_Atomic bool done;         /* it sends no more */
	_Atomic bool stored;       /* its messages are confirmed when they are on disk */
	_Atomic uint64_t received; /* by the consumer, each number once */
	_Atomic uint64_t duplicates, reordered, strangers;
	_Atomic uint64_t first_ns, last_ns; /* arrivals */
	struct histogram latency;  /* the producer's, round trips in ns */
	char error[2][256];        /* why a process failed: producer, consumer */
};

/*
 * Each is the whole of a process: 0, or 1 with error set. The consumer writes
 * a byte to `ready` when messages reach it.
 */
int bench_produce(const struct bench_plan *plan, struct bench_shared *sh);
int bench_consume(const struct bench_plan *plan, struct bench_shared *sh, int ready);

#endif
