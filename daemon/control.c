#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup.h"
#include "control_internal.h"

#define BLOCKED_MS 20 /* until what cannot go on for reasons of its own is looked at again */
#define PAGES_A_PASS 4 /* of answers, before others than those who ask have their turn */
#define LOOKS_A_PASS 256 /* at requests that turn out to have nothing to tell */
#define TEXT_MAX 300  /* bytes of an event's text */

static struct asker *
asker_find(const struct control *c, const struct client *client)
{
	struct hmap_node *n = hmap_find(&c->askers, hmap_hash_number((uintptr_t)client));

	return n ? hmap_entry(n, struct asker, node) : NULL; /* the hash is one to one */
}

static struct asker *
asker_get(struct control *c, struct client *client)
{
	struct asker *a = asker_find(c, client);

	if (a)
		return a;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->client = client;
	list_init(&a->requests);
	list_init(&a->full);
	if (hmap_add(&c->askers, &a->node, hmap_hash_number((uintptr_t)client)) < 0) {
		free(a);
		return NULL;
	}
	return a;
}

static void
request_free(struct control *c, struct asker *a, struct request *rq)
{
	if (rq->verb == WIRE_ADMIN_EVENTS)
		c->subscribers--;
	control_act_end(rq);
	queue_peek_free(rq->peek);
	free(rq->finding);
	list_remove(&rq->turn);
	list_remove(&rq->node);
	a->n--;
	free(rq->argument);
	free(rq);
}

void
control_respond(struct client *client, uint32_t id, bool last, struct wire_bytes records)
{
	session_send(client_session(client), &(struct wire_frame){
	    .kind = WIRE_ADMIN_RESPONSE, .u.admin_response = { .id = id, .last = last, .records = records } });
}

void
control_respond_error(struct client *client, uint32_t id, int error, const char *reason)
{
	session_send(client_session(client), &(struct wire_frame){ .kind = WIRE_ADMIN_RESPONSE,
	    .u.admin_response = { .id = id, .last = true, .error = error, .reason = wire_string(reason) } });
}

/* ------------------------------------------------------------------ events -- */

static uint64_t
oldest_event(const struct control *c)
{
	return c->n_events > CONTROL_EVENTS_MAX ? c->n_events - CONTROL_EVENTS_MAX : 0;
}

void
control_event(void *arg, const char *kind, const char *name, const char *change, const char *text)
{
	struct control *c = arg;
	struct event *ev = &c->events[c->n_events % CONTROL_EVENTS_MAX];
	char cut[TEXT_MAX + 1];

	if (c->subscribers == 0)
		return;
	snprintf(cut, sizeof(cut), "%s", text);
	free(ev->data);
	ev->data = records_event(loop_wall_ms(c->src->core->loop), kind, name, change, cut, &ev->len);
	c->n_events++;
	list_splice(&c->ready, &c->listening);
	loop_timer_start(&c->pump, 0);
}

/* A subscriber that was too slow is told how much it missed. */
static void
tell_lost(struct control *c, struct request *rq)
{
	uint64_t lost = oldest_event(c) - rq->next_event;
	char text[64];
	uint8_t *data;
	size_t len;

	snprintf(text, sizeof(text), "lost %llu events", (unsigned long long)lost);
	data = records_event(loop_wall_ms(c->src->core->loop), "daemon", c->src->core->node->name, "lost", text, &len);
	if (data) {
		memcpy(c->page.data + c->page.len, data, len);
		c->page.len += len;
		free(data);
	}
	rq->next_event += lost;
}

/* True: nothing more to tell for now. */
static bool
fill_events(struct control *c, struct request *rq)
{
	if (rq->next_event < oldest_event(c))
		tell_lost(c, rq);
	for (; rq->next_event < c->n_events; rq->next_event++) {
		const struct event *ev = &c->events[rq->next_event % CONTROL_EVENTS_MAX];

		if (!ev->data)
			continue;
		if (c->page.len + ev->len > PAGE_TARGET)
			return false;
		memcpy(c->page.data + c->page.len, ev->data, ev->len);
		c->page.len += ev->len;
	}
	return true;
}

/* ----------------------------------------------------------------- answers -- */

struct queue *
control_find_queue(struct control *c, const struct asker *a, const struct request *rq, const char *name)
{
	struct queue *q = NULL;
	const char *reason = "";
	enum wire_verdict v = router_find(c->src->core->router, client_subject(a->client), wire_string(name), &q, &reason);

	switch (v) {
	case WIRE_VERDICT_OK:
		return q;
	case WIRE_VERDICT_DENIED:
		log_limited(client_denied(a->client), "may not look at %s: %s", name, reason);
		control_respond_error(a->client, rq->id, EACCES, reason);
		break;
	case WIRE_VERDICT_NO_QUEUE:
		control_respond_error(a->client, rq->id, ENOENT, reason);
		break;
	default:
		control_respond_error(a->client, rq->id, EINVAL, reason);
		break;
	}
	return NULL;
}

