/* transport_resolve: see transport_resolve.h. */
#include "transport_resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "transport.h"

#define LINGER_MS 10000 /* a resolver without lookups goes after this */
#define FLUSH_ROUNDS 8  /* passes in which evdns tells of cancelled lookups */

/* Per loop. */
struct resolver {
	struct loop_attached attached;
	struct loop *loop;
	struct evdns_base *dns; /* NULL: none needed now */
	unsigned n_lookups;
	struct loop_timer linger;
};

struct resolve {
	struct resolver *resolver;
	struct evdns_getaddrinfo_request *request; /* NULL: answered */
	struct loop_call call;
	uint16_t port;
	void (*fn)(void *arg, int error, const char *text, const union resolve_address *addresses, unsigned n);
	void *arg; /* fn NULL: cancelled, evdns has yet to say that it noticed */
	int error;
	const char *text;
	union resolve_address addresses[RESOLVE_MAX];
	unsigned n;
};

static const char resolver_key;

void
resolve_text(const union resolve_address *a, bool port, char buf[static RESOLVE_TEXT_MAX])
{
	char ip[INET6_ADDRSTRLEN];

	if (a->sa.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &a->v6.sin6_addr, ip, sizeof(ip));
		snprintf(buf, RESOLVE_TEXT_MAX, port ? "[%s]:%u" : "%s", ip, ntohs(a->v6.sin6_port));
	} else {
		inet_ntop(AF_INET, &a->v4.sin_addr, ip, sizeof(ip));
		snprintf(buf, RESOLVE_TEXT_MAX, port ? "%s:%u" : "%s", ip, ntohs(a->v4.sin_port));
	}
}

void
resolve_unmap(union resolve_address *a)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };

	if (a->sa.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
		return;
	v4.sin_port = a->v6.sin6_port;
	memcpy(&v4.sin_addr, a->v6.sin6_addr.s6_addr + 12, 4);
	a->v4 = v4;
}

void
resolve_identity(const union resolve_address *a, const char *scheme, struct transport_identity *ret)
{
	char text[RESOLVE_TEXT_MAX];

	*ret = (struct transport_identity){ 0 };
	snprintf(ret->address, sizeof(ret->address), "%s", scheme);
	if (a->sa.sa_family != AF_INET && a->sa.sa_family != AF_INET6)
		return;
	resolve_text(a, true, text);
	snprintf(ret->address, sizeof(ret->address), "%s://%s", scheme, text);
	ret->has_ip = true;
	ret->v6 = a->sa.sa_family == AF_INET6;
	if (ret->v6)
		memcpy(ret->ip, &a->v6.sin6_addr, 16);
	else
		memcpy(ret->ip, &a->v4.sin_addr, 4);
}

int
resolve_numeric(const char *host, uint16_t port, union resolve_address *ret)
{
	union resolve_address a;

	memset(&a, 0, sizeof(a));
	if (inet_pton(AF_INET, host, &a.v4.sin_addr) == 1) {
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons(port);
	} else if (inet_pton(AF_INET6, host, &a.v6.sin6_addr) == 1) {
		a.v6.sin6_family = AF_INET6;
		a.v6.sin6_port = htons(port);
	} else {
		return -EINVAL;
	}
	*ret = a;
	return 0;
}

/* --------------------------------------------------------------- resolver */

static void
lingered(void *arg)
{
	struct resolver *rv = arg;

	if (rv->n_lookups > 0 || !rv->dns)
		return;
	evdns_base_free(rv->dns, 0);
	rv->dns = NULL;
}

static void
resolver_free(struct loop_attached *a)
{
	struct resolver *rv = list_entry(a, struct resolver, attached);

	/* Cancelled lookups end only when evdns says so, and it touches its base then. */
	for (int i = 0; i < FLUSH_ROUNDS && rv->n_lookups > 0; i++)
		event_base_loop(loop_base(rv->loop), EVLOOP_NONBLOCK);
	loop_timer_stop(&rv->linger);
	if (rv->dns)
		evdns_base_free(rv->dns, 0);
	free(rv);
}

