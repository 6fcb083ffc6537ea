/*
 * log: levels, to stderr or in journal format, one context prefix per peer or
 * client. The layer that can name the peer or client logs, once. Not thread
 * safe: the loop's thread only.
 */
#ifndef LOG_H
#define LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR = 3, LOG_WARNING = 4, LOG_INFO = 6, LOG_DEBUG = 7 };

struct log {
	enum log_level level;
	bool journal; /* prefix lines with <N>, no time: stderr is the journal */
	const char *node; /* shown where no journal names the unit; may be NULL */
	/* Where lines go; NULL: stderr. For tests and the simulator. */
	void (*sink)(void *arg, enum log_level level, const char *line);
	void *sink_arg;
};

/* Level info; journal if JOURNAL_STREAM is set and is stderr. */
void log_init(struct log *lg);

/* "error", "warning", "info", "debug"; 0 or -EINVAL. */
int log_level_parse(const char *s, enum log_level *ret);
const char *log_level_name(enum log_level level);

/*
 * One line: "peer berlin: handshake failed: …". `context` ("peer berlin",
 * "client 33/412 shop") may be NULL. What is not printable ASCII or well-formed,
 * printable UTF-8 is shown as '?', so that nothing from outside can forge a
 * line; one above about 1000 bytes is cut.
 */
void log_write(const struct log *lg, enum log_level level, const char *context, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* What one peer or client can have written as often as it likes: so many lines are told, the rest is for debugging. */
#define LOG_LIMIT_MAX 20
struct log_limit {
	const struct log *log;
	const char *context;
	unsigned n;
};
void log_limited(struct log_limit *ll, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What anybody can have written by coming again and again: LOG_LIMIT_MAX lines a minute, of all of them together. */
struct log_window {
	uint64_t since_ms, told, untold;
};
/* May another line be written? *ret_untold: how many were not in the minute before, to be said first; else 0. */
bool log_window_open(struct log_window *w, uint64_t now_ms, uint64_t *ret_untold);

#define log_error(lg, ctx, ...) log_write(lg, LOG_ERROR, ctx, __VA_ARGS__)
#define log_warning(lg, ctx, ...) log_write(lg, LOG_WARNING, ctx, __VA_ARGS__)
#define log_info(lg, ctx, ...) log_write(lg, LOG_INFO, ctx, __VA_ARGS__)
#define log_debug(lg, ctx, ...)                                      \
	do {                                                          \
		if ((lg)->level >= LOG_DEBUG)                         \
			log_write(lg, LOG_DEBUG, ctx, __VA_ARGS__); \
	} while (0)

#endif
