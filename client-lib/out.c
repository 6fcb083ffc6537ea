#include "out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OUT_START (64 * 1024) /* first size of the buffer */
#define OUT_VECS 32           /* pieces handed to the kernel at once */

void
out_init(struct out *o)
{
	memset(o, 0, sizeof(*o));
}

void
out_reset(struct out *o)
{
	for (; o->n_refs > 0; o->n_refs--) {
		connectd_msg_unref(o->refs[o->ref_head].owner);
		o->ref_head = (o->ref_head + 1) % OUT_REFS;
	}
	o->ref_bytes = 0;
	o->head = o->tail = 0;
}

void
out_done(struct out *o)
{
	out_reset(o);
	free(o->buf);
	o->buf = NULL;
	o->cap = 0;
}

uint8_t *
out_reserve(struct out *o, size_t len)
{
	size_t used = o->tail - o->head;

	if (o->cap - o->tail >= len)
		return o->buf + o->tail;
	if (o->head > 0) {
		memmove(o->buf, o->buf + o->head, used);
		o->head = 0;
		o->tail = used;
	}
	if (o->cap - used < len) {
		size_t cap = o->cap > 0 ? o->cap : OUT_START;
		uint8_t *buf;

		while (cap - used < len)
			cap *= 2;
		buf = realloc(o->buf, cap);
		if (buf == NULL)
			return NULL;
		o->buf = buf;
		o->cap = cap;
	}
	return o->buf + o->tail;
}

void
out_commit(struct out *o, size_t len)
{
	o->tail += len;
}

void
out_body(struct out *o, struct connectd_msg *owner, const uint8_t *data, size_t len)
{
	struct out_ref *r = &o->refs[(o->ref_head + o->n_refs) % OUT_REFS];

	*r = (struct out_ref){ o->at + (o->tail - o->head), data, len, connectd_msg_ref(owner) };
	o->n_refs++;
	o->ref_bytes += len;
}

int
out_frame(struct out *o, const struct wire_frame *f)
{
	uint8_t *p = out_reserve(o, wire_size(f));

	if (p == NULL)
		return -ENOMEM;
	out_commit(o, wire_pack(f, p));
	return 0;
}

/* The pieces that wait, in order. */
static int
out_gather(const struct out *o, struct iovec iov[static OUT_VECS])
{
	size_t pos = o->head;
	int n = 0;

	for (unsigned i = 0; i < o->n_refs && n < OUT_VECS - 2; i++) {
		const struct out_ref *r = &o->refs[(o->ref_head + i) % OUT_REFS];
		size_t until = o->head + (size_t)(r->at - o->at);

		if (until > pos)
			iov[n++] = (struct iovec){ o->buf + pos, until - pos };
		pos = until;
		iov[n++] = (struct iovec){ (void *)(uintptr_t)r->data, r->len };
		if (i + 1 < o->n_refs && n >= OUT_VECS - 2)
			return n;
	}
	if (o->tail > pos)
		iov[n++] = (struct iovec){ o->buf + pos, o->tail - pos };
	return n;
}

static void
out_consume(struct out *o, size_t len)
{
	while (len > 0) {
		struct out_ref *r = o->n_refs > 0 ? &o->refs[o->ref_head] : NULL;
		size_t copied = r != NULL ? (size_t)(r->at - o->at) : o->tail - o->head;
		size_t n = copied < len ? copied : len;

		o->head += n;
		o->at += n;
		len -= n;
		if (len == 0 || r == NULL)
			break;
		n = r->len < len ? r->len : len;
		r->data += n;
		r->len -= n;
		o->ref_bytes -= n;
		len -= n;
		if (r->len > 0)
			break;
		connectd_msg_unref(r->owner);
		o->ref_head = (o->ref_head + 1) % OUT_REFS;
		o->n_refs--;
	}
	if (o->head == o->tail)
		o->head = o->tail = 0;
}

int
out_flush(struct out *o, struct io *io, size_t *ret_written)
{
	*ret_written = 0;
	while (out_pending(o) > 0) {
		struct iovec iov[OUT_VECS];
		ssize_t n = io_writev(io, iov, out_gather(o, iov));

		if (n == -EAGAIN)
			return 1;
		if (n < 0)
			return (int)n;
		out_consume(o, (size_t)n);
		*ret_written += (size_t)n;
	}
	return 0;
}
