/*
 * core: what every link and client of one daemon shares. Built and torn down
 * by daemon.c.
 */
#ifndef CORE_H
#define CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "conf.h"
#include "intake.h"
#include "list.h"
#include "log.h"
#include "loop.h"
#include "message.h"
#include "router.h"
#include "session.h"
#include "state.h"

enum core_closed_kind { CORE_CLOSED_PEER, CORE_CLOSED_CLIENT, CORE_CLOSED_STRANGER, CORE_CLOSED_KINDS };

struct core {
	struct loop *loop;
	const struct conf *conf;
	const struct conf_node *node;
	struct log *log;
	struct tls_context *tls; /* our key and whom we trust; NULL: nothing here uses TLS */
	struct state *state;
	struct message_store *messages;
	struct router *router;
	struct store *store; /* NULL before it is open, and at the end */
	struct session_env sessions;
	struct intake_env intake;
	uint64_t next_counter; /* of message ids */
	uint64_t next_nonce;   /* of dials */
	uint64_t next_decision;
	uint64_t session_window; /* Hello.limits.window */
	bool stopping;
	/* Sessions ended, by close code. */
	uint64_t closed[CORE_CLOSED_KINDS][WIRE_CLOSE_CODES];
	/* A state change for `connectctl events`. */
	void (*event)(void *arg, const char *kind, const char *name, const char *change, const char *text);
	void *event_arg;
};

#define CORE_ORIGIN_MAX 512 /* bytes of a serialized Origin */

/* What every session of this daemon says of itself; the caller adds what is its own. */
void core_hello(const struct core *core, enum wire_role role, struct wire_hello *h);

/* How the configuration wants streams over UDP to be, with datagrams of at most mtu bytes. */
void core_tuning(const struct core *core, uint64_t mtu, struct transport_tuning *ret);

/* The entry for an origin, with a reference for the caller; NULL: too long, or out of memory. */
struct intern_entry *core_origin(const struct core *core, const struct wire_origin *o);

#endif
