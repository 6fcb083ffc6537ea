/*
 * transport_sctp: SCTP associations (assoc) in UDP datagrams (transport_mux;
 * RFC 6951). Here is which packet is of which association, and when an owner is
 * told. What DTLS puts between the two is transport_dtls.c's.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "socket.h"
#include "transport_sctp_internal.h"

#define DISCARD_BYTES 16384
#define DISCARD_ROUNDS 16
#define REFUSALS_MAX 3 /* in a row, of packets to one that was there: it is gone */

static struct stream *
of(struct transport *t)
{
	return (struct stream *)(void *)t;
}

static void
release(void *arg)
{
	free(arg);
}

static void
release_stream(void *arg)
{
	struct stream *s = arg;

	free(s->dtls);
	free(s);
}

void
stream_settings(const struct mux *m, struct assoc_settings *ret)
{
	const struct transport_tuning *t = mux_tuning(m);

	*ret = (struct assoc_settings){ .packet = t->mtu, .buffer = t->buffer, .heartbeat_ms = t->heartbeat_ms,
		.rto_min_ms = t->rto_min_ms, .rto_max_ms = t->rto_max_ms, .retransmissions = t->retransmissions };
}

/* -------------------------------------------------------------- states, call-backs */

/* Offer again what is there in the next pass. */
static void
offer(struct stream *s)
{
	if (s->state == UP && s->reading && assoc_readable(s->assoc))
		loop_timer_start(&s->timer, 0);
}

static void
tell_readable(struct stream *s)
{
	s->in_told = s->in;
	s->t.ev->readable(s->t.arg);
}

void
stream_fail(struct stream *s, enum state state, int error, const char *text)
{
	dial_free(s->dial);
	s->dial = NULL;
	s->state = state;
	s->error = error;
	if (text)
		snprintf(s->text, sizeof(s->text), "%s", text);
	else
		socket_error_text(error, s->text);
	s->in_told = UINT64_MAX;
	loop_timer_stop(&s->timer);
	loop_defer(s->loop, &s->call);
}

/* Why the association is broken, if it says so. */
static const char *
broken_text(const struct stream *s)
{
	if (assoc_restarted(s->assoc))
		return "restarted by the other side";
	return NULL;
}

static void
tell(void *arg)
{
	struct stream *s = arg;

	if (s->state == BROKEN) {
		/* What is left is offered as long as it is taken. */
		if (s->reading && s->in != s->in_told && assoc_readable(s->assoc)) {
			loop_defer(s->loop, &s->call);
			tell_readable(s);
			return;
		}
		s->state = DOWN;
	}
	if (s->state == DOWN)
		s->t.ev->down(s->t.arg, s->error, s->text);
}

static void finish(struct stream *s);

/* A close with input unread would cut what we wrote last. */
static void
discard(struct stream *s)
{
	uint8_t buf[DISCARD_BYTES];
	int i = 0;

	while (i < DISCARD_ROUNDS && assoc_read(s->assoc, buf, sizeof(buf)) > 0)
		i++;
	if (assoc_is_over(s->assoc))
		finish(s);
	else if (i == DISCARD_ROUNDS)
		loop_defer(s->loop, &s->call);
}

static void
on_changed(void *arg)
{
	struct stream *s = arg;

	switch (s->state) {
	case CONNECTING:
		if (assoc_state(s->assoc) == ASSOC_DIALLING)
			return;
		if (assoc_state(s->assoc) == ASSOC_BROKEN) {
			dial_failed(s->dial, assoc_error(s->assoc));
			return;
		}
		dial_free(s->dial);
		s->dial = NULL;
		s->state = UP;
		s->t.ev->up(s->t.arg);
		break;
	case UP:
		break;
	case DRAINING:
		discard(s);
		return;
	default:
		return;
	}
	/* Each call-back may end the stream; its memory outlasts this. */
	if (s->state == UP && s->reading && assoc_readable(s->assoc)) {
		tell_readable(s);
		offer(s);
	}
	if (s->state == UP && s->short_write && assoc_writable(s->assoc)) {
		s->short_write = false;
		s->t.ev->writable(s->t.arg);
	}
}

