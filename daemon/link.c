#include "link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "identity.h"
#include "link_internal.h"

const char *
link_state_name(enum link_state st)
{
	static const char *const names[] = { "idle", "waiting", "dialling", "up", "conflict", "stopped" };

	return names[st];
}

void
link_set_state(struct link *l, enum link_state st, const char *why)
{
	struct core *core = l->core;

	if (l->state == st)
		return;
	log_debug(core->log, l->context, "%s -> %s: %s", link_state_name(l->state), link_state_name(st), why);
	if (core->event && (st == LINK_UP || l->state == LINK_UP || st == LINK_CONFLICT))
		core->event(core->event_arg, "peer", l->name, st == LINK_UP ? "up" : st == LINK_CONFLICT ? "conflict" : "down",
		    why);
	if (l->state == LINK_UP)
		l->down_ms = loop_now_ms(core->loop);
	l->state = st;
	l->since_ms = loop_now_ms(core->loop);
}

void
link_note(struct link *l, const char *trouble, bool by_peer, const char *why)
{
	snprintf(l->last_error, sizeof(l->last_error), "%s", why);
	l->trouble = why[0] ? trouble : NULL;
	l->is_by_peer = by_peer;
}

/* ---------------------------------------------------------------- dialling -- */

static void
dial(void *arg)
{
	struct link *l = arg;
	struct names_url url;
	const char *address = l->peer->address.items[l->next_address];
	int r;

	if (l->live || l->dialling || l->core->stopping || l->draining || l->n_paused > 0)
		return;
	l->next_address = (l->next_address + 1) % l->peer->address.n;
	link_set_state(l, LINK_DIALLING, address);
	r = names_url_parse(address, &url, NULL);
	if (r == 0)
		r = meet_dial(l, &url);
	if (r != 0)
		link_retry(l, WIRE_CLOSE_INTERNAL, false, strerror(-r));
}

/* What an end is called towards programs. */
static const char *
trouble_of(enum wire_close_code code, bool by_peer)
{
	if (by_peer && (code == WIRE_CLOSE_DENIED || code == WIRE_CLOSE_WRONG_NAME))
		return "refused";
	/* What the transport has to say is all there is. */
	return code == WIRE_CLOSE_NORMAL ? "unreachable" : wire_close_name(code);
}

/* That it does not come up is an event, once. */
static void
tell_trouble(struct link *l, const char *why)
{
	struct core *core = l->core;
	bool is_refusal = l->trouble && (strcmp(l->trouble, "refused") == 0 || strcmp(l->trouble, "denied") == 0);

	if (core->event)
		core->event(core->event_arg, "peer", l->name, is_refusal ? "refused" : "failed", why);
}

static void
retry_as(struct link *l, enum wire_close_code code, bool by_peer, const char *trouble, const char *why)
{
	struct core *core = l->core;
	uint64_t random, delay;
	bool conflict = code == WIRE_CLOSE_STATE_CONFLICT, told;
	char kind[24] = "";

	told = strncmp(l->last_error, why, sizeof(l->last_error) - 1) == 0 && l->state != LINK_UP;
	link_note(l, trouble, by_peer, why);
	if (code != WIRE_CLOSE_NORMAL)
		snprintf(kind, sizeof(kind), " (%s)", wire_close_name(code));
	if (l->live || l->dialling || l->n_paused > 0)
		return;
	if (core->stopping || l->draining) {
		link_set_state(l, LINK_STOPPED, why);
		return;
	}
	if (!told && l->state != LINK_UP && !conflict && code != WIRE_CLOSE_DUPLICATE)
		tell_trouble(l, why);
	if (l->peer->address.n == 0) {
		link_set_state(l, conflict ? LINK_CONFLICT : LINK_IDLE, why);
		log_write(core->log, told ? LOG_DEBUG : LOG_WARNING, l->context, "%s%s%s, waiting to be dialled",
		    by_peer ? "closed by the peer: " : "", why, kind);
		return;
	}
	if (l->dial_timer.armed)
		return;
	/* The other addresses first, without a wait between them; after the last one, back off. */
	if (l->next_address != 0 && !conflict && l->state == LINK_DIALLING && !by_peer) {
		delay = 0;
	} else if (conflict) {
		delay = l->peer->backoff_max;
	} else {
		loop_random(core->loop, &random, sizeof(random));
		delay = backoff_next(&l->backoff, random);
	}
	link_set_state(l, conflict ? LINK_CONFLICT : LINK_WAITING, why);
	/* The same trouble again and again is news once. */
	log_write(core->log, told ? LOG_DEBUG : LOG_WARNING, l->context, "%s%s%s, retrying in %llu ms",
	    by_peer ? "closed by the peer: " : "", why, kind, (unsigned long long)delay);
	l->dial_at_ms = loop_now_ms(core->loop) + delay;
	loop_timer_start(&l->dial_timer, delay);
}

