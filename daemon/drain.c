#include "drain.h"

#include <errno.h>
#include <stdlib.h>

#include "loop.h"

struct drains {
	struct loop_attached attached;
	/* By is_stranger. */
	struct {
		struct list list; /* struct drain, oldest first */
		size_t n;
	} kinds[2];
};

static const char key;

static void
free_drains(struct loop_attached *a)
{
	struct drains *all = list_entry(a, struct drains, attached);

	for (int i = 0; i < 2; i++)
		LIST_FOREACH_SAFE (n, &all->kinds[i].list) {
			struct drain *d = list_entry(n, struct drain, node);

			d->cut(d);
		}
	free(all);
}

/* NULL: no memory. */
static struct drains *
drains_of(struct loop *l)
{
	struct loop_attached *a = loop_attached(l, &key);
	struct drains *all;

	if (a)
		return list_entry(a, struct drains, attached);
	all = calloc(1, sizeof(*all));
	if (!all)
		return NULL;
	list_init(&all->kinds[0].list);
	list_init(&all->kinds[1].list);
	loop_attach(l, &all->attached, &key, free_drains);
	return all;
}

void
drain_init(struct drain *d, void (*cut)(struct drain *d))
{
	list_init(&d->node);
	d->cut = cut;
}

int
drain_begin(struct drain *d, struct loop *l, bool is_stranger)
{
	struct drains *all = drains_of(l);

	if (!all)
		return -ENOMEM;
	if (all->kinds[is_stranger].n == (is_stranger ? DRAIN_STRANGERS_MAX : DRAIN_MAX)) {
		struct drain *oldest = list_entry(list_first(&all->kinds[is_stranger].list), struct drain, node);

		oldest->cut(oldest);
	}
	d->is_stranger = is_stranger;
	all->kinds[is_stranger].n++;
	list_append(&all->kinds[is_stranger].list, &d->node);
	return 0;
}

void
drain_end(struct drain *d, struct loop *l)
{
	struct loop_attached *a;

	if (list_empty(&d->node))
		return;
	list_remove(&d->node);
	a = loop_attached(l, &key);
	if (a) /* else the loop ends */
		list_entry(a, struct drains, attached)->kinds[d->is_stranger].n--;
}
