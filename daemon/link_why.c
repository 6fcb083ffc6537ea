/*
 * What holds a link, or an outbound queue whose messages it takes: the link is
 * down and why, or the other end does not take them and why.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "link_internal.h"
#include "store.h"
#include "units.h"

/* ------------------------------------------------------------ the link */

/* What a dial under way has got to. */
static const char *
dialling(const struct link *l)
{
	const struct candidate *c = l->dialling;

	if (!c || !c->session)
		return "being dialled";
	switch (session_state(c->session)) {
	case SESSION_CONNECTING:
		return "being dialled";
	case SESSION_GREETING:
		return "dialled, and has not greeted";
	default:
		return c->step == MEETING_RECORDING ? "met, which is being written down" : "dialled, and is being met";
	}
}

/* It had a session, or it never had; what has become of the last try. */
static void
why_down(const struct link *l, struct cause *ret)
{
	const char *how = l->state == LINK_DIALLING ? dialling(l) : l->peer->address.n == 0 ? "waits to be dialled by it" : "";
	const char *word = l->trouble ? l->trouble : l->state == LINK_DIALLING ? "dialling" : l->peer->address.n == 0 ? "not-dialled" : "down";
	uint64_t now = loop_now_ms(l->core->loop);

	if (l->connects > 0)
		cause_set(ret, word, "the link to %s is down%s%s", l->name, how[0] ? ", " : "", how);
	else
		cause_set(ret, word, "the link to %s has not been up yet%s%s", l->name, how[0] ? ", " : "", how);
	ret->since_ms = l->down_ms;
	if (l->last_error[0])
		cause_because(ret, "%s%s", l->is_by_peer ? "closed by the peer: " : "", l->last_error);
	if (l->dial_timer.armed && l->dial_at_ms > now)
		ret->retry_in_ms = l->dial_at_ms - now;
}

static void
why_link(const struct link *l, struct cause *ret)
{
	uint64_t now = loop_now_ms(l->core->loop);

	if (l->state == LINK_UP && l->live) {
		cause_set(ret, l->peer_draining ? "stopping" : "up", "the link to %s is up%s", l->name, l->peer_draining ? ", and its daemon is stopping" : "");
		ret->since_ms = l->since_ms;
	} else if (l->n_paused > 0) {
		cause_set(ret, "changing", "an operator's change to %s is being written down", l->name);
		ret->since_ms = l->since_ms;
	} else if (l->core->stopping || l->draining) {
		cause_set(ret, "stopping", "this daemon is stopping");
	} else if (l->state == LINK_STOPPED) {
		cause_set(ret, "not-configured", "%s is no peer in the configuration any more", l->name);
		ret->since_ms = l->since_ms;
	} else if (l->state == LINK_CONFLICT) {
		cause_set(ret, "state-conflict", "this node and %s do not agree on what they know of each other", l->name);
		cause_because(ret, "%s%s", l->is_by_peer ? "closed by the peer: " : "", l->last_error);
		ret->since_ms = l->since_ms;
		if (l->dial_timer.armed && l->dial_at_ms > now)
			ret->retry_in_ms = l->dial_at_ms - now;
	} else {
		why_down(l, ret);
	}
}

void
link_why(const struct link *l, struct cause *ret)
{
	why_link(l, ret);
	snprintf(ret->peer, sizeof(ret->peer), "%s", l->name);
}

/* ------------------------------------------------------------ one flow */

static bool
is_among(const struct list *head, const struct list *node)
{
	LIST_FOREACH (n, head)
		if (n == node)
			return true;
	return false;
}

