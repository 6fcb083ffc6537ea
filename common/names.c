#include "names.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

/* ctype.h depends on the locale; names do not. */
static bool
is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_alnum(char c)
{
	return is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z');
}

bool
names_node_ok(const char *s, size_t len)
{
	if (len == 0 || len > NAMES_NODE_MAX || !(is_lower(s[0]) || is_digit(s[0])))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_lower(s[i]) && !is_digit(s[i]) && s[i] != '.' && s[i] != '-')
			return false;
	return true;
}

bool
names_queue_ok(const char *s, size_t len)
{
	if (len == 0 || len > NAMES_QUEUE_MAX || !is_alnum(s[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_alnum(s[i]) && s[i] != '.' && s[i] != '_' && s[i] != '-')
			return false;
	return true;
}

int
names_dest_parse(const char *s, size_t len, struct names_dest *ret)
{
	static const char topic[] = "topic:";
	struct names_dest d = { NULL, 0, s, len };
	const char *slash;

	if (len >= sizeof(topic) - 1 && memcmp(s, topic, sizeof(topic) - 1) == 0)
		return -EOPNOTSUPP;
	slash = len ? memchr(s, '/', len) : NULL;
	if (slash) {
		d.node = s;
		d.node_len = (size_t)(slash - s);
		d.queue = slash + 1;
		d.queue_len = len - d.node_len - 1;
		if (!names_node_ok(d.node, d.node_len))
			return -EINVAL;
	}
	if (!names_queue_ok(d.queue, d.queue_len))
		return -EINVAL;
	*ret = d;
	return 0;
}

/* ------------------------------------------------------------------ URLs -- */

static const char *const schemes[NAMES_SCHEMES] = {
	[NAMES_UNIX] = "unix",
	[NAMES_TCP] = "tcp",
	[NAMES_TLS] = "tls",
	[NAMES_SCTP] = "sctp",
	[NAMES_DTLS_SCTP] = "dtls-sctp",
	[NAMES_MEM] = "mem",
};

const char *
names_scheme_name(enum names_scheme s)
{
	return schemes[s];
}

/* Decimal, without sign or blanks, at most `max`. -1 if it is something else. */
static int
small_number(const char *s, size_t len, int max)
{
	int n = 0;

	if (len == 0 || len > 5)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (!is_digit(s[i]))
			return -1;
		n = n * 10 + (s[i] - '0');
	}
	return n <= max ? n : -1;
}

static bool
host_ok(const char *s, size_t len)
{
	if (len == 0 || !is_alnum(s[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_alnum(s[i]) && s[i] != '.' && s[i] != '-' && s[i] != '_')
			return false;
	return true;
}

/* Split host:port or [v6]:port into *ret. Returns what is wrong, or NULL. */
static const char *
parse_host_port(const char *s, struct names_url *ret)
{
	const char *end, *colon;
	struct in6_addr v6;
	size_t len;
	int port;

	if (*s == '[') {
		s++;
		end = strchr(s, ']');
		if (!end)
			return "no ] after the IPv6 address";
		colon = end + 1;
		ret->host_is_v6 = true;
	} else {
		colon = end = s + strcspn(s, ":/");
		if (*end == ':' && strchr(end + 1, ':'))
			return "an IPv6 address needs brackets around it";
	}
	len = (size_t)(end - s);
	if (len == 0)
		return "no host";
	if (len > NAMES_HOST_MAX)
		return "the host is too long";
	memcpy(ret->host, s, len);
	ret->host[len] = '\0';
	if (ret->host_is_v6 ? inet_pton(AF_INET6, ret->host, &v6) != 1 : !host_ok(s, len))
		return ret->host_is_v6 ? "no IPv6 address between the brackets" : "no host name or address";
	if (*colon != ':')
		return "no port after the host";
	port = small_number(colon + 1, strlen(colon + 1), UINT16_MAX);
	if (port < 0)
		return "the port is no number from 0 to 65535";
	ret->port = (uint16_t)port;
	return NULL;
}

int
names_url_parse(const char *s, struct names_url *ret, const char **ret_why)
{
	struct names_url u = { .scheme = NAMES_SCHEMES };
	const char *sep = strstr(s, "://");
	const char *why = NULL;

	for (unsigned i = 0; sep && i < NAMES_SCHEMES; i++)
		if (strlen(schemes[i]) == (size_t)(sep - s) && memcmp(s, schemes[i], (size_t)(sep - s)) == 0)
			u.scheme = (enum names_scheme)i;
	if (!sep) {
		why = "no scheme, as in tcp://host:port";
	} else if (u.scheme == NAMES_SCHEMES) {
		why = "unknown scheme";
	} else if (u.scheme == NAMES_UNIX) {
		u.path = sep + 3;
		if (*u.path != '/')
			why = "no absolute path after unix://";
	} else {
		why = parse_host_port(sep + 3, &u);
	}
	if (why) {
		if (ret_why)
			*ret_why = why;
		return -EINVAL;
	}
	*ret = u;
	return 0;
}

/* -------------------------------------------------------------- patterns -- */

bool
names_match(const char *pattern, const char *s)
{
	const char *star = NULL, *retry = NULL;

	/* On a mismatch only the last star has to give: earlier ones took the shortest that fits. */
	while (*s) {
		if (*pattern == '*') {
			star = ++pattern;
			retry = s;
		} else if (*pattern == *s) {
			pattern++;
			s++;
		} else if (star) {
			pattern = star;
			s = ++retry;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

size_t
names_literal_len(const char *pattern)
{
	size_t n = 0;

	for (; *pattern; pattern++)
		n += *pattern != '*';
	return n;
}

/* -------------------------------------------------------------- networks -- */

static const uint8_t v4_mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

/* Are the bits of addr from `prefix` on all zero? */
static bool
host_bits_zero(const uint8_t *addr, unsigned bits, unsigned prefix)
{
	for (unsigned i = prefix; i < bits; i++)
		if (addr[i / 8] & 0x80 >> i % 8)
			return false;
	return true;
}

int
names_cidr_parse(const char *s, struct names_cidr *ret)
{
	struct names_cidr c = { .v6 = strchr(s, ':') != NULL };
	unsigned bits = c.v6 ? 128 : 32;
	char addr[INET6_ADDRSTRLEN];
	size_t len = strcspn(s, "/");
	int prefix = (int)bits;

	if (len >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, s, len);
	addr[len] = '\0';
	if (s[len] == '/')
		prefix = small_number(s + len + 1, strlen(s + len + 1), (int)bits);
	if (prefix < 0 || inet_pton(c.v6 ? AF_INET6 : AF_INET, addr, c.addr) != 1 ||
	    !host_bits_zero(c.addr, bits, (unsigned)prefix))
		return -EINVAL;
	c.prefix = (unsigned)prefix;
	if (c.v6 && c.prefix >= 96 && memcmp(c.addr, v4_mapped, sizeof(v4_mapped)) == 0) {
		memmove(c.addr, c.addr + 12, 4);
		memset(c.addr + 4, 0, 12);
		c.v6 = false;
		c.prefix -= 96;
	}
	*ret = c;
	return 0;
}

bool
names_cidr_match(const struct names_cidr *c, bool v6, const uint8_t *addr)
{
	if (v6 && memcmp(addr, v4_mapped, sizeof(v4_mapped)) == 0) {
		v6 = false;
		addr += 12;
	}
	if (v6 != c->v6 || memcmp(addr, c->addr, c->prefix / 8) != 0)
		return false;
	if (c->prefix % 8 == 0)
		return true;
	return (addr[c->prefix / 8] ^ c->addr[c->prefix / 8]) >> (8 - c->prefix % 8) == 0;
}

/* ------------------------------------------------------------ suggestion -- */

#define NEAREST_MAX 64 /* longer words get no suggestion */

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Bytes to insert, delete, change or swap with a neighbour to make b of a. Both within NEAREST_MAX. */
static size_t
distance(const char *a, const char *b)
{
	size_t rows[3][NEAREST_MAX + 1];
	size_t *before = rows[0], *last = rows[1], *row = rows[2], *spare;
	size_t a_len = strlen(a), b_len = strlen(b);

	for (size_t j = 0; j <= b_len; j++) {
		before[j] = 0;
		last[j] = j;
	}
	for (size_t i = 1; i <= a_len; i++) {
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			row[j] = least(least(last[j], row[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], before[j - 2] + 1);
		}
		spare = before;
		before = last;
		last = row;
		row = spare;
	}
	return last[b_len];
}

const char *
names_nearest(const char *s, const char *const *known)
{
	size_t len = strlen(s), best = len / 3 + 2; /* at this distance it is another word */
	const char *nearest = NULL;

	if (len == 0 || len > NEAREST_MAX)
		return NULL;
	for (; *known; known++) {
		size_t known_len = strlen(*known), d;

		if (known_len > NEAREST_MAX)
			continue;
		d = distance(s, *known);
		if (d < best && d < known_len) {
			best = d;
			nearest = *known;
		}
	}
	return nearest;
}
