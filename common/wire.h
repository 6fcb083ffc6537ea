/*
 * wire: pack, unpack and check one protocol frame (proto/connectd.proto).
 * No allocation, no I/O, no logging: an unpacked frame points into the bytes
 * it was read from and dies with them, so a hostile frame can cost no more
 * than its own length. One table describes every frame; the same table packs.
 *
 * Runs (Transfer, Deliver) are unpacked in two steps: wire_unpack checks the
 * whole frame, every item included, and yields the items' bytes; wire_item_next
 * then walks them. Packing a run works on a caller's buffer, item by item.
 */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_MAGIC 0x64636e63u
#define WIRE_VERSION 1
#define WIRE_FRAME_MAX (128 * 1024)        /* any frame */
#define WIRE_CONTROL_MAX (64 * 1024)       /* any but Transfer and Deliver */
#define WIRE_GREETING_MAX 4096             /* before Hello was accepted */
#define WIRE_ITEMS_MAX 1024                /* items of one run */
#define WIRE_TYPE_MAX 512                  /* bytes of a type URL */
#define WIRE_RANGES_MAX 1000               /* pairs in one frame that we send */
#define WIRE_CHUNK_MAX (64 * 1024)         /* body bytes of one item */
#define WIRE_CHUNK_MIN 1024
#define WIRE_LARGE (256 * 1024)            /* above: one chunk, then wait for Credit.number */
#define WIRE_PACKED_MAX 4096               /* bytes of Item.packed that we send or take */
#define WIRE_REASON_MAX 200                /* bytes of a reason that we send */
#define WIRE_DICTIONARY 1024               /* our limit of dictionary ids per kind */

/* Field numbers of Frame. */
enum wire_kind {
	WIRE_NONE = 0,
	WIRE_HELLO = 1,
	WIRE_KNOWN = 2,
	WIRE_ACCEPT = 3,
	WIRE_PING = 4,
	WIRE_PONG = 5,
	WIRE_DRAIN = 6,
	WIRE_CLOSE = 7,
	WIRE_OPEN_FLOW = 10,
	WIRE_FLOW_STATE = 11,
	WIRE_SETTLED = 12,
	WIRE_TRANSFER = 13,
	WIRE_CONFIRM = 14,
	WIRE_REJECT = 15,
	WIRE_RESUME = 16,
	WIRE_ABORT = 17,
	WIRE_PROGRESS = 18,
	WIRE_SUBSCRIBE = 20,
	WIRE_SUBSCRIBED = 21,
	WIRE_DELIVER = 22,
	WIRE_ACK = 23,
	WIRE_NACK = 24,
	WIRE_UNSUBSCRIBE = 25,
	WIRE_CREDIT = 30,
	WIRE_DEFINE = 31,
	WIRE_ADMIN_REQUEST = 40,
	WIRE_ADMIN_RESPONSE = 41,
	WIRE_KIND_MAX = 41
};

enum wire_role { WIRE_ROLE_UNKNOWN, WIRE_ROLE_PEER, WIRE_ROLE_CLIENT, WIRE_ROLE_DAEMON };

enum wire_close_code {
	WIRE_CLOSE_NORMAL,
	WIRE_CLOSE_SHUTDOWN,
	WIRE_CLOSE_PROTOCOL,
	WIRE_CLOSE_UNSUPPORTED,
	WIRE_CLOSE_TOO_LARGE,
	WIRE_CLOSE_FLOW_CONTROL,
	WIRE_CLOSE_TIMEOUT,
	WIRE_CLOSE_WRONG_NAME,
	WIRE_CLOSE_NAME_IN_USE,
	WIRE_CLOSE_DUPLICATE,
	WIRE_CLOSE_STATE_CONFLICT,
	WIRE_CLOSE_DENIED,
	WIRE_CLOSE_LIMIT,
	WIRE_CLOSE_INTERNAL,
	WIRE_CLOSE_CODES
};

enum wire_priority { WIRE_PRIORITY_NORMAL, WIRE_PRIORITY_HIGH, WIRE_PRIORITY_LOW, WIRE_PRIORITIES };

enum wire_level {
	WIRE_LEVEL_NONE = 0,
	WIRE_LEVEL_ACCEPTED = 1,
	WIRE_LEVEL_STORED = 2,
	WIRE_LEVEL_ARRIVED = 3,
	WIRE_LEVEL_CONSUMED = 4,
	WIRE_LEVEL_REJECTED = 16, /* from here: final, and gone no further */
	WIRE_LEVEL_EXPIRED = 17,
	WIRE_LEVEL_PURGED = 18,
	WIRE_LEVEL_DEAD = 19,
	WIRE_LEVEL_DROPPED = 20
};

