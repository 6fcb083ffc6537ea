/*
 * out_text: answers for people. An object is a block of aligned lines; lists
 * are tables that show the columns worth a glance (JSON has every field).
 * Bytes from elsewhere never reach the terminal as control characters.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "text.h"
#include "units.h"

#define PATH_MAX_LEN 128
#define COLUMNS_MAX 16
#define CELL_MAX 100     /* characters shown of a text */
#define PREVIEW_MAX 40   /* characters shown of a body */

struct column {
	const char *head;
	const char *path; /* "counters.accepted" */
	int width;        /* in a stream, where rows cannot be aligned afterwards */
	const char *better; /* shown instead where it is there */
};

static const struct {
	const char *type;
	struct column columns[COLUMNS_MAX];
} tables[] = {
	{ "Queue", { { "QUEUE", "name", 0, NULL }, { "WAITING", "waiting", 0, NULL }, { "IN FLIGHT", "in_flight", 0, NULL },
	    { "SIZE", "bytes", 0, NULL }, { "OLDEST", "oldest", 0, NULL }, { "HELD", "held", 0, NULL }, { "ORPHAN", "orphan", 0, NULL },
	    { "CONSUMERS", "consumers", 0, NULL },
	    { "ACCEPTED", "counters.accepted", 0, NULL }, { "CONSUMED", "counters.consumed", 0, NULL },
	    { "FORWARDED", "counters.forwarded", 0, NULL }, { "EXPIRED", "counters.expired", 0, NULL },
	    { "DEAD", "counters.dead", 0, NULL }, { "REJECTED", "counters.rejected", 0, NULL } } },
	{ "Peer", { { "PEER", "name", 0, NULL }, { "STATE", "state", 0, NULL }, { "SINCE", "since", 0, NULL },
	    { "ADDRESS", "address", 0, NULL }, { "PROOF", "proof", 0, NULL }, { "WAITING", "waiting", 0, NULL },
	    { "UNCONFIRMED", "unconfirmed", 0, NULL }, { "SENT", "sent_messages", 0, NULL },
	    { "RECEIVED", "received_messages", 0, NULL }, { "RETRY IN", "retry_in", 0, NULL },
	    { "LAST ERROR", "last_error", 0, NULL }, { "WARNING", "warning", 0, NULL } } },
	{ "Client", { { "PID", "pid", 0, NULL }, { "UID", "uid", 0, NULL }, { "UNIT", "unit", 0, NULL },
	    { "APPLICATION", "application", 0, NULL }, { "SINCE", "since", 0, NULL }, { "FLOWS", "flows", 0, NULL },
	    { "SUBSCRIPTIONS", "subscriptions", 0, NULL }, { "UNACKED", "unacked", 0, NULL },
	    { "SENT", "sent_messages", 0, NULL }, { "RECEIVED", "received_messages", 0, NULL } } },
	{ "Event", { { "TIME", "time", 24, NULL }, { "KIND", "kind", 7, NULL }, { "NAME", "name", 16, NULL },
	    { "CHANGE", "change", 10, NULL }, { "TEXT", "text", 0, NULL } } },
	{ "Peeked", { { "NUMBER", "sequence", 0, NULL }, { "STATE", "state", 0, NULL }, { "AGE", "age", 0, NULL },
	    { "SIZE", "size", 0, NULL }, { "PRIORITY", "priority", 0, NULL }, { "ATTEMPT", "attempt", 0, NULL },
	    { "ORIGIN", "origin_node", 0, NULL }, { "UID", "origin_uid", 0, NULL }, { "TYPE", "type", 0, NULL },
	    { "REASON", "reason", 0, NULL }, { "BODY", "body", 0, "text" } } },
	{ "Producer", { { "PRODUCER", "name", 0, NULL }, { "QUEUE", "queue", 0, NULL }, { "UID", "uid", 0, NULL },
	    { "USER", "user", 0, NULL }, { "OPEN", "open", 0, NULL }, { "SINCE", "since", 0, NULL }, { "LAST", "mark", 0, NULL },
	    { "EPOCH", "epoch", 0, NULL }, { "PRIORITY", "priority", 0, NULL }, { "WAITING", "waiting", 0, NULL },
	    { "KEPT", "kept", 0, NULL } } },
	{ "Synced", { { "WRITE", "size", 0, NULL }, { "SYNCS A SECOND", "syncs_per_second", 0, NULL }, { "MEDIAN", "median", 0, NULL },
	    { "99 %", "p99", 0, NULL }, { "WORST", "max", 0, NULL }, { "BYTES A SECOND", "bytes_per_second", 0, NULL } } },
	{ "Limit", { { "LIMIT", "name", 0, NULL }, { "USED", "used", 0, NULL }, { "MAX", "max", 0, NULL } } },
	{ "Closed", { { "SESSION", "kind", 0, NULL }, { "CLOSED FOR", "reason", 0, NULL }, { "COUNT", "count", 0, NULL } } },
	{ "", { { NULL, NULL, 0, NULL } } }, /* plain values: one column without a head */
};

