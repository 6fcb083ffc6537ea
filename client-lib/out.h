/*
 * out: what waits to be written to the socket. Frames and small bodies are
 * copied into one buffer; large bodies stay in their message and are written
 * from there. Holds no session state and decides nothing about order.
 *
 * Whoever fills it stops at OUT_MARK and goes on when it has drained; only
 * frames that answer something (acks, credit, pongs) may go above, and the
 * connection stops reading at OUT_STOP.
 */
#ifndef OUT_H
#define OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "connectd.h"
#include "io.h"
#include "wire.h"

#define OUT_MARK (256 * 1024)
#define OUT_STOP (1024 * 1024)
#define OUT_REFS 64

struct out_ref {
	uint64_t at; /* copied bytes of the stream that come before it */
	const uint8_t *data;
	size_t len;
	struct connectd_msg *owner;
};

struct out {
	uint8_t *buf;
	size_t cap, head, tail; /* buf[head, tail) waits */
	uint64_t at;            /* copied bytes of the stream before buf[head] */
	struct out_ref refs[OUT_REFS]; /* a ring */
	unsigned ref_head, n_refs;
	size_t ref_bytes;
};

void out_init(struct out *o);
void out_done(struct out *o);
/* Forget what waits: the session it was for is gone. */
void out_reset(struct out *o);

static inline size_t
out_pending(const struct out *o)
{
	return o->tail - o->head + o->ref_bytes;
}

/* May more bulk be added? */
static inline bool
out_has_room(const struct out *o)
{
	return out_pending(o) < OUT_MARK && o->n_refs < OUT_REFS;
}

/* Room for len more bytes at the end, or NULL (out of memory); then out_commit what was written. */
uint8_t *out_reserve(struct out *o, size_t len);
void out_commit(struct out *o, size_t len);

/* Write len bytes of a body after what waits now, from where they lie; takes its own reference. out_has_room() must hold. */
void out_body(struct out *o, struct connectd_msg *owner, const uint8_t *data, size_t len);

/* Append a frame that is no run. 0 or -ENOMEM. */
int out_frame(struct out *o, const struct wire_frame *f);

/* Write what the socket takes. 0: everything; 1: some waits; or a negative errno. *ret_written counts bytes. */
int out_flush(struct out *o, struct io *io, size_t *ret_written);

#endif
