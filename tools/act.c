#include "act.h"

#include "admin.pb-c.h"

static int
show_done(const ProtobufCMessage *m, void *userdata)
{
	const struct ctl *ctl = userdata;
	const Connectd__V1__Done *d = (const Connectd__V1__Done *)m;
	struct out *o;

	if (!ctl->json) {
		puts(d->text);
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
