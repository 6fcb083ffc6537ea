/* session: frames in and out: runs, bodies, dictionary, pausing, room, life. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session_ends.h"
#include "session_internal.h"

static struct world *w;
static uint8_t bulk[WIRE_CHUNK_MAX];

static void
setup(void)
{
	for (size_t i = 0; i < sizeof(bulk); i++)
		bulk[i] = (uint8_t)(i * 7 + i / 256);
	w = world_new();
}

static void
teardown(void)
{
	world_free(w);
}

static void
send_body(struct session *s, enum wire_kind kind, uint32_t id, uint64_t number, size_t len)
{
	struct wire_item item = { .body = wire_bytes(bulk, len) };

	session_send_item(s, kind, id, number, &item, NULL, NULL, NULL);
}

static struct intern_entry *
type(const char *name)
{
	return intern_get(&w->store.types, wire_string(name));
}

/* -------------------------------------------------------------------- runs */

START_TEST(consecutive_items_are_one_frame_and_one_call)
{
	struct wire_frame f;

	world_accept_open(w, WIRE_ROLE_CLIENT);
	w->b.writes = 0;
	for (uint64_t n = 5; n < 805; n++)
		send_body(w->y.s, WIRE_DELIVER, 9, n, 20);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->b.writes, 1);
	ck_assert(world_next(w, &f));
	ck_assert_int_eq(f.kind, WIRE_DELIVER);
	ck_assert_uint_eq(f.u.run.id, 9);
	ck_assert_uint_eq(f.u.run.first, 5);
	ck_assert_uint_eq(f.u.run.n_items, 800);
	ck_assert_uint_eq(w->a.in_len, 0);
}
END_TEST

struct said {
	char what; /* i: item, c: control frame */
	uint32_t id;
	uint64_t number;
	size_t len;
	enum wire_kind kind;
};

START_TEST(what_ends_a_run)
{
	static const struct { struct said said[4]; unsigned frames; } cases[] = {
		{ { { 'i', 1, 1, 9, WIRE_TRANSFER }, { 'i', 1, 2, 9, WIRE_TRANSFER }, { 'i', 1, 3, 9, WIRE_TRANSFER } }, 1 },
		{ { { 'i', 1, 1, 9, WIRE_TRANSFER }, { 'i', 1, 3, 9, WIRE_TRANSFER }, { 'i', 1, 4, 9, WIRE_TRANSFER } }, 2 },
		{ { { 'i', 1, 1, 9, WIRE_TRANSFER }, { 'i', 2, 2, 9, WIRE_TRANSFER }, { 'i', 2, 3, 9, WIRE_TRANSFER } }, 2 },
		{ { { 'i', 1, 1, 9, WIRE_TRANSFER }, { 'i', 1, 2, 9, WIRE_DELIVER }, { 'i', 1, 3, 9, WIRE_DELIVER } }, 2 },
		{ { { 'i', 1, 1, 9, WIRE_TRANSFER }, { 'c', 1, 1, 0, WIRE_CONFIRM }, { 'i', 1, 2, 9, WIRE_TRANSFER } }, 3 },
		{ { { 'i', 1, 2, 9, WIRE_TRANSFER }, { 'i', 1, 2, 9, WIRE_TRANSFER } }, 2 },
		{ { { 'i', 1, 1, 40000, WIRE_TRANSFER }, { 'i', 1, 2, 40000, WIRE_TRANSFER } }, 2 },
		{ { { 'i', 1, 1, 65536, WIRE_TRANSFER }, { 'i', 1, 2, 1, WIRE_TRANSFER }, { 'i', 1, 3, 1, WIRE_TRANSFER } }, 2 },
		{ { { 'i', 1, 1, 0, WIRE_TRANSFER }, { 'i', 1, 2, 0, WIRE_TRANSFER } }, 1 },
	};
	struct wire_frame f;

	world_connect(w);
	for (size_t i = 0; i < 4 && cases[_i].said[i].what; i++) {
		const struct said *d = &cases[_i].said[i];

		if (d->what == 'i') {
			send_body(w->y.s, d->kind, d->id, d->number, d->len);
			continue;
		}
		f = confirm_frame(d->id, d->number);
		session_send(w->y.s, &f);
	}
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->x.frames, cases[_i].frames);
	for (size_t i = 0; i < w->x.n_kept; i++) {
		ck_assert_uint_eq(w->x.kept[i].id, cases[_i].said[i].id);
		ck_assert_uint_eq(w->x.kept[i].number, cases[_i].said[i].number);
		ck_assert_uint_eq(w->x.kept[i].body_len, cases[_i].said[i].len);
	}
}
END_TEST

START_TEST(a_run_has_at_most_1024_items)
{
	struct session_stats st;

	world_connect(w);
	for (uint64_t n = 1; n <= 2500; n++)
		send_body(w->y.s, WIRE_TRANSFER, 1, n, 0);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->x.frames, 3);
	ck_assert_uint_eq(w->x.n_kept, 2500);
	session_stats(w->y.s, &st);
	ck_assert_uint_eq(st.items_out, 2500);
	ck_assert_uint_eq(st.frames_out, 4); /* with Hello */
	session_stats(w->x.s, &st);
	ck_assert_uint_eq(st.items_in, 2500);
	ck_assert_uint_eq(st.frames_in, 4);
}
END_TEST

