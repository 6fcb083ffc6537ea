/* actors_nodes: the daemons of a simulated cluster come and go. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors_internal.h"
#include "ledger.h"

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

void
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

void
node_stop(struct node *n)
{
	n->stopping = true;
	ledger_daemon_died((int)(n - sim.nodes));
	daemon_stop(n->daemon, stopped, n);
}

void
node_init(struct node *n)
{
	n->restart = (struct world_event){ .fn = restart, .arg = n };
	world_schedule(&n->restart, world_below(50) * MS);
}
