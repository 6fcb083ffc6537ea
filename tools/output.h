/*
 * output: answers as a tree of named values, printed by one struct output per
 * format. A verb says what a value is; the format says how that looks.
 *
 * A text answer is for people (aligned, readable units); JSON is for programs:
 * one object a command, times RFC 3339 UTC, durations in seconds, sizes in
 * bytes.
 */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <protobuf-c/protobuf-c.h>

enum out_kind {
	OUT_TEXT,
	OUT_BYTES,
	OUT_BOOL,
	OUT_NUMBER,
	OUT_SIZE,     /* bytes */
	OUT_TIME,     /* milliseconds since 1970; 0: unknown */
	OUT_DURATION, /* milliseconds */
	OUT_NANOS,    /* a duration in nanoseconds */
	OUT_REAL,
	OUT_NONE      /* there is no such value */
};

struct out_value {
	enum out_kind kind;
	const void *data; /* TEXT, BYTES */
	size_t len;
	uint64_t number; /* BOOL to NANOS */
	double real;
};

struct out;

struct output {
	/* An object: the whole answer (key NULL), one of a list (NULL), or inside another. */
	void (*begin)(struct out *o, const char *key);
	void (*end)(struct out *o);
	/* A list; `type` names what is in it ("Queue"), so that a table can pick its columns. */
	void (*begin_list)(struct out *o, const char *key, const char *type);
	void (*end_list)(struct out *o);
	/* Objects that come one by one, each printed on its line at its end; the caller flushes. Never ends. */
	void (*begin_stream)(struct out *o, const char *type);
	/* key NULL inside a list. */
	void (*value)(struct out *o, const char *key, const struct out_value *v);
	void (*free)(struct out *o);
};

struct out { /* first member of each format's state */
	const struct output *format;
	FILE *file;
};

/* The formats; NULL: out of memory. */
struct out *out_text_new(FILE *f);
struct out *out_json_new(FILE *f);

static inline void
out_free(struct out *o)
{
	if (o != NULL)
		o->format->free(o);
}

/* One value each. */
void out_string(struct out *o, const char *key, const char *s); /* NULL: "" */
void out_bytes(struct out *o, const char *key, const void *data, size_t len);
void out_bool(struct out *o, const char *key, bool b);
void out_real(struct out *o, const char *key, double d);
void out_none(struct out *o, const char *key);
/* kind NUMBER, SIZE, TIME, DURATION or NANOS. */
void out_number(struct out *o, const char *key, enum out_kind kind, uint64_t n);

/*
 * A message of admin.proto as an object, every field of it, whether set or
 * not; one of a oneof that is not set has no value. What a number means is in
 * its name: `x_unix_ms` is the time `x` (`unix_ms` alone: `time`), `x_ms` and
 * `x_ns` the duration `x`, `size` and `bytes` (also behind a `_`) are sizes.
 */
void out_message(struct out *o, const char *key, const ProtobufCMessage *m);
/* The values alone, without an object around them. */
void out_fields(struct out *o, const ProtobufCMessage *m);

#endif
