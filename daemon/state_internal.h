/* state_internal: what state*.c share. */
#ifndef STATE_INTERNAL_H
#define STATE_INTERNAL_H

#include <stddef.h>

#include "disk.h"
#include "hmap.h"
#include "list.h"
#include "loop.h"
#include "names.h"
#include "state.h"
#include "task.h"

#define STATE_TEXT_MAX 256     /* bytes of a text file */
#define STATE_STARTS "starts"
#define STATE_PEER_SUFFIX ".peer" /* no node's name together with it is the temporary file of another's */
#define STATE_PATH_MAX (sizeof("peers/") + NAMES_NODE_MAX + sizeof(STATE_PEER_SUFFIX))

struct state {
	struct loop *loop;
	struct task_runner *runner;
	struct disk *disk;
	char node[NAMES_NODE_MAX + 1];
	uint8_t store_id[STATE_ID];
	uint8_t first_id[STATE_ID]; /* before it was renewed: what the records of starts are checked with */
	uint64_t *boots; /* of every start: boots[start count - 1] */
	uint32_t n_boots;
	uint32_t journal_start; /* the newest start with a journal; 0: none had one */
	struct hmap peers; /* struct met */
	uint64_t seed;
	struct list writes; /* struct write, not told yet */
};

struct met {
	struct hmap_node node;
	char name[NAMES_NODE_MAX + 1];
	struct state_peer met;
};

enum state_change { STATE_MEET, STATE_FORGET, STATE_RENEW, STATE_JOURNAL };

/* A change on its way to the disk. The task touches only what is here; of the starts what no longer changes. */
struct write {
	struct list node;
	struct disk *disk;
	char path[STATE_PATH_MAX];
	char text[STATE_TEXT_MAX];
	size_t len;
	int error;
	enum state_change change;
	struct state *state;
	struct met *peer;       /* of meet and forget */
	struct state_peer met;  /* renew: the store id alone */
	void (*done)(void *arg, int error);
	void *arg;
};

/* ---- state.c */
struct met *state_peer_find(const struct state *s, const char *name);
/* Not met yet: start count 0. NULL: out of memory. */
struct met *state_peer_add(struct state *s, const char *name);
void state_peer_path(const char *name, char path[static STATE_PATH_MAX]);
size_t state_peer_print(const struct state_peer *met, char text[static STATE_TEXT_MAX]);
/* The file node. first_id only where it was renewed. */
size_t state_node_print(const char *node, const uint8_t store_id[static STATE_ID], const uint8_t first_id[static STATE_ID],
    char text[static STATE_TEXT_MAX]);

/* ---- state_starts.c */
/* Read the starts there were, and begin another one: nothing may be sent before that is on disk. 0 or a negative errno. */
int state_starts_begin(struct state *s, char why[static 200]);
/* The present start has a journal. 0 or a negative errno. Also from a task. */
int state_starts_mark(const struct state *s);

/* ---- state_change.c */
/* Is another record of this peer on its way, which would take the place of the present one? */
bool state_is_changing(const struct state *s, const struct met *p);
/* What was not told yet is told that it was not done. */
void state_changes_done(struct state *s);

#endif
