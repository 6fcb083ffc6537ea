/* node_admin: the administration session of a test with its daemon. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"
#include "node.h"
#include "wire.h"

#define PATIENCE_MS 20000
#define LOOK_MS 20 /* states without an event are looked at that often */
#define ITEMS_MAX 4096

struct connection {
	int fd;
	size_t used, have;
	uint8_t buf[WIRE_FRAME_MAX + FRAME_HEADER_MAX];
};

static void
put(int fd, const struct wire_frame *f)
{
	uint8_t buf[WIRE_GREETING_MAX];
	size_t len = wire_pack(f, buf);

	ck_assert_int_eq(send(fd, buf, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* The next frame; it points into c->buf until the next call. */
static void
get(struct connection *c, struct wire_frame *ret)
{
	for (;;) {
		struct frame f;
		ssize_t n;
		int r;

		memmove(c->buf, c->buf + c->used, c->have - c->used);
		c->have -= c->used;
		c->used = 0;
		r = frame_decode(c->buf, c->have, WIRE_FRAME_MAX, &f);
		ck_assert_int_ge(r, 0);
		if (r > 0) {
			c->used = f.used;
			ck_assert_int_eq(wire_unpack(f.data, f.len, ret), 0);
			if (ret->kind == WIRE_PING) {
				ret->kind = WIRE_PONG;
				put(c->fd, ret);
				continue;
			}
			return;
		}
		n = recv(c->fd, c->buf + c->have, sizeof(c->buf) - c->have, 0);
		ck_assert_msg(n > 0, "the daemon does not answer: %s", n < 0 ? strerror(errno) : "closed");
		c->have += (size_t)n;
	}
}

static int
greet(const struct node *n, struct connection *c)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
	struct wire_frame f = { .kind = WIRE_HELLO, .u.hello = { .magic = WIRE_MAGIC, .version_min = WIRE_VERSION,
		.version_max = WIRE_VERSION, .role = WIRE_ROLE_CLIENT, .name = wire_string("test"),
		.limits = { .dictionary = WIRE_DICTIONARY } } };

	strcpy(a.sun_path, n->socket);
	c->used = c->have = 0;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ck_assert_msg(connect(c->fd, (struct sockaddr *)&a, sizeof(a)) == 0, "%s: %s", n->socket, strerror(errno));
	put(c->fd, &f);
	get(c, &f);
	ck_assert_int_eq(f.kind, WIRE_HELLO);
	return c->fd;
}

static void
keep_records(struct answer *a, struct wire_bytes records, const ProtobufCMessageDescriptor *type)
{
	while (records.len > 0) {
		struct frame f;

		ck_assert_int_eq(frame_decode(records.data, records.len, WIRE_CONTROL_MAX, &f), 1);
		ck_assert_uint_lt(a->n, ITEMS_MAX);
		a->items[a->n] = protobuf_c_message_unpack(type, NULL, f.len, f.data);
		ck_assert_ptr_nonnull(a->items[a->n]);
		a->n++;
		records.data += f.used;
		records.len -= f.used;
	}
}

void
node_ask(struct node *n, int verb, const char *name, uint64_t limit, const ProtobufCMessageDescriptor *type,
    struct answer *ret)
{
	struct connection *c = malloc(sizeof(*c));
	struct wire_frame f;

	*ret = (struct answer){ .items = calloc(ITEMS_MAX, sizeof(ProtobufCMessage *)) };
	ck_assert(c != NULL && ret->items != NULL);
	greet(n, c);
	f = (struct wire_frame){ .kind = WIRE_ADMIN_REQUEST,
		.u.admin_request = { .id = 1, .verb = (uint32_t)verb, .name = wire_string(name), .limit = limit } };
	put(c->fd, &f);
	do {
		get(c, &f);
		ck_assert_int_eq(f.kind, WIRE_ADMIN_RESPONSE);
		ret->error = f.u.admin_response.error;
		snprintf(ret->reason, sizeof(ret->reason), "%.*s", (int)f.u.admin_response.reason.len,
		    (const char *)f.u.admin_response.reason.data);
		keep_records(ret, f.u.admin_response.records, type);
	} while (!f.u.admin_response.last);
	close(c->fd);
	free(c);
}

void
answer_free(struct answer *a)
{
	for (size_t i = 0; i < a->n; i++)
		protobuf_c_message_free_unpacked(a->items[i], NULL);
	free(a->items);
}

/* ------------------------------------------------------------------ waiting */

static uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Until something happened in the daemon, or it is time to look again. */
static void
await_event(struct node *n)
{
	struct pollfd p;
	char buf[4096];

	if (n->admin_fd < 0) {
		struct connection *c = malloc(sizeof(*c));
		struct wire_frame f;

		ck_assert_ptr_nonnull(c);
		n->admin_fd = greet(n, c);
		f = (struct wire_frame){ .kind = WIRE_ADMIN_REQUEST, .u.admin_request = { .id = 1, .verb = WIRE_ADMIN_EVENTS } };
		put(c->fd, &f);
		get(c, &f); /* from here on nothing is missed */
		free(c);
		return; /* look first */
	}
	p = (struct pollfd){ .fd = n->admin_fd, .events = POLLIN };
	if (poll(&p, 1, LOOK_MS) > 0 && recv(n->admin_fd, buf, sizeof(buf), MSG_DONTWAIT) == 0)
		ck_abort_msg("%s went away", n->name);
}

void
node_await_peer(struct node *n, const char *peer, const char *state)
{
	uint64_t until = now_ms() + PATIENCE_MS;
	char seen[400] = "no such peer";
	bool met = false;

	await_event(n);
	while (!met && now_ms() < until) {
		struct answer a;

		node_ask(n, WIRE_ADMIN_PEERS, peer, 0, &connectd__v1__peer__descriptor, &a);
		if (a.n > 0) {
			const Connectd__V1__Peer *p = (const Connectd__V1__Peer *)a.items[0];

			snprintf(seen, sizeof(seen), "%s (%s)", p->state, p->last_error);
			met = strcmp(p->state, state) == 0;
		}
		answer_free(&a);
		if (!met)
			await_event(n);
	}
	ck_assert_msg(met, "%s: peer %s is %s, not %s", n->name, peer, seen, state);
}

void
node_await_queue(struct node *n, const char *queue, bool (*ok)(const Connectd__V1__Queue *q, uint64_t value), uint64_t value)
{
	uint64_t until = now_ms() + PATIENCE_MS;
	bool met = false;
	char seen[200] = "there is none";

	await_event(n);
	while (!met && now_ms() < until) {
		struct answer a;

		node_ask(n, WIRE_ADMIN_QUEUES, queue, 0, &connectd__v1__queue__descriptor, &a);
		met = ok(a.n > 0 ? (const Connectd__V1__Queue *)a.items[0] : NULL, value);
		if (a.n > 0) {
			const Connectd__V1__Queue *q = (const Connectd__V1__Queue *)a.items[0];

			snprintf(seen, sizeof(seen), "%" PRIu64 " waiting, %" PRIu64 " consumed, %" PRIu64 " consumers", q->waiting,
			    q->counters->consumed, q->consumers);
		}
		answer_free(&a);
		if (!met)
			await_event(n);
	}
	ck_assert_msg(met, "%s: queue %s: %s; waited in vain for %" PRIu64, n->name, queue, seen, value);
}

bool
queue_holds(const Connectd__V1__Queue *q, uint64_t messages)
{
	return (q != NULL ? q->waiting : 0) == messages;
}

bool
queue_consumed(const Connectd__V1__Queue *q, uint64_t messages)
{
	return q != NULL && q->counters->consumed == messages;
}

bool
queue_has_consumers(const Connectd__V1__Queue *q, uint64_t consumers)
{
	return (q != NULL ? q->consumers : 0) == consumers;
}

void
node_check_books(struct node *n)
{
	struct answer a;

	node_ask(n, WIRE_ADMIN_QUEUES, "", 0, &connectd__v1__queue__descriptor, &a);
	for (size_t i = 0; i < a.n; i++) {
		const Connectd__V1__Queue *q = (const Connectd__V1__Queue *)a.items[i];
		const Connectd__V1__Counters *c = q->counters;

		ck_assert_msg(c->accepted + c->moved_in == c->consumed + c->forwarded + c->expired + c->dead + c->dropped + c->purged +
		    c->moved_out + q->waiting, "%s: the books of %s do not balance", n->name, q->name);
	}
	answer_free(&a);
}
