/*
 * Strangers knock, a thousand a second, while all peers of a hub come back at
 * once: the peers are back soon, and whoever has a link hardly notices. And what
 * happens when descriptors run out.
 */
#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "crowd.h"
#include "operator.h"
#include "proc.h"
#include "program.h"
#include "soak.h"
#include "wire.h"

/* The hub's name is the smallest: it decides, and who meets it follows. */
#define HUB \
	"%s[listen \"lan\"]\naddress = tls://127.0.0.1:%d\n[queue \"*/echo\"]\ndurable = no\n[peer \"link\"]\nfingerprint = %s\n" \
	"[queue \"inbox\"]\n%s"
#define LINK "[queue \"echo\"]\ndurable = no\n[peer \"hub\"]\naddress = %s\nfingerprint = %s\nbackoff_max = 100ms\n"
#define OPEN_HOUSE "handshake_budget = none\nmax_strangers = none\nmax_strangers_per_address = none\n"
#define SAMPLES_MAX 100000
#define PACE_MS 3
#define BACK_MS 30000

static struct node hub, link_node, decoy;
static struct connectd *from, *to;
static char link_key[64];
static int port, decoy_port;
static bool is_bounded;

static const char *
key(const struct node *n, char buf[static 64])
{
	const char *const args[] = { "-k", "-c", n->conf, NULL };
	char err[256];

	ck_assert_msg(node_run(args, buf, 64, err, sizeof(err)) == 0, "%s", err);
	buf[strcspn(buf, "\n")] = '\0';
	return buf;
}

static void
begin(const char *keys, const char *sections)
{
	char hub_key[64];

	node_init(&link_node, "link", "%s", "");
	key(&link_node, link_key);
	node_init(&hub, "hub", HUB, keys, 0, link_key, sections);
	node_start(&hub);
	ck_assert_int_eq(sscanf(hub.url, "tls://127.0.0.1:%d", &port), 1);
	node_configure(&link_node, LINK, hub.url, key(&hub, hub_key));
	node_start(&link_node);
	node_await_peer(&hub, "link", "up");
	from = program_open(&hub, "from");
	to = program_open(&link_node, "to");
	program_consume(to, "echo", 0);
}

static void
end(void)
{
	connectd_close(from);
	connectd_close(to);
	node_check_books(&hub);
	ck_assert_int_eq(node_stop(&link_node), 0);
	ck_assert_int_eq(node_stop(&hub), 0);
}

/* ----------------------------------------------------------------- latency -- */

struct latency {
	uint64_t *ns;
	size_t n;
	double p50_ms, p99_ms, worst_ms;
	uint64_t budget, n_budget; /* of handshake_budget, sampled */
	uint64_t cpu; /* of the daemon that is stormed, percent of one */
};

