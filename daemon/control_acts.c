/*
 * control_acts: what operators have done. Each verb is a function that is
 * called until it says OVER: it begins, waits for what it has begun (a sync, a
 * link, a task), and goes on in slices.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control_acts.h"
#include "store.h"

/* ------------------------------------------------------------------ saying -- */

struct act *
act_new(struct control *c, struct asker *a, struct request *rq)
{
	rq->act = calloc(1, sizeof(*rq->act));
	if (rq->act)
		rq->act->control = c;
	else
		control_respond_error(a->client, rq->id, ENOMEM, "out of memory");
	return rq->act;
}

enum progress
act_refuse(const struct asker *a, const struct request *rq, int error, const char *fmt, ...)
{
	char reason[WIRE_REASON_MAX + 1];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	control_respond_error(a->client, rq->id, error, reason);
	return OVER;
}

void
act_say(struct act *act, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(act->text, sizeof(act->text), fmt, ap);
	va_end(ap);
}

enum progress
act_finish(struct control *c, const struct asker *a, const struct request *rq)
{
	records_done(rq->act->text, &c->page);
	control_respond(a->client, rq->id, true, wire_bytes(c->page.data, c->page.len));
	return OVER;
}

void
act_hurry(struct control *c, struct act *act)
{
	struct store *s = c->src->core->store;

	store_hurry(s);
	act->ticket = store_ticket(s);
}

bool
act_has_failed(const struct control *c)
{
	struct store_stats st;

	store_stats(c->src->core->store, &st);
	return st.state == STORE_FENCED;
}

enum progress
act_finish_synced(struct control *c, const struct asker *a, const struct request *rq)
{
	if (act_has_failed(c))
		return act_refuse(a, rq, EIO, "the journal has failed: this counts until the next start only; mend the disk, restart connectd");
	return store_synced(c->src->core->store) < rq->act->ticket ? WAITS : act_finish(c, a, rq);
}

/* --------------------------------------------------------------- producers -- */

struct owners {
	const struct request *rq;
	const char *queue;
	struct intake_book *found;
	unsigned n;
	bool is_in_book;
};

static bool
look_for(void *arg, const struct intake_producer *p)
{
	struct owners *o = arg;

	o->is_in_book = wire_bytes_equal(p->name, wire_string(o->rq->at.name)) && strcmp(p->queue, o->queue) == 0;
	return !o->is_in_book;
}

static bool
look_in(void *arg, struct intake_book *b)
{
	struct owners *o = arg;

	if (o->rq->by_uid && b->owner.uid != o->rq->uid)
		return true;
	o->is_in_book = false;
	intake_each_producer(b, look_for, o);
	if (o->is_in_book) {
		o->found = b;
		o->n++;
	}
	return true;
}

static enum progress
forget_producer(struct control *c, struct asker *a, struct request *rq)
{
	struct core *core = c->src->core;
	const char *name = rq->at.name, *queue = rq->argument ? rq->argument : "", *reason;
	struct owners o = { .rq = rq, .queue = queue };
	struct queue *q;

	if (rq->act)
		return act_finish_synced(c, a, rq);
	/* Marks outlive queues. */
	if (router_find(core->router, client_subject(a->client), wire_string(queue), &q, &reason) == WIRE_VERDICT_OK)
		o.queue = queue_name(q);
	clients_each_book(c->src->clients, look_in, &o);
	if (o.n > 1)
		return act_refuse(a, rq, EINVAL, "several users have a producer %s at %s: say whose with --uid", name, o.queue);
	switch (o.n == 0 ? -ENOENT : intake_forget_producer(&core->intake, o.found, wire_string(name), o.queue)) {
	case 0:
		break;
	case -EAGAIN:
		return BLOCKED;
	case -EBUSY:
		return act_refuse(a, rq, EBUSY, "the producer %s is open at %s: end the program that has it open first", name, o.queue);
	default:
		return act_refuse(a, rq, ENOENT, "there is no producer %s at %s: `connectctl producers` lists them", name, o.queue);
	}
	if (!act_new(c, a, rq))
		return OVER;
	act_say(rq->act, "the producer %s at %s is forgotten: opened again it begins at 0", name, o.queue);
	log_warning(core->log, NULL, "an operator has the producer %s at %s forgotten", name, o.queue);
	act_hurry(c, rq->act);
	return act_finish_synced(c, a, rq);
}

/* ------------------------------------------------------------------- verbs -- */

static enum progress (*const verbs[])(struct control *c, struct asker *a, struct request *rq) = {
	[WIRE_ADMIN_PRODUCER_FORGET] = forget_producer,
	[WIRE_ADMIN_PEER_FORGET] = control_act_forget_peer,
	[WIRE_ADMIN_PEER_ADOPT] = control_act_adopt_peer,
	[WIRE_ADMIN_RENEW] = control_act_renew,
	[WIRE_ADMIN_PURGE] = control_act_purge,
	[WIRE_ADMIN_MOVE] = control_act_move,
	[WIRE_ADMIN_HOLD] = control_act_hold,
	[WIRE_ADMIN_RELEASE] = control_act_hold,
	[WIRE_ADMIN_BACKUP] = control_act_backup,
	[WIRE_ADMIN_RELOAD] = control_act_reload,
};

#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

bool
control_is_act(enum wire_admin_verb verb)
{
	return (size_t)verb < N_VERBS && verbs[verb];
}

enum progress
control_act(struct control *c, struct asker *a, struct request *rq)
{
	return verbs[rq->verb](c, a, rq);
}

void
control_act_end(struct request *rq)
{
	struct act *act = rq->act;

	rq->act = NULL;
	if (!act)
		return;
	if (act->end)
		act->end(act);
	else
		free(act);
}
