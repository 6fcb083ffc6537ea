/*
 * conf_print: the settings in force, and the commented example.
 */
#include <string.h>

#include "conf_impl.h"

static void
print_header(enum conf_kind kind, const char *name, FILE *out)
{
	if (kind == CONF_NODE)
		fprintf(out, "[%s]\n", conf_kind_name(kind));
	else
		fprintf(out, "\n[%s \"%s\"]\n", conf_kind_name(kind), name);
}

static void
print_section(const struct conf_section *s, FILE *out)
{
	size_t n;
	const struct conf_key *k = conf_keys(s->kind, &n);

	print_header(s->kind, s->name, out);
	for (size_t i = 0; i < n; i++) {
		if (k[i].type == CONF_TYPE_INCLUDE)
			continue; /* what it brought is here */
		fprintf(out, "%s = ", k[i].name);
		conf_value_print(&k[i], &s->u, out);
		fputc('\n', out);
	}
}

/* Every key, with the value that the section's queues get. s NULL: [queue "*"], not in the file. */
static void
print_queue(const struct conf *c, const struct conf_section *s, FILE *out)
{
	size_t n;
	const struct conf_key *k = conf_keys(CONF_QUEUE, &n);

	print_header(CONF_QUEUE, s ? s->name : "*", out);
	for (size_t i = 0; i < n; i++) {
		fprintf(out, "%s = ", k[i].name);
		conf_value_print(&k[i], &conf_queue_source(c, s, &k[i])->u, out);
		fputc('\n', out);
	}
}

void
conf_print(const struct conf *c, FILE *out)
{
	print_section(c->sections[CONF_NODE][0], out);
	for (size_t i = 0; i < c->n[CONF_LISTEN]; i++)
		print_section(c->sections[CONF_LISTEN][i], out);
	for (size_t i = 0; i < c->n[CONF_PEER]; i++)
		print_section(c->sections[CONF_PEER][i], out);
	for (size_t i = 0; i < c->n[CONF_QUEUE]; i++)
		print_queue(c, c->sections[CONF_QUEUE][i], out);
	if (!conf_section_find(c, CONF_QUEUE, "*"))
		print_queue(c, NULL, out);
}

/* --------------------------------------------------------------- example -- */

#define COLUMNS 78

/* Words, wrapped, as comment lines. */
static void
print_comment(const char *text, FILE *out)
{
	size_t column = 0;

	while (*text) {
		size_t len = strcspn(text, " ");

		if (column && column + 1 + len > COLUMNS) {
			fputc('\n', out);
			column = 0;
		}
		fputs(column ? " " : "# ", out);
		column += (column ? 1 : 2) + len;
		fwrite(text, 1, len, out);
		text += len;
		text += *text == ' ';
	}
	fputc('\n', out);
}

static void
print_example_key(const struct conf_key *k, FILE *out)
{
	char range[CONF_WHY_MAX], line[2 * CONF_WHY_MAX];
	const char *hash = k->type == CONF_TYPE_NODE_NAME ? "" : "#";

	fputc('\n', out);
	print_comment(k->help, out);
	conf_value_range(k, range, sizeof(range));
	snprintf(line, sizeof(line), "(%s)", range);
	print_comment(line, out);
	if (k->def && k->sample)
		fprintf(out, "# For example: %s\n", k->sample);
	fprintf(out, "%s%s = %s\n", hash, k->name, k->def ? k->def : k->sample);
}

static void
print_example_section(enum conf_kind kind, FILE *out)
{
	size_t n;
	const struct conf_key *k = conf_keys(kind, &n);

	for (size_t i = 0; i < n; i++)
		print_example_key(&k[i], out);
}

void
conf_print_example(FILE *out)
{
	print_comment("Configuration of connectd; see connectd.conf(5). Every setting is here with its default, commented "
	              "out, but for the name of the node, which must be set. Check a changed file with connectd -n.",
	    out);
	fputs("\n[node]\n", out);
	print_example_section(CONF_NODE, out);
	fputs("\n", out);
	print_comment("Sockets on which peers are accepted, each with a name of its own.", out);
	fputs("#[listen \"lan\"]\n", out);
	print_example_section(CONF_LISTEN, out);
	fputs("\n", out);
	print_comment("Other nodes that this one may talk to, by their names.", out);
	fputs("#[peer \"berlin\"]\n", out);
	print_example_section(CONF_PEER, out);
	fputs("\n", out);
	print_comment("Queues: NAME is one here, NODE/NAME the one in which messages for another node wait. Names may hold "
	              "*, which stands for any bytes. A queue gets its settings from the section whose name has most bytes "
	              "in common with its own, then from [queue \"*\"], then the defaults.",
	    out);
	fputs("#[queue \"*\"]\n", out);
	print_example_section(CONF_QUEUE, out);
}
