/* libconnectd sessions: greeting, coming back, and bytes that make no sense. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_daemon.h"

static struct fake d;

static void
setup(void)
{
	fake_start(&d);
}

static void
teardown(void)
{
	fake_stop(&d);
}

START_TEST(hello)
{
	struct connectd_options o = { .size = sizeof(o), .application = "shop" };
	struct connectd *c = fake_open(&d, &o);
	struct wire_hello h;
	uint64_t nonce;

	ck_assert(!connectd_is_up(c));
	ck_assert_str_eq(connectd_node(c), "");
	h = fake_greet(&d);
	ck_assert_uint_eq(h.magic, WIRE_MAGIC);
	ck_assert_uint_eq(h.version_min, 1);
	ck_assert_uint_eq(h.version_max, 1);
	ck_assert_uint_eq(h.role, WIRE_ROLE_CLIENT);
	ck_assert(wire_bytes_equal(h.name, wire_string("shop")));
	ck_assert_uint_eq(h.idle_timeout_ms, 0);
	ck_assert_uint_gt(h.nonce, 0);
	ck_assert_uint_eq(h.limits.dictionary, WIRE_DICTIONARY);
	ck_assert_str_eq(connectd_node(c), "paris");
	nonce = h.nonce;

	/* A ping is answered with its token. */
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_PING, .u.ping = { 99 } });
	ck_assert_uint_eq(fake_expect(&d, WIRE_PONG).u.ping.token, 99);

	/* The daemon goes and comes back: the same descriptor, a higher nonce. */
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_DRAIN });
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_CLOSE, .u.close = { WIRE_CLOSE_SHUTDOWN, wire_string("stop") } });
	fake_await_up(&d, false);
	ck_assert_ptr_nonnull(strstr(connectd_last_error(c), "stop"));
	ck_assert_uint_gt(fake_greet(&d).nonce, nonce);

	connectd_close(c);
	ck_assert_uint_eq(fake_expect(&d, WIRE_CLOSE).u.close.code, WIRE_CLOSE_NORMAL);
	fake_expect_eof(&d);
}
END_TEST