START_TEST(chunks_stand_alone)
{
	world_connect(w);
	send_body(w->y.s, WIRE_TRANSFER, 1, 1, 10);
	for (uint64_t offset = 0; offset < 3000; offset += 1000) {
		struct wire_item item = { .offset = offset, .total = 3000, .body = wire_bytes(bulk, 1000) };

		session_send_item(w->y.s, WIRE_TRANSFER, 1, 2, &item, NULL, NULL, NULL);
	}
	send_body(w->y.s, WIRE_TRANSFER, 1, 3, 10);
	send_body(w->y.s, WIRE_TRANSFER, 1, 4, 10);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->x.frames, 5);
	ck_assert_uint_eq(w->x.kept[2].offset, 1000);
	ck_assert_uint_eq(w->x.kept[2].total, 3000);
	ck_assert_uint_eq(w->x.kept[4].number, 3);
}
END_TEST

START_TEST(large_bodies_go_from_where_they_lie)
{
	struct wire_item item = { .body = wire_bytes(bulk, 50000) };
	struct message *m = message_new(&w->store, &item, 50000, WIRE_PRIORITY_NORMAL, NULL, NULL, 0);

	world_connect(w);
	w->b.watch = m->body;
	w->b.watch_len = m->body_len;
	pipe_take(&w->b, 1000);
	message_item(m, 0, 0, 60000, &item);
	session_send_item(w->y.s, WIRE_TRANSFER, 1, 1, &item, NULL, NULL, m);
	send_body(w->y.s, WIRE_TRANSFER, 1, 2, 33);
	message_item(m, 0, 100, SESSION_COPY_MAX - 1, &item);
	session_send_item(w->y.s, WIRE_TRANSFER, 1, 3, &item, NULL, NULL, m);
	ck_assert_uint_eq(m->refs, 2); /* the small part was copied */
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->b.direct, 1);
	/* Half of it is on its way when its queue lets go of it. */
	message_unref(m);
	ck_assert_uint_eq(m->refs, 1);
	pipe_take(&w->b, SIZE_MAX);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->x.n_kept, 3);
	ck_assert_uint_eq(w->x.kept[0].body_sum, sum(bulk, 50000));
	ck_assert_uint_eq(w->x.kept[1].body_len, 33);
	ck_assert_uint_eq(w->x.kept[2].body_sum, sum(bulk + 100, SESSION_COPY_MAX - 1));
	ck_assert_uint_eq(slab_used(&w->store.slab), 0);
}
END_TEST

/* Everything at once, written in pieces of any size. */
START_TEST(what_goes_in_comes_out)
{
	enum { N = 3000 };
	static struct kept sent[N];
	struct intern_entry *types[5] = { NULL }, *origins[3] = { NULL };
	uint64_t number = 0;
	char name[32];

	srand((unsigned)_i + 1);
	w->x.dictionary = 3; /* fewer than there are types */
	w->x.filters = true;
	world_connect(w);
	for (int i = 1; i < 5; i++) {
		snprintf(name, sizeof(name), "x/T%d", i);
		types[i] = type(name);
	}
	for (int i = 1; i < 3; i++) {
		snprintf(name, sizeof(name), "origin-%d", i);
		origins[i] = intern_get(&w->store.origins, wire_string(name));
	}
	for (size_t i = 0; i < N; i++) {
		struct intern_entry *t = types[rand() % 20 ? 1 : rand() % 5], *o = origins[rand() % 50 ? 1 : rand() % 3];
		size_t len = (size_t)(rand() % 30 ? rand() % 60 : rand() % 20000);
		struct wire_item item = { .packed = wire_bytes(bulk, (size_t)(rand() % 10 ? 0 : rand() % 4000)) };
		struct message *m = NULL;

		number += rand() % 10 ? 1 : 2;
		sent[i] = (struct kept){ WIRE_TRANSFER, 1 + (uint32_t)(i / 500), number, sum(bulk + i, len), len,
			item.packed.len, 0, 0, "", "" };
		snprintf(sent[i].type, sizeof(sent[i].type), "%s", t ? (char *)t->data : "");
		snprintf(sent[i].origin, sizeof(sent[i].origin), "%s", o ? (char *)o->data : "");
		item.body = wire_bytes(bulk + i, len);
		if (rand() % 2) {
			m = message_new(&w->store, &item, len, WIRE_PRIORITY_NORMAL, t, o, 0);
			message_item(m, 0, 0, WIRE_CHUNK_MAX, &item);
		}
		session_send_item(w->y.s, WIRE_TRANSFER, sent[i].id, number, &item, t, o, m);
		message_unref(m);
		if (rand() % 100 == 0) {
			pipe_take(&w->b, (size_t)(rand() % 50000));
			fake_loop_run(w->loop);
		}
	}
	pipe_take(&w->b, SIZE_MAX);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->x.downs + w->y.downs, 0);
	ck_assert_uint_eq(w->x.n_kept, N);
	for (size_t i = 0; i < N; i++) {
		const struct kept *k = &w->x.kept[i];

		if (k->id != sent[i].id || k->number != sent[i].number || k->body_len != sent[i].body_len || k->body_sum != sent[i].body_sum ||
		    k->packed_len != sent[i].packed_len || strcmp(k->type, sent[i].type) != 0 || strcmp(k->origin, sent[i].origin) != 0)
			ck_abort_msg("item %zu came as another", i);
	}
	ck_assert_uint_lt(w->x.frames, N);
	for (int i = 0; i < 5; i++)
		intern_unref(&w->store.types, types[i]);
	for (int i = 0; i < 3; i++)
		intern_unref(&w->store.origins, origins[i]);
}
END_TEST

