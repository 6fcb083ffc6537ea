/* Work of the writer's task: batches. What it does ahead of them is in store_ahead.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "store_internal.h"
#include "task.h"

bool
store_is_no_space(int error)
{
	return error == -ENOSPC || error == -EDQUOT;
}

bool
store_is_passing(int error)
{
	return store_is_no_space(error) || error == -ENOMEM || error == -EMFILE || error == -ENFILE || error == -EAGAIN;
}

/* ------------------------------------------------------------------ batch -- */

static void
write_batch(void *arg)
{
	struct write_job *j = &((struct store *)arg)->job;
	ssize_t n;

	/* The index only saves reading: whether it could be written does not matter. */
	if (j->sealed) {
		if (j->index_len > 0 && disk_pwrite(j->sealed, j->index, j->index_len, j->index_at) > 0)
			disk_pwrite(j->sealed, j->footer, sizeof(j->footer), j->footer_at);
		disk_file_close(j->sealed);
		j->sealed = NULL;
	}
	j->was_sync = false;
	n = disk_pwrite(j->file, j->data, j->len, j->offset);
	j->error = n < 0 ? (int)n : 0;
	if (j->error < 0)
		return;
	j->was_sync = true;
	j->error = disk_sync(j->file);
}

void
store_update_state(struct store *s)
{
	if (s->batch_full)
		store_set_state(s, STORE_FULL, "the file system has no space for a batch of the journal");
	else if (s->no_space && store_segments_left(s) <= STORE_HELD_BACK)
		store_set_state(s, STORE_FULL, "the file system has no space for another segment of the journal");
	else
		store_set_state(s, STORE_OPEN, "");
}

static void
batch_done(void *arg)
{
	struct store *s = arg;
	uint64_t us = (loop_now(s->cfg.loop) - s->handed_ns) / 1000;

	if (s->state == STORE_FENCED)
		return;
	if (s->job.error < 0 && !s->job.was_sync && store_is_passing(s->job.error)) {
		s->resubmit = true;
		s->batch_full = true;
		store_update_state(s);
		loop_timer_start(&s->retry, STORE_RETRY_MS);
		return;
	}
	if (s->job.error < 0) {
		store_fence(s, s->job.was_sync ? "sync of the journal" : "write to the journal", s->job.error);
		return;
	}
	s->batch_full = false;
	store_update_state(s);
	s->stats.syncs++;
	s->stats.newest_start = s->cfg.start_count;
	s->stats.sync_us_last = us;
	if (s->stats.sync_us_max < us)
		s->stats.sync_us_max = us;
	store_batch_synced(s);
}

void
store_writer_submit(struct store *s)
{
	s->resubmit = task_run(s->cfg.writer, write_batch, batch_done, s) < 0;
	if (s->resubmit)
		loop_timer_start(&s->retry, STORE_RETRY_MS);
}

static void
release(struct store *s, const struct release *r)
{
	struct segment *g = s->segments[r->segment];
	struct slot *t = &s->slots[r->ref];

	if (r->ref) {
		if (t->damaged)
			g->damaged--;
		s->live_bytes -= store_record_cost(s, g->records[r->record].len);
		if (t->large) {
			struct store_body *b = store_body_find(s, r->ref);

			store_body_release(s, b);
			store_body_free(b);
		}
		store_slot_free(s, r->ref);
	}
	store_segment_release(s, g, r->record);
}

void
store_look(struct store *s)
{
	bool look = s->look || ++s->looked >= STORE_LOOK_BATCHES;

	if (look) {
		s->look = false;
		s->looked = 0;
		s->died = 0;
		store_segment_sweep(s);
		store_snapshot(s);
	}
	store_clean(s, look);
	if (store_snapshot_waiting(s) || store_clean_waiting(s, 1) > 0)
		store_kick(s);
}

void
store_batch_synced(struct store *s)
{
	struct segment *g = s->current;

	s->inflight = false;
	for (uint32_t i = s->first_inflight; g && i < g->n_records; i++)
		if (g->records[i].ref)
			s->slots[g->records[i].ref].state = SLOT_WRITTEN;
	s->first_inflight = g ? g->n_records : 0;
	for (size_t i = 0; i < s->n_releases; i++)
		release(s, &s->releases[i]);
	s->n_releases = 0;
	s->synced = s->closed;
	for (size_t i = 0; i < s->n_offers && s->ev.offered; i++)
		s->ev.offered(s->ev.arg, s->offers[i].number, s->offers[i].value);
	s->n_offers = 0;
	store_snapshot_synced(s);
	store_look(s);
	store_reader_synced(s);
	store_room_grown(s);
	store_writer_ahead(s);
	if (s->hurry)
		store_kick(s);
	else if (s->head < s->tail && !s->linger.armed)
		loop_timer_start(&s->linger, STORE_LINGER_MS);
	/* Last: the owner may end the store. */
	if (s->ev.synced && s->told < s->synced) {
		s->told = s->synced;
		s->ev.synced(s->ev.arg, s->synced);
	}
}

void
store_writer_retry(struct store *s)
{
	if (s->state == STORE_FENCED) {
		store_reader_fenced(s);
		return;
	}
	/* The timer has other reasons, too: a batch that is with the writer must not go there twice. */
	if (s->resubmit)
		store_writer_submit(s);
	s->try_space = s->no_space;
	s->look = true;
	store_look(s);
	store_writer_ahead(s);
	if (s->no_space && !s->retry.armed)
		loop_timer_start(&s->retry, STORE_RETRY_MS);
	store_kick(s);
}
