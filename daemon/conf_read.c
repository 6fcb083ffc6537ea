/*
 * conf_read: text -> sections. inih splits the lines; everything it would
 * get wrong is kept from it by next_line, the reader it takes its lines from:
 * - an indented line would continue the key above, so leading blanks go;
 * - section names over 49 bytes would be cut, so it sees only their kind;
 * - lines over 198 bytes would be cut, so lists reach it element by element
 *   and everything else that long is refused;
 * - it would stop a line at NUL, so such a line is refused;
 * - it knows only `;` behind a blank as a comment, so comments go here;
 * - it never reports a section without keys and only the first bad line, and
 *   counts none, so sections and lines are noted here, and after each line it
 *   is seen whether inih made a setting of it.
 */
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "conf_impl.h"

#define KEY_MAX 200       /* inih's longest line */
#define NO_MEMORY (-2)    /* what inih returns then */

struct reader {
	struct conf *c;
	struct conf_faults *faults;
	const char *file;
	bool main_file;   /* which may include */
	const char *text; /* what is left to read */
	size_t len;
	unsigned line;
	int error;        /* out of memory: stop */

	struct conf_section *section; /* NULL: none yet, or not known */
	struct conf_section *stray;   /* the same, if it is refused but its keys are checked all the same */
	bool before_sections;
	bool any_key;                 /* in this section */

	char *buf;         /* the line under way */
	char *rest;        /* of a list whose first elements went to inih; NULL: none */
	bool expecting;    /* a line went to inih... */
	bool called;       /* ...and it made this of it: */
	char key[KEY_MAX];
	char *value;
	size_t value_len;

	char *include;
	unsigned include_line;
};

static bool
blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static char *
skip_blanks(char *s)
{
	while (blank(*s))
		s++;
	return s;
}

static void
cut_trailing_blanks(char *s)
{
	size_t len = strlen(s);

	while (len && blank(s[len - 1]))
		s[--len] = '\0';
}

/* A comment begins with # or ; at the start of the line or after a blank. */
static void
cut_comment(char *s)
{
	for (char *c = s; *c; c++)
		if ((*c == '#' || *c == ';') && (c == s || blank(c[-1]))) {
			*c = '\0';
			break;
		}
	cut_trailing_blanks(s);
}

/* -------------------------------------------------------------- settings -- */

static void
set_include(struct reader *r)
{
	if (!r->main_file)
		conf_fault(r->faults, r->file, r->line, "include works only in the main file of a configuration");
	else if (r->any_key)
		conf_fault(r->faults, r->file, r->line, "include must be the first key of [node]");
	else if (*r->value == '\0')
		conf_fault(r->faults, r->file, r->line, "include: there is no value");
	else if (!(r->include = strdup(r->value)))
		r->error = -ENOMEM;
	r->include_line = r->line;
}

static void
fault_unknown_key(struct reader *r, enum conf_kind kind)
{
	const char *nearest = conf_key_nearest(kind, r->key);

	if (conf_key_is_later(kind, r->key)) {
		conf_fault(r->faults, r->file, r->line, "%s comes with a later version", r->key);
		return;
	}
	for (unsigned other = 0; other < CONF_KINDS; other++)
		if (conf_key_find((enum conf_kind)other, r->key)) {
			conf_fault(r->faults, r->file, r->line, "%s belongs into [%s], not into [%s]", r->key,
			    conf_kind_name((enum conf_kind)other), conf_kind_name(kind));
			return;
		}
	if (nearest)
		conf_fault(r->faults, r->file, r->line, "unknown key %.60s in [%s]: did you mean %s?", r->key, conf_kind_name(kind), nearest);
	else
		conf_fault(r->faults, r->file, r->line, "unknown key %.60s in [%s]", r->key, conf_kind_name(kind));
}

/* A whole setting was read: key and value. */
static void
apply(struct reader *r)
{
	struct conf_section *s = r->section;
	const struct conf_key *k = conf_key_find(s->kind, r->key);
	char why[CONF_WHY_MAX];
	unsigned *line;
	int err;

	if (!k) {
		s->faulty = true;
		fault_unknown_key(r, s->kind);
		return;
	}
	line = &s->lines[conf_key_index(k)];
	if (*line) {
		conf_fault(r->faults, r->file, r->line, "%s is set twice, first in line %u", k->name, *line);
		return;
	}
	*line = r->line;
	if (k->type == CONF_TYPE_INCLUDE) {
		set_include(r);
	} else {
		err = conf_value_parse(k, r->value, &s->u, why);
		if (err == -EINVAL) {
			s->faulty = true;
			conf_fault(r->faults, r->file, r->line, "%s: %s", k->name, why);
		} else if (err < 0) {
			r->error = err;
		}
	}
	r->any_key = true;
}

