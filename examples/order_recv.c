/*
 * order_recv: take orders of three types from a queue, unpack each as what it
 * is, and check that every number comes once and in order.
 *
 *	order_recv [-s SOCKET] [-q QUEUE] [--count N] [--timeout SECONDS]
 *
 * Ends after N orders, or when none came for SECONDS. Exits 0 if all N were
 * right (without --count: if those that came were), else 1. An order delivered
 * again because an ack was lost with a session is told apart by its flag.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <connectd.h>

#include "orders.pb-c.h"

enum { PLACED, PAID, SHIPPED, TYPES };
static const char *const type_name[TYPES] = { "placed", "paid", "shipped" };

/* What is in the message: its type and number. 0, or -EBADMSG. */
static int
unpack(const struct connectd_msg *m, int *ret_type, uint64_t *ret_number)
{
	ProtobufCMessage *content;

	if ((content = connectd_msg_unpack(m, &shop__order_placed__descriptor, NULL)) != NULL) {
		*ret_type = PLACED;
		*ret_number = ((Shop__OrderPlaced *)content)->number;
	} else if ((content = connectd_msg_unpack(m, &shop__order_paid__descriptor, NULL)) != NULL) {
		*ret_type = PAID;
		*ret_number = ((Shop__OrderPaid *)content)->number;
	} else if ((content = connectd_msg_unpack(m, &shop__order_shipped__descriptor, NULL)) != NULL) {
		*ret_type = SHIPPED;
		*ret_number = ((Shop__OrderShipped *)content)->number;
	} else {
		return -EBADMSG;
	}
	protobuf_c_message_free_unpacked(content, NULL);
	return 0;
}

struct check {
	uint64_t next;
	unsigned long seen[TYPES], again, wrong;
};

static void
check(struct check *k, const struct connectd_msg *m)
{
	uint64_t number;
	int type;

	if (unpack(m, &type, &number) < 0) {
		fprintf(stderr, "order_recv: a message of type '%s' is no order\n", connectd_msg_get_type(m));
		k->wrong++;
		return;
	}
	if (number < k->next && (connectd_msg_get_flags(m) & CONNECTD_REDELIVERED) != 0) {
		k->again++;
		return;
	}
	if (number != k->next || type != (int)((number + 2) % 3)) {
		fprintf(stderr, "order_recv: order %llu (%s) came where %llu was due\n", (unsigned long long)number, type_name[type],
		    (unsigned long long)k->next);
		k->wrong++;
	}
	k->seen[type]++;
	k->next = number + 1;
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "count", required_argument, NULL, 'n' },
		{ "timeout", required_argument, NULL, 't' },
		{ NULL, 0, NULL, 0 },
	};
	struct connectd_options o = { .size = sizeof(o), .application = "order_recv" };
	struct check k = { .next = 1 };
	const char *queue = "orders";
	unsigned long count = 0, done = 0;
	int opt, r, timeout_ms = -1;
	struct connectd_consumer *consumer;
	struct connectd_msg *m;
	struct connectd *c;

	while ((opt = getopt_long(argc, argv, "s:q:", longs, NULL)) != -1) {
		if (opt == 's') {
			o.socket = optarg;
		} else if (opt == 'q') {
			queue = optarg;
		} else if (opt == 'n') {
			count = strtoul(optarg, NULL, 10);
		} else if (opt == 't') {
			timeout_ms = atoi(optarg) * 1000;
		} else {
			fprintf(stderr, "usage: order_recv [-s SOCKET] [-q QUEUE] [--count N] [--timeout SECONDS]\n");
			return 2;
		}
	}

	r = connectd_open(&o, &c);
	if (r == 0)
		r = connectd_consume(c, queue, NULL, NULL, NULL, &consumer);
	while (r == 0 && (count == 0 || done < count)) {
		r = connectd_recv(c, &m, timeout_ms);
		if (r < 0)
			break;
		check(&k, m);
		/* An ack of an earlier session does nothing: that order comes again. */
		r = connectd_ack(c, m);
		if (r == -ESTALE)
			r = 0;
		connectd_msg_unref(m);
		done = k.seen[PLACED] + k.seen[PAID] + k.seen[SHIPPED];
	}
	if (r < 0 && r != -ETIMEDOUT)
		fprintf(stderr, "order_recv: %s\n", connectd_last_error(c));
	connectd_close(c);
	printf("received %lu orders (%lu placed, %lu paid, %lu shipped), %lu again, %lu wrong\n", done, k.seen[PLACED], k.seen[PAID],
	    k.seen[SHIPPED], k.again, k.wrong);
	return k.wrong > 0 || (r < 0 && r != -ETIMEDOUT) || (count > 0 && done < count);
}
