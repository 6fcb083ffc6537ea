/*
 * cause: the one thing that holds something up, as whoever knows it tells an
 * operator: a word for programs, two texts for people, since when, and when it
 * is tried again. Pure.
 */
#ifndef CAUSE_H
#define CAUSE_H

#include <stdint.h>

#include "names.h"

#define CAUSE_WHAT_MAX 240
#define CAUSE_WHY_MAX 320

struct cause {
	const char *word;          /* "no-consumer": static; the same in every version */
	char what[CAUSE_WHAT_MAX]; /* "the link to berlin is down" */
	char why[CAUSE_WHY_MAX];   /* "its certificate: expired 2026-10-01"; "" where there is no more to say */
	uint64_t since_ms;         /* loop_now_ms; 0: not known */
	uint64_t retry_in_ms;      /* 0: nothing is tried again by itself */
	char peer[NAMES_NODE_MAX + 1]; /* that it has to do with; "": none */
};

/* The word and what; all else is empty. */
void cause_set(struct cause *c, const char *word, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* And why. */
void cause_because(struct cause *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
