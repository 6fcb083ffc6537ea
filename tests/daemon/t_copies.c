/*
 * State folders with messages in their journals that are put back, copied, or
 * wiped, at either end of a link: both ends say so, in words, in their logs and
 * to operators; nothing is lost or doubled in silence, and what waits stays.
 */
#include <check.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "operator.h"
#include "program.h"
#include "wire.h"

#define QUICK "plaintext = yes\nbackoff_min = 5ms\nbackoff_max = 20ms\n"
#define QUEUES "[queue \"orders\"]\ndurable = yes\n[queue \"%s/*\"]\ndurable = yes\n"
#define HUB "[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n" QUEUES "[peer \"rome\"]\nfrom = 127.0.0.0/8\n" QUICK
#define ROME QUEUES "[peer \"%s\"]\naddress = %s\n" QUICK
#define ALONE QUEUES "[peer \"%s\"]\nfrom = 192.0.2.1\nplaintext = yes\n" /* it never dials */

/* The end with the smaller name decides: the hub, or rome. */
static const char *const hubs[] = { "berlin", "zurich" };
enum { ROME_SENDS, ROME_RECEIVES, ROLES };

static struct node hub, rome, other;
static bool rome_sends;

/* By the loop's number: who decides, and which way messages go. */
static void
begin(int i)
{
	const char *name = hubs[i % 2];

	rome_sends = i / 2 % ROLES == ROME_SENDS;
	node_init(&hub, name, HUB, "rome");
	node_start(&hub);
	node_init(&rome, "rome", ROME, name, name, hub.url);
	node_init(&other, "rome", ROME, name, name, hub.url);
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

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void
run(const char *format, ...)
{
	char command[400];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	ck_assert_msg(system(command) == 0, "%s", command);
}

/* Of the whole folder, or of what is below it. */
static void
copy_state(const struct node *from, const struct node *to, const char *part)
{
	run("rm -rf %s/state%s && cp -a %s/state%s %s/state%s", to->dir, part, from->dir, part, to->dir, part);
}

/* ------------------------------------------------------------------- traffic */

/* Numbers into the outbound queue at the end that sends. */
static void
send_numbers(struct node *n, uint64_t first, uint64_t last, bool arrive)
{
	struct connectd *c = program_open(n, "sender");
	struct told told = { 0 };
	char dest[64];

	snprintf(dest, sizeof(dest), "%s/orders", n == &hub ? "rome" : hub.name);
	program_send_numbers(c, dest, first, last, arrive ? &told : NULL);
	program_flush(c);
	if (arrive)
		ck_assert_uint_eq(told.arrived, last - first + 1);
	connectd_close(c);
}

/* From the end that sends now to the other; rome may be its copy. */
static void
pass(struct node *at_rome, uint64_t first, uint64_t last)
{
	send_numbers(rome_sends ? at_rome : &hub, first, last, true);
}

static void
take(struct node *n, uint64_t first, uint64_t last)
{
	struct connectd *c = program_open(n, "receiver");

	program_consume(c, "orders", 0);
	for (uint64_t i = first; i <= last; i++) {
		struct connectd_msg *m = program_take(c);

		ck_assert_uint_eq(strtoull(program_text(m), NULL, 10), i);
		program_ack(c, m);
	}
	connectd_close(c);
	node_await_queue(n, "orders", queue_holds, 0);
}

/* ---------------------------------------------------------------- what is said */

#define RESTORED "restored or cloned"
#define WIPED "it has a new state folder, and messages for or from the old one are open here"

/* Refused by both: in words in the logs, as the code, and to operators. */
static void
check_conflict(struct node *n, const char *why)
{
	char step[120];

	node_await_peer(n, hub.name, "conflict");
	node_await_logged(n, why);
	node_await_logged(&hub, why);
	node_await_logged(n, "state-conflict");
	node_await_logged(&hub, "state-conflict");
	operator_awaits(n, "conflict", "peers");
	operator_awaits(n, why, "peers");
	/* And what is to be done, at both ends. */
	snprintf(step, sizeof(step), "%sconnectctl peer adopt rome on %s", strcmp(why, RESTORED) == 0 ? "connectctl renew on rome, then " : "",
	    hub.name);
	node_await_logged(n, step);
	node_await_logged(&hub, step);
}

static uint64_t
sessions(struct node *n, const char *peer)
{
	struct answer a;
	uint64_t count;

	node_ask(n, WIRE_ADMIN_PEERS, peer, 0, &connectd__v1__peer__descriptor, &a);
	ck_assert_uint_eq(a.n, 1);
	count = ((const Connectd__V1__Peer *)a.items[0])->connects;
	answer_free(&a);
	return count;
}

/* Nothing passes, and nothing goes: what is sent now waits at either end. */
static void
check_all_stays(struct node *at_rome, uint64_t at_hub)
{
	char dest[64];

	send_numbers(&hub, 101, 105, false);
	send_numbers(at_rome, 201, 205, false);
	node_await_queue(&hub, "rome/orders", queue_holds, 5);
	snprintf(dest, sizeof(dest), "%s/orders", hub.name);
	node_await_queue(at_rome, dest, queue_holds, 5);
	node_await_queue(&hub, "orders", queue_holds, at_hub);
	ck_assert_uint_eq(sessions(at_rome, hub.name), 0);
	/* Also over a restart of the end that is whole. */
	ck_assert_int_eq(node_stop(&hub), 0);
	node_start(&hub);
	node_await_queue(&hub, "rome/orders", queue_holds, 5);
	node_await_queue(&hub, "orders", queue_holds, at_hub);
}

/* ------------------------------------------------------------------- restored */

/* An older copy is put back; `starts` more starts without a link hide nothing. */
static void
put_back(int starts)
{
	pass(&rome, 1, 10);
	ck_assert_int_eq(node_stop(&rome), 0);
	copy_state(&rome, &other, "");
	node_start(&rome);
	node_await_peer(&hub, "rome", "up");
	pass(&rome, 11, 20);
	ck_assert_int_eq(node_stop(&rome), 0);
	node_configure(&other, ALONE, hub.name, hub.name);
	for (int i = 0; i < starts; i++) {
		node_start(&other);
		ck_assert_int_eq(node_stop(&other), 0);
	}
	node_configure(&other, ROME, hub.name, hub.name, hub.url);
	node_start(&other);
}

/* The hub's address changes with its restart: where rome dials matters no more then. */
START_TEST(restored)
{
	begin(_i);
	put_back(0);
	check_conflict(&other, RESTORED);
	/* What arrived is there, once. */
	check_all_stays(&other, rome_sends ? 20 : 0);
	if (rome_sends)
		take(&hub, 1, 20);
	else
		take(&other, 1, 10); /* what came behind the copy is gone with the folder, and both said so */
	end();
}
END_TEST

START_TEST(restored_and_started_twice)
{
	begin(_i);
	put_back(3);
	check_conflict(&other, RESTORED);
	check_all_stays(&other, rome_sends ? 20 : 0);
	if (rome_sends)
		take(&hub, 1, 20);
	end();
}
END_TEST

/* --------------------------------------------------------------------- cloned */

/* With messages on their way in both copies: each goes once. */
START_TEST(cloned)
{
	char dest[64];

	begin(_i);
	pass(&rome, 1, 10);
	ck_assert_int_eq(node_stop(&rome), 0);
	node_configure(&rome, ALONE, hub.name, hub.name);
	node_start(&rome);
	snprintf(dest, sizeof(dest), "%s/orders", hub.name);
	send_numbers(&rome, 11, 15, false);
	node_await_queue(&rome, dest, queue_holds, 5);
	ck_assert_int_eq(node_stop(&rome), 0);
	copy_state(&rome, &other, "");
	node_configure(&rome, ROME, hub.name, hub.name, hub.url);
	node_start(&rome);
	node_await_peer(&hub, "rome", "up");
	node_await_queue(&hub, "orders", queue_holds, rome_sends ? 15 : 5);
	/* The second one, while the first is connected. */
	node_start(&other);
	check_conflict(&other, RESTORED);
	node_await_queue(&other, dest, queue_holds, 5);
	ck_assert_uint_eq(sessions(&other, hub.name), 0);
	/* The first one works on. */
	ck_assert_uint_eq(sessions(&rome, hub.name), 1);
	send_numbers(&rome, 16, 20, true);
	take(&hub, rome_sends ? 1 : 11, 20);
	end();
}
END_TEST

/* ---------------------------------------------------------------------- wiped */

START_TEST(wiped)
{
	begin(_i);
	pass(&rome, 1, 10);
	ck_assert_int_eq(node_stop(&rome), 0);
	node_await_peer(&hub, "rome", "idle");
	if (!rome_sends)
		send_numbers(&hub, 11, 15, false);
	run("rm -rf %s/state", rome.dir);
	node_start(&rome);
	check_conflict(&rome, WIPED);
	ck_assert_uint_eq(sessions(&rome, hub.name), 0);
	node_await_queue(&hub, "orders", queue_holds, rome_sends ? 10 : 0);
	node_await_queue(&hub, "rome/orders", queue_holds, rome_sends ? 0 : 5);
	/* Also over a restart of the hub: its marks and what waits are in its journal. */
	ck_assert_int_eq(node_stop(&hub), 0);
	node_start(&hub);
	node_configure(&rome, ROME, hub.name, hub.name, hub.url);
	ck_assert_int_eq(node_stop(&rome), 0);
	node_start(&rome);
	check_conflict(&rome, WIPED);
	node_await_queue(&hub, "rome/orders", queue_holds, rome_sends ? 0 : 5);
	if (rome_sends)
		take(&hub, 1, 10);
	end();
}
END_TEST

/* ---------------------------------------------------------------------- parts */

/* The rest of an older folder, and the journal of now: it refuses to start and says why. */
START_TEST(journal_of_a_later_start)
{
	begin(_i);
	pass(&rome, 1, 10);
	ck_assert_int_eq(node_stop(&rome), 0);
	copy_state(&rome, &other, "");
	for (int i = 0; i < 2; i++) {
		node_start(&rome);
		node_await_peer(&hub, "rome", "up");
		pass(&rome, 11 + 5 * (uint64_t)i, 15 + 5 * (uint64_t)i);
		ck_assert_int_eq(node_stop(&rome), 0);
	}
	copy_state(&rome, &other, "/journal");
	ck_assert_int_eq(node_refuses(&other), 78);
	ck_assert(node_logged(&other, "the journal is of a later start than the rest of the state folder"));
	/* As a whole it is fine. */
	node_start(&rome);
	node_await_peer(&hub, "rome", "up");
	pass(&rome, 21, 25);
	take(rome_sends ? &hub : &rome, 1, 25);
	end();
}
END_TEST

#define REFUSED_PARTS "restore all of the folder, or remove all of it, then connectctl peer adopt NAME at the peers"

/* The other way about: an older journal below the rest of now, or none. */
START_TEST(journal_of_an_earlier_start)
{
	begin(_i);
	pass(&rome, 1, 10);
	ck_assert_int_eq(node_stop(&rome), 0);
	copy_state(&rome, &other, "");
	for (int i = 0; i < 2; i++) {
		node_start(&rome);
		node_await_peer(&hub, "rome", "up");
		pass(&rome, 11 + 5 * (uint64_t)i, 15 + 5 * (uint64_t)i);
		/* A crash loses nothing, and nobody says so. */
		node_kill(&rome);
	}
	run("mv %s/state/journal %s/journal", rome.dir, rome.dir);
	/* Not the second time either. */
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(node_refuses(&rome), 78);
	ck_assert(node_logged(&rome, "the journal is missing, and start 3 had one: it was lost; " REFUSED_PARTS));
	copy_state(&other, &rome, "/journal");
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(node_refuses(&rome), 78);
	ck_assert(node_logged(&rome, "the journal is of start 1, the state folder of start 3: it was restored alone, or lost; " REFUSED_PARTS));
	/* With its own journal it goes on. */
	run("rm -rf %s/state/journal && mv %s/journal %s/state/journal", rome.dir, rome.dir, rome.dir);
	node_start(&rome);
	node_await_peer(&hub, "rome", "up");
	pass(&rome, 21, 25);
	take(rome_sends ? &hub : &rome, 1, 25);
	ck_assert(!node_logged(&hub, "lost messages"));
	end();
}
END_TEST

/*
 * An older journal of the same start: the node itself does not notice; whoever
 * was told by it that messages arrived does.
 */
START_TEST(older_journal_of_the_same_start)
{
	begin(_i + 2); /* rome receives */
	pass(&rome, 1, 10);
	/* Nothing is being written. */
	copy_state(&rome, &other, "");
	pass(&rome, 11, 20);
	node_kill(&rome);
	copy_state(&other, &rome, "/journal");
	node_start(&rome);
	node_await_peer(&hub, "rome", "up");
	pass(&rome, 21, 25);
	node_await_logged(&hub, "rome/orders: it has lost messages that it had confirmed");
	end();
}
END_TEST

/* Starts that wrote nothing left no journal, and none is missed. */
START_TEST(without_a_journal)
{
	node_init(&other, "rome", "[queue \"*\"]\ndurable = no\n");
	for (int i = 0; i < 3; i++) {
		node_start(&other);
		node_kill(&other);
	}
	run("rm -rf %s/state/journal", other.dir);
	node_start(&other);
	ck_assert_int_eq(node_stop(&other), 0);
}
END_TEST

/* The control: a folder that has moved as a whole is no copy, and goes on where it was. */
START_TEST(moved)
{
	begin(_i);
	pass(&rome, 1, 10);
	ck_assert_int_eq(node_stop(&rome), 0);
	copy_state(&rome, &other, "");
	node_start(&other);
	node_await_peer(&hub, "rome", "up");
	pass(&other, 11, 20);
	take(rome_sends ? &hub : &other, 1, 20);
	ck_assert(!node_logged(&hub, "conflict"));
	end();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("copies");
	TCase *tc = tcase_create("copies");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, restored, 0, 4);
	tcase_add_loop_test(tc, restored_and_started_twice, 0, 4);
	tcase_add_loop_test(tc, cloned, 0, 4);
	tcase_add_loop_test(tc, wiped, 0, 4);
	tcase_add_loop_test(tc, journal_of_a_later_start, 0, 4);
	tcase_add_loop_test(tc, journal_of_an_earlier_start, 0, 4);
	tcase_add_loop_test(tc, older_journal_of_the_same_start, 0, 2);
	tcase_add_test(tc, without_a_journal);
	tcase_add_loop_test(tc, moved, 0, 4);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
