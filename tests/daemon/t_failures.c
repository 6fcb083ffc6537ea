/*
 * Every allocation and every system call of a daemon fails once: it goes on and
 * is right, or it ends with a word and an exit code, and the next start has what
 * was confirmed. The control arm must find a program that does neither. The
 * faults are made by tests/faults/every.c, preloaded into the daemon or into
 * connectctl (and so into libconnectd).
 *
 *	FAILURES=n        so many of the daemon's, spread over all (8, soak: all)
 *	TOOL_FAILURES=n   so many of connectctl's for each verb (2, soak: all)
 *	CALLS=NAME        those of one name alone, and all of them
 *	FAIL=CALL:ERROR:AT:FOR   that one alone
 */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "every.h"
#include "proc.h"
#include "program.h"
#include "soak.h"
#include "wire.h"

#define ALL UINT64_MAX
#define KEPT 3   /* messages for berlin's queue, a fault */
#define AWAY 2   /* for the other node, and from there */
#define SOON_MS 1500
#define ENDS_MS 20000
#define RESTS_MS 5000
#define REFUSED_MS 300 /* what was refused is not waited for longer */
#define LASTS 100000

#define QUEUES "[queue \"brief\"]\ndurable = no\n[queue \"keep\"]\n[queue \"here\"]\n[queue \"there\"]\n[queue \"*\"]\nmin_bytes = 0\n"
#define PLAIN "plaintext = yes\nfrom = 127.0.0.0/8\nbackoff_min = 10ms\nbackoff_max = 50ms\n"
#define NODE "segment = 1M\nmax_disk = 32M\ndrain_timeout = 200ms\n"

static struct node berlin, oslo;

/* What can plausibly be wrong with a call. */
static const struct failure {
	const char *call;
	bool lasts; /* may be so for long */
	const char *errors[6];
} failures[] = {
	{ "own", true, { "ENOMEM" } },
	{ "lib", true, { "ENOMEM" } },
	{ "read", false, { "EIO", "EINTR" } },
	{ "write", false, { "EIO", "EINTR" } },
	{ "pread", false, { "EIO", "EINTR" } },
	{ "pwrite", false, { "EIO", "ENOSPC", "EINTR" } },
	{ "recv", false, { "ECONNRESET", "EINTR", "EAGAIN", "ENOMEM" } },
	{ "send", false, { "EPIPE", "EINTR", "EAGAIN", "ENOBUFS" } },
	{ "sendto", false, { "ENOBUFS", "EINTR" } },
	{ "sendmsg", false, { "EPIPE", "EINTR", "EAGAIN", "ENOBUFS" } },
	{ "accept4", true, { "EMFILE", "ENFILE", "ECONNABORTED", "EINTR", "EAGAIN", "ENOMEM" } },
	{ "connect", false, { "EACCES", "ENOMEM", "ECONNRESET" } },
	{ "socket", false, { "EMFILE", "ENOBUFS" } },
	{ "bind", false, { "EACCES", "ENOMEM" } },
	{ "listen", false, { "ENOBUFS" } },
	{ "setsockopt", false, { "ENOBUFS" } },
	{ "getsockopt", false, { "ENOBUFS" } },
	{ "getsockname", false, { "ENOBUFS" } },
	{ "getpeername", false, { "ENOBUFS" } },
	{ "epoll_create1", false, { "EMFILE" } },
	{ "epoll_ctl", false, { "ENOMEM", "ENOSPC" } },
	{ "epoll_wait", false, { "EINTR" } },
	{ "eventfd", false, { "EMFILE" } },
	{ "timerfd_create", false, { "EMFILE" } },
	{ "signalfd", false, { "EMFILE" } },
	{ "open", false, { "EMFILE", "EACCES", "ENOMEM" } },
	{ "openat", true, { "EMFILE", "EACCES", "EIO" } },
	{ "fsync", false, { "EIO" } },
	{ "fdatasync", false, { "EIO" } },
	{ "fallocate", false, { "ENOSPC", "EIO" } },
	{ "ftruncate", false, { "EIO" } },
	{ "renameat", false, { "EIO", "ENOSPC" } },
	{ "unlinkat", false, { "EIO" } },
	{ "mkdirat", false, { "ENOSPC" } },
	{ "fstat", false, { "EIO" } },
	{ "fstatat", false, { "EIO" } },
	{ "fstatfs", false, { "EIO" } },
	{ "fcntl", false, { "EMFILE" } },
	{ "flock", false, { "EINTR" } },
	{ "fdopendir", false, { "ENOMEM" } },
	{ "chmod", false, { "EIO" } },
	{ "fchmod", false, { "EIO" } },
	{ "pthread_create", false, { "EAGAIN" } },
	{ "open_memstream", false, { "ENOMEM" } },
};
#define N_FAILURES (sizeof(failures) / sizeof(failures[0]))

