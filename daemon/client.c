#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cgroup.h"
#include "disk.h"
#include "outlet.h"

#define APPLICATION_MAX 64
#define MARKS_MAX 10000 /* of producers of one user that are gone */
#define PROC_MAX 65536  /* bytes of a file in /proc: below /proc/PID there is no disk to wait for */

/* What the sessions of one uid share. */
struct user {
	struct hmap_node node;
	uint32_t uid;
	uint64_t n_clients;
	struct intake_book book; /* its flows, open or not */
};

struct clients {
	struct core *core;
	struct clients_hooks hooks;
	struct hmap users;
	struct list all;
	size_t n;
	struct log_window told; /* why sessions were ended */
};

struct client {
	struct list all;
	struct clients *clients;
	struct user *user;
	struct session *session;
	struct transport_identity id;
	struct subject who;
	char unit[CGROUP_UNIT_MAX + 1];
	char application[APPLICATION_MAX + 1];
	char context[APPLICATION_MAX + 40]; /* for the log */
	struct intern_entry *origin;
	struct intake intake;
	struct outlet outlet;
	struct log_limit denied;
	bool greeted;
	uint64_t since_ms;
};

/* ------------------------------------------------------------------ users -- */

static struct user *
user_get(struct clients *cs, uint32_t uid)
{
	struct hmap_node *n = hmap_find(&cs->users, hmap_hash_number(uid));
	struct user *u;

	if (n) /* the hash is one to one */
		return hmap_entry(n, struct user, node);
	u = calloc(1, sizeof(*u));
	if (!u)
		return NULL;
	u->uid = uid;
	intake_book_init(&u->book, &(struct intake_owner){ .uid = uid }, MARKS_MAX);
	if (hmap_add(&cs->users, &u->node, hmap_hash_number(uid)) != 0) {
		free(u);
		return NULL;
	}
	return u;
}

struct clients *
clients_new(struct core *core, const struct clients_hooks *hooks)
{
	struct clients *cs = calloc(1, sizeof(*cs));

	if (!cs)
		return NULL;
	cs->core = core;
	cs->hooks = *hooks;
	hmap_init(&cs->users);
	list_init(&cs->all);
	return cs;
}

/* ---------------------------------------------------------------- session -- */

static void
client_free(struct client *c)
{
	struct clients *cs = c->clients;

	cs->hooks.ended(cs->hooks.arg, c);
	if (c->greeted) {
		outlet_done(&c->outlet);
		intake_done(&c->intake);
		if (cs->core->event)
			cs->core->event(cs->core->event_arg, "client", c->application, "closed", c->context);
	}
	session_free(c->session);
	intern_unref(&cs->core->messages->origins, c->origin);
	c->user->n_clients--;
	list_remove(&c->all);
	cs->n--;
	free(c);
}

static void
greeting(void *arg, struct wire_hello *h)
{
	struct client *c = arg;
	struct core *core = c->clients->core;

	core_hello(core, WIRE_ROLE_DAEMON, h);
	h->limits.max_subscriptions = OUTLET_SUBSCRIPTIONS_MAX;
}

/* What is stamped on everything it sends: by the kernel's word, but for the application's name. */
static struct intern_entry *
make_origin(const struct client *c)
{
	struct core *core = c->clients->core;
	struct wire_origin o = {
		.node = wire_string(core->node->name),
		.uid = c->id.uid,
		.unit = wire_string(c->who.unit),
		.application = wire_string(c->application),
		.proof = WIRE_PROOF_LOCAL,
		.boot_id = state_boot_id(core->state),
	};

	return core_origin(core, &o);
}

static void
hello(void *arg, const struct wire_hello *h)
{
	struct client *c = arg;
	struct core *core = c->clients->core;

	if (h->role != WIRE_ROLE_CLIENT) {
		session_close(c->session, WIRE_CLOSE_PROTOCOL, "the local socket is for clients");
		return;
	}
	if (h->name.len > APPLICATION_MAX || (h->name.len > 0 && memchr(h->name.data, 0, h->name.len))) {
		session_close(c->session, WIRE_CLOSE_PROTOCOL, "an application name above 64 bytes");
		return;
	}
	if (h->name.len > 0)
		memcpy(c->application, h->name.data, h->name.len);
	snprintf(c->context, sizeof(c->context), "client %u/%u%s%s", c->id.uid, c->id.pid, c->application[0] ? " " : "",
	    c->application);
	c->origin = make_origin(c);
	if (!c->origin) {
		session_close(c->session, WIRE_CLOSE_INTERNAL, "out of memory");
		return;
	}
	session_greet(c->session);
	session_open(c->session);
	intake_init(&c->intake, &core->intake, &c->user->book, c->session, &c->who, c->origin, core->session_window,
	    &c->denied);
	outlet_init(&c->outlet, core->loop, core->router, c->session, &c->who, &c->denied);
	c->greeted = true;
	log_debug(core->log, c->context, "connected");
	if (core->event)
		core->event(core->event_arg, "client", c->application, "connected", c->context);
}

