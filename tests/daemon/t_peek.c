/* Looking at messages of which, after a restart, only the journal has the bodies. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"
#include "raw.h"

static struct node paris;

static void
restart(void)
{
	ck_assert_int_eq(node_stop(&paris), 0);
	node_start(&paris);
}

static void
send(const char *dest, uint64_t first, uint64_t last)
{
	struct connectd *c = program_open(&paris, "sender");

	program_send_numbers(c, dest, first, last, NULL);
	program_flush(c);
	connectd_close(c);
}

static void
look(const char *queue, uint64_t limit, struct answer *a)
{
	node_ask(&paris, WIRE_ADMIN_PEEK, queue, limit, &connectd__v1__peeked__descriptor, a);
	ck_assert_int_eq(a->error, 0);
}

static const Connectd__V1__Peeked *
peeked(const struct answer *a, size_t i)
{
	ck_assert_uint_lt(i, a->n);
	return (const Connectd__V1__Peeked *)a->items[i];
}

static uint64_t
number_in(const Connectd__V1__Peeked *p)
{
	ck_assert(p->body.len > 1 && p->body.data[p->body.len - 1] == '\0');
	return strtoull((const char *)p->body.data, NULL, 10);
}

static void
end(void)
{
	node_check_books(&paris);
	ck_assert_int_eq(node_stop(&paris), 0);
}

/* A dead letter says after a restart what it said before, but for how long it is there and what was tried. */
START_TEST(dead_letters_after_a_restart)
{
	struct answer before, after;
	struct connectd *c;

	node_init(&paris, "paris", "[queue \"orders\"]\n");
	node_start(&paris);
	send("orders", 1, 60);
	c = program_open(&paris, "receiver");
	program_consume(c, "orders", 0);
	for (int i = 1; i <= 60; i++) {
		struct connectd_msg *m = program_take(c);

		ck_assert_int_eq(connectd_nack(c, m, CONNECTD_TO_DEAD, 0, i % 2 ? "no such customer" : "too late"), 0);
		connectd_msg_unref(m);
	}
	node_await_queue(&paris, "orders.dead", queue_holds, 60);
	connectd_close(c);
	look("orders.dead", 0, &before);
	restart();
	look("orders.dead", 0, &after);
	ck_assert_uint_eq(before.n, 60);
	ck_assert_uint_eq(after.n, 60);
	for (size_t i = 0; i < after.n; i++) {
		const Connectd__V1__Peeked *p = peeked(&before, i), *q = peeked(&after, i);

		ck_assert_uint_eq(q->sequence, p->sequence);
		ck_assert_uint_eq(number_in(q), i + 1);
		ck_assert_str_eq(q->type, "type.googleapis.com/test.Text");
		ck_assert_str_eq(q->reason, i % 2 ? "too late" : "no such customer");
		ck_assert_str_eq(q->id, p->id);
		ck_assert_str_eq(q->origin_node, "paris");
		ck_assert_str_eq(q->origin_proof, "local");
		ck_assert_uint_eq(q->origin_uid, p->origin_uid);
		ck_assert_uint_eq(q->size, p->size);
		ck_assert_str_eq(q->state, "waiting");
	}
	answer_free(&before);
	answer_free(&after);
	/* Nobody took anything by looking. */
	c = program_open(&paris, "receiver");
	program_consume(c, "orders.dead", 0);
	for (int i = 1; i <= 60; i++) {
		struct connectd_msg *m = program_take(c);

		ck_assert_int_eq(atoi(program_text(m)), i);
		program_ack(c, m);
	}
	connectd_close(c);
	end();
}
END_TEST

START_TEST(a_long_backlog)
{
	static const uint64_t limits[] = { 1, 20, 500, 0 };
	struct answer a;

	node_init(&paris, "paris", "[queue \"orders\"]\n");
	node_start(&paris);
	send("orders", 1, 10000);
	restart();
	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		look("orders", limits[i], &a);
		ck_assert_uint_eq(a.n, limits[i] ? limits[i] : 1000);
		for (size_t k = 0; k < a.n; k++)
			ck_assert_uint_eq(number_in(peeked(&a, k)), k + 1);
		answer_free(&a);
	}
	node_await_queue(&paris, "orders", queue_holds, 10000);
	end();
}
END_TEST

