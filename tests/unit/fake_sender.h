/*
 * fake_sender: what the tests of the sending half share: a message in one
 * call, and a record of what became of each.
 */
#ifndef FAKE_SENDER_H
#define FAKE_SENDER_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fake_daemon.h"

#define ACCEPTED CONNECTD_TELL(CONNECTD_ACCEPTED)
#define STORED CONNECTD_TELL(CONNECTD_STORED)
#define ARRIVED CONNECTD_TELL(CONNECTD_ARRIVED)

/* What a message was told. */
struct told {
	int calls, finals;
	enum connectd_level level; /* of the last call */
	int result;
	uint64_t number;
	char reason[100];
};

static inline void
tell(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	struct told *t = userdata;

	(void)c;
	(void)m;
	ck_assert_int_eq(t->finals, 0); /* nothing comes after the final call */
	t->calls++;
	t->finals += o->final;
	t->level = o->level;
	t->result = o->result;
	t->number = o->number;
	strncpy(t->reason, o->reason, sizeof(t->reason) - 1);
}

/* Send len bytes of the letter; t may be NULL. */
static inline void
send_body(struct fake *d, const char *dest, char letter, size_t len, unsigned levels, struct told *t)
{
	struct connectd_msg *m = connectd_msg_new(dest);
	char *body = malloc(len + 1);

	memset(body, letter, len);
	ck_assert_int_eq(connectd_msg_set_type_body(m, "shop.X", body, len), 0);
	ck_assert_int_eq(connectd_send(d->c, m, levels, t != NULL ? tell : NULL, t), 0);
	connectd_msg_unref(m);
	free(body);
}

static inline void
send_one(struct fake *d, char letter, unsigned levels, struct told *t)
{
	send_body(d, "orders", letter, 1, levels, t);
}

/* Step until it was told that often. */
static inline void
await_calls(struct fake *d, const struct told *t, int calls)
{
	while (t->calls < calls)
		ck_assert_int_eq(connectd_wait(d->c, 5000), 1);
	ck_assert_int_eq(t->calls, calls);
}

/* The flow opens; returns its id. */
static inline uint32_t
open_flow(struct fake *d, uint64_t accepted)
{
	uint32_t flow = fake_expect(d, WIRE_OPEN_FLOW).u.open_flow.flow;

	fake_flow_ok(d, flow, accepted);
	return flow;
}

/* One item comes, with that number and one byte of body. */
static inline void
expect_letter(struct fake *d, uint64_t number, char letter, uint32_t flags)
{
	struct fake_item i = fake_expect_item(d);

	ck_assert_uint_eq(i.number, number);
	ck_assert_uint_eq(i.item.body.len, 1);
	ck_assert_int_eq(i.item.body.data[0], letter);
	ck_assert_uint_eq(i.item.flags, flags);
}

#endif
