/*
 * session_out: frames to bytes. Everything of one loop pass is gathered and
 * written with one system call: small things are copied into blocks, large
 * bodies are sent from their messages. Items with consecutive numbers join into
 * a run, whose head is written in front of them when it is known: when the run
 * closes.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "session_internal.h"

#define BLOCK_SIZE 4096 /* with its header: the largest class of the slab */
#define RING_MIN 8
#define IOV_COUNT 64
#define NS_PER_MS 1000000u
#define NS_PER_S 1000000000u
#define SAMPLE_NS (100 * NS_PER_MS) /* a measurement is worked in after that long, or when all is taken */

struct out_block {
	size_t refs; /* segments, and session_out.block */
	size_t cap, fill;
	uint8_t data[];
};

static struct slab *
slab_of(const struct session *s)
{
	return &s->env->messages->slab;
}

static size_t
mark(const struct session *s)
{
	if (s->out.pace < SESSION_MARK_MIN)
		return SESSION_MARK_MIN;
	return s->out.pace > SESSION_MARK_MAX ? SESSION_MARK_MAX : (size_t)s->out.pace;
}

void
session_out_init(struct session *s, bool local)
{
	s->out.pace = local ? SESSION_MARK_MAX : SESSION_PACE_START;
}

static void
fail_memory(struct session *s)
{
	session_lost(s, WIRE_CLOSE_INTERNAL, -ENOMEM, "out of memory");
}

/* ------------------------------------------------------ blocks and segments */

static void
block_unref(struct session *s, struct out_block *b)
{
	if (b && --b->refs == 0)
		slab_free(slab_of(s), b, sizeof(*b) + b->cap);
}

static struct out_segment *
segment(struct session_out *o, size_t i)
{
	return &o->segments[(o->first + i) & (o->cap - 1)];
}

static bool
ring_grow(struct session *s)
{
	struct session_out *o = &s->out;
	size_t cap = o->cap ? 2 * o->cap : RING_MIN;
	struct out_segment *ring = slab_alloc(slab_of(s), cap * sizeof(*ring));

	if (!ring)
		return false;
	for (size_t i = 0; i < o->n; i++)
		ring[i] = *segment(o, i);
	slab_free(slab_of(s), o->segments, o->cap * sizeof(*ring));
	o->segments = ring;
	o->cap = cap;
	o->first = 0;
	return true;
}

static bool
add_segment(struct session *s, const uint8_t *data, size_t len, struct message *owner)
{
	struct session_out *o = &s->out;

	if (o->n == o->cap && !ring_grow(s)) {
		fail_memory(s);
		return false;
	}
	o->n++;
	*segment(o, o->n - 1) = (struct out_segment){ data, len, owner ? NULL : o->block, owner };
	if (owner)
		message_ref(owner);
	else
		o->block->refs++;
	o->queued += len;
	return true;
}

/* Room for len bytes in one piece; NULL: out of memory, and the session is over. */
static uint8_t *
reserve(struct session *s, size_t len)
{
	struct session_out *o = &s->out;
	size_t cap = BLOCK_SIZE - sizeof(struct out_block);
	struct out_block *b = o->block;

	if (b && b->cap - b->fill >= len)
		return b->data + b->fill;
	if (cap < len)
		cap = len;
	b = slab_alloc(slab_of(s), sizeof(*b) + cap);
	if (!b) {
		fail_memory(s);
		return NULL;
	}
	*b = (struct out_block){ .refs = 1, .cap = cap };
	block_unref(s, o->block);
	o->block = b;
	return b->data;
}

/* What was reserved is filled in. apart: in a segment of its own, whose front may still move. */
static bool
commit(struct session *s, size_t len, bool apart)
{
	struct session_out *o = &s->out;
	struct out_block *b = o->block;
	uint8_t *at = b->data + b->fill;
	struct out_segment *last = o->n > 0 ? segment(o, o->n - 1) : NULL;

	b->fill += len;
	if (!apart && last && last->block == b && last->data + last->len == at) {
		last->len += len;
		o->queued += len;
		return true;
	}
	return add_segment(s, at, len, NULL);
}

static bool
copy(struct session *s, struct wire_bytes bytes)
{
	while (bytes.len > 0) {
		struct out_block *b = s->out.block;
		size_t n = b ? b->cap - b->fill : 0;
		uint8_t *to;

		if (n == 0)
			n = BLOCK_SIZE - sizeof(*b);
		if (n > bytes.len)
			n = bytes.len;
		to = reserve(s, n);
		if (!to)
			return false;
		memcpy(to, bytes.data, n);
		if (!commit(s, n, false))
			return false;
		bytes = wire_bytes(bytes.data + n, bytes.len - n);
	}
	return true;
}

/* len bytes were written: let go of what they came from. */
static void
consume(struct session *s, size_t len)
{
	struct session_out *o = &s->out;

	o->queued -= len;
	while (o->n > 0) {
		struct out_segment *seg = segment(o, 0);

		if (len < seg->len) {
			seg->data += len;
			seg->len -= len;
			return;
		}
		len -= seg->len;
		block_unref(s, seg->block);
		message_unref(seg->owner);
		o->first = (o->first + 1) & (o->cap - 1);
		o->n--;
	}
	/* A session that has nothing to say holds no memory for it. */
	session_out_clear(s);
}

