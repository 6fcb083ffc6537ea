/*
 * state: who this node is, and whom it met. The state folder's small files:
 * name and store id, the boot id of every start, and per peer the newest
 * start count and boot id met. Opening raises and syncs the start count before
 * anything is sent. Blocking parts run at start or in a task.
 */
#ifndef STATE_H
#define STATE_H

#include <stdbool.h>
#include <stdint.h>

struct disk;
struct loop;
struct state;
struct task_runner;

#define STATE_ID 16
#define STATE_START_MAX ((1u << 24) - 1)

struct state_peer {
	uint8_t store_id[STATE_ID];
	uint32_t start_count;
	uint64_t boot_id;
};

/*
 * Open (and make) the folder for this node, take its lock, begin a new start.
 * Returns 0 and *ret; or a negative errno and a sentence in why (200 bytes):
 * -EBUSY another daemon holds it, -EINVAL it belongs to another node name or
 * is damaged. Blocks. Borrows loop and runner.
 */
int state_open(struct loop *l, struct task_runner *runner, const char *path, const char *node, struct state **ret,
    char why[static 200]);
/*
 * The runner must be freed before, or idle. A meeting that was not told yet is
 * told now, with -ECANCELED. NULL is fine.
 */
void state_close(struct state *s);

/* The state folder, for what else is kept in it. */
/* The lock that the daemon holds on its state folder. -EWOULDBLOCK: one does. */
int state_lock(struct disk *folder);
struct disk *state_disk(const struct state *s);
const uint8_t *state_store_id(const struct state *s);
uint32_t state_start_count(const struct state *s);
uint64_t state_boot_id(const struct state *s);

/* Did this folder have that start? (0, 0) means "never met" and is always known. */
bool state_had_start(const struct state *s, uint32_t start_count, uint64_t boot_id);

/*
 * The newest start that is known to have left a journal; 0: none. A journal in
 * which nothing is of that start or a later one is not that of this folder.
 */
uint32_t state_journal_start(const struct state *s);
/* The present start has one, on disk. Blocks. 0 or a negative errno. */
int state_mark_journal(struct state *s);
/* The same in a task. As state_meet, but never 1. */
int state_mark_journal_soon(struct state *s, void (*done)(void *arg, int error), void *arg);

/* What was met under a name, as it is on disk; NULL: never. */
const struct state_peer *state_met(const struct state *s, const char *peer);
/* The peer that a store id is kept under; NULL: none. */
const char *state_name_of(const struct state *s, const uint8_t store_id[static STATE_ID]);

/*
 * Record a meeting. Returns 1 if nothing had to change; 0 if it is being
 * written: done(arg, error) is told from the loop once it is synced; or a
 * negative errno. The caller keeps arg alive until done.
 */
int state_meet(struct state *s, const char *peer, const struct state_peer *met, void (*done)(void *arg, int error), void *arg);
/* Forget whom was met under that name. As state_meet. */
int state_forget(struct state *s, const char *peer, void (*done)(void *arg, int error), void *arg);
/*
 * A new store id, under which no other node has anything of this one: for a
 * folder that was restored or copied. Starts are counted on. As state_meet, but
 * never 1.
 */
int state_renew(struct state *s, void (*done)(void *arg, int error), void *arg);

#endif
