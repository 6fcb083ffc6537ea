/*
 * Random work on a store over a disk that crashes, against a model that knows
 * what each ticket changed: after every crash the store must hold exactly what
 * some prefix of the appended made, and at least what was told to be synced.
 * STORE_SEEDS and STORE_SEED in the environment choose how much, or which one.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_disk.h"
#include "fake_loop.h"
#include "store.h"

#define MESSAGES_MAX 4000
#define MOVES_MAX 3
#define TICKETS_MAX 20000
#define QUEUES 3
#define FLOWS 3
#define SEGMENT (64u << 10)
#define BODY_MAX 40000

struct move {
	uint64_t ticket, seq;
	uint32_t queue;
	uint8_t flags;
	bool has_note;
};

struct message {
	uint32_t id, queue, ref;
	uint64_t seq, put, done; /* tickets; done 0: not; put 0: was found */
	size_t len;
	uint8_t flags;
	bool has_note, cancelled, is_done;
	struct move moves[MOVES_MAX];
	unsigned n_moves;
	bool found;
};

struct number {
	uint64_t ticket, number;
};

static struct world {
	uint64_t random, seed;
	struct loop *loop;
	struct task_runner *writer, *reader;
	struct store *store;
	struct message messages[MESSAGES_MAX];
	size_t n;
	uint32_t next_id;
	uint64_t next_seq;
	uint64_t next_number[FLOWS + 1];
	struct number marks[FLOWS + 1][TICKETS_MAX];
	size_t n_marks[FLOWS + 1];
	bool inside[TICKETS_MAX]; /* a group goes on behind that ticket */
	uint64_t synced;
	enum store_state state;
	uint64_t found_marks[FLOWS + 1];
	struct store_found found[MESSAGES_MAX];
	size_t n_found;
	unsigned n_damaged;
	char damage[200];
	uint32_t starts;
	bool greedy; /* puts more than there is room for */
	uint64_t n_checked, n_crashes;
} w;

static char failure[400];
static uint8_t bytes[BODY_MAX + 65536];

#define FAIL(...) (snprintf(failure, sizeof(failure), __VA_ARGS__), false)

static uint64_t
draw(uint64_t below)
{
	w.random ^= w.random << 13;
	w.random ^= w.random >> 7;
	w.random ^= w.random << 17;
	return (w.random >> 11) % below;
}

/* -------------------------------------------------------------------- told -- */

static void
told_queue(void *arg, uint32_t queue, uint64_t last_seq, uint64_t offered, struct store_bytes definition)
{
	(void)arg, (void)queue, (void)last_seq, (void)offered, (void)definition;
}

static void
told_flow(void *arg, uint32_t flow, uint64_t mark, struct store_bytes definition)
{
	(void)arg, (void)definition;
	if (flow <= FLOWS)
		w.found_marks[flow] = mark;
}

static void
told_message(void *arg, const struct store_found *m)
{
	(void)arg;
	if (w.n_found < MESSAGES_MAX)
		w.found[w.n_found++] = *m;
}

static void
told_synced(void *arg, uint64_t ticket)
{
	(void)arg;
	w.synced = ticket;
}

static void
told_state(void *arg, enum store_state st, const char *why)
{
	(void)arg, (void)why;
	w.state = st;
}

static void
told_damaged(void *arg, const char *what)
{
	(void)arg;
	w.n_damaged++;
	snprintf(w.damage, sizeof(w.damage), "%s", what);
}

/* ------------------------------------------------------------------- model -- */

static bool
is_there(const struct message *m, uint64_t t)
{
	return !m->cancelled && m->put <= t && !(m->done && m->done <= t);
}

static void
home_at(const struct message *m, uint64_t t, uint32_t *queue, uint64_t *seq, uint8_t *flags, bool *note)
{
	*queue = m->queue;
	*seq = m->seq;
	*flags = m->flags;
	*note = m->has_note;
	for (unsigned i = 0; i < m->n_moves && m->moves[i].ticket <= t; i++) {
		*queue = m->moves[i].queue;
		*seq = m->moves[i].seq;
		*flags = m->moves[i].flags;
		*note |= m->moves[i].has_note;
	}
}

static struct store_found *
find(uint32_t queue, uint64_t seq)
{
	for (size_t i = 0; i < w.n_found; i++)
		if (w.found[i].queue == queue && w.found[i].seq == seq)
			return &w.found[i];
	return NULL;
}

