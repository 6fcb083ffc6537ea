#include "raw.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "frame.h"

#define PATIENCE_S 20

struct raw *
raw_of(int fd)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	struct raw *r = calloc(1, sizeof(*r));

	ck_assert_ptr_nonnull(r);
	r->fd = fd;
	setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(r->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return r;
}

static struct raw *
open_socket(int family, const struct sockaddr *a, socklen_t len)
{
	struct raw *r = raw_of(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));

	ck_assert_msg(connect(r->fd, a, len) == 0, "%s", strerror(errno));
	return r;
}

struct raw *
raw_client(const struct node *n)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strcpy(a.sun_path, n->socket);
	return open_socket(AF_UNIX, (struct sockaddr *)&a, sizeof(a));
}

struct raw *
raw_peer(const struct node *n)
{
	struct sockaddr_in a = { .sin_family = AF_INET };

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.sin_port = htons((uint16_t)atoi(strrchr(n->url, ':') + 1));
	return open_socket(AF_INET, (struct sockaddr *)&a, sizeof(a));
}

void
raw_close(struct raw *r)
{
	close(r->fd);
	free(r);
}

/* ------------------------------------------------------------------ sending */

bool
raw_bytes(struct raw *r, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len > 0) {
		ssize_t n = send(r->fd, p, len, MSG_NOSIGNAL);

		ck_assert_msg(n > 0 || errno != EAGAIN, "the daemon does not read");
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

bool
raw_frame(struct raw *r, const struct wire_frame *f)
{
	uint8_t *buf = malloc(wire_size(f));
	bool sent;

	ck_assert_ptr_nonnull(buf);
	sent = raw_bytes(r, buf, wire_pack(f, buf));
	free(buf);
	return sent;
}

bool
raw_payload(struct raw *r, const void *data, size_t len)
{
	uint8_t header[FRAME_HEADER_MAX];

	return raw_bytes(r, header, frame_header(header, (uint32_t)len)) && raw_bytes(r, data, len);
}

bool
raw_run(struct raw *r, enum wire_kind kind, uint32_t id, uint64_t first, const struct wire_item *items, size_t n)
{
	size_t size = 0, at;
	uint8_t *buf;
	bool sent;

	for (size_t i = 0; i < n; i++)
		size += wire_item_size(&items[i]);
	buf = malloc(size + WIRE_RUN_HEAD_MAX);
	ck_assert_ptr_nonnull(buf);
	at = wire_put_run(kind, id, first, size, buf);
	for (size_t i = 0; i < n; i++) {
		at += wire_put_item(&items[i], buf + at);
		if (items[i].body.len > 0)
			memcpy(buf + at, items[i].body.data, items[i].body.len);
		at += items[i].body.len;
	}
	sent = raw_bytes(r, buf, at);
	free(buf);
	return sent;
}

/* ------------------------------------------------------------------ reading */

enum wire_kind
raw_next(struct raw *r)
{
	for (;;) {
		struct frame fr;
		ssize_t n;
		int got;

		memmove(r->buf, r->buf + r->used, r->have - r->used);
		r->have -= r->used;
		r->used = 0;
		got = frame_decode(r->buf, r->have, WIRE_FRAME_MAX, &fr);
		ck_assert_int_ge(got, 0);
		if (got > 0) {
			r->used = fr.used;
			ck_assert_int_eq(wire_unpack(fr.data, fr.len, &r->f), 0);
			if (r->f.kind != WIRE_PING)
				return r->f.kind;
			r->f.kind = WIRE_PONG;
			raw_frame(r, &r->f);
			continue;
		}
		n = recv(r->fd, r->buf + r->have, sizeof(r->buf) - r->have, 0);
		ck_assert_msg(n >= 0 || errno != EAGAIN, "neither a frame nor an end of the session");
		if (n <= 0)
			return WIRE_NONE;
		r->have += (size_t)n;
	}
}

void
raw_until(struct raw *r, enum wire_kind kind)
{
	enum wire_kind got;

	while ((got = raw_next(r)) != kind) {
		ck_assert_msg(got != WIRE_CLOSE, "closed (%s) while waiting for %s: %.*s", wire_close_name(r->f.u.close.code),
		    wire_kind_name(kind), (int)r->f.u.close.reason.len, (const char *)r->f.u.close.reason.data);
		ck_assert_msg(got != WIRE_NONE, "ended while waiting for %s", wire_kind_name(kind));
	}
}

int
raw_end(struct raw *r)
{
	enum wire_kind got;
	int code = -1;

	while ((got = raw_next(r)) != WIRE_NONE) {
		ck_assert_msg(code < 0, "a %s frame after Close", wire_kind_name(got));
		if (got == WIRE_CLOSE)
			code = (int)r->f.u.close.code;
	}
	return code;
}

void
raw_alive(struct raw *r)
{
	static uint64_t token = 1000000;

	raw_frame(r, &(struct wire_frame){ .kind = WIRE_PING, .u.ping.token = ++token });
	do
		raw_until(r, WIRE_PONG);
	while (r->f.u.ping.token != token);
}

/* ----------------------------------------------------------------- greeting */

void
raw_greet_client(struct raw *r)
{
	const struct wire_frame f = { .kind = WIRE_HELLO, .u.hello = { .magic = WIRE_MAGIC, .version_min = WIRE_VERSION,
		.version_max = WIRE_VERSION, .role = WIRE_ROLE_CLIENT, .name = wire_string("raw"),
		.limits = { .dictionary = WIRE_DICTIONARY } } };

	raw_frame(r, &f);
	raw_until(r, WIRE_HELLO);
}

struct wire_frame
raw_hello_peer(const char *name, const char *to)
{
	static uint64_t nonce;
	static char id[17];

	/* Sixteen bytes, another one for every name. */
	memset(id, '.', sizeof(id) - 1);
	memcpy(id, name, strlen(name) < 16 ? strlen(name) : 16);
	return (struct wire_frame){ .kind = WIRE_HELLO, .u.hello = { .magic = WIRE_MAGIC, .version_min = WIRE_VERSION,
		.version_max = WIRE_VERSION, .role = WIRE_ROLE_PEER, .name = wire_string(name), .dialled = wire_string(to),
		.store_id = wire_bytes(id, 16), .start_count = 1, .boot_id = 1, .nonce = ++nonce, .software = wire_string("raw"),
		.limits = { .max_message = 1 << 20, .max_flows = 100, .dictionary = WIRE_DICTIONARY, .window = 1 << 20 } } };
}

void
raw_meet(struct raw *r, const char *name, const struct node *n)
{
	static uint64_t decision;
	const struct wire_frame hello = raw_hello_peer(name, n->name), known = { .kind = WIRE_KNOWN };

	raw_frame(r, &hello);
	raw_until(r, WIRE_HELLO);
	if (strcmp(name, n->name) < 0) {
		raw_frame(r, &known);
		raw_until(r, WIRE_KNOWN);
		raw_frame(r, &(struct wire_frame){ .kind = WIRE_ACCEPT, .u.accept.decision = ++decision });
		raw_alive(r);
	} else {
		raw_until(r, WIRE_KNOWN);
		raw_frame(r, &known);
		raw_until(r, WIRE_ACCEPT);
	}
}