START_TEST(an_idle_session_holds_no_buffers)
{
	world_connect(w);
	for (uint64_t n = 1; n <= 50; n++)
		send_body(w->x.s, WIRE_TRANSFER, 1, n, 5000);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.n_kept, 50);
	ck_assert_uint_eq(slab_used(&w->store.slab), 0);
	ck_assert_ptr_null(w->x.s->out.segments);
	ck_assert_ptr_null(w->y.s->in.held);
	ck_assert_ptr_null(w->y.s->types_in.pages);
}
END_TEST

/* -------------------------------------------------------------- dictionary */

START_TEST(a_type_is_defined_once_and_again_when_its_place_was_taken)
{
	struct intern_entry *a = type("x/A"), *b = type("x/B"), *c = type("x/C");
	struct intern_entry *order[] = { a, a, b, b, a, c, a, b }; /* with two places, a and c share one */
	struct wire_frame f;
	unsigned defines = 0, runs = 0;

	world_accept(w);
	f = hello_frame(WIRE_ROLE_CLIENT);
	f.u.hello.limits.dictionary = 2;
	world_put(w, &f);
	fake_loop_run(w->loop);
	for (size_t i = 0; i < 8; i++) {
		struct wire_item item = { .body = wire_string("x") };

		session_send_item(w->y.s, WIRE_DELIVER, 1, i + 1, &item, order[i], NULL, NULL);
		ck_assert_uint_eq(item.type, order[i]->index % 2 + 1);
	}
	intern_unref(&w->store.types, c);
	ck_assert_str_eq((const char *)a->data, "x/A");
	fake_loop_run(w->loop);
	while (world_next(w, &f)) {
		if (f.kind == WIRE_DEFINE) {
			ck_assert_uint_le(f.u.define.id, 2);
			ck_assert_uint_eq(f.u.define.value.len, 3);
			defines++;
		}
		runs += f.kind == WIRE_DELIVER;
	}
	ck_assert_uint_eq(defines, 4); /* a, b, c, a */
	ck_assert_uint_eq(runs, 4);
	intern_unref(&w->store.types, a);
	intern_unref(&w->store.types, b);
}
END_TEST

START_TEST(without_a_dictionary_typed_messages_cannot_go)
{
	struct intern_entry *a = type("x/A");
	struct wire_item item = { .body = wire_string("x") };

	w->x.dictionary = UINT32_MAX;
	world_connect(w);
	session_send_item(w->y.s, WIRE_DELIVER, 1, 1, &item, NULL, NULL, NULL);
	session_send_item(w->y.s, WIRE_DELIVER, 1, 2, &item, a, NULL, NULL);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->x.n_kept, 1);
	ck_assert_int_eq(w->x.code, WIRE_CLOSE_UNSUPPORTED);
	intern_unref(&w->store.types, a);
}
END_TEST

START_TEST(definitions_have_bounds)
{
	static const struct { uint32_t kind, id; size_t len; bool filters, good; } cases[] = {
		{ WIRE_DEFINE_TYPE, 1, 1, false, true },
		{ WIRE_DEFINE_TYPE, WIRE_DICTIONARY, WIRE_TYPE_MAX, false, true },
		{ WIRE_DEFINE_TYPE, 0, 1, false, false },
		{ WIRE_DEFINE_TYPE, WIRE_DICTIONARY + 1, 1, false, false },
		{ WIRE_DEFINE_TYPE, UINT32_MAX, 1, false, false },
		{ WIRE_DEFINE_TYPE, 1, WIRE_TYPE_MAX + 1, false, false },
		{ WIRE_DEFINE_ORIGIN, 1, 5, false, false }, /* not from a client */
		{ WIRE_DEFINE_ORIGIN, 1, 5, true, true },
		{ WIRE_DEFINE_ORIGIN, 1, 3, true, false },  /* the filter says no */
		{ WIRE_DEFINE_UNKNOWN, 1, 1, true, false },
		{ 3, 1, 1, true, false },
	};
	struct wire_frame f = { .kind = WIRE_DEFINE };
	uint32_t code, id = cases[_i].id;
	struct intern_entry *e;

	memcpy(bulk, "bad", 3);
	w->y.filters = cases[_i].filters;
	world_accept_open(w, WIRE_ROLE_CLIENT);
	f.u.define = (struct wire_define){ cases[_i].kind, id, wire_bytes(bulk, cases[_i].len) };
	world_put(w, &f);
	fake_loop_run(w->loop);
	if (!cases[_i].good) {
		ck_assert_uint_eq(w->y.downs, 1);
		ck_assert(world_closed(w, &code));
		ck_assert_uint_eq(code, WIRE_CLOSE_PROTOCOL);
		return;
	}
	ck_assert_uint_eq(w->y.downs, 0);
	e = cases[_i].kind == WIRE_DEFINE_TYPE ? session_type(w->y.s, id) : session_origin(w->y.s, id);
	ck_assert_ptr_nonnull(e);
	ck_assert_uint_eq(e->len, cases[_i].len);
	ck_assert_ptr_null(session_type(w->y.s, 0));
	ck_assert_ptr_null(session_type(w->y.s, 77));
	ck_assert_ptr_null(session_origin(w->y.s, UINT32_MAX));
}
END_TEST

