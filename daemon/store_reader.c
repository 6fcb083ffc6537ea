/*
 * Reading messages back. One task reads whatever has gathered; it keeps the
 * files it reads open, up to a number. What it reads is verified there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "store_internal.h"
#include "task.h"

#define RANGE_PART 4096 /* bytes of a range that are read at once if all of it cannot be */

/* ------------------------------------------------------------------- task -- */

static int
open_file(struct disk *disk, const struct read_place *p)
{
	int r = 0;

	/* Twice, as with reads: what fails once may pass. */
	for (int i = 0; i < 2 && !p->segment->reading; i++)
		r = disk_file_open(disk, p->name, false, &p->segment->reading);
	if (p->segment->reading)
		return 0;
	/* Too many open files pass. */
	return r == -EMFILE || r == -ENFILE || r == -ENOMEM ? -ENOMEM : -EIO;
}

/* Read a record to buf; its sum is looked at twice, as memory and disks err. */
static int
read_record(const struct read_place *p, uint8_t *buf, enum store_kind kind)
{
	enum store_kind is;

	for (int i = 0; i < 2; i++) {
		ssize_t n = disk_pread(p->segment->reading, buf, p->len, p->offset);

		if (n == (ssize_t)p->len && store_record_is(buf, p->len, &is, p->seed, p->offset) && is == kind)
			return 0;
	}
	return -EIO;
}

/* A piece's bytes go where they belong; its head lies over the bytes before, which are put back. */
static int
read_piece(const struct read_place *p, uint8_t *at)
{
	uint8_t before[STORE_PIECE_HEAD];
	int r;

	memcpy(before, at - STORE_PIECE_HEAD, STORE_PIECE_HEAD);
	r = read_record(p, at - STORE_PIECE_HEAD, STORE_PIECE);
	memcpy(at - STORE_PIECE_HEAD, before, STORE_PIECE_HEAD);
	return r;
}

static int
read_message(struct read_job *j)
{
	uint8_t *at = j->memory + j->body_at;
	int r = 0;

	for (uint32_t i = 0; i < j->n_places && r == 0; i++)
		r = open_file(j->disk, &j->places[i]);
	if (r == 0)
		r = read_record(&j->places[0], j->memory, STORE_MESSAGE);
	for (uint32_t i = 1; i < j->n_places && r == 0; i++) {
		r = read_piece(&j->places[i], at);
		at += j->places[i].len - STORE_PIECE_HEAD;
	}
	return r;
}

static void
read_run(const struct read_place *p, uint8_t *memory)
{
	ssize_t n = disk_pread(p->segment->reading, memory, p->len, p->offset);

	if (n == (ssize_t)p->len)
		return;
	/* Once more, in parts: what is missing then is damage of the records there, and of no others. */
	for (uint32_t at = 0; at < p->len; at += RANGE_PART) {
		uint32_t len = p->len - at < RANGE_PART ? p->len - at : RANGE_PART;

		n = disk_pread(p->segment->reading, memory + at, len, p->offset + at);
		n = n < 0 ? 0 : n;
		memset(memory + at + n, 0, len - (size_t)n);
	}
}

/* Runs of living records of a segment: for the cleaner, which looks at each record itself. */
static int
read_runs(struct read_job *j)
{
	int r = open_file(j->disk, &j->places[0]);
	uint8_t *at = j->memory;

	for (uint32_t i = 0; i < j->n_places; i++) {
		if (r == 0)
			read_run(&j->places[i], at);
		else /* nobody may take for a record what was in this memory before */
			memset(at, 0, j->places[i].len);
		at += j->places[i].len;
	}
	return r;
}

static void
run(void *arg)
{
	struct read_job *j = arg;

	disk_file_close(j->close);
	j->close = NULL;
	if (j->n_places > 0)
		j->error = j->is_runs ? read_runs(j) : read_message(j);
}

/* ------------------------------------------------------------------- loop -- */

void
store_read_job_free(struct read_job *j)
{
	if (!j)
		return;
	list_remove(&j->node);
	disk_file_close(j->close);
	free(j->memory);
	free(j);
}

static void
unpin(struct store *s, struct read_job *j)
{
	for (uint32_t i = 0; i < j->n_places; i++)
		j->places[i].segment->pins--;
	store_segment_sweep(s);
	store_writer_ahead(s);
}

