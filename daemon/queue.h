/*
 * queue: one queue: waiting, in flight, room, redelivery, dead letter. Filled
 * through inlets (the receiving ends of flows), emptied by consumers (a
 * client's subscription, or a link). Knows no sessions.
 *
 * A durable message is in the store as well. What a program here sent is
 * offered once it is synced, what came over a link at once, as its sender
 * keeps it until the confirm. When much waits, only the store keeps the bodies
 * of what is far from the front: in memory there are a few bytes of each.
 *
 * Call-backs (consumer and inlet operations) run only from deferred calls,
 * never from inside a function called here, except: `told` of a sender and
 * `lost` of a consumer, which must not call back into any queue; `cancelled`
 * and `gone`, which only queue_free calls.
 * */
#ifndef QUEUE_H
#define QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "cause.h"
#include "conf.h"
#include "hmap.h"
#include "list.h"
#include "loop.h"
#include "message.h"
#include "names.h"
#include "store.h"
#include "wheel.h"
#include "wire.h"

#define QUEUE_OVERHEAD 256 /* memory counted per message beside its bytes */
#define QUEUE_WINDOW_MESSAGES 16384 /* most credit a flow holds */
#define QUEUE_WINDOW_BYTES (4u << 20)
#define QUEUE_GRANT_MIN (WIRE_PACKED_MAX + 1) /* bytes that every flow has, or waits for */

struct queue;
struct queues;

/* Whoever waits to hear what became of a message: the receiving end of a client's flow. */
struct sender {
	/*
	 * The message `number` reached `level`, and has left its queue; code and
	 * reason (NULL: none) say why. `open` is counted down already: a sender is
	 * kept by its owner as long as it is not 0, and may go from here.
	 */
	void (*told)(struct sender *s, uint64_t number, enum wire_level level, enum wire_reject_code code, const char *reason);
	uint64_t open; /* entries that point here */
	/*
	 * A durable message of this flow, or what is left of it, is synced; of one
	 * flow they come in order. May not call back. Kept as long as unsynced is
	 * not 0.
	 */
	void (*stored)(struct sender *s, uint64_t number);
	uint64_t unsynced;
};

enum entry_state {
	ENTRY_WAITING,
	ENTRY_DELAYED,
	ENTRY_HELD,
	ENTRY_SYNCING, /* not offered before it, or what is ahead of it in its flow, is synced */
	ENTRY_LOADING, /* its body is being read */
	ENTRY_PARKED /* dead, and the dead-letter queue has no room: tried again each second */
};

/* Appended to the store and not known to be synced. */
struct unsynced;
/* A body on its way from the store. */
struct load;

/* The place of a message in a queue. */
struct entry {
	struct list node; /* in the queue's list for its state, or in its holder's; in none: it came back, see heap */
	struct {
		struct entry *child, *next, *prev;
	} heap; /* among those that came back */
	struct queue *queue;
	struct message *msg; /* NULL: doomed; or only in the store (delayed and found at start, loading) */
	uint64_t bytes;      /* message_bytes of it */
	store_ref ref;       /* 0: a memory message */
	struct unsynced *unsynced; /* what it waits for; NULL: synced, or a memory message that waits for none */
	struct load *load;         /* of ENTRY_LOADING */
	uint64_t seq; /* (start count: 24, counter: 40); the number it has on a link */
	struct consumer *holder;
	uint64_t tag;              /* the holder's, as is by_tag */
	struct hmap_node by_tag;
	struct sender *sender;     /* NULL: nobody asked */
	uint64_t number;           /* the sender's */
	struct wheel_node timer;
	uint64_t expires_ms;       /* by the message's or the queue's time to live; 0: never */
	uint64_t delayed_until_ms; /* of ENTRY_DELAYED */
	uint64_t entered_ms;
	uint64_t held_since_ms;
	uint32_t attempt;          /* deliveries begun */
	uint8_t state;             /* enum entry_state */
	uint8_t priority;          /* enum wire_priority */
	uint8_t doomed;            /* enum wire_level, EXPIRED or PURGED while a link holds it: told when the link knows */
	bool redelivered;          /* may have been offered before, or maybe_duplicate */
	bool undated;              /* was a dead letter: the deadline in its record is over with */
	bool sent;                 /* a link has put bytes of it on a session */
	uint64_t sent_boot;        /* boot id of the peer it was last sent to; 0: none */
	char *reason;              /* of a dead letter; NULL: none */
};

