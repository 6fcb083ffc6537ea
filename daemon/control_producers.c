/* control_producers: named producers, in order of user, name, queue and priority. */
#include <stdlib.h>
#include <string.h>

#include "admin.pb-c.h"
#include "control_internal.h"

struct found {
	struct producer_key key;
	struct intake_producer p;
};

struct search {
	const struct cursor *at;
	struct found *all;
	size_t n, room;
	bool failed;
};

static int
compare_keys(const struct producer_key *a, const struct producer_key *b)
{
	int r = (a->uid > b->uid) - (a->uid < b->uid);

	if (r == 0)
		r = memcmp(a->name, b->name, a->name_len < b->name_len ? a->name_len : b->name_len);
	if (r == 0)
		r = (a->name_len > b->name_len) - (a->name_len < b->name_len);
	if (r == 0)
		r = strcmp(a->queue, b->queue);
	return r != 0 ? r : (a->priority > b->priority) - (a->priority < b->priority);
}

static int
compare(const void *a, const void *b)
{
	return compare_keys(&((const struct found *)a)->key, &((const struct found *)b)->key);
}

/* One that was not sent yet. */
static bool
collect(void *arg, const struct intake_producer *p)
{
	struct search *s = arg;
	struct producer_key key = { .uid = p->uid, .name_len = p->name.len, .priority = p->priority };

	memcpy(key.name, p->name.data, p->name.len);
	strcpy(key.queue, p->queue);
	if (s->at->done > 0 && compare_keys(&key, &s->at->producer) <= 0)
		return true;
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 64;
		struct found *more = realloc(s->all, room * sizeof(*more));

		s->failed = !more;
		if (!more)
			return false;
		s->all = more;
		s->room = room;
	}
	s->all[s->n++] = (struct found){ key, *p };
	return true;
}

static bool
collect_book(void *arg, struct intake_book *b)
{
	struct search *s = arg;

	intake_each_producer(b, collect, s);
	return !s->failed;
}

static bool
add_producer(const struct core *core, const struct found *f, struct page *pg)
{
	Connectd__V1__Producer r;
	char name[INTAKE_PRODUCER_MAX + 1], queue[NAMES_DEST_MAX + 1];

	connectd__v1__producer__init(&r);
	wire_text(f->p.name, name, sizeof(name));
	strcpy(queue, f->p.queue);
	r.name = name;
	r.queue = queue;
	r.uid = f->p.uid;
	r.priority = records_string(wire_priority_name(f->p.priority));
	r.epoch = f->p.epoch;
	r.mark = f->p.mark;
	r.open = f->p.is_open;
	r.since_unix_ms = records_unix_ms(core, f->p.since_ms);
	r.waiting = f->p.waiting;
	r.kept = f->p.is_kept;
	return page_add(pg, &r.base);
}

bool
records_producers(const struct control_sources *src, struct cursor *at, struct page *pg)
{
	struct search s = { .at = at };
	bool fits = true;

	clients_each_book(src->clients, collect_book, &s);
	if (s.n > 0)
		qsort(s.all, s.n, sizeof(*s.all), compare);
	for (size_t i = 0; i < s.n && at->left > 0 && fits; i++) {
		fits = add_producer(src->core, &s.all[i], pg);
		if (!fits)
			break;
		at->producer = s.all[i].key;
		at->done++;
		at->left--;
	}
	free(s.all);
	return fits;
}
