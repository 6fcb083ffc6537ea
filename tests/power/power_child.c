/* power: the process whose machine loses its power. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk.h"
#include "loop.h"
#include "power.h"
#include "store.h"
#include "task.h"

#define SEGMENT (256u << 10)
#define MAX_DISK (16u << 20)
#define LIVE_MAX 300
#define UNSYNCED_MAX 24
#define BODY_MAX 400000

struct child {
	struct power_log *log;
	struct store *s;
	struct loop *loop;
	int fd;
	uint64_t rng;
	uint32_t queue, flow;
	uint64_t mark;
	struct store_found *found;
	size_t n_found;
	store_ref *refs; /* by message; 0: not live */
	uint64_t *tickets; /* of what was appended, by place in the log */
	uint32_t told;     /* up to this place */
	uint32_t oldest;   /* message that may be live */
	uint32_t live, reads;
	bool fenced;
};

/* splitmix64 */
static uint64_t
draw(struct child *c, uint64_t bound)
{
	uint64_t z = c->rng += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (z ^ (z >> 31)) % bound;
}

static size_t
size_of(uint32_t message)
{
	return message % 97 == 0 ? 100000 + message * 7919u % (BODY_MAX - 100000) : message * 2654435761u % 3000;
}

static void
fill(uint32_t message, uint8_t *buf, size_t len)
{
	uint32_t x = message * 2654435761u + 1;

	for (size_t i = 0; i < len; i++) {
		x = x * 1664525u + 1013904223u;
		buf[i] = (uint8_t)(x >> 24);
	}
}

/* ------------------------------------------------------------------- store -- */

static void
on_synced(void *arg, uint64_t ticket)
{
	struct child *c = arg;

	while (c->told < c->log->n && c->tickets[c->told] <= ticket)
		c->told++;
	__atomic_store_n(&c->log->synced, c->told, __ATOMIC_RELEASE);
	(void)!write(c->fd, "s", 1);
}

static void
on_state(void *arg, enum store_state st, const char *why)
{
	struct child *c = arg;

	(void)why;
	c->fenced = st == STORE_FENCED;
}

static void
on_nothing(void *arg)
{
	(void)arg;
}

static void
on_damaged(void *arg, const char *what)
{
	struct child *c = arg;

	if (!c->log->why[0])
		snprintf(c->log->why, sizeof(c->log->why), "damage is told: %s", what);
}

static void
found_queue(void *arg, uint32_t queue, uint64_t last_seq, uint64_t offered, struct store_bytes definition)
{
	struct child *c = arg;

	(void)last_seq, (void)offered, (void)definition;
	c->queue = queue;
}

static void
found_flow(void *arg, uint32_t flow, uint64_t mark, struct store_bytes definition)
{
	struct child *c = arg;

	(void)definition;
	c->flow = flow;
	c->mark = mark;
}

static void
found_message(void *arg, const struct store_found *m)
{
	struct child *c = arg;

	c->found = realloc(c->found, (c->n_found + 1) * sizeof(*c->found));
	if (!c->found)
		abort();
	c->found[c->n_found++] = *m;
}

/* ------------------------------------------------------------------- check -- */

struct reading {
	struct store_read read;
	struct child *c;
	uint32_t message;
};

static void
read_done(struct store_read *r, int error)
{
	struct reading *rd = (struct reading *)(void *)r;
	size_t len = size_of(rd->message);
	uint8_t *want = malloc(len + 1);

	if (!want)
		abort();
	fill(rd->message, want, len);
	if (error < 0 || r->parts[STORE_PARTS - 1].len != len || memcmp(r->parts[STORE_PARTS - 1].data, want, len) != 0) {
		rd->c->log->other++;
		snprintf(rd->c->log->why, sizeof(rd->c->log->why), "message %u reads otherwise (%d)", rd->message, error);
	}
	if (error == 0)
		free(r->memory);
	free(want);
	rd->c->reads--;
	free(rd);
}

static void
read_all(struct child *c)
{
	for (size_t i = 0; i < c->n_found; i++) {
		struct reading *rd = calloc(1, sizeof(*rd));

		if (!rd)
			abort();
		*rd = (struct reading){ .read.done = read_done, .c = c, .message = (uint32_t)c->found[i].counter };
		c->reads++;
		while (store_read(c->s, c->found[i].ref, &rd->read) != 0)
			loop_step(c->loop, true);
	}
	while (c->reads > 0)
		loop_step(c->loop, true);
}

/*
 * What was found must be what some prefix of the log makes, at least as long
 * as what was told; the log is cut there. One append changes one message, so
 * the number of differences is kept up step by step.
 */
static bool
check(struct child *c)
{
	struct power_log *log = c->log;
	uint32_t differ = 0, n = 0, synced = log->synced;
	bool *is_found = calloc(log->messages + 2, 1), *is_live = calloc(log->messages + 2, 1);
	uint64_t mark = 0;

	if (!is_found || !is_live)
		abort();
	for (size_t i = 0; i < c->n_found; i++) {
		uint64_t m = c->found[i].counter;

		if (m == 0 || m > log->messages || is_found[m]) {
			log->other++;
			snprintf(log->why, sizeof(log->why), "message %llu is doubled, or was never put", (unsigned long long)m);
			return false;
		}
		is_found[m] = true;
		differ++;
	}
	for (;; n++) {
		if (n >= synced && differ == 0 && mark == c->mark)
			break;
		if (n == log->n)
			break;
		differ += is_live[log->log[n].message] == is_found[log->log[n].message] ? 1u : -1u;
		is_live[log->log[n].message] = log->log[n].kind == POWER_PUT;
		if (log->log[n].kind == POWER_PUT && mark < log->log[n].message)
			mark = log->log[n].message;
	}
	if (differ != 0 || mark != c->mark) {
		/* Synced and not even perhaps done: lost. Done and synced: back. */
		memset(is_live, 0, log->messages + 2);
		for (n = 0; n < log->n; n++)
			is_live[log->log[n].message] = log->log[n].kind == POWER_PUT && n < synced;
		for (uint32_t m = 1; m <= log->messages; m++)
			log->lost += is_live[m] && !is_found[m];
		memset(is_live, 0, log->messages + 2);
		for (n = 0; n < synced; n++)
			is_live[log->log[n].message] = log->log[n].kind == POWER_DONE;
		for (uint32_t m = 1; m <= log->messages; m++)
			log->back += is_live[m] && is_found[m];
		snprintf(log->why, sizeof(log->why), "no prefix: %u synced of %u appended, %u messages lost, %u back; mark %llu", synced, log->n,
		    log->lost, log->back, (unsigned long long)c->mark);
		return false;
	}
	log->n = log->synced = n;
	free(is_found);
	free(is_live);
	return true;
}

