#include "msg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "consumer.h"
#include "names.h"

#define MSG_ROOM 256 /* bytes inside a message to be sent: destination, type, a small body */
#define MSG_PREFIX "type.googleapis.com/"
#define MSG_PREFIX_LEN (sizeof(MSG_PREFIX) - 1)

void *
msg_alloc(struct connectd_msg *m, size_t len)
{
	void *p;

	if (m->room_size - m->room_used < len)
		return malloc(len > 0 ? len : 1);
	p = m->room + m->room_used;
	m->room_used += len;
	return p;
}

static void
msg_release(struct connectd_msg *m, void *p)
{
	uintptr_t at = (uintptr_t)p, room = (uintptr_t)m->room;

	if (at < room || at > room + m->room_size)
		free(p);
}

static struct connectd_msg *
msg_make(size_t room)
{
	struct connectd_msg *m = malloc(sizeof(*m) + room);

	if (m == NULL)
		return NULL;
	memset(m, 0, sizeof(*m));
	m->refs = 1;
	m->room_size = room;
	list_init(&m->inbox);
	return m;
}

struct connectd_msg *
connectd_msg_new(const char *dest)
{
	struct names_dest parts;
	struct connectd_msg *m;
	size_t len;
	char *copy;
	int r;

	if (dest == NULL) {
		errno = EINVAL;
		return NULL;
	}
	len = strlen(dest);
	r = names_dest_parse(dest, len, &parts);
	if (r < 0) {
		errno = -r;
		return NULL;
	}
	m = msg_make(MSG_ROOM);
	if (m == NULL)
		return NULL;
	copy = msg_alloc(m, len + 1); /* a destination always fits */
	memcpy(copy, dest, len + 1);
	m->dest = copy;
	m->dest_len = len;
	return m;
}

struct connectd_msg *
connectd_msg_ref(struct connectd_msg *m)
{
	m->refs++;
	return m;
}

static void
free_headers(struct connectd_msg *m)
{
	for (size_t i = 0; i < m->n_headers; i++)
		free(m->headers[i].name);
	free(m->headers);
	m->headers = NULL;
	m->n_headers = 0;
}

void
connectd_msg_unref(struct connectd_msg *m)
{
	if (m == NULL || --m->refs > 0)
		return;
	if (m->consumer != NULL)
		consumer_unref(m->consumer);
	if (m->type_ref != NULL)
		dict_type_unref(m->type_ref);
	else
		msg_release(m, m->type);
	dict_origin_unref(m->origin);
	msg_release(m, m->body);
	msg_release(m, m->packed);
	free_headers(m);
	free(m->reply_to);
	free(m->correlation);
	free(m);
}

/* ---------------------------------------------------------------- content */

/* Replace type and body by fresh memory of these sizes; *m is untouched on failure. */
static int
content_alloc(struct connectd_msg *m, size_t type_len, size_t body_len)
{
	char *type;
	uint8_t *body;

	if (m->frozen)
		return -EBUSY;
	if (type_len > WIRE_TYPE_MAX)
		return -EMSGSIZE;
	type = msg_alloc(m, type_len + 1);
	body = type != NULL ? msg_alloc(m, body_len) : NULL;
	if (body == NULL) {
		msg_release(m, type);
		return -ENOMEM;
	}
	msg_release(m, m->type);
	msg_release(m, m->body);
	m->type = type;
	m->type_len = type_len;
	m->type[type_len] = '\0';
	m->body = body;
	m->body_len = body_len;
	return 0;
}

int
connectd_msg_pack(struct connectd_msg *m, const ProtobufCMessage *content)
{
	size_t name_len = strlen(content->descriptor->name);
	int r = content_alloc(m, MSG_PREFIX_LEN + name_len, protobuf_c_message_get_packed_size(content));

	if (r < 0)
		return r;
	memcpy(m->type, MSG_PREFIX, MSG_PREFIX_LEN);
	memcpy(m->type + MSG_PREFIX_LEN, content->descriptor->name, name_len);
	protobuf_c_message_pack(content, m->body);
	return 0;
}

int
connectd_msg_set_type_body(struct connectd_msg *m, const char *type, const void *body, size_t len)
{
	size_t type_len = strlen(type);
	size_t prefix = type_len > 0 && strchr(type, '/') == NULL ? MSG_PREFIX_LEN : 0;
	int r = content_alloc(m, prefix + type_len, len);

	if (r < 0)
		return r;
	memcpy(m->type, MSG_PREFIX, prefix);
	memcpy(m->type + prefix, type, type_len);
	if (len > 0)
		memcpy(m->body, body, len);
	return 0;
}

const char *
connectd_msg_get_type(const struct connectd_msg *m)
{
	return m->type != NULL ? m->type : "";
}

const void *
connectd_msg_get_body(const struct connectd_msg *m, size_t *ret_len)
{
	*ret_len = m->body_len;
	return m->body;
}

int
connectd_msg_is_type(const struct connectd_msg *m, const ProtobufCMessageDescriptor *type)
{
	const char *url = connectd_msg_get_type(m);
	const char *slash = strrchr(url, '/');

	return slash != NULL && strcmp(slash + 1, type->name) == 0;
}