void
session_out_clear(struct session *s)
{
	struct session_out *o = &s->out;

	for (size_t i = 0; i < o->n; i++) {
		block_unref(s, segment(o, i)->block);
		message_unref(segment(o, i)->owner);
	}
	block_unref(s, o->block);
	slab_free(slab_of(s), o->segments, o->cap * sizeof(*o->segments));
	o->segments = NULL;
	o->block = NULL;
	o->first = o->n = o->cap = 0;
	o->queued = 0;
	o->run_kind = WIRE_NONE;
}

/* ------------------------------------------------------------------- frames */

static void
queued_more(struct session *s)
{
	struct session_out *o = &s->out;

	if (o->queued >= mark(s))
		o->full = true;
	/* Peers must be heard whatever they read: each may wait for the other. */
	if (o->queued >= SESSION_CHOKE && s->hello.role == WIRE_ROLE_CLIENT)
		session_in_choke(s, true);
	if (s->t && !o->blocked)
		loop_defer(s->env->loop, &s->flush);
}

static void
run_close(struct session *s)
{
	struct session_out *o = &s->out;
	uint8_t head[WIRE_RUN_HEAD_MAX];
	struct out_segment *seg;
	size_t len, skip;

	if (o->run_kind == WIRE_NONE)
		return;
	len = wire_put_run(o->run_kind, o->run_id, o->run_first, o->run_bytes, head);
	skip = sizeof(head) - len;
	seg = segment(o, o->run_segment);
	memcpy(o->run_head + skip, head, len);
	seg->data += skip;
	seg->len -= skip;
	o->queued -= skip;
	o->run_kind = WIRE_NONE;
	s->stats.frames_out++;
}

static bool
run_open(struct session *s, enum wire_kind kind, uint32_t id, uint64_t first)
{
	struct session_out *o = &s->out;
	uint8_t *head = reserve(s, WIRE_RUN_HEAD_MAX);

	if (!head || !commit(s, WIRE_RUN_HEAD_MAX, true))
		return false;
	o->run_head = head;
	o->run_segment = o->n - 1;
	o->run_kind = kind;
	o->run_id = id;
	o->run_first = first;
	o->run_items = o->run_bytes = 0;
	return true;
}

void
session_out_frame(struct session *s, const struct wire_frame *f)
{
	size_t size = wire_size(f);
	uint8_t *to;

	run_close(s);
	to = reserve(s, size);
	if (!to)
		return;
	size = wire_pack(f, to);
	if (!commit(s, size, false))
		return;
	s->stats.frames_out++;
	queued_more(s);
	if (s->out.queued > SESSION_QUEUE_MAX && s->state < SESSION_CLOSING)
		session_lost(s, WIRE_CLOSE_LIMIT, 0, "the other end does not read what it asked for");
}

void
session_out_pong(struct session *s, uint64_t token)
{
	struct session_out *o = &s->out;

	/* Whoever asks without reading gets one answer when it reads again. */
	if (o->queued >= mark(s)) {
		o->pong_waits = true;
		o->pong_token = token;
		return;
	}
	session_out_frame(s, &(struct wire_frame){ .kind = WIRE_PONG, .u.ping.token = token });
}

void
session_send(struct session *s, const struct wire_frame *f)
{
	assert(f->kind != WIRE_TRANSFER && f->kind != WIRE_DELIVER && f->kind != WIRE_CLOSE);
	if (session_is_live(s) && s->state >= SESSION_GREETED)
		session_out_frame(s, f);
}

/* The id under which the other end knows e, which is defined if need be. */
static uint32_t
define(struct session *s, enum wire_define_kind kind, struct intern_entry *e)
{
	bool type = kind == WIRE_DEFINE_TYPE;
	struct dictionary *d = type ? &s->types_out : &s->origins_out;
	struct intern *t = type ? &s->env->messages->types : &s->env->messages->origins;
	uint32_t limit = s->hello.limits.dictionary, id;

	if (!e)
		return 0;
	if (limit == 0) {
		session_close(
		    s, WIRE_CLOSE_UNSUPPORTED, "messages cannot be sent without a dictionary, and yours has no room");
		return 0;
	}
	id = e->index % (limit < WIRE_DICTIONARY ? limit : WIRE_DICTIONARY) + 1;
	if (dictionary_get(d, id) == e)
		return id;
	if (dictionary_set(d, t, id, intern_ref(e)) < 0) {
		fail_memory(s);
		return 0;
	}
	session_out_frame(s, &(struct wire_frame){ .kind = WIRE_DEFINE, .u.define = { kind, id, intern_bytes(e) } });
	return id;
}

static bool
put_item(struct session *s, const struct wire_item *item, size_t head, struct message *body_owner)
{
	uint8_t *to = reserve(s, head);

	if (!to)
		return false;
	wire_put_item(item, to);
	if (!commit(s, head, false))
		return false;
	if (body_owner && item->body.len >= SESSION_COPY_MAX)
		return add_segment(s, item->body.data, item->body.len, body_owner);
	return copy(s, item->body);
}