/* One page of one answer. */
static enum progress
answer(struct control *c, struct asker *a, struct request *rq)
{
	const struct control_sources *src = c->src;
	bool last = true;

	if (rq->verb == WIRE_ADMIN_EVENTS && rq->next_event == c->n_events)
		return WAITS;
	if (session_room(client_session(a->client)) == 0)
		return FULL;
	c->page.len = 0;
	if (control_is_act(rq->verb))
		return control_act(c, a, rq);
	switch (rq->verb) {
	case WIRE_ADMIN_STATUS:
		last = records_status(src, &rq->at, &c->page);
		break;
	case WIRE_ADMIN_PEERS:
		last = records_peers(src, &rq->at, &c->page);
		break;
	case WIRE_ADMIN_QUEUES:
		last = records_queues(src, &rq->at, &c->page);
		break;
	case WIRE_ADMIN_CLIENTS:
		last = records_clients(src, &rq->at, &c->page);
		break;
	case WIRE_ADMIN_PRODUCERS:
		last = records_producers(src, &rq->at, &c->page);
		break;
	case WIRE_ADMIN_PEEK:
		return control_peek(c, a, rq);
	case WIRE_ADMIN_WHY:
		return control_why(c, a, rq);
	case WIRE_ADMIN_EVENTS:
		last = fill_events(c, rq);
		control_respond(a->client, rq->id, false, wire_bytes(c->page.data, c->page.len));
		return last ? WAITS : GOES_ON;
	default: /* refused when it came */
		return OVER;
	}
	control_respond(a->client, rq->id, last, wire_bytes(c->page.data, c->page.len));
	return last ? OVER : GOES_ON;
}

void
control_wake(struct control *c)
{
	list_splice(&c->ready, &c->waiting);
	if (!list_empty(&c->ready))
		loop_timer_start(&c->pump, 0);
}

void
control_synced(struct control *c)
{
	if (c->backup)
		backup_try(c->backup);
	control_wake(c);
}

void
control_writable(void *arg, struct client *client)
{
	struct control *c = arg;
	struct asker *a = asker_find(c, client);

	if (!a || list_empty(&a->full))
		return;
	list_splice(&c->ready, &a->full);
	loop_timer_start(&c->pump, 0);
}

static void
unblock(void *arg)
{
	struct control *c = arg;

	list_splice(&c->ready, &c->blocked);
	loop_timer_start(&c->pump, 0);
}

/* The next step of one request. True: that was work. */
static bool
step(struct control *c, struct request *rq)
{
	struct asker *a = rq->asker;

	list_remove(&rq->turn);
	switch (answer(c, a, rq)) {
	case FULL:
		list_append(&a->full, &rq->turn);
		return false;
	case BLOCKED:
		list_append(&c->blocked, &rq->turn);
		if (!c->unblock.armed)
			loop_timer_start(&c->unblock, BLOCKED_MS);
		return false;
	case WAITS:
		list_append(rq->verb == WIRE_ADMIN_EVENTS ? &c->listening : &c->waiting, &rq->turn);
		return false;
	case GOES_ON:
		list_append(&c->ready, &rq->turn);
		return true;
	case OVER:
		request_free(c, a, rq);
		return true;
	}
	return true;
}

/* Some pages of answers in turn; then others get theirs, however much is asked. */
static void
pump(void *arg)
{
	struct control *c = arg;
	struct list *node;

	for (unsigned pages = 0, looks = 0; pages < PAGES_A_PASS && looks < LOOKS_A_PASS && (node = list_first(&c->ready)) != NULL; looks++)
		pages += step(c, list_entry(node, struct request, turn));
	if (!list_empty(&c->ready))
		loop_timer_start(&c->pump, 0);
}

/* ---------------------------------------------------------------- requests -- */

static struct request *
request_find(const struct asker *a, uint32_t id)
{
	LIST_FOREACH (n, &a->requests) {
		struct request *rq = list_entry(n, struct request, node);

		if (rq->id == id)
			return rq;
	}
	return NULL;
}

static void
cancel(struct control *c, struct client *client, uint32_t id)
{
	struct asker *a = asker_find(c, client);
	struct request *rq = a ? request_find(a, id) : NULL;

	if (!rq)
		return; /* it was over before this came */
	request_free(c, a, rq);
	control_respond(client, id, true, wire_bytes(NULL, 0));
}

/* May this be asked? 0, or an errno and the reason. */
static int
judge(const struct asker *a, const struct wire_admin_request *req, const char **ret_reason)
{
	if (req->verb < WIRE_ADMIN_STATUS || req->verb > WIRE_ADMIN_WHY) {
		*ret_reason = "this version does not know that request";
		return ENOSYS;
	}
	if (req->name.len > NAMES_DEST_MAX || (req->name.len > 0 && memchr(req->name.data, 0, req->name.len))) {
		*ret_reason = "that is no name";
		return EINVAL;
	}
	if (req->argument.len > CONTROL_ARGUMENT_MAX || (req->argument.len > 0 && memchr(req->argument.data, 0, req->argument.len))) {
		*ret_reason = "an argument that is too long, or has a NUL in it";
		return EINVAL;
	}
	if (control_is_act((enum wire_admin_verb)req->verb) && !client_is_admin(a->client)) {
		*ret_reason = "only administrators may do that: root, the daemon's user, and members of its admin_group";
		log_limited(client_denied(a->client), "may not administer (verb %u): %s", req->verb, *ret_reason);
		return EACCES;
	}
	if (request_find(a, req->id)) {
		*ret_reason = "a request with this id is open";
		return EBUSY;
	}
	if (a->n == CONTROL_REQUESTS_MAX) {
		*ret_reason = "too many requests are open";
		return EBUSY;
	}
	return 0;
}

