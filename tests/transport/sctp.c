/* What SCTP over UDP adds: datagrams get lost, and anybody can send one. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lossy.h"
#include "socket.h"
#include "suite.h"

#define CHUNK_DATA 0
#define CHUNK_ABORT 6
#define CHUNK_COOKIE_ACK 11

/* What is no different when DTLS is between. */
static const int both[] = { KIND_SCTP4, KIND_DTLS4 };

START_TEST(bad_path)
{
	const uint64_t bytes = 300000;
	struct world *w = world_new(both[_i]);
	struct lossy *lo = lossy_new(w);
	struct end *d, *a;

	lo->loss = 50;
	lo->twice = 50;
	lo->late = 50;
	lo->damage = 20;
	lossy_pair(lo, &d, &a);
	d->to_write = a->to_write = bytes;
	end_pump(d);
	end_pump(a);
	UNTIL(w, d->in == bytes && a->in == bytes);
	/* It was one. */
	ck_assert_uint_gt(lo->lost, 5);
	ck_assert_uint_gt(lo->doubled, 5);
	ck_assert_uint_gt(lo->reordered, 5);
	ck_assert_uint_gt(lo->damaged, 2);
	lo->loss = 0;
	if (kind_is_dtls(both[_i])) /* its last record comes once */
		lo->damage = 0;
	end_close(d, true);
	UNTIL(w, a->downs);
	ck_assert_int_eq(a->error, 0);
	lossy_free(lo);
	world_free(w);
}
END_TEST

START_TEST(datagrams_fit)
{
	struct world *w = world_new(KIND_SCTP4);
	struct lossy *lo = lossy_new(w);
	struct end *d, *a;

	lossy_pair(lo, &d, &a);
	d->to_write = 100000;
	end_pump(d);
	UNTIL(w, a->in == 100000);
	/* And no smaller than they could be. */
	ck_assert_uint_le(lo->longest, 1200);
	ck_assert_uint_ge(lo->longest, 1196);
	lossy_free(lo);
	world_free(w);
}
END_TEST

START_TEST(tuned_mtu)
{
	static const uint32_t sizes[] = { 576, 1400 };

	for (int i = 0; i < 2; i++) {
		struct transport_tuning t = lossy_usual;
		struct transport_path path;
		struct world *w;
		struct lossy *lo;
		struct end *d, *a;

		t.mtu = sizes[i];
		w = lossy_tuned(KIND_SCTP4, &t);
		lo = lossy_new(w);
		lossy_pair(lo, &d, &a);
		d->to_write = a->to_write = 20000;
		end_pump(d);
		end_pump(a);
		UNTIL(w, a->in == 20000 && d->in == 20000);
		ck_assert_uint_le(lo->longest, t.mtu);
		ck_assert_uint_ge(lo->longest, t.mtu - 4);
		d->t->ops->path(d->t, &path);
		ck_assert_uint_eq(path.mtu, t.mtu);
		ck_assert_uint_eq(path.retransmissions, 0);
		lossy_free(lo);
		world_free(w);
	}
}
END_TEST

/* What is told of the way: what was sent again, and how long answers take. */
START_TEST(way)
{
	struct world *w = world_new(KIND_SCTP4);
	struct lossy *lo = lossy_new(w);
	struct transport_path path;
	struct end *d, *a;

	lossy_pair(lo, &d, &a);
	lo->loss = 100;
	d->to_write = 100000;
	end_pump(d);
	UNTIL(w, a->in == 100000);
	d->t->ops->path(d->t, &path);
	ck_assert_uint_gt(path.retransmissions, 3);
	ck_assert_uint_lt(path.retransmissions, 100);
	/* Acknowledgements wait 10 ms for company. */
	ck_assert_uint_lt(path.rtt_us, 1000000);
	lossy_free(lo);
	world_free(w);
}
END_TEST

