/*
 * verb_bench: start a producer and a consumer process, watch them, report what
 * they counted and what CPU time they and the daemons took.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin.h"
#include "bench.h"
#include "clock.h"
#include "ctl.h"
#include "progress.h"

#define SECONDS_MAX 3600
#define SIZE_MAX_BENCH (UINT64_C(1) << 30)
#define START_MS 15000 /* until the consumer is ready */

struct child {
	pid_t pid;
	int fd;   /* readable: it said something, or it ended */
	uint64_t cpu_ns;
	bool failed;
};

struct bench {
	struct ctl *ctl;
	struct bench_plan plan;
	struct bench_shared *sh;
	struct child producer, consumer;
	pid_t from_pid, to_pid;          /* the daemons; 0: unknown */
	uint64_t from_cpu, to_cpu;       /* ns, at the start, then used */
};

enum { OPT_FROM = 1, OPT_TO, OPT_DEST, OPT_SIZE, OPT_SECONDS, OPT_MEMORY, OPT_LATENCY };

static const struct option own[] = {
	{ "from", required_argument, NULL, OPT_FROM },
	{ "to", required_argument, NULL, OPT_TO },
	{ "dest", required_argument, NULL, OPT_DEST },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "memory", no_argument, NULL, OPT_MEMORY },
	{ "latency", no_argument, NULL, OPT_LATENCY },
	{ NULL, 0, NULL, 0 },
};

static void
parse_options(struct bench *b, int argc, char **argv)
{
	struct bench_plan *p = &b->plan;
	struct names_dest dest;
	uint64_t n;
	int c;

	p->size = 1024;
	p->duration_ns = 5 * UINT64_C(1000000000);
	while ((c = ctl_option(b->ctl, argc, argv, own)) != -1) {
		switch (c) {
		case OPT_FROM:
			p->from = optarg;
			break;
		case OPT_TO:
			p->to = optarg;
			break;
		case OPT_DEST:
			p->dest = optarg;
			break;
		case OPT_SIZE:
			n = ctl_size(b->ctl, "size", optarg);
			if (n < BENCH_SIZE_MIN || n > SIZE_MAX_BENCH)
				ctl_usage(b->ctl, "--size %s: from 8 bytes (the number of a message) to 1G", optarg);
			p->size = (size_t)n;
			break;
		case OPT_SECONDS:
			n = ctl_count(b->ctl, "seconds", optarg);
			if (n == 0 || n > SECONDS_MAX)
				ctl_usage(b->ctl, "--seconds %s: from 1 to %d", optarg, SECONDS_MAX);
			p->duration_ns = n * 1000000000;
			break;
		case OPT_MEMORY:
			p->memory = true;
			break;
		case OPT_LATENCY:
			p->latency = true;
			break;
		}
	}
	ctl_arguments(b->ctl, argc, 0, 0);
	if (p->from == NULL || p->to == NULL || p->dest == NULL)
		ctl_usage(b->ctl, "--from, --to and --dest must be given");
	if (names_dest_parse(p->dest, strlen(p->dest), &dest) < 0)
		ctl_usage(b->ctl, "--dest %s: a queue, or node/queue", p->dest);
	snprintf(p->queue, sizeof(p->queue), "%.*s", (int)dest.queue_len, dest.queue);
}

/* -------------------------------------------------------------------- CPU */

/* CPU time of a process so far, in ns; 0 if the kernel does not tell. */
static uint64_t
process_cpu(pid_t pid)
{
	unsigned long long user, sys;
	char path[64], line[1024], *rest;
	uint64_t ns = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = pid > 0 ? fopen(path, "re") : NULL;
	if (f == NULL)
		return 0;
	/* The program's name may hold anything; what we want is behind its closing bracket. */
	if (fgets(line, sizeof(line), f) != NULL && (rest = strrchr(line, ')')) != NULL &&
	    sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &sys) == 2)
		ns = (user + sys) * (1000000000 / (uint64_t)sysconf(_SC_CLK_TCK));
	fclose(f);
	return ns;
}

