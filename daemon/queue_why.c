/*
 * What holds a queue, or one message in it. Exactly one thing is told: what
 * would have to change first.
 */
#include "queue_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "units.h"

#define LOOK_MAX 1000 /* delayed messages looked at for the one that is due first */

/* Of stored messages that wait to be written. */
static void
journal(const struct queue *q, const char *what, struct cause *ret)
{
	struct store_stats st;

	store_stats(q->qs->store, &st);
	if (st.state == STORE_FENCED) {
		cause_set(ret, "journal-failed", "the journal has failed: mend the disk, restart connectd");
		cause_because(ret, "%s", st.why);
	} else if (st.state == STORE_FULL) {
		cause_set(ret, "journal-full", "the file system of the journal is full");
		cause_because(ret, "%s", st.why);
	} else {
		cause_set(ret, "syncing", "%s", what);
	}
}

/* Whoever sends here gets no credit. */
static bool
senders_starve(const struct queue *q, struct cause *ret)
{
	LIST_FOREACH (node, &q->inlets) {
		const struct inlet *in = list_entry(node, struct inlet, all);
		struct store_stats st;

		if (list_empty(&in->starved))
			continue;
		if (q->qs->store && q->number != 0) {
			store_stats(q->qs->store, &st);
			if (st.state != STORE_OPEN) {
				journal(q, "", ret);
				return true;
			}
		}
		cause_set(ret, "no-room", "it is empty, and its senders wait: %s is reached", queue_room_lacks(in));
		return true;
	}
	return false;
}

static void
why_empty(const struct queue *q, struct cause *ret)
{
	if (!senders_starve(q, ret))
		cause_set(ret, "empty", "nothing waits");
}

/* Of what it holds the one held longest; the lists are in the order taken. */
static const struct entry *
held_longest(const struct consumer *c)
{
	const struct entry *oldest = NULL;

	for (unsigned p = 0; p < WIRE_PRIORITIES; p++) {
		struct list *first = list_first(&c->held[p]);
		const struct entry *e = first ? list_entry(first, struct entry, node) : NULL;

		if (e && (!oldest || e->held_since_ms < oldest->held_since_ms))
			oldest = e;
	}
	return oldest;
}

uint64_t
queue_held_since(const struct consumer *c)
{
	const struct entry *e = held_longest(c);

	return e ? e->held_since_ms : 0;
}

/* The one that has held something for longest; if none holds anything, the first that takes part. */
static const struct consumer *
slowest(const struct queue *q)
{
	const struct consumer *found = NULL;
	uint64_t since = UINT64_MAX;

	if (q->active)
		return q->active;
	LIST_FOREACH (node, &q->consumers) {
		const struct consumer *c = list_entry(node, struct consumer, all);
		uint64_t held = queue_held_since(c);

		if (c->standby && held == 0)
			continue;
		if (!found || (held != 0 && held < since)) {
			found = c;
			since = held != 0 ? held : UINT64_MAX;
		}
	}
	return found;
}

/* One that only waits to be given something. */
static bool
somebody_takes(const struct queue *q)
{
	if (q->active)
		return !q->active->paused;
	LIST_FOREACH (node, &q->consumers) {
		const struct consumer *c = list_entry(node, struct consumer, all);

		if (!c->standby && !c->paused && !c->link)
			return true;
	}
	return false;
}

static void
why_waiting(struct queue *q, struct cause *ret)
{
	const struct consumer *c;

	if (list_empty(&q->consumers) && q->node_name[0] != '\0') {
		cause_set(ret, "not-configured", "%s is no peer in the configuration", q->node_name);
		snprintf(ret->peer, sizeof(ret->peer), "%s", q->node_name);
		return;
	}
	if (list_empty(&q->consumers)) {
		cause_set(ret, "no-consumer", "nobody consumes it");
		return;
	}
	if (q->offer_ticket != 0) {
		journal(q, "that they are offered is being written down", ret);
		return;
	}
	if (somebody_takes(q)) {
		bool is_read = list_empty(&q->waiting[0]) && list_empty(&q->waiting[1]) && list_empty(&q->waiting[2]) && !q->returned[0] &&
		    !q->returned[1] && !q->returned[2];

		cause_set(ret, is_read ? "reading" : "moving", is_read ? "they are being read from the journal" : "nothing: they are being taken");
		return;
	}
	c = slowest(q);
	if (c)
		c->ops->why(c, ret);
	else
		cause_set(ret, "no-consumer", "its consumers stand by: the exclusive one has its turn when others hold nothing");
}

static void
why_delayed(const struct queue *q, struct cause *ret)
{
	uint64_t now = loop_now_ms(q->qs->loop), first = UINT64_MAX, n = 0;
	char text[UNITS_TEXT_MAX];

	LIST_FOREACH (node, &q->delayed) {
		const struct entry *e = list_entry(node, struct entry, node);

		if (n++ == LOOK_MAX)
			break;
		if (e->delayed_until_ms < first)
			first = e->delayed_until_ms;
	}
	cause_set(ret, "not-due", "all are delayed, the next one for %s%s", n > LOOK_MAX ? "at most " : "",
	    units_duration_human(first > now ? first - now : 0, text));
	ret->retry_in_ms = first > now ? first - now : 0;
}

static void
why_parked(const struct queue *q, struct cause *ret)
{
	cause_set(ret, "dead-letters-full", "they are dead, and the queue for dead letters has no room, or cannot be made");
	ret->retry_in_ms = q->qs->parked_timer.armed ? QUEUE_PARKED_RETRY_MS : 0;
}

void
queue_why(struct queue *q, struct cause *ret)
{
	const struct consumer *c;

	if (q->held)
		cause_set(ret, "held", "an operator holds it: connectctl release %s", q->full);
	else if (q->n == 0)
		why_empty(q, ret);
	else if (queue_waiting(q, -1) > 0)
		why_waiting(q, ret);
	else if (q->n_held > 0 && (c = slowest(q)) != NULL)
		c->ops->why(c, ret);
	else if (q->n_syncing > 0)
		journal(q, "they are being written to disk", ret);
	else if (q->n_delayed > 0)
		why_delayed(q, ret);
	else
		why_parked(q, ret);
}

void
queue_why_entry(const struct entry *e, struct cause *ret)
{
	struct queue *q = e->queue;
	uint64_t now = loop_now_ms(q->qs->loop);
	char text[UNITS_TEXT_MAX];

	switch ((enum entry_state)e->state) {
	case ENTRY_HELD:
		e->holder->ops->why(e->holder, ret);
		break;
	case ENTRY_DELAYED:
		cause_set(ret, "not-due", "it is delayed for %s",
		    units_duration_human(e->delayed_until_ms > now ? e->delayed_until_ms - now : 0, text));
		ret->retry_in_ms = e->delayed_until_ms > now ? e->delayed_until_ms - now : 0;
		break;
	case ENTRY_SYNCING:
		journal(q, "it is being written to disk", ret);
		break;
	case ENTRY_PARKED:
		why_parked(q, ret);
		break;
	case ENTRY_WAITING:
	case ENTRY_LOADING:
		queue_why(q, ret);
		break;
	}
}
