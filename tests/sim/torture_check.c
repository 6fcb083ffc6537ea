/* torture_model: what was found after a crash, held against what may be found. */
#include <stdlib.h>
#include <string.h>

#include "torture_model.h"
#include "world.h"

#define PREFIXES_MAX 4096
#define TIME_SLACK_MS 3

typedef unsigned long long ull;

void
model_found_reset(struct model_found *f)
{
	f->n = 0;
	memset(f->queues, 0, f->n_queues * sizeof(*f->queues));
	memset(f->flows, 0, f->n_flows * sizeof(*f->flows));
	f->n_queues = f->n_flows = 0;
	f->is_damaged = false;
}

/*
 * What was found, as a state, by appending it. What a message says beyond its
 * name is looked at once the tip is known. False: told.
 */
static bool
found_state(struct model_state *st, const struct model_found *f)
{
	model_replay(st, 0);
	for (uint32_t q = 1; q < f->n_queues; q++) {
		if (!f->queues[q].exists)
			continue;
		model_apply(st, &(struct append){ .kind = APPEND_QUEUE, .queue = q, .definition = f->queues[q].definition });
		model_apply(st, &(struct append){ .kind = APPEND_OFFERED, .queue = q, .seq = f->queues[q].offered });
	}
	for (size_t i = 0; i < f->n; i++) {
		const struct store_found *m = &f->messages[i];
		struct append a = { .kind = APPEND_PUT, .message = (uint32_t)m->counter, .queue = m->queue, .seq = m->seq, .flags = m->flags };

		if (m->counter == 0 || m->counter >= model_messages()) {
			world_violation("found a message that was never put: queue %u seq %llu counter %llu", m->queue, (ull)m->seq,
			    (ull)m->counter);
			return false;
		}
		if (i > 0 && (m->queue < m[-1].queue || (m->queue == m[-1].queue && m->seq < m[-1].seq))) {
			world_violation("messages are not told in order: queue %u seq %llu behind queue %u seq %llu", m->queue, (ull)m->seq,
			    m[-1].queue, (ull)m[-1].seq);
			return false;
		}
		if (i > 0 && m->queue == m[-1].queue && m->seq == m[-1].seq) {
			world_violation("doubled: two messages at queue %u seq %llu", m->queue, (ull)m->seq);
			return false;
		}
		if (a.message < st->n_places && st->places[a.message].live) {
			world_violation("doubled: message %u at queue %u seq %llu and at queue %u seq %llu", a.message, m->queue, (ull)m->seq,
			    st->places[a.message].queue, (ull)st->places[a.message].seq);
			return false;
		}
		model_apply(st, &a);
	}
	/* Marks were raised by the messages: what was told counts. */
	for (uint32_t n = 0; n < st->n_flows; n++)
		st->flows[n] = (struct model_flow){ 0 };
	return true;
}

/*
 * When space is short a done goes ahead of messages that wait for space (as does
 * an offer, see offered_ahead): by message, where in the chain (from 1) it is
 * done for itself alone, and where it is moved last. 0: not at all.
 */
struct later {
	uint32_t done, moved;
};

static struct later *
find_later(const uint32_t *chain, uint32_t n)
{
	static struct later *later;
	static size_t room;

	if (room < model_messages()) {
		room = 2 * (size_t)model_messages();
		later = realloc(later, room * sizeof(*later));
		if (!later)
			abort();
	}
	memset(later, 0, room * sizeof(*later));
	/* The chain is the wrong way round. */
	for (uint32_t at = 1; at <= n; at++) {
		const struct append *a = model_get(chain[n - at]);
		bool is_group = a->joined || (at < n && model_get(chain[n - at - 1])->joined);

		if (a->kind == APPEND_MOVE)
			later[a->message].moved = at;
		if (a->kind == APPEND_DONE && !is_group)
			later[a->message].done = at;
	}
	return later;
}

static bool
goes_ahead(const struct later *l, uint32_t at)
{
	return l->done > at && l->moved <= at;
}

/* Is that offered by one of those that come next, for itself alone? */
static bool
offered_ahead(const uint32_t *chain, uint32_t n, uint32_t queue, uint64_t offered)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct append *a = model_get(chain[i]);

		if (a->kind == APPEND_OFFERED && a->queue == queue && a->seq == offered && !a->joined &&
		    !(i > 0 && model_get(chain[i - 1])->joined))
			return true;
	}
	return false;
}

