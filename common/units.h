/*
 * units: durations, sizes, times as text, both ways. Pure.
 */
#ifndef UNITS_H
#define UNITS_H

#include <stddef.h>
#include <stdint.h>

#define UNITS_TEXT_MAX 32

/*
 * `250ms 10s 5m 1h 7d` to milliseconds. A bare 0 is allowed, any other number
 * needs its unit. 0; -EINVAL; -ERANGE above INT64_MAX ms.
 */
int units_duration_parse(const char *s, uint64_t *ret_ms);

/* `4096 64K 16M 1G 2T` (1024) to bytes. 0; -EINVAL; -ERANGE. */
int units_size_parse(const char *s, uint64_t *ret);

/* A count: decimal, with K, M, G meaning 1000s ("10M" messages). 0; -EINVAL; -ERANGE. */
int units_count_parse(const char *s, uint64_t *ret);

/* The shortest exact form that parses back: 1500 -> "1500ms", 60000 -> "1m", 0 -> "0". */
const char *units_duration_text(uint64_t ms, char buf[static UNITS_TEXT_MAX]);
const char *units_size_text(uint64_t bytes, char buf[static UNITS_TEXT_MAX]);
const char *units_count_text(uint64_t n, char buf[static UNITS_TEXT_MAX]);

/* For people: "3.2 s", "4.1 MiB", "2 min 5 s". */
const char *units_duration_human(uint64_t ms, char buf[static UNITS_TEXT_MAX]);
const char *units_size_human(uint64_t bytes, char buf[static UNITS_TEXT_MAX]);

/* RFC 3339 UTC with milliseconds: "2026-11-24T10:15:30.250Z". */
const char *units_time_text(uint64_t unix_ms, char buf[static UNITS_TEXT_MAX]);

#endif
