#include "recover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* By their numbers in the store. */
struct table {
	void **at;
	size_t cap;
};

struct recovery {
	const struct recover_env *env;
	struct table queues, flows; /* struct queue, struct sender; NULL: left out */
	struct recover_report report;
	int error; /* the first */
	uint64_t newest_seq;
};

static int
put(struct table *t, uint32_t number, void *value)
{
	if (number >= t->cap) {
		size_t cap = t->cap ? t->cap : 64;
		void **at;

		while (cap <= number)
			cap *= 2;
		at = realloc(t->at, cap * sizeof(*at));
		if (!at)
			return -ENOMEM;
		memset(at + t->cap, 0, (cap - t->cap) * sizeof(*at));
		t->at = at;
		t->cap = cap;
	}
	t->at[number] = value;
	return 0;
}

static void *
get(const struct table *t, uint32_t number)
{
	return number < t->cap ? t->at[number] : NULL;
}

static void
failed(struct recovery *rec, int error)
{
	if (error < 0 && rec->error == 0)
		rec->error = error;
}

static void
on_queue(void *arg, uint32_t number, uint64_t last_seq, uint64_t offered, struct store_bytes definition)
{
	struct recovery *rec = arg;
	struct core *core = rec->env->core;
	struct queue *q;
	int r = router_restore(core->router, definition, &q);

	if (last_seq > rec->newest_seq)
		rec->newest_seq = last_seq;
	if (r == -ENOMEM) {
		failed(rec, r);
		return;
	}
	if (r < 0 || queue_number(q) != 0) {
		rec->report.left_out++;
		return;
	}
	queue_restore(q, number, offered);
	failed(rec, put(&rec->queues, number, q));
	rec->report.queues++;
}

/* Whose flow it is. -ENOENT: nobody who is known here; -ENOMEM. */
static int
find_book(const struct recover_env *env, const struct intake_owner *owner, struct intake_book **ret)
{
	struct link *l;

	if (!owner->is_peer) {
		*ret = clients_book(env->clients, owner->uid);
		return *ret ? 0 : -ENOMEM;
	}
	l = env->find(env->arg, owner->peer);
	if (!l && conf_peer_find(env->core->conf, owner->peer))
		return -ENOMEM;
	/* Of another state folder of that name: it ended with that folder. */
	if (!l || memcmp(link_book(l)->owner.store_id, owner->store_id, sizeof(owner->store_id)) != 0)
		return -ENOENT;
	*ret = link_book(l);
	return 0;
}

/* An operator may have it forgotten. Without memory for that it is just left alone. */
static void
note_stray(struct recover_report *report, const char *peer, uint32_t number)
{
	size_t n = report->n_strays;
	struct recover_stray *more = report->strays;

	if ((n & (n - 1)) == 0) /* doubles */
		more = realloc(report->strays, (n ? 2 * n : 1) * sizeof(*more));
	if (!more)
		return;
	report->strays = more;
	snprintf(more[n].peer, sizeof(more[n].peer), "%s", peer);
	more[n].flow = number;
	report->n_strays++;
}

static void
on_flow(void *arg, uint32_t number, uint64_t mark, struct store_bytes definition)
{
	struct recovery *rec = arg;
	struct intake_definition d;
	bool is_sound = intake_definition_decode(definition, &d) == 0;
	struct intake_book *b;
	struct sender *s;
	int r = is_sound ? find_book(rec->env, &d.owner, &b) : -EBADMSG;

	if (r == 0)
		r = intake_restore(&rec->env->core->intake, b, &d, number, mark, &s);
	if (r == -ENOMEM) {
		failed(rec, r);
		return;
	}
	if (r < 0) {
		rec->report.left_out++;
		if (is_sound && d.owner.is_peer)
			note_stray(&rec->report, d.owner.peer, number);
		return;
	}
	failed(rec, put(&rec->flows, number, s));
	rec->report.flows++;
}

static void
on_message(void *arg, const struct store_found *m)
{
	struct recovery *rec = arg;
	struct queue *q = get(&rec->queues, m->queue);

	if (!q) {
		rec->report.left_out++;
		return;
	}
	if (m->seq > rec->newest_seq)
		rec->newest_seq = m->seq;
	failed(rec, queue_restore_message(q, m, get(&rec->flows, m->flow)));
	rec->report.messages++;
}

static void
on_progress(void *arg, uint64_t done, uint64_t total)
{
	const struct recovery *rec = arg;

	if (rec->env->progress)
		rec->env->progress(rec->env->progress_arg, done, total);
}

int
recover(const struct recover_env *env, const struct store_config *cfg, const struct store_events *ev, struct store **ret,
    struct recover_report *ret_report, char why[static 200])
{
	struct recovery rec = { .env = env };
	const struct store_recovery found = { on_queue, on_flow, on_message, on_progress, &rec };
	struct store *s = NULL;
	int r = store_open(cfg, &found, ev, &s, why);

	if (r == 0 && rec.newest_seq >> 40 > cfg->start_count) {
		snprintf(why, 200, "the journal is of a later start than the rest of the state folder: parts of it were restored; "
		                   "restore it as a whole, or start with an empty one");
		r = -EINVAL;
	}
	if (r == 0 && rec.error < 0) {
		snprintf(why, 200, "out of memory for what the journal holds");
		r = rec.error;
	}
	free(rec.queues.at);
	free(rec.flows.at);
	*ret = s;
	if (r < 0) {
		free(rec.report.strays);
		return r;
	}
	router_restored(env->core->router);
	*ret_report = rec.report;
	return 0;
}