static uint64_t
mark_at(uint32_t flow, uint64_t t)
{
	uint64_t n = 0;

	for (size_t i = 0; i < w.n_marks[flow]; i++)
		if (w.marks[flow][i].ticket <= t && w.marks[flow][i].number > n)
			n = w.marks[flow][i].number;
	return n;
}

static bool
matches(uint64_t t)
{
	size_t n = 0;

	for (size_t i = 0; i < w.n; i++) {
		struct message *m = &w.messages[i];
		struct store_found *f;
		uint32_t queue;
		uint64_t seq;
		uint8_t flags;
		bool note, there = is_there(m, t);

		home_at(m, t, &queue, &seq, &flags, &note);
		f = m->cancelled || m->put > t ? NULL : find(queue, seq);
		/* A done may go ahead of messages that wait for space, if it is in no group. */
		if (there && !f && m->done && !w.inside[m->done] && !w.inside[m->done - 1])
			continue;
		if (there != (f != NULL))
			return FAIL("message %u of %zu bytes (put %lu, %u moves, done %lu): %s in queue %u as %lu", m->id, m->len,
			    m->put, m->n_moves, m->done, there ? "missing" : "there", queue, seq);
		if (!f)
			continue;
		if (f->flags != flags || f->counter != m->id)
			return FAIL("message %u: other flags or counter", m->id);
		n++;
	}
	if (n != w.n_found)
		return FAIL("%zu messages are known, %zu were found", n, w.n_found);
	for (uint32_t f = 1; f <= FLOWS; f++)
		if (w.found_marks[f] != mark_at(f, t))
			return FAIL("mark of flow %u is %lu, should be %lu", f, w.found_marks[f], mark_at(f, t));
	return true;
}

/* What was found is where the model goes on from. */
static void
rebase(uint64_t t)
{
	size_t kept = 0;

	for (size_t i = 0; i < w.n; i++) {
		struct message m = w.messages[i];
		struct store_found *f;

		if (!is_there(&m, t))
			continue;
		home_at(&m, t, &m.queue, &m.seq, &m.flags, &m.has_note);
		f = find(m.queue, m.seq);
		if (!f)
			continue;
		m.ref = f->ref;
		m.put = m.done = 0;
		m.n_moves = 0;
		m.is_done = false;
		w.messages[kept++] = m;
	}
	w.n = kept;
	for (uint32_t f = 1; f <= FLOWS; f++) {
		w.marks[f][0] = (struct number){ 0, w.found_marks[f] };
		w.n_marks[f] = 1;
	}
	memset(w.inside, 0, sizeof(w.inside));
}

static bool
check(uint64_t from, uint64_t to)
{
	char first[400] = "";

	for (uint64_t t = from; t <= to; t++) {
		if (w.inside[t])
			continue;
		if (matches(t)) {
			rebase(t);
			w.n_checked++;
			return true;
		}
		if (getenv("STORE_SEED"))
			fprintf(stderr, "ticket %lu: %s\n", t, failure);
		if (!first[0])
			snprintf(first, sizeof(first), "%s", failure);
	}
	return FAIL("no prefix from %lu to %lu: %.200s; %.80s", from, to, first, w.damage);
}

/* -------------------------------------------------------------------- work -- */

#define EVIL_LEN 12000
#define EVIL_AT (4096 - 136) /* where a block begins in the body of a message that is alone in its batch */

static bool
is_evil(uint32_t id)
{
	return id % 24 == 0;
}

/* A journal inside a body: a batch that says everything is done, wherever a block begins. */
static void
fill_evil(uint8_t *p, size_t len)
{
	for (size_t at = EVIL_AT; at + 80 <= len; at += 4096) {
		uint8_t *b = p + at;

		memset(b, 0, 80);
		memcpy(b, "CNDB", 4);
		b[4] = 80;
		memset(b + 8, 0x3f, 7); /* a high number */
		b[16] = 1;
		b[40] = 40;
		b[44] = 2; /* done */
		b[56] = 1; /* queue */
		memset(b + 72, 0xff, 8);
	}
}

static void
fill_bytes(uint8_t *p, uint32_t id, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(id * 31 + i * 7 + (i >> 8));
	if (is_evil(id))
		fill_evil(p, len);
}

