/* What TLS adds: who is at the other end, and what becomes of what is no TLS. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "certs.h"
#include "middle.h"
#include "socket.h"
#include "suite.h"

#define REFUSED \
	"the other side refused our certificate (alert: access denied): its key or name is no peer's there; the log there says more"

START_TEST(what_is_proven)
{
	struct world *w = world_new(KIND_TLS4);
	struct transport_identity berlin, paris;
	struct end *d, *a;

	world_pair(w, &d, &a);
	d->t->ops->identity(d->t, &berlin);
	a->t->ops->identity(a->t, &paris);
	ck_assert_mem_eq(berlin.tls.certificate.key, tls_context_own(w->waiting.context)->key, PIN_BYTES);
	ck_assert_mem_eq(paris.tls.certificate.key, tls_context_own(w->dialling.context)->key, PIN_BYTES);
	ck_assert(tls_certificate_names(&berlin.tls.certificate, "berlin"));
	ck_assert(tls_certificate_names(&paris.tls.certificate, "paris"));
	ck_assert_int_eq(berlin.tls.chain, TLS_CHAIN_UNCHECKED);
	ck_assert_int_eq(strncmp(berlin.tls.version, "TLSv1.", 6), 0);
	ck_assert_ptr_nonnull(strstr(berlin.tls.cipher, "CHACHA20-POLY1305"));
	ck_assert(!berlin.tired && !berlin.is_local);
	ck_assert_int_eq(w->checks, 2);
	world_free(w);
}
END_TEST

START_TEST(no_security_no_stream)
{
	struct world *w = world_new(KIND_TLS4);
	struct names_url url = world_url(w->url);
	struct transport_security none = { .context = NULL };
	struct transport_listener *tl;
	struct transport *t;
	const struct transport_ops *ops = transport_for(NAMES_TLS);

	ck_assert_int_eq(ops->connect(w->loop, &url, NULL, 1000, NULL, NULL, &t), -EINVAL);
	ck_assert_int_eq(ops->connect(w->loop, &url, &none, 1000, NULL, NULL, &t), -EINVAL);
	ck_assert_int_eq(ops->listen(w->loop, &url, NULL, -1, NULL, NULL, NULL, &tl), -EINVAL);
	ck_assert_ptr_null(transport_for(NAMES_TCP)->listen_security);
	world_free(w);
}
END_TEST

/* Over TCP, and in datagrams. */
static const int both[] = { KIND_TLS4, KIND_DTLS4 };

/* Both ends are told why, whichever of them refuses, in either version. */
START_TEST(refusals)
{
	for (int i = 0; i < 2; i++) {
		struct world *w = world_new(both[_i]), *other = world_new_silent(both[_i]);
		struct end *d, *a = &w->accepted[0];

		/* The check of one end only. */
		(i ? &w->dialling : &w->waiting)->arg = other;
		w->tl->ops->listen_security(w->tl, &w->waiting);
		memcpy(other->url, w->url, sizeof(other->url));
		other->refusal = "no peer has this key";
		d = world_dial(w);
		UNTIL(w, d->downs && a->downs);
		ck_assert_str_eq((i ? d : a)->text, "no peer has this key");
		ck_assert_str_eq((i ? a : d)->text, REFUSED);
		ck_assert_int_eq((i ? d : a)->error, -EACCES);
		ck_assert_int_eq((i ? a : d)->error, -EKEYREJECTED);
		/* In TLS 1.3 who dials is up before it is judged. */
		ck_assert_int_eq(a->ups + (kind_is_dtls(both[_i]) ? d->ups : 0), 0);
		ck_assert_int_eq(other->checks, 1);
		world_free(w);
		world_free(other);
	}
}
END_TEST

static bool
cut_at_once(struct end *e, char what)
{
	if (what != 'd')
		return false;
	end_close(e, false);
	return true;
}

/* Who refused closes at once and without draining: the alert comes through all the same. */
START_TEST(refused_and_cut)
{
	struct world *w = world_new(both[_i]), *other = world_new_silent(both[_i]);
	struct end *d, *a = &w->accepted[0];

	w->waiting.arg = other;
	memcpy(other->url, w->url, sizeof(other->url));
	other->refusal = "no peer has this key";
	a->hook = cut_at_once;
	w->tl->ops->listen_security(w->tl, &w->waiting);
	d = world_dial(w);
	UNTIL(w, d->downs);
	ck_assert_str_eq(d->text, REFUSED);
	ck_assert_ptr_null(a->t);
	world_free(w);
	world_free(other);
}
END_TEST

