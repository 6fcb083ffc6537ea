/*
 * fuzz_conf: whatever a configuration says, reading it ends in faults or in
 * settings; and what is accepted prints as a text that is accepted, means the
 * same, and prints as the same text again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_faults;
static bool shows;

static void
fault(void *arg, const char *file, unsigned line, const char *text)
{
	(void)arg;
	n_faults++;
	if (!file || !text || text[0] == '\0')
		abort();
	if (shows)
		fprintf(stderr, "%s:%u: %s\n", file, line, text);
}

static char *
print(const struct conf *c, size_t *ret_len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, ret_len);

	if (!f)
		abort();
	conf_print(c, f);
	fclose(f);
	return text;
}

static void
same(bool is_same, const char *what)
{
	if (is_same)
		return;
	fprintf(stderr, "%s is not what it was\n", what);
	abort();
}

static bool
same_list(const struct conf_list *a, const struct conf_list *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return true;
}

static bool
same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : !a && !b;
}

/* Two sections of a kind, key by key; lists of access aside. */
static void
same_section(enum conf_kind kind, const void *a, const void *b)
{
	size_t n;
	const struct conf_key *k = conf_keys(kind, &n);

	for (; n > 0; n--, k++) {
		const char *va = (const char *)a + k->offset, *vb = (const char *)b + k->offset;

		if (k->type == CONF_TYPE_BOOL)
			same(*(const bool *)va == *(const bool *)vb, k->name);
		else if (k->type >= CONF_TYPE_SIZE && k->type <= CONF_TYPE_WORD)
			same(*(const uint64_t *)(const void *)va == *(const uint64_t *)(const void *)vb, k->name);
		else if (k->type >= CONF_TYPE_NODE_NAME && k->type <= CONF_TYPE_GROUP)
			same(same_text(*(char *const *)(const void *)va, *(char *const *)(const void *)vb), k->name);
		else if (k->type >= CONF_TYPE_URLS && k->type <= CONF_TYPE_PINS)
			same(same_list((const void *)va, (const void *)vb), k->name);
	}
}

static bool
same_access(const struct conf_access *a, const struct conf_access *b)
{
	if (a->set != b->set || a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->items[i].kind != b->items[i].kind || a->items[i].id != b->items[i].id || !same_text(a->items[i].name, b->items[i].name))
			return false;
	return true;
}

static void
same_queue(const struct conf *a, const struct conf *b, const char *node, const char *name)
{
	struct conf_queue p, q;

	conf_queue(a, node, name, &p);
	conf_queue(b, node, name, &q);
	same(p.durable == q.durable && p.max_messages == q.max_messages && p.max_bytes == q.max_bytes && p.min_bytes == q.min_bytes &&
		p.overflow == q.overflow && p.ttl == q.ttl && p.max_attempts == q.max_attempts && p.ack_timeout == q.ack_timeout &&
		p.by_pattern == q.by_pattern && same_text(p.dead_letter, q.dead_letter) && same_access(p.send, q.send) &&
		same_access(p.receive, q.receive) && same_access(p.browse, q.browse), name);
}

static void
same_conf(const struct conf *a, const struct conf *b)
{
	same_section(CONF_NODE, conf_node(a), conf_node(b));
	same(conf_n_listens(a) == conf_n_listens(b) && conf_n_peers(a) == conf_n_peers(b) &&
		conf_n_queue_sections(a) == conf_n_queue_sections(b), "a number of sections");
	for (size_t i = 0; i < conf_n_listens(a); i++)
		same_section(CONF_LISTEN, conf_listen(a, i), conf_listen(b, i));
	for (size_t i = 0; i < conf_n_peers(a); i++)
		same_section(CONF_PEER, conf_peer(a, i), conf_peer(b, i));
	for (size_t i = 0; i < conf_n_queue_sections(a); i++) {
		same(strcmp(conf_queue_section(a, i), conf_queue_section(b, i)) == 0, "a queue's name");
		if (!strchr(conf_queue_section(a, i), '/'))
			same_queue(a, b, NULL, conf_queue_section(a, i));
	}
	same_queue(a, b, NULL, "a");
	same_queue(a, b, NULL, "a.b");
	same_queue(a, b, "berlin", "a");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *first, *second;
	char *text, *again;
	size_t len, again_len;
	int r;

	n_faults = 0;
	r = conf_read_text("fuzz", (const char *)data, size, fault, NULL, &first);
	if (r != 0) {
		if (n_faults == 0)
			abort(); /* refused, and nobody knows why */
		return 0;
	}
	text = print(first, &len);
	shows = true;
	if (conf_read_text("printed", text, len, fault, NULL, &second) != 0) {
		fprintf(stderr, "%s", text);
		abort();
	}
	shows = false;
	same_conf(first, second);
	again = print(second, &again_len);
	if (len != again_len || memcmp(text, again, len) != 0) {
		fprintf(stderr, "%s----\n%s", text, again);
		abort();
	}
	free(text);
	free(again);
	conf_free(first);
	conf_free(second);
	return 0;
}
