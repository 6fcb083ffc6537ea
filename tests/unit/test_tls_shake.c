/*
 * Handshakes whose steps a worker does: nothing happens meanwhile, whatever ends
 * the stream meanwhile ends it, and without a worker the loop does it. The worker
 * is the test.
 */
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "certs.h"
#include "fake_disk.h"
#include "loop.h"
#include "no_memory.h"
#include "transport.h"

#define REFUSED \
	"the other side refused our certificate (alert: access denied): its key or name is no peer's there; the log there says more"
#define STEP_NS 3000000 /* more than a turn may take: each step is one */

/* Check allocates, too: not while an allocation is to fail. */
#define EXPECT(cond)             \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

struct end {
	struct transport *t;
	int ups, downs, error, asked, shaken, checks;
	uint64_t ns, in;
	const char *refusal;
	char text[TRANSPORT_TEXT_MAX];
};

static struct {
	struct loop *loop;
	struct transport_listener *tl;
	struct transport_security dialling, waiting;
	struct end d, a;
	int failures;
	char url[TRANSPORT_TEXT_MAX];
} w;

static void
on_up(void *arg)
{
	struct end *e = arg;

	EXPECT(e->ups++ + e->downs == 0 && e->checks == 1);
}

static void
on_readable(void *arg)
{
	struct end *e = arg;
	char buf[1000];
	ssize_t n = e->t->ops->read(e->t, buf, sizeof(buf));

	EXPECT(e->ups == 1);
	if (n > 0)
		e->in += (uint64_t)n;
}

static void
on_writable(void *arg)
{
	(void)arg;
}

static void
on_down(void *arg, int error, const char *text)
{
	struct end *e = arg;

	EXPECT(e->downs++ == 0 && *text);
	e->error = error;
	snprintf(e->text, sizeof(e->text), "%s", text);
}

static bool
may_shake(void *arg)
{
	struct end *e = arg;

	e->asked++;
	return true;
}

static void
shaken(void *arg, uint64_t ns)
{
	struct end *e = arg;

	EXPECT(e->ups + e->downs == 0);
	e->shaken++;
	e->ns += ns;
}

static const struct transport_events events = { .up = on_up, .readable = on_readable, .writable = on_writable, .down = on_down,
	.may_shake = may_shake, .shaken = shaken };

static bool
judge(void *arg, const struct transport_identity *id, char why[static TRANSPORT_TEXT_MAX])
{
	struct end *e = arg;

	EXPECT(id->tls.has_certificate);
	e->checks++;
	if (e->refusal)
		snprintf(why, TRANSPORT_TEXT_MAX, "%s", e->refusal);
	return !e->refusal;
}

static void
accepted(void *arg, struct transport *t)
{
	(void)arg;
	w.a.t = t;
	transport_set_events(t, &events, &w.a);
}

static void
failed(void *arg, int error, const char *text)
{
	(void)arg;
	EXPECT(error == -ENOMEM && *text);
	w.failures++;
}

static int
dial(void)
{
	struct names_url url;

	EXPECT(names_url_parse(w.url, &url, NULL) == 0);
	return transport_for(NAMES_TLS)->connect(w.loop, &url, &w.dialling, 20000, &events, &w.d, &w.d.t);
}

static void
setup(void)
{
	struct names_url url;
	int r;

	memset(&w, 0, sizeof(w));
	memset(&fake_task, 0, sizeof(fake_task));
	w.loop = loop_new();
	ck_assert_ptr_nonnull(w.loop);
	w.dialling = (struct transport_security){ cert_node("paris"), judge, &w.d, 0 };
	w.waiting = (struct transport_security){ cert_node("berlin"), judge, &w.a, 20000 };
	ck_assert_int_eq(names_url_parse("tls://127.0.0.1:0", &url, NULL), 0);
	r = transport_for(NAMES_TLS)->listen(w.loop, &url, &w.waiting, -1, accepted, failed, NULL, &w.tl);
	ck_assert_int_eq(r, 0);
	w.tl->ops->listen_url(w.tl, w.url);
}

