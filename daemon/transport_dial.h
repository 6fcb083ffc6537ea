/*
 * transport_dial: whom a URL means, and one address after the other until one
 * answers, within one deadline. For the kinds that dial hosts; how one address
 * is tried is theirs.
 */
#ifndef TRANSPORT_DIAL_H
#define TRANSPORT_DIAL_H

#include "transport.h"
#include "transport_resolve.h"

struct dial;

struct dial_ops {
	/*
	 * Try this one: 0 or more when it is under way (dial_failed or dial_free
	 * follows, perhaps before this returns), else a negative errno.
	 */
	int (*start)(void *arg, const union resolve_address *a);
	/* Let go of the one that did not answer. */
	void (*drop)(void *arg);
	/* None answered. The caller still frees the dial. */
	void (*failed)(void *arg, int error, const char *text);
};

/* The first numeric address is tried, or given up, before this returns. *ret is set before anything is called. 0 or -ENOMEM. */
int dial_new(struct loop *l, const struct names_url *url, uint64_t timeout_ms, const struct dial_ops *ops, void *arg,
    struct dial **ret);
/* The one that is being tried does not answer: the next. */
void dial_failed(struct dial *d, int error);
/* The one that is being tried. */
const union resolve_address *dial_address(const struct dial *d);
/* NULL is fine. */
void dial_free(struct dial *d);

#endif
