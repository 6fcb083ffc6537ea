/* verb_backup: the daemon copies its state folder. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "act.h"
#include "admin.pb-c.h"

/* The daemon works elsewhere: it needs the whole path. malloc'ed; NULL with errno. */
static char *
whole_path(const char *path)
{
	char *here, *whole;

	if (*path == '/')
		return strdup(path);
	here = getcwd(NULL, 0);
	if (here == NULL)
		return NULL;
	if (asprintf(&whole, "%s/%s", here, path) < 0)
		whole = NULL;
	free(here);
	return whole;
}

int
verb_backup(struct ctl *ctl, int argc, char **argv)
{
	struct wire_admin_request req = { .verb = WIRE_ADMIN_BACKUP };
	ProtobufCMessage *last;
	char *path;
	int r;

	ctl_option(ctl, argc, argv, NULL);
	ctl_arguments(ctl, argc, 1, 1);
	path = whole_path(argv[optind]);
	if (path == NULL)
		return ctl_fail(ctl, "%s: %s", argv[optind], strerror(errno));
	req.argument = wire_string(path);
	r = act_count(ctl, &req, &connectd__v1__backed_up__descriptor, "bytes copied", &last);
	if (last != NULL)
		protobuf_c_message_free_unpacked(last, NULL);
	free(path);
	return r;
}
