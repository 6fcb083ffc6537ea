/* actors_programs: what the programs of a simulated cluster send, take and settle. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors_internal.h"
#include "ledger.h"
#include "sim_doors.h"

#define BODY_MAX 400000 /* with chunks, and a reservation */

static void program_tick(void *arg);
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

static size_t
body_size(const struct program *p, bool *ret_refusable)
{
	size_t len = 8 + world_below(100);

	if (world_chance(6))
		len = 5000 + world_below(3000);
	if (!sim.nodes[p->at].set.small && world_chance(sim.large ? 20 : 1))
		len = sim.large && world_chance(70) ? 20000 + world_below(240000) : 100000 + world_below(BODY_MAX - 100000);
	*ret_refusable = len > sim.nodes[p->to].set.max_message;
	return len;
}

/* Send one message. False: not now. */
static bool
send_one(struct program *p)
{
	static uint8_t body[BODY_MAX];
	char dest[40];
	bool refusable;
	size_t len = body_size(p, &refusable);
	unsigned priority = world_chance(70) ? CONNECTD_NORMAL : (unsigned)world_below(3);
	uint32_t line = ((uint32_t)p->index << 24) | (p->generation << 8) | (uint32_t)priority;
	struct connectd_msg *m;
	uint64_t number;
	int r;

	/* The library itself refuses what its own daemon would not take. */
	if (len > sim.nodes[p->at].set.max_message) {
		len = 100;
		refusable = false;
	}
	if (p->to == p->at)
		snprintf(dest, sizeof(dest), "q%d", p->queue);
	else
		snprintf(dest, sizeof(dest), "%s/q%d", sim.nodes[p->to].set.name, p->queue);
	number = ledger_sent(p->index, line, p->at, p->to, refusable);
	m = connectd_msg_new(dest);
	if (!m)
		abort();
	if (sim.mortal && world_chance(40)) {
		connectd_msg_set_ttl(m, 1 + world_below(1500));
		ledger_mortal(number);
	}
	if (sim.nodes[p->to].set.here_lossy || (p->to == p->at ? sim.nodes[p->at].set.refuses :
	    sim.nodes[p->at].set.outbound_lossy || sim.nodes[p->at].set.outbound_refuses))
		ledger_mortal(number);
	connectd_msg_set_type_body(m, number % 3 ? "sim.Number" : "sim.Other", body, (fill(body, len, number), len));
	connectd_msg_set_priority(m, (enum connectd_priority)priority);
	r = connectd_send(p->c, m, CONNECTD_TELL(CONNECTD_ACCEPTED) | CONNECTD_TELL(CONNECTD_ARRIVED), told,
	    (void *)(uintptr_t)number);
	connectd_msg_unref(m);
	if (r != 0) {
		ledger_not_sent(number);
		return false;
	}
	world_trace("program %d sends message %llu to %s, priority %u, %zu bytes", p->index, (unsigned long long)number, dest,
	    priority, len);
	return true;
}

static void
got(struct program *p, struct connectd_msg *m)
{
	uint32_t consumer = ((uint32_t)p->index << 16) | p->generation;
	uint64_t number = 0;
	size_t len;
	const void *body = connectd_msg_get_body(m, &len);

	if (len >= sizeof(number))
		memcpy(&number, body, sizeof(number));
	ledger_delivered(number, consumer, p->at, connectd_msg_get_flags(m) & CONNECTD_REDELIVERED,
	    connectd_msg_get_attempt(m));
	if (len < sizeof(number) || !whole(body, len, number))
		world_violation("message %llu came with another body", (unsigned long long)number);
	if (p->n_held < HELD_MAX)
		p->held[p->n_held++] = connectd_msg_ref(m);
	else if (connectd_ack(p->c, m) == 0)
		ledger_acked(number);
}

static void
on_message(struct connectd *c, struct connectd_consumer *k, struct connectd_msg *m, void *userdata)
{
	struct program *p = userdata;

	(void)c, (void)k;
	if (!m) {
		world_trace("program %d: its subscription ended: %s", p->index, connectd_last_error(c));
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
			ledger_acked(number);
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

	if (p->busy || !p->c || p->killed)
		return;
	process(p);
	while (p->pulls && p->c && !p->killed) {
		p->busy = true;
		if (connectd_recv(p->c, &m, 0) != 0) {
			p->busy = false;
			break;
		}
		p->busy = false;
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
	p->killed = false;
	p->n_held = 0;
	sim_io_owner(ready, p);
	p->busy = true;
	if (connectd_open(&opt, &p->c) != 0)
		abort();
	p->io = sim_io_last();
	p->busy = false;
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
	if (connectd_consume(p->c, queue, &opt, p->pulls ? NULL : on_message, p, &p->k) != 0)
		abort();
}

void
program_kill(struct program *p)
{
	if (!p->c || p->busy)
		return;
	world_trace("program %d is killed", p->index);
	ledger_producer_died(p->index);
	p->killed = true;
	sim_io_kill(p->io);
	for (size_t i = 0; i < p->n_held; i++)
		connectd_msg_unref(p->held[i]);
	p->n_held = 0;
	connectd_close(p->c);
	p->c = NULL;
	p->k = NULL;
}

static void
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
		settle(p);
		/* At times it waits inside the library, whatever happens meanwhile. */
		if (p->pulls && world_chance(10) && p->n_held < HELD_MAX) {
			struct connectd_msg *m;
			int r;

			p->busy = true;
			r = connectd_recv(p->c, &m, (int)world_below(500));
			p->busy = false;
			if (r == 0) {
				got(p, m);
				connectd_msg_unref(m);
			}
		}
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

void
program_init(struct program *p, int index)
{
	p->index = index;
	p->single = p->role == CONSUMER && world_chance(20);
	p->pulls = p->role == CONSUMER && world_chance(40);
	p->tick = (struct world_event){ .fn = program_tick, .arg = p };
	world_schedule(&p->tick, world_below(100) * MS);
}
