/* Recovery: the last batch is written again, into a file that holds nothing else. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "store_recover.h"

/* Does it begin with the last batch, as a copy of it does that an earlier start made? */
static bool
is_copy(const struct journal_file *f, const struct last *l)
{
	return f->valid && f->h.first_batch == l->place.batch;
}

/*
 * Of several copies of the last batch only one may be on disk, and all of them
 * read well: none is touched before the new one is synced. Then their headers
 * go, or starts that end early would take a file each.
 */
static int
drop_copies(struct recovery *rc, const struct journal_file *fresh, const struct last *l)
{
	static const uint8_t zeros[STORE_HEADER];
	int r = 0;

	for (size_t i = 0; i < rc->n_files && r == 0; i++) {
		struct journal_file *f = &rc->files[i];

		if (f == fresh || !is_copy(f, l))
			continue;
		rc->open_file = NULL;
		r = recover_use(rc, f);
		if (r == 0 && disk_pwrite(rc->handle, zeros, sizeof(zeros), 0) != (ssize_t)sizeof(zeros))
			r = -EIO;
		if (r == 0)
			r = disk_sync(rc->handle);
		f->valid = false;
	}
	rc->open_file = NULL;
	return r;
}

/* A file in which there is nothing of the journal, if possible with its blocks; NULL: there is none. */
static struct journal_file *
pick_fresh(struct recovery *rc, const struct last *l, uint64_t size)
{
	struct journal_file *best = NULL;

	for (size_t i = 0; i < rc->n_files; i++) {
		struct journal_file *f = &rc->files[i];

		/* What lies before the start of replay is judged by the snapshot, later. */
		if (f->counts || f->is_bare || is_copy(f, l) || (f->valid && (rc->damaged || f->h.segment < rc->replay.segment)))
			continue;
		if (f->bytes <= size && (!best || f->bytes > best->bytes))
			best = f;
	}
	return best;
}

/* The next number; the name that it stands for must not be taken from another file. */
static uint32_t
fresh_number(const struct recovery *rc, const struct journal_file *f)
{
	uint32_t number = rc->newest->h.segment + 1;
	struct segment *other;

	while ((other = store_segment_numbered(rc->s, number)) && (!f || other != f->segment))
		number++;
	return number;
}

static int
open_fresh(struct recovery *rc, struct journal_file *f, bool is_new, uint32_t number, uint64_t size)
{
	struct store *s = rc->s;
	struct segment *g = f->segment;
	char from[STORE_NAME_MAX], to[STORE_NAME_MAX];
	int r = 0;

	store_name(from, g->number);
	store_name(to, number);
	if (!is_new && g->number != number)
		r = disk_rename(s->cfg.disk, from, to);
	if (r == 0 && !is_new) {
		g->number = number;
		f->valid = false;
	}
	if (r == 0)
		r = disk_file_open(s->cfg.disk, to, is_new, &g->writing);
	if (r == 0)
		r = disk_allocate(g->writing, size);
	/*
	 * Before anything is written: should the file have its old name after a
	 * crash, with its old header and half of the new batch, it would be taken
	 * for a damaged segment.
	 */
	if (r == 0 && disk_sync_folder(s->cfg.disk, STORE_FOLDER) < 0)
		return -EIO;
	if (r < 0 && is_new && g->writing)
		disk_remove(s->cfg.disk, to);
	if (r < 0)
		return r;
	if (f->bytes < size)
		f->bytes = size;
	return 0;
}

