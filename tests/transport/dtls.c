/* What DTLS adds to SCTP: who the other side is, and records that get lost, come twice or are made up. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "certs.h"
#include "lossy.h"
#include "socket.h"
#include "suite.h"

#define RANDOM_AT 27 /* of a hello: behind two headers and a version */

/* ---------------------------------------------------------------- who it is */

START_TEST(identity_is_proven)
{
	struct world *w = world_new(KIND_DTLS4);
	struct transport_identity berlin, paris;
	struct transport_path path;
	struct end *d, *a;
	char why[TRANSPORT_TEXT_MAX];

	world_pair(w, &d, &a);
	d->t->ops->identity(d->t, &berlin);
	a->t->ops->identity(a->t, &paris);
	ck_assert_str_eq(berlin.tls.version, "DTLSv1.2");
	ck_assert_str_eq(berlin.tls.cipher, "TLS-ECDHE-ECDSA-WITH-CHACHA20-POLY1305-SHA256");
	ck_assert(tls_certificate_names(&berlin.tls.certificate, "berlin"));
	ck_assert(tls_certificate_names(&paris.tls.certificate, "paris"));
	ck_assert_int_eq(w->checks, 2);
	d->t->ops->path(d->t, &path);
	ck_assert_uint_eq(path.mtu, 1200);
	/* As at a reload. */
	ck_assert(a->t->ops->recheck(a->t, &w->waiting, why));
	w->refusal = "no peer any more";
	ck_assert(!a->t->ops->recheck(a->t, &w->waiting, why));
	ck_assert_str_eq(why, "no peer any more");
	world_free(w);
}
END_TEST

/* ------------------------------------------------------ whose turn it is */

static bool
later(struct world *w, struct end *e)
{
	(void)w;
	e->shakes_later = e->by_turns = true;
	return true;
}

/* Its owner says when there is time for a step, and is told what it cost. */
START_TEST(by_turns)
{
	struct world *w = world_new(KIND_DTLS4);
	struct end *d, *a = &w->accepted[0];
	int turns = 0;

	w->accept_hook = later;
	d = world_dial(w);
	UNTIL(w, a->asked > 0);
	world_settle(w);
	ck_assert_int_eq(a->shaken + w->checks, 0);
	while (!a->ups || !d->ups) {
		if (a->shakes_later && a->t->awaits_up) {
			turns++;
			a->shakes_later = false;
			a->t->ops->want_read(a->t, true);
		}
		loop_step(w->loop, true);
	}
	ck_assert_int_ge(turns, 2);
	ck_assert_int_ge(a->shaken, 2);
	ck_assert_uint_gt(a->shaken_ns, 100000);
	world_free(w);
}
END_TEST

/* It never comes: the deadline does. */
START_TEST(deadline)
{
	struct world *w = world_new_silent(KIND_DTLS4);
	struct end *a = &w->accepted[0];

	w->waiting.handshake_ms = 200;
	ck_assert_int_eq(world_listen(w, -1), 0);
	w->accept_hook = later;
	world_dial(w);
	UNTIL(w, a->downs);
	ck_assert_int_eq(a->error, -ETIMEDOUT);
	ck_assert_str_eq(a->text, "DTLS handshake timed out");
	ck_assert_int_eq(a->shaken, 0);
	world_free(w);
}
END_TEST

/* ----------------------------------------------------------- a bad path */

/* Handshakes alone, of which much gets lost: what is sent again gets through. */
START_TEST(bad_handshakes)
{
	struct world *w = world_new(KIND_DTLS4);

	for (int i = 0; i < 6; i++) {
		struct lossy *lo = lossy_new(w);
		struct end *d, *a;

		lo->random = 100 + (uint64_t)_i * 6 + (uint64_t)i;
		lo->loss = 100;
		lo->twice = 100;
		lo->late = 100;
		lossy_pair(lo, &d, &a);
		/* However small the datagrams of the handshake had to be. */
		lo->loss = 0;
		lo->longest = 0;
		d->to_write = a->to_write = 5000;
		end_pump(d);
		end_pump(a);
		UNTIL(w, d->in == 5000 && a->in == 5000);
		ck_assert_uint_ge(lo->longest, 1196);
		lossy_free(lo);
	}
	world_free(w);
}
END_TEST

