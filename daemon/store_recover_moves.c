/* Recovery: messages find their homes. */
#include <errno.h>
#include <stdlib.h>

#include "store_recover.h"

/* Messages by queue and sequence: open addressing. What was moved is found by both, and told apart by its key. */
struct table {
	uint32_t *at; /* 1 + index of a found one; 0: empty */
	size_t mask;
};

/* ------------------------------------------------------------------ places -- */

bool
recover_is_later(const struct store *s, const struct found *a, const struct found *b)
{
	uint32_t x = s->segments[a->segment]->number, y = s->segments[b->segment]->number;

	return x != y ? x > y : a->record > b->record;
}

static size_t
hash(uint32_t queue, uint64_t seq)
{
	return (size_t)hmap_hash_number(seq ^ (uint64_t)queue << 40 ^ queue);
}

/* Where it is, or where it belongs. */
static uint32_t *
lookup(const struct recovery *rc, const struct table *t, uint32_t queue, uint64_t seq)
{
	size_t i = hash(queue, seq) & t->mask;

	for (; t->at[i]; i = (i + 1) & t->mask) {
		const struct found *f = &rc->found[t->at[i] - 1];

		if (f->queue == queue && f->seq == seq && !f->dead)
			break;
	}
	return &t->at[i];
}

/*
 * f takes its place; of two the later one stays. The way there may lead over f
 * itself, which was moved and is still found by its old home: on past that.
 */
static void
insert(struct recovery *rc, const struct table *t, struct found *f)
{
	size_t i = hash(f->queue, f->seq) & t->mask;
	struct found *o = NULL;

	for (; t->at[i]; i = (i + 1) & t->mask) {
		o = &rc->found[t->at[i] - 1];
		if (o != f && o->queue == f->queue && o->seq == f->seq && !o->dead)
			break;
		o = NULL;
	}
	if (o && recover_is_later(rc->s, o, f)) {
		f->dead = true;
		return;
	}
	if (o)
		o->dead = true;
	t->at[i] = (uint32_t)(f - rc->found) + 1;
}

static int
init_table(struct recovery *rc, struct table *t)
{
	size_t n = 16;

	while (n < 2 * (rc->n_found + rc->n_moves))
		n *= 2;
	t->at = calloc(n, sizeof(*t->at));
	t->mask = n - 1;
	if (!t->at)
		return -ENOMEM;
	for (size_t i = 0; i < rc->n_found; i++)
		if (!rc->found[i].dead && rc->found[i].kind == STORE_MESSAGE)
			insert(rc, t, &rc->found[i]);
	return 0;
}

/* ------------------------------------------------------------------- moves -- */

static void
apply_move(struct recovery *rc, const struct table *t, size_t i)
{
	struct store_moved *m = &rc->moves[i], *last;
	uint32_t *at = lookup(rc, t, m->from_queue, m->from_seq);
	struct found *f;

	/* It was copied at its new home, and its segment is not there any more; or it was done. */
	if (!*at)
		return;
	f = &rc->found[*at - 1];
	f->queue = m->to_queue;
	f->seq = m->to_seq;
	f->flags = m->flags;
	if (m->has_note) {
		f->bytes += m->note.len - f->note_len;
		f->note_len = (uint32_t)m->note.len;
	}
	/* The record itself still tells the home before the first move. */
	if (f->moved) {
		last = &rc->moves[f->moved - 1];
		m->from_queue = last->from_queue;
		m->from_seq = last->from_seq;
		if (!m->has_note && last->has_note) {
			struct store_bytes own = m->note;

			m->has_note = true;
			m->note = last->note;
			last->note = own;
			last->has_note = false;
		}
	}
	f->moved = (uint32_t)i + 1;
	insert(rc, t, f);
}

int
recover_apply_moves(struct recovery *rc)
{
	struct table t;
	int r = init_table(rc, &t);

	if (r < 0)
		return r;
	for (size_t i = 0; i < rc->n_moves; i++)
		apply_move(rc, &t, i);
	free(t.at);
	return 0;
}
