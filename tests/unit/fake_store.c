#include "fake_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void
fake_store_init(struct store *s)
{
	*s = (struct store){ .room = UINT64_C(1) << 40, .capacity = UINT64_C(1) << 40 };
}

void
fake_store_done(struct store *s)
{
	for (size_t i = 0; i < FAKE_STORE_MESSAGES; i++)
		free(s->messages[i].bytes);
}

size_t
fake_store_kept(const struct store *s)
{
	size_t n = 0;

	for (size_t i = 0; i < FAKE_STORE_MESSAGES; i++)
		n += s->messages[i].kept;
	return n;
}

uint64_t
store_ticket(const struct store *s)
{
	return s->ticket;
}

void
store_hurry(struct store *s)
{
	s->hurried = s->ticket;
}

int
store_put(struct store *s, const struct store_message *m, store_ref *ret)
{
	struct fake_kept *k = &s->messages[s->last + 1];
	size_t len = 0;
	char *at;

	if (s->error < 0)
		return s->error;
	for (int i = 0; i < STORE_PARTS; i++)
		len += m->parts[i].len;
	k->bytes = at = calloc(1, len + 1);
	k->m = *m;
	k->kept = true;
	for (int i = 0; i < STORE_PARTS; i++) {
		if (m->parts[i].len > 0)
			memcpy(at, m->parts[i].data, m->parts[i].len);
		k->m.parts[i].data = at;
		at += m->parts[i].len;
	}
	s->ticket++;
	*ret = ++s->last;
	return 0;
}

void
store_done(struct store *s, store_ref ref, uint32_t queue, uint64_t seq)
{
	struct fake_kept *k = &s->messages[ref];

	if (!k->kept || k->m.queue != queue || k->m.seq != seq)
		abort();
	k->kept = false;
	s->ticket++;
	s->n_done++;
}

int
store_move(struct store *s, store_ref ref, uint32_t from, uint64_t from_seq, uint32_t to, uint64_t to_seq, uint8_t flags,
    struct store_bytes note)
{
	struct fake_kept *k = &s->messages[ref];

	(void)note;
	if (!k->kept || k->m.queue != from || k->m.seq != from_seq)
		abort();
	k->m.queue = to;
	k->m.seq = to_seq;
	k->m.flags = flags;
	s->ticket++;
	s->n_moved++;
	return 0;
}

void
store_offered(struct store *s, uint32_t queue, uint64_t seq)
{
	(void)queue;
	s->ticket++;
	s->offered = seq;
}

uint32_t
store_new_queue(struct store *s)
{
	return ++s->last_queue;
}

int
store_define_queue(struct store *s, uint32_t queue, struct store_bytes definition)
{
	(void)queue, (void)definition;
	s->ticket++;
	s->n_queues++;
	return s->error;
}

void
store_remove_queue(struct store *s, uint32_t queue)
{
	(void)queue;
	s->n_queues--;
}

/* Large bodies are not what is tested with this. */
struct store_body *
store_body_new(struct store *s)
{
	(void)s;
	return NULL;
}

int
store_body_append(struct store_body *b, const void *data, size_t len)
{
	(void)b, (void)data, (void)len;
	return -ENOMEM;
}

void
store_body_drop(struct store_body *b)
{
	(void)b;
}

int
store_read(struct store *s, store_ref ref, struct store_read *r)
{
	if (s->refuse_reads)
		return -EAGAIN;
	s->reads[s->n_reads] = r;
	s->read_refs[s->n_reads++] = ref;
	return 0;
}

int
store_read_start(struct store *s, store_ref ref, struct store_read *r)
{
	return store_read(s, ref, r);
}

void
store_read_cancel(struct store *s, struct store_read *r)
{
	bool found = false;

	for (size_t i = 0; i < s->n_reads; i++)
		if (s->reads[i] == r) {
			s->reads[i] = NULL;
			found = true;
		}
	if (!found)
		abort(); /* it is not being read */
}

void
fake_store_serve(struct store *s)
{
	struct store_read *reads[FAKE_STORE_MESSAGES];
	size_t n = s->n_reads;

	memcpy(reads, s->reads, sizeof(reads));
	s->n_reads = 0;
	for (size_t i = 0; i < n; i++) {
		const struct fake_kept *k = &s->messages[s->read_refs[i]];

		if (!reads[i])
			continue;
		memcpy(reads[i]->parts, k->m.parts, sizeof(k->m.parts));
		reads[i]->counter = k->m.counter;
		reads[i]->last_len = k->m.parts[STORE_PARTS - 1].len;
		reads[i]->done(reads[i], k->kept ? s->read_error : -ECANCELED);
	}
}

uint64_t
store_cost(const struct store *s, uint64_t bytes)
{
	(void)s;
	return 100 + bytes;
}

uint64_t
store_room(const struct store *s)
{
	return s->room;
}

uint64_t
store_synced(const struct store *s)
{
	return s->synced;
}

uint64_t
store_capacity(const struct store *s)
{
	return s->capacity;
}

uint64_t
store_group_max(const struct store *s)
{
	(void)s;
	return STORE_GROUP_MAX;
}

void
store_want_room(struct store *s, uint64_t bytes)
{
	s->wanted_room = bytes;
}

uint64_t
store_piece_max(const struct store *s)
{
	(void)s;
	return STORE_PIECE_MAX;
}

void
store_stats(const struct store *s, struct store_stats *ret)
{
	(void)s;
	*ret = (struct store_stats){ .state = STORE_OPEN };
}
