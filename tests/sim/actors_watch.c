/* actors_watch: is a simulated cluster at rest, within its limits, and what does it hold? */
#include <string.h>

#include "actors_internal.h"
#include "ledger.h"

#define MEETINGS_MAX 2 /* sessions of a pair while nothing breaks */

/* What only hostile programs use. */
static bool
is_hostile(const struct queue *q)
{
	return queue_remote_name(q)[0] == 'h';
}

static bool
is_rest(void *arg, struct queue *q)
{
	struct queue_stats st;
	bool *rest = arg;

	if (queue_is_dead_letter(q) || is_hostile(q))
		return true;
	queue_stats(q, 0, &st);
	*rest = *rest && st.messages == 0;
	return *rest;
}

/* Somebody looks after the dead letters, so that no other waits for room among them. */
static bool
empty_dead_letters(void *arg, struct queue *q)
{
	uint64_t messages, bytes;

	(void)arg;
	if (queue_is_dead_letter(q))
		queue_purge(q, &messages, &bytes);
	return true;
}

bool
actors_at_rest(void)
{
	bool rest = ledger_open() == 0;

	for (int i = 0; i < sim.n_nodes; i++)
		if (sim.nodes[i].loop)
			router_each(daemon_core(sim.nodes[i].daemon)->router, empty_dead_letters, NULL);
	for (int i = 0; i < sim.n_programs && rest; i++)
		rest = sim.programs[i].c && sim.programs[i].left == 0 && sim.programs[i].n_held == 0;
	for (int i = 0; i < sim.n_nodes && rest; i++) {
		rest = sim.nodes[i].loop && !sim.nodes[i].stopping;
		if (rest)
			router_each(daemon_core(sim.nodes[i].daemon)->router, is_rest, &rest);
	}
	return rest;
}

static bool
trace_entry(void *arg, const struct entry *e)
{
	uint64_t number = 0;

	if (e->msg && e->msg->body_len >= sizeof(number))
		memcpy(&number, e->msg->body, sizeof(number));
	world_trace("%s: message %llu, state %u, tag %llu, attempt %u", queue_name(arg), (unsigned long long)number, e->state,
	    (unsigned long long)e->tag, e->attempt);
	return true;
}

static bool
trace_queue(void *arg, struct queue *q)
{
	const struct node *n = arg;
	struct queue_stats st;

	queue_stats(q, 0, &st);
	if (!queue_is_dead_letter(q))
		queue_each(q, trace_entry, q);
	world_trace("%s: %s: %llu messages, %llu in flight, %llu consumers, %llu reserved", n->set.name, queue_name(q),
	    (unsigned long long)st.messages, (unsigned long long)st.in_flight, (unsigned long long)st.consumers,
	    (unsigned long long)st.reserved_messages);
	return true;
}

void
actors_trace(void)
{
	for (int i = 0; i < sim.n_nodes; i++) {
		struct node *n = &sim.nodes[i];

		world_trace("%s: %s", n->set.name, n->loop ? n->stopping ? "stopping" : "running" : "down");
		if (!n->loop)
			continue;
		router_each(daemon_core(n->daemon)->router, trace_queue, n);
		for (size_t k = 0; k < daemon_n_links(n->daemon); k++) {
			struct link_stats st;

			link_stats(daemon_link(n->daemon, k), &st);
			world_trace("%s: link %s: %s, %llu waiting, %llu unconfirmed %s", n->set.name, link_name(daemon_link(n->daemon, k)),
			    link_state_name(st.state), (unsigned long long)st.waiting, (unsigned long long)st.unconfirmed, st.last_error);
		}
	}
	for (int i = 0; i < sim.n_programs; i++) {
		const struct program *p = &sim.programs[i];

		world_trace("program %d: %s at %s, %s, %u left to send, holds %zu, %zu unconfirmed", i,
		    p->role == PRODUCER ? "producer" : "consumer", sim.nodes[p->at].set.name, p->c ? connectd_is_up(p->c) ? "up" : "not up" : "down",
		    p->left, p->n_held, p->c ? connectd_unconfirmed(p->c) : 0);
	}
}

static bool
within(void *arg, struct queue *q)
{
	const struct node *n = arg;
	const struct conf_queue *conf = queue_conf(q);
	struct queue_stats st;

	queue_stats(q, 0, &st);
	/* One more for each flow that may be open into it. */
	if (!is_hostile(q) && st.messages > conf->max_messages + WIRE_PRIORITIES * (uint64_t)(sim.n_programs + sim.n_nodes))
		world_violation("%s: queue %s holds %llu messages, %llu are allowed", n->set.name, queue_name(q),
		    (unsigned long long)st.messages, (unsigned long long)conf->max_messages);
	if (st.counters.accepted + st.counters.moved_in !=
	    st.counters.consumed + st.counters.forwarded + st.counters.expired + st.counters.dead + st.counters.dropped +
		st.counters.purged + st.counters.moved_out + st.messages)
		world_violation("%s: the books of queue %s do not balance", n->set.name, queue_name(q));
	return true;
}

/* Whatever happens to connections, nobody who speaks the protocol well is ever told that it does not. */
static void
check_manners(const struct node *n)
{
	static const enum wire_close_code bad[] = { WIRE_CLOSE_PROTOCOL, WIRE_CLOSE_UNSUPPORTED, WIRE_CLOSE_TOO_LARGE,
		WIRE_CLOSE_FLOW_CONTROL, WIRE_CLOSE_WRONG_NAME, WIRE_CLOSE_NAME_IN_USE, WIRE_CLOSE_STATE_CONFLICT, WIRE_CLOSE_INTERNAL };
	const struct core *core = daemon_core(n->daemon);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (core->closed[CORE_CLOSED_PEER][bad[i]] > 0 ||
		    (!sim.hostile && core->closed[CORE_CLOSED_CLIENT][bad[i]] > 0))
			world_violation("%s: a session ended with %s", n->set.name, wire_close_name(bad[i]));
}

void
actors_check_limits(void)
{
	for (int i = 0; i < sim.n_nodes; i++)
		if (sim.nodes[i].loop) {
			check_manners(&sim.nodes[i]);
			router_each(daemon_core(sim.nodes[i].daemon)->router, within, &sim.nodes[i]);
		}
}

void
actors_check_calm(void)
{
	for (int i = 0; i < sim.n_nodes; i++)
		for (size_t k = 0; sim.nodes[i].loop && k < daemon_n_links(sim.nodes[i].daemon); k++) {
			const struct link *l = daemon_link(sim.nodes[i].daemon, k);
			struct link_stats st;

			link_stats(l, &st);
			if (st.connects > MEETINGS_MAX)
				world_violation("%s: %llu sessions with %s, and nothing has broken yet", sim.nodes[i].set.name,
				    (unsigned long long)st.connects, link_name(l));
		}
}
