/* max_memory holds whatever programs and peers send at once, and nobody who waits for memory waits for ever. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "proc.h"
#include "program.h"
#include "proxy.h"
#include "raw.h"
#include "wire.h"

#define MIB (UINT64_C(1) << 20)
#define MAX_MEMORY (8 * MIB)
#define LIMITS "max_memory = 8M\nmax_message = 2M\nmax_partial = 2M\n"
#define PRODUCERS 20
#define QUEUES 50
#define FLOWS (PRODUCERS * QUEUES)
#define SIZE (200 << 10)
#define THERE 60
/*
 * What the process may take beside max_memory: a frame half read and bulk half
 * written of each session (384 KiB), the flows' own state, free lists, and what
 * malloc cannot give back at once.
 */
#define BESIDE ((PRODUCERS + 4) * (WIRE_FRAME_MAX + WIRE_LARGE) + FLOWS * 2048 + 4 * MIB)

static struct node paris, berlin;
static struct connectd *from[PRODUCERS + 1], *to[2]; /* the last of each at another node; NULL: there is none */
static uint64_t before;

/* Used of max_memory, which holds now. */
static uint64_t
check_memory(struct node *n)
{
	uint64_t used = UINT64_MAX;
	struct answer a;

	node_ask(n, WIRE_ADMIN_STATUS, "", 0, &connectd__v1__status__descriptor, &a);
	for (size_t i = 0; i < ((const Connectd__V1__Status *)a.items[0])->n_limits; i++) {
		const Connectd__V1__Limit *l = ((const Connectd__V1__Status *)a.items[0])->limits[i];

		if (strcmp(l->name, "max_memory") == 0)
			used = l->used;
	}
	answer_free(&a);
	ck_assert_uint_le(used, MAX_MEMORY);
	return used;
}

/* Whatever there is to do at any of them; waits for it. */
static void
turn(void)
{
	struct connectd *all[PRODUCERS + 3];
	struct pollfd fds[PRODUCERS + 3];
	size_t n = 0;

	for (size_t i = 0; i <= PRODUCERS && from[i]; i++)
		all[n++] = from[i];
	for (size_t i = 0; i < 2 && to[i]; i++)
		all[n++] = to[i];
	for (size_t i = 0; i < n; i++)
		fds[i] = (struct pollfd){ .fd = connectd_get_fd(all[i]), .events = POLLIN };
	ck_assert_int_gt(poll(fds, n, PROGRAM_PATIENCE_MS), 0);
	for (size_t i = 0; i < n; i++)
		if (fds[i].revents)
			ck_assert_int_ge(connectd_process(all[i]), 0);
}

/* Every producer has one message for every queue. */
static void
send_all(const char *node, size_t size, struct told *told)
{
	for (unsigned q = 0; q < QUEUES; q++)
		for (unsigned p = 0; p < PRODUCERS; p++) {
			char dest[40];

			snprintf(dest, sizeof(dest), "%sq%u", node, q);
			program_send(from[p], program_message(dest, "text", size), told);
		}
}

/* Until so many have been taken, and their senders know it. */
static void
take_all(unsigned count, struct told *told)
{
	unsigned got = 0;

	while (got < count || told->arrived < count) {
		bool none = true;

		for (size_t i = 0; i < 2 && to[i]; i++) {
			struct connectd_msg *m;
			int r = connectd_recv(to[i], &m, 0);

			ck_assert_msg(r == 0 || r == -ETIMEDOUT || r == -EAGAIN, "%d: %s", r, connectd_last_error(to[i]));
			if (r < 0)
				continue;
			none = false;
			program_ack(to[i], m);
			if (++got % 20 > 0)
				continue;
			check_memory(&paris);
			if (to[1])
				check_memory(&berlin);
		}
		if (none)
			turn();
	}
	ck_assert_uint_eq(told->rejected + told->expired + told->dead + told->dropped + told->other, 0);
}

static void
begin_paris(const char *keys, const char *sections)
{
	node_init(&paris, "paris", LIMITS "%s[queue \"q*\"]\n%s", keys, sections);
	node_start(&paris);
	for (unsigned p = 0; p < PRODUCERS; p++)
		from[p] = program_open(&paris, "producer");
	before = proc_memory(paris.pid);
}

static struct connectd *
consume(struct node *n)
{
	struct connectd *c = program_open(n, "consumer");

	for (unsigned q = 0; q < QUEUES; q++) {
		char name[16];

		snprintf(name, sizeof(name), "q%u", q);
		program_consume(c, name, 4);
	}
	return c;
}

