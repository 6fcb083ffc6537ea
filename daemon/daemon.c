#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "credentials.h"
#include "daemon_internal.h"
#include "store.h"
#include "task.h"

#define STOP_LOOK_MS 10    /* how often a stop looks whether it can go on */
#define STOP_CLOSE_MS 2000 /* for the last words of sessions */
#define LOST_LOGGED_MAX 100
#define WINDOW_MIN (2 * (uint64_t)WIRE_LARGE)
#define WINDOW_MAX (4ull << 20)

/* ------------------------------------------------------- parts about others -- */

/* For systemctl status. */
static void
tell_status(void *arg)
{
	struct daemon *d = arg;
	size_t up = 0;
	char text[80];

	if (!d->opt.status)
		return;
	for (size_t i = 0; i < d->n_links; i++) {
		struct link_stats st;

		link_stats(d->links[i], &st);
		up += st.state == LINK_UP;
	}
	snprintf(text, sizeof(text), "%s: %zu of %zu peers up", d->core.node->name, up, d->n_links);
	d->opt.status(d->opt.arg, text);
}

void
daemon_event(void *arg, const char *kind, const char *name, const char *change, const char *text)
{
	struct daemon *d = arg;

	control_event(d->control, kind, name, change, text);
	if (strcmp(kind, "peer") != 0)
		return;
	loop_defer(d->core.loop, &d->status);
	if (strcmp(change, "up") == 0)
		expiry_look_soon(d->expiry);
}

static void
on_queue(void *arg, const char *name, bool created)
{
	struct daemon *d = arg;

	/* Not while everything is torn down. */
	if (d->core.event)
		daemon_event(d, "queue", name, created ? "created" : "removed", "");
}

struct link *
daemon_add_link(struct daemon *d, const struct conf_peer *peer, const char *name)
{
	struct link **more = realloc(d->links, (d->n_links + 1) * sizeof(struct link *));
	struct link *l;

	if (!more)
		return NULL;
	d->sources.links = d->links = more;
	l = link_new(&d->core, peer, name);
	if (!l)
		return NULL;
	d->links[d->n_links++] = l;
	d->sources.n_links = d->n_links;
	return l;
}

/* That of a family's node is made when it is first needed. */
static struct link *
find_link(void *arg, const char *name)
{
	struct daemon *d = arg;
	const struct conf_peer *peer;

	for (size_t i = 0; i < d->n_links; i++)
		if (strcmp(link_name(d->links[i]), name) == 0)
			return d->links[i];
	peer = conf_peer_find(d->core.conf, name);
	return peer ? daemon_add_link(d, peer, name) : NULL;
}

static int
want_link(void *arg, const char *name)
{
	struct daemon *d = arg;

	/* While everything is made, or torn down, there are none. */
	if (!d->core.event || !d->core.router || find_link(d, name))
		return 0;
	return conf_peer_find(d->core.conf, name) ? -ENOMEM : 0;
}

/* Links that have a connection or try to. */
static size_t
count_connected(void *arg)
{
	struct daemon *d = arg;
	size_t n = 0;

	for (size_t i = 0; i < d->n_links; i++) {
		struct link_stats st;

		link_stats(d->links[i], &st);
		n += st.state == LINK_UP || st.state == LINK_DIALLING;
	}
	return n;
}

static void
each_listener(void *arg, void (*fn)(void *arg, const char *name, const char *url), void *fn_arg)
{
	daemon_listeners(arg, fn, fn_arg);
}

static void
count_connections(void *arg, struct control_connections *ret)
{
	struct daemon *d = arg;

	listen_pending(d->listen, &ret->pending, &ret->per_address);
	listen_used(d->listen, &ret->strangers, &ret->handshake_ms);
	ret->all = ret->pending + count_connected(d);
}

/* ----------------------------------------------------------------- the store -- */

static void
journal_marked(void *arg, int error)
{
	struct daemon *d = arg;

	if (error < 0 && error != -ECANCELED)
		log_warning(d->core.log, NULL, "state folder: that there is a journal could not be written down, tried again at the next start: %s",
		    strerror(-error));
}

