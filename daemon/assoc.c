/* assoc: see assoc.h. */
#include "assoc_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_MIN 1024   /* room for less is none */
#define DIRECT_MIN 16384 /* as much in one place is sent from there */
#define SACK_DELAY_MS 10
#define INIT_RTO_MAX_MS 2000
#define INIT_ATTEMPTS 1000 /* who dials has a deadline of its own */

enum { CHUNK_INIT = 1, CHUNK_INIT_ACK = 2, CHUNK_ABORT = 6, CHUNK_COOKIE_ECHO = 10, CHUNK_SHUTDOWN_COMPLETE = 14 };

/* ---------------------------------------------------------------- settings */

static int
set(struct socket *so, int option, const void *value, socklen_t len)
{
	return usrsctp_setsockopt(so, IPPROTO_SCTP, option, value, len) < 0 ? -errno : 0;
}

static int
subscribe(struct socket *so, uint16_t type)
{
	const struct sctp_event e = { .se_assoc_id = SCTP_FUTURE_ASSOC, .se_type = type, .se_on = 1 };

	return set(so, SCTP_EVENT, &e, sizeof(e));
}

static int
set_socket(struct socket *so, int option, const void *value, socklen_t len)
{
	return usrsctp_setsockopt(so, SOL_SOCKET, option, value, len) < 0 ? -errno : 0;
}

/* As it is later on the association that an option is for, they are set again when there is one. */
static int
configure_path(struct socket *so, const struct assoc_settings *s)
{
	const struct sockaddr_conn every = { .sconn_family = AF_CONN };
	struct sctp_paddrparams path = {
		.spp_flags = SPP_PMTUD_DISABLE | (s->heartbeat_ms ? SPP_HB_ENABLE : SPP_HB_DISABLE),
		.spp_hbinterval = s->heartbeat_ms,
		.spp_pathmtu = s->packet - ASSOC_HEADER,
		.spp_pathmaxrxt = (uint16_t)s->retransmissions,
	};
	const struct sctp_assocparams assoc = { .sasoc_asocmaxrxt = (uint16_t)s->retransmissions, .sasoc_cookie_life = ASSOC_PROOF_MS };
	const struct sctp_rtoinfo rto = { .srto_initial = s->rto_min_ms * 5 < s->rto_max_ms ? s->rto_min_ms * 5 : s->rto_max_ms,
		.srto_min = s->rto_min_ms, .srto_max = s->rto_max_ms };
	const struct sctp_sack_info sack = { .sack_delay = SACK_DELAY_MS, .sack_freq = 2 };
	int r;

	memcpy(&path.spp_address, &every, sizeof(every));
	r = set(so, SCTP_PEER_ADDR_PARAMS, &path, sizeof(path));
	if (r == 0)
		r = set(so, SCTP_ASSOCINFO, &assoc, sizeof(assoc));
	if (r == 0)
		r = set(so, SCTP_RTOINFO, &rto, sizeof(rto));
	return r ? r : set(so, SCTP_DELAYED_SACK, &sack, sizeof(sack));
}

int
assoc_configure(struct socket *so, const struct assoc_settings *s)
{
	const struct sctp_initmsg init = { .sinit_num_ostreams = 1, .sinit_max_instreams = 1, .sinit_max_attempts = INIT_ATTEMPTS,
		.sinit_max_init_timeo = INIT_RTO_MAX_MS };
	const struct linger cut = { .l_onoff = 1, .l_linger = 0 };
	int buffer = (int)s->buffer, on = 1, r;

	r = set_socket(so, SO_SNDBUF, &buffer, sizeof(buffer));
	if (r == 0)
		r = set_socket(so, SO_RCVBUF, &buffer, sizeof(buffer));
	if (r == 0)
		r = set_socket(so, SO_LINGER, &cut, sizeof(cut));
	if (r == 0)
		r = set(so, SCTP_NODELAY, &on, sizeof(on));
	if (r == 0)
		r = set(so, SCTP_INITMSG, &init, sizeof(init));
	if (r == 0)
		r = subscribe(so, SCTP_ASSOC_CHANGE);
	if (r == 0)
		r = subscribe(so, SCTP_SHUTDOWN_EVENT);
	return r ? r : configure_path(so, s);
}

