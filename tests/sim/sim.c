/*
 * sim: schedules of faults against whole simulated clusters, one seed each.
 *
 *   sim --seeds N [--from N] | --seconds N | --seed N [--expect-violation] [--label TEXT]
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actors.h"
#include "cli.h"
#include "ledger.h"
#include "sim_disk.h"
#include "sim_doors.h"
#include "world.h"

#define SECOND 1000000000u
#define FAULT_TIME (4 * (uint64_t)SECOND) /* on average */
#define REST_TIME (300 * (uint64_t)SECOND)
#define DRAIN_TIME (2 * (uint64_t)SECOND) /* for what is done to be written, and a full disk to be tried again */
#define WORKERS 2

/* Shared by the workers. */
struct results {
	uint64_t schedules, daemons, clients, messages, faults, steps;
	struct actors_counts counts;
	uint64_t running;     /* seed under way */
	uint64_t failed_seed; /* the lowest; 0: none */
	char violation[512];
};

static void
add_counts(struct actors_counts *to, const struct actors_counts *c)
{
	to->power_cuts += c->power_cuts;
	to->full += c->full;
	to->fenced += c->fenced;
	to->failed_starts += c->failed_starts;
	to->cold += c->cold;
}

/* One schedule. True: every promise was kept. */
static bool
run(uint64_t seed, bool trace, struct results *r)
{
	uint64_t next, stop, faults = 0;

	r->running = seed;
	world_start(seed, trace);
	sim_net_reset();
	sim_disk_reset();
	ledger_start();
	actors_start();
	stop = world_now() + FAULT_TIME / 2 + world_below(FAULT_TIME);
	while (world_now() < stop && !world_violated()) {
		next = world_now() + world_below(SECOND);
		while (world_step(next < stop ? next : stop) && !world_violated())
			;
		if (world_now() < stop) {
			if (faults == 0)
				actors_check_calm();
			actors_fault();
			faults++;
		}
		actors_check_limits();
	}
	actors_heal();
	stop = world_now() + REST_TIME;
	while (!world_violated() && !actors_at_rest()) {
		next = world_now() + SECOND / 4;
		while (world_step(next) && !world_violated())
			;
		actors_check_limits();
		if (world_now() > stop) {
			world_violation("not at rest %u s after the last fault: %zu messages open", (unsigned)(REST_TIME / SECOND),
			    ledger_open());
			ledger_trace_open();
			actors_trace();
		}
	}
	if (!world_violated())
		ledger_end();
	if (!world_violated()) {
		for (stop = world_now() + DRAIN_TIME; world_step(stop) && !world_violated();)
			;
		actors_check_limits();
		actors_check_drained();
	}
	r->schedules++;
	r->daemons += actors_n_daemons();
	r->clients += actors_n_clients();
	r->messages += ledger_messages();
	r->faults += faults;
	r->steps += world_steps();
	add_counts(&r->counts, actors_counts());
	if (world_violated() && (r->failed_seed == 0 || seed < r->failed_seed)) {
		r->failed_seed = seed;
		snprintf(r->violation, sizeof(r->violation), "%s", world_violated());
	}
	actors_end();
	sim_net_reset();
	world_end();
	r->running = 0;
	return !world_violated();
}

int
main(int argc, char **argv)
{
	static const struct option options[] = { { "seed", 1, NULL, 's' }, { "seeds", 1, NULL, 'n' }, { "from", 1, NULL, 'f' },
		{ "seconds", 1, NULL, 't' }, { "expect-violation", 0, NULL, 'x' }, { "label", 1, NULL, 'l' },
		{ NULL, 0, NULL, 0 } };
	uint64_t seed = 0, seeds = 0, from = 1;
	double limit = 10, begun, took;
	bool expect = false, failed = false;
	const char *label = "sim";
	struct results *shared, sum = { 0 };
	int o, left = 0;

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
		case 't':
			limit = (double)cli_number(optarg);
			break;
		case 'x':
			expect = true;
			break;
		case 'l':
			label = optarg;
			break;
		default:
			fprintf(stderr, "usage: sim --seeds N [--from N] | --seconds N | --seed N [--expect-violation] [--label TEXT]\n");
			return 2;
		}
	}
	if (seed) {
		bool ok = run(seed, true, &sum);

		printf("seed %llu: %s\n", (unsigned long long)seed, ok ? "every promise kept" : sum.violation);
		return !ok;
	}
	shared = mmap(NULL, WORKERS * sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 1;
	begun = cli_seconds();
	for (int w = 0; w < WORKERS; w++) {
		pid_t pid = fork();

		if (pid < 0)
			return 1;
		if (pid > 0) {
			left++;
			continue;
		}
		for (uint64_t n = (uint64_t)w; seeds ? n < seeds : cli_seconds() - begun < limit; n += WORKERS) {
			bool other_failed = false;

			for (int k = 0; k < WORKERS; k++)
				other_failed |= __atomic_load_n(&shared[k].failed_seed, __ATOMIC_RELAXED) != 0;
			if (!run(from + n, false, &shared[w]) || other_failed)
				break;
		}
		exit(0);
	}
	for (int status; left > 0; left--) {
		if (wait(&status) < 0 || status != 0)
			failed = true; /* a worker died: an assertion, a sanitizer */
	}
	took = cli_seconds() - begun;
	for (int w = 0; w < WORKERS; w++) {
		const struct results *r = &shared[w];

		sum.schedules += r->schedules;
		sum.daemons += r->daemons;
		sum.clients += r->clients;
		sum.messages += r->messages;
		sum.faults += r->faults;
		sum.steps += r->steps;
		add_counts(&sum.counts, &r->counts);
		if (failed && r->running && !r->failed_seed)
			printf("%s: seed %llu: the process died\n", label, (unsigned long long)r->running);
		if (r->failed_seed && (!sum.failed_seed || r->failed_seed < sum.failed_seed)) {
			sum.failed_seed = r->failed_seed;
			memcpy(sum.violation, r->violation, sizeof(sum.violation));
		}
	}
	if (sum.schedules > 0) {
		double n = (double)sum.schedules;

		printf("%s: %llu schedules in %.1f s, %.0f schedules a minute; on average %.1f daemons, %.1f clients, %.0f messages, "
		       "%.1f faults\n",
		    label, (unsigned long long)sum.schedules, took, n / took * 60, (double)sum.daemons / n, (double)sum.clients / n,
		    (double)sum.messages / n, (double)sum.faults / n);
		printf("%s: %llu power cuts, %llu full disks, %llu failed journals, %llu failed starts, %llu messages seen on disk alone\n",
		    label, (unsigned long long)sum.counts.power_cuts, (unsigned long long)sum.counts.full,
		    (unsigned long long)sum.counts.fenced, (unsigned long long)sum.counts.failed_starts,
		    (unsigned long long)sum.counts.cold);
	}
	if (sum.failed_seed)
		printf("%s: seed %llu: %s\n", label, (unsigned long long)sum.failed_seed, sum.violation);
	failed |= sum.failed_seed != 0;
	if (expect) {
		printf("%s: %s\n", label, failed ? "the planted fault was found" : "THE PLANTED FAULT WAS NOT FOUND");
		return !failed;
	}
	return failed;
}
