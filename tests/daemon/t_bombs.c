/*
 * Frames made to cost more than they weigh: each costs the daemon at most 8 MB,
 * for a moment, and leaves nothing behind.
 */
#include <check.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "frame.h"
#include "proc.h"
#include "raw.h"
#include "witness.h"

#define MB (1024 * 1024)
#define COST (8 * MB)
#define REST (2 * MB) /* what allocators keep by the way */

static struct witness w;
static uint64_t memory_before;

static void
begin(void)
{
	witness_begin(&w, "", "[peer \"rome\"]\nplaintext = yes\nfrom = 127.0.0.0/8\n");
}

static void
light(void)
{
	proc_reset_peak(w.paris.pid);
	memory_before = proc_memory(w.paris.pid);
}

/* Since light() it cost at most so much. */
static void
spent(const char *what, uint64_t most)
{
	uint64_t peak = proc_peak(w.paris.pid);

	if (PROC_MEMORY_COUNTS)
		ck_assert_msg(peak <= memory_before + most, "%s: from %" PRIu64 " KiB up to %" PRIu64, what, memory_before / 1024, peak / 1024);
}

/* And it is free again, as soon as whoever it was is gone from the books. */
static void
freed(const char *what)
{
	uint64_t now;

	witness_serves(&w);
	now = proc_memory(w.paris.pid);
	if (PROC_MEMORY_COUNTS)
		ck_assert_msg(now <= memory_before + REST, "%s: from %" PRIu64 " KiB to %" PRIu64 " for good", what, memory_before / 1024,
		    now / 1024);
}

static struct raw *
client(void)
{
	struct raw *r = raw_client(&w.paris);

	raw_greet_client(r);
	return r;
}

/* The session ends with it, or lives on. */
static void
ends(struct raw *r, enum wire_close_code code)
{
	int told = raw_end(r);

	ck_assert_msg(told == (int)code, "%d, not %s", told, wire_close_name(code));
	raw_close(r);
	witness_closed(&w, WITNESS_CLIENT, code);
}

static void
open_flow(struct raw *r, uint32_t id, const char *queue)
{
	raw_frame(r, &(struct wire_frame){ .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = id, .address = wire_string(queue),
	    .producer = wire_bytes(&id, sizeof(id)), .highest_used = UINT64_MAX } });
	raw_until(r, WIRE_FLOW_STATE);
	ck_assert_uint_eq(r->f.u.flow_state.verdict, WIRE_VERDICT_OK);
}

/* A frame of one kind, and in it one pattern again and again: as many as there is room for. */
static size_t
fill(uint8_t *buf, size_t size, uint32_t kind, const char *front, size_t front_len, const char *pattern, size_t pattern_len)
{
	size_t n = (size - 16 - front_len) / pattern_len, inside = front_len + n * pattern_len, at = 0;

	at += wire_put_number(buf, kind << 3 | 2);
	at += wire_put_number(buf + at, inside);
	memcpy(buf + at, front, front_len);
	at += front_len;
	for (size_t i = 0; i < n; i++, at += pattern_len)
		memcpy(buf + at, pattern, pattern_len);
	return at;
}

/* 128 KiB of empty items, far more than a run may have; in several kinds. */
START_TEST(empty_items)
{
	static uint8_t buf[WIRE_FRAME_MAX];
	struct raw *r;
	size_t len;

	begin();
	light();
	for (int i = 0; i < 20; i++) {
		r = client();
		len = fill(buf, sizeof(buf), i % 2 ? WIRE_DELIVER : WIRE_TRANSFER, "\x08\x01\x10\x01", 4, "\x1a\x00", 2);
		raw_payload(r, buf, len);
		ends(r, WIRE_CLOSE_TOO_LARGE);
	}
	spent("empty items", COST);
	freed("empty items");
	witness_end(&w);
}
END_TEST

/* As many as a run may have, again and again the same: the first are taken, and the others known. */
START_TEST(full_runs)
{
	static const struct wire_item items[WIRE_ITEMS_MAX];
	uint64_t granted, used = 0, n = 0;
	struct raw *r;

	begin();
	r = client();
	open_flow(r, 1, "inbox");
	granted = r->f.u.flow_state.credit_messages;
	light();
	for (int i = 0; i < 40; i++) {
		uint64_t run;

		while (granted == used) {
			raw_until(r, WIRE_CREDIT);
			if (!r->f.u.credit.session)
				granted = r->f.u.credit.messages;
		}
		run = granted - used < WIRE_ITEMS_MAX ? granted - used : WIRE_ITEMS_MAX;
		if (i == 0)
			n = run;
		else if (run > n)
			run = n;
		raw_run(r, WIRE_TRANSFER, 1, 1, items, run);
		used += run;
	}
	raw_alive(r);
	spent("full runs", COST);
	node_await_queue(&w.paris, "inbox", queue_holds, n);
	ck_assert_uint_gt(used, n);
	raw_close(r);
	node_check_books(&w.paris);
	witness_end(&w);
}
END_TEST

