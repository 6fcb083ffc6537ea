/* Unit tests of flow: what a number means at either end, and what may start. */
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "flow.h"

#define LARGE 1000 /* bodies above wait for a reservation */

static struct flow_in in;
static struct flow_out out;

static void
setup(void)
{
	memset(&in, 0, sizeof(in));
	memset(&out, 0, sizeof(out));
	flow_in_open(&in);
	ck_assert(credit_grant(&in.credit, 100, 100000));
	flow_out_open(&out);
	flow_out_state(&out, 0, 0, 0, 0, 100, 100000);
}

/* ----------------------------------------------------------------- credit */

START_TEST(credit_counts_both)
{
	struct credit c = { 0 };

	ck_assert(!credit_left(&c));
	ck_assert(credit_grant(&c, 2, 0));
	ck_assert(!credit_left(&c));
	ck_assert(credit_grant(&c, 2, 10));
	ck_assert(credit_left(&c));
	/* One byte left is enough for a body of any size. */
	credit_use(&c, 1, 9);
	ck_assert(credit_left(&c));
	credit_use(&c, 0, 1);
	ck_assert(!credit_left(&c));
	ck_assert(credit_grant(&c, 2, 11));
	credit_use(&c, 1, 500);
	ck_assert(!credit_left(&c));
	ck_assert(credit_grant(&c, 3, 510));
	ck_assert(!credit_left(&c));
	ck_assert(credit_grant(&c, 3, 511));
	ck_assert(credit_left(&c));
}
END_TEST

START_TEST(credit_never_falls)
{
	struct credit c = { 0 };

	ck_assert(credit_grant(&c, 5, 50));
	ck_assert(!credit_grant(&c, 4, 60));
	ck_assert(!credit_grant(&c, 6, 49));
	ck_assert_uint_eq(c.granted_messages, 5);
	ck_assert_uint_eq(c.granted_bytes, 50);
	ck_assert(credit_grant(&c, 5, 50));
}
END_TEST

/* -------------------------------------------------- receiver: whole items */

static void
take(uint64_t number, uint64_t len)
{
	ck_assert_int_eq(flow_in_item(&in, number, len, 0, len), FLOW_ACCEPT);
	flow_in_accept(&in, number);
	ck_assert_uint_eq(in.mark, number);
}

START_TEST(whole_in_order_with_gaps)
{
	take(1, 10);
	take(2, 0);
	take(7, 10);
	ck_assert_uint_eq(in.credit.used_messages, 3);
	ck_assert_uint_eq(in.credit.used_bytes, 20);
	ck_assert_uint_eq(in.partial, 0);
}
END_TEST

START_TEST(whole_again_is_duplicate)
{
	take(5, 10);
	ck_assert_int_eq(flow_in_item(&in, 5, 10, 0, 10), FLOW_DUPLICATE);
	ck_assert_int_eq(flow_in_item(&in, 3, 10, 0, 10), FLOW_DUPLICATE);
	/* They used credit, the mark stays, and what is new is still taken. */
	ck_assert_uint_eq(in.credit.used_messages, 3);
	ck_assert_uint_eq(in.mark, 5);
	take(6, 10);
}
END_TEST

/* Numbers that nobody may send: 0, and going back above the mark. */
START_TEST(whole_broken_numbers)
{
	ck_assert_int_eq(flow_in_item(&in, 0, 10, 0, 10), FLOW_BROKEN);
	ck_assert_int_eq(flow_in_item(&in, 4, 10, 0, 10), FLOW_ACCEPT);
	ck_assert_int_eq(flow_in_item(&in, 4, 10, 0, 10), FLOW_BROKEN);
	ck_assert_int_eq(flow_in_item(&in, 3, 10, 0, 10), FLOW_BROKEN);
	ck_assert_uint_eq(in.credit.used_messages, 1);
}
END_TEST

