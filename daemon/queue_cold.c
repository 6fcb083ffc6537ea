/* A list of cold messages: chunks of an array, first in, first out. */
#include "queue_internal.h"

#include <stdlib.h>

void
cold_init(struct cold_list *l)
{
	list_init(&l->chunks);
	l->n = 0;
	l->last_seq = 0;
}

void
cold_done(struct cold_list *l)
{
	LIST_FOREACH_SAFE (node, &l->chunks)
		free(list_entry(node, struct cold_chunk, node));
	cold_init(l);
}

static struct cold_chunk *
last_chunk(struct cold_list *l)
{
	struct cold_chunk *k = list_empty(&l->chunks) ? NULL : list_entry(l->chunks.prev, struct cold_chunk, node);

	if (k && k->end < COLD_CHUNK)
		return k;
	k = malloc(sizeof(*k));
	if (!k)
		return NULL;
	k->first = k->end = 0;
	k->min_expires_ms = UINT64_MAX;
	list_append(&l->chunks, &k->node);
	return k;
}

bool
cold_reserve(struct cold_list *l)
{
	return last_chunk(l) != NULL;
}

bool
cold_push(struct cold_list *l, const struct cold *c)
{
	struct cold_chunk *k = last_chunk(l);

	if (!k)
		return false;
	k->at[k->end++] = *c;
	if (c->expires_ms != 0 && c->expires_ms < k->min_expires_ms)
		k->min_expires_ms = c->expires_ms;
	l->n++;
	l->last_seq = c->seq;
	return true;
}

const struct cold *
cold_peek(const struct cold_list *l)
{
	for (const struct list *node = l->chunks.next; node != &l->chunks; node = node->next) {
		const struct cold_chunk *k = (const struct cold_chunk *)((const char *)node - offsetof(struct cold_chunk, node));

		for (uint32_t i = k->first; i < k->end; i++)
			if (k->at[i].ref != 0)
				return &k->at[i];
	}
	return NULL;
}

/* Those that are gone at the front, and chunks of nothing else, go. */
struct cold *
cold_first(struct cold_list *l)
{
	struct list *node;

	while ((node = list_first(&l->chunks))) {
		struct cold_chunk *k = list_entry(node, struct cold_chunk, node);

		while (k->first < k->end && k->at[k->first].ref == 0)
			k->first++;
		if (k->first < k->end)
			return &k->at[k->first];
		list_remove(node);
		free(k);
	}
	return NULL;
}

void
cold_remove(struct cold_list *l, struct cold *c)
{
	c->ref = 0;
	l->n--;
}

void
cold_pop(struct cold_list *l, struct cold *ret)
{
	struct cold *c = cold_first(l);

	*ret = *c;
	cold_remove(l, c);
}

static bool
each_of_chunk(struct cold_chunk *k, bool (*fn)(void *arg, struct queue *q, struct cold *c), void *arg, struct queue *q)
{
	for (uint32_t i = k->first; i < k->end; i++)
		if (k->at[i].ref != 0 && !fn(arg, q, &k->at[i]))
			return false;
	return true;
}

bool
cold_each(struct cold_list *l, bool (*fn)(void *arg, struct queue *q, struct cold *c), void *arg, struct queue *q)
{
	LIST_FOREACH (node, &l->chunks)
		if (!each_of_chunk(list_entry(node, struct cold_chunk, node), fn, arg, q))
			return false;
	return true;
}

void
cold_each_behind(struct cold_list *l, uint64_t seq, bool (*fn)(void *arg, struct queue *q, struct cold *c), void *arg,
    struct queue *q)
{
	LIST_FOREACH (node, &l->chunks) {
		struct cold_chunk *k = list_entry(node, struct cold_chunk, node);

		if (k->end > 0 && k->at[k->end - 1].seq > seq && !each_of_chunk(k, fn, arg, q))
			return;
	}
}

void
cold_each_expired(struct cold_list *l, uint64_t now_ms, bool (*fn)(void *arg, struct queue *q, struct cold *c), void *arg,
    struct queue *q)
{
	LIST_FOREACH (node, &l->chunks) {
		struct cold_chunk *k = list_entry(node, struct cold_chunk, node);

		if (k->min_expires_ms > now_ms)
			continue;
		each_of_chunk(k, fn, arg, q);
		k->min_expires_ms = UINT64_MAX;
		for (uint32_t i = k->first; i < k->end; i++)
			if (k->at[i].ref != 0 && k->at[i].expires_ms != 0 && k->at[i].expires_ms < k->min_expires_ms)
				k->min_expires_ms = k->at[i].expires_ms;
	}
}
