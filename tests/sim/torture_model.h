/*
 * torture_model: what was appended to a store, in order, and what may be found
 * after a crash: the state that some prefix of it makes, at least as long as
 * what was told to be synced.
 *
 * Appends form a tree: a crash goes back to an earlier one, and what is
 * appended then follows that. A *tip* names an append and with it everything
 * before; 0 is an empty store. Messages are numbered over the whole tree, and
 * the number travels as the message's counter: what is found names itself.
 */
#ifndef TORTURE_MODEL_H
#define TORTURE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"

#define MODEL_NUMBERS 2048 /* queues and flows have lower numbers */

enum append_kind {
	APPEND_NOTHING,
	APPEND_PUT,
	APPEND_DONE,
	APPEND_MOVE,
	APPEND_MARK,
	APPEND_OFFERED,
	APPEND_QUEUE,
	APPEND_FLOW,
	APPEND_QUEUE_GONE,
	APPEND_FLOW_GONE
};

struct append {
	enum append_kind kind;
	uint32_t before; /* tip; filled in */
	uint64_t ticket; /* of the store it was given to */
	bool joined;     /* in one group with the one before */
	bool written;    /* done: the message was surely on disk */
	bool cancelled;  /* put: done before it was written, so that only its mark is */
	uint32_t message;
	uint32_t queue; /* or flow */
	uint64_t seq;   /* of a put, of the new home of a move, offered; or a mark's number */
	uint8_t flags;
	uint32_t definition; /* of a queue or flow; of a move the note, 0: none */
};

/* What a message was made of. Bytes are those of all parts, one after another. */
struct model_message {
	uint32_t flow;
	uint64_t number;
	uint8_t priority;
	uint64_t expires_ms, not_before_ms; /* of world time */
	size_t lens[STORE_PARTS];
	uint8_t *bytes;
};

struct place {
	bool live;
	uint8_t flags;
	uint32_t queue, note;
	uint64_t seq;
};

struct model_queue {
	bool exists;
	uint32_t definition;
	uint64_t offered;
	uint64_t low, high; /* of the highest sequence number: surely; at most */
	uint32_t n;         /* messages */
};

struct model_flow {
	bool exists;
	uint32_t definition;
	uint64_t mark;
};

/* What a tip amounts to. */
struct model_state {
	struct place *places; /* by message */
	size_t n_places, cap_places;
	struct model_queue queues[MODEL_NUMBERS];
	struct model_flow flows[MODEL_NUMBERS];
	uint32_t n_queues, n_flows; /* highest number + 1 */
	/* Numbers below are on disk for sure (model_check): what came and went since may never have been. */
	uint32_t known_queues, known_flows;
	size_t n_live;
};

/* What store_open told. */
struct model_found {
	struct store_found *messages;
	size_t n, cap;
	struct model_queue queues[MODEL_NUMBERS]; /* low is the last seq */
	struct model_flow flows[MODEL_NUMBERS];
	uint32_t n_queues, n_flows;
	bool is_damaged;
};

/* One seed's. */
void model_reset(void);

/* A new message, numbered; its bytes are the caller's to fill, the model's to free. */
uint32_t model_message_new(const size_t lens[static STORE_PARTS]);
struct model_message *model_message(uint32_t message);
uint32_t model_messages(void);

/* Append; the new tip. */
uint32_t model_append(uint32_t tip, const struct append *a);
const struct append *model_get(uint32_t tip);
/* The put of a message, between two tips, is never written. */
void model_cancel(uint32_t tip, uint32_t base, uint32_t message);
/* Forget what was appended and made since there were so many, as model_size said. */
struct model_size {
	uint32_t appends, messages;
};
struct model_size model_size(void);
void model_shrink(struct model_size to);

void model_apply(struct model_state *st, const struct append *a);
/* The state of a tip. */
void model_replay(struct model_state *st, uint32_t tip);
void model_state_done(struct model_state *st);

/* The bytes of a definition or a note. */
size_t model_definition(uint32_t definition, uint8_t buf[static STORE_DEFINITION_MAX]);
size_t model_note(uint32_t note, uint8_t buf[static 256]);
/* 0: none that model_definition makes. */
uint32_t model_read_definition(struct store_bytes b);
/* What part i of the message consists of at that place; buf is for a note. */
struct store_bytes model_part(uint32_t message, const struct place *p, unsigned i, uint8_t buf[static 256]);
uint64_t model_bytes(uint32_t message, const struct place *p);

void model_found_reset(struct model_found *f);
/*
 * The tip that was found, between `least` and `most`: its state is in *st then.
 * Otherwise a violation was told, and the answer is UINT32_MAX.
 */
uint32_t model_check(struct model_state *st, const struct model_found *f, uint32_t least, uint32_t most, uint64_t boot_ahead_ms);
void model_trace(uint32_t tip);

#endif
