/*
 * store_box: a store on a real folder, loop and tasks, and what it told.
 */
#ifndef STORE_BOX_H
#define STORE_BOX_H

#include "store.h"

#define BOX_MESSAGES_MAX 20000
#define BOX_DEFINED_MAX 64

struct box_message {
	struct store_found m;
	bool done;
};

struct box_defined {
	uint32_t number;
	uint64_t last_seq, offered, mark;
	char definition[64];
};

extern struct box {
	char folder[64];
	struct loop *loop;
	struct disk *disk;
	struct task_runner *writer, *reader;
	struct store *store;
	uint64_t segment, max_disk;
	uint32_t starts;
	char why[200];
	/* Told at the last opening. */
	struct box_message messages[BOX_MESSAGES_MAX];
	size_t n_messages;
	struct box_defined queues[BOX_DEFINED_MAX], flows[BOX_DEFINED_MAX];
	size_t n_queues, n_flows;
	/* Told since the first one. */
	uint64_t synced;
	unsigned n_synced, n_states, n_room, n_damaged;
	enum store_state state;
	char damage[200];
} box;

void box_setup(void);
void box_teardown(void);
int box_try_open(void);
void box_open(void);
/* As after a crash: what was not synced may be missing. */
void box_crash(void);
/* In order: everything is synced. */
void box_close(void);
void box_wait(uint64_t ticket);
void box_sync(void); /* everything */
/* Until nothing is left to do. */
void box_settle(void);

/* A message whose last part is `len` bytes that depend on seq; its memory stays. */
store_ref box_put(uint32_t queue, uint64_t seq, uint32_t flow, uint64_t number, size_t len);
struct store_message box_message(uint32_t queue, uint64_t seq, uint32_t flow, uint64_t number, size_t len);
/* Read and compare with what box_put wrote. */
void box_check(store_ref ref, uint64_t seq, size_t len);
/* 0 or the error; on 0 r holds the parts. */
int box_read(store_ref ref, struct store_read *r);
int box_read_start(store_ref ref, struct store_read *r);
/* The one found with that queue and sequence, or NULL. */
struct store_found *box_find(uint32_t queue, uint64_t seq);
const char *box_path(const char *file);

#endif
