/* verb_disktest: is this folder's disk one for a journal? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "disktest.h"
#include "progress.h"

static const size_t sizes[] = { 1 << 10, 16 << 10, 128 << 10, 1 << 20 };

#define N_SIZES (sizeof(sizes) / sizeof(sizes[0]))

struct result {
	struct histogram h;
	uint64_t ns;
};

static const struct {
	const char *name, *text;
} verdicts[] = {
	[DISKTEST_OK] = { "ok", "the disk takes its time over a sync, as one does that writes" },
	[DISKTEST_IN_MEMORY] = { "memory", "this file system is in memory: nothing here survives a power cut, and the numbers say nothing about a disk" },
	[DISKTEST_LIES] = { "lies", "THE DISK SEEMS TO LIE: no disk syncs so fast. Something between here and it says \"synced\" before it is so: a cache "
	                            "without a battery, a virtual machine's setting. After a power cut confirmed messages can be missing" },
};

static void
show(struct out *o, bool json, const char *folder, const struct result *results, enum disktest_verdict v)
{
	o->format->begin(o, NULL);
	out_string(o, "folder", folder);
	out_string(o, "verdict", verdicts[v].name);
	o->format->begin_list(o, "writes", "Synced");
	for (size_t i = 0; i < N_SIZES; i++) {
		const struct histogram *h = &results[i].h;
		double seconds = (double)results[i].ns / 1e9;

		o->format->begin(o, NULL);
		out_number(o, "size", OUT_SIZE, sizes[i]);
		out_number(o, "syncs", OUT_NUMBER, h->n);
		out_real(o, "syncs_per_second", (double)h->n / seconds);
		out_number(o, "median", OUT_NANOS, histogram_at(h, 500));
		out_number(o, "p99", OUT_NANOS, histogram_at(h, 990));
		out_number(o, "max", OUT_NANOS, h->max);
		out_number(o, "bytes_per_second", OUT_SIZE, (uint64_t)((double)h->n * (double)sizes[i] / seconds));
		o->format->end(o);
	}
	o->format->end_list(o);
	if (json)
		out_string(o, "text", verdicts[v].text);
	o->format->end(o);
}

static int
print_line(const struct ctl *ctl, const char *text)
{
	puts(text);
	return ctl_print(ctl, "", 0);
}

static int
measure(struct ctl *ctl, const char *folder, uint64_t ms, struct result *results)
{
	struct disktest t;
	struct progress p;
	char why[200];
	int r = disktest_open(&t, folder, why);
	enum disktest_verdict v;
	struct out *o;

	if (r < 0)
		return ctl_fail(ctl, "%s", why);
	progress_init(&p);
	for (size_t i = 0; i < N_SIZES && r == 0; i++) {
		progress_show(&p, "writing %zu KiB at a time", sizes[i] >> 10);
		r = disktest_run(&t, sizes[i], ms * 1000000 / N_SIZES, &results[i].h, &results[i].ns);
	}
	progress_clear(&p);
	v = disktest_judge(t.in_memory, histogram_at(&results[0].h, 500));
	disktest_close(&t);
	if (r < 0)
		return ctl_fail(ctl, "%s: %s", folder, strerror(-r));
	o = ctl_output(ctl);
	show(o, ctl->json, folder, results, v);
	out_free(o);
	/* A cell of a table would cut it. */
	return ctl->json ? ctl_print(ctl, "", 0) : print_line(ctl, verdicts[v].text);
}

int
verb_disktest(struct ctl *ctl, int argc, char **argv)
{
	static const struct option own[] = { { "seconds", required_argument, NULL, 's' + 256 }, { NULL, 0, NULL, 0 } };
	struct result *results = calloc(N_SIZES, sizeof(*results));
	uint64_t seconds = 4;
	int c, r;

	if (results == NULL)
		return ctl_fail(ctl, "out of memory");
	while ((c = ctl_option(ctl, argc, argv, own)) != -1)
		seconds = ctl_count(ctl, "seconds", optarg);
	if (seconds == 0 || seconds > 3600)
		ctl_usage(ctl, "--seconds is 1 to 3600");
	ctl_arguments(ctl, argc, 1, 1);
	r = measure(ctl, argv[optind], seconds * 1000, results);
	free(results);
	return r;
}
