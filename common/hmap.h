/*
 * hmap: an intrusive hash table. A node lives inside the object; the caller
 * supplies hash and comparison, so keys can be anything. Grows by doubling;
 * the only allocation is the bucket array.
 */
#ifndef HMAP_H
#define HMAP_H

#include <stddef.h>
#include <stdint.h>

struct hmap_node {
	struct hmap_node *next;
	uint64_t hash;
};

struct hmap {
	struct hmap_node **buckets;
	size_t n_buckets; /* 0 or a power of two */
	size_t n;
};

#define hmap_entry(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))

void hmap_init(struct hmap *m);
void hmap_done(struct hmap *m); /* frees the buckets; the objects are the caller's */

/* Make sure that hmap_add cannot fail from here on. 0 or -ENOMEM. */
int hmap_reserve(struct hmap *m);
/* Add a node that is not in the table. 0, or -ENOMEM (only while the table is empty). */
int hmap_add(struct hmap *m, struct hmap_node *n, uint64_t hash);
void hmap_remove(struct hmap *m, struct hmap_node *n);

/* First node with this hash, and the next one after it; NULL at the end. The caller compares keys. */
struct hmap_node *hmap_find(const struct hmap *m, uint64_t hash);
struct hmap_node *hmap_find_next(const struct hmap_node *n);

/* Walk everything in no order; n NULL starts. The table must not change meanwhile. */
struct hmap_node *hmap_walk(const struct hmap *m, const struct hmap_node *n);

/*
 * Hash bytes; `seed` keyed per table so that a stranger cannot choose
 * collisions (pass random bits where keys come from outside).
 */
uint64_t hmap_hash(const void *data, size_t len, uint64_t seed);
static inline uint64_t
hmap_hash_number(uint64_t n)
{
	n ^= n >> 33;
	n *= 0xff51afd7ed558ccdu;
	n ^= n >> 33;
	n *= 0xc4ceb9fe1a85ec53u;
	return n ^ (n >> 33);
}

#endif
