#include "units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

/* Largest first: the text forms take the first that divides. */
static const struct unit durations[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 }, { NULL, 0 },
};
static const struct unit sizes[] = {
	{ "T", UINT64_C(1) << 40 }, { "G", 1 << 30 }, { "M", 1 << 20 }, { "K", 1 << 10 }, { "", 1 }, { NULL, 0 },
};
static const struct unit counts[] = {
	{ "G", 1000000000 }, { "M", 1000000 }, { "K", 1000 }, { "", 1 }, { NULL, 0 },
};

/* Digits and one of the units, nothing else. */
static int
parse(const char *s, const struct unit *units, uint64_t max, uint64_t *ret)
{
	uint64_t n = 0;
	const char *p = s;
	bool too_big = false;

	for (; *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		if (n > (max - digit) / 10)
			too_big = true; /* but "99…9x" is malformed, not large */
		else
			n = n * 10 + digit;
	}
	if (p == s)
		return -EINVAL;
	while (units->name && strcmp(units->name, p) != 0)
		units++;
	if (!units->name)
		return -EINVAL;
	if (too_big || n > max / units->factor)
		return -ERANGE;
	*ret = n * units->factor;
	return 0;
}

int
units_duration_parse(const char *s, uint64_t *ret_ms)
{
	if (strcmp(s, "0") == 0) {
		*ret_ms = 0;
		return 0;
	}
	return parse(s, durations, INT64_MAX, ret_ms);
}

int
units_size_parse(const char *s, uint64_t *ret)
{
	return parse(s, sizes, UINT64_MAX, ret);
}

int
units_count_parse(const char *s, uint64_t *ret)
{
	return parse(s, counts, UINT64_MAX, ret);
}

static const char *
text(uint64_t n, const struct unit *units, char buf[static UNITS_TEXT_MAX])
{
	if (n == 0)
		return strcpy(buf, "0");
	while (n % units->factor != 0)
		units++;
	snprintf(buf, UNITS_TEXT_MAX, "%" PRIu64 "%s", n / units->factor, units->name);
	return buf;
}

const char *
units_duration_text(uint64_t ms, char buf[static UNITS_TEXT_MAX])
{
	return text(ms, durations, buf);
}

const char *
units_size_text(uint64_t bytes, char buf[static UNITS_TEXT_MAX])
{
	return text(bytes, sizes, buf);
}

const char *
units_count_text(uint64_t n, char buf[static UNITS_TEXT_MAX])
{
	return text(n, counts, buf);
}

/* ------------------------------------------------------------ for people -- */

/* "2 min 5 s", or "2 min" if nothing is left. */
static void
two_units(char *buf, uint64_t whole, const char *name, uint64_t rest, const char *rest_name)
{
	if (rest)
		snprintf(buf, UNITS_TEXT_MAX, "%" PRIu64 " %s %" PRIu64 " %s", whole, name, rest, rest_name);
	else
		snprintf(buf, UNITS_TEXT_MAX, "%" PRIu64 " %s", whole, name);
}

/* Tenths are cut, not rounded, so that nothing reads "60.0 s" or "1024.0 KiB". */
const char *
units_duration_human(uint64_t ms, char buf[static UNITS_TEXT_MAX])
{
	uint64_t s = ms / 1000;

	if (s == 0)
		snprintf(buf, UNITS_TEXT_MAX, "%" PRIu64 " ms", ms);
	else if (s < 60)
		snprintf(buf, UNITS_TEXT_MAX, "%" PRIu64 ".%" PRIu64 " s", s, ms % 1000 / 100);
	else if (s < 3600)
		two_units(buf, s / 60, "min", s % 60, "s");
	else if (s < 86400)
		two_units(buf, s / 3600, "h", s / 60 % 60, "min");
	else
		two_units(buf, s / 86400, "d", s / 3600 % 24, "h");
	return buf;
}

const char *
units_size_human(uint64_t bytes, char buf[static UNITS_TEXT_MAX])
{
	static const char *const names[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned i = 0;

	if (bytes < 1024) {
		snprintf(buf, UNITS_TEXT_MAX, "%" PRIu64 " B", bytes);
		return buf;
	}
	for (; bytes >= 1024 * 1024; bytes /= 1024)
		i++;
	snprintf(buf, UNITS_TEXT_MAX, "%" PRIu64 ".%" PRIu64 " %s", bytes / 1024, bytes % 1024 * 10 / 1024, names[i]);
	return buf;
}

/* ------------------------------------------------------------------ time -- */

#define LAST_MS UINT64_C(253402300799999) /* the end of year 9999 */

static bool
leap(unsigned year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

const char *
units_time_text(uint64_t unix_ms, char buf[static UNITS_TEXT_MAX])
{
	static const unsigned char month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	uint64_t days, s;
	unsigned year, month = 0, ms;

	if (unix_ms > LAST_MS)
		unix_ms = LAST_MS;
	ms = (unsigned)(unix_ms % 1000);
	s = unix_ms / 1000;
	/* Whole cycles of 400 years first, then year by year: gmtime would consult the time zone files. */
	days = s / 86400;
	s %= 86400;
	year = 1970 + 400 * (unsigned)(days / 146097);
	days %= 146097;
	for (unsigned n; days >= (n = leap(year) ? 366 : 365); year++)
		days -= n;
	for (unsigned n; days >= (n = month_days[month] + (month == 1 && leap(year))); month++)
		days -= n;
	snprintf(buf, UNITS_TEXT_MAX, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", year % 10000, (month + 1) % 100,
	    ((unsigned)days + 1) % 100, (unsigned)(s / 3600 % 100), (unsigned)(s / 60 % 60), (unsigned)(s % 60), ms);
	return buf;
}
