/* transport_dial: see transport_dial.h. */
#include "transport_dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "socket.h"

struct dial {
	struct loop *loop;
	const struct dial_ops *ops;
	void *arg;
	struct resolve *lookup; /* NULL: answered, or not needed */
	struct loop_timer timer; /* of the lookup; of one address */
	uint64_t deadline_ms;
	bool by_name;
	unsigned n, next;
	union resolve_address addresses[RESOLVE_MAX];
};

/* Every address failed: say how the last one did, and which it was if only the resolver knew. */
static void
give_up(struct dial *d, int error)
{
	char text[TRANSPORT_TEXT_MAX], why[TRANSPORT_TEXT_MAX], ip[RESOLVE_TEXT_MAX];

	socket_error_text(error, why);
	loop_timer_stop(&d->timer);
	if (!d->by_name) {
		d->ops->failed(d->arg, error, why);
		return;
	}
	resolve_text(dial_address(d), false, ip);
	snprintf(text, sizeof(text), "%s: %.100s", ip, why);
	d->ops->failed(d->arg, error, text);
}

/* The address tried last failed with error. Each of those left gets an equal share of the time left. */
static void
try_next(struct dial *d, int error)
{
	for (;;) {
		uint64_t now = loop_now_ms(d->loop), left = d->deadline_ms > now ? d->deadline_ms - now : 0;
		int r;

		d->ops->drop(d->arg);
		if (d->next == d->n || (left == 0 && error)) {
			give_up(d, error);
			return;
		}
		loop_timer_start(&d->timer, left / (d->n - d->next));
		/* The dial may be gone after this. */
		r = d->ops->start(d->arg, &d->addresses[d->next++]);
		if (r >= 0)
			return;
		error = r;
	}
}

static void
late(void *arg)
{
	struct dial *d = arg;

	if (d->lookup)
		d->ops->failed(d->arg, -ETIMEDOUT, "no answer from the name server in time");
	else
		try_next(d, -ETIMEDOUT);
}

static void
resolved(void *arg, int error, const char *text, const union resolve_address *addresses, unsigned n)
{
	struct dial *d = arg;

	d->lookup = NULL;
	if (error) {
		loop_timer_stop(&d->timer);
		d->ops->failed(d->arg, error, text);
		return;
	}
	memcpy(d->addresses, addresses, n * sizeof(*addresses));
	d->n = n;
	try_next(d, 0);
}

int
dial_new(struct loop *l, const struct names_url *url, uint64_t timeout_ms, const struct dial_ops *ops, void *arg, struct dial **ret)
{
	struct dial *d = calloc(1, sizeof(*d));
	uint64_t now = loop_now_ms(l);

	if (!d)
		return -ENOMEM;
	d->loop = l;
	d->ops = ops;
	d->arg = arg;
	d->deadline_ms = timeout_ms > UINT64_MAX - now ? UINT64_MAX : now + timeout_ms;
	loop_timer_init(&d->timer, l, late, d);
	*ret = d;
	if (resolve_numeric(url->host, url->port, &d->addresses[0]) == 0) {
		d->n = 1;
		try_next(d, 0);
		return 0;
	}
	d->by_name = true;
	if (resolve_name(l, url->host, url->port, resolved, d, &d->lookup) < 0) {
		*ret = NULL;
		free(d);
		return -ENOMEM;
	}
	loop_timer_start(&d->timer, timeout_ms);
	return 0;
}

void
dial_failed(struct dial *d, int error)
{
	try_next(d, error);
}

const union resolve_address *
dial_address(const struct dial *d)
{
	return &d->addresses[d->next - 1];
}

void
dial_free(struct dial *d)
{
	if (!d)
		return;
	if (d->lookup)
		resolve_cancel(d->lookup);
	loop_timer_stop(&d->timer);
	free(d);
}
