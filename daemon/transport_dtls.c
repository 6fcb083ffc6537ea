/*
 * transport_dtls: SCTP packets as records of DTLS 1.2 in UDP datagrams (RFC
 * 8261). Streams are transport_sctp's; here is what stands between an
 * association and its datagrams: the handshake, who the other side is, records;
 * and strangers, of whom nothing is kept until they have shown that they get our
 * answers.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "socket.h"
#include "transport_judge.h"
#include "transport_sctp_internal.h"
#include "transport_shaker.h"

#define WAITING_BYTES 16384 /* of datagrams, until they are looked at; what is more is lost */
#define IN_VAIN_MAX 3       /* answers in a row, each to something else that was sent: it is gone */

struct dtls {
	struct stream *s;
	struct tls *tls; /* NULL while the worker has it */
	struct shaker_job *job;
	struct transport_security security; /* holds a reference of the context until the handshake is over */
	uint32_t mtu;
	bool is_dialled, is_over; /* the handshake */
	bool goes_on; /* there is more to be done, without another datagram */
	bool has_waited;
	bool has_heard; /* a packet */
	uint8_t random[TLS_RANDOM]; /* of the hello that began it, of an accepted one */
	uint64_t id;                /* of an association that comes */
	uint16_t port;              /* of SCTP, its */
	uint8_t *waiting; /* WAITING_BYTES: datagrams, each behind its length in two bytes */
	size_t waiting_len;
	unsigned in_vain;
	bool has_sent; /* since the last such answer */
	struct loop_timer wait, deadline;
	struct loop_call call; /* the next turn */
};

static struct stream *
of_node(struct mux_node *n)
{
	return list_entry(n, struct stream, node);
}

static struct dtls *
of(struct transport *t)
{
	return ((struct stream *)(void *)t)->dtls;
}

/* ------------------------------------------------------------------- output */

/* What waits in the output; and how long it waits for an answer. */
static void
flush(struct dtls *d)
{
	struct mux_node *n = &d->s->node;
	const uint8_t *data;
	uint64_t ms;
	size_t len;

	while ((data = tls_next(d->tls, &len)))
		if (n->mux)
			mux_send(n->mux, &n->far.address, data, len);
	if (!tls_wait_changed(d->tls, &ms))
		return;
	loop_timer_stop(&d->wait);
	if (ms > 0)
		loop_timer_start(&d->wait, ms);
}

void
dtls_output(struct stream *s, const uint8_t *packet, size_t len)
{
	struct dtls *d = s->dtls;

	if (!d->tls)
		return;
	tls_seal_packet(d->tls, packet, len);
	d->has_sent = true;
	flush(d);
}

/* ----------------------------------------------------------------- identity */

static void
dtls_identity(struct transport *t, struct transport_identity *ret)
{
	struct dtls *d = of(t);
	union resolve_address a = d->s->node.far.address;

	resolve_unmap(&a);
	resolve_identity(&a, "dtls-sctp", ret);
	if (!d->tls)
		return;
	ret->tls = *tls_peer(d->tls);
	ret->tired = tls_tired(d->tls);
}

static bool
check(void *arg, const struct tls_peer *peer, char why[static TLS_TEXT_MAX])
{
	struct dtls *d = arg;

	return transport_judge(&(struct transport_judging){ &d->s->t, &d->security }, peer, why);
}

static bool
dtls_recheck(struct transport *t, const struct transport_security *security, char why[static TRANSPORT_TEXT_MAX])
{
	struct dtls *d = of(t);

	return d->tls && tls_recheck(d->tls, security->context, transport_judge, &(struct transport_judging){ t, security }, why);
}

static void
dtls_path(struct transport *t, struct transport_path *ret)
{
	stream_path(t, ret);
	if (ret->mtu > 0)
		ret->mtu = of(t)->mtu;
}

/* ---------------------------------------------------------- the association */

static void
get_settings(const struct dtls *d, struct assoc_settings *ret)
{
	stream_settings(d->s->node.mux, ret);
	ret->packet = (uint32_t)tls_packet_max(d->tls);
}

static void
drop_security(struct dtls *d)
{
	tls_context_unref(d->security.context);
	d->security.context = NULL;
}

/* It is there: the one that the other side began. */
static void
rise(struct stream *s, struct assoc *a)
{
	s->assoc = a;
	s->state = UP;
	s->t.awaits_up = false;
	loop_timer_stop(&s->dtls->deadline);
	s->t.ev->up(s->t.arg);
}

