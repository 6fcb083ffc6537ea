/*
 * session_in: bytes to frames. All sessions read into one buffer; a session
 * has memory of its own only for the start of a frame whose end is still on
 * its way, and for what waits while it is paused or others have their turn.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "session_internal.h"

#define HELD_MIN 64

static size_t
frame_max(const struct session *s)
{
	return s->state == SESSION_OPEN ? WIRE_FRAME_MAX : WIRE_GREETING_MAX;
}

static bool
wants_input(const struct session *s)
{
	return session_is_live(s) && !s->in.paused && !s->in.choked && !s->in.deaf;
}

static void
set_busy(struct session *s, bool busy)
{
	s->env->n_busy += busy;
	s->env->n_busy -= s->in.busy;
	s->in.busy = busy;
}

/* What a turn is: the more sessions are busy, the shorter, so that those who are not wait for all of them no longer. */
static size_t
turn_frames(const struct session *s)
{
	struct session_env *env = s->env;
	uint64_t now = loop_now(env->loop), left;
	size_t others = env->n_busy - s->in.busy, share;

	if (env->pass_ns != now) {
		env->pass_ns = now;
		env->pass_frames = 0;
	}
	left = env->pass_frames < SESSION_PASS_FRAMES ? SESSION_PASS_FRAMES - env->pass_frames : 0;
	share = others > 0 ? SESSION_BUSY_FRAMES / (others + 1) : SESSION_PASS_FRAMES;
	if (share > left)
		share = left;
	return share > SESSION_LEAST_FRAMES ? share : SESSION_LEAST_FRAMES;
}

static void
forget_held(struct session_in *in)
{
	free(in->held);
	in->held = NULL;
	in->held_from = in->held_len = in->held_cap = 0;
}

/* Append to what is held. cap: room to make if there is not enough. */
static bool
hold(struct session *s, const uint8_t *data, size_t len, size_t cap)
{
	struct session_in *in = &s->in;

	if (in->held_cap - in->held_len < len) {
		size_t have = in->held_len - in->held_from;
		uint8_t *bigger;

		if (cap < have + len)
			cap = have + len;
#ifdef PLANT_SHORT_BUFFER
		if (cap > 256)
			cap--;
#endif
		bigger = malloc(cap);
		if (!bigger) {
			session_lost(s, WIRE_CLOSE_INTERNAL, -ENOMEM, "out of memory");
			return false;
		}
		if (have > 0)
			memcpy(bigger, in->held + in->held_from, have);
		free(in->held);
		in->held = bigger;
		in->held_from = 0;
		in->held_len = have;
		in->held_cap = cap;
	}
	memcpy(in->held + in->held_len, data, len);
	in->held_len += len;
	return true;
}

/* The beginning of a TLS record? No Hello begins like that. */
static bool
is_tls(const struct session *s, const uint8_t *buf, size_t len)
{
	return !s->has_hello && s->stats.frames_in == 0 && len >= 2 && buf[0] >= 0x14 && buf[0] <= 0x17 && buf[1] == 0x03;
}

/*
 * Handle the whole frames at the front of buf, as long as they are wanted and
 * the budget lasts. Returns the bytes they took.
 */
static size_t
take_frames(struct session *s, const uint8_t *buf, size_t len, size_t *budget)
{
	size_t done = 0;

	if (wants_input(s) && is_tls(s, buf, len)) {
		session_refuse(s, WIRE_CLOSE_PROTOCOL, "%s",
		    s->dialled ? "the other side speaks TLS: its address begins with tls://"
			       : "TLS is not spoken here: the address to dial begins with tcp://, or the listener's should with tls://");
		return 0;
	}
	while (done < len && *budget > 0 && wants_input(s)) {
		struct frame fr;
		int r = frame_decode(buf + done, len - done, frame_max(s), &fr);
		size_t work;

		if (r == 0)
			break;
		if (r == -EMSGSIZE)
			session_refuse(s, WIRE_CLOSE_TOO_LARGE, "a frame above %zu bytes", frame_max(s));
		else if (r < 0)
			session_refuse(s, WIRE_CLOSE_PROTOCOL, "the length of a frame is malformed");
		if (r < 0)
			break;
		done += fr.used;
		s->stats.frames_in++;
		s->in.charged = 0;
		work = session_take_frame(s, wire_bytes(fr.data, fr.len)) + s->in.charged;
		*budget -= work < *budget ? work : *budget;
	}
	return done;
}

/* Bytes of the frame at the front, its length included, as far as its beginning tells; 0: not yet. */
static size_t
frame_size(const uint8_t *buf, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len && i < FRAME_HEADER_MAX; i++) {
		n |= (size_t)(buf[i] & 0x7f) << (7 * i);
		if (!(buf[i] & 0x80))
			return n + i + 1;
	}
	return 0;
}