START_TEST(datagrams_fit)
{
	static const uint32_t sizes[] = { 576, 1200, 1400 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct transport_tuning t = lossy_usual;
		struct transport_path path;
		struct world *w;
		struct lossy *lo;
		struct end *d, *a;

		t.mtu = sizes[i];
		w = lossy_tuned(KIND_DTLS4, &t);
		lo = lossy_new(w);
		lossy_pair(lo, &d, &a);
		ck_assert_uint_le(lo->longest, t.mtu);
		d->to_write = a->to_write = 20000;
		end_pump(d);
		end_pump(a);
		UNTIL(w, a->in == 20000 && d->in == 20000);
		ck_assert_uint_le(lo->longest, t.mtu);
		ck_assert_uint_ge(lo->longest, t.mtu - 4);
		d->t->ops->path(d->t, &path);
		ck_assert_uint_eq(path.mtu, t.mtu);
		lossy_free(lo);
		world_free(w);
	}
}
END_TEST

/* ------------------------------------------------------ made up, or again */

static void
is_alive(struct world *w, struct end *d, struct end *a)
{
	d->to_write += 1000;
	end_pump(d);
	UNTIL(w, a->in == d->to_write || d->downs || a->downs);
	ck_assert_msg(!d->downs && !a->downs, "%s%s", d->text, a->text);
}

START_TEST(garbage)
{
	static const uint8_t alert[] = { 21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 77, 0, 2, 2, 40 };
	struct world *w = world_new(KIND_DTLS4);
	struct lossy *lo = lossy_new(w);
	struct raw r = raw_udp(w->url, 40000, 7);
	struct end *d, *a;
	uint8_t junk[1500];

	lossy_pair(lo, &d, &a);
	is_alive(w, d, a);
	for (unsigned i = 0; i < 2000; i++) {
		size_t len = i % sizeof(junk);

		for (size_t j = 0; j < len; j++)
			junk[j] = (uint8_t)rand();
		/* Half of them look like records. */
		if (i & 2 && len > 13) {
			junk[0] = (uint8_t)(20 + i / 4 % 4);
			junk[1] = 0xfe;
			junk[2] = 0xfd;
			junk[3] = 0;
			junk[4] = i & 4 ? 0 : 1;
			junk[11] = 0;
			junk[12] = (uint8_t)(len - 13 < 255 ? len - 13 : 255);
			junk[13] = i & 8 ? 1 : junk[13];
		}
		(void)!send(i & 1 ? r.fd : lo->back, junk, len, 0);
		loop_step(w->loop, false);
	}
	for (unsigned i = 0; i < lo->n_kept; i++)
		for (size_t len = 0; len < lo->kept[i].len; len += 4) {
			(void)!send(i & 1 ? r.fd : lo->back, lo->kept[i].data, len, 0);
			loop_step(w->loop, false);
		}
	/* Who is up believes no alert in the clear. */
	ck_assert_int_eq(send(lo->back, alert, sizeof(alert), 0), sizeof(alert));
	ck_assert_int_eq(sendto(lo->front, alert, sizeof(alert), 0, (struct sockaddr *)&lo->dialler, sizeof(lo->dialler)), sizeof(alert));
	world_settle(w);
	ck_assert_uint_eq(w->n_accepted, 1);
	is_alive(w, d, a);
	raw_close(&r);
	lossy_free(lo);
	world_free(w);
}
END_TEST

