/*
 * Daemons and programs are killed, again and again, at any moment: nothing that
 * was confirmed is lost, nothing enters the queue at the other end twice, and
 * the order stays. The control arm does the same with memory messages, and must
 * lose.
 *
 *	KILL_SECONDS=n    how long (15, soak 600)
 *	SEED=n            which moments, as far as processes repeat themselves
 *	EXPECT_FAULT=1    the daemon has a planted fault, which must be found
 */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"
#include "proxy.h"
#include "soak.h"

#define NUMBERS (24u << 20)
#define RECEIPTS (2 * NUMBERS)
#define BACKLOG 5000 /* the sender waits while this much is not received */
#define WINDOW 512
#define UNACKED 48
#define ACK_MS 2000 /* what was received so long ago was acked, and the ack is on disk */
#define QUICK "plaintext = yes\nbackoff_min = 10ms\nbackoff_max = 50ms\n"
#define JOURNAL "segment = 1M\nmax_disk = 256M\n"
#define BERLIN JOURNAL "[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n[queue \"orders\"]\ndurable = %s\n" \
	"[peer \"paris\"]\nfrom = 127.0.0.0/8\n" QUICK
#define PARIS JOURNAL "[queue \"berlin/*\"]\ndurable = %s\n[peer \"berlin\"]\naddress = %s\n" QUICK

enum victim { KILL_PARIS, KILL_BERLIN, KILL_SENDER, KILL_RECEIVER, KILL_DAEMONS, CUT_LINK, VICTIMS };
static const char *const victims[VICTIMS] = { "paris", "berlin", "sender", "receiver", "both daemons", "link" };

struct receipt {
	uint32_t number, session, ms;
	bool redelivered;
};

/* What programs leave behind when they are killed. */
struct shared {
	_Atomic uint64_t sent, stored, arrived, received, acked; /* the highest number */
	_Atomic uint64_t n_receipts;
	_Atomic uint32_t sessions;   /* of receivers, so far */
	_Atomic bool finish;         /* no new messages; then: ack all and end */
	_Atomic bool finish_receiving;
	_Atomic uint64_t forgot;     /* a producer was told to go on below what it was told is safe */
	_Atomic uint64_t wrong_bodies;
	uint8_t told[NUMBERS + 1];   /* the highest level told */
	struct receipt receipts[RECEIPTS];
};

static struct shared *sh;
static struct node paris, berlin;
static struct proxy proxy;
static pid_t sender_pid, receiver_pid;
static bool durable;

static void
raise_to(_Atomic uint64_t *at, uint64_t value)
{
	if (atomic_load(at) < value)
		atomic_store(at, value);
}

/* ------------------------------------------------------------------ bodies */

/* Most are small; some do not fit a block, a few are written in pieces. */
static size_t
size_of(uint64_t number)
{
	if (number % 700 == 0)
		return 300000 + number % 1000;
	if (number % 50 == 0)
		return 5000 + number % 5000;
	return 8 + number * 37 % 1500;
}

static void
make_body(uint8_t *body, uint64_t number)
{
	size_t size = size_of(number);

	memcpy(body, &number, 8);
	for (size_t i = 8; i < size; i++)
		body[i] = (uint8_t)(number * 31 + i * 7 + (i >> 8));
}

static uint64_t
read_body(const struct connectd_msg *m)
{
	static uint8_t want[400000];
	uint64_t number = 0;
	size_t len;
	const void *body = connectd_msg_get_body(m, &len);

	if (len >= 8)
		memcpy(&number, body, 8);
	if (number == 0 || number > NUMBERS || len != size_of(number))
		return 0;
	make_body(want, number);
	return memcmp(want, body, len) == 0 ? number : 0;
}

/* ------------------------------------------------------------------ sender */

static void
outcome(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	(void)c, (void)m, (void)userdata;
	if (o->result != 0 || o->level > CONNECTD_ARRIVED)
		return;
	if (sh->told[o->number] < o->level)
		sh->told[o->number] = (uint8_t)o->level;
	if (o->level == CONNECTD_ARRIVED)
		raise_to(&sh->arrived, o->number);
	if (o->level == CONNECTD_STORED || (!durable && o->level == CONNECTD_ACCEPTED))
		raise_to(&sh->stored, o->number);
}