struct cell {
	char *text;
	bool right; /* numbers */
};

struct row {
	struct cell cells[COLUMNS_MAX];
};

struct rows {
	struct row *rows;
	size_t n, room;
};

enum where { TOP, LIST, ROW };

struct text {
	struct out out;
	enum where where;
	bool stream;
	char path[PATH_MAX_LEN]; /* of nested objects, each with a `.` behind */
	unsigned deeper;         /* lists inside a row are not shown: how deep we are in one */
	const struct column *columns;
	char *title;
	struct rows pairs, table;
	/* Tables of the one answer, printed below its lines. */
	FILE *below;
	char *below_text;
	size_t below_len;
};

static size_t
columns_count(const struct column *c)
{
	size_t n = 0;

	while (n < COLUMNS_MAX && c[n].head != NULL)
		n++;
	return n;
}

/* Out of memory while answering a person: nothing better to do than to stop. */
static void *
must(void *p)
{
	if (p == NULL) {
		fputs("connectctl: out of memory\n", stderr);
		exit(1);
	}
	return p;
}

static struct row *
rows_add(struct rows *r)
{
	if (r->n == r->room) {
		r->room = r->room > 0 ? 2 * r->room : 16;
		r->rows = must(realloc(r->rows, r->room * sizeof(*r->rows)));
	}
	memset(&r->rows[r->n], 0, sizeof(*r->rows));
	return &r->rows[r->n++];
}

static void
rows_clear(struct rows *r)
{
	for (size_t i = 0; i < r->n; i++)
		for (size_t k = 0; k < COLUMNS_MAX; k++)
			free(r->rows[i].cells[k].text);
	free(r->rows);
	*r = (struct rows){ NULL, 0, 0 };
}