void
session_send_item(struct session *s, enum wire_kind kind, uint32_t id, uint64_t number, struct wire_item *item,
    struct intern_entry *type, struct intern_entry *origin, struct message *body_owner)
{
	struct session_out *o = &s->out;
	bool chunk = item->total != 0;
	size_t size;

	if (!session_is_live(s) || s->state != SESSION_OPEN)
		return;
	item->type = define(s, WIRE_DEFINE_TYPE, type);
	item->origin = define(s, WIRE_DEFINE_ORIGIN, origin);
	if (!session_is_live(s))
		return;
	size = wire_item_size(item);
	assert(size <= WIRE_FRAME_MAX - WIRE_RUN_HEAD_MAX);
	if (o->run_kind != kind || o->run_id != id || number != o->run_first + o->run_items ||
	    o->run_items >= WIRE_ITEMS_MAX || o->run_bytes + size > SESSION_RUN_BYTES || chunk) {
		run_close(s);
		if (!run_open(s, kind, id, number))
			return;
	}
	if (!put_item(s, item, size - item->body.len, body_owner))
		return;
	o->run_items++;
	o->run_bytes += size;
	s->stats.items_out++;
	if (chunk)
		run_close(s);
	queued_more(s);
}

size_t
session_room(const struct session *s)
{
	if (s->state != SESSION_OPEN || s->is_freed || s->out.full || s->out.queued >= mark(s))
		return 0;
	return mark(s) - s->out.queued;
}

size_t
session_chunk(const struct session *s)
{
	if (s->out.pace < WIRE_CHUNK_MIN)
		return WIRE_CHUNK_MIN;
	return s->out.pace > WIRE_CHUNK_MAX ? WIRE_CHUNK_MAX : (size_t)s->out.pace;
}

size_t
session_queued(const struct session *s)
{
	return s->out.queued;
}

/* ------------------------------------------------------------------ writing */

/*
 * How fast the link is shows only while it holds us up. While it never does,
 * what we gave it says that it can take at least that: then twice as much may
 * wait, so that one bad moment is not believed for ever.
 */
static void
measure(struct session *s, size_t taken)
{
	struct session_out *o = &s->out;
	uint64_t now = loop_now(s->env->loop), passed = now - o->blocked_since, sample;
	bool timed = o->blocked_since != 0;

	if (timed) {
		o->blocked_bytes += taken;
		if (o->blocked && (passed < SAMPLE_NS || o->blocked_bytes == 0))
			return;
		o->blocked_since = 0;
	}
	if (timed && passed >= NS_PER_MS && o->blocked_bytes > 0) {
		sample = o->blocked_bytes * 1000 / (passed / NS_PER_MS);
		o->rate = o->rate ? (3 * o->rate + sample) / 4 : sample;
		o->pace = o->rate / 4;
	} else if (!o->blocked && taken >= mark(s) / 2 && o->pace < SESSION_MARK_MAX) {
		/* From zero too: a link that was measured as dead. */
		o->pace = 2 * mark(s);
		if (o->rate)
			o->rate = 4 * o->pace;
	}
	if (o->blocked) {
		o->blocked_since = now;
		o->blocked_bytes = 0;
	}
	if (o->queued >= mark(s))
		o->full = true;
}

static size_t
gather(struct session_out *o, struct iovec *iov, size_t *ret_bytes)
{
	size_t n = o->n < IOV_COUNT ? o->n : IOV_COUNT;

	*ret_bytes = 0;
	for (size_t i = 0; i < n; i++) {
		const struct out_segment *seg = segment(o, i);

		/* writev reads only, but says so nowhere. */
		memcpy(&iov[i].iov_base, &seg->data, sizeof(void *));
		iov[i].iov_len = seg->len;
		*ret_bytes += seg->len;
	}
	return n;
}

size_t
session_out_flush(struct session *s)
{
	struct session_out *o = &s->out;
	struct iovec iov[IOV_COUNT];
	size_t total = 0, offered;
	ssize_t r;

	if (!s->t || o->blocked)
		return 0;
	run_close(s);
	while (o->n > 0) {
		size_t n = gather(o, iov, &offered);

		r = s->t->ops->writev(s->t, iov, (int)n);
		/* A transport that is gone says so by its `down`; until then nothing more is given to it. */
		o->blocked = r < 0 || (size_t)r < offered;
		if (r > 0) {
			consume(s, (size_t)r);
			total += (size_t)r;
		}
		if (o->blocked)
			break;
	}
	s->stats.bytes_out += total;
	measure(s, total);
	if (o->queued < SESSION_CHOKE / 2)
		session_in_choke(s, false);
	if (o->pong_waits && o->queued < mark(s)) {
		o->pong_waits = false;
		session_out_pong(s, o->pong_token);
	}
	return total;
}

bool
session_out_relieved(struct session *s)
{
	if (!s->out.full || s->out.queued >= mark(s) / 2)
		return false;
	s->out.full = false;
	return true;
}