static int
open_store(void)
{
	struct store_config cfg = { .loop = w.loop, .disk = fake_disk.disk, .segment = SEGMENT, .max_disk = 24 * SEGMENT,
		.start_count = ++w.starts };
	struct store_recovery found = { .queue = told_queue, .flow = told_flow, .message = told_message };
	struct store_events ev = { .synced = told_synced, .state = told_state, .damaged = told_damaged };
	char why[200];
	int r;

	w.n_found = 0;
	memset(w.found_marks, 0, sizeof(w.found_marks));
	w.synced = 0;
	w.state = STORE_OPEN;
	cfg.writer = w.writer = task_runner_new(w.loop);
	cfg.reader = w.reader = task_runner_new(w.loop);
	r = store_open(&cfg, &found, &ev, &w.store, why);
	if (r == 0)
		return 0;
	task_runner_free(w.writer);
	task_runner_free(w.reader);
	w.store = NULL;
	return r;
}

static void
close_store(void)
{
	task_runner_free(w.writer);
	task_runner_free(w.reader);
	store_free(w.store);
	w.store = NULL;
	/* What the messages point to. */
}

static void *kept[TICKETS_MAX];
static size_t n_kept;

static void
free_kept(void)
{
	while (n_kept > 0)
		free(kept[--n_kept]);
}

static void
note_mark(uint32_t flow, uint64_t number)
{
	w.marks[flow][w.n_marks[flow]++] = (struct number){ store_ticket(w.store), number };
}

static void
put(bool small)
{
	size_t len = small ? draw(600) : draw(10) > 0 ? draw(600) : draw(20) > 0 ? draw(6000) : draw(BODY_MAX);
	struct message *m = &w.messages[w.n];
	struct store_message sm = { .queue = 1 + (uint32_t)draw(QUEUES), .seq = ++w.next_seq, .flags = 1 };
	uint8_t *data;

	if (is_evil(w.next_id + 1) && !small)
		len = EVIL_LEN;
	if (w.n == MESSAGES_MAX || n_kept == TICKETS_MAX || (!w.greedy && store_room(w.store) < store_cost(w.store, len + 10)))
		return;
	*m = (struct message){ .id = ++w.next_id, .queue = sm.queue, .seq = sm.seq, .len = len, .flags = 1 };
	data = malloc(len + 1);
	if (!data)
		abort();
	kept[n_kept++] = data;
	fill_bytes(data, m->id, len);
	sm.counter = m->id;
	sm.parts[0] = (struct store_bytes){ "head", 4 };
	sm.parts[4] = (struct store_bytes){ data, len };
	if (draw(3) > 0) {
		sm.flow = 1 + (uint32_t)draw(FLOWS);
		sm.number = ++w.next_number[sm.flow];
	}
	if (len > 7000 && len != EVIL_LEN) {
		sm.body = store_body_new(w.store);
		if (store_body_append(sm.body, data, len) < 0) {
			store_body_drop(sm.body);
			return;
		}
		if (draw(10) == 0) {
			store_body_drop(sm.body);
			return;
		}
		sm.parts[4].data = NULL;
	}
	if (store_put(w.store, &sm, &m->ref) < 0) {
		store_body_drop(sm.body);
		return;
	}
	m->put = store_ticket(w.store);
	if (sm.flow)
		note_mark(sm.flow, sm.number);
	w.n++;
}

static struct message *
any(void)
{
	for (int i = 0; i < 5 && w.n > 0; i++) {
		struct message *m = &w.messages[draw(w.n)];

		if (!m->is_done)
			return m;
	}
	return NULL;
}

static void
done(void)
{
	struct message *m = any();
	uint64_t before = store_ticket(w.store), seq;
	uint32_t queue;
	uint8_t flags;
	bool note;

	if (!m)
		return;
	home_at(m, UINT64_MAX, &queue, &seq, &flags, &note);
	store_done(w.store, m->ref, queue, seq);
	m->is_done = true;
	if (store_ticket(w.store) == before)
		m->cancelled = true;
	else
		m->done = store_ticket(w.store);
}

static void
move(void)
{
	struct message *m = any();
	struct move *v;
	uint64_t seq;
	uint32_t queue;
	uint8_t flags;
	bool note;

	if (!m || m->n_moves == MOVES_MAX)
		return;
	home_at(m, UINT64_MAX, &queue, &seq, &flags, &note);
	v = &m->moves[m->n_moves];
	*v = (struct move){ .queue = 1 + (uint32_t)draw(QUEUES), .seq = ++w.next_seq, .flags = (uint8_t)(2 + draw(5)), .has_note = draw(2) };
	if (store_move(w.store, m->ref, queue, seq, v->queue, v->seq, v->flags,
	        v->has_note ? (struct store_bytes){ "the note", 8 } : (struct store_bytes){ NULL, 0 }) < 0)
		return;
	v->ticket = store_ticket(w.store);
	m->n_moves++;
}

