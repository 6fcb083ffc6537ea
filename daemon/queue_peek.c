/*
 * A look at a queue. A window of it is copied at a time; what only the store
 * has is asked for in the same step, while its ref is certainly that of the
 * message. Where the look is it knows by number: the queue goes on meanwhile.
 */
#include "queue_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 32
#define READS 16     /* in one window */
#define READS_ALL 32 /* of all looks: what consumers wait for comes first */

/* In order. Those that wait merge with those of which only the store has the body. */
enum group { GROUP_HIGH, GROUP_NORMAL, GROUP_LOW, GROUP_HELD, GROUP_DELAYED, GROUP_SYNCING, GROUP_PARKED, GROUPS };

static const enum wire_priority by_rank[] = { WIRE_PRIORITY_HIGH, WIRE_PRIORITY_NORMAL, WIRE_PRIORITY_LOW };

enum look_state { LOOK_READING, LOOK_READY, LOOK_GONE };

struct look {
	struct queue_peek *peek;
	struct store_read read;
	enum look_state state;
	struct queue_seen seen;
	char *copy; /* what that points to */
};

struct queue_peek {
	struct queues *qs;
	void (*ready)(void *arg);
	void *arg;
	unsigned group; /* behind the window: there, after that number */
	uint64_t after;
	struct look at[WINDOW];
	unsigned n, next, reading;
	uint64_t *shown; /* what is taken meanwhile is not come upon again among the held */
	size_t n_shown, shown_room;
	bool is_stored_only;
};

/* ----------------------------------------------------------------- choosing -- */

struct place {
	uint64_t seq;
	const struct entry *entry;
	const struct cold *cold; /* if it is no entry */
};

/* The first behind `after`, by number. */
struct choice {
	struct place at[WINDOW];
	unsigned n, most;
	uint64_t after;
};

/* False: no higher number is wanted. */
static bool
choose(struct choice *ch, struct place p)
{
	unsigned i;

	if (p.seq <= ch->after)
		return true;
	if (ch->n == ch->most && p.seq > ch->at[ch->n - 1].seq)
		return false;
	if (ch->n < ch->most)
		ch->n++;
	for (i = ch->n - 1; i > 0 && ch->at[i - 1].seq > p.seq; i--)
		ch->at[i] = ch->at[i - 1];
	ch->at[i] = p;
	return true;
}

static bool
choose_cold(void *arg, struct queue *q, struct cold *c)
{
	(void)q;
	return choose(arg, (struct place){ .seq = c->seq, .cold = c });
}

/* Of a list; is_sorted: by number. */
static void
choose_entries(struct choice *ch, struct list *head, bool is_sorted)
{
	LIST_FOREACH (node, head) {
		const struct entry *e = list_entry(node, struct entry, node);

		/* Without body, and with none in the store: purged or expired while a link holds it. */
		if (!e->msg && (e->doomed || e->ref == 0))
			continue;
		if (!choose(ch, (struct place){ .seq = e->seq, .entry = e }) && is_sorted)
			return;
	}
}

static void
choose_held(struct choice *ch, struct queue *q)
{
	LIST_FOREACH (node, &q->consumers)
		for (unsigned p = 0; p < WIRE_PRIORITIES; p++)
			choose_entries(ch, &list_entry(node, struct consumer, all)->held[p], false);
}

static void
choose_of_group(const struct queue_peek *p, struct choice *ch, struct queue *q)
{
	enum group group = (enum group)p->group;

	if (p->is_stored_only) {
		if (group <= GROUP_LOW)
			cold_each_behind(&q->cold[by_rank[group]], ch->after, choose_cold, ch, q);
		return;
	}
	switch (group) {
	case GROUP_HIGH:
	case GROUP_NORMAL:
	case GROUP_LOW:
		cold_each_behind(&q->cold[by_rank[group]], ch->after, choose_cold, ch, q);
		choose_entries(ch, &q->loading[by_rank[group]], true);
		choose_entries(ch, &q->waiting[by_rank[group]], true);
		break;
	case GROUP_HELD:
		choose_held(ch, q);
		break;
	case GROUP_DELAYED:
		choose_entries(ch, &q->delayed, false);
		break;
	case GROUP_SYNCING:
		choose_entries(ch, &q->syncing, false);
		break;
	default:
		choose_entries(ch, &q->parked, false);
		break;
	}
}

