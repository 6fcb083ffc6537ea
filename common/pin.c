/* pin: see pin.h. */
#include "pin.h"

#include <errno.h>
#include <string.h>

#define PREFIX "sha256:"
#define PREFIX_LEN 7
#define CODE_LEN 44 /* of 32 bytes: 43 digits and one = */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const char *
pin_text(const uint8_t pin[static PIN_BYTES], char buf[static PIN_TEXT_MAX])
{
	char *p = buf + PREFIX_LEN;
	unsigned bits = 0, n = 0;

	memcpy(buf, PREFIX, PREFIX_LEN);
	for (size_t i = 0; i < PIN_BYTES; i++) {
		bits = bits << 8 | pin[i];
		for (n += 8; n >= 6; n -= 6)
			*p++ = digits[bits >> (n - 6) & 63];
	}
	*p++ = digits[bits << (6 - n) & 63];
	*p++ = '=';
	*p = '\0';
	return buf;
}

static int
fault(const char **ret_why, const char *why)
{
	if (ret_why)
		*ret_why = why;
	return -EINVAL;
}

int
pin_parse(const char *s, uint8_t ret[static PIN_BYTES], const char **ret_why)
{
	uint8_t pin[PIN_BYTES];
	unsigned bits = 0, n = 0;
	size_t len = 0;

	if (strncmp(s, PREFIX, PREFIX_LEN) != 0)
		return fault(ret_why, "no sha256: in front");
	s += PREFIX_LEN;
	if (strlen(s) != CODE_LEN || s[CODE_LEN - 1] != '=')
		return fault(ret_why, "not 43 characters of base64 and a = behind sha256:");
	for (size_t i = 0; i < CODE_LEN - 1; i++) {
		const char *d = strchr(digits, s[i]);

		if (!d)
			return fault(ret_why, "not base64");
		bits = bits << 6 | (unsigned)(d - digits);
		n += 6;
		if (n >= 8) {
			n -= 8;
			pin[len++] = (uint8_t)(bits >> n);
		}
	}
	if (bits & ((1U << n) - 1))
		return fault(ret_why, "not base64 of 32 bytes");
	memcpy(ret, pin, sizeof(pin));
	return 0;
}
