/*
 * Reading segments from end to end. Nothing here believes a length before the
 * bytes are there, nor a batch before its sum, seed and place are right.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "store_recover.h"

#define WINDOW (4u << 20) /* read at once; at least what one batch may take */

_Static_assert(WINDOW >= STORE_BATCH_MAX, "a batch fits into the window");

/* ----------------------------------------------------------------- window -- */

int
recover_unreadable(struct recovery *rc, const struct journal_file *f, int error)
{
	char name[STORE_NAME_MAX];

	if (error == -ENOMEM)
		return error;
	store_name(name, f->segment->number);
	snprintf(rc->why, 200, "%s cannot be read: %s. Nothing is lost yet; to start without what it holds, move that file away", name,
	    strerror(-error));
	return -EIO;
}

int
recover_use(struct recovery *rc, struct journal_file *f)
{
	char name[STORE_NAME_MAX];
	int r;

	if (rc->open_file == f)
		return 0;
	disk_file_close(rc->handle);
	rc->handle = NULL;
	rc->open_file = NULL;
	rc->window_len = 0;
	store_name(name, f->segment->number);
	r = disk_file_open(rc->s->cfg.disk, name, false, &rc->handle);
	if (r < 0)
		return recover_unreadable(rc, f, r);
	rc->open_file = f;
	return 0;
}

int
recover_bytes(struct recovery *rc, struct journal_file *f, uint64_t at, size_t len, const uint8_t **ret, size_t *ret_len)
{
	int r = recover_use(rc, f);
	uint64_t have;

	if (r < 0)
		return r;
	if (rc->window_len == 0 || at < rc->window_at || at + len > rc->window_at + rc->window_len) {
		size_t want = f->bytes - (at < f->bytes ? at : f->bytes) < WINDOW ? (size_t)(f->bytes - (at < f->bytes ? at : f->bytes)) : WINDOW;
		ssize_t n;

		if (store_grow(&rc->window, &rc->window_room, want > 64 ? want : 64, 1) < 0)
			return -ENOMEM;
		n = want > 0 ? disk_pread(rc->handle, rc->window, want, at) : 0;
		if (n < 0)
			return recover_unreadable(rc, f, (int)n);
		rc->window_at = at;
		rc->window_len = (size_t)n;
	}
	have = rc->window_at + rc->window_len - at;
	*ret = rc->window + (at - rc->window_at);
	*ret_len = have < len ? (size_t)have : len;
	return 0;
}

/* ------------------------------------------------------------------- scan -- */

void
scan_begin(struct scan *sc, struct journal_file *f, uint64_t limit)
{
	*sc = (struct scan){ .f = f, .at = STORE_HEADER, .limit = limit };
	if (limit == 0 || limit > f->h.size)
		sc->limit = f->h.size;
	if (sc->limit > f->bytes)
		sc->limit = f->bytes;
}

/* Is there a batch at this place? 1, 0 or a negative errno. */
static int
scan_here(struct recovery *rc, struct scan *sc)
{
	size_t need = STORE_BATCH_HEAD, len;
	int r;

	for (int i = 0; i < 2; i++) {
		if (need > STORE_BATCH_MAX || need > sc->limit - sc->at)
			return 0;
		r = recover_bytes(rc, sc->f, sc->at, need, &sc->data, &len);
		if (r < 0)
			return r;
		r = store_batch_decode(sc->data, len, sc->f->h.seed, sc->at, &sc->batch, &need);
		if (r != -EAGAIN)
			return r == 0;
	}
	return 0;
}

int
scan_next(struct recovery *rc, struct scan *sc)
{
	int r;

	sc->bad_at = 0;
	while (sc->at < sc->limit && sc->limit - sc->at >= STORE_BATCH_HEAD) {
		r = scan_here(rc, sc);
		if (r < 0)
			return r;
		if (r > 0) {
			sc->offset = sc->at;
			sc->at += store_align(sc->batch.len, STORE_BLOCK);
			return 1;
		}
		/* Look on behind it: what comes there tells a damaged batch from the end. */
		if (!sc->bad_at)
			sc->bad_at = sc->at;
		sc->at += STORE_BLOCK;
	}
	return 0;
}

bool
scan_is_whole(const struct scan *sc)
{
	struct store_record r;
	uint32_t at = 0;

	while (store_batch_next(sc->data, &sc->batch, sc->offset, &at, &r))
		if (!store_record_check(r.data, r.len, sc->f->h.seed, r.offset))
			return false;
	return true;
}

/* ----------------------------------------------------------------- replay -- */

/* Does the number follow? What is missing is damage; what is older is not of this journal. */
static bool
follows(struct recovery *rc, const struct scan *sc)
{
	uint64_t n = sc->batch.number;

#ifndef PLANT_RECYCLED_LIVE
	if (rc->expected && n < rc->expected)
		return false;
#endif
	if (rc->expected && n > rc->expected) {
		rc->damaged = true;
		store_damaged(rc->s, "segment %" PRIu32 ": batches %" PRIu64 " to %" PRIu64 " are missing", sc->f->h.segment,
		    rc->expected, n - 1);
	}
	rc->expected = n + 1;
	return true;
}

static void
progress(struct recovery *rc, uint64_t bytes)
{
	rc->bytes_done += bytes;
	if (rc->tell->progress)
		rc->tell->progress(rc->tell->arg, rc->bytes_done, rc->bytes_all);
}

