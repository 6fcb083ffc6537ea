/*
 * connection: the handle and its session with the daemon: connect, greet, come
 * back; frames in and out. What frames mean for messages is decided in
 * producer.c and consumer.c.
 */
#ifndef CONNECTION_H
#define CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "connectd.h"
#include "consumer.h"
#include "dict.h"
#include "hmap.h"
#include "io.h"
#include "list.h"
#include "names.h"
#include "out.h"
#include "producer.h"
#include "wire.h"

#define CONN_IN (256 * 1024)       /* bytes of input held: more than one frame */
#define CONN_TIMEOUT 5000          /* ms to connect and greet */
#define CONN_BACKOFF_MIN 20        /* ms between attempts, doubling */
#define CONN_BACKOFF_MAX 1000
#define CONN_GOODBYE 1000          /* ms to wait at the end for the daemon to know what was acked */
#define CONN_READS 16              /* reads of one process call, before it gives way */
#define CONN_CORK 64               /* messages gathered while corked before some are written */
#define CONN_MAX_MESSAGE (1u << 30) /* body bytes taken */

enum conn_state {
	CONN_DOWN,     /* waiting to try again */
	CONN_GREETING, /* connected, Hello sent */
	CONN_UP,
	CONN_DEAD      /* will not come back */
};

struct connectd {
	enum conn_state state;
	int failure;              /* of the last attempt */
	int failing;              /* the session cannot go on: ends at the next step; 0: fine */
	struct io *io;
	char *path, *application;
	unsigned timeout_ms;
	bool no_reconnect;
	bool entered;             /* inside a call that may run call-backs */
	bool closing;             /* connectd_close was called by a call-back */
	unsigned corked, gathered;
	char error[256];

	/* The session. */
	uint64_t session;         /* counts greeted sessions; tags of another one are stale */
	uint64_t nonce;
	uint64_t boot_id;         /* of the daemon met last */
	char node[NAMES_NODE_MAX + 1];
	struct wire_limits limits;
	bool draining;            /* the daemon said it restarts: come back at once */
	bool write_blocked;
	uint32_t backoff_ms;
	uint64_t retry_at, greet_by, up_since; /* UINT64_MAX: not */
	uint64_t timer_at;        /* what the timer is set to */
	uint8_t *in;
	size_t in_len;
	struct out out;
	struct dict_in dict_in;

	struct producers producers;
	struct consumers consumers;
};

/* Milliseconds now. */
static inline uint64_t
conn_now(const struct connectd *c)
{
	return io_now(c->io);
}

/* Record a sentence for connectd_last_error; returns code. */
int conn_fail(struct connectd *c, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Queue a frame of the session; without one nothing happens. Never fails: without memory the session ends at the next step. */
void conn_put(struct connectd *c, const struct wire_frame *f);

/* The session cannot go on (out of memory): it ends, and starts over, at the next step. */
void conn_give_up(struct connectd *c, int code);

/* A sentence of the daemon's as a string: cut to size, unprintable bytes made harmless. */
#define CONN_TEXT (WIRE_REASON_MAX + 1)
const char *conn_text(char buf[static CONN_TEXT], struct wire_bytes in, const char *otherwise);

/* Write what is due. 1 if something was written. */
int conn_output(struct connectd *c);

/* Try to connect and greet. */
void conn_dial(struct connectd *c);

/*
 * The session, or the attempt at one, is over: the sentence for why is
 * recorded already. Come back later, or not at all.
 */
void conn_lost(struct connectd *c, int code);

/* Read, and do what is due by now; call-backs run. True if there was something. */
bool conn_step(struct connectd *c);

/* Set the timer for what comes next. */
void conn_arm(struct connectd *c);

/* Have connectd_process run at `when` at the latest. */
void conn_wake(struct connectd *c, uint64_t when);

/*
 * Process and wait until done(arg) or the time has passed. 0, -ETIMEDOUT,
 * -EDEADLK inside a call-back, or as connectd_process.
 */
int conn_until(struct connectd *c, int timeout_ms, bool (*done)(void *arg), void *arg);

#endif