START_TEST(open_fails_and_says_why)
{
	struct connectd_options o = { .size = sizeof(o), .socket = d.path, .timeout_ms = 30 };
	char path[200], application[200];
	struct connectd *c;

	/* Somebody listens and says nothing. */
	ck_assert_int_eq(connectd_open(&o, &c), -ETIMEDOUT);
	ck_assert_int_eq(connectd_process(c), -ENOTCONN);
	connectd_close(c);

	fake_down(&d);
	ck_assert_int_eq(connectd_open(&o, &c), -ENOENT);
	ck_assert_ptr_nonnull(strstr(connectd_last_error(c), d.path));
	connectd_close(c);

	fake_listen(&d);
	close(d.listener);
	ck_assert_int_eq(connectd_open(&o, &c), -ECONNREFUSED);
	connectd_close(c);

	memset(path, 'p', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	o.socket = path;
	ck_assert_int_eq(connectd_open(&o, &c), -ENAMETOOLONG);
	connectd_close(c);

	memset(application, 'a', sizeof(application));
	application[sizeof(application) - 1] = '\0';
	o.application = application;
	ck_assert_int_eq(connectd_open(&o, &c), -ENAMETOOLONG);
	connectd_close(c);
	connectd_close(NULL);
}
END_TEST

/* Open against a child that answers every connection with these bytes. */
static int
open_against(const void *bytes, size_t len, char *error, size_t room)
{
	struct connectd_options o = { .size = sizeof(o), .socket = d.path };
	struct connectd *c;
	pid_t child = fork();
	int r;

	if (child == 0) {
		int fd;

		alarm(20);
		do
			fd = accept(d.listener, NULL, NULL);
		while (fd < 0); /* the listener does not block, and the parent comes at once */
		if (send(fd, bytes, len, MSG_NOSIGNAL) < 0)
			_exit(1);
		while (read(fd, error, 1) > 0)
			;
		_exit(0);
	}
	r = connectd_open(&o, &c);
	strncpy(error, connectd_last_error(c), room - 1);
	connectd_close(c);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	return r;
}

static size_t
pack(uint8_t *buf, const struct wire_frame *f)
{
	return wire_pack(f, buf);
}

START_TEST(open_against_strangers)
{
	struct wire_frame good = { .kind = WIRE_HELLO, .u.hello = { .magic = WIRE_MAGIC, .version_min = 1, .version_max = 3,
	    .role = WIRE_ROLE_DAEMON, .name = wire_string("paris"), .limits = { 1000, 8, 8, 8, 100000 } } };
	static const char http[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n";
	struct wire_frame f;
	uint8_t buf[512];
	char error[300] = "";

	ck_assert_int_eq(open_against(buf, pack(buf, &good), error, sizeof(error)), 0);
	f = good;
	f.u.hello.magic = 1;
	ck_assert_int_eq(open_against(buf, pack(buf, &f), error, sizeof(error)), -EPROTO);
	f = good;
	f.u.hello.role = WIRE_ROLE_PEER;
	ck_assert_int_eq(open_against(buf, pack(buf, &f), error, sizeof(error)), -EPROTO);
	f = good;
	f.u.hello.version_min = 2;
	ck_assert_int_eq(open_against(buf, pack(buf, &f), error, sizeof(error)), -EPROTO);
	ck_assert_ptr_nonnull(strstr(error, "protocol 2 to 3"));
	f = (struct wire_frame){ .kind = WIRE_CLOSE, .u.close = { WIRE_CLOSE_DENIED, wire_string("not you") } };
	ck_assert_int_eq(open_against(buf, pack(buf, &f), error, sizeof(error)), -EACCES);
	ck_assert_ptr_nonnull(strstr(error, "not you"));
	f.u.close.code = WIRE_CLOSE_LIMIT;
	ck_assert_int_eq(open_against(buf, pack(buf, &f), error, sizeof(error)), -EUSERS);
	f = (struct wire_frame){ .kind = WIRE_PING };
	ck_assert_int_eq(open_against(buf, pack(buf, &f), error, sizeof(error)), -EPROTO);
	ck_assert_int_eq(open_against(http, sizeof(http), error, sizeof(error)), -EPROTO);
	ck_assert_int_eq(open_against("\x80\x40", 2, error, sizeof(error)), -EPROTO); /* 8 KiB of greeting */
}
END_TEST

START_TEST(garbage_ends_the_session_not_the_program)
{
	static const struct { const char *bytes; size_t len; } bad[] = {
		{ "\x80\x00", 2 },                       /* no length */
		{ "\xff\xff\xff\x7f", 4 },               /* far too long */
		{ "\x03\xff\xff\xff", 4 },               /* no frame */
		{ "\x04\xa2\x03\x01\x00", 5 },           /* field 52: not known, and must be */
		{ "\x02\x6a\x00", 3 },                   /* a Transfer, to a program */
		{ "\x02\x62\x00", 3 },                   /* Settled, likewise */
		{ "\x02\x5a\x00", 3 },                   /* FlowState of no flow */
		{ "\x06\xfa\x01\x03\x08\x01\x10", 7 },   /* Define cut short */
		{ "\x07\xfa\x01\x04\x08\x01\x10\x00", 8 }, /* Define of id 0 */
		{ "\x02\x0a\x00", 3 },                   /* a second Hello */
	};
	struct connectd *c;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		c = fake_open(&d, NULL);
		fake_greet(&d);
		fake_send_bytes(&d, bad[i].bytes, bad[i].len);
		fake_await_up(&d, false);
		ck_assert_str_ne(connectd_last_error(c), "");
		ck_assert_uint_ne(fake_expect(&d, WIRE_CLOSE).u.close.code, WIRE_CLOSE_NORMAL);
		fake_expect_eof(&d);
		fake_greet(&d); /* and starts over */
		connectd_close(c);
	}
	c = fake_open(&d, NULL);
	/* A frame from field 100 up may be one of a later version. */
	fake_greet(&d);
	fake_send_bytes(&d, "\x04\xa2\x06\x01\x00", 5);
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_PING, .u.ping = { 1 } });
	fake_expect(&d, WIRE_PONG);
	connectd_close(c);
}
END_TEST

