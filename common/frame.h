/*
 * frame: find the edges of length-delimited messages in a byte stream.
 * No allocation, no I/O, no logging. The caller owns the buffer; a decoded
 * frame points into it and dies with it.
 */
#ifndef FRAME_H
#define FRAME_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER_MAX 5 /* bytes of varint that hold a 32-bit length */

struct frame {
	const uint8_t *data; /* payload, inside the caller's buffer */
	size_t len;          /* payload bytes */
	size_t used;         /* header + payload: drain this much */
};

/*
 * Look for one whole frame at the front of buf. Returns 1 and fills *ret;
 * 0 if more bytes are needed; -EMSGSIZE if the peer announces more than max;
 * -EBADMSG if the header is no valid length. *ret is only written on 1.
 */
int frame_decode(const uint8_t *buf, size_t len, size_t max, struct frame *ret);

/* Write the header for a payload of len bytes; returns its size. */
size_t frame_header(uint8_t hdr[static FRAME_HEADER_MAX], uint32_t len);

#endif
