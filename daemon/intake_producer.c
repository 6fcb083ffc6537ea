/* Named producers as an operator sees them: which there are, and forgetting one. */
#include <errno.h>
#include <string.h>

#include "intake_internal.h"

void
intake_each_producer(const struct intake_book *b, bool (*fn)(void *arg, const struct intake_producer *p), void *arg)
{
	for (struct hmap_node *n = b->n_named > 0 ? hmap_walk(&b->flows, NULL) : NULL; n; n = hmap_walk(&b->flows, n)) {
		const struct intake_flow *fl = hmap_entry(n, struct intake_flow, node);
		struct intake_producer p = { .uid = b->owner.uid, .name = wire_bytes(fl->producer, fl->producer_len),
			.queue = fl->queue, .priority = (uint8_t)fl->priority, .epoch = fl->epoch, .mark = fl->in.mark,
			.waiting = fl->sender.open, .is_open = fl->intake != NULL, .is_kept = fl->number != 0,
			.since_ms = fl->away_since_ms };

		if (fl->named && !fn(arg, &p))
			return;
	}
}

int
intake_forget_producer(struct intake_env *env, struct intake_book *b, struct wire_bytes name, const char *queue)
{
	struct intake_flow *found[WIRE_PRIORITIES];
	size_t n = 0;

	for (uint32_t p = 0; p < WIRE_PRIORITIES; p++) {
		struct intake_flow *fl = intake_flow_find(env, b, name, queue, p);

		if (!fl || !fl->named)
			continue;
		if (fl->intake)
			return -EBUSY;
		if (fl->sender.unsynced > 0)
			return -EAGAIN;
		found[n++] = fl;
	}
	for (size_t i = 0; i < n; i++)
		intake_flow_forget(found[i]);
	return n > 0 ? 0 : -ENOENT;
}
