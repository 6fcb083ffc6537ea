/*
 * conf: the configuration in memory: sections, lookup, life and death.
 */
#include "conf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "conf_impl.h"

/* ---------------------------------------------------------------- faults -- */

void
conf_fault(struct conf_faults *f, const char *file, unsigned line, const char *fmt, ...)
{
	char text[2 * CONF_WHY_MAX];
	va_list ap;

	f->n++;
	if (!f->fn)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* Faults quote the file; they end up on terminals and in logs. */
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	f->fn(f->arg, file, line, text);
}

int
conf_wrong(char why[static CONF_WHY_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, CONF_WHY_MAX, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ----------------------------------------------------------------- lists -- */

int
conf_list_add(struct conf_list *list, const char *s, size_t len)
{
	char *copy;

	/* Full whenever n is a power of two. */
	if ((list->n & (list->n - 1)) == 0) {
		char **items = realloc(list->items, (list->n ? 2 * list->n : 1) * sizeof(*items));

		if (!items)
			return -ENOMEM;
		list->items = items;
	}
	copy = strndup(s, len);
	if (!copy)
		return -ENOMEM;
	list->items[list->n++] = copy;
	return 0;
}

static bool
blank(char c)
{
	return c == ' ' || c == '\t';
}

int
conf_list_split(const char *text, struct conf_list *ret, char why[static CONF_WHY_MAX])
{
	struct conf_list list = { NULL, 0 };

	for (const char *s = text, *end;; s = end + 1) {
		size_t len;
		int r;

		end = s + strcspn(s, ",");
		while (blank(*s))
			s++;
		len = (size_t)(end - s);
		while (len && blank(s[len - 1]))
			len--;
		r = len ? conf_list_add(&list, s, len) : conf_wrong(why, "the list has an empty element");
		if (r < 0) {
			conf_list_done(&list);
			return r;
		}
		if (*end == '\0')
			break;
	}
	*ret = list;
	return 0;
}

void
conf_list_done(struct conf_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct conf_list){ NULL, 0 };
}

/* -------------------------------------------------------------- sections -- */

void
conf_section_free(struct conf_section *s)
{
	const struct conf_key *k;
	size_t n;

	if (!s)
		return;
	k = conf_keys(s->kind, &n);
	for (size_t i = 0; i < n; i++)
		conf_value_free(&k[i], &s->u);
	free(s->name);
	free(s);
}

struct conf_section *
conf_section_new(enum conf_kind kind, const char *name, const char *file, unsigned line)
{
	struct conf_section *s = calloc(1, sizeof(*s));
	char why[CONF_WHY_MAX];
	const struct conf_key *k;
	size_t n;

	if (!s)
		return NULL;
	s->kind = kind;
	s->file = file;
	s->line = line;
	s->name = strdup(name);
	if (!s->name)
		goto fail;
	if (kind == CONF_LISTEN)
		s->u.listen.name = s->name;
	else if (kind == CONF_PEER)
		s->u.peer.name = s->name;
	k = conf_keys(kind, &n);
	for (size_t i = 0; i < n; i++)
		if (k[i].def && conf_value_parse(&k[i], k[i].def, &s->u, why) < 0)
			goto fail; /* the table's defaults are in range: memory it is */
	return s;

fail:
	conf_section_free(s);
	return NULL;
}

static uint64_t
section_hash(enum conf_kind kind, const char *name)
{
	return hmap_hash(name, strlen(name), kind);
}

int
conf_section_add(struct conf *c, struct conf_section *s)
{
	enum conf_kind kind = s->kind;
	size_t n = c->n[kind];

	if (n == CONF_SECTIONS_MAX)
		return -E2BIG;
	if ((n & (n - 1)) == 0) {
		struct conf_section **sections = realloc(c->sections[kind], (n ? 2 * n : 1) * sizeof(struct conf_section *));

		if (!sections)
			return -ENOMEM;
		c->sections[kind] = sections;
	}
	if (hmap_add(&c->by_name, &s->node, section_hash(kind, s->name)) < 0)
		return -ENOMEM;
	c->sections[kind][c->n[kind]++] = s;
	return 0;
}

struct conf_section *
conf_section_find(const struct conf *c, enum conf_kind kind, const char *name)
{
	for (struct hmap_node *n = hmap_find(&c->by_name, section_hash(kind, name)); n; n = hmap_find_next(n)) {
		struct conf_section *s = hmap_entry(n, struct conf_section, node);

		if (s->kind == kind && strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

int
conf_sort_queues(struct conf *c)
{
	size_t n = c->n[CONF_QUEUE], patterns = 0;
	struct conf_section **all = c->sections[CONF_QUEUE], **kept;

	if (n == 0)
		return 0;
	kept = calloc(n, sizeof(struct conf_section *));
	if (!kept)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (strchr(all[i]->name, '*'))
			kept[patterns++] = all[i];
		else
			all[c->n_exact++] = all[i];
	memcpy(all + c->n_exact, kept, patterns * sizeof(struct conf_section *));
	free(kept);
	return 0;
}

/* -------------------------------------------------------- life and death -- */

struct conf *
conf_new(void)
{
	struct conf *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	hmap_init(&c->by_name);
	c->builtin = conf_section_new(CONF_QUEUE, "", "", 0);
	if (!c->builtin) {
		conf_free(c);
		return NULL;
	}
	return c;
}

void
conf_free(struct conf *c)
{
	if (!c)
		return;
	for (unsigned kind = 0; kind < CONF_KINDS; kind++) {
		for (size_t i = 0; i < c->n[kind]; i++)
			conf_section_free(c->sections[kind][i]);
		free(c->sections[kind]);
	}
	conf_section_free(c->builtin);
	hmap_done(&c->by_name);
	conf_list_done(&c->files);
	free(c);
}

const char *
conf_add_file(struct conf *c, const char *name)
{
	return conf_list_add(&c->files, name, strlen(name)) < 0 ? NULL : c->files.items[c->files.n - 1];
}

/* ---------------------------------------------------------------- lookup -- */

const struct conf_node *
conf_node(const struct conf *c)
{
	return &c->sections[CONF_NODE][0]->u.node;
}

size_t
conf_n_listens(const struct conf *c)
{
	return c->n[CONF_LISTEN];
}

const struct conf_listen *
conf_listen(const struct conf *c, size_t i)
{
	return &c->sections[CONF_LISTEN][i]->u.listen;
}

size_t
conf_n_peers(const struct conf *c)
{
	return c->n[CONF_PEER];
}

const struct conf_peer *
conf_peer(const struct conf *c, size_t i)
{
	return &c->sections[CONF_PEER][i]->u.peer;
}

bool
conf_peer_is_family(const struct conf_peer *p)
{
	return strchr(p->name, '*') != NULL;
}

/* Does section a fit better than b (NULL: none so far)? Of equally long ones the order of the file must not matter. */
static bool
fits_better(const struct conf_section *a, const struct conf_section *b)
{
	size_t len = names_literal_len(a->name), best = b ? names_literal_len(b->name) : 0;

	return !b || len > best || (len == best && strcmp(a->name, b->name) < 0);
}

const struct conf_peer *
conf_peer_find(const struct conf *c, const char *name)
{
	const struct conf_section *best = conf_section_find(c, CONF_PEER, name);

	/* The name of a family is that of no node. */
	if (best)
		return conf_peer_is_family(&best->u.peer) ? NULL : &best->u.peer;
	for (size_t i = 0; i < c->n[CONF_PEER]; i++) {
		const struct conf_section *s = c->sections[CONF_PEER][i];

		if (conf_peer_is_family(&s->u.peer) && names_match(s->name, name) && fits_better(s, best))
			best = s;
	}
	return best ? &best->u.peer : NULL;
}

static bool
any_tls(const struct conf_list *address)
{
	struct names_url url;

	for (size_t i = 0; i < address->n; i++)
		if (names_url_parse(address->items[i], &url, NULL) == 0 && (url.scheme == NAMES_TLS || url.scheme == NAMES_DTLS_SCTP))
			return true;
	return false;
}

bool
conf_needs_identity(const struct conf *c)
{
	for (size_t i = 0; i < c->n[CONF_LISTEN]; i++)
		if (any_tls(&c->sections[CONF_LISTEN][i]->u.listen.address))
			return true;
	for (size_t i = 0; i < c->n[CONF_PEER]; i++)
		if (any_tls(&c->sections[CONF_PEER][i]->u.peer.address))
			return true;
	return false;
}

size_t
conf_n_queue_sections(const struct conf *c)
{
	return c->n_exact;
}

const char *
conf_queue_section(const struct conf *c, size_t i)
{
	return c->sections[CONF_QUEUE][i]->name;
}

bool
conf_has_queue(const struct conf *c, const char *node, const char *name)
{
	char full[NAMES_DEST_MAX + 1];

	snprintf(full, sizeof(full), "%s%s%s", node ? node : "", node ? "/" : "", name);
	return conf_section_find(c, CONF_QUEUE, full) != NULL;
}

/* The section other than [queue "*"] that fits best, or NULL. A pattern without a node is for queues here. */
static const struct conf_section *
best_section(const struct conf *c, const char *node, const char *name)
{
	char full[NAMES_DEST_MAX + 1];
	const struct conf_section *best;

	snprintf(full, sizeof(full), "%s%s%s", node ? node : "", node ? "/" : "", name);
	best = conf_section_find(c, CONF_QUEUE, full);
	if (best)
		return best;
	for (size_t i = c->n_exact; i < c->n[CONF_QUEUE]; i++) {
		const struct conf_section *s = c->sections[CONF_QUEUE][i];

		if (strcmp(s->name, "*") != 0 && !strchr(s->name, '/') == !node && names_match(s->name, full) && fits_better(s, best))
			best = s;
	}
	return best;
}

const struct conf_section *
conf_queue_source(const struct conf *c, const struct conf_section *s, const struct conf_key *k)
{
	size_t i = conf_key_index(k);

	if (s && s->lines[i])
		return s;
	s = conf_section_find(c, CONF_QUEUE, "*");
	return s && s->lines[i] ? s : c->builtin;
}

#define SETTING(key) (&conf_queue_source(c, s, conf_key_find(CONF_QUEUE, #key))->u.queue.key)

void
conf_queue(const struct conf *c, const char *node, const char *name, struct conf_queue *ret)
{
	const struct conf_section *s = best_section(c, node, name);

	*ret = (struct conf_queue){
		.durable = *SETTING(durable),
		.max_messages = *SETTING(max_messages),
		.max_bytes = *SETTING(max_bytes),
		.min_bytes = *SETTING(min_bytes),
		.overflow = (enum conf_overflow)*SETTING(overflow),
		.ttl = *SETTING(ttl),
		.max_attempts = *SETTING(max_attempts),
		.ack_timeout = *SETTING(ack_timeout),
		.dead_letter = *SETTING(dead_letter),
		.send = SETTING(send),
		.receive = SETTING(receive),
		.browse = SETTING(browse),
		.by_pattern = s != NULL,
	};
}
