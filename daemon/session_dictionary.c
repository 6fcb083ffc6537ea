/*
 * session_dictionary: the types and origins of one direction by their ids. Ids
 * are given by place in the daemon's tables, so a session with two types may
 * use ids 7 and 900: pages keep it small.
 */
#include <errno.h>
#include <stdlib.h>

#include "session_internal.h"

struct intern_entry *
dictionary_get(const struct dictionary *d, uint32_t id)
{
	struct intern_entry **page;

	if (id == 0 || id > WIRE_DICTIONARY || !d->pages)
		return NULL;
	page = d->pages[(id - 1) / DICTIONARY_PAGE];
	return page ? page[(id - 1) % DICTIONARY_PAGE] : NULL;
}

static struct intern_entry **
slot(struct dictionary *d, uint32_t id)
{
	struct intern_entry ***page;

	if (!d->pages)
		d->pages = calloc(DICTIONARY_PAGES, sizeof(*d->pages));
	if (!d->pages)
		return NULL;
	page = &d->pages[(id - 1) / DICTIONARY_PAGE];
	if (!*page)
		*page = calloc(DICTIONARY_PAGE, sizeof(**page));
	return *page ? *page + (id - 1) % DICTIONARY_PAGE : NULL;
}

int
dictionary_set(struct dictionary *d, struct intern *t, uint32_t id, struct intern_entry *e)
{
	struct intern_entry **at = slot(d, id);

	if (!at) {
		intern_unref(t, e);
		return -ENOMEM;
	}
	intern_unref(t, *at);
	*at = e;
	return 0;
}

void
dictionary_clear(struct dictionary *d, struct intern *t)
{
	for (size_t i = 0; d->pages && i < DICTIONARY_PAGES; i++) {
		for (size_t j = 0; d->pages[i] && j < DICTIONARY_PAGE; j++)
			intern_unref(t, d->pages[i][j]);
		free(d->pages[i]);
	}
	free(d->pages);
	d->pages = NULL;
}
