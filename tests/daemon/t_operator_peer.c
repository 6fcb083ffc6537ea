/* State folders that were wiped, restored or copied, and how an operator gets the nodes to talk again, by what the messages say. */
#include <check.h>
#include <connectd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "operator.h"
#include "program.h"

#define LISTENER "[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n"
#define QUICK "backoff_min = 5ms\nbackoff_max = 20ms\n"
#define DURABLE "[queue \"*\"]\ndurable = yes\n[queue \"orders\"]\ndurable = yes\n"
#define HUB DURABLE LISTENER "[peer \"rome\"]\nplaintext = yes\nfrom = 127.0.0.0/8\n" QUICK
#define ROME "drain_timeout = 100ms\n" DURABLE "[peer \"%s\"]\naddress = %s\nplaintext = yes\n" QUICK

/* The end with the smaller name decides: the hub, or rome. */
static const char *const hubs[] = { "berlin", "zurich" };

static struct node hub, rome, other;
static char dest[64];

static void
begin(const char *name)
{
	node_init(&hub, name, HUB);
	node_start(&hub);
	node_init(&rome, "rome", ROME, hub.name, hub.url);
	node_init(&other, "rome", ROME, hub.name, hub.url);
	snprintf(dest, sizeof(dest), "%s/orders", hub.name);
	node_start(&rome);
	node_await_peer(&hub, "rome", "up");
}

static void
end(void)
{
	if (rome.pid > 0)
		ck_assert_int_eq(node_stop(&rome), 0);
	if (other.pid > 0)
		ck_assert_int_eq(node_stop(&other), 0);
	ck_assert_int_eq(node_stop(&hub), 0);
}

static void
run(const char *command)
{
	ck_assert_msg(system(command) == 0, "%s", command);
}

static void
wipe(void)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -rf %s/state", rome.dir);
	run(command);
}

/* The state folder of rome into a safe place, and back. */
static void
copy(bool back)
{
	char command[200];
	const char *to = back ? "state" : "safe", *from = back ? "safe" : "state";

	snprintf(command, sizeof(command), "cd %s && rm -rf %s && cp -a %s %s", rome.dir, to, from, to);
	run(command);
}

/* Texts first to last from one node to the other; all must arrive. */
static void
send_on(const struct node *from, const char *to, uint64_t first, uint64_t last)
{
	struct told told = { 0 };
	struct connectd *c = program_open(from, "sender");

	program_send_numbers(c, to, first, last, &told);
	program_flush(c);
	connectd_close(c);
	ck_assert_uint_eq(told.arrived, last - first + 1);
}

/* They wait there for the other node. */
static void
leave(const struct node *from, const char *to, uint64_t first, uint64_t last)
{
	struct connectd *c = program_open(from, "sender");

	program_send_numbers(c, to, first, last, NULL);
	for (uint64_t i = first; i <= last; i++)
		connectd_flush(c, 20);
	connectd_close(c);
}

/* They come in order; those from `flagged` to `flagged_to` are flagged as what may have come before, the others are not. */
static void
take(const struct node *n, uint64_t first, uint64_t last, uint64_t flagged, uint64_t flagged_to)
{
	struct connectd *c = program_open(n, "taker");

	program_consume(c, "orders", 0);
	for (uint64_t i = first; i <= last; i++) {
		struct connectd_msg *m = program_take(c);

		ck_assert_uint_eq(strtoull(program_text(m), NULL, 10), i);
		ck_assert_int_eq((connectd_msg_get_flags(m) & CONNECTD_REDELIVERED) != 0, i >= flagged && i <= flagged_to);
		program_ack(c, m);
	}
	connectd_close(c);
}

/* What the refusal says is to be done. */
static void
says(struct node *n, const char *peer, const char *what, const char *where)
{
	char text[200];

	snprintf(text, sizeof(text), "%s on %s", what, where);
	node_await_peer(n, peer, "conflict");
	operator_awaits(n, text, "peers --json");
	ck_assert(node_logged(n, text));
}

/* --------------------------------------------------------------------- wiped */

static void
wiped(const char *name)
{
	begin(name);
	send_on(&rome, dest, 1, 5);
	send_on(&hub, "rome/orders", 101, 105);
	ck_assert_int_eq(node_stop(&rome), 0);
	leave(&hub, "rome/orders", 1, 3);
	wipe();
	node_start(&rome);
	says(&hub, "rome", "connectctl peer adopt rome", hub.name);
}

START_TEST(wiped_and_adopted)
{
	wiped(hubs[_i]);
	operator_does(&hub, "the state that rome has now is taken for its own", "peer adopt rome");
	node_await_peer(&hub, "rome", "up");
	/* Numbers begin anew, below those that were accepted once. */
	send_on(&rome, dest, 6, 9);
	take(&hub, 1, 9, 0, 0);
	take(&rome, 1, 3, 1, 3); /* the one before may have had them */
	ck_assert(node_logged(&hub, "rome/orders: what the peer confirmed is lost there from number 1 to "));
	operator_fails(&hub, "no other state of rome was refused", "peer adopt rome");
	/* It stays so. */
	ck_assert_int_eq(node_stop(&rome), 0);
	node_kill(&hub);
	node_start(&hub);
	node_configure(&rome, ROME, hub.name, hub.url);
	node_start(&rome);
	node_await_peer(&hub, "rome", "up");
	send_on(&rome, dest, 10, 11);
	take(&hub, 10, 11, 0, 0);
	end();
}
END_TEST

