/* When somebody is told that a certificate ends. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "expiry.h"
#include "fake_loop.h"

#define DAY INT64_C(86400)
#define HOUR_MS UINT64_C(3600000)
#define START INT64_C(1700000000) /* 2023-11-14 22:13:20, the fake loop's */

static struct loop *l;
static struct expiry *e;
static struct expiry_item items[4];
static size_t n_items;
static char told[2000]; /* a line for each */

static void
each(void *arg, void (*fn)(void *fn_arg, const struct expiry_item *it), void *fn_arg)
{
	(void)arg;
	for (size_t i = 0; i < n_items; i++)
		fn(fn_arg, &items[i]);
}

static void
tell(void *arg, const struct expiry_item *it, enum expiry_stage stage, const char *text)
{
	size_t len = strlen(told);

	(void)arg;
	snprintf(told + len, sizeof(told) - len, "%s %d %s\n", it->peer ? it->peer : "-", stage, text);
}

static void
setup(void)
{
	l = loop_new();
	e = expiry_new(&(struct expiry_env){ .loop = l, .each = each, .tell = tell });
	ck_assert_ptr_nonnull(e);
	n_items = 0;
	told[0] = '\0';
}

static void
teardown(void)
{
	expiry_free(e);
	ck_assert_uint_eq(fake_loop_timers(l), 0);
	loop_free(l);
}

/* One more, that ends so many seconds from the loop's start. */
static void
add(const char *peer, const char *what, int64_t left_s)
{
	items[n_items++] = (struct expiry_item){ peer, { .what = what, .not_after = START + left_s } };
}

/* What was told since, and nothing else. */
static void
check_told(const char *expected)
{
	ck_assert_str_eq(told, expected);
	told[0] = '\0';
}

static void
advance_days(int64_t days)
{
	fake_loop_advance(l, (uint64_t)days * 24 * HOUR_MS);
}

START_TEST(judged)
{
	static const struct {
		int64_t left;
		enum expiry_stage stage;
		const char *text;
	} table[] = {
		{ 31 * DAY, EXPIRY_NONE, "" },
		{ 30 * DAY + 1, EXPIRY_NONE, "" },
		{ 30 * DAY, EXPIRY_MONTH, "the certificate ends 2023-12-14, in 30 days" },
		{ 7 * DAY + 1, EXPIRY_MONTH, "the certificate ends 2023-11-21, in 7 days" },
		{ 7 * DAY, EXPIRY_WEEK, "the certificate ends 2023-11-21, in 7 days" },
		{ DAY + 1, EXPIRY_WEEK, "the certificate ends 2023-11-15, in 1 day" },
		{ DAY, EXPIRY_DAY, "the certificate ends 2023-11-15, in 1 day" },
		{ DAY - 1, EXPIRY_DAY, "the certificate ends 2023-11-15, in less than a day" },
		{ 0, EXPIRY_DAY, "the certificate ends 2023-11-14, in less than a day" },
		{ -1, EXPIRY_OVER, "the certificate ended 2023-11-14" },
		{ -400 * DAY, EXPIRY_OVER, "the certificate ended 2022-10-10" },
		{ TLS_NEVER - START, EXPIRY_NONE, "" },
	};
	struct tls_dates d = { .what = "certificate" };
	char text[EXPIRY_TEXT_MAX];

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		d.not_after = START + table[i].left;
		ck_assert_int_eq(expiry_judge(&d, START, text), table[i].stage);
		ck_assert_str_eq(text, table[i].text);
	}
	d = (struct tls_dates){ .what = "CRL", .of = "CN=Shop", .not_before = START + 1, .not_after = TLS_NEVER };
	ck_assert_int_eq(expiry_judge(&d, START, text), EXPIRY_EARLY);
	ck_assert_str_eq(text, "the CRL of CN=Shop is valid only from 2023-11-14");
	ck_assert_int_eq(expiry_judge(&d, START + 1, text), EXPIRY_NONE);
}
END_TEST

