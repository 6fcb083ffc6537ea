/*
 * fuzz_store: recovery of a journal that says anything. The input is a recipe:
 * headers, batches and records with contents from it, sealed with good sums so
 * that what lies behind them is reached. Whatever was recovered must be
 * recovered again by a second start, and can be let go of.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fake_disk.h"
#include "fake_loop.h"
#include "store_format.h"

#define SEGMENT (64u << 10)
#define FILES 4
#define FOUND_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *p;
	size_t left;
};

static struct store_found found[FOUND_MAX];
static size_t n_found;
static unsigned n_damaged;
static uint8_t file[SEGMENT];

static uint64_t
take(struct input *in, size_t n)
{
	uint64_t x = 0;

	for (; n > 0 && in->left > 0; n--, in->left--)
		x = x << 8 | *in->p++;
	return x;
}

/* ------------------------------------------------------------------ recipe -- */

static struct store_place
take_place(struct input *in)
{
	uint64_t x = take(in, 1);

	return (struct store_place){ (uint32_t)(x & 7), (uint32_t)(x >> 3 & 15), x >> 5 };
}

/* A record with any contents, or with some that make sense. */
static size_t
make_record(struct input *in, uint8_t *p, size_t room, uint64_t seed, uint64_t offset)
{
	enum store_kind kind = (enum store_kind)(take(in, 1) % 13);
	size_t len = STORE_RECORD_HEAD + (size_t)take(in, 1);
	struct store_entry e = { .queue = 1, .flow = 1, .seq = take(in, 1), .number = take(in, 1), .body = take(in, 1) & 1 };
	uint16_t lens[STORE_PARTS - 1] = { 0 };
	struct store_place start;

	if (kind == STORE_MESSAGE && len % 2) {
		e.last_len = take(in, 1);
		len = STORE_MESSAGE_HEAD + (e.body ? 0 : (size_t)e.last_len);
	}
	if (kind == STORE_PIECE && len % 2)
		len = STORE_PIECE_HEAD + 1 + len % 64;
	if (store_padded(len) > room || room < 64)
		return 0;
	for (size_t i = STORE_RECORD_HEAD; i < len; i++)
		p[i] = (uint8_t)take(in, 1);
	if (kind == STORE_MESSAGE && len >= STORE_MESSAGE_HEAD && (e.body || len == STORE_MESSAGE_HEAD + e.last_len))
		store_message_encode(p, &e, lens);
	if (kind == STORE_PIECE && len > STORE_PIECE_HEAD)
		store_piece_encode(p, 1, (uint32_t)e.seq & 3);
	if (kind == STORE_SNAPSHOT_END) {
		start = take_place(in);
		len = store_snapshot_end_encode(p, e.seq & 1, &start);
	}
	if (kind == STORE_SNAPSHOT_BEGIN)
		len = store_snapshot_begin_encode(p, e.seq & 1);
	return store_record_seal(p, kind, len, seed, offset);
}

static size_t
make_batch(struct input *in, uint8_t *p, size_t room, uint64_t *number, uint64_t seed, uint64_t offset)
{
	unsigned n = (unsigned)take(in, 1) % 8;
	struct store_batch b = { .len = STORE_BATCH_HEAD };

	*number += n == 7 ? take(in, 1) % 3 : 1;
	b.number = *number;
	b.wall_ms = take(in, 2);
	for (unsigned i = 0; i < n; i++) {
		size_t len = make_record(in, p + b.len, room - b.len, seed, offset + b.len);

		if (len == 0)
			break;
		b.len += (uint32_t)len;
		b.records++;
	}
	store_batch_seal(p, &b, seed, offset);
	if (n == 6) /* torn or rotten */
		p[take(in, 2) % b.len] ^= 1;
	return (size_t)store_align(b.len, 4096);
}

static void
make_index(struct input *in, uint64_t seed, size_t at)
{
	struct store_footer f = { .index_block = (uint32_t)(at / 4096), .last_batch = 3, .end_block = (uint32_t)(at / 4096) };
	size_t len = (size_t)take(in, 1);

	if (at + 4096 > SEGMENT - STORE_FOOTER)
		return;
	for (size_t i = 0; i < len; i++)
		file[at + STORE_INDEX_HEAD + i] = (uint8_t)take(in, 1);
	f.index_len = (uint32_t)store_index_seal(file + at, len, (uint32_t)take(in, 1), seed);
	store_footer_encode(file + SEGMENT - STORE_FOOTER, &f, seed);
}

