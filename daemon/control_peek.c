/* control_peek: the messages of a queue, as far as they could be read by now, as records of admin.proto. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "admin.pb-c.h"
#include "control_internal.h"

const char *
control_state_name(enum entry_state state, bool is_unread)
{
	static const char *const states[] = { [ENTRY_WAITING] = "waiting", [ENTRY_DELAYED] = "delayed", [ENTRY_HELD] = "in flight",
		[ENTRY_SYNCING] = "syncing", [ENTRY_LOADING] = "loading", [ENTRY_PARKED] = "parked" };

	return is_unread ? "on disk" : states[state];
}

/* False: it belongs onto the next page. */
static bool
add_message(struct control *c, const struct queue_seen *s)
{
	uint64_t now = loop_now_ms(c->src->core->loop);
	char id[48] = "", node[NAMES_NODE_MAX + 1] = "";
	struct wire_origin origin = { 0 };
	Connectd__V1__Peeked r;

	connectd__v1__peeked__init(&r);
	if (wire_unpack_origin(s->origin, &origin) == 0 && origin.node.len < sizeof(node) && origin.node.len > 0)
		memcpy(node, origin.node.data, origin.node.len);
	if (!s->is_unread) {
		snprintf(id, sizeof(id), "%016" PRIx64 "-%" PRIu64, origin.boot_id, s->counter);
		r.origin_proof = records_string(wire_proof_name(origin.proof));
	}
	r.sequence = s->seq;
	r.type = records_string(s->type);
	r.size = s->size;
	r.origin_node = node;
	r.origin_uid = origin.uid;
	r.age_ms = now > s->entered_ms ? now - s->entered_ms : 0;
	r.attempt = s->attempt;
	r.state = records_string(control_state_name((enum entry_state)s->state, s->is_unread));
	r.priority = records_string(wire_priority_name(s->priority));
	r.body.data = (uint8_t *)(uintptr_t)s->body.data;
	r.body.len = s->body.len;
	r.ttl_ms = s->expires_ms > now ? s->expires_ms - now : 0;
	r.id = id;
	r.reason = records_string(s->reason);
	return page_add(&c->page, &r.base);
}

static void
on_read(void *arg)
{
	control_wake(arg);
}

enum progress
control_peek(struct control *c, struct asker *a, struct request *rq)
{
	struct queue *q = control_find_queue(c, a, rq, rq->at.name);
	const struct queue_seen *seen;
	int r = 0;

	if (!q)
		return OVER;
	if (!rq->peek)
		rq->peek = queue_peek_new(router_queues(c->src->core->router), on_read, c);
	if (!rq->peek) {
		control_respond_error(a->client, rq->id, ENOMEM, "out of memory");
		return OVER;
	}
	while ((r = queue_peek_get(rq->peek, q, rq->at.left, &seen)) == 1 && add_message(c, seen)) {
		queue_peek_next(rq->peek);
		rq->at.left--;
	}
	if (r < 0 && c->page.len == 0)
		return r == -EBUSY ? BLOCKED : WAITS;
	control_respond(a->client, rq->id, r == 0, wire_bytes(c->page.data, c->page.len));
	return r == 0 ? OVER : r == 1 ? GOES_ON : r == -EBUSY ? BLOCKED : WAITS;
}