static uint64_t
clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* One message over the link, until it is taken at the other end and confirmed here. */
static void
one_message(struct latency *l)
{
	uint64_t start = clock_ns();
	struct connectd_msg *m = program_message("link/echo", "x", 0);

	ck_assert_int_eq(connectd_msg_set_durability(m, CONNECTD_MEMORY), 0);
	program_send(from, m, NULL);
	program_flush(from);
	m = program_take(to);
	if (l->n < SAMPLES_MAX)
		l->ns[l->n++] = clock_ns() - start;
	program_ack(to, m);
	poll(NULL, 0, PACE_MS);
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void
latency_sum(struct latency *l)
{
	ck_assert_uint_gt(l->n, 0);
	qsort(l->ns, l->n, sizeof(*l->ns), compare);
	l->p50_ms = (double)l->ns[l->n / 2] / 1e6;
	l->p99_ms = (double)l->ns[l->n * 99 / 100] / 1e6;
	l->worst_ms = (double)l->ns[l->n - 1] / 1e6;
	free(l->ns);
	l->ns = NULL;
}

/* For so long at least, and until all nodes are up, which may take so long. Returns when that was; 0: they are not. */
static uint64_t
measure(const struct crowd *c, uint64_t ms, uint64_t back_ms, struct latency *ret)
{
	uint64_t start = program_clock_ms(), back = 0;

	*ret = (struct latency){ .ns = calloc(SAMPLES_MAX, sizeof(uint64_t)) };
	while (program_clock_ms() < start + ms || (!back && program_clock_ms() < start + back_ms)) {
		one_message(ret);
		if (is_bounded && ret->n % 50 == 0 && !back) {
			ret->budget += node_used(&hub, "handshake_budget");
			ret->n_budget++;
		}
		if (!back && atomic_load(&c->shared->up) == c->n)
			back = program_clock_ms() - start;
	}
	latency_sum(ret);
	return back;
}

/* ------------------------------------------------------------------- knock -- */

static uint64_t
cpu_and_reset(struct crowd *c, const struct node *on)
{
	atomic_store(&c->shared->handshakes, 0);
	atomic_store(&c->shared->dials, 0);
	atomic_store(&c->shared->knocks, 0);
	atomic_store(&c->shared->turned, 0);
	return proc_cpu_ms(on->pid);
}

/* All are cut and come back to a daemon, amid knocks. Returns the ms that took; 0: they have not. */
static uint64_t
storm(struct crowd *c, const struct node *on, const char *what, uint64_t ms, uint64_t back_ms, const struct latency *before,
    struct latency *during)
{
	uint64_t cpu, back, start;

	crowd_knock(c, on == &hub ? port : decoy_port, (unsigned)soak_value("KNOCKS", 1000, 1000));
	while (atomic_load(&c->shared->knocks) < 500)
		poll(NULL, 0, 1);
	cpu = cpu_and_reset(c, on);
	start = program_clock_ms();
	atomic_fetch_add(&c->shared->cuts, 1);
	while (atomic_load(&c->shared->up) == c->n)
		poll(NULL, 0, 1);
	back = measure(c, ms, back_ms, during);
	cpu = proc_cpu_ms(on->pid) - cpu;
	start = program_clock_ms() - start;
	during->cpu = cpu * 100 / start;
	printf("%s: %u of %u peers are back", what, atomic_load(&c->shared->up), c->n);
	if (back)
		printf(" after %.1f s, %.0f handshakes a second", (double)back / 1e3, (double)atomic_load(&c->shared->handshakes) * 1e3 / (double)back);
	printf(", %lu dials; p50 %.2f -> %.2f ms, p99 %.2f -> %.2f ms (x %.1f), worst %.1f -> %.1f ms; %.0f knocks a second, %.0f %% turned "
	       "away at once; its CPU %" PRIu64 " %%, handshakes %.0f ms in 100\n",
	    atomic_load(&c->shared->dials), before->p50_ms, during->p50_ms, before->p99_ms, during->p99_ms, during->p99_ms / before->p99_ms,
	    before->worst_ms, during->worst_ms, (double)atomic_load(&c->shared->knocks) * 1e3 / (double)start,
	    (double)atomic_load(&c->shared->turned) * 100 / (double)atomic_load(&c->shared->knocks), during->cpu,
	    during->n_budget ? (double)during->budget / (double)during->n_budget : 0.0);
	fflush(stdout);
	crowd_quiet(c);
	return back;
}

/* The same on a daemon that the link has nothing to do with: what is left to the link of so few CPUs. */
static void
storm_elsewhere(unsigned n, uint64_t ms, const struct latency *before, struct latency *ret)
{
	struct latency settled;
	struct crowd c;
	char *sections;

	crowd_init(&c, n);
	sections = crowd_sections(&c, "");
	node_init(&decoy, "decoy", HUB, "", 0, link_key, sections);
	node_start(&decoy);
	ck_assert_int_eq(sscanf(decoy.url, "tls://127.0.0.1:%d", &decoy_port), 1);
	crowd_start(&c, "decoy", decoy_port);
	measure(&c, 0, 3 * BACK_MS, &settled);
	ck_assert_uint_eq(atomic_load(&c.shared->up), c.n);
	storm(&c, &decoy, "elsewhere", ms, 0, before, ret);
	crowd_done(&c);
	ck_assert_int_eq(node_stop(&decoy), 0);
	free(sections);
}

START_TEST(all_come_back_amid_knocks)
{
	struct crowd c;
	struct latency before, elsewhere, during, open;
	uint64_t back, back_open, ms = soak_value("KNOCK_SECONDS", 2, 15) * 1000;
	char *sections;

	crowd_init(&c, (unsigned)soak_value("KNOCK_PEERS", 80, 500));
	sections = crowd_sections(&c, "");
	begin(OPEN_HOUSE, sections);
	crowd_start(&c, "hub", port);
	measure(&c, 0, 3 * BACK_MS, &before);
	ck_assert_uint_eq(atomic_load(&c.shared->up), c.n);
	measure(&c, ms, 0, &before);
	storm_elsewhere(c.n, ms, &before, &elsewhere);

	/* The control: nothing is bounded. */
	back_open = storm(&c, &hub, "without bounds", ms, soak() ? BACK_MS : 0, &before, &open);
	node_configure(&hub, HUB, "", 0, link_key, sections);
	operator_does(&hub, "read again", "reload");
	is_bounded = true;
	back = storm(&c, &hub, "with bounds", ms, 3 * BACK_MS, &before, &during);
	ck_assert_msg(back > 0 && back <= BACK_MS, "%" PRIu64 " ms", back);
	ck_assert_msg(during.p99_ms < 10 * before.p99_ms + 50, "p99 from %.2f to %.2f ms", before.p99_ms, during.p99_ms);
	ck_assert_uint_gt(during.n_budget, 0);
	ck_assert_uint_le(during.budget / during.n_budget, 60);
	/* Handshakes do not block the loop, but those of strangers take CPU time and are in the way of peers. */
	if (soak())
		ck_assert_msg(open.cpu > during.cpu || back_open == 0 || back_open > back || open.p99_ms > during.p99_ms,
		    "%" PRIu64 " %% of CPU, %" PRIu64 " ms, p99 %.2f ms without, %" PRIu64 " %%, %" PRIu64 " ms, p99 %.2f ms with a budget",
		    open.cpu, back_open, open.p99_ms, during.cpu, back, during.p99_ms);
	crowd_done(&c);
	free(sections);
	end();
}
END_TEST

/* ------------------------------------------------------------- descriptors -- */

/* It may have so many descriptors more than it has now. */
static void
spare_descriptors(pid_t pid, unsigned more)
{
	char path[64];
	struct rlimit rl;
	struct dirent *e;
	bool used[1024] = { false };
	unsigned limit = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && atoi(e->d_name) < 1024)
			used[atoi(e->d_name)] = true;
	closedir(d);
	for (; more > 0; limit++)
		more -= !used[limit];
	ck_assert_int_eq(prlimit(pid, RLIMIT_NOFILE, NULL, &rl), 0);
	rl.rlim_cur = limit;
	ck_assert_int_eq(prlimit(pid, RLIMIT_NOFILE, &rl, NULL), 0);
}

