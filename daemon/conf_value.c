/*
 * conf_value: the types of configuration values, as text and in memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "conf_impl.h"
#include "pin.h"
#include "units.h"

static void *
at(void *base, size_t offset)
{
	return (char *)base + offset;
}

/* --------------------------------------------------------------- numbers -- */

static int
parse_mode(const char *s, uint64_t *ret)
{
	uint64_t n = 0;

	if (*s == '\0' || strlen(s) > 5)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '7')
			return -EINVAL;
		n = n * 8 + (uint64_t)(*s - '0');
	}
	*ret = n;
	return 0;
}

static int
parse_number(enum conf_type type, const char *s, uint64_t *ret)
{
	switch (type) {
	case CONF_TYPE_SIZE:
		return units_size_parse(s, ret);
	case CONF_TYPE_DURATION:
		return units_duration_parse(s, ret);
	case CONF_TYPE_COUNT:
		return units_count_parse(s, ret);
	default:
		return parse_mode(s, ret);
	}
}

static const char *
number_text(enum conf_type type, uint64_t n, char buf[static UNITS_TEXT_MAX])
{
	switch (type) {
	case CONF_TYPE_SIZE:
		return units_size_text(n, buf);
	case CONF_TYPE_DURATION:
#ifdef PLANT_SECONDS_ONLY
		n = n < 1000 ? n : n / 1000 * 1000;
#endif
		return units_duration_text(n, buf);
	case CONF_TYPE_COUNT:
		return units_count_text(n, buf);
	default:
		snprintf(buf, UNITS_TEXT_MAX, "%04" PRIo64, n);
		return buf;
	}
}

static int
set_number(const struct conf_key *k, const char *text, uint64_t *ret, char why[static CONF_WHY_MAX])
{
	uint64_t n = 0;
	char range[CONF_WHY_MAX / 2];
	int r = parse_number(k->type, text, &n);

	conf_value_range(k, range, sizeof(range));
	if (r == -EINVAL)
		return conf_wrong(why, "%.60s is no %s (%s)", text,
		    k->type == CONF_TYPE_SIZE         ? "size, like 64K or 16M" :
		        k->type == CONF_TYPE_DURATION ? "duration, like 250ms, 10s or 1h" :
		        k->type == CONF_TYPE_COUNT    ? "number, like 1000 or 10K" :
		                                        "octal mode, like 0660",
		    range);
	if (r < 0 || n < k->min || n > k->max)
		return conf_wrong(why, "%.60s is out of range (%s)", text, range);
	*ret = n;
	return 0;
}

static int
set_word(const struct conf_key *k, const char *text, uint64_t *ret, char why[static CONF_WHY_MAX])
{
	char range[CONF_WHY_MAX / 2];

	for (const struct conf_word *w = k->words; w->name; w++)
		if (strcmp(w->name, text) == 0) {
			*ret = w->value;
			return 0;
		}
	conf_value_range(k, range, sizeof(range));
	return conf_wrong(why, "%.60s is not %s", text, range);
}

/* ----------------------------------------------------------------- texts -- */

/* A file in a folder: no way out of it, nothing hidden. */
static bool
is_plain_file(const char *text)
{
	return *text != '.' && strchr(text, '/') == NULL;
}