/* Of a large one only the beginning is read. */
START_TEST(large_bodies)
{
	struct connectd *c;
	struct answer a;

	node_init(&paris, "paris", "[queue \"orders\"]\n");
	node_start(&paris);
	c = program_open(&paris, "sender");
	for (int i = 0; i < 3; i++)
		program_send(c, program_message("orders", "large", 3u << 20), NULL);
	program_flush(c);
	connectd_close(c);
	restart();
	look("orders", 0, &a);
	ck_assert_uint_eq(a.n, 3);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_uint_ge(peeked(&a, i)->size, 3u << 20);
		ck_assert_uint_lt(peeked(&a, i)->size, (3u << 20) + 100);
		ck_assert_uint_eq(peeked(&a, i)->body.len, 1024);
		ck_assert_ptr_nonnull(memmem(peeked(&a, i)->body.data, 1024, "large", 5));
		ck_assert_str_eq(peeked(&a, i)->state, "waiting");
	}
	answer_free(&a);
	end();
}
END_TEST

START_TEST(delayed_ones)
{
	struct connectd_msg *m;
	struct connectd *c;
	struct answer a;

	node_init(&paris, "paris", "[queue \"orders\"]\n");
	node_start(&paris);
	c = program_open(&paris, "sender");
	m = program_message("orders", "1", 0);
	ck_assert_int_eq(connectd_msg_set_not_before(m, 3600 * 1000), 0);
	program_send(c, m, NULL);
	program_flush(c);
	connectd_close(c);
	restart();
	look("orders", 0, &a);
	ck_assert_uint_eq(a.n, 1);
	ck_assert_uint_eq(number_in(peeked(&a, 0)), 1);
	ck_assert_str_eq(peeked(&a, 0)->state, "delayed");
	answer_free(&a);
	end();
}
END_TEST

/* While somebody takes, a look shows what is there, in order and each once. */
START_TEST(while_consumers_take)
{
	struct connectd *c;
	uint64_t taken = 0;

	node_init(&paris, "paris", "[queue \"orders\"]\n");
	node_start(&paris);
	send("orders", 1, 3000);
	restart();
	c = program_open(&paris, "receiver");
	program_consume(c, "orders", 50);
	while (taken < 3000) {
		struct answer a;
		bool seen[3001] = { false };

		for (int i = 0; i < 100 && taken < 3000; i++, taken++) {
			struct connectd_msg *m = program_take(c);

			ck_assert_uint_eq(strtoull(program_text(m), NULL, 10), taken + 1);
			program_ack(c, m);
		}
		look("orders", 0, &a);
		for (size_t k = 0; k < a.n; k++) {
			const Connectd__V1__Peeked *p = peeked(&a, k);
			uint64_t n = number_in(p);

			ck_assert(n <= 3000 && !seen[n]);
			seen[n] = true;
			if (k > 0 && strcmp(p->state, "in flight") != 0)
				ck_assert_uint_gt(n, number_in(peeked(&a, k - 1)));
		}
		answer_free(&a);
	}
	connectd_close(c);
	node_await_queue(&paris, "orders", queue_holds, 0);
	end();
}
END_TEST

/* Whoever asks goes away, with as many questions open as may be, at any moment; the daemon just goes on. */
START_TEST(the_asking_client_goes_away)
{
	struct answer a;

	node_init(&paris, "paris", "[queue \"orders\"]\n");
	node_start(&paris);
	send("orders", 1, 2000);
	restart();
	for (int round = 0; round < 40; round++) {
		struct raw *r = raw_client(&paris);

		raw_greet_client(r);
		for (uint32_t id = 1; id <= 16; id++)
			ck_assert(raw_frame(r, &(struct wire_frame){ .kind = WIRE_ADMIN_REQUEST, .u.admin_request = { .id = id,
				.verb = WIRE_ADMIN_PEEK, .name = wire_string("orders") } }));
		for (int i = 0; i < round; i++)
			raw_until(r, WIRE_ADMIN_RESPONSE);
		if (round % 2)
			ck_assert(raw_frame(r, &(struct wire_frame){ .kind = WIRE_ADMIN_REQUEST,
				.u.admin_request = { .id = 3, .cancel = true } }));
		raw_close(r);
	}
	look("orders", 0, &a);
	ck_assert_uint_eq(a.n, 1000);
	answer_free(&a);
	end();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("peek");
	TCase *tc = tcase_create("peek");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, dead_letters_after_a_restart);
	tcase_add_test(tc, a_long_backlog);
	tcase_add_test(tc, large_bodies);
	tcase_add_test(tc, delayed_ones);
	tcase_add_test(tc, while_consumers_take);
	tcase_add_test(tc, the_asking_client_goes_away);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
