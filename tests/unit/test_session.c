/* session: greeting, what is refused, how it ends. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session_ends.h"

static struct world *w;

static void
setup(void)
{
	w = world_new();
}

static void
teardown(void)
{
	world_free(w);
}

/* y has refused with this code, and said so before it went. */
static void
assert_refused(enum wire_close_code code)
{
	uint32_t said;

	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.downs, 1);
	ck_assert_str_eq(wire_close_name(w->y.code), wire_close_name(code));
	ck_assert(!w->y.by_peer);
	ck_assert_int_eq(w->y.error, 0);
	ck_assert_uint_gt(strlen(w->y.reason), 5);
	ck_assert(world_closed(w, &said));
	ck_assert_uint_eq(said, code);
	ck_assert(w->b.drained);
}

/* ---------------------------------------------------------------- greeting */

START_TEST(both_ends_greet)
{
	struct wire_frame f = confirm_frame(3, 77);

	world_connect(w);
	ck_assert_int_eq(session_state(w->x.s), SESSION_OPEN);
	ck_assert_int_eq(session_state(w->y.s), SESSION_OPEN);
	ck_assert_uint_eq(w->x.greetings, 1);
	ck_assert_uint_eq(w->y.hellos, 1);
	ck_assert(session_dialled(w->x.s) && !session_dialled(w->y.s));
	ck_assert(wire_bytes_equal(session_hello(w->y.s)->name, wire_string("node")));
	ck_assert(wire_bytes_equal(session_hello(w->x.s)->software, wire_string("test 1")));
	ck_assert_uint_eq(session_hello(w->x.s)->limits.dictionary, WIRE_DICTIONARY);
	ck_assert_str_eq(session_identity(w->x.s)->address, "pipe");
	session_send(w->x.s, &f);
	f.u.confirm.flow = 4;
	session_send(w->y.s, &f);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->x.n_kept + w->y.n_kept, 2);
	ck_assert_uint_eq(w->x.kept[0].id, 4);
	ck_assert_uint_eq(w->y.kept[0].id, 3);
	ck_assert_uint_eq(w->y.kept[0].number, 77);
}
END_TEST

START_TEST(a_dialled_session_can_make_its_transport)
{
	struct names_url url = { 0 };
	int error = 0;

	pipe_dial = (struct pipe_dial){ .error = -EMFILE };
	ck_assert_ptr_null(session_new_dialling(&w->env, &pipe_ops, &url, NULL, &end_events, &w->x, &error));
	ck_assert_int_eq(error, -EMFILE);
	pipe_dial = (struct pipe_dial){ .end = &w->a };
	w->x.s = session_new_dialling(&w->env, &pipe_ops, &url, NULL, &end_events, &w->x, &error);
	ck_assert_ptr_nonnull(w->x.s);
	ck_assert_int_eq(session_state(w->x.s), SESSION_CONNECTING);
	w->y.s = session_new(&w->env, &w->b.t, false, &end_events, &w->y);
	fake_loop_run(w->loop);
	ck_assert_int_eq(session_state(w->x.s), SESSION_OPEN);
}
END_TEST

/* A stranger's handshake is still to come: nothing is said or read before it is over. */
START_TEST(accepted_before_its_handshake)
{
	w->b.t.awaits_up = true;
	w->x.s = session_new(&w->env, &w->a.t, true, &end_events, &w->x);
	w->y.s = session_new(&w->env, &w->b.t, false, &end_events, &w->y);
	ck_assert_int_eq(session_state(w->y.s), SESSION_CONNECTING);
	ck_assert_str_eq(session_identity(w->y.s)->address, "pipe");
	session_greet(w->y.s);
	ck_assert_uint_eq(w->y.greetings, 0);
	w->b.t.awaits_up = false;
	w->b.t.ev->up(w->b.t.arg);
	ck_assert_int_eq(session_state(w->y.s), SESSION_GREETING);
	ck_assert_uint_eq(w->y.greetings, 0); /* who dialled greets first */
	fake_loop_run(w->loop);
	ck_assert_int_eq(session_state(w->x.s), SESSION_OPEN);
	ck_assert_int_eq(session_state(w->y.s), SESSION_OPEN);
	ck_assert_uint_eq(w->y.greetings, 1);
}
END_TEST

