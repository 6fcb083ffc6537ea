#include "fake_box.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_disk.h"
#include "fake_loop.h"
#include "store_format.h"

struct fake_box fake_box;

static void
told_queue(void *arg, uint32_t queue, uint64_t last_seq, uint64_t offered, struct store_bytes definition)
{
	(void)arg, (void)last_seq, (void)offered, (void)definition;
	if (fake_box.n_queues < FAKE_BOX_QUEUES)
		fake_box.queues[fake_box.n_queues++] = queue;
}

static void
told_flow(void *arg, uint32_t flow, uint64_t mark, struct store_bytes definition)
{
	(void)arg, (void)definition;
	if (flow == 1)
		fake_box.mark = mark;
}

static void
told_message(void *arg, const struct store_found *m)
{
	(void)arg;
	if (fake_box.n == FAKE_BOX_MAX)
		abort();
	fake_box.found[fake_box.n++] = *m;
}

static void
told_synced(void *arg, uint64_t ticket)
{
	(void)arg;
	fake_box.synced = ticket;
}

static void
told_offered(void *arg, uint32_t queue, uint64_t seq)
{
	(void)arg;
	fake_box.offered_queue = queue;
	fake_box.offered = seq;
}

static void
told_room(void *arg)
{
	(void)arg;
	fake_box.n_room++;
}

static void
told_progress(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	fake_box.progress = done;
	fake_box.progress_total = total;
}

static void
told_state(void *arg, enum store_state st, const char *why)
{
	(void)arg, (void)why;
	fake_box.state = st;
}

static void
told_damaged(void *arg, const char *what)
{
	(void)arg;
	fake_box.n_damaged++;
	snprintf(fake_box.damage, sizeof(fake_box.damage), "%s", what);
}

int
fake_box_try_open(void)
{
	struct store_config cfg = { .loop = fake_box.loop, .disk = fake_disk.disk, .segment = fake_box.segment,
		.max_disk = fake_box.max_disk ? fake_box.max_disk : 64 * fake_box.segment, .start_count = ++fake_box.starts,
		.least_start = fake_box.least_start };
	struct store_recovery found = { .queue = told_queue, .flow = told_flow, .message = told_message, .progress = told_progress };
	struct store_events ev = { .synced = told_synced, .offered = told_offered, .state = told_state, .room = told_room,
		.damaged = told_damaged };
	int r;

	fake_box.n = fake_box.n_queues = 0;
	fake_box.n_damaged = 0;
	fake_box.state = STORE_OPEN;
	fake_box.synced = fake_box.progress = fake_box.progress_total = 0;
	cfg.writer = fake_box.writer = task_runner_new(fake_box.loop);
	cfg.reader = fake_box.reader = task_runner_new(fake_box.loop);
	if (fake_box.is_mute) {
		found = (struct store_recovery){ .message = NULL };
		ev = (struct store_events){ .synced = NULL };
	}
	r = store_open(&cfg, &found, &ev, &fake_box.store, fake_box.why);
	if (r < 0) {
		task_runner_free(fake_box.writer);
		task_runner_free(fake_box.reader);
		fake_box.store = NULL;
	}
	return r;
}

void
fake_box_open(void)
{
	int r = fake_box_try_open();

	ck_assert_msg(r == 0, "%d: %s", r, fake_box.why);
}

void
fake_box_close(void)
{
	task_runner_free(fake_box.writer);
	task_runner_free(fake_box.reader);
	store_free(fake_box.store);
	fake_box.store = NULL;
}

void
fake_box_work(void)
{
	for (int i = 0; i < 60; i++) {
		fake_task_run(fake_box.writer);
		fake_task_run(fake_box.reader);
		fake_loop_pass(fake_box.loop);
		fake_loop_advance(fake_box.loop, 5);
	}
}

store_ref
fake_box_put(uint64_t seq, size_t len)
{
	static char data[20000];
	struct store_message m = { .queue = 1, .seq = seq, .flow = 1, .number = seq };
	store_ref ref = 0;

	m.parts[4] = (struct store_bytes){ data, len };
	ck_assert_int_eq(store_put(fake_box.store, &m, &ref), 0);
	return ref;
}

void
fake_box_setup_empty(void)
{
	memset(&fake_box, 0, sizeof(fake_box));
	fake_task = (struct fake_task){ 0 };
	fake_disk_new(1);
	fake_box.loop = loop_new();
	fake_box.segment = FAKE_BOX_SEGMENT;
}

void
fake_box_setup(void)
{
	fake_box_setup_empty();
	fake_box_open();
	store_define_queue(fake_box.store, store_new_queue(fake_box.store), (struct store_bytes){ "q", 1 });
	store_define_flow(fake_box.store, store_new_flow(fake_box.store), (struct store_bytes){ "f", 1 });
	fake_box_work();
}

void
fake_box_teardown(void)
{
	if (fake_box.store)
		fake_box_close();
	loop_free(fake_box.loop);
	fake_disk_free();
}

void
fake_box_put_batches(uint64_t first, unsigned n, size_t len)
{
	for (unsigned i = 0; i < n; i++) {
		fake_box_put(first + i, len);
		while (store_synced(fake_box.store) < store_ticket(fake_box.store)) {
			fake_task_run(fake_box.writer);
			fake_loop_pass(fake_box.loop);
		}
	}
}

uint64_t
fake_box_count_files(void)
{
	return fake_disk_used() / FAKE_BOX_SEGMENT;
}

uint8_t *
fake_box_find_batch(uint64_t number, const char **ret_name)
{
	static char name[40];

	for (unsigned i = 1; i < 100; i++) {
		struct store_header h;
		size_t len;
		uint8_t *p;

		snprintf(name, sizeof(name), "journal/%08u.journal", i);
		p = fake_disk_data(name, &len);
		if (!p || store_header_decode(p, len, &h) < 0 || h.segment != i)
			continue;
		for (size_t at = 4096; at + 4096 <= len; at += 4096) {
			struct store_batch b;
			size_t need;

			if (store_batch_decode(p + at, len - at, h.seed, at, &b, &need) == 0 && b.number == number) {
				*ret_name = name;
				return p + at;
			}
		}
	}
	return NULL;
}

bool
fake_box_is_synced(void)
{
	return store_synced(fake_box.store) == store_ticket(fake_box.store);
}

void
fake_box_open_with(uint64_t segment, uint64_t segments)
{
	fake_box_teardown();
	fake_box_setup_empty();
	fake_box.segment = segment;
	fake_box.max_disk = segments * segment;
	fake_box_open();
	store_define_queue(fake_box.store, store_new_queue(fake_box.store), (struct store_bytes){ "q", 1 });
	fake_box_work();
}

void
fake_box_reopen(void)
{
	fake_box_close();
	fake_box_open();
}

struct store_message
fake_box_message(uint64_t seq, const void *body, size_t len)
{
	struct store_message m = { .queue = 1, .seq = seq, .counter = seq };

	m.parts[STORE_PARTS - 1] = (struct store_bytes){ body, len };
	return m;
}
