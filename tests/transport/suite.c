/* suite: see suite.h. */
#include "suite.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

#include "certs.h"
#include "transport_mem.h"
#include "transport_resolve.h"

#define GUARD_MS 20000
#define DIAL_MS 5000
#define PIECE 6007 /* a prime: pieces and buffers never line up */

const struct kind kinds[KINDS] = {
	[KIND_UNIX] = { "unix", NULL, NULL },
	[KIND_TCP4] = { "tcp v4", NULL, "tcp://127.0.0.1:0" },
	[KIND_TCP6] = { "tcp v6", NULL, "tcp://[::1]:0" },
	[KIND_TLS4] = { "tls v4", NULL, "tls://127.0.0.1:0" },
	[KIND_TLS6] = { "tls v6", NULL, "tls://[::1]:0" },
	[KIND_SCTP4] = { "sctp v4", NULL, "sctp://127.0.0.1:0" },
	[KIND_SCTP6] = { "sctp v6", NULL, "sctp://[::1]:0" },
	[KIND_DTLS4] = { "dtls-sctp v4", NULL, "dtls-sctp://127.0.0.1:0" },
	[KIND_DTLS6] = { "dtls-sctp v6", NULL, "dtls-sctp://[::1]:0" },
	[KIND_MEM] = { "mem", &transport_mem, "mem://paris:0" },
};

