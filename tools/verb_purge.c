/* verb_purge: delete what waits in a queue, after asking. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admin.h"
#include "admin.pb-c.h"
#include "ctl.h"

static int
count_waiting(const ProtobufCMessage *m, void *userdata)
{
	*(uint64_t *)userdata += ((const Connectd__V1__Queue *)m)->waiting;
	return 0;
}

/* 1: go on; 0: no; negative: the daemon could not be asked. */
static int
confirm(struct admin *a, const char *queue)
{
	char answer[16];
	uint64_t n = 0;
	int r;

	r = admin_ask(a, WIRE_ADMIN_QUEUES, queue, 0, &connectd__v1__queue__descriptor, count_waiting, &n);
	if (r < 0)
		return r;
	fprintf(stderr, "Delete the %llu messages in %s? [y/N] ", (unsigned long long)n, queue);
	if (fgets(answer, sizeof(answer), stdin) == NULL)
		return 0;
	return answer[0] == 'y' || answer[0] == 'Y';
}

static int
keep_purged(const ProtobufCMessage *m, void *userdata)
{
	const Connectd__V1__Purged *from = (const Connectd__V1__Purged *)m;
	Connectd__V1__Purged *to = userdata;

	to->messages = from->messages;
	to->bytes = from->bytes;
	to->in_doubt = from->in_doubt;
	return 0;
}

int
verb_purge(struct ctl *ctl, int argc, char **argv)
{
	static const struct option own[] = { { "yes", no_argument, NULL, 'y' }, { NULL, 0, NULL, 0 } };
	Connectd__V1__Purged purged;
	struct admin *a;
	bool yes = false;
	int r, code;

	connectd__v1__purged__init(&purged);
	while (ctl_option(ctl, argc, argv, own) == 'y')
		yes = true;
	ctl_arguments(ctl, argc, 1, 1);
	if (!yes && !isatty(STDIN_FILENO))
		ctl_usage(ctl, "it deletes messages, and there is no terminal to ask on: say --yes");
	r = admin_open(ctl->socket, &a);
	if (a == NULL)
		return ctl_fail(ctl, "out of memory");
	if (r == 0 && !yes) {
		r = confirm(a, argv[optind]);
		if (r == 0) {
			admin_close(a);
			return ctl_fail(ctl, "nothing was deleted");
		}
	}
	if (r >= 0)
		r = admin_ask(a, WIRE_ADMIN_PURGE, argv[optind], 0, &connectd__v1__purged__descriptor, keep_purged, &purged);
	if (r < 0) {
		code = ctl_fail(ctl, "%s", admin_error(a));
	} else {
		struct out *o = ctl_output(ctl);

		out_message(o, NULL, &purged.base);
		code = ctl_output_end(ctl, o);
	}
	admin_close(a);
	return code;
}
