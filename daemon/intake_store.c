/*
 * What the store keeps of a flow: who it is, so that its mark means something
 * after a restart. The mark itself is in the store's records of its messages.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "definition.h"
#include "intake_internal.h"

/*
 * version u8, kind u8 (0 a local program, 1 a peer), flags u8 (1 named),
 * priority u8, uid u32, epoch u64, store id 16 bytes; then three strings, each
 * with its length in one byte: peer, producer, queue.
 */
#define VERSION 1
#define FIXED 32
#define DEFINITION_MAX (FIXED + 3 + NAMES_NODE_MAX + INTAKE_PRODUCER_MAX + NAMES_DEST_MAX)

static size_t
encode(const struct intake_flow *fl, uint8_t ret[static DEFINITION_MAX])
{
	const struct intake_owner *who = &fl->book->owner;
	size_t len = FIXED;

	memset(ret, 0, FIXED);
	ret[0] = VERSION;
	ret[1] = who->is_peer;
	ret[2] = fl->named;
	ret[3] = (uint8_t)fl->priority;
	definition_put_number(ret + 4, who->uid, 4);
	definition_put_number(ret + 8, fl->epoch, 8);
	memcpy(ret + 16, who->store_id, sizeof(who->store_id));
	len += definition_put_string(ret + len, who->peer, strlen(who->peer));
	len += definition_put_string(ret + len, fl->producer, fl->producer_len);
	len += definition_put_string(ret + len, fl->queue, strlen(fl->queue));
	return len;
}

int
intake_definition_decode(struct store_bytes definition, struct intake_definition *ret)
{
	const uint8_t *p = definition.data;
	struct store_bytes rest;
	int len;

	if (definition.len < FIXED || p[0] != VERSION || p[1] > 1 || p[3] >= WIRE_PRIORITIES)
		return -EINVAL;
	*ret = (struct intake_definition){ .named = p[2] & 1, .priority = p[3], .epoch = definition_number(p + 8, 8) };
	ret->owner.is_peer = p[1];
	ret->owner.uid = (uint32_t)definition_number(p + 4, 4);
	memcpy(ret->owner.store_id, p + 16, sizeof(ret->owner.store_id));
	rest = (struct store_bytes){ p + FIXED, definition.len - FIXED };
	if (definition_string(&rest, NAMES_NODE_MAX, ret->owner.peer) < 0)
		return -EINVAL;
	len = definition_string(&rest, INTAKE_PRODUCER_MAX, ret->producer);
	if (len < 0 || definition_string(&rest, NAMES_DEST_MAX, ret->queue) < 0)
		return -EINVAL;
	ret->producer_len = (size_t)len;
	return 0;
}

int
intake_flow_define(struct intake_flow *fl)
{
	uint8_t definition[DEFINITION_MAX];
	size_t len = encode(fl, definition);
	struct store *s = fl->env->store;
	uint32_t number = fl->number ? fl->number : store_new_flow(s);
	int r = store_define_flow(s, number, (struct store_bytes){ definition, len });

	if (r == 0)
		fl->number = number;
	return r;
}

int
intake_flow_write_ahead(struct intake_flow *fl, struct wire_bytes more)
{
	const struct message *m = fl->partial;
	struct store *s = fl->env->store;

	if (!s || m->body_len <= store_piece_max(s) || !queue_keeps(fl->inlet.queue, (enum message_durability)m->durability))
		return 0;
	if (!fl->partial_body) {
		fl->partial_body = store_body_new(s);
		if (!fl->partial_body)
			return -ENOMEM;
	}
	queue_body_written(&fl->inlet, more.len);
	return store_body_append(fl->partial_body, more.data, more.len);
}

void
intake_flow_drop_ahead(struct intake_flow *fl)
{
	/* Without a store it has gone with that. */
	if (fl->env->store)
		store_body_drop(fl->partial_body);
	fl->partial_body = NULL;
}

int
intake_restore(struct intake_env *env, struct intake_book *b, const struct intake_definition *d, uint32_t number, uint64_t mark,
    struct sender **ret)
{
	struct wire_bytes producer = wire_bytes(d->producer, d->producer_len);
	struct intake_flow *fl = intake_flow_find(env, b, producer, d->queue, d->priority);
	int r = fl ? 0 : intake_flow_new(env, b, producer, d->queue, d->priority, &fl);

	if (r < 0)
		return r;
	fl->number = number;
	intake_flow_name(fl, d->named);
#ifndef PLANT_ZOMBIE_PRODUCER
	fl->epoch = d->epoch;
#endif
	fl->in.mark = fl->in.confirmed = fl->stored = mark;
	intake_flow_linger(fl);
	*ret = &fl->sender;
	return 0;
}