/* ----------------------------------------------------------- consumers */

struct consumer;

struct consumer_ops {
	/*
	 * There is, or may be, something to take: call queue_take until it
	 * returns NULL, or queue_pause if it cannot take now.
	 */
	void (*wake)(struct consumer *c);
	/* The consumer now stands by, or no more. May be NULL. */
	void (*standby)(struct consumer *c, bool standby);
	/*
	 * The queue goes away: the consumer is detached already, and what it held
	 * was `lost`. Not for links, which hear it from the router. May be NULL.
	 */
	void (*cancelled)(struct consumer *c, enum wire_verdict verdict, const char *reason);
	/*
	 * A held entry is taken away (ack_timeout, purge, the queue goes away):
	 * forget it. From a link also what has expired; but of what a link has
	 * `sent`, expiry and purge only doom it: msg is NULL and doomed set, and
	 * nothing is told until queue_done, queue_bury or queue_doomed.
	 */
	void (*lost)(struct consumer *c, struct entry *e);
	/* What keeps it from taking, or from being done with what it holds. */
	void (*why)(const struct consumer *c, struct cause *ret);
};

struct consumer {
	const struct consumer_ops *ops;
	struct queue *queue; /* NULL: detached */
	struct list node;    /* in the queue's list of idle consumers */
	struct list all;     /* in the queue's list of all, in the order they attached */
	struct list rivals;  /* in that of the exclusive ones */
	struct list held[WIRE_PRIORITIES]; /* entries in the order taken; a link's: of seq */
	uint64_t n_held;
	bool exclusive;
	bool standby;
	bool standby_told;
	bool idle;   /* waits for wake */
	bool paused; /* waits for its own reasons, until queue_ready */
	bool woken;  /* wake is on its way */
	bool link;   /* the only consumer of an outbound queue: never returns or delays; woken by every message */
	struct loop_call call;
};

/*
 * Consumers share a queue by pull: the idle ones are woken in turn, one for
 * each message that comes. While an exclusive consumer is the active one, all
 * others, of either kind, stand by: queue_take gives them nothing. The first
 * exclusive consumer (in the order they attached) becomes active when no other
 * consumer holds messages at the time it attaches or any other detaches; until
 * then it stands by, and the others go on. When the active one detaches and
 * there is no other exclusive one, all take part again.
 *
 * Attach: fill ops, exclusive, link; everything else is zeroed here. May call
 * wake soon. c->standby says at once whether it stands by.
 */
void queue_attach(struct queue *q, struct consumer *c);
/*
 * Detach: what is held goes back to its place, flagged redelivered if it may
 * have been seen (or to the dead-letter queue, as by queue_return). `lost` is
 * not called: forget the tags before. NULL queue is fine.
 */
void queue_detach(struct consumer *c);

/*
 * Take the next waiting message for this consumer, by weights 16:4:1 between
 * priorities, or (prio >= 0) of one priority. NULL: none now; the consumer is
 * idle and will be woken. The entry moves to c->held[] and its attempt is
 * counted. The caller sets tag and by_tag.
 */
struct entry *queue_take(struct consumer *c, int prio);
/* Messages waiting at a priority (-1: all), for a consumer that looks before it takes. */
uint64_t queue_waiting(const struct queue *q, int prio);
/* More of a held entry is on its way to the consumer only now: ack_timeout counts from here. */
void queue_delivered(struct entry *e);
/* The consumer cannot take now though there may be something; another one is woken. Call queue_ready later. */
void queue_pause(struct consumer *c);
/* The consumer can take again: woken if there is something. */
void queue_ready(struct consumer *c);

/*
 * A held entry is done: acked by a client (CONSUMED) or confirmed by a peer
 * (ARRIVED), doomed or not. Tells the sender, frees the entry.
 */
void queue_done(struct entry *e, enum wire_level level);
/*
 * Back to its place (delay_ms 0), or after a delay; with max_attempts behind
 * it it goes to the dead-letter queue instead, and is parked while that is
 * full. Not for links. reason may be NULL. The holder has forgotten it.
 */
