/*
 * The part of producer.h that hears from the daemon what became of messages.
 * Call-backs run from here; what they may change meanwhile is only what new
 * messages change, because closing waits until they have returned.
 */
#include <errno.h>

#include "connection.h"
#include "producer.h"

static struct producer_flow *
flow_by_id(struct connectd *c, uint32_t id)
{
	return id < PRODUCER_IDS ? c->producers.by_id[id] : NULL;
}

/*
 * The open flow a frame is about. NULL: one that was closed, or closed and
 * opened again under the same id; what was on its way for it means nothing.
 */
static struct producer_flow *
open_by_id(struct connectd *c, uint32_t id)
{
	struct producer_flow *f = flow_by_id(c, id);

	return f != NULL && f->out.state == FLOW_OUT_OPEN ? f : NULL;
}

static const char in_memory[] = "the queue keeps messages in memory";

/* Is STORED a level that this message passes? */
static bool
is_stored(const struct producer_flow *f, const struct sendq_entry *e)
{
	return f->durable && e->msg->durability != CONNECTD_MEMORY;
}

/* The highest level asked for; NONE: whatever makes it safe. */
static enum connectd_level
asked(const struct sendq_entry *e)
{
	for (enum connectd_level level = CONNECTD_ARRIVED; level > CONNECTD_NONE; level--)
		if ((e->levels & CONNECTD_TELL(level)) != 0)
			return level;
	return CONNECTD_NONE;
}

/* Of messages confirmed before more is known: they got through, or are over. */
static void
end_waiting(struct connectd *c, struct producer_flow *f, uint64_t first, uint64_t last, enum connectd_level level, int result,
    const char *reason)
{
	struct sendq_entry e;

	while (first <= last && !c->closing && sendq_waited(&f->queue, first, last, &e)) {
		producer_final(c, &e, level != CONNECTD_NONE ? level : (enum connectd_level)e.reached, result, reason);
		first = e.number + 1;
	}
}

/* The daemon has the messages up to a number in its memory; those that are to be stored may have to be sent again yet. */
static void
accept_up_to(struct connectd *c, struct producer_flow *f, uint64_t number)
{
	for (uint64_t n = sendq_after(&f->queue, f->accepted); n != 0 && n <= number && !c->closing; n = sendq_after(&f->queue, n)) {
		struct sendq_entry *kept = sendq_at(&f->queue, n), e;
		enum connectd_level level = asked(kept);

		if (kept->reached >= CONNECTD_ACCEPTED)
			continue;
		kept->reached = CONNECTD_ACCEPTED;
		kept->finished = level == CONNECTD_ACCEPTED || (level == CONNECTD_NONE && !is_stored(f, kept));
		e = *kept; /* a call-back that sends may move it */
		if (e.finished)
			producer_finish(c, &e, CONNECTD_ACCEPTED, 0, "");
		else
			producer_tell(c, &e, CONNECTD_ACCEPTED);
	}
	if (number > f->accepted)
		f->accepted = number;
}

/* One message that need not be sent again, known to be accepted, or even to have arrived. */
static void
settle(struct connectd *c, struct producer_flow *f, struct sendq_entry *e, uint32_t level)
{
	enum connectd_level safe = is_stored(f, e) ? CONNECTD_STORED : CONNECTD_ACCEPTED;
	enum connectd_level known = level >= CONNECTD_ARRIVED ? CONNECTD_ARRIVED : safe;
	enum connectd_level top = asked(e);

	if (top <= CONNECTD_ACCEPTED) {
		producer_final(c, e, top == CONNECTD_NONE ? safe : top, 0, "");
		return;
	}
	if (e->reached < CONNECTD_ACCEPTED)
		producer_tell(c, e, CONNECTD_ACCEPTED);
	e->reached = (uint8_t)safe;
	if (top == CONNECTD_STORED) {
		if (safe == CONNECTD_STORED)
			producer_final(c, e, CONNECTD_STORED, 0, "");
		else
			producer_final(c, e, known, -ENOTSUP, in_memory);
		return;
	}
	if (safe == CONNECTD_STORED)
		producer_tell(c, e, CONNECTD_STORED);
	if (known == CONNECTD_ARRIVED)
		producer_final(c, e, CONNECTD_ARRIVED, 0, "");
	else if (sendq_wait(&f->queue, e) < 0)
		producer_final(c, e, safe, -ENOMEM, "out of memory");
}