START_TEST(accepted_and_no_handshake)
{
	w->b.t.awaits_up = true;
	w->y.s = session_new(&w->env, &w->b.t, false, &end_events, &w->y);
	pipe_break(&w->b, -EACCES);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.downs, 1);
	ck_assert_int_eq(w->y.error, -EACCES);
	ck_assert_str_eq(w->y.reason, "connection reset by peer"); /* the pipe's word */
	ck_assert_uint_eq(w->b.writes, 0);
}
END_TEST

START_TEST(the_accepting_end_speaks_when_its_owner_says)
{
	w->y.greets = w->y.opens = false;
	world_accept(w);
	session_greet(w->y.s); /* before the other's Hello: nothing */
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.greetings, 0);
	ck_assert_uint_eq(w->b.writes, 0);
	ck_assert_int_eq(session_state(w->y.s), SESSION_GREETING);
}
END_TEST

START_TEST(a_dialler_waits_for_the_greeting)
{
	w->y.greets = w->y.opens = false;
	world_connect(w);
	ck_assert_int_eq(session_state(w->x.s), SESSION_GREETING);
	ck_assert_int_eq(session_state(w->y.s), SESSION_GREETING);
	ck_assert_uint_eq(w->x.hellos, 0);
	session_open(w->y.s); /* not greeted yet: nothing */
	session_greet(w->y.s);
	ck_assert_int_eq(session_state(w->y.s), SESSION_GREETED);
	session_greet(w->y.s);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->x.hellos, 1);
	ck_assert_uint_eq(w->y.greetings, 1);
	ck_assert_int_eq(session_state(w->x.s), SESSION_OPEN);
	session_open(w->y.s);
	ck_assert_int_eq(session_state(w->y.s), SESSION_OPEN);
}
END_TEST

START_TEST(until_open_only_known_and_accept_pass)
{
	struct wire_frame f = confirm_frame(1, 1);

	w->y.opens = false;
	world_connect(w);
	session_send(w->x.s, &(struct wire_frame){ .kind = WIRE_KNOWN });
	session_send(w->x.s, &(struct wire_frame){ .kind = WIRE_ACCEPT });
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.n_kept, 2);
	ck_assert_int_eq(w->y.kept[0].kind, WIRE_KNOWN);
	ck_assert_int_eq(w->y.kept[1].kind, WIRE_ACCEPT);
	session_send(w->x.s, &f);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.n_kept, 2);
	ck_assert_uint_eq(w->y.downs, 1);
	ck_assert_int_eq(w->x.code, WIRE_CLOSE_PROTOCOL);
	ck_assert(w->x.by_peer);
}
END_TEST

START_TEST(before_the_answer_to_hello_nothing_passes)
{
	struct wire_frame f = hello_frame(WIRE_ROLE_PEER);

	w->y.greets = w->y.opens = false;
	world_accept(w);
	world_put(w, &f);
	world_put(w, &(struct wire_frame){ .kind = WIRE_PING });
	fake_loop_run(w->loop);
	ck_assert_int_eq(session_state(w->y.s), SESSION_GREETING);
	f = (struct wire_frame){ .kind = WIRE_KNOWN };
	world_put(w, &f);
	assert_refused(WIRE_CLOSE_PROTOCOL);
	ck_assert_uint_eq(w->y.n_kept, 0);
}
END_TEST

START_TEST(arrives_byte_by_byte)
{
	struct wire_frame f = hello_frame(WIRE_ROLE_CLIENT);
	uint8_t buf[200];
	size_t len = wire_pack(&f, buf);

	f = confirm_frame(5, 300);
	len += wire_pack(&f, buf + len);
	world_accept(w);
	for (size_t i = 0; i < len; i++) {
		ck_assert_uint_eq(w->y.n_kept, 0);
		pipe_feed(&w->b, buf + i, 1);
		fake_loop_run(w->loop);
	}
	ck_assert_uint_eq(w->y.n_kept, 1);
	ck_assert_uint_eq(w->y.kept[0].number, 300);
}
END_TEST

