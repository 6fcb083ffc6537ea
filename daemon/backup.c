#include "backup.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "state.h"
#include "store.h"
#include "task.h"

#define FILE_MAX (1u << 20) /* of everything but the journal */
#define PEERS_FOLDER "peers"
#define WHO_FILE "node" /* without it no daemon starts on the folder: it comes last */

struct backup {
	struct loop *loop;
	struct store *store;
	struct store_backup *journal; /* NULL: not begun, or over */
	struct task_runner *runner;
	void (*done)(void *arg);
	void *arg;

	/* The task's, until it is over. */
	struct disk *from, *to;
	char *path;
	const char *below; /* folder that is being copied; NULL: the state folder itself */
	int error;
	char why[200];

	/* Both threads'. */
	atomic_bool stop;
	_Atomic uint64_t copied;
};

static int fail(struct backup *b, int error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The first sentence stands. */
static int
fail(struct backup *b, int error, const char *fmt, ...)
{
	va_list ap;

	if (b->why[0] != '\0')
		return error;
	va_start(ap, fmt);
	vsnprintf(b->why, sizeof(b->why), fmt, ap);
	va_end(ap);
	return error;
}

/* ---------------------------------------------------------------- the task -- */

static int
is_there(void *arg, const char *file)
{
	(void)arg, (void)file;
	return 1;
}

static int
open_target(struct backup *b)
{
	static const char *const folders[] = { NULL, PEERS_FOLDER, STORE_FOLDER };
	int r = disk_open(b->path, true, &b->to);

	if (r == -EPERM)
		return fail(b, r, "%.120s must belong to the daemon's own user, and be closed to others (mode 0700)", b->path);
	if (r == -ENOENT || r == -ENOTDIR)
		return fail(b, r, "%.120s: the folder that it is to be made in does not exist", b->path);
	if (r == -EACCES || r == -EROFS)
		return fail(b, r, "the daemon may not write to %.80s: under systemd, name its folder in ReadWritePaths=", b->path);
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && r == 0; i++) {
		r = disk_list(b->to, folders[i], is_there, NULL);
		if (r == 1)
			return fail(b, -EEXIST, "%.120s is not empty, and nothing is overwritten: name a new folder", b->path);
		r = r == -ENOENT ? 0 : r;
	}
	return r;
}

static bool
on_copied(void *arg, uint64_t bytes)
{
	struct backup *b = arg;

	atomic_fetch_add(&b->copied, bytes);
	return !atomic_load(&b->stop);
}

static int
copy_named(struct backup *b, const char *name)
{
	char *content;
	ssize_t n = disk_slurp(b->from, name, FILE_MAX, &content);
	int r;

	if (n < 0)
		return n == -ENOENT ? 0 : fail(b, (int)n, "%.100s: %s", name, strerror((int)-n));
	r = disk_replace(b->to, name, content, (size_t)n);
	free(content);
	return r;
}

/* Of each small file of a folder: not what is half written, nor what only a running daemon has. */
static int
copy_file(void *arg, const char *file)
{
	struct backup *b = arg;
	size_t len = strlen(file);
	char name[300];

	if ((len > 4 && strcmp(file + len - 4, ".tmp") == 0) || (!b->below && (strcmp(file, "lock") == 0 || strcmp(file, WHO_FILE) == 0)))
		return 0;
	snprintf(name, sizeof(name), "%s%s%s", b->below ? b->below : "", b->below ? "/" : "", file);
	return copy_named(b, name);
}

static void
run(void *arg)
{
	struct backup *b = arg;
	int r = open_target(b);

	if (r == 0)
		r = store_backup_copy(b->journal, b->to, on_copied, b);
	if (r == 0)
		r = disk_mkdir(b->to, PEERS_FOLDER);
	b->below = PEERS_FOLDER;
	if (r == 0)
		r = disk_list(b->from, PEERS_FOLDER, copy_file, b);
	b->below = NULL;
	if (r == 0)
		r = disk_list(b->from, NULL, copy_file, b);
	if (r == 0)
		r = copy_named(b, WHO_FILE);
	if (r < 0 && r != -EEXIST && b->to)
		fail(b, r, "%.80s: %s; what is there already is not whole: remove it", b->path, strerror(-r));
	else if (r < 0)
		fail(b, r, "%.100s: %s", b->path, strerror(-r));
	disk_close(b->to);
	b->to = NULL;
	b->error = r;
}

/* ---------------------------------------------------------------- the loop -- */

static void
over(void *arg)
{
	struct backup *b = arg;

	store_backup_end(b->store, b->journal);
	b->journal = NULL;
	b->done(b->arg);
}

struct backup *
backup_new(struct loop *l, struct state *state, struct store *store, const char *path, void (*done)(void *arg), void *arg)
{
	struct backup *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->loop = l;
	b->store = store;
	b->from = state_disk(state);
	b->done = done;
	b->arg = arg;
	b->error = 1; /* not begun */
	b->path = strdup(path);
	b->runner = task_runner_new(l);
	if (b->path && b->runner)
		return b;
	backup_free(b);
	return NULL;
}

void
backup_try(struct backup *b)
{
	int r;

	if (b->error != 1)
		return;
	r = store_backup_begin(b->store, &b->journal);
	if (r == -EAGAIN)
		return;
	b->error = 0;
	if (r == 0)
		r = task_run(b->runner, run, over, b);
	if (r == 0)
		return;
	b->error = fail(b, r, "%s", strerror(-r));
	over(b);
}

void
backup_cancel(struct backup *b)
{
	atomic_store(&b->stop, true);
	if (b->error == 1) {
		b->error = -ECANCELED;
		b->done(b->arg);
	}
}

void
backup_progress(struct backup *b, uint64_t *ret_done, uint64_t *ret_total)
{
	*ret_done = atomic_load(&b->copied);
	*ret_total = b->journal ? store_backup_bytes(b->journal) : *ret_done;
}

int
backup_result(const struct backup *b, const char **ret_why)
{
	*ret_why = b->why;
	return b->error;
}

void
backup_free(struct backup *b)
{
	if (!b)
		return;
	atomic_store(&b->stop, true);
	task_runner_free(b->runner);
	store_backup_end(b->store, b->journal);
	free(b->path);
	free(b);
}