/* Fields that nobody knows: flat, nested, as long as their frames may be. */
START_TEST(unknown_fields)
{
	static uint8_t buf[WIRE_FRAME_MAX], nested[WIRE_FRAME_MAX];
	size_t len, at = sizeof(nested);
	struct raw *r;

	begin();
	/* From the inside: each holds the one before, to the bound of a frame. */
	while (at > 16 + 10 && sizeof(nested) - at < WIRE_FRAME_MAX - 32) {
		uint8_t head[16];
		size_t n = wire_put_number(head, 15 << 3 | 2);

		n += wire_put_number(head + n, sizeof(nested) - at);
		at -= n;
		memcpy(nested + at, head, n);
	}
	light();
	r = client();
	for (int i = 0; i < 20; i++) {
		static const uint32_t kinds[] = { WIRE_PING, WIRE_CREDIT, WIRE_UNSUBSCRIBE, 100 };

		len = fill(buf, WIRE_CONTROL_MAX, kinds[i % 4], "", 0, i % 8 < 4 ? "\xf8\x01\x01" : "\xfa\x01\x00", 3);
		raw_payload(r, buf, len);
		raw_alive(r);
	}
	/* An item with nothing in it but those, and nests deep as a frame. */
	open_flow(r, 1, "inbox");
	len = fill(buf, sizeof(buf), WIRE_TRANSFER, "\x08\x01\x10\x01\x1a\x00", 6, "\xfa\x01\x00", 3);
	raw_payload(r, buf, len);
	raw_alive(r);
	node_await_queue(&w.paris, "inbox", queue_holds, 1);
	len = wire_put_number(buf, WIRE_TRANSFER << 3 | 2);
	len += wire_put_number(buf + len, 2 + sizeof(nested) - at);
	buf[len++] = 0x08; /* of flow 1, without an item */
	buf[len++] = 0x01;
	memcpy(buf + len, nested + at, sizeof(nested) - at);
	raw_payload(r, buf, len + sizeof(nested) - at);
	raw_alive(r);
	raw_close(r);
	witness_none_closed(&w);
	spent("unknown fields", COST);
	freed("unknown fields");
	witness_end(&w);
}
END_TEST

/* Types of eight sessions, 512 KiB each at the end. */
static void
fill_dictionaries(void)
{
	char type[WIRE_TYPE_MAX + 1];
	struct raw *r[8];

	for (int k = 0; k < 8; k++) {
		r[k] = client();
		for (uint32_t i = 0; i < 4 * WIRE_DICTIONARY; i++) {
			memset(type, 't', WIRE_TYPE_MAX);
			snprintf(type, sizeof(type), "%d-%u", k, i);
			type[strlen(type)] = 't';
			raw_frame(r[k], &(struct wire_frame){ .kind = WIRE_DEFINE,
			    .u.define = { WIRE_DEFINE_TYPE, i % WIRE_DICTIONARY + 1, wire_bytes(type, WIRE_TYPE_MAX) } });
		}
		raw_alive(r[k]);
	}
	for (int k = 0; k < 8; k++)
		raw_close(r[k]);
	witness_serves(&w);
}

/* Dictionaries filled to the brim, and over and over again. */
START_TEST(dictionaries)
{
	uint8_t buf[512];
	struct raw *peer;

	begin();
	light();
	fill_dictionaries();
	spent("dictionaries", COST);
	/* Spread over the heap, what was freed may stay with the allocator: for the next ones. */
	light();
	fill_dictionaries();
	fill_dictionaries();
	spent("dictionaries again", REST);
	freed("dictionaries again");
	light();
	peer = raw_peer(&w.paris);
	raw_meet(peer, "rome", &w.paris);
	for (uint32_t i = 0; i < 4 * WIRE_DICTIONARY; i++) {
		char application[400];
		struct wire_origin o = { .node = wire_string("rome"), .uid = i };

		memset(application, 'a', sizeof(application));
		o.application = wire_bytes(application, sizeof(application));
		raw_frame(peer, &(struct wire_frame){ .kind = WIRE_DEFINE,
		    .u.define = { WIRE_DEFINE_ORIGIN, i % WIRE_DICTIONARY + 1, wire_bytes(buf, wire_pack_origin(&o, buf)) } });
	}
	raw_alive(peer);
	spent("origins", COST);
	raw_close(peer);
	freed("origins");
	witness_end(&w);
}
END_TEST

