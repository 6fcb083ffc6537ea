/* The programs of a simulated cluster: real library, virtual socket and clock. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors_internal.h"
#include "ledger.h"
#include "named.h"
#include "sim_doors.h"

static void consume(struct program *p);

static void
told(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	(void)c, (void)m;
	/* A dead program hears nothing: what its library says at the end is for nobody. */
	if (o->result == -ECANCELED)
		return;
	ledger_told((uint64_t)(uintptr_t)userdata, (int)o->level, o->final, o->result);
}

static uint64_t
fill(uint8_t *body, size_t len, uint64_t number)
{
	memcpy(body, &number, sizeof(number));
	for (size_t i = sizeof(number); i < len; i++)
		body[i] = (uint8_t)(number * 31 + i);
	return number;
}

static bool
whole(const uint8_t *body, size_t len, uint64_t number)
{
	for (size_t i = sizeof(number); i < len; i++)
		if (body[i] != (uint8_t)(number * 31 + i))
			return false;
	return true;
}

size_t
program_body_size(const struct program *p)
{
	const struct settings *at = &sim.nodes[p->at].set;
	size_t len = 8 + world_below(100);

	if (world_chance(6))
		len = 5000 + world_below(3000);
	if (!at->small && world_chance(sim.large ? 20 : 1))
		len = sim.large && world_chance(70) ? 20000 + world_below(240000) : 100000 + world_below(BODY_MAX - 100000);
	/* The library itself refuses what its own daemon would not take. */
	return len > at->max_message ? 100 : len;
}

unsigned
program_levels(enum connectd_durability durability)
{
	unsigned levels = (unsigned)world_below(8) << 1; /* of ACCEPTED, STORED, ARRIVED */

	if (world_chance(50))
		levels |= CONNECTD_TELL(CONNECTD_ARRIVED);
	return durability == CONNECTD_MEMORY ? levels & ~CONNECTD_TELL(CONNECTD_STORED) : levels;
}

void
program_foresee(const struct program *p, size_t len, enum connectd_durability durability, struct ledger_send *ret)
{
	const struct settings *from = &sim.nodes[p->at].set, *to = &sim.nodes[p->to].set;
	const struct settings_rules *there = &to->here[p->queue], *first = p->to == p->at ? there : &from->outbound;

	ret->kept_from = first->durable && durability != CONNECTD_MEMORY;
	ret->kept_to = there->durable && durability != CONNECTD_MEMORY;
	/* What is stored here, or demands to be, is nothing for a memory queue. */
	ret->refusable = len > to->max_message || (durability == CONNECTD_DURABLE && !first->durable) ||
	    ((ret->kept_from || durability == CONNECTD_DURABLE) && !there->durable);
	ret->mortal = there->lossy || first->lossy || first->refuses;
}

struct connectd_msg *
program_message(const char *dest, uint64_t number, size_t len)
{
	static uint8_t body[BODY_MAX];
	struct connectd_msg *m = connectd_msg_new(dest);

	if (m && connectd_msg_set_type_body(m, number % 3 ? "sim.Number" : "sim.Other", body, (fill(body, len, number), len)) == 0)
		return m;
	if (!sim.starved)
		abort();
	connectd_msg_unref(m);
	return NULL;
}

void
program_destination(const struct program *p, char dest[static 40])
{
	if (p->to == p->at)
		snprintf(dest, 40, "q%d", p->queue);
	else
		snprintf(dest, 40, "%s/q%d", sim.nodes[p->to].set.name, p->queue);
}

