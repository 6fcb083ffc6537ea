#include "ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "connectd.h"
#include "world.h"

struct sent {
	struct ledger_send how;
	bool taken, orphan; /* its producer was killed before the end of it */
	uint32_t zombie; /* of this instance, which had been taken over; 0: no */
	bool accepted, stored, arrived; /* told, whatever was told since */
	bool final;
	int level, result;
	uint64_t sent_at, told_at;
	uint32_t deliveries, unflagged;
	uint64_t id[2];    /* 0: not delivered yet */
	uint32_t tried_in; /* life of the destination in which the first attempt was seen */
};

struct seen {
	uint32_t consumer, line;
	uint64_t last;       /* of those not flagged */
	uint64_t last_first; /* of first attempts of stored messages, in one life of the daemon */
	uint32_t life;
};

static struct {
	struct sent *sent;
	size_t n, cap;
	struct seen *seen;
	size_t n_seen, cap_seen;
	uint64_t died[LEDGER_DAEMONS]; /* the last time */
	uint32_t life[LEDGER_DAEMONS]; /* counted from 1 */
	bool starved;
} ledger;

void
ledger_start(void)
{
	ledger.n = ledger.n_seen = 0;
	ledger.starved = false;
	memset(ledger.died, 0, sizeof(ledger.died));
	for (int i = 0; i < LEDGER_DAEMONS; i++)
		ledger.life[i] = 1;
}

void
ledger_starved(void)
{
	ledger.starved = true;
}

void
ledger_daemon_died(int daemon)
{
	ledger.died[daemon] = world_now();
}

void
ledger_daemon_started(int daemon)
{
	ledger.life[daemon]++;
}

void
ledger_producer_died(int producer)
{
	for (size_t i = 0; i < ledger.n; i++)
		if (ledger.sent[i].how.producer == producer && !ledger.sent[i].final)
			ledger.sent[i].orphan = true;
}

static struct sent *
get(uint64_t number)
{
	if (number == 0 || number > ledger.n) {
		world_violation("message %llu was never sent", (unsigned long long)number);
		return NULL;
	}
	return &ledger.sent[number - 1];
}

uint64_t
ledger_sent(const struct ledger_send *s)
{
	if (ledger.n == ledger.cap) {
		ledger.cap = ledger.cap ? 2 * ledger.cap : 256;
		ledger.sent = realloc(ledger.sent, ledger.cap * sizeof(*ledger.sent));
		if (!ledger.sent)
			abort();
	}
	ledger.sent[ledger.n] = (struct sent){ .how = *s, .taken = true, .sent_at = world_now() };
	return ++ledger.n;
}

void
ledger_purged(int daemon)
{
	for (size_t i = 0; i < ledger.n; i++)
		if (ledger.sent[i].how.from == daemon || ledger.sent[i].how.to == daemon)
			ledger.sent[i].how.mortal = true;
}

void
ledger_not_sent(uint64_t number)
{
	get(number)->taken = false;
}

static bool
from_died(const struct sent *m, uint64_t since)
{
	return ledger.died[m->how.from] >= since;
}

static bool
to_died(const struct sent *m, uint64_t since)
{
	return ledger.died[m->how.to] >= since;
}

/* ------------------------------------------------------------------- told -- */

/* The level at which it is over for its sender, if all goes well. */
static int
top(const struct sent *m)
{
	for (int level = CONNECTD_ARRIVED; level > CONNECTD_NONE; level--)
		if (m->how.levels & CONNECTD_TELL(level))
			return level;
	return m->how.kept_from ? CONNECTD_STORED : CONNECTD_ACCEPTED;
}

/* Is this an end that the message could come to? */
static const char *
wrong_end(const struct sent *m, int level, int result)
{
	switch (result) {
	case 0:
		return level == top(m) ? NULL : "ended well, and not at the level asked for";
	case -EBADMSG:
		return level >= CONNECTD_REJECTED ? NULL : "has ended, and nobody says how";
	case -ENODATA:
		return top(m) == CONNECTD_ARRIVED ? NULL : "is said to have passed, which nobody asked for";
	case -ENOTSUP:
		return top(m) == CONNECTD_STORED && !m->how.kept_from ? NULL : "is said to be in memory alone";
	default:
		return "ended with an error that has no reason";
	}
}

/* By the daemon of its sender, which has nothing of it. */
static bool
refused_for_memory(const struct sent *m, int level)
{
	return ledger.starved && level == CONNECTD_REJECTED && (!m->accepted || (!m->stored && from_died(m, m->sent_at)));
}