/* Everything comes again, while the stream is up, and when it is over. */
START_TEST(replayed)
{
	struct world *w = world_new(KIND_DTLS4);
	struct lossy *lo = lossy_new(w);
	struct end *d, *a;

	lossy_pair(lo, &d, &a);
	is_alive(w, d, a);
	lossy_replay(lo);
	world_settle(w);
	is_alive(w, d, a);
	ck_assert_uint_eq(w->n_accepted, 1);
	end_close(d, true);
	UNTIL(w, a->downs);
	ck_assert_int_eq(a->error, 0);
	end_close(a, true);
	world_settle(w);
	lossy_replay(lo);
	world_settle(w);
	ck_assert_uint_eq(w->n_accepted, 1);
	lossy_pair(lo, &d, &a);
	lossy_free(lo);
	world_free(w);
}
END_TEST

/* Hellos of many who do not wait for an answer. */
START_TEST(flood)
{
	struct world *w = world_new(KIND_DTLS4);
	struct lossy *lo = lossy_new(w);
	struct raw r[8];
	struct mallinfo2 before, after;
	struct end *d, *a;
	unsigned answers = 0;

	lossy_pair(lo, &d, &a);
	for (int i = 0; i < 8; i++)
		r[i] = raw_udp(w->url, (uint16_t)(30000 + i), 1);
	before = mallinfo2();
	for (unsigned i = 0; i < 20000; i++) {
		struct raw *one = &r[i % 8];
		struct lossy_kept hello = lo->kept[0];

		memcpy(hello.data + RANDOM_AT, &i, sizeof(i));
		(void)!send(one->fd, hello.data, hello.len, 0);
		if (i % 16 == 0)
			loop_step(w->loop, false);
		while (recv(one->fd, one->in, sizeof(one->in), MSG_DONTWAIT) > 0)
			answers++;
	}
	world_settle(w);
	after = mallinfo2();
	ck_assert_uint_gt(answers, 100);
	ck_assert_uint_lt(answers, 20000);
	/* One spare end. */
	ck_assert_uint_lt(after.uordblks, before.uordblks + 100000);
	ck_assert_uint_eq(w->n_accepted, 1);
	is_alive(w, d, a);
	for (int i = 0; i < 8; i++)
		raw_close(&r[i]);
	lossy_free(lo);
	world_free(w);
}
END_TEST

/* Whoever gets a cookie can use it from where it got it, and from nowhere else. */
START_TEST(forged_address)
{
	struct world *w = world_new(KIND_DTLS4);
	struct lossy *lo = lossy_new(w);
	struct raw other = raw_udp(w->url, 40000, 1);
	struct end *d, *a;

	lossy_pair(lo, &d, &a);
	/* Of what was kept, 0 is the first hello, 1 our wish for another, 2 that. */
	ck_assert(!lo->kept[2].is_back && lo->kept[2].len > lo->kept[0].len);
	lo->kept[2].data[RANDOM_AT]++;
	ck_assert_int_gt(send(other.fd, lo->kept[2].data, lo->kept[2].len, 0), 0);
	world_settle(w);
	ck_assert_uint_eq(w->n_accepted, 1);
	ck_assert_int_gt(recv(other.fd, other.in, sizeof(other.in), MSG_DONTWAIT), 0);
	/* The wish for a hello: type, epoch 0, message 3. */
	ck_assert_uint_eq(other.in[0], 22);
	ck_assert_uint_eq(other.in[13], 3);
	/* From its own place it counts, whatever else the hello says. */
	(void)!send(lo->back, lo->kept[2].data, lo->kept[2].len, 0);
	UNTIL(w, w->n_accepted == 2);
	raw_close(&other);
	lossy_free(lo);
	world_free(w);
}
END_TEST

/* ------------------------------------------------------------ begun anew */

