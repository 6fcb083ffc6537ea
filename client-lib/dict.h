/*
 * dict: the two dictionaries of a session. What the daemon defined (type URLs
 * and origins, held by the messages that name them), and what was defined to
 * it (type URLs). A new session starts both over.
 */
#ifndef DICT_H
#define DICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hmap.h"
#include "wire.h"

/* ------------------------------------------------- defined by the daemon */

struct dict_type {
	unsigned refs;
	size_t len;
	char name[]; /* terminated */
};

struct dict_origin {
	unsigned refs;
	uint32_t uid, proof;
	uint64_t boot_id;
	const char *node, *unit, *application; /* terminated, behind the struct */
	char text[];
};

struct dict_in {
	struct dict_type *types[WIRE_DICTIONARY];
	struct dict_origin *origins[WIRE_DICTIONARY];
};

void dict_in_init(struct dict_in *d);
void dict_in_reset(struct dict_in *d);

/* Take over a Define. 0; -EBADMSG: an id, kind or value that makes no sense; -ENOMEM. */
int dict_in_define(struct dict_in *d, const struct wire_define *def);

/* Look up an id; 0 yields NULL. 0 and a new reference, or -EBADMSG for one never defined. */
int dict_in_type(const struct dict_in *d, uint32_t id, struct dict_type **ret);
int dict_in_origin(const struct dict_in *d, uint32_t id, struct dict_origin **ret);

void dict_type_unref(struct dict_type *t);
void dict_origin_unref(struct dict_origin *o);

/* -------------------------------------------------- defined to the daemon */

struct dict_out_entry {
	struct hmap_node node;
	char *name; /* NULL: free */
	size_t len, room;
};

struct dict_out {
	struct hmap by_name;
	struct dict_out_entry *entries; /* WIRE_DICTIONARY of them, made at the first use */
	uint32_t limit;                 /* ids the daemon takes */
	uint32_t next;                  /* the entry to replace next */
	uint32_t last;                  /* the id found last; 0: none */
};

void dict_out_init(struct dict_out *d);
void dict_out_done(struct dict_out *d);
void dict_out_reset(struct dict_out *d, uint32_t limit);

/* The id of a type URL the daemon knows already, or 0. */
uint32_t dict_out_find(struct dict_out *d, const char *name, size_t len);

/* Give a type URL an id, replacing the oldest; the caller sends the Define. 0 or -ENOMEM. */
int dict_out_add(struct dict_out *d, const char *name, size_t len, uint32_t *ret_id);

#endif
