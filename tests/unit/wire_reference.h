/*
 * wire_reference: protobuf-c as the judge of wire. Compares what both made of
 * the same bytes through protobuf-c's reflection and a list of our own of what
 * each field is called here, so that no table of wire is trusted. Random cases
 * come from a seed and a number, which a failure prints.
 */
#ifndef WIRE_REFERENCE_H
#define WIRE_REFERENCE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connectd.pb-c.h"
#include "wire.h"

#define SEED 20261124u
#define BUFFER (64 * 1024)

#define FRAME (&connectd__v1__frame__descriptor)
#define N(array) (sizeof(array) / sizeof((array)[0]))

/* ------------------------------------------------------- who is who here -- */

static const struct member {
	const char *message, *field;
	size_t offset;
} members[] = {
#define A(message, field, type, member) { message, field, offsetof(struct wire_##type, member) },
#define M(message, type, member) A(message, #member, type, member)
	M("Hello", hello, magic) M("Hello", hello, version_min) M("Hello", hello, version_max) M("Hello", hello, features)
	M("Hello", hello, role) M("Hello", hello, name) M("Hello", hello, dialled) M("Hello", hello, store_id)
	M("Hello", hello, start_count) M("Hello", hello, boot_id) M("Hello", hello, nonce) M("Hello", hello, software)
	M("Hello", hello, limits) M("Hello", hello, idle_timeout_ms) M("Hello", hello, held_nonce)
	M("Hello", hello, held_dialled_by_me) M("Hello", hello, wall_clock_ms)
	M("Limits", limits, max_message) M("Limits", limits, max_flows) M("Limits", limits, max_subscriptions)
	M("Limits", limits, dictionary) M("Limits", limits, window)
	M("Known", known, start_count) M("Known", known, boot_id)
	M("Accept", accept, decision)
	M("Ping", ping, token)
	M("Pong", ping, token)
	M("Close", close, code) M("Close", close, reason)
	M("OpenFlow", open_flow, flow) M("OpenFlow", open_flow, address) M("OpenFlow", open_flow, priority)
	M("OpenFlow", open_flow, producer) M("OpenFlow", open_flow, named) M("OpenFlow", open_flow, instance)
	M("OpenFlow", open_flow, epoch) M("OpenFlow", open_flow, oldest_unsettled) M("OpenFlow", open_flow, highest_used)
	M("OpenFlow", open_flow, away_ms) M("OpenFlow", open_flow, known_boot)
	M("FlowState", flow_state, flow) M("FlowState", flow_state, verdict) M("FlowState", flow_state, reason)
	M("FlowState", flow_state, accepted) M("FlowState", flow_state, confirmed) M("FlowState", flow_state, epoch)
	M("FlowState", flow_state, durable) M("FlowState", flow_state, partial_number) M("FlowState", flow_state, partial_bytes)
	M("FlowState", flow_state, credit_messages) M("FlowState", flow_state, credit_bytes)
	M("FlowState", flow_state, confirm_level) M("FlowState", flow_state, waiting)
	M("Settled", settled, flow) M("Settled", settled, number) M("Settled", settled, close)
	A("Transfer", "flow", run, id) M("Transfer", run, first)
	M("Item", item, flags) M("Item", item, type) M("Item", item, origin) M("Item", item, ttl_ms)
	M("Item", item, not_before_ms) M("Item", item, attempt) M("Item", item, sub) M("Item", item, packed)
	M("Item", item, body) M("Item", item, offset) M("Item", item, total) M("Item", item, counter)
	M("Item", item, report_to) M("Item", item, features)
	M("Confirm", confirm, flow) M("Confirm", confirm, number) M("Confirm", confirm, level)
	M("Reject", reject, flow) M("Reject", reject, number) M("Reject", reject, code) M("Reject", reject, reason)
	M("Resume", resume, flow) M("Resume", resume, after)
	M("Abort", abort, flow) M("Abort", abort, number)
	M("Progress", progress, flow) M("Progress", progress, level) M("Progress", progress, ranges)
	M("Progress", progress, code) M("Progress", progress, reason)
	M("Subscribe", subscribe, subscription) M("Subscribe", subscribe, queue) M("Subscribe", subscribe, credit_messages)
	M("Subscribe", subscribe, credit_bytes) M("Subscribe", subscribe, exclusive) M("Subscribe", subscribe, types)
	M("Subscribed", subscribed, subscription) M("Subscribed", subscribed, verdict) M("Subscribed", subscribed, reason)
	M("Subscribed", subscribed, standby)
	A("Deliver", "subscription", run, id) M("Deliver", run, first)
	M("Ack", ack, ranges)
	M("Nack", nack, ranges) M("Nack", nack, action) M("Nack", nack, delay_ms) M("Nack", nack, reason)
	M("Unsubscribe", unsubscribe, subscription) M("Unsubscribe", unsubscribe, verdict) M("Unsubscribe", unsubscribe, reason)
	M("Credit", credit, flow) M("Credit", credit, subscription) M("Credit", credit, session) M("Credit", credit, messages)
	M("Credit", credit, bytes) M("Credit", credit, number)
	M("Define", define, kind) M("Define", define, id) M("Define", define, value)
	M("AdminRequest", admin_request, id) M("AdminRequest", admin_request, verb) M("AdminRequest", admin_request, name)
	M("AdminRequest", admin_request, limit) M("AdminRequest", admin_request, cancel) M("AdminRequest", admin_request, argument)
	M("AdminRequest", admin_request, uid) M("AdminRequest", admin_request, by_uid)
	M("AdminResponse", admin_response, id) M("AdminResponse", admin_response, last) M("AdminResponse", admin_response, error)
	M("AdminResponse", admin_response, reason) M("AdminResponse", admin_response, records)
	M("Origin", origin, node) M("Origin", origin, uid) M("Origin", origin, unit) M("Origin", origin, application)
	M("Origin", origin, proof) M("Origin", origin, boot_id)
	M("Packed", packed, correlation_id) M("Packed", packed, reply_to) M("Packed", packed, headers)
	M("Header", header, name) M("Header", header, value)
#undef M
#undef A
};

