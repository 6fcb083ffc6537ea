/* control_acts_queue: hold, release, purge; and move, in slices. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "admin.pb-c.h"
#include "control_acts.h"
#include "store.h"

#define SLICE 256       /* messages moved before others get their turn */
#define UNSYNCED_MAX 8192 /* more is not appended before that is written */
#define TELL_MS 500     /* how often it is told how far it got */

enum progress
control_act_hold(struct control *c, struct asker *a, struct request *rq)
{
	bool held = rq->verb == WIRE_ADMIN_HOLD;
	struct core *core = c->src->core;
	struct queue *q;
	int r;

	if (rq->act)
		return act_finish_synced(c, a, rq);
	q = control_find_queue(c, a, rq, rq->at.name);
	if (!q || !act_new(c, a, rq))
		return OVER;
	if (queue_is_held(q) == held) {
		act_say(rq->act, "%s %s", queue_name(q), held ? "is held already" : "was not held");
		return act_finish(c, a, rq);
	}
	r = queue_hold(q, held);
	if (r < 0)
		return act_refuse(a, rq, -r, "the journal does not take it: %s; see the daemon's log", strerror(-r));
	if (held)
		act_say(rq->act, "%s is held%s: `connectctl release %s` lets it go on", queue_name(q),
		    queue_number(q) ? "" : ", until the daemon ends", queue_name(q));
	else
		act_say(rq->act, "%s is released", queue_name(q));
	log_warning(core->log, NULL, "an operator has queue %s %s", queue_name(q), held ? "held" : "released");
	if (core->event)
		core->event(core->event_arg, "queue", queue_name(q), held ? "held" : "released", "");
	act_hurry(c, rq->act);
	return act_finish_synced(c, a, rq);
}

/* ------------------------------------------------------------------- purge -- */

static void
purge(struct control *c, struct act *act, struct queue *q)
{
	const struct core *core = c->src->core;
	struct queue_stats before;
	struct queue_purged purged;

	queue_stats(q, loop_now_ms(core->loop), &before);
	queue_purge(q, &purged);
	act->messages = purged.messages;
	act->bytes = purged.bytes;
	act->in_doubt = purged.in_doubt;
	log_warning(core->log, NULL, "an operator has %llu messages purged from %s", (unsigned long long)act->messages, queue_name(q));
	/* What was in memory alone is gone whatever becomes of the journal. */
	if (before.stored > 0)
		act_hurry(c, act);
}

enum progress
control_act_purge(struct control *c, struct asker *a, struct request *rq)
{
	Connectd__V1__Purged r;
	struct queue *q;

	if (!rq->act) {
		q = control_find_queue(c, a, rq, rq->at.name);
		if (!q || !act_new(c, a, rq))
			return OVER;
		purge(c, rq->act, q);
	}
	if (rq->act->ticket != 0 && act_has_failed(c))
		return act_finish_synced(c, a, rq);
	if (store_synced(c->src->core->store) < rq->act->ticket)
		return WAITS;
	connectd__v1__purged__init(&r);
	r.messages = rq->act->messages;
	r.bytes = rq->act->bytes;
	r.in_doubt = rq->act->in_doubt;
	c->page.len = 0;
	page_add(&c->page, &r.base);
	control_respond(a->client, rq->id, true, wire_bytes(c->page.data, c->page.len));
	return OVER;
}

/* -------------------------------------------------------------------- move -- */

/* Where to, made if missing; NULL: the asker has been told why not. */
static struct queue *
find_target(struct control *c, const struct asker *a, const struct request *rq)
{
	struct core *core = c->src->core;
	const char *name = rq->argument ? rq->argument : "", *slash = strchr(name, '/'), *reason;
	size_t node_len = strlen(core->node->name);
	struct queue *q;

	if (slash && ((size_t)(slash - name) != node_len || memcmp(name, core->node->name, node_len) != 0)) {
		act_refuse(a, rq, EINVAL, "%s is a queue of another node: messages are moved between queues of this one", name);
		return NULL;
	}
	switch (router_send(core->router, client_subject(a->client), wire_string(name), &q, &reason)) {
	case WIRE_VERDICT_OK:
		return q;
	case WIRE_VERDICT_DENIED:
		act_refuse(a, rq, EACCES, "%s: %s", name, reason);
		return NULL;
	default:
		act_refuse(a, rq, EINVAL, "%s: %s", name, reason);
		return NULL;
	}
}