static void
on_timer(void *arg)
{
	struct stream *s = arg;

	if (s->state == DRAINING) {
		stream_cut(s);
	} else if (s->state == UP && s->reading && assoc_readable(s->assoc)) {
		tell_readable(s);
		offer(s);
	}
}

static void
on_call(void *arg)
{
	struct stream *s = arg;

	if (s->state == DRAINING)
		discard(s);
	else
		tell(s);
}

/* ------------------------------------------------------------------- packets */

static void
output(void *arg, const uint8_t *packet, size_t len)
{
	struct stream *s = arg;

	if (!s->node.mux)
		return;
	if (s->dtls)
		dtls_output(s, packet, len);
	else
		mux_send(s->node.mux, &s->node.far.address, packet, len);
}

const struct assoc_events stream_assoc_events = { .output = output, .changed = on_changed };

/* Somebody whose packet is answered while nothing is known of it. */
struct stranger {
	struct mux *mux;
	const struct mux_far *far;
};

static void
output_to_stranger(void *arg, const uint8_t *packet, size_t len)
{
	struct stranger *st = arg;

	mux_send(st->mux, &st->far->address, packet, len);
}

static void
nothing_changed(void *arg)
{
	(void)arg;
}

static const struct assoc_events stranger_events = { .output = output_to_stranger, .changed = nothing_changed };

static void
accept_stream(struct listener *tl, struct assoc *a, const struct mux_far *far, uint64_t hash, uint32_t tag)
{
	struct loop *l = mux_loop(tl->mux);
	struct stream *s = stream_make(l, &transport_sctp);

	if (!s || mux_enter(tl->mux, &s->node, far, hash) < 0) {
		assoc_free(a);
		free(s);
		tl->failed(tl->arg, -ENOMEM, "out of memory");
		return;
	}
	s->assoc = a;
	s->tag = tag;
	s->accepted_ms = loop_now_ms(l);
	s->state = UP;
	assoc_set_events(a, &stream_assoc_events, s);
	tl->accepted(tl->arg, &s->t);
	assert(s->t.ev || s->state >= DRAINING);
}

static void
stranger(struct mux *m, void *listener, const struct mux_far *far, uint64_t hash, uint8_t *data, size_t len)
{
	struct stranger st = { m, far };
	struct listener *tl = listener;
	struct assoc_settings settings;
	struct assoc_packet packet;
	struct assoc *a;
	int r;

	/* Sorted before, it is sound. */
	if (!assoc_packet_parse(data, len, &packet) || !packet.is_initial || packet.to_port != ASSOC_PORT ||
	    (packet.is_proof && stream_is_spent(mux_loop(m), hash, packet.tag)) || !mux_may_answer(m))
		return;
	stream_settings(m, &settings);
	r = assoc_stranger(mux_loop(m), &settings, hash, &stranger_events, &st, data, len, &a);
	if (r > 0)
		accept_stream(tl, a, far, hash, packet.tag);
	else if (r < 0)
		tl->failed(tl->arg, r, "out of memory");
}

static bool
sort(uint8_t *data, size_t len, uint16_t *ret_port)
{
	struct assoc_packet packet;

	if (!assoc_packet_parse(data, len, &packet))
		return false;
	*ret_port = packet.from_port;
	return true;
}

static struct stream *
of_node(struct mux_node *n)
{
	return list_entry(n, struct stream, node);
}

static void
input(struct mux_node *n, uint8_t *data, size_t len)
{
	struct stream *s = of_node(n);

	s->refusals = 0;
	if (s->assoc)
		assoc_input(s->assoc, data, len);
}

/* Nobody is there, says the host that we dialled. */
void
stream_unreachable(struct mux_node *n, int error)
{
	struct stream *s = of_node(n);

	if (s->state == CONNECTING) {
		dial_failed(s->dial, error);
		return;
	}
	/* It is easily forged, so it must not have been said once only, and by nobody that is heard. */
	if (++s->refusals < REFUSALS_MAX)
		return;
	if (s->state == UP)
		stream_fail(s, DOWN, -ECONNRESET, "the other side is gone");
	else if (s->state == DRAINING)
		stream_cut(s);
}

static const struct mux_kind mux_kind = { .sort = sort, .input = input, .stranger = stranger, .unreachable = stream_unreachable };

/* ------------------------------------------------------------------- bytes */