static int
set_text(const struct conf_key *k, const char *text, char **ret, char why[static CONF_WHY_MAX])
{
	char *copy;

	switch (k->type) {
	case CONF_TYPE_NODE_NAME:
		if (!names_node_ok(text, strlen(text)))
			return conf_wrong(why, "%.60s is no node name: a-z, 0-9, . and -, beginning with a letter or digit, at most %d bytes",
			    text, NAMES_NODE_MAX);
		break;
	case CONF_TYPE_STATE_PATH:
		if (*text != '/' && !is_plain_file(text))
			return conf_wrong(why, "%.60s is neither an absolute path nor the name of a file in the state folder", text);
		if (strlen(text) > k->max)
			return conf_wrong(why, "the path is longer than %" PRIu64 " bytes", k->max);
		break;
	case CONF_TYPE_PATH:
		if (*text != '/')
			return conf_wrong(why, "%.60s is no absolute path", text);
		if (strlen(text) > k->max)
			return conf_wrong(why, "the path is longer than %" PRIu64 " bytes", k->max);
		break;
	default:
		if (strcmp(text, k->def) == 0) {
			*ret = NULL;
			return 0;
		}
		if (!names_queue_ok(text, strlen(text)))
			return conf_wrong(why, "%.80s is neither a queue name nor %s", text, k->def);
		break;
	}
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

static int
set_group(const char *text, char **ret, uint32_t *ret_id, char why[static CONF_WHY_MAX])
{
	uint32_t id = 0;
	int r = conf_access_id(true, text, &id, why);
	char *copy;

	if (r < 0)
		return r;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	*ret = copy;
	*ret_id = id;
	return 0;
}

/* ----------------------------------------------------------------- lists -- */

static int
check_url(const char *text, char why[static CONF_WHY_MAX])
{
	struct names_url url;
	const char *reason;

	if (names_url_parse(text, &url, &reason) < 0)
		return conf_wrong(why, "%.100s: %s", text, reason);
	if (url.scheme != NAMES_TCP && url.scheme != NAMES_TLS && url.scheme != NAMES_SCTP && url.scheme != NAMES_DTLS_SCTP)
		return conf_wrong(why, "%.100s: this version carries tls://, dtls-sctp://, tcp:// and sctp:// only", text);
	return 0;
}

static int
set_urls(const char *text, struct conf_list *ret, char why[static CONF_WHY_MAX])
{
	struct conf_list list;
	int r = conf_list_split(text, &list, why);

	if (r < 0)
		return r;
	for (size_t i = 0; i < list.n && r == 0; i++)
		r = check_url(list.items[i], why);
	if (r < 0)
		conf_list_done(&list);
	else
		*ret = list;
	return r;
}

static int
set_networks(const char *text, struct conf_list *ret, struct names_cidr **ret_cidr, char why[static CONF_WHY_MAX])
{
	struct conf_list list;
	struct names_cidr *cidr;
	int r = conf_list_split(text, &list, why);

	if (r < 0)
		return r;
	cidr = calloc(list.n, sizeof(*cidr));
	if (!cidr)
		r = -ENOMEM;
	for (size_t i = 0; i < list.n && r == 0; i++) {
		r = names_cidr_parse(list.items[i], &cidr[i]);
		if (r < 0)
			conf_wrong(why, "%.60s is no address or network, like 192.0.2.7 or 192.0.2.0/24 (nothing may be set behind the prefix)",
			    list.items[i]);
	}
	if (r < 0) {
		conf_list_done(&list);
		free(cidr);
		return r;
	}
	*ret = list;
	*ret_cidr = cidr;
	return 0;
}

static int
set_pins(const char *text, struct conf_list *ret, uint8_t (**ret_pins)[PIN_BYTES], char why[static CONF_WHY_MAX])
{
	struct conf_list list;
	uint8_t (*pins)[PIN_BYTES];
	const char *reason;
	int r = conf_list_split(text, &list, why);

	if (r < 0)
		return r;
	pins = calloc(list.n, sizeof(*pins));
	if (!pins)
		r = -ENOMEM;
	for (size_t i = 0; i < list.n && r == 0; i++)
		if (pin_parse(list.items[i], pins[i], &reason) < 0)
			r = conf_wrong(why, "%.80s: %s; on the peer, connectctl key prints it", list.items[i], reason);
	if (r < 0) {
		conf_list_done(&list);
		free(pins);
		return r;
	}
	*ret = list;
	*ret_pins = pins;
	return 0;
}

/* ------------------------------------------------------------- all types -- */

union value {
	bool yes;
	uint64_t number;
	char *text;
	struct conf_list list;
	struct conf_access access;
};

/* What some types have beside their value. */
struct beside {
	uint32_t id;
	struct names_cidr *cidr;
	uint8_t (*pins)[PIN_BYTES];
};

/* Parse into v and what belongs to it. */
static int
parse_value(const struct conf_key *k, const char *text, union value *v, struct beside *b, char why[static CONF_WHY_MAX])
{
	if (k->none && strcmp(text, "none") == 0)
		return 0;
	switch (k->type) {
	case CONF_TYPE_BOOL:
		v->yes = strcmp(text, "yes") == 0;
		return v->yes || strcmp(text, "no") == 0 ? 0 : conf_wrong(why, "%.60s is neither yes nor no", text);
	case CONF_TYPE_SIZE:
	case CONF_TYPE_DURATION:
	case CONF_TYPE_COUNT:
	case CONF_TYPE_MODE:
		return set_number(k, text, &v->number, why);
	case CONF_TYPE_WORD:
		return set_word(k, text, &v->number, why);
	case CONF_TYPE_NODE_NAME:
	case CONF_TYPE_PATH:
	case CONF_TYPE_STATE_PATH:
	case CONF_TYPE_DEAD_LETTER:
		return set_text(k, text, &v->text, why);
	case CONF_TYPE_GROUP:
		return set_group(text, &v->text, &b->id, why);
	case CONF_TYPE_URLS:
		return set_urls(text, &v->list, why);
	case CONF_TYPE_NETWORKS:
		return set_networks(text, &v->list, &b->cidr, why);
	case CONF_TYPE_PINS:
		return set_pins(text, &v->list, &b->pins, why);
	case CONF_TYPE_ACCESS:
		return conf_access_parse(text, k->def, &v->access, why);
	case CONF_TYPE_INCLUDE:
		break;
	}
	return 0;
}

int
conf_value_parse(const struct conf_key *k, const char *text, void *base, char why[static CONF_WHY_MAX])
{
	struct beside b = { 0 };
	union value v;
	int r;

	if (*text == '\0')
		return conf_wrong(why, "there is no value");
	memset(&v, 0, sizeof(v));
	r = parse_value(k, text, &v, &b, why);
	if (r < 0)
		return r;
	conf_value_free(k, base);
	switch (k->type) {
	case CONF_TYPE_INCLUDE:
		break;
	case CONF_TYPE_BOOL:
		*(bool *)at(base, k->offset) = v.yes;
		break;
	case CONF_TYPE_SIZE:
	case CONF_TYPE_DURATION:
	case CONF_TYPE_COUNT:
	case CONF_TYPE_MODE:
	case CONF_TYPE_WORD:
		*(uint64_t *)at(base, k->offset) = v.number;
		break;
	case CONF_TYPE_GROUP:
		*(uint32_t *)at(base, k->also) = b.id;
		*(char **)at(base, k->offset) = v.text;
		break;
	case CONF_TYPE_NODE_NAME:
	case CONF_TYPE_PATH:
	case CONF_TYPE_STATE_PATH:
	case CONF_TYPE_DEAD_LETTER:
		*(char **)at(base, k->offset) = v.text;
		break;
	case CONF_TYPE_NETWORKS:
		*(struct names_cidr **)at(base, k->also) = b.cidr;
		*(struct conf_list *)at(base, k->offset) = v.list;
		break;
	case CONF_TYPE_PINS:
		*(uint8_t (**)[PIN_BYTES])at(base, k->also) = b.pins;
		*(struct conf_list *)at(base, k->offset) = v.list;
		break;
	case CONF_TYPE_URLS:
		*(struct conf_list *)at(base, k->offset) = v.list;
		break;
	case CONF_TYPE_ACCESS:
		*(struct conf_access *)at(base, k->offset) = v.access;
		break;
	}
	return 0;
}

void
conf_value_free(const struct conf_key *k, void *base)
{
	char **text;

	switch (k->type) {
	case CONF_TYPE_NODE_NAME:
	case CONF_TYPE_PATH:
	case CONF_TYPE_STATE_PATH:
	case CONF_TYPE_DEAD_LETTER:
	case CONF_TYPE_GROUP:
		text = at(base, k->offset);
		free(*text);
		*text = NULL;
		break;
	case CONF_TYPE_NETWORKS:
	case CONF_TYPE_PINS: {
		void *beside;

		memcpy(&beside, at(base, k->also), sizeof(beside));
		free(beside);
		memset(at(base, k->also), 0, sizeof(beside));
		conf_list_done(at(base, k->offset));
		break;
	}
	case CONF_TYPE_URLS:
		conf_list_done(at(base, k->offset));
		break;
	case CONF_TYPE_ACCESS:
		conf_access_done(at(base, k->offset));
		break;
	default:
		break;
	}
}

/* -------------------------------------------------------------- printing -- */

static void
print_number(const struct conf_key *k, uint64_t n, FILE *out)
{
	char buf[UNITS_TEXT_MAX];

	if (n == 0 && k->none)
		fputs("none", out);
	else
		fputs(number_text(k->type, n, buf), out);
}

static void
print_word(const struct conf_key *k, uint64_t n, FILE *out)
{
	const struct conf_word *w = k->words;

	while (w->value != n)
		w++;
	fputs(w->name, out);
}

static void
print_list(const struct conf_list *list, FILE *out)
{
	if (list->n == 0)
		fputs("none", out);
	for (size_t i = 0; i < list->n; i++)
		fprintf(out, "%s%s", i ? ", " : "", list->items[i]);
}

void
conf_value_print(const struct conf_key *k, const void *base, FILE *out)
{
	const void *v = (const char *)base + k->offset;
	const char *text;

	switch (k->type) {
	case CONF_TYPE_INCLUDE:
		break;
	case CONF_TYPE_BOOL:
		fputs(*(const bool *)v ? "yes" : "no", out);
		break;
	case CONF_TYPE_SIZE:
	case CONF_TYPE_DURATION:
	case CONF_TYPE_COUNT:
	case CONF_TYPE_MODE:
		print_number(k, *(const uint64_t *)v, out);
		break;
	case CONF_TYPE_WORD:
		print_word(k, *(const uint64_t *)v, out);
		break;
	case CONF_TYPE_NODE_NAME:
	case CONF_TYPE_PATH:
	case CONF_TYPE_STATE_PATH:
	case CONF_TYPE_DEAD_LETTER:
	case CONF_TYPE_GROUP:
		text = *(char *const *)v;
		fputs(text ? text : k->def, out);
		break;
	case CONF_TYPE_URLS:
	case CONF_TYPE_NETWORKS:
	case CONF_TYPE_PINS:
		print_list(v, out);
		break;
	case CONF_TYPE_ACCESS:
		conf_access_print(v, k->def, out);
		break;
	}
}

/* ----------------------------------------------------------------- range -- */

static void
words_text(const struct conf_word *w, char *buf, size_t size)
{
	size_t len = 0;

	for (; w->name && len < size; w++) {
		int n = snprintf(buf + len, size - len, "%s%s", len == 0 ? "" : w[1].name ? ", " : " or ", w->name);

		len += n > 0 ? (size_t)n : 0;
	}
}

void
conf_value_range(const struct conf_key *k, char *buf, size_t size)
{
	static const char *const texts[] = {
		[CONF_TYPE_INCLUDE] = "a path",
		[CONF_TYPE_BOOL] = "yes or no",
		[CONF_TYPE_NODE_NAME] = "a node name",
		[CONF_TYPE_DEAD_LETTER] = "a queue name",
		[CONF_TYPE_GROUP] = "a group",
		[CONF_TYPE_URLS] = "a list of addresses",
		[CONF_TYPE_NETWORKS] = "a list of networks",
		[CONF_TYPE_PINS] = "a list of fingerprints",
		[CONF_TYPE_ACCESS] = "a list, none or default",
	};
	const char *or_none = k->none ? ", or none" : "";
	char from[UNITS_TEXT_MAX], to[UNITS_TEXT_MAX];

	switch (k->type) {
	case CONF_TYPE_SIZE:
	case CONF_TYPE_DURATION:
	case CONF_TYPE_COUNT:
	case CONF_TYPE_MODE:
		snprintf(buf, size, "%s to %s%s", number_text(k->type, k->min, from), number_text(k->type, k->max, to), or_none);
		break;
	case CONF_TYPE_WORD:
		words_text(k->words, buf, size);
		break;
	case CONF_TYPE_PATH:
		snprintf(buf, size, "an absolute path, at most %" PRIu64 " bytes", k->max);
		break;
	case CONF_TYPE_STATE_PATH:
		snprintf(buf, size, "an absolute path, or a file in the state folder%s", or_none);
		break;
	default:
		snprintf(buf, size, "%s%s", texts[k->type], or_none);
		break;
	}
}

bool
conf_value_is_list(const struct conf_key *k)
{
	return k->type == CONF_TYPE_URLS || k->type == CONF_TYPE_NETWORKS || k->type == CONF_TYPE_PINS || k->type == CONF_TYPE_ACCESS;
}