void queue_return(struct entry *e, uint64_t delay_ms, const char *reason);
/*
 * A held entry goes to the dead-letter queue; or, of a dead-letter queue, is
 * dropped; a doomed one meets its doom. level is REJECTED or DEAD (what the
 * sender is told). -ENOSPC, to links only: there is no dead-letter queue or it
 * is full; the entry stays held, and the caller tries again. What a client
 * held is parked in the queue instead, and tried again here.
 */
int queue_bury(struct entry *e, enum wire_level level, enum wire_reject_code code, const char *reason);
/* A held entry of a link was doomed and the link now knows it did not get through: tell and free. */
void queue_doomed(struct entry *e);

/* -------------------------------------------------------------- inlets */

/* The receiving end of one flow: its claim on room. */
struct inlet {
	struct queue *queue;
	bool peer;                  /* full means no credit, whatever overflow says */
	uint64_t reserved_messages; /* granted as credit, not used yet */
	uint64_t reserved_bytes;
	uint64_t window_messages;   /* grows while the flow is busy */
	uint64_t window_bytes;
	uint64_t last_grant_ms;
	uint64_t started_messages;  /* started, neither put nor abandoned */
	uint64_t started_bytes;     /* what is counted for them */
	uint64_t disk_claimed;      /* room in the store for what is reserved and started */
	uint64_t disk_claimed_body; /* of it for a body that has room of its own */
	uint64_t disk_idle;         /* of it what is only reserved */
	uint64_t partial_wanted;    /* queue_reserve_partial had no room for that much */
	bool regardless;            /* by the queue's overflow: no claim on its room, only on memory */
	struct list starved;        /* in the queue's or the memory's list of those that want room */
	struct list all;
	/* There is room again after queue_grant or queue_reserve_partial had none: try again. */
	void (*room)(struct inlet *in);
	/* The queue goes away; the inlet is detached already. */
	void (*gone)(struct inlet *in);
	/* Of what is put here into a durable queue; set by the caller behind queue_inlet_open. */
	uint32_t flow;           /* its number in the store; 0: none */
	struct sender *confirms; /* hears what is stored; NULL: nobody */
	struct store_body *body; /* of the message put next, written ahead; taken over with it. NULL: none was */
};

/* One more flow: have memory and store room for what each must have? */
bool queue_inlet_fits(const struct queue *q);
void queue_inlet_open(struct queue *q, struct inlet *in, bool peer, void (*room)(struct inlet *),
    void (*gone)(struct inlet *));
/* Gives back what is reserved or started (queue_reserve_partial is the caller's to release). NULL queue is fine. */
void queue_inlet_close(struct inlet *in);
/*
 * How much credit may be granted in addition now: tops the reservation up to
 * the window once less than half of it is left, by the share of the room in
 * queue and memory that one flow may have; reserves it. Granted is granted: it
 * can be put whatever happens. What all flows have and do not use is at most a
 * quarter of the memory, beside one message and QUEUE_GRANT_MIN bytes each; of
 * a queue, a flow gets at least that as long as there is room but for what
 * others have reserved and do not use, so that it may come to hold one message
 * a flow above its bound. 0,0: nothing now (and if less than that is left,
 * `room` follows).
 */
void queue_grant(struct inlet *in, uint64_t *ret_messages, uint64_t *ret_bytes);
/* A message of `bytes` (body and packed part) starts: uses one message and its bytes of the reservation. */
void queue_started(struct inlet *in, uint64_t bytes);
/*
 * The same for one that has not used the reservation, but one of its own
 * (queue_reserve_partial of its bytes and QUEUE_OVERHEAD), which the caller has
 * just released. It did not fit the window, so that is widened.
 */
void queue_started_reserved(struct inlet *in, uint64_t bytes);
/*
 * A started message will not be put after all: what it used is reserved again
 * for this inlet, so that the caller can grant the same credit at once.
 */
