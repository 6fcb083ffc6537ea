#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "connectd.h"
#include "world.h"

struct sent {
	uint32_t line;
	int producer, from, to;
	bool refusable, taken, orphan; /* its producer was killed before the end of it */
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
	uint64_t died[CHECK_DAEMONS]; /* the last time */
} check;

void
check_start(void)
{
	check.n = check.n_seen = 0;
	memset(check.died, 0, sizeof(check.died));
}

void
check_daemon_died(int daemon)
{
	check.died[daemon] = world_now();
}

void
check_producer_died(int producer)
{
	for (size_t i = 0; i < check.n; i++)
		if (check.sent[i].producer == producer && !check.sent[i].final)
			check.sent[i].orphan = true;
}

static struct sent *
get(uint64_t number)
{
	if (number == 0 || number > check.n) {
		world_violation("message %llu was never sent", (unsigned long long)number);
		return NULL;
	}
	return &check.sent[number - 1];
}

uint64_t
check_sent(int producer, uint32_t line, int from, int to, bool refusable)
{
	if (check.n == check.cap) {
		check.cap = check.cap ? 2 * check.cap : 256;
		check.sent = realloc(check.sent, check.cap * sizeof(*check.sent));
		if (!check.sent)
			abort();
	}
	check.sent[check.n] = (struct sent){ .producer = producer, .line = line, .from = from, .to = to,
		.refusable = refusable, .taken = true, .sent_at = world_now() };
	return ++check.n;
}

void
check_not_sent(uint64_t number)
{
	get(number)->taken = false;
}

void
check_told(uint64_t number, int level, bool final, int result)
{
	struct sent *m = get(number);

	if (!m)
		return;
	world_trace("  message %llu: level %d%s result %d", (unsigned long long)number, level, final ? " final" : "", result);
	if (m->final)
		world_violation("message %llu got a call after its final one", (unsigned long long)number);
	if (level == CONNECTD_ARRIVED && m->refusable)
		world_violation("message %llu is said to have arrived, and cannot be taken there", (unsigned long long)number);
	if (level >= CONNECTD_REJECTED && !m->refusable)
		world_violation("message %llu was refused (level %d) without a reason", (unsigned long long)number, level);
	m->level = level;
	m->result = result;
	m->final = final;
	m->told_at = world_now();
}

void
check_delivered(uint64_t number, uint32_t consumer, int at, bool flagged, uint32_t attempt)
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
	if (m->deliveries++ > 0 && !flagged)
		world_violation("message %llu was delivered again without a word", (unsigned long long)number);
	if (attempt > 1 && !flagged)
		world_violation("message %llu: attempt %u without a word", (unsigned long long)number, attempt);
	if (flagged)
		return;
	m->unflagged++;
	/* What is offered for the first time comes in order, line by line. */
	for (size_t i = 0; i < check.n_seen; i++)
		if (check.seen[i].consumer == consumer && check.seen[i].line == m->line)
			s = &check.seen[i];
	if (!s) {
		if (check.n_seen == check.cap_seen) {
			check.cap_seen = check.cap_seen ? 2 * check.cap_seen : 64;
			check.seen = realloc(check.seen, check.cap_seen * sizeof(*check.seen));
			if (!check.seen)
				abort();
		}
		s = &check.seen[check.n_seen++];
		*s = (struct seen){ .consumer = consumer, .line = m->line };
	}
	if (number < s->last)
		world_violation("message %llu was offered behind %llu, which was sent later", (unsigned long long)number,
		    (unsigned long long)s->last);
	s->last = number;
}

void
check_acked(uint64_t number)
{
	struct sent *m = get(number);

	if (m)
		m->acked = true;
}

/* May it be gone? Only with the memory of a daemon that answered for it. */
static bool
may_be_lost(const struct sent *m)
{
	if (check.died[m->to] >= m->sent_at)
		return true; /* accepted there and gone with it, or told ENODATA */
	if (m->level == CONNECTD_ARRIVED)
		return false; /* safe with the destination, whatever happened to its source */
	if (m->orphan && m->level < CONNECTD_ACCEPTED)
		return true; /* nobody was told anything */
	return check.died[m->from] >= m->sent_at;
}

size_t
check_open(void)
{
	size_t n = 0;

	for (size_t i = 0; i < check.n; i++)
		n += check.sent[i].taken && !check.sent[i].final && !check.sent[i].orphan;
	return n;
}

void
check_end(void)
{
	for (size_t i = 0; i < check.n; i++) {
		const struct sent *m = &check.sent[i];
		unsigned long long number = i + 1;

		if (!m->taken)
			continue;
		if (!m->final && !m->orphan) {
			world_violation("nobody was told what became of message %llu", number);
			return;
		}
		if (m->refusable) {
			if (m->level == CONNECTD_REJECTED || m->orphan || m->result == -ENODATA || may_be_lost(m))
				continue;
			world_violation("message %llu can never be taken, and its sender was told level %d", number, m->level);
			return;
		}
		if (m->deliveries == 0 && !may_be_lost(m)) {
			world_violation("message %llu is lost (level %d told, result %d)", number, m->level, m->result);
			return;
		}
	}
}

size_t
check_messages(void)
{
	return check.n;
}
