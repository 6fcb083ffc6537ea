/*
 * vdisk: one machine's disk, as a file system on a block device treats it.
 * Each file has its content as processes see it (the page cache), its content
 * on the medium, and every version of a block that was written since that
 * file's last successful sync. Folder operations wait in one ordered list. A
 * crash of a process loses nothing; a power cut keeps, of each block, any
 * version since the last sync, torn at sectors if so drawn, or nothing that
 * makes sense, independently of any other block, and of the folder operations
 * a prefix.
 *
 * Knows no door and no world: tests/sim/sim_disk.c is the door on it. Names
 * are whole paths below the machine's folder. Everything that is drawn comes
 * from the seed that is handed in. Cheap to clone: content is shared until it
 * is written.
 */
#ifndef VDISK_H
#define VDISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define VDISK_BLOCK 4096
#define VDISK_SECTOR 512
#define VDISK_NAME_MAX 96

struct vdisk;

struct vdisk *vdisk_new(void);
void vdisk_free(struct vdisk *v);
/* The same disk once more; nothing is open in it. */
struct vdisk *vdisk_clone(const struct vdisk *v);

/* Bytes that all files may take together; 0: as many as they like. What has blocks keeps them. */
void vdisk_set_limit(struct vdisk *v, uint64_t bytes);
uint64_t vdisk_limit(const struct vdisk *v);
/* Bytes of all blocks that are taken by files whose name begins with prefix. */
uint64_t vdisk_used(const struct vdisk *v, const char *prefix);
/* Rises with everything that changes the disk. */
uint64_t vdisk_stamp(const struct vdisk *v);
/* For the draws of failed calls. */
void vdisk_seed(struct vdisk *v, uint64_t seed);

/* ------------------------------------------------------------------ folder -- */

/* The file's number, or -ENOENT. */
int vdisk_find(struct vdisk *v, const char *name, bool create);
/* An open file keeps its content when its name goes. */
void vdisk_hold(struct vdisk *v, int file);
void vdisk_release(struct vdisk *v, int file);
int vdisk_rename(struct vdisk *v, const char *from, const char *to);
int vdisk_remove(struct vdisk *v, const char *name);
/* Everything done so far in this folder ("" or "NAME/") is durable, and what was done before it. */
void vdisk_sync_folder(struct vdisk *v, const char *prefix);
/* The bytewise smallest name behind `last` that begins with prefix and has no slash behind that; NULL: none. */
const char *vdisk_next(const struct vdisk *v, const char *prefix, const char *last);

/* ------------------------------------------------------------------- files -- */

uint64_t vdisk_size(const struct vdisk *v, int file);
size_t vdisk_read(const struct vdisk *v, int file, void *buf, size_t len, uint64_t offset);
/* 0, or -ENOSPC: the blocks for which there was room are written. */
int vdisk_write(struct vdisk *v, int file, const void *buf, size_t len, uint64_t offset);
/* 0, or -ENOSPC: as many blocks as there was room for are taken, the size stays. */
int vdisk_allocate(struct vdisk *v, int file, uint64_t len);
void vdisk_truncate(struct vdisk *v, int file, uint64_t len);
/* Content and size are on the medium. */
void vdisk_sync(struct vdisk *v, int file);
/*
 * As Linux does it: what was dirty counts as clean from now on, though of each
 * block only what is drawn is on the medium; the page cache goes on reading
 * well, and the next sync has nothing to do for it.
 */
void vdisk_sync_fail(struct vdisk *v, int file);

/* ----------------------------------------------------------------- crashes -- */

/* What nobody has open or named any more is gone. */
void vdisk_process_crash(struct vdisk *v);
/* Clean pages leave the cache, as memory pressure does it: a failed sync shows. */
void vdisk_evict(struct vdisk *v);
void vdisk_power_cut(struct vdisk *v, uint64_t seed);
/* A sector that was synced is another one. False: there is none in this file. */
bool vdisk_damage(struct vdisk *v, int file, uint64_t seed);

/* Counts since vdisk_new, of this disk and those it was cloned from. */
struct vdisk_stats {
	uint64_t blocks_lost, blocks_torn, blocks_spoilt, blocks_kept; /* by power cuts, of what was not synced */
	uint64_t changes_lost;                          /* folder operations */
};
struct vdisk_stats vdisk_stats(const struct vdisk *v);

#endif