static void
frame(void *arg, const struct wire_frame *f)
{
	struct client *c = arg;
	const char *reason = "";
	enum wire_close_code code;

	switch (f->kind) {
	case WIRE_OPEN_FLOW:
	case WIRE_SETTLED:
	case WIRE_TRANSFER:
	case WIRE_RESUME:
	case WIRE_ABORT:
		code = intake_frame(&c->intake, f, &reason);
		break;
	case WIRE_ADMIN_REQUEST:
		c->clients->hooks.admin(c->clients->hooks.arg, c, &f->u.admin_request);
		return;
	case WIRE_DRAIN:
		return;
	default:
		code = outlet_frame(&c->outlet, f, &reason);
		break;
	}
	if (code != WIRE_CLOSE_NORMAL)
		session_close(c->session, code, reason);
}

static void
writable(void *arg)
{
	struct client *c = arg;

	if (!c->greeted)
		return;
	outlet_writable(&c->outlet);
	c->clients->hooks.writable(c->clients->hooks.arg, c);
}

/* A program can come and be thrown out as often as it likes: the log says so a few times a minute. */
static void
tell_closed(struct client *c, bool ordinary, enum wire_close_code code, const char *reason)
{
	struct core *core = c->clients->core;
	enum log_level level = LOG_DEBUG;
	uint64_t untold = 0;

	if (!ordinary && log_window_open(&c->clients->told, loop_now_ms(core->loop), &untold))
		level = LOG_WARNING;
	if (untold > 0)
		log_warning(core->log, NULL, "%llu more sessions of programs were ended", (unsigned long long)untold);
	log_write(core->log, level, c->context, "closed (%s): %s", wire_close_name(code), reason);
}

static void
down(void *arg, enum wire_close_code code, bool by_peer, int error, const char *reason)
{
	struct client *c = arg;
	struct core *core = c->clients->core;
	bool ordinary = by_peer || (c->greeted && error != 0) || code == WIRE_CLOSE_SHUTDOWN;

	if (!ordinary)
		core->closed[CORE_CLOSED_CLIENT][code]++;
	tell_closed(c, ordinary, code, reason);
	client_free(c);
}

static const struct session_events events = { .greeting = greeting, .hello = hello, .frame = frame, .writable = writable, .down = down };

/* A session that is only told why it cannot be. */
static void
refused_down(void *arg, enum wire_close_code code, bool by_peer, int error, const char *reason)
{
	(void)code, (void)by_peer, (void)error, (void)reason;
	session_free(arg);
}

static const struct session_events refused_events = { .down = refused_down };

static void
refuse(struct clients *cs, struct transport *t, const char *reason)
{
	struct session *s = session_new(&cs->core->sessions, t, false, &refused_events, NULL);

	cs->core->closed[CORE_CLOSED_CLIENT][WIRE_CLOSE_LIMIT]++;
	if (!s)
		return;
	session_set_owner(s, &refused_events, s);
	session_close(s, WIRE_CLOSE_LIMIT, reason);
}

static bool
is_admin(const struct conf_node *node, const struct transport_identity *id)
{
	if (id->uid == 0 || id->uid == geteuid())
		return true;
	if (!node->admin_group)
		return false;
	for (size_t i = 0; i < id->n_groups; i++)
		if (id->groups[i] == node->admin_group_id)
			return true;
	return id->gid == node->admin_group_id;
}

/* What the kernel says of the process that connected; NULL: it is gone, or hidden. */
static char *
read_proc(uint32_t pid, const char *file)
{
	char path[40], *text;

	snprintf(path, sizeof(path), "/proc/%u/%s", pid, file);
	return disk_slurp_path(path, PROC_MAX, &text) < 0 ? NULL : text;
}

/*
 * The system unit of a client, "" if it is in none. Its process may be gone and
 * its number another's: that must at least be the same user's.
 */
static void
find_unit(const struct transport_identity *id, char ret[static CGROUP_UNIT_MAX + 1])
{
	char *cgroup = id->pid != 0 ? read_proc(id->pid, "cgroup") : NULL, *process = NULL;

	ret[0] = '\0';
	if (cgroup && cgroup_unit(cgroup, ret))
		process = read_proc(id->pid, "status");
	if (!process || !cgroup_is_user(process, id->uid))
		ret[0] = '\0';
	free(cgroup);
	free(process);
}

