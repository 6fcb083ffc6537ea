/* task: off the loop, in order, told on the loop. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "loop.h"
#include "task.h"

struct job {
	struct world *w;
	int number;
	pthread_t ran_on;
	bool signals_blocked;
};

struct world {
	struct loop *loop;
	struct task_runner *runner;
	pthread_mutex_t lock;
	pthread_cond_t change;
	bool gate_closed; /* jobs wait */
	int started;
	int order[TASK_PENDING_MAX], n_ran, n_told;
	bool free_in_done;
};

static void
run(void *arg)
{
	struct job *j = arg;
	struct world *w = j->w;
	sigset_t set;

	pthread_sigmask(SIG_SETMASK, NULL, &set);
	j->signals_blocked = sigismember(&set, SIGTERM) && sigismember(&set, SIGHUP);
	j->ran_on = pthread_self();
	pthread_mutex_lock(&w->lock);
	w->started++;
	pthread_cond_signal(&w->change);
	while (w->gate_closed)
		pthread_cond_wait(&w->change, &w->lock);
	w->order[w->n_ran++] = j->number;
	pthread_mutex_unlock(&w->lock);
}

static void
told(void *arg)
{
	struct job *j = arg;

	ck_assert(!pthread_equal(j->ran_on, pthread_self()));
	ck_assert(j->signals_blocked);
	ck_assert_int_eq(j->number, j->w->n_told++);
	if (j->w->free_in_done) {
		task_runner_free(j->w->runner);
		j->w->runner = NULL;
	}
}

static struct world w;

static void
setup(void)
{
	memset(&w, 0, sizeof(w));
	pthread_mutex_init(&w.lock, NULL);
	pthread_cond_init(&w.change, NULL);
	w.loop = loop_new();
	w.runner = task_runner_new(w.loop);
	ck_assert_ptr_nonnull(w.runner);
}

static void
teardown(void)
{
	task_runner_free(w.runner);
	loop_free(w.loop);
}

static void
set_gate(bool closed)
{
	pthread_mutex_lock(&w.lock);
	w.gate_closed = closed;
	pthread_cond_broadcast(&w.change);
	pthread_mutex_unlock(&w.lock);
}

START_TEST(in_order)
{
	struct job j[100];

	for (int i = 0; i < 100; i++) {
		j[i] = (struct job){ .w = &w, .number = i };
		ck_assert_int_eq(task_run(w.runner, run, told, &j[i]), 0);
		ck_assert_int_eq(w.n_told, 0); /* only from the loop */
	}
	while (w.n_told < 100)
		loop_step(w.loop, true);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(w.order[i], i);
}
END_TEST

START_TEST(does_not_block_the_loop)
{
	struct job j = { .w = &w };

	set_gate(true);
	ck_assert_int_eq(task_run(w.runner, run, told, &j), 0);
	for (int i = 0; i < 10; i++)
		loop_step(w.loop, false);
	ck_assert_int_eq(w.n_told, 0);
	set_gate(false);
	while (w.n_told < 1)
		loop_step(w.loop, true);
}
END_TEST

START_TEST(bounded)
{
	static struct job j[TASK_PENDING_MAX + 1];

	set_gate(true);
	for (int i = 0; i <= TASK_PENDING_MAX; i++) {
		j[i] = (struct job){ .w = &w, .number = i };
		ck_assert_int_eq(task_run(w.runner, run, told, &j[i]), i < TASK_PENDING_MAX ? 0 : -EAGAIN);
	}
	set_gate(false);
	while (w.n_told < TASK_PENDING_MAX)
		loop_step(w.loop, true);
	j[0].number = w.n_told;
	w.n_ran = 0;
	ck_assert_int_eq(task_run(w.runner, run, told, &j[0]), 0);
	while (w.n_told <= TASK_PENDING_MAX)
		loop_step(w.loop, true);
}
END_TEST

/* Freed while one runs and others wait: it is waited for, they are not run, nobody is told. */
static void *
open_gate(void *arg)
{
	(void)arg;
	set_gate(false);
	return NULL;
}

START_TEST(freed_while_running)
{
	struct job j[3];
	pthread_t opener;

	set_gate(true);
	for (int i = 0; i < 3; i++) {
		j[i] = (struct job){ .w = &w, .number = i };
		ck_assert_int_eq(task_run(w.runner, run, told, &j[i]), 0);
	}
	pthread_mutex_lock(&w.lock);
	while (w.started == 0)
		pthread_cond_wait(&w.change, &w.lock);
	pthread_mutex_unlock(&w.lock);
	pthread_create(&opener, NULL, open_gate, NULL);
	task_runner_free(w.runner);
	w.runner = NULL;
	pthread_join(opener, NULL);
	ck_assert_int_ge(w.n_ran, 1);
	ck_assert_int_eq(w.n_ran, w.started);
	loop_step(w.loop, false);
	ck_assert_int_eq(w.n_told, 0);
}
END_TEST

START_TEST(freed_in_done)
{
	struct job j[3];

	w.free_in_done = true;
	for (int i = 0; i < 3; i++) {
		j[i] = (struct job){ .w = &w, .number = i };
		ck_assert_int_eq(task_run(w.runner, run, told, &j[i]), 0);
	}
	while (w.runner)
		loop_step(w.loop, true);
	loop_step(w.loop, false);
	ck_assert_int_eq(w.n_told, 1);
}
END_TEST

/* What it costs is told by the thread that does it, and in want of a CPU the loop comes first. */
struct cost {
	uint64_t ns;
	int nice;
	bool is_told;
};

#define BURN_NS 400000000 /* more than the loop's thread needs to wait for that, also under valgrind */

static void
burn(void *arg)
{
	struct cost *c = arg;
	uint64_t before = task_cpu();

	while (task_cpu() < before + BURN_NS)
		;
	c->ns = task_cpu() - before;
	c->nice = getpriority(PRIO_PROCESS, 0);
}

static void
burnt(void *arg)
{
	struct cost *c = arg;

	c->is_told = true;
}

START_TEST(gives_way)
{
	struct cost c = { 0 };
	uint64_t before = task_cpu();
	int nice = getpriority(PRIO_PROCESS, 0);

	task_runner_give_way(w.runner);
	ck_assert_int_eq(task_run(w.runner, burn, burnt, &c), 0);
	while (!c.is_told)
		loop_step(w.loop, true);
	ck_assert_uint_ge(c.ns, BURN_NS);
	ck_assert_uint_lt(task_cpu() - before, c.ns);
	ck_assert_int_eq(c.nice, nice > 10 ? nice : 10);
	ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), nice);
}
END_TEST

START_TEST(never_used)
{
	task_runner_free(NULL);
	loop_step(w.loop, false);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("task");
	TCase *t = tcase_create("task");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, in_order);
	tcase_add_test(t, does_not_block_the_loop);
	tcase_add_test(t, bounded);
	tcase_add_test(t, freed_while_running);
	tcase_add_test(t, freed_in_done);
	tcase_add_test(t, gives_way);
	tcase_add_test(t, never_used);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
