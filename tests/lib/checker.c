#include "checker.h"

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>

void
checker_init(struct checker *k, uint64_t n)
{
	*k = (struct checker){ .n = n, .seen = calloc(n + 1, 1) };
	ck_assert_ptr_nonnull(k->seen);
}

void
checker_done(struct checker *k)
{
	free(k->seen);
}

void
checker_got(struct checker *k, uint64_t number, bool redelivered)
{
	if (number == 0 || number > k->n) {
		k->foreign++;
		return;
	}
	if (k->seen[number] > 0) {
		*(redelivered ? &k->redelivered : &k->duplicates) += 1;
	} else {
		k->got++;
		k->disorder += number < k->last;
		k->last = number;
	}
	if (k->seen[number] < UINT8_MAX)
		k->seen[number]++;
}

uint64_t
checker_missing(const struct checker *k)
{
	return k->n - k->got;
}

void
checker_assert(const struct checker *k, const char *what)
{
	ck_assert_msg(checker_missing(k) == 0 && k->duplicates == 0 && k->disorder == 0 && k->foreign == 0,
	    "%s: of %" PRIu64 ": %" PRIu64 " missing, %" PRIu64 " twice, %" PRIu64 " out of order, %" PRIu64 " never sent", what, k->n,
	    checker_missing(k), k->duplicates, k->disorder, k->foreign);
}
