/* transport_shaker: see transport_shaker.h. */
#include "transport_shaker.h"

#include <stdlib.h>

#include "task.h"

#define PIECE_NS 2000000 /* CPU time of one turn of a handshake, and the last step */

/* Per loop. */
struct shaker {
	struct loop_attached attached;
	struct task_runner *runner;
	struct list lent; /* struct shaker_job */
};

static const char shaker_key;

static void
job_free(struct shaker_job *j)
{
	tls_free(j->tls);
	free(j->in);
	free(j);
}

static void
shaker_free(struct loop_attached *a)
{
	struct shaker *sh = list_entry(a, struct shaker, attached);

	task_runner_free(sh->runner);
	/* Nobody is told of these any more. */
	LIST_FOREACH_SAFE (n, &sh->lent)
		job_free(list_entry(n, struct shaker_job, lent));
	free(sh);
}

/* NULL: there is none, and the loop has to do it. */
static struct shaker *
shaker_of(struct loop *l)
{
	struct loop_attached *a = loop_attached(l, &shaker_key);
	struct shaker *sh;

	if (a)
		return list_entry(a, struct shaker, attached);
	sh = tls_may_leave_the_loop() ? calloc(1, sizeof(*sh)) : NULL;
	if (!sh)
		return NULL;
	sh->runner = task_runner_new(l);
	if (!sh->runner) {
		free(sh);
		return NULL;
	}
	task_runner_give_way(sh->runner);
	list_init(&sh->lent);
	loop_attach(l, &sh->attached, &shaker_key, shaker_free);
	return sh;
}

/* A datagram is wanted only when nothing is left to be done without one. */
static enum tls_result
step_datagrams(struct shaker_job *j)
{
	const uint8_t *at;
	size_t used, n;
	enum tls_result r = tls_step(j->tls, NULL, 0, &used);

	if (r != TLS_MORE || j->used == j->len)
		return r;
	at = j->in + j->at + j->used;
	n = (size_t)at[0] << 8 | at[1];
	j->used += 2 + n;
	r = tls_step(j->tls, at + 2, n, &used);
	return r == TLS_MORE && j->used < j->len ? TLS_AGAIN : r;
}

static enum tls_result
step(struct shaker_job *j)
{
	size_t used;
	enum tls_result r;

	if (j->is_datagrams)
		return step_datagrams(j);
	r = tls_step(j->tls, j->in + j->at + j->used, j->len - j->used, &used);
	j->used += used;
	return r;
}

/* In the worker. */
static void
work(void *arg)
{
	struct shaker_job *j = arg;
	uint64_t before = task_cpu();

	j->used = 0;
	do {
		j->result = step(j);
		j->ns = task_cpu() - before;
	} while (j->result == TLS_AGAIN && j->ns < PIECE_NS);
}

static void
told(void *arg)
{
	struct shaker_job *j = arg;

	list_remove(&j->lent);
	if (j->owner)
		j->told(j);
	else
		job_free(j);
}

void
shaker_lend(struct loop *l, struct shaker_job *j)
{
	struct shaker *sh = shaker_of(l);

	list_init(&j->lent);
	if (sh && task_run(sh->runner, work, told, j) == 0) {
		list_append(&sh->lent, &j->lent);
		return;
	}
	/* No thread, no memory, too much to do: better late than not at all. */
	work(j);
	told(j);
}

void
shaker_forget(struct shaker_job *j)
{
	if (shaker_has(j))
		j->owner = NULL;
	else
		free(j);
}
