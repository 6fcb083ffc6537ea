/*
 * flow: both ends of a flow as state machines over numbers (protocol.md,
 * "Flows"). Knows no sessions, queues or messages: it decides what a number
 * means, and counts credit. No allocation, no I/O, no logging.
 *
 * A sender numbers messages rising, gaps allowed. A receiver keeps a mark, the
 * last number it accepted. Credit is two cumulative counters since OpenFlow;
 * a message may start while both have something left.
 */
#ifndef FLOW_H
#define FLOW_H

#include <stdbool.h>
#include <stdint.h>

/* ---------------------------------------------------------------- credit -- */

/* One direction of cumulative credit, the same at both ends. */
struct credit {
	uint64_t granted_messages, granted_bytes;
	uint64_t used_messages, used_bytes;
};

/* May something start? Both must be positive; a body may overdraw the bytes. */
static inline bool
credit_left(const struct credit *c)
{
	return c->granted_messages > c->used_messages && c->granted_bytes > c->used_bytes;
}

static inline void
credit_use(struct credit *c, uint64_t messages, uint64_t bytes)
{
	c->used_messages += messages;
	c->used_bytes += bytes;
}

/* Take over a grant; counters never fall. False if they would have. */
bool credit_grant(struct credit *c, uint64_t messages, uint64_t bytes);

/* -------------------------------------------------------------- receiver -- */

struct flow_in {
	uint64_t mark;          /* last number accepted; survives sessions */
	uint64_t confirmed;     /* last number that is as safe as asked */
	uint64_t last;          /* last number started in this session */
	uint64_t halted_at;     /* number rejected, waiting for Resume; 0: none */
	struct credit credit;   /* since OpenFlow */
	/* A body of which a part is here. */
	uint64_t partial;       /* its number; 0: none */
	uint64_t partial_total, partial_have;
	bool partial_live;      /* under way in this session; else left by an earlier one */
	bool partial_discard;   /* of a halted flow or a duplicate: swallow it */
};

/* What to do with an item. */
enum flow_verdict {
	FLOW_ACCEPT,    /* whole: enqueue, then flow_in_accept */
	FLOW_PART,      /* a chunk to keep; more follows */
	FLOW_DUPLICATE, /* at or below the mark: confirm, do not store */
	FLOW_DISCARD,   /* halted: swallow */
	FLOW_OVERRUN,   /* more than was granted: Close FLOW_CONTROL */
	FLOW_BROKEN     /* numbers or offsets make no sense: Close PROTOCOL */
};

/*
 * A new session opens the flow: mark and partial body stay, everything else
 * starts over. A lost Reject is simply judged again.
 */
void flow_in_open(struct flow_in *f);

/* The bytes kept of a partial body are dropped (room is wanted, or it makes no sense any more). */
void flow_in_forget_partial(struct flow_in *f);

/*
 * Judge one item. `total` is the whole body's size, `offset` and `len` the
 * part here (offset 0 and len == total when whole). Uses credit when the item
 * starts a message; what was granted and not used is granted - used, so that
 * a receiver who announces used + room also grants again, at once, what a
 * message used that is not accepted. For FLOW_PART and FLOW_ACCEPT the caller
 * has stored nothing yet; partial_have already counts these bytes. A partial
 * body of an earlier session that this item does not continue is to be
 * dropped by the caller first (flow_in_continues).
 */
enum flow_verdict flow_in_item(struct flow_in *f, uint64_t number, uint64_t total, uint64_t offset, uint64_t len);

/* Does an item with this number and offset go on with the partial body that is here? */
bool flow_in_continues(const struct flow_in *f, uint64_t number, uint64_t offset);

/* The caller took number in: the mark moves, a partial ends. */
void flow_in_accept(struct flow_in *f, uint64_t number);

/*
 * The caller rejected number, judged FLOW_ACCEPT or FLOW_PART: halt until
 * Resume. The rest of its chunks are swallowed.
 */
void flow_in_reject(struct flow_in *f, uint64_t number);

/* Resume(after n). 0, or -EPROTO if the flow is not halted or n is below the number rejected. */
int flow_in_resume(struct flow_in *f, uint64_t after);

/* Abort(number): the partial, of this session or an earlier one, ends. 0, or -EPROTO if there is no such body. */
int flow_in_abort(struct flow_in *f, uint64_t number);

/* ---------------------------------------------------------------- sender -- */

enum flow_out_state {
	FLOW_OUT_CLOSED,  /* no session */
	FLOW_OUT_OPENING, /* OpenFlow sent */
	FLOW_OUT_OPEN,
	FLOW_OUT_HALTED,  /* rejected: Resume not sent yet */
	FLOW_OUT_REFUSED  /* FlowState with a verdict */
};

struct flow_out {
	enum flow_out_state state;
	uint64_t sent;       /* last number whose first byte was sent in this session */
	uint64_t confirmed;  /* settled up to here */
	struct credit credit;
	bool one_at_a_time;  /* after Resume, until a message is accepted */
	uint64_t given_up;   /* the message aborted last */
	/* A body half sent. */
	uint64_t partial;    /* its number; 0: none */
	uint64_t partial_total, partial_sent;
	bool partial_large;  /* must be reserved beyond its first chunk */
	bool partial_waits;  /* until Credit names its number */
	uint64_t resume_number, resume_bytes; /* what FlowState said is there of a body */
};

/* OpenFlow is being sent. */
void flow_out_open(struct flow_out *f);

/* The session is gone. */
void flow_out_close(struct flow_out *f);

/*
 * FlowState. `sent` becomes accepted: the caller goes on with the first
 * message behind it; if that is partial_number, flow_out_start continues at
 * partial_bytes.
 */
void flow_out_state(struct flow_out *f, uint64_t accepted, uint64_t confirmed, uint64_t partial_number,
    uint64_t partial_bytes, uint64_t credit_messages, uint64_t credit_bytes);

/* May a new message start now? */
bool flow_out_may_start(const struct flow_out *f);

/* The offset at which a message would start: 0 unless FlowState said that more of it is there. */
uint64_t flow_out_offset(const struct flow_out *f, uint64_t number, uint64_t total);

/*
 * Start message `number` with a body of `total` bytes; it is under way until
 * flow_out_sent has counted all of them. Returns flow_out_offset. Counts credit. A body above `large`
 * waits for its reservation after its first chunk.
 */
uint64_t flow_out_start(struct flow_out *f, uint64_t number, uint64_t total, uint64_t large);

/* May the message under way go on with another chunk? (false: none under way) */
bool flow_out_may_continue(const struct flow_out *f);

/* `len` more bytes of the message under way were sent; ends it when all were. */
void flow_out_sent(struct flow_out *f, uint64_t len);

/* Credit naming a number: the large body may go on. */
void flow_out_reserved(struct flow_out *f, uint64_t number);

/* The message under way is given up: Abort goes out. */
void flow_out_abort(struct flow_out *f);

/* Confirm up to number. 0, or -EPROTO if it was never sent whole. */
int flow_out_confirm(struct flow_out *f, uint64_t number);

/* Reject(number). 0, or -EPROTO if it was never sent or is already settled. */
int flow_out_reject(struct flow_out *f, uint64_t number);

/* The verdict is recorded and Resume(number) goes out: start behind it. */
void flow_out_resume(struct flow_out *f, uint64_t number);

#endif