/* Let parts point to where they are. */
static int
find_parts(struct read_job *j, struct store_read *r)
{
	struct store_record rec = { .kind = STORE_MESSAGE, .data = j->memory, .len = j->places[0].len,
		.offset = j->places[0].offset };
	struct store_entry e;

	if (store_message_decode(&rec, &e, r->parts) < 0)
		return -EIO;
	r->last_len = e.body ? e.last_len : r->parts[STORE_PARTS - 1].len;
	if (e.body) {
		if (j->is_start ? e.last_len < j->body_len : e.last_len != j->body_len)
			return -EIO;
		r->parts[STORE_PARTS - 1] = (struct store_bytes){ j->memory + j->body_at, (size_t)j->body_len };
	}
	if (j->has_note)
		r->parts[STORE_NOTE] = (struct store_bytes){ j->memory + store_padded(rec.len), j->note_len };
	r->counter = e.counter;
	r->memory = j->memory;
	j->memory = NULL;
	return 0;
}

/* Is there another read of it? */
static bool
is_read(const struct store *s, store_ref ref)
{
	LIST_FOREACH (n, &s->reads)
		if (list_entry(n, struct read_job, node)->ref == ref && !list_entry(n, struct read_job, node)->is_dead)
			return true;
	return false;
}

static void
judge(struct store *s, struct read_job *j)
{
	struct slot *t = &s->slots[j->ref];

	if (j->error == 0 && j->r)
		j->error = find_parts(j, j->r);
	if (j->error != -EIO || t->damaged)
		return;
	t->damaged = true;
	s->segments[t->segment]->damaged++;
	store_damaged(s, "segment %u: the message at %llu cannot be read", j->places[0].segment->number,
	    (unsigned long long)j->places[0].offset);
}

static void
done(void *arg)
{
	struct read_job *j = arg;
	struct store *s = j->store;
	struct store_read *r = j->r;
	int error;

	if (j->is_runs) {
		unpin(s, j);
		store_clean_read(s, j);
		return;
	}
	s->n_reads--;
	list_remove(&j->node);
	unpin(s, j);
	if (!j->is_dead) {
		s->slots[j->ref].reading = is_read(s, j->ref);
		judge(s, j);
	}
	error = j->is_dead ? -ECANCELED : j->error;
	store_read_job_free(j);
	if (r)
		r->done(r, error);
}

/* Of the files kept open one that is not in use is closed, by the task. */
static void
use_file(struct store *s, struct segment *g, struct read_job *j)
{
	struct segment *oldest = NULL;

	g->pins++;
	g->read_at = ++s->read_count;
	if (g->is_read)
		return;
	g->is_read = true;
	if (++s->n_read_files <= STORE_READ_FILES || j->close)
		return;
	for (uint32_t i = 0; i < s->n_segments; i++) {
		struct segment *o = s->segments[i];

		if (o && o->is_read && o->pins == 0 && (!oldest || o->read_at < oldest->read_at))
			oldest = o;
	}
	if (!oldest)
		return;
	j->close = store_reader_take(s, oldest);
}

struct disk_file *
store_reader_take(struct store *s, struct segment *g)
{
	struct disk_file *f = g->reading;

	if (g->is_read)
		s->n_read_files--;
	g->is_read = false;
	g->reading = NULL;
	return f;
}

int
store_reader_submit(struct store *s, struct read_job *j)
{
	int r;

	for (uint32_t i = 0; i < j->n_places; i++)
		use_file(s, j->places[i].segment, j);
	r = task_run(s->cfg.reader, run, done, j);
	if (r < 0) {
		for (uint32_t i = 0; i < j->n_places; i++)
			j->places[i].segment->pins--;
		return r;
	}
	j->is_running = true;
	return 0;
}

void
store_read_place(const struct store *s, store_ref ref, struct read_place *ret)
{
	const struct record *rec = store_slot_record(s, ref);

	ret->segment = s->segments[s->slots[ref].segment];
	ret->seed = ret->segment->seed;
	ret->offset = (uint64_t)rec->at * 8;
	ret->len = rec->len;
	store_name(ret->name, ret->segment->number);
}

struct read_job *
store_read_job_new(struct store *s, uint32_t places)
{
	struct read_job *j = calloc(1, sizeof(*j) + places * sizeof(j->places[0]));

	if (!j)
		return NULL;
	j->store = s;
	j->disk = s->cfg.disk;
	j->n_places = places;
	list_init(&j->node);
	return j;
}

