#include "fake_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define SECTOR 512
#define BLOCK 4096
#define FILES_MAX 256
#define NAME_MAX_LEN 64

struct fake_disk fake_disk;

/* What a name stands for; lives as long as a name or an open file does. */
struct inode {
	unsigned refs;
	uint8_t *now, *lasting; /* room bytes each */
	uint8_t *dirty;         /* a flag a sector */
	size_t len, lasting_len, room;
};

struct entry {
	char name[NAME_MAX_LEN];
	struct inode *inode;
};

struct disk {
	/* By name, in order; and as the last sync of the folder left it. */
	struct entry now[FILES_MAX], lasting[FILES_MAX];
	size_t n_now, n_lasting;
};

struct disk_file {
	struct inode *inode;
};

/* A test may let an allocation fail: one of the store, not of the disk. */
static void *
make(size_t size)
{
	void *p = calloc(1, size);

	if (!p)
		p = calloc(1, size);
	if (!p)
		abort();
	return p;
}

static uint8_t *
resize(uint8_t *p, size_t size)
{
	uint8_t *q = realloc(p, size);

	if (!q)
		q = realloc(p, size);
	if (!q)
		abort();
	return q;
}

static uint64_t
draw(uint64_t below)
{
	fake_disk.random ^= fake_disk.random << 13;
	fake_disk.random ^= fake_disk.random >> 7;
	fake_disk.random ^= fake_disk.random << 17;
	return (fake_disk.random >> 11) % below;
}

/* ------------------------------------------------------------------ inodes -- */

static void
unref(struct inode *i)
{
	if (--i->refs > 0)
		return;
	free(i->now);
	free(i->lasting);
	free(i->dirty);
	free(i);
}

static struct inode *
ref(struct inode *i)
{
	i->refs++;
	return i;
}

static void
grow(struct inode *i, size_t len)
{
	size_t room = (len + SECTOR - 1) / SECTOR * SECTOR;

	if (room > i->room) {
		i->now = resize(i->now, room);
		i->lasting = resize(i->lasting, room);
		i->dirty = resize(i->dirty, room / SECTOR);
		memset(i->now + i->room, 0, room - i->room);
		memset(i->lasting + i->room, 0, room - i->room);
		memset(i->dirty + i->room / SECTOR, 0, (room - i->room) / SECTOR);
		i->room = room;
	}
	if (len > i->len)
		i->len = len;
}

/* A block that was being written may end as anything. */
static void
spoil(struct inode *i)
{
	for (size_t b = 0; b < i->room / SECTOR; b += BLOCK / SECTOR) {
		size_t n = i->room / SECTOR - b < BLOCK / SECTOR ? i->room / SECTOR - b : BLOCK / SECTOR;

		if (!memchr(i->dirty + b, 1, n) || draw(8) > 0)
			continue;
		memset(i->lasting + b * SECTOR, 0xa5, n * SECTOR);
		memset(i->dirty + b, 0, n);
	}
}

static void
settle(struct inode *i, unsigned keep)
{
	if (keep > 0 && keep < 256)
		spoil(i);
	for (size_t s = 0; s < i->room / SECTOR; s++)
		if (i->dirty[s] && draw(256) < keep)
			memcpy(i->lasting + s * SECTOR, i->now + s * SECTOR, SECTOR);
	if (draw(256) < keep)
		i->lasting_len = i->len;
	i->len = i->lasting_len;
	/* What is behind the end is zero when the file grows again. */
	if (i->len < i->room)
		memset(i->lasting + i->len, 0, i->room - i->len);
	if (i->room == 0)
		return;
	memcpy(i->now, i->lasting, i->room);
	memset(i->dirty, 0, i->room / SECTOR);
}

/* ------------------------------------------------------------------ folder -- */

static struct entry *
find(struct disk *d, const char *name)
{
	for (size_t i = 0; i < d->n_now; i++)
		if (strcmp(d->now[i].name, name) == 0)
			return &d->now[i];
	return NULL;
}

static void
drop(struct disk *d, struct entry *e)
{
	unref(e->inode);
	memmove(e, e + 1, (size_t)(d->now + d->n_now - (e + 1)) * sizeof(*e));
	d->n_now--;
}

