/* torture_internal: what the parts of torture_life share. */
#ifndef TORTURE_INTERNAL_H
#define TORTURE_INTERNAL_H

#include "torture_life.h"

#define LIFE_READS 8
#define LIFE_BODIES 2
#define INLINE 8           /* larger than so much of a segment: in pieces */
#define DRAINED_SEGMENTS 6 /* that may be in use when no message is left */

struct life_read {
	struct store_read read;
	struct life *life;
	uint32_t message; /* 0: not under way */
	uint32_t note;
	bool was_done;
};

struct life_body {
	struct store_body *body;
	uint32_t message;
	size_t at; /* bytes given so far */
};

struct life {
	struct life_settings set;
	struct sim_disk_machine *machine;
	struct loop *loop;
	struct task_runner *writer, *reader;
	struct disk *disk;
	struct store *s;
	uint32_t starts;
	uint32_t base, tip; /* what was found; what has been appended to it */
	uint64_t synced;    /* ticket that was told */
	struct model_state state; /* of tip */
	struct model_found found;
	store_ref *refs; /* by message */
	size_t n_refs;
	bool is_fenced, is_full, wants_room, is_filling;
	bool is_greedy; /* puts what there is no room for */
	bool is_over;   /* has done so: what was put may wait until others are done */
	uint64_t failed_before, any_failed_before, failed_ticket;
	struct life_read reads[LIFE_READS];
	unsigned n_reads;
	struct life_body bodies[LIFE_BODIES];
	unsigned n_bodies;
	uint64_t body_bytes; /* reserved for them, as store_cost counts */
	unsigned group;      /* 0: in none; else 1 + what it holds so far */
	uint64_t last_ticket;
};

void life_appended(struct life *l, const struct append *a);
bool life_goes_on(const struct life *l);
bool life_fences(const struct life *l);
store_ref *life_ref(struct life *l, uint32_t message);
/* Let time pass, and see that the limits hold. */
bool life_pass(struct life *l, uint64_t ns);
void life_read(struct life *l, uint32_t message);
void life_done(struct life *l, uint32_t message);

/* ------------------------------------------------------- torture_draw.c -- */

/* The k-th queue or flow that exists; 0: none. */
uint32_t draw_queue(const struct life *l);
uint32_t draw_flow(const struct life *l);
/* The lowest queue is the one that nobody reads. */
bool draw_is_read(const struct life *l, uint32_t queue);
/* A live message; of a queue that is read, if so wanted. 0: none. */
uint32_t draw_message(const struct life *l, bool of_read);
uint64_t draw_seq(const struct life *l, uint32_t queue);
uint32_t draw_new_message(struct life *l, bool small);
uint64_t draw_size(uint32_t message);

#endif
