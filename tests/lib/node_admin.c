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
#define ITEMS_MAX 16384

struct admin_session {
	int fd;
	uint32_t id; /* of the last request */
	size_t used, have;
	uint8_t buf[WIRE_FRAME_MAX + FRAME_HEADER_MAX];
};

static bool
put(struct admin_session *s, const struct wire_frame *f)
{
	uint8_t buf[WIRE_GREETING_MAX];
	size_t len = wire_pack(f, buf);

	return send(s->fd, buf, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* The next frame; it points into s->buf until the next call. False: the session is over. */
static bool
get(struct admin_session *s, struct wire_frame *ret)
{
	for (;;) {
		struct frame f;
		ssize_t n;
		int r;

		memmove(s->buf, s->buf + s->used, s->have - s->used);
		s->have -= s->used;
		s->used = 0;
		r = frame_decode(s->buf, s->have, WIRE_FRAME_MAX, &f);
		ck_assert_int_ge(r, 0);
		if (r > 0) {
			s->used = f.used;
			ck_assert_int_eq(wire_unpack(f.data, f.len, ret), 0);
			if (ret->kind != WIRE_PING)
				return ret->kind != WIRE_CLOSE;
			ret->kind = WIRE_PONG;
			if (!put(s, ret))
				return false;
			continue;
		}
		n = recv(s->fd, s->buf + s->have, sizeof(s->buf) - s->have, 0);
		ck_assert_msg(n >= 0 || errno != EAGAIN, "the daemon does not answer");
		if (n <= 0)
			return false;
		s->have += (size_t)n;
	}
}

static void
session_end(struct admin_session **s)
{
	if (*s == NULL)
		return;
	close((*s)->fd);
	free(*s);
	*s = NULL;
}

void
node_forget_sessions(struct node *n)
{
	session_end(&n->asking);
	session_end(&n->hearing);
}

static struct admin_session *
session_begin(const struct node *n)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
	struct wire_frame f = { .kind = WIRE_HELLO, .u.hello = { .magic = WIRE_MAGIC, .version_min = WIRE_VERSION,
		.version_max = WIRE_VERSION, .role = WIRE_ROLE_CLIENT, .name = wire_string("admin"),
		.limits = { .dictionary = WIRE_DICTIONARY } } };
	struct admin_session *s = calloc(1, sizeof(*s));

	ck_assert_ptr_nonnull(s);
	strcpy(a.sun_path, n->socket);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ck_assert_msg(connect(s->fd, (struct sockaddr *)&a, sizeof(a)) == 0, "%s: %s", n->socket, strerror(errno));
	ck_assert(put(s, &f) && get(s, &f) && f.kind == WIRE_HELLO);
	return s;
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

static bool
ask(struct admin_session *s, int verb, const char *name, uint64_t limit, const ProtobufCMessageDescriptor *type,
    struct answer *ret)
{
	struct wire_frame f = { .kind = WIRE_ADMIN_REQUEST,
		.u.admin_request = { .id = ++s->id, .verb = (uint32_t)verb, .name = wire_string(name), .limit = limit } };

	if (!put(s, &f))
		return false;
	do {
		if (!get(s, &f))
			return false;
		ck_assert_int_eq(f.kind, WIRE_ADMIN_RESPONSE);
		ret->error = f.u.admin_response.error;
		snprintf(ret->reason, sizeof(ret->reason), "%.*s", (int)f.u.admin_response.reason.len,
		    (const char *)f.u.admin_response.reason.data);
		keep_records(ret, f.u.admin_response.records, type);
	} while (!f.u.admin_response.last);
	return true;
}

void
node_ask(struct node *n, int verb, const char *name, uint64_t limit, const ProtobufCMessageDescriptor *type,
    struct answer *ret)
{
	*ret = (struct answer){ .items = calloc(ITEMS_MAX, sizeof(ProtobufCMessage *)) };
	ck_assert_ptr_nonnull(ret->items);
	/* A session that answered no pings meanwhile was closed: the next one does. */
	if (n->asking != NULL && ask(n->asking, verb, name, limit, type, ret))
		return;
	session_end(&n->asking);
	n->asking = session_begin(n);
	ck_assert_msg(ask(n->asking, verb, name, limit, type, ret), "%s went away", n->name);
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
	struct wire_frame f = { .kind = WIRE_ADMIN_REQUEST, .u.admin_request = { .id = 1, .verb = WIRE_ADMIN_EVENTS } };
	struct pollfd p;

	if (n->hearing == NULL) {
		n->hearing = session_begin(n);
		/* When it has answered, nothing is missed; then look first. */
		ck_assert(put(n->hearing, &f) && get(n->hearing, &f));
		return;
	}
	p = (struct pollfd){ .fd = n->hearing->fd, .events = POLLIN };
	if (poll(&p, 1, LOOK_MS) > 0 && recv(p.fd, n->hearing->buf, sizeof(n->hearing->buf), MSG_DONTWAIT) <= 0)
		session_end(&n->hearing);
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
node_await_why(struct node *n, const char *name, const char *cause, const char *text)
{
	uint64_t until = now_ms() + PATIENCE_MS;
	char seen[1200] = "";
	bool met = false;

	while (!met && now_ms() < until) {
		struct answer a;

		node_ask(n, WIRE_ADMIN_WHY, name, 0, &connectd__v1__why__descriptor, &a);
		if (a.n == 1) {
			const Connectd__V1__Why *w = (const Connectd__V1__Why *)a.items[0];

			snprintf(seen, sizeof(seen), "%s: %s", w->cause, w->text);
			met = (!cause || strcmp(w->cause, cause) == 0) && strstr(w->text, text) != NULL;
		} else {
			snprintf(seen, sizeof(seen), "%s", a.reason);
		}
		answer_free(&a);
		if (!met)
			poll(NULL, 0, 5);
	}
	ck_assert_msg(met, "why %s at %s is %s; not %s: %s", name, n->name, seen, cause ? cause : "whatever", text);
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

uint64_t
node_used(struct node *n, const char *limit)
{
	const Connectd__V1__Status *st;
	uint64_t used = UINT64_MAX;
	struct answer a;

	node_ask(n, WIRE_ADMIN_STATUS, "", 0, &connectd__v1__status__descriptor, &a);
	st = (const Connectd__V1__Status *)a.items[0];
	for (size_t i = 0; i < st->n_limits; i++)
		if (strcmp(st->limits[i]->name, limit) == 0)
			used = st->limits[i]->used;
	answer_free(&a);
	ck_assert_msg(used != UINT64_MAX, "%s has no limit %s", n->name, limit);
	return used;
}

void
node_check_books(struct node *n)
{
	struct answer a;

	node_ask(n, WIRE_ADMIN_QUEUES, "", 0, &connectd__v1__queue__descriptor, &a);
	for (size_t i = 0; i < a.n; i++) {
		const Connectd__V1__Queue *q = (const Connectd__V1__Queue *)a.items[i];
		const Connectd__V1__Counters *c = q->counters;

		ck_assert_msg(c->present + c->accepted + c->moved_in == c->consumed + c->forwarded + c->expired + c->dead + c->dropped + c->purged +
		    c->moved_out + q->waiting, "%s: the books of %s do not balance", n->name, q->name);
	}
	answer_free(&a);
}
