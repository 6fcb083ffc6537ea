/* torture_seed: see torture_seed.h. */
#include "torture_seed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim_disk.h"
#include "torture_life.h"
#include "vdisk.h"
#include "world.h"

#define MS 1000000u
#define VARIANTS 3 /* of a crash: the process, the power twice */
#define APPENDS_MAX 700
#define LOOP_STARTS 8

typedef unsigned long long ull;

/* A moment of the run at which it could have crashed. */
struct moment {
	struct vdisk *disk;
	struct life_tips tips;
	uint64_t ms;
	uint64_t call;
};

static struct {
	struct life_settings set;
	struct sim_disk_machine *machine;
	uint64_t seed;
	struct moment *moments;
	size_t n, cap;
	uint64_t stamp; /* of the last moment's disk */
	struct seed_results *r;
} run;

/* ------------------------------------------------------------------ moments -- */

static void
remember(void *arg)
{
	struct vdisk *v = sim_disk_vdisk(run.machine);
	struct life_tips tips = life_tips();
	const struct moment *last = run.n > 0 ? &run.moments[run.n - 1] : NULL;

	(void)arg;
	if (last && run.stamp == vdisk_stamp(v) && last->tips.least == tips.least && last->tips.most == tips.most)
		return;
	run.stamp = vdisk_stamp(v);
	if (run.n == run.cap) {
		run.cap = run.cap ? 2 * run.cap : 1024;
		run.moments = realloc(run.moments, run.cap * sizeof(*run.moments));
		if (!run.moments)
			abort();
	}
	world_trace("-- moment %zu: disk call %llu, appends %u to %u", run.n, (ull)sim_disk_calls(run.machine), tips.least, tips.most);
	run.moments[run.n++] = (struct moment){ .disk = vdisk_clone(v), .tips = tips, .ms = world_ms(), .call = sim_disk_calls(run.machine) };
}

static void
forget(void)
{
	for (size_t i = 0; i < run.n; i++)
		vdisk_free(run.moments[i].disk);
	run.n = 0;
	run.stamp = 0;
}

/* ------------------------------------------------------------------ restarts -- */

static void
trace_files(void)
{
	struct vdisk *v = sim_disk_vdisk(run.machine);
	const char *name = NULL;

	while (world_tracing() && (name = vdisk_next(v, STORE_FOLDER "/", name)) != NULL)
		world_trace("    %s: %llu bytes, %llu of blocks", name, (ull)vdisk_size(v, vdisk_find(v, name, false)),
		    (ull)vdisk_used(v, name));
}

static void
crash(bool power)
{
	struct sim_disk_faults *f = sim_disk_faults(run.machine);

	*f = (struct sim_disk_faults){ 0 };
	if (power) {
		world_trace("CRASH: the power is cut");
		sim_disk_power_cut(run.machine, world_random());
	} else {
		world_trace("CRASH: the process is gone");
		sim_disk_kill(run.machine);
		if (world_chance(30)) {
			world_trace("the page cache is dropped");
			vdisk_evict(sim_disk_vdisk(run.machine));
		}
	}
	trace_files();
}

static struct life *
start(struct life_tips tips, int *ret_error)
{
	struct life *l = life_open(&run.set, tips.least, tips.most, ret_error);

	run.r->starts++;
	run.r->refused += !l && *ret_error < 0;
	return l;
}

/* It must start: nothing is wrong with the disk. */
static struct life *
start_well(struct life_tips tips)
{
	int error;
	struct life *l = start(tips, &error);

	if (!l && !world_violated() && !sim_disk_is_dead(run.machine))
		world_violation("store_open gives %d, and the disk is well", error);
	return l;
}

/* ------------------------------------------------------------ after a crash -- */

