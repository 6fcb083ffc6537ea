/*
 * pipe_transport: two transports that are the ends of one stream in memory, on
 * the fake loop. How much an end's writev takes can be set, what it was asked
 * to do is counted, and a test can be one of the ends itself.
 */
#ifndef PIPE_TRANSPORT_H
#define PIPE_TRANSPORT_H

#include "loop.h"
#include "transport.h"

struct pipe_end {
	struct transport t;
	struct loop *loop;
	struct pipe_end *other;
	struct loop_timer kick;
	uint8_t *in; /* written by the other end, not read yet */
	size_t in_len, in_cap;
	size_t takes; /* bytes writev still takes; SIZE_MAX: any number */
	bool up_waits, want_read, is_full, is_eof, is_closed, drained, is_local;
	int down; /* negative: to be told as down */
	unsigned writes, closes;
	unsigned direct; /* segments of the last writev that point into [watch, watch + watch_len) */
	const uint8_t *watch;
	size_t watch_len;
};

/* Both ends; a reports `up` if `up`. Free with pipe_done once both are closed or were never handed out. */
void pipe_init(struct loop *l, struct pipe_end *a, struct pipe_end *b, bool up);
void pipe_done(struct pipe_end *a, struct pipe_end *b);

/* The test as the other end: bytes for e to read; the end of the stream; its death. */
void pipe_feed(struct pipe_end *e, const void *data, size_t len);
void pipe_eof(struct pipe_end *e);
void pipe_break(struct pipe_end *e, int error);
/* writev takes so many bytes more. */
void pipe_take(struct pipe_end *e, size_t n);

/* What session_new_dialling connects with: the end that is set here, or fails with error. */
struct pipe_dial {
	struct pipe_end *end;
	int error;
};
extern struct pipe_dial pipe_dial;
extern const struct transport_ops pipe_ops;

#endif
