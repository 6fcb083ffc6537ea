/*
 * names: node and queue names, destinations, URLs, patterns: split, check,
 * match. Pure; results point into the input.
 */
#ifndef NAMES_H
#define NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAMES_NODE_MAX 40
#define NAMES_QUEUE_MAX 63
#define NAMES_DEST_MAX (NAMES_NODE_MAX + 1 + NAMES_QUEUE_MAX)
#define NAMES_HOST_MAX 253

/* [a-z0-9][a-z0-9.-]*, 1 to NAMES_NODE_MAX bytes. */
bool names_node_ok(const char *s, size_t len);

/* [A-Za-z0-9][A-Za-z0-9._-]*, 1 to NAMES_QUEUE_MAX bytes. */
bool names_queue_ok(const char *s, size_t len);

struct names_dest {
	const char *node; /* NULL: this node */
	size_t node_len;
	const char *queue;
	size_t queue_len;
};

/*
 * Split `queue` or `node/queue`. 0; -EINVAL if either part is malformed;
 * -EOPNOTSUPP for `topic:NAME` (not in this version).
 */
int names_dest_parse(const char *s, size_t len, struct names_dest *ret);

enum names_scheme { NAMES_UNIX, NAMES_TCP, NAMES_TLS, NAMES_SCTP, NAMES_DTLS_SCTP, NAMES_MEM, NAMES_SCHEMES };

struct names_url {
	enum names_scheme scheme;
	char host[NAMES_HOST_MAX + 1]; /* without the brackets of [::1]; unix: empty */
	bool host_is_v6;               /* it was in brackets */
	uint16_t port;
	const char *path;              /* unix: the path, inside the input; else NULL */
};

/*
 * Parse `tcp://host:port`, `tcp://[v6]:port`, `unix:///path`, `mem://name:port`.
 * A port is required except for unix; 0 is allowed here. 0, or -EINVAL with
 * *ret_why a sentence fragment ("no port after the host") if not NULL.
 */
int names_url_parse(const char *s, struct names_url *ret, const char **ret_why);

/* "tcp" for NAMES_TCP. */
const char *names_scheme_name(enum names_scheme s);

/* Match against a pattern with any number of `*`, which match any bytes. */
bool names_match(const char *pattern, const char *s);

/* Bytes of a pattern that are not `*`: the longest literal match wins. */
size_t names_literal_len(const char *pattern);

struct names_cidr {
	bool v6;
	uint8_t addr[16]; /* network order; the first 4 for IPv4 */
	unsigned prefix;
};

/* `10.0.0.0/8`, `::1`, `fd00::/8`. Host bits must be zero. 0 or -EINVAL. */
int names_cidr_parse(const char *s, struct names_cidr *ret);

/* Is the address inside? IPv4-mapped IPv6 addresses count as IPv4. */
bool names_cidr_match(const struct names_cidr *c, bool v6, const uint8_t *addr);

/* The entry of `known` (NULL-terminated) closest to `s` by edit distance, or NULL if none is near. */
const char *names_nearest(const char *s, const char *const *known);

#endif