void
link_retry_refused(struct link *l, const char *why)
{
	retry_as(l, WIRE_CLOSE_NORMAL, false, "refused", why);
}

void
link_retry(struct link *l, enum wire_close_code code, bool by_peer, const char *why)
{
	retry_as(l, code, by_peer, trouble_of(code, by_peer), why);
}

/* ------------------------------------------------------------ the session -- */

static void
live_end(struct live *live)
{
	struct link *l = live->link;
	struct session_stats st;

	session_stats(live->session, &st);
	l->sent_bytes += st.bytes_out;
	l->received_bytes += st.bytes_in;
	l->received_messages += live->intake.received;
	intake_done(&live->intake);
	if (l->live == live) {
		l->live = NULL;
		outflows_down(l);
	}
}

static void
down(void *arg, enum wire_close_code code, bool by_peer, int error, const char *reason)
{
	struct live *live = arg;
	struct link *l = live->link;
	struct session *s = live->session;
	bool was_live = l->live == live;
	struct state_peer peer = live->peer;
	char why[200];

	(void)error;
	snprintf(why, sizeof(why), "%s", reason);
	live_end(live);
	free(live);
	if (code != WIRE_CLOSE_NORMAL)
		l->core->closed[CORE_CLOSED_PEER][code]++;
	session_free(s);
	if (!was_live)
		return;
	if (code == WIRE_CLOSE_STATE_CONFLICT)
		link_refused(l, &peer);
	backoff_down(&l->backoff, loop_now_ms(l->core->loop));
	if (l->peer_draining)
		backoff_reset(&l->backoff);
	l->peer_draining = false;
	l->next_address = 0;
	link_retry(l, code, by_peer, why);
}

static void
frame(void *arg, const struct wire_frame *f)
{
	struct live *live = arg;
	struct link *l = live->link;
	const char *reason = "a frame out of place";
	enum wire_close_code code = WIRE_CLOSE_PROTOCOL;

	switch (f->kind) {
	case WIRE_OPEN_FLOW:
	case WIRE_SETTLED:
	case WIRE_TRANSFER:
	case WIRE_RESUME:
	case WIRE_ABORT:
		code = intake_frame(&live->intake, f, &reason);
		break;
	case WIRE_FLOW_STATE:
	case WIRE_CONFIRM:
	case WIRE_REJECT:
	case WIRE_CREDIT:
		code = l->live == live ? outflows_frame(l, f, &reason) : WIRE_CLOSE_NORMAL;
		break;
	case WIRE_PROGRESS:
		return; /* told to programs; a link asks for nothing beyond the confirm */
	case WIRE_DRAIN:
		l->peer_draining = true;
		return;
	default:
		break;
	}
	if (code != WIRE_CLOSE_NORMAL)
		session_close(live->session, code, reason);
}

static void
writable(void *arg)
{
	struct live *live = arg;

	if (live->link->live == live)
		outflows_writable(live->link);
}

static const struct session_events events = { .frame = frame, .writable = writable, .down = down };

/* A peer speaks only for itself; how far that can be believed is our own finding. */
static int
check_origin(void *arg, struct wire_bytes value, struct intern_entry **ret)
{
	struct live *live = arg;
	struct core *core = live->link->core;
	struct wire_origin o;

	if (wire_unpack_origin(value, &o) != 0 || !wire_bytes_equal(o.node, wire_string(live->link->name)))
		return -EBADMSG;
	o.proof = session_identity(live->session)->tls.has_certificate ? WIRE_PROOF_TLS : WIRE_PROOF_PLAINTEXT;
	if (wire_size_origin(&o) > CORE_ORIGIN_MAX)
		return -EBADMSG;
	*ret = core_origin(core, &o);
	return *ret ? 0 : -ENOMEM;
}

