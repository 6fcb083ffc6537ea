/*
 * identity: is the other side of a stream the node it should be? By the
 * fingerprint of its key (RFC 7469, section 2.4), by a certificate that a CA
 * has signed, by both, or, over plain connections, by nothing but where it
 * comes from. Only judges what a transport has proven.
 */
#ifndef IDENTITY_H
#define IDENTITY_H

#include <stdbool.h>

#include "conf.h"
#include "transport.h"

/*
 * Has this stream proven to come from the node `name`, whose section (or whose
 * family's) is peer? has_ca: [node] has one. False: in why a fragment for logs
 * on this side, which may name keys and certificates.
 */
bool identity_is_peer(const struct conf_peer *peer, bool has_ca, const char *name, const struct transport_identity *id,
    char why[static TRANSPORT_TEXT_MAX]);

/*
 * Before the other side has given its name: may it be any configured peer at
 * all? O(peers), once per handshake.
 */
bool identity_is_anyone(const struct conf *c, const struct transport_identity *id, char why[static TRANSPORT_TEXT_MAX]);

/* May it come from this address, by `from`? */
bool identity_may_come_from(const struct conf_peer *peer, const struct transport_identity *id);

/* What has proven who it is: "fingerprint", "ca", "fingerprint and ca", "plaintext". */
const char *identity_proof(const struct conf_peer *peer, bool has_ca);

#endif