struct fault {
	const char *call, *error;
	uint64_t at, count;
};

static const char *const kinds[] = { EVERY_KINDS(EVERY_NAME) };
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static char last[120]; /* the fault that is tried, for messages */

/* The environment in which it comes to pass. */
static void
plan(const struct fault *f, const char *count_in, const char *environment[static 8])
{
	static char preload[300], call[60], at[60], count[60], error[60], file[100];
	const char *b = getenv("B");

	snprintf(preload, sizeof(preload), "LD_PRELOAD=%s/tests/every.so", b != NULL ? b : "build");
	snprintf(call, sizeof(call), "EVERY_CALL=%s", f->call);
	snprintf(at, sizeof(at), "EVERY_AT=%" PRIu64, f->at);
	snprintf(count, sizeof(count), "EVERY_FOR=%" PRIu64, f->count);
	snprintf(error, sizeof(error), "EVERY_DO=%s", f->error);
	snprintf(file, sizeof(file), "EVERY_COUNT=%s", count_in != NULL ? count_in : "/dev/null");
	environment[0] = preload;
	environment[1] = call;
	environment[2] = at;
	environment[3] = count;
	environment[4] = error;
	environment[5] = "ASAN_OPTIONS=verify_asan_link_order=0";
	environment[6] = count_in != NULL ? file : NULL;
	environment[7] = NULL;
	snprintf(last, sizeof(last), "FAIL=%s:%s:%" PRIu64 ":%" PRIu64, f->call, f->error, f->at, f->count);
}

static void
read_counts(const char *path, unsigned long counts[static N_KINDS])
{
	FILE *f = fopen(path, "r");

	ck_assert_msg(f != NULL, "%s", path);
	ck_assert_uint_eq(fread(counts, sizeof(*counts), N_KINDS, f), N_KINDS);
	fclose(f);
}

static unsigned long
count_of(const unsigned long counts[static N_KINDS], const char *call)
{
	for (size_t i = 0; i < N_KINDS; i++)
		if (strcmp(kinds[i], call) == 0)
			return counts[i];
	ck_abort_msg("every.h does not know %s", call);
	return 0;
}

/* ------------------------------------------------------------------ daemons -- */

struct sent {
	uint64_t sent, ended, failed;
};

static void
outcome(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	struct sent *s = userdata;

	(void)c, (void)m;
	if (!o->final)
		return;
	s->ended++;
	/* Refused for lack of memory, say: then it must not be there. */
	s->failed += o->result != 0;
}

struct line {
	struct connectd *c;
	const char *dest;
	unsigned levels;
	struct sent sent;
	uint64_t next; /* number */
};

static void
line_open(struct line *l, const struct node *at, const char *dest, unsigned levels)
{
	struct connectd_options o = { .size = sizeof(o), .socket = at->socket, .application = "sender", .keep_trying = 1 };

	*l = (struct line){ .dest = dest, .levels = levels };
	ck_assert_int_eq(connectd_open(&o, &l->c), 0);
}

static void
line_send(struct line *l, int n)
{
	for (; n > 0; n--) {
		char text[32];
		struct connectd_msg *m;

		snprintf(text, sizeof(text), "%" PRIu64, ++l->next);
		m = program_message(l->dest, text, 100);
		ck_assert_int_eq(connectd_send(l->c, m, l->levels, outcome, &l->sent), 0);
		connectd_msg_unref(m);
		l->sent.sent++;
	}
}

static bool
has_ended(const struct node *n)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)n->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == n->pid;
}

struct world {
	struct line keep, away, here; /* to a queue of berlin, from there to oslo, from oslo */
	uint64_t kept, gone, came;    /* received so far */
};

/* Everything is told, or the daemon is gone, or it takes longer. */
static void
go_on(struct world *w)
{
	struct line *lines[] = { &w->keep, &w->away, &w->here };
	uint64_t until = program_clock_ms() + SOON_MS;
	bool open = true;

	while (open && program_clock_ms() < until && !has_ended(&berlin)) {
		open = false;
		for (size_t i = 0; i < 3; i++) {
			ck_assert_int_ge(connectd_wait(lines[i]->c, 2), 0);
			open |= lines[i]->sent.ended < lines[i]->sent.sent;
		}
	}
}

