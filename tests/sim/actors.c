#include "actors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors_internal.h"
#include "hostile.h"
#include "ledger.h"
#include "named.h"
#include "sim_disk.h"
#include "sim_doors.h"
#include "vdisk.h"

#define MEETINGS_MAX 2 /* sessions of a pair while nothing breaks */

struct cluster sim;

/* ---------------------------------------------------------------- daemons -- */

static void
log_line(void *arg, enum log_level level, const char *line)
{
	(void)arg, (void)level;
	world_trace("%s", line);
}

static void
fault_line(void *arg, const char *file, unsigned line, const char *text)
{
	(void)arg;
	if (sim.starved)
		world_trace("%s:%u: %s", file, line, text);
	else
		fprintf(stderr, "%s:%u: %s\n", file, line, text);
}

static uint64_t
failed_calls(const struct node *n)
{
	uint64_t sum = 0;

	for (int i = 0; i < SIM_DISK_CALLS; i++)
		sum += sim_disk_failed(n->machine, (enum sim_disk_call)i);
	return sum;
}

/* Nobody may refuse to start but for a fault of its disk. */
static void
failed_to_start(struct node *n, uint64_t failed, const char *why)
{
	bool dead = sim_disk_is_dead(n->machine);

	world_trace("%s does not start: %s", n->set.name, why);
	sim.counts.failed_starts++;
	if (!dead && !sim.starved && failed == failed_calls(n) && vdisk_limit(sim_disk_vdisk(n->machine)) == 0)
		world_violation("%s does not start: %s", n->set.name, why);
	ledger_daemon_died((int)(n - sim.nodes));
	if (dead)
		fault_died(n);
	else
		world_schedule(&n->restart, (20 + world_below(1000)) * MS);
}

static void
node_start(struct node *n)
{
	struct daemon_options opt = { .log = &n->log };
	struct conf *conf;
	char why[DAEMON_WHY_MAX], state[24];
	uint64_t failed;

	if (n->loop)
		return;
	world_trace("%s starts", n->set.name);
	ledger_daemon_started((int)(n - sim.nodes));
	if (conf_read_text(n->set.name, n->set.conf, strlen(n->set.conf), fault_line, NULL, &conf) != 0) {
		if (!sim.starved)
			abort();
		world_schedule(&n->restart, (20 + world_below(1000)) * MS);
		return;
	}
	n->log = (struct log){ .level = world_tracing() ? LOG_DEBUG : LOG_ERROR, .node = n->set.name, .sink = log_line };
	snprintf(state, sizeof(state), "/sim/%s", n->set.name);
	if (n->machine)
		fault_start(n);
	n->machine = sim_disk_machine(state);
	failed = failed_calls(n);
	n->loop = loop_new();
	n->stopping = false;
	if (daemon_new(n->loop, conf, &opt, &n->daemon, why) != 0) {
		conf_free(conf);
		loop_free(n->loop);
		n->loop = NULL;
		failed_to_start(n, failed, why);
		return;
	}
	sim_disk_faults(n->machine)->fail[SIM_DISK_READ] = sim_disk_faults(n->machine)->fail[SIM_DISK_NAME] = 0;
	daemon_start(n->daemon);
}

void
node_kill(struct node *n)
{
	world_cancel(&n->attention);
	if (!n->loop)
		return;
	ledger_daemon_died((int)(n - sim.nodes));
	daemon_free(n->daemon);
	loop_free(n->loop);
	n->daemon = NULL;
	n->loop = NULL;
}

static void
stopped(void *arg)
{
	struct node *n = arg;

	/* Freed from an event of its own, as main does behind the loop. */
	world_schedule(&n->restart, 1000);
}

void
node_stop(struct node *n)
{
	n->stopping = true;
	ledger_daemon_died((int)(n - sim.nodes));
	daemon_stop(n->daemon, stopped, n);
}

