/* slab: see slab.h. */
#include "slab.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>

#define GIVE_BACK (16u << 20) /* a peak above this is given back to the system once an eighth of it is left */

struct place {
	struct place *next;
};

/* Classes are 2^n and 3 * 2^(n-1): at most a third is wasted. */
static size_t
class_of(size_t size, size_t *ret_bytes)
{
	unsigned log;
	size_t i, half;

	if (size <= 64) {
		*ret_bytes = 64;
		return 0;
	}
	log = 63 - (unsigned)__builtin_clzll(size - 1); /* 2^log < size <= 2^(log+1) */
	i = 2 * (size_t)(log - 6);
	half = (size_t)3 << (log - 1);
	if (size <= half) {
		*ret_bytes = half;
		return i + 1;
	}
	*ret_bytes = (size_t)2 << log;
	return i + 2;
}

void
slab_init(struct slab *s)
{
	*s = (struct slab){ .used = 0 };
}

void
slab_done(struct slab *s)
{
	assert(s->used == 0);
	for (size_t i = 0; i < SLAB_CLASSES; i++) {
		struct place *next;

		for (struct place *p = s->free[i]; p; p = next) {
			next = p->next;
			free(p);
		}
		s->free[i] = NULL;
	}
	s->cached = 0;
}

void *
slab_alloc(struct slab *s, size_t size)
{
	size_t bytes = size, i;
	struct place *p;

	if (size > SLAB_LARGEST) {
		p = malloc(size);
	} else {
		i = class_of(size, &bytes);
		p = s->free[i];
		if (p) {
			s->free[i] = p->next;
			s->cached -= bytes;
		} else {
			/* Watched: exactly what was asked for, so that the byte behind it is seen, too. */
			p = malloc(SLAB_WATCHED && size > 0 ? size : bytes);
		}
	}
	if (!p)
		return NULL;
	s->used += bytes;
	if (s->used > s->peak)
		s->peak = s->used;
	return p;
}

void
slab_free(struct slab *s, void *p, size_t size)
{
	size_t bytes = size, i;
	struct place *place = p;

	if (!p)
		return;
	if (size > SLAB_LARGEST) {
		free(p);
	} else {
		i = class_of(size, &bytes);
		if (SLAB_WATCHED || s->cached + bytes > SLAB_CACHED_MAX) {
			free(p);
		} else {
			place->next = s->free[i];
			s->free[i] = place;
			s->cached += bytes;
		}
	}
	assert(s->used >= bytes);
	s->used -= bytes;
	/* Free places are spread between those in use, so malloc gives nothing back by itself. */
	if (s->peak > GIVE_BACK && s->used < s->peak / 8) {
		s->peak = s->used;
		malloc_trim(0);
	}
}