static struct entry *
add(struct disk *d, const char *name, struct inode *i)
{
	size_t at = 0;

	if (d->n_now == FILES_MAX || strlen(name) >= NAME_MAX_LEN)
		abort();
	while (at < d->n_now && strcmp(d->now[at].name, name) < 0)
		at++;
	memmove(d->now + at + 1, d->now + at, (d->n_now - at) * sizeof(d->now[0]));
	snprintf(d->now[at].name, NAME_MAX_LEN, "%s", name);
	d->now[at].inode = i;
	d->n_now++;
	return &d->now[at];
}

static void
copy_folder(struct entry *to, size_t *n_to, const struct entry *from, size_t n_from)
{
	for (size_t i = 0; i < n_from; i++)
		ref(from[i].inode);
	for (size_t i = 0; i < *n_to; i++)
		unref(to[i].inode);
	if (n_from > 0)
		memcpy(to, from, n_from * sizeof(*to));
	*n_to = n_from;
}

void
fake_disk_new(uint64_t seed)
{
	fake_disk = (struct fake_disk){ .random = seed * 2654435761 + 88172645463325252, .capacity = UINT64_MAX };
	fake_disk.disk = make(sizeof(*fake_disk.disk));
}

void
fake_disk_free(void)
{
	fake_disk_other_free(fake_disk.disk);
}

void
fake_disk_power_failure(unsigned keep)
{
	struct disk *d = fake_disk.disk;

	/* The folder keeps all or nothing since its last sync: names are few, and the store syncs after each. */
	if (draw(256) < keep)
		copy_folder(d->lasting, &d->n_lasting, d->now, d->n_now);
	else
		copy_folder(d->now, &d->n_now, d->lasting, d->n_lasting);
	for (size_t i = 0; i < d->n_now; i++)
		settle(d->now[i].inode, keep);
}

uint64_t
fake_disk_used(void)
{
	uint64_t used = 0;

	for (size_t i = 0; i < fake_disk.disk->n_now; i++)
		used += fake_disk.disk->now[i].inode->len;
	return used;
}

uint8_t *
fake_disk_data(const char *name, size_t *ret_len)
{
	struct entry *e = find(fake_disk.disk, name);

	if (!e)
		return NULL;
	*ret_len = e->inode->len;
	return e->inode->now;
}

void
fake_disk_put(const char *name, const void *data, size_t len)
{
	struct entry *e = find(fake_disk.disk, name);
	struct inode *i;

	if (e)
		drop(fake_disk.disk, e);
	i = make(sizeof(*i));
	i->refs = 1;
	grow(i, len);
	if (len > 0)
		memcpy(i->now, data, len);
	settle(i, 0);
	i->len = i->lasting_len = len;
	if (len > 0) {
		memcpy(i->now, data, len);
		memcpy(i->lasting, data, len);
	}
	add(fake_disk.disk, name, i);
	copy_folder(fake_disk.disk->lasting, &fake_disk.disk->n_lasting, fake_disk.disk->now, fake_disk.disk->n_now);
}

struct disk *
fake_disk_other(void)
{
	return make(sizeof(struct disk));
}

void
fake_disk_other_free(struct disk *d)
{
	copy_folder(d->now, &d->n_now, NULL, 0);
	copy_folder(d->lasting, &d->n_lasting, NULL, 0);
	free(d);
}

/* -------------------------------------------------------------------- door -- */

/* Is it this call that fails? */
static bool
fails(unsigned *in)
{
	if (*in == 0 || --*in > 0)
		return false;
	if (fake_disk.again > 0) {
		fake_disk.again--;
		*in = 1;
	}
	return true;
}

static int
failure(void)
{
	return fake_disk.error ? fake_disk.error : -EIO;
}

int
disk_mkdir(struct disk *d, const char *name)
{
	(void)d, (void)name;
	return 0;
}

bool
disk_is_remote(struct disk *d)
{
	(void)d;
	return fake_disk.is_remote;
}

int
disk_file_open(struct disk *d, const char *name, bool create, struct disk_file **ret)
{
	struct entry *e = find(d, name);
	struct disk_file *f;
	struct inode *i;

	if (fails(&fake_disk.fail_open))
		return failure();
	if (!e && !create)
		return -ENOENT;
	if (!e) {
		i = make(sizeof(*i));
		i->refs = 1;
		e = add(d, name, i);
	}
	f = make(sizeof(*f));
	f->inode = ref(e->inode);
	*ret = f;
	return 0;
}