void queue_abandoned(struct inlet *in, uint64_t bytes);
/* The same for queue_started_reserved: its room is given back, as it was none of the flow's credit. */
void queue_abandoned_reserved(struct inlet *in, uint64_t bytes);
/*
 * Put a started, complete message in. Takes over the caller's reference.
 * sender may be NULL. 0; else nothing is taken over, and the message is still
 * started: -EXFULL: overflow = reject and there is no room; -ENOSPC: the same, of the
 * store; -ENOTSUP: it
 * demands durable and the queue is not; -ESHUTDOWN: the queue is gone;
 * -EOVERFLOW: all sequence numbers of this start are used; -EIO: the store has
 * failed; -ENOMEM.
 * With drop-oldest and nothing older to drop, the message itself is DROPPED.
 */
int queue_put(struct inlet *in, struct message *m, struct sender *sender, uint64_t number);

/*
 * Memory for large bodies and for unfinished ones without a session, bounded
 * by max_partial. false: not now; if `in` is not NULL its `room` follows.
 */
bool queue_reserve_partial(struct queues *qs, struct inlet *in, uint64_t bytes);
/* in: the inlet it is reserved with, or was for another session; NULL: none. */
void queue_release_partial(struct queues *qs, struct inlet *in, uint64_t bytes);
/*
 * What was reserved for another session is used by this inlet: of the body so
 * many bytes are still to be written. false: the store has no room for them.
 */
bool queue_resume_partial(struct inlet *in, uint64_t bytes);
/* So much of the body with room of its own is in the store by now. */
void queue_body_written(struct inlet *in, uint64_t bytes);
/* Has the store room now for one more message of that size by this inlet? */
bool queue_disk_fits(const struct inlet *in, uint64_t bytes);
/* Is a message of that size more than the store can ever have room for, in this queue? */
bool queue_disk_never_fits(const struct queue *q, uint64_t bytes);
/* Does an inlet wait for it? */
bool queue_partial_starved(const struct queues *qs);

/* ------------------------------------------------------- whole queues */

struct queue_counters {
	uint64_t accepted, moved_in, consumed, forwarded, expired, dead, dropped, purged, moved_out;
	uint64_t rejected, duplicates, redelivered;
	uint64_t present;  /* found in the store at start */
	uint64_t damaged;  /* its bytes could not be read back */
};

struct queue_stats {
	uint64_t messages, in_flight, delayed, parked, bytes, consumers;
	uint64_t stored, syncing, on_disk;          /* of them: durable; not offered before their sync; without body in memory */
	uint64_t reserved_messages, reserved_bytes; /* granted or started, not put yet */
	uint64_t oldest_ms;                         /* age of the oldest that waits; 0: none waits */
	struct queue_counters counters;
};

const char *queue_name(const struct queue *q); /* "orders", "berlin/orders" */
const char *queue_node(const struct queue *q); /* NULL: a queue of this node */
const char *queue_remote_name(const struct queue *q); /* of an outbound queue: "orders" */
const struct conf_queue *queue_conf(const struct queue *q);
/*
 * Other settings from the next message on. What is in it stays, whatever the
 * bounds are now. durable stays as it is: it is the queue's for its life.
 */
void queue_set_conf(struct queue *q, const struct conf_queue *conf);
void queue_stats(const struct queue *q, uint64_t now_ms, struct queue_stats *ret);
/* Of an outbound queue: the link that takes from it, its only consumer; NULL: none. */
struct consumer *queue_link(const struct queue *q);
bool queue_is_dead_letter(const struct queue *q);
/* Is a message of this durability kept in the store, in this queue? */
bool queue_keeps(const struct queue *q, enum message_durability durability);
struct queue_counters *queue_counters(struct queue *q); /* rejected and duplicates are counted by the flow's end */
/* Highest sequence given so far: (start count: 24 bits, counter: 40 bits); the counter is 0 before the first. */
uint64_t queue_last_seq(const struct queue *q);
struct queue_purged {
	uint64_t messages, bytes;
	uint64_t in_doubt; /* of them: the peer may have them, and who sent them hears what became of them when it tells */
};

/* Drop what waits, what clients hold, and the bodies of what a link has sent, or may have in an earlier start. */
void queue_purge(struct queue *q, struct queue_purged *ret);
/*
 * A held queue gives nothing to its consumers, links too, and is filled as
 * before; what they hold already goes its way. Kept together with its
 * definition, if that is. 0, or a negative errno and nothing has changed.
 */
