/*
 * expiry: says in time that certificates and revocation lists end: 30, 7 and 1
 * days before, each once, and each day from then on. It goes by the wall clock,
 * which is looked at once an hour at least: a jump of it is noticed then.
 */
#ifndef EXPIRY_H
#define EXPIRY_H

#include <stdbool.h>
#include <stdint.h>

#include "loop.h"
#include "tls.h"

#define EXPIRY_TEXT_MAX 160

enum expiry_stage {
	EXPIRY_NONE,
	EXPIRY_EARLY, /* not valid yet: is the clock right? */
	EXPIRY_MONTH, /* 30 days or less are left, */
	EXPIRY_WEEK,  /* 7, */
	EXPIRY_DAY,   /* 1 */
	EXPIRY_OVER
};

struct expiry_item {
	const char *peer; /* NULL: ours */
	struct tls_dates dates;
};

/* How it stands; in ret a sentence for people, "" with NONE. now_s: seconds since 1970. */
enum expiry_stage expiry_judge(const struct tls_dates *dates, int64_t now_s, char ret[static EXPIRY_TEXT_MAX]);

struct expiry;

struct expiry_env {
	struct loop *loop;
	/* Calls fn for everything that there is now, and may end. */
	void (*each)(void *arg, void (*fn)(void *fn_arg, const struct expiry_item *it), void *fn_arg);
	/* From the loop: one has come to this stage, or is still over after another day. */
	void (*tell)(void *arg, const struct expiry_item *it, enum expiry_stage stage, const char *text);
	void *arg;
};

/* Looks at nothing yet. NULL: out of memory. */
struct expiry *expiry_new(const struct expiry_env *env);
void expiry_free(struct expiry *e); /* NULL is fine */

/* Forget what was told, and look in the loop's next pass: at the start, and after a reload. */
void expiry_begin(struct expiry *e);
/* There may be more than before: look, within a second. Nothing before expiry_begin. */
void expiry_look_soon(struct expiry *e);

#endif
