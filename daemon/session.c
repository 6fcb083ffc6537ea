#include "session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session_internal.h"

enum session_event {
	EVENT_UP,       /* the transport carries bytes */
	EVENT_HELLO,    /* the other end's Hello is here and good */
	EVENT_GREET,    /* the owner lets the accepting end's Hello go */
	EVENT_OPEN,     /* the owner lets everything pass */
	EVENT_CLOSE,    /* code and reason are set: tell them to the other end */
	EVENT_FLUSHED,  /* nothing is queued any more */
	EVENT_DEADLINE, /* greeting or closing takes too long */
	EVENT_LOST      /* code, reason and error are set: no word can or need be said */
};

static const char *const state_names[] = {
	[SESSION_CONNECTING] = "connecting",
	[SESSION_GREETING] = "greeting",
	[SESSION_GREETED] = "greeted",
	[SESSION_OPEN] = "open",
	[SESSION_CLOSING] = "closing",
	[SESSION_DEAD] = "dead",
};

static uint64_t
now_ms(const struct session *s)
{
	return loop_now_ms(s->env->loop);
}

/* ------------------------------------------------------------------- states */

static void
close_transport(struct session *s, bool drain)
{
	struct transport *t = s->t;

	s->t = NULL;
	if (t)
		t->ops->close(t, drain);
}

/* The one place that changes the state, and does what entering it takes. */
static void
set_state(struct session *s, enum session_state st)
{
	s->state = st;
	switch (st) {
	case SESSION_CONNECTING:
		/* The transport has the same deadline and knows more to say: let it speak first. */
		s->deadline_ms = now_ms(s) + s->env->handshake_ms + SESSION_CLOSE_MS;
		break;
	case SESSION_GREETING:
		s->t->ops->identity(s->t, &s->identity);
		session_out_init(s, s->identity.is_local);
		if (s->in.paused || s->in.deaf)
			s->t->ops->want_read(s->t, false);
		s->deadline_ms = now_ms(s) + s->env->handshake_ms;
		break;
	case SESSION_GREETED:
		break;
	case SESSION_OPEN:
		s->deadline_ms = 0;
		s->stats.opened_ms = s->heard_ms = now_ms(s);
		break;
	case SESSION_CLOSING:
		session_in_rest(s);
		s->t->ops->want_read(s->t, false);
		s->deadline_ms = now_ms(s) + SESSION_CLOSE_MS;
		break;
	case SESSION_DEAD:
		session_in_rest(s);
		loop_timer_stop(&s->turn);
		loop_call_cancel(&s->flush);
		if (!s->is_freed)
			loop_defer(s->env->loop, &s->over);
		break;
	}
	session_arm(s);
}

static void
send_hello(struct session *s)
{
	struct wire_frame f = { .kind = WIRE_HELLO };

	f.u.hello.magic = WIRE_MAGIC;
	f.u.hello.version_min = f.u.hello.version_max = WIRE_VERSION;
	f.u.hello.limits.dictionary = WIRE_DICTIONARY;
	s->ev->greeting(s->arg, &f.u.hello);
	if (session_is_live(s))
		session_out_frame(s, &f);
}

static void
send_close(struct session *s)
{
	session_out_frame(
	    s, &(struct wire_frame){ .kind = WIRE_CLOSE, .u.close = { (uint32_t)s->code, wire_string(s->reason) } });
}

static void
die(struct session *s, bool drain)
{
	close_transport(s, drain);
	set_state(s, SESSION_DEAD);
}

