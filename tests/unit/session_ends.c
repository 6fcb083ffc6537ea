#include "session_ends.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"

uint32_t
sum(const uint8_t *data, size_t len)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ data[i]) * 16777619u;
	return h;
}

/* Every call-back comes here last. */
static void
called(struct end *e, enum call call)
{
	if (e->freed)
		e->after_free++;
	if (e->free_in == call) {
		session_free(e->s);
		e->freed = true;
	}
	if (e->close_in == call)
		session_close(e->s, WIRE_CLOSE_DENIED, "closed by the test");
}

static void
on_greeting(void *arg, struct wire_hello *h)
{
	struct end *e = arg;

	e->greetings++;
	h->role = e->role;
	h->name = wire_string("node");
	h->software = wire_string("test 1");
	if (e->dictionary)
		h->limits.dictionary = e->dictionary == UINT32_MAX ? 0 : e->dictionary;
	called(e, CALL_GREETING);
}

static int
filter(void *arg, struct wire_bytes value, struct intern_entry **ret)
{
	struct end *e = arg;
	struct intern_entry *o = NULL;

	if (value.len != 3 || memcmp(value.data, "bad", 3) != 0)
		o = intern_get(&e->w->store.origins, value);
	called(e, CALL_FILTER);
	*ret = o;
	return o ? 0 : -EBADMSG;
}

static void
on_hello(void *arg, const struct wire_hello *h)
{
	struct end *e = arg;

	(void)h;
	e->hellos++;
	called(e, CALL_HELLO);
	if (e->freed)
		return;
	if (e->filters)
		session_set_origin_filter(e->s, filter);
	if (e->greets && !session_dialled(e->s))
		session_greet(e->s);
	if (e->opens)
		session_open(e->s);
}

static struct kept *
keep(struct end *e)
{
	if (e->n_kept >= KEPT_MAX) /* thousands of times: not a check each */
		ck_abort_msg("more than is kept");
	return &e->kept[e->n_kept++];
}

static void
on_frame(void *arg, const struct wire_frame *f)
{
	struct end *e = arg;
	struct kept *k;

	e->frames++;
	if (f->kind == WIRE_TRANSFER || f->kind == WIRE_DELIVER) {
		struct wire_bytes items = f->u.run.items;
		struct wire_item item;
		uint64_t number = f->u.run.first;

		while (wire_item_next(&items, &item)) {
			const struct intern_entry *type = session_type(e->s, item.type), *origin = session_origin(e->s, item.origin);

			k = keep(e);
			*k = (struct kept){ .kind = f->kind, .id = f->u.run.id, .number = number++,
				.body_sum = sum(item.body.data, item.body.len), .body_len = item.body.len,
				.packed_len = item.packed.len, .offset = item.offset, .total = item.total };
			if ((item.type == 0) != !type || (item.origin == 0) != !origin)
				ck_abort_msg("an id without its definition");
			snprintf(k->type, sizeof(k->type), "%s", type ? (const char *)type->data : "");
			snprintf(k->origin, sizeof(k->origin), "%s", origin ? (const char *)origin->data : "");
		}
	} else {
		*keep(e) = (struct kept){ .kind = f->kind };
		if (f->kind == WIRE_CONFIRM) {
			e->kept[e->n_kept - 1].id = f->u.confirm.flow;
			e->kept[e->n_kept - 1].number = f->u.confirm.number;
		}
	}
	if (e->frames == e->charge_at)
		session_charge(e->s, SESSION_PASS_FRAMES);
	if (e->frames == e->pause_at)
		session_pause(e->s, true);
	if (e->frames == e->discard_at)
		session_discard_input(e->s);
	called(e, CALL_FRAME);
}

static void
on_writable(void *arg)
{
	struct end *e = arg;

	e->writables++;
	ck_assert_uint_gt(session_room(e->s), 0);
	called(e, CALL_WRITABLE);
}

static void
on_down(void *arg, enum wire_close_code code, bool by_peer, int error, const char *reason)
{
	struct end *e = arg;

	ck_assert_int_eq(session_state(e->s), SESSION_DEAD);
	e->downs++;
	e->code = code;
	e->by_peer = by_peer;
	e->error = error;
	snprintf(e->reason, sizeof(e->reason), "%s", reason);
	called(e, CALL_DOWN);
}

const struct session_events end_events = { .greeting = on_greeting, .hello = on_hello, .frame = on_frame, .writable = on_writable, .down = on_down };