/* Of an accepted stream that has no association yet. */
static void
begin_association(struct dtls *d, const struct assoc_packet *k, uint8_t *packet, size_t len)
{
	struct stream *s = d->s;
	struct assoc_settings settings;
	struct assoc *a;
	int r;

	if (!k->is_initial || k->to_port != ASSOC_PORT)
		return;
	get_settings(d, &settings);
	r = assoc_stranger(s->loop, &settings, d->id, &stream_assoc_events, s, packet, len, &a);
	if (r < 0)
		stream_fail(s, DOWN, r, NULL);
	if (r <= 0)
		return;
	d->port = k->from_port;
	rise(s, a);
}

/* One record holds one packet. */
static void
take_packet(struct dtls *d, uint8_t *packet, size_t len)
{
	struct stream *s = d->s;
	struct assoc_packet k;

	d->in_vain = 0;
	s->refusals = 0;
	if (!assoc_packet_parse(packet, len, &k))
		return;
	d->has_heard = true;
	if (!s->assoc && s->state == SHAKING)
		begin_association(d, &k, packet, len);
	/* Other ports would be other associations, and there is to be one. */
	else if (s->assoc && k.from_port == d->port && (d->is_dialled != (k.to_port == ASSOC_PORT)))
		assoc_input(s->assoc, packet, len);
}

/* The other side has no more use for it. What is left to be read goes first, and what the association says of its end. */
static void
gone(struct stream *s, int error, const char *text)
{
	switch (s->state) {
	case UP:
		if (!assoc_readable(s->assoc))
			stream_fail(s, BROKEN, error, text);
		break;
	case DRAINING:
		stream_cut(s);
		break;
	case CONNECTING:
	case SHAKING:
		stream_fail(s, DOWN, error, text);
		break;
	default:
		break;
	}
}

static void
open_datagram(struct dtls *d, const uint8_t *data, size_t len)
{
	uint8_t *packet;
	size_t packet_len;
	enum tls_result r;

	while ((r = tls_open_packet(d->tls, data, len, &packet, &packet_len)) == TLS_READY) {
		take_packet(d, packet, packet_len);
		/* It may have ended meanwhile. */
		if (!d->tls)
			return;
		data = NULL;
		len = 0;
	}
	flush(d);
	if (r == TLS_END)
		gone(d->s, -ECONNRESET, "closed by the other side");
	else if (r != TLS_MORE)
		gone(d->s, tls_error(d->tls), tls_why(d->tls));
}

/* ------------------------------------------------------------ the handshake */

static bool
shakes(const struct dtls *d)
{
	return !d->is_over && (d->s->state == SHAKING || (d->s->state == CONNECTING && d->s->dial));
}

static void
tell_cost(struct dtls *d, uint64_t ns)
{
	const struct transport *t = &d->s->t;

	if (!d->is_dialled && t->ev->shaken)
		t->ev->shaken(t->arg, ns);
}

static void
free_waiting(struct dtls *d)
{
	free(d->waiting);
	d->waiting = NULL;
	d->waiting_len = 0;
}

/* The handshake is over; the association's begins. */
static void
shaken(struct dtls *d)
{
	struct stream *s = d->s;
	uint8_t *in = d->waiting;
	size_t len = d->waiting_len;

	d->waiting = NULL;
	d->waiting_len = 0;

	d->is_over = true;
	drop_security(d);
	if (d->is_dialled) {
		struct assoc_settings settings;
		int r;

		get_settings(d, &settings);
		d->port = ASSOC_PORT;
		r = assoc_dial(s->loop, &settings, &stream_assoc_events, s, &s->assoc);
		if (r < 0) {
			stream_fail(s, DOWN, r, NULL);
			len = 0;
		}
	}
	/* What came behind it. */
	for (size_t at = 0, n; at < len && d->tls; at += 2 + n) {
		n = (size_t)in[at] << 8 | in[at + 1];
		open_datagram(d, in + at + 2, n);
	}
	free(in);
}

/* A turn is over. */
static void
turned(struct dtls *d, enum tls_result r)
{
	switch (r) {
	case TLS_READY:
		shaken(d);
		break;
	case TLS_AGAIN:
	case TLS_MORE:
		d->goes_on = r == TLS_AGAIN;
		if (d->goes_on || d->waiting_len > 0)
			loop_defer(d->s->loop, &d->call);
		break;
	default:
		stream_fail(d->s, DOWN, tls_error(d->tls), tls_why(d->tls));
	}
}

