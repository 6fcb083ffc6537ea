/*
 * service: what the process has to do with the kernel and systemd: signals,
 * readiness and watchdog (sd_notify), sockets passed in, limits, rights of the
 * Unix socket. A door, and the only module that looks at the environment.
 */
#ifndef SERVICE_H
#define SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct service;

struct service_events {
	void (*stop)(void *arg);   /* SIGTERM, SIGINT: every time */
	void (*reload)(void *arg); /* SIGHUP */
};

/*
 * Take the signals (SIGPIPE is ignored), feed the watchdog if systemd wants
 * it, keep what was passed in. Before any thread is started. 0 or a negative
 * errno.
 */
int service_new(struct loop *l, const struct service_events *ev, void *arg, struct service **ret);
/* Closes passed sockets that nobody took. NULL is fine. */
void service_free(struct service *s);

/*
 * "READY=1", "STOPPING=1", "STATUS=...": nothing happens if nobody listens. With
 * the first it waits, a few seconds, if the listener is behind, and tries again
 * until it could be said.
 */
void service_notify(struct service *s, const char *text);

/* The i-th socket passed in under this name, now the caller's; -1: there is none. */
int service_take_passed(struct service *s, const char *name, size_t i);
/* The name of one that nobody took; NULL: none is left. */
const char *service_left_passed(const struct service *s);

/* Allow as many descriptors as the administrator lets us. */
void service_raise_limits(void);

/* Mode and group of a Unix socket's file. 0 or a negative errno. */
int service_socket_rights(const char *path, uint32_t mode, bool has_group, uint32_t group);

#endif
