#include "actors.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger.h"
#include "connectd.h"
#include "daemon.h"
#include "hostile.h"
#include "settings.h"
#include "sim_disk.h"
#include "sim_doors.h"
#include "world.h"

#define MS 1000000u
#define BODY_MAX 400000 /* with chunks, and a reservation */
#define HELD_MAX 64
#define QUEUES 2

struct node {
	struct settings set;
	struct loop *loop; /* NULL: down */
	struct daemon *daemon;
	struct log log;
	struct world_event restart;
	bool stopping;
};

enum role { PRODUCER, CONSUMER };

struct program {
	int index;
	enum role role;
	int at;        /* daemon it is connected to */
	int to;        /* producer: destination node */
	int queue;
	bool single;   /* consumer: exclusive */
	bool pulls;    /* consumer: connectd_recv instead of a call-back */
	struct connectd *c; /* NULL: not running */
	struct io *io;
	struct connectd_consumer *k;
	uint32_t generation; /* of its handle: rises with each start */
	struct world_event tick;
	bool busy;     /* inside the library, perhaps waiting */
	bool killed;
	unsigned left; /* messages to send */
	bool quick;    /* consumer: acks everything at once from here on */
	struct connectd_msg *held[HELD_MAX];
	size_t n_held;
};

static struct {
	struct node nodes[ACTORS_DAEMONS];
	int n_nodes;
	struct program programs[ACTORS_CLIENTS];
	int n_programs;
	bool large;  /* many large bodies */
	bool mortal; /* some messages have a time to live */
	bool hostile; /* somebody local speaks the protocol badly */
	bool healed;
} sim;

/* ---------------------------------------------------------------- daemons -- */

static void
log_line(void *arg, enum log_level level, const char *line)
{
	(void)arg, (void)level;
	world_trace("%s", line);
}

static void
fault_line(void *arg, const char *file, unsigned line, const char *text)
{
	(void)arg;
	fprintf(stderr, "%s:%u: %s\n", file, line, text);
}

static void
node_start(struct node *n)
{
	struct daemon_options opt = { .log = &n->log };
	struct conf *conf;
	char why[200];

	if (n->loop)
		return;
	world_trace("%s starts", n->set.name);
	if (conf_read_text(n->set.name, n->set.conf, strlen(n->set.conf), fault_line, NULL, &conf) != 0)
		abort();
	n->log = (struct log){ .level = world_tracing() ? LOG_DEBUG : LOG_ERROR, .node = n->set.name, .sink = log_line };
	n->loop = loop_new();
	n->stopping = false;
	if (daemon_new(n->loop, conf, &opt, &n->daemon, why) != 0) {
		world_violation("%s does not start: %s", n->set.name, why);
		conf_free(conf);
		loop_free(n->loop);
		n->loop = NULL;
		return;
	}
	daemon_start(n->daemon);
}

static void
node_kill(struct node *n)
{
	if (!n->loop)
		return;
	ledger_daemon_died((int)(n - sim.nodes));
	daemon_free(n->daemon);
	loop_free(n->loop);
	n->daemon = NULL;
	n->loop = NULL;
}

static void
stopped(void *arg)
{
	struct node *n = arg;

	/* Freed from an event of its own, as main does behind the loop. */
	world_schedule(&n->restart, 1000);
}

static void
restart(void *arg)
{
	struct node *n = arg;

	if (n->stopping) {
		world_trace("%s has stopped", n->set.name);
		node_kill(n);
		n->stopping = false;
		world_schedule(&n->restart, world_below(2000) * MS);
		return;
	}
	node_start(n);
}

/* --------------------------------------------------------------- programs -- */

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

/* As kill -9: the socket ends, nothing is said. */
static void
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

/* ---------------------------------------------------------------- cluster -- */

static void
settings_draw_all(void)
{
	struct settings all[ACTORS_DAEMONS] = { 0 };

	settings_draw(all, sim.n_nodes);
	for (int i = 0; i < sim.n_nodes; i++)
		sim.nodes[i].set = all[i];
}

