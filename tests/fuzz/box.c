#include "box.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors_internal.h"
#include "frame.h"
#include "io.h"
#include "ledger.h"
#include "sim_disk.h"
#include "sim_doors.h"
#include "transport.h"
#include "vdisk.h"

#define SOCKET "/sim/berlin.sock"
#define STEPS_MAX 200000 /* events within one box_run */

struct cluster sim; /* for accounts: of one daemon, and no programs */

struct line {
	struct box_line l; /* first */
	struct io *io;
	struct transport *t;
	uint8_t in[WIRE_FRAME_MAX + 16];
	size_t len;
};

static struct {
	struct line lines[BOX_LINES];
	struct loop *loop; /* the other ends' */
	struct transport_listener *listener;
	struct transport *dialled; /* a connection of the daemon's that nobody has taken */
	struct node *node;
} box;

static const char *const conf[BOX_CONFS] = {
	/* Durable, roomy. */
	"[queue \"*\"]\nmin_bytes = 4K\n"
	"[queue \"h*\"]\nmax_messages = 64\n"
	"[queue \"hm*\"]\ndurable = no\nmax_messages = 64\n"
	"[queue \"*/*\"]\nmax_messages = 64\n",
	/* In memory, and little of everything. */
	"[queue \"*\"]\nmin_bytes = 0\ndurable = no\nmax_messages = 8\n"
	"[queue \"h1\"]\ndurable = no\noverflow = reject\nmax_messages = 3\nmax_attempts = 2\nack_timeout = 100ms\n"
	"[queue \"h2\"]\ndurable = no\noverflow = drop-oldest\nmax_messages = 3\n"
	"[queue \"hm*\"]\ndurable = no\nttl = 50ms\nmax_messages = 4\n"
	"[queue \"*.dead\"]\ndurable = no\nmax_messages = 3\n"
	"[queue \"*/*\"]\ndurable = no\nmax_messages = 8\nmax_bytes = 8K\n",
	/* Durable, and little of everything. */
	"[queue \"*\"]\nmin_bytes = 0\nmax_messages = 8\nmax_bytes = 64K\n"
	"[queue \"h1\"]\noverflow = reject\nmax_messages = 3\nmax_attempts = 2\nack_timeout = 100ms\n"
	"[queue \"hm*\"]\nttl = 50ms\nmax_messages = 4\n"
	"[queue \"*.dead\"]\nmax_messages = 3\n"
	"[queue \"*/*\"]\nmax_messages = 4\n",
};

/* ----------------------------------------------------------------- daemon -- */

static void
log_line(void *arg, enum log_level level, const char *line)
{
	(void)arg, (void)level;
	for (const char *p = line; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			abort(); /* somebody else's bytes reach a terminal */
	world_trace("%s", line);
}

static void
fault_line(void *arg, const char *file, unsigned line, const char *text)
{
	(void)arg;
	fprintf(stderr, "%s:%u: %s\n", file, line, text);
}

static void
daemon_up(void)
{
	struct daemon_options opt = { .log = &box.node->log };
	char why[DAEMON_WHY_MAX];
	struct conf *c;

	if (conf_read_text("box", box.node->set.conf, strlen(box.node->set.conf), fault_line, NULL, &c) != 0)
		abort();
	box.node->loop = loop_new();
	if (daemon_new(box.node->loop, c, &opt, &box.node->daemon, why) != 0) {
		fprintf(stderr, "the daemon does not start: %s\n", why);
		abort();
	}
	daemon_start(box.node->daemon);
}

static void
daemon_down(void)
{
	daemon_free(box.node->daemon);
	loop_free(box.node->loop);
	box.node->daemon = NULL;
	box.node->loop = NULL;
}

void
box_check(void)
{
	accounts_check(box.node);
	if (world_violated()) {
		fprintf(stderr, "violation: %s\n", world_violated());
		abort();
	}
}

static void
stopped(void *arg)
{
	*(bool *)arg = true;
}

void
box_restart(bool in_order)
{
	bool done = false;

	box_check();
	if (in_order) {
		daemon_stop(box.node->daemon, stopped, &done);
		for (int i = 0; i < 100 && !done; i++)
			box_run(100000);
		if (!done)
			abort(); /* drain_timeout is a second */
	}
	daemon_down();
	sim_disk_kill(box.node->machine);
	for (size_t i = 0; i < BOX_LINES; i++)
		box_cut(&box.lines[i].l, true);
	daemon_up();
	box_check();
}

/* ------------------------------------------------------------------ lines -- */

static void
hear(struct line *line, const uint8_t *data, size_t len)
{
	struct wire_item item;
	struct wire_frame f;
	struct wire_bytes walk;

	if (wire_unpack(data, len, &f) != 0)
		abort(); /* a daemon sends frames that are well-formed */
	if (f.kind == WIRE_TRANSFER || f.kind == WIRE_DELIVER)
		for (walk = f.u.run.items; wire_item_next(&walk, &item);)
			;
	world_trace("line %d: %s from the daemon", (int)(line - box.lines), wire_kind_name(f.kind));
	if (f.kind == WIRE_HELLO) {
		line->l.hello = f.u.hello;
		line->l.hello.name = line->l.hello.dialled = line->l.hello.store_id = line->l.hello.software = wire_bytes(NULL, 0);
		line->l.greeted = true;
	}
	if (f.kind == WIRE_CLOSE)
		world_trace("%.*s", (int)f.u.close.reason.len, (const char *)f.u.close.reason.data);
	if (line->l.heard)
		line->l.heard(&line->l, &f);
}

static void
listen_to(struct line *line)
{
	size_t used;
	struct frame fr;
	ssize_t n;
	int r;

	while (line->l.up && !line->l.deaf) {
		n = line->io ? io_read(line->io, line->in + line->len, sizeof(line->in) - line->len)
			     : line->t->ops->read(line->t, line->in + line->len, sizeof(line->in) - line->len);
		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			box_cut(&line->l, true);
			return;
		}
		line->len += (size_t)n;
		used = 0;
		while ((r = frame_decode(line->in + used, line->len - used, WIRE_FRAME_MAX, &fr)) == 1) {
			hear(line, fr.data, fr.len);
			used += fr.used;
		}
		if (r < 0)
			abort();
		memmove(line->in, line->in + used, line->len - used);
		line->len -= used;
	}
}

