/*
 * proxy: a process between two daemons that passes bytes on, and can be told
 * to treat them badly. Each call returns when the proxy has done it.
 */
#ifndef PROXY_H
#define PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "between.h"

struct proxy {
	struct between between;
	char url[BETWEEN_URL_MAX]; /* where to dial it */
};

/* Listen on a free port; connections go to `target`, "tcp://127.0.0.1:PORT". It ends with the test. */
void proxy_start(struct proxy *p, const char *target);
void proxy_stop(struct proxy *p);
/* New connections go there from now on. */
void proxy_target(struct proxy *p, const char *target);
/* End every connection at once, with a reset. Returns how many there were. */
size_t proxy_cut(struct proxy *p);
/* Pass nothing on and tell nobody; the connections stay open. Off: what waits goes on. */
void proxy_hole(struct proxy *p, bool on);
/* Write at most so many bytes at a time; 0: no bound. */
void proxy_split(struct proxy *p, uint32_t bytes);
/* Bytes passed on so far. */
uint64_t proxy_passed(struct proxy *p);
/* Connections that go through it now. */
size_t proxy_pairs(struct proxy *p);

#endif