/* Send one message. False: not now. */
static bool
send_one(struct program *p)
{
	char dest[40];
	size_t len = program_body_size(p);
	unsigned priority = world_chance(70) ? CONNECTD_NORMAL : (unsigned)world_below(3);
	unsigned dice = (unsigned)world_below(100);
	enum connectd_durability durability = dice < p->demands ? CONNECTD_DURABLE :
	    dice < p->demands + p->waives			? CONNECTD_MEMORY :
								  CONNECTD_AS_QUEUE;
	struct ledger_send how = { .producer = p->index, .from = p->at, .to = p->to, .levels = program_levels(durability),
		.line = ((uint32_t)p->index << 24) | (p->generation << 8) | (uint32_t)priority };
	uint64_t number, ttl = sim.mortal && world_chance(40) ? 1 + world_below(1500) : 0;
	struct connectd_msg *m;
	int r;

	program_foresee(p, len, durability, &how);
	how.mortal |= ttl > 0;
	number = ledger_sent(&how);
	program_destination(p, dest);
	m = program_message(dest, number, len);
	if (!m) {
		ledger_not_sent(number);
		return false;
	}
	connectd_msg_set_ttl(m, ttl);
	connectd_msg_set_durability(m, durability);
	connectd_msg_set_priority(m, (enum connectd_priority)priority);
	r = connectd_send(p->c, m, how.levels, told, (void *)(uintptr_t)number);
	connectd_msg_unref(m);
	if (r != 0) {
		ledger_not_sent(number);
		return false;
	}
	world_trace("program %d sends message %llu to %s, priority %u, %zu bytes, durability %d, levels %x", p->index,
	    (unsigned long long)number, dest, priority, len, (int)durability, how.levels);
	return true;
}

static void
got(struct program *p, struct connectd_msg *m)
{
	struct ledger_delivery d = { .consumer = ((uint32_t)p->index << 16) | p->generation, .at = p->at,
		.flagged = connectd_msg_get_flags(m) & CONNECTD_REDELIVERED, .attempt = connectd_msg_get_attempt(m) };
	uint64_t number = 0;
	size_t len;
	const void *body = connectd_msg_get_body(m, &len);

	if (len >= sizeof(number))
		memcpy(&number, body, sizeof(number));
	connectd_msg_get_id(m, &d.id[0], &d.id[1]);
	ledger_delivered(number, &d);
	if (len < sizeof(number) || !whole(body, len, number))
		world_violation("message %llu came with another body", (unsigned long long)number);
	if (p->n_held < HELD_MAX)
		p->held[p->n_held++] = connectd_msg_ref(m);
	else
		connectd_ack(p->c, m);
}

static void
on_message(struct connectd *c, struct connectd_consumer *k, struct connectd_msg *m, void *userdata)
{
	struct program *p = userdata;

	(void)c, (void)k;
	if (!m) {
		world_trace("program %d: its subscription ended: %s", p->index, connectd_last_error(c));
		p->refused = true;
		return;
	}
	if (!p->killed)
		got(p, m);
}

/* Done with some of what it holds, or with all. */
static void
settle(struct program *p)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->n_held; i++) {
		struct connectd_msg *m = p->held[i];
		size_t len;
		uint64_t number;

		memcpy(&number, connectd_msg_get_body(m, &len), sizeof(number));
		if (!p->quick && world_chance(40)) {
			p->held[kept++] = m;
			continue;
		}
		if (!p->quick && world_chance(8)) {
			unsigned dice = (unsigned)world_below(5);

			world_trace("program %d nacks message %llu%s", p->index, (unsigned long long)number, dice == 0 ? ", dead" : "");
			connectd_nack(p->c, m, dice == 0 ? CONNECTD_TO_DEAD : dice < 3 ? CONNECTD_RETURN : CONNECTD_DELAY, world_below(300),
			    "not now");
		} else if (connectd_ack(p->c, m) == 0) {
			world_trace("program %d acks message %llu", p->index, (unsigned long long)number);
		}
		connectd_msg_unref(m);
	}
	p->n_held = kept;
}

static void
process(struct program *p)
{
	p->busy = true;
	for (int i = 0; i < 4 && connectd_process(p->c) == 1; i++)
		;
	p->busy = false;
}

