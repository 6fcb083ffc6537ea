/* frame: whatever a peer sends, the edges found lie inside what was received and stand for what was written. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Judge the front of the stream with every prefix of it: more bytes must never change a verdict. */
static int
decode(const uint8_t *data, size_t size, size_t max, struct frame *ret)
{
	int r = frame_decode(data, size, max, ret);
	size_t n = size < 2 * FRAME_HEADER_MAX ? size : 2 * FRAME_HEADER_MAX;

	for (size_t i = 0; i < n; i++) {
		struct frame f;
		int early = frame_decode(data, i, max, &f);

		assert(early == 0 || early == r);
		if (early == 1)
			assert(f.data == ret->data && f.len == ret->len && f.used == ret->used);
	}
	return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t limits[] = { 64, 4096, 128 * 1024 };
	size_t max;

	if (size == 0)
		return 0;
	max = limits[data[0] % 3];
	data++;
	size--;
	while (size > 0) {
		struct frame f = { NULL, 0, 0 };
		uint8_t header[FRAME_HEADER_MAX];
		int r = decode(data, size, max, &f);
		size_t h;

		assert(r == 1 || r == 0 || r == -EMSGSIZE || r == -EBADMSG);
		if (r != 1) {
			assert(f.data == NULL && f.used == 0);
			break;
		}
		assert(f.len <= max && f.used <= size && f.data + f.len == data + f.used);
		h = frame_header(header, (uint32_t)f.len);
		assert(h == f.used - f.len && memcmp(header, data, h) == 0);
		data += f.used;
		size -= f.used;
	}
	return 0;
}
