/* The disk door on vdisk: handles, folders, and calls that fail when a harness wants them to. */
#include "sim_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "vdisk.h"
#include "world.h"

#define PATH_LEN 64
#define MACHINES 64

struct sim_disk_machine {
	char path[PATH_LEN];
	struct vdisk *v;
	uint64_t life; /* handles of another one are dead */
	bool is_dead;
	struct sim_disk_faults faults;
	uint64_t calls, failed[SIM_DISK_CALLS];
	void (*watch)(void *arg);
	void *watch_arg;
};

static struct sim_disk_machine machines[MACHINES];
static size_t n_machines;

struct disk {
	struct sim_disk_machine *m;
	uint64_t life;
};

struct disk_file {
	struct sim_disk_machine *m;
	uint64_t life;
	int file;
};

/* -------------------------------------------------------------- machines -- */

void
sim_disk_reset(void)
{
	for (size_t i = 0; i < n_machines; i++)
		vdisk_free(machines[i].v);
	memset(machines, 0, sizeof(machines));
	n_machines = 0;
}

struct sim_disk_machine *
sim_disk_machine(const char *path)
{
	struct sim_disk_machine *m;

	for (size_t i = 0; i < n_machines; i++)
		if (strcmp(machines[i].path, path) == 0)
			return &machines[i];
	if (n_machines == MACHINES)
		abort();
	m = &machines[n_machines++];
	snprintf(m->path, sizeof(m->path), "%s", path);
	m->v = vdisk_new();
	return m;
}

struct vdisk *
sim_disk_vdisk(struct sim_disk_machine *m)
{
	return m->v;
}

struct sim_disk_faults *
sim_disk_faults(struct sim_disk_machine *m)
{
	return &m->faults;
}

uint64_t
sim_disk_calls(const struct sim_disk_machine *m)
{
	return m->calls;
}

uint64_t
sim_disk_failed(const struct sim_disk_machine *m, enum sim_disk_call call)
{
	return m->failed[call];
}

bool
sim_disk_is_dead(const struct sim_disk_machine *m)
{
	return m->is_dead;
}

static void
new_life(struct sim_disk_machine *m)
{
	m->life++;
	m->is_dead = false;
}

void
sim_disk_set_vdisk(struct sim_disk_machine *m, struct vdisk *v)
{
	vdisk_free(m->v);
	m->v = v;
	new_life(m);
}

void
sim_disk_kill(struct sim_disk_machine *m)
{
	vdisk_process_crash(m->v);
	new_life(m);
}

void
sim_disk_power_cut(struct sim_disk_machine *m, uint64_t seed)
{
	vdisk_power_cut(m->v, seed);
	new_life(m);
}

void
sim_disk_watch(struct sim_disk_machine *m, void (*fn)(void *arg), void *arg)
{
	m->watch = fn;
	m->watch_arg = arg;
}

/* ----------------------------------------------------------------- calls -- */

static void
watched(struct sim_disk_machine *m)
{
	if (m->watch)
		m->watch(m->watch_arg);
}

static bool
hits(uint64_t *countdown)
{
	return *countdown > 0 && --*countdown == 0;
}

/* Every call begins here. 0; or an error, with *ret_part if the call may be done in part before the process is gone. */
static int
begin(struct sim_disk_machine *m, uint64_t life, enum sim_disk_call call, bool *ret_part)
{
	bool crashes;

	if (ret_part)
		*ret_part = false;
	if (m->is_dead || life != m->life)
		return -EIO;
	watched(m);
	m->calls++;
	crashes = hits(&m->faults.crash);
	if (hits(&m->faults.fail[call])) {
		world_trace("disk: the next call fails");
		m->failed[call]++;
		if (ret_part)
			*ret_part = true;
		return -EIO;
	}
	if (!crashes)
		return 0;
	world_trace("disk: the process ends in this call");
	m->is_dead = true;
	if (ret_part)
		*ret_part = true;
	return -EIO;
}

static const char *
whole(char out[static VDISK_NAME_MAX], const char *name)
{
	snprintf(out, VDISK_NAME_MAX, "%.90s", name);
	return out;
}

