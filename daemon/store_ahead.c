/*
 * Steps of the writer's task ahead of the batches. The next segment is given
 * its name and opened, and zeroed as long as nothing else is to do; the
 * segments held back are allocated, so that nobody else can have their space;
 * what is free beyond need is given back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "store_internal.h"
#include "task.h"

#define READY 2 /* free segments beside those held back, so that bursts make and remove no files */

static uint64_t
creatable(const struct store *s)
{
	return s->file_bytes < s->cfg.max_disk ? (s->cfg.max_disk - s->file_bytes) / s->cfg.segment : 0;
}

uint32_t
store_segments_left(const struct store *s)
{
	/* A file without blocks is no more than the right to make one. */
	return s->n_free - s->n_bare + (s->next ? 1 : 0) + (s->no_space ? 0 : s->n_bare + (uint32_t)creatable(s));
}

/* Zeros, so that the sync of a batch need not also note that its blocks are in use now. */
static void
zero_step(struct ahead_job *j)
{
	uint8_t *zeros = calloc(1, (size_t)j->len);
	ssize_t n;

	if (!zeros)
		return;
	n = disk_pwrite(j->file, zeros, (size_t)j->len, j->at);
	free(zeros);
	j->error = n < 0 ? (int)n : 0;
	if (n >= 0) {
		j->was_sync = true;
		j->error = disk_sync(j->file);
	}
}

static void
open_step(struct ahead_job *j)
{
	bool is_new = !j->from[0];
	int r = 0;

	if (!is_new && strcmp(j->from, j->to) != 0) {
		r = disk_rename(j->disk, j->from, j->to);
		j->renamed = r == 0;
	}
	if (r == 0)
		r = disk_file_open(j->disk, j->to, is_new, &j->file);
	if (r == 0) {
		r = disk_allocate(j->file, j->size);
		/* A file without its blocks is worth nothing, and may hold some of those that others lack. */
		j->removed = is_new || store_is_no_space(r);
	}
	/* In any case: a file held back may have got its name long ago, but nobody synced that. */
	if (r == 0 && j->what == AHEAD_NEXT) {
		r = disk_sync_folder(j->disk, STORE_FOLDER);
		j->was_sync = r < 0;
	}
	j->error = r;
	if (r == 0 && j->what == AHEAD_NEXT)
		return;
	disk_file_close(j->file);
	j->file = NULL;
	j->removed &= r < 0;
	if (j->removed)
		disk_remove(j->disk, j->to);
}

static void
go_ahead(void *arg)
{
	struct ahead_job *j = &((struct store *)arg)->ahead;

	disk_file_close(j->close);
	j->close = NULL;
	j->error = 0;
	j->was_sync = j->renamed = j->removed = false;
	if (j->what == AHEAD_ZERO)
		zero_step(j);
	else if (j->what == AHEAD_REMOVE)
		j->error = disk_remove(j->disk, j->from);
	else
		open_step(j);
}

static void
ahead_failed(struct store *s, const struct ahead_job *j)
{
	struct segment *g = j->segment;

	if (j->what == AHEAD_ZERO) {
		/* Then the batches find out. */
		if (j->was_sync)
			store_fence(s, "sync of a new segment", j->error);
		g->zeroed = g->size;
		return;
	}
	if (j->was_sync || !store_is_passing(j->error)) {
		if (j->what == AHEAD_REMOVE)
			store_segment_remove(s, g);
		else
			store_fence(s, "preparing a segment of the journal", j->error);
		return;
	}
	if (!j->from[0] || j->removed)
		store_segment_remove(s, g);
	s->no_space = true;
	store_update_state(s);
	loop_timer_start(&s->retry, STORE_RETRY_MS);
}

static void
next_is_ready(struct store *s, struct segment *g, struct disk_file *file)
{
#ifndef PLANT_RECYCLED_LIVE
	loop_random(s->cfg.loop, &g->seed, sizeof(g->seed));
#endif
	g->state = SEGMENT_NEXT;
	g->writing = file;
	s->n_free--;
	s->next = g;
}

static void
ahead_done(void *arg)
{
	struct store *s = arg;
	struct ahead_job j = s->ahead;
	struct segment *g = j.segment;
	bool was_bare = !g->allocated;

	s->ahead = (struct ahead_job){ 0 };
	if (j.renamed)
		g->number = j.number;
	if (j.error < 0) {
		ahead_failed(s, &j);
		store_writer_ahead(s);
		return;
	}
	if (j.what == AHEAD_ZERO) {
		g->zeroed = j.at + j.len;
	} else if (j.what == AHEAD_REMOVE) {
		store_segment_remove(s, g);
	} else {
		store_segment_allocated(s, g);
		if (j.what == AHEAD_NEXT)
			next_is_ready(s, g, j.file);
	}
	if (!j.from[0] && (j.what == AHEAD_NEXT || j.what == AHEAD_SPARE))
		s->no_space = false;
	/* There is space again: the next one need not wait for the timer. */
	else if (was_bare)
		s->try_space = true;
	store_update_state(s);
	store_room_grown(s);
	if (s->wants_next && s->next)
		store_kick(s);
	store_writer_ahead(s);
}