static void
end_paris(void)
{
	ck_assert_msg(!PROC_MEMORY_COUNTS || proc_peak(paris.pid) <= before + MAX_MEMORY + BESIDE,
	    "%" PRIu64 " KiB more than before", (proc_peak(paris.pid) - before) >> 10);
	if (to[0])
		connectd_close(to[0]);
	for (unsigned p = 0; p < PRODUCERS; p++)
		connectd_close(from[p]);
	node_check_books(&paris);
	ck_assert_int_eq(node_stop(&paris), 0);
}

/* 1000 flows that all send at once 25 times of what may be there; a consumer that comes late gets all of it. */
START_TEST(a_thousand_flows_at_once)
{
	struct told told = { 0 };

	begin_paris("", "");
	send_all("", SIZE, &told);
	/* As full as it gets: what programs leave to peers is for a message of any size. */
	while (check_memory(&paris) < MAX_MEMORY - 4 * MIB)
		turn();
	to[0] = consume(&paris);
	take_all(FLOWS, &told);
	end_paris();
}
END_TEST

/* Two daemons whose memory is full of messages for each other: neither waits for the other. */
START_TEST(both_ends_are_full)
{
	struct told told = { 0 };
	struct proxy proxy;
	char peer[250];

	node_init(&berlin, "berlin", LIMITS "[queue \"q*\"]\n[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n"
		  "[queue \"*/*\"]\n[peer \"paris\"]\nplaintext = yes\nfrom = 127.0.0.0/8\n");
	node_start(&berlin);
	from[PRODUCERS] = program_open(&berlin, "producer there");
	for (unsigned i = 0; i < THERE; i++)
		program_send(from[PRODUCERS], program_message("paris/q0", "text", SIZE), &told);
	/* Nothing more is taken: the rest waits in the library. */
	while (check_memory(&berlin) < MAX_MEMORY - 4 * MIB)
		ck_assert_int_ge(connectd_wait(from[PRODUCERS], PROGRAM_PATIENCE_MS), 0);
	proxy_start(&proxy, berlin.url);
	proxy_hole(&proxy, true);
	snprintf(peer, sizeof(peer), "[queue \"*/*\"]\n[peer \"berlin\"]\naddress = %s\nplaintext = yes\nbackoff_min = 10ms\n"
		 "backoff_max = 50ms\n", proxy.url);
	begin_paris("", peer);
	send_all("berlin/", SIZE, &told);
	while (check_memory(&paris) < MAX_MEMORY - 4 * MIB)
		turn();
	proxy_hole(&proxy, false);
	to[0] = consume(&paris);
	to[1] = consume(&berlin);
	take_all(FLOWS + THERE, &told);
	connectd_close(from[PRODUCERS]);
	connectd_close(to[1]);
	from[PRODUCERS] = to[1] = NULL;
	end_paris();
	node_check_books(&berlin);
	ck_assert_int_eq(node_stop(&berlin), 0);
	proxy_stop(&proxy);
}
END_TEST

/* Large bodies of many at once, each of which is reserved as a whole, in turn. */
START_TEST(many_large_ones)
{
	struct told told = { 0 };

	begin_paris("", "");
	for (unsigned p = 0; p < PRODUCERS; p++)
		program_send(from[p], program_message("q0", "text", 2 * MIB), &told);
	to[0] = consume(&paris);
	take_all(PRODUCERS, &told);
	end_paris();
}
END_TEST

/* A program with one flow open, and the window it has then. */
static struct raw *
raw_sender(uint64_t *ret_window)
{
	static char producer[] = "rawA";
	struct wire_frame f = { .kind = WIRE_OPEN_FLOW };
	struct raw *r = raw_client(&paris);

	raw_greet_client(r);
	f.u.open_flow.flow = 1;
	f.u.open_flow.address = wire_string("q0");
	producer[3]++; /* another one each time */
	f.u.open_flow.producer = wire_string(producer);
	raw_frame(r, &f);
	raw_until(r, WIRE_CREDIT);
	ck_assert(r->f.u.credit.session);
	*ret_window = r->f.u.credit.bytes;
	raw_until(r, WIRE_FLOW_STATE);
	return r;
}

/* What was not granted cannot be used: not by many small ones, a large one, or a Want. */
START_TEST(more_than_the_window_ends_the_session)
{
	static const uint8_t bytes[4096];
	struct wire_item item = { .total = WIRE_LARGE, .body = wire_bytes(bytes, sizeof(bytes)) };
	struct wire_frame f = { .kind = WIRE_WANT };
	struct raw *r, *other = NULL;
	uint64_t window;

	begin_paris("", "");
	r = raw_sender(&window);
	ck_assert(window > 0 && window < MAX_MEMORY / 4);
	f.u.want.returned = window + 1;
	if (_i == 0) {
		raw_frame(r, &f);
	} else if (_i == 1) {
		item.total = 2 * MIB;
		/* One that takes all of max_partial, so that this one has to wait. */
		other = raw_sender(&window);
		raw_run(other, WIRE_TRANSFER, 1, 1, &item, 1);
		do
			raw_until(other, WIRE_CREDIT);
		while (other->f.u.credit.number != 1);
		raw_run(r, WIRE_TRANSFER, 1, 1, &item, 1);
		item.offset = sizeof(bytes);
		raw_run(r, WIRE_TRANSFER, 1, 1, &item, 1);
	} else {
		/* What came of an unfinished body is not granted again. */
		ck_assert_uint_lt(window, item.total);
		for (; item.offset <= window; item.offset += sizeof(bytes))
			raw_run(r, WIRE_TRANSFER, 1, 1, &item, 1);
	}
	ck_assert_int_eq(raw_end(r), WIRE_CLOSE_FLOW_CONTROL);
	raw_close(r);
	if (other)
		raw_close(other);
	end_paris();
}
END_TEST