/* Starts that end at once, on a disk with room for the files that are there and two more: none may be refused. */
static struct life_tips
crash_loop(struct life_tips tips)
{
	struct vdisk *v = sim_disk_vdisk(run.machine);
	const char *name = NULL;
	uint64_t n = 2;

	world_trace("a crash loop on a disk that is nearly full");
	while ((name = vdisk_next(v, STORE_FOLDER "/", name)) != NULL)
		n++;
	vdisk_set_limit(v, n * run.set.segment);
	for (unsigned i = 0; i < LOOP_STARTS && !world_violated(); i++) {
		struct life *l = start_well(tips);

		if (!l)
			return tips;
		tips = life_tips();
		life_free(l);
		crash(world_chance(50));
	}
	vdisk_set_limit(v, 0);
	return tips;
}

/* A start with something against it. What may be found next. */
static struct life_tips
hard_start(struct life_tips tips)
{
	struct sim_disk_faults *f = sim_disk_faults(run.machine);
	struct vdisk *v = sim_disk_vdisk(run.machine);
	uint64_t dice = world_below(100);
	struct life *l;
	int error;

	if (dice < 60)
		f->crash = 1 + world_below(world_chance(50) ? 25 : 120);
	else if (dice < 70)
		f->fail[SIM_DISK_SYNC] = 1 + world_below(6);
	else if (dice < 76)
		f->fail[SIM_DISK_WRITE] = 1 + world_below(6);
	else if (dice < 82)
		f->fail[SIM_DISK_READ] = 1 + world_below(world_chance(50) ? 60 : 20);
	else if (dice < 86)
		f->fail[SIM_DISK_ALLOCATE] = 1 + world_below(4);
	else if (dice < 90)
		f->fail[SIM_DISK_NAME] = 1 + world_below(world_chance(50) ? 60 : 20);
	else
		vdisk_set_limit(v, vdisk_used(v, NULL) + world_below(3 * run.set.segment));
	l = start(tips, &error);
	if (l) {
		if (world_chance(70))
			life_work(l, 1 + (unsigned)world_below(20));
		if (life_is_fenced(l))
			life_end_reads(l);
		tips = life_tips();
		life_free(l);
	}
	crash(world_chance(60));
	vdisk_set_limit(sim_disk_vdisk(run.machine), 0);
	return tips;
}

/* Everything behind one crash. */
static void
after(const struct moment *m, unsigned variant)
{
	struct life_tips tips = m->tips;
	struct life *l;
	unsigned hard = world_chance(45) ? 1 + (unsigned)world_below(3) : 0;

	sim_disk_set_vdisk(run.machine, vdisk_clone(m->disk));
	vdisk_set_limit(sim_disk_vdisk(run.machine), 0);
	crash(variant > 0);
	run.r->states++;
	run.r->unsynced += tips.least != tips.most;
	if (world_chance(5))
		tips = crash_loop(tips);
	for (; hard > 0 && !world_violated(); hard--) {
		tips = hard_start(tips);
		run.r->states++;
		run.r->unsynced += tips.least != tips.most;
	}
	if (world_violated())
		return;
	l = start_well(tips);
	if (!l)
		return;
	life_read_all(l);
	if (world_chance(30))
		life_work(l, (unsigned)world_below(30));
	if (world_chance(5))
		life_drain(l);
	life_free(l);
}

/* ------------------------------------------------------------------ the run -- */

static struct life *
restart(struct life *l)
{
	struct life_tips tips;

	/* At times in good order: everything is synced first. */
	if (life_is_fenced(l))
		life_end_reads(l);
	else if (world_chance(30))
		life_settle(l);
	tips = life_tips();
	life_free(l);
	if (world_violated())
		return NULL;
	crash(world_chance(50));
	return start_well(tips);
}

/* The file system is full for a while. Done is done all the same, and then everything goes on by itself. */
static void
full_disk(struct life *l)
{
	struct vdisk *v = sim_disk_vdisk(run.machine);

	vdisk_set_limit(v, vdisk_used(v, NULL) + world_below(2 * run.set.segment));
	world_trace("FAULT: the file system has no space");
	life_work(l, 10 + (unsigned)world_below(30));
	if (world_chance(50))
		life_work_off(l, 10 + (unsigned)world_below(30));
	world_trace("the file system has space again");
	vdisk_set_limit(v, 0);
	life_settle(l);
}

