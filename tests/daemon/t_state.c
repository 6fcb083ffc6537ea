/* State folders that were copied, restored or wiped, and names used twice: always noticed, never silent. */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "operator.h"
#include "program.h"
#include "proxy.h"
#include "wire.h"

#define LISTENER "[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n"
/* What an operator is to see stands for so long between two attempts. */
#define QUICK "backoff_min = 5ms\nbackoff_max = 500ms\n"
#define HUB LISTENER "[queue \"orders\"]\n[peer \"rome\"]\nplaintext = yes\nfrom = 127.0.0.0/8\n" QUICK
#define ROME "drain_timeout = 100ms\n[queue \"orders\"]\n[peer \"%s\"]\naddress = %s\nplaintext = yes\n" QUICK

/* The end with the smaller name decides: the hub, or rome. */
static const char *const hubs[] = { "berlin", "zurich" };

static struct node hub, first, second;

static void
begin(const char *name)
{
	node_init(&hub, name, HUB);
	node_start(&hub);
	node_init(&first, "rome", ROME, hub.name, hub.url);
	node_init(&second, "rome", ROME, hub.name, hub.url);
}

static void
end(void)
{
	node_check_books(&hub);
	if (first.pid > 0)
		ck_assert_int_eq(node_stop(&first), 0);
	if (second.pid > 0)
		ck_assert_int_eq(node_stop(&second), 0);
	ck_assert_int_eq(node_stop(&hub), 0);
}

static void
run(const char *command)
{
	ck_assert_msg(system(command) == 0, "%s", command);
}

static void
copy_state(const struct node *to, const struct node *from)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf %s/state && cp -a %s/state %s", to->dir, from->dir, to->dir);
	run(command);
}

static void
wipe_state(const struct node *n)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf %s/state", n->dir);
	run(command);
}

/* Sessions so far; ret_error: the last trouble. */
static uint64_t
connects(struct node *n, const char *peer, char ret_error[static 200])
{
	struct answer a;
	uint64_t count;

	node_ask(n, WIRE_ADMIN_PEERS, peer, 0, &connectd__v1__peer__descriptor, &a);
	ck_assert_uint_eq(a.n, 1);
	snprintf(ret_error, 200, "%s", ((const Connectd__V1__Peer *)a.items[0])->last_error);
	count = ((const Connectd__V1__Peer *)a.items[0])->connects;
	answer_free(&a);
	return count;
}

/* What an operator sees. */
/* Refused by both, in words, in the log and to operators. */
static void
check_conflict(struct node *n, const char *why)
{
	char error[200];

	node_await_peer(n, hub.name, "conflict");
	connects(n, hub.name, error);
	ck_assert_msg(strstr(error, why) != NULL, "%s", error);
	node_await_logged(n, why);
	node_await_logged(&hub, why);
	node_await_logged(n, "state-conflict");
	node_await_logged(&hub, "state-conflict");
	operator_awaits(n, "conflict", "peers"); /* it dials again all the time */
	/* It may have a session already. */
	connects(&hub, "rome", error);
	ck_assert_msg(strstr(error, why) != NULL, "%s", error);
}

static void
send_some(struct node *from, const char *dest, uint64_t first_number, uint64_t last_number, struct told *told)
{
	struct connectd *c = program_open(from, "sender");

	program_send_numbers(c, dest, first_number, last_number, told);
	program_flush(c);
	connectd_close(c);
}

/* --------------------------------------------------------------- copied */

/* The copy has run; then the old one starts again, while the copy is connected or after. */
START_TEST(old_one_starts_after_its_copy)
{
	char error[200];

	begin(hubs[_i % 2]);
	node_start(&first);
	node_await_peer(&hub, "rome", "up");
	ck_assert_int_eq(node_stop(&first), 0);
	copy_state(&second, &first);
	node_start(&second);
	node_await_peer(&hub, "rome", "up");
	if (_i >= 2) {
		ck_assert_int_eq(node_stop(&second), 0);
		node_await_peer(&hub, "rome", "idle");
	}
	node_start(&first);
	check_conflict(&first, "restored or cloned");
	if (_i < 2)
		ck_assert_uint_eq(connects(&second, hub.name, error), 1);
	else
		node_await_peer(&hub, "rome", "conflict");
	ck_assert_uint_eq(connects(&first, hub.name, error), 0);
	end();
}
END_TEST

