/*
 * wire_table: the frames of proto/connectd.proto as tables of fields, each
 * saying how a field is encoded and where it lives in the struct of wire.h.
 * Unpacking, measuring and packing walk the same table. Private to wire*.c.
 */
#ifndef WIRE_TABLE_H
#define WIRE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

enum wire_field_kind {
	WIRE_FIELD_UINT32,
	WIRE_FIELD_UINT64,
	WIRE_FIELD_INT32,   /* enums too: negative ones are sign-extended */
	WIRE_FIELD_BOOL,
	WIRE_FIELD_FIXED32,
	WIRE_FIELD_FIXED64,
	WIRE_FIELD_BYTES,   /* strings too */
	WIRE_FIELD_NUMBERS,
	WIRE_FIELD_MESSAGE
};

struct wire_message;

struct wire_field {
	uint8_t number; /* below 16, but for Hello */
	uint8_t kind;
	bool oneof;     /* setting it clears the others that say so */
	uint16_t offset;
	const struct wire_message *message; /* of WIRE_FIELD_MESSAGE */
};

struct wire_message {
	const char *name; /* of a frame, for people */
	const struct wire_field *fields;
	size_t n_fields;
};

/* The frame of that kind, or NULL. Of a run only what is not an item. */
const struct wire_message *wire_table_frame(uint32_t kind);

extern const struct wire_message wire_table_origin;
extern const struct wire_message wire_table_packed;
extern const struct wire_message wire_table_header;

#endif
