/* vdisk: names. What was done in the folder becomes durable in order. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vdisk_internal.h"

static int
find(const struct names *names, const char *name)
{
	for (size_t k = 0; k < names->n; k++)
		if (strcmp(names->all[k].text, name) == 0)
			return (int)k;
	return -1;
}

static void
add(struct names *names, const char *name, int file)
{
	if (names->n == names->cap) {
		names->cap = names->cap ? 2 * names->cap : 16;
		names->all = realloc(names->all, names->cap * sizeof(*names->all));
		if (!names->all)
			abort();
	}
	snprintf(names->all[names->n].text, VDISK_NAME_MAX, "%s", name);
	names->all[names->n++].file = file;
}

void
vdisk_names_copy(struct names *to, const struct names *from)
{
	if (from->n > to->cap) {
		to->cap = from->n;
		to->all = realloc(to->all, to->cap * sizeof(*to->all));
		if (!to->all)
			abort();
	}
	to->n = from->n;
	if (from->n > 0)
		memcpy(to->all, from->all, from->n * sizeof(*to->all));
}

void
vdisk_apply(struct names *names, const struct change *c)
{
	int at = c->from[0] ? find(names, c->from) : -1;

	if (at >= 0)
		names->all[at] = names->all[--names->n];
	if (c->to[0] == '\0')
		return;
	at = find(names, c->to);
	if (at >= 0)
		names->all[at].file = c->file;
	else
		add(names, c->to, c->file);
}

static void
change(struct vdisk *v, const char *from, const char *to, int file)
{
	struct change *c;

	v->stamp++;
	if (v->n_changes == v->cap_changes) {
		v->cap_changes = v->cap_changes ? 2 * v->cap_changes : 8;
		v->changes = realloc(v->changes, v->cap_changes * sizeof(*v->changes));
		if (!v->changes)
			abort();
	}
	c = &v->changes[v->n_changes++];
	*c = (struct change){ .file = file };
	snprintf(c->from, sizeof(c->from), "%s", from);
	snprintf(c->to, sizeof(c->to), "%s", to);
	vdisk_apply(&v->now, c);
}

/* ------------------------------------------------------------------- whole -- */

struct vdisk *
vdisk_new(void)
{
	struct vdisk *v = calloc(1, sizeof(*v));

	if (!v)
		abort();
	return v;
}

void
vdisk_free(struct vdisk *v)
{
	if (!v)
		return;
	for (size_t k = 0; k < v->n_inodes; k++)
		vdisk_inode_unref(v->inodes[k]);
	free(v->inodes);
	free(v->held);
	free(v->now.all);
	free(v->durable.all);
	free(v->changes);
	free(v);
}

struct vdisk *
vdisk_clone(const struct vdisk *from)
{
	struct vdisk *v = malloc(sizeof(*v));

	if (!v)
		abort();
	*v = *from;
	v->inodes = malloc((v->n_inodes + 1) * sizeof(*v->inodes));
	v->held = calloc(v->n_inodes + 1, sizeof(*v->held));
	v->changes = malloc((v->n_changes + 1) * sizeof(*v->changes));
	if (!v->inodes || !v->held || !v->changes)
		abort();
	for (size_t k = 0; k < v->n_inodes; k++) {
		v->inodes[k] = from->inodes[k];
		if (v->inodes[k])
			v->inodes[k]->refs++;
	}
	v->cap_changes = v->n_changes + 1;
	if (v->n_changes > 0)
		memcpy(v->changes, from->changes, v->n_changes * sizeof(*v->changes));
	v->now = v->durable = (struct names){ 0 };
	vdisk_names_copy(&v->now, &from->now);
	vdisk_names_copy(&v->durable, &from->durable);
	return v;
}

