/*
 * credentials: this node's key and certificate, and whom it trusts, from the
 * files that the configuration names. On first use key and certificate are
 * made: ECDSA P-256, and self-signed, so that they never expire.
 */
#ifndef CREDENTIALS_H
#define CREDENTIALS_H

#include <stdbool.h>

#include "conf.h"
#include "disk.h"
#include "tls.h"

#define CREDENTIALS_WHY_MAX 320

enum credentials_mode { CREDENTIALS_READ, CREDENTIALS_MAKE };

/*
 * Read them. With MAKE, key and certificate are made if both are missing and
 * both belong into the state folder, whose lock the caller holds. Blocks: at
 * start and in tasks only. 0, *ret (a reference for the caller) and *ret_made;
 * or a negative errno and a sentence
 * in why: -ENOENT, -EACCES, -EBADMSG, -EINVAL want the operator, and so does
 * -EPERM: the key is not its owner's alone. In the state folder nobody else may
 * read it; elsewhere a group may, which is there for that.
 */
int credentials_load(struct disk *state, const struct conf_node *node, enum credentials_mode mode, struct tls_context **ret,
    bool *ret_made, char why[static CREDENTIALS_WHY_MAX]);

#endif
