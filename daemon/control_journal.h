/* control_journal: the journal as a record; for control_records.c only. */
#ifndef CONTROL_JOURNAL_H
#define CONTROL_JOURNAL_H

#include "admin.pb-c.h"
#include "store.h"

/* The record points into stats. */
struct journal_record {
	struct store_stats stats;
	Connectd__V1__Journal record;
};

void records_journal(const struct store *store, struct journal_record *ret);

#endif