START_TEST(a_definition_replaces_the_one_before)
{
	struct wire_frame f = { .kind = WIRE_DEFINE, .u.define = { WIRE_DEFINE_TYPE, 5, wire_string("x/Old") } };

	world_accept_open(w, WIRE_ROLE_CLIENT);
	world_put(w, &f);
	f.u.define.value = wire_string("x/New");
	world_put(w, &f);
	fake_loop_run(w->loop);
	ck_assert_str_eq((const char *)session_type(w->y.s, 5)->data, "x/New");
	ck_assert_uint_eq(w->store.types.map.n, 1);
}
END_TEST

/* ---------------------------------------------------------- pausing, turns */

START_TEST(a_paused_session_keeps_only_what_was_read)
{
	struct wire_frame f;

	w->y.pause_at = 3;
	world_accept_open(w, WIRE_ROLE_CLIENT);
	for (uint64_t n = 1; n <= 3000; n++) {
		f = confirm_frame(1, n);
		world_put(w, &f);
	}
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.n_kept, 3);
	for (uint64_t n = 3001; n <= 6000; n++) {
		f = confirm_frame(1, n);
		world_put(w, &f);
	}
	fake_loop_advance(w->loop, 60000);
	ck_assert_uint_eq(w->y.n_kept, 3);
	ck_assert_uint_gt(w->b.in_len, 0);
	ck_assert_uint_le(w->y.s->in.held_cap, SESSION_READ_BUFFER);
	session_pause(w->y.s, false);
	ck_assert_uint_eq(w->y.n_kept, 3); /* not from inside the call */
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.n_kept, 6000);
	for (size_t i = 0; i < 6000; i++)
		if (w->y.kept[i].number != i + 1)
			ck_abort_msg("number %lu is in the place of %zu", w->y.kept[i].number, i + 1);
}
END_TEST

START_TEST(discarded_input_is_never_handled)
{
	struct wire_frame f;

	w->y.discard_at = _i ? 2 : 0;
	w->y.pause_at = _i ? 0 : 2;
	world_accept_open(w, WIRE_ROLE_CLIENT);
	for (uint64_t n = 1; n <= 100; n++) {
		f = confirm_frame(1, n);
		world_put(w, &f);
	}
	fake_loop_run(w->loop);
	session_discard_input(w->y.s);
	session_pause(w->y.s, false);
	fake_loop_run(w->loop);
	world_put(w, &f);
	fake_loop_advance(w->loop, 100000);
	ck_assert_uint_eq(w->y.n_kept, 2);
	/* It can still say why it ends. */
	session_close(w->y.s, WIRE_CLOSE_DUPLICATE, "replaced");
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.downs, 1);
	ck_assert_int_eq(w->y.code, WIRE_CLOSE_DUPLICATE);
}
END_TEST

START_TEST(a_busy_session_gives_way)
{
	enum { N = SESSION_PASS_FRAMES + 2000 };
	uint64_t before;

	world_accept_open(w, WIRE_ROLE_CLIENT);
	/* Each pass has its own time. */
	fake_loop_advance(w->loop, 1);
	for (uint64_t n = 1; n <= N; n++) {
		struct wire_frame f = confirm_frame(1, n);

		world_put(w, &f);
	}
	before = fake_loop_passes(w->loop);
	while (w->y.n_kept == 0)
		fake_loop_pass(w->loop);
	ck_assert_uint_eq(w->y.n_kept, SESSION_PASS_FRAMES);
	/* What others did in the pass counts. */
	fake_loop_pass(w->loop);
	ck_assert_uint_eq(w->y.n_kept, SESSION_PASS_FRAMES + SESSION_LEAST_FRAMES);
	fake_loop_set_now(w->loop, loop_now_ms(w->loop) + 1);
	fake_loop_pass(w->loop);
	ck_assert_uint_eq(w->y.n_kept, N);
	ck_assert_uint_le(fake_loop_passes(w->loop) - before, 4);
}
END_TEST