START_TEST(wiped_and_forgotten)
{
	wiped(hubs[_i]);
	operator_does(&hub, "all that was remembered of rome is forgotten", "peer forget rome");
	node_await_peer(&hub, "rome", "up");
	send_on(&rome, dest, 6, 9);
	take(&hub, 1, 9, 0, 0);
	take(&rome, 1, 3, 1, 3); /* the one before may have had them */
	operator_fails(&hub, "rome is connected, and goes on being remembered: stop it first", "peer forget rome");
	operator_fails(&hub, "there is no peer paris, and nothing is remembered of one", "peer forget paris");
	operator_fails(&hub, "no peer paris is configured", "peer adopt paris");
	end();
}
END_TEST

/* ------------------------------------------------------------------ restored */

START_TEST(restored)
{
	begin(hubs[_i % 2]);
	send_on(&rome, dest, 1, 5);
	ck_assert_int_eq(node_stop(&rome), 0);
	copy(false);
	node_start(&rome);
	node_await_peer(&hub, "rome", "up");
	send_on(&rome, dest, 6, 8);
	ck_assert_int_eq(node_stop(&rome), 0);
	copy(true);
	if (_i >= 2) {
		/* Started more often than the one that it was copied from. */
		node_configure(&rome, DURABLE);
		for (int i = 0; i < 3; i++) {
			node_start(&rome);
			ck_assert_int_eq(node_stop(&rome), 0);
		}
		node_configure(&rome, ROME, hub.name, hub.url);
	}
	node_start(&rome);
	says(&hub, "rome", "restored or cloned; connectctl renew on rome, then connectctl peer adopt rome", hub.name);
	says(&rome, hub.name, "connectctl renew on rome, then connectctl peer adopt rome", hub.name);
	operator_fails(&hub, "`connectctl renew` on rome first", "peer adopt rome");
	leave(&rome, dest, 9, 12);
	operator_does(&rome, "rome has another identity now; where a peer says so: `connectctl peer adopt rome` there", "renew");
	says(&hub, "rome", "connectctl peer adopt rome", hub.name);
	operator_does(&hub, "the state that rome has now is taken for its own", "peer adopt rome");
	node_await_peer(&hub, "rome", "up");
	/* Nothing that was sent since passes for something else. */
	take(&hub, 1, 12, 9, 12);
	send_on(&rome, dest, 13, 14);
	take(&hub, 13, 14, 0, 0);
	end();
}
END_TEST

/* What waits is flagged also after a restart; the new identity stays. */
START_TEST(renewed)
{
	char id[40];
	const char *at;
	struct operated r;

	begin(hubs[_i]);
	ck_assert_int_eq(node_stop(&rome), 0);
	node_configure(&rome, ROME, hub.name, "tcp://127.0.0.1:1");
	node_start(&rome);
	leave(&rome, dest, 1, 3);
	operator_does(&rome, "rome has another identity now", "renew");
	operator_runs(&rome, &r, "status --json");
	at = strstr(r.out, "\"store_id\":");
	ck_assert_ptr_nonnull(at);
	snprintf(id, sizeof(id), "%.32s", at + 12);
	ck_assert_int_eq(node_stop(&rome), 0);
	node_start(&rome);
	ck_assert(operator_sees(&rome, id, "status --json"));
	leave(&rome, dest, 4, 4);
	ck_assert_int_eq(node_stop(&rome), 0);
	node_configure(&rome, ROME, hub.name, hub.url);
	node_start(&rome);
	node_await_peer(&hub, "rome", "up"); /* nothing of it is open there */
	node_await_queue(&hub, "orders", queue_holds, 4);
	take(&hub, 1, 4, 1, 3);
	end();
}
END_TEST

/* ------------------------------------------------------------------- one name */

START_TEST(name_in_use_and_adopted)
{
	begin(hubs[_i]);
	send_on(&rome, dest, 1, 2);
	node_start(&other);
	operator_awaits(&other, "connectctl peer adopt rome on", "peers --json");
	operator_does(&hub, "is taken for its own", "peer adopt rome");
	node_await_peer(&other, hub.name, "up");
	send_on(&other, dest, 3, 5);
	take(&hub, 1, 5, 0, 0);
	/* The other one does not come back by itself. */
	operator_awaits(&rome, "connectctl peer adopt rome on", "peers --json");
	end();
}
END_TEST

/* -------------------------------------------------------------- not configured */

START_TEST(forgotten_when_it_is_no_peer_any_more)
{
	begin(hubs[0]);
	send_on(&rome, dest, 1, 5);
	ck_assert_int_eq(node_stop(&rome), 0);
	ck_assert_int_eq(node_stop(&hub), 0);
	node_configure(&hub, DURABLE LISTENER);
	node_start(&hub);
	ck_assert(node_logged(&hub, "1 entries are of peers that are not configured"));
	operator_does(&hub, "all that was remembered of rome is forgotten", "peer forget rome");
	operator_fails(&hub, "there is no peer rome, and nothing is remembered of one", "peer forget rome");
	node_kill(&hub);
	node_configure(&hub, HUB);
	node_start(&hub);
	operator_does(&hub, "is forgotten", "peer forget rome"); /* nothing there, and fine */
	node_configure(&rome, ROME, hub.name, hub.url);
	wipe();
	node_start(&rome);
	node_await_peer(&hub, "rome", "up");
	send_on(&rome, dest, 6, 7);
	take(&hub, 1, 7, 0, 0);
	end();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("operator_peer");
	TCase *tc = tcase_create("operator_peer");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, wiped_and_adopted, 0, 2);
	tcase_add_loop_test(tc, wiped_and_forgotten, 0, 2);
	tcase_add_loop_test(tc, restored, 0, 4);
	tcase_add_loop_test(tc, renewed, 0, 2);
	tcase_add_loop_test(tc, name_in_use_and_adopted, 0, 2);
	tcase_add_test(tc, forgotten_when_it_is_no_peer_any_more);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
