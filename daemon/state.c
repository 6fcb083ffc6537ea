/*
 * state: the files of the state folder.
 *
 *   lock             held (flock) as long as the daemon runs
 *   node             whose folder this is, and its store id; another one after `connectctl renew`
 *   starts, starts.2 the boot id of every start, twice (state_starts.c)
 *   peers/NAME.peer  whom I last met under that name
 */
#include "state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state_internal.h"

/* -------------------------------------------------------------------- text -- */

static void
hex_print(const uint8_t *id, char out[static 2 * STATE_ID + 1])
{
	for (size_t i = 0; i < STATE_ID; i++)
		snprintf(out + 2 * i, 3, "%02x", id[i]);
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Exactly STATE_ID bytes in lower case. */
static bool
hex_parse(const char *s, size_t len, uint8_t out[static STATE_ID])
{
	if (len != 2 * STATE_ID)
		return false;
	for (size_t i = 0; i < STATE_ID; i++) {
		int high = hex_digit(s[2 * i]), low = hex_digit(s[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* Take "KEY VALUE\n" from the front of *text. */
static bool
take_line(const char **text, const char *key, const char **ret, size_t *ret_len)
{
	size_t n = strlen(key);
	const char *end = strchr(*text, '\n');

	if (!end || strncmp(*text, key, n) != 0 || (*text)[n] != ' ')
		return false;
	*ret = *text + n + 1;
	*ret_len = (size_t)(end - *ret);
	*text = end + 1;
	return true;
}

/* -------------------------------------------------------------------- node -- */

size_t
state_node_print(const char *node, const uint8_t store_id[static STATE_ID], const uint8_t first_id[static STATE_ID],
    char text[static STATE_TEXT_MAX])
{
	char hex[2 * STATE_ID + 1];
	int n;

	hex_print(store_id, hex);
	n = snprintf(text, STATE_TEXT_MAX, "format 1\nnode %s\nstore %s\n", node, hex);
	hex_print(first_id, hex);
	if (memcmp(first_id, store_id, STATE_ID) != 0)
		n += snprintf(text + n, STATE_TEXT_MAX - (size_t)n, "first %s\n", hex);
	return (size_t)n;
}

/* The last line, of a folder whose identity was renewed. */
static bool
read_first(struct state *s, const char *p)
{
	const char *value;
	size_t len;

	memcpy(s->first_id, s->store_id, STATE_ID);
	return *p == '\0' || (take_line(&p, "first", &value, &len) && hex_parse(value, len, s->first_id) && *p == '\0');
}

static int
has_starts(void *arg, const char *file)
{
	(void)arg;
	return strcmp(file, STATE_STARTS) == 0;
}

static int
node_make(struct state *s, const char *node, char why[static 200])
{
	char text[STATE_TEXT_MAX];
	int r = disk_list(s->disk, NULL, has_starts, NULL);

	/* It is written before anything else: if only it is missing, somebody removed it. */
	if (r > 0) {
		snprintf(why, 200, "the file node is missing, but there were starts");
		return -EINVAL;
	}
	if (r < 0)
		return r;
	loop_random(s->loop, s->store_id, STATE_ID);
	memcpy(s->first_id, s->store_id, STATE_ID);
	return disk_replace(s->disk, "node", text, state_node_print(node, s->store_id, s->first_id, text));
}

static int
node_read(struct state *s, const char *node, char why[static 200])
{
	const char *p, *value;
	char *text;
	size_t len;
	ssize_t n = disk_slurp(s->disk, "node", STATE_TEXT_MAX, &text);
	int r = -EINVAL;

	if (n == -ENOENT)
		return node_make(s, node, why);
	if (n < 0)
		return (int)n;
	p = text;
	if (!take_line(&p, "format", &value, &len)) {
		snprintf(why, 200, "the file node is damaged");
	} else if (len != 1 || *value != '1') {
		snprintf(why, 200, "the folder was written by a newer version (format %.*s)", len > 20 ? 20 : (int)len, value);
	} else if (!take_line(&p, "node", &value, &len) || !names_node_ok(value, len)) {
		snprintf(why, 200, "the file node is damaged");
	} else if (len != strlen(node) || memcmp(value, node, len) != 0) {
		snprintf(why, 200, "the folder belongs to the node %.*s, not to %s", (int)len, value, node);
	} else if (!take_line(&p, "store", &value, &len) || !hex_parse(value, len, s->store_id) || !read_first(s, p)) {
		snprintf(why, 200, "the file node is damaged");
	} else {
		r = 0;
	}
	free(text);
	return r;
}

/* ------------------------------------------------------------------- peers -- */

struct met *
state_peer_find(const struct state *s, const char *name)
{
	uint64_t hash = hmap_hash(name, strlen(name), s->seed);

	for (struct hmap_node *n = hmap_find(&s->peers, hash); n; n = hmap_find_next(n)) {
		struct met *p = hmap_entry(n, struct met, node);

		if (strcmp(p->name, name) == 0)
			return p;
	}
	return NULL;
}

struct met *
state_peer_add(struct state *s, const char *name)
{
	struct met *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	snprintf(p->name, sizeof(p->name), "%s", name);
	if (hmap_add(&s->peers, &p->node, hmap_hash(name, strlen(name), s->seed)) < 0) {
		free(p);
		return NULL;
	}
	return p;
}

void
state_peer_path(const char *name, char path[static STATE_PATH_MAX])
{
	snprintf(path, STATE_PATH_MAX, "peers/%s" STATE_PEER_SUFFIX, name);
}

size_t
state_peer_print(const struct state_peer *met, char text[static STATE_TEXT_MAX])
{
	char hex[2 * STATE_ID + 1];

	hex_print(met->store_id, hex);
	return (size_t)snprintf(text, STATE_TEXT_MAX, "format 1\nstore %s\nstart %" PRIu32 "\nboot %016" PRIx64 "\n", hex,
	    met->start_count, met->boot_id);
}

/* What peer_print writes, exactly. */
static bool
peer_parse(const char *text, struct state_peer *ret)
{
	const char *p = text, *store, *start, *boot, *format;
	size_t n, n_store;
	char again[STATE_TEXT_MAX];

	if (!take_line(&p, "format", &format, &n) || !take_line(&p, "store", &store, &n_store) ||
	    !take_line(&p, "start", &start, &n) || !take_line(&p, "boot", &boot, &n) ||
	    !hex_parse(store, n_store, ret->store_id))
		return false;
	ret->start_count = (uint32_t)strtoul(start, NULL, 10);
	ret->boot_id = strtoull(boot, NULL, 16);
	state_peer_print(ret, again);
	return ret->start_count <= STATE_START_MAX && strcmp(again, text) == 0;
}

struct loading {
	struct state *state;
	char *why;
};

static int
peer_load(void *arg, const char *file)
{
	struct loading *loading = arg;
	struct state *s = loading->state;
	const size_t suffix = sizeof(STATE_PEER_SUFFIX) - 1;
	size_t len = strlen(file);
	char name[NAMES_NODE_MAX + 1], path[STATE_PATH_MAX];
	struct state_peer met;
	struct met *p;
	char *text;
	ssize_t n;

	/* What a crash left of a replacement is no record. */
	if (len <= suffix || strcmp(file + len - suffix, STATE_PEER_SUFFIX) != 0 || !names_node_ok(file, len - suffix))
		return 0;
	memcpy(name, file, len - suffix);
	name[len - suffix] = '\0';
	state_peer_path(name, path);
	n = disk_slurp(s->disk, path, STATE_TEXT_MAX, &text);
	if (n < 0)
		return (int)n;
	if (!peer_parse(text, &met)) {
		free(text);
		snprintf(loading->why, 200, "the file %s is damaged", path);
		return -EINVAL;
	}
	free(text);
	p = state_peer_add(s, name);
	if (!p)
		return -ENOMEM;
	p->met = met;
	return 0;
}

/* ------------------------------------------------------------- the folder -- */

int
state_lock(struct disk *folder)
{
	return disk_lock(folder, "lock");
}

int
state_open(struct loop *l, struct task_runner *runner, const char *path, const char *node, struct state **ret,
    char why[static 200])
{
	struct state *s = calloc(1, sizeof(*s));
	char detail[200] = "";
	int r;

	if (!s) {
		snprintf(why, 200, "out of memory");
		return -ENOMEM;
	}
	s->loop = l;
	s->runner = runner;
	snprintf(s->node, sizeof(s->node), "%s", node);
	hmap_init(&s->peers);
	list_init(&s->writes);
	loop_random(l, &s->seed, sizeof(s->seed));
	r = disk_open(path, true, &s->disk);
	if (r == -EPERM)
		snprintf(detail, sizeof(detail), "it must be the daemon's own user's, and closed to others: chmod 0700");
	if (r == 0)
		r = state_lock(s->disk);
	if (r == -EWOULDBLOCK) {
		r = -EBUSY;
		snprintf(detail, sizeof(detail), "another daemon uses it");
	}
	if (r == 0)
		r = node_read(s, node, detail);
	if (r == 0)
		r = disk_mkdir(s->disk, "peers");
	if (r == 0)
		r = disk_list(s->disk, "peers", peer_load, &(struct loading){ s, detail });
	if (r == 0)
		r = state_starts_begin(s, detail);
	if (r == 0) {
		*ret = s;
		return 0;
	}
	snprintf(why, 200, "state folder %.80s: %.100s", path, detail[0] ? detail : strerror(-r));
	state_close(s);
	return r;
}

void
state_close(struct state *s)
{
	struct hmap_node *n;

	if (!s)
		return;
	state_changes_done(s);
	while ((n = hmap_walk(&s->peers, NULL))) {
		hmap_remove(&s->peers, n);
		free(hmap_entry(n, struct met, node));
	}
	hmap_done(&s->peers);
	free(s->boots);
	disk_close(s->disk);
	free(s);
}

struct disk *
state_disk(const struct state *s)
{
	return s->disk;
}

const uint8_t *
state_store_id(const struct state *s)
{
	return s->store_id;
}

uint32_t
state_start_count(const struct state *s)
{
	return s->n_boots;
}

uint64_t
state_boot_id(const struct state *s)
{
	return s->boots[s->n_boots - 1];
}

bool
state_had_start(const struct state *s, uint32_t start_count, uint64_t boot_id)
{
	if (start_count == 0)
		return boot_id == 0;
	return start_count <= s->n_boots && s->boots[start_count - 1] == boot_id;
}

uint32_t
state_journal_start(const struct state *s)
{
	return s->journal_start;
}

int
state_mark_journal(struct state *s)
{
	int r = state_starts_mark(s);

	if (r == 0)
		s->journal_start = s->n_boots;
	return r;
}

/* ------------------------------------------------------------- who was met -- */

const struct state_peer *
state_met(const struct state *s, const char *peer)
{
	struct met *p = state_peer_find(s, peer);

	return p && p->met.start_count > 0 ? &p->met : NULL;
}

const char *
state_name_of(const struct state *s, const uint8_t store_id[static STATE_ID])
{
	for (struct hmap_node *n = hmap_walk(&s->peers, NULL); n; n = hmap_walk(&s->peers, n)) {
		const struct met *p = hmap_entry(n, struct met, node);

		if (p->met.start_count > 0 && memcmp(p->met.store_id, store_id, STATE_ID) == 0)
			return p->name;
	}
	return NULL;
}