static void
settle_up_to(struct connectd *c, struct producer_flow *f, uint64_t number, uint32_t level)
{
	struct sendq_entry e;

	while (!c->closing && sendq_pop(&f->queue, number, &e))
		settle(c, f, &e, level);
}

/* --------------------------------------------------------------- FlowState */

static const char passed[] = "the session that could have told is gone, and it no longer waits at the daemon";

/* Of these numbers, accepted earlier, nothing more will be told. */
static void
end_passed(struct connectd *c, struct producer_flow *f, uint64_t first, uint64_t last)
{
	struct sendq_entry e;

	end_waiting(c, f, first, last, CONNECTD_NONE, -ENODATA, passed);
	/* A memory message may have been passed on before the Confirm that settles it; one to be stored may not. */
	for (uint64_t n = sendq_after(&f->queue, first - 1); n != 0 && n <= last && n <= f->accepted && !c->closing;
	     n = sendq_after(&f->queue, n)) {
		const struct sendq_entry *kept = sendq_at(&f->queue, n);

		if (!is_stored(f, kept) && asked(kept) == CONNECTD_ARRIVED && sendq_take(&f->queue, n, &e))
			producer_final(c, &e, CONNECTD_ACCEPTED, -ENODATA, passed);
	}
}

/* Nothing more will be told of accepted messages that the daemon does not name as waiting. */
static int
end_unnamed(struct connectd *c, struct producer_flow *f, uint64_t from, struct wire_numbers waiting)
{
	uint64_t first, last;
	int r;

	while ((r = wire_range_next(&waiting, &first, &last)) == 1) {
		if (first > from)
			end_passed(c, f, from, first - 1);
		if (last == UINT64_MAX)
			return 0;
		if (last + 1 > from)
			from = last + 1;
	}
	if (r < 0)
		return conn_fail(c, -EPROTO, "the daemon sent numbers that are no ranges");
	end_passed(c, f, from, UINT64_MAX);
	return 0;
}

/* Another start, of which the daemon knows nothing. */
static void
new_producer(struct connectd *c, struct producer_flow *f)
{
	io_random(c->io, f->producer, PRODUCER_ID);
	f->boot = 0;
	f->maybe_max = 0;
}

static void
refused(struct connectd *c, struct producer_flow *f, uint32_t verdict, const char *reason)
{
	uint64_t until = f->queue.next - 1;
	struct sendq_entry e;

	c->producers.window.used_bytes -= f->promised; /* the rest of a body under way is not sent */
	f->promised = 0;
	flow_out_close(&f->out);
	producer_move(c, f, PRODUCER_ALONE);
	producer_drop_id(c, f);
	end_waiting(c, f, 0, UINT64_MAX, CONNECTD_NONE, -ENODATA, reason);
	if (f->named) {
		producer_over(c, f, verdict, reason);
		return;
	}
	if (verdict == WIRE_VERDICT_FORGOTTEN) {
		/* What was never sent is not in doubt: it goes under the new name. */
		while (!c->closing && sendq_pop(&f->queue, f->sent_max, &e))
			producer_final(c, &e, (enum connectd_level)e.reached, -EINPROGRESS, reason);
		new_producer(c, f);
	} else {
		while (!c->closing && sendq_pop(&f->queue, until, &e)) {
			if (e.reached >= CONNECTD_ACCEPTED) /* taken before, and perhaps there */
				producer_final(c, &e, (enum connectd_level)e.reached, -EINPROGRESS, reason);
			else
				producer_final(c, &e, CONNECTD_REJECTED, -EBADMSG, reason);
		}
		if (verdict == WIRE_VERDICT_STATE_CONFLICT || verdict == WIRE_VERDICT_TAKEN_OVER)
			new_producer(c, f);
	}
	producer_ready(c, f);
}

