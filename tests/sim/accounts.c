/* What must hold of a daemon at any time: limits, books, manners; and what it holds, as a trace. */
#include <string.h>

#include "actors_internal.h"
#include "queue_internal.h"

bool
accounts_is_hostile(const struct queue *q)
{
	return queue_remote_name(q)[0] == 'h';
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
	LIST_FOREACH (i, &q->inlets) {
		const struct inlet *in = list_entry(i, struct inlet, all);

		world_trace("%s: %s: a flow of a %s, %llu messages and %llu bytes reserved, %llu started, %s", n->set.name, queue_name(q),
		    in->peer ? "peer" : "program", (unsigned long long)in->reserved_messages, (unsigned long long)in->reserved_bytes,
		    (unsigned long long)in->started_messages, list_empty(&in->starved) ? "content" : "starved");
	}
	return true;
}

static void
trace_memory(const struct node *n)
{
	const struct core *core = daemon_core(n->daemon);
	uint64_t used, messages, partial;

	queues_memory(router_queues(core->router), &used, &messages, &partial);
	world_trace("%s: %llu bytes used of %llu, of them %llu for parts of bodies", n->set.name, (unsigned long long)used,
	    (unsigned long long)core->node->max_memory, (unsigned long long)partial);
}

static void
trace_store(const struct node *n)
{
	const struct core *core = daemon_core(n->daemon);
	struct store_stats st;

	store_stats(core->store, &st);
	world_trace("%s: journal: state %d %s, %llu messages, %llu bytes live of %llu, room for %llu, %llu claimed, %u segments, %u free, "
		    "ticket %llu, synced %llu",
	    n->set.name, st.state, st.why, (unsigned long long)st.messages, (unsigned long long)st.live_bytes,
	    (unsigned long long)st.capacity, (unsigned long long)store_room(core->store),
	    (unsigned long long)router_queues(core->router)->disk_claimed, st.segments, st.free_segments,
	    (unsigned long long)store_ticket(core->store), (unsigned long long)store_synced(core->store));
}

