#include "ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "connectd.h"
#include "world.h"

struct sent {
	uint32_t line;
	int producer, from, to;
	bool refusable, taken, orphan; /* its producer was killed before the end of it */
	bool mortal; /* by a rule of a queue, or an operator's word, it may end on its way */
	bool final;
	int level, result;
	uint64_t sent_at, told_at;
	uint32_t deliveries, unflagged;
	bool acked;
};

struct seen {
	uint32_t consumer, line;
	uint64_t last;
};

static struct {
	struct sent *sent;
	size_t n, cap;
	struct seen *seen;
	size_t n_seen, cap_seen;
	uint64_t died[LEDGER_DAEMONS]; /* the last time */
} ledger;

void
ledger_start(void)
{
	ledger.n = ledger.n_seen = 0;
	memset(ledger.died, 0, sizeof(ledger.died));
}

void
ledger_daemon_died(int daemon)
{
	ledger.died[daemon] = world_now();
}

void
ledger_producer_died(int producer)
{
	for (size_t i = 0; i < ledger.n; i++)
		if (ledger.sent[i].producer == producer && !ledger.sent[i].final)
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
ledger_sent(int producer, uint32_t line, int from, int to, bool refusable)
{
	if (ledger.n == ledger.cap) {
		ledger.cap = ledger.cap ? 2 * ledger.cap : 256;
		ledger.sent = realloc(ledger.sent, ledger.cap * sizeof(*ledger.sent));
		if (!ledger.sent)
			abort();
	}
	ledger.sent[ledger.n] = (struct sent){ .producer = producer, .line = line, .from = from, .to = to,
		.refusable = refusable, .taken = true, .sent_at = world_now() };
	return ++ledger.n;
}

void
ledger_mortal(uint64_t number)
{
	get(number)->mortal = true;
}

void
ledger_purged(int daemon)
{
	for (size_t i = 0; i < ledger.n; i++)
		if (ledger.sent[i].from == daemon || ledger.sent[i].to == daemon)
			ledger.sent[i].mortal = true;
}

void
ledger_not_sent(uint64_t number)
{
	get(number)->taken = false;
}

void
ledger_told(uint64_t number, int level, bool final, int result)
{
	struct sent *m = get(number);

	if (!m)
		return;
	world_trace("  message %llu: level %d%s result %d", (unsigned long long)number, level, final ? " final" : "", result);
	if (m->final)
		world_violation("message %llu got a call after its final one", (unsigned long long)number);
	if (level == CONNECTD_ARRIVED && m->refusable)
		world_violation("message %llu is said to have arrived, and cannot be taken there", (unsigned long long)number);
	if (level >= CONNECTD_REJECTED && !m->refusable && !m->mortal)
		world_violation("message %llu was refused (level %d) without a reason", (unsigned long long)number, level);
	if (level >= CONNECTD_REJECTED && m->deliveries > 0 && ledger.died[m->to] < m->sent_at && ledger.died[m->from] < m->sent_at)
		world_violation("message %llu is said to have ended (level %d), and was delivered", (unsigned long long)number, level);
	m->level = level;
	m->result = result;
	m->final = final;
	m->told_at = world_now();
}

void
ledger_delivered(uint64_t number, uint32_t consumer, int at, bool flagged, uint32_t attempt)
{
	struct sent *m = get(number);
	struct seen *s = NULL;

	if (!m)
		return;
	world_trace("  message %llu delivered to consumer %u%s attempt %u", (unsigned long long)number, consumer,
	    flagged ? ", perhaps again" : "", attempt);
	if (!m->taken)
		world_violation("message %llu was delivered, and was never taken", (unsigned long long)number);
	if (m->to != at || m->refusable)
		world_violation("message %llu was delivered at the wrong node", (unsigned long long)number);
	if (m->final && m->level >= CONNECTD_REJECTED)
		world_violation("message %llu was delivered, and had been said to have ended (level %d)", (unsigned long long)number,
		    m->level);
	m->deliveries++;
	/* The first offer may come late, behind one that was made when it took too long: that one was flagged. */
	if (m->unflagged > 0 && !flagged)
		world_violation("message %llu was delivered again without a word", (unsigned long long)number);
	if (attempt > 1 && !flagged)
		world_violation("message %llu: attempt %u without a word", (unsigned long long)number, attempt);
	if (flagged)
		return;
	m->unflagged++;
	/* What is offered for the first time comes in order, line by line. */
	for (size_t i = 0; i < ledger.n_seen; i++)
		if (ledger.seen[i].consumer == consumer && ledger.seen[i].line == m->line)
			s = &ledger.seen[i];
	if (!s) {
		if (ledger.n_seen == ledger.cap_seen) {
			ledger.cap_seen = ledger.cap_seen ? 2 * ledger.cap_seen : 64;
			ledger.seen = realloc(ledger.seen, ledger.cap_seen * sizeof(*ledger.seen));
			if (!ledger.seen)
				abort();
		}
		s = &ledger.seen[ledger.n_seen++];
		*s = (struct seen){ .consumer = consumer, .line = m->line };
	}
	if (number < s->last)
		world_violation("message %llu was offered behind %llu, which was sent later", (unsigned long long)number,
		    (unsigned long long)s->last);
	s->last = number;
}

void
ledger_acked(uint64_t number)
{
	struct sent *m = get(number);

	if (m)
		m->acked = true;
}

/* May it be gone? Only with the memory of a daemon that answered for it. */
static bool
may_be_lost(const struct sent *m)
{
	if (ledger.died[m->to] >= m->sent_at)
		return true; /* accepted there and gone with it, or told ENODATA */
	if (m->level == CONNECTD_ARRIVED)
		return false; /* safe with the destination, whatever happened to its source */
	if (m->orphan && m->level < CONNECTD_ACCEPTED)
		return true; /* nobody was told anything */
	return ledger.died[m->from] >= m->sent_at;
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
			    m->producer, m->line & 0xff, m->level, m->from, m->to, m->deliveries, m->refusable ? ", refusable" : "");
	}
}

void
ledger_end(void)
{
	for (size_t i = 0; i < ledger.n; i++) {
		const struct sent *m = &ledger.sent[i];
		unsigned long long number = i + 1;

		if (!m->taken)
			continue;
		if (!m->final && !m->orphan) {
			world_violation("nobody was told what became of message %llu", number);
			return;
		}
		if (m->refusable) {
			if (m->level == CONNECTD_REJECTED || m->orphan || m->result == -ENODATA || m->mortal || may_be_lost(m))
				continue;
			world_violation("message %llu can never be taken, and its sender was told level %d", number, m->level);
			return;
		}
		if (m->deliveries == 0 && !m->mortal && !may_be_lost(m)) {
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
