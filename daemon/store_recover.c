/*
 * Recovery: which files are the journal, and the last batch written again.
 * What is in them is read in store_recover_scan.c and put together in
 * store_recover_apply.c. docs/internals.md, Recovery.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "store_recover.h"

/* ------------------------------------------------------------------ files -- */

/* NNNNNNNN.journal; 0: it is not. */
static uint32_t
parse_name(const char *name)
{
	uint64_t n = 0;
	size_t i = 0;

	for (; name[i] >= '0' && name[i] <= '9' && i < 10; i++)
		n = n * 10 + (uint64_t)(name[i] - '0');
	/* More than eight digits only where they are needed. */
	if (i < 8 || (i > 8 && name[0] == '0') || n > UINT32_MAX || strcmp(name + i, ".journal") != 0)
		return 0;
	return (uint32_t)n;
}

static int
add_file(void *arg, const char *name)
{
	struct recovery *rc = arg;
	uint32_t number = parse_name(name);
	struct journal_file *f;
	ssize_t size;
	const uint8_t *p;
	size_t len;
	int r;

	if (number == 0)
		return 0;
	if (store_grow(&rc->files, &rc->files_room, rc->n_files + 1, sizeof(*rc->files)) < 0)
		return -ENOMEM;
	f = &rc->files[rc->n_files];
	*f = (struct journal_file){ .segment = store_segment_new(rc->s, number, rc->s->cfg.segment) };
	if (!f->segment)
		return -ENOMEM;
	rc->n_files++;
	rc->open_file = NULL; /* the array may have moved */
	r = recover_use(rc, f);
	if (r < 0)
		return r;
	size = disk_file_size(rc->handle);
	if (size < 0)
		return recover_unreadable(rc, f, (int)size);
	f->bytes = (uint64_t)size;
	r = recover_bytes(rc, f, 0, 4096, &p, &len);
	if (r < 0)
		return r;
	r = store_header_decode(p, len, &f->h);
	if (r == -EPROTONOSUPPORT) {
		snprintf(rc->why, 200, "%s/%s is of a version of the format that this daemon does not know", STORE_FOLDER, name);
		return -EINVAL;
	}
	f->sound = r == 0;
	f->valid = r == 0 && f->h.segment == number;
	f->segment->seed = f->h.seed;
	return 0;
}

static int
by_number(const void *a, const void *b)
{
	uint32_t x = ((const struct journal_file *)a)->segment->number, y = ((const struct journal_file *)b)->segment->number;

	return x < y ? -1 : x > y;
}

static struct journal_file *
find_file(struct recovery *rc, uint32_t number)
{
	for (size_t i = 0; i < rc->n_files; i++)
		if (rc->files[i].valid && rc->files[i].h.segment == number)
			return &rc->files[i];
	return NULL;
}

/* Takes the space of files that are not a segment's size into account. */
static void
size_file(struct store *s, const struct journal_file *f)
{
	struct segment *g = f->segment;
	uint64_t size = f->counts ? f->h.size : f->bytes > s->cfg.segment ? f->bytes : s->cfg.segment;

	s->file_bytes += size - g->size;
	g->size = size;
	if (f->counts || (f->bytes >= size && !f->is_bare))
		store_segment_allocated(s, g);
	g->zeroed = f->sound ? size : 0;
}

/* ----------------------------------------------------------- the last batch -- */

struct last {
	struct store_place place;
	uint8_t *data; /* malloc'ed */
	bool is_first; /* in its segment */
	/* The last end of a snapshot in this segment. */
	struct store_place replay;
	uint32_t next_queue, next_flow;
	uint64_t next_body;
	uint64_t wall_ms;
	struct store_batch batch;
	uint64_t end; /* behind it */
};

static void
raise32(uint32_t *p, uint32_t n)
{
	if (*p < n)
		*p = n;
}

/* What a batch says that the header of the next segment must say, too. */
static void
note_batch(const struct scan *sc, struct last *l)
{
	struct store_place here = { sc->f->h.segment, (uint32_t)(sc->offset / STORE_BLOCK), sc->batch.number };
	struct store_definition d;
	struct store_place start;
	struct store_record r;
	struct store_entry e;
	uint32_t at = 0;
	uint64_t id;

	while (store_batch_next(sc->data, &sc->batch, sc->offset, &at, &r)) {
		if (store_snapshot_end_decode(&r, &id, &start) == 0)
			l->replay = start.batch == here.batch ? here : start; /* a rewritten one begins where it is now */
		else if (store_define_decode(&r, &d) == 0)
			raise32(r.kind == STORE_QUEUE ? &l->next_queue : &l->next_flow, d.number == UINT32_MAX ? d.number : d.number + 1);
		else if (store_piece_decode(&r, &e) == 0)
			recover_raise(&l->next_body, e.body + 1);
	}
	l->place = here;
	l->wall_ms = sc->batch.wall_ms;
}

