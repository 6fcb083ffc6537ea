/* queue_internal: what queue*.c share. */
#ifndef QUEUE_INTERNAL_H
#define QUEUE_INTERNAL_H

#include "queue.h"

#define QUEUE_COUNTER_BITS 40
#define QUEUE_COUNTER_MAX ((UINT64_C(1) << QUEUE_COUNTER_BITS) - 1)
#define QUEUE_PASS 4096            /* timers and parked messages handled before others get their turn */
#define QUEUE_PARKED_RETRY_MS 1000

/*
 * A message that waits, never taken, of which only the store has the body. A
 * million of them are what a long backlog costs in memory.
 */
struct cold {
	uint64_t seq;
	uint64_t number;
	struct sender *sender;
	uint64_t expires_ms;
	store_ref ref; /* 0: it is gone */
	uint32_t bytes;
	uint32_t entered_s; /* seconds of loop_now_ms */
	uint8_t priority;
	bool redelivered;
	bool undated; /* as entry's */
};

#define COLD_CHUNK 338 /* a chunk is 16 KiB */

struct cold_chunk {
	struct list node;
	uint32_t first, end;
	uint64_t min_expires_ms; /* of those in it, or lower; UINT64_MAX: none expires */
	struct cold at[COLD_CHUNK];
};

/* In order of seq. */
struct cold_list {
	struct list chunks;
	uint64_t n; /* without those gone */
	uint64_t last_seq;
};

struct unsynced {
	struct list node;
	uint64_t ticket;
	struct sender *sender; /* NULL: nobody waits for it */
	uint64_t number;
	struct entry *entry; /* NULL: it has left already */
};

struct queues {
	struct loop *loop;
	struct message_store *messages;
	struct queues_config cfg;
	size_t n_queues;
	struct list all;
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

	/* The store. */
	struct store *store;
	struct list unsynced;      /* struct unsynced by ticket */
	struct list offering;      /* queues that wait for offer_ticket */
	struct list hungry;        /* queues that would load more */
	struct list stalled;       /* struct load that the store would not take */
	uint64_t loading, loading_bytes;
	uint64_t peeking;          /* reads for queue_peek */
	struct loop_timer sweep;   /* of expired messages among the cold */

	/* Room in the store. */
	uint64_t disk_unit;        /* what a message without bytes takes there */
	uint64_t disk_claimed;     /* by inlets */
	uint64_t disk_idle;        /* of that what is only reserved */
	uint64_t disk_guaranteed;  /* the min_bytes of all queues */
	uint64_t disk_owed;        /* of them what is neither stored nor claimed */
	struct list backlog_list;
	uint64_t disk_wanted;      /* the least that the store was asked for; 0: nothing */
	struct list disk_waiting;  /* queues whose starved inlets wait for room in the store */

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
	bool held; /* by an operator: nobody is given anything */

	/* What is in it. */
	struct list waiting[WIRE_PRIORITIES];     /* by seq: those never taken */
	struct entry *returned[WIRE_PRIORITIES];  /* heaps of those that came back */
	uint64_t n_waiting[WIRE_PRIORITIES];
	uint8_t turns[WIRE_PRIORITIES];           /* left in this round of weights */
	struct cold_list cold[WIRE_PRIORITIES];   /* only in the store */
	struct list loading[WIRE_PRIORITIES];     /* by seq: on their way from there */
	uint64_t n_loading[WIRE_PRIORITIES];
	struct list delayed, parked, syncing;
	uint64_t n, n_held, n_delayed, n_parked, n_syncing, n_stored;
	uint64_t bytes;
	uint64_t resident;  /* bytes and overhead of those in memory */
	uint64_t counter; /* last given */
	struct queue_counters counters;

	/* Who empties and fills it. */
	struct list consumers;      /* all */
	struct list idle;           /* those that wait for a wake; a link stays here */
	struct list rivals;         /* of them the exclusive ones */
	uint64_t n_consumers;       /* without links */
	struct consumer *active;    /* the exclusive one, if it has its turn */
	bool all_stand_by;          /* all others, for it or its predecessor */
	struct list inlets;
	struct list starved;        /* inlets that wait for room here */
	uint64_t claimed_messages, claimed_bytes; /* reserved or started */

	/* The store. */
	struct {
		bool open;
		uint64_t guaranteed;     /* min_bytes, as far as there was room for it */
		uint64_t stored, claimed;
		struct backlog *backlog; /* NULL: a queue of this node */
		struct list node;        /* in disk_waiting */
	} disk;
	uint32_t number;             /* 0: not kept there */
	uint64_t done_ticket;        /* of the last message that has left it */
	uint64_t offered;            /* the store knows that messages up to here may have been seen */
	uint64_t offer_up_to;        /* what was there when the first consumer came; what comes since says it itself */
	uint64_t offer_ticket;       /* consumers wait until that is synced; 0: no need */
	uint64_t in_doubt[WIRE_PRIORITIES]; /* up to here the peer may have them */
	uint64_t arrived[WIRE_PRIORITIES];  /* up to here it has said that it has them */
	/* Heaps of those of them that have ended, and whose senders will hear how; and all of these. */
	struct entry *ended[WIRE_PRIORITIES];
	struct list all_ended;
	uint64_t may_be_known;       /* up to here the peer may have them by another number */
	struct list all_node, offering_node, hungry_node;