/* ----------------------------------------------------------------- packets */

/* The checksum is that of the packet with 0 in its place. */
static bool
is_intact(uint8_t *packet, size_t len)
{
	uint32_t sum, there;

	memcpy(&there, packet + 8, 4);
	memset(packet + 8, 0, 4);
	sum = assoc_checksum(packet, len);
	memcpy(packet + 8, &there, 4);
#ifdef PLANT_SUM_BELIEVED
	return true;
#endif
	return sum == there;
}

bool
assoc_packet_parse(uint8_t *packet, size_t len, struct assoc_packet *ret)
{
	size_t chunk;

	if (len < ASSOC_HEADER + 4)
		return false;
	chunk = (size_t)packet[ASSOC_HEADER + 2] << 8 | packet[ASSOC_HEADER + 3];
	if (chunk < 4 || chunk > len - ASSOC_HEADER || !is_intact(packet, len))
		return false;
	ret->from_port = (uint16_t)(packet[0] << 8 | packet[1]);
	ret->to_port = (uint16_t)(packet[2] << 8 | packet[3]);
	memcpy(&ret->tag, packet + 4, 4);
	ret->is_proof = packet[ASSOC_HEADER] == CHUNK_COOKIE_ECHO;
	switch (packet[ASSOC_HEADER]) {
	case CHUNK_INIT:
		ret->is_initial = ret->tag == 0;
		break;
	case CHUNK_INIT_ACK:
	case CHUNK_ABORT:
	case CHUNK_SHUTDOWN_COMPLETE:
		ret->is_initial = false;
		break;
	default:
		ret->is_initial = true;
	}
	return true;
}

void
assoc_input(struct assoc *a, uint8_t *packet, size_t len)
{
	if (a->inside && !assoc_enter_port(packet, a->inside))
		return;
	assoc_wake(a->home);
	assoc_note_acked(a, packet, len);
	usrsctp_conninput(assoc_address(a->id), packet, len, 0);
	/* A late copy, when it is over and its owner has not let go yet: usrsctp does not know it any more. */
	if (a->inside && packet[ASSOC_HEADER] == CHUNK_COOKIE_ECHO)
		assoc_refuse(a->inside);
	assoc_mark(a);
}

/* --------------------------------------------------------- begin, and state */

/* From usrsctp, without its locks: in input, in timers. */
static void
upcall(struct socket *so, void *arg, int flags)
{
	(void)so, (void)flags;
	assoc_mark(arg);
}

static struct assoc *
assoc_new(uint64_t id, const struct assoc_settings *settings, const struct assoc_events *ev, void *arg)
{
	struct assoc *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->id = id;
	a->ev = ev;
	a->arg = arg;
	a->packet = settings->packet;
	a->heartbeat_ms = settings->heartbeat_ms;
	list_init(&a->changed);
	return a;
}

