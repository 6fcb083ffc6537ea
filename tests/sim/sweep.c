/*
 * sweep: every allocation of daemons and library fails once. A seed is a cluster
 * and what it does, the same each time; it is run once to count allocations, and
 * then again for each of them, which fails, alone or with those behind it.
 * Nobody may die of it, leave memory behind, lose what was confirmed, or fail to
 * come to rest afterwards.
 *
 *   sweep --seeds N [--from N] [--step N] [--many N] | --seed N --at N [--many N] [--expect-violation] [--label TEXT]
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actors_internal.h"
#include "cli.h"
#include "ledger.h"
#include "sim_disk.h"
#include "sim_doors.h"
#include "sweep_memory.h"

#define SECOND 1000000000u
#define PART (SECOND / 4)
#define REST_TIME (300 * (uint64_t)SECOND)
#define DRAIN_TIME (2 * (uint64_t)SECOND)
#define WORKERS 2
#define SHOWN 20 /* failures in full */

static void
pass(uint64_t ns)
{
	uint64_t until = world_now() + ns;

	while (world_step(until) && !world_violated())
		;
	if (!world_violated())
		actors_check_limits();
}

static bool
purge(void *arg, struct queue *q)
{
	struct queue_purged purged;

	(void)arg;
	queue_purge(q, &purged);
	return true;
}

/* What happens in every run: daemons end in order and without, links and programs go, queues are purged. */
static void
happen(int what)
{
	struct node *first = &sim.nodes[0], *second = &sim.nodes[1];

	switch (what) {
	case 1:
		for (size_t i = sim_net_count(true); i-- > 0;)
			sim_net_cut(true, i);
		break;
	case 2:
		if (first->loop && !first->stopping)
			node_stop(first);
		break;
	case 3:
		for (int i = 0; i < sim.n_programs; i += 2) {
			program_kill(&sim.programs[i]);
			if (!sim.programs[i].c)
				world_schedule(&sim.programs[i].tick, world_below(200) * MS);
		}
		break;
	case 4:
		if (second->loop && !second->stopping)
			fault_kill(second);
		break;
	case 5:
		ledger_purged(0);
		if (first->loop)
			router_each(daemon_core(first->daemon)->router, purge, NULL);
		break;
	default:
		break;
	}
}

static void
rest(void)
{
	uint64_t until = world_now() + REST_TIME;

	while (!world_violated() && !actors_at_rest()) {
		pass(SECOND / 4);
		if (world_now() > until) {
			world_violation("not at rest: %zu messages open", ledger_open());
			ledger_trace_open();
			actors_trace();
		}
	}
	if (!world_violated())
		ledger_end();
	if (!world_violated())
		pass(DRAIN_TIME);
	if (!world_violated())
		actors_check_drained();
}

/* One run. What was allocated; why in ret_why, "" if nothing is wrong. */
static uint64_t
run(uint64_t seed, uint64_t at, uint64_t many, bool trace, char why[static 512])
{
	uint64_t count, left, first;

	world_start(seed, trace);
	sim_net_reset();
	sim_disk_reset();
	ledger_start();
	ledger_starved();
	sweep_memory_start(at, many, trace);
	actors_start();
	sim.hurt = sim.starved = true;
	for (int i = 0; i <= 6 && !world_violated(); i++) {
		happen(i);
		pass(PART);
	}
	count = sweep_memory_count();
	sweep_memory_heal();
	actors_heal();
	rest();
	actors_end();
	sim_net_reset();
	left = sweep_memory_held(&first);
	if (left > 0)
		world_violation("%llu blocks of memory are left behind, the first of allocation %llu", (unsigned long long)left,
		    (unsigned long long)first);
	snprintf(why, 512, "%s", world_violated() ? world_violated() : "");
	world_end();
	return count;
}

/* ---------------------------------------------------------------- workers -- */

struct worker {
	uint64_t at; /* under way */
	uint64_t runs, failed;
};

static void
tell(struct worker *w, uint64_t seed, uint64_t at, uint64_t many, const char *why)
{
	w->failed++;
	if (w->failed <= SHOWN)
		printf("seed %llu, allocation %llu, %llu of them: %s\n", (unsigned long long)seed, (unsigned long long)at,
		    (unsigned long long)many, why);
	fflush(stdout);
}

