/*
 * order_send: send orders of three types, in turn, and wait until all of them
 * arrived at the destination's daemon.
 *
 *	order_send [-s SOCKET] [-m] [-t SECONDS] [-f FIRST] DESTINATION COUNT
 *
 * -m sends memory messages, -f gives the number of the first. Exits 0 when every message arrived.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <connectd.h>

#include "orders.pb-c.h"

struct tally {
	unsigned long arrived, failed;
	char why[200]; /* the first failure */
};

static void
outcome(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	struct tally *t = userdata;

	(void)c;
	(void)m;
	if (!o->final)
		return;
	if (o->result == 0) {
		t->arrived++;
		return;
	}
	if (t->failed++ == 0)
		snprintf(t->why, sizeof(t->why), "message %llu: %s", (unsigned long long)o->number,
		    o->reason[0] != '\0' ? o->reason : strerror(-o->result));
}

/* The type follows from the number, so that the receiver can check both. */
static int
pack(struct connectd_msg *m, uint64_t number)
{
	Shop__OrderPlaced placed;
	Shop__OrderPaid paid;
	Shop__OrderShipped shipped;
	char customer[] = "somebody", receipt[] = "by card", carrier[] = "by bicycle";

	switch (number % 3) {
	case 1:
		shop__order_placed__init(&placed);
		placed.number = number;
		placed.customer = customer;
		placed.cents = 995;
		return connectd_msg_pack(m, &placed.base);
	case 2:
		shop__order_paid__init(&paid);
		paid.number = number;
		paid.receipt = receipt;
		return connectd_msg_pack(m, &paid.base);
	default:
		shop__order_shipped__init(&shipped);
		shipped.number = number;
		shipped.carrier = carrier;
		return connectd_msg_pack(m, &shipped.base);
	}
}

/* Send one; when too many are unconfirmed, wait until some are not. */
static int
send_one(struct connectd *c, const char *dest, uint64_t number, int memory, struct tally *t)
{
	struct connectd_msg *m = connectd_msg_new(dest);
	int r;

	if (m == NULL)
		return -errno;
	r = pack(m, number);
	if (r == 0 && memory)
		r = connectd_msg_set_durability(m, CONNECTD_MEMORY);
	while (r >= 0) {
		r = connectd_send(c, m, CONNECTD_TELL(CONNECTD_ARRIVED), outcome, t);
		if (r != -EAGAIN)
			break;
		r = connectd_wait(c, -1);
	}
	connectd_msg_unref(m);
	return r;
}

int
main(int argc, char **argv)
{
	struct connectd_options o = { .size = sizeof(o), .application = "order_send" };
	struct tally t = { 0 };
	unsigned long count, first = 1;
	int opt, r, memory = 0, timeout_ms = 60000;
	struct connectd *c;

	while ((opt = getopt(argc, argv, "s:t:f:m")) != -1) {
		if (opt == 's')
			o.socket = optarg;
		else if (opt == 't')
			timeout_ms = atoi(optarg) * 1000;
		else if (opt == 'f')
			first = strtoul(optarg, NULL, 10);
		else if (opt == 'm')
			memory = 1;
		else
			optind = argc; /* usage */
	}
	if (argc - optind != 2) {
		fprintf(stderr, "usage: order_send [-s SOCKET] [-m] [-t SECONDS] [-f FIRST] DESTINATION COUNT\n");
		return 2;
	}
	count = strtoul(argv[optind + 1], NULL, 10);

	r = connectd_open(&o, &c);
	if (r == 0)
		connectd_cork(c);
	for (unsigned long n = first; r >= 0 && n < first + count; n++)
		r = send_one(c, argv[optind], n, memory, &t);
	if (r >= 0) {
		connectd_uncork(c);
		r = connectd_flush(c, timeout_ms);
	}
	if (r < 0)
		fprintf(stderr, "order_send: %s\n", connectd_last_error(c)[0] != '\0' ? connectd_last_error(c) : strerror(-r));
	connectd_close(c);
	if (t.why[0] != '\0')
		fprintf(stderr, "order_send: %s\n", t.why);
	printf("sent to %s: %lu of %lu orders arrived\n", argv[optind], t.arrived, count);
	return r < 0 || t.arrived != count;
}
