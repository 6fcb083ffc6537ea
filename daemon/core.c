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
	h->wall_clock_ms = loop_wall_ms(core->loop);
}

struct intern_entry *
core_origin(const struct core *core, const struct wire_origin *o)
{
	uint8_t buf[CORE_ORIGIN_MAX];

	if (wire_size_origin(o) > sizeof(buf))
		return NULL;
	return intern_get(&core->messages->origins, wire_bytes(buf, wire_pack_origin(o, buf)));
}