int queue_hold(struct queue *q, bool held);
bool queue_is_held(const struct queue *q);
/* The same without telling the store: it was found there. */
void queue_set_held(struct queue *q, bool held);

struct queue_moved {
	uint64_t messages, bytes;
};
/*
 * Move what waits in `from` or is delayed, and has a number up to `up_to`, to
 * the end of `to`, in order, at most max messages. Both are queues of this
 * node. Each is in one of them, whatever happens; its time to live goes on, and
 * its attempts begin anew. Memory messages stay such. 1: there may be more; 0:
 * no more; -ENOSPC: no room in `to`; -ENOTSUP: a durable message, and `to` keeps
 * it in memory only; -EIO, -ENOMEM. ret is always filled.
 */
int queue_move(struct queue *from, struct queue *to, uint64_t up_to, uint64_t max, struct queue_moved *ret);
/* Call fn for each entry (waiting by priority in order, then held, delayed, parked) until it returns false. */
void queue_each(struct queue *q, bool (*fn)(void *arg, const struct entry *e), void *arg);

/*
 * A look at what is in a queue, in order, which changes nothing: waiting by
 * priority, then held, delayed, syncing, parked, in each by number. A few
 * messages at a time are copied, or read back if only the store has them.
 */
struct queue_peek;
#define QUEUE_SEEN_BODY 1024 /* bytes of a body that are seen */

/* A message, as it was when the look came to it. What is pointed to is the peek's. */
struct queue_seen {
	uint64_t seq, counter, entered_ms, expires_ms;
	uint64_t size;           /* of its body; with is_unread all that is counted for it */
	uint32_t attempt;
	uint8_t state, priority; /* enum entry_state, enum wire_priority */
	bool is_unread;          /* its bytes could not be had: the rest is empty */
	const char *type, *reason;
	struct wire_bytes origin, body;
};

/* ready is called from the loop when it is worth trying again after -EAGAIN. NULL: out of memory. */
struct queue_peek *queue_peek_new(struct queues *qs, void (*ready)(void *arg), void *arg);
/*
 * The message it has come to in q, which is the same queue each time; at most
 * `most` more are wanted. 1; 0: there are no more; -EAGAIN: being read; -EBUSY:
 * too much is being read for others, try again in a while.
 */
int queue_peek_get(struct queue_peek *p, struct queue *q, uint64_t most, const struct queue_seen **ret);
/* From now on only at those of which only the store has the body; what was shown is not remembered. At the beginning. */
void queue_peek_stored(struct queue_peek *p);
/* On to the next one. */
void queue_peek_next(struct queue_peek *p);
/* Also while something is being read; before queues_free. NULL is fine. */
void queue_peek_free(struct queue_peek *p);

/* What holds what is in it: the one thing that would have to change first. */
void queue_why(struct queue *q, struct cause *ret);
/* The same of one message, which it told of in queue_each. */
void queue_why_entry(const struct entry *e, struct cause *ret);
/* Since when a consumer has held what it has held longest; 0: it holds nothing. */
uint64_t queue_held_since(const struct consumer *c);

/* Numbers (first, last) of this sender that still are in the queue, rising, at most max pairs; returns pairs. O(queue). */
size_t queue_ranges_of(struct queue *q, const struct sender *s, uint64_t (*ret)[2], size_t max);

/*
 * Of an outbound queue: the peer told what it has accepted. Of what a start found
 * and has expired or was purged since then, the rest is told now.
 */
void queue_doubt_over(struct queue *q, enum wire_priority prio, uint64_t accepted);
/* Has something ended of which only the peer can tell how? */
bool queue_awaits_outcome(const struct queue *q, int prio);
/* It has confirmed up to here; of those that ended here meanwhile senders hear that. What is held is the consumer's. */
void queue_arrived(struct queue *q, enum wire_priority prio, uint64_t confirmed);

/* The sender goes away: entries forget it. O(queue); for the end of a daemon. */
void queue_forget(struct queue *q, struct sender *s);

