/*
 * conf_access: who may use a queue, as text and in memory, and the users and
 * groups that such lists and other keys name.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "conf_impl.h"
#include "units.h"

#define ID_BUFFER 65536 /* a group with very many members */

/* ------------------------------------------------------- users and groups -- */

static bool
parse_id(const char *s, uint32_t *ret)
{
	uint64_t n;

	/* The last number means "nobody" to chown and the like. */
	if (strspn(s, "0123456789") != strlen(s) || units_count_parse(s, &n) < 0 || n >= UINT32_MAX)
		return false;
	*ret = (uint32_t)n;
	return true;
}

/* 0, -ENOENT, or another negative errno if the system cannot say. */
static int
find_id(bool group, const char *name, uint32_t *ret)
{
	struct passwd pw, *user_found = NULL;
	struct group gr, *group_found = NULL;
	char *buf;
	int r;

	if (parse_id(name, ret))
		return 0;
	buf = malloc(ID_BUFFER);
	if (!buf)
		return -ENOMEM;
	r = group ? getgrnam_r(name, &gr, buf, ID_BUFFER, &group_found) : getpwnam_r(name, &pw, buf, ID_BUFFER, &user_found);
	if (user_found)
		*ret = user_found->pw_uid;
	else if (group_found)
		*ret = group_found->gr_gid;
	else if (r == 0)
		r = ENOENT;
	free(buf);
	return -r;
}

int
conf_access_id(bool group, const char *name, uint32_t *ret, char why[static CONF_WHY_MAX])
{
	int r = find_id(group, name, ret);

	if (r == 0 || r == -ENOMEM)
		return r;
	if (r == -ENOENT)
		return conf_wrong(why, "there is no %s %.60s", group ? "group" : "user", name);
	return conf_wrong(why, "cannot look up %s %.60s: %s", group ? "group" : "user", name, strerror(-r));
}

/* ---------------------------------------------------------------- access -- */

static const char *const access_kinds[] = {
	[CONF_ACCESS_USER] = "user",
	[CONF_ACCESS_GROUP] = "group",
	[CONF_ACCESS_UNIT] = "unit",
	[CONF_ACCESS_PEER] = "peer",
};

#define N_ACCESS_KINDS (sizeof(access_kinds) / sizeof(access_kinds[0]))

static bool
unit_ok(const char *s)
{
	size_t len = strlen(s);

	return len > 0 && len <= 255 &&
	    strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.\\@-") == len;
}

void
conf_access_done(struct conf_access *a)
{
	for (size_t i = 0; i < a->n; i++)
		free(a->items[i].name);
	free(a->items);
	*a = (struct conf_access){ false, NULL, 0 };
}

static int
parse_entry(const char *text, struct conf_access_entry *ret, char why[static CONF_WHY_MAX])
{
	const char *colon = strchr(text, ':');
	struct conf_access_entry e = { CONF_ACCESS_USER, NULL, 0 };
	unsigned kind = 0;
	int r = 0;

	while (colon && kind < N_ACCESS_KINDS &&
	    (strncmp(access_kinds[kind], text, (size_t)(colon - text)) != 0 || access_kinds[kind][colon - text] != '\0'))
		kind++;
	if (!colon || kind == N_ACCESS_KINDS)
		return conf_wrong(why, "%.80s is none of user:NAME, group:NAME, unit:NAME and peer:NAME", text);
	e.kind = (enum conf_access_kind)kind;
	switch (e.kind) {
	case CONF_ACCESS_USER:
	case CONF_ACCESS_GROUP:
		if (colon[1] == '\0')
			return conf_wrong(why, "%.80s names nobody", text);
		r = conf_access_id(e.kind == CONF_ACCESS_GROUP, colon + 1, &e.id, why);
		break;
	case CONF_ACCESS_UNIT:
		if (!unit_ok(colon + 1))
			r = conf_wrong(why, "%.80s names no systemd unit", text);
		break;
	case CONF_ACCESS_PEER:
		if (!names_node_ok(colon + 1, strlen(colon + 1)))
			r = conf_wrong(why, "%.80s names no node", text);
		break;
	}
	if (r < 0)
		return r;
	e.name = strdup(colon + 1);
	if (!e.name)
		return -ENOMEM;
	*ret = e;
	return 0;
}

int
conf_access_parse(const char *text, const char *def, struct conf_access *ret, char why[static CONF_WHY_MAX])
{
	struct conf_access a = { true, NULL, 0 };
	struct conf_list list;
	int r;

	if (strcmp(text, def) == 0 || strcmp(text, "none") == 0) {
		a.set = strcmp(text, "none") == 0;
		*ret = a;
		return 0;
	}
	r = conf_list_split(text, &list, why);
	if (r < 0)
		return r;
	a.items = calloc(list.n, sizeof(*a.items));
	if (!a.items)
		r = -ENOMEM;
	while (r == 0 && a.n < list.n) {
		r = parse_entry(list.items[a.n], &a.items[a.n], why);
		if (r == 0)
			a.n++;
	}
	conf_list_done(&list);
	if (r < 0)
		conf_access_done(&a);
	else
		*ret = a;
	return r;
}

void
conf_access_print(const struct conf_access *a, const char *def, FILE *out)
{
	if (a->n == 0)
		fputs(a->set ? "none" : def, out);
	for (size_t i = 0; i < a->n; i++)
		fprintf(out, "%s%s:%s", i ? ", " : "", access_kinds[a->items[i].kind], a->items[i].name);
}