void
ledger_told(uint64_t number, int level, bool final, int result)
{
	struct sent *m = get(number);
	const char *wrong;

	if (!m)
		return;
	world_trace("  message %llu: level %d%s result %d", (unsigned long long)number, level, final ? " final" : "", result);
	if (m->final)
		world_violation("message %llu got a call after its final one", (unsigned long long)number);
	if (m->zombie && level != CONNECTD_NONE)
		world_violation("message %llu of a producer that was taken over is said to be there", (unsigned long long)number);
	if (level == CONNECTD_ARRIVED && m->how.refusable)
		world_violation("message %llu is said to have arrived, and cannot be taken there", (unsigned long long)number);
	if (level == CONNECTD_STORED && !m->how.kept_from)
		world_violation("message %llu is said to be stored, and is a memory message", (unsigned long long)number);
	if (level >= CONNECTD_REJECTED && !m->how.refusable && !m->how.mortal && !refused_for_memory(m, level))
		world_violation("message %llu was refused (level %d) without a reason", (unsigned long long)number, level);
	if (level >= CONNECTD_REJECTED && m->deliveries > 0 && !from_died(m, m->sent_at) && !to_died(m, m->sent_at))
		world_violation("message %llu is said to have ended (level %d), and was delivered", (unsigned long long)number, level);
	wrong = final && !m->zombie ? wrong_end(m, level, result) : NULL;
	if (wrong)
		world_violation("message %llu %s (level %d, result %d)", (unsigned long long)number, wrong, level, result);
	m->accepted |= level >= CONNECTD_ACCEPTED;
	m->stored |= level == CONNECTD_STORED;
	m->arrived |= level == CONNECTD_ARRIVED;
	m->level = level;
	m->result = result;
	m->final = final;
	m->told_at = world_now();
}

void
ledger_orphan(uint64_t number)
{
	struct sent *m = get(number);

	if (m && !m->final)
		m->orphan = true;
}

void
ledger_safe(uint64_t number)
{
	struct sent *m = get(number);

	if (!m)
		return;
	m->accepted = true;
	m->stored |= m->how.kept_from;
	m->orphan |= !m->final;
}

void
ledger_again(uint64_t number)
{
	struct sent *m = get(number);

	if (!m)
		return;
	m->taken = true;
	m->orphan = m->final = false;
	m->level = m->result = 0;
}

void
ledger_zombie(uint64_t number, uint32_t instance)
{
	get(number)->zombie = instance;
}

void
ledger_zombie_died(uint32_t instance)
{
	for (size_t i = 0; i < ledger.n; i++)
		if (ledger.sent[i].zombie == instance)
			ledger_orphan(i + 1);
}

/* -------------------------------------------------------------- delivered -- */

static struct seen *
seen_by(uint32_t consumer, uint32_t line)
{
	for (size_t i = 0; i < ledger.n_seen; i++)
		if (ledger.seen[i].consumer == consumer && ledger.seen[i].line == line)
			return &ledger.seen[i];
	if (ledger.n_seen == ledger.cap_seen) {
		ledger.cap_seen = ledger.cap_seen ? 2 * ledger.cap_seen : 64;
		ledger.seen = realloc(ledger.seen, ledger.cap_seen * sizeof(*ledger.seen));
		if (!ledger.seen)
			abort();
	}
	ledger.seen[ledger.n_seen] = (struct seen){ .consumer = consumer, .line = line };
	return &ledger.seen[ledger.n_seen++];
}

/* What is offered for the first time comes in order, line by line. */
static void
check_order(const struct sent *m, uint64_t number, const struct ledger_delivery *d)
{
	struct seen *s = seen_by(d->consumer, m->how.line);

	if (!d->flagged) {
		if (number < s->last)
			world_violation("message %llu was offered behind %llu, which was sent later", (unsigned long long)number,
			    (unsigned long long)s->last);
		s->last = number;
	}
	/* And those that are stored at both ends come in order again after each start. */
	if (d->attempt != 1 || !m->how.kept_from || !m->how.kept_to)
		return;
	if (s->life == ledger.life[d->at] && number < s->last_first)
		world_violation("message %llu was tried first behind %llu, which was sent later", (unsigned long long)number,
		    (unsigned long long)s->last_first);
	s->life = ledger.life[d->at];
	s->last_first = number;
}

/*
 * Attempts are counted as long as a daemon lives: two first ones are two places
 * in its queue. And whatever its first daemon accepted twice has two ids.
 */