static uint64_t
timeval_ns(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_usec * 1000;
}

/* Name and process of both daemons. 0, or an exit code. */
static int
look_at_daemons(struct bench *b)
{
	const char *sockets[] = { b->plan.from, b->plan.to };
	pid_t *pids[] = { &b->from_pid, &b->to_pid };
	uint64_t run;

	if (getrandom(&run, sizeof(run), 0) != sizeof(run))
		return ctl_fail(b->ctl, "no random number: %s", strerror(errno));
	snprintf(b->plan.type, sizeof(b->plan.type), "connectd.bench/%016" PRIx64, run);
	for (int i = 0; i < 2; i++) {
		struct admin *a;
		int r = admin_open(sockets[i], &a);

		if (r < 0) {
			r = ctl_fail(b->ctl, "%s", a != NULL ? admin_error(a) : "out of memory");
			admin_close(a);
			return r;
		}
		*pids[i] = admin_pid(a);
		if (i == 0)
			snprintf(b->plan.replies, sizeof(b->plan.replies), "%s/bench.%08" PRIx32, admin_node(a), (uint32_t)run);
		admin_close(a);
	}
	return CTL_DONE;
}

/* -------------------------------------------------------------- processes */

/* Start one half. False if the kernel refuses. */
static bool
start(struct bench *b, struct child *ch, bool produce)
{
	pid_t parent = getpid();
	int fds[2];

	if (pipe(fds) < 0)
		return false;
	fflush(NULL);
	ch->pid = fork();
	if (ch->pid == 0) {
		close(fds[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		_exit(produce ? bench_produce(&b->plan, b->sh) : bench_consume(&b->plan, b->sh, fds[1]));
	}
	close(fds[1]);
	ch->fd = fds[0];
	if (ch->pid > 0)
		return true;
	close(fds[0]);
	return false;
}

static void
reap(struct child *ch)
{
	struct rusage ru;
	int status;

	if (ch->pid <= 0)
		return;
	while (wait4(ch->pid, &status, 0, &ru) < 0 && errno == EINTR)
		;
	ch->failed = status != 0;
	ch->cpu_ns = timeval_ns(ru.ru_utime) + timeval_ns(ru.ru_stime);
	ch->pid = 0;
	close(ch->fd);
}

static void
give_up(struct child *ch)
{
	if (ch->pid > 0)
		kill(ch->pid, SIGKILL);
	reap(ch);
}

static void
show_progress(struct bench *b, struct progress *p)
{
	progress_show(p, "%" PRIu64 " sent, %" PRIu64 " received", b->sh->sent, b->sh->received);
}

/* Until the child says something or ends: true if it said something. */
static bool
hear(struct bench *b, struct child *ch, struct progress *p, uint64_t deadline)
{
	char byte;

	for (;;) {
		struct pollfd pf = { .fd = ch->fd, .events = POLLIN };
		int r = poll(&pf, 1, progress_step(p, deadline));

		show_progress(b, p);
		if (r > 0)
			return read(ch->fd, &byte, 1) == 1;
		if (clock_ms() >= deadline)
			return false;
	}
}

/* Run both halves to their end. False if they could not be started. */
static bool
measure(struct bench *b)
{
	struct progress p;
	bool ok;

	progress_init(&p);
	ok = start(b, &b->consumer, false) && hear(b, &b->consumer, &p, clock_ms() + START_MS);
	b->from_cpu = process_cpu(b->from_pid);
	b->to_cpu = process_cpu(b->to_pid);
	if (ok && start(b, &b->producer, true)) {
		hear(b, &b->producer, &p, UINT64_MAX);
		reap(&b->producer);
		b->sh->done = true; /* also if it died without a word */
		hear(b, &b->consumer, &p, UINT64_MAX);
		reap(&b->consumer);
	}
	b->from_cpu = process_cpu(b->from_pid) - b->from_cpu;
	b->to_cpu = process_cpu(b->to_pid) - b->to_cpu;
	give_up(&b->producer);
	give_up(&b->consumer);
	progress_clear(&p);
	return ok;
}

/* ----------------------------------------------------------------- report */

static void
print_latency(struct out *o, const struct histogram *h)
{
	o->format->begin(o, "latency");
	out_number(o, "count", OUT_NUMBER, h->n);
	out_number(o, "p50", OUT_NANOS, histogram_at(h, 500));
	out_number(o, "p90", OUT_NANOS, histogram_at(h, 900));
	out_number(o, "p99", OUT_NANOS, histogram_at(h, 990));
	out_number(o, "p999", OUT_NANOS, histogram_at(h, 999));
	out_number(o, "max", OUT_NANOS, h->max);
	o->format->end(o);
}

static int
report(struct bench *b)
{
	const struct bench_shared *sh = b->sh;
	bool one_daemon = b->from_pid == b->to_pid;
	uint64_t received = sh->received, sent = sh->sent;
	uint64_t lost = sent > received ? sent - received : 0;
	uint64_t span = sh->last_ns - sh->first_ns;
	uint64_t cpu = b->producer.cpu_ns + b->consumer.cpu_ns + b->from_cpu + (one_daemon ? 0 : b->to_cpu);
	double rate = span > 0 ? (double)received * 1e9 / (double)span : 0;
	struct out *o = ctl_output(b->ctl);
	int code;

	o->format->begin(o, NULL);
	out_string(o, "destination", b->plan.dest);
	out_string(o, "guarantee", !sh->stored ? "memory" : one_daemon ? "durable: synced" : "durable: synced on both hosts");
	out_number(o, "size", OUT_SIZE, b->plan.size);
	out_number(o, "seconds", OUT_NANOS, span);
	out_number(o, "sent", OUT_NUMBER, sent);
	out_number(o, "received", OUT_NUMBER, received);
	out_number(o, "lost", OUT_NUMBER, lost);
	out_number(o, "duplicates", OUT_NUMBER, sh->duplicates);
	out_number(o, "reordered", OUT_NUMBER, sh->reordered);
	out_real(o, "messages_per_second", rate);
	out_number(o, "bytes_per_second", OUT_SIZE, (uint64_t)(rate * (double)b->plan.size));
	out_number(o, "cpu_per_message", OUT_NANOS, received > 0 ? cpu / received : 0);
	o->format->begin(o, "cpu");
	out_number(o, "producer", OUT_NANOS, b->producer.cpu_ns);
	out_number(o, "consumer", OUT_NANOS, b->consumer.cpu_ns);
	out_number(o, "from_daemon", OUT_NANOS, b->from_cpu);
	out_number(o, "to_daemon", OUT_NANOS, one_daemon ? 0 : b->to_cpu);
	o->format->end(o);
	if (b->plan.latency)
		print_latency(o, &sh->latency);
	o->format->end(o);
	code = ctl_output_end(b->ctl, o);
	if (lost + sh->duplicates + sh->reordered > 0 && code == CTL_DONE)
		code = ctl_fail(b->ctl, "messages were lost, doubled or out of order");
	return code;
}

int
verb_bench(struct ctl *ctl, int argc, char **argv)
{
	struct bench b = { .ctl = ctl };
	int code;

	parse_options(&b, argc, argv);
	code = look_at_daemons(&b);
	if (code != CTL_DONE)
		return code;
	b.sh = mmap(NULL, sizeof(*b.sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (b.sh == MAP_FAILED)
		return ctl_fail(ctl, "no memory to share: %s", strerror(errno));
	if (!measure(&b) || b.producer.failed || b.consumer.failed) {
		for (int i = 0; i < 2; i++)
			if (b.sh->error[i][0] != '\0')
				ctl_fail(ctl, "%s: %s", i == 0 ? "producer" : "consumer", b.sh->error[i]);
		code = ctl_fail(ctl, "no result");
	} else {
		code = report(&b);
	}
	munmap(b.sh, sizeof(*b.sh));
	return code;
}