/* inih made a setting of what next_line gave it; of a list, of each element. */
static int
take_setting(void *arg, const char *section, const char *name, const char *value)
{
	struct reader *r = arg;
	size_t len = strlen(value);

	(void)section; /* only the kind: r->section knows more */
	if (r->called) {
		r->value[r->value_len++] = ',';
	} else {
		snprintf(r->key, sizeof(r->key), "%s", name);
		r->value_len = 0;
	}
	/* There is room: r->value is as large as the file. */
	memcpy(r->value + r->value_len, value, len + 1);
	r->value_len += len;
	r->called = true;
	return 1;
}

/* The line that inih was given is over. */
static void
end_line(struct reader *r)
{
	if (!r->expecting)
		return;
	r->expecting = false;
	if (!r->called || *r->key == '\0')
		conf_fault(r->faults, r->file, r->line, "neither a [section] nor a key = value nor a comment");
	else if (r->section)
		apply(r);
	else if (r->before_sections)
		conf_fault(r->faults, r->file, r->line, "%.60s stands before the first section", r->key);
}

/* ----------------------------------------------------------------- lines -- */

/* The next line without NUL, without its end and leading blanks, in r->buf. NULL at the end. */
static char *
physical_line(struct reader *r)
{
	while (r->len) {
		const char *start = r->text, *newline = memchr(start, '\n', r->len);
		size_t len = newline ? (size_t)(newline - start) : r->len;

		r->text += len + (newline != NULL);
		r->len -= len + (newline != NULL);
		r->line++;
		if (r->line == 1 && len >= 3 && memcmp(start, "\xef\xbb\xbf", 3) == 0) {
			start += 3; /* the mark that some editors put in front of UTF-8 */
			len -= 3;
		}
		if (memchr(start, '\0', len)) {
			conf_fault(r->faults, r->file, r->line, "the line contains a NUL byte");
			continue;
		}
		memcpy(r->buf, start, len);
		r->buf[len] = '\0';
		cut_trailing_blanks(r->buf);
		return skip_blanks(r->buf);
	}
	return NULL;
}

static void
fault_unknown_section(struct reader *r, const char *kind)
{
	const char *nearest = conf_kind_nearest(kind);

	if (nearest)
		conf_fault(r->faults, r->file, r->line, "unknown section [%.60s]: did you mean [%s]?", kind, nearest);
	else
		conf_fault(r->faults, r->file, r->line, "unknown section [%.60s]", kind);
}

/* Enter section `kind` `name`. Also a refused one gets its keys checked, as long as its kind is known. */
static void
enter_section(struct reader *r, enum conf_kind kind, const char *name, bool refused)
{
	const char *wrong = conf_check_name(kind, name);
	struct conf_section *s, *twice = conf_section_find(r->c, kind, name);
	int err;

	if (!refused && wrong)
		conf_fault(r->faults, r->file, r->line, "[%s \"%.120s\"]: %s", conf_kind_name(kind), name, wrong);
	else if (!refused && twice)
		conf_fault(r->faults, r->file, r->line, "this section is there twice, first in %.200s:%u", twice->file, twice->line);
	s = conf_section_new(kind, name, r->file, r->line);
	if (!s) {
		r->error = -ENOMEM;
		return;
	}
	r->section = s;
	if (refused || wrong || twice) {
		r->stray = s;
		return;
	}
	err = conf_section_add(r->c, s);
	if (err < 0) {
		r->stray = s;
		if (err == -E2BIG)
			conf_fault(r->faults, r->file, r->line, "more than %d [%s] sections", CONF_SECTIONS_MAX, conf_kind_name(kind));
		else
			r->error = err;
	}
}