/* The header of the segment in which the last batch is written again. */
static void
fresh_header(struct recovery *rc, const struct last *l, uint32_t number, uint64_t size, struct store_header *ret)
{
	struct store *s = rc->s;

	*ret = (struct store_header){
		.segment = number,
		.size = size,
		.start_count = s->cfg.start_count,
		.flags = STORE_FIRST_REWRITTEN,
		.first_batch = l->place.batch,
		.before = { l->place.segment, l->place.block, l->place.batch - 1 },
		.replay = l->replay,
		.next_queue = l->next_queue,
		.next_flow = l->next_flow,
		.next_body = l->next_body,
		.wall_ms = l->wall_ms,
	};
	loop_random(s->cfg.loop, &ret->seed, sizeof(ret->seed));
	/* Nothing but this batch is in the old one: it is not needed any more. */
	if (l->is_first)
		ret->before = rc->newest->h.before;
	if (l->replay.segment == l->place.segment && l->replay.batch == l->place.batch)
		ret->replay = (struct store_place){ number, STORE_HEADER / STORE_BLOCK, l->place.batch };
#ifdef PLANT_REWRITE_TWICE
	ret->before = (struct store_place){ l->place.segment, (uint32_t)(l->end / STORE_BLOCK), ret->first_batch++ };
#endif
}

/* Every sum depends on the place. */
static void
seal_again(uint8_t *buf, struct store_batch b, const struct store_header *h)
{
	struct store_record r;
	uint32_t at = 0;

	b.flags = STORE_FIRST_REWRITTEN;
	b.number = h->first_batch;
	while (store_batch_next(buf, &b, STORE_HEADER, &at, &r))
		store_record_seal(buf + (r.offset - STORE_HEADER), r.kind, r.len, h->seed, r.offset);
	store_batch_seal(buf, &b, h->seed, STORE_HEADER);
}

static int
write_fresh(struct recovery *rc, struct journal_file *f, bool is_new, struct last *l, uint32_t number, uint64_t size)
{
	struct disk_file *file;
	ssize_t n;
	int r = open_fresh(rc, f, is_new, number, size);

	if (r < 0)
		return r;
	file = f->segment->writing;
	fresh_header(rc, l, number, size, &f->h);
	store_header_encode(l->data, &f->h);
	seal_again(l->data + STORE_HEADER, l->batch, &f->h);
	n = disk_pwrite(file, l->data, STORE_HEADER + store_align(l->batch.len, STORE_BLOCK), 0);
	if (n < 0)
		return (int)n;
	if (disk_sync(file) < 0)
		return -EIO;
	f->segment->seed = f->h.seed;
	f->valid = f->sound = true;
	return drop_copies(rc, f, l);
}

/* Any file will do that has space for its blocks, or one that is made. */
static int
try_fresh(struct recovery *rc, struct last *l, struct journal_file **ret, uint32_t *ret_number)
{
	struct store *s = rc->s;
	uint64_t need = STORE_HEADER + store_align(l->batch.len, 4096) + STORE_FOOTER;
	uint64_t size = need > s->cfg.segment ? need : s->cfg.segment;
	int r;

	for (;;) {
		struct journal_file *f = pick_fresh(rc, l, size);
		uint32_t number = fresh_number(rc, f);
		bool is_new = !f;

		if (is_new) {
			f = &rc->files[rc->n_files];
			*f = (struct journal_file){ .segment = store_segment_new(s, number, s->cfg.segment) };
			if (!f->segment)
				return -ENOMEM;
			rc->n_files++;
		}
		rc->open_file = NULL;
		*ret = f;
		*ret_number = number;
		r = write_fresh(rc, f, is_new, l, number, size);
		if (is_new || !store_is_no_space(r))
			return r;
		f->is_bare = true;
		disk_file_close(f->segment->writing);
		f->segment->writing = NULL;
	}
}

int
recover_rewrite(struct recovery *rc, struct last *l)
{
	struct store *s = rc->s;
	struct journal_file *f;
	uint32_t number;
	int r = try_fresh(rc, l, &f, &number);

	if (r < 0)
		return store_is_no_space(r) ? -ENOSPC : r == -ENOMEM ? r : -EIO;
	f->end = STORE_HEADER + store_align(l->batch.len, STORE_BLOCK);
	f->last = f->h.first_batch;
	rc->replay = f->h.replay;
	s->current = f->segment;
	s->before = f->h.before;
	s->stats.newest_start = s->cfg.start_count;
	for (size_t i = 0; i < rc->n_files; i++)
		rc->files[i].counts = false;
	recover_sort(rc);
	rc->newest = recover_file(rc, number);
	return 0;
}
