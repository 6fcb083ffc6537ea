/* Coming up, or not. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "suite.h"

static bool
greet(struct world *w, struct end *e)
{
	(void)w;
	e->to_write = 100;
	end_pump(e);
	/* One that awaits its handshake writes when it is up. */
	ck_assert_uint_eq(e->out, e->t->awaits_up ? 0 : 100);
	return true;
}

/* on_up and on_readable insist that up is the first. */
START_TEST(up_before_anything)
{
	struct world *w = world_new(_i);
	struct end *d;

	w->accept_hook = greet;
	d = world_dial(w);
	UNTIL(w, d->in == 100);
	ck_assert_int_eq(d->ups, 1);
	ck_assert_int_eq(w->accepted[0].ups, kind_is_tls(_i));
	world_free(w);
}
END_TEST

START_TEST(refused)
{
	struct world *w = world_new(_i);
	struct end *d;

	world_listen_close(w);
	d = world_dial(w);
	UNTIL(w, d->downs);
	ck_assert_int_eq(d->ups, 0);
	ck_assert_int_eq(d->error, _i == KIND_UNIX ? -ENOENT : -ECONNREFUSED);
	ck_assert_str_eq(d->text, _i == KIND_UNIX ? "no such file or directory" : "connection refused");
	world_settle(w);
	ck_assert_int_eq(d->downs, 1);
	world_free(w);
}
END_TEST

/* A listening socket that nobody accepts from and that has no room; of SCTP one that nobody reads. */
static int
full_listener(int kind, const char *path)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const struct sockaddr *a = kind == KIND_UNIX ? (void *)&un : kind_is_v4(kind) ? (void *)&v4 : (void *)&v6;
	socklen_t len = kind == KIND_UNIX ? sizeof(un) : kind_is_v4(kind) ? sizeof(v4) : sizeof(v6);
	int fd = socket(a->sa_family, (kind_is_sctp(kind) ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, a, len), 0);
	if (!kind_is_sctp(kind))
		ck_assert_int_eq(listen(fd, 0), 0);
	return fd;
}

START_TEST(deadline)
{
	enum { N = 8, MS = 150 };
	struct world *w = world_new_silent(_i);
	uint64_t start, settled = 0;
	char path[64];
	int late = 0;

	snprintf(path, sizeof(path), "%s/s", w->folder);
	ck_assert_int_eq(world_listen(w, _i < KERNEL_KINDS ? full_listener(_i, path) : -1), 0);
	w->tl->ops->listen_pause(w->tl, true);
	start = loop_now_ms(w->loop);
	for (int i = 0; i < N; i++)
		world_dial_to(w, w->url, MS);
	while (settled < N) {
		loop_step(w->loop, true);
		settled = 0;
		for (int i = 0; i < N; i++)
			settled += (uint64_t)(w->dialled[i].ups + w->dialled[i].downs);
	}
	for (int i = 0; i < N; i++) {
		struct end *d = &w->dialled[i];

		if (!d->downs)
			continue;
		late++;
		ck_assert_int_eq(d->ups, 0);
		ck_assert_int_eq(d->error, -ETIMEDOUT);
		/* One that found room in the backlog waits for the handshake. */
		if (!kind_is_tls(_i) || strcmp(d->text, "TLS handshake timed out") != 0)
			ck_assert_str_eq(d->text, "connection timed out");
	}
	ck_assert_int_gt(late, 0);
	ck_assert_uint_ge(loop_now_ms(w->loop) - start, MS);
	ck_assert_uint_lt(loop_now_ms(w->loop) - start, 30000); /* the kernel gives up after two minutes */
	unlink(path); /* a passed socket's file is not the listener's to remove */
	world_free(w);
}
END_TEST