static void
why_refused(const struct outflow *of, struct cause *ret)
{
	const struct link *l = of->from->link;
	const char *queue = queue_remote_name(of->from->queue);

	if (of->out.state == FLOW_OUT_REFUSED && of->verdict == WIRE_VERDICT_LIMIT) {
		cause_set(ret, "refused", "%s takes nothing for %s now", l->name, queue);
		ret->retry_in_ms = LINK_RETRY_MS;
	} else if (of->recorded > store_synced(l->core->store)) {
		cause_set(ret, "syncing", "%s has refused one, which is being written down among the dead letters", l->name);
	} else {
		cause_set(ret, "dead-letters-full", "%s refuses what is for %s, and the queue for dead letters has no room", l->name, queue);
		ret->retry_in_ms = LINK_RETRY_MS;
	}
	cause_because(ret, "%s", of->reason);
}

/* What was sent, and is not confirmed. */
static void
why_unconfirmed(const struct outflow *of, struct cause *ret)
{
	const struct link *l = of->from->link;
	uint64_t n = of->from->consumer.n_held;

	cause_set(ret, "unconfirmed", "%s has not confirmed %" PRIu64 " that it was sent", l->name, n);
	ret->since_ms = queue_held_since(&of->from->consumer);
}

static void
why_open(const struct outflow *of, struct cause *ret)
{
	const struct link *l = of->from->link;
	const char *queue = queue_remote_name(of->from->queue);
	bool waits = of->cursor || of->out.partial != 0 || queue_waiting(of->from->queue, (int)of->priority) > 0;

	if (!waits) {
		why_unconfirmed(of, ret);
	} else if (session_room(l->live->session) == 0) {
		cause_set(ret, "slow-link", "the link to %s takes no more at the moment", l->name);
	} else if (of->promised == 0 && is_among(&l->no_window, &of->ready)) {
		cause_set(ret, "no-window", "%s is busy with what it was sent before", l->name);
	} else if (of->out.partial != 0 ? !flow_out_may_continue(&of->out) : !flow_out_may_start(&of->out, 0)) {
		cause_set(ret, "no-credit", "the queue %s at %s has no room", queue, l->name);
		cause_because(ret, "connectctl why %s, there, tells what holds it", queue);
	} else {
		cause_set(ret, "moving", "nothing: they are being sent to %s", l->name);
	}
}

static void
why_flow(const struct outflow *of, struct cause *ret)
{
	const struct link *l = of->from->link;

	switch (of->out.state) {
	case FLOW_OUT_CLOSED:
		if (of->id == 0 && is_among(&l->no_id, &of->ready)) {
			cause_set(ret, "no-flow", "%" PRIu32 " queues have messages on their way to %s, and that is all it takes at a time",
			    l->max_ids - 1, l->name);
		} else {
			cause_set(ret, "moving", "nothing: %s is about to be asked for room", l->name);
		}
		break;
	case FLOW_OUT_OPENING:
		cause_set(ret, "opening", "%s was asked for room, and has not answered", l->name);
		break;
	case FLOW_OUT_REFUSED:
	case FLOW_OUT_HALTED:
		why_refused(of, ret);
		break;
	case FLOW_OUT_OPEN:
		why_open(of, ret);
		break;
	}
}

void
outflows_why(const struct consumer *c, struct cause *ret)
{
	static const enum wire_priority by_rank[] = { WIRE_PRIORITY_HIGH, WIRE_PRIORITY_NORMAL, WIRE_PRIORITY_LOW };
	const struct outqueue *oq = (const struct outqueue *)(const void *)((const char *)c - offsetof(struct outqueue, consumer));
	const struct link *l = oq->link;

	if (!l->live) {
		link_why(l, ret);
		return;
	}
	cause_set(ret, "moving", "nothing: they are being sent to %s", l->name);
	for (size_t i = 0; i < WIRE_PRIORITIES; i++) {
		const struct outflow *of = &oq->flows[by_rank[i]];

		if (!list_empty(&c->held[by_rank[i]]) || queue_waiting(oq->queue, (int)by_rank[i]) > 0) {
			why_flow(of, ret);
			break;
		}
	}
	snprintf(ret->peer, sizeof(ret->peer), "%s", l->name);
}
