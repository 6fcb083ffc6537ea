/* libconnectd messages: content, properties, and what travels packed. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "orders.pb-c.h"

#include "../../client-lib/msg.h"

/* The message as its receiver would have it. */
static struct connectd_msg *
received(const struct connectd_msg *m, const char *node)
{
	struct wire_item item = { .packed = wire_bytes(m->packed, m->packed_len), .attempt = 3, .counter = 9, .ttl_ms = m->ttl };
	struct wire_origin o = { .node = wire_string(node), .uid = 33, .unit = wire_string("shop.service"),
		.application = wire_string("shop"), .proof = WIRE_PROOF_TLS, .boot_id = 77 };
	struct dict_in *d = calloc(1, sizeof(*d));
	uint8_t packed[256];
	struct dict_type *type = NULL;
	struct dict_origin *origin = NULL;
	struct connectd_msg *r;

	ck_assert_int_eq(dict_in_define(d, &(struct wire_define){ WIRE_DEFINE_TYPE, 1, wire_string(connectd_msg_get_type(m)) }), 0);
	ck_assert_int_eq(dict_in_define(d, &(struct wire_define){ WIRE_DEFINE_ORIGIN, 5,
	    wire_bytes(packed, wire_pack_origin(&o, packed)) }), 0);
	ck_assert_int_eq(dict_in_type(d, 1, &type), 0);
	ck_assert_int_eq(dict_in_origin(d, 5, &origin), 0);
	r = msg_received(&item, m->body_len, type, origin);
	memcpy(r->body, m->body, m->body_len);
	dict_in_reset(d); /* the message keeps what it names */
	free(d);
	return r;
}

START_TEST(pack_and_unpack)
{
	struct connectd_msg *m = connectd_msg_new("berlin/orders"), *r;
	Shop__OrderPlaced placed, *back;
	char customer[1000];

	shop__order_placed__init(&placed);
	memset(customer, 'x', sizeof(customer) - 1);
	customer[sizeof(customer) - 1] = '\0';
	placed.number = 42;
	placed.customer = customer; /* larger than what lies inside the message */
	ck_assert_int_eq(connectd_msg_pack(m, &placed.base), 0);
	ck_assert_str_eq(connectd_msg_get_type(m), "type.googleapis.com/shop.OrderPlaced");
	ck_assert(connectd_msg_is_type(m, &shop__order_placed__descriptor));
	ck_assert(!connectd_msg_is_type(m, &shop__order_paid__descriptor));
	placed.customer = (char[]){ "y" };
	ck_assert_int_eq(connectd_msg_pack(m, &placed.base), 0); /* replaces */
	ck_assert_int_eq(msg_freeze(m), 0);
	r = received(m, "paris");
	ck_assert_ptr_null(connectd_msg_unpack(r, &shop__order_paid__descriptor, NULL));
	ck_assert_int_eq(errno, ENOMSG);
	back = (Shop__OrderPlaced *)connectd_msg_unpack(r, &shop__order_placed__descriptor, NULL);
	ck_assert_ptr_nonnull(back);
	ck_assert_uint_eq(back->number, 42);
	ck_assert_str_eq(back->customer, "y");
	shop__order_placed__free_unpacked(back, NULL);
	r->body[0] = 0xff; /* an unfinished tag */
	r->body_len = 1;
	ck_assert_ptr_null(connectd_msg_unpack(r, &shop__order_placed__descriptor, NULL));
	ck_assert_int_eq(errno, EBADMSG);
	connectd_msg_unref(r);
	connectd_msg_unref(m);
}
END_TEST

START_TEST(types_and_bodies)
{
	struct connectd_msg *m = connectd_msg_new("orders");
	char type[600];
	size_t len;

	ck_assert_str_eq(connectd_msg_get_type(m), "");
	connectd_msg_get_body(m, &len);
	ck_assert_uint_eq(len, 0);
	ck_assert_int_eq(connectd_msg_set_type_body(m, "shop.X", "\0a", 2), 0);
	ck_assert_str_eq(connectd_msg_get_type(m), "type.googleapis.com/shop.X");
	ck_assert_mem_eq(connectd_msg_get_body(m, &len), "\0a", 2);
	ck_assert_uint_eq(len, 2);
	ck_assert_int_eq(connectd_msg_set_type_body(m, "example.org/shop.X", NULL, 0), 0);
	ck_assert_str_eq(connectd_msg_get_type(m), "example.org/shop.X");
	memset(type, 'a', sizeof(type) - 1);
	type[sizeof(type) - 1] = '\0';
	ck_assert_int_eq(connectd_msg_set_type_body(m, type, "", 0), -EMSGSIZE);
	ck_assert_str_eq(connectd_msg_get_type(m), "example.org/shop.X"); /* untouched */
	connectd_msg_unref(m);
}
END_TEST

START_TEST(destinations)
{
	static const char *const bad[] = { "", "/", "a/", "/b", "a/b/c", "Berlin/orders", "or ders", "topic:x", NULL };

	for (size_t i = 0; bad[i] != NULL; i++) {
		errno = 0;
		ck_assert_msg(connectd_msg_new(bad[i]) == NULL, "%s was taken", bad[i]);
		ck_assert_int_ne(errno, 0);
	}
	ck_assert_ptr_null(connectd_msg_new(NULL));
}
END_TEST

