#include "store_internal.h"
int store_snapshot_new(struct store *s) { (void)s; return 0; }
void store_snapshot_free(struct store *s) { (void)s; }
void store_snapshot(struct store *s) { (void)s; }
bool store_snapshot_waiting(const struct store *s) { (void)s; return false; }
void store_snapshot_add(struct store *s, struct builder *b, uint64_t limit) { (void)s; (void)b; (void)limit; }
void store_snapshot_synced(struct store *s) { (void)s; }
void store_snapshot_forget(struct store *s, const struct list *n) { (void)s; (void)n; }
uint64_t store_snapshot_bytes(const struct store *s) { (void)s; return 0; }
