#include "wire.h"

#include "wire_table.h"

/* The name at `at`; numbers come from a peer, so any may be asked for. */
#define NAME(names, at) ((at) < sizeof(names) / sizeof((names)[0]) && (names)[at] != NULL ? (names)[at] : "unknown")

const char *
wire_kind_name(enum wire_kind kind)
{
	const struct wire_message *m = wire_table_frame(kind);

	return m != NULL ? m->name : kind == WIRE_NONE ? "none" : "unknown";
}

const char *
wire_close_name(uint32_t code)
{
	static const char *const names[] = {
		[WIRE_CLOSE_NORMAL] = "normal",
		[WIRE_CLOSE_SHUTDOWN] = "shutdown",
		[WIRE_CLOSE_PROTOCOL] = "protocol",
		[WIRE_CLOSE_UNSUPPORTED] = "unsupported",
		[WIRE_CLOSE_TOO_LARGE] = "too-large",
		[WIRE_CLOSE_FLOW_CONTROL] = "flow-control",
		[WIRE_CLOSE_TIMEOUT] = "timeout",
		[WIRE_CLOSE_WRONG_NAME] = "wrong-name",
		[WIRE_CLOSE_NAME_IN_USE] = "name-in-use",
		[WIRE_CLOSE_DUPLICATE] = "duplicate",
		[WIRE_CLOSE_STATE_CONFLICT] = "state-conflict",
		[WIRE_CLOSE_DENIED] = "denied",
		[WIRE_CLOSE_LIMIT] = "limit",
		[WIRE_CLOSE_INTERNAL] = "internal",
	};

	return NAME(names, code);
}

const char *
wire_level_name(uint32_t level)
{
	static const char *const names[] = {
		[WIRE_LEVEL_NONE] = "none",
		[WIRE_LEVEL_ACCEPTED] = "accepted",
		[WIRE_LEVEL_STORED] = "stored",
		[WIRE_LEVEL_ARRIVED] = "arrived",
		[WIRE_LEVEL_CONSUMED] = "consumed",
		[WIRE_LEVEL_REJECTED] = "rejected",
		[WIRE_LEVEL_EXPIRED] = "expired",
		[WIRE_LEVEL_PURGED] = "purged",
		[WIRE_LEVEL_DEAD] = "dead",
		[WIRE_LEVEL_DROPPED] = "dropped",
	};

	return NAME(names, level);
}

const char *
wire_verdict_name(uint32_t verdict)
{
	static const char *const names[] = {
		[WIRE_VERDICT_OK] = "ok",
		[WIRE_VERDICT_DENIED] = "denied",
		[WIRE_VERDICT_NO_QUEUE] = "no-queue",
		[WIRE_VERDICT_BAD_ADDRESS] = "bad-address",
		[WIRE_VERDICT_TAKEN_OVER] = "taken-over",
		[WIRE_VERDICT_STATE_CONFLICT] = "state-conflict",
		[WIRE_VERDICT_FORGOTTEN] = "forgotten",
		[WIRE_VERDICT_LIMIT] = "limit",
	};

	return NAME(names, verdict);
}

const char *
wire_reject_name(uint32_t code)
{
	static const char *const names[] = {
		/* [WIRE_REJECT_UNKNOWN] reads the same as any other number */
		[WIRE_REJECT_TOO_LARGE] = "too-large",
		[WIRE_REJECT_NO_QUEUE] = "no-queue",
		[WIRE_REJECT_DENIED] = "denied",
		[WIRE_REJECT_WRONG_TYPE] = "wrong-type",
		[WIRE_REJECT_NOT_DURABLE] = "not-durable",
		[WIRE_REJECT_FULL] = "full",
		[WIRE_REJECT_UNSUPPORTED] = "unsupported",
		[WIRE_REJECT_BAD_ITEM] = "bad-item",
	};

	return NAME(names, code);
}

const char *
wire_priority_name(uint32_t priority)
{
	static const char *const names[] = {
		[WIRE_PRIORITY_NORMAL] = "normal",
		[WIRE_PRIORITY_HIGH] = "high",
		[WIRE_PRIORITY_LOW] = "low",
	};

	return NAME(names, priority);
}

const char *
wire_proof_name(uint32_t proof)
{
	static const char *const names[] = {
		/* [WIRE_PROOF_UNKNOWN] reads the same as any other number */
		[WIRE_PROOF_LOCAL] = "local",
		[WIRE_PROOF_TLS] = "tls",
		[WIRE_PROOF_PLAINTEXT] = "plaintext",
	};

	return NAME(names, proof);
}