/* A program that does not read what it asked for is not heard until it does. */
START_TEST(who_does_not_read_is_not_heard)
{
	char reason[200];
	struct wire_frame f = { .kind = WIRE_UNSUBSCRIBE };

	world_accept_open(w, WIRE_ROLE_CLIENT);
	memset(reason, 'x', sizeof(reason));
	f.u.unsubscribe.subscription = 1;
	f.u.unsubscribe.reason = wire_bytes(reason, sizeof(reason));
	pipe_take(&w->b, 100);
	while (session_queued(w->y.s) < SESSION_CHOKE) {
		session_send(w->y.s, &f);
		ck_assert_int_eq(session_state(w->y.s), SESSION_OPEN);
	}
	for (uint64_t n = 1; n <= 10; n++) {
		struct wire_frame c = confirm_frame(1, n);

		world_put(w, &c);
	}
	fake_loop_advance(w->loop, 100);
	ck_assert_uint_eq(w->y.n_kept, 0);
	pipe_take(&w->b, SIZE_MAX);
	fake_loop_advance(w->loop, 100);
	ck_assert_uint_eq(session_queued(w->y.s), 0);
	ck_assert_uint_eq(w->y.n_kept, 10);
}
END_TEST

/* One frame may be as much work as a whole pass. */
START_TEST(what_is_charged_counts_as_work)
{
	w->y.charge_at = 3;
	world_accept_open(w, WIRE_ROLE_CLIENT);
	for (uint64_t n = 1; n <= 10; n++) {
		struct wire_frame f = confirm_frame(1, n);

		world_put(w, &f);
	}
	while (w->y.n_kept == 0)
		fake_loop_pass(w->loop);
	ck_assert_uint_eq(w->y.n_kept, 3);
	fake_loop_pass(w->loop);
	ck_assert_uint_eq(w->y.n_kept, 10);
}
END_TEST

START_TEST(items_count_as_work)
{
	world_connect(w);
	for (uint64_t n = 1; n <= 8000; n++)
		send_body(w->x.s, WIRE_TRANSFER, 1, n, 0);
	while (w->y.n_kept == 0)
		fake_loop_pass(w->loop);
	ck_assert_uint_lt(w->y.n_kept, SESSION_PASS_FRAMES + WIRE_ITEMS_MAX);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.n_kept, 8000);
}
END_TEST

START_TEST(a_stranger_can_make_us_hold_little)
{
	static const uint8_t ping[] = { 2, 0x22, 0 };
	struct wire_frame f = hello_frame(WIRE_ROLE_PEER);

	w->y.opens = false;
	world_accept(w);
	world_put(w, &f);
	for (int i = 0; i < 100000; i++)
		pipe_feed(&w->b, ping, sizeof(ping));
	pipe_take(&w->b, 100); /* and does not read the answers */
	for (int i = 0; i < 1000; i++) {
		fake_loop_advance(w->loop, 1);
		ck_assert_uint_le(w->y.s->in.held_cap, 2 * WIRE_GREETING_MAX);
		ck_assert_uint_le(session_queued(w->y.s), SESSION_PACE_START + 100);
	}
	ck_assert_uint_eq(w->y.downs, 0);
	ck_assert_uint_eq(w->b.in_len, 0);
	/* One answer for all that was asked meanwhile. */
	pipe_take(&w->b, SIZE_MAX);
	fake_loop_run(w->loop);
	ck_assert(!w->y.s->out.pong_waits);
	ck_assert_uint_eq(session_queued(w->y.s), 0);
}
END_TEST

START_TEST(a_started_frame_costs_its_own_size)
{
	uint8_t head[] = { 0x80, 0x80, 0x08 }; /* 128 KiB */

	world_accept_open(w, WIRE_ROLE_CLIENT);
	pipe_feed(&w->b, head, sizeof(head));
	for (int i = 0; i < 300; i++) {
		pipe_feed(&w->b, bulk, 400);
		fake_loop_run(w->loop);
		ck_assert_uint_le(w->y.s->in.held_cap, WIRE_FRAME_MAX + 5);
	}
	ck_assert_uint_eq(w->y.downs, 0);
}
END_TEST

START_TEST(the_end_of_a_full_buffer_does_not_stay_in_it)
{
	struct wire_frame f;

	w->y.pause_at = 1;
	world_accept_open(w, WIRE_ROLE_CLIENT);
	for (uint64_t n = 1; n <= 3000; n++) {
		f = confirm_frame(1, n);
		world_put(w, &f);
	}
	pipe_feed(&w->b, "\x05\x72", 2); /* the start of one */
	fake_loop_run(w->loop);
	ck_assert_uint_gt(w->y.s->in.held_cap, 10000);
	session_pause(w->y.s, false);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.n_kept, 3000);
	ck_assert_uint_le(w->y.s->in.held_cap, 100);
}
END_TEST

START_TEST(who_asks_without_reading_is_cut)
{
	struct wire_frame f = { .kind = WIRE_ADMIN_RESPONSE };

	world_accept_open(w, WIRE_ROLE_CLIENT);
	pipe_take(&w->b, 0);
	f.u.admin_response.records = wire_bytes(bulk, 60000);
	for (size_t sent = 0; sent < SESSION_QUEUE_MAX + 200000; sent += 60000)
		session_send(w->y.s, &f);
	ck_assert_uint_eq(w->y.downs, 0);
	ck_assert_uint_le(session_queued(w->y.s), SESSION_QUEUE_MAX + 70000);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.downs, 1);
	ck_assert_int_eq(w->y.code, WIRE_CLOSE_LIMIT);
}
END_TEST

/* ----------------------------------------------------------- room and rate */

