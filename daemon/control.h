/*
 * control: answers the administration requests of clients: what there is
 * (status, peers, queues, ...), and what operators have done (purge, move,
 * forget, ...). Answers are records of admin.proto in pages; the next page
 * follows when the last one has left.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "client.h"
#include "core.h"
#include "expiry.h"
#include "link.h"

struct control;

/* Connections with other nodes. */
struct control_connections {
	uint64_t all;
	uint64_t pending, per_address; /* of nobody known yet; the most of one address */
	uint64_t strangers;            /* let in within the last second */
	uint64_t handshake_ms;         /* CPU time in the last period of handshake_budget */
};

/* The parts of the daemon that are told about. Borrowed; complete before the first request. */
struct control_sources {
	struct core *core;
	struct clients *clients;
	struct link *const *links;
	size_t n_links;
	uint64_t started_ms, started_unix_ms;
	void (*listeners)(void *arg, void (*fn)(void *arg, const char *name, const char *url), void *fn_arg);
	void (*connections)(void *arg, struct control_connections *ret);
	/* What the store has of a peer that is not configured, or of other state folders of it, is removed; returns how many flows. */
	size_t (*forget_strays)(void *arg, const char *peer);
	/* What ends: of this node, and certificates of peers that are connected, where their dates count. */
	void (*expiry)(void *arg, void (*fn)(void *fn_arg, const struct expiry_item *it), void *fn_arg);
	/* As daemon_reload. */
	int (*reload)(void *arg, void (*done)(void *arg, int error, const char *text), void *done_arg);
	void *arg;
};

#define CONTROL_REQUESTS_MAX 16 /* open requests a client */
#define CONTROL_EVENTS_MAX 1024 /* events kept for subscribers that are slow */
#define CONTROL_PEEK_MAX 1000   /* messages one peek shows */
#define CONTROL_ARGUMENT_MAX 3500 /* bytes of a request's argument */

/* NULL: out of memory. */
struct control *control_new(const struct control_sources *src);
/* What runs beside the loop ends; before the store is closed. NULL is fine. */
void control_stop(struct control *c);
/* After the clients. NULL is fine. */
void control_free(struct control *c);

/* For clients_new. */
void control_request(void *arg, struct client *c, const struct wire_admin_request *req);
void control_client_ended(void *arg, struct client *c);
void control_writable(void *arg, struct client *c);

/* Something is synced that an answer may wait for; from inside the store's `synced`. */
void control_synced(struct control *c);

/* For core.event. */
void control_event(void *arg, const char *kind, const char *name, const char *change, const char *text);

#endif
