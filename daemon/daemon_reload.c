/*
 * Reading the configuration again. A task reads and checks all of it, with the
 * key, the certificates and what the CA has revoked; then, in one pass of the
 * loop, everything goes by it, or nothing does.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "credentials.h"
#include "daemon_internal.h"
#include "task.h"

#define TEXT_MAX 2000

struct reload {
	struct daemon *d;
	const char *path;
	const struct conf *before;
	struct disk *state;
	/* What came of it. */
	struct conf *conf;
	struct tls_context *tls;
	int error;
	char text[TEXT_MAX];
	void (*done)(void *arg, int error, const char *text);
	void *arg;
};

static void say(struct reload *rl, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A sentence more of what will be told. */
static void
say(struct reload *rl, const char *fmt, ...)
{
	size_t len = strlen(rl->text);
	va_list ap;

	if (len > 0)
		len += (size_t)snprintf(rl->text + len, TEXT_MAX - len, "; ");
	if (len >= TEXT_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(rl->text + len, TEXT_MAX - len, fmt, ap);
	va_end(ap);
}

/* ---------------------------------------------------------------- off the loop -- */

static void
fault(void *arg, const char *file, unsigned line, const char *text)
{
	if (line > 0)
		say(arg, "%s:%u: %s", file, line, text);
	else
		say(arg, "%s: %s", file, text);
}

static void
kept(void *arg, const char *key)
{
	say(arg, "%s counts from the next start on", key);
}

static void
read_it(void *arg)
{
	struct reload *rl = arg;
	char why[CREDENTIALS_WHY_MAX];
	bool made;

	rl->error = conf_read(rl->path, fault, rl, &rl->conf);
	if (rl->error == 0)
		rl->error = conf_keep_restart(rl->conf, rl->before, kept, rl);
	if (rl->error == 0 && conf_needs_identity(rl->conf)) {
		rl->error = credentials_load(rl->state, conf_node(rl->conf), CREDENTIALS_MAKE, &rl->tls, &made, why);
		if (rl->error < 0)
			say(rl, "%s", why);
	}
	if (rl->error == -ENOMEM)
		say(rl, "out of memory");
}

/* ---------------------------------------------------------------- on the loop -- */

void
daemon_set_limits(struct daemon *d)
{
	struct core *core = &d->core;

	core->sessions.handshake_ms = core->node->handshake_timeout;
	core->sessions.keepalive_ms = core->node->keepalive;
	core->intake.max_message = core->node->max_message;
	core->intake.linger_ms = core->node->producer_linger;
	core->intake.max_named = core->node->max_producers;
}

/* Links are of a node for as long as the daemon lives: they hold what came from it. */
static void
set_links(struct daemon *d)
{
	const struct conf *c = d->core.conf;

	for (size_t i = 0; i < d->n_links; i++)
		link_reconfigure(d->links[i], conf_peer_find(c, link_name(d->links[i])));
	for (size_t i = 0; i < conf_n_peers(c); i++) {
		const struct conf_peer *peer = conf_peer(c, i);
		struct link *l = NULL;

		for (size_t j = 0; j < d->n_links && !l; j++)
			l = strcmp(link_name(d->links[j]), peer->name) == 0 ? d->links[j] : NULL;
		if (l || conf_peer_is_family(peer))
			continue;
		l = daemon_add_link(d, peer, peer->name);
		if (l)
			link_start(l);
		else
			log_error(d->core.log, NULL, "out of memory for the peer %s: reload again", peer->name);
	}
}

static void
apply(struct reload *rl)
{
	struct daemon *d = rl->d;
	struct core *core = &d->core;
	struct tls_context *tls = core->tls;
	bool is_other_own = tls && rl->tls && !tls_context_same_own(tls, rl->tls);
	struct conf *before = d->conf;
	char why[LISTEN_WHY_MAX];
	const char *failed;

	core->tls = rl->tls;
	rl->error = listen_prepare(d->listen, rl->conf, why);
	if (rl->error < 0) {
		core->tls = tls;
		say(rl, "%s", why);
		return;
	}
	d->conf = rl->conf;
	rl->conf = NULL;
	rl->tls = NULL;
	core->conf = d->conf;
	core->node = conf_node(d->conf);
	core->log->level = (enum log_level)core->node->log_level;
	core->log->node = core->log->node ? core->node->name : NULL;
	daemon_set_limits(d);
	failed = router_reconfigure(core->router, core->conf);
	if (failed)
		say(rl, "%s", failed);
	clients_recheck(d->clients);
	set_links(d);
	listen_commit(d->listen);
	for (size_t i = 0; is_other_own && i < d->n_links; i++)
		link_remake(d->links[i]);
	tls_context_unref(tls);
	conf_free(before);
}

static void
free_reload(struct reload *rl)
{
	conf_free(rl->conf);
	tls_context_unref(rl->tls);
	free(rl);
}

static void
was_read(void *arg)
{
	struct reload *rl = arg;
	struct daemon *d = rl->d;

	d->reload = NULL;
	if (rl->error == 0 && d->phase != RUNNING) {
		rl->error = -ESHUTDOWN;
		say(rl, "the daemon is stopping");
	}
	if (rl->error == 0)
		apply(rl);
	if (rl->error == 0) {
		log_info(d->core.log, NULL, "the configuration was read again%s%s", rl->text[0] ? ": " : "", rl->text);
		daemon_event(d, "daemon", d->core.node->name, "reloaded", rl->text);
	} else {
		log_error(d->core.log, NULL, "the configuration was not read again, nothing has changed: %s", rl->text);
	}
	if (rl->done)
		rl->done(rl->arg, rl->error, rl->text);
	free_reload(rl);
}

int
daemon_reload(struct daemon *d, void (*done)(void *arg, int error, const char *text), void *arg)
{
	struct reload *rl;
	int r;

	if (!d->opt.config)
		return -ENOENT;
	if (d->phase != RUNNING)
		return -ESHUTDOWN;
	if (d->reload)
		return -EBUSY;
	rl = calloc(1, sizeof(*rl));
	if (!rl)
		return -ENOMEM;
	rl->d = d;
	rl->path = d->opt.config;
	rl->before = d->conf;
	rl->state = state_disk(d->core.state);
	rl->done = done;
	rl->arg = arg;
	r = task_run(d->runner, read_it, was_read, rl);
	if (r < 0)
		free(rl);
	else
		d->reload = rl;
	return r;
}

int
daemon_reload_for(void *arg, void (*done)(void *arg, int error, const char *text), void *done_arg)
{
	return daemon_reload(arg, done, done_arg);
}

void
daemon_reload_cancelled(struct daemon *d)
{
	struct reload *rl = d->reload;

	d->reload = NULL;
	if (!rl)
		return;
	if (rl->done)
		rl->done(rl->arg, -ECANCELED, "the daemon has ended");
	free_reload(rl);
}
