/*
 * fuzz_sctp: what anybody can send to the UDP socket of a listener for SCTP,
 * or between two ends. A listener and who dials it, on a network of this file
 * that delivers, loses, doubles, cuts, damages and makes up datagrams as the
 * input says, with and without the right checksum. Without one that was forged
 * with a right checksum, what is read must be a prefix of what was written, and
 * only who dialled is accepted.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assoc.h"
#include "crc32c.h"
#include "fake_loop.h"
#include "socket.h"
#include "udp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DATAGRAM 2048
#define WAY 64     /* datagrams on their way; more are lost */
#define KEPT 32    /* that may come again */
#define STREAMS 64 /* accepted */

struct udp {
	const struct udp_events *ev;
	void *arg;
	union resolve_address local, far;
	bool is_open;
};

struct datagram {
	struct udp *to;
	union resolve_address from;
	size_t len;
	uint8_t data[DATAGRAM];
};

struct end {
	struct transport *t;
	uint64_t in, out;
	bool is_up, is_down;
};

static struct input {
	const uint8_t *p;
	size_t left;
} in;

static struct loop *loop;
static struct udp sockets[2]; /* of the listener, of who dials */
static struct datagram way[WAY], kept[KEPT];
static size_t n_way, n_kept;
static struct end dialled, accepted[STREAMS];
static size_t n_accepted;
static struct transport_listener *listener;
static bool is_forged; /* something had a right checksum and was not sent by an end */
static uint64_t passed; /* ms; the age of cookies goes by the real clock, so not as many as make ours forget a used one */

/* FUZZ_TRACE=1 tells what happens. */
static void
trace(const char *what, const struct udp *u, const uint8_t *data, size_t len)
{
	uint32_t tag = 0;

	if (!getenv("FUZZ_TRACE"))
		return;
	if (len >= ASSOC_HEADER + 4)
		memcpy(&tag, data + 4, 4);
	fprintf(stderr, "%s %s: %zu bytes, tag %08x, chunk %d\n", what, u == &sockets[0] ? "listener" : "dialler", len, tag,
	    len > ASSOC_HEADER ? data[ASSOC_HEADER] : -1);
}

static uint64_t
take(size_t n)
{
	uint64_t x = 0;

	for (; n > 0 && in.left > 0; n--, in.left--)
		x = x << 8 | *in.p++;
	return x;
}

static uint8_t
pattern(uint64_t i)
{
	return (uint8_t)(i * 31 + i / 256);
}

/* ---------------------------------------------------------------- the network */

static union resolve_address
address(uint32_t ip, uint16_t port)
{
	union resolve_address a;

	memset(&a, 0, sizeof(a));
	a.v4.sin_family = AF_INET;
	a.v4.sin_addr.s_addr = htonl(ip);
	a.v4.sin_port = htons(port);
	return a;
}

static int
open_socket(size_t i, const union resolve_address *local, const union resolve_address *far, const struct udp_events *ev, void *arg,
    struct udp **ret)
{
	sockets[i] = (struct udp){ .ev = ev, .arg = arg, .is_open = true, .local = *local };
	if (far)
		sockets[i].far = *far;
	*ret = &sockets[i];
	return 0;
}

int
udp_bind(struct loop *l, const union resolve_address *local, int fd, const struct udp_events *ev, void *arg, struct udp **ret)
{
	(void)l, (void)fd;
	return open_socket(0, local, NULL, ev, arg, ret);
}

int
udp_connect(struct loop *l, const union resolve_address *far, const struct udp_events *ev, void *arg, struct udp **ret)
{
	const union resolve_address own = address(0x0a000001, 4711);

	(void)l;
	return open_socket(1, &own, far, ev, arg, ret);
}

void
udp_send(struct udp *u, const union resolve_address *to, const void *data, size_t len)
{
	struct datagram *d = &way[n_way];
	const union resolve_address *where = u == &sockets[1] ? &u->far : to;

	trace("from", u, data, len);
	/* Larger ones than we may send are a fault. */
	if (len > 1200)
		abort();
	for (size_t i = 0; i < 2 && n_way < WAY; i++)
		if (memcmp(&sockets[i].local, where, sizeof(*where)) == 0) {
			d->to = &sockets[i];
			d->from = u->local;
			d->len = len;
			memcpy(d->data, data, len);
			n_way++;
			break;
		}
}

