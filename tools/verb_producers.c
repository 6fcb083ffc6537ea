/* verb_producers: the named producers, and forgetting one. */
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "act.h"
#include "admin.pb-c.h"
#include "show.h"

/* The daemon knows users by number; who they are is this host's to say. */
static int
show_producer(const ProtobufCMessage *m, void *userdata)
{
	const struct passwd *pw = getpwuid(((const Connectd__V1__Producer *)m)->uid);
	struct out *o = userdata;

	o->format->begin(o, NULL);
	out_fields(o, m);
	out_string(o, "user", pw != NULL ? pw->pw_name : "");
	o->format->end(o);
	return 0;
}

static uint32_t
uid_option(struct ctl *ctl, const char *s)
{
	const struct passwd *pw = getpwnam(s);
	uint64_t n;

	if (pw != NULL)
		return pw->pw_uid;
	n = ctl_count(ctl, "uid", s);
	if (n > UINT32_MAX)
		ctl_usage(ctl, "--uid %s: not a user's number", s);
	return (uint32_t)n;
}

int
verb_producers(struct ctl *ctl, int argc, char **argv)
{
	static const struct option own[] = { { "uid", required_argument, NULL, 'u' }, { NULL, 0, NULL, 0 } };
	struct wire_admin_request req = { .verb = WIRE_ADMIN_PRODUCER_FORGET };

	while (ctl_option(ctl, argc, argv, own) == 'u') {
		req.uid = uid_option(ctl, optarg);
		req.by_uid = true;
	}
	if (optind == argc && !req.by_uid)
		return show_list(ctl, WIRE_ADMIN_PRODUCERS, "", 0, &connectd__v1__producer__descriptor, "producers", show_producer);
	ctl_arguments(ctl, argc, 3, 3);
	if (strcmp(argv[optind], "forget") != 0)
		ctl_usage(ctl, "`%s' is nothing to do with producers: forget NAME QUEUE", argv[optind]);
	req.name = wire_string(argv[optind + 1]);
	req.argument = wire_string(argv[optind + 2]);
	return act_done(ctl, &req);
}
