#include "dict.h"

#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.pb-c.h"
#include "conf_keys.h"
#include "connectd.pb-c.h"
#include "frame.h"
#include "wire.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define LEVELS 3 /* messages inside messages */

/* ------------------------------------------------------------------ fields -- */

static size_t
put_message(const ProtobufCMessageDescriptor *d, unsigned level, uint8_t *buf);

/* What is right for most numbers is a small one. */
static uint64_t
right_value(const ProtobufCFieldDescriptor *f)
{
	return strcmp(f->name, "magic") == 0 ? WIRE_MAGIC : 1;
}

static size_t
put_fixed(uint64_t v, size_t n, uint8_t *buf)
{
	for (size_t i = 0; i < n; i++)
		buf[i] = (uint8_t)(v >> 8 * i);
	return n;
}

/* A field with its key. */
static size_t
put_field(const ProtobufCFieldDescriptor *f, unsigned level, uint8_t *buf)
{
	uint8_t in[DICT_RECORD_MAX];
	unsigned wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
	size_t len = 0, n;

	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		len = level < LEVELS ? put_message(f->descriptor, level + 1, in) : 0;
		break;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
		in[len++] = 'a';
		break;
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		wire_type = PROTOBUF_C_WIRE_TYPE_32BIT;
		len = put_fixed(right_value(f), 4, in);
		break;
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		wire_type = PROTOBUF_C_WIRE_TYPE_64BIT;
		len = put_fixed(right_value(f), 8, in);
		break;
	default:
		len = wire_put_number(in, right_value(f));
		if (f->label == PROTOBUF_C_LABEL_REPEATED)
			len += wire_put_number(in + len, 2); /* packed: a range */
		else
			wire_type = PROTOBUF_C_WIRE_TYPE_VARINT;
	}
	n = wire_put_number(buf, (uint64_t)f->id << 3 | wire_type);
	if (wire_type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
		n += wire_put_number(buf + n, len);
	memcpy(buf + n, in, len);
	return n + len;
}

static size_t
put_message(const ProtobufCMessageDescriptor *d, unsigned level, uint8_t *buf)
{
	size_t n = 0;

	for (unsigned i = 0; i < d->n_fields; i++)
		n += put_field(&d->fields[i], level, buf + n);
	return n;
}

static const ProtobufCMessageDescriptor *const records[] = { &connectd__v1__status__descriptor, &connectd__v1__peer__descriptor,
	&connectd__v1__queue__descriptor, &connectd__v1__client__descriptor, &connectd__v1__event__descriptor, &connectd__v1__peeked__descriptor,
	&connectd__v1__producer__descriptor, &connectd__v1__done__descriptor, &connectd__v1__moved__descriptor, &connectd__v1__backed_up__descriptor,
	&connectd__v1__purged__descriptor };

size_t
dict_record(size_t i, uint8_t *buf)
{
	return i < COUNT(records) ? put_message(records[i], 0, buf) : 0;
}

size_t
dict_frame(size_t i, uint8_t *buf)
{
	const ProtobufCMessageDescriptor *d = &connectd__v1__frame__descriptor;

	return i < d->n_fields ? put_field(&d->fields[i], 0, buf) : 0;
}

/* ------------------------------------------------------------ dictionaries -- */

static const char *folder;

static FILE *
begin(const char *target)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.dict", folder, target);
	f = fopen(path, "w");
	if (!f) {
		perror(path);
		exit(1);
	}
	return f;
}

static void
end(FILE *f)
{
	if (fclose(f) != 0) {
		perror(folder);
		exit(1);
	}
}

static void
word(FILE *f, const void *data, size_t len)
{
	const uint8_t *p = data;

	if (len == 0 || len > 64) /* longer ones the fuzzer leaves out */
		return;
	putc('"', f);
	for (size_t i = 0; i < len; i++)
		fprintf(f, p[i] > 0x20 && p[i] < 0x7f && p[i] != '"' && p[i] != '\\' ? "%c" : "\\x%02x", p[i]);
	fputs("\"\n", f);
}

static void
words(FILE *f, const char *const *all, size_t n)
{
	for (size_t i = 0; i < n; i++)
		word(f, all[i], strlen(all[i]));
}