START_TEST(broken_offsets)
{
	/* Beyond the total, beyond all, the middle of nothing, a first chunk of nothing. */
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 0, 11), FLOW_BROKEN);
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 11, 0), FLOW_BROKEN);
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 9, UINT64_MAX), FLOW_BROKEN);
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 5, 5), FLOW_BROKEN);
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 0, 0), FLOW_BROKEN);
	ck_assert_uint_eq(in.credit.used_messages, 0);
	ck_assert_uint_eq(in.partial, 0);
}
END_TEST

START_TEST(more_than_granted)
{
	struct flow_in f = { 0 };

	flow_in_open(&f);
	ck_assert_int_eq(flow_in_item(&f, 1, 10, 0, 10), FLOW_OVERRUN);
	ck_assert(credit_grant(&f.credit, 2, 5));
	/* Not more bytes than are left; but a body may start with as many, and then nothing else may. */
	ck_assert_int_eq(flow_in_item(&f, 1, 10, 0, 10), FLOW_OVERRUN);
	ck_assert_int_eq(flow_in_item(&f, 1, 10, 0, 5), FLOW_PART);
	ck_assert(!f.fits);
	ck_assert_int_eq(flow_in_item(&f, 1, 10, 5, 5), FLOW_ACCEPT);
	flow_in_accept(&f, 1);
	ck_assert_int_eq(flow_in_item(&f, 2, 1, 0, 1), FLOW_OVERRUN);
	ck_assert(credit_grant(&f.credit, 2, 11));
	ck_assert_int_eq(flow_in_item(&f, 2, 1, 0, 1), FLOW_ACCEPT);
	flow_in_accept(&f, 2);
	ck_assert(credit_grant(&f.credit, 2, 1000));
	ck_assert_int_eq(flow_in_item(&f, 3, 1, 0, 1), FLOW_OVERRUN);
	/* A duplicate takes credit as well. */
	ck_assert_int_eq(flow_in_item(&f, 1, 1, 0, 1), FLOW_OVERRUN);
}
END_TEST

/* ------------------------------------------------------- receiver: chunks */

START_TEST(chunks_make_a_body)
{
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 0, 4), FLOW_PART);
	ck_assert_uint_eq(in.partial, 1);
	ck_assert_uint_eq(in.partial_have, 4);
	/* All of it was used at the start, none by the rest. */
	ck_assert_uint_eq(in.credit.used_bytes, 10);
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 4, 4), FLOW_PART);
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 8, 2), FLOW_ACCEPT);
	flow_in_accept(&in, 1);
	ck_assert_uint_eq(in.credit.used_messages, 1);
	ck_assert_uint_eq(in.credit.used_bytes, 10);
	ck_assert_uint_eq(in.partial, 0);
	take(2, 10);
}
END_TEST

START_TEST(chunks_that_do_not_fit)
{
	static const struct {
		uint64_t number, total, offset, len;
	} bad[] = {
		{ 2, 10, 4, 4 }, { 2, 10, 0, 10 }, /* another one meanwhile */
		{ 1, 11, 4, 4 }, { 1, 10, 5, 4 }, { 1, 10, 3, 4 }, { 1, 10, 4, 0 }, { 1, 10, 0, 4 }, { 1, 10, 4, 7 },
	};
	struct flow_in before;

	ck_assert_int_eq(flow_in_item(&in, 1, 10, 0, 4), FLOW_PART);
	before = in;
	ck_assert_int_eq(flow_in_item(&in, bad[_i].number, bad[_i].total, bad[_i].offset, bad[_i].len), FLOW_BROKEN);
	ck_assert_mem_eq(&in, &before, sizeof(in));
}
END_TEST

START_TEST(duplicate_in_chunks)
{
	take(3, 10);
	ck_assert_int_eq(flow_in_item(&in, 2, 10, 0, 4), FLOW_DUPLICATE);
	ck_assert_int_eq(flow_in_item(&in, 2, 10, 4, 4), FLOW_DISCARD);
	ck_assert_int_eq(flow_in_item(&in, 2, 10, 8, 2), FLOW_DISCARD);
	ck_assert_uint_eq(in.partial, 0);
	ck_assert_uint_eq(in.mark, 3);
	take(4, 10);
}
END_TEST

