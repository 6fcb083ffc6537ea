/*
 * message: one message in memory. Immutable once it is in a queue, except for
 * its body growing while chunks come in (message_grow). Reference-counted;
 * body and packed part are copied once, out of the read buffer, so that what
 * is counted is what is held.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "intern.h"
#include "slab.h"
#include "wire.h"

/* What messages of one daemon share. */
struct message_store {
	struct slab slab;
	struct intern types, origins;
};

enum message_durability { MESSAGE_AS_QUEUE, MESSAGE_DURABLE, MESSAGE_MEMORY };

struct message {
	struct message_store *store;
	uint32_t refs;
	uint8_t durability; /* enum message_durability */
	uint8_t priority;   /* enum wire_priority */
	bool maybe_duplicate;
	struct intern_entry *type;   /* NULL: the empty type */
	struct intern_entry *origin; /* a serialized Origin; never NULL in a queue */
	uint64_t counter;            /* with the origin's boot id the message's id */
	uint64_t deadline_ms;        /* loop_now_ms at which it expires; 0: never */
	uint64_t not_before_ms;      /* loop_now_ms before which it is not offered; 0: at once */
	uint32_t packed_len;
	uint64_t body_len;  /* of the whole body */
	uint64_t body_have; /* of it here; equal once complete */
	uint64_t body_room; /* bytes that fit into body */
	uint8_t *body;
	uint8_t data[]; /* the packed part; then the body if it is small */
};

/*
 * A message for an item: the body's first bytes (item->body, at offset 0) are
 * copied. Room for `total` is allocated; of a large one (WIRE_LARGE) only when
 * more of it comes, as that is when it is reserved. Takes over nothing; refs type and
 * origin (may be NULL). NULL when out of memory. now_ms turns times to live
 * into deadlines.
 */
struct message *message_new(struct message_store *ms, const struct wire_item *item, uint64_t total, uint8_t priority,
    struct intern_entry *type, struct intern_entry *origin, uint64_t now_ms);
/* Append a chunk; the caller has checked that it fits behind body_have. False: out of memory. */
bool message_grow(struct message *m, struct wire_bytes chunk);
struct message *message_ref(struct message *m);
void message_unref(struct message *m); /* NULL is fine */

/* Bytes it is counted with: body, packed part. */
static inline uint64_t
message_bytes(const struct message *m)
{
	return m->body_len + m->packed_len;
}

/*
 * The item that stands for it on the wire now: times are what remains, the
 * body is the part from offset, at most chunk bytes (offset, total set when
 * that is not all). Ids of type and origin, flags beyond durability and
 * maybe_duplicate, and attempt are the caller's.
 */
void message_item(const struct message *m, uint64_t now_ms, uint64_t offset, uint64_t chunk, struct wire_item *ret);

void message_store_init(struct message_store *ms, uint64_t seed);
void message_store_done(struct message_store *ms);

#endif
