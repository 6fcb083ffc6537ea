/* verb_show: status, peers, queues, clients, peek: ask the daemon, print its records. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "admin.pb-c.h"
#include "connectd.h"
#include "ctl.h"
#include "text.h"

#define PEEK_LIMIT 20

static int
show_one(const ProtobufCMessage *m, void *userdata)
{
	out_message(userdata, NULL, m);
	return 0;
}

/* A message as the daemon tells it, and what a wrapped text says. */
static int
show_peeked(const ProtobufCMessage *m, void *userdata)
{
	const Connectd__V1__Peeked *p = (const Connectd__V1__Peeked *)m;
	struct out *o = userdata;
	const void *text;
	size_t len;

	o->format->begin(o, NULL);
	out_fields(o, m);
	/* The daemon sends the first bytes only: a long text is not unwrapped. */
	if (strcmp(p->type, TEXT_TYPE_STRING) == 0 && text_unwrap(p->body.data, p->body.len, &text, &len)) {
		struct out_value v = { .kind = OUT_TEXT, .data = text, .len = len };

		o->format->value(o, "text", &v);
	}
	o->format->end(o);
	return 0;
}

/*
 * Ask and print. With `list` the answer is an object with the records under
 * that key; without, the one record is the answer. Printed when it is whole.
 */
static int
show(struct ctl *ctl, enum wire_admin_verb verb, const char *name, uint64_t limit, const ProtobufCMessageDescriptor *type,
    const char *list)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	struct out *o = f != NULL ? ctl->json ? out_json_new(f) : out_text_new(f) : NULL;
	struct admin *a = NULL;
	int r = o != NULL ? admin_open(ctl->socket, &a) : -ENOMEM;

	if (r == 0 && list != NULL) {
		o->format->begin(o, NULL);
		o->format->begin_list(o, list, type->short_name);
	}
	if (r == 0)
		r = admin_ask(a, verb, name, limit, type, verb == WIRE_ADMIN_PEEK ? show_peeked : show_one, o);
	if (r == 0 && list != NULL) {
		o->format->end_list(o);
		o->format->end(o);
	}
	out_free(o);
	if (f != NULL && fclose(f) != 0 && r == 0)
		r = -ENOMEM;
	if (r < 0)
		r = ctl_fail(ctl, "%s", a != NULL ? admin_error(a) : "out of memory");
	else
		r = ctl_print(ctl, text, len);
	free(text);
	admin_close(a);
	return r;
}

int
verb_status(struct ctl *ctl, int argc, char **argv)
{
	ctl_option(ctl, argc, argv, NULL);
	ctl_arguments(ctl, argc, 0, 0);
	return show(ctl, WIRE_ADMIN_STATUS, "", 0, &connectd__v1__status__descriptor, NULL);
}

int
verb_peers(struct ctl *ctl, int argc, char **argv)
{
	ctl_option(ctl, argc, argv, NULL);
	ctl_arguments(ctl, argc, 0, 0);
	return show(ctl, WIRE_ADMIN_PEERS, "", 0, &connectd__v1__peer__descriptor, "peers");
}

int
verb_queues(struct ctl *ctl, int argc, char **argv)
{
	ctl_option(ctl, argc, argv, NULL);
	ctl_arguments(ctl, argc, 0, 1);
	return show(ctl, WIRE_ADMIN_QUEUES, optind < argc ? argv[optind] : "", 0, &connectd__v1__queue__descriptor, "queues");
}

int
verb_clients(struct ctl *ctl, int argc, char **argv)
{
	ctl_option(ctl, argc, argv, NULL);
	ctl_arguments(ctl, argc, 0, 0);
	return show(ctl, WIRE_ADMIN_CLIENTS, "", 0, &connectd__v1__client__descriptor, "clients");
}

int
verb_peek(struct ctl *ctl, int argc, char **argv)
{
	static const struct option own[] = { { "limit", required_argument, NULL, 'n' }, { NULL, 0, NULL, 0 } };
	uint64_t limit = PEEK_LIMIT;

	while (ctl_option(ctl, argc, argv, own) == 'n')
		limit = ctl_count(ctl, "limit", optarg);
	ctl_arguments(ctl, argc, 1, 1);
	return show(ctl, WIRE_ADMIN_PEEK, argv[optind], limit, &connectd__v1__peeked__descriptor, "messages");
}
