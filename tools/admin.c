#include "admin.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "frame.h"
#include "names.h"

#define IDLE_MS 90000 /* what we tell the daemon, and hold it to while waiting for events */
#define PING_MS 30000 /* silence after which we ask for a sign of life */

struct admin {
	int fd;
	char socket[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	char node[NAMES_NODE_MAX + 1];
	char error[256];
	uint32_t id;          /* of the last request */
	bool waiting;         /* for events: silence is fine as long as pings are answered */
	size_t used, have;    /* of buf: the frame last returned, all that was read */
	uint8_t buf[WIRE_FRAME_MAX + FRAME_HEADER_MAX];
};

static int fault(struct admin *a, int result, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int
fault(struct admin *a, int result, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->error, sizeof(a->error), fmt, ap);
	va_end(ap);
	return result;
}

const char *
admin_error(const struct admin *a)
{
	return a->error;
}

const char *
admin_node(const struct admin *a)
{
	return a->node;
}

pid_t
admin_pid(const struct admin *a)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return getsockopt(a->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 ? cred.pid : 0;
}

/* ---------------------------------------------------------------- frames */

static int
admin_write(struct admin *a, const struct wire_frame *f)
{
	uint8_t buf[WIRE_GREETING_MAX];
	uint64_t until = clock_ms() + ADMIN_PATIENCE_MS;
	size_t len = wire_pack(f, buf), at = 0;

	while (at < len) {
		ssize_t n = send(a->fd, buf + at, len - at, MSG_NOSIGNAL | MSG_DONTWAIT);
		struct pollfd p = { .fd = a->fd, .events = POLLOUT };
		uint64_t now = clock_ms();

		if (n > 0) {
			at += (size_t)n;
		} else if (errno == EAGAIN) {
			if (now >= until)
				return fault(a, -ETIMEDOUT, "the daemon at %s does not answer", a->socket);
			poll(&p, 1, (int)(until - now));
		} else if (errno != EINTR) {
			return fault(a, -errno, "the daemon went away: %s", strerror(errno));
		}
	}
	return 0;
}

/* Wait for bytes. 0; in an event stream silence is met with a ping. */
static int
admin_wait(struct admin *a, uint64_t *deadline, bool *pinged)
{
	for (;;) {
		struct pollfd p = { .fd = a->fd, .events = POLLIN };
		struct wire_frame ping = { .kind = WIRE_PING, .u.ping = { .token = 1 } };
		uint64_t now = clock_ms();
		int r;

		if (now >= *deadline) {
			if (!a->waiting || *pinged)
				return fault(a, -ETIMEDOUT, "the daemon at %s does not answer", a->socket);
			r = admin_write(a, &ping);
			if (r < 0)
				return r;
			*pinged = true;
			*deadline = now + IDLE_MS - PING_MS;
			continue;
		}
		r = poll(&p, 1, (int)(*deadline - now));
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return fault(a, -errno, "poll: %s", strerror(errno));
	}
}

/* The next frame of the daemon that is not about the session itself; it points into a->buf until the next call. */
static int
admin_read(struct admin *a, struct wire_frame *ret)
{
	uint64_t deadline = clock_ms() + (a->waiting ? PING_MS : ADMIN_PATIENCE_MS);
	bool pinged = false;

	for (;;) {
		struct frame f;
		struct wire_frame pong = { .kind = WIRE_PONG };
		ssize_t n;
		int r;

		memmove(a->buf, a->buf + a->used, a->have - a->used);
		a->have -= a->used;
		a->used = 0;
		r = frame_decode(a->buf, a->have, WIRE_FRAME_MAX, &f);
		if (r > 0) {
			a->used = f.used;
			r = wire_unpack(f.data, f.len, ret);
			if (r < 0)
				return fault(a, -EPROTO, "what answers at %s does not speak our protocol", a->socket);
			if (ret->kind == WIRE_CLOSE)
				return fault(a, -ECONNRESET, "the daemon closed the session (%s): %.*s", wire_close_name(ret->u.close.code),
				    (int)ret->u.close.reason.len, (const char *)ret->u.close.reason.data);
			if (ret->kind == WIRE_PING) {
				pong.u.ping.token = ret->u.ping.token;
				r = admin_write(a, &pong);
				if (r < 0)
					return r;
			} else if (ret->kind == WIRE_HELLO || ret->kind == WIRE_ADMIN_RESPONSE) {
				return 0;
			}
			continue;
		}
		if (r < 0)
			return fault(a, -EPROTO, "what answers at %s does not speak our protocol", a->socket);
		r = admin_wait(a, &deadline, &pinged);
		if (r < 0)
			return r;
		n = recv(a->fd, a->buf + a->have, sizeof(a->buf) - a->have, MSG_DONTWAIT);
		if (n == 0)
			return fault(a, -ECONNRESET, "the daemon went away");
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return fault(a, -errno, "the daemon went away: %s", strerror(errno));
		if (n > 0) {
			a->have += (size_t)n;
			deadline = clock_ms() + (a->waiting ? PING_MS : ADMIN_PATIENCE_MS);
			pinged = false;
		}
	}
}

/* --------------------------------------------------------------- session */

static int
admin_connect(struct admin *a, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = ADMIN_PATIENCE_MS / 1000 };