enum wire_verdict {
	WIRE_VERDICT_OK,
	WIRE_VERDICT_DENIED,
	WIRE_VERDICT_NO_QUEUE,
	WIRE_VERDICT_BAD_ADDRESS,
	WIRE_VERDICT_TAKEN_OVER,
	WIRE_VERDICT_STATE_CONFLICT,
	WIRE_VERDICT_FORGOTTEN,
	WIRE_VERDICT_LIMIT
};

enum wire_item_flag {
	WIRE_ITEM_DURABLE = 1,
	WIRE_ITEM_MEMORY = 2,
	WIRE_ITEM_MAYBE_DUPLICATE = 4,
	WIRE_ITEM_REDELIVERED = 8
};

enum wire_reject_code {
	WIRE_REJECT_UNKNOWN,
	WIRE_REJECT_TOO_LARGE,
	WIRE_REJECT_NO_QUEUE,
	WIRE_REJECT_DENIED,
	WIRE_REJECT_WRONG_TYPE,
	WIRE_REJECT_NOT_DURABLE,
	WIRE_REJECT_FULL,
	WIRE_REJECT_UNSUPPORTED,
	WIRE_REJECT_BAD_ITEM
};

enum wire_nack_action { WIRE_NACK_RETURN, WIRE_NACK_DELAY, WIRE_NACK_DEAD };
enum wire_define_kind { WIRE_DEFINE_UNKNOWN, WIRE_DEFINE_TYPE, WIRE_DEFINE_ORIGIN };
enum wire_proof { WIRE_PROOF_UNKNOWN, WIRE_PROOF_LOCAL, WIRE_PROOF_TLS, WIRE_PROOF_PLAINTEXT };

enum wire_admin_verb {
	WIRE_ADMIN_UNKNOWN,
	WIRE_ADMIN_STATUS,
	WIRE_ADMIN_PEERS,
	WIRE_ADMIN_QUEUES,
	WIRE_ADMIN_CLIENTS,
	WIRE_ADMIN_EVENTS,
	WIRE_ADMIN_PEEK,
	WIRE_ADMIN_PURGE,
	WIRE_ADMIN_PRODUCERS,
	WIRE_ADMIN_PRODUCER_FORGET,
	WIRE_ADMIN_PEER_FORGET,
	WIRE_ADMIN_PEER_ADOPT,
	WIRE_ADMIN_RENEW,
	WIRE_ADMIN_MOVE,
	WIRE_ADMIN_HOLD,
	WIRE_ADMIN_RELEASE,
	WIRE_ADMIN_BACKUP,
	WIRE_ADMIN_RELOAD,
	WIRE_ADMIN_WHY
};

/* Bytes inside somebody else's buffer; not terminated. */
struct wire_bytes {
	const uint8_t *data;
	size_t len;
};

/* A packed repeated field of varints, unread: see wire_number_next. */
struct wire_numbers {
	const uint8_t *data;
	size_t len;
};

struct wire_limits {
	uint64_t max_message;
	uint32_t max_flows;
	uint32_t max_subscriptions;
	uint32_t dictionary;
	uint64_t window;
};

struct wire_hello {
	uint32_t magic, version_min, version_max;
	uint64_t features;
	uint32_t role;
	struct wire_bytes name, dialled, store_id;
	uint32_t start_count;
	uint64_t boot_id, nonce;
	struct wire_bytes software;
	struct wire_limits limits;
	uint32_t idle_timeout_ms;
	uint64_t held_nonce;
	bool held_dialled_by_me;
	uint64_t wall_clock_ms;
};

struct wire_known {
	uint32_t start_count;
	uint64_t boot_id;
};

struct wire_accept { uint64_t decision; };
struct wire_ping { uint64_t token; }; /* Pong too */

struct wire_close {
	uint32_t code;
	struct wire_bytes reason;
};

struct wire_open_flow {
	uint32_t flow;
	struct wire_bytes address;
	uint32_t priority;
	struct wire_bytes producer;
	bool named;
	uint64_t instance, epoch, oldest_unsettled, highest_used, away_ms, known_boot;
};

struct wire_flow_state {
	uint32_t flow, verdict;
	struct wire_bytes reason;
	uint64_t accepted, confirmed, epoch;
	bool durable;
	uint64_t partial_number, partial_bytes, credit_messages, credit_bytes;
	uint32_t confirm_level;
	struct wire_numbers waiting;
};

