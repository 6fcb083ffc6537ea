#include "act.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "admin.pb-c.h"
#include "progress.h"
#include "text.h"

static int
show_done(const ProtobufCMessage *m, void *userdata)
{
	const struct ctl *ctl = userdata;
	const Connectd__V1__Done *d = (const Connectd__V1__Done *)m;
	struct out *o;

	if (!ctl->json) {
		text_safe(stdout, d->text, strlen(d->text), SIZE_MAX);
		putchar('\n');
		return 0;
	}
	o = ctl_output(ctl);
	out_message(o, NULL, m);
	out_free(o);
	return 0;
}

int
act_done(struct ctl *ctl, const struct wire_admin_request *req)
{
	struct admin *a;
	int r = admin_open(ctl->socket, &a);

	if (a == NULL)
		return ctl_fail(ctl, "out of memory");
	if (r == 0)
		r = admin_request(a, req, &connectd__v1__done__descriptor, show_done, ctl);
	r = r < 0 ? ctl_fail(ctl, "%s", admin_error(a)) : ctl_print(ctl, "", 0);
	admin_close(a);
	return r;
}

/* ---------------------------------------------------------- what takes long */

struct counting {
	struct progress progress;
	const char *what;
	ProtobufCMessage *last;
};

static int
count(const ProtobufCMessage *m, void *userdata)
{
	const ProtobufCFieldDescriptor *first = &m->descriptor->fields[0];
	struct counting *c = userdata;
	size_t len = protobuf_c_message_get_packed_size(m);
	uint8_t *copy = malloc(len + 1);

	if (copy == NULL)
		return -ENOMEM;
	protobuf_c_message_pack(m, copy);
	if (c->last != NULL)
		protobuf_c_message_free_unpacked(c->last, NULL);
	c->last = protobuf_c_message_unpack(m->descriptor, NULL, len, copy);
	free(copy);
	progress_show(&c->progress, "%" PRIu64 " %s", *(const uint64_t *)(const void *)((const char *)m + first->offset), c->what);
	return c->last != NULL ? 0 : -ENOMEM;
}

static int
count_all(struct ctl *ctl, struct admin *a, int opened, const struct wire_admin_request *req,
    const ProtobufCMessageDescriptor *type, struct counting *c)
{
	int r = opened < 0 ? opened : admin_request(a, req, type, count, c);
	struct out *o;

	progress_clear(&c->progress);
	if (r == -ENOMEM)
		return ctl_fail(ctl, "out of memory");
	if (r < 0)
		return ctl_fail(ctl, "%s", admin_error(a));
	if (c->last == NULL)
		return ctl_fail(ctl, "the daemon's answer makes no sense");
	o = ctl_output(ctl);
	out_message(o, NULL, c->last);
	return ctl_output_end(ctl, o);
}

int
act_count(struct ctl *ctl, const struct wire_admin_request *req, const ProtobufCMessageDescriptor *type, const char *what,
    ProtobufCMessage **ret)
{
	struct counting c = { .what = what };
	struct admin *a;
	int r = admin_open(ctl->socket, &a);

	*ret = NULL;
	if (a == NULL)
		return ctl_fail(ctl, "out of memory");
	progress_init(&c.progress);
	r = count_all(ctl, a, r, req, type, &c);
	if (r == CTL_DONE)
		*ret = c.last;
	else if (c.last != NULL)
		protobuf_c_message_free_unpacked(c.last, NULL);
	admin_close(a);
	return r;
}
