#include "core.h"

void
core_hello(const struct core *core, enum wire_role role, struct wire_hello *h)
{
	h->role = role;
	h->name = wire_string(core->node->name);
	h->store_id = wire_bytes(state_store_id(core->state), STATE_ID);
	h->start_count = state_start_count(core->state);
	h->boot_id = state_boot_id(core->state);
	h->software = wire_string("connectd " CONNECTD_VERSION);
	h->limits.max_message = core->node->max_message;
	h->limits.max_flows = INTAKE_FLOWS_MAX;
	h->limits.window = core->session_window;
	h->wall_clock_ms = loop_wall_ms(core->loop);
}

void
core_tuning(const struct core *core, uint64_t mtu, struct transport_tuning *ret)
{
	const struct conf_node *node = core->node;

	/* Each of them has a limit in the configuration that is far below. */
	*ret = (struct transport_tuning){ .mtu = (uint32_t)mtu,
		.buffer = (uint32_t)node->sctp_buffer,
		.heartbeat_ms = (uint32_t)node->sctp_heartbeat,
		.rto_min_ms = (uint32_t)node->sctp_rto_min,
		.rto_max_ms = (uint32_t)node->sctp_rto_max,
		.retransmissions = (uint32_t)node->sctp_retransmissions,
		.answers = (uint32_t)node->sctp_answers };
}

struct intern_entry *
core_origin(const struct core *core, const struct wire_origin *o)
{
	uint8_t buf[CORE_ORIGIN_MAX];

	if (wire_size_origin(o) > sizeof(buf))
		return NULL;
	return intern_get(&core->messages->origins, wire_bytes(buf, wire_pack_origin(o, buf)));
}