/* Who dialled dials again from the same port: the stream before is over, and what it brought is still there. */
START_TEST(dialler_restarted)
{
	struct world *w = world_new(KIND_DTLS4);
	struct lossy *lo = lossy_new(w);
	struct end *d, *a, *e, *b;

	lossy_pair(lo, &d, &a);
	is_alive(w, d, a);
	lossy_pair(lo, &e, &b);
	UNTIL(w, a->downs);
	ck_assert_int_eq(a->error, -ECONNRESET);
	ck_assert_str_eq(a->text, "restarted by the other side");
	end_close(a, true);
	is_alive(w, e, b);
	lossy_free(lo);
	world_free(w);
}
END_TEST

/* The one that was dialled knows nothing any more, and is on the same port again. */
START_TEST(listener_restarted)
{
	struct world *w = world_new(KIND_DTLS4), *v = world_new_silent(KIND_DTLS4);
	struct end *d;

	memcpy(v->url, w->url, sizeof(v->url));
	d = world_dial(v);
	while (!d->ups || !w->accepted[0].ups) {
		loop_step(w->loop, false);
		loop_step(v->loop, false);
	}
	/* It hears nothing of the end. */
	w->accepted[0].t->ops->want_read(w->accepted[0].t, false);
	world_listen_close(w);
	loop_step(w->loop, false);
	end_close(&w->accepted[0], false);
	world_free(w);
	w = world_new_silent(KIND_DTLS4);
	memcpy(w->url, v->url, sizeof(w->url));
	ck_assert_int_eq(world_listen(w, -1), 0);
	d->to_write = 100;
	end_pump(d);
	while (!d->downs) {
		loop_step(w->loop, false);
		loop_step(v->loop, false);
	}
	ck_assert_int_eq(d->error, -ECONNRESET);
	world_free(v);
	world_free(w);
}
END_TEST

/* Its records come from elsewhere: it is told that they are of no use there, as often as it sends. */
START_TEST(moved)
{
	struct world *w = world_new(KIND_DTLS4);
	struct lossy *lo = lossy_new(w);
	struct end *d, *a;

	lossy_pair(lo, &d, &a);
	is_alive(w, d, a);
	lossy_move(lo);
	d->to_write += 100;
	end_pump(d);
	UNTIL(w, d->downs);
	ck_assert_int_eq(d->error, -ECONNRESET);
	ck_assert_str_eq(d->text, "the other side is gone");
	ck_assert_int_eq(a->downs, 0);
	lossy_free(lo);
	world_free(w);
}
END_TEST

/* Anybody can say so: an end that hears from the other one does not mind. */
START_TEST(in_vain_is_forged)
{
	static const uint8_t in_vain[] = { 21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 20 };
	struct world *w = world_new(KIND_DTLS4);
	struct lossy *lo = lossy_new(w);
	struct end *d, *a;

	lossy_pair(lo, &d, &a);
	for (int i = 0; i < 200; i++) {
		(void)!sendto(lo->front, in_vain, sizeof(in_vain), 0, (struct sockaddr *)&lo->dialler, sizeof(lo->dialler));
		(void)!send(lo->back, in_vain, sizeof(in_vain), 0);
		if (i % 10 == 0)
			is_alive(w, d, a);
	}
	world_settle(w);
	is_alive(w, d, a);
	lossy_free(lo);
	world_free(w);
}
END_TEST

TCase *
dtls_tests(void)
{
	TCase *t = tcase_create("dtls");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, identity_is_proven);
	tcase_add_test(t, by_turns);
	tcase_add_test(t, deadline);
	tcase_add_loop_test(t, bad_handshakes, 0, 4);
	tcase_add_test(t, datagrams_fit);
	tcase_add_test(t, garbage);
	tcase_add_test(t, replayed);
	tcase_add_test(t, flood);
	tcase_add_test(t, forged_address);
	tcase_add_test(t, dialler_restarted);
	tcase_add_test(t, listener_restarted);
	tcase_add_test(t, moved);
	tcase_add_test(t, in_vain_is_forged);
	return t;
}