void
end_probed(void *arg, bool alive)
{
	struct end *e = arg;

	e->probes++;
	e->alive = alive;
	called(e, CALL_PROBE);
}

struct world *
world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));
	struct end *ends[] = { &w->x, &w->y };

	w->loop = loop_new();
	message_store_init(&w->store, 1);
	w->env = (struct session_env){ .loop = w->loop, .messages = &w->store, .read_buffer = malloc(SESSION_READ_BUFFER),
		.handshake_ms = HANDSHAKE_MS, .keepalive_ms = KEEPALIVE_MS };
	for (size_t i = 0; i < 2; i++) {
		ends[i]->w = w;
		ends[i]->role = WIRE_ROLE_PEER;
		ends[i]->greets = ends[i]->opens = true;
	}
	pipe_init(w->loop, &w->a, &w->b, true);
	return w;
}

void
world_free(struct world *w)
{
	struct end *ends[] = { &w->x, &w->y };

	for (size_t i = 0; i < 2; i++) {
		if (!ends[i]->freed)
			session_free(ends[i]->s);
		ck_assert_uint_eq(ends[i]->after_free, 0);
		ck_assert_uint_le(ends[i]->downs, 1);
	}
	fake_loop_run(w->loop);
	ck_assert_uint_le(w->a.closes, 1);
	ck_assert_uint_le(w->b.closes, 1);
	pipe_done(&w->a, &w->b);
	ck_assert_uint_eq(fake_loop_timers(w->loop), 0);
	ck_assert_uint_eq(slab_used(&w->store.slab), 0);
	message_store_done(&w->store);
	loop_free(w->loop);
	free(w->env.read_buffer);
	free(w);
}

void
world_connect(struct world *w)
{
	w->x.s = session_new(&w->env, &w->a.t, true, &end_events, &w->x);
	w->y.s = session_new(&w->env, &w->b.t, false, &end_events, &w->y);
	fake_loop_run(w->loop);
}

void
world_accept(struct world *w)
{
	w->a.up_waits = false;
	w->y.s = session_new(&w->env, &w->b.t, false, &end_events, &w->y);
	fake_loop_run(w->loop);
}

void
world_accept_open(struct world *w, uint32_t role)
{
	struct wire_frame f = hello_frame(role);

	world_accept(w);
	world_put(w, &f);
	fake_loop_run(w->loop);
	ck_assert_int_eq(session_state(w->y.s), SESSION_OPEN);
	ck_assert(world_next(w, &f));
	ck_assert_int_eq(f.kind, WIRE_HELLO);
}

void
world_put(struct world *w, const struct wire_frame *f)
{
	uint8_t *buf = malloc(wire_size(f));

	pipe_feed(&w->b, buf, wire_pack(f, buf));
	free(buf);
}

bool
world_next(struct world *w, struct wire_frame *ret)
{
	static uint8_t buf[WIRE_FRAME_MAX];
	struct frame fr;

	if (frame_decode(w->a.in, w->a.in_len, WIRE_FRAME_MAX, &fr) != 1)
		return false;
	memcpy(buf, fr.data, fr.len);
	ck_assert_int_eq(wire_unpack(buf, fr.len, ret), 0);
	memmove(w->a.in, w->a.in + fr.used, w->a.in_len - fr.used);
	w->a.in_len -= fr.used;
	return true;
}

bool
world_closed(struct world *w, uint32_t *ret_code)
{
	struct wire_frame f;

	while (world_next(w, &f))
		if (f.kind == WIRE_CLOSE) {
			*ret_code = f.u.close.code;
			return true;
		}
	return false;
}

struct wire_frame
hello_frame(uint32_t role)
{
	struct wire_frame f = { .kind = WIRE_HELLO };

	f.u.hello.magic = WIRE_MAGIC;
	f.u.hello.version_min = f.u.hello.version_max = WIRE_VERSION;
	f.u.hello.role = role;
	f.u.hello.name = wire_string("raw");
	f.u.hello.limits.dictionary = WIRE_DICTIONARY;
	return f;
}

struct wire_frame
confirm_frame(uint32_t flow, uint64_t number)
{
	struct wire_frame f = { .kind = WIRE_CONFIRM };

	f.u.confirm = (struct wire_confirm){ flow, number, WIRE_LEVEL_ACCEPTED };
	return f;
}