static void
work(struct worker *w, uint64_t seed, uint64_t count, uint64_t step, uint64_t many)
{
	char why[512];

	for (; w->at <= count; w->at += step) {
		run(seed, w->at, many, false, why);
		w->runs++;
		if (why[0])
			tell(w, seed, w->at, many, why);
	}
}

/* Every step-th allocation of the seed, by several processes; one that dies is replaced, and goes on behind. */
static void
sweep(uint64_t seed, uint64_t step, uint64_t many, struct worker *shared)
{
	pid_t pids[WORKERS] = { 0 };
	char why[512];
	uint64_t count = run(seed, 0, 0, false, why), again = run(seed, 0, 0, false, why);

	if (why[0] || count != again) {
		tell(&shared[0], seed, 0, 0, why[0] ? why : "it is not the same each time");
		return;
	}
	for (int i = 0; i < WORKERS; i++)
		shared[i].at = 1 + seed % step + (uint64_t)i * step;
	fflush(stdout);
	for (int left = 0, started = 0; started < WORKERS || left > 0;) {
		int i, status;
		pid_t pid;

		if (started < WORKERS) {
			i = started++;
			left++;
		} else {
			pid = wait(&status);
			for (i = 0; i < WORKERS && pids[i] != pid;)
				i++;
			if (pid < 0 || i == WORKERS)
				abort();
			if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
				left--;
				continue;
			}
			tell(&shared[i], seed, shared[i].at, many, "the process died");
			shared[i].at += step * WORKERS;
		}
		pids[i] = fork();
		if (pids[i] < 0)
			abort();
		if (pids[i] == 0) {
			work(&shared[i], seed, count, step * WORKERS, many);
			exit(0);
		}
	}
}

int
main(int argc, char **argv)
{
	static const struct option options[] = { { "seed", 1, NULL, 's' }, { "seeds", 1, NULL, 'n' }, { "from", 1, NULL, 'f' },
		{ "at", 1, NULL, 'a' }, { "many", 1, NULL, 'm' }, { "step", 1, NULL, 'e' }, { "expect-violation", 0, NULL, 'x' },
		{ "label", 1, NULL, 'l' }, { NULL, 0, NULL, 0 } };
	uint64_t seed = 0, seeds = 1, from = 1, at = 0, many = 1, step = 1, failed = 0, runs = 0;
	const char *label = "sweep";
	struct worker *shared;
	double begun = cli_seconds();
	bool expect = false;
	char why[512];
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 's':
			seed = cli_number(optarg);
			break;
		case 'n':
			seeds = cli_number(optarg);
			break;
		case 'f':
			from = cli_number(optarg);
			break;
		case 'a':
			at = cli_number(optarg);
			break;
		case 'm':
			many = cli_number(optarg);
			break;
		case 'e':
			step = cli_number(optarg);
			break;
		case 'x':
			expect = true;
			break;
		case 'l':
			label = optarg;
			break;
		default:
			fprintf(stderr, "usage: sweep --seeds N [--from N] [--step N] [--many N] [--expect-violation] [--label TEXT] | "
					"--seed N --at N [--many N]\n");
			return 2;
		}
	}
	if (seed) {
		uint64_t count = run(seed, at, many, true, why);

		printf("seed %llu, allocation %llu of %llu: %s\n", (unsigned long long)seed, (unsigned long long)at,
		    (unsigned long long)count, why[0] ? why : "every promise kept");
		return why[0] != '\0';
	}
	shared = mmap(NULL, WORKERS * sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || step == 0)
		return 2;
	for (uint64_t s = from; s < from + seeds && !(expect && failed); s++) {
		sweep(s, step, many, shared);
		failed = 0;
		for (int i = 0; i < WORKERS; i++)
			failed += shared[i].failed;
	}
	for (int i = 0; i < WORKERS; i++)
		runs += shared[i].runs;
	printf("%s: %llu allocations failed in %llu seeds, %llu at a time, in %.1f s: %llu times something was wrong\n", label,
	    (unsigned long long)runs, (unsigned long long)seeds, (unsigned long long)many, cli_seconds() - begun, (unsigned long long)failed);
	if (expect) {
		printf("%s: %s\n", label, failed ? "the planted fault was found" : "THE PLANTED FAULT WAS NOT FOUND");
		return !failed;
	}
	return failed > 0;
}
