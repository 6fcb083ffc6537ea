/* control_internal: the records of admin.proto, shared by control.c and control_records.c only. */
#ifndef CONTROL_INTERNAL_H
#define CONTROL_INTERNAL_H

#include <protobuf-c/protobuf-c.h>

#include "control.h"
#include "names.h"

#define PAGE_TARGET (32 * 1024) /* no record is begun above */
#define PAGE_ROOM (60 * 1024)   /* no record is larger; with its frame below WIRE_CONTROL_MAX */

/* Delimited records. */
struct page {
	size_t len;
	uint8_t data[PAGE_ROOM];
};

/* Append a record. False: it belongs onto the next page. */
bool page_add(struct page *pg, const ProtobufCMessage *m);

/* What an answer is about and how far it has come. */
struct cursor {
	char name[NAMES_DEST_MAX + 1]; /* asked for; "": all */
	uint64_t left;                 /* records that may still be sent */
	uint64_t done;                 /* records sent, of peers, clients and messages */
	char after[NAMES_DEST_MAX + 1]; /* the last queue sent */
};

/* Fill the page from where the cursor is. True: that was all. */
bool records_status(const struct control_sources *src, struct cursor *at, struct page *pg);
bool records_peers(const struct control_sources *src, struct cursor *at, struct page *pg);
bool records_queues(const struct control_sources *src, struct cursor *at, struct page *pg);
bool records_clients(const struct control_sources *src, struct cursor *at, struct page *pg);
bool records_messages(const struct control_sources *src, struct queue *q, struct cursor *at, struct page *pg);
void records_purged(struct queue *q, struct page *pg);

/* An event as a delimited record, malloc'ed; NULL: out of memory. */
uint8_t *records_event(uint64_t unix_ms, const char *kind, const char *name, const char *change, const char *text, size_t *ret_len);

#endif
