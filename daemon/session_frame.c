/*
 * session_frame: what a frame that came in means to the session itself. What
 * only concerns the owner is handed on, if it may come now.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "session_internal.h"

static bool
keep_hello(struct session *s, const struct wire_hello *h)
{
	struct wire_bytes *strings[] = { &s->hello.name, &s->hello.dialled, &s->hello.store_id, &s->hello.software };
	uint8_t *at;

	s->hello_bytes = malloc(h->name.len + h->dialled.len + h->store_id.len + h->software.len + 1);
	if (!s->hello_bytes)
		return false;
	s->hello = *h;
	at = s->hello_bytes;
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
		size_t len = strings[i]->len;

		if (len > 0)
			memcpy(at, strings[i]->data, len);
		*strings[i] = wire_bytes(at, len);
		at += len;
	}
	return true;
}

static void
take_hello(struct session *s, const struct wire_hello *h)
{
	if (s->has_hello)
		session_refuse(s, WIRE_CLOSE_PROTOCOL, "a second Hello");
	else if (h->magic != WIRE_MAGIC)
		session_refuse(
		    s, WIRE_CLOSE_PROTOCOL, "a Hello with a wrong magic number: this is not connectd's protocol");
	else if (h->version_min > WIRE_VERSION || h->version_max < WIRE_VERSION)
		session_refuse(s, WIRE_CLOSE_UNSUPPORTED, "protocol versions %u to %u are spoken there, %u here",
		    h->version_min, h->version_max, WIRE_VERSION);
	else if (!keep_hello(s, h))
		session_lost(s, WIRE_CLOSE_INTERNAL, -ENOMEM, "out of memory");
	else {
		s->has_hello = true;
		session_greeted(s);
	}
}

static void
take_define(struct session *s, const struct wire_define *d)
{
	struct message_store *ms = s->env->messages;
	bool is_type = d->kind == WIRE_DEFINE_TYPE;
	struct intern_entry *e;
	int r;

	if (!is_type && d->kind != WIRE_DEFINE_ORIGIN) {
		session_refuse(s, WIRE_CLOSE_PROTOCOL, "a dictionary entry of unknown kind %u", d->kind);
		return;
	}
	if (d->id == 0 || d->id > WIRE_DICTIONARY) {
		session_refuse(
		    s, WIRE_CLOSE_PROTOCOL, "dictionary id %u is not within 1 to %u", d->id, WIRE_DICTIONARY);
		return;
	}
	if (is_type && d->value.len > WIRE_TYPE_MAX) {
		session_refuse(s, WIRE_CLOSE_PROTOCOL, "a type URL above %u bytes", WIRE_TYPE_MAX);
		return;
	}
	if (!is_type && !s->origin_filter) {
		session_refuse(s, WIRE_CLOSE_PROTOCOL, "only daemons may define origins");
		return;
	}
	if (is_type) {
		e = intern_get(&ms->types, d->value);
		r = e ? 0 : -ENOMEM;
	} else {
		r = s->origin_filter(s->arg, d->value, &e);
	}
	/* The filter may have ended s. Whatever it gave is kept, and released with s. */
	if (r < 0) {
		if (r == -ENOMEM)
			session_lost(s, WIRE_CLOSE_INTERNAL, r, "out of memory");
		else
			session_refuse(s, WIRE_CLOSE_PROTOCOL, "an origin that is malformed or not its to tell");
		return;
	}
	r = is_type ? dictionary_set(&s->types_in, &ms->types, d->id, e)
		    : dictionary_set(&s->origins_in, &ms->origins, d->id, e);
	if (r < 0)
		session_lost(s, WIRE_CLOSE_INTERNAL, r, "out of memory");
}

static void
take_close(struct session *s, const struct wire_close *c)
{
	enum wire_close_code code = c->code < WIRE_CLOSE_CODES ? (enum wire_close_code)c->code : WIRE_CLOSE_INTERNAL;

	session_ended(s, code, c->reason);
}

/* Frames that only concern the owner: may they come now? */
static bool
is_in_order(const struct session *s, enum wire_kind kind)
{
	if (s->state == SESSION_GREETED)
		return kind == WIRE_KNOWN || kind == WIRE_ACCEPT;
	return s->state == SESSION_OPEN;
}

static void
refuse_payload(struct session *s, int error)
{
	if (!s->has_hello)
		session_refuse(
		    s, WIRE_CLOSE_PROTOCOL, "the first frame is not a Hello: this is not connectd's protocol");
	else if (error == -EMSGSIZE)
		session_refuse(s, WIRE_CLOSE_TOO_LARGE, "a frame above the bound of its kind");
	else if (error == -EOPNOTSUPP)
		session_refuse(s, WIRE_CLOSE_UNSUPPORTED, "a frame that version %u does not know", WIRE_VERSION);
	else
		session_refuse(s, WIRE_CLOSE_PROTOCOL, "a malformed frame");
}

size_t
session_take_frame(struct session *s, struct wire_bytes payload)
{
	struct wire_frame f;
	int r = wire_unpack(payload.data, payload.len, &f);

	if (r < 0) {
		refuse_payload(s, r);
		return 1;
	}
	/* Refused before it greeted us, a dialler hears Close as the first word. */
	if (!s->has_hello && f.kind != WIRE_HELLO && f.kind != WIRE_CLOSE) {
		refuse_payload(s, -EBADMSG);
		return 1;
	}
	switch (f.kind) {
	case WIRE_HELLO:
		take_hello(s, &f.u.hello);
		return 1;
	case WIRE_CLOSE:
		take_close(s, &f.u.close);
		return 1;
	case WIRE_PING:
		session_out_pong(s, f.u.ping.token);
		return 1;
	case WIRE_PONG:
	case WIRE_NONE:
		return 1;
	default:
		break;
	}
	if (!is_in_order(s, f.kind)) {
		session_refuse(s, WIRE_CLOSE_PROTOCOL, "a %s frame before the session is open", wire_kind_name(f.kind));
		return 1;
	}
	if (f.kind == WIRE_DEFINE) {
		take_define(s, &f.u.define);
		return 1;
	}
	if (f.kind != WIRE_TRANSFER && f.kind != WIRE_DELIVER) {
		s->ev->frame(s->arg, &f);
		return 1;
	}
	s->stats.items_in += f.u.run.n_items;
	r = 1 + (int)f.u.run.n_items;
	s->ev->frame(s->arg, &f);
	return (size_t)r;
}
