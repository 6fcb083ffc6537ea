/*
 * ossl: openssl's command line at the other end of a daemon: s_client, through
 * which raw.h speaks, and s_server. A TLS that is not the daemon's own. Files
 * that it is to use are made with nodes_file.
 */
#ifndef OSSL_H
#define OSSL_H

#include <stdbool.h>
#include <sys/types.h>

#include "node.h"
#include "raw.h"

struct ossl {
	pid_t pid;
	struct raw *raw; /* its standard input and output: what is inside the TLS stream (not of ossl_server) */
	char said[8192]; /* on standard error (a server: on both) */
	char path[64];
	char url[64];    /* of a server: "tls://127.0.0.1:4711" */
};

/* Dial the daemon's first listener. Options are split at blanks. */
struct ossl *ossl_client(const struct node *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Wait for dialling ends on a port of its own. */
struct ossl *ossl_server(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, to speak through as with a client. It may take a moment until it listens. */
struct ossl *ossl_listener(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Has it said this until now? */
bool ossl_said(struct ossl *o, const char *text);
/* Wait until it has, or has ended; fails the test after 20 s. False: ended without. */
bool ossl_await(struct ossl *o, const char *text);
/* Ends it if it runs. */
void ossl_done(struct ossl *o);

#endif
