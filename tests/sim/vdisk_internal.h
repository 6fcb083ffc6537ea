/* vdisk_internal: what the parts of vdisk share. */
#ifndef VDISK_INTERNAL_H
#define VDISK_INTERNAL_H

#include "vdisk.h"

/* Blocks and versions never change once they are made, so clones share them. NULL is a block of zeros. */
struct block {
	unsigned refs;
	struct block *next; /* in the list of free ones */
	uint8_t data[VDISK_BLOCK];
};

/* One write of a block that no sync has followed. */
struct version {
	unsigned refs;
	uint64_t order; /* over the whole disk */
	struct block *block;
	struct version *older;
};

struct slot {
	struct block *cache, *medium;
	struct version *unsynced; /* newest first; the first is what the cache holds. NULL: clean */
	bool is_allocated, is_allocated_medium;
};

struct inode {
	unsigned refs;
	uint64_t size, size_medium;
	struct slot *slots;
	size_t n_slots, cap_slots;
	size_t dirty_from, dirty_to; /* no slot outside is dirty */
};

struct name {
	char text[VDISK_NAME_MAX];
	int file;
};

/* from empty: made; to empty: removed. */
struct change {
	char from[VDISK_NAME_MAX], to[VDISK_NAME_MAX];
	int file;
};

struct names {
	struct name *all;
	size_t n, cap;
};

struct vdisk {
	struct inode **inodes; /* NULL: free number */
	unsigned *held;
	size_t n_inodes;
	struct names now, durable;
	struct change *changes; /* from durable to now */
	size_t n_changes, cap_changes;
	uint64_t limit, order, stamp, rng;
	struct vdisk_stats stats;
};

uint64_t vdisk_random(struct vdisk *v);
uint64_t vdisk_below(struct vdisk *v, uint64_t bound);

struct block *vdisk_block_new(void); /* content undefined */
struct block *vdisk_block_ref(struct block *b);
void vdisk_block_unref(struct block *b);
void vdisk_versions_unref(struct version *n);
/* Its blocks may be changed: nobody else has it. */
struct inode *vdisk_own(struct vdisk *v, int file);
void vdisk_inode_unref(struct inode *i);
/* Blocks behind len go, and what is in the last one behind it. Nothing is dirty by that. */
void vdisk_cut_off(struct inode *i, uint64_t len);

void vdisk_names_copy(struct names *to, const struct names *from);
void vdisk_apply(struct names *names, const struct change *c);
/* Files that no name, no change and no process has. */
void vdisk_collect(struct vdisk *v);

#endif