/* What the worker did not come to is in front of what has come meanwhile, as far as there is room. */
static void
put_back(struct dtls *d, const struct shaker_job *j, uint8_t *in)
{
	size_t len = j->len - j->used, n = d->waiting_len <= WAITING_BYTES - len ? d->waiting_len : 0;

	if (len > 0) {
		memmove(in, in + j->used, len);
		if (n > 0)
			memcpy(in + len, d->waiting, n);
		free(d->waiting);
		d->waiting = in;
		d->waiting_len = len + n;
	} else {
		free(in);
	}
}

static void
told(struct shaker_job *j)
{
	struct dtls *d = j->owner;
	enum tls_result r = j->result;
	uint8_t *in = j->in;

	d->tls = j->tls;
	j->tls = NULL;
	j->in = NULL;
	/* It may be too late: `down` has been told, or will be. */
	if (!shakes(d)) {
		free(in);
		return;
	}
	if (d->has_waited)
		tls_waited(d->tls);
	d->has_waited = false;
	if (r == TLS_JUDGE)
		r = tls_judge(d->tls);
	flush(d);
	tell_cost(d, j->ns);
	put_back(d, j, in);
	turned(d, r);
}

static void
lend(struct dtls *d)
{
	uint8_t *in = d->waiting;

	*d->job = (struct shaker_job){ .owner = d, .tls = d->tls, .in = in, .is_datagrams = true, .len = d->waiting_len, .told = told };
	d->tls = NULL;
	d->waiting = NULL;
	d->waiting_len = 0;
	d->goes_on = false;
	shaker_lend(d->s->loop, d->job);
}

static void
shake(struct dtls *d)
{
	const struct transport *t = &d->s->t;

	if (!shakes(d) || !d->tls || !d->s->reading || (!d->goes_on && d->waiting_len == 0))
		return;
	if (!d->is_dialled && t->ev->may_shake && !t->ev->may_shake(t->arg))
		return;
	lend(d);
}

void
dtls_wanted(struct stream *s)
{
	if (s->reading)
		loop_defer(s->loop, &s->dtls->call);
}

static void
on_turn(void *arg)
{
	shake(arg);
}

/* No answer came: what has to be is sent again. That costs little. */
static void
on_wait(void *arg)
{
	struct dtls *d = arg;
	enum tls_result r;
	size_t used;

	if (!shakes(d))
		return;
	if (!d->tls) {
		d->has_waited = true;
		return;
	}
	tls_waited(d->tls);
	/* What is to be done next sends it, too. */
	if (d->goes_on || d->waiting_len > 0)
		return;
	r = tls_step(d->tls, NULL, 0, &used);
	flush(d);
	if (r != TLS_MORE)
		turned(d, r == TLS_JUDGE ? TLS_AGAIN : r);
}

static void
on_deadline(void *arg)
{
	struct dtls *d = arg;

	if (d->s->state == SHAKING)
		stream_fail(d->s, DOWN, -ETIMEDOUT, d->is_over ? "no association in time" : "DTLS handshake timed out");
}

/* A datagram of the handshake; what there is no room for is lost. */
static void
wait_for_turn(struct dtls *d, const uint8_t *data, size_t len)
{
	uint8_t *to;

	if (!d->waiting)
		d->waiting = malloc(WAITING_BYTES);
	if (!d->waiting || d->waiting_len + 2 + len > WAITING_BYTES)
		return;
	to = d->waiting + d->waiting_len;
	to[0] = (uint8_t)(len >> 8);
	to[1] = (uint8_t)len;
	memcpy(to + 2, data, len);
	d->waiting_len += 2 + len;
}

/* -------------------------------------------------------------------- input */

/*
 * The other side says that it cannot open what we send: it has begun anew, and
 * knows nothing of us. Anybody can say so: it counts once for each time that
 * something was sent, and any sound record takes it back.
 */
static void
note_in_vain(struct dtls *d)
{
	if (!d->is_dialled || !d->is_over || !d->has_sent)
		return;
	d->has_sent = false;
	if (++d->in_vain >= IN_VAIN_MAX)
		gone(d->s, -ECONNRESET, "the other side is gone");
}

static void
input(struct mux_node *n, uint8_t *data, size_t len)
{
	struct dtls *d = of_node(n)->dtls;
	uint8_t random[TLS_RANDOM];

	if (tls_is_in_vain(data, len)) {
		note_in_vain(d);
		return;
	}
	if (tls_is_hello(data, len, random)) {
		if (d->is_dialled)
			return;
		if (memcmp(random, d->random, sizeof(random)) != 0) {
			mux_again(n, data, len);
			return;
		}
		/* A copy of what began this one. */
		if (d->is_over)
			return;
	}
	if (shakes(d)) {
		wait_for_turn(d, data, len);
		shake(d);
	} else if (d->is_over && d->tls) {
		open_datagram(d, data, len);
	}
}

