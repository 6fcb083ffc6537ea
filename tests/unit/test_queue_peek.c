/* A look at a queue: everything in order, whether its body is in memory or only in the store, and nothing changes by it. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "fake_store.h"
#include "queue_box.h"

static struct box b;
static struct taker t;
static struct flow f;
static struct store store;
static struct queue_peek *peek;
static unsigned n_ready;

static size_t
definition(void *arg, struct queue *q, uint8_t *ret, size_t max)
{
	(void)arg, (void)max;
	memcpy(ret, queue_name(q), 4);
	return 4;
}

static void
on_ready(void *arg)
{
	(void)arg;
	n_ready++;
}

static void
setup(void)
{
	box_init(&b);
	fake_store_init(&store);
	memset(&t, 0, sizeof(t));
	n_ready = 0;
	b.cfg.definition = definition;
	b.conf.durable = true;
	box_make(&b, NULL, "orders");
	ck_assert_int_eq(queues_set_store(b.qs, &store), 0);
	flow_open(&f, b.q, false);
	peek = queue_peek_new(b.qs, on_ready, NULL);
	ck_assert_ptr_nonnull(peek);
}

static void
teardown(void)
{
	queue_peek_free(peek);
	queue_inlet_close(&f.inlet);
	queue_detach(&t.consumer);
	queues_set_store(b.qs, NULL);
	box_done(&b);
	fake_store_done(&store);
}

/* As found at start: only the store has the body, "b" and the number. */
static void
found(uint64_t seq, enum wire_priority prio, uint64_t not_before_ms)
{
	char body[8] = "b?", type[] = "test.Type", origin[] = "somebody", note[] = "no customer";
	struct store_message m = { .queue = queue_number(b.q), .seq = seq, .priority = (uint8_t)prio, .counter = 7 };
	struct store_found fd = { .queue = m.queue, .seq = seq, .priority = m.priority, .bytes = 100, .not_before_ms = not_before_ms };

	body[1] = (char)('0' + seq % 10);
	m.parts[0] = (struct store_bytes){ type, strlen(type) };
	m.parts[1] = (struct store_bytes){ origin, strlen(origin) };
	m.parts[STORE_NOTE] = (struct store_bytes){ note, strlen(note) };
	m.parts[STORE_PARTS - 1] = (struct store_bytes){ body, 2 };
	ck_assert_int_eq(store_put(&store, &m, &fd.ref), 0);
	ck_assert_int_eq(queue_restore_message(b.q, &fd, NULL), 0);
}

/* The next one, once it is read; NULL: there are no more. */
static const struct queue_seen *
next(uint64_t most)
{
	const struct queue_seen *s = NULL;
	int r;

	while ((r = queue_peek_get(peek, b.q, most, &s)) == -EAGAIN) {
		unsigned before = n_ready;

		fake_store_serve(&store);
		ck_assert_uint_eq(n_ready, before + 1);
	}
	ck_assert_int_ge(r, 0);
	if (r == 0)
		return NULL;
	queue_peek_next(peek);
	return s;
}

static void
expect(uint64_t seq, enum entry_state st)
{
	const struct queue_seen *s = next(UINT64_MAX);

	ck_assert_ptr_nonnull(s);
	ck_assert_uint_eq(s->seq, seq);
	ck_assert_int_eq(s->state, st);
	ck_assert(!s->is_unread);
}

START_TEST(bodies_are_read_back)
{
	struct queue_stats before, after;
	const struct queue_seen *s;

	for (uint64_t i = 1; i <= 100; i++)
		found(i, WIRE_PRIORITY_NORMAL, 0);
	before = box_stats(b.q);
	for (uint64_t i = 1; i <= 100; i++) {
		s = next(UINT64_MAX);
		ck_assert(s && s->seq == i && s->counter == 7 && s->size == 2 && s->attempt == 0 && s->state == ENTRY_WAITING);
		ck_assert_str_eq(s->type, "test.Type");
		ck_assert_str_eq(s->reason, "no customer");
		ck_assert(s->origin.len == 8 && memcmp(s->origin.data, "somebody", 8) == 0);
		ck_assert(s->body.len == 2 && s->body.data[1] == '0' + i % 10);
		ck_assert_uint_le(store.n_reads, 16);
	}
	ck_assert_ptr_null(next(UINT64_MAX));
	after = box_stats(b.q);
	ck_assert_mem_eq(&before, &after, sizeof(before));
	ck_assert(store.n_done == 0 && fake_store_kept(&store) == 100);
}
END_TEST

/* By priority, what waits on disk before what waits in memory behind it; then the delayed. */
START_TEST(in_the_order_of_the_queue)
{
	uint64_t first;

	found(1, WIRE_PRIORITY_LOW, 0);
	found(2, WIRE_PRIORITY_NORMAL, 0);
	found(3, WIRE_PRIORITY_HIGH, 0);
	found(4, WIRE_PRIORITY_NORMAL, loop_now_ms(b.loop) + 1000);
	found(5, WIRE_PRIORITY_NORMAL, 0);
	queue_restore(b.q, queue_number(b.q), 0);
	flow_fill(&b, &f, 2, NULL);
	first = queue_last_seq(b.q) - 1;
	queues_synced(b.qs, store_ticket(&store));
	expect(3, ENTRY_WAITING);
	expect(2, ENTRY_WAITING);
	expect(5, ENTRY_WAITING);
	expect(first, ENTRY_WAITING);
	expect(first + 1, ENTRY_WAITING);
	expect(1, ENTRY_WAITING);
	expect(4, ENTRY_DELAYED);
	ck_assert_ptr_null(next(UINT64_MAX));
}
END_TEST