static struct connectd *
open_program(const struct node *n, bool stay)
{
	struct connectd_options o = { .size = sizeof(o), .socket = n->socket, .application = "kill", .keep_trying = stay,
		.no_reconnect = !stay, .window_messages = WINDOW };
	struct connectd *c = NULL;

	while (connectd_open(&o, &c) != 0) {
		connectd_close(c);
		poll(NULL, 0, 5); /* it is being started */
	}
	return c;
}

/* Where to go on. */
static uint64_t
open_producer(struct connectd *c)
{
	uint64_t last;
	int r;

	while ((r = connectd_producer_open(c, "till", "berlin/orders", &last)) != 0)
		if (r != -ETIMEDOUT && r != -ENOTCONN) {
			fprintf(stderr, "producer: %d %s\n", r, connectd_last_error(c));
			_exit(1);
		}
	/* What was told to be safe is. */
	if (durable && last < atomic_load(&sh->stored))
		atomic_fetch_add(&sh->forgot, 1);
	return (durable ? last : atomic_load(&sh->sent)) + 1;
}

static void
sender(void)
{
	static uint8_t body[400000];
	struct connectd *c = open_program(&paris, true);
	uint64_t next = open_producer(c);
	unsigned levels = CONNECTD_TELL(CONNECTD_ARRIVED) | CONNECTD_TELL(durable ? CONNECTD_STORED : CONNECTD_ACCEPTED);

	while (next <= NUMBERS && !(atomic_load(&sh->finish) && next > atomic_load(&sh->sent))) {
		struct connectd_msg *m;
		int r;

		if (next > atomic_load(&sh->received) + BACKLOG && !atomic_load(&sh->finish)) {
			connectd_wait(c, 10);
			continue;
		}
		make_body(body, next);
		m = connectd_msg_new("berlin/orders");
		if (m == NULL || connectd_msg_set_type_body(m, "test.Number", body, size_of(next)) != 0 ||
		    connectd_msg_set_number(m, next) != 0)
			_exit(1);
		raise_to(&sh->sent, next);
		r = connectd_send(c, m, levels, outcome, NULL);
		connectd_msg_unref(m);
		if (r == 0)
			next++;
		else if (r == -EAGAIN)
			connectd_wait(c, 100);
		else if (r == -ESTALE || r == -EINVAL) /* the daemon has forgotten it */
			next = open_producer(c);
		else {
			fprintf(stderr, "sender: %d %s\n", r, connectd_last_error(c));
			_exit(1);
		}
		if (next % 16 == 0)
			connectd_process(c);
	}
	_exit(connectd_flush(c, 60000) == 0 ? 0 : 1);
}

/* ---------------------------------------------------------------- receiver */

/* Acks a few at a time, so that there is always something it took and did not ack. */
static void
ack_all(struct connectd *c, struct connectd_msg **held, size_t *n)
{
	for (size_t i = 0; i < *n; i++) {
		uint64_t number = read_body(held[i]);

		if (connectd_ack(c, held[i]) == 0)
			raise_to(&sh->acked, number);
		connectd_msg_unref(held[i]);
	}
	*n = 0;
}

static void
receive(struct connectd *c, uint32_t session)
{
	struct connectd_msg *held[UNACKED], *m;
	size_t n = 0, bunch = 1;
	int r;

	for (;;) {
		r = connectd_recv(c, &m, 20);
		if (r == -ETIMEDOUT) {
			ack_all(c, held, &n);
			if (!atomic_load(&sh->finish_receiving))
				continue;
			connectd_close(c);
			_exit(0);
		}
		if (r != 0)
			break;
		{
			uint64_t number = read_body(m), at = atomic_load(&sh->n_receipts);

			if (number == 0 || at == RECEIPTS) {
				atomic_fetch_add(&sh->wrong_bodies, 1);
				continue;
			}
			sh->receipts[at] = (struct receipt){ (uint32_t)number, session, (uint32_t)program_clock_ms(),
				(connectd_msg_get_flags(m) & CONNECTD_REDELIVERED) != 0 };
			atomic_store(&sh->n_receipts, at + 1);
			raise_to(&sh->received, number);
			held[n++] = m;
			if (number % 2000 < 20)
				poll(NULL, 0, 1); /* at times it is slow, and the queue fills */
		}
		if (n >= bunch) {
			ack_all(c, held, &n);
			bunch = 1 + (bunch * 5 + 3) % UNACKED;
		}
	}
	while (n > 0)
		connectd_msg_unref(held[--n]);
}