static void
the_run(void)
{
	struct sim_disk_faults *f = sim_disk_faults(run.machine);
	struct life *l = start_well((struct life_tips){ 0, 0 });
	unsigned left = 300 + (unsigned)world_below(200);

	while (l && left > 0 && !world_violated() && model_size().appends < APPENDS_MAX) {
		unsigned steps = 20 + (unsigned)world_below(60);
		uint64_t dice = world_below(100);

		left -= steps < left ? steps : left;
		if (dice < 60) {
			life_work(l, steps);
		} else if (dice < 72) {
			/* The journal is full, which is not the disk's business: what is done must get through. */
			if (world_chance(40)) {
				life_overfill(l);
				life_relieve(l);
			} else {
				life_fill(l);
			}
			life_work_off(l, steps);
			life_settle(l);
		} else if (dice < 80) {
			full_disk(l);
		} else if (dice < 90) {
			l = restart(l);
		} else if (dice < 96) {
			world_trace("FAULT: a call will fail");
			f->fail[dice < 94 ? SIM_DISK_SYNC : SIM_DISK_WRITE] = 1 + world_below(10);
			life_work(l, steps);
			*f = (struct sim_disk_faults){ 0 };
			if (life_is_fenced(l))
				l = restart(l);
		}
		if (l && life_is_fenced(l))
			l = restart(l);
	}
	if (l && !world_violated())
		life_read_all(l);
	if (l && !world_violated())
		life_drain(l);
	if (l)
		life_free(l);
}

static void
draw_settings(void)
{
	static const uint64_t segments[] = { STORE_SEGMENT_MIN, STORE_SEGMENT_MIN, STORE_SEGMENT_MIN, 128u << 10, 256u << 10 };

	run.set = (struct life_settings){ .segment = segments[world_below(5)], .medium = 5, .copies = 10 };
	run.set.max_disk = run.set.segment * (STORE_HELD_BACK + 4 + world_below(world_chance(50) ? 4 : 24));
	if (world_chance(25))
		run.set.medium = 40;
	if (world_chance(25))
		run.set.large = 6;
}

bool
seed_run(uint64_t seed, uint64_t only_crash, bool trace, struct seed_results *r)
{
	bool is_all = only_crash == UINT64_MAX, is_good;
	struct model_size size;

	run.seed = seed;
	run.r = r;
	r->crash = 0;
	model_reset();
	world_start(seed, trace && only_crash == 0);
	sim_disk_reset();
	run.machine = sim_disk_machine(LIFE_MACHINE);
	vdisk_seed(sim_disk_vdisk(run.machine), seed);
	draw_settings();
	world_trace("segments of %llu bytes, %llu in all", (ull)run.set.segment, (ull)run.set.max_disk);
	life_count_starts(0);
	sim_disk_watch(run.machine, remember, NULL);
	the_run();
	sim_disk_watch(run.machine, NULL, NULL);
	r->calls += sim_disk_calls(run.machine);
	r->moments += run.n;
	size = model_size();
	r->appends += size.appends - 1;
	r->messages += size.messages - 1;
	world_end();
	for (size_t i = 0; i < run.n * VARIANTS && !world_violated(); i++) {
		const struct moment *m = &run.moments[i / VARIANTS];

		if (!is_all && only_crash != i + 1)
			continue;
		r->crash = i + 1;
		world_start(seed * 1000003 + i, trace);
		world_step(world_now() + (m->ms - world_ms()) * MS);
		*sim_disk_faults(run.machine) = (struct sim_disk_faults){ 0 };
		life_count_starts(1000);
		world_trace("crash %zu: at disk call %llu of the run, segments of %llu bytes, %llu in all", i + 1, (ull)m->call,
		    (ull)run.set.segment, (ull)run.set.max_disk);
		after(m, i % VARIANTS);
		world_end();
		model_shrink(size);
	}
	is_good = !world_violated();
	forget();
	r->seeds++;
	return is_good;
}
