#include "frame.h"

#include <errno.h>

int
frame_decode(const uint8_t *buf, size_t len, size_t max, struct frame *ret)
{
	uint64_t n = 0;

	for (size_t i = 0; i < FRAME_HEADER_MAX; i++) {
		if (i == len)
			return 0;
		n |= (uint64_t)(buf[i] & 0x7f) << (7 * i);
		if (buf[i] & 0x80)
			continue;
		/* Judge the claim before waiting for, or storing, its bytes. */
		if (n > UINT32_MAX || (i > 0 && buf[i] == 0))
			return -EBADMSG;
		if (n > max)
			return -EMSGSIZE;
		if (len - i - 1 < n)
			return 0;
		*ret = (struct frame){ buf + i + 1, (size_t)n, i + 1 + (size_t)n };
		return 1;
	}
	return -EBADMSG;
}

size_t
frame_header(uint8_t hdr[static FRAME_HEADER_MAX], uint32_t len)
{
	size_t i = 0;

	for (; len >= 0x80; len >>= 7)
		hdr[i++] = (uint8_t)(len | 0x80);
	hdr[i++] = (uint8_t)len;
	return i;
}