static struct resolver *
resolver_of(struct loop *l)
{
	struct loop_attached *a = loop_attached(l, &resolver_key);
	struct resolver *rv;

	if (a)
		return list_entry(a, struct resolver, attached);
	rv = calloc(1, sizeof(*rv));
	if (!rv)
		return NULL;
	rv->loop = l;
	loop_timer_init(&rv->linger, l, lingered, rv);
	loop_attach(l, &rv->attached, &resolver_key, resolver_free);
	return rv;
}

static int
resolver_start(struct resolver *rv)
{
	if (rv->dns)
		return 0;
	rv->dns = evdns_base_new(loop_base(rv->loop), EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (!rv->dns)
		return -ENOMEM;
	/* Without a resolv.conf there is still /etc/hosts, and then the default server. */
	evdns_base_resolv_conf_parse(rv->dns, DNS_OPTIONS_ALL, "/etc/resolv.conf");
	return 0;
}

int
resolve_use_server(struct loop *l, const char *server)
{
	struct resolver *rv = resolver_of(l);
	int r = rv ? resolver_start(rv) : -ENOMEM;

	if (r < 0)
		return r;
	evdns_base_clear_nameservers_and_suspend(rv->dns);
	r = evdns_base_nameserver_ip_add(rv->dns, server) == 0 ? 0 : -EINVAL;
	evdns_base_resume(rv->dns);
	return r;
}

/* ----------------------------------------------------------------- lookups */

static void
end(struct resolve *r)
{
	struct resolver *rv = r->resolver;

	if (--rv->n_lookups == 0)
		loop_timer_start(&rv->linger, LINGER_MS);
	free(r);
}

/* Deferred: evdns may answer from inside evdns_getaddrinfo. */
static void
answer(void *arg)
{
	struct resolve *r = arg;

	r->fn(r->arg, r->error, r->text, r->addresses, r->n);
	end(r);
}

static void
take(struct resolve *r, const struct evutil_addrinfo *ai)
{
	for (; ai && r->n < RESOLVE_MAX; ai = ai->ai_next) {
		union resolve_address *a = &r->addresses[r->n];

		if (ai->ai_family == AF_INET && ai->ai_addrlen == sizeof(a->v4)) {
			memcpy(&a->v4, ai->ai_addr, sizeof(a->v4));
			a->v4.sin_port = htons(r->port);
		} else if (ai->ai_family == AF_INET6 && ai->ai_addrlen == sizeof(a->v6)) {
			memcpy(&a->v6, ai->ai_addr, sizeof(a->v6));
			a->v6.sin6_port = htons(r->port);
		} else {
			continue;
		}
		r->n++;
	}
}

static void
found(int result, struct evutil_addrinfo *ai, void *arg)
{
	struct resolve *r = arg;

	if (r->fn && result == 0)
		take(r, ai);
	if (ai)
		evutil_freeaddrinfo(ai);
	if (!r->fn) {
		end(r);
		return;
	}
	r->request = NULL;
	if (r->n == 0) {
		r->error = result == EVUTIL_EAI_MEMORY ? -ENOMEM : result == EVUTIL_EAI_AGAIN ? -EAGAIN : -ENXIO;
		r->text = result == EVUTIL_EAI_AGAIN ? "no answer from the name server" :
		    result == EVUTIL_EAI_MEMORY      ? "out of memory" :
		                                       "no address for this name";
	}
	loop_defer(r->resolver->loop, &r->call);
}

int
resolve_name(struct loop *l, const char *host, uint16_t port,
    void (*fn)(void *arg, int error, const char *text, const union resolve_address *addresses, unsigned n), void *arg,
    struct resolve **ret)
{
	struct evutil_addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP };
	struct resolver *rv = resolver_of(l);
	struct evdns_getaddrinfo_request *request;
	struct resolve *r;

	if (!rv || resolver_start(rv) < 0)
		return -ENOMEM;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->resolver = rv;
	r->port = port;
	r->fn = fn;
	r->arg = arg;
	loop_call_init(&r->call, answer, r);
	rv->n_lookups++;
	/* Answered at once, it returns NULL after calling found, which only defers. */
	request = evdns_getaddrinfo(rv->dns, host, NULL, &hints, found, r);
	if (request)
		r->request = request;
	*ret = r;
	return 0;
}

void
resolve_cancel(struct resolve *r)
{
	if (!r->request) {
		loop_call_cancel(&r->call);
		end(r);
		return;
	}
	r->fn = NULL;
	evdns_getaddrinfo_cancel(r->request);
}
