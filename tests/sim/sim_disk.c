/*
 * The disk door in memory. Folders outlive the daemons that use them: a crash
 * of a process loses nothing that was written.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "sim_doors.h"

#define NAME_MAX_LEN 96

struct stored {
	char name[NAME_MAX_LEN]; /* whole: folder and file */
	uint8_t *data;
	size_t len;
};

static struct stored *files;
static size_t n_files, cap_files;

struct disk {
	char path[NAME_MAX_LEN];
};

struct disk_file {
	size_t at; /* in files */
};

void
sim_disk_reset(void)
{
	for (size_t i = 0; i < n_files; i++)
		free(files[i].data);
	n_files = 0;
}

static struct stored *
find(const struct disk *d, const char *name, bool create)
{
	char whole[NAME_MAX_LEN];

	snprintf(whole, sizeof(whole), "%.60s/%.30s", d->path, name);
	for (size_t i = 0; i < n_files; i++)
		if (strcmp(files[i].name, whole) == 0)
			return &files[i];
	if (!create)
		return NULL;
	if (n_files == cap_files) {
		cap_files = cap_files ? 2 * cap_files : 64;
		files = realloc(files, cap_files * sizeof(*files));
		if (!files)
			abort();
	}
	files[n_files] = (struct stored){ .data = NULL };
	memcpy(files[n_files].name, whole, sizeof(whole));
	return &files[n_files++];
}

static void
resize(struct stored *f, size_t len)
{
	if (len > f->len) {
		f->data = realloc(f->data, len);
		if (!f->data)
			abort();
		memset(f->data + f->len, 0, len - f->len);
	}
	f->len = len;
}

int
disk_open(const char *path, bool make, struct disk **ret)
{
	(void)make;
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		abort();
	snprintf((*ret)->path, sizeof((*ret)->path), "%s", path);
	return 0;
}

void
disk_close(struct disk *d)
{
	free(d);
}

int
disk_lock(struct disk *d, const char *name)
{
	(void)d, (void)name;
	return 0;
}

int
disk_mkdir(struct disk *d, const char *name)
{
	(void)d, (void)name;
	return 0;
}

int
disk_file_open(struct disk *d, const char *name, bool create, struct disk_file **ret)
{
	struct stored *f = find(d, name, create);

	if (!f)
		return -ENOENT;
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		abort();
	(*ret)->at = (size_t)(f - files);
	return 0;
}

void
disk_file_close(struct disk_file *f)
{
	free(f);
}

ssize_t
disk_file_size(struct disk_file *f)
{
	return (ssize_t)files[f->at].len;
}

ssize_t
disk_pread(struct disk_file *f, void *buf, size_t len, uint64_t offset)
{
	struct stored *st = &files[f->at];

	if (offset >= st->len)
		return 0;
	if (len > st->len - offset)
		len = st->len - offset;
	memcpy(buf, st->data + offset, len);
	return (ssize_t)len;
}

ssize_t
disk_pwrite(struct disk_file *f, const void *buf, size_t len, uint64_t offset)
{
	struct stored *st = &files[f->at];

	if (offset + len > st->len)
		resize(st, offset + len);
	memcpy(st->data + offset, buf, len);
	return (ssize_t)len;
}

int
disk_truncate(struct disk_file *f, uint64_t len)
{
	resize(&files[f->at], len);
	return 0;
}

int
disk_sync(struct disk_file *f)
{
	(void)f;
	return 0;
}

int
disk_sync_folder(struct disk *d, const char *name)
{
	(void)d, (void)name;
	return 0;
}

int
disk_allocate(struct disk_file *f, uint64_t len)
{
	if (len > files[f->at].len)
		resize(&files[f->at], len);
	return 0;
}

int
disk_rename(struct disk *d, const char *from, const char *to)
{
	struct stored *f = find(d, from, false), *old = find(d, to, false);

	if (!f)
		return -ENOENT;
	if (old)
		old->name[0] = '\0';
	snprintf(f->name, sizeof(f->name), "%.60s/%.30s", d->path, to);
	return 0;
}

bool
disk_is_remote(struct disk *d)
{
	(void)d;
	return false;
}

int
disk_replace(struct disk *d, const char *name, const void *buf, size_t len)
{
	struct stored *f = find(d, name, true);

	resize(f, len);
	memcpy(f->data, buf, len);
	return 0;
}

ssize_t
disk_slurp(struct disk *d, const char *name, size_t max, char **ret)
{
	struct stored *f = find(d, name, false);

	if (!f)
		return -ENOENT;
	if (f->len > max)
		return -EFBIG;
	*ret = calloc(1, f->len + 1);
	if (!*ret)
		abort();
	if (f->len > 0)
		memcpy(*ret, f->data, f->len);
	return (ssize_t)f->len;
}

int
disk_remove(struct disk *d, const char *name)
{
	struct stored *f = find(d, name, false);

	if (!f)
		return -ENOENT;
	f->name[0] = '\0';
	return 0;
}

int
disk_list(struct disk *d, const char *name, int (*fn)(void *arg, const char *file), void *arg)
{
	char prefix[NAME_MAX_LEN];
	size_t len = (size_t)snprintf(prefix, sizeof(prefix), "%.60s/%.30s%s", d->path, name ? name : "", name ? "/" : "");
	const char *last = "";

	/* In bytewise order, by picking the next one again and again. */
	for (;;) {
		const char *next = NULL;
		int r;

		for (size_t i = 0; i < n_files; i++) {
			const char *rest = files[i].name + len;

			if (strncmp(files[i].name, prefix, len) == 0 && !strchr(rest, '/') && strcmp(rest, last) > 0 &&
			    (!next || strcmp(rest, next) < 0))
				next = rest;
		}
		if (!next)
			return 0;
		last = next;
		r = fn(arg, next);
		if (r != 0)
			return r;
	}
}

ssize_t
disk_slurp_path(const char *path, size_t max, char **ret)
{
	(void)path, (void)max, (void)ret;
	return -ENOENT;
}

int
disk_list_path(const char *folder, int (*fn)(void *arg, const char *file), void *arg)
{
	(void)folder, (void)fn, (void)arg;
	return -ENOENT;
}