/* An operator's command: whatever it says, it ends. */
static void
operate(const struct node *n, const char *command)
{
	const char *b = getenv("B");
	char text[400];
	int status;

	snprintf(text, sizeof(text), "timeout 10 %s/connectctl -s %s %s >/dev/null 2>&1 </dev/null", b != NULL ? b : "build", n->socket, command);
	status = system(text);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) <= 3, "%s: connectctl %s: status %x", last, command, (unsigned)status);
}

/* It sleeps when nothing is to be done. */
static void
rests(void)
{
	uint64_t until = program_clock_ms() + RESTS_MS, waits;

	do {
		ck_assert_msg(program_clock_ms() < until, "%s: it does not come to rest", last);
		waits = proc_waits(berlin.pid);
		poll(NULL, 0, 30); /* nobody tells of rest */
	} while (!has_ended(&berlin) && (!proc_is_asleep(berlin.pid) || proc_waits(berlin.pid) > waits + 20));
}

static int
ends(void)
{
	for (int waited = 0; !has_ended(&berlin); waited += 10) {
		ck_assert_msg(waited < ENDS_MS, "%s: it does not end", last);
		poll(NULL, 0, 10); /* for a child that ends without a word */
	}
	return node_await_end(&berlin);
}

/* A clean end says why. */
static void
check_end(int code, bool was_told)
{
	ck_assert_msg(code < 126, "%s: exit code %d", last, code);
	ck_assert_msg(!node_logged(&berlin, "Sanitizer") && !node_logged(&berlin, "runtime error"), "%s: a sanitizer complains", last);
	if (!was_told)
		ck_assert_msg(code != 0 && (node_logged(&berlin, " error") || node_logged(&berlin, "connectd: ") || node_logged(&berlin, "conf: ")),
		    "%s: it ended by itself (exit %d), and did not say why", last, code);
}

/* Work of every kind, an operator, a reload. */
static void
live(struct world *w)
{
	static const char *const commands[] = { "status", "queues", "peek keep", "peers", "producers", "clients", "hold brief", "release brief",
		"reload", "purge --yes brief", "move brief keep2" };

	line_send(&w->keep, KEPT);
	line_send(&w->away, AWAY);
	line_send(&w->here, AWAY);
	go_on(w);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]) && !has_ended(&berlin); i++)
		operate(&berlin, commands[i]);
	if (has_ended(&berlin))
		return;
	kill(berlin.pid, SIGHUP);
	rests();
}

/* What the line has sent comes, in order, each once, but for what was refused. */
static void
receive(const struct node *n, const char *queue, struct line *l, uint64_t *last_got)
{
	struct connectd *c = program_open(n, "receiver");
	uint64_t missing = l->sent.failed;

	ck_assert_msg(connectd_flush(l->c, PROGRAM_PATIENCE_MS) == 0 && l->sent.ended == l->sent.sent, "%s: not all is told: %s", last,
	    connectd_last_error(l->c));
	program_consume(c, queue, 0);
	while (*last_got < l->next) {
		struct connectd_msg *m;
		int r = connectd_recv(c, &m, missing > 0 ? REFUSED_MS : PROGRAM_PATIENCE_MS);
		uint64_t number;

		if (r == -ETIMEDOUT && l->next - *last_got <= missing)
			break;
		ck_assert_msg(r == 0, "%s: number %" PRIu64 " of %" PRIu64 " in %s does not come: %d %s", last, *last_got + 1, l->next, queue, r,
		    connectd_last_error(c));
		number = strtoull(program_text(m), NULL, 10);
		ck_assert_msg(number > *last_got && number - *last_got - 1 <= missing, "%s: number %" PRIu64 " comes behind %" PRIu64, last,
		    number, *last_got);
		missing -= number - *last_got - 1;
		*last_got = number;
		program_ack(c, m);
	}
	*last_got = l->next;
	l->sent.failed = 0;
	connectd_close(c);
}

/* Berlin lives with the fault, and then without. */
static void
try(struct world *w, const struct fault *f, const char *count_in)
{
	bool was_told = false;

	unlink(berlin.log);
	plan(f, count_in, berlin.environment);
	node_launch(&berlin);
	if (node_await_ready(&berlin)) {
		live(w);
		was_told = !has_ended(&berlin);
		if (was_told)
			kill(berlin.pid, SIGTERM);
	}
	check_end(ends(), was_told);
	berlin.environment[0] = NULL;
	node_start(&berlin);
	receive(&berlin, "keep", &w->keep, &w->kept);
	receive(&oslo, "there", &w->away, &w->gone);
	receive(&berlin, "here", &w->here, &w->came);
	ck_assert_int_eq(node_stop(&berlin), 0);
}