/* What an event means in a state. An event without a meaning there does nothing. */
static void
take_event(struct session *s, enum session_event event)
{
	switch (event) {
	case EVENT_UP:
		if (s->state != SESSION_CONNECTING)
			return;
		set_state(s, SESSION_GREETING);
		if (s->dialled)
			send_hello(s);
		return;
	case EVENT_HELLO:
		if (s->dialled)
			set_state(s, SESSION_GREETED);
		s->ev->hello(s->arg, &s->hello);
		return;
	case EVENT_GREET:
		if (s->state != SESSION_GREETING || s->dialled || !s->has_hello)
			return;
		send_hello(s);
		if (session_is_live(s))
			set_state(s, SESSION_GREETED);
		return;
	case EVENT_OPEN:
		if (s->state == SESSION_GREETED)
			set_state(s, SESSION_OPEN);
		return;
	case EVENT_CLOSE:
		if (s->state == SESSION_CONNECTING) {
			die(s, false);
			return;
		}
		set_state(s, SESSION_CLOSING);
		send_close(s);
		return;
	case EVENT_FLUSHED:
		if (s->state == SESSION_CLOSING)
			die(s, true);
		return;
	case EVENT_DEADLINE:
		if (s->state == SESSION_CLOSING)
			die(s, false);
		else
			session_refuse(s, WIRE_CLOSE_TIMEOUT, "no %s within %llu ms",
			    s->state == SESSION_CONNECTING ? "connection" : "greeting",
			    (unsigned long long)s->env->handshake_ms);
		return;
	case EVENT_LOST:
		if (s->state != SESSION_DEAD)
			die(s, s->by_peer);
		return;
	}
}

/* A reason is a line in a log: no more than fits, whole characters, nothing that moves the cursor. */
static void
set_reason(struct session *s, struct wire_bytes reason)
{
	size_t len = reason.len;

	if (len > WIRE_REASON_MAX) {
		len = WIRE_REASON_MAX;
		while (len > 0 && (reason.data[len] & 0xc0) == 0x80)
			len--;
	}
	for (size_t i = 0; i < len; i++)
		s->reason[i] = reason.data[i] < 0x20 || reason.data[i] == 0x7f ? '?' : (char)reason.data[i];
	s->reason[len] = '\0';
}

static void
finish(struct session *s, enum wire_close_code code, bool by_peer, int error, struct wire_bytes reason)
{
	/* Who was closing has a reason already. */
	if (session_is_live(s)) {
		s->code = code;
		s->by_peer = by_peer;
		s->error = error;
		set_reason(s, reason);
	}
	take_event(s, EVENT_LOST);
}

void
session_lost(struct session *s, enum wire_close_code code, int error, const char *reason)
{
	finish(s, code, false, error, wire_string(reason));
}

void
session_ended(struct session *s, enum wire_close_code code, struct wire_bytes reason)
{
	finish(s, code, true, 0, reason);
}

void
session_greeted(struct session *s)
{
	take_event(s, EVENT_HELLO);
}

void
session_close(struct session *s, enum wire_close_code code, const char *reason)
{
	if (!session_is_live(s))
		return;
	s->code = code;
	set_reason(s, wire_string(reason));
	take_event(s, EVENT_CLOSE);
}

void
session_refuse(struct session *s, enum wire_close_code code, const char *reason, ...)
{
	char text[SESSION_REASON_MAX];
	va_list ap;

	va_start(ap, reason);
	vsnprintf(text, sizeof(text), reason, ap);
	va_end(ap);
	session_close(s, code, text);
}

/* ---------------------------------------------------------- from the transport */

static void
on_up(void *arg)
{
	take_event(arg, EVENT_UP);
}

static void
on_readable(void *arg)
{
	struct session *s = arg;

	/* Whole frames are held: they go on in their turn. */
	if (!session_in_pending(s))
		session_in_ready(s);
}

static void
flush(struct session *s, bool was_blocked)
{
	/* What the other end's kernel took after it had been full is a sign of life, too. */
	if (session_out_flush(s) > 0 && was_blocked)
		session_alive(s);
	if (s->out.queued == 0)
		take_event(s, EVENT_FLUSHED);
}

static void
on_writable(void *arg)
{
	struct session *s = arg;

	s->out.blocked = false;
	flush(s, true);
	if (s->state == SESSION_OPEN && session_out_relieved(s))
		s->ev->writable(s->arg);
}