int
disk_open(const char *path, bool make, struct disk **ret)
{
	(void)make;
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		abort();
	(*ret)->m = sim_disk_machine(path);
	(*ret)->life = (*ret)->m->life;
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
	(void)name;
	return begin(d->m, d->life, SIM_DISK_NAME, NULL);
}

int
disk_file_open(struct disk *d, const char *name, bool create, struct disk_file **ret)
{
	char path[VDISK_NAME_MAX];
	int r = begin(d->m, d->life, SIM_DISK_NAME, NULL);

	if (r < 0)
		return r;
	r = vdisk_find(d->m->v, whole(path, name), create);
	if (r < 0)
		return r;
	vdisk_hold(d->m->v, r);
	world_trace("disk: open %s: file %d", name, r);
	*ret = malloc(sizeof(**ret));
	if (!*ret)
		abort();
	**ret = (struct disk_file){ .m = d->m, .life = d->life, .file = r };
	return 0;
}

void
disk_file_close(struct disk_file *f)
{
	if (f && f->life == f->m->life)
		vdisk_release(f->m->v, f->file);
	free(f);
}

ssize_t
disk_file_size(struct disk_file *f)
{
	if (f->m->is_dead || f->life != f->m->life)
		return -EIO;
	return (ssize_t)vdisk_size(f->m->v, f->file);
}

ssize_t
disk_pread(struct disk_file *f, void *buf, size_t len, uint64_t offset)
{
	int r = begin(f->m, f->life, SIM_DISK_READ, NULL);

	world_trace("disk: read %zu bytes of file %d at %llu: %d", len, f->file, (unsigned long long)offset, r);
	return r < 0 ? r : (ssize_t)vdisk_read(f->m->v, f->file, buf, len, offset);
}

ssize_t
disk_pwrite(struct disk_file *f, const void *buf, size_t len, uint64_t offset)
{
	struct sim_disk_machine *m = f->m;
	size_t part = 0;
	bool is_part;
	int r = begin(m, f->life, SIM_DISK_WRITE, &is_part);

	/* A process that is killed, a disk that fails: whole pages from the front are written. */
	if (len > VDISK_BLOCK && (is_part || (r == 0 && m->watch)))
		part = (size_t)world_below(len / VDISK_BLOCK + 1) * VDISK_BLOCK;
	if (part > len)
		part = len;
	if (part > 0) {
		int e = vdisk_write(m->v, f->file, buf, part, offset);

		r = r < 0 ? r : e;
		watched(m);
	}
	if (r == 0 && part < len)
		r = vdisk_write(m->v, f->file, (const char *)buf + part, len - part, offset + part);
	world_trace("disk: write %zu bytes of file %d at %llu: %d", len, f->file, (unsigned long long)offset, r);
	return r < 0 ? r : (ssize_t)len;
}

int
disk_truncate(struct disk_file *f, uint64_t len)
{
	int r = begin(f->m, f->life, SIM_DISK_ALLOCATE, NULL);

	if (r == 0)
		vdisk_truncate(f->m->v, f->file, len);
	return r;
}

int
disk_sync(struct disk_file *f)
{
	struct sim_disk_machine *m = f->m;
	bool is_part;
	int r = begin(m, f->life, SIM_DISK_SYNC, &is_part);

	world_trace("disk: sync file %d: %d", f->file, r);
	if (r == 0) {
		vdisk_sync(m->v, f->file);
		watched(m);
	} else if (is_part && !m->is_dead) {
		vdisk_sync_fail(m->v, f->file);
		watched(m);
	}
	return r;
}

static const char *
prefix(char out[static VDISK_NAME_MAX], const char *name)
{
	snprintf(out, VDISK_NAME_MAX, "%.90s%s", name ? name : "", name ? "/" : "");
	return out;
}

int
disk_sync_folder(struct disk *d, const char *name)
{
	char path[VDISK_NAME_MAX];
	int r = begin(d->m, d->life, SIM_DISK_SYNC, NULL);

	world_trace("disk: sync folder %s: %d", name ? name : "", r);
	if (r == 0) {
		vdisk_sync_folder(d->m->v, prefix(path, name));
		watched(d->m);
	}
	return r;
}

