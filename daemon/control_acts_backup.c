/* control_acts_backup: one backup at a time, which goes on beside the loop. */
#include <errno.h>
#include <stdlib.h>

#include "admin.pb-c.h"
#include "backup.h"
#include "control_acts.h"

#define TELL_MS 500 /* how often it is told how far it got */

static const char failed[] = "the journal has failed: mend the disk and restart connectd first";

static void
over(void *arg)
{
	struct control *c = arg;

	c->backup_is_over = true;
	if (c->backup_act) {
		control_wake(c);
		return;
	}
	backup_free(c->backup);
	c->backup = NULL;
}

/* The asker has gone: so has the wish. */
static void
end(struct act *act)
{
	struct control *c = act->control;

	if (c->backup_act == act) {
		c->backup_act = NULL;
		if (c->backup_is_over)
			over(c);
		else
			backup_cancel(c->backup);
	}
	free(act);
}

static enum progress
tell(struct control *c, const struct asker *a, const struct request *rq, bool last)
{
	Connectd__V1__BackedUp r;

	connectd__v1__backed_up__init(&r);
	backup_progress(c->backup, &r.bytes, &r.total_bytes);
	r.folder = records_string(rq->argument);
	page_add(&c->page, &r.base);
	control_respond(a->client, rq->id, last, wire_bytes(c->page.data, c->page.len));
	return last ? OVER : BLOCKED;
}

static enum progress
begin(struct control *c, struct asker *a, struct request *rq)
{
	const struct core *core = c->src->core;
	struct act *act;

	if (!rq->argument || rq->argument[0] != '/')
		return act_refuse(a, rq, EINVAL, "a backup goes into a folder that is named from / on");
	if (c->backup)
		return act_refuse(a, rq, EBUSY, "a backup is under way: wait until it is over");
	if (act_has_failed(c))
		return act_refuse(a, rq, EIO, "%s", failed);
	act = act_new(c, a, rq);
	if (!act)
		return OVER;
	c->backup_is_over = false;
	c->backup = backup_new(core->loop, core->state, core->store, rq->argument, over, c);
	if (!c->backup)
		return act_refuse(a, rq, ENOMEM, "out of memory");
	c->backup_act = act;
	act->end = end;
	act->told_ms = loop_now_ms(core->loop);
	/* What was told to be done is in it. */
	act_hurry(c, act);
	backup_try(c->backup);
	return BLOCKED;
}

enum progress
control_act_backup(struct control *c, struct asker *a, struct request *rq)
{
	const struct core *core = c->src->core;
	const char *why;
	int r;

	if (!rq->act)
		return begin(c, a, rq);
	if (c->backup_is_over) {
		r = backup_result(c->backup, &why);
		if (r < 0)
			return act_refuse(a, rq, -r, "%s", why);
		log_info(core->log, NULL, "an operator had a backup made into %s", rq->argument);
		return tell(c, a, rq, true);
	}
	/* Nothing is synced any more that it might wait for. */
	if (act_has_failed(c))
		return act_refuse(a, rq, EIO, "%s", failed);
	backup_try(c->backup);
	if (loop_now_ms(core->loop) < rq->act->told_ms + TELL_MS)
		return BLOCKED;
	rq->act->told_ms = loop_now_ms(core->loop);
	return tell(c, a, rq, false);
}