START_TEST(room_ends_and_comes_back)
{
	uint64_t n = 0;

	w->b.is_local = true;
	world_connect(w);
	ck_assert_uint_eq(session_room(w->y.s), SESSION_MARK_MAX);
	ck_assert_uint_eq(session_chunk(w->y.s), WIRE_CHUNK_MAX);
	pipe_take(&w->b, 0);
	while (session_room(w->y.s) > 0)
		send_body(w->y.s, WIRE_TRANSFER, 1, ++n, 10000);
	ck_assert_uint_eq(n, 27);
	fake_loop_run(w->loop);
	pipe_take(&w->b, SESSION_MARK_MAX / 2 - 20000);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.writables, 0);
	ck_assert_uint_eq(session_room(w->y.s), 0);
	pipe_take(&w->b, 50000);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.writables, 1);
	ck_assert_uint_gt(session_room(w->y.s), 0);
	pipe_take(&w->b, SIZE_MAX);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.writables, 1);
	ck_assert_uint_eq(w->x.n_kept, n);
}
END_TEST

START_TEST(an_owner_that_fills_a_fast_link_gives_way)
{
	uint64_t n = 0, pass;

	w->b.is_local = true;
	world_connect(w);
	for (int round = 1; round <= 3; round++) {
		while (session_room(w->y.s) > 0)
			send_body(w->y.s, WIRE_TRANSFER, 1, ++n, 60000);
		pass = fake_loop_passes(w->loop);
		while (w->y.writables < (unsigned)round)
			fake_loop_pass(w->loop);
		ck_assert_uint_gt(fake_loop_passes(w->loop), pass + 1);
	}
}
END_TEST

START_TEST(what_waits_shrinks_with_the_link)
{
	struct session_stats st;
	uint64_t n = 0;

	world_connect(w);
	ck_assert_uint_eq(session_chunk(w->y.s), SESSION_PACE_START);
	pipe_take(&w->b, 0);
	/* 50 kbit/s: 625 bytes in 100 ms. */
	for (int i = 0; i < 600; i++) {
		while (session_room(w->y.s) > 0)
			send_body(w->y.s, WIRE_TRANSFER, 1, ++n, session_chunk(w->y.s));
		fake_loop_advance(w->loop, 100);
		pipe_take(&w->b, 625);
	}
	session_stats(w->y.s, &st);
	ck_assert_uint_ge(st.rate, 5800);
	ck_assert_uint_le(st.rate, 6700);
	ck_assert_uint_ge(session_chunk(w->y.s), 1400);
	ck_assert_uint_le(session_chunk(w->y.s), 1700);
	ck_assert_uint_le(session_queued(w->y.s), SESSION_MARK_MIN + 1700 + 64);
	ck_assert_uint_eq(w->x.downs + w->y.downs, 0);
	/* A link that recovers is believed, too. */
	pipe_take(&w->b, SIZE_MAX);
	for (int i = 0; i < 30; i++) {
		while (session_room(w->y.s) > 0)
			send_body(w->y.s, WIRE_TRANSFER, 1, ++n, session_chunk(w->y.s));
		fake_loop_advance(w->loop, 1);
	}
	ck_assert_uint_eq(session_chunk(w->y.s), WIRE_CHUNK_MAX);
	ck_assert_uint_eq(session_room(w->y.s), SESSION_MARK_MAX);
}
END_TEST

/* -------------------------------------------------------------------- life */

START_TEST(clients_are_never_asked_and_never_wake_us)
{
	world_accept_open(w, WIRE_ROLE_CLIENT);
	ck_assert_uint_eq(fake_loop_timers(w->loop), 0);
	fake_loop_advance(w->loop, 100 * KEEPALIVE_MS);
	ck_assert_uint_eq(w->y.downs, 0);
	ck_assert_uint_eq(w->a.in_len, 0);
}
END_TEST

START_TEST(peers_are_asked_after_silence)
{
	struct wire_frame f;

	world_accept_open(w, WIRE_ROLE_PEER);
	fake_loop_advance(w->loop, KEEPALIVE_MS - 1);
	ck_assert(!world_next(w, &f));
	fake_loop_advance(w->loop, 1);
	ck_assert(world_next(w, &f));
	ck_assert_int_eq(f.kind, WIRE_PING);
	f.kind = WIRE_PONG;
	world_put(w, &f);
	fake_loop_advance(w->loop, KEEPALIVE_MS - 1);
	ck_assert(!world_next(w, &f));
	fake_loop_advance(w->loop, 1);
	ck_assert(world_next(w, &f));
	ck_assert_int_eq(f.kind, WIRE_PING);
	/* This time nothing comes. */
	fake_loop_advance(w->loop, 2 * KEEPALIVE_MS - 1);
	ck_assert_uint_eq(w->y.downs, 0);
	fake_loop_advance(w->loop, 1);
	ck_assert_uint_eq(w->y.downs, 1);
	ck_assert_int_eq(w->y.code, WIRE_CLOSE_TIMEOUT);
	ck_assert(!w->y.by_peer);
}
END_TEST

START_TEST(two_idle_peers_live_for_ever)
{
	world_connect(w);
	fake_loop_advance(w->loop, 1000 * KEEPALIVE_MS);
	ck_assert_uint_eq(w->x.downs + w->y.downs, 0);
	ck_assert_uint_le(w->a.writes, 2002);
}
END_TEST

