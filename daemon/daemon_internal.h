/* daemon_internal: what the files of daemon share. */
#ifndef DAEMON_INTERNAL_H
#define DAEMON_INTERNAL_H

#include "control.h"
#include "daemon.h"
#include "listen.h"
#include "recover.h"

enum phase { RUNNING, DRAINING, CLOSING, SYNCING, STOPPED };

struct daemon {
	struct core core;
	struct conf *conf; /* owned; NULL until daemon_new has succeeded */
	struct daemon_options opt;
	struct message_store messages;
	struct task_runner *runner, *writer, *reader;
	struct store *store;
	bool has_journal; /* and the state folder knows, or is being told */
	struct control_sources sources;
	struct control *control;
	struct clients *clients;
	struct link **links;
	size_t n_links;
	struct recover_stray *strays; /* flow 0: removed */
	size_t n_strays;
	struct listen *listen;
	struct loop_call status, bury;
	struct reload *reload; /* under way; NULL: none */

	enum phase phase;
	struct loop_timer stop_timer;
	uint64_t stop_deadline_ms;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* ---- daemon.c */
/* For core.event. */
void daemon_event(void *arg, const char *kind, const char *name, const char *change, const char *text);
/* NULL: out of memory. */
struct link *daemon_add_link(struct daemon *d, const struct conf_peer *peer, const char *name);

/* ---- daemon_reload.c */
/* What core and intake have of the configuration. */
void daemon_set_limits(struct daemon *d);
/* For control_sources. */
int daemon_reload_for(void *arg, void (*done)(void *arg, int error, const char *text), void *done_arg);
/* The runner is gone: what was being read is told to nobody. */
void daemon_reload_cancelled(struct daemon *d);

#endif
