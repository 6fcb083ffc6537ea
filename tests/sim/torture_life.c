/* torture_life: opening, what the store tells, waiting, reading, the end. What is done meanwhile is in torture_acts.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "loop.h"
#include "sim_disk.h"
#include "task.h"
#include "store.h"
#include "torture_internal.h"
#include "vdisk.h"
#include "world.h"

#define MS 1000000u
#define PATIENCE_MS 60000

typedef unsigned long long ull;

/* One life at a time. */
static struct life_tips tips;

struct life_tips
life_tips(void)
{
	return tips;
}

void
life_appended(struct life *l, const struct append *a)
{
	l->tip = model_append(l->tip, a);
	tips.most = l->tip;
	model_apply(&l->state, a);
}

bool
life_goes_on(const struct life *l)
{
	return !world_violated() && !sim_disk_is_dead(l->machine);
}

static uint64_t
n_failed(const struct sim_disk_machine *m)
{
	uint64_t n = 0;

	for (int k = 0; k < SIM_DISK_CALLS; k++)
		n += sim_disk_failed(m, (enum sim_disk_call)k);
	return n;
}

/* ---------------------------------------------------------- what it tells -- */

static void
on_synced(void *arg, uint64_t ticket)
{
	struct life *l = arg;
	uint32_t tip = l->tip;

	if (sim_disk_is_dead(l->machine))
		return;
	if (ticket > store_ticket(l->s))
		world_violation("synced up to ticket %llu, only %llu were given", (ull)ticket, (ull)store_ticket(l->s));
	if (ticket < l->synced)
		world_violation("synced up to ticket %llu, after %llu", (ull)ticket, (ull)l->synced);
	if (ticket > l->synced && l->is_fenced)
		world_violation("synced up to ticket %llu, told after the store was fenced", (ull)ticket);
	/* Not so a write: one that failed may have been of something that only saves time. */
	if (sim_disk_failed(l->machine, SIM_DISK_SYNC) > l->failed_before) {
		if (!l->failed_ticket)
			l->failed_ticket = store_ticket(l->s);
		else if (ticket > l->failed_ticket)
			world_violation("ticket %llu was given after a sync failed, and synced", (ull)ticket);
	}
	l->synced = ticket;
	/* What was appended in this life, up to that ticket. */
	while (tip != l->base && model_get(tip)->ticket > ticket)
		tip = model_get(tip)->before;
	tips.least = tip;
	world_trace("synced up to ticket %llu, append %u", (ull)ticket, tip);
}

static void
on_state(void *arg, enum store_state st, const char *why)
{
	struct life *l = arg;

	world_trace("the store is %s: %s", st == STORE_OPEN ? "open" : st == STORE_FULL ? "full" : "fenced", why ? why : "");
	if (sim_disk_is_dead(l->machine))
		return;
	if (l->is_fenced)
		world_violation("the store was fenced, and then changed its state");
	l->is_fenced = st == STORE_FENCED;
	l->is_full = st == STORE_FULL;
	if (l->is_fenced && n_failed(l->machine) == l->any_failed_before)
		world_violation("the store is fenced, and no call of the disk had failed: %s", why ? why : "");
}

static void
on_room(void *arg)
{
	struct life *l = arg;

	l->wants_room = false;
}

static void
on_damaged(void *arg, const char *what)
{
	struct life *l = arg;

	world_trace("damaged: %s", what);
	l->found.is_damaged = true;
	/* Calls fail once. */
	if (l->s && life_goes_on(l))
		world_violation("told of damage, and there is none: %s", what);
}

/* -------------------------------------------------------- what it has found -- */

static void
found_queue(void *arg, uint32_t queue, uint64_t last_seq, uint64_t offered, struct store_bytes definition)
{
	struct model_found *f = &((struct life *)arg)->found;

	if (queue == 0 || queue >= MODEL_NUMBERS) {
		world_violation("found queue %u", queue);
		return;
	}
	if (queue >= f->n_queues)
		f->n_queues = queue + 1;
	if (f->queues[queue].exists || f->n > 0)
		world_violation("queue %u is told twice, or behind messages", queue);
	f->queues[queue] = (struct model_queue){ .exists = true, .low = last_seq, .offered = offered,
		.definition = model_read_definition(definition) };
	if (f->queues[queue].definition == 0)
		world_violation("the definition of queue %u was never given (%zu bytes)", queue, definition.len);
}