int
producer_flow_state(struct connectd *c, const struct wire_flow_state *s)
{
	struct producer_flow *f = flow_by_id(c, s->flow);
	char text[CONN_TEXT];
	uint64_t from = 1, settled = s->confirmed;
	bool first;
	int r;

	/* Only a named producer that is taken over hears of its flow without having asked. */
	if (f == NULL || (f->out.state != FLOW_OUT_OPENING && !(f->named && s->verdict == WIRE_VERDICT_TAKEN_OVER)))
		return conn_fail(c, -EPROTO, "the daemon told the state of a flow that was not asked for");
	if (s->verdict != WIRE_VERDICT_OK) {
		refused(c, f, s->verdict, conn_text(text, s->reason, wire_verdict_name(s->verdict)));
		return 0;
	}
	first = f->named && !f->known;
	if ((s->accepted >= f->queue.next && !first) || s->accepted == UINT64_MAX || s->confirmed > s->accepted) {
		refused(c, f, WIRE_VERDICT_STATE_CONFLICT, "the daemon claims to have messages that were never sent");
		return 0;
	}
	if (first)
		sendq_init(&f->queue, s->confirmed + 1); /* nothing could be sent before */
	f->known = true;
	f->epoch = s->epoch;
	if (s->confirmed > f->settled)
		f->settled = s->confirmed;
	if (f->boot != 0 && f->boot != c->boot_id)
		f->maybe_max = f->sent_max;
	f->boot = c->boot_id;
	f->settles = s->confirm_level >= WIRE_LEVEL_STORED ? WIRE_LEVEL_STORED : WIRE_LEVEL_ACCEPTED;
	f->durable = s->durable && f->settles == WIRE_LEVEL_STORED;
	flow_out_state(&f->out, s->accepted, s->confirmed, s->partial_number, s->partial_bytes, s->credit_messages,
	    s->credit_bytes);
#ifdef PLANT_SETTLE_BY_ACCEPTED
	settled = s->accepted;
#endif
	if (s->confirm_level >= WIRE_LEVEL_ARRIVED) {
		end_waiting(c, f, 0, settled, CONNECTD_ARRIVED, 0, "");
		from = s->accepted + 1;
	}
	/* Between confirmed and accepted a Confirm is still to come. */
	settle_up_to(c, f, settled, s->confirm_level);
	f->accepted = 0;
	accept_up_to(c, f, s->accepted);
	r = end_unnamed(c, f, from, s->waiting);
	producer_move(c, f, PRODUCER_ALONE);
	producer_ready(c, f);
	return r;
}

/* ------------------------------------------------------------ one by one */

int
producer_confirm(struct connectd *c, const struct wire_confirm *w)
{
	struct producer_flow *f = open_by_id(c, w->flow);

	if (f == NULL)
		return 0;
	if (w->level < WIRE_LEVEL_ACCEPTED || w->level > WIRE_LEVEL_CONSUMED || flow_out_confirm(&f->out, w->number) < 0)
		return conn_fail(c, -EPROTO, "the daemon confirmed what was never sent");
	if (w->level < f->settles) {
		accept_up_to(c, f, w->number);
	} else {
		if (w->level >= WIRE_LEVEL_ARRIVED)
			end_waiting(c, f, 0, w->number, CONNECTD_ARRIVED, 0, "");
		settle_up_to(c, f, w->number, w->level);
		if (w->number > f->settled)
			f->settled = w->number;
	}
	producer_ready(c, f);
	return 0;
}