/* The copy has started more often than the old one since: only its history tells. */
START_TEST(copy_starts_after_the_old_one)
{
	char error[200];

	begin(hubs[_i]);
	node_start(&first);
	node_await_peer(&hub, "rome", "up");
	ck_assert_int_eq(node_stop(&first), 0);
	copy_state(&second, &first);
	node_start(&first);
	node_await_peer(&hub, "rome", "up");
	ck_assert_int_eq(node_stop(&first), 0);
	node_configure(&second, "%s", "");
	for (int i = 0; i < 3; i++) {
		node_start(&second);
		ck_assert_int_eq(node_stop(&second), 0);
	}
	node_configure(&second, ROME, hub.name, hub.url);
	node_start(&second);
	check_conflict(&second, "restored or cloned");
	ck_assert_uint_eq(connects(&second, hub.name, error), 0);
	end();
}
END_TEST

/* The hub's own state folder under another name. */
START_TEST(copy_of_ones_own)
{
	begin(hubs[_i]);
	ck_assert_int_eq(node_stop(&hub), 0);
	copy_state(&first, &hub);
	/* The folder knows whose it is. */
	ck_assert_int_eq(node_refuses(&first), 78);
	node_start(&hub);
	end();
}
END_TEST

/* ---------------------------------------------------------------- wiped */

enum open_things { NOTHING, WAITING, MARKS };

START_TEST(wiped)
{
	enum open_things open = (enum open_things)(_i / 2);
	struct told told = { 0 };
	struct connectd *c;

	begin(hubs[_i % 2]);
	node_start(&first);
	node_await_peer(&hub, "rome", "up");
	if (open == MARKS) {
		char dest[64];

		snprintf(dest, sizeof(dest), "%s/orders", hub.name);
		send_some(&first, dest, 1, 5, &told);
		ck_assert_uint_eq(told.arrived, 5);
	}
	ck_assert_int_eq(node_stop(&first), 0);
	node_await_peer(&hub, "rome", "idle");
	c = program_open(&hub, "sender");
	if (open == WAITING) {
		program_send_numbers(c, "rome/orders", 1, 5, NULL);
		program_flush(c);
	}
	wipe_state(&first);
	node_start(&first);
	if (open == NOTHING) {
		node_await_peer(&hub, "rome", "up");
		program_send_numbers(c, "rome/orders", 1, 5, &told);
		program_flush(c);
		ck_assert_uint_eq(told.arrived, 5);
	} else {
		check_conflict(&first, "it has a new state folder, and messages for or from the old one are open here");
		node_await_peer(&hub, "rome", "conflict");
		node_await_queue(&hub, "rome/orders", queue_holds, open == WAITING ? 5 : 0);
	}
	connectd_close(c);
	end();
}
END_TEST

/* ---------------------------------------------------------- one name, twice */

START_TEST(name_in_use)
{
	struct told told = { 0 };
	char error[200], dest[64];

	begin(hubs[_i]);
	node_start(&first);
	node_await_peer(&hub, "rome", "up");
	node_start(&second);
	node_await_peer(&second, hub.name, "waiting");
	connects(&second, hub.name, error);
	ck_assert_ptr_nonnull(strstr(error, "another node of this name"));
	ck_assert(node_logged(&second, "name-in-use") && node_logged(&hub, "name-in-use"));
	/* The one that was there works on. */
	ck_assert_uint_eq(connects(&hub, "rome", error), 1);
	ck_assert_uint_eq(connects(&first, hub.name, error), 1);
	snprintf(dest, sizeof(dest), "%s/orders", hub.name);
	send_some(&first, dest, 1, 5, &told);
	ck_assert_uint_eq(told.arrived, 5);
	end();
}
END_TEST

/*
 * It froze, unnoticed as yet, and one with a new state folder comes instead.
 * Its numbers begin anew, below the marks of the old one: they must not pass
 * for duplicates.
 */
START_TEST(wiped_while_the_old_session_lingers)
{
	struct told told = { 0 };
	struct proxy proxy;
	char dest[64];

	begin(hubs[1]);
	proxy_start(&proxy, hub.url);
	node_configure(&first, ROME, hub.name, proxy.url);
	node_start(&first);
	node_await_peer(&hub, "rome", "up");
	snprintf(dest, sizeof(dest), "%s/orders", hub.name);
	send_some(&first, dest, 1, 5, &told);
	ck_assert_uint_eq(told.arrived, 5);
	proxy_hole(&proxy, true);
	node_kill(&first);
	node_start(&second);
	check_conflict(&second, "it has a new state folder, and messages for or from the old one are open here");
	end();
	proxy_stop(&proxy);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("state");
	TCase *tc = tcase_create("state");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, old_one_starts_after_its_copy, 0, 4);
	tcase_add_loop_test(tc, copy_starts_after_the_old_one, 0, 2);
	tcase_add_loop_test(tc, copy_of_ones_own, 0, 2);
	tcase_add_loop_test(tc, wiped, 0, 6);
	tcase_add_loop_test(tc, name_in_use, 0, 2);
	tcase_add_test(tc, wiped_while_the_old_session_lingers); /* one: an old session is given 5 s */
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
