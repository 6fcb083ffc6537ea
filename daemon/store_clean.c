#include "store_internal.h"
int store_cleaner_new(struct store *s) { (void)s; return 0; }
void store_cleaner_free(struct store *s) { (void)s; }
void store_clean(struct store *s) { (void)s; }
uint64_t store_clean_waiting(const struct store *s, uint64_t limit) { (void)s; (void)limit; return 0; }
void store_clean_add(struct store *s, struct builder *b, uint64_t limit) { (void)s; (void)b; (void)limit; }
bool store_is_short(const struct store *s) { (void)s; return false; }
void store_clean_read(struct store *s, struct read_job *j) { (void)s; (void)j; }