	struct list roomy_node, parked_node;
	struct loop_call unused;
	bool unused_told;
	struct hmap_node map_node;
	_Alignas(16) uint8_t owner_data[QUEUE_OWNER_DATA];
};

/* ---- queue_heap.c: entries that came back, smallest seq first */
void queue_heap_add(struct entry **root, struct entry *e);
void queue_heap_remove(struct entry **root, struct entry *e);

/* ---- queue_cold.c: messages of which only the store has the body */
void cold_init(struct cold_list *l);
void cold_done(struct cold_list *l);
/* Behind all others. false: out of memory. */
bool cold_push(struct cold_list *l, const struct cold *c);
/* The next cold_push will succeed. false: out of memory. */
bool cold_reserve(struct cold_list *l);
/* The first, or NULL; as it is, and tidying up. */
const struct cold *cold_peek(const struct cold_list *l);
struct cold *cold_first(struct cold_list *l);
/* Take the first away; it is copied to ret. */
void cold_pop(struct cold_list *l, struct cold *ret);
/* One of cold_each leaves. */
void cold_remove(struct cold_list *l, struct cold *c);
/* Call fn for each, in order, until it returns false. fn may cold_remove the one it is given. */
bool cold_each(struct cold_list *l, bool (*fn)(void *arg, struct queue *q, struct cold *c), void *arg, struct queue *q);
/* The same, without most of those up to seq. fn removes none. */
void cold_each_behind(struct cold_list *l, uint64_t seq, bool (*fn)(void *arg, struct queue *q, struct cold *c), void *arg,
    struct queue *q);
/* Call fn for each that may have expired. */
void cold_each_expired(struct cold_list *l, uint64_t now_ms, bool (*fn)(void *arg, struct queue *q, struct cold *c), void *arg,
    struct queue *q);

/* ---- queue_load.c: out of memory and back */
/* Of those that wait at this priority the first, if it is in memory; else NULL, and it is being loaded. */
struct entry *entry_front(struct queue *q, unsigned prio);
/* Have some ready for consumers that take. */
void queue_load_ahead(struct queue *q, unsigned prio);
/* It is synced and waits: need it stay in memory? May free e. */
void entry_maybe_cool(struct entry *e);
/* A delayed entry whose body was never read goes the way of the others. */
void entry_load(struct entry *e);
/* A loading entry is taken out of the reader's hands. */
void entry_unload(struct entry *e);
/* A cold one leaves for good: neither counted as that, nor told. What it was is copied to ret. */
void cold_leave(struct queue *q, struct cold *c, struct cold *ret);
/* Something among the cold can expire, or could not be asked for. */
void queue_sweep_soon(struct queues *qs);
void queue_loads_init(struct queues *qs);
void queue_loads_done(struct queues *qs);
/* q goes away. */
void queue_load_close(struct queue *q);

/* ---- queue_store.c: what the store is told and tells */
/* What a message is made of there; the first begins with its counter, 8 bytes. */
enum { PART_TYPE, PART_ORIGIN, PART_PACKED, PART_NOTE, PART_BODY };
_Static_assert(PART_NOTE == STORE_NOTE && PART_BODY == STORE_PARTS - 1, "as the store has it");
/* What is not synced is forgotten: the end of a daemon. */
void queue_unsynced_done(struct queues *qs);
/* Append a new entry, which has its seq. 0, or a negative errno and nothing has happened. */
int entry_store(struct entry *e, struct queue *q, struct inlet *in, uint64_t number);
/* What is left of a damaged one is stored in its queue. It has its seq. Without room or store it is in memory alone. */
void entry_store_anew(struct entry *e, struct queue *q);
/*
 * A memory message behind stored ones that are not synced, and not offered: of
 * its flow, or any of an outbound queue, as its numbers are one order on the
 * link. 1, and it waits for the last of them; 0: there are none; or -ENOMEM.
 */
int entry_wait_turn(struct entry *e, struct queue *q, const struct inlet *in, uint64_t number);
/* It leaves its queue for good. */
void entry_unstore(struct entry *e);
/* The same of one that is no entry. */
void queue_unstore(struct queue *q, store_ref ref, uint64_t seq);
/* It moves, with a new seq, to `to`: there from now on, or a memory message. */
void entry_store_move(struct entry *e, struct queue *to, uint64_t to_seq);
/* By an operator: from now on in `to`. 0, or a negative errno and nothing has happened. */
int queue_store_move(struct queue *from, struct queue *to, store_ref ref, uint64_t from_seq, uint64_t to_seq, bool redelivered,
    bool undated);
