/* verb_why: the one thing that holds a queue, a peer or a message. */
#include <stdio.h>
#include <string.h>

#include "admin.h"
#include "admin.pb-c.h"
#include "ctl.h"
#include "text.h"

static int
show_why(const ProtobufCMessage *m, void *userdata)
{
	const struct ctl *ctl = userdata;
	const Connectd__V1__Why *w = (const Connectd__V1__Why *)m;
	struct out *o;

	if (!ctl->json) {
		text_safe(stdout, w->text, strlen(w->text), SIZE_MAX);
		putchar('\n');
		return 0;
	}
	o = ctl_output(ctl);
	out_message(o, NULL, m);
	out_free(o);
	return 0;
}

int
verb_why(struct ctl *ctl, int argc, char **argv)
{
	static const struct option own[] = { { "queue", no_argument, NULL, 'q' }, { "peer", no_argument, NULL, 'p' }, { NULL, 0, NULL, 0 } };
	struct wire_admin_request req = { .verb = WIRE_ADMIN_WHY };
	struct admin *a;
	int c, r;

	while ((c = ctl_option(ctl, argc, argv, own)) != -1) {
		if (req.argument.len > 0)
			ctl_usage(ctl, "--queue and --peer exclude each other");
		req.argument = wire_string(c == 'q' ? "queue" : "peer");
	}
	ctl_arguments(ctl, argc, 1, 1);
	req.name = wire_string(argv[optind]);
	r = admin_open(ctl->socket, &a);
	if (a == NULL)
		return ctl_fail(ctl, "out of memory");
	if (r == 0)
		r = admin_request(a, &req, &connectd__v1__why__descriptor, show_why, ctl);
	r = r < 0 ? ctl_fail(ctl, "%s", admin_error(a)) : ctl_print(ctl, "", 0);
	admin_close(a);
	return r;
}
