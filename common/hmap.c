#include "hmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BUCKETS 16

void
hmap_init(struct hmap *m)
{
	*m = (struct hmap){ NULL, 0, 0 };
}

void
hmap_done(struct hmap *m)
{
	free(m->buckets);
	hmap_init(m);
}

/* Where the chain of a hash starts. The table has buckets. */
static struct hmap_node **
bucket(const struct hmap *m, uint64_t hash)
{
	return &m->buckets[hash & (m->n_buckets - 1)];
}

static int
grow(struct hmap *m)
{
	size_t n = m->n_buckets ? m->n_buckets * 2 : FIRST_BUCKETS;
	struct hmap bigger = { calloc(n, sizeof(*bigger.buckets)), n, m->n };

	if (!bigger.buckets)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_buckets; i++)
		for (struct hmap_node *node = m->buckets[i], *next; node; node = next) {
			struct hmap_node **to = bucket(&bigger, node->hash);

			next = node->next;
			node->next = *to;
			*to = node;
		}
	free(m->buckets);
	*m = bigger;
	return 0;
}

int
hmap_reserve(struct hmap *m)
{
	return m->n_buckets == 0 ? grow(m) : 0;
}

int
hmap_add(struct hmap *m, struct hmap_node *n, uint64_t hash)
{
	/* A table that cannot grow only gets slower; one without buckets is none. */
	if (m->n >= m->n_buckets && grow(m) < 0 && m->n_buckets == 0)
		return -ENOMEM;
	n->hash = hash;
	n->next = *bucket(m, hash);
	*bucket(m, hash) = n;
	m->n++;
	return 0;
}

void
hmap_remove(struct hmap *m, struct hmap_node *n)
{
	struct hmap_node **at = bucket(m, n->hash);

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	n->next = NULL;
	m->n--;
}

static struct hmap_node *
skip_others(struct hmap_node *n, uint64_t hash)
{
	while (n && n->hash != hash)
		n = n->next;
	return n;
}

struct hmap_node *
hmap_find(const struct hmap *m, uint64_t hash)
{
	return m->n ? skip_others(*bucket(m, hash), hash) : NULL;
}

struct hmap_node *
hmap_find_next(const struct hmap_node *n)
{
	return skip_others(n->next, n->hash);
}

struct hmap_node *
hmap_walk(const struct hmap *m, const struct hmap_node *n)
{
	size_t i = 0;

	if (n) {
		if (n->next)
			return n->next;
		i = (n->hash & (m->n_buckets - 1)) + 1;
	}
	for (; i < m->n_buckets; i++)
		if (m->buckets[i])
			return m->buckets[i];
	return NULL;
}

/* ------------------------------------------------------------------ hash -- */

/*
 * SipHash with one round a word and three at the end: fast for short names,
 * and without the seed nobody can tell which names collide.
 */
static inline uint64_t
rotate(uint64_t n, unsigned by)
{
	return n << by | n >> (64 - by);
}

static inline void
sip_round(uint64_t v[static 4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

uint64_t
hmap_hash(const void *data, size_t len, uint64_t seed)
{
	const uint8_t *p = data;
	uint64_t second = hmap_hash_number(seed + 1); /* the other half of the key */
	uint64_t v[4] = {
		seed ^ 0x736f6d6570736575u,
		second ^ 0x646f72616e646f6du,
		seed ^ 0x6c7967656e657261u,
		second ^ 0x7465646279746573u,
	};
	uint64_t word;

	for (size_t left = len; left >= 8; left -= 8, p += 8) {
		memcpy(&word, p, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	/* The last word: what is left, and the length, so that trailing zeros count. */
	word = (uint64_t)len << 56;
	for (size_t i = 0; i < len % 8; i++)
		word |= (uint64_t)p[i] << (8 * i);
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
