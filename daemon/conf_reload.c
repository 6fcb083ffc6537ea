/*
 * conf_reload: one configuration after another: what only counts from a
 * restart on, and what is the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf_impl.h"

/* The value as it would be written; the caller frees it. NULL: out of memory. */
static char *
value_text(const struct conf_key *k, const void *base)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	conf_value_print(k, base, f);
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

/* 1, 0, or -ENOMEM. */
static int
is_same(const struct conf_key *k, const void *a, const void *b)
{
	char *x = value_text(k, a), *y = value_text(k, b);
	int r = x && y ? strcmp(x, y) == 0 : -ENOMEM;

	free(x);
	free(y);
	return r;
}

int
conf_keep_restart(struct conf *fresh, const struct conf *old, void (*kept)(void *arg, const char *key), void *arg)
{
	struct conf_section *to = fresh->sections[CONF_NODE][0];
	const struct conf_section *from = old->sections[CONF_NODE][0];
	size_t n;
	const struct conf_key *k = conf_keys(CONF_NODE, &n);

	for (size_t i = 0; i < n; i++) {
		char why[CONF_WHY_MAX], *text;
		int r;

		if (k[i].reload != CONF_RELOAD_RESTART || k[i].type == CONF_TYPE_INCLUDE)
			continue;
		r = is_same(&k[i], &to->u, &from->u);
		if (r > 0)
			continue;
		text = r == 0 ? value_text(&k[i], &from->u) : NULL;
		/* It was understood before; but a group's name may be gone. */
		r = text ? conf_value_parse(&k[i], text, &to->u, why) : -ENOMEM;
		free(text);
		if (r == -ENOMEM)
			return r;
		kept(arg, k[i].name);
	}
	return 0;
}

int
conf_peer_same(const struct conf_peer *a, const struct conf_peer *b)
{
	size_t n;
	const struct conf_key *k = conf_keys(CONF_PEER, &n);
	int r = 1;

	for (size_t i = 0; i < n && r > 0; i++)
		r = is_same(&k[i], a, b);
	return r;
}
