/*
 * fuzz_recover: journals that the store itself wrote, spoilt as the input says:
 * bytes, records, batches, headers and indexes are changed, cut, swapped, given
 * twice, and their sums often made good again. Opening ends well or with a
 * reason; refused, it has changed nothing; and it opens once more. Who opens
 * once more is told the same messages, unless the journal lies (and has good
 * sums): such a one is only read without harm.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_disk.h"
#include "fake_loop.h"
#include "store_format.h"

#define SEGMENT (64u << 10)
#define FILES 40
#define FOUND_MAX 8192
#define KINDS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct input {
	const uint8_t *p;
	size_t left;
} in;

/* A journal. */
struct folder {
	uint8_t *file[FILES]; /* by number; NULL: none */
	size_t len[FILES];
};

static struct folder made[KINDS], spoilt;
static struct store_found found[FOUND_MAX];
static size_t n_found;
static unsigned n_damaged;
static bool lies; /* what was changed has a good sum: nobody can know */

static uint64_t
take(size_t n)
{
	uint64_t x = 0;

	for (; n > 0 && in.left > 0; n--, in.left--)
		x = x << 8 | *in.p++;
	return x;
}

/* ------------------------------------------------------------------- store -- */

struct box {
	struct loop *loop;
	struct task_runner *writer, *reader;
	struct store *store;
};

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
	(void)arg;
	n_damaged++;
	if (getenv("FUZZ_TRACE"))
		fprintf(stderr, "%s\n", what);
	if (what[0] == '\0')
		abort();
}

static int
box_open(struct box *b, char why[static 200])
{
	struct store_config cfg = { .loop = b->loop, .disk = fake_disk.disk, .segment = SEGMENT, .max_disk = 64 * SEGMENT, .start_count = 1 };
	struct store_recovery told = { .message = told_message };
	struct store_events ev = { .damaged = told_damaged };
	int r;

	cfg.writer = b->writer = task_runner_new(b->loop);
	cfg.reader = b->reader = task_runner_new(b->loop);
	n_found = n_damaged = 0;
	b->store = NULL;
	r = store_open(&cfg, &told, &ev, &b->store, why);
	return r;
}

static void
box_close(struct box *b)
{
	task_runner_free(b->writer);
	task_runner_free(b->reader);
	store_free(b->store);
	b->store = NULL;
}

static void
box_work(struct box *b, int n)
{
	for (int i = 0; i < n; i++) {
		fake_task_run(b->writer);
		fake_task_run(b->reader);
		fake_loop_advance(b->loop, 3);
	}
}

/* ------------------------------------------------------------- what is real -- */

static void
name_of(uint32_t number, char name[static 40])
{
	snprintf(name, 40, "journal/%08u.journal", number);
}

static void
folder_keep(struct folder *f)
{
	char name[40];

	for (uint32_t i = 1; i < FILES; i++) {
		uint8_t *p;

		name_of(i, name);
		p = fake_disk_data(name, &f->len[i]);
		f->file[i] = NULL;
		if (!p || f->len[i] == 0)
			continue;
		f->file[i] = malloc(f->len[i]);
		memcpy(f->file[i], p, f->len[i]);
	}
}

static store_ref
put(struct box *b, uint32_t queue, uint64_t seq, size_t len)
{
	static uint8_t data[20000];
	struct store_message m = { .queue = queue, .seq = seq, .flow = 1, .number = seq, .counter = seq };
	store_ref ref = 0;

	m.parts[0] = (struct store_bytes){ "type", 4 };
	if (len > store_piece_max(b->store)) {
		m.body = store_body_new(b->store);
		for (size_t at = 0; at < len; at += sizeof(data))
			store_body_append(m.body, data, len - at < sizeof(data) ? len - at : sizeof(data));
	}
	m.parts[4] = (struct store_bytes){ m.body ? NULL : data, len };
	if (store_put(b->store, &m, &ref) != 0)
		abort();
	return ref;
}