static uint8_t
pattern(uint64_t i)
{
	return (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

/* -------------------------------------------------------------------- ends */

static bool
hooked(struct end *e, char what)
{
	return e->hook && e->hook(e, what);
}

void
end_pump(struct end *e)
{
	while (e->t && e->out < e->to_write) {
		uint8_t buf[PIECE];
		uint64_t left = e->to_write - e->out;
		size_t n = left < sizeof(buf) ? (size_t)left : sizeof(buf);
		struct iovec iov[3] = { { buf, n / 3 }, { buf + n / 3, 0 }, { buf + n / 3, n - n / 3 } };
		ssize_t done;

		for (size_t i = 0; i < n; i++)
			buf[i] = pattern(e->out + i);
		done = e->t->ops->writev(e->t, iov, 3);
		if (done < 0)
			return;
		ck_assert_uint_le((size_t)done, n);
		e->out += (uint64_t)done;
		if ((size_t)done < n) {
			e->short_writes++;
			return;
		}
	}
}

static void
on_up(void *arg)
{
	struct end *e = arg;

	ck_assert_int_eq(e->ups + e->readables + e->writables + e->downs, 0);
	e->ups++;
	if (!hooked(e, 'u'))
		end_pump(e);
}

static void
on_readable(void *arg)
{
	struct end *e = arg;
	uint8_t buf[PIECE - 1000];
	ssize_t n;

	ck_assert_int_eq(e->downs, 0);
	e->readables++;
	if (hooked(e, 'r'))
		return;
	if (e->hold) {
		e->t->ops->want_read(e->t, false);
		return;
	}
	n = e->t->ops->read(e->t, buf, sizeof(buf));
	e->eof = n == 0;
	for (ssize_t i = 0; i < n; i++)
		if (buf[i] != pattern(e->in + (uint64_t)i)) /* an assertion for each byte takes its time */
			ck_abort_msg("wrong byte at %llu", (unsigned long long)e->in + (unsigned long long)i);
	if (n > 0)
		e->in += (uint64_t)n;
}

static void
on_writable(void *arg)
{
	struct end *e = arg;

	ck_assert_int_eq(e->downs, 0);
	e->writables++;
	if (!hooked(e, 'w'))
		end_pump(e);
}

static void
on_down(void *arg, int error, const char *text)
{
	struct end *e = arg;

	ck_assert_int_eq(e->downs, 0);
	ck_assert_int_le(error, 0);
	ck_assert(text && *text);
	e->downs++;
	e->error = error;
	snprintf(e->text, sizeof(e->text), "%s", text);
	hooked(e, 'd');
}

static bool
may_shake(void *arg)
{
	struct end *e = arg;

	ck_assert_int_eq(e->ups + e->downs, 0);
	e->asked++;
	return !e->shakes_later;
}

static void
shaken(void *arg, uint64_t ns)
{
	struct end *e = arg;

	ck_assert_int_eq(e->ups + e->downs, 0);
	e->shaken++;
	e->shakes_later = e->by_turns;
	e->shaken_ns += ns;
}

static const struct transport_events events = { .up = on_up, .readable = on_readable, .writable = on_writable, .down = on_down,
	.may_shake = may_shake, .shaken = shaken };

void
end_close(struct end *e, bool drain)
{
	struct transport *t = e->t;

	e->t = NULL;
	t->ops->close(t, drain);
}

/* ------------------------------------------------------------------- world */

static void
guard(void *arg)
{
	struct world *w = arg;

	ck_abort_msg("%s: hangs", w->kind->name);
}

static void
tick(void *arg)
{
	world_tick(arg);
}

static const struct transport_ops *
ops_of(const struct world *w)
{
	struct names_url url;

	if (w->kind->ops)
		return w->kind->ops;
	return transport_for(w->kind->url && names_url_parse(w->kind->url, &url, NULL) == 0 ? url.scheme : NAMES_UNIX);
}

bool
world_check(void *arg, const struct transport_identity *id, char why[static TRANSPORT_TEXT_MAX])
{
	struct world *w = arg;

	ck_assert(id->tls.has_certificate);
	ck_assert_int_eq(strncmp(id->address, w->url, strcspn(w->url, ":") + 3), 0);
	w->checks++;
	if (w->refusal)
		snprintf(why, TRANSPORT_TEXT_MAX, "%s", w->refusal);
	return !w->refusal;
}

static const struct transport_security *
security(const struct world *w, const struct transport_security *s)
{
	return kind_is_tls((int)(w->kind - kinds)) ? s : NULL;
}

struct world *
world_new_silent(int kind)
{
	struct world *w = calloc(1, sizeof(*w));

	ck_assert_ptr_nonnull(w);
	w->kind = &kinds[kind];
	w->loop = loop_new();
	ck_assert_ptr_nonnull(w->loop);
	snprintf(w->folder, sizeof(w->folder), "/tmp/transport.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(w->folder));
	if (w->kind->url)
		snprintf(w->url, sizeof(w->url), "%s", w->kind->url);
	else
		snprintf(w->url, sizeof(w->url), "unix://%s/s", w->folder);
	if (kind_is_tls(kind)) {
		w->dialling = (struct transport_security){ cert_node("paris"), world_check, w, 0 };
		w->waiting = (struct transport_security){ cert_node("berlin"), world_check, w, DIAL_MS };
	}
	loop_timer_init(&w->guard, w->loop, guard, w);
	loop_timer_start(&w->guard, GUARD_MS);
	loop_timer_init(&w->tick, w->loop, tick, w);
	return w;
}

struct names_url
world_url(const char *text)
{
	struct names_url url;
	const char *why = "";

	ck_assert_msg(names_url_parse(text, &url, &why) == 0, "%s: %s", text, why);
	return url;
}

static void
on_accepted(void *arg, struct transport *t)
{
	struct world *w = arg;
	struct end *e = &w->accepted[w->n_accepted++];

	ck_assert_uint_le(w->n_accepted, ENDS_MAX);
	e->w = w;
	e->t = t;
	transport_set_events(t, &events, e);
	if (w->accept_hook)
		w->accept_hook(w, e);
}

static void
on_failed(void *arg, int error, const char *text)
{
	struct world *w = arg;

	ck_assert(text && *text);
	w->failures++;
	w->failure = error;
	if (w->pause_on_failure)
		w->tl->ops->listen_pause(w->tl, true);
}

int
world_listen(struct world *w, int fd)
{
	struct names_url url = world_url(w->url);
	int r = ops_of(w)->listen(w->loop, &url, security(w, &w->waiting), fd, on_accepted, on_failed, w, &w->tl);

	if (r == 0) {
		char buf[TRANSPORT_TEXT_MAX];

		w->tl->ops->listen_url(w->tl, buf);
		memcpy(w->url, buf, sizeof(w->url));
	}
	return r;
}

void
world_listen_close(struct world *w)
{
	w->tl->ops->listen_close(w->tl);
	w->tl = NULL;
}

struct world *
world_new(int kind)
{
	struct world *w = world_new_silent(kind);
	int r = world_listen(w, -1);

	ck_assert_msg(r == 0, "%s: cannot listen on %s: %s", w->kind->name, w->url, strerror(-r));
	return w;
}

void
world_free(struct world *w)
{
	for (unsigned i = 0; i < ENDS_MAX; i++) {
		if (w->accepted[i].t)
			end_close(&w->accepted[i], false);
		if (w->dialled[i].t)
			end_close(&w->dialled[i], false);
	}
	if (w->tl)
		world_listen_close(w);
	loop_timer_stop(&w->guard);
	loop_timer_stop(&w->tick);
	loop_free(w->loop);
	tls_context_unref(w->dialling.context);
	tls_context_unref(w->waiting.context);
	/* Fails if anything was left in it. */
	ck_assert_int_eq(rmdir(w->folder), 0);
	free(w);
}

struct end *
world_dial_to(struct world *w, const char *text, uint64_t timeout_ms)
{
	struct end *e = &w->dialled[w->n_dialled++];
	struct names_url url = world_url(text);

	ck_assert_uint_le(w->n_dialled, ENDS_MAX);
	e->w = w;
	ck_assert_int_eq(ops_of(w)->connect(w->loop, &url, security(w, &w->dialling), timeout_ms, &events, e, &e->t), 0);
	/* Never from inside a call. */
	ck_assert_int_eq(e->ups + e->downs + e->readables, 0);
	return e;
}

struct end *
world_dial(struct world *w)
{
	return world_dial_to(w, w->url, DIAL_MS);
}

void
world_pair(struct world *w, struct end **ret_dialled, struct end **ret_accepted)
{
	struct end *e = world_dial(w);
	unsigned n = w->n_accepted + 1;

	/* Of kinds with a handshake the last end may be up later than the first. */
	UNTIL(w, (e->ups == 1 && w->n_accepted == n && !w->accepted[n - 1].t->awaits_up) || e->downs);
	ck_assert_msg(e->downs == 0, "%s: %s", w->url, e->text);
	*ret_dialled = e;
	*ret_accepted = &w->accepted[n - 1];
}

void
world_tick(struct world *w)
{
	loop_timer_start(&w->tick, 5);
}

void
world_settle(struct world *w)
{
	for (int i = 0; i < 20; i++)
		loop_step(w->loop, false);
}

/* Half of the suite would be worth nothing without it: say so at once, and fail. */
START_TEST(ipv6_loopback_is_there)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_msg(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0,
	    "no IPv6 loopback on this machine (%s): the tcp v6 tests cannot pass", strerror(errno));
	close(fd);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("transport");
	TCase *t = tcase_create("machine");
	SRunner *sr;
	int failed;

	tcase_add_test(t, ipv6_loopback_is_there);
	suite_add_tcase(s, t);
	suite_add_tcase(s, connect_tests());
	suite_add_tcase(s, bytes_tests());
	suite_add_tcase(s, close_tests());
	suite_add_tcase(s, listen_tests());
	suite_add_tcase(s, resolve_tests());
	suite_add_tcase(s, tls_tests());
	suite_add_tcase(s, openssl_tests());
	suite_add_tcase(s, sctp_tests());
	suite_add_tcase(s, dtls_tests());
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