/* A new session: what was used and granted is forgotten, mark and partial stay. */
START_TEST(resumed_body)
{
	take(1, 10);
	ck_assert_int_eq(flow_in_item(&in, 2, 100, 0, 40), FLOW_PART);
	flow_in_open(&in);
	ck_assert_uint_eq(in.mark, 1);
	ck_assert_uint_eq(in.partial, 2);
	ck_assert_uint_eq(in.partial_have, 40);
	ck_assert_uint_eq(in.credit.used_messages + in.credit.granted_messages, 0);
	ck_assert(flow_in_continues(&in, 2, 40));
	ck_assert(!flow_in_continues(&in, 2, 0));
	ck_assert(!flow_in_continues(&in, 2, 41));
	ck_assert(!flow_in_continues(&in, 3, 40));
	ck_assert(credit_grant(&in.credit, 10, 1000));
	ck_assert_int_eq(flow_in_item(&in, 2, 100, 40, 30), FLOW_PART);
	/* Only the rest counts. */
	ck_assert_uint_eq(in.credit.used_messages, 1);
	ck_assert_uint_eq(in.credit.used_bytes, 60);
	ck_assert_int_eq(flow_in_item(&in, 2, 100, 70, 30), FLOW_ACCEPT);
	flow_in_accept(&in, 2);
	ck_assert_uint_eq(in.partial, 0);
	take(3, 1);
}
END_TEST

START_TEST(resumed_by_its_last_chunk)
{
	ck_assert_int_eq(flow_in_item(&in, 2, 100, 0, 40), FLOW_PART);
	flow_in_open(&in);
	ck_assert(credit_grant(&in.credit, 10, 1000));
	ck_assert_int_eq(flow_in_item(&in, 2, 100, 40, 60), FLOW_ACCEPT);
	ck_assert(!in.partial_live);
	flow_in_accept(&in, 2);
	ck_assert_uint_eq(in.partial, 0);
	take(3, 1);
}
END_TEST

START_TEST(resumed_with_another_total)
{
	ck_assert_int_eq(flow_in_item(&in, 2, 100, 0, 40), FLOW_PART);
	flow_in_open(&in);
	ck_assert(credit_grant(&in.credit, 10, 1000));
	ck_assert_int_eq(flow_in_item(&in, 2, 101, 40, 30), FLOW_BROKEN);
	ck_assert_int_eq(flow_in_item(&in, 2, 100, 41, 30), FLOW_BROKEN);
	ck_assert_int_eq(flow_in_item(&in, 3, 100, 40, 30), FLOW_BROKEN);
}
END_TEST

/* Anything but its continuation is for the caller to drop it first. */
START_TEST(partial_dropped_for_another)
{
	ck_assert_int_eq(flow_in_item(&in, 2, 100, 0, 40), FLOW_PART);
	flow_in_open(&in);
	ck_assert(credit_grant(&in.credit, 10, 1000));
	ck_assert(!flow_in_continues(&in, 2, 0));
	flow_in_forget_partial(&in);
	ck_assert_int_eq(flow_in_item(&in, 2, 100, 40, 60), FLOW_BROKEN);
	ck_assert_int_eq(flow_in_item(&in, 2, 100, 0, 60), FLOW_PART);
	ck_assert_int_eq(flow_in_item(&in, 2, 100, 60, 40), FLOW_ACCEPT);
}
END_TEST