START_TEST(identity)
{
	struct world *w = world_new(_i);
	struct transport_identity id, far;
	struct end *d, *a;

	world_pair(w, &d, &a);
	d->t->ops->identity(d->t, &id);
	a->t->ops->identity(a->t, &far);
	if (_i == KIND_UNIX) {
		ck_assert_str_eq(id.address, "unix");
		ck_assert(id.is_local && far.is_local);
		ck_assert_uint_eq(far.uid, getuid());
		ck_assert_uint_eq(far.gid, getgid());
		ck_assert_uint_eq(far.pid, (unsigned)getpid());
		ck_assert(!far.has_ip);
	} else if (_i == KIND_MEM) {
		ck_assert_str_eq(id.address, w->url);
		ck_assert(!far.is_local && !far.has_ip);
	} else {
		static const uint8_t v4[4] = { 127, 0, 0, 1 }, v6[16] = { [15] = 1 };
		const char *host = strstr(far.address, "://");

		ck_assert_str_eq(id.address, w->url);
		ck_assert(far.has_ip && !far.is_local);
		ck_assert_int_eq(far.v6, !kind_is_v4(_i));
		ck_assert_mem_eq(far.ip, far.v6 ? v6 : v4, far.v6 ? 16 : 4);
		ck_assert_ptr_nonnull(host);
		ck_assert_int_eq(strncmp(far.address, w->url, (size_t)(host - far.address) + 3), 0);
		ck_assert_int_eq(strncmp(host + 3, far.v6 ? "[::1]:" : "127.0.0.1:", far.v6 ? 6 : 10), 0);
		ck_assert_int_eq(far.tls.has_certificate, kind_is_tls(_i));
		ck_assert_str_ne(far.address, id.address);
	}
	world_free(w);
}
END_TEST

START_TEST(port_is_read_back)
{
	struct world *w = world_new(_i);

	if (_i != KIND_UNIX)
		ck_assert_uint_ne(world_url(w->url).port, 0);
	else
		ck_assert_int_eq(strncmp(w->url, "unix:///tmp/transport.", 22), 0);
	world_free(w);
}
END_TEST

/* Closing before it is up: not one call-back. */
START_TEST(closed_while_connecting)
{
	struct world *w = world_new(_i);
	struct end *d = world_dial(w);

	end_close(d, _i & 1);
	world_settle(w);
	ck_assert_int_eq(d->ups + d->downs + d->readables + d->writables, 0);
	world_free(w);
}
END_TEST

static bool
close_in(struct end *e, char what)
{
	if (what != *(const char *)e->hook_arg)
		return false;
	end_close(e, false);
	return true;
}

/* Each end closes itself inside each of its call-backs, and hears no more. */
START_TEST(closed_in_a_call_back)
{
	static char at[] = "urwd";

	for (char *what = at; *what; what++) {
		struct world *w = world_new(_i);
		struct end *d = world_dial(w), *a = &w->accepted[0];
		int before;

		d->hook = close_in;
		d->hook_arg = what;
		d->to_write = *what == 'w' ? 8 << 20 : 0;
		UNTIL(w, w->n_accepted == 1);
		a->to_write = 10;
		end_pump(a);
		if (*what == 'd') {
			end_close(a, true);
			w->n_accepted = 0;
		}
		UNTIL(w, !d->t);
		before = d->ups + d->readables + d->writables + d->downs;
		world_settle(w);
		ck_assert_int_eq(d->ups + d->readables + d->writables + d->downs, before);
		world_free(w);
	}
}
END_TEST

START_TEST(path_too_long)
{
	struct world *w = world_new_silent(KIND_UNIX);
	char text[200] = "unix:///tmp/";
	struct names_url url;
	struct transport *t = NULL;

	memset(text + strlen(text), 'x', 120);
	url = world_url(text);
	ck_assert_int_eq(transport_for(NAMES_UNIX)->connect(w->loop, &url, NULL, 1000, NULL, NULL, &t), -ENAMETOOLONG);
	ck_assert_ptr_null(t);
	memcpy(w->url, text, TRANSPORT_TEXT_MAX);
	ck_assert_int_eq(world_listen(w, -1), -ENAMETOOLONG);
	world_free(w);
}
END_TEST

TCase *
connect_tests(void)
{
	TCase *t = tcase_create("connect");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, up_before_anything, 0, KINDS);
	tcase_add_loop_test(t, refused, 0, KINDS);
	tcase_add_loop_test(t, deadline, 0, KINDS);
	tcase_add_loop_test(t, identity, 0, KINDS);
	tcase_add_loop_test(t, port_is_read_back, 0, KINDS);
	tcase_add_loop_test(t, closed_while_connecting, 0, KINDS);
	tcase_add_loop_test(t, closed_in_a_call_back, 0, KINDS);
	tcase_add_test(t, path_too_long);
	return t;
}
