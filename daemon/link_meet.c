/*
 * Meeting: from a connection to the one session of a pair.
 *
 * Both ends say Hello. The end with the smaller name, which decides, sends
 * Known; the other checks it against its own history and answers with its own
 * Known; the first checks that, decides whether this connection or the session
 * it has is the one for the pair, writes down whom it met, and sends Accept.
 * The other end follows the highest decision it has seen. One end deciding
 * makes crossed dials safe without any rule about who saw what first.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "identity.h"
#include "link_internal.h"

/* ------------------------------------------------------------- candidates -- */

/* A session that is only told why it ends. */
static void
ended_down(void *arg, enum wire_close_code code, bool by_peer, int error, const char *reason)
{
	(void)code, (void)by_peer, (void)error, (void)reason;
	session_free(arg);
}

static const struct session_events ended_events = { .down = ended_down };

void
meet_dismiss(struct session *s, enum wire_close_code code, const char *reason)
{
	session_set_owner(s, &ended_events, s);
	session_close(s, code, reason);
}

static void probed_again(void *arg);

static struct candidate *
candidate_new(struct link *l, bool dialled)
{
	struct candidate *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->link = l;
	c->dialled = dialled;
	loop_call_init(&c->again, probed_again, c);
	list_append(&l->candidates, &c->node);
	l->n_candidates++;
	return c;
}

/* Out of the link; memory goes now, or when the record is written. */
static void
release(struct candidate *c)
{
	struct link *l = c->link;

	if (l && l->dialling == c)
		l->dialling = NULL;
	if (l) {
		list_remove(&c->node);
		l->n_candidates--;
	}
	c->link = NULL;
	if (c->step == MEETING_PROBING && l->live)
		session_probe_cancel(l->live->session, c);
	loop_call_cancel(&c->again);
	if (c->step != MEETING_RECORDING)
		free(c);
}

static bool
is_about_state(enum wire_close_code code)
{
	return code == WIRE_CLOSE_STATE_CONFLICT || code == WIRE_CLOSE_NAME_IN_USE;
}

/* The meeting failed by our own word. */
static void
end(struct candidate *c, enum wire_close_code code, const char *reason)
{
	struct link *l = c->link;
	struct session *s = c->session;
	bool dialled = c->dialled;

	if (is_about_state(code) && c->peer.start_count != 0)
		link_refused(l, &c->peer);
	c->session = NULL;
	release(c);
	l->core->closed[CORE_CLOSED_PEER][code]++;
	meet_dismiss(s, code, reason);
	if (is_about_state(code))
		log_warning(l->core->log, l->context, "%s: %s", wire_close_name(code), reason);
	if (dialled || code == WIRE_CLOSE_STATE_CONFLICT)
		link_retry(l, code, false, reason);
}

