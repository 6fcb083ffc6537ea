/* vdisk: what is left when something goes wrong. */
#include <stdlib.h>
#include <string.h>

#include "vdisk_internal.h"

#define SECTORS (VDISK_BLOCK / VDISK_SECTOR)
#define VERSIONS_MAX 64

/* How the blocks of one power cut fare. Uniform draws alone would hardly ever keep all but one of many blocks. */
struct fate {
	unsigned keep;   /* percent of the blocks that are written at all */
	unsigned newest; /* percent of those that have the newest version, not just any */
	unsigned torn;   /* percent that are cut at sectors */
	unsigned spoilt; /* percent that were being written, and hold anything now: drives with sectors of 4096 bytes */
	bool in_order;   /* instead: everything before this order, nothing behind it */
	uint64_t order;
};

static bool
chance(struct vdisk *v, unsigned percent)
{
	return percent > 0 && vdisk_below(v, 100) < percent;
}

static uint64_t
oldest_order(const struct vdisk *v)
{
	uint64_t oldest = v->order;

	for (size_t f = 0; f < v->n_inodes; f++) {
		const struct inode *i = v->inodes[f];

		for (size_t k = i ? i->dirty_from : 0; i && k < i->dirty_to && k < i->n_slots; k++)
			for (const struct version *n = i->slots[k].unsynced; n; n = n->older)
				if (n->order < oldest)
					oldest = n->order;
	}
	return oldest;
}

static struct fate
draw_fate(struct vdisk *v)
{
	static const unsigned keeps[] = { 0, 10, 50, 90, 97, 100 }, torns[] = { 0, 0, 5, 50 };
	struct fate f = { .keep = keeps[vdisk_below(v, 6)], .torn = torns[vdisk_below(v, 4)] };

	f.newest = chance(v, 70) ? 100 : 50;
	f.spoilt = chance(v, 25) ? 20 : 0;
	f.in_order = chance(v, 15);
	if (f.in_order) {
		uint64_t oldest = oldest_order(v);

		f.order = oldest + vdisk_below(v, v->order - oldest + 1);
	}
	return f;
}

/* What the medium holds of a block that was not synced; a reference of its own. */
static struct block *
survivor(struct vdisk *v, const struct slot *s, const struct fate *f)
{
	struct block *all[VERSIONS_MAX], *b;
	size_t n = 0, pick;

	/* Newest first, and at the end what was there before. */
	for (const struct version *o = s->unsynced; o && n < VERSIONS_MAX - 1; o = o->older)
		if (!f->in_order || o->order < f->order)
			all[n++] = o->block;
	all[n++] = s->medium;
	if (f->in_order)
		pick = 0;
	else if (!chance(v, f->keep))
		pick = n - 1;
	else
		pick = chance(v, f->newest) ? 0 : (size_t)vdisk_below(v, n);
	v->stats.blocks_kept += pick < n - 1;
	v->stats.blocks_lost += pick == n - 1;
	if (n > 1 && chance(v, f->spoilt)) {
		v->stats.blocks_spoilt++;
		b = vdisk_block_new();
		memset(b->data, (int)vdisk_below(v, 256), VDISK_BLOCK);
		return b;
	}
	if (n == 1 || !chance(v, f->torn))
		return vdisk_block_ref(all[pick]);
	v->stats.blocks_torn++;
	b = vdisk_block_new();
	for (size_t k = 0; k < SECTORS; k++) {
		const struct block *from = all[chance(v, 50) ? pick : (size_t)vdisk_below(v, n)];

		if (from)
			memcpy(b->data + k * VDISK_SECTOR, from->data + k * VDISK_SECTOR, VDISK_SECTOR);
		else
			memset(b->data + k * VDISK_SECTOR, 0, VDISK_SECTOR);
	}
	return b;
}

/* The size is written apart from the content, and may lag behind anywhere on the way. */
static uint64_t
surviving_size(struct vdisk *v, const struct inode *i)
{
	uint64_t from = i->size_medium, to = i->size;

	if (from == to)
		return to;
	switch (vdisk_below(v, 3)) {
	case 0:
		return from;
	case 1:
		return to;
	default:
		if (from > to)
			return from;
		from = from / VDISK_BLOCK * VDISK_BLOCK + vdisk_below(v, (to - from) / VDISK_BLOCK + 1) * VDISK_BLOCK;
		return from < i->size_medium ? i->size_medium : from;
	}
}

