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

struct settings {
	char name[8];
	char conf[4096];
	bool small;         /* takes no large messages */
	uint64_t max_message;
	/* What may become of a message by the rules of a queue. */
	bool here_lossy;    /* in the queues here */
	bool outbound_lossy;
	bool refuses;       /* local programs, when a queue here is full */
	bool outbound_refuses;
};

/* Fill the first n. */
void settings_draw(struct settings *all, int n);

#endif
