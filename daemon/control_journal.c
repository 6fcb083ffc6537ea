/* The journal, as a record of admin.proto. */
#include "control_journal.h"

#include "store.h"

void
records_journal(const struct store *store, struct journal_record *ret)
{
	static const char *const states[] = { [STORE_OPEN] = "open", [STORE_FULL] = "full", [STORE_FENCED] = "failed" };
	Connectd__V1__Journal *r = &ret->record;
	struct store_stats *st = &ret->stats;

	store_stats(store, st);
	connectd__v1__journal__init(r);
	/* Generated structs hold char *, and nobody writes through it. */
	r->state = (char *)(uintptr_t)states[st->state];
	r->why = st->why;
	r->messages = st->messages;
	r->live_bytes = st->live_bytes;
	r->capacity_bytes = st->capacity;
	r->room_bytes = store_room(store);
	r->disk_bytes = st->disk_bytes;
	r->used_bytes = st->used_bytes;
	r->segments = st->segments;
	r->free_segments = st->free_segments;
	r->batches = st->batches;
	r->records = st->records;
	r->syncs = st->syncs;
	r->written_bytes = st->written_bytes;
	r->payload_bytes = st->payload_bytes;
	r->copied_bytes = st->copied_bytes;
	r->snapshots = st->snapshots;
	r->damaged = st->damaged;
	r->last_sync_ns = st->sync_us_last * 1000;
	r->longest_sync_ns = st->sync_us_max * 1000;
	r->recovered_messages = st->recovered_messages;
	r->recovery_ms = st->recovery_ms;
}
