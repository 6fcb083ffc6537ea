/* What of a node may end, and who is told: the log, and whoever hears events. */
#include <errno.h>
#include <stdio.h>

#include "daemon_internal.h"

/* With a pin alone nobody asks for the dates of a peer's certificate. */
static void
each_peer(struct daemon *d, void (*fn)(void *fn_arg, const struct expiry_item *it), void *fn_arg)
{
	if (!tls_context_has_ca(d->core.tls))
		return;
	for (size_t i = 0; i < d->n_links; i++) {
		struct expiry_item it = { .peer = link_name(d->links[i]), .dates = { .what = "certificate" } };
		struct link_stats st;

		link_stats(d->links[i], &st);
		it.dates.not_after = st.not_after;
		if (st.not_after != 0)
			fn(fn_arg, &it);
	}
}

void
daemon_each_expiry(void *arg, void (*fn)(void *fn_arg, const struct expiry_item *it), void *fn_arg)
{
	struct daemon *d = arg;
	struct expiry_item it = { .peer = NULL };

	if (!d->core.tls)
		return;
	for (size_t i = 0; tls_context_dates(d->core.tls, i, &it.dates); i++)
		fn(fn_arg, &it);
	each_peer(d, fn, fn_arg);
}

static void
tell(void *arg, const struct expiry_item *it, enum expiry_stage stage, const char *text)
{
	struct daemon *d = arg;
	char context[NAMES_NODE_MAX + 8];

	snprintf(context, sizeof(context), "peer %s", it->peer ? it->peer : "");
	log_write(d->core.log, stage == EXPIRY_OVER ? LOG_ERROR : LOG_WARNING, it->peer ? context : NULL, "%s", text);
	daemon_event(d, it->peer ? "peer" : "daemon", it->peer ? it->peer : d->core.node->name, stage == EXPIRY_OVER ? "expired" : "expiring",
	    text);
}

int
daemon_expiry_new(struct daemon *d)
{
	d->expiry = expiry_new(&(struct expiry_env){ .loop = d->core.loop, .each = daemon_each_expiry, .tell = tell, .arg = d });
	return d->expiry ? 0 : -ENOMEM;
}