/* The first batch of a folder's life: from now on it would be missed. */
static void
mark_journal(struct daemon *d)
{
	struct store_stats st;
	int r;

	store_stats(d->store, &st);
	if (st.newest_start == 0)
		return;
	d->has_journal = true;
	r = state_mark_journal_soon(d->core.state, journal_marked, d);
	if (r < 0)
		journal_marked(d, r);
}

static void
on_synced(void *arg, uint64_t ticket)
{
	struct daemon *d = arg;

	if (!d->has_journal)
		mark_journal(d);
	queues_synced(router_queues(d->core.router), ticket);
	intake_synced(&d->core.intake, ticket);
	for (size_t i = 0; i < d->n_links; i++)
		link_synced(d->links[i]);
	control_synced(d->control);
}

static void
on_offered(void *arg, uint32_t queue, uint64_t seq)
{
	struct daemon *d = arg;

	queues_offered(router_queues(d->core.router), queue, seq);
}

static void
on_store_state(void *arg, enum store_state st, const char *why)
{
	static const char *const names[] = { "open", "full", "failed" };
	struct daemon *d = arg;

	if (st == STORE_OPEN)
		log_warning(d->core.log, NULL, "the journal takes messages again");
	else
		log_error(d->core.log, NULL, st == STORE_FULL ? "the journal is full: %s; what waits to be written is tried again"
		                                              : "the journal has failed: %s; nothing durable is confirmed until "
		                                                "the cause is mended and connectd is restarted", why);
	daemon_event(d, "store", d->core.node->name, names[st], why);
	control_synced(d->control);
}

static void
on_store_room(void *arg)
{
	struct daemon *d = arg;

	queues_disk_back(router_queues(d->core.router));
}

static void
on_damaged(void *arg, const char *what)
{
	struct daemon *d = arg;

	log_error(d->core.log, NULL, "journal: %s", what);
}

static size_t
forget_strays(void *arg, const char *peer)
{
	struct daemon *d = arg;
	size_t n = 0;

	for (size_t i = 0; i < d->n_strays; i++) {
		if (d->strays[i].flow == 0 || strcmp(d->strays[i].peer, peer) != 0)
			continue;
		store_remove_flow(d->store, d->strays[i].flow);
		d->strays[i].flow = 0;
		n++;
	}
	return n;
}

/* What waited when this node ended is there again. */
static int
open_store(struct daemon *d, char why[static DAEMON_WHY_MAX])
{
	struct core *core = &d->core;
	const struct store_config cfg = { .loop = core->loop, .disk = state_disk(core->state), .writer = d->writer,
		.reader = d->reader, .segment = core->node->segment, .max_disk = core->node->max_disk,
		.start_count = state_start_count(core->state), .least_start = state_journal_start(core->state) };
	const struct store_events ev = { on_synced, on_offered, on_store_state, on_store_room, on_damaged, d };
	const struct recover_env env = { .core = core, .clients = d->clients, .find = find_link, .arg = d,
		.progress = d->opt.progress, .progress_arg = d->opt.arg };
	struct recover_report report;
	struct store_stats st;
	int r = recover(&env, &cfg, &ev, &d->store, &report, why);

	if (r < 0)
		return r;
	d->strays = report.strays;
	d->n_strays = report.n_strays;
	core->intake.store = core->store = d->store;
	store_stats(d->store, &st);
	d->has_journal = st.newest_start != 0;
	/* Before anything is confirmed that only this journal has. */
	r = d->has_journal ? state_mark_journal(core->state) : 0;
	if (r < 0) {
		snprintf(why, DAEMON_WHY_MAX, "state folder: that there is a journal could not be written down: %s", strerror(-r));
		return r;
	}
	r = queues_set_store(router_queues(core->router), d->store);
	if (r < 0) {
		snprintf(why, DAEMON_WHY_MAX, "%s",
		    r == -ENOSPC ? "the min_bytes of all queues do not fit into max_disk: lower them or raise it" : strerror(-r));
		/* No space would be tried again. */
		return r == -ENOSPC ? -EINVAL : r;
	}
	log_info(core->log, NULL, "journal: %llu messages in %llu queues", (unsigned long long)report.messages,
	    (unsigned long long)report.queues);
	if (report.left_out > 0)
		log_warning(core->log, NULL, "journal: %llu entries are of peers that are not configured, and left alone",
		    (unsigned long long)report.left_out);
	return 0;
}

