/* torture_life: what is done with a store: one drawn thing after another. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim_disk.h"
#include "torture_internal.h"
#include "vdisk.h"
#include "world.h"

#define MS 1000000u
#define QUEUES_MAX 5
#define FLOWS_MAX 5
#define GROUP_ACTS 5
#define FILL_TRIES 150

typedef unsigned long long ull;

/* --------------------------------------------------------------- what is done -- */

static bool
in_group(const struct life *l)
{
	return l->group > 0;
}

static void
appended(struct life *l, struct append a)
{
	a.ticket = store_ticket(l->s);
	if (a.ticket <= l->last_ticket)
		world_violation("an append did not raise the ticket (%llu)", (ull)a.ticket);
	l->last_ticket = a.ticket;
	a.joined = l->group > 1;
	l->group += in_group(l);
	life_appended(l, &a);
}

static bool
has_room(struct life *l, uint32_t message)
{
	uint64_t cost = store_cost(l->s, draw_size(message));

	if (cost < draw_size(message))
		world_violation("a message of %llu bytes is said to cost %llu", (ull)draw_size(message), (ull)cost);
	if (store_room(l->s) >= cost + l->body_bytes)
		return true;
	if (cost + l->body_bytes <= store_capacity(l->s)) {
		l->wants_room = true;
		store_want_room(l->s, cost + l->body_bytes);
	}
	return false;
}

static bool
put(struct life *l, uint32_t message, struct store_body *body)
{
	struct model_message *m = model_message(message);
	uint32_t queue = draw_queue(l), flow = world_chance(60) ? draw_flow(l) : 0;
	struct append a = { .kind = APPEND_PUT, .message = message, .queue = queue, .seq = draw_seq(l, queue),
		.flags = (uint8_t)world_below(256) };
	struct store_message sm = { .queue = queue, .seq = a.seq, .priority = m->priority, .flags = a.flags, .counter = message,
		.body = body };
	const uint8_t *at = m->bytes;
	int r;

	m->flow = flow;
	m->number = flow ? l->state.flows[flow].mark + 1 + world_below(3) : 0;
	sm.flow = flow;
	sm.number = m->number;
	sm.expires_ms = m->expires_ms ? m->expires_ms + LIFE_BOOT_AHEAD_MS : 0;
	sm.not_before_ms = m->not_before_ms ? m->not_before_ms + LIFE_BOOT_AHEAD_MS : 0;
	for (unsigned i = 0; i < STORE_PARTS; i++) {
		sm.parts[i] = (struct store_bytes){ body && i == STORE_PARTS - 1 ? NULL : at, m->lens[i] };
		at += m->lens[i];
	}
	r = store_put(l->s, &sm, life_ref(l, message));
	world_trace("put message %u: queue %u seq %llu flow %u number %llu, %llu bytes%s: %d", message, queue, (ull)a.seq, flow,
	    (ull)m->number, (ull)draw_size(message), body ? " in pieces" : "", r);
	if (r == 0)
		appended(l, a);
	else
		store_body_drop(body);
	if (r != 0 && (r != -EIO || !life_fences(l)))
		world_violation("store_put gives %d, and the store is not fenced", r);
	return r == 0;
}

static bool
act_put(struct life *l)
{
	uint32_t message;
	struct life_body *b;

	if (!draw_queue(l))
		return true;
	message = draw_new_message(l, in_group(l));
	if (!has_room(l, message) && !(l->is_greedy && model_message(message)->lens[STORE_PARTS - 1] <= l->set.segment / INLINE))
		return false;
	/* What fits no batch of small segments goes in pieces, and other things at times. */
	if (model_message(message)->lens[STORE_PARTS - 1] <= l->set.segment / INLINE)
		return put(l, message, NULL);
	if (l->n_bodies == LIFE_BODIES)
		return true;
	b = &l->bodies[l->n_bodies];
	*b = (struct life_body){ .body = store_body_new(l->s), .message = message };
	if (!b->body)
		abort();
	l->n_bodies++;
	l->body_bytes += store_cost(l->s, draw_size(message));
	return true;
}

/* A body goes on, ends, or is given up. */
static void
act_body(struct life *l)
{
	struct life_body *b = &l->bodies[world_below(l->n_bodies)];
	struct model_message *m;
	size_t head = 0, len, left;
	int r;

	if (l->n_bodies == 0 || in_group(l))
		return;
	m = model_message(b->message);
	for (unsigned i = 0; i < STORE_PARTS - 1; i++)
		head += m->lens[i];
	left = m->lens[STORE_PARTS - 1] - b->at;
	len = 1 + (size_t)world_below(60000);
	len = len < left ? len : left;
	r = store_body_append(b->body, m->bytes + head + b->at, len);
	world_trace("message %u: %zu more of its bytes: %d", b->message, len, r);
	if (r != 0 && (r != -EIO || !life_fences(l)))
		world_violation("store_body_append gives %d, and the store is not fenced", r);
	b->at += len;
	if (r == 0 && b->at < m->lens[STORE_PARTS - 1] && world_below(100) > 1)
		return;
	l->body_bytes -= store_cost(l->s, draw_size(b->message));
	if (r == 0 && b->at == m->lens[STORE_PARTS - 1])
		put(l, b->message, b->body);
	else
		store_body_drop(b->body);
	*b = l->bodies[--l->n_bodies];
}

