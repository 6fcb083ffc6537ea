/*
 * progress: one line on a terminal that says how far something got, once it
 * has taken longer than a second. Silent where standard error is no terminal.
 */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#define PROGRESS_STEP_MS 250 /* how often it is worth saying something new */

struct progress {
	bool on, drawn;
	uint64_t next; /* when to draw again */
};

void progress_init(struct progress *p);
void progress_show(struct progress *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Take the line away, before anything else is printed. */
void progress_clear(struct progress *p);

/* How long a wait may be: until the deadline (UINT64_MAX: none), in steps while there is a line to keep fresh. For poll. */
int progress_step(const struct progress *p, uint64_t deadline);

#endif