START_TEST(what_is_packed_arrives)
{
	struct connectd_msg *m = connectd_msg_new("berlin/orders"), *r;
	const char *name;
	const void *value;
	uint64_t boot, counter;
	size_t len;

	ck_assert_int_eq(connectd_msg_set_type_body(m, "shop.X", "body", 4), 0);
	ck_assert_int_eq(connectd_msg_set_reply_to(m, "answers"), 0);
	ck_assert_int_eq(connectd_msg_set_reply_to(m, "no such/x"), -EINVAL);
	ck_assert_int_eq(connectd_msg_set_correlation_id(m, "\0\1", 2), 0);
	ck_assert_int_eq(connectd_msg_add_header(m, "traceparent", "00-ab", 5), 0);
	ck_assert_int_eq(connectd_msg_add_header(m, "empty", NULL, 0), 0);
	ck_assert_int_eq(connectd_msg_add_header(m, "", "x", 1), -EINVAL);
	ck_assert_int_eq(msg_freeze(m), 0);
	ck_assert_int_eq(connectd_msg_set_ttl(m, 1), -EBUSY);
	ck_assert_int_eq(connectd_msg_add_header(m, "late", "x", 1), -EBUSY);
	ck_assert_int_eq(connectd_msg_set_type_body(m, "shop.X", "body", 4), -EBUSY);
	ck_assert_str_eq(connectd_msg_get_reply_to(m), "answers");

	r = received(m, "paris");
	ck_assert_str_eq(connectd_msg_get_reply_to(r), "paris/answers"); /* relative to where it came from */
	ck_assert_mem_eq(connectd_msg_get_correlation_id(r, &len), "\0\1", 2);
	ck_assert_uint_eq(len, 2);
	ck_assert_uint_eq(connectd_msg_n_headers(r), 2);
	ck_assert_int_eq(connectd_msg_get_header(r, 0, &name, &value, &len), 0);
	ck_assert_str_eq(name, "traceparent");
	ck_assert_uint_eq(len, 5);
	ck_assert_mem_eq(value, "00-ab", 5);
	ck_assert_int_eq(connectd_msg_get_header(r, 1, &name, &value, &len), 0);
	ck_assert_uint_eq(len, 0);
	ck_assert_int_eq(connectd_msg_get_header(r, 2, &name, &value, &len), -ENOENT);
	ck_assert_str_eq(connectd_msg_get_origin_node(r), "paris");
	ck_assert_str_eq(connectd_msg_get_origin_unit(r), "shop.service");
	ck_assert_str_eq(connectd_msg_get_origin_application(r), "shop");
	ck_assert_uint_eq(connectd_msg_get_origin_uid(r), 33);
	ck_assert_int_eq(connectd_msg_get_origin_proof(r), CONNECTD_PROOF_TLS);
	ck_assert_uint_eq(connectd_msg_get_attempt(r), 3);
	connectd_msg_get_id(r, &boot, &counter);
	ck_assert_uint_eq(boot, 77);
	ck_assert_uint_eq(counter, 9);
	ck_assert_int_eq(msg_freeze(r), -EINVAL); /* has no destination */
	connectd_msg_unref(r);
	connectd_msg_unref(m);
}
END_TEST

START_TEST(packed_has_a_bound)
{
	struct connectd_msg *m = connectd_msg_new("orders");
	char big[WIRE_PACKED_MAX + 1] = { 0 };

	ck_assert_int_eq(connectd_msg_set_correlation_id(m, big, sizeof(big)), -EMSGSIZE);
	ck_assert_int_eq(connectd_msg_add_header(m, "h", big, sizeof(big)), -EMSGSIZE);
	ck_assert_int_eq(connectd_msg_add_header(m, "h", big, 3000), 0);
	ck_assert_int_eq(connectd_msg_add_header(m, "h", big, 3000), 0);
	ck_assert_int_eq(msg_freeze(m), -EMSGSIZE);
	connectd_msg_unref(m);
}
END_TEST

START_TEST(foreign_packed_bytes_do_no_harm)
{
	static const char *const nonsense[] = { "\xff\xff\xff", "\x12\x05\x61 b c", "\x1a\x02\x05x", "\x1a\x03\x02\xff\xff" };

	for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		struct wire_item item = { .packed = wire_bytes(nonsense[i], strlen(nonsense[i])) };
		struct connectd_msg *m = msg_received(&item, 0, NULL, NULL);
		size_t len;

		ck_assert_ptr_null(connectd_msg_get_reply_to(m));
		ck_assert_uint_eq(connectd_msg_n_headers(m), 0);
		connectd_msg_get_correlation_id(m, &len);
		ck_assert_uint_eq(len, 0);
		ck_assert_str_eq(connectd_msg_get_type(m), "");
		ck_assert_str_eq(connectd_msg_get_origin_node(m), "");
		connectd_msg_unref(m);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lib_message");
	TCase *t = tcase_create("lib_message");
	SRunner *sr;
	int failed;

	tcase_add_test(t, pack_and_unpack);
	tcase_add_test(t, types_and_bodies);
	tcase_add_test(t, destinations);
	tcase_add_test(t, what_is_packed_arrives);
	tcase_add_test(t, packed_has_a_bound);
	tcase_add_test(t, foreign_packed_bytes_do_no_harm);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
