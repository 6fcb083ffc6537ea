/*
 * store: the face. What is appended waits in a ring of items until a batch
 * takes it (store_batch.c); a ticket is the number of an item.
 */
#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

void
store_item_done(struct item *it)
{
	size_t i = it->is_kept ? 0 : STORE_PARTS - 1;
	void *own;

	if (it->is_kept || it->kind == ITEM_QUEUE || it->kind == ITEM_FLOW || it->kind == ITEM_MOVE || it->kind == ITEM_PIECE) {
		memcpy(&own, &it->parts[i], sizeof(own));
		free(own);
	}
	it->kind = ITEM_NONE;
	it->is_kept = false;
}

uint64_t
store_ticket(const struct store *s)
{
	return s->tail + s->dropped;
}

uint64_t
store_synced(const struct store *s)
{
	return s->synced;
}

void
store_hurry(struct store *s)
{
	if (s->hurry || s->head == s->tail || s->state == STORE_FENCED)
		return;
	s->hurry = true;
	loop_timer_stop(&s->linger);
	if (!s->inflight)
		store_kick(s);
}

static int
grow_items(struct store *s)
{
	uint64_t room = 2 * s->room_items;
	struct item *more;

	if (s->tail - s->head < s->room_items)
		return 0;
	more = malloc(room * sizeof(*more));
	if (!more)
		return -ENOMEM;
	for (uint64_t n = s->head; n < s->tail; n++)
		more[n & (room - 1)] = *store_item(s, n);
	free(s->items);
	s->items = more;
	s->room_items = room;
	return 0;
}

/*
 * What cannot be refused cannot be forgotten either: when there is no memory
 * for it, nothing that comes later may be confirmed.
 */
struct item *
store_append(struct store *s, enum item_kind kind)
{
	struct item *it;

	if (s->state != STORE_FENCED && grow_items(s) < 0)
		store_fence(s, "append", -ENOMEM);
	if (s->state == STORE_FENCED) {
		s->dropped++;
		return NULL;
	}
	it = store_item(s, s->tail);
	*it = (struct item){ .kind = (uint8_t)kind };
	s->tail++;
	if (!s->hurry && !s->inflight && !s->linger.armed)
		loop_timer_start(&s->linger, STORE_LINGER_MS);
	return it;
}

void
store_join(struct store *s, struct item *it)
{
	if (!s->in_group)
		return;
	s->group_bytes += store_item_bytes(it);
	/* What cannot be refused may make a group too large to be whole: see store_group_max. */
	it->joined = s->tail > s->group_start + 1 && s->group_bytes <= store_group_max(s);
}

uint64_t
store_group_max(const struct store *s)
{
	uint64_t max = s->batch_max - STORE_BATCH_HEAD;

	return max < STORE_GROUP_MAX ? max : STORE_GROUP_MAX;
}

void
store_group_begin(struct store *s)
{
	s->in_group = true;
	s->group_start = s->tail;
	s->group_bytes = 0;
}

void
store_group_end(struct store *s)
{
	s->in_group = false;
}

/* The record of m; 0: it does not fit. */
static uint64_t
message_len(const struct store *s, const struct store_message *m)
{
	uint64_t len = STORE_MESSAGE_HEAD, max = s->in_group ? store_group_max(s) : s->batch_max - STORE_BATCH_HEAD;

	for (size_t i = 0; i < STORE_PARTS - 1; i++) {
		if (m->parts[i].len > STORE_PART_MAX)
			return 0;
		len += m->parts[i].len;
	}
	if (m->body) {
		if (store_padded(len) + store_body_rest(m->body) + (s->in_group ? s->group_bytes : 0) > max)
			return 0;
	} else {
		if (m->parts[STORE_PARTS - 1].len > max)
			return 0;
		len += m->parts[STORE_PARTS - 1].len;
	}
	if (store_padded(len) + (s->in_group ? s->group_bytes : 0) > max)
		return 0;
	return len;
}

