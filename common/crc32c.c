#include "crc32c.h"

#include <assert.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>

bool
crc32c_has_instruction(void)
{
	return __builtin_cpu_supports("sse4.2") != 0;
}

__attribute__((target("sse4.2"))) uint32_t
crc32c_by_instruction(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t crc = UINT32_MAX, word;

	for (; len >= 8; len -= 8, p += 8) {
		memcpy(&word, p, 8);
		crc = _mm_crc32_u64(crc, word);
	}
	for (; len > 0; len--)
		crc = _mm_crc32_u8((uint32_t)crc, *p++);
	return ~(uint32_t)crc;
}
#else
bool
crc32c_has_instruction(void)
{
	return false;
}

uint32_t
crc32c_by_instruction(const void *data, size_t len)
{
	(void)data, (void)len;
	assert(!"no such instruction");
	return 0;
}
#endif
