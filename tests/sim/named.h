/*
 * named: named producers of a simulated cluster, and what is promised to them:
 * an instance goes on behind the highest number that any before it got to
 * safety; whoever was taken over gets nothing through any more. Two programs may
 * share a name.
 */
#ifndef NAMED_H
#define NAMED_H

#include <stdbool.h>

struct program;
struct named;

void named_start(void);
/* A name of its own; p is the one that has the last word. NULL: there are enough. */
struct named *named_new(const struct program *p);
/* The program has something to do with its name: open it, send. */
void named_tick(struct program *p);
void named_died(const struct program *p);
/* Everything is sent, and its owner knows what became of it. */
bool named_at_rest(void);
void named_trace(void);

#endif