/* Read `[kind]` or `[kind "name"]`. */
static void
section_line(struct reader *r, char *s)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	char *kind_text = skip_blanks(s + 1), *kind_end = kind_text + strspn(kind_text, letters);
	char *name = skip_blanks(kind_end), *end = name;
	bool named = *name == '"', wrong = kind_end == kind_text, refused = true;
	enum conf_kind kind;

	conf_section_free(r->stray);
	r->section = r->stray = NULL;
	r->before_sections = r->any_key = false;
	if (named) {
		wrong |= name == kind_end; /* [queue"x"] */
		name++;
		end = name + strcspn(name, "\"");
		wrong |= *end != '"';
		if (*end)
			*end++ = '\0';
		end = skip_blanks(end);
	}
	wrong |= *end != ']';
	if (*end) {
		end++;
		cut_comment(end);
		wrong |= *skip_blanks(end) != '\0';
	}
	*kind_end = '\0';
	kind = conf_kind_parse(kind_text);
	if (wrong)
		conf_fault(r->faults, r->file, r->line, "a section is [node], [listen \"NAME\"], [peer \"NAME\"] or [queue \"NAME\"]");
	else if (kind == CONF_KINDS)
		fault_unknown_section(r, kind_text);
	else if (kind == CONF_NODE && named)
		conf_fault(r->faults, r->file, r->line, "[node] takes no name here: it has the key name");
	else if (kind != CONF_NODE && !named)
		conf_fault(r->faults, r->file, r->line, "[%s] needs a name: [%s \"NAME\"]", kind_text, kind_text);
	else
		refused = false;
	if (kind != CONF_KINDS)
		enter_section(r, kind, named ? name : "", refused);
}

/* Give inih `key=value`, unless it would be cut. False: it was refused. */
static bool
give(struct reader *r, const char *key, const char *value, char *str, int num)
{
	if (snprintf(str, (size_t)num, "%s=%s", key, value) < num)
		return true;
	conf_fault(r->faults, r->file, r->line, "the line is too long: %d bytes are the most, but for lists, whose elements may be that long",
	    num - 1);
	r->expecting = r->called = false;
	r->rest = NULL;
	return false;
}

/* The next element of a list goes to inih under the same key. */
static bool
next_element(struct reader *r, const char *key, char *str, int num)
{
	char *element = skip_blanks(r->rest), *comma = strchr(element, ',');

	if (comma)
		*comma = '\0';
	cut_trailing_blanks(element);
	r->rest = comma ? comma + 1 : NULL;
	return give(r, key, element, str, num);
}

/* A line that should be a setting. True: str is what inih is to see. */
static bool
setting_line(struct reader *r, char *s, char *str, int num)
{
	const struct conf_key *k;
	char *sep, *value;

	cut_comment(s);
	r->expecting = true;
	r->called = false;
	sep = strpbrk(s, "=:");
	if (!sep) {
		/* inih refuses it, and end_line says so; how long it is does not matter. */
		snprintf(str, (size_t)num, "%s", s);
		return true;
	}
	*sep = '\0';
	cut_trailing_blanks(s);
	value = skip_blanks(sep + 1);
	k = r->section ? conf_key_find(r->section->kind, s) : NULL;
	if (!k || !conf_value_is_list(k))
		return give(r, s, value, str, num);
	r->rest = value;
	return next_element(r, s, str, num);
}

/* inih asks for a line, in the manner of fgets. */
static char *
next_line(char *str, int num, void *arg)
{
	struct reader *r = arg;
	char *s;

	/* That of Debian 13 takes what fills its buffer without a newline for the beginning of a longer line, and drops lines behind. */
	num--;
	if (r->rest && next_element(r, r->key, str, num))
		return str;
	end_line(r);
	while (!r->error && (s = physical_line(r))) {
		if (*s == '\0' || *s == '#' || *s == ';')
			continue;
		if (*s == '[') {
			section_line(r, s);
			snprintf(str, (size_t)num, "[%s]", r->section ? conf_kind_name(r->section->kind) : "unknown");
			return str;
		}
		if (setting_line(r, s, str, num))
			return str;
	}
	return NULL;
}

int
conf_read_lines(struct conf *c, const char *name, const char *text, size_t len, struct conf_faults *faults, char **ret_include,
    unsigned *ret_line)
{
	struct reader r = { .c = c, .faults = faults, .text = text, .len = len, .before_sections = true };

	r.main_file = ret_include != NULL;
	r.file = conf_add_file(c, name);
	r.buf = malloc(len + 1);
	r.value = malloc(len + 1);
	if (!r.file || !r.buf || !r.value)
		r.error = -ENOMEM;
	else if (ini_parse_stream(next_line, &r, take_setting, &r) == NO_MEMORY) /* else it names one line of many: end_line knows all */
		r.error = -ENOMEM;
	conf_section_free(r.stray);
	free(r.buf);
	free(r.value);
	if (r.error || !ret_include) {
		free(r.include);
	} else {
		*ret_include = r.include;
		*ret_line = r.include_line;
	}
	return r.error;
}
