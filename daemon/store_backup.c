/*
 * The journal as of one synced point, to be copied while it goes on. What was
 * synced is never written again where it lies, and a segment that is pinned is
 * not used anew: the first bytes of what is open now, and all of what is
 * sealed, stay as they are however long the copying takes. To recovery the copy
 * is a journal whose power was cut at that point.
 */
#include <errno.h>
#include <stdlib.h>

#include "disk.h"
#include "store_internal.h"

#define CHUNK (1u << 20)
#define SYNC_EVERY (4u << 20) /* so that the journal's own syncs do not wait for ours too long */

struct part {
	struct segment *segment;
	char name[STORE_NAME_MAX];
	uint64_t len, size; /* to be copied; of the file */
};

struct store_backup {
	struct disk *disk;
	uint64_t bytes;
	uint32_t n;
	struct part parts[];
};

int
store_backup_begin(struct store *s, struct store_backup **ret)
{
	struct store_backup *b;

	if (s->inflight)
		return -EAGAIN;
	b = calloc(1, sizeof(*b) + s->n_segments * sizeof(*b->parts));
	if (!b)
		return -ENOMEM;
	b->disk = s->cfg.disk;
	for (uint32_t i = 0; i < s->n_segments; i++) {
		struct segment *g = s->segments[i];
		struct part *p = &b->parts[b->n];

		if (!g || (g->state != SEGMENT_SEALED && g->state != SEGMENT_CURRENT))
			continue;
		*p = (struct part){ .segment = g, .len = g->state == SEGMENT_SEALED ? g->size : g->end, .size = g->size };
		store_name(p->name, g->number);
		b->bytes += p->len;
		b->n++;
		g->pins++;
	}
	*ret = b;
	return 0;
}

void
store_backup_end(struct store *s, struct store_backup *b)
{
	if (!b)
		return;
	for (uint32_t i = 0; i < b->n; i++)
		b->parts[i].segment->pins--;
	free(b);
	/* What could not be recycled meanwhile can be now. */
	s->look = true;
	store_kick(s);
	store_room_grown(s);
}

uint64_t
store_backup_bytes(const struct store_backup *b)
{
	return b->bytes;
}

static int
copy_bytes(const struct part *p, struct disk_file *from, struct disk_file *to, uint8_t *buf, bool (*on)(void *arg, uint64_t bytes), void *arg)
{
	uint64_t unsynced = 0;

	for (uint64_t at = 0; at < p->len;) {
		size_t want = p->len - at < CHUNK ? (size_t)(p->len - at) : CHUNK;
		ssize_t n = disk_pread(from, buf, want, at);

		/* A file that ends early reads as what would be behind its end. */
		if (n >= 0 && (size_t)n < want)
			return -EIO;
		if (n >= 0)
			n = disk_pwrite(to, buf, want, at);
		if (n < 0)
			return (int)n;
		at += want;
		unsynced += want;
		if (unsynced >= SYNC_EVERY) {
			int r = disk_sync(to);

			if (r < 0)
				return r;
			unsynced = 0;
		}
		if (!on(arg, want))
			return -ECANCELED;
	}
	return disk_sync(to);
}

static int
copy_part(const struct store_backup *b, const struct part *p, struct disk *to, uint8_t *buf, bool (*on)(void *arg, uint64_t bytes), void *arg)
{
	struct disk_file *in = NULL, *out = NULL;
	int r = disk_file_open(b->disk, p->name, false, &in);

	if (r == 0)
		r = disk_file_open(to, p->name, true, &out);
	if (r == 0)
		r = disk_allocate(out, p->size);
	if (r == 0)
		r = copy_bytes(p, in, out, buf, on, arg);
	disk_file_close(in);
	disk_file_close(out);
	return r;
}

int
store_backup_copy(const struct store_backup *b, struct disk *to, bool (*on)(void *arg, uint64_t bytes), void *arg)
{
	uint8_t *buf = malloc(CHUNK);
	int r = buf ? disk_mkdir(to, STORE_FOLDER) : -ENOMEM;

	for (uint32_t i = 0; i < b->n && r == 0; i++)
		r = copy_part(b, &b->parts[i], to, buf, on, arg);
	if (r == 0)
		r = disk_sync_folder(to, STORE_FOLDER);
	free(buf);
	return r;
}