/* Where everything is, and memory for it. */
static int
fill(struct store *s, struct read_job *j)
{
	struct slot *t = &s->slots[j->ref];
	const struct store_body *b = t->large ? store_body_find(s, j->ref) : NULL;
	const struct moved *m = t->moved ? store_moved_find(s, j->ref) : NULL;
	const struct store_bytes *note = !m ? NULL : m->latest.data ? &m->latest : m->m.has_note ? &m->m.note : NULL;

	/* Anew each time it is tried: a record may have moved since. */
	free(j->memory);
	j->body_len = 0;
	store_read_place(s, j->ref, &j->places[0]);
	for (uint32_t i = 1; i < j->n_places; i++) {
		store_read_place(s, b->pieces[i - 1], &j->places[i]);
		j->body_len += j->places[i].len - STORE_PIECE_HEAD;
	}
	j->has_note = note != NULL;
	j->note_len = note ? (uint32_t)note->len : 0;
	j->body_at = store_padded(j->places[0].len) + store_padded(j->note_len) + STORE_PIECE_HEAD;
	j->memory = malloc(j->body_at + (size_t)j->body_len);
	if (!j->memory)
		return -ENOMEM;
	if (note && note->len > 0)
		memcpy(j->memory + store_padded(j->places[0].len), note->data, note->len);
	return 0;
}

/* Is every record of it on disk, at its present place? */
static bool
is_written(const struct store *s, store_ref ref)
{
	const struct store_body *b = s->slots[ref].large ? store_body_find(s, ref) : NULL;

	if (s->slots[ref].state != SLOT_WRITTEN)
		return false;
	for (uint32_t i = 0; b && i < b->n; i++)
		if (s->slots[b->pieces[i]].state != SLOT_WRITTEN)
			return false;
	return true;
}

/* Send the job through the task if it can go. It tells j->error if there is nothing to read. */
static int
start(struct store *s, struct read_job *j)
{
	int r = 0;

	if (j->is_dead || s->slots[j->ref].damaged) {
		j->n_places = 0;
		j->error = -EIO;
	} else if (is_written(s, j->ref)) {
		r = fill(s, j);
	} else if (s->state == STORE_FENCED) {
		j->n_places = 0;
		j->error = -ESHUTDOWN;
	} else {
		return 0;
	}
	return r < 0 ? r : store_reader_submit(s, j);
}

static int
read_back(struct store *s, store_ref ref, struct store_read *r, bool is_start)
{
	struct slot *t = &s->slots[ref];
	const struct store_body *b = t->large ? store_body_find(s, ref) : NULL;
	uint32_t pieces = !b ? 0 : is_start && b->n > 1 ? 1 : b->n;
	struct read_job *j;
	int e;

	if (s->state == STORE_FENCED && !is_written(s, ref))
		return -ESHUTDOWN;
	if (s->n_reads >= STORE_READS_MAX)
		return -EAGAIN;
	j = store_read_job_new(s, 1 + pieces);
	if (!j)
		return -ENOMEM;
	j->is_start = is_start;
	j->ref = ref;
	j->r = r;
	e = start(s, j);
	if (e < 0) {
		store_read_job_free(j);
		return e == -EAGAIN ? -EAGAIN : -ENOMEM;
	}
	list_append(&s->reads, &j->node);
	s->n_reads++;
	t->reading = true;
	r->memory = NULL;
	r->impl[0] = j;
	return 0;
}

int
store_read(struct store *s, store_ref ref, struct store_read *r)
{
	return read_back(s, ref, r, false);
}

int
store_read_start(struct store *s, store_ref ref, struct store_read *r)
{
	return read_back(s, ref, r, true);
}

void
store_read_cancel(struct store *s, struct store_read *r)
{
	struct read_job *j = r->impl[0];

	j->r = NULL;
	if (j->is_running)
		return;
	s->n_reads--;
	store_read_job_free(j);
}

void
store_reader_synced(struct store *s)
{
	LIST_FOREACH_SAFE (n, &s->reads) {
		struct read_job *j = list_entry(n, struct read_job, node);

		/* What fails here is tried after the next batch. */
		if (!j->is_running)
			start(s, j);
	}
}

void
store_reader_fenced(struct store *s)
{
	LIST_FOREACH (n, &s->reads) {
		struct read_job *j = list_entry(n, struct read_job, node);

		/* There is no batch after which it could be tried. */
		if (!j->is_running && start(s, j) < 0)
			loop_timer_start(&s->retry, STORE_RETRY_MS);
	}
}

void
store_reader_dead(struct store *s, store_ref ref)
{
	LIST_FOREACH (n, &s->reads) {
		struct read_job *j = list_entry(n, struct read_job, node);

		if (j->ref != ref || j->is_dead)
			continue;
		j->is_dead = true;
		if (!j->is_running)
			start(s, j);
	}
	s->slots[ref].reading = false;
}

void
store_reader_free(struct store *s)
{
	LIST_FOREACH_SAFE (n, &s->reads)
		store_read_job_free(list_entry(n, struct read_job, node));
}
