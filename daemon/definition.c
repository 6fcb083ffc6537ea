#include "definition.h"

#include <string.h>

void
definition_put_number(uint8_t *to, uint64_t n, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (uint8_t)(n >> 8 * i);
}

uint64_t
definition_number(const uint8_t *from, unsigned bytes)
{
	uint64_t n = 0;

	while (bytes-- > 0)
		n = n << 8 | from[bytes];
	return n;
}

size_t
definition_put_string(uint8_t *to, const void *from, size_t len)
{
	to[0] = (uint8_t)len;
	if (len > 0)
		memcpy(to + 1, from, len);
	return 1 + len;
}

int
definition_string(struct store_bytes *from, size_t max, void *ret)
{
	const uint8_t *p = from->data;
	char *to = ret;
	int len;

	if (from->len < 1 || from->len - 1 < p[0] || p[0] > max)
		return -1;
	len = p[0];
	memcpy(to, p + 1, (size_t)len);
	to[len] = '\0';
	from->data = p + 1 + len;
	from->len -= 1 + (size_t)len;
	return len;
}
