/*
 * The part of a message that is between the two programs: reply-to,
 * correlation id and headers. Packed when it is sent, unpacked when the
 * receiver asks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "msg.h"
#include "names.h"

/* ------------------------------------------------------------------- set */

int
connectd_msg_set_reply_to(struct connectd_msg *m, const char *dest)
{
	struct names_dest parts;
	char *copy;
	int r;

	if (m->frozen)
		return -EBUSY;
	r = names_dest_parse(dest, strlen(dest), &parts);
	if (r < 0)
		return r;
	copy = strdup(dest);
	if (copy == NULL)
		return -ENOMEM;
	free(m->reply_to);
	m->reply_to = copy;
	return 0;
}

int
connectd_msg_set_correlation_id(struct connectd_msg *m, const void *id, size_t len)
{
	uint8_t *copy;

	if (m->frozen)
		return -EBUSY;
	if (len > WIRE_PACKED_MAX)
		return -EMSGSIZE;
	copy = malloc(len > 0 ? len : 1);
	if (copy == NULL)
		return -ENOMEM;
	if (len > 0)
		memcpy(copy, id, len);
	free(m->correlation);
	m->correlation = copy;
	m->correlation_len = len;
	return 0;
}

/* Append one header; the value is kept behind the name, in one allocation. */
static int
header_append(struct connectd_msg *m, struct wire_bytes name, struct wire_bytes value)
{
	struct msg_header *more = realloc(m->headers, (m->n_headers + 1) * sizeof(*more));
	char *text;

	if (more == NULL)
		return -ENOMEM;
	m->headers = more;
	text = malloc(name.len + 1 + value.len);
	if (text == NULL)
		return -ENOMEM;
	if (name.len > 0)
		memcpy(text, name.data, name.len);
	text[name.len] = '\0';
	if (value.len > 0)
		memcpy(text + name.len + 1, value.data, value.len);
	more[m->n_headers++] = (struct msg_header){ text, text + name.len + 1, value.len };
	return 0;
}

int
connectd_msg_add_header(struct connectd_msg *m, const char *name, const void *value, size_t len)
{
	if (m->frozen)
		return -EBUSY;
	if (name[0] == '\0')
		return -EINVAL;
	if (strlen(name) + len > WIRE_PACKED_MAX)
		return -EMSGSIZE;
	return header_append(m, wire_string(name), wire_bytes(value, len));
}

/* ---------------------------------------------------- packed, both ways */

static size_t
headers_size(const struct connectd_msg *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_headers; i++)
		n += wire_size_header(&(struct wire_header){ wire_string(m->headers[i].name),
		    wire_bytes(m->headers[i].value, m->headers[i].len) });
	return n;
}

int
msg_freeze(struct connectd_msg *m)
{
	uint8_t headers[WIRE_PACKED_MAX];
	struct wire_packed p;
	size_t n = 0, len;

	if (m->frozen)
		return m->dest != NULL ? 0 : -EINVAL;
	if (m->reply_to == NULL && m->correlation_len == 0 && m->n_headers == 0) {
		m->frozen = m->opened = true;
		return 0;
	}
	len = headers_size(m);
	if (len > sizeof(headers))
		return -EMSGSIZE;
	for (size_t i = 0; i < m->n_headers; i++)
		n += wire_pack_header(&(struct wire_header){ wire_string(m->headers[i].name),
		    wire_bytes(m->headers[i].value, m->headers[i].len) }, headers + n);
	p = (struct wire_packed){ wire_bytes(m->correlation, m->correlation_len), wire_string(m->reply_to), wire_bytes(headers, n) };
	len = wire_size_packed(&p);
	if (len > WIRE_PACKED_MAX)
		return -EMSGSIZE;
	m->packed = msg_alloc(m, len);
	if (m->packed == NULL)
		return -ENOMEM;
	m->packed_len = wire_pack_packed(&p, m->packed);
	m->frozen = m->opened = true;
	return 0;
}

/* A reply-to without a node means one of the node the message came from. */
static char *
qualify(const struct connectd_msg *m, struct wire_bytes reply_to)
{
	const char *node = m->origin != NULL ? m->origin->node : "";
	bool qualified = memchr(reply_to.data, '/', reply_to.len) != NULL;
	size_t prefix = qualified || node[0] == '\0' ? 0 : strlen(node) + 1;
	char *s = malloc(prefix + reply_to.len + 1);

	if (s == NULL)
		return NULL;
	if (prefix > 0) {
		memcpy(s, node, prefix - 1);
		s[prefix - 1] = '/';
	}
	memcpy(s + prefix, reply_to.data, reply_to.len);
	s[prefix + reply_to.len] = '\0';
	return s;
}

/*
 * Unpack what the sending program packed, once. Bytes that make no sense are
 * another program's mistake: what could be read stands, the rest is absent.
 */
static void
msg_open(const struct connectd_msg *constant)
{
	struct connectd_msg *m = (struct connectd_msg *)(uintptr_t)constant; /* unpacking changes nothing anyone can see */
	struct names_dest parts;
	struct wire_packed p;
	struct frame f;

	if (m->opened || !m->frozen)
		return;
	m->opened = true;
	if (wire_unpack_packed(wire_bytes(m->packed, m->packed_len), &p) < 0)
		return;
	if (names_dest_parse((const char *)p.reply_to.data, p.reply_to.len, &parts) == 0)
		m->reply_to = qualify(m, p.reply_to);
	m->correlation = p.correlation_id.len > 0 ? malloc(p.correlation_id.len) : NULL;
	if (m->correlation != NULL) {
		memcpy(m->correlation, p.correlation_id.data, p.correlation_id.len);
		m->correlation_len = p.correlation_id.len;
	}
	while (p.headers.len > 0 && frame_decode(p.headers.data, p.headers.len, p.headers.len, &f) == 1) {
		struct wire_header h;

		if (wire_unpack_header(wire_bytes(f.data, f.len), &h) < 0 || header_append(m, h.name, h.value) < 0)
			return;
		p.headers = wire_bytes(p.headers.data + f.used, p.headers.len - f.used);
	}
}

/* ------------------------------------------------------------------- get */

const char *
connectd_msg_get_reply_to(const struct connectd_msg *m)
{
	msg_open(m);
	return m->reply_to;
}

const void *
connectd_msg_get_correlation_id(const struct connectd_msg *m, size_t *ret_len)
{
	msg_open(m);
	*ret_len = m->correlation_len;
	return m->correlation;
}

size_t
connectd_msg_n_headers(const struct connectd_msg *m)
{
	msg_open(m);
	return m->n_headers;
}

int
connectd_msg_get_header(const struct connectd_msg *m, size_t i, const char **ret_name, const void **ret_value, size_t *ret_len)
{
	msg_open(m);
	if (i >= m->n_headers)
		return -ENOENT;
	*ret_name = m->headers[i].name;
	*ret_value = m->headers[i].value;
	*ret_len = m->headers[i].len;
	return 0;
}
