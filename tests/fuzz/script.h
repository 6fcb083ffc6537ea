/*
 * script: the fuzzer's bytes as choices, one after the other. What is behind the
 * end is zero.
 */
#ifndef SCRIPT_H
#define SCRIPT_H

#include <stddef.h>
#include <stdint.h>

struct script {
	const uint8_t *p;
	size_t left;
};

/* The next n bytes, 8 at most, as a number. */
static inline uint64_t
script_take(struct script *s, size_t n)
{
	uint64_t x = 0;

	for (; n > 0 && s->left > 0; n--, s->left--)
		x = x << 8 | *s->p++;
	return x;
}

/* Mostly what is right; else what is near it, small, a power of two, very large, or anything. */
static inline uint64_t
script_odd(struct script *s, uint64_t right)
{
	uint64_t b = script_take(s, 1);

	if (b < 192)
		return right;
	if (b < 208)
		return right + (b & 7) - 4;
	if (b < 220)
		return script_take(s, 1);
	if (b < 232)
		return UINT64_C(1) << script_take(s, 1) % 64;
	if (b < 244)
		return UINT64_MAX - (b & 3);
	return script_take(s, 8);
}

#endif
