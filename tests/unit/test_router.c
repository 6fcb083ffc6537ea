/* Names, access, limits, and queues that come and go. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fake_loop.h"
#include "router.h"

static struct loop *loop;
static struct message_store store;
static struct conf *conf;
static struct router *r;
static struct queue *q;
static const char *reason;
static char events[4096];

static const struct subject admin = { .uid = 0, .unit = "", .is_admin = true };
static const struct subject shop = { .uid = 1000, .gid = 1000, .unit = "shop.service" };
static const struct subject other = { .uid = 1001, .gid = 1001, .unit = "" };
static const struct subject berlin = { .peer = "berlin" };
static const struct subject madrid = { .peer = "madrid" };

static void
fault(void *arg, const char *file, unsigned line, const char *text)
{
	(void)arg;
	ck_abort_msg("%s:%u: %s", file, line, text);
}

static void
heard(void *arg, const char *name, bool created)
{
	(void)arg;
	ck_assert_uint_lt(strlen(events) + strlen(name) + 2, sizeof(events));
	strcat(events, created ? "+" : "-");
	strcat(events, name);
}

static void
start(const char *text)
{
	static const struct router_events ev = { .queue = heard };
	char whole[2000];

	snprintf(whole, sizeof(whole), "[node]\nname = paris\nqueue_linger = 10s\n"
	    "%s\n[peer \"berlin\"]\naddress = tcp://b:1\nplaintext = yes\n"
	    "[queue \"*\"]\ndurable = no\n", text);
	ck_assert_int_eq(conf_read_text("test.conf", whole, strlen(whole), fault, NULL, &conf), 0);
	r = router_new(loop, conf, &store, 3, &ev);
	ck_assert_ptr_nonnull(r);
}

static void
setup(void)
{
	loop = loop_new();
	message_store_init(&store, 1);
	events[0] = '\0';
}

static void
teardown(void)
{
	router_free(r);
	conf_free(conf);
	fake_loop_run(loop);
	ck_assert_uint_eq(fake_loop_timers(loop), 0);
	message_store_done(&store);
	loop_free(loop);
}

static enum wire_verdict
to(const struct subject *who, const char *address)
{
	enum wire_verdict v;

	q = NULL;
	reason = NULL;
	v = router_send(r, who, wire_string(address), &q, &reason);
	ck_assert_ptr_nonnull(reason);
	ck_assert((v == WIRE_VERDICT_OK) == (q != NULL) && (v == WIRE_VERDICT_OK) == (reason[0] == '\0'));
	return v;
}

static enum wire_verdict
from(const struct subject *who, const char *name)
{
	enum wire_verdict v;

	q = NULL;
	reason = NULL;
	v = router_receive(r, who, wire_string(name), &q, &reason);
	ck_assert((v == WIRE_VERDICT_OK) == (q != NULL) && (v == WIRE_VERDICT_OK) == (reason[0] == '\0'));
	return v;
}

static enum wire_verdict
look(const struct subject *who, const char *name)
{
	q = NULL;
	return router_find(r, who, wire_string(name), &q, &reason);
}

/* ------------------------------------------------------------- a link's side -- */

struct peer {
	struct router_peer peer;
	struct consumer consumer; /* of the queue that came last */
	struct queue *queue;
	unsigned attached, detached;
	unsigned fails_at; /* the so many-th queue from now on finds no memory; 0: none */
};

static void
ignore(struct consumer *c)
{
	(void)c;
}

static void
lost(struct consumer *c, struct entry *e)
{
	(void)c, (void)e;
}

static int
attach(struct router_peer *p, struct queue *which)
{
	static const struct consumer_ops ops = { .wake = ignore, .lost = lost };
	struct peer *peer = list_entry(p, struct peer, peer);

	if (peer->fails_at > 0 && --peer->fails_at == 0)
		return -ENOMEM;
	peer->attached++;
	peer->queue = which;
	queue_detach(&peer->consumer);
	peer->consumer = (struct consumer){ .ops = &ops, .link = true };
	queue_attach(which, &peer->consumer);
	return 0;
}

static void
detach(struct router_peer *p, struct queue *which)
{
	struct peer *peer = list_entry(p, struct peer, peer);

	peer->detached++;
	if (peer->queue == which)
		queue_detach(&peer->consumer);
}

