/*
 * session_clock: deadlines, keepalive, probes. One timer, which is not touched
 * while bytes come in: it looks at what became of them when it fires.
 */
#include <errno.h>

#include "session_internal.h"

static uint64_t
now_ms(const struct session *s)
{
	return loop_now_ms(s->env->loop);
}

static bool
keeps_alive(const struct session *s)
{
	return s->state == SESSION_OPEN && s->hello.role == WIRE_ROLE_PEER && s->env->keepalive_ms > 0 &&
	    !s->in.paused && !s->in.deaf;
}

static uint64_t
keepalive_due(const struct session *s)
{
	return s->pinged ? s->pinged_ms + 2 * s->env->keepalive_ms : s->heard_ms + s->env->keepalive_ms;
}

void
session_arm(struct session *s)
{
	uint64_t now = now_ms(s), due = UINT64_MAX;

	if (s->state != SESSION_DEAD) {
		if (s->deadline_ms)
			due = s->deadline_ms;
		if (keeps_alive(s) && keepalive_due(s) < due)
			due = keepalive_due(s);
		if (s->probe_done && s->probe_due_ms < due)
			due = s->probe_due_ms;
	}
	if (due == UINT64_MAX)
		loop_timer_stop(&s->timer);
	else
		loop_timer_start(&s->timer, due > now ? due - now : 0);
}

void
session_alive(struct session *s)
{
	s->heard_ms = now_ms(s);
	if (s->pinged) {
		s->pinged = false;
		session_arm(s);
	}
}

void
session_answer_probe(struct session *s, bool is_alive)
{
	void (*done)(void *arg, bool is_alive) = s->probe_done;

	if (!done || s->is_freed)
		return;
	s->probe_done = NULL;
	done(s->probe_arg, is_alive);
}

void
session_heard(struct session *s)
{
	session_alive(s);
	session_answer_probe(s, true);
}

static void
check_keepalive(struct session *s)
{
	uint64_t now = now_ms(s);

	if (!keeps_alive(s) || now < keepalive_due(s))
		return;
	if (!s->pinged) {
		s->pinged = true;
		s->pinged_ms = now;
		session_out_frame(s, &(struct wire_frame){ .kind = WIRE_PING, .u.ping.token = now });
		return;
	}
	/* If it was this process that stood still, the answer lies unread. */
	session_in_ready(s);
	/* Or it is in what was read, and waits for its turn. */
	if (session_in_pending(s))
		session_alive(s);
	if (s->pinged && keeps_alive(s))
		session_refuse(
		    s, WIRE_CLOSE_TIMEOUT, "nothing was heard for %llu ms", (unsigned long long)(now - s->heard_ms));
}

static void
check_probe(struct session *s)
{
	if (!s->probe_done || now_ms(s) < s->probe_due_ms)
		return;
	session_in_ready(s);
	session_answer_probe(s, session_in_pending(s));
}

void
session_clock(struct session *s)
{
	if (session_is_live(s))
		check_keepalive(s);
	if (!s->is_freed)
		check_probe(s);
	if (!s->is_freed)
		session_arm(s);
}

int
session_probe(struct session *s, uint64_t ms, void (*done)(void *arg, bool alive), void *arg)
{
	if (s->probe_done || s->is_freed)
		return -EBUSY;
	s->probe_done = done;
	s->probe_arg = arg;
	s->probe_due_ms = now_ms(s) + ms;
	if (s->state == SESSION_DEAD)
		loop_defer(s->env->loop, &s->over);
	else if (s->state == SESSION_GREETED || s->state == SESSION_OPEN)
		session_out_frame(s, &(struct wire_frame){ .kind = WIRE_PING, .u.ping.token = now_ms(s) });
	session_arm(s);
	return 0;
}

void
session_probe_cancel(struct session *s, const void *arg)
{
	if (s->probe_done && s->probe_arg == arg)
		s->probe_done = NULL;
}
