/*
 * Associations that are over, whose proofs (cookies) are not too old yet: a copy
 * of one that comes late must not make another.
 */
#include <stdlib.h>

#include "transport_sctp_internal.h"

#define SPENT_MAX 256

struct spent {
	uint64_t who; /* hash of its far end */
	uint32_t tag;
	uint64_t until_ms;
};

/* Per loop: the last ones. */
struct spent_ones {
	struct loop_attached attached;
	struct spent spent[SPENT_MAX];
	size_t n;
};

static const char spent_key;

static void
free_spent(struct loop_attached *a)
{
	free(list_entry(a, struct spent_ones, attached));
}

/* NULL: no memory. */
static struct spent_ones *
spent_of(struct loop *l)
{
	struct loop_attached *a = loop_attached(l, &spent_key);
	struct spent_ones *all;

	if (a)
		return list_entry(a, struct spent_ones, attached);
	all = calloc(1, sizeof(*all));
	if (all)
		loop_attach(l, &all->attached, &spent_key, free_spent);
	return all;
}

bool
stream_is_spent(struct loop *l, uint64_t hash, uint32_t tag)
{
	const struct spent_ones *all = spent_of(l);
	uint64_t now = loop_now_ms(l);

	for (size_t i = 0; all && i < SPENT_MAX; i++)
		if (all->spent[i].who == hash && all->spent[i].tag == tag && all->spent[i].until_ms > now)
			return true;
	return false;
}

void
stream_note_spent(const struct stream *s)
{
	/* Not made anew when the loop ends. */
	struct loop_attached *a = loop_attached(s->loop, &spent_key);
	struct spent_ones *all = a ? list_entry(a, struct spent_ones, attached) : NULL;

	if (all)
		all->spent[all->n++ % SPENT_MAX] = (struct spent){ s->node.by_far.hash, s->tag, s->accepted_ms + 2 * ASSOC_PROOF_MS };
}