void
life_done(struct life *l, uint32_t message)
{
	const struct place *p = &l->state.places[message];
	struct append a = { .kind = APPEND_DONE, .message = message, .queue = p->queue, .seq = p->seq };

	/* Did it get where it is before this start, or is that synced? */
	for (uint32_t tip = l->tip; tip != l->base && a.ticket == 0; tip = model_get(tip)->before)
		if (model_get(tip)->message == message)
			a.ticket = model_get(tip)->ticket;
	a.written = a.ticket <= store_synced(l->s);
	for (unsigned i = 0; i < LIFE_READS; i++)
		l->reads[i].was_done |= l->reads[i].message == message;
	world_trace("message %u is done: queue %u seq %llu", message, p->queue, (ull)p->seq);
	store_done(l->s, *life_ref(l, message), p->queue, p->seq);
	/* What was never written need not be appended as done; but what is done in a group is done with it, or not at all. */
	if (store_ticket(l->s) == l->last_ticket && !a.written && !in_group(l)) {
		model_cancel(l->tip, l->base, message);
		model_apply(&l->state, &a);
		return;
	}
	l->last_ticket -= store_ticket(l->s) == l->last_ticket && !a.written;
	appended(l, a);
}

static void
act_done(struct life *l)
{
	uint32_t m = draw_message(l, true);

	if (m)
		life_done(l, m);
}

static void
act_move(struct life *l)
{
	uint32_t m = l->is_over ? 0 : draw_message(l, false), to = draw_queue(l);
	struct place p;
	struct append a = { .kind = APPEND_MOVE, .message = m, .queue = to, .flags = (uint8_t)world_below(256) };
	struct store_bytes note = { 0 };
	uint8_t buf[256];
	int r;

	if (!m || !to)
		return;
	p = l->state.places[m];
	a.seq = draw_seq(l, to);
	if (world_chance(50)) {
		a.definition = 1 + (uint32_t)world_below(1000000);
		note = (struct store_bytes){ buf, model_note(a.definition, buf) };
	}
	r = store_move(l->s, *life_ref(l, m), p.queue, p.seq, to, a.seq, a.flags, note);
	world_trace("message %u moves: queue %u seq %llu to queue %u seq %llu, note of %zu bytes: %d", m, p.queue, (ull)p.seq, to,
	    (ull)a.seq, note.len, r);
	if (r == 0)
		appended(l, a);
	else if (r != -EIO || !life_fences(l))
		world_violation("store_move gives %d, and the store is not fenced", r);
}

static void
act_mark(struct life *l)
{
	uint32_t flow = draw_flow(l);
	struct append a = { .kind = APPEND_MARK, .queue = flow };

	if (!flow)
		return;
	a.seq = l->state.flows[flow].mark + 1 + world_below(10);
	world_trace("flow %u: mark %llu", flow, (ull)a.seq);
	store_mark(l->s, flow, a.seq);
	appended(l, a);
}

static void
act_offered(struct life *l)
{
	uint32_t queue = draw_queue(l);
	struct append a = { .kind = APPEND_OFFERED, .queue = queue };

	if (!queue || l->state.queues[queue].high <= l->state.queues[queue].offered)
		return;
	a.seq = l->state.queues[queue].offered + 1 + world_below(l->state.queues[queue].high - l->state.queues[queue].offered);
	world_trace("queue %u: offered %llu", queue, (ull)a.seq);
	store_offered(l->s, queue, a.seq);
	appended(l, a);
}

/* A number that was used before, by anything that may still be on disk, is one too few. */
static void
check_new(struct life *l, bool is_queue, uint32_t number)
{
	uint32_t *known = is_queue ? &l->state.known_queues : &l->state.known_flows;

	if (number == 0 || number >= MODEL_NUMBERS)
		world_violation("the new number of a %s is %u", is_queue ? "queue" : "flow", number);
	else if (number < *known)
		world_violation("the new number %u of a %s was used before", number, is_queue ? "queue" : "flow");
	*known = number + 1;
}

static void
act_define(struct life *l, bool is_queue)
{
	uint32_t number = is_queue ? draw_queue(l) : draw_flow(l), n = 0;
	struct append a = { .kind = is_queue ? APPEND_QUEUE : APPEND_FLOW, .definition = 1 + (uint32_t)world_below(1000000) };
	uint8_t buf[STORE_DEFINITION_MAX];
	struct store_bytes b = { buf, model_definition(a.definition, buf) };
	int r;

	for (uint32_t k = 1; k < (is_queue ? l->state.n_queues : l->state.n_flows); k++)
		n += is_queue ? l->state.queues[k].exists : l->state.flows[k].exists;
	if (number == 0 || (n < (is_queue ? QUEUES_MAX : FLOWS_MAX) && world_chance(60))) {
		number = is_queue ? store_new_queue(l->s) : store_new_flow(l->s);
		check_new(l, is_queue, number);
		if (world_violated())
			return;
	}
	a.queue = number;
	r = is_queue ? store_define_queue(l->s, number, b) : store_define_flow(l->s, number, b);
	world_trace("%s %u: definition %u of %zu bytes: %d", is_queue ? "queue" : "flow", number, a.definition, b.len, r);
	if (r == 0)
		appended(l, a);
	else if (r != -EIO || !life_fences(l))
		world_violation("defining gives %d, and the store is not fenced", r);
}

