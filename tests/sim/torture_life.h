/*
 * torture_life: one start of a store on the machine's disk, from store_open to
 * its end, and everything a daemon could do with it. What it appends goes into
 * the model; what it is told is held against the model at once.
 */
#ifndef TORTURE_LIFE_H
#define TORTURE_LIFE_H

#include <stdbool.h>
#include <stdint.h>

#include "torture_model.h"

struct sim_disk_machine;
struct life;

/* Drawn once a seed; every start of its store has the same. */
struct life_settings {
	uint64_t segment, max_disk;
	unsigned large;  /* percent of the messages that are large */
	unsigned medium; /* percent that are of some KiB */
	unsigned copies; /* percent that hold bytes of the journal */
};

#define LIFE_MACHINE "/machine"

/*
 * Open what is on the disk. What may be found lies between two tips. NULL: the
 * store refused (*ret_error), the machine died, or a violation was told.
 */
struct life *life_open(const struct life_settings *set, uint32_t least, uint32_t most, int *ret_error);
/* The next start is the one after so many. */
void life_count_starts(uint32_t starts);
/* Nothing is synced at the end that was not before. */
void life_free(struct life *l);

/* Everything appended, and what of it was told to be synced. Valid during life_open, too. */
struct life_tips {
	uint32_t least, most;
};
struct life_tips life_tips(void);

/* So many things in a row, with time passing between them. False: a violation, or the machine died. */
bool life_work(struct life *l, unsigned steps);
/* Put messages, and larger ones than usual, until there is no room for another or that takes too long. */
bool life_fill(struct life *l);
/* The same, and then some that there is no room for: they must not take what is held back. */
bool life_overfill(struct life *l);
/* Messages are done, the oldest first, until there would have been room for all. */
bool life_relieve(struct life *l);
/* As life_work, but never a new message. */
bool life_work_off(struct life *l, unsigned steps);
/* Wait until everything is synced; a violation if that takes too long. Not for one that is fenced or has no space. */
bool life_settle(struct life *l);
/* Read every message, and compare. */
bool life_read_all(struct life *l);
/* Reads under way come to an end, whatever the store's state. */
bool life_end_reads(struct life *l);
/* No message is left, and hardly a byte. */
bool life_drain(struct life *l);
bool life_is_fenced(const struct life *l);
/* It goes on being full: nothing is settled until there is space. */
bool life_is_full(const struct life *l);

/* The time since the start of the machine is not the world's. */
#define LIFE_BOOT_AHEAD_MS 86400000u

#endif
