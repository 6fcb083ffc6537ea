#include "flow.h"

#include <errno.h>
#include <stddef.h>

bool
credit_grant(struct credit *c, uint64_t messages, uint64_t bytes)
{
	if (messages < c->granted_messages || bytes < c->granted_bytes)
		return false;
	c->granted_messages = messages;
	c->granted_bytes = bytes;
	return true;
}

/* -------------------------------------------------------------- receiver -- */

void
flow_in_forget_partial(struct flow_in *f)
{
	f->partial = f->partial_total = f->partial_have = 0;
	f->partial_live = f->partial_discard = false;
}

void
flow_in_open(struct flow_in *f)
{
	if (f->partial_discard)
		flow_in_forget_partial(f);
	f->partial_live = false;
	f->halted_at = 0;
#ifdef PLANT_NO_DEDUP
	f->mark = 0;
#endif
	f->last = f->mark;
	f->credit = (struct credit){ 0 };
}

bool
flow_in_continues(const struct flow_in *f, uint64_t number, uint64_t offset)
{
	return f->partial != 0 && f->partial == number && f->partial_have == offset && offset > 0;
}

/* A chunk of the body that is under way in this session. */
static enum flow_verdict
next_chunk(struct flow_in *f, uint64_t number, uint64_t total, uint64_t offset, uint64_t len)
{
	bool discard = f->partial_discard;

	if (number != f->partial || total != f->partial_total || offset != f->partial_have || len == 0)
		return FLOW_BROKEN;
	f->partial_have += len;
	if (f->partial_have < total)
		return discard ? FLOW_DISCARD : FLOW_PART;
	if (!discard)
		return FLOW_ACCEPT;
	flow_in_forget_partial(f);
	return FLOW_DISCARD;
}

enum flow_verdict
flow_in_item(struct flow_in *f, uint64_t number, uint64_t total, uint64_t offset, uint64_t len)
{
	enum flow_verdict verdict = FLOW_ACCEPT;
	bool duplicate = number <= f->mark;
	uint64_t rest;

	if (number == 0 || offset > total || len > total - offset)
		return FLOW_BROKEN;
	if (f->partial_live)
		return next_chunk(f, number, total, offset, len);
	if (offset > 0 && (!flow_in_continues(f, number, offset) || total != f->partial_total))
		return FLOW_BROKEN;
	if (!duplicate && number <= f->last)
		return FLOW_BROKEN;
#ifdef PLANT_GAP_IS_LOSS
	if (f->mark > 0 && number > f->last + 1)
		return FLOW_BROKEN;
#endif
	rest = total - offset;
	if (len < rest && len == 0)
		return FLOW_BROKEN;
	if (!credit_left(&f->credit))
		return FLOW_OVERRUN;
	credit_use(&f->credit, 1, rest);
#ifdef PLANT_NO_DEDUP
	duplicate = false;
#endif
	if (f->halted_at != 0)
		verdict = FLOW_DISCARD;
	else if (duplicate)
		verdict = FLOW_DUPLICATE;
	if (!duplicate)
		f->last = number;
	if (len == rest && offset == 0)
		return verdict;

	f->partial = number;
	f->partial_total = total;
	f->partial_have = offset + len;
	f->partial_discard = verdict != FLOW_ACCEPT;
	f->partial_live = len < rest;
	if (len == rest) { /* the last chunk of a resumed body */
		if (verdict != FLOW_ACCEPT)
			flow_in_forget_partial(f);
		return verdict;
	}
	return verdict == FLOW_ACCEPT ? FLOW_PART : verdict;
}

void
flow_in_accept(struct flow_in *f, uint64_t number)
{
	f->mark = number;
	if (f->partial == number)
		flow_in_forget_partial(f);
}

void
flow_in_reject(struct flow_in *f, uint64_t number)
{
	f->halted_at = number;
	if (f->partial != number)
		return;
	if (f->partial_live && f->partial_have < f->partial_total)
		f->partial_discard = true;
	else
		flow_in_forget_partial(f);
}

