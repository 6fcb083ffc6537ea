/*
 * log: see log.h. The wall clock is read here for one purpose: the time in
 * front of a line that no journal will stamp.
 */
#include "log.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "units.h"

#define LINE_MAX_BYTES 1024
#define WINDOW_MS 60000

static const struct {
	enum log_level level;
	const char *name;
} levels[] = {
	{ LOG_ERROR, "error" },
	{ LOG_WARNING, "warning" },
	{ LOG_INFO, "info" },
	{ LOG_DEBUG, "debug" },
};

#define N_LEVELS (sizeof(levels) / sizeof(levels[0]))

/* systemd says which file its journal is: something else may have been put in its place since. */
static bool
stderr_is_journal(void)
{
	const char *s = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return s && sscanf(s, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev &&
	    st.st_ino == ino;
}

void
log_init(struct log *lg)
{
	*lg = (struct log){ .level = LOG_INFO, .journal = stderr_is_journal() };
}

int
log_level_parse(const char *s, enum log_level *ret)
{
	for (size_t i = 0; i < N_LEVELS; i++) {
		if (strcmp(s, levels[i].name) != 0)
			continue;
		*ret = levels[i].level;
		return 0;
	}
	return -EINVAL;
}

const char *
log_level_name(enum log_level level)
{
	for (size_t i = 0; i < N_LEVELS; i++)
		if (levels[i].level == level)
			return levels[i].name;
	return "?";
}

/* Bytes of the well-formed UTF-8 sequence at s that shows something; 0: none. */
static size_t
printable(const unsigned char *s, size_t len)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	uint32_t c = s[0];

	if (n == 1)
		return c >= 0x20 && c != 0x7f;
	if (c < 0xc2 || c > 0xf4 || n > len)
		return 0;
	c &= 0x7fu >> n;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	/* Too long for its value, surrogates, beyond Unicode. */
	if (c < (n == 4 ? 0x10000u : n == 3 ? 0x800u : 0xa0u) || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff)
		return 0;
	/* Line and paragraph separators, and what turns the direction of a line around. */
	if ((c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069))
		return 0;
	return n;
}

static void
clean(char *line)
{
	size_t len = strlen(line), n;

	for (size_t i = 0; i < len; i += n) {
		n = printable((const unsigned char *)line + i, len - i);
		if (n == 0) {
			line[i] = '?';
			n = 1;
		}
	}
}

static void
write_stderr(const struct log *lg, enum log_level level, const char *line)
{
	char out[LINE_MAX_BYTES + 128], when[UNITS_TEXT_MAX];
	struct timespec now;
	int n;

	if (lg->journal) {
		n = snprintf(out, sizeof(out), "<%d>%s\n", (int)level, line);
	} else {
		clock_gettime(CLOCK_REALTIME, &now);
		units_time_text((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000, when);
		n = snprintf(out, sizeof(out), "%s %s%s%s: %s\n", when, log_level_name(level), lg->node ? " " : "",
		    lg->node ? lg->node : "", line);
	}
	if (n >= (int)sizeof(out))
		n = (int)sizeof(out) - 1;
	/* One write, so that lines of several processes do not mix. A log that cannot be written cannot be complained about. */
	(void)!write(STDERR_FILENO, out, (size_t)n);
}

void
log_write(const struct log *lg, enum log_level level, const char *context, const char *fmt, ...)
{
	static const char cut[] = "...";
	char line[LINE_MAX_BYTES];
	int n = 0, m;
	va_list ap;

	if (level > lg->level)
		return;
	if (context)
		n = snprintf(line, sizeof(line), "%.500s: ", context);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	if (m >= (int)sizeof(line) - n)
		memcpy(line + sizeof(line) - sizeof(cut), cut, sizeof(cut));
	clean(line);
	if (lg->sink)
		lg->sink(lg->sink_arg, level, line);
	else
		write_stderr(lg, level, line);
}

bool
log_window_open(struct log_window *w, uint64_t now_ms, uint64_t *ret_untold)
{
	*ret_untold = 0;
	if (w->told == 0 || now_ms - w->since_ms >= WINDOW_MS) {
		*ret_untold = w->untold;
		*w = (struct log_window){ .since_ms = now_ms };
	}
	if (w->told == LOG_LIMIT_MAX) {
		w->untold++;
		return false;
	}
	w->told++;
	return true;
}

void
log_limited(struct log_limit *ll, const char *fmt, ...)
{
	enum log_level level = ll->n < LOG_LIMIT_MAX ? LOG_INFO : LOG_DEBUG;
	char text[LINE_MAX_BYTES];
	va_list ap;

	ll->n += ll->n < LOG_LIMIT_MAX;
	if (level > ll->log->level)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_write(ll->log, level, ll->context, "%s", text);
}