ssize_t
stream_read(struct transport *t, void *buf, size_t len)
{
	struct stream *s = of(t);
	ssize_t n;

	assert(len > 0);
	if (s->state == DOWN)
		return s->error;
	if (s->state != UP && s->state != BROKEN)
		return -ENOTCONN;
	n = assoc_read(s->assoc, buf, len);
	if (n > 0) {
		s->in += (uint64_t)n;
		return n;
	}
	if (n == -EAGAIN)
		return n;
	if (n == 0)
		stream_fail(s, DOWN, 0, "closed by the other side");
	else
		stream_fail(s, DOWN, (int)n, broken_text(s));
	return n;
}

ssize_t
stream_writev(struct transport *t, const struct iovec *iov, int n)
{
	struct stream *s = of(t);
	size_t all = 0;
	ssize_t done;

	if (s->state == DOWN || s->state == BROKEN)
		return s->error ? s->error : -EPIPE;
	if (s->state != UP)
		return -ENOTCONN;
	for (int i = 0; i < n; i++)
		all += iov[i].iov_len;
	if (all == 0)
		return 0;
	done = assoc_writev(s->assoc, iov, n);
	if (done < 0) {
		stream_fail(s, BROKEN, (int)done, broken_text(s));
		return s->error;
	}
	if ((size_t)done < all)
		s->short_write = true;
	return done;
}

void
stream_want_read(struct transport *t, bool on)
{
	struct stream *s = of(t);

	s->reading = on;
	if (s->state == SHAKING)
		dtls_wanted(s);
	offer(s);
}

size_t
stream_out_pending(struct transport *t)
{
	struct stream *s = of(t);

	return s->state == UP ? assoc_pending(s->assoc) : 0;
}

static void
sctp_identity(struct transport *t, struct transport_identity *ret)
{
	union resolve_address a = of(t)->node.far.address;

	resolve_unmap(&a);
	resolve_identity(&a, "sctp", ret);
}

void
stream_path(struct transport *t, struct transport_path *ret)
{
	struct stream *s = of(t);
	struct assoc_stats st;

	*ret = (struct transport_path){ 0 };
	if (s->state != UP)
		return;
	assoc_stats(s->assoc, &st);
	*ret = (struct transport_path){ .mtu = st.packet, .rtt_us = st.rtt_ms * UINT64_C(1000), .retransmissions = st.retransmissions };
}

/* ---------------------------------------------------------------- come and go */

static void
cut_draining(struct drain *d)
{
	stream_cut(list_entry(d, struct stream, draining));
}

struct stream *
stream_make(struct loop *l, const struct transport_ops *ops)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->t.ops = ops;
	s->loop = l;
	s->reading = true;
	loop_call_init(&s->call, on_call, s);
	loop_timer_init(&s->timer, l, on_timer, s);
	drain_init(&s->draining, cut_draining);
	return s;
}

/* Without a word if the association is over, else it is broken off. */
static void
let_go(struct stream *s)
{
	assoc_free(s->assoc);
	s->assoc = NULL;
	if (s->dtls)
		dtls_end(s);
	if (s->accepted_ms && s->node.mux)
		stream_note_spent(s);
	mux_leave(&s->node);
}

static int
start(void *arg, const union resolve_address *a)
{
	struct stream *s = arg;
	struct assoc_settings settings;
	int r = mux_dial(s->loop, s->dtls ? &dtls_kind : &mux_kind, a, &s->node);

	if (r < 0)
		return r;
	if (s->dtls)
		return dtls_begin(s);
	stream_settings(s->node.mux, &settings);
	return assoc_dial(s->loop, &settings, &stream_assoc_events, s, &s->assoc);
}

static void
drop(void *arg)
{
	let_go(arg);
}

static void
no_answer(void *arg, int error, const char *text)
{
	stream_fail(arg, DOWN, error, text);
}

static const struct dial_ops dial_ops = { .start = start, .drop = drop, .failed = no_answer };

int
stream_dial(struct stream *s, const struct names_url *url, uint64_t timeout_ms)
{
	return dial_new(s->loop, url, timeout_ms, &dial_ops, s, &s->dial);
}

