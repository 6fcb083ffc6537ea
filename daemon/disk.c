/*
 * disk: see disk.h. Every name is walked folder by folder with O_NOFOLLOW, so
 * that no symbolic link is followed anywhere below the folder that was opened.
 */
#include "disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "remotefs.h"

#define SLURP_STEP 4096

struct disk {
	int fd;
	int lock; /* -1: not locked */
};

struct disk_file {
	int fd;
};

/* ------------------------------------------------------------------- names */

static int
open_at(int dir, const char *name, int flags)
{
	int fd;

	do
		fd = openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

/* A descriptor of the same folder, to be closed on its own. */
static int
open_again(int dir)
{
	return open_at(dir, ".", O_RDONLY | O_DIRECTORY);
}

/* Open the folder that `name` is in; *ret_last points to its last component. fd or a negative errno. */
static int
open_parent(const struct disk *d, const char *name, const char **ret_last)
{
	int dir = open_again(d->fd);

	while (dir >= 0) {
		size_t len = strcspn(name, "/");
		char part[NAME_MAX + 1];
		int next;

		if (len == 0 || len > NAME_MAX || strcmp(name, "..") == 0 || strncmp(name, "../", 3) == 0) {
			close(dir);
			return len > NAME_MAX ? -ENAMETOOLONG : -EINVAL;
		}
		if (name[len] == '\0') {
			*ret_last = name;
			return dir;
		}
		memcpy(part, name, len);
		part[len] = '\0';
		name += len + 1;
		next = open_at(dir, part, O_RDONLY | O_DIRECTORY);
		close(dir);
		dir = next;
	}
	return dir;
}

/* Open `name` wherever it is below d. */
static int
open_below(const struct disk *d, const char *name, int flags)
{
	const char *last;
	int dir = open_parent(d, name, &last), fd;

	if (dir < 0)
		return dir;
	fd = open_at(dir, last, flags);
	close(dir);
	return fd;
}

static int
open_folder(const struct disk *d, const char *name)
{
	return name ? open_below(d, name, O_RDONLY | O_DIRECTORY) : open_again(d->fd);
}

/* Only regular files: a FIFO or a device in their place would block, or worse. */
static int
open_regular(const struct disk *d, const char *name, int flags)
{
	int fd = open_below(d, name, flags | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

static int
result(int r)
{
	return r < 0 ? -errno : 0;
}

static int
sync_and_close(int fd)
{
	int r;

	if (fd < 0)
		return fd;
	r = result(fsync(fd));
	close(fd);
	return r;
}

/* ------------------------------------------------------------------ folder */

/* Make the folder itself; its entry in the parent is synced. */
static int
make_folder(const char *path)
{
	char *parent;
	size_t len = strlen(path);
	int fd;

	if (mkdir(path, 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	while (len > 0 && path[len - 1] != '/')
		len--;
	parent = len > 0 ? strndup(path, len) : strdup(".");
	if (!parent)
		return -ENOMEM;
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(parent);
	return sync_and_close(fd < 0 ? -errno : fd);
}

int
disk_open(const char *path, bool make, struct disk **ret)
{
	size_t len = strlen(path);
	struct disk *d = NULL;
	struct stat st;
	char *copy;
	int r = 0;

	/* A slash at the end would follow a link. */
	while (len > 1 && path[len - 1] == '/')
		len--;
	copy = strndup(path, len);
	d = calloc(1, sizeof(*d));
	if (!copy || !d) {
		r = -ENOMEM;
		goto fail;
	}
	d->fd = d->lock = -1;
	if (make)
		r = make_folder(copy);
	if (r < 0)
		goto fail;
	r = open_at(AT_FDCWD, copy, O_RDONLY | O_DIRECTORY);
	if (r < 0)
		goto fail;
	d->fd = r;
	r = fstat(d->fd, &st) < 0 ? -errno : st.st_uid != geteuid() || (st.st_mode & 077) ? -EPERM : 0;
	if (r < 0)
		goto fail;
	free(copy);
	*ret = d;
	return 0;
fail:
	free(copy);
	disk_close(d);
	return r;
}

void
disk_close(struct disk *d)
{
	if (!d)
		return;
	if (d->lock >= 0)
		close(d->lock);
	if (d->fd >= 0)
		close(d->fd);
	free(d);
}

int
disk_lock(struct disk *d, const char *name)
{
	int fd = open_regular(d, name, O_RDWR | O_CREAT);

	if (fd < 0)
		return fd;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	if (d->lock >= 0)
		close(d->lock);
	d->lock = fd;
	return 0;
}

int
disk_mkdir(struct disk *d, const char *name)
{
	const char *last;
	int dir = open_parent(d, name, &last), fd, r;

	if (dir < 0)
		return dir;
	if (mkdirat(dir, last, 0700) < 0 && errno != EEXIST) {
		r = -errno;
		close(dir);
		return r;
	}
	/* What exists may be something else. */
	fd = open_at(dir, last, O_RDONLY | O_DIRECTORY);
	if (fd < 0) {
		close(dir);
		return fd;
	}
	close(fd);
	return sync_and_close(dir);
}

int
disk_sync_folder(struct disk *d, const char *name)
{
	return sync_and_close(open_folder(d, name));
}

/* ------------------------------------------------------------------- files */

int
disk_file_open(struct disk *d, const char *name, bool create, struct disk_file **ret)
{
	struct disk_file *f = malloc(sizeof(*f));
	int fd;

	if (!f)
		return -ENOMEM;
	fd = open_regular(d, name, O_RDWR | (create ? O_CREAT : 0));
	if (fd < 0) {
		free(f);
		return fd;
	}
	f->fd = fd;
	*ret = f;
	return 0;
}

void
disk_file_close(struct disk_file *f)
{
	if (!f)
		return;
	close(f->fd);
	free(f);
}

ssize_t
disk_file_size(struct disk_file *f)
{
	struct stat st;

	return fstat(f->fd, &st) < 0 ? -errno : (ssize_t)st.st_size;
}

ssize_t
disk_pread(struct disk_file *f, void *buf, size_t len, uint64_t offset)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = pread(f->fd, (char *)buf + have, len - have, (off_t)(offset + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

static ssize_t
write_all(int fd, const void *buf, size_t len, uint64_t offset)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = pwrite(fd, (const char *)buf + have, len - have, (off_t)(offset + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

ssize_t
disk_pwrite(struct disk_file *f, const void *buf, size_t len, uint64_t offset)
{
	return write_all(f->fd, buf, len, offset);
}

int
disk_truncate(struct disk_file *f, uint64_t len)
{
	return result(ftruncate(f->fd, (off_t)len));
}

int
disk_sync(struct disk_file *f)
{
	return result(fdatasync(f->fd));
}

int
disk_allocate(struct disk_file *f, uint64_t len)
{
	int r;

	do
		r = fallocate(f->fd, 0, 0, (off_t)len);
	while (r < 0 && errno == EINTR);
	if (r == 0 || errno != EOPNOTSUPP)
		return result(r);
	/* Where there is no fallocate, posix_fallocate writes a byte into each block. */
	return -posix_fallocate(f->fd, 0, (off_t)len);
}

/* A whole, synced file `name` in dir. */
static int
write_new(int dir, const char *name, const void *buf, size_t len)
{
	ssize_t n;
	int fd, r;

	/* What a crash left may be anything: start from nothing. */
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = open_at(dir, name, O_RDWR | O_CREAT | O_EXCL);
	if (fd < 0)
		return fd;
	n = write_all(fd, buf, len, 0);
	r = n < 0 ? (int)n : 0;
	if (r == 0)
		r = result(fdatasync(fd));
	close(fd);
	return r;
}

int
disk_replace(struct disk *d, const char *name, const void *buf, size_t len)
{
	char tmp[NAME_MAX + 1];
	const char *last;
	int dir = open_parent(d, name, &last), r;

	if (dir < 0)
		return dir;
	if (snprintf(tmp, sizeof(tmp), "%s.tmp", last) >= (int)sizeof(tmp)) {
		close(dir);
		return -ENAMETOOLONG;
	}
	r = write_new(dir, tmp, buf, len);
	if (r == 0)
		r = result(renameat(dir, tmp, dir, last));
	if (r == 0)
		return sync_and_close(dir);
	unlinkat(dir, tmp, 0);
	close(dir);
	return r;
}

int
disk_remove(struct disk *d, const char *name)
{
	const char *last;
	int dir = open_parent(d, name, &last), r;

	if (dir < 0)
		return dir;
	r = result(unlinkat(dir, last, 0));
	close(dir);
	return r;
}

int
disk_rename(struct disk *d, const char *from, const char *to)
{
	const char *last_from, *last_to;
	int dir_from = open_parent(d, from, &last_from), dir_to, r;

	if (dir_from < 0)
		return dir_from;
	dir_to = open_parent(d, to, &last_to);
	if (dir_to < 0) {
		close(dir_from);
		return dir_to;
	}
	r = result(renameat(dir_from, last_from, dir_to, last_to));
	close(dir_from);
	close(dir_to);
	return r;
}

bool
disk_is_remote(struct disk *d)
{
	struct statfs st;

	return fstatfs(d->fd, &st) == 0 && remotefs_is((uint32_t)st.f_type);
}

/* Sizes are not believed: files in /proc have none. Closes fd. */
static ssize_t
slurp(int fd, size_t max, char **ret)
{
	size_t have = 0, room = 0;
	char *buf = NULL;
	ssize_t n;

	for (;;) {
		if (have == room) {
			char *more;

			if (have > max) {
				n = -EFBIG;
				break;
			}
			room = room == 0 ? SLURP_STEP : 2 * room;
			if (room > max)
				room = max + 1; /* one more, to see that there is more */
			more = realloc(buf, room + 1);
			if (!more) {
				n = -ENOMEM;
				break;
			}
			buf = more;
		}
		n = read(fd, buf + have, room - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			n = -errno;
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	close(fd);
	if (n == 0 && have > max)
		n = -EFBIG;
	if (n < 0) {
		free(buf);
		return n;
	}
	buf[have] = '\0';
	*ret = buf;
	return (ssize_t)have;
}

ssize_t
disk_slurp(struct disk *d, const char *name, size_t max, char **ret)
{
	int fd = open_regular(d, name, O_RDONLY);

	return fd < 0 ? fd : slurp(fd, max, ret);
}

ssize_t
disk_slurp_path(const char *path, size_t max, char **ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : slurp(fd, max, ret);
}

ssize_t
disk_slurp_secret(struct disk *d, const char *name, size_t max, char **ret)
{
	mode_t others = d ? 077 : 037;
	struct stat st;
	int fd, r;

	if (d) {
		fd = open_regular(d, name, O_RDONLY);
	} else {
		fd = open(name, O_RDONLY | O_CLOEXEC);
		fd = fd < 0 ? -errno : fd;
	}
	if (fd < 0)
		return fd;
	r = fstat(fd, &st) < 0 ? -errno : (st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & others) ? -EPERM : 0;
	if (r < 0) {
		close(fd);
		return r;
	}
	return slurp(fd, max, ret);
}

/* -------------------------------------------------------------------- list */

static int
by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Every regular file's name, malloc'ed, in no order. */
static int
read_names(DIR *dir, int stat_flags, char ***ret_names, size_t *ret_n)
{
	size_t room = 0;
	struct dirent *e;

	while ((errno = 0, e = readdir(dir))) {
		struct stat st;

		if (fstatat(dirfd(dir), e->d_name, &st, stat_flags) < 0 || !S_ISREG(st.st_mode))
			continue;
		if (*ret_n == room) {
			char **more;

			room = room == 0 ? 64 : 2 * room;
			more = realloc(*ret_names, room * sizeof(*more));
			if (!more)
				return -ENOMEM;
			*ret_names = more;
		}
		(*ret_names)[*ret_n] = strdup(e->d_name);
		if (!(*ret_names)[*ret_n])
			return -ENOMEM;
		++*ret_n;
	}
	return -errno;
}

/* Takes fd. */
static int
list_folder(int fd, int stat_flags, int (*fn)(void *arg, const char *file), void *arg)
{
	char **names = NULL;
	size_t n = 0;
	DIR *dir;
	int r;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		r = -errno;
		close(fd);
		return r;
	}
	r = read_names(dir, stat_flags, &names, &n);
	closedir(dir);
	if (r == 0 && n > 0)
		qsort(names, n, sizeof(*names), by_bytes);
	for (size_t i = 0; i < n; i++) {
		if (r == 0)
			r = fn(arg, names[i]);
		free(names[i]);
	}
	free(names);
	return r;
}

int
disk_list(struct disk *d, const char *name, int (*fn)(void *arg, const char *file), void *arg)
{
	return list_folder(open_folder(d, name), AT_SYMLINK_NOFOLLOW, fn, arg);
}

int
disk_list_path(const char *folder, int (*fn)(void *arg, const char *file), void *arg)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return list_folder(fd < 0 ? -errno : fd, 0, fn, arg);
}