/* The free file to take next: the one with the number that comes next, or the oldest. */
static struct segment *
pick_free(const struct store *s, uint32_t number, bool allocated)
{
	struct segment *best = NULL;

	for (uint32_t i = 0; i < s->n_segments; i++) {
		struct segment *g = s->segments[i];

		if (!g || g->state != SEGMENT_FREE || g->size != s->cfg.segment || g->allocated != allocated)
			continue;
		if (g->number == number)
			return g;
		if (!best || g->number < best->number)
			best = g;
	}
	return best;
}

static struct segment *
pick(const struct store *s, bool (*is)(const struct store *s, const struct segment *g))
{
	for (uint32_t i = 0; i < s->n_segments; i++)
		if (s->segments[i] && s->segments[i]->state == SEGMENT_FREE && is(s, s->segments[i]))
			return s->segments[i];
	return NULL;
}

static bool
is_bare(const struct store *s, const struct segment *g)
{
	(void)s;
	return !g->allocated;
}

static bool
is_surplus(const struct store *s, const struct segment *g)
{
	uint32_t spare = s->n_free - s->n_bare;

	/* A size that is not configured any more, or more than there may be. */
	if (g->size != s->cfg.segment || (s->file_bytes > s->cfg.max_disk && spare > STORE_HELD_BACK))
		return true;
	/* What is in use stays below its bound by copying; beside it and those held back only a few are ready for what comes. */
	return spare > STORE_HELD_BACK + READY &&
	       s->file_bytes > 2 * s->live_bytes + (STORE_HELD_BACK + 2 * READY) * s->cfg.segment;
}

static uint32_t
unused_number(const struct store *s)
{
	uint32_t n = s->last_number;

	for (uint32_t i = 0; i < s->n_segments; i++)
		if (s->segments[i] && s->segments[i]->number > n)
			n = s->segments[i]->number;
	return n + 1;
}

/* A file that is made; NULL if it may not be. */
static struct segment *
make(struct store *s)
{
	if (creatable(s) == 0 || (s->no_space && !s->try_space))
		return NULL;
	s->try_space = false;
	return store_segment_new(s, unused_number(s), s->cfg.segment);
}

static bool
prepare_next(struct store *s, struct ahead_job *j)
{
	uint32_t number = s->last_number + 1;
	struct segment *g = pick_free(s, number, true), *made = NULL, *other;
	bool is_new;

	/* Those held back are for when there are no others. */
	if (!g || (g->number != number && s->n_free - s->n_bare <= STORE_HELD_BACK))
		made = make(s);
	is_new = made != NULL;
	g = made ? made : g;
	if (!g && (!s->no_space || s->try_space)) {
		s->try_space = false;
		g = pick_free(s, number, false);
	}
	if (!g)
		return false;
	/* Numbers may be left out, but no file may be lost by another getting its name. */
	while ((other = store_segment_numbered(s, number)) && other != g)
		number++;
	j->what = AHEAD_NEXT;
	j->segment = g;
	j->number = number;
	j->from[0] = '\0';
	if (is_new)
		g->number = number;
	else
		store_name(j->from, g->number);
	store_name(j->to, number);
	return true;
}

static bool
choose(struct store *s, struct ahead_job *j)
{
	bool is_idle = !s->inflight && s->head == s->tail;
	struct segment *g;

	if (!s->next && prepare_next(s, j))
		return true;
	if (s->n_free < STORE_HELD_BACK && (g = make(s))) {
		j->what = AHEAD_SPARE;
		store_name(j->to, g->number);
	} else if ((g = pick(s, is_bare)) && (!s->no_space || s->try_space)) {
		s->try_space = false;
		j->what = AHEAD_SPARE;
		store_name(j->from, g->number);
		store_name(j->to, g->number);
	} else if ((g = pick(s, is_surplus))) {
		j->what = AHEAD_REMOVE;
		store_name(j->from, g->number);
	} else if (s->next && is_idle && s->current && s->next->zeroed < s->next->size) {
		g = s->next;
		j->what = AHEAD_ZERO;
		j->at = g->zeroed;
		j->len = g->size - g->zeroed < STORE_AHEAD_STEP ? g->size - g->zeroed : STORE_AHEAD_STEP;
		j->file = g->writing;
	} else {
		return false;
	}
	j->segment = g;
	return true;
}

void
store_writer_ahead(struct store *s)
{
	struct ahead_job *j = &s->ahead;

	if (j->what != AHEAD_NOTHING || s->state == STORE_FENCED)
		return;
	*j = (struct ahead_job){ .disk = s->cfg.disk, .size = s->cfg.segment };
	if (!choose(s, j)) {
		if (s->no_space && s->next && s->n_free >= STORE_HELD_BACK && !pick(s, is_bare)) {
			s->no_space = false;
			store_update_state(s);
			store_room_grown(s);
		}
		return;
	}
	j->close = store_reader_take(s, j->segment);
	if (task_run(s->cfg.writer, go_ahead, ahead_done, s) == 0)
		return;
	if (!j->from[0] && j->what != AHEAD_ZERO)
		store_segment_remove(s, j->segment);
	disk_file_close(j->close);
	*j = (struct ahead_job){ 0 };
	loop_timer_start(&s->retry, STORE_RETRY_MS);
}
