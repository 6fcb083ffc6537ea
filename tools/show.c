#include "show.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int
show_one(const ProtobufCMessage *m, void *userdata)
{
	out_message(userdata, NULL, m);
	return 0;
}

int
show_list(struct ctl *ctl, enum wire_admin_verb verb, const char *name, uint64_t limit, const ProtobufCMessageDescriptor *type,
    const char *list, admin_record_fn one)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	struct out *o = f != NULL ? ctl->json ? out_json_new(f) : out_text_new(f) : NULL;
	struct admin *a = NULL;
	bool whole;
	int r = o != NULL ? admin_open(ctl->socket, &a) : -ENOMEM;

	if (r == 0 && list != NULL) {
		o->format->begin(o, NULL);
		o->format->begin_list(o, list, type->short_name);
	}
	if (r == 0)
		r = admin_ask(a, verb, name, limit, type, one != NULL ? one : show_one, o);
	if (r == 0 && list != NULL) {
		o->format->end_list(o);
		o->format->end(o);
	}
	out_free(o);
	whole = f != NULL && fclose(f) == 0 && text != NULL;
	if (r < 0 && a != NULL)
		r = ctl_fail(ctl, "%s", admin_error(a));
	else if (r < 0 || !whole)
		r = ctl_fail(ctl, "out of memory");
	else
		r = ctl_print(ctl, text, len);
	free(text);
	admin_close(a);
	return r;
}