/* As at a reload: who is up stays, who comes meets the new key. */
START_TEST(new_security)
{
	struct world *w = world_new(both[_i]);
	struct tls_context *before = w->waiting.context;
	struct transport_identity one, two;
	struct end *d1, *a1, *d2, *a2;

	world_pair(w, &d1, &a1);
	w->waiting.context = cert_node("berlin");
	w->tl->ops->listen_security(w->tl, &w->waiting);
	tls_context_unref(before);
	world_pair(w, &d2, &a2);
	d1->t->ops->identity(d1->t, &one);
	d2->t->ops->identity(d2->t, &two);
	ck_assert_mem_ne(one.tls.certificate.key, two.tls.certificate.key, PIN_BYTES);
	ck_assert_mem_eq(two.tls.certificate.key, tls_context_own(w->waiting.context)->key, PIN_BYTES);
	d1->to_write = d2->to_write = 5000;
	end_pump(d1);
	end_pump(d2);
	UNTIL(w, a1->in == 5000 && a2->in == 5000);
	world_free(w);
}
END_TEST

/* ----------------------------------------------------- handshakes and time -- */

static bool
not_now(struct world *w, struct end *e)
{
	(void)w;
	e->t->ops->want_read(e->t, false);
	return true;
}

/* Who accepted it says when there is time for a stranger's handshake. */
START_TEST(handshake_waits_to_be_wanted)
{
	struct world *w = world_new(KIND_TLS4);
	struct end *d, *a = &w->accepted[0];
	struct transport_identity id;
	char c = 'x';
	struct iovec iov = { &c, 1 };

	w->accept_hook = not_now;
	d = world_dial(w);
	UNTIL(w, w->n_accepted == 1);
	world_settle(w);
	ck_assert_int_eq(w->checks + a->ups + d->ups, 0);
	ck_assert(a->t->awaits_up);
	a->t->ops->identity(a->t, &id);
	ck_assert_int_eq(strncmp(id.address, "tls://127.0.0.1:", 16), 0);
	ck_assert(!id.tls.has_certificate);
	ck_assert_int_eq(a->t->ops->read(a->t, &c, 1), -ENOTCONN);
	ck_assert_int_eq(a->t->ops->writev(a->t, &iov, 1), -ENOTCONN);
	ck_assert_uint_eq(a->t->ops->out_pending(a->t), 0);
	a->t->ops->want_read(a->t, true);
	UNTIL(w, a->ups && d->ups);
	ck_assert(!a->t->awaits_up);
	world_free(w);
}
END_TEST

static bool
later(struct world *w, struct end *e)
{
	(void)w;
	e->shakes_later = e->by_turns = true;
	return true;
}

/* Step by step: who accepted it is asked before each, and told what it cost. */
START_TEST(handshake_by_turns)
{
	struct world *w = world_new(KIND_TLS4);
	struct end *d, *a = &w->accepted[0];
	int asked = 0, steps = 0;

	w->accept_hook = later;
	d = world_dial(w);
	for (;; steps++) {
		UNTIL(w, a->ups || a->asked > asked);
		if (a->ups)
			break;
		asked = a->asked;
		world_settle(w);
		/* Asked once, and nothing was done. */
		ck_assert_int_eq(a->asked, asked);
		ck_assert_int_eq(a->shaken, steps);
		a->shakes_later = false;
		a->t->ops->want_read(a->t, true);
		UNTIL(w, a->shaken == steps + 1);
		asked += 1;
	}
	ck_assert_int_ge(a->shaken, 2);
	ck_assert_uint_gt(a->shaken_ns, 100000);
	ck_assert_int_eq(d->asked + d->shaken, 0);
	UNTIL(w, d->ups);
	d->to_write = 5000;
	end_pump(d);
	UNTIL(w, a->in == 5000);
	world_free(w);
}
END_TEST