/* NULL: out of memory. */
static struct request *
request_new(const struct wire_admin_request *req)
{
	struct request *rq = calloc(1, sizeof(*rq));

	if (!rq)
		return NULL;
	rq->id = req->id;
	rq->verb = (enum wire_admin_verb)req->verb;
	rq->uid = req->uid;
	rq->by_uid = req->by_uid;
	if (req->name.len > 0)
		memcpy(rq->at.name, req->name.data, req->name.len);
	rq->at.left = req->limit ? req->limit : UINT64_MAX;
	if (rq->verb == WIRE_ADMIN_PEEK && rq->at.left > CONTROL_PEEK_MAX)
		rq->at.left = CONTROL_PEEK_MAX;
	if (req->argument.len == 0)
		return rq;
	rq->argument = strndup((const char *)req->argument.data, req->argument.len);
	if (rq->argument)
		return rq;
	free(rq);
	return NULL;
}

void
control_request(void *arg, struct client *client, const struct wire_admin_request *req)
{
	struct control *c = arg;
	struct asker *a;
	struct request *rq;
	const char *reason = "";
	int error;

	if (req->cancel) {
		cancel(c, client, req->id);
		return;
	}
	a = asker_get(c, client);
	error = a ? judge(a, req, &reason) : ENOMEM;
	rq = error == 0 ? request_new(req) : NULL;
	if (!rq) {
		control_respond_error(client, req->id, error ? error : ENOMEM, error && a ? reason : "out of memory");
		return;
	}
	rq->asker = a;
	list_append(&a->requests, &rq->node);
	list_append(rq->verb == WIRE_ADMIN_EVENTS ? &c->listening : &c->ready, &rq->turn);
	a->n++;
	if (rq->verb == WIRE_ADMIN_EVENTS) {
		c->subscribers++;
		rq->next_event = c->n_events;
		/* An empty page says that from now on nothing is missed. */
		control_respond(client, rq->id, false, wire_bytes(NULL, 0));
		return;
	}
	loop_timer_start(&c->pump, 0);
}

struct position {
	const struct client *client;
	uint64_t before;
};

static bool
seek(void *arg, struct client *c)
{
	struct position *p = arg;

	if (c == p->client)
		return false;
	p->before++;
	return true;
}

/* Lists of clients count by place: who had been told about moves up by one. */
static void
close_up(struct control *c, const struct client *client)
{
	struct position p = { client, 0 };
	bool found = false;

	for (struct hmap_node *n = hmap_walk(&c->askers, NULL); n; n = hmap_walk(&c->askers, n)) {
		LIST_FOREACH (l, &hmap_entry(n, struct asker, node)->requests) {
			struct request *rq = list_entry(l, struct request, node);

			if (rq->verb != WIRE_ADMIN_CLIENTS || rq->at.done == 0)
				continue;
			if (!found)
				clients_each(c->src->clients, seek, &p);
			found = true;
			if (p.before < rq->at.done)
				rq->at.done--;
		}
	}
}

static void
asker_free(struct control *c, struct asker *a)
{
	LIST_FOREACH_SAFE (n, &a->requests)
		request_free(c, a, list_entry(n, struct request, node));
	hmap_remove(&c->askers, &a->node);
	free(a);
}

void
control_client_ended(void *arg, struct client *client)
{
	struct control *c = arg;
	struct asker *a = asker_find(c, client);

	if (a)
		asker_free(c, a);
	close_up(c, client);
}

struct control *
control_new(const struct control_sources *src)
{
	struct control *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->src = src;
	hmap_init(&c->askers);
	list_init(&c->ready);
	list_init(&c->blocked);
	list_init(&c->waiting);
	list_init(&c->listening);
	loop_timer_init(&c->pump, src->core->loop, pump, c);
	loop_timer_init(&c->unblock, src->core->loop, unblock, c);
	return c;
}

void
control_stop(struct control *c)
{
	if (!c)
		return;
	c->backup_act = NULL;
	backup_free(c->backup);
	c->backup = NULL;
}

void
control_free(struct control *c)
{
	struct hmap_node *n;

	if (!c)
		return;
	loop_timer_stop(&c->pump);
	loop_timer_stop(&c->unblock);
	while ((n = hmap_walk(&c->askers, NULL)))
		asker_free(c, hmap_entry(n, struct asker, node));
	hmap_done(&c->askers);
	for (size_t i = 0; i < CONTROL_EVENTS_MAX; i++)
		free(c->events[i].data);
	free(c);
}