static void
receiver(void)
{
	for (;;) {
		/* Exclusive, and it does not come back by itself: a session is one unbroken stretch of the queue's order. */
		struct connectd_consume_options o = { .size = sizeof(o), .credit_messages = UNACKED + 16, .exclusive = 1 };
		struct connectd *c = open_program(&berlin, false);
		struct connectd_consumer *k;

		if (connectd_consume(c, "orders", &o, NULL, NULL, &k) == 0)
			receive(c, atomic_fetch_add(&sh->sessions, 1) + 1);
		connectd_close(c);
	}
}

static pid_t
program(void (*run)(void))
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run();
		_exit(1);
	}
	return pid;
}

static void
kill_program(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status), "a program ended by itself: exit %d", WEXITSTATUS(status));
}

/* ----------------------------------------------------------------- kill loop */

static void
start_berlin(void)
{
	node_start(&berlin);
	proxy_target(&proxy, berlin.url);
}

/* Did it hit something that nobody had confirmed? */
static bool
strike(enum victim v)
{
	uint64_t sent = atomic_load(&sh->sent), stored = atomic_load(&sh->stored), arrived = atomic_load(&sh->arrived);
	uint64_t received = atomic_load(&sh->received), acked = atomic_load(&sh->acked);
	bool sending = sent > stored, travelling = stored > arrived && stored > received;

	switch (v) {
	case KILL_PARIS:
		node_kill(&paris);
		node_start(&paris);
		return sending || travelling;
	case KILL_BERLIN:
		node_kill(&berlin);
		start_berlin();
		return travelling || received > acked;
	case KILL_SENDER:
		kill_program(sender_pid);
		sender_pid = program(sender);
		return sending;
	case KILL_RECEIVER:
		kill_program(receiver_pid);
		receiver_pid = program(receiver);
		return received > acked;
	case KILL_DAEMONS:
		node_kill(&berlin);
		node_kill(&paris);
		node_start(&paris);
		start_berlin();
		return sending || travelling || received > acked;
	default:
		proxy_cut(&proxy);
		return travelling;
	}
}