static void
found_flow(void *arg, uint32_t flow, uint64_t mark, struct store_bytes definition)
{
	struct model_found *f = &((struct life *)arg)->found;

	if (flow == 0 || flow >= MODEL_NUMBERS) {
		world_violation("found flow %u", flow);
		return;
	}
	if (flow >= f->n_flows)
		f->n_flows = flow + 1;
	if (f->flows[flow].exists || f->n > 0)
		world_violation("flow %u is told twice, or behind messages", flow);
	f->flows[flow] = (struct model_flow){ .exists = true, .mark = mark, .definition = model_read_definition(definition) };
	if (f->flows[flow].definition == 0)
		world_violation("the definition of flow %u was never given (%zu bytes)", flow, definition.len);
}

static void
found_message(void *arg, const struct store_found *m)
{
	struct model_found *f = &((struct life *)arg)->found;

	if (f->n == f->cap) {
		f->cap = f->cap ? 2 * f->cap : 256;
		f->messages = realloc(f->messages, f->cap * sizeof(*f->messages));
		if (!f->messages)
			abort();
	}
	f->messages[f->n++] = *m;
}

static void
take_over(struct life *l)
{
	for (size_t i = 0; i < l->found.n; i++)
		*life_ref(l, (uint32_t)l->found.messages[i].counter) = l->found.messages[i].ref;
}

store_ref *
life_ref(struct life *l, uint32_t message)
{
	if (message >= l->n_refs) {
		l->n_refs = message + 256;
		l->refs = realloc(l->refs, l->n_refs * sizeof(*l->refs));
		if (!l->refs)
			abort();
	}
	return &l->refs[message];
}

/* ------------------------------------------------------------ begin and end -- */

/* Large, and the same for every life: kept. */
static struct life the_life;

void
life_count_starts(uint32_t starts)
{
	the_life.starts = starts;
}

struct life *
life_open(const struct life_settings *set, uint32_t least, uint32_t most, int *ret_error)
{
	struct life *l = &the_life;
	const struct store_recovery found = { .queue = found_queue, .flow = found_flow, .message = found_message, .arg = l };
	const struct store_events ev = { .synced = on_synced, .state = on_state, .room = on_room, .damaged = on_damaged, .arg = l };
	struct store_config cfg = { .segment = set->segment, .max_disk = set->max_disk, .start_count = ++l->starts };
	char why[200] = "";
	uint32_t tip;

	l->set = *set;
	l->machine = sim_disk_machine(LIFE_MACHINE);
	l->s = NULL;
	l->is_fenced = l->is_full = l->wants_room = l->is_over = false;
	l->synced = l->failed_ticket = 0;
	l->group = 0;
	l->n_bodies = 0;
	l->n_reads = 0;
	l->body_bytes = 0;
	l->any_failed_before = n_failed(l->machine);
	l->failed_before = sim_disk_failed(l->machine, SIM_DISK_SYNC);
	model_found_reset(&l->found);
	tips = (struct life_tips){ least, most };
	l->loop = loop_new();
	sim_loop_jump(l->loop, LIFE_BOOT_AHEAD_MS, 0);
	l->writer = task_runner_new(l->loop);
	l->reader = task_runner_new(l->loop);
	if (disk_open(LIFE_MACHINE, true, &l->disk) != 0)
		abort();
	cfg.loop = l->loop;
	cfg.disk = l->disk;
	cfg.writer = l->writer;
	cfg.reader = l->reader;
	world_trace("start %u", cfg.start_count);
	*ret_error = store_open(&cfg, &found, &ev, &l->s, why);
	if (*ret_error != 0) {
		world_trace("it does not start: %s (%s)", why, strerror(-*ret_error));
		l->s = NULL;
		if (*ret_error > 0 || memchr(why, 0, sizeof(why)) == why)
			world_violation("store_open gives %d, and says '%s'", *ret_error, why);
		life_free(l);
		return NULL;
	}
	world_trace("found %zu messages", l->found.n);
	/* Whatever it makes of that. */
	if (sim_disk_is_dead(l->machine)) {
		life_free(l);
		return NULL;
	}
	/* A call that fails once must not cost anything: then it does not start. */
	if (l->found.is_damaged) {
		world_violation("recovery tells of damage, and there was none");
		life_free(l);
		return NULL;
	}
	l->base = l->tip = least;
	tip = model_check(&l->state, &l->found, least, most, LIFE_BOOT_AHEAD_MS);
	if (tip == UINT32_MAX) {
		life_free(l);
		return NULL;
	}
	world_trace("found append %u of %u to %u", tip, least, most);
	l->base = l->tip = tip;
	l->synced = l->last_ticket = store_ticket(l->s);
	if (store_synced(l->s) != l->synced)
		world_violation("a store that was just opened has ticket %llu and %llu synced", (ull)l->synced, (ull)store_synced(l->s));
	tips = (struct life_tips){ tip, tip };
	take_over(l);
	return l;
}

