#include "connection.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "frame.h"

/* ---------------------------------------------------------------- helpers */

int
conn_fail(struct connectd *c, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(c->error, sizeof(c->error), format, args);
	va_end(args);
	return code;
}

const char *
conn_text(char buf[static CONN_TEXT], struct wire_bytes in, const char *otherwise)
{
	size_t n = in.len < CONN_TEXT - 1 ? in.len : CONN_TEXT - 1;

	if (n == 0)
		return otherwise;
	for (size_t i = 0; i < n; i++)
		buf[i] = in.data[i] < 0x20 || in.data[i] == 0x7f ? '?' : (char)in.data[i];
	buf[n] = '\0';
	return buf;
}

static void
set_timer(struct connectd *c, uint64_t when)
{
	uint64_t now;

	c->timer_at = when;
	if (when == UINT64_MAX) {
		io_timer(c->io, UINT64_MAX);
		return;
	}
	now = conn_now(c);
	io_timer(c->io, when > now ? when - now : 0);
}

void
conn_wake(struct connectd *c, uint64_t when)
{
	if (when < c->timer_at)
		set_timer(c, when);
}

static uint64_t
earliest(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void
conn_arm(struct connectd *c)
{
	uint64_t next = earliest(earliest(c->retry_at, c->greet_by), c->producers.expire_at);

	if (c->failing != 0)
		next = 0;
	if (next != c->timer_at)
		set_timer(c, next);
}

void
conn_give_up(struct connectd *c, int code)
{
	if (c->failing != 0)
		return;
	c->failing = code;
	conn_wake(c, 0);
}

void
conn_put(struct connectd *c, const struct wire_frame *f)
{
	if ((c->state == CONN_UP || c->state == CONN_GREETING) && out_frame(&c->out, f) < 0)
		conn_give_up(c, -ENOMEM);
}

/* ---------------------------------------------------------------- session */

void
conn_lost(struct connectd *c, int code)
{
	bool was_up = c->state == CONN_UP;
	uint64_t now = conn_now(c), jitter, delay;

	io_disconnect(c->io);
	c->state = CONN_DOWN;
	c->failure = code;
	c->failing = 0;
	c->in_len = 0;
	c->greet_by = UINT64_MAX;
	out_reset(&c->out);
	dict_in_reset(&c->dict_in);
	if (was_up) {
		producers_down(c);
		consumers_down(c);
		if (c->no_reconnect) {
			c->state = CONN_DEAD;
			c->retry_at = UINT64_MAX;
			return;
		}
	}
	/* Only a session that lasted shows that all is well again. */
	if (c->draining || (was_up && now - c->up_since >= CONN_BACKOFF_MAX))
		c->backoff_ms = CONN_BACKOFF_MIN;
	io_random(c->io, &jitter, sizeof(jitter));
	delay = c->draining ? 0 : c->backoff_ms / 2 + jitter % (c->backoff_ms / 2 + 1);
	c->retry_at = now + delay;
	if (!c->draining)
		c->backoff_ms = c->backoff_ms < CONN_BACKOFF_MAX / 2 ? c->backoff_ms * 2 : CONN_BACKOFF_MAX;
	c->draining = false;
}

/* The daemon broke the rules, as the sentence recorded says: tell it, and start over. */
static void
broken(struct connectd *c, int code)
{
	size_t written;

	conn_put(c, &(struct wire_frame){ .kind = WIRE_CLOSE,
	    .u.close = { code == -EMSGSIZE ? WIRE_CLOSE_TOO_LARGE : code == -EOPNOTSUPP ? WIRE_CLOSE_UNSUPPORTED : WIRE_CLOSE_PROTOCOL,
	        wire_bytes(c->error, strnlen(c->error, WIRE_REASON_MAX)) } });
	out_flush(&c->out, c->io, &written);
	conn_lost(c, code == -ENOMEM ? code : -EPROTO);
}

void
conn_dial(struct connectd *c)
{
	int r = io_connect(c->io, c->path);
	size_t written;

	c->retry_at = UINT64_MAX;
	if (r < 0) {
		conn_fail(c, r, "%s: %s", c->path, strerrordesc_np(-r));
		conn_lost(c, r);
		return;
	}
	c->state = CONN_GREETING;
	c->greet_by = conn_now(c) + c->timeout_ms;
	conn_put(c, &(struct wire_frame){ .kind = WIRE_HELLO, .u.hello = {
	    .magic = WIRE_MAGIC,
	    .version_min = WIRE_VERSION,
	    .version_max = WIRE_VERSION,
	    .role = WIRE_ROLE_CLIENT,
	    .name = wire_string(c->application),
	    .nonce = ++c->nonce,
	    .software = wire_string("libconnectd " CONNECTD_VERSION),
	    .limits = { CONN_MAX_MESSAGE, 0, 0, WIRE_DICTIONARY, 0 } } });
	out_flush(&c->out, c->io, &written); /* an empty socket takes it; a broken one says so when read */
}

/* The daemon's Hello. */
static int
greeted(struct connectd *c, const struct wire_hello *h)
{
	if (h->magic != WIRE_MAGIC || h->role != WIRE_ROLE_DAEMON || !names_node_ok((const char *)h->name.data, h->name.len))
		return conn_fail(c, -EPROTO, "%s: what answers there is no connectd", c->path);
	if (h->version_min > WIRE_VERSION || h->version_max < WIRE_VERSION)
		return conn_fail(c, -EPROTO, "the daemon speaks protocol %u to %u, this library %u", h->version_min, h->version_max,
		    WIRE_VERSION);
	if (h->limits.dictionary == 0 || h->limits.max_flows < 2)
		return conn_fail(c, -EPROTO, "the daemon allows this program no flows or types");
	memcpy(c->node, h->name.data, h->name.len);
	c->node[h->name.len] = '\0';
	c->limits = h->limits;
	c->boot_id = h->boot_id;
	c->state = CONN_UP;
	c->session++;
	c->up_since = conn_now(c);
	c->greet_by = UINT64_MAX;
	c->draining = false;
	c->failure = 0;
	consumers_up(c);
	producers_up(c);
	return 0;
}

static int
close_errno(uint32_t code)
{
	switch (code) {
	case WIRE_CLOSE_DENIED:
		return -EACCES;
	case WIRE_CLOSE_LIMIT:
		return -EUSERS;
	case WIRE_CLOSE_SHUTDOWN:
		return -ECONNREFUSED;
	case WIRE_CLOSE_TIMEOUT:
		return -ETIMEDOUT;
	case WIRE_CLOSE_PROTOCOL:
	case WIRE_CLOSE_UNSUPPORTED:
		return -EPROTO;
	default:
		return -ECONNRESET;
	}
}

static int
define(struct connectd *c, const struct wire_define *def)
{
	int r = dict_in_define(&c->dict_in, def);

	return r < 0 ? conn_fail(c, r, r == -ENOMEM ? "out of memory" : "the daemon defined nonsense") : 0;
}

static int
credit(struct connectd *c, const struct wire_credit *w)
{
	if (w->subscription != 0)
		return conn_fail(c, -EPROTO, "the daemon granted credit for its own deliveries");
	return producer_credit(c, w);
}

/* One frame. 0, or a negative errno with a sentence recorded. */
static int
dispatch(struct connectd *c, const struct wire_frame *f)
{
	char text[CONN_TEXT];

	if (c->state == CONN_GREETING && f->kind != WIRE_HELLO && f->kind != WIRE_CLOSE)
		return conn_fail(c, -EPROTO, "%s: the daemon did not greet", c->path);
	switch (f->kind) {
	case WIRE_HELLO:
		return c->state == CONN_GREETING ? greeted(c, &f->u.hello) : conn_fail(c, -EPROTO, "the daemon greeted twice");
	case WIRE_CLOSE:
		conn_fail(c, 0, "the daemon closed the session: %s",
		    conn_text(text, f->u.close.reason, wire_close_name(f->u.close.code)));
		conn_lost(c, close_errno(f->u.close.code));
		return 0;
	case WIRE_PING:
		conn_put(c, &(struct wire_frame){ .kind = WIRE_PONG, .u.ping = f->u.ping });
		return 0;
	case WIRE_DRAIN:
		c->draining = true;
		return 0;
	case WIRE_FLOW_STATE:
		return producer_flow_state(c, &f->u.flow_state);
	case WIRE_CONFIRM:
		return producer_confirm(c, &f->u.confirm);
	case WIRE_REJECT:
		return producer_reject(c, &f->u.reject);
	case WIRE_PROGRESS:
		return producer_progress(c, &f->u.progress);
	case WIRE_CREDIT:
		return credit(c, &f->u.credit);
	case WIRE_DEFINE:
		return define(c, &f->u.define);
	case WIRE_SUBSCRIBED:
		return consumer_subscribed(c, &f->u.subscribed);
	case WIRE_DELIVER:
		return consumer_deliver(c, &f->u.run);
	case WIRE_UNSUBSCRIBE:
		return consumer_unsubscribe(c, &f->u.unsubscribe);
	case WIRE_PONG:
	case WIRE_NONE: /* one that may be ignored */
		return 0;
	default:
		return conn_fail(c, -EPROTO, "the daemon sent %s, which is not for programs", wire_kind_name(f->kind));
	}
}

/* Take the whole frames out of the input. */
static void
parse(struct connectd *c)
{
	size_t used = 0;

	while (!c->closing) {
		size_t max = c->state == CONN_UP ? WIRE_FRAME_MAX : WIRE_GREETING_MAX;
		struct wire_frame w;
		struct frame f;
		int r = frame_decode(c->in + used, c->in_len - used, max, &f);

		if (r == 0)
			break;
		if (r == 1) {
			r = wire_unpack(f.data, f.len, &w);
			if (r == 0)
				r = dispatch(c, &w);
			else
				conn_fail(c, r, "the daemon sent bytes that are no frame");
		} else {
			conn_fail(c, r, "the daemon sent bytes that are no frame");
		}
		if (r < 0)
			broken(c, r);
		if (c->state != CONN_UP && c->state != CONN_GREETING)
			return;
		used += f.used;
	}
	if (used > 0) {
		memmove(c->in, c->in + used, c->in_len - used);
		c->in_len -= used;
	}
}

/* Read what is there, within reason. True if there was something. */
static bool
read_some(struct connectd *c)
{
	bool any = false;

	for (int i = 0; i < CONN_READS && !c->closing && out_pending(&c->out) < OUT_STOP; i++) {
		size_t room = CONN_IN - c->in_len;
		ssize_t n = io_read(c->io, c->in + c->in_len, room);

		if (n == -EAGAIN)
			break;
		any = true;
		if (n <= 0) {
			int r = n < 0 ? (int)n : -ECONNRESET;

			conn_fail(c, r, "the daemon closed the connection%s%s", n < 0 ? ": " : "", n < 0 ? strerrordesc_np(-r) : "");
			conn_lost(c, r);
			break;
		}
		c->in_len += (size_t)n;
		parse(c);
		if ((c->state != CONN_UP && c->state != CONN_GREETING) || (size_t)n < room)
			break;
	}
	return any;
}

static void
timers(struct connectd *c)
{
	uint64_t now = conn_now(c);

	c->timer_at = 0; /* so that conn_arm() sets it again, which also clears it */
	if (c->state == CONN_GREETING && c->greet_by <= now) {
		conn_fail(c, 0, "%s: the daemon did not greet in time", c->path);
		conn_lost(c, -ETIMEDOUT);
	}
	if (c->state == CONN_DOWN && c->retry_at <= now)
		conn_dial(c);
	if (!c->closing)
		producers_expire(c, now);
}

/* ----------------------------------------------------------------- output */

int
conn_output(struct connectd *c)
{
	size_t written = 0, total = 0;
	int r = 0;

	c->gathered = 0;
	if ((c->state != CONN_UP && c->state != CONN_GREETING) || c->failing != 0)
		return 0;
	do {
		bool more = false;

		if (c->state == CONN_UP) {
			if (out_has_room(&c->out))
				consumers_flush(c);
			more = producers_pump(c);
		}
		r = out_flush(&c->out, c->io, &written);
		total += written;
		if (!more)
			break;
	} while (r == 0 && c->failing == 0);
	if (r < 0)
		conn_give_up(c, r); /* what the daemon said last can still be read */
	io_want_write(c->io, r == 1);
	return total > 0;
}

/* ------------------------------------------------------------------- step */

bool
conn_step(struct connectd *c)
{
	bool any = false;

	if (c->state == CONN_UP || c->state == CONN_GREETING)
		any = read_some(c);
	if (c->failing != 0) {
		conn_fail(c, c->failing, "writing to the daemon: %s", strerrordesc_np(-c->failing));
		conn_lost(c, c->failing);
		any = true;
	}
	if (c->timer_at != UINT64_MAX && c->timer_at <= conn_now(c)) {
		timers(c);
		any = true;
	}
	return any;
}