static void
check_once(struct sent *m, uint64_t number, const struct ledger_delivery *d)
{
	bool same = m->id[0] == d->id[0] && m->id[1] == d->id[1];

	if (m->id[1] != 0 && !same && (m->how.kept_from || !from_died(m, m->sent_at)))
		world_violation("message %llu was accepted twice by the daemon of its sender", (unsigned long long)number);
	if (d->attempt == 1 && same && m->tried_in == ledger.life[d->at])
		world_violation("message %llu is twice in its queue", (unsigned long long)number);
	m->id[0] = d->id[0];
	m->id[1] = d->id[1];
	if (d->attempt == 1)
		m->tried_in = ledger.life[d->at];
}

void
ledger_delivered(uint64_t number, const struct ledger_delivery *d)
{
	struct sent *m = get(number);

	if (!m)
		return;
	world_trace("  message %llu delivered to consumer %u%s attempt %u", (unsigned long long)number, d->consumer,
	    d->flagged ? ", perhaps again" : "", d->attempt);
	if (!m->taken)
		world_violation("message %llu was delivered, and was never taken", (unsigned long long)number);
	if (m->zombie)
		world_violation("message %llu of a producer that was taken over was delivered", (unsigned long long)number);
	if (m->how.to != d->at || m->how.refusable)
		world_violation("message %llu was delivered at the wrong node", (unsigned long long)number);
	/* That it has left a queue is written down soon, not at once: a crash may bring it back. */
	if (m->final && m->level >= CONNECTD_REJECTED &&
	    !(m->how.kept_from && from_died(m, m->told_at)) && !(m->how.kept_to && to_died(m, m->told_at)))
		world_violation("message %llu was delivered, and had been said to have ended (level %d)", (unsigned long long)number,
		    m->level);
	m->deliveries++;
	/* The first offer may come late, behind one that was made when it took too long: that one was flagged. */
	if (m->unflagged > 0 && !d->flagged)
		world_violation("message %llu was delivered again without a word", (unsigned long long)number);
	if (d->attempt > 1 && !d->flagged)
		world_violation("message %llu: attempt %u without a word", (unsigned long long)number, d->attempt);
	m->unflagged += !d->flagged;
	check_once(m, number, d);
	check_order(m, number, d);
}

/* -------------------------------------------------------------------- end -- */

/*
 * May it be gone? Only with the memory of a daemon that answered for it; and as
 * long as its producer lives, one that is to be stored is sent again.
 */
static bool
may_be_lost(const struct sent *m)
{
	if (!m->how.kept_to && to_died(m, m->sent_at))
		return true; /* accepted there and gone with it, or told ENODATA */
	if (m->arrived || m->stored)
		return false;
	if (m->orphan && !m->accepted)
		return true; /* nobody was told anything */
	return from_died(m, m->sent_at) && (m->orphan || !m->how.kept_from);
}

size_t
ledger_open(void)
{
	size_t n = 0;

	for (size_t i = 0; i < ledger.n; i++)
		n += ledger.sent[i].taken && !ledger.sent[i].final && !ledger.sent[i].orphan;
	return n;
}

void
ledger_trace_open(void)
{
	for (size_t i = 0; i < ledger.n; i++) {
		const struct sent *m = &ledger.sent[i];

		if (m->taken && !m->final && !m->orphan)
			world_trace("open: message %zu of program %d, priority %u, level %d, %d -> %d, delivered %u times%s", i + 1,
			    m->how.producer, m->how.line & 0xff, m->level, m->how.from, m->how.to, m->deliveries,
			    m->how.refusable ? ", refusable" : "");
	}
}

void
ledger_end(void)
{
	for (size_t i = 0; i < ledger.n; i++) {
		const struct sent *m = &ledger.sent[i];
		unsigned long long number = i + 1;

		if (!m->taken || m->zombie)
			continue;
		if (!m->final && !m->orphan) {
			world_violation("nobody was told what became of message %llu", number);
			return;
		}
		if (m->how.refusable) {
			if (m->level == CONNECTD_REJECTED || m->orphan || m->result == -ENODATA || m->how.mortal ||
			    (m->how.from != m->how.to && top(m) != CONNECTD_ARRIVED) || may_be_lost(m))
				continue;
			world_violation("message %llu can never be taken, and its sender was told level %d", number, m->level);
			return;
		}
		if (ledger.starved && m->level == CONNECTD_REJECTED)
			continue; /* and was told so when it was */
		if (m->deliveries == 0 && !m->how.mortal && !may_be_lost(m)) {
			world_violation("message %llu is lost (level %d told, result %d)", number, m->level, m->result);
			return;
		}
	}
}

size_t
ledger_messages(void)
{
	return ledger.n;
}
