/*
 * What operators have done with a peer: forget it, adopt another state folder
 * of it, greet it under another identity. While such a change is written down
 * the peer neither is dialled nor can come in.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_internal.h"

/* A change on its way to the disk; outlives the link if that goes. */
struct link_change {
	struct link *link; /* NULL: gone */
	bool adopts;
	struct state_peer peer; /* adopted */
	void (*done)(void *arg, int error);
	void *arg;
};

void
link_pause(struct link *l, const char *why)
{
	l->n_paused++;
	loop_timer_stop(&l->dial_timer);
	meet_end_all(l);
	if (l->live)
		link_cut(l, WIRE_CLOSE_SHUTDOWN, why);
	link_set_state(l, LINK_IDLE, why);
}

void
link_resume(struct link *l)
{
	if (--l->n_paused > 0 || l->live || l->draining || l->core->stopping)
		return;
	link_note(l, NULL, false, "");
	backoff_reset(&l->backoff);
	l->next_address = 0;
	if (l->peer->address.n > 0)
		loop_timer_start(&l->dial_timer, 0);
}

void
link_refused(struct link *l, const struct state_peer *peer)
{
	l->is_refused = true;
	l->refused = *peer;
}

/* What was known of it is known no more. */
static void
begin_anew(struct link *l, const struct state_peer *met)
{
	intake_book_done(&l->core->intake, &l->book);
	link_init_book(l, &l->book, met);
	outflows_may_be_known(l);
}

static void
changed(void *arg, int error)
{
	struct link_change *ch = arg;
	struct link *l = ch->link;
	void (*done)(void *, int) = ch->done;
	void *done_arg = ch->arg;

	if (l && error == 0) {
		if (!ch->adopts)
			begin_anew(l, NULL);
		else if (memcmp(l->book.owner.store_id, ch->peer.store_id, STATE_ID) != 0)
			begin_anew(l, &ch->peer);
		/* Its decisions are of what it was before. */
		l->decision = 0;
		l->decider = (struct state_peer){ 0 };
		l->is_refused = false;
		l->awaits_adopted = ch->adopts;
	}
	if (l) {
		l->change = NULL;
		link_resume(l);
	}
	free(ch);
	done(done_arg, error);
}

void
link_change_done(struct link *l)
{
	if (l->change)
		l->change->link = NULL;
	l->change = NULL;
}

static int
begin(struct link *l, const struct state_peer *adopted, void (*done)(void *arg, int error), void *arg, char why[static 200])
{
	struct link_change *ch = l->change ? NULL : calloc(1, sizeof(*ch));
	int r;

	if (l->change) {
		snprintf(why, 200, "another change of the peer %s is under way: again in a moment", link_name(l));
		return -EBUSY;
	}
	if (!ch) {
		snprintf(why, 200, "out of memory");
		return -ENOMEM;
	}
	*ch = (struct link_change){ .link = l, .adopts = adopted != NULL, .done = done, .arg = arg };
	if (adopted)
		ch->peer = *adopted;
	link_pause(l, adopted ? "an operator adopts another state folder of it" : "an operator has it forgotten");
	l->change = ch;
	r = adopted ? state_meet(l->core->state, link_name(l), adopted, changed, ch) : state_forget(l->core->state, link_name(l), changed, ch);
	if (r == 0)
		return 0;
	if (r > 0) {
		changed(ch, 0);
		return 0;
	}
	l->change = NULL;
	free(ch);
	link_resume(l);
	snprintf(why, 200, "cannot write it down: %s", strerror(-r));
	return r;
}

int
link_forget(struct link *l, void (*done)(void *arg, int error), void *arg, char why[static 200])
{
	if (l->live) {
		snprintf(why, 200, "%s is connected, and goes on being remembered: stop it first", link_name(l));
		return -EISCONN;
	}
	return begin(l, NULL, done, arg, why);
}

int
link_adopt_folder(struct link *l, void (*done)(void *arg, int error), void *arg, char why[static 200])
{
	const struct core *core = l->core;
	const struct state_peer *met = state_met(core->state, link_name(l));
	const char *name = link_name(l), *other;
	bool same_folder;

	if (!l->is_refused) {
		snprintf(why, 200, "no other state of %s was refused since this node started: `connectctl peers` shows how it is", name);
		return -ENOENT;
	}
	other = state_name_of(core->state, l->refused.store_id);
	if (memcmp(l->refused.store_id, state_store_id(core->state), STATE_ID) == 0) {
		snprintf(why, 200, "its state folder is a copy of this node's own: `connectctl renew` on %s first", name);
		return -EINVAL;
	}
	if (other && strcmp(other, name) != 0) {
		snprintf(why, 200, "its state folder is known as that of %s: `connectctl renew` on %s, or `connectctl peer forget %s` here",
		    other, name, other);
		return -EINVAL;
	}
	same_folder = met && memcmp(met->store_id, l->refused.store_id, STATE_ID) == 0;
	if (same_folder && met->start_count == l->refused.start_count && met->boot_id == l->refused.boot_id) {
		snprintf(why, 200, "its state is the one that is known here: see `connectctl peers` on %s for what it refuses", name);
		return -EINVAL;
	}
	/* Numbers given again since the copy was made would pass for messages that are here. */
	if (same_folder && intake_book_has_marks(&l->book)) {
		snprintf(why, 200, "what it sends now would be taken for what it sent before: `connectctl renew` on %s first", name);
		return -EINVAL;
	}
	return begin(l, &l->refused, done, arg, why);
}

void
link_renewed(struct link *l)
{
	outflows_may_be_known(l);
}
