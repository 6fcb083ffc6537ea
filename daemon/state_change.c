/* Changes of the state folder while the daemon runs: each is written by a task, and counts from when it is on disk. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state_internal.h"

static void
write_run(void *arg)
{
	struct write *w = arg;

	if (w->change == STATE_JOURNAL) {
		w->error = state_starts_mark(w->state);
		return;
	}
	if (w->change != STATE_FORGET) {
		w->error = disk_replace(w->disk, w->path, w->text, w->len);
		return;
	}
	w->error = disk_remove(w->disk, w->path);
	if (w->error == 0 || w->error == -ENOENT)
		w->error = disk_sync_folder(w->disk, "peers");
}

static void
take_effect(const struct write *w)
{
	struct state *s = w->state;

	switch (w->change) {
	case STATE_MEET:
		w->peer->met = w->met;
		break;
	case STATE_FORGET:
		w->peer->met = (struct state_peer){ 0 };
		break;
	case STATE_RENEW:
		memcpy(s->store_id, w->met.store_id, STATE_ID);
		break;
	case STATE_JOURNAL:
		s->journal_start = s->n_boots;
		break;
	}
}

static void
write_done(void *arg)
{
	struct write *w = arg;
	void (*done)(void *, int) = w->done;
	void *done_arg = w->arg;
	int error = w->error;

	if (error == 0)
		take_effect(w);
	list_remove(&w->node);
	free(w);
	done(done_arg, error);
}

void
state_changes_done(struct state *s)
{
	struct list *l;

	while ((l = list_first(&s->writes))) {
		struct write *w = list_entry(l, struct write, node);

		w->error = -ECANCELED;
		write_done(w);
	}
}

static struct write *
write_new(struct state *s, enum state_change change, struct met *p, void (*done)(void *arg, int error), void *arg)
{
	struct write *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->change = change;
	w->state = s;
	w->disk = s->disk;
	w->peer = p;
	w->done = done;
	w->arg = arg;
	return w;
}

static int
submit(struct state *s, struct write *w)
{
	int r = task_run(s->runner, write_run, write_done, w);

	if (r < 0) {
		free(w);
		return r;
	}
	list_append(&s->writes, &w->node);
	return 0;
}

static bool
same(const struct state_peer *a, const struct state_peer *b)
{
	return memcmp(a->store_id, b->store_id, STATE_ID) == 0 && a->start_count == b->start_count &&
	    a->boot_id == b->boot_id;
}

bool
state_is_changing(const struct state *s, const struct met *p)
{
	LIST_FOREACH (n, &s->writes)
		if (list_entry(n, struct write, node)->peer == p)
			return true;
	return false;
}

int
state_meet(struct state *s, const char *peer, const struct state_peer *met, void (*done)(void *arg, int error), void *arg)
{
	struct met *p = state_peer_find(s, peer);
	struct write *w;

	if (!names_node_ok(peer, strlen(peer)) || met->start_count == 0 || met->start_count > STATE_START_MAX)
		return -EINVAL;
	if (p && same(&p->met, met) && !state_is_changing(s, p))
		return 1;
	if (!p)
		p = state_peer_add(s, peer);
	w = p ? write_new(s, STATE_MEET, p, done, arg) : NULL;
	if (!w)
		return -ENOMEM;
	w->met = *met;
	state_peer_path(peer, w->path);
	w->len = state_peer_print(met, w->text);
	return submit(s, w);
}

int
state_forget(struct state *s, const char *peer, void (*done)(void *arg, int error), void *arg)
{
	struct met *p = state_peer_find(s, peer);
	struct write *w;

	if (!p || (p->met.start_count == 0 && !state_is_changing(s, p)))
		return 1;
	w = write_new(s, STATE_FORGET, p, done, arg);
	if (!w)
		return -ENOMEM;
	state_peer_path(peer, w->path);
	return submit(s, w);
}

int
state_renew(struct state *s, void (*done)(void *arg, int error), void *arg)
{
	struct write *w = write_new(s, STATE_RENEW, NULL, done, arg);

	if (!w)
		return -ENOMEM;
	loop_random(s->loop, w->met.store_id, STATE_ID);
	snprintf(w->path, sizeof(w->path), "node");
	/* Starts go on being counted: the folder's history is its own. */
	w->len = state_node_print(s->node, w->met.store_id, s->first_id, w->text);
	return submit(s, w);
}

int
state_mark_journal_soon(struct state *s, void (*done)(void *arg, int error), void *arg)
{
	struct write *w = write_new(s, STATE_JOURNAL, NULL, done, arg);

	return w ? submit(s, w) : -ENOMEM;
}
