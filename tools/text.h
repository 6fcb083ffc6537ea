/*
 * text: bytes as text and back: UTF-8, base64, one line of a message, and the
 * two well-known wrapper messages. Pure.
 */
#ifndef TEXT_H
#define TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TEXT_TYPE_PREFIX "type.googleapis.com/"
#define TEXT_TYPE_STRING TEXT_TYPE_PREFIX "google.protobuf.StringValue"
#define TEXT_TYPE_BYTES TEXT_TYPE_PREFIX "google.protobuf.BytesValue"

/* Bytes of the UTF-8 character at the front of s; 0 if there is no valid one. */
size_t text_utf8_len(const void *s, size_t len);
bool text_utf8_ok(const void *s, size_t len);

/* Does this character, of n bytes, steer a terminal, or make a line look like another one? */
bool text_steers(const void *s, size_t n);

/* Base64 with padding. */
void text_base64(FILE *f, const void *data, size_t len);

/* On one line: a newline as `\n`, a backslash as `\\`, all else as it is. */
void text_line(FILE *f, const void *data, size_t len);

/* For a terminal: what is no printable character becomes `?`. At most `max` characters, then "...". */
void text_safe(FILE *f, const void *data, size_t len, size_t max);
/* As vfprintf, and then the same. For what a daemon says, who may be anybody. */
void text_safe_format(FILE *f, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/*
 * A serialized StringValue or BytesValue (field 1 holds the bytes). Returns
 * bytes to put in front of a value of `len` bytes (at most TEXT_WRAP_MAX; 0
 * for an empty value, whose message is empty).
 */
#define TEXT_WRAP_MAX 11
size_t text_wrap(size_t len, uint8_t head[static TEXT_WRAP_MAX]);

/* The value inside; false if `data` is no such message. Unknown fields are skipped; the last value wins. */
bool text_unwrap(const void *data, size_t len, const void **ret, size_t *ret_len);

#endif