START_TEST(abort_ends_a_body)
{
	ck_assert_int_eq(flow_in_abort(&in, 1), -EPROTO);
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 0, 4), FLOW_PART);
	ck_assert_int_eq(flow_in_abort(&in, 2), -EPROTO);
	ck_assert_int_eq(flow_in_abort(&in, 1), 0);
	ck_assert_int_eq(flow_in_abort(&in, 1), -EPROTO);
	ck_assert_uint_eq(in.mark, 0);
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 4, 4), FLOW_BROKEN);
	take(2, 10);
	/* What an earlier session left of one can be given up as well. */
	ck_assert_int_eq(flow_in_item(&in, 3, 10, 0, 4), FLOW_PART);
	flow_in_open(&in);
	ck_assert_int_eq(flow_in_abort(&in, 2), -EPROTO);
	ck_assert_int_eq(flow_in_abort(&in, 3), 0);
	ck_assert(!flow_in_continues(&in, 3, 4));
}
END_TEST

/* ------------------------------------------------ receiver: reject, resume */

START_TEST(halted_until_resume)
{
	take(1, 10);
	ck_assert_int_eq(flow_in_item(&in, 2, 10, 0, 10), FLOW_ACCEPT);
	flow_in_reject(&in, 2);
	ck_assert_uint_eq(in.mark, 1);
	ck_assert_int_eq(flow_in_item(&in, 3, 10, 0, 10), FLOW_DISCARD);
	ck_assert_int_eq(flow_in_item(&in, 4, 10, 0, 5), FLOW_DISCARD);
	ck_assert_int_eq(flow_in_item(&in, 4, 10, 5, 5), FLOW_DISCARD);
	ck_assert_uint_eq(in.credit.used_messages, 4);
	ck_assert_int_eq(flow_in_resume(&in, 1), -EPROTO);
	ck_assert_int_eq(flow_in_resume(&in, 2), 0);
	ck_assert_int_eq(flow_in_resume(&in, 2), -EPROTO);
	/* What was discarded comes again, in order. */
	take(3, 10);
	take(4, 10);
}
END_TEST

START_TEST(resume_without_reject)
{
	ck_assert_int_eq(flow_in_resume(&in, 1), -EPROTO);
	take(1, 10);
	ck_assert_int_eq(flow_in_resume(&in, 1), -EPROTO);
}
END_TEST

/* Rejected at its first chunk: those that are on their way are swallowed. */
START_TEST(rejected_in_the_middle)
{
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 0, 4), FLOW_PART);
	flow_in_reject(&in, 1);
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 4, 2), FLOW_DISCARD);
	/* Resume ends it in the middle too. */
	ck_assert_int_eq(flow_in_resume(&in, 1), 0);
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 6, 4), FLOW_BROKEN);
	take(2, 10);
}
END_TEST

START_TEST(rejected_in_the_middle_to_its_end)
{
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 0, 4), FLOW_PART);
	flow_in_reject(&in, 1);
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 4, 6), FLOW_DISCARD);
	ck_assert_uint_eq(in.partial, 0);
	ck_assert_int_eq(flow_in_item(&in, 2, 10, 0, 10), FLOW_DISCARD);
	ck_assert_int_eq(flow_in_resume(&in, 1), 0);
	take(2, 10);
}
END_TEST

START_TEST(rejected_at_its_last_chunk)
{
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 0, 4), FLOW_PART);
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 4, 6), FLOW_ACCEPT);
	flow_in_reject(&in, 1);
	ck_assert_uint_eq(in.partial, 0);
	ck_assert_int_eq(flow_in_resume(&in, 1), 0);
	take(2, 10);
}
END_TEST

/* The verdict was lost with the session: it comes again and is judged again. */
START_TEST(reject_is_not_remembered)
{
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 0, 4), FLOW_PART);
	flow_in_reject(&in, 1);
	flow_in_open(&in);
	ck_assert_uint_eq(in.partial, 0);
	ck_assert_uint_eq(in.halted_at, 0);
	ck_assert(credit_grant(&in.credit, 10, 1000));
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 0, 10), FLOW_ACCEPT);
}
END_TEST

