/* fake_box: a store on a disk in memory (fake_disk), driven by hand, and what it told. */
#ifndef FAKE_BOX_H
#define FAKE_BOX_H

#include "store.h"

#define FAKE_BOX_SEGMENT (64u << 10)
#define FAKE_BOX_MAX 2000
#define FAKE_BOX_QUEUES 200

extern struct fake_box {
	struct loop *loop;
	struct task_runner *writer, *reader;
	struct store *store;
	uint64_t segment, max_disk; /* 0: 64 segments */
	bool is_mute; /* nobody wants to be told */
	uint32_t starts, least_start;
	struct store_found found[FAKE_BOX_MAX];
	size_t n;
	uint32_t queues[FAKE_BOX_QUEUES]; /* that were told */
	size_t n_queues;
	uint64_t mark; /* of flow 1 */
	unsigned n_damaged;
	char damage[200], why[200];
	enum store_state state;
	uint64_t synced;
	uint32_t offered_queue; /* told last */
	uint64_t offered;
	unsigned n_room;
	uint64_t progress, progress_total;
} fake_box;

int fake_box_try_open(void);
void fake_box_open(void);
/* As after the end of the process. */
void fake_box_close(void);
/* Tasks and time go on for a while. */
void fake_box_work(void);
/* All that was appended? */
bool fake_box_is_synced(void);
/* Another disk and store, of so many segments of that size at most, with queue 1. */
void fake_box_open_with(uint64_t segment, uint64_t segments);
/* As after the end of the process: what the next one finds. */
void fake_box_reopen(void);
/* A message of queue 1 with this body, which must stay. */
struct store_message fake_box_message(uint64_t seq, const void *body, size_t len);
store_ref fake_box_put(uint64_t seq, size_t len);
/* A fresh disk, nothing opened. */
void fake_box_setup_empty(void);
/* The same, opened, with queue 1 and flow 1. */
void fake_box_setup(void);
void fake_box_teardown(void);
/* n messages, one batch each. */
void fake_box_put_batches(uint64_t first, unsigned n, size_t len);
uint64_t fake_box_count_files(void);
/* Where the batch with that number is: its file's bytes, or NULL. */
uint8_t *fake_box_find_batch(uint64_t number, const char **ret_name);

#endif