/* ------------------------------------------------------------------ building -- */

struct wanted {
	struct daemon *d;
	int error;
};

static bool
want_link_of(void *arg, struct queue *q)
{
	struct wanted *w = arg;

	w->error = queue_node(q) ? want_link(w->d, queue_node(q)) : 0;
	return w->error == 0;
}

static int
make_links(struct daemon *d)
{
	struct wanted wanted = { .d = d };

	for (size_t i = 0; i < conf_n_peers(d->core.conf); i++) {
		const struct conf_peer *peer = conf_peer(d->core.conf, i);

		if (!conf_peer_is_family(peer) && !daemon_add_link(d, peer, peer->name))
			return -ENOMEM;
	}
	router_each(d->core.router, want_link_of, &wanted);
	return wanted.error;
}

/* Only where something needs them: no key is made that nobody asked for. */
static int
load_credentials(struct daemon *d, char why[static CREDENTIALS_WHY_MAX])
{
	struct core *core = &d->core;
	char key[PIN_TEXT_MAX];
	bool made;
	int r;

	if (!conf_needs_identity(core->conf))
		return 0;
	r = credentials_load(state_disk(core->state), core->node, CREDENTIALS_MAKE, &core->tls, &made, why);
	if (r < 0)
		return r;
	log_info(core->log, NULL, "%s key %s", made ? "made the" : "the", pin_text(tls_context_own(core->tls)->key, key));
	return 0;
}

/* Everything that can only fail for lack of memory. */
static int
make_parts(struct daemon *d)
{
	struct core *core = &d->core;
	const struct router_events events = { on_queue, want_link, d };
	uint64_t window = core->node->max_memory / 8;

	core->sessions = (struct session_env){ .loop = core->loop, .messages = &d->messages };
	core->sessions.read_buffer = malloc(SESSION_READ_BUFFER);
	core->session_window = window < WINDOW_MIN ? WINDOW_MIN : window > WINDOW_MAX ? WINDOW_MAX : window;
	d->sources = (struct control_sources){ .core = core, .started_ms = loop_now_ms(core->loop),
		.started_unix_ms = loop_wall_ms(core->loop), .listeners = each_listener, .connections = count_connections,
		.forget_strays = forget_strays, .reload = daemon_reload_for, .expiry = daemon_each_expiry, .arg = d };
	d->control = control_new(&d->sources);
	if (!core->sessions.read_buffer || !d->control || daemon_expiry_new(d) < 0)
		return -ENOMEM;
	core->event = daemon_event;
	core->event_arg = d;
	core->router = router_new(core->loop, core->conf, &d->messages, state_start_count(core->state), &events);
	if (!core->router)
		return -ENOMEM;
	intake_env_init(&core->intake, core->loop, &d->messages, core->router);
	daemon_set_limits(d);
	core->intake.next_counter = &core->next_counter;
	d->clients = clients_new(core, &(struct clients_hooks){ control_request, control_client_ended, control_writable, d->control });
	if (!d->clients)
		return -ENOMEM;
	d->sources.clients = d->clients;
	return make_links(d);
}

static void look(void *arg);