/* A body swallowed while halted is no partial body for the next session. */
START_TEST(discarded_body_is_not_resumed)
{
	ck_assert_int_eq(flow_in_item(&in, 1, 10, 0, 10), FLOW_ACCEPT);
	flow_in_reject(&in, 1);
	ck_assert_int_eq(flow_in_item(&in, 2, 10, 0, 4), FLOW_DISCARD);
	flow_in_open(&in);
	ck_assert_uint_eq(in.partial, 0);
	ck_assert(!flow_in_continues(&in, 2, 4));
}
END_TEST

/* ------------------------------------------------------------------ sender */

static void
send_whole(uint64_t number, uint64_t len)
{
	ck_assert(flow_out_may_start(&out, 0));
	ck_assert_uint_eq(flow_out_start(&out, number, len, LARGE), 0);
	flow_out_sent(&out, len);
	ck_assert_uint_eq(out.partial, 0);
}

START_TEST(sender_waits_for_flow_state)
{
	struct flow_out f = { 0 };

	ck_assert_int_eq(f.state, FLOW_OUT_CLOSED);
	ck_assert(!flow_out_may_start(&f, 0));
	flow_out_open(&f);
	ck_assert_int_eq(f.state, FLOW_OUT_OPENING);
	ck_assert(!flow_out_may_start(&f, 0));
	flow_out_state(&f, 7, 5, 0, 0, 0, 0);
	ck_assert_uint_eq(f.sent, 7);
	ck_assert_uint_eq(f.confirmed, 5);
	ck_assert(!flow_out_may_start(&f, 0)); /* no credit */
	ck_assert(credit_grant(&f.credit, 1, 1));
	ck_assert(flow_out_may_start(&f, 0));
	flow_out_close(&f);
	ck_assert(!flow_out_may_start(&f, 0));
	ck_assert_uint_eq(f.confirmed, 5);
}
END_TEST

START_TEST(sender_counts_credit)
{
	struct flow_out f = { 0 };

	flow_out_open(&f);
	flow_out_state(&f, 0, 0, 0, 0, 2, 100);
	for (uint64_t i = 1; i <= 2; i++) {
		ck_assert(flow_out_may_start(&f, 0));
		flow_out_start(&f, i, 40, LARGE);
		flow_out_sent(&f, 40);
	}
	ck_assert(!flow_out_may_start(&f, 0));
	ck_assert(credit_grant(&f.credit, 10, 100));
	ck_assert(flow_out_may_start(&f, 0));
	flow_out_start(&f, 3, 500, LARGE);
	flow_out_sent(&f, 500);
	ck_assert(!flow_out_may_start(&f, 0));
}
END_TEST

/* FlowState is the truth after a break: a receiver that forgot judges, and confirms, all of it again. */
START_TEST(sender_believes_flow_state)
{
	send_whole(1, 1);
	send_whole(2, 1);
	ck_assert_int_eq(flow_out_confirm(&out, 2), 0);
	ck_assert_int_eq(flow_out_confirm(&out, 1), 0);
	ck_assert_uint_eq(out.confirmed, 2); /* within a session it never falls */
	flow_out_open(&out);
	flow_out_state(&out, 0, 0, 0, 0, 10, 10);
	ck_assert_uint_eq(out.sent, 0);
	send_whole(1, 1);
	ck_assert_int_eq(flow_out_reject(&out, 1), 0);
}
END_TEST

START_TEST(sender_refuses_wrong_confirms)
{
	ck_assert_int_eq(flow_out_confirm(&out, 1), -EPROTO);
	send_whole(3, 10);
	ck_assert_int_eq(flow_out_confirm(&out, 4), -EPROTO);
	ck_assert_int_eq(flow_out_confirm(&out, 3), 0);
	/* Half of 4 is out: nobody can have accepted it. */
	flow_out_start(&out, 4, 10, LARGE);
	flow_out_sent(&out, 5);
	ck_assert_int_eq(flow_out_confirm(&out, 4), -EPROTO);
	ck_assert_int_eq(flow_out_confirm(&out, 3), 0);
	flow_out_sent(&out, 5);
	ck_assert_int_eq(flow_out_confirm(&out, 4), 0);
}
END_TEST