START_TEST(the_highest_common_version_rules)
{
	static const struct { uint32_t min, max; bool good; } cases[] = {
		{ 1, 1, true }, { 0, 9, true }, { 1, UINT32_MAX, true }, { 2, 2, false }, { 2, UINT32_MAX, false },
		{ 0, 0, false }, { 3, 0, false },
	};
	struct wire_frame f = hello_frame(WIRE_ROLE_CLIENT);

	f.u.hello.version_min = cases[_i].min;
	f.u.hello.version_max = cases[_i].max;
	world_accept(w);
	world_put(w, &f);
	fake_loop_run(w->loop);
	if (cases[_i].good) {
		ck_assert_int_eq(session_state(w->y.s), SESSION_OPEN);
		return;
	}
	ck_assert_uint_eq(w->y.hellos, 0);
	assert_refused(WIRE_CLOSE_UNSUPPORTED);
}
END_TEST

/* ------------------------------------------------------------- what is refused */

START_TEST(strangers_hear_why_and_learn_nothing)
{
	static const struct { const char *bytes; size_t len; } cases[] = {
		{ "GET / HTTP/1.1\r\nHost: example.org\r\nUser-Agent: something that is long enough for a frame\r\n\r\n", 93 },
		{ "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", 46 }, /* TLS */
		{ "\x00", 1 },             /* an empty frame */
		{ "\x80\x00", 2 },         /* a length that is not minimal */
		{ "\xff\xff\xff\xff\xff\xff", 6 },
		{ "\x02\x22\x00", 3 },     /* Ping before Hello */
		{ "\x04\xa2\x06\x01\x61", 5 }, /* field 100: not even what may be ignored */
	};
	struct wire_frame f;

	world_accept(w);
	pipe_feed(&w->b, cases[_i].bytes, cases[_i].len);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.greetings, 0);
	ck_assert_uint_eq(w->y.hellos, 0);
	ck_assert(world_next(w, &f));
	ck_assert_int_eq(f.kind, WIRE_CLOSE);
	ck_assert_uint_eq(f.u.close.code, WIRE_CLOSE_PROTOCOL);
	ck_assert_uint_eq(w->y.downs, 1);
	ck_assert_int_eq(w->y.code, WIRE_CLOSE_PROTOCOL);
}
END_TEST

START_TEST(a_wrong_magic_is_refused)
{
	struct wire_frame f = hello_frame(WIRE_ROLE_PEER);

	f.u.hello.magic ^= 1;
	world_accept(w);
	world_put(w, &f);
	ck_assert_uint_eq(w->y.hellos, 0);
	assert_refused(WIRE_CLOSE_PROTOCOL);
}
END_TEST

static void
feed_length(size_t n)
{
	uint8_t head[5];
	size_t len = 0;

	for (; n >= 0x80; n >>= 7)
		head[len++] = (uint8_t)(n | 0x80);
	head[len++] = (uint8_t)n;
	pipe_feed(&w->b, head, len);
}

START_TEST(lengths_are_judged_before_their_bytes_come)
{
	static const struct { bool open; size_t len; bool good; } cases[] = {
		{ false, WIRE_GREETING_MAX, true }, { false, WIRE_GREETING_MAX + 1, false },
		{ true, WIRE_FRAME_MAX, true }, { true, WIRE_FRAME_MAX + 1, false }, { true, UINT32_MAX, false },
	};

	if (cases[_i].open)
		world_accept_open(w, WIRE_ROLE_CLIENT);
	else
		world_accept(w);
	feed_length(cases[_i].len);
	fake_loop_run(w->loop);
	if (cases[_i].good)
		ck_assert_uint_eq(w->y.downs, 0);
	else
		assert_refused(WIRE_CLOSE_TOO_LARGE);
}
END_TEST

START_TEST(greeted_is_not_open_to_large_frames)
{
	struct wire_frame f = hello_frame(WIRE_ROLE_PEER);

	w->y.opens = false;
	world_accept(w);
	world_put(w, &f);
	fake_loop_run(w->loop);
	feed_length(WIRE_GREETING_MAX + 1);
	assert_refused(WIRE_CLOSE_TOO_LARGE);
}
END_TEST

START_TEST(control_frames_have_a_smaller_bound)
{
	struct wire_frame f = { .kind = WIRE_NACK };
	uint8_t *text = calloc(1, WIRE_CONTROL_MAX + 1);

	memset(text, 'x', WIRE_CONTROL_MAX + 1);
	f.u.nack.reason = wire_bytes(text, WIRE_CONTROL_MAX + 1);
	world_accept_open(w, WIRE_ROLE_CLIENT);
	world_put(w, &f);
	free(text);
	assert_refused(WIRE_CLOSE_TOO_LARGE);
}
END_TEST