static bool
was_shown(const struct queue_peek *p, uint64_t seq)
{
	for (size_t i = 0; i < p->n_shown; i++)
		if (p->shown[i] == seq)
			return true;
	return false;
}

/* ------------------------------------------------------------------ copying -- */

static void
add_bytes(char **at, struct wire_bytes *ret, struct wire_bytes b)
{
	if (b.len > 0)
		memcpy(*at, b.data, b.len);
	*ret = wire_bytes(*at, b.len);
	*at += b.len;
}

static const char *
add_text(char **at, struct wire_bytes b)
{
	struct wire_bytes copy;

	add_bytes(at, &copy, b);
	*(*at)++ = '\0';
	return (const char *)copy.data;
}

/* Without memory for it, it is seen without its bytes. */
static void
copy(struct look *l, struct wire_bytes type, struct wire_bytes origin, struct wire_bytes body, struct wire_bytes reason)
{
	struct queue_seen *s = &l->seen;
	char *at;

	if (body.len > QUEUE_SEEN_BODY)
		body.len = QUEUE_SEEN_BODY;
	at = l->copy = malloc(type.len + origin.len + body.len + reason.len + 2);
	s->is_unread = !at;
	if (!at)
		return;
	s->type = add_text(&at, type);
	s->reason = add_text(&at, reason);
	add_bytes(&at, &s->origin, origin);
	add_bytes(&at, &s->body, body);
}

static void
copy_message(struct look *l, const struct entry *e)
{
	const struct message *m = e->msg;

	l->seen.counter = m->counter;
	l->seen.size = m->body_len;
	copy(l, intern_bytes(m->type), intern_bytes(m->origin), wire_bytes(m->body, (size_t)m->body_len),
	    wire_string(e->reason ? e->reason : ""));
}

/* ------------------------------------------------------------------ reading -- */

static struct wire_bytes
part(const struct store_read *r, unsigned i)
{
	return wire_bytes(r->parts[i].data, r->parts[i].len);
}

static void
look_read(struct store_read *r, int error)
{
	struct look *l = (struct look *)(void *)((char *)r - offsetof(struct look, read));
	struct queue_peek *p = l->peek;

	p->reading--;
	p->qs->peeking--;
	l->state = error == -ECANCELED ? LOOK_GONE : LOOK_READY; /* else it left meanwhile */
	if (error == 0) {
		l->seen.counter = r->counter;
		l->seen.size = r->last_len;
		copy(l, part(r, PART_TYPE), part(r, PART_ORIGIN), part(r, PART_BODY), part(r, PART_NOTE));
	}
	free(r->memory);
	r->memory = NULL;
	if (p->reading == 0)
		p->ready(p->arg);
}

/* False: not now. */
static bool
look_start(struct look *l, store_ref ref)
{
	struct queue_peek *p = l->peek;
	struct queues *qs = p->qs;
	int r;

	if (!qs->store)
		return true;
	if (p->reading == READS || qs->peeking == READS_ALL)
		return false;
	l->read.done = look_read;
	r = store_read_start(qs->store, ref, &l->read);
	if (r == -EAGAIN)
		return false;
	if (r < 0)
		return true; /* it is seen as it is */
	l->state = LOOK_READING;
	p->reading++;
	qs->peeking++;
	return true;
}

/* ------------------------------------------------------------------- window -- */