void
clients_accept(struct clients *cs, struct transport *t)
{
	const struct conf_node *limits = cs->core->node;
	struct transport_identity id;
	struct client *c;
	struct user *u;

	t->ops->identity(t, &id);
	/* One slot is kept for root, so that an operator always gets in. */
	if (cs->n >= limits->max_clients + (id.uid == 0 ? 1 : 0)) {
		refuse(cs, t, "max_clients is reached");
		return;
	}
	u = user_get(cs, id.uid);
	if (!u || (u->n_clients >= limits->max_clients_per_user && id.uid != 0)) {
		refuse(cs, t, "max_clients_per_user is reached");
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		t->ops->close(t, false);
		return;
	}
	c->clients = cs;
	c->user = u;
	c->id = id;
	c->who = (struct subject){ .uid = id.uid, .gid = id.gid, .groups = c->id.groups, .n_groups = id.n_groups, .unit = c->unit };
	find_unit(&id, c->unit);
	c->who.is_admin = is_admin(limits, &id);
	c->since_ms = loop_now_ms(cs->core->loop);
	snprintf(c->context, sizeof(c->context), "client %u/%u", id.uid, id.pid);
	c->denied = (struct log_limit){ .log = cs->core->log, .context = c->context };
	c->session = session_new(&cs->core->sessions, t, false, &events, c);
	if (!c->session) {
		free(c);
		return;
	}
	u->n_clients++;
	list_append(&cs->all, &c->all);
	cs->n++;
}

void
clients_recheck(struct clients *cs)
{
	LIST_FOREACH_SAFE (n, &cs->all) {
		struct client *c = list_entry(n, struct client, all);

		c->who.is_admin = is_admin(cs->core->node, &c->id);
		if (!c->greeted)
			continue;
		outlet_recheck(&c->outlet);
		if (!intake_recheck(&c->intake, c->who.is_admin))
			session_close(c->session, WIRE_CLOSE_NORMAL, "a queue's send list has changed: connect again");
	}
}

void
clients_close(struct clients *cs, enum wire_close_code code, const char *reason)
{
	LIST_FOREACH_SAFE (n, &cs->all) {
		struct client *c = list_entry(n, struct client, all);

		if (c->greeted)
			intake_flush(&c->intake);
		session_close(c->session, code, reason);
	}
}

void
clients_free(struct clients *cs)
{
	struct hmap_node *n;

	if (!cs)
		return;
	LIST_FOREACH_SAFE (l, &cs->all)
		client_free(list_entry(l, struct client, all));
	while ((n = hmap_walk(&cs->users, NULL)) != NULL) {
		struct user *u = hmap_entry(n, struct user, node);

		intake_book_done(&cs->core->intake, &u->book);
		hmap_remove(&cs->users, n);
		free(u);
	}
	hmap_done(&cs->users);
	free(cs);
}

size_t
clients_count(const struct clients *cs)
{
	return cs->n;
}

uint64_t
clients_of_busiest_user(const struct clients *cs)
{
	uint64_t most = 0;

	for (struct hmap_node *n = hmap_walk(&cs->users, NULL); n; n = hmap_walk(&cs->users, n)) {
		const struct user *u = hmap_entry(n, struct user, node);

		if (u->n_clients > most)
			most = u->n_clients;
	}
	return most;
}

struct intake_book *
clients_book(struct clients *cs, uint32_t uid)
{
	struct user *u = user_get(cs, uid);

	return u ? &u->book : NULL;
}

void
clients_each_book(struct clients *cs, bool (*fn)(void *arg, struct intake_book *b), void *arg)
{
	for (struct hmap_node *n = hmap_walk(&cs->users, NULL); n; n = hmap_walk(&cs->users, n))
		if (!fn(arg, &hmap_entry(n, struct user, node)->book))
			return;
}

struct session *
client_session(struct client *c)
{
	return c->session;
}

bool
client_is_admin(const struct client *c)
{
	return c->who.is_admin;
}

const struct subject *
client_subject(const struct client *c)
{
	return &c->who;
}

struct log_limit *
client_denied(struct client *c)
{
	return &c->denied;
}

void
client_stats(const struct client *c, struct client_stats *ret)
{
	*ret = (struct client_stats){
		.uid = c->id.uid,
		.gid = c->id.gid,
		.pid = c->id.pid,
		.unit = c->who.unit,
		.application = c->application,
		.since_ms = c->since_ms,
	};
	if (!c->greeted)
		return;
	ret->flows = c->intake.n_flows;
	ret->subscriptions = c->outlet.subscriptions.n;
	ret->unacked = c->outlet.unacked.n;
	ret->sent_messages = c->intake.received;
	ret->received_messages = c->outlet.delivered;
}

void
clients_each(struct clients *cs, bool (*fn)(void *arg, struct client *c), void *arg)
{
	LIST_FOREACH_SAFE (n, &cs->all)
		if (!fn(arg, list_entry(n, struct client, all)))
			return;
}
