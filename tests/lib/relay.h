/*
 * relay: a process between two daemons that passes datagrams on, and can be
 * told to treat them badly. Each call returns when the relay has done it. As
 * proxy is for streams.
 */
#ifndef RELAY_H
#define RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "between.h"

struct relay {
	struct between between;
	char url[BETWEEN_URL_MAX]; /* where to dial it */
};

/* Listen on a free port; what comes goes to `target`, "sctp://127.0.0.1:PORT", or dtls-sctp. It ends with the test. */
void relay_start(struct relay *r, const char *target);
void relay_stop(struct relay *r);
/* Everything goes there from now on. */
void relay_target(struct relay *r, const char *target);
/* From now on what comes goes on from other ports: who gets it does not know them. */
void relay_move(struct relay *r);
/* Pass nothing on, and keep nothing. */
void relay_hole(struct relay *r, bool on);
/* Of 1000 datagrams so many are lost, come twice, late, damaged, each. */
void relay_harm(struct relay *r, uint32_t of_1000);
/* Datagrams that were so treated. */
uint64_t relay_harmed(struct relay *r);
uint64_t relay_passed(struct relay *r);

#endif
