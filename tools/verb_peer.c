/* verb_peer: who a peer is, and who this node is, after a state folder was restored, copied or lost. */
#include <string.h>

#include "act.h"

int
verb_peer(struct ctl *ctl, int argc, char **argv)
{
	struct wire_admin_request req = { .verb = WIRE_ADMIN_UNKNOWN };

	ctl_option(ctl, argc, argv, NULL);
	ctl_arguments(ctl, argc, 2, 2);
	if (strcmp(argv[optind], "adopt") == 0)
		req.verb = WIRE_ADMIN_PEER_ADOPT;
	else if (strcmp(argv[optind], "forget") == 0)
		req.verb = WIRE_ADMIN_PEER_FORGET;
	else
		ctl_usage(ctl, "`%s' is nothing to do with a peer: adopt or forget", argv[optind]);
	req.name = wire_string(argv[optind + 1]);
	return act_done(ctl, &req);
}

int
verb_reload(struct ctl *ctl, int argc, char **argv)
{
	const struct wire_admin_request req = { .verb = WIRE_ADMIN_RELOAD };

	ctl_option(ctl, argc, argv, NULL);
	ctl_arguments(ctl, argc, 0, 0);
	return act_done(ctl, &req);
}

int
verb_renew(struct ctl *ctl, int argc, char **argv)
{
	const struct wire_admin_request req = { .verb = WIRE_ADMIN_RENEW };

	ctl_option(ctl, argc, argv, NULL);
	ctl_arguments(ctl, argc, 0, 0);
	return act_done(ctl, &req);
}