static void
begin(struct world *w)
{
	*w = (struct world){ 0 };
	node_init(&oslo, "oslo", NODE "[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n" QUEUES "[peer \"berlin\"]\n" PLAIN);
	node_start(&oslo);
	node_init(&berlin, "berlin", NODE "[listen \"lan\"]\naddress = tcp://127.0.0.1:0, sctp://127.0.0.1:0\nplaintext = yes\n" QUEUES
	    "[peer \"oslo\"]\naddress = %s\n" PLAIN, oslo.url);
	line_open(&w->keep, &berlin, "keep", CONNECTD_TELL(CONNECTD_STORED));
	line_open(&w->away, &berlin, "oslo/there", CONNECTD_TELL(CONNECTD_ARRIVED));
	line_open(&w->here, &oslo, "berlin/here", CONNECTD_TELL(CONNECTD_ARRIVED));
}

static void
end(struct world *w)
{
	connectd_close(w->keep.c);
	connectd_close(w->away.c);
	connectd_close(w->here.c);
	ck_assert_int_eq(node_stop(&oslo), 0);
}

/* FAIL=CALL:ERROR:AT:FOR */
static bool
given(struct fault *ret)
{
	static char call[40], error[40];
	const char *text = getenv("FAIL");

	if (text == NULL)
		return false;
	ck_assert_int_eq(sscanf(text, "%39[^:]:%39[^:]:%" SCNu64 ":%" SCNu64, call, error, &ret->at, &ret->count), 4);
	ret->call = call;
	ret->error = error;
	return true;
}

/* Every step-th of all that can fail, as often as it was counted; each in turn alone, or all from then on. */
static uint64_t
each(const unsigned long counts[static N_KINDS], uint64_t step, void (*fn)(void *arg, const struct fault *f), void *arg)
{
	const char *alone = getenv("CALLS");
	uint64_t n = 0, tried = 0;

	for (size_t i = 0; i < N_FAILURES; i++)
		for (size_t e = 0; e < 6 && failures[i].errors[e] != NULL; e++)
			for (uint64_t at = 1; at <= count_of(counts, failures[i].call); at++) {
				const struct fault f = { failures[i].call, failures[i].errors[e], at, failures[i].lasts && at % 4 == 0 ? LASTS : 1 };

				if (alone != NULL ? strcmp(f.call, alone) != 0 : n++ % step != step / 2)
					continue;
				fn(arg, &f);
				tried++;
			}
	return tried;
}

static void
nothing(void *arg, const struct fault *f)
{
	(void)arg, (void)f;
}

static uint64_t
step_for(const unsigned long counts[static N_KINDS], uint64_t wanted)
{
	uint64_t all = each(counts, 1, nothing, NULL);

	return all > wanted ? all / wanted : 1;
}

static void
try_each(void *arg, const struct fault *f)
{
	try(arg, f, NULL);
}

START_TEST(daemons_survive_or_end)
{
	const struct fault none = { "own", "ENOMEM", 0, 0 };
	unsigned long counts[N_KINDS];
	char path[NODES_PATH_MAX];
	struct fault one;
	struct world w;
	uint64_t tried = 1;

	begin(&w);
	snprintf(path, sizeof(path), "%s/counts", nodes_folder());
	/* The first start makes more than the others. */
	try(&w, &none, NULL);
	try(&w, &none, path);
	read_counts(path, counts);
	if (given(&one))
		try(&w, &one, NULL);
	else
		tried = each(counts, step_for(counts, soak_value("FAILURES", 8, ALL)), try_each, &w);
	printf("t_failures: %" PRIu64 " faults of a daemon, of %" PRIu64 " possible ones: it went on, or ended with a word; %" PRIu64
	       " messages, none lost or doubled\n",
	    tried, each(counts, 1, nothing, NULL), w.keep.next + w.away.next + w.here.next);
	end(&w);
}
END_TEST

/* -------------------------------------------------------------------- tools */

/* What an operator and programs of the library do. */
static const char *const verbs[] = { "status", "--json status", "queues", "peers", "clients", "peek tools", "--json peek tools", "producers",
	"send tools --text hello", "recv tools --count 1 --timeout 5s", "--json recv tools --count 1 --timeout 5s", "key", "pair oslo",
	"--json pair oslo", "hold brief", "release brief", "reload", "purge --yes brief" };
#define N_VERBS ((int)(sizeof(verbs) / sizeof(verbs[0])))

struct tool {
	const char *verb;
	uint64_t in_spite; /* ended well */
};

