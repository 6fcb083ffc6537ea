/* actors_internal: what actors.c, programs.c and accounts.c share. */
#ifndef ACTORS_INTERNAL_H
#define ACTORS_INTERNAL_H

#include "actors.h"
#include "connectd.h"
#include "daemon.h"
#include "settings.h"
#include "world.h"

#define MS 1000000u
#define HELD_MAX 64
#define BODY_MAX 400000 /* with chunks, and a reservation */

struct ledger_send;
struct named;
struct sim_disk_machine;

struct node {
	struct settings set;
	struct loop *loop; /* NULL: down */
	struct daemon *daemon;
	struct log log;
	struct world_event restart;
	bool stopping;
	struct sim_disk_machine *machine;
	struct world_event space;     /* its disk is full until then */
	struct world_event attention; /* an operator sees to it that its journal has failed */
};

enum role { PRODUCER, CONSUMER };

struct program {
	int index;
	enum role role;
	int at;        /* daemon it is connected to */
	int to;        /* producer: destination node */
	int queue;
	bool single;   /* consumer: exclusive */
	bool pulls;    /* consumer: connectd_recv instead of a call-back */
	unsigned demands, waives; /* producer: percent of its messages that are durable, or memory, whatever the queue says */
	struct connectd *c; /* NULL: not running */
	struct io *io;
	struct connectd_consumer *k;
	bool refused;  /* its subscription has ended */
	uint32_t generation; /* of its handle: rises with each start */
	struct world_event tick;
	bool busy;     /* inside the library, perhaps waiting */
	bool killed;
	unsigned left; /* messages to send */
	struct named *named; /* producer: under this name; NULL: none */
	bool opened;         /* it has the name, as far as it knows */
	bool asks;           /* for the name, and waits */
	uint64_t next;       /* number under the name */
	uint64_t opens_seen; /* by others, when it had got the name */
	bool quick;    /* consumer: acks everything at once from here on */
	struct connectd_msg *held[HELD_MAX];
	size_t n_held;
};

struct cluster {
	struct node nodes[ACTORS_DAEMONS];
	int n_nodes;
	struct program programs[ACTORS_CLIENTS];
	int n_programs;
	bool large;   /* many large bodies */
	bool mortal;  /* some messages have a time to live */
	bool hostile; /* somebody local speaks the protocol badly */
	bool hostile_peers; /* so do peers (tests/fuzz) */
	bool away;    /* consumers come late */
	bool hurt;    /* a disk was not as it should be, or memory */
	bool starved; /* allocations fail (sweep.c) */
	bool slowed;  /* links were slow */
	bool healed;
	struct actors_counts counts;
};
extern struct cluster sim;

/* ---- actors.c */
void node_kill(struct node *n);
/* In order, as by SIGTERM. */
void node_stop(struct node *n);

/* ---- faults.c */
void fault_power(struct node *n);
void fault_kill(struct node *n);
void fault_died(struct node *n);
/* What may go wrong when a daemon starts next. */
void fault_start(struct node *n);
/* A disk that was full is full no more: an event of the node. */
void fault_space(void *arg);
void faults_end(struct node *n);

/* ---- programs.c */
void program_tick(void *arg);
/* As kill -9: the socket ends, nothing is said. */
void program_kill(struct program *p);
/* Of messages, also those of named producers. */
size_t program_body_size(const struct program *p);
unsigned program_levels(enum connectd_durability durability);
void program_destination(const struct program *p, char dest[static 40]);
struct connectd_msg *program_message(const char *dest, uint64_t number, size_t len);
/* What the rules of both ends make of a message. */
void program_foresee(const struct program *p, size_t len, enum connectd_durability durability, struct ledger_send *ret);

/* ---- accounts.c: what holds at any time of a daemon that runs */
void accounts_check(const struct node *n);
/* When all is at rest and drained: no room has leaked. */
void accounts_check_drained(const struct node *n);
/* Trace what it holds. */
void accounts_trace(const struct node *n);
/* Of which no other program than a hostile one knows. */
bool accounts_is_hostile(const struct queue *q);

#endif