static bool
sort(uint8_t *data, size_t len, uint16_t *ret_port)
{
	*ret_port = 0;
	return tls_is_datagram(data, len);
}

/* ----------------------------------------------------------------- strangers */

static void
init(struct dtls *d, struct stream *s, const struct transport_security *security, bool is_dialled)
{
	*d = (struct dtls){ .s = s, .is_dialled = is_dialled, .security = *security };
	tls_context_ref(security->context);
	loop_timer_init(&d->wait, s->loop, on_wait, d);
	loop_timer_init(&d->deadline, s->loop, on_deadline, d);
	loop_call_init(&d->call, on_turn, d);
	s->dtls = d;
}

/* NULL: out of memory. */
static struct stream *
stream_new(struct loop *l, const struct transport_security *security, bool is_dialled)
{
	struct stream *s = stream_make(l, &transport_dtls);
	struct dtls *d = s ? malloc(sizeof(*d)) : NULL;

	if (!d) {
		free(s);
		return NULL;
	}
	init(d, s, security, is_dialled);
	return s;
}

/* Not told to anybody yet. */
static void
stream_free(struct stream *s)
{
	drop_security(s->dtls);
	free(s->dtls->job);
	free(s->dtls);
	free(s);
}

/* Somebody else is there now, from where this one was. */
static void
replace(struct stream *s)
{
	stream_note_spent(s);
	if (s->state == DRAINING) {
		stream_cut(s);
		return;
	}
	mux_leave(&s->node);
	if (s->state == UP || s->state == SHAKING)
		stream_fail(s, s->state == UP ? BROKEN : DOWN, -ECONNRESET, "restarted by the other side");
}

/* It begins with the time, so of its end. */
static uint32_t
tag_of(const uint8_t random[static TLS_RANDOM])
{
	uint32_t tag;

	memcpy(&tag, random + TLS_RANDOM - sizeof(tag), sizeof(tag));
	return tag;
}

/* The spare has become a stream's. */
static void
accept_stream(struct listener *tl, const struct mux_far *far, uint64_t hash, const uint8_t random[static TLS_RANDOM])
{
	struct loop *l = mux_loop(tl->mux);
	struct mux_node *before = mux_find(tl->mux, far, hash);
	struct stream *s = stream_new(l, &tl->security, false);
	struct dtls *d = s ? s->dtls : NULL;

	if (before)
		replace(of_node(before));
	if (d)
		d->job = calloc(1, sizeof(*d->job));
	if (!d || !d->job || mux_enter(tl->mux, &s->node, far, hash) < 0) {
		if (s)
			stream_free(s);
		tl->failed(tl->arg, -ENOMEM, "out of memory");
		return;
	}
	d->tls = tl->spare;
	tl->spare = NULL;
	tls_set_owner(d->tls, check, d);
	memcpy(d->random, random, TLS_RANDOM);
	s->tag = tag_of(random);
	loop_random(l, &d->id, sizeof(d->id));
	d->mtu = mux_tuning(tl->mux)->mtu;
	d->goes_on = true;
	s->accepted_ms = loop_now_ms(l);
	s->state = SHAKING;
	s->t.awaits_up = true;
	loop_timer_start(&d->deadline, tl->security.handshake_ms);
	loop_defer(l, &d->call);
	tl->accepted(tl->arg, &s->t);
	assert(s->t.ev || s->state >= DRAINING);
}

static void
stranger(struct mux *m, void *listener, const struct mux_far *far, uint64_t hash, uint8_t *data, size_t len)
{
	struct listener *tl = listener;
	uint8_t random[TLS_RANDOM], in_vain[32];
	const uint8_t *out;
	enum tls_result r;
	size_t n;

	if (tls_is_sealed(data, len) && mux_may_answer(m)) {
		mux_send(m, &far->address, in_vain, tls_in_vain(in_vain));
		return;
	}
	if (!tls_is_hello(data, len, random))
		return;
	if (stream_is_spent(mux_loop(m), hash, tag_of(random)) || !mux_may_answer(m))
		return;
	if (!tl->spare)
		tl->spare = tls_new_datagrams(tl->security.context, false, mux_tuning(m)->mtu, NULL, NULL);
	if (!tl->spare) {
		tl->failed(tl->arg, -ENOMEM, "out of memory");
		return;
	}
	r = tls_hello(tl->spare, &hash, sizeof(hash), data, len);
	while ((out = tls_next(tl->spare, &n)))
		mux_send(m, &far->address, out, n);
	if (r == TLS_READY) {
		accept_stream(tl, far, hash, random);
	} else if (r != TLS_MORE) {
		tls_free(tl->spare);
		tl->spare = NULL;
	}
}

