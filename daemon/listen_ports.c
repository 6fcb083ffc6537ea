/*
 * The sockets of listen: opened at start, and again when the configuration has
 * changed: the new ones first, so that nothing is closed if one of them cannot
 * be had.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "identity.h"
#include "listen_internal.h"
#include "names.h"

#define RETRY_MS 500 /* when descriptors or memory ran out */

static void
accepted(void *arg, struct transport *t)
{
	struct port *p = arg;

	p->listen->starved = false;
	if (!p->is_client)
		listen_accept_peer(p, t);
	else
		clients_accept(p->listen->env.clients, t);
}

void
listen_pause_ports(struct listen *ls, bool paused)
{
	LIST_FOREACH (n, &ls->ports) {
		struct port *p = list_entry(n, struct port, node);

		p->tl->ops->listen_pause(p->tl, paused);
	}
}

/* Those that wait are not lost: the kernel keeps them. */
static void
failed(void *arg, int error, const char *text)
{
	struct listen *ls = ((struct port *)arg)->listen;

	(void)error;
	if (!ls->starved)
		log_warning(ls->env.core->log, NULL, "cannot accept: %s; no new connections until there is room", text);
	ls->starved = true;
	listen_pause_ports(ls, true);
	loop_timer_start(&ls->retry, RETRY_MS);
}

void
listen_retry_ports(void *arg)
{
	listen_pause_ports(arg, false);
}

static bool
is_anyone(void *arg, const struct transport_identity *id, char why[static TRANSPORT_TEXT_MAX])
{
	const struct core *core = arg;

	return identity_is_anyone(core->conf, id, why);
}

const struct transport_security *
listen_security(struct core *core, struct transport_security *ret)
{
	*ret = (struct transport_security){ .context = core->tls, .check = is_anyone, .arg = core,
		.handshake_ms = core->node->handshake_timeout };
	return core->tls ? ret : NULL;
}

static void
port_free(struct port *p)
{
	listen_port_goes(p->listen, p);
	if (p->tl)
		p->tl->ops->listen_close(p->tl);
	list_remove(&p->node);
	free(p->name);
	free(p->address);
	free(p);
}

/* What is opened next goes by this. */
static int
tune(struct core *core, const struct transport_ops *ops, const struct conf_listen *conf)
{
	struct transport_tuning tuning;

	if (!ops->tune || !conf)
		return 0;
	core_tuning(core, conf->mtu, &tuning);
	return ops->tune(core->loop, &tuning);
}

/* What stands in the configuration as address of this listener; conf NULL: the Unix socket. */
static int
open_port(struct listen *ls, const char *name, const char *address, const struct names_url *url, const struct conf_listen *conf, int fd)
{
	const struct transport_ops *ops = transport_for(url->scheme);
	struct transport_security security;
	struct port *p;
	int r = -ENOMEM;

	if (!ops)
		return -EPROTONOSUPPORT;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	list_init(&p->node);
	p->listen = ls;
	p->is_client = url->scheme == NAMES_UNIX;
	p->is_passed = fd >= 0;
	p->is_wanted = true;
	p->plaintext = conf && conf->plaintext;
	p->name = strdup(name);
	p->address = strdup(address);
	if (p->name && p->address && tune(ls->env.core, ops, conf) == 0)
		r = ops->listen(ls->env.core->loop, url, listen_security(ls->env.core, &security), fd, accepted, failed, p, &p->tl);
	if (r < 0) {
		port_free(p);
		return r;
	}
	p->tl->ops->listen_pause(p->tl, true);
	list_append(&ls->ports, &p->node);
	return 0;
}

static int
passed(const struct listen *ls, const char *name, size_t i)
{
	return ls->env.passed ? ls->env.passed(ls->env.passed_arg, name, i) : -1;
}

static int
open_client(struct listen *ls, char why[static LISTEN_WHY_MAX])
{
	const struct conf_node *node = ls->env.core->node;
	struct names_url url = { .scheme = NAMES_UNIX, .path = node->socket };
	int fd = passed(ls, "client", 0), r;

	r = open_port(ls, "client", node->socket, &url, NULL, fd);
	if (r == 0 && fd < 0 && ls->env.socket_rights)
		r = ls->env.socket_rights(ls->env.passed_arg, node->socket, (uint32_t)node->socket_mode,
		    node->socket_group != NULL, node->socket_group_id);
	if (r < 0)
		snprintf(why, LISTEN_WHY_MAX, "socket %.107s: %.60s", node->socket, strerror(-r));
	return r;
}