static void
settle_inode(struct vdisk *v, int file, const struct fate *f)
{
	struct inode *i = vdisk_own(v, file);
	uint64_t size = surviving_size(v, i);
	bool keeps_blocks = chance(v, 50);

	for (size_t k = 0; k < i->n_slots; k++) {
		struct slot *s = &i->slots[k];

		if (s->unsynced) {
			struct block *b = survivor(v, s, f);

			vdisk_block_unref(s->medium);
			s->medium = b;
			vdisk_versions_unref(s->unsynced);
			s->unsynced = NULL;
		}
		vdisk_block_unref(s->cache);
		s->cache = vdisk_block_ref(s->medium);
		s->is_allocated = s->is_allocated_medium || s->medium || (keeps_blocks && s->is_allocated);
		s->is_allocated_medium = s->is_allocated;
	}
	i->dirty_from = i->dirty_to = 0;
	vdisk_cut_off(i, size);
	i->size = i->size_medium = size;
}

void
vdisk_power_cut(struct vdisk *v, uint64_t seed)
{
	struct fate f;
	size_t n;

	vdisk_seed(v, seed);
	f = draw_fate(v);
	n = chance(v, 30) ? v->n_changes : chance(v, 30) ? 0 : (size_t)vdisk_below(v, v->n_changes + 1);
	v->stats.changes_lost += v->n_changes - n;
	for (size_t k = 0; k < n; k++)
		vdisk_apply(&v->durable, &v->changes[k]);
	v->n_changes = 0;
	vdisk_names_copy(&v->now, &v->durable);
	vdisk_process_crash(v);
	for (size_t file = 0; file < v->n_inodes; file++)
		if (v->inodes[file])
			settle_inode(v, (int)file, &f);
}

void
vdisk_process_crash(struct vdisk *v)
{
	if (v->n_inodes > 0)
		memset(v->held, 0, v->n_inodes * sizeof(*v->held));
	vdisk_collect(v);
}

void
vdisk_sync_fail(struct vdisk *v, int file)
{
	struct inode *i = vdisk_own(v, file);
	struct fate f = { .keep = chance(v, 50) ? 0 : 50, .newest = 100, .torn = chance(v, 20) ? 30 : 0 };

	for (size_t k = i->dirty_from; k < i->dirty_to && k < i->n_slots; k++) {
		struct slot *s = &i->slots[k];
		struct block *b;

		if (!s->unsynced)
			continue;
		b = survivor(v, s, &f);
		vdisk_block_unref(s->medium);
		s->medium = b;
		vdisk_versions_unref(s->unsynced);
		s->unsynced = NULL;
	}
	i->dirty_from = i->dirty_to = 0;
}

void
vdisk_evict(struct vdisk *v)
{
	for (size_t file = 0; file < v->n_inodes; file++) {
		struct inode *i;

		if (!v->inodes[file])
			continue;
		i = vdisk_own(v, (int)file);
		for (size_t k = 0; k < i->n_slots; k++) {
			struct slot *s = &i->slots[k];

			if (s->unsynced || s->cache == s->medium)
				continue;
			vdisk_block_unref(s->cache);
			s->cache = vdisk_block_ref(s->medium);
		}
	}
}

bool
vdisk_damage(struct vdisk *v, int file, uint64_t seed)
{
	struct inode *i = vdisk_own(v, file);
	size_t n = 0, pick, at;
	struct slot *s;
	struct block *b;

	vdisk_seed(v, seed);
	for (size_t k = 0; k < i->n_slots; k++)
		n += i->slots[k].medium && !i->slots[k].unsynced;
	if (n == 0)
		return false;
	pick = (size_t)vdisk_below(v, n);
	for (s = i->slots;; s++)
		if (s->medium && !s->unsynced && pick-- == 0)
			break;
	b = vdisk_block_new();
	memcpy(b->data, s->medium->data, VDISK_BLOCK);
	at = (size_t)vdisk_below(v, SECTORS) * VDISK_SECTOR;
	for (size_t k = 0; k < VDISK_SECTOR; k++)
		b->data[at + k] = (uint8_t)vdisk_random(v);
	vdisk_block_unref(s->medium);
	vdisk_block_unref(s->cache);
	s->medium = b;
	s->cache = vdisk_block_ref(b);
	return true;
}
