/* operator: connectctl as an operator runs it, at one daemon. Arguments are split by the shell. */
#ifndef OPERATOR_H
#define OPERATOR_H

#include <stdbool.h>

#include "node.h"

struct operated {
	int code; /* exit */
	char out[16384], err[2048];
};

void operator_runs(const struct node *n, struct operated *ret, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* It is done, and says this on standard output. */
void operator_does(const struct node *n, const char *says, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* It fails with exit 1, and says this on standard error. */
void operator_fails(const struct node *n, const char *says, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Is this on standard output? The command must succeed. */
bool operator_sees(const struct node *n, const char *text, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Wait until it is. */
void operator_awaits(const struct node *n, const char *text, const char *command);

#endif
