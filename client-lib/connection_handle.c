/*
 * The handle as its program sees it: open, process, wait, close. What happens
 * in the session meanwhile is connection.c's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "connection.h"

#define APPLICATION_MAX 64

/* ---------------------------------------------------- processing, waiting */

int
connectd_process(struct connectd *c)
{
	bool any;

	if (c->entered)
		return conn_fail(c, -EDEADLK, "called from a call-back");
	if (c->state == CONN_DEAD)
		return -ENOTCONN;
	c->entered = true;
	any = conn_step(c);
	c->entered = false;
	if (c->closing) {
		c->closing = false;
		connectd_close(c);
		return -ECANCELED;
	}
	any |= conn_output(c) > 0;
	conn_arm(c);
	if (c->state == CONN_DEAD)
		return -ENOTCONN;
	return any;
}

static int
time_left(const struct connectd *c, int timeout_ms, uint64_t until)
{
	uint64_t now;

	if (timeout_ms < 0)
		return -1;
	now = conn_now(c);
	return now < until ? (int)(until - now) : 0;
}

int
connectd_wait(struct connectd *c, int timeout_ms)
{
	uint64_t until = timeout_ms > 0 ? conn_now(c) + (uint64_t)timeout_ms : 0;

	for (;;) {
		int r = connectd_process(c);

		if (r != 0)
			return r;
		r = io_wait(c->io, time_left(c, timeout_ms, until));
		if (r <= 0)
			return r < 0 ? conn_fail(c, r, "interrupted by a signal") : 0;
	}
}

int
conn_until(struct connectd *c, int timeout_ms, bool (*done)(void *arg), void *arg)
{
	uint64_t until = timeout_ms > 0 ? conn_now(c) + (uint64_t)timeout_ms : 0;

	if (c->entered)
		return conn_fail(c, -EDEADLK, "a call-back cannot wait");
	while (!done(arg)) {
		int left, r = connectd_process(c);

		if (r < 0)
			return r;
		if (done(arg))
			break;
		left = time_left(c, timeout_ms, until);
		if (left == 0)
			return conn_fail(c, -ETIMEDOUT, "timed out");
		if (r > 0)
			continue;
		r = io_wait(c->io, left);
		if (r < 0)
			return conn_fail(c, r, "interrupted by a signal");
	}
	return 0;
}

void
connectd_cork(struct connectd *c)
{
	c->corked++;
}

int
connectd_uncork(struct connectd *c)
{
	if (c->corked > 0)
		c->corked--;
	if (c->state == CONN_DEAD)
		return -ENOTCONN;
	if (c->corked == 0 && !c->entered)
		conn_output(c);
	return 0;
}

/* ---------------------------------------------------------- open and close */

static struct connectd *
make(const struct connectd_options *o)
{
	const char *path = o->socket != NULL ? o->socket : getenv("CONNECTD_SOCKET");
	struct connectd *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	if (path == NULL || path[0] == '\0')
		path = CONNECTD_DEFAULT_SOCKET;
	c->io = io_new();
	c->path = strdup(path);
	c->application = strdup(o->application != NULL ? o->application : "");
	c->in = malloc(CONN_IN);
	if (c->io == NULL || c->path == NULL || c->application == NULL || c->in == NULL) {
		io_free(c->io);
		free(c->path);
		free(c->application);
		free(c->in);
		free(c);
		return NULL;
	}
	c->timeout_ms = o->timeout_ms > 0 ? (unsigned)o->timeout_ms : CONN_TIMEOUT;
	c->no_reconnect = o->no_reconnect != 0;
	c->backoff_ms = CONN_BACKOFF_MIN;
	c->retry_at = c->greet_by = c->timer_at = UINT64_MAX;
	out_init(&c->out);
	dict_in_init(&c->dict_in);
	producers_init(c);
	consumers_init(c);
	c->producers.window_messages = o->window_messages > 0 ? o->window_messages : PRODUCER_WINDOW;
	c->producers.window_bytes = o->window_bytes > 0 ? o->window_bytes : PRODUCER_WINDOW_BYTES;
	return c;
}

static bool
attempt_over(void *arg)
{
	return ((struct connectd *)arg)->state != CONN_GREETING;
}

int
connectd_open(const struct connectd_options *opt, struct connectd **ret)
{
	struct connectd_options o = { 0 };
	struct connectd *c;
	int r;

	*ret = NULL;
	if (opt != NULL)
		memcpy(&o, opt, opt->size < sizeof(o) ? opt->size : sizeof(o));
	c = make(&o);
	if (c == NULL)
		return -ENOMEM;
	*ret = c;
	if (strlen(c->application) > APPLICATION_MAX) {
		c->state = CONN_DEAD;
		return conn_fail(c, -ENAMETOOLONG, "the application's name is longer than %d bytes", APPLICATION_MAX);
	}
	conn_dial(c);
	conn_arm(c);
	if (o.keep_trying)
		return 0;
	r = conn_until(c, -1, attempt_over, c);
	if (c->state == CONN_UP)
		return 0;
	if (c->state == CONN_GREETING)
		conn_lost(c, r); /* interrupted */
	c->state = CONN_DEAD;
	return r < 0 ? r : c->failure;
}

/*
 * Close the session in order. What was acked must be known to the daemon, else
 * it comes again: so wait, but not for long, until everything is written and,
 * if anything was consumed, until the daemon has read it and hung up.
 */
static void
say_goodbye(struct connectd *c)
{
	uint64_t until = conn_now(c) + CONN_GOODBYE;
	bool consumed = !list_empty(&c->consumers.all);

	consumers_flush(c);
	conn_put(c, &(struct wire_frame){ .kind = WIRE_CLOSE, .u.close = { .code = WIRE_CLOSE_NORMAL } });
	io_timer(c->io, UINT64_MAX);
	for (;;) {
		size_t written;
		int left, r = out_flush(&c->out, c->io, &written);
		ssize_t n;

		if (r < 0 || (r == 0 && !consumed))
			return;
		io_want_write(c->io, r == 1);
		left = time_left(c, 0, until);
		n = io_read(c->io, c->in, CONN_IN); /* of no interest any more */
		if (left == 0 || n == 0 || (n < 0 && n != -EAGAIN))
			return;
		if (n < 0 && io_wait(c->io, left) <= 0)
			return;
	}
}

void
connectd_close(struct connectd *c)
{
	bool forked;

	if (c == NULL)
		return;
	if (c->entered) {
		c->closing = true; /* when the call-back has returned */
		return;
	}
	forked = io_forked(c->io);
	c->entered = c->closing = true;
	if (c->state == CONN_UP && !forked)
		say_goodbye(c);
	c->state = CONN_DEAD;
	producers_cancel(c, forked);
	consumers_done(c);
	producers_done(c);
	out_done(&c->out);
	dict_in_reset(&c->dict_in);
	io_free(c->io);
	free(c->path);
	free(c->application);
	free(c->in);
	free(c);
}

const char *
connectd_last_error(const struct connectd *c)
{
	return c != NULL ? c->error : "out of memory";
}

int
connectd_get_fd(const struct connectd *c)
{
	return io_fd(c->io);
}

int
connectd_is_up(const struct connectd *c)
{
	return c->state == CONN_UP;
}

const char *
connectd_node(const struct connectd *c)
{
	return c->node;
}

const char *
connectd_version(void)
{
	return CONNECTD_VERSION;
}
