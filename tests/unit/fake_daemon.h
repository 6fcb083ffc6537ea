/*
 * fake_daemon: the other end of libconnectd in a test: a Unix socket in a
 * folder of its own, and a script of frames. Everything happens in the test's
 * thread: while a frame is awaited the library is stepped too. Fails the test
 * itself when what is awaited does not come.
 */
#ifndef FAKE_DAEMON_H
#define FAKE_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "connectd.h"
#include "wire.h"

#define FAKE_BOOT 0x1111111111111111u

struct fake {
	char dir[64], path[96];
	int listener, fd;
	uint8_t in[512 * 1024];
	size_t in_len, used; /* the frame handed out last is drained at the next call */
	struct connectd *c;
	struct wire_limits limits; /* of the next Hello */
	uint64_t boot;
};

void fake_start(struct fake *d);
void fake_stop(struct fake *d);
/* Only the session ends. */
void fake_hang_up(struct fake *d);
/* The daemon goes: the session ends, nobody listens. */
void fake_down(struct fake *d);
void fake_listen(struct fake *d);

/* A handle that dials d in the background; closed by the test. */
struct connectd *fake_open(struct fake *d, struct connectd_options *opt);

/* Take the next connection and greet it; returns the library's Hello. */
struct wire_hello fake_greet(struct fake *d);
/* The daemon's own. */
void fake_say_hello(struct fake *d);
/* Take the next connection, say nothing. */
void fake_accept(struct fake *d);
/* Connections nobody accepted: of a handle that is closed, so that the next one accepted is of another. */
void fake_drop_waiting(struct fake *d);

/* The next frame from the library; valid until the next call. */
struct wire_frame fake_next(struct fake *d);
/* The next frame from the library, which must be of that kind; valid until the next call. */
struct wire_frame fake_expect(struct fake *d, enum wire_kind kind);
struct fake_item {
	uint32_t flow;
	uint64_t number;
	struct wire_item item;
};
/* A Transfer of one item. */
struct fake_item fake_expect_item(struct fake *d);
/* Nothing comes from the library although it was stepped. */
void fake_expect_silence(struct fake *d);
/* The library has closed the session. */
void fake_expect_eof(struct fake *d);

void fake_send(struct fake *d, const struct wire_frame *f);
void fake_send_bytes(struct fake *d, const void *data, size_t len);
/* One item, in a Deliver of its own. */
void fake_deliver(struct fake *d, uint32_t subscription, uint64_t tag, const struct wire_item *item);
void fake_define_type(struct fake *d, uint32_t id, const char *type);

/* Answer an OpenFlow: OK with credit, the mark at `accepted`. */
void fake_flow_ok(struct fake *d, uint32_t flow, uint64_t accepted);
void fake_confirm(struct fake *d, uint32_t flow, uint64_t number, uint32_t level);

/* Step the library until it has nothing left to do now. */
void fake_settle(struct fake *d);
/* Step it until it says that it is up, or down. */
void fake_await_up(struct fake *d, bool up);

#endif
