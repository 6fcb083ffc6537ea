/*
 * power: real power cuts of a real file system under a real store. power.c
 * mounts, cuts and counts; power_child.c is the process that uses the store
 * and writes down, in memory that survives it, what it appended and what it
 * was told.
 */
#ifndef POWER_H
#define POWER_H

#include <stdint.h>

#define POWER_LOG (1u << 22)

enum { POWER_PUT = 1, POWER_DONE = 2 };

/* Shared between all processes; survives every one of them. */
struct power_log {
	uint32_t n;      /* appended */
	uint32_t synced; /* of these, told to be synced */
	uint32_t messages;
	/* Results of the last check. */
	uint32_t lost, back, other;
	char why[200];
	struct {
		uint32_t message : 30, kind : 2;
	} log[POWER_LOG];
};

/* Exit codes of the child. */
enum { POWER_FINE = 0, POWER_VIOLATED = 3, POWER_NO_START = 4 };

/*
 * Open the store below `folder`, check what it holds against the log, tell it
 * on fd by one byte ('o'), then append and be told, a byte ('s') each time,
 * until killed.
 */
int power_child(const char *folder, struct power_log *log, uint64_t seed, int fd);

#endif