/* A note does not show in what is found: places are compared without. The last n of the chain come next, all - n were applied. */
static bool
same(const struct model_state *want, const struct model_state *found, const struct model_found *f, const struct later *later,
    const uint32_t *chain, uint32_t n_next, uint32_t all)
{
	uint32_t at = all - n_next;

	if (want->n_live < found->n_live)
		return false;
	for (size_t i = 0; i < want->n_places || i < found->n_places; i++) {
		const struct place *a = i < want->n_places && want->places[i].live ? &want->places[i] : NULL;
		const struct place *b = i < found->n_places && found->places[i].live ? &found->places[i] : NULL;

		if ((b && !a) || (a && !b && !goes_ahead(&later[i], at)))
			return false;
		if (a && b && (a->queue != b->queue || a->seq != b->seq || a->flags != b->flags))
			return false;
	}
	for (uint32_t q = 0; q < want->n_queues || q < f->n_queues; q++) {
		const struct model_queue *a = &want->queues[q], *b = &f->queues[q];

		if (a->exists != b->exists || (a->exists && a->definition != b->definition))
			return false;
		if (a->exists && a->offered != b->offered && !(b->offered > a->offered && offered_ahead(chain, n_next, q, b->offered)))
			return false;
	}
	for (uint32_t n = 0; n < want->n_flows || n < f->n_flows; n++) {
		const struct model_flow *a = &want->flows[n], *b = &f->flows[n];

		if (a->exists != b->exists || (a->exists && (a->definition != b->definition || a->mark != b->mark)))
			return false;
	}
	return true;
}

/* The first difference, in words; they are a violation. */
static void
tell_difference(const struct model_state *want, const struct model_state *found, const struct model_found *f, bool is_least)
{
	const char *which = is_least ? "synced" : "appended";

	for (uint32_t i = 1; i < want->n_places || i < found->n_places; i++) {
		const struct place *a = i < want->n_places && want->places[i].live ? &want->places[i] : NULL;
		const struct place *b = i < found->n_places && found->places[i].live ? &found->places[i] : NULL;

		if (a && !b)
			world_violation("message %u (%s) is lost: queue %u seq %llu", i, which, a->queue, (ull)a->seq);
		else if (b && !a)
			world_violation("message %u is back, or was never %s: queue %u seq %llu", i, which, b->queue, (ull)b->seq);
		else if (a && (a->queue != b->queue || a->seq != b->seq || a->flags != b->flags))
			world_violation("message %u is at queue %u seq %llu flags %u, and belongs (%s) to queue %u seq %llu flags %u", i,
			    b->queue, (ull)b->seq, b->flags, which, a->queue, (ull)a->seq, a->flags);
	}
	for (uint32_t n = 1; n < want->n_flows || n < f->n_flows; n++) {
		const struct model_flow *a = &want->flows[n], *b = &f->flows[n];

		if (a->exists != b->exists)
			world_violation("flow %u %s, and %s", n, b->exists ? "is there" : "is lost", a->exists ? "was defined" : "was removed");
		else if (a->exists && a->mark != b->mark)
			world_violation("flow %u has the mark %llu, %s was %llu", n, (ull)b->mark, which, (ull)a->mark);
		else if (a->exists && a->definition != b->definition)
			world_violation("flow %u has definition %u, %s was %u", n, b->definition, which, a->definition);
	}
	for (uint32_t q = 1; q < want->n_queues || q < f->n_queues; q++) {
		const struct model_queue *a = &want->queues[q], *b = &f->queues[q];

		if (a->exists != b->exists)
			world_violation("queue %u %s, and %s", q, b->exists ? "is there" : "is lost", a->exists ? "was defined" : "was removed");
		else if (a->exists && a->definition != b->definition)
			world_violation("queue %u has definition %u, %s was %u", q, b->definition, which, a->definition);
		else if (a->exists && a->offered != b->offered)
			world_violation("queue %u has offered %llu, %s was %llu", q, (ull)b->offered, which, (ull)a->offered);
	}
}

static bool
time_is_right(uint64_t found, uint64_t want, uint64_t now)
{
	if (want == 0 || found == 0)
		return want == found;
	if (want <= now + TIME_SLACK_MS)
		return found <= now + TIME_SLACK_MS;
	return found + TIME_SLACK_MS >= want && found <= want + TIME_SLACK_MS;
}

/* Whatever else was told of messages and queues. */
static void
check_fields(const struct model_state *st, const struct model_found *f, uint64_t boot_ahead_ms)
{
	uint64_t now = world_ms() + boot_ahead_ms;

	for (size_t i = 0; i < f->n; i++) {
		const struct store_found *m = &f->messages[i];
		const struct model_message *w = model_message((uint32_t)m->counter);
		const struct place *p = &st->places[m->counter];
		uint64_t expires = w->expires_ms ? w->expires_ms + boot_ahead_ms : 0;
		uint64_t not_before = w->not_before_ms ? w->not_before_ms + boot_ahead_ms : 0;

		if (m->priority != w->priority || (m->flow != w->flow && st->flows[w->flow].exists) || (m->flow && m->number != w->number))
			world_violation("message %llu has priority %u flow %u number %llu, it was put with %u, %u, %llu", (ull)m->counter,
			    m->priority, m->flow, (ull)m->number, w->priority, w->flow, (ull)w->number);
		if (m->bytes != model_bytes((uint32_t)m->counter, p))
			world_violation("message %llu has %llu bytes, not %llu", (ull)m->counter, (ull)m->bytes,
			    (ull)model_bytes((uint32_t)m->counter, p));
		if (!time_is_right(m->expires_ms, expires, now) || !time_is_right(m->not_before_ms, not_before, now))
			world_violation("message %llu expires at %llu, not %llu; not before %llu, not %llu; it is %llu", (ull)m->counter,
			    (ull)m->expires_ms, (ull)expires, (ull)m->not_before_ms, (ull)not_before, (ull)now);
		if (m->ref == 0)
			world_violation("message %llu has no ref", (ull)m->counter);
	}
}