bool
udp_local(const struct udp *u, union resolve_address *ret)
{
	*ret = u->local;
	return true;
}

void
udp_close(struct udp *u)
{
	u->is_open = false;
}

static void
deliver(const struct datagram *d)
{
	uint8_t *copy = malloc(d->len + 1);

	if (!copy)
		abort();
	memcpy(copy, d->data, d->len);
	trace("to", d->to, d->data, d->len);
	if (d->to->is_open && d->len > 0)
		d->to->ev->input(d->to->arg, &d->from, copy, d->len);
	free(copy);
	fake_loop_run(loop);
}

static struct datagram
pop(size_t i)
{
	struct datagram d = way[i];

	memmove(&way[i], &way[i + 1], (n_way - i - 1) * sizeof(way[0]));
	n_way--;
	if (n_kept < KEPT)
		kept[n_kept++] = d;
	return d;
}

static void
mend(struct datagram *d)
{
	struct assoc_packet packet;
	uint32_t sum = 0;

	if (d->len < ASSOC_HEADER + 4 || !crc32c_has_instruction())
		return;
	memset(d->data + 8, 0, 4);
	sum = crc32c_by_instruction(d->data, d->len);
	for (int i = 0; i < 4; i++)
		d->data[8 + i] = (uint8_t)(sum >> (8 * i));
	is_forged |= assoc_packet_parse(d->data, d->len, &packet);
}

static void
run_on(size_t n)
{
	for (; n > 0 && n_way > 0; n--) {
		struct datagram d = pop(0);

		deliver(&d);
	}
}

/* ------------------------------------------------------------------- the ends */

static void
on_up(void *arg)
{
	((struct end *)arg)->is_up = true;
}

static void
on_readable(void *arg)
{
	struct end *e = arg;
	uint8_t buf[1500];
	ssize_t n = e->t->ops->read(e->t, buf, 1 + take(1) * 5);

	for (ssize_t i = 0; i < n && !is_forged; i++)
		if (buf[i] != pattern(e->in + (uint64_t)i))
			abort();
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

	if (e->is_down || error > 0 || !text[0])
		abort();
	e->is_down = true;
}

static const struct transport_events events = { .up = on_up, .readable = on_readable, .writable = on_writable, .down = on_down };

static void
on_accepted(void *arg, struct transport *t)
{
	struct end *e = &accepted[n_accepted];

	(void)arg;
	trace("accepted by", &sockets[0], NULL, 0);
	if (n_accepted > 0 && !is_forged)
		abort();
	transport_set_events(t, &events, e);
	if (n_accepted == STREAMS) {
		t->ops->close(t, false);
		return;
	}
	n_accepted++;
	e->t = t;
	e->is_up = true;
}

static void
on_failed(void *arg, int error, const char *text)
{
	(void)arg, (void)error, (void)text;
}

static void
write_some(struct end *e, size_t n)
{
	uint8_t buf[4096];
	struct iovec iov[2] = { { buf, n / 2 }, { buf + n / 2, n - n / 2 } };
	ssize_t done;

	if (!e->t || !e->is_up || e->is_down)
		return;
	for (size_t i = 0; i < n; i++)
		buf[i] = pattern(e->out + i);
	done = e->t->ops->writev(e->t, iov, 2);
	if (done > (ssize_t)n)
		abort();
	if (done > 0)
		e->out += (uint64_t)done;
}

static void
end_close(struct end *e, bool drain)
{
	if (e->t)
		e->t->ops->close(e->t, drain);
	e->t = NULL;
}

/* ---------------------------------------------------------------------- input */

/* Of a stranger, or behind the ports and the tag of one that was sent: chunks as the input says. */
static void
make_up(bool of_an_end)
{
	struct datagram d = { .to = &sockets[take(1) & 1] };
	size_t n = take(1) * 4, at = ASSOC_HEADER;

	d.from = d.to == &sockets[0] ? address(0x0a000002 + (uint32_t)take(1) % 4, 4711) : sockets[0].local;
	if (of_an_end && n_kept > 0) {
		const struct datagram *k = &kept[take(1) % n_kept];

		d.to = k->to;
		d.from = k->from;
		memcpy(d.data, k->data, ASSOC_HEADER);
	} else {
		d.data[1] = (uint8_t)take(1);
		d.data[2] = ASSOC_PORT >> 8;
		d.data[3] = ASSOC_PORT & 0xff;
		for (int i = 4; i < 8 && (n & 4); i++)
			d.data[i] = (uint8_t)take(1);
	}
	while (n > 0 && in.left > 0 && at < DATAGRAM) {
		d.data[at++] = (uint8_t)take(1);
		n--;
	}
	d.len = at;
	mend(&d);
	deliver(&d);
}

