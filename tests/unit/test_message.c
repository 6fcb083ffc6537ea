/* message and intern: what messages are made of. */
#include "message.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define NOW 5000

static struct message_store store;

static void
setup(void)
{
	message_store_init(&store, 42);
}

static void
teardown(void)
{
	ck_assert_uint_eq(slab_used(&store.slab), 0);
	message_store_done(&store);
}

static struct message *
make(struct wire_item item, uint64_t total)
{
	return message_new(&store, &item, total, WIRE_PRIORITY_NORMAL, NULL, NULL, NOW);
}

/* ------------------------------------------------------------------ intern */

START_TEST(same_bytes_are_one_entry)
{
	struct intern_entry *a = intern_get(&store.types, wire_string("a.b/C"));
	struct intern_entry *b = intern_get(&store.types, wire_bytes("a.b/Cxx", 5));
	struct intern_entry *c = intern_get(&store.types, wire_string("a.b/CC"));

	ck_assert_ptr_eq(a, b);
	ck_assert_ptr_ne(a, c);
	ck_assert_str_eq((const char *)a->data, "a.b/C");
	ck_assert(wire_bytes_equal(intern_bytes(c), wire_string("a.b/CC")));
	intern_unref(&store.types, a);
	ck_assert_str_eq((const char *)b->data, "a.b/C");
	intern_unref(&store.types, b);
	intern_unref(&store.types, c);
	intern_unref(&store.types, NULL);
	ck_assert_uint_eq(store.types.map.n, 0);
	ck_assert_uint_eq(intern_bytes(NULL).len, 0);
}
END_TEST

START_TEST(the_empty_value_is_a_value)
{
	struct intern_entry *a = intern_get(&store.types, wire_bytes(NULL, 0));
	struct intern_entry *b = intern_get(&store.types, wire_string(""));

	ck_assert_ptr_eq(a, b);
	intern_unref(&store.types, a);
	intern_unref(&store.types, b);
}
END_TEST

START_TEST(an_entry_takes_the_smallest_free_number)
{
	enum { N = 300 };
	struct intern_entry *e[N];
	static const uint32_t gone[] = { 250, 3, 77, 4, 299, 0, 120, 5 };
	static const uint32_t back[] = { 0, 3, 4, 5, 77, 120, 250, 299 };

	for (uint32_t i = 0; i < N; i++) {
		e[i] = intern_get(&store.types, wire_bytes(&i, sizeof(i)));
		ck_assert_uint_eq(e[i]->index, i);
	}
	for (size_t i = 0; i < 8; i++)
		intern_unref(&store.types, e[gone[i]]);
	for (size_t i = 0; i < 8; i++) {
		uint32_t name = 1000 + (uint32_t)i;

		e[back[i]] = intern_get(&store.types, wire_bytes(&name, sizeof(name)));
		ck_assert_uint_eq(e[back[i]]->index, back[i]);
	}
	for (size_t i = 0; i < N; i++)
		intern_unref(&store.types, e[i]);
}
END_TEST

START_TEST(numbers_in_use_are_never_given_twice)
{
	enum { N = 200 };
	struct intern_entry *e[N] = { NULL };

	srand(7);
	for (uint32_t round = 0; round < 20000; round++) {
		int i = rand() % N;

		if (e[i]) {
			intern_unref(&store.types, e[i]);
			e[i] = NULL;
		} else {
			uint32_t free_below = 0;
			bool used[N + 1] = { false };

			for (int j = 0; j < N; j++)
				if (e[j])
					used[e[j]->index] = true;
			while (used[free_below])
				free_below++;
			e[i] = intern_get(&store.types, wire_bytes(&round, sizeof(round)));
			ck_assert_uint_eq(e[i]->index, free_below);
		}
	}
	for (int i = 0; i < N; i++)
		intern_unref(&store.types, e[i]);
}
END_TEST

/* ----------------------------------------------------------------- message */

START_TEST(keeps_what_the_item_said)
{
	struct intern_entry *type = intern_get(&store.types, wire_string("x/T"));
	struct intern_entry *origin = intern_get(&store.origins, wire_string("o"));
	struct wire_item item = {
		.flags = WIRE_ITEM_DURABLE | WIRE_ITEM_MAYBE_DUPLICATE, .ttl_ms = 100, .not_before_ms = 30, .counter = 9,
		.packed = wire_string("PACKED"), .body = wire_string("body"),
	};
	struct message *m = message_new(&store, &item, 4, WIRE_PRIORITY_HIGH, type, origin, NOW);
	struct wire_item out;

	ck_assert_int_eq(m->durability, MESSAGE_DURABLE);
	ck_assert_int_eq(m->priority, WIRE_PRIORITY_HIGH);
	ck_assert(m->maybe_duplicate);
	ck_assert_uint_eq(m->deadline_ms, NOW + 100);
	ck_assert_uint_eq(m->not_before_ms, NOW + 30);
	ck_assert_uint_eq(message_bytes(m), 10);
	ck_assert_uint_eq(m->body_have, 4);
	ck_assert_ptr_ne(m->body, item.body.data);
	/* It holds references of its own. */
	intern_unref(&store.types, type);
	intern_unref(&store.origins, origin);
	ck_assert_str_eq((const char *)m->type->data, "x/T");

	message_item(m, NOW + 40, 0, 1000, &out);
	ck_assert_uint_eq(out.flags, item.flags);
	ck_assert_uint_eq(out.ttl_ms, 60);
	ck_assert_uint_eq(out.not_before_ms, 0);
	ck_assert_uint_eq(out.counter, 9);
	ck_assert(wire_bytes_equal(out.packed, item.packed));
	ck_assert(wire_bytes_equal(out.body, item.body));
	ck_assert_uint_eq(out.total, 0);
	message_unref(m);
}
END_TEST

