/* backoff: see backoff.h. */
#include "backoff.h"

void
backoff_init(struct backoff *b, uint64_t min_ms, uint64_t max_ms)
{
	*b = (struct backoff){ .min_ms = min_ms, .max_ms = max_ms < min_ms ? min_ms : max_ms };
	backoff_reset(b);
}

void
backoff_reset(struct backoff *b)
{
	b->ceiling_ms = b->min_ms;
}

void
backoff_up(struct backoff *b, uint64_t now_ms)
{
	b->is_up = 1;
	b->up_since_ms = now_ms;
}

void
backoff_down(struct backoff *b, uint64_t now_ms)
{
	/* One that comes up only to fall again must not be dialled ever faster. */
	if (b->is_up && now_ms - b->up_since_ms >= BACKOFF_STABLE_MS)
		backoff_reset(b);
	b->is_up = 0;
}

uint64_t
backoff_next(struct backoff *b, uint64_t random)
{
	uint64_t floor = b->min_ms / 2, span = b->ceiling_ms - floor;
	uint64_t delay = floor + (span < UINT64_MAX ? random % (span + 1) : random);

	b->ceiling_ms = b->ceiling_ms > b->max_ms / 2 ? b->max_ms : b->ceiling_ms * 2;
	return delay;
}