void
life_free(struct life *l)
{
	for (unsigned i = 0; i < l->n_bodies && l->s; i++)
		store_body_drop(l->bodies[i].body);
	l->n_bodies = 0;
	/* Tasks first, as the daemon does it: they are not told any more. */
	task_runner_free(l->writer);
	task_runner_free(l->reader);
	store_free(l->s);
	for (unsigned i = 0; i < LIFE_READS; i++)
		l->reads[i].message = 0;
	loop_free(l->loop);
	disk_close(l->disk);
	l->s = NULL;
}

bool
life_is_fenced(const struct life *l)
{
	return l->is_fenced;
}

/* It may not have been told yet. */
bool
life_fences(const struct life *l)
{
	struct store_stats st;

	store_stats(l->s, &st);
	return st.state == STORE_FENCED;
}

bool
life_is_full(const struct life *l)
{
	return l->is_full;
}

/* ------------------------------------------------------------------ waiting -- */

static void
check_size(const struct life *l, unsigned more)
{
	uint64_t used = vdisk_used(sim_disk_vdisk(l->machine), STORE_FOLDER "/");

	if (used > l->set.max_disk + more * l->set.segment)
		world_violation("the journal takes %llu bytes, %llu are allowed", (ull)used, (ull)l->set.max_disk);
}

bool
life_pass(struct life *l, uint64_t ns)
{
	uint64_t until = world_now() + ns;

	while (life_goes_on(l) && world_step(until))
		;
	/* Starts that end soon take a segment each, and nobody had the time to clean up. */
	check_size(l, STORE_HELD_BACK);
	return life_goes_on(l);
}

bool
life_settle(struct life *l)
{
	uint64_t until = world_ms() + PATIENCE_MS;

	store_hurry(l->s);
	while (life_goes_on(l) && !l->is_fenced && store_synced(l->s) < store_ticket(l->s)) {
		life_pass(l, MS);
		/* Nobody can wait for that. */
		if (l->is_over || (l->is_full && vdisk_limit(sim_disk_vdisk(l->machine)) != 0))
			return life_goes_on(l);
		if (world_ms() > until) {
			struct store_stats st;

			store_stats(l->s, &st);
			world_violation("ticket %llu is not synced after %u s, %llu is; state %d (%s), %u of %u segments free, %llu bytes live",
			    (ull)store_ticket(l->s), PATIENCE_MS / 1000, (ull)store_synced(l->s), st.state, st.why, st.free_segments, st.segments,
			    (ull)st.live_bytes);
		}
	}
	if (life_goes_on(l) && l->synced != store_synced(l->s) && !l->is_fenced)
		life_pass(l, MS);
	return life_goes_on(l);
}

/* ------------------------------------------------------------------ reading -- */

