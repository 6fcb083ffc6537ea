/*
 * backup: a copy of the state folder, made while the daemon runs: the journal
 * as of one synced point, and the other files. A task copies; the loop only
 * says when.
 */
#ifndef BACKUP_H
#define BACKUP_H

#include <stdbool.h>
#include <stdint.h>

struct backup;
struct loop;
struct state;
struct store;

/* done is told from the loop, once. path is absolute. NULL: out of memory. */
struct backup *backup_new(struct loop *l, struct state *state, struct store *store, const char *path, void (*done)(void *arg), void *arg);
/*
 * Begin, if the store is at rest just now: from inside its `synced` it is. Does
 * nothing when it has begun.
 */
void backup_try(struct backup *b);
/* The copy is not wanted any more: done follows soon. */
void backup_cancel(struct backup *b);
/* Bytes of the journal that are copied, of how many; 0 of 0 before it has begun. */
void backup_progress(struct backup *b, uint64_t *ret_done, uint64_t *ret_total);
/* After done: 0; or a negative errno and a sentence on what to do. */
int backup_result(const struct backup *b, const char **ret_why);
/* Waits for what runs; before the store and the state folder are closed. NULL is fine. */
void backup_free(struct backup *b);

#endif