START_TEST(frames_out_of_order_or_unknown)
{
	static const struct { const char *bytes; size_t len; int code; } cases[] = {
		{ "\x04\x82\x02\x01\x61", 5, WIRE_CLOSE_UNSUPPORTED }, /* field 32 */
		{ "\x04\x9a\x06\x01\x61", 5, WIRE_CLOSE_UNSUPPORTED }, /* field 99 */
		{ "\x04\xa2\x06\x01\x61", 5, -1 },                     /* field 100: may be ignored */
		{ "\x03\x0a\x01\x61", 4, WIRE_CLOSE_PROTOCOL },        /* a Hello that is malformed */
		{ "\x02\x0a\x00", 3, WIRE_CLOSE_PROTOCOL },            /* a second Hello */
		{ "\x02\x2a\x00", 3, -1 },                             /* Pong */
	};

	world_accept_open(w, WIRE_ROLE_CLIENT);
	pipe_feed(&w->b, cases[_i].bytes, cases[_i].len);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.n_kept, 0);
	if (cases[_i].code < 0)
		ck_assert_int_eq(session_state(w->y.s), SESSION_OPEN);
	else
		assert_refused((enum wire_close_code)cases[_i].code);
}
END_TEST

START_TEST(nothing_counts_after_a_violation)
{
	struct wire_frame f = confirm_frame(1, 1);

	world_accept_open(w, WIRE_ROLE_CLIENT);
	pipe_feed(&w->b, "\x80\x00", 2);
	world_put(w, &f);
	assert_refused(WIRE_CLOSE_PROTOCOL);
	ck_assert_uint_eq(w->y.n_kept, 0);
}
END_TEST

/* ------------------------------------------------------------------ deadlines */

START_TEST(a_silent_stranger_is_sent_away_in_time)
{
	world_accept(w);
	fake_loop_advance(w->loop, HANDSHAKE_MS - 1);
	ck_assert_uint_eq(w->y.downs, 0);
	ck_assert_uint_eq(fake_loop_timers(w->loop), 1);
	fake_loop_advance(w->loop, 1);
	assert_refused(WIRE_CLOSE_TIMEOUT);
}
END_TEST

START_TEST(so_is_one_who_is_greeted_and_never_opened)
{
	w->y.opens = w->x.opens = false;
	world_connect(w);
	ck_assert_int_eq(session_state(w->y.s), SESSION_GREETED);
	fake_loop_advance(w->loop, HANDSHAKE_MS - 1);
	ck_assert_uint_eq(w->y.downs + w->x.downs, 0);
	fake_loop_advance(w->loop, 1);
	ck_assert_uint_eq(w->y.downs, 1);
	ck_assert_uint_eq(w->x.downs, 1);
	ck_assert_int_eq(w->y.code, WIRE_CLOSE_TIMEOUT);
}
END_TEST

START_TEST(a_dial_that_never_ends_does)
{
	w->a.up_waits = false;
	w->x.s = session_new(&w->env, &w->a.t, true, &end_events, &w->x);
	fake_loop_advance(w->loop, HANDSHAKE_MS * 2);
	ck_assert_uint_eq(w->x.downs, 1);
	ck_assert_int_eq(w->x.code, WIRE_CLOSE_TIMEOUT);
	ck_assert_uint_eq(w->x.greetings, 0);
	ck_assert_uint_eq(w->a.writes, 0);
}
END_TEST

/* -------------------------------------------------------------------- closing */

START_TEST(every_code_gets_through)
{
	world_connect(w);
	session_close(w->x.s, (enum wire_close_code)_i, "because of a test");
	ck_assert_int_eq(session_state(w->x.s), SESSION_CLOSING);
	ck_assert_uint_eq(w->x.downs, 0); /* never from inside a call */
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->x.downs, 1);
	ck_assert_uint_eq(w->y.downs, 1);
	ck_assert_int_eq(w->x.code, _i);
	ck_assert_int_eq(w->y.code, _i);
	ck_assert(!w->x.by_peer && w->y.by_peer);
	ck_assert_int_eq(w->x.error, 0);
	ck_assert_int_eq(w->y.error, 0);
	ck_assert_str_eq(w->x.reason, "because of a test");
	ck_assert_str_eq(w->y.reason, "because of a test");
	session_close(w->x.s, WIRE_CLOSE_INTERNAL, "again");
	fake_loop_advance(w->loop, 100000);
	ck_assert_uint_eq(w->x.downs, 1);
	ck_assert_uint_eq(w->y.downs, 1);
}
END_TEST