static void
restart(void *arg)
{
	struct node *n = arg;

	if (n->stopping) {
		world_trace("%s has stopped", n->set.name);
		node_kill(n);
		n->stopping = false;
		world_schedule(&n->restart, (5 + world_below(2000)) * MS);
		return;
	}
	node_start(n);
}

/* The journal has failed: the daemon is restarted, in order or not. */
static void
attend(void *arg)
{
	struct node *n = arg;

	if (!n->loop || n->stopping)
		return;
	world_trace("an operator restarts %s", n->set.name);
	if (world_chance(50))
		node_stop(n);
	else
		fault_kill(n);
}

static void
look_after(struct node *n)
{
	struct store_stats st;

	store_stats(daemon_core(n->daemon)->store, &st);
	if (st.state != STORE_FENCED || n->stopping || n->attention.index != 0)
		return;
	sim.counts.fenced++;
	world_schedule(&n->attention, world_below(2000) * MS);
}

/* Behind each event: processes that ended in a call of their disk are gone. */
static void
bury_dead(void)
{
	for (int i = 0; i < sim.n_nodes; i++)
		if (sim.nodes[i].loop && sim_disk_is_dead(sim.nodes[i].machine))
			fault_died(&sim.nodes[i]);
}

/* ---------------------------------------------------------------- cluster -- */

static void
settings_draw_all(void)
{
	struct settings all[ACTORS_DAEMONS] = { 0 };

	settings_draw(all, sim.n_nodes);
	for (int i = 0; i < sim.n_nodes; i++) {
		sim.nodes[i].set = all[i];
		world_trace("%s", all[i].conf);
	}
}

/* Some producers have a name; at times two have the same. */
static void
draw_named(struct program *p)
{
	const struct node *at = &sim.nodes[p->at], *to = &sim.nodes[p->to];
	struct program *twin;

	if (!(p->to == p->at ? at->set.here[p->queue].durable : at->set.outbound.durable) || !to->set.here[p->queue].durable ||
	    !world_chance(40) || (p->named = named_new(p)) == NULL)
		return;
	p->left = 0;
	if (sim.n_programs == ACTORS_CLIENTS || !world_chance(50))
		return;
	twin = &sim.programs[sim.n_programs];
	*twin = *p;
	twin->index = sim.n_programs++;
}