/* What the store keeps of q has changed. */
int queue_define_anew(struct queue *q);
/* Nobody waits for its sync any more. */
void entry_forget_sync(struct entry *e);
/* May a consumer see what waits here now? Asks the store to write that down first, if need be. */
bool queue_may_offer(struct queue *q);

/* ---- queue_doubt.c: what ends here while the peer may have it */
/* May the peer have it, from an earlier start? */
static inline bool
queue_in_doubt(const struct queue *q, unsigned prio, uint64_t seq)
{
	return q->node_name[0] != '\0' && seq <= q->in_doubt[prio] && seq > q->arrived[prio];
}
/* Its end, EXPIRED or PURGED, in any state but held: gone, and told now or when the peer tells what it has. */
void entry_end(struct entry *e, enum wire_level level);
/* The same. false: out of memory, and it stays. */
bool cold_end(struct queue *q, struct cold *c, enum wire_level level);
/* Nobody will ever tell: they ended as they did here. */
void queue_doubt_never_over(struct queue *q);
/* Those of s, or all, are told to nobody. */
void queue_doubt_forget(struct queue *q, const struct sender *s);

/* ---- queue_put.c */
uint64_t queue_next_seq(struct queue *q);
/* Counted in, under its seq, and waiting: in no queue before. */
void entry_enter(struct entry *e, struct queue *q, uint64_t seq);
/* At the end of those that wait, or among the delayed. */
void entry_begin(struct entry *e);
/* Counted in the queue; with `resident`, in memory, too. */
void entry_count_in(struct entry *e, struct queue *q, bool resident);
/* What is counted in memory for it. */
void entry_count_resident(struct entry *e, bool resident);

/* ---- queue_entry.c: one entry's way through a queue */
/* Into the lists of those that wait: at its place if it came back, else at the end. Wakes nobody. */
void entry_wait(struct entry *e, bool came_back);
/* Among the delayed. */
void entry_delay(struct entry *e, uint64_t until_ms);
/* Out of whatever list or hands it is in, its timer stopped. Still counted in the queue. */
void entry_unlink(struct entry *e);
/* No more counted in its queue, of which it was unlinked. */
void entry_count_out(struct entry *e);
/* Leave for good: counted by level, sender told, memory freed. */
void entry_finish(struct entry *e, enum wire_level level, enum wire_reject_code code, const char *reason);
/* One that reached level leaves q. */
void queue_count_left(struct queue *q, enum wire_level level);
/* Leave without a word; what the store has of it stays. */
void entry_discard(struct entry *e);
/* Arm or stop the timer for what comes next in its state. */
void entry_arm(struct entry *e);
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
/* Beside what was promised. */
bool queue_has_free(const struct queue *q, uint64_t bytes);
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
/* The bound that a starved inlet waits at: its name in the configuration. */
const char *queue_room_lacks(const struct inlet *in);

/* ---- queue_disk.c: room in the store. Of a queue that is not kept there everything fits and nothing counts. */
/* q has its number there. A new one is refused if its min_bytes do not fit: 0, -ENOSPC, -ENOMEM. */
int queue_disk_open(struct queue *q, bool is_new);
void queue_disk_close(struct queue *q);
/* A message of so many bytes is stored; or is gone from there. */
void queue_disk_stored(struct queue *q, uint64_t bytes);
void queue_disk_left(struct queue *q, uint64_t bytes);
/* What is granted is claimed, and given back when it is stored, or will not be. */
void queue_disk_claim(struct inlet *in, uint64_t messages, uint64_t bytes);
void queue_disk_unclaim(struct inlet *in, uint64_t messages, uint64_t bytes);
void queue_disk_unclaim_all(struct inlet *in);
/* Of the claims what is only reserved rises, or (negative) falls. */
void queue_disk_idle(struct inlet *in, int64_t messages, int64_t bytes);
/* For the one large body that an inlet may have, whatever its queue does when it is full. */
void queue_disk_claim_body(struct inlet *in, uint64_t bytes);
/* Cut what a flow wants in addition to its share. */
void queue_disk_limit(const struct inlet *in, uint64_t *messages, uint64_t *bytes);
/* One more flow: room for what each must have? */
bool queue_disk_fits_flow(const struct queue *q);
/* There is none for so many bytes: when there may be, the starved inlets of q look again. */
void queue_disk_wait(struct queue *q, bool peer, uint64_t bytes);

/* ---- queue_consumers.c */
/* n messages came: wake as many idle consumers. */
void queue_wake(struct queue *q, uint64_t n);
/* Cancel every consumer; what they hold is lost to them and unlinked by the caller before. */
void queue_consumers_close(struct queue *q);

/* ---- queue.c */
/* q may be unused now, or used again. */
void queue_check_unused(struct queue *q);

#endif
