/*
 * Opening and freeing; the state, and what is told of it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "store_internal.h"

/* ------------------------------------------------------------------ state -- */

uint64_t
store_now_wall(const struct store *s)
{
	uint64_t wall = loop_wall_ms(s->cfg.loop);

	/* A clock that was set back must not make what is written look older than what was. */
	return wall > s->wall_floor ? wall : s->wall_floor;
}

void
store_set_state(struct store *s, enum store_state st, const char *why)
{
	if (s->state == st || s->state == STORE_FENCED)
		return;
	s->state = st;
	snprintf(s->why, sizeof(s->why), "%s", st == STORE_OPEN ? "" : why);
	loop_defer(s->cfg.loop, &s->tell_call);
}

void
store_fence(struct store *s, const char *what, int error)
{
	char why[160];

	if (s->state == STORE_FENCED)
		return;
	snprintf(why, sizeof(why), "%s: %s", what, strerror(-error));
	store_set_state(s, STORE_FENCED, why);
	loop_timer_stop(&s->linger);
	loop_timer_stop(&s->retry);
	store_reader_fenced(s);
}

void
store_damaged(struct store *s, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	s->stats.damaged++;
	if (!s->ev.damaged)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->ev.damaged(s->ev.arg, text);
}

/* Deferred, so that nothing is told from inside a call of the owner. */
static void
tell(void *arg)
{
	struct store *s = arg;
	bool room = s->wanted_room > 0 && store_room(s) >= s->wanted_room;

	if (room)
		s->wanted_room = 0;
	if (s->state != s->state_told) {
		s->state_told = s->state;
		if (room)
			loop_defer(s->cfg.loop, &s->tell_call), s->wanted_room = 1;
		if (s->ev.state)
			s->ev.state(s->ev.arg, s->state, s->why);
		return;
	}
	if (room && s->ev.room)
		s->ev.room(s->ev.arg);
}

static void
close_now(void *arg)
{
	store_batch_close(arg);
}

void
store_kick(struct store *s)
{
	if (s->state != STORE_FENCED)
		loop_defer(s->cfg.loop, &s->close_call);
}

static void
lingered(void *arg)
{
	store_hurry(arg);
}

static void
retry(void *arg)
{
	store_writer_retry(arg);
}

/* ------------------------------------------------------------------- open -- */

static int
check_config(const struct store_config *cfg, char why[static 200])
{
	if (cfg->segment < STORE_SEGMENT_MIN || cfg->segment % 4096 != 0 || cfg->segment > 1ull << 33 ||
	    cfg->max_disk / cfg->segment < STORE_HELD_BACK + 4 || cfg->max_disk / cfg->segment >= SLOT_SEGMENT_MAX) {
		snprintf(why, 200, "the sizes of the journal and of its segments do not fit");
		return -EINVAL;
	}
	if (disk_is_remote(cfg->disk)) {
		snprintf(why, 200, "the journal is on a network file system, whose syncs cannot be trusted");
		return -EINVAL;
	}
	return 0;
}

static void
init_sizes(struct store *s)
{
	uint64_t half = (s->cfg.segment - STORE_HEADER) / 2 / 4096 * 4096;

	s->batch_max = half < STORE_BATCH_MAX ? half : STORE_BATCH_MAX;
	s->piece_max = s->batch_max / 4 < STORE_PIECE_MAX ? (uint32_t)s->batch_max / 4 : STORE_PIECE_MAX;
	s->usable = s->cfg.segment - STORE_HEADER - STORE_FOOTER;
}

static struct store *
store_new(const struct store_config *cfg, const struct store_events *ev)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->cfg = *cfg;
	s->ev = *ev;
	init_sizes(s);
	loop_call_init(&s->close_call, close_now, s);
	loop_call_init(&s->tell_call, tell, s);
	loop_timer_init(&s->linger, cfg->loop, lingered, s);
	loop_timer_init(&s->retry, cfg->loop, retry, s);
	hmap_init(&s->moved);
	hmap_init(&s->bodies);
	list_init(&s->unput);
	hmap_init(&s->queues.map);
	hmap_init(&s->flows.map);
	list_init(&s->moved_list);
	list_init(&s->queues.list);
	list_init(&s->flows.list);
	list_init(&s->reads);
	s->next_queue = s->next_flow = 1;
	s->next_body = 1;
	s->room_items = 16;
	s->items = calloc(s->room_items, sizeof(*s->items));
	if (!s->items || store_grow(&s->slots, &s->room_slots, 16, sizeof(*s->slots)) < 0 || store_cleaners_new(s) < 0 ||
	    store_snapshot_new(s) < 0) {
		store_free(s);
		return NULL;
	}
	s->slots[0] = (struct slot){ 0 }; /* no message */
	s->n_slots = 1;
	return s;
}

int
store_open(const struct store_config *cfg, const struct store_recovery *found, const struct store_events *ev,
    struct store **ret, char why[static 200])
{
	uint64_t begun = loop_now_ms(cfg->loop);
	struct store *s;
	int r = check_config(cfg, why);

	if (r < 0)
		return r;
	s = store_new(cfg, ev);
	if (!s) {
		snprintf(why, 200, "the journal: out of memory");
		return -ENOMEM;
	}
	why[0] = '\0';
	r = disk_mkdir(cfg->disk, STORE_FOLDER);
	if (r == 0)
		r = store_recover(s, found, why);
	if (r < 0) {
		if (!why[0])
			snprintf(why, 200, "the journal: %s", strerror(-r));
		store_free(s);
		return r;
	}
	s->stats.recovery_ms = loop_now_ms(cfg->loop) - begun;
	s->look = true;
	store_look(s);
	store_writer_ahead(s);
	*ret = s;
	return 0;
}

static void
free_tables(struct store *s)
{
	struct hmap_node *n;

	LIST_FOREACH_SAFE (m, &s->moved_list)
		store_moved_drop(s, list_entry(m, struct moved, list)->ref);
	while ((n = hmap_walk(&s->bodies, NULL)))
		store_body_free(hmap_entry(n, struct store_body, node));
	LIST_FOREACH_SAFE (b, &s->unput)
		store_body_free(list_entry(b, struct store_body, unput));
	store_defined_done(&s->queues);
	store_defined_done(&s->flows);
	hmap_done(&s->moved);
	hmap_done(&s->bodies);
	for (uint32_t i = 0; i < s->n_segments; i++)
		if (s->segments[i])
			store_segment_remove(s, s->segments[i]);
	free(s->segments);
	free(s->slots);
}

void
store_free(struct store *s)
{
	if (!s)
		return;
	loop_call_cancel(&s->close_call);
	loop_call_cancel(&s->tell_call);
	loop_timer_stop(&s->linger);
	loop_timer_stop(&s->retry);
	store_cleaners_free(s);
	store_reader_free(s);
	store_snapshot_free(s);
	s->snapshot = NULL;
	if (s->items)
		for (uint64_t n = s->head; n < s->tail; n++)
			store_item_done(store_item(s, n));
	free(s->items);
	disk_file_close(s->job.sealed);
	if (s->ahead.segment == NULL || s->ahead.segment->writing != s->ahead.file)
		disk_file_close(s->ahead.file);
	disk_file_close(s->ahead.close);
	free_tables(s);
	free(s->buf);
	free(s->releases);
	free(s->dones);
	free(s->marks);
	free(s->offers);
	free(s->index);
	free(s->sealed_index);
	free(s);
}
