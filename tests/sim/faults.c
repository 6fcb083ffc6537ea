/*
 * What goes wrong in a simulated cluster: with links, daemons, machines, their
 * disks, programs, clocks, and what an operator does. One fault at a time; but
 * many last a while.
 */
#include "actors_internal.h"
#include "ledger.h"
#include "sim_disk.h"
#include "sim_doors.h"
#include "vdisk.h"

#define START_CALLS 60 /* of a disk, within which a start may go wrong */

static struct node *
some_node(void)
{
	return &sim.nodes[world_below((uint64_t)sim.n_nodes)];
}

static bool
purge_some(void *arg, struct queue *q)
{
	struct queue_purged purged;

	(void)arg;
	if (world_chance(50))
		queue_purge(q, &purged);
	return true;
}

/* ------------------------------------------------------------------- ends -- */

void
fault_power(struct node *n)
{
	world_trace("the machine of %s loses its power", n->set.name);
	sim.counts.power_cuts++;
	if (n->loop)
		sim_net_vanish(n->loop);
	sim_disk_power_cut(n->machine, world_random());
	node_kill(n);
	world_schedule(&n->restart, (5 + world_below(3000)) * MS);
}

void
fault_kill(struct node *n)
{
	world_trace("%s is killed", n->set.name);
	sim_disk_kill(n->machine);
	node_kill(n);
	world_schedule(&n->restart, (5 + world_below(1500)) * MS);
}

/* The process ended in the midst of a call of its disk. */
void
fault_died(struct node *n)
{
	if (world_chance(50))
		fault_power(n);
	else
		fault_kill(n);
}

/* ------------------------------------------------------------------ disks -- */

/* Reads, and opening to read, fail only at a start: of a daemon that runs, what cannot be read is damaged. */
static void
fail_soon(struct node *n, unsigned calls)
{
	struct sim_disk_faults *f = sim_disk_faults(n->machine);
	static const enum sim_disk_call kinds[] = { SIM_DISK_WRITE, SIM_DISK_WRITE, SIM_DISK_SYNC, SIM_DISK_SYNC, SIM_DISK_SYNC,
		SIM_DISK_ALLOCATE, SIM_DISK_NAME, SIM_DISK_READ, SIM_DISK_READ };
	size_t n_kinds = sizeof(kinds) / sizeof(kinds[0]) - (n->loop ? 3 : 0);
	enum sim_disk_call kind = kinds[world_below(n_kinds)];

	f->fail[kind] = 1 + world_below(kind == SIM_DISK_NAME ? 4 : calls);
}

static void
disk_fault(struct node *n)
{
	uint64_t dice = world_below(100);
	struct vdisk *v = sim_disk_vdisk(n->machine);

	sim.hurt = true;
	if (dice < 30) {
		world_trace("FAULT: the disk of %s is full", n->set.name);
		sim.counts.full++;
		vdisk_set_limit(v, vdisk_used(v, NULL) + world_below(300000));
		world_schedule(&n->space, world_below(3000) * MS);
	} else if (dice < 75) {
		world_trace("FAULT: a call of the disk of %s will fail", n->set.name);
		fail_soon(n, 16);
	} else {
		world_trace("FAULT: %s will end in a call of its disk", n->set.name);
		sim_disk_faults(n->machine)->crash = 1 + world_below(40);
	}
}

void
fault_space(void *arg)
{
	struct node *n = arg;

	world_trace("the disk of %s has space again", n->set.name);
	vdisk_set_limit(sim_disk_vdisk(n->machine), 0);
}

void
fault_start(struct node *n)
{
	if (sim.healed || !world_chance(25))
		return;
	sim.hurt = true;
	if (world_chance(60))
		fail_soon(n, START_CALLS);
	else
		sim_disk_faults(n->machine)->crash = 1 + world_below(START_CALLS);
}

void
faults_end(struct node *n)
{
	if (!n->machine)
		return;
	*sim_disk_faults(n->machine) = (struct sim_disk_faults){ 0 };
	world_cancel(&n->space);
	vdisk_set_limit(sim_disk_vdisk(n->machine), 0);
}

/* -------------------------------------------------------------------- all -- */

/* Of a daemon that runs, or of its machine. False: nothing of that kind. */
static bool
daemon_fault(struct node *n, uint64_t dice)
{
	if (!n->loop || n->stopping)
		return false;
	if (dice < 8) {
		world_trace("FAULT: %s is killed", n->set.name);
		fault_kill(n);
	} else if (dice < 15) {
		world_trace("FAULT: the machine of %s is gone", n->set.name);
		fault_power(n);
	} else if (dice < 19) {
		world_trace("FAULT: %s is stopped", n->set.name);
		node_stop(n);
	} else if (dice < 33) {
		disk_fault(n);
	} else {
		return false;
	}
	return true;
}

void
actors_fault(void)
{
	struct node *n = some_node();
	struct program *p = &sim.programs[world_below((uint64_t)sim.n_programs)];
	uint64_t dice = world_below(100);

	if (daemon_fault(n, dice))
		return;
	if (dice < 54) {
		world_trace("FAULT: a link is cut");
		sim_net_cut(true, world_below(sim_net_count(true)));
	} else if (dice < 62) {
		world_trace("FAULT: a link freezes");
		sim_net_freeze(true, world_below(sim_net_count(true)));
	} else if (dice < 68) {
		world_trace("FAULT: partition");
		sim_net_partition(world_now() + world_below(1500) * MS);
		for (size_t i = sim_net_count(true); i-- > 0;)
			sim_net_cut(true, i);
	} else if (dice < 73) {
		world_trace("FAULT: links are slow");
		sim.slowed = true;
		sim_net_slow(world_below(400) * MS);
	} else if (dice < 86) {
		world_trace("FAULT: program %d", p->index);
		if (!p->busy) {
			program_kill(p);
			world_schedule(&p->tick, world_below(1000) * MS);
		}
	} else if (dice < 92 && n->loop) {
		uint64_t boot = world_chance(50) ? world_below(8000) : 0;

		world_trace("FAULT: the clocks of %s jump", n->set.name);
		sim_loop_jump(n->loop, boot, (int64_t)world_below(20000000) - 10000000);
	} else if (dice < 94 && n->loop) {
		world_trace("FAULT: an operator purges queues of %s", n->set.name);
		ledger_purged((int)(n - sim.nodes));
		router_each(daemon_core(n->daemon)->router, purge_some, NULL);
	} else {
		world_trace("FAULT: a program's connection is cut");
		sim_net_cut(false, world_below(sim_net_count(false)));
	}
}