int
assoc_dial(struct loop *l, const struct assoc_settings *settings, const struct assoc_events *ev, void *arg, struct assoc **ret)
{
	struct assoc_home *h = assoc_home(l);
	struct sockaddr_conn end = { .sconn_family = AF_CONN };
	struct assoc *a;
	int r = -ENOMEM;

	if (!h)
		return -ENOMEM;
	a = assoc_new(assoc_next_id(), settings, ev, arg);
	if (!a)
		return -ENOMEM;
	assoc_wake(h);
	if (assoc_enter(h, a) < 0) {
		free(a);
		return -ENOMEM;
	}
	a->so = usrsctp_socket(AF_CONN, SOCK_STREAM, IPPROTO_SCTP, NULL, NULL, 0, NULL);
	if (!a->so)
		goto fail;
	r = assoc_configure(a->so, settings);
	if (r < 0)
		goto fail;
	end.sconn_addr = assoc_address(a->id);
	if (usrsctp_set_non_blocking(a->so, 1) < 0 || usrsctp_set_upcall(a->so, upcall, a) < 0 ||
	    usrsctp_bind(a->so, (struct sockaddr *)&end, sizeof(end)) < 0) {
		r = -errno;
		goto fail;
	}
	end.sconn_port = htons(ASSOC_PORT);
	if (usrsctp_connect(a->so, (struct sockaddr *)&end, sizeof(end)) < 0 && errno != EINPROGRESS) {
		r = -errno;
		goto fail;
	}
	r = configure_path(a->so, settings);
	if (r < 0)
		goto fail;
	*ret = a;
	return 0;
fail:
	assoc_free(a);
	return r;
}

/* The association that this packet made, if it made one. */
static int
take(struct assoc_home *h, struct socket *listener, const struct assoc_settings *settings, uint64_t id, const struct assoc_events *ev,
    void *arg, struct assoc **ret)
{
	struct sockaddr_conn from = { 0 };
	socklen_t len = sizeof(from);
	struct socket *so = usrsctp_accept(listener, (struct sockaddr *)&from, &len);
	struct assoc *a;

	/* What was not taken at once by whom it is for is nobody's. */
	while (so && (uint64_t)(uintptr_t)from.sconn_addr != id) {
		usrsctp_close(so);
		len = sizeof(from);
		so = usrsctp_accept(listener, (struct sockaddr *)&from, &len);
	}
	if (!so)
		return 0;
	a = assoc_new(id, settings, ev, arg);
	if (!a || assoc_enter(h, a) < 0) {
		usrsctp_close(so);
		free(a);
		return -ENOMEM;
	}
	a->so = so;
	a->inside = assoc_inside(id);
	a->state = ASSOC_UP;
	if (usrsctp_set_non_blocking(so, 1) < 0 || assoc_configure(so, settings) < 0 || usrsctp_set_upcall(so, upcall, a) < 0) {
		assoc_free(a);
		return -ENOMEM;
	}
	assoc_mark(a);
	*ret = a;
	return 1;
}

int
assoc_stranger(struct loop *l, const struct assoc_settings *settings, uint64_t id, const struct assoc_events *ev, void *arg,
    uint8_t *packet, size_t len, struct assoc **ret)
{
	struct assoc_home *h = assoc_home(l);
	struct socket *listener;
	int r;

	if (!h)
		return -ENOMEM;
	id &= ~(UINT64_C(1) << 63);
	if (id == 0 || assoc_is_taken(id) || !assoc_enter_port(packet, assoc_inside(id)))
		return 0;
	assoc_wake(h);
	listener = assoc_listener(assoc_inside(id), settings);
	if (!listener)
		return -ENOMEM;
	assoc_divert(id, ev, arg);
	usrsctp_conninput(assoc_address(id), packet, len, 0);
	r = take(h, listener, settings, id, ev, arg, ret);
	assoc_divert(0, NULL, NULL);
	return r;
}

void
assoc_set_events(struct assoc *a, const struct assoc_events *ev, void *arg)
{
	a->ev = ev;
	a->arg = arg;
}

static void
break_off(struct assoc *a, int error)
{
	a->over = true;
	if (a->state == ASSOC_BROKEN)
		return;
	a->state = ASSOC_BROKEN;
	/* So it says when nobody has answered any more. */
	a->error = error == -ECONNABORTED ? -ETIMEDOUT : error;
}