START_TEST(sender_chunks)
{
	ck_assert(!flow_out_may_continue(&out));
	ck_assert_uint_eq(flow_out_start(&out, 1, LARGE, LARGE), 0);
	ck_assert(flow_out_may_continue(&out));
	flow_out_sent(&out, 400);
	ck_assert(!flow_out_may_start(&out, 0)); /* of one flow never two at once */
	ck_assert(flow_out_may_continue(&out));
	ck_assert_uint_eq(out.partial_sent, 400);
	flow_out_sent(&out, 600);
	ck_assert(!flow_out_may_continue(&out));
	ck_assert_uint_eq(out.partial, 0);
	ck_assert(flow_out_may_start(&out, 0));
	ck_assert_uint_eq(out.credit.used_bytes, LARGE);
}
END_TEST

START_TEST(sender_large_waits_for_its_reservation)
{
	flow_out_start(&out, 1, LARGE + 1, LARGE);
	ck_assert(flow_out_may_continue(&out));
	flow_out_sent(&out, 400);
	ck_assert(!flow_out_may_continue(&out));
	flow_out_reserved(&out, 2);
	ck_assert(!flow_out_may_continue(&out));
	flow_out_reserved(&out, 1);
	ck_assert(flow_out_may_continue(&out));
	flow_out_sent(&out, 400);
	ck_assert(flow_out_may_continue(&out));
	flow_out_sent(&out, 201);
	ck_assert_uint_eq(out.partial, 0);
	/* The next one waits again. */
	flow_out_start(&out, 2, LARGE + 1, LARGE);
	flow_out_sent(&out, 400);
	ck_assert(!flow_out_may_continue(&out));
}
END_TEST

START_TEST(sender_resumes)
{
	flow_out_start(&out, 5, 100, LARGE);
	flow_out_sent(&out, 60);
	flow_out_close(&out);
	ck_assert_uint_eq(out.partial, 0);
	flow_out_open(&out);
	flow_out_state(&out, 4, 4, 5, 40, 10, 1000);
	ck_assert(flow_out_may_start(&out, 0));
	ck_assert_uint_eq(flow_out_start(&out, 5, 100, LARGE), 40);
	ck_assert_uint_eq(out.credit.used_messages, 1);
	ck_assert_uint_eq(out.credit.used_bytes, 60);
	flow_out_sent(&out, 60);
	ck_assert_uint_eq(out.partial, 0);
	/* It counts for one start only. */
	ck_assert_uint_eq(flow_out_start(&out, 6, 100, LARGE), 0);
}
END_TEST

/* What is there is of another message, or is more than there is. */
START_TEST(sender_does_not_resume)
{
	static const struct {
		uint64_t number, bytes;
	} there[] = { { 6, 40 }, { 4, 40 }, { 5, 100 }, { 5, 101 }, { 5, UINT64_MAX } };

	flow_out_open(&out);
	flow_out_state(&out, 4, 4, there[_i].number, there[_i].bytes, 10, 1000);
	ck_assert_uint_eq(flow_out_start(&out, 5, 100, LARGE), 0);
	ck_assert_uint_eq(out.credit.used_bytes, 100);
	flow_out_sent(&out, 100);
	ck_assert_uint_eq(flow_out_start(&out, 6, 100, LARGE), 0);
}
END_TEST

START_TEST(sender_aborts)
{
	flow_out_start(&out, 1, LARGE + 1, LARGE);
	flow_out_sent(&out, 400);
	flow_out_abort(&out);
	ck_assert(!flow_out_may_continue(&out));
	ck_assert(flow_out_may_start(&out, 0));
	send_whole(2, 10);
	ck_assert(!out.partial_waits);
}
END_TEST

