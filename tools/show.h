/* show: ask a daemon, and print its records as one answer, when it is whole; returns the exit code. */
#ifndef SHOW_H
#define SHOW_H

#include "admin.h"
#include "ctl.h"

/* With `list` the answer is an object with the records under that key; NULL: the one record is the answer. one NULL: each as it is. */
int show_list(struct ctl *ctl, enum wire_admin_verb verb, const char *name, uint64_t limit,
    const ProtobufCMessageDescriptor *type, const char *list, admin_record_fn one);

#endif