int
flow_in_resume(struct flow_in *f, uint64_t after)
{
	if (f->halted_at == 0 || after < f->halted_at)
		return -EPROTO;
	f->halted_at = 0;
	f->last = after;
	if (f->partial_live)
		flow_in_forget_partial(f);
	return 0;
}

int
flow_in_abort(struct flow_in *f, uint64_t number)
{
	if (f->partial == 0 || f->partial != number)
		return -EPROTO;
	flow_in_forget_partial(f);
	return 0;
}

/* ---------------------------------------------------------------- sender -- */

static void
end_partial(struct flow_out *f)
{
	f->partial = f->partial_total = f->partial_sent = 0;
	f->partial_large = f->partial_waits = false;
}

void
flow_out_open(struct flow_out *f)
{
	f->state = FLOW_OUT_OPENING;
	f->credit = (struct credit){ 0 };
	f->one_at_a_time = false;
	f->resume_number = f->resume_bytes = f->given_up = 0;
	end_partial(f);
}

void
flow_out_close(struct flow_out *f)
{
	flow_out_open(f);
	f->state = FLOW_OUT_CLOSED;
}

void
flow_out_state(struct flow_out *f, uint64_t accepted, uint64_t confirmed, uint64_t partial_number, uint64_t partial_bytes,
    uint64_t credit_messages, uint64_t credit_bytes)
{
	f->state = FLOW_OUT_OPEN;
	f->sent = accepted;
	/* A receiver that forgot what it had judges all of it again. */
	f->confirmed = confirmed;
	f->resume_number = partial_number;
	f->resume_bytes = partial_bytes;
	f->credit = (struct credit){ .granted_messages = credit_messages, .granted_bytes = credit_bytes };
}

bool
flow_out_may_start(const struct flow_out *f)
{
	if (f->state != FLOW_OUT_OPEN || f->partial != 0 || !credit_left(&f->credit))
		return false;
	return !f->one_at_a_time || f->sent <= f->confirmed || f->sent == f->given_up;
}

uint64_t
flow_out_offset(const struct flow_out *f, uint64_t number, uint64_t total)
{
	return f->resume_number == number && f->resume_bytes < total ? f->resume_bytes : 0;
}

uint64_t
flow_out_start(struct flow_out *f, uint64_t number, uint64_t total, uint64_t large)
{
	uint64_t offset = flow_out_offset(f, number, total);

	f->sent = number;
	f->resume_number = f->resume_bytes = 0;
	f->partial = number;
	f->partial_total = total;
	f->partial_sent = offset;
	f->partial_large = total > large;
	f->partial_waits = false;
	credit_use(&f->credit, 1, total - offset);
	return offset;
}

bool
flow_out_may_continue(const struct flow_out *f)
{
	return f->state == FLOW_OUT_OPEN && f->partial != 0 && !f->partial_waits;
}

void
flow_out_sent(struct flow_out *f, uint64_t len)
{
	f->partial_sent += len;
	if (f->partial_sent >= f->partial_total)
		end_partial(f);
	else
		f->partial_waits = f->partial_large;
}

void
flow_out_reserved(struct flow_out *f, uint64_t number)
{
	if (f->partial == number)
		f->partial_large = f->partial_waits = false;
}

void
flow_out_abort(struct flow_out *f)
{
	/* Nothing need be said of it (a Reject may still cross this): the next one does not wait for that. */
	f->given_up = f->partial;
	end_partial(f);
}

int
flow_out_confirm(struct flow_out *f, uint64_t number)
{
	if (number > f->sent || (f->partial != 0 && number >= f->partial))
		return -EPROTO;
	if (number > f->confirmed) {
		f->confirmed = number;
		f->one_at_a_time = false;
	}
	return 0;
}

int
flow_out_reject(struct flow_out *f, uint64_t number)
{
	if (f->state != FLOW_OUT_OPEN || number <= f->confirmed || number > f->sent)
		return -EPROTO;
	f->state = FLOW_OUT_HALTED;
	end_partial(f);
	return 0;
}

void
flow_out_resume(struct flow_out *f, uint64_t number)
{
	f->state = FLOW_OUT_OPEN;
	f->sent = number;
	if (number > f->confirmed)
		f->confirmed = number;
	f->one_at_a_time = true;
	end_partial(f);
}