	if (strlen(path) >= sizeof(addr.sun_path))
		return fault(a, -ENAMETOOLONG, "%s: too long for a socket", path);
	strcpy(addr.sun_path, path);
	strcpy(a->socket, path);
	a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (a->fd < 0)
		return fault(a, -errno, "no socket: %s", strerror(errno));
	/* A listener whose backlog is full makes connect wait: not for ever. */
	setsockopt(a->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(a->fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return 0;
	switch (errno) {
	case ENOENT:
		return fault(a, -ENOENT, "the daemon does not answer: there is no socket %s", path);
	case ECONNREFUSED:
		return fault(a, -ECONNREFUSED, "the daemon does not answer: nobody listens on %s", path);
	case EAGAIN:
		return fault(a, -ETIMEDOUT, "the daemon at %s does not answer", path);
	default:
		return fault(a, -errno, "%s: %s", path, strerror(errno));
	}
}

static int
admin_greet(struct admin *a)
{
	struct wire_frame f = { .kind = WIRE_HELLO, .u.hello = {
		.magic = WIRE_MAGIC,
		.version_min = WIRE_VERSION,
		.version_max = WIRE_VERSION,
		.role = WIRE_ROLE_CLIENT,
		.name = wire_string("connectctl"),
		.software = wire_string("connectctl " CONNECTD_VERSION),
		.limits = { .max_message = WIRE_CHUNK_MAX, .dictionary = WIRE_DICTIONARY, .window = WIRE_LARGE },
		.idle_timeout_ms = IDLE_MS,
	} };
	const struct wire_hello *h = &f.u.hello;
	int r;

	r = admin_write(a, &f);
	if (r == 0)
		r = admin_read(a, &f);
	if (r < 0)
		return r;
	if (f.kind != WIRE_HELLO || h->magic != WIRE_MAGIC || h->role != WIRE_ROLE_DAEMON || h->version_min > WIRE_VERSION ||
	    h->version_max < WIRE_VERSION || !names_node_ok((const char *)h->name.data, h->name.len))
		return fault(a, -EPROTO, "what answers at %s is no connectd that we understand", a->socket);
	memcpy(a->node, h->name.data, h->name.len);
	return 0;
}

int
admin_open(const char *socket, struct admin **ret)
{
	struct admin *a = calloc(1, sizeof(*a));
	int r;

	*ret = a;
	if (a == NULL)
		return -ENOMEM;
	a->fd = -1;
	r = admin_connect(a, socket);
	return r == 0 ? admin_greet(a) : r;
}

void
admin_close(struct admin *a)
{
	if (a == NULL)
		return;
	if (a->fd >= 0)
		close(a->fd);
	free(a);
}

/* ---------------------------------------------------------------- asking */

static int
admin_records(struct admin *a, struct wire_bytes records, const ProtobufCMessageDescriptor *type, admin_record_fn fn,
    void *userdata)
{
	while (records.len > 0) {
		ProtobufCMessage *m;
		struct frame f;
		int r;

		if (frame_decode(records.data, records.len, WIRE_CONTROL_MAX, &f) != 1 ||
		    (m = protobuf_c_message_unpack(type, NULL, f.len, f.data)) == NULL)
			return fault(a, -EPROTO, "the daemon's answer makes no sense");
		r = fn(m, userdata);
		protobuf_c_message_free_unpacked(m, NULL);
		if (r != 0)
			return r;
		records.data += f.used;
		records.len -= f.used;
	}
	return 0;
}

int
admin_ask(struct admin *a, enum wire_admin_verb verb, const char *name, uint64_t limit,
    const ProtobufCMessageDescriptor *type, admin_record_fn fn, void *userdata)
{
	const struct wire_admin_request req = { .verb = verb, .name = wire_string(name), .limit = limit };

	return admin_request(a, &req, type, fn, userdata);
}

/* Changes are synced, or wait for other threads: silence is no sign of trouble there. */
static bool
may_take_long(uint32_t verb)
{
	return verb == WIRE_ADMIN_EVENTS || verb > WIRE_ADMIN_PRODUCERS;
}

int
admin_request(struct admin *a, const struct wire_admin_request *req, const ProtobufCMessageDescriptor *type,
    admin_record_fn fn, void *userdata)
{
	struct wire_frame f = { .kind = WIRE_ADMIN_REQUEST, .u.admin_request = *req };
	int r;

	f.u.admin_request.id = ++a->id;
	if (wire_size(&f) > WIRE_GREETING_MAX)
		return fault(a, -EINVAL, "the name is too long");
	r = admin_write(a, &f);
	if (r < 0)
		return r;
	a->waiting = may_take_long(req->verb);
	for (;;) {
		const struct wire_admin_response *resp = &f.u.admin_response;

		r = admin_read(a, &f);
		if (r < 0)
			return r;
		if (f.kind != WIRE_ADMIN_RESPONSE || resp->id != a->id)
			continue;
		if (resp->error != 0)
			return fault(a, resp->error > 0 ? -resp->error : -EPROTO, "%.*s", (int)resp->reason.len,
			    (const char *)resp->reason.data);
		r = admin_records(a, resp->records, type, fn, userdata);
		if (r != 0 || resp->last)
			return r;
	}
}
