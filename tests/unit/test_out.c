/* output: what connectctl prints, for programs and for people. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../../tools/output.h"
#include "admin.pb-c.h"

static char *shown;
static size_t shown_len;
static FILE *file;

static struct out *
begin(struct out *(*format)(FILE *f))
{
	struct out *o;

	file = open_memstream(&shown, &shown_len);
	ck_assert_ptr_nonnull(file);
	o = format(file);
	ck_assert_ptr_nonnull(o);
	return o;
}

/* What was printed must be exactly this. */
static void
end(struct out *o, const char *expected)
{
	out_free(o);
	fclose(file);
	ck_assert_str_eq(shown, expected);
	free(shown);
}

START_TEST(json_converts_by_suffix)
{
	Connectd__V1__Event e;
	struct out *o = begin(out_json_new);

	connectd__v1__event__init(&e);
	e.unix_ms = 1700000000250;
	e.kind = (char *)(uintptr_t)"peer";
	e.name = (char *)(uintptr_t)"berlin";
	out_message(o, NULL, &e.base);
	end(o, "{\"time\":\"2023-11-14T22:13:20.250Z\",\"kind\":\"peer\",\"name\":\"berlin\",\"change\":\"\",\"text\":\"\"}\n");
}
END_TEST

START_TEST(json_shows_unset_parts)
{
	Connectd__V1__Queue q;
	struct out *o = begin(out_json_new);

	connectd__v1__queue__init(&q);
	q.name = (char *)(uintptr_t)"orders";
	q.bytes = UINT64_MAX;
	q.oldest_ms = 1500;
	q.durable = 1;
	out_message(o, NULL, &q.base);
	end(o, "{\"name\":\"orders\",\"waiting\":0,\"in_flight\":0,\"bytes\":18446744073709551615,\"max_messages\":0,"
	       "\"max_bytes\":0,\"consumers\":0,\"durable\":true,\"reserved_messages\":0,\"counters\":{\"accepted\":0,"
	       "\"moved_in\":0,\"consumed\":0,\"forwarded\":0,\"expired\":0,\"dead\":0,\"dropped\":0,\"purged\":0,"
	       "\"moved_out\":0,\"rejected\":0,\"duplicates\":0,\"redelivered\":0,\"present\":0,\"damaged\":0},\"oldest\":1.5,\"outbound\":false,"
	       "\"dead_letter\":false,\"held\":false,\"stored\":0,\"syncing\":0,\"on_disk\":0,\"min_bytes\":0,\"orphan\":false}\n");
}
END_TEST

START_TEST(json_lists)
{
	Connectd__V1__Status s;
	Connectd__V1__Closed c, *closed[] = { &c, &c };
	char a[] = "peers tcp://127.0.0.1:4", *listeners[] = { a, a };
	struct out *o = begin(out_json_new);

	connectd__v1__status__init(&s);
	connectd__v1__closed__init(&c);
	c.count = 7;
	s.closed = closed;
	s.n_closed = 2;
	s.listeners = listeners;
	s.n_listeners = 2;
	out_message(o, NULL, &s.base);
	out_free(o);
	fclose(file);
	ck_assert_ptr_nonnull(strstr(shown, "\"limits\":[],\"listeners\":[\"peers tcp://127.0.0.1:4\",\"peers tcp://127.0.0.1:4\"],"
	    "\"closed\":[{\"kind\":\"\",\"reason\":\"\",\"count\":7},{\"kind\":\"\",\"reason\":\"\",\"count\":7}],\"state\":\"\",\"journal\":{"));
	ck_assert_ptr_nonnull(strstr(shown, "\"started\":null,\"uptime\":0,"));
	free(shown);
}
END_TEST

START_TEST(json_escapes)
{
	static const char bad[] = "q\"b\\n\n\t\x01\x7f\xc3\xa4\xff\xc2\x9b\xe2\x80\xae\xc3";
	struct out *o = begin(out_json_new);

	o->format->begin(o, NULL);
	out_string(o, "s", bad);
	out_bytes(o, "b", "\xff\x00\x01\x02", 4);
	out_bytes(o, "e", NULL, 0);
	o->format->end(o);
	end(o, "{\"s\":\"q\\\"b\\\\n\\n\\t\\u0001\\u007f\xc3\xa4\\ufffd\\u009b\\u202e\\ufffd\",\"b\":\"/wABAg==\",\"e\":\"\"}\n");
}
END_TEST

START_TEST(json_numbers)
{
	struct out *o = begin(out_json_new);

	o->format->begin(o, NULL);
	out_number(o, "a", OUT_DURATION, 60000);
	out_number(o, "b", OUT_DURATION, 60050);
	out_number(o, "c", OUT_DURATION, 7);
	out_number(o, "d", OUT_NANOS, 4210);
	out_number(o, "e", OUT_SIZE, 65536);
	out_real(o, "f", 0.5);
	out_real(o, "g", 1.0 / 0.0);
	out_bool(o, "h", true);
	o->format->end(o);
	end(o, "{\"a\":60,\"b\":60.05,\"c\":0.007,\"d\":0.00000421,\"e\":65536,\"f\":0.500,\"g\":null,\"h\":true}\n");
}
END_TEST

START_TEST(json_stream_is_an_object_a_line)
{
	struct out *o = begin(out_json_new);

	o->format->begin_stream(o, "Event");
	for (int i = 0; i < 2; i++) {
		o->format->begin(o, NULL);
		out_bool(o, "x", i);
		o->format->end(o);
	}
	end(o, "{\"x\":false}\n{\"x\":true}\n");
}
END_TEST