static int
sctp_connect(struct loop *l, const struct names_url *url, const struct transport_security *security, uint64_t timeout_ms,
    const struct transport_events *ev, void *arg, struct transport **ret)
{
	struct stream *s = stream_make(l, &transport_sctp);
	int r;

	(void)security;
	if (!s)
		return -ENOMEM;
	transport_set_events(&s->t, ev, arg);
	r = stream_dial(s, url, timeout_ms);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = &s->t;
	return 0;
}

static void
finish(struct stream *s)
{
	drain_end(&s->draining, s->loop);
	loop_timer_stop(&s->timer);
	dial_free(s->dial);
	s->dial = NULL;
	let_go(s);
	s->state = CLOSED;
	loop_call_cancel(&s->call);
	loop_call_init(&s->call, release_stream, s);
	loop_defer(s->loop, &s->call);
}

void
stream_cut(struct stream *s)
{
	finish(s);
}

/* False if it cannot be: then it is cut. */
static bool
start_draining(struct stream *s)
{
	if (drain_begin(&s->draining, s->loop, s->t.is_stranger) < 0)
		return false;
	s->state = DRAINING;
	assoc_shutdown(s->assoc);
	loop_timer_start(&s->timer, DRAIN_MS);
	/* What was there before is thrown away, too. */
	loop_defer(s->loop, &s->call);
	return true;
}

void
stream_close(struct transport *t, bool drain)
{
	struct stream *s = of(t);

	assert(s->state < DRAINING);
	loop_timer_stop(&s->timer);
	loop_call_cancel(&s->call);
	if (drain && (s->state == UP || (s->state == DOWN && s->error == 0)) && start_draining(s))
		return;
	stream_cut(s);
}

/* ---------------------------------------------------------------- listener */

int
listener_make(struct loop *l, const struct transport_ops *ops, const struct mux_kind *kind, const struct names_url *url, int fd,
    struct listener *tl)
{
	int r = mux_listen(l, kind, url, fd, tl, &tl->mux);

	if (r < 0)
		return r;
	tl->tl.ops = ops;
	loop_call_init(&tl->call, release, tl);
	return 0;
}

static int
sctp_listen(struct loop *l, const struct names_url *url, const struct transport_security *security, int fd,
    void (*accepted)(void *arg, struct transport *t), void (*failed)(void *arg, int error, const char *text), void *arg,
    struct transport_listener **ret)
{
	struct listener *tl = calloc(1, sizeof(*tl));
	int r;

	(void)security;
	if (!tl)
		return -ENOMEM;
	*tl = (struct listener){ .accepted = accepted, .failed = failed, .arg = arg };
	r = listener_make(l, &transport_sctp, &mux_kind, url, fd, tl);
	if (r < 0) {
		free(tl);
		return r;
	}
	*ret = &tl->tl;
	return 0;
}

static struct listener *
listener_of(struct transport_listener *tl)
{
	return (struct listener *)(void *)tl;
}

void
listener_pause(struct transport_listener *tl, bool paused)
{
	mux_pause(listener_of(tl)->mux, paused);
}

void
listener_tune(struct transport_listener *tl, const struct transport_tuning *tuning)
{
	mux_retune(listener_of(tl)->mux, tuning);
}

void
listener_url(struct transport_listener *tl, char buf[static TRANSPORT_TEXT_MAX])
{
	union resolve_address a;
	char text[RESOLVE_TEXT_MAX] = "?";

	if (mux_local(listener_of(tl)->mux, &a))
		resolve_text(&a, true, text);
	snprintf(buf, TRANSPORT_TEXT_MAX, "%s://%s", tl->ops == &transport_dtls ? "dtls-sctp" : "sctp", text);
}

void
listener_close(struct transport_listener *tl)
{
	struct listener *l = listener_of(tl);

	loop_defer(mux_loop(l->mux), &l->call);
	mux_end(l->mux);
}

const struct transport_ops transport_sctp = {
	.connect = sctp_connect,
	.listen = sctp_listen,
	.read = stream_read,
	.writev = stream_writev,
	.want_read = stream_want_read,
	.out_pending = stream_out_pending,
	.identity = sctp_identity,
	.path = stream_path,
	.close = stream_close,
	.listen_pause = listener_pause,
	.listen_tune = listener_tune,
	.tune = mux_tune,
	.listen_url = listener_url,
	.listen_close = listener_close,
};
