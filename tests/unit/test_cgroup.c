/* In which system unit a process is, by what the kernel says. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "cgroup.h"

#define LONGEST 247 /* and ".service" */

static const struct {
	const char *text, *unit;
} table[] = {
	{ "0::/system.slice/shop.service\n", "shop.service" },
	{ "0::/system.slice/shop.service", "shop.service" },
	{ "0::/system.slice/system-web.slice/web@1.service\n", "web@1.service" },
	{ "0::/system.slice/system-web.slice/system-web-shop.slice/a.service\n", "a.service" },
	{ "0::/system.slice/system-a\\x2db.slice/a-b@x.service\n", "a-b@x.service" },
	{ "0::/system.slice/run-u7.scope\n", "run-u7.scope" },
	{ "0::/system.slice/echo.socket\n", "echo.socket" },
	{ "0::/system.slice/srv-data.mount\n", "srv-data.mount" },
	/* What is below a unit is made by whoever it was given to. */
	{ "0::/system.slice/shop.service/bank.service\n", "shop.service" },
	{ "0::/system.slice/docker-1f.scope/system.slice/shop.service\n", "docker-1f.scope" },
	/* Escapes. */
	{ "0::/system.slice/_cpu.service\n", "cpu.service" },
	{ "0::/system.slice/__shop.service\n", "_shop.service" },
	{ "0::/system.slice/dev\\x2da.swap\n", "dev\\x2da.swap" },
	{ "0::/system.slice/_system-io.slice/io@1.service\n", "io@1.service" },
	/* Version 1, alone and beside the other. */
	{ "12:cpu,cpuacct:/user.slice\n1:name=systemd:/system.slice/shop.service\n0::/\n", "shop.service" },
	{ "1:name=systemd:/system.slice/shop.service\n0::/system.slice/shop.service\n", "shop.service" },
	{ "1:name=systemd:/system.slice/shop.service\n0::/system.slice/bank.service\n", "" },
	{ "1:name=systemd:/system.slice/shop.service\n0::/user.slice/a.service\n", "" },
	{ "1:name=systemd:/user.slice\n0::/system.slice/shop.service\n", "" },
	{ "4:memory:/system.slice/shop.service\n0::/\n", "" },
	{ "4:name=other:/system.slice/shop.service\n", "" },
	{ "3::/system.slice/shop.service\n", "" },
	{ "0:cpu:/system.slice/shop.service\n", "" },
	/* Users. */
	{ "0::/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service\n", "" },
	{ "0::/user.slice/user-1000.slice/session-3.scope\n", "" },
	{ "0::/user.slice/user-1000.slice/user@1000.service/system.slice/shop.service\n", "" },
	{ "0::/system.slice/user@1000.service/app.slice/shop.service\n", "" },
	{ "0::/machine.slice/shop.service\n", "" },
	{ "0::/init.scope\n", "" },
	/* Not as systemd makes them. */
	{ "0::/shop.service\n", "" },
	{ "0::/\n", "" },
	{ "0::\n", "" },
	{ "0::/system.slice\n", "" },
	{ "0::/system.slice/\n", "" },
	{ "0::/system.slice//shop.service\n", "" },
	{ "0::/system.slice.d/shop.service\n", "" },
	{ "0::/../system.slice/shop.service\n", "" },
	{ "0::system.slice/shop.service\n", "" },
	{ "0::/system.slice/other.slice/shop.service\n", "" },
	{ "0::/system.slice/system-a-b.slice/shop.service\n", "" },
	{ "0::/system.slice/system-.slice/shop.service\n", "" },
	{ "0::/system.slice/system-web.slice\n", "" },
	{ "0::/system.slice/shop\n", "" },
	{ "0::/system.slice/.service\n", "" },
	{ "0::/system.slice/_.service\n", "" },
	{ "0::/system.slice/@1.service\n", "" },
	{ "0::/system.slice/shop.slice.service/x\n", "shop.slice.service" },
	{ "0::/system.slice/a b.service\n", "" },
	{ "0::/system.slice/sh\xc3\xb6p.service\n", "" },
	{ "0::/system.slice/shop.service (deleted)\n", "" },
	{ "0::/system.slice/shop.service/sub (deleted)\n", "" },
	{ "", "" },
	{ "\n\n:\n::\n", "" },
	{ "nonsense", "" },
};

START_TEST(units)
{
	char unit[CGROUP_UNIT_MAX + 1] = "before";

	ck_assert_int_eq(cgroup_unit(table[_i].text, unit), table[_i].unit[0] != '\0');
	ck_assert_msg(strcmp(unit, table[_i].unit) == 0, "%s: %s, not %s", table[_i].text, unit, table[_i].unit);
}
END_TEST

START_TEST(long_names)
{
	char text[600], unit[CGROUP_UNIT_MAX + 1], name[300];

	memset(name, 'n', sizeof(name));
	snprintf(text, sizeof(text), "0::/system.slice/%.*s.service\n", LONGEST, name);
	ck_assert(cgroup_unit(text, unit));
	ck_assert_uint_eq(strlen(unit), CGROUP_UNIT_MAX);
	snprintf(text, sizeof(text), "0::/system.slice/%.*s.service\n", LONGEST + 1, name);
	ck_assert(!cgroup_unit(text, unit));
	ck_assert_str_eq(unit, "");
}
END_TEST

START_TEST(users)
{
	static const char status[] = "Name:\tsh\nUmask:\t0022\nPid:\t7\nUid:\t1000\t33\t33\t33\nGid:\t0\t0\t0\t0\n";

	ck_assert(cgroup_is_user(status, 33));
	ck_assert(!cgroup_is_user(status, 1000));
	ck_assert(!cgroup_is_user(status, 3));
	ck_assert(cgroup_is_user("\nUid:\t0\t0\t0\t0\n", 0));
	ck_assert(cgroup_is_user("\nUid:\t1\t4294967294\t0\t0\n", 4294967294u));
	ck_assert(!cgroup_is_user("\nUid:\t0", 0));
	ck_assert(!cgroup_is_user("\nUid:\n", 0));
	ck_assert(!cgroup_is_user("Uid: 0", 0));
	ck_assert(!cgroup_is_user("", 0));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("cgroup");
	TCase *t = tcase_create("cgroup");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(t, units, 0, (int)(sizeof(table) / sizeof(*table)));
	tcase_add_test(t, long_names);
	tcase_add_test(t, users);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
