/* state_internal: what is kept of the state folder, shared by state.c and state_files.c only. */
#ifndef STATE_INTERNAL_H
#define STATE_INTERNAL_H

#include "disk.h"
#include "hmap.h"
#include "list.h"
#include "loop.h"
#include "names.h"
#include "state.h"
#include "task.h"

#define STATE_TEXT_MAX 256 /* bytes of a text file */
#define PEER_SUFFIX ".peer" /* no node's name together with it is the temporary file of another's */
#define PEER_PATH_MAX (sizeof("peers/") + NAMES_NODE_MAX + sizeof(PEER_SUFFIX))

struct state {
	struct loop *loop;
	struct task_runner *runner;
	struct disk *disk;
	uint8_t store_id[STATE_ID];
	uint64_t *boots; /* of every start: boots[start count - 1] */
	uint32_t n_boots;
	struct hmap peers; /* struct peer */
	uint64_t seed;
	struct list writes; /* struct write, not told yet */
};

struct peer {
	struct hmap_node node;
	char name[NAMES_NODE_MAX + 1];
	struct state_peer met;
};

/* state.c. Not met yet: start count 0. NULL: out of memory. */
struct peer *state_peer_add(struct state *s, const char *name);

/*
 * state_files.c. Each returns 0 or a negative errno, and may say in `why` what
 * is wrong with a file.
 */
int state_read_node(struct state *s, const char *node, char why[static 200]);
int state_read_peers(struct state *s, char why[static 200]);
/* Begin a new start: nothing may be sent before its record is synced. */
int state_begin_start(struct state *s, char why[static 200]);
/* Of a peer's file: where it is, and what is in it. Returns its length. */
void state_peer_path(const char *name, char path[static PEER_PATH_MAX]);
size_t state_peer_print(const struct state_peer *met, char text[static STATE_TEXT_MAX]);

#endif