void
accounts_trace(const struct node *n)
{
	trace_memory(n);
	trace_store(n);
	router_each(daemon_core(n->daemon)->router, trace_queue, (void *)(uintptr_t)n);
	for (size_t k = 0; k < daemon_n_links(n->daemon); k++) {
		struct link_stats st;

		link_stats(daemon_link(n->daemon, k), &st);
		world_trace("%s: link %s: %s, %llu waiting, %llu unconfirmed %s", n->set.name, link_name(daemon_link(n->daemon, k)),
		    link_state_name(st.state), (unsigned long long)st.waiting, (unsigned long long)st.unconfirmed, st.last_error);
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
	if (!accounts_is_hostile(q) && st.messages > conf->max_messages + WIRE_PRIORITIES * (uint64_t)(sim.n_programs + sim.n_nodes))
		world_violation("%s: queue %s holds %llu messages, %llu are allowed", n->set.name, queue_name(q),
		    (unsigned long long)st.messages, (unsigned long long)conf->max_messages);
	if (st.counters.present + st.counters.accepted + st.counters.moved_in !=
	    st.counters.consumed + st.counters.forwarded + st.counters.expired + st.counters.dead + st.counters.dropped +
		st.counters.purged + st.counters.moved_out + st.counters.damaged + st.messages)
		world_violation("%s: the books of queue %s do not balance", n->set.name, queue_name(q));
	/* No disk here damages anything, and a read that fails once is tried again. */
	if (st.counters.damaged > 0)
		world_violation("%s: queue %s has lost %llu messages to damage", n->set.name, queue_name(q),
		    (unsigned long long)st.counters.damaged);
	sim.counts.cold += st.on_disk;
	return true;
}

/*
 * Whatever happens to connections, nobody who speaks the protocol well is ever
 * told that it does not. A disk that fails at the wrong moment ends one, at most;
 * and where links are slow, what a daemon said before it was killed may come
 * behind what it said since, and look like a folder that was restored.
 */
static void
check_manners(const struct node *n)
{
	static const enum wire_close_code bad[] = { WIRE_CLOSE_PROTOCOL, WIRE_CLOSE_UNSUPPORTED, WIRE_CLOSE_TOO_LARGE,
		WIRE_CLOSE_FLOW_CONTROL, WIRE_CLOSE_WRONG_NAME, WIRE_CLOSE_NAME_IN_USE, WIRE_CLOSE_STATE_CONFLICT, WIRE_CLOSE_INTERNAL };
	const struct core *core = daemon_core(n->daemon);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if ((bad[i] != WIRE_CLOSE_INTERNAL || !sim.hurt) && (bad[i] != WIRE_CLOSE_STATE_CONFLICT || !sim.slowed) &&
		    ((!sim.hostile_peers && core->closed[CORE_CLOSED_PEER][bad[i]] > 0) ||
		    (!sim.hostile && core->closed[CORE_CLOSED_CLIENT][bad[i]] > 0)))
			world_violation("%s: a session ended with %s", n->set.name, wire_close_name(bad[i]));
}

static bool
count_kept(void *arg, struct queue *q)
{
	uint64_t *n = arg;

	*n += queue_number(q) != 0;
	return true;
}

/*
 * max_memory is kept; where a body may be above a quarter of it, one such may go
 * beyond, by what is only reserved; and of each queue one that is read back.
 */
static void
check_memory(const struct node *n)
{
	uint64_t kept = 0;
	const struct core *core = daemon_core(n->daemon);
	uint64_t used, messages, partial, most = core->node->max_memory;

	if (core->node->max_message + QUEUE_OVERHEAD + WIRE_PACKED_MAX > most / 4)
		most += most / 4 * 3;
	router_each(core->router, count_kept, &kept);
	most += kept * ((core->node->max_message < BODY_MAX ? core->node->max_message : BODY_MAX) + QUEUE_OVERHEAD);
	queues_memory(router_queues(core->router), &used, &messages, &partial);
	if (used > most)
		world_violation("%s: %llu bytes of memory, %llu are allowed", n->set.name, (unsigned long long)used,
		    (unsigned long long)most);
}

/* What is counted of all queues and flows is the sum of each. */
static void
check_claims(const struct node *n)
{
	const struct core *core = daemon_core(n->daemon);
	const struct queues *qs = router_queues(core->router);
	uint64_t used = qs->partial, entries = 0, stored = 0, claimed = 0, idle = 0, owed = 0;
	struct store_stats st;

	LIST_FOREACH (node, &qs->all) {
		const struct queue *q = list_entry(node, struct queue, all_node);
		uint64_t taken = q->disk.stored + q->disk.claimed;

		owed += q->disk.guaranteed > taken ? q->disk.guaranteed - taken : 0;
		used += q->resident;
		entries += q->n;
		stored += q->n_stored;
		LIST_FOREACH (i, &q->inlets) {
			const struct inlet *in = list_entry(i, struct inlet, all);
			uint64_t messages = in->reserved_messages + in->started_messages, bytes = in->reserved_bytes + in->started_bytes;

			used += bytes + messages * QUEUE_OVERHEAD;
			claimed += in->disk_claimed;
			idle += in->disk_idle;
		}
	}
	store_stats(core->store, &st);
	if (used != qs->used || entries != qs->n)
		world_violation("%s: %llu bytes and %llu messages are counted, and there are %llu and %llu", n->set.name,
		    (unsigned long long)qs->used, (unsigned long long)qs->n, (unsigned long long)used, (unsigned long long)entries);
	if (claimed != qs->disk_claimed || idle != qs->disk_idle)
		world_violation("%s: %llu bytes of the journal are claimed, %llu of them idle, by flows that have %llu and %llu",
		    n->set.name, (unsigned long long)qs->disk_claimed, (unsigned long long)qs->disk_idle, (unsigned long long)claimed,
		    (unsigned long long)idle);
	if (owed != qs->disk_owed)
		world_violation("%s: %llu bytes of the journal are owed to queues, which have %llu of their min_bytes left",
		    n->set.name, (unsigned long long)qs->disk_owed, (unsigned long long)owed);
	if (stored != st.messages)
		world_violation("%s: the journal has %llu messages, and the queues have %llu of them", n->set.name,
		    (unsigned long long)st.messages, (unsigned long long)stored);
}

/* Hostile programs leave something behind. */
void
accounts_check_drained(const struct node *n)
{
	const struct core *core = daemon_core(n->daemon);
	struct store_stats st;

	store_stats(core->store, &st);
	/* What is here of a body that was never whole is written ahead. */
	if (st.messages > 0 || router_queues(core->router)->partial > 0)
		return;
	if (st.live_bytes > 0 || store_room(core->store) < st.capacity / 2)
		world_violation("%s: the journal is empty, and has %llu bytes alive and room for %llu of %llu", n->set.name,
		    (unsigned long long)st.live_bytes, (unsigned long long)store_room(core->store), (unsigned long long)st.capacity);
}

void
accounts_check(const struct node *n)
{
	check_claims(n);
	check_manners(n);
	check_memory(n);
	router_each(daemon_core(n->daemon)->router, within, (void *)(uintptr_t)n);
}