/* The start of a frame need not stay in a buffer that held many. */
static void
trim_held(struct session_in *in)
{
	size_t have = in->held_len - in->held_from;
	size_t cap = frame_size(in->held + in->held_from, have);
	uint8_t *smaller;

	if (cap < have)
		cap = have;
	if (cap < HELD_MIN)
		cap = HELD_MIN;
	if (in->held_cap / 2 < cap)
		return;
	smaller = malloc(cap);
	if (!smaller)
		return;
	memcpy(smaller, in->held + in->held_from, have);
	free(in->held);
	in->held = smaller;
	in->held_from = 0;
	in->held_len = have;
	in->held_cap = cap;
}

static void
take_held(struct session *s, size_t *budget)
{
	struct session_in *in = &s->in;

	/* Frames may end the session, or have its input thrown away: held lasts until the end of this function. */
	in->held_from += take_frames(s, in->held + in->held_from, in->held_len - in->held_from, budget);
	if (in->held_from == in->held_len || in->deaf)
		forget_held(in);
	else if (*budget > 0 && wants_input(s))
		trim_held(in);
}

/* The end of the frame whose start is held, from the front of buf. Returns the bytes used. */
static size_t
complete_held(struct session *s, const uint8_t *buf, size_t len, size_t *budget)
{
	struct session_in *in = &s->in;
	size_t used = 0;

	while (in->held && used < len && wants_input(s)) {
		size_t have = in->held_len - in->held_from;
		size_t size = frame_size(in->held + in->held_from, have);
		/* Byte by byte until the length is whole. */
		size_t n = size ? size - have : 1;

		if (n > len - used)
			n = len - used;
		if (!hold(s, buf + used, n, size ? size : HELD_MIN))
			return len;
		used += n;
		take_held(s, budget);
		/* Out of turn with the frame whole: it waits, and the rest behind it. */
		if (*budget == 0)
			break;
	}
	return used;
}

/* The rest of what was read stays with the session. */
static void
keep(struct session *s, const uint8_t *buf, size_t len)
{
	struct session_in *in = &s->in;
	size_t size, cap;

	if (len == 0 || in->deaf || !session_is_live(s))
		return;
	cap = in->held_len - in->held_from + len;
	/* The frame this is the start of will need so much; its length was judged by take_frames. */
	size = in->held ? 0 : frame_size(buf, len);
	if (size > cap && size <= WIRE_FRAME_MAX + FRAME_HEADER_MAX)
		cap = size;
	hold(s, buf, len, cap < HELD_MIN ? HELD_MIN : cap);
}

bool
session_in_pending(const struct session *s)
{
	const struct session_in *in = &s->in;
	struct frame fr;

	/* A frame that is no good is pending too: it must be refused. */
	return wants_input(s) && in->held &&
	    frame_decode(in->held + in->held_from, in->held_len - in->held_from, frame_max(s), &fr) != 0;
}

static void
read_once(struct session *s, size_t *budget)
{
	uint8_t *buf = s->env->read_buffer;
	/* A stranger's frames are small: more need not be read, and perhaps kept, of them at once. */
	size_t max = s->state == SESSION_OPEN ? SESSION_READ_BUFFER : WIRE_GREETING_MAX;
	ssize_t r = s->t->ops->read(s->t, buf, max);
	size_t used, len;

	if (r == 0) {
		session_lost(s, WIRE_CLOSE_NORMAL, -ECONNRESET, SESSION_NO_CLOSE);
		return;
	}
	/* What is worse than "nothing now" comes again as `down`, with a text. */
	if (r < 0)
		return;
	len = (size_t)r;
	s->stats.bytes_in += len;
	session_heard(s);
	used = complete_held(s, buf, len, budget);
	if (!s->in.held)
		used += take_frames(s, buf + used, len - used, budget);
	keep(s, buf + used, len - used);
}

void
session_in_ready(struct session *s)
{
	struct session_env *env = s->env;
	size_t turn = turn_frames(s), budget = turn;

	if (s->in.held && wants_input(s))
		take_held(s, &budget);
	if (budget > 0 && wants_input(s) && !session_in_pending(s))
		read_once(s, &budget);
	env->pass_frames += turn - budget;
	set_busy(s, session_in_pending(s));
	if (s->in.busy)
		loop_timer_start(&s->turn, 0);
}

void
session_in_rest(struct session *s)
{
	set_busy(s, false);
}

void
session_in_choke(struct session *s, bool choked)
{
	if (s->in.choked == choked || !session_is_live(s))
		return;
	s->in.choked = choked;
	s->t->ops->want_read(s->t, !choked && !s->in.paused && !s->in.deaf);
	if (session_in_pending(s))
		loop_timer_start(&s->turn, 0);
}

void
session_in_clear(struct session *s)
{
	set_busy(s, false);
	forget_held(&s->in);
}
