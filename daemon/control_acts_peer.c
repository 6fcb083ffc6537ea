/* control_acts_peer: a peer is forgotten or adopted, this node gets another identity. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control_acts.h"
#include "store.h"

/* The state folder tells when it is written; the asker may have gone by then. */
static void
end_written(struct act *act)
{
	if (act->is_written)
		free(act);
	else
		act->control = NULL;
}

static void
written(void *arg, int error)
{
	struct act *act = arg;

	act->is_written = true;
	act->error = error;
	if (act->control)
		control_wake(act->control);
	else
		free(act);
}

static struct link *
find_link(const struct control_sources *src, const char *name)
{
	for (size_t i = 0; i < src->n_links; i++)
		if (strcmp(link_name(src->links[i]), name) == 0)
			return src->links[i];
	return NULL;
}

/* The state folder, then the marks that the store has. */
static enum progress
go_on(struct control *c, const struct asker *a, const struct request *rq)
{
	struct act *act = rq->act;

	if (!act->is_written)
		return WAITS;
	if (act->error < 0)
		return act_refuse(a, rq, -act->error, "the state folder cannot be written: %s; nothing has changed", strerror(-act->error));
	if (act->ticket == 0) {
		c->src->forget_strays(c->src->arg, rq->at.name);
		act_hurry(c, act);
	}
	return act_finish_synced(c, a, rq);
}

static enum progress
begin(struct control *c, struct asker *a, struct request *rq)
{
	struct act *act = act_new(c, a, rq);

	if (!act)
		return OVER;
	act->end = end_written;
	act->is_written = true; /* so far nothing else points there */
	return GOES_ON;
}

static enum progress
refuse(const struct asker *a, const struct request *rq, int r, const char *why)
{
	rq->act->is_written = true;
	return act_refuse(a, rq, -r, "%s", why);
}

/* One that is not configured any more: what is left of it. */
static int
forget_unknown(struct control *c, struct act *act, const char *name, char why[static 200])
{
	struct core *core = c->src->core;
	size_t n = c->src->forget_strays(c->src->arg, name);
	int r = state_forget(core->state, name, written, act);

	if (r == 1 && n == 0) {
		snprintf(why, 200, "there is no peer %s, and nothing is remembered of one", name);
		return -ENOENT;
	}
	if (r == 1)
		written(act, 0);
	else if (r < 0)
		snprintf(why, 200, "cannot write it down: %s", strerror(-r));
	return r < 0 ? r : 0;
}

enum progress
control_act_forget_peer(struct control *c, struct asker *a, struct request *rq)
{
	struct link *l = find_link(c->src, rq->at.name);
	char why[200] = "";
	int r;

	if (rq->act)
		return go_on(c, a, rq);
	if (begin(c, a, rq) == OVER)
		return OVER;
	rq->act->is_written = false;
	act_say(rq->act, "all that was remembered of %s is forgotten: it begins anew when it comes; what waits for it here may reach it twice",
	    rq->at.name);
	r = l ? link_forget(l, written, rq->act, why) : forget_unknown(c, rq->act, rq->at.name, why);
	if (r < 0)
		return refuse(a, rq, r, why);
	log_warning(c->src->core->log, NULL, "an operator has the peer %s forgotten", rq->at.name);
	return go_on(c, a, rq);
}

enum progress
control_act_adopt_peer(struct control *c, struct asker *a, struct request *rq)
{
	struct link *l = find_link(c->src, rq->at.name);
	char why[200] = "";
	int r;

	if (rq->act)
		return go_on(c, a, rq);
	if (!l)
		return act_refuse(a, rq, ENOENT, "no peer %s is configured: `connectctl peers` lists them", rq->at.name);
	if (begin(c, a, rq) == OVER)
		return OVER;
	rq->act->is_written = false;
	act_say(rq->act, "the state that %s has now is taken for its own from here on; it is connected again within a moment, or when it dials",
	    rq->at.name);
	r = link_adopt_folder(l, written, rq->act, why);
	if (r < 0)
		return refuse(a, rq, r, why);
	log_warning(c->src->core->log, NULL, "an operator adopts the present state of the peer %s", rq->at.name);
	return go_on(c, a, rq);
}

/* ------------------------------------------------------------------- renew -- */

/* Outlives the asker: links must go on. */
struct renewal {
	const struct control_sources *src;
	struct act *act;
};

static void
renewed(void *arg, int error)
{
	struct renewal *rn = arg;
	const struct control_sources *src = rn->src;
	struct act *act = rn->act;

	free(rn);
	/* At the end of the daemon there are no links any more. */
	for (size_t i = 0; i < src->n_links && error != -ECANCELED; i++) {
		if (error == 0)
			link_renewed(src->links[i]);
		link_resume(src->links[i]);
	}
	written(act, error);
}

static int
begin_renewal(struct control *c, struct act *act)
{
	const struct control_sources *src = c->src;
	struct renewal *rn = malloc(sizeof(*rn));
	int r;

	if (!rn)
		return -ENOMEM;
	*rn = (struct renewal){ src, act };
	for (size_t i = 0; i < src->n_links; i++)
		link_pause(src->links[i], "this node gets another identity");
	r = state_renew(src->core->state, renewed, rn);
	if (r == 0)
		return 0;
	for (size_t i = 0; i < src->n_links; i++)
		link_resume(src->links[i]);
	free(rn);
	return r;
}

enum progress
control_act_renew(struct control *c, struct asker *a, struct request *rq)
{
	const struct core *core = c->src->core;
	int r;

	if (rq->act && !rq->act->is_written)
		return WAITS;
	if (rq->act && rq->act->error < 0)
		return act_refuse(a, rq, -rq->act->error, "the state folder cannot be written: %s; nothing has changed",
		    strerror(-rq->act->error));
	if (rq->act)
		return act_finish(c, a, rq);
	if (begin(c, a, rq) == OVER)
		return OVER;
	act_say(rq->act, "%s has another identity now; where a peer says so: `connectctl peer adopt %s` there. What waits for others is sent "
	        "again, flagged as what may have come before", core->node->name, core->node->name);
	rq->act->is_written = false;
	r = begin_renewal(c, rq->act);
	if (r < 0)
		return refuse(a, rq, r, strerror(-r));
	log_warning(core->log, NULL, "an operator has this node take another identity");
	return WAITS;
}