START_TEST(a_byte_is_life)
{
	struct wire_frame f;
	uint8_t head[] = { 0x80, 0x80, 0x08 };

	world_accept_open(w, WIRE_ROLE_PEER);
	pipe_feed(&w->b, head, sizeof(head));
	for (int i = 0; i < 100; i++) {
		fake_loop_advance(w->loop, KEEPALIVE_MS - 10);
		pipe_feed(&w->b, bulk, 1);
		fake_loop_run(w->loop);
	}
	ck_assert(!world_next(w, &f));
	ck_assert_uint_eq(w->y.downs, 0);
}
END_TEST

START_TEST(the_clock_stands_still_while_we_do_not_read)
{
	struct wire_frame f;

	world_accept_open(w, WIRE_ROLE_PEER);
	fake_loop_advance(w->loop, KEEPALIVE_MS / 2);
	session_pause(w->y.s, true);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(fake_loop_timers(w->loop), 0);
	fake_loop_advance(w->loop, 50 * KEEPALIVE_MS);
	session_pause(w->y.s, false);
	fake_loop_advance(w->loop, KEEPALIVE_MS / 2 - 1);
	ck_assert(!world_next(w, &f));
	fake_loop_advance(w->loop, 1);
	ck_assert(world_next(w, &f));
	ck_assert_int_eq(f.kind, WIRE_PING);
}
END_TEST

START_TEST(an_answer_that_lies_unread_counts)
{
	struct wire_frame f = { .kind = WIRE_PONG };

	world_accept_open(w, WIRE_ROLE_PEER);
	fake_loop_advance(w->loop, KEEPALIVE_MS);
	/* The process is stopped; the answer comes; it goes on, and looks at its timers first. */
	fake_loop_jump(w->loop, 100 * KEEPALIVE_MS);
	world_put(w, &f);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.downs, 0);
}
END_TEST

/* Many are busy, and the process gets on slowly: what was read and waits for its turn is no silence. */
START_TEST(what_waits_for_its_turn_counts)
{
	const struct wire_frame confirm = { .kind = WIRE_CONFIRM, .u.confirm = { .flow = 1, .number = 1 } };

	world_accept_open(w, WIRE_ROLE_PEER);
	w->env.n_busy += 10000;
	for (int i = 0; i < 20 * SESSION_LEAST_FRAMES; i++)
		world_put(w, &confirm);
	fake_loop_pass(w->loop);
	for (int i = 0; i < 4; i++) {
		fake_loop_jump(w->loop, 2 * KEEPALIVE_MS);
		fake_loop_pass(w->loop);
	}
	ck_assert_uint_lt(w->y.frames, 20 * SESSION_LEAST_FRAMES);
	ck_assert_uint_eq(w->y.downs, 0);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.frames, 20 * SESSION_LEAST_FRAMES);
	ck_assert_uint_eq(w->y.downs, 0);
	/* Nothing comes any more. */
	fake_loop_advance(w->loop, 3 * KEEPALIVE_MS + 1000);
	ck_assert_uint_eq(w->y.downs, 1);
	ck_assert_int_eq(w->y.code, WIRE_CLOSE_TIMEOUT);
	w->env.n_busy -= 10000;
}
END_TEST

START_TEST(being_blocked_is_no_life_and_getting_on_is)
{
	world_accept_open(w, WIRE_ROLE_PEER);
	pipe_take(&w->b, 0);
	for (uint64_t n = 1; session_room(w->y.s) > 0; n++)
		send_body(w->y.s, WIRE_TRANSFER, 1, n, 4000);
	for (int i = 0; i < 20; i++) {
		fake_loop_advance(w->loop, KEEPALIVE_MS / 2);
		pipe_take(&w->b, 10);
	}
	ck_assert_uint_eq(w->y.downs, 0);
	fake_loop_advance(w->loop, 3 * KEEPALIVE_MS + 1000);
	ck_assert_uint_eq(w->y.downs, 1);
	ck_assert_int_eq(w->y.code, WIRE_CLOSE_TIMEOUT);
}
END_TEST

START_TEST(a_probe_ends_at_the_first_byte)
{
	struct wire_frame f;

	world_accept_open(w, WIRE_ROLE_CLIENT);
	ck_assert_int_eq(session_probe(w->y.s, 5000, end_probed, &w->y), 0);
	ck_assert_int_eq(session_probe(w->y.s, 5000, end_probed, &w->x), -EBUSY);
	fake_loop_advance(w->loop, 4999);
	ck_assert_uint_eq(w->y.probes, 0);
	ck_assert(world_next(w, &f));
	ck_assert_int_eq(f.kind, WIRE_PING);
	pipe_feed(&w->b, "\x05", 1);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.probes, 1);
	ck_assert(w->y.alive);
	fake_loop_advance(w->loop, 10000);
	ck_assert_uint_eq(w->y.probes, 1);
}
END_TEST

START_TEST(a_probe_that_nothing_answers)
{
	world_accept_open(w, WIRE_ROLE_CLIENT);
	w->y.alive = true;
	session_probe(w->y.s, 5000, end_probed, &w->y);
	if (_i == 0)
		fake_loop_advance(w->loop, 5000);
	else
		pipe_eof(&w->b);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.probes, 1);
	ck_assert(!w->y.alive);
	ck_assert_uint_eq(w->y.downs, _i != 0);
}
END_TEST