static void
on_down(void *arg, int error, const char *text)
{
	struct session *s = arg;

	/* Whom a handshake was refused to. */
	if (s->state == SESSION_CONNECTING)
		s->t->ops->identity(s->t, &s->identity);
	if (error == 0)
		session_lost(s, WIRE_CLOSE_NORMAL, -ECONNRESET, SESSION_NO_CLOSE);
	else
		session_lost(s, WIRE_CLOSE_NORMAL, error, text);
}

static bool
on_may_shake(void *arg)
{
	struct session *s = arg;

	return !s->ev->may_shake || s->ev->may_shake(s->arg);
}

static void
on_shaken(void *arg, uint64_t ns)
{
	struct session *s = arg;

	if (s->ev->shaken)
		s->ev->shaken(s->arg, ns);
}

static const struct transport_events transport_events = { .up = on_up, .readable = on_readable, .writable = on_writable,
	.down = on_down, .may_shake = on_may_shake, .shaken = on_shaken };

/* --------------------------------------------------------------- from the loop */

static void
on_flush(void *arg)
{
	struct session *s = arg;

	flush(s, false);
	/* All went out at once: the owner may fill it again, but others first. */
	if (s->out.full && !s->out.blocked && s->state == SESSION_OPEN)
		loop_timer_start(&s->turn, 0);
}

static void
on_turn(void *arg)
{
	struct session *s = arg;

	if (s->state == SESSION_OPEN && session_out_relieved(s))
		s->ev->writable(s->arg);
	if (session_is_live(s))
		session_in_ready(s);
}

static void
on_timer(void *arg)
{
	struct session *s = arg;

	if (s->deadline_ms && now_ms(s) >= s->deadline_ms)
		take_event(s, EVENT_DEADLINE);
	session_clock(s);
}

static void
on_over(void *arg)
{
	struct session *s = arg;

	session_answer_probe(s, false);
	if (s->is_freed || s->is_told)
		return;
	s->is_told = true;
	s->ev->down(s->arg, s->code, s->by_peer, s->error, s->reason);
}

static void
on_bury(void *arg)
{
	struct session *s = arg;
	struct message_store *ms = s->env->messages;

	session_out_clear(s);
	session_in_clear(s);
	dictionary_clear(&s->types_in, &ms->types);
	dictionary_clear(&s->types_out, &ms->types);
	dictionary_clear(&s->origins_in, &ms->origins);
	dictionary_clear(&s->origins_out, &ms->origins);
	free(s->hello_bytes);
	free(s);
}

/* -------------------------------------------------------------- to the owner */

static void
unlist(struct session *s)
{
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
}

static struct session *
make(struct session_env *env, bool dialled, const struct session_events *ev, void *arg)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->env = env;
	s->next = env->first;
	s->link = &env->first;
	if (s->next)
		s->next->link = &s->next;
	env->first = s;
	s->dialled = dialled;
	s->ev = ev;
	s->arg = arg;
	loop_timer_init(&s->timer, env->loop, on_timer, s);
	loop_timer_init(&s->turn, env->loop, on_turn, s);
	loop_call_init(&s->flush, on_flush, s);
	loop_call_init(&s->over, on_over, s);
	loop_call_init(&s->bury, on_bury, s);
	return s;
}

struct session *
session_new(struct session_env *env, struct transport *t, bool dialled, const struct session_events *ev, void *arg)
{
	struct session *s = make(env, dialled, ev, arg);

	if (!s) {
		t->ops->close(t, false);
		return NULL;
	}
	s->t = t;
	t->is_stranger = !dialled;
	transport_set_events(t, &transport_events, s);
	set_state(s, dialled || t->awaits_up ? SESSION_CONNECTING : SESSION_GREETING);
	if (t->awaits_up)
		t->ops->identity(t, &s->identity); /* its address, for who counts and tells */
	return s;
}

struct session *
session_new_dialling(struct session_env *env, const struct transport_ops *ops, const struct names_url *url,
    const struct transport_security *security, const struct session_events *ev, void *arg, int *ret_error)
{
	struct session *s = make(env, true, ev, arg);
	int r = -ENOMEM;

	if (s)
		r = ops->connect(env->loop, url, security, env->handshake_ms, &transport_events, s, &s->t);
	if (r < 0) {
		if (s)
			unlist(s);
		free(s);
		*ret_error = r;
		return NULL;
	}
	set_state(s, SESSION_CONNECTING);
	return s;
}