static void
fill_message(struct item *it, const struct store_message *m, store_ref ref)
{
	it->ref = ref;
	it->queue = m->queue;
	it->flow = m->flow;
	it->seq = m->seq;
	it->number = m->number;
	it->counter = m->counter;
	it->priority = m->priority;
	it->flags = m->flags;
	it->expires = m->expires_ms;
	it->not_before = m->not_before_ms;
	for (size_t i = 0; i < STORE_PARTS - 1; i++) {
		it->lens[i] = (uint16_t)m->parts[i].len;
		it->parts[i] = m->parts[i].data;
	}
	it->last_len = m->body ? m->body->len : m->parts[STORE_PARTS - 1].len;
	it->parts[STORE_PARTS - 1] = m->body ? NULL : m->parts[STORE_PARTS - 1].data;
}

int
store_put(struct store *s, const struct store_message *m, store_ref *ret)
{
	bool large = m->body && m->body->len > 0;
	uint64_t len = message_len(s, m);
	struct item *it;
	store_ref ref;

	if (s->state == STORE_FENCED)
		return -EIO;
	if (len == 0)
		return -EFBIG;
	if (m->body) {
		int r = store_body_finish(m->body);

		if (r < 0)
			return r;
	}
	if (grow_items(s) < 0 || store_slot_new(s, &ref) < 0)
		return -ENOMEM;
	if (large && hmap_add(&s->bodies, &m->body->node, hmap_hash_number(ref)) < 0) {
		store_slot_free(s, ref);
		return -ENOMEM;
	}
	it = store_append(s, ITEM_MESSAGE);
	s->slots[ref].record = (uint32_t)(s->tail - 1);
	fill_message(it, m, ref);
	if (large) {
		m->body->ref = ref;
		list_remove(&m->body->unput);
		s->slots[ref].large = true;
	} else {
		store_body_free(m->body);
	}
	store_join(s, it);
	s->live_bytes += store_record_cost(s, len);
	s->messages++;
	s->stats.payload_bytes += len - STORE_MESSAGE_HEAD;
	store_hurry(s);
	*ret = ref;
	return 0;
}

struct item *
store_pending_item(const struct store *s, const struct slot *t)
{
	return store_item(s, s->head + (uint32_t)(t->record - (uint32_t)s->head));
}

/* It was not written yet: only its mark is. */
static void
cancel(struct store *s, store_ref ref)
{
	struct item *it = store_pending_item(s, &s->slots[ref]);

	s->live_bytes -= store_record_cost(s, store_item_len(it));
	it->kind = it->flow ? ITEM_MARK : ITEM_NONE;
	if (s->slots[ref].large) {
		struct store_body *b = store_body_find(s, ref);

		store_body_release(s, b);
		store_body_free(b);
	}
	store_slot_free(s, ref);
	store_room_grown(s);
}

/* It will be written though its owner lets go of its memory now: a copy. False: none to be had. */
static bool
keep(struct item *it)
{
	uint8_t *p = malloc(store_item_len(it) - STORE_MESSAGE_HEAD + 1);

	if (!p)
		return false;
	it->is_kept = true;
	for (size_t i = 0; i < STORE_PARTS; i++) {
		size_t n = i < STORE_PARTS - 1 ? it->lens[i] : (size_t)it->last_len;

		if (i > 0 && !it->parts[i]) /* there is none, or it is in pieces */
			continue;
		if (n > 0)
			memcpy(p, it->parts[i], n);
		it->parts[i] = p; /* the first also where there is none: that is what is freed */
		p += n;
	}
	return true;
}

