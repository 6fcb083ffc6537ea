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

static bool
wants(const struct sendq_entry *e, enum connectd_level level)
{
	return (e->levels & CONNECTD_TELL(level)) != 0;
}

/* Messages that were accepted before and got through, or of which nothing more can be heard. */
static void
end_waiting(struct connectd *c, struct producer_flow *f, uint64_t first, uint64_t last, enum connectd_level level, int result,
    const char *reason)
{
	struct sendq_entry e;

	while (first <= last && !c->closing && sendq_waited(&f->queue, first, last, &e)) {
		producer_final(c, &e, level, result, reason);
		first = e.number + 1;
	}
}

/* Messages that the daemon took in, up to a number and at a level. */
static void
accept_up_to(struct connectd *c, struct producer_flow *f, uint64_t number, enum connectd_level level)
{
	struct sendq_entry e;

	while (!c->closing && sendq_pop(&f->queue, number, &e)) {
		if (!wants(&e, CONNECTD_ARRIVED)) {
			producer_final(c, &e, CONNECTD_ACCEPTED, 0, "");
			continue;
		}
		producer_tell(c, &e, CONNECTD_ACCEPTED);
		if (level >= CONNECTD_ARRIVED)
			producer_final(c, &e, CONNECTD_ARRIVED, 0, "");
		else if (sendq_wait(&f->queue, &e) < 0)
			producer_final(c, &e, CONNECTD_ACCEPTED, -ENOMEM, "out of memory");
	}
}

/* --------------------------------------------------------------- FlowState */

/* Nothing more will be told of accepted messages that the daemon does not name as waiting. */
static int
end_unnamed(struct connectd *c, struct producer_flow *f, uint64_t from, struct wire_numbers waiting)
{
	static const char lost[] = "the session that could have told is gone, and it no longer waits at the daemon";
	uint64_t first, last;
	int r;

	while ((r = wire_range_next(&waiting, &first, &last)) == 1) {
		if (first > from)
			end_waiting(c, f, from, first - 1, CONNECTD_ACCEPTED, -ENODATA, lost);
		if (last == UINT64_MAX)
			return 0;
		if (last + 1 > from)
			from = last + 1;
	}
	if (r < 0)
		return conn_fail(c, -EPROTO, "the daemon sent numbers that are no ranges");
	end_waiting(c, f, from, UINT64_MAX, CONNECTD_ACCEPTED, -ENODATA, lost);
	return 0;
}

/* Another start, of which the daemon knows nothing. */
static void
new_producer(struct connectd *c, struct producer_flow *f)
{
	io_random(c->io, f->producer, sizeof(f->producer));
	f->boot = 0;
	f->maybe_max = 0;
}

static void
refused(struct connectd *c, struct producer_flow *f, uint32_t verdict, const char *reason)
{
	uint64_t until = f->queue.next - 1;
	struct sendq_entry e;

	flow_out_close(&f->out);
	producer_move(c, f, PRODUCER_ALONE);
	producer_drop_id(c, f);
	end_waiting(c, f, 0, UINT64_MAX, CONNECTD_ACCEPTED, -ENODATA, reason);
	if (verdict == WIRE_VERDICT_FORGOTTEN) {
		/* What was never sent is not in doubt: it goes under the new name. */
		while (!c->closing && sendq_pop(&f->queue, f->sent_max, &e))
			producer_final(c, &e, CONNECTD_NONE, -EINPROGRESS, reason);
		new_producer(c, f);
	} else {
		while (!c->closing && sendq_pop(&f->queue, until, &e))
			producer_final(c, &e, CONNECTD_REJECTED, -EBADMSG, reason);
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
	uint64_t from = 1;
	int r;

	if (f == NULL || f->out.state != FLOW_OUT_OPENING)
		return conn_fail(c, -EPROTO, "the daemon told the state of a flow that was not asked for");
	if (s->verdict != WIRE_VERDICT_OK) {
		refused(c, f, s->verdict, conn_text(text, s->reason, wire_verdict_name(s->verdict)));
		return 0;
	}
	if (s->accepted >= f->queue.next || s->confirmed > s->accepted) {
		refused(c, f, WIRE_VERDICT_STATE_CONFLICT, "the daemon claims to have messages that were never sent");
		return 0;
	}
	if (f->boot != 0 && f->boot != c->boot_id)
		f->maybe_max = f->sent_max;
	f->boot = c->boot_id;
	flow_out_state(&f->out, s->accepted, s->confirmed, s->partial_number, s->partial_bytes, s->credit_messages,
	    s->credit_bytes);
	accept_up_to(c, f, s->accepted, CONNECTD_ACCEPTED);
	if (s->confirm_level >= WIRE_LEVEL_ARRIVED) {
		/* Between confirmed and accepted a Confirm is still to come. */
		end_waiting(c, f, 0, s->confirmed, CONNECTD_ARRIVED, 0, "");
		from = s->accepted + 1;
	}
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
	if (w->level >= WIRE_LEVEL_ARRIVED)
		end_waiting(c, f, 0, w->number, CONNECTD_ARRIVED, 0, "");
	accept_up_to(c, f, w->number, (enum connectd_level)w->level);
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
		if (result == 0 && !wants(&e, CONNECTD_ARRIVED))
			producer_final(c, &e, CONNECTD_ACCEPTED, 0, "");
		else {
			producer_tell(c, &e, CONNECTD_ACCEPTED);
			producer_final(c, &e, level, result, reason);
		}
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
	if (sendq_at(&f->queue, w->number) == NULL || flow_out_reject(&f->out, w->number) < 0)
		return conn_fail(c, -EPROTO, "the daemon rejected what was never sent");
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
		p->window_lent = w->lent;
		p->window_wanted = false;
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