START_TEST(text_table)
{
	Connectd__V1__Queue q;
	Connectd__V1__Counters c;
	struct out *o = begin(out_text_new);

	connectd__v1__queue__init(&q);
	connectd__v1__counters__init(&c);
	o->format->begin(o, NULL);
	o->format->begin_list(o, "queues", "Queue");
	q.counters = &c;
	q.name = (char *)(uintptr_t)"a";
	q.waiting = 12;
	c.accepted = 1234;
	out_message(o, NULL, &q.base);
	q.name = (char *)(uintptr_t)"b\x1b[2Jlonger";
	q.waiting = 5;
	out_message(o, NULL, &q.base);
	o->format->end_list(o);
	o->format->end(o);
	out_free(o);
	fclose(file);
	ck_assert_ptr_nonnull(strstr(shown, "QUEUE        WAITING  IN FLIGHT  "));
	ck_assert_ptr_nonnull(strstr(shown, "\na                 12          0  "));
	ck_assert_ptr_nonnull(strstr(shown, "\nb?[2Jlonger        5          0  "));
	ck_assert_ptr_nonnull(strstr(shown, "    1234 "));
	ck_assert_ptr_null(strchr(shown, '\x1b'));
	free(shown);
}
END_TEST

START_TEST(text_block_then_tables)
{
	struct out *o = begin(out_text_new);

	o->format->begin(o, NULL);
	out_string(o, "node", "paris");
	o->format->begin_list(o, "limits", "Limit");
	o->format->begin(o, NULL);
	out_string(o, "name", "max_queues");
	out_number(o, "used", OUT_NUMBER, 3);
	out_number(o, "max", OUT_NUMBER, 10000);
	o->format->end(o);
	o->format->end_list(o);
	o->format->begin_list(o, "closed", "Closed"); /* empty: left out */
	o->format->end_list(o);
	o->format->begin_list(o, "listeners", "");
	out_string(o, NULL, "a");
	out_string(o, NULL, "b");
	o->format->end_list(o);
	o->format->begin(o, "cpu");
	out_number(o, "from_daemon", OUT_NANOS, 1500);
	o->format->end(o);
	out_string(o, "state", "");
	o->format->end(o);
	end(o, "node             paris\n"
	       "cpu from daemon  1.5 us\n"
	       "state            -\n"
	       "limits\n"
	       "  LIMIT       USED    MAX\n"
	       "  max_queues     3  10000\n"
	       "listeners\n"
	       "  a\n"
	       "  b\n");
}
END_TEST

/* A limit of each thing of its kind has no sum that is used; 0 would be a lie. */
START_TEST(no_value)
{
	Connectd__V1__Limit each, sum, *limits[] = { &each, &sum };
	Connectd__V1__Status s;
	struct out *o = begin(out_json_new);

	connectd__v1__limit__init(&each);
	each.name = (char *)(uintptr_t)"max_message";
	each.max = 100;
	sum = each;
	sum.name = (char *)(uintptr_t)"max_clients";
	sum.sum_case = CONNECTD__V1__LIMIT__SUM_USED;
	out_message(o, NULL, &each.base);
	end(o, "{\"name\":\"max_message\",\"used\":null,\"max\":100}\n");
	o = begin(out_json_new);
	out_message(o, NULL, &sum.base);
	end(o, "{\"name\":\"max_clients\",\"used\":0,\"max\":100}\n");
	connectd__v1__status__init(&s);
	s.limits = limits;
	s.n_limits = 2;
	o = begin(out_text_new);
	out_message(o, NULL, &s.base);
	out_free(o);
	fclose(file);
	ck_assert_ptr_nonnull(strstr(shown, "\n  max_message     -  100\n  max_clients     0  100\n"));
	free(shown);
}
END_TEST

START_TEST(text_empty_list_has_a_head)
{
	struct out *o = begin(out_text_new);

	o->format->begin(o, NULL);
	o->format->begin_list(o, "limits", "Limit");
	o->format->end_list(o);
	o->format->end(o);
	end(o, "LIMIT  USED  MAX\n");
}
END_TEST

START_TEST(text_stream_and_better_column)
{
	Connectd__V1__Event e;
	struct out *o = begin(out_text_new);

	connectd__v1__event__init(&e);
	e.unix_ms = 1700000000250;
	e.kind = (char *)(uintptr_t)"peer";
	e.name = (char *)(uintptr_t)"berlin";
	e.change = (char *)(uintptr_t)"up";
	e.text = (char *)(uintptr_t)"tcp";
	o->format->begin_stream(o, "Event");
	out_message(o, NULL, &e.base);
	end(o, "2023-11-14T22:13:20.250Z  peer     berlin            up          tcp\n");

	/* A body that could be read as text is shown as that. */
	o = begin(out_text_new);
	o->format->begin_stream(o, "Peeked");
	o->format->begin(o, NULL);
	out_bytes(o, "body", "\n\x02hi", 4);
	out_string(o, "text", "hi");
	o->format->end(o);
	out_free(o);
	fclose(file);
	ck_assert_ptr_nonnull(strstr(shown, " hi\n"));
	ck_assert_ptr_null(strstr(shown, "??"));
	free(shown);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("out");
	TCase *t = tcase_create("out");
	SRunner *sr;
	int failed;

	tcase_add_test(t, json_converts_by_suffix);
	tcase_add_test(t, json_shows_unset_parts);
	tcase_add_test(t, json_lists);
	tcase_add_test(t, json_escapes);
	tcase_add_test(t, json_numbers);
	tcase_add_test(t, json_stream_is_an_object_a_line);
	tcase_add_test(t, text_table);
	tcase_add_test(t, text_block_then_tables);
	tcase_add_test(t, no_value);
	tcase_add_test(t, text_empty_list_has_a_head);
	tcase_add_test(t, text_stream_and_better_column);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
