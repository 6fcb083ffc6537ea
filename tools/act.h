/*
 * act: have a daemon change something, and tell what it says of that. Leaves
 * text and JSON on standard output, failures on standard error; returns the
 * exit code.
 */
#ifndef ACT_H
#define ACT_H

#include "admin.h"
#include "ctl.h"

/* A request that is answered by one Done. */
int act_done(struct ctl *ctl, const struct wire_admin_request *req);
/*
 * A request whose answer is records of this type, the last of which is the
 * result: the others say how far it got, in their first field, of which `what`
 * is the name. Prints the result, and hands it to the caller; *ret is NULL if
 * there is none.
 */
int act_count(struct ctl *ctl, const struct wire_admin_request *req, const ProtobufCMessageDescriptor *type, const char *what,
    ProtobufCMessage **ret);

#endif