/* One message not confirmed yet of which more is known already. */
static void
progress_unconfirmed(struct connectd *c, struct producer_flow *f, uint64_t first, uint64_t last, enum connectd_level level,
    int result, const char *reason)
{
	struct sendq_entry e;

	if (last > f->out.sent)
		last = f->out.sent;
	for (uint64_t n = sendq_after(&f->queue, first > 0 ? first - 1 : 0); n != 0 && n <= last && !c->closing;
	     n = sendq_after(&f->queue, n)) {
		if (n == f->out.partial || !sendq_take(&f->queue, n, &e))
			continue;
		if (result == 0) {
			settle(c, f, &e, CONNECTD_ARRIVED);
			continue;
		}
		if (!e.finished && e.reached < CONNECTD_ACCEPTED)
			producer_tell(c, &e, CONNECTD_ACCEPTED);
		producer_final(c, &e, level, result, reason);
	}
}

int
producer_progress(struct connectd *c, const struct wire_progress *w)
{
	struct producer_flow *f = open_by_id(c, w->flow);
	struct wire_numbers ranges = w->ranges;
	enum connectd_level level = CONNECTD_ARRIVED;
	char text[CONN_TEXT];
	const char *reason = "";
	uint64_t first, last;
	int r, result = 0;

	if (f == NULL || w->level < WIRE_LEVEL_ARRIVED)
		return 0;
	if (w->level >= WIRE_LEVEL_REJECTED) {
		level = w->level <= WIRE_LEVEL_DROPPED ? (enum connectd_level)w->level : CONNECTD_REJECTED;
		result = -EBADMSG;
		reason = conn_text(text, w->reason, w->code != 0 ? wire_reject_name(w->code) : wire_level_name(w->level));
	}
	while ((r = wire_range_next(&ranges, &first, &last)) == 1) {
		end_waiting(c, f, first, last, level, result, reason);
		progress_unconfirmed(c, f, first, last, level, result, reason);
	}
	producer_ready(c, f);
	return r < 0 ? conn_fail(c, -EPROTO, "the daemon sent numbers that are no ranges") : 0;
}

int
producer_reject(struct connectd *c, const struct wire_reject *w)
{
	struct producer_flow *f = open_by_id(c, w->flow);
	struct sendq_entry e;
	char text[CONN_TEXT];

	if (f == NULL)
		return 0;
#ifndef PLANT_REJECT_BELIEVED
	if (sendq_at(&f->queue, w->number) == NULL || flow_out_reject(&f->out, w->number) < 0)
		return conn_fail(c, -EPROTO, "the daemon rejected what was never sent");
#endif
	c->producers.window.used_bytes -= f->promised; /* the rest of a body under way is not sent */
	f->promised = 0;
	sendq_take(&f->queue, w->number, &e);
	producer_final(c, &e, CONNECTD_REJECTED, -EBADMSG, conn_text(text, w->reason, wire_reject_name(w->code)));
	conn_put(c, &(struct wire_frame){ .kind = WIRE_RESUME, .u.resume = { f->id, w->number } });
	flow_out_resume(&f->out, w->number);
	producer_move(c, f, PRODUCER_ALONE);
	producer_ready(c, f);
	return 0;
}

int
producer_credit(struct connectd *c, const struct wire_credit *w)
{
	struct producers *p = &c->producers;
	struct producer_flow *f;

	if (w->flow == 0) {
		if (w->bytes < p->window.granted_bytes)
			return conn_fail(c, -EPROTO, "the daemon took credit back");
		p->window.granted_bytes = w->bytes;
		while (!list_empty(&p->blocked))
			producer_move(c, list_entry(p->blocked.next, struct producer_flow, turn), PRODUCER_READY);
		return 0;
	}
	f = open_by_id(c, w->flow);
	if (f == NULL)
		return 0;
	if (w->number != 0)
		flow_out_reserved(&f->out, w->number);
	if ((w->messages != 0 || w->bytes != 0 || w->number == 0) && !credit_grant(&f->out.credit, w->messages, w->bytes))
		return conn_fail(c, -EPROTO, "the daemon took credit back");
	producer_ready(c, f);
	return 0;
}
