/* vdisk: blocks and files. The folder is in vdisk_folder.c, crashes in vdisk_crash.c. */
#include "vdisk_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct block *free_blocks;

/* splitmix64, as the world's, but apart from it: a disk that is cloned does not disturb the run it was cloned from. */
uint64_t
vdisk_random(struct vdisk *v)
{
	uint64_t z = v->rng += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t
vdisk_below(struct vdisk *v, uint64_t bound)
{
	return bound ? vdisk_random(v) % bound : 0;
}

void
vdisk_seed(struct vdisk *v, uint64_t seed)
{
	v->rng = seed;
}

void
vdisk_set_limit(struct vdisk *v, uint64_t bytes)
{
	v->limit = bytes;
}

uint64_t
vdisk_stamp(const struct vdisk *v)
{
	return v->stamp;
}

uint64_t
vdisk_limit(const struct vdisk *v)
{
	return v->limit;
}

struct vdisk_stats
vdisk_stats(const struct vdisk *v)
{
	return v->stats;
}

/* ------------------------------------------------------------------ blocks -- */

struct block *
vdisk_block_new(void)
{
	struct block *b = free_blocks;

	if (b)
		free_blocks = b->next;
	else
		b = malloc(sizeof(*b));
	if (!b)
		abort();
	b->refs = 1;
	return b;
}

struct block *
vdisk_block_ref(struct block *b)
{
	if (b)
		b->refs++;
	return b;
}

void
vdisk_block_unref(struct block *b)
{
	if (!b || --b->refs > 0)
		return;
	b->next = free_blocks;
	free_blocks = b;
}

void
vdisk_versions_unref(struct version *n)
{
	while (n && --n->refs == 0) {
		struct version *older = n->older;

		vdisk_block_unref(n->block);
		free(n);
		n = older;
	}
}

static void
slot_done(struct slot *s)
{
	vdisk_block_unref(s->cache);
	vdisk_block_unref(s->medium);
	vdisk_versions_unref(s->unsynced);
	*s = (struct slot){ 0 };
}

/* ------------------------------------------------------------------- files -- */

void
vdisk_inode_unref(struct inode *i)
{
	if (!i || --i->refs > 0)
		return;
	for (size_t k = 0; k < i->n_slots; k++)
		slot_done(&i->slots[k]);
	free(i->slots);
	free(i);
}

struct inode *
vdisk_own(struct vdisk *v, int file)
{
	struct inode *old = v->inodes[file], *i;

	v->stamp++;
	if (old->refs == 1)
		return old;
	i = malloc(sizeof(*i));
	if (!i)
		abort();
	*i = *old;
	i->refs = 1;
	i->slots = malloc((i->cap_slots ? i->cap_slots : 1) * sizeof(*i->slots));
	if (!i->slots)
		abort();
	for (size_t k = 0; k < i->n_slots; k++) {
		i->slots[k] = old->slots[k];
		vdisk_block_ref(i->slots[k].cache);
		vdisk_block_ref(i->slots[k].medium);
		if (i->slots[k].unsynced)
			i->slots[k].unsynced->refs++;
	}
	old->refs--;
	v->inodes[file] = i;
	return i;
}

static void
need_slots(struct inode *i, size_t n)
{
	if (n > i->cap_slots) {
		i->cap_slots = n > 2 * i->cap_slots ? n : 2 * i->cap_slots;
		i->slots = realloc(i->slots, i->cap_slots * sizeof(*i->slots));
		if (!i->slots)
			abort();
	}
	if (n > i->n_slots) {
		memset(i->slots + i->n_slots, 0, (n - i->n_slots) * sizeof(*i->slots));
		i->n_slots = n;
	}
}

/* What slot k holds is b from now on; takes b over. */
static void
put_version(struct vdisk *v, struct inode *i, size_t k, struct block *b)
{
	struct slot *s = &i->slots[k];
	struct version *n = malloc(sizeof(*n));

	if (!n)
		abort();
	*n = (struct version){ .refs = 1, .order = v->order++, .block = vdisk_block_ref(b), .older = s->unsynced };
	s->unsynced = n;
	vdisk_block_unref(s->cache);
	s->cache = b;
	if (i->dirty_from == i->dirty_to) {
		i->dirty_from = k;
		i->dirty_to = k + 1;
	}
	if (k < i->dirty_from)
		i->dirty_from = k;
	if (k >= i->dirty_to)
		i->dirty_to = k + 1;
}

/* Blocks that can still be taken. */
static uint64_t
blocks_left(const struct vdisk *v)
{
	uint64_t used;

	if (v->limit == 0)
		return UINT64_MAX;
	used = vdisk_used(v, NULL);
	return used < v->limit ? (v->limit - used) / VDISK_BLOCK : 0;
}

uint64_t
vdisk_size(const struct vdisk *v, int file)
{
	return v->inodes[file]->size;
}

size_t
vdisk_read(const struct vdisk *v, int file, void *buf, size_t len, uint64_t offset)
{
	const struct inode *i = v->inodes[file];
	size_t have = 0;

	if (offset >= i->size)
		return 0;
	if (len > i->size - offset)
		len = (size_t)(i->size - offset);
	while (have < len) {
		size_t k = (size_t)((offset + have) / VDISK_BLOCK), at = (size_t)((offset + have) % VDISK_BLOCK);
		size_t n = len - have < VDISK_BLOCK - at ? len - have : VDISK_BLOCK - at;
		const struct block *b = k < i->n_slots ? i->slots[k].cache : NULL;

		if (b)
			memcpy((char *)buf + have, b->data + at, n);
		else
			memset((char *)buf + have, 0, n);
		have += n;
	}
	return len;
}

int
vdisk_write(struct vdisk *v, int file, const void *buf, size_t len, uint64_t offset)
{
	struct inode *i = vdisk_own(v, file);
	uint64_t left = blocks_left(v);

	need_slots(i, (size_t)((offset + len + VDISK_BLOCK - 1) / VDISK_BLOCK));
	for (size_t have = 0, n; have < len; have += n) {
		size_t k = (size_t)((offset + have) / VDISK_BLOCK), at = (size_t)((offset + have) % VDISK_BLOCK);
		struct slot *s = &i->slots[k];
		struct block *b;

		n = len - have < VDISK_BLOCK - at ? len - have : VDISK_BLOCK - at;
		if (!s->is_allocated && left == 0)
			return -ENOSPC;
		left -= !s->is_allocated;
		s->is_allocated = true;
		b = vdisk_block_new();
		if (n < VDISK_BLOCK && s->cache)
			memcpy(b->data, s->cache->data, VDISK_BLOCK);
		else if (n < VDISK_BLOCK)
			memset(b->data, 0, VDISK_BLOCK);
		memcpy(b->data + at, (const char *)buf + have, n);
		put_version(v, i, k, b);
		if (offset + have + n > i->size)
			i->size = offset + have + n;
	}
	return 0;
}

int
vdisk_allocate(struct vdisk *v, int file, uint64_t len)
{
	struct inode *i = vdisk_own(v, file);
	uint64_t left = blocks_left(v);
	size_t n = (size_t)((len + VDISK_BLOCK - 1) / VDISK_BLOCK);

	need_slots(i, n);
	for (size_t k = 0; k < n; k++) {
		if (i->slots[k].is_allocated)
			continue;
		if (left == 0)
			return -ENOSPC;
		left--;
		i->slots[k].is_allocated = true;
	}
	if (len > i->size)
		i->size = len;
	return 0;
}

void
vdisk_cut_off(struct inode *i, uint64_t len)
{
	size_t n = (size_t)((len + VDISK_BLOCK - 1) / VDISK_BLOCK), rest = (size_t)(len % VDISK_BLOCK);

	for (size_t k = n; k < i->n_slots; k++)
		slot_done(&i->slots[k]);
	if (i->n_slots > n)
		i->n_slots = n;
	if (rest > 0 && i->n_slots == n && i->slots[n - 1].cache) {
		struct slot *s = &i->slots[n - 1];
		struct block *b = vdisk_block_new();

		memcpy(b->data, s->cache->data, rest);
		memset(b->data + rest, 0, VDISK_BLOCK - rest);
		vdisk_block_unref(s->cache);
		s->cache = b;
		if (!s->unsynced) {
			vdisk_block_unref(s->medium);
			s->medium = vdisk_block_ref(b);
		}
	}
}

void
vdisk_truncate(struct vdisk *v, int file, uint64_t len)
{
	struct inode *i = vdisk_own(v, file);
	size_t n = (size_t)((len + VDISK_BLOCK - 1) / VDISK_BLOCK), rest = (size_t)(len % VDISK_BLOCK);

	/* What goes may be there again after a power cut. */
	for (size_t k = n; k < i->n_slots; k++) {
		put_version(v, i, k, NULL);
		i->slots[k].is_allocated = false;
	}
	if (len < i->size && rest > 0 && n <= i->n_slots && i->slots[n - 1].cache) {
		struct block *b = vdisk_block_new();

		memcpy(b->data, i->slots[n - 1].cache->data, rest);
		memset(b->data + rest, 0, VDISK_BLOCK - rest);
		put_version(v, i, n - 1, b);
	}
	i->size = len;
}

void
vdisk_sync(struct vdisk *v, int file)
{
	struct inode *i = vdisk_own(v, file);

	for (size_t k = i->dirty_from; k < i->dirty_to && k < i->n_slots; k++) {
		struct slot *s = &i->slots[k];

		if (!s->unsynced)
			continue;
		vdisk_block_unref(s->medium);
		s->medium = vdisk_block_ref(s->cache);
		vdisk_versions_unref(s->unsynced);
		s->unsynced = NULL;
	}
	for (size_t k = 0; k < i->n_slots; k++)
		i->slots[k].is_allocated_medium = i->slots[k].is_allocated;
	i->dirty_from = i->dirty_to = 0;
	i->size_medium = i->size;
}