static void
peer_add(struct peer *p, const char *name)
{
	*p = (struct peer){ .peer = { .name = name, .attach = attach, .detach = detach } };
	ck_assert_int_eq(router_peer_add(r, &p->peer), 0);
}

/* Put one message in and take it out again as a dead letter. */
static void
die(struct queue *which, uint64_t n)
{
	static const struct consumer_ops ops = { .wake = ignore, .lost = lost };
	struct consumer c = { .ops = &ops };
	struct wire_item item = { 0 };
	struct inlet in;
	uint64_t messages, bytes;

	queue_inlet_open(which, &in, true, NULL, NULL);
	queue_attach(which, &c);
	for (uint64_t i = 0; i < n; i++) {
		queue_grant(&in, &messages, &bytes);
		queue_started(&in, 0);
		ck_assert_int_eq(queue_put(&in, message_new(&store, &item, 0, 0, NULL, NULL, loop_now_ms(loop)), NULL, 1), 0);
		ck_assert_int_eq(queue_bury(queue_take(&c, -1), WIRE_LEVEL_DEAD, WIRE_REJECT_UNKNOWN, "dead"), 0);
	}
	queue_detach(&c);
	queue_inlet_close(&in);
}

/* ------------------------------------------------------------------- names -- */

START_TEST(addresses)
{
	struct peer p;
	struct queue *here;

	start("");
	ck_assert_int_eq(to(&shop, "orders"), WIRE_VERDICT_OK);
	here = q;
	ck_assert_str_eq(queue_name(q), "orders");
	ck_assert_int_eq(to(&other, "paris/orders"), WIRE_VERDICT_OK);
	ck_assert_ptr_eq(q, here);
	ck_assert_int_eq(from(&other, "paris/orders"), WIRE_VERDICT_OK);
	ck_assert_ptr_eq(q, here);
	ck_assert_int_eq(to(&shop, "oslo/orders"), WIRE_VERDICT_BAD_ADDRESS);
	ck_assert_str_eq(reason, "no peer oslo is configured");
	peer_add(&p, "berlin");
	ck_assert_int_eq(to(&shop, "berlin/orders"), WIRE_VERDICT_OK);
	ck_assert(q != here && p.attached == 1 && p.queue == q);
	ck_assert_str_eq(queue_node(q), "berlin");
	ck_assert_int_eq(from(&shop, "berlin/orders"), WIRE_VERDICT_BAD_ADDRESS);
	ck_assert_int_eq(to(&shop, "rome/orders"), WIRE_VERDICT_BAD_ADDRESS);
	ck_assert_int_eq(to(&shop, "no such"), WIRE_VERDICT_BAD_ADDRESS);
	ck_assert_int_eq(to(&shop, ""), WIRE_VERDICT_BAD_ADDRESS);
	ck_assert_int_eq(to(&shop, "topic:news"), WIRE_VERDICT_BAD_ADDRESS);
	ck_assert_int_eq(to(&shop, "$replies"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(from(&shop, "$replies"), WIRE_VERDICT_DENIED);
	/* No relaying. */
	ck_assert_int_eq(to(&berlin, "berlin/orders"), WIRE_VERDICT_DENIED);
	ck_assert_uint_eq(router_n_queues(r), 2);
	ck_assert_str_eq(events, "+orders+berlin/orders");
	router_peer_remove(r, &p.peer);
	queue_detach(&p.consumer);
}
END_TEST

/* Without somebody who takes from it what is in it would wait for ever. */
START_TEST(no_queue_without_its_link)
{
	struct peer p;

	start("");
	peer_add(&p, "berlin");
	p.fails_at = 1;
	ck_assert_int_eq(to(&shop, "berlin/orders"), WIRE_VERDICT_LIMIT);
	ck_assert_str_eq(reason, "out of memory");
	ck_assert_uint_eq(router_n_queues(r), 0);
	ck_assert_str_eq(events, "");
	ck_assert_int_eq(to(&shop, "berlin/orders"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&shop, "berlin/bills"), WIRE_VERDICT_OK);
	ck_assert_uint_eq(p.attached, 2);
	queue_detach(&p.consumer);
	router_peer_remove(r, &p.peer);
	/* A link has all of them, or is none. */
	p = (struct peer){ .peer = { .name = "berlin", .attach = attach, .detach = detach }, .fails_at = 2 };
	ck_assert_int_eq(router_peer_add(r, &p.peer), -ENOMEM);
	ck_assert_uint_eq(p.attached, 1);
	ck_assert_uint_eq(p.detached, 2);
	peer_add(&p, "berlin");
	ck_assert_uint_eq(p.attached, 2);
	router_peer_remove(r, &p.peer);
	queue_detach(&p.consumer);
}
END_TEST

START_TEST(configured_queues_are_there)
{
	struct peer p;

	start("create_queues = no\n"
	      "[queue \"orders\"]\nttl = 5s\n[queue \"berlin/bills\"]\nmax_messages = 7\n[queue \"orders.dead\"]\nmax_messages = 9");
	ck_assert_uint_eq(router_n_queues(r), 2);
	ck_assert_int_eq(look(&admin, "orders"), WIRE_VERDICT_OK);
	ck_assert_uint_eq(queue_conf(q)->ttl, 5000);
	ck_assert_int_eq(look(&admin, "berlin/bills"), WIRE_VERDICT_OK);
	ck_assert_uint_eq(queue_conf(q)->max_messages, 7);
	peer_add(&p, "berlin");
	ck_assert(p.attached == 1 && p.queue == q);
	ck_assert_int_eq(to(&shop, "news"), WIRE_VERDICT_NO_QUEUE);
	ck_assert_int_eq(from(&shop, "news"), WIRE_VERDICT_NO_QUEUE);
	ck_assert_int_eq(look(&shop, "news"), WIRE_VERDICT_NO_QUEUE);
	/* Dead letters are the daemon's own affair. */
	ck_assert_int_eq(from(&shop, "orders.dead"), WIRE_VERDICT_OK);
	ck_assert_uint_eq(queue_conf(q)->max_messages, 9);
	ck_assert(queue_is_dead_letter(q));
	/* They stay, used or not. */
	fake_loop_advance(loop, 60000);
	ck_assert_int_eq(look(&admin, "orders"), WIRE_VERDICT_OK);
	ck_assert_int_eq(look(&admin, "berlin/bills"), WIRE_VERDICT_OK);
	ck_assert_uint_eq(p.detached, 0);
	router_peer_remove(r, &p.peer);
	queue_detach(&p.consumer);
}
END_TEST

START_TEST(peers_make_only_what_is_configured)
{
	start("[queue \"in-*\"]\nttl = 1h");
	ck_assert_int_eq(to(&berlin, "orders"), WIRE_VERDICT_NO_QUEUE);
	ck_assert_int_eq(to(&berlin, "in-orders"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&shop, "orders"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&berlin, "orders"), WIRE_VERDICT_OK);
	ck_assert_int_eq(from(&berlin, "orders"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(look(&berlin, "orders"), WIRE_VERDICT_DENIED);
}
END_TEST

/* ------------------------------------------------------------------- access -- */

START_TEST(lists)
{
	static const uint32_t groups[] = { 5, 1500 };
	static const struct subject grouped = { .uid = 1002, .gid = 1002, .groups = groups, .n_groups = 2, .unit = "" };
	static const struct subject primary = { .uid = 1003, .gid = 1500, .unit = "" };
	static const struct subject fake_admin = { .peer = "madrid", .is_admin = true };

	start("[queue \"orders\"]\nsend = user:1000, peer:berlin\nreceive = group:1500\nbrowse = unit:shop.service\n"
	      "[queue \"closed-*\"]\nsend = user:1000");
	ck_assert_int_eq(to(&shop, "orders"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&other, "orders"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(to(&grouped, "orders"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(to(&berlin, "orders"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&madrid, "orders"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(to(&fake_admin, "orders"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(to(&admin, "orders"), WIRE_VERDICT_OK);
	ck_assert_int_eq(from(&shop, "orders"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(from(&grouped, "orders"), WIRE_VERDICT_OK);
	ck_assert_int_eq(from(&primary, "orders"), WIRE_VERDICT_OK);
	ck_assert_int_eq(from(&admin, "orders"), WIRE_VERDICT_OK);
	ck_assert_int_eq(look(&shop, "orders"), WIRE_VERDICT_OK);
	ck_assert_int_eq(look(&other, "orders"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(look(&admin, "orders"), WIRE_VERDICT_OK);
	/* Nothing is made for who may not use it. */
	ck_assert_int_eq(to(&other, "closed-1"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(look(&admin, "closed-1"), WIRE_VERDICT_NO_QUEUE);
	ck_assert_int_eq(to(&shop, "closed-1"), WIRE_VERDICT_OK);
	/* A peer has no user or unit, a user of its number is none of it. */
	ck_assert_int_eq(to(&berlin, "closed-1"), WIRE_VERDICT_DENIED);
}
END_TEST

START_TEST(without_lists)
{
	start("");
	ck_assert_int_eq(to(&other, "orders"), WIRE_VERDICT_OK);
	ck_assert_int_eq(from(&shop, "orders"), WIRE_VERDICT_OK);
	ck_assert_int_eq(look(&other, "orders"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&berlin, "orders"), WIRE_VERDICT_OK);
	ck_assert_int_eq(from(&berlin, "orders"), WIRE_VERDICT_DENIED);
}
END_TEST

/* ------------------------------------------------------------------- limits -- */

START_TEST(queues_of_one_are_limited)
{
	char name[32];

	start("max_queues_per_user = 3\nmax_queues_per_peer = 2\n[queue \"in-*\"]\nttl = 1h\n[queue \"fixed\"]\nttl = 1h");
	ck_assert_int_eq(to(&shop, "fixed"), WIRE_VERDICT_OK);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "q%u", i);
		ck_assert_int_eq(i % 2 ? to(&shop, name) : from(&shop, name), WIRE_VERDICT_OK);
	}
	ck_assert_int_eq(to(&shop, "q3"), WIRE_VERDICT_LIMIT);
	ck_assert_int_eq(to(&shop, "q1"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&other, "q3"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&berlin, "in-1"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&berlin, "in-2"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&berlin, "in-3"), WIRE_VERDICT_LIMIT);
	/* Those that have gone count no more. */
	fake_loop_run(loop);
	fake_loop_advance(loop, 10000);
	ck_assert_int_eq(to(&shop, "q3"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&berlin, "in-3"), WIRE_VERDICT_OK);
}
END_TEST

START_TEST(queues_of_all_are_limited)
{
	start("max_queues = 2\n[queue \"fixed\"]\nttl = 1h");
	ck_assert_int_eq(to(&shop, "one"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&shop, "two"), WIRE_VERDICT_LIMIT);
	ck_assert_int_eq(to(&admin, "two"), WIRE_VERDICT_LIMIT);
	/* Dead letters have a place all the same. */
	ck_assert_int_eq(from(&shop, "one.dead"), WIRE_VERDICT_OK);
	ck_assert_int_eq(from(&shop, "fixed.dead"), WIRE_VERDICT_OK);
	ck_assert_uint_eq(router_n_queues(r), 4);
}
END_TEST

/* ---------------------------------------------------------------- dead letters -- */

START_TEST(dead_letters)
{
	struct peer p;
	struct queue *orders;

	start("[queue \"orders\"]\nreceive = user:1000");
	ck_assert_int_eq(to(&shop, "orders"), WIRE_VERDICT_OK);
	orders = q;
	ck_assert_int_eq(to(&shop, "orders.dead"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(to(&admin, "orders.dead"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(to(&berlin, "orders.dead"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(from(&shop, "nothing.dead"), WIRE_VERDICT_NO_QUEUE);
	ck_assert_int_eq(from(&admin, ".dead"), WIRE_VERDICT_BAD_ADDRESS);
	ck_assert_int_eq(look(&admin, "orders.dead"), WIRE_VERDICT_NO_QUEUE);
	ck_assert_int_eq(from(&other, "orders.dead"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(look(&admin, "orders.dead"), WIRE_VERDICT_NO_QUEUE);
	die(orders, 2);
	ck_assert_int_eq(look(&admin, "orders.dead"), WIRE_VERDICT_OK);
	ck_assert(queue_is_dead_letter(q) && queue_waiting(q, -1) == 2);
	/* With the lists of the queue whose letters they are. */
	ck_assert_int_eq(from(&other, "orders.dead"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(from(&shop, "orders.dead"), WIRE_VERDICT_OK);
	ck_assert_int_eq(look(&other, "orders.dead"), WIRE_VERDICT_OK);
	ck_assert_int_eq(from(&shop, "orders.dead.dead"), WIRE_VERDICT_NO_QUEUE);
	/* Of an outbound queue: here. */
	peer_add(&p, "berlin");
	ck_assert_int_eq(to(&shop, "berlin/big.bills"), WIRE_VERDICT_OK);
	ck_assert_int_eq(from(&shop, "berlin.big.bills.dead"), WIRE_VERDICT_OK);
	ck_assert(!queue_node(q) && queue_is_dead_letter(q));
	/* With letters in it it stays, though its queue is gone. */
	fake_loop_advance(loop, 20000);
	ck_assert_int_eq(look(&admin, "berlin.big.bills.dead"), WIRE_VERDICT_NO_QUEUE);
	ck_assert_int_eq(look(&admin, "orders.dead"), WIRE_VERDICT_OK);
	router_peer_remove(r, &p.peer);
	queue_detach(&p.consumer);
}
END_TEST

START_TEST(named_dead_letters)
{
	start("[queue \"a-*\"]\ndead_letter = grave\nreceive = user:1000\n"
	      "[queue \"b-*\"]\ndead_letter = grave\nreceive = user:1001\n");
	/* Somebody had the name before: from the first letter on it is the daemon's. */
	ck_assert_int_eq(to(&other, "grave"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&shop, "a-1"), WIRE_VERDICT_OK);
	die(q, 1);
	ck_assert_int_eq(to(&other, "grave"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(from(&shop, "grave"), WIRE_VERDICT_OK);
	ck_assert_int_eq(from(&other, "grave"), WIRE_VERDICT_DENIED);
	/* Shared by queues with different lists: for administrators. */
	ck_assert_int_eq(to(&shop, "b-1"), WIRE_VERDICT_OK);
	die(q, 1);
	ck_assert_int_eq(from(&shop, "grave"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(from(&other, "grave"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(from(&admin, "grave"), WIRE_VERDICT_OK);
	ck_assert_uint_eq(queue_waiting(q, -1), 2);
}
END_TEST

START_TEST(named_dead_letters_with_lists_of_their_own)
{
	start("[queue \"a-*\"]\ndead_letter = grave\nreceive = user:1000\n[queue \"grave\"]\nreceive = user:1001");
	ck_assert_int_eq(to(&shop, "a-1"), WIRE_VERDICT_OK);
	die(q, 1);
	ck_assert_int_eq(from(&shop, "grave"), WIRE_VERDICT_DENIED);
	ck_assert_int_eq(from(&other, "grave"), WIRE_VERDICT_OK);
}
END_TEST

START_TEST(long_names_have_dead_letters)
{
	char name[64], names[2][64];
	size_t n = 0;

	start("");
	for (unsigned i = 0; i < 2; i++) {
		memset(name, 'x', 63);
		name[62] = (char)('a' + i);
		name[63] = '\0';
		ck_assert_int_eq(to(&shop, name), WIRE_VERDICT_OK);
		events[0] = '\0';
		die(q, 1);
		ck_assert_uint_eq(strlen(events), 64);
		snprintf(names[n++], 64, "%.63s", events + 1);
		ck_assert_int_eq(look(&admin, names[i]), WIRE_VERDICT_OK);
		ck_assert(queue_is_dead_letter(q) && queue_waiting(q, -1) == 1);
	}
	ck_assert_str_ne(names[0], names[1]);
}
END_TEST

/* ------------------------------------------------------------------- lingering -- */

START_TEST(unused_queues_go)
{
	struct peer p;
	struct inlet in;

	start("");
	peer_add(&p, "berlin");
	ck_assert_int_eq(to(&shop, "berlin/orders"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&shop, "orders"), WIRE_VERDICT_OK);
	queue_inlet_open(q, &in, false, NULL, NULL);
	fake_loop_advance(loop, 9999);
	ck_assert_uint_eq(router_n_queues(r), 2);
	ck_assert_uint_eq(p.detached, 0);
	fake_loop_advance(loop, 1);
	ck_assert_uint_eq(p.detached, 1);
	ck_assert_ptr_null(p.consumer.queue);
	fake_loop_advance(loop, 60000);
	ck_assert_str_eq(events, "+berlin/orders+orders-berlin/orders");
	/* Its time begins when the last user goes. */
	queue_inlet_close(&in);
	fake_loop_advance(loop, 5000);
	ck_assert_int_eq(to(&shop, "orders"), WIRE_VERDICT_OK);
	queue_inlet_open(q, &in, false, NULL, NULL);
	fake_loop_advance(loop, 5000);
	queue_inlet_close(&in);
	fake_loop_advance(loop, 9999);
	ck_assert_uint_eq(router_n_queues(r), 1);
	fake_loop_advance(loop, 1);
	ck_assert_uint_eq(router_n_queues(r), 0);
	ck_assert_uint_eq(fake_loop_timers(loop), 0);
	router_peer_remove(r, &p.peer);
}
END_TEST

/* Taken into use in the very pass in which its time is over. */
START_TEST(used_again_at_the_last_moment)
{
	struct inlet in;

	start("");
	ck_assert_int_eq(to(&shop, "orders"), WIRE_VERDICT_OK);
	fake_loop_run(loop);
	fake_loop_jump(loop, 10000);
	ck_assert_int_eq(to(&shop, "orders"), WIRE_VERDICT_OK);
	queue_inlet_open(q, &in, false, NULL, NULL);
	fake_loop_run(loop);
	fake_loop_advance(loop, 30000);
	ck_assert_int_eq(look(&admin, "orders"), WIRE_VERDICT_OK);
	queue_inlet_close(&in);
	fake_loop_advance(loop, 10000);
	ck_assert_int_eq(look(&admin, "orders"), WIRE_VERDICT_NO_QUEUE);
}
END_TEST

/* ------------------------------------------------------------------- questions -- */

static bool
name_it(void *arg, struct queue *which)
{
	char *names = arg;

	strcat(names, queue_name(which));
	strcat(names, " ");
	return strcmp(queue_name(which), "b") != 0;
}

START_TEST(each_in_bytewise_order)
{
	char names[200] = "";
	struct peer p;

	start("");
	peer_add(&p, "berlin");
	ck_assert_int_eq(to(&shop, "a.b"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&shop, "b"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&shop, "berlin/a"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&shop, "B"), WIRE_VERDICT_OK);
	ck_assert_int_eq(to(&shop, "a"), WIRE_VERDICT_OK);
	router_each(r, name_it, names);
	ck_assert_str_eq(names, "B a a.b b ");
	names[0] = '\0';
	router_each_behind(r, "a", name_it, names);
	ck_assert_str_eq(names, "a.b b ");
	names[0] = '\0';
	router_each_behind(r, "a.", name_it, names);
	ck_assert_str_eq(names, "a.b b ");
	names[0] = '\0';
	router_each_behind(r, "b", name_it, names);
	ck_assert_str_eq(names, "berlin/a ");
	router_each_behind(r, "berlin/a", name_it, names);
	ck_assert_str_eq(names, "berlin/a ");
	ck_assert_uint_eq(router_peer_waiting(r, "berlin"), 0);
	ck_assert_int_eq(look(&admin, "berlin/a"), WIRE_VERDICT_OK);
	{
		struct wire_item item = { 0 };
		struct inlet in;
		uint64_t messages, bytes;

		queue_inlet_open(q, &in, false, NULL, NULL);
		queue_grant(&in, &messages, &bytes);
		queue_started(&in, 0);
		ck_assert_int_eq(queue_put(&in, message_new(&store, &item, 0, 0, NULL, NULL, 1), NULL, 1), 0);
		queue_inlet_close(&in);
	}
	ck_assert_uint_eq(router_peer_waiting(r, "berlin"), 1);
	ck_assert_uint_eq(router_peer_waiting(r, "madrid"), 0);
	router_peer_remove(r, &p.peer);
	queue_detach(&p.consumer);
	/* A link made anew finds it. */
	peer_add(&p, "berlin");
	ck_assert_uint_eq(p.attached, 1);
	router_peer_remove(r, &p.peer);
	queue_detach(&p.consumer);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("router");
	TCase *tc = tcase_create("router");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, addresses);
	tcase_add_test(tc, no_queue_without_its_link);
	tcase_add_test(tc, configured_queues_are_there);
	tcase_add_test(tc, peers_make_only_what_is_configured);
	tcase_add_test(tc, lists);
	tcase_add_test(tc, without_lists);
	tcase_add_test(tc, queues_of_one_are_limited);
	tcase_add_test(tc, queues_of_all_are_limited);
	tcase_add_test(tc, dead_letters);
	tcase_add_test(tc, named_dead_letters);
	tcase_add_test(tc, named_dead_letters_with_lists_of_their_own);
	tcase_add_test(tc, long_names_have_dead_letters);
	tcase_add_test(tc, unused_queues_go);
	tcase_add_test(tc, used_again_at_the_last_moment);
	tcase_add_test(tc, each_in_bytewise_order);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