/* A large body that was reserved and does not come holds up others for so long, and no longer. */
START_TEST(who_does_not_go_on_makes_way)
{
	static const uint8_t bytes[WIRE_CHUNK_MAX];
	struct wire_item item = { .total = 2 * MIB, .body = wire_bytes(bytes, sizeof(bytes)) };
	struct told told = { 0 };
	uint64_t window;
	struct raw *r;

	begin_paris("partial_timeout = 300ms\n", "");
	r = raw_sender(&window);
	raw_run(r, WIRE_TRANSFER, 1, 1, &item, 1);
	do
		raw_until(r, WIRE_CREDIT);
	while (r->f.u.credit.number != 1);
	/* While it goes on nobody minds, however slow it is. */
	for (item.offset = sizeof(bytes); item.offset < 8 * sizeof(bytes); item.offset += sizeof(bytes))
		raw_run(r, WIRE_TRANSFER, 1, 1, &item, 1);
	raw_alive(r);
	program_send(from[0], program_message("q0", "text", 2 * MIB), &told);
	to[0] = consume(&paris);
	take_all(1, &told);
	ck_assert_int_eq(raw_end(r), WIRE_CLOSE_TIMEOUT);
	raw_close(r);
	end_paris();
}
END_TEST

static void
meet_start(struct raw *r, uint32_t start)
{
	struct wire_frame hello = raw_hello_peer("zurich", paris.name), known = { .kind = WIRE_KNOWN };

	hello.u.hello.start_count = start;
	hello.u.hello.boot_id = start;
	raw_frame(r, &hello);
	raw_until(r, WIRE_KNOWN);
	raw_frame(r, &known);
	raw_until(r, WIRE_ACCEPT);
}

static bool
is_absent(const Connectd__V1__Queue *q, uint64_t value)
{
	(void)value;
	return q == NULL;
}

/* What a peer had open in earlier starts, into queues that are gone, is forgotten. */
START_TEST(earlier_starts_leave_nothing)
{
	struct wire_frame f = { .kind = WIRE_OPEN_FLOW };
	uint64_t first = 0;
	char name[40];

	node_init(&paris, "paris", "queue_linger = 0\nmax_queues_per_peer = 10K\n[queue \"q*\"]\n[listen \"lan\"]\naddress = tcp://127.0.0.1:0\n"
		  "plaintext = yes\n[peer \"zurich\"]\nplaintext = yes\nfrom = 127.0.0.0/8\n");
	node_start(&paris);
	for (uint32_t start = 1; start <= 12; start++) {
		struct raw *r = raw_peer(&paris);

		meet_start(r, start);
		for (uint32_t i = 1; i <= FLOWS; i++) {
			snprintf(name, sizeof(name), "q%u-%u", start, i / WIRE_PRIORITIES);
			f.u.open_flow.flow = i;
			f.u.open_flow.address = wire_string(name);
			f.u.open_flow.priority = i % WIRE_PRIORITIES;
			raw_frame(r, &f);
			raw_until(r, WIRE_FLOW_STATE);
			ck_assert_int_eq(r->f.u.flow_state.verdict, WIRE_VERDICT_OK);
		}
		raw_close(r);
		node_await_queue(&paris, name, is_absent, 0);
		if (start == 2)
			first = proc_memory(paris.pid);
	}
	ck_assert_msg(!PROC_MEMORY_COUNTS || proc_memory(paris.pid) < first + 4 * FLOWS * 1024,
	    "%" PRIu64 " KiB more", (proc_memory(paris.pid) - first) >> 10);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("memory");
	TCase *tc = tcase_create("memory");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_thousand_flows_at_once);
	tcase_add_test(tc, both_ends_are_full);
	tcase_add_test(tc, many_large_ones);
	tcase_add_loop_test(tc, more_than_the_window_ends_the_session, 0, 3);
	tcase_add_test(tc, who_does_not_go_on_makes_way);
	tcase_add_test(tc, earlier_starts_leave_nothing);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
