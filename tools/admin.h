/*
 * admin: ask a daemon about itself, over a client session of its own on the
 * Unix socket. Blocking, with deadlines; one question at a time.
 */
#ifndef ADMIN_H
#define ADMIN_H

#include <stdint.h>
#include <sys/types.h>

#include <protobuf-c/protobuf-c.h>

#include "wire.h"

#define ADMIN_PATIENCE_MS 5000 /* how long the daemon may take for its next byte */

struct admin;

/*
 * Connect and greet. 0; a negative errno with admin_error set: -ECONNREFUSED
 * or -ENOENT at once when no daemon is there. *ret is for admin_error and
 * admin_close also on failure; NULL only when out of memory.
 */
int admin_open(const char *socket, struct admin **ret);
void admin_close(struct admin *a);

/* A sentence on the last failure. */
const char *admin_error(const struct admin *a);

const char *admin_node(const struct admin *a);
/* The daemon's process, from the kernel; 0 if it cannot tell. */
pid_t admin_pid(const struct admin *a);

/* One record of an answer. Not 0 ends the asking with that result. */
typedef int (*admin_record_fn)(const ProtobufCMessage *record, void *userdata);

/*
 * Ask, and hand over each record of the answer, unpacked as `type`. name ""
 * and limit 0 where the verb takes none. 0 after the last page; what fn
 * returned; a negative errno with admin_error set (what the daemon refused
 * too). Events go on until fn ends them or the daemon goes; silence there is
 * met with pings.
 */
int admin_ask(struct admin *a, enum wire_admin_verb verb, const char *name, uint64_t limit,
    const ProtobufCMessageDescriptor *type, admin_record_fn fn, void *userdata);
/* The same with every field of a request; its id is chosen here. */
int admin_request(struct admin *a, const struct wire_admin_request *req, const ProtobufCMessageDescriptor *type,
    admin_record_fn fn, void *userdata);

#endif