void
disk_file_close(struct disk_file *f)
{
	if (!f)
		return;
	unref(f->inode);
	free(f);
}

ssize_t
disk_file_size(struct disk_file *f)
{
	return fails(&fake_disk.fail_size) ? failure() : (ssize_t)f->inode->len;
}

ssize_t
disk_pread(struct disk_file *f, void *buf, size_t len, uint64_t offset)
{
	size_t n = offset < f->inode->len ? f->inode->len - (size_t)offset : 0;

	if (fails(&fake_disk.fail_read))
		return failure();
	if (fails(&fake_disk.short_read))
		len /= 2;
	if (n > len)
		n = len;
	if (n > 0)
		memcpy(buf, f->inode->now + offset, n);
	return (ssize_t)n;
}

static bool
has_space(const struct inode *i, uint64_t len)
{
	return len <= i->len || fake_disk_used() + (len - i->len) <= fake_disk.capacity;
}

static const char *
name_of(const struct entry *entries, size_t n, const struct inode *i)
{
	for (size_t k = 0; k < n; k++)
		if (entries[k].inode == i)
			return entries[k].name;
	return "";
}

ssize_t
disk_pwrite(struct disk_file *f, const void *buf, size_t len, uint64_t offset)
{
	struct inode *i = f->inode;

	struct disk *d = fake_disk.disk;

	fake_disk.writes++;
	if (strcmp(name_of(d->now, d->n_now, i), name_of(d->lasting, d->n_lasting, i)) != 0)
		fake_disk.early_writes++;
	if (fails(&fake_disk.fail_write))
		return failure();
	if (!has_space(i, offset + len))
		return -ENOSPC;
	grow(i, (size_t)(offset + len));
	memcpy(i->now + offset, buf, len);
	for (size_t s = (size_t)offset / SECTOR; s <= (offset + len - 1) / SECTOR; s++)
		i->dirty[s] = 1;
	return (ssize_t)len;
}

int
disk_truncate(struct disk_file *f, uint64_t len)
{
	(void)f, (void)len;
	return -ENOSYS;
}

int
disk_allocate(struct disk_file *f, uint64_t len)
{
	if (fake_disk.no_blocks > 0) {
		fake_disk.no_blocks--;
		return -ENOSPC;
	}
	if (!has_space(f->inode, len))
		return -ENOSPC;
	grow(f->inode, (size_t)len);
	return 0;
}

int
disk_sync(struct disk_file *f)
{
	struct inode *i = f->inode;

	fake_disk.syncs++;
	if (fails(&fake_disk.fail_sync)) {
		/* The pages are clean now, but on disk is what was there before. */
		memset(i->dirty, 0, i->room / SECTOR);
		return -EIO;
	}
	for (size_t s = 0; s < i->room / SECTOR; s++)
		if (i->dirty[s])
			memcpy(i->lasting + s * SECTOR, i->now + s * SECTOR, SECTOR);
	memset(i->dirty, 0, i->room / SECTOR);
	i->lasting_len = i->len;
	return 0;
}

int
disk_rename(struct disk *d, const char *from, const char *to)
{
	struct entry *e = find(d, from), *old = find(d, to);
	struct inode *i;

	if (!e)
		return -ENOENT;
	i = ref(e->inode);
	if (old)
		drop(d, old);
	drop(d, find(d, from));
	add(d, to, i);
	return 0;
}

int
disk_sync_folder(struct disk *d, const char *name)
{
	(void)name;
	copy_folder(d->lasting, &d->n_lasting, d->now, d->n_now);
	return 0;
}

int
disk_remove(struct disk *d, const char *name)
{
	struct entry *e = find(d, name);

	if (!e)
		return -ENOENT;
	drop(d, e);
	return 0;
}

int
disk_list(struct disk *d, const char *name, int (*fn)(void *arg, const char *file), void *arg)
{
	size_t n = strlen(name);
	int r = 0;

	for (size_t i = 0; i < d->n_now && r == 0; i++)
		if (strncmp(d->now[i].name, name, n) == 0 && d->now[i].name[n] == '/')
			r = fn(arg, d->now[i].name + n + 1);
	return r;
}