int
daemon_new(struct loop *l, struct conf *conf, const struct daemon_options *opt, struct daemon **ret, char why[static DAEMON_WHY_MAX])
{
	struct daemon *d = calloc(1, sizeof(*d));
	struct core *core;
	uint64_t seed;
	int r;

	if (!d) {
		snprintf(why, DAEMON_WHY_MAX, "out of memory");
		return -ENOMEM;
	}
	core = &d->core;
	d->opt = *opt;
	core->loop = l;
	core->log = opt->log;
	core->conf = conf;
	core->node = conf_node(conf);
	loop_random(l, &seed, sizeof(seed));
	message_store_init(&d->messages, seed);
	core->messages = &d->messages;
	loop_timer_init(&d->stop_timer, l, look, d);
	loop_call_init(&d->status, tell_status, d);

	d->runner = task_runner_new(l);
	d->writer = task_runner_new(l);
	d->reader = task_runner_new(l);
	r = d->runner && d->writer && d->reader ? state_open(l, d->runner, core->node->state, core->node->name, &core->state, why) : -ENOMEM;
	if (r < 0)
		goto fail;
	r = load_credentials(d, why);
	if (r < 0)
		goto fail;
	r = make_parts(d);
	if (r < 0)
		goto fail;
	r = open_store(d, why);
	if (r < 0)
		goto fail;
	r = listen_new(&(struct listen_env){ .core = core, .clients = d->clients, .find = find_link, .connected = count_connected,
	    .arg = d, .passed = opt->passed, .socket_rights = opt->socket_rights, .passed_arg = opt->arg }, &d->listen, why);
	if (r < 0)
		goto fail;
	d->conf = conf;
	*ret = d;
	return 0;
fail:
	if (r == -ENOMEM)
		snprintf(why, DAEMON_WHY_MAX, "out of memory");
	daemon_free(d);
	return r;
}

void
daemon_start(struct daemon *d)
{
	struct core *core = &d->core;

	log_info(core->log, NULL, "node %s, start %u, state in %s", core->node->name, state_start_count(core->state),
	    core->node->state);
	listen_start(d->listen);
	for (size_t i = 0; i < d->n_links; i++)
		link_start(d->links[i]);
	if (core->tls)
		expiry_begin(d->expiry);
	tell_status(d);
}

/* ------------------------------------------------------------------ stopping -- */

struct loss {
	struct daemon *d;
	uint64_t queues, messages;
};

static bool
log_loss(void *arg, struct queue *q)
{
	struct loss *loss = arg;
	struct core *core = &loss->d->core;
	struct queue_stats st;
	uint64_t lost;

	queue_stats(q, loop_now_ms(core->loop), &st);
	lost = st.messages - st.stored;
	if (lost == 0)
		return true;
	if (loss->queues++ < LOST_LOGGED_MAX)
		log_warning(core->log, NULL, "queue %s: %llu memory messages are lost", queue_name(q), (unsigned long long)lost);
	loss->messages += lost;
	return true;
}

static void
finish_stop(struct daemon *d)
{
	struct loss loss = { d, 0, 0 };

	d->phase = STOPPED;
	loop_timer_stop(&d->stop_timer);
	router_each(d->core.router, log_loss, &loss);
	if (loss.messages > 0)
		log_warning(d->core.log, NULL, "%llu memory messages in %llu queues are lost", (unsigned long long)loss.messages,
		    (unsigned long long)loss.queues);
	log_info(d->core.log, NULL, "stopped");
	d->stopped(d->stopped_arg);
}

static bool
is_drained(const struct daemon *d)
{
	for (size_t i = 0; i < d->n_links; i++)
		if (!link_is_drained(d->links[i]))
			return false;
	return true;
}

static bool
is_closed(const struct daemon *d)
{
	for (size_t i = 0; i < d->n_links; i++) {
		struct link_stats st;

		link_stats(d->links[i], &st);
		if (st.state == LINK_UP)
			return false;
	}
	return clients_count(d->clients) == 0;
}

/* Everything told so far is on disk, or will never be. */
static bool
is_synced(const struct daemon *d)
{
	struct store_stats st;

	store_stats(d->store, &st);
	return st.state == STORE_FENCED || store_synced(d->store) >= store_ticket(d->store);
}

