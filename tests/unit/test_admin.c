/* admin: the tool's own session, against a daemon played by the test. */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../tools/admin.h"
#include "admin.pb-c.h"
#include "frame.h"

static char folder[] = "/tmp/cnXXXXXX";
static char path[64];
static pid_t daemon_pid;

static void
say(int fd, const struct wire_frame *f)
{
	uint8_t buf[4096];
	size_t len = wire_pack(f, buf);

	if (write(fd, buf, len) != (ssize_t)len)
		_exit(1);
}

/* The next frame of the tool, of this kind or the played daemon fails. */
static struct wire_frame
expect(int fd, enum wire_kind kind)
{
	static uint8_t buf[8192];
	static size_t have;
	struct wire_frame w;
	struct frame f;
	ssize_t n;

	while (frame_decode(buf, have, sizeof(buf), &f) != 1) {
		n = read(fd, buf + have, sizeof(buf) - have);
		if (n <= 0)
			_exit(2);
		have += (size_t)n;
	}
	if (wire_unpack(f.data, f.len, &w) < 0 || w.kind != kind)
		_exit(3);
	memmove(buf, buf + f.used, have -= f.used);
	return w;
}

static void
greet(int fd)
{
	struct wire_frame f = expect(fd, WIRE_HELLO);

	if (f.u.hello.role != WIRE_ROLE_CLIENT || !wire_bytes_equal(f.u.hello.name, wire_string("connectctl")))
		_exit(4);
	f = (struct wire_frame){ .kind = WIRE_HELLO, .u.hello = { .magic = WIRE_MAGIC, .version_min = 1, .version_max = 3,
		.role = WIRE_ROLE_DAEMON, .name = wire_string("paris") } };
	say(fd, &f);
}

/* A page of two queues, `first` and the next letter. */
static void
page(int fd, uint32_t id, char first, bool last)
{
	uint8_t records[256];
	size_t len = 0;
	struct wire_frame f = { .kind = WIRE_ADMIN_RESPONSE, .u.admin_response = { .id = id, .last = last } };

	for (char c = first; c < first + 2; c++) {
		Connectd__V1__Queue q;
		char name[] = { c, '\0' };

		connectd__v1__queue__init(&q);
		q.name = name;
		len += frame_header(records + len, (uint32_t)connectd__v1__queue__get_packed_size(&q));
		len += connectd__v1__queue__pack(&q, records + len);
	}
	f.u.admin_response.records = wire_bytes(records, len);
	say(fd, &f);
}

/* Fork a daemon that treats its one connection so. */
static void
play(void (*part)(int fd))
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), c;

	strcpy(addr.sun_path, path);
	unlink(path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	daemon_pid = fork();
	if (daemon_pid == 0) {
		c = accept(fd, NULL, NULL);
		part(c);
		_exit(0);
	}
	close(fd);
}

/* The played daemon saw what it expected. */
static void
played(void)
{
	int status;

	ck_assert_int_eq(waitpid(daemon_pid, &status, 0), daemon_pid);
	ck_assert_int_eq(status, 0);
}

static int
collect(const ProtobufCMessage *m, void *userdata)
{
	strcat(userdata, ((const Connectd__V1__Queue *)m)->name);
	return 0;
}

static void
pages(int fd)
{
	struct wire_frame f, ping = { .kind = WIRE_PING, .u.ping = { .token = 77 } };

	greet(fd);
	f = expect(fd, WIRE_ADMIN_REQUEST);
	if (f.u.admin_request.verb != WIRE_ADMIN_QUEUES || !wire_bytes_equal(f.u.admin_request.name, wire_string("or")))
		_exit(5);
	page(fd, f.u.admin_request.id + 1, 'x', true); /* of no question of ours */
	page(fd, f.u.admin_request.id, 'a', false);
	say(fd, &ping);
	if (expect(fd, WIRE_PONG).u.ping.token != 77)
		_exit(6);
	page(fd, f.u.admin_request.id, 'c', true);
}