void
actors_start(void)
{
	memset(&sim, 0, sizeof(sim));
	world_behind(bury_dead);
	named_start();
	sim.n_nodes = world_chance(75) ? 2 : 3;
	sim.large = world_chance(15);
	sim.mortal = world_chance(30);
	sim.away = world_chance(25);
	settings_draw_all();
	for (int i = 0; i < sim.n_nodes; i++) {
		struct node *n = &sim.nodes[i];

		n->restart = (struct world_event){ .fn = restart, .arg = n };
		n->space = (struct world_event){ .fn = fault_space, .arg = n };
		n->attention = (struct world_event){ .fn = attend, .arg = n };
		world_schedule(&n->restart, world_below(50) * MS);
	}
	/* A consumer for every queue that is sent to, then some more of both. */
	for (int i = 0; i < sim.n_nodes; i++)
		for (int q = 0; q < (i == 0 ? SETTINGS_QUEUES : 1); q++)
			sim.programs[sim.n_programs++] = (struct program){ .role = CONSUMER, .at = i, .queue = q };
	if (world_chance(40))
		sim.programs[sim.n_programs++] = (struct program){ .role = CONSUMER };
	for (int i = sim.n_programs + 2 + (int)world_below(2); sim.n_programs < i && sim.n_programs < ACTORS_CLIENTS;) {
		struct program *p = &sim.programs[sim.n_programs++];

		p->role = PRODUCER;
		p->at = (int)world_below((uint64_t)sim.n_nodes);
		p->to = world_chance(85) ? (p->at + 1) % sim.n_nodes : p->at;
		p->queue = p->to == 0 ? (int)world_below(SETTINGS_QUEUES) : 0;
		p->left = 30 + (unsigned)world_below(50);
		p->index = (int)(p - sim.programs);
		draw_named(p);
		if (world_chance(35)) {
			p->demands = (unsigned)world_below(40);
			p->waives = (unsigned)world_below(40);
		}
	}
	for (int i = 0; i < HOSTILE_MAX && world_chance(25); i++) {
		static const char *const dests[] = { "h0", "h1", "berlin/h0", "oslo/h0", "paris/h0" };
		char path[40];

		snprintf(path, sizeof(path), "/sim/%s.sock", sim.nodes[world_below((uint64_t)sim.n_nodes)].set.name);
		hostile_start(i, path, dests, 5);
		sim.hostile = true;
	}
	for (int i = 0; i < sim.n_programs; i++) {
		struct program *p = &sim.programs[i];

		p->index = i;
		p->single = p->role == CONSUMER && world_chance(20);
		p->pulls = p->role == CONSUMER && world_chance(40);
		p->tick = (struct world_event){ .fn = program_tick, .arg = p };
		world_schedule(&p->tick, world_below(sim.away && p->role == CONSUMER ? 4000 : 100) * MS);
	}
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
		world_cancel(&sim.nodes[i].space);
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
		faults_end(&sim.nodes[i]);
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

static bool
is_rest(void *arg, struct queue *q)
{
	struct queue_stats st;
	bool *rest = arg;

	if (queue_is_dead_letter(q) || accounts_is_hostile(q))
		return true;
	queue_stats(q, 0, &st);
	*rest = *rest && st.messages == 0;
	return *rest;
}

/* Somebody looks after the dead letters, so that no other waits for room among them. */
static bool
empty_dead_letters(void *arg, struct queue *q)
{
	struct queue_purged purged;

	(void)arg;
	if (queue_is_dead_letter(q))
		queue_purge(q, &purged);
	return true;
}

bool
actors_at_rest(void)
{
	bool rest = ledger_open() == 0 && named_at_rest();

	for (int i = 0; i < sim.n_nodes; i++)
		if (sim.nodes[i].loop)
			router_each(daemon_core(sim.nodes[i].daemon)->router, empty_dead_letters, NULL);
	for (int i = 0; i < sim.n_programs && rest; i++)
		rest = sim.programs[i].c && sim.programs[i].left == 0 && sim.programs[i].n_held == 0;
	for (int i = 0; i < sim.n_nodes && rest; i++) {
		rest = sim.nodes[i].loop && !sim.nodes[i].stopping && sim.nodes[i].attention.index == 0;
		if (rest)
			router_each(daemon_core(sim.nodes[i].daemon)->router, is_rest, &rest);
	}
	return rest;
}

void
actors_trace(void)
{
	for (int i = 0; i < sim.n_nodes; i++) {
		struct node *n = &sim.nodes[i];

		world_trace("%s: %s", n->set.name, n->loop ? n->stopping ? "stopping" : "running" : "down");
		if (n->loop)
			accounts_trace(n);
	}
	named_trace();
	for (int i = 0; i < sim.n_programs; i++) {
		const struct program *p = &sim.programs[i];

		world_trace("program %d: %s at %s, %s, %u left to send, holds %zu, %zu unconfirmed", i,
		    p->role == PRODUCER ? "producer" : "consumer", sim.nodes[p->at].set.name, p->c ? connectd_is_up(p->c) ? "up" : "not up" : "down",
		    p->left, p->n_held, p->c ? connectd_unconfirmed(p->c) : 0);
	}
}

void
actors_check_limits(void)
{
	for (int i = 0; i < sim.n_nodes; i++)
		if (sim.nodes[i].loop) {
			accounts_check(&sim.nodes[i]);
			look_after(&sim.nodes[i]);
		}
}

void
actors_check_drained(void)
{
	for (int i = 0; i < sim.n_nodes; i++)
		accounts_check_drained(&sim.nodes[i]);
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

const struct actors_counts *
actors_counts(void)
{
	return &sim.counts;
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
