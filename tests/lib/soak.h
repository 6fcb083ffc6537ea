/*
 * soak: tests with a short form, for `make check`, and a long one, for `make
 * soak`. Parameters come from the environment.
 */
#ifndef SOAK_H
#define SOAK_H

#include <stdbool.h>
#include <stdint.h>

/* SOAK=1: the long form. */
bool soak(void);
/* The environment's value of that name; else one by the form. */
uint64_t soak_value(const char *name, uint64_t in_check, uint64_t in_soak);
/* Seconds for a test's time-out: with room for slow machines and memory checkers. */
int soak_timeout(uint64_t seconds);
/* Must a fault be found, because the daemon is a build with a planted one? EXPECT_FAULT=1. */
bool soak_expects_fault(void);

/* Reproducible as far as processes are: SEED, else drawn and printed. */
void soak_seed(const char *test);
/* 0 to n - 1. */
uint64_t soak_random(uint64_t n);

#endif
