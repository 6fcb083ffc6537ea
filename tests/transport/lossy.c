/* lossy: see lossy.h. */
#include "lossy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int
udp_on_loopback(struct sockaddr_in *ret)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	if (ret)
		*ret = a;
	return fd;
}

static struct sockaddr_in
address_of(const char *url)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };

	a.sin_port = htons(world_url(url).port);
	return a;
}

static unsigned
dice(struct lossy *lo)
{
	lo->random = lo->random * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(lo->random >> 33) % 1000;
}

static void
put(struct lossy *lo, const struct lossy_kept *k)
{
	/* Nobody being there any more is no fault of the one between. */
	if (k->is_back)
		(void)!sendto(lo->front, k->data, k->len, 0, (struct sockaddr *)&lo->dialler, sizeof(lo->dialler));
	else
		(void)!send(lo->back, k->data, k->len, 0);
	lo->passed++;
}

static void
pass(struct lossy *lo, struct lossy_kept *k)
{
	if (k->len > lo->longest)
		lo->longest = k->len;
	if (lo->n_kept < LOSSY_KEPT)
		lo->kept[lo->n_kept++] = *k;
	if (lo->is_shut)
		return;
	if (dice(lo) < lo->loss) {
		lo->lost++;
		return;
	}
	if (dice(lo) < lo->damage) {
		lo->damaged++;
		k->data[dice(lo) % k->len] ^= (uint8_t)(1 + dice(lo) % 255);
	}
	if (lo->held.len == 0 && dice(lo) < lo->late) {
		lo->reordered++;
		lo->held = *k;
		return;
	}
	put(lo, k);
	if (dice(lo) < lo->twice) {
		lo->doubled++;
		put(lo, k);
	}
	if (lo->held.len > 0) {
		put(lo, &lo->held);
		lo->held.len = 0;
	}
}

static void
readable(struct lossy *lo, bool is_back)
{
	for (;;) {
		struct lossy_kept k = { .is_back = is_back };
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(is_back ? lo->back : lo->front, k.data, sizeof(k.data), 0, (struct sockaddr *)&from, &len);

		if (n < 0 && errno != EAGAIN)
			continue;
		if (n < 0)
			return;
		if (!is_back)
			lo->dialler = from;
		k.len = (size_t)n;
		pass(lo, &k);
	}
}

static void
on_front(void *arg, bool in, bool out)
{
	(void)in, (void)out;
	readable(arg, false);
}

static void
on_back(void *arg, bool in, bool out)
{
	(void)in, (void)out;
	readable(arg, true);
}

static void
open_back(struct lossy *lo)
{
	struct sockaddr_in to = address_of(lo->w->url);

	lo->back = udp_on_loopback(NULL);
	ck_assert_int_eq(connect(lo->back, (struct sockaddr *)&to, sizeof(to)), 0);
	ck_assert_int_eq(loop_watch_init(&lo->watch[1], lo->w->loop, lo->back, on_back, lo), 0);
	loop_watch_want(&lo->watch[1], true, false);
}

struct lossy *
lossy_new(struct world *w)
{
	struct lossy *lo = calloc(1, sizeof(*lo));
	struct sockaddr_in a;

	ck_assert_ptr_nonnull(lo);
	lo->w = w;
	lo->random = 4711;
	lo->front = udp_on_loopback(&a);
	snprintf(lo->url, sizeof(lo->url), "%.*s://127.0.0.1:%u", (int)strcspn(w->url, ":"), w->url, ntohs(a.sin_port));
	ck_assert_int_eq(loop_watch_init(&lo->watch[0], w->loop, lo->front, on_front, lo), 0);
	loop_watch_want(&lo->watch[0], true, false);
	open_back(lo);
	return lo;
}

void
lossy_move(struct lossy *lo)
{
	loop_watch_done(&lo->watch[1]);
	close(lo->back);
	open_back(lo);
}

void
lossy_replay(struct lossy *lo)
{
	for (unsigned i = 0; i < lo->n_kept; i++)
		put(lo, &lo->kept[i]);
}

void
lossy_free(struct lossy *lo)
{
	loop_watch_done(&lo->watch[0]);
	loop_watch_done(&lo->watch[1]);
	close(lo->front);
	close(lo->back);
	free(lo);
}