void
actors_start(void)
{
	memset(&sim, 0, sizeof(sim));
	sim.n_nodes = world_chance(75) ? 2 : 3;
	sim.large = world_chance(15);
	sim.mortal = world_chance(30);
	settings_draw_all();
	for (int i = 0; i < sim.n_nodes; i++) {
		struct node *n = &sim.nodes[i];

		n->restart = (struct world_event){ .fn = restart, .arg = n };
		world_schedule(&n->restart, world_below(50) * MS);
	}
	/* A consumer for every queue that is sent to, then some more of both. */
	for (int i = 0; i < sim.n_nodes; i++)
		for (int q = 0; q < (i == 0 ? QUEUES : 1); q++)
			sim.programs[sim.n_programs++] = (struct program){ .role = CONSUMER, .at = i, .queue = q };
	if (world_chance(40))
		sim.programs[sim.n_programs++] = (struct program){ .role = CONSUMER };
	for (int i = sim.n_programs + 2 + (int)world_below(2); sim.n_programs < i && sim.n_programs < ACTORS_CLIENTS;) {
		struct program *p = &sim.programs[sim.n_programs++];

		p->role = PRODUCER;
		p->at = (int)world_below((uint64_t)sim.n_nodes);
		p->to = world_chance(85) ? (p->at + 1) % sim.n_nodes : p->at;
		p->queue = p->to == 0 ? (int)world_below(QUEUES) : 0;
		p->left = 30 + (unsigned)world_below(50);
	}
	for (int i = 0; i < HOSTILE_MAX && world_chance(25); i++) {
		static const char *const dests[] = { "h0", "h1", "berlin/h0", "oslo/h0", "paris/h0" };
		char path[40];

		snprintf(path, sizeof(path), "/sim/%s.sock", sim.nodes[world_below((uint64_t)sim.n_nodes)].set.name);
		hostile_start(i, path, dests, 5);
		sim.hostile = true;
	}
	for (int i = 0; i < sim.n_programs; i++) {
		struct program *p = &sim.programs[i];

		p->index = i;
		p->single = p->role == CONSUMER && world_chance(20);
		p->pulls = p->role == CONSUMER && world_chance(40);
		p->tick = (struct world_event){ .fn = program_tick, .arg = p };
		world_schedule(&p->tick, world_below(100) * MS);
	}
}

void
actors_end(void)
{
	for (int i = 0; i < HOSTILE_MAX; i++)
		hostile_end(i);
	for (int i = 0; i < sim.n_programs; i++) {
		program_kill(&sim.programs[i]);
		world_cancel(&sim.programs[i].tick);
	}
	for (int i = 0; i < sim.n_nodes; i++) {
		node_kill(&sim.nodes[i]);
		world_cancel(&sim.nodes[i].restart);
	}
}

static struct node *
some_node(void)
{
	return &sim.nodes[world_below((uint64_t)sim.n_nodes)];
}

static bool
purge_some(void *arg, struct queue *q)
{
	uint64_t messages, bytes;

	(void)arg;
	if (world_chance(50))
		queue_purge(q, &messages, &bytes);
	return true;
}

