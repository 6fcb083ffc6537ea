/*
 * What changes for a link that lives: the configuration, whom this node trusts,
 * its own certificate, a key that has done enough.
 */
#include <stdio.h>

#include "identity.h"
#include "link_internal.h"

/* For what is no peer any more. */
static const struct conf_peer nobody = { .name = NULL, .backoff_min = 1000, .backoff_max = 1000 };

/* Is the session one that would be let in now? */
static bool
still_holds(struct link *l, char why[static TRANSPORT_TEXT_MAX])
{
	const struct transport_security security = { .context = l->core->tls, .check = link_is_peer, .arg = l };
	const struct transport_identity *id = session_identity(l->live->session);

	snprintf(why, TRANSPORT_TEXT_MAX, "plaintext is not allowed for it any more");
	if (id->tls.has_certificate ? !session_recheck(l->live->session, l->core->tls ? &security : NULL, why) : !l->peer->plaintext)
		return false;
	snprintf(why, TRANSPORT_TEXT_MAX, "a queue's send list has changed");
	if (!intake_recheck(&l->live->intake, false))
		return false;
	snprintf(why, TRANSPORT_TEXT_MAX, "it may not come from this address any more");
	return l->live->dialled || identity_may_come_from(l->peer, id);
}

static void
retire(struct link *l)
{
	static const char why[] = "it is no peer of this node any more";

	l->peer = &nobody;
	loop_timer_stop(&l->dial_timer);
	meet_end_all(l);
	if (l->live)
		link_cut(l, WIRE_CLOSE_DENIED, why);
	link_note(l, "not-configured", false, why);
	link_set_state(l, LINK_STOPPED, why);
}

void
link_reconfigure(struct link *l, const struct conf_peer *peer)
{
	bool was_peer = l->peer != &nobody, is_same = peer && was_peer && conf_peer_same(l->peer, peer) > 0;
	char why[TRANSPORT_TEXT_MAX];

	if (!peer) {
		if (was_peer)
			retire(l);
		return;
	}
	l->peer = peer;
	l->next_address = 0;
	if (!is_same) {
		backoff_init(&l->backoff, peer->backoff_min, peer->backoff_max);
		loop_timer_stop(&l->dial_timer);
		meet_end_all(l);
	}
	if (is_same)
		meet_recheck(l);
	if (l->live && !still_holds(l, why)) {
		link_cut(l, WIRE_CLOSE_DENIED, why);
		link_retry(l, WIRE_CLOSE_DENIED, false, why);
	} else if (!l->live && !is_same) {
		link_set_state(l, LINK_IDLE, "it is configured otherwise");
		link_start(l);
	} else if (l->live && !is_same) {
		link_remake(l);
	}
}

void
link_remake(struct link *l)
{
	struct names_url url;

	/* What was accepted is the other end's to make anew. */
	if (!l->live || !l->live->dialled || l->dialling || l->peer->address.n == 0 || l->n_paused > 0 || l->draining)
		return;
	if (names_url_parse(l->peer->address.items[0], &url, NULL) == 0 && meet_dial(l, &url) < 0)
		log_warning(l->core->log, l->context, "another connection could not be dialled: the one there is stays");
}

/* A key seals only so much: then another session is dialled, which takes over. */
void
link_look_at_key(void *arg)
{
	struct link *l = arg;

	if (!l->live)
		return;
	if (session_is_tired(l->live->session))
		link_remake(l);
	loop_timer_start(&l->key_timer, LINK_KEY_MS);
}
