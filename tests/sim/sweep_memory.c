#include "sweep_memory.h"

#include <execinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAMES 12

void *sweep_malloc(size_t size);
void *sweep_calloc(size_t n, size_t size);
void *sweep_realloc(void *p, size_t size);
char *sweep_strdup(const char *s);
char *sweep_strndup(const char *s, size_t n);
int sweep_asprintf(char **ret, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sweep_free(void *p);

struct block {
	void *p; /* NULL: free place */
	uint64_t number;
};

static struct {
	uint64_t first, many, count, failed;
	bool trace;
	struct block *held; /* open addressing */
	size_t n, cap;
} memory;

static size_t
place_of(const void *p)
{
	return (size_t)(((uint64_t)(uintptr_t)p >> 4) * 0x9e3779b97f4a7c15u >> 20) & (memory.cap - 1);
}

static void
put(struct block b)
{
	size_t i = place_of(b.p);

	while (memory.held[i].p)
		i = (i + 1) & (memory.cap - 1);
	memory.held[i] = b;
}

static void *
hold(void *p, uint64_t number)
{
	if (!p)
		return NULL;
	if (2 * (memory.n + 1) > memory.cap) {
		struct block *old = memory.held;
		size_t cap = memory.cap;

		memory.cap = cap ? 2 * cap : 1024;
		memory.held = calloc(memory.cap, sizeof(*memory.held));
		if (!memory.held)
			abort();
		for (size_t i = 0; i < cap; i++)
			if (old[i].p)
				put(old[i]);
		free(old);
	}
	put((struct block){ p, number });
	memory.n++;
	return p;
}

/* What others gave (the virtual disk, the C library) is not known here. */
static void
let_go(const void *p)
{
	size_t i, k;

	if (!p || memory.n == 0)
		return;
	for (i = place_of(p); memory.held[i].p != p; i = (i + 1) & (memory.cap - 1))
		if (!memory.held[i].p)
			return;
	memory.n--;
	for (k = (i + 1) & (memory.cap - 1); memory.held[k].p; k = (k + 1) & (memory.cap - 1)) {
		size_t home = place_of(memory.held[k].p);

		/* Does it fill the hole, and is still found? */
		if (((k - home) & (memory.cap - 1)) >= ((k - i) & (memory.cap - 1))) {
			memory.held[i] = memory.held[k];
			i = k;
		}
	}
	memory.held[i].p = NULL;
}

static bool
fails(void)
{
	void *frames[FRAMES];
	bool is;

	memory.count++;
	is = memory.first > 0 && memory.count >= memory.first && memory.count < memory.first + memory.many;
	memory.failed += is;
	if (is && memory.trace) {
		printf("allocation %llu fails:\n", (unsigned long long)memory.count);
		fflush(stdout);
		backtrace_symbols_fd(frames, backtrace(frames, FRAMES), 1);
	}
	return is;
}

void *
sweep_malloc(size_t size)
{
	return fails() ? NULL : hold(malloc(size), memory.count);
}

void *
sweep_calloc(size_t n, size_t size)
{
	return fails() ? NULL : hold(calloc(n, size), memory.count);
}

void *
sweep_realloc(void *p, size_t size)
{
	uint64_t number;

	if (fails())
		return NULL;
	number = memory.count;
	let_go(p);
	return hold(realloc(p, size), number);
}

char *
sweep_strdup(const char *s)
{
	return fails() ? NULL : hold(strdup(s), memory.count);
}

char *
sweep_strndup(const char *s, size_t n)
{
	return fails() ? NULL : hold(strndup(s, n), memory.count);
}

int
sweep_asprintf(char **ret, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (fails())
		return -1;
	va_start(ap, fmt);
	n = vasprintf(ret, fmt, ap);
	va_end(ap);
	if (n >= 0)
		hold(*ret, memory.count);
	return n;
}

void
sweep_free(void *p)
{
	let_go(p);
	free(p);
}

void
sweep_memory_start(uint64_t first, uint64_t many, bool trace)
{
	if (memory.held)
		memset(memory.held, 0, memory.cap * sizeof(*memory.held));
	memory.n = 0;
	memory.count = memory.failed = 0;
	memory.first = first;
	memory.many = many;
	memory.trace = trace;
}

void
sweep_memory_heal(void)
{
	memory.first = 0;
}

uint64_t
sweep_memory_count(void)
{
	return memory.count;
}

uint64_t
sweep_memory_failed(void)
{
	return memory.failed;
}

uint64_t
sweep_memory_held(uint64_t *ret_first)
{
	*ret_first = UINT64_MAX;
	for (size_t i = 0; i < memory.cap; i++)
		if (memory.held[i].p && memory.held[i].number < *ret_first)
			*ret_first = memory.held[i].number;
	return memory.n;
}