static void
mark(void)
{
	uint32_t f = 1 + (uint32_t)draw(FLOWS);

	store_mark(w.store, f, ++w.next_number[f]);
	note_mark(f, w.next_number[f]);
}

static void
group(void)
{
	uint64_t first = store_ticket(w.store);

	store_group_begin(w.store);
	for (int i = 0; i < 4; i++) {
		if (draw(2))
			done();
		else
			put(true);
	}
	store_group_end(w.store);
	for (uint64_t t = first + 1; t < store_ticket(w.store); t++)
		w.inside[t] = true;
}

struct reading {
	struct store_read r;
	struct message *m;
	bool done;
	int error;
};

static void
read_done(struct store_read *r, int error)
{
	struct reading *x = (struct reading *)r;

	x->done = true;
	x->error = error;
}

static bool
work_on(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		switch (draw(4)) {
		case 0:
			fake_loop_pass(w.loop);
			break;
		case 1:
			fake_task_run(w.writer);
			break;
		case 2:
			fake_task_run(w.reader);
			break;
		case 3:
			fake_loop_advance(w.loop, 1 + draw(4));
			break;
		}
	}
	return true;
}

/* What is read is what was put. Messages wait for their sync. */
static bool
read_back(struct message *m)
{
	struct reading x = { .r.done = read_done, .m = m };
	uint64_t seq;
	uint32_t queue;
	uint8_t flags;
	bool note, ok;

	home_at(m, UINT64_MAX, &queue, &seq, &flags, &note);
	if (store_read(w.store, m->ref, &x.r) < 0)
		return true;
	for (int i = 0; i < 400 && !x.done; i++) {
		fake_task_run(w.reader);
		fake_task_run(w.writer);
		fake_loop_pass(w.loop);
		fake_loop_advance(w.loop, 6);
	}
	if (!x.done) {
		store_read_cancel(w.store, &x.r);
		return w.state != STORE_OPEN || w.greedy ? true : FAIL("a read of message %u is never done", m->id);
	}
	fill_bytes(bytes, m->id, m->len);
	ok = x.error == 0 && x.r.parts[4].len == m->len && (m->len == 0 || memcmp(bytes, x.r.parts[4].data, m->len) == 0) &&
	    x.r.parts[0].len == 4 && x.r.parts[STORE_NOTE].len == (note ? 8u : 0u);
	if (x.error == 0)
		free(x.r.memory);
	/* It was on its way to the disk, and will not get there. */
	ok |= x.error == -ESHUTDOWN && w.state == STORE_FENCED;
	return ok ? true : FAIL("message %u reads as %d, or with other bytes", m->id, x.error);
}

static bool
step(void)
{
	uint64_t what = draw(100);
	struct message *m;

	if (store_ticket(w.store) > TICKETS_MAX - 100 || w.n_marks[1] > TICKETS_MAX - 100)
		return true;
	if (what < 30)
		put(false);
	else if (what < 55)
		done();
	else if (what < 60)
		move();
	else if (what < 65)
		mark();
	else if (what < 70)
		group();
	else if (what < 72 && (m = any()))
		return read_back(m);
	else
		work_on(4);
	return true;
}

/* ------------------------------------------------------------------- crash -- */