/* Nothing comes back any more: after so many times it is over. */
START_TEST(silence)
{
	struct transport_tuning t = lossy_usual;
	struct world *w;
	struct lossy *lo;
	struct end *d, *a;
	uint64_t since;

	t.retransmissions = 3;
	t.rto_max_ms = 100;
	w = lossy_tuned(KIND_SCTP4, &t);
	lo = lossy_new(w);
	lossy_pair(lo, &d, &a);
	lo->is_shut = true;
	since = loop_now_ms(w->loop);
	d->to_write = a->to_write = 100;
	end_pump(d);
	end_pump(a);
	UNTIL(w, d->downs && a->downs);
	ck_assert_int_eq(d->error, -ETIMEDOUT);
	ck_assert_int_eq(a->error, -ETIMEDOUT);
	ck_assert_uint_ge(loop_now_ms(w->loop) - since, 3 * 50);
	ck_assert_uint_lt(loop_now_ms(w->loop) - since, 5000);
	lossy_free(lo);
	world_free(w);
}
END_TEST

/* The same with nothing to be sent: heartbeats find out. */
START_TEST(heartbeats)
{
	struct transport_tuning t = lossy_usual;
	struct world *w;
	struct lossy *lo;
	struct end *d, *a;
	unsigned passed;

	t.retransmissions = 3;
	t.rto_max_ms = 100;
	t.heartbeat_ms = 50;
	w = lossy_tuned(KIND_SCTP4, &t);
	lo = lossy_new(w);
	lossy_pair(lo, &d, &a);
	passed = lo->passed;
	UNTIL(w, lo->passed > passed + 10);
	ck_assert_int_eq(d->downs + a->downs, 0);
	lo->is_shut = true;
	UNTIL(w, d->downs && a->downs);
	ck_assert_int_eq(d->error, -ETIMEDOUT);
	lossy_free(lo);
	world_free(w);
}
END_TEST

/* A stream goes on while others, and its own other end, send what is no SCTP, or was. */
START_TEST(garbage)
{
	struct world *w = world_new(KIND_SCTP4);
	struct lossy *lo = lossy_new(w);
	struct raw r = raw_udp(w->url, 40000, 7);
	struct end *d, *a;
	uint8_t junk[1500];

	lossy_pair(lo, &d, &a);
	d->to_write = a->to_write = 20000;
	end_pump(d);
	end_pump(a);
	UNTIL(w, d->in == 20000 && a->in == 20000);
	ck_assert_uint_gt(lo->n_kept, 10);
	for (unsigned i = 0; i < 2000; i++) {
		size_t len = i % sizeof(junk);

		for (size_t j = 0; j < len; j++)
			junk[j] = (uint8_t)rand();
		(void)!send(i & 1 ? r.fd : lo->back, junk, len, 0);
		raw_send(&r, i & 2 ? 0 : (uint32_t)rand(), (uint8_t)i, junk, len % 1000);
		loop_step(w->loop, false);
	}
	/* Cut short, each at every fourth byte. */
	for (unsigned i = 0; i < lo->n_kept; i++)
		for (size_t len = 0; len < lo->kept[i].len; len += 4) {
			(void)!send(i & 1 ? r.fd : lo->back, lo->kept[i].data, len, 0);
			loop_step(w->loop, false);
		}
	ck_assert_uint_eq(w->n_accepted, 1);
	d->to_write += 1000;
	end_pump(d);
	UNTIL(w, a->in == 21000);
	ck_assert_int_eq(d->downs + a->downs, 0);
	raw_close(&r);
	lossy_free(lo);
	world_free(w);
}
END_TEST

/* Everything comes again, while the stream is up, and when it is over. */
START_TEST(replayed)
{
	struct world *w = world_new(KIND_SCTP4);
	struct lossy *lo = lossy_new(w);
	struct end *d, *a;

	lossy_pair(lo, &d, &a);
	d->to_write = a->to_write = 9000;
	end_pump(d);
	end_pump(a);
	UNTIL(w, d->in == 9000 && a->in == 9000);
	lossy_replay(lo);
	world_settle(w);
	d->to_write += 1000;
	end_pump(d);
	UNTIL(w, a->in == 10000);
	ck_assert_uint_eq(d->in, 9000);
	ck_assert_uint_eq(w->n_accepted, 1);
	ck_assert_int_eq(d->downs + a->downs, 0);
	end_close(d, true);
	UNTIL(w, a->downs);
	world_settle(w);
	/* Its owner still has it; then not any more. */
	lossy_replay(lo);
	world_settle(w);
	end_close(a, true);
	world_settle(w);
	lossy_replay(lo);
	world_settle(w);
	ck_assert_uint_eq(w->n_accepted, 1);
	ck_assert_int_eq(w->failures, 0);
	/* The same port is as good as any for somebody new. */
	lossy_pair(lo, &d, &a);
	lossy_free(lo);
	world_free(w);
}
END_TEST

