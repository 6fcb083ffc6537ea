#include "store_box.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "loop.h"
#include "task.h"

struct box box;

static uint8_t pattern[1 << 21];

static void
told_queue(void *arg, uint32_t queue, uint64_t last_seq, uint64_t offered, struct store_bytes definition)
{
	struct box_defined *d = &box.queues[box.n_queues++];

	(void)arg;
	ck_assert_uint_le(box.n_queues, BOX_DEFINED_MAX);
	*d = (struct box_defined){ .number = queue, .last_seq = last_seq, .offered = offered };
	memcpy(d->definition, definition.data, definition.len < 63 ? definition.len : 63);
}

static void
told_flow(void *arg, uint32_t flow, uint64_t mark, struct store_bytes definition)
{
	struct box_defined *d = &box.flows[box.n_flows++];

	(void)arg;
	ck_assert_uint_le(box.n_flows, BOX_DEFINED_MAX);
	*d = (struct box_defined){ .number = flow, .mark = mark };
	memcpy(d->definition, definition.data, definition.len < 63 ? definition.len : 63);
}

static void
told_message(void *arg, const struct store_found *m)
{
	(void)arg;
	ck_assert_uint_lt(box.n_messages, BOX_MESSAGES_MAX);
	box.messages[box.n_messages++] = (struct box_message){ .m = *m };
}

static void
told_synced(void *arg, uint64_t ticket)
{
	(void)arg;
	ck_assert_uint_gt(ticket, box.synced);
	ck_assert_int_ne(box.state, STORE_FENCED);
	box.synced = ticket;
	box.n_synced++;
}

static void
told_state(void *arg, enum store_state st, const char *why)
{
	(void)arg, (void)why;
	box.state = st;
	box.n_states++;
}

static void
told_room(void *arg)
{
	(void)arg;
	box.n_room++;
}

static void
told_damaged(void *arg, const char *what)
{
	(void)arg;
	snprintf(box.damage, sizeof(box.damage), "%s", what);
	box.n_damaged++;
}

void
box_setup(void)
{
	uint32_t x = 1;

	memset(&box, 0, sizeof(box));
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
	snprintf(box.folder, sizeof(box.folder), "/tmp/cstoreXXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(box.folder));
	box.loop = loop_new();
	box.segment = 64 << 10;
	box.max_disk = 64 * box.segment;
	ck_assert_int_eq(disk_open(box.folder, false, &box.disk), 0);
}

void
box_teardown(void)
{
	char command[128];

	if (box.store)
		box_crash();
	disk_close(box.disk);
	loop_free(box.loop);
	snprintf(command, sizeof(command), "rm -rf %s", box.folder);
	ck_assert_int_eq(system(command), 0);
}

int
box_try_open(void)
{
	struct store_config cfg = { .loop = box.loop, .disk = box.disk, .segment = box.segment, .max_disk = box.max_disk,
		.start_count = ++box.starts };
	struct store_recovery found = { .queue = told_queue, .flow = told_flow, .message = told_message };
	struct store_events ev = { .synced = told_synced, .state = told_state, .room = told_room, .damaged = told_damaged };
	int r;

	box.n_messages = box.n_queues = box.n_flows = 0;
	box.synced = 0;
	box.state = STORE_OPEN;
	cfg.writer = box.writer = task_runner_new(box.loop);
	cfg.reader = box.reader = task_runner_new(box.loop);
	r = store_open(&cfg, &found, &ev, &box.store, box.why);
	if (r < 0) {
		task_runner_free(box.writer);
		task_runner_free(box.reader);
		box.store = NULL;
	}
	return r;
}

void
box_open(void)
{
	int r = box_try_open();

	ck_assert_msg(r == 0, "%d: %s", r, box.why);
}

void
box_crash(void)
{
	task_runner_free(box.writer);
	task_runner_free(box.reader);
	store_free(box.store);
	box.store = NULL;
}

void
box_wait(uint64_t ticket)
{
	while (store_synced(box.store) < ticket)
		loop_step(box.loop, true);
}

void
box_sync(void)
{
	store_hurry(box.store);
	box_wait(store_ticket(box.store));
}

static void
stop_waiting(void *arg)
{
	*(bool *)arg = true;
}

void
box_settle(void)
{
	struct store_stats before, after;

	box_sync();
	store_stats(box.store, &after);
	do {
		bool is_over = false;
		struct loop_timer t;

		before = after;
		loop_timer_init(&t, box.loop, stop_waiting, &is_over);
		loop_timer_start(&t, 30);
		while (!is_over)
			loop_step(box.loop, true);
		store_stats(box.store, &after);
	} while (before.batches != after.batches || before.segments != after.segments ||
	    before.free_segments != after.free_segments);
}

void
box_close(void)
{
	box_sync();
	box_crash();
}

struct store_message
box_message(uint32_t queue, uint64_t seq, uint32_t flow, uint64_t number, size_t len)
{
	struct store_message m = { .queue = queue, .seq = seq, .flow = flow, .number = number, .priority = 4,
		.flags = 1, .counter = seq * 10 };

	m.parts[0] = (struct store_bytes){ "head", 4 };
	m.parts[2] = (struct store_bytes){ pattern + seq % 50, 1 + seq % 7 };
	m.parts[STORE_NOTE] = (struct store_bytes){ "note", 4 };
	m.parts[4] = (struct store_bytes){ pattern + seq % 1000, len };
	return m;
}

store_ref
box_put(uint32_t queue, uint64_t seq, uint32_t flow, uint64_t number, size_t len)
{
	struct store_message m = box_message(queue, seq, flow, number, len);
	store_ref ref = 0;

	ck_assert_int_eq(store_put(box.store, &m, &ref), 0);
	ck_assert_uint_ne(ref, 0);
	return ref;
}

static int read_error;

static void
read_done(struct store_read *r, int error)
{
	(void)r;
	read_error = error;
}

static int
read_by(int (*begin)(struct store *s, store_ref ref, struct store_read *r), store_ref ref, struct store_read *r)
{
	read_error = 1;
	r->done = read_done;
	ck_assert_int_eq(begin(box.store, ref, r), 0);
	ck_assert_int_eq(read_error, 1);
	while (read_error == 1)
		loop_step(box.loop, true);
	return read_error;
}

int
box_read(store_ref ref, struct store_read *r)
{
	return read_by(store_read, ref, r);
}

int
box_read_start(store_ref ref, struct store_read *r)
{
	return read_by(store_read_start, ref, r);
}

void
box_check(store_ref ref, uint64_t seq, size_t len)
{
	struct store_message m = box_message(1, seq, 0, 0, len);
	struct store_read r;

	ck_assert_int_eq(box_read(ref, &r), 0);
	for (int i = 0; i < STORE_PARTS; i++) {
		ck_assert_uint_eq(r.parts[i].len, m.parts[i].len);
		if (r.parts[i].len > 0)
			ck_assert(memcmp(r.parts[i].data, m.parts[i].data, r.parts[i].len) == 0);
	}
	free(r.memory);
}

struct store_found *
box_find(uint32_t queue, uint64_t seq)
{
	for (size_t i = 0; i < box.n_messages; i++)
		if (box.messages[i].m.queue == queue && box.messages[i].m.seq == seq)
			return &box.messages[i].m;
	return NULL;
}

const char *
box_path(const char *file)
{
	static char path[160];

	snprintf(path, sizeof(path), "%s/journal/%s", box.folder, file);
	return path;
}
