/*
 * backoff: the delay before the next dial. Doubles from min to max with full
 * jitter, and forgets only after a session has stayed up a while. Pure: the
 * caller brings clock and randomness.
 */
#ifndef BACKOFF_H
#define BACKOFF_H

#include <stdint.h>

#define BACKOFF_STABLE_MS 10000 /* a session up this long resets the delay */

struct backoff {
	uint64_t min_ms, max_ms;
	uint64_t ceiling_ms; /* of the next delay */
	uint64_t up_since_ms;
	int is_up;
};

void backoff_init(struct backoff *b, uint64_t min_ms, uint64_t max_ms);
/* A session came up; went down. */
void backoff_up(struct backoff *b, uint64_t now_ms);
void backoff_down(struct backoff *b, uint64_t now_ms);
/*
 * Delay before the next try, milliseconds: uniform between min_ms/2 and the
 * ceiling, which doubles each call. `random` is 64 uniform bits.
 */
uint64_t backoff_next(struct backoff *b, uint64_t random);
/* Start over from min (an operator asked, or the other end said Drain). */
void backoff_reset(struct backoff *b);

#endif