/* The one message allowed after Resume is given up: nothing will be said of it, and the next one may start. */
START_TEST(sender_aborts_its_only_one)
{
	send_whole(1, 10);
	ck_assert_int_eq(flow_out_reject(&out, 1), 0);
	flow_out_resume(&out, 1);
	flow_out_start(&out, 2, LARGE + 1, LARGE);
	flow_out_sent(&out, 400);
	flow_out_abort(&out);
	send_whole(3, 10);
	ck_assert(!flow_out_may_start(&out, 0));
	ck_assert_int_eq(flow_out_confirm(&out, 3), 0);
	ck_assert(flow_out_may_start(&out, 0));
	/* A Reject that crosses the Abort is still one. */
	ck_assert_int_eq(flow_out_reject(&out, 3), -EPROTO);
	send_whole(4, 10);
	ck_assert_int_eq(flow_out_reject(&out, 4), 0);
	flow_out_resume(&out, 4);
	flow_out_start(&out, 5, LARGE + 1, LARGE);
	flow_out_sent(&out, 400);
	flow_out_abort(&out);
	send_whole(6, 10);
	ck_assert_int_eq(flow_out_reject(&out, 5), 0);
	ck_assert(!flow_out_may_start(&out, 0));
}
END_TEST

START_TEST(sender_halts)
{
	for (uint64_t i = 1; i <= 5; i++)
		send_whole(i, 10);
	ck_assert_int_eq(flow_out_confirm(&out, 2), 0);
	ck_assert_int_eq(flow_out_reject(&out, 2), -EPROTO);
	ck_assert_int_eq(flow_out_reject(&out, 6), -EPROTO);
	ck_assert_int_eq(flow_out_reject(&out, 4), 0);
	ck_assert_int_eq(out.state, FLOW_OUT_HALTED);
	ck_assert(!flow_out_may_start(&out, 0));
	ck_assert_int_eq(flow_out_reject(&out, 4), -EPROTO);
	/* What lies before it can still be confirmed. */
	ck_assert_int_eq(flow_out_confirm(&out, 3), 0);
	ck_assert(!flow_out_may_start(&out, 0));
	flow_out_resume(&out, 4);
	ck_assert_uint_eq(out.sent, 4);
	ck_assert_uint_eq(out.confirmed, 4);
	ck_assert(flow_out_may_start(&out, 0));
}
END_TEST

START_TEST(sender_one_at_a_time_after_resume)
{
	send_whole(1, 10);
	ck_assert_int_eq(flow_out_reject(&out, 1), 0);
	flow_out_resume(&out, 1);
	send_whole(2, 10);
	ck_assert(!flow_out_may_start(&out, 0));
	/* A confirm that settles nothing new changes nothing. */
	ck_assert_int_eq(flow_out_confirm(&out, 1), 0);
	ck_assert(!flow_out_may_start(&out, 0));
	/* Rejected too: still one at a time. */
	ck_assert_int_eq(flow_out_reject(&out, 2), 0);
	flow_out_resume(&out, 2);
	send_whole(3, 10);
	ck_assert(!flow_out_may_start(&out, 0));
	ck_assert_int_eq(flow_out_confirm(&out, 3), 0);
	send_whole(4, 10);
	send_whole(5, 10);
	ck_assert(flow_out_may_start(&out, 0));
}
END_TEST

START_TEST(sender_halted_in_the_middle)
{
	flow_out_start(&out, 1, LARGE + 1, LARGE);
	flow_out_sent(&out, 400);
	ck_assert_int_eq(flow_out_reject(&out, 1), 0);
	ck_assert_uint_eq(out.partial, 0);
	ck_assert(!flow_out_may_continue(&out));
	flow_out_resume(&out, 1);
	ck_assert(!flow_out_may_continue(&out));
	send_whole(2, 10);
}
END_TEST

/* ---------------------------------------------------------- both together */