void
link_cut(struct link *l, enum wire_close_code code, const char *why)
{
	struct live *old = l->live;
	struct session *s = old->session;

	meet_end_probes(l);
	session_discard_input(s);
	live_end(old);
	free(old);
	meet_dismiss(s, code, why);
}

/* The session before ends; nothing it still says counts. */
static void
replace(struct link *l)
{
#ifdef PLANT_TWO_SESSIONS
	l->live = NULL;
	outflows_down(l);
	return;
#endif
	link_cut(l, WIRE_CLOSE_DUPLICATE, "a newer connection takes over");
}

void
link_init_book(struct link *l, struct intake_book *b, const struct state_peer *met)
{
	struct intake_owner owner = { .is_peer = true };

	snprintf(owner.peer, sizeof(owner.peer), "%s", l->name);
	if (met)
		memcpy(owner.store_id, met->store_id, sizeof(owner.store_id));
	intake_book_init(b, &owner, 0);
}

void
link_adopt(struct link *l, struct candidate *c)
{
	struct core *core = l->core;
	struct session *s = c->session;
	const struct wire_hello *h = session_hello(s);
	struct subject who = { .peer = l->name, .unit = "" };
	struct live *live = calloc(1, sizeof(*live));
	struct intake_book *book = &l->book;

	c->session = NULL;
	if (l->dialling == c)
		l->dialling = NULL;
	if (!live) {
		session_free(s);
		link_retry(l, WIRE_CLOSE_INTERNAL, false, "out of memory");
		return;
	}
	if (l->live) {
		meet_end_probes(l);
		replace(l);
#ifdef PLANT_TWO_SESSIONS
		book = &l->second_book;
#endif
	}
	/* Flows of another state folder have no marks, or it would not be here; what is left of their bodies is not its own. */
	if (c->other_folder) {
		intake_book_done(&core->intake, book);
		link_init_book(l, book, &c->peer);
	}
	memcpy(book->owner.store_id, c->peer.store_id, sizeof(book->owner.store_id));
	*live = (struct live){ .link = l, .session = s, .dialled = c->dialled, .nonce = c->nonce, .peer = c->peer,
		.decision = c->decision, .denied = { .log = core->log, .context = l->context } };
	l->live = live;
	session_set_owner(s, &events, live);
	session_set_origin_filter(s, check_origin);
	session_open(s);
	intake_init(&live->intake, &core->intake, book, s, &who, NULL, core->session_window, &live->denied);
	loop_timer_stop(&l->dial_timer);
	backoff_up(&l->backoff, loop_now_ms(core->loop));
	l->peer_draining = false;
	l->next_address = 0;
	link_note(l, NULL, false, "");
	l->is_refused = l->awaits_adopted = false;
	l->connects++;
	if (session_identity(s)->tls.has_certificate)
		loop_timer_start(&l->key_timer, LINK_KEY_MS);
	log_info(core->log, l->context, "up: %s %s, %.*s, start %u", live->dialled ? "dialled" : "accepted",
	    session_identity(s)->address, (int)h->software.len, (const char *)h->software.data, h->start_count);
	link_set_state(l, LINK_UP, session_identity(s)->address);
	outflows_up(l, &h->limits);
	meet_settle(l);
}

/* -------------------------------------------------------------------- link -- */

struct link *
link_new(struct core *core, const struct conf_peer *peer, const char *name)
{
	struct link *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->core = core;
	l->peer = peer;
	snprintf(l->name, sizeof(l->name), "%s", name);
	snprintf(l->context, sizeof(l->context), "peer %s", name);
	l->decides = strcmp(core->node->name, name) < 0;
	l->state = LINK_IDLE;
	l->since_ms = l->down_ms = loop_now_ms(core->loop);
	list_init(&l->candidates);
	backoff_init(&l->backoff, peer->backoff_min, peer->backoff_max);
	loop_timer_init(&l->dial_timer, core->loop, dial, l);
	loop_timer_init(&l->key_timer, core->loop, link_look_at_key, l);
	link_init_book(l, &l->book, state_met(core->state, name));
#ifdef PLANT_TWO_SESSIONS
	link_init_book(l, &l->second_book, NULL);
#endif
	if (outflows_init(l) < 0) {
		free(l);
		return NULL;
	}
	return l;
}

