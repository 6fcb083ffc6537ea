/*
 * msg: one message, to be sent or received. Small content lies in the same
 * allocation as the message; what is packed for the other program (reply-to,
 * correlation id, headers) is unpacked only when asked for. Counts are not
 * atomic: a message belongs to the thread of its handle.
 */
#ifndef MSG_H
#define MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "connectd.h"
#include "dict.h"
#include "list.h"
#include "wire.h"

struct msg_header {
	char *name; /* terminated */
	const void *value;
	size_t len;
};

struct connectd_msg {
	unsigned refs;
	bool frozen;   /* given to connectd_send, or received */
	bool opened;   /* packed was unpacked */
	uint8_t durability, priority;

	/* Content. Pointers lead into room, or to memory of their own. */
	const char *dest; /* NULL: received */
	size_t dest_len;
	char *type;
	size_t type_len;
	uint8_t *body;
	size_t body_len;
	uint8_t *packed; /* as it travels */
	size_t packed_len;
	uint64_t ttl, not_before;
	uint64_t number; /* chosen by a named producer; 0: none */

	/* What packed holds. */
	char *reply_to;
	uint8_t *correlation;
	size_t correlation_len;
	struct msg_header *headers;
	size_t n_headers;

	/* Received. */
	struct dict_type *type_ref;
	struct dict_origin *origin;
	uint32_t flags, attempt;
	uint64_t counter;

	/* Its delivery, kept by consumer.c. */
	struct connectd_consumer *consumer; /* counted; NULL once settled or never delivered */
	uint64_t tag, session;
	bool settled;
	struct list inbox;

	size_t room_used, room_size;
	uint8_t room[];
};

/* A message received: takes over the references to type and origin, copies packed, leaves body (total bytes) to be filled. */
struct connectd_msg *msg_received(const struct wire_item *item, size_t total, struct dict_type *type,
    struct dict_origin *origin);

/* Memory that lives as long as the message: inside it if it fits, else of its own. NULL: out of memory. */
void *msg_alloc(struct connectd_msg *m, size_t len);

/* Before it is sent: pack what the other program reads, forbid changes. 0, -ENOMEM, -EMSGSIZE, -EINVAL (received). */
int msg_freeze(struct connectd_msg *m);

#endif
