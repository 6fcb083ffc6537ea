/* control_internal: requests and the records of admin.proto, shared by control*.c only. */
#ifndef CONTROL_INTERNAL_H
#define CONTROL_INTERNAL_H

#include <protobuf-c/protobuf-c.h>

#include "control.h"
#include "hmap.h"
#include "list.h"
#include "names.h"

#define PAGE_TARGET (32 * 1024) /* no record is begun above */
#define PAGE_ROOM (60 * 1024)   /* no record is larger; with its frame below WIRE_CONTROL_MAX */

/* Delimited records. */
struct page {
	size_t len;
	uint8_t data[PAGE_ROOM];
};

/* Append a record. False: it belongs onto the next page. */
bool page_add(struct page *pg, const ProtobufCMessage *m);

/* A named producer's flow. */
struct producer_key {
	uint32_t uid;
	uint8_t name[INTAKE_PRODUCER_MAX];
	size_t name_len;
	char queue[NAMES_DEST_MAX + 1];
	uint8_t priority;
};

/* What an answer is about and how far it has come. */
struct cursor {
	char name[NAMES_DEST_MAX + 1]; /* asked for; "": all */
	uint64_t left;                 /* records that may still be sent */
	uint64_t done;                 /* records sent, of peers and clients */
	char after[NAMES_DEST_MAX + 1]; /* the last queue sent */
	struct producer_key producer;   /* the last one sent, if done > 0 */
};

/* Generated structs hold char *, and nobody writes through it here. */
char *records_string(const char *s);
/* A moment of the loop's clock, for people. */
uint64_t records_unix_ms(const struct core *core, uint64_t at_ms);

/* Fill the page from where the cursor is. True: that was all. */
bool records_status(const struct control_sources *src, struct cursor *at, struct page *pg);
bool records_peers(const struct control_sources *src, struct cursor *at, struct page *pg);
bool records_queues(const struct control_sources *src, struct cursor *at, struct page *pg);
bool records_clients(const struct control_sources *src, struct cursor *at, struct page *pg);
bool records_producers(const struct control_sources *src, struct cursor *at, struct page *pg);
void records_done(const char *text, struct page *pg);

/* An event as a delimited record, malloc'ed; NULL: out of memory. */
uint8_t *records_event(uint64_t unix_ms, const char *kind, const char *name, const char *change, const char *text, size_t *ret_len);

/* ---------------------------------------------------------------- requests -- */

/* A client with open requests. */
struct asker {
	struct hmap_node node; /* by the client's address */
	struct client *client;
	struct list requests;
	struct list full; /* requests that wait until it has read */
	size_t n;
};

struct act;
struct backup;
struct finding;

struct request {
	struct list node;      /* in the asker's requests */
	struct list turn;      /* in one of control's lists, or the asker's of full ones */
	struct asker *asker;
	uint32_t id;
	enum wire_admin_verb verb;
	struct cursor at;
	char *argument; /* NULL: none */
	uint32_t uid;
	bool by_uid;
	uint64_t next_event;
	struct queue_peek *peek; /* of a peek, once it has begun */
	struct finding *finding; /* of a message asked about, once it has begun */
	struct act *act; /* of a verb that changes something, once it has begun */
};

struct event {
	uint8_t *data; /* a delimited record */
	size_t len;
};

struct control {
	const struct control_sources *src;
	struct hmap askers;
	/* Every request is in one of these, or in its asker's. */
	struct list ready;     /* to be gone on with, in this order */
	struct list blocked;   /* for a while */
	struct list waiting;   /* until something is synced, read or over */
	struct list listening; /* until there is an event */
	struct loop_timer pump, unblock;
	uint64_t subscribers;
	struct event events[CONTROL_EVENTS_MAX]; /* the last ones, by number */
	uint64_t n_events;                       /* ever told */
	struct page page;
	struct backup *backup;  /* under way, or over and not told; NULL: none */
	struct act *backup_act; /* whose it is; NULL: nobody's any more */
	bool backup_is_over;
};

/*
 * FULL: when the asker has read; BLOCKED: looked at again in a while; WAITS:
 * when something happens; GOES_ON: when others had their turn.
 */
enum progress { FULL, BLOCKED, WAITS, GOES_ON, OVER };

/* ---- control.c */
void control_respond(struct client *client, uint32_t id, bool last, struct wire_bytes records);
void control_respond_error(struct client *client, uint32_t id, int error, const char *reason);
/* The queue of that name; or NULL, and the error has been sent. */
struct queue *control_find_queue(struct control *c, const struct asker *a, const struct request *rq, const char *name);
/* What waits is looked at again, soon. */
void control_wake(struct control *c);

/* ---- control_acts.c: verbs that change something */
bool control_is_act(enum wire_admin_verb verb);
/* A step of it. */
enum progress control_act(struct control *c, struct asker *a, struct request *rq);
/* The request goes, whatever has become of it. */
void control_act_end(struct request *rq);

/* ---- control_peek.c */
/* A page of it, or what of one could be read by now. */
enum progress control_peek(struct control *c, struct asker *a, struct request *rq);

/* Where a message is in its queue; is_unread: only the journal has it. */
const char *control_state_name(enum entry_state state, bool is_unread);

/* ---- control_why.c */
/* What holds a queue, a peer or a message; a step of looking for that. */
enum progress control_why(struct control *c, struct asker *a, struct request *rq);

#endif
