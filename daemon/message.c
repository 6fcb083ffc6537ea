#include "message.h"

#include <assert.h>
#include <string.h>

/* Up to here one allocation, of a size that the slab keeps lists for, holds everything. */
#define INLINE_MAX 4096

/* More than any limit lets through; keeps sums of sizes from wrapping. */
#define BODY_MAX ((uint64_t)1 << 40)

static bool
body_inline(uint32_t packed_len, uint64_t body_len)
{
	return sizeof(struct message) + packed_len + body_len <= INLINE_MAX;
}

static size_t
object_size(uint32_t packed_len, uint64_t body_len)
{
	return sizeof(struct message) + packed_len + (body_inline(packed_len, body_len) ? (size_t)body_len : 0);
}

static uint64_t
later(uint64_t now_ms, uint64_t ms)
{
	if (ms == 0)
		return 0;
	return ms > UINT64_MAX - now_ms ? UINT64_MAX : now_ms + ms;
}

static uint8_t
durability(uint32_t flags)
{
	if (flags & WIRE_ITEM_DURABLE)
		return MESSAGE_DURABLE;
	return flags & WIRE_ITEM_MEMORY ? MESSAGE_MEMORY : MESSAGE_AS_QUEUE;
}

struct message *
message_new(struct message_store *ms, const struct wire_item *item, uint64_t total, uint8_t priority,
    struct intern_entry *type, struct intern_entry *origin, uint64_t now_ms)
{
	struct message *m;
	uint32_t packed_len;

	assert(item->body.len <= total);
	if (total > BODY_MAX || item->packed.len > UINT32_MAX)
		return NULL;
	packed_len = (uint32_t)item->packed.len;
	m = slab_alloc(&ms->slab, object_size(packed_len, total));
	if (!m)
		return NULL;
	*m = (struct message){
		.store = ms,
		.refs = 1,
		.durability = durability(item->flags),
		.priority = priority,
		.maybe_duplicate = item->flags & WIRE_ITEM_MAYBE_DUPLICATE,
		.counter = item->counter,
		.deadline_ms = later(now_ms, item->ttl_ms),
		.not_before_ms = later(now_ms, item->not_before_ms),
		.packed_len = packed_len,
		.body_len = total,
	};
	if (body_inline(packed_len, total)) {
		m->body = m->data + packed_len;
		m->body_room = total;
	} else {
		m->body_room = total > WIRE_LARGE ? item->body.len : total;
		m->body = slab_alloc(&ms->slab, (size_t)m->body_room);
		if (!m->body) {
			slab_free(&ms->slab, m, object_size(packed_len, total));
			return NULL;
		}
	}
	m->type = type ? intern_ref(type) : NULL;
	m->origin = origin ? intern_ref(origin) : NULL;
	if (packed_len > 0)
		memcpy(m->data, item->packed.data, packed_len);
	message_grow(m, item->body);
	return m;
}

bool
message_grow(struct message *m, struct wire_bytes chunk)
{
	assert(chunk.len <= m->body_len - m->body_have);
	if (chunk.len > m->body_room - m->body_have) {
		uint8_t *body = slab_alloc(&m->store->slab, (size_t)m->body_len);

		if (!body)
			return false;
		memcpy(body, m->body, (size_t)m->body_have);
		slab_free(&m->store->slab, m->body, (size_t)m->body_room);
		m->body = body;
		m->body_room = m->body_len;
	}
	if (chunk.len > 0)
		memcpy(m->body + m->body_have, chunk.data, chunk.len);
	m->body_have += chunk.len;
	return true;
}

struct message *
message_ref(struct message *m)
{
	assert(m->refs < UINT32_MAX);
	m->refs++;
	return m;
}

void
message_unref(struct message *m)
{
	struct message_store *ms;

	if (!m || --m->refs > 0)
		return;
	ms = m->store;
	intern_unref(&ms->types, m->type);
	intern_unref(&ms->origins, m->origin);
	if (!body_inline(m->packed_len, m->body_len))
		slab_free(&ms->slab, m->body, (size_t)m->body_room);
	slab_free(&ms->slab, m, object_size(m->packed_len, m->body_len));
}

/* What is left until then; 0 only if there is no such time, or it may be told as "now". */
static uint64_t
remaining(uint64_t at_ms, uint64_t now_ms, uint64_t passed)
{
	if (at_ms == 0)
		return 0;
	return at_ms > now_ms ? at_ms - now_ms : passed;
}

void
message_item(const struct message *m, uint64_t now_ms, uint64_t offset, uint64_t chunk, struct wire_item *ret)
{
	static const uint32_t flags[] = {
		[MESSAGE_AS_QUEUE] = 0, [MESSAGE_DURABLE] = WIRE_ITEM_DURABLE, [MESSAGE_MEMORY] = WIRE_ITEM_MEMORY
	};
	uint64_t len;

	assert(offset <= m->body_have);
	len = m->body_have - offset;
	if (len > chunk)
		len = chunk;
	*ret = (struct wire_item){
		.flags = flags[m->durability] | (m->maybe_duplicate ? WIRE_ITEM_MAYBE_DUPLICATE : 0),
		/* Zero would mean that it lives for ever. */
		.ttl_ms = remaining(m->deadline_ms, now_ms, 1),
		.not_before_ms = remaining(m->not_before_ms, now_ms, 0),
		.body = wire_bytes(m->body + offset, (size_t)len),
		.counter = m->counter,
	};
	/* The receiver has kept the packed part of the first chunk. */
	if (offset == 0)
		ret->packed = wire_bytes(m->data, m->packed_len);
	if (len < m->body_len) {
		ret->offset = offset;
		ret->total = m->body_len;
	}
}

void
message_store_init(struct message_store *ms, uint64_t seed)
{
	slab_init(&ms->slab);
	intern_init(&ms->types, seed);
	intern_init(&ms->origins, ~seed);
}

void
message_store_done(struct message_store *ms)
{
	intern_done(&ms->types);
	intern_done(&ms->origins);
	slab_done(&ms->slab);
}
