/* actors: draws a cluster, and what goes wrong with it. */
#include <stdio.h>
#include <string.h>

#include "actors_internal.h"
#include "hostile.h"
#include "ledger.h"
#include "sim_doors.h"

#define QUEUES 2

struct actors sim;

static void
settings_draw_all(void)
{
	struct settings all[ACTORS_DAEMONS] = { 0 };

	settings_draw(all, sim.n_nodes);
	for (int i = 0; i < sim.n_nodes; i++)
		sim.nodes[i].set = all[i];
}

void
actors_start(void)
{
	memset(&sim, 0, sizeof(sim));
	sim.n_nodes = world_chance(75) ? 2 : 3;
	sim.large = world_chance(15);
	sim.mortal = world_chance(30);
	settings_draw_all();
	for (int i = 0; i < sim.n_nodes; i++)
		node_init(&sim.nodes[i]);
	/* A consumer for every queue that is sent to, then some more of both. */
	for (int i = 0; i < sim.n_nodes; i++)
		for (int q = 0; q < (i == 0 ? QUEUES : 1); q++)
			sim.programs[sim.n_programs++] = (struct program){ .role = CONSUMER, .at = i, .queue = q };
	if (world_chance(40))
		sim.programs[sim.n_programs++] = (struct program){ .role = CONSUMER };
	for (int i = sim.n_programs + 2 + (int)world_below(2); sim.n_programs < i && sim.n_programs < ACTORS_CLIENTS;) {
		struct program *p = &sim.programs[sim.n_programs++];

		p->role = PRODUCER;
		p->at = (int)world_below((uint64_t)sim.n_nodes);
		p->to = world_chance(85) ? (p->at + 1) % sim.n_nodes : p->at;
		p->queue = p->to == 0 ? (int)world_below(QUEUES) : 0;
		p->left = 30 + (unsigned)world_below(50);
	}
	for (int i = 0; i < HOSTILE_MAX && world_chance(25); i++) {
		static const char *const dests[] = { "h0", "h1", "berlin/h0", "oslo/h0", "paris/h0" };
		char path[40];

		snprintf(path, sizeof(path), "/sim/%s.sock", sim.nodes[world_below((uint64_t)sim.n_nodes)].set.name);
		hostile_start(i, path, dests, 5);
		sim.hostile = true;
	}
	for (int i = 0; i < sim.n_programs; i++)
		program_init(&sim.programs[i], i);
}

void
actors_end(void)
{
	for (int i = 0; i < HOSTILE_MAX; i++)
		hostile_end(i);
	for (int i = 0; i < sim.n_programs; i++) {
		program_kill(&sim.programs[i]);
		world_cancel(&sim.programs[i].tick);
	}
	for (int i = 0; i < sim.n_nodes; i++) {
		node_kill(&sim.nodes[i]);
		world_cancel(&sim.nodes[i].restart);
	}
}

static struct node *
some_node(void)
{
	return &sim.nodes[world_below((uint64_t)sim.n_nodes)];
}

static bool
purge_some(void *arg, struct queue *q)
{
	uint64_t messages, bytes;

	(void)arg;
	if (world_chance(50))
		queue_purge(q, &messages, &bytes);
	return true;
}

void
actors_fault(void)
{
	struct node *n = some_node();
	struct program *p = &sim.programs[world_below((uint64_t)sim.n_programs)];
	uint64_t dice = world_below(100);

	if (dice < 30) {
		world_trace("FAULT: a link is cut");
		sim_net_cut(true, world_below(sim_net_count(true)));
	} else if (dice < 40) {
		world_trace("FAULT: a link freezes");
		sim_net_freeze(true, world_below(sim_net_count(true)));
	} else if (dice < 48) {
		world_trace("FAULT: partition");
		sim_net_partition(world_now() + world_below(1500) * MS);
		for (size_t i = sim_net_count(true); i-- > 0;)
			sim_net_cut(true, i);
	} else if (dice < 54) {
		world_trace("FAULT: links are slow");
		sim_net_slow(world_below(400) * MS);
	} else if (dice < 64 && n->loop && !n->stopping) {
		world_trace("FAULT: %s is killed", n->set.name);
		node_kill(n);
		world_schedule(&n->restart, world_below(1500) * MS);
	} else if (dice < 69 && n->loop && !n->stopping) {
		world_trace("FAULT: the machine of %s is gone", n->set.name);
		sim_net_vanish(n->loop);
		node_kill(n);
		world_schedule(&n->restart, world_below(3000) * MS);
	} else if (dice < 73 && n->loop && !n->stopping) {
		world_trace("FAULT: %s is stopped", n->set.name);
		node_stop(n);
	} else if (dice < 85) {
		world_trace("FAULT: program %d", p->index);
		if (!p->busy) {
			program_kill(p);
			world_schedule(&p->tick, world_below(1000) * MS);
		}
	} else if (dice < 92 && n->loop) {
		uint64_t boot = world_chance(50) ? world_below(8000) : 0;

		world_trace("FAULT: the clocks of %s jump", n->set.name);
		sim_loop_jump(n->loop, boot, (int64_t)world_below(20000000) - 10000000);
	} else if (dice < 95 && n->loop) {
		world_trace("FAULT: an operator purges queues of %s", n->set.name);
		ledger_purged((int)(n - sim.nodes));
		router_each(daemon_core(n->daemon)->router, purge_some, NULL);
	} else {
		world_trace("FAULT: a program's connection is cut");
		sim_net_cut(false, world_below(sim_net_count(false)));
	}
}

void
actors_heal(void)
{
	world_trace("everything is well from here on");
	sim.healed = true;
	for (int i = 0; i < HOSTILE_MAX; i++)
		hostile_end(i);
	sim_net_heal();
	for (int i = 0; i < sim.n_nodes; i++)
		if (!sim.nodes[i].loop && sim.nodes[i].restart.index == 0)
			world_schedule(&sim.nodes[i].restart, 0);
	for (int i = 0; i < sim.n_programs; i++) {
		struct program *p = &sim.programs[i];

		p->quick = true;
		if (!p->c && p->tick.index == 0)
			world_schedule(&p->tick, 0);
	}
}

size_t
actors_n_daemons(void)
{
	return (size_t)sim.n_nodes;
}

size_t
actors_n_clients(void)
{
	return (size_t)sim.n_programs;
}
