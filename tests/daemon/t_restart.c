/* Daemons stop, are killed, and come back under programs that just go on. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc.h"
#include "proxy.h"
#include "traffic.h"
#include "wire.h"

#define BERLIN \
	"%s[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n[queue \"orders\"]\n%s" \
	"[peer \"paris\"]\nplaintext = yes\nfrom = 127.0.0.0/8\nbackoff_min = 10ms\nbackoff_max = 50ms\n"
#define PARIS "%s[peer \"berlin\"]\naddress = %s\nplaintext = yes\nbackoff_min = 10ms\nbackoff_max = 50ms\n"

static struct node paris, berlin;
static struct proxy proxy;

static void
restart(bool kill9)
{
	if (kill9)
		node_kill(&paris);
	else
		ck_assert_int_eq(node_stop(&paris), 0);
	node_start(&paris);
}

static void
await_text(int fd, const char *text)
{
	char buf[512];
	ssize_t n;

	do {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		ck_assert_msg(poll(&p, 1, 20000) > 0, "%s does not come", text);
		n = recv(fd, buf, sizeof(buf) - 1, 0);
		buf[n > 0 ? n : 0] = '\0';
	} while (strstr(buf, text) == NULL);
}

/* ---------------------------------------------------------------- receiving */

/* A program of its own that only ever waits in connectd_recv, and says on fd which numbers it got. */
static void
receiver(int fd)
{
	struct connectd *c = traffic_open(&paris);

	traffic_consume(c, "orders");
	for (;;) {
		struct connectd_msg *m;
		int r = connectd_recv(c, &m, -1);
		uint64_t number;

		if (r != 0) {
			fprintf(stderr, "connectd_recv: %d %s\n", r, connectd_last_error(c));
			_exit(1);
		}
		number = traffic_number(m);
		if (connectd_ack(c, m) != 0 || write(fd, &number, sizeof(number)) != (ssize_t)sizeof(number))
			_exit(1);
		connectd_msg_unref(m);
	}
}

START_TEST(recv_survives)
{
	struct connectd *from;
	struct traffic_told told = { 0 };
	uint64_t number;
	int fds[2];
	pid_t pid;

	node_init(&paris, "paris", "%s", "");
	node_start(&paris);
	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		receiver(fds[1]);
	}
	for (uint64_t i = 1; i <= 6; i++) {
		struct pollfd p = { .fd = fds[0], .events = POLLIN };

		node_await_queue(&paris, "orders", queue_has_consumers, 1);
		from = traffic_open(&paris);
		traffic_send(from, "orders", i, 8, CONNECTD_ACCEPTED, &told);
		ck_assert_int_eq(connectd_flush(from, 20000), 0);
		connectd_close(from);
		ck_assert_msg(poll(&p, 1, 20000) > 0, "message %" PRIu64 " does not come", i);
		ck_assert_int_eq(read(fds[0], &number, sizeof(number)), (ssize_t)sizeof(number));
		ck_assert_uint_eq(number, i);
		node_await_queue(&paris, "orders", queue_holds, 0);
		while (!proc_is_asleep(pid))
			ck_assert_int_eq(poll(&p, 1, 1), 0); /* nothing more comes meanwhile */
		restart(_i == 0);
	}
	ck_assert_uint_eq(told.reached, 6);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

