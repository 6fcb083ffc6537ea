/*
 * recover: what the store has found at start becomes queues, flows and messages
 * again.
 */
#ifndef RECOVER_H
#define RECOVER_H

#include <stdint.h>

#include "client.h"
#include "core.h"
#include "link.h"
#include "store.h"

struct recover_env {
	struct core *core;
	struct clients *clients;
	struct link *(*find)(void *arg, const char *peer); /* NULL: no such peer is configured */
	/* Bytes looked at so far, and in all; may be NULL. */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg, *progress_arg;
};

/* A flow of a peer that is not configured, or of another state folder of one that is. */
struct recover_stray {
	char peer[NAMES_NODE_MAX + 1];
	uint32_t flow;
};

struct recover_report {
	uint64_t queues, flows, messages;
	struct recover_stray *strays; /* malloc'ed */
	size_t n_strays;
	uint64_t left_out; /* of unknown peers, or with definitions that make no sense: they stay in the store */
};

/*
 * Open the store and take over what it has. 0, *ret and what was found, whose
 * strays are the caller's to free; or a negative errno and a sentence in why;
 * *ret is then NULL, or a store that is open already, whose tasks must end before
 * it is freed. Blocks.
 */
int recover(const struct recover_env *env, const struct store_config *cfg, const struct store_events *ev, struct store **ret,
    struct recover_report *ret_report, char why[static 200]);

#endif
