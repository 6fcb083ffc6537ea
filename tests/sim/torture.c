/*
 * torture: a store on a disk that loses what was not synced, crashed wherever
 * it can be.
 *
 *   torture --seeds N [--from N] | --seconds N | --seed N [--crash N] [--expect-violation] [--label TEXT]
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "torture_seed.h"
#include "world.h"

#define WORKERS 2

/* Shared by the workers. */
struct worker {
	struct seed_results sum;
	uint64_t running;     /* seed under way */
	uint64_t failed_seed; /* 0: none */
	uint64_t failed_crash;
	char violation[512];
};

/* One seed: find what fails first, then once more, readable. */
static int
replay(uint64_t seed, uint64_t crash)
{
	struct seed_results r = { 0 };

	if (crash == UINT64_MAX) {
		if (seed_run(seed, UINT64_MAX, false, &r)) {
			printf("seed %llu: every promise kept in %llu crash states\n", (unsigned long long)seed, (unsigned long long)r.states);
			return 0;
		}
		crash = r.crash;
	}
	if (seed_run(seed, crash, true, &r)) {
		printf("seed %llu, crash %llu: every promise kept\n", (unsigned long long)seed, (unsigned long long)crash);
		return 0;
	}
	printf("seed %llu, crash %llu: %s\n", (unsigned long long)seed, (unsigned long long)r.crash, world_violated());
	return 1;
}

static void
work(struct worker *all, int self, uint64_t from, uint64_t seeds, double until)
{
	struct worker *w = &all[self];

	for (uint64_t n = (uint64_t)self; seeds ? n < seeds : cli_seconds() < until; n += WORKERS) {
		bool other_failed = false;

		for (int k = 0; k < WORKERS; k++)
			other_failed |= __atomic_load_n(&all[k].failed_seed, __ATOMIC_RELAXED) != 0;
		if (other_failed)
			return;
		w->running = from + n;
		if (!seed_run(from + n, UINT64_MAX, false, &w->sum)) {
			w->failed_crash = w->sum.crash;
			snprintf(w->violation, sizeof(w->violation), "%s", world_violated());
			__atomic_store_n(&w->failed_seed, from + n, __ATOMIC_RELAXED);
			return;
		}
		w->running = 0;
	}
}

static void
add(struct seed_results *sum, const struct seed_results *r)
{
	sum->seeds += r->seeds;
	sum->messages += r->messages;
	sum->appends += r->appends;
	sum->calls += r->calls;
	sum->moments += r->moments;
	sum->states += r->states;
	sum->unsynced += r->unsynced;
	sum->starts += r->starts;
	sum->refused += r->refused;
}

/* True: everything was well. */
static bool
report(const struct worker *all, bool died, const char *label, double took)
{
	struct seed_results sum = { 0 };
	const struct worker *first = NULL;

	for (int k = 0; k < WORKERS; k++) {
		add(&sum, &all[k].sum);
		if (died && all[k].running && !all[k].failed_seed)
			printf("%s: seed %llu crash %llu: the process died\n", label, (unsigned long long)all[k].running,
			    (unsigned long long)all[k].sum.crash);
		if (all[k].failed_seed && (!first || all[k].failed_seed < first->failed_seed))
			first = &all[k];
	}
	if (sum.seeds > 0) {
		double n = (double)sum.seeds;

		printf("%s: %.0f seeds in %.1f s, %.0f crash states a second; on average %.0f messages, %.0f appends, %.0f disk calls, "
		       "%.0f moments, %.0f crash states (%.0f with something not synced), %.0f starts (%.0f refused)\n",
		    label, n, took, (double)sum.states / took, (double)sum.messages / n, (double)sum.appends / n, (double)sum.calls / n,
		    (double)sum.moments / n, (double)sum.states / n, (double)sum.unsynced / n, (double)sum.starts / n, (double)sum.refused / n);
	}
	if (first)
		printf("%s: seed %llu crash %llu: %s\n", label, (unsigned long long)first->failed_seed,
		    (unsigned long long)first->failed_crash, first->violation);
	return !died && !first;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = { { "seed", 1, NULL, 's' }, { "seeds", 1, NULL, 'n' }, { "from", 1, NULL, 'f' },
		{ "seconds", 1, NULL, 't' }, { "crash", 1, NULL, 'c' }, { "expect-violation", 0, NULL, 'x' }, { "label", 1, NULL, 'l' },
		{ NULL, 0, NULL, 0 } };
	uint64_t seed = 0, seeds = 0, from = 1, crash = UINT64_MAX;
	double limit = 10, begun;
	bool expect = false, died = false, good;
	const char *label = "torture";
	struct worker *all;
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
		case 'c':
			crash = cli_number(optarg);
			break;
		case 'x':
			expect = true;
			break;
		case 'l':
			label = optarg;
			break;
		default:
			fprintf(stderr, "usage: torture --seeds N [--from N] | --seconds N | --seed N [--crash N] [--expect-violation] "
					"[--label TEXT]\n");
			return 2;
		}
	}
	if (seed)
		return replay(seed, crash);
	all = mmap(NULL, WORKERS * sizeof(*all), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		return 1;
	begun = cli_seconds();
	for (int k = 0; k < WORKERS; k++) {
		pid_t pid = fork();

		if (pid < 0)
			return 1;
		if (pid > 0) {
			left++;
			continue;
		}
		work(all, k, from, seeds, begun + limit);
		exit(0);
	}
	for (int status; left > 0; left--) {
		if (wait(&status) < 0 || status != 0)
			died = true; /* an assertion, a sanitizer */
	}
	good = report(all, died, label, cli_seconds() - begun);
	if (!expect)
		return !good;
	printf("%s: %s\n", label, good ? "THE PLANTED FAULT WAS NOT FOUND" : "the planted fault was found");
	return good;
}
