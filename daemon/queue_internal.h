/* queue_internal: what queue*.c share. */
#ifndef QUEUE_INTERNAL_H
#define QUEUE_INTERNAL_H

#include "queue.h"

#define QUEUE_COUNTER_BITS 40
#define QUEUE_COUNTER_MAX ((UINT64_C(1) << QUEUE_COUNTER_BITS) - 1)
#define QUEUE_PASS 4096            /* timers and parked messages handled before others get their turn */
#define QUEUE_PARKED_RETRY_MS 1000

struct queues {
	struct loop *loop;
	struct message_store *messages;
	struct queues_config cfg;
	size_t n_queues;
	/*
	 * Counters of new queues begin above those of all that are gone: a queue
	 * made again under an old name must not use a number twice.
	 */
	uint64_t retired;

	/* Deadlines. */
	struct wheel wheel;
	struct list due; /* fired, not handled yet */
	struct loop_timer timer;
	uint64_t timer_at_ms; /* when it fires; UINT64_MAX: not armed */
	struct list parked;   /* queues that hold parked messages */
	struct loop_timer parked_timer;

	/* Room. */
	uint64_t used;             /* memory: entries, claims, partial bodies */
	uint64_t n;                /* entries */
	uint64_t claimed_messages; /* reserved or started by inlets */
	uint64_t idle, idle_messages; /* of used and claimed_messages what is only reserved */
	uint64_t partial;
	uint64_t n_inlets;
	/* Inlets of programs, [1] of peers. */
	struct list starved[2];         /* that wait for memory */
	struct list starved_partial[2]; /* that wait for memory for a large body */
	struct list roomy;           /* queues whose starved inlets may look again */
	struct loop_call serve;
};

struct queue {
	struct queues *qs;
	char full[NAMES_DEST_MAX + 1];
	char node_name[NAMES_NODE_MAX + 1]; /* "": here */
	const char *name;                   /* inside full */
	struct conf_queue conf;
	bool dead_letter;

	/* What is in it. */
	struct list waiting[WIRE_PRIORITIES];     /* by seq: those never taken */
	struct entry *returned[WIRE_PRIORITIES];  /* heaps of those that came back */
	uint64_t n_waiting[WIRE_PRIORITIES];
	uint8_t turns[WIRE_PRIORITIES];           /* left in this round of weights */
	struct list delayed, parked;
	uint64_t n, n_held, n_delayed, n_parked;
	uint64_t bytes;
	uint64_t counter; /* last given */
	struct queue_counters counters;

	/* Who empties and fills it. */
	struct list consumers;      /* all */
	struct list idle;           /* those that wait for a wake; a link stays here */
	uint64_t n_consumers;       /* without links */
	uint64_t n_exclusive;
	struct consumer *active;    /* the exclusive one, if it has its turn */
	struct list inlets;
	struct list starved;        /* inlets that wait for room here */
	uint64_t claimed_messages, claimed_bytes; /* reserved or started */

	struct list roomy_node, parked_node;
	struct loop_call unused;
	bool unused_told;
	struct hmap_node map_node;
	_Alignas(16) uint8_t owner_data[QUEUE_OWNER_DATA];
};

/* ---- queue_heap.c: entries that came back, smallest seq first */
void queue_heap_add(struct entry **root, struct entry *e);
void queue_heap_remove(struct entry **root, struct entry *e);

/* ---- queue_put.c */
/* Counted in, numbered, and waiting: in no queue before. */
void entry_enter(struct entry *e, struct queue *q);

/* ---- queue_entry.c: one entry's way through a queue */
/* Into the lists of those that wait: at its place if it came back, else at the end. Wakes nobody. */
void entry_wait(struct entry *e, bool came_back);
/* Among the delayed. */
void entry_delay(struct entry *e, uint64_t until_ms);
/* Out of whatever list or hands it is in, its timer stopped. Still counted in the queue. */
void entry_unlink(struct entry *e);
/* Leave for good: counted by level, sender told, memory freed. */
void entry_finish(struct entry *e, enum wire_level level, enum wire_reject_code code, const char *reason);
/* Leave without a word. */
void entry_discard(struct entry *e);
/* Arm or stop the timer for what comes next in its state. */
void entry_arm(struct entry *e);
/* Its time to live is over. */
void entry_expire(struct entry *e);
/* Its timer has fired. */
void entry_due(struct entry *e);
/* Tell the sender, once. */
void entry_tell(struct entry *e, enum wire_level level, enum wire_reject_code code, const char *reason);
/* It is dead: out of its queue, into that for dead letters. */
void entry_move(struct entry *e, struct queue *to);
/* Held: back to its place, after a delay, or out if it is doomed, dead or expired. Returns true if it waits now. */
bool entry_back(struct entry *e, uint64_t delay_ms, const char *reason);
/* All that came back into the list of those that wait. */
void queue_settle(struct queue *q);

/* ---- queue_timer.c */
void queue_timers_init(struct queues *qs);
void queue_timers_done(struct queues *qs);
void queue_timer_set(struct queues *qs, struct wheel_node *n, uint64_t deadline_ms);
/* q has a parked message. */
void queue_timer_parked(struct queue *q);

/* ---- queue_dead.c */
/* To the dead-letter queue if it has room; -ENOSPC changes nothing. In any state. */
int entry_bury(struct entry *e, enum wire_level level, enum wire_reject_code code, const char *reason);
/* In any state but parked: wait for room in the dead-letter queue. */
void entry_park(struct entry *e, const char *reason);

/* ---- queue_room.c */
void queue_room_serve(void *arg);
/* Something has left q, or was given back: whoever starves may look again. */
void queue_room_back(struct queue *q);
/* Forget every inlet. */
void queue_room_close(struct queue *q);

/* ---- queue_consumers.c */
/* n messages came: wake as many idle consumers. */
void queue_wake(struct queue *q, uint64_t n);
/* Cancel every consumer; what they hold is lost to them and unlinked by the caller before. */
void queue_consumers_close(struct queue *q);

/* ---- queue.c */
/* q may be unused now, or used again. */
void queue_check_unused(struct queue *q);

#endif