/* Once at each threshold, at its time; each day when it is over. */
START_TEST(thresholds)
{
	add(NULL, "certificate", 40 * DAY);
	expiry_look_soon(e);
	fake_loop_run(l);
	ck_assert_uint_eq(fake_loop_timers(l), 0); /* not begun */
	expiry_begin(e);
	fake_loop_run(l);
	check_told("");
	fake_loop_advance(l, 10 * 24 * HOUR_MS - 1000);
	check_told("");
	fake_loop_advance(l, 1000);
	check_told("- 2 the certificate ends 2023-12-24, in 30 days\n");
	advance_days(22);
	check_told("");
	advance_days(1);
	check_told("- 3 the certificate ends 2023-12-24, in 7 days\n");
	advance_days(6);
	check_told("- 4 the certificate ends 2023-12-24, in 1 day\n");
	advance_days(1);
	check_told("");
	fake_loop_advance(l, 1000);
	check_told("- 5 the certificate ended 2023-12-24\n");
	fake_loop_advance(l, 23 * HOUR_MS);
	check_told("");
	fake_loop_advance(l, 2 * HOUR_MS);
	check_told("- 5 the certificate ended 2023-12-24\n");
	advance_days(3);
	check_told("- 5 the certificate ended 2023-12-24\n- 5 the certificate ended 2023-12-24\n- 5 the certificate ended 2023-12-24\n");
}
END_TEST

/* A new start, or a reload, tells again what stands; one put in its place begins anew. */
START_TEST(again)
{
	add(NULL, "certificate", 5 * DAY);
	expiry_begin(e);
	fake_loop_run(l);
	check_told("- 3 the certificate ends 2023-11-19, in 5 days\n");
	fake_loop_advance(l, 5 * HOUR_MS);
	check_told("");
	expiry_begin(e);
	fake_loop_run(l);
	check_told("- 3 the certificate ends 2023-11-19, in 4 days\n");
	items[0].dates.not_after += 20 * DAY;
	fake_loop_advance(l, HOUR_MS);
	check_told("- 2 the certificate ends 2023-12-09, in 24 days\n");
	items[0].dates.not_after += 400 * DAY;
	advance_days(30);
	check_told("");
}
END_TEST

/* Told once, however often the peer comes and goes. */
START_TEST(peers)
{
	expiry_begin(e);
	fake_loop_run(l);
	add("berlin", "certificate", 5 * DAY);
	add("rome", "certificate", 5 * DAY);
	for (int i = 0; i < 5; i++)
		expiry_look_soon(e);
	fake_loop_advance(l, 1000);
	check_told("berlin 3 the certificate ends 2023-11-19, in 4 days\nrome 3 the certificate ends 2023-11-19, in 4 days\n");
	n_items = 1;
	fake_loop_advance(l, 2 * HOUR_MS);
	n_items = 2;
	expiry_look_soon(e);
	fake_loop_advance(l, 1000);
	check_told("");
}
END_TEST

/* The wall clock jumps while the loop's does not: seen within the hour. */
START_TEST(clock_jumps)
{
	add(NULL, "certificate", 40 * DAY);
	expiry_begin(e);
	fake_loop_run(l);
	fake_loop_set_wall(l, (uint64_t)(START + 41 * DAY) * 1000);
	check_told("");
	fake_loop_advance(l, HOUR_MS);
	check_told("- 5 the certificate ended 2023-12-24\n");
	/* Back again: nothing is over, and it is told anew when it is time. */
	fake_loop_set_wall(l, (uint64_t)(START + 34 * DAY) * 1000);
	fake_loop_advance(l, 2 * HOUR_MS);
	check_told("");
	advance_days(5);
	check_told("- 4 the certificate ends 2023-12-24, in 1 day\n");
}
END_TEST

START_TEST(begins_later)
{
	add(NULL, "certificate", 400 * DAY);
	items[0].dates.not_before = START + 600;
	expiry_begin(e);
	fake_loop_run(l);
	check_told("- 1 the certificate is valid only from 2023-11-14\n");
	ck_assert_uint_eq(fake_loop_next(l), 600000);
	advance_days(1);
	check_told("");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("expiry");
	TCase *t = tcase_create("expiry");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, judged);
	tcase_add_test(t, thresholds);
	tcase_add_test(t, again);
	tcase_add_test(t, peers);
	tcase_add_test(t, clock_jumps);
	tcase_add_test(t, begins_later);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
