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

#endif