void
lossy_pair(struct lossy *lo, struct end **ret_dialled, struct end **ret_accepted)
{
	struct world *w = lo->w;
	unsigned n = w->n_accepted;
	struct end *d = world_dial_to(w, lo->url, 15000), *a;

	for (;;) {
		a = w->n_accepted > n ? &w->accepted[w->n_accepted - 1] : NULL;
		if (d->downs || (d->ups && a && a->t && !a->t->awaits_up))
			break;
		loop_step(w->loop, true);
	}
	ck_assert_msg(!d->downs, "%s", d->text);
	*ret_dialled = d;
	*ret_accepted = a;
}

const struct transport_tuning lossy_usual = { .mtu = 1200, .buffer = 1 << 20, .heartbeat_ms = 30000, .rto_min_ms = 50,
	.rto_max_ms = 10000, .retransmissions = 10, .answers = 1000 };

struct world *
lossy_tuned(int kind, const struct transport_tuning *t)
{
	struct world *w = world_new_silent(kind);

	ck_assert_int_eq(transport_for(kind_is_dtls(kind) ? NAMES_DTLS_SCTP : NAMES_SCTP)->tune(w->loop, t), 0);
	ck_assert_int_eq(world_listen(w, -1), 0);
	return w;
}

/* ---------------------------------------------------------- packets by hand */

/* Slowly, and by the definition (RFC 9260, appendix A), so that it says whether the fast ones are right. */
static uint32_t
checksum(const uint8_t *data, size_t len)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static void
put32(uint8_t *at, uint32_t v)
{
	v = htonl(v);
	memcpy(at, &v, 4);
}

static void
put16(uint8_t *at, uint16_t v)
{
	v = htons(v);
	memcpy(at, &v, 2);
}

struct raw
raw_udp(const char *url, uint16_t port, uint32_t my_tag)
{
	struct raw r = { .port = port, .my_tag = my_tag };
	struct sockaddr_in to = address_of(url);

	r.fd = udp_on_loopback(NULL);
	ck_assert_int_eq(connect(r.fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return r;
}

void
raw_close(struct raw *r)
{
	close(r->fd);
}

void
raw_send(struct raw *r, uint32_t tag, uint8_t type, const void *body, size_t len)
{
	uint8_t packet[LOSSY_DATAGRAM] = { 0 };
	size_t all = 16 + ((len + 3) & ~(size_t)3);
	uint32_t sum;

	ck_assert_uint_le(all, sizeof(packet));
	put16(packet, r->port);
	put16(packet + 2, 5000);
	put32(packet + 4, tag);
	packet[12] = type;
	put16(packet + 14, (uint16_t)(4 + len));
	memcpy(packet + 16, body, len);
	sum = checksum(packet, all);
	/* Least significant byte first. */
	for (int i = 0; i < 4; i++)
		packet[8 + i] = (uint8_t)(sum >> (8 * i));
	ck_assert_int_eq(send(r->fd, packet, all, 0), (ssize_t)all);
}

void
raw_init(struct raw *r)
{
	uint8_t body[16];

	put32(body, r->my_tag);
	put32(body + 4, 65536); /* window */
	put16(body + 8, 1);     /* streams */
	put16(body + 10, 1);
	put32(body + 12, r->my_tag); /* first number */
	raw_send(r, 0, 1, body, sizeof(body));
}

int
raw_receive(struct world *w, struct raw *r)
{
	world_tick(w);
	for (;;) {
		r->len = recv(r->fd, r->in, sizeof(r->in), MSG_DONTWAIT);
		if (r->len >= 16)
			return r->in[12];
		loop_step(w->loop, true);
	}
}

void
raw_get_cookie(struct world *w, struct raw *r)
{
	size_t at = 12 + 4 + 16, end;

	raw_init(r);
	ck_assert_int_eq(raw_receive(w, r), 2);
	memcpy(&r->tag, r->in + 16, 4);
	r->tag = ntohl(r->tag);
	end = 12 + ((size_t)r->in[14] << 8 | r->in[15]);
	ck_assert_uint_le(end, (size_t)r->len);
	while (at + 4 <= end) {
		size_t len = (size_t)r->in[at + 2] << 8 | r->in[at + 3];

		if (r->in[at] == 0 && r->in[at + 1] == 7) {
			r->cookie_len = len - 4;
			memcpy(r->cookie, r->in + at + 4, r->cookie_len);
			return;
		}
		at += (len + 3) & ~(size_t)3;
	}
	ck_abort_msg("no cookie");
}

void
raw_echo(struct raw *r)
{
	raw_send(r, r->tag, 10, r->cookie, r->cookie_len);
}