void
session_free(struct session *s)
{
	if (!s || s->is_freed)
		return;
	s->is_freed = true;
	unlist(s);
	close_transport(s, false);
	set_state(s, SESSION_DEAD);
	loop_call_cancel(&s->over);
	loop_defer(s->env->loop, &s->bury);
}

void
session_env_end(struct session_env *env)
{
	while (env->first)
		session_free(env->first);
}

void
session_set_owner(struct session *s, const struct session_events *ev, void *arg)
{
	s->ev = ev;
	s->arg = arg;
	s->origin_filter = NULL;
}

void
session_shake(struct session *s)
{
	if (session_is_live(s) && s->state == SESSION_CONNECTING)
		s->t->ops->want_read(s->t, true);
}

void
session_greet(struct session *s)
{
	if (s->t)
		s->t->is_stranger = false;
	take_event(s, EVENT_GREET);
}

void
session_open(struct session *s)
{
	take_event(s, EVENT_OPEN);
}

void
session_pause(struct session *s, bool paused)
{
	uint64_t stood;

	if (s->in.paused == paused)
		return;
	s->in.paused = paused;
	if (paused) {
		s->paused_ms = now_ms(s);
	} else {
		stood = now_ms(s) - s->paused_ms;
		s->heard_ms += stood;
		s->pinged_ms += stood;
	}
	if (!session_is_live(s))
		return;
	if (s->state != SESSION_CONNECTING)
		s->t->ops->want_read(s->t, !paused && !s->in.choked && !s->in.deaf);
	if (session_in_pending(s))
		loop_timer_start(&s->turn, 0);
	session_arm(s);
}

void
session_charge(struct session *s, size_t frames)
{
	s->in.charged += frames;
}

void
session_discard_input(struct session *s)
{
	s->in.deaf = true;
	if (!session_is_live(s))
		return;
	if (s->state != SESSION_CONNECTING)
		s->t->ops->want_read(s->t, false);
	session_arm(s);
}

void
session_set_origin_filter(struct session *s, int (*filter)(void *arg, struct wire_bytes value, struct intern_entry **ret))
{
	s->origin_filter = filter;
}

struct intern_entry *
session_type(const struct session *s, uint32_t id)
{
	return dictionary_get(&s->types_in, id);
}

struct intern_entry *
session_origin(const struct session *s, uint32_t id)
{
	return dictionary_get(&s->origins_in, id);
}

enum session_state
session_state(const struct session *s)
{
	return s->state;
}

const char *
session_state_name(enum session_state st)
{
	return state_names[st];
}

bool
session_dialled(const struct session *s)
{
	return s->dialled;
}

const struct transport_identity *
session_identity(const struct session *s)
{
	return &s->identity;
}

bool
session_is_tired(const struct session *s)
{
	struct transport_identity id;

	if (!s->t || s->state == SESSION_CONNECTING)
		return false;
	s->t->ops->identity(s->t, &id);
	return id.tired;
}

void
session_path(const struct session *s, struct transport_path *ret)
{
	*ret = (struct transport_path){ 0 };
	if (s->t && s->state != SESSION_CONNECTING && s->t->ops->path)
		s->t->ops->path(s->t, ret);
}

bool
session_recheck(struct session *s, const struct transport_security *security, char why[static TRANSPORT_TEXT_MAX])
{
	if (!s->t || s->state == SESSION_CONNECTING || !s->t->ops->recheck)
		return true;
	if (!security || !s->t->ops->recheck(s->t, security, why))
		return false;
	s->t->ops->identity(s->t, &s->identity);
	return true;
}

const struct wire_hello *
session_hello(const struct session *s)
{
	return &s->hello;
}

void
session_stats(const struct session *s, struct session_stats *ret)
{
	*ret = s->stats;
	ret->rate = s->out.rate;
}
