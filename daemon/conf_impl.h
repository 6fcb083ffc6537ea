/*
 * conf_impl: what the parts of conf share: sections as they were read, where
 * they stood, and faults. Only for conf*.c.
 */
#ifndef CONF_IMPL_H
#define CONF_IMPL_H

#include "conf.h"
#include "conf_keys.h"
#include "hmap.h"

#define CONF_WHY_MAX 256
#define CONF_SECTIONS_MAX 10000 /* of each kind */

struct conf_section {
	struct hmap_node node; /* in by_name */
	enum conf_kind kind;
	char *name;            /* "" for [node] */
	const char *file;
	unsigned line;
	unsigned lines[CONF_KEYS_MAX]; /* where each key of the kind is set; 0: nowhere */
	bool faulty;                   /* a key of it was refused */
	union {
		struct conf_node node;
		struct conf_listen listen;
		struct conf_peer peer;
		struct conf_queue_settings queue;
	} u;
};

struct conf {
	/* By kind, as they were read; [queue] sections without `*` come first. */
	struct conf_section **sections[CONF_KINDS];
	size_t n[CONF_KINDS];
	size_t n_exact; /* [queue] sections without `*` */
	struct hmap by_name;
	struct conf_section *builtin; /* the defaults of [queue] */
	struct conf_list files;
};

/* Where faults go, and how many there were. */
struct conf_faults {
	conf_fault_fn fn;
	void *arg;
	unsigned n;
};

void conf_fault(struct conf_faults *f, const char *file, unsigned line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* -------------------------------------------------------------- conf.c -- */

struct conf *conf_new(void);
/* Keep a file's name as long as c. NULL: out of memory. */
const char *conf_add_file(struct conf *c, const char *name);
/* A section of its own, with the defaults of its kind. NULL: out of memory. */
struct conf_section *conf_section_new(enum conf_kind kind, const char *name, const char *file, unsigned line);
void conf_section_free(struct conf_section *s);
/* Hand over a section that is not there yet. 0; -E2BIG: too many of the kind; -ENOMEM. */
int conf_section_add(struct conf *c, struct conf_section *s);
struct conf_section *conf_section_find(const struct conf *c, enum conf_kind kind, const char *name);
/* Put the [queue] sections without `*` first, once everything is read. 0 or -ENOMEM. */
int conf_sort_queues(struct conf *c);
/* The section whose value of this [queue] key counts for what section s (may be NULL) is the best match. */
const struct conf_section *conf_queue_source(const struct conf *c, const struct conf_section *s, const struct conf_key *k);
/* Append a copy of len bytes. 0 or -ENOMEM. */
int conf_list_add(struct conf_list *list, const char *s, size_t len);
/* Split at commas, without blanks around the elements, none of which may be empty. As conf_value_parse. */
int conf_list_split(const char *text, struct conf_list *ret, char why[static CONF_WHY_MAX]);
void conf_list_done(struct conf_list *list);
/* Write what is wrong into why; returns -EINVAL. */
int conf_wrong(char why[static CONF_WHY_MAX], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --------------------------------------------------------- conf_read.c -- */

/*
 * Read the text of one file into c, telling its faults. With ret_include it
 * may include: *ret_include (the caller frees it; NULL if it does not)
 * and *ret_line are what and where. 0 or -ENOMEM.
 */
int conf_read_lines(struct conf *c, const char *name, const char *text, size_t len, struct conf_faults *faults,
    char **ret_include, unsigned *ret_line);

/* -------------------------------------------------------- conf_value.c -- */

/*
 * Parse text into the key's place in base, replacing what is there. 0; -EINVAL
 * with a sentence fragment in why; -ENOMEM.
 */
int conf_value_parse(const struct conf_key *k, const char *text, void *base, char why[static CONF_WHY_MAX]);
/* Write the value so that it reads back to the same. */
void conf_value_print(const struct conf_key *k, const void *base, FILE *out);
void conf_value_free(const struct conf_key *k, void *base);
/* "1K to 1G", "yes or no", "a path"; of a key without bounds what it takes. */
void conf_value_range(const struct conf_key *k, char *buf, size_t size);
/* Is it a list, whose elements may be read one by one? */
bool conf_value_is_list(const struct conf_key *k);

/* ------------------------------------------------------- conf_access.c -- */

/* `def` is the word for the default rule. Results as conf_value_parse. */
int conf_access_parse(const char *text, const char *def, struct conf_access *ret, char why[static CONF_WHY_MAX]);
void conf_access_print(const struct conf_access *a, const char *def, FILE *out);
void conf_access_done(struct conf_access *a);
/* The number of a user or group, by name or number. Results as conf_value_parse. */
int conf_access_id(bool group, const char *name, uint32_t *ret, char why[static CONF_WHY_MAX]);

/* -------------------------------------------------------- conf_check.c -- */

/* Is this a name for a section of this kind? NULL, or what is wrong with it. */
const char *conf_check_name(enum conf_kind kind, const char *name);
/* What only shows when everything is read. `file`: where a missing [node] should be. */
void conf_check(const struct conf *c, const char *file, struct conf_faults *faults);

#endif