static void
notified(struct assoc *a, const union sctp_notification *n)
{
	if (n->sn_header.sn_type == SCTP_SHUTDOWN_EVENT && a->state == ASSOC_UP)
		a->state = ASSOC_ENDED;
	if (n->sn_header.sn_type != SCTP_ASSOC_CHANGE)
		return;
	switch (n->sn_assoc_change.sac_state) {
	case SCTP_COMM_UP:
		if (a->state == ASSOC_DIALLING)
			a->state = ASSOC_UP;
		break;
	case SCTP_RESTART:
		/* What either end has taken so far the other does not know any more. */
		a->restarted = true;
		break_off(a, -ECONNRESET);
		break;
	case SCTP_SHUTDOWN_COMP:
		a->over = true;
		if (a->state == ASSOC_UP)
			a->state = ASSOC_ENDED;
		break;
	default:
		/* Its reason comes with the next read. */
		break;
	}
}

/* One message, or a part of it: as recv, into buf, or what is no data is dealt with. 0: nothing, or state says why. */
static size_t
receive(struct assoc *a, void *buf, size_t len)
{
	/* The end of what was sent is told before that of the association. */
	while (a->state < ASSOC_BROKEN && !a->over) {
		struct sctp_rcvinfo info;
		socklen_t from_len = 0, info_len = sizeof(info);
		unsigned type = SCTP_RECVV_NOINFO;
		int flags = 0;
		ssize_t n = usrsctp_recvv(a->so, buf, len, NULL, &from_len, &info, &info_len, &type, &flags);

		if (n > 0 && !(flags & MSG_NOTIFICATION))
			return (size_t)n;
		if (n > 0) {
			union sctp_notification note;

			memset(&note, 0, sizeof(note));
			memcpy(&note, buf, (size_t)n < sizeof(note) ? (size_t)n : sizeof(note));
			notified(a, &note);
			continue;
		}
		if (n == 0) {
			a->over = true;
			if (a->state == ASSOC_UP)
				a->state = ASSOC_ENDED;
			else if (a->state == ASSOC_DIALLING)
				break_off(a, -ECONNRESET);
		} else if (errno != EWOULDBLOCK && errno != EAGAIN && !(errno == ENOTCONN && a->state == ASSOC_DIALLING)) {
			if (a->state == ASSOC_ENDED)
				a->over = true;
			else
				break_off(a, -errno);
		}
		break;
	}
	return 0;
}

/* Data ahead, or all that there is to know. */
static void
look_ahead(struct assoc *a)
{
	if (a->ahead_len > 0)
		return;
	a->ahead_at = 0;
	a->ahead_len = receive(a, a->ahead, sizeof(a->ahead));
}

enum assoc_state
assoc_state(struct assoc *a)
{
	look_ahead(a);
	return a->state;
}

int
assoc_error(const struct assoc *a)
{
	return a->error;
}

bool
assoc_restarted(const struct assoc *a)
{
	return a->restarted;
}

bool
assoc_is_over(struct assoc *a)
{
	look_ahead(a);
	return a->over;
}

/* ------------------------------------------------------------------- bytes */

bool
assoc_readable(struct assoc *a)
{
	look_ahead(a);
	return a->ahead_len > 0 || a->state >= ASSOC_ENDED;
}

ssize_t
assoc_read(struct assoc *a, void *buf, size_t len)
{
	size_t done = 0;

	assoc_wake(a->home);
	while (done < len) {
		size_t n;

		/* A notification must find room for all of it. */
		if (a->ahead_len == 0 && len - done >= AHEAD_BYTES) {
			n = receive(a, (uint8_t *)buf + done, len - done);
			if (n == 0)
				break;
			done += n;
			continue;
		}
		look_ahead(a);
		n = a->ahead_len < len - done ? a->ahead_len : len - done;
		if (n == 0)
			break;
		memcpy((uint8_t *)buf + done, a->ahead + a->ahead_at, n);
		a->ahead_at += n;
		a->ahead_len -= n;
		done += n;
	}
	if (done > 0)
		return (ssize_t)done;
	return a->state == ASSOC_BROKEN ? a->error : a->state == ASSOC_ENDED ? 0 : -EAGAIN;
}

