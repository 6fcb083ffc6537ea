#include "program.h"

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TYPE "test.Text"

struct connectd *
program_open(const struct node *n, const char *application)
{
	struct connectd_options o = { .size = sizeof(o), .socket = n->socket, .application = application };
	struct connectd *c = NULL;
	int r = connectd_open(&o, &c);

	ck_assert_msg(r == 0, "%s: %s", n->name, connectd_last_error(c));
	return c;
}

uint64_t
program_clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ----------------------------------------------------------------- sending */

struct connectd_msg *
program_message(const char *dest, const char *text, size_t size)
{
	struct connectd_msg *m = connectd_msg_new(dest);
	size_t len = strlen(text) + 1;
	char *body = calloc(1, size > len ? size : len);

	ck_assert(m != NULL && body != NULL);
	memcpy(body, text, len);
	ck_assert_int_eq(connectd_msg_set_type_body(m, TYPE, body, size > len ? size : len), 0);
	free(body);
	return m;
}

static void
count_final(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	struct told *t = userdata;

	(void)c, (void)m;
	if (!o->final)
		return;
	if (o->result == 0 && o->level == CONNECTD_ARRIVED) {
		t->arrived++;
		return;
	}
	snprintf(t->reason, sizeof(t->reason), "%s", o->reason);
	if (o->result != -EBADMSG) {
		t->other++;
		return;
	}
	t->rejected += o->level == CONNECTD_REJECTED;
	t->expired += o->level == CONNECTD_EXPIRED;
	t->purged += o->level == CONNECTD_PURGED;
	t->dead += o->level == CONNECTD_DEAD;
	t->dropped += o->level == CONNECTD_DROPPED;
}

void
program_send(struct connectd *c, struct connectd_msg *m, struct told *told)
{
	int r;

	while ((r = connectd_send(c, m, told ? CONNECTD_TELL(CONNECTD_ARRIVED) : 0, told ? count_final : NULL, told)) == -EAGAIN)
		ck_assert_int_eq(connectd_wait(c, PROGRAM_PATIENCE_MS), 1);
	ck_assert_msg(r == 0, "%d: %s", r, connectd_last_error(c));
	connectd_msg_unref(m);
}

void
program_send_text(struct connectd *c, const char *dest, const char *text, struct told *told)
{
	program_send(c, program_message(dest, text, 0), told);
}

void
program_send_numbers(struct connectd *c, const char *dest, uint64_t first, uint64_t last, struct told *told)
{
	char text[32];

	for (uint64_t i = first; i <= last; i++) {
		snprintf(text, sizeof(text), "%" PRIu64, i);
		program_send_text(c, dest, text, told);
	}
}

void
program_flush(struct connectd *c)
{
	int r = connectd_flush(c, PROGRAM_PATIENCE_MS);

	ck_assert_msg(r == 0, "%d: %s", r, connectd_last_error(c));
}

/* --------------------------------------------------------------- consuming */

static struct connectd_consumer *
consume(struct connectd *c, const char *queue, uint32_t credit, int exclusive)
{
	struct connectd_consume_options o = { .size = sizeof(o), .credit_messages = credit, .exclusive = exclusive };
	struct connectd_consumer *k;

	ck_assert_int_eq(connectd_consume(c, queue, &o, NULL, NULL, &k), 0);
	return k;
}

struct connectd_consumer *
program_consume(struct connectd *c, const char *queue, uint32_t credit)
{
	return consume(c, queue, credit, 0);
}

struct connectd_consumer *
program_consume_alone(struct connectd *c, const char *queue)
{
	return consume(c, queue, 0, 1);
}

struct connectd_msg *
program_take(struct connectd *c)
{
	struct connectd_msg *m;
	int r = connectd_recv(c, &m, PROGRAM_PATIENCE_MS);

	ck_assert_msg(r == 0, "%d: %s", r, connectd_last_error(c));
	return m;
}

const char *
program_text(const struct connectd_msg *m)
{
	size_t len;
	const char *text = connectd_msg_get_body(m, &len);

	ck_assert(len > 0 && memchr(text, 0, len) != NULL);
	return text;
}

struct connectd_msg *
program_expect(struct connectd *c, const char *text, uint32_t attempt)
{
	struct connectd_msg *m = program_take(c);

	ck_assert_str_eq(program_text(m), text);
	ck_assert_uint_eq(connectd_msg_get_attempt(m), attempt);
	ck_assert_int_eq((connectd_msg_get_flags(m) & CONNECTD_REDELIVERED) != 0, attempt > 1);
	return m;
}

void
program_ack(struct connectd *c, struct connectd_msg *m)
{
	ck_assert_int_eq(connectd_ack(c, m), 0);
	connectd_msg_unref(m);
}

void
program_expect_numbers(struct connectd *c, uint64_t first, uint64_t last)
{
	char text[32];

	for (uint64_t i = first; i <= last; i++) {
		snprintf(text, sizeof(text), "%" PRIu64, i);
		program_ack(c, program_expect(c, text, 1));
	}
}
