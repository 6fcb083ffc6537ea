#include "fake_daemon.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "frame.h"

#define PATIENCE_MS 5000

void
fake_listen(struct fake *d)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	memcpy(sun.sun_path, d->path, strlen(d->path));
	d->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_ge(d->listener, 0);
	ck_assert_int_eq(bind(d->listener, (struct sockaddr *)&sun, sizeof(sun)), 0);
	ck_assert_int_eq(listen(d->listener, 8), 0);
}

void
fake_start(struct fake *d)
{
	memset(d, 0, sizeof(*d));
	strcpy(d->dir, "/tmp/connectd-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(d->dir));
	snprintf(d->path, sizeof(d->path), "%s/s", d->dir);
	d->listener = d->fd = -1;
	d->boot = FAKE_BOOT;
	d->limits = (struct wire_limits){ 16 << 20, 64, 64, 1024, 8 << 20 };
	fake_listen(d);
}

void
fake_hang_up(struct fake *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	d->in_len = d->used = 0;
}

void
fake_down(struct fake *d)
{
	fake_hang_up(d);
	if (d->listener >= 0)
		close(d->listener);
	d->listener = -1;
	unlink(d->path);
}

void
fake_stop(struct fake *d)
{
	fake_down(d);
	ck_assert_int_eq(rmdir(d->dir), 0);
}

struct connectd *
fake_open(struct fake *d, struct connectd_options *opt)
{
	struct connectd_options o = { .size = sizeof(o) };

	if (opt != NULL)
		o = *opt;
	o.socket = d->path;
	o.keep_trying = 1;
	ck_assert_int_eq(connectd_open(&o, &d->c), 0);
	return d->c;
}

/* Step the library, then sleep until the library or fd has something. */
static void
step(struct fake *d, int fd)
{
	struct pollfd p[2] = { { connectd_get_fd(d->c), POLLIN, 0 }, { fd, POLLIN, 0 } };

	if (connectd_process(d->c) > 0)
		return;
	ck_assert_msg(poll(p, fd >= 0 ? 2 : 1, PATIENCE_MS) > 0, "nothing happened for %d ms", PATIENCE_MS);
}

void
fake_accept(struct fake *d)
{
	fake_hang_up(d);
	for (;;) {
		d->fd = accept4(d->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (d->fd >= 0)
			return;
		step(d, d->listener);
	}
}

void
fake_drop_waiting(struct fake *d)
{
	int fd;

	while ((fd = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		close(fd);
}

/* The next whole frame, or false at the end of the stream. */
static bool
next_frame(struct fake *d, struct wire_frame *ret)
{
	memmove(d->in, d->in + d->used, d->in_len - d->used);
	d->in_len -= d->used;
	d->used = 0;
	for (;;) {
		struct frame f;
		int r = frame_decode(d->in, d->in_len, WIRE_FRAME_MAX, &f);
		ssize_t n;

		ck_assert_int_ge(r, 0);
		if (r == 1) {
			ck_assert_int_eq(wire_unpack(f.data, f.len, ret), 0);
			d->used = f.used;
			return true;
		}
		n = read(d->fd, d->in + d->in_len, sizeof(d->in) - d->in_len);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return false;
		if (n > 0)
			d->in_len += (size_t)n;
		else
			step(d, d->fd);
	}
}

struct wire_frame
fake_next(struct fake *d)
{
	struct wire_frame f;

	ck_assert_msg(next_frame(d, &f), "the library hung up");
	return f;
}

struct wire_frame
fake_expect(struct fake *d, enum wire_kind kind)
{
	struct wire_frame f;

	ck_assert_msg(next_frame(d, &f), "the library hung up where %s was due", wire_kind_name(kind));
	ck_assert_msg(f.kind == kind, "%s came where %s was due", wire_kind_name(f.kind), wire_kind_name(kind));
	return f;
}

struct fake_item
fake_expect_item(struct fake *d)
{
	struct wire_frame f = fake_expect(d, WIRE_TRANSFER);
	struct fake_item i = { .flow = f.u.run.id, .number = f.u.run.first };
	struct wire_bytes items = f.u.run.items;

	ck_assert_uint_eq(f.u.run.n_items, 1);
	ck_assert(wire_item_next(&items, &i.item));
	return i;
}

void
fake_expect_eof(struct fake *d)
{
	struct wire_frame f;

	ck_assert_msg(!next_frame(d, &f), "%s came where the end was due", wire_kind_name(f.kind));
}

void
fake_settle(struct fake *d)
{
	while (connectd_process(d->c) > 0)
		;
}

void
fake_expect_silence(struct fake *d)
{
	uint8_t byte;

	fake_settle(d);
	ck_assert_uint_eq(d->in_len - d->used, 0);
	ck_assert_int_eq(recv(d->fd, &byte, 1, MSG_PEEK), -1);
	ck_assert_int_eq(errno, EAGAIN);
}

void
fake_await_up(struct fake *d, bool up)
{
	while ((connectd_is_up(d->c) != 0) != up)
		step(d, -1);
}

void
fake_send_bytes(struct fake *d, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len > 0) {
		ssize_t n = send(d->fd, p, len, MSG_NOSIGNAL);

		if (n < 0) {
			ck_assert_int_eq(errno, EAGAIN);
			step(d, -1);
			continue;
		}
		p += n;
		len -= (size_t)n;
	}
}

void
fake_send(struct fake *d, const struct wire_frame *f)
{
	size_t len = wire_size(f);
	uint8_t *buf = malloc(len);

	ck_assert_uint_eq(wire_pack(f, buf), len);
	fake_send_bytes(d, buf, len);
	free(buf);
}

void
fake_say_hello(struct fake *d)
{
	fake_send(d, &(struct wire_frame){ .kind = WIRE_HELLO, .u.hello = {
	    .magic = WIRE_MAGIC, .version_min = 1, .version_max = 1, .role = WIRE_ROLE_DAEMON,
	    .name = wire_string("paris"), .store_id = wire_bytes("0123456789abcdef", 16), .start_count = 1,
	    .boot_id = d->boot, .software = wire_string("fake"), .limits = d->limits } });
}

struct wire_hello
fake_greet(struct fake *d)
{
	struct wire_hello h;

	fake_accept(d);
	h = fake_expect(d, WIRE_HELLO).u.hello;
	fake_say_hello(d);
	fake_await_up(d, true);
	return h;
}

void
fake_deliver(struct fake *d, uint32_t subscription, uint64_t tag, const struct wire_item *item)
{
	size_t size = wire_item_size(item), n;
	uint8_t *buf = malloc(size + WIRE_RUN_HEAD_MAX);

	n = wire_put_run(WIRE_DELIVER, subscription, tag, size, buf);
	n += wire_put_item(item, buf + n);
	if (item->body.len > 0)
		memcpy(buf + n, item->body.data, item->body.len);
	fake_send_bytes(d, buf, n + item->body.len);
	free(buf);
}

void
fake_define_type(struct fake *d, uint32_t id, const char *type)
{
	fake_send(d, &(struct wire_frame){ .kind = WIRE_DEFINE, .u.define = { WIRE_DEFINE_TYPE, id, wire_string(type) } });
}

void
fake_flow_ok(struct fake *d, uint32_t flow, uint64_t accepted)
{
	fake_send(d, &(struct wire_frame){ .kind = WIRE_FLOW_STATE, .u.flow_state = {
	    .flow = flow, .accepted = accepted, .confirmed = accepted, .credit_messages = 1000, .credit_bytes = 4 << 20,
	    .confirm_level = WIRE_LEVEL_ACCEPTED } });
}

void
fake_confirm(struct fake *d, uint32_t flow, uint64_t number, uint32_t level)
{
	fake_send(d, &(struct wire_frame){ .kind = WIRE_CONFIRM, .u.confirm = { flow, number, level } });
}
