/* listen_internal: what the files of listen share. */
#ifndef LISTEN_INTERNAL_H
#define LISTEN_INTERNAL_H

#include "gate.h"
#include "hmap.h"
#include "list.h"
#include "listen.h"
#include "transport.h"

/* One socket. */
struct port {
	struct list node;
	struct listen *listen;
	bool is_client;  /* the Unix socket */
	bool is_passed;  /* by systemd: it stays */
	bool plaintext;  /* of its section */
	bool is_wanted;  /* by the configuration that is being applied */
	char *name, *address; /* of the section, and as it is written there */
	struct transport_listener *tl;
};

struct listen {
	struct listen_env env;
	struct list ports;
	struct list strangers;
	struct hmap by_address; /* struct stranger */
	size_t n_strangers;
	struct gate *gate;
	uint64_t seed;
	struct loop_timer retry;
	bool starts;  /* ports accept: before, they only are there */
	bool starved; /* accepting failed since the last success */
	struct log_window told; /* of strangers */
};

/* ---- listen.c: strangers */
void listen_accept_peer(struct port *p, struct transport *t);
/* Before it is freed: those that came by it stay. */
void listen_port_goes(struct listen *ls, const struct port *p);
/* Other settings: what those have shown that are there is judged again. */
void listen_outdate(struct listen *ls);

/* ---- listen_ports.c */
/* What streams of today are judged by; NULL: there is no TLS here. */
const struct transport_security *listen_security(struct core *core, struct transport_security *ret);
/* 0, or a negative errno and why; what is open then is closed by listen_close_ports. */
int listen_open_ports(struct listen *ls, char why[static LISTEN_WHY_MAX]);
void listen_close_ports(struct listen *ls);
/* Accepting pauses, or goes on. */
void listen_pause_ports(struct listen *ls, bool paused);
/* Of loop_timer: accepting is tried again. */
void listen_retry_ports(void *arg);

#endif