/* Each field of a message, and of those inside it. */
static void
fields(FILE *f, const ProtobufCMessageDescriptor *d, unsigned level)
{
	uint8_t buf[DICT_RECORD_MAX];

	for (unsigned i = 0; i < d->n_fields; i++) {
		word(f, buf, put_field(&d->fields[i], level, buf));
		if (d->fields[i].type == PROTOBUF_C_TYPE_MESSAGE && level < LEVELS)
			fields(f, d->fields[i].descriptor, level + 1);
	}
}

/* Numbers at the edges of their types, as varints. */
static void
numbers(FILE *f)
{
	static const uint64_t edges[] = { 127, 128, UINT32_MAX, UINT64_C(1) << 32, UINT64_C(1) << 40, INT64_MAX, UINT64_MAX, WIRE_FRAME_MAX,
		WIRE_FRAME_MAX + 1, WIRE_CONTROL_MAX, WIRE_GREETING_MAX, WIRE_ITEMS_MAX, WIRE_CHUNK_MAX, WIRE_LARGE };
	uint8_t buf[16];

	for (size_t i = 0; i < COUNT(edges); i++)
		word(f, buf, wire_put_number(buf, edges[i]));
	word(f, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10); /* too long */
	word(f, "\x80\x00", 2);                                  /* not the shortest */
}

static void
make_wire(void)
{
	FILE *f = begin("fuzz_wire");

	fields(f, &connectd__v1__frame__descriptor, 0);
	fields(f, &connectd__v1__origin__descriptor, 0);
	fields(f, &connectd__v1__packed__descriptor, 0);
	fields(f, &connectd__v1__header__descriptor, 0);
	numbers(f);
	end(f);
}

static void
make_session(void)
{
	static const char *const names[] = { "h0", "oslo/h0", "oslo", "aachen", "fuzz", "berlin", "*", "0123456789abcdef", "type.googleapis.com/a.B" };
	const ProtobufCMessageDescriptor *d = &connectd__v1__frame__descriptor;
	uint8_t buf[DICT_RECORD_MAX + FRAME_HEADER_MAX], payload[DICT_RECORD_MAX];
	FILE *f = begin("fuzz_session");

	for (unsigned i = 0; i < d->n_fields; i++) {
		size_t len = put_field(&d->fields[i], 0, payload), head = frame_header(buf, (uint32_t)len);

		memcpy(buf + head, payload, len);
		word(f, buf, head + len);
	}
	fields(f, d, 0);
	words(f, names, COUNT(names));
	numbers(f);
	end(f);
}

static void
make_admin(void)
{
	static const char *const odd[] = { "\x1b[2J", "\xff", "\xc2\x85", "\xe2\x80\xae", "\xf4\x90\x80\x80", "\xed\xa0\x80", "\r", "\x7f", "\\u001b", "\"" };
	FILE *f = begin("fuzz_admin");

	for (size_t i = 0; i < COUNT(records); i++)
		fields(f, records[i], 0);
	fields(f, &connectd__v1__admin_response__descriptor, 0);
	words(f, odd, COUNT(odd));
	numbers(f);
	end(f);
}

static void
make_conf(void)
{
	char text[300];
	FILE *f = begin("fuzz_conf");

	for (enum conf_kind kind = CONF_NODE; kind < CONF_KINDS; kind++) {
		size_t n;
		const struct conf_key *k = conf_keys(kind, &n);

		snprintf(text, sizeof(text), kind == CONF_NODE ? "[%s]\n" : "[%s \"a\"]\n", conf_kind_name(kind));
		word(f, text, strlen(text));
		for (size_t i = 0; i < n; i++) {
			snprintf(text, sizeof(text), "%s = ", k[i].name);
			word(f, text, strlen(text));
			if (k[i].def)
				word(f, k[i].def, strlen(k[i].def));
			if (k[i].sample)
				word(f, k[i].sample, strlen(k[i].sample));
			for (const struct conf_word *w = k[i].words; w && w->name; w++)
				word(f, w->name, strlen(w->name));
		}
	}
	end(f);
}

void
dict_make(const char *to)
{
	folder = to;
	make_wire();
	make_session();
	make_admin();
	make_conf();
}
