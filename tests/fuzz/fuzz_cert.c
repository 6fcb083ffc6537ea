/*
 * fuzz_cert: keys, certificates, revocation lists and fingerprints that say
 * anything, as an operator's files or a peer's handshake may. The first byte
 * says what the rest is; parts are apart by the line "--next--".
 */
#include <stdlib.h>
#include <string.h>

#include "pin.h"
#include "tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NEXT "\n--next--\n"

static void
is_text(const char *s, size_t max)
{
	if (strnlen(s, max) == max)
		abort();
}

static void
pin(const uint8_t *data, size_t size)
{
	char *s = strndup((const char *)data, size), text[PIN_TEXT_MAX];
	uint8_t bytes[PIN_BYTES];
	const char *why = NULL;

	if (pin_parse(s, bytes, &why) == 0) {
		if (strcmp(pin_text(bytes, text), s) != 0)
			abort(); /* a second text for one hash */
	} else if (!why) {
		abort();
	}
	free(s);
}

static void
certificate(const uint8_t *data, size_t size)
{
	struct tls_certificate c;
	char why[TLS_TEXT_MAX] = "";

	if (tls_certificate_read((struct tls_blob){ data, size }, why, &c) < 0) {
		is_text(why, sizeof(why));
		if (why[0] == '\0')
			abort();
		return;
	}
	if (c.n_names > TLS_NAMES_MAX)
		abort();
	for (size_t i = 0; i < c.n_names; i++) {
		is_text(c.names[i], sizeof(c.names[i]));
		if (!names_node_ok(c.names[i], strlen(c.names[i])) || !tls_certificate_names(&c, c.names[i]))
			abort();
	}
}

/* key, certificate, CA, CRL; what is empty is not there. */
static void
context(const uint8_t *data, size_t size)
{
	struct tls_blob part[4] = { { NULL, 0 } };
	struct tls_dates dates;
	struct tls_material m;
	struct tls_context *c = NULL;
	char why[TLS_TEXT_MAX] = "";

	for (size_t i = 0; i < 4 && size > 0; i++) {
		const uint8_t *next = memmem(data, size, NEXT, strlen(NEXT));
		size_t len = next ? (size_t)(next - data) : size;

		if (len > 0)
			part[i] = (struct tls_blob){ data, len };
		if (next)
			len += strlen(NEXT);
		data += len;
		size -= len;
	}
	m = (struct tls_material){ part[0], part[1], part[2], part[3] };
	if (tls_context_new(&m, why, &c) < 0) {
		is_text(why, sizeof(why));
		if (why[0] == '\0')
			abort();
		return;
	}
	for (size_t i = 0; tls_context_dates(c, i, &dates); i++)
		is_text(dates.of, sizeof(dates.of));
	if (tls_context_has_ca(c) != (part[2].len > 0) || tls_context_own(c)->n_names > TLS_NAMES_MAX)
		abort();
	tls_context_unref(c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] % 3 == 0)
		pin(data + 1, size - 1);
	else if (data[0] % 3 == 1)
		certificate(data + 1, size - 1);
	else
		context(data + 1, size - 1);
	return 0;
}