/* The ends agree on credit, whatever was cut, resumed, repeated or refused. */
START_TEST(ends_count_alike)
{
	uint64_t offset;

	send_whole(1, 10);
	take(1, 10);
	flow_out_start(&out, 2, 100, LARGE);
	flow_out_sent(&out, 30);
	ck_assert_int_eq(flow_in_item(&in, 2, 100, 0, 30), FLOW_PART);

	flow_out_close(&out);
	flow_in_open(&in);
	ck_assert(credit_grant(&in.credit, 10, 1000));
	flow_out_open(&out);
	flow_out_state(&out, in.mark, in.mark, in.partial, in.partial_have, 10, 1000);
	offset = flow_out_start(&out, 2, 100, LARGE);
	ck_assert_uint_eq(offset, 30);
	flow_out_sent(&out, 70);
	ck_assert_int_eq(flow_in_item(&in, 2, 100, offset, 70), FLOW_ACCEPT);
	flow_in_accept(&in, 2);

	send_whole(3, 20);
	ck_assert_int_eq(flow_in_item(&in, 3, 20, 0, 20), FLOW_ACCEPT);
	flow_in_reject(&in, 3);
	send_whole(4, 5);
	ck_assert_int_eq(flow_in_item(&in, 4, 5, 0, 5), FLOW_DISCARD);
	ck_assert_int_eq(flow_out_reject(&out, 3), 0);
	flow_out_resume(&out, 3);
	ck_assert_int_eq(flow_in_resume(&in, 3), 0);
	send_whole(4, 5);
	take(4, 5);
	ck_assert_mem_eq(&in.credit, &out.credit, sizeof(in.credit));
	ck_assert_uint_eq(in.credit.used_messages, 4);
	ck_assert_uint_eq(in.credit.used_bytes, 100);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("flow");
	TCase *tc = tcase_create("flow");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, credit_counts_both);
	tcase_add_test(tc, credit_never_falls);
	tcase_add_test(tc, whole_in_order_with_gaps);
	tcase_add_test(tc, whole_again_is_duplicate);
	tcase_add_test(tc, whole_broken_numbers);
	tcase_add_test(tc, broken_offsets);
	tcase_add_test(tc, more_than_granted);
	tcase_add_test(tc, chunks_make_a_body);
	tcase_add_loop_test(tc, chunks_that_do_not_fit, 0, 8);
	tcase_add_test(tc, duplicate_in_chunks);
	tcase_add_test(tc, resumed_body);
	tcase_add_test(tc, resumed_by_its_last_chunk);
	tcase_add_test(tc, resumed_with_another_total);
	tcase_add_test(tc, partial_dropped_for_another);
	tcase_add_test(tc, abort_ends_a_body);
	tcase_add_test(tc, halted_until_resume);
	tcase_add_test(tc, resume_without_reject);
	tcase_add_test(tc, rejected_in_the_middle);
	tcase_add_test(tc, rejected_in_the_middle_to_its_end);
	tcase_add_test(tc, rejected_at_its_last_chunk);
	tcase_add_test(tc, reject_is_not_remembered);
	tcase_add_test(tc, discarded_body_is_not_resumed);
	tcase_add_test(tc, sender_waits_for_flow_state);
	tcase_add_test(tc, sender_counts_credit);
	tcase_add_test(tc, sender_believes_flow_state);
	tcase_add_test(tc, sender_refuses_wrong_confirms);
	tcase_add_test(tc, sender_chunks);
	tcase_add_test(tc, sender_large_waits_for_its_reservation);
	tcase_add_test(tc, sender_resumes);
	tcase_add_loop_test(tc, sender_does_not_resume, 0, 5);
	tcase_add_test(tc, sender_aborts);
	tcase_add_test(tc, sender_aborts_its_only_one);
	tcase_add_test(tc, sender_halts);
	tcase_add_test(tc, sender_one_at_a_time_after_resume);
	tcase_add_test(tc, sender_halted_in_the_middle);
	tcase_add_test(tc, ends_count_alike);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
