#include "witness.h"

#include <check.h>
#include <inttypes.h>
#include <string.h>

static const char *const kinds[] = { "peer", "client", "stranger" };

static void
read_closed(struct witness *w, uint64_t closed[3][WIRE_CLOSE_CODES])
{
	const Connectd__V1__Status *s;
	struct answer a;

	memset(closed, 0, sizeof(w->closed));
	node_ask(&w->paris, WIRE_ADMIN_STATUS, "", 0, &connectd__v1__status__descriptor, &a);
	ck_assert_uint_eq(a.n, 1);
	s = (const Connectd__V1__Status *)a.items[0];
	for (size_t i = 0; i < s->n_closed; i++)
		for (int kind = 0; kind < 3; kind++)
			for (uint32_t code = 0; code < WIRE_CLOSE_CODES; code++)
				if (strcmp(s->closed[i]->kind, kinds[kind]) == 0 && strcmp(s->closed[i]->reason, wire_close_name(code)) == 0)
					closed[kind][code] = s->closed[i]->count;
	answer_free(&a);
}

void
witness_begin(struct witness *w, const char *node_keys, const char *sections)
{
	struct connectd_options o = { .size = sizeof(o), .application = "witness", .no_reconnect = 1 };

	memset(w, 0, sizeof(*w));
	node_init(&w->berlin, "berlin", "[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n[queue \"orders\"]\n"
	    "[peer \"paris\"]\nplaintext = yes\nfrom = 127.0.0.0/8\n");
	node_start(&w->berlin);
	node_init(&w->paris, "paris", "%s[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n"
	    "[peer \"berlin\"]\naddress = %s\nplaintext = yes\n%s", node_keys, w->berlin.url, sections);
	node_start(&w->paris);
	o.socket = w->paris.socket;
	ck_assert_int_eq(connectd_open(&o, &w->from), 0);
	w->to = traffic_open(&w->berlin);
	traffic_consume(w->to, "orders");
	checker_init(&w->checker, 1000);
	witness_serves(w);
	read_closed(w, w->closed);
}

void
witness_serves(struct witness *w)
{
	traffic_send(w->from, "berlin/orders", ++w->sent, 64, CONNECTD_ARRIVED, &w->told);
	traffic_receive(w->to, w->from, &w->checker, w->sent);
	ck_assert_int_eq(connectd_flush(w->from, 20000), 0);
	ck_assert_uint_eq(w->told.reached, w->sent);
}

void
witness_closed(struct witness *w, enum witness_kind kind, enum wire_close_code code)
{
	uint64_t closed[3][WIRE_CLOSE_CODES];

	w->closed[kind][code]++;
	/* A daemon with much to read may not have seen it yet: each question gives it a turn. */
	for (int i = 0; i < 50000; i++) {
		read_closed(w, closed);
		if (closed[kind][code] >= w->closed[kind][code])
			break;
	}
	for (int k = 0; k < 3; k++)
		for (uint32_t c = 0; c < WIRE_CLOSE_CODES; c++)
			ck_assert_msg(closed[k][c] == w->closed[k][c], "%s, %s expected: of %s, %s there are %" PRIu64 ", not %" PRIu64,
			    kinds[kind], wire_close_name(code), kinds[k], wire_close_name(c), closed[k][c], w->closed[k][c]);
}

void
witness_none_closed(struct witness *w)
{
	uint64_t closed[3][WIRE_CLOSE_CODES];

	read_closed(w, closed);
	ck_assert_mem_eq(closed, w->closed, sizeof(closed));
}

void
witness_end(struct witness *w)
{
	uint64_t connects;

	witness_serves(w);
	w->checker.n = w->sent; /* no more than these */
	checker_assert(&w->checker, "witness");
	traffic_peer(&w->paris, "berlin", &connects, NULL);
	ck_assert_uint_eq(connects, 1);
	ck_assert(connectd_is_up(w->from));
	node_check_books(&w->paris);
	node_check_books(&w->berlin);
	connectd_close(w->to);
	connectd_close(w->from);
	checker_done(&w->checker);
	ck_assert_int_eq(node_stop(&w->paris), 0);
	ck_assert_int_eq(node_stop(&w->berlin), 0);
}