/* The tool, too: its reader sees nothing of the restarts but the messages. */
START_TEST(tool_survives)
{
	static char line[64];
	const char *b = getenv("B");
	struct connectd *from;
	struct traffic_told told = { 0 };
	char path[256];
	int fds[2], status;
	FILE *out;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/connectctl", b != NULL ? b : "build");
	node_init(&paris, "paris", "%s", "");
	node_start(&paris);
	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		execl(path, path, "-s", paris.socket, "recv", "orders", "--count", "3", "--timeout", "20s", (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	out = fdopen(fds[0], "r");
	ck_assert_ptr_nonnull(out);
	for (int i = 0; i < 3; i++) {
		node_await_queue(&paris, "orders", queue_has_consumers, 1);
		from = traffic_open(&paris);
		traffic_send(from, "orders", (uint64_t)i, 8, CONNECTD_ACCEPTED, &told);
		ck_assert_int_eq(connectd_flush(from, 20000), 0);
		connectd_close(from);
		ck_assert_ptr_nonnull(fgets(line, sizeof(line), out));
		ck_assert_msg(strncmp(line, "test.Number ", 12) == 0, "%s", line);
		node_await_queue(&paris, "orders", queue_holds, 0);
		restart(i == 0);
	}
	ck_assert_ptr_null(fgets(line, sizeof(line), out));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	fclose(out);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

/* ------------------------------------------------------------------ sending */

/* What the daemon had not told of is sent again to the next one, under the same numbers; what it had is not. */
START_TEST(unconfirmed_is_sent_again)
{
	enum { N = 1000, ROOM = 100 };
	struct connectd *from, *to;
	struct checker k;
	struct traffic_told told = { 0 };
	uint64_t taken;

	node_init(&paris, "paris", "[queue \"orders\"]\nmax_messages = %d\n", ROOM);
	node_start(&paris);
	from = traffic_open(&paris);
	for (uint64_t i = 1; i <= N; i++)
		traffic_send(from, "orders", i, 100, CONNECTD_ACCEPTED, &told);
	traffic_await(from, &told.reached, ROOM);
	ck_assert_uint_eq(told.reached, ROOM);
	taken = told.reached;
	restart(_i == 0);
	if (_i != 0)
		ck_assert(node_logged(&paris, "queue orders: 100 memory messages are lost"));
	to = traffic_open(&paris);
	traffic_consume(to, "orders");
	checker_init(&k, N);
	/* For the checker those that died with the daemon have been. */
	for (uint64_t i = 1; i <= taken; i++)
		checker_got(&k, i, false);
	traffic_receive(to, from, &k, N);
	ck_assert_int_eq(connectd_flush(from, 20000), 0);
	ck_assert_uint_eq(told.reached, N);
	checker_assert(&k, "sent again");
	connectd_close(to);
	connectd_close(from);
	checker_done(&k);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

static uint64_t
count_waiting(void)
{
	struct answer a;
	uint64_t n;

	node_ask(&paris, WIRE_ADMIN_QUEUES, "berlin/orders", 0, &connectd__v1__queue__descriptor, &a);
	n = a.n > 0 ? ((const Connectd__V1__Queue *)a.items[0])->waiting : 0;
	answer_free(&a);
	return n;
}

/* The local daemon ends with what waits there for the other node: its sender hears that nothing more can be told. */
START_TEST(sender_restarts)
{
	enum { N = 500 };
	struct traffic_told told = { 0 };
	struct connectd *from;

	node_init(&berlin, "berlin", BERLIN, "", "");
	node_start(&berlin);
	proxy_start(&proxy, berlin.url);
	proxy_hole(&proxy, true);
	node_init(&paris, "paris", PARIS, "drain_timeout = 100ms\n", proxy.url);
	node_start(&paris);
	from = traffic_open(&paris);
	for (uint64_t i = 1; i <= N; i++)
		traffic_send(from, "berlin/orders", i, 100, CONNECTD_ARRIVED, &told);
	/* It must go on for them to leave it, and to hear how far they got. */
	while (connectd_flush(from, 50), count_waiting() < N)
		;
	ck_assert_int_eq(connectd_flush(from, 50), -ETIMEDOUT);
	restart(_i == 0);
	traffic_await(from, &told.untold, N);
	ck_assert_uint_eq(told.reached, 0);
	/* The flow goes on behind them. */
	proxy_hole(&proxy, false);
	traffic_send(from, "berlin/orders", N + 1, 100, CONNECTD_ARRIVED, &told);
	ck_assert_int_eq(connectd_flush(from, 20000), 0);
	ck_assert_uint_eq(told.reached, 1);
	node_await_queue(&berlin, "orders", queue_holds, 1);
	connectd_close(from);
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
	proxy_stop(&proxy);
}
END_TEST

/* Restarts in the middle of the stream: what was told to have arrived has, and of everything else its sender was told. */
START_TEST(restarts_under_load)
{
	enum { N = 20000, ROUNDS = 5 };
	struct traffic_told told = { .how = calloc(N + 1, 1) };
	struct connectd *from, *to;
	struct checker k;
	struct answer a;
	uint64_t sent = 0, accepted;

	ck_assert_ptr_nonnull(told.how);
	node_init(&berlin, "berlin", BERLIN, "", "");
	node_start(&berlin);
	node_init(&paris, "paris", PARIS, "", berlin.url);
	node_start(&paris);
	from = traffic_open(&paris);
	to = traffic_open(&berlin);
	traffic_consume(to, "orders");
	checker_init(&k, N);
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t before = sent;

		for (int i = 0; i < N / ROUNDS; i++)
			traffic_send(from, "berlin/orders", ++sent, 100, CONNECTD_ARRIVED, &told);
		/* The highest of those to come is at least in the new lot. */
		while (k.last <= before)
			traffic_receive(to, from, &k, k.got + 1);
		restart(_i == 0);
	}
	ck_assert_int_eq(connectd_flush(from, 20000), 0);
	ck_assert_uint_eq(told.reached + told.untold, N);
	connectd_close(from);
	ck_assert_int_eq(node_stop(&paris), 0);
	/* All that ever gets to berlin is there by now. */
	node_ask(&berlin, WIRE_ADMIN_QUEUES, "orders", 0, &connectd__v1__queue__descriptor, &a);
	accepted = ((const Connectd__V1__Queue *)a.items[0])->counters->accepted;
	answer_free(&a);
	while (k.got + k.duplicates + k.redelivered < accepted) {
		struct connectd_msg *m;

		ck_assert_int_eq(connectd_recv(to, &m, 20000), 0);
		checker_got(&k, traffic_number(m), (connectd_msg_get_flags(m) & CONNECTD_REDELIVERED) != 0);
		ck_assert_int_eq(connectd_ack(to, m), 0);
		connectd_msg_unref(m);
	}
	for (uint64_t i = 1; i <= N; i++)
		ck_assert_msg(k.seen[i] > 0 || told.how[i] == 'u', "%" PRIu64 " is lost, and its sender was told that it arrived", i);
	ck_assert_uint_eq(k.foreign, 0);
	printf("restarts: %" PRIu64 " arrived, %" PRIu64 " untold, %" PRIu64 " of them did not; %" PRIu64 " twice, %" PRIu64 " flagged\n",
	    told.reached, told.untold, checker_missing(&k), k.duplicates, k.redelivered);
	/* A daemon that dies may have passed on what it had not confirmed to the program; one that stops says so first. */
	if (_i != 0)
		ck_assert(k.duplicates == 0 && told.untold == 0);
	connectd_close(to);
	checker_done(&k);
	free(told.how);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

/* A program may be there before its daemon. */
START_TEST(program_comes_first)
{
	struct connectd *c;
	struct traffic_told told = { 0 };

	node_init(&paris, "paris", "%s", "");
	c = traffic_open_trying(&paris);
	traffic_send(c, "orders", 1, 8, CONNECTD_ACCEPTED, &told);
	ck_assert_int_eq(connectd_flush(c, 10), -ETIMEDOUT);
	node_start(&paris);
	ck_assert_int_eq(connectd_flush(c, 20000), 0);
	ck_assert_uint_eq(told.reached, 1);
	node_await_queue(&paris, "orders", queue_holds, 1);
	connectd_close(c);
	ck_assert_int_eq(node_stop(&paris), 0);
}
END_TEST

/* ----------------------------------------------------------------- stopping */

/* Messages for berlin, which takes ten and no more. */
static struct connectd *
stuck(const char *drain_timeout)
{
	struct connectd *from;
	struct traffic_told told = { 0 };

	node_init(&berlin, "berlin", BERLIN, "", "durable = no\nmax_messages = 10\n");
	node_start(&berlin);
	node_init(&paris, "paris", PARIS "[queue \"berlin/orders\"]\ndurable = no\n", drain_timeout, berlin.url);
	node_start(&paris);
	node_await_peer(&paris, "berlin", "up");
	from = traffic_open(&paris);
	for (uint64_t i = 1; i <= 110; i++)
		traffic_send(from, "berlin/orders", i, 8, CONNECTD_ACCEPTED, &told);
	traffic_await(from, &told.reached, 110);
	node_await_queue(&berlin, "orders", queue_holds, 10);
	node_await_queue(&paris, "berlin/orders", queue_holds, 100);
	return from;
}

static bool
says_stopping(void)
{
	struct answer a;
	bool stopping;

	node_ask(&paris, WIRE_ADMIN_STATUS, "", 0, &connectd__v1__status__descriptor, &a);
	ck_assert_uint_eq(a.n, 1);
	stopping = strcmp(((const Connectd__V1__Status *)a.items[0])->state, "stopping") == 0;
	answer_free(&a);
	return stopping;
}

static int
await_end(struct node *n)
{
	siginfo_t info;

	ck_assert_int_eq(waitid(P_PID, (id_t)n->pid, &info, WEXITED | WNOWAIT), 0);
	return node_stop(n); /* there is nobody left to hear the signal */
}

/* After drain_timeout it goes, and says what goes with it, by queue. */
START_TEST(stop_counts_what_is_lost)
{
	struct connectd *from = stuck("drain_timeout = 200ms\n");

	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert(node_logged(&paris, "drain_timeout has passed"));
	ck_assert(node_logged(&paris, "queue berlin/orders: 100 memory messages are lost"));
	ck_assert(node_logged(&paris, "100 memory messages in 1 queues are lost"));
	ck_assert(node_logged(&paris, "stopped"));
	connectd_close(from);
	ck_assert_int_eq(node_stop(&berlin), 0);
	ck_assert(node_logged(&berlin, "queue orders: 10 memory messages are lost"));
}
END_TEST

/* While it drains: no new connections, those there are answered; what can go, goes. */
START_TEST(stop_goes_on_until_drained)
{
	struct connectd *from = stuck("drain_timeout = 60s\n"), *to;
	struct connectd_options o = { .size = sizeof(o), .socket = paris.socket, .timeout_ms = 1000 };
	struct connectd *late = NULL;
	struct checker k;

	ck_assert(!says_stopping());
	kill(paris.pid, SIGTERM);
	await_text(paris.notify_fd, "STOPPING=1");
	ck_assert(says_stopping());
	ck_assert_int_lt(connectd_open(&o, &late), 0);
	connectd_close(late);
	/* Room at berlin: everything gets there, and the daemon ends long before the time-out. */
	to = traffic_open(&berlin);
	traffic_consume(to, "orders");
	checker_init(&k, 110);
	traffic_receive(to, NULL, &k, 110);
	checker_assert(&k, "drained");
	ck_assert_int_eq(await_end(&paris), 0);
	ck_assert(!node_logged(&paris, "lost"));
	connectd_close(to);
	connectd_close(from);
	checker_done(&k);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

START_TEST(second_signal_ends_at_once)
{
	struct connectd *from = stuck("drain_timeout = 60s\n");

	kill(paris.pid, SIGTERM);
	await_text(paris.notify_fd, "STOPPING=1");
	ck_assert(says_stopping());
	kill(paris.pid, SIGTERM);
	/* Not the end in order that 0 stands for; the test's time-out is shorter than the daemon's. */
	ck_assert_int_eq(await_end(&paris), 1);
	ck_assert(node_logged(&paris, "ending at once"));
	ck_assert(node_logged(&paris, "queue berlin/orders: 100 memory messages are lost"));
	connectd_close(from);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("restart");
	TCase *tc = tcase_create("restart");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 50);
	tcase_add_loop_test(tc, recv_survives, 0, 2);
	tcase_add_test(tc, tool_survives);
	tcase_add_loop_test(tc, unconfirmed_is_sent_again, 0, 2);
	tcase_add_loop_test(tc, sender_restarts, 0, 2);
	tcase_add_loop_test(tc, restarts_under_load, 0, 2);
	tcase_add_test(tc, program_comes_first);
	tcase_add_test(tc, stop_counts_what_is_lost);
	tcase_add_test(tc, stop_goes_on_until_drained);
	tcase_add_test(tc, second_signal_ends_at_once);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
