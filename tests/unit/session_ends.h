/*
 * session_ends: two sessions over a pipe, or one and the test itself, with
 * owners that write down what they are told and can end the session inside any
 * call-back.
 */
#ifndef SESSION_ENDS_H
#define SESSION_ENDS_H

#include "fake_loop.h"
#include "pipe_transport.h"
#include "session.h"

#define HANDSHAKE_MS 10000
#define KEEPALIVE_MS 4000
#define KEPT_MAX 8192

enum call { CALL_NONE, CALL_GREETING, CALL_HELLO, CALL_FRAME, CALL_FILTER, CALL_WRITABLE, CALL_PROBE, CALL_DOWN };

struct kept {
	enum wire_kind kind;
	uint32_t id;     /* of a run; of Confirm the flow */
	uint64_t number; /* of an item; of Confirm */
	uint32_t body_sum;
	size_t body_len, packed_len;
	uint64_t offset, total;
	char type[32], origin[32];
};

struct end {
	struct world *w;
	struct session *s;
	uint32_t role, dictionary; /* dictionary 0: as the session says; UINT32_MAX: 0 */
	bool greets, opens; /* inside `hello` */
	bool filters;       /* set an origin filter */
	enum call free_in, close_in;
	unsigned pause_at, discard_at, charge_at; /* at this call of `frame` */

	unsigned greetings, hellos, frames, writables, downs, probes, after_free;
	bool alive; /* what the probe said */
	bool freed;
	struct kept kept[KEPT_MAX]; /* one for a frame, or for each item of a run */
	size_t n_kept;
	enum wire_close_code code;
	bool by_peer;
	int error;
	char reason[300];
};

struct world {
	struct loop *loop;
	struct message_store store;
	struct session_env env;
	struct pipe_end a, b;
	struct end x, y; /* x dials over a, y accepts on b */
};

extern const struct session_events end_events;

/* Nothing connected yet; both are peers that greet and open at once. */
struct world *world_new(void);
/* Frees the sessions; what they held must be back. */
void world_free(struct world *w);
/* Both sessions, run until at rest. */
void world_connect(struct world *w);
/* y alone; the test is the other end: world_put and world_next. */
void world_accept(struct world *w);
/* The same after greeting. */
void world_accept_open(struct world *w, uint32_t role);

/* To y: a frame (not a run); bytes as they are. */
void world_put(struct world *w, const struct wire_frame *f);
/* What y sent: the next frame, valid until world_next is called again. False: none. */
bool world_next(struct world *w, struct wire_frame *ret);
/* The rest of what y sent holds a Close: true, and its code. */
bool world_closed(struct world *w, uint32_t *ret_code);

struct wire_frame hello_frame(uint32_t role);
struct wire_frame confirm_frame(uint32_t flow, uint64_t number);
void end_probed(void *arg, bool alive);
uint32_t sum(const uint8_t *data, size_t len);

#endif
