/* torture_life: what is drawn: queues, flows, messages, and their bytes. */
#include <stdlib.h>
#include <string.h>

#include "sim_disk.h"
#include "torture_internal.h"
#include "vdisk.h"
#include "world.h"

#define SMALL_PART 300

/* ------------------------------------------------------------------ choices -- */

uint32_t
draw_queue(const struct life *l)
{
	uint32_t n = 0, pick;

	for (uint32_t q = 1; q < l->state.n_queues; q++)
		n += l->state.queues[q].exists;
	pick = (uint32_t)world_below(n);
	for (uint32_t q = 1; q < l->state.n_queues; q++)
		if (l->state.queues[q].exists && pick-- == 0)
			return q;
	return 0;
}

uint32_t
draw_flow(const struct life *l)
{
	uint32_t n = 0, pick;

	for (uint32_t f = 1; f < l->state.n_flows; f++)
		n += l->state.flows[f].exists;
	pick = (uint32_t)world_below(n);
	for (uint32_t f = 1; f < l->state.n_flows; f++)
		if (l->state.flows[f].exists && pick-- == 0)
			return f;
	return 0;
}

bool
draw_is_read(const struct life *l, uint32_t queue)
{
	for (uint32_t q = 1; q < queue; q++)
		if (l->state.queues[q].exists)
			return true;
	return false;
}

uint32_t
draw_message(const struct life *l, bool of_read)
{
	size_t n = l->state.n_places, at = (size_t)world_below(n);

	for (size_t i = 0; i < n; i++) {
		uint32_t m = (uint32_t)((at + i) % n);

		if (l->state.places[m].live && (!of_read || draw_is_read(l, l->state.places[m].queue)))
			return m;
	}
	return 0;
}

uint64_t
draw_seq(const struct life *l, uint32_t queue)
{
	const struct model_queue *q = &l->state.queues[queue];
	uint64_t last = q->high > l->found.queues[queue].low ? q->high : l->found.queues[queue].low;

	return last + 1 + (world_chance(10) ? world_below(1000) : 0);
}

/* ------------------------------------------------------------------ content -- */

/* Bytes of the journal, at the same place in their block: what a body must never be taken for. */
static void
copy_journal(const struct life *l, uint8_t *buf, size_t len)
{
	struct vdisk *v = sim_disk_vdisk(l->machine);
	const char *name = NULL, *last = NULL;
	size_t block;
	int file;

	for (uint64_t n = 1 + world_below(8); n > 0; n--) {
		name = vdisk_next(v, STORE_FOLDER "/", last);
		if (!name)
			break;
		last = name;
	}
	if (!last)
		return;
	file = vdisk_find(v, last, false);
	block = (size_t)world_below(vdisk_size(v, file) / VDISK_BLOCK + 1);
	for (size_t at = 0; at < len; at += VDISK_BLOCK)
		(void)vdisk_read(v, file, buf + at, len - at < VDISK_BLOCK ? len - at : VDISK_BLOCK, block++ * VDISK_BLOCK);
}

static size_t
draw_last_len(const struct life *l)
{
	if (l->is_greedy && world_chance(80))
		return l->set.segment / INLINE / 2 + world_below(l->set.segment / INLINE / 2);
	if (l->is_filling && world_chance(80))
		return l->set.segment / 8 + world_below(l->set.segment / 8);
	if (world_chance(l->set.large))
		return 20000 + world_below(l->set.segment < 200000 ? 60000 : 400000);
	if (world_chance(l->set.medium))
		return world_below(12000);
	return world_chance(5) ? 0 : world_below(1500);
}

uint32_t
draw_new_message(struct life *l, bool small)
{
	size_t lens[STORE_PARTS], sum = 0;
	struct model_message *m;
	uint32_t message;

	for (unsigned i = 0; i < STORE_PARTS; i++) {
		lens[i] = world_chance(40) ? 0 : world_below(i != 1 || small || !world_chance(8) ? SMALL_PART / 2 : STORE_PART_MAX + 1);
		if (i == STORE_PARTS - 1)
			lens[i] = small ? world_below(SMALL_PART) : draw_last_len(l);
		sum += lens[i];
	}
	message = model_message_new(lens);
	m = model_message(message);
	for (size_t i = 0; i < sum; i += 8) {
		uint64_t r = world_random();

		memcpy(m->bytes + i, &r, sum - i < 8 ? sum - i : 8);
	}
	if (sum > 0 && world_chance(l->set.copies))
		copy_journal(l, m->bytes, sum);
	m->priority = (uint8_t)world_below(world_chance(90) ? 3 : 256);
	if (world_chance(10))
		m->expires_ms = world_ms() + 1 + world_below(world_chance(50) ? 2000 : 10000000);
	if (world_chance(10))
		m->not_before_ms = world_ms() + 1 + world_below(2000);
	return message;
}

uint64_t
draw_size(uint32_t message)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < STORE_PARTS; i++)
		sum += model_message(message)->lens[i];
	return sum;
}