void
vdisk_collect(struct vdisk *v)
{
	for (size_t f = 0; f < v->n_inodes; f++) {
		bool is_known = v->held[f] > 0;

		if (!v->inodes[f])
			continue;
		for (size_t k = 0; k < v->now.n && !is_known; k++)
			is_known = v->now.all[k].file == (int)f;
		for (size_t k = 0; k < v->durable.n && !is_known; k++)
			is_known = v->durable.all[k].file == (int)f;
		for (size_t k = 0; k < v->n_changes && !is_known; k++)
			is_known = v->changes[k].file == (int)f;
		if (is_known)
			continue;
		vdisk_inode_unref(v->inodes[f]);
		v->inodes[f] = NULL;
	}
}

static uint64_t
used_by(const struct inode *i)
{
	uint64_t n = 0;

	for (size_t k = 0; k < i->n_slots; k++)
		n += i->slots[k].is_allocated;
	return n * VDISK_BLOCK;
}

uint64_t
vdisk_used(const struct vdisk *v, const char *prefix)
{
	uint64_t sum = 0;

	for (size_t k = 0; k < v->now.n; k++)
		if (!prefix || strncmp(v->now.all[k].text, prefix, strlen(prefix)) == 0)
			sum += used_by(v->inodes[v->now.all[k].file]);
	return sum;
}

/* ------------------------------------------------------------------- names -- */

int
vdisk_find(struct vdisk *v, const char *name, bool create)
{
	int at = find(&v->now, name);
	size_t f = 0;

	if (at >= 0)
		return v->now.all[at].file;
	if (!create)
		return -ENOENT;
	while (f < v->n_inodes && v->inodes[f])
		f++;
	if (f == v->n_inodes) {
		v->n_inodes++;
		v->inodes = realloc(v->inodes, v->n_inodes * sizeof(*v->inodes));
		v->held = realloc(v->held, v->n_inodes * sizeof(*v->held));
		if (!v->inodes || !v->held)
			abort();
	}
	v->held[f] = 0;
	v->inodes[f] = calloc(1, sizeof(*v->inodes[f]));
	if (!v->inodes[f])
		abort();
	v->inodes[f]->refs = 1;
	change(v, "", name, (int)f);
	return (int)f;
}

void
vdisk_hold(struct vdisk *v, int file)
{
	v->held[file]++;
}

void
vdisk_release(struct vdisk *v, int file)
{
	if (--v->held[file] == 0)
		vdisk_collect(v);
}

int
vdisk_rename(struct vdisk *v, const char *from, const char *to)
{
	int at = find(&v->now, from);

	if (at < 0)
		return -ENOENT;
	if (strcmp(from, to) != 0)
		change(v, from, to, v->now.all[at].file);
	return 0;
}

int
vdisk_remove(struct vdisk *v, const char *name)
{
	int at = find(&v->now, name);

	if (at < 0)
		return -ENOENT;
	change(v, name, "", v->now.all[at].file);
	return 0;
}

static bool
is_in(const char *name, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(name, prefix, len) == 0 && name[len] != '\0' && !strchr(name + len, '/');
}

void
vdisk_sync_folder(struct vdisk *v, const char *prefix)
{
	size_t n = v->n_changes;

	while (n > 0 && !is_in(v->changes[n - 1].from, prefix) && !is_in(v->changes[n - 1].to, prefix))
		n--;
	v->stamp += n > 0;
	for (size_t k = 0; k < n; k++)
		vdisk_apply(&v->durable, &v->changes[k]);
	v->n_changes -= n;
	if (n > 0)
		memmove(v->changes, v->changes + n, v->n_changes * sizeof(*v->changes));
	vdisk_collect(v);
}

const char *
vdisk_next(const struct vdisk *v, const char *prefix, const char *last)
{
	const char *next = NULL;

	for (size_t k = 0; k < v->now.n; k++) {
		const char *name = v->now.all[k].text;

		if (is_in(name, prefix) && (!last || strcmp(name, last) > 0) && (!next || strcmp(name, next) < 0))
			next = name;
	}
	return next;
}
