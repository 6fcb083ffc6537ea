/*
 * What was found becomes the store's tables: moves, then dones; of two records
 * for one place in a queue the later one; no piece without its message, and no
 * message without its pieces.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store_recover.h"

void
recover_raise(uint64_t *p, uint64_t n)
{
	if (*p < n)
		*p = n;
}

/* ------------------------------------------------------------------- dones -- */

static int
by_home(const void *a, const void *b, void *arg)
{
	const struct found *x = (const struct found *)arg + *(const uint32_t *)a;
	const struct found *y = (const struct found *)arg + *(const uint32_t *)b;

	if (x->queue != y->queue)
		return x->queue < y->queue ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static int
by_first(const void *a, const void *b)
{
	const struct found_done *x = a, *y = b;

	if (x->queue != y->queue)
		return x->queue < y->queue ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

/* Living ones of a kind, sorted; malloc'ed. */
static int
sorted(struct recovery *rc, enum store_kind kind, int (*by)(const void *a, const void *b, void *arg), uint32_t **ret,
    size_t *ret_n)
{
	size_t n = 0;
	bool is_sorted = true;
	uint32_t *p = malloc((rc->n_found + 1) * sizeof(*p));

	if (!p)
		return -ENOMEM;
	for (size_t i = 0; i < rc->n_found; i++) {
		if (rc->found[i].dead || rc->found[i].kind != kind)
			continue;
		p[n++] = (uint32_t)i;
		if (n > 1 && by(&p[n - 2], &p[n - 1], rc->found) > 0)
			is_sorted = false;
	}
	if (!is_sorted)
		qsort_r(p, n, sizeof(*p), by, rc->found);
	*ret = p;
	*ret_n = n;
	return 0;
}

/* Both are sorted: one walk over both. */
static void
apply_dones(struct recovery *rc, const uint32_t *order, size_t n)
{
	size_t d = 0;
	uint32_t queue = 0;
	uint64_t last = 0;
	bool is_any = false; /* everything up to last in that queue is done, from where we are */

	if (rc->n_dones > 0)
		qsort(rc->dones, rc->n_dones, sizeof(*rc->dones), by_first);
	for (size_t i = 0; i < n; i++) {
		struct found *f = &rc->found[order[i]];

		for (; d < rc->n_dones; d++) {
			const struct found_done *x = &rc->dones[d];

			if (x->queue > f->queue || (x->queue == f->queue && x->first > f->seq))
				break;
			if (!is_any || queue != x->queue || last < x->last)
				last = x->last;
			queue = x->queue;
			is_any = true;
		}
		if (is_any && queue == f->queue && f->seq <= last)
			f->dead = true;
	}
}

/* ------------------------------------------------------------------ pieces -- */

static int
by_piece(const void *a, const void *b, void *arg)
{
	const struct found *x = (const struct found *)arg + *(const uint32_t *)a;
	const struct found *y = (const struct found *)arg + *(const uint32_t *)b;

	if (x->body != y->body)
		return x->body < y->body ? -1 : 1;
	if (x->index != y->index)
		return x->index < y->index ? -1 : 1;
	return 0;
}

/* Of two copies of a piece the later one stays. */
static size_t
drop_older_pieces(struct recovery *rc, uint32_t *order, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		struct found *f = &rc->found[order[i]], *o = kept > 0 ? &rc->found[order[kept - 1]] : NULL;

		if (!o || o->body != f->body || o->index != f->index) {
			order[kept++] = order[i];
		} else if (recover_is_later(rc->s, f, o)) {
			o->dead = true;
			order[kept - 1] = order[i];
		} else {
			f->dead = true;
		}
	}
	return kept;
}

static size_t
first_piece(const struct recovery *rc, const uint32_t *order, size_t n, uint64_t body)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (rc->found[order[mid]].body < body)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static uint64_t
piece_bytes(const struct recovery *rc, const struct found *f)
{
	return rc->s->segments[f->segment]->records[f->record].len - STORE_PIECE_HEAD;
}

/* ------------------------------------------------------------------- slots -- */

/* A living record gets its slot. */
static int
add_slot(struct recovery *rc, const struct found *f, store_ref *ret)
{
	struct store *s = rc->s;
	struct segment *g = s->segments[f->segment];
	uint64_t cost = store_record_cost(s, g->records[f->record].len);
	int r = store_slot_new(s, ret);

	if (r < 0)
		return r;
	s->slots[*ret] = (struct slot){ .segment = f->segment, .state = SLOT_WRITTEN, .record = f->record };
	g->records[f->record].ref = *ret;
	g->live++;
	g->live_bytes += cost;
	s->live_bytes += cost;
	return 0;
}

/* All of its pieces, in order and without a gap? How many; 0: no. */
static size_t
count_pieces(const struct recovery *rc, const struct found *f, const uint32_t *pieces, size_t n, size_t at)
{
	uint64_t len = 0;
	size_t k = 0;

	while (at + k < n && rc->found[pieces[at + k]].body == f->body && rc->found[pieces[at + k]].index == k &&
	    !rc->found[pieces[at + k]].dead)
		len += piece_bytes(rc, &rc->found[pieces[at + k++]]);
	return len == f->last_len ? k : 0;
}

static int
add_body(struct recovery *rc, store_ref ref, const struct found *f, const uint32_t *pieces, size_t n)
{
	struct store *s = rc->s;
	struct store_body *b = calloc(1, sizeof(*b));
	int r = 0;

	if (!b)
		return -ENOMEM;
	*b = (struct store_body){ .store = s, .ref = ref, .id = f->body, .len = f->last_len };
	list_init(&b->unput);
	b->pieces = malloc(n * sizeof(*b->pieces));
	if (!b->pieces || hmap_add(&s->bodies, &b->node, hmap_hash_number(ref)) < 0) {
		b->ref = 0;
		store_body_free(b);
		return -ENOMEM;
	}
	s->slots[ref].large = true;
	for (size_t i = 0; i < n && r == 0; i++) {
		struct found *p = &rc->found[pieces[i]];

		r = add_slot(rc, p, &b->pieces[i]);
		if (r == 0)
			b->n++;
		p->dead = true; /* taken: it is nobody else's */
	}
	return r;
}

static int
add_moved(struct recovery *rc, store_ref ref, const struct found *f)
{
	struct store_moved *last;
	struct moved *m;

	if (!f->moved)
		return 0;
	m = store_moved_get(rc->s, ref);
	if (!m)
		return -ENOMEM;
	last = &rc->moves[f->moved - 1];
	m->is_closed = true;
	m->m = *last;
	last->note = (struct store_bytes){ 0 };
	if (!m->m.has_note)
		store_moved_drop_note(m);
	return 0;
}

/* Until when, on the loop's clock. What has passed is now. */
static uint64_t
from_wall(const struct store *s, uint64_t wall)
{
	uint64_t now = loop_now_ms(s->cfg.loop), wall_now = store_now_wall(s);

	if (wall == 0)
		return 0;
	if (wall <= wall_now)
		return now ? now : 1;
	return wall - wall_now > UINT64_MAX - now ? UINT64_MAX : now + (wall - wall_now);
}

static void
tell_message(struct recovery *rc, store_ref ref, const struct found *f)
{
	struct store *s = rc->s;

	s->messages++;
	s->stats.recovered_messages++;
	if (!rc->tell->message)
		return;
	rc->tell->message(rc->tell->arg, &(struct store_found){
		.ref = ref,
		.queue = f->queue,
		.seq = f->seq,
		.flow = f->flow,
		.number = f->number,
		.priority = f->priority,
		.flags = f->flags,
		.counter = f->counter,
		.expires_ms = from_wall(s, f->expires),
		.not_before_ms = from_wall(s, f->not_before),
		.bytes = f->bytes,
	});
}

static int
add_message(struct recovery *rc, struct found *f, const uint32_t *pieces, size_t n_pieces)
{
	struct store *s = rc->s;
	struct segment *g = s->segments[f->segment];
	size_t at = 0, n = 0;
	store_ref ref;
	int r;

	if (f->body) {
		at = first_piece(rc, pieces, n_pieces, f->body);
		n = count_pieces(rc, f, pieces, n_pieces, at);
		if (n == 0) {
			store_damaged(s, "segment %" PRIu32 ": a message at %" PRIu64 " whose bytes are not all there set aside",
			    g->number, (uint64_t)g->records[f->record].at * 8);
			f->dead = true;
			return 0;
		}
	}
	r = add_slot(rc, f, &ref);
	if (r == 0 && f->body)
		r = add_body(rc, ref, f, pieces + at, n);
	if (r == 0)
		r = add_moved(rc, ref, f);
	if (r == 0)
		tell_message(rc, ref, f);
	return r;
}

/* ------------------------------------------------------------- definitions -- */

static void
tell_definitions(struct recovery *rc, const uint32_t *order, size_t n)
{
	struct store *s = rc->s;

	/* A queue with messages is one, whatever became of its definition. */
	for (size_t i = 0; i < n; i++) {
		const struct found *f = &rc->found[order[i]];
		struct defined *d = f->dead ? NULL : store_defined_find(&s->queues, f->queue);

		if (d && !d->is_defined && !d->d.removed)
			d->is_defined = true;
	}
	LIST_FOREACH_SAFE (q, &s->queues.list) {
		struct defined *d = list_entry(q, struct defined, list);

		if (!d->is_defined)
			store_defined_drop(s, &s->queues, d);
		else if (rc->tell->queue)
			rc->tell->queue(rc->tell->arg, d->d.number, d->d.last_seq, d->d.offered, d->d.bytes);
	}
	LIST_FOREACH_SAFE (q, &s->flows.list) {
		struct defined *d = list_entry(q, struct defined, list);

		if (!d->is_defined)
			store_defined_drop(s, &s->flows, d);
		else if (rc->tell->flow)
			rc->tell->flow(rc->tell->arg, d->d.number, d->d.mark, d->d.bytes);
	}
}

static uint32_t
beyond(uint32_t next, uint32_t number)
{
	return number < next ? next : number == UINT32_MAX ? number : number + 1;
}

/* Numbers in use are not given again; queues of messages found exist. */
static int
count_numbers(struct recovery *rc)
{
	struct store *s = rc->s;

	for (size_t i = 0; i < rc->n_found; i++) {
		const struct found *f = &rc->found[i];
		struct defined *d;

		if (f->dead)
			continue;
		recover_raise(&s->next_body, f->body + 1);
		if (f->kind != STORE_MESSAGE)
			continue;
		d = store_defined_get(&s->queues, f->queue);
		if (!d)
			return -ENOMEM;
		recover_raise(&d->d.last_seq, f->seq);
	}
	LIST_FOREACH (n, &s->queues.list)
		s->next_queue = beyond(s->next_queue, list_entry(n, struct defined, list)->d.number);
	LIST_FOREACH (n, &s->flows.list)
		s->next_flow = beyond(s->next_flow, list_entry(n, struct defined, list)->d.number);
	return 0;
}

/* Records have said where they were remembered; now they say what lives. */
static void
forget_refs(struct store *s)
{
	for (uint32_t i = 0; i < s->n_segments; i++)
		for (uint32_t k = 0; k < s->segments[i]->n_records; k++)
			s->segments[i]->records[k].ref = 0;
}

int
recover_apply(struct recovery *rc)
{
	uint32_t *order = NULL, *pieces = NULL;
	size_t n = 0, n_pieces = 0;
	int r = recover_apply_moves(rc);

	forget_refs(rc->s);
	if (r == 0)
		r = count_numbers(rc);
	if (r == 0)
		r = sorted(rc, STORE_MESSAGE, by_home, &order, &n);
	if (r == 0)
		r = sorted(rc, STORE_PIECE, by_piece, &pieces, &n_pieces);
	if (r == 0) {
		apply_dones(rc, order, n);
		n_pieces = drop_older_pieces(rc, pieces, n_pieces);
		tell_definitions(rc, order, n);
	}
	for (size_t i = 0; i < n && r == 0; i++) {
		struct found *f = &rc->found[order[i]];
		const struct defined *d = f->dead ? NULL : store_defined_find(&rc->s->queues, f->queue);

		/* What was in a queue when that was removed went with it. */
		if (d)
			r = add_message(rc, f, pieces, n_pieces);
	}
	free(order);
	free(pieces);
	return r;
}