void
link_start(struct link *l)
{
	if (l->peer->address.n > 0)
		loop_timer_start(&l->dial_timer, 0);
}

void
link_free(struct link *l)
{
	if (!l)
		return;
	link_change_done(l);
	meet_end_all(l);
	if (l->live) {
		struct live *live = l->live;
		struct session *s = live->session;

		live_end(live);
		free(live);
		session_free(s);
	}
	outflows_done(l);
	loop_timer_stop(&l->dial_timer);
	loop_timer_stop(&l->key_timer);
	intake_book_done(&l->core->intake, &l->book);
	free(l);
}

void
link_note_refused(struct link *l, const char *why)
{
	if (!l->live)
		link_note(l, "denied", false, why);
}

struct intake_book *
link_book(struct link *l)
{
	return &l->book;
}

const char *
link_name(const struct link *l)
{
	return l->name;
}

void
link_accept(struct link *l, struct session *s, const struct wire_hello *hello)
{
	meet_accept(l, s, hello);
}

void
link_drain(struct link *l)
{
	struct wire_frame f = { .kind = WIRE_DRAIN };

	l->draining = true;
	loop_timer_stop(&l->dial_timer);
	meet_end_all(l);
	if (l->live)
		session_send(l->live->session, &f);
}

void
link_synced(struct link *l)
{
	outflows_synced(l);
}

bool
link_is_drained(const struct link *l)
{
	return !l->live || outflows_memory(l) == 0;
}

void
link_close(struct link *l, enum wire_close_code code, const char *reason)
{
	l->draining = true;
	loop_timer_stop(&l->dial_timer);
	meet_end_all(l);
	if (l->live) {
		intake_flush(&l->live->intake);
		session_close(l->live->session, code, reason);
	}
}

/* "tcp" of "tcp://127.0.0.1:7140". */
static const char *
scheme_name(const char *address)
{
	for (int i = 0; i < NAMES_SCHEMES; i++) {
		const char *name = names_scheme_name((enum names_scheme)i);
		size_t len = strlen(name);

		if (strncmp(address, name, len) == 0 && strncmp(address + len, "://", 3) == 0)
			return name;
	}
	return "";
}

static void
proof_stats(const struct link *l, const struct transport_identity *id, struct link_stats *ret)
{
	const struct tls_peer *p = &id->tls;

	ret->transport = scheme_name(id->address);
	ret->proof = identity_proof(l->peer, l->core->node->ca != NULL);
	if (!p->has_certificate)
		return;
	snprintf(ret->version, sizeof(ret->version), "%s", p->version);
	snprintf(ret->cipher, sizeof(ret->cipher), "%s", p->cipher);
	pin_text(p->certificate.key, ret->key);
	ret->not_after = p->certificate.not_after;
}

void
link_stats(const struct link *l, struct link_stats *ret)
{
	uint64_t now = loop_now_ms(l->core->loop);

	*ret = (struct link_stats){
		.state = l->state,
		.transport = "",
		.proof = "",
		.since_ms = l->since_ms,
		.sent_messages = l->sent_here,
		.received_messages = l->received_messages,
		.sent_bytes = l->sent_bytes,
		.received_bytes = l->received_bytes,
		.connects = l->connects,
	};
	snprintf(ret->last_error, sizeof(ret->last_error), "%s", l->last_error);
	if (l->dial_timer.armed && l->dial_at_ms > now)
		ret->retry_in_ms = l->dial_at_ms - now;
	outflows_stats(l, &ret->waiting, &ret->unconfirmed);
	if (l->peer->address.n > 0)
		snprintf(ret->address, sizeof(ret->address), "%s", l->peer->address.items[0]);
	if (l->live) {
		const struct wire_hello *h = session_hello(l->live->session);
		struct session_stats st;

		session_stats(l->live->session, &st);
		ret->sent_bytes += st.bytes_out;
		ret->received_bytes += st.bytes_in;
		ret->received_messages += l->live->intake.received;
		ret->dialled_by_me = l->live->dialled;
		ret->start_count = h->start_count;
		proof_stats(l, session_identity(l->live->session), ret);
		session_path(l->live->session, &ret->path);
		snprintf(ret->address, sizeof(ret->address), "%s", session_identity(l->live->session)->address);
		wire_text(h->software, ret->software, sizeof(ret->software));
	}
}
