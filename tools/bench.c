#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "connectd.h"

#define BATCH 256          /* messages gathered into one write */
#define WARM_UP 200        /* round trips before latency counts */
#define PATIENCE_MS 10000  /* silence after which something is lost */
#define STEP_MS 100        /* how often to look whether the other process is done */
#define HELLO UINT64_MAX   /* a number that is no message's: proves that a queue delivers to us */
#define SEEN_MAX (UINT64_C(1) << 33) /* numbers that can be told apart: 1 GiB of bits */

static int fail(char error[static 256], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int
fail(char error[static 256], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(error, 256, fmt, ap);
	va_end(ap);
	return 1;
}

/* A connection, or NULL with error set. */
static struct connectd *
open_at(const char *socket, char error[static 256])
{
	struct connectd_options opt = { .size = sizeof(opt), .socket = socket, .application = "connectctl bench",
		.no_reconnect = 1 };
	struct connectd *c;
	int r = connectd_open(&opt, &c);

	if (r == 0)
		return c;
	fail(error, "%s: %s", socket, c != NULL ? connectd_last_error(c) : strerror(-r));
	connectd_close(c);
	return NULL;
}

static int
broken(struct connectd *c, const char *socket, int r, char error[static 256])
{
	const char *why = connectd_last_error(c);

	return fail(error, "%s: %s", socket, *why != '\0' ? why : strerror(-r));
}

/* A message of this run; `body` starts with its number. NULL: errno. */
static struct connectd_msg *
make(const struct bench_plan *plan, const char *dest, const void *body, size_t len)
{
	struct connectd_msg *m = connectd_msg_new(dest);

	if (m == NULL)
		return NULL;
	if (connectd_msg_set_type_body(m, plan->type, body, len) == 0 &&
	    (!plan->memory || connectd_msg_set_durability(m, CONNECTD_MEMORY) == 0))
		return m;
	connectd_msg_unref(m);
	errno = ENOMEM;
	return NULL;
}

/* Is it of this run? Then its number. */
static bool
number_of(const struct bench_plan *plan, const struct connectd_msg *m, uint64_t *ret)
{
	size_t len;
	const void *body = connectd_msg_get_body(m, &len);

	if (strcmp(connectd_msg_get_type(m), plan->type) != 0 || len < sizeof(*ret))
		return false;
	memcpy(ret, body, sizeof(*ret));
	return true;
}

/* Subscribing does not wait: send ourselves a message, so that its coming proves that the queue is there. */
static int
say_hello(const struct bench_plan *plan, struct connectd *c, const char *queue)
{
	uint64_t number = HELLO;
	struct connectd_msg *m = make(plan, queue, &number, sizeof(number));
	int r;

	if (m == NULL)
		return -errno;
	r = connectd_send_wait(c, m, CONNECTD_ACCEPTED, PATIENCE_MS);
	connectd_msg_unref(m);
	return r;
}

/* --------------------------------------------------------------- producer */

struct producer {
	const struct bench_plan *plan;
	struct bench_shared *sh;
	struct connectd *c;
	char *body;
	uint64_t refused;
	char why[160];
};

static void
outcome(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	struct producer *p = userdata;

	(void)c;
	(void)m;
	if (o->final && o->level == CONNECTD_STORED)
		p->sh->stored = true;
	if (o->result != 0 && p->refused++ == 0)
		snprintf(p->why, sizeof(p->why), "%s", *o->reason != '\0' ? o->reason : strerror(-o->result));
}

/* Send number n. 0, -EAGAIN, or another negative errno. */
static int
produce_one(struct producer *p, uint64_t n, const char *reply_to)
{
	struct connectd_msg *m;
	int r = 0;

	memcpy(p->body, &n, sizeof(n));
	m = make(p->plan, p->plan->dest, p->body, p->plan->size);
	if (m == NULL)
		return -errno;
	if (reply_to != NULL)
		r = connectd_msg_set_reply_to(m, reply_to);
	if (r == 0)
		r = connectd_send(p->c, m, 0, outcome, p); /* as safe as the queue makes it */
	connectd_msg_unref(m);
	return r;
}

static int
produce_bulk(struct producer *p)
{
	uint64_t n = 0, stop = clock_ns() + p->plan->duration_ns;
	int r = 0, u;

	while (p->refused == 0 && clock_ns() < stop) {
		connectd_cork(p->c);
		for (unsigned i = 0; i < BATCH && r == 0; i++) {
			r = produce_one(p, n, NULL);
			n += r == 0;
		}
		u = connectd_uncork(p->c);
		atomic_store_explicit(&p->sh->sent, n, memory_order_relaxed);
		if (u < 0)
			return u;
		if (r < 0 && r != -EAGAIN)
			return r;
		/* A full window waits for the daemon; otherwise only take what is there. */
		u = r == -EAGAIN ? connectd_wait(p->c, STEP_MS) : connectd_process(p->c);
		if (u < 0)
			return u;
		r = 0;
	}
	return connectd_flush(p->c, PATIENCE_MS);
}

/* One round trip: its time, or a negative errno. */
static int64_t
round_trip(struct producer *p, uint64_t n)
{
	uint64_t start = clock_ns(), number;
	struct connectd_msg *m;
	int64_t took;
	int r = produce_one(p, n, p->plan->replies);

	if (r < 0)
		return r;
	do {
		r = connectd_recv(p->c, &m, PATIENCE_MS);
		if (r < 0)
			return r;
		took = (int64_t)(clock_ns() - start);
		if (!number_of(p->plan, m, &number))
			number = HELLO;
		connectd_ack(p->c, m);
		connectd_msg_unref(m);
	} while (number != n); /* a late answer to something else */
	return took;
}

static int
produce_latency(struct producer *p)
{
	const char *queue = strchr(p->plan->replies, '/') + 1;
	struct connectd_consumer *k;
	uint64_t n = 0, stop;
	int64_t took;
	int r;

	r = connectd_consume(p->c, queue, NULL, NULL, NULL, &k);
	if (r == 0)
		r = say_hello(p->plan, p->c, queue);
	if (r < 0)
		return r;
	for (; n < WARM_UP; n++)
		if ((took = round_trip(p, n)) < 0)
			return (int)took;
	for (stop = clock_ns() + p->plan->duration_ns; clock_ns() < stop; n++) {
		took = round_trip(p, n);
		if (took < 0)
			return (int)took;
		histogram_add(&p->sh->latency, (uint64_t)took);
		atomic_store_explicit(&p->sh->sent, n + 1, memory_order_relaxed);
	}
	atomic_store(&p->sh->sent, n);
	return connectd_flush(p->c, PATIENCE_MS); /* the answer may be here before the confirm */
}

int
bench_produce(const struct bench_plan *plan, struct bench_shared *sh)
{
	struct producer p = { .plan = plan, .sh = sh };
	int r;

	p.c = open_at(plan->from, sh->error[0]);
	if (p.c == NULL)
		return 1;
	p.body = calloc(1, plan->size);
	r = p.body == NULL ? -ENOMEM : plan->latency ? produce_latency(&p) : produce_bulk(&p);
	if (p.refused > 0)
		r = fail(sh->error[0], "%" PRIu64 " messages for %s were refused: %s", p.refused, plan->dest, p.why);
	else if (r < 0)
		r = broken(p.c, plan->from, r, sh->error[0]);
	atomic_store(&sh->done, true);
	connectd_close(p.c);
	free(p.body);
	return r != 0;
}

/* --------------------------------------------------------------- consumer */

struct consumer {
	const struct bench_plan *plan;
	struct bench_shared *sh;
	struct connectd *c;
	uint8_t *seen; /* a bit a number */
	uint64_t room; /* bits of it */
	uint64_t next; /* one above the highest number */
	uint64_t last; /* when something came */
	bool greeted, refused;
	int result;
};

/* Mark n as seen; was it before? A negative errno if it is beyond all memory. */
static int
mark_seen(struct consumer *k, uint64_t n)
{
	if (n >= SEEN_MAX)
		return -ERANGE;
	while (n >= k->room) {
		uint64_t room = k->room > 0 ? 2 * k->room : 1 << 20;
		uint8_t *seen = realloc(k->seen, room / 8);

		if (seen == NULL)
			return -ENOMEM;
		memset(seen + k->room / 8, 0, (room - k->room) / 8);
		k->seen = seen;
		k->room = room;
	}
	if (k->seen[n / 8] & 1 << n % 8)
		return 1;
	k->seen[n / 8] |= (uint8_t)(1 << n % 8);
	return 0;
}

static void
count(struct consumer *k, uint64_t n)
{
	struct bench_shared *sh = k->sh;
	uint64_t now = clock_ns();
	int seen = mark_seen(k, n);

	if (seen < 0) {
		k->result = seen;
	} else if (seen > 0) {
		sh->duplicates++;
	} else {
		if (n < k->next)
			sh->reordered++;
		else
			k->next = n + 1;
		if (sh->received == 0)
			atomic_store_explicit(&sh->first_ns, now, memory_order_relaxed);
		atomic_store_explicit(&sh->last_ns, now, memory_order_relaxed);
		atomic_store_explicit(&sh->received, sh->received + 1, memory_order_relaxed);
	}
	k->last = now;
}

/* Latency: send it back to where it came from. */
static void
echo(struct consumer *k, struct connectd_msg *m)
{
	const char *to = connectd_msg_get_reply_to(m);
	size_t len;
	const void *body = connectd_msg_get_body(m, &len);
	struct connectd_msg *answer = to != NULL ? make(k->plan, to, body, len) : NULL;

	if (answer == NULL)
		k->result = -EINVAL;
	else
		k->result = connectd_send(k->c, answer, 0, NULL, NULL);
	connectd_msg_unref(answer);
}

static void
arrived(struct connectd *c, struct connectd_consumer *consumer, struct connectd_msg *m, void *userdata)
{
	struct consumer *k = userdata;
	uint64_t n;

	(void)consumer;
	if (m == NULL) {
		k->refused = true;
		return;
	}
	if (!number_of(k->plan, m, &n)) {
		/* Somebody else's: stays unacked, and goes back to its place when we close. */
		k->sh->strangers++;
		return;
	}
	if (n == HELLO) {
		k->greeted = true;
	} else {
		count(k, n);
		if (k->plan->latency && k->result == 0)
			echo(k, m);
	}
	connectd_ack(c, m);
}

/* Everything sent has come, or nothing comes any more. */
static bool
consumed_all(const struct consumer *k)
{
	if (!k->sh->done)
		return false;
	return k->sh->received >= k->sh->sent || clock_ns() - k->last > PATIENCE_MS * UINT64_C(1000000);
}

static int
consume_all(struct consumer *k, int ready)
{
	struct connectd_consumer *consumer;
	bool told = false;
	int r;

	r = connectd_consume(k->c, k->plan->queue, NULL, arrived, k, &consumer);
	if (r == 0)
		r = say_hello(k->plan, k->c, k->plan->queue);
	k->last = clock_ns();
	while (r >= 0 && k->result == 0 && !k->refused && k->sh->strangers == 0 && !consumed_all(k)) {
		if (k->greeted && !told) {
			told = true;
			if (write(ready, "", 1) != 1)
				return -errno;
		}
		if (!told && clock_ns() - k->last > PATIENCE_MS * UINT64_C(1000000))
			return -ETIMEDOUT;
		r = connectd_wait(k->c, STEP_MS);
	}
	return r < 0 ? r : k->result;
}

int
bench_consume(const struct bench_plan *plan, struct bench_shared *sh, int ready)
{
	struct consumer k = { .plan = plan, .sh = sh };
	int r;

	k.c = open_at(plan->to, sh->error[1]);
	if (k.c == NULL)
		return 1;
	r = consume_all(&k, ready);
	if (sh->strangers > 0)
		r = fail(sh->error[1], "queue %s holds messages that are not of this run: use another, or purge it", plan->queue);
	else if (k.refused || r < 0)
		r = broken(k.c, plan->to, r < 0 ? r : -EACCES, sh->error[1]);
	connectd_close(k.c);
	free(k.seen);
	return r != 0;
}