/* Where a field of protobuf-c lives in our struct. A field that is not listed fails here. */
static inline size_t
place(const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *f)
{
	static size_t last;

	for (size_t i = 0; i < N(members); i++) {
		const struct member *m = &members[(last + i) % N(members)];

		if (strcmp(m->field, f->name) == 0 && strcmp(m->message, d->short_name) == 0) {
			last = (size_t)(m - members) + 1;
			return m->offset;
		}
	}
	ck_abort_msg("%s.%s is in the specification only", d->short_name, f->name);
}

static inline bool
is_numbers(const ProtobufCFieldDescriptor *f)
{
	return f->label == PROTOBUF_C_LABEL_REPEATED && f->type != PROTOBUF_C_TYPE_MESSAGE;
}

static inline bool
is_items(const ProtobufCFieldDescriptor *f)
{
	return f->label == PROTOBUF_C_LABEL_REPEATED && f->type == PROTOBUF_C_TYPE_MESSAGE;
}

#define AT(type, base, offset) ((type *)(void *)((char *)(base) + (offset)))
#define READ(type, base, offset) (*(type const *)(const void *)((const char *)(base) + (offset)))

/* ---------------------------------------------------------- randomness -- */

static uint64_t random_state, current_case;
static const uint8_t *shown; /* what a failure prints */
static size_t shown_len;