static enum progress
tell(struct control *c, const struct asker *a, const struct request *rq, const char *stopped, bool last)
{
	const struct core *core = c->src->core;
	struct queue *from;
	struct queue_stats st = { .messages = 0 };
	const char *reason;
	Connectd__V1__Moved r;

	connectd__v1__moved__init(&r);
	if (router_find(core->router, client_subject(a->client), wire_string(rq->at.name), &from, &reason) == WIRE_VERDICT_OK)
		queue_stats(from, loop_now_ms(core->loop), &st);
	r.messages = rq->act->messages;
	r.bytes = rq->act->bytes;
	r.left = st.messages;
	r.stopped = records_string(stopped);
	c->page.len = 0;
	page_add(&c->page, &r.base);
	control_respond(a->client, rq->id, last, wire_bytes(c->page.data, c->page.len));
	return last ? OVER : GOES_ON;
}

/* All is appended: when that is synced it is over. */
static enum progress
end_move(struct control *c, struct request *rq, const char *who, const char *stopped)
{
	const struct core *core = c->src->core;

	rq->act->is_over = true;
	act_say(rq->act, "%s%s", who, stopped);
	log_warning(core->log, NULL, "an operator has %llu messages moved from %s to %s", (unsigned long long)rq->act->messages,
	    rq->at.name, rq->argument);
	act_hurry(c, rq->act);
	return GOES_ON;
}

static enum progress
begin_move(struct control *c, struct asker *a, struct request *rq)
{
	struct queue *from = control_find_queue(c, a, rq, rq->at.name), *to = from ? find_target(c, a, rq) : NULL;

	if (!to)
		return OVER;
	if (queue_node(from))
		return act_refuse(a, rq, EINVAL, "%s is for another node: messages are moved between queues of this one", queue_name(from));
	if (from == to)
		return act_refuse(a, rq, EINVAL, "%s is both: nothing to move", queue_name(from));
	if (!act_new(c, a, rq))
		return OVER;
	/* What comes from now on stays; what is there may have to be synced before it can be moved. */
	rq->act->up_to = queue_last_seq(from);
	rq->act->told_ms = loop_now_ms(c->src->core->loop);
	act_hurry(c, rq->act);
	return GOES_ON;
}

enum progress
control_act_move(struct control *c, struct asker *a, struct request *rq)
{
	const struct core *core = c->src->core;
	struct act *act = rq->act;
	struct queue *from, *to;
	struct queue_moved moved;
	uint64_t max;
	int r;

	if (!act)
		return begin_move(c, a, rq);
	if (act_has_failed(c))
		return act_refuse(a, rq, EIO, "the journal has failed: messages are where they were when it last worked; restart connectd");
	if (act->is_over)
		return store_synced(core->store) < act->ticket ? WAITS : tell(c, a, rq, act->text, true);
	if (store_synced(core->store) < act->ticket || store_ticket(core->store) > store_synced(core->store) + UNSYNCED_MAX)
		return WAITS;
	/* They may have gone meanwhile. */
	from = control_find_queue(c, a, rq, rq->at.name);
	to = from ? find_target(c, a, rq) : NULL;
	if (!to)
		return OVER;
	max = rq->at.left - act->messages < SLICE ? rq->at.left - act->messages : SLICE;
	r = queue_move(from, to, act->up_to, max, &moved);
	act->messages += moved.messages;
	act->bytes += moved.bytes;
	store_hurry(core->store);
	if (r == -ENOSPC)
		return end_move(c, rq, queue_name(to), " is full: its max_messages or max_bytes are reached");
	if (r == -ENOTSUP)
		return end_move(c, rq, queue_name(to), " keeps messages in memory, where durable ones would not be safe: make it durable");
	if (r < 0)
		return end_move(c, rq, "it cannot go on, see the daemon's log: ", strerror(-r));
	if (r == 0 || act->messages == rq->at.left)
		return end_move(c, rq, "", "");
	if (loop_now_ms(core->loop) < act->told_ms + TELL_MS)
		return GOES_ON;
	act->told_ms = loop_now_ms(core->loop);
	return tell(c, a, rq, "", false);
}