START_TEST(no_more_than_wanted_is_read)
{
	for (uint64_t i = 1; i <= 10; i++)
		found(i, WIRE_PRIORITY_NORMAL, 0);
	ck_assert_ptr_nonnull(next(2));
	ck_assert_ptr_nonnull(next(1));
	ck_assert_ptr_null(next(0));
	ck_assert_uint_eq(store.n_reads, 0);
}
END_TEST

START_TEST(what_leaves_meanwhile_is_left_out)
{
	const struct queue_seen *s;
	struct queue_purged purged;

	found(1, WIRE_PRIORITY_NORMAL, 0);
	found(2, WIRE_PRIORITY_NORMAL, 0);
	ck_assert_int_eq(queue_peek_get(peek, b.q, 10, &s), -EAGAIN);
	queue_purge(b.q, &purged);
	ck_assert_uint_eq(purged.messages, 2);
	ck_assert_ptr_null(next(10));
}
END_TEST

/* Seen where it waited, and then taken: it is not come upon again among those that are held. */
START_TEST(what_is_taken_is_not_seen_twice)
{
	flow_fill(&b, &f, 40, NULL);
	queues_synced(b.qs, store_ticket(&store));
	taker_attach(&t, b.q);
	for (int i = 0; i < 32; i++)
		ck_assert_ptr_nonnull(next(UINT64_MAX));
	ck_assert_ptr_null(queue_take(&t.consumer, -1));
	queues_synced(b.qs, store_ticket(&store));
	while (queue_take(&t.consumer, -1))
		;
	ck_assert_uint_eq(t.consumer.n_held, 40);
	for (int i = 32; i < 40; i++)
		ck_assert_int_eq(next(UINT64_MAX)->state, ENTRY_HELD);
	ck_assert_ptr_null(next(UINT64_MAX));
}
END_TEST

START_TEST(unreadable_ones_are_seen_without_body)
{
	const struct queue_seen *s;

	found(1, WIRE_PRIORITY_HIGH, 0);
	store.read_error = -EIO;
	s = next(10);
	ck_assert(s && s->is_unread && s->seq == 1 && s->size == 100 && s->body.len == 0 && s->priority == WIRE_PRIORITY_HIGH);
	ck_assert_str_eq(s->type, "");
	ck_assert_ptr_null(next(10));
	ck_assert_uint_eq(box_stats(b.q).counters.damaged, 0);
	ck_assert_uint_eq(box_stats(b.q).messages, 1);
}
END_TEST

START_TEST(nothing_is_lost_when_the_store_is_busy)
{
	const struct queue_seen *s;

	found(1, WIRE_PRIORITY_NORMAL, 0);
	store.refuse_reads = true;
	ck_assert_int_eq(queue_peek_get(peek, b.q, 10, &s), -EBUSY);
	ck_assert_int_eq(queue_peek_get(peek, b.q, 10, &s), -EBUSY);
	store.refuse_reads = false;
	expect(1, ENTRY_WAITING);
	ck_assert_ptr_null(next(10));
}
END_TEST

/* Many looks at once leave most of what the store reads to consumers; one that ends gives its part back. */
START_TEST(few_are_read_at_once)
{
	struct queue_peek *more[3];
	const struct queue_seen *s;

	for (uint64_t i = 1; i <= 50; i++)
		found(i, WIRE_PRIORITY_NORMAL, 0);
	for (int i = 0; i < 3; i++) {
		more[i] = queue_peek_new(b.qs, on_ready, NULL);
		ck_assert_int_eq(queue_peek_get(more[i], b.q, 50, &s), i < 2 ? -EAGAIN : -EBUSY);
	}
	ck_assert_uint_eq(store.n_reads, 32);
	queue_peek_free(more[0]);
	ck_assert_int_eq(queue_peek_get(more[2], b.q, 50, &s), -EAGAIN);
	queue_peek_free(more[1]);
	queue_peek_free(more[2]);
	fake_store_serve(&store);
	ck_assert_uint_eq(n_ready, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("queue_peek");
	TCase *tc = tcase_create("peek");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, bodies_are_read_back);
	tcase_add_test(tc, in_the_order_of_the_queue);
	tcase_add_test(tc, no_more_than_wanted_is_read);
	tcase_add_test(tc, what_leaves_meanwhile_is_left_out);
	tcase_add_test(tc, what_is_taken_is_not_seen_twice);
	tcase_add_test(tc, unreadable_ones_are_seen_without_body);
	tcase_add_test(tc, nothing_is_lost_when_the_store_is_busy);
	tcase_add_test(tc, few_are_read_at_once);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