/* Refused handshakes, whose alerts nobody reads, do not cut what else drains. */
START_TEST(strangers_drain_apart)
{
	enum { N = DRAIN_STRANGERS_MAX + 8 };
	struct world *w = world_new(KIND_TLS4);
	int fds[N];
	uint8_t buf[100];
	struct end *d, *a;

	world_pair(w, &d, &a);
	a->hold = true;
	d->to_write = 100;
	end_pump(d);
	end_close(d, true);
	for (unsigned i = 0; i < N; i++) {
		struct end *s = &w->accepted[1 + i];

		fds[i] = raw_connect(w->url);
		UNTIL(w, w->n_accepted == 2 + i);
		s->t->is_stranger = true;
		ck_assert_int_eq(send(fds[i], "GET / HTTP/1.1\r\n", 16, 0), 16);
		UNTIL(w, s->downs);
		end_close(s, false);
	}
	world_settle(w);
	/* The first of them were cut, the others have an end in order. */
	for (unsigned i = 0; i < N; i++) {
		while (recv(fds[i], buf, sizeof(buf), MSG_DONTWAIT) > 0)
			;
		ck_assert_int_eq(send(fds[i], "x", 1, MSG_NOSIGNAL) < 0, i < N - DRAIN_STRANGERS_MAX);
		close(fds[i]);
	}
	a->hold = false;
	a->t->ops->want_read(a->t, true);
	UNTIL(w, a->downs);
	ck_assert_uint_eq(a->in, 100);
	ck_assert_int_eq(a->error, 0);
	world_free(w);
}
END_TEST

START_TEST(handshake_in_time)
{
	for (int i = 0; i < 2; i++) {
		struct world *w = world_new_silent(KIND_TLS4);
		struct end *a = &w->accepted[0];
		int fd;

		w->waiting.handshake_ms = 100;
		w->accept_hook = i ? not_now : NULL;
		ck_assert_int_eq(world_listen(w, -1), 0);
		fd = raw_connect(w->url);
		ck_assert_int_eq(send(fd, "\x16\x03\x01", 3, 0), 3);
		UNTIL(w, a->downs);
		ck_assert_int_eq(a->error, -ETIMEDOUT);
		ck_assert_str_eq(a->text, "TLS handshake timed out");
		ck_assert_int_eq(a->ups, 0);
		close(fd);
		world_free(w);
	}
}
END_TEST

/* One deadline for all before `up`: TCP is there at once, the handshake never. */
START_TEST(dialled_in_time)
{
	struct world *w = world_new_silent(KIND_TLS4);
	int fd = raw_listen(w->url);
	struct end *d = world_dial_to(w, w->url, 150);
	uint64_t start = loop_now_ms(w->loop);

	UNTIL(w, d->downs);
	ck_assert_int_eq(d->error, -ETIMEDOUT);
	ck_assert_str_eq(d->text, "TLS handshake timed out");
	ck_assert_uint_ge(loop_now_ms(w->loop) - start, 140); /* clocks are read in whole milliseconds, and kept for a pass of the loop */
	close(fd);
	world_free(w);
}
END_TEST

/* ---------------------------------------------------------------- no TLS -- */

START_TEST(plaintext_onto_tls)
{
	struct world *w = world_new(KIND_TLS4);
	struct end *a = &w->accepted[0];
	uint8_t buf[100];
	int fd = raw_connect(w->url);

	ck_assert_int_eq(send(fd, "GET / HTTP/1.1\r\n", 16, 0), 16);
	UNTIL(w, a->downs);
	ck_assert_int_eq(a->error, -EPROTO);
	ck_assert_str_eq(a->text, "the other side does not speak TLS");
	end_close(a, false);
	world_settle(w);
	ck_assert_int_eq(recv(fd, buf, sizeof(buf), 0), 7);
	ck_assert_uint_eq(buf[0], 21);
	ck_assert_int_eq(recv(fd, buf, sizeof(buf), 0), 0);
	close(fd);
	world_free(w);
}
END_TEST

START_TEST(tls_onto_plaintext)
{
	struct world *w = world_new_silent(KIND_TLS4);
	int listening = raw_listen(w->url), fd;
	struct end *d = world_dial(w);

	world_settle(w);
	fd = accept(listening, NULL, NULL);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(send(fd, "HTTP/1.1 400 Bad Request\r\n", 26, 0), 26);
	UNTIL(w, d->downs);
	ck_assert_int_eq(d->error, -EPROTO);
	ck_assert_str_eq(d->text, "the other side does not speak TLS");
	close(fd);
	close(listening);
	world_free(w);
}
END_TEST

START_TEST(closed_during_the_handshake)
{
	for (int i = 0; i < 2; i++) {
		struct world *w = world_new(KIND_TLS4);
		struct end *a = &w->accepted[0];
		struct linger now = { .l_onoff = 1, .l_linger = 0 };
		int fd = raw_connect(w->url);

		ck_assert_int_eq(send(fd, "\x16\x03\x01\x01\x00\x01", 6, 0), 6);
		UNTIL(w, w->n_accepted == 1);
		world_settle(w);
		if (i)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(fd);
		UNTIL(w, a->downs);
		ck_assert_int_eq(a->error, -ECONNRESET);
		ck_assert_str_eq(a->text, i ? "connection reset by peer during the TLS handshake" : "closed during the TLS handshake");
		world_free(w);
	}
}
END_TEST