struct wire_settled {
	uint32_t flow;
	uint64_t number;
	bool close;
};

struct wire_item {
	uint32_t flags, type, origin;
	uint64_t ttl_ms, not_before_ms;
	uint32_t attempt;
	struct wire_bytes sub, packed, body;
	uint64_t offset, total, counter;
	struct wire_bytes report_to;
	struct wire_numbers features;
};

/* Transfer (id: flow) or Deliver (id: subscription). */
struct wire_run {
	uint32_t id;
	uint64_t first;
	struct wire_bytes items; /* the frame's payload, walked by wire_item_next */
	size_t n_items;
};

struct wire_confirm {
	uint32_t flow;
	uint64_t number;
	uint32_t level;
};

struct wire_reject {
	uint32_t flow;
	uint64_t number;
	uint32_t code;
	struct wire_bytes reason;
};

struct wire_resume { uint32_t flow; uint64_t after; };
struct wire_abort { uint32_t flow; uint64_t number; };

struct wire_progress {
	uint32_t flow, level;
	struct wire_numbers ranges;
	uint32_t code;
	struct wire_bytes reason;
};

struct wire_subscribe {
	uint32_t subscription;
	struct wire_bytes queue;
	uint64_t credit_messages, credit_bytes;
	bool exclusive;
	struct wire_bytes types;
};

struct wire_subscribed {
	uint32_t subscription, verdict;
	struct wire_bytes reason;
	bool standby;
};

struct wire_ack { struct wire_numbers ranges; };

struct wire_nack {
	struct wire_numbers ranges;
	uint32_t action;
	uint64_t delay_ms;
	struct wire_bytes reason;
};

struct wire_unsubscribe {
	uint32_t subscription, verdict;
	struct wire_bytes reason;
};

struct wire_credit { /* at most one scope is not 0; flow and subscription 0: the session */
	uint32_t flow, subscription;
	bool session;
	uint64_t messages, bytes, number;
};

struct wire_define {
	uint32_t kind, id;
	struct wire_bytes value;
};

struct wire_admin_request {
	uint32_t id, verb;
	struct wire_bytes name;
	uint64_t limit;
	bool cancel;
	struct wire_bytes argument;
	uint32_t uid;
	bool by_uid;
};

struct wire_admin_response {
	uint32_t id;
	bool last;
	int32_t error;
	struct wire_bytes reason, records;
};

struct wire_frame {
	enum wire_kind kind;
	union {
		struct wire_hello hello;
		struct wire_known known;
		struct wire_accept accept;
		struct wire_ping ping; /* Pong too */
		struct wire_close close;
		struct wire_open_flow open_flow;
		struct wire_flow_state flow_state;
		struct wire_settled settled;
		struct wire_run run; /* Transfer, Deliver */
		struct wire_confirm confirm;
		struct wire_reject reject;
		struct wire_resume resume;
		struct wire_abort abort;
		struct wire_progress progress;
		struct wire_subscribe subscribe;
		struct wire_subscribed subscribed;
		struct wire_ack ack;
		struct wire_nack nack;
		struct wire_unsubscribe unsubscribe;
		struct wire_credit credit;
		struct wire_define define;
		struct wire_admin_request admin_request;
		struct wire_admin_response admin_response;
	} u;
};

/* The content of an origin dictionary entry. */
struct wire_origin {
	struct wire_bytes node;
	uint32_t uid;
	struct wire_bytes unit, application;
	uint32_t proof;
	uint64_t boot_id;
};

/* The content of Item.packed. */
struct wire_packed {
	struct wire_bytes correlation_id, reply_to, headers;
};

struct wire_header {
	struct wire_bytes name, value;
};

/*
 * Unpack the payload of one frame. Returns 0 and fills *ret; -EBADMSG if it is
 * no well-formed Frame; -EMSGSIZE if it is above the bound of its kind or a run
 * has more than WIRE_ITEMS_MAX items; -EOPNOTSUPP if it has a field of Frame
 * below 100 that is not known here. A frame with nothing but unknown fields
 * from 100 up, or with nothing at all, yields WIRE_NONE. Unknown fields inside
 * a known frame are skipped. *ret is only written on 0.
 *
 * Values and verdict are those of protobuf-c: the last value of a field wins,
 * of several kinds in one Frame the last one (whole, not merged), all of them
 * must be well-formed; numbers lose the bits that their type has no room for;
 * strings are bytes. It differs, besides the bounds above, in this:
 *   - a packed field must lie in one piece: its numbers unpacked, or in several
 *     packed runs, are -EBADMSG;
 *   - field number 0, a key above 32 bits, and a bool that is no varint are
 *     -EBADMSG;
 *   - Hello.limits given twice is merged, as the protobuf specification says.
 */