static void
make_file(struct input *in, uint32_t number)
{
	char name[] = "journal/00000000.journal";
	uint64_t batch = take(in, 1) & 15;
	struct store_header h = { .segment = number, .seed = number, .size = SEGMENT, .first_batch = batch + 1,
		.before = take_place(in), .replay = take_place(in), .next_queue = 2, .next_flow = 2, .next_body = 2 };
	size_t at = STORE_HEADER, how = (size_t)take(in, 1);

	name[15] = (char)('0' + number);
	memset(file, 0, sizeof(file));
	if (how % 16 == 0)
		h.segment++;
	if (how % 16 == 1)
		h.replay = (struct store_place){ number, 1, batch + 1 };
	store_header_encode(file, &h);
	for (size_t n = how / 16; n > 0 && at < SEGMENT - 3 * 4096; n--)
		at += make_batch(in, file + at, SEGMENT - STORE_FOOTER - at - 8, &batch, h.seed, at);
	if (how % 2)
		make_index(in, h.seed, at);
	fake_disk_put(name, file, sizeof(file));
}

/* ------------------------------------------------------------------- store -- */

static void
told_message(void *arg, const struct store_found *m)
{
	(void)arg;
	if (n_found < FOUND_MAX)
		found[n_found++] = *m;
}

static void
told_damaged(void *arg, const char *what)
{
	(void)arg, (void)what;
	n_damaged++;
}

static void
told_read(struct store_read *r, int error)
{
	if (error == 0)
		free(r->memory);
}

static void
work(struct task_runner *writer, struct task_runner *reader, struct loop *l)
{
	for (int i = 0; i < 20; i++) {
		fake_task_run(writer);
		fake_task_run(reader);
		fake_loop_advance(l, 6);
	}
}

static int
open_store(struct loop *l, bool let_go)
{
	struct store_config cfg = { .loop = l, .disk = fake_disk.disk, .segment = SEGMENT, .max_disk = 16 * SEGMENT,
		.writer = task_runner_new(l), .reader = task_runner_new(l) };
	struct store_recovery told = { .message = told_message };
	struct store_events ev = { .damaged = told_damaged };
	static struct store_read reads[8];
	struct store *s = NULL;
	char why[200];
	int r;

	n_found = n_damaged = 0;
	r = store_open(&cfg, &told, &ev, &s, why);
	if (r == 0 && let_go) {
		for (size_t i = 0; i < n_found && i < 8; i++) {
			reads[i] = (struct store_read){ .done = told_read };
			if (store_read(s, found[i].ref, &reads[i]) < 0)
				abort();
		}
		work(cfg.writer, cfg.reader, l);
		for (size_t i = 0; i < n_found; i += 2)
			store_done(s, found[i].ref, found[i].queue, found[i].seq);
		work(cfg.writer, cfg.reader, l);
		if (store_synced(s) < store_ticket(s))
			abort();
	}
	task_runner_free(cfg.writer);
	task_runner_free(cfg.reader);
	store_free(s);
	return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct store_found first[FOUND_MAX];
	struct input in = { data, size };
	struct loop *l = loop_new();
	size_t n;

	fake_disk_new(1);
	for (uint32_t i = 1; i <= FILES && in.left > 0; i++)
		make_file(&in, i);
	/* A journal that contradicts itself is only read without harm. */
	if (open_store(l, true) == 0 && n_damaged > 0)
		open_store(l, true);
	else if (open_store(l, false) == 0 && n_damaged == 0) {
		n = n_found;
		memcpy(first, found, n * sizeof(first[0]));
		/* What recovery found is there again, and the same. */
		if (open_store(l, true) < 0 || n_found != n)
			abort();
		for (size_t i = 0; i < n; i++)
			if (first[i].queue != found[i].queue || first[i].seq != found[i].seq || first[i].bytes != found[i].bytes)
				abort();
		if (open_store(l, false) < 0 || n_found != n / 2)
			abort();
	}
	fake_disk_free();
	loop_free(l);
	return 0;
}