static void
on_up(void *arg)
{
	((struct line *)arg)->l.up = true;
}

static void
on_data(void *arg)
{
	struct line *line = arg;

	if (!line->l.up || !line->t)
		return;
	if (line->l.deaf)
		line->t->ops->want_read(line->t, false);
	else
		listen_to(line);
}

static void
on_room(void *arg)
{
	(void)arg;
}

static void
on_down(void *arg, int error, const char *text)
{
	(void)error, (void)text;
	box_cut(arg, true);
}

static const struct transport_events events = { .up = on_up, .readable = on_data, .writable = on_room, .down = on_down };

static void
unclaimed_down(void *arg, int error, const char *text)
{
	(void)arg, (void)error, (void)text;
	box.dialled->ops->close(box.dialled, true);
	box.dialled = NULL;
}

static void
unclaimed_data(void *arg)
{
	(void)arg;
	box.dialled->ops->want_read(box.dialled, false);
}

static const struct transport_events unclaimed = { .up = on_room, .readable = unclaimed_data, .writable = on_room, .down = unclaimed_down };

static void
accepted(void *arg, struct transport *t)
{
	(void)arg;
	if (box.dialled)
		box.dialled->ops->close(box.dialled, true);
	box.dialled = t;
	transport_set_events(t, &unclaimed, NULL);
}

struct box_line *
box_line(size_t i)
{
	return &box.lines[i % BOX_LINES].l;
}

void
box_cut(struct box_line *l, bool in_order)
{
	struct line *line = (struct line *)l;

	l->up = l->greeted = false;
	line->len = 0;
	if (line->t)
		line->t->ops->close(line->t, in_order);
	line->t = NULL;
	if (line->io && in_order)
		io_free(line->io);
	else if (line->io) {
		sim_io_kill(line->io);
		io_free(line->io);
	}
	line->io = NULL;
}

void
box_connect(struct box_line *l, enum box_kind kind)
{
	static const struct names_url url = { .scheme = NAMES_TCP, .host = "10.0.0.1", .port = 7000 };
	struct line *line = (struct line *)l;

	box_cut(l, true);
	l->kind = kind;
	l->deaf = false;
	if (kind == BOX_PROGRAM) {
		sim_io_owner(on_room, line);
		line->io = io_new();
		l->up = io_connect(line->io, SOCKET) == 0;
	} else if (kind == BOX_STRANGER) {
		transport_for(NAMES_TCP)->connect(box.loop, &url, NULL, 1000, &events, line, &line->t);
	} else if (box.dialled) {
		line->t = box.dialled;
		box.dialled = NULL;
		transport_set_events(line->t, &events, line);
		line->t->ops->want_read(line->t, true);
		l->up = true;
	}
}

void
box_say(struct box_line *l, const void *data, size_t len)
{
	struct line *line = (struct line *)l;
	union {
		const void *in;
		void *out;
	} bytes = { data };
	struct iovec iov = { bytes.out, len };

	if (!l->up || len == 0)
		return;
	if (line->io)
		io_writev(line->io, &iov, 1);
	else
		line->t->ops->writev(line->t, &iov, 1);
}

