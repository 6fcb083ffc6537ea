/*
 * slab: memory for messages, queue places and buffers. Small sizes come from
 * free lists by size class, so that the hot path seldom calls malloc; larger
 * ones go to malloc. Counts what is out. What comes back is kept only up to a
 * bound, so that a burst leaves no memory behind. Not thread-safe. Under
 * AddressSanitizer everything goes to malloc, so that use after free is seen.
 */
#ifndef SLAB_H
#define SLAB_H

#include <stddef.h>

#define SLAB_CLASSES 13               /* 64, 96, 128, 192, 256, ... 4096 */
#define SLAB_LARGEST 4096             /* above: malloc */
#define SLAB_CACHED_MAX (1024 * 1024) /* bytes kept for later */

/* AddressSanitizer is there. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLAB_WATCHED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SLAB_WATCHED 1
#endif
#ifndef SLAB_WATCHED
#define SLAB_WATCHED 0
#endif

struct slab {
	void *free[SLAB_CLASSES]; /* each begins with a pointer to the next */
	size_t cached;            /* bytes in them */
	size_t used;              /* bytes given out, rounded up to their class */
	size_t peak;              /* of used, since memory was last given back */
};

/* Allocates nothing. */
void slab_init(struct slab *s);
/* Everything given out must be back. */
void slab_done(struct slab *s);
/* NULL when out of memory. Not zeroed. */
void *slab_alloc(struct slab *s, size_t size);
/* size: as given to slab_alloc. NULL is fine. */
void slab_free(struct slab *s, void *p, size_t size);
static inline size_t
slab_used(const struct slab *s)
{
	return s->used;
}

#endif
