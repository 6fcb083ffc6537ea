/* Listening: limits, sockets passed in, leftovers of a crash. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "suite.h"

START_TEST(pause_and_resume)
{
	struct world *w = world_new(_i);
	struct end *d;

	w->tl->ops->listen_pause(w->tl, true);
	d = world_dial(w);
	world_settle(w);
	ck_assert_uint_eq(w->n_accepted, 0);
	w->tl->ops->listen_pause(w->tl, false);
	UNTIL(w, w->n_accepted == 1 && d->ups == 1);
	world_free(w);
}
END_TEST

static bool
pause_at_once(struct world *w, struct end *e)
{
	(void)e;
	w->tl->ops->listen_pause(w->tl, true);
	return true;
}

static bool
close_at_once(struct world *w, struct end *e)
{
	end_close(e, false);
	world_listen_close(w);
	return true;
}

/* Several wait at once; the first one's call-back pauses, or closes all there is. */
START_TEST(pause_or_close_in_accepted)
{
	for (int i = 0; i < 2; i++) {
		struct world *w = world_new(_i);

		w->accept_hook = i ? close_at_once : pause_at_once;
		for (int j = 0; j < 3; j++)
			world_dial(w);
		UNTIL(w, w->n_accepted == 1);
		world_settle(w);
		ck_assert_uint_eq(w->n_accepted, 1);
		world_free(w);
	}
}
END_TEST

START_TEST(descriptors_run_out)
{
	struct world *w = world_new(_i);
	struct rlimit before, none;
	struct end *d = world_dial(w);
	int next = dup(0);

	ck_assert_int_ge(next, 0);
	close(next);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = (rlim_t)next;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	w->pause_on_failure = true;
	/* Whoever comes by a socket that is there needs none of its own. */
	if (kind_is_sctp(_i)) {
		UNTIL(w, w->n_accepted == 1 && d->ups == 1);
		ck_assert_int_eq(w->failures, 0);
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
		world_free(w);
		return;
	}
	UNTIL(w, w->failures);
	ck_assert_int_eq(w->failure, -EMFILE);
	world_settle(w);
	ck_assert_int_eq(w->failures, 1);
	ck_assert_uint_eq(w->n_accepted, 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	w->tl->ops->listen_pause(w->tl, false);
	UNTIL(w, w->n_accepted == 1 && d->ups == 1);
	world_free(w);
}
END_TEST

START_TEST(address_in_use)
{
	struct world *w = world_new(_i);
	struct transport_listener *first = w->tl;

	ck_assert_int_eq(world_listen(w, -1), -EADDRINUSE);
	ck_assert_ptr_eq(w->tl, first);
	world_free(w);
}
END_TEST

static int
bound_as(int type, int family, const void *address, socklen_t len, bool listening)
{
	int fd = socket(family, type | SOCK_CLOEXEC, 0), off = 0;

	ck_assert_int_ge(fd, 0);
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	ck_assert_int_eq(bind(fd, address, len), 0);
	if (listening)
		ck_assert_int_eq(listen(fd, 10), 0);
	return fd;
}

static int
bound(int family, const void *address, socklen_t len, bool listening)
{
	return bound_as(SOCK_STREAM, family, address, len, listening);
}

/* For kinds whose names a number can stand for: of TCP, of SCTP, of DTLS. */
static const struct {
	int v4, v6, type;
	const char *scheme;
} ip_kinds[] = { { KIND_TCP4, KIND_TCP6, SOCK_STREAM, "tcp" }, { KIND_SCTP4, KIND_SCTP6, SOCK_DGRAM, "sctp" },
	{ KIND_DTLS4, KIND_DTLS6, SOCK_DGRAM, "dtls-sctp" } };
#define IP_KINDS ((int)(sizeof(ip_kinds) / sizeof(ip_kinds[0])))

/* systemd passes dual-stack sockets: who comes through one with IPv4 is shown as IPv4. */
START_TEST(passed_in_dual)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	struct world *w = world_new_silent(ip_kinds[_i].v4);
	int type = ip_kinds[_i].type;
	struct transport_identity id;
	char text[64];

	ck_assert_int_eq(world_listen(w, bound_as(type, AF_INET6, &any, sizeof(any), type == SOCK_STREAM)), 0);
	snprintf(text, sizeof(text), "%s://127.0.0.1:%u", ip_kinds[_i].scheme, world_url(w->url).port);
	world_dial_to(w, text, 1000);
	UNTIL(w, w->n_accepted == 1);
	w->accepted[0].t->ops->identity(w->accepted[0].t, &id);
	ck_assert(id.has_ip && !id.v6);
	ck_assert_uint_eq(id.ip[0], 127);
	snprintf(text, sizeof(text), "%s://127.0.0.1:", ip_kinds[_i].scheme);
	ck_assert_int_eq(strncmp(id.address, text, strlen(text)), 0);
	world_free(w);
}
END_TEST