/* What all queues of a daemon share: loop, memory, the wheel of deadlines, the list of queues. */
struct queues_config {
	uint32_t start_count;
	uint64_t max_memory;  /* bytes of bodies, packed parts and overhead, reservations included */
	uint64_t peer_room;   /* of it what only peers may fill */
	uint64_t max_messages;
	uint64_t peer_messages; /* of them what only peers may fill */
	uint64_t max_partial;
	/* Bytes of the store for what waits for a peer; 0: the default. */
	uint64_t (*max_backlog)(void *arg, const char *peer);
	/* The dead-letter queue for q, made if need be; NULL: none can be had. */
	struct queue *(*dead_letter)(void *arg, struct queue *q);
	/* What the store keeps to make q again: at most `max` bytes; returns how many, 0: q is not to be kept. */
	size_t (*definition)(void *arg, struct queue *q, uint8_t *ret, size_t max);
	/* q is empty and has neither consumers (but links) nor inlets (told from a deferred call), or is in use again. */
	void (*unused)(void *arg, struct queue *q, bool unused);
	void *arg;
};
/*
 * The store, once it is open: queues that are durable get numbers in it. 0 or a
 * negative errno.
 */
int queues_set_store(struct queues *qs, struct store *store);
/* Give a new queue its number in the store, if it is durable and there is a store. 0 or a negative errno. */
int queues_define(struct queues *qs, struct queue *q);
struct store *queues_store(const struct queues *qs); /* NULL: there is none */
/* The store may have room again (store_events.room). */
void queues_disk_back(struct queues *qs);
/* The store knows by now what was offered of a queue (store_events.offered). */
void queues_offered(struct queues *qs, uint32_t number, uint64_t seq);
/* Everything appended up to ticket is synced (store_events.synced). */
void queues_synced(struct queues *qs, uint64_t ticket);
/*
 * The store's number of a queue; 0: it has none. Restoring gives it the one it
 * had, and says what was offered to consumers.
 */
uint32_t queue_number(const struct queue *q);
void queue_restore(struct queue *q, uint32_t number, uint64_t offered);
/* Of an outbound queue: up to here the peer may have messages by another number, as one of the two got another identity. */
void queue_set_may_be_known(struct queue *q, uint64_t up_to);
uint64_t queue_may_be_known(const struct queue *q);
/* A message found in the store, by rising seq; sender NULL: nobody wants its outcome. 0 or -ENOMEM. */
int queue_restore_message(struct queue *q, const struct store_found *found, struct sender *sender);
/* The entries of the sender that are not synced forget it. O(unsynced); for the end of a daemon. */
void queues_forget(struct queues *qs, struct sender *s);

struct queues *queues_new(struct loop *l, struct message_store *ms, const struct queues_config *cfg);
/* The bounds of cfg from now on; all else of it stays. */
void queues_set_limits(struct queues *qs, const struct queues_config *cfg);
void queues_free(struct queues *qs); /* every queue must be freed, every partial released before */
void queues_memory(const struct queues *qs, uint64_t *ret_used, uint64_t *ret_messages, uint64_t *ret_partial);

/* node NULL: a queue here. conf is copied; the lists it points to must outlive the queue. NULL: out of memory. */
struct queue *queue_new(struct queues *qs, const char *node, const char *name, const struct conf_queue *conf,
    bool dead_letter);
/* Cancels consumers, detaches inlets (gone), drops what is in it (senders are told nothing). NULL is fine. */
void queue_free(struct queue *q);
/* Empty, and has neither consumers (but links) nor inlets, now. */
bool queue_is_unused(const struct queue *q);
/*
 * What has left it would not be found again after a crash. Only then may an
 * outbound queue go, as the peer forgets with it what it has accepted.
 */
bool queue_is_settled(const struct queue *q);
/* From now on a dead-letter queue: nothing that enters expires, is delayed, or dies again. */
void queue_make_dead_letter(struct queue *q);
/*
 * What is durable shall come here: it is kept from now on, whatever its section
 * says. 0; or a negative errno: -EBUSY, flows are open that were told otherwise.
 */
int queue_make_durable(struct queue *q);
/* The owner's node in its table, keyed by queue_name. */
struct hmap_node *queue_map_node(struct queue *q);
struct queue *queue_from_map(struct hmap_node *n);
#define QUEUE_OWNER_DATA 64
void *queue_owner_data(struct queue *q); /* QUEUE_OWNER_DATA zeroed bytes for the router */
struct queue *queue_of_owner_data(void *data);

#endif