START_TEST(pages_are_joined)
{
	struct admin *a;
	char names[16] = "";

	play(pages);
	ck_assert_int_eq(admin_open(path, &a), 0);
	ck_assert_str_eq(admin_node(a), "paris");
	ck_assert_int_gt(admin_pid(a), 0);
	ck_assert_int_eq(admin_ask(a, WIRE_ADMIN_QUEUES, "or", 0, &connectd__v1__queue__descriptor, collect, names), 0);
	ck_assert_str_eq(names, "abcd");
	admin_close(a);
	played();
}
END_TEST

static void
refuse(int fd)
{
	struct wire_frame f;

	greet(fd);
	f = expect(fd, WIRE_ADMIN_REQUEST);
	f = (struct wire_frame){ .kind = WIRE_ADMIN_RESPONSE, .u.admin_response = { .id = f.u.admin_request.id, .last = true,
		.error = EACCES, .reason = wire_string("you may not") } };
	say(fd, &f);
}

START_TEST(refusal_is_told)
{
	struct admin *a;
	char names[16] = "";

	play(refuse);
	ck_assert_int_eq(admin_open(path, &a), 0);
	ck_assert_int_eq(admin_ask(a, WIRE_ADMIN_QUEUES, "", 0, &connectd__v1__queue__descriptor, collect, names), -EACCES);
	ck_assert_str_eq(admin_error(a), "you may not");
	admin_close(a);
	played();
}
END_TEST

static void
talk_http(int fd)
{
	expect(fd, WIRE_HELLO);
	if (write(fd, "HTTP/1.1 400 Bad Request\r\n", 26) != 26)
		_exit(1);
}

static void
hang_up(int fd)
{
	struct wire_frame f = { .kind = WIRE_CLOSE, .u.close = { .code = WIRE_CLOSE_LIMIT, .reason = wire_string("full") } };

	expect(fd, WIRE_HELLO);
	say(fd, &f);
}

static void
send_nonsense(int fd)
{
	struct wire_frame f;

	greet(fd);
	f = expect(fd, WIRE_ADMIN_REQUEST);
	f = (struct wire_frame){ .kind = WIRE_ADMIN_RESPONSE, .u.admin_response = { .id = f.u.admin_request.id, .last = true,
		.records = wire_string("\x7fnonsense") } };
	say(fd, &f);
}

START_TEST(nonsense_is_refused)
{
	struct admin *a;

	play(talk_http);
	ck_assert_int_lt(admin_open(path, &a), 0);
	admin_close(a);
	played();
	play(hang_up);
	ck_assert_int_eq(admin_open(path, &a), -ECONNRESET);
	ck_assert_ptr_nonnull(strstr(admin_error(a), "full"));
	admin_close(a);
	played();
	play(send_nonsense);
	ck_assert_int_eq(admin_open(path, &a), 0);
	ck_assert_int_eq(admin_ask(a, WIRE_ADMIN_QUEUES, "", 0, &connectd__v1__queue__descriptor, collect, NULL), -EPROTO);
	admin_close(a);
	played();
}
END_TEST

START_TEST(nobody_there)
{
	struct admin *a;
	char longer[200];
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	unlink(path);
	ck_assert_int_eq(admin_open(path, &a), -ENOENT);
	ck_assert_ptr_nonnull(strstr(admin_error(a), "does not answer"));
	admin_close(a);
	/* A socket whose daemon is gone. */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(addr.sun_path, path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	ck_assert_int_eq(admin_open(path, &a), -ECONNREFUSED);
	admin_close(a);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_int_eq(admin_open(longer, &a), -ENAMETOOLONG);
	admin_close(a);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("admin");
	TCase *t = tcase_create("admin");
	SRunner *sr;
	int failed;

	if (mkdtemp(folder) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/s", folder);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, pages_are_joined);
	tcase_add_test(t, refusal_is_told);
	tcase_add_test(t, nonsense_is_refused);
	tcase_add_test(t, nobody_there);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	unlink(path);
	rmdir(folder);
	return failed != 0;
}