/* Until so many more were received; after a while in any case. The programs must not end by themselves. */
static void
let_run(uint64_t messages)
{
	uint64_t until = program_clock_ms() + 2000, enough = atomic_load(&sh->received) + messages;

	while (atomic_load(&sh->received) < enough && program_clock_ms() < until) {
		siginfo_t info = { 0 };

		ck_assert_int_eq(waitid(P_PID, (id_t)receiver_pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
		ck_assert_msg(info.si_pid == 0, "the receiver ended");
		poll(NULL, 0, 1);
	}
}

struct verdict {
	uint64_t confirmed, lost, doubled, unflagged, redelivered, disorder, undead;
};

/*
 * Within one session numbers rise: what is there once comes once, in order. What
 * came in an earlier session may come again, flagged, if its ack may have died.
 */
static struct verdict
judge(void)
{
	struct verdict v = { 0 };
	uint32_t *seen = calloc(NUMBERS + 1, sizeof(*seen)); /* when last */
	uint64_t newest = 0, last = 0, n = atomic_load(&sh->n_receipts);
	uint32_t session = 0;

	ck_assert_ptr_nonnull(seen);
	for (uint64_t i = 0; i < n; i++) {
		const struct receipt *r = &sh->receipts[i];

		v.doubled += r->session == session && r->number <= last;
		session = r->session;
		last = r->number;
		if (seen[r->number]) {
			*(r->redelivered ? &v.redelivered : &v.unflagged) += 1;
			v.undead += r->ms - seen[r->number] > ACK_MS;
			seen[r->number] = r->ms;
			continue;
		}
		seen[r->number] = r->ms;
		v.disorder += r->number != newest + 1;
		newest = r->number > newest ? r->number : newest;
	}
	for (uint64_t i = 1; i <= NUMBERS; i++) {
		bool safe = sh->told[i] >= (durable ? CONNECTD_STORED : CONNECTD_ACCEPTED);

		v.confirmed += safe;
		v.lost += safe && !seen[i];
	}
	free(seen);
	return v;
}

static struct verdict
kill_loop(uint64_t seconds)
{
	uint64_t until = program_clock_ms() + seconds * 1000, kills[VICTIMS] = { 0 }, hits[VICTIMS] = { 0 }, all = 0, hit = 0;
	struct verdict v;
	int status;

	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert(sh != MAP_FAILED);
	node_init(&berlin, "berlin", BERLIN, durable ? "yes" : "no");
	node_start(&berlin);
	proxy_start(&proxy, berlin.url);
	node_init(&paris, "paris", PARIS, durable ? "yes" : "no", proxy.url);
	node_start(&paris);
	sender_pid = program(sender);
	receiver_pid = program(receiver);
	while (program_clock_ms() < until) {
		enum victim v1 = (enum victim)soak_random(VICTIMS);

		/* Now and then shortly after the one before, in the midst of coming back. */
		let_run(soak_random(6) == 0 ? 0 : 1 + soak_random(4000));
		kills[v1]++;
		hits[v1] += strike(v1);
	}
	atomic_store(&sh->finish, true);
	ck_assert_int_eq(waitpid(sender_pid, &status, 0), sender_pid);
	ck_assert_msg(WIFEXITED(status) && (!durable || WEXITSTATUS(status) == 0), "the sender could not bring everything to safety");
	node_await_queue(&paris, "berlin/orders", queue_holds, 0);
	node_await_queue(&berlin, "orders", queue_holds, 0);
	atomic_store(&sh->finish_receiving, true);
	ck_assert_int_eq(waitpid(receiver_pid, &status, 0), receiver_pid);
	ck_assert_int_eq(status, 0);
	ck_assert(!node_logged(&paris, "journal: segment") && !node_logged(&berlin, "journal: segment")); /* damage */
	ck_assert(soak_expects_fault() || !node_logged(&paris, "lost messages"));
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
	proxy_stop(&proxy);
	v = judge();
	for (int i = 0; i < VICTIMS; i++) {
		all += kills[i];
		hit += hits[i];
		printf("t_kill: %-12s hit %4" PRIu64 " times, %4" PRIu64 " of them something unconfirmed\n", victims[i], kills[i], hits[i]);
	}
	printf("t_kill, %s: %" PRIu64 " kills, %" PRIu64 " hit something unconfirmed; %" PRIu64 " sent, %" PRIu64 " confirmed: %" PRIu64
	       " lost, %" PRIu64 " doubled, %" PRIu64 " again without a flag, %" PRIu64 " out of order, %" PRIu64
	       " back long after their ack; %" PRIu64 " redelivered\n",
	    durable ? "durable" : "memory (control)", all, hit, atomic_load(&sh->sent), v.confirmed, v.lost, v.doubled, v.unflagged,
	    v.disorder, v.undead, v.redelivered);
	fflush(stdout);
	ck_assert_msg(2 * hit >= all, "too few hit anything: this proves nothing");
	return v;
}

START_TEST(nothing_is_lost)
{
	struct verdict v;
	uint64_t faults;

	durable = true;
	v = kill_loop(soak_value("KILL_SECONDS", 15, 600));
	faults = v.lost + v.doubled + v.unflagged + v.disorder + v.undead + atomic_load(&sh->forgot) + atomic_load(&sh->wrong_bodies);
	if (soak_expects_fault()) {
		ck_assert_msg(faults > 0, "the planted fault was not found");
		return;
	}
	ck_assert_uint_gt(v.confirmed, 0);
	ck_assert_uint_eq(v.lost, 0);
	ck_assert_uint_eq(v.doubled, 0);
	ck_assert_uint_eq(v.unflagged, 0);
	ck_assert_uint_eq(v.disorder, 0);
	ck_assert_uint_eq(v.undead, 0);
	ck_assert_uint_eq(atomic_load(&sh->forgot), 0);
	ck_assert_uint_eq(atomic_load(&sh->wrong_bodies), 0);
	ck_assert_uint_gt(v.redelivered, 0);
}
END_TEST

/* The control arm: the same with memory messages. */
START_TEST(memory_is_lost)
{
	struct verdict v;

	durable = false;
	v = kill_loop(4);
	ck_assert_uint_gt(v.lost, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("kill");
	TCase *tc = tcase_create("kill");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, soak_timeout(soak_value("KILL_SECONDS", 15, 600)));
	tcase_add_test(tc, nothing_is_lost);
	if (!soak_expects_fault())
		tcase_add_test(tc, memory_is_lost);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	soak_seed("t_kill");
	fflush(stdout);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
