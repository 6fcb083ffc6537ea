/*
 * transport_shaker: what takes CPU time of handshakes, milliseconds of it, is
 * done by a worker, one for each loop: it gets the TLS object and the input, and
 * nobody else touches them until it gives them back.
 */
#ifndef TRANSPORT_SHAKER_H
#define TRANSPORT_SHAKER_H

#include "list.h"
#include "loop.h"
#include "tls.h"

struct shaker_job {
	struct list lent;
	void *owner; /* the lender's; NULL: nobody is to be told */
	/* The worker's, while it has them; else NULL. Of malloc: they go with the job if nobody is told. */
	struct tls *tls;
	uint8_t *in;
	/* For the worker, and from it. */
	bool is_datagrams; /* the input is some, each behind its length in two bytes */
	size_t at, len, used;
	enum tls_result result; /* of tls_step */
	uint64_t ns; /* of CPU time */
	void (*told)(struct shaker_job *j);
};

/* One turn, of PIECE_NS or a little more. Then told, from the loop; or at once, if there is no thread to be had. */
void shaker_lend(struct loop *l, struct shaker_job *j);
/* The owner is gone: the job is freed, now or when the worker gives it back. NULL is fine. */
void shaker_forget(struct shaker_job *j);

static inline bool
shaker_has(const struct shaker_job *j)
{
	return j && j->tls;
}

#endif
