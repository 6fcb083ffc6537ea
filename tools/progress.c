#include "progress.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "clock.h"

void
progress_init(struct progress *p)
{
	*p = (struct progress){ .on = isatty(STDERR_FILENO), .next = clock_ms() + 1000 };
}

void
progress_show(struct progress *p, const char *fmt, ...)
{
	uint64_t now = clock_ms();
	va_list ap;

	if (!p->on || now < p->next)
		return;
	p->next = now + PROGRESS_STEP_MS;
	p->drawn = true;
	fputs("\r\033[K", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fflush(stderr);
}

void
progress_clear(struct progress *p)
{
	if (p->drawn)
		fputs("\r\033[K", stderr);
	p->drawn = false;
}

int
progress_step(const struct progress *p, uint64_t deadline)
{
	uint64_t now = clock_ms();
	uint64_t left = deadline > now ? deadline - now : 0;

	if (deadline == UINT64_MAX)
		return p->on ? PROGRESS_STEP_MS : -1;
	if (p->on && left > PROGRESS_STEP_MS)
		return PROGRESS_STEP_MS;
	return left < INT_MAX ? (int)left : INT_MAX;
}