static bool
says_why(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[300];
	bool says = false;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		ck_assert_msg(strstr(line, "Sanitizer") == NULL && strstr(line, "runtime error") == NULL, "%s: %s", last, line);
		says |= strncmp(line, "fault: ", 7) != 0;
	}
	fclose(f);
	return says;
}

static int
tool_run(const struct tool *t, const struct fault *f, const char *count_in)
{
	const char *environment[8], *b = getenv("B");
	char text[1400], err[64];
	int status, len;

	plan(f, count_in, environment);
	snprintf(err, sizeof(err), "%s/tool.err", nodes_folder());
	len = snprintf(text, sizeof(text), "timeout 15 env");
	for (size_t i = 0; environment[i] != NULL; i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, " %s", environment[i]);
	snprintf(text + len, sizeof(text) - (size_t)len, " %s/connectctl -s %s %s >/dev/null 2>%s </dev/null", b != NULL ? b : "build",
	    berlin.socket, t->verb, err);
	status = system(text);
	ck_assert_msg(WIFEXITED(status), "%s: connectctl %s", last, t->verb);
	status = WEXITSTATUS(status);
	ck_assert_msg(status <= 3, "%s: connectctl %s: exit code %d", last, t->verb, status);
	/* 3: the time has passed, which is what was asked for. */
	ck_assert_msg(says_why(err) || status == 0 || status == 3, "%s: connectctl %s: exit code %d, and not a word", last, t->verb, status);
	return status;
}

static void
tool_each(void *arg, const struct fault *f)
{
	struct tool *t = arg;

	t->in_spite += tool_run(t, f, NULL) == 0;
}

static uint64_t
waiting(struct node *n, const char *queue)
{
	struct answer a;
	uint64_t messages;

	node_ask(n, WIRE_ADMIN_QUEUES, queue, 0, &connectd__v1__queue__descriptor, &a);
	ck_assert_uint_eq(a.n, 1);
	messages = ((const Connectd__V1__Queue *)a.items[0])->waiting;
	answer_free(&a);
	return messages;
}

START_TEST(tools_end_with_a_word)
{
	const struct fault none = { "own", "ENOMEM", 0, 0 };
	struct tool t = { .verb = verbs[_i] };
	struct connectd *c;
	struct told told = { 0 };
	unsigned long counts[N_KINDS];
	char path[NODES_PATH_MAX];
	struct fault one;
	uint64_t tried = 1, before;

	node_init(&berlin, "berlin", NODE QUEUES "[listen \"lan\"]\naddress = tls://127.0.0.1:0\n[peer \"oslo\"]\n" PLAIN);
	node_start(&berlin);
	c = program_open(&berlin, "filler");
	program_send_numbers(c, "tools", 1, 300, &told);
	program_flush(c);
	connectd_close(c);
	snprintf(path, sizeof(path), "%s/counts", nodes_folder());
	ck_assert_int_eq(tool_run(&t, &none, path), 0);
	read_counts(path, counts);
	before = waiting(&berlin, "tools");
	if (given(&one))
		tool_each(&t, &one);
	else
		tried = each(counts, step_for(counts, soak_value("TOOL_FAILURES", 2, ALL)), tool_each, &t);
	/* What it says is sent is there, and what it says was taken is gone. */
	if (strstr(t.verb, "send") != NULL)
		ck_assert_uint_ge(waiting(&berlin, "tools"), before + t.in_spite);
	if (strstr(t.verb, "recv") != NULL)
		ck_assert_uint_le(waiting(&berlin, "tools"), before - t.in_spite);
	printf("t_failures: connectctl %s: %" PRIu64 " faults, %" PRIu64 " of no matter\n", t.verb, tried, t.in_spite);
	ck_assert_int_eq(node_stop(&berlin), 0);
}
END_TEST

static void
teardown(void)
{
	node_done(&berlin);
	node_done(&oslo);
}

int
main(void)
{
	Suite *s = suite_create("failures");
	TCase *t = tcase_create("failures");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_set_timeout(t, soak_timeout(soak() ? 3600 : 60));
	tcase_add_test(t, daemons_survive_or_end);
	if (!soak_expects_fault())
		tcase_add_loop_test(t, tools_end_with_a_word, 0, N_VERBS);
	suite_add_tcase(s, t);
	nodes_begin();
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	nodes_end(failed > 0);
	srunner_free(r);
	if (soak_expects_fault())
		printf("t_failures: %s\n", failed > 0 ? "the planted fault was found" : "THE PLANTED FAULT WAS NOT FOUND");
	return soak_expects_fault() ? failed == 0 : failed > 0;
}
