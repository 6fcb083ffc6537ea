/*
 * Recovery: which files are the journal, and which batch is the last.
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
	uint8_t head[STORE_HEADER];
	ssize_t size;
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
	/* Not a whole window: of most files only this is wanted. */
	size = disk_pread(rc->handle, head, sizeof(head), 0);
	if (size < 0)
		return recover_unreadable(rc, f, (int)size);
	r = store_header_decode(head, (size_t)size, &f->h);
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

void
recover_sort(struct recovery *rc)
{
	if (rc->n_files > 0)
		qsort(rc->files, rc->n_files, sizeof(*rc->files), by_number);
}

struct journal_file *
recover_file(struct recovery *rc, uint32_t number)
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
		struct journal_file *before = end.segment < f->h.segment ? recover_file(rc, end.segment) : NULL;

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

/* ---------------------------------------------------------------- recover -- */

/* Read what the journal is, from the start of replay on; then what lies before and is still needed. */
static int
read_all(struct recovery *rc)
{
	int r = 0;

	rc->expected = rc->replay.segment && recover_file(rc, rc->replay.segment) ? rc->replay.batch : 0;
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
	struct journal_file *start = recover_file(rc, l->replay.segment);
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
	r = recover_rewrite(rc, l);
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

/* Nothing of a start that has left a journal is here: what was confirmed then is lost, and that must be said. */
static int
check_start(const struct recovery *rc)
{
	uint32_t least = rc->s->cfg.least_start, newest = 0;
	char what[101];

	for (size_t i = 0; i < rc->n_files; i++)
		if (rc->files[i].valid)
			raise32(&newest, rc->files[i].h.start_count);
	if (newest >= least)
		return 0;
	if (newest == 0)
		snprintf(what, sizeof(what), "the journal is missing, and start %" PRIu32 " had one: it was", least);
	else
		snprintf(what, sizeof(what), "the journal is of start %" PRIu32 ", the state folder of start %" PRIu32 ": it was restored alone, or", newest,
		    least);
	snprintf(rc->why, 200, "%s lost; restore all of the folder, or remove all of it, then connectctl peer adopt NAME at the peers", what);
	return -EINVAL;
}

int
store_recover(struct store *s, const struct store_recovery *found, char why[static 200])
{
	struct recovery rc = { .s = s, .why = why, .tell = found };
	struct last last = { 0 };
	int r = disk_list(s->cfg.disk, STORE_FOLDER, add_file, &rc);

	recover_sort(&rc);
	/* One more for the segment that is written now. */
	if (r == 0)
		r = store_grow(&rc.files, &rc.files_room, rc.n_files + 1, sizeof(*rc.files));
	rc.open_file = NULL;
	if (r == 0)
		r = check_start(&rc);
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
