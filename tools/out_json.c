/*
 * out_json: answers for programs. Strings that are not UTF-8 get U+FFFD where
 * they are broken; bytes are base64; an unknown time, or no value, is null.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "output.h"
#include "text.h"
#include "units.h"

struct json {
	struct out out;
	unsigned depth;
	bool first; /* nothing yet at this depth */
};

static void
json_string(FILE *f, const uint8_t *p, size_t len)
{
	putc('"', f);
	while (len > 0) {
		size_t n = text_utf8_len(p, len);

		if (n == 0) {
			fputs("\\ufffd", f);
			n = 1;
		} else if (*p == '"' || *p == '\\') {
			fprintf(f, "\\%c", *p);
		} else if (*p == '\n') {
			fputs("\\n", f);
		} else if (*p == '\t') {
			fputs("\\t", f);
		} else if (text_steers(p, n)) {
			fprintf(f, "\\u%04x", n == 1 ? *p : n == 2 ? (p[0] & 31u) << 6 | (p[1] & 63u) : (p[0] & 15u) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u));
		} else {
			fwrite(p, 1, n, f);
		}
		p += n;
		len -= n;
	}
	putc('"', f);
}

/* The comma and key in front of whatever comes. */
static void
json_lead(struct json *j, const char *key)
{
	if (!j->first && j->depth > 0)
		putc(',', j->out.file);
	j->first = false;
	if (key != NULL)
		fprintf(j->out.file, "\"%s\":", key);
}

static void
json_open(struct out *o, const char *key, char bracket)
{
	struct json *j = (struct json *)o;

	json_lead(j, key);
	putc(bracket, o->file);
	j->depth++;
	j->first = true;
}

static void
json_close(struct out *o, char bracket)
{
	struct json *j = (struct json *)o;

	putc(bracket, o->file);
	j->first = false;
	if (--j->depth == 0)
		putc('\n', o->file);
}

static void
json_begin(struct out *o, const char *key)
{
	json_open(o, key, '{');
}

static void
json_end(struct out *o)
{
	json_close(o, '}');
}

static void
json_begin_list(struct out *o, const char *key, const char *type)
{
	(void)type;
	json_open(o, key, '[');
}

static void
json_end_list(struct out *o)
{
	json_close(o, ']');
}

static void
json_begin_stream(struct out *o, const char *type)
{
	(void)o; /* an object at depth 0 is a line of its own in any case */
	(void)type;
}

/* n / 10^digits without the zeros at the end. */
static void
json_decimal(FILE *f, uint64_t n, unsigned digits)
{
	uint64_t scale = 1;

	for (unsigned i = 0; i < digits; i++)
		scale *= 10;
	fprintf(f, "%" PRIu64, n / scale);
	n %= scale;
	if (n == 0)
		return;
	for (; n % 10 == 0; n /= 10)
		digits--;
	fprintf(f, ".%0*" PRIu64, (int)digits, n);
}

static void
json_value(struct out *o, const char *key, const struct out_value *v)
{
	char buf[UNITS_TEXT_MAX];

	json_lead((struct json *)o, key);
	switch (v->kind) {
	case OUT_TEXT:
		json_string(o->file, v->data, v->len);
		break;
	case OUT_BYTES:
		putc('"', o->file);
		text_base64(o->file, v->data, v->len);
		putc('"', o->file);
		break;
	case OUT_BOOL:
		fputs(v->number != 0 ? "true" : "false", o->file);
		break;
	case OUT_NUMBER:
	case OUT_SIZE:
		fprintf(o->file, "%" PRIu64, v->number);
		break;
	case OUT_TIME:
		if (v->number == 0)
			fputs("null", o->file);
		else
			fprintf(o->file, "\"%s\"", units_time_text(v->number, buf));
		break;
	case OUT_DURATION:
		json_decimal(o->file, v->number, 3);
		break;
	case OUT_NANOS:
		json_decimal(o->file, v->number, 9);
		break;
	case OUT_REAL:
		if (isfinite(v->real))
			fprintf(o->file, "%.3f", v->real);
		else
			fputs("null", o->file);
		break;
	case OUT_NONE:
		fputs("null", o->file);
		break;
	}
}

static void
json_free(struct out *o)
{
	free(o);
}

static const struct output json_format = {
	.begin = json_begin,
	.end = json_end,
	.begin_list = json_begin_list,
	.end_list = json_end_list,
	.begin_stream = json_begin_stream,
	.value = json_value,
	.free = json_free,
};

struct out *
out_json_new(FILE *f)
{
	struct json *j = calloc(1, sizeof(*j));

	if (j == NULL)
		return NULL;
	j->out = (struct out){ &json_format, f };
	j->first = true;
	return &j->out;
}