void
actors_fault(void)
{
	struct node *n = some_node();
	struct program *p = &sim.programs[world_below((uint64_t)sim.n_programs)];
	uint64_t dice = world_below(100);
	char state[24];

	if (dice < 30) {
		world_trace("FAULT: a link is cut");
		sim_net_cut(true, world_below(sim_net_count(true)));
	} else if (dice < 40) {
		world_trace("FAULT: a link freezes");
		sim_net_freeze(true, world_below(sim_net_count(true)));
	} else if (dice < 48) {
		world_trace("FAULT: partition");
		sim_net_partition(world_now() + world_below(1500) * MS);
		for (size_t i = sim_net_count(true); i-- > 0;)
			sim_net_cut(true, i);
	} else if (dice < 54) {
		world_trace("FAULT: links are slow");
		sim_net_slow(world_below(400) * MS);
	} else if (dice < 64 && n->loop && !n->stopping) {
		world_trace("FAULT: %s is killed", n->set.name);
		node_kill(n);
		world_schedule(&n->restart, world_below(1500) * MS);
	} else if (dice < 69 && n->loop && !n->stopping) {
		world_trace("FAULT: the machine of %s is gone", n->set.name);
		sim_net_vanish(n->loop);
		node_kill(n);
		snprintf(state, sizeof(state), "/sim/%s", n->set.name);
		sim_disk_power_cut(sim_disk_machine(state), world_random());
		world_schedule(&n->restart, world_below(3000) * MS);
	} else if (dice < 73 && n->loop && !n->stopping) {
		world_trace("FAULT: %s is stopped", n->set.name);
		n->stopping = true;
		ledger_daemon_died((int)(n - sim.nodes));
		daemon_stop(n->daemon, stopped, n);
	} else if (dice < 85) {
		world_trace("FAULT: program %d", p->index);
		if (!p->busy) {
			program_kill(p);
			world_schedule(&p->tick, world_below(1000) * MS);
		}
	} else if (dice < 92 && n->loop) {
		uint64_t boot = world_chance(50) ? world_below(8000) : 0;

		world_trace("FAULT: the clocks of %s jump", n->set.name);
		sim_loop_jump(n->loop, boot, (int64_t)world_below(20000000) - 10000000);
	} else if (dice < 95 && n->loop) {
		world_trace("FAULT: an operator purges queues of %s", n->set.name);
		ledger_purged((int)(n - sim.nodes));
		router_each(daemon_core(n->daemon)->router, purge_some, NULL);
	} else {
		world_trace("FAULT: a program's connection is cut");
		sim_net_cut(false, world_below(sim_net_count(false)));
	}
}

void
actors_heal(void)
{
	world_trace("everything is well from here on");
	sim.healed = true;
	for (int i = 0; i < HOSTILE_MAX; i++)
		hostile_end(i);
	sim_net_heal();
	for (int i = 0; i < sim.n_nodes; i++)
		if (!sim.nodes[i].loop && sim.nodes[i].restart.index == 0)
			world_schedule(&sim.nodes[i].restart, 0);
	for (int i = 0; i < sim.n_programs; i++) {
		struct program *p = &sim.programs[i];

		p->quick = true;
		if (!p->c && p->tick.index == 0)
			world_schedule(&p->tick, 0);
	}
}

/* What only hostile programs use. */
static bool
is_hostile(const struct queue *q)
{
	return queue_remote_name(q)[0] == 'h';
}

static bool
is_rest(void *arg, struct queue *q)
{
	struct queue_stats st;
	bool *rest = arg;

	if (queue_is_dead_letter(q) || is_hostile(q))
		return true;
	queue_stats(q, 0, &st);
	*rest = *rest && st.messages == 0;
	return *rest;
}

/* Somebody looks after the dead letters, so that no other waits for room among them. */
static bool
empty_dead_letters(void *arg, struct queue *q)
{
	uint64_t messages, bytes;

	(void)arg;
	if (queue_is_dead_letter(q))
		queue_purge(q, &messages, &bytes);
	return true;
}

bool
actors_at_rest(void)
{
	bool rest = ledger_open() == 0;

	for (int i = 0; i < sim.n_nodes; i++)
		if (sim.nodes[i].loop)
			router_each(daemon_core(sim.nodes[i].daemon)->router, empty_dead_letters, NULL);
	for (int i = 0; i < sim.n_programs && rest; i++)
		rest = sim.programs[i].c && sim.programs[i].left == 0 && sim.programs[i].n_held == 0;
	for (int i = 0; i < sim.n_nodes && rest; i++) {
		rest = sim.nodes[i].loop && !sim.nodes[i].stopping;
		if (rest)
			router_each(daemon_core(sim.nodes[i].daemon)->router, is_rest, &rest);
	}
	return rest;
}

static bool
trace_entry(void *arg, const struct entry *e)
{
	uint64_t number = 0;

	if (e->msg && e->msg->body_len >= sizeof(number))
		memcpy(&number, e->msg->body, sizeof(number));
	world_trace("%s: message %llu, state %u, tag %llu, attempt %u", queue_name(arg), (unsigned long long)number, e->state,
	    (unsigned long long)e->tag, e->attempt);
	return true;
}