/* --------------------------------------------------- someone in the middle -- */

START_TEST(byte_by_byte)
{
	struct world *w = world_new(KIND_TLS4);
	struct middle *m = middle_new(w);
	struct end *d, *a;

	m->step = 1;
	d = world_dial_to(w, m->url, 20000);
	a = &w->accepted[0];
	UNTIL(w, d->ups && a->ups);
	d->to_write = a->to_write = 3000;
	end_pump(d);
	end_pump(a);
	UNTIL(w, a->in == 3000 && d->in == 3000);
	end_close(d, true);
	UNTIL(w, a->downs);
	ck_assert_int_eq(a->error, 0);
	middle_free(m);
	world_free(w);
}
END_TEST

/* Ended in front of the other side's close_notify: that is no end in order, and all before it is delivered. */
START_TEST(cut_short)
{
	struct world *w = world_new(KIND_TLS4);
	struct middle *m = middle_new(w);
	struct end *d = world_dial_to(w, m->url, 5000), *a = &w->accepted[0];

	UNTIL(w, d->ups && a->ups);
	d->to_write = 40000;
	end_pump(d);
	UNTIL(w, a->in == 40000);
	a->hold = true;
	d->to_write = 50000;
	end_pump(d);
	UNTIL(w, a->readables && m->passed[0] > 50000);
	middle_end(m);
	world_settle(w);
	ck_assert_int_eq(a->downs, 0);
	a->hold = false;
	a->t->ops->want_read(a->t, true);
	UNTIL(w, a->downs);
	ck_assert_uint_eq(a->in, 50000);
	ck_assert_int_eq(a->error, -ECONNRESET);
	ck_assert_str_eq(a->text, "cut short: the stream ended without the other side's close_notify");
	ck_assert_int_eq(a->downs, 1);
	middle_free(m);
	world_free(w);
}
END_TEST

/* The last bytes and the end are read at once: first the one, then the other. */
START_TEST(cut_short_behind_data)
{
	struct world *w = world_new(KIND_TLS4);
	struct middle *m = middle_new(w);
	struct end *d = world_dial_to(w, m->url, 5000), *a = &w->accepted[0];
	uint64_t before;

	UNTIL(w, d->ups && a->ups);
	before = m->passed[0];
	a->t->ops->want_read(a->t, false);
	d->to_write = 3000;
	end_pump(d);
	UNTIL(w, m->passed[0] > before);
	middle_end(m);
	world_settle(w);
	a->t->ops->want_read(a->t, true);
	UNTIL(w, a->downs);
	ck_assert_uint_eq(a->in, 3000);
	ck_assert_int_eq(a->error, -ECONNRESET);
	ck_assert_int_eq(strncmp(a->text, "cut short", 9), 0);
	middle_free(m);
	world_free(w);
}
END_TEST

START_TEST(damaged_on_the_way)
{
	struct world *w = world_new(KIND_TLS4);
	struct middle *m = middle_new(w);
	struct end *d = world_dial_to(w, m->url, 5000), *a = &w->accepted[0];

	UNTIL(w, d->ups && a->ups);
	m->damage_at = m->passed[0] + 20000;
	d->to_write = 40000;
	end_pump(d);
	UNTIL(w, d->downs && a->downs);
	ck_assert_str_eq(a->text, "a record was damaged or forged (bad MAC)");
	ck_assert_str_eq(d->text, "the other side gave up (alert: bad record MAC)");
	/* What was whole is delivered, and not a byte of what was not. */
	ck_assert_uint_eq(a->in, m->passed[0] > 0 ? a->in : 0);
	ck_assert_uint_gt(a->in, 16000);
	ck_assert_uint_lt(a->in, 20000);
	middle_free(m);
	world_free(w);
}
END_TEST

/* Many small messages in one call: few records, and few system calls. */
START_TEST(records_are_filled)
{
	enum { N = 1000, SIZE = 128 };
	struct world *w = world_new(KIND_TLS4);
	struct middle *m = middle_new(w);
	struct end *d = world_dial_to(w, m->url, 5000), *a = &w->accepted[0];
	static uint8_t bytes[N][SIZE];
	struct iovec iov[N];
	unsigned before;
	size_t got = 0;

	UNTIL(w, d->ups && a->ups);
	world_settle(w);
	before = m->records;
	for (size_t i = 0; i < N; i++) {
		memset(bytes[i], (int)i, SIZE);
		iov[i] = (struct iovec){ bytes[i], SIZE };
	}
	a->hold = true;
	ck_assert_int_eq(d->t->ops->writev(d->t, iov, N), N * SIZE);
	while (got < N * SIZE) {
		uint8_t buf[4096];
		ssize_t n = a->t->ops->read(a->t, buf, sizeof(buf));

		ck_assert(n > 0 || n == -EAGAIN);
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != (uint8_t)((got + (size_t)i) / SIZE))
				ck_abort_msg("wrong byte at %zu", got + (size_t)i);
		if (n > 0)
			got += (size_t)n;
		else
			loop_step(w->loop, false);
	}
	ck_assert_uint_gt(m->records, before);
	ck_assert_uint_le(m->records - before, N * SIZE / 16383 + 2);
	middle_free(m);
	world_free(w);
}
END_TEST

