/* verb_events: changes of state as the daemon tells them, a line each. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "admin.h"
#include "admin.pb-c.h"
#include "ctl.h"

static int
show_event(const ProtobufCMessage *m, void *userdata)
{
	struct out *o = userdata;

	out_message(o, NULL, m);
	return fflush(o->file) != 0; /* the reader has gone */
}

int
verb_events(struct ctl *ctl, int argc, char **argv)
{
	struct admin *a;
	int r, code;

	ctl_option(ctl, argc, argv, NULL);
	ctl_arguments(ctl, argc, 0, 0);
	r = admin_open(ctl->socket, &a);
	if (a == NULL)
		return ctl_fail(ctl, "out of memory");
	if (r == 0) {
		struct out *o = ctl_output(ctl);

		o->format->begin_stream(o, connectd__v1__event__descriptor.short_name);
		r = admin_ask(a, WIRE_ADMIN_EVENTS, "", 0, &connectd__v1__event__descriptor, show_event, o);
		out_free(o);
	}
	/* Only an interrupt ends this in order; anything else is the daemon going, or the reader. */
	code = r < 0 ? ctl_fail(ctl, "%s", admin_error(a)) : CTL_FAILED;
	admin_close(a);
	return code;
}
