/*
 * node: real daemons for tests. Each is a process of its own with a folder of
 * its own below one that the test program makes and removes; they end with the
 * test. Nothing here sleeps for a fixed time: starts wait for READY, ends for
 * the process, states for the daemon's events.
 */
#ifndef NODE_H
#define NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "admin.pb-c.h"

struct admin_session;

struct node {
	char name[41];
	char dir[40], socket[56], conf[56], log[56], notify[56];
	pid_t pid; /* 0: not running */
	int notify_fd;
	struct admin_session *asking, *hearing; /* for questions, for events; NULL: none yet */
	char url[64];   /* of the first [listen] address, while it runs */
	const char *environment[8]; /* "NAME=value" for its next starts, up to a NULL */
};

/* Around srunner_run_all: make the folder; show the logs if `failed`; remove it. */
void nodes_begin(void);
void nodes_end(bool failed);
/* The folder, below /tmp. */
const char *nodes_folder(void);
/* A file in it with this content; its path is put into ret, and returned. */
#define NODES_PATH_MAX 64
const char *nodes_file(char ret[static NODES_PATH_MAX], const char *name, const void *data, size_t len);

/*
 * Write the configuration: name, state and socket, then `rest` (keys of [node],
 * then sections). Where that does not say max_disk it is 64M, in segments of 1M.
 * Not started.
 */
void node_init(struct node *n, const char *name, const char *rest, ...) __attribute__((format(printf, 3, 4)));
/* Another configuration for the next start. */
void node_configure(struct node *n, const char *rest, ...) __attribute__((format(printf, 2, 3)));

void node_start(struct node *n);
/* Start one that may refuse: 0 when it is ready, else its exit code. */
int node_try_start(struct node *n);
/* Begin to start it, and do not wait; node_kill ends it. */
void node_launch(struct node *n);
/* Wait for what was launched. True: it is ready; false: it has ended, node_await_end says how. */
bool node_await_ready(struct node *n);
/* Wait until it has ended by itself: its exit code. */
int node_await_end(struct node *n);
/* Start one that must refuse: its exit code. */
int node_refuses(struct node *n);
/* SIGTERM; returns the exit code. */
int node_stop(struct node *n);
void node_kill(struct node *n); /* kill -9 */
/* Ends it if it runs. */
void node_done(struct node *n);

/* Is the text in the log? */
bool node_logged(const struct node *n, const char *text);
/* Wait until it is, for 20 s at most. */
void node_await_logged(const struct node *n, const char *text);

/* Bytes on disk of all that lies in its journal's folder. */
uint64_t node_journal_bytes(const struct node *n);

/* Run the daemon's program with these arguments (NULL-terminated): exit code; what it wrote is cut to fit. */
int node_run(const char *const *args, char *out, size_t out_size, char *err, size_t err_size);

/* ------------------------------------------------------------ asking it */

/* Records of an answer, unpacked. */
struct answer {
	int error; /* an errno number, of the daemon */
	char reason[256];
	ProtobufCMessage **items;
	size_t n;
};
/* verb: enum wire_admin_verb. Free with answer_free. */
void node_ask(struct node *n, int verb, const char *name, uint64_t limit, const ProtobufCMessageDescriptor *type,
    struct answer *ret);
void answer_free(struct answer *a);
/* Called when the daemon has ended. */
void node_forget_sessions(struct node *n);

/* Wait until the peer's state is this; fails the test after 20 s. */
void node_await_peer(struct node *n, const char *peer, const char *state);
/*
 * Wait until `why` names this cause (NULL: any) for what has this name, with
 * this in its sentence; fails the test after 20 s.
 */
void node_await_why(struct node *n, const char *name, const char *cause, const char *text);
/* Wait until ok says so of the queue (absent: NULL). */
void node_await_queue(struct node *n, const char *queue, bool (*ok)(const Connectd__V1__Queue *q, uint64_t value), uint64_t value);
/* Conditions for it. */
bool queue_holds(const Connectd__V1__Queue *q, uint64_t messages);
bool queue_consumed(const Connectd__V1__Queue *q, uint64_t messages);
bool queue_has_consumers(const Connectd__V1__Queue *q, uint64_t consumers);
/* What of this limit is used, by `status`. */
uint64_t node_used(struct node *n, const char *limit);
/* The books balance: fails the test otherwise. */
void node_check_books(struct node *n);

#endif