/* Bodies of which only the beginning ever comes: the rest takes no memory. */
START_TEST(promised_bodies)
{
	static const struct wire_item chunk = { .body = { (const uint8_t *)"begin", 5 }, .total = 16 * MB };
	struct raw *r;

	begin();
	r = client();
	open_flow(r, 1, "inbox");
	light();
	for (uint32_t i = 2; i < 20; i++) {
		open_flow(r, i, "inbox");
		if (r->f.u.flow_state.credit_messages == 0 || r->f.u.flow_state.credit_bytes == 0)
			break;
		raw_run(r, WIRE_TRANSFER, i, 1, &chunk, 1);
	}
	raw_alive(r);
	spent("promised bodies", COST);
	raw_close(r);
	freed("promised bodies");
	witness_end(&w);
}
END_TEST

/* Frames announced and not sent, on many sessions. */
START_TEST(announced_frames)
{
	struct raw *r[64];

	begin();
	for (size_t i = 0; i < 64; i++)
		r[i] = client();
	light();
	for (size_t i = 0; i < 64; i++) {
		raw_bytes(r[i], "\x80\x80\x08\x6a", 4);
		witness_serves(&w);
	}
	spent("announced frames", COST);
	for (size_t i = 0; i < 64; i++)
		raw_close(r[i]);
	freed("announced frames");
	witness_end(&w);
}
END_TEST

/*
 * Whoever asks without reading is answered once when it is a Ping; when it is
 * more, a program is not heard until it has read, and a peer is cut before it
 * is too much.
 */
START_TEST(questions_without_reading)
{
	static uint8_t many[64 * 1024];
	const struct wire_frame ping = { .kind = WIRE_PING, .u.ping.token = 77 };
	struct wire_frame open = { .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = 1, .address = wire_string("no/where"),
		.producer = wire_string("p") } };
	size_t len = 0, sent = 0;
	ssize_t n;
	struct raw *r;

	begin();
	while (sizeof(many) - len > 64)
		len += wire_pack(&ping, many + len);
	light();
	r = client();
	for (int i = 0; i < 200; i++)
		raw_bytes(r, many, len);
	witness_serves(&w);
	spent("pings", COST);
	raw_alive(r);
	raw_close(r);
	freed("pings");

	for (len = 0; sizeof(many) - len > 64;)
		len += wire_pack(&open, many + len);
	light();
	r = client();
	/* Until it takes no more, and has taken none since others were served. */
	for (unsigned stuck = 0; stuck < 20;) {
		n = send(r->fd, many + sent, len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		stuck = n < 0 ? stuck + 1 : 0;
		sent = n < 0 ? sent : (sent + (size_t)n) % len;
		if (n < 0)
			witness_serves(&w);
	}
	spent("questions of a program", COST);
	/* It is in its rights again when it has read: what it had begun to ask ends, and is answered. */
	while (sent > 0) {
		raw_until(r, WIRE_FLOW_STATE);
		n = send(r->fd, many + sent, len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		sent = n < 0 ? sent : (sent + (size_t)n) % len;
	}
	while (poll(&(struct pollfd){ .fd = r->fd, .events = POLLOUT }, 1, 0) == 0)
		raw_until(r, WIRE_FLOW_STATE);
	raw_alive(r);
	raw_close(r);
	freed("questions of a program");

	/* 16 MiB of answers may wait. */
	open.u.open_flow.producer.len = 0;
	for (len = 0; sizeof(many) - len > 64;)
		len += wire_pack(&open, many + len);
	light();
	r = raw_peer(&w.paris);
	raw_meet(r, "rome", &w.paris);
	for (int i = 0; i < 2000 && raw_bytes(r, many, len); i++)
		;
	raw_close(r);
	witness_closed(&w, WITNESS_PEER, WIRE_CLOSE_LIMIT);
	spent("questions", 16 * MB + COST);
	/* The control for all of these: what is spent is seen. */
	ck_assert(!PROC_MEMORY_COUNTS || proc_peak(w.paris.pid) > memory_before + COST);
	freed("questions");
	witness_end(&w);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("bombs");
	TCase *tc = tcase_create("bombs");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, empty_items);
	tcase_add_test(tc, full_runs);
	tcase_add_test(tc, unknown_fields);
	tcase_add_test(tc, dictionaries);
	tcase_add_test(tc, promised_bodies);
	tcase_add_test(tc, announced_frames);
	tcase_add_test(tc, questions_without_reading);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
