#include "soak.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint64_t state;

bool
soak(void)
{
	return soak_value("SOAK", 0, 0) != 0;
}

uint64_t
soak_value(const char *name, uint64_t in_check, uint64_t in_soak)
{
	const char *s = getenv(name);

	if (s != NULL && *s != '\0')
		return strtoull(s, NULL, 10);
	s = getenv("SOAK");
	return s != NULL && *s == '1' ? in_soak : in_check;
}

int
soak_timeout(uint64_t seconds)
{
	return (int)(4 * seconds + 120);
}

bool
soak_expects_fault(void)
{
	return soak_value("EXPECT_FAULT", 0, 0) != 0;
}

void
soak_seed(const char *test)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	state = soak_value("SEED", (uint64_t)ts.tv_nsec ^ (uint64_t)getpid() << 20, (uint64_t)ts.tv_nsec ^ (uint64_t)getpid() << 20);
	printf("%s: SEED=%" PRIu64 "\n", test, state);
}

/* splitmix64 */
uint64_t
soak_random(uint64_t n)
{
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % n;
}
