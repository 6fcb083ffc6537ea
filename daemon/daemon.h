/*
 * daemon: everything of one node, built and torn down from a struct conf. Many
 * may live in one process, on one loop. Knows neither signals nor systemd
 * (service.h); main.c brings them together.
 */
#ifndef DAEMON_H
#define DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client.h"
#include "conf.h"
#include "core.h"
#include "link.h"

struct daemon;

struct daemon_options {
	struct log *log; /* borrowed */
	const char *config; /* the file to be read again by daemon_reload, borrowed; NULL: there is none */
	/*
	 * The i-th listening socket passed in under this name ("client" for the
	 * Unix socket, else a listener's name), or -1. Taken over. NULL: none.
	 */
	int (*passed)(void *arg, const char *name, size_t i);
	/* Set mode and group (if any) of the Unix socket that was made here. 0 or a negative errno. NULL: leave it. */
	int (*socket_rights)(void *arg, const char *path, uint32_t mode, bool has_group, uint32_t group);
	/* One line on how it is, now and then, for systemd. NULL: nobody asks. */
	void (*status)(void *arg, const char *text);
	/* The journal is read at start: bytes so far and in all. NULL: nobody asks. */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

/*
 * Open the state folder, make the queues and the listening sockets. Blocks.
 * 0 and *ret, and conf is taken over; or a negative errno and a sentence in
 * why, and conf is the caller's. opt is copied.
 */
#define DAEMON_WHY_MAX 320
int daemon_new(struct loop *l, struct conf *conf, const struct daemon_options *opt, struct daemon **ret,
    char why[static DAEMON_WHY_MAX]);

/* Accept and dial. */
void daemon_start(struct daemon *d);

/*
 * Read the configuration again, with certificates and keys, and go by it from
 * then on; whatever is wrong with it, nothing changes. done is called once, from
 * the loop: 0 and what changed, or a negative errno and why not, for people. 0;
 * -EBUSY: it is being read; -ENOENT: there is no file; -ESHUTDOWN: stopping;
 * -ENOMEM, -EAGAIN.
 */
int daemon_reload(struct daemon *d, void (*done)(void *arg, int error, const char *text), void *arg);

/*
 * An orderly stop: take no more connections and messages, give the links
 * drain_timeout for what waits, say Close SHUTDOWN to everybody, count and log
 * what is lost; then done, once, from the loop. The daemon must still be freed.
 * Called again meanwhile it waits for nothing more: it counts and logs what is
 * lost, and calls done before it returns.
 */
void daemon_stop(struct daemon *d, void (*done)(void *arg), void *arg);

/*
 * At once and without a word: what a crash leaves. Sockets, tasks and the
 * folder's lock are gone on return; memory goes with the loop's next pass, or
 * with the loop. Not from inside a call-back of the daemon's own. NULL is fine.
 */
void daemon_free(struct daemon *d);

/* For tests, tools, the simulator. */
struct core *daemon_core(struct daemon *d);
struct clients *daemon_clients(struct daemon *d);
size_t daemon_n_links(const struct daemon *d);
struct link *daemon_link(struct daemon *d, size_t i);
/* Every listening socket: "client" or the listener's name, and its URL with the port in use. */
void daemon_listeners(struct daemon *d, void (*fn)(void *arg, const char *name, const char *url), void *arg);

#endif
