/*
 * disk: one of the four doors. Files below one folder. Everything here may
 * block and belongs into a task or the start of the daemon. Names are paths
 * relative to the folder, without `..`, and never follow a symbolic link
 * (-ELOOP, -ENOTDIR). Results are 0 or a count, or a negative errno. Different
 * threads may use different files of one folder.
 */
#ifndef DISK_H
#define DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct disk;      /* a folder */
struct disk_file; /* an open file in it */

/*
 * Open a folder, making it (0700; its parents must exist) if `make`. Refuses
 * one that another user owns or that others may enter (-EPERM).
 */
int disk_open(const char *path, bool make, struct disk **ret);
void disk_close(struct disk *d);

/*
 * Take the folder's lock (flock on `name`) for as long as d is open.
 * -EWOULDBLOCK if another process holds it.
 */
int disk_lock(struct disk *d, const char *name);

/* Make a folder (0700) below; an existing one is fine. Synced. */
int disk_mkdir(struct disk *d, const char *name);

/* Open for reading and writing, 0600. With create, make it if missing (not synced: disk_sync_folder). */
int disk_file_open(struct disk *d, const char *name, bool create, struct disk_file **ret);
void disk_file_close(struct disk_file *f);
ssize_t disk_file_size(struct disk_file *f);
/* All of len, or a negative errno; reading stops early only at the end of the file. */
ssize_t disk_pread(struct disk_file *f, void *buf, size_t len, uint64_t offset);
ssize_t disk_pwrite(struct disk_file *f, const void *buf, size_t len, uint64_t offset);
int disk_truncate(struct disk_file *f, uint64_t len);
int disk_sync(struct disk_file *f); /* fdatasync */
/* Have blocks for the first len bytes, which makes the file at least so long; new ones read as zero. -ENOSPC. */
int disk_allocate(struct disk_file *f, uint64_t len);
/* Replaces what has the new name. Not synced: disk_sync_folder. */
int disk_rename(struct disk *d, const char *from, const char *to);
/* Is the folder on a file system of another machine (NFS, SMB, 9P, ...)? */
bool disk_is_remote(struct disk *d);
int disk_sync_folder(struct disk *d, const char *name); /* NULL: the folder itself */

/*
 * Replace `name` whole and synced: write `name.tmp`, sync, rename, sync the
 * folder. A crash leaves the old or the new content.
 */
int disk_replace(struct disk *d, const char *name, const void *buf, size_t len);

/*
 * Read a small file whole into a malloc'ed, NUL-terminated buffer. Bytes;
 * -ENOENT; -EFBIG above max.
 */
ssize_t disk_slurp(struct disk *d, const char *name, size_t max, char **ret);

/*
 * The same for what nobody else may know; with d NULL for a file anywhere, as
 * disk_slurp_path. -EPERM if it is neither ours nor root's, or if others may
 * read it, or write to it; elsewhere than in the folder its group may read it.
 */
ssize_t disk_slurp_secret(struct disk *d, const char *name, size_t max, char **ret);

int disk_remove(struct disk *d, const char *name);

/*
 * Call fn for every regular file in the folder `name` (NULL: itself), in
 * bytewise order, until it returns non-zero. 0, what fn returned, or a
 * negative errno.
 */
int disk_list(struct disk *d, const char *name, int (*fn)(void *arg, const char *file), void *arg);

/* For files anywhere (/proc and configuration), where links are the administrator's and are followed: as disk_slurp, disk_list. */
ssize_t disk_slurp_path(const char *path, size_t max, char **ret);
int disk_list_path(const char *folder, int (*fn)(void *arg, const char *file), void *arg);

#endif