/* A little of everything; how much depends on the kind. */
static void
make(unsigned kind, struct folder *ret)
{
	static store_ref refs[2000];
	struct box b = { .loop = loop_new() };
	char why[200];
	size_t n = kind == 0 ? 12 : kind == 1 ? 60 : 400;

	fake_disk_new(1);
	if (box_open(&b, why) != 0)
		abort();
	for (unsigned i = 0; i < 3; i++)
		store_define_queue(b.store, store_new_queue(b.store), (struct store_bytes){ "queue", 5 });
	store_define_flow(b.store, store_new_flow(b.store), (struct store_bytes){ "flow", 4 });
	for (size_t i = 0; i < n; i++) {
		refs[i] = put(&b, 1 + i % 2, i + 1, i % 10 == 3 && kind != 2 ? 15000 + 9000 * (i % 3) : 40 + i * 37 % 900);
		if (i % 3 == 0)
			box_work(&b, 2);
		if (i >= 8 && i % 7 == 0)
			store_done(b.store, refs[i - 8], 1 + (i - 8) % 2, i - 7);
		if (i >= 8 && i % 7 == 2)
			store_move(b.store, refs[i - 8], 1 + (i - 8) % 2, i - 7, 3, i, 1, (struct store_bytes){ "note", i % 2 ? 4 : 0 });
		if (i % 11 == 5)
			store_offered(b.store, 1, i);
	}
	/* Most of it goes: copies, snapshots, bitmaps. */
	for (size_t i = 0; kind >= 2 && i < n; i++)
		if (i % 7 != 6 && (i + 8) % 7 != 0 && (i + 8) % 7 != 2 && i % 5 != 0) {
			store_done(b.store, refs[i], 1 + i % 2, i + 1);
			if (i % 4 == 0)
				box_work(&b, 2);
		}
	box_work(&b, 200);
	if (kind == 3) {
		box_close(&b);
		if (box_open(&b, why) != 0)
			abort();
		box_work(&b, 50);
	}
	folder_keep(ret);
	box_close(&b);
	loop_free(b.loop);
	fake_disk_free();
}

/* ---------------------------------------------------------------- spoiling -- */

static void
spoilt_free(void)
{
	for (size_t i = 0; i < FILES; i++)
		free(spoilt.file[i]);
	memset(&spoilt, 0, sizeof(spoilt));
}

/* The n-th file that is there. */
static uint32_t
some_file(uint64_t n)
{
	uint32_t there[FILES], count = 0;

	for (uint32_t i = 1; i < FILES; i++)
		if (spoilt.file[i])
			there[count++] = i;
	return count > 0 ? there[n % count] : 0;
}

/* A number in place of one of so many bytes at p: beside what is there, large, or anything. */
static void
change(uint8_t *p, size_t width)
{
	uint64_t b = take(1), v = 0;

	memcpy(&v, p, width);
	if (b < 100)
		v += (b & 15) - 8;
	else if (b < 130)
		v = UINT64_MAX - (b & 3);
	else if (b < 160)
		v = b & 7;
	else if (b < 200)
		v ^= UINT64_C(1) << take(1) % 64;
	else
		v = take(width);
	memcpy(p, &v, width);
}

static void
spoil_header(uint32_t f)
{
	static const uint8_t at[] = { 8, 12, 16, 24, 32, 36, 40, 48, 52, 56, 64, 68, 72, 80, 84, 88, 96 };
	struct store_header h;
	size_t i = at[take(1) % sizeof(at)];
	uint8_t *p = spoilt.file[f];

	if (spoilt.len[f] < STORE_HEADER)
		return;
	change(p + i, i == 16 || i == 24 || i == 40 || i == 56 || i == 72 || i >= 88 ? 8 : 4);
	if (i == 8)
		return;
	/* With a sum that fits: through what the decoder would read. */
	memcpy(&h.segment, p + 12, 4);
	memcpy(&h.seed, p + 16, 8);
	memcpy(&h.size, p + 24, 8);
	memcpy(&h.start_count, p + 32, 4);
	memcpy(&h.flags, p + 36, 4);
	memcpy(&h.first_batch, p + 40, 8);
	memcpy(&h.before.segment, p + 48, 4);
	memcpy(&h.before.block, p + 52, 4);
	memcpy(&h.before.batch, p + 56, 8);
	memcpy(&h.replay.segment, p + 64, 4);
	memcpy(&h.replay.block, p + 68, 4);
	memcpy(&h.replay.batch, p + 72, 8);
	memcpy(&h.next_queue, p + 80, 4);
	memcpy(&h.next_flow, p + 84, 4);
	memcpy(&h.next_body, p + 88, 8);
	memcpy(&h.wall_ms, p + 96, 8);
	lies = true;
	store_header_encode(p, &h);
}

static uint64_t
seed_of(uint32_t f)
{
	uint64_t seed;

	memcpy(&seed, spoilt.file[f] + 16, 8);
	return seed;
}

/* A batch of the file, by number; 0: none. */
static size_t
some_batch(uint32_t f, uint64_t n, struct store_batch *ret)
{
	size_t at = STORE_HEADER, last = 0, need;
	struct store_batch b;

	for (; at + STORE_BATCH_HEAD <= spoilt.len[f]; at += store_align(b.len, STORE_BLOCK)) {
		if (store_batch_decode(spoilt.file[f] + at, spoilt.len[f] - at, seed_of(f), at, &b, &need) != 0)
			break;
		*ret = b;
		last = at;
		if (n-- == 0)
			break;
	}
	return last;
}

