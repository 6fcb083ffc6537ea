/* cgroup: see cgroup.h. */
#include "cgroup.h"

#include <stdlib.h>
#include <string.h>

#define ROOT "/system.slice"
#define ROOT_LEN 13
#define SLICE ".slice"
#define SLICE_LEN 6
#define DELETED " (deleted)" /* the kernel's, behind a path that is gone */
#define DELETED_LEN 10

/* A piece of the text. */
struct piece {
	const char *at;
	size_t len;
};

static bool
is(struct piece p, const char *s)
{
	return p.len == strlen(s) && memcmp(p.at, s, p.len) == 0;
}

static bool
ends_in(struct piece p, const char *s)
{
	size_t len = strlen(s);

	return p.len > len && memcmp(p.at + p.len - len, s, len) == 0;
}

/* What is in front of a separator, which is taken, too; the rest stays in p. */
static struct piece
take(struct piece *p, char separator)
{
	const char *end = p->len > 0 ? memchr(p->at, separator, p->len) : NULL;
	struct piece first = { p->at, end ? (size_t)(end - p->at) : p->len };
	size_t taken = first.len + (end ? 1 : 0);

	p->at += taken;
	p->len -= taken;
	return first;
}

/* systemd puts a _ in front of what would be a file of the kernel's, or begins with one. */
static struct piece
unescape(struct piece p)
{
	return p.len > 0 && p.at[0] == '_' ? (struct piece){ p.at + 1, p.len - 1 } : p;
}

/* Is it a slice right below the other, as a-b.slice is below a.slice? */
static bool
is_below(struct piece inner, struct piece outer)
{
	size_t stem = outer.len - SLICE_LEN;

	return inner.len > outer.len + 1 && memcmp(inner.at, outer.at, stem) == 0 && inner.at[stem] == '-' &&
	    !memchr(inner.at + stem + 1, '-', inner.len - stem - 1);
}

static bool
is_unit(struct piece p)
{
	static const char *const kinds[] = { ".service", ".scope", ".socket", ".mount", ".swap" };
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.\\@-";

	/* The manager of a user: what is inside is that user's. */
	if (p.len == 0 || p.len > CGROUP_UNIT_MAX || p.at[0] == '@' || (p.len > 5 && memcmp(p.at, "user@", 5) == 0))
		return false;
	for (size_t i = 0; i < p.len; i++)
		if (!memchr(letters, p.at[i], sizeof(letters) - 1))
			return false;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (ends_in(p, kinds[i]))
			return true;
	return false;
}

/* The first in the path that is no slice; what is below that is its own affair. Without bytes: there is none. */
static struct piece
unit_of(struct piece path)
{
	struct piece slice = { "system" SLICE, ROOT_LEN - 1 }, p;

	if (path.len <= ROOT_LEN || memcmp(path.at, ROOT "/", ROOT_LEN + 1) != 0 || ends_in(path, DELETED))
		return (struct piece){ "", 0 };
	path.at += ROOT_LEN + 1;
	path.len -= ROOT_LEN + 1;
	p = unescape(take(&path, '/'));
	while (ends_in(p, SLICE) && is_below(p, slice)) {
		slice = p;
		p = unescape(take(&path, '/'));
	}
	return is_unit(p) ? p : (struct piece){ "", 0 };
}

bool
cgroup_unit(const char *text, char ret[static CGROUP_UNIT_MAX + 1])
{
	struct piece rest = { text, strlen(text) }, found = { "", 0 };
	bool known = false;

	ret[0] = '\0';
	while (rest.len > 0) {
		struct piece path = take(&rest, '\n'), number = take(&path, ':'), names = take(&path, ':'), unit;
		bool unified = is(number, "0") && names.len == 0;

		/* Where systemd uses version 1, all are at the root of the other. */
		if ((!unified && !is(names, "name=systemd")) || (unified && is(path, "/")))
			continue;
		unit = unit_of(path);
		if (unit.len == 0 || (known && (unit.len != found.len || memcmp(unit.at, found.at, unit.len) != 0)))
			return false;
		found = unit;
		known = true;
	}
	memcpy(ret, found.at, found.len);
	ret[found.len] = '\0';
	return known;
}

bool
cgroup_is_user(const char *text, uint32_t uid)
{
	const char *line = strstr(text, "\nUid:");
	char *end;

	if (!line)
		return false;
	/* The real one, then that which counts. */
	strtoull(line + 5, &end, 10);
	return end != line + 5 && *end == '\t' && strtoull(end, &end, 10) == uid && (*end == '\t' || *end == '\n');
}