static void
end_close(struct end *e, bool drain)
{
	struct transport *t = e->t;

	e->t = NULL;
	if (t)
		t->ops->close(t, drain);
}

static void
teardown(void)
{
	end_close(&w.d, false);
	end_close(&w.a, false);
	w.tl->ops->listen_close(w.tl);
	loop_free(w.loop);
	tls_context_unref(w.dialling.context);
	tls_context_unref(w.waiting.context);
}

/* Whatever is going to happen without the worker has happened. */
static void
settle(void)
{
	for (int i = 0; i < 20; i++)
		loop_step(w.loop, false);
}

/* The worker's next job is done, and not told yet. */
static bool
do_job(void)
{
	return fake_task.last && fake_task_run(fake_task.last);
}

#define UNTIL(cond)                           \
	while (!(cond)) {                     \
		loop_step(w.loop, false);     \
		do_job();                     \
	}

/* ------------------------------------------------------------- as it should be */

START_TEST(step_by_step)
{
	struct iovec iov = { w.url, 100 };
	int jobs = 0;

	fake_task.cpu_step = STEP_NS;
	ck_assert_int_eq(dial(), 0);
	while (!w.d.ups || !w.a.ups) {
		int checks, ups;

		settle();
		checks = w.d.checks + w.a.checks;
		ups = w.d.ups + w.a.ups;
		if (!do_job())
			continue;
		jobs++;
		/* Nothing but the loop decides, or tells. */
		ck_assert_int_eq(w.d.checks + w.a.checks, checks);
		ck_assert_int_eq(w.d.ups + w.a.ups, ups);
	}
	ck_assert_int_gt(jobs, 10);
	/* Each turn is asked for, and paid: the clock goes on by a step a look. */
	ck_assert_int_eq(w.a.asked, w.a.shaken);
	ck_assert_int_gt(w.a.shaken, 5);
	ck_assert_uint_ge(w.a.ns, 5 * (uint64_t)STEP_NS);
	ck_assert_uint_eq(w.a.ns % STEP_NS, 0);
	ck_assert_int_eq(w.d.asked + w.d.shaken, 0);
	ck_assert_int_eq(w.d.t->ops->writev(w.d.t, &iov, 1), 100);
	UNTIL(w.a.in == 100);
}
END_TEST

/* While the worker has it, who asks learns what is known without TLS, and reading is switched in vain. */
START_TEST(asked_meanwhile)
{
	struct transport_identity id;
	char c;

	ck_assert_int_eq(dial(), 0);
	settle();
	w.d.t->ops->identity(w.d.t, &id);
	ck_assert(!id.tls.has_certificate);
	ck_assert_int_eq(strncmp(id.address, "tls://127.0.0.1:", 16), 0);
	ck_assert_int_eq(w.d.t->ops->read(w.d.t, &c, 1), -ENOTCONN);
	ck_assert_int_eq(w.d.t->ops->writev(w.d.t, &(struct iovec){ &c, 1 }, 1), -ENOTCONN);
	w.d.t->ops->want_read(w.d.t, false);
	w.d.t->ops->want_read(w.d.t, true);
	settle();
	ck_assert_int_eq(w.d.checks + w.a.checks, 0);
	UNTIL(w.d.ups && w.a.ups);
}
END_TEST

/* ------------------------------------------------------------------- cut off */