static void end_conflict(struct candidate *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* State folders disagree: the reason, and what to do about it, is read at both ends. */
static void
end_conflict(struct candidate *c, const char *fmt, ...)
{
	char reason[WIRE_REASON_MAX + 1];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	end(c, WIRE_CLOSE_STATE_CONFLICT, reason);
}

static void
down(void *arg, enum wire_close_code code, bool by_peer, int error, const char *reason)
{
	struct candidate *c = arg;
	struct link *l = c->link;
	bool dialled = c->dialled;

	/* The handshake has found out that it is not the one. */
	if (error == -EACCES)
		code = WIRE_CLOSE_DENIED;
	session_free(c->session);
	c->session = NULL;
	if (is_about_state(code) && c->peer.start_count != 0)
		link_refused(l, &c->peer);
	release(c);
	if (code != WIRE_CLOSE_NORMAL)
		l->core->closed[CORE_CLOSED_PEER][code]++;
	if (dialled && error == -EKEYREJECTED)
		link_retry_refused(l, reason);
	else if (dialled || code == WIRE_CLOSE_STATE_CONFLICT)
		link_retry(l, code, by_peer, reason);
	else
		log_debug(l->core->log, l->context, "a connection ended while meeting: %s", reason);
}

/* --------------------------------------------------------------- deciding -- */

static bool
same_folder(const struct state_peer *a, const struct state_peer *b)
{
	return memcmp(a->store_id, b->store_id, STATE_ID) == 0;
}

#define LATER_START "a later start of this node was met meanwhile"
#define LATER_DECISION "a later decision was for another connection"

/* Why the session the pair has stays, and not this connection to the same folder; NULL: it does not. */
static const char *
kept(const struct candidate *c, const struct live *old)
{
	if (c->peer.start_count != old->peer.start_count)
		return c->peer.start_count > old->peer.start_count ? NULL : LATER_START;
	if (c->dialled == old->dialled)
		return c->nonce > old->nonce ? NULL : "a newer connection is kept";
	/*
	 * Crossed dials. What its Hello says of an old session that was accepted only
	 * behind it means "not yet", never "no longer": an end that has lost that one
	 * dials again.
	 */
	if (old->decision > c->greeted)
		return "the connection that was decided on first is kept";
	/* Both ends hold the old session, and this end, with the smaller name, dialled it? It stays. */
	if (c->peer_holds && c->held_nonce == old->nonce && c->held_dialled_by_peer == !old->dialled && old->dialled)
		return "the connection dialled from the smaller name is kept";
	return NULL;
}

/* The end that follows: was another of the decider's Accepts seen that came behind this one? */
static bool
is_overtaken(const struct candidate *c)
{
	const struct link *l = c->link;

#ifdef PLANT_ANY_DECISION
	return false;
#endif
	if (!same_folder(&l->decider, &c->peer) || c->peer.start_count > l->decider.start_count)
		return false;
	return c->peer.start_count < l->decider.start_count || c->decision < l->decision;
}

static void
recorded(void *arg, int error)
{
	struct candidate *c = arg;
	struct link *l = c->link;
	const char *why;

	c->step = MEETING_OVER;
	if (!l) { /* ended meanwhile */
		free(c);
		return;
	}
	if (error) {
		end(c, WIRE_CLOSE_INTERNAL, "cannot write down whom was met");
		return;
	}
	/* Another connection may have become the one meanwhile. */
	if (l->decides && l->live && same_folder(&l->live->peer, &c->peer) && (why = kept(c, l->live)) != NULL) {
		end(c, WIRE_CLOSE_DUPLICATE, why);
		return;
	}
	if (!l->decides && is_overtaken(c)) {
		end(c, WIRE_CLOSE_DUPLICATE, LATER_DECISION);
		return;
	}
	session_pause(c->session, false);
	if (l->decides) {
		struct wire_frame f = { .kind = WIRE_ACCEPT };

		f.u.accept.decision = c->decision = ++l->core->next_decision;
		session_send(c->session, &f);
	}
	link_adopt(l, c);
	release(c);
}

/* Are messages to or from the node of this name open here? */
static bool
has_open(struct link *l)
{
	return intake_book_has_marks(&l->book) || router_peer_waiting(l->core->router, l->name) > 0;
}

/* Is a later start of the same node being written down? */
static bool
later_start_recording(const struct candidate *c)
{
	LIST_FOREACH (n, &c->link->candidates) {
		const struct candidate *other = list_entry(n, struct candidate, node);

		if (other->step == MEETING_RECORDING && same_folder(&other->peer, &c->peer) &&
		    other->peer.start_count > c->peer.start_count)
			return true;
	}
	return false;
}

/* Wiped, renewed, or another node. */
static void
end_new_folder(struct candidate *c)
{
	const struct link *l = c->link;

	end_conflict(c, "it has a new state folder, and messages for or from the old one are open here; if it is to stay: connectctl peer "
	             "adopt %s on %s", l->name, l->core->node->name);
}

/* Synced before anything of a flow is said. Nothing more is read meanwhile. */
static void
record(struct candidate *c)
{
	struct link *l = c->link;
	const struct state_peer *met = state_met(l->core->state, l->name);
	int r;

	/* Much may have happened since its Hello was judged. */
	c->other_folder = met && memcmp(met->store_id, c->peer.store_id, STATE_ID) != 0;
	if (c->other_folder && has_open(l)) {
		end_new_folder(c);
		return;
	}
	if ((met && !c->other_folder && met->start_count > c->peer.start_count) || later_start_recording(c)) {
		end(c, WIRE_CLOSE_DUPLICATE, LATER_START);
		return;
	}
	session_pause(c->session, true);
	c->step = MEETING_RECORDING;
	r = state_meet(l->core->state, l->name, &c->peer, recorded, c);
	if (r != 0)
		recorded(c, r < 0 ? r : 0);
}

static void
probed_again(void *arg)
{
	record(arg);
}

static void
probed(void *arg, bool alive)
{
	struct candidate *c = arg;
	char reason[WIRE_REASON_MAX + 1];

	if (alive) {
		snprintf(reason, sizeof(reason), "another node of this name, with another state folder, is connected and answers; stop one of the "
		         "two, or to have this one instead: connectctl peer adopt %s on %s", c->link->name, c->link->core->node->name);
		end(c, WIRE_CLOSE_NAME_IN_USE, reason);
		return;
	}
	/* Not from inside the old session, which record may end. */
	loop_defer(c->link->core->loop, &c->again);
}

/* Is this connection the one for the pair? */
static void
decide(struct candidate *c)
{
	struct link *l = c->link;
	const struct live *old = l->live;
	const char *why;

	if (!old) {
		record(c);
		return;
	}
	if (!same_folder(&old->peer, &c->peer)) {
		/* The same name from another state folder: only if the one we know is gone. */
		c->step = MEETING_PROBING;
		session_pause(c->session, true);
		if (session_probe(old->session, LINK_PROBE_MS, probed, c) != 0)
			end(c, WIRE_CLOSE_NAME_IN_USE, "another node of this name is being asked whether it is alive");
		return;
	}
	if (l->decides && (why = kept(c, old)) != NULL)
		end(c, WIRE_CLOSE_DUPLICATE, why);
	else
		record(c);
}

/*
 * The other end's decision. It counts from here, not from when the meeting is
 * written down: connections overtake each other, and of two Accepts the lower
 * must lose wherever the higher one's connection has got to.
 */
static void
accepted(struct candidate *c, uint64_t decision)
{
	struct link *l = c->link;

	c->decision = decision;
	if (is_overtaken(c) || (decision == l->decision && l->decider.boot_id == c->peer.boot_id)) {
		end(c, WIRE_CLOSE_DUPLICATE, LATER_DECISION);
		return;
	}
	l->decision = decision;
	l->decider = c->peer;
	decide(c);
}

/* ----------------------------------------------------------------- frames -- */

static void
say_known(struct candidate *c)
{
	struct link *l = c->link;
	const struct state_peer *met = state_met(l->core->state, l->name);
	struct wire_frame f = { .kind = WIRE_KNOWN };

	if (met && memcmp(met->store_id, c->peer.store_id, STATE_ID) == 0) {
		f.u.known.start_count = met->start_count;
		f.u.known.boot_id = met->boot_id;
	}
	session_send(c->session, &f);
}

/* The other end's Hello: does it fit what is known of the node of that name? False: ended. */
static bool
hello_ok(struct candidate *c, const struct wire_hello *h)
{
	struct link *l = c->link;
	const struct state_peer *met = state_met(l->core->state, l->name);
	const char *other;
	char reason[WIRE_REASON_MAX];

	if (h->role != WIRE_ROLE_PEER || h->store_id.len != STATE_ID || h->start_count == 0 ||
	    h->start_count > STATE_START_MAX) {
		end(c, WIRE_CLOSE_PROTOCOL, "a Hello without role, store id or start count");
		return false;
	}
	if (!wire_bytes_equal(h->name, wire_string(l->name))) {
		snprintf(reason, sizeof(reason), "dialled %s, and %.*s answered", l->name,
		    (int)(h->name.len < NAMES_NODE_MAX ? h->name.len : NAMES_NODE_MAX), (const char *)h->name.data);
		end(c, WIRE_CLOSE_WRONG_NAME, reason);
		return false;
	}
	c->greeted = l->core->next_decision;
	memcpy(c->peer.store_id, h->store_id.data, STATE_ID);
	c->peer.start_count = h->start_count;
	c->peer.boot_id = h->boot_id;
	c->peer_holds = h->held_nonce != 0;
	c->held_nonce = h->held_nonce;
	c->held_dialled_by_peer = h->held_dialled_by_me;
	other = state_name_of(l->core->state, c->peer.store_id);
	if (memcmp(c->peer.store_id, state_store_id(l->core->state), STATE_ID) == 0) {
		end_conflict(c, "its state folder is a copy of this node's own: connectctl renew on %s", l->name);
		return false;
	}
	if (other && strcmp(other, l->name) != 0) {
		end_conflict(c, "the state folder of %s is known here as that of %s: connectctl renew on %s, or, if %s is no more, connectctl peer "
		             "forget %s on %s", l->name, other, l->name, other, other, l->core->node->name);
		return false;
	}
	if (l->awaits_adopted && met && memcmp(met->store_id, c->peer.store_id, STATE_ID) != 0) {
		end_conflict(c, "an operator adopted another state folder of this name; if this one is to be it: connectctl peer adopt %s on %s",
		    l->name, l->core->node->name);
		return false;
	}
	if (met && memcmp(met->store_id, c->peer.store_id, STATE_ID) != 0 && !l->live && has_open(l)) {
		end_new_folder(c);
		return false;
	}
	if (met && memcmp(met->store_id, c->peer.store_id, STATE_ID) == 0 &&
	    (met->start_count > c->peer.start_count ||
		(met->start_count == c->peer.start_count && met->boot_id != c->peer.boot_id))) {
		end_conflict(c, "it was met at a later start before: its state folder was restored or cloned; connectctl renew on %s, then "
		             "connectctl peer adopt %s on %s", l->name, l->name, l->core->node->name);
		return false;
	}
	return true;
}

static void
greeting(void *arg, struct wire_hello *h)
{
	struct candidate *c = arg;
	struct link *l = c->link;

	core_hello(l->core, WIRE_ROLE_PEER, h);
	h->idle_timeout_ms = (uint32_t)(3 * l->core->node->keepalive);
	if (c->dialled) {
		h->dialled = wire_string(l->name);
		h->nonce = c->nonce;
	}
	if (l->live) {
		h->held_nonce = l->live->nonce;
		h->held_dialled_by_me = l->live->dialled;
	}
}

static void
hello(void *arg, const struct wire_hello *h)
{
	struct candidate *c = arg;

	if (!hello_ok(c, h))
		return;
	c->step = MEETING_KNOWN;
	if (!c->dialled) {
		c->nonce = h->nonce;
		session_greet(c->session);
	}
	if (c->link->decides)
		say_known(c);
}

static void
known(struct candidate *c, const struct wire_known *k)
{
	struct link *l = c->link;

	if (!state_had_start(l->core->state, k->start_count, k->boot_id)) {
		end_conflict(c, "%s knows a start of %s that its state folder does not: that was restored or cloned; connectctl renew on %s, then "
		             "connectctl peer adopt %s on %s", l->name, l->core->node->name, l->core->node->name,
		    l->core->node->name, l->name);
		return;
	}
	if (l->decides) {
		decide(c);
		return;
	}
	say_known(c);
	c->step = MEETING_ACCEPT;
}

static void
frame(void *arg, const struct wire_frame *f)
{
	struct candidate *c = arg;

	if (f->kind == WIRE_KNOWN && c->step == MEETING_KNOWN) {
		known(c, &f->u.known);
	} else if (f->kind == WIRE_ACCEPT && c->step == MEETING_ACCEPT) {
		accepted(c, f->u.accept.decision);
	} else {
		end(c, WIRE_CLOSE_PROTOCOL, "a frame out of place while meeting");
	}
}

static void
writable(void *arg)
{
	(void)arg;
}

static const struct session_events events = { .greeting = greeting, .hello = hello, .frame = frame, .writable = writable, .down = down };

/* ------------------------------------------------------------------ doors -- */

bool
link_is_peer(void *arg, const struct transport_identity *id, char why[static TRANSPORT_TEXT_MAX])
{
	const struct link *l = arg;

	return identity_is_peer(l->peer, l->core->node->ca != NULL, l->name, id, why);
}

int
meet_dial(struct link *l, const struct names_url *url)
{
	struct candidate *c = candidate_new(l, true);
	const struct transport_security security = { .context = l->core->tls, .check = link_is_peer, .arg = l };
	const struct transport_ops *ops = transport_for(url->scheme);
	struct transport_tuning tuning;
	int error = -ENOMEM;

	if (!c)
		return error;
	core_tuning(l->core, l->peer->mtu, &tuning);
	if (ops->tune && ops->tune(l->core->loop, &tuning) < 0) {
		release(c);
		return error;
	}
	c->nonce = ++l->core->next_nonce;
	c->session = session_new_dialling(&l->core->sessions, ops, url,
	    l->core->tls ? &security : NULL, &events, c, &error);
	if (!c->session) {
		release(c);
		return error;
	}
	l->dialling = c;
	return 0;
}

void
meet_accept(struct link *l, struct session *s, const struct wire_hello *h)
{
	struct candidate *c;

	if (l->n_paused > 0) {
		meet_dismiss(s, WIRE_CLOSE_LIMIT, "an operator's change is being written down: again in a moment");
		return;
	}
	if (l->n_candidates >= LINK_CANDIDATES_MAX) {
		meet_dismiss(s, WIRE_CLOSE_LIMIT, "too many connections of this peer are still meeting");
		return;
	}
	c = candidate_new(l, false);
	if (!c) {
		meet_dismiss(s, WIRE_CLOSE_INTERNAL, "out of memory");
		return;
	}
	c->session = s;
	session_set_owner(s, &events, c);
	hello(c, h);
}

void
meet_end_all(struct link *l)
{
	LIST_FOREACH_SAFE (n, &l->candidates) {
		struct candidate *c = list_entry(n, struct candidate, node);

		session_free(c->session);
		c->session = NULL;
		release(c);
	}
}

/* In its handshake it would be judged by what was configured before. */
static bool
is_shaking(const struct candidate *c)
{
	return session_state(c->session) == SESSION_CONNECTING && !c->link->peer->plaintext;
}

void
meet_recheck(struct link *l)
{
	const struct transport_security security = { .context = l->core->tls, .check = link_is_peer, .arg = l };
	char why[TRANSPORT_TEXT_MAX];
	bool again = false;

	LIST_FOREACH_SAFE (n, &l->candidates) {
		struct candidate *c = list_entry(n, struct candidate, node);

		/* Taken over just now. */
		if (!c->session)
			continue;
		snprintf(why, sizeof(why), "this node has no TLS any more");
		if (is_shaking(c)) {
			session_free(c->session);
			c->session = NULL;
			release(c);
			again = true;
		} else if (!session_recheck(c->session, l->core->tls ? &security : NULL, why)) {
			end(c, WIRE_CLOSE_DENIED, why);
		}
	}
	if (again && l->live)
		link_remake(l);
	else if (again)
		link_start(l);
}

void
meet_end_probes(struct link *l)
{
	LIST_FOREACH_SAFE (n, &l->candidates) {
		struct candidate *c = list_entry(n, struct candidate, node);

		if (c->step == MEETING_PROBING)
			end(c, WIRE_CLOSE_DUPLICATE, "another connection was decided on meanwhile");
	}
}

void
meet_settle(struct link *l)
{
	struct candidate *c = l->dialling;

	/* Without a session: it is the one that was taken over just now. */
	if (!c || !c->session || c->step == MEETING_RECORDING)
		return;
	/* What the deciding end has not accepted it may drop; the other only what the decider cannot have seen. */
	if (!l->decides && session_state(c->session) != SESSION_CONNECTING)
		return;
	session_free(c->session);
	c->session = NULL;
	release(c);
}
