/*
 * state: the files of the state folder.
 *
 *   lock             held (flock) as long as the daemon runs
 *   node             whose folder this is, and its store id; written once
 *   starts           16 bytes a start: boot id, check
 *   peers/NAME.peer  whom I last met under that name
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state_internal.h"

/* A record on its way to the disk. The task touches only what is here. */
struct write {
	struct list node;
	struct disk *disk;
	char path[PEER_PATH_MAX];
	char text[STATE_TEXT_MAX];
	size_t len;
	int error;
	struct peer *peer;
	struct state_peer met;
	void (*done)(void *arg, int error);
	void *arg;
};

/* ------------------------------------------------------------------- peers -- */

static struct peer *
peer_find(const struct state *s, const char *name)
{
	uint64_t hash = hmap_hash(name, strlen(name), s->seed);

	for (struct hmap_node *n = hmap_find(&s->peers, hash); n; n = hmap_find_next(n)) {
		struct peer *p = hmap_entry(n, struct peer, node);

		if (strcmp(p->name, name) == 0)
			return p;
	}
	return NULL;
}

struct peer *
state_peer_add(struct state *s, const char *name)
{
	struct peer *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	snprintf(p->name, sizeof(p->name), "%s", name);
	if (hmap_add(&s->peers, &p->node, hmap_hash(name, strlen(name), s->seed)) < 0) {
		free(p);
		return NULL;
	}
	return p;
}

/* ----------------------------------------------------------------- meeting -- */

static void
write_run(void *arg)
{
	struct write *w = arg;

	w->error = disk_replace(w->disk, w->path, w->text, w->len);
}

static void
write_done(void *arg)
{
	struct write *w = arg;
	void (*done)(void *, int) = w->done;
	void *done_arg = w->arg;
	int error = w->error;

	/* What was met counts from when it is on disk. */
	if (error == 0)
		w->peer->met = w->met;
	list_remove(&w->node);
	free(w);
	done(done_arg, error);
}

/* ------------------------------------------------------------- the folder -- */

int
state_open(struct loop *l, struct task_runner *runner, const char *path, const char *node, struct state **ret,
    char why[static 200])
{
	struct state *s = calloc(1, sizeof(*s));
	char detail[200] = "";
	int r;

	if (!s) {
		snprintf(why, 200, "out of memory");
		return -ENOMEM;
	}
	s->loop = l;
	s->runner = runner;
	hmap_init(&s->peers);
	list_init(&s->writes);
	loop_random(l, &s->seed, sizeof(s->seed));
	r = disk_open(path, true, &s->disk);
	if (r == -EPERM)
		snprintf(detail, sizeof(detail), "it must be the daemon's own user's, and closed to others");
	if (r == 0)
		r = disk_lock(s->disk, "lock");
	if (r == -EWOULDBLOCK) {
		r = -EBUSY;
		snprintf(detail, sizeof(detail), "another daemon uses it");
	}
	if (r == 0)
		r = state_read_node(s, node, detail);
	if (r == 0)
		r = disk_mkdir(s->disk, "peers");
	if (r == 0)
		r = state_read_peers(s, detail);
	if (r == 0)
		r = state_begin_start(s, detail);
	if (r == 0) {
		*ret = s;
		return 0;
	}
	snprintf(why, 200, "state folder %.80s: %.100s", path, detail[0] ? detail : strerror(-r));
	state_close(s);
	return r;
}

void
state_close(struct state *s)
{
	struct hmap_node *n;
	struct list *l;

	if (!s)
		return;
	while ((l = list_first(&s->writes))) {
		struct write *w = list_entry(l, struct write, node);

		w->error = -ECANCELED;
		write_done(w);
	}
	while ((n = hmap_walk(&s->peers, NULL))) {
		hmap_remove(&s->peers, n);
		free(hmap_entry(n, struct peer, node));
	}
	hmap_done(&s->peers);
	free(s->boots);
	disk_close(s->disk);
	free(s);
}

const uint8_t *
state_store_id(const struct state *s)
{
	return s->store_id;
}

uint32_t
state_start_count(const struct state *s)
{
	return s->n_boots;
}

uint64_t
state_boot_id(const struct state *s)
{
	return s->boots[s->n_boots - 1];
}

bool
state_had_start(const struct state *s, uint32_t start_count, uint64_t boot_id)
{
	if (start_count == 0)
		return boot_id == 0;
	return start_count <= s->n_boots && s->boots[start_count - 1] == boot_id;
}

/* ------------------------------------------------------------- who was met -- */

const struct state_peer *
state_met(const struct state *s, const char *peer)
{
	struct peer *p = peer_find(s, peer);

	return p && p->met.start_count > 0 ? &p->met : NULL;
}

const char *
state_name_of(const struct state *s, const uint8_t store_id[static STATE_ID])
{
	for (struct hmap_node *n = hmap_walk(&s->peers, NULL); n; n = hmap_walk(&s->peers, n)) {
		const struct peer *p = hmap_entry(n, struct peer, node);

		if (p->met.start_count > 0 && memcmp(p->met.store_id, store_id, STATE_ID) == 0)
			return p->name;
	}
	return NULL;
}

static bool
same(const struct state_peer *a, const struct state_peer *b)
{
	return memcmp(a->store_id, b->store_id, STATE_ID) == 0 && a->start_count == b->start_count &&
	    a->boot_id == b->boot_id;
}

/* Is another record of this peer on its way, which would take the place of the present one? */
static bool
is_changing(const struct state *s, const struct peer *p)
{
	LIST_FOREACH (n, &s->writes)
		if (list_entry(n, struct write, node)->peer == p)
			return true;
	return false;
}

int
state_meet(struct state *s, const char *peer, const struct state_peer *met, void (*done)(void *arg, int error), void *arg)
{
	struct peer *p = peer_find(s, peer);
	struct write *w;
	int r;

	if (!names_node_ok(peer, strlen(peer)) || met->start_count == 0 || met->start_count > STATE_START_MAX)
		return -EINVAL;
	if (p && same(&p->met, met) && !is_changing(s, p))
		return 1;
	if (!p)
		p = state_peer_add(s, peer);
	w = p ? calloc(1, sizeof(*w)) : NULL;
	if (!w)
		return -ENOMEM;
	w->disk = s->disk;
	w->peer = p;
	w->met = *met;
	w->done = done;
	w->arg = arg;
	state_peer_path(peer, w->path);
	w->len = state_peer_print(met, w->text);
	r = task_run(s->runner, write_run, write_done, w);
	if (r < 0) {
		free(w);
		return r;
	}
	list_append(&s->writes, &w->node);
	return 0;
}