/* What there is at a place becomes the last of the window. False: it must be read, and cannot be now. */
static bool
take(struct queue_peek *p, const struct place *pl)
{
	struct look *l = &p->at[p->n];
	const struct entry *e = pl->entry;
	const struct cold *c = pl->cold;

	*l = (struct look){ .peek = p, .state = LOOK_READY };
	if (e)
		l->seen = (struct queue_seen){ .entered_ms = e->entered_ms, .expires_ms = e->expires_ms, .size = e->bytes,
			.attempt = e->attempt, .state = e->state, .priority = e->priority };
	else
		l->seen = (struct queue_seen){ .entered_ms = (uint64_t)c->entered_s * 1000, .expires_ms = c->expires_ms,
			.size = c->bytes, .state = ENTRY_WAITING, .priority = c->priority };
	l->seen.seq = pl->seq;
	l->seen.type = l->seen.reason = "";
	l->seen.is_unread = true;
	if (e && e->msg)
		copy_message(l, e);
	else if (!look_start(l, e ? e->ref : c->ref))
		return false;
	p->n++;
	return true;
}

static void
empty(struct queue_peek *p)
{
	for (unsigned i = 0; i < p->n; i++)
		free(p->at[i].copy);
	p->n = p->next = 0;
}

/* 0, or -EBUSY and there is nothing in the window. */
static int
fill(struct queue_peek *p, struct queue *q, unsigned most)
{
	empty(p);
	queue_settle(q);
	while (p->group < GROUPS && p->n < most) {
		struct choice ch = { .most = most - p->n, .after = p->after };

		choose_of_group(p, &ch, q);
		for (unsigned i = 0; i < ch.n; i++) {
			bool is_known = p->group >= GROUP_HELD && was_shown(p, ch.at[i].seq);

			if (!is_known && !take(p, &ch.at[i]))
				return p->n > 0 ? 0 : -EBUSY;
			p->after = ch.at[i].seq;
		}
		if (ch.n == ch.most)
			continue; /* there may be more */
		p->group++;
		p->after = 0;
	}
	return 0;
}

/* --------------------------------------------------------------------- face -- */

struct queue_peek *
queue_peek_new(struct queues *qs, void (*ready)(void *arg), void *arg)
{
	struct queue_peek *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->qs = qs;
	p->ready = ready;
	p->arg = arg;
	return p;
}

void
queue_peek_stored(struct queue_peek *p)
{
	p->is_stored_only = true;
}

int
queue_peek_get(struct queue_peek *p, struct queue *q, uint64_t most, const struct queue_seen **ret)
{
	if (most == 0)
		return 0;
	for (;;) {
		if (p->reading > 0)
			return -EAGAIN;
		while (p->next < p->n && p->at[p->next].state == LOOK_GONE)
			p->next++;
		if (p->next < p->n) {
			*ret = &p->at[p->next].seen;
			return 1;
		}
		if (p->group == GROUPS)
			return 0;
		if (fill(p, q, most < WINDOW ? (unsigned)most : WINDOW) < 0)
			return -EBUSY;
	}
}

void
queue_peek_next(struct queue_peek *p)
{
	uint64_t seq = p->at[p->next++].seen.seq;
	uint64_t *more = p->shown;

	if (p->is_stored_only)
		return;
	if (p->n_shown == p->shown_room) {
		size_t room = p->shown_room ? 2 * p->shown_room : 64;

		more = realloc(p->shown, room * sizeof(*more));
		if (!more)
			return; /* then it may be seen twice */
		p->shown = more;
		p->shown_room = room;
	}
	p->shown[p->n_shown++] = seq;
}

void
queue_peek_free(struct queue_peek *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < p->n; i++) {
		struct look *l = &p->at[i];

		if (l->state != LOOK_READING)
			continue;
		p->qs->peeking--;
		/* Without a store its reads are gone with it. */
		if (p->qs->store)
			store_read_cancel(p->qs->store, &l->read);
	}
	empty(p);
	free(p->shown);
	free(p);
}