/* Closed with a job that waits, or whose result waits; before each job that there is. */
START_TEST(closed_meanwhile)
{
	bool is_done = _i % 2, is_told = _i / 2 % 2;
	struct end before;

	fake_task.cpu_step = STEP_NS;
	for (int n = 0;; n++) {
		int jobs = 0;

		ck_assert_int_eq(dial(), 0);
		settle();
		for (int quiet = 0; quiet < 3 && jobs < n; quiet++)
			for (settle(); jobs < n && do_job(); settle(), jobs++)
				quiet = 0;
		if (w.d.ups && w.a.ups)
			break;
		if (is_done)
			do_job();
		/* Neither is told anything any more. */
		end_close(&w.d, n % 2);
		end_close(&w.a, false);
		before = w.a;
		if (is_told)
			for (settle(); do_job();)
				settle();
		ck_assert_mem_eq(&w.a, &before, sizeof(before));
		/* What was not told is freed with the loop. */
		teardown();
		setup();
		fake_task.cpu_step = STEP_NS;
	}
}
END_TEST

/* It took too long: that is told at once, and what the worker gives back later changes nothing. */
START_TEST(late)
{
	w.waiting.handshake_ms = 1000; /* until then it has to have begun, also under valgrind */
	w.tl->ops->listen_security(w.tl, &w.waiting);
	ck_assert_int_eq(dial(), 0);
	settle();
	ck_assert(do_job());
	UNTIL(w.a.t);
	settle();
	while (!w.a.downs)
		loop_step(w.loop, true);
	ck_assert_int_eq(w.a.error, -ETIMEDOUT);
	ck_assert_str_eq(w.a.text, "TLS handshake timed out");
	if (_i)
		end_close(&w.a, false);
	ck_assert(do_job());
	settle();
	ck_assert_int_eq(w.a.downs + w.a.ups, 1);
	ck_assert_int_eq(w.a.checks, 0);
}
END_TEST

/* A client by hand: refuses, says so, and resets the connection. False: it is not there yet. */
static bool
refuse_and_reset(int fd, struct tls *tls, uint8_t *in, size_t *in_len)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };
	ssize_t n = recv(fd, in + *in_len, 4096 - *in_len, MSG_DONTWAIT);
	size_t used, len;
	enum tls_result r;
	const uint8_t *out;

	*in_len += n > 0 ? (size_t)n : 0;
	r = tls_feed(tls, in, *in_len, &used);
	memmove(in, in + used, *in_len - used);
	*in_len -= used;
	out = tls_out(tls, &len);
	if (len > 0) {
		ck_assert_int_eq(send(fd, out, len, MSG_NOSIGNAL), (ssize_t)len);
		tls_sent(tls, len);
	}
	if (r == TLS_MORE)
		return false;
	ck_assert_str_eq(tls_why(tls), "no peer has this key");
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
	return true;
}

static bool
refuses(void *arg, const struct tls_peer *peer, char why[static TLS_TEXT_MAX])
{
	(void)arg, (void)peer;
	snprintf(why, TLS_TEXT_MAX, "no peer has this key");
	return false;
}

/* A step is under way here when the other end refuses and is gone: what it said counts, not that the connection was reset. */
START_TEST(last_words)
{
	struct tls *tls = tls_new(w.dialling.context, true, refuses, NULL);
	int fd = socket(AF_INET, SOCK_STREAM, 0), port;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	bool is_gone = false;
	uint8_t in[4096];
	size_t in_len = 0;

	fake_task.cpu_step = STEP_NS;
	ck_assert_int_eq(sscanf(w.url, "tls://127.0.0.1:%d", &port), 1);
	to.sin_port = htons((uint16_t)port);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	while (!is_gone) {
		is_gone = refuse_and_reset(fd, tls, in, &in_len);
		settle();
		if (!is_gone)
			do_job();
		settle();
	}
	ck_assert_int_eq(w.a.downs, 0);
	while (!w.a.downs) {
		settle();
		do_job();
	}
	ck_assert_str_eq(w.a.text, REFUSED);
	ck_assert_int_eq(w.a.error, -EKEYREJECTED);
	ck_assert_int_eq(w.a.checks, 0);
	tls_free(tls);
}
END_TEST

