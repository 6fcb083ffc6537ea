/*
 * intern: one copy of each type URL and each origin in use, reference-counted,
 * with a small number that says where it stands in a session's dictionary.
 */
#ifndef INTERN_H
#define INTERN_H

#include <stddef.h>
#include <stdint.h>

#include "hmap.h"
#include "wire.h"

struct intern {
	struct hmap map;
	uint64_t seed;
	uint32_t *free_index; /* indices given back */
	uint32_t n_free, cap_free, next_index;
};

struct intern_entry {
	struct hmap_node node;
	uint32_t refs;
	uint32_t index; /* smallest free number when it was made */
	size_t len;
	uint8_t data[]; /* NUL-terminated beyond len */
};

void intern_init(struct intern *t, uint64_t seed);
void intern_done(struct intern *t); /* all references must be back */
/* The entry for these bytes, with a reference for the caller; NULL when out of memory. */
struct intern_entry *intern_get(struct intern *t, struct wire_bytes value);
struct intern_entry *intern_ref(struct intern_entry *e);
void intern_unref(struct intern *t, struct intern_entry *e); /* NULL is fine */
static inline struct wire_bytes
intern_bytes(const struct intern_entry *e)
{
	return e ? wire_bytes(e->data, e->len) : wire_bytes(NULL, 0);
}

#endif
