/*
 * drain: streams whose owner is gone and whose last bytes are not. A loop has so
 * many of them, of whatever kind; above that the oldest is cut. Those of
 * strangers are counted apart, and cut nobody else.
 */
#ifndef DRAIN_H
#define DRAIN_H

#include <stdbool.h>

#include "list.h"

struct loop;

#define DRAIN_MS 5000        /* what was written before a close may take this long */
#define DRAIN_MAX 256        /* per loop */
#define DRAIN_STRANGERS_MAX 64

/* Embedded in a stream. cut ends it at once, and with that its draining. */
struct drain {
	struct list node;
	bool is_stranger;
	void (*cut)(struct drain *d);
};

void drain_init(struct drain *d, void (*cut)(struct drain *d));
/* One more, which may cut the oldest. 0 or -ENOMEM. With the loop all are cut. */
int drain_begin(struct drain *d, struct loop *l, bool is_stranger);
/* It is over. Nothing if it had not begun. */
void drain_end(struct drain *d, struct loop *l);

#endif