START_TEST(a_dialler_refused_before_the_greeting_hears_why)
{
	w->y.greets = w->y.opens = false;
	w->y.close_in = CALL_HELLO;
	world_connect(w);
	ck_assert_uint_eq(w->y.greetings, 0);
	ck_assert_uint_eq(w->x.downs, 1);
	ck_assert(w->x.by_peer);
	ck_assert_int_eq(w->x.code, WIRE_CLOSE_DENIED);
	ck_assert_str_eq(w->x.reason, "closed by the test");
}
END_TEST

START_TEST(foreign_reasons_are_fit_for_a_log)
{
	struct wire_frame f = { .kind = WIRE_CLOSE };
	char text[400];

	memset(text, 'a', sizeof(text));
	memcpy(text, "x\033[2J\n\0\177", 8);
	memcpy(text + WIRE_REASON_MAX - 1, "\xc3\xa4", 2); /* cut in the middle of a character */
	f.u.close.code = 4711;
	f.u.close.reason = wire_bytes(text, sizeof(text));
	world_accept_open(w, WIRE_ROLE_CLIENT);
	world_put(w, &f);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.downs, 1);
	ck_assert(w->y.by_peer);
	ck_assert_int_eq(w->y.code, WIRE_CLOSE_INTERNAL);
	ck_assert_uint_eq(strlen(w->y.reason), WIRE_REASON_MAX - 1);
	ck_assert_int_eq(memcmp(w->y.reason, "x?[2J???aaaa", 12), 0);
}
END_TEST

START_TEST(own_reasons_are_cut)
{
	char text[400] = { 0 };

	memset(text, 'b', sizeof(text) - 1);
	world_connect(w);
	session_close(w->x.s, WIRE_CLOSE_DENIED, text);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(strlen(w->y.reason), WIRE_REASON_MAX);
}
END_TEST

START_TEST(an_end_without_close_is_an_error)
{
	world_accept_open(w, WIRE_ROLE_CLIENT);
	if (_i == 0)
		pipe_eof(&w->b);
	else
		pipe_break(&w->b, -ETIMEDOUT);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.downs, 1);
	ck_assert(!w->y.by_peer);
	ck_assert_int_eq(w->y.error, _i == 0 ? -ECONNRESET : -ETIMEDOUT);
	if (_i == 1)
		ck_assert_str_eq(w->y.reason, "connection reset by peer");
}
END_TEST

START_TEST(last_words_are_heard_before_the_end)
{
	struct wire_frame f = { .kind = WIRE_CLOSE, .u.close = { WIRE_CLOSE_SHUTDOWN, wire_string("bye") } };

	world_accept_open(w, WIRE_ROLE_CLIENT);
	world_put(w, &f);
	pipe_eof(&w->b);
	fake_loop_run(w->loop);
	ck_assert_int_eq(w->y.code, WIRE_CLOSE_SHUTDOWN);
	ck_assert(w->y.by_peer);
	ck_assert_int_eq(w->y.error, 0);
}
END_TEST

START_TEST(close_waits_for_what_was_said_before)
{
	struct wire_frame f;

	world_accept_open(w, WIRE_ROLE_CLIENT);
	pipe_take(&w->b, 5);
	for (uint64_t i = 1; i <= 100; i++) {
		f = confirm_frame(1, i);
		session_send(w->y.s, &f);
	}
	session_close(w->y.s, WIRE_CLOSE_SHUTDOWN, "stopping");
	f = confirm_frame(1, 999);
	session_send(w->y.s, &f);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.downs, 0);
	fake_loop_advance(w->loop, 500);
	pipe_take(&w->b, SIZE_MAX);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.downs, 1);
	for (uint64_t i = 1; i <= 100; i++) {
		ck_assert(world_next(w, &f));
		ck_assert_uint_eq(f.u.confirm.number, i);
	}
	ck_assert(world_next(w, &f));
	ck_assert_int_eq(f.kind, WIRE_CLOSE);
	ck_assert(!world_next(w, &f));
}
END_TEST