int
disk_allocate(struct disk_file *f, uint64_t len)
{
	int r = begin(f->m, f->life, SIM_DISK_ALLOCATE, NULL);

	r = r < 0 ? r : vdisk_allocate(f->m->v, f->file, len);
	world_trace("disk: allocate %llu bytes of file %d: %d", (unsigned long long)len, f->file, r);
	return r;
}

int
disk_rename(struct disk *d, const char *from, const char *to)
{
	char a[VDISK_NAME_MAX], b[VDISK_NAME_MAX];
	int r = begin(d->m, d->life, SIM_DISK_NAME, NULL);

	r = r < 0 ? r : vdisk_rename(d->m->v, whole(a, from), whole(b, to));
	world_trace("disk: rename %s to %s: %d", from, to, r);
	return r;
}

bool
disk_is_remote(struct disk *d)
{
	(void)d;
	return false;
}

int
disk_remove(struct disk *d, const char *name)
{
	char path[VDISK_NAME_MAX];
	int r = begin(d->m, d->life, SIM_DISK_NAME, NULL);

	r = r < 0 ? r : vdisk_remove(d->m->v, whole(path, name));
	world_trace("disk: remove %s: %d", name, r);
	return r;
}

int
disk_list(struct disk *d, const char *name, int (*fn)(void *arg, const char *file), void *arg)
{
	char folder[VDISK_NAME_MAX], last[VDISK_NAME_MAX] = "";
	const char *next;
	size_t len = strlen(prefix(folder, name));
	int r = begin(d->m, d->life, SIM_DISK_NAME, NULL);

	while (r == 0 && (next = vdisk_next(d->m->v, folder, last[0] ? last : NULL)) != NULL) {
		snprintf(last, sizeof(last), "%s", next);
		r = fn(arg, last + len);
	}
	return r;
}

/* ----------------------------------------------------------- small files -- */

int
disk_replace(struct disk *d, const char *name, const void *buf, size_t len)
{
	char tmp[VDISK_NAME_MAX];
	const char *slash = strrchr(name, '/');
	struct disk_file *f = NULL;
	int r;

	snprintf(tmp, sizeof(tmp), "%.80s.tmp", name);
	(void)disk_remove(d, tmp);
	r = disk_file_open(d, tmp, true, &f);
	if (r < 0)
		return r;
	r = (int)disk_pwrite(f, buf, len, 0);
	if (r >= 0)
		r = disk_sync(f);
	disk_file_close(f);
	if (r == 0)
		r = disk_rename(d, tmp, name);
	if (r < 0) {
		(void)disk_remove(d, tmp);
		return r;
	}
	snprintf(tmp, sizeof(tmp), "%.*s", slash ? (int)(slash - name) : 0, name);
	return disk_sync_folder(d, slash ? tmp : NULL);
}

ssize_t
disk_slurp(struct disk *d, const char *name, size_t max, char **ret)
{
	struct disk_file *f;
	ssize_t size;
	int r = disk_file_open(d, name, false, &f);

	if (r < 0)
		return r;
	size = disk_file_size(f);
	if (size >= 0 && (size_t)size > max)
		size = -EFBIG;
	if (size >= 0) {
		*ret = calloc(1, (size_t)size + 1);
		if (!*ret)
			abort();
		size = disk_pread(f, *ret, (size_t)size, 0);
		if (size < 0)
			free(*ret);
	}
	disk_file_close(f);
	return size;
}

ssize_t
disk_slurp_path(const char *path, size_t max, char **ret)
{
	(void)path, (void)max, (void)ret;
	return -ENOENT;
}

ssize_t
disk_slurp_secret(struct disk *d, const char *name, size_t max, char **ret)
{
	return disk_slurp(d, name, max, ret);
}

int
disk_list_path(const char *folder, int (*fn)(void *arg, const char *file), void *arg)
{
	(void)folder, (void)fn, (void)arg;
	return -ENOENT;
}