/* -------------------------------------------------------------------- work -- */

static void
append(struct child *c, uint32_t message, int kind)
{
	uint32_t n = c->log->n;

	c->tickets[n] = store_ticket(c->s);
	c->log->log[n].message = message & 0x3fffffff;
	c->log->log[n].kind = (unsigned)kind & 3;
	__atomic_store_n(&c->log->n, n + 1, __ATOMIC_RELEASE);
}

/* A message's number is its place in the queue, its number on the flow, its counter, and the seed of its bytes. */
static void
put(struct child *c)
{
	uint32_t message = ++c->log->messages;
	size_t len = size_of(message);
	struct store_message m = { .queue = c->queue, .seq = message, .flow = c->flow, .number = message, .counter = message };
	/* The child lives for some milliseconds: what it holds goes with it. */
	uint8_t *bytes = malloc(len + 1);

	if (!bytes)
		abort();
	fill(message, bytes, len);
	m.parts[STORE_PARTS - 1] = (struct store_bytes){ bytes, len };
	if (len > SEGMENT / 4) {
		m.body = store_body_new(c->s);
		if (!m.body || store_body_append(m.body, bytes, len) != 0)
			return;
		m.parts[STORE_PARTS - 1].data = NULL;
	}
	if (store_put(c->s, &m, &c->refs[message]) != 0) {
		c->refs[message] = 0;
		return;
	}
	c->live++;
	append(c, message, POWER_PUT);
}

static void
done(struct child *c)
{
	uint32_t message = c->oldest;

	while (message <= c->log->messages && c->refs[message] == 0)
		message++;
	c->oldest = message;
	if (message > c->log->messages)
		return;
	store_done(c->s, c->refs[message], c->queue, message);
	c->refs[message] = 0;
	c->live--;
	append(c, message, POWER_DONE);
}

static void
work(struct child *c)
{
	while (!c->fenced && c->log->n - c->told < UNSYNCED_MAX && c->log->n < POWER_LOG - 1 && c->log->messages < POWER_LOG - 1) {
		if (c->live > LIVE_MAX || (c->live > 0 && draw(c, 100) < 45))
			done(c);
		else if (store_room(c->s) >= store_cost(c->s, BODY_MAX))
			put(c);
		else if (c->live > 0)
			done(c);
		else
			break;
		if (draw(c, 100) < 15)
			break;
	}
	store_hurry(c->s);
}

/* Queue and flow, if their definitions did not survive. */
static bool
define(struct child *c)
{
	const struct store_bytes d = { "power", 5 };

	if (c->queue == 0) {
		c->queue = store_new_queue(c->s);
		if (store_define_queue(c->s, c->queue, d) != 0)
			return false;
	}
	if (c->flow == 0) {
		c->flow = store_new_flow(c->s);
		return store_define_flow(c->s, c->flow, d) == 0;
	}
	return true;
}

int
power_child(const char *folder, struct power_log *log, uint64_t seed, int fd)
{
	struct child *c = calloc(1, sizeof(*c));
	struct store_config cfg = { .segment = SEGMENT, .max_disk = MAX_DISK, .start_count = (uint32_t)seed };
	const struct store_recovery found = { .queue = found_queue, .flow = found_flow, .message = found_message, .arg = c };
	const struct store_events ev = { .synced = on_synced, .state = on_state, .room = on_nothing, .damaged = on_damaged, .arg = c };

	if (!c)
		abort();
	*c = (struct child){ .log = log, .fd = fd, .rng = seed, .oldest = 1 };
	c->refs = calloc(POWER_LOG, sizeof(*c->refs));
	c->tickets = calloc(POWER_LOG, sizeof(*c->tickets));
	c->loop = cfg.loop = loop_new();
	cfg.writer = task_runner_new(c->loop);
	cfg.reader = task_runner_new(c->loop);
	if (!c->refs || !c->tickets || !c->loop || !cfg.writer || !cfg.reader || disk_open(folder, true, &cfg.disk) != 0) {
		snprintf(log->why, sizeof(log->why), "no folder, no memory");
		return POWER_NO_START;
	}
	if (store_open(&cfg, &found, &ev, &c->s, log->why) != 0)
		return POWER_NO_START;
	log->why[0] = '\0';
	if (!check(c))
		return POWER_VIOLATED;
	for (size_t i = 0; i < c->n_found; i++)
		c->refs[c->found[i].counter] = c->found[i].ref;
	c->live = (uint32_t)c->n_found;
	c->told = log->n;
	read_all(c);
	if (log->other || log->why[0] || !define(c))
		return POWER_VIOLATED;
	(void)!write(fd, "o", 1);
	for (;;) {
		work(c);
		loop_step(c->loop, true);
	}
}