static bool
trace_queue(void *arg, struct queue *q)
{
	const struct node *n = arg;
	struct queue_stats st;

	queue_stats(q, 0, &st);
	if (!queue_is_dead_letter(q))
		queue_each(q, trace_entry, q);
	world_trace("%s: %s: %llu messages, %llu in flight, %llu consumers, %llu reserved", n->set.name, queue_name(q),
	    (unsigned long long)st.messages, (unsigned long long)st.in_flight, (unsigned long long)st.consumers,
	    (unsigned long long)st.reserved_messages);
	return true;
}

void
actors_trace(void)
{
	for (int i = 0; i < sim.n_nodes; i++) {
		struct node *n = &sim.nodes[i];

		world_trace("%s: %s", n->set.name, n->loop ? n->stopping ? "stopping" : "running" : "down");
		if (!n->loop)
			continue;
		router_each(daemon_core(n->daemon)->router, trace_queue, n);
		for (size_t k = 0; k < daemon_n_links(n->daemon); k++) {
			struct link_stats st;

			link_stats(daemon_link(n->daemon, k), &st);
			world_trace("%s: link %s: %s, %llu waiting, %llu unconfirmed %s", n->set.name, link_name(daemon_link(n->daemon, k)),
			    link_state_name(st.state), (unsigned long long)st.waiting, (unsigned long long)st.unconfirmed, st.last_error);
		}
	}
	for (int i = 0; i < sim.n_programs; i++) {
		const struct program *p = &sim.programs[i];

		world_trace("program %d: %s at %s, %s, %u left to send, holds %zu, %zu unconfirmed", i,
		    p->role == PRODUCER ? "producer" : "consumer", sim.nodes[p->at].set.name, p->c ? connectd_is_up(p->c) ? "up" : "not up" : "down",
		    p->left, p->n_held, p->c ? connectd_unconfirmed(p->c) : 0);
	}
}

static bool
within(void *arg, struct queue *q)
{
	const struct node *n = arg;
	const struct conf_queue *conf = queue_conf(q);
	struct queue_stats st;

	queue_stats(q, 0, &st);
	/* One more for each flow that may be open into it. */
	if (!is_hostile(q) && st.messages > conf->max_messages + WIRE_PRIORITIES * (uint64_t)(sim.n_programs + sim.n_nodes))
		world_violation("%s: queue %s holds %llu messages, %llu are allowed", n->set.name, queue_name(q),
		    (unsigned long long)st.messages, (unsigned long long)conf->max_messages);
	if (st.counters.accepted + st.counters.moved_in !=
	    st.counters.consumed + st.counters.forwarded + st.counters.expired + st.counters.dead + st.counters.dropped +
		st.counters.purged + st.counters.moved_out + st.messages)
		world_violation("%s: the books of queue %s do not balance", n->set.name, queue_name(q));
	return true;
}

/* Whatever happens to connections, nobody who speaks the protocol well is ever told that it does not. */
static void
check_manners(const struct node *n)
{
	static const enum wire_close_code bad[] = { WIRE_CLOSE_PROTOCOL, WIRE_CLOSE_UNSUPPORTED, WIRE_CLOSE_TOO_LARGE,
		WIRE_CLOSE_FLOW_CONTROL, WIRE_CLOSE_WRONG_NAME, WIRE_CLOSE_NAME_IN_USE, WIRE_CLOSE_STATE_CONFLICT, WIRE_CLOSE_INTERNAL };
	const struct core *core = daemon_core(n->daemon);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (core->closed[CORE_CLOSED_PEER][bad[i]] > 0 ||
		    (!sim.hostile && core->closed[CORE_CLOSED_CLIENT][bad[i]] > 0))
			world_violation("%s: a session ended with %s", n->set.name, wire_close_name(bad[i]));
}

void
actors_check_limits(void)
{
	for (int i = 0; i < sim.n_nodes; i++)
		if (sim.nodes[i].loop) {
			check_manners(&sim.nodes[i]);
			router_each(daemon_core(sim.nodes[i].daemon)->router, within, &sim.nodes[i]);
		}
}

size_t
actors_n_daemons(void)
{
	return (size_t)sim.n_nodes;
}

size_t
actors_n_clients(void)
{
	return (size_t)sim.n_programs;
}
