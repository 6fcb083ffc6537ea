#include "traffic.h"

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define PATIENCE_MS 20000

static struct connectd *
open_with(const struct node *n, int keep_trying)
{
	struct connectd_options o = { .size = sizeof(o), .socket = n->socket, .application = "test", .keep_trying = keep_trying };
	struct connectd *c = NULL;
	int r = connectd_open(&o, &c);

	ck_assert_msg(r == 0, "%s: %s", n->name, connectd_last_error(c));
	return c;
}

struct connectd *
traffic_open(const struct node *n)
{
	return open_with(n, 0);
}

struct connectd *
traffic_open_trying(const struct node *n)
{
	return open_with(n, 1);
}

static void
count_final(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	struct traffic_told *told = userdata;

	(void)c, (void)m;
	if (!o->final || o->result == -ECANCELED)
		return;
	ck_assert_msg(o->result == 0 || o->result == -ENODATA, "message %" PRIu64 ": %d %s", o->number, o->result, o->reason);
	*(o->result == 0 ? &told->reached : &told->untold) += 1;
	if (told->how != NULL)
		told->how[o->number] = o->result == 0 ? 'r' : 'u';
}

void
traffic_send(struct connectd *c, const char *dest, uint64_t number, size_t size, enum connectd_level level,
    struct traffic_told *told)
{
	struct connectd_msg *m = connectd_msg_new(dest);
	uint8_t *body = calloc(1, size);
	int r;

	ck_assert(m != NULL && body != NULL && size >= sizeof(number));
	memcpy(body, &number, sizeof(number));
	ck_assert_int_eq(connectd_msg_set_type_body(m, "test.Number", body, size), 0);
	ck_assert_int_eq(connectd_msg_set_durability(m, CONNECTD_MEMORY), 0);
	while ((r = connectd_send(c, m, CONNECTD_TELL(level), count_final, told)) == -EAGAIN)
		ck_assert_int_gt(connectd_wait(c, PATIENCE_MS), 0);
	ck_assert_msg(r == 0, "%d: %s", r, connectd_last_error(c));
	connectd_msg_unref(m);
	free(body);
}

void
traffic_consume(struct connectd *c, const char *queue)
{
	struct connectd_consumer *k;

	ck_assert_int_eq(connectd_consume(c, queue, NULL, NULL, NULL, &k), 0);
}

uint64_t
traffic_number(const struct connectd_msg *m)
{
	uint64_t number = 0;
	const void *body;
	size_t len;

	ck_assert_str_eq(connectd_msg_get_type(m), "type.googleapis.com/test.Number");
	body = connectd_msg_get_body(m, &len);
	ck_assert_uint_ge(len, sizeof(number));
	memcpy(&number, body, sizeof(number));
	return number;
}

void
traffic_receive(struct connectd *to, struct connectd *from, struct checker *k, uint64_t got)
{
	while (k->got < got) {
		struct connectd_msg *m;
		int r = connectd_recv(to, &m, 0);

		if (r == -ETIMEDOUT) {
			struct pollfd fds[] = { { .fd = connectd_get_fd(to), .events = POLLIN },
				{ .fd = from != NULL ? connectd_get_fd(from) : -1, .events = POLLIN } };

			ck_assert_msg(poll(fds, 2, PATIENCE_MS) > 0, "after %" PRIu64 " of %" PRIu64 " nothing more comes", k->got, k->n);
			ck_assert(from == NULL || connectd_process(from) >= 0);
			continue;
		}
		ck_assert_msg(r == 0, "%d %s", r, connectd_last_error(to));
		checker_got(k, traffic_number(m), (connectd_msg_get_flags(m) & CONNECTD_REDELIVERED) != 0);
		ck_assert_int_eq(connectd_ack(to, m), 0);
		connectd_msg_unref(m);
	}
}

void
traffic_await(struct connectd *c, const uint64_t *value, uint64_t at_least)
{
	while (*value < at_least)
		ck_assert_msg(connectd_wait(c, PATIENCE_MS) > 0, "waited in vain for %" PRIu64 ": it is %" PRIu64, at_least, *value);
}

void
traffic_peer(struct node *n, const char *peer, uint64_t *ret_connects, uint64_t *ret_unconfirmed)
{
	const Connectd__V1__Peer *p;
	struct answer a;

	node_ask(n, WIRE_ADMIN_PEERS, peer, 0, &connectd__v1__peer__descriptor, &a);
	ck_assert_uint_eq(a.n, 1);
	p = (const Connectd__V1__Peer *)a.items[0];
	if (ret_connects != NULL)
		*ret_connects = p->connects;
	if (ret_unconfirmed != NULL)
		*ret_unconfirmed = p->unconfirmed;
	answer_free(&a);
}