static struct sockaddr_un
unix_address(const struct world *w)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/s", w->folder);
	return a;
}

START_TEST(passed_in_unix)
{
	struct world *w = world_new_silent(KIND_UNIX);
	struct sockaddr_un a = unix_address(w);
	struct end *d, *b;

	ck_assert_int_eq(world_listen(w, bound(AF_UNIX, &a, sizeof(a), true)), 0);
	world_pair(w, &d, &b);
	world_listen_close(w);
	/* Its file is systemd's. */
	ck_assert_int_eq(unlink(a.sun_path), 0);
	world_free(w);
}
END_TEST

/* What is no listening socket of the kind is refused, and stays the caller's. */
START_TEST(passed_in_wrong)
{
	struct world *w = world_new_silent(_i);
	struct sockaddr_in lo = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct sockaddr_un un = unix_address(w);
	bool is_unix = _i == KIND_UNIX, is_sctp = kind_is_sctp(_i);
	int other = is_unix ? bound(AF_INET, &lo, sizeof(lo), true) : bound(AF_UNIX, &un, sizeof(un), true);
	int deaf, file = open("/dev/null", O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(world_listen(w, other), -EINVAL);
	ck_assert_int_eq(world_listen(w, file), -ENOTSOCK);
	unlink(un.sun_path);
	deaf = is_unix ? bound(AF_UNIX, &un, sizeof(un), false) :
	    is_sctp    ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) :
	                 bound(AF_INET, &lo, sizeof(lo), false);
	ck_assert_int_eq(world_listen(w, deaf), -EINVAL);
	ck_assert_int_eq(close(other) + close(deaf) + close(file), 0);
	unlink(un.sun_path);
	world_free(w);
}
END_TEST

/* ----------------------------------------------------------- unix sockets */

START_TEST(stale_file_is_replaced)
{
	struct world *w = world_new_silent(KIND_UNIX);
	struct sockaddr_un a = unix_address(w);
	struct end *d, *b;

	close(bound(AF_UNIX, &a, sizeof(a), true));
	ck_assert_int_eq(world_listen(w, -1), 0);
	world_pair(w, &d, &b);
	world_listen_close(w);
	ck_assert_int_lt(access(a.sun_path, F_OK), 0);
	world_free(w);
}
END_TEST