START_TEST(durability_is_one_of_three)
{
	static const struct { uint32_t flags; int durability; uint32_t out; } cases[] = {
		{ 0, MESSAGE_AS_QUEUE, 0 },
		{ WIRE_ITEM_DURABLE, MESSAGE_DURABLE, WIRE_ITEM_DURABLE },
		{ WIRE_ITEM_MEMORY, MESSAGE_MEMORY, WIRE_ITEM_MEMORY },
		{ WIRE_ITEM_MEMORY | WIRE_ITEM_DURABLE | WIRE_ITEM_REDELIVERED, MESSAGE_DURABLE, WIRE_ITEM_DURABLE },
	};
	struct message *m = make((struct wire_item){ .flags = cases[_i].flags }, 0);
	struct wire_item out;

	ck_assert_int_eq(m->durability, cases[_i].durability);
	message_item(m, NOW, 0, 100, &out);
	ck_assert_uint_eq(out.flags, cases[_i].out);
	message_unref(m);
}
END_TEST

START_TEST(times_neither_wrap_nor_become_none)
{
	struct message *m = make((struct wire_item){ .ttl_ms = UINT64_MAX, .not_before_ms = 0 }, 0);
	struct wire_item out;

	ck_assert_uint_eq(m->deadline_ms, UINT64_MAX);
	ck_assert_uint_eq(m->not_before_ms, 0);
	message_unref(m);
	m = make((struct wire_item){ .ttl_ms = 10 }, 0);
	message_item(m, NOW + 10, 0, 100, &out);
	ck_assert_uint_eq(out.ttl_ms, 1);
	message_item(m, NOW + 9999, 0, 100, &out);
	ck_assert_uint_eq(out.ttl_ms, 1);
	message_unref(m);
	m = make((struct wire_item){ .ttl_ms = 0 }, 0);
	message_item(m, NOW + 10, 0, 100, &out);
	ck_assert_uint_eq(out.ttl_ms, 0);
	message_unref(m);
}
END_TEST

/* Sizes around the edge between one allocation and two. */
START_TEST(grows_by_chunks_and_goes_out_in_chunks)
{
	static const size_t sizes[] = { 1, 100, 3900, 3990, 4000, 4010, 4096, 5000, 65536, 300000 };
	size_t size = sizes[_i], chunk = size / 3 + 1, off;
	uint8_t *body = malloc(size);
	struct wire_item item = { .packed = wire_string("p") }, out;
	struct message *m;
	unsigned n = 0;

	for (size_t i = 0; i < size; i++)
		body[i] = (uint8_t)(i * 31 + i / 251);
	item.body = wire_bytes(body, chunk < size ? chunk : size);
	m = make(item, size);
	ck_assert_uint_eq(m->body_len, size);
	/* Of a large one only when it goes on. */
	ck_assert_uint_eq(slab_used(&store.slab) >= size, size <= WIRE_LARGE);
	for (off = item.body.len; off < size; off += item.body.len) {
		ck_assert_uint_eq(m->body_have, off);
		item.body = wire_bytes(body + off, chunk < size - off ? chunk : size - off);
		ck_assert(message_grow(m, item.body));
	}
	ck_assert_uint_eq(m->body_have, size);
	ck_assert_mem_eq(m->body, body, size);
	ck_assert_mem_eq(m->data, "p", 1);
	for (off = 0; off < size; off += out.body.len, n++) {
		message_item(m, NOW, off, chunk, &out);
		ck_assert_mem_eq(out.body.data, body + off, out.body.len);
		ck_assert_uint_eq(out.offset, off);
		ck_assert_uint_eq(out.total, chunk < size ? size : 0);
		/* Only the first carries the packed part. */
		ck_assert_uint_eq(out.packed.len, off == 0);
	}
	ck_assert_uint_eq(n, (size + chunk - 1) / chunk);
	message_unref(m);
	free(body);
}
END_TEST

START_TEST(lives_until_the_last_reference)
{
	struct message *m = make((struct wire_item){ .body = wire_string("abc") }, 3);

	ck_assert_ptr_eq(message_ref(m), m);
	message_unref(m);
	ck_assert_mem_eq(m->body, "abc", 3);
	ck_assert_uint_gt(slab_used(&store.slab), 0);
	message_unref(m);
	message_unref(NULL);
}
END_TEST

START_TEST(impossible_sizes_are_no_memory)
{
	ck_assert_ptr_null(make((struct wire_item){ 0 }, UINT64_MAX));
	ck_assert_ptr_null(make((struct wire_item){ 0 }, (uint64_t)1 << 62));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("message");
	TCase *t = tcase_create("message");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, same_bytes_are_one_entry);
	tcase_add_test(t, the_empty_value_is_a_value);
	tcase_add_test(t, an_entry_takes_the_smallest_free_number);
	tcase_add_test(t, numbers_in_use_are_never_given_twice);
	tcase_add_test(t, keeps_what_the_item_said);
	tcase_add_loop_test(t, durability_is_one_of_three, 0, 4);
	tcase_add_test(t, times_neither_wrap_nor_become_none);
	tcase_add_loop_test(t, grows_by_chunks_and_goes_out_in_chunks, 0, 10);
	tcase_add_test(t, lives_until_the_last_reference);
	tcase_add_test(t, impossible_sizes_are_no_memory);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
