#include "cause.h"

#include <stdarg.h>
#include <stdio.h>

void
cause_set(struct cause *c, const char *word, const char *fmt, ...)
{
	va_list ap;

	*c = (struct cause){ .word = word };
	va_start(ap, fmt);
	vsnprintf(c->what, sizeof(c->what), fmt, ap);
	va_end(ap);
}

void
cause_because(struct cause *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->why, sizeof(c->why), fmt, ap);
	va_end(ap);
}