START_TEST(other_files_are_kept)
{
	struct world *w = world_new_silent(KIND_UNIX);
	struct sockaddr_un a = unix_address(w);

	close(open(a.sun_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	ck_assert_int_eq(world_listen(w, -1), -EADDRINUSE);
	ck_assert_int_eq(unlink(a.sun_path), 0);
	/* Nor is a link followed to somebody's socket. */
	ck_assert_int_eq(symlink("/nonexistent", a.sun_path), 0);
	ck_assert_int_eq(world_listen(w, -1), -EADDRINUSE);
	ck_assert_int_eq(unlink(a.sun_path), 0);
	world_free(w);
}
END_TEST

/* A probe of a live one whose backlog is full must not take it for dead. */
START_TEST(live_file_is_kept)
{
	struct world *w = world_new(KIND_UNIX), *v = world_new_silent(KIND_UNIX);

	memcpy(v->url, w->url, sizeof(v->url));
	ck_assert_int_eq(world_listen(v, -1), -EADDRINUSE);
	world_free(v);
	UNTIL(w, w->n_accepted == 1); /* the probe */
	world_free(w);
}
END_TEST

START_TEST(successor_keeps_its_file)
{
	struct world *w = world_new(KIND_UNIX), *v;
	struct sockaddr_un a = unix_address(w);

	/* The file goes and another listener takes the path, as at a reload. */
	ck_assert_int_eq(unlink(a.sun_path), 0);
	v = world_new_silent(KIND_UNIX);
	memcpy(v->url, w->url, sizeof(v->url));
	ck_assert_int_eq(world_listen(v, -1), 0);
	world_listen_close(w);
	ck_assert_int_eq(access(a.sun_path, F_OK), 0);
	world_free(v);
	world_free(w);
}
END_TEST

START_TEST(nobody_else_may_connect_yet)
{
	mode_t before = umask(0);
	struct world *w = world_new(KIND_UNIX);
	struct sockaddr_un a = unix_address(w);
	struct stat st;

	umask(before);
	ck_assert_int_eq(stat(a.sun_path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	world_free(w);
}
END_TEST

/* -------------------------------------------------------------- tcp, sctp */

START_TEST(both_families_on_one_port)
{
	struct world *w = world_new_silent(ip_kinds[_i].v6), *v = world_new_silent(ip_kinds[_i].v4);

	snprintf(w->url, sizeof(w->url), "%s://[::]:0", ip_kinds[_i].scheme);
	ck_assert_int_eq(world_listen(w, -1), 0);
	snprintf(v->url, sizeof(v->url), "%s://0.0.0.0:%u", ip_kinds[_i].scheme, world_url(w->url).port);
	ck_assert_int_eq(world_listen(v, -1), 0);
	world_free(v);
	world_free(w);
}
END_TEST

START_TEST(names_are_not_listened_on)
{
	struct world *w = world_new_silent(ip_kinds[_i].v4);

	snprintf(w->url, sizeof(w->url), "%s://localhost:0", ip_kinds[_i].scheme);
	ck_assert_int_eq(world_listen(w, -1), -EINVAL);
	world_free(w);
}
END_TEST

TCase *
listen_tests(void)
{
	TCase *t = tcase_create("listen");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, pause_and_resume, 0, KINDS);
	tcase_add_loop_test(t, pause_or_close_in_accepted, 0, KINDS);
	tcase_add_loop_test(t, descriptors_run_out, 0, KERNEL_KINDS);
	tcase_add_loop_test(t, address_in_use, 0, KINDS);
	tcase_add_loop_test(t, passed_in_dual, 0, IP_KINDS);
	tcase_add_test(t, passed_in_unix);
	tcase_add_loop_test(t, passed_in_wrong, 0, KIND_TCP6);
	tcase_add_loop_test(t, passed_in_wrong, KIND_SCTP4, KIND_SCTP6);
	tcase_add_loop_test(t, passed_in_wrong, KIND_DTLS4, KIND_DTLS6);
	tcase_add_test(t, stale_file_is_replaced);
	tcase_add_test(t, other_files_are_kept);
	tcase_add_test(t, live_file_is_kept);
	tcase_add_test(t, successor_keeps_its_file);
	tcase_add_test(t, nobody_else_may_connect_yet);
	tcase_add_loop_test(t, both_families_on_one_port, 0, IP_KINDS);
	tcase_add_loop_test(t, names_are_not_listened_on, 0, IP_KINDS);
	return t;
}
