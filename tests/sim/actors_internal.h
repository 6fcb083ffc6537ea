/* actors_internal: the cluster under way, shared by the files of actors only. */
#ifndef ACTORS_INTERNAL_H
#define ACTORS_INTERNAL_H

#include "actors.h"
#include "connectd.h"
#include "daemon.h"
#include "settings.h"
#include "world.h"

#define MS 1000000u
#define HELD_MAX 64

struct node {
	struct settings set;
	struct loop *loop; /* NULL: down */
	struct daemon *daemon;
	struct log log;
	struct world_event restart;
	bool stopping;
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
	struct connectd *c; /* NULL: not running */
	struct io *io;
	struct connectd_consumer *k;
	uint32_t generation; /* of its handle: rises with each start */
	struct world_event tick;
	bool busy;     /* inside the library, perhaps waiting */
	bool killed;
	unsigned left; /* messages to send */
	bool quick;    /* consumer: acks everything at once from here on */
	struct connectd_msg *held[HELD_MAX];
	size_t n_held;
};

struct actors {
	struct node nodes[ACTORS_DAEMONS];
	int n_nodes;
	struct program programs[ACTORS_CLIENTS];
	int n_programs;
	bool large;  /* many large bodies */
	bool mortal; /* some messages have a time to live */
	bool hostile; /* somebody local speaks the protocol badly */
	bool healed;
};

/* The one cluster of this process. */
extern struct actors sim;

/* actors_nodes.c */
void node_init(struct node *n);
/* As kill -9. */
void node_kill(struct node *n);
/* As SIGTERM; it comes back after a while. */
void node_stop(struct node *n);

/* actors_programs.c */
void program_init(struct program *p, int index);
/* As kill -9: the socket ends, nothing is said. */
void program_kill(struct program *p);

#endif