void
box_frame(struct box_line *l, const struct wire_frame *f)
{
	static uint8_t buf[WIRE_FRAME_MAX];

	if (wire_size(f) <= sizeof(buf))
		box_say(l, buf, wire_pack(f, buf));
}

void
box_run(uint64_t us)
{
	uint64_t until = world_now() + us * 1000;
	size_t steps = 0;

	while (world_step(until))
		if (++steps > STEPS_MAX)
			abort(); /* it never comes to rest */
	for (size_t i = 0; i < BOX_LINES; i++)
		if (box.lines[i].io)
			listen_to(&box.lines[i]);
}

void
box_greet(struct box_line *l, const char *name)
{
	static const uint8_t ids[2][16] = { { 1, 2, 3 }, { 4, 5, 6 } };
	struct wire_frame f = { .kind = WIRE_HELLO };
	struct wire_hello *h = &f.u.hello;

	h->magic = WIRE_MAGIC;
	h->version_min = h->version_max = WIRE_VERSION;
	h->name = wire_string(name);
	h->limits = (struct wire_limits){ .max_message = 1u << 20, .max_flows = 64, .max_subscriptions = 64, .dictionary = 64, .window = 1u << 20 };
	h->role = WIRE_ROLE_CLIENT;
	if (l->kind != BOX_PROGRAM) {
		h->role = WIRE_ROLE_PEER;
		h->store_id = wire_bytes(ids[name[0] == 'o'], 16);
		h->start_count = 1;
		h->boot_id = 77;
		h->idle_timeout_ms = 10000;
		if (l->kind == BOX_STRANGER) {
			h->dialled = wire_string("berlin");
			h->nonce = world_ms();
		}
	}
	box_frame(l, &f);
}

void
box_flows(size_t n)
{
	sim.n_programs += (int)n;
}

/* -------------------------------------------------------------- a run of it -- */

void
box_start(uint64_t seed, unsigned n)
{
	static const struct names_url here = { .scheme = NAMES_TCP, .host = "10.0.0.2", .port = 7000 };
	struct settings *set;

	world_start(seed, getenv("FUZZ_TRACE") != NULL);
	world_behind(NULL);
	sim_net_reset();
	sim_disk_reset();
	memset(&sim, 0, sizeof(sim));
	sim.n_nodes = 1;
	sim.hostile = sim.hostile_peers = true;
	sim.n_programs = 16;
	box.node = &sim.nodes[0];
	set = &box.node->set;
	snprintf(set->name, sizeof(set->name), "berlin");
	snprintf(set->conf, sizeof(set->conf),
	    "[node]\nname = berlin\nstate = /sim/berlin\nsocket = " SOCKET "\nkeepalive = 1s\nhandshake_timeout = 2s\n"
	    "drain_timeout = 1s\nmax_message = 512K\nsegment = 256K\nmax_disk = 8M\nmax_memory = %s\nmax_partial = 768K\n"
	    "admin_group = 1000\nqueue_linger = 300ms\nproducer_linger = 500ms\nmax_queues_per_user = 6\nmax_queues_per_peer = 6\nmax_producers = 4\n"
	    "[listen \"in\"]\naddress = tcp://10.0.0.1:7000\nplaintext = yes\n"
	    "[peer \"oslo\"]\nplaintext = yes\nfrom = 10.0.0.0/8\naddress = tcp://10.0.0.2:7000\nbackoff_min = 50ms\nbackoff_max = 500ms\n"
	    "[peer \"aachen\"]\nplaintext = yes\nfrom = 10.0.0.0/8\n%s",
	    n % BOX_CONFS == 0 ? "16M" : "3M", conf[n % BOX_CONFS]);
	box.node->log = (struct log){ .level = LOG_DEBUG, .node = set->name, .sink = log_line };
	box.node->machine = sim_disk_machine("/sim/berlin");
	box.loop = loop_new();
	if (transport_for(NAMES_TCP)->listen(box.loop, &here, NULL, -1, accepted, NULL, NULL, &box.listener) != 0)
		abort();
	daemon_up();
}

void
box_end(void)
{
	box_check();
	for (size_t i = 0; i < BOX_LINES; i++)
		box_cut(&box.lines[i].l, true);
	box_run(50000);
	box_check();
	daemon_down();
	if (box.dialled)
		box.dialled->ops->close(box.dialled, true);
	box.dialled = NULL;
	transport_for(NAMES_TCP)->listen_close(box.listener);
	loop_free(box.loop);
	sim_net_reset();
	sim_disk_reset();
	world_end();
	for (size_t i = 0; i < BOX_LINES; i++)
		box.lines[i].l = (struct box_line){ .up = false };
}
