/*
 * listen: the sockets we accept on, our own or passed in: the Unix socket for
 * clients, and those of the [listen] sections. A connection from elsewhere is
 * a stranger until its Hello has named a peer that may come this way; then it
 * is that link's. Pauses when descriptors run out.
 */
#ifndef LISTEN_H
#define LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client.h"
#include "core.h"
#include "link.h"

struct listen;

#define LISTEN_WHY_MAX 200

/* What it needs of its daemon. The call-backs come from the loop, passed and rights from listen_new too. */
struct listen_env {
	struct core *core;
	struct clients *clients;
	struct link *(*find)(void *arg, const char *peer); /* NULL: not configured */
	size_t (*connected)(void *arg);                    /* connections that links hold, for max_connections */
	/* As in struct daemon_options; may be NULL. */
	int (*passed)(void *arg, const char *name, size_t i);
	int (*socket_rights)(void *arg, const char *path, uint32_t mode, bool has_group, uint32_t group);
	void *arg;        /* of find and connected */
	void *passed_arg; /* of passed and socket_rights */
};

/*
 * Bind everything; nothing is accepted before listen_start. Sockets passed in
 * under a listener's name stand for all its addresses. 0, or a negative errno,
 * a sentence in why, and nothing was taken over.
 */
int listen_new(const struct listen_env *env, struct listen **ret, char why[static LISTEN_WHY_MAX]);
void listen_start(struct listen *ls);
/*
 * Another configuration, in two steps. First what it has more is opened: 0, or a
 * negative errno and why, and nothing has changed. Then, when it is the core's,
 * what it has not any more is closed, and the rest goes by it.
 */
int listen_prepare(struct listen *ls, const struct conf *c, char why[static LISTEN_WHY_MAX]);
void listen_commit(struct listen *ls);
/* Close the sockets, send strangers away. */
void listen_stop(struct listen *ls);
/* At once. NULL is fine. */
void listen_free(struct listen *ls);

void listen_each(struct listen *ls, void (*fn)(void *arg, const char *name, const char *url), void *arg);
/* Strangers now; the most of one address. */
void listen_pending(const struct listen *ls, uint64_t *ret_all, uint64_t *ret_per_address);

#endif