static void
harm(uint8_t how)
{
	struct datagram d = pop(take(1) % n_way);
	size_t at = d.len > 0 ? take(2) % d.len : 0;

	if (d.len == 0)
		return;
	if (how & 1)
		d.len = at;
	else
		d.data[at] ^= (uint8_t)(take(1) | 1);
	if (how & 2)
		mend(&d);
	deliver(&d);
}

static void
step(void)
{
	uint8_t op = (uint8_t)take(1);
	struct datagram d;

	switch (op % 12) {
	case 0:
	case 1:
		run_on(1 + op / 12);
		break;
	case 2:
		if (n_way > 0)
			harm(op / 12 % 4);
		break;
	case 3:
		if (n_way > 0)
			pop(take(1) % n_way);
		break;
	case 4:
		if (n_way > 0) {
			d = pop(take(1) % n_way);
			deliver(&d);
			deliver(&d);
		}
		break;
	case 5:
		make_up(false);
		break;
	case 6:
		make_up(true);
		break;
	case 7:
		passed += in.left > 0 ? in.p[0] * 4 : 0;
		if (passed < ASSOC_PROOF_MS)
			fake_loop_advance(loop, take(1) * 4);
		break;
	case 8:
		write_some(op & 16 ? &dialled : &accepted[0], take(2) % 4096);
		break;
	case 9:
		if (n_kept > 0)
			deliver(&kept[take(1) % n_kept]);
		break;
	case 10:
		listener->ops->listen_pause(listener, op & 16);
		break;
	case 11:
		if (op > 200)
			end_close(op & 16 ? &dialled : &accepted[0], op & 32);
		else if (dialled.t && dialled.is_up)
			dialled.t->ops->want_read(dialled.t, op & 16);
		break;
	}
	fake_loop_run(loop);
}

static void
not_for_us(void *arg, const uint8_t *packet, size_t len)
{
	(void)arg, (void)packet, (void)len;
}

/* A loop that stays, or usrsctp would be taken down and built up for each input. */
static void
keep_usrsctp(void)
{
	static const struct assoc_events none = { .output = not_for_us };
	static const struct assoc_settings settings = { .packet = 1200, .buffer = 1 << 20, .rto_min_ms = 50, .rto_max_ms = 1000,
		.retransmissions = 3 };
	uint8_t packet[16] = { [2] = ASSOC_PORT >> 8, [3] = ASSOC_PORT & 0xff };
	static struct loop *stays;
	struct assoc *a;

	if (stays)
		return;
	stays = loop_new();
	if (!stays || assoc_stranger(stays, &settings, 1, &none, NULL, packet, sizeof(packet), &a) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct transport_ops *ops = &transport_sctp;
	const struct names_url url = { .scheme = NAMES_SCTP, .host = "10.0.0.9", .port = 7140 };

	in = (struct input){ data, size };
	memset(&dialled, 0, sizeof(dialled));
	memset(accepted, 0, sizeof(accepted));
	n_way = n_kept = n_accepted = 0;
	is_forged = false;
	passed = 0;
	keep_usrsctp();
	loop = loop_new();
	if (!loop || ops->listen(loop, &url, NULL, -1, on_accepted, on_failed, NULL, &listener) < 0 ||
	    ops->connect(loop, &url, NULL, 60000, &events, &dialled, &dialled.t) < 0)
		abort();
	/* Most inputs begin when it is up. */
	if (take(1) & 7)
		run_on(8);
	while (in.left > 0)
		step();
	for (size_t i = 0; i < STREAMS; i++)
		end_close(&accepted[i], true);
	end_close(&dialled, true);
	run_on(WAY);
	listener->ops->listen_close(listener);
	loop_free(loop);
	return 0;
}