static int
open_address(struct listen *ls, const struct conf_listen *conf, const char *address, int fd, char why[static LISTEN_WHY_MAX])
{
	struct names_url url;
	int r = names_url_parse(address, &url, NULL);

	if (r == 0)
		r = open_port(ls, conf->name, address, &url, conf, fd);
	if (r < 0)
		snprintf(why, LISTEN_WHY_MAX, "listener %.40s, %.80s: %.60s", conf->name, fd >= 0 ? "the socket passed in" : address,
		    strerror(-r));
	return r;
}

static int
open_listener(struct listen *ls, const struct conf_listen *conf, char why[static LISTEN_WHY_MAX])
{
	size_t n = 0;
	int fd, r = 0;

	for (; r == 0 && (fd = passed(ls, conf->name, n)) >= 0; n++)
		r = open_address(ls, conf, conf->address.items[0], fd, why);
	for (size_t i = 0; r == 0 && n == 0 && i < conf->address.n; i++)
		r = open_address(ls, conf, conf->address.items[i], -1, why);
	return r;
}

int
listen_open_ports(struct listen *ls, char why[static LISTEN_WHY_MAX])
{
	const struct conf *c = ls->env.core->conf;
	int r = open_client(ls, why);

	for (size_t i = 0; r == 0 && i < conf_n_listens(c); i++)
		r = open_listener(ls, conf_listen(c, i), why);
	return r;
}

void
listen_close_ports(struct listen *ls)
{
	loop_timer_stop(&ls->retry);
	LIST_FOREACH_SAFE (n, &ls->ports)
		port_free(list_entry(n, struct port, node));
}

/* ------------------------------------------------------ another configuration -- */

static struct port *
find_port(const struct listen *ls, const char *address)
{
	LIST_FOREACH (n, &ls->ports) {
		struct port *p = list_entry(n, struct port, node);

		if (!p->is_client && !p->is_passed && strcmp(p->address, address) == 0)
			return p;
	}
	return NULL;
}

static bool
has_passed(const struct listen *ls, const char *name)
{
	LIST_FOREACH (n, &ls->ports) {
		const struct port *p = list_entry(n, struct port, node);

		if (p->is_passed && strcmp(p->name, name) == 0)
			return true;
	}
	return false;
}

/* Those that are not there yet are opened, and nothing is changed of those that are. */
static int
open_missing(struct listen *ls, const struct conf_listen *conf, char why[static LISTEN_WHY_MAX])
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < conf->address.n && !has_passed(ls, conf->name); i++)
		if (!find_port(ls, conf->address.items[i]))
			r = open_address(ls, conf, conf->address.items[i], -1, why);
	return r;
}

int
listen_prepare(struct listen *ls, const struct conf *c, char why[static LISTEN_WHY_MAX])
{
	int r = 0;

	LIST_FOREACH (n, &ls->ports)
		list_entry(n, struct port, node)->is_wanted = false;
	for (size_t i = 0; r == 0 && i < conf_n_listens(c); i++)
		r = open_missing(ls, conf_listen(c, i), why);
	if (r < 0)
		LIST_FOREACH_SAFE (n, &ls->ports)
			if (list_entry(n, struct port, node)->is_wanted)
				port_free(list_entry(n, struct port, node));
	return r;
}

/* Whose section it is now; false: nobody's. */
static bool
adopt(struct port *p, const struct conf *c)
{
	for (size_t i = 0; i < conf_n_listens(c); i++) {
		const struct conf_listen *conf = conf_listen(c, i);
		bool is_it = p->is_passed && strcmp(p->name, conf->name) == 0;
		char *name;

		for (size_t j = 0; j < conf->address.n && !is_it; j++)
			is_it = !p->is_passed && strcmp(conf->address.items[j], p->address) == 0;
		if (!is_it)
			continue;
		p->plaintext = conf->plaintext;
		if (p->tl->ops->listen_tune) {
			struct transport_tuning tuning;

			core_tuning(p->listen->env.core, conf->mtu, &tuning);
			p->tl->ops->listen_tune(p->tl, &tuning);
		}
		name = strdup(conf->name); /* without memory it keeps the old one */
		if (name) {
			free(p->name);
			p->name = name;
		}
		return true;
	}
	return false;
}

void
listen_commit(struct listen *ls)
{
	struct core *core = ls->env.core;
	struct transport_security security;

	if (gate_configure(ls->gate, core->conf) < 0)
		log_warning(core->log, NULL, "out of memory for the addresses of peers: those of before count as known");
	LIST_FOREACH_SAFE (n, &ls->ports) {
		struct port *p = list_entry(n, struct port, node);

		if (p->is_client)
			continue;
		if (!adopt(p, core->conf)) {
			port_free(p);
			continue;
		}
		if (p->tl->ops->listen_security && core->tls)
			p->tl->ops->listen_security(p->tl, listen_security(core, &security));
	}
	listen_outdate(ls);
	if (ls->starts && !ls->retry.armed)
		listen_pause_ports(ls, false);
}