/* There is something to process. */
static void
ready(void *arg)
{
	struct program *p = arg;
	struct connectd_msg *m;
	int r;

	if (p->busy || !p->c || p->killed)
		return;
	process(p);
	while (p->pulls && p->c && !p->killed) {
		p->busy = true;
		r = connectd_recv(p->c, &m, 0);
		p->busy = false;
		p->refused |= r != 0 && r != -ETIMEDOUT;
		if (r != 0)
			break;
		got(p, m);
		connectd_msg_unref(m);
	}
}

static void
program_start(struct program *p)
{
	struct connectd_options opt = { .size = sizeof(opt), .keep_trying = 1, .application = "sim" };
	char path[40];

	snprintf(path, sizeof(path), "/sim/%s.sock", sim.nodes[p->at].set.name);
	opt.socket = path;
	opt.window_messages = 1 + (uint32_t)world_below(64);
	p->generation++;
	p->killed = p->opened = p->asks = p->refused = false;
	p->next = 0;
	p->n_held = 0;
	sim_io_owner(ready, p);
	p->busy = true;
	if (connectd_open(&opt, &p->c) != 0) {
		if (!sim.starved)
			abort();
		connectd_close(p->c);
		p->c = NULL;
	}
	p->io = sim_io_last();
	p->busy = false;
	if (!p->c) {
		world_schedule(&p->tick, 20 * MS);
		return;
	}
	world_trace("program %d starts at %s", p->index, sim.nodes[p->at].set.name);
	if (p->role == CONSUMER)
		consume(p);
	world_schedule(&p->tick, world_below(20) * MS);
}

static void
consume(struct program *p)
{
	struct connectd_consume_options opt = { .size = sizeof(opt), .exclusive = p->single };
	char queue[8];

	snprintf(queue, sizeof(queue), "q%d", p->queue);
	opt.credit_messages = 1 + (uint32_t)world_below(32);
	if (connectd_consume(p->c, queue, &opt, p->pulls ? NULL : on_message, p, &p->k) != 0) {
		if (!sim.starved)
			abort();
		p->k = NULL;
	}
}

void
program_kill(struct program *p)
{
	if (!p->c || p->busy)
		return;
	world_trace("program %d is killed", p->index);
	ledger_producer_died(p->index);
	named_died(p);
	p->killed = true;
	sim_io_kill(p->io);
	for (size_t i = 0; i < p->n_held; i++)
		connectd_msg_unref(p->held[i]);
	p->n_held = 0;
	connectd_close(p->c);
	p->c = NULL;
	p->k = NULL;
}

void
program_tick(void *arg)
{
	struct program *p = arg;

	if (!p->c) {
		program_start(p);
		return;
	}
	if (p->busy)
		return;
	if (p->role == CONSUMER) {
		/* Only for lack of memory: then it asks again. */
		if (sim.starved && p->refused) {
			connectd_consumer_close(p->k);
			p->k = NULL;
		}
		if (!p->k)
			consume(p);
		p->refused = false;
		settle(p);
		/* At times it waits inside the library, whatever happens meanwhile. */
		if (p->pulls && world_chance(10) && p->n_held < HELD_MAX) {
			struct connectd_msg *m;
			int r;

			p->busy = true;
			r = connectd_recv(p->c, &m, (int)world_below(500));
			p->busy = false;
			p->refused |= r != 0 && r != -ETIMEDOUT;
			if (r == 0) {
				got(p, m);
				connectd_msg_unref(m);
			}
		}
	} else if (p->named) {
		named_tick(p);
	} else {
		unsigned burst = 1 + (unsigned)world_below(12);
		bool corked = world_chance(50);

		if (corked)
			connectd_cork(p->c);
		while (p->left > 0 && burst-- > 0 && send_one(p))
			p->left--;
		if (corked)
			connectd_uncork(p->c);
	}
	ready(p);
	world_schedule(&p->tick, (1 + world_below(sim.healed ? 20 : 200)) * MS);
}
