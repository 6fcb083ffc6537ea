/* output: values, and messages walked field by field through their descriptors. */
#include "output.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX 64

void
out_string(struct out *o, const char *key, const char *s)
{
	struct out_value v = { .kind = OUT_TEXT, .data = s != NULL ? s : "", .len = s != NULL ? strlen(s) : 0 };

	o->format->value(o, key, &v);
}

void
out_bytes(struct out *o, const char *key, const void *data, size_t len)
{
	struct out_value v = { .kind = OUT_BYTES, .data = data, .len = len };

	o->format->value(o, key, &v);
}

void
out_bool(struct out *o, const char *key, bool b)
{
	struct out_value v = { .kind = OUT_BOOL, .number = b };

	o->format->value(o, key, &v);
}

void
out_real(struct out *o, const char *key, double d)
{
	struct out_value v = { .kind = OUT_REAL, .real = d };

	o->format->value(o, key, &v);
}

void
out_none(struct out *o, const char *key)
{
	struct out_value v = { .kind = OUT_NONE };

	o->format->value(o, key, &v);
}

void
out_number(struct out *o, const char *key, enum out_kind kind, uint64_t n)
{
	struct out_value v = { .kind = kind, .number = n };

	o->format->value(o, key, &v);
}

/* Does `name` end in `_suffix`, or is it `suffix`? Returns the bytes in front of that, or -1. */
static int
before_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), s = strlen(suffix);

	if (n < s || strcmp(name + n - s, suffix) != 0)
		return -1;
	if (n == s)
		return 0;
	return name[n - s - 1] == '_' ? (int)(n - s - 1) : -1;
}

/* What a number is by its field's name, and its name in the answer. */
static enum out_kind
number_kind(const char *name, char key[static KEY_MAX])
{
	int n;

	if ((n = before_suffix(name, "unix_ms")) >= 0) {
		snprintf(key, KEY_MAX, "%.*s", n > 0 ? n : 4, n > 0 ? name : "time");
		return OUT_TIME;
	}
	if ((n = before_suffix(name, "ms")) > 0) {
		snprintf(key, KEY_MAX, "%.*s", n, name);
		return OUT_DURATION;
	}
	if ((n = before_suffix(name, "ns")) > 0) {
		snprintf(key, KEY_MAX, "%.*s", n, name);
		return OUT_NANOS;
	}
	snprintf(key, KEY_MAX, "%s", name);
	return before_suffix(name, "bytes") >= 0 || before_suffix(name, "size") >= 0 ? OUT_SIZE : OUT_NUMBER;
}

/* One element of a field; `key` NULL in a list. */
static void
out_element(struct out *o, const char *key, const ProtobufCFieldDescriptor *f, const void *at)
{
	char buf[KEY_MAX];
	enum out_kind kind = number_kind(f->name, buf);
	const char *number_key = key != NULL ? buf : NULL;

	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		out_string(o, key, *(char *const *)at);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		out_bytes(o, key, ((const ProtobufCBinaryData *)at)->data, ((const ProtobufCBinaryData *)at)->len);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		out_bool(o, key, *(const protobuf_c_boolean *)at);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		out_number(o, number_key, kind, *(const uint64_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		out_number(o, number_key, kind, *(const uint32_t *)at);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		out_message(o, key, *(const ProtobufCMessage *const *)at);
		break;
	default:
		assert(!"a kind of field that admin.proto does not use");
	}
}

static size_t
element_size(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return sizeof(uint64_t);
	default:
		return sizeof(uint32_t);
	}
}

/* One of a oneof, which another is, or none. */
static bool
is_left_out(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	return (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
	    *(const uint32_t *)(const void *)((const char *)m + f->quantifier_offset) != f->id;
}

/* A sub-message that was not sent is shown as if all of it were 0: keys never go missing. */
static void
out_unset(struct out *o, const char *key, const ProtobufCMessageDescriptor *type)
{
	ProtobufCMessage *m = calloc(1, type->sizeof_message);

	if (m == NULL) {
		fputs("connectctl: out of memory\n", stderr);
		exit(1);
	}
	protobuf_c_message_init(type, m);
	out_message(o, key, m);
	free(m);
}

void
out_fields(struct out *o, const ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *type = m->descriptor;

	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &type->fields[i];
		const char *at = (const char *)m + f->offset;

		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			size_t n = *(const size_t *)(const void *)((const char *)m + f->quantifier_offset);
			const char *items = *(char *const *)(const void *)at;
			const ProtobufCMessageDescriptor *of = f->type == PROTOBUF_C_TYPE_MESSAGE ? f->descriptor : NULL;

			o->format->begin_list(o, f->name, of != NULL ? of->short_name : "");
			for (size_t k = 0; k < n; k++)
				out_element(o, NULL, f, items + k * element_size(f));
			o->format->end_list(o);
		} else if (f->type == PROTOBUF_C_TYPE_MESSAGE && *(void *const *)(const void *)at == NULL) {
			out_unset(o, f->name, f->descriptor);
		} else if (is_left_out(m, f)) {
			char key[KEY_MAX];

			number_kind(f->name, key);
			out_none(o, key);
		} else {
			out_element(o, f->name, f, at);
		}
	}
}

void
out_message(struct out *o, const char *key, const ProtobufCMessage *m)
{
	o->format->begin(o, key);
	out_fields(o, m);
	o->format->end(o);
}
