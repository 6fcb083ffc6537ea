/* control_acts_reload: the configuration is read again, and who asked hears what came of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control_acts.h"

/* The asker may have gone: then the act is freed here. */
static void
reloaded(void *arg, int error, const char *text)
{
	struct act *act = arg;

	act->is_over = true;
	act->error = error;
	snprintf(act->text, sizeof(act->text), "%s", error < 0 || text[0] ? text : "the configuration was read again");
	if (act->control)
		control_wake(act->control);
	else
		free(act);
}

static void
end(struct act *act)
{
	if (act->is_over)
		free(act);
	else
		act->control = NULL;
}

static const char *
trouble(int error)
{
	switch (error) {
	case -EBUSY:
		return "it is being read already: wait until that is over";
	case -ENOENT:
		return "this daemon has no configuration file";
	case -ESHUTDOWN:
		return "the daemon is stopping";
	default:
		return strerror(-error);
	}
}

enum progress
control_act_reload(struct control *c, struct asker *a, struct request *rq)
{
	int r;

	if (rq->act && !rq->act->is_over)
		return WAITS;
	if (rq->act && rq->act->error < 0)
		return act_refuse(a, rq, -rq->act->error, "nothing has changed: %s", rq->act->text);
	if (rq->act)
		return act_finish(c, a, rq);
	if (!act_new(c, a, rq))
		return OVER;
	r = c->src->reload(c->src->arg, reloaded, rq->act);
	if (r < 0)
		return act_refuse(a, rq, -r, "%s", trouble(r));
	rq->act->end = end;
	return WAITS;
}