int wire_unpack(const uint8_t *buf, size_t len, struct wire_frame *ret);

/* The same for the content of an origin, of Item.packed, of one header. */
int wire_unpack_origin(struct wire_bytes in, struct wire_origin *ret);
int wire_unpack_packed(struct wire_bytes in, struct wire_packed *ret);
int wire_unpack_header(struct wire_bytes in, struct wire_header *ret);

/*
 * Take the next item of a run, in place. Returns true and fills *ret; false at
 * the end (then *ret is undefined). `items` starts as run.items and is consumed.
 * The bytes were checked by wire_unpack, so nothing can fail here.
 */
bool wire_item_next(struct wire_bytes *items, struct wire_item *ret);

/*
 * Take the next number of a packed field. False at the end. Checked by
 * wire_unpack. Item.features are 32-bit: cast what comes from there.
 */
bool wire_number_next(struct wire_numbers *numbers, uint64_t *ret);

/*
 * Take the next pair (first, last) of a packed field of ranges. Returns 1 and
 * the pair; 0 at the end; -EBADMSG for an odd count, or first > last.
 */
int wire_range_next(struct wire_numbers *ranges, uint64_t *ret_first, uint64_t *ret_last);

/*
 * Bytes that a frame takes with its length in front. For a run, as if it had no
 * items (run.items is not looked at). The kind must be a known one.
 */
size_t wire_size(const struct wire_frame *f);

/*
 * Pack a frame with its length in front into buf, which has room for
 * wire_size() bytes; returns the bytes written. Not for runs.
 */
size_t wire_pack(const struct wire_frame *f, uint8_t *buf);

size_t wire_size_origin(const struct wire_origin *o);
size_t wire_pack_origin(const struct wire_origin *o, uint8_t *buf); /* without a length in front */
size_t wire_size_packed(const struct wire_packed *p);
size_t wire_pack_packed(const struct wire_packed *p, uint8_t *buf);
size_t wire_size_header(const struct wire_header *h); /* with a length in front */
size_t wire_pack_header(const struct wire_header *h, uint8_t *buf);

/* Append one varint to a packed field being built; returns bytes (at most 10). */
size_t wire_put_number(uint8_t *buf, uint64_t n);

/*
 * Packing a run. All bytes of an item but its body come from wire_put_item, so
 * that a large body can be sent from where it lies: an item's encoding ends
 * with its body. A run is: wire_put_run with the sum of the items' sizes, then
 * for each item wire_put_item and its body.
 *
 * wire_item_size: bytes of the item as it stands in a run, body included.
 * wire_put_item: writes wire_item_size() - body.len bytes, returns that.
 * wire_put_run: kind is WIRE_TRANSFER or WIRE_DELIVER; writes the frame's
 * length and everything in front of the first item, at most WIRE_RUN_HEAD_MAX.
 */
#define WIRE_RUN_HEAD_MAX 32
size_t wire_item_size(const struct wire_item *item);
size_t wire_put_item(const struct wire_item *item, uint8_t *buf);
size_t wire_put_run(enum wire_kind kind, uint32_t id, uint64_t first, size_t items_size, uint8_t *buf);

/* Helpers for the fields. */
static inline struct wire_bytes
wire_bytes(const void *data, size_t len)
{
	return (struct wire_bytes){ data, len };
}
struct wire_bytes wire_string(const char *s); /* NULL: empty */
bool wire_bytes_equal(struct wire_bytes a, struct wire_bytes b);
/* Copy as a string of at most size - 1 bytes. Bytes are not checked. */
void wire_text(struct wire_bytes b, char *buf, size_t size);

/* Names for logs and tools: "open-flow", "state-conflict", "arrived". Never NULL. */
const char *wire_kind_name(enum wire_kind kind);
const char *wire_close_name(uint32_t code);
const char *wire_level_name(uint32_t level);
const char *wire_verdict_name(uint32_t verdict);
const char *wire_reject_name(uint32_t code);
const char *wire_priority_name(uint32_t priority);
const char *wire_proof_name(uint32_t proof);

#endif