const struct mux_kind dtls_kind = { .sort = sort, .input = input, .stranger = stranger, .unreachable = stream_unreachable };

/* --------------------------------------------------------------- come and go */

int
dtls_begin(struct stream *s)
{
	struct dtls *d = s->dtls;

	d->mtu = mux_tuning(s->node.mux)->mtu;
	d->job = calloc(1, sizeof(*d->job));
	d->tls = d->job ? tls_new_datagrams(d->security.context, true, d->mtu, check, d) : NULL;
	if (!d->tls)
		return -ENOMEM;
	d->is_over = false;
	d->goes_on = true;
	loop_defer(s->loop, &d->call);
	return 0;
}

void
dtls_end(struct stream *s)
{
	struct dtls *d = s->dtls;

	loop_timer_stop(&d->wait);
	loop_timer_stop(&d->deadline);
	loop_call_cancel(&d->call);
	/* Of an association the other side knows, by its last packet. */
	if (d->tls && !d->has_heard) {
		tls_close(d->tls);
		flush(d);
		loop_timer_stop(&d->wait);
	}
	d->has_heard = false;
	tls_free(d->tls);
	d->tls = NULL;
	shaker_forget(d->job);
	d->job = NULL;
	free_waiting(d);
	/* Another address may still be tried. */
	if (!s->dial)
		drop_security(d);
}

static int
dtls_connect(struct loop *l, const struct names_url *url, const struct transport_security *security, uint64_t timeout_ms,
    const struct transport_events *ev, void *arg, struct transport **ret)
{
	struct stream *s;
	int r;

	if (!security || !security->context)
		return -EINVAL;
	s = stream_new(l, security, true);
	if (!s)
		return -ENOMEM;
	transport_set_events(&s->t, ev, arg);
	r = stream_dial(s, url, timeout_ms);
	if (r < 0) {
		stream_free(s);
		return r;
	}
	*ret = &s->t;
	return 0;
}

/* ------------------------------------------------------------------ listener */

static struct listener *
listener_of(struct transport_listener *tl)
{
	return (struct listener *)(void *)tl;
}

static void
drop_spare(struct listener *tl)
{
	tls_free(tl->spare);
	tl->spare = NULL;
}

static int
dtls_listen(struct loop *l, const struct names_url *url, const struct transport_security *security, int fd,
    void (*accepted)(void *arg, struct transport *t), void (*failed)(void *arg, int error, const char *text), void *arg,
    struct transport_listener **ret)
{
	struct listener *tl;
	int r;

	if (!security || !security->context)
		return -EINVAL;
	tl = calloc(1, sizeof(*tl));
	if (!tl)
		return -ENOMEM;
	*tl = (struct listener){ .accepted = accepted, .failed = failed, .arg = arg, .security = *security };
	r = listener_make(l, &transport_dtls, &dtls_kind, url, fd, tl);
	if (r < 0) {
		free(tl);
		return r;
	}
	tls_context_ref(security->context);
	*ret = &tl->tl;
	return 0;
}

static void
dtls_listen_security(struct transport_listener *t, const struct transport_security *security)
{
	struct listener *tl = listener_of(t);
	struct tls_context *before = tl->security.context;

	tl->security = *security;
	tls_context_ref(security->context);
	tls_context_unref(before);
	drop_spare(tl);
}

static void
dtls_listen_tune(struct transport_listener *t, const struct transport_tuning *tuning)
{
	listener_tune(t, tuning);
	drop_spare(listener_of(t));
}

static void
dtls_listen_close(struct transport_listener *t)
{
	struct listener *tl = listener_of(t);

	drop_spare(tl);
	tls_context_unref(tl->security.context);
	listener_close(t);
}

const struct transport_ops transport_dtls = {
	.connect = dtls_connect,
	.listen = dtls_listen,
	.read = stream_read,
	.writev = stream_writev,
	.want_read = stream_want_read,
	.out_pending = stream_out_pending,
	.identity = dtls_identity,
	.path = dtls_path,
	.recheck = dtls_recheck,
	.close = stream_close,
	.listen_pause = listener_pause,
	.listen_security = dtls_listen_security,
	.listen_tune = dtls_listen_tune,
	.tune = mux_tune,
	.listen_url = listener_url,
	.listen_close = dtls_listen_close,
};
