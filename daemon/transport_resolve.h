/*
 * transport_resolve: names to addresses without blocking, through libevent's
 * evdns and /etc/hosts, for the kinds of transport that dial names. Numeric
 * addresses never get here further than resolve_numeric. The resolver lives
 * while there are lookups and a little longer, so that an idle daemon has none
 * and a changed resolv.conf is noticed.
 */
#ifndef TRANSPORT_RESOLVE_H
#define TRANSPORT_RESOLVE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define RESOLVE_MAX 16 /* addresses of one name; the rest are not tried */

struct loop;
struct resolve; /* one lookup */

union resolve_address {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct transport_identity;

#define RESOLVE_TEXT_MAX (INET6_ADDRSTRLEN + 8)

/* "127.0.0.1:4711", "[::1]:4711"; without a port "127.0.0.1", "::1". */
void resolve_text(const union resolve_address *a, bool port, char buf[static RESOLVE_TEXT_MAX]);
/* An IPv4 address mapped into IPv6 counts as IPv4. */
void resolve_unmap(union resolve_address *a);
/* What an address says of who is there; scheme "tcp". Of none (family 0) only the scheme. */
void resolve_identity(const union resolve_address *a, const char *scheme, struct transport_identity *ret);

/* 0, or -EINVAL if host is no numeric address. */
int resolve_numeric(const char *host, uint16_t port, union resolve_address *ret);

/*
 * Look host up. fn is called once, from the loop: with error 0 and at least
 * one address, or a negative errno and a fragment for the log. It gives up
 * when the name servers do; the caller has its own deadline. 0 or -ENOMEM.
 */
int resolve_name(struct loop *l, const char *host, uint16_t port,
    void (*fn)(void *arg, int error, const char *text, const union resolve_address *addresses, unsigned n), void *arg,
    struct resolve **ret);
/* fn is not called any more. Not after it was. */
void resolve_cancel(struct resolve *r);

/* Ask this name server ("127.0.0.1:5353") instead of those in resolv.conf. For tests. 0, -ENOMEM or -EINVAL. */
int resolve_use_server(struct loop *l, const char *server);

static inline socklen_t
resolve_address_len(const union resolve_address *a)
{
	return a->sa.sa_family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);
}

#endif
