/* fake_store: the store's face without a disk: what was appended is synced when the test says so, and reads come back then. */
#ifndef FAKE_STORE_H
#define FAKE_STORE_H

#include "store.h"

#define FAKE_STORE_MESSAGES 1000

struct store {
	uint64_t ticket, hurried;
	uint64_t synced;      /* what store_synced says */
	uint64_t room;        /* what store_room says */
	uint64_t capacity;    /* what store_capacity says */
	uint64_t wanted_room; /* by store_want_room */
	int error;            /* store_put fails with it */
	int read_error;       /* reads end with it */
	bool refuse_reads;    /* store_read says -EAGAIN */
	struct fake_kept {
		bool kept;
		struct store_message m;
		void *bytes; /* copies of all parts */
	} messages[FAKE_STORE_MESSAGES]; /* by ref */
	store_ref last;
	struct store_read *reads[FAKE_STORE_MESSAGES]; /* under way, in order */
	store_ref read_refs[FAKE_STORE_MESSAGES];
	size_t n_reads;
	uint32_t last_queue, last_flow;
	uint64_t offered; /* highest told */
	unsigned n_done, n_moved, n_queues;
};

void fake_store_init(struct store *s);
void fake_store_done(struct store *s);
/* All reads that are under way end. */
void fake_store_serve(struct store *s);
size_t fake_store_kept(const struct store *s);

#endif