bool
assoc_writable(struct assoc *a)
{
	return a->state == ASSOC_UP && (usrsctp_get_events(a->so) & SCTP_EVENT_WRITE);
}

/* Up to max bytes of iov, from byte skip on, in one place: there, or copied. */
static const uint8_t *
gather(struct assoc_home *h, const struct iovec *iov, int n, size_t skip, size_t max, size_t *ret_len)
{
	size_t len = 0;

	for (int i = 0; i < n && len < max; i++) {
		size_t there = iov[i].iov_len, take_len;

		if (skip >= there) {
			skip -= there;
			continue;
		}
		there -= skip;
		if (len == 0 && there >= DIRECT_MIN) {
			*ret_len = there < max ? there : max;
			return (const uint8_t *)iov[i].iov_base + skip;
		}
		take_len = there < max - len ? there : max - len;
		memcpy(h->piece + len, (const uint8_t *)iov[i].iov_base + skip, take_len);
		len += take_len;
		skip = 0;
	}
	*ret_len = len;
	return h->piece;
}

ssize_t
assoc_writev(struct assoc *a, const struct iovec *iov, int n)
{
	size_t done = 0, max = ASSOC_PIECE;

	look_ahead(a);
	if (a->state == ASSOC_BROKEN)
		return a->error;
	if (a->state == ASSOC_ENDED)
		return -EPIPE;
	assoc_wake(a->home);
	for (;;) {
		struct sctp_sndinfo info = { 0 };
		size_t len;
		const uint8_t *piece = gather(a->home, iov, n, done, max, &len);
		ssize_t r;

		if (len == 0)
			break;
		r = usrsctp_sendv(a->so, piece, len, NULL, 0, &info, sizeof(info), SCTP_SENDV_SNDINFO, 0);
		if (r > 0) {
			done += (size_t)r;
			a->written += (size_t)r;
			continue;
		}
		if (r < 0 && errno != EWOULDBLOCK && errno != EAGAIN && errno != EMSGSIZE) {
			if (done > 0)
				break; /* the next read or write finds out */
			/* Why, the next read knows; here it only fails. */
			return errno == ENOENT || errno == ENOTCONN ? -ECONNRESET : -errno;
		}
		if (len < PIECE_MIN)
			break;
		max = len / 2;
	}
	return (ssize_t)done;
}

static bool
status(struct assoc *a, struct sctp_status *ret)
{
	socklen_t len = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return usrsctp_getsockopt(a->so, IPPROTO_SCTP, SCTP_STATUS, ret, &len) == 0;
}

size_t
assoc_pending(struct assoc *a)
{
	struct sctp_status st;
	size_t unsent = a->written > a->sent ? (size_t)(a->written - a->sent) : 0;

	if (a->state != ASSOC_UP || !status(a, &st))
		return 0;
	/* How long the chunks are that are under way is not told: as long as others. */
	return unsent + (a->chunks > 0 ? (size_t)(st.sstat_unackdata * (a->sent / a->chunks)) : 0);
}

void
assoc_stats(struct assoc *a, struct assoc_stats *ret)
{
	struct sctp_status st;

	*ret = (struct assoc_stats){ .packet = a->packet, .retransmissions = a->retransmissions };
	if (status(a, &st))
		ret->rtt_ms = st.sstat_primary.spinfo_srtt;
}

/* --------------------------------------------------------------------- end */

void
assoc_shutdown(struct assoc *a)
{
	assoc_wake(a->home);
	a->is_ending = true;
	if (usrsctp_shutdown(a->so, SHUT_WR) < 0)
		a->over = true;
}

void
assoc_free(struct assoc *a)
{
	if (!a)
		return;
	assoc_wake(a->home);
	if (a->so) {
		usrsctp_set_upcall(a->so, NULL, NULL);
		usrsctp_close(a->so);
	}
	assoc_leave(a);
	free(a);
}