static inline uint64_t
rnd(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static inline size_t
below(size_t n)
{
	return (size_t)(rnd() % n);
}

/* Numbers near the edges of varints, more than others. */
static inline uint64_t
number(void)
{
	return below(3) == 0 ? below(200) : rnd() >> below(64);
}

static inline void
start(uint64_t n)
{
	current_case = n;
	random_state = SEED + n * 0x1000003;
	rnd();
}

static inline void
require(bool ok, const char *what)
{
	char hex[2 * 300 + 1] = "";

	if (ok)
		return;
	for (size_t i = 0; i < shown_len && i < 300; i++)
		snprintf(hex + 2 * i, 3, "%02x", shown[i]);
	ck_abort_msg("seed %u case %llu: %s; %zu bytes: %s", SEED, (unsigned long long)current_case, what, shown_len, hex);
}

/* ----------------------------------------------------------- comparing -- */

static inline void
compare_bytes(const struct wire_bytes *w, const void *data, size_t len)
{
	require(w->len == len && (len == 0 || memcmp(w->data, data, len) == 0), "bytes differ");
}

static inline void
compare_field(const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *f, const ProtobufCMessage *msg,
    const void *w);

static inline void
compare(const ProtobufCMessageDescriptor *d, const ProtobufCMessage *msg, const void *base)
{
	for (unsigned i = 0; i < d->n_fields; i++)
		if (!is_items(&d->fields[i]))
			compare_field(d, &d->fields[i], msg, (const char *)base + place(d, &d->fields[i]));
}

static inline void
compare_field(const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *f, const ProtobufCMessage *msg, const void *w)
{
	static const struct wire_limits no_limits;
	bool absent = (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && READ(uint32_t, msg, f->quantifier_offset) != f->id;
	const void *p = (const char *)msg + f->offset;

	if (is_numbers(f)) {
		struct wire_numbers n = READ(struct wire_numbers, w, 0);
		const void *array = *(const void *const *)p;
		size_t count = READ(size_t, msg, f->quantifier_offset);
		uint64_t v;

		for (size_t i = 0; i < count; i++) {
			require(wire_number_next(&n, &v), "too few numbers");
			require(f->type == PROTOBUF_C_TYPE_UINT64 ? v == ((const uint64_t *)array)[i] :
			    (uint32_t)v == ((const uint32_t *)array)[i], "another number");
		}
		require(!wire_number_next(&n, &v) && n.len == 0, "too many numbers");
		return;
	}
	switch (f->type) {
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_ENUM:
		require(READ(uint32_t, w, 0) == (absent ? 0 : READ(uint32_t, p, 0)), f->name);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		require(READ(uint64_t, w, 0) == READ(uint64_t, p, 0), f->name);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		require(READ(bool, w, 0) == (!absent && READ(protobuf_c_boolean, p, 0)), f->name);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		compare_bytes(w, READ(ProtobufCBinaryData, p, 0).data, READ(ProtobufCBinaryData, p, 0).len);
		break;
	case PROTOBUF_C_TYPE_STRING: {
		struct wire_bytes b = READ(struct wire_bytes, w, 0);

		/* What protobuf-c hands out ends at the first NUL. */
		b.len = b.len == 0 ? 0 : strnlen((const char *)b.data, b.len);
		compare_bytes(&b, *(char *const *)p, strlen(*(char *const *)p));
		break;
	}
	case PROTOBUF_C_TYPE_MESSAGE:
		if (*(ProtobufCMessage *const *)p != NULL)
			compare(f->descriptor, *(ProtobufCMessage *const *)p, w);
		else
			require(memcmp(w, &no_limits, sizeof(no_limits)) == 0, "limits from nowhere");
		break;
	default:
		ck_abort_msg("%s.%s: no such type here", d->short_name, f->name);
	}
}

static inline void
compare_frame(const ProtobufCMessage *msg, const struct wire_frame *f)
{
	const ProtobufCFieldDescriptor *kind = protobuf_c_message_descriptor_get_field(FRAME, f->kind);
	const ProtobufCMessage *inner;
	const ProtobufCFieldDescriptor *items;
	struct wire_bytes walk;
	struct wire_item item;
	size_t n;

	require(READ(uint32_t, msg, FRAME->fields[0].quantifier_offset) == f->kind, "another kind");
	if (f->kind == WIRE_NONE)
		return;
	inner = READ(ProtobufCMessage *, msg, kind->offset);
	compare(kind->descriptor, inner, &f->u);
	if (f->kind != WIRE_TRANSFER && f->kind != WIRE_DELIVER)
		return;
	items = protobuf_c_message_descriptor_get_field(kind->descriptor, 3);
	n = READ(size_t, inner, items->quantifier_offset);
	require(f->u.run.n_items == n, "items counted otherwise");
	walk = f->u.run.items;
	for (size_t i = 0; i < n; i++) {
		require(wire_item_next(&walk, &item), "too few items");
		compare(items->descriptor, READ(ProtobufCMessage **, inner, items->offset)[i], &item);
	}
	require(!wire_item_next(&walk, &item), "too many items");
}

#endif