ProtobufCMessage *
connectd_msg_unpack(const struct connectd_msg *m, const ProtobufCMessageDescriptor *type, ProtobufCAllocator *allocator)
{
	ProtobufCMessage *content;

	if (!connectd_msg_is_type(m, type)) {
		errno = ENOMSG;
		return NULL;
	}
	content = protobuf_c_message_unpack(type, allocator, m->body_len, m->body);
	if (content == NULL)
		errno = EBADMSG;
	return content;
}

/* ------------------------------------------------------------- properties */

int
connectd_msg_set_durability(struct connectd_msg *m, enum connectd_durability d)
{
	if (m->frozen)
		return -EBUSY;
	if ((unsigned)d > CONNECTD_MEMORY)
		return -EINVAL;
	m->durability = (uint8_t)d;
	return 0;
}

int
connectd_msg_set_ttl(struct connectd_msg *m, uint64_t ms)
{
	if (m->frozen)
		return -EBUSY;
	m->ttl = ms;
	return 0;
}

int
connectd_msg_set_not_before(struct connectd_msg *m, uint64_t ms)
{
	if (m->frozen)
		return -EBUSY;
	m->not_before = ms;
	return 0;
}

int
connectd_msg_set_number(struct connectd_msg *m, uint64_t number)
{
	if (m->frozen)
		return -EBUSY;
	if (number == 0 || number == UINT64_MAX) /* one above must be a number too */
		return -EINVAL;
	m->number = number;
	return 0;
}

int
connectd_msg_set_priority(struct connectd_msg *m, enum connectd_priority p)
{
	if (m->frozen)
		return -EBUSY;
	if ((unsigned)p >= WIRE_PRIORITIES)
		return -EINVAL;
	m->priority = (uint8_t)p;
	return 0;
}

/* --------------------------------------------------------------- received */

struct connectd_msg *
msg_received(const struct wire_item *item, size_t total, struct dict_type *type, struct dict_origin *origin)
{
	struct connectd_msg *m = msg_make(total + item->packed.len);

	if (m == NULL)
		return NULL;
	m->frozen = true;
	m->body = msg_alloc(m, total);
	m->body_len = total;
	m->packed = msg_alloc(m, item->packed.len);
	m->packed_len = item->packed.len;
	if (item->packed.len > 0)
		memcpy(m->packed, item->packed.data, item->packed.len);
	m->type_ref = type;
	m->type = type != NULL ? type->name : NULL;
	m->type_len = type != NULL ? type->len : 0;
	m->origin = origin;
	m->ttl = item->ttl_ms;
	m->flags = item->flags & (WIRE_ITEM_REDELIVERED | WIRE_ITEM_MAYBE_DUPLICATE) ? CONNECTD_REDELIVERED : 0;
	if (item->flags & WIRE_ITEM_DURABLE)
		m->durability = CONNECTD_DURABLE;
	else if (item->flags & WIRE_ITEM_MEMORY)
		m->durability = CONNECTD_MEMORY;
	m->attempt = item->attempt > 0 ? item->attempt : 1;
	m->counter = item->counter;
	return m;
}

/* ------------------------------------------------------------------ get */

enum connectd_durability
connectd_msg_get_durability(const struct connectd_msg *m)
{
	return (enum connectd_durability)m->durability;
}

uint64_t
connectd_msg_get_ttl(const struct connectd_msg *m)
{
	return m->ttl;
}

enum connectd_priority
connectd_msg_get_priority(const struct connectd_msg *m)
{
	return (enum connectd_priority)m->priority;
}

const char *
connectd_msg_get_origin_node(const struct connectd_msg *m)
{
	return m->origin != NULL ? m->origin->node : "";
}

uint32_t
connectd_msg_get_origin_uid(const struct connectd_msg *m)
{
	return m->origin != NULL ? m->origin->uid : UINT32_MAX;
}

const char *
connectd_msg_get_origin_unit(const struct connectd_msg *m)
{
	return m->origin != NULL ? m->origin->unit : "";
}

const char *
connectd_msg_get_origin_application(const struct connectd_msg *m)
{
	return m->origin != NULL ? m->origin->application : "";
}

enum connectd_proof
connectd_msg_get_origin_proof(const struct connectd_msg *m)
{
	return m->origin != NULL && m->origin->proof <= CONNECTD_PROOF_PLAINTEXT ? (enum connectd_proof)m->origin->proof
	                                                                           : CONNECTD_PROOF_NONE;
}

uint32_t
connectd_msg_get_attempt(const struct connectd_msg *m)
{
	return m->attempt;
}

uint32_t
connectd_msg_get_flags(const struct connectd_msg *m)
{
	return m->flags;
}

void
connectd_msg_get_id(const struct connectd_msg *m, uint64_t *ret_boot, uint64_t *ret_counter)
{
	*ret_boot = m->origin != NULL ? m->origin->boot_id : 0;
	*ret_counter = m->counter;
}
