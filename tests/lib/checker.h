/*
 * checker: did every numbered message come, once, and in order? Numbers are 1
 * to n, each given to one submission only.
 */
#ifndef CHECKER_H
#define CHECKER_H

#include <stdbool.h>
#include <stdint.h>

struct checker {
	uint8_t *seen; /* how often, by number; 255: that often or more */
	uint64_t n, last, got;
	uint64_t duplicates;  /* came again without being flagged */
	uint64_t redelivered; /* came again, flagged */
	uint64_t disorder;    /* came for the first time after a higher one */
	uint64_t foreign;     /* was never sent */
};

void checker_init(struct checker *k, uint64_t n);
void checker_done(struct checker *k);
void checker_got(struct checker *k, uint64_t number, bool redelivered);
/* Numbers that never came. */
uint64_t checker_missing(const struct checker *k);
/* Fails the test unless all came, once, in order; `what` names the arm. */
void checker_assert(const struct checker *k, const char *what);

#endif
