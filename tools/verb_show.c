/* verb_show: status, peers, queues, clients, peek: ask the daemon, print its records. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "admin.pb-c.h"
#include "connectd.h"
#include "show.h"
#include "text.h"

#define PEEK_LIMIT 20

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

int
verb_status(struct ctl *ctl, int argc, char **argv)
{
	ctl_option(ctl, argc, argv, NULL);
	ctl_arguments(ctl, argc, 0, 0);
	return show_list(ctl, WIRE_ADMIN_STATUS, "", 0, &connectd__v1__status__descriptor, NULL, NULL);
}

int
verb_peers(struct ctl *ctl, int argc, char **argv)
{
	ctl_option(ctl, argc, argv, NULL);
	ctl_arguments(ctl, argc, 0, 0);
	return show_list(ctl, WIRE_ADMIN_PEERS, "", 0, &connectd__v1__peer__descriptor, "peers", NULL);
}

static int
keep_key(const ProtobufCMessage *m, void *userdata)
{
	char **key = userdata;

	free(*key);
	*key = strdup(((const Connectd__V1__Status *)m)->key);
	return *key != NULL ? 0 : -ENOMEM;
}

int
verb_key(struct ctl *ctl, int argc, char **argv)
{
	char *key = NULL;
	struct admin *a;
	struct out *o;
	int r;

	ctl_option(ctl, argc, argv, NULL);
	ctl_arguments(ctl, argc, 0, 0);
	r = admin_open(ctl->socket, &a);
	if (r == 0)
		r = admin_ask(a, WIRE_ADMIN_STATUS, "", 0, &connectd__v1__status__descriptor, keep_key, &key);
	if (r < 0) {
		r = ctl_fail(ctl, "%s", a != NULL ? admin_error(a) : "out of memory");
	} else if (key == NULL || key[0] == '\0') {
		r = ctl_fail(ctl, "this node has no address with TLS, and so no key yet; connectd -k makes one");
	} else if (ctl->json) {
		struct out_value v = { .kind = OUT_TEXT, .data = key, .len = strlen(key) };

		o = ctl_output(ctl);
		o->format->begin(o, NULL);
		o->format->value(o, "key", &v);
		o->format->end(o);
		r = ctl_output_end(ctl, o);
	} else {
		text_safe(stdout, key, strlen(key), SIZE_MAX);
		putchar('\n');
		r = ctl_print(ctl, "", 0);
	}
	admin_close(a);
	free(key);
	return r;
}

int
verb_queues(struct ctl *ctl, int argc, char **argv)
{
	ctl_option(ctl, argc, argv, NULL);
	ctl_arguments(ctl, argc, 0, 1);
	return show_list(ctl, WIRE_ADMIN_QUEUES, optind < argc ? argv[optind] : "", 0, &connectd__v1__queue__descriptor, "queues", NULL);
}

int
verb_clients(struct ctl *ctl, int argc, char **argv)
{
	ctl_option(ctl, argc, argv, NULL);
	ctl_arguments(ctl, argc, 0, 0);
	return show_list(ctl, WIRE_ADMIN_CLIENTS, "", 0, &connectd__v1__client__descriptor, "clients", NULL);
}

int
verb_peek(struct ctl *ctl, int argc, char **argv)
{
	static const struct option own[] = { { "limit", required_argument, NULL, 'n' }, { NULL, 0, NULL, 0 } };
	uint64_t limit = PEEK_LIMIT;

	while (ctl_option(ctl, argc, argv, own) == 'n')
		limit = ctl_count(ctl, "limit", optarg);
	ctl_arguments(ctl, argc, 1, 1);
	return show_list(ctl, WIRE_ADMIN_PEEK, argv[optind], limit, &connectd__v1__peeked__descriptor, "messages", show_peeked);
}
