/*
 * One very large message over a link that is cut again and again: it arrives
 * whole, nothing that was there is sent again, and small messages of other
 * queues flow in both directions all the while.
 *
 *	LARGE_MB=n   its size (64, soak 1024)
 *	CUT_MS=n     between cuts (700, soak 3000)
 */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"
#include "proxy.h"
#include "soak.h"

#define SPLIT 400 /* bytes at a time: a link that is not too fast */
#define QUEUE(name) "[queue \"" name "\"]\ndurable = yes\nmax_bytes = 4G\n"
#define QUICK "plaintext = yes\nbackoff_min = 10ms\nbackoff_max = 50ms\n"
#define NODE "segment = %uM\nmax_disk = %" PRIu64 "M\nmax_message = %" PRIu64 "M\nmax_memory = %" PRIu64 "M\nmax_partial = %" PRIu64 "M\n"
#define BERLIN NODE "[listen \"lan\"]\naddress = tcp://127.0.0.1:0\nplaintext = yes\n" QUEUE("large") QUEUE("small") QUEUE("paris/*") \
	"[peer \"paris\"]\nfrom = 127.0.0.0/8\nmax_backlog = 100G\n" QUICK
#define PARIS NODE QUEUE("small") QUEUE("berlin/*") "[peer \"berlin\"]\nmax_backlog = 100G\naddress = %s\n" QUICK

static struct node paris, berlin;
static struct proxy proxy;

/* Texts "1", "2" ... one at a time from one node to a queue of the other. */
struct pair {
	struct connectd *from, *to;
	const char *dest;
	struct told told;
	uint64_t sent, received, sent_ms, longest;
};

static void
pair_open(struct pair *p, const struct node *from, const struct node *to, const char *dest)
{
	*p = (struct pair){ .from = program_open(from, "small"), .to = program_open(to, "small"), .dest = dest };
	program_consume(p->to, "small", 0);
}

static void
pair_step(struct pair *p)
{
	struct connectd_msg *m;
	char text[32];

	if (p->sent == p->received) {
		snprintf(text, sizeof(text), "%" PRIu64, ++p->sent);
		program_send(p->from, program_message(p->dest, text, 100), &p->told);
		p->sent_ms = program_clock_ms();
	}
	ck_assert_int_ge(connectd_process(p->from), 0);
	if (connectd_recv(p->to, &m, 1) != 0)
		return;
	ck_assert_uint_eq(strtoull(program_text(m), NULL, 10), ++p->received);
	program_ack(p->to, m);
	if (program_clock_ms() - p->sent_ms > p->longest)
		p->longest = program_clock_ms() - p->sent_ms;
}

static void
pair_close(struct pair *p)
{
	connectd_close(p->to);
	connectd_close(p->from);
}

static uint8_t
pattern(size_t i)
{
	return (uint8_t)(i * 2654435761u >> 13 ^ i);
}

static struct connectd_msg *
large(size_t size)
{
	struct connectd_msg *m = connectd_msg_new("berlin/large");
	uint8_t *body = malloc(size);

	ck_assert(m != NULL && body != NULL);
	for (size_t i = 0; i < size; i++)
		body[i] = pattern(i);
	ck_assert_int_eq(connectd_msg_set_type_body(m, "test.Large", body, size), 0);
	free(body);
	return m;
}

static void
take_large(struct connectd *c, size_t size)
{
	struct connectd_msg *m;
	const uint8_t *body;
	size_t len, i = 0;
	int r = connectd_recv(c, &m, 120000);

	ck_assert_msg(r == 0, "%d: %s", r, connectd_last_error(c));
	body = connectd_msg_get_body(m, &len);
	ck_assert_uint_eq(len, size);
	while (i < len && body[i] == pattern(i))
		i++;
	ck_assert_msg(i == len, "byte %zu of %zu is wrong", i, len);
	program_ack(c, m);
}

START_TEST(arrives_whole)
{
	uint64_t mb = soak_value("LARGE_MB", 64, 1024), every = soak_value("CUT_MS", 700, 3000), cuts = 0, start, next, passed;
	unsigned segment = mb > 256 ? 64 : 4;
	size_t size = (size_t)mb << 20;
	struct connectd *from, *to;
	struct pair there, back;
	struct told told = { 0 };

	node_init(&berlin, "berlin", BERLIN, segment, 6 * mb + 1000, mb, 4 * mb + 64, 2 * mb);
	node_start(&berlin);
	proxy_start(&proxy, berlin.url);
	node_init(&paris, "paris", PARIS, segment, 6 * mb + 1000, mb, 4 * mb + 64, 2 * mb, proxy.url);
	node_start(&paris);
	node_await_peer(&paris, "berlin", "up");
	pair_open(&there, &paris, &berlin, "berlin/small");
	pair_open(&back, &berlin, &paris, "paris/small");
	from = program_open(&paris, "sender");
	to = program_open(&berlin, "receiver");
	proxy_split(&proxy, SPLIT);
	start = program_clock_ms();
	passed = proxy_passed(&proxy);
	next = start + every;
	program_send(from, large(size), &told);
	while (told.arrived == 0) {
		ck_assert_int_ge(connectd_process(from), 0);
		pair_step(&there);
		pair_step(&back);
		ck_assert_uint_eq(told.rejected + told.other, 0);
		/* Small ones must get through between two cuts, in what time this machine needs; if they do not there are too few cuts. */
		if (program_clock_ms() < next || there.received <= 5 * (cuts + 1) || back.received <= 5 * (cuts + 1))
			continue;
		next = program_clock_ms() + every;
		cuts += proxy_cut(&proxy) > 0;
	}
	passed = proxy_passed(&proxy) - passed;
	printf("t_large_cut: %" PRIu64 " MiB in %" PRIu64 " ms over %" PRIu64 " cuts, %" PRIu64 " MiB passed; %" PRIu64 " and %" PRIu64
	       " small ones meanwhile, the slowest took %" PRIu64 " and %" PRIu64 " ms\n",
	    mb, program_clock_ms() - start, cuts, passed >> 20, there.received, back.received, there.longest, back.longest);
	ck_assert_uint_ge(cuts, 3);
	/* What was on its way at a cut is sent again, and no more. */
	ck_assert_uint_lt(passed, size + size / 2);
	ck_assert(there.received > 5 * cuts && back.received > 5 * cuts);
	proxy_split(&proxy, 0);
	program_consume(to, "large", 0);
	take_large(to, size);
	program_flush(there.from);
	program_flush(back.from);
	node_await_queue(&berlin, "large", queue_holds, 0);
	node_await_queue(&paris, "berlin/large", queue_holds, 0);
	pair_close(&there);
	pair_close(&back);
	connectd_close(to);
	connectd_close(from);
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
	proxy_stop(&proxy);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("large_cut");
	TCase *tc = tcase_create("large_cut");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, soak_timeout(soak_value("LARGE_MB", 64, 1024)));
	tcase_add_test(tc, arrives_whole);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	setvbuf(stdout, NULL, _IOLBF, 0);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed != 0);
	srunner_free(sr);
	return failed != 0;
}