/* As for silence: the answer may be behind what was read and not handled. */
START_TEST(a_probe_of_one_that_waits_for_its_turn)
{
	const struct wire_frame confirm = { .kind = WIRE_CONFIRM, .u.confirm = { .flow = 1, .number = 1 } };

	world_accept_open(w, WIRE_ROLE_PEER);
	w->env.n_busy += 10000;
	for (int i = 0; i < 20 * SESSION_LEAST_FRAMES; i++)
		world_put(w, &confirm);
	fake_loop_pass(w->loop);
	session_probe(w->y.s, 50, end_probed, &w->y);
	fake_loop_jump(w->loop, 50);
	fake_loop_pass(w->loop);
	ck_assert_uint_lt(w->y.frames, 20 * SESSION_LEAST_FRAMES);
	ck_assert_uint_eq(w->y.probes, 1);
	ck_assert(w->y.alive);
	w->env.n_busy -= 10000;
}
END_TEST

START_TEST(a_probe_can_be_forgotten)
{
	world_accept_open(w, WIRE_ROLE_CLIENT);
	session_probe(w->y.s, 5000, end_probed, &w->y);
	session_probe_cancel(w->y.s, &w->x); /* not its */
	ck_assert_int_eq(session_probe(w->y.s, 5000, end_probed, &w->x), -EBUSY);
	session_probe_cancel(w->y.s, &w->y);
	ck_assert_int_eq(session_probe(w->y.s, 7000, end_probed, &w->x), 0);
	fake_loop_advance(w->loop, 6000);
	pipe_feed(&w->b, "\x05", 1);
	fake_loop_run(w->loop);
	ck_assert_uint_eq(w->y.probes, 0);
	ck_assert_uint_eq(w->x.probes, 1);
}
END_TEST

START_TEST(pings_are_answered)
{
	struct wire_frame f = { .kind = WIRE_PING, .u.ping.token = 4711 };

	world_accept_open(w, WIRE_ROLE_CLIENT);
	world_put(w, &f);
	fake_loop_run(w->loop);
	ck_assert(world_next(w, &f));
	ck_assert_int_eq(f.kind, WIRE_PONG);
	ck_assert_uint_eq(f.u.ping.token, 4711);
	ck_assert_uint_eq(w->y.frames, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("session_io");
	TCase *t = tcase_create("session_io");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, consecutive_items_are_one_frame_and_one_call);
	tcase_add_loop_test(t, what_ends_a_run, 0, 9);
	tcase_add_test(t, a_run_has_at_most_1024_items);
	tcase_add_test(t, chunks_stand_alone);
	tcase_add_test(t, large_bodies_go_from_where_they_lie);
	tcase_add_loop_test(t, what_goes_in_comes_out, 0, 10);
	tcase_add_test(t, an_idle_session_holds_no_buffers);
	tcase_add_test(t, a_type_is_defined_once_and_again_when_its_place_was_taken);
	tcase_add_test(t, without_a_dictionary_typed_messages_cannot_go);
	tcase_add_loop_test(t, definitions_have_bounds, 0, 11);
	tcase_add_test(t, a_definition_replaces_the_one_before);
	tcase_add_test(t, a_paused_session_keeps_only_what_was_read);
	tcase_add_loop_test(t, discarded_input_is_never_handled, 0, 2);
	tcase_add_test(t, a_busy_session_gives_way);
	tcase_add_test(t, who_does_not_read_is_not_heard);
	tcase_add_test(t, what_is_charged_counts_as_work);
	tcase_add_test(t, items_count_as_work);
	tcase_add_test(t, a_stranger_can_make_us_hold_little);
	tcase_add_test(t, a_started_frame_costs_its_own_size);
	tcase_add_test(t, the_end_of_a_full_buffer_does_not_stay_in_it);
	tcase_add_test(t, who_asks_without_reading_is_cut);
	tcase_add_test(t, room_ends_and_comes_back);
	tcase_add_test(t, an_owner_that_fills_a_fast_link_gives_way);
	tcase_add_test(t, what_waits_shrinks_with_the_link);
	tcase_add_test(t, clients_are_never_asked_and_never_wake_us);
	tcase_add_test(t, peers_are_asked_after_silence);
	tcase_add_test(t, two_idle_peers_live_for_ever);
	tcase_add_test(t, a_byte_is_life);
	tcase_add_test(t, the_clock_stands_still_while_we_do_not_read);
	tcase_add_test(t, an_answer_that_lies_unread_counts);
	tcase_add_test(t, what_waits_for_its_turn_counts);
	tcase_add_test(t, being_blocked_is_no_life_and_getting_on_is);
	tcase_add_test(t, a_probe_ends_at_the_first_byte);
	tcase_add_loop_test(t, a_probe_that_nothing_answers, 0, 2);
	tcase_add_test(t, a_probe_of_one_that_waits_for_its_turn);
	tcase_add_test(t, a_probe_can_be_forgotten);
	tcase_add_test(t, pings_are_answered);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