START_TEST(close_does_not_wait_for_ever)
{
	world_accept_open(w, WIRE_ROLE_CLIENT);
	pipe_take(&w->b, 0);
	session_close(w->y.s, WIRE_CLOSE_LIMIT, "too many");
	fake_loop_advance(w->loop, 999);
	ck_assert_uint_eq(w->y.downs, 0);
	fake_loop_advance(w->loop, 1);
	ck_assert_uint_eq(w->y.downs, 1);
	ck_assert_int_eq(w->y.code, WIRE_CLOSE_LIMIT);
	ck_assert(!w->b.drained);
}
END_TEST

START_TEST(a_transport_that_breaks_while_closing_changes_no_reason)
{
	world_accept_open(w, WIRE_ROLE_CLIENT);
	pipe_take(&w->b, 0);
	session_close(w->y.s, WIRE_CLOSE_LIMIT, "too many");
	fake_loop_run(w->loop);
	pipe_break(&w->b, -ECONNRESET);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.downs, 1);
	ck_assert_int_eq(w->y.code, WIRE_CLOSE_LIMIT);
	ck_assert_int_eq(w->y.error, 0);
	ck_assert_str_eq(w->y.reason, "too many");
}
END_TEST

START_TEST(a_new_owner_is_told_from_then_on)
{
	struct wire_frame f = confirm_frame(1, 1);

	world_accept_open(w, WIRE_ROLE_CLIENT);
	w->x.s = w->y.s; /* x becomes the owner */
	session_set_owner(w->y.s, &end_events, &w->x);
	w->y.freed = true;
	world_put(w, &f);
	pipe_eof(&w->b);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.n_kept + w->y.downs, 0);
	ck_assert_uint_eq(w->x.n_kept, 1);
	ck_assert_uint_eq(w->x.downs, 1);
}
END_TEST

/* ---------------------------------------------------------- inside call-backs */

/* Make y's call-backs happen, as far as it lives. */
static void
provoke(void)
{
	static uint8_t body[WIRE_CHUNK_MAX];
	struct wire_frame define = { .kind = WIRE_DEFINE, .u.define = { WIRE_DEFINE_ORIGIN, 1, wire_string("origin") } };
	struct wire_frame f = hello_frame(WIRE_ROLE_PEER);
	uint64_t n = 0;

	w->y.filters = true;
	w->b.is_local = true;
	world_accept(w);
	world_put(w, &f);
	world_put(w, &define);
	f = confirm_frame(1, 1);
	world_put(w, &f);
	world_put(w, &f);
	fake_loop_run(w->loop);
	if (!w->y.freed && w->y.downs == 0) {
		ck_assert_int_eq(session_probe(w->y.s, 50, end_probed, &w->y), 0);
		while (session_room(w->y.s) > 0) {
			struct wire_item item = { .body = wire_bytes(body, sizeof(body)) };

			session_send_item(w->y.s, WIRE_DELIVER, 1, ++n, &item, NULL, NULL, NULL);
		}
		fake_loop_run(w->loop);
	}
	fake_loop_advance(w->loop, 100);
	pipe_eof(&w->b);
	fake_loop_advance(w->loop, 5000);
}

START_TEST(an_owner_may_free_inside_any_call)
{
	w->y.free_in = (enum call)_i;
	provoke();
	ck_assert(w->y.freed);
	ck_assert_uint_eq(w->y.downs, _i == CALL_DOWN);
	ck_assert_uint_eq(w->b.closes, 1);
}
END_TEST

START_TEST(an_owner_may_close_inside_any_call)
{
	w->y.close_in = (enum call)_i;
	provoke();
	ck_assert_uint_eq(w->y.downs, 1);
	ck_assert_uint_eq(w->b.closes, 1);
	if (_i != CALL_DOWN) {
		ck_assert_int_eq(w->y.code, WIRE_CLOSE_DENIED);
		ck_assert(!w->y.by_peer);
	}
}
END_TEST