/* ------------------------------------------------------- what TLS holds back -- */

struct sip {
	int readables;
	uint64_t in;
};

/* One byte, and no more for now. */
static bool
read_one(struct end *e, char what)
{
	struct sip *s = e->hook_arg;
	char c;

	if (what != 'r')
		return false;
	s->readables++;
	if (e->t->ops->read(e->t, &c, 1) == 1)
		s->in++;
	e->t->ops->want_read(e->t, false);
	return true;
}

/* All of it is inside TLS after the first read: TCP has nothing to say any more. */
START_TEST(off_and_on_inside_a_record)
{
	struct world *w = world_new(KIND_TLS4);
	struct end *d, *a;
	struct sip sip = { 0 };

	world_pair(w, &d, &a);
	a->hook = read_one;
	a->hook_arg = &sip;
	d->to_write = 300;
	end_pump(d);
	for (int i = 1; i < 200; i++) {
		UNTIL(w, sip.in == (uint64_t)i);
		if (i < 5)
			world_settle(w);
		ck_assert_int_le(sip.readables, 2 * i);
		a->t->ops->want_read(a->t, true);
	}
	/* Nor is the end forgotten behind what is left. */
	end_close(d, true);
	world_settle(w);
	a->hook = NULL;
	a->in = sip.in;
	a->t->ops->want_read(a->t, true);
	UNTIL(w, a->downs);
	ck_assert_uint_eq(a->in, 300);
	ck_assert_int_eq(a->error, 0);
	world_free(w);
}
END_TEST

/* More was taken than the kernel has: it still gets there, though the other side ended first. */
START_TEST(drains_what_is_sealed)
{
	struct world *w = world_new(KIND_TLS4);
	struct middle *m = middle_new(w);
	struct end *d = world_dial_to(w, m->url, 5000), *a = &w->accepted[0];
	uint64_t passed;

	UNTIL(w, d->ups && a->ups);
	m->is_shut = true; /* nothing passes from d to a */
	d->to_write = 64 << 20;
	end_pump(d);
	ck_assert_uint_gt(d->short_writes, 0);
	end_close(a, true);
	UNTIL(w, d->downs);
	ck_assert_int_eq(d->error, 0);
	passed = m->passed[0];
	end_close(d, true);
	world_settle(w);
	ck_assert(!m->ended[0]);
	m->is_shut = false;
	middle_turn(m);
	UNTIL(w, m->ended[0]);
	ck_assert(!m->is_reset);
	/* Sealed, it is more than it was. */
	ck_assert_uint_gt(m->passed[0] - passed, d->out);
	middle_free(m);
	world_free(w);
}
END_TEST

TCase *
tls_tests(void)
{
	TCase *t = tcase_create("tls");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, what_is_proven);
	tcase_add_test(t, no_security_no_stream);
	tcase_add_loop_test(t, refusals, 0, 2);
	tcase_add_loop_test(t, refused_and_cut, 0, 2);
	tcase_add_loop_test(t, new_security, 0, 2);
	tcase_add_test(t, handshake_waits_to_be_wanted);
	tcase_add_test(t, handshake_by_turns);
	tcase_add_test(t, strangers_drain_apart);
	tcase_add_test(t, handshake_in_time);
	tcase_add_test(t, dialled_in_time);
	tcase_add_test(t, plaintext_onto_tls);
	tcase_add_test(t, tls_onto_plaintext);
	tcase_add_test(t, closed_during_the_handshake);
	tcase_add_test(t, byte_by_byte);
	tcase_add_test(t, cut_short);
	tcase_add_test(t, cut_short_behind_data);
	tcase_add_test(t, damaged_on_the_way);
	tcase_add_test(t, records_are_filled);
	tcase_add_test(t, off_and_on_inside_a_record);
	tcase_add_test(t, drains_what_is_sealed);
	return t;
}
