/*
 * fuzz_conf: whatever a configuration says, reading it ends in faults or in
 * settings; and what is accepted prints as a text that is accepted, and prints
 * as the same text again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_faults;
static bool shows;

static void
fault(void *arg, const char *file, unsigned line, const char *text)
{
	(void)arg;
	n_faults++;
	if (!file || !text || text[0] == '\0')
		abort();
	if (shows)
		fprintf(stderr, "%s:%u: %s\n", file, line, text);
}

static char *
print(const struct conf *c, size_t *ret_len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, ret_len);

	if (!f)
		abort();
	conf_print(c, f);
	fclose(f);
	return text;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *first, *second;
	char *text, *again;
	size_t len, again_len;
	int r;

	n_faults = 0;
	r = conf_read_text("fuzz", (const char *)data, size, fault, NULL, &first);
	if (r != 0) {
		if (n_faults == 0)
			abort(); /* refused, and nobody knows why */
		return 0;
	}
	text = print(first, &len);
	shows = true;
	if (conf_read_text("printed", text, len, fault, NULL, &second) != 0) {
		fprintf(stderr, "%s", text);
		abort();
	}
	shows = false;
	again = print(second, &again_len);
	if (len != again_len || memcmp(text, again, len) != 0) {
		fprintf(stderr, "%s----\n%s", text, again);
		abort();
	}
	free(text);
	free(again);
	conf_free(first);
	conf_free(second);
	return 0;
}