void
store_done(struct store *s, store_ref ref, uint32_t queue, uint64_t seq)
{
	struct slot *t = &s->slots[ref];
	struct item *it;

	if (t->dying || t->state == SLOT_UNUSED)
		return;
	if (t->reading)
		store_reader_dead(s, ref);
	s->messages--;
	/*
	 * What was moved before it was written goes the long way; it is rare. So
	 * does what a group ends: its mark may be written, and told, before that.
	 */
	if (t->state == SLOT_PENDING && !t->moved && !s->in_group && s->state != STORE_FENCED) {
		cancel(s, ref);
		return;
	}
	t->dying = true;
	if (t->state == SLOT_PENDING && s->state != STORE_FENCED && !keep(store_pending_item(s, t)))
		store_fence(s, "append", -ENOMEM);
	it = store_append(s, ITEM_DONE);
	if (!it)
		return;
	it->ref = ref;
	it->queue = queue;
	it->seq = seq;
	store_join(s, it);
}

int
store_move(struct store *s, store_ref ref, uint32_t from, uint64_t from_seq, uint32_t to, uint64_t to_seq,
    uint8_t flags, struct store_bytes note)
{
	void *copy = NULL;
	struct moved *m;
	struct item *it;

	if (s->state == STORE_FENCED)
		return -EIO;
	if (note.len > STORE_NOTE_MAX)
		return -EFBIG;
	if (note.data) {
		copy = malloc(note.len + 1);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, note.data, note.len);
	}
	m = grow_items(s) < 0 ? NULL : store_moved_get(s, ref);
	if (!m) {
		free(copy);
		return -ENOMEM;
	}
	m->waiting++;
	it = store_append(s, ITEM_MOVE);
	it->ref = ref;
	it->queue = from;
	it->flow = to;
	it->seq = from_seq;
	it->number = to_seq;
	it->flags = flags;
	it->has_note = note.data != NULL;
	it->last_len = note.len;
	it->parts[STORE_PARTS - 1] = copy;
	if (copy)
		m->latest = (struct store_bytes){ copy, note.len };
	store_join(s, it);
	return 0;
}

void
store_mark(struct store *s, uint32_t flow, uint64_t number)
{
	struct item *it = store_append(s, ITEM_MARK);

	if (!it)
		return;
	it->flow = flow;
	it->number = number;
	store_join(s, it);
}

void
store_offered(struct store *s, uint32_t queue, uint64_t seq)
{
	struct item *it = store_append(s, ITEM_OFFERED);

	if (!it)
		return;
	it->queue = queue;
	it->seq = seq;
	store_join(s, it);
}

/* ------------------------------------------------------------ definitions -- */

uint32_t
store_new_queue(struct store *s)
{
	return s->next_queue++;
}

uint32_t
store_new_flow(struct store *s)
{
	return s->next_flow++;
}

static int
define(struct store *s, enum item_kind kind, uint32_t number, struct store_bytes definition)
{
	struct item *it;
	void *copy;

	if (s->state == STORE_FENCED)
		return -EIO;
	if (definition.len > STORE_DEFINITION_MAX)
		return -EFBIG;
	copy = malloc(definition.len + 1);
	if (!copy || grow_items(s) < 0 || !store_defined_get(kind == ITEM_QUEUE ? &s->queues : &s->flows, number)) {
		free(copy);
		return -ENOMEM;
	}
	if (definition.len > 0)
		memcpy(copy, definition.data, definition.len);
	it = store_append(s, kind);
	it->queue = it->flow = number;
	it->last_len = definition.len;
	it->parts[STORE_PARTS - 1] = copy;
	store_join(s, it);
	return 0;
}

int
store_define_queue(struct store *s, uint32_t queue, struct store_bytes definition)
{
	return define(s, ITEM_QUEUE, queue, definition);
}

int
store_define_flow(struct store *s, uint32_t flow, struct store_bytes definition)
{
	return define(s, ITEM_FLOW, flow, definition);
}

static void
undefine(struct store *s, enum item_kind kind, uint32_t number)
{
	struct item *it = store_append(s, kind);

	if (!it)
		return;
	it->queue = it->flow = number;
	it->removed = true;
	store_join(s, it);
}

void
store_remove_queue(struct store *s, uint32_t queue)
{
	undefine(s, ITEM_QUEUE, queue);
}

void
store_remove_flow(struct store *s, uint32_t flow)
{
	undefine(s, ITEM_FLOW, flow);
}
