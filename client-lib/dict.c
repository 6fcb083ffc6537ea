#include "dict.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void
dict_in_init(struct dict_in *d)
{
	memset(d, 0, sizeof(*d));
}

void
dict_in_reset(struct dict_in *d)
{
	for (size_t i = 0; i < WIRE_DICTIONARY; i++) {
		dict_type_unref(d->types[i]);
		dict_origin_unref(d->origins[i]);
	}
	dict_in_init(d);
}

static struct dict_type *
type_new(struct wire_bytes value)
{
	struct dict_type *t = malloc(sizeof(*t) + value.len + 1);

	if (t == NULL)
		return NULL;
	t->refs = 1;
	t->len = value.len;
	memcpy(t->name, value.data, value.len);
	t->name[value.len] = '\0';
	return t;
}

/* Copy to *at, terminate, and move *at behind. */
static const char *
put_text(char **at, struct wire_bytes in)
{
	char *s = *at;

	if (in.len > 0)
		memcpy(s, in.data, in.len);
	s[in.len] = '\0';
	*at += in.len + 1;
	return s;
}

static struct dict_origin *
origin_new(const struct wire_origin *w)
{
	struct dict_origin *o = malloc(sizeof(*o) + w->node.len + w->unit.len + w->application.len + 3);
	char *at;

	if (o == NULL)
		return NULL;
	o->refs = 1;
	o->uid = w->uid;
	o->proof = w->proof;
	o->boot_id = w->boot_id;
	at = o->text;
	o->node = put_text(&at, w->node);
	o->unit = put_text(&at, w->unit);
	o->application = put_text(&at, w->application);
	return o;
}

int
dict_in_define(struct dict_in *d, const struct wire_define *def)
{
	struct wire_origin w;

	if (def->id == 0 || def->id > WIRE_DICTIONARY)
		return -EBADMSG;
	if (def->kind == WIRE_DEFINE_TYPE) {
		struct dict_type *t;

		if (def->value.len == 0 || def->value.len > WIRE_TYPE_MAX || memchr(def->value.data, 0, def->value.len) != NULL)
			return -EBADMSG;
		t = type_new(def->value);
		if (t == NULL)
			return -ENOMEM;
		dict_type_unref(d->types[def->id - 1]);
		d->types[def->id - 1] = t;
		return 0;
	}
	if (def->kind == WIRE_DEFINE_ORIGIN) {
		struct dict_origin *o;

		if (wire_unpack_origin(def->value, &w) < 0)
			return -EBADMSG;
		o = origin_new(&w);
		if (o == NULL)
			return -ENOMEM;
		dict_origin_unref(d->origins[def->id - 1]);
		d->origins[def->id - 1] = o;
		return 0;
	}
	return -EBADMSG;
}

int
dict_in_type(const struct dict_in *d, uint32_t id, struct dict_type **ret)
{
	if (id > WIRE_DICTIONARY || (id > 0 && d->types[id - 1] == NULL))
		return -EBADMSG;
	*ret = id > 0 ? d->types[id - 1] : NULL;
	if (*ret != NULL)
		(*ret)->refs++;
	return 0;
}

int
dict_in_origin(const struct dict_in *d, uint32_t id, struct dict_origin **ret)
{
	if (id > WIRE_DICTIONARY || (id > 0 && d->origins[id - 1] == NULL))
		return -EBADMSG;
	*ret = id > 0 ? d->origins[id - 1] : NULL;
	if (*ret != NULL)
		(*ret)->refs++;
	return 0;
}

void
dict_type_unref(struct dict_type *t)
{
	if (t != NULL && --t->refs == 0)
		free(t);
}

void
dict_origin_unref(struct dict_origin *o)
{
	if (o != NULL && --o->refs == 0)
		free(o);
}

void
dict_out_init(struct dict_out *d)
{
	memset(d, 0, sizeof(*d));
	hmap_init(&d->by_name);
}

void
dict_out_reset(struct dict_out *d, uint32_t limit)
{
	for (uint32_t i = 0; d->entries != NULL && i < WIRE_DICTIONARY; i++)
		if (d->entries[i].len > 0) {
			hmap_remove(&d->by_name, &d->entries[i].node);
			d->entries[i].len = 0;
		}
	d->limit = limit < WIRE_DICTIONARY ? limit : WIRE_DICTIONARY;
	d->next = d->last = 0;
}

void
dict_out_done(struct dict_out *d)
{
	dict_out_reset(d, 0);
	for (uint32_t i = 0; d->entries != NULL && i < WIRE_DICTIONARY; i++)
		free(d->entries[i].name);
	free(d->entries);
	d->entries = NULL;
	hmap_done(&d->by_name);
}

static bool
entry_is(const struct dict_out_entry *e, const char *name, size_t len)
{
	return e->len == len && memcmp(e->name, name, len) == 0;
}

uint32_t
dict_out_find(struct dict_out *d, const char *name, size_t len)
{
	/* Most programs send one type at a time. */
	if (d->last > 0 && entry_is(&d->entries[d->last - 1], name, len))
		return d->last;
	for (struct hmap_node *n = hmap_find(&d->by_name, hmap_hash(name, len, 0)); n != NULL; n = hmap_find_next(n)) {
		struct dict_out_entry *e = hmap_entry(n, struct dict_out_entry, node);

		if (entry_is(e, name, len)) {
			d->last = (uint32_t)(e - d->entries) + 1;
			return d->last;
		}
	}
	return 0;
}

int
dict_out_add(struct dict_out *d, const char *name, size_t len, uint32_t *ret_id)
{
	struct dict_out_entry *e;

	if (d->entries == NULL) {
		d->entries = calloc(WIRE_DICTIONARY, sizeof(*d->entries));
		if (d->entries == NULL)
			return -ENOMEM;
	}
	e = &d->entries[d->next];
	if (e->len > 0)
		hmap_remove(&d->by_name, &e->node);
	e->len = 0;
	if (e->room < len) {
		char *room = realloc(e->name, len);

		if (room == NULL)
			return -ENOMEM;
		e->name = room;
		e->room = len;
	}
	if (hmap_add(&d->by_name, &e->node, hmap_hash(name, len, 0)) < 0)
		return -ENOMEM;
	memcpy(e->name, name, len);
	e->len = len;
	*ret_id = d->last = d->next + 1;
	d->next = (d->next + 1) % d->limit;
	return 0;
}
