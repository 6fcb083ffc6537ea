/* verb_queue: move what waits in a queue, hold it, release it. */
#include <stdio.h>

#include "act.h"
#include "admin.pb-c.h"

static int
on_queue(struct ctl *ctl, int argc, char **argv, enum wire_admin_verb verb)
{
	struct wire_admin_request req = { .verb = verb };

	ctl_option(ctl, argc, argv, NULL);
	ctl_arguments(ctl, argc, 1, 1);
	req.name = wire_string(argv[optind]);
	return act_done(ctl, &req);
}

int
verb_hold(struct ctl *ctl, int argc, char **argv)
{
	return on_queue(ctl, argc, argv, WIRE_ADMIN_HOLD);
}

int
verb_release(struct ctl *ctl, int argc, char **argv)
{
	return on_queue(ctl, argc, argv, WIRE_ADMIN_RELEASE);
}

int
verb_move(struct ctl *ctl, int argc, char **argv)
{
	static const struct option own[] = { { "count", required_argument, NULL, 'n' }, { NULL, 0, NULL, 0 } };
	struct wire_admin_request req = { .verb = WIRE_ADMIN_MOVE };
	const char *stopped;
	ProtobufCMessage *last;
	int r;

	while (ctl_option(ctl, argc, argv, own) == 'n') {
		req.limit = ctl_count(ctl, "count", optarg);
		if (req.limit == 0)
			ctl_usage(ctl, "--count 0 moves nothing");
	}
	ctl_arguments(ctl, argc, 2, 2);
	req.name = wire_string(argv[optind]);
	req.argument = wire_string(argv[optind + 1]);
	r = act_count(ctl, &req, &connectd__v1__moved__descriptor, "messages moved", &last);
	if (last == NULL)
		return r;
	stopped = ((const Connectd__V1__Moved *)last)->stopped;
	if (r == CTL_DONE && *stopped != '\0')
		r = ctl_fail(ctl, "%s", stopped);
	protobuf_c_message_free_unpacked(last, NULL);
	return r;
}
