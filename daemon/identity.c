#include "identity.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool refuse(char why[static TRANSPORT_TEXT_MAX], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static bool
refuse(char why[static TRANSPORT_TEXT_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, TRANSPORT_TEXT_MAX, fmt, ap);
	va_end(ap);
	return false;
}

static bool
is_pinned(const struct conf_peer *peer, const struct tls_certificate *c)
{
	for (size_t i = 0; i < peer->fingerprint_text.n; i++)
		if (memcmp(peer->fingerprint[i], c->key, PIN_BYTES) == 0)
			return true;
	return false;
}

/* "berlin, oslo and more"; of what a stranger says only as much as a line bears. There is one at least. */
static const char *
names_text(const struct tls_certificate *c, char *buf, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < c->n_names && i < 2 && len < size; i++) {
		int n = snprintf(buf + len, size - len, "%s%s", i ? ", " : "", c->names[i]);

		len += n > 0 ? (size_t)n : 0;
	}
	if ((c->n_names > 2 || c->more_names) && len < size)
		snprintf(buf + len, size - len, " and more");
	return buf;
}

#define NAMELESS "its certificate has no DNS name that can be a node's (a CN or a wildcard is none)"

bool
identity_is_peer(const struct conf_peer *peer, bool has_ca, const char *name, const struct transport_identity *id,
    char why[static TRANSPORT_TEXT_MAX])
{
	const struct tls_peer *p = &id->tls;
	char key[PIN_TEXT_MAX], names[2 * NAMES_NODE_MAX + 20];
	bool needs_pin = peer->fingerprint_text.n > 0;

	if (!p->has_certificate)
		return peer->plaintext ? true : refuse(why, "plaintext is not allowed for %s", name);
	/* Configured so that nothing could be held against its certificate. */
	if (!needs_pin && !has_ca)
		return refuse(why, "%s has neither fingerprint nor CA here", name);
	if (needs_pin && !is_pinned(peer, &p->certificate))
		return refuse(why, "its key %s is no fingerprint of %s", pin_text(p->certificate.key, key), name);
	if (has_ca && p->chain != TLS_CHAIN_GOOD)
		return refuse(why, "its certificate: %s", p->chain == TLS_CHAIN_BAD ? p->chain_text : "was not checked against the CA");
	if (has_ca && p->certificate.n_names == 0)
		return refuse(why, NAMELESS);
	if (has_ca && !tls_certificate_names(&p->certificate, name))
		return refuse(why, "its certificate is for %s, not for %s", names_text(&p->certificate, names, sizeof(names)), name);
	return true;
}

/* By its certificate's names: which peers can it be? */
static bool
is_named_peer(const struct conf *c, const struct transport_identity *id, char why[static TRANSPORT_TEXT_MAX])
{
	const struct tls_certificate *cert = &id->tls.certificate;
	char names[2 * NAMES_NODE_MAX + 20];
	bool is_known = false;

	/* One of several is enough: each may have a fingerprint of its own. why is that of the last one. */
	for (size_t i = 0; i < cert->n_names; i++) {
		const struct conf_peer *peer = conf_peer_find(c, cert->names[i]);

		if (peer && identity_is_peer(peer, true, cert->names[i], id, why))
			return true;
		is_known = is_known || peer;
	}
	if (is_known)
		return false;
	if (cert->n_names == 0)
		return refuse(why, NAMELESS);
	return refuse(why, "its certificate is for %s, which is no peer here", names_text(cert, names, sizeof(names)));
}

bool
identity_is_anyone(const struct conf *c, const struct transport_identity *id, char why[static TRANSPORT_TEXT_MAX])
{
	char key[PIN_TEXT_MAX];

	if (!id->tls.has_certificate)
		return true;
	if (conf_node(c)->ca)
		return is_named_peer(c, id, why);
	for (size_t i = 0; i < conf_n_peers(c); i++)
		if (is_pinned(conf_peer(c, i), &id->tls.certificate))
			return true;
	return refuse(why, "its key %s is no fingerprint of any peer", pin_text(id->tls.certificate.key, key));
}

bool
identity_may_come_from(const struct conf_peer *peer, const struct transport_identity *id)
{
	/* What proves itself by a key may come from anywhere, unless that is said. */
	if (peer->from_text.n == 0)
		return id->tls.has_certificate;
	for (size_t i = 0; i < peer->from_text.n; i++)
		if (names_cidr_match(&peer->from[i], id->v6, id->ip))
			return true;
	return false;
}

const char *
identity_proof(const struct conf_peer *peer, bool has_ca)
{
	if (peer->plaintext)
		return "plaintext";
	if (peer->fingerprint_text.n > 0)
		return has_ca ? "fingerprint and ca" : "fingerprint";
	return "ca";
}
