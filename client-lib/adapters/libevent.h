/*
 * adapters/libevent.h: run a libconnectd handle from a libevent loop. Only
 * inline functions: the program links libevent_core itself.
 *
 *	struct connectd_event *e = connectd_event_add(base, c, down, userdata);
 *	event_base_dispatch(base);
 *	connectd_event_remove(e);
 *	connectd_close(c);
 */
#ifndef CONNECTD_ADAPTERS_LIBEVENT_H
#define CONNECTD_ADAPTERS_LIBEVENT_H

#include <errno.h>
#include <stdlib.h>

#include <event2/event.h>

#include <connectd.h>

/*
 * The handle will do no more: error is what connectd_process returned. It may
 * be closed here, unless it was (-ECANCELED); the event is removed already.
 */
typedef void (*connectd_event_down_fn)(struct connectd *c, int error, void *userdata);

struct connectd_event {
	struct connectd *c;
	struct event *event;
	connectd_event_down_fn down;
	void *userdata;
};

/* Take the handle out of the loop; it stays open. NULL is fine. Not from the handle's own call-backs. */
static inline void
connectd_event_remove(struct connectd_event *e)
{
	if (e == NULL)
		return;
	event_free(e->event);
	free(e);
}

static inline void
connectd_event_ready(evutil_socket_t fd, short what, void *arg)
{
	struct connectd_event *e = (struct connectd_event *)arg;
	struct connectd *c = e->c;
	connectd_event_down_fn down = e->down;
	void *userdata = e->userdata;
	int r = connectd_process(c);

	(void)fd;
	(void)what;
	if (r >= 0)
		return;
	connectd_event_remove(e);
	if (down != NULL)
		down(c, r, userdata);
}

/*
 * Process the handle whenever its descriptor is ready. down may be NULL. NULL:
 * out of memory. What was sent before is written by the first pass of the loop.
 */
static inline struct connectd_event *
connectd_event_add(struct event_base *base, struct connectd *c, connectd_event_down_fn down, void *userdata)
{
	struct connectd_event *e = (struct connectd_event *)calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->c = c;
	e->down = down;
	e->userdata = userdata;
	e->event = event_new(base, connectd_get_fd(c), EV_READ | EV_PERSIST, connectd_event_ready, e);
	if (e->event == NULL || event_add(e->event, NULL) < 0) {
		if (e->event != NULL)
			event_free(e->event);
		free(e);
		return NULL;
	}
	return e;
}

#endif