/* A step is under way when more comes than is kept of it, and a reset: the answer cannot be told, and what came says nothing. */
START_TEST(flooded_and_reset)
{
	static uint8_t flood[3 * 32768];
	struct linger now = { .l_onoff = 1, .l_linger = 0 };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct tls *tls = tls_new(w.dialling.context, true, refuses, NULL);
	int fd = socket(AF_INET, SOCK_STREAM, 0), port;
	const uint8_t *out;
	size_t used, len;

	fake_task.cpu_step = _i ? STEP_NS : 0;
	ck_assert_int_eq(sscanf(w.url, "tls://127.0.0.1:%d", &port), 1);
	to.sin_port = htons((uint16_t)port);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	ck_assert_int_eq(tls_feed(tls, NULL, 0, &used), TLS_MORE);
	out = tls_out(tls, &len);
	ck_assert_int_eq(send(fd, out, len, MSG_NOSIGNAL), (ssize_t)len);
	UNTIL(w.a.asked > 0);
	/* Not more than the kernel keeps. */
	ck_assert_int_gt(send(fd, flood, sizeof(flood), MSG_NOSIGNAL | MSG_DONTWAIT), 2 * 32768 - 1);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
	UNTIL(w.a.downs);
	ck_assert_int_lt(w.a.error, 0);
	tls_free(tls);
}
END_TEST

/* -------------------------------------------------------------- without worker */

START_TEST(on_the_loop)
{
	static const int errors[] = { -EAGAIN, -ENOMEM };

	fake_task.cpu_step = STEP_NS;
	fake_task.fail = 1;
	fake_task.again = 1000;
	fake_task.error = errors[_i];
	ck_assert_int_eq(dial(), 0);
	while (!w.d.ups || !w.a.ups) {
		loop_step(w.loop, true);
		ck_assert(!do_job());
	}
	ck_assert_int_eq(w.a.asked, w.a.shaken);
	ck_assert_uint_ge(w.a.ns, 5 * (uint64_t)STEP_NS);
}
END_TEST

/* Now and then: what waits for the worker and what the loop does itself are of one handshake. */
START_TEST(here_and_there)
{
	fake_task.cpu_step = STEP_NS;
	ck_assert_int_eq(dial(), 0);
	while (!w.d.ups || !w.a.ups) {
		if (fake_task.fail == 0)
			fake_task.fail = 2;
		loop_step(w.loop, false);
		do_job();
	}
}
END_TEST

/* Each allocation of ours fails once: an error at one end, or nothing worse than a step on the loop. */
START_TEST(each_allocation_fails)
{
	unsigned long n = 1, left;
	unsigned refused = 0;

	do {
		int r;

		no_memory_in = n;
		r = dial();
		EXPECT(r == 0 || r == -ENOMEM);
		while (r == 0 && !w.failures && !w.d.downs && !w.a.downs && !(w.d.ups && w.a.ups)) {
			loop_step(w.loop, false);
			do_job();
		}
		left = no_memory_in;
		no_memory_in = 0;
		if (w.d.downs || w.a.downs) {
			for (settle(); do_job();)
				settle();
			ck_assert_msg(w.d.error == -ENOMEM || w.a.error == -ENOMEM || w.failures, "%s, %s", w.d.text, w.a.text);
			refused++;
		}
		teardown();
		setup();
		n++;
	} while (left == 0);
	ck_assert_uint_gt(refused, 4);
	ck_assert_uint_gt(n, 10);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tls_shake");
	TCase *t = tcase_create("shake");
	SRunner *sr;
	int failures;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, step_by_step);
	tcase_add_test(t, asked_meanwhile);
	tcase_add_loop_test(t, closed_meanwhile, 0, 4);
	tcase_add_loop_test(t, late, 0, 2);
	tcase_add_test(t, last_words);
	tcase_add_loop_test(t, flooded_and_reset, 0, 2);
	tcase_add_loop_test(t, on_the_loop, 0, 2);
	tcase_add_test(t, here_and_there);
	tcase_add_test(t, each_allocation_fails);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failures = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failures != 0;
}
