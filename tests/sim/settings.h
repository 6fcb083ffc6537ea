/*
 * settings: the configurations of a simulated cluster's daemons, drawn from
 * the world's seed: who dials whom, tight limits, and rules by which a queue
 * may let go of messages.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#define SETTINGS_DAEMONS 3
#define SETTINGS_QUEUES 2 /* q0, q1 */

/* What a queue does with its messages. */
struct settings_rules {
	bool durable;
	bool lossy;   /* they may leave it unread */
	bool refuses; /* those of local programs, when it is full */
};

struct settings {
	char name[8];
	char conf[4096];
	bool small;         /* takes no large messages */
	uint64_t max_message;
	struct settings_rules here[SETTINGS_QUEUES], outbound;
};

/* Fill the first n. */
void settings_draw(struct settings *all, int n);

#endif