/* A field of a record is changed, or its kind or length, and all sums are made good, or only some. */
static void
spoil_record(uint32_t f)
{
	struct store_batch b;
	size_t at = some_batch(f, take(1), &b), i;
	uint64_t n = take(1), how = take(1);
	uint32_t pos = 0;
	struct store_record r = { 0 };
	uint8_t *batch = spoilt.file[f] + at, *p;

	if (at == 0)
		return;
	for (n %= b.records ? b.records : 1; store_batch_next(batch, &b, at, &pos, &r) && n > 0; n--)
		;
	if (!r.data)
		return;
	p = spoilt.file[f] + r.offset;
	if (how % 8 == 0) {
		r.kind = (enum store_kind)(take(1) % 14);
	} else {
		i = STORE_RECORD_HEAD + take(1) % 96;
		if (i + 8 <= r.len)
			change(p + i / 4 * 4, how & 8 ? 8 : 4);
	}
	/* The next one stays where it is. */
	if (how % 16 == 1)
		r.len = (uint32_t)store_padded(r.len) - (uint32_t)take(1) % 8;
	lies = true;
	if (how < 240)
		store_record_seal(p, r.kind, r.len, seed_of(f), r.offset);
	if (how % 32 == 2)
		change((uint8_t *)&b.number, 8);
	if (how % 32 == 3)
		b.records--;
	if (how % 32 == 4)
		b.flags ^= 1;
	if (how < 230)
		store_batch_seal(batch, &b, seed_of(f), at);
}

static void
spoil_index(uint32_t f)
{
	struct store_footer t;
	uint8_t *p = spoilt.file[f], *foot = p + spoilt.len[f] - STORE_FOOTER;
	uint32_t entries, how = (uint32_t)take(1);
	size_t at;

	if (spoilt.len[f] != SEGMENT || store_footer_decode(foot, STORE_FOOTER_LEN, seed_of(f), &t) < 0)
		return;
	at = (size_t)t.index_block * 4096;
	lies = true;
	if (how & 1) {
		change((uint8_t *)(how & 2 ? &t.index_block : how & 4 ? &t.index_len : &t.end_block), 4);
		store_footer_encode(foot, &t, seed_of(f));
		return;
	}
	if (at + t.index_len > spoilt.len[f] || store_index_check(p + at, t.index_len, seed_of(f), &entries) < 0)
		return;
	p[at + STORE_INDEX_HEAD + take(2) % (t.index_len - STORE_INDEX_HEAD)] = (uint8_t)take(1);
	if (how & 8)
		entries += how % 3 - 1;
	store_index_seal(p + at, t.index_len - STORE_INDEX_HEAD - STORE_INDEX_SUM, entries, seed_of(f));
}

static void
spoil_file(uint32_t f)
{
	uint32_t to = 1 + (uint32_t)take(1) % (FILES - 1);
	uint64_t how = take(1);
	size_t a = take(1) % (SEGMENT / 4096) * 4096, b = take(1) % (SEGMENT / 4096) * 4096;
	uint8_t block[4096];

	if (how < 60) {
		spoilt.len[f] = (size_t)take(3) % (SEGMENT + 1);
		spoilt.file[f] = realloc(spoilt.file[f], spoilt.len[f] + 1);
	} else if (how < 90) {
		free(spoilt.file[f]);
		spoilt.file[f] = NULL;
	} else if (how < 140) {
		/* Under another number, too, or instead. */
		if (to == f)
			return;
		free(spoilt.file[to]);
		spoilt.len[to] = spoilt.len[f];
		spoilt.file[to] = malloc(spoilt.len[f] + 1);
		memcpy(spoilt.file[to], spoilt.file[f], spoilt.len[f]);
		if (how & 1 && spoilt.len[to] >= STORE_HEADER)
			memcpy(spoilt.file[to] + 12, &to, 4);
	} else if (a + 4096 <= spoilt.len[f] && b + 4096 <= spoilt.len[f]) {
		memcpy(block, spoilt.file[f] + a, sizeof(block));
		memcpy(spoilt.file[f] + a, spoilt.file[f] + b, sizeof(block));
		if (how < 200)
			memcpy(spoilt.file[f] + b, block, sizeof(block));
		else if (how < 230)
			memset(spoilt.file[f] + b, 0, sizeof(block));
	}
}

