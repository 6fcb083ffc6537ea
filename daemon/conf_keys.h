/*
 * conf_keys: the one table of all configuration keys. Reading, checking,
 * printing, the example and the manual follow from it. Only for conf*.c.
 */
#ifndef CONF_KEYS_H
#define CONF_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf.h"

#define CONF_KEYS_MAX 48 /* of one kind of section */

enum conf_kind { CONF_NODE, CONF_LISTEN, CONF_PEER, CONF_QUEUE, CONF_KINDS };

enum conf_type {
	CONF_TYPE_INCLUDE,     /* not stored: the reader follows it */
	CONF_TYPE_BOOL,        /* bool */
	CONF_TYPE_SIZE,        /* uint64_t, and so are the next four */
	CONF_TYPE_DURATION,
	CONF_TYPE_COUNT,
	CONF_TYPE_MODE,
	CONF_TYPE_WORD,        /* one of `words` */
	CONF_TYPE_NODE_NAME,   /* char *, and so are the next four */
	CONF_TYPE_PATH,
	CONF_TYPE_STATE_PATH,  /* absolute, or below the state folder */
	CONF_TYPE_DEAD_LETTER, /* NULL: *.dead */
	CONF_TYPE_GROUP,       /* and uint32_t at `also` */
	CONF_TYPE_URLS,        /* struct conf_list */
	CONF_TYPE_NETWORKS,    /* struct conf_list, and struct names_cidr * at `also` */
	CONF_TYPE_PINS,        /* struct conf_list, and uint8_t (*)[PIN_BYTES] at `also` */
	CONF_TYPE_ACCESS       /* struct conf_access */
};

/* What a changed value does when the configuration is read again. */
enum conf_reload {
	CONF_RELOAD_NOW,      /* counts at once */
	CONF_RELOAD_SESSIONS, /* counts for sessions that begin afterwards */
	CONF_RELOAD_RESTART   /* the old value stays until a restart */
};

struct conf_word {
	const char *name;
	uint64_t value;
};

struct conf_key {
	enum conf_kind kind;
	const char *name;
	enum conf_type type;
	size_t offset, also;           /* in the struct of the kind */
	uint64_t min, max;             /* of numbers; of a path: its bytes */
	bool none;                     /* `none` is a value too: 0, NULL, the empty list */
	const struct conf_word *words; /* ends with a NULL name */
	const char *def;               /* as it would be written; NULL: must be set */
	const char *sample;            /* for the example, where there is no default or it says little */
	enum conf_reload reload;
	const char *help;              /* whole sentences */
};

/* What one [queue] section sets; which of it, its conf_section knows. */
struct conf_queue_settings {
	bool durable;
	uint64_t max_messages, max_bytes, min_bytes, overflow, ttl, max_attempts, ack_timeout;
	char *dead_letter;
	struct conf_access send, receive, browse;
};

/* The keys of a kind, in the order of the manual. */
const struct conf_key *conf_keys(enum conf_kind kind, size_t *ret_n);

/* NULL if the kind has no such key. */
const struct conf_key *conf_key_find(enum conf_kind kind, const char *name);

/* Its place among the keys of its kind. */
size_t conf_key_index(const struct conf_key *k);

/* Is it the name of a key that this version does not have yet? */
bool conf_key_is_later(enum conf_kind kind, const char *name);

/* "listen"; and back, CONF_KINDS if there is no such kind. */
const char *conf_kind_name(enum conf_kind kind);
enum conf_kind conf_kind_parse(const char *name);

/* The nearest known key or kind, or NULL. */
const char *conf_key_nearest(enum conf_kind kind, const char *name);
const char *conf_kind_nearest(const char *name);

#endif
