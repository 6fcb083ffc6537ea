/*
 * client: a local application. Kernel credentials, limits per user, what it
 * sends (intake) and what it consumes (client_consume.c).
 */
#ifndef CLIENT_H
#define CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "core.h"

struct client;
struct clients; /* all of a daemon, and the users they belong to */

/*
 * Administration is answered elsewhere: admin is called for each AdminRequest
 * of a client; ended when the client is gone; writable when it has read. Answers go through
 * client_session.
 */
struct clients_hooks {
	void (*admin)(void *arg, struct client *c, const struct wire_admin_request *req);
	void (*ended)(void *arg, struct client *c);
	/* session_room was 0 and is not any more. */
	void (*writable)(void *arg, struct client *c);
	void *arg;
};

struct clients *clients_new(struct core *core, const struct clients_hooks *hooks);
void clients_free(struct clients *cs);

/*
 * Take a transport that a listener accepted on the Unix socket. Over a limit
 * it is closed with LIMIT (one slot is kept for uid 0).
 */
void clients_accept(struct clients *cs, struct transport *t);
/* Close every session with this code. */
/* The configuration has changed: who may not any more loses subscriptions, or, with flows open, the session. */
void clients_recheck(struct clients *cs);
void clients_close(struct clients *cs, enum wire_close_code code, const char *reason);
/* Sessions that are not gone yet. */
size_t clients_count(const struct clients *cs);
/* The most that one user has. */
uint64_t clients_of_busiest_user(const struct clients *cs);
/* The flows of a local user; NULL: out of memory. */
struct intake_book *clients_book(struct clients *cs, uint32_t uid);
/* Of every user who was here since the start or has flows in the store, until fn returns false; in no order. */
void clients_each_book(struct clients *cs, bool (*fn)(void *arg, struct intake_book *b), void *arg);

struct session *client_session(struct client *c);
/* uid 0, the daemon's uid, or in admin_group. */
bool client_is_admin(const struct client *c);
const struct subject *client_subject(const struct client *c);
/* Where it is told what it may not do. */
struct log_limit *client_denied(struct client *c);

struct client_stats {
	uint32_t uid, gid, pid;
	const char *unit, *application;
	uint64_t since_ms, flows, subscriptions, unacked, sent_messages, received_messages;
};
void client_stats(const struct client *c, struct client_stats *ret);
void clients_each(struct clients *cs, bool (*fn)(void *arg, struct client *c), void *arg);

#endif