/* Read the whole segment: its last sound batch. 1; 0: it has none; or an error. */
static int
find_last(struct recovery *rc, struct journal_file *f, struct last *l)
{
	uint64_t number = 0;
	struct scan sc;
	int r;

	*l = (struct last){ .replay = f->h.replay, .next_queue = f->h.next_queue, .next_flow = f->h.next_flow,
		.next_body = f->h.next_body };
	scan_begin(&sc, f, 0);
	while ((r = scan_next(rc, &sc)) > 0) {
#ifndef PLANT_RECYCLED_LIVE
		if (sc.batch.number < f->h.first_batch || (number && sc.batch.number <= number))
			continue;
#endif
		if (!scan_is_whole(&sc))
			continue;
		number = sc.batch.number;
		note_batch(&sc, l);
		l->batch = sc.batch;
		l->end = sc.at;
	}
	if (r < 0 || number == 0)
		return r;
	l->is_first = l->place.block == STORE_HEADER / STORE_BLOCK;
	return 1;
}

static int
read_last(struct recovery *rc, struct journal_file *f, struct last *l)
{
	const uint8_t *p;
	size_t len;
	int r = recover_bytes(rc, f, (uint64_t)l->place.block * STORE_BLOCK, l->batch.len, &p, &len);

	if (r < 0)
		return r;
	l->data = malloc(STORE_HEADER + store_align(l->batch.len, 4096));
	if (!l->data)
		return -ENOMEM;
	if (len != l->batch.len)
		return -EIO;
	memset(l->data + STORE_HEADER + l->batch.len, 0, store_align(l->batch.len, 4096) - l->batch.len);
	memcpy(l->data + STORE_HEADER, p, l->batch.len);
	return 0;
}

/*
 * The newest segment is the one with the highest number in which something
 * was written. 1, 0 or an error.
 */
static int
find_newest(struct recovery *rc, struct last *l)
{
	for (size_t i = rc->n_files; i-- > 0;) {
		struct journal_file *f = &rc->files[i];
		int r = f->valid ? find_last(rc, f, l) : 0;

		if (r == 0)
			continue;
		rc->newest = f;
		return r;
	}
	return 0;
}

/* Follow the headers from the newest segment to the one where replay starts: these count. */
static void
follow_chain(struct recovery *rc, struct journal_file *f, bool tell)
{
	f->counts = true;
	while (f->h.segment != rc->replay.segment && f->h.before.segment != 0) {
		struct store_place end = f->h.before;
		struct journal_file *before = end.segment < f->h.segment ? find_file(rc, end.segment) : NULL;

		if (before) {
			before->end = (uint64_t)end.block * STORE_BLOCK;
			before->last = end.batch;
		} else {
			rc->damaged = true;
			if (tell)
				store_damaged(rc->s, "segment %" PRIu32 " is missing", end.segment);
			/* Whatever is before that may still be good. */
			for (size_t i = rc->n_files; i-- > 0 && !before;)
				if (rc->files[i].valid && rc->files[i].h.segment < f->h.segment && rc->files[i].h.segment < end.segment)
					before = &rc->files[i];
			if (!before)
				return;
		}
		f = before;
		f->counts = true;
	}
}

/* ---------------------------------------------------------------- rewrite -- */

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

/*
 * The last batch is written again and synced before it counts: that it can be
 * read does not mean that it is on disk, if its sync failed. From here on the
 * journal ends in the new segment, which says where it ends in the old one.
 */
static int
rewrite(struct recovery *rc, struct last *l)
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
	for (size_t i = 0; i < rc->n_files; i++)
		rc->files[i].counts = false;
	qsort(rc->files, rc->n_files, sizeof(*rc->files), by_number);
	rc->newest = find_file(rc, number);
	return 0;
}

/* ---------------------------------------------------------------- recover -- */

