#include "text.h"

#include <stdlib.h>
#include <string.h>

size_t
text_utf8_len(const void *s, size_t len)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const uint8_t *p = s;
	uint32_t c;
	size_t n;

	if (len == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if ((p[0] & 0xe0) == 0xc0)
		n = 2, c = p[0] & 0x1f;
	else if ((p[0] & 0xf0) == 0xe0)
		n = 3, c = p[0] & 0x0f;
	else if ((p[0] & 0xf8) == 0xf0)
		n = 4, c = p[0] & 0x07;
	else
		return 0;
	if (len < n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	/* Longer than need be, a surrogate, or beyond Unicode. */
	if (c < least[n] || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff)
		return 0;
	return n;
}

bool
text_utf8_ok(const void *s, size_t len)
{
	const uint8_t *p = s;

	while (len > 0) {
		size_t n = text_utf8_len(p, len);

		if (n == 0)
			return false;
		p += n;
		len -= n;
	}
	return true;
}

void
text_base64(FILE *f, const void *data, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = data;

	for (; len > 0; p += 3, len -= len < 3 ? len : 3) {
		uint32_t v = (uint32_t)p[0] << 16 | (len > 1 ? (uint32_t)p[1] << 8 : 0) | (len > 2 ? p[2] : 0);

		putc_unlocked(digits[v >> 18], f);
		putc_unlocked(digits[v >> 12 & 63], f);
		putc_unlocked(len > 1 ? digits[v >> 6 & 63] : '=', f);
		putc_unlocked(len > 2 ? digits[v & 63] : '=', f);
	}
}

void
text_line(FILE *f, const void *data, size_t len)
{
	const char *p = data;

	for (size_t i = 0; i < len; i++) {
		if (p[i] == '\n')
			fputs("\\n", f);
		else if (p[i] == '\\')
			fputs("\\\\", f);
		else
			putc_unlocked(p[i], f);
	}
}

bool
text_steers(const void *s, size_t n)
{
	const uint8_t *p = s;

	/* C0, DEL, C1 (c2 80 to c2 9f); U+2028 to 202E, U+2066 to 2069. */
	if (n == 1)
		return p[0] < 0x20 || p[0] == 0x7f;
	if (n == 2)
		return p[0] == 0xc2 && p[1] < 0xa0;
	return n == 3 && p[0] == 0xe2 && ((p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae) || (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9));
}

void
text_safe(FILE *f, const void *data, size_t len, size_t max)
{
	const uint8_t *p = data;

	while (len > 0) {
		size_t n = text_utf8_len(p, len);
		bool control = n == 0 || text_steers(p, n);

		if (max-- == 0) {
			fputs("...", f);
			return;
		}
		if (control)
			putc('?', f);
		else
			fwrite(p, 1, n, f);
		n += n == 0;
		p += n;
		len -= n;
	}
}

void
text_safe_format(FILE *f, const char *fmt, va_list ap)
{
	char *text;
	int len = vasprintf(&text, fmt, ap);

	if (len < 0)
		return;
#ifdef PLANT_RAW_REASON
	fputs(text, f);
#else
	text_safe(f, text, (size_t)len, SIZE_MAX);
#endif
	free(text);
}

/* ------------------------------------------------------------- wrappers */

size_t
text_wrap(size_t len, uint8_t head[static TEXT_WRAP_MAX])
{
	size_t n = 0;

	if (len == 0)
		return 0;
	head[n++] = 1 << 3 | 2;
	for (; len >= 0x80; len >>= 7)
		head[n++] = (uint8_t)(len | 0x80);
	head[n++] = (uint8_t)len;
	return n;
}

static bool
varint(const uint8_t **p, const uint8_t *end, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
		uint8_t b = *(*p)++;

		v |= (uint64_t)(b & 0x7f) << shift;
		if ((b & 0x80) == 0) {
			*ret = v;
			return true;
		}
	}
	return false;
}

bool
text_unwrap(const void *data, size_t len, const void **ret, size_t *ret_len)
{
	const uint8_t *p = data, *end = len > 0 ? p + len : p, *value = NULL;
	uint64_t key, n, value_len = 0;

	while (p < end) {
		if (!varint(&p, end, &key) || key >> 3 == 0 || key > UINT32_MAX)
			return false;
		switch (key & 7) {
		case 0:
			if (!varint(&p, end, &n))
				return false;
			n = 0;
			break;
		case 1:
			n = 8;
			break;
		case 2:
			if (!varint(&p, end, &n))
				return false;
			break;
		case 5:
			n = 4;
			break;
		default:
			return false;
		}
		if (n > (uint64_t)(end - p))
			return false;
		if (key == (1 << 3 | 2)) {
			value = p;
			value_len = n;
		}
		p += n;
	}
	*ret = value != NULL ? (const void *)value : "";
	*ret_len = (size_t)value_len;
	return true;
}