static int
bare_connect(unsigned i)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(0x7f020001 + i) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.sin_port = htons((uint16_t)port);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* Messages pass, and accepting waits without work, until the strangers' time is over; then those that waited are let in. */
START_TEST(descriptors_run_out)
{
	enum { SPARE = 8, N = 30 };
	struct latency l = { .ns = calloc(SAMPLES_MAX, sizeof(uint64_t)) };
	uint64_t cpu, start;
	int fds[N];

	begin("handshake_timeout = 2s\n", "");
	spare_descriptors(hub.pid, SPARE);
	for (unsigned i = 0; i < N; i++)
		fds[i] = bare_connect(i);
	node_await_logged(&hub, "cannot accept");
	one_message(&l);
	cpu = proc_cpu_ms(hub.pid);
	start = program_clock_ms();
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = fds[0], .events = POLLIN }, 1, PROGRAM_PATIENCE_MS), 1);
	start = program_clock_ms() - start;
	cpu = proc_cpu_ms(hub.pid) - cpu;
	printf("no descriptors for %" PRIu64 " ms: %" PRIu64 " ms of CPU\n", start, cpu);
	ck_assert_uint_ge(start, 1000);
	ck_assert_uint_le(cpu, start / 5);
	one_message(&l);
	/* All had their turn, each for the time that a stranger has. */
	for (unsigned i = 0; i < N; i++) {
		ck_assert_int_eq(poll(&(struct pollfd){ .fd = fds[i], .events = POLLIN }, 1, PROGRAM_PATIENCE_MS), 1);
		close(fds[i]);
	}
	one_message(&l);
	free(l.ns);
	end();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("knock");
	TCase *t = tcase_create("knock");
	SRunner *sr;
	int failed;

	tcase_set_timeout(t, soak_timeout(soak() ? 500 : 180));
	tcase_add_test(t, descriptors_run_out);
	tcase_add_test(t, all_come_back_amid_knocks);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
