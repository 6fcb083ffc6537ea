#include "input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_MIN 65536

void
input_init(struct input *in, int fd)
{
	*in = (struct input){ .fd = fd };
}

void
input_done(struct input *in)
{
	free(in->buf);
	in->buf = NULL;
}

int
input_read(struct input *in)
{
	ssize_t n;

	if (in->at > 0) {
		memmove(in->buf, in->buf + in->at, in->have - in->at);
		in->have -= in->at;
		in->searched -= in->at;
		in->at = 0;
	}
	if (in->room - in->have < READ_MIN) {
		size_t room = in->room > 0 ? 2 * in->room : 2 * READ_MIN;
		uint8_t *buf;

		if (in->have > INPUT_MAX)
			return -EMSGSIZE;
		buf = realloc(in->buf, room);
		if (buf == NULL)
			return -ENOMEM;
		in->buf = buf;
		in->room = room;
	}
	do
		n = read(in->fd, in->buf + in->have, in->room - in->have);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	in->have += (size_t)n;
	in->end = n == 0;
	return n > 0;
}

bool
input_line(struct input *in, const uint8_t **ret, size_t *ret_len)
{
	const uint8_t *nl = in->have > in->searched ? memchr(in->buf + in->searched, '\n', in->have - in->searched) : NULL;
	size_t stop = nl != NULL ? (size_t)(nl - in->buf) : in->have;

	if (nl == NULL && (!in->end || in->at == in->have)) {
		in->searched = in->have;
		return false;
	}
	*ret = in->buf + in->at;
	*ret_len = stop - in->at;
	in->at = in->searched = nl != NULL ? stop + 1 : stop;
	in->lines++;
	return true;
}