static void
spoil(void)
{
	uint64_t what = take(1);
	uint32_t f = some_file(take(1));

	if (f == 0 || spoilt.len[f] == 0)
		return;
	if (what < 30)
		spoilt.file[f][take(3) % spoilt.len[f]] ^= (uint8_t)(take(1) | 1);
	else if (spoilt.len[f] < STORE_HEADER)
		return;
	else if (what < 70)
		spoil_header(f);
	else if (what < 180)
		spoil_record(f);
	else if (what < 215)
		spoil_index(f);
	else
		spoil_file(f);
}

/* --------------------------------------------------------------------- run -- */

static void
told_read(struct store_read *r, int error)
{
	uint64_t sum = 0;

	if (error < 0)
		return;
	/* All of it can be read. */
	for (size_t i = 0; i < STORE_PARTS; i++)
		for (size_t k = 0; k < r->parts[i].len; k++)
			sum += ((const uint8_t *)r->parts[i].data)[k];
	if (sum > UINT32_MAX)
		abort();
	free(r->memory);
}

static void
is_unchanged(void)
{
	struct folder now;

	folder_keep(&now);
	for (uint32_t i = 1; i < FILES; i++) {
		if (!now.file[i] != !(spoilt.file[i] && spoilt.len[i] > 0) ||
		    (now.file[i] && (now.len[i] != spoilt.len[i] || memcmp(now.file[i], spoilt.file[i], now.len[i]) != 0)))
			abort(); /* a refused start has changed something */
		free(now.file[i]);
	}
}

/* What was found is read; and every second one is let go of. */
static void
use(struct box *b, bool let_go)
{
	static struct store_read reads[16];

	for (size_t i = 0; i < n_found && i < 16; i++) {
		reads[i] = (struct store_read){ .done = told_read };
		if (store_read(b->store, found[i * (n_found / 16 + 1) % n_found].ref, &reads[i]) < 0)
			abort();
	}
	box_work(b, 20);
	for (size_t i = 0; let_go && i < n_found; i += 2)
		store_done(b->store, found[i].ref, found[i].queue, found[i].seq);
	box_work(b, 20);
	if (store_synced(b->store) < store_ticket(b->store))
		abort();
}

static void
recover(void)
{
	static struct store_found first[FOUND_MAX];
	struct box b = { .loop = loop_new() };
	char why[200] = "", name[40];
	unsigned damaged;
	size_t n;
	int r;

	fake_disk_new(1);
	for (uint32_t i = 1; i < FILES; i++)
		if (spoilt.file[i]) {
			name_of(i, name);
			fake_disk_put(name, spoilt.file[i], spoilt.len[i]);
		}
	if (box_open(&b, why) < 0) {
		if (why[0] == '\0')
			abort();
		box_close(&b);
		is_unchanged();
	} else {
		damaged = n_damaged;
		n = n_found;
		memcpy(first, found, n * sizeof(first[0]));
		box_close(&b);
		r = box_open(&b, why);
		if (r < 0 || (!lies && n_found != n)) {
			fprintf(stderr, "first %zu messages, %u times damage; then %d %s, %zu messages, %u times damage\n", n,
			    damaged, r, r ? why : "", n_found, n_damaged);
			abort();
		}
		for (size_t i = 0; !lies && i < n; i++)
			if (first[i].queue != found[i].queue || first[i].seq != found[i].seq || first[i].bytes != found[i].bytes)
				abort();
		use(&b, true);
		box_close(&b);
		/* Damage may tell what is done anew: better twice than never. */
		r = box_open(&b, why);
		if (r < 0 || (!lies && damaged == 0 && n_found != n / 2)) {
			fprintf(stderr, "of %zu messages half are done; then %d %s, %zu messages, %u times damage\n", n, r, r ? why : "", n_found, n_damaged);
			abort();
		}
		box_close(&b);
	}
	loop_free(b.loop);
	fake_disk_free();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct folder *from;

	if (!made[0].file[1])
		for (unsigned i = 0; i < KINDS; i++)
			make(i, &made[i]);
	in = (struct input){ data, size };
	lies = false;
	from = &made[take(1) % KINDS];
	for (size_t i = 1; i < FILES; i++) {
		spoilt.len[i] = from->len[i];
		spoilt.file[i] = from->file[i] ? malloc(from->len[i]) : NULL;
		if (spoilt.file[i])
			memcpy(spoilt.file[i], from->file[i], from->len[i]);
	}
	for (unsigned i = 0; i < 12 && in.left > 0; i++)
		spoil();
	recover();
	spoilt_free();
	return 0;
}
