/*
 * The sending end of a session's window: what may be on its way over all flows
 * of a link, as the peer has set memory aside for it (proto/connectd.proto,
 * Credit and Want).
 */
#include "link_internal.h"

static uint64_t
left(const struct link *l)
{
	return l->window_granted > l->window_used ? l->window_granted - l->window_used : 0;
}

void
link_window_up(struct link *l, uint64_t start)
{
	l->window_granted = start;
	l->window_used = 0;
	l->window_wanted = l->window_lent = false;
}

/*
 * The next message needs so many bytes, or (0) nothing waits to be sent. What
 * was lent goes back either way: sessions that keep a part while they wait for
 * the rest would wait for each other.
 */
static void
say_want(struct link *l, uint64_t bytes)
{
	struct wire_frame f = { .kind = WIRE_WANT };

	if (l->window_lent)
		f.u.want.returned = left(l);
	l->window_lent = false;
	l->window_used += f.u.want.returned;
	if (bytes > 0) {
		l->window_wanted = true;
		f.u.want.bytes = l->window_used + bytes;
	}
	if (bytes > 0 || f.u.want.returned > 0)
		session_send(l->live->session, &f);
}

/*
 * What a body is sure to send counts as a whole when it starts (of a large one
 * the first chunk: the rest is reserved), so that bodies half sent never wait
 * for each other.
 */
bool
link_window_start(struct outflow *of, const struct message *m, uint64_t offset, uint64_t chunk)
{
	struct link *l = of->from->link;
	uint64_t rest = m->body_len - offset, body = m->body_len > WIRE_LARGE && rest > chunk ? chunk : rest;
	uint64_t bytes = body + (offset == 0 ? m->packed_len + WIRE_MESSAGE_COST : 0);

	/* While one waits no other starts: what it asked for must be there for it. */
	if (l->window_wanted)
		return false;
	if (bytes > left(l)) {
		say_want(l, bytes);
		return false;
	}
	of->promised = body;
	l->window_used += bytes;
	return true;
}

void
link_window_sent(struct outflow *of, uint64_t bytes)
{
	of->promised -= bytes < of->promised ? bytes : of->promised;
}

static void
wake(struct link *l)
{
	struct list *n;

	while ((n = list_first(&l->no_window)) != NULL)
		outflow_ready(list_entry(n, struct outflow, ready));
}

void
link_window_give_back(struct outflow *of)
{
	struct link *l = of->from->link;

	if (of->promised == 0)
		return;
	l->window_used -= of->promised;
	of->promised = 0;
}

bool
link_window_credit(struct link *l, const struct wire_credit *c)
{
	if (c->bytes < l->window_granted)
		return false;
	l->window_granted = c->bytes;
	l->window_lent = c->lent;
	l->window_wanted = false;
	wake(l);
	return true;
}

void
link_window_dry(struct link *l)
{
	if (l->window_lent && !l->window_wanted)
		say_want(l, 0);
}