START_TEST(flood)
{
	struct transport_tuning t = lossy_usual;
	struct raw r[8];
	struct mallinfo2 before, after;
	struct world *w;
	struct end *d;
	unsigned answers = 0;
	uint64_t since;

	t.answers = 500;
	w = lossy_tuned(KIND_SCTP4, &t);
	since = loop_now_ms(w->loop);
	for (int i = 0; i < 8; i++)
		r[i] = raw_udp(w->url, (uint16_t)(30000 + i), 1);
	for (unsigned i = 0; i < 22000; i++) {
		struct raw *one = &r[i % 8];

		/* What is made once for all has been made by then. */
		if (i == 2000)
			before = mallinfo2();

		one->my_tag = i + 1;
		one->port = (uint16_t)(20000 + i);
		raw_init(one);
		if (i % 16 == 0)
			loop_step(w->loop, false);
		while (recv(one->fd, one->in, sizeof(one->in), MSG_DONTWAIT) > 0)
			answers++;
	}
	world_settle(w);
	after = mallinfo2();
	/* Some were answered, and no more than that in a second; nothing is kept. */
	ck_assert_uint_gt(answers, 0);
	ck_assert_uint_le(answers, t.answers * ((loop_now_ms(w->loop) - since) / 1000 + 2));
	ck_assert_uint_lt(answers, 20000);
	ck_assert_uint_lt(after.uordblks, before.uordblks + 100000);
	ck_assert_uint_eq(w->n_accepted, 0);
	d = world_dial(w);
	UNTIL(w, d->ups && w->n_accepted == 1);
	for (int i = 0; i < 8; i++)
		raw_close(&r[i]);
	world_free(w);
}
END_TEST

/* Whoever gets a cookie can use it from where it got it, and from nowhere else. */
START_TEST(forged_address)
{
	struct world *w = world_new(KIND_SCTP4);
	struct raw r = raw_udp(w->url, 40000, 1), other = raw_udp(w->url, 40000, 1);

	raw_get_cookie(w, &r);
	/* The other has asked, too, but has not seen the answer. */
	raw_init(&other);
	world_settle(w);
	other.tag = r.tag;
	other.cookie_len = r.cookie_len;
	memcpy(other.cookie, r.cookie, r.cookie_len);
	raw_echo(&other);
	world_settle(w);
	ck_assert_uint_eq(w->n_accepted, 0);
	raw_echo(&r);
	UNTIL(w, w->n_accepted == 1);
	ck_assert_int_eq(raw_receive(w, &r), CHUNK_COOKIE_ACK);
	raw_close(&r);
	raw_close(&other);
	world_free(w);
}
END_TEST

/* The other end begins anew from the same ports: the stream before is over. */
START_TEST(restarted)
{
	struct world *w = world_new(KIND_SCTP4);
	struct raw r = raw_udp(w->url, 40000, 1);
	struct end *a = &w->accepted[0];

	raw_get_cookie(w, &r);
	raw_echo(&r);
	UNTIL(w, w->n_accepted == 1);
	ck_assert_int_eq(raw_receive(w, &r), CHUNK_COOKIE_ACK);
	r.my_tag = 2;
	raw_get_cookie(w, &r);
	raw_echo(&r);
	UNTIL(w, a->downs);
	ck_assert_int_eq(a->error, -ECONNRESET);
	ck_assert_str_eq(a->text, "restarted by the other side");
	end_close(a, false);
	while (raw_receive(w, &r) != CHUNK_ABORT)
		;
	/* And now it gets in. */
	r.my_tag = 3;
	raw_get_cookie(w, &r);
	raw_echo(&r);
	UNTIL(w, w->n_accepted == 2);
	raw_close(&r);
	world_free(w);
}
END_TEST