/* At most what was ever used, whether it survived or not. */
static void
check_last_seqs(const struct model_state *st, const struct model_found *f)
{
	for (uint32_t q = 1; q < f->n_queues; q++) {
		uint64_t last = f->queues[q].low, low = q < st->n_queues ? st->queues[q].low : 0, high = 0;

		if (!f->queues[q].exists)
			continue;
		for (size_t i = 0; i < f->n; i++)
			if (f->messages[i].queue == q && f->messages[i].seq > low)
				low = f->messages[i].seq;
		for (uint32_t k = model_size().appends; last > low && k-- > 1;)
			if (model_get(k)->queue == q && (model_get(k)->kind == APPEND_PUT || model_get(k)->kind == APPEND_MOVE) &&
			    model_get(k)->seq > high)
				high = model_get(k)->seq;
		if (last < low || (last > low && last > high))
			world_violation("queue %u: its last seq is told as %llu; between %llu and %llu were used", q, (ull)last, (ull)low,
			    (ull)high);
	}
}

uint32_t
model_check(struct model_state *st, const struct model_found *f, uint32_t least, uint32_t most, uint64_t boot_ahead_ms)
{
	static struct model_state found, synced;
	static uint32_t chain[PREFIXES_MAX];
	uint32_t n = 0, all, tip = least, ret = UINT32_MAX;
	const struct later *later;

	for (uint32_t k = most; k != least; k = model_get(k)->before) {
		if (k == 0 || n == PREFIXES_MAX)
			abort(); /* least is not before most: a mistake of the harness */
		chain[n++] = k;
	}
	all = n;
	later = find_later(chain, n);
	model_replay(st, least);
	if (!found_state(&found, f))
		return UINT32_MAX;
	for (;;) {
		bool is_whole = n == 0 || !model_get(chain[n - 1])->joined;

		if (is_whole && same(st, &found, f, later, chain, n, all)) {
			ret = tip;
			break;
		}
		if (n == 0)
			break;
		tip = chain[--n];
		model_apply(st, model_get(tip));
	}
	if (ret == UINT32_MAX) {
		world_trace("found: %zu messages", f->n);
		model_trace(least);
		model_replay(&synced, least);
		/* More than there may be is told first, then what is missing. */
		for (uint32_t i = 1; i < found.n_places; i++)
			if (found.places[i].live && (i >= st->n_places || !st->places[i].live) && (i >= synced.n_places || !synced.places[i].live))
				world_violation("message %u is back at queue %u seq %llu", i, found.places[i].queue, (ull)found.places[i].seq);
		tell_difference(&synced, &found, f, true);
		tell_difference(st, &found, f, false);
		world_violation("what was found is no prefix of what was appended");
		return ret;
	}
	check_last_seqs(st, f);
	st->known_queues = st->n_queues;
	st->known_flows = st->n_flows;
	/* Those that went ahead come next, in whatever order. */
	for (uint32_t i = 1; i < st->n_places; i++) {
		struct append a = { .kind = APPEND_DONE, .message = i, .queue = st->places[i].queue, .seq = st->places[i].seq };

		if (!st->places[i].live || (i < found.n_places && found.places[i].live))
			continue;
		ret = model_append(ret, &a);
		model_apply(st, &a);
	}
	for (uint32_t q = 1; q < st->n_queues && q < f->n_queues; q++) {
		struct append a = { .kind = APPEND_OFFERED, .queue = q, .seq = f->queues[q].offered };

		if (!st->queues[q].exists || f->queues[q].offered <= st->queues[q].offered)
			continue;
		ret = model_append(ret, &a);
		model_apply(st, &a);
	}
	check_fields(st, f, boot_ahead_ms);
	return world_violated() ? UINT32_MAX : ret;
}

void
model_trace(uint32_t tip)
{
	static struct model_state st;

	if (!world_tracing())
		return;
	model_replay(&st, tip);
	world_trace("at least this is synced: %zu messages, append %u", st.n_live, tip);
	for (uint32_t i = 1; i < st.n_places; i++)
		if (st.places[i].live)
			world_trace("    message %u: queue %u seq %llu", i, st.places[i].queue, (ull)st.places[i].seq);
}