/* Any byte at any place: sessions may end, nothing else may. */
START_TEST(random_bytes)
{
	struct connectd *c = fake_open(&d, NULL);
	uint64_t state = 7;

	fake_greet(&d);
	for (int i = 0; i < 300; i++) {
		uint8_t bytes[64];

		for (size_t n = 0; n < sizeof(bytes); n++) {
			state = state * 6364136223846793005u + 1442695040888963407u;
			bytes[n] = (uint8_t)(state >> 56);
		}
		bytes[0] = (uint8_t)(state >> 40) % 63 + 1;
		bytes[1] = (uint8_t)(((state >> 32) % 42) << 3 | 2);
		bytes[2] = bytes[0] - 2;
		if (send(d.fd, bytes, bytes[0] + 1u, MSG_NOSIGNAL) > 0)
			fake_settle(&d);
		if (!connectd_is_up(c)) {
			connectd_close(c); /* a new one does not back off */
			fake_drop_waiting(&d); /* it may have come back by itself */
			c = fake_open(&d, NULL);
			fake_greet(&d);
		}
	}
	connectd_close(c);
}
END_TEST

START_TEST(no_reconnect)
{
	struct connectd_options o = { .size = sizeof(o), .no_reconnect = 1 };
	struct connectd *c = fake_open(&d, &o);
	struct connectd_msg *m = connectd_msg_new("orders");
	int r;

	fake_greet(&d);
	fake_down(&d);
	while ((r = connectd_wait(c, 1000)) > 0)
		;
	ck_assert_int_eq(r, -ENOTCONN);
	ck_assert_int_eq(connectd_process(c), -ENOTCONN);
	ck_assert_int_eq(connectd_send(c, m, 0, NULL, NULL), -ENOTCONN);
	connectd_msg_unref(m);
	connectd_close(c);
}
END_TEST

/* The descriptor wakes by itself for the next attempt. */
START_TEST(comes_back_by_its_timer)
{
	struct connectd *c = fake_open(&d, NULL);
	int fd = connectd_get_fd(c);

	fake_greet(&d);
	fake_down(&d);
	for (int i = 0; i < 6; i++) /* a few vain attempts */
		ck_assert_int_eq(connectd_wait(c, 5000), 1);
	fake_listen(&d);
	fake_greet(&d);
	ck_assert_int_eq(connectd_get_fd(c), fd);
	connectd_close(c);
}
END_TEST

START_TEST(child_after_fork)
{
	struct connectd *c = fake_open(&d, NULL);
	int status;
	pid_t child;

	fake_greet(&d);
	child = fork();
	if (child == 0) {
		connectd_close(c);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	/* The parent's session and its descriptor live on. */
	fake_expect_silence(&d);
	fake_send(&d, &(struct wire_frame){ .kind = WIRE_PING, .u.ping = { 5 } });
	ck_assert_int_eq(connectd_wait(c, 1000), 1);
	fake_expect(&d, WIRE_PONG);
	connectd_close(c);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_session");
	TCase *t = tcase_create("lib_session");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, hello);
	tcase_add_test(t, open_fails_and_says_why);
	tcase_add_test(t, open_against_strangers);
	tcase_add_test(t, garbage_ends_the_session_not_the_program);
	tcase_add_test(t, random_bytes);
	tcase_add_test(t, no_reconnect);
	tcase_add_test(t, comes_back_by_its_timer);
	tcase_add_test(t, child_after_fork);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