START_TEST(calls_on_what_is_over_do_nothing)
{
	struct wire_frame f = confirm_frame(1, 1);
	struct wire_item item = { .body = wire_string("x") };

	world_connect(w);
	session_close(w->y.s, WIRE_CLOSE_NORMAL, "done");
	for (int i = 0; i < 2; i++) {
		session_send(w->y.s, &f);
		session_send_item(w->y.s, WIRE_DELIVER, 1, 1, &item, NULL, NULL, NULL);
		session_pause(w->y.s, i == 0);
		session_discard_input(w->y.s);
		session_greet(w->y.s);
		session_open(w->y.s);
		ck_assert_uint_eq(session_room(w->y.s), 0);
		fake_loop_run(w->loop);
		ck_assert_int_eq(session_state(w->y.s), SESSION_DEAD);
	}
	ck_assert_uint_eq(w->x.n_kept, 0);
	ck_assert_int_eq(session_probe(w->y.s, 1000, end_probed, &w->y), 0);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.probes, 1);
	ck_assert(!w->y.alive);
	ck_assert_uint_eq(w->y.downs, 1);
	ck_assert_str_eq(session_state_name(SESSION_DEAD), "dead");
}
END_TEST

START_TEST(what_is_left_can_be_cut_at_once)
{
	world_connect(w);
	session_close(w->x.s, WIRE_CLOSE_SHUTDOWN, "stopping");
	session_env_end(&w->env);
	w->x.freed = w->y.freed = true;
	ck_assert_uint_eq(w->a.closes + w->b.closes, 2);
	fake_loop_advance(w->loop, 100000);
	ck_assert_uint_eq(w->x.downs + w->y.downs, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("session");
	TCase *t = tcase_create("session");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, both_ends_greet);
	tcase_add_test(t, a_dialled_session_can_make_its_transport);
	tcase_add_test(t, accepted_before_its_handshake);
	tcase_add_test(t, accepted_and_no_handshake);
	tcase_add_test(t, the_accepting_end_speaks_when_its_owner_says);
	tcase_add_test(t, a_dialler_waits_for_the_greeting);
	tcase_add_test(t, until_open_only_known_and_accept_pass);
	tcase_add_test(t, before_the_answer_to_hello_nothing_passes);
	tcase_add_test(t, arrives_byte_by_byte);
	tcase_add_loop_test(t, the_highest_common_version_rules, 0, 7);
	tcase_add_loop_test(t, strangers_hear_why_and_learn_nothing, 0, 7);
	tcase_add_test(t, a_wrong_magic_is_refused);
	tcase_add_loop_test(t, lengths_are_judged_before_their_bytes_come, 0, 5);
	tcase_add_test(t, greeted_is_not_open_to_large_frames);
	tcase_add_test(t, control_frames_have_a_smaller_bound);
	tcase_add_loop_test(t, frames_out_of_order_or_unknown, 0, 6);
	tcase_add_test(t, nothing_counts_after_a_violation);
	tcase_add_test(t, a_silent_stranger_is_sent_away_in_time);
	tcase_add_test(t, so_is_one_who_is_greeted_and_never_opened);
	tcase_add_test(t, a_dial_that_never_ends_does);
	tcase_add_loop_test(t, every_code_gets_through, 0, WIRE_CLOSE_CODES);
	tcase_add_test(t, a_dialler_refused_before_the_greeting_hears_why);
	tcase_add_test(t, foreign_reasons_are_fit_for_a_log);
	tcase_add_test(t, own_reasons_are_cut);
	tcase_add_loop_test(t, an_end_without_close_is_an_error, 0, 2);
	tcase_add_test(t, last_words_are_heard_before_the_end);
	tcase_add_test(t, close_waits_for_what_was_said_before);
	tcase_add_test(t, close_does_not_wait_for_ever);
	tcase_add_test(t, a_transport_that_breaks_while_closing_changes_no_reason);
	tcase_add_test(t, a_new_owner_is_told_from_then_on);
	tcase_add_loop_test(t, an_owner_may_free_inside_any_call, CALL_GREETING, CALL_DOWN + 1);
	tcase_add_loop_test(t, an_owner_may_close_inside_any_call, CALL_GREETING, CALL_DOWN + 1);
	tcase_add_test(t, calls_on_what_is_over_do_nothing);
	tcase_add_test(t, what_is_left_can_be_cut_at_once);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