static void
look(void *arg)
{
	struct daemon *d = arg;
	static const char reason[] = "the daemon is stopping";
	uint64_t now = loop_now_ms(d->core.loop);
	bool late = now >= d->stop_deadline_ms;

	store_hurry(d->store);
	if (d->phase == DRAINING && ((is_drained(d) && is_synced(d)) || late)) {
		if (!is_drained(d))
			log_warning(d->core.log, NULL, "drain_timeout has passed, and messages still wait for other nodes");
		d->phase = CLOSING;
		d->stop_deadline_ms = now + STOP_CLOSE_MS;
		for (size_t i = 0; i < d->n_links; i++)
			link_close(d->links[i], WIRE_CLOSE_SHUTDOWN, reason);
		clients_close(d->clients, WIRE_CLOSE_SHUTDOWN, reason);
	} else if (d->phase == CLOSING && (is_closed(d) || late)) {
		/* Whatever was acked until now is written, in one last batch. */
		d->phase = SYNCING;
		d->stop_deadline_ms = now + STOP_CLOSE_MS;
	} else if (d->phase == SYNCING && (is_synced(d) || late)) {
		if (!is_synced(d))
			log_warning(d->core.log, NULL, "the journal is slow or full: what was acked last may come again");
		finish_stop(d); /* may free d */
		return;
	}
	loop_timer_start(&d->stop_timer, STOP_LOOK_MS);
}

void
daemon_stop(struct daemon *d, void (*done)(void *arg), void *arg)
{
	struct core *core = &d->core;

	if (d->phase != RUNNING) {
		if (d->phase != STOPPED)
			finish_stop(d); /* may free d */
		return;
	}
	d->phase = DRAINING;
	d->stopped = done;
	d->stopped_arg = arg;
	d->stop_deadline_ms = loop_now_ms(core->loop) + core->node->drain_timeout;
	core->stopping = core->intake.stopping = true;
	log_info(core->log, NULL, "stopping");
	daemon_event(d, "daemon", core->node->name, "stopping", "");
	listen_stop(d->listen);
	for (size_t i = 0; i < d->n_links; i++)
		link_drain(d->links[i]);
	loop_timer_start(&d->stop_timer, 0);
}

/* Sessions that were cut have by now given back what they held. */
static void
bury(void *arg)
{
	struct daemon *d = arg;

	message_store_done(&d->messages);
	conf_free(d->conf);
	free(d->core.sessions.read_buffer);
	free(d);
}

void
daemon_free(struct daemon *d)
{
	if (!d)
		return;
	loop_timer_stop(&d->stop_timer);
	loop_call_cancel(&d->status);
	expiry_free(d->expiry);
	d->core.event = NULL;
	control_stop(d->control);
	/* First of all: nothing that goes from memory now has left its queue. */
	task_runner_free(d->writer);
	task_runner_free(d->reader);
	if (d->core.router)
		queues_set_store(router_queues(d->core.router), NULL);
	d->core.intake.store = d->core.store = NULL;
	store_free(d->store);
	d->store = NULL;
	listen_free(d->listen);
	clients_free(d->clients);
	control_free(d->control);
	for (size_t i = 0; i < d->n_links; i++)
		link_free(d->links[i]);
	free(d->links);
	free(d->strays);
	router_free(d->core.router);
	session_env_end(&d->core.sessions);
	task_runner_free(d->runner);
	daemon_reload_cancelled(d);
	tls_context_unref(d->core.tls);
	state_close(d->core.state);
	loop_call_init(&d->bury, bury, d);
	loop_defer(d->core.loop, &d->bury);
}

/* ----------------------------------------------------------------- for tests -- */

struct core *
daemon_core(struct daemon *d)
{
	return &d->core;
}

struct clients *
daemon_clients(struct daemon *d)
{
	return d->clients;
}

size_t
daemon_n_links(const struct daemon *d)
{
	return d->n_links;
}

struct link *
daemon_link(struct daemon *d, size_t i)
{
	return d->links[i];
}

void
daemon_listeners(struct daemon *d, void (*fn)(void *arg, const char *name, const char *url), void *arg)
{
	listen_each(d->listen, fn, arg);
}
