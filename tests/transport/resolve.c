/* Names: /etc/hosts, a name server of our own on loopback, and one that is silent. */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/dns.h>
#include <event2/dns_struct.h>
#include <event2/event.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "suite.h"
#include "transport_resolve.h"

struct server {
	int fd;
	struct evdns_server_port *port;
	int questions;
};

/* two.test has 127.0.0.2 and then 127.0.0.1; six.test has ::1; nothing else exists. */
static void
serve(struct evdns_server_request *q, void *arg)
{
	struct server *s = arg;
	int code = DNS_ERR_NOTEXIST;

	s->questions++;
	for (int i = 0; i < q->nquestions; i++) {
		const char *name = q->questions[i]->name;
		bool two = strcasecmp(name, "two.test") == 0, six = strcasecmp(name, "six.test") == 0;

		if (two || six)
			code = DNS_ERR_NONE;
		if (two && q->questions[i]->type == EVDNS_TYPE_A) {
			struct in_addr a[2] = { { htonl(INADDR_LOOPBACK + 1) }, { htonl(INADDR_LOOPBACK) } };

			evdns_server_request_add_a_reply(q, name, 2, a, 60);
		}
		if (six && q->questions[i]->type == EVDNS_TYPE_AAAA)
			evdns_server_request_add_aaaa_reply(q, name, 1, &in6addr_loopback, 60);
	}
	evdns_server_request_respond(q, code);
}

/* Make the world ask a server of ours; answering NULL: one that is silent. */
static void
use_server(struct world *w, struct server *s, bool answering)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);
	char text[32];

	memset(s, 0, sizeof(*s));
	s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(s->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(getsockname(s->fd, (struct sockaddr *)&a, &len), 0);
	if (answering)
		s->port = evdns_add_server_port_with_base(loop_base(w->loop), s->fd, 0, serve, s);
	snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(a.sin_port));
	ck_assert_int_eq(resolve_use_server(w->loop, text), 0);
}

static void
server_done(struct server *s)
{
	if (s->port)
		evdns_close_server_port(s->port); /* closes fd */
	else
		close(s->fd);
}

static struct end *
dial_name(struct world *w, const char *name, uint64_t timeout_ms)
{
	char text[64];

	snprintf(text, sizeof(text), "tcp://%s:%u", name, world_url(w->url).port);
	return world_dial_to(w, text, timeout_ms);
}

START_TEST(localhost_from_hosts)
{
	struct world *w = world_new(KIND_TCP4);
	struct end *d = dial_name(w, "localhost", 5000);

	UNTIL(w, d->ups || d->downs);
	ck_assert_msg(d->ups == 1, "%s", d->text);
	world_free(w);
}
END_TEST

START_TEST(addresses_in_order)
{
	struct world *w = world_new(KIND_TCP4);
	struct transport_identity id;
	struct server s;
	struct end *d;

	use_server(w, &s, true);
	d = dial_name(w, "two.test", 5000);
	UNTIL(w, d->ups || d->downs);
	ck_assert_msg(d->ups == 1, "%s", d->text);
	d->t->ops->identity(d->t, &id);
	ck_assert_str_eq(id.address, w->url);
	/* Nobody there at all: the last address is named. */
	world_listen_close(w);
	d = dial_name(w, "two.test", 5000);
	UNTIL(w, d->downs);
	ck_assert_int_eq(d->error, -ECONNREFUSED);
	ck_assert_str_eq(d->text, "127.0.0.1: connection refused");
	server_done(&s);
	world_free(w);
}
END_TEST

/* The first address swallows everything: the second gets its share of the deadline. */
START_TEST(a_dead_address_does_not_take_all)
{
	struct world *w = world_new(KIND_TCP4);
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK + 1) } };
	struct server s;
	struct end *d;
	int hole = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fill[8];

	a.sin_port = htons(world_url(w->url).port);
	ck_assert_int_eq(bind(hole, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(hole, 0), 0);
	for (int i = 0; i < 8; i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		ck_assert(connect(fill[i], (struct sockaddr *)&a, sizeof(a)) == 0 || errno == EINPROGRESS);
	}
	use_server(w, &s, true);
	d = dial_name(w, "two.test", 600);
	UNTIL(w, d->ups || d->downs);
	ck_assert_msg(d->ups == 1, "%s", d->text);
	for (int i = 0; i < 8; i++)
		close(fill[i]);
	close(hole);
	server_done(&s);
	world_free(w);
}
END_TEST

START_TEST(only_ipv6)
{
	struct world *w = world_new(KIND_TCP6);
	struct server s;
	struct end *d;

	use_server(w, &s, true);
	d = dial_name(w, "six.test", 5000);
	UNTIL(w, d->ups || d->downs);
	ck_assert_msg(d->ups == 1, "%s", d->text);
	server_done(&s);
	world_free(w);
}
END_TEST

START_TEST(no_such_name)
{
	struct world *w = world_new(KIND_TCP4);
	struct server s;
	struct end *d;

	use_server(w, &s, true);
	d = dial_name(w, "nobody.test", 5000);
	UNTIL(w, d->downs);
	ck_assert_int_eq(d->error, -ENXIO);
	ck_assert_str_eq(d->text, "no address for this name");
	server_done(&s);
	world_free(w);
}
END_TEST

START_TEST(silent_server)
{
	struct world *w = world_new(KIND_TCP4);
	uint64_t start = loop_now_ms(w->loop);
	struct server s;
	struct end *d;

	use_server(w, &s, false);
	d = dial_name(w, "two.test", 100);
	UNTIL(w, d->downs);
	ck_assert_int_eq(d->error, -ETIMEDOUT);
	/* When the resolver itself gives up, its text is another. */
	ck_assert_str_eq(d->text, "no answer from the name server in time");
	ck_assert_uint_ge(loop_now_ms(w->loop) - start, 100);
	server_done(&s);
	world_free(w);
}
END_TEST

/* Closed while asking, and the loop gone while evdns still has to notice. */
START_TEST(closed_while_asking)
{
	for (int settle = 0; settle < 2; settle++) {
		struct world *w = world_new(KIND_TCP4);
		struct server s;
		struct end *d, *hosts;

		use_server(w, &s, false);
		d = dial_name(w, "two.test", 5000);
		hosts = dial_name(w, "localhost", 5000); /* answered, not told yet */
		end_close(d, true);
		end_close(hosts, true);
		if (settle)
			world_settle(w);
		ck_assert_int_eq(d->ups + d->downs + hosts->ups + hosts->downs, 0);
		server_done(&s);
		world_free(w);
	}
}
END_TEST

START_TEST(numbers_are_not_asked_for)
{
	struct world *w = world_new(KIND_TCP4);
	struct server s;
	struct end *d, *a;

	use_server(w, &s, true);
	world_pair(w, &d, &a);
	ck_assert_int_eq(s.questions, 0);
	server_done(&s);
	world_free(w);
}
END_TEST

TCase *
resolve_tests(void)
{
	TCase *t = tcase_create("resolve");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, localhost_from_hosts);
	tcase_add_test(t, addresses_in_order);
	tcase_add_test(t, a_dead_address_does_not_take_all);
	tcase_add_test(t, only_ipv6);
	tcase_add_test(t, no_such_name);
	tcase_add_test(t, silent_server);
	tcase_add_test(t, closed_while_asking);
	tcase_add_test(t, numbers_are_not_asked_for);
	return t;
}