int
recover_replay(struct recovery *rc, struct journal_file *f)
{
	uint64_t start = f->h.segment == rc->replay.segment ? (uint64_t)rc->replay.block * STORE_BLOCK : 0;
	size_t first = rc->n_found;
	struct scan sc;
	int r;

	scan_begin(&sc, f, f->end);
	while ((r = scan_next(rc, &sc)) > 0) {
		if (sc.bad_at)
			recover_bad(rc, f, "a batch", sc.bad_at);
		if (sc.offset >= start && !follows(rc, &sc)) {
			recover_bad(rc, f, "a batch that is too old", sc.offset);
			continue;
		}
		r = recover_take_batch(rc, &sc, sc.offset < start);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	if (f->end && sc.bad_at)
		recover_bad(rc, f, "a batch", sc.bad_at);
	if (f->end && f->last && rc->expected && rc->expected <= f->last) {
		rc->damaged = true;
		store_damaged(rc->s, "segment %" PRIu32 ": batches %" PRIu64 " to %" PRIu64 " are missing", f->h.segment,
		    rc->expected, f->last);
		rc->expected = f->last + 1;
	}
	f->segment->end = f->end ? f->end : sc.limit;
	progress(rc, f->bytes);
	if (start == 0)
		return 0;
	/* What the snapshot, which was read just now or comes yet, says of records before its start. */
	rc->head = (struct found_head){ f, first, rc->n_found };
	return 0;
}

int
recover_head(struct recovery *rc)
{
	int r;

	if (!rc->head.f)
		return 0;
	r = recover_find_deads(rc, rc->head.f);
	for (size_t i = rc->head.first; r == 0 && i < rc->head.end; i++)
		if (recover_is_dead(rc, rc->found[i].record))
			rc->found[i].dead = true;
	return r;
}

/* ------------------------------------------------------------------- load -- */

/* The index of f, malloc'ed; 0 bytes if it has none that can be believed. */
static int
read_index(struct recovery *rc, struct journal_file *f, uint8_t **ret, size_t *ret_len, uint32_t *ret_entries)
{
	struct store_footer footer;
	const uint8_t *p;
	size_t len;
	uint64_t at;
	ssize_t n;
	int r = recover_bytes(rc, f, f->h.size - STORE_FOOTER, STORE_FOOTER_LEN, &p, &len);

	*ret_len = 0;
	if (r < 0)
		return r;
	if (store_footer_decode(p, len, f->h.seed, &footer) < 0)
		return 0;
	at = (uint64_t)footer.index_block * STORE_BLOCK;
	if (at > f->bytes || footer.index_len > f->bytes - at || footer.index_len < STORE_INDEX_HEAD + STORE_INDEX_SUM)
		return 0;
	*ret = malloc(footer.index_len);
	if (!*ret)
		return -ENOMEM;
	n = disk_pread(rc->handle, *ret, footer.index_len, at);
	if (n < 0)
		return recover_unreadable(rc, f, (int)n);
	if (n == (ssize_t)footer.index_len &&
	    store_index_check(*ret, footer.index_len, f->h.seed, ret_entries) == 0)
		*ret_len = footer.index_len;
	f->segment->end = (uint64_t)footer.end_block * STORE_BLOCK;
	return 0;
}

static int
load_index(struct recovery *rc, struct journal_file *f, const uint8_t *index, size_t len, uint32_t entries)
{
	struct store_index_state st = { 0 };
	struct store_entry e;
	size_t at = STORE_INDEX_HEAD;
	int r = 0;

	for (uint32_t i = 0; i < entries && i < f->total && r == 0; i++) {
		if (!store_index_next(index, len, &at, &st, &e))
			return -EBADMSG;
		if (e.offset < STORE_HEADER || e.offset > f->h.size || e.len > f->h.size - e.offset)
			return -EBADMSG;
		r = recover_collect(rc, f, &e, recover_is_dead(rc, i));
	}
	return r;
}

static int
load_scan(struct recovery *rc, struct journal_file *f)
{
	size_t first = rc->n_found;
	bool lost = false;
	struct scan sc;
	int r = 0;

	scan_begin(&sc, f, f->end);
	while (f->segment->n_records < f->total && (r = scan_next(rc, &sc)) > 0) {
		if (sc.bad_at) {
			recover_bad(rc, f, "a batch", sc.bad_at);
			lost = true;
		}
		r = recover_take_batch(rc, &sc, true);
		if (r < 0)
			return r;
		f->segment->end = sc.at;
		/* Behind a batch that is missing nobody knows which number a record had: better twice than never. */
		for (; first < rc->n_found && !lost; first++)
			rc->found[first].dead = recover_is_dead(rc, rc->found[first].record) || rc->found[first].record >= f->total;
		if (lost)
			first = rc->n_found;
	}
	return r < 0 ? r : 0;
}

int
recover_load(struct recovery *rc, struct journal_file *f)
{
	uint8_t *index = NULL;
	uint32_t entries = 0;
	size_t len = 0;
	int r = recover_find_deads(rc, f);

	if (r == 0)
		r = read_index(rc, f, &index, &len, &entries);
	if (r == 0 && len > 0)
		r = load_index(rc, f, index, len, entries);
	free(index);
	if (r == 0 && len == 0)
		r = load_scan(rc, f);
	if (r == -EBADMSG) {
		recover_bad(rc, f, "an index", f->h.size - STORE_FOOTER);
		r = 0;
	}
	progress(rc, len > 0 ? len : f->bytes);
	return r;
}