/* Read what the journal is, from the start of replay on; then what lies before and is still needed. */
static int
read_all(struct recovery *rc)
{
	int r = 0;

	rc->expected = rc->replay.segment && find_file(rc, rc->replay.segment) ? rc->replay.batch : 0;
	for (size_t i = 0; i < rc->n_files; i++)
		rc->bytes_all += rc->files[i].counts ? rc->files[i].bytes : 0;
	for (size_t i = 0; i < rc->n_files && r == 0; i++)
		if (rc->files[i].counts)
			r = recover_replay(rc, &rc->files[i]);
	if (r == 0)
		r = recover_head(rc);
	for (size_t i = 0; i < rc->n_files && r == 0; i++) {
		struct journal_file *f = &rc->files[i];

		if (!f->valid || f->counts || f->h.segment >= rc->replay.segment)
			continue;
		/* What a snapshot does not tell of holds nothing; but part of the snapshot may be lost. */
		if (!f->listed && rc->is_snapshot_whole)
			continue;
		if (!f->listed)
			f->total = UINT32_MAX;
		f->counts = true;
		r = recover_load(rc, f);
		if (r == 0 && f->listed && f->segment->n_records < f->total)
			store_damaged(rc->s, "segment %" PRIu32 ": %" PRIu32 " of %" PRIu32 " records are missing", f->h.segment,
			    f->total - f->segment->n_records, f->total);
	}
	return r;
}

static int
recover_journal(struct recovery *rc, struct last *l)
{
	struct store *s = rc->s;
	struct journal_file *start = find_file(rc, l->replay.segment);
	int r = read_last(rc, rc->newest, l);

	if (r < 0)
		return r;
	if (l->replay.segment && (!start || l->replay.segment > l->place.segment || l->replay.batch > l->place.batch)) {
		store_damaged(s, "segment %" PRIu32 ", where reading back should start, is missing", l->replay.segment);
		l->replay = (struct store_place){ 0 };
	}
	rc->replay = l->replay;
	follow_chain(rc, rc->newest, false);
	rc->newest->end = l->end;
	rc->newest->last = l->place.batch;
	s->before = (struct store_place){ l->place.segment, (uint32_t)(l->end / STORE_BLOCK), l->place.batch };
#ifdef PLANT_SYNC_FAILED_ACCEPTED
	if (0)
#endif
	r = rewrite(rc, l);
	if (r < 0)
		return r;
	rc->damaged = false;
	follow_chain(rc, rc->newest, true);
	s->replay = rc->replay;
	s->batch_number = rc->newest->last;
	return read_all(rc);
}

static void
done(struct recovery *rc)
{
	disk_file_close(rc->handle);
	for (size_t i = 0; i < rc->n_moves; i++) {
		void *note;

		memcpy(&note, &rc->moves[i].note.data, sizeof(note));
		free(note);
	}
	free(rc->files);
	free(rc->window);
	free(rc->found);
	free(rc->moves);
	free(rc->dones);
	free(rc->deads);
	free(rc->bits);
	free(rc->mine);
}

/* Every file is a segment of the journal, or free. */
static void
settle_files(struct recovery *rc)
{
	struct store *s = rc->s;

	for (size_t i = 0; i < rc->n_files; i++) {
		struct journal_file *f = &rc->files[i];
		struct segment *g = f->segment;

		size_file(s, f);
		raise32(&s->last_number, f->valid && f->counts ? f->h.segment : 0);
		if (!f->counts)
			continue;
		if (g != s->current)
			store_segment_shrink(g);
		g->state = g == s->current ? SEGMENT_CURRENT : SEGMENT_SEALED;
		if (f->h.segment >= s->replay.segment)
			s->replay_bytes += g->end;
		s->n_free--;
	}
}

int
store_recover(struct store *s, const struct store_recovery *found, char why[static 200])
{
	struct recovery rc = { .s = s, .why = why, .tell = found };
	struct last last = { 0 };
	int r = disk_list(s->cfg.disk, STORE_FOLDER, add_file, &rc);

	if (r == 0 && rc.n_files > 0)
		qsort(rc.files, rc.n_files, sizeof(*rc.files), by_number);
	/* One more for the segment that is written now. */
	if (r == 0)
		r = store_grow(&rc.files, &rc.files_room, rc.n_files + 1, sizeof(*rc.files));
	rc.open_file = NULL;
	if (r == 0)
		r = find_newest(&rc, &last);
	if (r > 0) {
		s->next_queue = last.next_queue;
		s->next_flow = last.next_flow;
		s->next_body = last.next_body;
		r = recover_journal(&rc, &last);
	}
	if (r == 0)
		settle_files(&rc);
	if (r == 0)
		r = recover_apply(&rc);
	if (r == -ENOSPC)
		snprintf(why, 200, "the journal: no space for the one segment that recovery needs");
	free(last.data);
	done(&rc);
	return r;
}
