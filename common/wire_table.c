#include "wire_table.h"

#define FIELD(number, kind, type, member) { number, WIRE_FIELD_##kind, false, offsetof(struct wire_##type, member), NULL }
#define CHOICE(number, kind, type, member) { number, WIRE_FIELD_##kind, true, offsetof(struct wire_##type, member), NULL }
#define INNER(number, fields_of, type, member) \
	{ number, WIRE_FIELD_MESSAGE, false, offsetof(struct wire_##type, member), fields_of }
#define MESSAGE(name, fields) { name, fields, sizeof(fields) / sizeof((fields)[0]) }

static const struct wire_field limits[] = {
	FIELD(1, UINT64, limits, max_message),
	FIELD(2, UINT32, limits, max_flows),
	FIELD(3, UINT32, limits, max_subscriptions),
	FIELD(4, UINT32, limits, dictionary),
	FIELD(5, UINT64, limits, window),
};
static const struct wire_message limits_message = MESSAGE(NULL, limits);

static const struct wire_field hello[] = {
	FIELD(1, FIXED32, hello, magic),
	FIELD(2, UINT32, hello, version_min),
	FIELD(3, UINT32, hello, version_max),
	FIELD(4, FIXED64, hello, features),
	FIELD(5, INT32, hello, role),
	FIELD(6, BYTES, hello, name),
	FIELD(7, BYTES, hello, dialled),
	FIELD(8, BYTES, hello, store_id),
	FIELD(9, UINT32, hello, start_count),
	FIELD(10, FIXED64, hello, boot_id),
	FIELD(11, UINT64, hello, nonce),
	FIELD(12, BYTES, hello, software),
	INNER(13, &limits_message, hello, limits),
	FIELD(14, UINT32, hello, idle_timeout_ms),
	FIELD(15, UINT64, hello, held_nonce),
	FIELD(16, BOOL, hello, held_dialled_by_me),
	FIELD(17, UINT64, hello, wall_clock_ms),
};

static const struct wire_field known[] = {
	FIELD(1, UINT32, known, start_count),
	FIELD(2, FIXED64, known, boot_id),
};

static const struct wire_field accept[] = {
	FIELD(1, UINT64, accept, decision),
};

static const struct wire_field ping[] = {
	FIELD(1, UINT64, ping, token),
};

static const struct wire_field close[] = {
	FIELD(1, INT32, close, code),
	FIELD(2, BYTES, close, reason),
};

static const struct wire_field open_flow[] = {
	FIELD(1, UINT32, open_flow, flow),
	FIELD(2, BYTES, open_flow, address),
	FIELD(3, INT32, open_flow, priority),
	FIELD(4, BYTES, open_flow, producer),
	FIELD(5, BOOL, open_flow, named),
	FIELD(6, FIXED64, open_flow, instance),
	FIELD(7, UINT64, open_flow, epoch),
	FIELD(8, UINT64, open_flow, oldest_unsettled),
	FIELD(9, UINT64, open_flow, highest_used),
	FIELD(10, UINT64, open_flow, away_ms),
	FIELD(11, FIXED64, open_flow, known_boot),
};

static const struct wire_field flow_state[] = {
	FIELD(1, UINT32, flow_state, flow),
	FIELD(2, INT32, flow_state, verdict),
	FIELD(3, BYTES, flow_state, reason),
	FIELD(4, UINT64, flow_state, accepted),
	FIELD(5, UINT64, flow_state, confirmed),
	FIELD(6, UINT64, flow_state, epoch),
	FIELD(7, BOOL, flow_state, durable),
	FIELD(8, UINT64, flow_state, partial_number),
	FIELD(9, UINT64, flow_state, partial_bytes),
	FIELD(10, UINT64, flow_state, credit_messages),
	FIELD(11, UINT64, flow_state, credit_bytes),
	FIELD(12, INT32, flow_state, confirm_level),
	FIELD(13, NUMBERS, flow_state, waiting),
};

static const struct wire_field settled[] = {
	FIELD(1, UINT32, settled, flow),
	FIELD(2, UINT64, settled, number),
	FIELD(3, BOOL, settled, close),
};

static const struct wire_field run[] = {
	FIELD(1, UINT32, run, id),
	FIELD(2, UINT64, run, first),
};

static const struct wire_field confirm[] = {
	FIELD(1, UINT32, confirm, flow),
	FIELD(2, UINT64, confirm, number),
	FIELD(3, INT32, confirm, level),
};

static const struct wire_field reject[] = {
	FIELD(1, UINT32, reject, flow),
	FIELD(2, UINT64, reject, number),
	FIELD(3, INT32, reject, code),
	FIELD(4, BYTES, reject, reason),
};

static const struct wire_field resume[] = {
	FIELD(1, UINT32, resume, flow),
	FIELD(2, UINT64, resume, after),
};

static const struct wire_field abort_[] = {
	FIELD(1, UINT32, abort, flow),
	FIELD(2, UINT64, abort, number),
};

static const struct wire_field progress[] = {
	FIELD(1, UINT32, progress, flow),
	FIELD(2, INT32, progress, level),
	FIELD(3, NUMBERS, progress, ranges),
	FIELD(4, INT32, progress, code),
	FIELD(5, BYTES, progress, reason),
};

static const struct wire_field subscribe[] = {
	FIELD(1, UINT32, subscribe, subscription),
	FIELD(2, BYTES, subscribe, queue),
	FIELD(3, UINT64, subscribe, credit_messages),
	FIELD(4, UINT64, subscribe, credit_bytes),
	FIELD(5, BOOL, subscribe, exclusive),
	FIELD(6, BYTES, subscribe, types),
};

static const struct wire_field subscribed[] = {
	FIELD(1, UINT32, subscribed, subscription),
	FIELD(2, INT32, subscribed, verdict),
	FIELD(3, BYTES, subscribed, reason),
	FIELD(4, BOOL, subscribed, standby),
};

static const struct wire_field ack[] = {
	FIELD(1, NUMBERS, ack, ranges),
};

static const struct wire_field nack[] = {
	FIELD(1, NUMBERS, nack, ranges),
	FIELD(2, INT32, nack, action),
	FIELD(3, UINT64, nack, delay_ms),
	FIELD(4, BYTES, nack, reason),
};

static const struct wire_field unsubscribe[] = {
	FIELD(1, UINT32, unsubscribe, subscription),
	FIELD(2, INT32, unsubscribe, verdict),
	FIELD(3, BYTES, unsubscribe, reason),
};

static const struct wire_field credit[] = {
	CHOICE(1, UINT32, credit, flow),
	CHOICE(2, UINT32, credit, subscription),
	CHOICE(3, BOOL, credit, session),
	FIELD(4, UINT64, credit, messages),
	FIELD(5, UINT64, credit, bytes),
	FIELD(6, UINT64, credit, number),
};

static const struct wire_field define[] = {
	FIELD(1, INT32, define, kind),
	FIELD(2, UINT32, define, id),
	FIELD(3, BYTES, define, value),
};

static const struct wire_field admin_request[] = {
	FIELD(1, UINT32, admin_request, id),
	FIELD(2, INT32, admin_request, verb),
	FIELD(3, BYTES, admin_request, name),
	FIELD(4, UINT64, admin_request, limit),
	FIELD(5, BOOL, admin_request, cancel),
	FIELD(6, BYTES, admin_request, argument),
	FIELD(7, UINT32, admin_request, uid),
	FIELD(8, BOOL, admin_request, by_uid),
};

static const struct wire_field admin_response[] = {
	FIELD(1, UINT32, admin_response, id),
	FIELD(2, BOOL, admin_response, last),
	FIELD(3, INT32, admin_response, error),
	FIELD(4, BYTES, admin_response, reason),
	FIELD(5, BYTES, admin_response, records),
};

static const struct wire_message frames[WIRE_KIND_MAX + 1] = {
	[WIRE_HELLO] = MESSAGE("hello", hello),
	[WIRE_KNOWN] = MESSAGE("known", known),
	[WIRE_ACCEPT] = MESSAGE("accept", accept),
	[WIRE_PING] = MESSAGE("ping", ping),
	[WIRE_PONG] = MESSAGE("pong", ping),
	[WIRE_DRAIN] = { "drain", NULL, 0 },
	[WIRE_CLOSE] = MESSAGE("close", close),
	[WIRE_OPEN_FLOW] = MESSAGE("open-flow", open_flow),
	[WIRE_FLOW_STATE] = MESSAGE("flow-state", flow_state),
	[WIRE_SETTLED] = MESSAGE("settled", settled),
	[WIRE_TRANSFER] = MESSAGE("transfer", run),
	[WIRE_CONFIRM] = MESSAGE("confirm", confirm),
	[WIRE_REJECT] = MESSAGE("reject", reject),
	[WIRE_RESUME] = MESSAGE("resume", resume),
	[WIRE_ABORT] = MESSAGE("abort", abort_),
	[WIRE_PROGRESS] = MESSAGE("progress", progress),
	[WIRE_SUBSCRIBE] = MESSAGE("subscribe", subscribe),
	[WIRE_SUBSCRIBED] = MESSAGE("subscribed", subscribed),
	[WIRE_DELIVER] = MESSAGE("deliver", run),
	[WIRE_ACK] = MESSAGE("ack", ack),
	[WIRE_NACK] = MESSAGE("nack", nack),
	[WIRE_UNSUBSCRIBE] = MESSAGE("unsubscribe", unsubscribe),
	[WIRE_CREDIT] = MESSAGE("credit", credit),
	[WIRE_DEFINE] = MESSAGE("define", define),
	[WIRE_ADMIN_REQUEST] = MESSAGE("admin-request", admin_request),
	[WIRE_ADMIN_RESPONSE] = MESSAGE("admin-response", admin_response),
};

static const struct wire_field origin[] = {
	FIELD(1, BYTES, origin, node),
	FIELD(2, UINT32, origin, uid),
	FIELD(3, BYTES, origin, unit),
	FIELD(4, BYTES, origin, application),
	FIELD(5, INT32, origin, proof),
	FIELD(6, FIXED64, origin, boot_id),
};
const struct wire_message wire_table_origin = MESSAGE(NULL, origin);

static const struct wire_field packed[] = {
	FIELD(1, BYTES, packed, correlation_id),
	FIELD(2, BYTES, packed, reply_to),
	FIELD(3, BYTES, packed, headers),
};
const struct wire_message wire_table_packed = MESSAGE(NULL, packed);

static const struct wire_field header[] = {
	FIELD(1, BYTES, header, name),
	FIELD(2, BYTES, header, value),
};
const struct wire_message wire_table_header = MESSAGE(NULL, header);

const struct wire_message *
wire_table_frame(uint32_t kind)
{
	return kind <= WIRE_KIND_MAX && frames[kind].name != NULL ? &frames[kind] : NULL;
}