static bool
crash(void)
{
	uint64_t from = w.synced, to = store_ticket(w.store);
	int r;

	w.n_crashes++;
	close_store();
	free_kept();
	if (draw(3) > 0)
		fake_disk_power_failure((unsigned)(draw(3) == 0 ? 0 : draw(257)));
	fake_disk.fail_sync = fake_disk.fail_write = 0;
	/* It may crash in recovery, too. */
	if (draw(6) == 0)
		*(draw(2) ? &fake_disk.fail_sync : &fake_disk.fail_write) = 1 + (unsigned)draw(2);
	for (int tries = 0; (r = open_store()) < 0; tries++) {
		if (r == -ENOSPC)
			fake_disk.capacity += SEGMENT;
		else if (r != -EIO || tries > 5)
			return FAIL("recovery fails: %d", r);
		if (draw(2))
			fake_disk_power_failure((unsigned)draw(257));
	}
	fake_disk.fail_sync = fake_disk.fail_write = 0;
	if (w.n_damaged > 0)
		return FAIL("damage: %.200s", w.damage);
	if (!check(from, to))
		return false;
	/* Once told, what recovery found is there. */
	if (draw(2)) {
		close_store();
		fake_disk_power_failure(draw(2) ? 0 : (unsigned)draw(257));
		r = open_store();
		if (r < 0)
			return r == -ENOSPC ? (fake_disk.capacity = UINT64_MAX, open_store() == 0 && check(0, 0)) : FAIL("second recovery: %d", r);
		if (w.n_damaged > 0)
			return FAIL("damage: %.200s", w.damage);
		if (!check(0, 0))
			return false;
	}
	if (draw(2) == 0)
		for (size_t i = 0; i < w.n; i++)
			if (!read_back(&w.messages[i]))
				return false;
	return true;
}

/* However full: what is done makes space again, and everything comes to rest. */
static bool
drain(void)
{
	/* More than ever fits, and a while to write of it what goes. */
	for (int i = 0; w.greedy && i < 2500; i++) {
		put(true);
		if (i % 10 == 0)
			work_on(8);
	}
	for (size_t i = 0; i < w.n; i++) {
		struct message *m = &w.messages[i];
		uint64_t seq;
		uint32_t queue;
		uint8_t flags;
		bool note;

		if (m->is_done)
			continue;
		home_at(m, UINT64_MAX, &queue, &seq, &flags, &note);
		store_done(w.store, m->ref, queue, seq);
	}
	for (int i = 0; i < 3000 && store_synced(w.store) < store_ticket(w.store); i++) {
		fake_task_run(w.writer);
		fake_task_run(w.reader);
		fake_loop_pass(w.loop);
		fake_loop_advance(w.loop, 6);
	}
	if (store_synced(w.store) < store_ticket(w.store) && w.state != STORE_FENCED)
		return FAIL("stuck at ticket %lu of %lu", store_synced(w.store), store_ticket(w.store));
	return true;
}

static bool
run(uint64_t seed, unsigned crashes)
{
	bool ok = true;

	memset(&w, 0, sizeof(w));
	w.seed = seed;
	w.random = seed * 0x9e3779b97f4a7c15 + 1;
	for (int i = 0; i < 10; i++)
		draw(2);
	w.loop = loop_new();
	fake_disk_new(seed);
	if (draw(3) == 0)
		fake_disk.capacity = (9 + draw(8)) * SEGMENT;
	w.greedy = draw(4) == 0;
	if (open_store() < 0)
		ok = FAIL("the first opening fails");
	if (ok) {
		for (uint32_t i = 1; i <= QUEUES; i++)
			store_define_queue(w.store, store_new_queue(w.store), (struct store_bytes){ "q", 1 });
		for (uint32_t i = 1; i <= FLOWS; i++)
			store_define_flow(w.store, store_new_flow(w.store), (struct store_bytes){ "f", 1 });
		for (int i = 0; i < 50 || store_synced(w.store) < store_ticket(w.store); i++)
			work_on(8);
	}
	for (unsigned c = 0; ok && c < crashes; c++) {
		unsigned steps = (unsigned)(draw(4) == 0 ? draw(2000) : draw(200));

		if (draw(12) == 0)
			*(draw(2) ? &fake_disk.fail_sync : &fake_disk.fail_write) = 1 + (unsigned)draw(20);
		for (unsigned i = 0; ok && i < steps; i++)
			ok = step();
		ok = ok && crash();
	}
	ok = ok && drain();
	if (w.store)
		close_store();
	free_kept();
	fake_disk_free();
	loop_free(w.loop);
	return ok;
}

START_TEST(crashes)
{
	const char *one = getenv("STORE_SEED"), *many = getenv("STORE_SEEDS");
	uint64_t first = one ? strtoull(one, NULL, 10) : 1, n = one ? 1 : many ? strtoull(many, NULL, 10) : 60;
	uint64_t checked = 0;

	for (uint64_t seed = first; seed < first + n; seed++) {
		ck_assert_msg(run(seed, 20), "seed %lu, start %u: %s", seed, w.starts, failure);
		checked += w.n_checked;
	}
	ck_assert_uint_gt(checked, n * 10);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_torture");
	TCase *tc = tcase_create("store_torture");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 600);
	tcase_add_test(tc, crashes);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