static void
read_done(struct store_read *r, int error)
{
	struct life_read *lr = (struct life_read *)(void *)((char *)r - offsetof(struct life_read, read));
	struct life *l = lr->life;
	uint32_t message = lr->message;
	uint8_t buf[256];

	lr->message = 0;
	l->n_reads--;
	if (sim_disk_is_dead(l->machine)) {
		if (error == 0)
			free(r->memory);
		return;
	}
	if (error == -ECANCELED) {
		if (!lr->was_done)
			world_violation("reading message %u was cancelled, and it was not done", message);
		return;
	}
	if (error < 0) {
		world_trace("reading message %u fails: %s", message, strerror(-error));
		if (error != -ESHUTDOWN || !life_fences(l))
			world_violation("message %u cannot be read: %s", message, strerror(-error));
		return;
	}
	if (lr->was_done) {
		world_violation("reading message %u succeeds after it was done", message);
		free(r->memory);
		return;
	}
	for (unsigned i = 0; i < STORE_PARTS; i++) {
		struct store_bytes want = model_part(message, &l->state.places[message], i, buf);

		/* A note may have come while it was read. */
		if (i == STORE_NOTE && l->state.places[message].note != lr->note)
			continue;
		if (r->parts[i].len != want.len || (want.len > 0 && memcmp(r->parts[i].data, want.data, want.len) != 0))
			world_violation("message %u: part %u has other bytes (%zu, put with %zu)", message, i, r->parts[i].len, want.len);
	}
	free(r->memory);
}

void
life_read(struct life *l, uint32_t message)
{
	struct life_read *lr = NULL;
	int r;

	for (unsigned i = 0; i < LIFE_READS && !lr; i++)
		if (l->reads[i].message == 0)
			lr = &l->reads[i];
	if (!lr)
		return;
	*lr = (struct life_read){ .life = l, .message = message, .note = l->state.places[message].note, .read.done = read_done };
	l->n_reads++;
	r = store_read(l->s, *life_ref(l, message), &lr->read);
	if (r == 0)
		return;
	lr->message = 0;
	l->n_reads--;
	if (r == -ESHUTDOWN && life_fences(l))
		return;
	if (r != -EAGAIN)
		world_violation("store_read of message %u gives %d", message, r);
	else if (l->n_reads == 0)
		world_violation("store_read gives -EAGAIN, and no read is under way");
}

bool
life_end_reads(struct life *l)
{
	uint64_t until = world_ms() + PATIENCE_MS;

	while (life_goes_on(l) && l->n_reads > 0 && world_ms() < until)
		life_pass(l, MS);
	if (life_goes_on(l) && l->n_reads > 0)
		world_violation("%u reads do not end", l->n_reads);
	return life_goes_on(l);
}

bool
life_read_all(struct life *l)
{
	uint64_t until = world_ms() + PATIENCE_MS;

	for (uint32_t m = 1; m < l->state.n_places && life_goes_on(l); m++) {
		if (!l->state.places[m].live)
			continue;
		while (life_goes_on(l) && l->n_reads == LIFE_READS && world_ms() < until)
			life_pass(l, MS);
		life_read(l, m);
	}
	return life_end_reads(l);
}

bool
life_drain(struct life *l)
{
	struct store_stats st;

	for (unsigned i = 0; i < l->n_bodies; i++)
		store_body_drop(l->bodies[i].body);
	l->n_bodies = 0;
	for (uint32_t m = 1; m < l->state.n_places && life_goes_on(l); m++) {
		if (!l->state.places[m].live)
			continue;
		life_done(l, m);
		if (m % 16 == 0)
			life_pass(l, 5 * MS);
	}
	l->is_over = false;
	if (!life_settle(l) || l->is_fenced)
		return false;
	/* What is over is cleaned up without anybody asking. */
	life_pass(l, 2000 * MS);
	store_stats(l->s, &st);
	world_trace("drained: %u segments, %u free, %llu bytes live", st.segments, st.free_segments, (ull)st.live_bytes);
	check_size(l, 0);
	if (st.messages != 0)
		world_violation("drained, and %llu messages are left", (ull)st.messages);
	if (st.live_bytes > l->set.segment)
		world_violation("drained, and %llu bytes are live", (ull)st.live_bytes);
	if (st.segments > st.free_segments + DRAINED_SEGMENTS)
		world_violation("drained, and only %u of %u segments are free", st.free_segments, st.segments);
	return life_goes_on(l);
}