/* Characters, as a terminal counts most of them. */
static int
width(const char *s)
{
	int n = 0;

	for (; *s != '\0'; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

static void
pad(FILE *f, int n)
{
	for (; n > 0; n--)
		putc(' ', f);
}

static void
print_rows(FILE *f, const struct rows *r, const struct column *heads, size_t n, const char *indent)
{
	int widths[COLUMNS_MAX] = { 0 };
	bool right[COLUMNS_MAX] = { false };

	for (size_t k = 0; k < n; k++) {
		if (heads != NULL)
			widths[k] = width(heads[k].head);
		for (size_t i = 0; i < r->n; i++) {
			const struct cell *c = &r->rows[i].cells[k];
			int w = c->text != NULL ? width(c->text) : 0;

			right[k] |= c->right;
			if (w > widths[k])
				widths[k] = w;
		}
	}
	for (size_t i = heads != NULL ? 0 : 1; i <= r->n; i++) {
		fputs(indent, f);
		for (size_t k = 0; k < n; k++) {
			const char *s = i == 0 ? heads[k].head : r->rows[i - 1].cells[k].text;
			int gap = widths[k] - width(s != NULL ? s : "");

			if (right[k])
				pad(f, gap);
			fputs(s != NULL ? s : "", f);
			if (k + 1 < n)
				pad(f, (right[k] ? 0 : gap) + 2);
		}
		putc('\n', f);
	}
}

/* --------------------------------------------------------------- values */

static void
print_nanos(FILE *f, uint64_t ns)
{
	if (ns < 1000000)
		fprintf(f, "%.1f us", (double)ns / 1e3);
	else if (ns < 1000000000)
		fprintf(f, "%.2f ms", (double)ns / 1e6);
	else
		fprintf(f, "%.2f s", (double)ns / 1e9);
}

static struct cell
text_cell(const struct out_value *v)
{
	char buf[UNITS_TEXT_MAX], *s = NULL;
	size_t len;
	FILE *f = must(open_memstream(&s, &len));

	switch (v->kind) {
	case OUT_TEXT:
		text_safe(f, v->data, v->len, CELL_MAX);
		break;
	case OUT_BYTES:
		text_safe(f, v->data, v->len, PREVIEW_MAX);
		break;
	case OUT_BOOL:
		fputs(v->number != 0 ? "yes" : "no", f);
		break;
	case OUT_NUMBER:
		fprintf(f, "%" PRIu64, v->number);
		break;
	case OUT_SIZE:
		fputs(units_size_human(v->number, buf), f);
		break;
	case OUT_TIME:
		fputs(v->number != 0 ? units_time_text(v->number, buf) : "-", f);
		break;
	case OUT_DURATION:
		fputs(v->number != 0 ? units_duration_human(v->number, buf) : "-", f);
		break;
	case OUT_NANOS:
		print_nanos(f, v->number);
		break;
	case OUT_REAL:
		fprintf(f, "%.1f", v->real);
		break;
	case OUT_NONE:
		putc('-', f);
		break;
	}
	/* Whose last allocation fails closes all the same, and gives nothing. */
	if (fclose(f) != 0 || s == NULL)
		must(NULL);
	if (*s == '\0') {
		free(s);
		s = must(strdup("-"));
	}
	return (struct cell){ s, v->kind != OUT_TEXT && v->kind != OUT_BYTES && v->kind != OUT_BOOL && v->kind != OUT_TIME };
}

static void
text_value(struct out *o, const char *key, const struct out_value *v)
{
	struct text *t = (struct text *)o;
	char path[PATH_MAX_LEN + 64];
	struct row *r;

	if (t->deeper > 0)
		return;
	if (t->where == LIST) { /* a list of plain values */
		rows_add(&t->table)->cells[0] = text_cell(v);
		return;
	}
	snprintf(path, sizeof(path), "%s%s", t->path, key);
	if (t->where == TOP) {
		for (char *p = path; *p != '\0'; p++)
			if (*p == '.' || *p == '_')
				*p = ' ';
		r = rows_add(&t->pairs);
		r->cells[0].text = must(strdup(path));
		r->cells[1] = text_cell(v);
		r->cells[1].right = false;
		return;
	}
	r = &t->table.rows[t->table.n - 1];
	for (size_t k = 0; k < columns_count(t->columns); k++) {
		const struct column *c = &t->columns[k];

		if (strcmp(c->path, path) != 0 && (c->better == NULL || strcmp(c->better, path) != 0))
			continue;
		free(r->cells[k].text);
		r->cells[k] = text_cell(v);
	}
}

/* -------------------------------------------------------------- objects */

static void
text_begin(struct out *o, const char *key)
{
	struct text *t = (struct text *)o;
	size_t n = strlen(t->path);

	if (t->deeper > 0)
		return;
	if (key == NULL && t->where == LIST) {
		rows_add(&t->table);
		t->where = ROW;
	} else if (key != NULL) {
		snprintf(t->path + n, sizeof(t->path) - n, "%s.", key);
	}
}

static void
stream_row(struct text *t)
{
	const struct row *r = &t->table.rows[0];
	size_t n = columns_count(t->columns);

	for (size_t k = 0; k < n; k++) {
		const char *s = r->cells[k].text != NULL ? r->cells[k].text : "";

		fputs(s, t->out.file);
		if (k + 1 < n)
			pad(t->out.file, (t->columns[k].width > width(s) ? t->columns[k].width - width(s) : 0) + 2);
	}
	putc('\n', t->out.file);
	rows_clear(&t->table);
}

static void
text_end(struct out *o)
{
	struct text *t = (struct text *)o;
	size_t n = strlen(t->path);

	if (t->deeper > 0)
		return;
	if (n > 0) { /* leave the inner object: cut its key */
		for (n--; n > 0 && t->path[n - 1] != '.'; n--)
			;
		t->path[n] = '\0';
	} else if (t->where == ROW) {
		t->where = LIST;
		if (t->stream)
			stream_row(t);
	} else {
		print_rows(o->file, &t->pairs, NULL, 2, "");
		rows_clear(&t->pairs);
		if (fflush(t->below) != 0 || t->below_text == NULL)
			must(NULL);
		fwrite(t->below_text, 1, t->below_len, o->file);
	}
}

static void
use_columns(struct text *t, const char *type)
{
	size_t i = 0;

	while (tables[i].type[0] != '\0' && strcmp(tables[i].type, type) != 0)
		i++;
	t->columns = tables[i].columns;
}

static void
text_begin_list(struct out *o, const char *key, const char *type)
{
	struct text *t = (struct text *)o;

	if (t->deeper > 0 || t->where != TOP) {
		t->deeper++;
		return;
	}
	use_columns(t, type);
	t->where = LIST;
	t->title = must(strdup(key));
}

static void
text_end_list(struct out *o)
{
	struct text *t = (struct text *)o;
	size_t n = columns_count(t->columns);
	bool titled = t->pairs.n > 0;

	if (t->deeper > 0) {
		t->deeper--;
		return;
	}
	/* The only list of an answer shows its head even if empty; others are left out. */
	if (titled && t->table.n > 0)
		fprintf(t->below, "%s\n", t->title);
	if (!titled || t->table.n > 0)
		print_rows(t->below, &t->table, n > 0 ? t->columns : NULL, n > 0 ? n : 1, titled ? "  " : "");
	rows_clear(&t->table);
	free(t->title);
	t->title = NULL;
	t->where = TOP;
}

static void
text_begin_stream(struct out *o, const char *type)
{
	struct text *t = (struct text *)o;

	use_columns(t, type);
	t->where = LIST;
	t->stream = true;
}

static void
text_free(struct out *o)
{
	struct text *t = (struct text *)o;

	rows_clear(&t->pairs);
	rows_clear(&t->table);
	free(t->title);
	fclose(t->below);
	free(t->below_text);
	free(t);
}

static const struct output text_format = {
	.begin = text_begin,
	.end = text_end,
	.begin_list = text_begin_list,
	.end_list = text_end_list,
	.begin_stream = text_begin_stream,
	.value = text_value,
	.free = text_free,
};

struct out *
out_text_new(FILE *f)
{
	struct text *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->out = (struct out){ &text_format, f };
	t->below = open_memstream(&t->below_text, &t->below_len);
	if (t->below == NULL) {
		free(t);
		return NULL;
	}
	return &t->out;
}