static void
act_remove(struct life *l)
{
	uint32_t queue = draw_queue(l), flow = draw_flow(l);

	if (world_chance(50) && queue && draw_is_read(l, queue) && l->state.queues[queue].n == 0) {
		world_trace("queue %u is removed", queue);
		store_remove_queue(l->s, queue);
		appended(l, (struct append){ .kind = APPEND_QUEUE_GONE, .queue = queue });
	} else if (flow) {
		world_trace("flow %u is removed", flow);
		store_remove_flow(l->s, flow);
		appended(l, (struct append){ .kind = APPEND_FLOW_GONE, .queue = flow });
	}
}

static void
act_read(struct life *l)
{
	uint32_t m = draw_message(l, false);

	if (!m || l->is_fenced)
		return;
	/* Young ones are mostly still with whoever put them. */
	for (uint32_t tip = l->tip; tip != l->base && model_get(tip)->ticket > l->synced; tip = model_get(tip)->before)
		if (model_get(tip)->message == m && world_chance(80))
			return;
	life_read(l, m);
}

static void
act(struct life *l, bool may_put)
{
	uint64_t dice = world_below(100);

	if (dice < 42 && may_put)
		act_put(l);
	else if (dice < 68)
		act_done(l);
	else if (dice < 74)
		act_move(l);
	else if (dice < 78)
		act_mark(l);
	else if (dice < 81)
		act_offered(l);
	else if (dice < 83)
		act_define(l, true);
	else if (dice < 85)
		act_define(l, false);
	else if (dice < 86)
		act_remove(l);
	else if (dice < 92 && may_put)
		act_body(l);
	else if (!in_group(l))
		act_read(l);
}

static bool
run(struct life *l, unsigned steps, bool may_put)
{
	for (unsigned i = 0; i < steps && life_goes_on(l) && !l->is_fenced; i++) {
		if (world_chance(7)) {
			store_group_begin(l->s);
			l->group = 1;
			for (uint64_t n = 2 + world_below(GROUP_ACTS); n > 0 && life_goes_on(l); n--)
				act(l, may_put);
			l->group = 0;
			store_group_end(l->s);
		} else {
			act(l, may_put);
		}
		if (world_chance(10))
			store_hurry(l->s);
		if (world_chance(30))
			life_pass(l, world_below(world_chance(20) ? 40 : 6) * MS);
		if (world_chance(2) && !l->is_full)
			life_settle(l);
	}
	return life_goes_on(l);
}

bool
life_work(struct life *l, unsigned steps)
{
	/* The first start has nothing; every other has some of both. */
	while (life_goes_on(l) && !l->is_fenced && (!draw_queue(l) || !draw_flow(l)))
		act_define(l, !draw_queue(l));
	return run(l, steps, true);
}

bool
life_fill(struct life *l)
{
	l->is_filling = true;
	for (unsigned refused = 0, tries = 0; refused < 8 && tries < FILL_TRIES && life_goes_on(l) && !l->is_fenced && draw_queue(l); tries++) {
		refused += !act_put(l);
		act_body(l);
		if (world_chance(40))
			life_pass(l, world_below(10) * MS);
	}
	l->is_filling = false;
	return life_goes_on(l);
}

/* More than there was room for lives, or waits. */
static bool
is_over(const struct life *l)
{
	struct store_stats st;

	store_stats(l->s, &st);
	return st.live_bytes + l->body_bytes > st.capacity;
}

bool
life_overfill(struct life *l)
{
	unsigned n = 10 + (unsigned)world_below(60);

	life_fill(l);
	world_trace("messages are put that there is no room for");
	l->is_over = l->is_greedy = true;
	for (unsigned i = 0; i < n && life_goes_on(l) && !l->is_fenced && draw_queue(l); i++) {
		act_put(l);
		if (world_chance(40))
			life_pass(l, world_below(10) * MS);
	}
	l->is_greedy = false;
	if (world_chance(50))
		life_pass(l, world_below(3000) * MS);
	return life_goes_on(l);
}

bool
life_relieve(struct life *l)
{
	for (uint32_t m = 1; m < l->state.n_places && is_over(l) && life_goes_on(l) && !l->is_fenced; m++) {
		if (!l->state.places[m].live)
			continue;
		life_done(l, m);
		if (world_chance(20))
			life_pass(l, world_below(20) * MS);
	}
	world_trace("what is left has room");
	l->is_over = false;
	return life_goes_on(l);
}

bool
life_work_off(struct life *l, unsigned steps)
{
	return run(l, steps, false);
}