/* A listener goes while streams are there, and comes back to the same address: they have its socket. */
START_TEST(listener_comes_back)
{
	struct world *w = world_new(KIND_SCTP4);
	struct end *d, *a, *e;

	world_pair(w, &d, &a);
	world_listen_close(w);
	e = world_dial_to(w, w->url, 100);
	UNTIL(w, e->downs);
	ck_assert_int_eq(e->error, -ETIMEDOUT);
	d->to_write = 100;
	end_pump(d);
	UNTIL(w, a->in == 100);
	ck_assert_int_eq(world_listen(w, -1), 0);
	world_pair(w, &d, &a);
	ck_assert_int_eq(world_listen(w, -1), -EADDRINUSE);
	world_free(w);
}
END_TEST

/* From the same UDP port, but another one of SCTP: both are there. */
START_TEST(same_udp_port)
{
	struct world *w = world_new(KIND_SCTP4);
	struct lossy *lo = lossy_new(w);
	struct end *d, *a, *e, *b;

	lossy_pair(lo, &d, &a);
	lossy_pair(lo, &e, &b);
	e->to_write = 100;
	end_pump(e);
	UNTIL(w, b->in == 100);
	ck_assert_uint_eq(a->in, 0);
	lossy_free(lo);
	world_free(w);
}
END_TEST

/* Its packets come from elsewhere, as after a change of address: it is told at once that it is not known there. */
START_TEST(moved)
{
	struct world *w = world_new(KIND_SCTP4);
	struct lossy *lo = lossy_new(w);
	struct end *d, *a;

	lossy_pair(lo, &d, &a);
	lossy_move(lo);
	d->to_write = 100;
	end_pump(d);
	UNTIL(w, d->downs);
	ck_assert_int_eq(d->error, -ECONNRESET);
	ck_assert_int_eq(a->downs, 0);
	lossy_free(lo);
	world_free(w);
}
END_TEST

/* The other process was killed: its host says so when something is sent there. */
START_TEST(killed)
{
	struct world *w = world_new(both[_i]);
	struct lossy *lo = lossy_new(w);
	struct end *d, *a;

	lossy_pair(lo, &d, &a);
	lossy_free(lo);
	d->to_write = 100;
	end_pump(d);
	UNTIL(w, d->downs);
	ck_assert_int_eq(d->error, -ECONNRESET);
	ck_assert_str_eq(d->text, "the other side is gone");
	world_free(w);
}
END_TEST

/* Streams that drain are bounded: to an end that does not answer, the oldest is cut. */
START_TEST(draining_is_bounded)
{
	enum { N = DRAIN_MAX + 4 };
	struct world *w = world_new(KIND_SCTP4), *v = world_new_silent(KIND_SCTP4);
	int cut = 0;

	memcpy(v->url, w->url, sizeof(v->url));
	for (int i = 0; i < N; i++) {
		struct end *d = world_dial(v);

		while (!d->ups || w->n_accepted < (unsigned)i + 1) {
			loop_step(w->loop, false);
			loop_step(v->loop, false);
		}
	}
	/* Only v's loop goes on. */
	for (int i = 0; i < N; i++) {
		v->dialled[i].to_write = 100;
		end_pump(&v->dialled[i]);
		end_close(&v->dialled[i], true);
	}
	world_settle(v);
	world_settle(w);
	for (int i = 0; i < N; i++)
		cut += w->accepted[i].downs && w->accepted[i].error == -ECONNRESET;
	ck_assert_int_eq(cut, N - DRAIN_MAX);
	world_free(v);
	world_free(w);
}
END_TEST

TCase *
sctp_tests(void)
{
	TCase *t = tcase_create("sctp");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, bad_path, 0, 2);
	tcase_add_test(t, datagrams_fit);
	tcase_add_test(t, tuned_mtu);
	tcase_add_test(t, way);
	tcase_add_test(t, silence);
	tcase_add_test(t, heartbeats);
	tcase_add_test(t, garbage);
	tcase_add_test(t, replayed);
	tcase_add_test(t, flood);
	tcase_add_test(t, forged_address);
	tcase_add_test(t, restarted);
	tcase_add_test(t, listener_comes_back);
	tcase_add_test(t, same_udp_port);
	tcase_add_test(t, moved);
	tcase_add_loop_test(t, killed, 0, 2);
	tcase_add_test(t, draining_is_bounded);
	return t;
}
